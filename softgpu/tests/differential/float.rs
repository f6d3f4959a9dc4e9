// SPDX-License-Identifier: Apache-2.0
//! Floating-point operations that PTX defines to the last bit.

use super::exact::{Format, Number, Rounding};
use super::types::{Table, Type};
use Type::{Bf16, F16, F32, F64};

pub(crate) fn add(table: &mut Table) {
    for ty in [F32, F64] {
        for rounding in Rounding::ALL {
            for (flush, saturate) in [(false, false), (true, false), (false, true), (true, true)] {
                if ty == F32 || !flush && !saturate {
                    rounded(table, ty, rounding, flush, saturate);
                }
            }
        }
    }
    for (flush, saturate) in [(false, false), (true, false), (false, true), (true, true)] {
        halves(table, F16, flush, saturate);
    }
    halves(table, Bf16, false, false);
    for ty in [F16, Bf16] {
        relu(table, ty);
    }
    for ty in [F32, F64, F16, Bf16] {
        extremes(table, ty);
        signs(table, ty);
    }
}

/// Operands of an operation: flushed if it says so.
fn operand(format: Format, flush: bool, bits: u64) -> Number {
    format.number(if flush { format.flush(bits) } else { bits })
}

/// What an operation makes of an exact result.
fn finish(format: Format, number: Number, rounding: Rounding, flush: bool, saturate: bool) -> u64 {
    let bits = format.round(number, rounding);
    let bits = if flush { format.flush(bits) } else { bits };
    if saturate {
        format.saturate(bits)
    } else {
        bits
    }
}

type Exact = fn(&[Number], Rounding) -> Number;

const SUM: Exact = |n, rounding| n[0].add(n[1], rounding);
const DIFFERENCE: Exact = |n, rounding| n[0].add(n[1].negated(), rounding);
const PRODUCT: Exact = |n, _| n[0].multiply(n[1]);
const FUSED: Exact = |n, rounding| n[0].multiply(n[1]).add(n[2], rounding);

fn rounded(table: &mut Table, ty: Type, rounding: Rounding, flush: bool, saturate: bool) {
    let format = ty.format().expect("a float");
    let one = Number::integer(1);
    let _ = one;
    let quotient: Exact = |n, _| n[0].divide(n[1]);
    let reciprocal: Exact = |n, _| Number::integer(1).divide(n[0]);
    let root: Exact = |n, _| n[0].square_root();
    let rows: [(&str, usize, Exact, [&str; 2], bool); 7] = [
        ("add", 2, SUM, ["__fadd", "__dadd"], true),
        ("sub", 2, DIFFERENCE, ["__fsub", "__dsub"], true),
        ("mul", 2, PRODUCT, ["__fmul", "__dmul"], true),
        ("fma", 3, FUSED, ["__fmaf", "__fma"], true),
        ("div", 2, quotient, ["__fdiv", "__ddiv"], false),
        ("rcp", 1, reciprocal, ["__frcp", "__drcp"], false),
        ("sqrt", 1, root, ["__fsqrt", "__dsqrt"], false),
    ];
    for (op, count, exact, intrinsics, can_saturate) in rows {
        if saturate && !can_saturate {
            continue;
        }
        let modifiers = format!(
            ".{}{}{}",
            rounding.name(),
            if flush { ".ftz" } else { "" },
            if saturate { ".sat" } else { "" }
        );
        let arguments: Vec<_> = (0..count).map(|i| format!("{{{i}}}")).collect();
        let list = arguments.join(", ");
        let cuda = (!flush && !saturate).then(|| {
            let intrinsic = intrinsics[usize::from(ty == F64)];
            format!("{intrinsic}_{}({list})", rounding.intrinsic())
        });
        table.push(
            ty,
            &vec![ty; count],
            format!("{op}{modifiers}.{} {{d}}, {list};", ty.ptx()),
            cuda,
            move |v| {
                let numbers: Vec<_> = v.iter().map(|bits| operand(format, flush, *bits)).collect();
                finish(format, exact(&numbers, rounding), rounding, flush, saturate)
            },
        );
    }
}

