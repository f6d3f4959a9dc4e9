// SPDX-License-Identifier: Apache-2.0

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use gvirtus_protocol::frame::ReplyKind;
use gvirtus_protocol::opcode;

use super::*;
use crate::test_utils::{Peer, Received, pair};

const SUCCESS: CUresult = CUresult::CUDA_SUCCESS;
const POSTED: Command = Command {
    opcode: opcode::cuMemsetD8Async,
    context: 3,
};
const SYNC: Command = Command {
    opcode: opcode::PING,
    context: 1,
};

fn open() -> (&'static Wire, Peer) {
    let (stream, peer) = pair();
    (Wire::open(stream, "the test".to_owned()), peer)
}

fn call(wire: &'static Wire, body: &[u8]) -> Result<Outcome, CUresult> {
    let fill = |buffer: &mut Vec<u8>| buffer.extend_from_slice(body);
    // SAFETY: neither payload nor destination.
    unsafe { wire.call(SYNC, fill, Payload::None, Rows::default()) }
}

fn read_back(wire: &'static Wire, destination: Rows) -> Result<Outcome, CUresult> {
    let command = Command {
        opcode: opcode::cuMemcpyDtoHAsync_v2,
        context: 1,
    };
    let fill = |buffer: &mut Vec<u8>| {
        buffer.extend_from_slice(&(destination.bytes() as u64).to_le_bytes());
    };
    // SAFETY: the tests give memory that lives until the call returns.
    unsafe { wire.call(command, fill, Payload::None, destination) }
}

/// Answers every call with its own body, and copies with as many bytes of its number.
fn echo(mut peer: Peer) -> thread::JoinHandle<Vec<Received>> {
    thread::spawn(move || {
        let mut all = Vec::new();
        while let Some(command) = peer.next() {
            match command.opcode {
                opcode::PING => peer.reply(command.sequence, SUCCESS, SUCCESS, &command.body),
                opcode::cuMemcpyDtoHAsync_v2 => {
                    let bytes = vec![command.sequence as u8; command.word(0) as usize];
                    peer.reply_payload(command.sequence, &bytes, SUCCESS);
                }
                _ => {}
            }
            all.push(command);
        }
        all
    })
}

#[test]
fn commands_arrive_in_order_with_their_numbers() {
    let (wire, peer) = open();
    let peer = echo(peer);
    for index in 0..1000_u64 {
        let fill = |buffer: &mut Vec<u8>| buffer.extend_from_slice(&index.to_le_bytes());
        wire.post(POSTED, fill).expect("connected");
    }
    let outcome = call(wire, b"hello").expect("connected");
    assert_eq!(
        (outcome.status, outcome.body.bytes()),
        (SUCCESS, &b"hello"[..])
    );
    wire.stream.shutdown();
    let all = peer.join().expect("no panic");
    assert_eq!(all.len(), 1001);
    for (index, command) in all[..1000].iter().enumerate() {
        assert_eq!((command.opcode, command.context), (POSTED.opcode, 3));
        assert_eq!(command.sequence, index as u64 + 1);
        assert_eq!(command.word(0), index as u64);
    }
}

