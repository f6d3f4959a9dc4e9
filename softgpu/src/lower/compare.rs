// SPDX-License-Identifier: Apache-2.0
//! Comparison and selection: `setp set selp slct`.

use crate::ir::{
    BoolOp, Compare, CompareOp, FloatType, IntType, Op, PredSrc, ScalarType as IrType, TernaryOp,
};
use crate::ptx::{Operand, ScalarType};

use super::error::Result;
use super::function::Lowering;
use super::instruction::Inst;
use super::integer::bool_op;
use super::operand::{float_type, is_float, scalar_type, width};

pub(super) fn lower<'m, 'a>(l: &mut Lowering<'_, 'm, 'a>, inst: &mut Inst<'m, 'a>) -> Result<()> {
    match inst.opcode {
        "setp" => lower_set_predicate(l, inst),
        "set" => lower_set(l, inst),
        "selp" => {
            let ty = inst.take_type()?;
            let width = width(ty)?;
            let [d, a, b, p] = inst.finish()?;
            let (a, b) = (l.source(a, ty)?, l.source(b, ty)?);
            let pred = l.predicate_source(p)?;
            let dst = l.destination(d, ty)?;
            l.emit(Op::Select {
                width,
                dst,
                a,
                b,
                pred,
            });
            Ok(())
        }
        _ => lower_select_sign(l, inst),
    }
}

/// `slct.dtype.s32 d, a, b, c` and `slct{.ftz}.dtype.f32`
fn lower_select_sign<'m, 'a>(l: &mut Lowering<'_, 'm, 'a>, inst: &mut Inst<'m, 'a>) -> Result<()> {
    let flush = inst.take("ftz");
    let ty = inst.take_type()?;
    let selector = inst.take_type()?;
    let width = width(ty)?;
    let op = match selector {
        ScalarType::S32 if !flush => TernaryOp::SelectSign(width),
        ScalarType::F32 => TernaryOp::SelectSignFloat { width, flush },
        _ => return Err(format!("no selection by {selector:?}")),
    };
    let [d, a, b, c] = inst.finish()?;
    let (a, b, c) = (l.source(a, ty)?, l.source(b, ty)?, l.source(c, selector)?);
    let dst = l.destination(d, ty)?;
    l.emit(Op::Ternary { op, dst, a, b, c });
    Ok(())
}

/// A comparison operator; true with it where it asks for unsigned operands.
fn compare_op(name: &str) -> Option<(CompareOp, bool)> {
    Some(match name {
        "eq" => (CompareOp::Eq, false),
        "ne" => (CompareOp::Ne, false),
        "lt" => (CompareOp::Lt, false),
        "le" => (CompareOp::Le, false),
        "gt" => (CompareOp::Gt, false),
        "ge" => (CompareOp::Ge, false),
        "lo" => (CompareOp::Lt, true),
        "ls" => (CompareOp::Le, true),
        "hi" => (CompareOp::Gt, true),
        "hs" => (CompareOp::Ge, true),
        "equ" => (CompareOp::EqU, false),
        "neu" => (CompareOp::NeU, false),
        "ltu" => (CompareOp::LtU, false),
        "leu" => (CompareOp::LeU, false),
        "gtu" => (CompareOp::GtU, false),
        "geu" => (CompareOp::GeU, false),
        "num" => (CompareOp::Num, false),
        "nan" => (CompareOp::Nan, false),
        _ => return None,
    })
}

struct Comparison {
    op: CompareOp,
    combine: Option<BoolOp>,
    flush: bool,
}

impl Comparison {
    fn take(inst: &mut Inst<'_, '_>) -> Result<(Self, bool)> {
        let (op, unsigned) = inst
            .take_any(compare_op)
            .ok_or("it has no comparison operator")?;
        let comparison = Self {
            op,
            combine: inst.take_any(bool_op),
            flush: inst.take("ftz"),
        };
        Ok((comparison, unsigned))
    }

