// SPDX-License-Identifier: Apache-2.0
//! Values that travel as 64 bits: the arguments and results of regular calls.

use crate::{CUarray, CUdevice, CUdeviceptr, CUmipmappedArray, CUsurfref, CUtexref};

/// A value that one 64-bit word can carry.
pub trait Scalar: Copy + Default {
    /// The word: integers extended by their own rule, floats by their bits.
    fn to_word(self) -> u64;

    /// The value, or nothing if the word is not one that [`Scalar::to_word`] makes.
    fn from_word(word: u64) -> Option<Self>;
}

macro_rules! unsigned {
    ($($ty:ty),*) => {$(
        impl Scalar for $ty {
            fn to_word(self) -> u64 {
                self as u64
            }

            fn from_word(word: u64) -> Option<Self> {
                word.try_into().ok()
            }
        }
    )*};
}

macro_rules! signed {
    ($($ty:ty),*) => {$(
        impl Scalar for $ty {
            fn to_word(self) -> u64 {
                i64::from(self).cast_unsigned()
            }

            fn from_word(word: u64) -> Option<Self> {
                word.cast_signed().try_into().ok()
            }
        }
    )*};
}

unsigned!(u8, u16, u32, u64, usize);
signed!(i8, i16, i32, i64);

impl Scalar for f32 {
    fn to_word(self) -> u64 {
        u64::from(self.to_bits())
    }

    fn from_word(word: u64) -> Option<Self> {
        word.try_into().ok().map(Self::from_bits)
    }
}

impl Scalar for f64 {
    fn to_word(self) -> u64 {
        self.to_bits()
    }

    fn from_word(word: u64) -> Option<Self> {
        Some(Self::from_bits(word))
    }
}

impl Scalar for CUdevice {
    fn to_word(self) -> u64 {
        self.0.to_word()
    }

    fn from_word(word: u64) -> Option<Self> {
        i32::from_word(word).map(Self)
    }
}

macro_rules! opaque {
    ($($ty:ident),*) => {$(
        impl Scalar for $ty {
            fn to_word(self) -> u64 {
                self.0
            }

            fn from_word(word: u64) -> Option<Self> {
                Some(Self(word))
            }
        }
    )*};
}

opaque!(CUarray, CUmipmappedArray, CUsurfref, CUtexref);

impl Scalar for CUdeviceptr {
    fn to_word(self) -> u64 {
        self.0
    }

    fn from_word(word: u64) -> Option<Self> {
        Some(Self(word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CUresult;

    fn returns<T: Scalar + PartialEq + core::fmt::Debug>(value: T) {
        assert_eq!(T::from_word(value.to_word()), Some(value));
    }

    #[test]
    fn words_return_the_value() {
        returns(-1_i32);
        returns(i64::MIN);
        returns(u32::MAX);
        returns(1.5_f32);
        returns(f64::NEG_INFINITY);
        returns(CUdevice(-1));
        returns(CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
    }

    #[test]
    fn words_out_of_range_are_refused() {
        assert_eq!(u8::from_word(256), None);
        assert_eq!(i32::from_word(1 << 31), None);
        assert_eq!(CUresult::from_word(1 << 32), None);
    }
}
