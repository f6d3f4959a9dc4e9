// SPDX-License-Identifier: Apache-2.0
//! Elements of arrays: their types, how they are written, and when two are the same.

use std::fmt::Write as _;

/// The format of a number with a binary point, in bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Format {
    exponent: u32,
    fraction: u32,
}

const F16: Format = Format {
    exponent: 5,
    fraction: 10,
};
const BF16: Format = Format {
    exponent: 8,
    fraction: 7,
};
const F32: Format = Format {
    exponent: 8,
    fraction: 23,
};
const F64: Format = Format {
    exponent: 11,
    fraction: 52,
};

/// The type of an array's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Type {
    /// Of one element.
    pub bytes: usize,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Bits,
    Unsigned,
    Signed,
    Float(Format),
    /// Two in the low and the high half.
    Pair(Format),
}

/// By how much a result may differ from what is expected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tolerance {
    /// Not at all; every NaN is the same if `nan` is expected.
    Exact,
    /// By this many units in the last place.
    Ulp(u64),
    /// By this part of the expected value.
    Relative(f64),
    /// By this much.
    Absolute(f64),
}

/// What an element must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    bits: u128,
    /// Which parts of it may be any NaN: the element or its low half, and its high half.
    any_nan: [bool; 2],
}

impl Format {
    const fn bits(self) -> u32 {
        1 + self.exponent + self.fraction
    }

    /// The bits of the nearest number that is not larger in magnitude, and whether it is `value`.
    fn encode(self, value: f64) -> (u64, bool) {
        let sign = u64::from(value.is_sign_negative()) << (self.bits() - 1);
        let infinity = ((1 << self.exponent) - 1) << self.fraction;
        if value.is_nan() {
            return (infinity | 1 << (self.fraction - 1), true);
        }
        if value.is_infinite() {
            return (sign | infinity, true);
        }
        // Magnitudes grow with their bits: the largest that is not above is found by halving.
        let (mut low, mut high) = (0, infinity);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if self.decode(middle) <= value.abs() {
                low = middle;
            } else {
                high = middle;
            }
        }
        (sign | low, self.decode(low) == value.abs())
    }

    fn decode(self, bits: u64) -> f64 {
        if self == F64 {
            return f64::from_bits(bits);
        }
        let fraction = bits & ((1 << self.fraction) - 1);
        let exponent = (bits >> self.fraction) & ((1 << self.exponent) - 1);
        let bias = (1 << (self.exponent - 1)) - 1;
        let scale = |power: i32| f64::from(power).exp2();
        let magnitude = match exponent as i32 {
            0 => fraction as f64 * scale(1 - bias - self.fraction as i32),
            e if e == (1 << self.exponent) - 1 => {
                if fraction == 0 {
                    f64::INFINITY
                } else {
                    f64::NAN
                }
            }
            e => (fraction | 1 << self.fraction) as f64 * scale(e - bias - self.fraction as i32),
        };
        if bits >> (self.bits() - 1) & 1 == 1 {
            -magnitude
        } else {
            magnitude
        }
    }

    /// Reads a decimal number. Those of single and double precision are rounded to the nearest, as
    /// everywhere; the others must be exact, or the file would depend on how they are rounded.
    fn parse(self, text: &str) -> Option<u64> {
        match self {
            F64 => Some(text.parse::<f64>().ok()?.to_bits()),
            F32 => Some(u64::from(text.parse::<f32>().ok()?.to_bits())),
            _ => match self.encode(text.parse().ok()?) {
                (bits, true) => Some(bits),
                _ => None,
            },
        }
    }

    /// The place among all numbers, so that neighbours differ by one; both zeros are the same.
    fn rank(self, bits: u64) -> i64 {
        let sign = 1_u64 << (self.bits() - 1);
        let magnitude = (bits & (sign - 1)) as i64;
        if bits & sign == 0 {
            magnitude
        } else {
            -magnitude
        }
    }

    fn same(self, got: u64, expected: u64, any_nan: bool, tolerance: Tolerance) -> bool {
        let (g, e) = (self.decode(got), self.decode(expected));
        if any_nan {
            return g.is_nan();
        }
        if g.is_nan() || e.is_nan() || g.is_infinite() || e.is_infinite() {
            return got == expected;
        }
        match tolerance {
            Tolerance::Exact => got == expected,
            Tolerance::Ulp(ulp) => self.rank(got).abs_diff(self.rank(expected)) <= ulp,
            Tolerance::Relative(part) => (g - e).abs() <= part * e.abs(),
            Tolerance::Absolute(distance) => (g - e).abs() <= distance,
        }
    }

    fn show(self, bits: u64) -> String {
        let value = self.decode(bits);
        let digits = self.bits() as usize / 4;
        format!("{value:?} (0x{bits:0digits$x})")
    }
}

