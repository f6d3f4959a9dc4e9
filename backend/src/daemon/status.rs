// SPDX-License-Identifier: Apache-2.0
//! What the daemon knows of its sessions and devices, and those who ask for it.
//!
//! Whoever may connect may ask: the clients of a daemon see each other's programs, hosts and
//! process ids, and how much they do. What they do it with stays between each and its worker.

use std::collections::BTreeMap;
use std::io;
use std::time::Instant;

use gvirtus_protocol::handshake::{Answer, Hello, Purpose, Welcome};
use gvirtus_protocol::limits::STATUS_SESSIONS_MAX;
use gvirtus_protocol::snapshot::Snapshot;
use gvirtus_protocol::status::{
    Counters, DeviceFigures, Grantee, Picture, QUESTION, SessionStatus, displayable,
};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::figures::Figures;
use super::handshake::refuse;
use crate::control::Neighbour;
use crate::limits::{STATUS_ANSWER_TIMEOUT, STATUS_CLIENTS_MAX, STATUS_IDLE_TIMEOUT, STATUS_PAUSE};

/// The sessions of a daemon.
pub(super) struct Sessions {
    started: Instant,
    snapshot: Snapshot,
    sessions: Mutex<BTreeMap<u64, SessionStatus>>,
    figures: Figures,
    /// One permit a connection that asks.
    clients: Semaphore,
}

/// A session that goes on until this is dropped.
pub(super) struct Running<'a> {
    sessions: &'a Sessions,
    number: u64,
}

impl Sessions {
    pub(super) fn new(snapshot: Snapshot) -> Self {
        Self {
            started: Instant::now(),
            snapshot,
            sessions: Mutex::default(),
            figures: Figures::new(),
            clients: Semaphore::new(STATUS_CLIENTS_MAX),
        }
    }

    /// What the devices do.
    pub(super) const fn figures(&self) -> &Figures {
        &self.figures
    }

