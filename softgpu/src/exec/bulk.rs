// SPDX-License-Identifier: Apache-2.0
//! `cp.async.bulk` and `cp.reduce.async.bulk`, done at once.

use super::access::{AddressCode, Element};
use super::atomic::{combine, flushed, update_global, update_shared};
use super::code::{Code, More};
use super::fault::Access;
use super::lanes::{Lanes, Step, WARP};
use super::mbarrier::tell_bytes;
use super::scalar;
use super::state::{BlockState, RawFault};
use crate::ir::{AtomicOp, AtomicType, Space};
use crate::limits::{CLUSTER_SHARED_STRIDE, MAX_CLUSTER_BLOCKS};

/// What addresses and lengths of bulk copies are multiples of.
const BULK_ALIGNMENT_BYTES: u64 = 16;

/// A decoded bulk copy.
#[derive(Debug)]
pub(crate) struct CopyBulkCode {
    pub(crate) dst_space: Space,
    pub(crate) dst: AddressCode,
    pub(crate) src_space: Space,
    pub(crate) src: AddressCode,
    pub(crate) bytes: Element,
    pub(crate) barrier: Option<AddressCode>,
    pub(crate) reduction: Option<(AtomicOp, AtomicType)>,
    pub(crate) multicast: Option<Element>,
}

/// One lane's copy.
struct Job {
    dst: u64,
    src: u64,
    bytes: u64,
    barrier: Option<u64>,
    lane: u32,
}

/// The shared address at the same offset in a block of the cluster.
pub(crate) fn in_block(address: u64, rank: u64) -> u64 {
    (rank + 1) * CLUSTER_SHARED_STRIDE + address % CLUSTER_SHARED_STRIDE
}

/// Executes a bulk copy, lane after lane.
///
/// # Safety
/// `code` was decoded for the running function.
pub(crate) unsafe fn run_copy_bulk(lanes: &mut Lanes, code: &Code) -> Step {
    let More::CopyBulk(copy) = &code.more else {
        return Step::Fault;
    };
    // SAFETY: the interpreter owns the block and holds no other reference while code runs.
    let block = unsafe { &mut *lanes.block };
    block.note_load(false);
    block.note_store();
    for warp in 0..lanes.warps {
        // SAFETY: one word a warp; operands of the running function.
        let (mask, to, from, bytes, barriers, blocks) = unsafe {
            let read = |element| scalar::read(lanes, element, warp);
            (
                *lanes.active.add(warp),
                copy.dst.warp(lanes, warp),
                copy.src.warp(lanes, warp),
                read(copy.bytes),
                copy.barrier.map(|barrier| barrier.warp(lanes, warp)),
                copy.multicast.map(read),
            )
        };
        for lane in (0..WARP).filter(|lane| mask >> lane & 1 != 0) {
            let job = Job {
                dst: to[lane],
                src: from[lane],
                bytes: bytes[lane],
                barrier: barriers.map(|barriers| barriers[lane]),
                lane: (warp * WARP + lane) as u32,
            };
            let is_done = match blocks {
                None => job.run(copy, block).is_some(),
                Some(blocks) => job.run_for_all(copy, block, blocks[lane]).is_some(),
            };
            if !is_done {
                return Step::Fault;
            }
        }
    }
    Step::Next
}

impl Job {
    /// A copy into each block of the cluster that is named.
    fn run_for_all(&self, copy: &CopyBulkCode, block: &mut BlockState, blocks: u64) -> Option<()> {
        for rank in (0..u64::from(MAX_CLUSTER_BLOCKS)).filter(|rank| blocks >> rank & 1 != 0) {
            let one = Self {
                dst: in_block(self.dst, rank),
                barrier: self.barrier.map(|barrier| in_block(barrier, rank)),
                ..*self
            };
            one.run(copy, block)?;
        }
        Some(())
    }

    /// `None`: a fault has been recorded.
    fn run(&self, copy: &CopyBulkCode, block: &mut BlockState) -> Option<()> {
        let to = self.place(block, copy.dst_space, self.dst, Access::Write)?;
        let from = self.place(block, copy.src_space, self.src, Access::Read)?;
        // SAFETY: `place` checked both ends for all bytes, and their alignment.
        unsafe {
            match copy.reduction {
                None => std::ptr::copy(from, to, self.bytes as usize),
                Some((op, ty)) => self.reduce(op, ty, copy.dst_space, to, from),
            }
        }
        match self.barrier {
            Some(barrier) => tell_bytes(block, barrier, self.bytes, self.lane).then_some(()),
            None => Some(()),
        }
    }

    fn place(
        &self,
        block: &mut BlockState,
        space: Space,
        address: u64,
        access: Access,
    ) -> Option<*mut u8> {
        let (bytes, lane) = (self.bytes as u32, self.lane);
        if !(address | self.bytes).is_multiple_of(BULK_ALIGNMENT_BYTES) {
            block.fault = Some(RawFault::misaligned(address, bytes, access, lane));
            return None;
        }
        let place = if space == Space::Shared {
            block.shared_place(address, self.bytes)
        } else {
            let memory = block.memory();
            let is_legal = match access {
                Access::Read => memory.is_accessible(address, self.bytes.max(1)),
                _ => memory.is_writable(address, self.bytes.max(1)),
            };
            (self.bytes == 0 || is_legal)
                .then(|| std::ptr::with_exposed_provenance_mut(address as usize))
        };
        if place.is_none() {
            block.fault = Some(RawFault::illegal(address, bytes, access, space, lane));
        }
        place
    }

    /// # Safety
    /// Both places are valid for all bytes and aligned.
    unsafe fn reduce(
        &self,
        op: AtomicOp,
        ty: AtomicType,
        space: Space,
        to: *mut u8,
        from: *const u8,
    ) {
        let size = ty.bytes();
        for offset in (0..self.bytes as usize).step_by(size as usize) {
            // SAFETY: the caller's contract: elements are aligned.
            unsafe {
                let (to, from) = (to.add(offset), from.add(offset));
                let a = match size {
                    2 => u64::from(from.cast::<u16>().read()),
                    4 => u64::from(from.cast::<u32>().read()),
                    _ => from.cast::<u64>().read(),
                };
                let new = |old| combine(op, ty, old, a, 0);
                if space == Space::Shared {
                    update_shared(to, size, new);
                } else if (op, ty) == (AtomicOp::Add, AtomicType::F32) {
                    // As atomics on global memory do.
                    update_global(to, size, |old| {
                        let (old, a) = (flushed(old as u32), flushed(a as u32));
                        flushed(combine(op, ty, old.into(), a.into(), 0) as u32).into()
                    });
                } else {
                    update_global(to, size, new);
                }
            }
        }
    }
}
