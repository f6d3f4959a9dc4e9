// SPDX-License-Identifier: Apache-2.0
//! Copies of boxes, and to and from arrays.

use core::ffi::c_void;
use std::mem::zeroed;

use gvirtus_abi::{
    CU_STREAM_PER_THREAD, CUDA_MEMCPY3D, CUDA_MEMCPY3D_PEER, CUarray, CUdeviceptr, CUmemorytype,
    CUstream,
};
use gvirtus_runtime_abi::{
    cudaError, cudaExtent, cudaMemcpy3DParms, cudaMemcpy3DPeerParms, cudaMemcpyKind,
    cudaPitchedPtr, cudaPos,
};

use super::array::element_bytes;
use super::copy::{check_kind, copy_rows, in_thread_stream, memory_types, rows};
use super::memory::device_pointer;
use super::{not_null, stream_of};
use crate::context::{primary, with_context};
use crate::error::Result;

/// One end of a copy, as `cudaMemcpy3DParms` has it.
struct End {
    array: CUarray,
    position: cudaPos,
    pitched: cudaPitchedPtr,
}

/// Bytes of the elements in which widths and positions are counted: those of the array that takes
/// part, or bytes (`cudaMemcpy3DParms`).
fn unit(from: &End, to: &End) -> Result<usize> {
    match (from.array.is_null(), to.array.is_null()) {
        (true, true) => Ok(1),
        (false, true) => element_bytes(from.array),
        (true, false) => element_bytes(to.array),
        (false, false) => {
            let bytes = element_bytes(from.array)?;
            match element_bytes(to.array)? {
                other if other == bytes => Ok(bytes),
                _ => Err(cudaError::cudaErrorInvalidValue),
            }
        }
    }
}

/// # Errors
///
/// `cudaErrorInvalidValue` if an end is neither or both.
fn check_end(end: &End) -> Result<()> {
    match end.array.is_null() == end.pitched.ptr.is_null() {
        true => Err(cudaError::cudaErrorInvalidValue),
        false => Ok(()),
    }
}

fn bytes(count: usize, unit: usize) -> Result<usize> {
    count
        .checked_mul(unit)
        .ok_or(cudaError::cudaErrorInvalidValue)
}

/// Positions in an array count elements, positions in plain memory bytes.
fn x_bytes(end: &End, unit: usize) -> Result<usize> {
    match end.array.is_null() {
        true => Ok(end.position.x),
        false => bytes(end.position.x, unit),
    }
}

fn memory_type(end: &End, plain: CUmemorytype) -> CUmemorytype {
    match end.array.is_null() {
        true => plain,
        false => CUmemorytype::CU_MEMORYTYPE_ARRAY,
    }
}

/// The driver's form of a copy.
///
/// # Errors
///
/// For ends that are neither array nor memory, and for a kind that is none.
pub(super) fn driver_copy(parms: &cudaMemcpy3DParms) -> Result<CUDA_MEMCPY3D> {
    check_kind(parms.kind)?;
    let from = End {
        array: parms.srcArray,
        position: parms.srcPos,
        pitched: parms.srcPtr,
    };
    let to = End {
        array: parms.dstArray,
        position: parms.dstPos,
        pitched: parms.dstPtr,
    };
    check_end(&from)?;
    check_end(&to)?;
    let unit = unit(&from, &to)?;
    let (from_type, to_type) = memory_types(parms.kind);
    Ok(CUDA_MEMCPY3D {
        srcXInBytes: x_bytes(&from, unit)?,
        srcY: from.position.y,
        srcZ: from.position.z,
        srcLOD: 0,
        srcMemoryType: memory_type(&from, from_type),
        srcHost: from.pitched.ptr,
        srcDevice: device_pointer(from.pitched.ptr),
        srcArray: from.array,
        reserved0: std::ptr::null_mut(),
        srcPitch: from.pitched.pitch,
        srcHeight: from.pitched.ysize,
        dstXInBytes: x_bytes(&to, unit)?,
        dstY: to.position.y,
        dstZ: to.position.z,
        dstLOD: 0,
        dstMemoryType: memory_type(&to, to_type),
        dstHost: to.pitched.ptr,
        dstDevice: device_pointer(to.pitched.ptr),
        dstArray: to.array,
        reserved1: std::ptr::null_mut(),
        dstPitch: to.pitched.pitch,
        dstHeight: to.pitched.ysize,
        WidthInBytes: bytes(parms.extent.width, unit)?,
        Height: parms.extent.height,
        Depth: parms.extent.depth,
    })
}

