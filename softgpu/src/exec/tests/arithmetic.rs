// SPDX-License-Identifier: Apache-2.0
//! Every family of arithmetic through the lane loops, against plain Rust.

use super::*;
use crate::exec::level::CpuLevel;

/// Applies `op` to lanes of `inputs` (three words each) and answers the result words, which every
/// CPU level must agree on.
fn apply(op: Op, inputs: &[[u32; 3]]) -> Vec<u32> {
    let results = levels()
        .into_iter()
        .map(|level| (level, apply_at(level, op.clone(), inputs)));
    let (_, first) = results
        .reduce(|first, other| {
            assert_eq!(
                first.1, other.1,
                "{op:?} at {:?} and {:?}",
                first.0, other.0
            );
            first
        })
        .unwrap();
    first
}

fn apply_at(level: CpuLevel, op: Op, inputs: &[[u32; 3]]) -> Vec<u32> {
    let device = Device {
        level,
        ..Device::new()
    };
    let flat: Vec<u32> = inputs.iter().flatten().copied().collect();
    let (from, to) = (device.filled(&flat), device.words(inputs.len()));
    let mut code = prologue();
    code.extend([
        load(Space::Param, MemType::B64, rd(2), Address::absolute(8)),
        ternary(
            TernaryOp::MadWide(IntType::U32),
            rd(2),
            r(0).into(),
            imm(12),
            rd(2).into(),
        ),
        load(Space::Global, MemType::U32, r(1), Address::new(rd(2), 0)),
        load(Space::Global, MemType::U32, r(2), Address::new(rd(2), 4)),
        load(Space::Global, MemType::U32, r(3), Address::new(rd(2), 8)),
        op,
    ]);
    code.extend(epilogue(r(4)));
    device
        .run(TestKernel::ops(code), 1, inputs.len() as u32, &[to, from])
        .unwrap();
    device.read(to, inputs.len())
}

/// The same with two 64-bit operands (rd3, rd4) and a 64-bit result (rd5).
fn apply64(op: Op, inputs: &[[u64; 2]]) -> Vec<u64> {
    let results = levels()
        .into_iter()
        .map(|level| apply64_at(level, op.clone(), inputs));
    results
        .reduce(|first, other| {
            assert_eq!(first, other, "{op:?}");
            first
        })
        .unwrap()
}

fn apply64_at(level: CpuLevel, op: Op, inputs: &[[u64; 2]]) -> Vec<u64> {
    let device = Device {
        level,
        ..Device::new()
    };
    let flat: Vec<u32> = inputs
        .iter()
        .flatten()
        .flat_map(|&wide| [wide as u32, (wide >> 32) as u32])
        .collect();
    let (from, to) = (device.filled(&flat), device.words(inputs.len() * 2));
    let mut code = prologue();
    code.extend([
        load(Space::Param, MemType::B64, rd(2), Address::absolute(8)),
        ternary(
            TernaryOp::MadWide(IntType::U32),
            rd(2),
            r(0).into(),
            imm(16),
            rd(2).into(),
        ),
        ternary(
            TernaryOp::MadWide(IntType::U32),
            rd(0),
            r(0).into(),
            imm(8),
            rd(1).into(),
        ),
        Op::Load {
            space: Space::Global,
            ty: MemType::B64,
            order: MemoryOrder::Weak,
            dst: vec![Some(rd(3)), Some(rd(4))],
            address: Address::new(rd(2), 0),
        },
        op,
        store(Space::Global, MemType::B64, Address::new(rd(0), 0), rd(5)),
    ]);
    device
        .run(TestKernel::ops(code), 1, inputs.len() as u32, &[to, from])
        .unwrap();
    let words = device.read(to, inputs.len() * 2);
    words
        .chunks(2)
        .map(|pair| u64::from(pair[0]) | u64::from(pair[1]) << 32)
        .collect()
}

const EDGES: [u32; 12] = [
    0,
    1,
    2,
    31,
    32,
    0x7fff_ffff,
    0x8000_0000,
    0x8000_0001,
    0xffff_fffe,
    0xffff_ffff,
    0x1234_5678,
    0xffff_8000,
];

