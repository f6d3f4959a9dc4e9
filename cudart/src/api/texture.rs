// SPDX-License-Identifier: Apache-2.0
//! Texture and surface objects.
//!
//! Releases until 12 have shorter structures than release 13 ([`cudaResourceDesc_v12`],
//! [`cudaResourceViewDesc_v12`]), and release 11 a texture description without its last field; what
//! a structure lacks is zero.

use std::mem::zeroed;
use std::ptr::null;

use gvirtus_abi::{
    CU_TRSF_DISABLE_TRILINEAR_OPTIMIZATION, CU_TRSF_NORMALIZED_COORDINATES,
    CU_TRSF_READ_AS_INTEGER, CU_TRSF_SEAMLESS_CUBEMAP, CU_TRSF_SRGB, CUDA_RESOURCE_DESC,
    CUDA_RESOURCE_VIEW_DESC, CUDA_TEXTURE_DESC, CUaddress_mode, CUfilter_mode,
    CUresourceViewFormat, CUresourcetype, CUtexObject,
};
use gvirtus_runtime_abi::{
    cudaChannelFormatDesc, cudaChannelFormatKind, cudaError, cudaResourceDesc,
    cudaResourceDesc_res, cudaResourceDesc_v12, cudaResourceType, cudaResourceViewDesc,
    cudaResourceViewDesc_v12, cudaResourceViewFormat, cudaTextureAddressMode, cudaTextureDesc,
    cudaTextureDesc_v2, cudaTextureDesc_v11, cudaTextureFilterMode, cudaTextureReadMode,
};

use super::array::{description_of, format_of};
use super::memory::device_pointer;
use super::{cudaGetChannelDesc, not_null, write};
use crate::context::with_context;
use crate::error::Result;

/// The newest form of an older structure: its bytes, and zeros behind them.
///
/// # Safety
///
/// The pointer is to an `Old`, which is the beginning of a `New`; zero is a value of all that a
/// `New` has more.
unsafe fn grown<Old: Copy, New: Copy>(old: *const Old) -> New {
    const { assert!(size_of::<Old>() <= size_of::<New>()) };
    // SAFETY: the caller's promise.
    unsafe {
        let mut new: New = zeroed();
        std::ptr::copy_nonoverlapping(old.cast::<u8>(), (&raw mut new).cast(), size_of::<Old>());
        new
    }
}

/// Writes the beginning of a structure that an older release knows.
///
/// # Safety
///
/// The pointer is null or to an `Old`, which is the beginning of a `New`.
unsafe fn write_beginning<Old: Copy, New: Copy>(to: *mut Old, new: &New) -> Result<()> {
    const { assert!(size_of::<Old>() <= size_of::<New>()) };
    // SAFETY: the caller's promise.
    unsafe { write(to, std::ptr::from_ref(new).cast::<Old>().read_unaligned()) }
}

/// # Errors
///
/// `cudaErrorInvalidValue` for an unknown type of resource, `cudaErrorInvalidChannelDescriptor` for
/// a format that no texture has.
fn driver_resource(resource: &cudaResourceDesc) -> Result<CUDA_RESOURCE_DESC> {
    // SAFETY: integers and handles, for which zero is a value.
    let mut desc: CUDA_RESOURCE_DESC = unsafe { zeroed() };
    // The types' numbers are the same.
    desc.resType = CUresourcetype(resource.resType.0);
    desc.flags = resource.flags;
    // SAFETY: the type says which member is meant; each is plain data.
    unsafe {
        match resource.resType {
            cudaResourceType::cudaResourceTypeArray => {
                desc.res.array.hArray = resource.res.array.array;
            }
            cudaResourceType::cudaResourceTypeMipmappedArray => {
                desc.res.mipmap.hMipmappedArray = resource.res.mipmap.mipmap;
            }
            cudaResourceType::cudaResourceTypeLinear => {
                let linear = resource.res.linear;
                let (format, channels) = format_of(&linear.desc)?;
                desc.res.linear.devPtr = device_pointer(linear.devPtr);
                desc.res.linear.format = format;
                desc.res.linear.numChannels = channels;
                desc.res.linear.sizeInBytes = linear.sizeInBytes;
            }
            cudaResourceType::cudaResourceTypePitch2D => {
                let rows = resource.res.pitch2D;
                let (format, channels) = format_of(&rows.desc)?;
                desc.res.pitch2D.devPtr = device_pointer(rows.devPtr);
                desc.res.pitch2D.format = format;
                desc.res.pitch2D.numChannels = channels;
                desc.res.pitch2D.width = rows.width;
                desc.res.pitch2D.height = rows.height;
                desc.res.pitch2D.pitchInBytes = rows.pitchInBytes;
            }
            _ => return Err(cudaError::cudaErrorInvalidValue),
        }
    }
    Ok(desc)
}

