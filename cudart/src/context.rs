// SPDX-License-Identifier: Apache-2.0
//! Primary contexts: made when a thread first needs its device, and current from then on.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use gvirtus_abi::{CUcontext, CUdevice, CUresult};
use gvirtus_runtime_abi::cudaError;
use parking_lot::Mutex;

use crate::driver::{Driver, driver};
use crate::error::{Result, check};
use crate::limits::MAX_DEVICES;
use crate::thread;

/// The primary contexts that this process holds, by device; zero is none.
static PRIMARY: [AtomicU64; MAX_DEVICES] = [const { AtomicU64::new(0) }; MAX_DEVICES];

/// Held while one of [`PRIMARY`] appears or goes.
static CHANGE: Mutex<()> = Mutex::new(());

/// The driver, initialized, with its number of devices.
///
/// # Errors
///
/// That there is no driver, or what `cuInit` answers.
pub(crate) fn initialized() -> Result<(&'static Driver, i32)> {
    static DEVICES: OnceLock<Result<i32>> = OnceLock::new();
    let driver = driver()?;
    let devices = DEVICES.get_or_init(|| {
        let mut devices = 0;
        // SAFETY: the output is a local.
        unsafe {
            check(driver.cuInit(0))?;
            check(driver.cuDeviceGetCount(&raw mut devices))?;
        }
        Ok(devices)
    });
    Ok((driver, (*devices)?))
}

/// The device of this number.
///
/// # Errors
///
/// `cudaErrorInvalidDevice` if there is none; `cudaErrorNoDevice` if there are none at all.
pub(crate) fn device_of(ordinal: i32) -> Result<(&'static Driver, CUdevice)> {
    let (driver, devices) = initialized()?;
    if devices == 0 {
        return Err(cudaError::cudaErrorNoDevice);
    }
    if !(0..devices).contains(&ordinal) {
        return Err(cudaError::cudaErrorInvalidDevice);
    }
    let mut device = CUdevice::default();
    // SAFETY: the output is a local.
    check(unsafe { driver.cuDeviceGet(&raw mut device, ordinal) })?;
    Ok((driver, device))
}

/// The primary context of a device, held by this process from the first time on.
///
/// # Errors
///
/// As [`device_of`], and the driver's.
pub(crate) fn primary(ordinal: i32) -> Result<CUcontext> {
    let (driver, device) = device_of(ordinal)?;
    let held = usize::try_from(ordinal)
        .ok()
        .and_then(|index| PRIMARY.get(index))
        .ok_or(cudaError::cudaErrorInvalidDevice)?;
    let known = held.load(Ordering::Acquire);
    if known != 0 {
        return Ok(CUcontext(known));
    }
    let _change = CHANGE.lock();
    let mut context = CUcontext(held.load(Ordering::Acquire));
    if context.is_null() {
        // SAFETY: the output is a local.
        check(unsafe { driver.cuDevicePrimaryCtxRetain(&raw mut context, device) })?;
        held.store(context.0, Ordering::Release);
    }
    Ok(context)
}

/// Resets a device's primary context: whoever held it holds it no longer, as
/// `cuDevicePrimaryCtxReset` has it.
///
/// # Errors
///
/// As [`device_of`], and the driver's.
pub(crate) fn reset(ordinal: i32) -> Result<()> {
    let (driver, device) = device_of(ordinal)?;
    let _change = CHANGE.lock();
    if let Some(held) = usize::try_from(ordinal).ok().and_then(|i| PRIMARY.get(i)) {
        held.store(0, Ordering::Release);
    }
    // SAFETY: no preconditions.
    check(unsafe { driver.cuDevicePrimaryCtxReset_v2(device) })
}

/// Lets go of all primary contexts, at the end of the process.
pub(crate) fn release_all() {
    let _change = CHANGE.lock();
    for (ordinal, held) in (0..).zip(&PRIMARY) {
        if held.swap(0, Ordering::AcqRel) == 0 {
            continue;
        }
        if let Ok((driver, device)) = device_of(ordinal) {
            // SAFETY: no preconditions. The process ends: nobody is left to tell.
            unsafe { driver.cuDevicePrimaryCtxRelease_v2(device) };
        }
    }
}

/// The context that is current for the thread; null if there is none.
pub(crate) fn current(driver: &Driver) -> CUcontext {
    let mut context = CUcontext::NULL;
    // SAFETY: the output is a local. It fails only before `cuInit`, when nothing is current.
    unsafe { driver.cuCtxGetCurrent(&raw mut context) };
    context
}

/// Makes the primary context of the thread's device current, unless a context is current already.
///
/// # Errors
///
/// As [`primary`].
#[cold]
pub(crate) fn ensure_current() -> Result<()> {
    let (driver, _) = initialized()?;
    if !current(driver).is_null() {
        return Ok(());
    }
    let context = primary(thread::device())?;
    // SAFETY: no preconditions.
    check(unsafe { driver.cuCtxSetCurrent(context) })
}

/// The number of the device that the thread works with: that of its current context, else the one
/// that it has chosen.
pub(crate) fn current_device() -> Result<i32> {
    let (driver, _) = initialized()?;
    let mut device = CUdevice::default();
    // SAFETY: the output is a local.
    match unsafe { driver.cuCtxGetDevice(&raw mut device) } {
        CUresult::CUDA_SUCCESS => Ok(device.0),
        _ => Ok(thread::device()),
    }
}

/// Calls a driver function that needs a current context. Only if the driver says that there is
/// none, the thread's primary context is made current and the function called again: a thread that
/// has one pays nothing.
///
/// # Errors
///
/// The driver's, and those of [`ensure_current`].
#[inline]
pub(crate) fn with_context(call: impl Fn(&Driver) -> CUresult) -> Result<()> {
    let driver = driver()?;
    match call(driver) {
        CUresult::CUDA_SUCCESS => Ok(()),
        status @ (CUresult::CUDA_ERROR_NOT_INITIALIZED
        | CUresult::CUDA_ERROR_INVALID_CONTEXT
        | CUresult::CUDA_ERROR_CONTEXT_IS_DESTROYED) => again(driver, status, call),
        other => check(other),
    }
}

#[cold]
fn again(driver: &Driver, status: CUresult, call: impl Fn(&Driver) -> CUresult) -> Result<()> {
    let mut status = status;
    if status == CUresult::CUDA_ERROR_NOT_INITIALIZED {
        initialized()?;
        status = call(driver);
    }
    if status != CUresult::CUDA_SUCCESS && current(driver).is_null() {
        ensure_current()?;
        status = call(driver);
    }
    check(status)
}
