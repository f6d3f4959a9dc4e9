// SPDX-License-Identifier: Apache-2.0
//! Arrays: memory whose layout is the device's own, for textures and surfaces.

use std::mem::zeroed;

use gvirtus_abi::{CUDA_ARRAY3D_DESCRIPTOR, CUarray, CUarray_format, CUmipmappedArray};
use gvirtus_runtime_abi::{cudaChannelFormatDesc, cudaChannelFormatKind, cudaError, cudaExtent};

use super::{not_null, write};
use crate::context::{device_of, ensure_current, with_context};
use crate::error::{Result, check};

type Kind = cudaChannelFormatKind;
type Format = CUarray_format;

/// Formats whose kind says all, with the bits of their channels.
const NORMALIZED: [(Kind, Format, [i32; 4]); 12] = [
    (
        Kind::cudaChannelFormatKindUnsignedNormalized8X1,
        Format::CU_AD_FORMAT_UNORM_INT8X1,
        [8, 0, 0, 0],
    ),
    (
        Kind::cudaChannelFormatKindUnsignedNormalized8X2,
        Format::CU_AD_FORMAT_UNORM_INT8X2,
        [8, 8, 0, 0],
    ),
    (
        Kind::cudaChannelFormatKindUnsignedNormalized8X4,
        Format::CU_AD_FORMAT_UNORM_INT8X4,
        [8, 8, 8, 8],
    ),
    (
        Kind::cudaChannelFormatKindUnsignedNormalized16X1,
        Format::CU_AD_FORMAT_UNORM_INT16X1,
        [16, 0, 0, 0],
    ),
    (
        Kind::cudaChannelFormatKindUnsignedNormalized16X2,
        Format::CU_AD_FORMAT_UNORM_INT16X2,
        [16, 16, 0, 0],
    ),
    (
        Kind::cudaChannelFormatKindUnsignedNormalized16X4,
        Format::CU_AD_FORMAT_UNORM_INT16X4,
        [16, 16, 16, 16],
    ),
    (
        Kind::cudaChannelFormatKindSignedNormalized8X1,
        Format::CU_AD_FORMAT_SNORM_INT8X1,
        [8, 0, 0, 0],
    ),
    (
        Kind::cudaChannelFormatKindSignedNormalized8X2,
        Format::CU_AD_FORMAT_SNORM_INT8X2,
        [8, 8, 0, 0],
    ),
    (
        Kind::cudaChannelFormatKindSignedNormalized8X4,
        Format::CU_AD_FORMAT_SNORM_INT8X4,
        [8, 8, 8, 8],
    ),
    (
        Kind::cudaChannelFormatKindSignedNormalized16X1,
        Format::CU_AD_FORMAT_SNORM_INT16X1,
        [16, 0, 0, 0],
    ),
    (
        Kind::cudaChannelFormatKindSignedNormalized16X2,
        Format::CU_AD_FORMAT_SNORM_INT16X2,
        [16, 16, 0, 0],
    ),
    (
        Kind::cudaChannelFormatKindSignedNormalized16X4,
        Format::CU_AD_FORMAT_SNORM_INT16X4,
        [16, 16, 16, 16],
    ),
];

/// The driver's formats of one channel, by kind and bits.
const PLAIN: [(Kind, i32, Format); 8] = [
    (
        Kind::cudaChannelFormatKindSigned,
        8,
        Format::CU_AD_FORMAT_SIGNED_INT8,
    ),
    (
        Kind::cudaChannelFormatKindSigned,
        16,
        Format::CU_AD_FORMAT_SIGNED_INT16,
    ),
    (
        Kind::cudaChannelFormatKindSigned,
        32,
        Format::CU_AD_FORMAT_SIGNED_INT32,
    ),
    (
        Kind::cudaChannelFormatKindUnsigned,
        8,
        Format::CU_AD_FORMAT_UNSIGNED_INT8,
    ),
    (
        Kind::cudaChannelFormatKindUnsigned,
        16,
        Format::CU_AD_FORMAT_UNSIGNED_INT16,
    ),
    (
        Kind::cudaChannelFormatKindUnsigned,
        32,
        Format::CU_AD_FORMAT_UNSIGNED_INT32,
    ),
    (
        Kind::cudaChannelFormatKindFloat,
        16,
        Format::CU_AD_FORMAT_HALF,
    ),
    (
        Kind::cudaChannelFormatKindFloat,
        32,
        Format::CU_AD_FORMAT_FLOAT,
    ),
];

