// SPDX-License-Identifier: Apache-2.0
//! `setp`, `set`, `selp` and predicate logic.

use super::access::Element;
use super::code::{Code, More};
use super::float;
use super::lanes::{CompareOp, Execute, Lanes, Step, WARP, pick_compare, store};
use super::level::CpuLevel;
use super::level::{Level, predicate as p};
use super::scalar::{self, Function, Result, ScalarFn};
use crate::ir::{CompareOp as Op, FloatType, IntType, ScalarType};

struct Int<T, const P: u8>(std::marker::PhantomData<T>);
impl<T: super::level::CompareLane, const P: u8> CompareOp for Int<T, P> {
    type A = T;
    const PREDICATE: u8 = P;
}

struct U16<const P: u8>;
impl<const P: u8> CompareOp for U16<P> {
    type A = u32;
    const PREDICATE: u8 = P;
    const PREPARES: bool = true;
    #[inline(always)]
    fn prepare(a: u32) -> u32 {
        a & 0xffff
    }
}

struct S16<const P: u8>;
impl<const P: u8> CompareOp for S16<P> {
    type A = i32;
    const PREDICATE: u8 = P;
    const PREPARES: bool = true;
    #[inline(always)]
    fn prepare(a: i32) -> i32 {
        a as i16 as i32
    }
}

struct FlushF32<const P: u8>;
impl<const P: u8> CompareOp for FlushF32<P> {
    type A = f32;
    const PREDICATE: u8 = P;
    const PREPARES: bool = true;
    #[inline(always)]
    fn prepare(a: f32) -> f32 {
        float::flush(a)
    }
}

macro_rules! integer_code {
    ($level:expr, $op:expr, $kind:ident $(, $lane:ty)?) => {
        match $op {
            Op::Eq | Op::EqU => pick_compare::<$kind<$($lane,)? { p::EQ }>>($level),
            Op::Ne | Op::NeU => pick_compare::<$kind<$($lane,)? { p::NE }>>($level),
            Op::Lt | Op::LtU => pick_compare::<$kind<$($lane,)? { p::LT }>>($level),
            Op::Le | Op::LeU => pick_compare::<$kind<$($lane,)? { p::LE }>>($level),
            Op::Gt | Op::GtU => pick_compare::<$kind<$($lane,)? { p::GT }>>($level),
            Op::Ge | Op::GeU => pick_compare::<$kind<$($lane,)? { p::GE }>>($level),
            Op::Num | Op::Nan => return None,
        }
    };
}

macro_rules! float_code {
    ($level:expr, $op:expr, $kind:ident $(, $lane:ty)?) => {
        match $op {
            Op::Eq => pick_compare::<$kind<$($lane,)? { p::EQ }>>($level),
            Op::Ne => pick_compare::<$kind<$($lane,)? { p::NE }>>($level),
            Op::Lt => pick_compare::<$kind<$($lane,)? { p::LT }>>($level),
            Op::Le => pick_compare::<$kind<$($lane,)? { p::LE }>>($level),
            Op::Gt => pick_compare::<$kind<$($lane,)? { p::GT }>>($level),
            Op::Ge => pick_compare::<$kind<$($lane,)? { p::GE }>>($level),
            Op::EqU => pick_compare::<$kind<$($lane,)? { p::EQU }>>($level),
            Op::NeU => pick_compare::<$kind<$($lane,)? { p::NEU }>>($level),
            Op::LtU => pick_compare::<$kind<$($lane,)? { p::LTU }>>($level),
            Op::LeU => pick_compare::<$kind<$($lane,)? { p::LEU }>>($level),
            Op::GtU => pick_compare::<$kind<$($lane,)? { p::GTU }>>($level),
            Op::GeU => pick_compare::<$kind<$($lane,)? { p::GEU }>>($level),
            Op::Num => pick_compare::<$kind<$($lane,)? { p::NUM }>>($level),
            Op::Nan => pick_compare::<$kind<$($lane,)? { p::NAN }>>($level),
        }
    };
}

/// Code of a `setp` whose operands are whole lanes; `None`: scalar.
pub(crate) fn vector(op: Op, ty: ScalarType, flush: bool, level: CpuLevel) -> Option<Execute> {
    Some(match ty {
        ScalarType::Int(IntType::U16) => integer_code!(level, op, U16),
        ScalarType::Int(IntType::S16) => integer_code!(level, op, S16),
        ScalarType::Int(IntType::U32) => integer_code!(level, op, Int, u32),
        ScalarType::Int(IntType::S32) => integer_code!(level, op, Int, i32),
        ScalarType::Int(IntType::U64) => integer_code!(level, op, Int, u64),
        ScalarType::Int(IntType::S64) => integer_code!(level, op, Int, i64),
        ScalarType::Float(FloatType::F32) if flush => float_code!(level, op, FlushF32),
        ScalarType::Float(FloatType::F32) => float_code!(level, op, Int, f32),
        ScalarType::Float(FloatType::F64) => float_code!(level, op, Int, f64),
        _ => return None,
    })
}

