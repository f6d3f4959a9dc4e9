// SPDX-License-Identifier: Apache-2.0
//! Copies in one and two dimensions, and what all copies share (`cuda.h`: "Memory Management").
//!
//! All pointers are checked at the call. When a call returns follows from the kinds of memory, as
//! CUDA's "API synchronization behavior" has it: pageable memory is never used after the call.

use core::ffi::c_void;

use gvirtus_abi::{CUDA_MEMCPY2D, CUarray, CUdeviceptr, CUmemorytype, CUresult, CUstream};

use gvirtus_graph::{Memcpy, Payload, capture};

use super::allocations::{Place, place, writable_place};
use super::copy_array;
use super::graph::stream_of;
use super::limits::{SHORT_COPY_BYTES, STAGED_COPY_BYTES};
use super::scheduler::{Placement, SCHEDULER};
use super::stream::{self, Target};

/// Rows of bytes, all equally long, in slices of equally many.
#[derive(Clone, Copy)]
pub(super) struct Rows {
    pub(super) start: u64,
    pub(super) pitch: usize,
    pub(super) slice_pitch: usize,
    /// The array that they are part of, with bounds that have been checked.
    pub(super) array: Option<ArrayBox>,
}

/// Where in an array a copy begins.
#[derive(Clone, Copy)]
pub(super) struct ArrayBox {
    pub(super) handle: CUarray,
    /// Bytes, rows, slices.
    pub(super) at: [usize; 3],
}

impl Rows {
    /// A row.
    pub(super) fn line(start: u64, bytes: usize) -> Self {
        Self {
            start,
            pitch: bytes,
            slice_pitch: bytes,
            array: None,
        }
    }
}

/// A copy whose ranges have been checked.
#[derive(Clone, Copy)]
pub(super) struct Transfer {
    pub(super) to: Rows,
    pub(super) from: Rows,
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) depth: usize,
}

