// SPDX-License-Identifier: Apache-2.0
//! What shall hold on a real control plane, in the order in which it is checked.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::core::v1::{Node, Pod, Secret};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;

use crate::objects::{self, is_equipped};
use crate::wait::until;
use crate::world::{CONFIGURATION, NAMESPACE, World, get};

/// Longer than the webhook takes to look at its certificates again.
const LOOK_LIMIT: Duration = Duration::from_secs(90);
const SCHEDULE_LIMIT: Duration = Duration::from_secs(60);
/// Pods that are created at once.
const MANY: usize = 200;

pub(crate) const NAMES: [&str; 11] = [
    "every_manifest_is_accepted_strictly",
    "the_webhook_registers_itself_with_the_rights_of_its_account",
    "the_examples_are_given_what_they_need",
    "pods_without_the_label_are_left_alone",
    "pods_in_our_own_namespace_are_left_alone",
    "bad_annotations_are_refused_with_a_sentence",
    "an_update_changes_nothing",
    "many_pods_at_once_are_changed_once_each",
    "two_replicas_share_an_authority",
    "a_webhook_that_is_down_refuses_labelled_pods_only",
    "a_lost_secret_is_made_again",
];
/// What needs the broker, which opens the gates of pods.
pub(crate) const LAST: [&str; 1] = ["a_pod_waits_for_a_node_that_the_labeler_labels"];

pub(crate) async fn run(name: &str, world: &mut World) -> Result<()> {
    match name {
        "every_manifest_is_accepted_strictly" => manifests(world).await,
        "the_webhook_registers_itself_with_the_rights_of_its_account" => register(world).await,
        "the_examples_are_given_what_they_need" => examples(world).await,
        "pods_without_the_label_are_left_alone" => unlabelled(world).await,
        "pods_in_our_own_namespace_are_left_alone" => own_namespace(world).await,
        "bad_annotations_are_refused_with_a_sentence" => refusals(world).await,
        "an_update_changes_nothing" => update(world).await,
        "many_pods_at_once_are_changed_once_each" => many(world).await,
        "two_replicas_share_an_authority" => replicas(world).await,
        "a_webhook_that_is_down_refuses_labelled_pods_only" => down(world).await,
        "a_lost_secret_is_made_again" => lost_secret(world).await,
        "a_pod_waits_for_a_node_that_the_labeler_labels" => labeler(world).await,
        _ => bail!("there is no such check"),
    }
}

async fn manifests(world: &mut World) -> Result<()> {
    let number = world.install().await?;
    ensure!(number > 10, "only {number} objects");
    Ok(())
}

async fn register(world: &mut World) -> Result<()> {
    world.start_registered().await?;
    let configuration = world.configurations().get(CONFIGURATION).await?;
    for webhook in configuration.webhooks.unwrap_or_default() {
        ensure!(webhook.client_config.ca_bundle.is_some(), "no caBundle");
    }
    Ok(())
}

async fn examples(world: &mut World) -> Result<()> {
    let mut pods = 0;
    for entry in std::fs::read_dir(world.repository.join("examples/k8s"))? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        for object in objects::read(&path)? {
            let created = objects::apply(&world.client(), &object).await?;
            if object["kind"] != "Pod" {
                continue;
            }
            pods += 1;
            let pod = world.pods().get(&created.name_any()).await?;
            let spec = pod.spec.as_ref().context("no spec")?;
            ensure!(
                pod.annotations().contains_key("gvirtus.io/injected"),
                "{path:?}"
            );
            let selector = spec.node_selector.clone().unwrap_or_default();
            ensure!(
                selector
                    .get("gvirtus.io/frontend.allowed")
                    .is_some_and(|v| v == "true")
            );
            let wanted = pod.annotations().get("gvirtus.io/containers").cloned();
            for container in &spec.containers {
                let has = container
                    .env
                    .iter()
                    .flatten()
                    .any(|v| v.name == "GVIRTUS_ENDPOINT");
                let shall = wanted
                    .as_ref()
                    .is_none_or(|names| names.contains(&container.name));
                ensure!(has == shall, "{path:?}: {}", container.name);
            }
            world
                .pods()
                .delete(&pod.name_any(), &DeleteParams::default())
                .await?;
        }
    }
    ensure!(pods >= 4, "only {pods} pods");
    Ok(())
}

