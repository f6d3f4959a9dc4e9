// SPDX-License-Identifier: Apache-2.0
//! Limits and intervals.

use std::time::Duration;

/// Virtual devices of a resource: a list of them has to stay below the 4 MiB that the kubelet reads
/// of one message, at not quite 64 bytes each.
pub const DEVICES_MAX: usize = 60_000;
/// Virtual devices that an alias may make of a card.
pub const PARTS_MAX: u32 = 48;
/// How often the daemon is asked.
pub const DAEMON_INTERVAL: Duration = Duration::from_secs(5);
/// Within this time the daemon answers, or its cards are unhealthy.
pub const DAEMON_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the kubelet's socket is looked at.
pub const KUBELET_INTERVAL: Duration = Duration::from_millis(500);
/// Between tries to register.
pub const REGISTER_INTERVAL: Duration = Duration::from_secs(2);
/// Within this time the kubelet answers.
pub const REGISTER_TIMEOUT: Duration = Duration::from_secs(10);
