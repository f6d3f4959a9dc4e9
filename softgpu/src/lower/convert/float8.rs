// SPDX-License-Identifier: Apache-2.0
//! `cvt` from and to pairs of numbers of eight bits.

use crate::ir::{
    BinaryOp, Float8, FloatType, MinMaxMode, Op, Reg, Rounding, ScalarType as IrType, Src, UnaryOp,
};
use crate::ptx::ScalarType;

use super::super::error::Result;
use super::super::function::Lowering;
use super::super::instruction::Inst;
use super::Mode;

pub(super) fn format(ty: ScalarType) -> Option<Float8> {
    match ty {
        ScalarType::E4m3x2 => Some(Float8::E4m3),
        ScalarType::E5m2x2 => Some(Float8::E5m2),
        _ => None,
    }
}

fn check(mode: Mode, finite: bool) -> Result<()> {
    let Mode {
        rounding: Some(Rounding::NearestEven),
        integral: false,
        flush: false,
        saturate: false,
        ..
    } = mode
    else {
        return Err("it needs .rn and no other rounding".to_owned());
    };
    if mode.finite == finite {
        Ok(())
    } else {
        Err("only a conversion to eight bits has .satfinite, and needs it".to_owned())
    }
}

/// `cvt.rn.satfinite{.relu}.e4m3x2.f32 d, a, b` and `cvt.rn.satfinite{.relu}.e4m3x2.f16x2 d, a`
pub(super) fn lower_pack<'m, 'a>(
    l: &mut Lowering<'_, 'm, 'a>,
    inst: &mut Inst<'m, 'a>,
    to: ScalarType,
    from: ScalarType,
    mode: Mode,
) -> Result<()> {
    check(mode, true)?;
    let to = format(to).ok_or("internal: no format of eight bits")?;
    let (d, high, low) = match from {
        ScalarType::F32 => {
            let [d, high, low] = inst.finish()?;
            (d, l.source(high, from)?, l.source(low, from)?)
        }
        ScalarType::F16x2 => {
            let [d, a] = inst.finish()?;
            let low = l.source(a, ScalarType::B32)?;
            let high = l.temporary32()?;
            let op = UnaryOp::HighHalf32;
            l.emit(Op::Unary {
                op,
                dst: high,
                a: low,
            });
            (d, widened(l, high.into())?.into(), widened(l, low)?.into())
        }
        _ => return Err(format!("no conversion from {from:?}")),
    };
    let dst = l.destination(d, ScalarType::B16)?;
    let op = BinaryOp::PackFloat8 {
        to,
        relu: mode.relu,
    };
    l.emit(Op::Binary {
        op,
        dst,
        a: high,
        b: low,
    });
    Ok(())
}

/// An f16 as f32.
fn widened(l: &mut Lowering<'_, '_, '_>, a: Src) -> Result<Reg> {
    let dst = l.temporary32()?;
    l.emit(Op::Convert {
        to: IrType::Float(FloatType::F32),
        from: IrType::Float(FloatType::F16),
        dst,
        a,
        rounding: Rounding::NearestEven,
        integral: false,
        flush: false,
        saturate: false,
        relu: false,
    });
    Ok(dst)
}

/// `cvt.rn{.relu}.f16x2.e4m3x2 d, a`
pub(super) fn lower_unpack<'m, 'a>(
    l: &mut Lowering<'_, 'm, 'a>,
    inst: &mut Inst<'m, 'a>,
    from: ScalarType,
    mode: Mode,
) -> Result<()> {
    check(mode, false)?;
    let from = format(from).ok_or("internal: no format of eight bits")?;
    let [d, a] = inst.finish()?;
    let a = l.source(a, ScalarType::B16)?;
    let dst = l.destination(d, ScalarType::F16x2)?;
    let exact = if mode.relu { l.temporary32()? } else { dst };
    let op = UnaryOp::UnpackFloat8(from);
    l.emit(Op::Unary { op, dst: exact, a });
    if mode.relu {
        let mode = MinMaxMode {
            nan: true,
            ..MinMaxMode::default()
        };
        let ty = FloatType::F16x2;
        l.emit(Op::Binary {
            op: BinaryOp::FloatMax { ty, mode },
            dst,
            a: exact.into(),
            b: Src::Imm(0),
        });
    }
    Ok(())
}
