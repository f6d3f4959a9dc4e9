// SPDX-License-Identifier: Apache-2.0
//! Tensor maps (`cuda.h`: "Tensor Map Object Management").
//!
//! Refused with `CUDA_ERROR_NOT_SUPPORTED`: interleaved layouts, element types that convert or
//! unpack, swizzling finer than 16-byte chunks, and spans wider than a row of the box, of which no
//! documentation says where the rows then begin.

use core::ffi::c_void;

use gvirtus_abi::{
    CUresult, CUtensorMap, CUtensorMapDataType, CUtensorMapFloatOOBfill, CUtensorMapInterleave,
    CUtensorMapL2promotion, CUtensorMapSwizzle,
};

use super::arguments::{out, read_array};
use super::{architecture, context};
use crate::tensor_map::{
    CHUNK_BYTES, Element, MAP_ALIGNMENT_BYTES, RANK_MAX, Shape, Swizzle, TensorMap,
};

const INVALID_VALUE: CUresult = CUresult::CUDA_ERROR_INVALID_VALUE;

/// Alignment of the tensor and of its strides.
const GLOBAL_ALIGNMENT_BYTES: u64 = 16;
const EXTENT_MAX: u64 = 1 << 32;
const STRIDE_END_BYTES: u64 = 1 << 40;
const BOX_MAX: u32 = 256;
const PIXELS_MAX: u32 = 1024;
const STEP_MAX: u32 = 8;
/// Largest corner of a box of pixels, for ranks 3 to 5.
const CORNER_MAX: [i32; 3] = [32767, 127, 15];

/// What both kinds of maps have.
struct Common {
    kind: CUtensorMapDataType,
    rank: u32,
    address: *mut c_void,
    extent: *const u64,
    strides: *const u64,
    steps: *const u32,
    interleave: CUtensorMapInterleave,
    swizzle: CUtensorMapSwizzle,
    promotion: CUtensorMapL2promotion,
    fill: CUtensorMapFloatOOBfill,
}

fn refused(what: &'static str) -> CUresult {
    gvirtus_driver_face::unsupported(what)
}

/// The first elements of an array that must be there, and `rest` beyond them.
///
/// # Safety
///
/// The contract of `cuda.h`: null, or so many elements.
unsafe fn taken<T: Copy>(
    array: *const T,
    count: usize,
    rest: T,
) -> Result<[T; RANK_MAX], CUresult> {
    // SAFETY: the caller's promise.
    let given = unsafe { read_array(array, count) };
    if given.len() != count {
        return Err(INVALID_VALUE);
    }
    Ok(std::array::from_fn(|axis| {
        given.get(axis).copied().unwrap_or(rest)
    }))
}

impl Common {
    /// A map whose shape is still to come.
    ///
    /// # Safety
    ///
    /// The contract of `cuda.h`.
    unsafe fn map(&self, rank_min: u32) -> Result<TensorMap, CUresult> {
        context::usable()?;
        if !architecture::current().has_clusters() {
            return Err(refused("a tensor map below compute capability 9.0"));
        }
        let is_known = self.kind.name().is_some()
            && self.interleave.name().is_some()
            && self.swizzle.name().is_some()
            && self.promotion.name().is_some()
            && self.fill.name().is_some();
        let ranks = rank_min..=RANK_MAX as u32;
        if !is_known || !ranks.contains(&self.rank) {
            return Err(INVALID_VALUE);
        }
        let element = Element::from_number(self.kind.0)
            .ok_or_else(|| refused("a tensor map of elements that convert or unpack"))?;
        let swizzle = Swizzle::from_number(self.swizzle.0)
            .ok_or_else(|| refused("a tensor map that swizzles 32- or 64-byte chunks"))?;
        if self.interleave != CUtensorMapInterleave::CU_TENSOR_MAP_INTERLEAVE_NONE {
            return Err(refused("a tensor map of an interleaved layout"));
        }
        let rank = self.rank as usize;
        // SAFETY: the caller's promise.
        let (extent, strides, steps) = unsafe {
            (
                taken(self.extent, rank, 1)?,
                taken(self.strides, rank - 1, 0)?,
                taken(self.steps, rank, 1)?,
            )
        };
        let address = self.address.addr() as u64;
        let fills_nan = self.fill != CUtensorMapFloatOOBfill::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE;
        let is_aligned = |value: u64| value.is_multiple_of(GLOBAL_ALIGNMENT_BYTES);
        if !is_aligned(address)
            || extent
                .iter()
                .any(|length| !(1..=EXTENT_MAX).contains(length))
            || strides
                .iter()
                .any(|stride| !is_aligned(*stride) || *stride >= STRIDE_END_BYTES)
            || steps.iter().any(|step| !(1..=STEP_MAX).contains(step))
            || (fills_nan && !element.is_float())
        {
            return Err(INVALID_VALUE);
        }
        Ok(TensorMap {
            element,
            rank,
            address,
            extent,
            stride_bytes: std::array::from_fn(|axis| match axis {
                0 => element.bytes() as u64,
                _ => strides[axis - 1],
            }),
            step: steps.map(|step| step as u8),
            swizzle,
            fills_nan,
            shape: Shape::Tiled([1; RANK_MAX]),
        })
    }
}

fn opaque(map: &TensorMap) -> CUtensorMap {
    let bytes = map.encode();
    let mut opaque = [0; 16];
    for (word, bytes) in opaque.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    CUtensorMap { opaque }
}

