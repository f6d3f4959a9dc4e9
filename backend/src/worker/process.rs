// SPDX-License-Identifier: Apache-2.0
//! The worker as a process: from its start to its end, which may come at any time.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use gvirtus_protocol::handshake::{Answer, Welcome};
use gvirtus_protocol::limits::STATUS_INTERVAL;
use gvirtus_protocol::snapshot::Snapshot;
use gvirtus_transport::{Stream, from_descriptor, write_all_vectored};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Resource, Rlimit, Signal};

use super::console::Console;
use super::error::SessionError;
use super::reporter::Reporter;
use super::usage::Usage;
use super::{session, snapshot};
use crate::control::WorkerControl;
use crate::driver::{Candidate, Driver};
use crate::management::{ManagementEnd, Nvml, Share, report_figures};
use crate::quota::Allowance;

/// What a worker is told on its command line.
#[derive(Clone, Debug)]
pub struct WorkerOptions {
    /// What to execute commands on.
    pub driver: Candidate,
    /// The daemon's process id.
    pub parent: u32,
    /// What it does.
    pub service: Service,
    /// Of NVML, only these devices; empty means all.
    pub devices: Vec<String>,
}

/// What a worker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// CUDA for a client.
    Cuda,
    /// NVML for a client.
    Management,
    /// Tells the daemon what devices do.
    Figures,
}

/// A worker before it can log: standard output and error belong to kernels from now on.
#[derive(Debug)]
pub struct Prepared {
    control: WorkerControl,
    console: Console,
    options: WorkerOptions,
}

/// Makes this process a worker; also returns where its log goes.
///
/// # Errors
///
/// The operating system's, and that the daemon is gone.
pub fn prepare(options: WorkerOptions) -> io::Result<(Prepared, File)> {
    let no_core = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    rustix::process::setrlimit(Resource::Core, no_core)?;
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // A daemon that died before that is not noticed by it.
    let parent = rustix::process::getppid().map(Pid::as_raw_pid);
    if parent.map(i32::cast_unsigned) != Some(options.parent) {
        return Err(io::Error::other("the daemon is gone"));
    }
    rustix::thread::set_name(c"gvirtus-worker")?;
    let control = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    let (console, log) = Console::capture()?;
    let prepared = Prepared {
        control: WorkerControl::new(UnixStream::from(control)),
        console,
        options,
    };
    Ok((prepared, File::from(log)))
}

/// Starts the driver, waits for a client, serves it, and ends the process.
pub fn run(prepared: Prepared) -> ! {
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!(%panic, "the worker fails");
        exit(101);
    }));
    let ended = match prepared.options.service {
        Service::Cuda => session(prepared).map_err(|error| error.to_string()),
        Service::Management => manage(prepared).map_err(|error| error.to_string()),
        Service::Figures => figures(&prepared).map_err(|error| error.to_string()),
    };
    match ended {
        Ok(()) => exit(0),
        Err(error) => {
            tracing::warn!(error, "the session ends");
            exit(1);
        }
    }
}

/// Ends the process at once, whatever its other threads and the device are doing. Destructors of a
/// driver may wait for the device; the kernel frees all that is the process's anyway.
fn exit(code: i32) -> ! {
    // SAFETY: nothing is promised to anybody who could still want to run.
    unsafe { libc::_exit(code) }
}

fn session(prepared: Prepared) -> Result<(), SessionError> {
    let (driver, snapshot) = match start(&prepared.options.driver) {
        Ok(started) => started,
        Err(reason) => {
            prepared.control.report(Err(&reason))?;
            return Ok(());
        }
    };
    prepared.control.report(Ok(&snapshot))?;
    let Some(received) = prepared.control.receive()? else {
        return Ok(());
    };
    let (session_id, descriptor, allowance) =
        (received.session, received.client, received.allowance);
    let usage = Arc::<Usage>::default();
    let reporter = Arc::new(Reporter::new(prepared.control, Arc::clone(&usage)));
    let _span = tracing::info_span!("session", id = session_id).entered();
    let watched = descriptor.try_clone()?;
    let watcher = Arc::clone(&reporter);
    std::thread::Builder::new()
        .name("gvirtus-monitor".into())
        .spawn(move || watch(watched.as_fd(), Some(&watcher)))?;
    let stream = from_descriptor(descriptor)?;
    welcome(&*stream, session_id, limited(snapshot, allowance.as_ref()))?;
    let result = session::serve(driver, stream, Some(prepared.console), &usage, allowance);
    reporter.report();
    result
}

