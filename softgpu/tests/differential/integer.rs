// SPDX-License-Identifier: Apache-2.0
//! Integer and bit operations, written from the tables of the PTX ISA's sections on integer
//! arithmetic, logic and shift, and data movement instructions.

use super::types::{Table, Type};
use Type::{S16, S32, S64, U16, U32, U64};

/// The unsigned type that C computes in, so that nothing is undefined.
fn wide(ty: Type) -> &'static str {
    if ty.bits() == 64 {
        "unsigned long long"
    } else {
        "unsigned"
    }
}

fn name(ty: Type) -> &'static str {
    ty.cuda().expect("integers are plain")
}

pub(crate) fn add(table: &mut Table) {
    for ty in Type::INTEGERS {
        arithmetic(table, ty);
        products(table, ty);
        divisions(table, ty);
    }
    for ty in [U16, U32, U64] {
        logic(table, ty);
        shifts(table, ty);
    }
    for ty in [U32, S32, U64, S64] {
        fields(table, ty);
    }
    funnel(table);
    permute(table);
    ternary_logic(table);
    dots(table);
    video(table);
    carries(table);
    narrow(table);
}

fn arithmetic(table: &mut Table, ty: Type) {
    let (p, c, w) = (ty.ptx(), name(ty), wide(ty));
    let two = [ty, ty];
    for (op, sign) in [("add", '+'), ("sub", '-')] {
        let factor = if sign == '+' { 1 } else { -1 };
        table.push(
            ty,
            &two,
            format!("{op}.{p} {{d}}, {{0}}, {{1}};"),
            Some(format!("({c})(({w}){{0}} {sign} ({w}){{1}})")),
            move |v| ty.wrap(ty.value(v[0]) + factor * ty.value(v[1])),
        );
        if ty == S32 {
            table.push(
                ty,
                &two,
                format!("{op}.sat.s32 {{d}}, {{0}}, {{1}};"),
                None,
                move |v| {
                    let sum = ty.value(v[0]) + factor * ty.value(v[1]);
                    ty.wrap(sum.clamp(ty.least(), ty.greatest()))
                },
            );
        }
    }
    table.push(
        ty,
        &two,
        format!("min.{p} {{d}}, {{0}}, {{1}};"),
        Some("({0} < {1} ? {0} : {1})".into()),
        move |v| ty.wrap(ty.value(v[0]).min(ty.value(v[1]))),
    );
    table.push(
        ty,
        &two,
        format!("max.{p} {{d}}, {{0}}, {{1}};"),
        Some("({0} > {1} ? {0} : {1})".into()),
        move |v| ty.wrap(ty.value(v[0]).max(ty.value(v[1]))),
    );
    if ty.is_signed() {
        table.push(
            ty,
            &[ty],
            format!("neg.{p} {{d}}, {{0}};"),
            Some(format!("({c})(0 - ({w}){{0}})")),
            move |v| ty.wrap(-ty.value(v[0])),
        );
        table.push(
            ty,
            &[ty],
            format!("abs.{p} {{d}}, {{0}};"),
            Some(format!("({c})({{0}} < 0 ? 0 - ({w}){{0}} : ({w}){{0}})")),
            move |v| ty.wrap(ty.value(v[0]).abs()),
        );
    }
    let sad = if ty.bits() == 32 {
        Some(if ty.is_signed() {
            "(int)__sad({0}, {1}, {2})".into()
        } else {
            "__usad({0}, {1}, {2})".into()
        })
    } else {
        None
    };
    table.push(
        ty,
        &[ty, ty, ty],
        format!("sad.{p} {{d}}, {{0}}, {{1}}, {{2}};"),
        sad,
        move |v| ty.wrap(ty.value(v[2]) + (ty.value(v[0]) - ty.value(v[1])).abs()),
    );
}

/// The product modulo 2^128, which the low and the high word of it are right in.
fn product(ty: Type, a: u64, b: u64) -> i128 {
    ty.value(a).wrapping_mul(ty.value(b))
}