/// The runtime's form of a driver's copy, for those that ask what a node copies.
///
/// # Errors
///
/// As [`element_bytes`].
pub(super) fn runtime_copy(copy: &CUDA_MEMCPY3D) -> Result<cudaMemcpy3DParms> {
    let array = match (copy.srcArray.is_null(), copy.dstArray.is_null()) {
        (true, true) => CUarray::NULL,
        (false, _) => copy.srcArray,
        (true, false) => copy.dstArray,
    };
    let unit = match array.is_null() {
        true => 1,
        false => element_bytes(array)?,
    };
    let position = |array: CUarray, x: usize, y: usize, z: usize| cudaPos {
        x: if array.is_null() { x } else { x / unit },
        y,
        z,
    };
    let pitched = |pointer: *mut c_void, pitch: usize, ysize: usize| cudaPitchedPtr {
        ptr: pointer,
        pitch,
        xsize: pitch,
        ysize,
    };
    let address = |memory: CUmemorytype, host: *mut c_void, device: CUdeviceptr| match memory {
        CUmemorytype::CU_MEMORYTYPE_HOST => host,
        CUmemorytype::CU_MEMORYTYPE_ARRAY => std::ptr::null_mut(),
        _ => device.0 as usize as *mut c_void,
    };
    let source = address(copy.srcMemoryType, copy.srcHost.cast_mut(), copy.srcDevice);
    let destination = address(copy.dstMemoryType, copy.dstHost, copy.dstDevice);
    Ok(cudaMemcpy3DParms {
        srcArray: copy.srcArray,
        srcPos: position(copy.srcArray, copy.srcXInBytes, copy.srcY, copy.srcZ),
        srcPtr: pitched(source, copy.srcPitch, copy.srcHeight),
        dstArray: copy.dstArray,
        dstPos: position(copy.dstArray, copy.dstXInBytes, copy.dstY, copy.dstZ),
        dstPtr: pitched(destination, copy.dstPitch, copy.dstHeight),
        extent: cudaExtent {
            width: copy.WidthInBytes / unit,
            height: copy.Height,
            depth: copy.Depth,
        },
        kind: kind_of(copy.srcMemoryType, copy.dstMemoryType),
    })
}

fn kind_of(from: CUmemorytype, to: CUmemorytype) -> cudaMemcpyKind {
    let host = |memory| memory == CUmemorytype::CU_MEMORYTYPE_HOST;
    let unified = |memory| memory == CUmemorytype::CU_MEMORYTYPE_UNIFIED;
    match (host(from), host(to)) {
        _ if unified(from) || unified(to) => cudaMemcpyKind::cudaMemcpyDefault,
        (true, true) => cudaMemcpyKind::cudaMemcpyHostToHost,
        (true, false) => cudaMemcpyKind::cudaMemcpyHostToDevice,
        (false, true) => cudaMemcpyKind::cudaMemcpyDeviceToHost,
        (false, false) => cudaMemcpyKind::cudaMemcpyDeviceToDevice,
    }
}

fn is_empty(extent: cudaExtent) -> bool {
    extent.width == 0 || extent.height == 0 || extent.depth == 0
}

pub unsafe fn cudaMemcpy3D(default_stream: CUstream, p: *const cudaMemcpy3DParms) -> Result<()> {
    not_null(p)?;
    // SAFETY: the caller's promise.
    let parms = unsafe { &*p };
    if is_empty(parms.extent) {
        return Ok(());
    }
    let copy = driver_copy(parms)?;
    let copy = &raw const copy;
    // SAFETY: the caller's promise: memory of this size; the driver checks the rest.
    unsafe {
        if default_stream == CU_STREAM_PER_THREAD {
            in_thread_stream(|driver, stream| driver.cuMemcpy3DAsync_v2(copy, stream))
        } else {
            with_context(|driver| driver.cuMemcpy3D_v2(copy))
        }
    }
}

pub unsafe fn cudaMemcpy3DAsync(
    default_stream: CUstream,
    p: *const cudaMemcpy3DParms,
    stream: CUstream,
) -> Result<()> {
    not_null(p)?;
    // SAFETY: the caller's promise.
    let parms = unsafe { &*p };
    if is_empty(parms.extent) {
        return Ok(());
    }
    let copy = driver_copy(parms)?;
    let stream = stream_of(default_stream, stream);
    // SAFETY: the caller's promise: memory of this size; the driver checks the rest.
    with_context(|driver| unsafe { driver.cuMemcpy3DAsync_v2(&raw const copy, stream) })
}

