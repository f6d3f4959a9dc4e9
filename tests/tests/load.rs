// SPDX-License-Identifier: Apache-2.0
//! Many clients, good ones and hostile ones.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use gvirtus_protocol::handshake::{Hello, PROTOCOL_VERSION};
use gvirtus_protocol::opcode::{self, Opcode};
use gvirtus_tests::peer::{HEADER_BYTES, Peer, command, hello};
use gvirtus_tests::{Daemon, Session, Way, processes, product, run, within_a_second};

const CLIENTS_IN_A_ROW: usize = 100;
const CLIENTS_AT_ONCE: usize = 16;
const HOSTILE_CONNECTIONS: u32 = 10_000;
/// How many of them are open at the same time.
const HOSTILE_THREADS: usize = 16;
/// Every so many connections one is let in and then misbehaves: each of these costs a worker.
const ADMITTED_EVERY: u32 = 32;
/// What the daemon may grow by under attack.
const GROWTH_BYTES_MAX: u64 = 64 << 20;

/// What a daemon holds on to.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    workers: usize,
    open_files: usize,
    files: Vec<String>,
}

fn held(daemon: &Daemon) -> Held {
    Held {
        workers: processes::children(daemon.pid()).len(),
        open_files: processes::open_files(daemon.pid()),
        files: daemon.files(),
    }
}

fn small_program(endpoint: &str) {
    run(Way::Remoted(endpoint)
        .command(&product().example("vector_add"))
        .arg("1000"))
    .successful();
}

#[test]
fn a_hundred_clients_in_a_row_leave_nothing_behind() {
    let daemon = Daemon::start();
    small_program(&daemon.unix());
    small_program(&daemon.tcp());
    std::thread::sleep(Duration::from_millis(200));
    let before = held(&daemon);
    let start = Instant::now();
    for client in 0..CLIENTS_IN_A_ROW {
        let endpoint = if client % 2 == 0 {
            daemon.unix()
        } else {
            daemon.tcp()
        };
        small_program(&endpoint);
    }
    eprintln!(
        "{} ms a client",
        start.elapsed().as_millis() / CLIENTS_IN_A_ROW as u128
    );
    within_a_second(
        Instant::now(),
        "nothing is left of a hundred clients",
        || held(&daemon) == before,
    );
}

#[test]
fn sixteen_clients_at_once_get_right_results_and_leave_nothing_behind() {
    let daemon = Daemon::start();
    small_program(&daemon.unix());
    small_program(&daemon.tcp());
    std::thread::sleep(Duration::from_millis(200));
    let before = held(&daemon);
    let sessions: Vec<_> = (0..CLIENTS_AT_ONCE)
        .map(|client| {
            let endpoint = if client % 2 == 0 {
                daemon.unix()
            } else {
                daemon.tcp()
            };
            let mut session = Session::start(Way::Remoted(&endpoint));
            session.tell(&format!("launch {}", 100 + client));
            session
        })
        .collect();
    let mut sessions = sessions;
    for session in &sessions {
        let answer = session.answer("launch", gvirtus_tests::PROGRAM_LIMIT);
        assert!(answer.expect("it does not hang").is_success());
    }
    let workers = daemon.workers();
    assert!(
        workers.len() >= CLIENTS_AT_ONCE,
        "a worker each: {workers:?}"
    );
    for (client, session) in sessions.iter_mut().enumerate() {
        assert_eq!(session.need("count"), [100 + client as u64]);
    }
    for session in sessions {
        assert_eq!(session.end().code(), Some(0));
    }
    within_a_second(Instant::now(), "nothing is left of sixteen clients", || {
        held(&daemon) == before
    });
}

