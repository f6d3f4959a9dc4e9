// SPDX-License-Identifier: Apache-2.0
//! Integer arithmetic, bit fields, carries, logic and shifts.

use crate::ir::{BinaryOp, BoolOp, Compare, CompareOp, IntType, Op, PermuteMode, PredSrc, Src};
use crate::ir::{ScalarType as IrType, TernaryOp, UnaryOp, Width};
use crate::ptx::{Immediate, Operand, ScalarType};

use super::arithmetic::arithmetic_int;
use super::error::Result;
use super::function::Lowering;
use super::instruction::Inst;
use super::operand::{int_type, width};

/// Which part of a product is wanted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Half {
    High,
    Low,
    Wide,
}

fn take_half(inst: &mut Inst<'_, '_>) -> Result<Half> {
    let half = inst.take_any(|modifier| {
        Some(match modifier {
            "hi" => Half::High,
            "lo" => Half::Low,
            "wide" => Half::Wide,
            _ => return None,
        })
    });
    half.ok_or_else(|| "it needs .lo, .hi or .wide".to_owned())
}

/// The type of twice the width.
fn doubled(ty: ScalarType) -> Result<ScalarType> {
    Ok(match ty {
        ScalarType::U16 => ScalarType::U32,
        ScalarType::S16 => ScalarType::S32,
        ScalarType::U32 => ScalarType::U64,
        ScalarType::S32 => ScalarType::S64,
        _ => return Err(format!("no wide product of {ty:?}")),
    })
}

/// `add sub mul mad div neg abs min max`
pub(super) fn lower_arithmetic<'m, 'a>(
    l: &mut Lowering<'_, 'm, 'a>,
    inst: &mut Inst<'m, 'a>,
    ty: ScalarType,
) -> Result<()> {
    let int = arithmetic_int(ty)?;
    if matches!(inst.opcode, "min" | "max") && inst.take("relu") {
        return lower_relu(l, inst, ty);
    }
    match inst.opcode {
        "add" | "sub" => {
            let is_add = inst.opcode == "add";
            let op = match (inst.take("sat"), is_add) {
                (false, true) => BinaryOp::Add(int),
                (false, false) => BinaryOp::Sub(int),
                (true, _) if int != IntType::S32 => {
                    return Err(".sat needs .s32".to_owned());
                }
                (true, true) => BinaryOp::AddSaturate,
                (true, false) => BinaryOp::SubSaturate,
            };
            l.binary(op, ty, inst.finish()?)
        }
        "mul" => match take_half(inst)? {
            Half::Low => l.binary(BinaryOp::MulLow(int), ty, inst.finish()?),
            Half::High => l.binary(BinaryOp::MulHigh(int), ty, inst.finish()?),
            Half::Wide => {
                let [d, a, b] = inst.finish()?;
                let (a, b) = (l.source(a, ty)?, l.source(b, ty)?);
                let dst = l.destination(d, doubled(ty)?)?;
                l.emit(Op::Binary {
                    op: BinaryOp::MulWide(int),
                    dst,
                    a,
                    b,
                });
                Ok(())
            }
        },
        "mad" => lower_mad(l, inst, ty, int),
        "div" => l.binary(BinaryOp::Div(int), ty, inst.finish()?),
        "min" => l.binary(BinaryOp::Min(int), ty, inst.finish()?),
        "max" => l.binary(BinaryOp::Max(int), ty, inst.finish()?),
        "neg" if is_signed(int) => l.unary(UnaryOp::Neg(int), ty, inst.finish()?),
        "abs" if is_signed(int) => l.unary(UnaryOp::Abs(int), ty, inst.finish()?),
        _ => Err(format!("no such instruction of {ty:?}")),
    }
}

/// `min.relu.s32` and `max.relu.s32`: a negative result becomes zero.
fn lower_relu<'m, 'a>(
    l: &mut Lowering<'_, 'm, 'a>,
    inst: &mut Inst<'m, 'a>,
    ty: ScalarType,
) -> Result<()> {
    if ty != ScalarType::S32 {
        return Err(".relu needs .s32 or .s16x2".to_owned());
    }
    let int = IntType::S32;
    let op = if inst.opcode == "min" {
        BinaryOp::Min(int)
    } else {
        BinaryOp::Max(int)
    };
    let [d, a, b] = inst.finish()?;
    let (a, b) = (l.source(a, ty)?, l.source(b, ty)?);
    let chosen = l.temporary32()?;
    l.emit(Op::Binary {
        op,
        dst: chosen,
        a,
        b,
    });
    let dst = l.destination(d, ty)?;
    l.emit(Op::Binary {
        op: BinaryOp::Max(int),
        dst,
        a: chosen.into(),
        b: Src::Imm(0),
    });
    Ok(())
}

