// SPDX-License-Identifier: Apache-2.0
//! Rarer operations: one function call a lane.
//!
//! Each is a plain function on the bits of up to four operands; [`run_scalar`] applies it to the
//! lanes.

use super::access::Element;
use super::code::{Code, More, Operand};
use super::float;
use super::half::{self, Bf16, F16, Half};
use super::lanes::{Lanes, Step, WARP};
use super::softfloat::{self, Format};
use super::{float8, video};
use crate::ir::{
    BinaryOp, FloatClass, FloatMode, FloatType, IntType, MinMaxMode, PermuteMode, Rounding,
    TernaryOp, UnaryOp, Width,
};

/// Operand bits to result bits.
pub(crate) type Function = Box<dyn Fn([u64; 4]) -> u64 + Send + Sync>;

/// A scalar operation with its operands.
pub(crate) struct ScalarFn {
    pub(crate) function: Function,
    pub(crate) sources: Vec<Element>,
    pub(crate) result: Result,
}

/// Where the result goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Result {
    /// To a register.
    Register(Element),
    /// Bit 0 to the first predicate of the instruction, bit 1 to the second, each combined with the
    /// instruction's third.
    Predicates,
}

/// Applies a scalar function to the active lanes.
///
/// # Safety
/// `code` was decoded for the running function.
pub(crate) unsafe fn run_scalar(lanes: &mut Lanes, code: &Code) -> Step {
    let More::Scalar(scalar) = &code.more else {
        return Step::Fault;
    };
    for warp in 0..lanes.warps {
        // SAFETY: one word a warp.
        let mask = unsafe { *lanes.active.add(warp) };
        if mask == 0 {
            continue;
        }
        let mut inputs = [[0_u64; WARP]; 4];
        for (input, source) in inputs.iter_mut().zip(&scalar.sources) {
            // SAFETY: a source of the running function.
            *input = unsafe { read(lanes, *source, warp) };
        }
        let mut out = [0_u64; WARP];
        let mut left = mask;
        while left != 0 {
            let lane = left.trailing_zeros() as usize;
            left &= left - 1;
            out[lane] = (scalar.function)(inputs.map(|input| input[lane]));
        }
        // SAFETY: destinations of the running function.
        unsafe {
            match scalar.result {
                Result::Register(dst) => super::atomic::put(lanes, dst, warp, mask, &out),
                Result::Predicates => put_predicates(lanes, code, warp, mask, &out),
            }
        }
    }
    Step::Next
}

/// The bits of a source, one warp.
///
/// # Safety
/// The element is a source of the running function.
pub(crate) unsafe fn read(lanes: &Lanes, source: Element, warp: usize) -> [u64; WARP] {
    // SAFETY: the caller's contract.
    unsafe {
        if source.wide {
            let (from, stride) = lanes.source::<u64>(source.operand);
            *from.add(warp * stride).cast::<[u64; WARP]>()
        } else {
            let (from, stride) = lanes.source::<u32>(source.operand);
            let from = &*from.add(warp * stride).cast::<[u32; WARP]>();
            let mut out = [0; WARP];
            for lane in 0..WARP {
                out[lane] = u64::from(from[lane]);
            }
            out
        }
    }
}

/// # Safety
/// `code` was decoded for the running function.
unsafe fn put_predicates(
    lanes: &Lanes,
    code: &Code,
    warp: usize,
    mask: u32,
    results: &[u64; WARP],
) {
    // The first destination may be where the combined predicate lies, so that is read before.
    let combine = code.combine.map(|combine| {
        // SAFETY: the caller's contract.
        (combine, unsafe { combine.source.word(lanes, warp) })
    });
    for (bit, dst) in [(0, code.dst), (1, code.second)] {
        if dst == Operand::NONE {
            continue;
        }
        let mut bits = 0;
        for (lane, result) in results.iter().enumerate() {
            bits |= ((result >> bit) as u32 & 1) << lane;
        }
        if let Some((combine, other)) = combine {
            bits = combine.apply(bits, other);
        }
        // SAFETY: the caller's contract.
        unsafe {
            let word = lanes.predicate(dst.index() as u32).add(warp);
            *word = (*word & !mask) | (bits & mask);
        }
    }
}