#[test]
fn hostile_clients_harm_nobody() {
    let mut daemon = Daemon::start();
    small_program(&daemon.unix());
    let before = held(&daemon);
    let resident_bytes = processes::resident_bytes(daemon.pid());
    let (next, over) = (AtomicU32::new(0), AtomicBool::new(false));
    // They never say another word; the daemon must not wait for them with anything.
    let silent: Vec<_> = (0..64)
        .map(|index| {
            let mut peer = Peer::tcp(&daemon).expect("it listens");
            let hello = hello().encode();
            peer.send(&hello[..index % hello.len()]).expect("open");
            peer
        })
        .collect();
    let rounds = std::thread::scope(|scope| {
        let good = scope.spawn(|| work_correctly(&daemon, &over));
        let attackers: Vec<_> = (0..HOSTILE_THREADS)
            .map(|_| scope.spawn(|| attack_until_done(&daemon, &next)))
            .collect();
        for attacker in attackers {
            attacker.join().expect("the daemon reacts to every attack");
        }
        over.store(true, Ordering::Relaxed);
        good.join().expect("the good client is not disturbed")
    });
    eprintln!("the good client worked {rounds} times meanwhile");
    assert!(rounds > 0);
    drop(silent);
    assert!(daemon.is_running(), "{}", daemon.log());
    let growth = processes::resident_bytes(daemon.pid()).saturating_sub(resident_bytes);
    eprintln!("the daemon grew by {} KiB", growth >> 10);
    assert!(growth < GROWTH_BYTES_MAX, "{growth} bytes more");
    within_a_second(Instant::now(), "nothing is left of hostile clients", || {
        let now = held(&daemon);
        now.workers <= before.workers && now.open_files <= before.open_files
    });
    small_program(&daemon.unix());
    small_program(&daemon.tcp());
}

/// A session that is there all the time, and new ones now and then.
fn work_correctly(daemon: &Daemon, over: &AtomicBool) -> u64 {
    let mut session = Session::start(Way::Remoted(&daemon.unix()));
    let mut rounds = 0;
    while !over.load(Ordering::Relaxed) {
        session.need("launch 50");
        session.need("to_device 1 100000");
        session.need("to_host 1 100000");
        rounds += 1;
        assert_eq!(session.need("count"), [50 * rounds]);
        if rounds % 16 == 0 {
            small_program(&daemon.tcp());
        }
    }
    assert_eq!(session.end().code(), Some(0));
    rounds
}

fn attack_until_done(daemon: &Daemon, next: &AtomicU32) {
    loop {
        let index = next.fetch_add(1, Ordering::Relaxed);
        if index >= HOSTILE_CONNECTIONS {
            return;
        }
        let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ u64::from(index));
        let peer = if index.is_multiple_of(2) {
            Peer::tcp(daemon)
        } else {
            Peer::unix(daemon)
        };
        let mut peer = peer.expect("the daemon accepts");
        if index.is_multiple_of(ADMITTED_EVERY) {
            misbehave(&mut peer, index / ADMITTED_EVERY, &mut random);
        } else {
            // That the daemon closes early is its right.
            let _ = stay_outside(&mut peer, index, &mut random);
        }
    }
}

/// Does not get past the handshake.
fn stay_outside(peer: &mut Peer, index: u32, random: &mut Random) -> io::Result<()> {
    let valid = hello().encode();
    match index % 11 {
        0 => {}
        1 => peer.send(&random.bytes(200))?,
        2 => peer.send(b"GET / HTTP/1.1\r\nHost: gpu\r\n\r\n")?,
        3 => peer.send(&valid[..random.below(valid.len())])?,
        4 => {
            let mut newer = valid;
            newer[8..12].copy_from_slice(
                &(PROTOCOL_VERSION + 1 + random.word() as u32 % 1000).to_le_bytes(),
            );
            peer.send(&newer)?;
            peer.end();
            let refusal = peer.answer().expect_err("another version").to_string();
            assert!(refusal.contains("version"), "{refusal}");
        }
        5 => {
            let other = Hello {
                table_hash: random.word(),
                ..hello()
            };
            peer.send(&other.encode())?;
            let refusal = peer.answer().expect_err("another table").to_string();
            assert!(refusal.contains("install the same"), "{refusal}");
        }
        6 => {
            let mut endless = valid;
            let length = if random.word().is_multiple_of(2) {
                u64::MAX
            } else {
                1 << 40
            };
            endless[16..24].copy_from_slice(&length.to_le_bytes());
            peer.send(&endless)?;
            peer.send(&random.bytes(2000))?;
        }
        7 => {
            // A welcome where a hello is due.
            let mut wrong = valid;
            wrong[12] = 1;
            peer.send(&wrong)?;
        }
        8 => {
            // Strings that claim to be longer than the message.
            let mut wrong = valid;
            let at = 24 + random.below(wrong.len() - 24);
            wrong[at..].fill(0xff);
            peer.send(&wrong)?;
        }
        9 => {
            let mut hello = hello();
            hello.client.program = "x".repeat(60_000);
            peer.send(&hello.encode())?;
        }
        _ => {
            let mut wrong = valid;
            let at = random.below(24);
            wrong[at] ^= 1 << random.below(8);
            peer.send(&wrong)?;
        }
    }
    peer.end();
    assert!(peer.read_to_end().is_some(), "the daemon does not close");
    Ok(())
}

