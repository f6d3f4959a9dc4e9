// SPDX-License-Identifier: Apache-2.0
//! Remote capacity on the nodes of frontends: what all backends have together, as extended
//! resources in the status of each node whose pods may use them, so that ordinary
//! `resources.limits` are scheduled and counted by a namespace's ResourceQuota.
//!
//! Each of these nodes shows the whole sum: which backend a pod gets, and whether there is room, is
//! the broker's matter. A node never shows less than its pods have: a kubelet that starts anew
//! would end them.
//!
//! What was written is noted in an annotation of the node. A node that has one of the names
//! without it, of a device plugin or by hand, is left alone.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt as _;
use gvirtus_kubernetes::names::{FRONTEND_ALLOWED, GPU_CORE, GPU_COUNT, GPU_MEMORY};
use gvirtus_kubernetes::{quantity, whole};
use k8s_openapi::api::core::v1::{Container, Node, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};
use tracing::{debug, info, warn};

use crate::broker::ledger::Totals;
use crate::broker::pods::has_ended;
use crate::limits;

/// Annotation of a node: the resources that were written, as a JSON object.
pub const ADVERTISED: &str = "gvirtus.io/advertised-capacity";
/// The container of a backend's pod that offers the same names for the node's own cards.
const PLUGIN: &str = "device-plugin";

type Quantities = BTreeMap<String, Quantity>;

/// What the leader does with the status of nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// Nothing.
    #[default]
    Off,
    /// Keeps it in step with the backends.
    Advertise,
    /// Takes out what was advertised before.
    Remove,
}

/// Amounts of our resources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capacity {
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Compute in percent of a device.
    pub percent: u64,
    /// Devices.
    pub devices: u64,
}

impl From<&Totals> for Capacity {
    fn from(totals: &Totals) -> Self {
        Self {
            memory_mib: totals.memory_bytes >> 20,
            percent: totals.devices * 100,
            devices: totals.devices,
        }
    }
}

impl Capacity {
    fn each(self, other: Self, combine: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            memory_mib: combine(self.memory_mib, other.memory_mib),
            percent: combine(self.percent, other.percent),
            devices: combine(self.devices, other.devices),
        }
    }

    /// As the API server writes it.
    fn resources(self) -> BTreeMap<String, String> {
        let all = [
            (GPU_MEMORY, self.memory_mib),
            (GPU_CORE, self.percent),
            (GPU_COUNT, self.devices),
        ];
        all.map(|(name, number)| (name.to_owned(), quantity(number)))
            .into()
    }

    /// What a container's limits name.
    fn of_container(container: &Container) -> Self {
        let limits = container.resources.as_ref().and_then(|r| r.limits.as_ref());
        let number = |name| {
            let written = limits.and_then(|limits| limits.get(name));
            written
                .and_then(|Quantity(text)| whole(text))
                .unwrap_or_default()
        };
        Self {
            memory_mib: number(GPU_MEMORY),
            percent: number(GPU_CORE),
            devices: number(GPU_COUNT),
        }
    }

    /// As the scheduler counts a pod: init containers run before the others.
    fn of_pod(pod: &Pod) -> Self {
        let Some(spec) = &pod.spec else {
            return Self::default();
        };
        let is_sidecar = |c: &&Container| c.restart_policy.as_deref() == Some("Always");
        let init = spec.init_containers.iter().flatten();
        let (sidecars, before): (Vec<_>, Vec<_>) = init.partition(is_sidecar);
        let together = spec.containers.iter().chain(sidecars);
        let sum = together
            .map(Self::of_container)
            .fold(Self::default(), |a, b| a.each(b, u64::saturating_add));
        let before = before.into_iter().map(Self::of_container);
        before.fold(sum, |a, b| a.each(b, u64::max))
    }
}

/// The cluster at one moment.
#[derive(Debug, Default)]
pub struct View {
    /// All nodes.
    pub nodes: Vec<Arc<Node>>,
    /// What backends have together.
    pub all: Capacity,
    /// Nodes whose own cards are offered under these names.
    plugins: HashSet<String>,
    /// What pods on a node have of it.
    used: HashMap<String, Capacity>,
}

