// SPDX-License-Identifier: Apache-2.0
//! What client and worker say to each other, as bytes: no sockets, no clock, no threads.
//!
//! ```text
//! client                                             daemon, then worker
//!   │ preamble, Hello (identity, credentials)           │
//!   ├──────────────────────────────────────────────────▶│ authenticates, starts a worker
//!   │                    preamble, Welcome (snapshot)   │ or: preamble, Refusal (one sentence)
//!   │◀──────────────────────────────────────────────────┤
//!   │ command 1 (posted)                                │
//!   ├──────────────────────────────────────────────────▶│
//!   │ command 2 (posted, with payload)                  │ executes in the order of the numbers
//!   ├──────────────────────────────────────────────────▶│
//!   │ command 3 (sync)                                  │
//!   ├──────────────────────────────────────────────────▶│
//!   │            console output, if a kernel printed    │
//!   │◀──────────────────────────────────────────────────┤
//!   │            reply to 3: status, first failure of a │
//!   │◀──────────────────────── posted command, payload ─┤
//! ```
//!
//! All integers are little-endian. [`handshake`] describes the opening, [`frame`] what follows it,
//! [`command`] the bodies. A connection for NVML goes on with [`management`] instead; [`status`] is
//! what a daemon tells of its sessions. Everything read from the peer is checked against [`limits`]
//! before anything is allocated.

#![forbid(unsafe_code)]

pub mod command;
pub mod frame;
pub mod handshake;
mod image_command;
pub mod limits;
pub mod management;
pub mod opcode;
pub mod snapshot;
pub mod status;
pub mod stream;