/// The driver's form of a copy between devices.
fn peer_copy(parms: &cudaMemcpy3DPeerParms) -> Result<CUDA_MEMCPY3D_PEER> {
    let plain = driver_copy(&cudaMemcpy3DParms {
        srcArray: parms.srcArray,
        srcPos: parms.srcPos,
        srcPtr: parms.srcPtr,
        dstArray: parms.dstArray,
        dstPos: parms.dstPos,
        dstPtr: parms.dstPtr,
        extent: parms.extent,
        kind: cudaMemcpyKind::cudaMemcpyDeviceToDevice,
    })?;
    // SAFETY: integers, handles and pointers, for which zero is a value.
    let mut copy: CUDA_MEMCPY3D_PEER = unsafe { zeroed() };
    copy.srcXInBytes = plain.srcXInBytes;
    copy.srcY = plain.srcY;
    copy.srcZ = plain.srcZ;
    copy.srcMemoryType = plain.srcMemoryType;
    copy.srcDevice = plain.srcDevice;
    copy.srcArray = plain.srcArray;
    copy.srcContext = primary(parms.srcDevice)?;
    copy.srcPitch = plain.srcPitch;
    copy.srcHeight = plain.srcHeight;
    copy.dstXInBytes = plain.dstXInBytes;
    copy.dstY = plain.dstY;
    copy.dstZ = plain.dstZ;
    copy.dstMemoryType = plain.dstMemoryType;
    copy.dstDevice = plain.dstDevice;
    copy.dstArray = plain.dstArray;
    copy.dstContext = primary(parms.dstDevice)?;
    copy.dstPitch = plain.dstPitch;
    copy.dstHeight = plain.dstHeight;
    copy.WidthInBytes = plain.WidthInBytes;
    copy.Height = plain.Height;
    copy.Depth = plain.Depth;
    Ok(copy)
}

pub unsafe fn cudaMemcpy3DPeer(
    default_stream: CUstream,
    p: *const cudaMemcpy3DPeerParms,
) -> Result<()> {
    not_null(p)?;
    // SAFETY: the caller's promise.
    let copy = peer_copy(unsafe { &*p })?;
    let copy = &raw const copy;
    // SAFETY: the driver checks the memory.
    unsafe {
        if default_stream == CU_STREAM_PER_THREAD {
            in_thread_stream(|driver, stream| driver.cuMemcpy3DPeerAsync(copy, stream))
        } else {
            with_context(|driver| driver.cuMemcpy3DPeer(copy))
        }
    }
}

pub unsafe fn cudaMemcpy3DPeerAsync(
    default_stream: CUstream,
    p: *const cudaMemcpy3DPeerParms,
    stream: CUstream,
) -> Result<()> {
    not_null(p)?;
    // SAFETY: the caller's promise.
    let copy = peer_copy(unsafe { &*p })?;
    let stream = stream_of(default_stream, stream);
    // SAFETY: the driver checks the memory.
    with_context(|driver| unsafe { driver.cuMemcpy3DPeerAsync(&raw const copy, stream) })
}

/// A place in an array: bytes from the left, rows from the top.
#[derive(Clone, Copy)]
struct Place {
    array: CUarray,
    x_bytes: usize,
    row: usize,
}

/// What is copied between an array and plain memory, or two arrays.
enum Ends {
    ToArray(Place, *const c_void, usize),
    FromArray(*mut c_void, usize, Place),
    Between(Place, Place),
}

/// Copies rectangles: now, or in a stream.
fn copy_rectangle(
    ends: &Ends,
    width: usize,
    height: usize,
    kind: cudaMemcpyKind,
    default_stream: CUstream,
    stream: Option<CUstream>,
) -> Result<()> {
    check_kind(kind)?;
    if width == 0 || height == 0 {
        return Ok(());
    }
    const ARRAY: CUmemorytype = CUmemorytype::CU_MEMORYTYPE_ARRAY;
    let null = std::ptr::null_mut();
    let mut copy = match *ends {
        Ends::ToArray(_, source, pitch) => rows(null, 0, source, pitch, width, height, kind),
        Ends::FromArray(destination, pitch, _) => {
            rows(destination, pitch, null, 0, width, height, kind)
        }
        Ends::Between(..) => rows(null, 0, null, 0, width, height, kind),
    };
    if let Ends::ToArray(to, ..) | Ends::Between(to, _) = ends {
        (copy.dstMemoryType, copy.dstArray) = (ARRAY, to.array);
        (copy.dstXInBytes, copy.dstY) = (to.x_bytes, to.row);
    }
    if let Ends::FromArray(.., from) | Ends::Between(_, from) = ends {
        (copy.srcMemoryType, copy.srcArray) = (ARRAY, from.array);
        (copy.srcXInBytes, copy.srcY) = (from.x_bytes, from.row);
    }
    let Some(stream) = stream else {
        return copy_rows(default_stream, &copy);
    };
    let stream = stream_of(default_stream, stream);
    // SAFETY: the caller of the runtime's function promised the memory.
    with_context(|driver| unsafe { driver.cuMemcpy2DAsync_v2(&raw const copy, stream) })
}

