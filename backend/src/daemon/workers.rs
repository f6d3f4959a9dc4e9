// SPDX-License-Identifier: Apache-2.0
//! Worker processes: one that waits, and one for each session.

use std::ffi::OsString;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;

use gvirtus_driver_face::device_name;
use gvirtus_protocol::snapshot::Snapshot;
use gvirtus_protocol::status::{Counters, DeviceFigures};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use super::admission::Seat;
use crate::control::{
    Assignment, Neighbour, REPORT_HEADER_BYTES, ReportHeader, ReportKind, neighbours_message,
    send_client,
};
use crate::driver::{Candidate, DriverChoice};
use crate::limits::{LAST_REPORT_TIMEOUT, WORKER_START_TIMEOUT};
use crate::quota::Columns;

/// How a worker is started; `--driver` and `--parent` with their values are added, and
/// `--management` or `--figures`, and perhaps `--devices`, for one that asks NVML.
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
    /// What the first worker offered.
    snapshot: Snapshot,
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
    reports: Reports,
}

/// A worker that looks at the devices. Dropped, it ends.
pub(super) struct Looker(Worker);

/// What a worker serves.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Service {
    Cuda,
    /// NVML, with these devices only; none means all.
    Management(Vec<String>),
    /// No client, but the daemon itself, with what these devices do.
    Figures(Vec<String>),
}

impl Service {
    fn arguments(&self) -> Vec<String> {
        let (flag, devices) = match self {
            Self::Cuda => return Vec::new(),
            Self::Management(devices) => ("--management", devices),
            Self::Figures(devices) => ("--figures", devices),
        };
        let mut arguments = vec![flag.to_owned()];
        if !devices.is_empty() {
            arguments.extend(["--devices".to_owned(), devices.join(",")]);
        }
        arguments
    }
}

