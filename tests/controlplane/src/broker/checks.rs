// SPDX-License-Identifier: Apache-2.0
//! What shall hold of the broker, in the order in which it is checked.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail, ensure};
use gvirtus_ticket::{PublicKeys, Scope, SigningKey, Ticket};
use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::api::events::v1::Event;
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{Api, ResourceExt as _};
use serde_json::json;

use super::Broker;
use super::capacity;
use super::client::{self, Client};
use super::kai;
use super::parts::MEMORY_MIB;
use super::scaling;
use crate::objects::{self, is_equipped};
use crate::wait::until;
use crate::world::{NAMESPACE, World};

pub(super) const LIMIT: Duration = Duration::from_secs(60);
/// Pods that are created at once.
const MANY: usize = 200;
const GATE: &str = "gvirtus.io/backend";
const BACKEND: &str = "backend-1";
/// The one that takes its place.
pub(super) const SECOND: &str = "backend-2";

pub(crate) const NAMES: [&str; 13] = [
    "a_pod_without_a_backend_stays_behind_its_gate",
    "a_backend_opens_the_gate_and_answers_who_waits",
    "a_pods_token_gives_it_a_session_that_is_listed",
    "what_is_forged_is_refused",
    "quotas_are_never_more_than_a_device",
    "a_restarted_broker_answers_who_waited",
    "a_backend_that_goes_takes_nobody_with_it",
    "remote_capacity_is_scheduled_and_counted",
    "many_pods_at_once_get_a_backend_each",
    "kai_counts_a_shadow_before_its_pod_is_scheduled",
    "a_pod_whose_shadow_is_taken_away_ends",
    "a_shadow_where_there_is_no_room_is_let_go",
    "replicas_of_backends_follow_demand",
];

pub(crate) async fn run(name: &str, world: &mut World) -> Result<()> {
    let mut broker = match world.broker.take() {
        Some(broker) => broker,
        None => Broker::start(world).await?,
    };
    let result = check(name, world, &mut broker).await;
    let result = result.with_context(|| broker.tail());
    world.broker = Some(broker);
    result
}

async fn check(name: &str, world: &mut World, broker: &mut Broker) -> Result<()> {
    match name {
        "a_pod_without_a_backend_stays_behind_its_gate" => gated(world, broker).await,
        "a_backend_opens_the_gate_and_answers_who_waits" => opened(world, broker).await,
        "a_pods_token_gives_it_a_session_that_is_listed" => session(world, broker).await,
        "what_is_forged_is_refused" => forged(world, broker).await,
        "quotas_are_never_more_than_a_device" => quotas(world, broker).await,
        "a_restarted_broker_answers_who_waited" => restarted(world, broker).await,
        "a_backend_that_goes_takes_nobody_with_it" => gone(world, broker).await,
        "remote_capacity_is_scheduled_and_counted" => capacity::check(world, broker).await,
        "many_pods_at_once_get_a_backend_each" => many(world, broker).await,
        "kai_counts_a_shadow_before_its_pod_is_scheduled" => kai::counted(world, broker).await,
        "a_pod_whose_shadow_is_taken_away_ends" => kai::taken_away(world, broker).await,
        "a_shadow_where_there_is_no_room_is_let_go" => kai::without_room(world, broker).await,
        "replicas_of_backends_follow_demand" => scaling::follows_demand(world, broker).await,
        _ => bail!("there is no such check"),
    }
}

/// Creates a labelled pod whose container asks for these resources.
pub(super) async fn create(world: &World, name: &str, limits: &[(&str, &str)]) -> Result<Pod> {
    let mut pod = serde_json::to_value(objects::pod(name, true)?)?;
    for (name, value) in limits {
        pod["spec"]["containers"][0]["resources"]["limits"][name] = json!(value);
    }
    let pod = serde_json::from_value(pod)?;
    Ok(world.pods().create(&PostParams::default(), &pod).await?)
}

pub(super) async fn remove(world: &World, name: &str) -> Result<()> {
    let at_once = DeleteParams::default().grace_period(0);
    world.pods().delete(name, &at_once).await?;
    Ok(())
}

pub(super) fn is_gated(pod: &Pod) -> bool {
    let gates = pod
        .spec
        .iter()
        .flat_map(|spec| spec.scheduling_gates.iter().flatten());
    gates.into_iter().any(|gate| gate.name == GATE)
}

pub(super) async fn until_open(world: &World, name: &str) -> Result<()> {
    until(&format!("{name} may be scheduled"), LIMIT, || async {
        Ok(!is_gated(&world.pods().get(name).await?))
    })
    .await
}

