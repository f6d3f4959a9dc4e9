// SPDX-License-Identifier: Apache-2.0
//! Why there is no backend for a demand.

use std::fmt;

use gvirtus_kubernetes::Request;

use super::{Backend, State};

/// What stands in the way, for the user of the pod and for who runs the cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unplaced {
    request: Request,
    backends: usize,
    draining: usize,
    full: usize,
    silent: usize,
    /// Ready ones without enough devices of the size, whatever is granted.
    too_small: usize,
    /// Ready ones that would do if less were granted.
    taken: usize,
    free_memory_bytes: u64,
    free_percent: u8,
}

impl Unplaced {
    pub(super) fn new<'a>(backends: impl Iterator<Item = &'a Backend>, request: &Request) -> Self {
        let mut reason = Self {
            request: *request,
            ..Self::default()
        };
        for backend in backends {
            reason.backends += 1;
            match backend.state {
                State::Draining => reason.draining += 1,
                State::Full => reason.full += 1,
                State::Silent => reason.silent += 1,
                State::Ready => reason.add_ready(backend),
            }
        }
        reason
    }

    /// Why this one backend is no choice.
    pub fn of(backend: &Backend, request: &Request) -> Self {
        Self::new(std::iter::once(backend), request)
    }

    fn add_ready(&mut self, backend: &Backend) {
        let memory = self.request.memory_bytes().unwrap_or(0);
        let large = backend
            .devices
            .iter()
            .filter(|device| device.memory_bytes >= memory);
        let count = self
            .request
            .count
            .map_or(1, |count| usize::from(count.get()));
        if large.count() < count {
            self.too_small += 1;
        } else {
            self.taken += 1;
        }
        for device in backend.devices.iter().filter(|device| !device.is_whole) {
            self.free_memory_bytes = self.free_memory_bytes.max(device.free_memory_bytes());
            self.free_percent = self.free_percent.max(device.free_percent());
        }
    }

    /// Whether no backend there is could ever hold it.
    pub const fn is_hopeless(&self) -> bool {
        self.backends > 0 && self.too_small == self.backends
    }
}

impl fmt::Display for Unplaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.backends == 0 {
            return write!(
                f,
                "no backend is running; label a node with gvirtus.io/backend.allowed=true"
            );
        }
        if self.request.is_empty() {
            write!(f, "no backend takes another program")?;
        } else {
            write!(f, "no backend has room for {}", self.request)?;
        }
        let parts = [
            (self.silent, "does not answer", "do not answer"),
            (self.draining, "is about to end", "are about to end"),
            (
                self.full,
                "has as many sessions as it may",
                "have as many sessions as they may",
            ),
            (self.too_small, "is too small", "are too small"),
            (self.taken, "is in use", "are in use"),
        ];
        let parts = parts.into_iter().filter(|(number, ..)| *number > 0);
        let parts = parts.map(|(number, one, several)| {
            format!("{number} {}", if number == 1 { one } else { several })
        });
        let parts = parts.collect::<Vec<_>>().join(", ");
        write!(f, ": of {} backends {parts}", self.backends)?;
        if self.taken > 0 && !self.request.is_empty() {
            let mib = self.free_memory_bytes >> 20;
            write!(
                f,
                "; at most {mib} MiB or {} % are free on a device",
                self.free_percent
            )?;
        }
        Ok(())
    }
}
