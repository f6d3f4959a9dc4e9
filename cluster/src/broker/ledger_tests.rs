// SPDX-License-Identifier: Apache-2.0

use std::sync::Arc;
use std::time::{Duration, Instant};

use gvirtus_kubernetes::Policy;
use gvirtus_protocol::snapshot;
use gvirtus_protocol::status::{
    Counters, DeviceFigures, DeviceMemory, Grantee, Picture, SessionStatus,
};
use gvirtus_ticket::{Account, Quota};

use super::ledger::*;
use crate::placement::{BackendId, Demand, State};

const GIB: u64 = 1 << 30;
const LIFE: Duration = Duration::from_secs(120);

fn account(name: &str) -> Arc<Account> {
    Arc::new(Account {
        namespace: "n".into(),
        pod: name.into(),
        pod_uid: format!("uid-{name}"),
        container: "c".into(),
    })
}

fn facts() -> Facts {
    Facts {
        pod: "pod".into(),
        endpoint: "tcp://127.0.0.1:1".into(),
        is_ready: true,
        ..Facts::default()
    }
}

/// A ledger with backends of one device each.
fn ledger(backends: &[(&str, u64)]) -> Ledger {
    let mut ledger = Ledger::default();
    for (number, (name, memory)) in (0..).zip(backends) {
        let id = BackendId::from(*name);
        ledger.set_facts(&id, facts());
        let device = snapshot::Device {
            uuid_v2: [number; 16],
            total_memory_bytes: *memory,
            ..snapshot::Device::default()
        };
        let devices = vec![device];
        let driver_version = 0;
        ledger.set_devices(
            &id,
            &snapshot::Snapshot {
                driver_version,
                devices,
            },
        );
        ledger.report(&id, &Picture::default());
    }
    ledger
}

fn demand(text: &str) -> Demand {
    Demand {
        request: text.parse().expect(text),
        policy: Policy::Binpack,
        ..Demand::default()
    }
}

/// Asks as a client does.
fn ask(ledger: &mut Ledger, who: &str, text: &str, ticket: u8, now: Instant) -> Option<BackendId> {
    let account = account(who);
    let choice = ledger.choose(&account, &demand(text), 0).ok()?;
    ledger.grant(&account, &choice, [ticket; 16], now + LIFE);
    Some(choice.backend)
}

/// What a backend reports of sessions that these tickets opened.
fn picture(ledger: &Ledger, sessions: &[(&str, u8)], quota_of: &str) -> Picture {
    let sessions: Vec<_> = sessions
        .iter()
        .map(|(who, ticket)| {
            let account = account(who);
            let choice = ledger
                .choose(&account, &demand(quota_of), 0)
                .expect("it has a place");
            SessionStatus {
                grantee: Some(Grantee {
                    ticket_id: [*ticket; 16],
                    account: (*account).clone(),
                    quota: ledger.quota(&choice),
                }),
                ..SessionStatus::default()
            }
        })
        .collect();
    Picture {
        session_count: sessions.len() as u64,
        sessions,
        ..Picture::default()
    }
}

#[test]
fn grants_count_until_they_are_reported_and_sessions_until_they_end() {
    let now = Instant::now();
    let mut ledger = ledger(&[("a", 2 * GIB)]);
    let asked = "gpu-memory=1024";
    assert!(ask(&mut ledger, "one", asked, 1, now).is_some());
    assert!(ask(&mut ledger, "two", asked, 2, now).is_some());
    assert_eq!(ask(&mut ledger, "three", asked, 3, now), None);
    let running = picture(&ledger, &[("one", 1), ("one", 1), ("two", 2)], asked);
    ledger.report(&"a".into(), &running);
    // The grants are used: their end makes no room.
    assert!(!ledger.expire(now + LIFE));
    assert_eq!(ask(&mut ledger, "three", asked, 3, now), None);
    let totals = ledger.totals();
    assert_eq!((totals.sessions, totals.granted_memory_bytes), (3, 2 * GIB));
    let rest = picture(&ledger, &[("one", 1)], asked);
    assert!(ledger.report(&"a".into(), &rest), "there is room again");
    assert!(ask(&mut ledger, "three", asked, 3, now).is_some());
}

#[test]
fn what_a_driver_tells_of_its_devices_counts_slowly() {
    let mut ledger = ledger(&[("a", GIB)]);
    let figures = |busy, used| Picture {
        devices: vec![DeviceFigures {
            memory_used_bytes: Some(used),
            utilisation_percent: Some(busy),
        }],
        ..Picture::default()
    };
    ledger.report(&"a".into(), &figures(80, 5));
    let totals = ledger.totals();
    assert_eq!((totals.busy_percent, totals.used_memory_bytes), (20, 5));
    for _ in 0..40 {
        ledger.report(&"a".into(), &figures(1000, 5));
    }
    assert_eq!(ledger.totals().busy_percent, 100, "no more than there is");
    for _ in 0..40 {
        ledger.report(&"a".into(), &Picture::default());
    }
    assert_eq!(ledger.totals().busy_percent, 0);
}