pub(super) async fn until_told(world: &World, pod: &str, reason: &str, said: &str) -> Result<()> {
    let events: Api<Event> = Api::namespaced(world.client(), "default");
    until(&format!("an event {reason} of {pod}"), LIMIT, || async {
        let events = events.list(&ListParams::default()).await?;
        Ok(events.iter().any(|event| {
            let name = event
                .regarding
                .as_ref()
                .and_then(|object| object.name.as_deref());
            let note = event.note.as_deref().unwrap_or_default();
            let is_it = name == Some(pod) && event.reason.as_deref() == Some(reason);
            is_it && note.contains(said)
        }))
    })
    .await
}

async fn gated(world: &World, broker: &mut Broker) -> Result<()> {
    // Pods of other checks would be given room too.
    let all = ListParams::default().labels("gvirtus.io/enabled=true");
    let at_once = DeleteParams::default().grace_period(0);
    world.pods().delete_collection(&at_once, &all).await?;
    let pod = create(world, "gated", &[]).await?;
    ensure!(is_gated(&pod), "there is no gate");
    until_told(world, "gated", "WaitingForBackend", "no backend is running").await?;
    // A pod of an older cluster, which has no gates, waits with its program.
    let token = client::token(world, Some(&pod), "gvirtus").await?;
    let mut client = Client::ask(broker.port, &token, "program").await?;
    let reason = client.wait().await?;
    ensure!(reason.contains("no backend is running"), "{reason}");
    ensure!(broker.metric("gvirtus_broker_waiting_clients").await? == "1");
    ensure!(broker.metric("gvirtus_broker_gated_pods").await? != "0");
    // It says so again and again, so that the client knows that it is still there.
    client.wait().await?;
    ensure!(
        is_gated(&world.pods().get("gated").await?),
        "the gate was removed"
    );
    Ok(())
}

async fn opened(world: &World, broker: &mut Broker) -> Result<()> {
    let pod = world.pods().get("gated").await?;
    let token = client::token(world, Some(&pod), "gvirtus").await?;
    let mut client = Client::ask(broker.port, &token, "program").await?;
    client.wait().await?;
    broker.add_backend(world, BACKEND).await?;
    until_open(world, "gated").await?;
    until_told(world, "gated", "BackendFound", "room").await?;
    let grant = client.grant().await?;
    let expected = format!("tcp://127.0.0.1:{}", broker.backend()?.port);
    ensure!(grant.endpoint == expected, "{}", grant.endpoint);
    remove(world, "gated").await
}

fn sessions(world: &World) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("gvirtus.io", "v1alpha1", "GpuSession");
    Api::namespaced_with(world.client(), "default", &ApiResource::from_gvk(&kind))
}

/// Waits until the session of a pod is in this phase.
async fn until_phase(world: &World, pod: &str, phase: &str) -> Result<DynamicObject> {
    let find = || async {
        let all = sessions(world).list(&ListParams::default()).await?;
        Ok::<_, anyhow::Error>(all.items.into_iter().find(|session| {
            session.data["spec"]["pod"] == pod && session.data["status"]["phase"] == phase
        }))
    };
    until(
        &format!("the session of {pod} is {phase}"),
        LIMIT,
        || async { Ok(find().await?.is_some()) },
    )
    .await?;
    find().await?.context("it has changed again")
}

async fn session(world: &World, broker: &mut Broker) -> Result<()> {
    let limits = [
        ("gvirtus.io/gpu-memory", "1024"),
        ("gvirtus.io/gpu-core", "50"),
    ];
    let pod = create(world, "session", &limits).await?;
    let resources = pod.spec.iter().flat_map(|spec| &spec.containers).next();
    let limits = resources.and_then(|container| container.resources.clone()?.limits);
    ensure!(
        limits.unwrap_or_default().is_empty(),
        "the resources were not translated"
    );
    until_open(world, "session").await?;
    let token = client::token(world, Some(&pod), "gvirtus").await?;
    let grant = Client::ask(broker.port, &token, "program")
        .await?
        .grant()
        .await?;
    let listed = until_phase(world, "session", "Granted").await?;
    ensure!(
        listed.data["spec"]["quota"] == "1024 MiB, 50 %",
        "{:?}",
        listed.data
    );
    ensure!(
        listed.data["spec"]["backend"] == BACKEND,
        "{:?}",
        listed.data
    );
    ensure!(
        listed
            .owner_references()
            .iter()
            .any(|owner| Some(&owner.uid) == pod.uid().as_ref())
    );
    let session = client::open(broker.backend()?.port, &grant.ticket).await?;
    let session = session.map_err(anyhow::Error::msg)?;
    let devices = &session.welcome.snapshot.devices;
    ensure!(devices.len() == 1, "{} devices", devices.len());
    let listed = until_phase(world, "session", "Running").await?;
    ensure!(
        listed.data["status"]["grantedAt"].is_string(),
        "{:?}",
        listed.data
    );
    ensure!(
        broker
            .metric("gvirtus_broker_memory_bytes{kind=\"granted\"}")
            .await?
            == "1073741824"
    );
    // Another program of the pod goes to the same place, and is not counted twice.
    let again = Client::ask(broker.port, &token, "program")
        .await?
        .grant()
        .await?;
    ensure!(again.endpoint == grant.endpoint, "{}", again.endpoint);
    drop(session);
    remove(world, "session").await?;
    until_phase(world, "session", "Ended").await.map(drop)
}

