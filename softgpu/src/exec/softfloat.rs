// SPDX-License-Identifier: Apache-2.0
//! Floating-point arithmetic with any rounding direction, on integers.
//!
//! Used where the CPU has no direct equivalent: directed rounding, conversions between formats.
//! Exact: every result is the infinitely precise one rounded once.

use crate::ir::Rounding;

/// An IEEE 754 binary format (or bf16).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Format {
    pub(crate) exponent_bits: u32,
    pub(crate) mantissa_bits: u32,
    /// Result of invalid operations, and of operations on NaN that do not keep payloads.
    pub(crate) nan: u64,
    keeps_payload: bool,
}

pub(crate) const F16: Format = Format {
    exponent_bits: 5,
    mantissa_bits: 10,
    nan: 0x7fff,
    keeps_payload: false,
};
pub(crate) const BF16: Format = Format {
    exponent_bits: 8,
    mantissa_bits: 7,
    nan: 0x7fff,
    keeps_payload: false,
};
pub(crate) const F32: Format = Format {
    exponent_bits: 8,
    mantissa_bits: 23,
    nan: 0x7fff_ffff,
    keeps_payload: false,
};
pub(crate) const F64: Format = Format {
    exponent_bits: 11,
    mantissa_bits: 52,
    nan: 0xfff8_0000_0000_0000,
    keeps_payload: true,
};

/// A decoded number; a finite one is `mantissa * 2^exponent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Number {
    Nan(u64),
    Infinite {
        negative: bool,
    },
    Zero {
        negative: bool,
    },
    Finite {
        negative: bool,
        mantissa: u64,
        exponent: i32,
    },
}

impl Number {
    pub(crate) fn is_nan(self) -> bool {
        matches!(self, Self::Nan(_))
    }

    fn is_negative(self) -> bool {
        match self {
            Self::Nan(_) => false,
            Self::Infinite { negative }
            | Self::Zero { negative }
            | Self::Finite { negative, .. } => negative,
        }
    }

    fn negated(self) -> Self {
        match self {
            Self::Nan(bits) => Self::Nan(bits),
            Self::Infinite { negative } => Self::Infinite {
                negative: !negative,
            },
            Self::Zero { negative } => Self::Zero {
                negative: !negative,
            },
            Self::Finite {
                negative,
                mantissa,
                exponent,
            } => Self::Finite {
                negative: !negative,
                mantissa,
                exponent,
            },
        }
    }
}

impl Format {
    fn bias(self) -> i32 {
        (1 << (self.exponent_bits - 1)) - 1
    }

    pub(crate) fn sign_bit(self) -> u64 {
        1 << (self.exponent_bits + self.mantissa_bits)
    }

    pub(crate) fn infinity(self, negative: bool) -> u64 {
        let exponent = ((1 << self.exponent_bits) - 1) << self.mantissa_bits;
        if negative {
            exponent | self.sign_bit()
        } else {
            exponent
        }
    }

    fn largest(self, negative: bool) -> u64 {
        self.infinity(negative) - 1
    }

    fn zero(self, negative: bool) -> u64 {
        if negative { self.sign_bit() } else { 0 }
    }

    pub(crate) fn is_subnormal(self, bits: u64) -> bool {
        let magnitude = bits & (self.sign_bit() - 1);
        magnitude != 0 && magnitude >> self.mantissa_bits == 0
    }

    /// Flushes a subnormal to zero of the same sign.
    pub(crate) fn flushed(self, bits: u64) -> u64 {
        if self.is_subnormal(bits) {
            bits & self.sign_bit()
        } else {
            bits
        }
    }

    pub(crate) fn unpack(self, bits: u64) -> Number {
        let negative = bits & self.sign_bit() != 0;
        let fraction = bits & ((1 << self.mantissa_bits) - 1);
        let biased = (bits >> self.mantissa_bits & ((1 << self.exponent_bits) - 1)) as i32;
        let quantum = 1 - self.bias() - self.mantissa_bits as i32;
        if biased == (1 << self.exponent_bits) - 1 {
            return if fraction == 0 {
                Number::Infinite { negative }
            } else {
                Number::Nan(bits)
            };
        }
        if biased == 0 {
            return if fraction == 0 {
                Number::Zero { negative }
            } else {
                Number::Finite {
                    negative,
                    mantissa: fraction,
                    exponent: quantum,
                }
            };
        }
        let mantissa = fraction | 1 << self.mantissa_bits;
        Number::Finite {
            negative,
            mantissa,
            exponent: quantum + biased - 1,
        }
    }

