// SPDX-License-Identifier: Apache-2.0

use std::num::NonZero;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

const GIB: u64 = 1 << 30;

fn device(backend: u8, ordinal: u8, memory_bytes: u64) -> Device {
    let mut uuid = [0; 16];
    (uuid[0], uuid[15]) = (backend, ordinal);
    Device::idle(Uuid(uuid), memory_bytes)
}

/// A backend `b<number>` with devices of these sizes.
fn backend(number: u8, sizes: &[u64]) -> Backend {
    let name = |kind, number| format!("{kind}{number}").into();
    let devices = sizes
        .iter()
        .zip(0..)
        .map(|(size, ordinal)| device(number, ordinal, *size));
    Backend {
        id: BackendId(name("b", number)),
        location: Location {
            node: name("n", number),
            zone: name("z", number / 2),
            region: name("r", number / 4),
        },
        state: State::Ready,
        devices: devices.collect(),
    }
}

fn demand(text: &str, policy: Policy) -> Demand {
    Demand {
        request: if text.is_empty() {
            Request::default()
        } else {
            text.parse().expect(text)
        },
        policy,
        ..Demand::default()
    }
}

fn chosen(backends: &[Backend], demand: &Demand) -> String {
    choose(backends.iter(), demand, 1)
        .expect("room")
        .backend
        .to_string()
}

fn take(backends: &mut [Backend], choice: &Choice) {
    let backend = backends
        .iter_mut()
        .find(|backend| backend.id == choice.backend);
    backend.expect("one that there is").take(&choice.share);
}

fn share_of(backend: &Backend, text: &str) -> Share {
    let backends = std::slice::from_ref(backend);
    choose(backends.iter(), &demand(text, Policy::LeastLoaded), 0)
        .expect("room")
        .share
}

#[test]
fn each_policy_prefers_what_it_says() {
    let mut backends = vec![
        backend(0, &[8 * GIB]),
        backend(1, &[8 * GIB]),
        backend(2, &[8 * GIB]),
    ];
    let share = share_of(&backends[0], "gpu-memory=4096");
    backends[0].take(&share);
    let share = share_of(&backends[1], "gpu-core=10");
    backends[1].take(&share);
    let asked = "gpu-memory=1024";
    assert_eq!(chosen(&backends, &demand(asked, Policy::LeastLoaded)), "b2");
    assert_eq!(chosen(&backends, &demand(asked, Policy::Binpack)), "b0");
    // The zone of 0 and 1 has two users.
    assert_eq!(chosen(&backends, &demand(asked, Policy::Spread)), "b2");
    let near = |number: u8| Demand {
        location: backend(number, &[]).location,
        ..demand(asked, Policy::Nearest)
    };
    assert_eq!(chosen(&backends, &near(0)), "b0");
    assert_eq!(chosen(&backends, &near(3)), "b2");
    // Another zone: the region of 0 to 3 has no nearer one.
    backends.truncate(2);
    assert_eq!(chosen(&backends, &near(3)), "b1");
}

#[test]
fn a_node_that_others_have_chosen_is_the_only_choice() {
    let mut backends = vec![backend(0, &[8 * GIB]), backend(1, &[8 * GIB])];
    let on = |node: &str| Demand {
        node: Some(node.into()),
        previous: Some("b0".into()),
        ..demand("gpu-count=1", Policy::LeastLoaded)
    };
    let node = backends[1].location.node.to_string();
    assert_eq!(chosen(&backends, &on(&node)), "b1");
    let share = share_of(&backends[1], "gpu-core=10");
    backends[1].take(&share);
    for node in [node.as_str(), "elsewhere"] {
        assert!(choose(backends.iter(), &on(node), 0).is_err(), "{node}");
    }
}

#[test]
fn memory_that_programs_use_counts_as_load() {
    let mut backends = vec![backend(0, &[8 * GIB]), backend(1, &[8 * GIB])];
    backends[0].devices[0].used_memory_bytes = GIB;
    assert_eq!(chosen(&backends, &demand("", Policy::LeastLoaded)), "b1");
}

