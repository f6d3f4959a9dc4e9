// SPDX-License-Identifier: Apache-2.0
//! Errors and versions.

use core::ffi::c_char;

use gvirtus_runtime_abi::{cudaError, error_name, error_string};

use super::{Told, write};
use crate::driver::driver;
use crate::error::{Result, check};
use crate::thread::{last_error, take_last_error};

pub unsafe fn cudaGetLastError() -> Told {
    Told(take_last_error())
}

pub unsafe fn cudaPeekAtLastError() -> Told {
    Told(last_error())
}

pub unsafe fn cudaGetErrorName(error: cudaError) -> *const c_char {
    error_name(error).as_ptr()
}

pub unsafe fn cudaGetErrorString(error: cudaError) -> *const c_char {
    error_string(error).as_ptr()
}

pub unsafe fn cudaDriverGetVersion(driverVersion: *mut i32) -> Result<()> {
    let mut version = 0;
    // Without a driver the answer is zero, and no error.
    if let Ok(driver) = driver() {
        // SAFETY: the output is a local.
        check(unsafe { driver.cuDriverGetVersion(&raw mut version) })?;
    }
    // SAFETY: the caller's promise.
    unsafe { write(driverVersion, version) }
}

pub unsafe fn cudaRuntimeGetVersion_r11(runtimeVersion: *mut i32) -> Result<()> {
    // SAFETY: the caller's promise.
    unsafe { write(runtimeVersion, 11_080) }
}

pub unsafe fn cudaRuntimeGetVersion_r12(runtimeVersion: *mut i32) -> Result<()> {
    // SAFETY: the caller's promise.
    unsafe { write(runtimeVersion, 12_090) }
}

pub unsafe fn cudaRuntimeGetVersion(runtimeVersion: *mut i32) -> Result<()> {
    // SAFETY: the caller's promise.
    unsafe { write(runtimeVersion, 13_050) }
}
