// SPDX-License-Identifier: Apache-2.0
//! The bodies of messages about arrays, textures and surfaces. Handles are the driver's own.

use zerocopy::little_endian::{F32, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// `cuArrayCreate`, `cuArray3DCreate`, `cuMipmappedArrayCreate` (sync): a
/// `CUDA_ARRAY3D_DESCRIPTOR`.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ArrayCreate {
    /// Texels.
    pub width: U64,
    /// Texels; 0 for one dimension.
    pub height: U64,
    /// Texels, layers or faces; 0 for less than three dimensions without layers.
    pub depth: U64,
    /// `CUarray_format`.
    pub format: U32,
    /// 1, 2 or 4.
    pub channels: U32,
    /// `CUDA_ARRAY3D_…`.
    pub flags: U32,
    /// Of a mipmapped array; else without meaning.
    pub levels: U32,
}

/// `cuMipmappedArrayGetLevel` (sync).
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ArrayLevel {
    /// The mipmapped array.
    pub mipmap: U64,
    /// From 0.
    pub level: U32,
}

/// `CUDA_RESOURCE_DESC`: what a texture or surface is made of. Also the body of
/// `cuSurfObjectCreate` (sync).
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Resource {
    /// `CUresourcetype`.
    pub kind: U32,
    /// Must be zero.
    pub flags: U32,
    /// An array, a mipmapped array, or an address in device memory.
    pub handle: U64,
    /// `CUarray_format`; of memory only, as all that follows.
    pub format: U32,
    /// 1, 2 or 4.
    pub channels: U32,
    /// Texels of a row; bytes of linear memory.
    pub width: U64,
    /// Rows.
    pub height: U64,
    /// Bytes from row to row.
    pub pitch_bytes: U64,
}

/// `CUDA_TEXTURE_DESC`.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Sampler {
    /// `CUaddress_mode` of each dimension.
    pub address_modes: [U32; 3],
    /// `CUfilter_mode`.
    pub filter_mode: U32,
    /// `CU_TRSF_…`.
    pub flags: U32,
    /// Samples.
    pub max_anisotropy: U32,
    /// `CUfilter_mode` between levels.
    pub mipmap_filter_mode: U32,
    /// Levels.
    pub mipmap_level_bias: F32,
    /// Levels.
    pub min_mipmap_level_clamp: F32,
    /// Levels.
    pub max_mipmap_level_clamp: F32,
    /// Red, green, blue, alpha.
    pub border_color: [F32; 4],
}

/// `CUDA_RESOURCE_VIEW_DESC`.
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ResourceView {
    /// `CUresourceViewFormat`.
    pub format: U32,
    /// Texels.
    pub width: U64,
    /// Texels.
    pub height: U64,
    /// Texels.
    pub depth: U64,
    /// First and last level.
    pub levels: [U32; 2],
    /// First and last layer.
    pub layers: [U32; 2],
}

/// `cuTexObjectCreate` (sync).
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct TextureCreate {
    /// What is read.
    pub resource: Resource,
    /// How.
    pub sampler: Sampler,
    /// 1 if `view` has a meaning, else 0.
    pub has_view: U32,
    /// Part of the resource.
    pub view: ResourceView,
}

/// `cuTexRefSetAddress` (sync); the reply is the offset in bytes.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ReferenceAddress {
    /// The reference.
    pub reference: U64,
    /// In device memory.
    pub address: U64,
    /// Length.
    pub bytes: U64,
}

/// `cuTexRefSetAddress2D` (sync).
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ReferencePlane {
    /// The reference.
    pub reference: U64,
    /// In device memory.
    pub address: U64,
    /// Texels.
    pub width: U64,
    /// Rows.
    pub height: U64,
    /// Bytes from row to row.
    pub pitch_bytes: U64,
    /// `CUarray_format`.
    pub format: U32,
    /// 1, 2 or 4.
    pub channels: U32,
}

/// `cuTexRefSetBorderColor` (sync).
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ReferenceBorder {
    /// The reference.
    pub reference: U64,
    /// Red, green, blue, alpha.
    pub color: [F32; 4],
}

/// Where the device's side of a copy begins.
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct DeviceBox {
    /// The array; 0 for memory.
    pub array: U64,
    /// In device memory; of an array without meaning, as the next two.
    pub address: U64,
    /// Bytes from row to row.
    pub pitch_bytes: U64,
    /// Rows from slice to slice.
    pub slice_rows: U64,
    /// Byte in a row, row, and slice of an array; zero for memory.
    pub origin: [U64; 3],
}

/// `cuMemcpyHtoAAsync` (posted, payload: the rows without gaps) and `cuMemcpyAtoHAsync` (sync, the
/// rows without gaps are the reply's payload), also of copies in three dimensions.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct CopyBox {
    /// The device's side.
    pub device: DeviceBox,
    /// Bytes of a row.
    pub width_bytes: U64,
    /// Rows of a slice.
    pub height: U64,
    /// Slices.
    pub depth: U64,
    /// Number of the stream.
    pub stream: U32,
    /// As in [`Copy2D`](crate::command::Copy2D).
    pub synchronous: U32,
}

/// `cuMemcpy3DAsync` (posted) between two places on the device.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct CopyBetween {
    /// Destination.
    pub to: DeviceBox,
    /// Source.
    pub from: DeviceBox,
    /// Bytes of a row.
    pub width_bytes: U64,
    /// Rows of a slice.
    pub height: U64,
    /// Slices.
    pub depth: U64,
    /// Number of the stream.
    pub stream: U32,
}
