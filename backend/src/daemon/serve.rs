// SPDX-License-Identifier: Apache-2.0
//! From an accepted connection to a session and its end.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use gvirtus_driver_face::{VISIBLE_DEVICES, device_name};
use gvirtus_protocol::handshake::{Answer, Hello, Purpose, Welcome};
use gvirtus_protocol::snapshot::Snapshot;
use gvirtus_protocol::status::Grantee;
use gvirtus_transport::Listener;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::admission::{Admission, TicketOptions};
use super::handshake::{HelloError, read_hello, refuse};
use super::status::Sessions;
use super::workers::{Busy, Worker, Workers};
use crate::limits::{ACCEPT_PAUSE, HANDSHAKES_MAX, STATUS_ANSWER_TIMEOUT};

/// What all connections share.
pub(super) struct Service {
    workers: Arc<Workers>,
    admission: Admission,
    /// One permit a connection that has not said who it is.
    handshakes: Arc<Semaphore>,
    /// One permit a session.
    sessions: Arc<Semaphore>,
    sessions_max: usize,
    status: Sessions,
    next_session: AtomicU64,
}

/// What a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// Everything, for whoever is admitted.
    Clients,
    /// Telling of the sessions, to whoever reaches it.
    Status,
}

/// A connection that a worker can inherit.
trait Connection: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// The socket, blocking again.
    fn into_descriptor(self) -> io::Result<OwnedFd>;
}

impl Connection for TcpStream {
    fn into_descriptor(self) -> io::Result<OwnedFd> {
        let stream = self.into_std()?;
        stream.set_nonblocking(false)?;
        Ok(stream.into())
    }
}

impl Connection for UnixStream {
    fn into_descriptor(self) -> io::Result<OwnedFd> {
        let stream = self.into_std()?;
        stream.set_nonblocking(false)?;
        Ok(stream.into())
    }
}

impl Service {
    pub(super) fn new(
        workers: Arc<Workers>,
        tickets: Option<TicketOptions>,
        sessions_max: usize,
    ) -> Self {
        let sessions_max = sessions_max.min(Semaphore::MAX_PERMITS);
        Self {
            status: Sessions::new(workers.snapshot().clone()),
            admission: Admission::new(tickets, workers.snapshot()),
            workers,
            handshakes: Arc::new(Semaphore::new(HANDSHAKES_MAX)),
            sessions: Arc::new(Semaphore::new(sessions_max)),
            sessions_max,
            next_session: AtomicU64::new(1),
        }
    }