#[test]
fn time_that_programs_use_counts_as_load() {
    let mut backends = [backend(0, &[8 * GIB]), backend(1, &[8 * GIB])];
    backends[0].devices[0].busy_percent = 90;
    for text in ["", "gpu-core=10"] {
        let demand = demand(text, Policy::LeastLoaded);
        assert_eq!(chosen(&backends, &demand), "b1");
    }
}

#[test]
fn random_reaches_every_backend() {
    let backends: Vec<_> = (0..10).map(|number| backend(number, &[GIB])).collect();
    let demand = demand("", Policy::Random);
    let chosen = (0..200).map(|seed| {
        let choice = choose(backends.iter(), &demand, seed).expect("room");
        choice.backend.to_string()
    });
    let chosen: std::collections::BTreeSet<_> = chosen.collect();
    assert_eq!(chosen.len(), backends.len());
}

#[test]
fn a_program_stays_where_it_was_if_it_can() {
    let mut backends = vec![backend(0, &[8 * GIB]), backend(1, &[8 * GIB])];
    let share = share_of(&backends[1], "gpu-core=90");
    backends[1].take(&share);
    let mut back = demand("gpu-core=10", Policy::LeastLoaded);
    back.previous = Some("b1".into());
    assert_eq!(chosen(&backends, &back), "b1");
    backends[1].state = State::Draining;
    assert_eq!(chosen(&backends, &back), "b0");
}

#[test]
fn a_whole_device_has_one_user() {
    let mut backends = [backend(0, &[GIB, GIB])];
    let whole = share_of(&backends[0], "gpu-count=1");
    assert!(whole.is_whole);
    backends[0].take(&whole);
    // Who asks for nothing gets the other one alone.
    let rest = share_of(&backends[0], "");
    assert_eq!(rest.devices, [backends[0].devices[1].uuid]);
    backends[0].take(&rest);
    let error = choose(backends.iter(), &demand("gpu-count=1", Policy::Binpack), 0);
    let text = error.expect_err("both are in use").to_string();
    assert!(text.contains("of 1 backends 1 is in use"), "{text}");
}

#[test]
fn several_devices_come_from_one_backend() {
    let backends = [
        backend(0, &[GIB, GIB]),
        backend(1, &[GIB, 4 * GIB, 4 * GIB]),
    ];
    let two = demand("gpu-count=2,gpu-memory=2048", Policy::LeastLoaded);
    let choice = choose(backends.iter(), &two, 0).expect("room");
    assert_eq!(choice.backend, "b1".into());
    assert_eq!(choice.share.devices.len(), 2);
    let three = demand("gpu-count=3,gpu-memory=2048", Policy::LeastLoaded);
    let reason = choose(backends.iter(), &three, 0).expect_err("too many");
    assert!(reason.is_hopeless(), "{reason}");
}

#[test]
fn the_reason_says_what_is_in_the_way() {
    let none: &[Backend] = &[];
    let reason = choose(none.iter(), &demand("", Policy::Random), 0).expect_err("none");
    assert!(reason.to_string().starts_with("no backend is running"));
    let mut backends: Vec<_> = (0..4).map(|number| backend(number, &[GIB])).collect();
    backends[0].state = State::Silent;
    backends[1].state = State::Draining;
    backends[2].state = State::Full;
    let share = share_of(&backends[3], "gpu-memory=1000");
    backends[3].take(&share);
    let reason = choose(
        backends.iter(),
        &demand("gpu-memory=100", Policy::Random),
        0,
    );
    assert_eq!(
        reason.expect_err("none").to_string(),
        "no backend has room for gpu-memory=100: of 4 backends 1 does not answer, 1 is about to \
         end, 1 has as many sessions as it may, 1 is in use; at most 24 MiB or 100 % are free on a \
         device"
    );
}

fn any_request() -> impl Strategy<Value = Request> {
    (0_u8..4, 0_u32..3000, 0_u8..=100, 0_u8..8).prop_map(|(count, memory, percent, kept)| Request {
        count: NonZero::new(count).filter(|_| kept & 1 != 0),
        memory_mib: NonZero::new(memory).filter(|_| kept & 2 != 0),
        percent: NonZero::new(percent).filter(|_| kept & 4 != 0),
    })
}