    /// Rounds `mantissa * 2^exponent` (plus a positive something below the last bit, if `sticky`).
    pub(crate) fn round(
        self,
        negative: bool,
        mut mantissa: u128,
        mut exponent: i32,
        sticky: bool,
        rounding: Rounding,
    ) -> u64 {
        if mantissa == 0 && !sticky {
            return self.zero(negative);
        }
        if sticky {
            // Room below, so that the sticky part is always under the rounding point.
            let room = mantissa.leading_zeros().saturating_sub(2);
            mantissa <<= room;
            exponent -= room as i32;
            mantissa |= 1;
        }
        let length = 128 - mantissa.leading_zeros() as i32;
        let leading = exponent + length - 1;
        let smallest = 1 - self.bias();
        let mut quantum = leading.max(smallest) - self.mantissa_bits as i32;
        let shift = quantum - exponent;
        let mut result = if shift <= 0 {
            mantissa << -shift
        } else {
            let (kept, rest, half) = if shift >= 128 {
                // Less than half a quantum, whatever it is: shift exceeds the length by far.
                (0, 1_u128, 2_u128)
            } else {
                let kept = mantissa >> shift;
                (kept, mantissa & ((1 << shift) - 1), 1_u128 << (shift - 1))
            };
            let up = match rounding {
                Rounding::NearestEven => rest > half || (rest == half && kept & 1 == 1),
                Rounding::NearestAway => rest >= half,
                Rounding::TowardZero => false,
                Rounding::Down => negative && rest != 0,
                Rounding::Up => !negative && rest != 0,
            };
            kept + u128::from(up)
        };
        if result >> (self.mantissa_bits + 1) != 0 {
            result >>= 1;
            quantum += 1;
        }
        let sign = self.zero(negative);
        if result >> self.mantissa_bits == 0 {
            return sign | result as u64;
        }
        let biased = quantum + self.mantissa_bits as i32 + self.bias();
        if biased >= (1 << self.exponent_bits) - 1 {
            return match (rounding, negative) {
                (Rounding::NearestEven | Rounding::NearestAway, _)
                | (Rounding::Down, true)
                | (Rounding::Up, false) => self.infinity(negative),
                _ => self.largest(negative),
            };
        }
        let fraction = result as u64 & ((1 << self.mantissa_bits) - 1);
        sign | (biased as u64) << self.mantissa_bits | fraction
    }

    /// The NaN that an operation on these operands gives.
    fn nan_of(self, operands: &[Number]) -> u64 {
        let quiet = 1 << (self.mantissa_bits - 1);
        let payload = operands.iter().find_map(|number| match number {
            Number::Nan(bits) => Some(bits | quiet),
            _ => None,
        });
        if self.keeps_payload {
            payload.unwrap_or(self.nan)
        } else {
            self.nan
        }
    }

    pub(crate) fn add(self, a: u64, b: u64, rounding: Rounding) -> u64 {
        self.sum(self.unpack(a), self.unpack(b), rounding)
    }

    pub(crate) fn sub(self, a: u64, b: u64, rounding: Rounding) -> u64 {
        self.sum(self.unpack(a), self.unpack(b).negated(), rounding)
    }

    fn sum(self, a: Number, b: Number, rounding: Rounding) -> u64 {
        match (a, b) {
            (
                Number::Finite {
                    negative: na,
                    mantissa: ma,
                    exponent: ea,
                },
                Number::Finite {
                    negative: nb,
                    mantissa: mb,
                    exponent: eb,
                },
            ) => self.sum_exact((na, ma.into(), ea), (nb, mb.into(), eb), rounding),
            _ => self.sum_special(a, b, rounding),
        }
    }

