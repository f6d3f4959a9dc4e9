// SPDX-License-Identifier: Apache-2.0
//! What backends tell of themselves, on a connection to each.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use gvirtus_protocol::handshake::{Answer, ClientIdentity, HandshakeError, Hello, Purpose};
use gvirtus_ticket::{Account, Quota, Scope};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tracing::{debug, info};

use super::Broker;
use super::pods;
use super::wire::{self, WireError};
use crate::limits;
use crate::placement::BackendId;

/// The tasks that ask backends.
#[derive(Debug, Default)]
pub(super) struct Pollers(HashMap<BackendId, (String, AbortHandle)>);

impl Pollers {
    /// Brings ledger and tasks in step with the backends' pods.
    pub(super) fn update(&mut self, broker: &Arc<Broker>) {
        let mut found = HashMap::new();
        for pod in broker.watched.backends.state() {
            let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
            let node = node.and_then(|name| broker.watched.node(name));
            if let Some((id, facts)) = pods::backend(&pod, node.as_deref()) {
                found.insert(id, facts);
            }
        }
        for (id, (endpoint, task)) in std::mem::take(&mut self.0) {
            match found.get(&id) {
                Some(facts) if facts.endpoint == endpoint => {
                    self.0.insert(id, (endpoint, task));
                }
                facts => {
                    task.abort();
                    if facts.is_none() {
                        info!(backend = %id, "the backend's pod is gone");
                        broker.ledger.lock().remove(&id);
                    }
                }
            }
        }
        for (id, facts) in found {
            let endpoint = facts.endpoint.clone();
            broker.ledger.lock().set_facts(&id, facts);
            if !endpoint.is_empty() && !self.0.contains_key(&id) {
                info!(backend = %id, endpoint, "asking a backend");
                let task = poll(Arc::clone(broker), id.clone(), endpoint.clone());
                let task = tokio::spawn(task).abort_handle();
                self.0.insert(id, (endpoint, task));
            }
        }
    }
}

/// Asks one backend for ever.
async fn poll(broker: Arc<Broker>, id: BackendId, endpoint: String) {
    let mut told = String::new();
    loop {
        let Err(error) = ask(&broker, &id, &endpoint).await;
        broker.ledger.lock().silence(&id);
        let text = error.to_string();
        if told == text {
            debug!(backend = %id, endpoint, error = text, "silent");
        } else {
            info!(backend = %id, endpoint, error = text, "the backend does not answer");
            told = text;
        }
        tokio::time::sleep(limits::POLL).await;
    }
}

async fn ask(
    broker: &Broker,
    id: &BackendId,
    endpoint: &str,
) -> Result<std::convert::Infallible, WireError> {
    let address = endpoint.strip_prefix("tcp://").unwrap_or(endpoint);
    let mut stream = within(limits::POLL_CONNECT, async {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    })
    .await?;
    let ticket = broker.ticket(id, Scope::Observer, Account::default(), Quota::default());
    let identity = ClientIdentity {
        pid: std::process::id(),
        host: broker.identity.clone(),
        program: "gvirtus-cluster broker".into(),
        container: String::new(),
    };
    let hello = Hello::with_purpose(Purpose::Status, identity, ticket.1);
    match within(limits::POLL_ANSWER, wire::ask(&mut stream, &hello)).await? {
        Answer::Welcome(welcome) => broker.ledger.lock().set_devices(id, &welcome.snapshot),
        Answer::Refusal(reason) => return Err(HandshakeError::Refused(reason).into()),
        Answer::Grant(_) | Answer::Wait(_) => return Err(WireError::NoBackend),
    }
    watch(broker, id, &mut stream).await
}

async fn watch(
    broker: &Broker,
    id: &BackendId,
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> Result<std::convert::Infallible, WireError> {
    loop {
        let picture = within(limits::POLL_ANSWER, wire::ask_status(stream)).await?;
        if broker.ledger.lock().report(id, &picture) {
            broker.has_room();
        }
        tokio::time::sleep(limits::POLL).await;
    }
}

async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, WireError>>,
) -> Result<T, WireError> {
    let result = tokio::time::timeout(limit, work).await;
    result.unwrap_or_else(|_| Err(WireError::Io(std::io::ErrorKind::TimedOut.into())))
}
