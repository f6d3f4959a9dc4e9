// SPDX-License-Identifier: Apache-2.0
//! Replies, without a thread that reads them.
//!
//! Of the threads that wait, one leads: it reads the connection, hands the replies of the others
//! over, and when its own is there passes the lead on. A payload goes from the connection straight
//! into the memory that its call named, whoever reads it. A thread alone therefore blocks in one
//! `read`, and nobody wakes anybody.
//!
//! The leader takes no lock of the command queue. That is what keeps the two directions from
//! waiting for each other: the worker may block on writing a reply, but then somebody waits for it
//! and reads.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use gvirtus_abi::CUresult;
use gvirtus_protocol::frame::{FrameError, ReplyHeader, ReplyKind, TRAILER_BYTES};
use gvirtus_protocol::stream::ReceiveBuffer;
use gvirtus_transport::Stream;
use parking_lot::{Condvar, Mutex};

use super::faults::Faults;
use super::host::Due;
use super::rows::Rows;
use crate::limits::{DIRECT_READ_BYTES_MIN, RECEIVE_BYTES};
use crate::{console, statistics};

/// Replies' bodies up to this size need no memory of their own.
const INLINE_BYTES: usize = 64;

/// The body of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// A short one.
    Inline([u8; INLINE_BYTES], usize),
    /// A long one.
    Heap(Vec<u8>),
}

impl Body {
    fn new(bytes: &[u8]) -> Self {
        let mut inline = [0; INLINE_BYTES];
        match inline.get_mut(..bytes.len()) {
            Some(place) => {
                place.copy_from_slice(bytes);
                Self::Inline(inline, bytes.len())
            }
            None => Self::Heap(bytes.to_vec()),
        }
    }

    /// A body of one word.
    pub(crate) fn of_word(word: u64) -> Self {
        Self::new(&word.to_le_bytes())
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Inline(bytes, length) => &bytes[..*length],
            Self::Heap(bytes) => bytes,
        }
    }

    /// The 64-bit word with this index.
    pub(crate) fn word(&self, index: usize) -> Option<u64> {
        let start = index.checked_mul(8)?;
        let word = self.bytes().get(start..)?.first_chunk()?;
        Some(u64::from_le_bytes(*word))
    }
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The call's own.
    pub(crate) status: CUresult,
    /// Empty if the call failed, but for the log of a compiler.
    pub(crate) body: Body,
}

/// A call that waits.
#[derive(Debug, Default)]
pub(crate) struct Waiter {
    outcome: Mutex<Option<Outcome>>,
    wake: Condvar,
}

#[derive(Debug)]
struct Pending {
    sequence: u64,
    destination: Rows,
    waiter: Arc<Waiter>,
}

#[derive(Debug, Default)]
struct State {
    pending: Vec<Pending>,
    is_led: bool,
    is_lost: bool,
    /// Host functions that wait for their thread.
    due: VecDeque<Due>,
    /// Whether there may be more.
    expects_host_functions: bool,
}

/// The receiving side of a connection.
#[derive(Debug)]
pub(crate) struct Replies {
    state: Mutex<State>,
    /// Only the leader's; the lock is never contended.
    received: Mutex<ReceiveBuffer>,
    /// Signalled when the thread of host functions has something to do.
    host: Condvar,
}

/// Why the connection is of no use any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReceiveError {
    /// The worker ended.
    #[error("the backend closed it")]
    Closed,
    /// The worker breaks the protocol.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The operating system's reason.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The worker sends a payload of another length than was asked for.
    #[error("the backend sends {found} bytes where {expected} were asked for")]
    Payload {
        /// Bytes of the destination.
        expected: u64,
        /// Bytes announced.
        found: u64,
    },
    /// The worker asks for a host function without saying which.
    #[error("the backend asks for a host function without a number")]
    HostFunction,
    /// The worker answers something that was not asked.
    #[error("the backend answers command {0}, which waits for no answer")]
    Unasked(u64),
}

impl Default for Replies {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            received: Mutex::new(ReceiveBuffer::new(RECEIVE_BYTES)),
            host: Condvar::new(),
        }
    }
}