impl View {
    /// From all nodes, the pods of backends, and the pods that use them.
    pub fn new(
        nodes: Vec<Arc<Node>>,
        backends: &[Arc<Pod>],
        pods: &[Arc<Pod>],
        all: Capacity,
    ) -> Self {
        let mut view = Self {
            nodes,
            all,
            ..Self::default()
        };
        for (node, pod) in backends.iter().filter_map(on_node) {
            let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
            if containers.into_iter().any(|c| c.name == PLUGIN) {
                view.plugins.insert(node.to_owned());
            }
        }
        for (node, pod) in pods.iter().filter_map(on_node) {
            let used = view.used.entry(node.to_owned()).or_default();
            *used = used.each(Capacity::of_pod(pod), u64::saturating_add);
        }
        view
    }

    /// What a node shall show.
    fn wanted(&self, node: &Node, mode: Mode) -> Option<Capacity> {
        let name = node.name_any();
        let is_allowed = node.labels().get(FRONTEND_ALLOWED).map(String::as_str) == Some("true");
        let shows = mode == Mode::Advertise && is_allowed && !self.plugins.contains(&name);
        let used = self.used.get(&name).copied().unwrap_or_default();
        shows.then(|| self.all.each(used, u64::max))
    }
}

/// A pod's node, while the pod has something of it.
fn on_node(pod: &Arc<Pod>) -> Option<(&str, &Pod)> {
    let node = pod.spec.as_ref()?.node_name.as_deref()?;
    (!has_ended(pod)).then_some((node, pod))
}

/// The JSON patch of a node's status; nothing where it is as it shall be.
pub fn patch(node: &Node, wanted: Option<Capacity>) -> Option<Value> {
    let wanted = wanted.map(Capacity::resources).unwrap_or_default();
    let note = node.annotations().get(ADVERTISED);
    let noted: Option<BTreeMap<String, String>> =
        note.and_then(|text| serde_json::from_str(text).ok());
    let status = node.status.as_ref();
    let capacity = status.and_then(|status| status.capacity.as_ref());
    let shown = |name: &str| capacity.and_then(|all| all.get(name)).map(|q| q.0.as_str());
    // A kubelet leaves 0 of a plugin that is gone.
    let is_taken = |name: &String| shown(name).is_some_and(|value| value != "0");
    if note.is_none() && (wanted.is_empty() || wanted.keys().any(is_taken)) {
        return None;
    }
    let noted = noted.unwrap_or_default();
    let is_shown = wanted
        .iter()
        .all(|(name, value)| shown(name) == Some(value.as_str()));
    if note.is_some() && noted == wanted && is_shown {
        return None;
    }
    let mut operations = vec![json!({"op": "test", "path": "/metadata/uid", "value": node.uid()})];
    let allocatable = status.and_then(|status| status.allocatable.as_ref());
    for (field, now) in [("capacity", capacity), ("allocatable", allocatable)] {
        set(&mut operations, field, now, &noted, &wanted);
    }
    annotate(&mut operations, node, note, &wanted);
    Some(Value::Array(operations))
}

/// Writes what is wanted, and removes what was noted where nobody has written something else.
fn set(
    operations: &mut Vec<Value>,
    field: &str,
    now: Option<&Quantities>,
    noted: &BTreeMap<String, String>,
    wanted: &BTreeMap<String, String>,
) {
    let path = |name: &str| format!("/status/{field}/{}", token(name));
    if now.is_none() && !wanted.is_empty() {
        let path = format!("/status/{field}");
        operations.push(json!({"op": "add", "path": path, "value": {}}));
    }
    for (name, value) in wanted {
        operations.push(json!({"op": "add", "path": path(name), "value": value}));
    }
    for (name, value) in noted.iter().filter(|(name, _)| !wanted.contains_key(*name)) {
        let shown = now.and_then(|now| now.get(name));
        if shown.is_some_and(|Quantity(shown)| shown == value) {
            operations.push(json!({"op": "test", "path": path(name), "value": value}));
            operations.push(json!({"op": "remove", "path": path(name)}));
        }
    }
}

