// SPDX-License-Identifier: Apache-2.0
//! `GpuSession` objects: who has what, and had, for `kubectl get gpusessions`.
//!
//! They tell; nothing but grants that no backend has reported yet is read from them again, by a
//! broker that begins. An object lives as long as its pod.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use gvirtus_ticket::Account;
use gvirtus_ticket::limits::TICKET_LIFE;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use tracing::{debug, warn};

use super::Broker;
use super::ledger::{Hold, Holding};
use crate::limits;
use crate::placement::{BackendId, Choice, Share, Uuid};

const GROUP: &str = "gvirtus.io";
const VERSION: &str = "v1alpha1";
const KIND: &str = "GpuSession";
const MANAGER: &str = "gvirtus-broker";
/// Longest part of a name that comes from the pod and the container.
const NAME_BYTES: usize = 200;

/// One account on one backend.
type Key = (Arc<Account>, BackendId);

/// What was written.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    written: HashMap<Key, Written>,
}

#[derive(Clone, Debug)]
struct Written {
    name: String,
    phase: Phase,
    sessions: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Granted,
    Running,
    Ended,
}

/// The API of these objects.
fn resource() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk(GROUP, VERSION, KIND))
}

impl Sessions {
    /// Learns what an earlier leader wrote: what is over is told, and grants that may still be used
    /// count again.
    pub(super) async fn start(broker: &Broker) -> Self {
        let api: Api<DynamicObject> = Api::all_with(broker.client.clone(), &resource());
        let parameters = ListParams::default();
        let listed = tokio::time::timeout(limits::API_REQUEST, api.list(&parameters)).await;
        let objects = match listed {
            Ok(Ok(list)) => list.items,
            Ok(Err(error)) => {
                warn!(%error, "cannot read GpuSessions");
                Vec::new()
            }
            Err(_) => Vec::new(),
        };
        let mut sessions = Self::default();
        for object in objects {
            let Some((key, written, choice)) = read(&object) else {
                continue;
            };
            if let Some(left) = granted_left(&object) {
                let until = Instant::now() + left;
                broker.ledger.lock().grant(&key.0, &choice, [0; 16], until);
            }
            sessions.written.insert(key, written);
        }
        sessions
    }

    /// Writes what has changed.
    pub(super) async fn update(&mut self, broker: &Broker) {
        let holdings: HashMap<Key, Holding> = broker
            .ledger
            .lock()
            .holdings()
            .filter(|holding| holding.hold != Hold::Reserved)
            .map(|holding| {
                (
                    (Arc::clone(&holding.account), holding.backend.clone()),
                    holding,
                )
            })
            .collect();
        let mut writes = Vec::new();
        for (key, holding) in &holdings {
            let phase = if holding.hold == Hold::Running {
                Phase::Running
            } else {
                Phase::Granted
            };
            let old = self.written.get(key);
            if old.is_some_and(|old| old.phase == phase && old.sessions == holding.sessions) {
                continue;
            }
            let written = Written {
                name: name(&key.0, &key.1),
                phase,
                sessions: holding.sessions,
            };
            let is_new = old.is_none();
            let mut object = object(holding, &written, old.map(|old| old.phase));
            if !is_new {
                object = json!({"status": object["status"]});
                object["status"]["endedAt"] = Value::Null;
            }
            writes.push((key.clone(), written, is_new, object));
        }
        for (key, old) in &self.written {
            if !holdings.contains_key(key) {
                let written = Written {
                    phase: Phase::Ended,
                    sessions: 0,
                    ..old.clone()
                };
                let ended = json!({"status": {"phase": "Ended", "sessions": 0,
                    "endedAt": Timestamp::now().to_string()}});
                writes.push((key.clone(), written, false, ended));
            }
        }
        let write = writes
            .into_iter()
            .map(|(key, written, is_new, object)| async move {
                let done = write(broker, &key.0, &written, is_new, object).await;
                done.then_some((key, written))
            });
        let mut done = futures::stream::iter(write).buffer_unordered(limits::API_REQUESTS);
        while let Some(result) = done.next().await {
            match result {
                Some((key, written)) if written.phase == Phase::Ended => {
                    self.written.remove(&key);
                }
                Some((key, written)) => {
                    self.written.insert(key, written);
                }
                None => {}
            }
        }
    }
}