/// What a worker with a client says.
pub(super) struct Reports(UnixStream);

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
            match start(&command, &candidate, Service::Cuda, &[]).await {
                Ok((worker, offer)) => {
                    let text = description(&offer);
                    tracing::info!(driver = %candidate, offer = text, "driver started");
                    let keep = keep_first || candidate.starts_slowly();
                    let spare = keep.then(|| tokio::spawn(std::future::ready(Ok(worker))));
                    return Ok(Arc::new(Self {
                        command,
                        candidate,
                        snapshot: offer,
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

    /// What the driver offers.
    pub(super) const fn snapshot(&self) -> &Snapshot {
        &self.snapshot
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

    /// A worker for a client that asks for NVML. None waits: it has no driver to start.
    /// It shows only these devices; none means all.
    pub(super) async fn management(&self, devices: Vec<String>) -> Result<Worker, String> {
        let service = Service::Management(devices);
        let started = start(&self.command, &self.candidate, service, &[]).await;
        started.map(|(worker, _)| worker)
    }

    /// A worker that looks at the devices.
    pub(super) async fn looker(&self) -> Result<Looker, String> {
        let devices = self.snapshot.devices.iter();
        let names = devices.map(|device| device_name(&device.uuid_v2)).collect();
        let started = start(&self.command, &self.candidate, Service::Figures(names), &[]).await;
        started.map(|(worker, _)| Looker(worker))
    }

    /// No more clients come.
    pub(super) fn retire(&self) {
        if let Some(spare) = self.spare.lock().take() {
            spare.abort();
        }
    }

    /// A worker for a client that gets only a part of what there is. None waits: its driver is told
    /// at its start.
    pub(super) async fn restricted(&self, part: &[(&str, String)]) -> Result<Worker, String> {
        let started = start(&self.command, &self.candidate, Service::Cuda, part).await;
        started.map(|(worker, _)| worker)
    }

    async fn another(&self) -> Result<Worker, String> {
        self.restricted(&[]).await
    }
}

impl Worker {
    /// It may have had an accident while it waited.
    fn alive(mut self) -> Option<Self> {
        matches!(self.child.try_wait(), Ok(None)).then_some(self)
    }

    /// Hands it a client, and its place in a ledger if it has one: the row, and the columns of its
    /// devices.
    pub(super) fn serve(
        self,
        session: u64,
        client: BorrowedFd<'_>,
        seat: Option<&Seat<'_>>,
        columns: Columns,
    ) -> std::io::Result<Busy> {
        let assignment = Assignment {
            session,
            row: seat.map_or(0, |seat| seat.row as u32),
            limit_bytes: seat.map(|seat| seat.limit_bytes),
            columns,
        };
        let ledger = seat.map(|seat| seat.ledger.as_fd());
        send_client(&self.control, assignment, client, ledger)?;
        Ok(Busy {
            child: self.child,
            reports: Reports(self.control),
        })
    }
}

impl Looker {
    /// What all devices do, in the order of the snapshot; nothing if it has ended.
    pub(super) async fn next(&mut self) -> Option<Vec<DeviceFigures>> {
        match read_report(&mut self.0.control).await {
            Ok((ReportKind::Figures, body)) => DeviceFigures::decode(&body),
            _ => None,
        }
    }
}

impl Busy {
    /// Its process id.
    pub(super) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits for the session's end. Until then gives `count` what the worker reports, and the
    /// worker its `neighbours` whenever it asks.
    pub(super) async fn end(
        mut self,
        count: impl FnMut(Counters),
        neighbours: impl Fn() -> Vec<Neighbour>,
    ) -> std::io::Result<ExitStatus> {
        let mut reports = std::pin::pin!(self.reports.read(count, neighbours));
        let mut is_over = false;
        let status = loop {
            tokio::select! {
                status = self.child.wait() => break status,
                () = &mut reports, if !is_over => is_over = true,
            }
        };
        if !is_over {
            // What it said last may not be read yet.
            let _ = tokio::time::timeout(LAST_REPORT_TIMEOUT, reports).await;
        }
        status
    }
}

impl Reports {
    /// Reads all that there are. A worker that a client has taken over may say anything: what is no
    /// report is the last that is read.
    async fn read(
        &mut self,
        mut count: impl FnMut(Counters),
        neighbours: impl Fn() -> Vec<Neighbour>,
    ) {
        loop {
            match read_report(&mut self.0).await {
                Ok((ReportKind::Counters, body)) => match Counters::decode(&body) {
                    Some(counters) => count(counters),
                    None => return,
                },
                Ok((ReportKind::Question, _)) => {
                    let message = neighbours_message(&neighbours());
                    if self.0.write_all(&message).await.is_err() {
                        return;
                    }
                }
                _ => return,
            }
        }
    }
}

/// What an operator reads of a driver.
fn description(snapshot: &Snapshot) -> String {
    let names: Vec<&str> = snapshot.devices.iter().map(|d| d.name.as_str()).collect();
    let version = snapshot.driver_version;
    let (major, minor) = (version / 1000, version % 1000 / 10);
    format!("{} (CUDA {major}.{minor})", names.join(", "))
}

/// Starts a worker and waits until its driver is started; also returns what it offers.
async fn start(
    command: &WorkerCommand,
    candidate: &Candidate,
    service: Service,
    environment: &[(&str, String)],
) -> Result<(Worker, Snapshot), String> {
    let text = |error: std::io::Error| format!("cannot start a worker: {error}");
    let (control, workers_end) = StdUnixStream::pair().map_err(text)?;
    control.set_nonblocking(true).map_err(text)?;
    let child = Command::new(&command.program)
        .arg0(&command.name)
        .args(&command.arguments)
        .arg("--driver")
        .arg(candidate.argument())
        .args(["--parent", &std::process::id().to_string()])
        .args(service.arguments())
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(workers_end)))
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(text)?;
    let control = UnixStream::from_std(control).map_err(text)?;
    let mut worker = Worker { child, control };
    match tokio::time::timeout(WORKER_START_TIMEOUT, offer(&mut worker.control)).await {
        Ok(Ok(Ok(snapshot))) => Ok((worker, snapshot)),
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

async fn offer(control: &mut UnixStream) -> std::io::Result<Result<Snapshot, String>> {
    let (kind, body) = read_report(control).await?;
    match kind {
        ReportKind::Ready => match Snapshot::decode(&body) {
            Some(snapshot) => Ok(Ok(snapshot)),
            None => Err(std::io::ErrorKind::InvalidData.into()),
        },
        ReportKind::Failed => Ok(Err(String::from_utf8_lossy(&body).into_owned())),
        ReportKind::Counters | ReportKind::Question | ReportKind::Figures => {
            Err(std::io::ErrorKind::InvalidData.into())
        }
    }
}

async fn read_report(control: &mut UnixStream) -> std::io::Result<(ReportKind, Vec<u8>)> {
    let mut header = [0; REPORT_HEADER_BYTES];
    control.read_exact(&mut header).await?;
    let header = ReportHeader::parse(header).ok_or(std::io::ErrorKind::InvalidData)?;
    // The length is within the limit of the kind, 1 MiB at most.
    let mut body = vec![0; header.length];
    control.read_exact(&mut body).await?;
    Ok((header.kind, body))
}
