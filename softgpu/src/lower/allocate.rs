// SPDX-License-Identifier: Apache-2.0
//! Virtual registers to slots: dead code, liveness, linear scan.
//!
//! A slot is an array with one element a thread, so a kernel's working set is its number of slots
//! times the threads of a block. Registers whose lives do not overlap share a slot. Each thread
//! has its own elements, so the liveness of one thread's path is right for diverged ones too.
//!
//! An instruction reads all its sources before it writes, in each thread; a result may therefore
//! take the slot of a source that dies there.

mod liveness;
mod slots;
#[cfg(test)]
mod verify;

use std::sync::Arc;

use crate::ir::{Instruction, MemoryOrder, Op, Pred, PredSrc, Reg, RegisterCounts, Space};
use crate::ir::{SpecialRegister, Src, UnaryOp};

use super::names::VirtualCounts;
use super::visit::{Visitor, visit};

/// Numbers the virtual registers of all kinds in one sequence: 32-bit, 64-bit, predicates.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbering {
    counts: VirtualCounts,
}

impl Numbering {
    fn reg(self, reg: Reg) -> u32 {
        match reg {
            Reg::W32(number) => number,
            Reg::W64(number) => self.counts.w32 + number,
        }
    }

    fn pred(self, pred: Pred) -> u32 {
        self.counts.w32 + self.counts.w64 + pred.0
    }

    fn total(self) -> usize {
        self.counts.w32 as usize + self.counts.w64 as usize + self.counts.predicates as usize
    }

    /// 0, 1, 2 for 32-bit registers, 64-bit registers and predicates.
    fn class(self, number: u32) -> usize {
        if number < self.counts.w32 {
            0
        } else if number < self.counts.w32 + self.counts.w64 {
            1
        } else {
            2
        }
    }
}

/// Assigns slots, removes what became useless, and turns labels into instruction indices.
pub(super) fn run(
    code: &mut Vec<Instruction>,
    lines: &mut Vec<u32>,
    counts: VirtualCounts,
    labels: &mut [u32],
) -> RegisterCounts {
    let numbering = Numbering { counts };
    remove_dead(code, lines, labels, numbering);
    let lives = liveness::Lives::new(code, labels, numbering);
    let assignment = slots::assign(code, &lives, numbering);
    #[cfg(test)]
    verify::check(code, labels, numbering, &assignment.slots);
    let mut rewriter = Rewriter {
        numbering,
        slots: &assignment.slots,
    };
    for instruction in code.iter_mut() {
        visit(instruction, &mut rewriter);
    }
    remove(code, lines, labels, |instruction| {
        is_self_move(&instruction.op)
    });
    for instruction in code {
        match &mut instruction.op {
            Op::Branch { target } => *target = labels[*target as usize],
            Op::BranchIndexed { targets, .. } => {
                let resolved = targets.iter().map(|&label| labels[label as usize]);
                *targets = resolved.collect::<Arc<[u32]>>();
            }
            _ => {}
        }
    }
    assignment.counts
}

fn is_self_move(op: &Op) -> bool {
    matches!(op, Op::Unary { op: UnaryOp::Move(_), dst, a: Src::Reg(a) } if dst == a)
}

/// Removes instructions and moves the labels along.
fn remove(
    code: &mut Vec<Instruction>,
    lines: &mut Vec<u32>,
    labels: &mut [u32],
    unwanted: impl Fn(&Instruction) -> bool,
) {
    let mut new_index = Vec::with_capacity(code.len() + 1);
    let mut kept = 0;
    for instruction in code.iter() {
        new_index.push(kept);
        kept += u32::from(!unwanted(instruction));
    }
    new_index.push(kept);
    if kept as usize == code.len() {
        return;
    }
    for label in labels {
        *label = new_index[*label as usize];
    }
    let mut index = 0;
    lines.retain(|_| {
        index += 1;
        new_index[index] != new_index[index - 1]
    });
    let mut index = 0;
    code.retain(|_| {
        index += 1;
        new_index[index] != new_index[index - 1]
    });
}

/// Removes operations whose results nobody reads, and those that only fed them.
fn remove_dead(
    code: &mut Vec<Instruction>,
    lines: &mut Vec<u32>,
    labels: &mut [u32],
    numbering: Numbering,
) {
    let mut uses = UseCounter {
        numbering,
        uses: vec![0; numbering.total()],
        step: 1,
    };
    for instruction in code.iter_mut() {
        visit(instruction, &mut uses);
    }
    // From the end, so that what feeds a dead operation above it is found in the same pass.
    let mut any = false;
    for instruction in code.iter_mut().rev() {
        let mut results = Results {
            numbering,
            uses: &uses.uses,
            read: 0,
            written: 0,
        };
        visit(instruction, &mut results);
        if is_pure(&instruction.op) && results.written > 0 && results.read == 0 {
            uses.step = u32::MAX;
            visit(instruction, &mut uses);
            instruction.op = Op::Nop;
            any = true;
        }
    }
    if any || code.iter().any(|instruction| instruction.op == Op::Nop) {
        remove(code, lines, labels, |instruction| instruction.op == Op::Nop);
    }
}

