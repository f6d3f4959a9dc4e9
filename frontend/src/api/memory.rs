// SPDX-License-Identifier: Apache-2.0
//! Allocating and freeing device memory and page-locked memory.
//!
//! Page-locked memory is ordinary memory of the application. Kernels reach it only if it was
//! allocated for that, or if its device pointer was asked for; then the device has a copy.

use std::ffi::c_void;

use gvirtus_abi::{CUdeviceptr, CUresult};
use gvirtus_driver_face::log;
use gvirtus_graph::capture;
use gvirtus_protocol::command::{AllocatePitch, Word};
use gvirtus_protocol::opcode;
use zerocopy::IntoBytes as _;
use zerocopy::little_endian::{U32, U64};

use super::{INVALID_VALUE, Status, put, put_optional, required};
use crate::context::Context;
use crate::limits::ALLOCATION_ATTEMPTS_MAX;
use crate::memory::{DeviceRange, HostRange, PAGE_BYTES, PinnedBy, RangeKind};
use crate::process::session;
use crate::session::Session;

/// `CU_MEMHOSTALLOC_PORTABLE`, `_DEVICEMAP`, `_WRITECOMBINED`.
const HOST_ALLOC_FLAGS: u32 = 0x7;
/// `CU_MEMHOSTALLOC_DEVICEMAP`.
const HOST_ALLOC_DEVICE_MAP: u32 = 0x2;
/// `CU_MEMHOSTREGISTER_PORTABLE`, `_DEVICEMAP`, `_IOMEMORY`, `_READ_ONLY`.
const HOST_REGISTER_FLAGS: u32 = 0xf;
/// `CU_MEMHOSTREGISTER_IOMEMORY`.
const HOST_REGISTER_IO_MEMORY: u32 = 0x4;

/// `cuMemAlloc_v2`.
pub unsafe fn cuMemAlloc_v2(dptr: *mut CUdeviceptr, bytesize: usize) -> Status {
    if capture::is_possible() {
        capture::check_unsafe()?;
    }
    let session = session()?;
    let context = session.current()?;
    let dptr = required(dptr)?;
    if bytesize == 0 {
        return Err(INVALID_VALUE);
    }
    let address = allocate_plain(session, context, bytesize)?;
    // SAFETY: the caller's promise.
    unsafe { put(dptr, address) }
}

/// Allocates memory, whatever is captured.
///
/// # Errors
///
/// What the driver says.
pub(super) fn allocate_plain(
    session: &Session,
    context: Context,
    bytesize: usize,
) -> Result<CUdeviceptr, CUresult> {
    let body = Word {
        word: U64::new(bytesize as u64),
    };
    let allocated = allocate(session, context, || {
        let reply = session.call(opcode::cuMemAlloc_v2, context.number, body.as_bytes())?;
        Ok(Allocated {
            address: reply.promised_word(0)?,
            bytes: bytesize as u64,
            pitch_bytes: 0,
        })
    })?;
    Ok(CUdeviceptr(allocated.address))
}

/// `cuMemAllocPitch_v2`.
pub unsafe fn cuMemAllocPitch_v2(
    dptr: *mut CUdeviceptr,
    pPitch: *mut usize,
    WidthInBytes: usize,
    Height: usize,
    ElementSizeBytes: u32,
) -> Status {
    if capture::is_possible() {
        capture::check_unsafe()?;
    }
    let session = session()?;
    let context = session.current()?;
    let (dptr, pPitch) = (required(dptr)?, required(pPitch)?);
    if WidthInBytes == 0 || Height == 0 || !matches!(ElementSizeBytes, 4 | 8 | 16) {
        return Err(INVALID_VALUE);
    }
    let body = AllocatePitch {
        width_bytes: U64::new(WidthInBytes as u64),
        height: U64::new(Height as u64),
        element_bytes: U32::new(ElementSizeBytes),
    };
    let allocated = allocate(session, context, || {
        let reply = session.call(opcode::cuMemAllocPitch_v2, context.number, body.as_bytes())?;
        let pitch_bytes = reply.promised_word(1)?;
        let bytes = pitch_bytes.checked_mul(Height as u64);
        Ok(Allocated {
            address: reply.promised_word(0)?,
            bytes: bytes.ok_or(CUresult::CUDA_ERROR_UNKNOWN)?,
            pitch_bytes,
        })
    })?;
    let pitch = usize::try_from(allocated.pitch_bytes);
    // SAFETY: the caller's promise.
    unsafe { put(pPitch, pitch.map_err(|_| CUresult::CUDA_ERROR_UNKNOWN)?)? };
    // SAFETY: the caller's promise.
    unsafe { put(dptr, CUdeviceptr(allocated.address)) }
}

