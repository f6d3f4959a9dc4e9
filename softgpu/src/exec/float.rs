// SPDX-License-Identifier: Apache-2.0
//! f32 and f64 arithmetic on lanes, rounding to nearest.
//!
//! As on the device, an f32 operation never gives a NaN with a payload: it is 0x7fffffff. f64
//! operations keep payloads.

use super::lanes::{Execute, Op1, Op2, Op3, pick1, pick2, pick3};
use super::level::CpuLevel;
use crate::ir::{FloatMode, MinMaxMode, Rounding};

/// NaN of f32 operations.
pub(crate) const NAN_F32: f32 = f32::from_bits(0x7fff_ffff);

/// The result with the device's NaN.
#[inline(always)]
pub(crate) fn canonical(value: f32) -> f32 {
    if value.is_nan() { NAN_F32 } else { value }
}

/// Subnormals become zero of the same sign.
#[inline(always)]
pub(crate) fn flush(value: f32) -> f32 {
    let bits = value.to_bits();
    f32::from_bits(if bits & 0x7f80_0000 == 0 {
        bits & 0x8000_0000
    } else {
        bits
    })
}

#[inline(always)]
fn input<const FTZ: bool>(value: f32) -> f32 {
    if FTZ { flush(value) } else { value }
}

#[inline(always)]
fn output<const FTZ: bool, const SAT: bool>(value: f32) -> f32 {
    let value = if FTZ { flush(value) } else { value };
    if SAT {
        saturate(value)
    } else {
        canonical(value)
    }
}

/// Clamps to [0, 1]; NaN and -0 become +0.
#[inline(always)]
pub(crate) fn saturate(value: f32) -> f32 {
    let low = if value > 0.0 { value } else { 0.0 };
    if low < 1.0 { low } else { 1.0 }
}

macro_rules! binary_f32 {
    ($($name:ident = $f:expr;)*) => {$(
        struct $name<const FTZ: bool, const SAT: bool>;
        impl<const FTZ: bool, const SAT: bool> Op2 for $name<FTZ, SAT> {
            type A = f32;
            type B = f32;
            type R = f32;
            #[inline(always)]
            fn f(a: f32, b: f32, _: u64) -> f32 {
                let f: fn(f32, f32) -> f32 = $f;
                output::<FTZ, SAT>(f(input::<FTZ>(a), input::<FTZ>(b)))
            }
        }
    )*};
}

binary_f32! {
    AddF32 = |a, b| a + b;
    SubF32 = |a, b| a - b;
    MulF32 = |a, b| a * b;
    DivF32 = |a, b| a / b;
}

struct FmaF32<const FTZ: bool, const SAT: bool>;
impl<const FTZ: bool, const SAT: bool> Op3 for FmaF32<FTZ, SAT> {
    type A = f32;
    type B = f32;
    type C = f32;
    type R = f32;
    #[inline(always)]
    fn f(a: f32, b: f32, c: f32, _: u64) -> f32 {
        output::<FTZ, SAT>(input::<FTZ>(a).mul_add(input::<FTZ>(b), input::<FTZ>(c)))
    }
}

macro_rules! unary_f32 {
    ($($name:ident = $f:expr;)*) => {$(
        struct $name<const FTZ: bool, const SAT: bool>;
        impl<const FTZ: bool, const SAT: bool> Op1 for $name<FTZ, SAT> {
            type A = f32;
            type R = f32;
            #[inline(always)]
            fn f(a: f32, _: u64) -> f32 {
                let f: fn(f32) -> f32 = $f;
                output::<FTZ, SAT>(f(input::<FTZ>(a)))
            }
        }
    )*};
}

unary_f32! {
    SqrtF32 = sqrt;
    ReciprocalF32 = |a| 1.0 / a;
    ReciprocalSqrtF32 = reciprocal_sqrt;
    Exp2F32 = exp2;
    Log2F32 = log2;
    SinF32 = |a| sin_cos(a, 0);
    CosF32 = |a| sin_cos(a, 1);
    TanhF32 = tanh;
}

/// The NaN is made here and not by the CPU: the compiler's own idea of when a square root is NaN
/// forgets negative subnormals, and the NaN would keep the CPU's sign.
#[inline(always)]
fn sqrt(a: f32) -> f32 {
    if a >= 0.0 { a.sqrt() } else { NAN_F32 }
}