fn any_demand() -> impl Strategy<Value = Demand> {
    (
        any_request(),
        select(Policy::ALL.to_vec()),
        0_u8..8,
        0_u8..16,
        0_u8..16,
    )
        .prop_map(|(request, policy, at, previous, node)| Demand {
            request,
            policy,
            previous: (previous < 8).then(|| BackendId(format!("b{previous}").into())),
            location: backend(at, &[]).location,
            node: (node < 8).then(|| backend(node, &[]).location.node),
        })
}

fn any_backends() -> impl Strategy<Value = Vec<Backend>> {
    let states = vec![
        State::Ready,
        State::Ready,
        State::Ready,
        State::Draining,
        State::Full,
        State::Silent,
    ];
    vec((vec(1_u64..6, 0..4), select(states)), 0..8).prop_map(|backends| {
        let numbered = backends.into_iter().zip(0..);
        let backend = |((sizes, state), number): ((Vec<u64>, State), u8)| {
            let sizes: Vec<_> = sizes.into_iter().map(|size| size * GIB).collect();
            Backend {
                state,
                ..backend(number, &sizes)
            }
        };
        numbered.map(backend).collect()
    })
}

/// What is granted, counted again from the choices alone.
fn assert_within_capacity(backends: &[Backend], choices: &[Choice]) {
    for backend in backends {
        for device in &backend.devices {
            let users = choices.iter().filter(|choice| {
                choice.backend == backend.id && choice.share.devices.contains(&device.uuid)
            });
            let users: Vec<_> = users.map(|choice| &choice.share).collect();
            let memory: u64 = users.iter().filter_map(|share| share.memory_bytes).sum();
            let percent: u32 = users
                .iter()
                .filter_map(|share| share.percent)
                .map(u32::from)
                .sum();
            assert!(memory <= device.memory_bytes);
            assert!(percent <= u32::from(PERCENT_MAX));
            assert!(users.len() <= 1 || users.iter().all(|share| !share.is_whole));
            assert_eq!(usize::try_from(device.users), Ok(users.len()));
        }
    }
}

proptest! {
    #[test]
    fn never_over_capacity(
        mut backends in any_backends(),
        demands in vec(any_demand(), 0..40),
        seed: u64,
    ) {
        let mut choices = Vec::new();
        for demand in demands {
            match choose(backends.iter(), &demand, seed) {
                Ok(choice) => {
                    let backend = backends.iter().find(|b| b.id == choice.backend).expect("one");
                    prop_assert_eq!(backend.state, State::Ready);
                    let node = &backend.location.node;
                    prop_assert!(demand.node.as_ref().is_none_or(|wanted| wanted == node));
                    let count = demand.request.count.map_or(1, |count| count.get().into());
                    if demand.request.is_empty() {
                        prop_assert!(!choice.share.devices.is_empty());
                    } else {
                        prop_assert_eq!(choice.share.devices.len(), count);
                    }
                    take(&mut backends, &choice);
                    choices.push(choice);
                }
                Err(reason) => prop_assert!(!reason.to_string().is_empty()),
            }
        }
        assert_within_capacity(&backends, &choices);
    }

    #[test]
    fn the_same_for_a_seed_in_whatever_order(
        mut backends in any_backends(),
        demands in vec(any_demand(), 1..10),
        seed: u64,
    ) {
        for demand in demands {
            let choice = choose(backends.iter(), &demand, seed);
            prop_assert_eq!(choose(backends.iter(), &demand, seed), choice.clone());
            prop_assert_eq!(choose(backends.iter().rev(), &demand, seed), choice.clone());
            if let Ok(choice) = choice {
                take(&mut backends, &choice);
            }
        }
    }

    #[test]
    fn who_finds_no_room_finds_none_with_another_policy(
        mut backends in any_backends(),
        demands in vec(any_demand(), 1..20),
        seed: u64,
    ) {
        for demand in demands {
            let results = Policy::ALL.map(|policy| {
                choose(backends.iter(), &Demand { policy, ..demand.clone() }, seed).is_ok()
            });
            prop_assert!(results.iter().all(|result| *result == results[0]));
            if let Ok(choice) = choose(backends.iter(), &demand, seed) {
                take(&mut backends, &choice);
            }
        }
    }
}
