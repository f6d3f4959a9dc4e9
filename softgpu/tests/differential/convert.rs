// SPDX-License-Identifier: Apache-2.0
//! Conversions, written from the PTX ISA's section on `cvt`, and moves between types.

use super::exact::{Number, Rounding};
use super::types::{Table, Type};
use Type::{Bf16, Bf16x2, F16, F16x2, F32, F64, S16, S32, S64, U16, U32, U64};

pub(crate) fn add(table: &mut Table) {
    for from in Type::INTEGERS {
        for to in Type::INTEGERS {
            integers(table, from, to);
        }
        bytes(table, from);
        for to in [F16, F32, F64, Bf16] {
            to_float(table, from, to);
        }
    }
    for from in [F16, F32, F64, Bf16] {
        for to in Type::INTEGERS {
            to_integer(table, from, to);
        }
    }
    floats(table);
    integral(table);
    casts(table);
    packs(table);
}

fn integers(table: &mut Table, from: Type, to: Type) {
    let (f, t) = (from.ptx(), to.ptx());
    let cuda = to.cuda().map(|name| format!("(({name}){{0}})"));
    table.push(
        to,
        &[from],
        format!("cvt.{t}.{f} {{d}}, {{0}};"),
        cuda,
        move |v| to.wrap(from.value(v[0])),
    );
    if to.least() <= from.least() && to.greatest() >= from.greatest() {
        return;
    }
    table.push(
        to,
        &[from],
        format!("cvt.sat.{t}.{f} {{d}}, {{0}};"),
        None,
        move |v| to.wrap(from.value(v[0]).clamp(to.least(), to.greatest())),
    );
}

/// To 8 bits, which a wider register holds sign- or zero-extended.
fn bytes(table: &mut Table, from: Type) {
    let f = from.ptx();
    for (name, to, low, high) in [("u8", U32, 0, 255), ("s8", S32, -128, 127)] {
        let cuda = if name == "u8" {
            "(unsigned)(unsigned char){0}"
        } else {
            "(int)(signed char){0}"
        };
        table.push(
            to,
            &[from],
            format!("cvt.{name}.{f} {{d}}, {{0}};"),
            Some(format!("({cuda})")),
            move |v| {
                let byte = v[0] as u8;
                to.wrap(if low < 0 {
                    i128::from(byte as i8)
                } else {
                    byte.into()
                })
            },
        );
        table.push(
            to,
            &[from],
            format!("cvt.sat.{name}.{f} {{d}}, {{0}};"),
            None,
            move |v| to.wrap(from.value(v[0]).clamp(low, high)),
        );
        table.push(
            from,
            &[from],
            if from.bits() == 32 {
                format!("cvt.{f}.{name} {{d}}, {{0}};")
            } else {
                format!("cvt.u32.{f} {{r0}}, {{0}}; cvt.{f}.{name} {{d}}, {{r0}};")
            },
            None,
            move |v| {
                let byte = v[0] as u8;
                from.wrap(if low < 0 {
                    i128::from(byte as i8)
                } else {
                    byte.into()
                })
            },
        );
    }
}

/// CUDA's name of a 32- or 64-bit integer in conversion intrinsics.
fn intrinsic(ty: Type) -> Option<&'static str> {
    Some(match ty {
        S32 => "int",
        U32 => "uint",
        S64 => "ll",
        U64 => "ull",
        _ => return None,
    })
}

fn to_float(table: &mut Table, from: Type, to: Type) {
    let format = to.format().expect("a float");
    let (f, t) = (from.ptx(), to.ptx());
    for rounding in Rounding::ALL {
        if to == Bf16 && rounding != Rounding::Nearest {
            continue;
        }
        let suffix = rounding.intrinsic();
        let cuda = match (intrinsic(from), to) {
            (Some(name), F32) => Some(format!("__{name}2float_{suffix}({{0}})")),
            (Some(name), F64) if from.bits() == 64 || rounding == Rounding::Nearest => {
                Some(format!("__{name}2double_{suffix}({{0}})"))
            }
            _ => None,
        };
        table.push(
            to,
            &[from],
            format!("cvt.{}.{t}.{f} {{d}}, {{0}};", rounding.name()),
            cuda,
            move |v| format.round(Number::integer(from.value(v[0])), rounding),
        );
    }
}

