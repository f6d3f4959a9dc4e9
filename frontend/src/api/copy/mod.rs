// SPDX-License-Identifier: Apache-2.0
//! Copies.
//!
//! | from → to | travels |
//! |---|---|
//! | host → device | posted with the bytes, also of the synchronous forms: they have left the application's memory on return, and the worker lets nothing overtake a synchronous copy |
//! | device → host | one round trip, also of the asynchronous forms: their bytes are there on return |
//! | device → device | posted; with gaps, row by row |
//! | host → host | here, after the stream has got that far |
//!
//! Where the caller names no direction, the addresses tell it: what is no device memory is host
//! memory.

mod node;
mod transfer;

use std::ffi::c_void;

use gvirtus_abi::{CUDA_MEMCPY2D, CUdeviceptr, CUmemorytype, CUresult, CUstream};
use gvirtus_graph::capture;

use super::{INVALID_VALUE, Status, copy_box, graph_stream, required};
use crate::process::session;
use crate::session::Session;
use crate::wire::Rows;

pub(super) use self::node::{check_3d, copy_3d};
pub(super) use self::transfer::check_host;
use self::{node::payload, transfer::copy_now};

/// Whether a copy is done when its call returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Returns {
    AtOnce,
    WhenDone,
}

/// One side of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Device(Rows),
    Host(Rows),
}

/// `cuMemcpyHtoD_v2`.
pub unsafe fn cuMemcpyHtoD_v2(
    default_stream: CUstream,
    dstDevice: CUdeviceptr,
    srcHost: *const c_void,
    ByteCount: usize,
) -> Status {
    let to = device_line(dstDevice, ByteCount)?;
    let from = host_line(srcHost, ByteCount);
    // SAFETY: the caller's promise.
    unsafe { copy(default_stream, CUstream::NULL, from, to, Returns::WhenDone) }
}

/// `cuMemcpyDtoH_v2`.
pub unsafe fn cuMemcpyDtoH_v2(
    default_stream: CUstream,
    dstHost: *mut c_void,
    srcDevice: CUdeviceptr,
    ByteCount: usize,
) -> Status {
    let to = host_line(dstHost, ByteCount);
    let from = device_line(srcDevice, ByteCount)?;
    // SAFETY: the caller's promise.
    unsafe { copy(default_stream, CUstream::NULL, from, to, Returns::WhenDone) }
}

/// `cuMemcpyHtoDAsync_v2`.
pub unsafe fn cuMemcpyHtoDAsync_v2(
    default_stream: CUstream,
    dstDevice: CUdeviceptr,
    srcHost: *const c_void,
    ByteCount: usize,
    hStream: CUstream,
) -> Status {
    let to = device_line(dstDevice, ByteCount)?;
    let from = host_line(srcHost, ByteCount);
    // SAFETY: the caller's promise.
    unsafe { copy(default_stream, hStream, from, to, Returns::AtOnce) }
}

/// `cuMemcpyDtoHAsync_v2`.
pub unsafe fn cuMemcpyDtoHAsync_v2(
    default_stream: CUstream,
    dstHost: *mut c_void,
    srcDevice: CUdeviceptr,
    ByteCount: usize,
    hStream: CUstream,
) -> Status {
    let to = host_line(dstHost, ByteCount);
    let from = device_line(srcDevice, ByteCount)?;
    // SAFETY: the caller's promise.
    unsafe { copy(default_stream, hStream, from, to, Returns::AtOnce) }
}

/// `cuMemcpy`.
pub unsafe fn cuMemcpy(
    default_stream: CUstream,
    dst: CUdeviceptr,
    src: CUdeviceptr,
    ByteCount: usize,
) -> Status {
    let session = session()?;
    let to = line_of(session, dst, ByteCount)?;
    let from = line_of(session, src, ByteCount)?;
    // SAFETY: the caller's promise.
    unsafe { copy(default_stream, CUstream::NULL, from, to, Returns::WhenDone) }
}

/// `cuMemcpyAsync`.
pub unsafe fn cuMemcpyAsync(
    default_stream: CUstream,
    dst: CUdeviceptr,
    src: CUdeviceptr,
    ByteCount: usize,
    hStream: CUstream,
) -> Status {
    let session = session()?;
    let to = line_of(session, dst, ByteCount)?;
    let from = line_of(session, src, ByteCount)?;
    // SAFETY: the caller's promise.
    unsafe { copy(default_stream, hStream, from, to, Returns::AtOnce) }
}

/// `cuMemcpy2D_v2`.
pub unsafe fn cuMemcpy2D_v2(default_stream: CUstream, pCopy: *const CUDA_MEMCPY2D) -> Status {
    // SAFETY: the caller's promise.
    unsafe { copy_2d(default_stream, CUstream::NULL, pCopy, Returns::WhenDone) }
}

/// `cuMemcpy2DUnaligned_v2`: there is no alignment that would make a difference.
pub unsafe fn cuMemcpy2DUnaligned_v2(
    default_stream: CUstream,
    pCopy: *const CUDA_MEMCPY2D,
) -> Status {
    // SAFETY: the caller's promise.
    unsafe { copy_2d(default_stream, CUstream::NULL, pCopy, Returns::WhenDone) }
}

