// SPDX-License-Identifier: Apache-2.0
//! As many backends as programs need, between two bounds: by labels of the nodes of a pool, where
//! the DaemonSet runs backends then, or by the replicas of a Deployment of backends, whose pods
//! make a cluster autoscaler add nodes.
//!
//! ```text
//! requests that wait ──▶ demand: how many backends are missing ──▶ decide ──▶ nodes | deployment
//! ledger: backends, which of them are idle ────────────────────────▲
//! ```
//!
//! A backend that is to end is *retired* first: nothing of it is given from then on, so that
//! nobody comes between the decision and the end of its pod.

mod decide;
mod demand;
mod deployment;
mod nodes;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Node;
use kube::Client;
use parking_lot::Mutex;
use tracing::warn;

use crate::broker::ledger::{Ledger, Member};
use crate::limits;
use crate::placement::{BackendId, State};

pub use decide::{Bounds, Decision, Fleet, decide};
pub use demand::missing;
use deployment::Deployment;
use nodes::Nodes;
pub use nodes::{Pool, PoolError};

/// What is scaled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Nodes with these labels get `gvirtus.io/backend.allowed`.
    Nodes(Pool),
    /// The Deployment of this name in the broker's namespace.
    Deployment(String),
}

/// Chosen by who installs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// What is scaled.
    pub target: Target,
    /// How many backends there may be.
    pub bounds: Bounds,
    /// A backend that nobody has used for so long may end.
    pub idle: Duration,
}

/// The controller.
pub struct Autoscaler {
    scaler: Scaler,
    bounds: Bounds,
    idle: Duration,
    /// Since when nobody has anything of a backend.
    idle_since: HashMap<BackendId, Instant>,
}

enum Scaler {
    Nodes(Box<Nodes>),
    Deployment(Box<Deployment>),
}

/// What a look shows.
struct View<'a> {
    members: &'a [Member],
    /// Backends that may end, those first that were idle for longest.
    idle: Vec<&'a Member>,
    now: Instant,
}

impl Autoscaler {
    /// One that has seen nothing yet.
    pub fn new(client: Client, namespace: &str, options: Options) -> Self {
        let scaler = match options.target {
            Target::Nodes(pool) => Scaler::Nodes(Box::new(Nodes::new(client, pool))),
            Target::Deployment(name) => {
                Scaler::Deployment(Box::new(Deployment::new(client, namespace, name)))
            }
        };
        Self {
            scaler,
            bounds: options.bounds,
            idle: options.idle,
            idle_since: HashMap::new(),
        }
    }

    /// Looks once, and does what is to be done; returns how many backends it has started, or
    /// stopped.
    pub async fn update(
        &mut self,
        ledger: &Mutex<Ledger>,
        nodes: &[Arc<Node>],
        missing: usize,
    ) -> (usize, usize) {
        let now = Instant::now();
        let members = ledger.lock().members();
        let view = self.view(&members, now);
        let bounds = self.bounds;
        let work = async {
            match &mut self.scaler {
                Scaler::Nodes(scaler) => scaler.update(ledger, nodes, &view, missing, bounds).await,
                Scaler::Deployment(scaler) => scaler.update(ledger, &view, missing, bounds).await,
            }
        };
        match tokio::time::timeout(limits::SCALING, work).await {
            Ok(Ok(done)) => done,
            Ok(Err(error)) => {
                warn!(%error, "cannot change the number of backends");
                (0, 0)
            }
            Err(_) => {
                warn!("cannot change the number of backends: the API server does not answer");
                (0, 0)
            }
        }
    }

    fn view<'a>(&mut self, members: &'a [Member], now: Instant) -> View<'a> {
        let is_idle = |member: &Member| member.is_idle && member.state == State::Ready;
        let idle: Vec<&Member> = members.iter().filter(|member| is_idle(member)).collect();
        let mut since = HashMap::new();
        for member in &idle {
            let before = self.idle_since.get(&member.id);
            since.insert(member.id.clone(), before.copied().unwrap_or(now));
        }
        self.idle_since = since;
        let mut idle: Vec<(Instant, &Member)> = idle
            .into_iter()
            .map(|member| (self.idle_since[&member.id], member))
            .filter(|(since, _)| now.duration_since(*since) >= self.idle)
            .collect();
        idle.sort_by_key(|(since, member)| (*since, &member.id));
        View {
            members,
            idle: idle.into_iter().map(|(_, member)| member).collect(),
            now,
        }
    }
}

/// Whether a backend is up, busy or not.
const fn serves(member: &Member) -> bool {
    matches!(member.state, State::Ready | State::Full)
}
