// SPDX-License-Identifier: Apache-2.0
//! Tensor maps: what a bulk tensor copy moves between global and shared memory.
//!
//! `CUtensorMap` is 128 opaque bytes; this is their layout on this device, little endian:
//!
//! | byte | field |
//! |---|---|
//! | 0 | mark |
//! | 4 | element type (`CUtensorMapDataType`), rank, swizzle, fill |
//! | 8 | address |
//! | 16 | extent of each dimension less one, 5 x 32 bits |
//! | 36 | traversal stride of each dimension, 5 x 8 bits; mode (0 tiled, 1 im2col) |
//! | 48 | bytes from one index to the next, dimensions 1 to 4, 4 x 64 bits |
//! | 80 | box, 5 x 16 bits; or lower corner, upper corner, 3 x 16 bits each, channels, pixels |

use crate::ir::{AtomicOp, AtomicType};

/// The NaN that f16 and bf16 elements outside of a tensor become: no NaN that arithmetic makes, and
/// the one for which `fma.rn.oob` gives 0.
pub(crate) const OUT_OF_BOUNDS_NAN_16: u64 = 0x7ff7;

/// Length of a map.
pub(crate) const MAP_BYTES: usize = 128;
/// Alignment of a map.
pub(crate) const MAP_ALIGNMENT_BYTES: u64 = 64;
/// Most dimensions.
pub(crate) const RANK_MAX: usize = 5;
/// What shared memory of a tensor copy is aligned to.
pub(crate) const SHARED_ALIGNMENT_BYTES: u64 = 128;
/// What rows in shared memory are a multiple of, and what swizzling moves as one.
pub(crate) const CHUNK_BYTES: usize = 16;

const MARK: u32 = 0x4d54_5647;

/// The type of the elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Element {
    U8,
    U16,
    U32,
    S32,
    U64,
    S64,
    F16,
    F32,
    F64,
    Bf16,
}

/// How 16-byte chunks change places in shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Swizzle {
    None,
    /// In spans of 32, 64 and 128 bytes.
    Span32,
    Span64,
    Span128,
}

/// What is copied, around the coordinates of an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A box of so many elements, before the traversal strides skip some.
    Tiled([u16; RANK_MAX]),
    /// Pixels of the dimensions between the channels (0) and the images (the last one), one row of
    /// channels each.
    Im2col {
        /// First place of the box of pixels, in dimensions 1 to 3.
        lower: [i16; 3],
        /// Last place of the box, from the last pixel of the tensor.
        upper: [i16; 3],
        channels: u16,
        pixels: u16,
    },
}

/// A tensor in global memory, and what a copy takes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TensorMap {
    pub(crate) element: Element,
    pub(crate) rank: usize,
    pub(crate) address: u64,
    /// Elements in each dimension, 1 beyond the rank.
    pub(crate) extent: [u64; RANK_MAX],
    /// Bytes between neighbours in each dimension.
    pub(crate) stride_bytes: [u64; RANK_MAX],
    /// Steps of the traversal.
    pub(crate) step: [u8; RANK_MAX],
    pub(crate) swizzle: Swizzle,
    /// Elements outside become NaN instead of zero.
    pub(crate) fills_nan: bool,
    pub(crate) shape: Shape,
}

/// A row of elements that are neighbours in global and in shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// Offset in the box in shared memory, before swizzling.
    pub(crate) offset: usize,
    /// Bytes of the row.
    pub(crate) bytes: usize,
    /// Where the row begins in global memory, which may be outside the tensor.
    pub(crate) address: u64,
    /// Bytes of the row that are inside the tensor.
    pub(crate) inside: [usize; 2],
}