fn high(ty: Type, a: u64, b: u64) -> i128 {
    let product = product(ty, a, b);
    if ty.is_signed() {
        product >> ty.bits()
    } else {
        (product as u128 >> ty.bits()) as i128
    }
}

fn products(table: &mut Table, ty: Type) {
    let (p, c, w) = (ty.ptx(), name(ty), wide(ty));
    let (two, three) = ([ty, ty], [ty, ty, ty]);
    table.push(
        ty,
        &two,
        format!("mul.lo.{p} {{d}}, {{0}}, {{1}};"),
        Some(format!("({c})(({w}){{0}} * ({w}){{1}})")),
        move |v| ty.wrap(product(ty, v[0], v[1])),
    );
    let cuda = match ty {
        S32 => Some("__mulhi({0}, {1})".into()),
        U32 => Some("__umulhi({0}, {1})".into()),
        S64 => Some("__mul64hi({0}, {1})".into()),
        U64 => Some("__umul64hi({0}, {1})".into()),
        _ => None,
    };
    table.push(
        ty,
        &two,
        format!("mul.hi.{p} {{d}}, {{0}}, {{1}};"),
        cuda,
        move |v| ty.wrap(high(ty, v[0], v[1])),
    );
    table.push(
        ty,
        &three,
        format!("mad.lo.{p} {{d}}, {{0}}, {{1}}, {{2}};"),
        Some(format!("({c})(({w}){{0}} * ({w}){{1}} + ({w}){{2}})")),
        move |v| ty.wrap(product(ty, v[0], v[1]).wrapping_add(ty.value(v[2]))),
    );
    table.push(
        ty,
        &three,
        format!("mad.hi.{p} {{d}}, {{0}}, {{1}}, {{2}};"),
        None,
        move |v| ty.wrap(high(ty, v[0], v[1]).wrapping_add(ty.value(v[2]))),
    );
    if ty == S32 {
        table.push(
            ty,
            &three,
            "mad.hi.sat.s32 {d}, {0}, {1}, {2};",
            None,
            move |v| {
                let sum = high(ty, v[0], v[1]) + ty.value(v[2]);
                ty.wrap(sum.clamp(ty.least(), ty.greatest()))
            },
        );
    }
    let double = match ty {
        U16 => U32,
        S16 => S32,
        U32 => U64,
        S32 => S64,
        _ => return,
    };
    let d = name(double);
    table.push(
        double,
        &two,
        format!("mul.wide.{p} {{d}}, {{0}}, {{1}};"),
        Some(format!("(({d}){{0}} * ({d}){{1}})")),
        move |v| double.wrap(product(ty, v[0], v[1])),
    );
    table.push(
        double,
        &[ty, ty, double],
        format!("mad.wide.{p} {{d}}, {{0}}, {{1}}, {{2}};"),
        Some(format!(
            "({d})(({})(({d}){{0}} * ({d}){{1}}) + ({}){{2}})",
            wide(double),
            wide(double)
        )),
        move |v| double.wrap(product(ty, v[0], v[1]) + double.value(v[2])),
    );
}

