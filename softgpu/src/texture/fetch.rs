// SPDX-License-Identifier: Apache-2.0
//! Fetches: from coordinates to filtered texels.

use super::cube::OnFace;
use super::format::Texel;
use super::image::{Image, Kind, Level, OutOfBounds};
use super::sampler::{Neighbours, Sampler, Texture};

/// Where on the texture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Coordinates {
    /// Positions, or a direction for cubemaps.
    Position([f32; 3]),
    /// A texel, which is not filtered.
    Index([i32; 3]),
}

/// Which level of the texture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Detail {
    /// The first one.
    Base,
    Level(f32),
    /// The derivatives of the coordinates along two directions of the screen.
    Gradient([[f32; 3]; 2]),
}

/// One lane's fetch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Fetch {
    /// Layer, or cube of a layered cubemap.
    pub(crate) layer: u32,
    pub(crate) coordinates: Coordinates,
    pub(crate) detail: Detail,
    /// Added to the coordinates, in texels.
    pub(crate) offset: [i32; 3],
}

/// A plane or box of texels of one level.
#[derive(Clone, Copy)]
struct Target<'a> {
    level: &'a Level,
    /// Layer or face.
    slice: u32,
    dimensions: usize,
    /// The face, where texels beside it belong to its neighbours.
    seamless_face: Option<u32>,
}

/// A sum of texels.
type Sum = [f64; 4];

impl Texture {
    fn is_float(&self) -> bool {
        self.image.format.is_float(self.sampler.read)
    }

    /// The filtered value.
    ///
    /// # Errors
    ///
    /// Where texels in memory of the application are not allocated any more.
    pub(crate) fn fetch(&self, fetch: &Fetch) -> Result<Texel, OutOfBounds> {
        let Coordinates::Position(position) = fetch.coordinates else {
            let Coordinates::Index(index) = fetch.coordinates else {
                return Ok([0; 4]);
            };
            return self.fetch_index(fetch, index);
        };
        let (on_face, derivatives) = self.project(position, fetch.detail);
        let Some(probes) = self.probes(derivatives) else {
            return self.filtered(fetch, position, on_face, self.level(fetch.detail));
        };
        let mut sum = [0.0; 4];
        for probe in 0..probes.count {
            let along = (probe + 1) as f32 / (probes.count + 1) as f32 - 0.5;
            let moved =
                std::array::from_fn(|axis| probes.axis[axis].mul_add(along, position[axis]));
            let texel = self.filtered(fetch, moved, on_face, probes.level)?;
            add(&mut sum, texel, 1.0 / f64::from(probes.count));
        }
        Ok(sum.map(|value| (value as f32).to_bits()))
    }

    /// The same channel of the four texels that linear filtering would take, counterclockwise from
    /// the lower left one.
    ///
    /// # Errors
    ///
    /// As [`Texture::fetch`].
    pub(crate) fn gather(&self, fetch: &Fetch, channel: usize) -> Result<Texel, OutOfBounds> {
        let Coordinates::Position(position) = fetch.coordinates else {
            return Ok([0; 4]);
        };
        let (on_face, _) = self.project(position, fetch.detail);
        let (level, _) = self.level(Detail::Base);
        let (target, position) = self.target(fetch, position, on_face, level);
        let [x, y] = [0, 1].map(|axis| self.neighbours(&target, axis, position, fetch.offset));
        let mut gathered = [0; 4];
        for (result, [column, row]) in gathered.iter_mut().zip([[0, 1], [1, 1], [1, 0], [0, 0]]) {
            let texel = self.texel(&target, [x.index[column], y.index[row], Some(0)])?;
            *result = texel[channel & 3];
        }
        Ok(gathered)
    }

    /// A texel by its number, with nothing filtered.
    fn fetch_index(&self, fetch: &Fetch, index: [i32; 3]) -> Result<Texel, OutOfBounds> {
        let level = match fetch.detail {
            Detail::Level(level) => level as usize,
            _ => 0,
        };
        let (target, _) = self.target(fetch, [0.0; 3], None, level);
        let unnormalized = Sampler {
            is_normalized: false,
            ..self.sampler.clone()
        };
        let mut place = [Some(0); 3];
        for axis in 0..target.dimensions {
            let length = target.level.extent[axis];
            let index = i64::from(index[axis]) + i64::from(fetch.offset[axis]);
            place[axis] = if self.image.is_linear {
                u32::try_from(index).ok().filter(|index| *index < length)
            } else {
                unnormalized.index(axis, index, length)
            };
        }
        self.texel(&target, place)
    }

