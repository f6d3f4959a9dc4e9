// SPDX-License-Identifier: Apache-2.0
//! How a texture is read: addressing, filtering, levels.

use std::sync::Arc;

use super::format::Read;
use super::image::Image;

/// What lies outside the texture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AddressMode {
    Wrap,
    Clamp,
    Mirror,
    Border,
}

/// `CUDA_TEXTURE_DESC`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sampler {
    pub(crate) address: [AddressMode; 3],
    /// Linear filtering in a level; else the nearest texel.
    pub(crate) is_linear: bool,
    /// Linear filtering between levels; else the nearest level.
    pub(crate) is_linear_between: bool,
    pub(crate) is_normalized: bool,
    pub(crate) read: Read,
    pub(crate) is_srgb: bool,
    /// Filters across the edges of a cube.
    pub(crate) is_seamless: bool,
    /// Added to the level.
    pub(crate) bias: f32,
    /// The level's least and largest value.
    pub(crate) clamp: [f32; 2],
    pub(crate) anisotropy: u32,
    pub(crate) border: [f32; 4],
}

/// An image with a sampler.
#[derive(Clone)]
pub(crate) struct Texture {
    pub(crate) image: Arc<Image>,
    pub(crate) sampler: Sampler,
}

/// The texels around a position on one axis, and the second one's weight in 1/256. An index is
/// absent where the border is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Neighbours {
    pub(crate) index: [Option<u32>; 2],
    pub(crate) weight: u32,
}

impl Sampler {
    /// The mode of an axis: outside a texture with unnormalized coordinates there are no copies of
    /// it.
    fn mode(&self, axis: usize) -> AddressMode {
        match self.address[axis] {
            AddressMode::Wrap | AddressMode::Mirror if !self.is_normalized => AddressMode::Clamp,
            mode => mode,
        }
    }

    /// A coordinate in texels.
    fn scaled(&self, axis: usize, coordinate: f32, length: u32) -> f32 {
        if !self.is_normalized {
            return coordinate;
        }
        let inside = match self.mode(axis) {
            AddressMode::Wrap => coordinate - coordinate.floor(),
            AddressMode::Mirror => 2.0_f32.mul_add(-(coordinate / 2.0).floor(), coordinate),
            AddressMode::Clamp | AddressMode::Border => coordinate,
        };
        inside * length as f32
    }

    /// The texel that a position lies in.
    pub(crate) fn nearest(
        &self,
        axis: usize,
        coordinate: f32,
        offset: i32,
        length: u32,
    ) -> Option<u32> {
        let texel = self.scaled(axis, coordinate, length).floor() as i64;
        self.index(axis, texel.saturating_add(offset.into()), length)
    }

    /// The texels that a position lies between.
    pub(crate) fn between(
        &self,
        axis: usize,
        coordinate: f32,
        offset: i32,
        length: u32,
    ) -> Neighbours {
        let position = f64::from(self.scaled(axis, coordinate, length)) - 0.5;
        let fixed = (position * 256.0).round_ties_even() as i64;
        let first = (fixed >> 8).saturating_add(offset.into());
        Neighbours {
            index: [first, first.saturating_add(1)].map(|index| self.index(axis, index, length)),
            weight: (fixed & 0xff) as u32,
        }
    }

    /// The texel that stands for an index, which may be outside.
    pub(crate) fn index(&self, axis: usize, index: i64, length: u32) -> Option<u32> {
        let length = i64::from(length);
        let inside = match self.mode(axis) {
            AddressMode::Clamp => index.clamp(0, length - 1),
            AddressMode::Border if !(0..length).contains(&index) => return None,
            AddressMode::Border => index,
            AddressMode::Wrap => index.rem_euclid(length),
            AddressMode::Mirror => {
                let place = index.rem_euclid(2 * length);
                place.min(2 * length - 1 - place)
            }
        };
        u32::try_from(inside).ok()
    }
}
