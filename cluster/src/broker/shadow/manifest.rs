// SPDX-License-Identifier: Apache-2.0
//! A shadow as a pod: what KAI is asked for, and by whom.
//!
//! KAI counts memory of a device (annotation `gpu-memory`, in MiB) or a fraction of one
//! (`gpu-fraction`), of several devices with `gpu-fraction-num-devices`; whole devices are a limit
//! of `nvidia.com/gpu`. It knows one of these for a pod.

use std::collections::BTreeMap;
use std::num::NonZero;

use gvirtus_kubernetes::Request;
use k8s_openapi::api::core::v1::{Pod, Toleration};
use kube::ResourceExt as _;
use serde_json::{Value, json};

use super::Kai;
use crate::broker::pods::Client;

/// Label: the UID of the pod whose GPU this is.
pub(in crate::broker) const OWNER: &str = "gvirtus.io/shadow-of";
/// Label: the container of that pod.
pub(super) const CONTAINER: &str = "gvirtus.io/shadow-container";
/// Labels that say to KAI in which queue, and how, a pod counts.
const KAI_LABELS: &str = "kai.scheduler/";
/// Another one.
const KAI_PRIORITY: &str = "priorityClassName";
const FRACTION: &str = "gpu-fraction";
const MEMORY: &str = "gpu-memory";
const DEVICES: &str = "gpu-fraction-num-devices";
const WHOLE: &str = "nvidia.com/gpu";
/// Tolerations of a DaemonSet's pods, which the node itself is about.
const OF_DAEMON_SETS: &str = "node.kubernetes.io/";
/// Of a name, before our own part of it.
const NAME_BYTES: usize = 200;

/// What a container with a lease has: who asks for nothing in particular gets a device for himself,
/// because KAI can only count what somebody has.
pub(super) fn counted(request: Request) -> Request {
    if request.is_empty() {
        Request {
            count: NonZero::new(1),
            ..request
        }
    } else {
        request
    }
}

/// What KAI is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ask {
    annotations: BTreeMap<&'static str, String>,
    whole: Option<u8>,
}

impl Ask {
    pub(super) fn new(request: &Request) -> Self {
        let request = counted(*request);
        let count = request.count.map_or(1, NonZero::get);
        let mut annotations = BTreeMap::new();
        if request.is_whole() {
            return Self {
                annotations,
                whole: Some(count),
            };
        }
        if let Some(mib) = request.memory_mib {
            annotations.insert(MEMORY, mib.to_string());
        } else {
            let percent = request.percent.map_or(0, NonZero::get);
            annotations.insert(FRACTION, format!("0.{percent:02}"));
        }
        if count > 1 {
            annotations.insert(DEVICES, count.to_string());
        }
        Self {
            annotations,
            whole: None,
        }
    }

    /// Whether a shadow asks for the same. Its annotations can be changed by who may change pods.
    pub(super) fn is_of(&self, shadow: &Pod) -> bool {
        let of_kai = [FRACTION, MEMORY, DEVICES];
        let annotations = shadow.annotations();
        let same = of_kai
            .iter()
            .all(|name| annotations.get(*name) == self.annotations.get(name));
        let containers = shadow.spec.iter().flat_map(|spec| &spec.containers);
        let mut limits = containers.filter_map(|container| {
            let limits = container.resources.as_ref()?.limits.as_ref()?;
            limits.get(WHOLE)
        });
        let whole = limits.next().map(|quantity| quantity.0.as_str());
        let wanted = self.whole.map(|count| count.to_string());
        same && whole == wanted.as_deref()
    }
}

/// The name of a container's shadow: the same after a restart of the broker.
pub(super) fn name(pod: &Pod, container: &str) -> String {
    let name = pod.name_any();
    let mut hash = blake3::Hasher::new();
    hash.update(pod.uid().unwrap_or_default().as_bytes());
    hash.update(b"/");
    hash.update(container.as_bytes());
    let digits = &hash.finalize().to_hex()[..10];
    let end = name.floor_char_boundary(NAME_BYTES);
    let name = name[..end].trim_end_matches(['-', '.']);
    format!("{name}-shadow-{digits}")
}

/// The shadow of a container.
///
/// # Errors
/// Never: Kubernetes knows every field.
pub(super) fn shadow(
    pod: &Pod,
    client: &Client,
    kai: &Kai,
    tolerations: &[Toleration],
) -> Result<Pod, serde_json::Error> {
    let ask = Ask::new(&client.request);
    let container = &client.account.container;
    let mut limits = json!({"memory": "32Mi"});
    if let Some(count) = ask.whole {
        limits[WHOLE] = json!(count.to_string());
    }
    let spec = pod.spec.as_ref();
    serde_json::from_value(json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name(pod, container),
            "namespace": pod.namespace(),
            "labels": labels(pod, container),
            "annotations": ask.annotations,
            // Not blocking: who may not delete the owner may not say so.
            "ownerReferences": [{
                "apiVersion": "v1", "kind": "Pod", "name": pod.name_any(), "uid": pod.uid(),
            }],
        },
        "spec": {
            "schedulerName": kai.scheduler,
            "priorityClassName": spec.and_then(|spec| spec.priority_class_name.as_ref()),
            "nodeSelector": {
                "kubernetes.io/os": "linux", "gvirtus.io/backend.allowed": "true",
            },
            "tolerations": tolerations,
            "imagePullSecrets": spec.and_then(|spec| spec.image_pull_secrets.as_ref()),
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [{
                "name": "shadow",
                "image": kai.image,
                "args": ["wait"],
                "resources": {"requests": {"cpu": "1m", "memory": "8Mi"}, "limits": limits},
                "securityContext": {
                    "allowPrivilegeEscalation": false,
                    "readOnlyRootFilesystem": true,
                    "capabilities": {"drop": ["ALL"]},
                },
            }],
        },
    }))
}

fn labels(pod: &Pod, container: &str) -> Value {
    let mut labels = json!({
        "app.kubernetes.io/component": "kai-shadow",
        "app.kubernetes.io/part-of": "gvirtus",
        OWNER: pod.uid(),
        CONTAINER: container,
    });
    for (name, value) in pod.labels() {
        if name.starts_with(KAI_LABELS) || name == KAI_PRIORITY {
            labels[name] = json!(value);
        }
    }
    labels
}

/// Tolerations with which a pod may run wherever a backend does.
pub(super) fn tolerations<'a>(backends: impl Iterator<Item = &'a Pod>) -> Vec<Toleration> {
    let mut all = vec![Toleration {
        key: Some(WHOLE.into()),
        operator: Some("Exists".into()),
        effect: Some("NoSchedule".into()),
        ..Toleration::default()
    }];
    let specs = backends.filter_map(|pod| pod.spec.as_ref());
    for toleration in specs.flat_map(|spec| spec.tolerations.iter().flatten()) {
        let key = toleration.key.as_deref().unwrap_or_default();
        if !key.starts_with(OF_DAEMON_SETS) && !all.contains(toleration) {
            all.push(toleration.clone());
        }
    }
    all
}
