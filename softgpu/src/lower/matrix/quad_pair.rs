// SPDX-License-Identifier: Apache-2.0
//! `mma.m8n8k4` of f16: four multiplications at once, each by a quad pair: a quad and the one 16
//! lanes further (PTX ISA, "Matrix Fragments for mma.m8n8k4 with .f16 floating point type").
//!
//! Member p of a quad pair, 0 to 7, is lane `p % 4` of its first quad or, from 4 on, of its second.

use crate::ir::{BinaryOp, IntType, Op, SpecialRegister, Src, TernaryOp, UnaryOp, Width};
use crate::ir::{FloatMode, FloatType};
use crate::ptx::{Operand, ScalarType};

use super::{Element, Fragment, accumulator_type, elements_of, sparse::permute, take_next};
use crate::lower::error::Result;
use crate::lower::function::Lowering;
use crate::lower::instruction::Inst;

/// Whether the instruction is of this shape and of f16.
pub(super) fn is_meant(inst: &Inst<'_, '_>) -> bool {
    inst.has("m8n8k4") && inst.has("f16")
}

/// `mma.sync.aligned.m8n8k4.alayout.blayout.dtype.f16.f16.ctype d, a, b, c`
pub(super) fn lower<'m, 'a>(l: &mut Lowering<'_, 'm, 'a>, inst: &mut Inst<'m, 'a>) -> Result<()> {
    inst.take("m8n8k4");
    let mut is_row = [false; 2];
    for is_row in &mut is_row {
        *is_row = match take_next(inst)? {
            "row" => true,
            "col" => false,
            _ => return Err("it needs .row or .col".to_owned()),
        };
    }
    let types = [
        take_next(inst)?,
        take_next(inst)?,
        take_next(inst)?,
        take_next(inst)?,
    ];
    if elements_of(types)?[0] != Element::F16x2 || (types[0] == "f16" && types[3] == "f32") {
        return Err("no such types are supported".to_owned());
    }
    let [d, a, b, c] = inst.finish()?;
    let pair = QuadPair::new(l)?;
    let a = Factor::new(l, a, is_row[0])?;
    let b = Factor::new(l, b, !is_row[1])?;
    let c_type = accumulator_type(types[3])?;
    let is_f16 = types[0] == "f16";
    let c = if is_f16 == (types[3] == "f16") {
        l.accumulator(c, c_type)?
    } else {
        pair.spread(l, c)?
    };
    if c.len() != 8 {
        return Err("its operands have another number of registers".to_owned());
    }
    let mut sums = c;
    let mut rows: [Option<Fragment>; 2] = [None, None];
    for i in 0..8 {
        let (row, column) = pair.place(l, is_f16, i)?;
        // The row depends on bit 1 of i only.
        let row_at = if is_f16 { 0 } else { i as usize / 2 % 2 };
        let row = match &rows[row_at] {
            Some(row) => row.clone(),
            None => a.line(l, &pair, row)?,
        };
        let column = b.line(l, &pair, column)?;
        let sum = &mut sums[i as usize];
        for (&a, &b) in row.iter().zip(&column) {
            let dst = l.temporary32()?;
            let op = TernaryOp::Fma(FloatType::F32, FloatMode::default());
            l.emit(Op::Ternary {
                op,
                dst,
                a,
                b,
                c: *sum,
            });
            *sum = dst.into();
        }
        rows[row_at] = Some(row);
    }
    l.store_sums(d, accumulator_type(types[0])?, &sums)
}

/// This lane's place.
struct QuadPair {
    /// The first lane of the pair's first quad.
    first: Src,
    /// The lane's number in the quad pair.
    member: Src,
}

impl QuadPair {
    fn new(l: &mut Lowering<'_, '_, '_>) -> Result<Self> {
        let lane = l.temporary32()?;
        l.emit(Op::ReadSpecial {
            dst: lane,
            register: SpecialRegister::LaneId,
        });
        let lane = lane.into();
        let and = BinaryOp::And(Width::B32);
        let low = l.compute(and, lane, Src::Imm(3))?;
        let half = l.compute(BinaryOp::Shr(IntType::U32), lane, Src::Imm(4))?;
        Ok(Self {
            first: l.compute(and, lane, Src::Imm(12))?,
            member: l.multiply_add(half, 4, low)?,
        })
    }

