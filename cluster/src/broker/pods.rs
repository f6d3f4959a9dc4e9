// SPDX-License-Identifier: Apache-2.0
//! What pods say: of the programs in them, and of backends.

use std::sync::Arc;

use gvirtus_kubernetes::names::{
    BACKEND_GATE, BACKEND_POLICY, BROKER_SCHEME, ENABLED, ENDPOINT, SHIM_CONTAINER,
};
use gvirtus_kubernetes::{Policy, Request, RequestError};
use gvirtus_ticket::Account;
use k8s_openapi::api::core::v1::{Container, Node, Pod, PodSpec};
use kube::ResourceExt as _;
use thiserror::Error;

use super::ledger::Facts;
use crate::limits::BACKEND_PORT;
use crate::placement::{BackendId, Location};

/// How the port of a backend's container is called.
const PORT: &str = "cuda";
/// The argument of a backend that says how many sessions it takes.
const SESSIONS_MAX: &str = "--max-sessions=";

/// Why a pod's program gets no ticket, in words for its log.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PodError {
    /// It was not asked for.
    #[error("pod {0} does not have the label {ENABLED}: \"true\"")]
    NotEnabled(String),
    /// It ends.
    #[error("pod {0} is about to end")]
    Ends(String),
    /// Not one of its containers.
    #[error(
        "pod {pod} has no container {container:?}; is GVIRTUS_CONTAINER_NAME what the webhook set?"
    )]
    Container {
        /// The pod.
        pod: String,
        /// As the client says.
        container: String,
    },
    /// What it asks for cannot be read.
    #[error("container {container:?}: {source}")]
    Request {
        /// The container.
        container: String,
        /// What is wrong.
        source: RequestError,
    },
}

/// A container that may ask for a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Whose sessions its programs open.
    pub account: Arc<Account>,
    /// What it may have.
    pub request: Request,
    /// Whether it runs before the others and has ended when they begin.
    pub is_init: bool,
    /// The node whose backend it must use, where KAI has chosen it.
    pub node: Option<Arc<str>>,
}

impl Client {
    /// Where KAI counts devices, they are filled as KAI fills them.
    pub fn policy(&self, policy: Policy) -> Policy {
        match self.node {
            Some(_) => Policy::Binpack,
            None => policy,
        }
    }
}

/// The container of this name, as a client of the broker.
///
/// # Errors
/// Where it may not have a ticket.
pub fn client(pod: &Pod, container: &str) -> Result<Client, PodError> {
    let name = pod.name_any();
    if pod
        .labels()
        .get(ENABLED)
        .is_none_or(|value| value != "true")
    {
        return Err(PodError::NotEnabled(name));
    }
    if has_ended(pod) || pod.metadata.deletion_timestamp.is_some() {
        return Err(PodError::Ends(name));
    }
    let spec = pod.spec.as_ref();
    let found = spec.and_then(|spec| containers(spec).find(|(c, _)| c.name == container));
    let Some((container, is_init)) = found else {
        let container = container.to_owned();
        return Err(PodError::Container {
            pod: name,
            container,
        });
    };
    of_container(pod, container, is_init)
}

/// All containers that will ask the broker.
///
/// # Errors
/// Where what one asks for cannot be read.
pub fn clients(pod: &Pod) -> Result<Vec<Client>, PodError> {
    let spec = pod.spec.iter();
    let containers = spec.flat_map(containers).filter(|(c, _)| asks_broker(c));
    containers
        .map(|(container, is_init)| of_container(pod, container, is_init))
        .collect()
}

/// The account of a container.
pub fn account(pod: &Pod, container: &str) -> Arc<Account> {
    Arc::new(Account {
        namespace: pod.namespace().unwrap_or_default(),
        pod: pod.name_any(),
        pod_uid: pod.uid().unwrap_or_default(),
        container: container.to_owned(),
    })
}

fn of_container(pod: &Pod, container: &Container, is_init: bool) -> Result<Client, PodError> {
    let request = Request::of_container(container).map_err(|source| PodError::Request {
        container: container.name.clone(),
        source,
    })?;
    Ok(Client {
        account: account(pod, &container.name),
        request,
        is_init,
        node: None,
    })
}

