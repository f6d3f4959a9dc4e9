// SPDX-License-Identifier: Apache-2.0
//! Bytes in, bytes out: TCP and Unix sockets behind one trait.
//!
//! Blocking, full duplex, usable from several threads by shared reference, no runtime: this crate
//! lives in the application's process too.

#![forbid(unsafe_code)]

mod endpoint;
pub mod limits;
mod socket;
mod stream;

pub use endpoint::{Endpoint, EndpointError, parse_list};
pub use socket::{ConnectError, Listener, connect, from_descriptor};
pub use stream::{Stream, read_exact, write_all_vectored};
