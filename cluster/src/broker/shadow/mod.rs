// SPDX-License-Identifier: Apache-2.0
//! Shadow pods: by them KAI's queues and fair share count GPUs of other nodes.
//!
//! ```text
//! frontend behind its gate ──▶ a shadow for each container ──▶ KAI puts it on a backend's node
//! room on that backend ──▶ the gate is removed; none ──▶ the shadow goes, and comes again later
//! KAI takes the shadow away ──▶ the frontend ends; the frontend has ended ──▶ the shadow goes
//! ```
//!
//! What has a lease is told by the objects alone: shadows by their labels, pods that were scheduled
//! by a toleration. Only how long something has lasted is kept, and lost with a restart.

mod look;
mod manifest;
#[cfg(test)]
mod tests;
mod work;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::runtime::reflector::{ObjectRef, Store};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::Broker;
use super::pods::{self, Client};
use crate::limits;
use look::{LEASED, Shadows, Standing};
use work::Task;

pub(super) use manifest::OWNER;

/// How KAI is asked.
#[derive(Clone, Debug)]
pub struct Kai {
    /// The image of shadows, which has `gvirtus-cluster` as its entrypoint.
    pub image: String,
    /// The `schedulerName` of the pods that KAI schedules.
    pub scheduler: String,
}

/// The shadows of a broker that leads.
#[derive(Debug)]
pub(super) struct Leases {
    kai: Kai,
    shadows: Store<Pod>,
    notes: Mutex<HashMap<String, Note>>,
}

/// What is remembered of a pod behind its gate.
#[derive(Debug, Default)]
struct Note {
    /// Since when KAI has placed some of its shadows and not the others.
    partly: Option<Instant>,
    /// Since when there is no room where KAI has placed them, and why.
    without_room: Option<(Instant, String)>,
    /// No shadows until then, because of this.
    pause: Option<(Instant, String)>,
    failures: u32,
}

impl Leases {
    pub(super) fn new(kai: Kai, shadows: Store<Pod>) -> Self {
        Self {
            kai,
            shadows,
            notes: Mutex::default(),
        }
    }

    /// Waits until all shadows are known.
    pub(super) async fn ready(&self) {
        // Fails only if the watch's task has ended, which it does with the process.
        let _ = self.shadows.wait_until_ready().await;
    }

    /// Whether a pod has a lease, or needs one to be scheduled.
    fn concerns(&self, pod: &Pod) -> bool {
        let scheduler = pod.spec.as_ref().and_then(|s| s.scheduler_name.as_deref());
        look::is_leased(pod) || pods::gate(pod).is_some() && scheduler == Some(&*self.kai.scheduler)
    }

    /// The shadow of a container.
    fn shadow(&self, pod: &Pod, client: &Client) -> Option<Arc<Pod>> {
        let name = manifest::name(pod, &client.account.container);
        let namespace = pod.namespace().unwrap_or_default();
        let shadow = self
            .shadows
            .get(&ObjectRef::new(&name).within(&namespace))?;
        let is_its = shadow.labels().get(manifest::OWNER) == pod.uid().as_ref();
        is_its.then_some(shadow)
    }

    fn standing(&self, pod: &Pod, client: &Client) -> Standing {
        look::standing(self.shadow(pod, client).as_deref(), client)
    }

    /// Where a client has to be.
    fn confine(&self, pod: &Pod, mut client: Client) -> Result<Client, String> {
        client.request = manifest::counted(client.request);
        let shadow = self.shadow(pod, &client);
        match look::standing(shadow.as_deref(), &client) {
            // Who has changed it was placed before, and has what he should have.
            Standing::Placed(_) | Standing::Changed => {
                client.node = shadow.as_deref().and_then(look::node).map(Into::into);
            }
            Standing::Missing | Standing::Going | Standing::Ended(_) | Standing::Waits => {}
        }
        if client.node.is_some() {
            return Ok(client);
        }
        let said = shadow.as_deref().and_then(look::refusal);
        Err(said.unwrap_or("KAI does not say why").to_owned())
    }

    /// Makes, deletes and ends what is due.
    pub(super) async fn update(&self, broker: &Broker) {
        let tasks = self.plan(broker, Instant::now());
        let refused = work::run(broker, tasks).await;
        let mut notes = self.notes.lock();
        for (pod, reason) in refused {
            let reason = format!("its shadow pod cannot be made: {reason}");
            let note = notes.entry(pod).or_default();
            note.rest(reason, Instant::now(), broker.seed());
        }
    }

