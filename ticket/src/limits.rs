// SPDX-License-Identifier: Apache-2.0
//! Every limit of tickets, with its unit.

use std::time::Duration;

/// Longest signed ticket, in bytes.
pub const TICKET_BYTES_MAX: usize = 8 << 10;

/// Most devices that a ticket names.
pub const TICKET_DEVICES_MAX: usize = 64;

/// Longest name in a ticket, in bytes: Kubernetes names are at most 253 long (RFC 1123).
pub const NAME_BYTES_MAX: usize = 253;

/// Most public keys that a backend believes at a time.
pub const KEYS_MAX: usize = 16;

/// How long a ticket can be used, unless its maker says otherwise.
pub const TICKET_LIFE: Duration = Duration::from_secs(120);

/// How much the clocks of broker and backend may differ.
pub const CLOCK_SKEW: Duration = Duration::from_secs(30);