/// The key that the broker made.
pub(super) async fn key(world: &World) -> Result<SigningKey> {
    let secrets: Api<Secret> = Api::namespaced(world.client(), NAMESPACE);
    let data = secrets
        .get("gvirtus-ticket-key")
        .await?
        .data
        .context("an empty Secret")?;
    let seed = data["seed"].0.as_slice().try_into().context("no seed")?;
    Ok(SigningKey::from_seed(seed))
}

async fn forged(world: &World, broker: &mut Broker) -> Result<()> {
    let pod = create(world, "honest", &[]).await?;
    let right = client::token(world, Some(&pod), "gvirtus").await?;
    let other = client::token(world, Some(&pod), "https://kubernetes.default.svc").await?;
    let unbound = client::token(world, None, "gvirtus").await?;
    let mut changed = right.clone();
    let last = changed.len() - 5;
    changed[last] = if changed[last] == b'A' { b'B' } else { b'A' };
    let unlabelled = world
        .pods()
        .create(&PostParams::default(), &objects::pod("stranger", false)?)
        .await?;
    let stranger = client::token(world, Some(&unlabelled), "gvirtus").await?;
    for (token, container, said) in [
        (&b""[..], "program", "no token is shown"),
        (b"a.b.c", "program", "not valid"),
        (&changed, "program", "not valid"),
        (&other, "program", "not valid"),
        (&unbound, "program", "belongs to no pod"),
        (&stranger, "program", "does not have the label"),
        (&right, "another", "no container"),
    ] {
        let reason = Client::ask(broker.port, token, container)
            .await?
            .refusal()
            .await?;
        ensure!(reason.contains(said), "{reason} (instead of: {said})");
    }
    remove(world, "stranger").await?;
    let grant = Client::ask(broker.port, &right, "program")
        .await?
        .grant()
        .await?;
    remove(world, "honest").await?;
    // What the API server said of the token is remembered for some seconds.
    until(
        "the token of a pod that is gone is refused",
        LIMIT,
        || async {
            let mut client = Client::ask(broker.port, &right, "program").await?;
            Ok(client.refusal().await.is_ok())
        },
    )
    .await?;
    forged_tickets(world, broker, &grant.ticket).await
}

async fn forged_tickets(world: &World, broker: &Broker, shown: &[u8]) -> Result<()> {
    let key = key(world).await?;
    let keys = PublicKeys::from(key.public());
    let honest = keys.verify_signature(shown)?;
    let backend = broker.backend()?;
    ensure!(honest.backend == backend.uid, "{honest:?}");
    let elsewhere = Ticket {
        backend: "another-uid".into(),
        ..honest.clone()
    };
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let expired = Ticket {
        issued_s: now_s - 1000,
        expires_s: now_s - 500,
        ..honest.clone()
    };
    let observer = Ticket {
        scope: Scope::Observer,
        ..honest.clone()
    };
    let mut seed = [7; 32];
    seed[0] = 8;
    for (ticket, said) in [
        (key.sign(&elsewhere)?, "for another backend"),
        (key.sign(&expired)?, "has expired"),
        (key.sign(&observer)?, "not for this purpose"),
        (
            SigningKey::from_seed(&seed).sign(&honest)?,
            "not signed by a broker",
        ),
        (b"ticket".to_vec(), "no ticket of a broker"),
        (Vec::new(), "a ticket of this cluster's broker is needed"),
    ] {
        match client::open(backend.port, &ticket).await? {
            Err(reason) => ensure!(reason.contains(said), "{reason} (instead of: {said})"),
            Ok(_) => bail!("let in, although {said}"),
        }
    }
    let opened = client::open(backend.port, shown).await?;
    opened
        .map(drop)
        .map_err(anyhow::Error::msg)
        .context("the honest ticket")
}

