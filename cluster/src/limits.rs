// SPDX-License-Identifier: Apache-2.0
//! What the broker holds others to, and how often it looks.

use std::time::Duration;

/// The TCP port of a broker.
pub const BROKER_PORT: u16 = 34568;
/// The port of a backend whose pod names none.
pub const BACKEND_PORT: u16 = gvirtus_protocol::limits::DEFAULT_PORT;

/// Clients that ask or wait at the same time.
pub(crate) const CLIENTS: usize = 20_000;
/// From a connection to the end of its hello.
pub(crate) const HELLO: Duration = Duration::from_secs(10);
/// How long writing an answer may take.
pub(crate) const WRITE: Duration = Duration::from_secs(10);
/// Between two messages to a client that waits: less than what it was promised.
pub(crate) const WAIT: Duration = Duration::from_secs(5);
/// After a connection could not be accepted.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// One request to the API server.
pub(crate) const API_REQUEST: Duration = Duration::from_secs(10);
/// Requests to the API server at the same time, of one kind.
pub(crate) const API_REQUESTS: usize = 16;
/// How long what the API server said of a token is believed.
pub(crate) const TOKEN_CACHE: Duration = Duration::from_secs(5);
/// How long a client that waits is believed before the API server is asked again.
pub(crate) const TOKEN_AGAIN: Duration = Duration::from_secs(30);
/// Tokens that are remembered.
pub(crate) const TOKENS: usize = 10_000;
/// The longest token, in bytes.
pub(crate) const TOKEN_BYTES: usize = 16 << 10;

/// Between two questions to a backend.
pub(crate) const POLL: Duration = Duration::from_secs(2);
/// A backend that takes longer to answer is silent. Its worker may have to start a driver first.
pub(crate) const POLL_ANSWER: Duration = Duration::from_secs(20);
/// Connecting to a backend.
pub(crate) const POLL_CONNECT: Duration = Duration::from_secs(3);
/// How long a broker that begins waits for backends to tell what they have given.
pub(crate) const WARM: Duration = Duration::from_secs(6);

/// Between two looks at gates and sessions; changes of either are seen at once.
pub(crate) const LOOK: Duration = Duration::from_secs(1);
/// How long room is kept for a pod between its gate's removal and its first program.
pub(crate) const RESERVATION: Duration = Duration::from_secs(600);
/// An unchanged reason for waiting is told again after this time.
pub(crate) const EVENT_AGAIN: Duration = Duration::from_secs(300);

/// How long a backend may have no room for a pod whose shadow KAI has put on its node: it may have
/// just begun.
pub(crate) const SHADOW_ROOM: Duration = Duration::from_secs(10);
/// How long some of a pod's shadows may have a node while others wait: pods that hold what the
/// other needs would wait for ever.
pub(crate) const SHADOW_PARTLY: Duration = Duration::from_secs(60);
/// How long there are no shadows after they were of no use; twice as long after each time.
pub(crate) const SHADOW_PAUSE: Duration = Duration::from_secs(10);
/// The longest of these pauses, without what is added to keep pods apart.
pub(crate) const SHADOW_PAUSE_MAX: Duration = Duration::from_secs(300);

/// Between two looks at what nodes show of the backends.
pub(crate) const CAPACITY_LOOK: Duration = Duration::from_secs(2);
/// Nodes that are written to after one look.
pub(crate) const CAPACITY_PATCHES: usize = 32;
/// Between two writes to one node.
pub(crate) const CAPACITY_AGAIN: Duration = Duration::from_secs(5);

/// A lease that was not renewed for so long may be taken.
pub(crate) const LEASE: Duration = Duration::from_secs(15);
/// A leader that could not renew for so long stops.
pub(crate) const LEASE_RENEWAL: Duration = Duration::from_secs(10);
/// Between two looks at the lease.
pub(crate) const LEASE_LOOK: Duration = Duration::from_secs(2);

/// All requests to the API server of one change to the number of backends.
pub(crate) const SCALING: Duration = Duration::from_secs(30);
/// How long a watch may take to show what was written.
pub(crate) const WATCH_DELAY: Duration = Duration::from_secs(10);
/// A backend that was asked for and does not serve after this time is not counted on: images with
/// a driver are large, and nodes of clouds are slow to come.
pub(crate) const BACKEND_START: Duration = Duration::from_secs(600);
/// A pod that Kubernetes was to end first shows that it ends within this time.
pub(crate) const POD_END: Duration = Duration::from_secs(60);
/// Backends that are missing are counted up to here.
pub(crate) const MISSING_BACKENDS: usize = 1000;
