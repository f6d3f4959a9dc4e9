// SPDX-License-Identifier: Apache-2.0
//! What daemon and worker say to each other, over a socket pair that is the worker's standard
//! input.
//!
//! ```text
//! worker ──▶ daemon   1 byte: what; 4 bytes: length; 0 ready: what it offers, 1 failed: why not
//! daemon ──▶ worker   88 bytes: an [`Assignment`]; with them the client's connection, and the
//!                     account's ledger where there is a limit
//! worker ──▶ daemon   as above, 2 counters: what the session has done so far; again and again
//! worker ──▶ daemon   as above, 4 figures, of one that looks at devices; again and again
//! worker ──▶ daemon   as above, 3 question, of one that serves NVML: who else is there?
//! daemon ──▶ worker   4 bytes: length; the sessions with CUDA, each as [`Neighbour`] writes it
//! ```
//!
//! A worker starts its driver before there is a client for it, which takes NVIDIA's driver a good
//! part of a second.

use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use gvirtus_protocol::limits::{DEVICES_MAX, HANDSHAKE_BYTES_MAX};
use gvirtus_protocol::snapshot::Snapshot;
use gvirtus_protocol::status::{Counters, DeviceFigures};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, send, sendmsg,
};

use crate::limits::{
    COUNTERS_BYTES_MAX, FIGURES_BYTES_MAX, PROGRAM_NAME_BYTES_MAX, REASON_BYTES_MAX,
};
use crate::quota::{Allowance, Columns, Ledger, NO_COLUMN};

/// Bytes before the body of a worker's message.
pub(crate) const REPORT_HEADER_BYTES: usize = 5;

/// What a worker shall do with its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Assignment {
    /// Number of the session.
    pub(crate) session: u64,
    /// The session's row in the ledger of its account.
    pub(crate) row: u32,
    /// What the account may hold on each device.
    pub(crate) limit_bytes: Option<u64>,
    /// The columns of the session's devices in that ledger.
    pub(crate) columns: Columns,
}

impl Default for Assignment {
    fn default() -> Self {
        Self {
            session: 0,
            row: 0,
            limit_bytes: None,
            columns: [NO_COLUMN; DEVICES_MAX],
        }
    }
}

/// A client, as its worker gets it.
#[derive(Debug)]
pub(crate) struct Received {
    /// Number of the session.
    pub(crate) session: u64,
    /// The client's connection.
    pub(crate) client: OwnedFd,
    /// What limits it.
    pub(crate) allowance: Option<Allowance>,
}

/// Session, row, whether there is a limit, the limit, columns.
const ASSIGNMENT_BYTES: usize = 24 + DEVICES_MAX;

impl Assignment {
    fn write(self) -> [u8; ASSIGNMENT_BYTES] {
        let mut bytes = [0; ASSIGNMENT_BYTES];
        bytes[..8].copy_from_slice(&self.session.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.row.to_le_bytes());
        bytes[12] = u8::from(self.limit_bytes.is_some());
        bytes[16..24].copy_from_slice(&self.limit_bytes.unwrap_or(0).to_le_bytes());
        bytes[24..].copy_from_slice(&self.columns);
        bytes
    }

    fn read(bytes: [u8; ASSIGNMENT_BYTES]) -> Self {
        let (session, rest) = bytes.split_first_chunk().expect("88 bytes");
        let (row, rest) = rest.split_first_chunk().expect("80 bytes");
        let (is_limited, rest) = rest.split_first_chunk::<4>().expect("76 bytes");
        let (limit, columns) = rest.split_first_chunk().expect("72 bytes");
        Self {
            session: u64::from_le_bytes(*session),
            row: u32::from_le_bytes(*row),
            limit_bytes: (is_limited[0] != 0).then(|| u64::from_le_bytes(*limit)),
            columns: columns.try_into().expect("64 bytes"),
        }
    }
}