impl Type {
    /// The type of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        let kind = match name {
            "pred" => return Self::from_name("u32"),
            "f16" => Kind::Float(F16),
            "bf16" => Kind::Float(BF16),
            "f32" => Kind::Float(F32),
            "f64" => Kind::Float(F64),
            "f16x2" => Kind::Pair(F16),
            "bf16x2" => Kind::Pair(BF16),
            _ => {
                let kind = match name.as_bytes().first()? {
                    b'b' => Kind::Bits,
                    b'u' => Kind::Unsigned,
                    b's' => Kind::Signed,
                    _ => return None,
                };
                let bits: usize = name[1..].parse().ok()?;
                let is_known =
                    matches!(bits, 8 | 16 | 32 | 64) || bits == 128 && kind == Kind::Bits;
                return is_known.then_some(Self {
                    bytes: bits / 8,
                    kind,
                });
            }
        };
        let bytes = match kind {
            Kind::Pair(format) => format.bits() / 4,
            Kind::Float(format) => format.bits() / 8,
            _ => 0,
        };
        Some(Self {
            bytes: bytes as usize,
            kind,
        })
    }

    /// Reads a word of a file: one value, or several of the same or a range.
    pub(super) fn parse(self, word: &str) -> Option<Vec<Expected>> {
        if let Some((first, end)) = word.split_once("..") {
            let (first, end): (i64, i64) = (first.parse().ok()?, end.parse().ok()?);
            return (first..end)
                .map(|value| self.parse_one(&value.to_string()))
                .collect();
        }
        let (value, count) = match word.split_once('*') {
            Some((value, count)) => (value, count.parse().ok()?),
            None => (word, 1),
        };
        Some(vec![self.parse_one(value)?; count])
    }

    fn parse_one(self, text: &str) -> Option<Expected> {
        if let Kind::Pair(format) = self.kind
            && let Some((low, high)) = text.split_once(',')
        {
            let part = |text: &str| parse_part(Kind::Float(format), format.bits(), text);
            let (low, high) = (part(low)?, part(high)?);
            return Some(Expected {
                bits: low.bits | high.bits << format.bits(),
                any_nan: [low.any_nan[0], high.any_nan[0]],
            });
        }
        parse_part(self.kind, self.bytes as u32 * 8, text)
    }

    /// Whether an array's bytes are what an element must be.
    pub(super) fn same(self, got: u128, expected: Expected, tolerance: Tolerance) -> bool {
        let Expected { bits, any_nan } = expected;
        match self.kind {
            Kind::Float(format) => format.same(got as u64, bits as u64, any_nan[0], tolerance),
            Kind::Pair(format) => {
                let mask = (1 << format.bits()) - 1;
                let halves = |bits: u128| [bits as u64 & mask, (bits >> format.bits()) as u64];
                let (got, bits) = (halves(got), halves(bits));
                (0..2).all(|half| format.same(got[half], bits[half], any_nan[half], tolerance))
            }
            _ => got == bits,
        }
    }

    /// An element for a reader.
    pub(super) fn show(self, bits: u128) -> String {
        let width = self.bytes * 8;
        match self.kind {
            Kind::Bits => format!("0x{bits:0digits$x}", digits = width / 4),
            Kind::Unsigned => bits.to_string(),
            Kind::Signed => {
                let up = 128 - width;
                ((bits << up) as i128 >> up).to_string()
            }
            Kind::Float(format) => format.show(bits as u64),
            Kind::Pair(format) => {
                let mut text = format.show(bits as u64 & ((1 << format.bits()) - 1));
                // Writing to a string succeeds.
                let _ = write!(text, ",{}", format.show((bits >> format.bits()) as u64));
                text
            }
        }
    }
}

