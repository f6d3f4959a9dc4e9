// SPDX-License-Identifier: Apache-2.0
//! Texture and surface instructions: `tex tld4 txq suld sust sured suq istypep`.

/// What the coordinates of a texture or surface instruction mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// 1 to 3; a cubemap's direction has 3.
    pub dimensions: u8,
    /// `.a1d .a2d .acube`: the index of a layer comes first.
    pub is_layered: bool,
    /// `.cube .acube`.
    pub is_cube: bool,
}

/// Which level a texture is read at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LevelMode {
    /// The first one.
    Base,
    /// `.level`.
    Explicit,
    /// `.grad`.
    Gradient,
}

/// The type of what a texture instruction answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TexelType {
    /// `.s32 .u32 .f32`: a register a channel.
    B32,
    /// `.f16`: a 16-bit register a channel.
    F16,
    /// `.f16x2`: a register for two channels.
    F16x2,
}

/// `txq`, `suq`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the PTX query of the same name")]
pub enum ImageQuery {
    Width,
    Height,
    Depth,
    ChannelDataType,
    ChannelOrder,
    NormalizedCoordinates,
    ForceUnnormalizedCoordinates,
    FilterMode,
    AddressMode(u8),
    ArraySize,
    MipmapLevels,
    Samples,
    MemoryLayout,
}

/// What happens outside a surface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SurfaceBounds {
    /// `.trap`
    Trap,
    /// `.clamp`
    Clamp,
    /// `.zero`
    Zero,
}

/// An opaque type of PTX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpaqueType {
    /// `.texref`
    Texture,
    /// `.samplerref`
    Sampler,
    /// `.surfref`
    Surface,
}

/// What [`super::Op::Image`] does. Its sources are, in this order: the layer's index, the
/// coordinates; the level, or both derivatives; the offsets in texels; the values that are stored.
/// All are 32-bit registers, but for stored values, which are as wide as their type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageOp {
    /// `tex`.
    Sample {
        /// Of the texture.
        geometry: Geometry,
        /// Coordinates are texels (`.s32`), not positions.
        is_integer: bool,
        /// Level.
        level: LevelMode,
        /// There are offsets, as many as dimensions.
        has_offset: bool,
        /// Of the results.
        result: TexelType,
    },
    /// `tld4`.
    Gather {
        /// Of the texture.
        geometry: Geometry,
        /// Channel, 0 to 3.
        channel: u8,
        /// There are offsets, as many as dimensions.
        has_offset: bool,
        /// Of the results.
        result: TexelType,
    },
    /// `txq`, `suq`: one 32-bit result.
    Query {
        /// What is asked.
        query: ImageQuery,
        /// `txq.level`: the first source is the level.
        has_level: bool,
    },
    /// `suld.b`; the first coordinate is in bytes.
    LoadSurface {
        /// Of the surface.
        geometry: Geometry,
        /// Of one element: 1, 2, 4 or 8.
        bytes: u8,
        /// Elements: 1, 2 or 4.
        count: u8,
        /// Outside.
        bounds: SurfaceBounds,
    },
    /// `sust.b`; the first coordinate is in bytes.
    StoreSurface {
        /// Of the surface.
        geometry: Geometry,
        /// Of one element: 1, 2, 4 or 8.
        bytes: u8,
        /// Elements: 1, 2 or 4.
        count: u8,
        /// Outside.
        bounds: SurfaceBounds,
    },
    /// `sust.p`: converted to the surface's format; the first coordinate is in texels.
    StoreTexel {
        /// Of the surface.
        geometry: Geometry,
        /// Channels given: 1, 2 or 4.
        count: u8,
        /// Outside.
        bounds: SurfaceBounds,
    },
    /// `sured`.
    ReduceSurface {
        /// Of the surface.
        geometry: Geometry,
        /// Add, Min, Max, And or Or.
        op: super::AtomicOp,
        /// U32, S32, U64 or S64.
        ty: super::AtomicType,
        /// `.p`: the first coordinate is in texels.
        is_texel: bool,
        /// Outside.
        bounds: SurfaceBounds,
    },
    /// `istypep`: whether the handle is one of these.
    IsType(OpaqueType),
}

impl Geometry {
    /// Sources that the coordinates take.
    #[must_use]
    pub fn sources(self) -> usize {
        usize::from(self.dimensions) + usize::from(self.is_layered)
    }

    /// Offsets in texels: on a cubemap's face there are two.
    #[must_use]
    pub fn offsets(self) -> usize {
        if self.is_cube {
            2
        } else {
            self.dimensions.into()
        }
    }
}
