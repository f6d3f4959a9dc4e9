// SPDX-License-Identifier: Apache-2.0
//! What a daemon tells of its sessions, and `gvirtus top`.

use std::time::{Duration, Instant};

use gvirtus_protocol::handshake::Hello;
use gvirtus_protocol::status::{Counters, DeviceMemory, Picture, QUESTION, SessionStatus};
use gvirtus_tests::peer::{Peer, hello, status_hello};
use gvirtus_tests::{Daemon, Finished, LIMIT, Session, Way, prepare, product, run};
use serde_json::Value;

const SESSIONS_AT_ONCE: u64 = 16;
/// More than a daemon lets watch at once.
const WATCHERS: usize = 80;
const MEBIBYTE: u64 = 1 << 20;

/// A connection that watches `daemon`, once there is a place for it.
fn watcher(daemon: &Daemon) -> Peer {
    let start = Instant::now();
    loop {
        let mut peer = Peer::unix(daemon).expect("it listens");
        peer.send(&status_hello().encode()).expect("open");
        match peer.answer() {
            Ok(welcome) => {
                assert_eq!(welcome.session_id, 0);
                assert_eq!(welcome.snapshot.devices.len(), 1);
                return peer;
            }
            Err(error) => assert!(start.elapsed() < LIMIT, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Asks until `found` finds something; workers report once a second.
fn eventually<T>(daemon: &Daemon, what: &str, found: impl Fn(&Picture) -> Option<T>) -> T {
    let mut peer = watcher(daemon);
    let start = Instant::now();
    loop {
        let picture = peer.picture().expect("answered");
        if let Some(found) = found(&picture) {
            return found;
        }
        assert!(start.elapsed() < LIMIT, "{what}: {picture:#?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn of<'a>(picture: &'a Picture, session: &Session) -> Option<&'a SessionStatus> {
    picture.sessions.iter().find(|s| s.pid == session.pid())
}

/// The counters of a session once it has launched so many kernels and answered everything.
fn counters(daemon: &Daemon, session: &Session, launches: u64) -> Counters {
    let start_us = watcher(daemon).picture().expect("answered").now_us;
    // What has changed until now is reported within an interval.
    let settled = |picture: &Picture| {
        let status = of(picture, session)?;
        let is_settled = picture.now_us - start_us > 1_500_000;
        let is_done = status.counters.launches == launches;
        (is_settled && is_done).then(|| status.counters.clone())
    };
    eventually(daemon, "the counters of a session", settled)
}

fn top(endpoint: &str, arguments: &[&str]) -> Finished {
    let mut command = prepare(&product().gvirtus);
    command.args(["top", "--endpoint", endpoint, "--interval-s", "0.2"]);
    run(command.args(arguments))
}

#[test]
fn counters_are_exact() {
    let daemon = Daemon::start();
    let mut session = Session::start(Way::Remoted(&daemon.unix()));
    session.need("launch 1000");
    assert_eq!(session.need("count"), [1000]);
    let before = counters(&daemon, &session, 1000);
    let memory = |bytes, peak_bytes| {
        vec![DeviceMemory {
            device: 0,
            bytes,
            peak_bytes,
        }]
    };
    // The program's counter and the word beside it.
    assert_eq!(before.memory, memory(8, 8));

    session.need("launch 234");
    for _ in 0..10 {
        session.need("count");
    }
    session.need(&format!("allocate {MEBIBYTE}"));
    let after = counters(&daemon, &session, 1234);
    assert_eq!(after.memory, memory(MEBIBYTE + 8, MEBIBYTE + 8));
    // Each count is a copy to the host, and memory has an address that only the device knows.
    assert_eq!(after.round_trips - before.round_trips, 11);
    assert_eq!(after.commands - before.commands, 234 + 11);

    session.need(&format!("to_device 3 {MEBIBYTE}"));
    session.need(&format!("to_host 2 {MEBIBYTE}"));
    let copied = counters(&daemon, &session, 1234);
    let received = copied.received_bytes - after.received_bytes;
    let sent = copied.sent_bytes - after.sent_bytes;
    for (bytes, copies) in [(received, 3), (sent, 2)] {
        let data = copies * MEBIBYTE;
        assert!(
            (data..data + 1000).contains(&bytes),
            "{bytes} of {data} bytes"
        );
    }
}

#[test]
fn the_log_tells_at_the_end_what_a_session_has_done() {
    let daemon = Daemon::start();
    let file = tempfile::NamedTempFile::new().expect("the temporary folder is writable");
    let endpoint = daemon.tcp();
    let mut session = Session::with_statistics(Way::Remoted(&endpoint), Some(file.path()));
    session.need("launch 77");
    session.need("count");
    assert_eq!(session.end().code(), Some(0));
    let text = std::fs::read_to_string(file.path()).expect("written at the end");
    let counted: Value = serde_json::from_str(&text).expect("it is JSON");
    let start = Instant::now();
    let line = loop {
        let log = daemon.log();
        if let Some(line) = log.lines().find(|line| line.contains("session ends")) {
            break line.to_owned();
        }
        assert!(start.elapsed() < LIMIT, "{log}");
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(line.contains(" launches=77 "), "{line}");
    let number = |name: &str| {
        let (_, rest) = line.split_once(name)?;
        rest.split_whitespace().next()?.parse::<u64>().ok()
    };
    let sent = counted["sent_bytes"].as_u64().expect("counted");
    let received = number(" received_bytes=").expect("logged");
    // Without the hello, and what a client says when it goes may not be heard any more.
    assert!(received < sent && sent < received + 1000, "{line}\n{text}");
    assert!(
        number(" sent_bytes=").is_some_and(|sent| sent > 0),
        "{line}"
    );
}

#[test]
fn a_session_is_seen_from_its_beginning_to_its_end() {
    let daemon = Daemon::start();
    let mut session = Session::start(Way::Remoted(&daemon.tcp()));
    session.need("launch 3");
    let status = eventually(&daemon, "the session", |p| of(p, &session).cloned());
    assert_eq!(status.program, "obey");
    assert!(status.peer.starts_with("127.0.0.1:"), "{}", status.peer);
    assert_eq!(Some(status.worker_pid), daemon.worker_of(session.pid()));
    assert_eq!(session.end().code(), Some(0));
    eventually(&daemon, "no session", |p| {
        p.sessions.is_empty().then_some(())
    });
}

#[test]
fn sixteen_sessions_at_once_are_told_apart() {
    let daemon = Daemon::start();
    let sessions: Vec<_> = (0..SESSIONS_AT_ONCE)
        .map(|number| {
            let endpoint = if number % 2 == 0 {
                daemon.unix()
            } else {
                daemon.tcp()
            };
            let mut session = Session::start(Way::Remoted(&endpoint));
            session.tell(&format!("launch {}", 100 + number));
            session
        })
        .collect();
    for session in &sessions {
        let answer = session.answer("launch", gvirtus_tests::PROGRAM_LIMIT);
        assert!(answer.expect("it does not hang").is_success());
    }
    eventually(&daemon, "all launches", |picture| {
        let mut expected = (100..).zip(&sessions);
        let all = expected.all(|(launches, session)| {
            of(picture, session).is_some_and(|status| status.counters.launches == launches)
        });
        (all && picture.session_count == SESSIONS_AT_ONCE).then_some(())
    });
}

#[test]
fn hostile_watchers_harm_nobody() {
    let mut daemon = Daemon::start();
    let mut session = Session::start(Way::Remoted(&daemon.unix()));
    session.need("launch 1");
    // They ask and ask and never read; and one speaks another language.
    let mut greedy: Vec<Peer> = (0..WATCHERS)
        .filter_map(|_| {
            let mut peer = Peer::unix(&daemon).expect("it listens");
            let questions = QUESTION.repeat(1000);
            let hello = status_hello().encode();
            peer.send(&[hello, questions].concat()).ok()?;
            Some(peer)
        })
        .collect();
    let mut strange = Peer::tcp(&daemon).expect("it listens");
    strange
        .send(&[status_hello().encode(), vec![0xff; 1000]].concat())
        .expect("open");
    assert!(strange.read_to_end().is_some(), "it is not let go");
    session.need("launch 41");
    assert_eq!(session.need("count"), [42]);
    // The last ones found no place.
    let refusal = greedy.last_mut().map(|peer| peer.answer());
    let refusal = refusal.expect("there are some").expect_err("refused");
    assert!(refusal.to_string().contains("too many"), "{refusal}");
    drop(greedy);
    let launches = |picture: &Picture| Some(of(picture, &session)?.counters.launches);
    eventually(&daemon, "42 launches", |picture| {
        (launches(picture) == Some(42)).then_some(())
    });
    assert!(daemon.is_running());
}

#[test]
fn top_prints_json_for_scripts() {
    let daemon = Daemon::start();
    let mut session = Session::start(Way::Remoted(&daemon.unix()));
    session.need("launch 500");
    session.need("count");
    counters(&daemon, &session, 500);
    let printed = top(&daemon.unix(), &["--once", "--json"]).successful();
    assert_eq!(printed.stderr, "");
    let value: Value = serde_json::from_str(&printed.stdout).expect("it is JSON");
    let backend = &value["backends"][0];
    assert_eq!(backend["endpoint"], daemon.unix());
    assert_eq!(backend["problem"], Value::Null);
    assert!(backend["devices"][0]["name"].is_string());
    let shown = &backend["sessions"][0];
    assert_eq!(shown["program"], "obey");
    assert_eq!(shown["pid"], session.pid());
    assert_eq!(shown["launches"], 500);
    assert_eq!(shown["memory"][0]["bytes"], 8);
    assert_eq!(shown["rates"]["launches_per_s"], 0.0);
    // As the device itself says, through NVML.
    let device = &backend["devices"][0];
    let used = device["memory_used_bytes"].as_u64().expect("it has NVML");
    assert!((8..device["total_memory_bytes"].as_u64().unwrap_or(0)).contains(&used));
    let percent = device["utilisation_percent"].as_u64().expect("it has NVML");
    assert!(percent <= 100);
}

#[test]
fn top_prints_a_table_into_a_pipe() {
    let daemon = Daemon::start();
    let mut session = Session::start(Way::Remoted(&daemon.unix()));
    session.need("launch 5");
    let mut stranger = Peer::tcp(&daemon).expect("it listens");
    let mut hostile: Hello = hello();
    hostile.client.program = "\x1b[2J\u{9b}2Jinnocent\n".into();
    stranger.send(&hostile.encode()).expect("open");
    stranger.answer().expect("welcome");
    eventually(&daemon, "two sessions", |p| {
        (p.session_count == 2).then_some(())
    });
    for arguments in [&[][..], &["--once"]] {
        let printed = top(&daemon.tcp(), arguments).successful().stdout;
        assert!(printed.starts_with("DEVICE  NAME"), "{printed}");
        assert!(printed.contains("SESSION  PROGRAM"), "{printed}");
        assert!(
            printed.contains("obey") && printed.contains("innocent"),
            "{printed}"
        );
        assert!(
            !printed.contains(|c: char| c.is_control() && c != '\n'),
            "{printed:?}"
        );
    }
}

#[test]
fn top_tells_which_backend_does_not_answer() {
    let daemon = Daemon::start();
    let folder = tempfile::tempdir().expect("the temporary folder is writable");
    let nobody = format!("unix://{}", folder.path().join("nobody").display());
    let both = format!("{},{nobody}", daemon.unix());
    let printed = top(&both, &["--json"]);
    assert_eq!(printed.status.code(), Some(1));
    assert!(printed.stderr.contains(&nobody), "{}", printed.stderr);
    let value: Value = serde_json::from_str(&printed.stdout).expect("it is JSON");
    assert_eq!(value["backends"][0]["problem"], Value::Null);
    assert!(value["backends"][1]["problem"].is_string());
    let printed = top(&both, &[]);
    assert!(printed.stdout.contains("BACKEND"), "{}", printed.stdout);
    let mut unnamed = prepare(&product().gvirtus);
    let printed = run(unnamed.arg("top"));
    assert!(
        printed.stderr.contains("which backend?"),
        "{}",
        printed.stderr
    );
}
