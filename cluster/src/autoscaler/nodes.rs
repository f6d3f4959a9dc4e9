// SPDX-License-Identifier: Apache-2.0
//! Backends on the nodes of a pool, by the label that the DaemonSet selects.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Instant;

use gvirtus_kubernetes::names::BACKEND_ALLOWED;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use parking_lot::Mutex;
use serde_json::json;
use thiserror::Error;
use tracing::info;

use super::{Bounds, Decision, Fleet, View, decide, serves};
use crate::broker::ledger::{Ledger, Member};
use crate::limits;

/// The nodes with all of these labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool(Vec<(String, String)>);

/// A text that names no pool.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is no list of labels; write NAME=VALUE, with commas between several")]
pub struct PoolError(String);

/// The controller's hands.
pub(super) struct Nodes {
    api: Api<Node>,
    tracker: Tracker,
}

/// What was seen of the pool, and done.
struct Tracker {
    pool: Pool,
    /// What was written, until the watch shows it.
    written: HashMap<String, (bool, Instant)>,
    /// Since when a node should have a backend that serves, and has none.
    starting_since: HashMap<String, Instant>,
}

/// The nodes of the pool.
#[derive(Debug, Default, PartialEq, Eq)]
struct Look {
    fleet: Fleet,
    /// Those with a backend that may end, and that backend.
    idle: Vec<Member>,
    /// Those that could have a backend, the best first.
    off: Vec<String>,
}

impl Nodes {
    pub(super) fn new(client: Client, pool: Pool) -> Self {
        Self {
            api: Api::all(client),
            tracker: Tracker::new(pool),
        }
    }

    pub(super) async fn update(
        &mut self,
        ledger: &Mutex<Ledger>,
        nodes: &[Arc<Node>],
        view: &View<'_>,
        missing: usize,
        bounds: Bounds,
    ) -> kube::Result<(usize, usize)> {
        let look = self.tracker.look(nodes, view);
        match decide(look.fleet, missing, bounds) {
            Decision::Stay => Ok((0, 0)),
            Decision::Start(number) => {
                for node in &look.off[..number] {
                    self.allow(node, true).await?;
                    info!(node, missing, "a node of the pool gets a backend");
                }
                Ok((number, 0))
            }
            Decision::Stop(number) => {
                let mut stopped = 0;
                for member in &look.idle[..number] {
                    if !ledger.lock().retire(&member.id) {
                        continue;
                    }
                    if let Err(error) = self.allow(&member.node, false).await {
                        ledger.lock().restore(&member.id);
                        return Err(error);
                    }
                    info!(node = &*member.node, "an idle backend ends");
                    stopped += 1;
                }
                Ok((0, stopped))
            }
        }
    }

    async fn allow(&mut self, node: &str, is_allowed: bool) -> kube::Result<()> {
        let labels = json!({"metadata": {"labels": {BACKEND_ALLOWED: is_allowed.to_string()}}});
        let parameters = PatchParams::default();
        self.api
            .patch(node, &parameters, &Patch::Merge(labels))
            .await?;
        let written = (is_allowed, Instant::now());
        self.tracker.written.insert(node.to_owned(), written);
        Ok(())
    }
}

impl Tracker {
    fn new(pool: Pool) -> Self {
        Self {
            pool,
            written: HashMap::new(),
            starting_since: HashMap::new(),
        }
    }

    fn look(&mut self, nodes: &[Arc<Node>], view: &View<'_>) -> Look {
        let now = view.now;
        self.written
            .retain(|_, (_, when)| now.duration_since(*when) < limits::WATCH_DELAY);
        let mut look = Look::default();
        let mut starting_since = HashMap::new();
        let mut off = Vec::new();
        for node in nodes.iter().filter(|node| self.pool.has(node)) {
            let name = node.name_any();
            let mut here = view.members.iter().filter(|member| *member.node == *name);
            let written = self.written.get(&name).map(|(is_on, _)| *is_on);
            if !written.unwrap_or_else(|| is_allowed(node)) {
                // One whose last backend is about to end is the last choice.
                if can_have_backend(node) {
                    off.push((here.next().is_some(), name));
                }
                continue;
            }
            look.fleet.on += 1;
            if here.any(serves) {
                continue;
            }
            let since = *self.starting_since.get(&name).unwrap_or(&now);
            if now.duration_since(since) < limits::BACKEND_START {
                look.fleet.starting += 1;
            } else {
                look.fleet.stalled += 1;
            }
            starting_since.insert(name, since);
        }
        self.starting_since = starting_since;
        off.sort();
        look.off = off.into_iter().map(|(_, name)| name).collect();
        look.fleet.off = look.off.len();
        let in_pool = |member: &Member| {
            let node = nodes.iter().find(|node| node.name_any() == *member.node);
            node.is_some_and(|node| self.pool.has(node) && is_allowed(node))
        };
        let idle = view.idle.iter().filter(|member| in_pool(member));
        look.idle = idle.map(|member| (*member).clone()).collect();
        look.fleet.idle = look.idle.len();
        look
    }
}