/// Within 1 ulp: the quotient, improved by one Newton step.
#[inline(always)]
fn reciprocal_sqrt(a: f32) -> f32 {
    let first = 1.0 / a.sqrt();
    let root = a * first;
    let error = (-root).mul_add(first, 1.0);
    let better = (0.5 * first).mul_add(error, first);
    // Zero and infinity: the quotient is the answer.
    let value = if a == 0.0 || a == f32::INFINITY {
        first
    } else {
        better
    };
    if a >= 0.0 { value } else { NAN_F32 }
}

/// 2^a within 1 ulp: 2^(integer part) times a polynomial on [-1/2, 1/2].
#[inline(always)]
pub(crate) fn exp2(a: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0;
    const C: [f32; 8] = [
        1.0,
        std::f32::consts::LN_2,
        0.240_226_5,
        0.055_504_11,
        0.009_618_129,
        0.001_333_355_8,
        0.000_154_035_3,
        0.000_015_252_734,
    ];
    // Past these bounds the result is zero or infinite anyway.
    let clamped = if a > 200.0 { 200.0 } else { a };
    let clamped = if clamped > -200.0 { clamped } else { -200.0 };
    let whole = (clamped + ROUND) - ROUND;
    let part = clamped - whole;
    let mut p = C[7];
    p = p.mul_add(part, C[6]);
    p = p.mul_add(part, C[5]);
    p = p.mul_add(part, C[4]);
    p = p.mul_add(part, C[3]);
    p = p.mul_add(part, C[2]);
    p = p.mul_add(part, C[1]);
    p = p.mul_add(part, C[0]);
    let whole = whole as i32;
    let (half, rest) = (whole >> 1, whole - (whole >> 1));
    let power = |n: i32| f32::from_bits(((n + 127) << 23) as u32);
    let result = p * power(half) * power(rest);
    if a.is_nan() { a } else { result }
}

/// log2(a) within 2 ulp: the exponent plus a series in (m - 1) / (m + 1).
#[inline(always)]
pub(crate) fn log2(a: f32) -> f32 {
    const SQRT_HALF_BITS: i32 = 0x3f35_04f3;
    // Subnormals are scaled up first.
    let is_small = a < f32::MIN_POSITIVE;
    let scaled = if is_small { a * 8_388_608.0 } else { a };
    let shift = if is_small { 23 } else { 0 };
    let bits = scaled.to_bits() as i32;
    let exponent = bits.wrapping_sub(SQRT_HALF_BITS) >> 23;
    let mantissa = f32::from_bits(bits.wrapping_sub(exponent << 23) as u32);
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let s2 = s * s;
    let mut p = 0.320_598_9_f32;
    p = p.mul_add(s2, 0.412_198_6);
    p = p.mul_add(s2, 0.577_078);
    p = p.mul_add(s2, 0.961_796_7);
    p = p.mul_add(s2, 2.885_39);
    let result = p.mul_add(s, (exponent - shift) as f32);
    let result = if a == f32::INFINITY { a } else { result };
    let result = if a == 0.0 { f32::NEG_INFINITY } else { result };
    if a < 0.0 || a.is_nan() {
        f32::NAN
    } else {
        result
    }
}

