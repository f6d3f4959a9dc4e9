// SPDX-License-Identifier: Apache-2.0
//! CUDA arrays and mipmapped arrays (`cuda.h`: "Memory Management").
//!
//! Texels lie row after row without gaps; layers and the faces of cubes are slices. So an array is
//! device memory of which only copies, textures and surfaces know the place.

use std::sync::Arc;

use gvirtus_abi::{
    CUDA_ARRAY_DESCRIPTOR, CUDA_ARRAY_MEMORY_REQUIREMENTS, CUDA_ARRAY_SPARSE_PROPERTIES,
    CUDA_ARRAY3D_CUBEMAP, CUDA_ARRAY3D_DESCRIPTOR, CUDA_ARRAY3D_LAYERED, CUDA_ARRAY3D_SURFACE_LDST,
    CUDA_ARRAY3D_TEXTURE_GATHER, CUarray, CUarray_format, CUdevice, CUmipmappedArray, CUresult,
};

use super::arguments::out;
use super::context::{self, Context};
use super::device;
use super::handles::{Handles, Kind};
use super::limits::{
    CUBEMAP_LAYERS_MAX, CUBEMAP_WIDTH_MAX, GATHER_WIDTH_MAX, LAYERED_WIDTH_MAX, LAYERS_MAX,
    TEXTURE_1D_WIDTH_MAX, TEXTURE_2D_HEIGHT_MAX, TEXTURE_2D_WIDTH_MAX, TEXTURE_3D_WIDTH_MAX,
};
use super::memory::Failure;
use super::scheduler::SCHEDULER;
use crate::texture::{self, Channel, Format, Image};

const INVALID_VALUE: CUresult = CUresult::CUDA_ERROR_INVALID_VALUE;
const INVALID_HANDLE: CUresult = CUresult::CUDA_ERROR_INVALID_HANDLE;

/// An array: an image of one level.
pub(super) struct Array {
    handle: CUarray,
    context: Arc<Context>,
    pub(super) image: Arc<Image>,
    pub(super) descriptor: CUDA_ARRAY3D_DESCRIPTOR,
    /// The mipmapped array whose level it is.
    parent: Option<CUmipmappedArray>,
}

/// A mipmapped array.
pub(super) struct Mipmap {
    context: Arc<Context>,
    pub(super) image: Arc<Image>,
    pub(super) descriptor: CUDA_ARRAY3D_DESCRIPTOR,
    /// Its levels, each once it was asked for.
    levels: parking_lot::Mutex<Vec<Option<CUarray>>>,
}

static ARRAYS: Handles<Array> = Handles::new(Kind::Array);
static MIPMAPS: Handles<Mipmap> = Handles::new(Kind::MipmappedArray);

/// Ends all arrays of a context.
pub(super) fn forget_context(context: &Context) {
    ARRAYS.remove_where(|array| array.context.id == context.id);
    MIPMAPS.remove_where(|mipmap| mipmap.context.id == context.id);
}

/// The array with that handle.
///
/// # Errors
///
/// `CUDA_ERROR_INVALID_HANDLE`.
pub(super) fn find(handle: CUarray) -> Result<Arc<Array>, CUresult> {
    ARRAYS.get(handle.0).ok_or(INVALID_HANDLE)
}

/// The mipmapped array with that handle.
///
/// # Errors
///
/// `CUDA_ERROR_INVALID_HANDLE`.
pub(super) fn find_mipmap(handle: CUmipmappedArray) -> Result<Arc<Mipmap>, CUresult> {
    MIPMAPS.get(handle.0).ok_or(INVALID_HANDLE)
}

