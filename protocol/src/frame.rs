// SPDX-License-Identifier: Apache-2.0
//! Commands and replies: a fixed header, a short body, and for copies and images a payload.
//!
//! Command, client to worker:
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 4 | bytes of the body, at most [`COMMAND_BODY_BYTES_MAX`] |
//! | 4 | 2 | opcode |
//! | 6 | 2 | number of the context that is current, 0 for none |
//! | 8 | 8 | number of the command: 1, 2, 3 … in a session |
//! | 16 | 8 | bytes of the payload |
//! | 24 | | body, then payload |
//!
//! Reply, worker to client:
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 4 | bytes of the body, at most [`REPLY_BODY_BYTES_MAX`] |
//! | 4 | 4 | kind: 0 reply, 1 standard output, 2 standard error of the device, 3 host function |
//! | 8 | 8 | number of the command that is answered; of a host function, of the call |
//! | 16 | 8 | bytes of the payload |
//! | 24 | 4 | status of the command, a `CUresult` |
//! | 28 | 4 | first failure of a posted command that no reply has told yet, a `CUresult` |
//! | 32 | | body, then payload, then if there is a payload 4 bytes: its final `CUresult` |
//!
//! A frame of kind 3 asks the client to run a function of its program: the body is the number under
//! which the client has announced it, the status what a stream callback is told. The stream waits
//! until the client has said, with `HOST_FUNCTION_RETURNED`, that this call has returned.
//!
//! A posted command has no reply. Commands are executed in the order of their numbers; replies of
//! calls that wait may overtake each other, so a reply names its command.

use gvirtus_abi::CUresult;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::limits::{COMMAND_BODY_BYTES_MAX, PAYLOAD_BYTES_MAX, REPLY_BODY_BYTES_MAX};
use crate::opcode::Opcode;

/// Bytes of a [`CommandHeader`].
pub const COMMAND_HEADER_BYTES: usize = size_of::<CommandHeader>();

/// Bytes of a [`ReplyHeader`].
pub const REPLY_HEADER_BYTES: usize = size_of::<ReplyHeader>();

/// Bytes of the status that follows a reply's payload.
pub const TRAILER_BYTES: usize = 4;

/// The first bytes of a command.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct CommandHeader {
    /// Bytes of the body.
    pub body_bytes: U32,
    /// What to do.
    pub opcode: U16,
    /// Number of the context that is current, 0 for none.
    pub context: U16,
    /// Number of the command.
    pub sequence: U64,
    /// Bytes of the payload.
    pub payload_bytes: U64,
}

/// The first bytes of a reply.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ReplyHeader {
    /// Bytes of the body.
    pub body_bytes: U32,
    /// One of [`ReplyKind`].
    pub kind: U32,
    /// Number of the command that is answered; of console output, 0.
    pub sequence: U64,
    /// Bytes of the payload.
    pub payload_bytes: U64,
    /// A `CUresult`.
    pub status: U32,
    /// A `CUresult`.
    pub deferred: U32,
}

/// What a reply frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyKind {
    /// The answer to a command.
    Reply = 0,
    /// What a kernel printed; the body is the text.
    StandardOutput = 1,
    /// What a failed device assertion printed; the body is the text.
    StandardError = 2,
    /// A function of the client's program is due.
    HostFunction = 3,
}

/// A frame that the peer must not send. The connection is of no use after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The peer announces a body over the limit.
    #[error("the peer announces a body of {0} bytes, which is over the limit")]
    BodyTooLong(u32),
    /// The peer announces a payload over the limit.
    #[error("the peer announces a payload of {0} bytes, which is over the limit")]
    PayloadTooLong(u64),
    /// The peer lost or repeated a command.
    #[error("the peer sends command {found} where command {expected} is due")]
    Sequence {
        /// The number that is due.
        expected: u64,
        /// The number that came.
        found: u64,
    },
    /// The peer sends an opcode that the table does not have.
    #[error("the peer sends the unknown message {:#06x}", .0.0)]
    UnknownOpcode(Opcode),
    /// The peer sends a reply of an unknown kind.
    #[error("the peer sends a reply of the unknown kind {0}")]
    UnknownKind(u32),
}