fn is_signed(int: IntType) -> bool {
    matches!(
        int,
        IntType::S8 | IntType::S16 | IntType::S32 | IntType::S64
    )
}

fn lower_mad<'m, 'a>(
    l: &mut Lowering<'_, 'm, 'a>,
    inst: &mut Inst<'m, 'a>,
    ty: ScalarType,
    int: IntType,
) -> Result<()> {
    let half = take_half(inst)?;
    match (half, inst.take("sat")) {
        (Half::Low, false) => l.ternary(TernaryOp::MadLow(int), ty, inst.finish()?),
        (Half::High, false) => l.ternary(TernaryOp::MadHigh(int), ty, inst.finish()?),
        (Half::High, true) if int == IntType::S32 => {
            l.ternary(TernaryOp::MadHighSaturate, ty, inst.finish()?)
        }
        (Half::Wide, false) => {
            let [d, a, b, c] = inst.finish()?;
            let wide = doubled(ty)?;
            let (a, b, c) = (l.source(a, ty)?, l.source(b, ty)?, l.source(c, wide)?);
            let dst = l.destination(d, wide)?;
            l.emit(Op::Ternary {
                op: TernaryOp::MadWide(int),
                dst,
                a,
                b,
                c,
            });
            Ok(())
        }
        _ => Err(".sat needs .hi.s32".to_owned()),
    }
}

/// Everything else on integers that is not logic.
pub(super) fn lower<'m, 'a>(l: &mut Lowering<'_, 'm, 'a>, inst: &mut Inst<'m, 'a>) -> Result<()> {
    match inst.opcode {
        "addc" | "subc" | "madc" => {
            let carry_out = inst.take("cc");
            return lower_carry(l, inst, carry_out);
        }
        "bmsk" => return lower_bit_mask(l, inst),
        "dp4a" | "dp2a" => return lower_dot_product(l, inst),
        _ => {}
    }
    let ty = inst.take_type()?;
    match inst.opcode {
        "rem" => l.binary(BinaryOp::Rem(arithmetic_int(ty)?), ty, inst.finish()?),
        "sad" => l.ternary(TernaryOp::Sad(arithmetic_int(ty)?), ty, inst.finish()?),
        "mul24" | "mad24" => lower_24(l, inst, ty),
        "szext" => {
            let int = only_32(ty)?;
            let op = match (inst.take("clamp"), inst.take("wrap")) {
                (true, false) => BinaryOp::SignZeroExtendClamp(int),
                (false, true) => BinaryOp::SignZeroExtendWrap(int),
                _ => return Err("it needs .clamp or .wrap".to_owned()),
            };
            let [d, a, b] = inst.finish()?;
            let (a, b) = (l.source(a, ty)?, l.source(b, ScalarType::U32)?);
            let dst = l.destination(d, ty)?;
            l.emit(Op::Binary { op, dst, a, b });
            Ok(())
        }
        "popc" | "clz" | "brev" | "bfind" => lower_bit_count(l, inst, ty),
        "fns" => {
            only_32(ty)?;
            l.ternary(TernaryOp::FindNthSet, ScalarType::B32, inst.finish()?)
        }
        "bfe" => {
            let int = only_32_or_64(ty)?;
            let [d, a, b, c] = inst.finish()?;
            let a = l.source(a, ty)?;
            let (b, c) = (l.source(b, ScalarType::U32)?, l.source(c, ScalarType::U32)?);
            let dst = l.destination(d, ty)?;
            l.emit(Op::Ternary {
                op: TernaryOp::BitFieldExtract(int),
                dst,
                a,
                b,
                c,
            });
            Ok(())
        }
        "bfi" => {
            only_32_or_64(ty)?;
            let [d, a, b, position, length] = inst.finish()?;
            let (a, b) = (l.source(a, ty)?, l.source(b, ty)?);
            let position = l.source(position, ScalarType::U32)?;
            let length = l.source(length, ScalarType::U32)?;
            let dst = l.destination(d, ty)?;
            l.emit(Op::BitFieldInsert {
                width: width(ty)?,
                dst,
                a,
                b,
                position,
                length,
            });
            Ok(())
        }
        _ => Err("it is not supported".to_owned()),
    }
}

