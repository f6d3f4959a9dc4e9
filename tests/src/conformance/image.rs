// SPDX-License-Identifier: Apache-2.0
//! Textures and surfaces that a case describes.

use super::case::Array;

/// Which of the two it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read through a sampler.
    Texture,
    /// Read and written texel by texel.
    Surface,
}

/// How its texels lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Geometry {
    /// A row in plain memory.
    Linear,
    /// Rows in plain memory.
    Pitched,
    /// An array of one, two or three dimensions.
    Grid(usize),
    /// An array of layers, each of one or two dimensions.
    Layers(usize),
    /// Six faces.
    Cube,
    /// Cubes as layers.
    Cubes,
}

/// A texture's or surface's descriptors, in the numbers of `cuda.h`.
#[derive(Clone, Debug)]
pub struct Image {
    /// Texture or surface.
    pub access: Access,
    /// How its texels lie.
    pub geometry: Geometry,
    /// Width, height, and depth, layers or cubes; unused ones are 1.
    pub extent: [usize; 3],
    /// Channels of a texel.
    pub channels: usize,
    /// Levels of a mipmap; 0 for an array without.
    pub levels: usize,
    /// `CUarray_format`.
    pub format: u32,
    /// `CUaddress_mode` of the axes.
    pub address: [u32; 3],
    /// `CUfilter_mode` in a level.
    pub filter: u32,
    /// `CUfilter_mode` between levels.
    pub filter_between: u32,
    /// `CU_TRSF_…`
    pub flags: u32,
    /// `CUDA_ARRAY3D_…`
    pub array_flags: u32,
    /// Of texels outside, for the address mode of a border.
    pub border: [f32; 4],
    /// Added to a level.
    pub bias: f32,
    /// Whether the module has a reference of this name, rather than the kernel a parameter.
    pub is_reference: bool,
    /// Name, texels, and what they must be at the end.
    pub texels: Array,
}

const READ_AS_INTEGER: u32 = 1;
const NORMALIZED_COORDINATES: u32 = 2;
const SRGB: u32 = 0x10;
const SEAMLESS_CUBEMAP: u32 = 0x40;
const LAYERED: u32 = 1;
const SURFACE_LDST: u32 = 2;
const CUBEMAP: u32 = 4;
const GATHER: u32 = 8;

impl Geometry {
    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "linear" => Self::Linear,
            "pitched" => Self::Pitched,
            "1d" => Self::Grid(1),
            "2d" => Self::Grid(2),
            "3d" => Self::Grid(3),
            "a1d" => Self::Layers(1),
            "a2d" => Self::Layers(2),
            "cube" => Self::Cube,
            "acube" => Self::Cubes,
            _ => return None,
        })
    }

    /// Lengths that a file gives, the layers last.
    fn lengths(self) -> usize {
        match self {
            Self::Linear => 1,
            Self::Pitched | Self::Cube => 2,
            Self::Grid(dimensions) => dimensions,
            Self::Layers(dimensions) => dimensions + 1,
            Self::Cubes => 3,
        }
    }
}

impl Image {
    /// Reads `ACCESS FORMAT GEOMETRY EXTENT OPTION… NAME` and the texels.
    ///
    /// # Errors
    ///
    /// What has not this form.
    pub(super) fn parse(head: &[&str], values: &str) -> Result<Self, String> {
        let [access, format, geometry, extent, options @ .., name] = head else {
            return Err("not ACCESS FORMAT GEOMETRY EXTENT OPTION… NAME".to_owned());
        };
        let access = match *access {
            "texture" => Access::Texture,
            _ => Access::Surface,
        };
        let geometry =
            Geometry::from_name(geometry).ok_or_else(|| format!("no geometry {geometry}"))?;
        let (channel, channels) = channels(format);
        let direction = match values.contains("=>") {
            true => "inout",
            false => "in",
        };
        let mut image = Self {
            access,
            geometry,
            extent: lengths(geometry, extent).ok_or_else(|| format!("no extent {extent}"))?,
            channels,
            levels: 0,
            format: format_number(channel).ok_or_else(|| format!("no format {format}"))?,
            address: [1; 3],
            filter: 0,
            filter_between: 0,
            flags: 0,
            array_flags: 0,
            border: [0.0; 4],
            bias: 0.0,
            is_reference: false,
            texels: Array::parse(&[direction, channel, name], values)?,
        };
        image.array_flags = match geometry {
            Geometry::Layers(_) => LAYERED,
            Geometry::Cube => CUBEMAP,
            Geometry::Cubes => CUBEMAP | LAYERED,
            _ => 0,
        };
        if access == Access::Surface {
            image.array_flags |= SURFACE_LDST;
        }
        for option in options {
            image
                .take_option(option)
                .ok_or_else(|| format!("no option {option}"))?;
        }
        image.check()?;
        Ok(image)
    }

    fn take_option(&mut self, option: &str) -> Option<()> {
        match option.split_once('=') {
            Some(("levels", count)) => self.levels = count.parse().ok()?,
            Some(("bias", bias)) => self.bias = bias.parse().ok()?,
            Some(("border", colour)) => {
                for (channel, value) in self.border.iter_mut().zip(colour.split(',')) {
                    *channel = value.parse().ok()?;
                }
            }
            Some(_) => return None,
            None => match option {
                "point" => self.filter = 0,
                "filtered" => self.filter = 1,
                "between" => self.filter_between = 1,
                "integer" => self.flags |= READ_AS_INTEGER,
                "normalized" => self.flags |= NORMALIZED_COORDINATES,
                "srgb" => self.flags |= SRGB,
                "seamless" => self.flags |= SEAMLESS_CUBEMAP,
                "gather" => self.array_flags |= GATHER,
                "reference" => self.is_reference = true,
                modes => self.address = address_modes(modes)?,
            },
        }
        Some(())
    }