impl Element {
    /// Of a `CUtensorMapDataType`, but for those that convert or unpack.
    pub(crate) const fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::U8,
            1 => Self::U16,
            2 => Self::U32,
            3 => Self::S32,
            4 => Self::U64,
            5 => Self::S64,
            6 => Self::F16,
            7 => Self::F32,
            8 => Self::F64,
            9 => Self::Bf16,
            _ => return None,
        })
    }

    pub(crate) const fn bytes(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::U16 | Self::F16 | Self::Bf16 => 2,
            Self::U32 | Self::S32 | Self::F32 => 4,
            Self::U64 | Self::S64 | Self::F64 => 8,
        }
    }

    pub(crate) const fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::F32 | Self::F64 | Self::Bf16)
    }

    /// The NaN that stands for elements outside.
    const fn nan(self) -> u64 {
        match self {
            Self::F64 => 0x7fff_ffff_ffff_ffff,
            Self::F32 => 0x7fff_ffff,
            _ => OUT_OF_BOUNDS_NAN_16,
        }
    }

    /// What `cp.reduce.async.bulk.tensor` does with such elements; `None` where PTX has no such
    /// operation (PTX ISA "cp.reduce.async.bulk.tensor").
    pub(crate) fn reduction(self, op: AtomicOp) -> Option<AtomicType> {
        let ty = match self {
            Self::U32 => AtomicType::U32,
            Self::S32 => AtomicType::S32,
            Self::U64 => AtomicType::U64,
            Self::S64 => AtomicType::S64,
            Self::F16 => AtomicType::F16,
            Self::Bf16 => AtomicType::Bf16,
            Self::F32 => AtomicType::F32,
            Self::F64 => AtomicType::F64,
            Self::U8 | Self::U16 => return None,
        };
        let is_known = match op {
            AtomicOp::Add => true,
            AtomicOp::Min | AtomicOp::Max => !matches!(ty, AtomicType::F32 | AtomicType::F64),
            AtomicOp::Inc | AtomicOp::Dec => ty == AtomicType::U32,
            AtomicOp::And | AtomicOp::Or | AtomicOp::Xor => !self.is_float(),
            _ => false,
        };
        is_known.then_some(ty)
    }
}

impl Swizzle {
    pub(crate) const fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::None,
            1 => Self::Span32,
            2 => Self::Span64,
            3 => Self::Span128,
            _ => return None,
        })
    }

    /// Bytes in which chunks change places.
    pub(crate) const fn span_bytes(self) -> Option<usize> {
        match self {
            Self::None => None,
            Self::Span32 => Some(32),
            Self::Span64 => Some(64),
            Self::Span128 => Some(128),
        }
    }

    /// Where in shared memory the chunk of an address lies.
    pub(crate) const fn apply(self, address: u64) -> u64 {
        let mask = match self {
            Self::None => 0,
            Self::Span32 => 1,
            Self::Span64 => 3,
            Self::Span128 => 7,
        };
        address ^ (address >> 7 & mask) << 4
    }
}

impl TensorMap {
    /// Elements of a row, and how many rows and planes a box has.
    fn tiled_lengths(&self, lengths: [u16; RANK_MAX]) -> [usize; RANK_MAX] {
        std::array::from_fn(|axis| {
            let length = usize::from(lengths[axis]);
            match axis {
                // Without interleaving there are no steps in the innermost dimension.
                0 => length,
                _ if axis < self.rank => length.div_ceil(usize::from(self.step[axis])),
                _ => 1,
            }
        })
    }

    /// Bytes in shared memory.
    pub(crate) fn box_bytes(&self) -> usize {
        let elements = match self.shape {
            Shape::Tiled(lengths) => self.tiled_lengths(lengths).iter().product(),
            Shape::Im2col {
                channels, pixels, ..
            } => usize::from(channels) * usize::from(pixels),
        };
        elements * self.element.bytes()
    }

    /// The rows of a copy at these coordinates; `offsets` are those of im2col.
    pub(crate) fn rows(&self, at: [i32; RANK_MAX], offsets: [u16; 3]) -> Vec<Row> {
        match self.shape {
            Shape::Tiled(lengths) => self.tiled_rows(at, self.tiled_lengths(lengths)),
            Shape::Im2col { .. } => self.pixel_rows(at, offsets),
        }
    }

    fn tiled_rows(&self, at: [i32; RANK_MAX], lengths: [usize; RANK_MAX]) -> Vec<Row> {
        let rows: usize = lengths[1..].iter().product();
        let place = |mut row: usize| {
            let mut place = at.map(i64::from);
            for axis in 1..RANK_MAX {
                place[axis] += (row % lengths[axis]) as i64 * i64::from(self.step[axis]);
                row /= lengths[axis];
            }
            place
        };
        (0..rows)
            .map(|row| self.row(row, lengths[0], place(row)))
            .collect()
    }

