// SPDX-License-Identifier: Apache-2.0
//! Clients that ask for a backend.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use gvirtus_protocol::handshake::{Answer, Grant, Hello, Purpose};
use gvirtus_ticket::Scope;
use gvirtus_ticket::limits::TICKET_LIFE;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tracing::{debug, info, warn};

use super::identity::{Bearer, Reviewer, TokenError};
use super::pods::{self, Client, PodError};
use super::wire::{self, WireError};
use super::{Broker, Replica};
use crate::limits;
use crate::placement::{BackendId, Demand};

/// Takes connections for ever. One that comes while another replica leads is closed: the client
/// connects again.
pub(super) async fn accept(listener: TcpListener, replica: Arc<Replica>) {
    let clients = Arc::new(Semaphore::new(limits::CLIENTS));
    let mut leader: Option<(Arc<Broker>, Arc<Reviewer>)> = None;
    loop {
        let permit = Arc::clone(&clients).acquire_owned();
        let (Ok(permit), Ok((stream, peer))) = (permit.await, listener.accept().await) else {
            // Mostly too many open files: others must close theirs first.
            warn!("cannot accept a connection");
            tokio::time::sleep(limits::ACCEPT_PAUSE).await;
            continue;
        };
        if leader.is_none() {
            leader = replica.leader().map(|broker| {
                let reviewer = Arc::new(Reviewer::new(broker.client.clone()));
                (broker, reviewer)
            });
        }
        let Some((broker, reviewer)) = leader.clone() else {
            continue;
        };
        tokio::spawn(async move {
            serve(&broker, &reviewer, stream, peer).await;
            drop(permit);
        });
    }
}

/// Why a client gets no ticket.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("this is a broker, not a backend: write broker:// instead of tcp://")]
    Purpose,
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(transparent)]
    Pod(#[from] PodError),
    #[error("pod {0} does not exist any more")]
    Gone(String),
}

/// What comes of a client.
enum Outcome {
    Granted(Answer),
    /// It went away.
    Left,
    Refused(Refusal),
}

async fn serve(broker: &Broker, reviewer: &Reviewer, stream: TcpStream, peer: SocketAddr) {
    // Small messages, each of which is waited for.
    let _ = stream.set_nodelay(true);
    let (mut reader, mut writer) = stream.into_split();
    let hello = tokio::time::timeout(limits::HELLO, wire::read_hello(&mut reader)).await;
    let hello = match hello {
        Ok(Ok(hello)) => hello,
        Ok(Err(WireError::Handshake(error))) => {
            debug!(%peer, %error, "refused");
            return send(&mut writer, &Answer::Refusal(error.to_string()))
                .await
                .unwrap_or(());
        }
        Ok(Err(error)) => return debug!(%peer, %error, "no hello"),
        Err(_) => return debug!(%peer, "no hello in time"),
    };
    let answer = match answer(broker, reviewer, &hello, reader, &mut writer).await {
        Outcome::Granted(answer) => {
            broker.metrics.answered("granted");
            answer
        }
        Outcome::Left => {
            broker.metrics.answered("left");
            return;
        }
        Outcome::Refused(refusal) => {
            info!(%peer, program = ?hello.client.program, %refusal, "refused");
            broker.metrics.answered("refused");
            Answer::Refusal(refusal.to_string())
        }
    };
    if send(&mut writer, &answer).await.is_err() {
        debug!(%peer, "the client does not take its answer");
    }
}

async fn answer(
    broker: &Broker,
    reviewer: &Reviewer,
    hello: &Hello,
    mut reader: OwnedReadHalf,
    writer: &mut OwnedWriteHalf,
) -> Outcome {
    if hello.purpose != Purpose::Ticket {
        return Outcome::Refused(Refusal::Purpose);
    }
    let mut waiting = Waiting::new(broker);
    let mut bearer = None;
    let mut room = broker.room.subscribe();
    loop {
        room.mark_unchanged();
        // Each time: a pod that is deleted does not wait any longer.
        let reason = match attempt(broker, reviewer, hello, &mut bearer, &mut waiting).await {
            Ok(Ok(answer)) => return Outcome::Granted(answer),
            Ok(Err(reason)) => reason,
            Err(Refusal::Token(TokenError::Unknown(reason))) => reason,
            Err(refusal) => return Outcome::Refused(refusal),
        };
        waiting.count();
        if waiting.is_due(&reason) && send(writer, &Answer::Wait(reason)).await.is_err() {
            return Outcome::Left;
        }
        let mut byte = [0];
        tokio::select! {
            // A client has nothing to say while it waits: it has gone.
            _ = reader.read(&mut byte) => return Outcome::Left,
            _ = room.changed() => {}
            () = tokio::time::sleep(limits::WAIT) => {}
        }
    }
}

/// A client that waits, once it does, as it is counted.
struct Waiting<'a> {
    broker: &'a Broker,
    is_counted: bool,
    /// What another backend could give it.
    unmet: Option<Client>,
    told: Option<(String, Instant)>,
}

impl<'a> Waiting<'a> {
    const fn new(broker: &'a Broker) -> Self {
        Self {
            broker,
            is_counted: false,
            unmet: None,
            told: None,
        }
    }

    fn count(&mut self) {
        if !self.is_counted {
            self.is_counted = true;
            self.broker.metrics.waiting.inc();
        }
    }

