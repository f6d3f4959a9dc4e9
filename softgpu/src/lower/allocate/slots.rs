// SPDX-License-Identifier: Apache-2.0
//! Slots for lives: the lowest one that is free, or that of a register it is moved from or to.

use crate::ir::{Instruction, Op, PredSrc, RegisterCounts, Src, UnaryOp};

use super::Numbering;
use super::liveness::{Interval, Lives};

/// The slot of each virtual register, by number, and how many slots there are.
pub(super) struct Assignment {
    pub(super) slots: Vec<u32>,
    pub(super) counts: RegisterCounts,
}

/// No slot yet.
const NONE: u32 = u32::MAX;

/// The intervals that a slot is taken in, in order.
#[derive(Default)]
struct Slot {
    taken: Vec<Interval>,
}

impl Slot {
    fn is_free(&self, life: &[Interval]) -> bool {
        let Some(first) = life.first() else {
            return true;
        };
        // Lives come by their beginnings, so most of what is taken ends before this one begins.
        let mut at = self.taken.partition_point(|taken| taken.end < first.start);
        for interval in life {
            while self
                .taken
                .get(at)
                .is_some_and(|taken| taken.end < interval.start)
            {
                at += 1;
            }
            if self
                .taken
                .get(at)
                .is_some_and(|taken| taken.start <= interval.end)
            {
                return false;
            }
        }
        true
    }

    fn take(&mut self, life: &[Interval]) {
        for &interval in life {
            let at = self
                .taken
                .partition_point(|taken| taken.end < interval.start);
            self.taken.insert(at, interval);
        }
    }
}

/// Registers that a move connects.
struct Partners {
    /// Up to two for each register; more are rare and not worth the search.
    of: Vec<[u32; 2]>,
}

impl Partners {
    fn new(code: &[Instruction], numbering: Numbering) -> Self {
        let mut partners = Self {
            of: vec![[NONE; 2]; numbering.total()],
        };
        for instruction in code {
            match &instruction.op {
                Op::Unary {
                    op: UnaryOp::Move(_),
                    dst,
                    a: Src::Reg(a),
                } => {
                    partners.connect(numbering.reg(*dst), numbering.reg(*a));
                }
                Op::PredicateMove {
                    dst,
                    a:
                        PredSrc::Reg {
                            pred,
                            negate: false,
                        },
                } => {
                    partners.connect(numbering.pred(*dst), numbering.pred(*pred));
                }
                _ => {}
            }
        }
        partners
    }

    fn connect(&mut self, a: u32, b: u32) {
        for (register, partner) in [(a, b), (b, a)] {
            let places = &mut self.of[register as usize];
            if let Some(free) = places.iter_mut().find(|place| **place == NONE) {
                *free = partner;
            }
        }
    }
}

/// Gives every register that is used at all a slot.
pub(super) fn assign(code: &[Instruction], lives: &Lives, numbering: Numbering) -> Assignment {
    let partners = Partners::new(code, numbering);
    let mut order: Vec<u32> = (0..numbering.total() as u32)
        .filter(|&number| !lives.intervals[number as usize].is_empty())
        .collect();
    order.sort_by_key(|&number| lives.intervals[number as usize][0].start);
    let mut slots = vec![NONE; numbering.total()];
    let mut pools: [Vec<Slot>; 3] = Default::default();
    for number in order {
        let life = &lives.intervals[number as usize];
        let pool = &mut pools[numbering.class(number)];
        let preferred = partners.of[number as usize]
            .iter()
            .filter(|&&partner| partner != NONE)
            .map(|&partner| slots[partner as usize])
            .find(|&slot| {
                pool.get(slot as usize)
                    .is_some_and(|slot| slot.is_free(life))
            });
        let slot = match preferred {
            Some(slot) => slot as usize,
            None => pool
                .iter()
                .position(|slot| slot.is_free(life))
                .unwrap_or_else(|| {
                    pool.push(Slot::default());
                    pool.len() - 1
                }),
        };
        pool[slot].take(life);
        slots[number as usize] = slot as u32;
    }
    let [w32, w64, predicates] = pools.map(|pool| pool.len() as u32);
    Assignment {
        slots,
        counts: RegisterCounts {
            w32,
            w64,
            predicates,
        },
    }
}