/// sin (quarter 0) or cos (quarter 1). Accurate below 2³¹; beyond that some value in [-1, 1].
#[inline(always)]
fn sin_cos(a: f32, quarter: i64) -> f32 {
    const ROUND: f64 = 6_755_399_441_055_744.0;
    const PI_2_HIGH: f64 = 1.570_796_326_734_125_6;
    const PI_2_LOW: f64 = 6.077_100_506_506_192e-11;
    let x = f64::from(a);
    let shifted = x.mul_add(std::f64::consts::FRAC_2_PI, ROUND);
    let quadrant = (shifted.to_bits() as i64).wrapping_add(quarter);
    let k = shifted - ROUND;
    let r = (-k).mul_add(PI_2_LOW, (-k).mul_add(PI_2_HIGH, x));
    let r = if r > 0.8 { 0.8 } else { r };
    let r = if r < -0.8 { -0.8 } else { r };
    let r2 = r * r;
    let mut s = -2.505_210_838_544_172e-8_f64;
    s = s.mul_add(r2, 2.755_731_922_398_589e-6);
    s = s.mul_add(r2, -1.984_126_984_126_984e-4);
    s = s.mul_add(r2, 8.333_333_333_333_333e-3);
    s = s.mul_add(r2, -0.166_666_666_666_666_66);
    s = (s * r2).mul_add(r, r);
    let mut c = 2.087_675_698_786_81e-9_f64;
    c = c.mul_add(r2, -2.755_731_922_398_589_3e-7);
    c = c.mul_add(r2, 2.480_158_730_158_73e-5);
    c = c.mul_add(r2, -1.388_888_888_888_889e-3);
    c = c.mul_add(r2, 4.166_666_666_666_666_4e-2);
    c = c.mul_add(r2, -0.5);
    c = c.mul_add(r2, 1.0);
    let value = if quadrant & 1 == 0 { s } else { c };
    let value = (if quadrant & 2 == 0 { value } else { -value }) as f32;
    // Keeps the sign of zero; NaN and infinity give NaN.
    let value = if quarter == 0 && a == 0.0 { a } else { value };
    if a.abs() < f32::INFINITY {
        value
    } else {
        f32::NAN
    }
}

#[inline(always)]
pub(crate) fn tanh(a: f32) -> f32 {
    let x2 = a * a;
    let small = a * x2.mul_add(x2.mul_add(0.133_333_33, -0.333_333_34), 1.0);
    let e = exp2((a * 2.885_39).clamp(-60.0, 60.0));
    let large = 1.0 - 2.0 / (e + 1.0);
    let value = if a.abs() < 0.1 { small } else { large };
    if a.is_nan() { a } else { value }
}

macro_rules! f64_ops {
    ($($trait:ident $name:ident ($($arg:ident: $ty:ident),*) = $body:expr;)*) => {$(
        struct $name;
        impl $trait for $name {
            $(type $ty = f64;)*
            type R = f64;
            #[inline(always)]
            fn f($($arg: f64,)* _: u64) -> f64 {
                $body
            }
        }
    )*};
}

f64_ops! {
    Op2 AddF64(a: A, b: B) = a + b;
    Op2 SubF64(a: A, b: B) = a - b;
    Op2 MulF64(a: A, b: B) = a * b;
    Op2 DivF64(a: A, b: B) = a / b;
    Op3 FmaF64(a: A, b: B, c: C) = a.mul_add(b, c);
    Op1 SqrtF64(a: A) = a.sqrt();
    Op1 ReciprocalF64(a: A) = 1.0 / a;
    Op1 ReciprocalSqrtF64(a: A) = 1.0 / a.sqrt();
    Op1 NegF64(a: A) = -a;
    Op1 AbsF64(a: A) = a.abs();
    Op2 CopySignF64(a: A, b: B) = b.copysign(a);
}

struct NegF32<const FTZ: bool>;
impl<const FTZ: bool> Op1 for NegF32<FTZ> {
    type A = f32;
    type R = f32;
    #[inline(always)]
    fn f(a: f32, _: u64) -> f32 {
        -input::<FTZ>(a)
    }
}

struct AbsF32<const FTZ: bool>;
impl<const FTZ: bool> Op1 for AbsF32<FTZ> {
    type A = f32;
    type R = f32;
    #[inline(always)]
    fn f(a: f32, _: u64) -> f32 {
        input::<FTZ>(a).abs()
    }
}

struct CopySignF32;
impl Op2 for CopySignF32 {
    type A = f32;
    type B = f32;
    type R = f32;
    #[inline(always)]
    fn f(a: f32, b: f32, _: u64) -> f32 {
        b.copysign(a)
    }
}

/// `min`: -0 is less than +0; a NaN gives way to a number.
#[inline(always)]
pub(crate) fn min_f32(a: f32, b: f32) -> f32 {
    let ordered = if a < b || (a == b && a.is_sign_negative()) {
        a
    } else {
        b
    };
    let number = if b.is_nan() { a } else { ordered };
    canonical(if a.is_nan() { b } else { number })
}

/// `max`, as [`min_f32`].
#[inline(always)]
pub(crate) fn max_f32(a: f32, b: f32) -> f32 {
    let ordered = if a > b || (a == b && !a.is_sign_negative()) {
        a
    } else {
        b
    };
    let number = if b.is_nan() { a } else { ordered };
    canonical(if a.is_nan() { b } else { number })
}

