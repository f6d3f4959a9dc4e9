// SPDX-License-Identifier: Apache-2.0
//! Variables in device memory, named by their host addresses.

use core::ffi::c_void;

use gvirtus_abi::{CUdeviceptr, CUstream};
use gvirtus_runtime_abi::{cudaError, cudaMemcpyKind};

use super::copy::{cudaMemcpy, cudaMemcpyAsync};
use super::write;
use crate::error::Result;
use crate::registry::variable;

/// The address `offset` bytes into a variable, of which `count` bytes are meant.
pub(super) fn place(symbol: *const c_void, offset: usize, count: usize) -> Result<*mut c_void> {
    let (CUdeviceptr(address), bytes) = variable(symbol)?;
    let fits = offset.checked_add(count).is_some_and(|end| end <= bytes);
    if !fits {
        return Err(cudaError::cudaErrorInvalidValue);
    }
    Ok((address as usize as *mut c_void).wrapping_byte_add(offset))
}

pub unsafe fn cudaGetSymbolAddress(devPtr: *mut *mut c_void, symbol: *const c_void) -> Result<()> {
    let address = place(symbol, 0, 0)?;
    // SAFETY: the caller's promise.
    unsafe { write(devPtr, address) }
}

pub unsafe fn cudaGetSymbolSize(size: *mut usize, symbol: *const c_void) -> Result<()> {
    let (_, bytes) = variable(symbol)?;
    // SAFETY: the caller's promise.
    unsafe { write(size, bytes) }
}

pub unsafe fn cudaMemcpyToSymbol(
    default_stream: CUstream,
    symbol: *const c_void,
    src: *const c_void,
    count: usize,
    offset: usize,
    kind: cudaMemcpyKind,
) -> Result<()> {
    let to = place(symbol, offset, count)?;
    // SAFETY: the caller's promise.
    unsafe { cudaMemcpy(default_stream, to, src, count, kind) }
}

pub unsafe fn cudaMemcpyFromSymbol(
    default_stream: CUstream,
    dst: *mut c_void,
    symbol: *const c_void,
    count: usize,
    offset: usize,
    kind: cudaMemcpyKind,
) -> Result<()> {
    let from = place(symbol, offset, count)?;
    // SAFETY: the caller's promise.
    unsafe { cudaMemcpy(default_stream, dst, from, count, kind) }
}

pub unsafe fn cudaMemcpyToSymbolAsync(
    default_stream: CUstream,
    symbol: *const c_void,
    src: *const c_void,
    count: usize,
    offset: usize,
    kind: cudaMemcpyKind,
    stream: CUstream,
) -> Result<()> {
    let to = place(symbol, offset, count)?;
    // SAFETY: the caller's promise.
    unsafe { cudaMemcpyAsync(default_stream, to, src, count, kind, stream) }
}

pub unsafe fn cudaMemcpyFromSymbolAsync(
    default_stream: CUstream,
    dst: *mut c_void,
    symbol: *const c_void,
    count: usize,
    offset: usize,
    kind: cudaMemcpyKind,
    stream: CUstream,
) -> Result<()> {
    let from = place(symbol, offset, count)?;
    // SAFETY: the caller's promise.
    unsafe { cudaMemcpyAsync(default_stream, dst, from, count, kind, stream) }
}
