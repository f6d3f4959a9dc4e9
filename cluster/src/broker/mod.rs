// SPDX-License-Identifier: Apache-2.0
//! The broker: tells programs in pods which backend they use, and gives them a ticket for it.
//!
//! ```text
//! pods, nodes ──watch──▶ ledger ◀──status, every 2 s── backends
//! client ──hello, token──▶ serve ──▶ identity (TokenReview) ──▶ pods (spec) ──▶ ledger ──▶ ticket
//!                                 gate: scheduling gates, events     sessions: GpuSession objects
//!                                 shadow: pods by which KAI counts what others use
//! ```
//!
//! Nothing is kept: what a broker knows it has from the API server and from the backends, and a
//! broker that begins asks both before it answers.

mod gate;
mod identity;
mod keys;
pub mod ledger;
#[cfg(test)]
mod ledger_tests;
mod metrics;
pub mod pods;
mod poll;
mod serve;
mod sessions;
mod shadow;
mod unmet;
mod watch;
pub mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, anyhow};
use gvirtus_kubernetes::{Health, Policy, Signals, listen, random, serve_health};
use gvirtus_ticket::limits::TICKET_LIFE;
use gvirtus_ticket::{Account, PublicKeys, Quota, Scope, SigningKey, Ticket};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::{Notify, watch as channel};
use tracing::{info, warn};

use crate::autoscaler::{self, Autoscaler};
use crate::capacity::{Advertiser, Capacity, Mode, View};
use crate::lease::Candidate;
use crate::limits;
use crate::placement::BackendId;
use ledger::Ledger;
use metrics::Metrics;
use shadow::Leases;
use unmet::Unmet;
use watch::Watched;

pub use shadow::Kai;

/// The Lease, and the part of all names.
const LEASE: &str = "gvirtus-broker";
/// Label of the replica that works: the Service selects it.
const LEADER: &str = "gvirtus.io/leader";
/// The query for all replicas.
const REPLICAS: &str = "app.kubernetes.io/component=broker";

/// Chosen by who installs it.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where clients ask.
    pub listen: SocketAddr,
    /// Where health and metrics are served.
    pub health_listen: SocketAddr,
    /// The namespace of backends, Lease, Secret and ConfigMap.
    pub namespace: String,
    /// This replica's own pod, where it runs in one.
    pub pod: Option<String>,
    /// How to choose where neither pod nor namespace says.
    pub policy: Policy,
    /// How KAI is told of GPUs that its pods use; not at all where it is absent.
    pub kai: Option<Kai>,
    /// What frontends' nodes show of the backends.
    pub frontend_capacity: Mode,
    /// Whether the number of backends follows demand.
    pub autoscaler: Option<autoscaler::Options>,
}

/// A broker that leads.
pub struct Broker {
    client: Client,
    /// What programs and backends are told who this is.
    pub identity: String,
    key: SigningKey,
    keys: PublicKeys,
    policy: Policy,
    watched: Watched,
    leases: Option<Leases>,
    ledger: Mutex<Ledger>,
    unmet: Unmet,
    /// Wakes the work on pods and gates.
    changed: Arc<Notify>,
    /// Counts how often there may have been more room than before.
    room: channel::Sender<u64>,
    seeds: AtomicU64,
    /// Whether enough is known to answer.
    is_warm: AtomicBool,
    metrics: Arc<Metrics>,
}

/// A replica, for its health.
#[derive(Default)]
struct Replica {
    metrics: Arc<Metrics>,
    leader: Mutex<Option<Arc<Broker>>>,
}

