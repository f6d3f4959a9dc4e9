// SPDX-License-Identifier: Apache-2.0
//! Constants and copies into the instructions that use them, on virtual registers.
//!
//! A register that is written once, by a `mov` of a constant, *is* that constant: wherever it is
//! read it either holds it or is undefined. Copies are followed within a basic block only, and
//! only those whose target is written once: a target written elsewhere too is a loop variable or
//! the like, and its move is better removed by giving both registers one slot.

use crate::ir::{
    Address, AddressBase, BinaryOp, Guard, Instruction, IntType, Op, Pred, PredSrc, Reg, Src,
    UnaryOp,
};

use super::names::VirtualCounts;
use super::visit::{Visitor, visit};

/// What is known about a register that is written once.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Value {
    Constant(Src),
    /// A local address.
    Frame(Address),
    /// Nothing that helps.
    Unknown,
}

/// Numbers registers of both widths in one sequence.
#[derive(Clone, Copy)]
struct Numbering {
    w32: u32,
}

impl Numbering {
    fn of(self, reg: Reg) -> usize {
        match reg {
            Reg::W32(number) => number as usize,
            Reg::W64(number) => self.w32 as usize + number as usize,
        }
    }
}

/// A copy that holds as long as neither side has been written since.
#[derive(Clone, Copy)]
struct Copy {
    from: Reg,
    from_version: u32,
    own_version: u32,
    block: u32,
}

/// Rewrites operands in place. No instruction is added or removed; moves that became useless are
/// left to liveness.
pub(super) fn run(code: &mut [Instruction], counts: VirtualCounts, labels: &[u32]) {
    let numbering = Numbering { w32: counts.w32 };
    let total = counts.w32 as usize + counts.w64 as usize;
    let mut writes = WriteCounter {
        numbering,
        counts: vec![0; total],
    };
    for instruction in code.iter_mut() {
        visit(instruction, &mut writes);
    }
    let mut leaders = vec![false; code.len() + 1];
    for &label in labels {
        leaders[label as usize] = true;
    }
    let mut pass = Propagation {
        numbering,
        writes: writes.counts,
        values: vec![Value::Unknown; total],
        versions: vec![0; total],
        copies: vec![None; total],
        block: 0,
    };
    // Text order is nearly always execution order, but a constant may be used above its `mov`.
    for instruction in code.iter_mut() {
        pass.learn(instruction);
    }
    for (instruction, leader) in code.iter_mut().zip(leaders) {
        pass.block += u32::from(leader);
        pass.fold(instruction);
        visit(instruction, &mut pass);
        pass.note_copy(instruction);
    }
}

struct WriteCounter {
    numbering: Numbering,
    counts: Vec<u32>,
}

impl Visitor for WriteCounter {
    fn source(&mut self, _: &mut Src) {}
    fn predicate_source(&mut self, _: &mut PredSrc) {}
    fn predicate_use(&mut self, _: &mut Pred) {}
    fn predicate_definition(&mut self, _: &mut Pred) {}
    fn definition(&mut self, reg: &mut Reg) {
        self.counts[self.numbering.of(*reg)] += 1;
    }
}

struct Propagation {
    numbering: Numbering,
    writes: Vec<u32>,
    values: Vec<Value>,
    versions: Vec<u32>,
    copies: Vec<Option<Copy>>,
    block: u32,
}

impl Propagation {
    fn value(&self, src: Src) -> Value {
        match src {
            Src::Reg(reg) => self.values[self.numbering.of(reg)],
            constant => Value::Constant(constant),
        }
    }

