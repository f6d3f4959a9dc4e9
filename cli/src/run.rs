// SPDX-License-Identifier: Apache-2.0
//! `gvirtus run`: any CUDA program, on a GPU that is somewhere else.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;
use rustix::process::{Pid, Resource, Rlimit, Signal, getpgrp, kill_process, setrlimit};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

use crate::installation::{client_library_folder, runtime_folder};
use crate::private_backend::PrivateBackend;

/// What a shell answers when a program is not found, or cannot be executed.
const NOT_FOUND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;

/// Runs a CUDA program on a GPU that is somewhere else.
///
/// The program needs no change: its CUDA calls go to the backend at the endpoint. Without an
/// endpoint, a private backend is started for the program: on this machine's GPU where NVIDIA's
/// driver is present, else on a software device, and ended with it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gvirtus run -- ./vector_add
  gvirtus run --endpoint tcp://gpu-1:9999 -- python3 train.py --epochs 3
  GVIRTUS_ENDPOINT=unix:///run/gvirtus.sock gvirtus run -- ./a.out < input > output

The exit code is the program's; a program that a signal ends, ends this command by the same signal.")]
pub(crate) struct RunArgs {
    /// Where the backend listens: tcp://host:port or unix:///path
    #[arg(long, env = "GVIRTUS_ENDPOINT", value_name = "URL")]
    endpoint: Option<String>,

    /// The private backend's driver: auto, softgpu, or the path of a libcuda.so.1
    #[arg(long, default_value = "auto", value_name = "DRIVER")]
    driver: String,

    /// Give the program GVirtuS's libcudart too, for one that needs a shared libcudart where
    /// NVIDIA's is absent
    #[arg(long)]
    cudart: bool,

    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "PROGRAM")]
    command: Vec<OsString>,
}

impl RunArgs {
    /// Runs the program; answers with its exit code.
    pub(crate) fn run(self) -> Result<ExitCode> {
        let scratch = tempfile::Builder::new()
            .prefix("gvirtus-")
            .tempdir()
            .context("cannot make a temporary folder")?;
        let endpoint = self.endpoint.as_deref().filter(|url| !url.is_empty());
        if let Some(url) = endpoint {
            gvirtus_transport::parse_list(url)?;
        }
        let backend = match endpoint {
            Some(_) => None,
            None => Some(PrivateBackend::start(scratch.path(), &self.driver)?),
        };
        let endpoint = match &backend {
            Some(backend) => backend.endpoint().to_string(),
            None => endpoint.unwrap_or_default().to_owned(),
        };
        let mut folders = vec![client_library_folder(scratch.path())?];
        if self.cudart {
            folders.push(runtime_folder()?);
        }
        let library_path = library_path(&folders);
        let mut command = Command::new(&self.command[0]);
        command
            .args(&self.command[1..])
            .env("LD_LIBRARY_PATH", library_path)
            .env("GVIRTUS_ENDPOINT", endpoint);

        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let status = match runtime.block_on(supervise(command)) {
            Ok(status) => status,
            Err(error) => return Ok(report_start(&self.command[0], &error)),
        };
        drop(backend);
        drop(scratch);
        match status.signal() {
            Some(number) => die_by(number),
            None => Ok(ExitCode::from(
                u8::try_from(status.code().unwrap_or(1)).unwrap_or(1),
            )),
        }
    }
}

fn library_path(folders: &[PathBuf]) -> OsString {
    let mut path = OsString::new();
    for folder in folders {
        if !path.is_empty() {
            path.push(":");
        }
        path.push(folder);
    }
    if let Some(rest) = std::env::var_os("LD_LIBRARY_PATH").filter(|rest| !rest.is_empty()) {
        path.push(":");
        path.push(rest);
    }
    path
}

#[allow(clippy::print_stderr, reason = "this is what the user asked")]
fn report_start(program: &OsString, error: &anyhow::Error) -> ExitCode {
    eprintln!(
        "gvirtus: cannot run {}: {error:#}",
        Path::new(program).display()
    );
    let not_found = error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|e| e.kind() == std::io::ErrorKind::NotFound);
    ExitCode::from(if not_found { NOT_FOUND } else { NOT_EXECUTABLE })
}

/// Runs the program to its end and passes on the signals that are meant for it.
async fn supervise(mut command: Command) -> Result<std::process::ExitStatus> {
    // Listened to before the program starts, so that none is lost.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut quit = signal(SignalKind::quit())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut user1 = signal(SignalKind::user_defined1())?;
    let mut user2 = signal(SignalKind::user_defined2())?;
    let mut child = command.spawn()?;
    let pid = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw);
    loop {
        let signal = tokio::select! {
            status = child.wait() => return Ok(status?),
            _ = interrupt.recv() => Signal::INT,
            _ = quit.recv() => Signal::QUIT,
            _ = terminate.recv() => Signal::TERM,
            _ = hangup.recv() => Signal::HUP,
            _ = user1.recv() => Signal::USR1,
            _ = user2.recv() => Signal::USR2,
        };
        // The terminal has sent these to the whole foreground group, the program included.
        let sent_already = matches!(signal, Signal::INT | Signal::QUIT) && in_foreground();
        if let Some(pid) = pid.filter(|_| !sent_already) {
            // An error means that it has ended: then `wait` returns next.
            let _ = kill_process(pid, signal);
        }
    }
}

fn in_foreground() -> bool {
    let terminal = std::fs::File::open("/dev/tty");
    terminal.is_ok_and(|tty| rustix::termios::tcgetpgrp(tty).is_ok_and(|group| group == getpgrp()))
}

/// Ends this process as the program ended.
fn die_by(number: i32) -> Result<ExitCode> {
    // The program has written its core already, if it was to.
    setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    )?;
    // SAFETY: the default action replaces a handler that nobody needs any more; no memory is
    // shared.
    unsafe { libc::signal(number, libc::SIG_DFL) };
    // SAFETY: raising a signal has no preconditions.
    unsafe { libc::raise(number) };
    // Only a signal that does not end a process comes here.
    Ok(ExitCode::from(
        u8::try_from(128 + number).unwrap_or(u8::MAX),
    ))
}