/// The format of texels.
///
/// # Errors
///
/// `CUDA_ERROR_INVALID_VALUE`; `CUDA_ERROR_NOT_SUPPORTED` for compressed and planar formats.
pub(super) fn format(format: CUarray_format, channels: u32) -> Result<Format, CUresult> {
    use CUarray_format as F;
    let (channel, count) = match format {
        F::CU_AD_FORMAT_UNSIGNED_INT8 => (Channel::U8, channels),
        F::CU_AD_FORMAT_UNSIGNED_INT16 => (Channel::U16, channels),
        F::CU_AD_FORMAT_UNSIGNED_INT32 => (Channel::U32, channels),
        F::CU_AD_FORMAT_SIGNED_INT8 => (Channel::S8, channels),
        F::CU_AD_FORMAT_SIGNED_INT16 => (Channel::S16, channels),
        F::CU_AD_FORMAT_SIGNED_INT32 => (Channel::S32, channels),
        F::CU_AD_FORMAT_HALF => (Channel::F16, channels),
        F::CU_AD_FORMAT_FLOAT => (Channel::F32, channels),
        F::CU_AD_FORMAT_UNORM_INT8X1 => (Channel::Unorm8, 1),
        F::CU_AD_FORMAT_UNORM_INT8X2 => (Channel::Unorm8, 2),
        F::CU_AD_FORMAT_UNORM_INT8X4 => (Channel::Unorm8, 4),
        F::CU_AD_FORMAT_UNORM_INT16X1 => (Channel::Unorm16, 1),
        F::CU_AD_FORMAT_UNORM_INT16X2 => (Channel::Unorm16, 2),
        F::CU_AD_FORMAT_UNORM_INT16X4 => (Channel::Unorm16, 4),
        F::CU_AD_FORMAT_SNORM_INT8X1 => (Channel::Snorm8, 1),
        F::CU_AD_FORMAT_SNORM_INT8X2 => (Channel::Snorm8, 2),
        F::CU_AD_FORMAT_SNORM_INT8X4 => (Channel::Snorm8, 4),
        F::CU_AD_FORMAT_SNORM_INT16X1 => (Channel::Snorm16, 1),
        F::CU_AD_FORMAT_SNORM_INT16X2 => (Channel::Snorm16, 2),
        F::CU_AD_FORMAT_SNORM_INT16X4 => (Channel::Snorm16, 4),
        other if other.name().is_some() => return Err(CUresult::CUDA_ERROR_NOT_SUPPORTED),
        _ => return Err(INVALID_VALUE),
    };
    if !matches!(channels, 1 | 2 | 4) || channels != count {
        return Err(INVALID_VALUE);
    }
    Ok(Format {
        channel,
        channels: count,
    })
}

/// What an array of these extents is, as `cuArray3DCreate` lists it.
struct Shape {
    kind: texture::Kind,
    extent: texture::Extent,
    layers: u32,
}

fn shape(descriptor: &CUDA_ARRAY3D_DESCRIPTOR) -> Result<Shape, CUresult> {
    let flags = descriptor.Flags;
    let known = CUDA_ARRAY3D_LAYERED
        | CUDA_ARRAY3D_SURFACE_LDST
        | CUDA_ARRAY3D_CUBEMAP
        | CUDA_ARRAY3D_TEXTURE_GATHER;
    if flags & !known != 0 {
        return Err(CUresult::CUDA_ERROR_NOT_SUPPORTED);
    }
    let lengths = [descriptor.Width, descriptor.Height, descriptor.Depth];
    let mut extent = [1; 3];
    for (length, wanted) in extent.iter_mut().zip(lengths) {
        *length = u32::try_from(wanted).map_err(|_| INVALID_VALUE)?;
    }
    let [width, height, depth] = extent;
    let is_layered = flags & CUDA_ARRAY3D_LAYERED != 0;
    let (kind, layers, limits) = if flags & CUDA_ARRAY3D_CUBEMAP != 0 {
        let is_whole = if is_layered {
            depth.is_multiple_of(6)
        } else {
            depth == 6
        };
        if width != height || !is_whole {
            return Err(INVALID_VALUE);
        }
        let limits = [CUBEMAP_WIDTH_MAX, CUBEMAP_WIDTH_MAX, CUBEMAP_LAYERS_MAX];
        (texture::Kind::Cube { is_layered }, depth, limits)
    } else {
        let dimensions = match (height, depth) {
            (0, 0) => 1,
            (0, _) if is_layered => 1,
            (_, 0) => 2,
            (0, _) => return Err(INVALID_VALUE),
            (_, _) if is_layered => 2,
            _ => 3,
        };
        let limits = match (dimensions, is_layered) {
            (_, true) => [LAYERED_WIDTH_MAX, LAYERED_WIDTH_MAX, LAYERS_MAX],
            (1, _) => [TEXTURE_1D_WIDTH_MAX, 0, 0],
            (2, _) if flags & CUDA_ARRAY3D_TEXTURE_GATHER != 0 => {
                [GATHER_WIDTH_MAX, GATHER_WIDTH_MAX, 0]
            }
            (2, _) => [TEXTURE_2D_WIDTH_MAX, TEXTURE_2D_HEIGHT_MAX, 0],
            _ => [TEXTURE_3D_WIDTH_MAX; 3],
        };
        let kind = texture::Kind::Grid {
            dimensions,
            is_layered,
        };
        (kind, if is_layered { depth } else { 1 }, limits)
    };
    let is_too_large = extent
        .iter()
        .zip(limits)
        .any(|(length, most)| *length > most);
    if width == 0 || layers == 0 || is_too_large {
        return Err(INVALID_VALUE);
    }
    let depth = match kind {
        texture::Kind::Grid { dimensions: 3, .. } => depth,
        _ => 1,
    };
    Ok(Shape {
        kind,
        extent: [width, height.max(1), depth],
        layers,
    })
}

