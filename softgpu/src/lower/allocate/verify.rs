// SPDX-License-Identifier: Apache-2.0
//! Checks an assignment of slots the other way round: follow what each slot holds along every path
//! and compare with what each instruction wants to read.

use super::Numbering;
use crate::ir::{Guard, Instruction, Op, Pred, PredSrc, Reg, Src};

use super::super::visit::{Visitor, visit};

/// What a slot holds: nothing yet, one register, or different ones on different paths.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Held {
    Nothing,
    Register(u32),
    Conflict,
}

struct State<'s> {
    numbering: Numbering,
    slots: &'s [u32],
    held: [Vec<Held>; 3],
    at: usize,
}

impl State<'_> {
    fn held(&mut self, number: u32) -> &mut Held {
        let class = self.numbering.class(number);
        let slot = self.slots[number as usize] as usize;
        let held = &mut self.held[class];
        if held.len() <= slot {
            held.resize(slot + 1, Held::Nothing);
        }
        &mut held[slot]
    }

    fn read(&mut self, number: u32) {
        let at = self.at;
        let held = *self.held(number);
        assert!(
            matches!(held, Held::Nothing) || held == Held::Register(number),
            "instruction {at} reads register {number}, its slot holds {held:?}"
        );
    }

    fn write(&mut self, number: u32) {
        *self.held(number) = Held::Register(number);
    }
}

struct Reads<'s, 'a>(&'s mut State<'a>);
struct Writes<'s, 'a>(&'s mut State<'a>, Vec<u32>);

impl Visitor for Reads<'_, '_> {
    fn source(&mut self, src: &mut Src) {
        if let Src::Reg(reg) = src {
            self.0.read(self.0.numbering.reg(*reg));
        }
    }
    fn predicate_source(&mut self, src: &mut PredSrc) {
        if let PredSrc::Reg { pred, .. } = src {
            self.0.read(self.0.numbering.pred(*pred));
        }
    }
    fn predicate_use(&mut self, pred: &mut Pred) {
        self.0.read(self.0.numbering.pred(*pred));
    }
    fn definition(&mut self, _: &mut Reg) {}
    fn predicate_definition(&mut self, _: &mut Pred) {}
}

impl Visitor for Writes<'_, '_> {
    fn source(&mut self, _: &mut Src) {}
    fn predicate_source(&mut self, _: &mut PredSrc) {}
    fn predicate_use(&mut self, _: &mut Pred) {}
    fn definition(&mut self, reg: &mut Reg) {
        self.1.push(self.0.numbering.reg(*reg));
    }
    fn predicate_definition(&mut self, pred: &mut Pred) {
        self.1.push(self.0.numbering.pred(*pred));
    }
}

/// Panics where an instruction could read another register's value.
pub(super) fn check(code: &mut [Instruction], labels: &[u32], numbering: Numbering, slots: &[u32]) {
    let mut entry: Vec<Option<[Vec<Held>; 3]>> = vec![None; code.len() + 1];
    let mut pending = vec![0];
    entry[0] = Some(Default::default());
    while let Some(at) = pending.pop() {
        let Some(instruction) = code.get_mut(at) else {
            continue;
        };
        let held = entry[at].clone().unwrap_or_default();
        let mut state = State {
            numbering,
            slots,
            held,
            at,
        };
        visit(instruction, &mut Reads(&mut state));
        let mut writes = Writes(&mut state, Vec::new());
        visit(instruction, &mut writes);
        let written = writes.1;
        for (index, &number) in written.iter().enumerate() {
            // Two results of one instruction never share a slot, even if nobody reads one.
            let clash = written[..index].iter().any(|&other| {
                other != number
                    && numbering.class(other) == numbering.class(number)
                    && slots[other as usize] == slots[number as usize]
            });
            assert!(!clash, "instruction {at} writes one slot twice");
            state.write(number);
        }
        let mut next = Vec::new();
        let ends = match &instruction.op {
            Op::Branch { target } => {
                next.push(labels[*target as usize] as usize);
                true
            }
            Op::BranchIndexed { targets, .. } => {
                next.extend(
                    targets
                        .iter()
                        .map(|&target| labels[target as usize] as usize),
                );
                true
            }
            Op::Return | Op::Exit | Op::Trap => true,
            _ => false,
        };
        if !ends || instruction.guard != Guard::Always {
            next.push(at + 1);
        }
        for successor in next {
            if merge(&mut entry[successor], &state.held) {
                pending.push(successor);
            }
        }
    }
}

/// Joins what holds on another path; true where that changes anything.
fn merge(entry: &mut Option<[Vec<Held>; 3]>, held: &[Vec<Held>; 3]) -> bool {
    let Some(entry) = entry else {
        *entry = Some(held.clone());
        return true;
    };
    let mut changed = false;
    for (entry, held) in entry.iter_mut().zip(held) {
        if entry.len() < held.len() {
            entry.resize(held.len(), Held::Nothing);
        }
        for (entry, held) in entry.iter_mut().zip(held) {
            let joined = match (*entry, *held) {
                (a, b) if a == b => a,
                (Held::Nothing, other) | (other, Held::Nothing) => other,
                _ => Held::Conflict,
            };
            changed |= joined != *entry;
            *entry = joined;
        }
    }
    changed
}
