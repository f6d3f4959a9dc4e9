// SPDX-License-Identifier: Apache-2.0
//! `CUDA_VISIBLE_DEVICES` means the same on a remote GPU as on one in the machine.

use gvirtus_tests::broker::Broker;
use gvirtus_tests::{Daemon, Session, Way};

const THREE: (&str, &str) = ("GVIRTUS_SOFTGPU_DEVICES", "3");
const VISIBLE: &str = "CUDA_VISIBLE_DEVICES";

/// CUDA's answer to the question for devices, and their PCI buses.
fn devices(way: Way<'_>, visible: Option<&str>) -> (String, Vec<u64>) {
    let variables = [Some(THREE), visible.map(|list| (VISIBLE, list))];
    let variables: Vec<_> = variables.into_iter().flatten().collect();
    let mut session = Session::start_in(way, &variables);
    let answer = session.ask("devices");
    if let [first, ..] = answer.numbers[..] {
        // They are not only shown.
        assert!((1..=3).contains(&first));
        session.need("launch 2");
        assert_eq!(session.need("count"), [2]);
    }
    (answer.status, answer.numbers)
}

#[test]
fn a_program_sees_what_it_wants_to_see() {
    let daemon = Daemon::start_in(&[THREE], &[]);
    // "gvirtus-softgpu2" in hexadecimal digits.
    let uuid = "GPU-67766972-7475-732d-736f-667467707532";
    for (visible, buses) in [
        (None, &[1, 2, 3][..]),
        (Some("0,1,2"), &[1, 2, 3]),
        (Some("2,0"), &[3, 1]),
        (Some("1,7,0"), &[2]),
        (Some(uuid), &[3]),
        (Some(""), &[]),
        (Some("-1"), &[]),
    ] {
        let status = match buses {
            [] => "cudaErrorNoDevice",
            _ => "cudaSuccess",
        };
        let expected = (status.to_owned(), buses.to_vec());
        let straight = devices(Way::Straight, visible);
        assert_eq!(straight, expected, "straight {visible:?}");
        let remoted = devices(Way::Remoted(&daemon.unix()), visible);
        assert_eq!(remoted, expected, "remoted {visible:?}");
    }
}

#[test]
fn a_daemon_offers_what_it_sees_itself() {
    let daemon = Daemon::start_in(&[THREE, (VISIBLE, "2,1")], &[]);
    for (visible, buses) in [(None, &[3, 2][..]), (Some("1"), &[2])] {
        let (_, seen) = devices(Way::Remoted(&daemon.unix()), visible);
        assert_eq!(seen, buses, "{visible:?}");
    }
}

#[test]
fn a_ticket_leaves_devices_out() {
    let broker = Broker::start();
    let _daemon = broker.daemon_in(&[THREE], &[]);
    broker.grant_devices(&[*b"gvirtus-softgpu2", *b"gvirtus-softgpu0"]);
    for (visible, buses) in [(None, &[3, 1][..]), (Some("1"), &[1]), (Some("2"), &[])] {
        let mut variables = vec![("GVIRTUS_TOKEN", "train:64")];
        variables.extend(visible.map(|list| (VISIBLE, list)));
        let mut session = Session::start_in(Way::Remoted(&broker.endpoint()), &variables);
        assert_eq!(session.ask("devices").numbers, buses, "{visible:?}");
    }
}

#[test]
fn a_quota_is_that_of_a_device_whatever_its_number_is() {
    const MEBIBYTE: u64 = 1 << 20;
    let broker = Broker::start();
    let _daemon = broker.daemon_in(&[THREE], &[]);
    let session = |visible: &str| {
        let variables = [("GVIRTUS_TOKEN", "train:64"), (VISIBLE, visible)];
        Session::start_in(Way::Remoted(&broker.endpoint()), &variables)
    };
    let allocate = |session: &mut Session, mib: u64| {
        let answer = session.ask(&format!("allocate {}", mib * MEBIBYTE));
        answer.is_success()
    };
    let mut second = session("1");
    assert!(allocate(&mut second, 48));
    let mut same = session("1,0");
    assert!(!allocate(&mut same, 48), "the processes share a device");
    assert_eq!(same.need("memory"), [16 * MEBIBYTE, 64 * MEBIBYTE]);
    let mut first = session("0");
    assert!(allocate(&mut first, 48), "another device");
}
