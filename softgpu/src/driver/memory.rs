// SPDX-License-Identifier: Apache-2.0
//! Device memory (`cuda.h`: "Memory Management").

use std::sync::Arc;

use gvirtus_abi::{CUdeviceptr, CUresult};
use gvirtus_graph::capture;

use super::allocations::{self, Allocation, Kind};
use super::arguments::{optional_out, out};
use super::context::{self, Context};
use super::device::Device;
use super::limits::PITCH_ALIGNMENT_BYTES;
use super::scheduler::SCHEDULER;
use super::{device, ipc, managed, pool};
use crate::memory::MemoryError;

impl From<MemoryError> for Failure {
    fn from(error: MemoryError) -> Self {
        Self(match error {
            MemoryError::OutOfMemory => CUresult::CUDA_ERROR_OUT_OF_MEMORY,
            MemoryError::InvalidValue | MemoryError::NotAllocated { .. } => {
                CUresult::CUDA_ERROR_INVALID_VALUE
            }
        })
    }
}

/// A status on its way to the caller; what `?` turns errors of the engine into.
pub(super) struct Failure(pub(super) CUresult);

impl From<Failure> for CUresult {
    fn from(failure: Failure) -> Self {
        failure.0
    }
}

/// Frees all device memory of a context.
pub(super) fn forget_context(context: &Context) {
    let is_freed = |kind| matches!(kind, Kind::Device | Kind::Managed);
    let gone = allocations::remove_context(context, is_freed);
    let Some(memory) = context.device.memory_in_use() else {
        return;
    };
    for allocation in gone {
        if allocation.kind == Kind::Managed {
            managed::forget(&allocation);
        }
        // The table says that it is allocated, so this frees it.
        let _ = memory.free(allocation.base);
    }
}

/// The current context, if captures let it allocate.
fn allocating() -> Result<Arc<Context>, CUresult> {
    if capture::is_possible() {
        capture::check_unsafe()?;
    }
    context::usable()
}

fn allocate(context: &Context, bytes: usize) -> Result<CUdeviceptr, CUresult> {
    allocate_as(context, bytes, Kind::Device)
}

pub(super) fn allocate_as(
    context: &Context,
    bytes: usize,
    kind: Kind,
) -> Result<CUdeviceptr, CUresult> {
    let bytes = bytes as u64;
    let memory = context.device.memory()?;
    let base = match kind {
        // The host writes to it whenever it likes, also while a page is moved to be shared.
        Kind::Managed => memory.alloc_pages(bytes, 1),
        _ => memory.alloc(bytes),
    };
    let base = base.map_err(Failure::from)?;
    allocations::insert(Allocation::new(context, kind, base, bytes, 0));
    Ok(CUdeviceptr(base))
}

pub(crate) unsafe fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) -> Result<(), CUresult> {
    let (free_bytes, total_bytes) = context::usable()?.device.memory()?.info();
    out!(free = free_bytes as usize);
    out!(total = total_bytes as usize);
    Ok(())
}

pub(crate) unsafe fn cuMemAlloc_v2(
    dptr: *mut CUdeviceptr,
    bytesize: usize,
) -> Result<(), CUresult> {
    let context = allocating()?;
    if dptr.is_null() || bytesize == 0 {
        return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
    }
    out!(dptr = allocate(&context, bytesize)?);
    Ok(())
}

pub(crate) unsafe fn cuMemAllocPitch_v2(
    dptr: *mut CUdeviceptr,
    pPitch: *mut usize,
    WidthInBytes: usize,
    Height: usize,
    ElementSizeBytes: u32,
) -> Result<(), CUresult> {
    let context = allocating()?;
    let is_empty = WidthInBytes == 0 || Height == 0;
    if dptr.is_null() || pPitch.is_null() || is_empty || !matches!(ElementSizeBytes, 4 | 8 | 16) {
        return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
    }
    let pitch = WidthInBytes
        .checked_next_multiple_of(PITCH_ALIGNMENT_BYTES)
        .ok_or(CUresult::CUDA_ERROR_OUT_OF_MEMORY)?;
    let bytes = pitch
        .checked_mul(Height)
        .ok_or(CUresult::CUDA_ERROR_OUT_OF_MEMORY)?;
    out!(dptr = allocate(&context, bytes)?);
    out!(pPitch = pitch);
    Ok(())
}

/// Waits for all work of the context that allocated it, as real drivers do.
pub(crate) fn cuMemFree_v2(dptr: CUdeviceptr) -> Result<(), CUresult> {
    let context = allocating()?;
    if dptr.0 == 0 {
        return Ok(());
    }
    if allocations::find(dptr.0).is_some_and(|known| known.base == dptr.0) {
        SCHEDULER.wait_domain(context.domain);
        if gvirtus_graph::free_outside(dptr)? {
            return context.error.check();
        }
    }
    let allocation = allocations::find(dptr.0)
        .filter(|allocation| allocation.base == dptr.0 && allocation.kind.is_allocated())
        .ok_or(CUresult::CUDA_ERROR_INVALID_VALUE)?;
    SCHEDULER.wait_domain(context.domain);
    if allocation.context_id != context.id
        && let Ok(owner) = context::find(allocation.context)
    {
        SCHEDULER.wait_domain(owner.domain);
    }
    context.printed.flush();
    if allocation.kind == Kind::PoolImported {
        ipc::end_pointer(dptr.0)?;
        return context.error.check();
    }
    if allocation.kind == Kind::Pooled {
        let pool = pool::disown(dptr.0).ok_or(CUresult::CUDA_ERROR_INVALID_VALUE)?;
        pool.free_now(dptr.0);
        pool::trim_after_synchronize();
        return context.error.check();
    }
    let device: &Device = device::device(gvirtus_abi::CUdevice(allocation.device_ordinal))?;
    let allocation = allocations::remove(dptr.0, Kind::is_allocated)
        .ok_or(CUresult::CUDA_ERROR_INVALID_VALUE)?;
    if allocation.kind == Kind::Managed {
        managed::forget(&allocation);
    }
    device.memory()?.free(dptr.0).map_err(Failure::from)?;
    context.error.check()
}

pub(crate) unsafe fn cuMemGetAddressRange_v2(
    pbase: *mut CUdeviceptr,
    psize: *mut usize,
    dptr: CUdeviceptr,
) -> Result<(), CUresult> {
    context::usable()?;
    let allocation = allocations::find(dptr.0).ok_or(CUresult::CUDA_ERROR_NOT_FOUND)?;
    optional_out!(pbase = CUdeviceptr(allocation.base));
    optional_out!(psize = allocation.bytes as usize);
    Ok(())
}
