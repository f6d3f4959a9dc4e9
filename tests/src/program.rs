// SPDX-License-Identifier: Apache-2.0
//! Programs with a time limit.

use std::io::{Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::{PROGRAM_LIMIT, product};

/// How a CUDA program reaches a device.
#[derive(Clone, Copy, Debug)]
pub enum Way<'a> {
    /// It loads softgpu itself.
    Straight,
    /// It loads our client library, which connects to this endpoint.
    Remoted(&'a str),
    /// It loads our CUDA runtime, which loads softgpu.
    RuntimeStraight,
    /// It loads our CUDA runtime, which loads our client library, which connects to this endpoint.
    RuntimeRemoted(&'a str),
}

/// How a program ended and what it wrote.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Exit code or signal.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// From before its start to after its end.
    pub elapsed: Duration,
}

impl Finished {
    /// The same, if the program succeeded.
    ///
    /// # Panics
    ///
    /// If it did not.
    #[track_caller]
    pub fn successful(self) -> Self {
        assert!(
            self.status.success(),
            "{}\nstandard output:\n{}\nstandard error:\n{}",
            self.status,
            self.stdout,
            self.stderr
        );
        self
    }
}

/// A command without the variables of this process that would reach GVirtuS or the loader, in a
/// process group of its own.
pub fn prepare(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["GVIRTUS_", "CUDA_", "LD_"]
            .iter()
            .any(|prefix| text.starts_with(prefix))
        {
            command.env_remove(&name);
        }
    }
    command.process_group(0);
    command
}

impl Way<'_> {
    /// A command that runs `program` this way.
    pub fn command(self, program: &Path) -> Command {
        let mut command = prepare(program);
        let product = product();
        let driver = match self {
            Self::Straight | Self::RuntimeStraight => &product.softgpu_folder,
            Self::Remoted(_) | Self::RuntimeRemoted(_) => &product.shim_folder,
        };
        let mut folders = driver.clone().into_os_string();
        if let Self::RuntimeStraight | Self::RuntimeRemoted(_) = self {
            folders.push(":");
            folders.push(&product.runtime_folder);
        }
        command.env("LD_LIBRARY_PATH", folders);
        if let Self::Remoted(endpoint) | Self::RuntimeRemoted(endpoint) = self {
            command.env("GVIRTUS_ENDPOINT", endpoint);
        }
        command
    }
}

/// Starts `command` with all three streams piped.
///
/// # Panics
///
/// If it does not start.
pub fn spawn(command: &mut Command) -> Child {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Runs `command` with nothing to read, for at most [`PROGRAM_LIMIT`].
///
/// # Panics
///
/// If it does not start or end.
pub fn run(command: &mut Command) -> Finished {
    let start = Instant::now();
    finish(spawn(command), b"", start, PROGRAM_LIMIT)
}

/// Gives the process `input` to read and waits for its end.
///
/// # Panics
///
/// If it takes longer than `limit`.
pub fn finish(mut child: Child, input: &[u8], start: Instant, limit: Duration) -> Finished {
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_owned();
    // A program that ends without reading closes the pipe: that is its right.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let stdout = collect(child.stdout.take().expect("piped"));
    let stderr = collect(child.stderr.take().expect("piped"));
    let mut timed_out = false;
    let status = loop {
        if let Some(status) = child.try_wait().expect("it is our child") {
            break status;
        }
        if start.elapsed() > limit && !timed_out {
            timed_out = true;
            kill_group(&child);
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    let elapsed = start.elapsed();
    let [stdout, stderr] = [stdout, stderr].map(|thread| {
        let bytes = thread.join().expect("reading does not panic");
        String::from_utf8_lossy(&bytes).into_owned()
    });
    writer.join().expect("writing does not panic");
    assert!(
        !timed_out,
        "not finished after {} s\nstandard output:\n{stdout}\nstandard error:\n{stderr}",
        limit.as_secs()
    );
    Finished {
        status,
        stdout,
        stderr,
        elapsed,
    }
}

/// Ends a process and all that it started.
pub(crate) fn kill_group(child: &Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // It may have ended by itself.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

fn collect(mut from: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What came before a failure is what there is to show.
        let _ = from.read_to_end(&mut bytes);
        bytes
    })
}