/// Serves until a signal, or until another replica leads.
///
/// # Errors
/// Where it cannot listen, or does not lead any more.
pub async fn run(client: Client, options: Options, mut signals: Signals) -> Result<()> {
    let listener = listen(options.listen).await?;
    let health = listen(options.health_listen).await?;
    info!(clients = %listener.local_addr()?, health = %health.local_addr()?, "listening");
    let replica = Arc::new(Replica::default());
    let identity = match &options.pod {
        Some(pod) => pod.clone(),
        None => format!(
            "process-{}-{:08x}",
            std::process::id(),
            u32::from_le_bytes(random()?)
        ),
    };
    let name = identity.clone();
    let mut candidate = Candidate::new(client.clone(), &options.namespace, LEASE, identity);
    let mut health = tokio::spawn(serve_health(Arc::clone(&replica), health));
    let mut clients = tokio::spawn(serve::accept(listener, Arc::clone(&replica)));
    let work = async {
        candidate.acquire().await;
        let lead = lead(client, &options, name, &replica);
        tokio::select! {
            result = candidate.keep() => result,
            result = lead => result,
        }
    };
    let result = tokio::select! {
        result = work => result,
        () = signals.received() => Ok(()),
        ended = &mut health => ended.context("health")?.context("cannot serve health"),
        ended = &mut clients => ended.context("clients"),
    };
    info!("ending");
    replica.leader.lock().take();
    candidate.release().await;
    result
}

/// Does what a leader does, for ever.
async fn lead(
    client: Client,
    options: &Options,
    identity: String,
    replica: &Arc<Replica>,
) -> Result<()> {
    let keys = keys::keys(client.clone(), &options.namespace);
    let keys = tokio::time::timeout(limits::API_REQUEST, keys).await;
    let (key, keys) = keys.map_err(|_| anyhow!("the API server does not answer"))??;
    let changed = Arc::new(Notify::new());
    let leases = options.kai.clone().map(|kai| {
        let shadows = watch::start_labelled(&client, shadow::OWNER, &changed);
        Leases::new(kai, shadows)
    });
    let broker = Arc::new(Broker {
        leases,
        watched: Watched::start(&client, &options.namespace, &changed),
        client,
        changed: Arc::clone(&changed),
        identity,
        key,
        keys,
        policy: options.policy,
        ledger: Mutex::default(),
        unmet: Unmet::default(),
        room: channel::Sender::new(0),
        seeds: AtomicU64::new(u64::from_le_bytes(random()?)),
        is_warm: AtomicBool::new(false),
        metrics: Arc::clone(&replica.metrics),
    });
    broker.watched.ready().await;
    if let Some(leases) = &broker.leases {
        leases.ready().await;
    }
    let mut pollers = poll::Pollers::default();
    pollers.update(&broker);
    let start = Instant::now();
    while !broker.ledger.lock().is_complete() && start.elapsed() < limits::WARM {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut sessions = sessions::Sessions::start(&broker).await;
    let mut autoscaler = options
        .autoscaler
        .clone()
        .map(|chosen| Autoscaler::new(broker.client.clone(), &options.namespace, chosen));
    let mut scaled = Instant::now();
    let mut gates = gate::Gates::default();
    gates.reserve_starting(&broker);
    broker.is_warm.store(true, Ordering::Relaxed);
    broker.has_room();
    *replica.leader.lock() = Some(Arc::clone(&broker));
    announce(&broker.client, options).await;
    info!(backends = broker.ledger.lock().totals().ready, "answering");
    let mut advertiser = Advertiser::new(options.frontend_capacity);
    loop {
        let _ = tokio::time::timeout(limits::LOOK, changed.notified()).await;
        pollers.update(&broker);
        broker.release_ended();
        if broker.ledger.lock().expire(Instant::now()) {
            broker.has_room();
        }
        if let Some(leases) = &broker.leases {
            leases.update(&broker).await;
        }
        gates.update(&broker).await;
        sessions.update(&broker).await;
        if advertiser.is_due() {
            advertiser.update(&broker.client, &broker.capacity()).await;
        }
        if scaled.elapsed() >= limits::LOOK {
            broker.scale(autoscaler.as_mut()).await;
            scaled = Instant::now();
        }
    }
}

/// Gives this replica's pod the label that the Service selects, and takes it from all others.
async fn announce(client: &Client, options: &Options) {
    let Some(own) = &options.pod else {
        return;
    };
    let pods: Api<Pod> = Api::namespaced(client.clone(), &options.namespace);
    let others = async {
        let replicas = pods.list(&ListParams::default().labels(REPLICAS)).await?;
        for pod in replicas.items {
            let name = pod.name_any();
            let is_leader = name == *own;
            if pod.labels().contains_key(LEADER) != is_leader {
                let value = is_leader.then_some("true");
                let patch = Patch::Merge(json!({"metadata": {"labels": {LEADER: value}}}));
                pods.patch(&name, &PatchParams::default(), &patch).await?;
            }
        }
        Ok::<_, kube::Error>(())
    };
    match tokio::time::timeout(limits::API_REQUEST, others).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => warn!(%error, "cannot label the replicas"),
        Err(_) => warn!("cannot label the replicas: the API server does not answer"),
    }
}

