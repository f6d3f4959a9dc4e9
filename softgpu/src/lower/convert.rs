// SPDX-License-Identifier: Apache-2.0
//! `cvt` in all its forms.

mod float8;
mod pack;

use crate::ir::{
    self, BinaryOp, FloatType, IntType, MinMaxMode, Op, Reg, Rounding, Src, UnaryOp, Width,
};
use crate::ptx::ScalarType;

use super::error::Result;
use super::function::Lowering;
use super::instruction::Inst;
use super::operand::{Fit, float_type, int_type, is_float, scalar_type};

/// How a conversion rounds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Mode {
    rounding: Option<Rounding>,
    /// `.rni` and its like.
    integral: bool,
    flush: bool,
    saturate: bool,
    relu: bool,
    /// `.satfinite`
    finite: bool,
}

fn take_rounding(inst: &mut Inst<'_, '_>) -> Option<(Rounding, bool)> {
    inst.take_any(|modifier| {
        Some(match modifier {
            "rn" => (Rounding::NearestEven, false),
            "rz" => (Rounding::TowardZero, false),
            "rm" => (Rounding::Down, false),
            "rp" => (Rounding::Up, false),
            "rna" => (Rounding::NearestAway, false),
            "rni" => (Rounding::NearestEven, true),
            "rzi" => (Rounding::TowardZero, true),
            "rmi" => (Rounding::Down, true),
            "rpi" => (Rounding::Up, true),
            _ => return None,
        })
    })
}

pub(super) fn lower<'m, 'a>(l: &mut Lowering<'_, 'm, 'a>, inst: &mut Inst<'m, 'a>) -> Result<()> {
    if inst.take("pack") {
        return pack::lower(l, inst);
    }
    let rounding = take_rounding(inst);
    let mode = Mode {
        rounding: rounding.map(|(rounding, _)| rounding),
        integral: rounding.is_some_and(|(_, integral)| integral),
        flush: inst.take("ftz"),
        saturate: inst.take("sat"),
        relu: inst.take("relu"),
        finite: inst.take("satfinite"),
    };
    let to = inst.take_type()?;
    let from = inst.take_type()?;
    match to {
        ScalarType::E4m3x2 | ScalarType::E5m2x2 => float8::lower_pack(l, inst, to, from, mode),
        ScalarType::F16x2 if float8::format(from).is_some() => {
            float8::lower_unpack(l, inst, from, mode)
        }
        ScalarType::F16x2 | ScalarType::Bf16x2 => lower_float_pack(l, inst, to, from, mode),
        ScalarType::Tf32 => lower_tf32(l, inst, from, mode),
        ScalarType::Pred
        | ScalarType::B8
        | ScalarType::B16
        | ScalarType::B32
        | ScalarType::B64
        | ScalarType::B128 => Err(format!("no conversion to {to:?}")),
        _ => {
            mode.check(to, from)?;
            if mode.finite {
                return lower_finite(l, inst, to, from, mode);
            }
            if to != from && [to, from].iter().all(|&ty| is_small(ty)) {
                return lower_between_small(l, inst, to, from, mode);
            }
            lower_scalar(l, inst, to, from, mode)
        }
    }
}

