// SPDX-License-Identifier: Apache-2.0
//! What shall hold on a node, in the order in which it is checked.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;

use super::broker;
use super::kai;
use super::machine::{Machine, NODE_NAME};
use super::parts;
use super::pods::{self, EXAMPLES};
use super::{replicas, scaling};
use crate::objects;
use crate::wait::until;
use crate::world::NAMESPACE;

pub(super) const READY_LIMIT: Duration = Duration::from_secs(120);
pub(super) const BACKEND: &str = "app.kubernetes.io/component=backend";
/// Prints a line after its first kernel, and is busy for so many seconds more.
const ROUNDS: &str = "rounds";
const FIRST: &str = "the first round is done";
/// Pods whose start is timed.
const FIRST_KERNELS: usize = 5;
pub(super) const BUSYBOX: &str = "busybox:1.37";

pub(super) const NAMES: [&str; 19] = [
    "the_node_is_ready",
    "containerd_imports_the_images",
    "the_chart_runs_as_it_is",
    "a_labelled_node_runs_a_backend",
    "the_node_offers_parts_of_its_gpu",
    "a_pod_prints_what_its_program_computed",
    "the_first_kernel_follows_a_pods_creation",
    "each_container_of_a_pod_has_a_gpu",
    "a_pod_as_restricted_as_can_be_has_a_gpu",
    "pods_of_a_job_share_a_gpu",
    "an_image_like_busybox_has_a_gpu",
    "a_pod_in_a_queue_of_kai_lives_as_long_as_its_shadow",
    "a_pod_has_no_more_memory_than_its_limit",
    "a_pod_waits_for_a_backend",
    "a_killed_backend_ends_its_programs_and_the_next_one_serves",
    "a_restarted_kubelet_disturbs_no_program",
    "without_the_webhook_labelled_pods_are_refused_and_others_run",
    "a_killed_broker_is_followed_by_the_other",
    "backends_follow_demand",
];

pub(super) async fn run(name: &str, machine: &mut Machine) -> Result<()> {
    match name {
        "the_node_is_ready" => ready(machine).await,
        "containerd_imports_the_images" => import(machine),
        "the_chart_runs_as_it_is" => chart(machine).await,
        "a_labelled_node_runs_a_backend" => backend(machine).await,
        "the_node_offers_parts_of_its_gpu" => parts::offered(machine, "parts").await,
        "a_pod_prints_what_its_program_computed" => single(machine).await,
        "the_first_kernel_follows_a_pods_creation" => first_kernel(machine).await,
        "each_container_of_a_pod_has_a_gpu" => containers(machine).await,
        "a_pod_as_restricted_as_can_be_has_a_gpu" => restricted(machine).await,
        "pods_of_a_job_share_a_gpu" => job(machine).await,
        "an_image_like_busybox_has_a_gpu" => busybox(machine).await,
        "a_pod_in_a_queue_of_kai_lives_as_long_as_its_shadow" => kai::leased(machine).await,
        "a_pod_has_no_more_memory_than_its_limit" => broker::limited(machine).await,
        "a_pod_waits_for_a_backend" => broker::waits(machine).await,
        "a_killed_backend_ends_its_programs_and_the_next_one_serves" => killed(machine).await,
        "a_restarted_kubelet_disturbs_no_program" => restarted(machine).await,
        "without_the_webhook_labelled_pods_are_refused_and_others_run" => {
            replicas::no_webhook(machine).await
        }
        "a_killed_broker_is_followed_by_the_other" => replicas::killed_broker(machine).await,
        "backends_follow_demand" => scaling::follows_demand(machine).await,
        _ => bail!("there is no such check"),
    }
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|s| s.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

async fn ready(machine: &mut Machine) -> Result<()> {
    until("the node is ready", READY_LIMIT, || async {
        Ok(machine.node().await.is_ok_and(|node| is_ready(&node)))
    })
    .await
}

fn import(machine: &mut Machine) -> Result<()> {
    let archives = &machine.arguments().images;
    for archive in archives {
        machine.ctr(&["images", "import", &archive.display().to_string()])?;
    }
    let listed = machine.ctr(&["images", "list", "--quiet"])?;
    let tagged = listed.lines().filter(|name| !name.starts_with("sha256:"));
    ensure!(tagged.count() == archives.len(), "{listed}");
    Ok(())
}

async fn chart(machine: &mut Machine) -> Result<()> {
    let client = machine.client();
    let namespace = machine.arguments().repository.join("deploy/namespace.yaml");
    for file in [&namespace, &machine.arguments().manifests] {
        for object in objects::read(file)? {
            objects::apply(&client, &object).await?;
        }
    }
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), NAMESPACE);
    until("the chart's pods are ready", READY_LIMIT, || async {
        let all = deployments.list(&ListParams::default()).await?;
        Ok(all.iter().all(|deployment| {
            let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas);
            let there = deployment.status.as_ref().and_then(|s| s.ready_replicas);
            wanted == there
        }))
    })
    .await?;
    until("the labeler labels", READY_LIMIT, || async {
        let node = machine.node().await?;
        Ok(node.labels().contains_key("gvirtus.io/frontend.allowed"))
    })
    .await?;
    let parameters = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let pod = objects::pod("first", true)?;
    until("labelled pods are changed", READY_LIMIT, || async {
        let pods = pods::api(client.clone(), "default");
        let created = pods.create(&parameters, &pod).await;
        Ok(created.is_ok_and(|pod| objects::is_equipped(&pod)))
    })
    .await
}

