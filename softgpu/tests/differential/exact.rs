// SPDX-License-Identifier: Apache-2.0
//! Floating-point arithmetic by exact integers: every operation is done without error (or with a
//! sticky bit far below the last place) and rounded once. Slow, short, and shares nothing with the
//! executor.

/// A binary format of IEEE 754's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Format {
    /// Bits of the exponent field.
    pub(crate) exponent_bits: u32,
    /// Bits of the fraction field.
    pub(crate) fraction_bits: u32,
}

pub(crate) const F16: Format = Format::new(5, 10);
pub(crate) const BF16: Format = Format::new(8, 7);
pub(crate) const F32: Format = Format::new(8, 23);
pub(crate) const F64: Format = Format::new(11, 52);

/// Rounding modes of PTX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rounding {
    Nearest,
    Zero,
    Down,
    Up,
}

impl Rounding {
    pub(crate) const ALL: [Self; 4] = [Self::Nearest, Self::Zero, Self::Down, Self::Up];

    /// `.rn`, `.rz`, `.rm`, `.rp` without the dot.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nearest => "rn",
            Self::Zero => "rz",
            Self::Down => "rm",
            Self::Up => "rp",
        }
    }

    /// The suffix of CUDA's intrinsics.
    pub(crate) fn intrinsic(self) -> &'static str {
        match self {
            Self::Nearest => "rn",
            Self::Zero => "rz",
            Self::Down => "rd",
            Self::Up => "ru",
        }
    }

    /// Whether `magnitude` steps and a rest (in halves: below, exactly, above) go one step up.
    fn goes_up(self, negative: bool, odd: bool, rest: Rest) -> bool {
        match self {
            Self::Nearest => rest == Rest::Above || rest == Rest::Half && odd,
            Self::Zero => false,
            Self::Down => negative && rest != Rest::None,
            Self::Up => !negative && rest != Rest::None,
        }
    }
}

/// What lies below the last place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rest {
    None,
    Below,
    Half,
    Above,
}

/// A number: `mantissa * 2^exponent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Number {
    Nan,
    Infinite {
        negative: bool,
    },
    Finite {
        negative: bool,
        mantissa: u128,
        exponent: i32,
    },
}

use Number::{Finite, Infinite, Nan};

impl Format {
    const fn new(exponent_bits: u32, fraction_bits: u32) -> Self {
        Self {
            exponent_bits,
            fraction_bits,
        }
    }

    fn bias(self) -> i32 {
        (1 << (self.exponent_bits - 1)) - 1
    }

    fn exponent_mask(self) -> u64 {
        (1 << self.exponent_bits) - 1
    }

    pub(crate) fn sign_bit(self) -> u64 {
        1 << (self.exponent_bits + self.fraction_bits)
    }

    fn fields(self, bits: u64) -> (bool, u64, u64) {
        (
            bits & self.sign_bit() != 0,
            bits >> self.fraction_bits & self.exponent_mask(),
            bits & ((1 << self.fraction_bits) - 1),
        )
    }

    pub(crate) fn infinity(self) -> u64 {
        self.exponent_mask() << self.fraction_bits
    }

    pub(crate) fn nan(self) -> u64 {
        self.infinity() | 1 << (self.fraction_bits - 1)
    }

    pub(crate) fn one(self) -> u64 {
        (self.bias() as u64) << self.fraction_bits
    }

    pub(crate) fn is_nan(self, bits: u64) -> bool {
        let (_, exponent, fraction) = self.fields(bits);
        exponent == self.exponent_mask() && fraction != 0
    }

    pub(crate) fn is_subnormal(self, bits: u64) -> bool {
        let (_, exponent, fraction) = self.fields(bits);
        exponent == 0 && fraction != 0
    }

    /// A subnormal number becomes a zero of its sign.
    pub(crate) fn flush(self, bits: u64) -> u64 {
        if self.is_subnormal(bits) {
            bits & self.sign_bit()
        } else {
            bits
        }
    }

    /// Into [0, 1]; NaN is zero.
    pub(crate) fn saturate(self, bits: u64) -> u64 {
        if self.is_nan(bits) || bits & self.sign_bit() != 0 {
            0
        } else {
            bits.min(self.one())
        }
    }

