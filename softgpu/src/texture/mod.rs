// SPDX-License-Identifier: Apache-2.0
//! Textures and surfaces: what a handle means, and the arithmetic of a fetch.
//!
//! An [`Image`] is a grid of texels in device memory: the levels of an array, a mipmapped array, or
//! linear memory that is read as texels. A [`Texture`] reads one through a [`Sampler`], a
//! [`Surface`] reads and writes one of its levels in place. [`registry`] finds both by the number
//! that a kernel holds. Sampling follows the "Texture Fetching" appendix of the CUDA C++
//! Programming Guide: filter weights are 9-bit fixed-point numbers with 8 bits of fraction.
//!
//! Nothing here knows PTX or the driver API: `exec` calls it for the lanes of an instruction, and
//! `driver` fills the registry.

mod cube;
mod fetch;
mod format;
mod image;
pub(crate) mod registry;
mod sampler;
mod surface;

pub(crate) use fetch::{Coordinates, Detail, Fetch};
pub(crate) use format::{Channel, Format, Read, Texel};
pub(crate) use image::{Extent, Image, Kind, OutOfBounds};
pub(crate) use sampler::{AddressMode, Sampler, Texture};
pub(crate) use surface::{Bounds, Surface};

#[cfg(test)]
mod tests;
