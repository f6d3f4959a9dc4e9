// SPDX-License-Identifier: Apache-2.0
//! Address conversions: `cvta`, `isspacep`, frame addresses.

use super::access::{AddressCode, Element, classify};
use super::code::{Code, More};
use super::lanes::{Lanes, Step, WARP};
use crate::ir::Space;
use crate::limits::{LOCAL_WINDOW_BASE, PARAM_WINDOW_BASE, SHARED_WINDOW_BASE};

/// A decoded address operation.
#[derive(Debug)]
pub(crate) enum WindowCode {
    /// `dst = a + base` (`to_generic`) or `a - base`.
    Convert {
        base: u64,
        to_generic: bool,
        dst: Element,
        a: Element,
    },
    /// `dst = a is in space`.
    IsSpace { space: Space, dst: u32, a: Element },
    /// `dst = frame address`.
    Frame { dst: Element, address: AddressCode },
}

/// Base of the generic window of a space, 0 for global and const.
pub(crate) fn window_base(space: Space) -> u64 {
    match space {
        Space::Shared => SHARED_WINDOW_BASE,
        Space::Local => LOCAL_WINDOW_BASE,
        Space::Param => PARAM_WINDOW_BASE,
        Space::Global | Space::Const | Space::Generic => 0,
    }
}

/// Executes an address operation.
///
/// # Safety
/// `code` was decoded for the running function.
pub(crate) unsafe fn run_window(lanes: &mut Lanes, code: &Code) -> Step {
    let More::Window(window) = &code.more else {
        return Step::Fault;
    };
    for warp in 0..lanes.warps {
        // SAFETY: one word a warp; operands of the running function.
        unsafe {
            let mask = *lanes.masks.add(warp);
            match &**window {
                WindowCode::Convert {
                    base,
                    to_generic,
                    dst,
                    a,
                } => {
                    let from = super::scalar::read(lanes, *a, warp);
                    let delta = if *to_generic {
                        *base
                    } else {
                        base.wrapping_neg()
                    };
                    let out = from.map(|address| address.wrapping_add(delta));
                    super::atomic::put(lanes, *dst, warp, mask, &out);
                }
                WindowCode::IsSpace { space, dst, a } => {
                    let from = super::scalar::read(lanes, *a, warp);
                    let mut bits = 0;
                    for (lane, &address) in from.iter().enumerate() {
                        bits |= u32::from(classify(address).0 == *space) << lane;
                    }
                    let word = lanes.predicate(*dst).add(warp);
                    *word = (*word & !mask) | (bits & mask);
                }
                WindowCode::Frame { dst, address } => {
                    let value = address.uniform(lanes).unwrap_or(0);
                    super::atomic::put(lanes, *dst, warp, mask, &[value; WARP]);
                }
            }
        }
    }
    Step::Next
}
