// SPDX-License-Identifier: Apache-2.0
//! The autoscaler and the DaemonSet: a node of the pool has a backend as long as somebody needs it.

use anyhow::{Context as _, Result, ensure};
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use super::broker::{allow, until_no_backend};
use super::checks::{BUSYBOX, READY_LIMIT};
use super::machine::{Machine, NODE_NAME};
use super::pods;
use crate::wait::until;

/// What the chart's values call the pool.
const POOL: &str = "gvirtus.io/pool";
const ALLOWED: &str = "gvirtus.io/backend.allowed";

/// A pod for which there is no backend has one started, which ends when it is idle.
pub(super) async fn follows_demand(machine: &Machine) -> Result<()> {
    allow(machine, "false").await?;
    until_no_backend(machine).await?;
    label_pool(machine, json!("backend")).await?;
    let node = machine.node().await?;
    ensure!(
        node.labels()
            .get(ALLOWED)
            .is_some_and(|value| value == "false"),
        "nobody has asked for a backend"
    );
    let pods = pods::api(machine.client(), "default");
    let pod = pods::labelled("scaled", BUSYBOX, &["vector_add"]);
    pods::create(&machine.client(), &pod).await?;
    pods::require(&pods, "scaled", &[("program", "ok vector_add")])
        .await
        .context("as the autoscaler starts a backend")?;
    until(
        "the idle backend's node is given back",
        READY_LIMIT,
        || async {
            let node = machine.node().await?;
            Ok(node
                .labels()
                .get(ALLOWED)
                .is_some_and(|value| value == "false"))
        },
    )
    .await?;
    until_no_backend(machine).await?;
    pods::remove(&pods, "scaled").await?;
    label_pool(machine, Value::Null).await?;
    allow(machine, "true").await
}

async fn label_pool(machine: &Machine, value: Value) -> Result<()> {
    let nodes: Api<k8s_openapi::api::core::v1::Node> = Api::all(machine.client());
    let label = json!({"metadata": {"labels": {POOL: value}}});
    nodes
        .patch(NODE_NAME, &PatchParams::default(), &Patch::Merge(label))
        .await?;
    Ok(())
}
