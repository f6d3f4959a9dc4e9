// SPDX-License-Identifier: Apache-2.0
//! `cvt`: a vectorised path for the common conversions and an exact scalar one for all.

use super::float::{NAN_F32, canonical};
use super::half::{Bf16, F16, Half};
use super::lanes::{Execute, Op1, Op2, pick1, pick2};
use super::level::CpuLevel;
use super::scalar::{self, Function, int_bits, int_value, is_signed};
use super::softfloat;
use crate::ir::{FloatType, IntType, Rounding, ScalarType};

/// A conversion, without its operands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conversion {
    pub(crate) to: ScalarType,
    pub(crate) from: ScalarType,
    /// The destination slot has 64 bits.
    pub(crate) wide: bool,
    pub(crate) rounding: Rounding,
    pub(crate) integral: bool,
    pub(crate) flush: bool,
    pub(crate) saturate: bool,
    pub(crate) relu: bool,
}

macro_rules! conversions {
    ($($name:ident: $a:ty => $r:ty = $f:expr;)*) => {$(
        struct $name;
        impl Op1 for $name {
            type A = $a;
            type R = $r;
            #[inline(always)]
            fn f(a: $a, _: u64) -> $r {
                let f: fn($a) -> $r = $f;
                f(a)
            }
        }
    )*};
}

conversions! {
    Copy32: u32 => u32 = |a| a;
    Copy64: u64 => u64 = |a| a;
    Truncate64: u64 => u32 = |a| a as u32;
    ZeroU8: u32 => u32 = |a| a & 0xff;
    ZeroU16: u32 => u32 = |a| a & 0xffff;
    SignS8: u32 => u32 = |a| a as i8 as u32;
    SignS16: u32 => u32 = |a| a as i16 as u32;
    ZeroU8Wide: u32 => u64 = |a| u64::from(a & 0xff);
    ZeroU16Wide: u32 => u64 = |a| u64::from(a & 0xffff);
    ZeroU32Wide: u32 => u64 = u64::from;
    SignS8Wide: u32 => u64 = |a| a as i8 as u64;
    SignS16Wide: u32 => u64 = |a| a as i16 as u64;
    SignS32Wide: u32 => u64 = |a| a as i32 as u64;
    ZeroU8From64: u64 => u32 = |a| a as u32 & 0xff;
    ZeroU16From64: u64 => u32 = |a| a as u32 & 0xffff;
    SignS8From64: u64 => u32 = |a| a as i8 as u32;
    SignS16From64: u64 => u32 = |a| a as i16 as u32;
    F32FromU32: u32 => f32 = |a| a as f32;
    F32FromS32: i32 => f32 = |a| a as f32;
    F32FromU64: u64 => f32 = |a| a as f32;
    F32FromS64: i64 => f32 = |a| a as f32;
    F64FromU32: u32 => f64 = f64::from;
    F64FromS32: i32 => f64 = f64::from;
    F64FromU64: u64 => f64 = |a| a as f64;
    F64FromS64: i64 => f64 = |a| a as f64;
    F32FromU16: u32 => f32 = |a| f32::from(a as u16);
    F32FromS16: u32 => f32 = |a| f32::from(a as i16);
    F32FromU8: u32 => f32 = |a| f32::from(a as u8);
    F32FromS8: u32 => f32 = |a| f32::from(a as i8);
    F32FromF64: f64 => f32 = |a| canonical(a as f32);
    F64FromF32: f32 => f64 = f64::from;
    F32FromF16: u32 => f32 = |a| canonical(F16::widen(a as u16));
    F32FromBf16: u32 => f32 = |a| canonical(Bf16::widen(a as u16));
    F16FromF32: f32 => u32 = |a| F16::narrow(a).into();
    Bf16FromF32: f32 => u32 = |a| Bf16::narrow(a).into();
}

/// Rounding of an f32 to an integral value.
#[inline(always)]
fn integral_f32<const MODE: u8>(a: f32) -> f32 {
    match MODE {
        0 => a.round_ties_even(),
        1 => a.trunc(),
        2 => a.floor(),
        _ => a.ceil(),
    }
}

#[inline(always)]
fn integral_f64<const MODE: u8>(a: f64) -> f64 {
    match MODE {
        0 => a.round_ties_even(),
        1 => a.trunc(),
        2 => a.floor(),
        _ => a.ceil(),
    }
}

