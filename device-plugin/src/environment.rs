// SPDX-License-Identifier: Apache-2.0
//! What a container is told of its virtual devices.

use std::collections::BTreeMap;

use crate::card::{Uuid, VirtualId};
use crate::resource::{Measure, Resource};

const OURS: &str = "gvirtus.io/";
const PREFIX: &str = "GVIRTUS_DEVICES_";

/// The variable for what a container has of one resource: `UUID=AMOUNT`, comma-separated and
/// ascending, in percent or MiB where the resource is one of these, else in units. A resource has a
/// variable of its own, so that several in one container do not overwrite each other:
/// `GVIRTUS_DEVICES_GPU_CORE`, `GVIRTUS_DEVICES_K8S_AMAZONAWS_COM_VGPU`.
pub fn environment(resource: &Resource, ids: &[VirtualId]) -> (String, String) {
    let factor = match resource.measure() {
        Measure::Part(_) => 1,
        Measure::MemoryMib(unit) => u64::from(unit),
    };
    let mut amounts: BTreeMap<Uuid, u64> = BTreeMap::new();
    for id in ids {
        *amounts.entry(id.card).or_default() += factor;
    }
    let parts: Vec<_> = amounts
        .iter()
        .map(|(card, amount)| format!("{card}={amount}"))
        .collect();
    (variable(resource), parts.join(","))
}

fn variable(resource: &Resource) -> String {
    // The unit is no part of the name: the amount is in MiB whatever it is.
    let name = match resource.measure() {
        Measure::MemoryMib(_) => "gpu_memory",
        Measure::Part(_) => resource
            .name()
            .strip_prefix(OURS)
            .unwrap_or(resource.name()),
    };
    let word = |character: char| match character.to_ascii_uppercase() {
        upper @ ('A'..='Z' | '0'..='9') => upper,
        _ => '_',
    };
    PREFIX.chars().chain(name.chars().map(word)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_summed_by_card() {
        let id = |card, number| VirtualId {
            card: Uuid([card; 16]),
            number,
        };
        let ids = [id(2, 0), id(1, 7), id(2, 5)];
        let (name, value) = environment(&Resource::memory(256), &ids);
        assert_eq!(name, "GVIRTUS_DEVICES_GPU_MEMORY");
        let [one, two] = [Uuid([1; 16]), Uuid([2; 16])];
        assert_eq!(value, format!("{one}=256,{two}=512"));
        let alias: Resource = "k8s.amazonaws.com/vgpu=4".parse().expect("an alias");
        let (name, value) = environment(&alias, &ids[..1]);
        assert_eq!(name, "GVIRTUS_DEVICES_K8S_AMAZONAWS_COM_VGPU");
        assert_eq!(value, format!("{two}=1"));
        assert_eq!(
            environment(&Resource::core(), &[]).0,
            "GVIRTUS_DEVICES_GPU_CORE"
        );
    }
}
