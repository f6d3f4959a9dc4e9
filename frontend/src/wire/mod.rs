// SPDX-License-Identifier: Apache-2.0
//! One connection: the queue of commands in one direction, the replies in the other.
//!
//! Any number of threads append commands to one buffer under a short lock; that makes the order of
//! the commands. Whoever fills the buffer, or needs a reply, takes it and writes it *outside* the
//! lock, while the others go on appending to a second one. Only one thread writes at a time. A
//! thread that needs a reply while another writes does not wait for it: it leaves a mark that
//! makes the writer go on, and turns to reading. So no thread that has asked the worker for
//! something ever waits for the writing side, and the two directions cannot block each other.
//!
//! A posted command leaves at the latest after some ten microseconds ([`flusher`]).

mod faults;
mod flusher;
mod host;
mod replies;
mod rows;
#[cfg(test)]
mod tests;

use std::io;

use gvirtus_abi::CUresult;
use gvirtus_driver_face::log;
use gvirtus_protocol::frame::{COMMAND_HEADER_BYTES, CommandHeader};
use gvirtus_protocol::limits::COMMAND_BODY_BYTES_MAX;
use gvirtus_protocol::opcode::Opcode;
use gvirtus_transport::Stream;
use parking_lot::{Condvar, Mutex, MutexGuard};
use zerocopy::IntoBytes as _;

use self::faults::Faults;
use self::flusher::Flusher;
use self::host::HostFunctions;
pub(crate) use self::host::{Registered, runs_host_function};
pub(crate) use self::replies::{Body, Outcome};
use self::replies::{ReceiveError, Replies};
pub(crate) use self::rows::{Payload, Rows};
use self::rows::{Sent, send};
use crate::limits::{COPIED_PAYLOAD_BYTES_MAX, FLUSH_BYTES};
use crate::statistics;

/// Room for the command that exceeds [`FLUSH_BYTES`].
const BUFFER_BYTES: usize =
    FLUSH_BYTES + COMMAND_HEADER_BYTES + COMMAND_BODY_BYTES_MAX + COPIED_PAYLOAD_BYTES_MAX;

/// A connection after its handshake. It lives as long as the process: the flusher uses it, and at
/// the process's end nobody could say who uses it last.
pub(crate) struct Wire {
    stream: Box<dyn Stream>,
    /// What the user calls the other end.
    peer: String,
    queue: Mutex<Queue>,
    /// Signalled when a writer has taken the buffer or is done.
    room: Condvar,
    /// Signalled when the flusher has something to do again.
    work: Condvar,
    replies: Replies,
    faults: Faults,
    host_functions: HostFunctions,
}

struct Queue {
    /// Commands that wait.
    buffer: Vec<u8>,
    /// The other buffer, while nobody writes it.
    spare: Vec<u8>,
    /// Number of the last command.
    sequence: u64,
    is_writing: bool,
    /// Somebody waits for the reply of a command in the buffer: whoever writes goes on.
    is_flush_wanted: bool,
    flusher: Flusher,
}

/// What a command is and where it belongs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Command {
    /// What to do.
    pub(crate) opcode: Opcode,
    /// Number of the current context, 0 for none.
    pub(crate) context: u16,
}

