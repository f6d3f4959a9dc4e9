// SPDX-License-Identifier: Apache-2.0
//! Connections for NVML that do what no client of ours does: each ends its own worker, nobody
//! else's.

use std::time::{Duration, Instant};

use gvirtus_nvml_abi::table::{self, Travel, functions};
use gvirtus_protocol::handshake::{Hello, Purpose};
use gvirtus_protocol::management::{Input, LENGTH_BYTES, Reply, Request, body_bytes};
use gvirtus_tests::peer::{Peer, hello};
use gvirtus_tests::{Daemon, LIMIT};

fn connect(daemon: &Daemon) -> Peer {
    let mut peer = Peer::tcp(daemon).expect("the daemon listens");
    let management = Hello {
        purpose: Purpose::Management,
        ..hello()
    };
    peer.send(&management.encode()).expect("the daemon reads");
    let welcome = peer.answer().expect("a correct hello is welcome");
    assert!(welcome.snapshot.devices.is_empty(), "no driver is started");
    peer
}

fn request(number: u64, symbol: &str, arguments: Vec<Input>) -> Vec<u8> {
    let request = Request {
        number,
        function: table::number(symbol).expect("listed"),
        arguments,
    };
    request.encode().expect("short")
}

/// The next reply; nothing if the worker has closed.
fn reply(peer: &mut Peer) -> Option<Reply> {
    let mut length = [0; LENGTH_BYTES];
    peer.read(&mut length).ok()?;
    let mut body = vec![0; body_bytes(length).expect("short")];
    peer.read(&mut body).ok()?;
    Some(Reply::decode(&body).expect("a reply"))
}

/// A connection that has started NVML.
fn started(daemon: &Daemon) -> Peer {
    let mut peer = connect(daemon);
    let start = request(1, "nvmlInitWithFlags", vec![Input::Word(0)]);
    peer.send(&start).expect("open");
    assert_eq!(reply(&mut peer).map(|reply| reply.status), Some(0));
    peer
}

/// One device, whatever was done before.
fn counts_devices(daemon: &Daemon) {
    let mut peer = started(daemon);
    let place = Input::Memory(Vec::new());
    let count = request(2, "nvmlDeviceGetCount_v2", vec![place]);
    peer.send(&count).expect("open");
    let reply = reply(&mut peer).expect("an answer");
    assert_eq!(reply.outputs, [1_u32.to_le_bytes().to_vec()]);
}

#[test]
fn a_hostile_connection_ends_alone() {
    let daemon = Daemon::start();
    counts_devices(&daemon);
    let forbidden = functions()
        .iter()
        .position(|f| f.travel == Travel::Unsupported);
    let forbidden = Request {
        number: 2,
        function: u16::try_from(forbidden.expect("some")).expect("few"),
        arguments: Vec::new(),
    };
    let unknown = Request {
        function: u16::MAX,
        ..forbidden.clone()
    };
    let name = |arguments| request(2, "nvmlDeviceGetName", arguments);
    let place = || Input::Memory(Vec::new());
    let hostile = [
        vec![0xff; 100],
        vec![4, 0, 0, 0, 0xff, 0xff, 0xff, 0xff],
        forbidden.encode().expect("short"),
        unknown.encode().expect("short"),
        name(Vec::new()),
        name(vec![Input::Word(1), Input::Word(0xdead), Input::Word(64)]),
        name(vec![
            Input::Word(1),
            Input::Memory(vec![1; 64]),
            Input::Word(64),
        ]),
    ];
    for bytes in hostile {
        let mut peer = started(&daemon);
        peer.send(&bytes).expect("open");
        let rest = peer.read_to_end().expect("the worker closes");
        assert!(rest.is_empty(), "{bytes:?} is answered");
    }
    // Honest mistakes are answered.
    let mut peer = started(&daemon);
    peer.send(&name(vec![Input::Word(99), place(), Input::Word(64)]))
        .expect("open");
    assert_eq!(reply(&mut peer).map(|reply| reply.status), Some(2));
    counts_devices(&daemon);
}

#[test]
fn a_worker_ends_with_its_client() {
    let daemon = Daemon::start();
    let peer = started(&daemon);
    assert_eq!(daemon.workers().len(), 1);
    drop(peer);
    let began = Instant::now();
    while !daemon.workers().is_empty() {
        assert!(began.elapsed() < LIMIT, "the worker lives on");
        std::thread::sleep(Duration::from_millis(5));
    }
}
