// SPDX-License-Identifier: Apache-2.0
//! Comparisons, selections and predicates.

use std::cmp::Ordering;

use super::types::{Table, Type};
use Type::{Bf16, F16, F32, F64, Pred, S16, S32, S64, U16, U32, U64};

pub(crate) fn add(table: &mut Table) {
    for ty in [U16, S16, U32, S32, U64, S64, F16, Bf16, F32, F64] {
        for flush in [false, true] {
            if !flush || matches!(ty, F16 | F32) {
                comparisons(table, ty, flush);
            }
        }
    }
    for ty in [Type::F16x2, Type::Bf16x2] {
        packed(table, ty);
    }
    for ty in Type::ALL {
        selections(table, ty);
    }
    predicates(table);
    for ty in [F32, F64] {
        classes(table, ty);
    }
}

/// How two values compare; `None` with a NaN.
fn order(ty: Type, flush: bool, a: u64, b: u64) -> Option<Ordering> {
    match ty.format() {
        None => Some(ty.value(a).cmp(&ty.value(b))),
        Some(format) => {
            let [a, b] = [a, b].map(|bits| if flush { format.flush(bits) } else { bits });
            format.number(a).compare(format.number(b))
        }
    }
}

type Predicate = fn(Option<Ordering>) -> bool;

const ORDERED: [(&str, Option<&str>, Predicate); 6] = [
    ("eq", Some("=="), |o| o == Some(Ordering::Equal)),
    ("ne", Some("!="), |o| {
        matches!(o, Some(Ordering::Less | Ordering::Greater))
    }),
    ("lt", Some("<"), |o| o == Some(Ordering::Less)),
    ("le", Some("<="), |o| {
        matches!(o, Some(Ordering::Less | Ordering::Equal))
    }),
    ("gt", Some(">"), |o| o == Some(Ordering::Greater)),
    ("ge", Some(">="), |o| {
        matches!(o, Some(Ordering::Greater | Ordering::Equal))
    }),
];

const UNSIGNED: [(&str, Option<&str>, Predicate); 4] = [
    ("lo", None, |o| o == Some(Ordering::Less)),
    ("ls", None, |o| o != Some(Ordering::Greater)),
    ("hi", None, |o| o == Some(Ordering::Greater)),
    ("hs", None, |o| o != Some(Ordering::Less)),
];

const UNORDERED: [(&str, Option<&str>, Predicate); 8] = [
    ("equ", None, |o| matches!(o, None | Some(Ordering::Equal))),
    ("neu", Some("!="), |o| o != Some(Ordering::Equal)),
    ("ltu", None, |o| matches!(o, None | Some(Ordering::Less))),
    ("leu", None, |o| o != Some(Ordering::Greater)),
    ("gtu", None, |o| matches!(o, None | Some(Ordering::Greater))),
    ("geu", None, |o| o != Some(Ordering::Less)),
    ("num", None, |o| o.is_some()),
    ("nan", None, |o| o.is_none()),
];

fn comparisons(table: &mut Table, ty: Type, flush: bool) {
    let p = ty.ptx();
    let ftz = if flush { ".ftz" } else { "" };
    let mut rows = ORDERED.to_vec();
    if ty.format().is_some() {
        rows.extend(UNORDERED);
        // C's != is true for NaNs.
        rows[1].1 = None;
    } else if !ty.is_signed() && ty != U16 {
        rows.extend(UNSIGNED);
    }
    for (name, sign, holds) in rows {
        let cuda = sign.filter(|_| ty.cuda().is_some() && !flush);
        table.push(
            Pred,
            &[ty, ty],
            format!("setp.{name}{ftz}.{p} {{d}}, {{0}}, {{1}};"),
            cuda.map(|sign| format!("({{0}} {sign} {{1}})")),
            move |v| holds(order(ty, flush, v[0], v[1])).into(),
        );
        combined(table, ty, flush, name, holds);
    }
}

fn combined(table: &mut Table, ty: Type, flush: bool, name: &str, holds: Predicate) {
    let p = ty.ptx();
    let ftz = if flush { ".ftz" } else { "" };
    let logic: [(&str, fn(u64, u64) -> u64); 3] = [
        ("and", |a, b| a & b),
        ("or", |a, b| a | b),
        ("xor", |a, b| a ^ b),
    ];
    for (index, (op, apply)) in logic.into_iter().enumerate() {
        let not = u64::from(index == 1);
        let sign = if not == 1 { "!" } else { "" };
        table.push(
            Pred,
            &[ty, ty, Pred],
            format!("setp.{name}.{op}{ftz}.{p} {{d}}, {{0}}, {{1}}, {sign}{{2}};"),
            None,
            move |v| apply(holds(order(ty, flush, v[0], v[1])).into(), v[2] ^ not),
        );
    }
    if matches!(ty, Bf16 | F16) {
        return;
    }
    table.push(
        Pred,
        &[ty, ty, Pred],
        format!("setp.{name}.and{ftz}.{p} {{p0}}|{{d}}, {{0}}, {{1}}, {{2}};"),
        None,
        move |v| u64::from(!holds(order(ty, flush, v[0], v[1]))) & v[2],
    );
    for (result, yes) in [(U32, 0xffff_ffff), (S32, 0xffff_ffff), (F32, 0x3f80_0000)] {
        table.push(
            result,
            &[ty, ty],
            format!("set.{name}{ftz}.{}.{p} {{d}}, {{0}}, {{1}};", result.ptx()),
            None,
            move |v| {
                if holds(order(ty, flush, v[0], v[1])) {
                    yes
                } else {
                    0
                }
            },
        );
    }
    table.push(
        U32,
        &[ty, ty, Pred],
        format!("set.{name}.xor{ftz}.u32.{p} {{d}}, {{0}}, {{1}}, {{2}};"),
        None,
        move |v| {
            let holds = u64::from(holds(order(ty, flush, v[0], v[1])));
            if holds != v[2] { 0xffff_ffff } else { 0 }
        },
    );
}