async fn unlabelled(world: &mut World) -> Result<()> {
    let pod = objects::pod("unlabelled", false)?;
    let created = world.pods().create(&PostParams::default(), &pod).await?;
    let spec = created.spec.context("no spec")?;
    ensure!(spec.init_containers.is_none_or(|list| list.is_empty()));
    ensure!(spec.containers[0].env.is_none());
    Ok(())
}

async fn own_namespace(world: &mut World) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(world.client(), NAMESPACE);
    let pod = objects::pod("ours", true)?;
    let created = pods.create(&PostParams::default(), &pod).await?;
    ensure!(!is_equipped(&created), "changed");
    Ok(())
}

async fn refusals(world: &mut World) -> Result<()> {
    for (name, value, said) in [
        (
            "gvirtus.io/containers",
            "other",
            "write one or more of program",
        ),
        (
            "gvirtus.io/backend-policy",
            "fastest",
            "write one of least-loaded",
        ),
        ("gvirtus.io/backend", "gpu-1", "remove it"),
        ("gvirtus.io/devices", "GPU-0", "remove it"),
        ("gvirtus.io/injected", "00", "remove the annotation"),
    ] {
        let mut pod = objects::pod("refused", true)?;
        pod.annotations_mut().insert(name.into(), value.into());
        let Err(error) = world.pods().create(&PostParams::default(), &pod).await else {
            bail!("{name}={value} was accepted");
        };
        let text = error.to_string();
        ensure!(
            text.contains(said) && text.contains("denied the request"),
            "{text}"
        );
    }
    let mut pod = serde_json::to_value(objects::pod("refused", true)?)?;
    pod["spec"]["containers"][0]["env"] =
        json!([{"name": "GVIRTUS_REQUEST", "value": "gpu-memory=1"}]);
    let pod: Pod = serde_json::from_value(pod)?;
    let created = world.pods().create(&PostParams::default(), &pod).await;
    let error = created.err().context("GVIRTUS_REQUEST was accepted")?;
    ensure!(
        error.to_string().contains("GVirtuS alone writes"),
        "{error}"
    );
    Ok(())
}

async fn update(world: &mut World) -> Result<()> {
    let pods = world.pods();
    let pod = objects::pod("updated", true)?;
    let created = pods.create(&PostParams::default(), &pod).await?;
    ensure!(is_equipped(&created), "not changed");
    let patch = Patch::Merge(json!({"metadata": {"labels": {"other": "label"}}}));
    let updated = pods
        .patch("updated", &PatchParams::default(), &patch)
        .await?;
    ensure!(updated.spec == created.spec, "the spec has changed");
    // A copy of what is there, as `kubectl get -o yaml` gives it.
    let mut copy = created;
    copy.metadata.resource_version = None;
    copy.metadata.uid = None;
    copy.metadata.name = Some("copied".into());
    copy.status = None;
    let copied = pods.create(&PostParams::default(), &copy).await?;
    ensure!(copied.spec == copy.spec, "the copy was changed");
    Ok(())
}

async fn many(world: &mut World) -> Result<()> {
    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for index in 0..MANY {
        let (pods, pod) = (world.pods(), objects::pod(&format!("many-{index}"), true)?);
        tasks.spawn(async move { pods.create(&PostParams::default(), &pod).await });
    }
    while let Some(created) = tasks.join_next().await {
        let pod = created??;
        ensure!(is_equipped(&pod), "{}", pod.name_any());
    }
    println!("  {MANY} pods in {:.2} s", start.elapsed().as_secs_f64());
    if let Some(webhook) = &world.webhook {
        println!(
            "  the webhook has {} KiB in memory",
            webhook.resident_kib()?
        );
    }
    let metrics = get(world.health_port, "/metrics").await?;
    for line in metrics
        .lines()
        .filter(|line| line.contains("review_duration_seconds_"))
    {
        println!("  {line}");
    }
    let all = ListParams::default().labels("gvirtus.io/enabled=true");
    world
        .pods()
        .delete_collection(&DeleteParams::default(), &all)
        .await?;
    Ok(())
}