/// Bits of an integer type.
pub(crate) fn int_bits(ty: IntType) -> u32 {
    match ty {
        IntType::U8 | IntType::S8 => 8,
        IntType::U16 | IntType::S16 => 16,
        IntType::U32 | IntType::S32 => 32,
        IntType::U64 | IntType::S64 => 64,
    }
}

pub(crate) fn is_signed(ty: IntType) -> bool {
    matches!(ty, IntType::S8 | IntType::S16 | IntType::S32 | IntType::S64)
}

/// The value of the low bits.
pub(crate) fn int_value(ty: IntType, bits: u64) -> i128 {
    let unused = 64 - int_bits(ty);
    if is_signed(ty) {
        i128::from((bits << unused) as i64 >> unused)
    } else {
        i128::from(bits << unused >> unused)
    }
}

/// The format of one element.
pub(crate) fn format(ty: FloatType) -> Format {
    match ty {
        FloatType::F16 | FloatType::F16x2 => softfloat::F16,
        FloatType::Bf16 | FloatType::Bf16x2 => softfloat::BF16,
        FloatType::F32 => softfloat::F32,
        FloatType::F64 => softfloat::F64,
    }
}

fn is_packed(ty: FloatType) -> bool {
    matches!(ty, FloatType::F16x2 | FloatType::Bf16x2)
}

/// Applies an element operation to one value or to both halves.
fn elementwise(
    ty: FloatType,
    f: impl Fn(u64, u64, u64) -> u64 + Send + Sync + 'static,
) -> Function {
    if is_packed(ty) {
        Box::new(move |[a, b, c, _]| {
            let low = f(a & 0xffff, b & 0xffff, c & 0xffff);
            let high = f(a >> 16 & 0xffff, b >> 16 & 0xffff, c >> 16 & 0xffff);
            low | high << 16
        })
    } else {
        let mask = format(ty).sign_bit() << 1;
        let mask = mask.wrapping_sub(1);
        Box::new(move |[a, b, c, _]| f(a & mask, b & mask, c & mask))
    }
}

/// Clamps to [0, 1], NaN to 0.
fn saturate(format: Format, bits: u64) -> u64 {
    let one = format.convert(
        softfloat::F32,
        1_f32.to_bits().into(),
        Rounding::NearestEven,
    );
    if format.unpack(bits).is_nan() || bits & format.sign_bit() != 0 {
        0
    } else {
        bits.min(one)
    }
}

/// Wraps an element operation with `.ftz` and `.sat`.
fn with_mode(
    ty: FloatType,
    mode: FloatMode,
    f: impl Fn(u64, u64, u64) -> u64 + Send + Sync + 'static,
) -> Function {
    let format = format(ty);
    elementwise(ty, move |a, b, c| {
        let input = |bits| {
            if mode.flush {
                format.flushed(bits)
            } else {
                bits
            }
        };
        let result = input(f(input(a), input(b), input(c)));
        if mode.saturate {
            saturate(format, result)
        } else {
            result
        }
    })
}

/// Applies an f32 function to elements of any type through f32.
fn through_f32(ty: FloatType, flush: bool, f: fn(f32) -> f32) -> Function {
    let format = format(ty);
    let mode = FloatMode {
        flush,
        ..FloatMode::default()
    };
    with_mode(ty, mode, move |a, _, _| {
        let wide = softfloat::F32.convert(format, a, Rounding::NearestEven) as u32;
        let result = f(f32::from_bits(wide)).to_bits();
        format.convert(softfloat::F32, result.into(), Rounding::NearestEven)
    })
}

