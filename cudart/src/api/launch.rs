// SPDX-License-Identifier: Apache-2.0
//! Launches of kernels and host functions.

use core::ffi::c_void;
use std::ptr::null_mut;

use gvirtus_abi::{
    CUdevice_attribute, CUfunction, CUhostPointer, CUkernel, CUlaunchAttribute, CUresult, CUstream,
};
use gvirtus_runtime_abi::{cudaError, cudaLaunchAttribute, cudaLaunchConfig, dim3};

use super::function::{driver_config, function};
use super::stream_of;
use crate::context::{current_device, device_of, with_context};
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

/// What the driver calls an invalid value is an invalid configuration if the device allows no
/// launch of this form.
#[cold]
fn configuration_error(error: cudaError, grid: dim3, block: dim3) -> cudaError {
    match error {
        cudaError::cudaErrorInvalidValue if !is_allowed(grid, block) => {
            cudaError::cudaErrorInvalidConfiguration
        }
        other => other,
    }
}

fn is_allowed(grid: dim3, block: dim3) -> bool {
    type A = CUdevice_attribute;
    let Ok((driver, device)) = current_device().and_then(device_of) else {
        return true;
    };
    let at_most = |value: u64, attribute: CUdevice_attribute| {
        let mut limit = 0;
        // SAFETY: the output is a local.
        let status = unsafe { driver.cuDeviceGetAttribute(&raw mut limit, attribute, device) };
        status != CUresult::CUDA_SUCCESS || u64::try_from(limit).is_ok_and(|limit| value <= limit)
    };
    let sides = [
        (grid.x, A::CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X),
        (grid.y, A::CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y),
        (grid.z, A::CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z),
        (block.x, A::CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X),
        (block.y, A::CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y),
        (block.z, A::CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z),
    ];
    let threads = [block.x, block.y, block.z]
        .into_iter()
        .fold(1, |product: u64, side| product.saturating_mul(side.into()));
    sides
        .into_iter()
        .all(|(side, limit)| at_most(side.into(), limit))
        && at_most(threads, A::CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK)
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
        .map_err(|error| configuration_error(error, grid, block))
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
    let (grid, block) = (
        dim3 {
            x: config.gridDimX,
            y: config.gridDimY,
            z: config.gridDimZ,
        },
        dim3 {
            x: config.blockDimX,
            y: config.blockDimY,
            z: config.blockDimZ,
        },
    );
    check_form(grid, block, 0)?;
    // SAFETY: the caller's promise: as many arguments as the kernel has, and as many attributes as
    // said, which are the driver's own.
    with_context(|driver| unsafe {
        driver.cuLaunchKernelEx(&raw const config, function(kernel), args, null_mut())
    })
    .map_err(|error| configuration_error(error, grid, block))
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