    /// Pixels one after the other: along each dimension of the box, then on in the next.
    fn pixel_rows(&self, at: [i32; RANK_MAX], offsets: [u16; 3]) -> Vec<Row> {
        let Shape::Im2col {
            lower,
            upper,
            channels,
            pixels,
        } = self.shape
        else {
            return Vec::new();
        };
        let spatial = 1..self.rank - 1;
        let mut pixel = at.map(i64::from);
        let mut rows = Vec::with_capacity(pixels.into());
        for row in 0..usize::from(pixels) {
            let mut place = pixel;
            for axis in spatial.clone() {
                place[axis] += i64::from(offsets[axis - 1]);
            }
            rows.push(self.row(row, channels.into(), place));
            for axis in spatial.clone() {
                pixel[axis] += i64::from(self.step[axis]);
                let last = self.extent[axis] as i64 - 1 + i64::from(upper[axis - 1]);
                if pixel[axis] <= last {
                    break;
                }
                pixel[axis] = lower[axis - 1].into();
                if axis + 1 == self.rank - 1 {
                    pixel[axis + 1] += 1;
                }
            }
        }
        rows
    }

    fn row(&self, index: usize, elements: usize, place: [i64; RANK_MAX]) -> Row {
        let size = self.element.bytes();
        let is_inside = (1..self.rank)
            .all(|axis| u64::try_from(place[axis]).is_ok_and(|place| place < self.extent[axis]));
        let offset: i64 = (0..self.rank)
            .map(|axis| place[axis].wrapping_mul(self.stride_bytes[axis].cast_signed()))
            .fold(0, i64::wrapping_add);
        let clamped = |limit: i64| limit.clamp(0, elements as i64) as usize * size;
        let inside = match is_inside {
            true => [
                clamped(-place[0]),
                clamped(self.extent[0] as i64 - place[0]),
            ],
            false => [0, 0],
        };
        Row {
            offset: index * elements * size,
            bytes: elements * size,
            address: self.address.wrapping_add_signed(offset),
            inside,
        }
    }

    /// What a chunk outside the tensor holds.
    pub(crate) fn fill(&self) -> [u8; CHUNK_BYTES] {
        let mut chunk = [0; CHUNK_BYTES];
        if self.fills_nan {
            let size = self.element.bytes();
            for element in chunk.chunks_mut(size) {
                element.copy_from_slice(&self.element.nan().to_le_bytes()[..size]);
            }
        }
        chunk
    }

