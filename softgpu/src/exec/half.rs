// SPDX-License-Identifier: Apache-2.0
//! f16 and bf16 arithmetic, on the bits in the low half of a lane, or on both halves of packed
//! lanes.
//!
//! Values are widened, computed so that nothing is rounded twice, and rounded once to nearest even.

use super::code::Code;
use super::float::{self, FloatOp, NAN_F32};
use super::lanes::{Execute, Lanes, Step, WARP, store};
use super::level::{CpuLevel, Level};
use crate::ir::{FloatMode, FloatType};

/// NaN of both 16-bit formats.
pub(crate) const NAN_16: u16 = 0x7fff;

/// A 16-bit format.
pub(crate) trait Half {
    /// Exact.
    fn widen(bits: u16) -> f32;
    /// Rounds to nearest even; NaN becomes [`NAN_16`].
    fn narrow(value: f32) -> u16;
}

/// IEEE binary16.
pub(crate) struct F16;
/// bfloat16.
pub(crate) struct Bf16;

impl Half for F16 {
    #[inline(always)]
    fn widen(bits: u16) -> f32 {
        let magnitude = u32::from(bits & 0x7fff);
        let sign = u32::from(bits & 0x8000) << 16;
        // Shifting the exponent bias by a product also normalises subnormals.
        let scaled = f32::from_bits(magnitude << 13) * f32::from_bits(0x7780_0000);
        let special = (magnitude << 13) | 0x7f80_0000;
        f32::from_bits(
            sign | if magnitude >= 0x7c00 {
                special
            } else {
                scaled.to_bits()
            },
        )
    }

    #[inline(always)]
    fn narrow(value: f32) -> u16 {
        let bits = value.to_bits();
        let sign = (bits >> 16 & 0x8000) as u16;
        let magnitude = bits & 0x7fff_ffff;
        // Adding 1/2 lets the adder round at the place where a subnormal ends.
        let small = (f32::from_bits(magnitude) + 0.5)
            .to_bits()
            .wrapping_sub(0x3f00_0000);
        let odd = magnitude >> 13 & 1;
        let normal = magnitude.wrapping_sub(112 << 23).wrapping_add(0xfff + odd) >> 13;
        let finite = if magnitude < 113 << 23 { small } else { normal };
        let result = if magnitude >= 143 << 23 {
            0x7c00
        } else {
            finite
        };
        if magnitude > 0x7f80_0000 {
            NAN_16
        } else {
            sign | result as u16
        }
    }
}

impl Half for Bf16 {
    #[inline(always)]
    fn widen(bits: u16) -> f32 {
        f32::from_bits(u32::from(bits) << 16)
    }

    #[inline(always)]
    fn narrow(value: f32) -> u16 {
        let bits = value.to_bits();
        let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
        if value.is_nan() {
            NAN_16
        } else {
            rounded as u16
        }
    }
}

/// Rounds `value + error` (error less than half an ulp of value) to f32 so that a second rounding
/// to a narrower format gives what one rounding would: inexact results get an odd last bit.
#[inline(always)]
pub(crate) fn round_to_odd(value: f64, error: f64) -> f32 {
    let mut exact = value;
    if error != 0.0 && value.is_finite() && value.to_bits() & 1 == 0 {
        let bits = value.to_bits();
        let toward_zero = (error > 0.0) != (value > 0.0);
        exact = f64::from_bits(if toward_zero { bits - 1 } else { bits } | 1);
    }
    let near = exact as f32;
    if f64::from(near) == exact || exact.is_nan() || exact.is_infinite() {
        return near;
    }
    let bits = near.to_bits();
    let truncated = if f64::from(near).abs() > exact.abs() {
        bits - 1
    } else {
        bits
    };
    f32::from_bits(truncated | 1)
}

/// `a * b + c`, rounded once.
#[inline(always)]
pub(crate) fn fma<H: Half>(a: u16, b: u16, c: u16) -> u16 {
    H::narrow(fma_before_rounding(H::widen(a), H::widen(b), H::widen(c)))
}

/// `a * b + c` of halves, so that rounding it to a half gives the right result.
#[inline(always)]
fn fma_before_rounding(a: f32, b: f32, c: f32) -> f32 {
    let product = f64::from(a) * f64::from(b);
    let addend = f64::from(c);
    let sum = product + addend;
    // Exact error of the sum.
    let back = sum - product;
    let error = (product - (sum - back)) + (addend - back);
    round_to_odd(sum, if error.is_nan() { 0.0 } else { error })
}

