// SPDX-License-Identifier: Apache-2.0
//! Texture and surface objects (`cuda.h`: "Texture Object Management", "Surface Object
//! Management").

use std::sync::Arc;

use gvirtus_abi::{
    CU_TRSF_NORMALIZED_COORDINATES, CU_TRSF_READ_AS_INTEGER, CU_TRSF_SEAMLESS_CUBEMAP,
    CU_TRSF_SRGB, CUDA_ARRAY3D_SURFACE_LDST, CUDA_RESOURCE_DESC, CUDA_RESOURCE_VIEW_DESC,
    CUDA_TEXTURE_DESC, CUaddress_mode, CUdeviceptr, CUfilter_mode, CUresourceViewFormat,
    CUresourcetype, CUresult, CUsurfObject, CUtexObject,
};

use super::arguments::out;
use super::attributes::{TEXTURE_ALIGNMENT_BYTES, TEXTURE_PITCH_ALIGNMENT_BYTES};
use super::context::{self, Context};
use super::handles::{Handles, Kind};
use super::limits::{
    TEXTURE_1D_LINEAR_WIDTH_MAX, TEXTURE_2D_LINEAR_HEIGHT_MAX, TEXTURE_2D_LINEAR_PITCH_MAX,
    TEXTURE_2D_LINEAR_WIDTH_MAX,
};
use super::scheduler::SCHEDULER;
use super::{allocations, array};
use crate::texture::registry::{self, Object};
use crate::texture::{AddressMode, Channel, Format, Image, Read, Sampler, Surface, Texture};

const INVALID_VALUE: CUresult = CUresult::CUDA_ERROR_INVALID_VALUE;

/// A texture object, as it was asked for.
struct TextureObject {
    context: Arc<Context>,
    resource: CUDA_RESOURCE_DESC,
    texture: CUDA_TEXTURE_DESC,
    view: Option<CUDA_RESOURCE_VIEW_DESC>,
}

/// A surface object, as it was asked for.
struct SurfaceObject {
    context: Arc<Context>,
    resource: CUDA_RESOURCE_DESC,
}

static TEXTURES: Handles<TextureObject> = Handles::new(Kind::TextureObject);
static SURFACES: Handles<SurfaceObject> = Handles::new(Kind::SurfaceObject);

/// Ends all texture and surface objects of a context.
pub(super) fn forget_context(context: &Context) {
    let textures = TEXTURES.remove_handles_where(|texture| texture.context.id == context.id);
    let surfaces = SURFACES.remove_handles_where(|surface| surface.context.id == context.id);
    textures
        .into_iter()
        .chain(surfaces)
        .for_each(registry::remove);
}

/// Memory of the application that lies in one allocation.
pub(super) fn memory_image(
    context: &Context,
    address: CUdeviceptr,
    format: Format,
    extent: [usize; 2],
    pitch_bytes: usize,
    is_linear: bool,
) -> Result<Image, CUresult> {
    let [width, height] = extent;
    let is_placed = |value: usize, alignment: i32| value.is_multiple_of(alignment as usize);
    let limits = match is_linear {
        true => [TEXTURE_1D_LINEAR_WIDTH_MAX, 1, u32::MAX],
        false => [
            TEXTURE_2D_LINEAR_WIDTH_MAX,
            TEXTURE_2D_LINEAR_HEIGHT_MAX,
            TEXTURE_2D_LINEAR_PITCH_MAX,
        ],
    };
    let is_too_large = [width, height, pitch_bytes]
        .iter()
        .zip(limits)
        .any(|(length, most)| *length > most as usize);
    if width == 0 || height == 0 || is_too_large {
        return Err(INVALID_VALUE);
    }
    let row = width * format.bytes() as usize;
    let bytes = pitch_bytes * (height - 1) + row;
    let is_inside = allocations::find(address.0)
        .is_some_and(|allocation| allocation.holds(address.0, bytes as u64));
    if !is_inside
        || !is_placed(address.0 as usize, TEXTURE_ALIGNMENT_BYTES)
        || (!is_linear
            && (pitch_bytes < row || !is_placed(pitch_bytes, TEXTURE_PITCH_ALIGNMENT_BYTES)))
    {
        return Err(INVALID_VALUE);
    }
    let extent = [width as u32, height as u32];
    let memory = context.device.memory()?;
    Ok(Image::of_memory(
        memory,
        address.0,
        format,
        extent,
        pitch_bytes as u64,
        is_linear,
    ))
}