/// Division by something that is not zero and does not overflow, as PTX leaves those open.
fn divisions(table: &mut Table, ty: Type) {
    let (p, c) = (ty.ptx(), name(ty));
    let (scratch, untyped) = match ty.bits() {
        16 => ("{h0}", "b16"),
        32 => ("{r0}", "b32"),
        _ => ("{d0}", "b64"),
    };
    let two = [ty, ty];
    let most = ty.greatest();
    for (op, sign) in [("div", '/'), ("rem", '%')] {
        let divide = op == "div";
        let result = move |a: i128, b: i128| ty.wrap(if divide { a / b } else { a % b });
        table.push(
            ty,
            &two,
            format!(
                "and.{untyped} {scratch}, {{1}}, {most}; or.{untyped} {scratch}, {scratch}, 1; \
                 {op}.{p} {{d}}, {{0}}, {scratch};"
            ),
            Some(format!(
                "({c})({{0}} {sign} ({c})(({{1}} & ({c}){most}ull) | 1))"
            )),
            move |v| result(ty.value(v[0]), ty.value(v[1]) & most | 1),
        );
        if ty.is_signed() {
            // A dividend that is not the least, a divisor of either sign.
            table.push(
                ty,
                &two,
                format!(
                    "or.{untyped} {scratch}, {{1}}, 1; and.{untyped} {{d}}, {{0}}, {most}; \
                     {op}.{p} {{d}}, {{d}}, {scratch};"
                ),
                Some(format!(
                    "({c})(({c})({{0}} & ({c}){most}ull) {sign} ({c})({{1}} | 1))"
                )),
                move |v| result(ty.value(v[0]) & most, ty.value(v[1]) | 1),
            );
        }
    }
}

fn logic(table: &mut Table, ty: Type) {
    let (u, c) = (ty.untyped(), name(ty));
    let two = [ty, ty];
    let rows: [(&str, char, fn(u64, u64) -> u64); 3] = [
        ("and", '&', |a, b| a & b),
        ("or", '|', |a, b| a | b),
        ("xor", '^', |a, b| a ^ b),
    ];
    for (op, sign, evaluate) in rows {
        table.push(
            ty,
            &two,
            format!("{op}.{u} {{d}}, {{0}}, {{1}};"),
            Some(format!("({c})({{0}} {sign} {{1}})")),
            move |v| evaluate(v[0], v[1]),
        );
    }
    table.push(
        ty,
        &[ty],
        format!("not.{u} {{d}}, {{0}};"),
        Some(format!("({c})(~{{0}})")),
        move |v| !v[0] & ty.mask(),
    );
    table.push(
        ty,
        &[ty],
        format!("cnot.{u} {{d}}, {{0}};"),
        Some(format!("({c})({{0}} == 0)")),
        |v| u64::from(v[0] == 0),
    );
    if ty == U16 {
        return;
    }
    let suffix = if ty == U64 { "ll" } else { "" };
    table.push(
        U32,
        &[ty],
        format!("popc.{u} {{d}}, {{0}};"),
        Some(format!("(unsigned)__popc{suffix}({{0}})")),
        |v| v[0].count_ones().into(),
    );
    table.push(
        U32,
        &[ty],
        format!("clz.{u} {{d}}, {{0}};"),
        Some(format!("(unsigned)__clz{suffix}({{0}})")),
        move |v| u64::from(v[0].leading_zeros()) - (64 - u64::from(ty.bits())),
    );
    table.push(
        ty,
        &[ty],
        format!("brev.{u} {{d}}, {{0}};"),
        Some(format!("__brev{suffix}({{0}})")),
        move |v| v[0].reverse_bits() >> (64 - ty.bits()),
    );
}

fn shifts(table: &mut Table, ty: Type) {
    let (u, c, n) = (ty.untyped(), name(ty), ty.bits());
    let mask = n - 1;
    let left = move |v: u64, by: u64| {
        if by >= n.into() {
            0
        } else {
            v << by & ty.mask()
        }
    };
    // Any amount in PTX, an amount that C knows in C.
    table.push(
        ty,
        &[ty, U32],
        format!("shl.{u} {{d}}, {{0}}, {{1}};"),
        None,
        move |v| left(v[0], v[1]),
    );
    table.push(
        ty,
        &[ty, U32],
        format!("and.b32 {{r0}}, {{1}}, {mask}; shl.{u} {{d}}, {{0}}, {{r0}};"),
        Some(format!("({c})({{0}} << ({{1}} & {mask}))")),
        move |v| left(v[0], v[1] & u64::from(mask)),
    );
    let signed = match ty {
        U16 => S16,
        U32 => S32,
        _ => S64,
    };
    for ty in [ty, signed] {
        let right = move |v: u64, by: u64| ty.wrap(ty.value(v) >> by.min(100));
        let (p, c) = (ty.ptx(), name(ty));
        table.push(
            ty,
            &[ty, U32],
            format!("shr.{p} {{d}}, {{0}}, {{1}};"),
            None,
            move |v| right(v[0], v[1]),
        );
        table.push(
            ty,
            &[ty, U32],
            format!("and.b32 {{r0}}, {{1}}, {mask}; shr.{p} {{d}}, {{0}}, {{r0}};"),
            Some(format!("({c})({{0}} >> ({{1}} & {mask}))")),
            move |v| right(v[0], v[1] & u64::from(mask)),
        );
    }
}