    /// The place on a face for cubemaps, and the derivatives in texels for gradients.
    fn project(
        &self,
        position: [f32; 3],
        detail: Detail,
    ) -> (Option<OnFace>, Option<[[f32; 3]; 2]>) {
        let is_cube = matches!(self.image.kind, Kind::Cube { .. });
        let on_face = is_cube.then(|| OnFace::of(position));
        let extent = self.image.levels[0].extent;
        let derivatives = match detail {
            Detail::Gradient(gradient) => Some(gradient.map(|change| {
                let change = match on_face {
                    Some(place) => {
                        let [s, t] = place.derivative(position, change);
                        [s, t, 0.0]
                    }
                    None => change,
                };
                let is_scaled = is_cube || self.sampler.is_normalized;
                let scale = |axis: usize| if is_scaled { extent[axis] as f32 } else { 1.0 };
                std::array::from_fn(|axis| match axis < self.dimensions() {
                    true => change[axis] * scale(axis),
                    false => 0.0,
                })
            })),
            _ => None,
        };
        (on_face, derivatives)
    }

    fn dimensions(&self) -> usize {
        match self.image.kind {
            Kind::Grid { dimensions, .. } => dimensions as usize,
            Kind::Cube { .. } => 2,
        }
    }

    /// The level, and the weight of the next one in 1/256.
    fn level(&self, detail: Detail) -> (usize, u32) {
        let level = match detail {
            Detail::Base => 0.0,
            Detail::Level(level) => level,
            Detail::Gradient(_) => 0.0,
        };
        self.clamped_level(level)
    }

    fn clamped_level(&self, level: f32) -> (usize, u32) {
        let [least, most] = self.sampler.clamp;
        let last = self.image.levels.len() - 1;
        // The order of the two makes NaN the least level.
        let level = (level + self.sampler.bias).max(least).min(most);
        let level = level.max(0.0).min(last as f32);
        if !self.sampler.is_linear_between {
            return (((level + 0.5) as usize).min(last), 0);
        }
        let fixed = (f64::from(level) * 256.0).round_ties_even() as usize;
        (fixed >> 8, (fixed & 0xff) as u32)
    }

    /// How gradients are sampled: `None` without them.
    fn probes(&self, derivatives: Option<[[f32; 3]; 2]>) -> Option<Probes> {
        let derivatives = derivatives?;
        let lengths = derivatives.map(|change| {
            let squares = change.map(|component| f64::from(component) * f64::from(component));
            squares.iter().sum::<f64>().sqrt()
        });
        let major = usize::from(lengths[1] > lengths[0]);
        let (longest, shortest) = (lengths[major], lengths[1 - major]);
        let most = match self.sampler.is_linear && self.is_float() {
            true => self.sampler.anisotropy.max(1),
            false => 1,
        };
        // A division by zero asks for more than there may be.
        let count = (longest / shortest).ceil().clamp(1.0, most.into());
        let count = if count.is_nan() { 1.0 } else { count };
        let level = match longest > 0.0 {
            true => (longest / count).log2() as f32,
            false => f32::NEG_INFINITY,
        };
        let mut axis = [0.0; 3];
        if count > 1.0 && !matches!(self.image.kind, Kind::Cube { .. }) {
            for (index, component) in axis.iter_mut().enumerate() {
                let extent = self.image.levels[0].extent[index] as f32;
                let scale = if self.sampler.is_normalized {
                    extent
                } else {
                    1.0
                };
                *component = derivatives[major][index] / scale;
            }
        }
        Some(Probes {
            axis,
            count: count as u32,
            level: self.clamped_level(level),
        })
    }

    /// The value at a position, filtered in a level and between two.
    fn filtered(
        &self,
        fetch: &Fetch,
        position: [f32; 3],
        on_face: Option<OnFace>,
        (level, weight): (usize, u32),
    ) -> Result<Texel, OutOfBounds> {
        let at = |level| {
            let (target, position) = self.target(fetch, position, on_face, level);
            self.in_level(&target, position, fetch.offset)
        };
        let first = at(level)?;
        if weight == 0 || !self.is_float() {
            return Ok(first);
        }
        let mut sum = [0.0; 4];
        add(&mut sum, first, f64::from(256 - weight) / 256.0);
        add(&mut sum, at(level + 1)?, f64::from(weight) / 256.0);
        Ok(sum.map(|value| (value as f32).to_bits()))
    }

    /// The texels that coordinates mean, and the coordinates among these.
    fn target(
        &self,
        fetch: &Fetch,
        position: [f32; 3],
        on_face: Option<OnFace>,
        level: usize,
    ) -> (Target<'_>, [f32; 3]) {
        let image: &Image = &self.image;
        let level = &image.levels[level.min(image.levels.len() - 1)];
        let last = image.layers - 1;
        let mut target = Target {
            level,
            slice: fetch.layer.min(last),
            dimensions: self.dimensions(),
            seamless_face: None,
        };
        let Some(place) = on_face else {
            return (target, position);
        };
        target.slice = (fetch.layer.min(last / 6) * 6 + place.face).min(last);
        target.seamless_face = self.sampler.is_seamless.then_some(place.face);
        (target, [place.position[0], place.position[1], 0.0])
    }

