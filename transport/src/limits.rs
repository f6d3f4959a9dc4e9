// SPDX-License-Identifier: Apache-2.0
//! Every limit of the transports, with its unit.

use std::time::Duration;

/// How long connecting to one address may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A silent TCP connection is probed after this time …
pub const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);

/// … again after this time …
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// … and given up after this many probes.
pub const KEEPALIVE_PROBES: u32 = 3;

/// Sent TCP data that nobody acknowledges for this time ends the connection.
pub const UNACKNOWLEDGED_TIMEOUT: Duration = Duration::from_secs(30);

/// Connections that wait to be accepted.
pub const BACKLOG: i32 = 1024;

/// Socket buffers of Unix sockets, in bytes: the default of 208 KiB halves the bandwidth.
pub const UNIX_BUFFER_BYTES: usize = 1 << 20;

/// Most buffers of one vectored write (`IOV_MAX`).
pub const VECTORS_MAX: usize = 1024;
