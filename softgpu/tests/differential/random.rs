// SPDX-License-Identifier: Apache-2.0
//! Random numbers, and values that find mistakes.

use super::types::Type;

/// A generator of pseudo-random numbers (splitmix64).
#[derive(Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// 64 random bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 33) as usize % limit
    }

    /// True this often in a hundred.
    pub(crate) fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// A value: an edge of the type, something small, or anything.
    pub(crate) fn value(&mut self, ty: Type) -> u64 {
        if ty.is_packed() {
            let part = if ty == Type::F16x2 {
                Type::F16
            } else {
                Type::Bf16
            };
            return self.value(part) << 16 | self.value(part);
        }
        match ty.format() {
            Some(format) => {
                let sign = self.next() & format.sign_bit();
                let infinity = format.infinity();
                let least_normal = 1 << format.fraction_bits;
                let magnitude = match self.below(20) {
                    0 => 0,
                    1 => 1,
                    2 => least_normal - 1,
                    3 => least_normal,
                    4 => infinity - 1,
                    5 => infinity,
                    6 => format.nan(),
                    7 => format.one(),
                    8 => format.one() - 1 + self.next() % 3,
                    9 => self.next() % least_normal,
                    10..13 => self.next() % infinity,
                    // Numbers near one, whose sums and products are of their own size.
                    _ => {
                        let spread = 8 << format.fraction_bits;
                        (format.one() - spread / 2) + self.next() % spread
                    }
                };
                magnitude | sign
            }
            None => {
                let bits = match self.below(10) {
                    0 => *self.pick(&[0, 1, 2, 31, 32, 33, 63, 64, 127, 128, 255, 256]),
                    1 => *self.pick(&[0x7f, 0x7fff, 0x7fff_ffff, 0x7fff_ffff_ffff_ffff]),
                    2 => *self.pick(&[0x80, 0x8000, 0x8000_0000, 0x8000_0000_0000_0000]),
                    3 => 0_u64.wrapping_sub(self.next() % 9),
                    4 | 5 => self.next() % 64,
                    6 => self.next() & self.next() & self.next(),
                    _ => self.next(),
                };
                bits & ty.mask()
            }
        }
    }
}