impl Replies {
    /// Announces a call, before it is sent. Nothing if the connection is lost.
    ///
    /// `destination` takes the payload of the reply; it must stay valid for writing until
    /// [`Replies::wait`] returns.
    pub(crate) fn register(&self, sequence: u64, destination: Rows) -> Option<Arc<Waiter>> {
        let mut state = self.state.lock();
        if state.is_lost {
            return None;
        }
        let waiter = Arc::<Waiter>::default();
        state.pending.push(Pending {
            sequence,
            destination,
            waiter: waiter.clone(),
        });
        Some(waiter)
    }

    /// Waits until the call has ended. The connection's failure, if this thread saw it first.
    pub(crate) fn wait(
        &self,
        stream: &dyn Stream,
        faults: &Faults,
        waiter: &Waiter,
    ) -> (Outcome, Option<ReceiveError>) {
        let mut failure = None;
        let mut state = self.state.lock();
        loop {
            if let Some(outcome) = waiter.outcome.lock().take() {
                // Somebody must read for those who still wait.
                self.pass_on(&state);
                return (outcome, failure);
            }
            if state.is_led {
                waiter.wake.wait(&mut state);
                continue;
            }
            state.is_led = true;
            drop(state);
            let done = || waiter.outcome.lock().is_some();
            let result = self.lead(stream, faults, done);
            state = self.state.lock();
            state.is_led = false;
            if let Err(error) = result {
                state.is_lost = true;
                self.host.notify_one();
                Self::end_all(&mut state);
                failure = Some(error);
            }
        }
    }

    /// Wakes somebody who reads, if anybody needs to.
    fn pass_on(&self, state: &State) {
        match state.pending.first() {
            _ if state.is_led => {}
            Some(next) => {
                next.waiter.wake.notify_one();
            }
            None => {
                self.host.notify_one();
            }
        }
    }

    /// Whether the worker may ask for host functions.
    pub(crate) fn expect_host_functions(&self, is_expected: bool) {
        self.state.lock().expects_host_functions = is_expected;
        if is_expected {
            self.host.notify_one();
        }
    }

    /// Waits for a host function to be due; nothing when the connection is lost. Reads the
    /// connection itself while nobody else does. For one thread only.
    pub(crate) fn next_host_function(
        &self,
        stream: &dyn Stream,
        faults: &Faults,
    ) -> (Option<Due>, Option<ReceiveError>) {
        let mut state = self.state.lock();
        loop {
            if let Some(due) = state.due.pop_front() {
                self.pass_on(&state);
                return (Some(due), None);
            }
            if state.is_lost {
                return (None, None);
            }
            if state.is_led || !state.expects_host_functions {
                self.host.wait(&mut state);
                continue;
            }
            state.is_led = true;
            drop(state);
            let done = || !self.state.lock().due.is_empty();
            let result = self.lead(stream, faults, done);
            state = self.state.lock();
            state.is_led = false;
            if let Err(error) = result {
                state.is_lost = true;
                Self::end_all(&mut state);
                return (None, Some(error));
            }
        }
    }

    /// Ends all calls that wait, and those to come; for a thread that could not write. The stream
    /// has been shut down.
    pub(crate) fn lose(&self) {
        let mut state = self.state.lock();
        state.is_lost = true;
        self.host.notify_one();
        // A leader may be writing to the memory of any call. It meets the end of the connection
        // itself.
        if !state.is_led {
            Self::end_all(&mut state);
        }
    }

    fn end_all(state: &mut State) {
        for pending in std::mem::take(&mut state.pending) {
            pending.finish(Outcome {
                status: CUresult::CUDA_ERROR_DEVICE_UNAVAILABLE,
                body: Body::new(&[]),
            });
        }
    }

    /// Reads until what the caller wants has come.
    fn lead(
        &self,
        stream: &dyn Stream,
        faults: &Faults,
        is_done: impl Fn() -> bool,
    ) -> Result<(), ReceiveError> {
        let mut received = self.received.lock();
        let mut receiver = Receiver {
            stream,
            buffer: &mut received,
        };
        while !is_done() {
            let Some(reply) = receiver.buffer.reply()? else {
                receiver.fill()?;
                continue;
            };
            if reply.kind == ReplyKind::HostFunction {
                let function = <[u8; 8]>::try_from(reply.body);
                let due = Due {
                    function: u64::from_le_bytes(function.map_err(|_| ReceiveError::HostFunction)?),
                    call: reply.header.sequence.get(),
                    status: reply.header.status(),
                };
                self.state.lock().due.push_back(due);
                self.host.notify_one();
                continue;
            }
            if reply.kind != ReplyKind::Reply {
                console::write(reply.kind, reply.body);
                continue;
            }
            let header = reply.header;
            let body = Body::new(reply.body);
            faults.note_deferred(header.deferred());
            let Some(pending) = self.find(header.sequence.get()) else {
                return Err(ReceiveError::Unasked(header.sequence.get()));
            };
            let status = receiver.payload(&header, pending)?;
            faults.note(status);
            self.finish(header.sequence.get(), Outcome { status, body });
        }
        Ok(())
    }

