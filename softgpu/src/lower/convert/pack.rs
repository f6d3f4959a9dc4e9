// SPDX-License-Identifier: Apache-2.0
//! `cvt.pack`: two integers saturated and put side by side.

use crate::ir::{BinaryOp, IntType, Op, Src, UnaryOp, Width};
use crate::lower::error::Result;
use crate::lower::function::Lowering;
use crate::lower::instruction::Inst;
use crate::lower::operand::int_type;
use crate::ptx::ScalarType;

/// `cvt.pack.sat.u16.s32 d, a, b` and `cvt.pack.sat.u8.s32.b32 d, a, b, c`
pub(super) fn lower<'m, 'a>(l: &mut Lowering<'_, 'm, 'a>, inst: &mut Inst<'m, 'a>) -> Result<()> {
    let saturates = inst.take("sat");
    if let Some((bits, is_signed)) = inst.take_any(small_integer) {
        return lower_small(l, inst, saturates, bits, is_signed);
    }
    let ty = int_type(inst.take_type()?)?;
    let from = inst.take_type()?;
    let is_byte = matches!(ty, IntType::U8 | IntType::S8);
    let has_background = is_byte && inst.take("b32");
    let known = is_byte || matches!(ty, IntType::U16 | IntType::S16);
    if !saturates || !known || from != ScalarType::S32 || is_byte != has_background {
        return Err("no such packing conversion".to_owned());
    }
    let (d, a, b, c) = match inst.finish_between(3, 4)? {
        [d, a, b] if !is_byte => (d, a, b, None),
        [d, a, b, c] if is_byte => (d, a, b, Some(c)),
        _ => return Err("it has another number of operands".to_owned()),
    };
    let (a, b) = (l.source(a, from)?, l.source(b, from)?);
    let c = c.map(|c| l.source(c, ScalarType::B32)).transpose()?;
    let dst = l.destination(d, ScalarType::B32)?;
    l.emit(Op::ConvertPackInt { ty, dst, a, b, c });
    Ok(())
}

/// Bits of an integer smaller than a byte, and whether it is signed.
fn small_integer(name: &str) -> Option<(u64, bool)> {
    Some(match name {
        "u2" => (2, false),
        "s2" => (2, true),
        "u4" => (4, false),
        "s4" => (4, true),
        _ => return None,
    })
}

/// `cvt.pack.sat.u4.s32.b32 d, a, b, c`: b, above it a, above them the lower bits of c.
fn lower_small<'m, 'a>(
    l: &mut Lowering<'_, 'm, 'a>,
    inst: &mut Inst<'m, 'a>,
    saturates: bool,
    bits: u64,
    is_signed: bool,
) -> Result<()> {
    let types = [inst.take_type()?, inst.take_type()?];
    if !saturates || types != [ScalarType::S32, ScalarType::B32] {
        return Err("no such packing conversion".to_owned());
    }
    let [d, a, b, c] = inst.finish()?;
    let (a, b) = (l.source(a, ScalarType::S32)?, l.source(b, ScalarType::S32)?);
    let c = l.source(c, ScalarType::B32)?;
    let mask = (1 << bits) - 1;
    let (least, most) = match is_signed {
        true => (!(mask >> 1) & u64::from(u32::MAX), mask >> 1),
        false => (0, mask),
    };
    let mut saturated = |value| {
        let value = l.compute(BinaryOp::Max(IntType::S32), value, Src::Imm(least))?;
        let value = l.compute(BinaryOp::Min(IntType::S32), value, Src::Imm(most))?;
        l.compute(BinaryOp::And(Width::B32), value, Src::Imm(mask))
    };
    let (a, b) = (saturated(a)?, saturated(b)?);
    let low = l.multiply_add(a, 1 << bits, b)?;
    let packed = l.multiply_add(c, 1 << (2 * bits), low)?;
    let dst = l.destination(d, ScalarType::B32)?;
    l.emit(Op::Unary {
        op: UnaryOp::Move(Width::B32),
        dst,
        a: packed,
    });
    Ok(())
}