fn to_integer(table: &mut Table, from: Type, to: Type) {
    let format = from.format().expect("a float");
    let (f, t) = (from.ptx(), to.ptx());
    // What the section on `cvt` says of NaN.
    let nan = if from != F64 && to.bits() != 64 {
        0
    } else {
        1 << (to.bits() - 1)
    };
    for rounding in Rounding::ALL {
        for flush in [false, true] {
            if flush && from != F32 {
                continue;
            }
            let cuda = match (intrinsic(to), from) {
                (Some(name), F32) if !flush => {
                    Some(format!("__float2{name}_{}({{0}})", rounding.intrinsic()))
                }
                (Some(name), F64) => {
                    Some(format!("__double2{name}_{}({{0}})", rounding.intrinsic()))
                }
                _ => None,
            };
            let suffix = if flush { ".ftz" } else { "" };
            table.push(
                to,
                &[from],
                format!("cvt.{}i{suffix}.{t}.{f} {{d}}, {{0}};", rounding.name()),
                cuda,
                move |v| {
                    let bits = if flush { format.flush(v[0]) } else { v[0] };
                    match format.number(bits).to_integer(rounding) {
                        None => nan,
                        Some(value) => to.wrap(value.clamp(to.least(), to.greatest())),
                    }
                },
            );
        }
    }
}

fn floats(table: &mut Table) {
    let all = &Rounding::ALL[..];
    let near = &Rounding::ALL[..2];
    let exact = &Rounding::ALL[..1];
    let rows: [(Type, Type, &[Rounding], bool, bool); 8] = [
        (F32, F64, all, true, true),
        (F16, F32, all, true, true),
        (F16, F64, all, false, true),
        (Bf16, F32, near, false, false),
        (F64, F32, exact, true, true),
        (F32, F16, exact, true, true),
        (F64, F16, exact, false, true),
        (F32, Bf16, exact, false, false),
    ];
    for (to, from, roundings, flushes, saturates) in rows {
        for rounding in roundings {
            for flush in [false, true] {
                for saturate in [false, true] {
                    if flush <= flushes && saturate <= saturates {
                        let widens = to.bits() > from.bits();
                        float(
                            table,
                            to,
                            from,
                            (!widens).then_some(*rounding),
                            flush,
                            saturate,
                        );
                    }
                }
            }
        }
    }
}

fn float(
    table: &mut Table,
    to: Type,
    from: Type,
    rounding: Option<Rounding>,
    flush: bool,
    saturate: bool,
) {
    let (format, source) = (
        to.format().expect("a float"),
        from.format().expect("a float"),
    );
    let line = format!(
        "cvt{}{}{}.{}.{} {{d}}, {{0}};",
        rounding.map_or(String::new(), |rounding| format!(".{}", rounding.name())),
        if flush { ".ftz" } else { "" },
        if saturate { ".sat" } else { "" },
        to.ptx(),
        from.ptx()
    );
    let cuda = match (to, from, rounding) {
        _ if flush || saturate => None,
        (F32, F64, Some(rounding)) => {
            Some(format!("__double2float_{}({{0}})", rounding.intrinsic()))
        }
        (F64, F32, None) => Some("((double){0})".into()),
        _ => None,
    };
    let rounding = rounding.unwrap_or(Rounding::Nearest);
    table.push(to, &[from], line, cuda, move |v| {
        // Only single precision is flushed, whichever side it is on.
        let input = if flush && from == F32 {
            source.flush(v[0])
        } else {
            v[0]
        };
        let bits = format.round(source.number(input), rounding);
        let bits = if flush && to == F32 {
            format.flush(bits)
        } else {
            bits
        };
        if saturate {
            format.saturate(bits)
        } else {
            bits
        }
    });
}

/// Rounding to an integral value.
fn integral(table: &mut Table) {
    for ty in [F32, F64, F16] {
        let (format, p) = (ty.format().expect("a float"), ty.ptx());
        for rounding in Rounding::ALL {
            for (flush, saturate) in [(false, false), (true, false), (false, true)] {
                if flush && ty != F32 {
                    continue;
                }
                let line = format!(
                    "cvt.{}i{}{}.{p}.{p} {{d}}, {{0}};",
                    rounding.name(),
                    if flush { ".ftz" } else { "" },
                    if saturate { ".sat" } else { "" }
                );
                let function = match rounding {
                    Rounding::Nearest => "rint",
                    Rounding::Zero => "trunc",
                    Rounding::Down => "floor",
                    Rounding::Up => "ceil",
                };
                let cuda = match ty {
                    F32 if !flush && !saturate => Some(format!("{function}f({{0}})")),
                    F64 if !saturate => Some(format!("{function}({{0}})")),
                    _ => None,
                };
                table.push(ty, &[ty], line, cuda, move |v| {
                    let bits = if flush { format.flush(v[0]) } else { v[0] };
                    let number = format.number(bits);
                    let whole = match number {
                        Number::Finite { exponent, .. } if exponent < 0 => {
                            let value = number.to_integer(rounding).expect("finite");
                            let zero = bits & format.sign_bit();
                            if value == 0 {
                                zero
                            } else {
                                format.round(Number::integer(value), Rounding::Nearest)
                            }
                        }
                        _ => bits,
                    };
                    if saturate {
                        format.saturate(whole)
                    } else {
                        whole
                    }
                });
            }
        }
    }
}

