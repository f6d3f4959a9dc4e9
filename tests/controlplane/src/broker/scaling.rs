// SPDX-License-Identifier: Apache-2.0
//! The autoscaler and a Deployment of backends, whose pods the check itself makes.

use anyhow::{Context as _, Result};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;

use super::Broker;
use super::checks::{LIMIT, SECOND, create, remove, until_open};
use crate::wait::until;
use crate::world::{NAMESPACE, World};

const NAME: &str = "gvirtus-backend";
const POD: &str = "scaled-backend";
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// A pod that waits makes a replica, and an idle backend unmakes it.
pub(super) async fn follows_demand(world: &World, broker: &mut Broker) -> Result<()> {
    broker.remove_all(world).await?;
    deploy(world).await?;
    restart(
        world,
        broker,
        &["--scale-deployment=gvirtus-backend", "--idle-s=2"],
    )
    .await?;
    let limits = [("gvirtus.io/gpu-count", "1")];
    for name in ["scaled-1", "scaled-2"] {
        create(world, name, &limits).await?;
    }
    // What backends are like is not known: one is made to see.
    until_replicas(world, 1).await?;
    broker.add_backend(world, POD).await?;
    until_open(world, "scaled-1").await?;
    until_replicas(world, 2).await?;
    remove(world, "scaled-2").await?;
    // As one of them never came it has to be taken back by hand.
    scale(world, 1).await?;
    remove(world, "scaled-1").await?;
    until_replicas(world, 0).await?;
    let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(world.client(), NAMESPACE);
    let annotations = pods
        .get(POD)
        .await?
        .metadata
        .annotations
        .unwrap_or_default();
    annotations
        .get(DELETION_COST)
        .context("the pod that is to end is not marked")?;
    broker.remove_backend(world, POD).await?;
    restart(world, broker, &[]).await?;
    // Checks that follow need one.
    broker.add_backend(world, SECOND).await
}

async fn restart(
    world: &World,
    broker: &mut Broker,
    options: &'static [&'static str],
) -> Result<()> {
    broker.stop_program()?;
    broker.options = options;
    broker.start_program(world).await
}

fn deployments(world: &World) -> Api<Deployment> {
    Api::namespaced(world.client(), NAMESPACE)
}

/// What the chart makes where `autoscaling.target` is `deployment`.
async fn deploy(world: &World) -> Result<()> {
    let labels = json!({"app": "scaled"});
    let deployment = json!({
        "metadata": {"name": NAME},
        "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels},
            "spec": {"containers": [{"name": "backend", "image": "any"}]}}},
    });
    let parameters = PostParams::default();
    let deployment = serde_json::from_value(deployment)?;
    deployments(world).create(&parameters, &deployment).await?;
    let role: Role = serde_json::from_value(json!({
        "metadata": {"name": "scaling"},
        "rules": [{"apiGroups": ["apps"], "resources": ["deployments/scale"],
            "resourceNames": [NAME], "verbs": ["get", "patch"]}],
    }))?;
    let binding: RoleBinding = serde_json::from_value(json!({
        "metadata": {"name": "scaling"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "scaling"},
        "subjects": [{"kind": "ServiceAccount", "name": "gvirtus-broker", "namespace": NAMESPACE}],
    }))?;
    let roles: Api<Role> = Api::namespaced(world.client(), NAMESPACE);
    roles.create(&parameters, &role).await?;
    let bindings: Api<RoleBinding> = Api::namespaced(world.client(), NAMESPACE);
    bindings.create(&parameters, &binding).await?;
    Ok(())
}

async fn scale(world: &World, replicas: usize) -> Result<()> {
    let scale = Patch::Merge(json!({"spec": {"replicas": replicas}}));
    deployments(world)
        .patch_scale(NAME, &PatchParams::default(), &scale)
        .await?;
    Ok(())
}

async fn until_replicas(world: &World, replicas: i32) -> Result<()> {
    until(&format!("there are {replicas} replicas"), LIMIT, || async {
        let scale = deployments(world).get_scale(NAME).await?;
        let now = scale.spec.and_then(|spec| spec.replicas);
        Ok(now == Some(replicas) || (replicas == 0 && now.is_none()))
    })
    .await
}