    fn find(&self, sequence: u64) -> Option<Rows> {
        let state = self.state.lock();
        let pending = state.pending.iter().find(|p| p.sequence == sequence);
        pending.map(|pending| pending.destination)
    }

    fn finish(&self, sequence: u64, outcome: Outcome) {
        let mut state = self.state.lock();
        if let Some(index) = state.pending.iter().position(|p| p.sequence == sequence) {
            state.pending.swap_remove(index).finish(outcome);
        }
    }
}

impl Pending {
    /// Under the lock of the state: the waiting thread looks at its outcome under it, too.
    fn finish(self, outcome: Outcome) {
        *self.waiter.outcome.lock() = Some(outcome);
        self.waiter.wake.notify_one();
    }
}

struct Receiver<'a> {
    stream: &'a dyn Stream,
    buffer: &'a mut ReceiveBuffer,
}

impl Receiver<'_> {
    fn fill(&mut self) -> Result<(), ReceiveError> {
        let count = self.stream.read(self.buffer.spare())?;
        self.buffer.filled(count);
        statistics::RECEIVED_BYTES.add(count as u64);
        match count {
            0 => Err(ReceiveError::Closed),
            _ => Ok(()),
        }
    }

    /// Receives the payload, and returns the call's status.
    fn payload(&mut self, header: &ReplyHeader, place: Rows) -> Result<CUresult, ReceiveError> {
        let found = header.payload_bytes.get();
        let expected = place.bytes() as u64;
        if found == 0 {
            return Ok(match header.status() {
                // The call wrote nothing, so its caller must not believe that it did.
                CUresult::CUDA_SUCCESS if expected > 0 => CUresult::CUDA_ERROR_UNKNOWN,
                status => status,
            });
        }
        if found != expected {
            return Err(ReceiveError::Payload { expected, found });
        }
        let mut readable = true;
        for address in place.addresses() {
            readable &= self.row(address, place.width_bytes, readable)?;
        }
        let status = self.trailer()?;
        Ok(match (header.status(), readable) {
            (CUresult::CUDA_SUCCESS, false) => CUresult::CUDA_ERROR_INVALID_VALUE,
            (CUresult::CUDA_SUCCESS, true) => status,
            (failed, _) => failed,
        })
    }

    /// Receives one row. Whether it could be written to; if not, its bytes are dropped.
    fn row(&mut self, address: usize, bytes: usize, keep: bool) -> Result<bool, ReceiveError> {
        let (mut done, mut keep) = (0, keep);
        while done < bytes {
            let piece = self.buffer.take(bytes - done);
            let count = piece.len();
            if keep {
                // SAFETY: the waiting call's memory is valid for writing until its outcome is set,
                // and the piece is within the row.
                unsafe {
                    let place = (address as *mut u8).add(done);
                    std::ptr::copy_nonoverlapping(piece.as_ptr(), place, count);
                }
            }
            done += count;
            let rest = bytes - done;
            if rest == 0 {
                break;
            }
            if rest < DIRECT_READ_BYTES_MIN || !keep {
                self.fill()?;
                continue;
            }
            // SAFETY: as above; `read` only writes to it, and says so if it cannot.
            let place =
                unsafe { std::slice::from_raw_parts_mut((address as *mut u8).add(done), rest) };
            match self.stream.read(place) {
                Ok(0) => return Err(ReceiveError::Closed),
                Ok(count) => {
                    statistics::RECEIVED_BYTES.add(count as u64);
                    done += count;
                }
                Err(error) if error.raw_os_error() == Some(libc::EFAULT) => keep = false,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(keep)
    }

    fn trailer(&mut self) -> Result<CUresult, ReceiveError> {
        loop {
            if let Some(trailer) = self.buffer.pending().first_chunk::<TRAILER_BYTES>() {
                let status = CUresult(u32::from_le_bytes(*trailer));
                self.buffer.take(TRAILER_BYTES);
                return Ok(status);
            }
            self.fill()?;
        }
    }
}
