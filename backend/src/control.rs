// SPDX-License-Identifier: Apache-2.0
//! What daemon and worker say to each other, over a socket pair that is the worker's standard
//! input.
//!
//! ```text
//! worker ──▶ daemon   1 byte: 0 ready, 1 failed; 4 bytes: length; text: what it offers, or why not
//! daemon ──▶ worker   8 bytes: number of the session; with them the client's connection
//! ```
//!
//! A worker starts its driver before there is a client for it, which takes NVIDIA's driver a good
//! part of a second.

use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use crate::limits::REASON_BYTES_MAX;

/// Bytes before the text of a worker's message.
pub(crate) const REPORT_HEADER_BYTES: usize = 5;

const READY: u8 = 0;
const FAILED: u8 = 1;

/// The worker's end.
#[derive(Debug)]
pub(crate) struct WorkerControl(UnixStream);

/// The beginning of a worker's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReportHeader {
    /// Whether it can take a client.
    pub(crate) ready: bool,
    /// Bytes of text that follow.
    pub(crate) length: usize,
}

impl ReportHeader {
    /// Reads it.
    pub(crate) fn parse(bytes: [u8; REPORT_HEADER_BYTES]) -> Self {
        let [state, length @ ..] = bytes;
        Self {
            ready: state == READY,
            length: (u32::from_le_bytes(length) as usize).min(REASON_BYTES_MAX),
        }
    }
}

impl WorkerControl {
    pub(crate) const fn new(socket: UnixStream) -> Self {
        Self(socket)
    }

    /// Tells the daemon whether there can be a session.
    pub(crate) fn report(&self, result: Result<&str, &str>) -> io::Result<()> {
        let (state, text) = match result {
            Ok(text) => (READY, text),
            Err(text) => (FAILED, text),
        };
        let text = &text[..text.floor_char_boundary(REASON_BYTES_MAX)];
        let length = u32::try_from(text.len()).expect("cut above");
        let message = [&[state][..], &length.to_le_bytes(), text.as_bytes()].concat();
        (&self.0).write_all(&message)
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
        worker.report(Ok("one device")).expect("open");
        let mut header = [0; REPORT_HEADER_BYTES];
        (&daemon).read_exact(&mut header).expect("open");
        let header = ReportHeader::parse(header);
        assert!(header.ready);
        let mut text = vec![0; header.length];
        (&daemon).read_exact(&mut text).expect("open");
        assert_eq!(text, b"one device");

        let (client, connection) = UnixStream::pair().expect("sockets");
        send_client(&daemon, 7, connection.as_fd()).expect("open");
        drop(connection);
        let (number, connection) = worker.receive().expect("open").expect("a client");
        assert_eq!(number, 7);
        UnixStream::from(connection).write_all(b"x").expect("open");
        let mut byte = [0];
        (&client).read_exact(&mut byte).expect("open");
        assert_eq!(&byte, b"x");

        drop(daemon);
        assert!(worker.receive().expect("closed cleanly").is_none());
    }
}