    fn neighbours(
        &self,
        target: &Target<'_>,
        axis: usize,
        position: [f32; 3],
        offset: [i32; 3],
    ) -> Neighbours {
        let length = target.level.extent[axis];
        self.axes()
            .between(axis, position[axis], offset[axis], length)
    }

    /// The sampler; for cubemaps with the addressing that their faces have.
    fn axes(&self) -> std::borrow::Cow<'_, Sampler> {
        match self.image.kind {
            Kind::Grid { .. } => std::borrow::Cow::Borrowed(&self.sampler),
            Kind::Cube { .. } => std::borrow::Cow::Owned(Sampler {
                address: [super::AddressMode::Clamp; 3],
                is_normalized: true,
                ..self.sampler.clone()
            }),
        }
    }

    fn in_level(
        &self,
        target: &Target<'_>,
        position: [f32; 3],
        offset: [i32; 3],
    ) -> Result<Texel, OutOfBounds> {
        let axes = self.axes();
        if !self.sampler.is_linear || !self.is_float() {
            let mut place = [Some(0); 3];
            for axis in 0..target.dimensions {
                let length = target.level.extent[axis];
                place[axis] = axes.nearest(axis, position[axis], offset[axis], length);
            }
            return self.texel(target, place);
        }
        if let Some(face) = target.seamless_face {
            return self.across_edges(target, face, position);
        }
        let single = Neighbours {
            index: [Some(0); 2],
            weight: 0,
        };
        let mut around = [single; 3];
        for (axis, around) in around.iter_mut().enumerate().take(target.dimensions) {
            let length = target.level.extent[axis];
            *around = axes.between(axis, position[axis], offset[axis], length);
        }
        let mut sum = [0.0; 4];
        for corner in 0..1_usize << target.dimensions {
            let side = |axis: usize| corner >> axis & 1;
            let weight = (0..3).map(|axis| share(around[axis].weight, side(axis)));
            let weight: f64 = weight.product();
            if weight != 0.0 {
                let place = std::array::from_fn(|axis| around[axis].index[side(axis)]);
                add(&mut sum, self.texel(target, place)?, weight);
            }
        }
        Ok(sum.map(|value| (value as f32).to_bits()))
    }

    /// Linear filtering on a cube whose faces continue each other.
    fn across_edges(
        &self,
        target: &Target<'_>,
        face: u32,
        position: [f32; 3],
    ) -> Result<Texel, OutOfBounds> {
        let length = target.level.extent[0];
        let first_face = target.slice - face;
        let fixed = [position[0], position[1]].map(|position| {
            let place = f64::from(position) * f64::from(length) - 0.5;
            (place * 256.0).round_ties_even() as i64
        });
        let is_beside = |index: i64| !(0..i64::from(length)).contains(&index);
        let (mut sum, mut total) = ([0.0; 4], 0.0);
        for corner in 0..4_usize {
            let side = [corner & 1, corner >> 1];
            let index = [0, 1].map(|axis| (fixed[axis] >> 8) + side[axis] as i64);
            let weight =
                share((fixed[0] & 0xff) as u32, side[0]) * share((fixed[1] & 0xff) as u32, side[1]);
            // At a corner of the cube only three texels meet.
            if weight == 0.0 || index.into_iter().all(is_beside) {
                continue;
            }
            let (face, [x, y]) = OnFace::beside(face, index, length);
            let there = Target {
                slice: first_face + face,
                ..*target
            };
            add(
                &mut sum,
                self.texel(&there, [Some(x), Some(y), Some(0)])?,
                weight,
            );
            total += weight;
        }
        Ok(sum.map(|value| ((value / total) as f32).to_bits()))
    }

    /// The value of a texel, or the border's.
    fn texel(&self, target: &Target<'_>, place: [Option<u32>; 3]) -> Result<Texel, OutOfBounds> {
        let format = self.image.format;
        let [Some(x), Some(y), Some(z)] = place else {
            let mut texel = format.decode(&[0; 16], self.sampler.read, false);
            if self.is_float() && !self.image.is_linear {
                let channels = format.channels as usize;
                for (value, border) in texel.iter_mut().zip(self.sampler.border).take(channels) {
                    *value = border.to_bits();
                }
            }
            return Ok(texel);
        };
        let bytes = self.image.texel(target.level, [x, y, z + target.slice])?;
        Ok(format.decode(&bytes, self.sampler.read, self.sampler.is_srgb))
    }
}

/// Samples along the longer derivative.
struct Probes {
    /// The derivative, in the units of the coordinates.
    axis: [f32; 3],
    count: u32,
    level: (usize, u32),
}

/// The first or second neighbour's share.
fn share(weight: u32, side: usize) -> f64 {
    let weight = if side == 0 { 256 - weight } else { weight };
    f64::from(weight) / 256.0
}

fn add(sum: &mut Sum, texel: Texel, weight: f64) {
    for (sum, value) in sum.iter_mut().zip(texel) {
        *sum = f64::from(f32::from_bits(value)).mul_add(weight, *sum);
    }
}
