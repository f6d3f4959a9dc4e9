// SPDX-License-Identifier: Apache-2.0
//! Why a session ends, and why a command fails.

use std::io;

use gvirtus_abi::CUresult;
use gvirtus_protocol::frame::FrameError;
use gvirtus_protocol::opcode::Opcode;

/// Why a session ends before its client ends it. But for [`SessionError::Connection`], the client's
/// fault.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// A body or payload is not as long as its message demands.
    #[error("the client sends a malformed {}", .0.name().unwrap_or("message"))]
    Body(Opcode),
    /// The connection breaks.
    #[error("the connection breaks: {0}")]
    Connection(#[from] io::Error),
    /// A frame that must not be.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// Why a command fails.
#[derive(Debug)]
pub(super) enum Failure {
    /// The session ends.
    Session(SessionError),
    /// The client learns it, and the session goes on.
    Status(CUresult),
}

impl From<CUresult> for Failure {
    fn from(status: CUresult) -> Self {
        Self::Status(status)
    }
}

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Self {
        Self::Session(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Session(error.into())
    }
}