    /// Notes what an instruction says about a register that only it writes.
    fn learn(&mut self, instruction: &Instruction) {
        let (dst, value) = match &instruction.op {
            Op::Unary {
                op: UnaryOp::Move(_),
                dst,
                a,
            } => (*dst, self.value(*a)),
            Op::FrameAddress { dst, address } if is_frame(address) => {
                (*dst, Value::Frame(*address))
            }
            Op::Binary {
                op: BinaryOp::Add(IntType::U64 | IntType::S64),
                dst,
                a,
                b,
            } => match (self.value(*a), self.value(*b)) {
                (Value::Frame(address), Value::Constant(Src::Imm(addend)))
                | (Value::Constant(Src::Imm(addend)), Value::Frame(address)) => {
                    (*dst, Value::Frame(moved(address, addend.cast_signed())))
                }
                _ => return,
            },
            _ => return,
        };
        let number = self.numbering.of(dst);
        if self.writes[number] == 1 {
            self.values[number] = value;
        }
    }

    /// Turns sums of a frame address and a number into a frame address.
    fn fold(&self, instruction: &mut Instruction) {
        let dst = match &instruction.op {
            Op::Binary {
                op: BinaryOp::Add(IntType::U64 | IntType::S64),
                dst,
                ..
            }
            | Op::Unary {
                op: UnaryOp::Move(_),
                dst,
                ..
            } => *dst,
            _ => return,
        };
        if let Value::Frame(address) = self.values[self.numbering.of(dst)] {
            instruction.op = Op::FrameAddress { dst, address };
        }
    }

    fn note_copy(&mut self, instruction: &Instruction) {
        let Op::Unary {
            op: UnaryOp::Move(_),
            dst,
            a: Src::Reg(from),
        } = instruction.op
        else {
            return;
        };
        let number = self.numbering.of(dst);
        if instruction.guard == Guard::Always && self.writes[number] == 1 && from != dst {
            self.copies[number] = Some(Copy {
                from,
                from_version: self.versions[self.numbering.of(from)],
                own_version: self.versions[number],
                block: self.block,
            });
        }
    }

    fn copied_from(&self, reg: Reg) -> Option<Reg> {
        let number = self.numbering.of(reg);
        let copy = self.copies[number]?;
        let holds = copy.block == self.block
            && copy.own_version == self.versions[number]
            && copy.from_version == self.versions[self.numbering.of(copy.from)];
        holds.then_some(copy.from)
    }
}

impl Visitor for Propagation {
    fn source(&mut self, src: &mut Src) {
        let Src::Reg(reg) = *src else { return };
        match self.values[self.numbering.of(reg)] {
            Value::Constant(constant) => *src = constant,
            _ => {
                if let Some(from) = self.copied_from(reg) {
                    *src = Src::Reg(from);
                }
            }
        }
    }

    fn predicate_source(&mut self, _: &mut PredSrc) {}
    fn predicate_use(&mut self, _: &mut Pred) {}
    fn predicate_definition(&mut self, _: &mut Pred) {}

    fn definition(&mut self, reg: &mut Reg) {
        self.versions[self.numbering.of(*reg)] += 1;
    }

    fn address(&mut self, address: &mut Address) {
        let AddressBase::Src(base) = &mut address.base else {
            return;
        };
        let is_narrow = matches!(base, Src::Reg(Reg::W32(_)));
        if let Value::Frame(frame) = self.value(*base)
            && !is_narrow
        {
            *address = moved(frame, address.offset);
            return;
        }
        self.source(base);
        match *base {
            Src::Imm(value) => {
                let sum = address.offset.wrapping_add(value.cast_signed());
                // The sum with a 32-bit base wraps.
                let sum = if is_narrow {
                    sum & i64::from(u32::MAX)
                } else {
                    sum
                };
                *address = Address::absolute(sum);
            }
            Src::Variable(id, addend) => {
                address.base = AddressBase::Src(Src::Variable(id, 0));
                address.offset = address.offset.wrapping_add(addend);
            }
            _ => {}
        }
    }
}

fn is_frame(address: &Address) -> bool {
    matches!(address.base, AddressBase::Frame)
}

fn moved(address: Address, by: i64) -> Address {
    Address {
        base: address.base,
        offset: address.offset.wrapping_add(by),
    }
}