/// What a resource descriptor describes.
fn image(context: &Context, resource: &CUDA_RESOURCE_DESC) -> Result<Arc<Image>, CUresult> {
    // SAFETY: the type says which field it is; all of them are plain numbers.
    unsafe {
        match resource.resType {
            CUresourcetype::CU_RESOURCE_TYPE_ARRAY => {
                Ok(array::find(resource.res.array.hArray)?.image.clone())
            }
            CUresourcetype::CU_RESOURCE_TYPE_MIPMAPPED_ARRAY => {
                let mipmap = array::find_mipmap(resource.res.mipmap.hMipmappedArray)?;
                Ok(mipmap.image.clone())
            }
            CUresourcetype::CU_RESOURCE_TYPE_LINEAR => {
                let linear = resource.res.linear;
                let format = array::format(linear.format, linear.numChannels)?;
                let extent = [linear.sizeInBytes / format.bytes() as usize, 1];
                memory_image(context, linear.devPtr, format, extent, 0, true).map(Arc::new)
            }
            CUresourcetype::CU_RESOURCE_TYPE_PITCH2D => {
                let plane = resource.res.pitch2D;
                let format = array::format(plane.format, plane.numChannels)?;
                let extent = [plane.width, plane.height];
                let pitch = plane.pitchInBytes;
                memory_image(context, plane.devPtr, format, extent, pitch, false).map(Arc::new)
            }
            _ => Err(INVALID_VALUE),
        }
    }
}

/// An image as a view descriptor sees it.
fn viewed(image: &Image, view: &CUDA_RESOURCE_VIEW_DESC) -> Result<Image, CUresult> {
    let format = view_format(view.format, image.format)?;
    let whole = image.levels[view.firstMipmapLevel.min(image.levels.len() as u32 - 1) as usize];
    let slices = image.slices(&whole);
    let is_resized = [view.width, view.height, view.depth]
        .iter()
        .zip([whole.extent[0], whole.extent[1], slices])
        .any(|(asked, length)| *asked > 1 && *asked != length as usize);
    if is_resized || view.lastLayer < view.firstLayer {
        return Err(INVALID_VALUE);
    }
    let levels = view.firstMipmapLevel as usize..=view.lastMipmapLevel as usize;
    // Without layers both numbers are zero.
    let layers = match image.kind {
        crate::texture::Kind::Grid { is_layered, .. }
        | crate::texture::Kind::Cube { is_layered }
            if is_layered =>
        {
            view.lastLayer - view.firstLayer + 1
        }
        _ if view.lastLayer > 0 => return Err(INVALID_VALUE),
        _ => image.layers,
    };
    image
        .view(format, levels, view.firstLayer, layers)
        .ok_or(INVALID_VALUE)
}

fn view_format(view: CUresourceViewFormat, own: Format) -> Result<Format, CUresult> {
    let number = view.0;
    let channels = |first: u32| [1, 2, 4][(number - first) as usize % 3];
    let (channel, first) = match number {
        0 => return Ok(own),
        1..=3 => (Channel::U8, 1),
        4..=6 => (Channel::S8, 4),
        7..=9 => (Channel::U16, 7),
        10..=12 => (Channel::S16, 10),
        13..=15 => (Channel::U32, 13),
        16..=18 => (Channel::S32, 16),
        19..=21 => (Channel::F16, 19),
        22..=24 => (Channel::F32, 22),
        _ if view.name().is_some() => return Err(CUresult::CUDA_ERROR_NOT_SUPPORTED),
        _ => return Err(INVALID_VALUE),
    };
    Ok(Format {
        channel,
        channels: channels(first),
    })
}