    fn sum_special(self, a: Number, b: Number, rounding: Rounding) -> u64 {
        match (a, b) {
            _ if a.is_nan() || b.is_nan() => self.nan_of(&[a, b]),
            (Number::Infinite { negative: x }, Number::Infinite { negative: y }) => {
                if x == y {
                    self.infinity(x)
                } else {
                    self.nan
                }
            }
            (Number::Infinite { negative }, _) | (_, Number::Infinite { negative }) => {
                self.infinity(negative)
            }
            (Number::Zero { negative: x }, Number::Zero { negative: y }) => self.zero(if x == y {
                x
            } else {
                rounding == Rounding::Down
            }),
            (
                Number::Finite {
                    negative,
                    mantissa,
                    exponent,
                },
                _,
            )
            | (
                _,
                Number::Finite {
                    negative,
                    mantissa,
                    exponent,
                },
            ) => self.round(negative, mantissa.into(), exponent, false, rounding),
            _ => self.nan,
        }
    }

    /// Sum of two non-zero numbers of at most 106 bits each.
    fn sum_exact(self, a: (bool, u128, i32), b: (bool, u128, i32), rounding: Rounding) -> u64 {
        let normalized = |(negative, mantissa, exponent): (bool, u128, i32)| {
            let shift = mantissa.leading_zeros() - 2;
            (negative, mantissa << shift, exponent - shift as i32)
        };
        let (mut big, mut small) = (normalized(a), normalized(b));
        if (big.2, big.1) < (small.2, small.1) {
            std::mem::swap(&mut big, &mut small);
        }
        let distance = (big.2 - small.2) as u32;
        let (shifted, sticky) = if distance >= 128 {
            (0, true)
        } else {
            let shifted = small.1 >> distance;
            (shifted, shifted << distance != small.1)
        };
        let (negative, mantissa) = if big.0 == small.0 {
            (big.0, big.1 + shifted)
        } else {
            // What was shifted out is subtracted too: one less, and something above that.
            (big.0, big.1 - shifted - u128::from(sticky))
        };
        if mantissa == 0 && !sticky {
            return self.zero(rounding == Rounding::Down);
        }
        self.round(negative, mantissa, big.2, sticky, rounding)
    }

    pub(crate) fn mul(self, a: u64, b: u64, rounding: Rounding) -> u64 {
        let (a, b) = (self.unpack(a), self.unpack(b));
        match self.product(a, b) {
            Ok((negative, mantissa, exponent)) => {
                self.round(negative, mantissa, exponent, false, rounding)
            }
            Err(Number::Infinite { negative }) => self.infinity(negative),
            Err(Number::Zero { negative }) => self.zero(negative),
            Err(_) => self.nan_of(&[a, b]),
        }
    }

    /// The exact product, or what special thing it is.
    fn product(self, a: Number, b: Number) -> Result<(bool, u128, i32), Number> {
        let negative = a.is_negative() != b.is_negative();
        match (a, b) {
            (Number::Nan(bits), _) | (_, Number::Nan(bits)) => Err(Number::Nan(bits)),
            (Number::Infinite { .. }, Number::Zero { .. })
            | (Number::Zero { .. }, Number::Infinite { .. }) => Err(Number::Nan(self.nan)),
            (Number::Infinite { .. }, _) | (_, Number::Infinite { .. }) => {
                Err(Number::Infinite { negative })
            }
            (Number::Zero { .. }, _) | (_, Number::Zero { .. }) => Err(Number::Zero { negative }),
            (
                Number::Finite {
                    mantissa: x,
                    exponent: ex,
                    ..
                },
                Number::Finite {
                    mantissa: y,
                    exponent: ey,
                    ..
                },
            ) => Ok((negative, u128::from(x) * u128::from(y), ex + ey)),
        }
    }

    pub(crate) fn fma(self, a: u64, b: u64, c: u64, rounding: Rounding) -> u64 {
        let (a, b, c) = (self.unpack(a), self.unpack(b), self.unpack(c));
        if a.is_nan() || b.is_nan() || c.is_nan() {
            return self.nan_of(&[a, b, c]);
        }
        match (self.product(a, b), c) {
            (
                Ok(product),
                Number::Finite {
                    negative,
                    mantissa,
                    exponent,
                },
            ) => self.sum_exact(product, (negative, mantissa.into(), exponent), rounding),
            (Ok((negative, mantissa, exponent)), Number::Zero { .. }) => {
                self.round(negative, mantissa, exponent, false, rounding)
            }
            (Ok(_), infinite) => self.infinity(infinite.is_negative()),
            (Err(Number::Nan(_)), _) => self.nan,
            (Err(special), c) => self.sum_special(special, c, rounding),
        }
    }