impl Mode {
    /// Whether PTX has this combination: a rounding mode where a value may be inexact and only
    /// there, `.ftz` where a single-precision value is involved.
    fn check(self, to: ScalarType, from: ScalarType) -> Result<()> {
        let (to_float, from_float) = (is_float(to), is_float(from));
        let small = is_small;
        let needs = match (to_float, from_float) {
            (true, true) => to.size_bytes() < from.size_bytes(),
            (false, true) | (true, false) => true,
            (false, false) => false,
        };
        let has_integral = self.integral && from_float;
        let bad = match (to_float, from_float) {
            _ if self.rounding == Some(Rounding::NearestAway) => true,
            (false, false) => self.rounding.is_some(),
            (false, true) => !has_integral,
            (true, false) => self.integral || self.rounding.is_none(),
            (true, true) if to == from => self.rounding.is_some() && !self.integral,
            // Between bf16 and f16 neither holds the other; without a mode, to nearest even.
            (true, true) if small(to) && small(from) => {
                self.integral || self.flush || self.saturate
            }
            // The assembler takes a mode here, where nothing is rounded.
            (true, true) if from == ScalarType::Bf16 => self.integral,
            (true, true) => self.integral && needs || self.rounding.is_none() == needs,
        };
        if bad {
            return Err(format!("no such rounding from {from:?} to {to:?}"));
        }
        let has_single = [to, from].contains(&ScalarType::F32);
        let flushable = has_single || [to, from].contains(&ScalarType::F16);
        if self.flush && !flushable {
            return Err(".ftz needs a single-precision operand".to_owned());
        }
        if (self.relu || self.finite) && !(small(to) && from == ScalarType::F32) {
            return Err(format!("no .relu or .satfinite from {from:?} to {to:?}"));
        }
        if self.finite && (self.flush || self.saturate) {
            return Err(".satfinite goes with .relu only".to_owned());
        }
        Ok(())
    }
}

fn is_small(ty: ScalarType) -> bool {
    matches!(ty, ScalarType::F16 | ScalarType::Bf16)
}

/// `cvt{.rnd}.bf16.f16` and `cvt{.rnd}.f16.bf16`, by way of f32, which holds both exactly.
fn lower_between_small<'m, 'a>(
    l: &mut Lowering<'_, 'm, 'a>,
    inst: &mut Inst<'m, 'a>,
    to: ScalarType,
    from: ScalarType,
    mode: Mode,
) -> Result<()> {
    let [d, a] = inst.finish()?;
    let a = l.source(a, from)?;
    let exact = l.temporary32()?;
    let single = ir::ScalarType::Float(FloatType::F32);
    let convert = |to, from, dst, a| Op::Convert {
        to,
        from,
        dst,
        a,
        rounding: mode.rounding.unwrap_or_default(),
        integral: false,
        flush: false,
        saturate: false,
        relu: false,
    };
    l.emit(convert(single, scalar_type(from)?, exact, a));
    let dst = l.destination(d, to)?;
    l.emit(convert(scalar_type(to)?, single, dst, exact.into()));
    Ok(())
}

fn lower_scalar<'m, 'a>(
    l: &mut Lowering<'_, 'm, 'a>,
    inst: &mut Inst<'m, 'a>,
    to: ScalarType,
    from: ScalarType,
    mode: Mode,
) -> Result<()> {
    let [d, a] = inst.finish()?;
    let from_float = is_float(from);
    let fit = if from_float { Fit::Exact } else { Fit::Wider };
    let a = l.source_fit(a, from, fit)?;
    let a = if from.size_bytes() <= 4 {
        l.narrowed(a)?
    } else {
        a
    };
    let fit = if is_float(to) { Fit::Exact } else { Fit::Wider };
    let (dst, declared) = l.destination_fit(d, to, fit)?;
    let convert = |to, from, dst, a| {
        Ok::<_, String>(Op::Convert {
            to: scalar_type(to)?,
            from: scalar_type(from)?,
            dst,
            a,
            rounding: mode.rounding.unwrap_or_default(),
            integral: mode.integral && is_float(to),
            flush: mode.flush,
            saturate: mode.saturate,
            relu: mode.relu,
        })
    };
    if is_float(to) {
        let op = convert(to, from, dst, a)?;
        l.emit(op);
        return Ok(());
    }
    if !from_float && !mode.saturate {
        return lower_integers(l, to, from, declared, dst, a);
    }
    // The result has exactly the type's range; a wider register gets it extended.
    if declared.size_bytes() == to.size_bytes() {
        let op = convert(to, from, dst, a)?;
        l.emit(op);
        return Ok(());
    }
    let narrow = if to.size_bytes() > 4 {
        l.temporary64()?
    } else {
        l.temporary32()?
    };
    let op = convert(to, from, narrow, a)?;
    l.emit(op);
    lower_integers(l, to, to, declared, dst, narrow.into())
}