pub unsafe fn cudaMemcpy2DToArray(
    default_stream: CUstream,
    dst: CUarray,
    wOffset: usize,
    hOffset: usize,
    src: *const c_void,
    spitch: usize,
    width: usize,
    height: usize,
    kind: cudaMemcpyKind,
) -> Result<()> {
    let to = Place {
        array: dst,
        x_bytes: wOffset,
        row: hOffset,
    };
    copy_rectangle(
        &Ends::ToArray(to, src, spitch),
        width,
        height,
        kind,
        default_stream,
        None,
    )
}

pub unsafe fn cudaMemcpy2DToArrayAsync(
    default_stream: CUstream,
    dst: CUarray,
    wOffset: usize,
    hOffset: usize,
    src: *const c_void,
    spitch: usize,
    width: usize,
    height: usize,
    kind: cudaMemcpyKind,
    stream: CUstream,
) -> Result<()> {
    let to = Place {
        array: dst,
        x_bytes: wOffset,
        row: hOffset,
    };
    let ends = Ends::ToArray(to, src, spitch);
    copy_rectangle(&ends, width, height, kind, default_stream, Some(stream))
}

pub unsafe fn cudaMemcpy2DFromArray(
    default_stream: CUstream,
    dst: *mut c_void,
    dpitch: usize,
    src: CUarray,
    wOffset: usize,
    hOffset: usize,
    width: usize,
    height: usize,
    kind: cudaMemcpyKind,
) -> Result<()> {
    let from = Place {
        array: src,
        x_bytes: wOffset,
        row: hOffset,
    };
    copy_rectangle(
        &Ends::FromArray(dst, dpitch, from),
        width,
        height,
        kind,
        default_stream,
        None,
    )
}

pub unsafe fn cudaMemcpy2DFromArrayAsync(
    default_stream: CUstream,
    dst: *mut c_void,
    dpitch: usize,
    src: CUarray,
    wOffset: usize,
    hOffset: usize,
    width: usize,
    height: usize,
    kind: cudaMemcpyKind,
    stream: CUstream,
) -> Result<()> {
    let from = Place {
        array: src,
        x_bytes: wOffset,
        row: hOffset,
    };
    let ends = Ends::FromArray(dst, dpitch, from);
    copy_rectangle(&ends, width, height, kind, default_stream, Some(stream))
}

pub unsafe fn cudaMemcpy2DArrayToArray(
    default_stream: CUstream,
    dst: CUarray,
    wOffsetDst: usize,
    hOffsetDst: usize,
    src: CUarray,
    wOffsetSrc: usize,
    hOffsetSrc: usize,
    width: usize,
    height: usize,
    kind: cudaMemcpyKind,
) -> Result<()> {
    let to = Place {
        array: dst,
        x_bytes: wOffsetDst,
        row: hOffsetDst,
    };
    let from = Place {
        array: src,
        x_bytes: wOffsetSrc,
        row: hOffsetSrc,
    };
    copy_rectangle(
        &Ends::Between(to, from),
        width,
        height,
        kind,
        default_stream,
        None,
    )
}

/// Runs of bytes through an array's rows, as the functions without a width have it: what is left of
/// the first row, whole rows, and the rest.
fn runs(array: CUarray, x_bytes: usize, row: usize, count: usize) -> Result<Vec<Run>> {
    let row_bytes = row_bytes(array)?;
    let mut runs = Vec::new();
    let (mut x_bytes, mut row, mut done) = (x_bytes, row, 0);
    while done < count {
        let here = row_bytes
            .checked_sub(x_bytes)
            .filter(|bytes| *bytes > 0)
            .ok_or(cudaError::cudaErrorInvalidValue)?;
        let whole_rows = if x_bytes == 0 {
            (count - done) / row_bytes
        } else {
            0
        };
        let (width, height) = match whole_rows {
            0 => (here.min(count - done), 1),
            rows => (row_bytes, rows),
        };
        runs.push(Run {
            x_bytes,
            row,
            offset: done,
            width,
            height,
        });
        done += width * height;
        row += height;
        x_bytes = 0;
    }
    Ok(runs)
}

