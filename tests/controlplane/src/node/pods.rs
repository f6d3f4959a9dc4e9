// SPDX-License-Identifier: Apache-2.0
//! Pods that run to their end, and what they print.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, ListParams, LogParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};

use crate::objects;
use crate::wait::until;

const RUN_LIMIT: Duration = Duration::from_secs(180);
pub(crate) const EXAMPLES: &str = "ghcr.io/gvirtus/gvirtus-examples:0.1.0";

pub(crate) fn api(client: Client, namespace: &str) -> Api<Pod> {
    Api::namespaced(client, namespace)
}

/// A labelled pod of one container.
pub(crate) fn labelled(name: &str, image: &str, command: &[&str]) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"gvirtus.io/enabled": "true"}},
        "spec": {
            "restartPolicy": "Never",
            "containers": [{"name": "program", "image": image, "command": command}],
        },
    })
}

/// Creates a pod of the namespace `default`.
pub(crate) async fn create(client: &Client, pod: &Value) -> Result<String> {
    let created = objects::apply(client, pod).await?;
    Ok(created.name_any())
}

fn phase(pod: &Pod) -> &str {
    let status = pod.status.as_ref();
    status
        .and_then(|status| status.phase.as_deref())
        .unwrap_or_default()
}

/// Waits until a pod has ended, and tells how: its phase.
pub(crate) async fn end(pods: &Api<Pod>, name: &str) -> Result<String> {
    until(&format!("{name} ends"), RUN_LIMIT, || async {
        let pod = pods.get(name).await?;
        Ok(matches!(phase(&pod), "Succeeded" | "Failed"))
    })
    .await?;
    Ok(phase(&pods.get(name).await?).to_owned())
}

/// What a container has printed.
pub(crate) async fn log(pods: &Api<Pod>, name: &str, container: &str) -> Result<String> {
    let parameters = LogParams {
        container: Some(container.to_owned()),
        ..LogParams::default()
    };
    Ok(pods.logs(name, &parameters).await?)
}

/// When a container has printed a line.
pub(crate) async fn printed_at(
    pods: &Api<Pod>,
    name: &str,
    container: &str,
    line: &str,
) -> Result<SystemTime> {
    let parameters = LogParams {
        container: Some(container.to_owned()),
        timestamps: true,
        ..LogParams::default()
    };
    let log = pods.logs(name, &parameters).await?;
    let stamped = log.lines().find_map(|printed| printed.strip_suffix(line));
    let stamp = stamped.with_context(|| format!("{line:?} was not printed"))?;
    let stamp: Timestamp = stamp.trim_end().parse()?;
    Ok(stamp.into())
}

/// Waits for a pod's end and fails unless each container, by its name, has printed its line.
pub(crate) async fn require(pods: &Api<Pod>, name: &str, lines: &[(&str, &str)]) -> Result<()> {
    let phase = end(pods, name).await?;
    for (container, line) in lines {
        let log = log(pods, name, container).await?;
        ensure!(
            log.lines().any(|printed| printed == *line),
            "{name}, {phase}: {container} has not printed {line:?} but\n{log}"
        );
    }
    ensure!(phase == "Succeeded", "{name}: {phase}");
    Ok(())
}

/// Removes a pod and waits until it is gone.
pub(crate) async fn remove(pods: &Api<Pod>, name: &str) -> Result<()> {
    pods.delete(name, &DeleteParams::default().grace_period(0))
        .await?;
    until(&format!("{name} is gone"), RUN_LIMIT, || async {
        Ok(pods.get_opt(name).await?.is_none())
    })
    .await
}

/// The only pod with a label that is ready.
pub(crate) async fn only(pods: &Api<Pod>, label: &str) -> Result<Option<Pod>> {
    let all = pods.list(&ListParams::default().labels(label)).await?;
    let mut ready = all.items.into_iter().filter(|pod| {
        let conditions = pod.status.as_ref().and_then(|s| s.conditions.as_ref());
        let is_ready = conditions.into_iter().flatten();
        pod.metadata.deletion_timestamp.is_none()
            && is_ready
                .into_iter()
                .any(|c| c.type_ == "Ready" && c.status == "True")
    });
    let first = ready.next();
    if ready.next().is_some() {
        bail!("there are two pods with {label}");
    }
    Ok(first)
}

/// Waits until that pod is there.
pub(crate) async fn wait_for(pods: &Api<Pod>, label: &str) -> Result<Pod> {
    until(
        &format!("a pod with {label} is ready"),
        RUN_LIMIT,
        || async { Ok(only(pods, label).await?.is_some()) },
    )
    .await?;
    only(pods, label).await?.context("it is gone again")
}
