// SPDX-License-Identifier: Apache-2.0
//! Pairs of 16-bit integers: `add min max` of `.u16x2` and `.s16x2`.

use crate::ir::{BinaryOp, IntType, Op, Reg, Src, UnaryOp};
use crate::ptx::ScalarType;

use super::error::Result;
use super::function::Lowering;
use super::instruction::Inst;

pub(super) fn lower<'m, 'a>(
    l: &mut Lowering<'_, 'm, 'a>,
    inst: &mut Inst<'m, 'a>,
    ty: ScalarType,
) -> Result<()> {
    let int = if ty == ScalarType::S16x2 {
        IntType::S16
    } else {
        IntType::U16
    };
    let op = match inst.opcode {
        "add" => BinaryOp::Add(int),
        "min" => BinaryOp::Min(int),
        "max" => BinaryOp::Max(int),
        _ => return Err(format!("no such instruction of {ty:?}")),
    };
    let relu = inst.take("relu");
    if relu && (int != IntType::S16 || inst.opcode == "add") {
        return Err(".relu needs min or max of .s32 or .s16x2".to_owned());
    }
    let [d, a, b] = inst.finish()?;
    let (a, b) = (l.source(a, ScalarType::B32)?, l.source(b, ScalarType::B32)?);
    let low = half(l, op, relu, a, b)?;
    let (a, b) = (high(l, a)?, high(l, b)?);
    let high = half(l, op, relu, a, b)?;
    let dst = l.destination(d, ScalarType::B32)?;
    l.emit(Op::Binary {
        op: BinaryOp::Pack32,
        dst,
        a: low.into(),
        b: high.into(),
    });
    Ok(())
}

fn high(l: &mut Lowering<'_, '_, '_>, a: Src) -> Result<Src> {
    let dst = l.temporary32()?;
    let op = UnaryOp::HighHalf32;
    l.emit(Op::Unary { op, dst, a });
    Ok(dst.into())
}

fn half(l: &mut Lowering<'_, '_, '_>, op: BinaryOp, relu: bool, a: Src, b: Src) -> Result<Reg> {
    let dst = l.temporary32()?;
    l.emit(Op::Binary { op, dst, a, b });
    if !relu {
        return Ok(dst);
    }
    let positive = l.temporary32()?;
    l.emit(Op::Binary {
        op: BinaryOp::Max(IntType::S16),
        dst: positive,
        a: dst.into(),
        b: Src::Imm(0),
    });
    Ok(positive)
}
