// SPDX-License-Identifier: Apache-2.0
//! The driver's functions by name.

use core::ffi::{c_char, c_void};

use gvirtus_abi::{CU_STREAM_PER_THREAD, CUdriverProcAddressQueryResult, CUresult, CUstream};
use gvirtus_runtime_abi::cudaDriverEntryPointQueryResult;

use super::{not_null, write};
use crate::context::initialized;
use crate::error::{Result, check};

/// `cudaEnableLegacyStream` and `cudaEnablePerThreadDefaultStream`, which are the driver's flags
/// too.
const LEGACY_STREAM: u64 = 1;
const PER_THREAD_DEFAULT_STREAM: u64 = 2;

fn look_up(
    default_stream: CUstream,
    symbol: *const c_char,
    function: *mut *mut c_void,
    version: i32,
    flags: u64,
) -> Result<CUdriverProcAddressQueryResult> {
    not_null(symbol)?;
    not_null(function)?;
    let (driver, _) = initialized()?;
    let flags = match flags {
        0 if default_stream == CU_STREAM_PER_THREAD => PER_THREAD_DEFAULT_STREAM,
        0 => LEGACY_STREAM,
        other => other,
    };
    let mut found = CUdriverProcAddressQueryResult::default();
    // SAFETY: the caller of the runtime's function promised a name and an output; the other output
    // is a local.
    let status =
        unsafe { driver.cuGetProcAddress_v2(symbol, function, version, flags, &raw mut found) };
    match status {
        // Told by the result, and no error.
        CUresult::CUDA_ERROR_NOT_FOUND => Ok(found),
        other => check(other).map(|()| found),
    }
}

/// `cudaGetDriverEntryPoint` asks for the forms of the release that the program was built with.
const RELEASE_11: i32 = 11_080;
const RELEASE_12: i32 = 12_090;
const RELEASE_13: i32 = 13_050;

pub unsafe fn cudaGetDriverEntryPoint_r11(
    default_stream: CUstream,
    symbol: *const c_char,
    funcPtr: *mut *mut c_void,
    flags: u64,
) -> Result<()> {
    look_up(default_stream, symbol, funcPtr, RELEASE_11, flags).map(drop)
}

pub unsafe fn cudaGetDriverEntryPoint_r12(
    default_stream: CUstream,
    symbol: *const c_char,
    funcPtr: *mut *mut c_void,
    flags: u64,
    driverStatus: *mut cudaDriverEntryPointQueryResult,
) -> Result<()> {
    let found = look_up(default_stream, symbol, funcPtr, RELEASE_12, flags)?;
    // SAFETY: the caller's promise.
    unsafe { tell(driverStatus, found) }
}

pub unsafe fn cudaGetDriverEntryPoint(
    default_stream: CUstream,
    symbol: *const c_char,
    funcPtr: *mut *mut c_void,
    flags: u64,
    driverStatus: *mut cudaDriverEntryPointQueryResult,
) -> Result<()> {
    let found = look_up(default_stream, symbol, funcPtr, RELEASE_13, flags)?;
    // SAFETY: the caller's promise.
    unsafe { tell(driverStatus, found) }
}

pub unsafe fn cudaGetDriverEntryPointByVersion(
    default_stream: CUstream,
    symbol: *const c_char,
    funcPtr: *mut *mut c_void,
    cudaVersion: u32,
    flags: u64,
    driverStatus: *mut cudaDriverEntryPointQueryResult,
) -> Result<()> {
    let version = i32::try_from(cudaVersion).unwrap_or(i32::MAX);
    let found = look_up(default_stream, symbol, funcPtr, version, flags)?;
    // SAFETY: the caller's promise.
    unsafe { tell(driverStatus, found) }
}

/// # Safety
///
/// The pointer is null, which means not wanted, or an output.
unsafe fn tell(
    status: *mut cudaDriverEntryPointQueryResult,
    found: CUdriverProcAddressQueryResult,
) -> Result<()> {
    if status.is_null() {
        return Ok(());
    }
    // SAFETY: the caller's promise. The numbers are the driver's.
    unsafe { write(status, cudaDriverEntryPointQueryResult(found.0)) }
}