/// Reads one number of at most `width` bits.
fn parse_part(kind: Kind, width: u32, text: &str) -> Option<Expected> {
    let plain = |bits| Expected {
        bits,
        any_nan: [false; 2],
    };
    let mask = u128::MAX >> (128 - width);
    if let Some(digits) = text.strip_prefix("0x") {
        let bits = u128::from_str_radix(digits, 16).ok()?;
        return (bits <= mask).then(|| plain(bits));
    }
    match kind {
        Kind::Pair(_) => None,
        Kind::Float(format) => Some(Expected {
            bits: u128::from(format.parse(text)?),
            any_nan: [text == "nan", false],
        }),
        Kind::Bits if text.starts_with('-') => None,
        Kind::Bits | Kind::Unsigned => {
            let value: u128 = text.parse().ok()?;
            (value <= mask).then(|| plain(value))
        }
        Kind::Signed => {
            let value: i128 = text.parse().ok()?;
            let half = 1_i128 << (width - 1);
            (-half..half)
                .contains(&value)
                .then(|| plain(value as u128 & mask))
        }
    }
}

impl Tolerance {
    /// Reads `~2ulp`, `~1e-6rel` or `~1e-6abs`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('~')?;
        if let Some(number) = text.strip_suffix("ulp") {
            return number.parse().ok().map(Self::Ulp);
        }
        if let Some(number) = text.strip_suffix("rel") {
            return number.parse().ok().map(Self::Relative);
        }
        text.strip_suffix("abs")?.parse().ok().map(Self::Absolute)
    }
}

impl Expected {
    /// The bits, of a NaN the usual ones.
    pub(super) fn bits(self) -> u128 {
        self.bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, text: &str) -> Option<u128> {
        let values = Type::from_name(name)?.parse(text)?;
        (values.len() == 1).then(|| values[0].bits)
    }

    #[test]
    fn values_of_all_types_are_read() {
        assert_eq!(one("s32", "-1"), Some(0xffff_ffff));
        assert_eq!(one("u8", "256"), None);
        assert_eq!(one("s8", "-128"), Some(0x80));
        assert_eq!(one("s8", "128"), None);
        assert_eq!(one("b16", "0x8000"), Some(0x8000));
        assert_eq!(one("f32", "-0"), Some(0x8000_0000));
        assert_eq!(one("f64", "inf"), Some(0x7ff0_0000_0000_0000));
        assert_eq!(one("f16", "65504"), Some(0x7bff));
        assert_eq!(one("f16", "0.1"), None);
        assert_eq!(one("f16", "6e-8"), None);
        assert_eq!(one("f16", "5.9604644775390625e-8"), Some(1));
        assert_eq!(one("bf16", "-1.5"), Some(0xbfc0));
        assert_eq!(one("f16x2", "1,-inf"), Some(0xfc00_3c00));
        assert_eq!(one("b128", "0x1"), Some(1));
        assert_eq!(one("u24", "1"), None);
        let eight = Type::from_name("u32").and_then(|u32| u32.parse("7*8"));
        assert_eq!(eight.map(|values| values.len()), Some(8));
        let range = Type::from_name("s16").and_then(|s16| s16.parse("-2..2"));
        let range: Vec<_> = range.into_iter().flatten().map(|e| e.bits).collect();
        assert_eq!(range, [0xfffe, 0xffff, 0, 1]);
    }

    #[test]
    fn tolerance_does_not_reach_over_nan_and_infinity() {
        let f32 = Type::from_name("f32").expect("known");
        let same = |got: f32, expected: &str, tolerance: &str| {
            let expected = f32.parse(expected).expect("a number")[0];
            let tolerance = Tolerance::parse(tolerance).unwrap_or(Tolerance::Exact);
            f32.same(u128::from(got.to_bits()), expected, tolerance)
        };
        assert!(same(f32::NAN, "nan", ""));
        assert!(!same(1.0, "nan", "~9ulp"));
        assert!(!same(f32::MAX, "inf", "~9ulp"));
        assert!(same(1.0 + f32::EPSILON, "1", "~1ulp"));
        assert!(!same(1.0 + 2.0 * f32::EPSILON, "1", "~1ulp"));
        assert!(!same(-0.0, "0", ""));
        assert!(same(-0.0, "0", "~0ulp"));
        assert!(same(1.01, "1", "~0.02rel"));
        assert!(!same(1.01, "1", "~0.001abs"));
    }
}
