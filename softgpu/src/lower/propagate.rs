// SPDX-License-Identifier: Apache-2.0
//! Constants and copies into the instructions that use them, on virtual registers; two instructions
//! made one where that is free.
//!
//! A register that is written once, by a `mov` of a constant, *is* that constant: wherever it is
//! read it either holds it or is undefined. Copies are followed within a basic block only, and
//! only those whose target is written once: a target written elsewhere too is a loop variable or
//! the like, and its move is better removed by giving both registers one slot.

use crate::ir::{
    Address, AddressBase, BinaryOp, Guard, Instruction, IntType, Op, Pred, PredSrc, Reg, Src,
    TernaryOp, UnaryOp, Width,
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

/// A wide product that holds as long as its factors have not been written since.
#[derive(Clone, Copy)]
struct Product {
    ty: IntType,
    factors: [Src; 2],
    versions: [u32; 2],
    own_version: u32,
    block: u32,
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
    let mut mentions = Mentions {
        numbering,
        writes: vec![0; total],
        reads: vec![0; total],
    };
    for instruction in code.iter_mut() {
        visit(instruction, &mut mentions);
    }
    let mut leaders = vec![false; code.len() + 1];
    for &label in labels {
        leaders[label as usize] = true;
    }
    let mut pass = Propagation {
        numbering,
        writes: mentions.writes,
        reads: mentions.reads,
        values: vec![Value::Unknown; total],
        versions: vec![0; total],
        copies: vec![None; total],
        products: vec![None; total],
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
        simplify(instruction);
        pass.fuse(instruction);
        pass.note_copy(instruction);
        pass.note_product(instruction);
    }
}

/// How often each register is written and read.
struct Mentions {
    numbering: Numbering,
    writes: Vec<u32>,
    reads: Vec<u32>,
}

impl Visitor for Mentions {
    fn source(&mut self, src: &mut Src) {
        if let Src::Reg(reg) = src {
            self.reads[self.numbering.of(*reg)] += 1;
        }
    }

    fn predicate_source(&mut self, _: &mut PredSrc) {}
    fn predicate_use(&mut self, _: &mut Pred) {}
    fn predicate_definition(&mut self, _: &mut Pred) {}

    fn definition(&mut self, reg: &mut Reg) {
        self.writes[self.numbering.of(*reg)] += 1;
    }
}

/// Turns operations that change nothing into moves.
fn simplify(instruction: &mut Instruction) {
    let Op::Binary { op, dst, a, b } = instruction.op else {
        return;
    };
    let is_zero = |src: Src, wide: bool| match src {
        Src::Imm(value) => value & if wide { u64::MAX } else { u32::MAX.into() } == 0,
        _ => false,
    };
    let (wide, commutes) = match op {
        BinaryOp::Add(IntType::U32 | IntType::S32)
        | BinaryOp::Or(Width::B32)
        | BinaryOp::Xor(Width::B32) => (false, true),
        BinaryOp::Add(IntType::U64 | IntType::S64)
        | BinaryOp::Or(Width::B64)
        | BinaryOp::Xor(Width::B64) => (true, true),
        BinaryOp::Sub(IntType::U32 | IntType::S32) => (false, false),
        BinaryOp::Sub(IntType::U64 | IntType::S64) => (true, false),
        _ => return,
    };
    let kept = if is_zero(b, wide) {
        a
    } else if commutes && is_zero(a, wide) {
        b
    } else {
        return;
    };
    let width = if wide { Width::B64 } else { Width::B32 };
    instruction.op = Op::Unary {
        op: UnaryOp::Move(width),
        dst,
        a: kept,
    };
}

struct Propagation {
    numbering: Numbering,
    writes: Vec<u32>,
    reads: Vec<u32>,
    values: Vec<Value>,
    versions: Vec<u32>,
    copies: Vec<Option<Copy>>,
    products: Vec<Option<Product>>,
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

    fn version(&self, src: Src) -> u32 {
        match src {
            Src::Reg(reg) => self.versions[self.numbering.of(reg)],
            _ => 0,
        }
    }

    fn note_product(&mut self, instruction: &Instruction) {
        let Op::Binary {
            op: BinaryOp::MulWide(ty),
            dst,
            a,
            b,
        } = instruction.op
        else {
            return;
        };
        let number = self.numbering.of(dst);
        let is_word = matches!(ty, IntType::U32 | IntType::S32);
        if is_word && instruction.guard == Guard::Always && self.reads[number] == 1 {
            self.products[number] = Some(Product {
                ty,
                factors: [a, b],
                versions: [self.version(a), self.version(b)],
                own_version: self.versions[number],
                block: self.block,
            });
        }
    }

    /// Adds a product with one reader where it is read: most addresses are made like that. The
    /// multiplication is dead then.
    fn fuse(&self, instruction: &mut Instruction) {
        let Op::Binary {
            op: BinaryOp::Add(IntType::U64 | IntType::S64),
            dst,
            a,
            b,
        } = instruction.op
        else {
            return;
        };
        let pair = [(a, b), (b, a)]
            .into_iter()
            .find_map(|(product, other)| Some((self.product_of(product)?, other)));
        if let Some((product, other)) = pair {
            let [a, b] = product.factors;
            let op = TernaryOp::MadWide(product.ty);
            instruction.op = Op::Ternary {
                op,
                dst,
                a,
                b,
                c: other,
            };
        }
    }

    fn product_of(&self, src: Src) -> Option<Product> {
        let Src::Reg(reg) = src else { return None };
        let number = self.numbering.of(reg);
        let product = self.products[number]?;
        let [a, b] = product.factors;
        let holds = product.block == self.block
            && product.own_version == self.versions[number]
            && product.versions == [self.version(a), self.version(b)];
        holds.then_some(product)
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