    fn plan(&self, broker: &Broker, now: Instant) -> Vec<Task> {
        let mut shadows = Shadows::new(self.shadows.state());
        let mut tasks = Vec::new();
        let mut gated = Vec::new();
        for pod in broker.watched.pods.state() {
            let own = shadows.take(&pod);
            if !self.concerns(&pod) || pods::has_ended(&pod) {
                tasks.extend(own.iter().filter_map(Task::delete));
                continue;
            }
            let Ok(mut clients) = pods::clients(&pod) else {
                continue;
            };
            clients.retain(|client| !look::has_completed(&pod, client));
            let names = clients.iter().map(|client| &client.account.container);
            let names: Vec<_> = names
                .map(|container| manifest::name(&pod, container))
                .collect();
            let surplus = own
                .iter()
                .filter(|shadow| !names.contains(&shadow.name_any()));
            tasks.extend(surplus.filter_map(Task::delete));
            if pod.metadata.deletion_timestamp.is_some() {
                continue;
            }
            if pods::gate(&pod).is_some() {
                gated.push(pod.uid().unwrap_or_default());
                tasks.extend(self.plan_gated(broker, &pod, &clients, &own, now));
            } else {
                let standings = clients.iter().map(|client| self.standing(&pod, client));
                tasks.extend(lost(&pod, &clients, standings));
            }
        }
        tasks.extend(shadows.rest().filter_map(|shadow| Task::delete(&shadow)));
        self.notes.lock().retain(|uid, _| gated.contains(uid));
        tasks
    }

    /// What is due for a pod behind its gate.
    fn plan_gated(
        &self,
        broker: &Broker,
        pod: &Pod,
        clients: &[Client],
        shadows: &[Arc<Pod>],
        now: Instant,
    ) -> Vec<Task> {
        let standings = clients.iter().map(|client| self.standing(pod, client));
        let standings: Vec<_> = standings.collect();
        let mut notes = self.notes.lock();
        let note = notes.entry(pod.uid().unwrap_or_default()).or_default();
        if let Some(reason) = note.look(&standings, now) {
            note.rest(reason, now, broker.seed());
        }
        if note.pause.is_some() {
            return shadows.iter().filter_map(Task::delete).collect();
        }
        let missing = clients.iter().zip(&standings);
        let missing = missing.filter(|(_, standing)| **standing == Standing::Missing);
        let backends = broker.watched.backends.state();
        let tolerations = manifest::tolerations(backends.iter().map(|pod| &**pod));
        let made = missing
            .map(|(client, _)| manifest::shadow(pod, client, &self.kai, &tolerations))
            .filter_map(Result::ok);
        made.map(|shadow| Task::Create(Box::new(shadow))).collect()
    }
}

impl Note {
    /// Why the shadows have to go, if they have to.
    fn look(&mut self, standings: &[Standing], now: Instant) -> Option<String> {
        if self.pause.as_ref().is_some_and(|(until, _)| *until <= now) {
            self.pause = None;
        }
        if self.pause.is_some() {
            return None;
        }
        let is_placed = |standing: &Standing| matches!(standing, Standing::Placed(_));
        let placed = standings
            .iter()
            .filter(|standing| is_placed(standing))
            .count();
        if placed < standings.len() {
            self.without_room = None;
        }
        if placed == 0 || placed == standings.len() {
            self.partly = None;
        }
        for standing in standings {
            match standing {
                Standing::Ended(reason) => {
                    return Some(format!("a shadow pod has ended: {reason}"));
                }
                Standing::Changed => return Some("a shadow pod was changed".into()),
                _ => {}
            }
        }
        if let Some((since, reason)) = &self.without_room
            && now.duration_since(*since) >= limits::SHADOW_ROOM
        {
            return Some(reason.clone());
        }
        let is_partly = placed > 0 && placed < standings.len();
        let since = is_partly.then(|| *self.partly.get_or_insert(now))?;
        (now.duration_since(since) >= limits::SHADOW_PARTLY).then(|| {
            let all = standings.len();
            format!("KAI has placed {placed} of its {all} shadow pods: others may need the room")
        })
    }

