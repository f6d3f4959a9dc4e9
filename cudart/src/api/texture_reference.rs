// SPDX-License-Identifier: Apache-2.0
//! Texture and surface references, which release 11 is the last to have: variables of a program
//! that memory is bound to. How a texture is read is taken from the host's variable when it is
//! bound.

use core::ffi::c_void;
use std::ptr::null_mut;
use std::sync::Arc;

use gvirtus_abi::{
    CU_TRSF_DISABLE_TRILINEAR_OPTIMIZATION, CU_TRSF_NORMALIZED_COORDINATES,
    CU_TRSF_READ_AS_INTEGER, CU_TRSF_SRGB, CUDA_ARRAY_DESCRIPTOR, CUaddress_mode, CUarray,
    CUdeviceptr, CUfilter_mode, CUmipmappedArray, CUsurfref, CUtexref,
};
use gvirtus_runtime_abi::{cudaChannelFormatDesc, cudaError, surfaceReference, textureReference};

use super::array::format_of;
use super::memory::device_pointer;
use super::{not_null, write};
use crate::context::with_context;
use crate::driver::Driver;
use crate::error::{Result, check};
use crate::registry::{self, Reference};

/// A registered texture, with the driver's reference in the current context.
struct Texture {
    registered: Arc<Reference>,
    handle: CUtexref,
}

/// # Errors
///
/// `cudaErrorInvalidTexture` if the program has not registered it, and the driver's.
fn texture(host: *const textureReference) -> Result<Texture> {
    let registered = registry::reference(host.cast()).ok_or(cudaError::cudaErrorInvalidTexture)?;
    let (module, name) = registered.place()?;
    let mut handle = CUtexref::NULL;
    let output = &raw mut handle;
    // SAFETY: the output is a local, the name is the program's.
    with_context(|driver| unsafe { driver.cuModuleGetTexRef(output, module, name) })?;
    Ok(Texture { registered, handle })
}

impl Texture {
    /// Tells the driver how the texture is read.
    fn read_as(
        &self,
        driver: &Driver,
        host: &textureReference,
        elements: &cudaChannelFormatDesc,
    ) -> Result<()> {
        let flag = |wanted: bool, flag: u32| if wanted { flag } else { 0 };
        let flags = flag(host.normalized != 0, CU_TRSF_NORMALIZED_COORDINATES)
            | flag(!self.registered.reads_normalized, CU_TRSF_READ_AS_INTEGER)
            | flag(host.sRGB != 0, CU_TRSF_SRGB)
            | flag(
                host.disableTrilinearOptimization != 0,
                CU_TRSF_DISABLE_TRILINEAR_OPTIMIZATION,
            );
        let (format, channels) = format_of(elements)?;
        let [filter, between] =
            [host.filterMode, host.mipmapFilterMode].map(|m| CUfilter_mode(m.0));
        let texture = self.handle;
        // SAFETY: numbers and a reference that the driver checks.
        unsafe {
            check(driver.cuTexRefSetFormat(texture, format, channels.cast_signed()))?;
            check(driver.cuTexRefSetFilterMode(texture, filter))?;
            check(driver.cuTexRefSetMipmapFilterMode(texture, between))?;
            check(driver.cuTexRefSetMipmapLevelBias(texture, host.mipmapLevelBias))?;
            check(driver.cuTexRefSetMipmapLevelClamp(
                texture,
                host.minMipmapLevelClamp,
                host.maxMipmapLevelClamp,
            ))?;
            check(driver.cuTexRefSetMaxAnisotropy(texture, host.maxAnisotropy))?;
            for (dimension, mode) in (0..).zip(host.addressMode) {
                check(driver.cuTexRefSetAddressMode(texture, dimension, CUaddress_mode(mode.0)))?;
            }
            check(driver.cuTexRefSetFlags(texture, flags))
        }
    }

    /// Remembers where the memory begins and tells the caller, who must want to know it unless it
    /// is the beginning.
    ///
    /// # Safety
    ///
    /// `offset` is null or valid for writes.
    unsafe fn bound_at(&self, offset_bytes: usize, offset: *mut usize) -> Result<()> {
        if offset.is_null() && offset_bytes != 0 {
            self.unbind()?;
            return Err(cudaError::cudaErrorInvalidValue);
        }
        *self.registered.offset_bytes.lock() = Some(offset_bytes);
        if !offset.is_null() {
            // SAFETY: the caller's promise.
            unsafe { write(offset, offset_bytes)? };
        }
        Ok(())
    }

    fn unbind(&self) -> Result<()> {
        *self.registered.offset_bytes.lock() = None;
        let nothing = CUdeviceptr::default();
        // SAFETY: no output is asked for.
        with_context(|driver| unsafe {
            driver.cuTexRefSetAddress_v2(null_mut(), self.handle, nothing, 0)
        })
    }
}

/// Finds the texture and tells the driver how it is read.
///
/// # Safety
///
/// `host` is null or a reference of the program's, `elements` null or readable.
unsafe fn prepare(
    host: *const textureReference,
    elements: *const cudaChannelFormatDesc,
) -> Result<(&'static Driver, Texture)> {
    not_null(elements)?;
    let texture = texture(host)?;
    let driver = crate::driver::driver()?;
    // SAFETY: the caller's promise; it is registered, so it is not null.
    unsafe { texture.read_as(driver, &*host, &*elements)? };
    Ok((driver, texture))
}