fn triples(values: &[u32]) -> Vec<[u32; 3]> {
    let mut all = Vec::new();
    for &a in values {
        for &b in values {
            all.push([a, b, a.rotate_left(7) ^ b]);
        }
    }
    all
}

fn check2(op: BinaryOp, expected: impl Fn(u32, u32) -> u32) {
    let inputs = triples(&EDGES);
    let out = apply(binary(op, r(4), r(1), r(2)), &inputs);
    for ([a, b, _], out) in inputs.iter().zip(out) {
        assert_eq!(out, expected(*a, *b), "{op:?} {a:#x} {b:#x}");
    }
}

#[test]
fn integer_operations() {
    use BinaryOp as O;
    use IntType::{S32, U32};
    check2(O::Add(U32), u32::wrapping_add);
    check2(O::Sub(S32), u32::wrapping_sub);
    check2(O::AddSaturate, |a, b| {
        (a as i32).saturating_add(b as i32) as u32
    });
    check2(O::MulLow(U32), u32::wrapping_mul);
    check2(O::MulHigh(U32), |a, b| {
        ((u64::from(a) * u64::from(b)) >> 32) as u32
    });
    check2(O::MulHigh(S32), |a, b| {
        ((i64::from(a as i32) * i64::from(b as i32)) >> 32) as u32
    });
    check2(O::Div(U32), |a, b| a.checked_div(b).unwrap_or(u32::MAX));
    check2(O::Div(S32), |a, b| {
        if b == 0 {
            u32::MAX
        } else {
            (a as i32).wrapping_div(b as i32) as u32
        }
    });
    check2(O::Rem(S32), |a, b| {
        if b == 0 {
            a
        } else {
            (a as i32).wrapping_rem(b as i32) as u32
        }
    });
    check2(O::Min(S32), |a, b| (a as i32).min(b as i32) as u32);
    check2(O::Max(U32), u32::max);
    check2(O::And(Width::B32), |a, b| a & b);
    check2(O::Xor(Width::B32), |a, b| a ^ b);
    check2(O::Shl(Width::B32), |a, b| a.checked_shl(b).unwrap_or(0));
    check2(O::Shr(U32), |a, b| a.checked_shr(b).unwrap_or(0));
    check2(O::Shr(S32), |a, b| (a as i32 >> b.min(31)) as u32);
    check2(O::Pack32, |a, b| (a & 0xffff) | b << 16);
}

#[test]
fn multiply_add_and_tables() {
    let inputs = triples(&EDGES);
    let out = apply(
        ternary(
            TernaryOp::MadLow(IntType::S32),
            r(4),
            r(1).into(),
            r(2).into(),
            r(3).into(),
        ),
        &inputs,
    );
    for ([a, b, c], out) in inputs.iter().zip(out) {
        assert_eq!(out, a.wrapping_mul(*b).wrapping_add(*c));
    }
    for table in [0x96, 0xca, 0x1b, 0xfe, 0x00, 0xe8] {
        let op = TernaryOp::Lop3(table);
        let out = apply(
            ternary(op, r(4), r(1).into(), r(2).into(), r(3).into()),
            &inputs,
        );
        for ([a, b, c], out) in inputs.iter().zip(out) {
            for bit in 0..32 {
                let index = (a >> bit & 1) << 2 | (b >> bit & 1) << 1 | (c >> bit & 1);
                assert_eq!(out >> bit & 1, u32::from(table) >> index & 1);
            }
        }
    }
}

fn float_edges() -> Vec<u32> {
    [
        0.0,
        -0.0,
        1.0,
        -1.5,
        f32::MIN_POSITIVE,
        f32::MAX,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        1e-40,
        -1e-40,
        3.0e38,
        0.1,
        16_777_216.0,
    ]
    .map(f32::to_bits)
    .to_vec()
}

/// The device's NaN has one form.
fn bits(value: f32) -> u32 {
    if value.is_nan() {
        0x7fff_ffff
    } else {
        value.to_bits()
    }
}

fn flushed(value: f32) -> f32 {
    if value.is_subnormal() {
        0.0_f32.copysign(value)
    } else {
        value
    }
}

