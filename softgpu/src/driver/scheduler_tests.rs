// SPDX-License-Identifier: Apache-2.0
//! Order, dependencies and errors of streams, with real threads.

use std::sync::mpsc::{Sender, channel};

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

fn domain() -> (Arc<ErrorCell>, DomainId, StreamId) {
    let error = Arc::new(ErrorCell::default());
    let (domain, legacy) = SCHEDULER.add_domain(error.clone());
    (error, domain, legacy)
}

/// Submits an operation that runs only when the sender says so (or is dropped).
fn gate(stream: StreamId) -> Sender<()> {
    let (open, opened) = channel();
    SCHEDULER.submit(stream, Placement::Worker, move || {
        let _ = opened.recv();
        Ok(())
    });
    open
}

fn push(stream: StreamId, log: &Arc<Mutex<Vec<u32>>>, number: u32, placement: Placement) -> Marker {
    let log = log.clone();
    SCHEDULER.submit(stream, placement, move || {
        log.lock().push(number);
        Ok(())
    })
}

#[test]
fn a_stream_keeps_its_order() {
    let (_, domain, legacy) = domain();
    let stream = SCHEDULER.add_stream(domain, Kind::Blocking, 0);
    let log = Arc::new(Mutex::new(Vec::new()));
    for number in 0..1000 {
        let placement = [Placement::Here, Placement::Worker][number as usize % 3 / 2];
        push(stream, &log, number, placement);
    }
    SCHEDULER.wait_stream(stream);
    assert_eq!(*log.lock(), (0..1000).collect::<Vec<_>>());
    assert!(SCHEDULER.is_stream_idle(stream) && SCHEDULER.is_stream_idle(legacy));
    SCHEDULER.remove_domain(domain);
}

#[test]
fn short_work_runs_at_once_on_an_idle_stream_only() {
    let (_, domain, _) = domain();
    let stream = SCHEDULER.add_stream(domain, Kind::NonBlocking, 0);
    let log = Arc::new(Mutex::new(Vec::new()));
    let marker = push(stream, &log, 1, Placement::Here);
    assert!(SCHEDULER.is_complete(marker));
    let open = gate(stream);
    let marker = push(stream, &log, 2, Placement::Here);
    assert!(!SCHEDULER.is_complete(marker) && !SCHEDULER.is_stream_idle(stream));
    assert_eq!(*log.lock(), [1]);
    drop(open);
    SCHEDULER.wait(marker);
    assert_eq!(*log.lock(), [1, 2]);
    SCHEDULER.remove_domain(domain);
}

#[test]
fn the_legacy_stream_and_blocking_streams_wait_for_each_other() {
    let (_, domain, legacy) = domain();
    let blocking = SCHEDULER.add_stream(domain, Kind::Blocking, 0);
    let other = SCHEDULER.add_stream(domain, Kind::Blocking, 0);
    let free = SCHEDULER.add_stream(domain, Kind::NonBlocking, 0);
    let log = Arc::new(Mutex::new(Vec::new()));
    let open = gate(blocking);
    let in_legacy = push(legacy, &log, 1, Placement::Here);
    let after = push(other, &log, 2, Placement::Here);
    let beside = push(free, &log, 0, Placement::Here);
    assert!(SCHEDULER.is_complete(beside));
    assert!(!SCHEDULER.is_complete(in_legacy) && !SCHEDULER.is_complete(after));
    assert!(!SCHEDULER.is_stream_idle(legacy));
    drop(open);
    SCHEDULER.wait(after);
    assert_eq!(*log.lock(), [0, 1, 2]);
    SCHEDULER.remove_domain(domain);
}

#[test]
fn waiting_for_the_legacy_stream_waits_for_blocking_streams() {
    let (_, domain, legacy) = domain();
    let blocking = SCHEDULER.add_stream(domain, Kind::Blocking, 0);
    let log = Arc::new(Mutex::new(Vec::new()));
    push(blocking, &log, 1, Placement::Worker);
    SCHEDULER.wait_stream(legacy);
    assert_eq!(*log.lock(), [1]);
    SCHEDULER.remove_domain(domain);
}

#[test]
fn events_order_streams_and_carry_the_time() {
    let (_, domain, _) = domain();
    let (_, other_domain, _) = self::domain();
    let first = SCHEDULER.add_stream(domain, Kind::NonBlocking, 0);
    let second = SCHEDULER.add_stream(other_domain, Kind::NonBlocking, 0);
    let log = Arc::new(Mutex::new(Vec::new()));
    let early = SCHEDULER.record(first);
    assert!(early.time().is_some());
    let open = gate(first);
    push(first, &log, 1, Placement::Worker);
    let late = SCHEDULER.record(first);
    assert!(late.time().is_none());
    SCHEDULER.depend(second, late.marker());
    push(second, &log, 2, Placement::Here);
    assert!(log.lock().is_empty());
    drop(open);
    SCHEDULER.wait_stream(second);
    assert_eq!(*log.lock(), [1, 2]);
    assert!(late.time() > early.time());
    SCHEDULER.remove_domain(domain);
    SCHEDULER.remove_domain(other_domain);
}

