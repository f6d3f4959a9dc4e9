// SPDX-License-Identifier: Apache-2.0
//! Shadow pods. A second profile of kube-scheduler stands for KAI, and the test for its evictions
//! and for the kubelet that ends a pod.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use gvirtus_ticket::PublicKeys;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;

use super::Broker;
use super::checks::{create, is_gated, key, remove, until_open, until_told};
use super::client::{self, Client};
use crate::cluster::KAI_SCHEDULER;
use crate::objects;
use crate::wait::until;
use crate::world::{NAMESPACE, World};

const LIMIT: Duration = Duration::from_secs(60);
const NODE: &str = "gpu-1";

/// Creates a labelled pod in a queue of KAI.
async fn create_queued(world: &World, name: &str, limits: &[(&str, &str)]) -> Result<Pod> {
    let mut pod = serde_json::to_value(objects::pod(name, true)?)?;
    pod["metadata"]["labels"]["kai.scheduler/queue"] = json!("team");
    pod["spec"]["schedulerName"] = json!(KAI_SCHEDULER);
    for (name, value) in limits {
        pod["spec"]["containers"][0]["resources"]["limits"][name] = json!(value);
    }
    let pod = serde_json::from_value(pod)?;
    Ok(world.pods().create(&PostParams::default(), &pod).await?)
}

/// The shadow of a pod, unless it is going.
async fn shadow(world: &World, pod: &Pod) -> Result<Option<Pod>> {
    let of = format!("gvirtus.io/shadow-of={}", pod.uid().context("no UID")?);
    let all = world
        .pods()
        .list(&ListParams::default().labels(&of))
        .await?;
    let (going, mut there): (Vec<_>, Vec<_>) = all
        .items
        .into_iter()
        .partition(|shadow| shadow.metadata.deletion_timestamp.is_some());
    for shadow in going {
        // What its kubelet does.
        remove(world, &shadow.name_any()).await?;
    }
    ensure!(there.len() < 2, "{} shadows", there.len());
    Ok(there.pop())
}

async fn until_shadow(world: &World, pod: &Pod) -> Result<Pod> {
    until(
        &format!("{} has a shadow", pod.name_any()),
        LIMIT,
        || async { Ok(shadow(world, pod).await?.is_some()) },
    )
    .await?;
    shadow(world, pod).await?.context("it has gone again")
}

async fn until_no_shadow(world: &World, pod: &Pod) -> Result<()> {
    until(
        &format!("the shadow of {} is gone", pod.name_any()),
        LIMIT,
        || async { Ok(shadow(world, pod).await?.is_none()) },
    )
    .await
}

/// What the chart adds with `kai.shadowPods=true`.
async fn allow(world: &World) -> Result<()> {
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": "gvirtus-broker-kai"},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["create", "delete"]}],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": "gvirtus-broker-kai"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
            "name": "gvirtus-broker-kai"},
        "subjects": [{"kind": "ServiceAccount", "name": "gvirtus-broker", "namespace": NAMESPACE}],
    });
    for object in [role, binding] {
        objects::apply(&world.client(), &object).await?;
    }
    Ok(())
}

/// A node with one GPU, as the scheduler sees it.
async fn add_node(world: &World) -> Result<()> {
    let nodes: Api<Node> = Api::all(world.client());
    let node: Node = serde_json::from_value(json!({
        "metadata": {"name": NODE, "labels": {
            "gvirtus.io/backend.allowed": "true", "kubernetes.io/os": "linux"}},
    }))?;
    nodes.create(&PostParams::default(), &node).await?;
    // No controller takes away what the API server gives a new node.
    let untainted = Patch::Merge(json!({"spec": {"taints": null}}));
    nodes
        .patch(NODE, &PatchParams::default(), &untainted)
        .await?;
    let amounts = json!({"cpu": "8", "memory": "16Gi", "pods": "110", "nvidia.com/gpu": "1"});
    let status = Patch::Merge(json!({"status": {"capacity": amounts, "allocatable": amounts}}));
    nodes
        .patch_status(NODE, &PatchParams::default(), &status)
        .await?;
    Ok(())
}

