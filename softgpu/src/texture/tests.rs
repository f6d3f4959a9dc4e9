// SPDX-License-Identifier: Apache-2.0
//! Fetches against values worked out by hand from the programming guide.

use std::sync::Arc;

use super::{
    AddressMode, Bounds, Channel, Coordinates, Detail, Fetch, Format, Image, Kind, Read, Sampler,
    Surface, Texture,
};
use crate::memory::Memory;

const LINE: Kind = Kind::Grid {
    dimensions: 1,
    is_layered: false,
};

fn sampler() -> Sampler {
    Sampler {
        address: [AddressMode::Clamp; 3],
        is_linear: true,
        is_linear_between: false,
        is_normalized: false,
        read: Read::Element,
        is_srgb: false,
        is_seamless: false,
        bias: 0.0,
        clamp: [0.0, 0.0],
        anisotropy: 1,
        border: [9.0; 4],
    }
}

/// A texture on a row of texels, given as bytes.
fn line(channel: Channel, bytes: &[u8], sampler: Sampler) -> Texture {
    let memory = Arc::new(Memory::new(4 << 20).expect("address space"));
    let format = Format {
        channel,
        channels: 1,
    };
    let width = bytes.len() as u32 / format.bytes();
    let image = Image::allocate(&memory, LINE, format, [width, 1, 1], 1, 1).expect("memory");
    memory
        .write(image.levels[0].address, bytes)
        .expect("allocated");
    Texture {
        image: Arc::new(image),
        sampler,
    }
}

