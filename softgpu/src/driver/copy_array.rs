// SPDX-License-Identifier: Apache-2.0
//! Copies to and from arrays, and in three dimensions (`cuda.h`: "Memory Management").

use core::ffi::c_void;

use gvirtus_abi::{
    CUDA_MEMCPY3D, CUDA_MEMCPY3D_PEER, CUarray, CUdeviceptr, CUmemorytype, CUresult, CUstream,
};

use super::array;
use super::copy::{ArrayBox, Rows, Transfer, address, asynchronous, expect_device, synchronous};
use super::limits::MAX_PITCH_BYTES;
use super::stream;

const INVALID_VALUE: CUresult = CUresult::CUDA_ERROR_INVALID_VALUE;

/// One side of a copy of `shape` bytes, rows and slices, which begins at `at`. Pitches are those of
/// rows in bytes and of slices in rows.
///
/// # Errors
///
/// `CUDA_ERROR_INVALID_VALUE` for what does not fit, `CUDA_ERROR_INVALID_HANDLE` for no array.
pub(super) fn side<P: HostPointer>(
    (kind, host, device, array): (CUmemorytype, P, CUdeviceptr, CUarray),
    [pitch, rows_of_slice]: [usize; 2],
    at: [usize; 3],
    shape: [usize; 3],
) -> Result<Rows, CUresult> {
    let start = match kind {
        CUmemorytype::CU_MEMORYTYPE_HOST => address(host.address()),
        CUmemorytype::CU_MEMORYTYPE_DEVICE => {
            if !shape.contains(&0) {
                expect_device(device, 1)?;
            }
            device.0
        }
        CUmemorytype::CU_MEMORYTYPE_UNIFIED => device.0,
        CUmemorytype::CU_MEMORYTYPE_ARRAY => return array_part(array, at, shape),
        _ => return Err(INVALID_VALUE),
    };
    let [x, y, z] = at;
    let [width, height, depth] = shape;
    let line = x.checked_add(width).ok_or(INVALID_VALUE)?;
    let rows = y.checked_add(height).ok_or(INVALID_VALUE)?;
    let is_deep = depth > 1 || z > 0;
    // A single row needs no pitch, a single slice no height.
    let is_pitched = height > 1 || y > 0 || is_deep;
    let is_too_close = pitch < line || pitch > MAX_PITCH_BYTES as usize;
    if (is_pitched && is_too_close) || (is_deep && rows_of_slice < rows) {
        return Err(INVALID_VALUE);
    }
    let slice_pitch = match is_deep {
        true => pitch.checked_mul(rows_of_slice).ok_or(INVALID_VALUE)?,
        false => 0,
    };
    let offset = |pitch: usize, count: usize| pitch.checked_mul(count);
    let start = offset(pitch, y)
        .and_then(|rows| rows.checked_add(offset(slice_pitch, z)?))
        .and_then(|bytes| bytes.checked_add(x))
        .and_then(|bytes| start.checked_add(bytes as u64))
        .ok_or(INVALID_VALUE)?;
    Ok(Rows {
        start,
        pitch,
        slice_pitch,
        array: None,
    })
}

/// The two kinds of pointers in copy descriptors.
pub(super) trait HostPointer {
    fn address(self) -> *const c_void;
}

impl HostPointer for *const c_void {
    fn address(self) -> *const c_void {
        self
    }
}

impl HostPointer for *mut c_void {
    fn address(self) -> *const c_void {
        self.cast_const()
    }
}

/// A box in an array. Layers and faces are slices.
fn array_part(handle: CUarray, at: [usize; 3], shape: [usize; 3]) -> Result<Rows, CUresult> {
    let array = array::find(handle)?;
    let image = &array.image;
    let level = image.levels[0];
    let texel = image.format.bytes() as usize;
    let limits = [
        level.extent[0] as usize * texel,
        level.extent[1] as usize,
        image.slices(&level) as usize,
    ];
    let is_outside = (0..3).any(|axis| {
        let end = at[axis].checked_add(shape[axis]);
        end.is_none_or(|end| end > limits[axis])
    });
    let is_split = [at[0], shape[0]].iter().any(|x| !x.is_multiple_of(texel));
    if is_outside || is_split {
        return Err(INVALID_VALUE);
    }
    let (pitch, slice_pitch) = (level.row_pitch_bytes, level.slice_pitch_bytes);
    let [x, y, z] = at.map(|offset| offset as u64);
    Ok(Rows {
        start: level.address + z * slice_pitch + y * pitch + x,
        pitch: pitch as usize,
        slice_pitch: slice_pitch as usize,
        array: Some(ArrayBox { handle, at }),
    })
}