/// The elements of a resource, where it tells them.
fn elements(resource: &cudaResourceDesc) -> Result<Option<cudaChannelFormatDesc>> {
    // SAFETY: the type says which member is meant; the output is a local.
    unsafe {
        match resource.resType {
            cudaResourceType::cudaResourceTypeArray => {
                let mut desc: cudaChannelFormatDesc = zeroed();
                cudaGetChannelDesc(&raw mut desc, resource.res.array.array)?;
                Ok(Some(desc))
            }
            cudaResourceType::cudaResourceTypeLinear => Ok(Some(resource.res.linear.desc)),
            cudaResourceType::cudaResourceTypePitch2D => Ok(Some(resource.res.pitch2D.desc)),
            _ => Ok(None),
        }
    }
}

/// # Errors
///
/// `cudaErrorInvalidNormSetting` or `cudaErrorInvalidFilterSetting` if the elements cannot be read
/// in this way.
fn check_reading(texture: &cudaTextureDesc, elements: &cudaChannelFormatDesc) -> Result<()> {
    let integer = matches!(
        elements.f,
        cudaChannelFormatKind::cudaChannelFormatKindSigned
            | cudaChannelFormatKind::cudaChannelFormatKindUnsigned
    );
    let normalized = texture.readMode == cudaTextureReadMode::cudaReadModeNormalizedFloat;
    let linear = texture.filterMode == cudaTextureFilterMode::cudaFilterModeLinear;
    if normalized && integer && elements.x > 16 {
        return Err(cudaError::cudaErrorInvalidNormSetting);
    }
    if linear && integer && !normalized {
        return Err(cudaError::cudaErrorInvalidFilterSetting);
    }
    Ok(())
}

fn driver_texture(texture: &cudaTextureDesc) -> CUDA_TEXTURE_DESC {
    let flag = |wanted: bool, flag: u32| if wanted { flag } else { 0 };
    let element_type = texture.readMode == cudaTextureReadMode::cudaReadModeElementType;
    CUDA_TEXTURE_DESC {
        addressMode: texture.addressMode.map(|mode| CUaddress_mode(mode.0)),
        filterMode: CUfilter_mode(texture.filterMode.0),
        flags: flag(element_type, CU_TRSF_READ_AS_INTEGER)
            | flag(
                texture.normalizedCoords != 0,
                CU_TRSF_NORMALIZED_COORDINATES,
            )
            | flag(texture.sRGB != 0, CU_TRSF_SRGB)
            | flag(
                texture.disableTrilinearOptimization != 0,
                CU_TRSF_DISABLE_TRILINEAR_OPTIMIZATION,
            )
            | flag(texture.seamlessCubemap != 0, CU_TRSF_SEAMLESS_CUBEMAP),
        maxAnisotropy: texture.maxAnisotropy,
        mipmapFilterMode: CUfilter_mode(texture.mipmapFilterMode.0),
        mipmapLevelBias: texture.mipmapLevelBias,
        minMipmapLevelClamp: texture.minMipmapLevelClamp,
        maxMipmapLevelClamp: texture.maxMipmapLevelClamp,
        borderColor: texture.borderColor,
        reserved: [0; 12],
    }
}