/// Writes an object, and tells whether there is nothing more to do.
async fn write(
    broker: &Broker,
    account: &Account,
    written: &Written,
    is_new: bool,
    object: Value,
) -> bool {
    let api: Api<DynamicObject> =
        Api::namespaced_with(broker.client.clone(), &account.namespace, &resource());
    let name = &written.name;
    let parameters = PatchParams::default();
    let result = if is_new {
        let parameters = PatchParams::apply(MANAGER).force();
        tokio::time::timeout(
            limits::API_REQUEST,
            api.patch(name, &parameters, &Patch::Apply(&object)),
        )
        .await
    } else {
        // What an earlier phase has told stays.
        tokio::time::timeout(
            limits::API_REQUEST,
            api.patch(name, &parameters, &Patch::Merge(&object)),
        )
        .await
    };
    match result {
        Ok(Ok(_)) => true,
        // Gone with its pod.
        Ok(Err(kube::Error::Api(answer))) if answer.code == 404 => {
            debug!(
                name,
                message = answer.message,
                "nobody wants to read it any more"
            );
            true
        }
        Ok(Err(error)) => {
            warn!(name, %error, "cannot write a GpuSession");
            false
        }
        Err(_) => false,
    }
}

/// The object of something that is held.
fn object(holding: &Holding, written: &Written, old: Option<Phase>) -> Value {
    let account = &holding.account;
    let share = &holding.share;
    let now = Timestamp::now().to_string();
    let (phase, time) = match written.phase {
        Phase::Granted => ("Granted", "grantedAt"),
        Phase::Running => ("Running", "startedAt"),
        Phase::Ended => ("Ended", "endedAt"),
    };
    let mut status = json!({"phase": phase, "sessions": written.sessions});
    status["changedAt"] = json!(now);
    if old != Some(written.phase) {
        status[time] = json!(now);
    }
    let devices: Vec<_> = share.devices.iter().map(Uuid::to_string).collect();
    json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": KIND,
        "metadata": {
            "name": written.name,
            "namespace": account.namespace,
            "labels": {"app.kubernetes.io/part-of": "gvirtus"},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": account.pod,
                "uid": account.pod_uid}],
        },
        "spec": {
            "pod": account.pod,
            "podUID": account.pod_uid,
            "container": account.container,
            "backend": holding.backend_pod,
            "backendUID": holding.backend.to_string(),
            "node": &*holding.node,
            "devices": devices,
            "device": device(&devices),
            "quota": quota(share),
            "memoryMiB": share.memory_bytes.map(|bytes| bytes >> 20),
            "corePercent": share.percent,
        },
        "status": status,
    })
}

/// The devices, for a column.
fn device(devices: &[String]) -> String {
    match devices {
        [device] => device.clone(),
        devices => format!("{} devices", devices.len()),
    }
}

/// What is taken of each device, for a column.
fn quota(share: &Share) -> String {
    let memory = share
        .memory_bytes
        .map(|bytes| format!("{} MiB", bytes >> 20));
    let percent = share.percent.map(|percent| format!("{percent} %"));
    if share.is_whole {
        return "whole".into();
    }
    let parts: Vec<_> = memory.into_iter().chain(percent).collect();
    if parts.is_empty() {
        "shared".into()
    } else {
        parts.join(", ")
    }
}

/// Always the same for an account on a backend.
fn name(account: &Account, backend: &BackendId) -> String {
    let text = format!("{} {} {backend}", account.pod_uid, account.container);
    let hash = blake3::hash(text.as_bytes()).to_hex();
    let mut stem = format!("{}-{}", account.pod, account.container);
    stem.truncate(NAME_BYTES);
    let stem = stem.trim_end_matches(['-', '.']);
    format!("{stem}-{}", &hash[..8])
}

