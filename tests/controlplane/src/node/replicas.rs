// SPDX-License-Identifier: Apache-2.0
//! Parts of GVirtuS that are not there for a while.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;

use super::broker::{allow, until_no_backend};
use super::checks::{BUSYBOX, READY_LIMIT};
use super::machine::Machine;
use super::pods;
use crate::wait::until;
use crate::world::NAMESPACE;

const WEBHOOK: &str = "app.kubernetes.io/component=webhook";
const LEADER: &str = "app.kubernetes.io/component=broker,gvirtus.io/leader=true";

/// Labelled pods are refused, so that none runs without a GPU; others run.
pub(super) async fn no_webhook(machine: &Machine) -> Result<()> {
    let before = scale(machine, "gvirtus-webhook", WEBHOOK, 0).await?;
    let client = machine.client();
    let pods = pods::api(client.clone(), "default");
    let labelled = pods::labelled("refused", BUSYBOX, &["vector_add"]);
    let refused = pods::create(&client, &labelled).await;
    let said = format!("{:#}", refused.err().context("a labelled pod was created")?);
    ensure!(said.contains("webhook"), "{said}");
    let mut plain = pods::labelled("plain", BUSYBOX, &["echo", "here"]);
    plain["metadata"]["labels"] = json!({});
    pods::create(&client, &plain).await?;
    pods::require(&pods, "plain", &[("program", "here")]).await?;
    pods::remove(&pods, "plain").await?;
    scale(machine, "gvirtus-webhook", WEBHOOK, before).await?;
    // The Service's endpoints follow the pods.
    until("labelled pods are taken again", READY_LIMIT, || async {
        Ok(pods::create(&client, &labelled).await.is_ok())
    })
    .await?;
    pods::require(&pods, "refused", &[("program", "ok vector_add")]).await?;
    pods::remove(&pods, "refused").await
}

/// A broker that is killed while a pod waits is followed by the other replica, which finds a
/// backend for it.
pub(super) async fn killed_broker(machine: &Machine) -> Result<()> {
    let ours = pods::api(machine.client(), NAMESPACE);
    let pods = pods::api(machine.client(), "default");
    allow(machine, "false").await?;
    until_no_backend(machine).await?;
    let pod = pods::labelled("patient", BUSYBOX, &["vector_add"]);
    pods::create(&machine.client(), &pod).await?;
    let leader = pods::wait_for(&ours, LEADER).await?;
    let name = leader.metadata.name.context("no name")?;
    pods::remove(&ours, &name).await?;
    let next = pods::wait_for(&ours, LEADER).await?;
    ensure!(next.metadata.name.is_some_and(|next| next != name));
    allow(machine, "true").await?;
    pods::require(&pods, "patient", &[("program", "ok vector_add")]).await?;
    pods::remove(&pods, "patient").await
}

/// Returns how many replicas there were.
async fn scale(machine: &Machine, name: &str, label: &str, replicas: i32) -> Result<i32> {
    let deployments: Api<Deployment> = Api::namespaced(machine.client(), NAMESPACE);
    let scale = deployments.get_scale(name).await?;
    // None is not written.
    let before = scale.spec.and_then(|spec| spec.replicas).unwrap_or(0);
    let wanted = Patch::Merge(json!({"spec": {"replicas": replicas}}));
    deployments
        .patch_scale(name, &PatchParams::default(), &wanted)
        .await?;
    let ours = pods::api(machine.client(), NAMESPACE);
    until(
        &format!("{name} has {replicas} pods"),
        READY_LIMIT,
        || async {
            let pods = ours.list(&ListParams::default().labels(label)).await?;
            Ok(i32::try_from(pods.items.len()) == Ok(replicas))
        },
    )
    .await?;
    Ok(before)
}
