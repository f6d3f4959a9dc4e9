// SPDX-License-Identifier: Apache-2.0
//! How many decisions a broker makes a second, with 1,000 backends and 10,000 sessions.
//!
//! `cargo run --release -p gvirtus-cluster --example decisions`

#![allow(clippy::print_stdout, reason = "a program for people at a terminal")]

use std::num::NonZero;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gvirtus_cluster::broker::ledger::{Facts, Ledger};
use gvirtus_cluster::placement::{BackendId, Demand, Location};
use gvirtus_kubernetes::{Policy, Request};
use gvirtus_protocol::snapshot::{Device, Snapshot};
use gvirtus_protocol::status::{Grantee, Picture, SessionStatus};
use gvirtus_ticket::{Account, Quota};

const BACKENDS: u16 = 1000;
const DEVICES: u8 = 4;
const SESSIONS_PER_BACKEND: u16 = 10;
const DEVICE_BYTES: u64 = 80 << 30;
const DECISIONS: u32 = 5000;
/// Where the demands come from.
const ZONES: u16 = 10;

fn uuid(backend: u16, device: u8) -> [u8; 16] {
    let mut uuid = [0; 16];
    uuid[..2].copy_from_slice(&backend.to_be_bytes());
    uuid[15] = device;
    uuid
}

fn account(text: &str) -> Account {
    Account {
        namespace: "team".into(),
        pod: format!("train-{text}"),
        pod_uid: format!("5e9c3a52-0000-4000-8000-{text:0>12}"),
        container: "main".into(),
    }
}

fn location(number: u16) -> Location {
    let zone = number % ZONES;
    Location {
        node: format!("node-{number}").into(),
        zone: format!("zone-{zone}").into(),
        region: "region".into(),
    }
}

/// A backend as it reports itself: each session has 4 GiB and 5 percent of one device.
fn add(ledger: &mut Ledger, number: u16) {
    let id = BackendId::from(format!("backend-{number}").as_str());
    let facts = Facts {
        pod: format!("gvirtus-backend-{number}"),
        endpoint: format!("tcp://10.0.0.1:{number}"),
        location: location(number),
        is_ready: true,
        ..Facts::default()
    };
    ledger.set_facts(&id, facts);
    let devices = (0..DEVICES).map(|device| Device {
        uuid_v2: uuid(number, device),
        total_memory_bytes: DEVICE_BYTES,
        ..Device::default()
    });
    let snapshot = Snapshot {
        devices: devices.collect(),
        ..Snapshot::default()
    };
    ledger.set_devices(&id, &snapshot);
    let sessions = (0..SESSIONS_PER_BACKEND).map(|session| {
        let device = u8::try_from(session % u16::from(DEVICES)).unwrap_or(0);
        SessionStatus {
            grantee: Some(Grantee {
                ticket_id: [1; 16],
                account: account(&format!("{number}-{session}")),
                quota: Quota {
                    devices: vec![uuid(number, device)],
                    memory_bytes: Some(4 << 30),
                    compute_percent: Some(5),
                },
            }),
            ..SessionStatus::default()
        }
    });
    let sessions: Vec<_> = sessions.collect();
    let picture = Picture {
        session_count: sessions.len() as u64,
        sessions,
        ..Picture::default()
    };
    ledger.report(&id, &picture);
}

fn main() {
    let mut ledger = Ledger::default();
    let start = Instant::now();
    for number in 0..BACKENDS {
        add(&mut ledger, number);
    }
    let built = start.elapsed();
    let totals = ledger.totals();
    println!(
        "{} backends, {} devices, {} sessions",
        totals.ready, totals.devices, totals.sessions
    );
    println!("all reports: {:.1} ms", built.as_secs_f64() * 1e3);
    let accounts: Vec<_> = (0..DECISIONS)
        .map(|n| Arc::new(account(&format!("new-{n}"))))
        .collect();
    for policy in Policy::ALL {
        let demand = Demand {
            request: Request {
                memory_mib: NonZero::new(2048),
                percent: NonZero::new(2),
                ..Request::default()
            },
            policy,
            previous: None,
            location: location(7),
            node: None,
        };
        let start = Instant::now();
        let mut granted = 0_u32;
        for (seed, account) in (0..).zip(&accounts) {
            if let Ok(choice) = ledger.choose(account, &demand, seed) {
                ledger.grant(account, &choice, [2; 16], start + Duration::from_secs(120));
                granted += 1;
            }
        }
        let a_second = f64::from(DECISIONS) / start.elapsed().as_secs_f64();
        println!(
            "{:<12} {a_second:>9.0} decisions/s, {granted} granted",
            policy.name()
        );
        for account in &accounts {
            ledger.release(account);
        }
    }
}