/// Gets in and then sends what nobody should.
fn misbehave(peer: &mut Peer, index: u32, random: &mut Random) {
    peer.send(&hello().encode()).expect("the daemon listens");
    let welcome = peer.answer().expect("a correct hello is welcome");
    assert_eq!(welcome.snapshot.devices.len(), 1);
    let bytes = match index % 8 {
        0 => random.bytes(1000),
        1 => command(Opcode(0xffff), 1, &[], 0),
        2 => command(opcode::PING, 2, &[], 0),
        3 => command(opcode::cuMemcpyHtoDAsync_v2, 1, &[], u64::MAX),
        4 => {
            let mut long = command(opcode::PING, 1, &[], 0);
            long[..4].copy_from_slice(&u32::MAX.to_le_bytes());
            long
        }
        // The rest of the frame never comes.
        5 => command(opcode::cuLaunchKernel, 1, &random.bytes(100), 0)[..HEADER_BYTES + 3].into(),
        6 => {
            // Promises that are not kept: nobody may lay in memory for them.
            let promised = [1 << 20, 2 << 30, 1 << 45][random.below(3)];
            command(opcode::cuLibraryLoadData, 1, &[0; 8], promised)
        }
        _ => any_commands(random),
    };
    // The worker may have ended the session half way.
    let _ = peer.send(&bytes);
    peer.end();
    assert!(peer.read_to_end().is_some(), "the worker does not close");
}

/// Well-formed commands of every kind with bodies that mean nothing.
fn any_commands(random: &mut Random) -> Vec<u8> {
    let known: Vec<_> = (0..u16::MAX)
        .map(Opcode)
        .filter(|o| o.name().is_some())
        .collect();
    let mut bytes = Vec::new();
    for sequence in 1..=200 {
        let opcode = known[random.below(known.len())];
        let body = match opcode.shape() {
            Some(shape) => random.exactly(8 * shape.inputs),
            None => random.bytes(120),
        };
        bytes.extend(command(opcode, sequence, &body, 0));
    }
    bytes
}

#[test]
fn a_full_backend_says_so_and_has_room_again_later() {
    let daemon = Daemon::start_with(&["--max-sessions", "2"]);
    let mut sessions = [0, 1].map(|_| Session::start(Way::Remoted(&daemon.unix())));
    for session in &mut sessions {
        session.need("launch 1");
    }
    let program = product().example("vector_add");
    for endpoint in [daemon.unix(), daemon.tcp()] {
        let refused = run(Way::Remoted(&endpoint).command(&program).arg("1000"));
        assert_eq!(refused.status.code(), Some(1));
        assert!(refused.stderr.contains("in use"), "{}", refused.stderr);
    }
    let [first, mut second] = sessions;
    assert_eq!(first.end().code(), Some(0));
    within_a_second(Instant::now(), "there is room again", || {
        let finished = run(Way::Remoted(&daemon.tcp()).command(&program).arg("1000"));
        finished.status.success()
    });
    assert_eq!(second.need("count"), [1]);
}

#[test]
fn a_client_cannot_forge_lines_of_the_log() {
    let daemon = Daemon::start();
    let mut hello = hello();
    hello.client.program = "innocent\nFORGED a line".into();
    hello.client.host = "host\r\n\u{1b}[2JFORGED".into();
    let mut peer = Peer::unix(&daemon).expect("it listens");
    peer.send(&hello.encode()).expect("open");
    peer.answer().expect("it is a correct hello");
    // The answer may be here before the line is written.
    within_a_second(Instant::now(), "the session is in the log", || {
        daemon.log().contains("innocent")
    });
    let log = daemon.log();
    assert!(!log.contains('\u{1b}'), "{log:?}");
    assert!(!log.lines().any(|line| line.starts_with("FORGED")), "{log}");
}

/// Numbers that are the same in every run.
struct Random(u64);

impl Random {
    /// SplitMix64.
    fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.word() % bound as u64).expect("below a size")
    }

    /// From one to `most` bytes.
    fn bytes(&mut self, most: usize) -> Vec<u8> {
        let count = 1 + self.below(most);
        self.exactly(count)
    }

    fn exactly(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.word().to_le_bytes()[0]).collect()
    }
}