struct Run {
    x_bytes: usize,
    row: usize,
    /// In the plain memory.
    offset: usize,
    width: usize,
    height: usize,
}

fn row_bytes(array: CUarray) -> Result<usize> {
    let mut extent = cudaExtent {
        width: 0,
        height: 0,
        depth: 0,
    };
    let null = std::ptr::null_mut();
    // SAFETY: the output is a local.
    unsafe { super::cudaArrayGetInfo(null, &raw mut extent, null.cast(), array) }?;
    bytes(extent.width, element_bytes(array)?)
}

fn to_array(
    default_stream: CUstream,
    place: Place,
    src: *const c_void,
    count: usize,
    kind: cudaMemcpyKind,
    stream: Option<CUstream>,
) -> Result<()> {
    for run in runs(place.array, place.x_bytes, place.row, count)? {
        let to = Place {
            x_bytes: run.x_bytes,
            row: run.row,
            ..place
        };
        let ends = Ends::ToArray(to, src.wrapping_byte_add(run.offset), run.width);
        copy_rectangle(&ends, run.width, run.height, kind, default_stream, stream)?;
    }
    Ok(())
}

fn from_array(
    default_stream: CUstream,
    dst: *mut c_void,
    place: Place,
    count: usize,
    kind: cudaMemcpyKind,
    stream: Option<CUstream>,
) -> Result<()> {
    for run in runs(place.array, place.x_bytes, place.row, count)? {
        let from = Place {
            x_bytes: run.x_bytes,
            row: run.row,
            ..place
        };
        let ends = Ends::FromArray(dst.wrapping_byte_add(run.offset), run.width, from);
        copy_rectangle(&ends, run.width, run.height, kind, default_stream, stream)?;
    }
    Ok(())
}

pub unsafe fn cudaMemcpyToArray(
    default_stream: CUstream,
    dst: CUarray,
    wOffset: usize,
    hOffset: usize,
    src: *const c_void,
    count: usize,
    kind: cudaMemcpyKind,
) -> Result<()> {
    let to = Place {
        array: dst,
        x_bytes: wOffset,
        row: hOffset,
    };
    to_array(default_stream, to, src, count, kind, None)
}

pub unsafe fn cudaMemcpyToArrayAsync(
    default_stream: CUstream,
    dst: CUarray,
    wOffset: usize,
    hOffset: usize,
    src: *const c_void,
    count: usize,
    kind: cudaMemcpyKind,
    stream: CUstream,
) -> Result<()> {
    let to = Place {
        array: dst,
        x_bytes: wOffset,
        row: hOffset,
    };
    to_array(default_stream, to, src, count, kind, Some(stream))
}

pub unsafe fn cudaMemcpyFromArray(
    default_stream: CUstream,
    dst: *mut c_void,
    src: CUarray,
    wOffset: usize,
    hOffset: usize,
    count: usize,
    kind: cudaMemcpyKind,
) -> Result<()> {
    let from = Place {
        array: src,
        x_bytes: wOffset,
        row: hOffset,
    };
    from_array(default_stream, dst, from, count, kind, None)
}

pub unsafe fn cudaMemcpyFromArrayAsync(
    default_stream: CUstream,
    dst: *mut c_void,
    src: CUarray,
    wOffset: usize,
    hOffset: usize,
    count: usize,
    kind: cudaMemcpyKind,
    stream: CUstream,
) -> Result<()> {
    let from = Place {
        array: src,
        x_bytes: wOffset,
        row: hOffset,
    };
    from_array(default_stream, dst, from, count, kind, Some(stream))
}

pub unsafe fn cudaMemcpyArrayToArray(
    default_stream: CUstream,
    dst: CUarray,
    wOffsetDst: usize,
    hOffsetDst: usize,
    src: CUarray,
    wOffsetSrc: usize,
    hOffsetSrc: usize,
    count: usize,
    kind: cudaMemcpyKind,
) -> Result<()> {
    if row_bytes(dst)? != row_bytes(src)? || wOffsetDst != wOffsetSrc {
        // Rows of one do not begin where rows of the other do.
        return Err(cudaError::cudaErrorInvalidValue);
    }
    for run in runs(dst, wOffsetDst, hOffsetDst, count)? {
        let to = Place {
            array: dst,
            x_bytes: run.x_bytes,
            row: run.row,
        };
        let from = Place {
            array: src,
            x_bytes: run.x_bytes,
            row: hOffsetSrc + (run.row - hOffsetDst),
        };
        let ends = Ends::Between(to, from);
        copy_rectangle(&ends, run.width, run.height, kind, default_stream, None)?;
    }
    Ok(())
}