/// The same for f16, whose product and error of the sum are exact in f32.
#[inline(always)]
fn fma_f16_before_rounding(a: f32, b: f32, c: f32) -> f32 {
    let product = a * b;
    let sum = product + c;
    let back = sum - product;
    let error = (product - (sum - back)) + (c - back);
    let bits = sum.to_bits();
    let toward_zero = (error > 0.0) != (sum > 0.0);
    let odd = if toward_zero {
        bits.wrapping_sub(1)
    } else {
        bits
    } | 1;
    // An error that is NaN comes from an infinite sum.
    let is_inexact = error != 0.0 && !error.is_nan() && bits & 1 == 0;
    f32::from_bits(if is_inexact { odd } else { bits })
}

#[inline(always)]
pub(crate) fn add<H: Half>(a: u16, b: u16) -> u16 {
    H::narrow(H::widen(a) + H::widen(b))
}

#[inline(always)]
pub(crate) fn sub<H: Half>(a: u16, b: u16) -> u16 {
    H::narrow(H::widen(a) - H::widen(b))
}

#[inline(always)]
pub(crate) fn mul<H: Half>(a: u16, b: u16) -> u16 {
    H::narrow(round_to_odd(
        f64::from(H::widen(a)) * f64::from(H::widen(b)),
        0.0,
    ))
}

/// Applies `f` to both halves.
#[inline(always)]
pub(crate) fn both(a: u32, b: u32, f: impl Fn(u16, u16) -> u16) -> u32 {
    let low = f(a as u16, b as u16);
    let high = f((a >> 16) as u16, (b >> 16) as u16);
    u32::from(low) | u32::from(high) << 16
}

pub(crate) fn add_f16x2(a: u32, b: u32) -> u32 {
    both(a, b, add::<F16>)
}

pub(crate) fn add_bf16x2(a: u32, b: u32) -> u32 {
    both(a, b, add::<Bf16>)
}

/// Minimum or maximum; a NaN gives way to a number.
#[inline(always)]
pub(crate) fn min_max<H: Half>(is_max: bool, a: u16, b: u16) -> u16 {
    let (x, y) = (H::widen(a), H::widen(b));
    if x.is_nan() && y.is_nan() {
        return NAN_16;
    }
    let value = if is_max {
        float::max_f32(x, y)
    } else {
        float::min_f32(x, y)
    };
    H::narrow(value)
}

pub(crate) fn min_max_f16x2(is_max: bool, a: u32, b: u32) -> u32 {
    both(a, b, |a, b| min_max::<F16>(is_max, a, b))
}

pub(crate) fn min_max_bf16x2(is_max: bool, a: u32, b: u32) -> u32 {
    both(a, b, |a, b| min_max::<Bf16>(is_max, a, b))
}

pub(crate) fn min_max_f32(is_max: bool, a: u32, b: u32) -> u32 {
    let (a, b) = (f32::from_bits(a), f32::from_bits(b));
    let value = if is_max {
        float::max_f32(a, b)
    } else {
        float::min_f32(a, b)
    };
    if value.is_nan() {
        NAN_F32.to_bits()
    } else {
        value.to_bits()
    }
}

pub(crate) fn min_max_f64(is_max: bool, a: u64, b: u64) -> u64 {
    let (a, b) = (f64::from_bits(a), f64::from_bits(b));
    (if is_max {
        float::max_f64(a, b)
    } else {
        float::min_f64(a, b)
    })
    .to_bits()
}

// === Lane loops, without modifiers ===

/// An operation on halves, through f32.
pub(crate) trait HalfOp {
    /// Both halves of the lane.
    const PACKED: bool;
    /// bf16 instead of f16.
    const BRAIN: bool;
    const OPERANDS: usize;
    fn f(a: f32, b: f32, c: f32) -> f32;
}

struct Add<const PACKED: bool, const BRAIN: bool>;
impl<const PACKED: bool, const BRAIN: bool> HalfOp for Add<PACKED, BRAIN> {
    const PACKED: bool = PACKED;
    const BRAIN: bool = BRAIN;
    const OPERANDS: usize = 2;
    #[inline(always)]
    fn f(a: f32, b: f32, _: f32) -> f32 {
        a + b
    }
}

