// SPDX-License-Identifier: Apache-2.0
//! The broker on a node: pods that wait for a backend, and limits that are held.

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;

use super::checks::{BACKEND, BUSYBOX, READY_LIMIT};
use super::machine::{Machine, NODE_NAME};
use super::pods;
use crate::wait::until;
use crate::world::NAMESPACE;

/// Three vectors of so many floats need 229 MiB.
const ADD: [&str; 2] = ["vector_add", "20000000"];

/// Of two pods with limits that run the same program, one has room for it.
pub(super) async fn limited(machine: &Machine) -> Result<()> {
    let pods = pods::api(machine.client(), "default");
    for (name, limit_mib) in [("narrow", 64), ("wide", 300)] {
        let mut pod = pods::labelled(name, BUSYBOX, &ADD);
        pod["spec"]["containers"][0]["resources"] =
            json!({"limits": {"gvirtus.io/gpu-memory": limit_mib}});
        pods::create(&machine.client(), &pod).await?;
    }
    pods::require(&pods, "wide", &[("program", "ok vector_add")]).await?;
    let phase = pods::end(&pods, "narrow").await?;
    let log = pods::log(&pods, "narrow", "program").await?;
    ensure!(
        phase == "Failed" && log.contains("cudaErrorMemoryAllocation"),
        "{phase}: {log}"
    );
    pods::remove(&pods, "narrow").await?;
    pods::remove(&pods, "wide").await
}

/// A pod that is created while there is no backend runs when there is one.
pub(super) async fn waits(machine: &Machine) -> Result<()> {
    let pods = pods::api(machine.client(), "default");
    allow(machine, "false").await?;
    until_no_backend(machine).await?;
    let pod = pods::labelled("early", BUSYBOX, &["vector_add"]);
    pods::create(&machine.client(), &pod).await?;
    // Longer than a pod takes that has a backend.
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    let status = pods.get("early").await?.status.unwrap_or_default();
    let phase = status.phase.unwrap_or_default();
    ensure!(phase == "Pending" || phase == "Running", "{phase}");
    allow(machine, "true").await?;
    pods::require(&pods, "early", &[("program", "ok vector_add")]).await?;
    pods::remove(&pods, "early").await
}

/// Waits until the last backend has ended.
pub(super) async fn until_no_backend(machine: &Machine) -> Result<()> {
    let ours = pods::api(machine.client(), NAMESPACE);
    until("there is no backend", READY_LIMIT, || async {
        let backends = ours.list(&ListParams::default().labels(BACKEND)).await?;
        Ok(backends.items.is_empty())
    })
    .await
}

/// Whether backends run on the node.
pub(super) async fn allow(machine: &Machine, value: &str) -> Result<()> {
    let nodes: Api<Node> = Api::all(machine.client());
    let label = json!({"metadata": {"labels": {"gvirtus.io/backend.allowed": value}}});
    nodes
        .patch(NODE_NAME, &PatchParams::default(), &Patch::Merge(label))
        .await?;
    Ok(())
}
