// SPDX-License-Identifier: Apache-2.0
//! Tickets: what a broker signs and a backend believes without asking anybody.
//!
//! A broker that knows who a client is gives it a [`Ticket`] for one backend, which says whose
//! sessions it opens and what they may use. The client shows it as the credentials of its hello;
//! the backend has the broker's public key and [verifies](PublicKeys::verify) it offline.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | `GVT` and the version of this layout, 1 |
//! | 4 | 64 | Ed25519 signature (RFC 8032) over the four bytes before it and all that follows it |
//! | 68 | … | [`Ticket`] as postcard, at most [`TICKET_BYTES_MAX`] in all |
//!
//! Nothing here reads a clock, a file or random numbers: the caller brings them.

#![forbid(unsafe_code)]

mod key;
pub mod limits;
mod ticket;

pub use key::{KeyError, PublicKey, PublicKeys, SigningKey};
pub use limits::TICKET_BYTES_MAX;
pub use ticket::{Account, Quota, Scope, Ticket, TicketError};
