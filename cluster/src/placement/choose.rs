// SPDX-License-Identifier: Apache-2.0
//! The choice.

use std::collections::HashMap;

use super::order::{self, Rank};
use super::reason::Unplaced;
use super::{Backend, Choice, Demand, Device, PERCENT_MAX, Share, State};

/// Chooses a backend that has room for the demand. The order of `backends` makes no difference;
/// where several are equal, `seed` decides.
///
/// # Errors
/// Where none has room, and what would have to change.
pub fn choose<'a, B>(backends: B, demand: &Demand, seed: u64) -> Result<Choice, Unplaced>
where
    B: Iterator<Item = &'a Backend> + Clone,
{
    let backends = backends.filter(|backend| {
        let node = demand.node.as_ref();
        node.is_none_or(|node| backend.location.node == *node)
    });
    if let Some(id) = &demand.previous
        && let Some(previous) = backends.clone().find(|backend| backend.id == *id)
        && let Some(devices) = devices(previous, demand)
    {
        return Ok(choice(previous, &devices, demand));
    }
    let zones = order::users_by_zone(backends.clone(), demand.policy);
    let mut best: Option<(Rank, &Backend, Vec<&Device>)> = None;
    for backend in backends.clone() {
        let Some(devices) = devices(backend, demand) else {
            continue;
        };
        let rank = order::rank(backend, &devices, demand, &zones);
        let is_better = best.as_ref().is_none_or(|(least, other, _)| {
            let tie = || order::tie(seed, backend).cmp(&order::tie(seed, other));
            rank.cmp(least).then_with(tie).is_lt()
        });
        if is_better {
            best = Some((rank, backend, devices));
        }
    }
    match best {
        Some((_, backend, devices)) => Ok(choice(backend, &devices, demand)),
        None => Err(Unplaced::new(backends, &demand.request)),
    }
}

/// Users of the backends of each zone.
pub(super) type Zones<'a> = HashMap<&'a str, u64>;

/// The devices of a backend that the demand would get, best first; nothing if it has no room.
fn devices<'a>(backend: &'a Backend, demand: &Demand) -> Option<Vec<&'a Device>> {
    if backend.state != State::Ready {
        return None;
    }
    let request = &demand.request;
    let with_room = backend
        .devices
        .iter()
        .filter(|device| device.has_room(request));
    if request.is_empty() {
        let devices: Vec<_> = with_room.collect();
        return (!devices.is_empty()).then_some(devices);
    }
    let count = request.count.map_or(1, |count| usize::from(count.get()));
    if count == 1 {
        let best = with_room.min_by_key(|device| order::device_rank(device, demand.policy));
        return best.map(|device| vec![device]);
    }
    let mut devices: Vec<_> = with_room.collect();
    if devices.len() < count {
        return None;
    }
    devices.sort_by_key(|device| order::device_rank(device, demand.policy));
    devices.truncate(count);
    Some(devices)
}

fn choice(backend: &Backend, chosen: &[&Device], demand: &Demand) -> Choice {
    let request = &demand.request;
    let is_chosen = |device: &&Device| chosen.iter().any(|other| other.uuid == device.uuid);
    let devices = backend.devices.iter().filter(is_chosen);
    let percent = request.percent.map(std::num::NonZero::get);
    let is_whole = request.is_whole();
    Choice {
        backend: backend.id.clone(),
        share: Share {
            devices: devices.map(|device| device.uuid).collect(),
            memory_bytes: request.memory_bytes(),
            percent: if is_whole { Some(PERCENT_MAX) } else { percent },
            is_whole,
        },
    }
}
