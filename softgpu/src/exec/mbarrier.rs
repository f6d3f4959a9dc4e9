// SPDX-License-Identifier: Apache-2.0
//! `mbarrier` objects: 64-bit words in shared memory.
//!
//! Layout of the word (PTX leaves it open): bits 0-19 arrivals still pending in this phase, bits
//! 20-39 the expected count, bits 40-60 the bytes still pending (`tx-count`, two's complement), bit
//! 63 the phase. A state token is the word as it was before the arrival.

use super::access::{AddressCode, Element};
use super::code::{Code, More};
use super::fault::Access;
use super::lanes::{Lanes, Step, WARP};
use super::scalar;
use super::state::BlockState;
use crate::ir::Space;

const COUNT_MASK: u64 = (1 << 20) - 1;
const EXPECTED_SHIFT: u32 = 20;
const BYTES_SHIFT: u32 = 40;
const BYTES_MASK: u64 = (1 << 21) - 1;
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
        expected_bytes: Option<Element>,
    },
    ExpectBytes(Element),
    CompleteBytes(Element),
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
    let rest = word & (PHASE | BYTES_MASK << BYTES_SHIFT);
    completed(rest | expected << EXPECTED_SHIFT | pending)
}

/// Adds to the bytes that are pending.
fn add_bytes(word: u64, bytes: u64) -> u64 {
    let pending = (word >> BYTES_SHIFT).wrapping_add(bytes) & BYTES_MASK;
    (word & !(BYTES_MASK << BYTES_SHIFT)) | pending << BYTES_SHIFT
}

/// So many bytes have come.
fn complete_bytes(word: u64, bytes: u64) -> u64 {
    completed(add_bytes(word, bytes.wrapping_neg()))
}

/// The next phase, if nothing is pending in this one.
fn completed(word: u64) -> u64 {
    if word & (BYTES_MASK << BYTES_SHIFT | COUNT_MASK) != 0 {
        return word;
    }
    (word ^ PHASE) | (word >> EXPECTED_SHIFT & COUNT_MASK)
}

/// Tells the barrier at a shared address that so many bytes have come; false: there is no memory.
pub(crate) fn tell_bytes(block: &mut BlockState, address: u64, bytes: u64, lane: u32) -> bool {
    let place = block.resolve(Space::Shared, address, 8, Access::Atomic, lane);
    let Some(place) = place.map(<*mut u8>::cast::<u64>) else {
        return false;
    };
    // SAFETY: `resolve` checked eight aligned bytes.
    unsafe { place.write(complete_bytes(place.read(), bytes)) };
    true
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
        let (mask, addresses, operand, expected) = unsafe {
            let expected = match barrier.operation {
                Operation::Arrive { expected_bytes, .. } => expected_bytes,
                _ => None,
            };
            let operand = match barrier.operation {
                Operation::Init { count } => Some(count),
                Operation::Arrive { count, .. } => count,
                Operation::TestWait { state } | Operation::PendingCount { state } => Some(state),
                Operation::TestWaitParity { parity } => Some(parity),
                Operation::ExpectBytes(bytes) | Operation::CompleteBytes(bytes) => Some(bytes),
                Operation::Invalidate | Operation::CopyArrive => None,
            };
            let operand = operand.map_or([1; WARP], |element| scalar::read(lanes, element, warp));
            (
                *lanes.active.add(warp),
                barrier.address.warp(lanes, warp),
                operand,
                expected.map_or([0; WARP], |element| scalar::read(lanes, element, warp)),
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
                Operation::Arrive { drop, .. } => {
                    arrive(add_bytes(word, expected[lane]), value, drop)
                }
                Operation::ExpectBytes(_) => add_bytes(word, value),
                Operation::CompleteBytes(_) => complete_bytes(word, value),
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
    fn a_phase_waits_for_its_bytes() {
        let start = 1 << EXPECTED_SHIFT | 1;
        let armed = arrive(add_bytes(start, 64), 1, false);
        assert_eq!(armed & PHASE, 0);
        assert_eq!(complete_bytes(complete_bytes(armed, 48), 16), PHASE | start);
        // Bytes may come before they are expected.
        let early = complete_bytes(start, 64);
        assert_eq!(early & PHASE, 0);
        assert_eq!(arrive(add_bytes(early, 64), 1, false), PHASE | start);
    }

    #[test]
    fn a_dropped_arrival_lowers_the_next_phase() {
        let start = 2 << EXPECTED_SHIFT | 2;
        let done = arrive(arrive(start, 1, true), 1, false);
        assert_eq!(done, PHASE | 1 << EXPECTED_SHIFT | 1);
    }
}
