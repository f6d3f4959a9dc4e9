// SPDX-License-Identifier: Apache-2.0
//! The processes of a measurement: backends, bare peers, measuring clients. All end with this one.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::Role;
use super::measure::{Measured, Plan};
use crate::installation;

/// How long one measuring process may take.
const CLIENT_LIMIT: Duration = Duration::from_secs(600);

/// How long it may take to end once it has told its result.
const END_LIMIT: Duration = Duration::from_secs(30);

/// A child that is killed when dropped.
pub(super) struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    /// Waits for the end.
    pub(super) fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait()? {
                return Ok(status);
            }
            ensure!(start.elapsed() < limit, "not finished after {limit:?}");
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

/// Starts `gvirtus serve` on `endpoints` and waits until it listens.
pub(super) fn backend(driver: &str, endpoints: &[String]) -> Result<Running> {
    let mut command = command()?;
    command.args(["serve", "--exit-with-parent", "--driver", driver]);
    for endpoint in endpoints {
        command.args(["--listen", endpoint]);
    }
    if std::env::var_os("GVIRTUS_LOG").is_none() {
        command.env("GVIRTUS_LOG", "error");
    }
    announced(&mut command).with_context(|| format!("the backend with the driver {driver}"))
}

/// Starts the other side of bare connections.
pub(super) fn peer(endpoint: &str) -> Result<Running> {
    announced(role(Role::Peer)?.args(["--endpoint", endpoint])).context("the bare peer")
}

/// Runs a measuring process whose CUDA calls go to `endpoint`; also says how long it took from
/// its start until it told its result.
pub(super) fn measure(plan: &Plan, endpoint: Option<&str>) -> Result<(Measured, Duration)> {
    let mut command = role(Role::Client)?;
    if let Some(endpoint) = endpoint {
        command.env("GVIRTUS_ENDPOINT", endpoint);
    }
    let start = Instant::now();
    let child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut running = Running(child);
    let plan = serde_json::to_vec(plan)?;
    // Dropped at once: the plan ends where the pipe does.
    let mut stdin = running.0.stdin.take().context("piped")?;
    stdin.write_all(&plan)?;
    drop(stdin);
    let stdout = running.0.stdout.take().context("piped")?;
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = BufReader::new(stdout).read_line(&mut line);
        // Nobody waits any more if it took too long.
        let _ = sender.send(read.map(|_| (line, Instant::now())));
    });
    // Not a loop that looks now and then: that would disturb what is measured.
    let told = receiver.recv_timeout(CLIENT_LIMIT);
    let (line, told) = told.context("the measuring process takes too long")??;
    let status = running.wait(END_LIMIT)?;
    ensure!(status.success(), "the measuring process failed: {status}");
    let measured = serde_json::from_str(&line).context("not a measurement")?;
    Ok((measured, told - start))
}

/// A CUDA program that loads `libcuda.so.1` from `folder`, run to its end.
pub(super) fn program(
    program: &Path,
    arguments: &[&str],
    folder: &Path,
    endpoint: Option<&str>,
    working_folder: &Path,
) -> Result<Duration> {
    const LIMIT: Duration = Duration::from_secs(300);
    let mut command = Command::new(program);
    clean(&mut command)
        .args(arguments)
        .env("LD_LIBRARY_PATH", folder)
        .current_dir(working_folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if let Some(endpoint) = endpoint {
        command.env("GVIRTUS_ENDPOINT", endpoint);
    }
    let start = Instant::now();
    let mut running = Running(command.spawn()?);
    let status = running.wait(LIMIT)?;
    let elapsed = start.elapsed();
    ensure!(status.success(), "{}: {status}", program.display());
    Ok(elapsed)
}

fn role(role: Role) -> Result<Command> {
    let mut command = command()?;
    command.args(["bench", "--role", role.name()]);
    Ok(command)
}

/// This program, with nothing in its environment that would lead its calls elsewhere.
fn command() -> Result<Command> {
    let mut command = Command::new(installation::program()?);
    clean(&mut command);
    Ok(command)
}

fn clean(command: &mut Command) -> &mut Command {
    command
        .env_remove("GVIRTUS_ENDPOINT")
        .env_remove("GVIRTUS_STATISTICS")
        .env_remove("LD_LIBRARY_PATH")
}

/// Starts a process that prints a line when it is ready.
fn announced(command: &mut Command) -> Result<Running> {
    let child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut running = Running(child);
    let stdout = running.0.stdout.take().context("piped")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    if line.is_empty() {
        bail!("did not start; its reason is above");
    }
    Ok(running)
}