#[test]
fn a_removed_stream_finishes_its_work() {
    let (_, domain, _) = domain();
    let stream = SCHEDULER.add_stream(domain, Kind::NonBlocking, 0);
    let log = Arc::new(Mutex::new(Vec::new()));
    let open = gate(stream);
    let marker = push(stream, &log, 1, Placement::Worker);
    SCHEDULER.remove_stream(stream);
    drop(open);
    SCHEDULER.wait(marker);
    SCHEDULER.wait_domain(domain);
    assert_eq!(*log.lock(), [1]);
    SCHEDULER.remove_domain(domain);
    assert!(SCHEDULER.is_stream_idle(stream));
    push(stream, &log, 2, Placement::Here);
    assert_eq!(*log.lock(), [1]);
}

#[test]
fn an_error_skips_what_follows_in_its_domain() {
    let (error, domain, legacy) = domain();
    let stream = SCHEDULER.add_stream(domain, Kind::NonBlocking, 0);
    let log = Arc::new(Mutex::new(Vec::new()));
    SCHEDULER.submit(stream, Placement::Worker, || {
        Err(CUresult::CUDA_ERROR_ILLEGAL_ADDRESS)
    });
    SCHEDULER.wait_stream(stream);
    assert_eq!(error.check(), Err(CUresult::CUDA_ERROR_ILLEGAL_ADDRESS));
    SCHEDULER.submit(stream, Placement::Here, || {
        Err(CUresult::CUDA_ERROR_LAUNCH_FAILED)
    });
    push(legacy, &log, 1, Placement::Here);
    assert!(log.lock().is_empty());
    assert!(SCHEDULER.record(stream).time().is_some());
    assert_eq!(error.check(), Err(CUresult::CUDA_ERROR_ILLEGAL_ADDRESS));
    error.clear();
    SCHEDULER.submit(stream, Placement::Here, || panic!("as the test wants"));
    assert_eq!(error.check(), Err(CUresult::CUDA_ERROR_UNKNOWN));
    SCHEDULER.remove_domain(domain);
}

#[test]
fn many_streams_and_hosts_at_once() {
    let (error, domain, legacy) = domain();
    let sum = Arc::new(AtomicU32::new(0));
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let sum = &sum;
            scope.spawn(move || {
                let kind = [Kind::Blocking, Kind::NonBlocking][thread % 2];
                let stream = SCHEDULER.add_stream(domain, kind, 0);
                for number in 0..300 {
                    let target = if number % 17 == 0 { legacy } else { stream };
                    let placement = [Placement::Here, Placement::Worker][number % 2];
                    let sum = sum.clone();
                    SCHEDULER.submit(target, placement, move || {
                        sum.fetch_add(1, Ordering::Relaxed);
                        Ok(())
                    });
                    if number % 50 == 0 {
                        SCHEDULER.wait_stream(target);
                    }
                }
                SCHEDULER.remove_stream(stream);
            });
        }
    });
    SCHEDULER.wait_domain(domain);
    assert_eq!(sum.load(Ordering::Relaxed), 8 * 300);
    assert_eq!(error.check(), Ok(()));
    SCHEDULER.remove_domain(domain);
}

#[test]
fn an_ended_domain_takes_nothing_more() {
    let (_, domain, legacy) = domain();
    SCHEDULER.remove_domain(domain);
    let late = SCHEDULER.add_stream(domain, Kind::Blocking, 0);
    let log = Arc::new(Mutex::new(Vec::new()));
    for stream in [legacy, late] {
        let marker = push(stream, &log, 1, Placement::Worker);
        SCHEDULER.wait(marker);
        assert!(SCHEDULER.record(stream).time().is_some());
    }
    SCHEDULER.wait_domain(domain);
    SCHEDULER.remove_domain(domain);
    assert!(log.lock().is_empty());
}

#[test]
fn a_record_of_a_domain_is_behind_all_its_streams_and_a_barrier_before_all_later_work() {
    let (_, domain, _) = domain();
    let streams: [_; 3] =
        std::array::from_fn(|_| SCHEDULER.add_stream(domain, Kind::NonBlocking, 0));
    let gates = streams.map(gate);
    let record = SCHEDULER.record_domain(domain);
    SCHEDULER.depend_domain(domain, record.marker());
    let log = Arc::new(Mutex::new(Vec::new()));
    let behind = push(streams[0], &log, 1, Placement::Here);
    let made_later = SCHEDULER.add_stream(domain, Kind::NonBlocking, 0);
    let late = push(made_later, &log, 2, Placement::Here);
    for gate in gates {
        assert!(record.time().is_none());
        drop(gate);
    }
    for marker in [record.marker(), behind, late] {
        SCHEDULER.wait(marker);
    }
    assert!(record.time().is_some());
    assert_eq!(log.lock().len(), 2);
    SCHEDULER.remove_domain(domain);
}

#[test]
fn the_most_urgent_ready_stream_goes_first() {
    let mut state = State::new();
    let (domain, _) = state.add_domain(Arc::new(ErrorCell::default()));
    let streams =
        [0, -5, -2, -5].map(|priority| state.add_stream(domain, Kind::NonBlocking, priority));
    state.ready.extend(streams);
    let order: Vec<_> = std::iter::from_fn(|| state.pop_ready()).collect();
    assert_eq!(order, [streams[1], streams[3], streams[2], streams[0]]);
}