fn extract(ty: Type, value: u64, position: u64, length: u64) -> u64 {
    let (position, length, bits) = (position & 255, length & 255, u64::from(ty.bits()));
    let bit = |at: u64| value >> at & 1;
    let fill = if ty.is_signed() && length > 0 {
        bit((position + length - 1).min(bits - 1))
    } else {
        0
    };
    (0..bits)
        .map(|i| {
            let inside = i < length && position + i < bits;
            (if inside { bit(position + i) } else { fill }) << i
        })
        .sum()
}

fn insert(ty: Type, from: u64, into: u64, position: u64, length: u64) -> u64 {
    let (position, length, bits) = (position & 255, length & 255, u64::from(ty.bits()));
    (position..bits.min(position + length)).fold(into, |into, i| {
        into & !(1 << i) | (from >> (i - position) & 1) << i
    })
}

fn find(ty: Type, value: u64) -> Option<u32> {
    let negative = ty.is_signed() && ty.value(value) < 0;
    let value = if negative { !value & ty.mask() } else { value };
    value.checked_ilog2()
}

fn fields(table: &mut Table, ty: Type) {
    let p = ty.ptx();
    table.push(
        ty,
        &[ty, U32, U32],
        // A constant amount may have 8 bits only.
        format!(
            "mov.b32 {{r0}}, {{1}}; mov.b32 {{r1}}, {{2}}; \
             bfe.{p} {{d}}, {{0}}, {{r0}}, {{r1}};"
        ),
        None,
        move |v| extract(ty, v[0], v[1], v[2]),
    );
    // Amounts that fall inside.
    table.push(
        ty,
        &[ty, U32, U32],
        format!(
            "and.b32 {{r0}}, {{1}}, 31; and.b32 {{r1}}, {{2}}, 31; \
             bfe.{p} {{d}}, {{0}}, {{r0}}, {{r1}};"
        ),
        None,
        move |v| extract(ty, v[0], v[1] & 31, v[2] & 31),
    );
    if !ty.is_signed() {
        let u = ty.untyped();
        table.push(
            ty,
            &[ty, ty, U32, U32],
            format!(
                "mov.b32 {{r0}}, {{2}}; mov.b32 {{r1}}, {{3}}; \
                 bfi.{u} {{d}}, {{0}}, {{1}}, {{r0}}, {{r1}};"
            ),
            None,
            move |v| insert(ty, v[0], v[1], v[2], v[3]),
        );
        table.push(
            ty,
            &[ty, ty, U32, U32],
            format!(
                "and.b32 {{r0}}, {{2}}, 31; and.b32 {{r1}}, {{3}}, 31; \
                 bfi.{u} {{d}}, {{0}}, {{1}}, {{r0}}, {{r1}};"
            ),
            None,
            move |v| insert(ty, v[0], v[1], v[2] & 31, v[3] & 31),
        );
    }
    table.push(
        U32,
        &[ty],
        format!("bfind.{p} {{d}}, {{0}};"),
        None,
        move |v| find(ty, v[0]).unwrap_or(u32::MAX).into(),
    );
    table.push(
        U32,
        &[ty],
        format!("bfind.shiftamt.{p} {{d}}, {{0}};"),
        None,
        move |v| {
            find(ty, v[0])
                .map_or(u32::MAX, |at| ty.bits() - 1 - at)
                .into()
        },
    );
}