    pub(crate) fn number(self, bits: u64) -> Number {
        let (negative, exponent, fraction) = self.fields(bits);
        let unit = 1 - self.bias() - self.fraction_bits as i32;
        if exponent == self.exponent_mask() {
            return if fraction == 0 {
                Infinite { negative }
            } else {
                Nan
            };
        }
        let (mantissa, exponent) = match exponent {
            0 => (fraction, unit),
            _ => (
                fraction | 1 << self.fraction_bits,
                unit + exponent as i32 - 1,
            ),
        };
        Finite {
            negative,
            mantissa: mantissa.into(),
            exponent,
        }
    }

    /// The bits of a number, rounded.
    pub(crate) fn round(self, number: Number, rounding: Rounding) -> u64 {
        let (negative, mantissa, exponent) = match number {
            Nan => return self.nan(),
            Infinite { negative } => return self.signed(negative, self.infinity()),
            Finite {
                negative,
                mantissa,
                exponent,
            } => (negative, mantissa, exponent),
        };
        if mantissa == 0 {
            return self.signed(negative, 0);
        }
        let length = 128 - mantissa.leading_zeros() as i32;
        let smallest = 1 - self.bias() - self.fraction_bits as i32;
        // Exponent of the last place.
        let place = (exponent + length - 1 - self.fraction_bits as i32).max(smallest);
        let steps = steps(mantissa, place - exponent, negative, rounding) as u64;
        // Carrying into the exponent field does the right thing.
        let hidden = u64::from(steps >> self.fraction_bits != 0);
        let field = (place - smallest) as u64 + hidden;
        let bits = (field << self.fraction_bits)
            .wrapping_add(steps)
            .wrapping_sub(hidden << self.fraction_bits);
        if bits < self.infinity() {
            return self.signed(negative, bits);
        }
        let to_infinity = match rounding {
            Rounding::Nearest => true,
            Rounding::Zero => false,
            Rounding::Down => negative,
            Rounding::Up => !negative,
        };
        self.signed(negative, self.infinity() - u64::from(!to_infinity))
    }

    fn signed(self, negative: bool, bits: u64) -> u64 {
        if negative {
            bits | self.sign_bit()
        } else {
            bits
        }
    }
}

/// `mantissa / 2^shift` as an integer, rounded.
fn steps(mantissa: u128, shift: i32, negative: bool, rounding: Rounding) -> u128 {
    if shift <= 0 {
        return mantissa << -shift;
    }
    if mantissa == 0 {
        return 0;
    }
    let (whole, rest) = if shift > 127 {
        (0, Rest::Below)
    } else {
        let half = 1_u128 << (shift - 1);
        let rest = mantissa & ((half << 1) - 1);
        let rest = match rest.cmp(&half) {
            _ if rest == 0 => Rest::None,
            std::cmp::Ordering::Less => Rest::Below,
            std::cmp::Ordering::Equal => Rest::Half,
            std::cmp::Ordering::Greater => Rest::Above,
        };
        (mantissa >> shift, rest)
    };
    whole + u128::from(rounding.goes_up(negative, whole & 1 != 0, rest))
}

impl Number {
    pub(crate) fn integer(value: i128) -> Self {
        Finite {
            negative: value < 0,
            mantissa: value.unsigned_abs(),
            exponent: 0,
        }
    }

    pub(crate) fn negated(self) -> Self {
        match self {
            Nan => Nan,
            Infinite { negative } => Infinite {
                negative: !negative,
            },
            Finite {
                negative,
                mantissa,
                exponent,
            } => Finite {
                negative: !negative,
                mantissa,
                exponent,
            },
        }
    }

    /// As an integer, rounded; anything too large saturates an `i128`.
    pub(crate) fn to_integer(self, rounding: Rounding) -> Option<i128> {
        match self {
            Nan => None,
            Infinite { negative } => Some(if negative { i128::MIN } else { i128::MAX }),
            Finite {
                negative,
                mantissa,
                exponent,
            } => {
                let magnitude = if mantissa != 0 && exponent > 70 {
                    i128::MAX
                } else {
                    steps(mantissa, -exponent, negative, rounding) as i128
                };
                Some(if negative { -magnitude } else { magnitude })
            }
        }
    }

