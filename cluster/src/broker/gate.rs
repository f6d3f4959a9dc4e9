// SPDX-License-Identifier: Apache-2.0
//! Pods whose scheduling waits for a backend: the gate is removed once there is room for all their
//! containers, which is kept for them from then on.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt as _;
use gvirtus_kubernetes::Request;
use gvirtus_kubernetes::names::BACKEND_GATE;
use gvirtus_ticket::Account;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Resource as _, ResourceExt as _};
use serde_json::json;
use tracing::{debug, info, warn};

use super::Broker;
use super::pods;
use crate::limits;
use crate::placement::{Demand, Location};

/// Written into events.
const CONTROLLER: &str = "gvirtus.io/broker";

/// What was told of pods that wait.
#[derive(Default)]
pub(super) struct Gates {
    told: HashMap<String, (String, Instant)>,
}

/// What comes of a pod that waits.
enum Verdict {
    /// There is room, which is kept.
    Room(Vec<Arc<Account>>),
    /// There is none, for this reason.
    Waits(String),
}

impl Gates {
    /// Keeps room for pods whose gate an earlier leader has removed and which have not begun.
    pub(super) fn reserve_starting(&self, broker: &Broker) {
        for pod in broker.watched.pods.state() {
            if pods::is_starting(&pod)
                && let Verdict::Waits(reason) = reserve(broker, &pod)
            {
                debug!(
                    pod = pod.name_any(),
                    reason, "no room for a pod that starts"
                );
            }
        }
    }

    /// Looks at all pods that wait, the oldest first.
    pub(super) async fn update(&mut self, broker: &Broker) {
        let is_waiting =
            |pod: &Pod| pods::gate(pod).is_some() && pod.metadata.deletion_timestamp.is_none();
        let mut waiting: Vec<_> = broker.watched.pods.state();
        waiting.retain(|pod| is_waiting(pod));
        waiting.sort_by_key(|pod| {
            let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
            (created, pod.name_any())
        });
        let total = waiting.len();
        let mut ready = Vec::new();
        let mut rest = Vec::new();
        for pod in waiting {
            match reserve(broker, &pod) {
                Verdict::Room(accounts) => ready.push((pod, accounts)),
                Verdict::Waits(reason) => rest.push((pod, reason)),
            }
        }
        let left = i64::try_from(total - ready.len()).unwrap_or(i64::MAX);
        broker.metrics.gated.set(left);
        broker
            .unmet
            .set_gated(rest.iter().flat_map(|(pod, _)| requests(pod)).collect());
        let uids: Vec<_> = rest.iter().filter_map(|(pod, _)| pod.uid()).collect();
        self.told.retain(|uid, _| uids.contains(uid));
        let due: Vec<_> = rest
            .into_iter()
            .filter(|(pod, reason)| self.is_due(pod, reason))
            .collect();
        let open = ready.into_iter().map(|(pod, accounts)| async move {
            open(broker, &pod, &accounts).await;
        });
        futures::stream::iter(open)
            .buffer_unordered(limits::API_REQUESTS)
            .count()
            .await;
        let tell = due.into_iter().map(|(pod, reason)| async move {
            publish(broker, &pod, "Warning", "WaitingForBackend", reason).await;
        });
        futures::stream::iter(tell)
            .buffer_unordered(limits::API_REQUESTS)
            .count()
            .await;
    }

    /// Whether the pod's user has not been told this, or long ago.
    fn is_due(&mut self, pod: &Pod, reason: &str) -> bool {
        let uid = pod.uid().unwrap_or_default();
        let told = self.told.get(&uid);
        let is_due = told.is_none_or(|(told, when)| {
            // Figures in a reason change all the time.
            let same = told.split(':').next() == reason.split(':').next();
            !same || when.elapsed() >= limits::EVENT_AGAIN
        });
        if is_due {
            self.told.insert(uid, (reason.to_owned(), Instant::now()));
        }
        is_due
    }
}

/// What the containers of a pod ask for at the same time.
fn requests(pod: &Pod) -> Vec<Request> {
    let clients = pods::clients(pod).unwrap_or_default();
    let (init, others): (Vec<_>, Vec<_>) = clients.into_iter().partition(|client| client.is_init);
    let init = init.iter().take(usize::from(others.is_empty()));
    let clients = others.iter().chain(init);
    clients.map(|client| client.request).collect()
}