fn allocate(
    context: &Context,
    descriptor: &CUDA_ARRAY3D_DESCRIPTOR,
    levels: u32,
) -> Result<Arc<Image>, CUresult> {
    let format = format(descriptor.Format, descriptor.NumChannels)?;
    let shape = shape(descriptor)?;
    let most = 32
        - shape
            .extent
            .iter()
            .copied()
            .max()
            .unwrap_or(1)
            .leading_zeros();
    let levels = levels.clamp(1, most);
    let memory = context.device.memory()?;
    let image = Image::allocate(
        memory,
        shape.kind,
        format,
        shape.extent,
        shape.layers,
        levels,
    );
    Ok(Arc::new(image.map_err(Failure::from)?))
}

/// # Safety
///
/// `descriptor` is null or points to a whole structure.
unsafe fn read<T>(descriptor: *const T) -> Result<T, CUresult> {
    if descriptor.is_null() {
        return Err(INVALID_VALUE);
    }
    // SAFETY: not null, and then a whole structure by the caller's promise.
    Ok(unsafe { descriptor.read_unaligned() })
}

fn create(descriptor: &CUDA_ARRAY3D_DESCRIPTOR) -> Result<CUarray, CUresult> {
    let context = context::usable()?;
    let image = allocate(&context, descriptor, 1)?;
    let array = ARRAYS.insert(|handle| Array {
        handle: CUarray(handle),
        context,
        image,
        descriptor: *descriptor,
        parent: None,
    })?;
    Ok(array.handle)
}

pub(crate) unsafe fn cuArrayCreate_v2(
    pHandle: *mut CUarray,
    pAllocateArray: *const CUDA_ARRAY_DESCRIPTOR,
) -> Result<(), CUresult> {
    // SAFETY: the same contract.
    let descriptor = unsafe { read(pAllocateArray)? };
    if pHandle.is_null() {
        return Err(INVALID_VALUE);
    }
    out!(
        pHandle = create(&CUDA_ARRAY3D_DESCRIPTOR {
            Width: descriptor.Width,
            Height: descriptor.Height,
            Depth: 0,
            Format: descriptor.Format,
            NumChannels: descriptor.NumChannels,
            Flags: 0,
        })?
    );
    Ok(())
}

pub(crate) unsafe fn cuArray3DCreate_v2(
    pHandle: *mut CUarray,
    pAllocateArray: *const CUDA_ARRAY3D_DESCRIPTOR,
) -> Result<(), CUresult> {
    // SAFETY: the same contract.
    let descriptor = unsafe { read(pAllocateArray)? };
    if pHandle.is_null() {
        return Err(INVALID_VALUE);
    }
    out!(pHandle = create(&descriptor)?);
    Ok(())
}

pub(crate) unsafe fn cuArrayGetDescriptor_v2(
    pArrayDescriptor: *mut CUDA_ARRAY_DESCRIPTOR,
    hArray: CUarray,
) -> Result<(), CUresult> {
    context::usable()?;
    let descriptor = find(hArray)?.descriptor;
    out!(
        pArrayDescriptor = CUDA_ARRAY_DESCRIPTOR {
            Width: descriptor.Width,
            Height: descriptor.Height,
            Format: descriptor.Format,
            NumChannels: descriptor.NumChannels,
        }
    );
    Ok(())
}

pub(crate) unsafe fn cuArray3DGetDescriptor_v2(
    pArrayDescriptor: *mut CUDA_ARRAY3D_DESCRIPTOR,
    hArray: CUarray,
) -> Result<(), CUresult> {
    context::usable()?;
    out!(pArrayDescriptor = find(hArray)?.descriptor);
    Ok(())
}

/// Waits for the work of its context, which may use it.
pub(crate) fn cuArrayDestroy(hArray: CUarray) -> Result<(), CUresult> {
    let context = context::usable()?;
    let array = find(hArray)?;
    // A level ends with its mipmapped array.
    if array.parent.is_some() {
        return Err(INVALID_HANDLE);
    }
    SCHEDULER.wait_domain(array.context.domain);
    ARRAYS.remove(hArray.0);
    context.error.check()
}

/// No array here is sparse.
pub(crate) fn cuArrayGetSparseProperties(
    _: *mut CUDA_ARRAY_SPARSE_PROPERTIES,
    array: CUarray,
) -> Result<(), CUresult> {
    context::usable()?;
    find(array)?;
    Err(INVALID_VALUE)
}