    /// The top bit at place 124, so that sums do not overflow and places below are a sticky bit.
    fn normal(mantissa: u128, exponent: i32) -> (u128, i32) {
        let shift = mantissa.leading_zeros() as i32 - 3;
        (mantissa << shift, exponent - shift)
    }

    pub(crate) fn add(self, other: Self, rounding: Rounding) -> Self {
        let ((n, m, e), (o, p, f)) = match (self, other) {
            (Nan, _) | (_, Nan) => return Nan,
            (Infinite { negative: a }, Infinite { negative: b }) if a != b => return Nan,
            (Infinite { .. }, _) => return self,
            (_, Infinite { .. }) => return other,
            (
                Finite {
                    negative: n,
                    mantissa: m,
                    exponent: e,
                },
                Finite {
                    negative: o,
                    mantissa: p,
                    exponent: f,
                },
            ) => ((n, m, e), (o, p, f)),
        };
        if m == 0 && p == 0 {
            let negative = if n == o {
                n
            } else {
                rounding == Rounding::Down
            };
            return Finite {
                negative,
                mantissa: 0,
                exponent: 0,
            };
        }
        if m == 0 {
            return other;
        }
        if p == 0 {
            return self;
        }
        let (mut a, mut b) = ((n, Self::normal(m, e)), (o, Self::normal(p, f)));
        if (b.1.1, b.1.0) > (a.1.1, a.1.0) {
            std::mem::swap(&mut a, &mut b);
        }
        let (negative, (large, exponent)) = a;
        let (other_negative, (small, small_exponent)) = b;
        let shift = exponent - small_exponent;
        let small = if shift > 126 {
            1
        } else {
            small >> shift | u128::from(small & ((1 << shift) - 1) != 0)
        };
        if negative == other_negative {
            return Finite {
                negative,
                mantissa: large + small,
                exponent,
            };
        }
        let mantissa = large - small;
        let negative = if mantissa == 0 {
            rounding == Rounding::Down
        } else {
            negative
        };
        Finite {
            negative,
            mantissa,
            exponent,
        }
    }

    pub(crate) fn multiply(self, other: Self) -> Self {
        match (self, other) {
            (Nan, _) | (_, Nan) => Nan,
            (Infinite { .. }, Finite { mantissa: 0, .. })
            | (Finite { mantissa: 0, .. }, Infinite { .. }) => Nan,
            (Infinite { negative: a }, Infinite { negative: b } | Finite { negative: b, .. })
            | (Finite { negative: a, .. }, Infinite { negative: b }) => {
                Infinite { negative: a != b }
            }
            (
                Finite {
                    negative: a,
                    mantissa: m,
                    exponent: e,
                },
                Finite {
                    negative: b,
                    mantissa: n,
                    exponent: f,
                },
            ) => Finite {
                negative: a != b,
                mantissa: m * n,
                exponent: e + f,
            },
        }
    }

    pub(crate) fn divide(self, other: Self) -> Self {
        match (self, other) {
            (Nan, _) | (_, Nan) | (Infinite { .. }, Infinite { .. }) => Nan,
            (Finite { mantissa: 0, .. }, Finite { mantissa: 0, .. }) => Nan,
            (Infinite { negative: a }, Finite { negative: b, .. })
            | (
                Finite { negative: a, .. },
                Finite {
                    negative: b,
                    mantissa: 0,
                    ..
                },
            ) => Infinite { negative: a != b },
            (Finite { negative: a, .. }, Infinite { negative: b }) => Finite {
                negative: a != b,
                mantissa: 0,
                exponent: 0,
            },
            (
                Finite {
                    negative: a,
                    mantissa: m,
                    exponent: e,
                },
                Finite {
                    negative: b,
                    mantissa: n,
                    exponent: f,
                },
            ) => {
                let negative = a != b;
                if m == 0 {
                    return Finite {
                        negative,
                        mantissa: 0,
                        exponent: 0,
                    };
                }
                let (m, e) = Self::normal(m, e);
                Finite {
                    negative,
                    mantissa: (m / n) << 1 | u128::from(m % n != 0),
                    exponent: e - f - 1,
                }
            }
        }
    }