#[test]
fn a_posted_command_leaves_without_another_call() {
    let (wire, mut peer) = open();
    for round in 1..4 {
        wire.post(POSTED, |_| {}).expect("connected");
        assert_eq!(peer.next().expect("flushed").sequence, round);
        // The next round must wake the flusher.
        while wire.queue.lock().flusher != Flusher::Asleep {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

#[test]
fn payloads_of_all_sizes_and_shapes_keep_their_place() {
    let (wire, peer) = open();
    let peer = echo(peer);
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
    let address = bytes.as_ptr() as usize;
    let shapes = [
        Rows::line(address, 1),
        Rows::line(address + 5, 100_000),
        Rows::new(address, 100, 1000, 300),
        Rows::new(address, 2000, 700, 4000),
        Rows::new(address, 10, 5, 12),
        Rows::line(address, bytes.len()),
    ];
    for rows in shapes {
        // SAFETY: all rows lie in `bytes`.
        unsafe { wire.post_payload(POSTED, |_| {}, Payload::Rows(rows)) }.expect("connected");
        wire.post(POSTED, |_| {}).expect("connected");
    }
    let parts: [&[u8]; 2] = [&bytes[..50_000], &[0]];
    // SAFETY: the parts are borrowed.
    unsafe { wire.call(SYNC, |_| {}, Payload::Parts(&parts), Rows::default()) }.expect("connected");
    wire.stream.shutdown();
    let all = peer.join().expect("no panic");
    for (rows, command) in shapes.iter().zip(all.iter().step_by(2)) {
        let mut expected = Vec::new();
        for address in rows.addresses() {
            // SAFETY: all rows lie in `bytes`.
            expected.extend_from_slice(unsafe { rows.row(address) });
        }
        assert_eq!(command.payload, expected, "{rows:?}");
    }
    let image = all.last().expect("sent");
    assert_eq!(image.payload, [&bytes[..50_000], &[0]].concat());
}

#[test]
fn many_threads_share_the_queue_and_the_replies() {
    const THREADS: u64 = 8;
    const ROUNDS: u64 = 300;
    let (wire, peer) = open();
    let peer = echo(peer);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let word = (thread << 32 | round).to_le_bytes();
                    let fill = |buffer: &mut Vec<u8>| buffer.extend_from_slice(&word);
                    wire.post(POSTED, fill).expect("connected");
                    let outcome = call(wire, &word).expect("connected");
                    assert_eq!(outcome.body.bytes(), word);
                    if round % 10 == thread {
                        let mut place = vec![0_u8; 50_000 * (thread as usize + 1)];
                        let rows = Rows::line(place.as_mut_ptr() as usize, place.len());
                        read_back(wire, rows).expect("connected");
                        assert!(place[0] == place[place.len() - 1]);
                        // SAFETY: the line lies in `place`.
                        unsafe { wire.post_payload(POSTED, fill, Payload::Rows(rows)) }
                            .expect("connected");
                    }
                }
            });
        }
    });
    wire.stream.shutdown();
    let all = peer.join().expect("no panic");
    for thread in 0..THREADS {
        let own = all
            .iter()
            .filter(|c| c.opcode == opcode::PING && c.word(0) >> 32 == thread);
        let rounds: Vec<u64> = own.map(|c| c.word(0) & 0xffff_ffff).collect();
        assert_eq!(rounds, (0..ROUNDS).collect::<Vec<_>>());
    }
}

#[test]
fn replies_may_overtake_each_other() {
    let (wire, mut peer) = open();
    let worker = thread::spawn(move || {
        let first = peer.next().expect("two calls");
        let second = peer.next().expect("two calls");
        peer.reply(second.sequence, SUCCESS, SUCCESS, &second.body);
        thread::sleep(Duration::from_millis(20));
        peer.reply(first.sequence, SUCCESS, SUCCESS, &first.body);
        peer
    });
    let barrier = Barrier::new(2);
    thread::scope(|scope| {
        for body in [b"one", b"two"] {
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                let outcome = call(wire, body).expect("connected");
                assert_eq!(outcome.body.bytes(), body);
            });
        }
    });
    worker.join().expect("no panic");
}

#[test]
fn a_payload_arrives_in_rows_with_gaps() {
    let (wire, mut peer) = open();
    let worker = thread::spawn(move || {
        let command = peer.next().expect("a call");
        let bytes: Vec<u8> = (0..command.word(0)).map(|i| i as u8 | 1).collect();
        peer.reply_payload(command.sequence, &bytes, CUresult::CUDA_ERROR_LAUNCH_FAILED);
        peer
    });
    let mut place = vec![0_u8; 40_000 * 5];
    let rows = Rows::new(place.as_mut_ptr() as usize, 30_001, 5, 40_000);
    let outcome = read_back(wire, rows).expect("connected");
    assert_eq!(outcome.status, CUresult::CUDA_ERROR_LAUNCH_FAILED);
    for (index, byte) in place.iter().enumerate() {
        let (row, column) = (index / 40_000, index % 40_000);
        let expected = match column < 30_001 {
            true => (row * 30_001 + column) as u8 | 1,
            false => 0,
        };
        assert_eq!(*byte, expected, "row {row}, column {column}");
    }
    worker.join().expect("no panic");
}

