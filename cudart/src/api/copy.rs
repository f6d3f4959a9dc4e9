// SPDX-License-Identifier: Apache-2.0
//! Copies of plain memory, by the direction that the caller names or the driver finds out.

use core::ffi::c_void;

use gvirtus_abi::{
    CU_STREAM_PER_THREAD, CUDA_MEMCPY2D, CUarray, CUdeviceptr, CUmemorytype, CUresult, CUstream,
};
use gvirtus_runtime_abi::{cudaError, cudaMemcpyKind};

use super::memory::device_pointer;
use super::stream_of;
use crate::context::{primary, with_context};
use crate::driver::Driver;
use crate::error::Result;

/// # Errors
///
/// `cudaErrorInvalidMemcpyDirection` for a value that is none.
pub(super) fn check_kind(kind: cudaMemcpyKind) -> Result<()> {
    match kind {
        cudaMemcpyKind::cudaMemcpyHostToHost
        | cudaMemcpyKind::cudaMemcpyHostToDevice
        | cudaMemcpyKind::cudaMemcpyDeviceToHost
        | cudaMemcpyKind::cudaMemcpyDeviceToDevice
        | cudaMemcpyKind::cudaMemcpyDefault => Ok(()),
        _ => Err(cudaError::cudaErrorInvalidMemcpyDirection),
    }
}

/// What the source and the destination of a copy are.
pub(super) const fn memory_types(kind: cudaMemcpyKind) -> (CUmemorytype, CUmemorytype) {
    const HOST: CUmemorytype = CUmemorytype::CU_MEMORYTYPE_HOST;
    const DEVICE: CUmemorytype = CUmemorytype::CU_MEMORYTYPE_DEVICE;
    const EITHER: CUmemorytype = CUmemorytype::CU_MEMORYTYPE_UNIFIED;
    match kind {
        cudaMemcpyKind::cudaMemcpyHostToHost => (HOST, HOST),
        cudaMemcpyKind::cudaMemcpyHostToDevice => (HOST, DEVICE),
        cudaMemcpyKind::cudaMemcpyDeviceToHost => (DEVICE, HOST),
        cudaMemcpyKind::cudaMemcpyDeviceToDevice => (DEVICE, DEVICE),
        _ => (EITHER, EITHER),
    }
}

unsafe fn copy_now(
    driver: &Driver,
    dst: *mut c_void,
    src: *const c_void,
    count: usize,
    kind: cudaMemcpyKind,
) -> CUresult {
    let (to, from) = (device_pointer(dst), device_pointer(src));
    // SAFETY: the caller's promise: host memory of this size; the driver checks device memory.
    unsafe {
        match kind {
            cudaMemcpyKind::cudaMemcpyHostToDevice => driver.cuMemcpyHtoD_v2(to, src, count),
            cudaMemcpyKind::cudaMemcpyDeviceToHost => driver.cuMemcpyDtoH_v2(dst, from, count),
            cudaMemcpyKind::cudaMemcpyDeviceToDevice => driver.cuMemcpyDtoD_v2(to, from, count),
            _ => driver.cuMemcpy(to, from, count),
        }
    }
}

unsafe fn copy_in_stream(
    driver: &Driver,
    dst: *mut c_void,
    src: *const c_void,
    count: usize,
    kind: cudaMemcpyKind,
    stream: CUstream,
) -> CUresult {
    let (to, from) = (device_pointer(dst), device_pointer(src));
    // SAFETY: as for `copy_now`, until the stream has come to the copy's end.
    unsafe {
        match kind {
            cudaMemcpyKind::cudaMemcpyHostToDevice => {
                driver.cuMemcpyHtoDAsync_v2(to, src, count, stream)
            }
            cudaMemcpyKind::cudaMemcpyDeviceToHost => {
                driver.cuMemcpyDtoHAsync_v2(dst, from, count, stream)
            }
            cudaMemcpyKind::cudaMemcpyDeviceToDevice => {
                driver.cuMemcpyDtoDAsync_v2(to, from, count, stream)
            }
            _ => driver.cuMemcpyAsync(to, from, count, stream),
        }
    }
}

/// Runs a copy in the per-thread default stream and waits for it: what a synchronous copy is under
/// per-thread default streams.
pub(super) fn in_thread_stream(copy: impl Fn(&Driver, CUstream) -> CUresult) -> Result<()> {
    with_context(|driver| match copy(driver, CU_STREAM_PER_THREAD) {
        // SAFETY: no preconditions.
        CUresult::CUDA_SUCCESS => unsafe { driver.cuStreamSynchronize(CU_STREAM_PER_THREAD) },
        other => other,
    })
}

pub unsafe fn cudaMemcpy(
    default_stream: CUstream,
    dst: *mut c_void,
    src: *const c_void,
    count: usize,
    kind: cudaMemcpyKind,
) -> Result<()> {
    check_kind(kind)?;
    if count == 0 {
        return Ok(());
    }
    // SAFETY: the caller's promise.
    unsafe {
        if default_stream == CU_STREAM_PER_THREAD {
            in_thread_stream(|driver, stream| copy_in_stream(driver, dst, src, count, kind, stream))
        } else {
            with_context(|driver| copy_now(driver, dst, src, count, kind))
        }
    }
}

