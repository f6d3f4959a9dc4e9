// SPDX-License-Identifier: Apache-2.0
//! Every limit of the client, with its unit.

use std::time::Duration;

/// Commands are written out at the latest when this many bytes wait.
pub(crate) const FLUSH_BYTES: usize = 64 << 10;

/// A payload of at least this many bytes is written from the caller's memory; a shorter one is
/// copied, because a system call of its own would cost more.
pub(crate) const COPIED_PAYLOAD_BYTES_MAX: usize = 16 << 10;

/// How long a posted command may wait for company.
pub(crate) const FLUSH_AGE: Duration = Duration::from_micros(15);

/// The flusher goes to sleep after this many looks without a new command: about a millisecond.
pub(crate) const FLUSHER_IDLE_LOOKS_MAX: u32 = 24;

/// Stack of the flusher's thread; it holds the thread-local data of all libraries too.
pub(crate) const FLUSHER_STACK_BYTES: usize = 256 << 10;

/// Replies are received in pieces of this size.
pub(crate) const RECEIVE_BYTES: usize = 64 << 10;

/// A row of a reply's payload that lacks at least this many bytes is read straight into place.
pub(crate) const DIRECT_READ_BYTES_MIN: usize = 16 << 10;

/// Rows of at least this many bytes are written from the caller's memory one by one; shorter ones
/// are gathered first.
pub(crate) const DIRECT_ROW_BYTES_MIN: usize = 1 << 10;

/// Rows that are shorter are gathered in pieces of at most this size.
pub(crate) const GATHER_BYTES: usize = 256 << 10;

/// Most rows of one vectored write.
pub(crate) const ROWS_PER_WRITE: usize = 512;

/// How long the backend may take to answer a hello: it starts a worker and initialises the driver.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(60);

/// After a failed connection the next attempt is not made before this time.
pub(crate) const RECONNECT_PAUSE: Duration = Duration::from_secs(5);

/// A client that waits for a backend asks again after this time …
pub(crate) const BROKER_PAUSE_MIN: Duration = Duration::from_millis(200);

/// … and after twice as long each time, up to this.
pub(crate) const BROKER_PAUSE_MAX: Duration = Duration::from_secs(5);

/// How long a client waits for a backend, unless `GVIRTUS_WAIT_S` says otherwise.
pub(crate) const BROKER_WAIT_DEFAULT: Duration = Duration::from_hours(1);

/// Most functions of the application that may still be called.
pub(crate) const HOST_FUNCTIONS_MAX: usize = 1 << 20;

/// Longest `GVIRTUS_TOKEN_FILE`, in bytes.
pub(crate) const TOKEN_BYTES_MAX: u64 = 16 << 10;

/// Longest `properties.json`, in bytes.
pub(crate) const PROPERTIES_BYTES_MAX: u64 = 1 << 20;

/// How often an allocation whose addresses the application uses itself is tried elsewhere.
pub(crate) const ALLOCATION_ATTEMPTS_MAX: usize = 16;

/// Most remembered answers about the occupancy of one kernel.
pub(crate) const OCCUPANCY_ANSWERS_MAX: usize = 4096;

/// The first launch of a kernel with more dynamic shared memory waits for the driver's judgement,
/// because programs rely on the refusal of what they have not asked for (see
/// `CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES`). In bytes.
pub(crate) const UNASKED_SHARED_BYTES_MAX: u32 = 16 << 10;

/// The first launch of a kernel with more threads a block waits for the driver's judgement: few
/// kernels that can be launched at all need so many registers that they cannot with fewer threads.
pub(crate) const UNASKED_THREADS_MAX: u64 = 512;

/// Operations of one `cuStreamBatchMemOp`, as `cuda.h` has it.
pub(crate) const MEMORY_OPERATIONS_MAX: u32 = 256;

/// Blocks of a cluster that every device with clusters runs.
pub(crate) const PORTABLE_CLUSTER_BLOCKS: u64 = 8;
