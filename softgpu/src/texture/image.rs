// SPDX-License-Identifier: Apache-2.0
//! Texels in device memory.

use std::sync::Arc;

use super::format::{Format, TEXEL_BYTES_MAX};
use crate::memory::{Memory, MemoryError};

/// Levels start at a multiple of so many bytes.
const LEVEL_ALIGNMENT_BYTES: u64 = 512;

/// Width, height and depth in texels; unused ones are 1.
pub(crate) type Extent = [u32; 3];

/// How an image's texels are addressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// 1, 2 or 3 coordinates, and an index of a layer before them if it is layered.
    Grid { dimensions: u32, is_layered: bool },
    /// A direction, and an index of a cube before it if it is layered. Six layers are a cube.
    Cube { is_layered: bool },
}

/// Texels that a kernel asked for and that are no device memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutOfBounds {
    pub(crate) address: u64,
    pub(crate) bytes: u32,
}

/// Device memory that ends with the last image in it.
struct Storage {
    memory: Arc<Memory>,
    base: u64,
}

impl Drop for Storage {
    fn drop(&mut self) {
        // The memory may have been reset as a whole.
        let _ = self.memory.free(self.base);
    }
}

/// One level: rows of texels, slices of rows. Layers and faces are slices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Level {
    pub(crate) address: u64,
    pub(crate) extent: Extent,
    pub(crate) row_pitch_bytes: u64,
    pub(crate) slice_pitch_bytes: u64,
}

/// A grid of texels, with one or more levels.
#[derive(Clone)]
pub(crate) struct Image {
    memory: Arc<Memory>,
    /// Absent for memory that the application has allocated.
    storage: Option<Arc<Storage>>,
    pub(crate) kind: Kind,
    pub(crate) format: Format,
    /// Layers or faces; 1 where there are none.
    pub(crate) layers: u32,
    /// At least one.
    pub(crate) levels: Vec<Level>,
    /// Read as a plain row of texels: `tex1Dfetch`.
    pub(crate) is_linear: bool,
}

impl Image {
    /// Allocates an image of `levels` levels, filled with zeros.
    ///
    /// # Errors
    ///
    /// [`MemoryError::OutOfMemory`].
    pub(crate) fn allocate(
        memory: &Arc<Memory>,
        kind: Kind,
        format: Format,
        extent: Extent,
        layers: u32,
        levels: u32,
    ) -> Result<Self, MemoryError> {
        let (layout, bytes) = Self::layout(kind, format, extent, layers, levels)?;
        let base = memory.alloc(bytes)?;
        memory.fill(base, &[0], bytes)?;
        let storage = Arc::new(Storage {
            memory: Arc::clone(memory),
            base,
        });
        let levels = layout.into_iter().map(|level| Level {
            address: base + level.address,
            ..level
        });
        Ok(Self {
            memory: Arc::clone(memory),
            storage: Some(storage),
            kind,
            format,
            layers,
            levels: levels.collect(),
            is_linear: false,
        })
    }

    /// The levels by their offsets, and the bytes of all.
    fn layout(
        kind: Kind,
        format: Format,
        extent: Extent,
        layers: u32,
        levels: u32,
    ) -> Result<(Vec<Level>, u64), MemoryError> {
        let is_grid = matches!(kind, Kind::Grid { .. });
        let mut end = 0_u64;
        let mut layout = Vec::new();
        for level in 0..levels {
            let extent = extent.map(|length| (length >> level).max(1));
            let row = u64::from(extent[0]) * u64::from(format.bytes());
            let slice = row.checked_mul(u64::from(extent[1]));
            let slices = if is_grid {
                extent[2].max(layers)
            } else {
                layers
            };
            let bytes = slice.and_then(|slice| slice.checked_mul(u64::from(slices)));
            layout.push(Level {
                address: end,
                extent,
                row_pitch_bytes: row,
                slice_pitch_bytes: slice.unwrap_or(0),
            });
            end = bytes
                .and_then(|bytes| bytes.checked_next_multiple_of(LEVEL_ALIGNMENT_BYTES))
                .and_then(|bytes| end.checked_add(bytes))
                .ok_or(MemoryError::OutOfMemory)?;
        }
        Ok((layout, end))
    }

    /// Memory of the application as rows of texels.
    pub(crate) fn of_memory(
        memory: &Arc<Memory>,
        address: u64,
        format: Format,
        extent: [u32; 2],
        pitch_bytes: u64,
        is_linear: bool,
    ) -> Self {
        let level = Level {
            address,
            extent: [extent[0], extent[1], 1],
            row_pitch_bytes: pitch_bytes,
            slice_pitch_bytes: 0,
        };
        Self {
            memory: Arc::clone(memory),
            storage: None,
            kind: Kind::Grid {
                dimensions: if is_linear { 1 } else { 2 },
                is_layered: false,
            },
            format,
            layers: 1,
            levels: vec![level],
            is_linear,
        }
    }

    /// Some of the levels and layers as an image of their own, perhaps of another format with
    /// texels of the same size.
    pub(crate) fn view(
        &self,
        format: Format,
        levels: std::ops::RangeInclusive<usize>,
        first_layer: u32,
        layers: u32,
    ) -> Option<Self> {
        let levels = self.levels.get(levels)?;
        let is_inside = first_layer.checked_add(layers)? <= self.layers && layers > 0;
        if levels.is_empty() || !is_inside || format.bytes() != self.format.bytes() {
            return None;
        }
        let levels = levels.iter().map(|level| Level {
            address: level.address + u64::from(first_layer) * level.slice_pitch_bytes,
            ..*level
        });
        Some(Self {
            format,
            layers,
            levels: levels.collect(),
            ..self.clone()
        })
    }

    /// Whether its texels are memory of the application.
    pub(crate) fn is_of_memory(&self) -> bool {
        self.storage.is_none()
    }

    /// Slices of a level: depth, layers or faces.
    pub(crate) fn slices(&self, level: &Level) -> u32 {
        level.extent[2].max(self.layers)
    }

    /// The host address of `bytes` bytes at byte `x` of a row.
    ///
    /// # Errors
    ///
    /// Where memory of the application is not allocated any more.
    pub(crate) fn place(
        &self,
        level: &Level,
        [x, y, z]: [u64; 3],
        bytes: u32,
    ) -> Result<*mut u8, OutOfBounds> {
        let address = level
            .address
            .wrapping_add(z.wrapping_mul(level.slice_pitch_bytes))
            .wrapping_add(y.wrapping_mul(level.row_pitch_bytes))
            .wrapping_add(x);
        self.memory
            .pointer(address, bytes.into())
            .map_err(|_| OutOfBounds { address, bytes })
    }

    /// The bytes of a texel inside the level.
    ///
    /// # Errors
    ///
    /// As [`Image::place`].
    pub(crate) fn texel(
        &self,
        level: &Level,
        [x, y, z]: [u32; 3],
    ) -> Result<[u8; TEXEL_BYTES_MAX], OutOfBounds> {
        let bytes = self.format.bytes();
        let x = u64::from(x) * u64::from(bytes);
        let from = self.place(level, [x, y.into(), z.into()], bytes)?;
        let mut texel = [0; TEXEL_BYTES_MAX];
        // SAFETY: `place` checked so many bytes, and device memory stays mapped.
        unsafe { std::ptr::copy_nonoverlapping(from, texel.as_mut_ptr(), bytes as usize) };
        Ok(texel)
    }
}
