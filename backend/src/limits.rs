// SPDX-License-Identifier: Apache-2.0
//! Every limit of the backend, with its unit. Those of messages are the protocol's.

use std::time::Duration;

/// Bytes that the worker reads at once. A launch takes about 150: a busy client fills it, and what
/// it takes in of a large payload has to be copied once more.
pub const RECEIVE_BUFFER_BYTES: usize = 64 << 10;

/// A payload's remainder below this comes through the receive buffer, with what follows it.
pub const DIRECT_READ_BYTES_MIN: usize = 16 << 10;

/// Bytes of one pinned staging chunk. It should stay in a core's second-level cache between the
/// socket and the copy.
pub const STAGING_CHUNK_BYTES: usize = 256 << 10;

/// Alignment of a payload in a staging chunk, in bytes.
pub const STAGING_ALIGNMENT_BYTES: usize = 256;

/// The rest of a chunk is not used for less than this many bytes of a larger payload.
pub const STAGING_PIECE_BYTES_MIN: usize = 64 << 10;

/// Shorter copies are not worth the question whether device memory lies in this process.
pub const HOST_MEMORY_BYTES_MIN: u64 = 16 << 10;

/// Chunks of a context that are allocated without waiting for older ones first.
pub const STAGING_CHUNKS_FEW: usize = 4;

/// Most chunks of a context: 64 MiB.
pub const STAGING_CHUNKS_MAX: usize = (64 << 20) / STAGING_CHUNK_BYTES;

/// Chunks of a copy to the host that the executor sends itself that are under way at a time.
pub const DOWNLOAD_CHUNKS: usize = 3;

/// Longest copy to the host that the executor sends itself once the device has begun with it.
pub const INLINE_DOWNLOAD_BYTES_MAX: u64 = 8 << 20;

/// Longest copy to the host that is left to a waiter, for which all of it has to fit into staging
/// memory. For a longer one the executor waits.
pub const PARKED_DOWNLOAD_BYTES_MAX: u64 = 64 << 20;

/// How long an upload waits for a used chunk before it takes another one.
pub const STAGING_PATIENCE: Duration = Duration::from_micros(200);

/// How long the executor waits for the device by itself before it leaves that to another thread.
pub const SPIN: Duration = Duration::from_micros(50);

/// Streams of a context that are asked one by one whether they are idle.
pub const QUERIED_STREAMS_MAX: usize = 32;

/// Most threads of a session that wait for the device; further waits wait for one of them.
pub const WAITER_THREADS_MAX: usize = 256;

/// Bytes of the just-in-time compiler's error log that are returned.
pub const ERROR_LOG_BYTES: usize = 16 << 10;

/// Longest name of a variable or kernel, in bytes.
pub const NAME_BYTES_MAX: usize = 16 << 10;

/// Numbers of libraries and modules are below this: an entry takes some 150 bytes.
pub const IMAGES_MAX: u32 = 1 << 18;

/// Numbers of linkers are below this.
pub const LINKS_MAX: u32 = 1 << 12;

/// Bytes that are read ahead of the executor in a session with host functions.
pub const READ_AHEAD_BYTES: usize = 4 << 20;

/// Most bytes that are read ahead while a host function runs in the client.
pub const READ_AHEAD_BYTES_MAX: usize = 2 << 30;

/// Most kernels of one image.
pub const KERNELS_MAX: u32 = 1 << 16;

/// Most parameters of one kernel: each takes at least a byte.
pub const PARAMETERS_MAX: usize = gvirtus_protocol::limits::PARAMETER_BYTES_MAX;

/// Console output that is read at once, in bytes.
pub const CONSOLE_READ_BYTES: usize = 64 << 10;

/// Within this time a client must have said who it is.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections at the same time that have not said who they are.
pub const HANDSHAKES_MAX: usize = 1024;

/// Sessions at the same time, unless the operator says otherwise.
pub const SESSIONS_DEFAULT: usize = 256;

/// Within this time a worker must have started its driver; the first start after boot may have to
/// load kernel modules.
pub const WORKER_START_TIMEOUT: Duration = Duration::from_secs(60);

/// Sessions of one account at the same time: of one pod, or one container of it.
pub const ACCOUNT_SESSIONS_MAX: usize = 256;

/// Longest list of brokers' public keys, in bytes.
pub const KEYS_BYTES_MAX: u64 = 16 << 10;

/// How long a backend that ends waits for its sessions, unless the operator says otherwise.
pub const DRAIN_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

/// How long a refused client gets to read why.
pub const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// Pause after a failed accept, for example when there are too many open files.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Longest sentence of a worker that cannot start, in bytes.
pub const REASON_BYTES_MAX: usize = 4 << 10;

/// Descriptors that a session can have exported.
pub const EXPORTS_MAX: usize = 4096;

/// Within this time another worker must have sent what it exported.
pub const DESCRIPTOR_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest report of a session's counters, in bytes: those of [`DEVICES_MAX`] devices.
///
/// [`DEVICES_MAX`]: gvirtus_protocol::limits::DEVICES_MAX
pub const COUNTERS_BYTES_MAX: usize = 2 << 10;

/// Connections at the same time that ask for the daemon's sessions.
pub const STATUS_CLIENTS_MAX: usize = 64;

/// Within this time such a client must ask again.
pub const STATUS_IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Within this time such a client must have read its answer.
pub const STATUS_ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// How soon after an answer such a client gets the next one.
pub const STATUS_PAUSE: Duration = Duration::from_millis(50);

/// Between two looks at the devices, while somebody asks.
pub const FIGURES_INTERVAL: Duration = Duration::from_secs(1);

/// Devices are looked at as long as the last question is no older.
pub const FIGURES_IDLE: Duration = Duration::from_secs(30);

/// How long the first answer waits for the first look: NVML has to be started.
pub const FIGURES_FIRST: Duration = Duration::from_secs(5);

/// After NVML could not be asked.
pub const FIGURES_PAUSE: Duration = Duration::from_secs(60);

/// Longest report of all devices, in bytes: 20 each at most.
pub const FIGURES_BYTES_MAX: usize = 20 * gvirtus_protocol::limits::DEVICES_MAX + 8;

/// How long a daemon reads on what the worker of an ended session has reported.
pub const LAST_REPORT_TIMEOUT: Duration = Duration::from_millis(200);

/// Handles of all kinds that an NVML connection can have at a time.
pub const NVML_HANDLES_MAX: usize = 4096;

/// Threads of an NVML connection that wait for events.
pub const NVML_WAITS_MAX: u32 = 64;

/// What lies behind each buffer that NVML writes to, in bytes: a newer library may have made a
/// structure longer.
pub const NVML_SLACK_BYTES: usize = 4 << 10;

/// Elements of an array of which the caller does not tell how many fit.
pub const NVML_UNBOUNDED_ELEMENTS_MAX: usize = 1024;

/// Processes of an NVML connection that may be asked for their names.
pub const NVML_SHOWN_PROCESSES_MAX: usize = 64 << 10;

/// Bytes of a session's program name that are kept for NVML.
pub const PROGRAM_NAME_BYTES_MAX: usize = 255;
