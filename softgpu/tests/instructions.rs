// SPDX-License-Identifier: Apache-2.0
//! Single instructions from PTX text to results, against what the PTX ISA says they compute.

#![allow(
    clippy::precedence,
    clippy::neg_cmp_op_on_partial_ord,
    clippy::cast_lossless,
    reason = "a table of formulas reads best as the PTX manual writes them"
)]

mod common;

use common::{Device, Random};

/// An operand as the test sees it: 64 random bits, of which each instruction reads the low ones.
#[derive(Clone, Copy)]
struct Value(u64);

#[rustfmt::skip]
impl Value {
    fn u8(self) -> u8 { self.0 as u8 }
    fn s8(self) -> i8 { self.0 as i8 }
    fn u16(self) -> u16 { self.0 as u16 }
    fn s16(self) -> i16 { self.0 as i16 }
    fn u32(self) -> u32 { self.0 as u32 }
    fn s32(self) -> i32 { self.0 as i32 }
    fn u64(self) -> u64 { self.0 }
    fn s64(self) -> i64 { self.0 as i64 }
    fn f32(self) -> f32 { f32::from_bits(self.0 as u32) }
    fn f64(self) -> f64 { f64::from_bits(self.0) }
    fn f16(self) -> f64 { half_to_f64(self.0 as u16) }
    fn bit(self) -> bool { self.0 & 1 != 0 }
}

/// What kind of result register 1 is, so how it is compared.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Class {
    H,
    R,
    D,
    /// Single precision: NaNs are all the same.
    F,
    /// Double precision.
    G,
    /// Half precision in a 16-bit register.
    E,
    /// Predicate.
    P,
}

use Class::{D, E, F, G, H, P, R};

struct Row {
    text: &'static str,
    class: Class,
    expected: fn(Value, Value, Value) -> u64,
    domain: Domain,
}

/// Which operands make sense.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Domain {
    /// Any bits.
    Any,
    /// Floating-point numbers of moderate size, so that products do not under- or overflow.
    Moderate,
}

const fn row(text: &'static str, class: Class, expected: fn(Value, Value, Value) -> u64) -> Row {
    Row {
        text,
        class,
        expected,
        domain: Domain::Any,
    }
}

const fn moderate(
    text: &'static str,
    class: Class,
    expected: fn(Value, Value, Value) -> u64,
) -> Row {
    Row {
        text,
        class,
        expected,
        domain: Domain::Moderate,
    }
}

// === reference arithmetic ===

fn half_to_f64(bits: u16) -> f64 {
    let sign = if bits & 0x8000 != 0 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 0x3ff));
    sign * match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1.0 + fraction / 1024.0) * 2f64.powi(exponent - 15),
    }
}

/// To the nearest half, ties to even.
fn f64_to_half(value: f64) -> u64 {
    let sign = u64::from(value.is_sign_negative()) << 15;
    if value.is_nan() {
        return 0x7fff;
    }
    let magnitude = value.abs();
    let exponent = if magnitude < 2f64.powi(-14) {
        -14
    } else {
        magnitude.log2().floor() as i32
    };
    let unit = 2f64.powi(exponent.min(16) - 10);
    let steps = (magnitude / unit).round_ties_even();
    let rounded = steps * unit;
    if rounded >= 65520.0 {
        return sign | 0x7c00;
    }
    if rounded < 2f64.powi(-14) {
        return sign | (rounded / 2f64.powi(-24)) as u64;
    }
    let exponent = rounded.log2().floor() as i32;
    let fraction = (rounded / 2f64.powi(exponent) - 1.0) * 1024.0;
    sign | ((exponent + 15) as u64) << 10 | fraction as u64
}

#[derive(Clone, Copy, PartialEq)]
enum Round {
    Nearest,
    Zero,
    Down,
    Up,
}

/// `high + low`, exactly known, to single precision.
fn to_f32(high: f64, low: f64, round: Round) -> f32 {
    let nearest = high as f32;
    if high.is_nan() || high.is_infinite() || round == Round::Nearest && low == 0.0 {
        return nearest;
    }
    let above = |value: f32| {
        let value = f64::from(value);
        value > high || value == high && low < 0.0
    };
    let below = |value: f32| {
        let value = f64::from(value);
        value < high || value == high && low > 0.0
    };
    // The neighbours on either side of the exact value.
    let mut under = nearest;
    while above(under) {
        under = under.next_down();
    }
    let mut over = nearest;
    while below(over) {
        over = over.next_up();
    }
    match round {
        Round::Down => under,
        Round::Up => over,
        Round::Zero if high < 0.0 || high == 0.0 && low < 0.0 => over,
        Round::Zero => under,
        Round::Nearest => nearest,
    }
}

fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let part = sum - a;
    (sum, (a - (sum - part)) + (b - part))
}

fn add_f32(a: f32, b: f32, round: Round) -> u64 {
    let (a, b) = (f64::from(a), f64::from(b));
    if round != Round::Nearest && a == -b {
        // Exact cancellation is minus zero when rounding down only; equal zeros keep their sign.
        let zero = if a == 0.0 && a.is_sign_negative() == b.is_sign_negative() {
            a
        } else if round == Round::Down {
            -0.0
        } else {
            0.0
        };
        return bits(zero as f32);
    }
    let (sum, error) = two_sum(a, b);
    if round == Round::Nearest {
        return bits(a as f32 + b as f32);
    }
    bits(to_f32(sum, error, round))
}

fn mul_f32(a: f32, b: f32, round: Round) -> u64 {
    bits(to_f32(f64::from(a) * f64::from(b), 0.0, round))
}

fn fma_f32(a: f32, b: f32, c: f32, round: Round) -> u64 {
    let (sum, error) = two_sum(f64::from(a) * f64::from(b), f64::from(c));
    bits(if round == Round::Nearest {
        a.mul_add(b, c)
    } else {
        to_f32(sum, error, round)
    })
}

/// A directed result from the nearest one and the sign of what is missing.
fn directed_f64(nearest: f64, error: f64, round: Round) -> u64 {
    let value = match round {
        Round::Down if error < 0.0 => nearest.next_down(),
        Round::Up if error > 0.0 => nearest.next_up(),
        Round::Zero if error < 0.0 && nearest > 0.0 => nearest.next_down(),
        Round::Zero if error > 0.0 && nearest < 0.0 => nearest.next_up(),
        _ => nearest,
    };
    value.to_bits()
}

fn add_f64(a: f64, b: f64, round: Round) -> u64 {
    let (sum, error) = two_sum(a, b);
    directed_f64(sum, error, round)
}

fn mul_f64(a: f64, b: f64, round: Round) -> u64 {
    let product = a * b;
    directed_f64(product, a.mul_add(b, -product), round)
}

fn div_f64(a: f64, b: f64, round: Round) -> u64 {
    let quotient = a / b;
    let rest = (-quotient).mul_add(b, a);
    directed_f64(quotient, if b < 0.0 { -rest } else { rest }, round)
}

