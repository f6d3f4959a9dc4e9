// SPDX-License-Identifier: Apache-2.0
//! Copies in three dimensions, and those to and from arrays. They travel as those of `copy` do;
//! slices of host memory that do not follow each other travel one by one.

use std::ffi::c_void;

use gvirtus_abi::{
    CUDA_MEMCPY2D, CUDA_MEMCPY3D, CUarray, CUcontext, CUdeviceptr, CUmemorytype, CUresult, CUstream,
};
use gvirtus_graph::{Memcpy, Payload as Node, capture};
use gvirtus_protocol::command::{CopyBetween, CopyBox, DeviceBox};
use gvirtus_protocol::opcode;
use zerocopy::IntoBytes as _;
use zerocopy::little_endian::{U32, U64};

use super::copy::{Returns, check_host};
use super::{INVALID_VALUE, Status, graph_stream, required};
use crate::process::session;
use crate::session::{Session, StreamRef};
use crate::wire::{Command, Payload, Rows};

/// One side of a copy.
#[derive(Clone, Copy)]
enum Side {
    /// Address, bytes from row to row, bytes from slice to slice.
    Host(usize, usize, usize),
    Device(DeviceBox),
}

/// Bytes, rows and slices.
#[derive(Clone, Copy)]
struct Shape([usize; 3]);

/// What a copy descriptor says of one side.
struct Described {
    memory: CUmemorytype,
    host: usize,
    device: CUdeviceptr,
    array: CUarray,
    pitch_bytes: usize,
    slice_rows: usize,
    at: [usize; 3],
}

impl Shape {
    fn side(self, session: &Session, described: &Described) -> Result<Side, CUresult> {
        let address = usize::try_from(described.device.0).map_err(|_| INVALID_VALUE)?;
        let (base, is_device) = match described.memory {
            CUmemorytype::CU_MEMORYTYPE_HOST => (described.host, false),
            CUmemorytype::CU_MEMORYTYPE_DEVICE => (address, true),
            CUmemorytype::CU_MEMORYTYPE_UNIFIED => (address, session.is_device(address)),
            CUmemorytype::CU_MEMORYTYPE_ARRAY => return self.array(session, described),
            _ => return Err(INVALID_VALUE),
        };
        let ([width, height, depth], [x, y, z]) = (self.0, described.at);
        let is_deep = depth > 1 || z > 0;
        let is_pitched = height > 1 || y > 0 || is_deep;
        let row_end = width.checked_add(x).ok_or(INVALID_VALUE)?;
        let last_row = height.checked_add(y).ok_or(INVALID_VALUE)?;
        // Without a pitch the rows follow each other.
        let pitch = match described.pitch_bytes {
            0 => row_end,
            pitch => pitch,
        };
        let slice_rows = match described.slice_rows {
            0 => last_row,
            rows => rows,
        };
        if (is_pitched && pitch < row_end) || (is_deep && slice_rows < last_row) {
            return Err(INVALID_VALUE);
        }
        let slice_pitch = pitch.checked_mul(slice_rows).ok_or(INVALID_VALUE)?;
        let offset = |pitch: usize, count: usize| pitch.checked_mul(count);
        let start = offset(pitch, y)
            .and_then(|bytes| bytes.checked_add(offset(slice_pitch, z)?))
            .and_then(|bytes| bytes.checked_add(x))
            .and_then(|bytes| bytes.checked_add(base))
            .ok_or(INVALID_VALUE)?;
        if !is_device {
            return Ok(Side::Host(start, pitch, slice_pitch));
        }
        let last = offset(slice_pitch, depth.saturating_sub(1));
        let bytes = last
            .and_then(|bytes| bytes.checked_add(offset(pitch, height.saturating_sub(1))?))
            .and_then(|bytes| bytes.checked_add(width))
            .ok_or(INVALID_VALUE)?;
        if !self.0.contains(&0) {
            let ranges = session.device_ranges.read();
            ranges.check(start as u64, bytes as u64)?;
        }
        Ok(Side::Device(DeviceBox {
            address: U64::new(start as u64),
            pitch_bytes: U64::new(pitch as u64),
            slice_rows: U64::new(slice_rows as u64),
            ..DeviceBox::default()
        }))
    }

