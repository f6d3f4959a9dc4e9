// SPDX-License-Identifier: Apache-2.0
//! Devices: how many, which one, its flags, its peers, its end.

use gvirtus_abi::CUcontext;
use gvirtus_runtime_abi::{cudaDeviceProp, cudaDeviceProp_v11, cudaDeviceProp_v12, cudaError};

use super::{not_null, write};
use crate::context::{
    current, current_device, device_of, ensure_current, initialized, primary, reset, with_context,
};
use crate::error::{Result, check};
use crate::thread;

/// `cudaInitDeviceFlagsAreValid`.
const FLAGS_ARE_VALID: u32 = 1;

/// The bits of a device's flags that may be set (`cudaDeviceMask`).
const DEVICE_FLAGS: u32 = 0xff;

pub unsafe fn cudaGetDeviceCount(count: *mut i32) -> Result<()> {
    not_null(count)?;
    let found = initialized();
    // SAFETY: the caller's promise.
    unsafe { write(count, found.map_or(0, |(_, devices)| devices))? };
    match found {
        Ok((_, 0)) => Err(cudaError::cudaErrorNoDevice),
        Ok(_) => Ok(()),
        Err(error) => Err(error),
    }
}

pub unsafe fn cudaSetDevice(device: i32) -> Result<()> {
    let context = primary(device)?;
    let (driver, _) = initialized()?;
    // SAFETY: no preconditions.
    check(unsafe { driver.cuCtxSetCurrent(context) })?;
    thread::set_device(device);
    Ok(())
}

pub unsafe fn cudaGetDevice(device: *mut i32) -> Result<()> {
    not_null(device)?;
    let ordinal = current_device()?;
    // SAFETY: the caller's promise.
    unsafe { write(device, ordinal) }
}

pub unsafe fn cudaInitDevice(device: i32, deviceFlags: u32, flags: u32) -> Result<()> {
    let (driver, handle) = device_of(device)?;
    if flags & FLAGS_ARE_VALID != 0 {
        // SAFETY: no preconditions.
        check(unsafe { driver.cuDevicePrimaryCtxSetFlags_v2(handle, deviceFlags & DEVICE_FLAGS) })?;
    }
    primary(device).map(drop)
}

/// Remembering an order of preference makes no difference while each thread names its device: the
/// first of the list becomes the thread's.
pub unsafe fn cudaSetValidDevices(device_arr: *mut i32, len: i32) -> Result<()> {
    let (_, devices) = initialized()?;
    if len == 0 {
        return Ok(());
    }
    let count = usize::try_from(len).map_err(|_| cudaError::cudaErrorInvalidValue)?;
    not_null(device_arr)?;
    if len > devices {
        return Err(cudaError::cudaErrorInvalidValue);
    }
    // SAFETY: the caller's promise: as many numbers as said.
    let list = unsafe { std::slice::from_raw_parts(device_arr, count) };
    for device in list {
        device_of(*device)?;
    }
    if let Some(first) = list.first() {
        thread::set_device(*first);
    }
    Ok(())
}

pub unsafe fn cudaSetDeviceFlags(flags: u32) -> Result<()> {
    let (driver, device) = device_of(current_device()?)?;
    // SAFETY: no preconditions.
    check(unsafe { driver.cuDevicePrimaryCtxSetFlags_v2(device, flags & DEVICE_FLAGS) })
}

pub unsafe fn cudaGetDeviceFlags(flags: *mut u32) -> Result<()> {
    not_null(flags)?;
    let (driver, device) = device_of(current_device()?)?;
    // SAFETY: the caller's promise; the other output is a local.
    unsafe {
        if !current(driver).is_null() {
            return check(driver.cuCtxGetFlags(flags));
        }
        let mut active = 0;
        check(driver.cuDevicePrimaryCtxGetState(device, flags, &raw mut active))
    }
}

pub unsafe fn cudaDeviceReset() -> Result<()> {
    let ordinal = current_device()?;
    let (driver, device) = device_of(ordinal)?;
    let mut context = CUcontext::NULL;
    let held = current(driver);
    // SAFETY: the output is a local; the reference is given back below.
    unsafe {
        check(driver.cuDevicePrimaryCtxRetain(&raw mut context, device))?;
        driver.cuDevicePrimaryCtxRelease_v2(device);
        if held == context {
            check(driver.cuCtxSetCurrent(CUcontext::NULL))?;
        }
    }
    reset(ordinal)
}

pub unsafe fn cudaThreadExit() -> Result<()> {
    // SAFETY: no preconditions.
    unsafe { cudaDeviceReset() }
}

pub unsafe fn cudaDeviceEnablePeerAccess(peerDevice: i32, flags: u32) -> Result<()> {
    ensure_current()?;
    let context = primary(peerDevice)?;
    // SAFETY: no preconditions.
    with_context(|driver| unsafe { driver.cuCtxEnablePeerAccess(context, flags) })
}

pub unsafe fn cudaDeviceDisablePeerAccess(peerDevice: i32) -> Result<()> {
    ensure_current()?;
    let context = primary(peerDevice)?;
    // SAFETY: no preconditions.
    with_context(|driver| unsafe { driver.cuCtxDisablePeerAccess(context) })
}

/// Chooses among equal devices the first: the wishes of `cudaDeviceProp` that matter are met by
/// all.
fn choose(device: *mut i32, wanted: (i32, i32)) -> Result<()> {
    let (_, devices) = initialized()?;
    let fits = |ordinal: &i32| {
        device_of(*ordinal).is_ok_and(|(driver, handle)| {
            let (mut major, mut minor) = (0, 0);
            // SAFETY: the outputs are locals.
            let status =
                unsafe { driver.cuDeviceComputeCapability(&raw mut major, &raw mut minor, handle) };
            check(status).is_ok() && (major, minor) >= wanted
        })
    };
    let chosen = (0..devices).find(fits).unwrap_or_default();
    // SAFETY: the caller of the runtime's function promised an output.
    unsafe { write(device, chosen) }
}

macro_rules! choose_device {
    ($function:ident, $structure:ident) => {
        pub unsafe fn $function(device: *mut i32, prop: *const $structure) -> Result<()> {
            not_null(prop)?;
            // SAFETY: the caller's promise.
            let wanted = unsafe { ((*prop).major, (*prop).minor) };
            choose(device, wanted)
        }
    };
}

choose_device!(cudaChooseDevice, cudaDeviceProp);
choose_device!(cudaChooseDevice_r12, cudaDeviceProp_v12);
choose_device!(cudaChooseDevice_r11, cudaDeviceProp_v11);

/// Devices have had double precision for long: nothing to do.
pub unsafe fn cudaSetDoubleForDevice(_d: *mut f64) -> Result<()> {
    Ok(())
}

/// As [`cudaSetDoubleForDevice`].
pub unsafe fn cudaSetDoubleForHost(_d: *mut f64) -> Result<()> {
    Ok(())
}