#[test]
fn memory_that_cannot_be_reached_does_not_break_the_stream() {
    let (wire, peer) = open();
    let peer = echo(peer);
    let nowhere = Rows::line(0x10, 100_000);
    // SAFETY: a long row is only read by the operating system.
    let sent = unsafe { wire.post_payload(POSTED, |_| {}, Payload::Rows(nowhere)) };
    assert_eq!(sent, Err(CUresult::CUDA_ERROR_INVALID_VALUE));
    assert_eq!(call(wire, b"on").expect("connected").body.bytes(), b"on");
    wire.stream.shutdown();
    let all = peer.join().expect("no panic");
    assert_eq!(all[0].payload, vec![0; 100_000]);
}

#[test]
fn a_deferred_error_is_remembered_for_whoever_may_tell_it() {
    let (wire, mut peer) = open();
    let worker = thread::spawn(move || {
        let command = peer.next().expect("a call");
        let deferred = CUresult::CUDA_ERROR_INVALID_VALUE;
        peer.reply(command.sequence, SUCCESS, deferred, &[]);
        peer
    });
    assert_eq!(call(wire, &[]).expect("connected").status, SUCCESS);
    let told = wire.faults().take_deferred();
    assert_eq!(told, Err(CUresult::CUDA_ERROR_INVALID_VALUE));
    assert_eq!(wire.faults().take_deferred(), Ok(()));
    worker.join().expect("no panic");
}

#[test]
fn console_output_comes_between_replies() {
    let (wire, mut peer) = open();
    let worker = thread::spawn(move || {
        let command = peer.next().expect("a call");
        peer.print(ReplyKind::StandardOutput, b"");
        peer.print(ReplyKind::StandardError, b"");
        peer.reply(command.sequence, SUCCESS, SUCCESS, b"after it");
        peer
    });
    assert_eq!(
        call(wire, &[]).expect("connected").body.bytes(),
        b"after it"
    );
    worker.join().expect("no panic");
}

#[test]
fn a_lost_connection_wakes_everybody_and_stays_lost() {
    const THREADS: usize = 5;
    let lost = CUresult::CUDA_ERROR_DEVICE_UNAVAILABLE;
    let (wire, mut peer) = open();
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let status = call(wire, &[]).map(|outcome| outcome.status);
                assert!(status == Ok(lost) || status == Err(lost), "{status:?}");
            });
        }
        for _ in 0..THREADS {
            peer.next().expect("a call");
        }
        peer.close();
    });
    assert_eq!(wire.post(POSTED, |_| {}), Err(lost));
    assert!(call(wire, &[]).is_err_and(|status| status == lost));
    assert_eq!(wire.faults().check(), Err(lost));
}

#[test]
fn a_peer_that_breaks_the_protocol_is_left() {
    let lost = CUresult::CUDA_ERROR_DEVICE_UNAVAILABLE;
    for nonsense in [&[0xff; 64][..], &[0; 64][..]] {
        let (wire, mut peer) = open();
        let worker = thread::spawn(move || {
            peer.next().expect("a call");
            peer.write(&[nonsense]);
            peer
        });
        let status = call(wire, &[]).map(|outcome| outcome.status);
        assert!(status == Ok(lost) || status == Err(lost), "{status:?}");
        worker.join().expect("no panic");
    }
    let (wire, mut peer) = open();
    let worker = thread::spawn(move || {
        let command = peer.next().expect("a call");
        peer.reply_payload(command.sequence, &[1; 9], SUCCESS);
        peer
    });
    let mut place = [0_u8; 8];
    let rows = Rows::line(place.as_mut_ptr() as usize, place.len());
    let outcome = read_back(wire, rows).expect("told by the outcome");
    assert_eq!(outcome.status, lost);
    worker.join().expect("no panic");
}