#[inline(always)]
pub(crate) fn min_f64(a: f64, b: f64) -> f64 {
    let ordered = if a < b || (a == b && a.is_sign_negative()) {
        a
    } else {
        b
    };
    let number = if b.is_nan() { a } else { ordered };
    if a.is_nan() { b } else { number }
}

#[inline(always)]
pub(crate) fn max_f64(a: f64, b: f64) -> f64 {
    let ordered = if a > b || (a == b && !a.is_sign_negative()) {
        a
    } else {
        b
    };
    let number = if b.is_nan() { a } else { ordered };
    if a.is_nan() { b } else { number }
}

struct MinMaxF32<const MAX: bool, const FTZ: bool, const NAN: bool>;
impl<const MAX: bool, const FTZ: bool, const NAN: bool> Op2 for MinMaxF32<MAX, FTZ, NAN> {
    type A = f32;
    type B = f32;
    type R = f32;
    #[inline(always)]
    fn f(a: f32, b: f32, _: u64) -> f32 {
        let (a, b) = (input::<FTZ>(a), input::<FTZ>(b));
        let value = if MAX { max_f32(a, b) } else { min_f32(a, b) };
        if NAN && (a.is_nan() || b.is_nan()) {
            NAN_F32
        } else {
            value
        }
    }
}

struct XorSignF32<const MAX: bool>;
impl<const MAX: bool> Op2 for XorSignF32<MAX> {
    type A = f32;
    type B = f32;
    type R = f32;
    #[inline(always)]
    fn f(a: f32, b: f32, flags: u64) -> f32 {
        let (a, b) = if flags & 1 != 0 {
            (flush(a), flush(b))
        } else {
            (a, b)
        };
        let sign = (a.to_bits() ^ b.to_bits()) & 0x8000_0000;
        if flags & 2 != 0 && (a.is_nan() || b.is_nan()) {
            return NAN_F32;
        }
        let (a, b) = (a.abs(), b.abs());
        let value = if MAX { max_f32(a, b) } else { min_f32(a, b) };
        if value.is_nan() {
            NAN_F32
        } else {
            f32::from_bits(value.to_bits() | sign)
        }
    }
}

struct MinMaxF64<const MAX: bool>;
impl<const MAX: bool> Op2 for MinMaxF64<MAX> {
    type A = f64;
    type B = f64;
    type R = f64;
    #[inline(always)]
    fn f(a: f64, b: f64, _: u64) -> f64 {
        if MAX { max_f64(a, b) } else { min_f64(a, b) }
    }
}

macro_rules! by_mode {
    ($pick:ident, $op:ident, $level:expr, $mode:expr) => {
        match ($mode.flush, $mode.saturate) {
            (false, false) => $pick::<$op<false, false>>($level),
            (false, true) => $pick::<$op<false, true>>($level),
            (true, false) => $pick::<$op<true, false>>($level),
            (true, true) => $pick::<$op<true, true>>($level),
        }
    };
}

/// The operations that this module has in the given mode; the rest is scalar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FloatOp {
    Add,
    Sub,
    Mul,
    Div,
    Fma,
    Sqrt,
    Reciprocal,
    ReciprocalSqrt,
    Exp2,
    Log2,
    Sin,
    Cos,
    Tanh,
    Neg,
    Abs,
    CopySign,
}