struct IntegralF32<const MODE: u8, const FTZ: bool>;
impl<const MODE: u8, const FTZ: bool> Op1 for IntegralF32<MODE, FTZ> {
    type A = f32;
    type R = f32;
    #[inline(always)]
    fn f(a: f32, _: u64) -> f32 {
        canonical(integral_f32::<MODE>(if FTZ {
            super::float::flush(a)
        } else {
            a
        }))
    }
}

struct IntegralF64<const MODE: u8>;
impl<const MODE: u8> Op1 for IntegralF64<MODE> {
    type A = f64;
    type R = f64;
    #[inline(always)]
    fn f(a: f64, _: u64) -> f64 {
        integral_f64::<MODE>(a)
    }
}

macro_rules! float_to_integer {
    ($($name:ident: $a:ty, $integral:ident => $r:ty, $lane:ty, $nan:expr;)*) => {$(
        struct $name<const MODE: u8>;
        impl<const MODE: u8> Op1 for $name<MODE> {
            type A = $a;
            type R = $lane;
            #[inline(always)]
            fn f(a: $a, _: u64) -> $lane {
                let value = $integral::<MODE>(a) as $r as $lane;
                let nan: $lane = $nan;
                if nan != 0 && a.is_nan() { nan } else { value }
            }
        }
    )*};
}

// NaN gives zero, or the top bit when either side has 64 bits.
float_to_integer! {
    S32FromF32: f32, integral_f32 => i32, u32, 0;
    U32FromF32: f32, integral_f32 => u32, u32, 0;
    S64FromF32: f32, integral_f32 => i64, u64, 1 << 63;
    U64FromF32: f32, integral_f32 => u64, u64, 1 << 63;
    S32FromF64: f64, integral_f64 => i32, u32, 1 << 31;
    U32FromF64: f64, integral_f64 => u32, u32, 1 << 31;
    S64FromF64: f64, integral_f64 => i64, u64, 1 << 63;
    U64FromF64: f64, integral_f64 => u64, u64, 1 << 63;
}

macro_rules! by_rounding {
    ($level:expr, $rounding:expr, $op:ident $(, $more:tt)*) => {
        match $rounding {
            Rounding::NearestEven => pick1::<$op<0 $(, $more)*>>($level),
            Rounding::TowardZero => pick1::<$op<1 $(, $more)*>>($level),
            Rounding::Down => pick1::<$op<2 $(, $more)*>>($level),
            Rounding::Up => pick1::<$op<3 $(, $more)*>>($level),
            Rounding::NearestAway => return None,
        }
    };
}

/// Code for the conversions that vectorise.
pub(crate) fn vector(conversion: &Conversion, level: CpuLevel) -> Option<Execute> {
    use FloatType::{Bf16 as TBf16, F16 as TF16, F32, F64};
    use ScalarType::{Float, Int};
    let Conversion {
        to,
        from,
        wide,
        rounding,
        integral,
        flush,
        saturate,
        relu,
    } = *conversion;
    if saturate || relu {
        // Float to integer saturates anyway.
        if relu || !matches!((from, to), (Float(_), Int(_))) {
            return None;
        }
    }
    // Upwards, a subnormal becomes 1, but a flushed one stays 0.
    if flush && matches!(to, Int(_)) && matches!(rounding, Rounding::Up | Rounding::Down) {
        return None;
    }
    let is_nearest = rounding == Rounding::NearestEven;
    Some(match (from, to) {
        (Int(from), Int(to)) => integer(from, to, wide, level)?,
        (Int(from), Float(F32)) if is_nearest => match from {
            IntType::U8 => pick1::<F32FromU8>(level),
            IntType::S8 => pick1::<F32FromS8>(level),
            IntType::U16 => pick1::<F32FromU16>(level),
            IntType::S16 => pick1::<F32FromS16>(level),
            IntType::U32 => pick1::<F32FromU32>(level),
            IntType::S32 => pick1::<F32FromS32>(level),
            IntType::U64 => pick1::<F32FromU64>(level),
            IntType::S64 => pick1::<F32FromS64>(level),
        },
        (Int(from), Float(F64)) if is_nearest => match from {
            IntType::U32 => pick1::<F64FromU32>(level),
            IntType::S32 => pick1::<F64FromS32>(level),
            IntType::U64 => pick1::<F64FromU64>(level),
            IntType::S64 => pick1::<F64FromS64>(level),
            _ => return None,
        },
        (Float(F32), Int(to)) if !wide || scalar::int_bits(to) == 64 => match to {
            IntType::S32 => by_rounding!(level, rounding, S32FromF32),
            IntType::U32 => by_rounding!(level, rounding, U32FromF32),
            IntType::S64 => by_rounding!(level, rounding, S64FromF32),
            IntType::U64 => by_rounding!(level, rounding, U64FromF32),
            _ => return None,
        },
        (Float(F64), Int(to)) if !wide || scalar::int_bits(to) == 64 => match to {
            IntType::S32 => by_rounding!(level, rounding, S32FromF64),
            IntType::U32 => by_rounding!(level, rounding, U32FromF64),
            IntType::S64 => by_rounding!(level, rounding, S64FromF64),
            IntType::U64 => by_rounding!(level, rounding, U64FromF64),
            _ => return None,
        },
        (Float(F32), Float(F32)) if integral && flush => {
            by_rounding!(level, rounding, IntegralF32, true)
        }
        (Float(F32), Float(F32)) if integral => by_rounding!(level, rounding, IntegralF32, false),
        (Float(F64), Float(F64)) if integral => by_rounding!(level, rounding, IntegralF64),
        _ if flush || integral => return None,
        (Float(F64), Float(F32)) if is_nearest => pick1::<F32FromF64>(level),
        (Float(F32), Float(F64)) => pick1::<F64FromF32>(level),
        (Float(TF16), Float(F32)) => pick1::<F32FromF16>(level),
        (Float(TBf16), Float(F32)) => pick1::<F32FromBf16>(level),
        (Float(F32), Float(TF16)) if is_nearest => pick1::<F16FromF32>(level),
        (Float(F32), Float(TBf16)) if is_nearest => pick1::<Bf16FromF32>(level),
        _ => return None,
    })
}

