// SPDX-License-Identifier: Apache-2.0
//! What a session has done so far, for those who watch it.
//!
//! The executor and the threads that reply count where they pass anyway; the monitor reads. The
//! numbers are all there is, so no order is needed between them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use gvirtus_protocol::limits::DEVICES_MAX;
use gvirtus_protocol::status::{Counters, DeviceMemory};

/// The counters of one session.
#[derive(Debug)]
pub(super) struct Usage {
    commands: AtomicU64,
    launches: AtomicU64,
    round_trips: AtomicU64,
    received_bytes: AtomicU64,
    sent_bytes: AtomicU64,
    memory: [Memory; DEVICES_MAX],
}

#[derive(Debug, Default)]
struct Memory {
    bytes: AtomicU64,
    peak_bytes: AtomicU64,
}

impl Default for Usage {
    fn default() -> Self {
        Self {
            commands: AtomicU64::default(),
            launches: AtomicU64::default(),
            round_trips: AtomicU64::default(),
            received_bytes: AtomicU64::default(),
            sent_bytes: AtomicU64::default(),
            memory: std::array::from_fn(|_| Memory::default()),
        }
    }
}

impl Usage {
    /// The executor has executed so many commands, all in all.
    pub(super) fn commands(&self, all: u64) {
        self.commands.store(all, Relaxed);
    }

    /// A kernel is launched. Only the executor launches, so nothing needs to be locked.
    pub(super) fn launched(&self) {
        let before = self.launches.load(Relaxed);
        self.launches.store(before + 1, Relaxed);
    }

    /// A command is answered.
    pub(super) fn answered(&self) {
        self.round_trips.fetch_add(1, Relaxed);
    }

    /// So many bytes came.
    pub(super) fn received(&self, bytes: usize) {
        self.received_bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// So many bytes were sent.
    pub(super) fn sent(&self, bytes: usize) {
        self.sent_bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// The executor has so many bytes on a device now.
    pub(super) fn memory(&self, device: u32, bytes: u64) {
        if let Some(memory) = self.memory.get(device as usize) {
            memory.bytes.store(bytes, Relaxed);
            memory.peak_bytes.fetch_max(bytes, Relaxed);
        }
    }

    /// All of it now.
    pub(super) fn counters(&self) -> Counters {
        let memory = (0..).zip(&self.memory).filter_map(|(device, memory)| {
            let peak_bytes = memory.peak_bytes.load(Relaxed);
            let bytes = memory.bytes.load(Relaxed);
            (peak_bytes > 0).then_some(DeviceMemory {
                device,
                bytes,
                peak_bytes,
            })
        });
        Counters {
            commands: self.commands.load(Relaxed),
            launches: self.launches.load(Relaxed),
            round_trips: self.round_trips.load(Relaxed),
            received_bytes: self.received_bytes.load(Relaxed),
            sent_bytes: self.sent_bytes.load(Relaxed),
            memory: memory.collect(),
        }
    }
}
