// SPDX-License-Identifier: Apache-2.0
//! What each policy prefers. All ranks are whole numbers: equal on every machine.

use gvirtus_kubernetes::Policy;

use super::choose::Zones;
use super::{Backend, BackendId, Demand, Device, Location, PERCENT_MAX};

/// The parts in which loads are counted: memory to a thousandth.
const PARTS: u64 = 1000;

/// The least is the best.
pub(super) type Rank = [u64; 4];

/// The least is the best device of a backend; the UUID decides between equal ones.
pub(super) fn device_rank(device: &Device, policy: Policy) -> (u64, u64, [u8; 16]) {
    let (load, users) = (load(device), u64::from(device.users));
    let (first, second) = match policy {
        Policy::Binpack => (PARTS.saturating_sub(load), u64::MAX - users),
        Policy::Spread => (users, load),
        Policy::LeastLoaded | Policy::Nearest | Policy::Random => (load, users),
    };
    (first, second, device.uuid.0)
}

/// How good a backend with these devices is.
pub(super) fn rank(
    backend: &Backend,
    devices: &[&Device],
    demand: &Demand,
    zones: &Zones<'_>,
) -> Rank {
    let load = devices.iter().map(|device| load(device)).max().unwrap_or(0);
    let users = devices.iter().map(|device| u64::from(device.users)).sum();
    let on_backend = || users_of(backend);
    match demand.policy {
        Policy::LeastLoaded => [load, users, on_backend(), 0],
        Policy::Nearest => {
            let distance = distance(&demand.location, &backend.location);
            [distance, load, users, on_backend()]
        }
        Policy::Binpack => {
            // A backend that is in use comes before one that is not, and a device likewise.
            let left = PARTS.saturating_sub(load);
            [left, u64::MAX - users, u64::MAX - on_backend(), 0]
        }
        Policy::Spread => {
            let zone = zones.get(&*backend.location.zone).copied().unwrap_or(0);
            [zone, on_backend(), users, load]
        }
        Policy::Random => [0; 4],
    }
}

/// Decides between backends of one rank. No two have the same name, so that their order makes no
/// difference.
pub(super) fn tie(seed: u64, backend: &Backend) -> (u64, &BackendId) {
    (mix(seed, backend), &backend.id)
}

/// Users of each zone, which only one policy needs.
pub(super) fn users_by_zone<'a>(
    backends: impl Iterator<Item = &'a Backend>,
    policy: Policy,
) -> Zones<'a> {
    let mut zones = Zones::new();
    if policy == Policy::Spread {
        for backend in backends {
            *zones.entry(&backend.location.zone).or_default() += users_of(backend);
        }
    }
    zones
}

/// Users of all its devices; who uses several counts several times.
fn users_of(backend: &Backend) -> u64 {
    backend
        .devices
        .iter()
        .map(|device| u64::from(device.users))
        .sum()
}

/// How much of a device is taken: the scarcer of memory and compute, granted or in use.
fn load(device: &Device) -> u64 {
    let memory = device.granted_memory_bytes.max(device.used_memory_bytes);
    // In MiB, so that the product fits a word.
    let (memory, total) = (memory >> 20, (device.memory_bytes >> 20).max(1));
    let percent = device.granted_percent.max(device.busy_percent);
    let compute = u64::from(percent) * PARTS / u64::from(PERCENT_MAX);
    (memory.min(total) * PARTS / total).max(compute)
}

fn distance(from: &Location, to: &Location) -> u64 {
    let same = |a: &str, b: &str| !a.is_empty() && a == b;
    if same(&from.node, &to.node) {
        0
    } else if same(&from.zone, &to.zone) {
        1
    } else if same(&from.region, &to.region) {
        2
    } else {
        3
    }
}

/// A number that looks random and depends on the seed and the backend's name alone: FNV-1a, then
/// the finaliser of SplitMix64, which is a bijection.
fn mix(seed: u64, backend: &Backend) -> u64 {
    let mut hash = seed ^ 0xcbf2_9ce4_8422_2325;
    for byte in backend.id.0.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}