fn holds<T: PartialOrd>(op: Op, a: &T, b: &T) -> bool {
    use std::cmp::Ordering::{Equal, Greater, Less};
    let order = a.partial_cmp(b);
    match op {
        Op::Eq => order == Some(Equal),
        Op::Ne => matches!(order, Some(Less | Greater)),
        Op::Lt => order == Some(Less),
        Op::Le => matches!(order, Some(Less | Equal)),
        Op::Gt => order == Some(Greater),
        Op::Ge => matches!(order, Some(Greater | Equal)),
        Op::EqU => matches!(order, Some(Equal) | None),
        Op::NeU => order != Some(Equal),
        Op::LtU => matches!(order, Some(Less) | None),
        Op::LeU => order != Some(Greater),
        Op::GtU => matches!(order, Some(Greater) | None),
        Op::GeU => order != Some(Less),
        Op::Num => order.is_some(),
        Op::Nan => order.is_none(),
    }
}

/// One comparison of element bits.
fn element(op: Op, ty: ScalarType, flush: bool) -> impl Fn(u64, u64) -> bool + Send + Sync {
    move |a, b| match ty {
        ScalarType::Int(ty) => holds(op, &scalar::int_value(ty, a), &scalar::int_value(ty, b)),
        ScalarType::Float(ty) => holds(
            op,
            &scalar::widen(ty, a, flush),
            &scalar::widen(ty, b, flush),
        ),
    }
}

/// `setp` of any type: bit 0 the result, bit 1 its opposite.
pub(crate) fn exact(op: Op, ty: ScalarType, flush: bool) -> Function {
    let compare = element(op, ty, flush);
    Box::new(move |[a, b, ..]| if compare(a, b) { 0b01 } else { 0b10 })
}

/// `setp` of packed halves: bit 0 the low halves' result, bit 1 the high halves'.
pub(crate) fn packed(op: Op, ty: ScalarType, flush: bool) -> Function {
    let compare = element(op, ty, flush);
    Box::new(move |[a, b, ..]| {
        let low = compare(a & 0xffff, b & 0xffff);
        let high = compare(a >> 16 & 0xffff, b >> 16 & 0xffff);
        u64::from(low) | u64::from(high) << 1
    })
}

/// The value `set` gives for true.
pub(crate) fn true_value(ty: ScalarType) -> u64 {
    match ty {
        ScalarType::Int(ty) => u64::MAX >> (64 - scalar::int_bits(ty)),
        ScalarType::Float(FloatType::F16 | FloatType::F16x2) => 0x3c00,
        ScalarType::Float(FloatType::Bf16 | FloatType::Bf16x2) => 0x3f80,
        ScalarType::Float(FloatType::F32) => 1_f32.to_bits().into(),
        ScalarType::Float(FloatType::F64) => 1_f64.to_bits(),
    }
}

/// Whether a type has two elements.
pub(crate) fn is_packed(ty: ScalarType) -> bool {
    matches!(ty, ScalarType::Float(FloatType::F16x2 | FloatType::Bf16x2))
}

/// `set`: compares, combines with the instruction's third predicate, and writes a value.
///
/// # Safety
/// `code` was decoded for the running function.
pub(crate) unsafe fn run_set(lanes: &mut Lanes, code: &Code) -> Step {
    let More::Scalar(ScalarFn {
        function,
        sources,
        result: Result::Register(dst),
    }) = &code.more
    else {
        return Step::Fault;
    };
    for warp in 0..lanes.warps {
        // SAFETY: one word a warp; operands of the running function.
        unsafe {
            let mask = *lanes.active.add(warp);
            if mask == 0 {
                continue;
            }
            let a = scalar::read(lanes, sources[0], warp);
            let b = scalar::read(lanes, sources[1], warp);
            let third = code
                .combine
                .map(|combine| (combine, combine.source.word(lanes, warp)));
            let out = std::array::from_fn(|lane| {
                let bits = function([a[lane], b[lane], 0, 0]) as u32;
                let third = third.map(|(combine, word)| (combine, word >> lane & 1));
                let combined = |bit: u32| match third {
                    Some((combine, other)) => combine.apply(bit & 1, other),
                    None => bit & 1,
                };
                let low = u64::from(combined(bits)).wrapping_neg() & code.imm;
                let high = u64::from(combined(bits >> 1)).wrapping_neg() & code.imm;
                // Packed results put the second comparison into the high half.
                if code.second == super::code::Operand::NONE {
                    low
                } else {
                    low | high << 16
                }
            });
            super::atomic::put(lanes, *dst, warp, mask, &out);
        }
    }
    Step::Next
}

/// `selp`: `combine.source` selects.
pub(crate) trait SelectOp {
    type T: super::level::Lane;
}

