// SPDX-License-Identifier: Apache-2.0
//! `gvirtus serve` and the worker processes behind it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use gvirtus_backend::daemon::{self, DaemonOptions, TicketOptions, WorkerCommand};
use gvirtus_backend::driver::{Candidate, DriverChoice};
use gvirtus_backend::limits::{DRAIN_TIMEOUT_DEFAULT, SESSIONS_DEFAULT};
use gvirtus_backend::worker::{self, Service, WorkerOptions};
use gvirtus_transport::Endpoint;
use rustix::process::{Signal, getppid, set_parent_process_death_signal};

use crate::log::{self, Format};

/// Offers this machine's devices to other processes and machines.
///
/// Each client gets a process of its own on the driver, which ends with it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gvirtus serve --listen unix:///run/gvirtus.sock
  gvirtus serve --listen tcp://127.0.0.1:9999 --listen unix:///run/gvirtus.sock --driver softgpu
  gvirtus serve --listen tcp://0.0.0.0:9999 --insecure     # a network where everybody is trusted

Prints `listening on URL` for each endpoint when clients can come. SIGTERM and Ctrl-C end it as soon
as its sessions have ended, a second signal at once. GVIRTUS_LOG=error|warn|info|debug|trace sets what is logged.")]
pub(crate) struct ServeArgs {
    /// Where to listen: tcp://host:port (port 0: any free one) or unix:///path; may be repeated
    #[arg(long, required = true, value_name = "URL", value_parser = listen_endpoint)]
    listen: Vec<Endpoint>,

    /// Where to tell of the sessions, and nothing else, to whoever asks without a ticket: a
    /// loopback address or a Unix socket; may be repeated
    #[arg(long, value_name = "URL")]
    status_listen: Vec<Endpoint>,

    /// What to execute calls on: auto (NVIDIA's driver where it has a device, else softgpu),
    /// softgpu, or the path of a libcuda.so.1
    #[arg(long, default_value = "auto", value_name = "DRIVER")]
    driver: DriverChoice,

    /// Listens on addresses that other machines reach, although nothing is encrypted and, without
    /// --ticket-keys, nobody is asked who he is
    #[arg(long)]
    insecure: bool,

    /// Takes only clients with a ticket that one of these brokers has signed: a file with a public
    /// key a line, read again for each client
    #[arg(long, value_name = "FILE", requires = "backend_id")]
    ticket_keys: Option<PathBuf>,

    /// What tickets call this backend
    #[arg(long, value_name = "NAME", requires = "ticket_keys")]
    backend_id: Option<String>,

    /// Most clients at the same time
    #[arg(long, default_value_t = SESSIONS_DEFAULT, value_name = "N", value_parser = at_least_one)]
    max_sessions: usize,

    /// How long clients may go on after this was asked to end
    #[arg(long, default_value_t = DRAIN_TIMEOUT_DEFAULT.as_secs(), value_name = "SECONDS")]
    drain_timeout_s: u64,

    /// How the log on standard error is written
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    log_format: Format,

    /// Ends, without waiting for clients, when the process that started this ends
    #[arg(long, hide = true)]
    exit_with_parent: bool,

    /// Removes this folder at the end: the parent may be killed before it can
    #[arg(long, hide = true, requires = "exit_with_parent")]
    remove_folder: Option<PathBuf>,
}

/// Executes one client's calls; started by `gvirtus serve`, with a socket as standard input.
#[derive(Debug, Args)]
pub(crate) struct WorkerArgs {
    #[arg(long)]
    driver: PathBuf,
    #[arg(long)]
    parent: u32,
    /// Answers NVML instead of CUDA
    #[arg(long)]
    management: bool,
    /// Tells the daemon what devices do
    #[arg(long, conflicts_with = "management")]
    figures: bool,
    /// Looks only at these devices in NVML
    #[arg(long, value_delimiter = ',')]
    devices: Vec<String>,
    #[arg(long, value_enum, default_value_t)]
    log_format: Format,
}

impl ServeArgs {
    /// Serves until a signal.
    pub(crate) fn run(self) -> Result<ExitCode> {
        if self.exit_with_parent {
            exit_with_parent()?;
        }
        log::init(self.log_format, std::io::stderr);
        let drain_timeout = if self.exit_with_parent {
            Duration::ZERO
        } else {
            Duration::from_secs(self.drain_timeout_s)
        };
        let worker = WorkerCommand {
            // Not the path: the file may be replaced by a newer one while this runs.
            program: "/proc/self/exe".into(),
            name: "gvirtus".into(),
            arguments: vec![
                "worker".into(),
                "--log-format".into(),
                self.log_format.name().into(),
            ],
        };
        let result = daemon::run(DaemonOptions {
            listen: self.listen,
            status_listen: self.status_listen,
            insecure: self.insecure,
            tickets: (self.ticket_keys.zip(self.backend_id))
                .map(|(keys, backend_id)| TicketOptions { keys, backend_id }),
            driver: self.driver,
            sessions_max: self.max_sessions,
            drain_timeout,
            worker,
            private: self.exit_with_parent,
        });
        if let Some(folder) = self.remove_folder {
            // The parent may have been faster.
            let _ = std::fs::remove_dir_all(folder);
        }
        result?;
        Ok(ExitCode::SUCCESS)
    }
}

impl WorkerArgs {
    /// Serves one client; never returns once it has begun.
    pub(crate) fn run(self) -> Result<ExitCode> {
        let service = match (self.management, self.figures) {
            (true, _) => Service::Management,
            (false, true) => Service::Figures,
            (false, false) => Service::Cuda,
        };
        let options = WorkerOptions {
            driver: Candidate::from_argument(&self.driver),
            parent: self.parent,
            service,
            devices: self.devices,
        };
        let (prepared, output) = worker::prepare(options).context("cannot become a worker")?;
        log::init(self.log_format, output);
        worker::run(prepared)
    }
}

fn exit_with_parent() -> Result<()> {
    let before = getppid();
    set_parent_process_death_signal(Some(Signal::TERM))?;
    // A parent that has died in between is not noticed otherwise.
    if before.is_none() || getppid() != before {
        bail!("the process that started this has ended");
    }
    Ok(())
}

/// An endpoint, of which the port may also be 0.
fn listen_endpoint(text: &str) -> Result<Endpoint> {
    if let Some(address) = text.strip_suffix(":0")
        && let Ok(Endpoint::Tcp { host, .. }) = address.parse()
    {
        return Ok(Endpoint::Tcp { host, port: 0 });
    }
    Ok(text.parse()?)
}

fn at_least_one(text: &str) -> Result<usize> {
    match text.parse()? {
        0 => bail!("at least one session is needed"),
        count => Ok(count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listening_endpoints_may_leave_the_port_open() {
        for (text, shown) in [
            ("tcp://127.0.0.1:0", "tcp://127.0.0.1:0"),
            ("tcp://[::1]:0", "tcp://[::1]:0"),
            ("tcp://localhost", "tcp://localhost:9999"),
            ("unix:///a:0", "unix:///a:0"),
        ] {
            assert_eq!(listen_endpoint(text).expect(text).to_string(), shown);
        }
        for text in ["tcp://:0", "0", ":0", "tcp://a:b:0", "http://a:0"] {
            assert!(listen_endpoint(text).is_err(), "{text}");
        }
    }
}
