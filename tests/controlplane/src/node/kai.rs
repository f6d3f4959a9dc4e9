// SPDX-License-Identifier: Apache-2.0
//! Pods with a shadow, which runs too. A second profile of kube-scheduler stands for KAI.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;

use super::checks::{self, BUSYBOX, READY_LIMIT};
use super::machine::Machine;
use super::pods;
use crate::cluster::KAI_SCHEDULER;
use crate::wait::until;

/// Once its program has ended, so has its shadow; a shadow that is taken away takes it along.
pub(super) async fn leased(machine: &mut Machine) -> Result<()> {
    let pods = pods::api(machine.client(), "default");
    let name = checks::example(machine, "kai-share.yaml").await?;
    let pod = pods.get(&name).await?;
    pods::require(&pods, &name, &[("program", "ok reduction")]).await?;
    let ended = pods.get(&name).await?;
    let tolerations = ended
        .spec
        .iter()
        .flat_map(|spec| spec.tolerations.iter().flatten());
    let mut keys = tolerations.filter_map(|toleration| toleration.key.as_deref());
    ensure!(keys.any(|key| key == "gvirtus.io/kai-lease"), "no lease");
    until_no_shadow(&pods, &pod).await?;
    pods::remove(&pods, &name).await?;
    evicted(machine).await
}

async fn evicted(machine: &Machine) -> Result<()> {
    let pods = pods::api(machine.client(), "default");
    let mut pod = pods::labelled("evicted", BUSYBOX, &["rounds", "3600"]);
    pod["spec"]["schedulerName"] = json!(KAI_SCHEDULER);
    pod["spec"]["terminationGracePeriodSeconds"] = json!(1);
    pod["spec"]["containers"][0]["resources"] = json!({"limits": {"gvirtus.io/gpu-memory": "64"}});
    let name = pods::create(&machine.client(), &pod).await?;
    let pod = pods.get(&name).await?;
    let is_running = |pod: &Pod| {
        let status = pod.status.as_ref();
        status.and_then(|status| status.phase.as_deref()) == Some("Running")
    };
    until("the pod and its shadow run", READY_LIMIT, || async {
        let shadows = shadows(&pods, &pod).await?;
        Ok(shadows.iter().any(is_running) && is_running(&pods.get(&name).await?))
    })
    .await?;
    let shadow = shadows(&pods, &pod).await?.pop().context("no shadow")?;
    pods.delete(&shadow.name_any(), &DeleteParams::default())
        .await?;
    until("the pod has ended with its shadow", READY_LIMIT, || async {
        Ok(pods.get_opt(&name).await?.is_none())
    })
    .await?;
    until_no_shadow(&pods, &pod).await
}

async fn shadows(pods: &Api<Pod>, pod: &Pod) -> Result<Vec<Pod>> {
    let of = format!("gvirtus.io/shadow-of={}", pod.uid().context("no UID")?);
    Ok(pods.list(&ListParams::default().labels(&of)).await?.items)
}

async fn until_no_shadow(pods: &Api<Pod>, pod: &Pod) -> Result<()> {
    until("the shadow is gone", READY_LIMIT, || async {
        Ok(shadows(pods, pod).await?.is_empty())
    })
    .await
}