fn sqrt_f64(a: f64, round: Round) -> u64 {
    let root = a.sqrt();
    directed_f64(root, (-root).mul_add(root, a), round)
}

fn div_f32(a: f32, b: f32, round: Round) -> u64 {
    let (x, y) = (f64::from(a), f64::from(b));
    let quotient = x / y;
    let rest = (-quotient).mul_add(y, x);
    let error = if y < 0.0 { -rest } else { rest };
    bits(if round == Round::Nearest {
        a / b
    } else {
        to_f32(quotient, error, round)
    })
}

fn sqrt_f32(a: f32, round: Round) -> u64 {
    let root = f64::from(a).sqrt();
    let rest = (-root).mul_add(root, f64::from(a));
    bits(if round == Round::Nearest {
        a.sqrt()
    } else {
        to_f32(root, rest, round)
    })
}

fn bits(value: f32) -> u64 {
    value.to_bits().into()
}

fn flushed(value: f32) -> f32 {
    if value.is_subnormal() {
        0f32.copysign(value)
    } else {
        value
    }
}

fn saturated(value: f32) -> f32 {
    // NaN becomes zero.
    if value > 0.0 { value.min(1.0) } else { 0.0 }
}

fn yes(value: bool) -> u64 {
    value.into()
}

fn permute(a: u32, b: u32, selector: u32) -> u64 {
    let bytes = (u64::from(b) << 32 | u64::from(a)).to_le_bytes();
    (0..4).fold(0, |result, i| {
        let select = selector >> (4 * i) & 15;
        let byte = bytes[select as usize & 7];
        let byte = if select & 8 != 0 {
            0u8.wrapping_sub(byte >> 7)
        } else {
            byte
        };
        result | u64::from(byte) << (8 * i)
    })
}

fn lop3(a: u32, b: u32, c: u32, table: u8) -> u64 {
    (0..32).fold(0, |result, i| {
        let index = (a >> i & 1) << 2 | (b >> i & 1) << 1 | (c >> i & 1);
        result | u64::from(table >> index & 1) << i
    })
}

fn extract(value: u64, signed: bool, width: u32, position: u32, length: u32) -> u64 {
    let (position, length) = (position & 0xff, length & 0xff);
    let last = (position + length).saturating_sub(1).min(width - 1);
    let sign = if !signed || length == 0 {
        0
    } else {
        value >> last & 1
    };
    (0..width).fold(0, |result, i| {
        let bit = if i < length && position + i < width {
            value >> (position + i) & 1
        } else {
            sign
        };
        result | bit << i
    })
}

fn insert(value: u64, into: u64, width: u32, position: u32, length: u32) -> u64 {
    let (position, length) = (position & 0xff, length & 0xff);
    (0..length)
        .take_while(|i| position + i < width)
        .fold(into, |result, i| {
            let at = position + i;
            result & !(1 << at) | (value >> i & 1) << at
        })
}

fn find(value: u64, signed: bool, width: u32) -> u64 {
    let value = if signed && value >> (width - 1) & 1 != 0 {
        !value
    } else {
        value
    };
    let value = if width == 32 {
        value & 0xffff_ffff
    } else {
        value
    };
    if value == 0 {
        0xffff_ffff
    } else {
        u64::from(63 - value.leading_zeros())
    }
}

fn dot(a: [i32; 4], b: [i32; 4], c: u32) -> u64 {
    let sum = a
        .iter()
        .zip(b)
        .fold(0i32, |sum, (x, y)| sum.wrapping_add(x.wrapping_mul(y)));
    c.wrapping_add(sum as u32).into()
}

fn unsigned_bytes(value: u32) -> [i32; 4] {
    value.to_le_bytes().map(i32::from)
}

fn signed_bytes(value: u32) -> [i32; 4] {
    value.to_le_bytes().map(|byte| i32::from(byte as i8))
}

/// Float to integer: clamps. NaN is zero, or the top bit where either type has 64 bits.
fn to_int(value: f64, low: i128, high: i128, nan: i128) -> u64 {
    if value.is_nan() {
        return nan as u64;
    }
    (value as i128).clamp(low, high) as u64
}

fn to_s32(value: f64) -> u64 {
    to_int(value, i32::MIN.into(), i32::MAX.into(), 0) & 0xffff_ffff
}

fn to_u32(value: f64) -> u64 {
    to_int(value, 0, u32::MAX.into(), 0)
}

fn shift_left(value: u64, by: u32, width: u32) -> u64 {
    let shifted = if by >= width { 0 } else { value << by };
    if width == 64 {
        shifted
    } else {
        shifted & ((1 << width) - 1)
    }
}

fn ordered(a: f64, b: f64) -> bool {
    !a.is_nan() && !b.is_nan()
}