/// Integer to integer without saturation: take the low bits of the narrower type and extend them
/// to the whole register.
fn lower_integers(
    l: &mut Lowering<'_, '_, '_>,
    to: ScalarType,
    from: ScalarType,
    declared: ScalarType,
    dst: Reg,
    a: Src,
) -> Result<()> {
    let (to_int, from_int) = (int_type(to)?, int_type(from)?);
    let bytes = |ty: ScalarType| ty.size_bytes();
    let is_wide_source = matches!(a, Src::Reg(Reg::W64(_)));
    let whole = if matches!(dst, Reg::W64(_)) {
        8
    } else {
        bytes(declared)
    };
    if bytes(from) < bytes(to) {
        // Sign or zero extension, first to the type, then to the register. Both steps are one
        // unless a negative value becomes an unsigned one in between.
        let extended = widened(from_int, to_int, whole);
        if let Some(target) = extended {
            l.emit(plain_convert(target, from_int, dst, a));
            return Ok(());
        }
        let middle = l.temporary32()?;
        l.emit(plain_convert(to_int, from_int, middle, a));
        l.emit(plain_convert(
            unsigned_of(whole),
            to_int,
            dst,
            middle.into(),
        ));
        return Ok(());
    }
    // Truncation: the register holds at least the type's bits.
    let a = if is_wide_source && bytes(to) <= 4 {
        l.narrowed(a)?
    } else {
        a
    };
    if whole == bytes(to) && bytes(to) != 1 {
        let width = if bytes(to) == 8 {
            Width::B64
        } else {
            Width::B32
        };
        l.emit(Op::Unary {
            op: UnaryOp::Move(width),
            dst,
            a,
        });
        return Ok(());
    }
    let target = if is_signed(to_int) {
        signed_of(whole)
    } else {
        unsigned_of(whole)
    };
    l.emit(plain_convert(target, to_int, dst, a));
    Ok(())
}

fn plain_convert(to: IntType, from: IntType, dst: Reg, a: Src) -> Op {
    Op::Convert {
        to: ir::ScalarType::Int(to),
        from: ir::ScalarType::Int(from),
        dst,
        a,
        rounding: Rounding::NearestEven,
        integral: false,
        flush: false,
        saturate: false,
        relu: false,
    }
}

/// The type of `whole` bytes that `from` extends to, by way of `to`, in one step.
fn widened(from: IntType, to: IntType, whole: u32) -> Option<IntType> {
    let to_bytes = int_bytes(to);
    match (is_signed(from), is_signed(to)) {
        (false, _) => Some(unsigned_of(whole)),
        (true, true) => Some(signed_of(whole)),
        (true, false) if to_bytes == whole => Some(signed_of(whole)),
        (true, false) => None,
    }
}

fn int_bytes(ty: IntType) -> u32 {
    match ty {
        IntType::U8 | IntType::S8 => 1,
        IntType::U16 | IntType::S16 => 2,
        IntType::U32 | IntType::S32 => 4,
        IntType::U64 | IntType::S64 => 8,
    }
}

fn is_signed(ty: IntType) -> bool {
    matches!(ty, IntType::S8 | IntType::S16 | IntType::S32 | IntType::S64)
}

fn signed_of(bytes: u32) -> IntType {
    match bytes {
        1 => IntType::S8,
        2 => IntType::S16,
        4 => IntType::S32,
        _ => IntType::S64,
    }
}

fn unsigned_of(bytes: u32) -> IntType {
    match bytes {
        1 => IntType::U8,
        2 => IntType::U16,
        4 => IntType::U32,
        _ => IntType::U64,
    }
}

/// `cvt.rn.satfinite.f16.f32`
fn lower_finite<'m, 'a>(
    l: &mut Lowering<'_, 'm, 'a>,
    inst: &mut Inst<'m, 'a>,
    to: ScalarType,
    from: ScalarType,
    mode: Mode,
) -> Result<()> {
    let [d, a] = inst.finish()?;
    let a = l.source(a, from)?;
    let rounded = l.temporary32()?;
    l.emit(Op::Convert {
        to: scalar_type(to)?,
        from: scalar_type(from)?,
        dst: rounded,
        a,
        rounding: mode.rounding.unwrap_or_default(),
        integral: false,
        flush: false,
        saturate: false,
        relu: mode.relu,
    });
    let dst = l.destination(d, to)?;
    hold_finite(l, float_type(to)?, dst, rounded)
}