#[test]
fn single_precision_with_every_modifier() {
    let inputs = triples(&float_edges());
    type Plain = fn(f32, f32) -> f32;
    for (flush, saturate) in [(false, false), (false, true), (true, false), (true, true)] {
        let mode = FloatMode {
            flush,
            saturate,
            ..FloatMode::default()
        };
        let cases: [(BinaryOp, Plain); 4] = [
            (BinaryOp::FloatAdd(FloatType::F32, mode), |a, b| a + b),
            (BinaryOp::FloatSub(FloatType::F32, mode), |a, b| a - b),
            (BinaryOp::FloatMul(FloatType::F32, mode), |a, b| a * b),
            (BinaryOp::FloatDiv(FloatType::F32, mode), |a, b| a / b),
        ];
        for (op, plain) in cases {
            let out = apply(binary(op, r(4), r(1), r(2)), &inputs);
            for ([a, b, _], out) in inputs.iter().zip(out) {
                let (a, b) = (f32::from_bits(*a), f32::from_bits(*b));
                let (a, b) = if flush {
                    (flushed(a), flushed(b))
                } else {
                    (a, b)
                };
                let mut value = plain(a, b);
                if flush {
                    value = flushed(value);
                }
                if saturate {
                    value = if value.is_nan() || value <= 0.0 {
                        0.0
                    } else {
                        value.min(1.0)
                    };
                }
                assert_eq!(out, bits(value), "{op:?} {a:e} {b:e}");
            }
        }
    }
}

#[test]
fn fused_multiply_add_rounds_once() {
    let mut inputs = triples(&float_edges());
    // 1 + 2^-12 squared, minus its rounded square: zero unless the product is exact.
    let x = 1.0 + 2.0_f32.powi(-12);
    inputs.push([x.to_bits(), x.to_bits(), (-(x * x)).to_bits()]);
    let op = TernaryOp::Fma(FloatType::F32, FloatMode::default());
    let out = apply(
        ternary(op, r(4), r(1).into(), r(2).into(), r(3).into()),
        &inputs,
    );
    for ([a, b, c], out) in inputs.iter().zip(&out) {
        let value = f32::from_bits(*a).mul_add(f32::from_bits(*b), f32::from_bits(*c));
        assert_eq!(*out, bits(value));
    }
    assert_ne!(*out.last().unwrap(), 0);
}

#[test]
fn directed_rounding_brackets() {
    let inputs = triples(&float_edges());
    let at = |rounding| {
        let mode = FloatMode {
            rounding,
            ..FloatMode::default()
        };
        apply(
            binary(BinaryOp::FloatMul(FloatType::F32, mode), r(4), r(1), r(2)),
            &inputs,
        )
    };
    let (down, near, up) = (
        at(Rounding::Down),
        at(Rounding::NearestEven),
        at(Rounding::Up),
    );
    let mut differ = 0;
    for ((down, near), up) in down.iter().zip(&near).zip(&up) {
        let (down, near, up) = (
            f32::from_bits(*down),
            f32::from_bits(*near),
            f32::from_bits(*up),
        );
        assert!(
            near.is_nan() || (down <= near && near <= up && (down == up || down.next_up() == up))
        );
        differ += u32::from(down != up);
    }
    assert!(differ > 10);
}

