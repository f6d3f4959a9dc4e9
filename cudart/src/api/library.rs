// SPDX-License-Identifier: Apache-2.0
//! Kernels of libraries that the program loads itself. A handle that it got here may be given
//! wherever a host function may, so the registry is told of it.

use core::ffi::c_char;

use gvirtus_abi::{CUkernel, CUlibrary};

use super::not_null;
use crate::context::with_context;
use crate::error::Result;
use crate::registry::know_kernel;

pub unsafe fn cudaLibraryGetKernel(
    pKernel: *mut CUkernel,
    library: CUlibrary,
    name: *const c_char,
) -> Result<()> {
    not_null(pKernel)?;
    // SAFETY: the caller's promise.
    unsafe {
        with_context(|driver| driver.cuLibraryGetKernel(pKernel, library, name))?;
        know_kernel(pKernel.read());
    }
    Ok(())
}

pub unsafe fn cudaLibraryEnumerateKernels(
    kernels: *mut CUkernel,
    numKernels: u32,
    lib: CUlibrary,
) -> Result<()> {
    // SAFETY: the caller's promise.
    with_context(|driver| unsafe { driver.cuLibraryEnumerateKernels(kernels, numKernels, lib) })?;
    let mut count = 0;
    let output = &raw mut count;
    // SAFETY: the output is a local.
    with_context(|driver| unsafe { driver.cuLibraryGetKernelCount(output, lib) })?;
    for index in 0..numKernels.min(count) as usize {
        // SAFETY: the driver has written as many handles as the library has, at most as many as
        // the caller has room for.
        know_kernel(unsafe { kernels.add(index).read() });
    }
    Ok(())
}
