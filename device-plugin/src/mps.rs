// SPDX-License-Identifier: Apache-2.0
//! NVIDIA's Multi-Process Service (MPS) for containers that have parts of cards: where its control
//! daemon listens, and to what share it holds a program.
//!
//! The layout and the two mounts are as in NVIDIA's own plugin (`k8s-device-plugin`,
//! `cmd/mps-control-daemon`): a folder of the host has `pipe`, where control daemon, servers and
//! clients meet, and `shm`, which all of them see as `/dev/shm`, so that no pod needs the host's
//! IPC namespace. The variables are those of NVIDIA's "Multi-Process Service", "Environment
//! Variables"; a server takes them from its client's environment, and they only ever narrow.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use crate::api;
use crate::card::{Card, Uuid, VirtualId};
use crate::resource::{Measure, Resource};

const PIPE_DIRECTORY: &str = "CUDA_MPS_PIPE_DIRECTORY";
/// Percent of the threads of each device that a program may occupy.
const THREAD_PERCENTAGE: &str = "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE";
/// Memory that a program may allocate, by device: `GPU-<uuid>=512M,…`, in MiB.
const MEMORY_LIMIT: &str = "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT";
const SHARED_MEMORY: &str = "/dev/shm";
/// As a `/dev/shm` has it: every user of a container writes there.
const SHARED_MEMORY_MODE: u32 = 0o1777;
const PERCENT: u64 = 100;

/// A control daemon's folder, under the same path on the host and in containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mps {
    folder: PathBuf,
}

impl Mps {
    /// The folder has `pipe` and `shm`.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Lets every user write to `shm`; a kubelet creates it for root alone.
    ///
    /// # Errors
    /// Where it cannot be created or changed.
    pub fn prepare(&self) -> io::Result<()> {
        let shared = self.folder.join("shm");
        fs::create_dir_all(&shared)?;
        fs::set_permissions(&shared, fs::Permissions::from_mode(SHARED_MEMORY_MODE))
    }

    /// What a container sees of the service, the same for each of its resources.
    pub(crate) fn mounts(&self) -> Vec<api::Mount> {
        let pipe = self.path("pipe");
        [
            (pipe.clone(), pipe),
            (SHARED_MEMORY.to_owned(), self.path("shm")),
        ]
        .map(|(container_path, host_path)| api::Mount {
            container_path,
            host_path,
            read_only: false,
        })
        .into()
    }

    /// What a container's programs are held to for these parts of one resource.
    pub(crate) fn environment(
        &self,
        resource: &Resource,
        cards: &[Card],
        ids: &[VirtualId],
    ) -> HashMap<String, String> {
        let mut units: BTreeMap<Uuid, u64> = BTreeMap::new();
        for id in ids {
            *units.entry(id.card).or_default() += 1;
        }
        let mut variables = HashMap::from([(PIPE_DIRECTORY.to_owned(), self.path("pipe"))]);
        if let Measure::Part(parts) = resource.measure()
            && let Some(fewest) = units.values().min()
        {
            // One number is for all cards: with the least share it holds on each of them.
            let percent = (fewest * PERCENT / u64::from(parts)).max(1);
            variables.insert(THREAD_PERCENTAGE.to_owned(), percent.to_string());
        }
        let memory = |(uuid, units): (&Uuid, &u64)| {
            let card = cards.iter().find(|card| card.uuid == *uuid)?;
            let mib = match resource.measure() {
                Measure::MemoryMib(unit) => units * u64::from(unit),
                Measure::Part(_) if resource.is_core() => return None,
                Measure::Part(parts) => card.memory_mib * units / u64::from(parts),
            };
            Some(format!("{uuid}={mib}M"))
        };
        let limits: Vec<_> = units.iter().filter_map(memory).collect();
        if !limits.is_empty() {
            variables.insert(MEMORY_LIMIT.to_owned(), limits.join(","));
        }
        variables
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOLDER: &str = "/run/mps";

    fn cards() -> [Card; 2] {
        [1, 2].map(|byte| Card {
            uuid: Uuid([byte; 16]),
            memory_mib: 1000,
            is_healthy: true,
        })
    }

    fn environment(resource: &Resource, units: [u32; 2]) -> HashMap<String, String> {
        let ids = cards().into_iter().zip(units).flat_map(|(card, count)| {
            (0..count).map(move |number| VirtualId {
                card: card.uuid,
                number,
            })
        });
        let ids: Vec<_> = ids.collect();
        Mps::new(FOLDER.into()).environment(resource, &cards(), &ids)
    }

    fn expected(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        let pipe = (PIPE_DIRECTORY, "/run/mps/pipe");
        let all = pairs.iter().chain([&pipe]);
        all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn a_share_of_compute_is_a_percentage_of_threads() {
        let core = Resource::core();
        let half = expected(&[(THREAD_PERCENTAGE, "50")]);
        assert_eq!(environment(&core, [50, 0]), half);
        let least = expected(&[(THREAD_PERCENTAGE, "30")]);
        assert_eq!(environment(&core, [100, 30]), least);
    }

    #[test]
    fn a_share_of_memory_is_a_limit_of_each_card() {
        let [one, two] = cards().map(|card| card.uuid);
        let limit = format!("{one}=768M,{two}=256M");
        let coarse = Resource::memory(256);
        let both = expected(&[(MEMORY_LIMIT, &limit)]);
        assert_eq!(environment(&coarse, [3, 1]), both);
    }

    #[test]
    fn a_part_of_a_card_is_a_share_of_both() {
        let alias: Resource = "k8s.amazonaws.com/vgpu=48".parse().expect("an alias");
        let limit = format!("{}=20M", cards()[0].uuid);
        let part = expected(&[(THREAD_PERCENTAGE, "2"), (MEMORY_LIMIT, &limit)]);
        assert_eq!(environment(&alias, [1, 0]), part);
        let alias: Resource = "k8s.amazonaws.com/vgpu=3".parse().expect("an alias");
        let third = environment(&alias, [1, 0]);
        assert_eq!(third[THREAD_PERCENTAGE], "33");
    }

    #[test]
    fn every_user_writes_shared_memory() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let mps = Mps::new(folder.path().join("mps"));
        mps.prepare().expect("prepared");
        let shared = fs::metadata(folder.path().join("mps/shm")).expect("there");
        assert_eq!(shared.permissions().mode() & 0o7777, SHARED_MEMORY_MODE);
        let mounts = mps.mounts();
        assert_eq!(mounts[0].container_path, mounts[0].host_path);
        assert_eq!(mounts[1].container_path, SHARED_MEMORY);
    }
}