impl Transfer {
    pub(super) fn line(to: u64, from: u64, bytes: usize) -> Self {
        Self {
            to: Rows::line(to, bytes),
            from: Rows::line(from, bytes),
            width: bytes,
            height: 1,
            depth: 1,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        // All extents have been checked to fit, and they are larger.
        self.width * self.height * self.depth
    }

    /// The bytes from the first row's start to the last row's end.
    fn extent(&self, rows: Rows) -> Result<u64, CUresult> {
        let slices = rows.slice_pitch.checked_mul(self.depth.saturating_sub(1));
        rows.pitch
            .checked_mul(self.height.saturating_sub(1))
            .and_then(|bytes| bytes.checked_add(slices?))
            .and_then(|bytes| bytes.checked_add(self.width))
            .filter(|bytes| rows.start.checked_add(*bytes as u64).is_some())
            .map(|bytes| bytes as u64)
            .ok_or(CUresult::CUDA_ERROR_INVALID_VALUE)
    }

    /// # Errors
    ///
    /// `CUDA_ERROR_INVALID_VALUE` unless both sides are memory of the application or lie in one
    /// allocation.
    pub(super) fn places(&self) -> Result<(Place, Place), CUresult> {
        let of = |rows: Rows, check: fn(u64, u64) -> Result<Place, CUresult>| match rows.array {
            Some(_) => Ok(Place::Device { sync_memops: false }),
            None => check(rows.start, self.extent(rows)?),
        };
        Ok((of(self.to, writable_place)?, of(self.from, place)?))
    }

    pub(super) fn run(self) {
        let sides = [self.to, self.from];
        let (mut width, mut height, mut depth) = (self.width, self.height, self.depth);
        if sides.map(|rows| rows.pitch) == [width; 2] || height == 1 {
            (width, height) = (width * height, 1);
            if sides.map(|rows| rows.slice_pitch) == [width; 2] {
                (width, depth) = (width * depth, 1);
            }
        }
        for (slice, row) in (0..depth).flat_map(|slice| (0..height).map(move |row| (slice, row))) {
            let at = |rows: Rows| rows.start as usize + slice * rows.slice_pitch + row * rows.pitch;
            let from = std::ptr::with_exposed_provenance::<u8>(at(self.from));
            let to = std::ptr::with_exposed_provenance_mut::<u8>(at(self.to));
            // SAFETY: device ranges were checked when the copy was submitted, and device memory
            // stays mapped; host ranges are the application's promise until the copy is complete.
            unsafe { std::ptr::copy(from, to, width) };
        }
    }

    /// As a node of a graph.
    fn payload(&self, target: &Target) -> Result<Payload, CUresult> {
        let kind = |place: Place| match place.is_device() {
            true => CUmemorytype::CU_MEMORYTYPE_DEVICE,
            false => CUmemorytype::CU_MEMORYTYPE_HOST,
        };
        let (to, from) = self.places()?;
        let (to, from) = ((kind(to), self.to.start), (kind(from), self.from.start));
        let context = target.context().handle;
        let mut memcpy = Memcpy::line(to, from, self.width, context);
        let copy = &mut memcpy.copy;
        (copy.Height, copy.Depth) = (self.height, self.depth);
        (copy.dstPitch, copy.dstHeight) = self.pitches(self.to);
        (copy.srcPitch, copy.srcHeight) = self.pitches(self.from);
        if let Some(ArrayBox { handle, at }) = self.to.array {
            copy.dstMemoryType = CUmemorytype::CU_MEMORYTYPE_ARRAY;
            (copy.dstDevice, copy.dstArray) = (CUdeviceptr(0), handle);
            [copy.dstXInBytes, copy.dstY, copy.dstZ] = at;
        }
        if let Some(ArrayBox { handle, at }) = self.from.array {
            copy.srcMemoryType = CUmemorytype::CU_MEMORYTYPE_ARRAY;
            (copy.srcDevice, copy.srcArray) = (CUdeviceptr(0), handle);
            [copy.srcXInBytes, copy.srcY, copy.srcZ] = at;
        }
        Ok(Payload::Memcpy(memcpy))
    }

    /// Bytes of a row and rows of a slice, as a copy descriptor has them.
    fn pitches(&self, rows: Rows) -> (usize, usize) {
        match (rows.array, self.depth > 1) {
            (Some(_), _) => (0, 0),
            (None, true) => (rows.pitch, rows.slice_pitch / rows.pitch.max(1)),
            (None, false) => (rows.pitch, 0),
        }
    }

    /// Copies now, into memory of its own, what pageable source memory holds.
    fn stage(self) -> Staged {
        let mut bytes = vec![0_u8; self.bytes()];
        let packed = Rows {
            pitch: self.width,
            slice_pitch: self.width * self.height,
            ..Rows::line(bytes.as_mut_ptr().expose_provenance() as u64, self.width)
        };
        Self { to: packed, ..self }.run();
        Staged {
            transfer: Self {
                from: packed,
                ..self
            },
            bytes,
        }
    }
}

/// A transfer and the source that it reads from.
struct Staged {
    transfer: Transfer,
    bytes: Vec<u8>,
}

impl Staged {
    fn run(self) {
        self.transfer.run();
        drop(self.bytes);
    }
}

/// A copy of which the caller may use both sides when this returns. Between two ranges of device
/// memory nothing waits, because only the device can tell.
pub(super) fn synchronous(target: &Target, transfer: Transfer) -> Result<(), CUresult> {
    if capture::is_possible() {
        capture::check_unsafe()?;
    }
    if transfer.bytes() == 0 {
        return Ok(());
    }
    let (to, from) = transfer.places()?;
    if let (Place::Device { sync_memops: a }, Place::Device { sync_memops: b }) = (to, from)
        && !a
        && !b
    {
        submit(target, transfer);
        return target.context().error.check();
    }
    now(target, transfer)
}

/// A copy that is complete when the call returns.
fn now(target: &Target, transfer: Transfer) -> Result<(), CUresult> {
    let marker = SCHEDULER.submit(target.id(), Placement::Here, move || {
        transfer.run();
        Ok(())
    });
    SCHEDULER.wait(marker);
    target.context().printed.flush();
    target.context().error.check()
}

/// Whether there is nothing to be done, because the copy has become a node of a graph or has no
/// bytes.
fn is_settled(target: &Target, transfer: &Transfer) -> Result<bool, CUresult> {
    let is_empty = transfer.bytes() == 0;
    if !capture::is_possible() {
        return Ok(is_empty);
    }
    let stream = stream_of(target);
    Ok(match is_empty {
        true => capture::is_captured(&stream).map(|_| true)?,
        false => capture::record(&stream, || transfer.payload(target))?,
    })
}

pub(super) fn asynchronous(target: &Target, transfer: Transfer) -> Result<(), CUresult> {
    if is_settled(target, &transfer)? {
        return Ok(());
    }
    match transfer.places()? {
        // What comes from pageable memory is taken before the call returns.
        (to, Place::Pageable) if to.is_device() => {
            let done = SCHEDULER.run_here(target.id(), || {
                transfer.run();
                Ok(())
            });
            if done.is_some() {
                return target.context().error.check();
            }
            if transfer.bytes() > STAGED_COPY_BYTES {
                return now(target, transfer);
            }
            let staged = transfer.stage();
            SCHEDULER.submit(target.id(), Placement::Worker, move || {
                staged.run();
                Ok(())
            });
        }
        (Place::Pageable, _) | (_, Place::Pageable) | (Place::Pinned, Place::Pinned) => {
            return now(target, transfer);
        }
        _ => submit(target, transfer),
    }
    target.context().error.check()
}

/// An asynchronous copy whose source has been read when this returns, though the stream may not
/// have come to it.
pub(super) fn with_source_now(target: &Target, transfer: Transfer) -> Result<(), CUresult> {
    if is_settled(target, &transfer)? {
        return Ok(());
    }
    let (to, _) = transfer.places()?;
    if to == Place::Pageable || transfer.bytes() > STAGED_COPY_BYTES {
        return now(target, transfer);
    }
    let staged = transfer.stage();
    SCHEDULER.submit(target.id(), Placement::Worker, move || {
        staged.run();
        Ok(())
    });
    target.context().error.check()
}

fn submit(target: &Target, transfer: Transfer) {
    let placement = match transfer.bytes() <= SHORT_COPY_BYTES {
        true => Placement::Here,
        false => Placement::Worker,
    };
    SCHEDULER.submit(target.id(), placement, move || {
        transfer.run();
        Ok(())
    });
}

/// `CUDA_ERROR_INVALID_VALUE` unless it is device memory, or there are no bytes.
pub(super) fn expect_device(address: CUdeviceptr, bytes: usize) -> Result<(), CUresult> {
    // Page-locked memory has device pointers too.
    if bytes == 0 || place(address.0, bytes as u64)? != Place::Pageable {
        return Ok(());
    }
    Err(CUresult::CUDA_ERROR_INVALID_VALUE)
}

pub(super) fn address(host: *const c_void) -> u64 {
    host.expose_provenance() as u64
}

pub(crate) unsafe fn cuMemcpyHtoD_v2(
    default_stream: CUstream,
    dstDevice: CUdeviceptr,
    srcHost: *const c_void,
    ByteCount: usize,
) -> Result<(), CUresult> {
    let target = stream::target(default_stream, CUstream::NULL)?;
    expect_device(dstDevice, ByteCount)?;
    synchronous(
        &target,
        Transfer::line(dstDevice.0, address(srcHost), ByteCount),
    )
}

pub(crate) unsafe fn cuMemcpyDtoH_v2(
    default_stream: CUstream,
    dstHost: *mut c_void,
    srcDevice: CUdeviceptr,
    ByteCount: usize,
) -> Result<(), CUresult> {
    let target = stream::target(default_stream, CUstream::NULL)?;
    expect_device(srcDevice, ByteCount)?;
    synchronous(
        &target,
        Transfer::line(address(dstHost), srcDevice.0, ByteCount),
    )
}

pub(crate) unsafe fn cuMemcpyDtoD_v2(
    default_stream: CUstream,
    dstDevice: CUdeviceptr,
    srcDevice: CUdeviceptr,
    ByteCount: usize,
) -> Result<(), CUresult> {
    let target = stream::target(default_stream, CUstream::NULL)?;
    expect_device(dstDevice, ByteCount)?;
    expect_device(srcDevice, ByteCount)?;
    synchronous(&target, Transfer::line(dstDevice.0, srcDevice.0, ByteCount))
}

pub(crate) unsafe fn cuMemcpy(
    default_stream: CUstream,
    dst: CUdeviceptr,
    src: CUdeviceptr,
    ByteCount: usize,
) -> Result<(), CUresult> {
    let target = stream::target(default_stream, CUstream::NULL)?;
    synchronous(&target, Transfer::line(dst.0, src.0, ByteCount))
}

pub(crate) unsafe fn cuMemcpyHtoDAsync_v2(
    default_stream: CUstream,
    dstDevice: CUdeviceptr,
    srcHost: *const c_void,
    ByteCount: usize,
    hStream: CUstream,
) -> Result<(), CUresult> {
    let target = stream::capturable(default_stream, hStream)?;
    expect_device(dstDevice, ByteCount)?;
    asynchronous(
        &target,
        Transfer::line(dstDevice.0, address(srcHost), ByteCount),
    )
}

pub(crate) unsafe fn cuMemcpyDtoHAsync_v2(
    default_stream: CUstream,
    dstHost: *mut c_void,
    srcDevice: CUdeviceptr,
    ByteCount: usize,
    hStream: CUstream,
) -> Result<(), CUresult> {
    let target = stream::capturable(default_stream, hStream)?;
    expect_device(srcDevice, ByteCount)?;
    asynchronous(
        &target,
        Transfer::line(address(dstHost), srcDevice.0, ByteCount),
    )
}

pub(crate) unsafe fn cuMemcpyDtoDAsync_v2(
    default_stream: CUstream,
    dstDevice: CUdeviceptr,
    srcDevice: CUdeviceptr,
    ByteCount: usize,
    hStream: CUstream,
) -> Result<(), CUresult> {
    let target = stream::capturable(default_stream, hStream)?;
    expect_device(dstDevice, ByteCount)?;
    expect_device(srcDevice, ByteCount)?;
    asynchronous(&target, Transfer::line(dstDevice.0, srcDevice.0, ByteCount))
}

pub(crate) unsafe fn cuMemcpyAsync(
    default_stream: CUstream,
    dst: CUdeviceptr,
    src: CUdeviceptr,
    ByteCount: usize,
    hStream: CUstream,
) -> Result<(), CUresult> {
    let target = stream::capturable(default_stream, hStream)?;
    asynchronous(&target, Transfer::line(dst.0, src.0, ByteCount))
}

pub(crate) unsafe fn cuMemcpy2D_v2(
    default_stream: CUstream,
    pCopy: *const CUDA_MEMCPY2D,
) -> Result<(), CUresult> {
    let target = stream::target(default_stream, CUstream::NULL)?;
    // SAFETY: the same contract.
    let transfer = unsafe { read_2d(pCopy)? };
    synchronous(&target, transfer)
}

pub(crate) unsafe fn cuMemcpy2DUnaligned_v2(
    default_stream: CUstream,
    pCopy: *const CUDA_MEMCPY2D,
) -> Result<(), CUresult> {
    // SAFETY: the same contract; no alignment matters here.
    unsafe { cuMemcpy2D_v2(default_stream, pCopy) }
}

pub(crate) unsafe fn cuMemcpy2DAsync_v2(
    default_stream: CUstream,
    pCopy: *const CUDA_MEMCPY2D,
    hStream: CUstream,
) -> Result<(), CUresult> {
    let target = stream::capturable(default_stream, hStream)?;
    // SAFETY: the same contract.
    let transfer = unsafe { read_2d(pCopy)? };
    asynchronous(&target, transfer)
}

/// # Safety
///
/// `copy` is null or points to a whole structure.
unsafe fn read_2d(copy: *const CUDA_MEMCPY2D) -> Result<Transfer, CUresult> {
    if copy.is_null() {
        return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
    }
    // SAFETY: not null, and then a whole structure by the caller's promise.
    let copy = unsafe { copy.read_unaligned() };
    let (width, height) = (copy.WidthInBytes, copy.Height);
    if width.checked_mul(height).is_none() {
        return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
    }
    let shape = [width, height, 1];
    Ok(Transfer {
        to: copy_array::side(
            (
                copy.dstMemoryType,
                copy.dstHost,
                copy.dstDevice,
                copy.dstArray,
            ),
            [copy.dstPitch, 0],
            [copy.dstXInBytes, copy.dstY, 0],
            shape,
        )?,
        from: copy_array::side(
            (
                copy.srcMemoryType,
                copy.srcHost,
                copy.srcDevice,
                copy.srcArray,
            ),
            [copy.srcPitch, 0],
            [copy.srcXInBytes, copy.srcY, 0],
            shape,
        )?,
        width,
        height,
        depth: 1,
    })
}