#[test]
fn double_precision() {
    let values = [0.0, -1.5, 1e300, f64::INFINITY, 1e-320, 0.1, f64::MAX];
    let mut inputs = Vec::new();
    for a in values {
        for b in values {
            inputs.push([f64::to_bits(a), f64::to_bits(b)]);
        }
    }
    let mode = FloatMode::default();
    type Plain = fn(f64, f64) -> f64;
    let cases: [(BinaryOp, Plain); 4] = [
        (BinaryOp::FloatAdd(FloatType::F64, mode), |a, b| a + b),
        (BinaryOp::FloatMul(FloatType::F64, mode), |a, b| a * b),
        (BinaryOp::FloatDiv(FloatType::F64, mode), |a, b| a / b),
        (
            BinaryOp::FloatMax {
                ty: FloatType::F64,
                mode: MinMaxMode::default(),
            },
            f64::max,
        ),
    ];
    for (op, plain) in cases {
        let out = apply64(binary(op, rd(5), rd(3), rd(4)), &inputs);
        for ([a, b], out) in inputs.iter().zip(out) {
            let value = plain(f64::from_bits(*a), f64::from_bits(*b));
            assert!(f64::from_bits(out) == value || value.is_nan() && f64::from_bits(out).is_nan());
        }
    }
    let inputs = [[u64::MAX, 3], [1 << 63, 1 << 62], [12345, 0]];
    let out = apply64(
        binary(BinaryOp::MulHigh(IntType::U64), rd(5), rd(3), rd(4)),
        &inputs,
    );
    assert_eq!(out, [2, 1 << 61, 0]);
    let out = apply64(
        binary(BinaryOp::Div(IntType::U64), rd(5), rd(3), rd(4)),
        &inputs,
    );
    assert_eq!(out, [u64::MAX / 3, 2, u64::MAX]);
}

#[test]
fn carries_run_through_a_chain() {
    let add = |carry_in, carry_out, dst, a, b| Op::Carry {
        width: Width::B32,
        subtract: false,
        dst,
        a,
        b,
        carry_in,
        carry_out,
    };
    // 96-bit sum of a:b:c and itself plus its high word into r4.
    let inputs = [
        [0x8000_0000, 0xffff_ffff, 0x8000_0000],
        [1, 2, 3],
        [0xffff_ffff; 3],
    ];
    let device = Device::new();
    let flat: Vec<u32> = inputs.iter().flatten().copied().collect();
    let (from, to) = (device.filled(&flat), device.words(3));
    let mut code = prologue();
    code.extend([
        load(Space::Param, MemType::B64, rd(2), Address::absolute(8)),
        ternary(
            TernaryOp::MadWide(IntType::U32),
            rd(2),
            r(0).into(),
            imm(12),
            rd(2).into(),
        ),
        load(Space::Global, MemType::U32, r(1), Address::new(rd(2), 0)),
        load(Space::Global, MemType::U32, r(2), Address::new(rd(2), 4)),
        load(Space::Global, MemType::U32, r(3), Address::new(rd(2), 8)),
        add(None, Some(p(0)), r(5), r(1).into(), r(1).into()),
        add(Some(p(0)), Some(p(0)), r(6), r(2).into(), r(2).into()),
        add(Some(p(0)), None, r(4), r(3).into(), r(3).into()),
    ]);
    code.extend(epilogue(r(4)));
    device
        .run(TestKernel::ops(code), 1, 3, &[to, from])
        .unwrap();
    let expected: Vec<u32> = inputs
        .iter()
        .map(|[a, b, c]| {
            let wide = u128::from(*a) | u128::from(*b) << 32 | u128::from(*c) << 64;
            ((wide + wide) >> 64) as u32
        })
        .collect();
    assert_eq!(device.read(to, 3), expected);
}

#[test]
fn comparisons_of_all_kinds_select() {
    let inputs = triples(&float_edges());
    for op in [
        CompareOp::Eq,
        CompareOp::Ne,
        CompareOp::Lt,
        CompareOp::Le,
        CompareOp::Gt,
        CompareOp::Ge,
        CompareOp::EqU,
        CompareOp::NeU,
        CompareOp::LtU,
        CompareOp::LeU,
        CompareOp::GtU,
        CompareOp::GeU,
        CompareOp::Num,
        CompareOp::Nan,
    ] {
        let ty = ScalarType::Float(FloatType::F32);
        let compare = Compare {
            op,
            ty,
            flush: false,
            a: r(1).into(),
            b: r(2).into(),
        };
        let set = Op::Set {
            compare,
            combine: None,
            result: U32,
            dst: r(4),
        };
        let out = apply(set, &inputs);
        for ([a, b, _], out) in inputs.iter().zip(out) {
            let (a, b) = (f32::from_bits(*a), f32::from_bits(*b));
            let unordered = a.is_nan() || b.is_nan();
            let expected = match op {
                CompareOp::Eq => a == b,
                CompareOp::Ne => !unordered && a != b,
                CompareOp::Lt => a < b,
                CompareOp::Le => a <= b,
                CompareOp::Gt => a > b,
                CompareOp::Ge => a >= b,
                CompareOp::EqU => unordered || a == b,
                CompareOp::NeU => a != b,
                CompareOp::LtU => unordered || a < b,
                CompareOp::LeU => unordered || a <= b,
                CompareOp::GtU => unordered || a > b,
                CompareOp::GeU => unordered || a >= b,
                CompareOp::Num => !unordered,
                CompareOp::Nan => unordered,
            };
            assert_eq!(
                out,
                if expected { u32::MAX } else { 0 },
                "{op:?} {a:e} {b:e}"
            );
        }
    }
}

