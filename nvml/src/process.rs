// SPDX-License-Identifier: Apache-2.0
//! What belongs to the process: how often NVML was initialised, and the connection.
//!
//! **Fork.** A child may use what its parent has initialised, as with NVIDIA's library: it has the
//! same count, and a connection of its own from its first call on. The parent's is not touched; the
//! child's copy of the socket is closed at the fork, else the worker would outlive the parent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU32, Ordering};

use gvirtus_driver_face::log;
use gvirtus_frontend::{ConfigError, Environment, OpenError, open};
use gvirtus_nvml_abi::Status;
use gvirtus_nvml_abi::table::number;
use gvirtus_protocol::handshake::Purpose;
use gvirtus_protocol::management::Input;
use parking_lot::Mutex;

use crate::connection::Connection;

/// One process; never freed, because a forked child finds its parent's.
struct Process {
    pid: u32,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Initialisations without their shutdown.
    count: u32,
    connection: Option<Arc<Connection>>,
}

static PROCESS: AtomicPtr<Process> = AtomicPtr::new(std::ptr::null_mut());
/// The count, for a child: the lock may be held by a thread that it does not have.
static COUNT: AtomicU32 = AtomicU32::new(0);
/// The connection's socket, or -1.
static SOCKET: AtomicI32 = AtomicI32::new(-1);
/// Whether forks are noticed.
static HANDLES_FORK: AtomicBool = AtomicBool::new(false);

fn process() -> &'static Process {
    let pid = std::process::id();
    loop {
        let found = PROCESS.load(Ordering::Acquire);
        // SAFETY: null, or one that is never freed.
        let known = unsafe { found.as_ref() };
        if let Some(process) = known.filter(|process| process.pid == pid) {
            return process;
        }
        let count = if found.is_null() {
            0
        } else {
            COUNT.load(Ordering::Acquire)
        };
        let state = State {
            count,
            connection: None,
        };
        let new = Box::into_raw(Box::new(Process {
            pid,
            state: Mutex::new(state),
        }));
        let set = PROCESS.compare_exchange(found, new, Ordering::AcqRel, Ordering::Acquire);
        if set.is_err() {
            // SAFETY: made above, and nobody else has seen it.
            drop(unsafe { Box::from_raw(new) });
        }
    }
}

/// `nvmlInitWithFlags`.
pub(crate) fn initialize(flags: u32) -> Result<(), Status> {
    let mut state = process().state.lock();
    if state.connection.as_ref().is_none_or(|c| c.is_lost()) {
        // One that is lost is of no use to those who use it now either.
        state.connection = Some(connect(flags)?);
    }
    state.count += 1;
    COUNT.store(state.count, Ordering::Release);
    Ok(())
}

/// `nvmlShutdown`.
pub(crate) fn shut_down() -> Result<(), Status> {
    let mut state = process().state.lock();
    state.count = state.count.checked_sub(1).ok_or(Status::UNINITIALIZED)?;
    COUNT.store(state.count, Ordering::Release);
    if state.count == 0
        && let Some(connection) = state.connection.take()
    {
        SOCKET.store(-1, Ordering::Release);
        connection.close();
    }
    Ok(())
}

/// The connection of a process that has initialised NVML.
pub(crate) fn connection() -> Result<Arc<Connection>, Status> {
    let mut state = process().state.lock();
    if state.count == 0 {
        return Err(Status::UNINITIALIZED);
    }
    if state.connection.is_none() {
        // The child of a fork.
        state.connection = Some(connect(0)?);
    }
    state.connection.clone().ok_or(Status::UNINITIALIZED)
}

fn connect(flags: u32) -> Result<Arc<Connection>, Status> {
    let opened = open(&Environment::read(), Purpose::Management).map_err(|error| {
        // Programs ask for NVML to see whether there is a device: that is no news for the user.
        log!(Error, "NVML: {error}");
        match error {
            OpenError::Config(ConfigError::Unset) => Status::LIBRARY_NOT_FOUND,
            _ => Status::DRIVER_NOT_LOADED,
        }
    })?;
    log!(
        Info,
        "NVML: session {} with {}",
        opened.welcome.session_id,
        opened.endpoint
    );
    let connection = Connection::new(opened.stream);
    let start = number("nvmlInitWithFlags").ok_or(Status::UNKNOWN)?;
    let reply = connection.call(start, vec![Input::Word(flags.into())])?;
    match Status(reply.status) {
        Status::SUCCESS => {}
        failed => return Err(failed),
    }
    if !HANDLES_FORK.swap(true, Ordering::Relaxed) {
        // SAFETY: the handler does only what is allowed between a fork and an exec.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    }
    SOCKET.store(connection.descriptor(), Ordering::Release);
    Ok(Arc::new(connection))
}

/// Runs in every forked child before `fork` returns, with no other thread and no lock to be had.
extern "C" fn in_child() {
    let socket = SOCKET.swap(-1, Ordering::AcqRel);
    if socket >= 0 {
        // SAFETY: the child's own copy, which nothing uses: the parent's connection is never looked
        // at again.
        unsafe { libc::close(socket) };
    }
}