#[rustfmt::skip]
const INTEGER: &[Row] = &[
    row("add.u16 %h1, %h2, %h3;", H, |a, b, _| a.u16().wrapping_add(b.u16()).into()),
    row("add.s32 %r1, %r2, %r3;", R, |a, b, _| a.u32().wrapping_add(b.u32()).into()),
    row("add.s32 %r1, %r2, -7;", R, |a, _, _| a.u32().wrapping_sub(7).into()),
    row("add.u64 %d1, %d2, %d3;", D, |a, b, _| a.u64().wrapping_add(b.u64())),
    row("add.sat.s32 %r1, %r2, %r3;", R, |a, b, _| a.s32().saturating_add(b.s32()) as u32 as u64),
    row("sub.sat.s32 %r1, %r2, %r3;", R, |a, b, _| a.s32().saturating_sub(b.s32()) as u32 as u64),
    row("sub.s16 %h1, %h2, %h3;", H, |a, b, _| a.u16().wrapping_sub(b.u16()).into()),
    row("sub.u32 %r1, %r2, %r3;", R, |a, b, _| a.u32().wrapping_sub(b.u32()).into()),
    row("sub.s64 %d1, %d2, %d3;", D, |a, b, _| a.u64().wrapping_sub(b.u64())),
    row("mul.lo.s16 %h1, %h2, %h3;", H, |a, b, _| a.u16().wrapping_mul(b.u16()).into()),
    row("mul.hi.s16 %h1, %h2, %h3;", H, |a, b, _| (i32::from(a.s16()) * i32::from(b.s16()) >> 16) as u16 as u64),
    row("mul.hi.u16 %h1, %h2, %h3;", H, |a, b, _| (u32::from(a.u16()) * u32::from(b.u16()) >> 16).into()),
    row("mul.wide.s16 %r1, %h2, %h3;", R, |a, b, _| (i32::from(a.s16()) * i32::from(b.s16())) as u32 as u64),
    row("mul.wide.u16 %r1, %h2, %h3;", R, |a, b, _| (u32::from(a.u16()) * u32::from(b.u16())).into()),
    row("mul.lo.u32 %r1, %r2, %r3;", R, |a, b, _| a.u32().wrapping_mul(b.u32()).into()),
    row("mul.hi.s32 %r1, %r2, %r3;", R, |a, b, _| (i64::from(a.s32()) * i64::from(b.s32()) >> 32) as u32 as u64),
    row("mul.hi.u32 %r1, %r2, %r3;", R, |a, b, _| u64::from(a.u32()) * u64::from(b.u32()) >> 32),
    row("mul.wide.s32 %d1, %r2, %r3;", D, |a, b, _| (i64::from(a.s32()) * i64::from(b.s32())) as u64),
    row("mul.wide.u32 %d1, %r2, %r3;", D, |a, b, _| u64::from(a.u32()) * u64::from(b.u32())),
    row("mul.lo.s64 %d1, %d2, %d3;", D, |a, b, _| a.u64().wrapping_mul(b.u64())),
    row("mul.hi.s64 %d1, %d2, %d3;", D, |a, b, _| (i128::from(a.s64()) * i128::from(b.s64()) >> 64) as u64),
    row("mul.hi.u64 %d1, %d2, %d3;", D, |a, b, _| (u128::from(a.u64()) * u128::from(b.u64()) >> 64) as u64),
    row("mad.lo.s32 %r1, %r2, %r3, %r4;", R, |a, b, c| a.u32().wrapping_mul(b.u32()).wrapping_add(c.u32()).into()),
    row("mad.hi.s32 %r1, %r2, %r3, %r4;", R, |a, b, c| ((i64::from(a.s32()) * i64::from(b.s32()) >> 32) as u32).wrapping_add(c.u32()).into()),
    row("mad.hi.sat.s32 %r1, %r2, %r3, %r4;", R, |a, b, c| ((i64::from(a.s32()) * i64::from(b.s32()) >> 32) as i32).saturating_add(c.s32()) as u32 as u64),
    row("mad.wide.s32 %d1, %r2, %r3, %d4;", D, |a, b, c| (i64::from(a.s32()) * i64::from(b.s32())).wrapping_add(c.s64()) as u64),
    row("mad.wide.u16 %r1, %h2, %h3, %r4;", R, |a, b, c| (u32::from(a.u16()) * u32::from(b.u16())).wrapping_add(c.u32()).into()),
    row("mad.lo.u64 %d1, %d2, %d3, %d4;", D, |a, b, c| a.u64().wrapping_mul(b.u64()).wrapping_add(c.u64())),
    row("mul24.lo.u32 %r1, %r2, %r3;", R, |a, b, _| u64::from(a.u32() & 0xff_ffff) * u64::from(b.u32() & 0xff_ffff) & 0xffff_ffff),
    row("mul24.hi.s32 %r1, %r2, %r3;", R, |a, b, _| (i64::from(a.s32() << 8 >> 8) * i64::from(b.s32() << 8 >> 8) >> 16) as u32 as u64),
    row("mad24.lo.s32 %r1, %r2, %r3, %r4;", R, |a, b, c| ((i64::from(a.s32() << 8 >> 8) * i64::from(b.s32() << 8 >> 8)) as u32).wrapping_add(c.u32()).into()),
    row("sad.s32 %r1, %r2, %r3, %r4;", R, |a, b, c| c.u32().wrapping_add(a.s32().abs_diff(b.s32())).into()),
    row("sad.u16 %h1, %h2, %h3, %h4;", H, |a, b, c| c.u16().wrapping_add(a.u16().abs_diff(b.u16())).into()),
    row("div.s32 %r1, %r2, %r3;", R, |a, b, _| if b.s32() == 0 { 0xffff_ffff } else { a.s32().wrapping_div(b.s32()) as u32 as u64 }),
    row("div.u32 %r1, %r2, %r3;", R, |a, b, _| a.u32().checked_div(b.u32()).unwrap_or(u32::MAX).into()),
    row("div.u64 %d1, %d2, %d3;", D, |a, b, _| a.u64().checked_div(b.u64()).unwrap_or(u64::MAX)),
    row("div.s16 %h1, %h2, %h3;", H, |a, b, _| if b.s16() == 0 { 0xffff } else { a.s16().wrapping_div(b.s16()) as u16 as u64 }),
    row("rem.s64 %d1, %d2, %d3;", D, |a, b, _| if b.s64() == 0 { a.u64() } else { a.s64().wrapping_rem(b.s64()) as u64 }),
    row("rem.u32 %r1, %r2, %r3;", R, |a, b, _| a.u32().checked_rem(b.u32()).unwrap_or(a.u32()).into()),
    row("abs.s32 %r1, %r2;", R, |a, _, _| a.s32().wrapping_abs() as u32 as u64),
    row("neg.s16 %h1, %h2;", H, |a, _, _| a.s16().wrapping_neg() as u16 as u64),
    row("min.s16 %h1, %h2, %h3;", H, |a, b, _| a.s16().min(b.s16()) as u16 as u64),
    row("max.u32 %r1, %r2, %r3;", R, |a, b, _| a.u32().max(b.u32()).into()),
    row("min.s64 %d1, %d2, %d3;", D, |a, b, _| a.s64().min(b.s64()) as u64),
    row("popc.b64 %r1, %d2;", R, |a, _, _| a.u64().count_ones().into()),
    row("clz.b32 %r1, %r2;", R, |a, _, _| a.u32().leading_zeros().into()),
    row("brev.b32 %r1, %r2;", R, |a, _, _| a.u32().reverse_bits().into()),
    row("brev.b64 %d1, %d2;", D, |a, _, _| a.u64().reverse_bits()),
    row("bfind.u32 %r1, %r2;", R, |a, _, _| find(a.u32().into(), false, 32)),
    row("bfind.s32 %r1, %r2;", R, |a, _, _| find(a.u32().into(), true, 32)),
    row("bfind.s64 %r1, %d2;", R, |a, _, _| find(a.u64(), true, 64)),
    row("bfind.shiftamt.u32 %r1, %r2;", R, |a, _, _| if a.u32() == 0 { 0xffff_ffff } else { a.u32().leading_zeros().into() }),
    row("bfe.u32 %r1, %r2, %r3, %r4;", R, |a, b, c| extract(a.u32().into(), false, 32, b.u32(), c.u32())),
    row("bfe.s32 %r1, %r2, %r3, %r4;", R, |a, b, c| extract(a.u32().into(), true, 32, b.u32(), c.u32())),
    row("bfe.s32 %r1, %r2, 5, 9;", R, |a, _, _| extract(a.u32().into(), true, 32, 5, 9)),
    row("bfe.s64 %d1, %d2, %r3, %r4;", D, |a, b, c| extract(a.u64(), true, 64, b.u32(), c.u32())),
    row("bfi.b32 %r1, %r2, %r3, %r4, 8;", R, |a, b, c| insert(a.u32().into(), b.u32().into(), 32, c.u32(), 8)),
    row("bfi.b64 %d1, %d2, %d3, 32, 32;", D, |a, b, _| b.u64() & 0xffff_ffff | a.u64() << 32),
    row("bmsk.clamp.b32 %r1, %r2, %r3;", R, |a, b, _| {
        let (position, length) = (a.u32().min(32), b.u32().min(32));
        let mask = if length == 32 { u32::MAX.into() } else { (1u64 << length) - 1 };
        mask << position & 0xffff_ffff
    }),
    row("szext.wrap.s32 %r1, %r2, %r3;", R, |a, b, _| {
        let n = b.u32() & 31;
        if n == 0 { 0 } else { (a.s32() << (32 - n) >> (32 - n)) as u32 as u64 }
    }),
    row("and.b16 %h1, %h2, %h3;", H, |a, b, _| (a.u16() & b.u16()).into()),
    row("or.b32 %r1, %r2, %r3;", R, |a, b, _| (a.u32() | b.u32()).into()),
    row("xor.b64 %d1, %d2, %d3;", D, |a, b, _| a.u64() ^ b.u64()),
    row("not.b32 %r1, %r2;", R, |a, _, _| (!a.u32()).into()),
    row("cnot.b32 %r1, %r2;", R, |a, _, _| yes(a.u32() == 0)),
    row("lop3.b32 %r1, %r2, %r3, %r4, 0xe8;", R, |a, b, c| lop3(a.u32(), b.u32(), c.u32(), 0xe8)),
    row("lop3.b32 %r1, %r2, %r3, 0xff00ff, 0x2d;", R, |a, b, _| lop3(a.u32(), b.u32(), 0xff_00ff, 0x2d)),
    row("lop3.or.b32 _|%p1, %r2, %r3, %r4, 0x80, %p4;", P, |a, b, c| yes(a.u32() & b.u32() & c.u32() != 0 || c.bit())),
    row("lop3.and.b32 _|%p1, %r2, %r3, %r4, 0x96, !%p4;", P, |a, b, c| yes(a.u32() ^ b.u32() ^ c.u32() != 0 && !c.bit())),
    row("shl.b32 %r1, %r2, %r3;", R, |a, b, _| shift_left(a.u32().into(), b.u32(), 32)),
    row("shl.b16 %h1, %h2, %r3;", H, |a, b, _| shift_left(a.u16().into(), b.u32(), 16)),
    row("shl.b64 %d1, %d2, %r3;", D, |a, b, _| shift_left(a.u64(), b.u32(), 64)),
    row("shr.u32 %r1, %r2, %r3;", R, |a, b, _| a.u32().checked_shr(b.u32()).unwrap_or(0).into()),
    row("shr.s32 %r1, %r2, %r3;", R, |a, b, _| (a.s32() >> b.u32().min(31)) as u32 as u64),
    row("shr.s16 %h1, %h2, %r3;", H, |a, b, _| (a.s16() >> b.u32().min(15)) as u16 as u64),
    row("shr.b64 %d1, %d2, %r3;", D, |a, b, _| a.u64().checked_shr(b.u32()).unwrap_or(0)),
    row("shf.l.wrap.b32 %r1, %r2, %r3, %r4;", R, |a, b, c| ((u64::from(b.u32()) << 32 | u64::from(a.u32())) << (c.u32() & 31)) >> 32),
    row("shf.r.wrap.b32 %r1, %r2, %r3, %r4;", R, |a, b, c| ((u64::from(b.u32()) << 32 | u64::from(a.u32())) >> (c.u32() & 31)) & 0xffff_ffff),
    row("shf.l.clamp.b32 %r1, %r2, %r3, %r4;", R, |a, b, c| ((u128::from(b.u32()) << 32 | u128::from(a.u32())) << c.u32().min(32) >> 32) as u32 as u64),
    row("shf.r.clamp.b32 %r1, %r2, %r3, %r4;", R, |a, b, c| ((u64::from(b.u32()) << 32 | u64::from(a.u32())) >> c.u32().min(32)) & 0xffff_ffff),
    row("prmt.b32 %r1, %r2, %r3, %r4;", R, |a, b, c| permute(a.u32(), b.u32(), c.u32())),
    row("prmt.b32 %r1, %r2, 0, 0x4140;", R, |a, _, _| permute(a.u32(), 0, 0x4140)),
    row("prmt.b32.rc16 %r1, %r2, %r3, %r4;", R, |a, _, c| { let half = a.u32() >> (16 * (c.u32() & 1)) & 0xffff; (half << 16 | half).into() }),
    row("dp4a.u32.u32 %r1, %r2, %r3, %r4;", R, |a, b, c| dot(unsigned_bytes(a.u32()), unsigned_bytes(b.u32()), c.u32())),
    row("dp4a.s32.s32 %r1, %r2, %r3, %r4;", R, |a, b, c| dot(signed_bytes(a.u32()), signed_bytes(b.u32()), c.u32())),
    row("dp4a.u32.s32 %r1, %r2, %r3, %r4;", R, |a, b, c| dot(unsigned_bytes(a.u32()), signed_bytes(b.u32()), c.u32())),
    row("dp2a.lo.s32.u32 %r1, %r2, %r3, %r4;", R, |a, b, c| {
        let bytes = unsigned_bytes(b.u32());
        let halves = [i32::from(a.s16()), a.s32() >> 16];
        dot([halves[0], halves[1], 0, 0], [bytes[0], bytes[1], 0, 0], c.u32())
    }),
    row("dp2a.hi.u32.u32 %r1, %r2, %r3, %r4;", R, |a, b, c| {
        let bytes = unsigned_bytes(b.u32());
        let halves = [i32::from(a.u16()), (a.u32() >> 16) as i32];
        dot([halves[0], halves[1], 0, 0], [bytes[2], bytes[3], 0, 0], c.u32())
    }),
    row("vabsdiff4.u32.u32.u32 %r1, %r2, %r3, %r4;", R, |a, b, _| {
        let (a, b) = (a.u32().to_le_bytes(), b.u32().to_le_bytes());
        u32::from_le_bytes([0, 1, 2, 3].map(|i| a[i].abs_diff(b[i]))).into()
    }),
    row("vabsdiff4.u32.u32.u32.add %r1, %r2, %r3, %r4;", R, |a, b, c| {
        let (a, b) = (a.u32().to_le_bytes(), b.u32().to_le_bytes());
        (0..4).fold(c.u32(), |sum, i| sum.wrapping_add(a[i].abs_diff(b[i]).into())).into()
    }),
    row("add.cc.u32 %r1, %r2, %r3; addc.u32 %r1, %r4, 0;", R, |a, b, c| c.u32().wrapping_add(a.u32().overflowing_add(b.u32()).1.into()).into()),
    row("sub.cc.u32 %r1, %r2, %r3; subc.u32 %r1, %r4, 1;", R, |a, b, c| c.u32().wrapping_sub(1).wrapping_sub((a.u32() < b.u32()).into()).into()),
    row("add.cc.u64 %d1, %d2, %d3; addc.cc.u64 %d1, %d4, -1; addc.u64 %d1, 0, 0;", D, |a, b, c| {
        let carry = u64::from(a.u64().overflowing_add(b.u64()).1);
        u64::from(u128::from(c.u64()) + u128::from(u64::MAX) + u128::from(carry) >> 64 != 0)
    }),
    row("mad.lo.cc.u32 %r1, %r2, %r3, %r4; madc.hi.u32 %r1, %r2, %r3, 5;", R, |a, b, c| {
        let product = u64::from(a.u32()) * u64::from(b.u32());
        let carry = (product as u32).overflowing_add(c.u32()).1;
        ((product >> 32) as u32).wrapping_add(5).wrapping_add(carry.into()).into()
    }),
    row("selp.b32 %r1, %r2, %r3, %p4;", R, |a, b, c| if c.bit() { a.u32() } else { b.u32() }.into()),
    row("selp.u16 %h1, %h2, 9, !%p4;", H, |a, _, c| if c.bit() { 9 } else { a.u16() }.into()),
    row("slct.u32.s32 %r1, %r2, %r3, %r4;", R, |a, b, c| if c.s32() >= 0 { a.u32() } else { b.u32() }.into()),
    row("slct.b64.f32 %d1, %d2, %d3, %f4;", D, |a, b, c| if c.f32() >= 0.0 { a.u64() } else { b.u64() }),
    row("setp.lt.s32 %p1, %r2, %r3;", P, |a, b, _| yes(a.s32() < b.s32())),
    row("setp.lo.u32 %p1, %r2, %r3;", P, |a, b, _| yes(a.u32() < b.u32())),
    row("setp.hs.u64 %p1, %d2, %d3;", P, |a, b, _| yes(a.u64() >= b.u64())),
    row("setp.gt.s16 %p1, %h2, %h3;", P, |a, b, _| yes(a.s16() > b.s16())),
    row("setp.eq.b16 %p1, %h2, %h3;", P, |a, b, _| yes(a.u16() == b.u16())),
    row("setp.le.and.s64 %p1, %d2, %d3, !%p4;", P, |a, b, c| yes(a.s64() <= b.s64() && !c.bit())),
    row("setp.ne.xor.u32 _|%p1, %r2, %r3, %p4;", P, |a, b, c| yes((a.u32() == b.u32()) ^ c.bit())),
    row("setp.ge.or.s32 %p2|%p1, %r2, %r3, %p4;", P, |a, b, c| yes(a.s32() < b.s32() || c.bit())),
    row("set.gt.u32.s32 %r1, %r2, %r3;", R, |a, b, _| if a.s32() > b.s32() { 0xffff_ffff } else { 0 }),
    row("set.gt.f32.u32 %f1, %r2, %r3;", F, |a, b, _| if a.u32() > b.u32() { bits(1.0) } else { 0 }),
    row("and.pred %p1, %p2, !%p3;", P, |a, b, _| yes(a.bit() && !b.bit())),
    row("xor.pred %p1, %p2, %p3;", P, |a, b, _| yes(a.bit() ^ b.bit())),
    row("not.pred %p1, %p2;", P, |a, _, _| yes(!a.bit())),
    row("mov.pred %p1, %p2; @%p3 not.pred %p1, %p1;", P, |a, b, _| yes(a.bit() ^ b.bit())),
    row("mov.u32 %r1, %r2; @%p4 mov.u32 %r1, %r3;", R, |a, b, c| if c.bit() { b.u32() } else { a.u32() }.into()),
    row("mov.b64 %d1, {%r2, %r3};", D, |a, b, _| u64::from(b.u32()) << 32 | u64::from(a.u32())),
    row("mov.b64 {%r9, %r1}, %d2;", R, |a, _, _| a.u64() >> 32),
    row("mov.b64 {%r1, _}, %d2;", R, |a, _, _| a.u64() & 0xffff_ffff),
    row("mov.b32 %r1, {%h2, %h3};", R, |a, b, _| u64::from(b.u16()) << 16 | u64::from(a.u16())),
    row("mov.b32 {%h9, %h1}, %r2;", H, |a, _, _| (a.u32() >> 16).into()),
    row("mov.b64 %d1, {%h2, %h3, %h4, %h2};", D, |a, b, c| u64::from(a.u16()) << 48 | u64::from(c.u16()) << 32 | u64::from(b.u16()) << 16 | u64::from(a.u16())),
    row("mov.b64 {%h8, %h9, %h1, _}, %d2;", H, |a, _, _| a.u64() >> 32 & 0xffff),
    row("mov.b64 {%h9, %h1, _, _}, %d2;", H, |a, _, _| a.u64() >> 16 & 0xffff),
    row("mov.b32 {%b1, %b2, %b3, %b4}, %r2; mov.b32 %r1, {%b4, %b3, %b2, %b1};", R, |a, _, _| a.u32().swap_bytes().into()),
    row("mov.b128 %q1, {%d2, %d3}; mov.b128 %q2, %q1; mov.b128 {%d9, %d1}, %q2;", D, |_, b, _| b.u64()),
    row("cvt.s64.s32 %d1, %r2;", D, |a, _, _| a.s32() as i64 as u64),
    row("cvt.u64.u32 %d1, %r2;", D, |a, _, _| a.u32().into()),
    row("cvt.u64.s32 %d1, %r2;", D, |a, _, _| a.s32() as i64 as u64),
    row("cvt.s32.s8 %r1, %r2;", R, |a, _, _| a.s8() as i32 as u32 as u64),
    row("cvt.u32.u8 %r1, %h2;", R, |a, _, _| a.u8().into()),
    row("cvt.s32.s16 %r1, %h2;", R, |a, _, _| a.s16() as i32 as u32 as u64),
    row("cvt.u16.s8 %h1, %h2;", H, |a, _, _| a.s8() as i16 as u16 as u64),
    row("cvt.u16.s8 %r1, %h2;", R, |a, _, _| a.s8() as i16 as u16 as u64),
    row("cvt.u32.s8 %d1, %h2;", D, |a, _, _| a.s8() as i32 as u32 as u64),
    row("cvt.s8.s32 %r1, %r2;", R, |a, _, _| a.s8() as i32 as u32 as u64),
    row("cvt.u8.u32 %r1, %r2;", R, |a, _, _| a.u8().into()),
    row("cvt.s8.u64 %d1, %d2;", D, |a, _, _| a.s8() as i64 as u64),
    row("cvt.u16.u32 %r1, %r2;", R, |a, _, _| a.u16().into()),
    row("cvt.u32.u64 %r1, %d2;", R, |a, _, _| a.u32().into()),
    row("cvt.u32.u64 %d1, %d2;", D, |a, _, _| a.u32().into()),
    row("cvt.s32.u64 %d1, %d2;", D, |a, _, _| a.s32() as i64 as u64),
    row("cvt.u64.u16 %d1, %d2;", D, |a, _, _| a.u16().into()),
    row("cvt.sat.u8.s32 %r1, %r2;", R, |a, _, _| a.s32().clamp(0, 255) as u64),
    row("cvt.sat.s16.s32 %h1, %r2;", H, |a, _, _| a.s32().clamp(-32768, 32767) as u16 as u64),
    row("cvt.sat.s8.s32 %r1, %r2;", R, |a, _, _| a.s32().clamp(-128, 127) as u32 as u64),
    row("cvt.sat.u32.s64 %r1, %d2;", R, |a, _, _| a.s64().clamp(0, u32::MAX.into()) as u64),
    row("cvt.sat.s32.u32 %r1, %r2;", R, |a, _, _| a.u32().min(i32::MAX as u32).into()),
    row("cvt.sat.s64.u64 %d1, %d2;", D, |a, _, _| a.u64().min(i64::MAX as u64)),
    row("cvt.pack.sat.s16.s32 %r1, %r2, %r3;", R, |a, b, _| (a.s32().clamp(-32768, 32767) as u16 as u64) << 16 | b.s32().clamp(-32768, 32767) as u16 as u64),
    row("cvt.pack.sat.u8.s32.b32 %r1, %r2, %r3, %r4;", R, |a, b, c| u64::from(c.u32() << 16) | (a.s32().clamp(0, 255) as u64) << 8 | b.s32().clamp(0, 255) as u64),
];

