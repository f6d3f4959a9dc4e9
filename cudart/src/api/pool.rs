// SPDX-License-Identifier: Apache-2.0
//! Memory pools as descriptors for other processes. All else about pools is the driver's own.

use core::ffi::c_void;

use gvirtus_abi::{CUmemAllocationHandleType, CUmemoryPool};
use gvirtus_runtime_abi::cudaMemAllocationHandleType;

use crate::context::with_context;
use crate::error::Result;

pub unsafe fn cudaMemPoolExportToShareableHandle(
    shareableHandle: *mut c_void,
    memPool: CUmemoryPool,
    handleType: cudaMemAllocationHandleType,
    flags: u32,
) -> Result<()> {
    let kind = CUmemAllocationHandleType(handleType.0);
    // SAFETY: the caller's promise: room for a handle of this kind.
    with_context(|driver| unsafe {
        driver.cuMemPoolExportToShareableHandle(shareableHandle, memPool, kind, flags.into())
    })
}

pub unsafe fn cudaMemPoolImportFromShareableHandle(
    memPool: *mut CUmemoryPool,
    shareableHandle: *mut c_void,
    handleType: cudaMemAllocationHandleType,
    flags: u32,
) -> Result<()> {
    let kind = CUmemAllocationHandleType(handleType.0);
    // SAFETY: the caller's promise: a handle of this kind.
    with_context(|driver| unsafe {
        driver.cuMemPoolImportFromShareableHandle(memPool, shareableHandle, kind, flags.into())
    })
}
