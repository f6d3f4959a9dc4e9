// SPDX-License-Identifier: Apache-2.0
//! Our resources in a container's `resources`: what they ask for becomes a variable that the broker
//! reads, and they are gone where no node advertises them.

use gvirtus_kubernetes::Request;
use gvirtus_kubernetes::names::{BROKER_SCHEME, ENDPOINT, REQUEST, RESOURCE_PREFIX};
use k8s_openapi::api::core::v1::{Container, PodSpec};
use serde_json::json;

use crate::patch::Editor;
use crate::refusal::Refusal;
use crate::selection::{self, Chosen};
use crate::settings::Settings;

/// Refuses resources of containers that were not chosen: nobody would look at them.
pub(crate) fn check(spec: &PodSpec, chosen: &[Chosen<'_>]) -> Result<(), Refusal> {
    for (list, index, container) in selection::all(spec) {
        let is_chosen = chosen.iter().any(|c| (c.list, c.index) == (list, index));
        if !is_chosen && selection::asks(container) {
            return Err(Refusal::LeftOut(container.name.clone()));
        }
    }
    Ok(())
}

/// Writes the request of the container at `path` and takes our resources out of it.
pub(crate) fn translate(
    editor: &mut Editor,
    path: &[&str],
    container: &Container,
    settings: &Settings,
) -> Result<(), Refusal> {
    let request = Request::from_resources(container).map_err(|source| Refusal::Resource {
        container: container.name.clone(),
        source,
    })?;
    if request.is_empty() {
        return Ok(());
    }
    let endpoint = endpoint(container, settings);
    if !asks_broker(container, settings) {
        return Err(Refusal::NoBroker {
            container: container.name.clone(),
            request: request.to_string(),
            endpoint: endpoint.to_owned(),
        });
    }
    if !settings.translate_resources {
        return Ok(());
    }
    let env = [path, &["env"]].concat();
    editor.push(&env, json!({"name": REQUEST, "value": request.to_string()}));
    if settings.keep_resources {
        return Ok(());
    }
    for list in ["limits", "requests"] {
        let parent = [path, &["resources", list]].concat();
        let names = editor.at(&parent).and_then(|value| value.as_object());
        let names: Vec<_> = names
            .into_iter()
            .flat_map(|names| names.keys().cloned())
            .collect();
        for name in names
            .iter()
            .filter(|name| name.starts_with(RESOURCE_PREFIX))
        {
            editor.remove(&[parent.as_slice(), &[name.as_str()]].concat());
        }
    }
    Ok(())
}

/// Whether the container's programs ask the broker for a backend.
pub(crate) fn asks_broker(container: &Container, settings: &Settings) -> bool {
    endpoint(container, settings).starts_with(BROKER_SCHEME)
}

/// Where the container connects: what it sets itself, of which the last counts, or our own.
fn endpoint<'a>(container: &'a Container, settings: &'a Settings) -> &'a str {
    let variables = container.env.iter().flatten();
    let own = variables.rev().find(|variable| variable.name == ENDPOINT);
    own.map_or(&settings.endpoint, |variable| {
        variable.value.as_deref().unwrap_or_default()
    })
}