/// Keeps room for all containers of a pod, or for none.
fn reserve(broker: &Broker, pod: &Pod) -> Verdict {
    let clients = match broker.clients(pod) {
        Ok(clients) => clients,
        Err(reason) => return Verdict::Waits(reason),
    };
    let namespace = broker
        .watched
        .namespace(&pod.namespace().unwrap_or_default());
    let policy = pods::policy(pod, namespace.as_deref(), broker.policy);
    let until = Instant::now() + limits::RESERVATION;
    let mut ledger = broker.ledger.lock();
    let mut reserved = Vec::new();
    // What has ended before the others begin needs room for itself alone.
    let (init, others): (Vec<_>, Vec<_>) = clients.into_iter().partition(|client| client.is_init);
    for client in init.iter().chain(&others) {
        if ledger.holds(&client.account) {
            continue;
        }
        let demand = Demand {
            request: client.request,
            policy: client.policy(policy),
            previous: None,
            location: Location::default(),
            node: client.node.clone(),
        };
        match ledger.choose(&client.account, &demand, broker.seed()) {
            Ok(_) if client.is_init => {}
            Ok(choice) => {
                ledger.reserve(&client.account, &choice, until);
                reserved.push(Arc::clone(&client.account));
            }
            Err(reason) => {
                for account in &reserved {
                    ledger.unreserve(account);
                }
                let reason = reason.to_string();
                return Verdict::Waits(broker.without_room(pod, client, reason));
            }
        }
    }
    Verdict::Room(reserved)
}

/// Removes the gate, or gives back the room.
async fn open(broker: &Broker, pod: &Pod, reserved: &[Arc<Account>]) {
    let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
    let pods: Api<Pod> = Api::namespaced(broker.client.clone(), &namespace);
    let Some(index) = pods::gate(pod) else {
        return;
    };
    let path = format!("/spec/schedulingGates/{index}");
    let mut operations = vec![
        // The pod may have changed, or be another one.
        json!({"op": "test", "path": "/metadata/uid", "value": pod.uid()}),
        json!({"op": "test", "path": format!("{path}/name"), "value": BACKEND_GATE}),
        json!({"op": "remove", "path": path}),
    ];
    operations.extend(broker.lease_mark(pod));
    let Ok(operations) = serde_json::from_value(operations.into()) else {
        return;
    };
    let patch = Patch::<()>::Json(operations);
    let parameters = PatchParams::default();
    let patched = pods.patch(&name, &parameters, &patch);
    match tokio::time::timeout(limits::API_REQUEST, patched).await {
        Ok(Ok(_)) => {
            info!(
                namespace,
                pod = name,
                "there is room: the pod may be scheduled"
            );
            let note = "there is a backend with room for this pod".to_owned();
            publish(broker, pod, "Normal", "BackendFound", note).await;
            return;
        }
        Ok(Err(error)) => warn!(namespace, pod = name, %error, "cannot remove the gate"),
        Err(_) => warn!(namespace, pod = name, "cannot remove the gate in time"),
    }
    let mut ledger = broker.ledger.lock();
    for account in reserved {
        ledger.unreserve(account);
    }
}

/// Tells the pod's user. The helper of kube's runtime would repeat the first note of a reason.
pub(super) async fn publish(broker: &Broker, pod: &Pod, kind: &str, reason: &str, note: String) {
    let namespace = pod.namespace().unwrap_or_default();
    let now = Timestamp::now();
    let event = Event {
        metadata: ObjectMeta {
            name: Some(format!("{}.{:x}", pod.name_any(), now.as_nanosecond())),
            namespace: Some(namespace.clone()),
            ..ObjectMeta::default()
        },
        action: Some("Place".into()),
        event_time: Some(MicroTime(now)),
        note: Some(note),
        reason: Some(reason.to_owned()),
        regarding: Some(pod.object_ref(&())),
        reporting_controller: Some(CONTROLLER.into()),
        reporting_instance: Some(broker.identity.clone()),
        type_: Some(kind.to_owned()),
        ..Event::default()
    };
    let events: Api<Event> = Api::namespaced(broker.client.clone(), &namespace);
    let parameters = PostParams::default();
    let created = events.create(&parameters, &event);
    match tokio::time::timeout(limits::API_REQUEST, created).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => debug!(pod = pod.name_any(), %error, "cannot write an event"),
        Err(_) => debug!(pod = pod.name_any(), "cannot write an event in time"),
    }
}
