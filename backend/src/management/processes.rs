// SPDX-License-Identifier: Apache-2.0
//! Whose the processes are that NVML names.
//!
//! On this machine, a client's CUDA runs in its worker. A program that asks who uses a device
//! should find itself, as it would on a device of its own: so workers' ids become those of their
//! clients, and back. A process that is no worker keeps its id; its name is told only if NVML has
//! named it to this client before, so that nobody can list this machine's processes.

use std::cell::OnceCell;
use std::collections::HashSet;

use parking_lot::Mutex;

use crate::control::{Neighbour, WorkerControl};
use crate::limits::NVML_SHOWN_PROCESSES_MAX;

/// What one connection knows about processes.
#[derive(Debug)]
pub(super) struct Processes {
    daemon: Mutex<WorkerControl>,
    /// Ids of this machine that were told as they are.
    shown: Mutex<HashSet<u32>>,
}

/// What a client's process id means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Process {
    /// A session's program, by its name.
    Program(String),
    /// A process of this machine that the client knows of.
    Local,
    /// None that this client may know of.
    Unknown,
}

/// What is known while one call lasts: the daemon is asked at most once.
#[derive(Debug)]
pub(super) struct View<'a> {
    processes: &'a Processes,
    neighbours: OnceCell<Vec<Neighbour>>,
}

impl Processes {
    pub(super) fn new(daemon: WorkerControl) -> Self {
        Self {
            daemon: Mutex::new(daemon),
            shown: Mutex::default(),
        }
    }

    /// For one call.
    pub(super) const fn view(&self) -> View<'_> {
        View {
            processes: self,
            neighbours: OnceCell::new(),
        }
    }
}

impl View<'_> {
    /// The id on the client's side of a process of this machine.
    pub(super) fn of_client(&self, pid: u32) -> u32 {
        if let Some(neighbour) = self.neighbours().iter().find(|n| n.worker == pid) {
            return neighbour.pid;
        }
        let mut shown = self.processes.shown.lock();
        if shown.len() < NVML_SHOWN_PROCESSES_MAX {
            shown.insert(pid);
        }
        pid
    }

    /// The id on this machine of a process as the client sees it.
    pub(super) fn on_this_machine(&self, pid: u32) -> u32 {
        session(self.neighbours(), pid).map_or(pid, |neighbour| neighbour.worker)
    }

    /// What the client means by an id.
    pub(super) fn find(&self, pid: u32) -> Process {
        if let Some(neighbour) = session(self.neighbours(), pid) {
            return Process::Program(neighbour.program.clone());
        }
        match self.processes.shown.lock().contains(&pid) {
            true => Process::Local,
            false => Process::Unknown,
        }
    }

    fn neighbours(&self) -> &[Neighbour] {
        self.neighbours.get_or_init(|| {
            let asked = self.processes.daemon.lock().neighbours();
            asked.unwrap_or_else(|error| {
                tracing::debug!(%error, "the daemon does not tell its sessions");
                Vec::new()
            })
        })
    }
}

/// The session of a client's process; one on the asking client's host comes first, because process
/// ids of several hosts may be the same.
fn session(neighbours: &[Neighbour], pid: u32) -> Option<&Neighbour> {
    let mut found = neighbours.iter().filter(|n| n.pid == pid);
    found.clone().find(|n| n.same_host).or_else(|| found.next())
}