    /// The opaque bytes.
    pub(crate) fn encode(&self) -> [u8; MAP_BYTES] {
        let mut bytes = [0; MAP_BYTES];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, &MARK.to_le_bytes());
        let is_im2col = matches!(self.shape, Shape::Im2col { .. });
        put(
            4,
            &[
                self.element as u8,
                self.rank as u8,
                self.swizzle as u8,
                self.fills_nan.into(),
            ],
        );
        put(8, &self.address.to_le_bytes());
        for axis in 0..RANK_MAX {
            let last = (self.extent[axis] - 1) as u32;
            put(16 + 4 * axis, &last.to_le_bytes());
            put(36 + axis, &[self.step[axis]]);
        }
        put(41, &[is_im2col.into()]);
        for axis in 1..RANK_MAX {
            put(40 + 8 * axis, &self.stride_bytes[axis].to_le_bytes());
        }
        match self.shape {
            Shape::Tiled(lengths) => {
                for (axis, length) in lengths.iter().enumerate() {
                    put(80 + 2 * axis, &length.to_le_bytes());
                }
            }
            Shape::Im2col {
                lower,
                upper,
                channels,
                pixels,
            } => {
                for (index, corner) in lower.iter().chain(&upper).enumerate() {
                    put(80 + 2 * index, &corner.to_le_bytes());
                }
                put(92, &channels.to_le_bytes());
                put(94, &pixels.to_le_bytes());
            }
        }
        bytes
    }

    /// The map in opaque bytes; `None` if [`TensorMap::encode`] has not made them.
    pub(crate) fn decode(bytes: &[u8; MAP_BYTES]) -> Option<Self> {
        let half = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let word = |at: usize| u32::from(half(at)) | u32::from(half(at + 2)) << 16;
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        let rank = usize::from(bytes[5]);
        let element = Element::from_number(bytes[4].into())?;
        let is_im2col = bytes[41] == 1;
        let least = if is_im2col { 3 } else { 1 };
        let step: [u8; RANK_MAX] = std::array::from_fn(|axis| bytes[36 + axis]);
        if word(0) != MARK || !(least..=RANK_MAX).contains(&rank) || step.contains(&0) {
            return None;
        }
        let shape = match is_im2col {
            true => {
                let corner = |at: usize| half(at).cast_signed();
                Shape::Im2col {
                    lower: std::array::from_fn(|axis| corner(80 + 2 * axis)),
                    upper: std::array::from_fn(|axis| corner(86 + 2 * axis)),
                    channels: half(92),
                    pixels: half(94),
                }
            }
            false => Shape::Tiled(std::array::from_fn(|axis| half(80 + 2 * axis))),
        };
        Some(Self {
            element,
            rank,
            address: long(8),
            extent: std::array::from_fn(|axis| u64::from(word(16 + 4 * axis)) + 1),
            stride_bytes: std::array::from_fn(|axis| match axis {
                0 => element.bytes() as u64,
                _ => long(40 + 8 * axis),
            }),
            step,
            swizzle: Swizzle::from_number(bytes[6].into())?,
            fills_nan: bytes[7] == 1,
            shape,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plane() -> TensorMap {
        TensorMap {
            element: Element::F32,
            rank: 2,
            address: 0x1000,
            extent: [10, 6, 1, 1, 1],
            stride_bytes: [4, 48, 0, 0, 0],
            step: [1; RANK_MAX],
            swizzle: Swizzle::Span64,
            fills_nan: true,
            shape: Shape::Tiled([4, 3, 1, 1, 1]),
        }
    }

    #[test]
    fn maps_come_back_from_their_bytes() {
        let map = plane();
        assert_eq!(TensorMap::decode(&map.encode()), Some(map));
        let pixels = TensorMap {
            rank: 4,
            shape: Shape::Im2col {
                lower: [-1, -2, 0],
                upper: [-1, 3, 0],
                channels: 8,
                pixels: 40,
            },
            ..map
        };
        assert_eq!(TensorMap::decode(&pixels.encode()), Some(pixels));
        assert_eq!(TensorMap::decode(&[0; MAP_BYTES]), None);
    }

    #[test]
    fn rows_outside_the_tensor_have_no_bytes_inside() {
        let rows = plane().rows([8, 4, 0, 0, 0], [0; 3]);
        let row = |offset, y: u64, inside| Row {
            offset,
            bytes: 16,
            address: 0x1000 + 48 * y + 32,
            inside,
        };
        assert_eq!(
            rows,
            [row(0, 4, [0, 8]), row(16, 5, [0, 8]), row(32, 6, [0, 0])]
        );
        let rows = plane().rows([-3, -1, 0, 0, 0], [0; 3]);
        assert_eq!(rows[0].inside, [0, 0]);
        assert_eq!((rows[1].inside, rows[1].address), ([12, 16], 0x1000 - 12));
    }

    #[test]
    fn pixels_go_on_in_the_next_row_and_image() {
        let map = TensorMap {
            element: Element::F32,
            rank: 4,
            address: 0,
            // Channels, columns, rows, images.
            extent: [4, 3, 2, 2, 1],
            stride_bytes: [4, 16, 48, 96, 0],
            step: [1; RANK_MAX],
            swizzle: Swizzle::None,
            fills_nan: false,
            // A filter of three columns and one row, padded by a column at each side.
            shape: Shape::Im2col {
                lower: [-1, 0, 0],
                upper: [-1, 0, 0],
                channels: 4,
                pixels: 7,
            },
        };
        let rows = map.rows([0, -1, 0, 0, 0], [0, 0, 0]);
        let inside: Vec<_> = rows.iter().map(|row| row.inside[1] > 0).collect();
        assert_eq!(inside, [false, true, true, false, true, true, false]);
        let rows = map.rows([0, -1, 0, 0, 0], [1, 0, 0]);
        let addresses: Vec<_> = rows.iter().map(|row| row.address).collect();
        assert_eq!(addresses, [0, 16, 32, 48, 64, 80, 96]);
    }

    #[test]
    fn swizzling_exchanges_chunks_in_a_span() {
        assert_eq!(Swizzle::Span128.apply(0x80), 0x90);
        assert_eq!(Swizzle::Span128.apply(0x3f0), 0x380);
        assert_eq!(Swizzle::Span64.apply(0x80), 0x90);
        assert_eq!(Swizzle::Span64.apply(0x200), 0x200);
        assert_eq!(Swizzle::Span32.apply(0x84), 0x94);
        assert_eq!(Swizzle::None.apply(0x84), 0x84);
    }
}