fn only_32(ty: ScalarType) -> Result<IntType> {
    match int_type(ty)? {
        int @ (IntType::U32 | IntType::S32) => Ok(int),
        _ => Err(format!("no such instruction of {ty:?}")),
    }
}

fn only_32_or_64(ty: ScalarType) -> Result<IntType> {
    match int_type(ty)? {
        int @ (IntType::U32 | IntType::S32 | IntType::U64 | IntType::S64) => Ok(int),
        _ => Err(format!("no such instruction of {ty:?}")),
    }
}

fn lower_24<'m, 'a>(
    l: &mut Lowering<'_, 'm, 'a>,
    inst: &mut Inst<'m, 'a>,
    ty: ScalarType,
) -> Result<()> {
    let int = only_32(ty)?;
    match (inst.opcode, take_half(inst)?) {
        ("mul24", Half::Low) => l.binary(BinaryOp::Mul24Low(int), ty, inst.finish()?),
        ("mul24", Half::High) => l.binary(BinaryOp::Mul24High(int), ty, inst.finish()?),
        ("mad24", Half::Low) => l.ternary(TernaryOp::Mad24Low(int), ty, inst.finish()?),
        ("mad24", Half::High) if inst.take("sat") => {
            if int != IntType::S32 {
                return Err(".sat needs .s32".to_owned());
            }
            let [d, a, b, c] = inst.finish()?;
            let (a, b, c) = (l.source(a, ty)?, l.source(b, ty)?, l.source(c, ty)?);
            let product = l.temporary32()?;
            l.emit(Op::Binary {
                op: BinaryOp::Mul24High(int),
                dst: product,
                a,
                b,
            });
            let dst = l.destination(d, ty)?;
            l.emit(Op::Binary {
                op: BinaryOp::AddSaturate,
                dst,
                a: product.into(),
                b: c,
            });
            Ok(())
        }
        ("mad24", Half::High) => l.ternary(TernaryOp::Mad24High(int), ty, inst.finish()?),
        _ => Err("it needs .lo or .hi".to_owned()),
    }
}

fn lower_bit_count<'m, 'a>(
    l: &mut Lowering<'_, 'm, 'a>,
    inst: &mut Inst<'m, 'a>,
    ty: ScalarType,
) -> Result<()> {
    let int = only_32_or_64(ty)?;
    let width = width(ty)?;
    let op = match inst.opcode {
        "brev" => return l.unary(UnaryOp::BitReverse(width), ty, inst.finish()?),
        "popc" => UnaryOp::PopulationCount(width),
        "clz" => UnaryOp::CountLeadingZeros(width),
        _ => UnaryOp::FindLeadingBit {
            ty: int,
            shift_amount: inst.take("shiftamt"),
        },
    };
    let [d, a] = inst.finish()?;
    let a = l.source(a, ty)?;
    let dst = l.destination(d, ScalarType::U32)?;
    l.emit(Op::Unary { op, dst, a });
    Ok(())
}

fn lower_bit_mask<'m, 'a>(l: &mut Lowering<'_, 'm, 'a>, inst: &mut Inst<'m, 'a>) -> Result<()> {
    let op = match (inst.take("clamp"), inst.take("wrap")) {
        (true, false) => BinaryOp::BitMaskClamp,
        (false, true) => BinaryOp::BitMaskWrap,
        _ => return Err("it needs .clamp or .wrap".to_owned()),
    };
    only_32(inst.take_type()?)?;
    l.binary(op, ScalarType::B32, inst.finish()?)
}

fn lower_dot_product<'m, 'a>(l: &mut Lowering<'_, 'm, 'a>, inst: &mut Inst<'m, 'a>) -> Result<()> {
    let signed = |inst: &mut Inst<'_, '_>| match inst.take_type()? {
        ScalarType::S32 => Ok(true),
        ScalarType::U32 => Ok(false),
        other => Err(format!("no dot product of {other:?}")),
    };
    let op = if inst.opcode == "dp4a" {
        TernaryOp::DotProduct4 {
            a_signed: signed(inst)?,
            b_signed: signed(inst)?,
        }
    } else {
        let high = take_half(inst)? == Half::High;
        TernaryOp::DotProduct2 {
            a_signed: signed(inst)?,
            b_signed: signed(inst)?,
            high,
        }
    };
    l.ternary(op, ScalarType::B32, inst.finish()?)
}