fn floats(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

fn at(x: f32) -> Fetch {
    Fetch {
        layer: 0,
        coordinates: Coordinates::Position([x, 0.0, 0.0]),
        detail: Detail::Base,
        offset: [0; 3],
    }
}

fn red(texture: &Texture, fetch: &Fetch) -> f32 {
    f32::from_bits(texture.fetch(fetch).expect("inside")[0])
}

#[test]
fn weights_have_eight_bits_of_fraction() {
    let texture = line(Channel::F32, &floats(&[0.0, 256.0]), sampler());
    assert_eq!(red(&texture, &at(0.5)), 0.0);
    assert_eq!(red(&texture, &at(1.0)), 128.0);
    assert_eq!(red(&texture, &at(1.5)), 256.0);
    assert_eq!(red(&texture, &at(0.5 + 3.0 / 256.0)), 3.0);
    // Between two weights the nearer one is taken.
    assert_eq!(red(&texture, &at(0.5 + 3.25 / 256.0)), 3.0);
    assert_eq!(red(&texture, &at(0.5 + 3.75 / 256.0)), 4.0);
}

#[test]
fn no_coordinate_leads_outside() {
    let texture = line(Channel::F32, &floats(&[1.0, 2.0, 4.0]), sampler());
    for (x, expected) in [
        (f32::NEG_INFINITY, 1.0),
        (-1e30, 1.0),
        (1e30, 4.0),
        (f32::INFINITY, 4.0),
    ] {
        assert_eq!(red(&texture, &at(x)), expected, "{x}");
    }
    // Whatever it is, it is one of the texels or between them.
    assert!((1.0..=4.0).contains(&red(&texture, &at(f32::NAN))));
    let border = Sampler {
        address: [AddressMode::Border; 3],
        is_linear: false,
        ..sampler()
    };
    let texture = Texture {
        sampler: border,
        ..texture
    };
    assert_eq!(red(&texture, &at(-0.25)), 9.0);
    assert_eq!(red(&texture, &at(2.75)), 4.0);
    assert_eq!(red(&texture, &at(3.0)), 9.0);
}

#[test]
fn offsets_count_texels() {
    let texture = line(Channel::F32, &floats(&[1.0, 2.0, 4.0, 8.0]), sampler());
    for (offset, expected) in [(-2, 1.0), (-1, 1.5), (0, 3.0), (1, 6.0), (7, 8.0)] {
        let fetch = Fetch {
            offset: [offset, 0, 0],
            ..at(2.0)
        };
        assert_eq!(red(&texture, &fetch), expected, "{offset}");
    }
}

#[test]
fn integers_become_fractions_or_stay() {
    let nearest = Sampler {
        is_linear: false,
        ..sampler()
    };
    let fractions = Sampler {
        read: Read::Fraction,
        ..nearest
    };
    let texture = line(Channel::S8, &[0x80, 0x81, 0, 0x7f], fractions);
    for (x, expected) in [(0.5, -1.0), (1.5, -1.0), (2.5, 0.0), (3.5, 1.0)] {
        assert_eq!(red(&texture, &at(x)), expected, "{x}");
    }
    let texture = Texture {
        sampler: nearest,
        ..texture
    };
    let texel = texture.fetch(&at(0.5)).expect("inside");
    assert_eq!(texel, [0xffff_ff80, 0, 0, 1]);
}

#[test]
fn srgb_is_made_linear_before_filtering() {
    let coded = Sampler {
        read: Read::Fraction,
        is_srgb: true,
        ..sampler()
    };
    let texture = line(Channel::U8, &[0, 255], coded);
    assert_eq!(red(&texture, &at(1.0)), 0.5);
    let texture = line(
        Channel::U8,
        &[188],
        Sampler {
            is_linear: false,
            ..texture.sampler
        },
    );
    // 188 / 255 in sRGB is a linear 0.503.
    assert!((red(&texture, &at(0.5)) - 0.503).abs() < 1e-3);
}

#[test]
fn surfaces_keep_their_bounds() {
    let texture = line(Channel::F32, &floats(&[1.0, 2.0, 4.0]), sampler());
    let surface = Surface {
        image: texture.image,
    };
    let place = |x: i32, bounds| surface.place([x, 0, 0], 4, bounds);
    let start = place(0, Bounds::Trap)
        .expect("inside")
        .expect("a place")
        .addr();
    let inside = |x: i32, bounds| {
        place(x, bounds)
            .map(|place| place.map(|place| place.addr() - start))
            .map_err(|_| ())
    };
    assert_eq!(inside(8, Bounds::Trap), Ok(Some(8)));
    assert_eq!(inside(12, Bounds::Trap), Err(()));
    assert_eq!(inside(-4, Bounds::Trap), Err(()));
    assert_eq!(inside(12, Bounds::Zero), Ok(None));
    assert_eq!(inside(12, Bounds::Clamp), Ok(Some(8)));
    assert_eq!(inside(i32::MIN, Bounds::Clamp), Ok(Some(0)));
    // An access that is longer than a row fits nowhere.
    let long = surface.place([0, 0, 0], 16, Bounds::Clamp);
    assert!(long.is_err());
    assert_eq!(surface.place([0, 1, 0], 4, Bounds::Zero), Ok(None));
}

#[test]
fn seamless_cubes_filter_across_edges() {
    let memory = Arc::new(Memory::new(4 << 20).expect("address space"));
    let format = Format {
        channel: Channel::F32,
        channels: 1,
    };
    let kind = Kind::Cube { is_layered: false };
    let image = Image::allocate(&memory, kind, format, [2, 2, 1], 6, 1).expect("memory");
    let faces: Vec<f32> = (0..6).flat_map(|face| [face as f32; 4]).collect();
    memory
        .write(image.levels[0].address, &floats(&faces))
        .expect("allocated");
    let mut texture = Texture {
        image: Arc::new(image),
        sampler: sampler(),
    };
    // On the edge of +x and +z, a little on the side of +z.
    let edge = Fetch {
        coordinates: Coordinates::Position([0.999_999, 0.0, 1.0]),
        ..at(0.0)
    };
    assert_eq!(red(&texture, &edge), 4.0);
    texture.sampler.is_seamless = true;
    assert_eq!(red(&texture, &edge), 2.0);
}
