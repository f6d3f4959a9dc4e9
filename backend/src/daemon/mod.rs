// SPDX-License-Identifier: Apache-2.0
//! The daemon: accepts clients and gives each a worker process.
//!
//! The daemon opens no driver and executes no command, so no client and no driver can take it down:
//! it reads a client's hello, hands the connection to a worker, and waits for the worker's end. It
//! tells itself what it knows of the sessions ([`status`]).
//! Everything runs on the main thread, because a worker dies with the thread that started it.

mod admission;
mod figures;
mod handshake;
mod serve;
mod status;
mod workers;

use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use gvirtus_transport::{Endpoint, Listener};
use tokio::signal::unix::{Signal, SignalKind, signal};

pub use admission::TicketOptions;
pub use workers::WorkerCommand;

use crate::driver::DriverChoice;
use serve::{Door, Service};
use workers::Workers;

/// What a daemon is told on its command line.
#[derive(Debug)]
pub struct DaemonOptions {
    /// Where to listen; TCP port 0 lets the operating system choose.
    pub listen: Vec<Endpoint>,
    /// Where to tell of the sessions only, without a ticket: addresses of this machine.
    pub status_listen: Vec<Endpoint>,
    /// Whether anybody who reaches the machine may use its devices.
    pub insecure: bool,
    /// Whose tickets clients have to show; none where whoever reaches the daemon may use it.
    pub tickets: Option<TicketOptions>,
    /// What to execute commands on.
    pub driver: DriverChoice,
    /// Most sessions at the same time.
    pub sessions_max: usize,
    /// How long sessions may go on after the daemon was asked to end.
    pub drain_timeout: Duration,
    /// How a worker is started.
    pub worker: WorkerCommand,
    /// Whether this daemon is for one program that is about to start.
    pub private: bool,
}

/// Why a daemon does not start.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// Somebody else has the address, or may not have it.
    #[error("cannot listen on {endpoint}: {source}")]
    Bind {
        /// Where.
        endpoint: Endpoint,
        /// The operating system's reason.
        source: io::Error,
    },
    /// No driver starts.
    #[error("{0}")]
    Driver(String),
    /// Nobody asked for this to be open.
    #[error(
        "{0} can be reached from other machines, and anybody there could use the devices of this one, \
         or read along; listen on a loopback address or a Unix socket, or add --insecure if the \
         network is trusted"
    )]
    Insecure(Endpoint),
    /// The operating system's.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Serves clients until a signal ends it. Writes a line `listening on <endpoint>` for each endpoint
/// to standard output as soon as clients can come, and nothing else.
///
/// # Errors
///
/// If it cannot start.
pub fn run(options: DaemonOptions) -> Result<(), DaemonError> {
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve_until_signal(options))
}

async fn serve_until_signal(options: DaemonOptions) -> Result<(), DaemonError> {
    let mut signals = Signals::new()?;
    let listeners = bind(&options.listen, options.insecure)?;
    let status_listeners = bind(&options.status_listen, false)?;
    let endpoints = listeners
        .iter()
        .map(Listener::endpoint)
        .collect::<Result<Vec<_>, _>>()?;
    let start = Workers::start(&options.driver, options.worker.clone(), options.private);
    let workers = tokio::select! {
        workers = start => workers.map_err(DaemonError::Driver)?,
        () = signals.next() => return Ok(()),
    };
    let service = Arc::new(Service::new(workers, options.tickets, options.sessions_max));
    let looking = Arc::clone(&service);
    tokio::spawn(async move { looking.look().await });
    let clients = listeners.into_iter().map(|one| (one, Door::Clients));
    let watchers = status_listeners.into_iter().map(|one| (one, Door::Status));
    let accepting = clients
        .chain(watchers)
        .map(|(listener, door)| service.accept(listener, door))
        .collect::<Result<Vec<_>, _>>()?;
    tell_ready(&endpoints)?;

    signals.next().await;
    // Dropping a listener closes it, and removes the file of a Unix socket.
    for task in accepting {
        task.abort();
        let _ = task.await;
    }
    service.retire();
    let sessions = service.sessions();
    if sessions > 0 {
        let timeout_s = options.drain_timeout.as_secs();
        tracing::info!(sessions, timeout_s, "ending; waiting for sessions");
    }
    tokio::select! {
        () = service.idle() => {}
        () = tokio::time::sleep(options.drain_timeout) => {
            let sessions = service.sessions();
            tracing::warn!(sessions, "ending sessions that do not end by themselves");
        }
        () = signals.next() => tracing::warn!("ending at once"),
    }
    Ok(())
}

fn bind(endpoints: &[Endpoint], is_open: bool) -> Result<Vec<Listener>, DaemonError> {
    endpoints
        .iter()
        .map(|endpoint| {
            let failed = |source| DaemonError::Bind {
                endpoint: endpoint.clone(),
                source,
            };
            let listener = Listener::bind(endpoint).map_err(failed)?;
            let bound = listener.endpoint()?;
            if !bound.is_local() && !is_open {
                return Err(DaemonError::Insecure(endpoint.clone()));
            }
            Ok(listener)
        })
        .collect()
}

/// For people and scripts, whatever the log shows.
fn tell_ready(endpoints: &[Endpoint]) -> io::Result<()> {
    let lines: String = endpoints
        .iter()
        .map(|endpoint| format!("listening on {endpoint}\n"))
        .collect();
    io::stdout().write_all(lines.as_bytes())
}

/// Every session takes a few descriptors, and the usual limit of 1024 is for older programs.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%error, "cannot raise the limit of open files");
    }
}

struct Signals {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.hangup.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