pub(super) async fn counted(world: &World, broker: &mut Broker) -> Result<()> {
    broker.stop_program()?;
    broker.options = &["--kai-shadow-image=registry.example/gvirtus-cluster:1"];
    broker.start_program(world).await?;
    let limits = [("gvirtus.io/gpu-memory", "512")];
    let pod = create_queued(world, "queued", &limits).await?;
    // As where a quota of the namespace leaves no room for one more pod.
    until_told(world, "queued", "WaitingForBackend", "cannot be made").await?;
    allow(world).await?;
    let made = until_shadow(world, &pod).await?;
    ensure!(made.annotations()["gpu-memory"] == "512", "{made:?}");
    ensure!(made.labels()["kai.scheduler/queue"] == "team", "{made:?}");
    ensure!(
        !made.labels().contains_key("gvirtus.io/enabled"),
        "{made:?}"
    );
    let is_owner = |owner: &k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference| {
        Some(&owner.uid) == pod.uid().as_ref()
    };
    ensure!(made.owner_references().iter().any(is_owner), "{made:?}");
    until_told(world, "queued", "WaitingForBackend", "KAI has not placed").await?;
    ensure!(is_gated(&world.pods().get("queued").await?), "not counted");
    add_node(world).await?;
    until_open(world, "queued").await?;
    let placed = shadow(world, &pod).await?.context("no shadow")?;
    let node = placed.spec.and_then(|spec| spec.node_name);
    ensure!(node.as_deref() == Some(NODE), "{node:?}");
    let token = client::token(world, Some(&pod), "gvirtus").await?;
    let mut program = Client::ask(broker.port, &token, "program").await?;
    let grant = program.grant().await?;
    let keys = PublicKeys::from(key(world).await?.public());
    let quota = keys.verify_signature(&grant.ticket)?.quota;
    ensure!(quota.memory_bytes == Some(512 << 20), "{quota:?}");
    // A Job keeps its pods after they have ended.
    let ended = Patch::Merge(json!({"status": {"phase": "Succeeded"}}));
    world
        .pods()
        .patch_status("queued", &PatchParams::default(), &ended)
        .await?;
    until_no_shadow(world, &pod).await?;
    remove(world, "queued").await
}

pub(super) async fn taken_away(world: &World, broker: &mut Broker) -> Result<()> {
    let limits = [("gvirtus.io/gpu-memory", "256")];
    let is_gone = |name: &'static str| async move {
        until(&format!("{name} has ended"), LIMIT, || async {
            let pod = world.pods().get_opt(name).await?;
            Ok(pod.is_none_or(|pod| pod.metadata.deletion_timestamp.is_some()))
        })
        .await
    };
    let evicted = create_queued(world, "evicted", &limits).await?;
    let other = create_queued(world, "other", &limits).await?;
    for name in ["evicted", "other"] {
        until_open(world, name).await?;
    }
    let victim = until_shadow(world, &evicted).await?;
    let politely = DeleteParams::default();
    world.pods().delete(&victim.name_any(), &politely).await?;
    is_gone("evicted").await?;
    until_told(world, "evicted", "LeaseLost", "KAI has taken back its GPU").await?;
    until_no_shadow(world, &evicted).await?;
    // What happens while there is no broker is seen by the next one.
    let victim = until_shadow(world, &other).await?;
    broker.stop_program()?;
    remove(world, &victim.name_any()).await?;
    broker.start_program(world).await?;
    is_gone("other").await?;
    until_told(world, "other", "LeaseLost", "does not exist any more").await
}

pub(super) async fn without_room(world: &World, broker: &mut Broker) -> Result<()> {
    let limits = [("gvirtus.io/gpu-count", "1")];
    create(world, "holder", &limits).await?;
    until_open(world, "holder").await?;
    // One that asks for nothing has a device for itself, as KAI counts it.
    let pod = create_queued(world, "crowded", &[]).await?;
    let whole = until_shadow(world, &pod).await?;
    let limits = whole.spec.as_ref().and_then(|spec| {
        let resources = spec.containers.first()?.resources.as_ref()?;
        resources.limits.as_ref()?.get("nvidia.com/gpu").cloned()
    });
    ensure!(limits.is_some_and(|limit| limit.0 == "1"), "{whole:?}");
    until_told(
        world,
        "crowded",
        "WaitingForBackend",
        "KAI has chosen node gpu-1",
    )
    .await?;
    until_no_shadow(world, &pod).await?;
    ensure!(
        is_gated(&world.pods().get("crowded").await?),
        "no room, and open"
    );
    remove(world, "holder").await?;
    until_open(world, "crowded").await?;
    let token = client::token(world, Some(&pod), "gvirtus").await?;
    let mut program = Client::ask(broker.port, &token, "program").await?;
    let grant = program.grant().await?;
    let keys = PublicKeys::from(key(world).await?.public());
    let quota = keys.verify_signature(&grant.ticket)?.quota;
    ensure!(quota.compute_percent == Some(100), "{quota:?}");
    remove(world, "crowded").await?;
    until_no_shadow(world, &pod).await?;
    let nodes: Api<Node> = Api::all(world.client());
    nodes.delete(NODE, &DeleteParams::default()).await?;
    Ok(())
}