/// Some bytes of an array without rows.
fn array_line(handle: CUarray, offset: usize, bytes: usize) -> Result<Rows, CUresult> {
    array_part(handle, [offset, 0, 0], [bytes, 1, 1])
}

fn line(to: Rows, from: Rows, bytes: usize) -> Transfer {
    Transfer {
        to,
        from,
        width: bytes,
        height: 1,
        depth: 1,
    }
}

pub(crate) unsafe fn cuMemcpyHtoA_v2(
    default_stream: CUstream,
    dstArray: CUarray,
    dstOffset: usize,
    srcHost: *const c_void,
    ByteCount: usize,
) -> Result<(), CUresult> {
    let target = stream::target(default_stream, CUstream::NULL)?;
    let to = array_line(dstArray, dstOffset, ByteCount)?;
    let from = Rows::line(address(srcHost), ByteCount);
    synchronous(&target, line(to, from, ByteCount))
}

pub(crate) unsafe fn cuMemcpyAtoH_v2(
    default_stream: CUstream,
    dstHost: *mut c_void,
    srcArray: CUarray,
    srcOffset: usize,
    ByteCount: usize,
) -> Result<(), CUresult> {
    let target = stream::target(default_stream, CUstream::NULL)?;
    let to = Rows::line(address(dstHost), ByteCount);
    let from = array_line(srcArray, srcOffset, ByteCount)?;
    synchronous(&target, line(to, from, ByteCount))
}

pub(crate) unsafe fn cuMemcpyHtoAAsync_v2(
    default_stream: CUstream,
    dstArray: CUarray,
    dstOffset: usize,
    srcHost: *const c_void,
    ByteCount: usize,
    hStream: CUstream,
) -> Result<(), CUresult> {
    let target = stream::capturable(default_stream, hStream)?;
    let to = array_line(dstArray, dstOffset, ByteCount)?;
    let from = Rows::line(address(srcHost), ByteCount);
    asynchronous(&target, line(to, from, ByteCount))
}

pub(crate) unsafe fn cuMemcpyAtoHAsync_v2(
    default_stream: CUstream,
    dstHost: *mut c_void,
    srcArray: CUarray,
    srcOffset: usize,
    ByteCount: usize,
    hStream: CUstream,
) -> Result<(), CUresult> {
    let target = stream::capturable(default_stream, hStream)?;
    let to = Rows::line(address(dstHost), ByteCount);
    let from = array_line(srcArray, srcOffset, ByteCount)?;
    asynchronous(&target, line(to, from, ByteCount))
}

pub(crate) unsafe fn cuMemcpyDtoA_v2(
    default_stream: CUstream,
    dstArray: CUarray,
    dstOffset: usize,
    srcDevice: CUdeviceptr,
    ByteCount: usize,
) -> Result<(), CUresult> {
    let target = stream::target(default_stream, CUstream::NULL)?;
    expect_device(srcDevice, ByteCount)?;
    let to = array_line(dstArray, dstOffset, ByteCount)?;
    let from = Rows::line(srcDevice.0, ByteCount);
    synchronous(&target, line(to, from, ByteCount))
}

pub(crate) unsafe fn cuMemcpyAtoD_v2(
    default_stream: CUstream,
    dstDevice: CUdeviceptr,
    srcArray: CUarray,
    srcOffset: usize,
    ByteCount: usize,
) -> Result<(), CUresult> {
    let target = stream::target(default_stream, CUstream::NULL)?;
    expect_device(dstDevice, ByteCount)?;
    let to = Rows::line(dstDevice.0, ByteCount);
    let from = array_line(srcArray, srcOffset, ByteCount)?;
    synchronous(&target, line(to, from, ByteCount))
}

pub(crate) unsafe fn cuMemcpyAtoA_v2(
    default_stream: CUstream,
    dstArray: CUarray,
    dstOffset: usize,
    srcArray: CUarray,
    srcOffset: usize,
    ByteCount: usize,
) -> Result<(), CUresult> {
    let target = stream::target(default_stream, CUstream::NULL)?;
    let to = array_line(dstArray, dstOffset, ByteCount)?;
    let from = array_line(srcArray, srcOffset, ByteCount)?;
    synchronous(&target, line(to, from, ByteCount))
}