/// A one-operand operation.
pub(crate) fn unary(op: UnaryOp) -> Option<Function> {
    Some(match op {
        UnaryOp::Sqrt(ty, mode) => {
            with_mode(ty, mode, move |a, _, _| format(ty).sqrt(a, mode.rounding))
        }
        UnaryOp::Reciprocal(ty, mode) => {
            let format = format(ty);
            let one = format.convert(
                softfloat::F32,
                1_f32.to_bits().into(),
                Rounding::NearestEven,
            );
            with_mode(ty, mode, move |a, _, _| format.div(one, a, mode.rounding))
        }
        UnaryOp::FloatNeg { ty, flush } => {
            let mode = FloatMode {
                flush,
                ..FloatMode::default()
            };
            let format = format(ty);
            with_mode(ty, mode, move |a, _, _| a ^ format.sign_bit())
        }
        UnaryOp::FloatAbs { ty, flush } => {
            let mode = FloatMode {
                flush,
                ..FloatMode::default()
            };
            let format = format(ty);
            with_mode(ty, mode, move |a, _, _| a & !format.sign_bit())
        }
        UnaryOp::UnpackFloat8(from) => {
            Box::new(move |[a, ..]| float8::unpack(from, a as u16).into())
        }
        UnaryOp::Exp2 { ty, flush } => through_f32(ty, flush, float::exp2),
        UnaryOp::Tanh(ty) => through_f32(ty, false, float::tanh),
        UnaryOp::FindLeadingBit { ty, shift_amount } => Box::new(move |[a, ..]| {
            let bits = int_bits(ty);
            let unused = 64 - bits;
            let value = a << unused >> unused;
            let is_negative = is_signed(ty) && value >> (bits - 1) & 1 != 0;
            let value = if is_negative {
                !value << unused >> unused
            } else {
                value
            };
            let leading = u64::from(63_u32.wrapping_sub(value.leading_zeros()));
            match (value, shift_amount) {
                (0, _) => u64::from(u32::MAX),
                (_, false) => leading,
                (_, true) => u64::from(bits) - 1 - leading,
            }
        }),
        UnaryOp::Abs(ty) => Box::new(move |[a, ..]| int_value(ty, a).unsigned_abs() as u64),
        UnaryOp::CountLeadingZeros(Width::B16) => {
            Box::new(|[a, ..]| u64::from((a as u16).leading_zeros()))
        }
        UnaryOp::PopulationCount(Width::B16) => {
            Box::new(|[a, ..]| u64::from((a as u16).count_ones()))
        }
        UnaryOp::BitReverse(Width::B16) => Box::new(|[a, ..]| u64::from((a as u16).reverse_bits())),
        _ => return None,
    })
}

/// A two-operand operation.
pub(crate) fn binary(op: BinaryOp) -> Option<Function> {
    Some(match op {
        BinaryOp::FloatAdd(ty, mode) => {
            arithmetic(ty, mode, half::add::<F16>, half::add::<Bf16>, Format::add)
        }
        BinaryOp::FloatSub(ty, mode) => {
            arithmetic(ty, mode, half::sub::<F16>, half::sub::<Bf16>, Format::sub)
        }
        BinaryOp::FloatMul(ty, mode) => {
            arithmetic(ty, mode, half::mul::<F16>, half::mul::<Bf16>, Format::mul)
        }
        BinaryOp::FloatDiv(ty, mode) => {
            with_mode(ty, mode, move |a, b, _| format(ty).div(a, b, mode.rounding))
        }
        BinaryOp::FloatMin { ty, mode } => min_max(ty, mode, false),
        BinaryOp::FloatMax { ty, mode } => min_max(ty, mode, true),
        BinaryOp::PackFloat8 { to, relu } => {
            Box::new(move |[a, b, ..]| float8::pack(to, relu, a as u32, b as u32).into())
        }
        BinaryOp::CopySign(ty) => elementwise(ty, move |a, b, _| {
            let sign = format(ty).sign_bit();
            (b & !sign) | (a & sign)
        }),
        BinaryOp::Mul24Low(ty) => Box::new(move |[a, b, ..]| (mul24(ty, a, b)) as u32 as u64),
        BinaryOp::Mul24High(ty) => {
            Box::new(move |[a, b, ..]| (mul24(ty, a, b) >> 16) as u32 as u64)
        }
        BinaryOp::BitMaskClamp => Box::new(|[a, b, ..]| bit_mask(a.min(32), b.min(32))),
        BinaryOp::BitMaskWrap => Box::new(|[a, b, ..]| bit_mask(a & 31, b & 31)),
        BinaryOp::SignZeroExtendClamp(ty) => Box::new(move |[a, b, ..]| extend(ty, a, b.min(32))),
        BinaryOp::SignZeroExtendWrap(ty) => Box::new(move |[a, b, ..]| extend(ty, a, b & 31)),
        BinaryOp::MulWide(_)
        | BinaryOp::Add(_)
        | BinaryOp::Sub(_)
        | BinaryOp::MulLow(_)
        | BinaryOp::MulHigh(_) => return None,
        _ => return None,
    })
}

