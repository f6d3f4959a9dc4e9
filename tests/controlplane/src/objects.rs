// SPDX-License-Identifier: Apache-2.0
//! Manifests and objects of the cluster.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};

/// The documents of a YAML file.
pub(crate) fn read(path: &Path) -> Result<Vec<Value>> {
    let text = fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text)
        .map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
    Ok(documents.into_iter().filter(|d| !d.is_null()).collect())
}

/// Applies an object, every field of which the API server has to know.
pub(crate) async fn apply(client: &Client, object: &Value) -> Result<DynamicObject> {
    let object: DynamicObject = serde_json::from_value(object.clone())?;
    let types = object.types.as_ref().context("no kind")?;
    let what = format!("{} {}", types.kind, object.name_any());
    let kind = GroupVersionKind::try_from(types)?;
    let (resource, capabilities) = kube::discovery::pinned_kind(client, &kind)
        .await
        .with_context(|| what.clone())?;
    let namespaced = capabilities.scope == kube::discovery::Scope::Namespaced;
    let api: Api<DynamicObject> = if namespaced {
        let namespace = object.namespace().unwrap_or_else(|| "default".into());
        Api::namespaced_with(client.clone(), &namespace, &resource)
    } else {
        Api::all_with(client.clone(), &resource)
    };
    let parameters = PatchParams::apply("tests").validation_strict();
    api.patch(&object.name_any(), &parameters, &Patch::Apply(&object))
        .await
        .with_context(|| what)
}

/// A pod of one container, with the label or without.
pub(crate) fn pod(name: &str, label: bool) -> Result<Pod> {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {}},
        "spec": {"containers": [{"name": "program", "image": "any"}]},
    });
    if label {
        pod["metadata"]["labels"]["gvirtus.io/enabled"] = json!("true");
    }
    Ok(serde_json::from_value(pod)?)
}

/// Whether a pod has exactly one copy of what the webhook gives.
pub(crate) fn is_equipped(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else {
        return false;
    };
    let init = spec.init_containers.iter().flatten();
    let shims = init
        .filter(|container| container.name == "gvirtus-shim")
        .count();
    let marked = pod.annotations().contains_key("gvirtus.io/injected");
    let endpoints = |container: &k8s_openapi::api::core::v1::Container| {
        let variables = container.env.iter().flatten();
        variables.filter(|v| v.name == "GVIRTUS_ENDPOINT").count()
    };
    shims == 1 && marked && spec.containers.iter().all(|c| endpoints(c) == 1)
}