    fn array(self, session: &Session, described: &Described) -> Result<Side, CUresult> {
        let array = session.arrays.array(described.array)?;
        if !array.holds(described.at, self.0) {
            return Err(INVALID_VALUE);
        }
        Ok(Side::Device(DeviceBox {
            array: U64::new(described.array.0),
            origin: described.at.map(|part| U64::new(part as u64)),
            ..DeviceBox::default()
        }))
    }

    /// Host memory that the device has too is device memory here: kernels may have changed it.
    fn as_device(self, session: &Session, side: Side) -> Side {
        let Side::Host(start, pitch, slice_pitch) = side else {
            return side;
        };
        let mirrors = session.shared.mirrors.lock();
        let Some(found) = mirrors.find(start as u64) else {
            return side;
        };
        let [width, height, depth] = self.0;
        let offset = start as u64 - found.host;
        let slices = slice_pitch.checked_mul(depth - 1);
        let end = slices
            .and_then(|bytes| bytes.checked_add(pitch.checked_mul(height - 1)?))
            .and_then(|bytes| {
                (bytes as u64)
                    .checked_add(width as u64)?
                    .checked_add(offset)
            });
        if end.is_none_or(|end| end > found.bytes()) {
            return side;
        }
        Side::Device(DeviceBox {
            address: U64::new(found.device + offset),
            pitch_bytes: U64::new(pitch as u64),
            slice_rows: U64::new((slice_pitch / pitch.max(1)) as u64),
            ..DeviceBox::default()
        })
    }

    fn bytes(self) -> Result<usize, CUresult> {
        let [width, height, depth] = self.0;
        let rows = height.checked_mul(depth).ok_or(INVALID_VALUE)?;
        rows.checked_mul(width).ok_or(INVALID_VALUE)
    }

    /// As a node of a graph.
    fn node(self, from: &Described, to: &Described, context: CUcontext) -> Memcpy {
        let none = (CUmemorytype::CU_MEMORYTYPE_DEVICE, 0);
        let mut node = Memcpy::line(none, none, self.0[0], context);
        let copy = &mut node.copy;
        [_, copy.Height, copy.Depth] = self.0;
        (copy.srcMemoryType, copy.dstMemoryType) = (from.memory, to.memory);
        copy.srcHost = std::ptr::with_exposed_provenance(from.host);
        copy.dstHost = std::ptr::with_exposed_provenance_mut(to.host);
        (copy.srcDevice, copy.dstDevice) = (from.device, to.device);
        (copy.srcArray, copy.dstArray) = (from.array, to.array);
        (copy.srcPitch, copy.dstPitch) = (from.pitch_bytes, to.pitch_bytes);
        (copy.srcHeight, copy.dstHeight) = (from.slice_rows, to.slice_rows);
        [copy.srcXInBytes, copy.srcY, copy.srcZ] = from.at;
        [copy.dstXInBytes, copy.dstY, copy.dstZ] = to.at;
        node
    }

    /// As it travels.
    fn body(self, device: DeviceBox, stream: StreamRef, returns: Returns) -> CopyBox {
        let [width, height, depth] = self.0.map(|length| U64::new(length as u64));
        CopyBox {
            device,
            width_bytes: width,
            height,
            depth,
            stream: U32::new(stream.number),
            synchronous: U32::new((returns == Returns::WhenDone).into()),
        }
    }