/// Whether an operation does nothing but write its results.
fn is_pure(op: &Op) -> bool {
    match op {
        Op::Unary { .. }
        | Op::Binary { .. }
        | Op::Ternary { .. }
        | Op::BitFieldInsert { .. }
        | Op::Carry { .. }
        | Op::FrameAddress { .. }
        | Op::SetPredicate { .. }
        | Op::SetPredicatePacked { .. }
        | Op::Set { .. }
        | Op::Select { .. }
        | Op::TestFloat { .. }
        | Op::PredicateLogic { .. }
        | Op::PredicateMove { .. }
        | Op::Convert { .. }
        | Op::ConvertPack { .. }
        | Op::ConvertTf32 { .. }
        | Op::ConvertPackInt { .. }
        | Op::ConvertAddress { .. }
        | Op::IsSpace { .. } => true,
        Op::ReadSpecial { register, .. } => !matches!(
            register,
            SpecialRegister::Clock
                | SpecialRegister::ClockHigh
                | SpecialRegister::Clock64
                | SpecialRegister::GlobalTimer
                | SpecialRegister::GlobalTimerLow
                | SpecialRegister::GlobalTimerHigh
        ),
        // Loads of parameters cannot fault in valid code.
        Op::Load { space, order, .. } => *space == Space::Param && *order == MemoryOrder::Weak,
        _ => false,
    }
}

struct UseCounter {
    numbering: Numbering,
    uses: Vec<u32>,
    /// 1 to count, `u32::MAX` to take back.
    step: u32,
}

impl UseCounter {
    fn add(&mut self, number: u32) {
        let count = &mut self.uses[number as usize];
        *count = count.wrapping_add(self.step);
    }
}

impl Visitor for UseCounter {
    fn source(&mut self, src: &mut Src) {
        if let Src::Reg(reg) = src {
            self.add(self.numbering.reg(*reg));
        }
    }

    fn predicate_source(&mut self, src: &mut PredSrc) {
        if let PredSrc::Reg { pred, .. } = src {
            self.add(self.numbering.pred(*pred));
        }
    }

    fn predicate_use(&mut self, pred: &mut Pred) {
        self.add(self.numbering.pred(*pred));
    }

    fn definition(&mut self, _: &mut Reg) {}
    fn predicate_definition(&mut self, _: &mut Pred) {}
}

struct Results<'u> {
    numbering: Numbering,
    uses: &'u [u32],
    read: u32,
    written: u32,
}

impl Results<'_> {
    fn add(&mut self, number: u32) {
        self.written += 1;
        self.read += u32::from(self.uses[number as usize] > 0);
    }
}

impl Visitor for Results<'_> {
    fn source(&mut self, _: &mut Src) {}
    fn predicate_source(&mut self, _: &mut PredSrc) {}
    fn predicate_use(&mut self, _: &mut Pred) {}

    fn definition(&mut self, reg: &mut Reg) {
        self.add(self.numbering.reg(*reg));
    }

    fn predicate_definition(&mut self, pred: &mut Pred) {
        self.add(self.numbering.pred(*pred));
    }
}

struct Rewriter<'s> {
    numbering: Numbering,
    slots: &'s [u32],
}

impl Rewriter<'_> {
    fn reg(&self, reg: &mut Reg) {
        let slot = self.slots[self.numbering.reg(*reg) as usize];
        match reg {
            Reg::W32(number) | Reg::W64(number) => *number = slot,
        }
    }

    fn pred(&self, pred: &mut Pred) {
        pred.0 = self.slots[self.numbering.pred(*pred) as usize];
    }
}

impl Visitor for Rewriter<'_> {
    fn source(&mut self, src: &mut Src) {
        if let Src::Reg(reg) = src {
            self.reg(reg);
        }
    }

    fn predicate_source(&mut self, src: &mut PredSrc) {
        if let PredSrc::Reg { pred, .. } = src {
            self.pred(pred);
        }
    }

    fn predicate_use(&mut self, pred: &mut Pred) {
        self.pred(pred);
    }

    fn definition(&mut self, reg: &mut Reg) {
        self.reg(reg);
    }

    fn predicate_definition(&mut self, pred: &mut Pred) {
        self.pred(pred);
    }
}