pub(crate) struct Select32;
pub(crate) struct Select64;
impl SelectOp for Select32 {
    type T = u32;
}
impl SelectOp for Select64 {
    type T = u64;
}

/// # Safety
/// `code` was decoded for the running function; the CPU has level `L`.
#[inline(always)]
unsafe fn run_select<L: Level, O: SelectOp>(lanes: &mut Lanes, code: &Code) -> Step {
    // SAFETY: the caller's contract.
    unsafe {
        let Some(combine) = code.combine else {
            return Step::Fault;
        };
        let (mut a, step_a) = lanes.source::<O::T>(code.a);
        let (mut b, step_b) = lanes.source::<O::T>(code.b);
        let mut target = lanes.target::<O::T>(code.dst);
        for warp in 0..lanes.warps {
            let mask = *lanes.masks.add(warp);
            if mask != 0 {
                let select = combine.source.word(lanes, warp);
                let mut out = *b.cast::<[O::T; WARP]>();
                store::<L, O::T>(select, &*a.cast::<[O::T; WARP]>(), out.as_mut_ptr());
                store::<L, O::T>(mask, &out, target);
            }
            a = a.wrapping_add(step_a);
            b = b.wrapping_add(step_b);
            target = target.wrapping_add(WARP);
        }
    }
    Step::Next
}

super::lanes::versions!(
    run_select,
    SelectOp,
    pick_select,
    select_v4,
    select_v3,
    select_portable
);

/// `and.pred` and the like, and `mov.pred`: `dst = a op b` on words; without `combine`, `dst = a`.
///
/// # Safety
/// `code` was decoded for the running function.
pub(crate) unsafe fn run_predicate_logic(lanes: &mut Lanes, code: &Code) -> Step {
    let More::Predicate(first) = &code.more else {
        return Step::Fault;
    };
    for warp in 0..lanes.warps {
        // SAFETY: predicates of the running function.
        unsafe {
            let mask = *lanes.masks.add(warp);
            let mut bits = first.word(lanes, warp);
            if let Some(combine) = code.combine {
                bits = combine.apply(bits, combine.source.word(lanes, warp));
            }
            let word = lanes.predicate(code.dst.index() as u32).add(warp);
            *word = (*word & !mask) | (bits & mask);
        }
    }
    Step::Next
}

/// `addc` and relatives.
#[derive(Debug)]
pub(crate) struct Carry {
    pub(crate) subtract: bool,
    pub(crate) dst: Element,
    pub(crate) a: Element,
    pub(crate) b: Element,
    pub(crate) carry_in: Option<u32>,
    pub(crate) carry_out: Option<u32>,
}

/// # Safety
/// `code` was decoded for the running function.
pub(crate) unsafe fn run_carry(lanes: &mut Lanes, code: &Code) -> Step {
    let More::Carry(carry) = &code.more else {
        return Step::Fault;
    };
    for warp in 0..lanes.warps {
        // SAFETY: operands of the running function.
        unsafe {
            let mask = *lanes.masks.add(warp);
            if mask == 0 {
                continue;
            }
            let a = scalar::read(lanes, carry.a, warp);
            let b = scalar::read(lanes, carry.b, warp);
            // A subtraction adds the complement: its carry is set where nothing is borrowed.
            let inverted = if carry.subtract { u32::MAX } else { 0 };
            let incoming = carry
                .carry_in
                .map_or(0, |index| *lanes.predicate(index).add(warp) ^ inverted);
            let mut out = [0_u64; WARP];
            let mut outgoing = 0;
            for lane in 0..WARP {
                let bit = incoming >> lane & 1;
                let overflow = if carry.dst.wide {
                    let (x, y) = (a[lane], b[lane]);
                    let (value, first, second) = if carry.subtract {
                        let (half, first) = x.overflowing_sub(y);
                        let (value, second) = half.overflowing_sub(bit.into());
                        (value, first, second)
                    } else {
                        let (half, first) = x.overflowing_add(y);
                        let (value, second) = half.overflowing_add(bit.into());
                        (value, first, second)
                    };
                    out[lane] = value;
                    first | second
                } else {
                    let (x, y) = (a[lane] & 0xffff_ffff, b[lane] & 0xffff_ffff);
                    let value = if carry.subtract {
                        x.wrapping_sub(y).wrapping_sub(bit.into())
                    } else {
                        x + y + u64::from(bit)
                    };
                    out[lane] = value;
                    value >> 32 != 0
                };
                outgoing |= u32::from(overflow) << lane;
            }
            super::atomic::put(lanes, carry.dst, warp, mask, &out);
            if let Some(index) = carry.carry_out {
                let word = lanes.predicate(index).add(warp);
                *word = (*word & !mask) | ((outgoing ^ inverted) & mask);
            }
        }
    }
    Step::Next
}