/// The worker's end.
#[derive(Debug)]
pub(crate) struct WorkerControl(UnixStream);

/// What a worker says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReportKind {
    /// It can take a client; the body is a [`Snapshot`] as postcard.
    Ready = 0,
    /// It cannot; the body is a sentence.
    Failed = 1,
    /// The session goes on; the body are [`Counters`].
    Counters = 2,
    /// It serves NVML and asks for its neighbours; there is no body.
    Question = 3,
    /// It looks at devices; the body are [`DeviceFigures`] of all.
    Figures = 4,
}

/// The beginning of a worker's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReportHeader {
    /// What follows.
    pub(crate) kind: ReportKind,
    /// Bytes that follow; within the limit of the kind.
    pub(crate) length: usize,
}

impl ReportHeader {
    /// Reads it; nothing if it is none.
    pub(crate) fn parse(bytes: [u8; REPORT_HEADER_BYTES]) -> Option<Self> {
        let [kind, length @ ..] = bytes;
        let (kind, length_max) = match kind {
            0 => (ReportKind::Ready, HANDSHAKE_BYTES_MAX),
            1 => (ReportKind::Failed, REASON_BYTES_MAX),
            2 => (ReportKind::Counters, COUNTERS_BYTES_MAX),
            3 => (ReportKind::Question, 0),
            4 => (ReportKind::Figures, FIGURES_BYTES_MAX),
            _ => return None,
        };
        let length = u32::from_le_bytes(length) as usize;
        (length <= length_max).then_some(Self { kind, length })
    }
}

/// A session with CUDA, as the daemon tells a worker that serves NVML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Neighbour {
    /// Process id of the worker.
    pub(crate) worker: u32,
    /// Process id of the client on its host, as it says.
    pub(crate) pid: u32,
    /// Whether it is on the host of the client that asks.
    pub(crate) same_host: bool,
    /// The client's program, as it says; at most [`PROGRAM_NAME_BYTES_MAX`] bytes.
    pub(crate) program: String,
}

impl Neighbour {
    /// Worker, pid, whether it is on the same host, length of the program's name, the name.
    fn write(&self, message: &mut Vec<u8>) {
        let program = &self.program;
        let program = &program[..program.floor_char_boundary(PROGRAM_NAME_BYTES_MAX)];
        message.extend(self.worker.to_le_bytes());
        message.extend(self.pid.to_le_bytes());
        message.push(u8::from(self.same_host));
        message.push(u8::try_from(program.len()).expect("cut above"));
        message.extend(program.as_bytes());
    }

    fn read(message: &mut &[u8]) -> Option<Self> {
        let (worker, rest) = message.split_first_chunk()?;
        let (pid, rest) = rest.split_first_chunk()?;
        let ([same_host, length], rest) = rest.split_first_chunk()?;
        let (program, rest) = rest.split_at_checked(usize::from(*length))?;
        *message = rest;
        Some(Self {
            worker: u32::from_le_bytes(*worker),
            pid: u32::from_le_bytes(*pid),
            same_host: *same_host != 0,
            program: String::from_utf8_lossy(program).into_owned(),
        })
    }
}

/// The daemon's answer to [`ReportKind::Question`].
pub(crate) fn neighbours_message(neighbours: &[Neighbour]) -> Vec<u8> {
    let mut message = vec![0; 4];
    for neighbour in neighbours {
        neighbour.write(&mut message);
    }
    let length = u32::try_from(message.len() - 4).unwrap_or(0);
    message[..4].copy_from_slice(&length.to_le_bytes());
    message
}

/// Header and body.
fn message(kind: ReportKind, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("bodies are far below 4 GiB");
    [&[kind as u8][..], &length.to_le_bytes(), body].concat()
}

impl WorkerControl {
    pub(crate) const fn new(socket: UnixStream) -> Self {
        Self(socket)
    }

