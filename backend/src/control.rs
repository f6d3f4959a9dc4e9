// SPDX-License-Identifier: Apache-2.0
//! What daemon and worker say to each other, over a socket pair that is the worker's standard
//! input.
//!
//! ```text
//! worker ──▶ daemon   1 byte: what; 4 bytes: length; 0 ready: what it offers, 1 failed: why not
//! daemon ──▶ worker   8 bytes: number of the session; with them the client's connection
//! worker ──▶ daemon   as above, 2 counters: what the session has done so far; again and again
//! ```
//!
//! A worker starts its driver before there is a client for it, which takes NVIDIA's driver a good
//! part of a second.

use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use gvirtus_protocol::limits::HANDSHAKE_BYTES_MAX;
use gvirtus_protocol::snapshot::Snapshot;
use gvirtus_protocol::status::Counters;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, send, sendmsg,
};

use crate::limits::{COUNTERS_BYTES_MAX, REASON_BYTES_MAX};

/// Bytes before the body of a worker's message.
pub(crate) const REPORT_HEADER_BYTES: usize = 5;

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
            _ => return None,
        };
        let length = u32::from_le_bytes(length) as usize;
        (length <= length_max).then_some(Self { kind, length })
    }
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

    /// Waits for a client; nothing if the daemon has none.
    pub(crate) fn receive(&self) -> io::Result<Option<(u64, OwnedFd)>> {
        let mut number = [0; 8];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let count = rustix::io::retry_on_intr(|| {
            recvmsg(
                &self.0,
                &mut [IoSliceMut::new(&mut number)],
                &mut control,
                RecvFlags::CMSG_CLOEXEC,
            )
        })?
        .bytes;
        if count == 0 {
            return Ok(None);
        }
        let mut descriptors = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        let descriptor = descriptors.next().ok_or(io::ErrorKind::InvalidData)?;
        drop(descriptors);
        (&self.0).read_exact(&mut number[count..])?;
        Ok(Some((u64::from_le_bytes(number), descriptor)))
    }
}

/// Gives a ready worker its client.
pub(crate) fn send_client(
    control: impl AsFd,
    session: u64,
    client: BorrowedFd<'_>,
) -> io::Result<()> {
    let descriptors = [client];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::ErrorKind::OutOfMemory.into());
    }
    let number = session.to_le_bytes();
    let sent = sendmsg(
        control,
        &[IoSlice::new(&number)],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )?;
    if sent == number.len() {
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
        send_client(&daemon, 7, connection.as_fd()).expect("open");
        drop(connection);
        let (number, connection) = worker.receive().expect("open").expect("a client");
        assert_eq!(number, 7);
        UnixStream::from(connection).write_all(b"x").expect("open");
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
        for header in [[3, 0, 0, 0, 0], [0, 255, 255, 255, 255], [2, 0, 0, 1, 0]] {
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