/// The driver's format and number of channels.
///
/// # Errors
///
/// `cudaErrorInvalidChannelDescriptor` for what no array can have.
pub(super) fn format_of(desc: &cudaChannelFormatDesc) -> Result<(CUarray_format, u32)> {
    let bits = [desc.x, desc.y, desc.z, desc.w];
    if let Some((_, format, channels)) = NORMALIZED.iter().find(|(kind, ..)| *kind == desc.f) {
        let count = channels.iter().filter(|bits| **bits != 0).count();
        return Ok((*format, count as u32));
    }
    let count = bits.iter().take_while(|bits| **bits != 0).count();
    let alike = bits[..count].iter().all(|channel| *channel == bits[0]);
    let rest = bits[count..].iter().all(|channel| *channel == 0);
    let known = PLAIN
        .iter()
        .find(|(kind, width, _)| *kind == desc.f && *width == bits[0]);
    match (known, count) {
        (Some((_, _, format)), 1 | 2 | 4) if alike && rest => Ok((*format, count as u32)),
        _ => Err(cudaError::cudaErrorInvalidChannelDescriptor),
    }
}

/// The runtime's description of a driver's format.
///
/// # Errors
///
/// `cudaErrorInvalidChannelDescriptor` for a format that has none here.
pub(super) fn description_of(
    format: CUarray_format,
    channels: u32,
) -> Result<cudaChannelFormatDesc> {
    if let Some((kind, _, bits)) = NORMALIZED.iter().find(|(_, known, _)| *known == format) {
        let [x, y, z, w] = *bits;
        return Ok(cudaChannelFormatDesc {
            x,
            y,
            z,
            w,
            f: *kind,
        });
    }
    let (kind, width, _) = PLAIN
        .iter()
        .find(|(.., known)| *known == format)
        .ok_or(cudaError::cudaErrorInvalidChannelDescriptor)?;
    let channel = |index: u32| if index < channels { *width } else { 0 };
    Ok(cudaChannelFormatDesc {
        x: channel(0),
        y: channel(1),
        z: channel(2),
        w: channel(3),
        f: *kind,
    })
}

/// Bytes of an element of the array.
///
/// # Errors
///
/// The driver's.
pub(super) fn element_bytes(array: CUarray) -> Result<usize> {
    let descriptor = descriptor(array)?;
    let desc = description_of(descriptor.Format, descriptor.NumChannels)?;
    let bits = desc.x + desc.y + desc.z + desc.w;
    usize::try_from(bits / 8).map_err(|_| cudaError::cudaErrorInvalidChannelDescriptor)
}

fn descriptor(array: CUarray) -> Result<CUDA_ARRAY3D_DESCRIPTOR> {
    // SAFETY: integers, for which zero is a value.
    let mut descriptor: CUDA_ARRAY3D_DESCRIPTOR = unsafe { zeroed() };
    let output = &raw mut descriptor;
    // SAFETY: the output is a local; the driver checks the array.
    with_context(|driver| unsafe { driver.cuArray3DGetDescriptor_v2(output, array) })?;
    Ok(descriptor)
}

/// # Safety
///
/// The description is null or good for reading.
unsafe fn new_descriptor(
    desc: *const cudaChannelFormatDesc,
    extent: cudaExtent,
    flags: u32,
) -> Result<CUDA_ARRAY3D_DESCRIPTOR> {
    not_null(desc)?;
    // SAFETY: the caller's promise.
    let (format, channels) = format_of(unsafe { &*desc })?;
    Ok(CUDA_ARRAY3D_DESCRIPTOR {
        Width: extent.width,
        Height: extent.height,
        Depth: extent.depth,
        Format: format,
        NumChannels: channels,
        // The flags are the driver's (`cudaArrayLayered` …).
        Flags: flags,
    })
}