/// What a texture descriptor says of an image's texels.
pub(super) fn sampler(texture: &CUDA_TEXTURE_DESC, image: &Image) -> Result<Sampler, CUresult> {
    let known = CU_TRSF_READ_AS_INTEGER
        | CU_TRSF_NORMALIZED_COORDINATES
        | CU_TRSF_SRGB
        | CU_TRSF_SEAMLESS_CUBEMAP
        | gvirtus_abi::CU_TRSF_DISABLE_TRILINEAR_OPTIMIZATION;
    if texture.flags & !known != 0 {
        return Err(INVALID_VALUE);
    }
    let has = |flag: u32| texture.flags & flag != 0;
    let mut address = [AddressMode::Clamp; 3];
    for (mode, wanted) in address.iter_mut().zip(texture.addressMode) {
        *mode = match wanted {
            CUaddress_mode::CU_TR_ADDRESS_MODE_WRAP => AddressMode::Wrap,
            CUaddress_mode::CU_TR_ADDRESS_MODE_CLAMP => AddressMode::Clamp,
            CUaddress_mode::CU_TR_ADDRESS_MODE_MIRROR => AddressMode::Mirror,
            CUaddress_mode::CU_TR_ADDRESS_MODE_BORDER => AddressMode::Border,
            _ => return Err(INVALID_VALUE),
        };
    }
    let is_linear = |mode: CUfilter_mode| match mode {
        CUfilter_mode::CU_TR_FILTER_MODE_POINT => Ok(false),
        CUfilter_mode::CU_TR_FILTER_MODE_LINEAR => Ok(true),
        _ => Err(INVALID_VALUE),
    };
    let read = match has(CU_TRSF_READ_AS_INTEGER) {
        true => Read::Element,
        false => Read::Fraction,
    };
    let is_float = image.format.is_float(read);
    let is_coloured = texture.borderColor.iter().any(|value| *value != 0.0);
    if !is_float && is_coloured && address.contains(&AddressMode::Border) {
        // cuda.h gives the colour as numbers and does not say what integers become of them.
        return Err(gvirtus_driver_face::unsupported(
            "a border colour of integer texels",
        ));
    }
    Ok(Sampler {
        address,
        is_linear: is_linear(texture.filterMode)?,
        is_linear_between: is_linear(texture.mipmapFilterMode)?,
        is_normalized: has(CU_TRSF_NORMALIZED_COORDINATES),
        read,
        is_srgb: has(CU_TRSF_SRGB),
        is_seamless: has(CU_TRSF_SEAMLESS_CUBEMAP),
        bias: texture.mipmapLevelBias,
        clamp: [texture.minMipmapLevelClamp, texture.maxMipmapLevelClamp],
        anisotropy: texture.maxAnisotropy.clamp(1, ANISOTROPY_MAX),
        border: texture.borderColor,
    })
}

/// Most samples along the longer side of a pixel.
const ANISOTROPY_MAX: u32 = 16;

pub(crate) unsafe fn cuTexObjectCreate(
    pTexObject: *mut CUtexObject,
    pResDesc: *const CUDA_RESOURCE_DESC,
    pTexDesc: *const CUDA_TEXTURE_DESC,
    pResViewDesc: *const CUDA_RESOURCE_VIEW_DESC,
) -> Result<(), CUresult> {
    let context = context::usable()?;
    if pTexObject.is_null() || pResDesc.is_null() || pTexDesc.is_null() {
        return Err(INVALID_VALUE);
    }
    // SAFETY: the contract of cuda.h: not null, and then whole structures.
    let (resource, texture) = unsafe { (pResDesc.read_unaligned(), pTexDesc.read_unaligned()) };
    let view = (!pResViewDesc.is_null()).then(|| {
        // SAFETY: as above.
        unsafe { pResViewDesc.read_unaligned() }
    });
    let mut image = image(&context, &resource)?;
    if let Some(view) = &view {
        if image.is_of_memory() {
            return Err(INVALID_VALUE);
        }
        image = Arc::new(viewed(&image, view)?);
    }
    let sampler = sampler(&texture, &image)?;
    if image.levels.len() > 1 && !sampler.is_normalized {
        return Err(INVALID_VALUE);
    }
    let mut created = 0;
    TEXTURES.insert(|handle| {
        created = handle;
        TextureObject {
            context,
            resource,
            texture,
            view,
        }
    })?;
    registry::insert(
        created,
        Object::Texture(Arc::new(Texture { image, sampler })),
    );
    out!(pTexObject = created);
    Ok(())
}

