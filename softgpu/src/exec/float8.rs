// SPDX-License-Identifier: Apache-2.0
//! Conversions of numbers of eight bits (PTX ISA, `cvt` with `.e4m3x2` and `.e5m2x2`).

use super::softfloat;
use crate::ir::{Float8, Rounding};

/// What every NaN becomes.
const NAN: u8 = 0x7f;

/// Bits of the fraction, the exponent of the least normal number, and the largest finite number.
const fn shape(format: Float8) -> (i32, i32, u8) {
    match format {
        Float8::E4m3 => (3, -6, 0x7e),
        Float8::E5m2 => (2, -14, 0x7b),
    }
}

/// Two numbers as f16, the low one first; NaN as the canonical one.
pub(crate) fn unpack(from: Float8, pair: u16) -> u32 {
    let [low, high] = pair.to_le_bytes();
    u32::from(to_f16(from, low)) | u32::from(to_f16(from, high)) << 16
}

fn to_f16(from: Float8, byte: u8) -> u16 {
    const F16_NAN: u16 = 0x7fff;
    let magnitude = byte & 0x7f;
    let sign = u16::from(byte & 0x80) << 8;
    match from {
        Float8::E4m3 if magnitude == 0x7f => F16_NAN,
        Float8::E5m2 if magnitude > 0x7c => F16_NAN,
        // The same exponent, a shorter fraction.
        Float8::E5m2 => sign | u16::from(magnitude) << 8,
        Float8::E4m3 => {
            let (fraction, least, _) = shape(from);
            let value = softfloat_value(magnitude, fraction, least);
            let bits = softfloat::F16.convert(
                softfloat::F32,
                value.to_bits().into(),
                Rounding::NearestEven,
            );
            sign | bits as u16
        }
    }
}

/// The value of a finite number without its sign.
fn softfloat_value(magnitude: u8, fraction: i32, least: i32) -> f32 {
    let exponent = i32::from(magnitude >> fraction);
    let digits = i32::from(magnitude) & ((1 << fraction) - 1);
    let (digits, exponent) = if exponent == 0 {
        (digits, least)
    } else {
        (digits | 1 << fraction, least + exponent - 1)
    };
    digits as f32 * ((exponent - fraction) as f32).exp2()
}

/// Two f32 rounded to nearest even, a into the high byte; what is too large becomes the largest
/// finite number.
pub(crate) fn pack(to: Float8, relu: bool, a: u32, b: u32) -> u16 {
    let byte = |bits| from_f32(to, relu, f32::from_bits(bits));
    u16::from_le_bytes([byte(b), byte(a)])
}

fn from_f32(to: Float8, relu: bool, value: f32) -> u8 {
    let (fraction, least, largest) = shape(to);
    if value.is_nan() {
        return NAN;
    }
    let sign = if value.is_sign_negative() { 0x80 } else { 0 };
    if relu && sign != 0 {
        return 0;
    }
    let magnitude = value.abs();
    let limit = softfloat_value(largest, fraction, least);
    if magnitude >= limit {
        return sign | largest;
    }
    // Magnitudes grow with their bytes; both the candidates and the middle between them are exact.
    let (mut low, mut high) = (0, largest);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if softfloat_value(middle, fraction, least) <= magnitude {
            low = middle;
        } else {
            high = middle;
        }
    }
    let [below, above] = [low, high].map(|byte| softfloat_value(byte, fraction, least));
    let middle = f32::midpoint(below, above);
    let rounds_up = magnitude > middle || magnitude == middle && low & 1 == 1;
    sign | if rounds_up { high } else { low }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_survives_the_way_to_f32_and_back() {
        for to in [Float8::E4m3, Float8::E5m2] {
            let (fraction, least, largest) = shape(to);
            for magnitude in 0..=largest {
                let value = softfloat_value(magnitude, fraction, least);
                assert_eq!(from_f32(to, false, value), magnitude);
                assert_eq!(from_f32(to, false, -value), magnitude | 0x80);
                assert_eq!(from_f32(to, true, -value), 0);
            }
            assert_eq!(from_f32(to, true, f32::NAN), NAN);
            assert_eq!(from_f32(to, false, f32::NEG_INFINITY), largest | 0x80);
        }
    }
}
