// SPDX-License-Identifier: Apache-2.0
//! What calls cost, counted: round trips are what makes remoting slow.
//!
//! Each test runs two scripts that differ only in how often something is done; the difference of
//! the counters is then exactly what it costs.

use gvirtus_tests::{Daemon, Session, Way};
use serde_json::Value;

/// What the client library has counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counters {
    calls: u64,
    posted: u64,
    round_trips: u64,
    sent_bytes: u64,
    received_bytes: u64,
}

/// Runs the commands in a fresh process.
fn count(endpoint: &str, commands: &[String]) -> Counters {
    let file = tempfile::NamedTempFile::new().expect("the temporary folder is writable");
    let mut session = Session::with_statistics(Way::Remoted(endpoint), Some(file.path()));
    for command in commands {
        session.need(command);
    }
    assert_eq!(session.end().code(), Some(0));
    let text = std::fs::read_to_string(file.path()).expect("written at the end");
    let value: Value = serde_json::from_str(&text).expect("it is JSON");
    let field = |name: &str| {
        let number = value[name].as_u64();
        number.unwrap_or_else(|| panic!("no {name} in {text}"))
    };
    Counters {
        calls: field("calls"),
        posted: field("posted"),
        round_trips: field("round_trips"),
        sent_bytes: field("sent_bytes"),
        received_bytes: field("received_bytes"),
    }
}

/// What `more` of something costs beyond `fewer` of it, after everything that happens only once.
fn difference(script: impl Fn(u64) -> Vec<String>, fewer: u64, more: u64) -> Counters {
    let daemon = Daemon::start();
    let first = count(&daemon.unix(), &script(fewer));
    let second = count(&daemon.unix(), &script(more));
    eprintln!("{fewer}: {first:?}\n{more}: {second:?}");
    Counters {
        calls: second.calls - first.calls,
        posted: second.posted - first.posted,
        round_trips: second.round_trips - first.round_trips,
        sent_bytes: second.sent_bytes - first.sent_bytes,
        received_bytes: second.received_bytes - first.received_bytes,
    }
}

#[test]
fn ten_thousand_launches_cost_no_round_trip() {
    let script = |times| {
        vec![
            format!("launch {times}"),
            "synchronize".into(),
            "count".into(),
        ]
    };
    let cost = difference(script, 1, 10_001);
    assert_eq!(cost.round_trips, 0);
    assert_eq!(cost.posted, 10_000);
    assert!(cost.calls >= 10_000);
    assert_eq!(cost.received_bytes, 0);
    // A header of 24 bytes, the launch itself and one address.
    assert!(cost.sent_bytes <= 10_000 * 120, "{} bytes", cost.sent_bytes);
}

#[test]
fn a_pageable_copy_to_the_device_costs_no_round_trip() {
    for bytes in [100, 10_000, 1 << 20] {
        let script = |times| {
            vec![
                format!("to_device {times} {bytes}"),
                "synchronize".into(),
                "count".into(),
            ]
        };
        let cost = difference(script, 1, 51);
        assert_eq!(cost.round_trips, 0, "{bytes} bytes");
        assert_eq!(cost.posted, 50);
        assert_eq!(cost.received_bytes, 0);
        let overhead = cost.sent_bytes - 50 * bytes;
        assert!(overhead <= 50 * 100, "{overhead} bytes more than the data");
    }
}

#[test]
fn a_copy_to_the_host_costs_one_round_trip() {
    for bytes in [100, 10_000, 1 << 20] {
        let script = |times| vec![format!("to_host {times} {bytes}"), "count".into()];
        let cost = difference(script, 1, 51);
        assert_eq!(cost.round_trips, 50, "{bytes} bytes");
        assert_eq!(cost.posted, 0);
        let overhead = cost.received_bytes - 50 * bytes;
        assert!(overhead <= 50 * 100, "{overhead} bytes more than the data");
    }
}

#[test]
fn a_synchronisation_costs_one_round_trip_and_launches_before_it_none() {
    let script = |times| {
        let round = ["launch 5".to_owned(), "synchronize".to_owned()];
        std::iter::repeat_n(round, times as usize)
            .flatten()
            .collect()
    };
    let cost = difference(script, 1, 41);
    assert_eq!(cost.round_trips, 40);
    assert_eq!(cost.posted, 200);
}