/// Waits for the kernels of its context, which may use it.
pub(crate) fn cuTexObjectDestroy(texObject: CUtexObject) -> Result<(), CUresult> {
    let context = context::usable()?;
    let object = TEXTURES.get(texObject).ok_or(INVALID_VALUE)?;
    SCHEDULER.wait_domain(object.context.domain);
    TEXTURES.remove(texObject);
    registry::remove(texObject);
    context.error.check()
}

pub(crate) unsafe fn cuTexObjectGetResourceDesc(
    pResDesc: *mut CUDA_RESOURCE_DESC,
    texObject: CUtexObject,
) -> Result<(), CUresult> {
    out!(pResDesc = TEXTURES.get(texObject).ok_or(INVALID_VALUE)?.resource);
    Ok(())
}

pub(crate) unsafe fn cuTexObjectGetTextureDesc(
    pTexDesc: *mut CUDA_TEXTURE_DESC,
    texObject: CUtexObject,
) -> Result<(), CUresult> {
    out!(pTexDesc = TEXTURES.get(texObject).ok_or(INVALID_VALUE)?.texture);
    Ok(())
}

pub(crate) unsafe fn cuTexObjectGetResourceViewDesc(
    pResViewDesc: *mut CUDA_RESOURCE_VIEW_DESC,
    texObject: CUtexObject,
) -> Result<(), CUresult> {
    let object = TEXTURES.get(texObject).ok_or(INVALID_VALUE)?;
    out!(pResViewDesc = object.view.ok_or(INVALID_VALUE)?);
    Ok(())
}

/// A surface on an array that may be written.
pub(super) fn surface(handle: gvirtus_abi::CUarray) -> Result<Surface, CUresult> {
    let array = array::find(handle)?;
    if array.descriptor.Flags & CUDA_ARRAY3D_SURFACE_LDST == 0 {
        return Err(INVALID_VALUE);
    }
    Ok(Surface {
        image: array.image.clone(),
    })
}

pub(crate) unsafe fn cuSurfObjectCreate(
    pSurfObject: *mut CUsurfObject,
    pResDesc: *const CUDA_RESOURCE_DESC,
) -> Result<(), CUresult> {
    let context = context::usable()?;
    if pSurfObject.is_null() || pResDesc.is_null() {
        return Err(INVALID_VALUE);
    }
    // SAFETY: the contract of cuda.h: not null, and then a whole structure.
    let resource = unsafe { pResDesc.read_unaligned() };
    if resource.resType != CUresourcetype::CU_RESOURCE_TYPE_ARRAY {
        return Err(INVALID_VALUE);
    }
    // SAFETY: the type says which field it is.
    let surface = surface(unsafe { resource.res.array.hArray })?;
    let mut created = 0;
    SURFACES.insert(|handle| {
        created = handle;
        SurfaceObject { context, resource }
    })?;
    registry::insert(created, Object::Surface(Arc::new(surface)));
    out!(pSurfObject = created);
    Ok(())
}

/// Waits for the kernels of its context, which may use it.
pub(crate) fn cuSurfObjectDestroy(surfObject: CUsurfObject) -> Result<(), CUresult> {
    let context = context::usable()?;
    let object = SURFACES.get(surfObject).ok_or(INVALID_VALUE)?;
    SCHEDULER.wait_domain(object.context.domain);
    SURFACES.remove(surfObject);
    registry::remove(surfObject);
    context.error.check()
}

pub(crate) unsafe fn cuSurfObjectGetResourceDesc(
    pResDesc: *mut CUDA_RESOURCE_DESC,
    surfObject: CUsurfObject,
) -> Result<(), CUresult> {
    out!(pResDesc = SURFACES.get(surfObject).ok_or(INVALID_VALUE)?.resource);
    Ok(())
}