    /// A session begins.
    pub(super) fn begin(
        &self,
        number: u64,
        hello: &Hello,
        grantee: Option<Grantee>,
        peer: &str,
        worker: Option<u32>,
    ) -> Running<'_> {
        let client = &hello.client;
        let now_us = self.now_us();
        let session = SessionStatus {
            session_id: number,
            purpose: hello.purpose,
            grantee,
            program: displayable(&client.program),
            host: displayable(&client.host),
            pid: client.pid,
            peer: displayable(peer),
            began_us: now_us,
            worker_pid: worker.unwrap_or(0),
            counted_us: now_us,
            counters: Counters::default(),
        };
        self.sessions.lock().insert(number, session);
        Running {
            sessions: self,
            number,
        }
    }

    /// The sessions with CUDA, for the worker of a client on `host`.
    pub(super) fn neighbours(&self, host: &str) -> Vec<Neighbour> {
        let host = displayable(host);
        let sessions = self.sessions.lock();
        sessions
            .values()
            .filter(|session| session.purpose == Purpose::Cuda)
            .map(|session| Neighbour {
                worker: session.worker_pid,
                pid: session.pid,
                same_host: session.host == host,
                program: session.program.clone(),
            })
            .collect()
    }

    /// Answers a client until it leaves.
    pub(super) async fn serve(
        &self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        peer: &str,
    ) {
        let Ok(_permit) = self.clients.try_acquire() else {
            let reason = "too many others watch this backend; try again later";
            tracing::info!(peer, reason, "refused");
            return refuse(stream, reason).await;
        };
        tracing::debug!(peer, "a client asks for the sessions");
        if let Err(error) = self.answer(stream).await {
            tracing::debug!(peer, %error, "a client that asked for the sessions is gone");
        }
    }

    async fn answer(&self, stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
        let welcome = Answer::Welcome(Welcome {
            session_id: 0,
            snapshot: self.snapshot.clone(),
        });
        timeout(STATUS_ANSWER_TIMEOUT, stream.write_all(&welcome.encode())).await??;
        loop {
            let mut question = [0; QUESTION.len()];
            match timeout(STATUS_IDLE_TIMEOUT, stream.read_exact(&mut question)).await? {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                read => read?,
            };
            if question != QUESTION {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let devices = self.figures.ask().await;
            let picture = self.picture(devices).encode();
            timeout(STATUS_ANSWER_TIMEOUT, stream.write_all(&picture)).await??;
            // One who asks without a break must not keep the daemon from its work.
            sleep(STATUS_PAUSE).await;
        }
    }

    fn picture(&self, devices: Vec<DeviceFigures>) -> Picture {
        let sessions = self.sessions.lock();
        Picture {
            now_us: self.now_us(),
            session_count: sessions.len() as u64,
            sessions: sessions
                .values()
                .take(STATUS_SESSIONS_MAX)
                .cloned()
                .collect(),
            devices,
        }
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

impl Running<'_> {
    /// The worker reports.
    pub(super) fn count(&self, counters: Counters) {
        let now_us = self.sessions.now_us();
        if let Some(session) = self.sessions.sessions.lock().get_mut(&self.number) {
            session.counters = counters;
            session.counted_us = now_us;
        }
    }

    /// It is over; what was reported last.
    pub(super) fn end(self) -> Counters {
        let mut sessions = self.sessions.sessions.lock();
        let session = sessions.remove(&self.number);
        session.map(|session| session.counters).unwrap_or_default()
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.sessions.sessions.lock().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use gvirtus_protocol::handshake::{ClientIdentity, PREAMBLE_BYTES};
    use gvirtus_protocol::status::LENGTH_BYTES;

    use super::*;

    fn hello() -> Hello {
        let client = ClientIdentity {
            pid: 7,
            host: "node".into(),
            program: "\x1b[31mtrain".into(),
            container: String::new(),
        };
        Hello::new(client, Vec::new())
    }

    #[test]
    fn a_session_is_seen_while_it_goes_on() {
        let sessions = Sessions::new(Snapshot::default());
        let first = sessions.begin(1, &hello(), None, "unix", Some(70));
        let second = sessions.begin(2, &hello(), None, "127.0.0.1:1", None);
        let counters = Counters {
            launches: 5,
            ..Counters::default()
        };
        first.count(counters.clone());
        let management = Hello {
            purpose: Purpose::Management,
            ..hello()
        };
        let watcher = sessions.begin(3, &management, None, "unix", Some(71));
        let neighbours = sessions.neighbours("node");
        assert_eq!(neighbours.len(), 2, "those with CUDA");
        assert_eq!((neighbours[0].worker, neighbours[0].pid), (70, 7));
        assert!(neighbours[0].same_host && !sessions.neighbours("other")[0].same_host);
        drop(watcher);
        let picture = sessions.picture(Vec::new());
        assert_eq!(picture.session_count, 2);
        let seen = &picture.sessions[0];
        assert_eq!((seen.session_id, seen.worker_pid, seen.pid), (1, 70, 7));
        assert_eq!(seen.counters, counters);
        assert!(!seen.program.contains('\x1b'));
        assert!(seen.began_us <= seen.counted_us && seen.counted_us <= picture.now_us);
        assert_eq!(first.end(), counters);
        drop(second);
        assert!(sessions.picture(Vec::new()).sessions.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_is_answered_and_who_does_not_is_let_go() {
        let sessions = Sessions::new(Snapshot::default());
        let _running = sessions.begin(9, &hello(), None, "unix", None);
        let (mut client, mut server) = tokio::io::duplex(1 << 16);
        let ask = async {
            let mut preamble = [0; PREAMBLE_BYTES];
            client.read_exact(&mut preamble).await?;
            let announced = gvirtus_protocol::handshake::read_server_preamble(&preamble);
            let mut body = vec![0; announced.expect("a welcome").length];
            client.read_exact(&mut body).await?;
            for _ in 0..3 {
                client.write_all(&QUESTION).await?;
                let mut length = [0; LENGTH_BYTES];
                client.read_exact(&mut length).await?;
                let mut body = vec![0; Picture::length(length).expect("short")];
                client.read_exact(&mut body).await?;
                let picture = Picture::decode(&body).expect("a picture");
                assert_eq!(picture.sessions[0].session_id, 9);
            }
            // Says nothing more: after a while the daemon ends it.
            let rest = client.read(&mut [0]).await?;
            io::Result::Ok(rest)
        };
        let serve = async {
            sessions.serve(&mut server, "test").await;
            drop(server);
        };
        let (asked, ()) = tokio::join!(ask, serve);
        assert_eq!(asked.expect("answered"), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_speaks_otherwise_is_let_go() {
        let sessions = Sessions::new(Snapshot::default());
        let (mut client, mut server) = tokio::io::duplex(1 << 16);
        client.write_all(b"what").await.expect("room");
        let start = tokio::time::Instant::now();
        sessions.serve(&mut server, "test").await;
        assert!(start.elapsed() < STATUS_IDLE_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_may_watch() {
        let sessions = Sessions::new(Snapshot::default());
        let _all = sessions.clients.try_acquire_many(STATUS_CLIENTS_MAX as u32);
        let (mut client, mut server) = tokio::io::duplex(1 << 16);
        sessions.serve(&mut server, "test").await;
        drop(server);
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.expect("closed");
        assert!(String::from_utf8_lossy(&answer).contains("too many others"));
    }
}
