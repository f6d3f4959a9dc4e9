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

use std::ffi::c_void;

use gvirtus_abi::{CUDA_MEMCPY2D, CUDA_MEMCPY3D, CUdeviceptr, CUmemorytype, CUresult, CUstream};
use gvirtus_graph::{Memcpy, Payload as Node, capture};
use gvirtus_protocol::command::Copy2D;
use gvirtus_protocol::opcode;
use zerocopy::IntoBytes as _;
use zerocopy::little_endian::{U32, U64};

use super::{INVALID_VALUE, Status, copy_box, graph_stream, required};
use crate::process::session;
use crate::session::{Session, StreamRef};
use crate::wire::{Command, Payload, Rows};

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

/// A copy as a node of a graph.
fn payload(
    session: &Session,
    stream: &gvirtus_graph::Stream,
    from: Side,
    to: Side,
) -> Result<Node, CUresult> {
    let place = |side: Side| match side {
        Side::Device(rows) => (CUmemorytype::CU_MEMORYTYPE_DEVICE, rows),
        Side::Host(rows) => (CUmemorytype::CU_MEMORYTYPE_HOST, rows),
    };
    for side in [from, to] {
        match side {
            Side::Device(rows) => session.check_rows(rows)?,
            Side::Host(rows) => check_host(rows)?,
        }
    }
    let ((from_kind, from), (to_kind, to)) = (place(from), place(to));
    // Of two sides, one may have become a single row.
    let shape = match from.height >= to.height {
        true => from,
        false => to,
    };
    let pitch = |rows: Rows| match rows.height == shape.height {
        true => rows.pitch_bytes,
        false => shape.width_bytes,
    };
    let (to_side, from_side) = (
        (to_kind, to.address as u64),
        (from_kind, from.address as u64),
    );
    let mut memcpy = Memcpy::line(to_side, from_side, shape.width_bytes, stream.context);
    memcpy.copy.Height = shape.height;
    memcpy.copy.dstPitch = pitch(to);
    memcpy.copy.srcPitch = pitch(from);
    Ok(Node::Memcpy(memcpy))
}

/// A copy that is not captured.
///
/// # Safety
///
/// Host memory is as CUDA asks.
unsafe fn copy_now(
    session: &Session,
    stream: StreamRef,
    from: Side,
    to: Side,
    returns: Returns,
) -> Status {
    session.before_work(stream)?;
    let (from, to, is_host) = session.as_device(from, to);
    match (from, to) {
        // SAFETY: the caller's promise.
        (Side::Host(from), Side::Device(to)) => unsafe {
            host_to_device(session, stream, from, to, returns)?;
            // Such a copy waits for the device first.
            if returns == Returns::WhenDone && session.shared.is_used() {
                session.wait_for_stream(stream)?;
            }
            Ok(())
        },
        // SAFETY: the caller's promise.
        (Side::Device(from), Side::Host(to)) => unsafe {
            device_to_host(session, stream, from, to)?;
            session.after_copy()
        },
        (Side::Device(from), Side::Device(to)) => {
            device_to_device(session, stream, from, to)?;
            if is_host && returns == Returns::WhenDone {
                session.wait_for_stream(stream)?;
            }
            Ok(())
        }
        // SAFETY: the caller's promise.
        (Side::Host(from), Side::Host(to)) => unsafe { host_to_host(session, stream, from, to) },
    }
}

/// # Safety
///
/// `from` is readable.
unsafe fn host_to_device(
    session: &Session,
    stream: StreamRef,
    from: Rows,
    to: Rows,
    returns: Returns,
) -> Status {
    check_host(from)?;
    // CUDA reads page-locked memory when the stream comes to the copy; a function of the
    // application before it may still write what is to be copied.
    if returns == Returns::AtOnce
        && session.wire.has_host_functions()
        && session.is_page_locked(from.address)
    {
        session.wait_for_stream(stream)?;
    }
    let to = session.device_rows(to, from)?;
    let mut body = to.body(stream);
    body.synchronous = U32::new((returns == Returns::WhenDone).into());
    let command = Command {
        opcode: opcode::cuMemcpyHtoDAsync_v2,
        context: stream.context,
    };
    let fill = |buffer: &mut Vec<u8>| buffer.extend_from_slice(body.as_bytes());
    // SAFETY: the caller's promise.
    unsafe {
        session
            .wire
            .post_payload(command, fill, Payload::Rows(from))
    }
}

/// # Safety
///
/// `to` is writable.
unsafe fn device_to_host(session: &Session, stream: StreamRef, from: Rows, to: Rows) -> Status {
    check_host(to)?;
    let body = session.device_rows(from, to)?.body(stream);
    let command = Command {
        opcode: opcode::cuMemcpyDtoHAsync_v2,
        context: stream.context,
    };
    let fill = |buffer: &mut Vec<u8>| buffer.extend_from_slice(body.as_bytes());
    // SAFETY: the caller's promise; there is no payload to send.
    let outcome = unsafe { session.wire.call(command, fill, Payload::None, to)? };
    session.wire.faults().take_deferred()?;
    outcome.successful().map(drop)
}