struct Sub<const PACKED: bool, const BRAIN: bool>;
impl<const PACKED: bool, const BRAIN: bool> HalfOp for Sub<PACKED, BRAIN> {
    const PACKED: bool = PACKED;
    const BRAIN: bool = BRAIN;
    const OPERANDS: usize = 2;
    #[inline(always)]
    fn f(a: f32, b: f32, _: f32) -> f32 {
        a - b
    }
}

struct Mul<const PACKED: bool, const BRAIN: bool>;
impl<const PACKED: bool, const BRAIN: bool> HalfOp for Mul<PACKED, BRAIN> {
    const PACKED: bool = PACKED;
    const BRAIN: bool = BRAIN;
    const OPERANDS: usize = 2;
    #[inline(always)]
    fn f(a: f32, b: f32, _: f32) -> f32 {
        if BRAIN {
            round_to_odd(f64::from(a) * f64::from(b), 0.0)
        } else {
            a * b
        }
    }
}

struct Fma<const PACKED: bool, const BRAIN: bool>;
impl<const PACKED: bool, const BRAIN: bool> HalfOp for Fma<PACKED, BRAIN> {
    const PACKED: bool = PACKED;
    const BRAIN: bool = BRAIN;
    const OPERANDS: usize = 3;
    #[inline(always)]
    fn f(a: f32, b: f32, c: f32) -> f32 {
        if BRAIN {
            fma_before_rounding(a, b, c)
        } else {
            fma_f16_before_rounding(a, b, c)
        }
    }
}

/// # Safety
/// `code` was decoded for the running function; the CPU has level `L`.
#[inline(always)]
unsafe fn run_half<L: Level, O: HalfOp>(lanes: &mut Lanes, code: &Code) -> Step {
    // SAFETY: the caller's contract.
    unsafe {
        let (a, step_a) = lanes.source::<u32>(code.a);
        let (b, step_b) = lanes.source::<u32>(code.b);
        let third = if O::OPERANDS == 3 { code.c } else { code.b };
        let (c, step_c) = lanes.source::<u32>(third);
        let target = lanes.target::<u32>(code.dst);
        for warp in 0..lanes.warps {
            let mask = *lanes.masks.add(warp);
            if mask == 0 {
                continue;
            }
            let a = &*a.add(warp * step_a).cast::<[u32; WARP]>();
            let b = &*b.add(warp * step_b).cast::<[u32; WARP]>();
            let c = &*c.add(warp * step_c).cast::<[u32; WARP]>();
            let mut out = halves::<L, O>(a, b, c);
            if O::PACKED {
                let high = halves::<L, O>(&shifted(a), &shifted(b), &shifted(c));
                for lane in 0..WARP {
                    out[lane] |= high[lane] << 16;
                }
            }
            store::<L, u32>(mask, &out, target.add(warp * WARP));
        }
    }
    Step::Next
}

#[inline(always)]
fn shifted(values: &[u32; WARP]) -> [u32; WARP] {
    let mut out = [0; WARP];
    for lane in 0..WARP {
        out[lane] = values[lane] >> 16;
    }
    out
}

/// The operation on the low halves.
///
/// # Safety
/// The CPU has level `L`.
#[inline(always)]
unsafe fn halves<L: Level, O: HalfOp>(
    a: &[u32; WARP],
    b: &[u32; WARP],
    c: &[u32; WARP],
) -> [u32; WARP] {
    let mut wide = [0.0; WARP];
    let mut out = [0; WARP];
    if O::BRAIN {
        for lane in 0..WARP {
            let widen = |bits: u32| f32::from_bits(bits << 16);
            out[lane] = Bf16::narrow(O::f(widen(a[lane]), widen(b[lane]), widen(c[lane]))).into();
        }
        return out;
    }
    // SAFETY: the caller's contract.
    unsafe {
        let (a, b) = (L::widen_f16(a), L::widen_f16(b));
        let c = if O::OPERANDS == 3 { L::widen_f16(c) } else { b };
        for lane in 0..WARP {
            wide[lane] = O::f(a[lane], b[lane], c[lane]);
        }
        L::narrow_f16(&wide)
    }
}