async fn backend(machine: &mut Machine) -> Result<()> {
    let ours = pods::api(machine.client(), NAMESPACE);
    let before = ours.list(&ListParams::default().labels(BACKEND)).await?;
    ensure!(
        before.items.is_empty(),
        "a backend runs on a node without the label"
    );
    let nodes: Api<Node> = Api::all(machine.client());
    let label = json!({"metadata": {"labels": {"gvirtus.io/backend.allowed": "true"}}});
    nodes
        .patch(NODE_NAME, &PatchParams::default(), &Patch::Merge(label))
        .await?;
    pods::wait_for(&ours, BACKEND).await.map(drop)
}

async fn single(machine: &mut Machine) -> Result<()> {
    let pods = pods::api(machine.client(), "default");
    let name = example(machine, "single.yaml").await?;
    pods::require(&pods, &name, &[("program", "ok matrix_multiply")]).await?;
    pods::remove(&pods, &name).await
}

/// Prints how long it takes from a pod's creation to its first kernel, by the clock of the runtime
/// that stamps what is printed.
async fn first_kernel(machine: &mut Machine) -> Result<()> {
    let pods = pods::api(machine.client(), "default");
    let mut times_ms = Vec::new();
    for index in 0..FIRST_KERNELS {
        let start = SystemTime::now();
        let name = rounds(machine, &format!("first-{index}"), "1").await?;
        let printed = pods::printed_at(&pods, &name, "program", FIRST).await?;
        times_ms.push(printed.duration_since(start)?.as_millis());
        pods::require(&pods, &name, &[("program", "ok rounds")]).await?;
        pods::remove(&pods, &name).await?;
    }
    times_ms.sort_unstable();
    println!("  from a pod's creation to its first kernel, in ms: {times_ms:?}");
    Ok(())
}

async fn containers(machine: &mut Machine) -> Result<()> {
    let pods = pods::api(machine.client(), "default");
    let name = example(machine, "multi-container.yaml").await?;
    let lines = [
        ("transform", "ok fft"),
        ("integrate", "ok monte_carlo_pi"),
        ("log", "I have no GPU, and need none"),
    ];
    pods::require(&pods, &name, &lines).await?;
    pods::remove(&pods, &name).await
}

async fn restricted(machine: &mut Machine) -> Result<()> {
    let pods = pods::api(machine.client(), "default");
    let name = example(machine, "read-only.yaml").await?;
    pods::require(&pods, &name, &[("program", "ok reduction")]).await?;
    pods::remove(&pods, &name).await
}