fn packed(ty: Type) -> Type {
    if ty == F16 { Type::F16x2 } else { Type::Bf16x2 }
}

/// An operation on both halves.
fn both(evaluate: impl Fn(&[u64]) -> u64) -> impl Fn(&[u64]) -> u64 {
    move |v| {
        let part = |shift: u32| {
            let parts: Vec<_> = v.iter().map(|word| word >> shift & 0xffff).collect();
            evaluate(&parts) << shift
        };
        part(0) | part(16)
    }
}

/// Adds an operation and its packed form.
fn push_both<E>(table: &mut Table, ty: Type, count: usize, op: &str, evaluate: E)
where
    E: Fn(&[u64]) -> u64 + Copy + Send + Sync + 'static,
{
    let arguments: Vec<_> = (0..count).map(|i| format!("{{{i}}}")).collect();
    let list = arguments.join(", ");
    let line = |ty: Type| format!("{op}.{} {{d}}, {list};", ty.ptx());
    table.push(ty, &vec![ty; count], line(ty), None, evaluate);
    if ty.bits() == 16 {
        let ty = packed(ty);
        table.push(ty, &vec![ty; count], line(ty), None, both(evaluate));
    }
}

fn halves(table: &mut Table, ty: Type, flush: bool, saturate: bool) {
    let format = ty.format().expect("a float");
    let modifiers = format!(
        ".rn{}{}",
        if flush { ".ftz" } else { "" },
        if saturate { ".sat" } else { "" }
    );
    let rows: [(&str, usize, Exact); 4] = [
        ("add", 2, SUM),
        ("sub", 2, DIFFERENCE),
        ("mul", 2, PRODUCT),
        ("fma", 3, FUSED),
    ];
    for (op, count, exact) in rows {
        let nearest = Rounding::Nearest;
        push_both(table, ty, count, &format!("{op}{modifiers}"), move |v| {
            let numbers: Vec<_> = v.iter().map(|bits| operand(format, flush, *bits)).collect();
            finish(format, exact(&numbers, nearest), nearest, flush, saturate)
        });
    }
}

/// `.relu`: negative results become zero, NaN stays.
fn relu(table: &mut Table, ty: Type) {
    let format = ty.format().expect("a float");
    push_both(table, ty, 3, "fma.rn.relu", move |v| {
        let numbers: Vec<_> = v.iter().map(|bits| format.number(*bits)).collect();
        let bits = format.round(FUSED(&numbers, Rounding::Nearest), Rounding::Nearest);
        if bits & format.sign_bit() != 0 && !format.is_nan(bits) {
            0
        } else {
            bits
        }
    });
}

#[derive(Clone, Copy)]
struct Extreme {
    format: Format,
    greatest: bool,
    flush: bool,
    /// `.NaN`: a NaN operand is the result.
    nan: bool,
    /// `.xorsign.abs`.
    xor_sign: bool,
}

impl Extreme {
    fn evaluate(self, v: &[u64]) -> u64 {
        let format = self.format;
        let (mut a, mut b) = (v[0], v[1]);
        if self.flush {
            (a, b) = (format.flush(a), format.flush(b));
        }
        let sign = (a ^ b) & format.sign_bit();
        if self.xor_sign {
            (a, b) = (a & !format.sign_bit(), b & !format.sign_bit());
        }
        let chosen = match (format.is_nan(a), format.is_nan(b)) {
            (true, true) => return format.nan(),
            (true, _) | (_, true) if self.nan => return format.nan(),
            (true, _) => b,
            (_, true) => a,
            _ => {
                // Bits as an order, -0 below +0.
                let key = |bits: u64| {
                    let magnitude = (bits & !format.sign_bit()) as i64;
                    if bits & format.sign_bit() != 0 {
                        -magnitude - 1
                    } else {
                        magnitude
                    }
                };
                if (key(a) > key(b)) == self.greatest {
                    a
                } else {
                    b
                }
            }
        };
        if self.xor_sign { chosen | sign } else { chosen }
    }
}