/// Checks a row of the box, and writes the map.
///
/// # Safety
///
/// `place` is null or valid for writing.
unsafe fn finish(place: *mut CUtensorMap, map: TensorMap, row: u32) -> Result<(), CUresult> {
    let row_bytes = row as usize * map.element.bytes();
    if !row_bytes.is_multiple_of(CHUNK_BYTES) {
        return Err(INVALID_VALUE);
    }
    match map.swizzle.span_bytes() {
        Some(span) if row_bytes > span => return Err(INVALID_VALUE),
        Some(span) if row_bytes < span => {
            return Err(refused("a tensor map whose swizzle is wider than its box"));
        }
        _ => {}
    }
    if !(place.addr() as u64).is_multiple_of(MAP_ALIGNMENT_BYTES) {
        return Err(INVALID_VALUE);
    }
    out!(place = opaque(&map));
    Ok(())
}

pub(crate) unsafe fn cuTensorMapEncodeTiled(
    tensorMap: *mut CUtensorMap,
    tensorDataType: CUtensorMapDataType,
    tensorRank: u32,
    globalAddress: *mut c_void,
    globalDim: *const u64,
    globalStrides: *const u64,
    boxDim: *const u32,
    elementStrides: *const u32,
    interleave: CUtensorMapInterleave,
    swizzle: CUtensorMapSwizzle,
    l2Promotion: CUtensorMapL2promotion,
    oobFill: CUtensorMapFloatOOBfill,
) -> Result<(), CUresult> {
    let common = Common {
        kind: tensorDataType,
        rank: tensorRank,
        address: globalAddress,
        extent: globalDim,
        strides: globalStrides,
        steps: elementStrides,
        interleave,
        swizzle,
        promotion: l2Promotion,
        fill: oobFill,
    };
    // SAFETY: the contract of cuda.h.
    let (mut map, lengths) = unsafe {
        let map = common.map(1)?;
        (map, taken(boxDim, map.rank, 1)?)
    };
    if lengths.iter().any(|length| !(1..=BOX_MAX).contains(length)) {
        return Err(INVALID_VALUE);
    }
    map.shape = Shape::Tiled(lengths.map(|length| length as u16));
    // SAFETY: the contract of cuda.h.
    unsafe { finish(tensorMap, map, lengths[0]) }
}

pub(crate) unsafe fn cuTensorMapEncodeIm2col(
    tensorMap: *mut CUtensorMap,
    tensorDataType: CUtensorMapDataType,
    tensorRank: u32,
    globalAddress: *mut c_void,
    globalDim: *const u64,
    globalStrides: *const u64,
    pixelBoxLowerCorner: *const i32,
    pixelBoxUpperCorner: *const i32,
    channelsPerPixel: u32,
    pixelsPerColumn: u32,
    elementStrides: *const u32,
    interleave: CUtensorMapInterleave,
    swizzle: CUtensorMapSwizzle,
    l2Promotion: CUtensorMapL2promotion,
    oobFill: CUtensorMapFloatOOBfill,
) -> Result<(), CUresult> {
    let common = Common {
        kind: tensorDataType,
        rank: tensorRank,
        address: globalAddress,
        extent: globalDim,
        strides: globalStrides,
        steps: elementStrides,
        interleave,
        swizzle,
        promotion: l2Promotion,
        fill: oobFill,
    };
    // SAFETY: the contract of cuda.h.
    let (mut map, lower, upper) = unsafe {
        let map = common.map(3)?;
        let spatial = map.rank - 2;
        (
            map,
            taken(pixelBoxLowerCorner, spatial, 0)?,
            taken(pixelBoxUpperCorner, spatial, 0)?,
        )
    };
    let most = CORNER_MAX[map.rank - 3];
    let corners = lower.iter().chain(&upper);
    // A box has at least one place in each dimension.
    let is_empty = (0..map.rank - 2).any(|axis| {
        let last = map.extent[axis + 1] as i64 - 1 + i64::from(upper[axis]);
        last < i64::from(lower[axis])
    });
    if is_empty
        || corners
            .into_iter()
            .any(|corner| !(-most - 1..=most).contains(corner))
        || !(1..=BOX_MAX).contains(&channelsPerPixel)
        || !(1..=PIXELS_MAX).contains(&pixelsPerColumn)
    {
        return Err(INVALID_VALUE);
    }
    let corner = |from: [i32; RANK_MAX]| [from[0] as i16, from[1] as i16, from[2] as i16];
    map.shape = Shape::Im2col {
        lower: corner(lower),
        upper: corner(upper),
        channels: channelsPerPixel as u16,
        pixels: pixelsPerColumn as u16,
    };
    // SAFETY: the contract of cuda.h.
    unsafe { finish(tensorMap, map, channelsPerPixel) }
}

pub(crate) unsafe fn cuTensorMapReplaceAddress(
    tensorMap: *mut CUtensorMap,
    globalAddress: *mut c_void,
) -> Result<(), CUresult> {
    context::usable()?;
    let address = globalAddress.addr() as u64;
    let is_placed = (tensorMap.addr() as u64).is_multiple_of(MAP_ALIGNMENT_BYTES);
    if tensorMap.is_null() || !is_placed || !address.is_multiple_of(GLOBAL_ALIGNMENT_BYTES) {
        return Err(INVALID_VALUE);
    }
    // SAFETY: the contract of cuda.h: not null, and then a whole map.
    let words = unsafe { tensorMap.read_unaligned() }.opaque;
    let mut bytes = [0; 128];
    for (to, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
        *to = word.to_le_bytes();
    }
    let mut map = TensorMap::decode(&bytes).ok_or(INVALID_VALUE)?;
    map.address = address;
    out!(tensorMap = opaque(&map));
    Ok(())
}