/// Serves NVML. That there is none is something that the client learns, not the daemon.
fn manage(prepared: Prepared) -> Result<(), ManagementEnd> {
    let nvml = Nvml::open(&prepared.options.driver);
    prepared.control.report(Ok(&Snapshot::default()))?;
    let Some(received) = prepared.control.receive()? else {
        return Ok(());
    };
    let (session_id, descriptor) = (received.session, received.client);
    let share = Share {
        devices: prepared.options.devices,
        allowance: received.allowance,
    };
    let _span = tracing::info_span!("session", id = session_id).entered();
    let nvml = nvml
        .map_err(|error| tracing::info!(%error, "NVML is not answered"))
        .ok();
    let watched = descriptor.try_clone()?;
    std::thread::Builder::new()
        .name("gvirtus-monitor".into())
        .spawn(move || watch(watched.as_fd(), None))?;
    let stream = from_descriptor(descriptor)?;
    welcome(&*stream, session_id, Snapshot::default())?;
    crate::management::serve(nvml, prepared.control, share, stream)
}

/// Tells the daemon what devices do until it is not interested any more.
fn figures(prepared: &Prepared) -> io::Result<()> {
    match Nvml::open(&prepared.options.driver) {
        Ok(nvml) => {
            prepared.control.report(Ok(&Snapshot::default()))?;
            report_figures(&nvml, &prepared.options.devices, &prepared.control)
        }
        Err(error) => prepared.control.report(Err(&error.to_string())),
    }
}

fn start(candidate: &Candidate) -> Result<(&'static Driver, Snapshot), String> {
    let driver = candidate.load().map_err(|error| error.to_string())?;
    // The process ends with the session.
    let driver: &'static Driver = Box::leak(Box::new(driver));
    driver
        .initialize()
        .and_then(|()| snapshot::take(driver))
        .map(|snapshot| (driver, snapshot))
        .map_err(|error| error.to_string())
}

/// Devices as a session may use them.
fn limited(mut snapshot: Snapshot, allowance: Option<&Allowance>) -> Snapshot {
    if let Some(allowance) = allowance {
        for device in &mut snapshot.devices {
            let bytes = &mut device.total_memory_bytes;
            *bytes = allowance.limit_bytes().min(*bytes);
        }
    }
    snapshot
}

fn welcome(stream: &dyn Stream, session_id: u64, snapshot: Snapshot) -> io::Result<()> {
    let welcome = Welcome {
        session_id,
        snapshot,
    };
    let message = Answer::Welcome(welcome).encode();
    write_all_vectored(stream, &mut [io::IoSlice::new(&message)])
}

/// Ends the process when its client is gone: the executor may be busy for long, and the device's
/// memory is wanted back. Meanwhile tells the daemon what the session does, if it has a reporter.
fn watch(client: BorrowedFd<'_>, reporter: Option<&Reporter>) {
    let interval = Timespec {
        tv_sec: STATUS_INTERVAL.as_secs() as i64,
        tv_nsec: STATUS_INTERVAL.subsec_nanos().into(),
    };
    loop {
        let gone = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
        let mut descriptors = [PollFd::from_borrowed_fd(client, PollFlags::RDHUP)];
        let polled = poll(&mut descriptors, reporter.map(|_| &interval));
        if let Some(reporter) = reporter {
            reporter.report();
        }
        match polled {
            Ok(_) if descriptors[0].revents().intersects(gone) => exit(0),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                tracing::error!(%error, "cannot watch the connection");
                exit(1);
            }
        }
    }
}