/// The worker writes a reply that does not fit into the sockets' buffers, and reads nothing before
/// it is taken; meanwhile another thread writes as much. Nobody may wait for the other.
#[test]
fn both_directions_can_be_full_at_once() {
    const BYTES: usize = 32 << 20;
    let (wire, peer) = open();
    let peer = echo(peer);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..3 {
                    let mut place = vec![0_u8; BYTES];
                    let rows = Rows::line(place.as_mut_ptr() as usize, BYTES);
                    read_back(wire, rows).expect("connected");
                    assert_ne!(place[BYTES - 1], 0);
                }
                done.store(true, Ordering::Release);
            });
        }
        let source = vec![1_u8; BYTES];
        while !done.load(Ordering::Acquire) {
            let rows = Rows::line(source.as_ptr() as usize, BYTES);
            // SAFETY: the line is `source`.
            unsafe { wire.post_payload(POSTED, |_| {}, Payload::Rows(rows)) }.expect("connected");
        }
    });
    wire.stream.shutdown();
    peer.join().expect("no panic");
}

#[test]
fn a_body_over_the_limit_is_refused_and_leaves_no_trace() {
    let (wire, mut peer) = open();
    let fill = |buffer: &mut Vec<u8>| buffer.resize(buffer.len() + COMMAND_BODY_BYTES_MAX + 1, 0);
    let refused = wire.post(POSTED, fill);
    assert_eq!(refused, Err(CUresult::CUDA_ERROR_INVALID_VALUE));
    wire.post(POSTED, |_| {}).expect("connected");
    assert_eq!(peer.next().expect("sent").sequence, 1);
}

/// Prints how long a post takes; not a test, because the time depends on the machine.
#[test]
#[ignore = "a measurement: cargo test --release -p gvirtus-frontend -- --ignored --nocapture posts"]
fn measure_posts() {
    const POSTS: u32 = 2_000_000;
    let (wire, mut peer) = open();
    let peer = thread::spawn(move || peer.discard());
    let body = [0_u8; 100];
    for (name, pause) in [("without a pause", false), ("one a microsecond", true)] {
        let mut times = Vec::with_capacity(POSTS as usize);
        let start = Instant::now();
        for _ in 0..POSTS {
            let before = Instant::now();
            wire.post(POSTED, |buffer| buffer.extend_from_slice(&body))
                .expect("connected");
            times.push(before.elapsed());
            while pause && before.elapsed() < Duration::from_micros(1) {}
        }
        let total = start.elapsed();
        times.sort_unstable();
        let at = |share: f64| times[(times.len() as f64 * share) as usize].as_nanos();
        println!(
            "{name}: {:.2} M posts/s, p50 {} ns, p99 {} ns, p99.9 {} ns",
            f64::from(POSTS) / total.as_secs_f64() / 1e6,
            at(0.5),
            at(0.99),
            at(0.999)
        );
    }
    wire.stream.shutdown();
    println!("{} bytes arrived", peer.join().expect("no panic"));
}

/// Prints how long a posted command takes to arrive when nothing follows it.
#[test]
#[ignore = "a measurement: cargo test --release -p gvirtus-frontend -- --ignored --nocapture arrival"]
fn measure_arrival() {
    for (name, pause) in [
        ("the flusher sleeps", Duration::from_millis(5)),
        ("the flusher is awake", Duration::from_micros(200)),
    ] {
        const ROUNDS: usize = 500;
        let (wire, mut peer) = open();
        let start = Instant::now();
        let peer = thread::spawn(move || {
            let mut arrived = Vec::new();
            while peer.next().is_some() {
                arrived.push(start.elapsed());
            }
            arrived
        });
        let mut posted = Vec::new();
        for _ in 0..ROUNDS {
            thread::sleep(pause);
            posted.push(start.elapsed());
            wire.post(POSTED, |_| {}).expect("connected");
        }
        thread::sleep(Duration::from_millis(50));
        wire.stream.shutdown();
        let arrived = peer.join().expect("no panic");
        let mut times: Vec<_> = arrived.iter().zip(&posted).map(|(a, p)| *a - *p).collect();
        times.sort_unstable();
        println!(
            "{name}: p50 {:?}, p99 {:?}",
            times[ROUNDS / 2],
            times[ROUNDS * 99 / 100]
        );
    }
}
