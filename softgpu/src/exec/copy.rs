// SPDX-License-Identifier: Apache-2.0
//! `cp.async`: a copy from global to shared memory, done at once.

use super::access::{AddressCode, Element};
use super::code::{Code, More};
use super::fault::Access;
use super::lanes::{Lanes, Step, WARP};
use super::scalar;
use crate::ir::Space;

/// A decoded asynchronous copy.
#[derive(Debug)]
pub(crate) struct CopyAsync {
    pub(crate) dst: AddressCode,
    pub(crate) src: AddressCode,
    pub(crate) bytes: u8,
    pub(crate) source_bytes: Option<Element>,
}

/// Executes a copy.
///
/// # Safety
/// `code` was decoded for the running function.
pub(crate) unsafe fn run_copy(lanes: &mut Lanes, code: &Code) -> Step {
    let More::CopyAsync(copy) = &code.more else {
        return Step::Fault;
    };
    // SAFETY: the interpreter owns the block and holds no other reference while code runs.
    let block = unsafe { &mut *lanes.block };
    block.note_load(false);
    block.note_store();
    let bytes = u32::from(copy.bytes);
    for warp in 0..lanes.warps {
        // SAFETY: one word a warp; operands of the running function.
        let (mask, to, from, sizes) = unsafe {
            let sizes = copy
                .source_bytes
                .map(|element| scalar::read(lanes, element, warp));
            let (to, from) = (copy.dst.warp(lanes, warp), copy.src.warp(lanes, warp));
            (*lanes.active.add(warp), to, from, sizes)
        };
        for lane in (0..WARP).filter(|lane| mask >> lane & 1 != 0) {
            let at = (warp * WARP + lane) as u32;
            let size = sizes.map_or(bytes, |sizes| (sizes[lane] as u32).min(bytes));
            let Some(target) = block.resolve(Space::Shared, to[lane], bytes, Access::Write, at)
            else {
                return Step::Fault;
            };
            // SAFETY: `resolve` checked both ends for `bytes` bytes; nothing is read when size is
            // 0.
            unsafe {
                if size > 0 {
                    let source = block.resolve(Space::Global, from[lane], bytes, Access::Read, at);
                    let Some(source) = source else {
                        return Step::Fault;
                    };
                    std::ptr::copy(source, target, size as usize);
                }
                std::ptr::write_bytes(target.add(size as usize), 0, (bytes - size) as usize);
            }
        }
    }
    Step::Next
}