/// All containers but ours, and whether each has ended when the next begins.
fn containers(spec: &PodSpec) -> impl Iterator<Item = (&Container, bool)> {
    let init = spec.init_containers.iter().flatten();
    let init = init.map(|container| {
        let is_sidecar = container.restart_policy.as_deref() == Some("Always");
        (container, !is_sidecar)
    });
    let all = init.chain(spec.containers.iter().map(|container| (container, false)));
    all.filter(|(container, _)| container.name != SHIM_CONTAINER)
}

fn asks_broker(container: &Container) -> bool {
    let variables = container.env.iter().flatten();
    let endpoint = variables.rev().find(|variable| variable.name == ENDPOINT);
    let value = endpoint.and_then(|variable| variable.value.as_deref());
    value.is_some_and(|value| value.starts_with(BROKER_SCHEME))
}

/// The policy of a pod, else of its namespace; one that does not exist is as none.
pub fn policy<'a>(
    pod: &'a Pod,
    namespace: Option<&'a impl kube::Resource>,
    default: Policy,
) -> Policy {
    let of_pod = pod.annotations().get(BACKEND_POLICY);
    let of_namespace = namespace.and_then(|n| n.annotations().get(BACKEND_POLICY));
    let written = [of_pod, of_namespace].into_iter().flatten();
    written
        .filter_map(|text| text.parse().ok())
        .next()
        .unwrap_or(default)
}

/// The place of our gate among those that hold the pod's scheduling.
pub fn gate(pod: &Pod) -> Option<usize> {
    let gates = pod.spec.as_ref()?.scheduling_gates.as_ref()?;
    gates.iter().position(|gate| gate.name == BACKEND_GATE)
}