async fn replicas(world: &mut World) -> Result<()> {
    let ports = crate::cluster::free_ports()?;
    let before = world.configurations().get(CONFIGURATION).await?.webhooks;
    let second = world.start_webhook("second-webhook", ports).await?;
    let after = world.configurations().get(CONFIGURATION).await?.webhooks;
    ensure!(
        before == after,
        "the second replica has changed the registration"
    );
    ensure!(second.end()?, "the second replica did not end well");
    Ok(())
}

async fn down(world: &mut World) -> Result<()> {
    let webhook = world.webhook.take().context("it is not there")?;
    ensure!(webhook.end()?, "the webhook did not end well");
    let pods = world.pods();
    let labelled = pods
        .create(&PostParams::default(), &objects::pod("down", true)?)
        .await;
    ensure!(labelled.is_err(), "a labelled pod was accepted");
    pods.create(
        &PostParams::default(),
        &objects::pod("down-unlabelled", false)?,
    )
    .await
    .context("a pod without the label")?;
    world.start_registered().await?;
    let pod = pods
        .create(&PostParams::default(), &objects::pod("up", true)?)
        .await?;
    ensure!(is_equipped(&pod), "not changed");
    Ok(())
}

async fn lost_secret(world: &mut World) -> Result<()> {
    let secrets: Api<Secret> = Api::namespaced(world.client(), NAMESPACE);
    let name = "gvirtus-webhook-certificate";
    let before = secrets.get(name).await?.data;
    secrets.delete(name, &DeleteParams::default()).await?;
    until("there is another Secret", LOOK_LIMIT, || async {
        let now = secrets.get_opt(name).await?;
        Ok(now.is_some_and(|secret| secret.data != before))
    })
    .await?;
    let parameters = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let pod = objects::pod("rotated", true)?;
    until("the API server trusts the new one", LOOK_LIMIT, || async {
        let created = world.pods().create(&parameters, &pod).await;
        Ok(created.is_ok_and(|pod| is_equipped(&pod)))
    })
    .await
}

async fn labeler(world: &mut World) -> Result<()> {
    let nodes: Api<Node> = Api::all(world.client());
    let node: Node = serde_json::from_value(json!({
        "metadata": {"name": "node", "labels": {"gvirtus.io/backend.allowed": "true"}},
    }))?;
    nodes.create(&PostParams::default(), &node).await?;
    // No controller takes away what the API server gives a new node.
    let untainted = Patch::Merge(json!({"spec": {"taints": null}}));
    nodes
        .patch("node", &PatchParams::default(), &untainted)
        .await?;
    let amounts = json!({"cpu": "8", "memory": "16Gi", "pods": "110"});
    let status = json!({"status": {"capacity": amounts, "allocatable": amounts,
        "conditions": [{"type": "Ready", "status": "True", "reason": "Test", "message": ""}]}});
    nodes
        .patch_status("node", &PatchParams::default(), &Patch::Merge(status))
        .await?;
    let pods = world.pods();
    let pod = objects::pod("waiting", true)?;
    pods.create(&PostParams::default(), &pod).await?;
    let is_bound = |pod: &Pod| {
        pod.spec
            .as_ref()
            .is_some_and(|spec| spec.node_name.is_some())
    };
    // A pod that may run anywhere is bound meanwhile.
    let free = objects::pod("anywhere", false)?;
    pods.create(&PostParams::default(), &free).await?;
    until("the scheduler works", SCHEDULE_LIMIT, || async {
        Ok(is_bound(&pods.get("anywhere").await?))
    })
    .await?;
    ensure!(
        !is_bound(&pods.get("waiting").await?),
        "bound to a node without the label"
    );
    let labeler = world.start_labeler().await?;
    until("the labelled pod is bound", SCHEDULE_LIMIT, || async {
        Ok(is_bound(&pods.get("waiting").await?))
    })
    .await
    .with_context(|| labeler.tail())?;
    let node = nodes.get("node").await?;
    ensure!(
        node.labels()["gvirtus.io/backend.allowed"] == "true",
        "overwritten"
    );
    ensure!(labeler.end()?, "the labeler did not end well");
    Ok(())
}
