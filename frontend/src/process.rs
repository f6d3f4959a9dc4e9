// SPDX-License-Identifier: Apache-2.0
//! What belongs to the process: one frontend, made at the first call.
//!
//! **Fork.** A forked child must not use its parent's session: both would write to one connection,
//! and the locks may be held by threads that the child does not have. So the child starts afresh,
//! as a process that never called. It finds out by a page that the operating system wipes on fork,
//! which costs a load and no system call; where the system cannot, the process id is compared.
//! A child that never calls must not keep its parent's session alive either, so its copy of the
//! socket is closed at the fork.
//!
//! Nothing here is ever freed: threads may use it until the process ends.

use std::os::fd::AsRawFd as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use gvirtus_abi::CUresult;
use gvirtus_driver_face::log;
use gvirtus_protocol::handshake::Purpose;
use parking_lot::Mutex;

use crate::config::{ConfigError, Environment};
use crate::connect::{OpenError, open};
use crate::limits::RECONNECT_PAUSE;
use crate::session::Session;
use crate::statistics;

/// What a process has before and after it connects.
pub(crate) struct Frontend {
    /// Differs between a process and its forked children.
    pub(crate) epoch: u64,
    pid: libc::pid_t,
    /// Whether `cuInit` succeeded.
    initialized: AtomicBool,
    session: OnceLock<Session>,
    connecting: Mutex<Option<Failed>>,
    /// The connection's socket, to be recognised by a child.
    socket: OnceLock<Socket>,
}

/// The last attempt to connect.
#[derive(Clone, Copy)]
struct Failed {
    at: Instant,
    status: CUresult,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Socket {
    descriptor: i32,
    inode: (libc::dev_t, libc::ino_t),
}

const ABSENT: u32 = 0;
const READY: u32 = 1;
const STARTING: u32 = 2;

static FRONTEND: AtomicPtr<Frontend> = AtomicPtr::new(std::ptr::null_mut());
/// The word in the page that is wiped on fork.
static MARK: AtomicPtr<AtomicU32> = AtomicPtr::new(std::ptr::null_mut());
/// Whether the page is not wiped on fork.
static COMPARE_PIDS: AtomicBool = AtomicBool::new(false);
/// Whether forks are noticed at once.
static HANDLES_FORK: AtomicBool = AtomicBool::new(false);
static EPOCHS: AtomicU64 = AtomicU64::new(1);

/// This process's frontend.
#[inline]
pub(crate) fn frontend() -> &'static Frontend {
    let mark = MARK.load(Ordering::Acquire);
    // SAFETY: null, or a word that is never freed.
    let is_ready = unsafe { mark.as_ref() }.is_some_and(|m| m.load(Ordering::Acquire) == READY);
    if is_ready {
        // SAFETY: whoever set the mark had stored a frontend that is never freed.
        let frontend = unsafe { &*FRONTEND.load(Ordering::Acquire) };
        if !COMPARE_PIDS.load(Ordering::Relaxed) || frontend.pid == pid() {
            return frontend;
        }
        // SAFETY: as above; only this thread exists in a child that has just noticed.
        unsafe { (*mark).store(ABSENT, Ordering::Release) };
    }
    start()
}

/// The session of a process that has called `cuInit`.
///
/// # Errors
///
/// `CUDA_ERROR_NOT_INITIALIZED`.
#[inline]
pub(crate) fn session() -> Result<&'static Session, CUresult> {
    let frontend = frontend();
    match frontend.session.get() {
        Some(session) if frontend.initialized.load(Ordering::Acquire) => Ok(session),
        _ => Err(CUresult::CUDA_ERROR_NOT_INITIALIZED),
    }
}

/// Whether this process has connected.
pub(crate) fn is_started() -> bool {
    let mark = MARK.load(Ordering::Acquire);
    // SAFETY: null, or a word that is never freed.
    let is_ready = unsafe { mark.as_ref() }.is_some_and(|m| m.load(Ordering::Acquire) == READY);
    is_ready && frontend().session.get().is_some()
}

impl Frontend {
    /// `cuInit`.
    pub(crate) fn initialize(&'static self) -> Result<(), CUresult> {
        let session = self.connect()?;
        // A backend that has no device for the client lets it go at once.
        if session.devices.is_empty() {
            return Err(CUresult::CUDA_ERROR_NO_DEVICE);
        }
        session.wire.faults().check_connection()?;
        crate::api::initialize_graphs();
        self.initialized.store(true, Ordering::Release);
        Ok(())
    }