    /// Whether the operator exists for the type.
    fn check(&self, ty: ScalarType, unsigned: bool) -> Result<()> {
        let only_equality = matches!(ty, ScalarType::B16 | ScalarType::B32 | ScalarType::B64);
        let is_equality = matches!(self.op, CompareOp::Eq | CompareOp::Ne);
        let plain = is_equality
            || matches!(
                self.op,
                CompareOp::Lt | CompareOp::Le | CompareOp::Gt | CompareOp::Ge
            );
        let fits = if is_float(ty) {
            !unsigned
        } else {
            plain && !self.flush && (is_equality || !only_equality) && ty.size_bytes() > 1
        };
        let signed = matches!(ty, ScalarType::S16 | ScalarType::S32 | ScalarType::S64);
        if fits && !(unsigned && signed) {
            return Ok(());
        }
        Err(format!("no such comparison of {ty:?}"))
    }

    fn combination<'a>(
        &self,
        l: &Lowering<'_, '_, 'a>,
        operand: Option<&Operand<'a>>,
    ) -> Result<Option<(BoolOp, PredSrc)>> {
        match (self.combine, operand) {
            (None, None) => Ok(None),
            (Some(op), Some(operand)) => Ok(Some((op, l.predicate_source(operand)?))),
            _ => Err("a combining predicate needs .and, .or or .xor, and these need it".to_owned()),
        }
    }
}

fn is_packed(ty: ScalarType) -> bool {
    matches!(ty, ScalarType::F16x2 | ScalarType::Bf16x2)
}

fn lower_set_predicate<'m, 'a>(
    l: &mut Lowering<'_, 'm, 'a>,
    inst: &mut Inst<'m, 'a>,
) -> Result<()> {
    let (comparison, unsigned) = Comparison::take(inst)?;
    let ty = inst.take_type()?;
    comparison.check(ty, unsigned)?;
    let [d, a, b, rest @ ..] = inst.finish_between(3, 4)? else {
        return Err("it has too few operands".to_owned());
    };
    let combine = comparison.combination(l, rest.first())?;
    let (a, b) = (l.source(a, ty)?, l.source(b, ty)?);
    let Comparison { op, flush, .. } = comparison;
    let compare = Compare {
        op,
        ty: scalar_type(ty)?,
        flush,
        a,
        b,
    };
    let (first, second) = l.pair(d);
    let first = l.predicate_destination(&first)?;
    let second = second
        .map(|q| l.predicate_destination(&q))
        .transpose()?
        .flatten();
    l.emit(if is_packed(ty) {
        Op::SetPredicatePacked {
            compare,
            combine,
            low: first,
            high: second,
        }
    } else {
        Op::SetPredicate {
            compare,
            combine,
            dst: first,
            dst_not: second,
        }
    });
    Ok(())
}

/// `set.eq{.and}{.ftz}.dtype.stype d, a, b{, c}`
fn lower_set<'m, 'a>(l: &mut Lowering<'_, 'm, 'a>, inst: &mut Inst<'m, 'a>) -> Result<()> {
    let (comparison, unsigned) = Comparison::take(inst)?;
    let result = inst.take_type()?;
    let ty = inst.take_type()?;
    comparison.check(ty, unsigned)?;
    let result_type = match result {
        // `set.eq.u32.f16x2`: all ones in either half.
        ScalarType::U16 | ScalarType::S16 | ScalarType::F16 | ScalarType::Bf16
            if !is_packed(ty) =>
        {
            scalar_type(result)?
        }
        ScalarType::F16x2 | ScalarType::Bf16x2 if result == ty => IrType::Float(float_type(ty)?),
        ScalarType::U32 | ScalarType::S32 => scalar_type(result)?,
        ScalarType::F32 if !is_packed(ty) => IrType::Float(FloatType::F32),
        _ => return Err(format!("no such result of type {result:?}")),
    };
    debug_assert_ne!(result_type, IrType::Int(IntType::U8));
    let [d, a, b, rest @ ..] = inst.finish_between(3, 4)? else {
        return Err("it has too few operands".to_owned());
    };
    let combine = comparison.combination(l, rest.first())?;
    let (a, b) = (l.source(a, ty)?, l.source(b, ty)?);
    let Comparison { op, flush, .. } = comparison;
    let compare = Compare {
        op,
        ty: scalar_type(ty)?,
        flush,
        a,
        b,
    };
    let dst = l.destination(d, result)?;
    l.emit(Op::Set {
        compare,
        combine,
        result: result_type,
        dst,
    });
    Ok(())
}