    /// Tells the daemon whether there can be a session.
    pub(crate) fn report(&self, result: Result<&Snapshot, &str>) -> io::Result<()> {
        let message = match result {
            Ok(snapshot) => message(ReportKind::Ready, &snapshot.encode()),
            Err(text) => {
                let end = text.floor_char_boundary(REASON_BYTES_MAX);
                message(ReportKind::Failed, &text.as_bytes()[..end])
            }
        };
        (&self.0).write_all(&message)
    }

    /// Tells the daemon what the session has done so far. Never waits: a daemon that does not
    /// listen must not keep a worker from noticing that its client is gone.
    pub(crate) fn count(&self, counters: &Counters) -> io::Result<()> {
        let message = message(ReportKind::Counters, &counters.encode());
        let sent = send(&self.0, &message, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?;
        if sent == message.len() {
            Ok(())
        } else {
            // What follows would not be understood.
            let _ = self.0.shutdown(std::net::Shutdown::Write);
            Err(io::ErrorKind::WriteZero.into())
        }
    }

    /// Tells the daemon what all devices do.
    pub(crate) fn figures(&self, devices: &[DeviceFigures]) -> io::Result<()> {
        (&self.0).write_all(&message(
            ReportKind::Figures,
            &DeviceFigures::encode(devices),
        ))
    }

    /// Asks the daemon for the sessions with CUDA.
    pub(crate) fn neighbours(&self) -> io::Result<Vec<Neighbour>> {
        (&self.0).write_all(&message(ReportKind::Question, &[]))?;
        let mut length = [0; 4];
        (&self.0).read_exact(&mut length)?;
        let mut message = vec![0; u32::from_le_bytes(length) as usize];
        (&self.0).read_exact(&mut message)?;
        let mut rest = &message[..];
        Ok(std::iter::from_fn(|| Neighbour::read(&mut rest)).collect())
    }

    /// Waits for a client; nothing if the daemon has none.
    pub(crate) fn receive(&self) -> io::Result<Option<Received>> {
        let mut message = [0; ASSIGNMENT_BYTES];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let count = rustix::io::retry_on_intr(|| {
            recvmsg(
                &self.0,
                &mut [IoSliceMut::new(&mut message)],
                &mut control,
                RecvFlags::CMSG_CLOEXEC,
            )
        })?
        .bytes;
        if count == 0 {
            return Ok(None);
        }
        let mut descriptors = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        });
        let mut descriptors = descriptors.next().ok_or(io::ErrorKind::InvalidData)?;
        let client = descriptors.next().ok_or(io::ErrorKind::InvalidData)?;
        let ledger = descriptors.next();
        (&self.0).read_exact(&mut message[count..])?;
        let assignment = Assignment::read(message);
        let allowance = match (ledger, assignment.limit_bytes) {
            (Some(ledger), Some(limit_bytes)) => {
                let ledger = Ledger::open(ledger)?;
                let (row, columns) = (assignment.row as usize, assignment.columns);
                Some(Allowance::new(ledger, row, columns, limit_bytes))
            }
            (None, None) => None,
            // Never a session without the limit that it should have.
            _ => return Err(io::ErrorKind::InvalidData.into()),
        };
        Ok(Some(Received {
            session: assignment.session,
            client,
            allowance,
        }))
    }
}

