// SPDX-License-Identifier: Apache-2.0
//! Gives nodes the labels that they lack, once; what an administrator has set is never changed.

use std::collections::BTreeMap;
use std::time::Duration;

use gvirtus_kubernetes::names::{BACKEND_ALLOWED, FRONTEND_ALLOWED};
use k8s_openapi::api::core::v1::Node;
use kube::api::{ListParams, Patch, PatchParams};
use kube::core::Status;
use kube::{Api, Client, Error};
use serde_json::{Value, json};
use tracing::{debug, info, warn};

/// Labels and what they are where nobody has set them: every node may run programs that use a
/// remote GPU, and none offers its own.
const DEFAULTS: [(&str, &str); 2] = [(BACKEND_ALLOWED, "false"), (FRONTEND_ALLOWED, "true")];
/// One request to the API server.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);
/// Nodes of one answer.
const PAGE: u32 = 500;
/// HTTP's code for an object that has changed since it was read.
const CONFLICT: u16 = 409;

/// Looks at all nodes again and again, for ever; what fails is logged and tried at the next look.
pub async fn run(client: Client, interval: Duration) {
    let nodes: Api<Node> = Api::all(client);
    loop {
        match tokio::time::timeout(REQUEST_LIMIT, label_all(&nodes)).await {
            Ok(Ok(number)) => debug!(number, "looked at all nodes"),
            Ok(Err(error)) => warn!(%error, "cannot list the nodes"),
            Err(_) => warn!("the API server does not answer"),
        }
        tokio::time::sleep(interval).await;
    }
}

async fn label_all(nodes: &Api<Node>) -> kube::Result<usize> {
    let mut parameters = ListParams::default().limit(PAGE);
    let mut number = 0;
    loop {
        let page = nodes.list(&parameters).await?;
        for node in &page.items {
            number += 1;
            if let Some(patch) = missing(node) {
                label(nodes, node, patch).await;
            }
        }
        match page.metadata.continue_ {
            Some(next) if !next.is_empty() => parameters.continue_token = Some(next),
            _ => return Ok(number),
        }
    }
}

async fn label(nodes: &Api<Node>, node: &Node, patch: Value) {
    let name = node.metadata.name.as_deref().unwrap_or_default();
    let patch = Patch::Merge(patch);
    match nodes.patch(name, &PatchParams::default(), &patch).await {
        Ok(_) => info!(node = name, "set default labels"),
        Err(Error::Api(answer)) if is_conflict(&answer) => {
            debug!(node = name, "changed meanwhile; looking again");
        }
        Err(error) => warn!(node = name, %error, "cannot set labels"),
    }
}

fn is_conflict(answer: &Status) -> bool {
    answer.code == CONFLICT
}

/// The labels that a node lacks, as a merge patch that fails where the node has changed: nothing
/// where it has all.
fn missing(node: &Node) -> Option<Value> {
    let empty = BTreeMap::new();
    let labels = node.metadata.labels.as_ref().unwrap_or(&empty);
    let missing: BTreeMap<_, _> = DEFAULTS
        .into_iter()
        .filter(|(name, _)| !labels.contains_key(*name))
        .collect();
    let version = node.metadata.resource_version.as_deref();
    (!missing.is_empty())
        .then(|| json!({"metadata": {"resourceVersion": version, "labels": missing}}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(labels: &Value) -> Node {
        let metadata = json!({"name": "n", "resourceVersion": "7", "labels": labels});
        serde_json::from_value(json!({ "metadata": metadata })).expect("a node")
    }

    #[test]
    fn only_what_is_absent_is_set() {
        let both = missing(&node(&json!(null))).expect("a patch");
        assert_eq!(
            both,
            json!({"metadata": {"resourceVersion": "7", "labels": {
                "gvirtus.io/backend.allowed": "false", "gvirtus.io/frontend.allowed": "true"}}})
        );
        let one = missing(&node(&json!({"gvirtus.io/backend.allowed": "true"}))).expect("a patch");
        assert_eq!(
            one["metadata"]["labels"],
            json!({"gvirtus.io/frontend.allowed": "true"})
        );
        let set = json!({"gvirtus.io/backend.allowed": "", "gvirtus.io/frontend.allowed": "no"});
        assert_eq!(missing(&node(&set)), None);
    }
}