/// `setp` and `selp` at every CPU level of this machine give what the scalar comparison gives.
#[test]
fn vector_compares_agree_with_scalar_ones_at_every_level() {
    use crate::exec::level::{Level, Portable, holds, predicate as q};
    fn check<T: crate::exec::level::CompareLane, const P: u8>(a: &[T; 32], b: &[T; 32]) {
        let mut expected = 0;
        for lane in 0..32 {
            expected |= u32::from(holds::<P, T>(&a[lane], &b[lane])) << lane;
        }
        // SAFETY: the portable level runs everywhere, the others where they are detected.
        unsafe {
            assert_eq!(Portable::compare::<T, P>(a, b), expected);
            #[cfg(target_arch = "x86_64")]
            if CpuLevel::detect() >= CpuLevel::V3 {
                assert_eq!(
                    crate::exec::level::V3::compare::<T, P>(a, b),
                    expected,
                    "V3 {P}"
                );
            }
            #[cfg(target_arch = "x86_64")]
            if CpuLevel::detect() >= CpuLevel::V4 {
                assert_eq!(
                    crate::exec::level::V4::compare::<T, P>(a, b),
                    expected,
                    "V4 {P}"
                );
            }
        }
    }
    fn integer<T: crate::exec::level::CompareLane>(make: impl Fn(u64) -> T) {
        let a: [T; 32] =
            std::array::from_fn(|n| make((n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        let mut b = a;
        b.rotate_left(3);
        b[4] = a[4];
        check::<T, { q::EQ }>(&a, &b);
        check::<T, { q::NE }>(&a, &b);
        check::<T, { q::LT }>(&a, &b);
        check::<T, { q::LE }>(&a, &b);
        check::<T, { q::GT }>(&a, &b);
        check::<T, { q::GE }>(&a, &b);
    }
    fn float<T: crate::exec::level::CompareLane>(values: [T; 4]) {
        let a: [T; 32] = std::array::from_fn(|n| values[n % 4]);
        let b: [T; 32] = std::array::from_fn(|n| values[n / 4 % 4]);
        check::<T, { q::EQ }>(&a, &b);
        check::<T, { q::NE }>(&a, &b);
        check::<T, { q::LT }>(&a, &b);
        check::<T, { q::LE }>(&a, &b);
        check::<T, { q::GT }>(&a, &b);
        check::<T, { q::GE }>(&a, &b);
        check::<T, { q::EQU }>(&a, &b);
        check::<T, { q::NEU }>(&a, &b);
        check::<T, { q::LTU }>(&a, &b);
        check::<T, { q::LEU }>(&a, &b);
        check::<T, { q::GTU }>(&a, &b);
        check::<T, { q::GEU }>(&a, &b);
        check::<T, { q::NUM }>(&a, &b);
        check::<T, { q::NAN }>(&a, &b);
    }
    integer(|n| n as u32);
    integer(|n| n as i32);
    integer(|n| n);
    integer(|n| n as i64);
    float([1.0_f32, -0.0, f32::NAN, 0.0]);
    float([1.0_f64, f64::INFINITY, f64::NAN, -3.0]);
}

/// The conversions of f16 at every CPU level of this machine agree, bit for bit.
#[test]
fn halves_convert_alike_at_every_level() {
    use crate::exec::level::{Level, Portable};
    fn check<L: Level>(values: &[u32; 32], floats: &[f32; 32]) {
        // SAFETY: the caller has checked the level; the portable one runs everywhere.
        unsafe {
            let (ours, theirs) = (L::widen_f16(values), Portable::widen_f16(values));
            for (ours, theirs) in ours.iter().zip(theirs) {
                assert!(ours.to_bits() == theirs.to_bits() || ours.is_nan() && theirs.is_nan());
            }
            assert_eq!(L::narrow_f16(floats), Portable::narrow_f16(floats));
        }
    }
    let mut bits = 0_u32;
    for _ in 0..20_000 {
        let values =
            std::array::from_fn(|lane| bits.wrapping_add((lane as u32).wrapping_mul(0x1357_9bdf)));
        let floats = values.map(|word: u32| {
            // Mostly in the range of f16.
            let scaled = f32::from_bits(word & 0x8fff_ffff | 0x3000_0000);
            if word & 3 == 0 {
                f32::from_bits(word)
            } else {
                scaled
            }
        });
        #[cfg(target_arch = "x86_64")]
        {
            if CpuLevel::detect() >= CpuLevel::V3 {
                check::<crate::exec::level::V3>(&values, &floats);
            }
            if CpuLevel::detect() >= CpuLevel::V4 {
                check::<crate::exec::level::V4>(&values, &floats);
            }
        }
        bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    }
}

#[test]
fn conversions() {
    let cvt = |from, to, dst, a: Reg, rounding, saturate| Op::Convert {
        to,
        from,
        dst,
        a: a.into(),
        rounding,
        integral: false,
        flush: false,
        saturate,
        relu: false,
    };
    use ScalarType::{Float, Int};
    let f32_type = Float(FloatType::F32);
    let floats: Vec<[u32; 3]> = [0.5, 1.5, -2.5, 3e9, -3e9, f32::NAN, 1e-40, 255.7]
        .map(|value: f32| [value.to_bits(), 0, 0])
        .to_vec();
    let near = Rounding::NearestEven;
    let out = apply(
        cvt(f32_type, Int(IntType::S32), r(4), r(1), near, false),
        &floats,
    );
    assert_eq!(
        out.iter().map(|word| *word as i32).collect::<Vec<_>>(),
        [0, 2, -2, i32::MAX, i32::MIN, 0, 0, 256]
    );
    let zero = Rounding::TowardZero;
    let out = apply(
        cvt(f32_type, Int(IntType::U8), r(4), r(1), zero, false),
        &floats,
    );
    assert_eq!(out, [0, 1, 0, 255, 0, 0, 0, 255]);
    let up = Rounding::Up;
    let out = apply(
        cvt(f32_type, Int(IntType::U32), r(4), r(1), up, false),
        &floats,
    );
    assert_eq!(out, [1, 2, 0, 3_000_000_000, 0, 0, 1, 256]);
    let words = [[0xffff_ff80, 0, 0], [200, 0, 0], [0x1_8001, 0, 0]];
    let s8 = apply(
        cvt(Int(IntType::S8), Int(IntType::S32), r(4), r(1), near, false),
        &words,
    );
    assert_eq!(s8, [0xffff_ff80, 0xffff_ffc8, 1]);
    let sat = apply(
        cvt(Int(IntType::S32), Int(IntType::U8), r(4), r(1), near, true),
        &words,
    );
    assert_eq!(sat, [0, 200, 255]);
    let to_half = cvt(f32_type, Float(FloatType::F16), r(4), r(1), near, false);
    let out = apply(to_half, &floats);
    assert_eq!(out[..2], [0x3800, 0x3e00]);
    let pack = Op::ConvertPack {
        to: FloatType::Bf16x2,
        dst: r(4),
        high: r(1).into(),
        low: f32_imm(1.0),
        rounding: near,
        relu: false,
    };
    assert_eq!(apply(pack, &floats)[0], 0x3f00_3f80);
}

/// The vectorised conversions agree with the exact ones.
#[test]
fn fast_conversions_agree_with_exact_ones() {
    use ScalarType::{Float, Int};
    let types = [
        Int(IntType::U8),
        Int(IntType::S8),
        Int(IntType::U16),
        Int(IntType::S16),
        Int(IntType::U32),
        Int(IntType::S32),
        Float(FloatType::F32),
        Float(FloatType::F16),
        Float(FloatType::Bf16),
    ];
    let mut words: Vec<[u32; 3]> = float_edges().iter().map(|word| [*word, 0, 0]).collect();
    words.extend(EDGES.map(|word| [word, 0, 0]));
    words.extend((0..200_u32).map(|n| [n.wrapping_mul(0x9e37_79b9), 0, 0]));
    for from in types {
        for to in types {
            for rounding in [
                Rounding::NearestEven,
                Rounding::TowardZero,
                Rounding::Down,
                Rounding::Up,
            ] {
                for saturate in [false, true] {
                    let conversion = crate::exec::convert::Conversion {
                        to,
                        from,
                        wide: false,
                        rounding,
                        integral: false,
                        flush: false,
                        saturate,
                        relu: false,
                    };
                    let level = CpuLevel::detect();
                    if crate::exec::convert::vector(&conversion, level).is_none() {
                        continue;
                    }
                    let exact = crate::exec::convert::exact(conversion);
                    let op = Op::Convert {
                        to,
                        from,
                        dst: r(4),
                        a: r(1).into(),
                        rounding,
                        integral: false,
                        flush: false,
                        saturate,
                        relu: false,
                    };
                    for ([word, ..], out) in words.iter().zip(apply(op, &words)) {
                        let expected = exact([u64::from(*word), 0, 0, 0]) as u32;
                        assert_eq!(out, expected, "{conversion:?} {word:#x}");
                    }
                }
            }
        }
    }
}

/// Approximations need not be equal to the device's, but must be the same at every CPU level, as
/// must everything else: a program may move from machine to machine.
#[test]
fn every_level_gives_the_same_approximations() {
    let mut inputs = triples(&float_edges());
    inputs.extend((0..400_u32).map(|n| {
        let word = n.wrapping_mul(0x9e37_79b9);
        [word, word.rotate_left(11), word.rotate_left(19)]
    }));
    for flush in [false, true] {
        let ty = FloatType::F32;
        for op in [
            UnaryOp::ReciprocalSqrt { ty, flush },
            UnaryOp::Sqrt(
                ty,
                FloatMode {
                    flush,
                    ..FloatMode::default()
                },
            ),
            UnaryOp::Exp2 { ty, flush },
            UnaryOp::Log2 { flush },
            UnaryOp::Sin { flush },
            UnaryOp::Cos { flush },
            UnaryOp::Tanh(ty),
        ] {
            apply(unary(op, r(4), r(1)), &inputs);
        }
    }
    let mode = FloatMode::default();
    for ty in [
        FloatType::F16,
        FloatType::F16x2,
        FloatType::Bf16,
        FloatType::Bf16x2,
    ] {
        for op in [BinaryOp::FloatAdd(ty, mode), BinaryOp::FloatMul(ty, mode)] {
            apply(binary(op, r(4), r(1), r(2)), &inputs);
        }
        let op = TernaryOp::Fma(ty, mode);
        apply(
            ternary(op, r(4), r(1).into(), r(2).into(), r(3).into()),
            &inputs,
        );
    }
}

#[test]
fn scalar_operations_reach_the_lanes() {
    let inputs = [[0x8322_1100, 0x7766_5544, 0x7531], [1, 2, 3]];
    let op = TernaryOp::Permute(PermuteMode::Index);
    let out = apply(
        ternary(op, r(4), r(1).into(), r(2).into(), r(3).into()),
        &inputs,
    );
    assert_eq!(out[0], 0x7755_8311);
    let insert = Op::BitFieldInsert {
        width: Width::B32,
        dst: r(4),
        a: r(1).into(),
        b: imm(0xffff_ffff),
        position: imm(8),
        length: imm(8),
    };
    assert_eq!(apply(insert, &inputs), [0xffff_00ff, 0xffff_01ff]);
    let half2 = binary(
        BinaryOp::FloatAdd(FloatType::F16x2, FloatMode::default()),
        r(4),
        imm(0x3c00_4000),
        imm(0x3c00_3c00),
    );
    assert_eq!(apply(half2, &inputs), [0x4000_4200; 2]);
}