async fn job(machine: &mut Machine) -> Result<()> {
    let name = example(machine, "job.yaml").await?;
    let jobs: Api<Job> = Api::namespaced(machine.client(), "default");
    let completions = |job: &Job| job.spec.as_ref().and_then(|spec| spec.completions);
    until("the job is done", READY_LIMIT, || async {
        let job = jobs.get(&name).await?;
        let done = job.status.as_ref().and_then(|status| status.succeeded);
        Ok(done == completions(&job))
    })
    .await?;
    let pods = pods::api(machine.client(), "default");
    let label = format!("job-name={name}");
    let all = pods.list(&ListParams::default().labels(&label)).await?;
    for pod in all {
        pods::require(&pods, &pod.name_any(), &[("program", "ok n_body")]).await?;
    }
    Ok(())
}

async fn busybox(machine: &mut Machine) -> Result<()> {
    let pods = pods::api(machine.client(), "default");
    let pod = pods::labelled("busybox", BUSYBOX, &["vector_add"]);
    let name = pods::create(&machine.client(), &pod).await?;
    pods::require(&pods, &name, &[("program", "ok vector_add")]).await?;
    pods::remove(&pods, &name).await
}

async fn killed(machine: &mut Machine) -> Result<()> {
    let ours = pods::api(machine.client(), NAMESPACE);
    let pods = pods::api(machine.client(), "default");
    let victim = pods::wait_for(&ours, BACKEND).await?.name_any();
    let name = rounds(machine, "endless", "3600").await?;
    pods::remove(&ours, &victim).await?;
    let phase = pods::end(&pods, &name).await?;
    let log = pods::log(&pods, &name, "program").await?;
    ensure!(
        phase == "Failed" && log.contains("cudaError"),
        "{phase}: {log}"
    );
    let next = pods::wait_for(&ours, BACKEND).await?.name_any();
    ensure!(next != victim, "the backend was not killed");
    let after = pods::labelled("after", EXAMPLES, &["/examples/scan"]);
    let name = pods::create(&machine.client(), &after).await?;
    pods::require(&pods, &name, &[("program", "ok scan")]).await
}

/// Starts a program and returns once its first kernel has run.
async fn rounds(machine: &Machine, name: &str, seconds: &str) -> Result<String> {
    let pods = pods::api(machine.client(), "default");
    let pod = pods::labelled(name, BUSYBOX, &[ROUNDS, seconds]);
    let name = pods::create(&machine.client(), &pod).await?;
    until("the first kernel has run", READY_LIMIT, || async {
        // There is no log of a container that waits.
        let log = pods::log(&pods, &name, "program").await;
        Ok(log.is_ok_and(|log| log.contains(FIRST)))
    })
    .await?;
    Ok(name)
}

async fn restarted(machine: &mut Machine) -> Result<()> {
    let ours = pods::api(machine.client(), NAMESPACE);
    let pods = pods::api(machine.client(), "default");
    let backend = pods::wait_for(&ours, BACKEND).await?;
    let name = rounds(machine, "long", "20").await?;
    machine.stop_kubelet()?;
    machine.start_kubelet()?;
    pods::require(&pods, &name, &[("program", "ok rounds")]).await?;
    let same = pods::wait_for(&ours, BACKEND).await?;
    let restarts = |pod: &Pod| {
        let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
        Some(statuses.first()?.restart_count)
    };
    ensure!(
        same.metadata.uid == backend.metadata.uid && restarts(&same) == Some(0),
        "the backend was started anew"
    );
    let after = pods::labelled("next", EXAMPLES, &["/examples/fft"]);
    let name = pods::create(&machine.client(), &after).await?;
    pods::require(&pods, &name, &[("program", "ok fft")]).await?;
    // The plugin has found the new kubelet.
    parts::offered(machine, "parts-again").await
}

/// Applies an example and returns the name of what it makes.
pub(super) async fn example(machine: &Machine, file: &str) -> Result<String> {
    let path = machine
        .arguments()
        .repository
        .join("examples/k8s")
        .join(file);
    let object = objects::read(&path)?;
    let object = object.first().context("an empty example")?;
    pods::create(&machine.client(), object).await
}