/// Bits as they are; a NaN is made one certain NaN first, as its payload is left open.
fn casts(table: &mut Table) {
    let pairs = [(F32, U32), (F64, U64), (F16, U16), (Bf16, U16)];
    for (float, integer) in pairs {
        let (format, p, u) = (
            float.format().expect("a float"),
            float.ptx(),
            float.untyped(),
        );
        let scratch = match float.bits() {
            16 => "{h0}",
            32 => "{r0}",
            _ => "{d0}",
        };
        let nan = format.nan();
        table.push(
            integer,
            &[float],
            format!(
                "setp.nan.{p} {{p0}}, {{0}}, {{0}}; mov.{u} {scratch}, {{0}}; \
                 selp.{u} {{d}}, {nan:#x}, {scratch}, {{p0}};"
            ),
            match float {
                F32 => Some("({0} != {0} ? 0x7fc00000u : __float_as_uint({0}))".into()),
                F64 => Some(
                    "({0} != {0} ? 0x7ff8000000000000ull : \
                     (unsigned long long)__double_as_longlong({0}))"
                        .into(),
                ),
                _ => None,
            },
            move |v| if format.is_nan(v[0]) { nan } else { v[0] },
        );
        let cuda = match float {
            F32 => Some("__uint_as_float({0})".into()),
            F64 => Some("__longlong_as_double((long long){0})".into()),
            _ => None,
        };
        table.push(
            float,
            &[integer],
            format!("mov.{u} {{d}}, {{0}};"),
            cuda,
            |v| v[0],
        );
    }
    for (a, b) in [(U16, S16), (U32, S32), (U64, S64)] {
        for (from, to) in [(a, b), (b, a)] {
            let cuda = to.cuda().map(|name| format!("(({name}){{0}})"));
            let line = format!("mov.{} {{d}}, {{0}};", to.untyped());
            table.push(to, &[from], line, cuda, |v| v[0]);
        }
    }
    for packed in [F16x2, Bf16x2] {
        table.push(packed, &[U32], "mov.b32 {d}, {0};", None, |v| v[0]);
    }
}

fn packs(table: &mut Table) {
    let pairs = [(F16, F16x2), (Bf16, Bf16x2), (U16, U32), (U32, U64)];
    for (part, whole) in pairs {
        let (n, u) = (part.bits(), whole.untyped());
        let cuda = (part == U32)
            .then(|| "((unsigned long long){1} << 32 | (unsigned long long){0})".to_owned());
        table.push(
            whole,
            &[part, part],
            format!("mov.{u} {{d}}, {{{{0}}, {{1}}}};"),
            cuda,
            move |v| v[1] << n | v[0],
        );
        let scratch = if n == 16 { "{h0}" } else { "{r0}" };
        table.push(
            part,
            &[whole],
            format!("mov.{u} {{{{d}}, {scratch}}}, {{0}};"),
            (part == U32).then(|| "((unsigned){0})".to_owned()),
            move |v| v[0] & part.mask(),
        );
        table.push(
            part,
            &[whole],
            format!("mov.{u} {{{scratch}, {{d}}}}, {{0}};"),
            (part == U32).then(|| "((unsigned)({0} >> 32))".to_owned()),
            move |v| v[0] >> n,
        );
    }
    for (ty, part) in [(F16x2, F16), (Bf16x2, Bf16)] {
        let format = part.format().expect("a float");
        let single = F32.format().expect("a float");
        for rounding in [Rounding::Nearest, Rounding::Zero] {
            for relu in [false, true] {
                let suffix = if relu { ".relu" } else { "" };
                table.push(
                    ty,
                    &[F32, F32],
                    format!(
                        "cvt.{}{suffix}.{}.f32 {{d}}, {{0}}, {{1}};",
                        rounding.name(),
                        ty.ptx()
                    ),
                    None,
                    move |v| {
                        let half = |bits: u64| {
                            let bits = format.round(single.number(bits), rounding);
                            let negative = bits & format.sign_bit() != 0 && !format.is_nan(bits);
                            if relu && negative { 0 } else { bits }
                        };
                        half(v[0]) << 16 | half(v[1])
                    },
                );
            }
        }
    }
}
