// SPDX-License-Identifier: Apache-2.0
//! Worker processes: one that waits, and one for each session.

use std::ffi::OsString;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::control::{REPORT_HEADER_BYTES, ReportHeader, send_client};
use crate::driver::{Candidate, DriverChoice};
use crate::limits::WORKER_START_TIMEOUT;

/// How a worker is started; `--driver` and `--parent` with their values are added.
#[derive(Clone, Debug)]
pub struct WorkerCommand {
    /// The program.
    pub program: PathBuf,
    /// Its name for the process list.
    pub name: OsString,
    /// What comes before the arguments that are added.
    pub arguments: Vec<OsString>,
}

/// The workers of a daemon, all on the same driver.
pub(super) struct Workers {
    command: WorkerCommand,
    candidate: Candidate,
    spare: Mutex<Option<Starting>>,
}

type Starting = JoinHandle<Result<Worker, String>>;

/// A worker whose driver is started and that has no client yet. Dropped, it ends.
pub(super) struct Worker {
    child: Child,
    control: UnixStream,
}

/// A worker with a client. Dropped, it ends.
pub(super) struct Busy {
    child: Child,
}

impl Workers {
    /// Finds the first driver of `choice` that works by starting a worker on it, which serves the
    /// first client if `keep_first`.
    pub(super) async fn start(
        choice: &DriverChoice,
        command: WorkerCommand,
        keep_first: bool,
    ) -> Result<Arc<Self>, String> {
        let mut reasons = Vec::new();
        for candidate in choice.candidates() {
            match start(&command, &candidate).await {
                Ok((worker, offer)) => {
                    tracing::info!(driver = %candidate, %offer, "driver started");
                    let keep = keep_first || candidate.starts_slowly();
                    let spare = keep.then(|| tokio::spawn(std::future::ready(Ok(worker))));
                    return Ok(Arc::new(Self {
                        command,
                        candidate,
                        spare: Mutex::new(spare),
                    }));
                }
                Err(reason) => {
                    tracing::info!(driver = %candidate, %reason, "driver not used");
                    reasons.push(format!("{candidate}: {reason}"));
                }
            }
        }
        Err(match &reasons[..] {
            [] => "there is no driver: neither NVIDIA's libcuda.so.1 nor softgpu is installed \
                   where it is looked for; name one with --driver"
                .to_owned(),
            reasons => format!("no driver works; {}", reasons.join("; ")),
        })
    }

    /// A worker for a new client.
    pub(super) async fn take(self: &Arc<Self>) -> Result<Worker, String> {
        let spare = self.spare.lock().take();
        let taken = match spare {
            Some(starting) => starting.await.unwrap_or_else(|e| Err(e.to_string())),
            None => Err("none waits".to_owned()),
        };
        let taken = taken.ok().and_then(Worker::alive);
        let taken = match taken {
            Some(worker) => Ok(worker),
            None => self.another().await,
        };
        if self.candidate.starts_slowly() {
            let workers = Arc::clone(self);
            let mut spare = self.spare.lock();
            if spare.is_none() {
                *spare = Some(tokio::spawn(async move { workers.another().await }));
            }
        }
        taken
    }

    /// No more clients come.
    pub(super) fn retire(&self) {
        if let Some(spare) = self.spare.lock().take() {
            spare.abort();
        }
    }

    async fn another(&self) -> Result<Worker, String> {
        let started = start(&self.command, &self.candidate).await;
        started.map(|(worker, _)| worker)
    }
}

impl Worker {
    /// It may have had an accident while it waited.
    fn alive(mut self) -> Option<Self> {
        matches!(self.child.try_wait(), Ok(None)).then_some(self)
    }

    /// Hands it a client.
    pub(super) fn serve(self, session: u64, client: BorrowedFd<'_>) -> std::io::Result<Busy> {
        send_client(&self.control, session, client)?;
        Ok(Busy { child: self.child })
    }
}

impl Busy {
    /// Its process id.
    pub(super) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits for the session's end.
    pub(super) async fn end(mut self) -> std::io::Result<ExitStatus> {
        self.child.wait().await
    }
}

/// Starts a worker and waits until its driver is started; also returns what it offers.
async fn start(command: &WorkerCommand, candidate: &Candidate) -> Result<(Worker, String), String> {
    let text = |error: std::io::Error| format!("cannot start a worker: {error}");
    let (control, workers_end) = StdUnixStream::pair().map_err(text)?;
    control.set_nonblocking(true).map_err(text)?;
    let child = Command::new(&command.program)
        .arg0(&command.name)
        .args(&command.arguments)
        .arg("--driver")
        .arg(candidate.argument())
        .args(["--parent", &std::process::id().to_string()])
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(workers_end)))
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(text)?;
    let control = UnixStream::from_std(control).map_err(text)?;
    let mut worker = Worker { child, control };
    match tokio::time::timeout(WORKER_START_TIMEOUT, report(&mut worker.control)).await {
        Ok(Ok(Ok(offer))) => Ok((worker, offer)),
        Ok(Ok(Err(reason))) => Err(reason),
        Ok(Err(_)) => Err(match worker.child.wait().await {
            Ok(status) => format!("the worker ends while the driver starts: {status}"),
            Err(error) => text(error),
        }),
        Err(_) => Err(format!(
            "the driver does not start within {} s",
            WORKER_START_TIMEOUT.as_secs()
        )),
    }
}

async fn report(control: &mut UnixStream) -> std::io::Result<Result<String, String>> {
    let mut header = [0; REPORT_HEADER_BYTES];
    control.read_exact(&mut header).await?;
    let header = ReportHeader::parse(header);
    let mut text = vec![0; header.length];
    control.read_exact(&mut text).await?;
    let text = String::from_utf8_lossy(&text).into_owned();
    Ok(if header.ready { Ok(text) } else { Err(text) })
}