/// Gives a ready worker its client, and the ledger if the assignment has a limit.
pub(crate) fn send_client(
    control: impl AsFd,
    assignment: Assignment,
    client: BorrowedFd<'_>,
    ledger: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let descriptors: Vec<BorrowedFd<'_>> = [client].into_iter().chain(ledger).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::ErrorKind::OutOfMemory.into());
    }
    let message = assignment.write();
    let sent = sendmsg(
        control,
        &[IoSlice::new(&message)],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )?;
    if sent == message.len() {
        Ok(())
    } else {
        Err(io::ErrorKind::WriteZero.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_reaches_its_worker() {
        let (daemon, worker) = UnixStream::pair().expect("sockets");
        let worker = WorkerControl::new(worker);
        let snapshot = Snapshot {
            driver_version: 13_050,
            ..Snapshot::default()
        };
        worker.report(Ok(&snapshot)).expect("open");
        let (kind, body) = read(&daemon);
        assert_eq!(kind, ReportKind::Ready);
        assert_eq!(Snapshot::decode(&body), Some(snapshot));

        let (client, connection) = UnixStream::pair().expect("sockets");
        let ledger = Ledger::create().expect("memory");
        let mut limited = Assignment {
            session: 7,
            row: 2,
            limit_bytes: Some(0),
            ..Assignment::default()
        };
        limited.columns[1] = 1;
        let (socket, page) = (connection.as_fd(), Some(ledger.as_fd()));
        send_client(&daemon, limited, socket, page).expect("open");
        let received = worker.receive().expect("open").expect("a client");
        let allowance = received.allowance.expect("a limit");
        assert_eq!((received.session, allowance.limit_bytes()), (7, 0));
        allowance.charge(1, 5);
        let cell = ledger.cell(2, 1).expect("exists");
        assert_eq!(cell.load(std::sync::atomic::Ordering::SeqCst), 5);
        let unlimited = Assignment {
            limit_bytes: None,
            ..limited
        };
        for (assignment, page) in [(limited, None), (unlimited, page)] {
            send_client(&daemon, assignment, socket, page).expect("open");
            assert!(worker.receive().is_err(), "a limit, or none: never a doubt");
        }
        send_client(&daemon, unlimited, socket, None).expect("open");
        drop(connection);
        drop(received.client);
        let received = worker.receive().expect("open").expect("a client");
        assert!(received.allowance.is_none());
        let connection = UnixStream::from(received.client);
        (&connection).write_all(b"x").expect("open");
        drop(connection);
        let mut byte = [0];
        (&client).read_exact(&mut byte).expect("open");
        assert_eq!(&byte, b"x");

        let counters = Counters {
            launches: 5,
            ..Counters::default()
        };
        worker.count(&counters).expect("open");
        let (kind, body) = read(&daemon);
        assert_eq!(kind, ReportKind::Counters);
        assert_eq!(Counters::decode(&body), Some(counters.clone()));

        let neighbour = |pid, program: &str| Neighbour {
            worker: pid + 1,
            pid,
            same_host: pid == 1,
            program: program.to_owned(),
        };
        let neighbours = [neighbour(1, "train"), neighbour(5, "")];
        (&daemon)
            .write_all(&neighbours_message(&neighbours))
            .expect("open");
        assert_eq!(worker.neighbours().expect("open"), neighbours);
        assert_eq!(read(&daemon), (ReportKind::Question, Vec::new()));

        drop(daemon);
        assert!(worker.receive().expect("closed cleanly").is_none());
        assert!(worker.count(&counters).is_err());
    }

    #[test]
    fn a_daemon_that_does_not_listen_keeps_no_worker() {
        let (_daemon, worker) = UnixStream::pair().expect("sockets");
        let worker = WorkerControl::new(worker);
        let counters = Counters::default();
        let refused = (0..1_000_000).find_map(|_| worker.count(&counters).err());
        assert!(refused.is_some());
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for header in [
            [5, 0, 0, 0, 0],
            [3, 1, 0, 0, 0],
            [0, 255, 255, 255, 255],
            [2, 0, 0, 1, 0],
        ] {
            assert_eq!(ReportHeader::parse(header), None);
        }
    }

    fn read(mut daemon: &UnixStream) -> (ReportKind, Vec<u8>) {
        let mut header = [0; REPORT_HEADER_BYTES];
        daemon.read_exact(&mut header).expect("open");
        let header = ReportHeader::parse(header).expect("a header");
        let mut body = vec![0; header.length];
        daemon.read_exact(&mut body).expect("open");
        (header.kind, body)
    }
}
