// SPDX-License-Identifier: Apache-2.0
//! Functions of the application that run in a stream's order (`cuda.h`: "Stream Management",
//! "Execution Control").
//!
//! A stream goes on when the function has returned. It runs on a thread of the scheduler, or on one
//! that waits for the stream; either way calls of the driver in it are refused, as CUDA demands.

use core::ffi::c_void;
use std::cell::Cell;

use gvirtus_abi::{CUhostFn, CUresult, CUstream, CUstreamCallback};
use gvirtus_graph::{Host, Payload, capture};

use super::graph::stream_of;
use super::scheduler::{Placement, SCHEDULER};
use super::stream::{self, Target};

/// As `cuda.h` declares `CUhostFn`.
pub(super) type HostFunction = unsafe extern "C" fn(*mut c_void);
/// As `cuda.h` declares `CUstreamCallback`.
type Callback = unsafe extern "C" fn(CUstream, CUresult, *mut c_void);

thread_local! {
    static IS_RUNNING: Cell<bool> = const { Cell::new(false) };
}

/// Whether the calling thread runs a function of the application, which must not call the driver.
pub(super) fn is_running() -> bool {
    IS_RUNNING.get()
}

/// What the application wants to be called.
pub(super) struct HostCall<F> {
    function: F,
    data: *mut c_void,
}

// SAFETY: the application promises that the function may be called with its data on any thread.
unsafe impl<F> Send for HostCall<F> {}
// SAFETY: as above.
unsafe impl<F> Sync for HostCall<F> {}

impl HostCall<HostFunction> {
    /// # Errors
    ///
    /// `CUDA_ERROR_INVALID_VALUE` if there is no function.
    ///
    /// # Safety
    ///
    /// The function is a `CUhostFn` that may be called with `data` whenever [`HostCall::run`] is.
    pub(super) unsafe fn new(function: CUhostFn, data: *mut c_void) -> Result<Self, CUresult> {
        let function = function.ok_or(CUresult::CUDA_ERROR_INVALID_VALUE)?;
        // SAFETY: only the type is changed, to the one that the caller promises.
        let function =
            unsafe { core::mem::transmute::<unsafe extern "C" fn(), HostFunction>(function) };
        Ok(Self { function, data })
    }

    /// Calls the function.
    pub(super) fn run(&self) {
        let before = IS_RUNNING.replace(true);
        // SAFETY: the promise made to `new`.
        unsafe { (self.function)(self.data) };
        IS_RUNNING.set(before);
    }
}

impl HostCall<Callback> {
    fn run(&self, stream: CUstream, status: CUresult) {
        let before = IS_RUNNING.replace(true);
        // SAFETY: the contract of `cuStreamAddCallback`, whose arguments these are.
        unsafe { (self.function)(stream, status, self.data) };
        IS_RUNNING.set(before);
    }
}

/// Is not called if the context has failed before, as `cuda.h` says.
pub(crate) unsafe fn cuLaunchHostFunc(
    default_stream: CUstream,
    hStream: CUstream,
    fn_: CUhostFn,
    userData: *mut c_void,
) -> Result<(), CUresult> {
    let target: Target = stream::capturable(default_stream, hStream)?;
    if capture::is_possible() {
        let node = || Ok(Payload::Host(Host::new(fn_, userData)?));
        if capture::record(&stream_of(&target), node)? {
            return Ok(());
        }
    }
    // SAFETY: the contract of cuda.h.
    let call = unsafe { HostCall::<HostFunction>::new(fn_, userData)? };
    SCHEDULER.submit(target.id(), Placement::Worker, move || {
        call.run();
        Ok(())
    });
    Ok(())
}

/// How the thread that calls waits for its work makes no difference here.
pub(crate) unsafe fn cuLaunchHostFunc_v2(
    default_stream: CUstream,
    hStream: CUstream,
    fn_: CUhostFn,
    userData: *mut c_void,
    syncMode: u32,
) -> Result<(), CUresult> {
    if gvirtus_abi::CUhostTaskSyncMode(syncMode).name().is_none() {
        return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
    }
    // SAFETY: the same contract.
    unsafe { cuLaunchHostFunc(default_stream, hStream, fn_, userData) }
}

/// Is called with the error if the context has failed before.
pub(crate) unsafe fn cuStreamAddCallback(
    default_stream: CUstream,
    hStream: CUstream,
    callback: CUstreamCallback,
    userData: *mut c_void,
    flags: u32,
) -> Result<(), CUresult> {
    let target: Target = stream::target(default_stream, hStream)?;
    let callback = callback.ok_or(CUresult::CUDA_ERROR_INVALID_VALUE)?;
    if flags != 0 {
        return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
    }
    let call = HostCall {
        // SAFETY: only the type is changed, to the one that cuda.h declares.
        function: unsafe { core::mem::transmute::<unsafe extern "C" fn(), Callback>(callback) },
        data: userData,
    };
    SCHEDULER.submit_always(target.id(), move |status| call.run(hStream, status));
    Ok(())
}
