// SPDX-License-Identifier: Apache-2.0
//! What the webhook holds clients to, and how often it looks.

use std::time::Duration;

/// The largest review: an object of 1.5 MiB, the most that etcd stores, twice, and what is around.
pub(crate) const REVIEW_BYTES: usize = 4 << 20;
/// Connections at the same time; API servers keep few.
pub(crate) const CONNECTIONS: usize = 512;
/// A TLS handshake, and the answer to an HTTP/2 ping.
pub(crate) const HANDSHAKE: Duration = Duration::from_secs(10);
/// A connection without a request.
pub(crate) const IDLE: Duration = Duration::from_secs(300);
/// After a connection could not be accepted.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long open requests may take when the process ends.
pub(crate) const END: Duration = Duration::from_secs(10);
/// Between looks at the Secret and the registration.
pub(crate) const LOOK: Duration = Duration::from_secs(30);
/// After a look that failed.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// One request to the API server.
pub(crate) const API_REQUEST: Duration = Duration::from_secs(10);