#[rustfmt::skip]
const FLOAT: &[Row] = &[
    row("add.f32 %f1, %f2, %f3;", F, |a, b, _| bits(a.f32() + b.f32())),
    row("add.rz.f32 %f1, %f2, %f3;", F, |a, b, _| add_f32(a.f32(), b.f32(), Round::Zero)),
    row("add.rm.f32 %f1, %f2, %f3;", F, |a, b, _| add_f32(a.f32(), b.f32(), Round::Down)),
    row("add.rp.f32 %f1, %f2, %f3;", F, |a, b, _| add_f32(a.f32(), b.f32(), Round::Up)),
    row("sub.ftz.f32 %f1, %f2, %f3;", F, |a, b, _| bits(flushed(flushed(a.f32()) - flushed(b.f32())))),
    row("add.sat.f32 %f1, %f2, %f3;", F, |a, b, _| bits(saturated(a.f32() + b.f32()))),
    row("mul.f32 %f1, %f2, %f3;", F, |a, b, _| bits(a.f32() * b.f32())),
    row("mul.rz.f32 %f1, %f2, %f3;", F, |a, b, _| mul_f32(a.f32(), b.f32(), Round::Zero)),
    row("mul.rm.f32 %f1, %f2, %f3;", F, |a, b, _| mul_f32(a.f32(), b.f32(), Round::Down)),
    row("mul.rp.f32 %f1, %f2, %f3;", F, |a, b, _| mul_f32(a.f32(), b.f32(), Round::Up)),
    row("mul.ftz.f32 %f1, %f2, %f3;", F, |a, b, _| bits(flushed(flushed(a.f32()) * flushed(b.f32())))),
    row("fma.rn.f32 %f1, %f2, %f3, %f4;", F, |a, b, c| bits(a.f32().mul_add(b.f32(), c.f32()))),
    moderate("fma.rz.f32 %f1, %f2, %f3, %f4;", F, |a, b, c| fma_f32(a.f32(), b.f32(), c.f32(), Round::Zero)),
    moderate("fma.rm.f32 %f1, %f2, %f3, %f4;", F, |a, b, c| fma_f32(a.f32(), b.f32(), c.f32(), Round::Down)),
    moderate("fma.rp.f32 %f1, %f2, %f3, %f4;", F, |a, b, c| fma_f32(a.f32(), b.f32(), c.f32(), Round::Up)),
    row("fma.rn.sat.f32 %f1, %f2, %f3, %f4;", F, |a, b, c| bits(saturated(a.f32().mul_add(b.f32(), c.f32())))),
    row("div.rn.f32 %f1, %f2, %f3;", F, |a, b, _| bits(a.f32() / b.f32())),
    moderate("div.rz.f32 %f1, %f2, %f3;", F, |a, b, _| div_f32(a.f32(), b.f32(), Round::Zero)),
    moderate("div.rp.f32 %f1, %f2, %f3;", F, |a, b, _| div_f32(a.f32(), b.f32(), Round::Up)),
    row("rcp.rn.f32 %f1, %f2;", F, |a, _, _| bits(1.0 / a.f32())),
    moderate("rcp.rm.f32 %f1, %f2;", F, |a, _, _| div_f32(1.0, a.f32(), Round::Down)),
    row("sqrt.rn.f32 %f1, %f2;", F, |a, _, _| bits(a.f32().sqrt())),
    moderate("sqrt.rp.f32 %f1, %f2;", F, |a, _, _| sqrt_f32(a.f32(), Round::Up)),
    moderate("sqrt.rz.f32 %f1, %f2;", F, |a, _, _| sqrt_f32(a.f32(), Round::Zero)),
    row("neg.f32 %f1, %f2;", F, |a, _, _| bits(-a.f32())),
    row("abs.ftz.f32 %f1, %f2;", F, |a, _, _| bits(flushed(a.f32().abs()))),
    row("min.f32 %f1, %f2, %f3;", F, |a, b, _| bits(if a.f32() == b.f32() { f32::from_bits(a.u32() | b.u32()) } else { a.f32().min(b.f32()) })),
    row("max.f32 %f1, %f2, %f3;", F, |a, b, _| bits(if a.f32() == b.f32() { f32::from_bits(a.u32() & b.u32()) } else { a.f32().max(b.f32()) })),
    row("max.NaN.f32 %f1, %f2, %f3;", F, |a, b, _| bits(if a.f32().is_nan() || b.f32().is_nan() { f32::NAN } else if a.f32() == b.f32() { f32::from_bits(a.u32() & b.u32()) } else { a.f32().max(b.f32()) })),
    row("copysign.f32 %f1, %f2, %f3;", F, |a, b, _| bits(b.f32().copysign(a.f32()))),
    row("add.f64 %g1, %g2, %g3;", G, |a, b, _| (a.f64() + b.f64()).to_bits()),
    moderate("add.rz.f64 %g1, %g2, %g3;", G, |a, b, _| add_f64(a.f64(), b.f64(), Round::Zero)),
    moderate("sub.rm.f64 %g1, %g2, %g3;", G, |a, b, _| add_f64(a.f64(), -b.f64(), Round::Down)),
    moderate("mul.rp.f64 %g1, %g2, %g3;", G, |a, b, _| mul_f64(a.f64(), b.f64(), Round::Up)),
    moderate("mul.rz.f64 %g1, %g2, %g3;", G, |a, b, _| mul_f64(a.f64(), b.f64(), Round::Zero)),
    row("fma.rn.f64 %g1, %g2, %g3, %g4;", G, |a, b, c| a.f64().mul_add(b.f64(), c.f64()).to_bits()),
    row("div.rn.f64 %g1, %g2, %g3;", G, |a, b, _| (a.f64() / b.f64()).to_bits()),
    moderate("div.rm.f64 %g1, %g2, %g3;", G, |a, b, _| div_f64(a.f64(), b.f64(), Round::Down)),
    row("sqrt.rn.f64 %g1, %g2;", G, |a, _, _| a.f64().sqrt().to_bits()),
    moderate("sqrt.rm.f64 %g1, %g2;", G, |a, _, _| sqrt_f64(a.f64(), Round::Down)),
    row("neg.f64 %g1, %g2;", G, |a, _, _| (-a.f64()).to_bits()),
    row("copysign.f64 %g1, %g2, %g3;", G, |a, b, _| b.f64().copysign(a.f64()).to_bits()),
    row("setp.lt.f32 %p1, %f2, %f3;", P, |a, b, _| yes(a.f32() < b.f32())),
    row("setp.ltu.f32 %p1, %f2, %f3;", P, |a, b, _| yes(!(a.f32() >= b.f32()))),
    row("setp.ne.f32 %p1, %f2, %f3;", P, |a, b, _| yes(a.f32() < b.f32() || a.f32() > b.f32())),
    row("setp.neu.f64 %p1, %g2, %g3;", P, |a, b, _| yes(a.f64() != b.f64())),
    row("setp.equ.f64 %p1, %g2, %g3;", P, |a, b, _| yes(!(a.f64() < b.f64() || a.f64() > b.f64()))),
    row("setp.num.f32 %p1, %f2, %f3;", P, |a, b, _| yes(ordered(a.f32().into(), b.f32().into()))),
    row("setp.nan.f64 %p1, %g2, %g3;", P, |a, b, _| yes(!ordered(a.f64(), b.f64()))),
    row("setp.eq.ftz.f32 %p1, %f2, %f3;", P, |a, b, _| yes(flushed(a.f32()) == flushed(b.f32()))),
    row("setp.ge.and.f32 %p9|%p1, %f2, %f3, %p4;", P, |a, b, c| yes(!(a.f32() >= b.f32()) && c.bit())),
    row("set.geu.u32.f32 %r1, %f2, %f3;", R, |a, b, _| if a.f32() < b.f32() { 0 } else { 0xffff_ffff }),
    row("testp.normal.f32 %p1, %f2;", P, |a, _, _| yes(a.f32().is_normal())),
    row("testp.subnormal.f64 %p1, %g2;", P, |a, _, _| yes(a.f64().is_subnormal())),
    row("testp.finite.f64 %p1, %g2;", P, |a, _, _| yes(a.f64().is_finite())),
    row("testp.infinite.f32 %p1, %f2;", P, |a, _, _| yes(a.f32().is_infinite())),
    row("testp.notanumber.f32 %p1, %f2;", P, |a, _, _| yes(a.f32().is_nan())),
    row("cvt.f64.f32 %g1, %f2;", G, |a, _, _| f64::from(a.f32()).to_bits()),
    row("cvt.rn.f32.f64 %f1, %g2;", F, |a, _, _| bits(a.f64() as f32)),
    row("cvt.rz.f32.f64 %f1, %g2;", F, |a, _, _| bits(to_f32(a.f64(), 0.0, Round::Zero))),
    row("cvt.rm.f32.f64 %f1, %g2;", F, |a, _, _| bits(to_f32(a.f64(), 0.0, Round::Down))),
    row("cvt.rp.f32.f64 %f1, %g2;", F, |a, _, _| bits(to_f32(a.f64(), 0.0, Round::Up))),
    row("cvt.rni.f32.f32 %f1, %f2;", F, |a, _, _| bits(a.f32().round_ties_even())),
    row("cvt.rmi.f64.f64 %g1, %g2;", G, |a, _, _| a.f64().floor().to_bits()),
    row("cvt.rpi.f32.f32 %f1, %f2;", F, |a, _, _| bits(a.f32().ceil())),
    row("cvt.rzi.f64.f64 %g1, %g2;", G, |a, _, _| a.f64().trunc().to_bits()),
    row("cvt.sat.f32.f32 %f1, %f2;", F, |a, _, _| bits(saturated(a.f32()))),
    row("cvt.rzi.s32.f32 %r1, %f2;", R, |a, _, _| to_s32(a.f32().into())),
    row("cvt.rni.s32.f64 %r1, %g2;", R, |a, _, _| to_int(a.f64().round_ties_even(), i32::MIN.into(), i32::MAX.into(), 1 << 31) & 0xffff_ffff),
    row("cvt.rmi.u32.f32 %r1, %f2;", R, |a, _, _| to_u32(a.f32().floor().into())),
    row("cvt.rpi.s64.f64 %d1, %g2;", D, |a, _, _| to_int(a.f64().ceil(), i64::MIN.into(), i64::MAX.into(), i64::MIN.into())),
    row("cvt.rzi.u64.f32 %d1, %f2;", D, |a, _, _| to_int(a.f32().into(), 0, u64::MAX.into(), 1 << 63)),
    row("cvt.rzi.u8.f32 %r1, %f2;", R, |a, _, _| to_int(a.f32().into(), 0, 255, 0)),
    row("cvt.rzi.s8.f32 %r1, %f2;", R, |a, _, _| to_int(a.f32().into(), -128, 127, 0) & 0xffff_ffff),
    row("cvt.rzi.s16.f64 %h1, %g2;", H, |a, _, _| to_int(a.f64(), -32768, 32767, 1 << 15) & 0xffff),
    row("cvt.rn.f32.s32 %f1, %r2;", F, |a, _, _| bits(a.s32() as f32)),
    row("cvt.rz.f32.u32 %f1, %r2;", F, |a, _, _| bits(to_f32(a.u32().into(), 0.0, Round::Zero))),
    row("cvt.rp.f32.s32 %f1, %r2;", F, |a, _, _| bits(to_f32(a.s32().into(), 0.0, Round::Up))),
    row("cvt.rn.f32.u64 %f1, %d2;", F, |a, _, _| bits(a.u64() as f32)),
    row("cvt.rn.f64.s64 %g1, %d2;", G, |a, _, _| (a.s64() as f64).to_bits()),
    row("cvt.rn.f64.u32 %g1, %r2;", G, |a, _, _| f64::from(a.u32()).to_bits()),
    row("cvt.rn.f32.s8 %f1, %r2;", F, |a, _, _| bits(a.s8().into())),
    row("cvt.rn.f32.u16 %f1, %h2;", F, |a, _, _| bits(a.u16().into())),
    row("cvt.f32.f16 %f1, %h2;", F, |a, _, _| bits(a.f16() as f32)),
    row("cvt.rn.f16.f32 %h1, %f2;", E, |a, _, _| f64_to_half(a.f32().into())),
    row("cvt.rn.f16.s32 %h1, %r2;", E, |a, _, _| f64_to_half(a.s32().into())),
    row("cvt.rzi.s32.f16 %r1, %h2;", R, |a, _, _| to_s32(a.f16())),
    row("cvt.rn.bf16.f32 %h1, %f2;", H, |a, _, _| {
        let bits = a.u32();
        if a.f32().is_nan() { 0x7fff } else { u64::from(bits) + 0x7fff + u64::from(bits >> 16 & 1) >> 16 }
    }),
    row("cvt.rn.f16x2.f32 %r1, %f2, %f3; mov.b32 {%h9, %h1}, %r1;", E, |a, _, _| f64_to_half(a.f32().into())),
    row("cvt.rn.f16x2.f32 %r1, %f2, %f3; mov.b32 {%h1, %h9}, %r1;", E, |_, b, _| f64_to_half(b.f32().into())),
    row("add.f16 %h1, %h2, %h3;", E, |a, b, _| f64_to_half(a.f16() + b.f16())),
    row("mul.f16 %h1, %h2, %h3;", E, |a, b, _| f64_to_half(a.f16() * b.f16())),
    row("sub.f16x2 %r1, %r2, %r3; mov.b32 {%h9, %h1}, %r1;", E, |a, b, _| f64_to_half(half_to_f64((a.u32() >> 16) as u16) - half_to_f64((b.u32() >> 16) as u16))),
    row("setp.lt.f16 %p1, %h2, %h3;", P, |a, b, _| yes(a.f16() < b.f16())),
    row("setp.gt.f16x2 %p1|%p9, %r2, %r3;", P, |a, b, _| yes(a.f16() > b.f16())),
    row("setp.gt.f16x2 %p9|%p1, %r2, %r3;", P, |a, b, _| yes(half_to_f64((a.u32() >> 16) as u16) > half_to_f64((b.u32() >> 16) as u16))),
    row("abs.f16 %h1, %h2;", E, |a, _, _| (a.u16() & 0x7fff).into()),
    row("neg.f16 %h1, %h2;", E, |a, _, _| (a.u16() ^ 0x8000).into()),
];