#[test]
fn who_has_nothing_may_end_and_gets_nobody() {
    let now = Instant::now();
    let mut ledger = ledger(&[("a", GIB)]);
    let id = BackendId::from("a");
    assert!(ask(&mut ledger, "one", "gpu-memory=512", 1, now).is_some());
    assert!(!ledger.retire(&id), "somebody has a ticket for it");
    assert!(ledger.expire(now + LIFE));
    assert!(ledger.retire(&id));
    assert_eq!(ask(&mut ledger, "two", "gpu-memory=512", 2, now), None);
    assert_eq!(ledger.members()[0].state, State::Draining);
    ledger.restore(&id);
    assert!(ask(&mut ledger, "two", "gpu-memory=512", 2, now).is_some());
    assert!(!ledger.members()[0].is_idle);
    let sizes: Vec<_> = ledger.shapes()[0]
        .backend
        .devices
        .iter()
        .map(|d| d.memory_bytes)
        .collect();
    assert_eq!(sizes, [GIB]);
}

#[test]
fn a_grant_that_nobody_uses_ends() {
    let now = Instant::now();
    let mut ledger = ledger(&[("a", GIB)]);
    assert!(ask(&mut ledger, "one", "gpu-memory=1024", 1, now).is_some());
    assert!(!ledger.expire(now + LIFE - Duration::from_secs(1)));
    assert!(ledger.expire(now + LIFE));
    assert!(!ledger.holds(&account("one")));
    assert!(ask(&mut ledger, "two", "gpu-memory=1024", 2, now).is_some());
}

#[test]
fn programs_of_one_container_share_a_place() {
    let now = Instant::now();
    let mut ledger = ledger(&[("a", GIB), ("b", GIB)]);
    let asked = "gpu-memory=1024";
    let first = ask(&mut ledger, "one", asked, 1, now).expect("room");
    assert_eq!(ask(&mut ledger, "one", asked, 2, now), Some(first.clone()));
    let running = picture(&ledger, &[("one", 1)], asked);
    ledger.report(&first, &running);
    assert_eq!(ask(&mut ledger, "one", asked, 3, now), Some(first.clone()));
    assert_eq!(ledger.totals().granted_memory_bytes, GIB, "counted once");
    // A backend that ends takes nobody, and the program may begin elsewhere.
    let draining = Facts {
        is_draining: true,
        ..facts()
    };
    ledger.set_facts(&first, draining);
    let other = ask(&mut ledger, "one", asked, 4, now).expect("the other one");
    assert_ne!(other, first);
}

#[test]
fn a_full_backend_has_its_own_programs_wait() {
    let now = Instant::now();
    let mut ledger = ledger(&[("a", GIB), ("b", GIB)]);
    let place = ask(&mut ledger, "one", "gpu-core=10", 1, now).expect("room");
    let running = picture(&ledger, &[("one", 1)], "gpu-core=10");
    ledger.report(&place, &running);
    let full = Facts {
        sessions_max: Some(1),
        ..facts()
    };
    ledger.set_facts(&place, full);
    assert_eq!(ask(&mut ledger, "one", "gpu-core=10", 2, now), None);
    assert!(ask(&mut ledger, "two", "gpu-core=10", 3, now).is_some_and(|other| other != place));
}

#[test]
fn reserved_room_is_for_its_pod() {
    let now = Instant::now();
    let mut ledger = ledger(&[("a", GIB)]);
    let asked = "gpu-count=1";
    let choice = ledger
        .choose(&account("one"), &demand(asked), 0)
        .expect("room");
    ledger.reserve(&account("one"), &choice, now + LIFE);
    assert_eq!(ask(&mut ledger, "two", asked, 1, now), None);
    ledger.unreserve(&account("one"));
    assert_eq!(ask(&mut ledger, "one", asked, 2, now), Some("a".into()));
    let share = ledger.holdings().next().expect("one").share;
    assert_eq!((share.is_whole, share.percent), (true, Some(100)));
    ledger.release(&account("one"));
    assert_eq!(ledger.holdings().count(), 0);
    assert!(ask(&mut ledger, "two", asked, 3, now).is_some());
}

#[test]
fn silent_backends_get_nobody_and_keep_what_they_have() {
    let now = Instant::now();
    let mut ledger = ledger(&[("a", GIB)]);
    assert!(ask(&mut ledger, "one", "gpu-core=10", 1, now).is_some());
    ledger.silence(&"a".into());
    assert!(!ledger.is_complete());
    assert_eq!(ask(&mut ledger, "two", "gpu-core=10", 2, now), None);
    assert!(ledger.holds(&account("one")));
    ledger.remove(&"a".into());
    assert!(!ledger.holds(&account("one")));
    assert_eq!(ledger.holdings().count(), 0);
}

#[test]
fn what_programs_allocate_is_summed_by_device() {
    let mut ledger = ledger(&[("a", GIB)]);
    let memory = |device, bytes| DeviceMemory {
        device,
        bytes,
        peak_bytes: bytes,
    };
    let session = SessionStatus {
        counters: Counters {
            memory: vec![memory(0, 5), memory(9, 7)],
            ..Counters::default()
        },
        ..SessionStatus::default()
    };
    let sessions = vec![session.clone(), session];
    ledger.report(
        &"a".into(),
        &Picture {
            sessions,
            ..Picture::default()
        },
    );
    assert_eq!(ledger.totals().used_memory_bytes, 10);
}

#[test]
fn all_devices_are_an_empty_list() {
    let ledger = ledger(&[("a", GIB)]);
    let choice = ledger
        .choose(&account("one"), &Demand::default(), 0)
        .expect("room");
    assert_eq!(choice.share.devices.len(), 1);
    assert_eq!(ledger.quota(&choice), Quota::default());
}