/// `cuMemcpy2DAsync_v2`.
pub unsafe fn cuMemcpy2DAsync_v2(
    default_stream: CUstream,
    pCopy: *const CUDA_MEMCPY2D,
    hStream: CUstream,
) -> Status {
    // SAFETY: the caller's promise.
    unsafe { copy_2d(default_stream, hStream, pCopy, Returns::AtOnce) }
}

/// # Safety
///
/// `copy` is null or valid for reading, and what it describes is as CUDA asks.
unsafe fn copy_2d(
    default: CUstream,
    stream: CUstream,
    description: *const CUDA_MEMCPY2D,
    returns: Returns,
) -> Status {
    let session = session()?;
    let description = required(description.cast_mut())?;
    // SAFETY: not null, and then valid for reading by the caller's promise.
    let d = unsafe { description.read() };
    if [d.srcMemoryType, d.dstMemoryType].contains(&CUmemorytype::CU_MEMORYTYPE_ARRAY) {
        // SAFETY: the caller's promise.
        return unsafe { copy_box::copy_2d((default, stream), &d, returns) };
    }
    let shape = Shape {
        width_bytes: d.WidthInBytes,
        height: d.Height,
    };
    let from = shape.side(
        session,
        d.srcMemoryType,
        (d.srcHost as usize, d.srcDevice),
        (d.srcXInBytes, d.srcY, d.srcPitch),
    )?;
    let to = shape.side(
        session,
        d.dstMemoryType,
        (d.dstHost as usize, d.dstDevice),
        (d.dstXInBytes, d.dstY, d.dstPitch),
    )?;
    // SAFETY: the caller's promise.
    unsafe { copy(default, stream, from, to, returns) }
}

/// The size of a two-dimensional copy.
#[derive(Clone, Copy)]
struct Shape {
    width_bytes: usize,
    height: usize,
}

impl Shape {
    fn side(
        self,
        session: &Session,
        memory: CUmemorytype,
        (host, device): (usize, CUdeviceptr),
        (x_bytes, y, pitch_bytes): (usize, usize, usize),
    ) -> Result<Side, CUresult> {
        let device = usize::try_from(device.0).map_err(|_| INVALID_VALUE)?;
        let (base, is_device) = match memory {
            CUmemorytype::CU_MEMORYTYPE_HOST => (host, false),
            CUmemorytype::CU_MEMORYTYPE_DEVICE => (device, true),
            CUmemorytype::CU_MEMORYTYPE_UNIFIED => (device, session.is_device(device)),
            _ => return Err(INVALID_VALUE),
        };
        // Without a pitch the rows follow each other.
        let pitch_bytes = match pitch_bytes {
            0 => self.width_bytes.checked_add(x_bytes).ok_or(INVALID_VALUE)?,
            pitch => pitch,
        };
        let row_end = self.width_bytes.checked_add(x_bytes);
        if self.height > 1 && row_end.is_none_or(|end| end > pitch_bytes) {
            return Err(INVALID_VALUE);
        }
        let start = y
            .checked_mul(pitch_bytes)
            .and_then(|bytes| bytes.checked_add(x_bytes))
            .and_then(|bytes| bytes.checked_add(base))
            .ok_or(INVALID_VALUE)?;
        let rows = Rows::new(start, self.width_bytes, self.height, pitch_bytes);
        Ok(match is_device {
            true => Side::Device(rows),
            false => Side::Host(rows),
        })
    }
}

/// # Safety
///
/// Host memory is as CUDA asks.
unsafe fn copy(
    default: CUstream,
    stream: CUstream,
    from: Side,
    to: Side,
    returns: Returns,
) -> Status {
    let session = session()?;
    let reference = session.capturable(default, stream)?;
    session.wire.faults().take_deferred()?;
    let (Side::Device(rows) | Side::Host(rows)) = to;
    if rows.bytes() == 0 {
        return Ok(());
    }
    if capture::is_possible() {
        let stream = graph_stream(session, default, stream)?;
        match returns {
            Returns::WhenDone => capture::check_stream_wait(&stream)?,
            Returns::AtOnce => {
                let payload = || payload(session, &stream, from, to);
                if capture::record(&stream, payload)? {
                    return Ok(());
                }
            }
        }
    }
    // SAFETY: the caller's promise.
    unsafe { copy_now(session, reference, from, to, returns) }
}

fn device_line(address: CUdeviceptr, bytes: usize) -> Result<Side, CUresult> {
    let address = usize::try_from(address.0).map_err(|_| INVALID_VALUE)?;
    Ok(Side::Device(Rows::line(address, bytes)))
}

fn host_line(address: *const c_void, bytes: usize) -> Side {
    Side::Host(Rows::line(address as usize, bytes))
}

/// Of whichever side the address is.
fn line_of(session: &Session, address: CUdeviceptr, bytes: usize) -> Result<Side, CUresult> {
    let address = usize::try_from(address.0).map_err(|_| INVALID_VALUE)?;
    let line = Rows::line(address, bytes);
    Ok(match session.is_device(address) {
        true => Side::Device(line),
        false => Side::Host(line),
    })
}
