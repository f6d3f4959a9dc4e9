// SPDX-License-Identifier: Apache-2.0
//! Video instructions (PTX ISA, Scalar and SIMD Video Instructions).

use crate::ir::{CompareOp, Video, VideoFinish, VideoOp};

/// What an instruction makes of its three operands.
pub(crate) fn evaluate(video: &Video, a: u32, b: u32, c: u32) -> u32 {
    let both = u64::from(a) | u64::from(b) << 32;
    if let VideoOp::MultiplyAdd { .. } = video.op {
        let x = part(both, video.a[0], video.bits[0], video.signed[1]);
        let y = part(both, video.b[0], video.bits[1], video.signed[2]);
        return multiply_add(video, x, y, c);
    }
    let lane_bits = 32 / u32::from(video.lanes);
    let mut result = [0_i128; 4];
    for (lane, value) in result.iter_mut().enumerate().take(video.lanes.into()) {
        let x = part(both, video.a[lane], video.bits[0], video.signed[1]);
        let y = part(both, video.b[lane], video.bits[1], video.signed[2]);
        *value = operate(video.op, x, y);
        if video.saturate {
            let bits = match video.finish {
                VideoFinish::Insert { length, .. } => length.into(),
                _ => lane_bits,
            };
            *value = clamp(*value, bits, video.signed[0]);
        }
    }
    finish(video, &result, c, lane_bits)
}

/// A part of the 64 bits `b:a`, extended by its sign or zeros.
fn part(both: u64, position: u8, bits: u8, signed: bool) -> i128 {
    extend(u128::from(both >> position), bits.into(), signed)
}

fn extend(value: u128, bits: u32, signed: bool) -> i128 {
    let unused = 128 - bits;
    if signed {
        (value << unused) as i128 >> unused
    } else {
        (value << unused >> unused) as i128
    }
}

fn clamp(value: i128, bits: u32, signed: bool) -> i128 {
    if signed {
        let half = 1 << (bits - 1);
        value.clamp(-half, half - 1)
    } else {
        value.clamp(0, (1 << bits) - 1)
    }
}

fn operate(op: VideoOp, x: i128, y: i128) -> i128 {
    let amount = |wrap: bool| if wrap { y & 31 } else { y.min(32) };
    match op {
        VideoOp::Add => x + y,
        VideoOp::Subtract => x - y,
        VideoOp::Average => {
            let sum = x + y;
            (sum + i128::from(sum >= 0)) >> 1
        }
        VideoOp::AbsoluteDifference => (x - y).abs(),
        VideoOp::Min => x.min(y),
        VideoOp::Max => x.max(y),
        VideoOp::ShiftLeft { wrap } => x << amount(wrap),
        VideoOp::ShiftRight { wrap } => x >> amount(wrap),
        VideoOp::Compare(op) => i128::from(match op {
            CompareOp::Eq => x == y,
            CompareOp::Ne => x != y,
            CompareOp::Lt => x < y,
            CompareOp::Le => x <= y,
            CompareOp::Gt => x > y,
            _ => x >= y,
        }),
        // It has three operands, and is done before.
        VideoOp::MultiplyAdd { .. } => 0,
    }
}

fn finish(video: &Video, result: &[i128; 4], c: u32, lane_bits: u32) -> u32 {
    // The documentation's intermediate results have 33 bits and a sign.
    let narrow = extend(result[0] as u128, 33, true);
    let wide_c = extend(c.into(), 32, video.signed[0]);
    let chosen = |mask: u8| (0..video.lanes).filter(move |lane| mask >> lane & 1 == 1);
    let insert = |value: i128, position: u32, length: u32, into: u32| {
        let ones = u32::MAX >> (32 - length);
        into & !(ones << position) | (value as u32 & ones) << position
    };
    match video.finish {
        VideoFinish::Result => result[0] as u32,
        VideoFinish::Add => (narrow + wide_c) as u32,
        VideoFinish::Min => narrow.min(wide_c) as u32,
        VideoFinish::Max => narrow.max(wide_c) as u32,
        VideoFinish::Insert { position, length } => {
            insert(result[0], position.into(), length.into(), c)
        }
        VideoFinish::Merge { mask } => chosen(mask).fold(c, |value, lane| {
            let position = u32::from(lane) * lane_bits;
            insert(result[usize::from(lane)], position, lane_bits, value)
        }),
        VideoFinish::Accumulate { mask } => chosen(mask).fold(c, |sum, lane| {
            sum.wrapping_add(result[usize::from(lane)] as u32)
        }),
    }
}

fn multiply_add(video: &Video, x: i128, y: i128, c: u32) -> u32 {
    let VideoOp::MultiplyAdd {
        negate_product,
        negate_c,
        plus_one,
        shift,
    } = video.op
    else {
        return 0;
    };
    let signed = video.signed[1] || video.signed[2] || negate_product || negate_c;
    let mut sum = x * y;
    let mut c = c;
    let mut one = i128::from(plus_one);
    if negate_product {
        sum = !sum;
        one = 1;
    } else if negate_c {
        c = !c;
        one = 1;
    }
    sum += extend(c.into(), 32, signed) + one;
    let value = sum >> shift;
    if video.saturate {
        clamp(value, 32, signed) as u32
    } else {
        value as u32
    }
}