    /// No shadows for a while. Pods that wait for each other must not come again together.
    fn rest(&mut self, reason: String, now: Instant, seed: u64) {
        let longest = limits::SHADOW_PAUSE_MAX;
        let pause = limits::SHADOW_PAUSE.saturating_mul(1 << self.failures.min(10));
        let pause = pause.min(longest);
        let spread = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 1000;
        let jitter = Duration::from_micros(spread * u64::try_from(pause.as_millis()).unwrap_or(0));
        *self = Self {
            pause: Some((now + pause + jitter / 2, reason)),
            failures: self.failures + 1,
            ..Self::default()
        };
    }
}

/// The first shadow that a pod has lost: KAI has given its GPU to somebody else.
fn lost(
    pod: &Arc<Pod>,
    clients: &[Client],
    standings: impl Iterator<Item = Standing>,
) -> Option<Task> {
    clients
        .iter()
        .zip(standings)
        .find_map(|(client, standing)| {
            let why = match standing {
                Standing::Missing => "does not exist any more".to_owned(),
                Standing::Going => "is being deleted".to_owned(),
                Standing::Ended(reason) => format!("has ended: {reason}"),
                Standing::Changed | Standing::Waits | Standing::Placed(_) => return None,
            };
            let shadow = manifest::name(pod, &client.account.container);
            let pod = Arc::clone(pod);
            Some(Task::End { pod, shadow, why })
        })
}

impl Broker {
    /// All containers of a pod that ask for a backend, confined to where KAI has placed them.
    ///
    /// # Errors
    /// Why the pod has to wait.
    pub(super) fn clients(&self, pod: &Pod) -> Result<Vec<Client>, String> {
        let clients = pods::clients(pod).map_err(|error| error.to_string())?;
        let Some(leases) = self.leases.as_ref().filter(|leases| leases.concerns(pod)) else {
            return Ok(clients);
        };
        if let Some(Note {
            pause: Some((_, reason)),
            ..
        }) = leases.notes.lock().get(&pod.uid().unwrap_or_default())
        {
            return Err(format!("KAI is asked again later: {reason}"));
        }
        let needed = clients
            .into_iter()
            .filter(|client| !look::has_completed(pod, client));
        let confined: Vec<_> = needed.map(|client| leases.confine(pod, client)).collect();
        let all = confined.len();
        let waits = confined.iter().filter_map(|client| client.as_ref().err());
        let Some(said) = waits.clone().next() else {
            return Ok(confined.into_iter().flatten().collect());
        };
        let number = waits.count();
        Err(format!(
            "KAI has not placed its shadow pods yet: {number} of {all} have no node: {said}"
        ))
    }

    /// One of them.
    ///
    /// # Errors
    /// Why its program has to wait.
    pub(super) fn confined(&self, pod: &Pod, client: Client) -> Result<Client, String> {
        match self.leases.as_ref().filter(|leases| leases.concerns(pod)) {
            Some(leases) => leases
                .confine(pod, client)
                .map_err(|said| format!("KAI has given it no GPU: {said}")),
            None => Ok(client),
        }
    }

    /// There is no room for a client; returns what its user is told.
    pub(super) fn without_room(&self, pod: &Pod, client: &Client, reason: String) -> String {
        let (Some(leases), Some(node)) = (&self.leases, &client.node) else {
            return reason;
        };
        let reason = format!("KAI has chosen node {node}, which does not do: {reason}");
        let mut notes = leases.notes.lock();
        let note = notes.entry(pod.uid().unwrap_or_default()).or_default();
        let since = note
            .without_room
            .as_ref()
            .map_or_else(Instant::now, |(since, _)| *since);
        note.without_room = Some((since, reason.clone()));
        reason
    }

    /// What the patch that opens a pod's gate does besides: it is under a lease from then on.
    pub(super) fn lease_mark(&self, pod: &Pod) -> Option<Value> {
        let leases = self.leases.as_ref()?;
        if !leases.concerns(pod) || look::is_leased(pod) {
            return None;
        }
        let mark = json!({"key": LEASED, "operator": "Exists", "effect": "NoSchedule"});
        let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.as_ref());
        let (path, value) = match tolerations {
            Some(tolerations) if !tolerations.is_empty() => ("/spec/tolerations/-", mark),
            _ => ("/spec/tolerations", json!([mark])),
        };
        Some(json!({"op": "add", "path": path, "value": value}))
    }
}