// === the machine around it ===

const THREADS: usize = 2048;

fn kernel(index: usize, row: &Row) -> String {
    let result = match row.class {
        H | E => "cvt.u64.u16 %d0, %h1;",
        R => "cvt.u64.u32 %d0, %r1;",
        D => "mov.b64 %d0, %d1;",
        F => "mov.b32 %r1, %f1; cvt.u64.u32 %d0, %r1;",
        G => "mov.b64 %d0, %g1;",
        P => "selp.u64 %d0, 1, 0, %p1;",
    };
    let operands: String = (2..5)
        .map(|n| {
            format!(
                "cvt.u32.u64 %r{n}, %d{n}; cvt.u16.u64 %h{n}, %d{n}; mov.b32 %f{n}, %r{n};
                 mov.b64 %g{n}, %d{n}; and.b32 %r0, %r{n}, 1; setp.ne.u32 %p{n}, %r0, 0;\n"
            )
        })
        .collect();
    format!(
        ".visible .entry t{index}(.param .u64 in, .param .u64 out) {{
            .reg .pred %p<10>; .reg .b8 %b<5>; .reg .b16 %h<10>; .reg .b32 %r<11>; .reg .b64 %d<13>;
            .reg .f32 %f<5>; .reg .f64 %g<5>; .reg .b128 %q<3>;
            mov.u32 %r10, %tid.x; mov.u32 %r0, %ctaid.x; mov.u32 %r9, %ntid.x;
            mad.lo.u32 %r10, %r0, %r9, %r10;
            ld.param.u64 %d10, [in]; mad.wide.u32 %d10, %r10, 24, %d10;
            ld.global.u64 %d2, [%d10]; ld.global.u64 %d3, [%d10+8]; ld.global.u64 %d4, [%d10+16];
            {operands}
            {}
            {result}
            ld.param.u64 %d11, [out]; mad.wide.u32 %d11, %r10, 8, %d11; st.global.u64 [%d11], %d0;
            ret;
        }}\n",
        row.text
    )
}