fn device_to_device(session: &Session, stream: StreamRef, from: Rows, to: Rows) -> Status {
    session.check_rows(from)?;
    session.check_rows(to)?;
    let (width_bytes, rows) = common_rows(from, to);
    for (from, to) in rows {
        let words = [
            to as u64,
            from as u64,
            width_bytes as u64,
            stream.number.into(),
        ];
        session.wire.post(
            Command {
                opcode: opcode::cuMemcpyDtoDAsync_v2,
                context: stream.context,
            },
            |buffer| {
                for word in words {
                    buffer.extend_from_slice(&word.to_le_bytes());
                }
            },
        )?;
    }
    Ok(())
}

/// # Safety
///
/// `from` is readable and `to` writable.
unsafe fn host_to_host(session: &Session, stream: StreamRef, from: Rows, to: Rows) -> Status {
    check_host(from)?;
    check_host(to)?;
    let word = U64::new(stream.number.into());
    session.call_or_deferred(opcode::cuStreamSynchronize, stream.context, word.as_bytes())?;
    let (width_bytes, rows) = common_rows(from, to);
    for (from, to) in rows {
        // SAFETY: the caller's promise; the rows may overlap.
        unsafe { std::ptr::copy(from as *const u8, to as *mut u8, width_bytes) };
    }
    Ok(())
}

/// Pairs of rows of equal length. Of two sides, one may have become a single row.
fn common_rows(from: Rows, to: Rows) -> (usize, impl Iterator<Item = (usize, usize)>) {
    let split = |rows: Rows, like: Rows| match rows.height == like.height {
        true => rows,
        false => Rows {
            width_bytes: like.width_bytes,
            height: like.height,
            pitch_bytes: like.width_bytes,
            ..rows
        },
    };
    let (from, to) = match from.height >= to.height {
        true => (from, split(to, from)),
        false => (split(from, to), to),
    };
    (from.width_bytes, from.addresses().zip(to.addresses()))
}

/// Rows in device memory, as they travel.
struct DeviceRows {
    address: u64,
    pitch_bytes: u64,
    width_bytes: u64,
    height: u64,
}

impl DeviceRows {
    const fn body(&self, stream: StreamRef) -> Copy2D {
        Copy2D {
            device_address: U64::new(self.address),
            device_pitch_bytes: U64::new(self.pitch_bytes),
            width_bytes: U64::new(self.width_bytes),
            height: U64::new(self.height),
            stream: U32::new(stream.number),
            synchronous: U32::new(1),
        }
    }
}

impl Session {
    /// The sides, of which host memory that the device has too becomes device memory: kernels may
    /// have changed it. The last tells whether there was any.
    fn as_device(&self, from: Side, to: Side) -> (Side, Side, bool) {
        if !self.shared.is_used() {
            return (from, to, false);
        }
        let mirrors = self.shared.mirrors.lock();
        let translate = |side: Side| match side {
            Side::Host(rows) => {
                let found = mirrors.find(rows.address as u64)?;
                let last = rows.pitch_bytes.checked_mul(rows.height - 1)?;
                let end = rows
                    .address
                    .checked_add(last)?
                    .checked_add(rows.width_bytes)?;
                let offset = rows.address - found.host as usize;
                let address = found.device as usize + offset;
                let is_inside = end as u64 <= found.host + found.bytes();
                is_inside.then_some(Side::Device(Rows { address, ..rows }))
            }
            Side::Device(_) => None,
        };
        let (new_from, new_to) = (translate(from), translate(to));
        let is_shared =
            matches!(to, Side::Device(rows) if mirrors.find(rows.address as u64).is_some());
        let is_host = new_from.is_some() || new_to.is_some() || is_shared;
        (new_from.unwrap_or(from), new_to.unwrap_or(to), is_host)
    }

    pub(super) fn is_device(&self, address: usize) -> bool {
        self.device_ranges.read().is_device(address as u64)
    }

    fn is_page_locked(&self, address: usize) -> bool {
        self.host_ranges.read().find(address as u64).is_some()
    }

    pub(super) fn wait_for_stream(&self, stream: StreamRef) -> Status {
        let word = U64::new(stream.number.into());
        let body = gvirtus_protocol::command::Word { word };
        let body = body.as_bytes();
        self.call_or_deferred(opcode::cuStreamSynchronize, stream.context, body)
            .map(drop)
    }

    fn check_rows(&self, rows: Rows) -> Status {
        self.check_device_rows(
            rows.address as u64,
            rows.width_bytes as u64,
            rows.height as u64,
            rows.pitch_bytes as u64,
        )
    }

    /// The device's side of a copy, if it is device memory.
    fn device_rows(&self, rows: Rows, host: Rows) -> Result<DeviceRows, CUresult> {
        self.check_rows(rows)?;
        debug_assert_eq!(rows.bytes(), host.bytes(), "both sides have one size");
        Ok(DeviceRows {
            address: rows.address as u64,
            pitch_bytes: rows.pitch_bytes as u64,
            width_bytes: rows.width_bytes as u64,
            height: rows.height as u64,
        })
    }
}