fn read(object: &DynamicObject) -> Option<(Key, Written, Choice)> {
    let spec = object.data.get("spec")?;
    let text = |name: &str| spec.get(name).and_then(Value::as_str).map(str::to_owned);
    let status = object.data.get("status")?;
    let phase = match status.get("phase").and_then(Value::as_str)? {
        "Granted" => Phase::Granted,
        "Running" => Phase::Running,
        _ => return None,
    };
    let account = Account {
        namespace: object.namespace()?,
        pod: text("pod")?,
        pod_uid: text("podUID")?,
        container: text("container")?,
    };
    let backend = BackendId::from(text("backendUID")?.as_str());
    let devices = spec.get("devices").and_then(Value::as_array)?;
    let devices = devices
        .iter()
        .filter_map(|device| device.as_str()?.parse().ok())
        .collect();
    let percent = spec.get("corePercent").and_then(Value::as_u64);
    let percent = percent.and_then(|percent| u8::try_from(percent).ok());
    let memory = spec.get("memoryMiB").and_then(Value::as_u64);
    let share = Share {
        devices,
        memory_bytes: memory.map(|mib| mib << 20),
        percent,
        is_whole: text("quota").as_deref() == Some("whole"),
    };
    let sessions = status.get("sessions").and_then(Value::as_u64);
    let written = Written {
        name: object.name_any(),
        phase,
        sessions: sessions
            .and_then(|number| u32::try_from(number).ok())
            .unwrap_or(0),
    };
    let choice = Choice {
        backend: backend.clone(),
        share,
    };
    Some(((Arc::new(account), backend), written, choice))
}

/// How long a ticket that was granted may still be used; nothing where it was, or is over.
fn granted_left(object: &DynamicObject) -> Option<Duration> {
    let status = object.data.get("status")?;
    if status.get("phase").and_then(Value::as_str) != Some("Granted") {
        return None;
    }
    let granted: Timestamp = status.get("grantedAt")?.as_str()?.parse().ok()?;
    let age = Timestamp::now().duration_since(granted);
    let age = Duration::try_from(age).unwrap_or_default();
    TICKET_LIFE.checked_sub(age).filter(|left| !left.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holding() -> Holding {
        Holding {
            account: Arc::new(Account {
                namespace: "team".into(),
                pod: format!("{}.a", "p".repeat(NAME_BYTES - 2)),
                pod_uid: "u".into(),
                container: "main".into(),
            }),
            backend: "b".into(),
            backend_pod: "gvirtus-backend-x".into(),
            node: "gpu-1".into(),
            share: Share {
                devices: vec![Uuid([7; 16])],
                memory_bytes: Some(1 << 30),
                percent: Some(50),
                is_whole: false,
            },
            hold: Hold::Granted,
            sessions: 0,
        }
    }

    #[test]
    fn what_is_written_is_read_by_the_next_leader() {
        let holding = holding();
        let written = Written {
            name: name(&holding.account, &holding.backend),
            phase: Phase::Granted,
            sessions: 0,
        };
        let value = object(&holding, &written, None);
        assert_eq!(value["spec"]["quota"], "1024 MiB, 50 %");
        let object: DynamicObject = serde_json::from_value(value).expect("an object");
        let (key, read_again, choice) = read(&object).expect("of ours");
        assert_eq!((&key.0, &key.1), (&holding.account, &holding.backend));
        assert_eq!(
            (read_again.name, choice.share),
            (written.name, holding.share)
        );
        let left = granted_left(&object).expect("just granted");
        assert!(left <= TICKET_LIFE && left > TICKET_LIFE / 2);
    }

    #[test]
    fn names_are_those_of_objects() {
        let holding = holding();
        let name = name(&holding.account, &holding.backend);
        assert!(name.len() <= 253 && !name.contains(".-"), "{name}");
    }
}
