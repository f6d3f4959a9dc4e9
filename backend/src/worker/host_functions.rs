// SPDX-License-Identifier: Apache-2.0
//! Functions of the client's program that run in a stream's order.
//!
//! The driver calls a function of ours, on a thread of its own. That one asks the client to run its
//! function and waits for the answer, so the stream goes on when the client's function has
//! returned. The answer must be seen while the executor is inside the driver, which may wait for
//! this very stream: [`ahead`](super::ahead) reads it.

use core::ffi::c_void;
use std::collections::BTreeSet;
use std::sync::Arc;

use gvirtus_abi::{CUhostFn, CUresult, CUstream, CUstreamCallback};
use gvirtus_protocol::command::HostFunction;
use parking_lot::{Condvar, Mutex};

use super::error::Failure;
use super::link::Link;
use super::session::Session;
use crate::driver::check;

/// What the client has been asked to run, and has not told the end of.
#[derive(Default)]
pub(super) struct Calls {
    state: Mutex<State>,
    returned: Condvar,
}

#[derive(Default)]
struct State {
    last: u64,
    running: BTreeSet<u64>,
    is_closed: bool,
}

impl Calls {
    /// The client says that a call has returned.
    pub(super) fn finish(&self, call: u64) {
        self.state.lock().running.remove(&call);
        self.returned.notify_all();
    }

    /// Nobody will say any more that something has returned.
    pub(super) fn close(&self) {
        self.state.lock().is_closed = true;
        self.returned.notify_all();
    }

    /// Whether the client has been asked to run something and has not answered.
    pub(super) fn are_running(&self) -> bool {
        !self.state.lock().running.is_empty()
    }

    fn begin(&self) -> u64 {
        let mut state = self.state.lock();
        state.last += 1;
        let call = state.last;
        state.running.insert(call);
        call
    }

    fn wait(&self, call: u64) {
        let mut state = self.state.lock();
        while state.running.contains(&call) && !state.is_closed {
            self.returned.wait(&mut state);
        }
    }
}

/// A function of the client, as the driver holds it.
pub(super) struct Remote {
    link: Arc<Link>,
    /// The client's number for the function.
    function: u64,
}

impl Remote {
    pub(super) const fn new(link: Arc<Link>, function: u64) -> Self {
        Self { link, function }
    }

    /// Has the client run the function, and returns when it is done.
    fn run(&self, status: CUresult) {
        let calls = &self.link.calls;
        let call = calls.begin();
        self.link.notice_call();
        match self.link.call(self.function, call, status) {
            Ok(()) => calls.wait(call),
            Err(error) => tracing::debug!(%error, "cannot ask the client to run a function"),
        }
        calls.finish(call);
    }

    /// For a driver that calls the function once.
    fn once(self) -> *mut c_void {
        Box::into_raw(Box::new(self)).cast()
    }

    #[allow(dead_code, reason = "for host nodes of graphs")]
    /// For a driver that may call the function any number of times until the session ends: a
    /// `CUhostFn` and its data.
    pub(super) fn forever(self) -> (CUhostFn, *mut c_void) {
        let data: &'static Self = Box::leak(Box::new(self));
        (
            host_fn(run_again),
            std::ptr::from_ref(data).cast_mut().cast(),
        )
    }
}

fn host_fn(function: unsafe extern "C" fn(*mut c_void)) -> CUhostFn {
    // SAFETY: the type of all host functions in the tables of the driver; it is called with the
    // right one.
    Some(unsafe {
        core::mem::transmute::<unsafe extern "C" fn(*mut c_void), unsafe extern "C" fn()>(function)
    })
}

/// # Safety
///
/// `data` is from [`Remote::once`], and this is the only call with it.
unsafe extern "C" fn run_once(data: *mut c_void) {
    // SAFETY: the caller's promise.
    let remote = unsafe { Box::from_raw(data.cast::<Remote>()) };
    remote.run(CUresult::CUDA_SUCCESS);
}

/// # Safety
///
/// `data` is from [`Remote::forever`].
unsafe extern "C" fn run_again(data: *mut c_void) {
    // SAFETY: the caller's promise; it is never freed.
    let remote = unsafe { &*data.cast::<Remote>().cast_const() };
    remote.run(CUresult::CUDA_SUCCESS);
}

/// # Safety
///
/// As [`run_once`].
unsafe extern "C" fn run_callback(_: CUstream, status: CUresult, data: *mut c_void) {
    // SAFETY: the caller's promise.
    let remote = unsafe { Box::from_raw(data.cast::<Remote>()) };
    remote.run(status);
}

impl Session {
    /// `cuLaunchHostFunc`.
    pub(super) fn launch_host_function(&mut self, launch: &HostFunction) -> Result<(), Failure> {
        let word = launch.stream.get().into();
        let stream = self.handles.stream(self.driver, word)?;
        let remote = Remote::new(Arc::clone(&self.link), launch.function.get());
        let data = remote.once();
        // SAFETY: the stream belongs to the current context, and the function fits its data.
        let status = unsafe {
            self.driver
                .cuLaunchHostFunc(stream, host_fn(run_once), data)
        };
        keep_unless_refused(status, data)
    }

    /// `cuStreamAddCallback`.
    pub(super) fn add_callback(&mut self, launch: &HostFunction) -> Result<(), Failure> {
        let word = launch.stream.get().into();
        let stream = self.handles.stream(self.driver, word)?;
        let remote = Remote::new(Arc::clone(&self.link), launch.function.get());
        let data = remote.once();
        type Callback = unsafe extern "C" fn(CUstream, CUresult, *mut c_void);
        // SAFETY: the type that `cuda.h` declares, with which it is called.
        let callback: CUstreamCallback = Some(unsafe {
            core::mem::transmute::<Callback, unsafe extern "C" fn()>(run_callback as Callback)
        });
        // SAFETY: the stream belongs to the current context, and the function fits its data.
        let status = unsafe { self.driver.cuStreamAddCallback(stream, callback, data, 0) };
        keep_unless_refused(status, data)
    }
}

/// A driver that refuses a function does not call it.
fn keep_unless_refused(status: CUresult, data: *mut c_void) -> Result<(), Failure> {
    check(status).map_err(|status| {
        // SAFETY: made by `Remote::once`, and nobody else has it.
        drop(unsafe { Box::from_raw(data.cast::<Remote>()) });
        status.into()
    })
}