    /// Parts whose host memory is rows at equal distances: where each begins on the device, its
    /// shape and its rows.
    fn parts(
        self,
        device: DeviceBox,
        (address, pitch, slice_pitch): (usize, usize, usize),
    ) -> impl Iterator<Item = (DeviceBox, Self, Rows)> {
        let [width, height, depth] = self.0;
        let is_even = depth == 1 || height.checked_mul(pitch) == Some(slice_pitch);
        let (count, slices) = if is_even { (1, depth) } else { (depth, 1) };
        (0..count).map(move |index| {
            let at = address.wrapping_add(index.wrapping_mul(slice_pitch));
            let rows = Rows::new(at, width, height * slices, pitch);
            (moved(device, index), Self([width, height, slices]), rows)
        })
    }
}

/// A box so many slices further.
fn moved(device: DeviceBox, slices: usize) -> DeviceBox {
    let slices = slices as u64;
    let [x, y, z] = device.origin;
    match device.array.get() {
        0 => {
            let slice = device
                .pitch_bytes
                .get()
                .wrapping_mul(device.slice_rows.get());
            let address = device
                .address
                .get()
                .wrapping_add(slice.wrapping_mul(slices));
            DeviceBox {
                address: U64::new(address),
                ..device
            }
        }
        _ => DeviceBox {
            origin: [x, y, U64::new(z.get().wrapping_add(slices))],
            ..device
        },
    }
}

/// A copy that is or may become a node of a graph.
///
/// # Safety
///
/// Host memory is as CUDA asks.
unsafe fn copy(
    (default, stream): (CUstream, CUstream),
    from: &Described,
    to: &Described,
    shape: Shape,
    returns: Returns,
) -> Status {
    let session = session()?;
    let bytes = shape.bytes()?;
    let sides = (shape.side(session, from)?, shape.side(session, to)?);
    let reference = session.capturable(default, stream)?;
    session.wire.faults().take_deferred()?;
    if capture::is_possible() {
        let stream = graph_stream(session, default, stream)?;
        let node = || Ok(Node::Memcpy(shape.node(from, to, stream.context)));
        let is_captured = match (returns, bytes) {
            (Returns::WhenDone, _) => {
                capture::check_stream_wait(&stream)?;
                false
            }
            (Returns::AtOnce, 0) => capture::is_captured(&stream)?,
            (Returns::AtOnce, _) => capture::record(&stream, node)?,
        };
        if is_captured {
            return Ok(());
        }
    }
    if bytes == 0 {
        return Ok(());
    }
    // SAFETY: the caller's promise.
    unsafe { copy_now(session, reference, sides, shape, returns) }
}

