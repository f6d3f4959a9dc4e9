// SPDX-License-Identifier: Apache-2.0
//! Resources: what a pod asks for, and into how many parts that cuts a card.

use std::str::FromStr;

use crate::card::{Card, VirtualId};
use crate::limits::{DEVICES_MAX, PARTS_MAX};

const CORE: &str = "gvirtus.io/gpu-core";
const MEMORY: &str = "gvirtus.io/gpu-memory";
/// Percent of a card.
const CORE_PARTS: u32 = 100;

/// What one unit of a resource is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// An equal share of a card: so many make one.
    Part(u32),
    /// Device memory: so many MiB.
    MemoryMib(u32),
}

/// A resource of the node: `domain/name`, and what a unit of it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    name: String,
    measure: Measure,
}

/// Why something cannot be offered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResourceError {
    /// No resource of a device plugin has such a name.
    #[error("{0:?} is no name of a resource: write domain/name, as in k8s.amazonaws.com/vgpu")]
    Name(String),
    /// An alias without a number.
    #[error("{0:?}: write NAME=PARTS, with 1 to {PARTS_MAX} parts a card")]
    Parts(String),
    /// A list that the kubelet would not read.
    #[error(
        "{name} would have {devices} units, and the kubelet reads about {DEVICES_MAX}: \
         make a unit larger"
    )]
    TooMany {
        /// Of the resource.
        name: String,
        /// Units on all cards.
        devices: u64,
    },
}

impl Resource {
    /// `gvirtus.io/gpu-core`, of which a card has 100.
    pub fn core() -> Self {
        Self {
            name: CORE.to_owned(),
            measure: Measure::Part(CORE_PARTS),
        }
    }

    /// `gvirtus.io/gpu-memory`, of which a card has as many as it has MiB; with a larger unit
    /// another name says so: `gvirtus.io/gpu-memory-256mib`.
    pub fn memory(unit_mib: u32) -> Self {
        let name = match unit_mib {
            0 | 1 => MEMORY.to_owned(),
            unit => format!("{MEMORY}-{unit}mib"),
        };
        Self {
            name,
            measure: Measure::MemoryMib(unit_mib.max(1)),
        }
    }

    /// As the kubelet knows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is `gvirtus.io/gpu-core`: compute alone, where an alias is a part of everything.
    pub fn is_core(&self) -> bool {
        self.name == CORE
    }

    /// What a unit is.
    pub fn measure(&self) -> Measure {
        self.measure
    }

    /// The units of a card. What memory is left below one unit cannot be asked for.
    pub fn units(&self, card: &Card) -> u64 {
        match self.measure {
            Measure::Part(parts) => u64::from(parts),
            Measure::MemoryMib(unit) => card.memory_mib / u64::from(unit),
        }
    }

    /// Every unit of all cards, in their order.
    ///
    /// # Errors
    ///
    /// [`ResourceError::TooMany`].
    pub fn devices<'a>(
        &self,
        cards: &'a [Card],
    ) -> Result<Vec<(VirtualId, &'a Card)>, ResourceError> {
        let total = cards
            .iter()
            .fold(0_u64, |sum, card| sum.saturating_add(self.units(card)));
        if total > DEVICES_MAX as u64 {
            return Err(ResourceError::TooMany {
                name: self.name.clone(),
                devices: total,
            });
        }
        let units = cards.iter().flat_map(|card| {
            let numbers = 0..u32::try_from(self.units(card)).unwrap_or(u32::MAX);
            let id = |number| VirtualId {
                card: card.uuid,
                number,
            };
            numbers.map(move |number| (id(number), card))
        });
        Ok(units.collect())
    }
}

/// An alias: `k8s.amazonaws.com/vgpu=10`.
impl FromStr for Resource {
    type Err = ResourceError;

    fn from_str(text: &str) -> Result<Self, ResourceError> {
        let (name, parts) = text
            .split_once('=')
            .ok_or_else(|| ResourceError::Parts(text.to_owned()))?;
        let parts = parts
            .parse()
            .ok()
            .filter(|parts| (1..=PARTS_MAX).contains(parts))
            .ok_or_else(|| ResourceError::Parts(text.to_owned()))?;
        if !is_resource_name(name) {
            return Err(ResourceError::Name(name.to_owned()));
        }
        Ok(Self {
            name: name.to_owned(),
            measure: Measure::Part(parts),
        })
    }
}

/// A DNS subdomain and a label's name, and not of Kubernetes itself.
fn is_resource_name(name: &str) -> bool {
    let Some((domain, rest)) = name.split_once('/') else {
        return false;
    };
    let is_word = |text: &str, more: &[u8]| {
        let ends = text.bytes().next().zip(text.bytes().last());
        ends.is_some_and(|(a, b)| a.is_ascii_alphanumeric() && b.is_ascii_alphanumeric())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || more.contains(&byte))
    };
    let is_lower = domain.bytes().all(|byte| !byte.is_ascii_uppercase());
    let is_kubernetes = domain == "kubernetes.io" || domain.ends_with(".kubernetes.io");
    let is_domain = domain.split('.').all(|label| is_word(label, b"-"));
    is_domain
        && is_lower
        && !is_kubernetes
        && domain.len() <= 253
        && rest.len() <= 63
        && is_word(rest, b"-_.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::card::Uuid;

    fn card(memory_mib: u64) -> Card {
        Card {
            uuid: Uuid([7; 16]),
            memory_mib,
            is_healthy: true,
        }
    }

    #[test]
    fn a_card_has_as_many_units_as_fit() {
        assert_eq!(Resource::core().units(&card(10)), 100);
        assert_eq!(Resource::memory(1).units(&card(2048)), 2048);
        let coarse = Resource::memory(256);
        assert_eq!(coarse.name(), "gvirtus.io/gpu-memory-256mib");
        assert_eq!(coarse.units(&card(1000)), 3);
        let alias: Resource = "k8s.amazonaws.com/vgpu=48".parse().expect("an alias");
        assert_eq!(alias.devices(&[card(1)]).expect("few").len(), 48);
    }

    #[test]
    fn lists_that_the_kubelet_cannot_read_are_refused() {
        let cards = [card(80 << 10)];
        let error = Resource::memory(1).devices(&cards).expect_err("too many");
        assert!(error.to_string().contains("81920 units"), "{error}");
        assert_eq!(
            Resource::memory(64).devices(&cards).map(|l| l.len()),
            Ok(1280)
        );
    }

    #[test]
    fn bad_aliases_are_refused() {
        for text in [
            "vgpu=1",
            "a.b/vgpu",
            "a.b/vgpu=0",
            "a.b/vgpu=49",
            "a.b/vgpu=x",
            "a..b/vgpu=1",
            "A.b/vgpu=1",
            "a.b/=1",
            "a.b/c/d=1",
            "requests.kubernetes.io/x=1",
        ] {
            assert!(text.parse::<Resource>().is_err(), "{text}");
        }
    }
}