fn extremes(table: &mut Table, ty: Type) {
    let format = ty.format().expect("a float");
    for (op, greatest) in [("min", false), ("max", true)] {
        for choice in 0..8 {
            let [flush, nan, xor_sign] = [1, 2, 4].map(|bit| choice & bit != 0);
            if ty == F64 && choice != 0 || ty == Bf16 && flush {
                continue;
            }
            let extreme = Extreme {
                format,
                greatest,
                flush,
                nan,
                xor_sign,
            };
            let line = format!(
                "{op}{}{}{}",
                if flush { ".ftz" } else { "" },
                if nan { ".NaN" } else { "" },
                if xor_sign { ".xorsign.abs" } else { "" }
            );
            if !xor_sign {
                push_both(table, ty, 2, &line, move |v| extreme.evaluate(v));
                continue;
            }
            let evaluate = move |v: &[u64]| {
                let plain = |bits: u64| {
                    if format.is_nan(bits) {
                        format.nan()
                    } else {
                        bits
                    }
                };
                extreme.evaluate(&[plain(v[0]), plain(v[1])])
            };
            let text = without_nan_signs(&line, ty, false);
            table.push(ty, &[ty, ty], text, None, evaluate);
            if ty.bits() == 16 {
                let text = without_nan_signs(&line, ty, true);
                let ty = packed(ty);
                table.push(ty, &[ty, ty], text, None, both(evaluate));
            }
        }
    }
}

/// An operation on two operands that minds their signs, where that of a NaN is open: multiplied by
/// one, minus zero added, a number is itself and a NaN the one that operations give.
fn without_nan_signs(op: &str, ty: Type, pack: bool) -> String {
    let format = ty.format().expect("a float");
    let times = |bits: u64| if pack { bits << 16 | bits } else { bits };
    let (one, zero) = (times(format.one()), times(format.sign_bit()));
    let ty = if pack { packed(ty) } else { ty };
    let (p, u) = (ty.ptx(), ty.untyped());
    let s = if ty.bits() == 16 { 'h' } else { 'r' };
    format!(
        "mov.{u} {{{s}0}}, {one}; mov.{u} {{{s}1}}, {zero}; \
         fma.rn.{p} {{{s}2}}, {{0}}, {{{s}0}}, {{{s}1}}; \
         fma.rn.{p} {{{s}3}}, {{1}}, {{{s}0}}, {{{s}1}}; \
         {op}.{p} {{d}}, {{{s}2}}, {{{s}3}};"
    )
}

fn signs(table: &mut Table, ty: Type) {
    let format = ty.format().expect("a float");
    let sign = format.sign_bit();
    for flush in [false, true] {
        if flush && (ty == F64 || ty == Bf16) {
            continue;
        }
        let suffix = if flush { ".ftz" } else { "" };
        let input = move |bits: u64| if flush { format.flush(bits) } else { bits };
        push_both(table, ty, 1, &format!("neg{suffix}"), move |v| {
            input(v[0]) ^ sign
        });
        push_both(table, ty, 1, &format!("abs{suffix}"), move |v| {
            input(v[0]) & !sign
        });
    }
    if matches!(ty, F32 | F64) {
        // A NaN's sign is nobody's business.
        let scratch = if ty == F32 { "{r0}" } else { "{d0}" };
        let p = ty.ptx();
        let one = if ty == F32 {
            "0f3f800000"
        } else {
            "0d3ff0000000000000"
        };
        table.push(
            ty,
            &[ty, ty],
            format!(
                "setp.nan.{p} {{p0}}, {{0}}, {{0}}; selp.{p} {scratch}, {one}, {{0}}, {{p0}}; \
                 copysign.{p} {{d}}, {scratch}, {{1}};"
            ),
            None,
            move |v| {
                let from = if format.is_nan(v[0]) {
                    format.one()
                } else {
                    v[0]
                };
                v[1] & !sign | from & sign
            },
        );
    }
}