/// # Safety
///
/// Host memory is as CUDA asks.
unsafe fn copy_now(
    session: &Session,
    stream: StreamRef,
    sides: (Side, Side),
    shape: Shape,
    returns: Returns,
) -> Status {
    session.before_work(stream)?;
    let is_shared = session.shared.is_used();
    let is_waited_for = is_shared && returns == Returns::WhenDone;
    let sides = match is_shared {
        true => (
            shape.as_device(session, sides.0),
            shape.as_device(session, sides.1),
        ),
        false => sides,
    };
    let on_device = [sides.0, sides.1]
        .into_iter()
        .filter_map(|side| match side {
            Side::Device(part) => Some(part.address.get()),
            Side::Host(..) => None,
        });
    session.before_use(stream, &on_device.collect::<Vec<_>>())?;
    match sides {
        (Side::Host(address, pitch, slice), Side::Device(to)) => {
            for (to, shape, rows) in shape.parts(to, (address, pitch, slice)) {
                check_host(rows)?;
                let body = shape.body(to, stream, returns);
                let command = Command {
                    opcode: opcode::cuMemcpyHtoAAsync_v2,
                    context: stream.context,
                };
                let fill = |buffer: &mut Vec<u8>| buffer.extend_from_slice(body.as_bytes());
                let payload = Payload::Rows(rows);
                // SAFETY: the caller's promise.
                unsafe { session.wire.post_payload(command, fill, payload)? };
            }
            if is_waited_for {
                session.wait_for_stream(stream)?;
            }
            Ok(())
        }
        (Side::Device(from), Side::Host(address, pitch, slice)) => {
            for (from, shape, rows) in shape.parts(from, (address, pitch, slice)) {
                check_host(rows)?;
                let body = shape.body(from, stream, returns);
                let command = Command {
                    opcode: opcode::cuMemcpyAtoHAsync_v2,
                    context: stream.context,
                };
                let fill = |buffer: &mut Vec<u8>| buffer.extend_from_slice(body.as_bytes());
                // SAFETY: the caller's promise; there is no payload to send.
                let outcome = unsafe { session.wire.call(command, fill, Payload::None, rows)? };
                session.wire.faults().take_deferred()?;
                outcome.successful()?;
            }
            session.after_copy()
        }
        (Side::Device(from), Side::Device(to)) => {
            between(session, stream, from, to, shape)?;
            if is_waited_for {
                session.wait_for_stream(stream)?;
            }
            Ok(())
        }
        (Side::Host(from, from_pitch, from_slice), Side::Host(to, to_pitch, to_slice)) => {
            let word = U64::new(stream.number.into());
            let opcode = opcode::cuStreamSynchronize;
            session.call_or_deferred(opcode, stream.context, word.as_bytes())?;
            let [width, height, depth] = shape.0;
            for (slice, row) in (0..depth).flat_map(|z| (0..height).map(move |y| (z, y))) {
                let from = from + slice * from_slice + row * from_pitch;
                let to = to + slice * to_slice + row * to_pitch;
                // SAFETY: the caller's promise; the rows may overlap.
                unsafe { std::ptr::copy(from as *const u8, to as *mut u8, width) };
            }
            Ok(())
        }
    }
}

/// Between two places on the device: posted.
fn between(
    session: &Session,
    stream: StreamRef,
    from: DeviceBox,
    to: DeviceBox,
    shape: Shape,
) -> Status {
    let [width_bytes, height, depth] = shape.0.map(|length| U64::new(length as u64));
    let body = CopyBetween {
        to,
        from,
        width_bytes,
        height,
        depth,
        stream: U32::new(stream.number),
    };
    session.post(opcode::cuMemcpy3DAsync_v2, stream.context, body.as_bytes())
}

fn memory(memory: CUmemorytype, host: usize, device: CUdeviceptr) -> Described {
    Described {
        memory,
        host,
        device,
        array: CUarray::NULL,
        pitch_bytes: 0,
        slice_rows: 0,
        at: [0; 3],
    }
}

fn host(address: *const c_void) -> Described {
    memory(
        CUmemorytype::CU_MEMORYTYPE_HOST,
        address as usize,
        CUdeviceptr(0),
    )
}

fn device(address: CUdeviceptr) -> Described {
    memory(CUmemorytype::CU_MEMORYTYPE_DEVICE, 0, address)
}

fn array(array: CUarray, offset: usize) -> Described {
    Described {
        array,
        at: [offset, 0, 0],
        ..memory(CUmemorytype::CU_MEMORYTYPE_ARRAY, 0, CUdeviceptr(0))
    }
}

const fn line(bytes: usize) -> Shape {
    Shape([bytes, 1, 1])
}

/// `cuMemcpyHtoA_v2`.
pub unsafe fn cuMemcpyHtoA_v2(
    default_stream: CUstream,
    dstArray: CUarray,
    dstOffset: usize,
    srcHost: *const c_void,
    ByteCount: usize,
) -> Status {
    let (from, to) = (host(srcHost), array(dstArray, dstOffset));
    let streams = (default_stream, CUstream::NULL);
    // SAFETY: the caller's promise.
    unsafe { copy(streams, &from, &to, line(ByteCount), Returns::WhenDone) }
}