pub(super) fn check_host(rows: Rows) -> Status {
    let last = rows.pitch_bytes.checked_mul(rows.height - 1);
    let end = last
        .and_then(|last| last.checked_add(rows.width_bytes))
        .and_then(|bytes| bytes.checked_add(rows.address));
    // The memory of a process ends long before this.
    if rows.address == 0 || end.is_none_or(|end| end > isize::MAX as usize) {
        return Err(INVALID_VALUE);
    }
    Ok(())
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

/// The slices of a copy in up to three dimensions.
///
/// # Errors
///
/// `CUDA_ERROR_INVALID_VALUE` for ranges that are no memory.
fn slices(session: &Session, copy: &CUDA_MEMCPY3D) -> Result<Vec<(Side, Side)>, CUresult> {
    let shape = Shape {
        width_bytes: copy.WidthInBytes,
        height: copy.Height,
    };
    let mut slices = Vec::new();
    if copy.WidthInBytes == 0 || copy.Height == 0 {
        return Ok(slices);
    }
    let row = |z: usize, slice: usize, y: usize, height: usize| {
        let height = match height {
            0 => y.checked_add(copy.Height)?,
            height => height,
        };
        z.checked_add(slice)?.checked_mul(height)?.checked_add(y)
    };
    for slice in 0..copy.Depth {
        let from_y = row(copy.srcZ, slice, copy.srcY, copy.srcHeight).ok_or(INVALID_VALUE)?;
        let to_y = row(copy.dstZ, slice, copy.dstY, copy.dstHeight).ok_or(INVALID_VALUE)?;
        let from = shape.side(
            session,
            copy.srcMemoryType,
            (copy.srcHost as usize, copy.srcDevice),
            (copy.srcXInBytes, from_y, copy.srcPitch),
        )?;
        let to = shape.side(
            session,
            copy.dstMemoryType,
            (copy.dstHost as usize, copy.dstDevice),
            (copy.dstXInBytes, to_y, copy.dstPitch),
        )?;
        for side in [from, to] {
            match side {
                Side::Device(rows) => session.check_rows(rows)?,
                Side::Host(rows) => check_host(rows)?,
            }
        }
        slices.push((from, to));
    }
    Ok(slices)
}

/// Whether a copy can be a node of a graph.
///
/// # Errors
///
/// As [`slices`].
pub(super) fn check_3d(session: &Session, copy: &CUDA_MEMCPY3D) -> Status {
    if has_array(copy) {
        return copy_box::check_node(session, copy);
    }
    slices(session, copy).map(drop)
}

fn has_array(copy: &CUDA_MEMCPY3D) -> bool {
    [copy.srcMemoryType, copy.dstMemoryType].contains(&CUmemorytype::CU_MEMORYTYPE_ARRAY)
}

/// Does the copy of a node. What goes to the host is there on return; what comes from it is read.
///
/// # Safety
///
/// Host memory is as CUDA asks.
pub(super) unsafe fn copy_3d(session: &Session, stream: StreamRef, copy: &CUDA_MEMCPY3D) -> Status {
    if has_array(copy) {
        // SAFETY: the caller's promise.
        return unsafe { copy_box::run_node(session, stream, copy) };
    }
    for (from, to) in slices(session, copy)? {
        // A graph reads its memory, of whatever kind, when it comes to the copy.
        if matches!(from, Side::Host(_)) && session.wire.has_host_functions() {
            session.wait_for_stream(stream)?;
        }
        // SAFETY: the caller's promise.
        unsafe { copy_now(session, stream, from, to, Returns::AtOnce)? };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_with_and_without_gaps_are_paired() {
        let gaps = Rows::new(1000, 4, 3, 16);
        let dense = Rows::new(5000, 4, 3, 4);
        assert_eq!((dense.height, dense.width_bytes), (1, 12));
        for (from, to, expected) in [
            (gaps, dense, vec![(1000, 5000), (1016, 5004), (1032, 5008)]),
            (dense, gaps, vec![(5000, 1000), (5004, 1016), (5008, 1032)]),
        ] {
            let (width, rows) = common_rows(from, to);
            assert_eq!((width, rows.collect::<Vec<_>>()), (4, expected));
        }
        let (width, rows) = common_rows(dense, dense);
        assert_eq!((width, rows.count()), (12, 1));
    }

    #[test]
    fn host_rows_outside_of_all_memory_are_refused() {
        assert_eq!(check_host(Rows::line(4096, 10)), Ok(()));
        for rows in [
            Rows::line(0, 10),
            Rows::line(usize::MAX - 4, 10),
            Rows::new(4096, 8, usize::MAX / 2, 16),
        ] {
            assert_eq!(check_host(rows), Err(INVALID_VALUE));
        }
    }
}