fn driver_view(view: &cudaResourceViewDesc) -> CUDA_RESOURCE_VIEW_DESC {
    CUDA_RESOURCE_VIEW_DESC {
        format: CUresourceViewFormat(view.format.0),
        width: view.width,
        height: view.height,
        depth: view.depth,
        firstMipmapLevel: view.firstMipmapLevel,
        lastMipmapLevel: view.lastMipmapLevel,
        firstLayer: view.firstLayer,
        lastLayer: view.lastLayer,
        reserved: [0; 16],
    }
}

fn create_texture(
    object: *mut CUtexObject,
    resource: &cudaResourceDesc,
    texture: &cudaTextureDesc,
    view: Option<&cudaResourceViewDesc>,
) -> Result<()> {
    not_null(object)?;
    if let Some(elements) = elements(resource)? {
        check_reading(texture, &elements)?;
    }
    let resource = driver_resource(resource)?;
    let texture = driver_texture(texture);
    let view = view.map(driver_view);
    let view = view.as_ref().map_or(null(), std::ptr::from_ref);
    // SAFETY: the caller of the runtime's function promised an output; the inputs are locals.
    with_context(|driver| unsafe {
        driver.cuTexObjectCreate(object, &raw const resource, &raw const texture, view)
    })
}

/// A function that makes a texture object from one release's structures.
macro_rules! create_texture_object {
    ($function:ident, $resource:ident, $texture:ident, $view:ident) => {
        pub unsafe fn $function(
            pTexObject: *mut u64,
            pResDesc: *const $resource,
            pTexDesc: *const $texture,
            pResViewDesc: *const $view,
        ) -> Result<()> {
            not_null(pResDesc)?;
            not_null(pTexDesc)?;
            // SAFETY: the caller's promise: structures of its release.
            unsafe {
                let view = (!pResViewDesc.is_null()).then(|| grown(pResViewDesc));
                create_texture(
                    pTexObject.cast(),
                    &grown(pResDesc),
                    &grown(pTexDesc),
                    view.as_ref(),
                )
            }
        }
    };
}

create_texture_object!(
    cudaCreateTextureObject,
    cudaResourceDesc,
    cudaTextureDesc,
    cudaResourceViewDesc
);
create_texture_object!(
    cudaCreateTextureObject_r12,
    cudaResourceDesc_v12,
    cudaTextureDesc,
    cudaResourceViewDesc_v12
);
create_texture_object!(
    cudaCreateTextureObject_r11,
    cudaResourceDesc_v12,
    cudaTextureDesc_v11,
    cudaResourceViewDesc_v12
);
create_texture_object!(
    cudaCreateTextureObject_v2,
    cudaResourceDesc_v12,
    cudaTextureDesc_v2,
    cudaResourceViewDesc_v12
);

/// # Errors
///
/// `cudaErrorInvalidChannelDescriptor` for a format that the runtime cannot tell.
fn runtime_resource(desc: &CUDA_RESOURCE_DESC) -> Result<cudaResourceDesc> {
    let mut resource = cudaResourceDesc {
        resType: cudaResourceType(desc.resType.0),
        // SAFETY: integers and handles, for which zero is a value.
        res: unsafe { zeroed::<cudaResourceDesc_res>() },
        flags: desc.flags,
    };
    // SAFETY: the type says which member is meant; each is plain data.
    unsafe {
        match resource.resType {
            cudaResourceType::cudaResourceTypeArray => {
                resource.res.array.array = desc.res.array.hArray;
            }
            cudaResourceType::cudaResourceTypeMipmappedArray => {
                resource.res.mipmap.mipmap = desc.res.mipmap.hMipmappedArray;
            }
            cudaResourceType::cudaResourceTypeLinear => {
                let linear = desc.res.linear;
                resource.res.linear.devPtr = linear.devPtr.0 as usize as *mut _;
                resource.res.linear.desc = description_of(linear.format, linear.numChannels)?;
                resource.res.linear.sizeInBytes = linear.sizeInBytes;
            }
            _ => {
                let rows = desc.res.pitch2D;
                resource.res.pitch2D.devPtr = rows.devPtr.0 as usize as *mut _;
                resource.res.pitch2D.desc = description_of(rows.format, rows.numChannels)?;
                resource.res.pitch2D.width = rows.width;
                resource.res.pitch2D.height = rows.height;
                resource.res.pitch2D.pitchInBytes = rows.pitchInBytes;
            }
        }
    }
    Ok(resource)
}