    pub(crate) fn div(self, a: u64, b: u64, rounding: Rounding) -> u64 {
        let (a, b) = (self.unpack(a), self.unpack(b));
        let negative = a.is_negative() != b.is_negative();
        match (a, b) {
            _ if a.is_nan() || b.is_nan() => self.nan_of(&[a, b]),
            (Number::Infinite { .. }, Number::Infinite { .. })
            | (Number::Zero { .. }, Number::Zero { .. }) => self.nan,
            (Number::Infinite { .. }, _) | (_, Number::Zero { .. }) => self.infinity(negative),
            (Number::Zero { .. }, _) | (_, Number::Infinite { .. }) => self.zero(negative),
            (
                Number::Finite {
                    mantissa: x,
                    exponent: ex,
                    ..
                },
                Number::Finite {
                    mantissa: y,
                    exponent: ey,
                    ..
                },
            ) => {
                let shift = u128::from(x).leading_zeros() - 1;
                let (dividend, divisor) = (u128::from(x) << shift, u128::from(y));
                let quotient = dividend / divisor;
                let sticky = dividend % divisor != 0;
                self.round(negative, quotient, ex - ey - shift as i32, sticky, rounding)
            }
            _ => self.nan,
        }
    }

    pub(crate) fn sqrt(self, a: u64, rounding: Rounding) -> u64 {
        match self.unpack(a) {
            number @ Number::Nan(_) => self.nan_of(&[number]),
            Number::Zero { negative } => self.zero(negative),
            Number::Infinite { negative: false } => self.infinity(false),
            Number::Finite {
                negative: false,
                mantissa,
                exponent,
            } => {
                let mut shift = u128::from(mantissa).leading_zeros() - 2;
                if (exponent - shift as i32) % 2 != 0 {
                    shift -= 1;
                }
                let radicand = u128::from(mantissa) << shift;
                let root = radicand.isqrt();
                let half = (exponent - shift as i32) / 2;
                self.round(false, root, half, root * root != radicand, rounding)
            }
            _ => self.nan,
        }
    }

    /// Converts from another format.
    pub(crate) fn convert(self, from: Self, bits: u64, rounding: Rounding) -> u64 {
        match from.unpack(bits) {
            Number::Nan(bits) if self.keeps_payload => {
                let negative = bits & from.sign_bit() != 0;
                let fraction = bits & ((1 << from.mantissa_bits) - 1);
                let quiet = 1 << (self.mantissa_bits - 1);
                let payload = fraction << (self.mantissa_bits - from.mantissa_bits);
                self.infinity(negative) | quiet | payload
            }
            Number::Nan(_) => self.nan,
            Number::Infinite { negative } => self.infinity(negative),
            Number::Zero { negative } => self.zero(negative),
            Number::Finite {
                negative,
                mantissa,
                exponent,
            } => self.round(negative, mantissa.into(), exponent, false, rounding),
        }
    }

    /// Rounds to an integral value in the same format.
    pub(crate) fn round_to_integral(self, bits: u64, rounding: Rounding) -> u64 {
        let Number::Finite {
            negative,
            mantissa,
            exponent,
        } = self.unpack(bits)
        else {
            return if self.unpack(bits).is_nan() {
                self.nan_of(&[self.unpack(bits)])
            } else {
                bits
            };
        };
        if exponent >= 0 {
            return bits;
        }
        let integer = round_integer(negative, mantissa, exponent, rounding);
        self.round(negative, integer, 0, false, Rounding::NearestEven)
    }

    /// The integer nearest in the given direction, as sign and magnitude (magnitudes past 2¹²⁷
    /// saturate); `None` for NaN.
    pub(crate) fn to_integer(self, bits: u64, rounding: Rounding) -> Option<(bool, u128)> {
        match self.unpack(bits) {
            Number::Nan(_) => None,
            Number::Infinite { negative } => Some((negative, u128::MAX)),
            Number::Zero { negative } => Some((negative, 0)),
            Number::Finite {
                negative,
                mantissa,
                exponent,
            } => Some((
                negative,
                round_integer(negative, mantissa, exponent, rounding),
            )),
        }
    }
}