async fn quotas(world: &World, broker: &mut Broker) -> Result<()> {
    let half = (MEMORY_MIB / 2).to_string();
    let limits = [("gvirtus.io/gpu-memory", half.as_str())];
    let mut open = Vec::new();
    for name in ["half-1", "half-2"] {
        let pod = create(world, name, &limits).await?;
        until_open(world, name).await?;
        open.push(pod);
    }
    create(world, "half-3", &limits).await?;
    until_told(world, "half-3", "WaitingForBackend", "no backend has room").await?;
    for pod in &open {
        let token = client::token(world, Some(pod), "gvirtus").await?;
        let grant = Client::ask(broker.port, &token, "program")
            .await?
            .grant()
            .await?;
        let ticket =
            PublicKeys::from(key(world).await?.public()).verify_signature(&grant.ticket)?;
        ensure!(
            ticket.quota.memory_bytes == Some(MEMORY_MIB << 19),
            "{ticket:?}"
        );
    }
    ensure!(
        is_gated(&world.pods().get("half-3").await?),
        "more than there is"
    );
    remove(world, "half-1").await?;
    until_open(world, "half-3")
        .await
        .context("after a pod has made room")?;
    for name in ["half-2", "half-3"] {
        remove(world, name).await?;
    }
    Ok(())
}

async fn restarted(world: &World, broker: &mut Broker) -> Result<()> {
    let limits = [("gvirtus.io/gpu-count", "1")];
    let holder = create(world, "holder", &limits).await?;
    let token = client::token(world, Some(&holder), "gvirtus").await?;
    let grant = Client::ask(broker.port, &token, "program")
        .await?
        .grant()
        .await?;
    let session = client::open(broker.backend()?.port, &grant.ticket).await?;
    let session = session.map_err(anyhow::Error::msg)?;
    until_phase(world, "holder", "Running").await?;
    let pod = create(world, "patient", &limits).await?;
    let token = client::token(world, Some(&pod), "gvirtus").await?;
    let mut client = Client::ask(broker.port, &token, "program").await?;
    let reason = client.wait().await?;
    ensure!(reason.contains("in use"), "{reason}");
    broker.stop_program()?;
    ensure!(
        client.next().await.is_err(),
        "a broker that has ended answers"
    );
    broker.start_program(world).await?;
    // The new one knows from the backend that the device is taken.
    let mut client = Client::ask(broker.port, &token, "program").await?;
    let reason = client.wait().await?;
    ensure!(reason.contains("in use"), "{reason}");
    drop(session);
    remove(world, "holder").await?;
    client.grant().await?;
    remove(world, "patient").await
}

async fn gone(world: &World, broker: &mut Broker) -> Result<()> {
    broker.remove_backend(world, BACKEND).await?;
    let pod = create(world, "moving", &[]).await?;
    let token = client::token(world, Some(&pod), "gvirtus").await?;
    until(
        "the broker sees that the backend is gone",
        LIMIT,
        || async {
            let mut client = Client::ask(broker.port, &token, "program").await?;
            Ok(client.wait().await.is_ok())
        },
    )
    .await?;
    let mut client = Client::ask(broker.port, &token, "program").await?;
    client.wait().await?;
    broker.add_backend(world, SECOND).await?;
    client.grant().await?;
    remove(world, "moving").await
}

async fn many(world: &World, broker: &mut Broker) -> Result<()> {
    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for index in 0..MANY {
        let (pods, pod) = (world.pods(), objects::pod(&format!("crowd-{index}"), true)?);
        tasks.spawn(async move { pods.create(&PostParams::default(), &pod).await });
    }
    let mut created = Vec::new();
    while let Some(pod) = tasks.join_next().await {
        let pod = pod??;
        ensure!(is_equipped(&pod), "{}", pod.name_any());
        created.push(pod);
    }
    let all = ListParams::default().labels("gvirtus.io/enabled=true");
    until("all may be scheduled", LIMIT, || async {
        let pods = world.pods().list(&all).await?;
        Ok(!pods.iter().any(is_gated))
    })
    .await?;
    println!(
        "  {MANY} pods created and their gates open in {:.2} s",
        start.elapsed().as_secs_f64()
    );
    let mut tokens = Vec::new();
    for pod in &created {
        tokens.push(client::token(world, Some(pod), "gvirtus").await?);
    }
    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for token in tokens {
        let port = broker.port;
        tasks.spawn(async move { Client::ask(port, &token, "program").await?.grant().await });
    }
    while let Some(grant) = tasks.join_next().await {
        grant??;
    }
    println!(
        "  {MANY} programs had a ticket after {:.2} s",
        start.elapsed().as_secs_f64()
    );
    let decided = broker
        .metric("gvirtus_broker_decision_duration_seconds_sum")
        .await?;
    println!("  all decisions of the broker took {decided} s");
    world
        .pods()
        .delete_collection(&DeleteParams::default().grace_period(0), &all)
        .await?;
    Ok(())
}