fn funnel(table: &mut Table) {
    let both = |v: &[u64]| v[1] << 32 | v[0];
    let three = [U32, U32, U32];
    for (mode, clamp) in [("wrap", false), ("clamp", true)] {
        let suffix = if clamp { "c" } else { "" };
        let by = move |v: &[u64]| if clamp { v[2].min(32) } else { v[2] & 31 };
        table.push(
            U32,
            &three,
            format!("shf.l.{mode}.b32 {{d}}, {{0}}, {{1}}, {{2}};"),
            Some(format!("__funnelshift_l{suffix}({{0}}, {{1}}, {{2}})")),
            move |v| (u128::from(both(v)) << by(v) >> 32) as u64 & 0xffff_ffff,
        );
        table.push(
            U32,
            &three,
            format!("shf.r.{mode}.b32 {{d}}, {{0}}, {{1}}, {{2}};"),
            Some(format!("__funnelshift_r{suffix}({{0}}, {{1}}, {{2}})")),
            move |v| both(v) >> by(v) & 0xffff_ffff,
        );
    }
}

fn permute(table: &mut Table) {
    let three = [U32, U32, U32];
    let byte = |v: &[u64], at: u64| (v[1] << 32 | v[0]) >> (at * 8) & 255;
    table.push(
        U32,
        &three,
        "prmt.b32 {d}, {0}, {1}, {2};",
        None,
        move |v| {
            (0..4)
                .map(|i| {
                    let select = v[2] >> (4 * i) & 15;
                    let byte = byte(v, select & 7);
                    let sign = if byte & 128 != 0 { 255 } else { 0 };
                    (if select & 8 != 0 { sign } else { byte }) << (8 * i)
                })
                .sum()
        },
    );
    table.push(
        U32,
        &three,
        "and.b32 {r0}, {2}, 0x7777; prmt.b32 {d}, {0}, {1}, {r0};",
        Some("__byte_perm({0}, {1}, {2} & 0x7777)".into()),
        move |v| {
            (0..4)
                .map(|i| byte(v, v[2] >> (4 * i) & 7) << (8 * i))
                .sum()
        },
    );
    // The bytes that each mode takes, for each value of the selector's low two bits, from the most
    // significant one down.
    let modes = [
        (
            "f4e",
            [[3, 2, 1, 0], [4, 3, 2, 1], [5, 4, 3, 2], [6, 5, 4, 3]],
        ),
        (
            "b4e",
            [[5, 6, 7, 0], [6, 7, 0, 1], [7, 0, 1, 2], [0, 1, 2, 3]],
        ),
        (
            "rc8",
            [[0, 0, 0, 0], [1, 1, 1, 1], [2, 2, 2, 2], [3, 3, 3, 3]],
        ),
        (
            "ecl",
            [[3, 2, 1, 0], [3, 2, 1, 1], [3, 2, 2, 2], [3, 3, 3, 3]],
        ),
        (
            "ecr",
            [[0, 0, 0, 0], [1, 1, 1, 0], [2, 2, 1, 0], [3, 2, 1, 0]],
        ),
        (
            "rc16",
            [[1, 0, 1, 0], [3, 2, 3, 2], [1, 0, 1, 0], [3, 2, 3, 2]],
        ),
    ];
    for (mode, bytes) in modes {
        table.push(
            U32,
            &three,
            format!("prmt.b32.{mode} {{d}}, {{0}}, {{1}}, {{2}};"),
            None,
            move |v| {
                let row: [u64; 4] = bytes[(v[2] & 3) as usize];
                row.iter().fold(0, |word, at| word << 8 | byte(v, *at))
            },
        );
    }
}