impl Pool {
    fn has(&self, node: &Node) -> bool {
        let labels = node.labels();
        let mut wanted = self.0.iter();
        wanted.all(|(name, value)| labels.get(name) == Some(value))
    }
}

fn is_allowed(node: &Node) -> bool {
    let label = node.labels().get(BACKEND_ALLOWED);
    label.is_some_and(|value| value == "true")
}

/// Whether a DaemonSet's pod would run there and be reached.
fn can_have_backend(node: &Node) -> bool {
    let is_cordoned = node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true);
    let status = node.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_ref());
    let is_ready = conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True");
    is_ready && !is_cordoned && node.metadata.deletion_timestamp.is_none()
}

impl FromStr for Pool {
    type Err = PoolError;

    fn from_str(text: &str) -> Result<Self, PoolError> {
        let label = |part: &str| {
            let (name, value) = part.split_once('=')?;
            let (name, value) = (name.trim(), value.trim());
            (!name.is_empty()).then(|| (name.to_owned(), value.to_owned()))
        };
        let labels: Option<Vec<_>> = text.split(',').map(label).collect();
        labels.map(Self).ok_or_else(|| PoolError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::placement::State;

    fn node(name: &str, allowed: Option<&str>, change: impl FnOnce(&mut Value)) -> Arc<Node> {
        let mut node = json!({
            "metadata": {"name": name, "labels": {"pool": "a", BACKEND_ALLOWED: allowed}},
            "spec": {},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        });
        if allowed.is_none() {
            node["metadata"]["labels"] = json!({"pool": "a"});
        }
        change(&mut node);
        Arc::new(serde_json::from_value(node).expect("a node"))
    }

    fn member(node: &str, state: State) -> Member {
        Member {
            id: node.into(),
            pod: format!("backend-{node}"),
            node: node.into(),
            state,
            is_idle: true,
        }
    }

    fn tracker() -> Tracker {
        Tracker::new("pool=a".parse().expect("a pool"))
    }

    fn look(tracker: &mut Tracker, nodes: &[Arc<Node>], members: &[Member], now: Instant) -> Look {
        let idle = members.iter().filter(|member| member.state == State::Ready);
        let idle = idle.collect();
        tracker.look(nodes, &View { members, idle, now })
    }

    #[test]
    fn the_pools_nodes_count_and_no_others() {
        let nodes = [
            node("busy", Some("true"), |_| {}),
            node("new", Some("true"), |_| {}),
            node("free", Some("false"), |_| {}),
            node("fresh", None, |_| {}),
            node("cordoned", None, |node| {
                node["spec"]["unschedulable"] = json!(true)
            }),
            node("down", None, |node| {
                node["status"]["conditions"] = json!([])
            }),
            node("foreign", Some("true"), |node| {
                node["metadata"]["labels"]["pool"] = json!("b")
            }),
        ];
        let members = [
            member("busy", State::Full),
            member("foreign", State::Ready),
            member("free", State::Draining),
        ];
        let look = look(&mut tracker(), &nodes, &members, Instant::now());
        assert_eq!(
            look.off,
            ["fresh", "free"],
            "one that ends is the last choice"
        );
        assert_eq!(look.idle, []);
        let expected = Fleet {
            on: 2,
            starting: 1,
            stalled: 0,
            idle: 0,
            off: 2,
        };
        assert_eq!(look.fleet, expected);
    }

    #[test]
    fn what_was_written_counts_before_it_is_seen() {
        let nodes = [node("n", Some("false"), |_| {})];
        let mut tracker = tracker();
        let now = Instant::now();
        tracker.written.insert("n".into(), (true, now));
        let seen = look(&mut tracker, &nodes, &[], now);
        assert_eq!(
            (seen.fleet.on, seen.fleet.starting, seen.fleet.off),
            (1, 1, 0)
        );
        let late = now + limits::WATCH_DELAY;
        let seen = look(&mut tracker, &nodes, &[], late);
        assert_eq!(
            (seen.fleet.on, seen.fleet.off),
            (0, 1),
            "somebody else has changed it"
        );
    }

    #[test]
    fn a_node_that_brings_no_backend_is_not_counted_on() {
        let nodes = [node("n", Some("true"), |_| {})];
        let mut tracker = tracker();
        let start = Instant::now();
        let fleet = look(&mut tracker, &nodes, &[], start).fleet;
        assert_eq!((fleet.starting, fleet.stalled), (1, 0));
        let late = start + limits::BACKEND_START;
        let fleet = look(&mut tracker, &nodes, &[member("n", State::Silent)], late).fleet;
        assert_eq!((fleet.starting, fleet.stalled), (0, 1));
        let seen = look(&mut tracker, &nodes, &[member("n", State::Ready)], late);
        assert_eq!(
            (seen.fleet.starting, seen.fleet.stalled, seen.fleet.idle),
            (0, 0, 1)
        );
    }

    #[test]
    fn pools_are_lists_of_labels() {
        assert_eq!("a=b, c=".parse::<Pool>().expect("two").0.len(), 2);
        for text in ["", "a", "a=b,", "=b"] {
            let error = text.parse::<Pool>().expect_err(text).to_string();
            assert!(error.contains("NAME=VALUE"), "{error}");
        }
    }
}