    /// Accepts clients in a task of its own, which owns the listener.
    pub(super) fn accept(
        self: &Arc<Self>,
        listener: Listener,
        door: Door,
    ) -> io::Result<JoinHandle<()>> {
        let service = Arc::clone(self);
        match listener {
            Listener::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                let listener = TcpListener::from_std(listener)?;
                Ok(tokio::spawn(async move {
                    loop {
                        let permit = service.handshake_permit().await;
                        let accepted = listener.accept().await;
                        let accepted = accepted.map(|(stream, peer)| (stream, peer.to_string()));
                        service.accepted(accepted, door, permit).await;
                    }
                }))
            }
            Listener::Unix(listener, file) => {
                listener.set_nonblocking(true)?;
                let listener = UnixListener::from_std(listener)?;
                Ok(tokio::spawn(async move {
                    let _file = file;
                    loop {
                        let permit = service.handshake_permit().await;
                        let accepted = listener.accept().await;
                        let accepted = accepted.map(|(stream, _)| (stream, "unix".to_owned()));
                        service.accepted(accepted, door, permit).await;
                    }
                }))
            }
        }
    }

    /// Has somebody look at the devices whenever it is asked what they do, for ever.
    pub(super) async fn look(&self) {
        self.status.figures().look(&self.workers).await;
    }

    /// How many sessions there are.
    pub(super) fn sessions(&self) -> usize {
        self.sessions_max - self.sessions.available_permits()
    }

    /// Returns when there is no session.
    pub(super) async fn idle(&self) {
        let all = u32::try_from(self.sessions_max).unwrap_or(u32::MAX);
        // The semaphore is never closed.
        let _ = self.sessions.acquire_many(all).await;
    }

    /// No more clients come.
    pub(super) fn retire(&self) {
        self.workers.retire();
    }

    async fn handshake_permit(&self) -> OwnedSemaphorePermit {
        let permit = Arc::clone(&self.handshakes).acquire_owned().await;
        permit.expect("the semaphore is never closed")
    }

    async fn accepted(
        self: &Arc<Self>,
        accepted: io::Result<(impl Connection, String)>,
        door: Door,
        permit: OwnedSemaphorePermit,
    ) {
        match accepted {
            Ok((stream, peer)) => {
                let service = Arc::clone(self);
                tokio::spawn(async move { service.connection(stream, peer, door, permit).await });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }

    async fn connection(
        self: Arc<Self>,
        mut stream: impl Connection,
        peer: String,
        door: Door,
        handshake: OwnedSemaphorePermit,
    ) {
        let hello = match read_hello(&mut stream).await {
            Ok(hello) => hello,
            Err(HelloError::Connection(error)) => {
                tracing::debug!(peer, %error, "a connection that is none");
                return;
            }
            Err(error) => {
                tracing::info!(peer, reason = %error, "refused");
                return refuse(&mut stream, &error.to_string()).await;
            }
        };
        drop(handshake);
        if hello.purpose == Purpose::Ticket {
            let reason = "this is a backend, not a broker: write tcp:// instead of broker://";
            tracing::info!(peer, reason, "refused");
            return refuse(&mut stream, reason).await;
        }
        if door == Door::Status {
            if hello.purpose == Purpose::Status {
                return self.status.serve(&mut stream, &peer).await;
            }
            let reason = "only the status of this backend is told here";
            tracing::info!(peer, reason, "refused");
            return refuse(&mut stream, reason).await;
        }
        let admitted = match self.admission.admit(&hello) {
            Ok(admitted) => admitted,
            Err(reason) => {
                tracing::warn!(peer, %reason, "refused");
                return refuse(&mut stream, &reason.to_string()).await;
            }
        };
        if hello.purpose == Purpose::Status {
            return self.status.serve(&mut stream, &peer).await;
        }
        let Ok(_session) = self.sessions.try_acquire() else {
            let reason = format!(
                "all {} sessions of this backend are in use; try again later",
                self.sessions_max
            );
            tracing::warn!(peer, reason, "refused");
            return refuse(&mut stream, &reason).await;
        };
        let quota = admitted.grantee.as_ref().map(|grantee| &grantee.quota);
        // NVML takes no notice of CUDA_VISIBLE_DEVICES.
        let visible = match hello.purpose {
            Purpose::Management => None,
            _ => hello.visible_devices.as_deref(),
        };
        let part = self.admission.part(quota, visible);
        let columns = self.admission.columns(part.as_deref());
        let worker = match hello.purpose {
            Purpose::Management => {
                let names = part.iter().flatten().map(device_name).collect();
                self.workers.management(names).await
            }
            _ if part.as_ref().is_some_and(Vec::is_empty) => {
                tracing::info!(peer, visible = ?hello.visible_devices, "no device is left");
                return self.no_device(&mut stream).await;
            }
            Purpose::Cuda | Purpose::Status | Purpose::Ticket => {
                let percent = quota.and_then(|quota| quota.compute_percent);
                self.worker(part.as_deref(), percent).await
            }
        };
        let worker = match worker {
            Ok(worker) => worker,
            Err(reason) => {
                tracing::error!(peer, reason, "refused");
                return refuse(&mut stream, &reason).await;
            }
        };
        let session = self.next_session.fetch_add(1, Ordering::Relaxed);
        let handed = stream.into_descriptor().and_then(|client| {
            worker.serve(session, client.as_fd(), admitted.seat.as_ref(), columns)
        });
        match handed {
            Ok(worker) => {
                let grantee = admitted.grantee.clone();
                self.follow(session, &peer, &hello, grantee, worker).await;
            }
            Err(error) => tracing::error!(session, peer, %error, "cannot hand over the client"),
        }
    }

    /// A worker for a client with CUDA, on the part of the devices that it may use and wants.
    async fn worker(
        &self,
        part: Option<&[[u8; 16]]>,
        percent: Option<u8>,
    ) -> Result<Worker, String> {
        let mut environment = Vec::new();
        if let Some(part) = part {
            let names: Vec<String> = part.iter().map(device_name).collect();
            environment.push((VISIBLE_DEVICES, names.join(",")));
        }
        // Holds where NVIDIA's Multi-Process Service runs; elsewhere the driver takes no notice.
        if let Some(percent) = percent {
            environment.push(("CUDA_MPS_ACTIVE_THREAD_PERCENTAGE", percent.to_string()));
        }
        match &environment[..] {
            [] => self.workers.take().await,
            environment => self.workers.restricted(environment).await,
        }
    }

    /// Tells a client that there is no device for it, as a driver does.
    async fn no_device(&self, stream: &mut impl Connection) {
        let welcome = Answer::Welcome(Welcome {
            session_id: self.next_session.fetch_add(1, Ordering::Relaxed),
            snapshot: Snapshot {
                driver_version: self.workers.snapshot().driver_version,
                devices: Vec::new(),
            },
        });
        // A client that is gone needs no answer.
        let _ = timeout(STATUS_ANSWER_TIMEOUT, stream.write_all(&welcome.encode())).await;
    }

    /// Logs a session's beginning and end, and tells meanwhile what it does.
    async fn follow(
        &self,
        session: u64,
        peer: &str,
        hello: &Hello,
        grantee: Option<Grantee>,
        worker: Busy,
    ) {
        let client = &hello.client;
        // What a client says of itself is quoted, so that it cannot forge lines of the log.
        tracing::info!(
            session,
            peer,
            purpose = ?hello.purpose,
            program = ?client.program,
            host = ?client.host,
            pid = client.pid,
            namespace = grantee.as_ref().map(|grantee| &grantee.account.namespace),
            pod = grantee.as_ref().map(|grantee| &grantee.account.pod),
            worker = worker.id(),
            "session begins"
        );
        let start = Instant::now();
        let status = (self.status).begin(session, hello, grantee, peer, worker.id());
        let neighbours = || self.status.neighbours(&client.host);
        let ended = worker
            .end(|counters| status.count(counters), neighbours)
            .await;
        let counters = status.end();
        let duration_ms = start.elapsed().as_millis() as u64;
        match ended {
            Ok(status) if status.code().is_some() => tracing::info!(
                session,
                duration_ms,
                %status,
                commands = counters.commands,
                launches = counters.launches,
                received_bytes = counters.received_bytes,
                sent_bytes = counters.sent_bytes,
                "session ends"
            ),
            Ok(status) => tracing::error!(session, duration_ms, %status, "the worker is killed"),
            Err(error) => tracing::error!(session, duration_ms, %error, "the worker is lost"),
        }
    }
}
