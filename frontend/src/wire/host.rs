// SPDX-License-Identifier: Apache-2.0
//! The application's functions that the worker asks for, and the thread that runs them.
//!
//! The worker sends the function's number and the number of the call, and its stream waits until it
//! is told that this call has returned. While a function is due some time, somebody has to read
//! the connection even if no thread waits for a reply: the thread of this file, which takes the
//! lead when nobody else has it (see [`replies`](super::replies)). It starts with the first such
//! function and has all signals blocked. Functions run one after the other; CUDA promises no more.

use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use gvirtus_abi::{CUresult, CUstream};
use gvirtus_driver_face::log;
use gvirtus_protocol::opcode::HOST_FUNCTION_RETURNED;
use parking_lot::Mutex;

use super::flusher::with_signals_blocked;
use super::{Command, Wire};
use crate::api::{Callback, Function};
use crate::limits::HOST_FUNCTIONS_MAX;

thread_local! {
    static IS_RUNNING: Cell<bool> = const { Cell::new(false) };
}

/// Whether the calling thread runs such a function, which must not call the driver.
#[inline]
pub(crate) fn runs_host_function() -> bool {
    IS_RUNNING.get()
}

/// A function with its arguments.
#[derive(Clone, Copy)]
pub(crate) struct Registered {
    call: Call,
    data: *mut c_void,
    /// Whether it is called more than once.
    is_kept: bool,
}

#[derive(Clone, Copy)]
enum Call {
    Function(Function),
    Callback(Callback, CUstream),
}

// SAFETY: the application promises that its functions may be called with their data by any thread.
unsafe impl Send for Registered {}

impl Registered {
    /// A `CUhostFn` that is called once.
    pub(crate) const fn function(function: Function, data: *mut c_void) -> Self {
        Self {
            call: Call::Function(function),
            data,
            is_kept: false,
        }
    }

    #[allow(dead_code, reason = "for host nodes of graphs")]
    /// A `CUhostFn` that may be called any number of times, until it is forgotten.
    pub(crate) const fn kept_function(function: Function, data: *mut c_void) -> Self {
        Self {
            call: Call::Function(function),
            data,
            is_kept: true,
        }
    }

    /// A `CUstreamCallback` that is called once.
    pub(crate) const fn callback(callback: Callback, stream: CUstream, data: *mut c_void) -> Self {
        Self {
            call: Call::Callback(callback, stream),
            data,
            is_kept: false,
        }
    }

    fn run(self, status: CUresult) {
        match self.call {
            // SAFETY: the application's promise: this is the time to call it.
            Call::Function(function) => unsafe { function(self.data) },
            // SAFETY: as above.
            Call::Callback(callback, stream) => unsafe { callback(stream, status, self.data) },
        }
    }
}

/// A call that the worker asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Due {
    /// What [`Wire::register_host_function`] returned.
    pub(crate) function: u64,
    /// Comes back when the function has returned.
    pub(crate) call: u64,
    /// What a callback is told.
    pub(crate) status: CUresult,
}

/// All functions of a session that may still be called.
#[derive(Default)]
pub(crate) struct HostFunctions {
    table: Mutex<Table>,
    has_thread: AtomicBool,
    /// Functions that are called once and have not returned, and functions that are kept.
    unfinished: AtomicUsize,
}

#[derive(Default)]
struct Table {
    last: u64,
    functions: HashMap<u64, Registered>,
}

impl Wire {
    /// Takes a function in, and makes sure that it will be called when the worker asks for it.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_OUT_OF_MEMORY` if there are too many, or no thread.
    pub(crate) fn register_host_function(
        &'static self,
        registered: Registered,
    ) -> Result<u64, CUresult> {
        let host = &self.host_functions;
        let mut table = host.table.lock();
        if table.functions.len() >= HOST_FUNCTIONS_MAX {
            return Err(CUresult::CUDA_ERROR_OUT_OF_MEMORY);
        }
        if !host.has_thread.load(Ordering::Acquire) {
            self.start_host_thread()?;
            host.has_thread.store(true, Ordering::Release);
        }
        table.last += 1;
        let number = table.last;
        table.functions.insert(number, registered);
        drop(table);
        host.unfinished.fetch_add(1, Ordering::AcqRel);
        self.replies.expect_host_functions(true);
        Ok(number)
    }

    /// A function will not be called any more.
    pub(crate) fn forget_host_function(&self, number: u64) {
        if self
            .host_functions
            .table
            .lock()
            .functions
            .remove(&number)
            .is_some()
        {
            self.host_function_ended();
        }
    }

    /// Whether a function of the application may be running, or be called some time.
    pub(crate) fn has_host_functions(&self) -> bool {
        self.host_functions.unfinished.load(Ordering::Acquire) > 0
    }

    fn host_function_ended(&self) {
        let before = self
            .host_functions
            .unfinished
            .fetch_sub(1, Ordering::AcqRel);
        if before == 1 {
            // Another may have come in between; its own call sets the mark again, after this one
            // or before it, so look once more.
            self.replies.expect_host_functions(false);
            if self.has_host_functions() {
                self.replies.expect_host_functions(true);
            }
        }
    }

    fn start_host_thread(&'static self) -> Result<(), CUresult> {
        let started = with_signals_blocked(|| {
            std::thread::Builder::new()
                .name("gvirtus-host".to_owned())
                .spawn(|| self.run_host_functions())
        });
        started.map(drop).map_err(|error| {
            log!(Warn, "no thread for host functions: {error}");
            CUresult::CUDA_ERROR_OUT_OF_MEMORY
        })
    }

    fn run_host_functions(&'static self) {
        loop {
            let (due, failure) = self.replies.next_host_function(&*self.stream, &self.faults);
            if let Some(failure) = failure {
                self.lose(&failure);
            }
            let Some(due) = due else { return };
            let mut table = self.host_functions.table.lock();
            let registered = match table.functions.get(&due.function).copied() {
                Some(registered) if !registered.is_kept => {
                    table.functions.remove(&due.function);
                    Some(registered)
                }
                kept => kept,
            };
            drop(table);
            if let Some(registered) = registered {
                // What fails here is told to the application by its next call.
                let session = crate::process::session();
                let _ = session.as_ref().map(|session| session.after_copy());
                IS_RUNNING.set(true);
                registered.run(due.status);
                IS_RUNNING.set(false);
                let _ = session.map(|session| session.after_host_function());
            }
            let command = Command {
                opcode: HOST_FUNCTION_RETURNED,
                context: 0,
            };
            // A lost connection has been told, and nobody waits for the answer then.
            let _ = self.post(command, |body| {
                body.extend_from_slice(&due.call.to_le_bytes());
            });
            if registered.is_some_and(|registered| !registered.is_kept) {
                self.host_function_ended();
            }
        }
    }
}