pub(crate) unsafe fn cuMemcpy3D_v2(
    default_stream: CUstream,
    pCopy: *const CUDA_MEMCPY3D,
) -> Result<(), CUresult> {
    let target = stream::target(default_stream, CUstream::NULL)?;
    // SAFETY: the same contract.
    let transfer = unsafe { read_3d(pCopy)? };
    synchronous(&target, transfer)
}

pub(crate) unsafe fn cuMemcpy3DAsync_v2(
    default_stream: CUstream,
    pCopy: *const CUDA_MEMCPY3D,
    hStream: CUstream,
) -> Result<(), CUresult> {
    let target = stream::capturable(default_stream, hStream)?;
    // SAFETY: the same contract.
    let transfer = unsafe { read_3d(pCopy)? };
    asynchronous(&target, transfer)
}

/// All devices have one address space, so the contexts only need to exist.
pub(crate) unsafe fn cuMemcpy3DPeer(
    default_stream: CUstream,
    pCopy: *const CUDA_MEMCPY3D_PEER,
) -> Result<(), CUresult> {
    let target = stream::target(default_stream, CUstream::NULL)?;
    // SAFETY: the same contract.
    let transfer = unsafe { read_peer(pCopy)? };
    synchronous(&target, transfer)
}

pub(crate) unsafe fn cuMemcpy3DPeerAsync(
    default_stream: CUstream,
    pCopy: *const CUDA_MEMCPY3D_PEER,
    hStream: CUstream,
) -> Result<(), CUresult> {
    let target = stream::capturable(default_stream, hStream)?;
    // SAFETY: the same contract.
    let transfer = unsafe { read_peer(pCopy)? };
    asynchronous(&target, transfer)
}

/// The two structures of three-dimensional copies name the same fields.
macro_rules! transfer_3d {
    ($copy:expr) => {{
        let copy = $copy;
        let shape = [copy.WidthInBytes, copy.Height, copy.Depth];
        if copy.srcLOD != 0 || copy.dstLOD != 0 || product(shape).is_none() {
            return Err(INVALID_VALUE);
        }
        Ok(Transfer {
            to: side(
                (
                    copy.dstMemoryType,
                    copy.dstHost,
                    copy.dstDevice,
                    copy.dstArray,
                ),
                [copy.dstPitch, copy.dstHeight],
                [copy.dstXInBytes, copy.dstY, copy.dstZ],
                shape,
            )?,
            from: side(
                (
                    copy.srcMemoryType,
                    copy.srcHost,
                    copy.srcDevice,
                    copy.srcArray,
                ),
                [copy.srcPitch, copy.srcHeight],
                [copy.srcXInBytes, copy.srcY, copy.srcZ],
                shape,
            )?,
            width: shape[0],
            height: shape[1],
            depth: shape[2],
        })
    }};
}

fn product(shape: [usize; 3]) -> Option<usize> {
    shape[0].checked_mul(shape[1])?.checked_mul(shape[2])
}

/// # Errors
///
/// As [`side`].
pub(super) fn transfer_3d(copy: &CUDA_MEMCPY3D) -> Result<Transfer, CUresult> {
    transfer_3d!(copy)
}

/// # Safety
///
/// `copy` is null or points to a whole structure.
unsafe fn read_3d(copy: *const CUDA_MEMCPY3D) -> Result<Transfer, CUresult> {
    if copy.is_null() {
        return Err(INVALID_VALUE);
    }
    // SAFETY: not null, and then a whole structure by the caller's promise.
    transfer_3d(&unsafe { copy.read_unaligned() })
}

/// # Safety
///
/// `copy` is null or points to a whole structure.
unsafe fn read_peer(copy: *const CUDA_MEMCPY3D_PEER) -> Result<Transfer, CUresult> {
    if copy.is_null() {
        return Err(INVALID_VALUE);
    }
    // SAFETY: not null, and then a whole structure by the caller's promise.
    let copy = unsafe { copy.read_unaligned() };
    for context in [copy.srcContext, copy.dstContext] {
        super::context::find(context)?;
    }
    transfer_3d!(copy)
}