/// Integer to integer: truncate to the narrower type, then extend by the right signedness.
fn integer(from: IntType, to: IntType, wide: bool, level: CpuLevel) -> Option<Execute> {
    // The value is cut to the narrower of both, and extended as that one's type says.
    let narrow = if int_bits(to) <= int_bits(from) {
        to
    } else {
        from
    };
    let from_64 = int_bits(from) == 64;
    let wide = wide || int_bits(to) == 64;
    let slot_bits = if wide { 64 } else { 32 };
    if narrow == from && is_signed(from) && !is_signed(to) && int_bits(to) < slot_bits {
        // Sign-extended to the middle width, zero-extended from there.
        return None;
    }
    Some(match (narrow, from_64, wide) {
        (IntType::U8, false, false) => pick1::<ZeroU8>(level),
        (IntType::U16, false, false) => pick1::<ZeroU16>(level),
        (IntType::S8, false, false) => pick1::<SignS8>(level),
        (IntType::S16, false, false) => pick1::<SignS16>(level),
        (IntType::U32 | IntType::S32, false, false) => pick1::<Copy32>(level),
        (IntType::U8, false, true) => pick1::<ZeroU8Wide>(level),
        (IntType::U16, false, true) => pick1::<ZeroU16Wide>(level),
        (IntType::U32, false, true) => pick1::<ZeroU32Wide>(level),
        (IntType::S8, false, true) => pick1::<SignS8Wide>(level),
        (IntType::S16, false, true) => pick1::<SignS16Wide>(level),
        (IntType::S32, false, true) => pick1::<SignS32Wide>(level),
        (IntType::U8, true, false) => pick1::<ZeroU8From64>(level),
        (IntType::U16, true, false) => pick1::<ZeroU16From64>(level),
        (IntType::S8, true, false) => pick1::<SignS8From64>(level),
        (IntType::S16, true, false) => pick1::<SignS16From64>(level),
        (IntType::U32 | IntType::S32, true, false) => pick1::<Truncate64>(level),
        (IntType::U64 | IntType::S64, true, true) => pick1::<Copy64>(level),
        _ => return None,
    })
}

