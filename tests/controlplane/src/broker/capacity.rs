// SPDX-License-Identifier: Apache-2.0
//! What backends have as resources of a frontends' node: the scheduler places pods by them, and a
//! ResourceQuota counts them.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{Node, ResourceQuota};
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};

use super::Broker;
use super::checks::{LIMIT, SECOND, create, remove};
use crate::objects;
use crate::wait::until;
use crate::world::{NAMESPACE, World};

const NODE: &str = "frontend-1";
const MEMORY: &str = "gvirtus.io/gpu-memory";
const ALLOWED: &str = "gvirtus.io/frontend.allowed";
const ADVERTISED: &str = "gvirtus.io/advertised-capacity";
const QUOTA: &str = "remote-memory";

/// Sets webhook and broker up as the chart does with `frontendCapacity.enabled`, and as before
/// again.
pub(super) async fn check(world: &mut World, broker: &mut Broker) -> Result<()> {
    allow(&world.client()).await?;
    restart(
        world,
        broker,
        &["--keep-resources"],
        &["--frontend-capacity=advertise"],
    )
    .await?;
    node(&world.client()).await?;
    let result = counted(world, broker).await;
    let at_once = DeleteParams::default().grace_period(0);
    nodes(world).delete(NODE, &at_once).await?;
    restart(world, broker, &[], &[]).await?;
    result
}

async fn restart(
    world: &mut World,
    broker: &mut Broker,
    of_webhook: &'static [&'static str],
    of_broker: &'static [&'static str],
) -> Result<()> {
    // Its ports are used again.
    if let Some(webhook) = world.webhook.take() {
        webhook.end()?;
    }
    world.webhook_options = of_webhook;
    world.start_registered().await?;
    broker.stop_program()?;
    broker.options = of_broker;
    broker.start_program(world).await
}

/// The right that the chart gives where it is switched on.
async fn allow(client: &Client) -> Result<()> {
    let name = "gvirtus-broker-capacity";
    let group = "rbac.authorization.k8s.io";
    for object in [
        json!({"apiVersion": format!("{group}/v1"), "kind": "ClusterRole",
               "metadata": {"name": name},
               "rules": [{"apiGroups": [""], "resources": ["nodes/status"], "verbs": ["patch"]}]}),
        json!({"apiVersion": format!("{group}/v1"), "kind": "ClusterRoleBinding",
               "metadata": {"name": name},
               "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
               "subjects": [{"kind": "ServiceAccount", "name": "gvirtus-broker",
                             "namespace": NAMESPACE}]}),
    ] {
        objects::apply(client, &object).await?;
    }
    Ok(())
}

/// A node that nobody runs; the scheduler sees what a kubelet would have written.
async fn node(client: &Client) -> Result<()> {
    let node = json!({"apiVersion": "v1", "kind": "Node",
        "metadata": {"name": NODE, "labels": {ALLOWED: "true", "kubernetes.io/os": "linux"}}});
    objects::apply(client, &node).await?;
    let nodes: Api<Node> = Api::all(client.clone());
    let parameters = PatchParams::default();
    // New nodes have a taint until a controller sees that they are ready.
    let patch = json!({"spec": {"taints": null}});
    nodes.patch(NODE, &parameters, &Patch::Merge(patch)).await?;
    let amounts = json!({"cpu": "4", "memory": "8Gi", "pods": "110"});
    let status = json!({"status": {"capacity": amounts, "allocatable": amounts,
        "conditions": [{"type": "Ready", "status": "True"}]}});
    nodes
        .patch_status(NODE, &parameters, &Patch::Merge(status))
        .await?;
    Ok(())
}

fn nodes(world: &World) -> Api<Node> {
    Api::all(world.client())
}

/// Waits until the node shows so much memory, in capacity and in what the scheduler reads.
async fn until_shown(world: &World, expected: Option<&str>) -> Result<Node> {
    until(&format!("{NODE} shows {expected:?} MiB"), LIMIT, || async {
        let node = nodes(world).get(NODE).await?;
        let status = node.status.unwrap_or_default();
        Ok([status.capacity, status.allocatable]
            .into_iter()
            .all(|amounts| {
                let amounts = amounts.unwrap_or_default();
                amounts.get(MEMORY).map(|amount| amount.0.as_str()) == expected
            }))
    })
    .await?;
    Ok(nodes(world).get(NODE).await?)
}

async fn counted(world: &World, broker: &mut Broker) -> Result<()> {
    let shown = until_shown(world, Some("2048")).await?;
    let capacity = shown.status.and_then(|status| status.capacity);
    let capacity = serde_json::to_value(capacity)?;
    let expected = json!({"cpu": "4", "memory": "8Gi", "pods": "110", MEMORY: "2048",
        "gvirtus.io/gpu-core": "100", "gvirtus.io/gpu-count": "1"});
    ensure!(capacity == expected, "{capacity}");
    limit(world, "1500").await?;
    let limits = [(MEMORY, "1024")];
    let pod = create(world, "within", &limits).await?;
    let kept = serde_json::to_value(&pod)?;
    let kept = &kept["spec"]["containers"][0];
    ensure!(kept["resources"]["limits"][MEMORY] == "1024", "{kept}");
    let told = kept["env"].as_array().into_iter().flatten();
    let told: Vec<&Value> = told.filter(|v| v["name"] == "GVIRTUS_REQUEST").collect();
    ensure!(
        told.len() == 1 && told[0]["value"] == "gpu-memory=1024",
        "{kept}"
    );
    let error = create(world, "beyond", &limits)
        .await
        .err()
        .context("the quota does not count")?;
    let said = format!("{error:#}");
    ensure!(said.contains("exceeded quota"), "{said}");
    until("the pod has the node", LIMIT, || async {
        let spec = world.pods().get("within").await?.spec;
        Ok(spec.and_then(|spec| spec.node_name).as_deref() == Some(NODE))
    })
    .await?;
    // What a pod has stays shown, although no backend has it any more.
    broker.remove_backend(world, SECOND).await?;
    until_shown(world, Some("1024")).await?;
    remove(world, "within").await?;
    until_shown(world, Some("0")).await?;
    broker.add_backend(world, SECOND).await?;
    until_shown(world, Some("2048")).await?;
    let quotas: Api<ResourceQuota> = Api::namespaced(world.client(), "default");
    quotas.delete(QUOTA, &DeleteParams::default()).await?;
    let label = json!({"metadata": {"labels": {ALLOWED: "false"}}});
    nodes(world)
        .patch(NODE, &PatchParams::default(), &Patch::Merge(label))
        .await?;
    let cleared = until_shown(world, None).await?;
    ensure!(!cleared.annotations().contains_key(ADVERTISED));
    let capacity = cleared.status.and_then(|status| status.capacity);
    ensure!(capacity.is_some_and(|capacity| capacity.len() == 3));
    Ok(())
}

/// A quota of the namespace, with the status that a controller manager writes.
async fn limit(world: &World, memory: &str) -> Result<()> {
    let hard = json!({format!("requests.{MEMORY}"): memory});
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota",
        "metadata": {"name": QUOTA, "namespace": "default"}, "spec": {"hard": hard}});
    objects::apply(&world.client(), &quota).await?;
    let used = json!({format!("requests.{MEMORY}"): "0"});
    let status = json!({"status": {"hard": hard, "used": used}});
    let quotas: Api<ResourceQuota> = Api::namespaced(world.client(), "default");
    quotas
        .patch_status(QUOTA, &PatchParams::default(), &Patch::Merge(status))
        .await?;
    Ok(())
}