/// Holds a value within the finite ones; a NaN becomes the canonical one.
fn hold_finite(l: &mut Lowering<'_, '_, '_>, ty: FloatType, dst: Reg, a: Reg) -> Result<()> {
    let (largest, sign) = match ty {
        FloatType::F16 => (0x7bff, 0x8000),
        FloatType::F16x2 => (0x7bff_7bff, 0x8000_8000),
        FloatType::Bf16 => (0x7f7f, 0x8000),
        FloatType::Bf16x2 => (0x7f7f_7f7f, 0x8000_8000),
        // TF32: the bits below its fraction are zero.
        _ => (0x7f7f_e000, 0x8000_0000),
    };
    let mode = MinMaxMode {
        nan: true,
        ..MinMaxMode::default()
    };
    let bounded = l.temporary32()?;
    l.emit(Op::Binary {
        op: BinaryOp::FloatMin { ty, mode },
        dst: bounded,
        a: a.into(),
        b: Src::Imm(largest),
    });
    l.emit(Op::Binary {
        op: BinaryOp::FloatMax { ty, mode },
        dst,
        a: bounded.into(),
        b: Src::Imm(largest | sign),
    });
    Ok(())
}

/// `cvt.rn{.relu}.f16x2.f32 d, a, b`
fn lower_float_pack<'m, 'a>(
    l: &mut Lowering<'_, 'm, 'a>,
    inst: &mut Inst<'m, 'a>,
    to: ScalarType,
    from: ScalarType,
    mode: Mode,
) -> Result<()> {
    let rounding = match mode {
        Mode {
            rounding: Some(rounding @ (Rounding::NearestEven | Rounding::TowardZero)),
            integral: false,
            flush: false,
            saturate: false,
            ..
        } if from == ScalarType::F32 => rounding,
        _ => return Err("no such packing conversion".to_owned()),
    };
    let [d, high, low] = inst.finish()?;
    let (high, low) = (l.source(high, from)?, l.source(low, from)?);
    let dst = l.destination(d, to)?;
    let to: FloatType = float_type(to)?;
    let rounded = if mode.finite { l.temporary32()? } else { dst };
    l.emit(Op::ConvertPack {
        to,
        dst: rounded,
        high,
        low,
        rounding,
        relu: mode.relu,
    });
    if mode.finite {
        hold_finite(l, to, dst, rounded)?;
    }
    Ok(())
}

fn lower_tf32<'m, 'a>(
    l: &mut Lowering<'_, 'm, 'a>,
    inst: &mut Inst<'m, 'a>,
    from: ScalarType,
    mode: Mode,
) -> Result<()> {
    let Mode {
        rounding: Some(rounding),
        integral: false,
        flush: false,
        saturate: false,
        relu,
        finite,
    } = mode
    else {
        return Err("no such conversion to TF32".to_owned());
    };
    let is_away = rounding == Rounding::NearestAway;
    let is_known = is_away || matches!(rounding, Rounding::NearestEven | Rounding::TowardZero);
    if !is_known || is_away && relu || from != ScalarType::F32 {
        return Err("no such conversion to TF32".to_owned());
    }
    let [d, a] = inst.finish()?;
    let a = l.source(a, from)?;
    let dst = l.destination(d, ScalarType::B32)?;
    let rounded = if relu || finite {
        l.temporary32()?
    } else {
        dst
    };
    l.emit(Op::ConvertTf32 {
        dst: rounded,
        a,
        rounding,
    });
    let held = if finite && relu {
        l.temporary32()?
    } else {
        dst
    };
    if finite {
        hold_finite(l, FloatType::F32, held, rounded)?;
    }
    if relu {
        let a = if finite { held } else { rounded };
        let mode = MinMaxMode {
            nan: true,
            ..MinMaxMode::default()
        };
        l.emit(Op::Binary {
            op: BinaryOp::FloatMax {
                ty: FloatType::F32,
                mode,
            },
            dst,
            a: a.into(),
            b: Src::Imm(0),
        });
    }
    Ok(())
}