/// `cuMemcpyHtoAAsync_v2`.
pub unsafe fn cuMemcpyHtoAAsync_v2(
    default_stream: CUstream,
    dstArray: CUarray,
    dstOffset: usize,
    srcHost: *const c_void,
    ByteCount: usize,
    hStream: CUstream,
) -> Status {
    let (from, to) = (host(srcHost), array(dstArray, dstOffset));
    let streams = (default_stream, hStream);
    // SAFETY: the caller's promise.
    unsafe { copy(streams, &from, &to, line(ByteCount), Returns::AtOnce) }
}

/// `cuMemcpyAtoH_v2`.
pub unsafe fn cuMemcpyAtoH_v2(
    default_stream: CUstream,
    dstHost: *mut c_void,
    srcArray: CUarray,
    srcOffset: usize,
    ByteCount: usize,
) -> Status {
    let (from, to) = (array(srcArray, srcOffset), host(dstHost));
    let streams = (default_stream, CUstream::NULL);
    // SAFETY: the caller's promise.
    unsafe { copy(streams, &from, &to, line(ByteCount), Returns::WhenDone) }
}

/// `cuMemcpyAtoHAsync_v2`.
pub unsafe fn cuMemcpyAtoHAsync_v2(
    default_stream: CUstream,
    dstHost: *mut c_void,
    srcArray: CUarray,
    srcOffset: usize,
    ByteCount: usize,
    hStream: CUstream,
) -> Status {
    let (from, to) = (array(srcArray, srcOffset), host(dstHost));
    let streams = (default_stream, hStream);
    // SAFETY: the caller's promise.
    unsafe { copy(streams, &from, &to, line(ByteCount), Returns::AtOnce) }
}

/// `cuMemcpyDtoA_v2`.
pub unsafe fn cuMemcpyDtoA_v2(
    default_stream: CUstream,
    dstArray: CUarray,
    dstOffset: usize,
    srcDevice: CUdeviceptr,
    ByteCount: usize,
) -> Status {
    let (from, to) = (device(srcDevice), array(dstArray, dstOffset));
    session()?.stream(default_stream, CUstream::NULL)?;
    let streams = (default_stream, CUstream::NULL);
    // SAFETY: the caller's promise.
    unsafe { copy(streams, &from, &to, line(ByteCount), Returns::AtOnce) }
}

/// `cuMemcpyAtoD_v2`.
pub unsafe fn cuMemcpyAtoD_v2(
    default_stream: CUstream,
    dstDevice: CUdeviceptr,
    srcArray: CUarray,
    srcOffset: usize,
    ByteCount: usize,
) -> Status {
    let (from, to) = (array(srcArray, srcOffset), device(dstDevice));
    session()?.stream(default_stream, CUstream::NULL)?;
    let streams = (default_stream, CUstream::NULL);
    // SAFETY: the caller's promise.
    unsafe { copy(streams, &from, &to, line(ByteCount), Returns::AtOnce) }
}

/// `cuMemcpyAtoA_v2`.
pub unsafe fn cuMemcpyAtoA_v2(
    default_stream: CUstream,
    dstArray: CUarray,
    dstOffset: usize,
    srcArray: CUarray,
    srcOffset: usize,
    ByteCount: usize,
) -> Status {
    let (from, to) = (array(srcArray, srcOffset), array(dstArray, dstOffset));
    session()?.stream(default_stream, CUstream::NULL)?;
    let streams = (default_stream, CUstream::NULL);
    // SAFETY: the caller's promise.
    unsafe { copy(streams, &from, &to, line(ByteCount), Returns::AtOnce) }
}

/// `cuMemcpy3D_v2`.
pub unsafe fn cuMemcpy3D_v2(default_stream: CUstream, pCopy: *const CUDA_MEMCPY3D) -> Status {
    let streams = (default_stream, CUstream::NULL);
    // SAFETY: the caller's promise.
    unsafe { copy_3d(streams, pCopy, Returns::WhenDone) }
}

