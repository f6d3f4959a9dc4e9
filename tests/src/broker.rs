// SPDX-License-Identifier: Apache-2.0
//! A broker that grants everybody what the test says, for one daemon.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use gvirtus_protocol::handshake::{
    Answer, Grant, Hello, PREAMBLE_BYTES, Purpose, read_client_preamble,
};
use gvirtus_ticket::{Account, Quota, Scope, SigningKey, Ticket};
use parking_lot::Mutex;

use crate::Daemon;

/// What the daemon of a broker is called in its tickets.
pub const BACKEND_ID: &str = "backend-of-the-test";

/// A broker on a free port of loopback. Its thread ends with the test's process.
#[derive(Debug)]
pub struct Broker {
    port: u16,
    key: Arc<SigningKey>,
    plan: Arc<Mutex<Plan>>,
    folder: tempfile::TempDir,
}

/// Where clients go, and what they get there.
#[derive(Clone, Debug, Default)]
struct Plan {
    endpoint: String,
    devices: Vec<[u8; 16]>,
}

impl Broker {
    /// Lets everybody wait until there is a daemon.
    ///
    /// # Panics
    ///
    /// If there is no port, no folder.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let broker = Self {
            port: listener.local_addr().expect("bound").port(),
            key: Arc::new(SigningKey::from_seed(&[7; 32])),
            plan: Arc::default(),
            folder: tempfile::tempdir().expect("the temporary folder is writable"),
        };
        let keys = broker.key.public().to_text();
        std::fs::write(broker.keys(), keys).expect("writable");
        let (key, plan) = (Arc::clone(&broker.key), Arc::clone(&broker.plan));
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let plan = plan.lock().clone();
                // A client that is gone is none of its business.
                let _ = serve(stream, &key, plan);
            }
        });
        broker
    }

    /// Starts a daemon that takes this broker's tickets.
    pub fn daemon(&self) -> Daemon {
        self.daemon_in(&[], &[])
    }

    /// The same, with environment variables and more arguments.
    ///
    /// # Panics
    ///
    /// If it does not listen.
    pub fn daemon_in(&self, environment: &[(&str, &str)], arguments: &[&str]) -> Daemon {
        let keys = self.keys();
        let keys = keys.to_str().expect("UTF-8");
        let tickets = ["--ticket-keys", keys, "--backend-id", BACKEND_ID];
        let daemon = Daemon::start_in(environment, &[&tickets, arguments].concat());
        self.plan.lock().endpoint = daemon.tcp();
        daemon
    }

    /// From now on tickets are for these devices.
    pub fn grant_devices(&self, devices: &[[u8; 16]]) {
        self.plan.lock().devices = devices.to_vec();
    }

    /// `GVIRTUS_ENDPOINT` of its clients.
    pub fn endpoint(&self) -> String {
        format!("broker://127.0.0.1:{}", self.port)
    }

    /// A ticket for the daemon.
    ///
    /// # Panics
    ///
    /// If it is over a limit.
    pub fn sign(&self, ticket: &Ticket) -> Vec<u8> {
        self.key.sign(ticket).expect("within the limits")
    }

    fn keys(&self) -> PathBuf {
        self.folder.path().join("keys")
    }
}

/// A ticket for a minute from now, of this pod with this much memory.
///
/// # Panics
///
/// If the clock is before 1970.
pub fn ticket(pod: &str, memory_bytes: Option<u64>) -> Ticket {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let issued_s = now.expect("after 1970").as_secs();
    Ticket {
        id: [5; 16],
        backend: BACKEND_ID.into(),
        scope: Scope::Session,
        issued_s,
        expires_s: issued_s + 60,
        account: Account {
            namespace: "default".into(),
            pod: pod.into(),
            pod_uid: format!("uid-of-{pod}"),
            container: String::new(),
        },
        quota: Quota {
            memory_bytes,
            ..Quota::default()
        },
    }
}

/// The client's token is the name of its pod and, after a colon, its memory in MiB.
fn serve(mut stream: TcpStream, key: &SigningKey, plan: Plan) -> Option<()> {
    let mut preamble = [0; PREAMBLE_BYTES];
    stream.read_exact(&mut preamble).ok()?;
    let mut body = vec![0; read_client_preamble(&preamble).ok()?.length];
    stream.read_exact(&mut body).ok()?;
    let hello = Hello::decode(&body).ok()?;
    let token = String::from_utf8(hello.credentials).ok()?;
    let answer = match token.split_once(':') {
        _ if hello.purpose != Purpose::Ticket => Answer::Refusal("not for this".into()),
        _ if plan.endpoint.is_empty() => Answer::Wait("no daemon yet".into()),
        None => Answer::Refusal("no such pod".into()),
        Some((pod, memory_mib)) => {
            let memory_mib = memory_mib.parse::<u64>().ok();
            let mut ticket = ticket(pod, memory_mib.map(|mib| mib << 20));
            ticket.quota.devices = plan.devices;
            Answer::Grant(Grant {
                endpoint: plan.endpoint,
                ticket: key.sign(&ticket).ok()?,
            })
        }
    };
    stream.write_all(&answer.encode()).ok()
}