/// `add.cc addc sub.cc subc mad.cc madc`
pub(super) fn lower_carry<'m, 'a>(
    l: &mut Lowering<'_, 'm, 'a>,
    inst: &mut Inst<'m, 'a>,
    carry_out: bool,
) -> Result<()> {
    let ty = inst.take_type()?;
    let int = only_32_or_64(ty)?;
    let width = width(ty)?;
    let carry = l.carry_flag()?;
    let carry_in = inst.opcode.ends_with('c').then_some(carry);
    let carry_out = carry_out.then_some(carry);
    let (subtract, d, a, b) = match inst.opcode {
        "add" | "addc" | "sub" | "subc" => {
            let [d, a, b] = inst.finish()?;
            (
                inst.opcode.starts_with("sub"),
                d,
                l.source(a, ty)?,
                l.source(b, ty)?,
            )
        }
        "mad" | "madc" => {
            let op = match take_half(inst)? {
                Half::Low => BinaryOp::MulLow(int),
                Half::High => BinaryOp::MulHigh(int),
                Half::Wide => return Err("a wide product has no carry".to_owned()),
            };
            let [d, a, b, c] = inst.finish()?;
            let (a, b, c) = (l.source(a, ty)?, l.source(b, ty)?, l.source(c, ty)?);
            let dst = if width == Width::B64 {
                l.temporary64()?
            } else {
                l.temporary32()?
            };
            l.emit(Op::Binary { op, dst, a, b });
            (false, d, dst.into(), c)
        }
        _ => return Err("it has no carry".to_owned()),
    };
    let dst = l.destination(d, ty)?;
    l.emit(Op::Carry {
        width,
        subtract,
        dst,
        a,
        b,
        carry_in,
        carry_out,
    });
    Ok(())
}

/// `and or xor not cnot lop3 shf shl shr prmt`
pub(super) fn lower_logic<'m, 'a>(
    l: &mut Lowering<'_, 'm, 'a>,
    inst: &mut Inst<'m, 'a>,
) -> Result<()> {
    match inst.opcode {
        "lop3" => return lower_lop3(l, inst),
        "shf" => return lower_funnel(l, inst),
        "prmt" => return lower_permute(l, inst),
        _ => {}
    }
    let ty = inst.take_type()?;
    if ty == ScalarType::Pred {
        return lower_predicate_logic(l, inst);
    }
    let width = width(ty)?;
    match inst.opcode {
        "and" => l.binary(BinaryOp::And(width), ty, inst.finish()?),
        "or" => l.binary(BinaryOp::Or(width), ty, inst.finish()?),
        "xor" => l.binary(BinaryOp::Xor(width), ty, inst.finish()?),
        "not" => l.unary(UnaryOp::Not(width), ty, inst.finish()?),
        "cnot" => l.unary(UnaryOp::Cnot(width), ty, inst.finish()?),
        _ => {
            let op = if inst.opcode == "shl" {
                BinaryOp::Shl(width)
            } else {
                BinaryOp::Shr(arithmetic_int(ty)?)
            };
            let [d, a, b] = inst.finish()?;
            let (a, b) = (l.source(a, ty)?, l.source(b, ScalarType::U32)?);
            let dst = l.destination(d, ty)?;
            l.emit(Op::Binary { op, dst, a, b });
            Ok(())
        }
    }
}

fn lower_predicate_logic<'m, 'a>(
    l: &mut Lowering<'_, 'm, 'a>,
    inst: &mut Inst<'m, 'a>,
) -> Result<()> {
    if inst.opcode == "not" {
        let [d, a] = inst.finish()?;
        let a = negated(l.predicate_source(a)?);
        let dst = l.predicate_result(d)?;
        l.emit(Op::PredicateMove { dst, a });
        return Ok(());
    }
    let op = bool_op(inst.opcode).ok_or("it does not work on predicates")?;
    let [d, a, b] = inst.finish()?;
    let (a, b) = (l.predicate_source(a)?, l.predicate_source(b)?);
    let dst = l.predicate_result(d)?;
    l.emit(Op::PredicateLogic { op, dst, a, b });
    Ok(())
}