    /// What stands in the way is that no backend has room for this.
    fn lacks(&mut self, client: &Client) {
        if self.unmet.is_none() {
            self.broker.unmet.enter(client);
            self.unmet = Some(client.clone());
        }
    }

    /// Whether the client should be told now: something new, or that somebody is still there.
    fn is_due(&mut self, reason: &str) -> bool {
        let is_due = self.told.as_ref().is_none_or(|(told, when)| {
            told != reason || when.elapsed() + limits::ACCEPT_PAUSE >= limits::WAIT
        });
        if is_due {
            self.told = Some((reason.to_owned(), Instant::now()));
        }
        is_due
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.is_counted {
            self.broker.metrics.waiting.dec();
        }
        if let Some(client) = &self.unmet {
            self.broker.unmet.leave(&client.account);
        }
    }
}

/// A grant, or why there is none yet.
async fn attempt(
    broker: &Broker,
    reviewer: &Reviewer,
    hello: &Hello,
    known: &mut Option<(Bearer, Instant)>,
    waiting: &mut Waiting<'_>,
) -> Result<Result<Answer, String>, Refusal> {
    if !broker.is_warm.load(Ordering::Relaxed) {
        return Ok(Err("the broker has just begun".into()));
    }
    let bearer = match known {
        Some((bearer, when)) if when.elapsed() < limits::TOKEN_AGAIN => bearer.clone(),
        _ => {
            let bearer = reviewer.review(&hello.credentials).await?;
            *known = Some((bearer.clone(), Instant::now()));
            bearer
        }
    };
    let pod = pod(broker, &bearer).await?;
    let client = pods::client(&pod, &hello.client.container)?;
    let granted = broker.confined(&pod, client.clone());
    let granted = granted.and_then(|client| grant(broker, &pod, &client, previous(broker, hello)));
    // One that has something cannot go elsewhere.
    if granted.is_err() && !broker.ledger.lock().holds(&client.account) {
        waiting.lacks(&client);
    }
    Ok(granted)
}

/// The pod of a token, from the copy of the API server's objects if that is new enough.
async fn pod(broker: &Broker, bearer: &Bearer) -> Result<Arc<Pod>, Refusal> {
    let is_it = |pod: &Pod| pod.uid().as_ref() == Some(&bearer.pod_uid);
    let copy = broker.watched.pod(&bearer.namespace, &bearer.pod);
    if let Some(pod) = copy.filter(|pod| is_it(pod)) {
        return Ok(pod);
    }
    let pods: Api<Pod> = Api::namespaced(broker.client.clone(), &bearer.namespace);
    let asked = tokio::time::timeout(limits::API_REQUEST, pods.get_opt(&bearer.pod)).await;
    match asked {
        Ok(Ok(Some(pod))) if is_it(&pod) => Ok(Arc::new(pod)),
        Ok(Ok(_)) => Err(Refusal::Gone(bearer.pod.clone())),
        Ok(Err(error)) => Err(TokenError::Unknown(error.to_string()).into()),
        Err(_) => Err(TokenError::Unknown("it does not answer".into()).into()),
    }
}

/// Where the client was before, if we sent it there.
fn previous(broker: &Broker, hello: &Hello) -> Option<BackendId> {
    let ticket = broker.keys.verify_signature(&hello.previous_ticket).ok()?;
    Some(BackendId::from(ticket.backend.as_str()))
}

fn grant(
    broker: &Broker,
    pod: &Pod,
    client: &Client,
    previous: Option<BackendId>,
) -> Result<Answer, String> {
    let node_name = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    let node_name = node_name.unwrap_or_default();
    let node = broker.watched.node(node_name);
    let namespace = broker.watched.namespace(&client.account.namespace);
    let demand = Demand {
        request: client.request,
        policy: client.policy(pods::policy(pod, namespace.as_deref(), broker.policy)),
        previous,
        location: pods::location(node_name, node.as_deref()),
        node: client.node.clone(),
    };
    let start = Instant::now();
    let mut ledger = broker.ledger.lock();
    // Where the program runs was not known as room was kept for it.
    ledger.unreserve(&client.account);
    let choice = ledger.choose(&client.account, &demand, broker.seed());
    broker.metrics.decided(start.elapsed());
    let choice = choice.map_err(|reason| reason.to_string())?;
    let endpoint = ledger
        .endpoint(&choice.backend)
        .unwrap_or_default()
        .to_owned();
    let quota = ledger.quota(&choice);
    let account = (*client.account).clone();
    let (id, ticket) = broker.ticket(&choice.backend, Scope::Session, account, quota);
    ledger.grant(&client.account, &choice, id, start + TICKET_LIFE);
    drop(ledger);
    let account = &client.account;
    info!(
        namespace = account.namespace,
        pod = account.pod,
        container = account.container,
        backend = %choice.backend,
        endpoint,
        request = %client.request,
        policy = demand.policy.name(),
        "granted"
    );
    Ok(Answer::Grant(Grant { endpoint, ticket }))
}

async fn send(writer: &mut OwnedWriteHalf, answer: &Answer) -> std::io::Result<()> {
    let bytes = answer.encode();
    match tokio::time::timeout(limits::WRITE, writer.write_all(&bytes)).await {
        Ok(result) => result,
        Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
    }
}