fn ternary_logic(table: &mut Table) {
    for lut in [
        0x00_u64, 0x80, 0xe8, 0x96, 0xca, 0x1e, 0xfe, 0x2d, 0x6a, 0xd8, 0xff, 0x57,
    ] {
        let apply = move |v: &[u64]| -> u64 {
            (0..32)
                .map(|i| {
                    let index = (v[0] >> i & 1) << 2 | (v[1] >> i & 1) << 1 | v[2] >> i & 1;
                    (lut >> index & 1) << i
                })
                .sum()
        };
        table.push(
            U32,
            &[U32, U32, U32],
            format!("lop3.b32 {{d}}, {{0}}, {{1}}, {{2}}, {lut:#x};"),
            None,
            apply,
        );
        if lut & 1 == 0 {
            table.push(
                Type::Pred,
                &[U32, U32, U32, Type::Pred],
                format!("lop3.or.b32 {{r0}}|{{d}}, {{0}}, {{1}}, {{2}}, {lut:#x}, {{3}};"),
                None,
                move |v| u64::from(apply(v) != 0) | v[3],
            );
        }
    }
}

fn dots(table: &mut Table) {
    let part = |word: u64, at: u32, bits: u32, signed: bool| -> i128 {
        let part = (word >> (at * bits)) as u32 & ((1 << bits) - 1);
        let unused = 32 - bits;
        if signed {
            ((part << unused) as i32 >> unused).into()
        } else {
            part.into()
        }
    };
    let types = [U32, S32];
    for a in types {
        for b in types {
            let result = if a == S32 || b == S32 { S32 } else { U32 };
            let arguments = [a, b, result];
            let (p, q) = (a.ptx(), b.ptx());
            let (x, y) = (a.is_signed(), b.is_signed());
            let cuda = match (x, y) {
                (true, true) => Some("__dp4a({0}, {1}, {2})".into()),
                (false, false) => Some("__dp4a({0}, {1}, {2})".into()),
                _ => None,
            };
            table.push(
                result,
                &arguments,
                format!("dp4a.{p}.{q} {{d}}, {{0}}, {{1}}, {{2}};"),
                cuda,
                move |v| {
                    let dot: i128 = (0..4)
                        .map(|i| part(v[0], i, 8, x) * part(v[1], i, 8, y))
                        .sum();
                    result.wrap(result.value(v[2]) + dot)
                },
            );
            for (mode, first) in [("lo", 0), ("hi", 2)] {
                table.push(
                    result,
                    &arguments,
                    format!("dp2a.{mode}.{p}.{q} {{d}}, {{0}}, {{1}}, {{2}};"),
                    None,
                    move |v| {
                        let dot: i128 = (0..2)
                            .map(|i| part(v[0], i, 16, x) * part(v[1], first + i, 8, y))
                            .sum();
                        result.wrap(result.value(v[2]) + dot)
                    },
                );
            }
        }
    }
}

fn video(table: &mut Table) {
    let bytes = |word: u64| (word as u32).to_le_bytes();
    let differ = move |v: &[u64]| {
        let (a, b) = (bytes(v[0]), bytes(v[1]));
        [0, 1, 2, 3].map(|i| a[i].abs_diff(b[i]))
    };
    table.push(
        U32,
        &[U32, U32, U32],
        "mov.b32 {r0}, {0}; mov.b32 {r1}, {1}; mov.b32 {r2}, {2}; \
         vabsdiff4.u32.u32.u32 {d}, {r0}, {r1}, {r2};",
        None,
        move |v| u32::from_le_bytes(differ(v)).into(),
    );
    table.push(
        U32,
        &[U32, U32, U32],
        "mov.b32 {r0}, {0}; mov.b32 {r1}, {1}; mov.b32 {r2}, {2}; \
         vabsdiff4.u32.u32.u32.add {d}, {r0}, {r1}, {r2};",
        None,
        move |v| {
            let sum: u64 = differ(v).iter().map(|byte| u64::from(*byte)).sum();
            (sum + v[2]) & 0xffff_ffff
        },
    );
}

