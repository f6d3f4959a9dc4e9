// SPDX-License-Identifier: Apache-2.0
//! Reading ahead of the executor, once a session has host functions.
//!
//! While a host function runs in the client, the executor may be inside the driver and wait for its
//! stream, or for staging memory that the stream still reads. The client's word that the function
//! has returned comes on the same connection as all else. So a thread reads what comes, hands that
//! word over at once, and keeps everything for the executor in memory. Sessions without host
//! functions have no such thread: their executor reads the connection itself.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use gvirtus_protocol::opcode;
use gvirtus_protocol::stream::ReceiveBuffer;
use parking_lot::{Condvar, Mutex};

use super::link::Link;
use crate::limits::{READ_AHEAD_BYTES, READ_AHEAD_BYTES_MAX, RECEIVE_BUFFER_BYTES};

/// What has come and the executor has not read.
#[derive(Default)]
pub(super) struct Ahead {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    bytes: VecDeque<u8>,
    is_closed: bool,
}

impl Ahead {
    /// As a socket's read: 0 at the end.
    pub(super) fn read(&self, to: &mut [u8]) -> usize {
        let mut state = self.state.lock();
        while state.bytes.is_empty() && !state.is_closed {
            self.changed.wait(&mut state);
        }
        let (front, _) = state.bytes.as_slices();
        let count = front.len().min(to.len());
        to[..count].copy_from_slice(&front[..count]);
        state.bytes.drain(..count);
        self.changed.notify_all();
        count
    }

    /// A host function was called: there may be room now.
    pub(super) fn notice_call(&self) {
        self.changed.notify_all();
    }

    fn push(&self, link: &Link, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock();
        // More only if the executor might be waiting for what comes behind it.
        while state.bytes.len() >= READ_AHEAD_BYTES && !link.calls.are_running() {
            self.changed.wait(&mut state);
        }
        if state.bytes.len() + bytes.len() > READ_AHEAD_BYTES_MAX {
            return Err(io::Error::other(
                "the client sends too much while its host function runs",
            ));
        }
        state.bytes.extend(bytes);
        self.changed.notify_all();
        Ok(())
    }

    fn close(&self) {
        self.state.lock().is_closed = true;
        self.changed.notify_all();
    }
}

/// Starts the thread. `pending` came already; it begins with the command `expected`.
pub(super) fn start(link: &Arc<Link>, pending: &[u8], expected: u64) -> io::Result<Arc<Ahead>> {
    let ahead = Arc::<Ahead>::default();
    let (thread_ahead, thread_link) = (Arc::clone(&ahead), Arc::clone(link));
    let pending = pending.to_vec();
    std::thread::Builder::new()
        .name("gvirtus-reader".into())
        .spawn(move || {
            if let Err(error) = run(&thread_ahead, &thread_link, &pending, expected) {
                tracing::warn!(%error, "cannot read from the client");
            }
            thread_link.calls.close();
            thread_ahead.close();
        })?;
    Ok(ahead)
}

fn run(ahead: &Ahead, link: &Link, pending: &[u8], mut expected: u64) -> io::Result<()> {
    let mut received = ReceiveBuffer::new(RECEIVE_BUFFER_BYTES.max(2 * pending.len()));
    received.spare()[..pending.len()].copy_from_slice(pending);
    received.filled(pending.len());
    loop {
        loop {
            let command = match received.command(expected) {
                Ok(Some(command)) => command,
                Ok(None) => break,
                // The executor comes to the same conclusion, and says so.
                Err(_) => return ahead.push(link, received.pending()),
            };
            expected += 1;
            let (header, body) = (command.header, command.body);
            if header.opcode() == opcode::HOST_FUNCTION_RETURNED
                && let Ok(call) = <[u8; 8]>::try_from(body)
            {
                link.calls.finish(u64::from_le_bytes(call));
            }
            ahead.push(link, zerocopy::IntoBytes::as_bytes(&header))?;
            ahead.push(link, body)?;
            if !pass_payload(ahead, link, &mut received, header.payload_bytes.get())? {
                return Ok(());
            }
        }
        let count = link.read_stream(received.spare())?;
        if count == 0 {
            return Ok(());
        }
        received.filled(count);
    }
}

/// Whether all of it came.
fn pass_payload(
    ahead: &Ahead,
    link: &Link,
    received: &mut ReceiveBuffer,
    mut rest: u64,
) -> io::Result<bool> {
    while rest > 0 {
        let wanted = usize::try_from(rest).unwrap_or(usize::MAX);
        let piece = received.take(wanted);
        if !piece.is_empty() {
            rest -= piece.len() as u64;
            ahead.push(link, piece)?;
            continue;
        }
        let count = link.read_stream(received.spare())?;
        if count == 0 {
            return Ok(false);
        }
        received.filled(count);
    }
    Ok(true)
}
