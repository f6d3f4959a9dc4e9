// SPDX-License-Identifier: Apache-2.0
//! `mbarrier` objects: 64-bit words in shared memory.
//!
//! Layout of the word (PTX leaves it open): bits 0-19 arrivals still pending in this phase, bits
//! 20-39 the expected count, bit 63 the phase. A state token is the word as it was before the
//! arrival.

use super::access::{AddressCode, Element};
use super::code::{Code, More};
use super::fault::Access;
use super::lanes::{Lanes, Step, WARP};
use super::scalar;
use crate::ir::Space;

const COUNT_MASK: u64 = (1 << 20) - 1;
const EXPECTED_SHIFT: u32 = 20;
const PHASE: u64 = 1 << 63;

/// What is done.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation {
    Init {
        count: Element,
    },
    Invalidate,
    Arrive {
        count: Option<Element>,
        drop: bool,
    },
    TestWait {
        state: Element,
    },
    TestWaitParity {
        parity: Element,
    },
    PendingCount {
        state: Element,
    },
    /// Raises the pending count, then arrives: for completed copies that leaves all as it was.
    CopyArrive,
}

/// A decoded operation.
#[derive(Debug)]
pub(crate) struct MemoryBarrier {
    pub(crate) space: Space,
    pub(crate) address: AddressCode,
    pub(crate) operation: Operation,
    pub(crate) dst: Option<Element>,
    pub(crate) dst_predicate: Option<u32>,
}

/// Takes `count` arrivals away; the phase completes when none is left.
fn arrive(word: u64, count: u64, drop: bool) -> u64 {
    let mut expected = word >> EXPECTED_SHIFT & COUNT_MASK;
    if drop {
        expected = expected.wrapping_sub(count) & COUNT_MASK;
    }
    let pending = (word & COUNT_MASK).wrapping_sub(count) & COUNT_MASK;
    let phase = word & PHASE;
    if pending == 0 {
        (phase ^ PHASE) | expected << EXPECTED_SHIFT | expected
    } else {
        phase | expected << EXPECTED_SHIFT | pending
    }
}

/// Executes an operation, lane after lane.
///
/// # Safety
/// `code` was decoded for the running function.
pub(crate) unsafe fn run_memory_barrier(lanes: &mut Lanes, code: &Code) -> Step {
    let More::MemoryBarrier(barrier) = &code.more else {
        return Step::Fault;
    };
    // SAFETY: the interpreter owns the block and holds no other reference while code runs.
    let block = unsafe { &mut *lanes.block };
    match barrier.operation {
        Operation::TestWait { .. } | Operation::TestWaitParity { .. } => block.note_load(true),
        _ => block.note_store(),
    }
    for warp in 0..lanes.warps {
        // SAFETY: one word a warp; operands of the running function.
        let (mask, addresses, operand) = unsafe {
            let operand = match barrier.operation {
                Operation::Init { count } => Some(count),
                Operation::Arrive { count, .. } => count,
                Operation::TestWait { state } | Operation::PendingCount { state } => Some(state),
                Operation::TestWaitParity { parity } => Some(parity),
                Operation::Invalidate | Operation::CopyArrive => None,
            };
            let operand = operand.map_or([1; WARP], |element| scalar::read(lanes, element, warp));
            (
                *lanes.active.add(warp),
                barrier.address.warp(lanes, warp),
                operand,
            )
        };
        let (mut values, mut flags) = ([0; WARP], 0);
        for lane in (0..WARP).filter(|lane| mask >> lane & 1 != 0) {
            let value = operand[lane];
            if let Operation::PendingCount { .. } = barrier.operation {
                values[lane] = value & COUNT_MASK;
                continue;
            }
            let at = (warp * WARP + lane) as u32;
            let place = block.resolve(barrier.space, addresses[lane], 8, Access::Atomic, at);
            let Some(place) = place else {
                return Step::Fault;
            };
            // SAFETY: `resolve` checked eight aligned bytes.
            let word = unsafe { place.cast::<u64>().read() };
            values[lane] = word;
            let new = match barrier.operation {
                Operation::Init { .. } => {
                    let count = value & COUNT_MASK;
                    count << EXPECTED_SHIFT | count
                }
                Operation::Invalidate => 0,
                Operation::Arrive { drop, .. } => arrive(word, value, drop),
                Operation::TestWait { .. } => {
                    flags |= u32::from((word ^ value) & PHASE != 0) << lane;
                    word
                }
                Operation::TestWaitParity { .. } => {
                    // The phase of parity p has completed once the current phase is another one.
                    flags |= u32::from(word >> 63 != value & 1) << lane;
                    word
                }
                Operation::PendingCount { .. } | Operation::CopyArrive => word,
            };
            // SAFETY: as above.
            unsafe { place.cast::<u64>().write(new) };
        }
        // SAFETY: destinations of the running function.
        unsafe {
            if let Some(dst) = barrier.dst {
                super::atomic::put(lanes, dst, warp, mask, &values);
            }
            if let Some(index) = barrier.dst_predicate {
                let word = lanes.predicate(index).add(warp);
                *word = (*word & !mask) | (flags & mask);
            }
        }
    }
    Step::Next
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_completes_with_its_last_arrival() {
        let start = 3 << EXPECTED_SHIFT | 3;
        let one = arrive(start, 1, false);
        assert_eq!(one & COUNT_MASK, 2);
        assert_eq!(one & PHASE, 0);
        let done = arrive(one, 2, false);
        assert_eq!(done, PHASE | start);
        assert_eq!(arrive(arrive(done, 2, false), 1, false), start);
    }

    #[test]
    fn a_dropped_arrival_lowers_the_next_phase() {
        let start = 2 << EXPECTED_SHIFT | 2;
        let done = arrive(arrive(start, 1, true), 1, false);
        assert_eq!(done, PHASE | 1 << EXPECTED_SHIFT | 1);
    }
}
