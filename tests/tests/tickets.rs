// SPDX-License-Identifier: Apache-2.0
//! Brokers, tickets and quotas.

use std::time::{Duration, Instant};

use gvirtus_protocol::handshake::{Hello, Purpose};
use gvirtus_tests::broker::{Broker, ticket};
use gvirtus_tests::peer::{Peer, hello};
use gvirtus_tests::processes::kill;
use gvirtus_tests::{Daemon, LIMIT, Session, Way, product, run};
use gvirtus_ticket::{Quota, Scope, Ticket};

const MEBIBYTE: u64 = 1 << 20;
const TOO_MUCH: &str = "cudaErrorMemoryAllocation";

/// A program of this pod, which may have so many MiB.
fn session(broker: &Broker, pod: &str, memory_mib: u64) -> Session {
    let token = format!("{pod}:{memory_mib}");
    Session::start_in(
        Way::Remoted(&broker.endpoint()),
        &[("GVIRTUS_TOKEN", &token)],
    )
}

fn allocate(session: &mut Session, mib: u64) -> String {
    session.ask(&format!("allocate {}", mib * MEBIBYTE)).status
}

#[test]
fn the_processes_of_a_pod_share_its_quota() {
    let broker = Broker::start();
    let _daemon = broker.daemon();
    let mut first = session(&broker, "train", 64);
    let mut fork = session(&broker, "train", 64);
    let mut neighbour = session(&broker, "other", 64);
    assert_eq!(first.need("memory"), [64 * MEBIBYTE, 64 * MEBIBYTE]);
    assert_eq!(allocate(&mut first, 48), "cudaSuccess");
    assert_eq!(allocate(&mut first, 17), TOO_MUCH);
    assert_eq!(allocate(&mut fork, 17), TOO_MUCH);
    assert_eq!(fork.need("memory"), [16 * MEBIBYTE, 64 * MEBIBYTE]);
    assert_eq!(allocate(&mut fork, 16), "cudaSuccess");
    assert_eq!(allocate(&mut neighbour, 64), "cudaSuccess");
    assert_eq!(allocate(&mut neighbour, 1), TOO_MUCH);
    // What a process held comes back however it ends.
    kill(first.pid());
    let start = Instant::now();
    while allocate(&mut fork, 40) != "cudaSuccess" {
        assert!(start.elapsed() < LIMIT, "the memory of a killed process");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(allocate(&mut fork, 9), TOO_MUCH);
}

#[test]
fn a_daemon_never_promises_more_than_it_has() {
    let broker = Broker::start();
    let daemon = broker.daemon();
    let total_bytes = Session::start_in(
        Way::Remoted(&broker.endpoint()),
        &[("GVIRTUS_TOKEN", "all:")],
    )
    .need("memory")[1];
    let half_mib = total_bytes / 2 / MEBIBYTE;
    let mut first = session(&broker, "first", half_mib);
    let mut second = session(&broker, "second", half_mib);
    first.need("memory");
    second.need("memory");
    let mut third = Peer::unix(&daemon).expect("it listens");
    let shown = broker.sign(&ticket("third", Some(MEBIBYTE)));
    third.send(&with(Purpose::Cuda, shown)).expect("open");
    let refused = third.answer().expect_err("no room").to_string();
    assert!(
        refused.contains("1 MiB are asked for, 0 MiB are left"),
        "{refused}"
    );
}

fn with(purpose: Purpose, credentials: Vec<u8>) -> Vec<u8> {
    let hello = Hello {
        purpose,
        credentials,
        ..hello()
    };
    hello.encode()
}

#[test]
fn only_the_right_ticket_opens_a_session() {
    let broker = Broker::start();
    let daemon = broker.daemon();
    let stranger = gvirtus_ticket::SigningKey::from_seed(&[8; 32]);
    let right = ticket("train", None);
    let quota = |quota| Ticket {
        quota,
        ..right.clone()
    };
    let old = Ticket {
        issued_s: right.issued_s - 1000,
        expires_s: right.issued_s - 900,
        ..right.clone()
    };
    let other = Ticket {
        backend: "another".into(),
        ..right.clone()
    };
    let observer = Ticket {
        scope: Scope::Observer,
        ..right.clone()
    };
    let absent = quota(Quota {
        devices: vec![[0; 16]],
        ..Quota::default()
    });
    for (purpose, shown, reason) in [
        (Purpose::Cuda, Vec::new(), "none is shown"),
        (Purpose::Management, b"secret".to_vec(), "no ticket"),
        (
            Purpose::Cuda,
            stranger.sign(&right).expect("short"),
            "not signed",
        ),
        (Purpose::Cuda, broker.sign(&old), "expired 900 s ago"),
        (Purpose::Cuda, broker.sign(&other), "for another backend"),
        (
            Purpose::Cuda,
            broker.sign(&observer),
            "not for this purpose",
        ),
        (Purpose::Status, broker.sign(&right), "not for this purpose"),
        (Purpose::Cuda, broker.sign(&absent), "does not have"),
    ] {
        let mut peer = Peer::unix(&daemon).expect("it listens");
        peer.send(&with(purpose, shown)).expect("open");
        let refused = peer.answer().expect_err(reason).to_string();
        assert!(refused.contains(reason), "{reason}: {refused}");
    }
    for (purpose, shown) in [
        (Purpose::Cuda, &right),
        (Purpose::Management, &right),
        (Purpose::Status, &observer),
    ] {
        let mut peer = Peer::unix(&daemon).expect("it listens");
        peer.send(&with(purpose, broker.sign(shown))).expect("open");
        peer.answer().expect("welcome");
    }
}

#[test]
fn a_session_tells_whose_it_is() {
    let broker = Broker::start();
    let daemon = broker.daemon();
    let mut running = session(&broker, "train", 32);
    running.need("memory");
    let observer = Ticket {
        scope: Scope::Observer,
        ..ticket("", None)
    };
    let mut peer = Peer::unix(&daemon).expect("it listens");
    peer.send(&with(Purpose::Status, broker.sign(&observer)))
        .expect("open");
    peer.answer().expect("welcome");
    let picture = peer.picture().expect("answered");
    let grantee = picture.sessions[0].grantee.as_ref().expect("a ticket");
    assert_eq!(grantee.account, ticket("train", None).account);
    assert_eq!(grantee.quota.memory_bytes, Some(32 * MEBIBYTE));
}

#[test]
fn the_status_is_told_without_a_ticket_where_it_is_offered() {
    let folder = tempfile::tempdir().expect("the temporary folder is writable");
    let socket = folder.path().join("status");
    let broker = Broker::start();
    let status = format!("unix://{}", socket.display());
    let _daemon = broker.daemon_in(&[], &["--status-listen", &status]);
    let connect = || Peer::unix_at(&socket).expect("it listens");
    let mut watcher = connect();
    watcher
        .send(&with(Purpose::Status, Vec::new()))
        .expect("open");
    let welcome = watcher.answer().expect("welcome");
    assert_eq!(welcome.snapshot.devices.len(), 1);
    assert_eq!(watcher.picture().expect("answered").session_count, 0);
    for purpose in [Purpose::Cuda, Purpose::Management] {
        let mut client = connect();
        let shown = broker.sign(&ticket("train", None));
        client.send(&with(purpose, shown)).expect("open");
        let refused = client.answer().expect_err("only the status").to_string();
        assert!(refused.contains("only the status"), "{refused}");
    }
}

#[test]
fn a_program_waits_for_a_backend() {
    let broker = Broker::start();
    let mut waiting = session(&broker, "train", 32);
    waiting.tell("launch 3");
    assert_eq!(waiting.answer("launch 3", Duration::from_millis(500)), None);
    let _daemon = broker.daemon();
    let answer = waiting.answer("launch 3", LIMIT).expect("a backend");
    assert!(answer.is_success(), "{}", answer.status);
    assert_eq!(waiting.need("count"), [3]);
}

#[test]
fn a_refused_program_says_why() {
    let broker = Broker::start();
    let daemon = broker.daemon();
    let example = product().example("vector_add");
    let refused = |endpoint: &str| {
        let mut command = Way::Remoted(endpoint).command(&example);
        let finished = run(command.env("GVIRTUS_TOKEN", "forged"));
        assert!(!finished.status.success());
        finished.stderr
    };
    let stderr = refused(&broker.endpoint());
    assert!(stderr.contains("refused: no such pod"), "{stderr}");
    let stderr = refused(&daemon.tcp());
    assert!(stderr.contains("no ticket of a broker"), "{stderr}");
    let stderr = refused(&Daemon::start().tcp().replace("tcp", "broker"));
    assert!(stderr.contains("not a broker"), "{stderr}");
}