pub(super) fn bool_op(name: &str) -> Option<BoolOp> {
    Some(match name {
        "and" => BoolOp::And,
        "or" => BoolOp::Or,
        "xor" => BoolOp::Xor,
        _ => return None,
    })
}

fn negated(src: PredSrc) -> PredSrc {
    match src {
        PredSrc::Const(value) => PredSrc::Const(!value),
        PredSrc::Reg { pred, negate } => PredSrc::Reg {
            pred,
            negate: !negate,
        },
    }
}

/// `lop3.b32 d, a, b, c, table` and `lop3.or.b32 d|p, a, b, c, table, q`
fn lower_lop3<'m, 'a>(l: &mut Lowering<'_, 'm, 'a>, inst: &mut Inst<'m, 'a>) -> Result<()> {
    let combine = inst.take_any(bool_op);
    if combine == Some(BoolOp::Xor) || inst.take_type()? != ScalarType::B32 {
        return Err("no such form".to_owned());
    }
    let (operands, q) = match (inst.finish_between(5, 6)?, combine) {
        ([d, a, b, c, table], None) => ([d, a, b, c, table], None),
        ([d, a, b, c, table, q], Some(op)) => ([d, a, b, c, table], Some((op, q))),
        _ => return Err("it has another number of operands".to_owned()),
    };
    let [d, a, b, c, table] = operands;
    // Of a larger number, the lower eight bits count: so does NVIDIA's assembler.
    let Operand::Immediate(Immediate::Int(table)) = table else {
        return Err("its table is no constant number".to_owned());
    };
    let ty = ScalarType::B32;
    let (a, b, c) = (l.source(a, ty)?, l.source(b, ty)?, l.source(c, ty)?);
    let (d, p) = l.pair(d);
    let dst = l.destination(&d, ty)?;
    let q = q
        .map(|(op, q)| Ok::<_, String>((op, l.predicate_source(q)?)))
        .transpose()?;
    l.emit(Op::Ternary {
        op: TernaryOp::Lop3(*table as u8),
        dst,
        a,
        b,
        c,
    });
    match (p, q) {
        (None, None) => Ok(()),
        (Some(p), Some(combine)) => {
            let compare = Compare {
                op: CompareOp::Ne,
                ty: IrType::Int(IntType::U32),
                flush: false,
                a: dst.into(),
                b: Src::Imm(0),
            };
            let dst = l.predicate_destination(&p)?;
            l.emit(Op::SetPredicate {
                compare,
                combine: Some(combine),
                dst,
                dst_not: None,
            });
            Ok(())
        }
        _ => Err("a predicate result needs .or or .and".to_owned()),
    }
}

fn lower_funnel<'m, 'a>(l: &mut Lowering<'_, 'm, 'a>, inst: &mut Inst<'m, 'a>) -> Result<()> {
    let left = inst.take("l");
    if !left && !inst.take("r") {
        return Err("it needs .l or .r".to_owned());
    }
    let clamp = inst.take("clamp");
    if !clamp && !inst.take("wrap") {
        return Err("it needs .clamp or .wrap".to_owned());
    }
    only_32(inst.take_type()?)?;
    let op = match (left, clamp) {
        (true, true) => TernaryOp::FunnelLeftClamp,
        (true, false) => TernaryOp::FunnelLeftWrap,
        (false, true) => TernaryOp::FunnelRightClamp,
        (false, false) => TernaryOp::FunnelRightWrap,
    };
    l.ternary(op, ScalarType::B32, inst.finish()?)
}

fn lower_permute<'m, 'a>(l: &mut Lowering<'_, 'm, 'a>, inst: &mut Inst<'m, 'a>) -> Result<()> {
    only_32(inst.take_type()?)?;
    let mode = inst.take_any(|modifier| {
        Some(match modifier {
            "f4e" => PermuteMode::Forward4Extract,
            "b4e" => PermuteMode::Backward4Extract,
            "rc8" => PermuteMode::Replicate8,
            "ecl" => PermuteMode::EdgeClampLeft,
            "ecr" => PermuteMode::EdgeClampRight,
            "rc16" => PermuteMode::Replicate16,
            _ => return None,
        })
    });
    let op = TernaryOp::Permute(mode.unwrap_or(PermuteMode::Index));
    l.ternary(op, ScalarType::B32, inst.finish()?)
}
