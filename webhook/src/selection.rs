// SPDX-License-Identifier: Apache-2.0
//! Which containers of a pod shall have a GPU.

use std::collections::BTreeMap;

use gvirtus_kubernetes::names::{CONTAINERS, RESOURCE_PREFIX};
use k8s_openapi::api::core::v1::{Container, PodSpec};

use crate::refusal::Refusal;

/// A container and where it stands in the pod's `spec`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chosen<'a> {
    pub(crate) list: &'static str,
    pub(crate) index: usize,
    pub(crate) container: &'a Container,
}

/// The annotation's choice; without one, those that ask for a resource of ours; where none does,
/// all containers and init containers.
pub(crate) fn choose<'a>(
    annotations: &BTreeMap<String, String>,
    spec: &'a PodSpec,
) -> Result<Vec<Chosen<'a>>, Refusal> {
    let every = || {
        all(spec).map(|(list, index, container)| Chosen {
            list,
            index,
            container,
        })
    };
    let Some(text) = annotations.get(CONTAINERS) else {
        let asking: Vec<_> = every().filter(|chosen| asks(chosen.container)).collect();
        let all = asking.is_empty().then(|| every().collect());
        return Ok(all.unwrap_or(asking));
    };
    let names: Vec<&str> = text
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect();
    if names.is_empty() {
        return Err(Refusal::NoContainers);
    }
    if names == ["*"] {
        return Ok(every().collect());
    }
    for name in &names {
        if all(spec).all(|(_, _, container)| container.name != *name) {
            let known: Vec<_> = all(spec).map(|(_, _, c)| c.name.as_str()).collect();
            return Err(Refusal::UnknownContainer {
                name: (*name).to_owned(),
                known: known.join(", "),
            });
        }
    }
    Ok(every()
        .filter(|chosen| names.contains(&chosen.container.name.as_str()))
        .collect())
}

/// Whether the container's resources name one of ours.
pub(crate) fn asks(container: &Container) -> bool {
    let resources = container.resources.iter();
    let lists = resources.flat_map(|resources| [&resources.limits, &resources.requests]);
    lists
        .flatten()
        .flat_map(BTreeMap::keys)
        .any(|name| name.starts_with(RESOURCE_PREFIX))
}

/// All containers with their list's name and their place in it, init containers first.
pub(crate) fn all(spec: &PodSpec) -> impl Iterator<Item = (&'static str, usize, &Container)> {
    let init = spec.init_containers.as_deref().unwrap_or_default();
    let init = init
        .iter()
        .enumerate()
        .map(|(i, c)| ("initContainers", i, c));
    let regular = spec.containers.iter().enumerate();
    init.chain(regular.map(|(i, c)| ("containers", i, c)))
}