/// What of `bytes` lies in the allocation: the default is all there is.
fn bytes_there(driver: &Driver, address: CUdeviceptr, bytes: usize) -> Result<usize> {
    let (mut base, mut size) = (CUdeviceptr::default(), 0);
    // SAFETY: the outputs are locals.
    let status = unsafe { driver.cuMemGetAddressRange_v2(&raw mut base, &raw mut size, address) };
    check(status)?;
    Ok(bytes.min(size.saturating_sub((address.0 - base.0) as usize)))
}

pub unsafe fn cudaBindTexture(
    offset: *mut usize,
    texref: *const textureReference,
    devPtr: *const c_void,
    desc: *const cudaChannelFormatDesc,
    size: usize,
) -> Result<()> {
    // SAFETY: the caller's promise.
    let (driver, texture) = unsafe { prepare(texref, desc)? };
    let address = device_pointer(devPtr);
    let bytes = bytes_there(driver, address, size)?;
    let mut offset_bytes = 0;
    // SAFETY: the output is a local; the driver checks the memory.
    check(unsafe {
        driver.cuTexRefSetAddress_v2(&raw mut offset_bytes, texture.handle, address, bytes)
    })?;
    // SAFETY: the caller's promise.
    unsafe { texture.bound_at(offset_bytes, offset) }
}

pub unsafe fn cudaBindTexture2D(
    offset: *mut usize,
    texref: *const textureReference,
    devPtr: *const c_void,
    desc: *const cudaChannelFormatDesc,
    width: usize,
    height: usize,
    pitch: usize,
) -> Result<()> {
    // SAFETY: the caller's promise; the description is not null any more.
    let (driver, texture, (format, channels)) = unsafe {
        let (driver, texture) = prepare(texref, desc)?;
        (driver, texture, format_of(&*desc)?)
    };
    let rows = CUDA_ARRAY_DESCRIPTOR {
        Width: width,
        Height: height,
        Format: format,
        NumChannels: channels,
    };
    // SAFETY: the description is a local; the driver checks the memory.
    check(unsafe {
        let address = device_pointer(devPtr);
        driver.cuTexRefSetAddress2D_v3(texture.handle, &raw const rows, address, pitch)
    })?;
    // SAFETY: the caller's promise. Rows begin at aligned addresses.
    unsafe { texture.bound_at(0, offset) }
}

pub unsafe fn cudaBindTextureToArray(
    texref: *const textureReference,
    array: CUarray,
    desc: *const cudaChannelFormatDesc,
) -> Result<()> {
    // SAFETY: the caller's promise.
    let (driver, texture) = unsafe { prepare(texref, desc)? };
    // SAFETY: the driver checks the array, and that its elements are those described.
    check(unsafe { driver.cuTexRefSetArray(texture.handle, array, 0) })?;
    // SAFETY: no output is asked for.
    unsafe { texture.bound_at(0, null_mut()) }
}

pub unsafe fn cudaBindTextureToMipmappedArray(
    texref: *const textureReference,
    mipmappedArray: CUmipmappedArray,
    desc: *const cudaChannelFormatDesc,
) -> Result<()> {
    // SAFETY: the caller's promise.
    let (driver, texture) = unsafe { prepare(texref, desc)? };
    // SAFETY: as for an array.
    check(unsafe { driver.cuTexRefSetMipmappedArray(texture.handle, mipmappedArray, 0) })?;
    // SAFETY: no output is asked for.
    unsafe { texture.bound_at(0, null_mut()) }
}

pub unsafe fn cudaUnbindTexture(texref: *const textureReference) -> Result<()> {
    texture(texref)?.unbind()
}

pub unsafe fn cudaGetTextureAlignmentOffset(
    offset: *mut usize,
    texref: *const textureReference,
) -> Result<()> {
    let registered = registry::reference(texref.cast());
    let registered = registered.ok_or(cudaError::cudaErrorInvalidTexture)?;
    let bytes = *registered.offset_bytes.lock();
    let bytes = bytes.ok_or(cudaError::cudaErrorInvalidTextureBinding)?;
    // SAFETY: the caller's promise.
    unsafe { write(offset, bytes) }
}

/// The host's variable stands for the device's, too.
pub unsafe fn cudaGetTextureReference(
    texref: *mut *const textureReference,
    symbol: *const c_void,
) -> Result<()> {
    registry::reference(symbol).ok_or(cudaError::cudaErrorInvalidTexture)?;
    // SAFETY: the caller's promise.
    unsafe { write(texref, symbol.cast()) }
}

pub unsafe fn cudaBindSurfaceToArray(
    surfref: *const surfaceReference,
    array: CUarray,
    desc: *const cudaChannelFormatDesc,
) -> Result<()> {
    not_null(desc)?;
    let registered = registry::reference(surfref.cast());
    let (module, name) = registered
        .ok_or(cudaError::cudaErrorInvalidSurface)?
        .place()?;
    let mut handle = CUsurfref::NULL;
    let output = &raw mut handle;
    // SAFETY: the output is a local, the name is the program's.
    with_context(|driver| unsafe { driver.cuModuleGetSurfRef(output, module, name) })?;
    // SAFETY: the driver checks the array.
    with_context(|driver| unsafe { driver.cuSurfRefSetArray(handle, array, 0) })
}

/// As [`cudaGetTextureReference`].
pub unsafe fn cudaGetSurfaceReference(
    surfref: *mut *const surfaceReference,
    symbol: *const c_void,
) -> Result<()> {
    registry::reference(symbol).ok_or(cudaError::cudaErrorInvalidSurface)?;
    // SAFETY: the caller's promise.
    unsafe { write(surfref, symbol.cast()) }
}