    pub(crate) fn square_root(self) -> Self {
        match self {
            Finite { mantissa: 0, .. } => self,
            Infinite { negative: false } => self,
            Finite {
                negative: false,
                mantissa,
                exponent,
            } => {
                let (mut m, mut e) = Self::normal(mantissa, exponent);
                if e & 1 != 0 {
                    (m, e) = (m << 1, e - 1);
                }
                let root = m.isqrt();
                Finite {
                    negative: false,
                    mantissa: root << 1 | u128::from(root * root != m),
                    exponent: e / 2 - 1,
                }
            }
            _ => Nan,
        }
    }

    /// Compares; `None` with a NaN.
    pub(crate) fn compare(self, other: Self) -> Option<std::cmp::Ordering> {
        use std::cmp::Ordering::{Equal, Greater, Less};
        let sign = |negative| if negative { Less } else { Greater };
        match (self, other) {
            (Nan, _) | (_, Nan) => None,
            (Infinite { negative: a }, Infinite { negative: b }) if a == b => Some(Equal),
            (Infinite { negative }, _) => Some(sign(negative)),
            (_, Infinite { negative }) => Some(sign(!negative)),
            _ => match self.add(other.negated(), Rounding::Nearest) {
                Finite { mantissa: 0, .. } => Some(Equal),
                Finite { negative, .. } => Some(sign(negative)),
                _ => None,
            },
        }
    }
}

/// The arithmetic against the CPU's own, where that has the same operation.
pub(crate) fn self_check(mut next: impl FnMut() -> u64, rounds: u32) {
    let nearest = Rounding::Nearest;
    for _ in 0..rounds {
        let [a, b, c] = [0; 3].map(|_| {
            let bits = next();
            // Exponents near each other, so that sums cancel.
            if next() & 1 == 0 {
                bits
            } else {
                bits & !(0x7f0 << 52) | 0x3f0 << 52
            }
        });
        let check = |what: &str, format: Format, exact: Number, native: u64| {
            let exact = format.round(exact, nearest);
            assert!(
                exact == native || format.is_nan(exact) && format.is_nan(native),
                "{what} of {a:#x} {b:#x} {c:#x}: {exact:#x}, the CPU says {native:#x}"
            );
        };
        let n = [a, b, c].map(|bits| F64.number(bits));
        let [x, y, z] = [a, b, c].map(f64::from_bits);
        check("f64 sum", F64, n[0].add(n[1], nearest), (x + y).to_bits());
        check("f64 product", F64, n[0].multiply(n[1]), (x * y).to_bits());
        check("f64 quotient", F64, n[0].divide(n[1]), (x / y).to_bits());
        check("f64 root", F64, n[0].square_root(), x.sqrt().to_bits());
        let fused = n[0].multiply(n[1]).add(n[2], nearest);
        check("f64 fma", F64, fused, x.mul_add(y, z).to_bits());
        check("f32 of f64", F32, n[0], (x as f32).to_bits().into());
        let n = [a, b, c].map(|bits| F32.number(bits >> 32));
        let [x, y, z] = [a, b, c].map(|bits| f32::from_bits((bits >> 32) as u32));
        let bits = |value: f32| u64::from(value.to_bits());
        check("f32 sum", F32, n[0].add(n[1], nearest), bits(x + y));
        check("f32 product", F32, n[0].multiply(n[1]), bits(x * y));
        check("f32 quotient", F32, n[0].divide(n[1]), bits(x / y));
        check("f32 root", F32, n[0].square_root(), bits(x.sqrt()));
        let fused = n[0].multiply(n[1]).add(n[2], nearest);
        check("f32 fma", F32, fused, bits(x.mul_add(y, z)));
        assert_eq!(n[0].compare(n[1]), x.partial_cmp(&y));
    }
}