/// Code for an f32 operation; `None` if the mode is not round-to-nearest.
pub(crate) fn f32_code(op: FloatOp, mode: FloatMode, level: CpuLevel) -> Option<Execute> {
    if mode.rounding != Rounding::NearestEven {
        return None;
    }
    Some(match op {
        FloatOp::Add => by_mode!(pick2, AddF32, level, mode),
        FloatOp::Sub => by_mode!(pick2, SubF32, level, mode),
        FloatOp::Mul => by_mode!(pick2, MulF32, level, mode),
        FloatOp::Div => by_mode!(pick2, DivF32, level, mode),
        FloatOp::Fma => by_mode!(pick3, FmaF32, level, mode),
        FloatOp::Sqrt => by_mode!(pick1, SqrtF32, level, mode),
        FloatOp::Reciprocal => by_mode!(pick1, ReciprocalF32, level, mode),
        FloatOp::ReciprocalSqrt => by_mode!(pick1, ReciprocalSqrtF32, level, mode),
        FloatOp::Exp2 => by_mode!(pick1, Exp2F32, level, mode),
        FloatOp::Log2 => by_mode!(pick1, Log2F32, level, mode),
        FloatOp::Sin => by_mode!(pick1, SinF32, level, mode),
        FloatOp::Cos => by_mode!(pick1, CosF32, level, mode),
        FloatOp::Tanh => by_mode!(pick1, TanhF32, level, mode),
        FloatOp::Neg if mode.flush => pick1::<NegF32<true>>(level),
        FloatOp::Neg => pick1::<NegF32<false>>(level),
        FloatOp::Abs if mode.flush => pick1::<AbsF32<true>>(level),
        FloatOp::Abs => pick1::<AbsF32<false>>(level),
        FloatOp::CopySign => pick2::<CopySignF32>(level),
    })
}

/// Code for an f64 operation; `None` if the mode is not plain round-to-nearest.
pub(crate) fn f64_code(op: FloatOp, mode: FloatMode, level: CpuLevel) -> Option<Execute> {
    if mode.rounding != Rounding::NearestEven || mode.saturate {
        return None;
    }
    Some(match op {
        FloatOp::Add => pick2::<AddF64>(level),
        FloatOp::Sub => pick2::<SubF64>(level),
        FloatOp::Mul => pick2::<MulF64>(level),
        FloatOp::Div => pick2::<DivF64>(level),
        FloatOp::Fma => pick3::<FmaF64>(level),
        FloatOp::Sqrt => pick1::<SqrtF64>(level),
        FloatOp::Reciprocal => pick1::<ReciprocalF64>(level),
        FloatOp::ReciprocalSqrt => pick1::<ReciprocalSqrtF64>(level),
        FloatOp::Neg => pick1::<NegF64>(level),
        FloatOp::Abs => pick1::<AbsF64>(level),
        FloatOp::CopySign => pick2::<CopySignF64>(level),
        _ => return None,
    })
}

/// Code for f32 `min` and `max`, and the instruction's immediate.
pub(crate) fn min_max_f32(is_max: bool, mode: MinMaxMode, level: CpuLevel) -> (Execute, u64) {
    let flags = u64::from(mode.flush) | u64::from(mode.nan) << 1;
    let code = match (mode.xor_sign, is_max, mode.flush, mode.nan) {
        (true, true, ..) => pick2::<XorSignF32<true>>(level),
        (true, false, ..) => pick2::<XorSignF32<false>>(level),
        (_, true, true, true) => pick2::<MinMaxF32<true, true, true>>(level),
        (_, true, true, false) => pick2::<MinMaxF32<true, true, false>>(level),
        (_, true, false, true) => pick2::<MinMaxF32<true, false, true>>(level),
        (_, true, false, false) => pick2::<MinMaxF32<true, false, false>>(level),
        (_, false, true, true) => pick2::<MinMaxF32<false, true, true>>(level),
        (_, false, true, false) => pick2::<MinMaxF32<false, true, false>>(level),
        (_, false, false, true) => pick2::<MinMaxF32<false, false, true>>(level),
        (_, false, false, false) => pick2::<MinMaxF32<false, false, false>>(level),
    };
    (code, flags)
}