fn annotate(
    operations: &mut Vec<Value>,
    node: &Node,
    note: Option<&String>,
    wanted: &BTreeMap<String, String>,
) {
    let path = format!("/metadata/annotations/{}", token(ADVERTISED));
    if wanted.is_empty() {
        operations.push(json!({"op": "test", "path": path, "value": note}));
        operations.push(json!({"op": "remove", "path": path}));
        return;
    }
    if node.metadata.annotations.is_none() {
        operations.push(json!({"op": "add", "path": "/metadata/annotations", "value": {}}));
    }
    let text = json!(wanted).to_string();
    operations.push(json!({"op": "add", "path": path, "value": text}));
}

/// A name in a JSON pointer (RFC 6901).
fn token(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Writes to nodes, some at a time.
#[derive(Debug)]
pub struct Advertiser {
    mode: Mode,
    looked: Option<Instant>,
    written: HashMap<String, Instant>,
    told: bool,
}

impl Advertiser {
    /// One that has written nothing yet.
    pub fn new(mode: Mode) -> Self {
        Self {
            mode,
            looked: None,
            written: HashMap::new(),
            told: false,
        }
    }

    /// Whether it is time to look.
    pub fn is_due(&self) -> bool {
        let looked = self.looked;
        looked.is_none_or(|looked| looked.elapsed() >= limits::CAPACITY_LOOK)
    }

    /// Brings nodes in step, as many as one look may.
    pub async fn update(&mut self, client: &Client, view: &View) {
        self.looked = Some(Instant::now());
        if self.mode == Mode::Off {
            self.tell(view);
            return;
        }
        self.written
            .retain(|_, when| when.elapsed() < limits::CAPACITY_AGAIN);
        let due = view
            .nodes
            .iter()
            .filter(|node| !self.written.contains_key(&node.name_any()));
        let due = due.filter_map(|node| {
            let wanted = view.wanted(node, self.mode);
            Some((node.name_any(), patch(node, wanted)?))
        });
        let due: Vec<_> = due.take(limits::CAPACITY_PATCHES).collect();
        for (name, _) in &due {
            self.written.insert(name.clone(), Instant::now());
        }
        let nodes: Api<Node> = Api::all(client.clone());
        let write = due.iter().map(|(name, patch)| write(&nodes, name, patch));
        futures::stream::iter(write)
            .buffer_unordered(limits::API_REQUESTS)
            .count()
            .await;
    }

    /// Says once that nodes still show what nobody keeps in step.
    fn tell(&mut self, view: &View) {
        let left = view.nodes.iter();
        let left = left.filter(|node| node.annotations().contains_key(ADVERTISED));
        let nodes = left.count();
        if nodes > 0 && !self.told {
            warn!(
                nodes,
                "nodes show remote capacity of before; frontendCapacity.remove takes it out"
            );
        }
        self.told = nodes > 0;
    }
}

async fn write(nodes: &Api<Node>, name: &str, patch: &Value) {
    let Ok(operations) = serde_json::from_value(patch.clone()) else {
        return;
    };
    let parameters = PatchParams::default();
    let patch = Patch::<()>::Json(operations);
    let patched = nodes.patch_status(name, &parameters, &patch);
    match tokio::time::timeout(limits::API_REQUEST, patched).await {
        Ok(Ok(_)) => info!(node = name, "remote capacity is in step"),
        // It has changed meanwhile.
        Ok(Err(kube::Error::Api(answer))) if [409, 422].contains(&answer.code) => {
            debug!(node = name, %answer, "not written; looking again");
        }
        Ok(Err(error)) => warn!(node = name, %error, "cannot write remote capacity"),
        Err(_) => warn!(node = name, "cannot write remote capacity in time"),
    }
}

#[cfg(test)]
mod tests;