fn round_integer(negative: bool, mantissa: u64, exponent: i32, rounding: Rounding) -> u128 {
    if exponent >= 0 {
        return if exponent > 64 {
            u128::MAX
        } else {
            u128::from(mantissa) << exponent
        };
    }
    let shift = exponent.unsigned_abs();
    let (kept, rest, half) = if shift >= 64 {
        (0, 1_u128, 2_u128)
    } else {
        let mantissa = u128::from(mantissa);
        (
            mantissa >> shift,
            mantissa & ((1 << shift) - 1),
            1_u128 << (shift - 1),
        )
    };
    let up = match rounding {
        Rounding::NearestEven => rest > half || (rest == half && kept & 1 == 1),
        Rounding::NearestAway => rest >= half,
        Rounding::TowardZero => false,
        Rounding::Down => negative && rest != 0,
        Rounding::Up => !negative && rest != 0,
    };
    kept + u128::from(up)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Rounding::{Down, NearestEven, TowardZero, Up};

    /// Interesting bit patterns of a 32-bit float and pseudo-random ones.
    fn samples() -> Vec<u32> {
        let mut all = vec![
            0,
            1,
            2,
            0x7f_ffff,
            0x80_0000,
            0x80_0001,
            0x3f80_0000,
            0x3f80_0001,
            0x3f7f_ffff,
            0x7f7f_ffff,
            0x7f80_0000,
            0x7fc0_0001,
            0x4b80_0000,
            0x3300_0000,
            0x0040_0000,
        ];
        let mut state = 0x1234_5678_u32;
        for _ in 0..60 {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            all.push(state & 0x7fff_ffff);
        }
        all.iter()
            .flat_map(|&bits| [bits, bits | 1 << 31])
            .collect()
    }

    fn same(ours: u64, theirs: f32) {
        // By the bits of the value that the CPU made: the optimiser may answer `is_nan` from the
        // operands of an expression that it then evaluates another way.
        let bits = std::hint::black_box(theirs).to_bits();
        let is_nan = bits & 0x7fff_ffff > 0x7f80_0000;
        let theirs = if is_nan { 0x7fff_ffff } else { bits };
        assert_eq!(ours as u32, theirs, "{ours:#x} {theirs:#x}");
    }

    #[test]
    fn nearest_agrees_with_the_cpu() {
        let all = samples();
        for &x in &all {
            let a = f32::from_bits(x);
            // The compiler must not guess from the operand whether the root is NaN.
            same(
                F32.sqrt(x.into(), NearestEven),
                std::hint::black_box(a.sqrt()),
            );
            for &y in &all {
                let b = f32::from_bits(y);
                let (x, y) = (u64::from(x), u64::from(y));
                same(F32.add(x, y, NearestEven), a + b);
                same(F32.sub(x, y, NearestEven), a - b);
                same(F32.mul(x, y, NearestEven), a * b);
                same(F32.div(x, y, NearestEven), a / b);
                for &z in &all[..40] {
                    let c = f32::from_bits(z);
                    same(F32.fma(x, y, z.into(), NearestEven), a.mul_add(b, c));
                }
            }
        }
    }

    #[test]
    fn nearest_agrees_with_the_cpu_in_double_precision() {
        let all: Vec<u64> = samples()
            .windows(2)
            .map(|pair| u64::from(pair[0]) << 32 | u64::from(pair[1]))
            .filter(|&bits| !f64::from_bits(bits).is_nan())
            .collect();
        let same = |ours: u64, theirs: f64| {
            if theirs.is_nan() {
                assert!(f64::from_bits(ours).is_nan());
            } else {
                assert_eq!(ours, theirs.to_bits());
            }
        };
        for &x in &all {
            let a = f64::from_bits(x);
            same(F64.sqrt(x, NearestEven), a.sqrt());
            same(
                F32.convert(F64, x, NearestEven),
                f64::from_bits((a as f32).to_bits().into()),
            );
            for &y in &all {
                let b = f64::from_bits(y);
                same(F64.add(x, y, NearestEven), a + b);
                same(F64.mul(x, y, NearestEven), a * b);
                same(F64.div(x, y, NearestEven), a / b);
                same(
                    F64.fma(x, y, all[3], NearestEven),
                    a.mul_add(b, f64::from_bits(all[3])),
                );
            }
        }
    }

    #[test]
    fn directed_results_bracket_the_exact_one() {
        let all = samples();
        for &x in &all {
            for &y in &all {
                let (x, y) = (u64::from(x), u64::from(y));
                for f in [Format::add, Format::sub, Format::mul, Format::div] {
                    let at = |rounding| f32::from_bits(f(F32, x, y, rounding) as u32);
                    let (down, up, zero, near) =
                        (at(Down), at(Up), at(TowardZero), at(NearestEven));
                    if near.is_nan() {
                        assert!(down.is_nan() && up.is_nan() && zero.is_nan());
                        continue;
                    }
                    assert!(
                        down <= near && near <= up,
                        "{x:#x} {y:#x} {down:e} {near:e} {up:e}"
                    );
                    assert!(
                        down == up || down.next_up() == up,
                        "{x:#x} {y:#x} {down:e} {up:e}"
                    );
                    assert_eq!(zero.abs(), down.abs().min(up.abs()));
                }
            }
        }
    }

    #[test]
    fn exact_cancellation_is_minus_zero_only_when_rounding_down() {
        let one = u64::from(1_f32.to_bits());
        assert_eq!(F32.sub(one, one, NearestEven), 0);
        assert_eq!(F32.sub(one, one, Down), 1 << 31);
        assert_eq!(F32.add(0, 1 << 31, Down), 1 << 31);
        assert_eq!(F32.add(0, 1 << 31, Up), 0);
    }

    #[test]
    fn overflow_and_underflow_follow_the_direction() {
        let max = u64::from(f32::MAX.to_bits());
        assert_eq!(F32.add(max, max, TowardZero), max);
        assert_eq!(F32.add(max, max, Down), max);
        assert_eq!(F32.add(max, max, Up), F32.infinity(false));
        assert_eq!(F32.mul(1, 1, Up), 1);
        assert_eq!(F32.mul(1, 1, Down), 0);
        assert_eq!(F32.mul(1, 1 | 1 << 31, Down), 1 | 1 << 31);
    }

    #[test]
    fn halves_convert_exactly() {
        let to = |value: f32| F16.convert(F32, value.to_bits().into(), NearestEven);
        assert_eq!(to(1.0), 0x3c00);
        assert_eq!(to(65504.0), 0x7bff);
        assert_eq!(to(65520.0), 0x7c00);
        assert_eq!(to(65519.0), 0x7bff);
        assert_eq!(to(5.960_464_5e-8), 1);
        assert_eq!(to(2.980_232_2e-8), 0);
        assert_eq!(to(f32::NAN), 0x7fff);
        for bits in 0..=0xffff_u64 {
            let wide = F32.convert(F16, bits, NearestEven);
            if !F16.unpack(bits).is_nan() {
                assert_eq!(F16.convert(F32, wide, NearestEven), bits);
            }
        }
    }

    #[test]
    fn integers_round_in_every_direction() {
        let at = |value: f64, rounding| F64.to_integer(value.to_bits(), rounding);
        assert_eq!(at(2.5, NearestEven), Some((false, 2)));
        assert_eq!(at(2.5, Rounding::NearestAway), Some((false, 3)));
        assert_eq!(at(-2.5, Down), Some((true, 3)));
        assert_eq!(at(-2.5, Up), Some((true, 2)));
        assert_eq!(at(1e300, NearestEven), Some((false, u128::MAX)));
        assert_eq!(at(f64::NAN, NearestEven), None);
        let integral =
            |value: f64, rounding| f64::from_bits(F64.round_to_integral(value.to_bits(), rounding));
        assert_eq!(integral(-0.5, Up).to_bits(), (-0.0_f64).to_bits());
        assert_eq!(integral(0.7, NearestEven), 1.0);
        assert_eq!(integral(4.5e15 + 0.5, Down), 4.5e15);
    }
}
