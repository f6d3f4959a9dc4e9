// SPDX-License-Identifier: Apache-2.0
//! Memory of devices and of the host.

use core::ffi::c_void;
use std::ptr::null_mut;

use gvirtus_abi::{CUdeviceptr, CUmemAttach_flags, CUresult};
use gvirtus_runtime_abi::{cudaError, cudaExtent, cudaPitchedPtr};

use super::{not_null, write};
use crate::context::{ensure_current, with_context};
use crate::error::Result;

pub(super) fn device_pointer<T>(pointer: *const T) -> CUdeviceptr {
    CUdeviceptr(pointer as usize as u64)
}

const fn host_view(pointer: CUdeviceptr) -> *mut c_void {
    pointer.0 as usize as *mut c_void
}

pub unsafe fn cudaMalloc(devPtr: *mut *mut c_void, size: usize) -> Result<()> {
    not_null(devPtr)?;
    if size == 0 {
        ensure_current()?;
        // SAFETY: the caller's promise.
        return unsafe { write(devPtr, null_mut()) };
    }
    // SAFETY: the caller's promise; a device pointer is a pointer.
    with_context(|driver| unsafe { driver.cuMemAlloc_v2(devPtr.cast(), size) })
}

pub unsafe fn cudaFree(devPtr: *mut c_void) -> Result<()> {
    if devPtr.is_null() {
        // The customary way to say: begin now.
        return ensure_current();
    }
    // SAFETY: the driver checks the pointer.
    with_context(|driver| unsafe { driver.cuMemFree_v2(device_pointer(devPtr)) })
}

pub unsafe fn cudaMallocHost(ptr: *mut *mut c_void, size: usize) -> Result<()> {
    // SAFETY: the caller's promise.
    unsafe { cudaHostAlloc(ptr, size, 0) }
}

pub unsafe fn cudaHostAlloc(pHost: *mut *mut c_void, size: usize, flags: u32) -> Result<()> {
    not_null(pHost)?;
    if size == 0 {
        ensure_current()?;
        // SAFETY: the caller's promise.
        return unsafe { write(pHost, null_mut()) };
    }
    // SAFETY: the caller's promise.
    with_context(|driver| unsafe { driver.cuMemHostAlloc(pHost, size, flags) })
}

pub unsafe fn cudaFreeHost(ptr: *mut c_void) -> Result<()> {
    if ptr.is_null() {
        return ensure_current();
    }
    // SAFETY: the driver checks the pointer.
    with_context(|driver| unsafe { driver.cuMemFreeHost(ptr) })
}

pub unsafe fn cudaHostRegister(ptr: *mut c_void, size: usize, flags: u32) -> Result<()> {
    // SAFETY: the caller's promise: memory of this size.
    with_context(|driver| unsafe { driver.cuMemHostRegister_v2(ptr, size, flags) })
}

pub unsafe fn cudaHostUnregister(ptr: *mut c_void) -> Result<()> {
    // SAFETY: the driver checks the pointer.
    with_context(|driver| unsafe { driver.cuMemHostUnregister(ptr) })
}

pub unsafe fn cudaHostGetDevicePointer(
    pDevice: *mut *mut c_void,
    pHost: *mut c_void,
    flags: u32,
) -> Result<()> {
    not_null(pDevice)?;
    // SAFETY: the caller's promise; a device pointer is a pointer.
    with_context(|driver| unsafe {
        driver.cuMemHostGetDevicePointer_v2(pDevice.cast(), pHost, flags)
    })
}

pub unsafe fn cudaHostGetFlags(pFlags: *mut u32, pHost: *mut c_void) -> Result<()> {
    not_null(pFlags)?;
    // SAFETY: the caller's promise.
    with_context(|driver| unsafe { driver.cuMemHostGetFlags(pFlags, pHost) })
}

pub unsafe fn cudaMallocManaged(devPtr: *mut *mut c_void, size: usize, flags: u32) -> Result<()> {
    not_null(devPtr)?;
    if size == 0 {
        return Err(cudaError::cudaErrorInvalidValue);
    }
    // The runtime's flags are the driver's (`cudaMemAttachGlobal`, `cudaMemAttachHost`).
    let flags = if flags == 0 {
        CUmemAttach_flags::CU_MEM_ATTACH_GLOBAL.0
    } else {
        flags
    };
    // SAFETY: the caller's promise; a device pointer is a pointer.
    with_context(|driver| unsafe { driver.cuMemAllocManaged(devPtr.cast(), size, flags) })
}

/// Rows of `width` bytes, as far apart as the device likes them: the address and the pitch.
fn allocate_rows(width: usize, height: usize) -> Result<(*mut c_void, usize)> {
    if width == 0 || height == 0 {
        ensure_current()?;
        return Ok((null_mut(), 0));
    }
    let (mut address, mut pitch) = (CUdeviceptr::default(), 0);
    let (to, pitch_to) = (&raw mut address, &raw mut pitch);
    // Elements of four bytes may be read at once; wider ones fit the same pitch.
    const ELEMENT_BYTES: u32 = 4;
    with_context(|driver| {
        // SAFETY: the outputs are locals.
        unsafe { driver.cuMemAllocPitch_v2(to, pitch_to, width, height, ELEMENT_BYTES) }
    })?;
    Ok((host_view(address), pitch))
}

pub unsafe fn cudaMallocPitch(
    devPtr: *mut *mut c_void,
    pitch: *mut usize,
    width: usize,
    height: usize,
) -> Result<()> {
    not_null(devPtr)?;
    not_null(pitch)?;
    let (address, bytes) = allocate_rows(width, height)?;
    // SAFETY: the caller's promise.
    unsafe {
        write(devPtr, address)?;
        write(pitch, bytes)
    }
}

pub unsafe fn cudaMalloc3D(pitchedDevPtr: *mut cudaPitchedPtr, extent: cudaExtent) -> Result<()> {
    not_null(pitchedDevPtr)?;
    let rows = extent
        .height
        .checked_mul(extent.depth)
        .ok_or(cudaError::cudaErrorMemoryAllocation)?;
    let (ptr, pitch) = allocate_rows(extent.width, rows)?;
    let pitched = cudaPitchedPtr {
        ptr,
        pitch,
        xsize: extent.width,
        ysize: extent.height,
    };
    // SAFETY: the caller's promise.
    unsafe { write(pitchedDevPtr, pitched) }
}

pub unsafe fn cudaMemGetInfo(free: *mut usize, total: *mut usize) -> Result<()> {
    not_null(free)?;
    not_null(total)?;
    // SAFETY: the caller's promise.
    with_context(|driver| unsafe { driver.cuMemGetInfo_v2(free, total) })
}

pub unsafe fn cudaStreamAttachMemAsync(
    default_stream: gvirtus_abi::CUstream,
    stream: gvirtus_abi::CUstream,
    devPtr: *mut c_void,
    length: usize,
    flags: u32,
) -> Result<()> {
    let stream = super::stream_of(default_stream, stream);
    with_context(|driver| -> CUresult {
        // SAFETY: the driver checks the pointer.
        unsafe { driver.cuStreamAttachMemAsync(stream, device_pointer(devPtr), length, flags) }
    })
}