const EDGES: [u64; 24] = [
    0,
    1,
    u64::MAX,
    0x8000_0000_0000_0000,
    0x7fff_ffff_ffff_ffff,
    0xffff_ffff,
    0x8000_0000,
    0x7fff_ffff,
    0xffff_8000,
    0x7fff,
    31,
    32,
    33,
    64,
    // Floating-point numbers of all widths: one, infinity, NaN, subnormal, minus zero.
    0x3ff0_0000_3f80_3c00,
    0x7ff0_0000_0000_0000,
    0x7f80_0000,
    0x7fc0_0000,
    0x7ff8_0000_0000_0001,
    0x0000_0001_0000_7c00,
    0x000f_ffff_807f_ffff,
    0x8000_0000_8000_0000,
    0x4f00_0000,
    0xcf00_0000,
];

fn operands(domain: Domain) -> Vec<u64> {
    let mut random = Random(5);
    (0..3 * THREADS)
        .map(|index| {
            if domain == Domain::Moderate {
                // A double whose low word is a single of moderate size too.
                let sign = random.next() & 0x8000_0000_8000_0000;
                let exponents =
                    (1003 + random.next() % 40) << 52 | (107 + random.next() % 40) << 23;
                return sign | exponents | random.next() & 0x000f_ffff_007f_ffff;
            }
            match index / 3 % 4 {
                0 => EDGES[(random.next() % 24) as usize],
                1 => random.next() % 100,
                // Floats near each other and near integers.
                2 => {
                    let value = (random.next() % 2000) as f32 / 8.0 - 100.0;
                    f64::from(value).to_bits() & !0xffff_ffff | u64::from(value.to_bits())
                }
                _ => random.next(),
            }
        })
        .collect()
}