fn texture_resource(object: u64) -> Result<cudaResourceDesc> {
    // SAFETY: integers and handles, for which zero is a value.
    let mut desc: CUDA_RESOURCE_DESC = unsafe { zeroed() };
    let output = &raw mut desc;
    // SAFETY: the output is a local; the driver checks the object.
    with_context(|driver| unsafe { driver.cuTexObjectGetResourceDesc(output, object) })?;
    runtime_resource(&desc)
}

pub unsafe fn cudaGetTextureObjectResourceDesc(
    pResDesc: *mut cudaResourceDesc,
    texObject: u64,
) -> Result<()> {
    let resource = texture_resource(texObject)?;
    // SAFETY: the caller's promise.
    unsafe { write(pResDesc, resource) }
}

pub unsafe fn cudaGetTextureObjectResourceDesc_r12(
    pResDesc: *mut cudaResourceDesc_v12,
    texObject: u64,
) -> Result<()> {
    let resource = texture_resource(texObject)?;
    // SAFETY: the caller's promise.
    unsafe { write_beginning(pResDesc, &resource) }
}

fn texture_description(object: u64) -> Result<cudaTextureDesc> {
    // SAFETY: numbers, for which zero is a value.
    let mut desc: CUDA_TEXTURE_DESC = unsafe { zeroed() };
    let output = &raw mut desc;
    // SAFETY: the output is a local; the driver checks the object.
    with_context(|driver| unsafe { driver.cuTexObjectGetTextureDesc(output, object) })?;
    let flag = |flag: u32| i32::from(desc.flags & flag != 0);
    Ok(cudaTextureDesc {
        addressMode: desc.addressMode.map(|mode| cudaTextureAddressMode(mode.0)),
        filterMode: cudaTextureFilterMode(desc.filterMode.0),
        readMode: match flag(CU_TRSF_READ_AS_INTEGER) {
            0 => cudaTextureReadMode::cudaReadModeNormalizedFloat,
            _ => cudaTextureReadMode::cudaReadModeElementType,
        },
        sRGB: flag(CU_TRSF_SRGB),
        borderColor: desc.borderColor,
        normalizedCoords: flag(CU_TRSF_NORMALIZED_COORDINATES),
        maxAnisotropy: desc.maxAnisotropy,
        mipmapFilterMode: cudaTextureFilterMode(desc.mipmapFilterMode.0),
        mipmapLevelBias: desc.mipmapLevelBias,
        minMipmapLevelClamp: desc.minMipmapLevelClamp,
        maxMipmapLevelClamp: desc.maxMipmapLevelClamp,
        disableTrilinearOptimization: flag(CU_TRSF_DISABLE_TRILINEAR_OPTIMIZATION),
        seamlessCubemap: flag(CU_TRSF_SEAMLESS_CUBEMAP),
    })
}

/// A function that tells a texture object's description in one release's structure.
macro_rules! get_texture_description {
    ($function:ident, $structure:ident) => {
        pub unsafe fn $function(pTexDesc: *mut $structure, texObject: u64) -> Result<()> {
            let description = texture_description(texObject)?;
            // SAFETY: the caller's promise.
            unsafe { write_beginning(pTexDesc, &description) }
        }
    };
}

