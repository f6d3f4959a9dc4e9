// SPDX-License-Identifier: Apache-2.0
//! Filling memory with a byte.

use core::ffi::c_void;

use gvirtus_abi::{CU_STREAM_PER_THREAD, CUstream};
use gvirtus_runtime_abi::{cudaError, cudaExtent, cudaPitchedPtr};

use super::memory::device_pointer;
use super::stream_of;
use crate::context::with_context;
use crate::error::Result;

/// The byte that is meant by the `int` of C's `memset`.
const fn byte(value: i32) -> u8 {
    value.to_le_bytes()[0]
}

pub unsafe fn cudaMemset(
    default_stream: CUstream,
    devPtr: *mut c_void,
    value: i32,
    count: usize,
) -> Result<()> {
    if default_stream == CU_STREAM_PER_THREAD {
        // SAFETY: the caller's promise.
        return unsafe { cudaMemsetAsync(default_stream, devPtr, value, count, default_stream) };
    }
    let to = device_pointer(devPtr);
    // SAFETY: the driver checks the memory.
    with_context(|driver| unsafe { driver.cuMemsetD8_v2(to, byte(value), count) })
}

pub unsafe fn cudaMemsetAsync(
    default_stream: CUstream,
    devPtr: *mut c_void,
    value: i32,
    count: usize,
    stream: CUstream,
) -> Result<()> {
    let (to, stream) = (device_pointer(devPtr), stream_of(default_stream, stream));
    // SAFETY: the driver checks the memory.
    with_context(|driver| unsafe { driver.cuMemsetD8Async(to, byte(value), count, stream) })
}

pub unsafe fn cudaMemset2D(
    default_stream: CUstream,
    devPtr: *mut c_void,
    pitch: usize,
    value: i32,
    width: usize,
    height: usize,
) -> Result<()> {
    if width == 0 || height == 0 {
        return Ok(());
    }
    let to = device_pointer(devPtr);
    // SAFETY: the driver checks the memory.
    with_context(|driver| unsafe {
        if default_stream == CU_STREAM_PER_THREAD {
            driver.cuMemsetD2D8Async(to, pitch, byte(value), width, height, default_stream)
        } else {
            driver.cuMemsetD2D8_v2(to, pitch, byte(value), width, height)
        }
    })
}

pub unsafe fn cudaMemset2DAsync(
    default_stream: CUstream,
    devPtr: *mut c_void,
    pitch: usize,
    value: i32,
    width: usize,
    height: usize,
    stream: CUstream,
) -> Result<()> {
    if width == 0 || height == 0 {
        return Ok(());
    }
    let (to, stream) = (device_pointer(devPtr), stream_of(default_stream, stream));
    // SAFETY: the driver checks the memory.
    with_context(|driver| unsafe {
        driver.cuMemsetD2D8Async(to, pitch, byte(value), width, height, stream)
    })
}

/// A box whose slices lie back to back is one area; others are filled slice by slice.
unsafe fn fill_box(
    memory: cudaPitchedPtr,
    extent: cudaExtent,
    mut fill: impl FnMut(*mut c_void, usize) -> Result<()>,
) -> Result<()> {
    if extent.width == 0 || extent.height == 0 || extent.depth == 0 {
        return Ok(());
    }
    if extent.depth == 1 || extent.height == memory.ysize {
        let rows = extent
            .height
            .checked_mul(extent.depth)
            .ok_or(cudaError::cudaErrorInvalidValue)?;
        return fill(memory.ptr, rows);
    }
    let slice_bytes = memory
        .pitch
        .checked_mul(memory.ysize)
        .ok_or(cudaError::cudaErrorInvalidValue)?;
    for slice in 0..extent.depth {
        fill(
            memory
                .ptr
                .wrapping_byte_add(slice_bytes.wrapping_mul(slice)),
            extent.height,
        )?;
    }
    Ok(())
}

pub unsafe fn cudaMemset3D(
    default_stream: CUstream,
    pitchedDevPtr: cudaPitchedPtr,
    value: i32,
    extent: cudaExtent,
) -> Result<()> {
    let (pitch, width) = (pitchedDevPtr.pitch, extent.width);
    // SAFETY: the caller's promise, the driver checks the memory.
    unsafe {
        fill_box(pitchedDevPtr, extent, |to, rows| {
            cudaMemset2D(default_stream, to, pitch, value, width, rows)
        })
    }
}

pub unsafe fn cudaMemset3DAsync(
    default_stream: CUstream,
    pitchedDevPtr: cudaPitchedPtr,
    value: i32,
    extent: cudaExtent,
    stream: CUstream,
) -> Result<()> {
    let (pitch, width) = (pitchedDevPtr.pitch, extent.width);
    // SAFETY: the caller's promise, the driver checks the memory.
    unsafe {
        fill_box(pitchedDevPtr, extent, |to, rows| {
            cudaMemset2DAsync(default_stream, to, pitch, value, width, rows, stream)
        })
    }
}