/// Any conversion.
pub(crate) fn exact(conversion: Conversion) -> Function {
    use ScalarType::{Float, Int};
    let Conversion {
        to,
        from,
        rounding,
        integral,
        flush,
        saturate,
        relu,
        ..
    } = conversion;
    match (from, to) {
        (Int(from), Int(to)) => Box::new(move |[a, ..]| {
            let value = int_value(from, a);
            let value = if saturate { clamp(to, value) } else { value };
            int_value(to, value as u64) as u64
        }),
        (Int(from), Float(to)) => {
            let format = scalar::format(to);
            Box::new(move |[a, ..]| {
                let value = int_value(from, a);
                let bits = format.round(value < 0, value.unsigned_abs(), 0, false, rounding);
                if saturate {
                    clamp_float(format, bits)
                } else {
                    bits
                }
            })
        }
        (Float(from), Int(to)) => {
            let format = scalar::format(from);
            Box::new(move |[a, ..]| {
                let bits = a & (format.sign_bit() << 1).wrapping_sub(1);
                let bits = if flush { format.flushed(bits) } else { bits };
                match format.to_integer(bits, rounding) {
                    None if from == FloatType::F64 || int_bits(to) == 64 => 1 << (int_bits(to) - 1),
                    None => 0,
                    Some((negative, magnitude)) => {
                        let magnitude = i128::try_from(magnitude).unwrap_or(i128::MAX);
                        let value = if negative { -magnitude } else { magnitude };
                        clamp(to, value) as u64
                    }
                }
            })
        }
        (Float(from), Float(to)) => {
            let (source, target) = (scalar::format(from), scalar::format(to));
            let flush_source = flush && from == FloatType::F32;
            let flush_target = flush && to == FloatType::F32;
            Box::new(move |[a, ..]| {
                let bits = a & (source.sign_bit() << 1).wrapping_sub(1);
                let bits = if flush_source {
                    source.flushed(bits)
                } else {
                    bits
                };
                let bits = if integral {
                    source.round_to_integral(bits, rounding)
                } else {
                    bits
                };
                let bits = target.convert(source, bits, rounding);
                let bits = if flush_target {
                    target.flushed(bits)
                } else {
                    bits
                };
                let bits = if relu { relu_float(target, bits) } else { bits };
                if saturate {
                    clamp_float(target, bits)
                } else {
                    bits
                }
            })
        }
    }
}

fn clamp(to: IntType, value: i128) -> i128 {
    let bits = int_bits(to);
    let (low, high) = if is_signed(to) {
        (-(1_i128 << (bits - 1)), (1_i128 << (bits - 1)) - 1)
    } else {
        (0, (1_i128 << bits) - 1)
    };
    value.clamp(low, high)
}

fn clamp_float(format: softfloat::Format, bits: u64) -> u64 {
    let one = format.convert(
        softfloat::F32,
        1_f32.to_bits().into(),
        Rounding::NearestEven,
    );
    if format.unpack(bits).is_nan() || bits & format.sign_bit() != 0 {
        0
    } else {
        bits.min(one)
    }
}

fn relu_float(format: softfloat::Format, bits: u64) -> u64 {
    if format.unpack(bits).is_nan() {
        format.nan
    } else if bits & format.sign_bit() != 0 {
        0
    } else {
        bits
    }
}

// === Packed results ===

struct PackF16;
impl Op2 for PackF16 {
    type A = f32;
    type B = f32;
    type R = u32;
    #[inline(always)]
    fn f(high: f32, low: f32, _: u64) -> u32 {
        u32::from(F16::narrow(high)) << 16 | u32::from(F16::narrow(low))
    }
}

struct PackBf16;
impl Op2 for PackBf16 {
    type A = f32;
    type B = f32;
    type R = u32;
    #[inline(always)]
    fn f(high: f32, low: f32, _: u64) -> u32 {
        u32::from(Bf16::narrow(high)) << 16 | u32::from(Bf16::narrow(low))
    }
}

/// `cvt.rn.{f16x2,bf16x2}.f32` without modifiers.
pub(crate) fn pack_vector(
    to: FloatType,
    rounding: Rounding,
    relu: bool,
    level: CpuLevel,
) -> Option<Execute> {
    match (to, rounding, relu) {
        (FloatType::F16x2, Rounding::NearestEven, false) => Some(pick2::<PackF16>(level)),
        (FloatType::Bf16x2, Rounding::NearestEven, false) => Some(pick2::<PackBf16>(level)),
        _ => None,
    }
}

/// The same with any modifiers.
pub(crate) fn pack_exact(to: FloatType, rounding: Rounding, relu: bool) -> Function {
    let format = scalar::format(to);
    Box::new(move |[high, low, ..]| {
        let narrow = |bits: u64| {
            let bits = format.convert(softfloat::F32, bits, rounding);
            if relu { relu_float(format, bits) } else { bits }
        };
        narrow(high) << 16 | narrow(low)
    })
}

/// `cvt.pack.sat`.
pub(crate) fn pack_integers(ty: IntType) -> Function {
    let bits = int_bits(ty);
    Box::new(move |[a, b, c, _]| {
        let mask = (1_u64 << bits) - 1;
        let element = |value: u64| clamp(ty, int_value(IntType::S32, value)) as u64 & mask;
        let pair = element(a) << bits | element(b);
        if bits == 8 {
            (c << 16 | pair) & 0xffff_ffff
        } else {
            pair
        }
    })
}