get_texture_description!(cudaGetTextureObjectTextureDesc, cudaTextureDesc);
get_texture_description!(cudaGetTextureObjectTextureDesc_r11, cudaTextureDesc_v11);
get_texture_description!(cudaGetTextureObjectTextureDesc_v2, cudaTextureDesc_v2);

fn texture_view(object: u64) -> Result<cudaResourceViewDesc> {
    // SAFETY: integers, for which zero is a value.
    let mut desc: CUDA_RESOURCE_VIEW_DESC = unsafe { zeroed() };
    let output = &raw mut desc;
    // SAFETY: the output is a local; the driver checks the object.
    with_context(|driver| unsafe { driver.cuTexObjectGetResourceViewDesc(output, object) })?;
    Ok(cudaResourceViewDesc {
        format: cudaResourceViewFormat(desc.format.0),
        width: desc.width,
        height: desc.height,
        depth: desc.depth,
        firstMipmapLevel: desc.firstMipmapLevel,
        lastMipmapLevel: desc.lastMipmapLevel,
        firstLayer: desc.firstLayer,
        lastLayer: desc.lastLayer,
        reserved: [0; 16],
    })
}

pub unsafe fn cudaGetTextureObjectResourceViewDesc(
    pResViewDesc: *mut cudaResourceViewDesc,
    texObject: u64,
) -> Result<()> {
    let view = texture_view(texObject)?;
    // SAFETY: the caller's promise.
    unsafe { write(pResViewDesc, view) }
}

pub unsafe fn cudaGetTextureObjectResourceViewDesc_r12(
    pResViewDesc: *mut cudaResourceViewDesc_v12,
    texObject: u64,
) -> Result<()> {
    let view = texture_view(texObject)?;
    // SAFETY: the caller's promise.
    unsafe { write_beginning(pResViewDesc, &view) }
}

fn create_surface(object: *mut u64, resource: &cudaResourceDesc) -> Result<()> {
    not_null(object)?;
    if resource.resType != cudaResourceType::cudaResourceTypeArray {
        return Err(cudaError::cudaErrorInvalidValue);
    }
    let resource = driver_resource(resource)?;
    // SAFETY: the caller of the runtime's function promised an output; the input is a local.
    with_context(|driver| unsafe { driver.cuSurfObjectCreate(object.cast(), &raw const resource) })
}

pub unsafe fn cudaCreateSurfaceObject(
    pSurfObject: *mut u64,
    pResDesc: *const cudaResourceDesc,
) -> Result<()> {
    not_null(pResDesc)?;
    // SAFETY: the caller's promise.
    create_surface(pSurfObject, unsafe { &*pResDesc })
}

pub unsafe fn cudaCreateSurfaceObject_r12(
    pSurfObject: *mut u64,
    pResDesc: *const cudaResourceDesc_v12,
) -> Result<()> {
    not_null(pResDesc)?;
    // SAFETY: the caller's promise.
    create_surface(pSurfObject, &unsafe { grown(pResDesc) })
}

fn surface_resource(object: u64) -> Result<cudaResourceDesc> {
    // SAFETY: integers and handles, for which zero is a value.
    let mut desc: CUDA_RESOURCE_DESC = unsafe { zeroed() };
    let output = &raw mut desc;
    // SAFETY: the output is a local; the driver checks the object.
    with_context(|driver| unsafe { driver.cuSurfObjectGetResourceDesc(output, object) })?;
    runtime_resource(&desc)
}

pub unsafe fn cudaGetSurfaceObjectResourceDesc(
    pResDesc: *mut cudaResourceDesc,
    surfObject: u64,
) -> Result<()> {
    let resource = surface_resource(surfObject)?;
    // SAFETY: the caller's promise.
    unsafe { write(pResDesc, resource) }
}

pub unsafe fn cudaGetSurfaceObjectResourceDesc_r12(
    pResDesc: *mut cudaResourceDesc_v12,
    surfObject: u64,
) -> Result<()> {
    let resource = surface_resource(surfObject)?;
    // SAFETY: the caller's promise.
    unsafe { write_beginning(pResDesc, &resource) }
}