/// `cuMemcpy3DAsync_v2`.
pub unsafe fn cuMemcpy3DAsync_v2(
    default_stream: CUstream,
    pCopy: *const CUDA_MEMCPY3D,
    hStream: CUstream,
) -> Status {
    // SAFETY: the caller's promise.
    unsafe { copy_3d((default_stream, hStream), pCopy, Returns::AtOnce) }
}

/// # Safety
///
/// `description` is null or valid for reading, and what it describes is as CUDA asks.
unsafe fn copy_3d(
    streams: (CUstream, CUstream),
    description: *const CUDA_MEMCPY3D,
    returns: Returns,
) -> Status {
    let description = required(description.cast_mut())?;
    // SAFETY: not null, and then valid for reading by the caller's promise.
    let d = unsafe { description.read() };
    if d.srcLOD != 0 || d.dstLOD != 0 {
        return Err(INVALID_VALUE);
    }
    let (from, to, shape) = described(&d);
    // SAFETY: the caller's promise.
    unsafe { copy(streams, &from, &to, shape, returns) }
}

fn described(d: &CUDA_MEMCPY3D) -> (Described, Described, Shape) {
    let from = Described {
        memory: d.srcMemoryType,
        host: d.srcHost as usize,
        device: d.srcDevice,
        array: d.srcArray,
        pitch_bytes: d.srcPitch,
        slice_rows: d.srcHeight,
        at: [d.srcXInBytes, d.srcY, d.srcZ],
    };
    let to = Described {
        memory: d.dstMemoryType,
        host: d.dstHost as usize,
        device: d.dstDevice,
        array: d.dstArray,
        pitch_bytes: d.dstPitch,
        slice_rows: d.dstHeight,
        at: [d.dstXInBytes, d.dstY, d.dstZ],
    };
    (from, to, Shape([d.WidthInBytes, d.Height, d.Depth]))
}

/// Whether a copy with an array can be a node of a graph.
///
/// # Errors
///
/// What is wrong with it.
pub(super) fn check_node(session: &Session, d: &CUDA_MEMCPY3D) -> Status {
    let (from, to, shape) = described(d);
    shape.bytes()?;
    shape.side(session, &from)?;
    shape.side(session, &to).map(drop)
}

/// Runs a node of a graph with an array.
///
/// # Safety
///
/// Host memory is as CUDA asks.
pub(super) unsafe fn run_node(session: &Session, stream: StreamRef, d: &CUDA_MEMCPY3D) -> Status {
    let (from, to, shape) = described(d);
    if shape.bytes()? == 0 {
        return Ok(());
    }
    let sides = (shape.side(session, &from)?, shape.side(session, &to)?);
    // A graph reads its memory, of whatever kind, when it comes to the copy.
    if matches!(sides.0, Side::Host(..)) && session.wire.has_host_functions() {
        session.wait_for_stream(stream)?;
    }
    // SAFETY: the caller's promise.
    unsafe { copy_now(session, stream, sides, shape, Returns::AtOnce) }
}

/// A copy of [`super::copy`] with an array.
///
/// # Safety
///
/// What `d` describes is as CUDA asks.
pub(super) unsafe fn copy_2d(
    streams: (CUstream, CUstream),
    d: &CUDA_MEMCPY2D,
    returns: Returns,
) -> Status {
    let from = Described {
        memory: d.srcMemoryType,
        host: d.srcHost as usize,
        device: d.srcDevice,
        array: d.srcArray,
        pitch_bytes: d.srcPitch,
        slice_rows: 0,
        at: [d.srcXInBytes, d.srcY, 0],
    };
    let to = Described {
        memory: d.dstMemoryType,
        host: d.dstHost as usize,
        device: d.dstDevice,
        array: d.dstArray,
        pitch_bytes: d.dstPitch,
        slice_rows: 0,
        at: [d.dstXInBytes, d.dstY, 0],
    };
    let shape = Shape([d.WidthInBytes, d.Height, 1]);
    // SAFETY: the caller's promise.
    unsafe { copy(streams, &from, &to, shape, returns) }
}
