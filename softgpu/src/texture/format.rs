// SPDX-License-Identifier: Apache-2.0
//! Texel formats: one, two or four equal channels.

use crate::exec::half::{F16, Half};

/// Longest texel in bytes.
pub(crate) const TEXEL_BYTES_MAX: usize = 16;

/// What one channel holds (`CUarray_format`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Channel {
    U8,
    U16,
    U32,
    S8,
    S16,
    S32,
    F16,
    F32,
    /// Always read as a fraction of its largest value.
    Unorm8,
    Unorm16,
    Snorm8,
    Snorm16,
}

impl Channel {
    pub(crate) const fn bytes(self) -> u32 {
        match self {
            Self::U8 | Self::S8 | Self::Unorm8 | Self::Snorm8 => 1,
            Self::U16 | Self::S16 | Self::F16 | Self::Unorm16 | Self::Snorm16 => 2,
            Self::U32 | Self::S32 | Self::F32 => 4,
        }
    }

    /// Whether texels can be read as they are only: integers of 32 bits are never promoted.
    pub(crate) const fn is_integer(self) -> bool {
        matches!(
            self,
            Self::U8 | Self::U16 | Self::U32 | Self::S8 | Self::S16 | Self::S32
        )
    }

    /// The channel's value.
    fn value(self, bits: u32, read: Read) -> u32 {
        let signed = match self.bytes() {
            1 => i32::from(bits as u8 as i8),
            2 => i32::from(bits as u16 as i16),
            _ => bits.cast_signed(),
        };
        let fraction = |value: i32, largest: f32| (value as f32 / largest).max(-1.0).to_bits();
        match (self, read) {
            (Self::F32, _) => bits,
            (Self::F16, _) => F16::widen(bits as u16).to_bits(),
            (Self::U8, Read::Fraction) | (Self::Unorm8, _) => fraction(bits as i32, 255.0),
            (Self::U16, Read::Fraction) | (Self::Unorm16, _) => fraction(bits as i32, 65535.0),
            (Self::S8, Read::Fraction) | (Self::Snorm8, _) => fraction(signed, 127.0),
            (Self::S16, Read::Fraction) | (Self::Snorm16, _) => fraction(signed, 32767.0),
            (Self::U8 | Self::U16 | Self::U32, _) => bits,
            (Self::S8 | Self::S16 | Self::S32, _) => signed.cast_unsigned(),
        }
    }
}

/// How integer texels are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// As they are.
    Element,
    /// Those of 8 and 16 bits as numbers from 0 or -1 to 1.
    Fraction,
}

/// A texel's four channels: bits of `f32`, or 32-bit integers.
pub(crate) type Texel = [u32; 4];

/// The format of a texel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Format {
    pub(crate) channel: Channel,
    /// 1, 2 or 4.
    pub(crate) channels: u32,
}

impl Format {
    pub(crate) const fn bytes(self) -> u32 {
        self.channel.bytes() * self.channels
    }

    /// Whether texels become floating-point numbers when read.
    pub(crate) const fn is_float(self, read: Read) -> bool {
        let is_wide = matches!(self.channel, Channel::U32 | Channel::S32);
        !self.channel.is_integer() || (matches!(read, Read::Fraction) && !is_wide)
    }

    /// The texel in `bytes`. Channels that the format does not have are 0, the fourth is 1.
    pub(crate) fn decode(self, bytes: &[u8; TEXEL_BYTES_MAX], read: Read, is_srgb: bool) -> Texel {
        let one = if self.is_float(read) {
            1.0_f32.to_bits()
        } else {
            1
        };
        let mut texel = [0, 0, 0, one];
        let size = self.channel.bytes() as usize;
        for channel in 0..self.channels as usize {
            let mut bits = [0; 4];
            bits[..size].copy_from_slice(&bytes[channel * size..][..size]);
            texel[channel] = self.channel.value(u32::from_le_bytes(bits), read);
        }
        let is_coded = matches!(self.channel, Channel::U8 | Channel::Unorm8);
        if is_srgb && is_coded && self.is_float(read) {
            for value in &mut texel[..3] {
                *value = linear_of_srgb(f32::from_bits(*value)).to_bits();
            }
        }
        texel
    }

    /// The bytes of a texel from four channels: bits of `f32` for formats of floating-point numbers
    /// and fractions, else integers, which are clamped. The conversion of `sust.p.b32`.
    pub(crate) fn encode(self, texel: Texel) -> [u8; TEXEL_BYTES_MAX] {
        let mut bytes = [0; TEXEL_BYTES_MAX];
        let size = self.channel.bytes() as usize;
        for (channel, value) in texel.iter().enumerate().take(self.channels as usize) {
            let value = self.stored(*value).to_le_bytes();
            bytes[channel * size..][..size].copy_from_slice(&value[..size]);
        }
        bytes
    }

    fn stored(self, value: u32) -> u32 {
        let float = f32::from_bits(value);
        let scaled = |least: f32, largest: f32| {
            // The conversion of NaN gives 0.
            let scaled = float.clamp(least, 1.0) * largest;
            (scaled.round_ties_even() as i32).cast_unsigned()
        };
        match self.channel {
            Channel::F16 => F16::narrow(float).into(),
            Channel::Unorm8 => scaled(0.0, 255.0),
            Channel::Unorm16 => scaled(0.0, 65535.0),
            Channel::Snorm8 => scaled(-1.0, 127.0),
            Channel::Snorm16 => scaled(-1.0, 32767.0),
            Channel::F32 | Channel::U32 | Channel::S32 => value,
            Channel::U8 => value.min(0xff),
            Channel::U16 => value.min(0xffff),
            Channel::S8 => clamp_signed(value, -128, 127),
            Channel::S16 => clamp_signed(value, -32768, 32767),
        }
    }
}

fn clamp_signed(value: u32, least: i32, largest: i32) -> u32 {
    value.cast_signed().clamp(least, largest).cast_unsigned()
}

/// IEC 61966-2-1's transfer function.
fn linear_of_srgb(value: f32) -> f32 {
    if value <= 0.04045 {
        value / 12.92
    } else {
        ((value + 0.055) / 1.055).powf(2.4)
    }
}