/// `cvt.tf32.f32`: ten bits of mantissa.
pub(crate) fn tf32(rounding: Rounding) -> Function {
    Box::new(move |[a, ..]| {
        let bits = a as u32;
        if f32::from_bits(bits).is_nan() {
            return NAN_F32.to_bits().into();
        }
        let rest = bits & 0x1fff;
        let up = match rounding {
            Rounding::NearestAway => rest >= 0x1000,
            Rounding::NearestEven => rest > 0x1000 || (rest == 0x1000 && bits & 0x2000 != 0),
            _ => false,
        };
        u64::from((bits & !0x1fff) + if up { 0x2000 } else { 0 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use FloatType::{F32, F64};
    use ScalarType::{Float, Int};

    fn conversion(from: ScalarType, to: ScalarType, rounding: Rounding) -> Conversion {
        let wide = matches!(to, Int(IntType::U64 | IntType::S64) | Float(F64));
        Conversion {
            to,
            from,
            wide,
            rounding,
            integral: false,
            flush: false,
            saturate: false,
            relu: false,
        }
    }

    fn convert(from: ScalarType, to: ScalarType, rounding: Rounding, bits: u64) -> u64 {
        exact(conversion(from, to, rounding))([bits, 0, 0, 0])
    }

    #[test]
    fn floats_to_integers_clamp_and_know_nan() {
        let f32_to = |ty, value: f32| {
            convert(
                Float(F32),
                Int(ty),
                Rounding::TowardZero,
                value.to_bits().into(),
            )
        };
        assert_eq!(f32_to(IntType::S32, 1e20) as i32, i32::MAX);
        assert_eq!(f32_to(IntType::S32, -1e20) as i32, i32::MIN);
        assert_eq!(f32_to(IntType::U32, -5.0), 0);
        assert_eq!(f32_to(IntType::S8, 200.0), 127);
        assert_eq!(f32_to(IntType::S32, f32::NAN), 0);
        assert_eq!(f32_to(IntType::S64, f32::NAN), 1 << 63);
        assert_eq!(f32_to(IntType::U64, f32::INFINITY), u64::MAX);
        let nan = f64::NAN.to_bits();
        let from_f64 = |ty| convert(Float(F64), Int(ty), Rounding::TowardZero, nan);
        assert_eq!(from_f64(IntType::S32), 1 << 31);
        assert_eq!(from_f64(IntType::U64), 1 << 63);
    }

    #[test]
    fn integers_saturate_only_when_asked() {
        let mut to_u8 = conversion(Int(IntType::S32), Int(IntType::U8), Rounding::NearestEven);
        assert_eq!(exact(to_u8)([300, 0, 0, 0]), 44);
        to_u8.saturate = true;
        assert_eq!(exact(to_u8)([300, 0, 0, 0]), 255);
        assert_eq!(exact(to_u8)([u64::from(u32::MAX), 0, 0, 0]), 0);
    }

    #[test]
    fn integers_round_to_floats_in_every_direction() {
        let at = |rounding| {
            f32::from_bits(convert(Int(IntType::S32), Float(F32), rounding, 16_777_217) as u32)
        };
        assert_eq!(at(Rounding::NearestEven), 16_777_216.0);
        assert_eq!(at(Rounding::Up), 16_777_218.0);
        assert_eq!(at(Rounding::Down), 16_777_216.0);
        let negative = convert(
            Int(IntType::S64),
            Float(F64),
            Rounding::NearestEven,
            (-5_i64) as u64,
        );
        assert_eq!(f64::from_bits(negative), -5.0);
    }

    #[test]
    fn tf32_and_packed_integers() {
        assert_eq!(
            tf32(Rounding::NearestAway)([0x3f80_1000, 0, 0, 0]),
            0x3f80_2000
        );
        assert_eq!(
            tf32(Rounding::NearestEven)([0x3f80_1000, 0, 0, 0]),
            0x3f80_0000
        );
        let pack = pack_integers(IntType::S16);
        assert_eq!(pack([100_000, (-3_i32) as u32 as u64, 0, 0]), 0x7fff_fffd);
        let pack = pack_integers(IntType::U8);
        assert_eq!(pack([300, 5, 0xabcd, 0]), 0xabcd_ff05);
    }
}
