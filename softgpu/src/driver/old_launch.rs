// SPDX-License-Identifier: Apache-2.0
//! The launch API of before CUDA 4 (`cuda.h`: "Execution Control", deprecated).

use core::ffi::c_void;
use std::sync::LazyLock;

use gvirtus_abi::{CU_STREAM_LEGACY, CUfunction, CUresult, CUstream};
use gvirtus_driver_face::{FunctionStates, positive};

use super::arguments::read_array;
use super::{context, function};

static STATES: LazyLock<FunctionStates> = LazyLock::new(FunctionStates::default);

/// The handle of a function that there is.
fn known(function: CUfunction) -> Result<u64, CUresult> {
    function::find_in(function, &context::usable()?)?;
    Ok(function.0)
}

pub(crate) fn cuFuncSetBlockShape(
    hfunc: CUfunction,
    x: i32,
    y: i32,
    z: i32,
) -> Result<(), CUresult> {
    STATES.set_block(known(hfunc)?, [x, y, z])
}

pub(crate) fn cuFuncSetSharedSize(hfunc: CUfunction, bytes: u32) -> Result<(), CUresult> {
    STATES.set_shared(known(hfunc)?, bytes);
    Ok(())
}

pub(crate) fn cuParamSetSize(hfunc: CUfunction, numbytes: u32) -> Result<(), CUresult> {
    STATES.set_parameter_bytes(known(hfunc)?, numbytes)
}

pub(crate) fn cuParamSeti(hfunc: CUfunction, offset: i32, value: u32) -> Result<(), CUresult> {
    STATES.set_parameter(known(hfunc)?, offset, &value.to_ne_bytes())
}

pub(crate) fn cuParamSetf(hfunc: CUfunction, offset: i32, value: f32) -> Result<(), CUresult> {
    STATES.set_parameter(known(hfunc)?, offset, &value.to_ne_bytes())
}

pub(crate) unsafe fn cuParamSetv(
    hfunc: CUfunction,
    offset: i32,
    ptr: *mut c_void,
    numbytes: u32,
) -> Result<(), CUresult> {
    if ptr.is_null() && numbytes > 0 {
        return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
    }
    // SAFETY: the contract of cuda.h: so many bytes.
    let value = unsafe { read_array(ptr.cast::<u8>(), numbytes as usize) };
    STATES.set_parameter(known(hfunc)?, offset, value)
}

pub(crate) fn cuLaunch(f: CUfunction) -> Result<(), CUresult> {
    cuLaunchGrid(f, 1, 1)
}

pub(crate) fn cuLaunchGrid(
    f: CUfunction,
    grid_width: i32,
    grid_height: i32,
) -> Result<(), CUresult> {
    cuLaunchGridAsync(f, grid_width, grid_height, CU_STREAM_LEGACY)
}

pub(crate) fn cuLaunchGridAsync(
    f: CUfunction,
    grid_width: i32,
    grid_height: i32,
    hStream: CUstream,
) -> Result<(), CUresult> {
    let state = STATES.get(known(f)?);
    let grid = [positive(grid_width)?, positive(grid_height)?];
    let ([x, y, z], shared_bytes) = (state.block, state.shared_bytes);
    state.with_parameters(|extra| {
        // SAFETY: `extra` holds as many bytes of parameters as it says.
        unsafe {
            super::cuLaunchKernel(
                CU_STREAM_LEGACY,
                f,
                grid[0],
                grid[1],
                1,
                x,
                y,
                z,
                shared_bytes,
                hStream,
                std::ptr::null_mut(),
                extra,
            )
        }
    })
}
