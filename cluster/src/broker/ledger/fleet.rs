// SPDX-License-Identifier: Apache-2.0
//! Backends as an autoscaler sees them: what they are like, which have no user, and which are to
//! end.

use std::sync::Arc;

use super::Ledger;
use crate::placement::{Backend, BackendId, Device, Location, Share, State, Uuid};

/// A backend, as far as it matters how many there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub id: BackendId,
    /// Its pod's name.
    pub pod: String,
    /// Its node's name.
    pub node: Arc<str>,
    /// Whether it takes new programs.
    pub state: State,
    /// Whether nobody has anything of it.
    pub is_idle: bool,
}

/// A backend as it is now, or as it would be if nobody used it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Without its name and place, where nobody uses it.
    pub backend: Backend,
    /// How many more sessions it takes.
    pub sessions_left: Option<u64>,
}

impl Ledger {
    /// All backends.
    pub fn members(&self) -> Vec<Member> {
        let members = self.records.iter().map(|(id, record)| Member {
            id: id.clone(),
            pod: record.facts.pod.clone(),
            node: Arc::clone(&record.backend.location.node),
            state: record.backend.state,
            is_idle: record.is_idle(),
        });
        members.collect()
    }

    /// All backends that take programs, as they are now.
    pub fn open(&self) -> Vec<Shape> {
        let ready = self.records.values();
        let ready = ready.filter(|record| record.backend.state == State::Ready);
        let shapes = ready.map(|record| Shape {
            backend: record.backend.clone(),
            sessions_left: record
                .facts
                .sessions_max
                .map(|max| max.saturating_sub(record.session_count)),
        });
        shapes.collect()
    }

    /// The kinds of backends that there are, the smallest first. Those that have never answered
    /// are like nothing that is known.
    pub fn shapes(&self) -> Vec<Shape> {
        let mut shapes: Vec<Shape> = Vec::new();
        for record in self.records.values() {
            let sizes = record
                .backend
                .devices
                .iter()
                .map(|device| device.memory_bytes);
            let shape = Shape::new(sizes, record.facts.sessions_max);
            if !shape.backend.devices.is_empty() && !shapes.contains(&shape) {
                shapes.push(shape);
            }
        }
        shapes.sort_by_key(|shape| {
            let sizes = shape.backend.devices.iter();
            let sizes = sizes.map(|device| device.memory_bytes).collect::<Vec<_>>();
            (sizes.len(), sizes)
        });
        shapes
    }

    /// Gives nothing of a backend any more, if nobody has anything of it; returns whether that is
    /// so.
    pub fn retire(&mut self, id: &BackendId) -> bool {
        let Some(record) = self.records.get_mut(id) else {
            return false;
        };
        if !record.is_idle() {
            return false;
        }
        record.is_retired = true;
        record.set_state();
        true
    }

    /// Takes [`Self::retire`] back.
    pub fn restore(&mut self, id: &BackendId) {
        if let Some(record) = self.records.get_mut(id) {
            record.is_retired = false;
            record.set_state();
        }
    }
}

impl super::Record {
    fn is_idle(&self) -> bool {
        let held = self.reported.len() + self.granted.len() + self.reserved.len();
        held == 0 && self.session_count == 0
    }
}

impl Shape {
    /// One with devices of these sizes in bytes.
    pub fn new(sizes: impl Iterator<Item = u64>, sessions_left: Option<u64>) -> Self {
        let number = |ordinal: u128| Uuid(ordinal.to_be_bytes());
        let devices = sizes.zip(0..);
        let devices = devices.map(|(size, ordinal)| Device::idle(number(ordinal), size));
        Self {
            backend: Backend {
                id: BackendId::from(""),
                location: Location::default(),
                state: State::Ready,
                devices: devices.collect(),
            },
            sessions_left,
        }
    }

    /// Counts one more user.
    pub fn take(&mut self, share: &Share) {
        self.backend.take(share);
        if let Some(left) = &mut self.sessions_left {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.backend.state = State::Full;
            }
        }
    }
}