    fn check(&self) -> Result<(), String> {
        let texels: usize = (0..self.levels.max(1))
            .map(|level| self.level_extent(level).iter().product::<usize>())
            .sum();
        if self.texels.count() != texels * self.channels {
            return Err(format!(
                "it has {} values instead of {}",
                self.texels.count(),
                texels * self.channels
            ));
        }
        Ok(())
    }

    /// Columns, rows, and slices, layers or faces of a level.
    pub(super) fn level_extent(&self, level: usize) -> [usize; 3] {
        let [width, height, depth] = self.extent;
        let smaller = |length: usize| (length >> level).max(1);
        let slices = match self.geometry {
            Geometry::Cube => 6,
            Geometry::Cubes => 6 * depth,
            Geometry::Layers(_) => depth,
            _ => smaller(depth),
        };
        [smaller(width), smaller(height), slices]
    }

    /// Of a row of the first level.
    pub(super) fn texel_bytes(&self) -> usize {
        self.channels * self.texels.element.bytes
    }

    /// Width, height and depth as `CUDA_ARRAY3D_DESCRIPTOR` has them, 0 where there is none.
    pub(super) fn array_extent(&self) -> [usize; 3] {
        let [width, height, slices] = self.level_extent(0);
        match self.geometry {
            Geometry::Linear | Geometry::Grid(1) => [width, 0, 0],
            Geometry::Pitched | Geometry::Grid(2) => [width, height, 0],
            Geometry::Layers(1) => [width, 0, slices],
            _ => [width, height, slices],
        }
    }
}

/// The channel's type, and how many there are: `u8x4`.
fn channels(format: &str) -> (&str, usize) {
    for (ending, count) in [("x2", 2), ("x4", 4)] {
        if let Some(channel) = format.strip_suffix(ending) {
            return (channel, count);
        }
    }
    (format, 1)
}

/// `CUarray_format`.
fn format_number(channel: &str) -> Option<u32> {
    Some(match channel {
        "u8" => 1,
        "u16" => 2,
        "u32" => 3,
        "s8" => 8,
        "s16" => 9,
        "s32" => 10,
        "f16" => 0x10,
        "f32" => 0x20,
        _ => return None,
    })
}

/// `4x3x2`
fn lengths(geometry: Geometry, text: &str) -> Option<[usize; 3]> {
    let given: Vec<usize> = text
        .split('x')
        .map(|length| length.parse().ok().filter(|length| *length > 0))
        .collect::<Option<_>>()?;
    if given.len() != geometry.lengths() {
        return None;
    }
    Some(match (geometry, &given[..]) {
        (Geometry::Layers(1), [width, layers]) => [*width, 1, *layers],
        (_, given) => std::array::from_fn(|axis| given.get(axis).copied().unwrap_or(1)),
    })
}

/// One mode for all axes, or one for each: `wrap`, `wrap,clamp`.
fn address_modes(text: &str) -> Option<[u32; 3]> {
    let modes: Vec<u32> = text
        .split(',')
        .map(|mode| {
            Some(match mode {
                "wrap" => 0,
                "clamp" => 1,
                "mirror" => 2,
                "border" => 3,
                _ => return None,
            })
        })
        .collect::<Option<_>>()?;
    let last = *modes.last()?;
    Some(std::array::from_fn(|axis| {
        modes.get(axis).copied().unwrap_or(last)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Image, String> {
        let (head, values) = line.split_once(':').expect("written so");
        Image::parse(&head.split_whitespace().collect::<Vec<_>>(), values)
    }

    #[test]
    fn a_texture_is_what_its_line_says() {
        let image = parse("texture u8x2 a2d 2x1x3 wrap,border filtered normalized t: 0..12");
        let image = image.expect("it has the form");
        assert_eq!(image.geometry, Geometry::Layers(2));
        assert_eq!((image.channels, image.format), (2, 1));
        assert_eq!(image.array_extent(), [2, 1, 3]);
        assert_eq!(image.address, [0, 3, 3]);
        assert_eq!((image.filter, image.flags, image.array_flags), (1, 2, 1));
    }

    #[test]
    fn levels_halve_but_layers_do_not() {
        let image = parse("texture f32 a1d 4x2 levels=3 t: 0*14").expect("it has the form");
        let extents = [0, 1, 2].map(|level| image.level_extent(level));
        assert_eq!(extents, [[4, 1, 2], [2, 1, 2], [1, 1, 2]]);
        assert_eq!(image.array_extent(), [4, 0, 2]);
    }

    #[test]
    fn wrong_images_are_refused() {
        assert!(parse("texture f32 2d 2x2 t: 0..3").is_err());
        assert!(parse("texture f32 2d 4 t: 0..4").is_err());
        assert!(parse("texture f64 1d 4 t: 0..4").is_err());
        assert!(parse("texture f32 1d 4 sharp t: 0..4").is_err());
        assert!(parse("surface u32 1d 2 s: 1 2 => 3 4").is_ok());
    }
}
