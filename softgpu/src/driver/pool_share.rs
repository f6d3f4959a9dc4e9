// SPDX-License-Identifier: Apache-2.0
//! Memory pools that several processes use: one allocates, the others import what it allocated
//! (`cuda.h`: "Stream Ordered Memory Allocator").
//!
//! The memory of such a pool lies in its device's shared file, whose descriptor is the pool's
//! handle; a pointer's data is the same token as an exported allocation's.

use core::ffi::c_void;
use std::sync::Arc;

use gvirtus_abi::{
    CUdeviceptr, CUmemAllocationHandleType, CUmemPoolPtrExportData, CUmemoryPool, CUresult,
};

use super::arguments::out;
use super::device::device_numbered;
use super::memory::Failure;
use super::{allocations, context, ipc, pool, shareable};
use crate::memory::Purpose;

const INVALID: CUresult = CUresult::CUDA_ERROR_INVALID_VALUE;
const FILE_DESCRIPTOR: CUmemAllocationHandleType =
    CUmemAllocationHandleType::CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;

pub(crate) unsafe fn cuMemPoolExportToShareableHandle(
    handle_out: *mut c_void,
    pool: CUmemoryPool,
    handleType: CUmemAllocationHandleType,
    flags: u64,
) -> Result<(), CUresult> {
    let pool = pool::find(pool)?;
    let is_possible = handleType == FILE_DESCRIPTOR && pool.is_shareable();
    if handle_out.is_null() || flags != 0 || !is_possible {
        return Err(INVALID);
    }
    let memory = pool.device.memory()?;
    let file = memory.prepare_export(memory.base(), 0, pool.device.number);
    let file = file.map_err(Failure::from)?;
    let place = handle_out.cast::<i32>();
    out!(place = shareable::descriptor(&file)?);
    Ok(())
}

/// The descriptor stays the caller's.
pub(crate) unsafe fn cuMemPoolImportFromShareableHandle(
    pool_out: *mut CUmemoryPool,
    handle: *mut c_void,
    handleType: CUmemAllocationHandleType,
    flags: u64,
) -> Result<(), CUresult> {
    super::device::devices()?;
    if pool_out.is_null() || flags != 0 || handleType != FILE_DESCRIPTOR {
        return Err(INVALID);
    }
    let file = shareable::file(handle, Purpose::Memory)?;
    let device = device_numbered(file.number).map_err(|_| INVALID)?;
    out!(pool_out = pool::import(device, Arc::new(file))?.handle);
    Ok(())
}

pub(crate) unsafe fn cuMemPoolExportPointer(
    shareData_out: *mut CUmemPoolPtrExportData,
    ptr: CUdeviceptr,
) -> Result<(), CUresult> {
    super::device::devices()?;
    let allocation = allocations::find(ptr.0).filter(|known| known.base == ptr.0);
    let allocation = allocation.ok_or(INVALID)?;
    let pool = pool::owner(ptr.0)
        .filter(|pool| pool.is_shareable())
        .ok_or(INVALID)?;
    // All of the pool's memory has been moved before anything used it.
    let token = (pool.device.memory()?)
        .export(ptr.0, allocation.bytes, pool.device.number)
        .map_err(Failure::from)?;
    let reserved = token.to_bytes();
    out!(shareData_out = CUmemPoolPtrExportData { reserved });
    Ok(())
}

pub(crate) unsafe fn cuMemPoolImportPointer(
    ptr_out: *mut CUdeviceptr,
    pool: CUmemoryPool,
    shareData: *mut CUmemPoolPtrExportData,
) -> Result<(), CUresult> {
    let context = context::usable()?;
    let pool = pool::find(pool)?;
    let file = pool.imported.as_ref().ok_or(INVALID)?;
    if ptr_out.is_null() || shareData.is_null() {
        return Err(INVALID);
    }
    // SAFETY: the contract of cuda.h: not null, and then a structure.
    let data = unsafe { shareData.read_unaligned() };
    out!(ptr_out = ipc::import_pointer(&context, file, &data.reserved)?);
    Ok(())
}