/// `cuMemFree_v2`: posted. The address is the application's no more on return.
pub unsafe fn cuMemFree_v2(dptr: CUdeviceptr) -> Status {
    if capture::is_possible() {
        capture::check_unsafe()?;
    }
    let session = session()?;
    if dptr.0 == 0 || gvirtus_graph::free_outside(dptr)? {
        return Ok(());
    }
    free(session, dptr)
}

/// Frees memory of the application, whatever is captured.
///
/// # Errors
///
/// `CUDA_ERROR_INVALID_VALUE` for what is no memory.
pub(super) fn free(session: &Session, dptr: CUdeviceptr) -> Status {
    session.wire.faults().check()?;
    let ranges = session.device_ranges.read();
    let range = match ranges.starting_at(dptr.0) {
        Some(range) if range.kind.is_freed_as_memory() => *range,
        _ => return Err(INVALID_VALUE),
    };
    drop(ranges);
    if range.kind == RangeKind::Managed {
        session.forget_shared(&range)?;
    } else {
        // It waits for the device, so the application may use what kernels have written.
        session.settle_shared()?;
    }
    if session.device_ranges.write().remove(range.base).is_none() {
        return Err(INVALID_VALUE);
    }
    session.post_word(opcode::cuMemFree_v2, range.context, range.base)?;
    session.wire.faults().take_deferred()
}

/// `cuMemGetAddressRange_v2`.
pub unsafe fn cuMemGetAddressRange_v2(
    pbase: *mut CUdeviceptr,
    psize: *mut usize,
    dptr: CUdeviceptr,
) -> Status {
    let session = session()?;
    session.current()?;
    let ranges = session.device_ranges.read();
    let range = ranges.find(dptr.0);
    let range = range.ok_or(CUresult::CUDA_ERROR_NOT_FOUND)?;
    let bytes = usize::try_from(range.bytes).map_err(|_| CUresult::CUDA_ERROR_UNKNOWN)?;
    // SAFETY: the caller's promise.
    unsafe { put_optional(pbase, CUdeviceptr(range.base)) };
    // SAFETY: the caller's promise.
    unsafe { put_optional(psize, bytes) };
    Ok(())
}

/// `cuMemAllocHost_v2`.
pub unsafe fn cuMemAllocHost_v2(pp: *mut *mut c_void, bytesize: usize) -> Status {
    if capture::is_possible() {
        capture::check_unsafe()?;
    }
    // SAFETY: the caller's promise.
    unsafe { cuMemHostAlloc(pp, bytesize, 0) }
}

/// `cuMemHostAlloc`: whole pages.
pub unsafe fn cuMemHostAlloc(pp: *mut *mut c_void, bytesize: usize, Flags: u32) -> Status {
    if capture::is_possible() {
        capture::check_unsafe()?;
    }
    let session = session()?;
    let context = session.current()?;
    let pp = required(pp)?;
    if bytesize == 0 || Flags & !HOST_ALLOC_FLAGS != 0 {
        return Err(INVALID_VALUE);
    }
    if Flags & HOST_ALLOC_DEVICE_MAP != 0 {
        let address = session.allocate_mapped(context, bytesize as u64, Flags)?;
        // SAFETY: the caller's promise.
        return unsafe { put(pp, address as *mut c_void) };
    }
    let pages = (bytesize as u64).checked_next_multiple_of(PAGE_BYTES);
    let pages = pages.ok_or(CUresult::CUDA_ERROR_OUT_OF_MEMORY)?;
    let length = usize::try_from(pages).map_err(|_| CUresult::CUDA_ERROR_OUT_OF_MEMORY)?;
    let describe = |base| HostRange {
        base,
        bytes: bytesize as u64,
        flags: Flags,
        pinned_by: PinnedBy::Allocation,
        context: context.number,
        device: context.device,
        id: session.new_id(),
    };
    let address = session.host_ranges.write().allocate(length, describe)?;
    // SAFETY: the caller's promise.
    unsafe { put(pp, address as *mut c_void) }
}

