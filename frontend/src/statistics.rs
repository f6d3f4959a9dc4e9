// SPDX-License-Identifier: Apache-2.0
//! What this process has sent and received, for people who measure.
//!
//! With `GVIRTUS_STATISTICS=/path` set, one JSON object is written there when the process ends:
//! `{"calls":…,"posted":…,"round_trips":…,"sent_bytes":…,"received_bytes":…,"unsupported":{…}}`.
//! The last member has the functions that were called and are not supported, and how often.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that is read now and then.
#[derive(Debug)]
pub(crate) struct Counter(AtomicU64);

/// Commands without a reply.
pub(crate) static POSTED: Counter = Counter::new();
/// Commands with a reply.
pub(crate) static ROUND_TRIPS: Counter = Counter::new();
/// Bytes written, the handshake included.
pub(crate) static SENT_BYTES: Counter = Counter::new();
/// Bytes read, the handshake included.
pub(crate) static RECEIVED_BYTES: Counter = Counter::new();

impl Counter {
    const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Adds to it.
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// Adds one, where all who add hold one lock: cheaper by an atomic operation.
    pub(crate) fn increment_exclusively(&self) {
        let count = self.0.load(Ordering::Relaxed);
        self.0.store(count.wrapping_add(1), Ordering::Relaxed);
    }
}

/// The numbers so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Calls of exported functions.
    pub calls: u64,
    /// Commands without a reply.
    pub posted: u64,
    /// Commands with a reply.
    pub round_trips: u64,
    /// Bytes written to the backend.
    pub sent_bytes: u64,
    /// Bytes read from the backend.
    pub received_bytes: u64,
}

/// The numbers so far.
pub fn statistics() -> Statistics {
    Statistics {
        calls: gvirtus_driver_face::calls(),
        posted: POSTED.0.load(Ordering::Relaxed),
        round_trips: ROUND_TRIPS.0.load(Ordering::Relaxed),
        sent_bytes: SENT_BYTES.0.load(Ordering::Relaxed),
        received_bytes: RECEIVED_BYTES.0.load(Ordering::Relaxed),
    }
}

/// A forked child counts its own.
pub(crate) fn reset() {
    for counter in [&POSTED, &ROUND_TRIPS, &SENT_BYTES, &RECEIVED_BYTES] {
        counter.0.store(0, Ordering::Relaxed);
    }
}

/// Writes the numbers to the file that `GVIRTUS_STATISTICS` names; for the end of the process.
///
/// A process that never used the backend writes nothing, so that a shell around the program does
/// not overwrite what the program wrote.
pub fn write_statistics() {
    let Some(path) = std::env::var_os("GVIRTUS_STATISTICS") else {
        return;
    };
    if !crate::process::is_started() {
        return;
    }
    let Statistics {
        calls,
        posted,
        round_trips,
        sent_bytes,
        received_bytes,
    } = statistics();
    // Names of functions are plain text.
    let unsupported: Vec<String> = gvirtus_driver_face::unsupported_calls()
        .iter()
        .map(|(name, calls)| format!("\"{name}\":{calls}"))
        .collect();
    let text = format!(
        "{{\"calls\":{calls},\"posted\":{posted},\"round_trips\":{round_trips},\
         \"sent_bytes\":{sent_bytes},\"received_bytes\":{received_bytes},\
         \"unsupported\":{{{}}}}}\n",
        unsupported.join(",")
    );
    if let Err(error) = std::fs::write(&path, text) {
        gvirtus_driver_face::log!(Warn, "cannot write {}: {error}", path.display());
    }
}