impl Wire {
    /// A connection whose handshake is over.
    pub(crate) fn open(stream: Box<dyn Stream>, peer: String) -> &'static Self {
        Box::leak(Box::new(Self {
            stream,
            peer,
            queue: Mutex::new(Queue {
                buffer: Vec::with_capacity(BUFFER_BYTES),
                spare: Vec::with_capacity(BUFFER_BYTES),
                sequence: 0,
                is_writing: false,
                is_flush_wanted: false,
                flusher: Flusher::Unborn,
            }),
            room: Condvar::new(),
            work: Condvar::new(),
            replies: Replies::default(),
            faults: Faults::default(),
            host_functions: HostFunctions::default(),
        }))
    }

    /// What went wrong so far.
    pub(crate) fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The socket's descriptor.
    pub(crate) fn descriptor(&self) -> std::os::fd::BorrowedFd<'_> {
        self.stream.descriptor()
    }

    /// Queues a command whose body `fill` appends.
    ///
    /// # Errors
    ///
    /// If the connection is lost, or the body is too long (`CUDA_ERROR_INVALID_VALUE`).
    #[inline]
    pub(crate) fn post(
        &'static self,
        command: Command,
        fill: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), CUresult> {
        let mut queue = self.lock_with_room();
        self.faults.check_connection()?;
        queue.append(command, 0, fill)?;
        statistics::POSTED.increment_exclusively();
        self.after_post(queue);
        Ok(())
    }

    /// Queues a command with a payload, which has left the caller's memory on return.
    ///
    /// # Safety
    ///
    /// The application's memory in `payload` is readable.
    ///
    /// # Errors
    ///
    /// As [`Wire::post`]; `CUDA_ERROR_INVALID_VALUE` if the operating system cannot read the
    /// memory.
    pub(crate) unsafe fn post_payload(
        &'static self,
        command: Command,
        fill: impl FnOnce(&mut Vec<u8>),
        payload: Payload<'_>,
    ) -> Result<(), CUresult> {
        let bytes = payload.bytes();
        if bytes <= COPIED_PAYLOAD_BYTES_MAX as u64 {
            let mut queue = self.lock_with_room();
            self.faults.check_connection()?;
            queue.append(command, bytes, fill)?;
            // SAFETY: the caller's promise.
            unsafe { payload.append_to(&mut queue.buffer) };
            statistics::POSTED.increment_exclusively();
            self.after_post(queue);
            return Ok(());
        }
        let mut queue = self.lock_to_write();
        self.faults.check_connection()?;
        queue.append(command, bytes, fill)?;
        statistics::POSTED.increment_exclusively();
        // SAFETY: the caller's promise.
        match unsafe { self.write_out(&mut queue, payload) } {
            Sent::Whole => self.faults.check_connection(),
            Sent::Unreadable => Err(CUresult::CUDA_ERROR_INVALID_VALUE),
        }
    }

    /// Sends a command and waits for its reply, whose payload goes to `destination`.
    ///
    /// # Safety
    ///
    /// The application's memory in `payload` is readable, and in `destination` writable.
    ///
    /// # Errors
    ///
    /// As [`Wire::post_payload`]. What the worker answers is in the outcome.
    pub(crate) unsafe fn call(
        &'static self,
        command: Command,
        fill: impl FnOnce(&mut Vec<u8>),
        payload: Payload<'_>,
        destination: Rows,
    ) -> Result<Outcome, CUresult> {
        let bytes = payload.bytes();
        let mut queue = match bytes {
            0 => self.lock_with_room(),
            _ => self.lock_to_write(),
        };
        self.faults.check_connection()?;
        queue.append(command, bytes, fill)?;
        let waiter = self
            .replies
            .register(queue.sequence, destination)
            .ok_or(CUresult::CUDA_ERROR_DEVICE_UNAVAILABLE)?;
        let mut sent = Sent::Whole;
        if queue.is_writing {
            queue.is_flush_wanted = true;
        } else {
            // SAFETY: the caller's promise.
            sent = unsafe { self.write_out(&mut queue, payload) };
        }
        drop(queue);
        statistics::ROUND_TRIPS.add(1);
        let (outcome, failure) = self.replies.wait(&*self.stream, &self.faults, &waiter);
        if let Some(failure) = failure {
            self.lose(&failure);
        }
        match sent {
            Sent::Whole => Ok(outcome),
            Sent::Unreadable => Err(CUresult::CUDA_ERROR_INVALID_VALUE),
        }
    }

    /// The queue, when it has room for a command.
    fn lock_with_room(&self) -> MutexGuard<'_, Queue> {
        let mut queue = self.queue.lock();
        while queue.buffer.len() >= FLUSH_BYTES {
            if queue.is_writing {
                self.room.wait(&mut queue);
            } else {
                // SAFETY: there is no payload.
                unsafe { self.write_out(&mut queue, Payload::None) };
            }
        }
        queue
    }

    /// The queue, when nobody writes.
    fn lock_to_write(&self) -> MutexGuard<'_, Queue> {
        let mut queue = self.queue.lock();
        while queue.is_writing {
            self.room.wait(&mut queue);
        }
        queue
    }

    /// Sees to it that what was posted leaves in time.
    #[inline]
    fn after_post(&'static self, mut queue: MutexGuard<'_, Queue>) {
        match queue.flusher {
            Flusher::Awake => {}
            Flusher::Asleep => {
                queue.flusher = Flusher::Awake;
                self.work.notify_one();
            }
            Flusher::Unborn => {
                queue.flusher = Flusher::Awake;
                drop(queue);
                self.start_flusher();
            }
            Flusher::Impossible if queue.is_writing => queue.is_flush_wanted = true,
            Flusher::Impossible => {
                // SAFETY: there is no payload.
                unsafe { self.write_out(&mut queue, Payload::None) };
            }
        }
    }

    /// Writes the buffer and `payload`, and what others want to be written meanwhile. Nobody else
    /// writes, and the lock is not held while the operating system works.
    ///
    /// # Safety
    ///
    /// The application's memory in `payload` is readable.
    unsafe fn write_out(&self, queue: &mut MutexGuard<'_, Queue>, payload: Payload<'_>) -> Sent {
        debug_assert!(!queue.is_writing, "one thread writes at a time");
        queue.is_writing = true;
        let mut outcome = Sent::Whole;
        let mut payload = payload;
        let mut batch = std::mem::take(&mut queue.spare);
        loop {
            queue.is_flush_wanted = false;
            std::mem::swap(&mut batch, &mut queue.buffer);
            self.room.notify_all();
            let result = MutexGuard::unlocked(queue, || {
                statistics::SENT_BYTES.add(batch.len() as u64 + payload.bytes());
                // SAFETY: the caller's promise.
                let result = unsafe { send(&*self.stream, &batch, payload) };
                if let Err(error) = &result {
                    self.stream.shutdown();
                    self.lose(&ReceiveError::Io(io::Error::from(error.kind())));
                    self.replies.lose();
                }
                result
            });
            batch.clear();
            payload = Payload::None;
            if let Ok(Sent::Unreadable) = result {
                outcome = Sent::Unreadable;
            }
            if !queue.is_flush_wanted {
                break;
            }
        }
        queue.spare = batch;
        queue.is_writing = false;
        self.room.notify_all();
        outcome
    }

    /// The connection is of no use any more: says so once.
    fn lose(&self, reason: &ReceiveError) {
        if self.faults.note_lost() {
            log::write_always(format_args!(
                "the connection to {} is lost: {reason}; the process must be started again",
                self.peer
            ));
        }
    }
}

impl Queue {
    /// Appends header and body and counts the command.
    #[inline]
    fn append(
        &mut self,
        command: Command,
        payload_bytes: u64,
        fill: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), CUresult> {
        let start = self.buffer.len();
        let body = start + COMMAND_HEADER_BYTES;
        self.buffer.resize(body, 0);
        fill(&mut self.buffer);
        let body_bytes = self.buffer.len() - body;
        if body_bytes > COMMAND_BODY_BYTES_MAX {
            self.buffer.truncate(start);
            return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
        }
        self.sequence += 1;
        #[allow(
            clippy::cast_possible_truncation,
            reason = "compared with the limit above"
        )]
        let header = CommandHeader::new(
            command.opcode,
            command.context,
            self.sequence,
            body_bytes as u32,
            payload_bytes,
        );
        self.buffer[start..body].copy_from_slice(header.as_bytes());
        Ok(())
    }
}