impl Broker {
    /// A ticket for a backend, from now on, and its name.
    fn ticket(
        &self,
        backend: &BackendId,
        scope: Scope,
        account: Account,
        quota: Quota,
    ) -> ([u8; 16], Vec<u8>) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let issued_s = now.unwrap_or_default().as_secs();
        let id = random().unwrap_or_default();
        let ticket = Ticket {
            id,
            backend: backend.to_string(),
            scope,
            issued_s,
            expires_s: issued_s + TICKET_LIFE.as_secs(),
            account,
            quota,
        };
        // Names of the API server and devices of a backend are within their limits.
        let signed = self.key.sign(&ticket).unwrap_or_default();
        (id, signed)
    }

    fn seed(&self) -> u64 {
        self.seeds.fetch_add(1, Ordering::Relaxed)
    }

    /// What there is, and who has it on which node.
    fn capacity(&self) -> View {
        let totals = self.ledger.lock().totals();
        let watched = &self.watched;
        let (backends, pods) = (watched.backends.state(), watched.pods.state());
        let all = Capacity::from(&totals);
        View::new(watched.nodes.state(), &backends, &pods, all)
    }

    /// Tells those who wait that there may be room.
    fn has_room(&self) {
        self.room.send_modify(|times| *times += 1);
        self.changed.notify_one();
    }

    /// Counts the backends that are missing, and has as many made, or fewer.
    async fn scale(&self, autoscaler: Option<&mut Autoscaler>) {
        let requests = self.unmet.requests();
        let missing = if requests.is_empty() {
            0
        } else {
            let ledger = self.ledger.lock();
            let (open, shapes) = (ledger.open(), ledger.shapes());
            drop(ledger);
            autoscaler::missing(&requests, open, &shapes, limits::MISSING_BACKENDS)
        };
        self.metrics.missing(missing);
        if let Some(autoscaler) = autoscaler {
            let nodes = self.watched.nodes.state();
            let (started, stopped) = autoscaler.update(&self.ledger, &nodes, missing).await;
            self.metrics.scaled(started, stopped);
        }
    }

    /// Takes back what pods hold that have ended.
    fn release_ended(&self) {
        let ledger = self.ledger.lock();
        let unused = ledger.holdings().filter(|holding| holding.sessions == 0);
        let accounts: Vec<_> = unused.map(|holding| holding.account).collect();
        drop(ledger);
        for account in accounts {
            let pod = self.watched.pod(&account.namespace, &account.pod);
            let lives = pod.is_some_and(|pod| {
                pod.uid().as_ref() == Some(&account.pod_uid) && !pods::has_ended(&pod)
            });
            if !lives {
                self.ledger.lock().release(&account);
                self.has_room();
            }
        }
    }
}

impl Replica {
    fn leader(&self) -> Option<Arc<Broker>> {
        self.leader.lock().clone()
    }
}

impl Health for Replica {
    fn unready(&self) -> Option<&'static str> {
        // One that waits for the Lease is as ready as it can be.
        None
    }

    fn metrics(&self) -> String {
        let leader = self.leader();
        let totals = leader.as_ref().map(|broker| broker.ledger.lock().totals());
        self.metrics.text(totals)
    }
}