type HalfOp = fn(u16, u16) -> u16;

fn arithmetic(
    ty: FloatType,
    mode: FloatMode,
    f16: HalfOp,
    bf16: HalfOp,
    exact: fn(Format, u64, u64, Rounding) -> u64,
) -> Function {
    let is_nearest = mode.rounding == Rounding::NearestEven;
    match ty {
        FloatType::F16 | FloatType::F16x2 if is_nearest => {
            with_mode(ty, mode, move |a, b, _| f16(a as u16, b as u16).into())
        }
        FloatType::Bf16 | FloatType::Bf16x2 if is_nearest => {
            with_mode(ty, mode, move |a, b, _| bf16(a as u16, b as u16).into())
        }
        _ => with_mode(ty, mode, move |a, b, _| {
            exact(format(ty), a, b, mode.rounding)
        }),
    }
}

fn min_max(ty: FloatType, mode: MinMaxMode, is_max: bool) -> Function {
    let format = format(ty);
    let flush = FloatMode {
        flush: mode.flush,
        ..FloatMode::default()
    };
    let plain = move |a: u64, b: u64| -> u64 {
        match ty {
            FloatType::F64 => half::min_max_f64(is_max, a, b),
            FloatType::F32 => half::min_max_f32(is_max, a as u32, b as u32).into(),
            FloatType::F16 | FloatType::F16x2 => {
                half::min_max::<F16>(is_max, a as u16, b as u16).into()
            }
            FloatType::Bf16 | FloatType::Bf16x2 => {
                half::min_max::<Bf16>(is_max, a as u16, b as u16).into()
            }
        }
    };
    with_mode(ty, flush, move |a, b, _| {
        let is_nan = |bits| format.unpack(bits).is_nan();
        if (mode.nan && (is_nan(a) || is_nan(b))) || (is_nan(a) && is_nan(b)) {
            return format.nan;
        }
        if !mode.xor_sign {
            return plain(a, b);
        }
        let sign = format.sign_bit();
        plain(a & !sign, b & !sign) | ((a ^ b) & sign)
    })
}

fn mul24(ty: IntType, a: u64, b: u64) -> i128 {
    let value = |bits: u64| {
        let low = (bits & 0xff_ffff) as i128;
        if is_signed(ty) && bits >> 23 & 1 != 0 {
            low - (1 << 24)
        } else {
            low
        }
    };
    value(a) * value(b)
}

fn bit_mask(position: u64, width: u64) -> u64 {
    let ones = (1_u64 << width) - 1;
    if position >= 32 {
        0
    } else {
        ones << position & 0xffff_ffff
    }
}

fn extend(ty: IntType, value: u64, bits: u64) -> u64 {
    let value = value as u32;
    match bits {
        0 => 0,
        32.. => value.into(),
        _ => {
            let unused = 32 - bits as u32;
            if is_signed(ty) {
                ((value << unused) as i32 >> unused) as u32 as u64
            } else {
                u64::from(value << unused >> unused)
            }
        }
    }
}