    /// The session, connecting if there is none yet.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_NO_DEVICE` if no backend is configured, `CUDA_ERROR_DEVICE_UNAVAILABLE` if it
    /// cannot be reached or refuses. The reason is on standard error.
    pub(crate) fn connect(&'static self) -> Result<&'static Session, CUresult> {
        if let Some(session) = self.session.get() {
            return Ok(session);
        }
        let mut last = self.connecting.lock();
        if let Some(session) = self.session.get() {
            return Ok(session);
        }
        // Libraries ask again and again; the user has been told, and a time-out takes long.
        if let Some(failed) = *last
            && failed.at.elapsed() < RECONNECT_PAUSE
        {
            return Err(failed.status);
        }
        let opened = open(&environment(), Purpose::Cuda).map_err(|error| {
            log::write_always(format_args!("{error}"));
            let status = match error {
                OpenError::Config(ConfigError::Unset) => CUresult::CUDA_ERROR_NO_DEVICE,
                _ => CUresult::CUDA_ERROR_DEVICE_UNAVAILABLE,
            };
            let at = Instant::now();
            *last = Some(Failed { at, status });
            status
        })?;
        log!(
            Info,
            "session {} with {}",
            opened.welcome.session_id,
            opened.endpoint
        );
        let session = self
            .session
            .get_or_init(|| Session::new(self.epoch, opened));
        if let Some(socket) = Socket::of(session.wire.descriptor().as_raw_fd()) {
            let _ = self.socket.set(socket);
        }
        Ok(session)
    }
}

#[cold]
fn start() -> &'static Frontend {
    // SAFETY: a word that is never freed.
    let mark = unsafe { &*mark() };
    loop {
        let started = mark.compare_exchange(ABSENT, STARTING, Ordering::AcqRel, Ordering::Acquire);
        match started {
            Ok(_) => break,
            // SAFETY: whoever set the mark had stored a frontend that is never freed.
            Err(READY) => return unsafe { &*FRONTEND.load(Ordering::Acquire) },
            Err(_) => std::thread::yield_now(),
        }
    }
    let parents = FRONTEND.load(Ordering::Acquire);
    // SAFETY: null, or the parent's, which is not freed in the child either.
    if let Some(parents) = unsafe { parents.as_ref() } {
        statistics::reset();
        gvirtus_graph::restart();
        parents.close_inherited();
    }
    let frontend = Box::leak(Box::new(Frontend {
        epoch: EPOCHS.fetch_add(1, Ordering::Relaxed),
        pid: pid(),
        initialized: AtomicBool::new(false),
        session: OnceLock::new(),
        connecting: Mutex::new(None),
        socket: OnceLock::new(),
    }));
    FRONTEND.store(frontend, Ordering::Release);
    // A child has its parent's handler.
    if !HANDLES_FORK.swap(true, Ordering::Relaxed) {
        // SAFETY: the handler does only what is allowed between a fork and an exec. Without it, a
        // child that calls closes the socket itself.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    }
    mark.store(READY, Ordering::Release);
    frontend
}

/// Runs in every forked child before `fork` returns, with no other thread and no lock to be had.
extern "C" fn in_child() {
    let parents = FRONTEND.load(Ordering::Acquire);
    // SAFETY: null, or the parent's, which is never freed.
    if let Some(parents) = unsafe { parents.as_ref() } {
        parents.close_inherited();
    }
}

impl Frontend {
    /// Closes a child's copy of its parent's socket, without a word to the peer: else the worker
    /// would go on after the parent's end for as long as the child lives.
    fn close_inherited(&self) {
        // A child may have closed all descriptors and opened others.
        if let Some(socket) = self.socket.get()
            && Socket::of(socket.descriptor) == Some(*socket)
        {
            // SAFETY: the child's own copy, which nothing uses: the parent's session is never
            // looked at again.
            unsafe { libc::close(socket.descriptor) };
        }
    }
}

impl Socket {
    fn of(descriptor: i32) -> Option<Self> {
        let mut stat = std::mem::MaybeUninit::<libc::stat>::uninit();
        // SAFETY: a place for a stat; a bad descriptor is answered with an error.
        if unsafe { libc::fstat(descriptor, stat.as_mut_ptr()) } != 0 {
            return None;
        }
        // SAFETY: the call succeeded, so it wrote.
        let stat = unsafe { stat.assume_init() };
        Some(Self {
            descriptor,
            inode: (stat.st_dev, stat.st_ino),
        })
    }
}

/// The word that is wiped on fork.
fn mark() -> *mut AtomicU32 {
    const PAGE_BYTES: usize = 4096;
    let known = MARK.load(Ordering::Acquire);
    if !known.is_null() {
        return known;
    }
    // SAFETY: a new private mapping.
    let page = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            PAGE_BYTES,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    let mark: *mut AtomicU32 = if page == libc::MAP_FAILED {
        COMPARE_PIDS.store(true, Ordering::Relaxed);
        Box::leak(Box::new(AtomicU32::new(ABSENT)))
    } else {
        // SAFETY: the mapping made above.
        if unsafe { libc::madvise(page, PAGE_BYTES, libc::MADV_WIPEONFORK) } != 0 {
            COMPARE_PIDS.store(true, Ordering::Relaxed);
        }
        page.cast()
    };
    match MARK.compare_exchange(
        std::ptr::null_mut(),
        mark,
        Ordering::AcqRel,
        Ordering::Acquire,
    ) {
        Ok(_) => mark,
        Err(others) => others,
    }
}

fn pid() -> libc::pid_t {
    // SAFETY: no preconditions.
    unsafe { libc::getpid() }
}

#[cfg(not(test))]
fn environment() -> Environment {
    Environment::read()
}

#[cfg(test)]
fn environment() -> Environment {
    crate::test_utils::environment()
}
