// SPDX-License-Identifier: Apache-2.0
//! `fma.rn.oob`: 0 where a factor is the NaN that tensor copies fill in beyond a tensor's bounds.

use crate::ir::{
    BinaryOp, Compare, CompareOp, IntType, Op, ScalarType as IrType, Src, TernaryOp, Width,
};
use crate::lower::error::Result;
use crate::lower::function::Lowering;
use crate::ptx::{Operand, ScalarType};
use crate::tensor_map::OUT_OF_BOUNDS_NAN_16;

/// `fma.rn.oob{.relu}.type d, a, b, c`
pub(super) fn lower_fma<'a>(
    l: &mut Lowering<'_, '_, 'a>,
    op: TernaryOp,
    ty: ScalarType,
    [d, a, b, c]: &[Operand<'a>; 4],
) -> Result<()> {
    let (a, b, c) = (l.source(a, ty)?, l.source(b, ty)?, l.source(c, ty)?);
    let fused = l.temporary32()?;
    l.emit(Op::Ternary {
        op,
        dst: fused,
        a,
        b,
        c,
    });
    let mut kept = fused.into();
    for factor in [a, b] {
        kept = cleared(l, kept, factor, 0)?;
        if ty.size_bytes() == 4 {
            kept = cleared(l, kept, factor, 16)?;
        }
    }
    let dst = l.destination(d, ty)?;
    l.emit(Op::Unary {
        op: crate::ir::UnaryOp::Move(Width::B32),
        dst,
        a: kept,
    });
    Ok(())
}

/// `value` with the half at `shift` cleared where that of `factor` is out of bounds.
fn cleared(l: &mut Lowering<'_, '_, '_>, value: Src, factor: Src, shift: u64) -> Result<Src> {
    let half = l.compute(BinaryOp::Shr(IntType::U32), factor, Src::Imm(shift))?;
    let half = l.compute(BinaryOp::And(Width::B32), half, Src::Imm(0xffff))?;
    let pred = l.temporary_predicate()?;
    l.emit(Op::SetPredicate {
        compare: Compare {
            op: CompareOp::Eq,
            ty: IrType::Int(IntType::U32),
            flush: false,
            a: half,
            b: Src::Imm(OUT_OF_BOUNDS_NAN_16),
        },
        combine: None,
        dst: Some(pred),
        dst_not: None,
    });
    let others = Src::Imm(u64::from(u32::MAX) & !(0xffff << shift));
    let without = l.compute(BinaryOp::And(Width::B32), value, others)?;
    let dst = l.temporary32()?;
    l.emit(Op::Select {
        width: Width::B32,
        dst,
        a: without,
        b: value,
        pred: pred.into(),
    });
    Ok(dst.into())
}
