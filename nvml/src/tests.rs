// SPDX-License-Identifier: Apache-2.0
//! Calls of the client, with a backend that is a thread of the test.

use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::channel;
use std::thread::JoinHandle;

use gvirtus_nvml_abi::Status;
use gvirtus_nvml_abi::table::{HandleKind, functions, number};
use gvirtus_protocol::management::{Input, LENGTH_BYTES, Reply, Request, body_bytes};
use gvirtus_transport::from_descriptor;

use crate::connection::Connection;
use crate::handle::handle;
use crate::marshal;

fn receive(stream: &mut UnixStream) -> Option<Request> {
    let mut length = [0; LENGTH_BYTES];
    stream.read_exact(&mut length).ok()?;
    let mut body = vec![0; body_bytes(length).expect("short")];
    stream.read_exact(&mut body).expect("whole");
    Some(Request::decode(&body).expect("a request"))
}

fn pair() -> (Connection, UnixStream) {
    let (client, backend) = UnixStream::pair().expect("a socket pair");
    let stream = from_descriptor(OwnedFd::from(client)).expect("a socket");
    (Connection::new(stream), backend)
}

/// A connection to a backend that answers every request so, and tells what it got at its end.
fn backend(status: Status, outputs: Vec<Vec<u8>>) -> (Connection, JoinHandle<Vec<Request>>) {
    let (connection, mut stream) = pair();
    let thread = std::thread::spawn(move || {
        let mut requests = Vec::new();
        while let Some(request) = receive(&mut stream) {
            let reply = Reply {
                number: request.number,
                status: status.0,
                outputs: outputs.clone(),
            };
            stream
                .write_all(&reply.encode().expect("short"))
                .expect("open");
            requests.push(request);
        }
        requests
    });
    (connection, thread)
}

fn call(connection: &Connection, symbol: &str, words: &[usize]) -> Result<(), Status> {
    let number = number(symbol).expect("listed");
    let function = &functions()[usize::from(number)];
    // SAFETY: each test passes locals of the declared sizes.
    unsafe { marshal::call(connection, number, function, words) }
}

fn device(token: u64) -> usize {
    handle(HandleKind::Device, token) as usize
}

fn address<T: ?Sized>(value: &mut T) -> usize {
    (&raw mut *value).cast::<u8>().expose_provenance()
}

#[test]
fn a_text_is_written_as_far_as_it_goes() {
    let outputs = vec![Vec::new(), b"GPU\0".to_vec(), Vec::new()];
    let (connection, thread) = backend(Status::SUCCESS, outputs);
    let mut name = [7_u8; 6];
    let result = call(
        &connection,
        "nvmlDeviceGetName",
        &[device(3), address(&mut name), 6],
    );
    assert_eq!((result, &name), (Ok(()), b"GPU\0\x07\x07"));
    connection.close();
    let requests = thread.join().expect("no panic");
    let inputs = [Input::Word(3), Input::Memory(Vec::new()), Input::Word(6)];
    assert_eq!(requests[0].arguments, inputs);
}

#[test]
fn what_does_not_fit_is_not_written() {
    let outputs = vec![Vec::new(), b"long name\0".to_vec(), Vec::new()];
    let (connection, _thread) = backend(Status::SUCCESS, outputs);
    let mut name = [7_u8; 6];
    let words = [device(3), address(&mut name), 6];
    let result = call(&connection, "nvmlDeviceGetName", &words);
    assert_eq!((result, name), (Err(Status::GPU_IS_LOST), [7; 6]));
    assert!(connection.is_lost());
    let again = call(&connection, "nvmlDeviceGetName", &words);
    assert_eq!(again, Err(Status::GPU_IS_LOST));
}

#[test]
fn an_array_has_its_count() {
    let process = [9_u32, 0, 1, 2, 3, 4];
    let bytes: Vec<u8> = process.iter().flat_map(|half| half.to_le_bytes()).collect();
    let outputs = vec![Vec::new(), 1_u32.to_le_bytes().to_vec(), bytes];
    let (connection, thread) = backend(Status::SUCCESS, outputs);
    let (mut count, mut processes) = (2_u32, [0_u32; 12]);
    let words = [device(1), address(&mut count), address(&mut processes)];
    let symbol = "nvmlDeviceGetComputeRunningProcesses_v3";
    assert_eq!(call(&connection, symbol, &words), Ok(()));
    assert_eq!((count, &processes[..6]), (1, &process[..]));
    // No array, but the backend sends one all the same.
    let words = [device(1), address(&mut count), 0];
    assert_eq!(call(&connection, symbol, &words), Err(Status::GPU_IS_LOST));
    connection.close();
    let requests = thread.join().expect("no panic");
    assert_eq!(requests[0].arguments[1], Input::Memory(vec![2, 0, 0, 0]));
    assert_eq!(requests[1].arguments[2], Input::Null);
}

