// SPDX-License-Identifier: Apache-2.0
//! Launches of kernels and host functions.

use core::ffi::c_void;
use std::ptr::null_mut;

use gvirtus_abi::{CUfunction, CUhostPointer, CUkernel, CUlaunchAttribute, CUresult, CUstream};
use gvirtus_runtime_abi::{cudaError, cudaLaunchAttribute, cudaLaunchConfig, dim3};

use super::function::{driver_config, function};
use super::stream_of;
use crate::context::with_context;
use crate::driver::Driver;
use crate::error::Result;
use crate::registry::kernel;

const _: () = assert!(size_of::<cudaLaunchAttribute>() == size_of::<CUlaunchAttribute>());

/// # Errors
///
/// `cudaErrorInvalidConfiguration` if no launch can have this form; limits of the device are the
/// driver's to check.
#[inline]
fn check_form(grid: dim3, block: dim3, shared_bytes: usize) -> Result<u32> {
    let empty = grid.x == 0 || grid.y == 0 || grid.z == 0;
    if empty || block.x == 0 || block.y == 0 || block.z == 0 {
        return Err(cudaError::cudaErrorInvalidConfiguration);
    }
    u32::try_from(shared_bytes).map_err(|_| cudaError::cudaErrorInvalidValue)
}

/// What the driver calls an invalid value is, where nothing else can be one, the configuration.
#[cold]
fn configuration_error(error: cudaError) -> cudaError {
    match error {
        cudaError::cudaErrorInvalidValue => cudaError::cudaErrorInvalidConfiguration,
        other => other,
    }
}

#[inline]
unsafe fn launch(
    kernel: CUkernel,
    grid: dim3,
    block: dim3,
    args: *mut *mut c_void,
    shared_bytes: usize,
    call: impl Fn(&Driver, CUfunction, u32, *mut *mut c_void) -> CUresult,
) -> Result<()> {
    let shared_bytes = check_form(grid, block, shared_bytes)?;
    with_context(|driver| call(driver, function(kernel), shared_bytes, args))
        .map_err(configuration_error)
}

pub unsafe fn __cudaLaunchKernel(
    default_stream: CUstream,
    kernel: CUkernel,
    gridDim: dim3,
    blockDim: dim3,
    args: *mut *mut c_void,
    sharedMem: usize,
    stream: CUstream,
) -> Result<()> {
    let stream = stream_of(default_stream, stream);
    let (grid, block) = (gridDim, blockDim);
    // SAFETY: the caller's promise: as many arguments as the kernel has.
    unsafe {
        launch(
            kernel,
            grid,
            block,
            args,
            sharedMem,
            |driver, function, shared_bytes, args| {
                driver.cuLaunchKernel(
                    function,
                    grid.x,
                    grid.y,
                    grid.z,
                    block.x,
                    block.y,
                    block.z,
                    shared_bytes,
                    stream,
                    args,
                    null_mut(),
                )
            },
        )
    }
}

pub unsafe fn cudaLaunchKernel(
    default_stream: CUstream,
    func: *const c_void,
    gridDim: dim3,
    blockDim: dim3,
    args: *mut *mut c_void,
    sharedMem: usize,
    stream: CUstream,
) -> Result<()> {
    let kernel = kernel(func)?;
    // SAFETY: the caller's promise.
    unsafe {
        __cudaLaunchKernel(
            default_stream,
            kernel,
            gridDim,
            blockDim,
            args,
            sharedMem,
            stream,
        )
    }
}

pub unsafe fn cudaLaunchCooperativeKernel(
    default_stream: CUstream,
    func: *const c_void,
    gridDim: dim3,
    blockDim: dim3,
    args: *mut *mut c_void,
    sharedMem: usize,
    stream: CUstream,
) -> Result<()> {
    let kernel = kernel(func)?;
    let stream = stream_of(default_stream, stream);
    let (grid, block) = (gridDim, blockDim);
    // SAFETY: the caller's promise: as many arguments as the kernel has.
    unsafe {
        launch(
            kernel,
            grid,
            block,
            args,
            sharedMem,
            |driver, function, shared_bytes, args| {
                driver.cuLaunchCooperativeKernel(
                    function,
                    grid.x,
                    grid.y,
                    grid.z,
                    block.x,
                    block.y,
                    block.z,
                    shared_bytes,
                    stream,
                    args,
                )
            },
        )
    }
}

pub unsafe fn cudaLaunchKernelExC(
    default_stream: CUstream,
    config: *const cudaLaunchConfig,
    func: *const c_void,
    args: *mut *mut c_void,
) -> Result<()> {
    let kernel = kernel(func)?;
    // SAFETY: the caller's promise: a configuration.
    let mut config = unsafe { driver_config(config) }?;
    config.hStream = stream_of(default_stream, config.hStream);
    if config.gridDimX == 0 || config.blockDimX == 0 {
        return Err(cudaError::cudaErrorInvalidConfiguration);
    }
    // SAFETY: the caller's promise: as many arguments as the kernel has, and as many attributes as
    // said, which are the driver's own.
    with_context(|driver| unsafe {
        driver.cuLaunchKernelEx(&raw const config, function(kernel), args, null_mut())
    })
    .map_err(configuration_error)
}

pub unsafe fn cudaLaunchHostFunc(
    default_stream: CUstream,
    stream: CUstream,
    fn_: CUhostPointer,
    userData: *mut c_void,
) -> Result<()> {
    let stream = stream_of(default_stream, stream);
    // SAFETY: the caller's promise: a function that takes the data.
    with_context(|driver| unsafe { driver.cuLaunchHostFunc(stream, fn_, userData) })
}