/// `cuMemFreeHost`.
pub unsafe fn cuMemFreeHost(p: *mut c_void) -> Status {
    if capture::is_possible() {
        capture::check_unsafe()?;
    }
    let session = session()?;
    let p = required(p)?;
    let range = session.host_ranges.read().find(p as u64).copied();
    if range.is_none_or(|range| range.base != p as u64) {
        return Err(INVALID_VALUE);
    }
    session.end_mapping(p as u64)?;
    // Copies from it have left it, and copies to it are complete, so it can go at once.
    session.host_ranges.write().free(p as u64)?;
    session.wire.faults().check()
}

/// `cuMemHostGetFlags`.
pub unsafe fn cuMemHostGetFlags(pFlags: *mut u32, p: *mut c_void) -> Status {
    let session = session()?;
    let ranges = session.host_ranges.read();
    let range = ranges.find(p as u64).ok_or(INVALID_VALUE)?;
    // SAFETY: the caller's promise.
    unsafe { put(pFlags, range.flags) }
}

/// `cuMemHostRegister_v2`.
pub unsafe fn cuMemHostRegister_v2(p: *mut c_void, bytesize: usize, Flags: u32) -> Status {
    if capture::is_possible() {
        capture::check_unsafe()?;
    }
    let session = session()?;
    let context = session.current()?;
    let p = required(p)?;
    if bytesize == 0 || Flags & !HOST_REGISTER_FLAGS != 0 {
        return Err(INVALID_VALUE);
    }
    if Flags & HOST_REGISTER_IO_MEMORY != 0 {
        return Err(gvirtus_driver_face::unsupported(
            "cuMemHostRegister with CU_MEMHOSTREGISTER_IOMEMORY",
        ));
    }
    session.host_ranges.write().register(HostRange {
        base: p as u64,
        bytes: bytesize as u64,
        flags: Flags,
        pinned_by: PinnedBy::Registration,
        context: context.number,
        device: context.device,
        id: session.new_id(),
    })
}

/// `cuMemHostUnregister`.
pub unsafe fn cuMemHostUnregister(p: *mut c_void) -> Status {
    if capture::is_possible() {
        capture::check_unsafe()?;
    }
    let session = session()?;
    let p = required(p)?;
    session.end_mapping(p as u64)?;
    session.host_ranges.write().unregister(p as u64)
}

/// What the worker allocated.
#[derive(Clone, Copy)]
pub(super) struct Allocated {
    pub(super) address: u64,
    pub(super) bytes: u64,
    pub(super) pitch_bytes: u64,
}

/// Allocates where the application has nothing of its own: a pointer's value must tell whose it is.
fn allocate(
    session: &Session,
    context: Context,
    ask: impl FnMut() -> Result<Allocated, CUresult>,
) -> Result<Allocated, CUresult> {
    let place = Place {
        context: context.number,
        device: context.device,
        kind: RangeKind::Memory,
    };
    allocate_at(session, place, ask)
}

/// Whose an allocation will be.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// Number of the context.
    pub(super) context: u16,
    /// Ordinal.
    pub(super) device: u32,
    pub(super) kind: RangeKind,
}

/// As [`allocate`], of any kind.
pub(super) fn allocate_at(
    session: &Session,
    place: Place,
    mut ask: impl FnMut() -> Result<Allocated, CUresult>,
) -> Result<Allocated, CUresult> {
    let mut refused: Vec<Allocated> = Vec::new();
    let mut result = Err(CUresult::CUDA_ERROR_OUT_OF_MEMORY);
    while refused.len() < ALLOCATION_ATTEMPTS_MAX {
        match ask() {
            Ok(allocated) if session.add_range(place, allocated) => {
                result = Ok(allocated);
                break;
            }
            Ok(allocated) => refused.push(allocated),
            Err(status) => {
                result = Err(status);
                break;
            }
        }
    }
    if result.is_err() && !refused.is_empty() {
        // Better memory with ambiguous addresses than none: only copies that leave the direction to
        // the addresses can mistake it.
        let allocated = refused.swap_remove(0);
        log!(
            Warn,
            "device memory at {:#x} has addresses that the application uses itself",
            allocated.address
        );
        result = Ok(allocated);
    }
    for other in refused {
        session.device_ranges.write().remove(other.address);
        session.post_word(opcode::cuMemFree_v2, place.context, other.address)?;
    }
    result
}

impl Session {
    fn add_range(&self, place: Place, allocated: Allocated) -> bool {
        self.device_ranges.write().insert(DeviceRange {
            base: allocated.address,
            bytes: allocated.bytes,
            context: place.context,
            device: place.device,
            id: self.new_id(),
            kind: place.kind,
            is_reserved: false,
        })
    }
}