impl CommandHeader {
    /// A header for the command with the number `sequence`.
    pub fn new(
        opcode: Opcode,
        context: u16,
        sequence: u64,
        body_bytes: u32,
        payload_bytes: u64,
    ) -> Self {
        Self {
            body_bytes: U32::new(body_bytes),
            opcode: U16::new(opcode.0),
            context: U16::new(context),
            sequence: U64::new(sequence),
            payload_bytes: U64::new(payload_bytes),
        }
    }

    /// What to do.
    pub const fn opcode(&self) -> Opcode {
        Opcode(self.opcode.get())
    }

    /// Bytes of the body; after [`CommandHeader::check`] within the limit.
    pub const fn body_len(&self) -> usize {
        self.body_bytes.get() as usize
    }

    /// Whether a worker may go on with this header.
    ///
    /// # Errors
    ///
    /// What the client did wrong.
    pub fn check(&self, expected: u64) -> Result<(), FrameError> {
        let body = self.body_bytes.get();
        if body as usize > COMMAND_BODY_BYTES_MAX {
            return Err(FrameError::BodyTooLong(body));
        }
        let payload = self.payload_bytes.get();
        if payload > PAYLOAD_BYTES_MAX {
            return Err(FrameError::PayloadTooLong(payload));
        }
        let found = self.sequence.get();
        if found != expected {
            return Err(FrameError::Sequence { expected, found });
        }
        if self.opcode().name().is_none() {
            return Err(FrameError::UnknownOpcode(self.opcode()));
        }
        Ok(())
    }
}

impl ReplyHeader {
    /// A reply to the command with the number `sequence`.
    pub fn new(
        sequence: u64,
        status: CUresult,
        deferred: CUresult,
        body_bytes: u32,
        payload_bytes: u64,
    ) -> Self {
        Self {
            body_bytes: U32::new(body_bytes),
            kind: U32::new(ReplyKind::Reply as u32),
            sequence: U64::new(sequence),
            payload_bytes: U64::new(payload_bytes),
            status: U32::new(status.0),
            deferred: U32::new(deferred.0),
        }
    }

    /// Console output of `body_bytes` bytes.
    pub fn console(kind: ReplyKind, body_bytes: u32) -> Self {
        let mut header = Self::new(
            0,
            CUresult::CUDA_SUCCESS,
            CUresult::CUDA_SUCCESS,
            body_bytes,
            0,
        );
        header.kind = U32::new(kind as u32);
        header
    }

    /// Asks for a host function: the number of the call, and what a callback is told.
    pub fn host_function(call: u64, status: CUresult) -> Self {
        let success = CUresult::CUDA_SUCCESS;
        let mut header = Self::new(call, status, success, size_of::<u64>() as u32, 0);
        header.kind = U32::new(ReplyKind::HostFunction as u32);
        header
    }

    /// Bytes of the body; after [`ReplyHeader::check`] within the limit.
    pub const fn body_len(&self) -> usize {
        self.body_bytes.get() as usize
    }

    /// The status of the command.
    pub const fn status(&self) -> CUresult {
        CUresult(self.status.get())
    }

    /// The first failure of a posted command that no reply has told yet.
    pub const fn deferred(&self) -> CUresult {
        CUresult(self.deferred.get())
    }

    /// Whether a client may go on with this header.
    ///
    /// # Errors
    ///
    /// What the worker did wrong.
    pub fn check(&self) -> Result<ReplyKind, FrameError> {
        let body = self.body_bytes.get();
        if body as usize > REPLY_BODY_BYTES_MAX {
            return Err(FrameError::BodyTooLong(body));
        }
        let payload = self.payload_bytes.get();
        if payload > PAYLOAD_BYTES_MAX {
            return Err(FrameError::PayloadTooLong(payload));
        }
        match self.kind.get() {
            0 => Ok(ReplyKind::Reply),
            1 => Ok(ReplyKind::StandardOutput),
            2 => Ok(ReplyKind::StandardError),
            3 => Ok(ReplyKind::HostFunction),
            other => Err(FrameError::UnknownKind(other)),
        }
    }
}