#[test]
fn a_structure_says_its_size() {
    let (connection, thread) = backend(Status::NOT_SUPPORTED, Vec::new());
    let (mut unversioned, mut versioned) = ([0_u64; 5], [2 << 24 | 40_u64, 0, 0, 0, 0]);
    let symbol = "nvmlDeviceGetMemoryInfo_v2";
    let words = [device(1), address(&mut unversioned)];
    let result = call(&connection, symbol, &words);
    assert_eq!(result, Err(Status::ARGUMENT_VERSION_MISMATCH));
    let words = [device(1), address(&mut versioned)];
    assert_eq!(
        call(&connection, symbol, &words),
        Err(Status::NOT_SUPPORTED)
    );
    connection.close();
    let requests = thread.join().expect("no panic");
    assert_eq!(requests.len(), 1, "the first one is not sent");
}

#[test]
fn a_list_behind_a_structure_is_the_callers() {
    // Version, mode, count, a pointer that the backend does not know; then one process.
    let mut output = Vec::new();
    for half in [1 << 24 | 24_u32, 0, 1, 0, 0, 0] {
        output.extend(half.to_le_bytes());
    }
    output.extend([5; 32]);
    let (connection, thread) = backend(Status::SUCCESS, vec![Vec::new(), output]);
    let mut processes = [0_u8; 64];
    let mut list = [1 << 24 | 24_u64, 2, address(&mut processes) as u64];
    let words = [device(1), address(&mut list)];
    let symbol = "nvmlDeviceGetRunningProcessDetailList";
    assert_eq!(call(&connection, symbol, &words), Ok(()));
    assert_eq!(list[1..], [1, address(&mut processes) as u64]);
    assert_eq!((processes[31], processes[32]), (5, 0));
    connection.close();
    let requests = thread.join().expect("no panic");
    let Input::Memory(sent) = &requests[0].arguments[1] else {
        panic!("a structure is sent");
    };
    assert_eq!(sent[16..], [1, 0, 0, 0, 0, 0, 0, 0], "no address leaves");
}

#[test]
fn handles_come_back_as_they_went() {
    let outputs = vec![Vec::new(), 2_u64.to_le_bytes().to_vec()];
    let (connection, _thread) = backend(Status::SUCCESS, outputs);
    let mut found = 0_usize;
    let words = [0, address(&mut found)];
    assert_eq!(
        call(&connection, "nvmlDeviceGetHandleByIndex_v2", &words),
        Ok(())
    );
    assert_eq!(found, device(2));
    let words = [found + 16, 0];
    let result = call(&connection, "nvmlUnitGetUnitInfo", &words);
    assert_eq!(result, Err(Status::INVALID_ARGUMENT));
}

#[test]
fn a_wait_does_not_keep_others_from_asking() {
    let (connection, mut stream) = pair();
    let (sender, waits) = channel();
    let backend = std::thread::spawn(move || {
        let wait = receive(&mut stream).expect("a wait");
        sender.send(()).expect("the test waits");
        let question = receive(&mut stream).expect("a question");
        for (request, status) in [(question, Status::NO_DATA), (wait, Status::TIMEOUT)] {
            let reply = Reply {
                number: request.number,
                status: status.0,
                outputs: Vec::new(),
            };
            let message = reply.encode().expect("short");
            stream.write_all(&message).expect("open");
        }
        stream
    });
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| connection.call(1, Vec::new()).expect("answered").status);
        waits.recv().expect("it has come");
        let status = connection.call(2, Vec::new()).expect("answered").status;
        assert_eq!(status, Status::NO_DATA.0);
        assert_eq!(waiting.join().expect("no panic"), Status::TIMEOUT.0);
    });
    drop(backend.join().expect("no panic"));
    assert!(connection.call(3, Vec::new()).is_err());
}
