// SPDX-License-Identifier: Apache-2.0
//! The device plugin and the kubelet: what the node offers, and what containers get of it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::machine::Machine;
use super::pods;
use crate::wait::until;

const OFFER_LIMIT: Duration = Duration::from_secs(90);
/// What softgpu with 512 MiB is cut into.
const OFFER: [(&str, &str); 3] = [
    ("gvirtus.io/gpu-core", "100"),
    ("gvirtus.io/gpu-memory", "512"),
    ("k8s.amazonaws.com/vgpu", "10"),
];

/// The node has its resources, and a pod of this name gets of them.
pub(super) async fn offered(machine: &Machine, name: &str) -> Result<()> {
    until("the node offers parts of its GPU", OFFER_LIMIT, || async {
        let node = machine.node().await?;
        let allocatable = node.status.and_then(|status| status.allocatable);
        let allocatable = allocatable.unwrap_or_default();
        let has = |(name, amount): &(&str, &str)| {
            allocatable
                .get(*name)
                .is_some_and(|quantity| quantity.0 == *amount)
        };
        Ok(OFFER.iter().all(has))
    })
    .await?;
    allocated(machine, name).await
}

/// Each container of a pod is told what it has got, and nothing of the other.
async fn allocated(machine: &Machine, name: &str) -> Result<()> {
    let container = |name: &str, limits| {
        json!({
            "name": name, "image": "busybox:1.37", "command": ["env"],
            "resources": {"limits": limits},
        })
    };
    let core = json!({"gvirtus.io/gpu-core": 30, "gvirtus.io/gpu-memory": 128});
    let shares = json!({"k8s.amazonaws.com/vgpu": 2});
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "containers": [container("core", core), container("share", shares)],
        },
    });
    pods::create(&machine.client(), &pod).await?;
    let pods = pods::api(machine.client(), "default");
    pods::require(&pods, name, &[]).await?;
    let told = |log: &str| -> Vec<(String, String)> {
        let variables = log.lines().filter_map(|line| {
            let (name, value) = line.strip_prefix("GVIRTUS_DEVICES_")?.split_once('=')?;
            let (card, amount) = value.split_once('=')?;
            card.starts_with("GPU-")
                .then(|| (name.to_owned(), amount.to_owned()))
        });
        let mut variables: Vec<_> = variables.collect();
        variables.sort();
        variables
    };
    for (container, expected) in [
        ("core", &[("GPU_CORE", "30"), ("GPU_MEMORY", "128")][..]),
        ("share", &[("K8S_AMAZONAWS_COM_VGPU", "2")]),
    ] {
        let log = pods::log(&pods, name, container).await.context("no log")?;
        let expected: Vec<_> = expected
            .iter()
            .map(|(name, amount)| ((*name).to_owned(), (*amount).to_owned()))
            .collect();
        ensure!(told(&log) == expected, "{container}:\n{log}");
    }
    pods::remove(&pods, name).await
}