/// A three-operand operation.
pub(crate) fn ternary(op: TernaryOp) -> Option<Function> {
    Some(match op {
        TernaryOp::Fma(ty, mode) => fused(ty, mode),
        TernaryOp::FmaRelu(ty) => {
            let fma = fused(ty, FloatMode::default());
            let format = format(ty);
            Box::new(move |operands| {
                let relu = |bits: u64| {
                    let negative = bits & format.sign_bit() != 0;
                    if format.unpack(bits).is_nan() {
                        format.nan
                    } else if negative {
                        0
                    } else {
                        bits
                    }
                };
                let value = fma(operands);
                if is_packed(ty) {
                    relu(value & 0xffff) | relu(value >> 16 & 0xffff) << 16
                } else {
                    relu(value)
                }
            })
        }
        TernaryOp::Video(video) => Box::new(move |[a, b, c, _]| {
            video::evaluate(&video, a as u32, b as u32, c as u32).into()
        }),
        TernaryOp::Mad24Low(ty) => {
            Box::new(move |[a, b, c, _]| (mul24(ty, a, b) as u32).wrapping_add(c as u32).into())
        }
        TernaryOp::Mad24High(ty) => Box::new(move |[a, b, c, _]| {
            ((mul24(ty, a, b) >> 16) as u32)
                .wrapping_add(c as u32)
                .into()
        }),
        TernaryOp::Sad(ty) => Box::new(move |[a, b, c, _]| {
            let distance = int_value(ty, a).abs_diff(int_value(ty, b)) as u64;
            c.wrapping_add(distance)
        }),
        TernaryOp::BitFieldExtract(ty) => Box::new(move |[a, b, c, _]| bit_field(ty, a, b, c)),
        TernaryOp::Permute(mode) => Box::new(move |[a, b, c, _]| permute(mode, a, b, c).into()),
        TernaryOp::FindNthSet => {
            Box::new(|[a, b, c, _]| find_nth_set(a as u32, b as u32, c as u32 as i32).into())
        }
        TernaryOp::DotProduct4 { a_signed, b_signed } => Box::new(move |[a, b, c, _]| {
            let byte = |bits: u64, index: u32, signed: bool| {
                let byte = (bits >> (8 * index)) as u8;
                if signed {
                    i64::from(byte as i8)
                } else {
                    i64::from(byte)
                }
            };
            let sum: i64 = (0..4)
                .map(|i| byte(a, i, a_signed) * byte(b, i, b_signed))
                .sum();
            (c as u32).wrapping_add(sum as u32).into()
        }),
        TernaryOp::DotProduct2 {
            a_signed,
            b_signed,
            high,
        } => Box::new(move |[a, b, c, _]| {
            let sum: i64 = (0..2)
                .map(|index| {
                    let half = (a >> (16 * index)) as u16;
                    let byte = (b >> (8 * index + if high { 16 } else { 0 })) as u8;
                    let x = if a_signed {
                        i64::from(half as i16)
                    } else {
                        i64::from(half)
                    };
                    let y = if b_signed {
                        i64::from(byte as i8)
                    } else {
                        i64::from(byte)
                    };
                    x * y
                })
                .sum();
            (c as u32).wrapping_add(sum as u32).into()
        }),
        TernaryOp::SelectSignFloat { flush, .. } => Box::new(move |[a, b, c, _]| {
            let c = f32::from_bits(c as u32);
            let c = if flush { float::flush(c) } else { c };
            if c >= 0.0 { a } else { b }
        }),
        _ => return None,
    })
}

fn fused(ty: FloatType, mode: FloatMode) -> Function {
    let is_nearest = mode.rounding == Rounding::NearestEven;
    match ty {
        FloatType::F16 | FloatType::F16x2 if is_nearest => with_mode(ty, mode, |a, b, c| {
            half::fma::<F16>(a as u16, b as u16, c as u16).into()
        }),
        FloatType::Bf16 | FloatType::Bf16x2 if is_nearest => with_mode(ty, mode, |a, b, c| {
            half::fma::<Bf16>(a as u16, b as u16, c as u16).into()
        }),
        _ => with_mode(ty, mode, move |a, b, c| {
            format(ty).fma(a, b, c, mode.rounding)
        }),
    }
}