pub unsafe fn cudaMallocArray(
    array: *mut CUarray,
    desc: *const cudaChannelFormatDesc,
    width: usize,
    height: usize,
    flags: u32,
) -> Result<()> {
    let extent = cudaExtent {
        width,
        height,
        depth: 0,
    };
    // SAFETY: the caller's promise.
    unsafe { cudaMalloc3DArray(array, desc, extent, flags) }
}

pub unsafe fn cudaMalloc3DArray(
    array: *mut CUarray,
    desc: *const cudaChannelFormatDesc,
    extent: cudaExtent,
    flags: u32,
) -> Result<()> {
    not_null(array)?;
    // SAFETY: the caller's promise.
    let descriptor = unsafe { new_descriptor(desc, extent, flags) }?;
    // SAFETY: the caller's promise; the descriptor is a local.
    with_context(|driver| unsafe { driver.cuArray3DCreate_v2(array, &raw const descriptor) })
}

pub unsafe fn cudaMallocMipmappedArray(
    mipmappedArray: *mut CUmipmappedArray,
    desc: *const cudaChannelFormatDesc,
    extent: cudaExtent,
    numLevels: u32,
    flags: u32,
) -> Result<()> {
    not_null(mipmappedArray)?;
    // SAFETY: the caller's promise.
    let descriptor = unsafe { new_descriptor(desc, extent, flags) }?;
    // SAFETY: the caller's promise; the descriptor is a local.
    with_context(|driver| unsafe {
        driver.cuMipmappedArrayCreate(mipmappedArray, &raw const descriptor, numLevels)
    })
}

pub unsafe fn cudaFreeArray(array: CUarray) -> Result<()> {
    if array.is_null() {
        return ensure_current();
    }
    // SAFETY: the driver checks the array.
    with_context(|driver| unsafe { driver.cuArrayDestroy(array) })
}

pub unsafe fn cudaFreeMipmappedArray(mipmappedArray: CUmipmappedArray) -> Result<()> {
    if mipmappedArray.is_null() {
        return ensure_current();
    }
    // SAFETY: the driver checks the array.
    with_context(|driver| unsafe { driver.cuMipmappedArrayDestroy(mipmappedArray) })
}

pub unsafe fn cudaArrayGetInfo(
    desc: *mut cudaChannelFormatDesc,
    extent: *mut cudaExtent,
    flags: *mut u32,
    array: CUarray,
) -> Result<()> {
    let descriptor = descriptor(array)?;
    let description = description_of(descriptor.Format, descriptor.NumChannels)?;
    // SAFETY: the caller's promise: each is null, which means not wanted, or an output.
    unsafe {
        if !desc.is_null() {
            desc.write(description);
        }
        if !extent.is_null() {
            extent.write(cudaExtent {
                width: descriptor.Width,
                height: descriptor.Height,
                depth: descriptor.Depth,
            });
        }
        if !flags.is_null() {
            flags.write(descriptor.Flags);
        }
    }
    Ok(())
}

pub unsafe fn cudaGetChannelDesc(desc: *mut cudaChannelFormatDesc, array: CUarray) -> Result<()> {
    let descriptor = descriptor(array)?;
    let description = description_of(descriptor.Format, descriptor.NumChannels)?;
    // SAFETY: the caller's promise.
    unsafe { write(desc, description) }
}

pub unsafe fn cudaCreateChannelDesc(
    x: i32,
    y: i32,
    z: i32,
    w: i32,
    f: cudaChannelFormatKind,
) -> cudaChannelFormatDesc {
    cudaChannelFormatDesc { x, y, z, w, f }
}

pub unsafe fn cudaDeviceGetTexture1DLinearMaxWidth(
    maxWidthInElements: *mut usize,
    fmtDesc: *const cudaChannelFormatDesc,
    device: i32,
) -> Result<()> {
    not_null(maxWidthInElements)?;
    not_null(fmtDesc)?;
    // SAFETY: the caller's promise.
    let (format, channels) = format_of(unsafe { &*fmtDesc })?;
    let (driver, device) = device_of(device)?;
    // SAFETY: the caller's promise.
    check(unsafe {
        driver.cuDeviceGetTexture1DLinearMaxWidth(maxWidthInElements, format, channels, device)
    })
}