/// Packed halves: two results, each of its own halves.
fn packed(table: &mut Table, ty: Type) {
    let (p, part) = (ty.ptx(), if ty == Type::F16x2 { F16 } else { Bf16 });
    for (name, _, holds) in ORDERED.iter().chain(&UNORDERED).copied() {
        let half = move |v: &[u64], shift: u32| {
            let [a, b] = [v[0], v[1]].map(|word| word >> shift & 0xffff);
            u64::from(holds(order(part, false, a, b)))
        };
        table.push(
            Pred,
            &[ty, ty, Pred],
            format!("setp.{name}.or.{p} {{p0}}|{{d}}, {{0}}, {{1}}, {{2}};"),
            None,
            move |v| half(v, 16) | v[2],
        );
        table.push(
            Pred,
            &[ty, ty, Pred],
            format!("setp.{name}.and.{p} {{d}}|{{p0}}, {{0}}, {{1}}, !{{2}};"),
            None,
            move |v| half(v, 0) & (v[2] ^ 1),
        );
        table.push(
            Pred,
            &[ty, ty],
            format!("setp.{name}.{p} {{p0}}|{{p1}}, {{0}}, {{1}}; xor.pred {{d}}, {{p0}}, {{p1}};"),
            None,
            move |v| half(v, 0) ^ half(v, 16),
        );
    }
}

fn selections(table: &mut Table, ty: Type) {
    let cuda = ty.cuda().map(|_| "({2} ? {0} : {1})".to_owned());
    let pick = |v: &[u64]| if v[2] != 0 { v[0] } else { v[1] };
    if ty == Pred {
        let line = "and.pred {p0}, {0}, {2}; not.pred {p1}, {2}; and.pred {p1}, {1}, {p1}; \
                    or.pred {d}, {p0}, {p1};";
        table.push(Pred, &[Pred; 3], line, cuda, pick);
        return;
    }
    let u = ty.untyped();
    let line = format!("selp.{u} {{d}}, {{0}}, {{1}}, {{2}};");
    table.push(ty, &[ty, ty, Pred], line, cuda, pick);
    table.push(
        ty,
        &[ty, ty, S32],
        format!("slct.{u}.s32 {{d}}, {{0}}, {{1}}, {{2}};"),
        ty.cuda().map(|_| "({2} >= 0 ? {0} : {1})".to_owned()),
        |v| if S32.value(v[2]) >= 0 { v[0] } else { v[1] },
    );
    for flush in [false, true] {
        let ftz = if flush { ".ftz" } else { "" };
        let line = format!("slct{ftz}.{u}.f32 {{d}}, {{0}}, {{1}}, {{2}};");
        table.push(ty, &[ty, ty, F32], line, None, move |v| {
            if order(F32, flush, v[2], 0).is_some_and(Ordering::is_ge) {
                v[0]
            } else {
                v[1]
            }
        });
    }
}

fn predicates(table: &mut Table) {
    let two = [Pred, Pred];
    let c = |sign: &str| Some(format!("({{0}} {sign} {{1}})"));
    table.push(Pred, &two, "and.pred {d}, {0}, {1};", c("&&"), |v| {
        v[0] & v[1]
    });
    table.push(Pred, &two, "or.pred {d}, {0}, {1};", c("||"), |v| {
        v[0] | v[1]
    });
    table.push(Pred, &two, "xor.pred {d}, {0}, {1};", c("!="), |v| {
        v[0] ^ v[1]
    });
    table.push(
        Pred,
        &[Pred],
        "not.pred {d}, {0};",
        Some("(!{0})".into()),
        |v| v[0] ^ 1,
    );
    let one = "selp.u32 {d}, 1, 0, {0};";
    table.push(U32, &[Pred], one, Some("((unsigned){0})".into()), |v| v[0]);
}

fn classes(table: &mut Table, ty: Type) {
    let (format, p) = (ty.format().expect("a float"), ty.ptx());
    let magnitude = move |bits: u64| bits & !format.sign_bit();
    let nan = move |bits: u64| format.is_nan(bits);
    let finite = move |bits: u64| magnitude(bits) < format.infinity();
    let small = move |bits: u64| format.is_subnormal(bits);
    let mut push = |class: &str, is: Box<dyn Fn(u64) -> bool + Send + Sync>| {
        let line = format!("testp.{class}.{p} {{d}}, {{0}};");
        table.push(Pred, &[ty], line, None, move |v| is(v[0]).into());
    };
    push("finite", Box::new(finite));
    push(
        "infinite",
        Box::new(move |bits| magnitude(bits) == format.infinity()),
    );
    push("number", Box::new(move |bits| !nan(bits)));
    push("notanumber", Box::new(nan));
    push("subnormal", Box::new(small));
    push(
        "normal",
        Box::new(move |bits| finite(bits) && !small(bits) && magnitude(bits) != 0),
    );
}