/// Code for f64 `min` and `max`.
pub(crate) fn min_max_f64(is_max: bool, level: CpuLevel) -> Execute {
    if is_max {
        pick2::<MinMaxF64<true>>(level)
    } else {
        pick2::<MinMaxF64<false>>(level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ulps(a: f32, exact: f64) -> f64 {
        let nearest = exact as f32;
        let ulp = f64::from(nearest.abs().next_up()) - f64::from(nearest.abs());
        (f64::from(a) - exact).abs() / ulp
    }

    #[test]
    fn approximations_stay_within_the_bounds_ptx_states() {
        let mut worst = [0_f64; 3];
        for step in 0..200_000 {
            let x = (step as f32 - 100_000.0) * 0.001_5;
            if (-126.0..128.0).contains(&x) {
                worst[0] = worst[0].max(ulps(exp2(x), f64::from(x).exp2()));
            }
            let positive = (step as f32 + 1.0) * 3.7e-3;
            worst[1] = worst[1].max(ulps(
                reciprocal_sqrt(positive),
                1.0 / f64::from(positive).sqrt(),
            ));
            let exact = f64::from(positive).log2();
            let error = (f64::from(log2(positive)) - exact).abs();
            assert!(
                error < 2_f64.powf(-22.0).max(exact.abs() * 2_f64.powi(-22)),
                "{positive}"
            );
            for (value, exact) in [
                (sin_cos(x, 0), f64::from(x).sin()),
                (sin_cos(x, 1), f64::from(x).cos()),
            ] {
                worst[2] = worst[2].max((f64::from(value) - exact).abs());
            }
            let t = (x * 0.01, f64::from(x * 0.01).tanh());
            if t.1 != 0.0 {
                assert!(
                    ((f64::from(tanh(t.0)) - t.1) / t.1).abs() < 2_f64.powi(-11),
                    "{}",
                    t.0
                );
            }
        }
        assert!(
            worst[0] < 1.5 && worst[1] < 1.5 && worst[2] < 1e-7,
            "{worst:?}"
        );
    }

    #[test]
    fn approximations_know_the_special_values() {
        assert_eq!(exp2(f32::INFINITY), f32::INFINITY);
        assert_eq!(exp2(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp2(-149.0).to_bits(), 1);
        assert_eq!(exp2(127.0), 2_f32.powi(127));
        assert_eq!(exp2(128.0), f32::INFINITY);
        assert!(exp2(f32::NAN).is_nan());
        assert_eq!(log2(0.0), f32::NEG_INFINITY);
        assert_eq!(log2(1.0), 0.0);
        assert_eq!(log2(f32::from_bits(1)), -149.0);
        assert_eq!(log2(f32::INFINITY), f32::INFINITY);
        assert!(log2(-1.0).is_nan());
        assert_eq!(reciprocal_sqrt(0.0), f32::INFINITY);
        assert_eq!(reciprocal_sqrt(-0.0), f32::NEG_INFINITY);
        assert_eq!(reciprocal_sqrt(f32::INFINITY), 0.0);
        for negative in [
            -1.0,
            f32::from_bits(0x8000_0001),
            f32::NEG_INFINITY,
            -f32::NAN,
        ] {
            assert_eq!(reciprocal_sqrt(negative).to_bits(), 0x7fff_ffff);
            assert_eq!(sqrt(negative).to_bits(), 0x7fff_ffff);
        }
        assert_eq!(sqrt(-0.0).to_bits(), 0x8000_0000);
        assert_eq!(sin_cos(-0.0, 0).to_bits(), (-0.0_f32).to_bits());
        assert_eq!(sin_cos(0.0, 1), 1.0);
        assert!(sin_cos(f32::INFINITY, 0).is_nan());
        assert!(sin_cos(1e38, 0).abs() <= 1.0);
        assert_eq!(tanh(f32::INFINITY), 1.0);
        assert_eq!(tanh(-100.0), -1.0);
    }

    #[test]
    fn minimum_and_maximum_order_zeros_and_skip_nan() {
        assert_eq!(min_f32(0.0, -0.0).to_bits(), (-0.0_f32).to_bits());
        assert_eq!(min_f32(-0.0, 0.0).to_bits(), (-0.0_f32).to_bits());
        assert_eq!(max_f32(-0.0, 0.0).to_bits(), 0);
        assert_eq!(max_f32(0.0, -0.0).to_bits(), 0);
        assert_eq!(min_f32(f32::NAN, 3.0), 3.0);
        assert_eq!(max_f32(3.0, f32::NAN), 3.0);
        assert_eq!(min_f32(-f32::NAN, f32::NAN).to_bits(), 0x7fff_ffff);
        assert_eq!(min_f64(f64::NAN, 3.0), 3.0);
    }

    #[test]
    fn saturation_and_flushing() {
        assert_eq!(saturate(f32::NAN).to_bits(), 0);
        assert_eq!(saturate(-0.0).to_bits(), 0);
        assert_eq!(saturate(2.0), 1.0);
        assert_eq!(flush(f32::from_bits(0x807f_ffff)).to_bits(), 0x8000_0000);
        assert_eq!(flush(f32::MIN_POSITIVE), f32::MIN_POSITIVE);
    }
}