/// `bfe`: past the top, the sign bit (signed) or zero.
fn bit_field(ty: IntType, a: u64, position: u64, length: u64) -> u64 {
    let bits = int_bits(ty);
    let unused = 64 - bits;
    let (position, length) = ((position & 255) as u32, (length & 255) as u32);
    if length == 0 {
        return 0;
    }
    let value = a << unused >> unused;
    let sign = is_signed(ty) && value >> (position + length - 1).min(bits - 1) & 1 != 0;
    let field = value.checked_shr(position).unwrap_or(0);
    let present = length.min(bits.saturating_sub(position));
    let mask = if present == 0 {
        0
    } else {
        u64::MAX >> (64 - present)
    };
    (field & mask) | if sign { !mask } else { 0 }
}

/// `bfi`.
pub(crate) fn bit_field_insert(width: Width) -> Function {
    let bits = if width == Width::B64 { 64 } else { 32 };
    Box::new(move |[a, b, position, length]| {
        let (position, length) = ((position & 255) as u32, (length & 255) as u32);
        let length = length.min(u32::saturating_sub(bits, position));
        if length == 0 {
            return b;
        }
        let mask = (u64::MAX >> (64 - length)) << position;
        (b & !mask) | (a << position & mask)
    })
}

fn permute(mode: PermuteMode, a: u64, b: u64, c: u64) -> u32 {
    let bytes = (a & 0xffff_ffff | b << 32).to_le_bytes();
    let select = c as u32;
    let low = (select & 3) as usize;
    let pick = |indices: [usize; 4]| u32::from_le_bytes(indices.map(|index| bytes[index]));
    match mode {
        PermuteMode::Index => {
            let byte = |index: u32| {
                let nibble = select >> (4 * index) & 15;
                let byte = bytes[(nibble & 7) as usize];
                if nibble & 8 != 0 {
                    (byte as i8 >> 7) as u8
                } else {
                    byte
                }
            };
            u32::from_le_bytes([byte(0), byte(1), byte(2), byte(3)])
        }
        PermuteMode::Forward4Extract => pick([low, low + 1, low + 2, low + 3]),
        PermuteMode::Backward4Extract => pick([low, (low + 7) & 7, (low + 6) & 7, (low + 5) & 7]),
        PermuteMode::Replicate8 => pick([low; 4]),
        PermuteMode::EdgeClampLeft => pick([low, low.max(1), low.max(2), 3]),
        PermuteMode::EdgeClampRight => pick([0, low.min(1), low.min(2), low]),
        PermuteMode::Replicate16 => {
            let half = (low & 1) * 2;
            pick([half, half + 1, half, half + 1])
        }
    }
}

/// Position of the n-th set bit from `base`: upwards for positive offsets (1: at or above base),
/// downwards for negative ones; offset 0 asks for base itself.
fn find_nth_set(mask: u32, base: u32, offset: i32) -> u32 {
    let base = base as i32;
    if offset == 0 {
        return if mask
            .checked_shr(base as u32)
            .is_some_and(|bits| bits & 1 != 0)
        {
            base as u32
        } else {
            u32::MAX
        };
    }
    let (step, mut left) = (offset.signum(), offset.unsigned_abs());
    let mut position = base;
    while (0..32).contains(&position) {
        if mask >> position & 1 != 0 {
            left -= 1;
            if left == 0 {
                return position as u32;
            }
        }
        position += step;
    }
    u32::MAX
}

/// `testp`: bit 0.
pub(crate) fn test_float(ty: FloatType, class: FloatClass) -> Function {
    let format = format(ty);
    elementwise(ty, move |a, _, _| {
        use softfloat::Number;
        let number = format.unpack(a);
        let is_finite = matches!(number, Number::Finite { .. } | Number::Zero { .. });
        u64::from(match class {
            FloatClass::Finite => is_finite,
            FloatClass::Infinite => matches!(number, Number::Infinite { .. }),
            FloatClass::Number => !number.is_nan(),
            FloatClass::NotANumber => number.is_nan(),
            FloatClass::Normal => {
                matches!(number, Number::Finite { .. }) && !format.is_subnormal(a)
            }
            FloatClass::Subnormal => format.is_subnormal(a),
        })
    })
}