/// Chains of carries, as wide integers use them.
fn carries(table: &mut Table) {
    let words = |v: &[u64]| (v[1] << 32 | v[0], v[3] << 32 | v[2]);
    let four = [U32, U32, U32, U32];
    table.push(
        U32,
        &four,
        "add.cc.u32 {r0}, {0}, {2}; addc.u32 {r1}, {1}, {3}; xor.b32 {d}, {r0}, {r1};",
        None,
        move |v| {
            let (a, b) = words(v);
            let sum = a.wrapping_add(b);
            (sum ^ sum >> 32) & 0xffff_ffff
        },
    );
    table.push(
        U32,
        &four,
        "add.cc.u32 {r0}, {0}, {2}; addc.cc.u32 {r1}, {1}, {3}; addc.u32 {d}, {0}, 0;",
        None,
        move |v| {
            let (a, b) = words(v);
            (v[0] + u64::from(a.checked_add(b).is_none())) & 0xffff_ffff
        },
    );
    table.push(
        U32,
        &four,
        "sub.cc.u32 {r0}, {0}, {2}; subc.cc.u32 {r1}, {1}, {3}; subc.u32 {d}, {0}, 0;",
        None,
        move |v| {
            let (a, b) = words(v);
            v[0].wrapping_sub(u64::from(a < b)) & 0xffff_ffff
        },
    );
    table.push(
        U64,
        &[U64, U64, U64],
        "add.cc.u64 {d0}, {0}, {1}; addc.u64 {d}, {d0}, {2};",
        None,
        |v| {
            let (sum, carry) = v[0].overflowing_add(v[1]);
            sum.wrapping_add(v[2]).wrapping_add(carry.into())
        },
    );
    table.push(
        U32,
        &four,
        "mad.lo.cc.u32 {r0}, {0}, {1}, {2}; madc.hi.u32 {r1}, {0}, {1}, {3}; \
         xor.b32 {d}, {r0}, {r1};",
        None,
        |v| {
            let sum = (v[0] * v[1]).wrapping_add(v[3] << 32 | v[2]);
            (sum ^ sum >> 32) & 0xffff_ffff
        },
    );
}

fn narrow(table: &mut Table) {
    for ty in [U32, S32] {
        let p = ty.ptx();
        let low = move |bits: u64| {
            if ty.is_signed() {
                i128::from((bits << 8) as i32 >> 8)
            } else {
                i128::from(bits & 0xff_ffff)
            }
        };
        let cuda = if ty == S32 {
            "__mul24({0}, {1})"
        } else {
            "__umul24({0}, {1})"
        };
        table.push(
            ty,
            &[ty, ty],
            format!("mul24.lo.{p} {{d}}, {{0}}, {{1}};"),
            Some(cuda.into()),
            move |v| ty.wrap(low(v[0]) * low(v[1])),
        );
        table.push(
            ty,
            &[ty, ty],
            format!("mul24.hi.{p} {{d}}, {{0}}, {{1}};"),
            None,
            move |v| ty.wrap((low(v[0]) * low(v[1])) >> 16),
        );
        table.push(
            ty,
            &[ty, ty, ty],
            format!("mad24.lo.{p} {{d}}, {{0}}, {{1}}, {{2}};"),
            None,
            move |v| ty.wrap(low(v[0]) * low(v[1]) + ty.value(v[2])),
        );
        for (mode, clamp) in [("clamp", true), ("wrap", false)] {
            table.push(
                ty,
                &[ty, U32],
                format!("szext.{mode}.{p} {{d}}, {{0}}, {{1}};"),
                None,
                move |v| {
                    let length = if clamp { v[1].min(32) } else { v[1] & 31 };
                    extract(ty, v[0], 0, length)
                },
            );
        }
    }
    for (mode, clamp) in [("clamp", true), ("wrap", false)] {
        table.push(
            U32,
            &[U32, U32],
            format!("bmsk.{mode}.b32 {{d}}, {{0}}, {{1}};"),
            None,
            move |v| {
                let limit = |value: u64| if clamp { value.min(32) } else { value & 31 };
                ((1 << limit(v[1])) - 1) << limit(v[0]) & 0xffff_ffff
            },
        );
    }
}