/// Whether all its programs have ended for ever.
pub fn has_ended(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Whether it may be scheduled, and its programs have not begun.
pub fn is_starting(pod: &Pod) -> bool {
    phase(pod) == "Pending" && gate(pod).is_none() && pod.metadata.deletion_timestamp.is_none()
}

fn phase(pod: &Pod) -> &str {
    let status = pod.status.as_ref();
    status
        .and_then(|status| status.phase.as_deref())
        .unwrap_or_default()
}

/// Where a node is.
pub fn location(name: &str, node: Option<&Node>) -> Location {
    let label = |name: &str| {
        let label = node.and_then(|node| node.labels().get(name));
        label.map(String::as_str).unwrap_or_default().into()
    };
    Location {
        node: name.into(),
        zone: label("topology.kubernetes.io/zone"),
        region: label("topology.kubernetes.io/region"),
    }
}

/// What a backend's pod says.
pub fn backend(pod: &Pod, node: Option<&Node>) -> Option<(BackendId, Facts)> {
    let id = BackendId::from(pod.uid()?.as_str());
    let spec = pod.spec.as_ref()?;
    let status = pod.status.as_ref();
    let address = status
        .and_then(|status| status.pod_ip.as_deref())
        .unwrap_or_default();
    let conditions = status.and_then(|status| status.conditions.as_ref());
    let is_ready = conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True");
    let facts = Facts {
        pod: pod.name_any(),
        endpoint: endpoint(address, spec),
        location: location(spec.node_name.as_deref().unwrap_or_default(), node),
        is_ready: is_ready && !address.is_empty(),
        is_draining: pod.metadata.deletion_timestamp.is_some() || has_ended(pod),
        sessions_max: spec
            .containers
            .iter()
            .flat_map(|c| c.args.iter().flatten())
            .find_map(|argument| {
                argument
                    .strip_prefix(SESSIONS_MAX)
                    .and_then(|text| text.parse().ok())
            }),
    };
    Some((id, facts))
}

fn endpoint(address: &str, spec: &PodSpec) -> String {
    if address.is_empty() {
        return String::new();
    }
    let ports = spec
        .containers
        .iter()
        .flat_map(|container| container.ports.iter().flatten());
    let port = ports
        .into_iter()
        .find(|port| port.name.as_deref() == Some(PORT));
    let port = port.and_then(|port| u16::try_from(port.container_port).ok());
    let port = port.unwrap_or(BACKEND_PORT);
    if address.contains(':') {
        format!("tcp://[{address}]:{port}")
    } else {
        format!("tcp://{address}:{port}")
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Namespace;
    use serde_json::{Value, json};

    use super::*;

    fn pod(change: impl FnOnce(&mut Value)) -> Pod {
        let broker = json!([{"name": ENDPOINT, "value": "broker://b:1"}]);
        let mut pod = json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {ENABLED: "true"}},
            "spec": {
                "initContainers": [
                    {"name": SHIM_CONTAINER},
                    {"name": "first", "env": broker},
                    {"name": "sidecar", "env": broker, "restartPolicy": "Always"},
                ],
                "containers": [
                    {"name": "main", "env": [
                        {"name": ENDPOINT, "value": "broker://b:1"},
                        {"name": "GVIRTUS_REQUEST", "value": "gpu-memory=7"}]},
                    {"name": "own", "env": [{"name": ENDPOINT, "value": "tcp://b:1"}]},
                    {"name": "without"},
                ],
            },
            "status": {"phase": "Pending"},
        });
        change(&mut pod);
        serde_json::from_value(pod).expect("a pod")
    }

    #[test]
    fn containers_that_ask_are_clients() {
        let clients = clients(&pod(|_| {})).expect("valid");
        let names = clients
            .iter()
            .map(|c| (c.account.container.as_str(), c.is_init));
        let names: Vec<_> = names.collect();
        assert_eq!(
            names,
            [("first", true), ("sidecar", false), ("main", false)]
        );
        assert_eq!(clients[2].request.memory_bytes(), Some(7 << 20));
    }

    #[test]
    fn who_may_have_no_ticket_is_told_why() {
        let refused = |pod: &Pod, name: &str| client(pod, name).expect_err(name).to_string();
        assert!(client(&pod(|_| {}), "main").is_ok());
        let said = refused(&pod(|_| {}), "other");
        assert!(said.contains("no container \"other\""), "{said}");
        assert!(client(&pod(|_| {}), SHIM_CONTAINER).is_err());
        let unlabelled = pod(|pod| pod["metadata"]["labels"] = json!({}));
        assert!(refused(&unlabelled, "main").contains("does not have the label"));
        let time = json!("2026-01-01T00:00:00Z");
        let deleted = pod(|pod| pod["metadata"]["deletionTimestamp"] = time);
        assert!(refused(&deleted, "main").contains("about to end"));
        let ended = pod(|pod| pod["status"]["phase"] = json!("Failed"));
        assert!(refused(&ended, "main").contains("about to end"));
        let forged = pod(|pod| {
            pod["spec"]["containers"][0]["env"][1]["value"] = json!("gpu-core=1000");
        });
        assert!(refused(&forged, "main").contains("write 1 to 100"));
    }

    #[test]
    fn the_pods_policy_counts_before_the_namespaces() {
        let annotated = |policy: &str| {
            let policy = json!({BACKEND_POLICY: policy});
            pod(|pod| pod["metadata"]["annotations"] = policy)
        };
        let namespace: Namespace = serde_json::from_value(json!({
            "metadata": {"name": "n", "annotations": {BACKEND_POLICY: "spread"}}}))
        .expect("a namespace");
        let read = |pod: &Pod| policy(pod, Some(&namespace), Policy::Random);
        assert_eq!(read(&annotated("binpack")), Policy::Binpack);
        assert_eq!(read(&annotated("none such")), Policy::Spread);
        assert_eq!(
            policy(&pod(|_| {}), None::<&Namespace>, Policy::Random),
            Policy::Random
        );
    }

    #[test]
    fn backends_are_read_from_their_pods() {
        let pod = pod(|pod| {
            pod["spec"]["nodeName"] = json!("gpu-1");
            pod["spec"]["containers"][0]["ports"] = json!([{"name": "cuda", "containerPort": 77}]);
            pod["spec"]["containers"][0]["args"] = json!(["serve", "--max-sessions=9"]);
            pod["status"] = json!({"podIP": "fd00::1", "phase": "Running",
                "conditions": [{"type": "Ready", "status": "True"}]});
        });
        let node: Node = serde_json::from_value(json!({
            "metadata": {"labels": {"topology.kubernetes.io/zone": "z"}}}))
        .expect("a node");
        let (id, facts) = backend(&pod, Some(&node)).expect("a backend");
        assert_eq!(id, "u".into());
        assert_eq!(facts.endpoint, "tcp://[fd00::1]:77");
        assert_eq!(
            (&*facts.location.node, &*facts.location.zone),
            ("gpu-1", "z")
        );
        assert_eq!((facts.is_ready, facts.sessions_max), (true, Some(9)));
    }
}