/// Widens 16-bit element bits, for comparisons.
pub(crate) fn widen(ty: FloatType, bits: u64, flush: bool) -> f64 {
    let format = format(ty);
    let bits = if flush { format.flushed(bits) } else { bits };
    match ty {
        FloatType::F16 | FloatType::F16x2 => F16::widen(bits as u16).into(),
        FloatType::Bf16 | FloatType::Bf16x2 => Bf16::widen(bits as u16).into(),
        FloatType::F32 => f32::from_bits(bits as u32).into(),
        FloatType::F64 => f64::from_bits(bits),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(function: Option<Function>, operands: [u64; 4]) -> u64 {
        function.unwrap()(operands)
    }

    #[test]
    fn bit_fields() {
        let bfe = |ty, a, b, c| call(ternary(TernaryOp::BitFieldExtract(ty)), [a, b, c, 0]);
        assert_eq!(bfe(IntType::S32, 0xf0, 4, 4) as i32, -1);
        assert_eq!(bfe(IntType::S32, 0x70, 4, 4), 7);
        assert_eq!(bfe(IntType::S32, 0x8000_0000, 31, 8) as i32, -1);
        assert_eq!(bfe(IntType::S32, 0x8000_0000, 40, 8) as i32, -1);
        assert_eq!(bfe(IntType::S32, 0x7000_0000, 40, 8) as i32, 0);
        assert_eq!(bfe(IntType::S32, 0xffff_ffff, 3, 0), 0);
        assert_eq!(bfe(IntType::U64, u64::MAX, 60, 8), 15);
        assert_eq!(bfe(IntType::S64, 1 << 63, 63, 1), u64::MAX);
        let bfi = |a, b, c, d| bit_field_insert(Width::B32)([a, b, c, d]) as u32;
        assert_eq!(bfi(0xff, 0, 8, 4), 0xf00);
        assert_eq!(bfi(0xff, 7, 40, 4), 7);
        assert_eq!(bfi(0xff, 0, 28, 255), 0xf000_0000);
        assert_eq!(bit_field_insert(Width::B64)([3, 1, 32, 32]), 3 << 32 | 1);
    }

    #[test]
    fn permutations() {
        let prmt = |mode, a, b, c| call(ternary(TernaryOp::Permute(mode)), [a, b, c, 0]) as u32;
        let (a, b) = (0x8322_1100, 0x7766_5544);
        assert_eq!(prmt(PermuteMode::Index, a, b, 0x7531), 0x7755_8311);
        assert_eq!(prmt(PermuteMode::Index, a, b, 0x000b), 0x0000_00ff);
        assert_eq!(prmt(PermuteMode::Forward4Extract, a, b, 1), 0x4483_2211);
        assert_eq!(prmt(PermuteMode::Backward4Extract, a, b, 1), 0x6677_0011);
        assert_eq!(prmt(PermuteMode::Replicate8, a, b, 2), 0x2222_2222);
        assert_eq!(prmt(PermuteMode::EdgeClampLeft, a, b, 2), 0x8322_2222);
        assert_eq!(prmt(PermuteMode::EdgeClampRight, a, b, 1), 0x1111_1100);
        assert_eq!(prmt(PermuteMode::Replicate16, a, b, 1), 0x8322_8322);
    }

    #[test]
    fn leading_bits_and_nth_bits() {
        let find = |ty, shift_amount, a| {
            call(
                unary(UnaryOp::FindLeadingBit { ty, shift_amount }),
                [a, 0, 0, 0],
            ) as u32
        };
        assert_eq!(find(IntType::U32, false, 0), u32::MAX);
        assert_eq!(find(IntType::U32, false, 0x8000), 15);
        assert_eq!(find(IntType::U32, true, 0x8000), 16);
        assert_eq!(find(IntType::S32, false, u64::from(u32::MAX)), u32::MAX);
        assert_eq!(find(IntType::S32, false, (-3_i32) as u32 as u64), 1);
        assert_eq!(find(IntType::U64, false, 1 << 40), 40);
        assert_eq!(find_nth_set(0b1010_1010, 0, 2), 3);
        assert_eq!(find_nth_set(0b1010_1010, 3, 1), 3);
        assert_eq!(find_nth_set(0b1010_1010, 7, -2), 5);
        assert_eq!(find_nth_set(0b1010_1010, 2, 0), u32::MAX);
        assert_eq!(find_nth_set(0b1010_1010, 0, 5), u32::MAX);
    }

    #[test]
    fn dot_products_and_24_bit_products() {
        let dp4a = |a_signed, b_signed, a, b, c| {
            call(
                ternary(TernaryOp::DotProduct4 { a_signed, b_signed }),
                [a, b, c, 0],
            ) as u32
        };
        assert_eq!(dp4a(false, false, 0x0102_0304, 0x0101_0101, 5), 15);
        assert_eq!(dp4a(true, true, 0xffff_ffff, 0x0101_0101, 0) as i32, -4);
        assert_eq!(
            dp4a(false, true, 0xffff_ffff, 0xffff_ffff, 0) as i32,
            -4 * 255
        );
        let dp2a = |high| {
            let op = TernaryOp::DotProduct2 {
                a_signed: true,
                b_signed: false,
                high,
            };
            call(ternary(op), [0xffff_0002, 0x0403_0201, 10, 0]) as i32
        };
        assert_eq!((dp2a(false), dp2a(true)), (10 + 2 - 2, 10 + 6 - 4));
        let low = call(
            binary(BinaryOp::Mul24Low(IntType::S32)),
            [0xff_ffff, 3, 0, 0],
        );
        assert_eq!(low as i32, -3);
        let high = call(
            binary(BinaryOp::Mul24High(IntType::U32)),
            [0xff_ffff, 0xff_ffff, 0, 0],
        );
        assert_eq!(high, (0xff_ffff_u64 * 0xff_ffff) >> 16);
    }

    #[test]
    fn masks_and_extensions() {
        assert_eq!(call(binary(BinaryOp::BitMaskClamp), [4, 8, 0, 0]), 0xff0);
        assert_eq!(
            call(binary(BinaryOp::BitMaskClamp), [0, 40, 0, 0]),
            0xffff_ffff
        );
        assert_eq!(call(binary(BinaryOp::BitMaskWrap), [36, 33, 0, 0]), 0x10);
        let extend = BinaryOp::SignZeroExtendClamp(IntType::S32);
        assert_eq!(call(binary(extend), [0x80, 8, 0, 0]) as i32, -128);
    }

    #[test]
    fn halves_flush_saturate_and_clamp() {
        let mode = FloatMode {
            saturate: true,
            ..FloatMode::default()
        };
        let add = |a, b| {
            call(
                binary(BinaryOp::FloatAdd(FloatType::F16x2, mode)),
                [a, b, 0, 0],
            )
        };
        assert_eq!(add(0x4000_bc00, 0x4000_3800), 0x3c00_0000);
        let flush = FloatMode {
            flush: true,
            ..FloatMode::default()
        };
        let mul = |a, b| {
            call(
                binary(BinaryOp::FloatMul(FloatType::F16, flush)),
                [a, b, 0, 0],
            )
        };
        assert_eq!(mul(0x8001, 0x3c00), 0x8000);
        let relu = call(
            ternary(TernaryOp::FmaRelu(FloatType::F16x2)),
            [0xbc00_3c00, 0x3c00_3c00, 0, 0],
        );
        assert_eq!(relu, 0x0000_3c00);
        let mode = MinMaxMode {
            nan: true,
            ..MinMaxMode::default()
        };
        let op = BinaryOp::FloatMin {
            ty: FloatType::F16x2,
            mode,
        };
        assert_eq!(
            call(binary(op), [0x7e00_3c00, 0x3c00_4000, 0, 0]),
            0x7fff_3c00
        );
    }
}