super::lanes::versions!(run_half, HalfOp, pick_half, half_v4, half_v3, half_portable);

/// Code for an operation without modifiers; `None`: scalar.
pub(crate) fn code(
    ty: FloatType,
    op: FloatOp,
    mode: FloatMode,
    level: CpuLevel,
) -> Option<Execute> {
    if mode != FloatMode::default() {
        return None;
    }
    let is_packed = matches!(ty, FloatType::F16x2 | FloatType::Bf16x2);
    let is_brain = matches!(ty, FloatType::Bf16 | FloatType::Bf16x2);
    macro_rules! pick {
        ($op:ident) => {
            match (is_packed, is_brain) {
                (false, false) => pick_half::<$op<false, false>>(level),
                (true, false) => pick_half::<$op<true, false>>(level),
                (false, true) => pick_half::<$op<false, true>>(level),
                (true, true) => pick_half::<$op<true, true>>(level),
            }
        };
    }
    Some(match op {
        FloatOp::Add => pick!(Add),
        FloatOp::Sub => pick!(Sub),
        FloatOp::Mul => pick!(Mul),
        FloatOp::Fma => pick!(Fma),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::softfloat;
    use super::*;
    use crate::ir::Rounding::NearestEven;

    fn canonical(bits: u16, format: softfloat::Format) -> u16 {
        if format.unpack(bits.into()).is_nan() {
            NAN_16
        } else {
            bits
        }
    }

    fn check<H: Half>(format: softfloat::Format) {
        let mut state = 0x9e37_79b9_u32;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            (state >> 8) as u16
        };
        for _ in 0..300_000 {
            let (mut a, mut b, c) = (next(), next(), next());
            if c & 3 == 0 {
                a &= 0x83ff;
                b &= 0xbfff;
            }
            let (x, y, z) = (u64::from(a), u64::from(b), u64::from(c));
            assert_eq!(
                add::<H>(a, b),
                format.add(x, y, NearestEven) as u16,
                "{a:x} + {b:x}"
            );
            assert_eq!(
                sub::<H>(a, b),
                format.sub(x, y, NearestEven) as u16,
                "{a:x} - {b:x}"
            );
            assert_eq!(
                mul::<H>(a, b),
                format.mul(x, y, NearestEven) as u16,
                "{a:x} * {b:x}"
            );
            let expected = format.fma(x, y, z, NearestEven) as u16;
            assert_eq!(fma::<H>(a, b, c), expected, "{a:x} * {b:x} + {c:x}");
            if format == softfloat::F16 {
                let [a, b, c] = [a, b, c].map(F16::widen);
                assert_eq!(F16::narrow(fma_f16_before_rounding(a, b, c)), expected);
                assert_eq!(F16::narrow(a * b), mul::<H>(F16::narrow(a), F16::narrow(b)));
            }
        }
    }

    #[test]
    fn arithmetic_is_correctly_rounded() {
        check::<F16>(softfloat::F16);
        check::<Bf16>(softfloat::BF16);
    }

    #[test]
    fn every_value_survives_widening() {
        for bits in 0..=u16::MAX {
            let wide = softfloat::F32.convert(softfloat::F16, bits.into(), NearestEven) as u32;
            let ours = F16::widen(bits);
            assert!(ours.is_nan() && f32::from_bits(wide).is_nan() || ours.to_bits() == wide);
            assert_eq!(F16::narrow(ours), canonical(bits, softfloat::F16));
            assert_eq!(
                Bf16::narrow(Bf16::widen(bits)),
                canonical(bits, softfloat::BF16)
            );
        }
    }

    #[test]
    fn narrowing_rounds_to_even() {
        let mut bits = 0_u32;
        while bits < 0x7f80_0000 {
            for value in [bits, bits | 1 << 31] {
                let f16 = softfloat::F16.convert(softfloat::F32, value.into(), NearestEven);
                let bf16 = softfloat::BF16.convert(softfloat::F32, value.into(), NearestEven);
                assert_eq!(F16::narrow(f32::from_bits(value)), f16 as u16, "{value:#x}");
                assert_eq!(
                    Bf16::narrow(f32::from_bits(value)),
                    bf16 as u16,
                    "{value:#x}"
                );
            }
            bits += 4093;
        }
    }
}
