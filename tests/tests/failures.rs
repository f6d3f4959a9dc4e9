// SPDX-License-Identifier: Apache-2.0
//! What happens when a client, a worker or the daemon is killed, and when the daemon is to end.

use std::time::{Duration, Instant};

use gvirtus_tests::processes::{self, Number};
use gvirtus_tests::{Answer, Daemon, LIMIT, Session, Way, product, run, within_a_second};
use rustix::process::Signal;

const MEBIBYTE: u64 = 1 << 20;

/// Starts a session that has used the device, and finds its worker.
fn session(daemon: &Daemon, endpoint: &str) -> (Session, Number) {
    let mut session = Session::start(Way::Remoted(endpoint));
    session.need("launch 3");
    assert_eq!(session.need("count"), [3]);
    let worker = daemon.worker_of(session.pid());
    let worker = worker.unwrap_or_else(|| panic!("no worker is logged:\n{}", daemon.log()));
    assert!(daemon.workers().contains(&worker));
    (session, worker)
}

/// Free bytes of the device.
fn free_memory(session: &mut Session) -> u64 {
    session.need("memory")[0]
}

/// The next answer to `command`, which must be a failure, in time.
fn failure(session: &mut Session, command: &str, since: Instant) -> Answer {
    session.tell(command);
    let answer = session.answer(command, LIMIT);
    let elapsed = since.elapsed().as_millis();
    let answer = answer.unwrap_or_else(|| panic!("{command} hangs"));
    eprintln!("{command}: {} after {elapsed} ms", answer.status);
    answer
}

fn assert_unavailable(answer: &Answer) {
    assert_eq!(answer.status, "cudaErrorDevicesUnavailable");
}

fn worker_ends_with_its_client(prepare: impl Fn(&mut Session)) {
    let daemon = Daemon::start();
    for endpoint in [daemon.unix(), daemon.tcp()] {
        let (mut witness, other) = session(&daemon, &endpoint);
        let before = free_memory(&mut witness);
        let (mut victim, worker) = session(&daemon, &endpoint);
        victim.need(&format!("allocate {}", 64 * MEBIBYTE));
        prepare(&mut victim);
        let killed = processes::kill(victim.pid());
        within_a_second(killed, "the worker of a killed client is gone", || {
            processes::is_gone(worker)
        });
        within_a_second(killed, "its memory is back", || {
            free_memory(&mut witness) >= before
        });
        assert!(processes::is_alive(other));
        witness.need("launch 1");
        assert_eq!(witness.need("count"), [4]);
    }
}

#[test]
fn the_worker_of_a_killed_client_ends() {
    worker_ends_with_its_client(|_| {});
}

#[test]
fn the_worker_of_a_client_that_is_killed_during_a_kernel_ends() {
    worker_ends_with_its_client(|session| {
        session.need("spin");
    });
}

#[test]
fn the_worker_of_a_client_that_is_killed_while_it_waits_ends() {
    worker_ends_with_its_client(|session| {
        session.need("spin");
        session.tell("synchronize");
        let answer = session.answer("synchronize", Duration::from_millis(200));
        assert_eq!(answer, None, "the kernel does not end");
    });
}

#[test]
fn the_worker_of_a_client_that_is_killed_during_a_copy_ends() {
    worker_ends_with_its_client(|session| {
        // Some seconds of work, of which a part is under way.
        session.tell(&format!("to_device 1000 {}", 64 * MEBIBYTE));
        std::thread::sleep(Duration::from_millis(100));
    });
}

#[test]
fn the_worker_of_a_killed_client_does_not_wait_for_the_clients_children() {
    for executes in [1, 0] {
        worker_ends_with_its_client(|session| {
            session.need(&format!("leave_child {executes}"));
        });
    }
}

#[test]
fn the_worker_of_a_client_that_leaves_without_a_word_ends() {
    let daemon = Daemon::start();
    let (mut client, worker) = session(&daemon, &daemon.unix());
    client.tell("abandon 5");
    let start = Instant::now();
    within_a_second(start, "the worker of an ended client is gone", || {
        processes::is_gone(worker)
    });
    assert_eq!(client.end().code(), Some(5));
}