/// No array here is sparse.
pub(crate) fn cuMipmappedArrayGetSparseProperties(
    _: *mut CUDA_ARRAY_SPARSE_PROPERTIES,
    mipmap: CUmipmappedArray,
) -> Result<(), CUresult> {
    context::usable()?;
    find_mipmap(mipmap)?;
    Err(INVALID_VALUE)
}

/// Only arrays that are mapped later have requirements, and there are none.
pub(crate) fn cuArrayGetMemoryRequirements(
    _: *mut CUDA_ARRAY_MEMORY_REQUIREMENTS,
    array: CUarray,
    device: CUdevice,
) -> Result<(), CUresult> {
    device::device(device)?;
    find(array)?;
    Err(INVALID_VALUE)
}

/// Only arrays that are mapped later have requirements, and there are none.
pub(crate) fn cuMipmappedArrayGetMemoryRequirements(
    _: *mut CUDA_ARRAY_MEMORY_REQUIREMENTS,
    mipmap: CUmipmappedArray,
    device: CUdevice,
) -> Result<(), CUresult> {
    device::device(device)?;
    find_mipmap(mipmap)?;
    Err(INVALID_VALUE)
}

/// No format here has planes.
pub(crate) fn cuArrayGetPlane(_: *mut CUarray, hArray: CUarray, _: u32) -> Result<(), CUresult> {
    context::usable()?;
    find(hArray)?;
    Err(INVALID_VALUE)
}

pub(crate) unsafe fn cuMipmappedArrayCreate(
    pHandle: *mut CUmipmappedArray,
    pMipmappedArrayDesc: *const CUDA_ARRAY3D_DESCRIPTOR,
    numMipmapLevels: u32,
) -> Result<(), CUresult> {
    let context = context::usable()?;
    // SAFETY: the same contract.
    let descriptor = unsafe { read(pMipmappedArrayDesc)? };
    if pHandle.is_null() {
        return Err(INVALID_VALUE);
    }
    let image = allocate(&context, &descriptor, numMipmapLevels)?;
    let levels = vec![None; image.levels.len()];
    let mut created = CUmipmappedArray::NULL;
    MIPMAPS.insert(|handle| {
        created = CUmipmappedArray(handle);
        Mipmap {
            context,
            image,
            descriptor,
            levels: levels.into(),
        }
    })?;
    out!(pHandle = created);
    Ok(())
}

pub(crate) unsafe fn cuMipmappedArrayGetLevel(
    pLevelArray: *mut CUarray,
    hMipmappedArray: CUmipmappedArray,
    level: u32,
) -> Result<(), CUresult> {
    context::usable()?;
    let mipmap = find_mipmap(hMipmappedArray)?;
    let index = level as usize;
    let mut levels = mipmap.levels.lock();
    let known = levels.get_mut(index).ok_or(INVALID_VALUE)?;
    let handle = match *known {
        Some(handle) => handle,
        None => {
            let handle = level_array(&mipmap, hMipmappedArray, index)?;
            *known = Some(handle);
            handle
        }
    };
    out!(pLevelArray = handle);
    Ok(())
}

fn level_array(
    mipmap: &Mipmap,
    parent: CUmipmappedArray,
    index: usize,
) -> Result<CUarray, CUresult> {
    let image = &mipmap.image;
    let view = image.view(image.format, index..=index, 0, image.layers);
    let view = view.ok_or(INVALID_VALUE)?;
    // Extents that are not there stay zero, and layers are as many in every level.
    let shrunk = |length: usize| match length {
        0 => 0,
        length => (length >> index).max(1),
    };
    let whole = mipmap.descriptor;
    let is_volume = matches!(image.kind, texture::Kind::Grid { dimensions: 3, .. });
    let descriptor = CUDA_ARRAY3D_DESCRIPTOR {
        Width: shrunk(whole.Width),
        Height: shrunk(whole.Height),
        Depth: if is_volume {
            shrunk(whole.Depth)
        } else {
            whole.Depth
        },
        ..whole
    };
    let array = ARRAYS.insert(|handle| Array {
        handle: CUarray(handle),
        context: mipmap.context.clone(),
        image: Arc::new(view),
        descriptor,
        parent: Some(parent),
    })?;
    Ok(array.handle)
}

/// Waits for the work of its context, which may use it.
pub(crate) fn cuMipmappedArrayDestroy(hMipmappedArray: CUmipmappedArray) -> Result<(), CUresult> {
    let context = context::usable()?;
    let mipmap = find_mipmap(hMipmappedArray)?;
    SCHEDULER.wait_domain(mipmap.context.domain);
    ARRAYS.remove_where(|array| array.parent == Some(hMipmappedArray));
    MIPMAPS.remove(hMipmappedArray.0);
    context.error.check()
}
