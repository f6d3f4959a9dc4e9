// SPDX-License-Identifier: Apache-2.0
//! Arithmetic: `add sub mul mad fma div neg abs min max` of all types, and the approximations.

use crate::ir::{
    BinaryOp, FloatClass, FloatMode, FloatType, IntType, MinMaxMode, Op, Rounding, Src, TernaryOp,
    UnaryOp,
};
use crate::ptx::{Operand, ScalarType};

mod guarded;

use super::error::Result;
use super::function::Lowering;
use super::instruction::Inst;
use super::integer;
use super::operand::{float_type, int_type, is_float};
use super::pair;

impl<'a> Lowering<'_, '_, 'a> {
    /// `d = op(a)`, all of type `ty`.
    pub(super) fn unary(
        &mut self,
        op: UnaryOp,
        ty: ScalarType,
        [d, a]: &[Operand<'a>; 2],
    ) -> Result<()> {
        let a = self.source(a, ty)?;
        let dst = self.destination(d, ty)?;
        self.emit(Op::Unary { op, dst, a });
        Ok(())
    }

    /// `d = op(a, b)`, all of type `ty`.
    pub(super) fn binary(
        &mut self,
        op: BinaryOp,
        ty: ScalarType,
        [d, a, b]: &[Operand<'a>; 3],
    ) -> Result<()> {
        let (a, b) = (self.source(a, ty)?, self.source(b, ty)?);
        let dst = self.destination(d, ty)?;
        self.emit(Op::Binary { op, dst, a, b });
        Ok(())
    }

    /// `d = op(a, b, c)`, all of type `ty`.
    pub(super) fn ternary(
        &mut self,
        op: TernaryOp,
        ty: ScalarType,
        [d, a, b, c]: &[Operand<'a>; 4],
    ) -> Result<()> {
        let (a, b, c) = (
            self.source(a, ty)?,
            self.source(b, ty)?,
            self.source(c, ty)?,
        );
        let dst = self.destination(d, ty)?;
        self.emit(Op::Ternary { op, dst, a, b, c });
        Ok(())
    }
}

pub(super) fn lower<'m, 'a>(l: &mut Lowering<'_, 'm, 'a>, inst: &mut Inst<'m, 'a>) -> Result<()> {
    if inst.take("cc") {
        return integer::lower_carry(l, inst, true);
    }
    let ty = inst.take_type()?;
    if is_float(ty) {
        lower_float(l, inst, ty)
    } else if matches!(ty, ScalarType::U16x2 | ScalarType::S16x2) {
        pair::lower(l, inst, ty)
    } else {
        integer::lower_arithmetic(l, inst, ty)
    }
}

/// `.rn .rz .rm .rp`
pub(super) fn take_rounding(inst: &mut Inst<'_, '_>) -> Option<Rounding> {
    inst.take_any(|modifier| {
        Some(match modifier {
            "rn" => Rounding::NearestEven,
            "rz" => Rounding::TowardZero,
            "rm" => Rounding::Down,
            "rp" => Rounding::Up,
            _ => return None,
        })
    })
}

fn take_mode(inst: &mut Inst<'_, '_>, ty: FloatType) -> Result<FloatMode> {
    take_mode_and_presence(inst, ty).map(|(mode, _)| mode)
}

/// Rounding, `.ftz` and `.sat`, checked against what the type allows, and whether a rounding was
/// given at all.
fn take_mode_and_presence(inst: &mut Inst<'_, '_>, ty: FloatType) -> Result<(FloatMode, bool)> {
    let given = take_rounding(inst);
    let rounding = given.unwrap_or_default();
    if is_small(ty) && rounding != Rounding::NearestEven {
        return Err("half precision rounds to nearest even only".to_owned());
    }
    let mode = FloatMode {
        rounding,
        flush: inst.take("ftz"),
        saturate: inst.take("sat"),
    };
    let has_ftz = !matches!(ty, FloatType::F64 | FloatType::Bf16 | FloatType::Bf16x2);
    if (mode.flush || mode.saturate) && !has_ftz {
        return Err(format!(".ftz and .sat do not go with {ty:?}"));
    }
    Ok((mode, given.is_some()))
}

fn is_small(ty: FloatType) -> bool {
    !matches!(ty, FloatType::F32 | FloatType::F64)
}

fn lower_float<'m, 'a>(
    l: &mut Lowering<'_, 'm, 'a>,
    inst: &mut Inst<'m, 'a>,
    ty: ScalarType,
) -> Result<()> {
    let float = float_type(ty)?;
    match inst.opcode {
        "add" | "sub" | "mul" => {
            let mode = take_mode(inst, float)?;
            let op = match inst.opcode {
                "add" => BinaryOp::FloatAdd(float, mode),
                "sub" => BinaryOp::FloatSub(float, mode),
                _ => BinaryOp::FloatMul(float, mode),
            };
            l.binary(op, ty, inst.finish()?)
        }
        "fma" | "mad" => lower_fma(l, inst, ty, float),
        "div" => {
            // `.approx` and `.full` promise less than the exact quotient.
            let approximate = inst.take("approx") || inst.take("full");
            if approximate && float != FloatType::F32 || is_small(float) {
                return Err(format!("no such division of {ty:?}"));
            }
            let (mode, rounded) = take_mode_and_presence(inst, float)?;
            if rounded == approximate {
                return Err("it needs either a rounding mode or .approx or .full".to_owned());
            }
            if mode.saturate {
                return Err("division does not saturate".to_owned());
            }
            l.binary(BinaryOp::FloatDiv(float, mode), ty, inst.finish()?)
        }
        "neg" | "abs" => {
            let flush = inst.take("ftz");
            let op = if inst.opcode == "neg" {
                UnaryOp::FloatNeg { ty: float, flush }
            } else {
                UnaryOp::FloatAbs { ty: float, flush }
            };
            l.unary(op, ty, inst.finish()?)
        }
        _ => {
            let flush = inst.take("ftz");
            let nan = inst.take("NaN");
            let xor_sign = inst.take("xorsign");
            if xor_sign && !inst.take("abs") {
                return Err(".xorsign without .abs".to_owned());
            }
            if float == FloatType::F64 && (flush || nan || xor_sign) {
                return Err("such a minimum or maximum of F64 does not exist".to_owned());
            }
            let mode = MinMaxMode {
                flush,
                nan,
                xor_sign,
            };
            let op = if inst.opcode == "min" {
                BinaryOp::FloatMin { ty: float, mode }
            } else {
                BinaryOp::FloatMax { ty: float, mode }
            };
            l.binary(op, ty, inst.finish()?)
        }
    }
}

fn lower_fma<'m, 'a>(
    l: &mut Lowering<'_, 'm, 'a>,
    inst: &mut Inst<'m, 'a>,
    ty: ScalarType,
    float: FloatType,
) -> Result<()> {
    if inst.opcode == "mad" && is_small(float) {
        return Err(format!("no such instruction of {ty:?}"));
    }
    let relu = inst.take("relu");
    let is_guarded = inst.take("oob");
    let (mode, rounded) = take_mode_and_presence(inst, float)?;
    if !rounded {
        return Err("it needs a rounding mode".to_owned());
    }
    if is_guarded {
        if mode.flush || mode.saturate || !is_small(float) {
            return Err("this combination with .oob is not supported".to_owned());
        }
        let op = match relu {
            true => TernaryOp::FmaRelu(float),
            false => TernaryOp::Fma(float, mode),
        };
        return guarded::lower_fma(l, op, ty, inst.finish()?);
    }
    let op = match (relu, is_small(float)) {
        (false, _) => TernaryOp::Fma(float, mode),
        (true, true) if !mode.flush && !mode.saturate => TernaryOp::FmaRelu(float),
        (true, true) if !mode.saturate => return lower_fma_flush_relu(l, inst, ty, float, mode),
        _ => return Err("this combination with .relu is not supported".to_owned()),
    };
    l.ternary(op, ty, inst.finish()?)
}

/// `fma.rn.ftz.relu`: the larger of the result and zero, NaN if it is NaN.
fn lower_fma_flush_relu<'m, 'a>(
    l: &mut Lowering<'_, 'm, 'a>,
    inst: &mut Inst<'m, 'a>,
    ty: ScalarType,
    float: FloatType,
    mode: FloatMode,
) -> Result<()> {
    let [d, a, b, c] = inst.finish()?;
    let (a, b, c) = (l.source(a, ty)?, l.source(b, ty)?, l.source(c, ty)?);
    let fused = l.temporary32()?;
    let op = TernaryOp::Fma(float, mode);
    l.emit(Op::Ternary {
        op,
        dst: fused,
        a,
        b,
        c,
    });
    let dst = l.destination(d, ty)?;
    let mode = MinMaxMode {
        nan: true,
        ..MinMaxMode::default()
    };
    l.emit(Op::Binary {
        op: BinaryOp::FloatMax { ty: float, mode },
        dst,
        a: fused.into(),
        b: Src::Imm(0),
    });
    Ok(())
}

/// `rcp sqrt rsqrt sin cos lg2 ex2 tanh copysign testp`
pub(super) fn lower_special_function<'m, 'a>(
    l: &mut Lowering<'_, 'm, 'a>,
    inst: &mut Inst<'m, 'a>,
) -> Result<()> {
    let ty = inst.take_type()?;
    let float = float_type(ty)?;
    match inst.opcode {
        "copysign" if !is_small(float) => {
            return l.binary(BinaryOp::CopySign(float), ty, inst.finish()?);
        }
        "testp" if !is_small(float) => return lower_test(l, inst, ty, float),
        _ => {}
    }
    let approximate = inst.take("approx");
    let rounding = if approximate {
        None
    } else {
        take_rounding(inst)
    };
    let flush = inst.take("ftz");
    if !approximate && (rounding.is_none() || float == FloatType::F64 && flush) {
        return Err("it needs .approx or a rounding mode".to_owned());
    }
    let mode = FloatMode {
        rounding: rounding.unwrap_or_default(),
        flush,
        saturate: false,
    };
    let op = match (inst.opcode, float) {
        ("rcp", FloatType::F32) => UnaryOp::Reciprocal(float, mode),
        ("rcp", FloatType::F64) if !approximate || flush => UnaryOp::Reciprocal(float, mode),
        ("sqrt", FloatType::F32) => UnaryOp::Sqrt(float, mode),
        ("sqrt", FloatType::F64) if !approximate => UnaryOp::Sqrt(float, mode),
        ("rsqrt", FloatType::F32 | FloatType::F64) if approximate => {
            UnaryOp::ReciprocalSqrt { ty: float, flush }
        }
        ("sin", FloatType::F32) if approximate => UnaryOp::Sin { flush },
        ("cos", FloatType::F32) if approximate => UnaryOp::Cos { flush },
        ("lg2", FloatType::F32) if approximate => UnaryOp::Log2 { flush },
        ("ex2", _) if approximate && float != FloatType::F64 => UnaryOp::Exp2 { ty: float, flush },
        ("tanh", _) if approximate && !flush && float != FloatType::F64 => UnaryOp::Tanh(float),
        _ => return Err("this combination does not exist".to_owned()),
    };
    l.unary(op, ty, inst.finish()?)
}

fn lower_test<'m, 'a>(
    l: &mut Lowering<'_, 'm, 'a>,
    inst: &mut Inst<'m, 'a>,
    ty: ScalarType,
    float: FloatType,
) -> Result<()> {
    let class = inst.take_any(|modifier| {
        Some(match modifier {
            "finite" => FloatClass::Finite,
            "infinite" => FloatClass::Infinite,
            "number" => FloatClass::Number,
            "notanumber" => FloatClass::NotANumber,
            "normal" => FloatClass::Normal,
            "subnormal" => FloatClass::Subnormal,
            _ => return None,
        })
    });
    let class = class.ok_or("it has no class to test for")?;
    let [d, a] = inst.finish()?;
    let a = l.source(a, ty)?;
    let dst = l.predicate_result(d)?;
    l.emit(Op::TestFloat {
        class,
        ty: float,
        dst,
        a,
    });
    Ok(())
}

/// Integer types of `add sub mul mad div min max`, 16 bits or wider.
pub(super) fn arithmetic_int(ty: ScalarType) -> Result<IntType> {
    match int_type(ty)? {
        IntType::U8 | IntType::S8 => Err("there is no 8-bit arithmetic".to_owned()),
        other => Ok(other),
    }
}