#[test]
fn a_killed_worker_is_told_to_its_client_and_to_nobody_else() {
    let daemon = Daemon::start();
    for endpoint in [daemon.unix(), daemon.tcp()] {
        let (mut witness, _) = session(&daemon, &endpoint);
        let (mut victim, worker) = session(&daemon, &endpoint);
        let killed = processes::kill(worker);
        assert_unavailable(&failure(&mut victim, "synchronize", killed));
        // It stays that way, whatever is called.
        for command in [
            "count",
            "launch 1",
            "allocate 100",
            "to_device 1 100000",
            "memory",
        ] {
            let answer = failure(&mut victim, command, Instant::now());
            assert!(!answer.is_success(), "{command} succeeds without a worker");
        }
        assert_eq!(victim.end().code(), Some(0), "the program goes on");
        witness.need("launch 1");
        assert_eq!(witness.need("count"), [4]);
        let (mut next, _) = session(&daemon, &endpoint);
        next.need("synchronize");
    }
}

#[test]
fn a_client_that_waits_for_a_killed_worker_is_told() {
    let daemon = Daemon::start();
    for endpoint in [daemon.unix(), daemon.tcp()] {
        let (mut victim, worker) = session(&daemon, &endpoint);
        victim.need("spin");
        victim.tell("synchronize");
        let answer = victim.answer("synchronize", Duration::from_millis(200));
        assert_eq!(answer, None, "the kernel does not end");
        let killed = processes::kill(worker);
        let answer = victim.answer("synchronize", LIMIT);
        eprintln!("told after {} ms", killed.elapsed().as_millis());
        assert_unavailable(&answer.expect("a lost connection ends a wait"));
    }
}

#[test]
fn a_client_that_sends_to_a_killed_worker_is_told() {
    let daemon = Daemon::start();
    for endpoint in [daemon.unix(), daemon.tcp()] {
        let (mut victim, worker) = session(&daemon, &endpoint);
        let many = format!("to_device 100000 {}", 4 * MEBIBYTE);
        victim.tell(&many);
        std::thread::sleep(Duration::from_millis(200));
        let killed = processes::kill(worker);
        let answer = victim.answer(&many, LIMIT);
        eprintln!("told after {} ms", killed.elapsed().as_millis());
        assert_unavailable(&answer.expect("a lost connection ends a copy"));
    }
}

#[test]
fn a_killed_daemon_takes_its_workers_along_and_clients_are_told() {
    let mut daemon = Daemon::start();
    let (unix, tcp) = (daemon.unix(), daemon.tcp());
    let (mut first, _) = session(&daemon, &unix);
    let (mut second, _) = session(&daemon, &tcp);
    second.need("spin");
    let workers = daemon.workers();
    assert!(workers.len() >= 2);
    let killed = processes::kill(daemon.pid());
    within_a_second(killed, "the workers of a killed daemon are gone", || {
        workers.iter().all(|pid| !processes::is_alive(*pid))
    });
    assert_unavailable(&failure(&mut first, "count", killed));
    assert_unavailable(&failure(&mut second, "synchronize", killed));
    daemon.wait(LIMIT);
    // And who comes too late is told as well.
    for endpoint in [&unix, &tcp] {
        let mut late = Session::start(Way::Remoted(endpoint));
        let answer = failure(&mut late, "launch 1", Instant::now());
        assert!(!answer.is_success());
    }
}

#[test]
fn a_daemon_that_is_asked_to_end_lets_sessions_finish_and_takes_no_more() {
    let mut daemon = Daemon::start();
    let (unix, tcp) = (daemon.unix(), daemon.tcp());
    let (mut client, worker) = session(&daemon, &tcp);
    daemon.signal(Signal::TERM);
    let asked = Instant::now();
    within_a_second(asked, "a new session is refused", || {
        let finished = run(Way::Remoted(&unix)
            .command(&product().example("vector_add"))
            .arg("1"));
        !finished.status.success()
    });
    assert!(daemon.is_running(), "it waits for the session");
    assert!(processes::is_alive(worker));
    client.need("launch 10");
    client.need(&format!("to_device 2 {MEBIBYTE}"));
    assert_eq!(client.need("count"), [13]);
    assert_eq!(client.end().code(), Some(0));
    assert_eq!(daemon.wait(LIMIT).code(), Some(0));
    assert!(daemon.files().is_empty(), "left: {:?}", daemon.files());
}

#[test]
fn an_idle_daemon_ends_at_once_when_asked() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut daemon = Daemon::start();
        daemon.signal(signal);
        assert_eq!(daemon.wait(LIMIT).code(), Some(0));
        assert!(daemon.files().is_empty(), "left: {:?}", daemon.files());
    }
}
