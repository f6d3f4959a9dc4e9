// SPDX-License-Identifier: Apache-2.0
//! The launch API of before CUDA 4 (`cuda.h`: "Execution Control", deprecated).

use core::ffi::c_void;
use std::sync::LazyLock;

use gvirtus_abi::{CU_STREAM_LEGACY, CUfunction, CUresult, CUstream};
use gvirtus_driver_face::{FunctionStates, positive};

use super::{Status, cuLaunchKernel, required};
use crate::process::session;

static STATES: LazyLock<FunctionStates> = LazyLock::new(FunctionStates::default);

/// The handle of a function that there is.
fn known(function: CUfunction) -> Result<u64, CUresult> {
    let session = session()?;
    session.current()?;
    session.kernel(function.0)?;
    Ok(function.0)
}

/// `cuFuncSetBlockShape`.
pub unsafe fn cuFuncSetBlockShape(hfunc: CUfunction, x: i32, y: i32, z: i32) -> Status {
    STATES.set_block(known(hfunc)?, [x, y, z])
}

/// `cuFuncSetSharedSize`.
pub unsafe fn cuFuncSetSharedSize(hfunc: CUfunction, bytes: u32) -> Status {
    STATES.set_shared(known(hfunc)?, bytes);
    Ok(())
}

/// `cuParamSetSize`.
pub unsafe fn cuParamSetSize(hfunc: CUfunction, numbytes: u32) -> Status {
    STATES.set_parameter_bytes(known(hfunc)?, numbytes)
}

/// `cuParamSeti`.
pub unsafe fn cuParamSeti(hfunc: CUfunction, offset: i32, value: u32) -> Status {
    STATES.set_parameter(known(hfunc)?, offset, &value.to_ne_bytes())
}

/// `cuParamSetf`.
pub unsafe fn cuParamSetf(hfunc: CUfunction, offset: i32, value: f32) -> Status {
    STATES.set_parameter(known(hfunc)?, offset, &value.to_ne_bytes())
}

/// `cuParamSetv`.
pub unsafe fn cuParamSetv(
    hfunc: CUfunction,
    offset: i32,
    ptr: *mut c_void,
    numbytes: u32,
) -> Status {
    let value: &[u8] = match numbytes {
        0 => &[],
        // SAFETY: not null, and then so many bytes by the caller's promise.
        _ => unsafe { std::slice::from_raw_parts(required(ptr)?.cast(), numbytes as usize) },
    };
    STATES.set_parameter(known(hfunc)?, offset, value)
}

/// `cuLaunch`.
pub unsafe fn cuLaunch(f: CUfunction) -> Status {
    // SAFETY: the caller's promise.
    unsafe { cuLaunchGrid(f, 1, 1) }
}

/// `cuLaunchGrid`.
pub unsafe fn cuLaunchGrid(f: CUfunction, grid_width: i32, grid_height: i32) -> Status {
    // SAFETY: the caller's promise.
    unsafe { cuLaunchGridAsync(f, grid_width, grid_height, CU_STREAM_LEGACY) }
}

/// `cuLaunchGridAsync`.
pub unsafe fn cuLaunchGridAsync(
    f: CUfunction,
    grid_width: i32,
    grid_height: i32,
    hStream: CUstream,
) -> Status {
    let state = STATES.get(known(f)?);
    let grid = [positive(grid_width)?, positive(grid_height)?];
    let ([x, y, z], shared_bytes) = (state.block, state.shared_bytes);
    state.with_parameters(|extra| {
        // SAFETY: `extra` holds as many bytes of parameters as it says.
        unsafe {
            cuLaunchKernel(
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
