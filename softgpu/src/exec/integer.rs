// SPDX-License-Identifier: Apache-2.0
//! Integer and bit operations on lanes that vectorise. 16-bit types go through 32-bit lanes; rarer
//! operations are in [`super::scalar`].

use super::lanes::{Execute, Op1, Op2, Op3, pick1, pick2, pick3};
use super::level::CpuLevel;
use crate::ir::{BinaryOp, IntType, TernaryOp, UnaryOp, Width};

macro_rules! op1 {
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

macro_rules! op2 {
    ($($name:ident: $a:ty, $b:ty => $r:ty = $f:expr;)*) => {$(
        struct $name;
        impl Op2 for $name {
            type A = $a;
            type B = $b;
            type R = $r;
            #[inline(always)]
            fn f(a: $a, b: $b, _: u64) -> $r {
                let f: fn($a, $b) -> $r = $f;
                f(a, b)
            }
        }
    )*};
}

macro_rules! op3 {
    ($($name:ident: $a:ty, $b:ty, $c:ty => $r:ty = $f:expr;)*) => {$(
        struct $name;
        impl Op3 for $name {
            type A = $a;
            type B = $b;
            type C = $c;
            type R = $r;
            #[inline(always)]
            fn f(a: $a, b: $b, c: $c, _: u64) -> $r {
                let f: fn($a, $b, $c) -> $r = $f;
                f(a, b, c)
            }
        }
    )*};
}

#[inline(always)]
fn s16(a: u32) -> i32 {
    i32::from(a as u16 as i16)
}

#[inline(always)]
fn z16(a: u32) -> u32 {
    a & 0xffff
}

op1! {
    Move32: u32 => u32 = |a| a;
    Move64: u64 => u64 = |a| a;
    Neg32: u32 => u32 = u32::wrapping_neg;
    Neg64: u64 => u64 = u64::wrapping_neg;
    Abs16: u32 => u32 = |a| s16(a).wrapping_abs() as u32;
    Abs32: i32 => i32 = i32::wrapping_abs;
    Abs64: i64 => i64 = i64::wrapping_abs;
    Not32: u32 => u32 = |a| !a;
    Not64: u64 => u64 = |a| !a;
    Cnot16: u32 => u32 = |a| u32::from(z16(a) == 0);
    Cnot32: u32 => u32 = |a| u32::from(a == 0);
    Cnot64: u64 => u64 = |a| u64::from(a == 0);
    BitReverse32: u32 => u32 = u32::reverse_bits;
    BitReverse64: u64 => u64 = u64::reverse_bits;
    LeadingZeros32: u32 => u32 = u32::leading_zeros;
    LeadingZeros64: u64 => u32 = u64::leading_zeros;
    Population32: u32 => u32 = u32::count_ones;
    Population64: u64 => u32 = u64::count_ones;
    LowHalf64: u64 => u32 = |a| a as u32;
    HighHalf64: u64 => u32 = |a| (a >> 32) as u32;
    HighHalf32: u32 => u32 = |a| a >> 16;
}

op2! {
    Add32: u32, u32 => u32 = u32::wrapping_add;
    Add64: u64, u64 => u64 = u64::wrapping_add;
    AddSat: i32, i32 => i32 = i32::saturating_add;
    Sub32: u32, u32 => u32 = u32::wrapping_sub;
    Sub64: u64, u64 => u64 = u64::wrapping_sub;
    SubSat: i32, i32 => i32 = i32::saturating_sub;
    Mul32: u32, u32 => u32 = u32::wrapping_mul;
    Mul64: u64, u64 => u64 = u64::wrapping_mul;
    MulHighU16: u32, u32 => u32 = |a, b| z16(a).wrapping_mul(z16(b)) >> 16;
    MulHighS16: u32, u32 => u32 = |a, b| (s16(a).wrapping_mul(s16(b)) >> 16) as u32;
    MulHighU32: u32, u32 => u32 = |a, b| ((u64::from(a) * u64::from(b)) >> 32) as u32;
    MulHighS32: i32, i32 => u32 = |a, b| ((i64::from(a) * i64::from(b)) >> 32) as u32;
    MulHighU64: u64, u64 => u64 = |a, b| ((u128::from(a) * u128::from(b)) >> 64) as u64;
    MulHighS64: i64, i64 => u64 = |a, b| ((i128::from(a) * i128::from(b)) >> 64) as u64;
    MulWideU16: u32, u32 => u32 = |a, b| z16(a).wrapping_mul(z16(b));
    MulWideS16: u32, u32 => u32 = |a, b| s16(a).wrapping_mul(s16(b)) as u32;
    MulWideU32: u32, u32 => u64 = |a, b| u64::from(a) * u64::from(b);
    MulWideS32: i32, i32 => i64 = |a, b| i64::from(a) * i64::from(b);
    DivU16: u32, u32 => u32 = |a, b| z16(a).checked_div(z16(b)).unwrap_or(!0);
    DivS16: u32, u32 => u32 = |a, b| s16(a).checked_div(s16(b)).unwrap_or(-1) as u32;
    DivU32: u32, u32 => u32 = |a, b| a.checked_div(b).unwrap_or(!0);
    DivS32: i32, i32 => i32 = |a, b| if b == 0 { -1 } else { a.wrapping_div(b) };
    DivU64: u64, u64 => u64 = |a, b| a.checked_div(b).unwrap_or(!0);
    DivS64: i64, i64 => i64 = |a, b| if b == 0 { -1 } else { a.wrapping_div(b) };
    RemU16: u32, u32 => u32 = |a, b| z16(a).checked_rem(z16(b)).unwrap_or(a);
    RemS16: u32, u32 => u32 = |a, b| s16(a).checked_rem(s16(b)).unwrap_or(s16(a)) as u32;
    RemU32: u32, u32 => u32 = |a, b| a.checked_rem(b).unwrap_or(a);
    RemS32: i32, i32 => i32 = |a, b| if b == 0 { a } else { a.wrapping_rem(b) };
    RemU64: u64, u64 => u64 = |a, b| a.checked_rem(b).unwrap_or(a);
    RemS64: i64, i64 => i64 = |a, b| if b == 0 { a } else { a.wrapping_rem(b) };
    MinU16: u32, u32 => u32 = |a, b| z16(a).min(z16(b));
    MinS16: u32, u32 => u32 = |a, b| s16(a).min(s16(b)) as u32;
    MinU32: u32, u32 => u32 = u32::min;
    MinS32: i32, i32 => i32 = i32::min;
    MinU64: u64, u64 => u64 = u64::min;
    MinS64: i64, i64 => i64 = i64::min;
    MaxU16: u32, u32 => u32 = |a, b| z16(a).max(z16(b));
    MaxS16: u32, u32 => u32 = |a, b| s16(a).max(s16(b)) as u32;
    MaxU32: u32, u32 => u32 = u32::max;
    MaxS32: i32, i32 => i32 = i32::max;
    MaxU64: u64, u64 => u64 = u64::max;
    MaxS64: i64, i64 => i64 = i64::max;
    And32: u32, u32 => u32 = |a, b| a & b;
    And64: u64, u64 => u64 = |a, b| a & b;
    Or32: u32, u32 => u32 = |a, b| a | b;
    Or64: u64, u64 => u64 = |a, b| a | b;
    Xor32: u32, u32 => u32 = |a, b| a ^ b;
    Xor64: u64, u64 => u64 = |a, b| a ^ b;
    Shl16: u32, u32 => u32 = |a, b| if b < 16 { a << (b & 15) } else { 0 };
    Shl32: u32, u32 => u32 = |a, b| if b < 32 { a << (b & 31) } else { 0 };
    Shl64: u64, u32 => u64 = |a, b| if b < 64 { a << (b & 63) } else { 0 };
    ShrU16: u32, u32 => u32 = |a, b| if b < 16 { z16(a) >> (b & 15) } else { 0 };
    ShrS16: u32, u32 => u32 = |a, b| (s16(a) >> b.min(15)) as u32;
    ShrU32: u32, u32 => u32 = |a, b| if b < 32 { a >> (b & 31) } else { 0 };
    ShrS32: i32, u32 => i32 = |a, b| a >> b.min(31);
    ShrU64: u64, u32 => u64 = |a, b| if b < 64 { a >> (b & 63) } else { 0 };
    ShrS64: i64, u32 => i64 = |a, b| a >> b.min(63);
    Pack64: u32, u32 => u64 = |a, b| u64::from(a) | u64::from(b) << 32;
    Pack32: u32, u32 => u32 = |a, b| z16(a) | b << 16;
}

op3! {
    Mad32: u32, u32, u32 => u32 = |a, b, c| a.wrapping_mul(b).wrapping_add(c);
    Mad64: u64, u64, u64 => u64 = |a, b, c| a.wrapping_mul(b).wrapping_add(c);
    MadHighU16: u32, u32, u32 => u32 = |a, b, c| {
        (z16(a).wrapping_mul(z16(b)) >> 16).wrapping_add(c)
    };
    MadHighS16: u32, u32, u32 => u32 = |a, b, c| {
        ((s16(a).wrapping_mul(s16(b)) >> 16) as u32).wrapping_add(c)
    };
    MadHighU32: u32, u32, u32 => u32 = |a, b, c| {
        (((u64::from(a) * u64::from(b)) >> 32) as u32).wrapping_add(c)
    };
    MadHighS32: i32, i32, u32 => u32 = |a, b, c| {
        (((i64::from(a) * i64::from(b)) >> 32) as u32).wrapping_add(c)
    };
    MadHighSat: i32, i32, i32 => i32 = |a, b, c| {
        (((i64::from(a) * i64::from(b)) >> 32) as i32).saturating_add(c)
    };
    MadHighU64: u64, u64, u64 => u64 = |a, b, c| {
        (((u128::from(a) * u128::from(b)) >> 64) as u64).wrapping_add(c)
    };
    MadHighS64: i64, i64, u64 => u64 = |a, b, c| {
        (((i128::from(a) * i128::from(b)) >> 64) as u64).wrapping_add(c)
    };
    MadWideU16: u32, u32, u32 => u32 = |a, b, c| z16(a).wrapping_mul(z16(b)).wrapping_add(c);
    MadWideS16: u32, u32, u32 => u32 = |a, b, c| {
        (s16(a).wrapping_mul(s16(b)) as u32).wrapping_add(c)
    };
    MadWideU32: u32, u32, u64 => u64 = |a, b, c| (u64::from(a) * u64::from(b)).wrapping_add(c);
    MadWideS32: i32, i32, i64 => i64 = |a, b, c| (i64::from(a) * i64::from(b)).wrapping_add(c);
    SadU32: u32, u32, u32 => u32 = |a, b, c| a.abs_diff(b).wrapping_add(c);
    SadS32: i32, i32, u32 => u32 = |a, b, c| a.abs_diff(b).wrapping_add(c);
    Xor3: u32, u32, u32 => u32 = |a, b, c| a ^ b ^ c;
    AndXor: u32, u32, u32 => u32 = |a, b, c| (a & b) ^ c;
    AndOr: u32, u32, u32 => u32 = |a, b, c| (a & b) | c;
    And3: u32, u32, u32 => u32 = |a, b, c| a & b & c;
    Or3: u32, u32, u32 => u32 = |a, b, c| a | b | c;
    OrAnd: u32, u32, u32 => u32 = |a, b, c| (a | b) & c;
    Choose: u32, u32, u32 => u32 = |a, b, c| (a & b) | (!a & c);
    Majority: u32, u32, u32 => u32 = |a, b, c| (a & b) | (a & c) | (b & c);
    FunnelLeftClamp: u32, u32, u32 => u32 = |a, b, c| {
        if c >= 32 { a } else { ((u64::from(b) << 32 | u64::from(a)) << c >> 32) as u32 }
    };
    FunnelLeftWrap: u32, u32, u32 => u32 = |a, b, c| {
        ((u64::from(b) << 32 | u64::from(a)) << (c & 31) >> 32) as u32
    };
    FunnelRightClamp: u32, u32, u32 => u32 = |a, b, c| {
        ((u64::from(b) << 32 | u64::from(a)) >> c.min(32)) as u32
    };
    FunnelRightWrap: u32, u32, u32 => u32 = |a, b, c| {
        ((u64::from(b) << 32 | u64::from(a)) >> (c & 31)) as u32
    };
    SelectSign32: u32, u32, i32 => u32 = |a, b, c| if c >= 0 { a } else { b };
    SelectSign64: u64, u64, i32 => u64 = |a, b, c| if c >= 0 { a } else { b };
    BitFieldU32: u32, u32, u32 => u32 = |a, b, c| {
        let (position, length) = (b & 255, c & 255);
        let shifted = if position < 32 { a >> (position & 31) } else { 0 };
        if length < 32 { shifted & !(!0 << (length & 31)) } else { shifted }
    };
}

/// Any three-input table, computed from its minterms.
struct Lop3;
impl Op3 for Lop3 {
    type A = u32;
    type B = u32;
    type C = u32;
    type R = u32;
    #[inline(always)]
    fn f(a: u32, b: u32, c: u32, table: u64) -> u32 {
        let table = table as u32;
        let term = |index: u32| 0_u32.wrapping_sub(table >> index & 1);
        let select = |when: u32, yes: u32, no: u32| (when & yes) | (!when & no);
        let low = select(b, select(c, term(3), term(2)), select(c, term(1), term(0)));
        let high = select(b, select(c, term(7), term(6)), select(c, term(5), term(4)));
        select(a, high, low)
    }
}

/// Code for a one-operand operation; `None`: scalar.
pub(crate) fn unary(op: UnaryOp, level: CpuLevel) -> Option<Execute> {
    use IntType as T;
    use Width::{B16, B32, B64};
    Some(match op {
        UnaryOp::Move(B16 | B32) => pick1::<Move32>(level),
        UnaryOp::Move(B64) => pick1::<Move64>(level),
        UnaryOp::Neg(T::S64 | T::U64) => pick1::<Neg64>(level),
        UnaryOp::Neg(_) => pick1::<Neg32>(level),
        UnaryOp::Abs(T::S16) => pick1::<Abs16>(level),
        UnaryOp::Abs(T::S32) => pick1::<Abs32>(level),
        UnaryOp::Abs(T::S64) => pick1::<Abs64>(level),
        UnaryOp::Not(B16 | B32) => pick1::<Not32>(level),
        UnaryOp::Not(B64) => pick1::<Not64>(level),
        UnaryOp::Cnot(B16) => pick1::<Cnot16>(level),
        UnaryOp::Cnot(B32) => pick1::<Cnot32>(level),
        UnaryOp::Cnot(B64) => pick1::<Cnot64>(level),
        UnaryOp::BitReverse(B32) => pick1::<BitReverse32>(level),
        UnaryOp::BitReverse(B64) => pick1::<BitReverse64>(level),
        UnaryOp::CountLeadingZeros(B32) => pick1::<LeadingZeros32>(level),
        UnaryOp::CountLeadingZeros(B64) => pick1::<LeadingZeros64>(level),
        UnaryOp::PopulationCount(B32) => pick1::<Population32>(level),
        UnaryOp::PopulationCount(B64) => pick1::<Population64>(level),
        UnaryOp::LowHalf64 => pick1::<LowHalf64>(level),
        UnaryOp::HighHalf64 => pick1::<HighHalf64>(level),
        UnaryOp::HighHalf32 => pick1::<HighHalf32>(level),
        _ => return None,
    })
}

macro_rules! by_type {
    (
        $pick:ident, $level:expr, $ty:expr,
        $u16:ident, $s16:ident, $u32:ident, $s32:ident, $u64:ident, $s64:ident
    ) => {
        match $ty {
            IntType::U16 => $pick::<$u16>($level),
            IntType::S16 => $pick::<$s16>($level),
            IntType::U32 => $pick::<$u32>($level),
            IntType::S32 => $pick::<$s32>($level),
            IntType::U64 => $pick::<$u64>($level),
            IntType::S64 => $pick::<$s64>($level),
            IntType::U8 | IntType::S8 => return None,
        }
    };
}

fn is_64(ty: IntType) -> bool {
    matches!(ty, IntType::U64 | IntType::S64)
}

/// Code for a two-operand operation; `None`: scalar.
pub(crate) fn binary(op: BinaryOp, level: CpuLevel) -> Option<Execute> {
    use BinaryOp as O;
    use IntType as T;
    use Width::{B16, B32, B64};
    Some(match op {
        O::Add(ty) if is_64(ty) => pick2::<Add64>(level),
        O::Add(_) => pick2::<Add32>(level),
        O::AddSaturate => pick2::<AddSat>(level),
        O::Sub(ty) if is_64(ty) => pick2::<Sub64>(level),
        O::Sub(_) => pick2::<Sub32>(level),
        O::SubSaturate => pick2::<SubSat>(level),
        O::MulLow(ty) if is_64(ty) => pick2::<Mul64>(level),
        O::MulLow(_) => pick2::<Mul32>(level),
        O::MulHigh(ty) => by_type!(
            pick2, level, ty, MulHighU16, MulHighS16, MulHighU32, MulHighS32, MulHighU64,
            MulHighS64
        ),
        O::MulWide(T::U16) => pick2::<MulWideU16>(level),
        O::MulWide(T::S16) => pick2::<MulWideS16>(level),
        O::MulWide(T::U32) => pick2::<MulWideU32>(level),
        O::MulWide(T::S32) => pick2::<MulWideS32>(level),
        O::Div(ty) => by_type!(
            pick2, level, ty, DivU16, DivS16, DivU32, DivS32, DivU64, DivS64
        ),
        O::Rem(ty) => by_type!(
            pick2, level, ty, RemU16, RemS16, RemU32, RemS32, RemU64, RemS64
        ),
        O::Min(ty) => by_type!(
            pick2, level, ty, MinU16, MinS16, MinU32, MinS32, MinU64, MinS64
        ),
        O::Max(ty) => by_type!(
            pick2, level, ty, MaxU16, MaxS16, MaxU32, MaxS32, MaxU64, MaxS64
        ),
        O::And(B16 | B32) => pick2::<And32>(level),
        O::And(B64) => pick2::<And64>(level),
        O::Or(B16 | B32) => pick2::<Or32>(level),
        O::Or(B64) => pick2::<Or64>(level),
        O::Xor(B16 | B32) => pick2::<Xor32>(level),
        O::Xor(B64) => pick2::<Xor64>(level),
        O::Shl(B16) => pick2::<Shl16>(level),
        O::Shl(B32) => pick2::<Shl32>(level),
        O::Shl(B64) => pick2::<Shl64>(level),
        O::Shr(ty) => by_type!(
            pick2, level, ty, ShrU16, ShrS16, ShrU32, ShrS32, ShrU64, ShrS64
        ),
        O::Pack64 => pick2::<Pack64>(level),
        O::Pack32 => pick2::<Pack32>(level),
        _ => return None,
    })
}

/// Code for a three-operand operation; `None`: scalar.
pub(crate) fn ternary(op: TernaryOp, level: CpuLevel) -> Option<Execute> {
    use IntType as T;
    use TernaryOp as O;
    Some(match op {
        O::MadLow(ty) if is_64(ty) => pick3::<Mad64>(level),
        O::MadLow(_) => pick3::<Mad32>(level),
        O::MadHigh(ty) => by_type!(
            pick3, level, ty, MadHighU16, MadHighS16, MadHighU32, MadHighS32, MadHighU64,
            MadHighS64
        ),
        O::MadHighSaturate => pick3::<MadHighSat>(level),
        O::MadWide(T::U16) => pick3::<MadWideU16>(level),
        O::MadWide(T::S16) => pick3::<MadWideS16>(level),
        O::MadWide(T::U32) => pick3::<MadWideU32>(level),
        O::MadWide(T::S32) => pick3::<MadWideS32>(level),
        O::Sad(T::U32) => pick3::<SadU32>(level),
        O::Sad(T::S32) => pick3::<SadS32>(level),
        O::Lop3(0x96) => pick3::<Xor3>(level),
        O::Lop3(0x6a) => pick3::<AndXor>(level),
        O::Lop3(0xea) => pick3::<AndOr>(level),
        O::Lop3(0x80) => pick3::<And3>(level),
        O::Lop3(0xfe) => pick3::<Or3>(level),
        O::Lop3(0xa8) => pick3::<OrAnd>(level),
        O::Lop3(0xca) => pick3::<Choose>(level),
        O::Lop3(0xe8) => pick3::<Majority>(level),
        O::Lop3(_) => pick3::<Lop3>(level),
        O::FunnelLeftClamp => pick3::<FunnelLeftClamp>(level),
        O::FunnelLeftWrap => pick3::<FunnelLeftWrap>(level),
        O::FunnelRightClamp => pick3::<FunnelRightClamp>(level),
        O::FunnelRightWrap => pick3::<FunnelRightWrap>(level),
        O::SelectSign(Width::B64) => pick3::<SelectSign64>(level),
        O::SelectSign(_) => pick3::<SelectSign32>(level),
        O::BitFieldExtract(T::U32) => pick3::<BitFieldU32>(level),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_of_lop3_is_right() {
        let (a, b, c) = (0xf0, 0xcc, 0xaa);
        for table in 0..=255_u8 {
            let out = Lop3::f(a, b, c, table.into());
            assert_eq!(out as u8, table, "{table:#x}");
        }
        assert_eq!(Xor3::f(a, b, c, 0) as u8, 0x96);
        assert_eq!(AndXor::f(a, b, c, 0) as u8, 0x6a);
        assert_eq!(AndOr::f(a, b, c, 0) as u8, 0xea);
        assert_eq!(And3::f(a, b, c, 0) as u8, 0x80);
        assert_eq!(Or3::f(a, b, c, 0) as u8, 0xfe);
        assert_eq!(OrAnd::f(a, b, c, 0) as u8, 0xa8);
        assert_eq!(Choose::f(a, b, c, 0) as u8, 0xca);
        assert_eq!(Majority::f(a, b, c, 0) as u8, 0xe8);
    }

    #[test]
    fn division_never_traps() {
        assert_eq!(DivS32::f(i32::MIN, -1, 0), i32::MIN);
        assert_eq!(DivS32::f(7, 0, 0), -1);
        assert_eq!(DivU64::f(7, 0, 0), u64::MAX);
        assert_eq!(DivS16::f(0x8000, 0xffff, 0) as u16, 0x8000);
        assert_eq!(RemS64::f(i64::MIN, -1, 0), 0);
        assert_eq!(RemU32::f(7, 0, 0), 7);
    }

    #[test]
    fn shifts_clamp() {
        assert_eq!(Shl32::f(1, 32, 0), 0);
        assert_eq!(Shl32::f(1, 31, 0), 1 << 31);
        assert_eq!(ShrS32::f(-8, 100, 0), -1);
        assert_eq!(ShrU64::f(u64::MAX, 64, 0), 0);
        assert_eq!(ShrS16::f(0xffff_8000, 40, 0) as u16, 0xffff);
        assert_eq!(FunnelLeftClamp::f(1, 2, 33, 0), 1);
        assert_eq!(FunnelLeftWrap::f(0x8000_0000, 2, 33, 0), 5);
        assert_eq!(FunnelRightClamp::f(1, 2, 40, 0), 2);
        assert_eq!(FunnelRightWrap::f(1, 2, 33, 0), 0);
    }

    #[test]
    fn products_keep_all_their_bits() {
        assert_eq!(MulHighS32::f(-1, 1, 0), u32::MAX);
        assert_eq!(MulHighU64::f(u64::MAX, u64::MAX, 0), u64::MAX - 1);
        assert_eq!(MulWideS16::f(0xffff, 2, 0) as i32, -2);
        assert_eq!(MadWideS32::f(-3, 5, 100, 0), 85);
        assert_eq!(BitFieldU32::f(0xffff_ffff, 4, 8, 0), 0xff);
        assert_eq!(BitFieldU32::f(0xffff_ffff, 32, 8, 0), 0);
        assert_eq!(BitFieldU32::f(0xffff_ffff, 4, 200, 0), 0x0fff_ffff);
    }
}