    /// The lane of a member.
    fn lane(&self, l: &mut Lowering<'_, '_, '_>, member: Src) -> Result<Src> {
        let and = BinaryOp::And(Width::B32);
        let low = l.compute(and, member, Src::Imm(3))?;
        let half = l.compute(and, member, Src::Imm(4))?;
        let low = l.compute(BinaryOp::Add(IntType::U32), self.first, low)?;
        l.multiply_add(half, 4, low)
    }

    /// Row and column of this lane's element i of D.
    fn place(&self, l: &mut Lowering<'_, '_, '_>, is_f16: bool, i: u64) -> Result<(Src, Src)> {
        if is_f16 {
            return Ok((self.member, Src::Imm(i)));
        }
        let (and, or) = (BinaryOp::And(Width::B32), BinaryOp::Or(Width::B32));
        let row = l.compute(and, self.member, Src::Imm(5))?;
        let row = l.compute(or, row, Src::Imm(i & 2))?;
        let column = l.compute(and, self.member, Src::Imm(2))?;
        let column = l.compute(or, column, Src::Imm(i & 5))?;
        Ok((row, column))
    }

    /// An accumulator of f16, where each lane has a row, in the places of one of f32.
    fn spread<'a>(&self, l: &mut Lowering<'_, '_, 'a>, c: &Operand<'a>) -> Result<Fragment> {
        let registers = l.fragment(c, ScalarType::B32)?;
        if registers.len() != 4 {
            return Err("its operands have another number of registers".to_owned());
        }
        let mut sums = Vec::with_capacity(8);
        for i in 0..8 {
            let (row, column) = self.place(l, false, i)?;
            let lane = self.lane(l, row)?;
            let at = i as usize / 4 * 2;
            let fetched = [
                l.fetch(registers[at], lane)?,
                l.fetch(registers[at + 1], lane)?,
            ];
            let half = half_of(l, fetched, column)?;
            sums.push(l.half_to_single(half)?);
        }
        Ok(sums)
    }
}

/// The half of two registers that the lower two bits of a number name.
fn half_of(l: &mut Lowering<'_, '_, '_>, [low, high]: [Src; 2], number: Src) -> Result<Src> {
    let number = l.compute(BinaryOp::And(Width::B32), number, Src::Imm(3))?;
    let selector = l.multiply_add(number, 0x22, Src::Imm(0x10))?;
    permute(l, low, high, selector)
}

/// A or B.
struct Factor {
    registers: Fragment,
    /// Each member has a line (a row of A, a column of B) instead of four elements of one inner
    /// index.
    has_lines: bool,
}

impl Factor {
    fn new<'a>(
        l: &mut Lowering<'_, '_, 'a>,
        operand: &Operand<'a>,
        has_lines: bool,
    ) -> Result<Self> {
        let registers = l.fragment(operand, ScalarType::B32)?;
        if registers.len() != 2 {
            return Err("its operands have another number of registers".to_owned());
        }
        Ok(Self {
            registers,
            has_lines,
        })
    }

    /// The four elements of a line.
    fn line(&self, l: &mut Lowering<'_, '_, '_>, pair: &QuadPair, line: Src) -> Result<Fragment> {
        let mut elements = Vec::with_capacity(4);
        if self.has_lines {
            let lane = pair.lane(l, line)?;
            for &register in &self.registers {
                let both = l.fetch(register, lane)?;
                let high = l.compute_unary(UnaryOp::HighHalf32, both)?;
                elements.push(l.half_to_single(both)?);
                elements.push(l.half_to_single(high)?);
            }
            return Ok(elements);
        }
        let block = l.compute(BinaryOp::And(Width::B32), line, Src::Imm(4))?;
        for inner in 0..4 {
            let member = l.compute(BinaryOp::Or(Width::B32), block, Src::Imm(inner))?;
            let lane = pair.lane(l, member)?;
            let fetched = [
                l.fetch(self.registers[0], lane)?,
                l.fetch(self.registers[1], lane)?,
            ];
            let half = half_of(l, fetched, line)?;
            elements.push(l.half_to_single(half)?);
        }
        Ok(elements)
    }
}
