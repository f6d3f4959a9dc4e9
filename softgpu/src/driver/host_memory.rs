// SPDX-License-Identifier: Apache-2.0
//! Pinned host memory: allocated or registered. Kernels of all devices reach it at its own address,
//! whatever the flags.

use core::ffi::c_void;

use gvirtus_abi::{CUdeviceptr, CUresult};
use rustix::mm::{MapFlags, ProtFlags};

use gvirtus_graph::capture;

use super::allocations::{self, Allocation, Kind};
use super::arguments::out;
use super::context::{self, Context};
use super::scheduler::SCHEDULER;
use crate::memory::{share, unshare};

/// `CU_MEMHOSTALLOC_PORTABLE`, `_DEVICEMAP` and `_WRITECOMBINED`. Kernels run on the same cores as
/// the application, so none of them makes a difference.
const ALLOC_FLAGS: u32 = 1 | 2 | 4;
/// `CU_MEMHOSTREGISTER_PORTABLE`, `_DEVICEMAP` and `_READ_ONLY`; not `_IOMEMORY`.
const REGISTER_FLAGS: u32 = 1 | 2 | 8;
const PAGE_BYTES: usize = 4096;

/// Gives back all host memory of a context.
pub(super) fn forget_context(context: &Context) {
    for allocation in allocations::remove_context(context, Kind::is_host) {
        unshare(allocation.base);
        unmap(&allocation);
    }
}

fn allocate(bytes: usize, flags: u32) -> Result<*mut c_void, CUresult> {
    let context = context::usable()?;
    let mapped_bytes = bytes
        .checked_next_multiple_of(PAGE_BYTES)
        .ok_or(CUresult::CUDA_ERROR_OUT_OF_MEMORY)?;
    let rights = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping at a place of the system's choice harms nobody.
    let place = unsafe {
        rustix::mm::mmap_anonymous(
            std::ptr::null_mut(),
            mapped_bytes,
            rights,
            MapFlags::PRIVATE,
        )
    }
    .map_err(|_| CUresult::CUDA_ERROR_OUT_OF_MEMORY)?;
    let base = place.expose_provenance() as u64;
    let kind = Kind::HostAllocated { mapped_bytes };
    // SAFETY: mapped above, until `unmap`.
    unsafe { share(base, bytes as u64) };
    allocations::insert(Allocation::new(&context, kind, base, bytes as u64, flags));
    Ok(place)
}

fn unmap(allocation: &Allocation) {
    let Kind::HostAllocated { mapped_bytes } = allocation.kind else {
        return;
    };
    let place = std::ptr::with_exposed_provenance_mut(allocation.base as usize);
    // SAFETY: `allocate` mapped exactly this, the table held it once, and nobody may use it any
    // more.
    let _ = unsafe { rustix::mm::munmap(place, mapped_bytes) };
}

pub(crate) unsafe fn cuMemAllocHost_v2(
    pp: *mut *mut c_void,
    bytesize: usize,
) -> Result<(), CUresult> {
    if capture::is_possible() {
        capture::check_unsafe()?;
    }
    // SAFETY: the same contract.
    unsafe { cuMemHostAlloc(pp, bytesize, 0) }
}

pub(crate) unsafe fn cuMemHostAlloc(
    pp: *mut *mut c_void,
    bytesize: usize,
    Flags: u32,
) -> Result<(), CUresult> {
    if capture::is_possible() {
        capture::check_unsafe()?;
    }
    if pp.is_null() || bytesize == 0 || Flags & !ALLOC_FLAGS != 0 {
        return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
    }
    out!(pp = allocate(bytesize, Flags)?);
    Ok(())
}

/// Waits for the work of the context, which may still use the memory.
pub(crate) fn cuMemFreeHost(p: *mut c_void) -> Result<(), CUresult> {
    if capture::is_possible() {
        capture::check_unsafe()?;
    }
    let context = context::usable()?;
    if p.is_null() {
        return Ok(());
    }
    SCHEDULER.wait_domain(context.domain);
    let is_allocated = |kind| matches!(kind, Kind::HostAllocated { .. });
    let allocation = allocations::remove(p.addr() as u64, is_allocated)
        .ok_or(CUresult::CUDA_ERROR_INVALID_VALUE)?;
    unshare(allocation.base);
    unmap(&allocation);
    context.error.check()
}

pub(crate) unsafe fn cuMemHostGetDevicePointer_v2(
    pdptr: *mut CUdeviceptr,
    p: *mut c_void,
    Flags: u32,
) -> Result<(), CUresult> {
    context::usable()?;
    let address = p.addr() as u64;
    let found = allocations::find(address).filter(|found| found.kind.is_host());
    if Flags != 0 || found.is_none() {
        return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
    }
    out!(pdptr = CUdeviceptr(address));
    Ok(())
}

pub(crate) unsafe fn cuMemHostGetFlags(pFlags: *mut u32, p: *mut c_void) -> Result<(), CUresult> {
    context::usable()?;
    let found = allocations::find(p.addr() as u64).filter(|found| found.kind.is_host());
    out!(pFlags = found.ok_or(CUresult::CUDA_ERROR_INVALID_VALUE)?.flags);
    Ok(())
}

pub(crate) fn cuMemHostRegister_v2(
    p: *mut c_void,
    bytesize: usize,
    Flags: u32,
) -> Result<(), CUresult> {
    if capture::is_possible() {
        capture::check_unsafe()?;
    }
    let context = context::usable()?;
    let address = p.addr() as u64;
    let bytes = bytesize as u64;
    let is_range = address != 0 && bytes != 0 && address.checked_add(bytes).is_some();
    if !is_range || Flags & !REGISTER_FLAGS != 0 {
        return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
    }
    if allocations::overlaps(address, bytes) {
        return Err(CUresult::CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
    }
    // SAFETY: the contract of cuda.h: the application's memory, until it unregisters it.
    unsafe { share(address, bytes) };
    let kind = Kind::HostRegistered;
    allocations::insert(Allocation::new(&context, kind, address, bytes, Flags));
    Ok(())
}

pub(crate) fn cuMemHostUnregister(p: *mut c_void) -> Result<(), CUresult> {
    if capture::is_possible() {
        capture::check_unsafe()?;
    }
    let context = context::usable()?;
    if p.is_null() {
        return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
    }
    SCHEDULER.wait_domain(context.domain);
    let address = p.addr() as u64;
    allocations::remove(address, |kind| kind == Kind::HostRegistered)
        .ok_or(CUresult::CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED)?;
    unshare(address);
    context.error.check()
}
