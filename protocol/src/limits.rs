// SPDX-License-Identifier: Apache-2.0
//! Every limit of the protocol, with its unit.

use std::time::Duration;

/// The default TCP port of a backend.
pub const DEFAULT_PORT: u16 = 9999;

/// Longest hello or welcome, in bytes. A device takes about 2 KiB of a welcome.
pub const HANDSHAKE_BYTES_MAX: usize = 1 << 20;

/// Longest hello, in bytes.
pub const HELLO_BYTES_MAX: usize = 64 << 10;

/// Longest text of an identity or a refusal, in bytes.
pub const TEXT_BYTES_MAX: usize = 4 << 10;

/// Longest ticket in a grant, in bytes.
pub const TICKET_BYTES_MAX: usize = gvirtus_ticket::TICKET_BYTES_MAX;

/// How often a broker tells a waiting client that it is still there. A client that hears nothing
/// for several times as long asks again.
pub const WAIT_INTERVAL: Duration = Duration::from_secs(10);

/// Longest body of a command, in bytes: the longest is a launch with 32,764 bytes of parameters.
pub const COMMAND_BODY_BYTES_MAX: usize = 64 << 10;

/// Longest body of a reply, in bytes: the kernels of a library.
pub const REPLY_BODY_BYTES_MAX: usize = 64 << 20;

/// Longest payload of a command or reply, in bytes.
pub const PAYLOAD_BYTES_MAX: u64 = 1 << 46;

/// Longest module or library image, in bytes.
pub const IMAGE_BYTES_MAX: u64 = 2 << 30;

/// A payload of several fatbins has each at a multiple of this many bytes.
pub const IMAGE_PART_ALIGNMENT_BYTES: usize = 16;

/// Most bytes of a kernel's parameters (CUDA's own limit since 12.1 is 32,764).
pub const PARAMETER_BYTES_MAX: usize = 32 << 10;

/// Most launch attributes of one launch.
pub const LAUNCH_ATTRIBUTES_MAX: usize = 64;

/// Most devices of one backend.
pub const DEVICES_MAX: usize = 64;

/// Most live handles of one kind in a session.
pub const HANDLES_MAX: u32 = 1 << 22;

/// Most contexts of a session: the number travels in 16 bits.
pub const CONTEXTS_MAX: u32 = 1 << 16;

/// Longest piece of console output in one frame, in bytes.
pub const CONSOLE_BYTES_MAX: usize = 1 << 20;

/// Longest picture of a daemon's sessions, in bytes: [`STATUS_SESSIONS_MAX`] of the largest.
pub const STATUS_BYTES_MAX: usize = 16 << 20;

/// Most sessions of one picture.
pub const STATUS_SESSIONS_MAX: usize = 2048;

/// Longest text in a picture, in bytes.
pub const STATUS_TEXT_BYTES_MAX: usize = 256;

/// How often a worker whose counters change reports them.
pub const STATUS_INTERVAL: Duration = Duration::from_secs(1);

/// Longest request or reply of NVML, in bytes: three arrays of [`MANAGEMENT_ARRAY_BYTES_MAX`].
pub const MANAGEMENT_BYTES_MAX: usize = 4 << 20;

/// Longest array that an NVML function gets or fills, in bytes: about 40,000 processes.
pub const MANAGEMENT_ARRAY_BYTES_MAX: usize = 1 << 20;

/// Longest string that an NVML function gets or fills, in bytes.
pub const MANAGEMENT_TEXT_BYTES_MAX: usize = 16 << 10;