pub unsafe fn cudaMemcpyAsync(
    default_stream: CUstream,
    dst: *mut c_void,
    src: *const c_void,
    count: usize,
    kind: cudaMemcpyKind,
    stream: CUstream,
) -> Result<()> {
    check_kind(kind)?;
    if count == 0 {
        return Ok(());
    }
    let stream = stream_of(default_stream, stream);
    // SAFETY: the caller's promise.
    with_context(|driver| unsafe { copy_in_stream(driver, dst, src, count, kind, stream) })
}

/// A copy of rows between plain memories; the caller has checked the kind.
pub(super) fn rows(
    dst: *mut c_void,
    dpitch: usize,
    src: *const c_void,
    spitch: usize,
    width: usize,
    height: usize,
    kind: cudaMemcpyKind,
) -> CUDA_MEMCPY2D {
    let (from, to) = memory_types(kind);
    CUDA_MEMCPY2D {
        srcXInBytes: 0,
        srcY: 0,
        srcMemoryType: from,
        srcHost: src,
        srcDevice: device_pointer(src),
        srcArray: CUarray::NULL,
        srcPitch: spitch,
        dstXInBytes: 0,
        dstY: 0,
        dstMemoryType: to,
        dstHost: dst,
        dstDevice: device_pointer(dst),
        dstArray: CUarray::NULL,
        dstPitch: dpitch,
        WidthInBytes: width,
        Height: height,
    }
}

fn check_pitches(dpitch: usize, spitch: usize, width: usize) -> Result<()> {
    if width > dpitch || width > spitch {
        return Err(cudaError::cudaErrorInvalidPitchValue);
    }
    Ok(())
}

/// Copies rectangles now.
pub(super) fn copy_rows(default_stream: CUstream, copy: &CUDA_MEMCPY2D) -> Result<()> {
    let copy = std::ptr::from_ref(copy);
    // SAFETY: the caller of the runtime's function promised the memory; the driver checks the rest.
    unsafe {
        if default_stream == CU_STREAM_PER_THREAD {
            in_thread_stream(|driver, stream| driver.cuMemcpy2DAsync_v2(copy, stream))
        } else {
            with_context(|driver| driver.cuMemcpy2DUnaligned_v2(copy))
        }
    }
}

pub unsafe fn cudaMemcpy2D(
    default_stream: CUstream,
    dst: *mut c_void,
    dpitch: usize,
    src: *const c_void,
    spitch: usize,
    width: usize,
    height: usize,
    kind: cudaMemcpyKind,
) -> Result<()> {
    check_kind(kind)?;
    if width == 0 || height == 0 {
        return Ok(());
    }
    check_pitches(dpitch, spitch, width)?;
    copy_rows(
        default_stream,
        &rows(dst, dpitch, src, spitch, width, height, kind),
    )
}

pub unsafe fn cudaMemcpy2DAsync(
    default_stream: CUstream,
    dst: *mut c_void,
    dpitch: usize,
    src: *const c_void,
    spitch: usize,
    width: usize,
    height: usize,
    kind: cudaMemcpyKind,
    stream: CUstream,
) -> Result<()> {
    check_kind(kind)?;
    if width == 0 || height == 0 {
        return Ok(());
    }
    check_pitches(dpitch, spitch, width)?;
    let copy = rows(dst, dpitch, src, spitch, width, height, kind);
    let stream = stream_of(default_stream, stream);
    // SAFETY: the caller's promise.
    with_context(|driver| unsafe { driver.cuMemcpy2DAsync_v2(&raw const copy, stream) })
}

pub unsafe fn cudaMemcpyPeer(
    dst: *mut c_void,
    dstDevice: i32,
    src: *const c_void,
    srcDevice: i32,
    count: usize,
) -> Result<()> {
    let (to, from): (CUdeviceptr, CUdeviceptr) = (device_pointer(dst), device_pointer(src));
    let (to_context, from_context) = (primary(dstDevice)?, primary(srcDevice)?);
    // SAFETY: the driver checks the memory.
    with_context(|driver| unsafe { driver.cuMemcpyPeer(to, to_context, from, from_context, count) })
}

pub unsafe fn cudaMemcpyPeerAsync(
    dst: *mut c_void,
    dstDevice: i32,
    src: *const c_void,
    srcDevice: i32,
    count: usize,
    stream: CUstream,
) -> Result<()> {
    let (to, from): (CUdeviceptr, CUdeviceptr) = (device_pointer(dst), device_pointer(src));
    let (to_context, from_context) = (primary(dstDevice)?, primary(srcDevice)?);
    // SAFETY: the driver checks the memory.
    with_context(|driver| unsafe {
        driver.cuMemcpyPeerAsync(to, to_context, from, from_context, count, stream)
    })
}