fn is_equal(class: Class, computed: u64, expected: u64) -> bool {
    let is_nan = |value: u64| match class {
        F => f32::from_bits(value as u32).is_nan(),
        G => f64::from_bits(value).is_nan(),
        E => half_to_f64(value as u16).is_nan(),
        _ => false,
    };
    computed == expected || is_nan(computed) && is_nan(expected)
}

fn check(rows: &[Row]) {
    let mut text = ".version 8.3\n.target sm_80\n.address_size 64\n".to_owned();
    text.extend(
        rows.iter()
            .enumerate()
            .map(|(index, row)| kernel(index, row)),
    );
    let device = Device::new(&text);
    let mut failures = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let operands = operands(row.domain);
        let out = device.zeroed::<u64>(THREADS);
        let name = format!("t{index}");
        let arguments = device
            .arguments(&name)
            .add(device.upload(&operands))
            .add(out);
        device.run(&name, THREADS as u32 / 256, 256, arguments);
        let results = device.download::<u64>(out, THREADS);
        for (input, &computed) in operands.chunks(3).zip(&results) {
            let [a, b, c] = [0, 1, 2].map(|i| Value(input[i]));
            let expected = (row.expected)(a, b, c);
            if !is_equal(row.class, computed, expected) {
                failures.push(format!(
                    "{} on {input:x?}: {computed:x}, not {expected:x}",
                    row.text
                ));
                break;
            }
        }
    }
    assert!(
        failures.is_empty(),
        "{} instructions:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

#[test]
fn integer_instructions() {
    check(INTEGER);
}

#[test]
fn floating_point_instructions() {
    check(FLOAT);
}
