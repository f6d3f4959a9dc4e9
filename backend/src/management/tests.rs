// SPDX-License-Identifier: Apache-2.0
//! Requests, honest and not, to an NVML that is made of functions of the test.

use core::ffi::{CStr, c_char};
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use gvirtus_nvml_abi::Status;
use gvirtus_nvml_abi::table::{Kind, Travel, functions, number};
use gvirtus_protocol::limits::{DEVICES_MAX, MANAGEMENT_ARRAY_BYTES_MAX};
use gvirtus_protocol::management::{Input, LENGTH_BYTES, Reply, Request, body_bytes};
use gvirtus_transport::from_descriptor;

use super::serve::{Answer, Connection, ManagementEnd, serve};
use super::*;
use crate::control::{Neighbour, WorkerControl, neighbours_message};
use crate::quota::{Allowance, Ledger};

/// A worker, and a process of this machine that is none.
const WORKER: u32 = 4000;
const STRANGER: u32 = 5000;

unsafe extern "C" fn succeed() -> Status {
    Status::SUCCESS
}

unsafe extern "C" fn device_count(count: *mut u32) -> Status {
    // SAFETY: a place for a number.
    unsafe { count.write(2) };
    Status::SUCCESS
}

unsafe extern "C" fn device_by_index(index: u32, device: *mut usize) -> Status {
    if index >= 2 {
        return Status::INVALID_ARGUMENT;
    }
    // SAFETY: a place for a handle.
    unsafe { device.write(0xdead_0000 + index as usize) };
    Status::SUCCESS
}

/// `GPU-0` and `GPU-1`.
unsafe extern "C" fn device_by_uuid(uuid: *const c_char, device: *mut usize) -> Status {
    // SAFETY: a string of the caller's.
    let uuid = unsafe { CStr::from_ptr(uuid) }.to_bytes();
    let [b'G', b'P', b'U', b'-', digit @ b'0'..=b'1'] = *uuid else {
        return Status::NOT_FOUND;
    };
    // SAFETY: the caller's promise is that of the function.
    unsafe { device_by_index(u32::from(digit - b'0'), device) }
}

/// Total, free, used.
unsafe extern "C" fn memory(_device: usize, memory: *mut [u64; 3]) -> Status {
    // SAFETY: room for the structure.
    unsafe { memory.write([1000, 600, 400]) };
    Status::SUCCESS
}

unsafe extern "C" fn name(device: usize, name: *mut u8, length: u32) -> Status {
    assert_eq!(device, 0xdead_0001, "handles arrive as NVML gave them");
    if length < 4 {
        return Status::INSUFFICIENT_SIZE;
    }
    // SAFETY: room for as many bytes as the length says.
    unsafe { name.copy_from_nonoverlapping(c"GPU".as_ptr().cast(), 4) };
    Status::SUCCESS
}

/// Two processes, if there is room for them.
unsafe extern "C" fn processes(_device: usize, count: *mut u32, list: *mut [u32; 6]) -> Status {
    // SAFETY: a number, and room for as many processes as it says.
    unsafe {
        let room = count.replace(2);
        if room < 2 || list.is_null() {
            return Status::INSUFFICIENT_SIZE;
        }
        list.write([WORKER, 0, 7, 0, 1, 1]);
        list.add(1).write([STRANGER, 0, 8, 0, 1, 1]);
    }
    Status::SUCCESS
}

/// Fills all the room there is.
unsafe extern "C" fn affinity(_device: usize, count: u32, set: *mut u64) -> Status {
    // SAFETY: room for as many words as the count says.
    unsafe { std::slice::from_raw_parts_mut(set, count as usize).fill(u64::MAX) };
    Status::SUCCESS
}

unsafe extern "C" fn process_name(pid: u32, name: *mut u8, _length: u32) -> Status {
    assert_eq!(pid, STRANGER);
    // SAFETY: the tests give room enough.
    unsafe { name.copy_from_nonoverlapping(c"Xorg".as_ptr().cast(), 5) };
    Status::SUCCESS
}

unsafe extern "C" fn create_event_set(set: *mut usize) -> Status {
    static LAST: AtomicU32 = AtomicU32::new(0x100);
    let handle = LAST.fetch_add(16, Ordering::Relaxed);
    // SAFETY: a place for a handle.
    unsafe { set.write(handle as usize) };
    Status::SUCCESS
}

/// The second device, an XID after a while.
unsafe extern "C" fn wait(_set: usize, data: *mut u64, timeout_ms: u32) -> Status {
    std::thread::sleep(Duration::from_millis(timeout_ms.into()));
    // SAFETY: room for a structure of 32 bytes.
    unsafe { std::slice::from_raw_parts_mut(data, 4).copy_from_slice(&[0xdead_0001, 8, 79, 0]) };
    Status::SUCCESS
}

fn nvml() -> Nvml {
    Nvml::resolve(|symbol| match symbol {
        "nvmlInit_v2" | "nvmlEventSetFree" => succeed as *const () as usize,
        "nvmlDeviceGetCount_v2" => device_count as *const () as usize,
        "nvmlDeviceGetHandleByIndex_v2" => device_by_index as *const () as usize,
        "nvmlDeviceGetHandleByUUID" => device_by_uuid as *const () as usize,
        "nvmlDeviceGetMemoryInfo" => memory as *const () as usize,
        "nvmlDeviceGetName" => name as *const () as usize,
        "nvmlDeviceGetComputeRunningProcesses_v3" => processes as *const () as usize,
        "nvmlDeviceGetCpuAffinity" => affinity as *const () as usize,
        "nvmlSystemGetProcessName" => process_name as *const () as usize,
        "nvmlEventSetCreate" => create_event_set as *const () as usize,
        "nvmlEventSetWait_v2" => wait as *const () as usize,
        _ => 0,
    })
}

/// A worker's control, and a daemon that knows of one session besides.
fn control() -> (WorkerControl, JoinHandle<()>) {
    let (mut daemon, worker) = UnixStream::pair().expect("sockets");
    let neighbour = Neighbour {
        worker: WORKER,
        pid: 12,
        same_host: true,
        program: "train".into(),
    };
    let thread = std::thread::spawn(move || {
        let mut question = [0];
        while daemon.read_exact(&mut question).is_ok() {
            let message = neighbours_message(std::slice::from_ref(&neighbour));
            daemon.write_all(&message).expect("open");
        }
    });
    (WorkerControl::new(worker), thread)
}

fn request(symbol: &str, arguments: Vec<Input>) -> Request {
    Request {
        number: 1,
        function: number(symbol).expect("listed"),
        arguments,
    }
}

fn started() -> Connection {
    let connection = Connection::new(Some(nvml()), control().0, Share::default());
    let start = request("nvmlInitWithFlags", vec![Input::Word(0)]);
    assert_eq!(status(&connection, &start), Status::SUCCESS);
    connection
}

fn answer(connection: &Connection, request: &Request) -> Answer {
    connection.answer(request).expect("an honest request")
}

fn status(connection: &Connection, request: &Request) -> Status {
    answer(connection, request).status
}

fn place() -> Input {
    Input::Memory(Vec::new())
}

fn count(count: u32) -> Input {
    Input::Memory(count.to_le_bytes().to_vec())
}

#[test]
fn functions_get_what_the_client_means() {
    let connection = started();
    let name = |token, length| {
        let arguments = vec![Input::Word(token), place(), Input::Word(length)];
        answer(&connection, &request("nvmlDeviceGetName", arguments))
    };
    let found = name(2, 96);
    assert_eq!(found.status, Status::SUCCESS);
    assert_eq!(found.outputs, [vec![], b"GPU\0".to_vec(), vec![]]);
    assert_eq!(name(2, 3).status, Status::INSUFFICIENT_SIZE);
    // Neither the address of a device nor another number is a token.
    for token in [0, 3, 0xdead_0001, u64::MAX] {
        assert_eq!(name(token, 96).status, Status::INVALID_ARGUMENT);
    }
    let by_index = vec![Input::Word(1), place()];
    let device = answer(
        &connection,
        &request("nvmlDeviceGetHandleByIndex_v2", by_index),
    );
    assert_eq!(device.outputs[1], 2_u64.to_le_bytes());
    let lacking = request("nvmlDeviceGetFanSpeed", vec![Input::Word(1), place()]);
    assert_eq!(status(&connection, &lacking), Status::FUNCTION_NOT_FOUND);
}

#[test]
fn a_program_finds_itself_among_the_processes() {
    let connection = started();
    let ask = |room, list| {
        let arguments = vec![Input::Word(1), count(room), list];
        let request = request("nvmlDeviceGetComputeRunningProcesses_v3", arguments);
        answer(&connection, &request)
    };
    let few = ask(1, place());
    assert_eq!(few.status, Status::INSUFFICIENT_SIZE);
    assert_eq!(few.outputs[1..], [2_u32.to_le_bytes().to_vec(), vec![]]);
    assert_eq!(ask(2, Input::Null).status, Status::INSUFFICIENT_SIZE);

    let name = |pid: u32| {
        let arguments = vec![Input::Word(pid.into()), place(), Input::Word(64)];
        answer(&connection, &request("nvmlSystemGetProcessName", arguments))
    };
    assert_eq!(name(STRANGER).status, Status::NOT_FOUND, "not shown yet");
    let all = ask(u32::MAX, place());
    assert_eq!(all.outputs[2].len(), 48);
    assert_eq!(all.outputs[2][..4], 12_u32.to_le_bytes());
    assert_eq!(all.outputs[2][24..28], STRANGER.to_le_bytes());
    assert_eq!(name(12).outputs[1], b"train\0");
    assert_eq!(name(STRANGER).outputs[1], b"Xorg\0");
    assert_eq!(name(1).status, Status::NOT_FOUND);
}

#[test]
fn nothing_but_questions_is_called() {
    let connection = started();
    for (function, travel) in functions().iter().map(|f| f.travel).enumerate() {
        let request = Request {
            number: 1,
            function: u16::try_from(function).expect("few"),
            arguments: Vec::new(),
        };
        if travel != Travel::Query {
            assert!(connection.answer(&request).is_err());
        }
    }
    let beyond = Request {
        number: 1,
        function: u16::try_from(functions().len()).expect("few"),
        arguments: Vec::new(),
    };
    let end = connection.answer(&beyond).expect_err("no function");
    assert!(matches!(end, ManagementEnd::Forbidden(_)));
}

#[test]
fn without_nvml_or_its_start_there_is_a_status() {
    let absent = Connection::new(None, control().0, Share::default());
    let start = request("nvmlInitWithFlags", vec![Input::Word(0)]);
    assert_eq!(status(&absent, &start), Status::LIBRARY_NOT_FOUND);
    let early = Connection::new(Some(nvml()), control().0, Share::default());
    let ask = request("nvmlDeviceGetCount_v2", vec![place()]);
    assert_eq!(status(&early, &ask), Status::UNINITIALIZED);
}

#[test]
fn room_is_never_more_than_the_limit() {
    let connection = started();
    let arguments = vec![Input::Word(1), Input::Word(u32::MAX.into()), place()];
    let found = answer(&connection, &request("nvmlDeviceGetCpuAffinity", arguments));
    assert_eq!(found.outputs[2].len(), MANAGEMENT_ARRAY_BYTES_MAX);
    assert!(found.outputs[2].iter().all(|byte| *byte == 0xff));
}

/// A generator of numbers, the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) as usize % end
    }

    fn input(&mut self, kind: &Kind) -> Input {
        let honest = self.below(4) > 0;
        match kind {
            kind if !kind.is_pointer() && honest => Input::Word(self.below(4) as u64),
            Kind::Structure {
                sizes, versioned, ..
            } if honest => {
                let mut bytes = vec![self.below(256) as u8; sizes[self.below(sizes.len())]];
                if *versioned {
                    let version = (1 << 24 | bytes.len()) as u32;
                    bytes[..4].copy_from_slice(&version.to_le_bytes());
                }
                Input::Memory(bytes)
            }
            Kind::Count if honest => count(self.below(1 << 31) as u32),
            _ => match self.below(4) {
                0 => Input::Null,
                1 => Input::Word(u64::MAX >> self.below(64)),
                2 => place(),
                _ => Input::Memory(vec![0xff; self.below(300)]),
            },
        }
    }
}

#[test]
fn any_request_has_an_answer_or_ends_the_connection() {
    // Every function is there and does nothing.
    let nvml = Nvml::resolve(|_| succeed as *const () as usize);
    let connection = Connection::new(Some(nvml), control().0, Share::default());
    let start = request("nvmlInitWithFlags", vec![Input::Word(0)]);
    assert_eq!(status(&connection, &start), Status::SUCCESS);
    let mut random = Random(7);
    let (mut called, mut ended) = (0, 0);
    for _ in 0..60 {
        for (index, function) in functions().iter().enumerate() {
            let kinds = function.arguments.iter();
            let mut arguments: Vec<_> = kinds.map(|kind| random.input(kind)).collect();
            if random.below(20) == 0 {
                arguments.push(Input::Null);
            }
            let request = Request {
                number: 1,
                function: u16::try_from(index).expect("few"),
                arguments,
            };
            match connection.answer(&request) {
                Ok(answer) if answer.status == Status::SUCCESS => called += 1,
                Ok(_) => {}
                Err(_) => ended += 1,
            }
        }
    }
    assert!(called > 500 && ended > 1000, "{called} {ended}");
}

/// The client's side of a served connection.
struct Client(UnixStream);

impl Client {
    fn send(&mut self, number: u64, symbol: &str, arguments: Vec<Input>) {
        let request = Request {
            number,
            ..request(symbol, arguments)
        };
        let message = request.encode().expect("short");
        self.0.write_all(&message).expect("open");
    }

    fn receive(&mut self) -> Reply {
        let mut length = [0; LENGTH_BYTES];
        self.0.read_exact(&mut length).expect("open");
        let mut body = vec![0; body_bytes(length).expect("short")];
        self.0.read_exact(&mut body).expect("open");
        Reply::decode(&body).expect("a reply")
    }
}

#[test]
fn events_are_waited_for_beside_questions() {
    let (client, worker) = UnixStream::pair().expect("sockets");
    let stream = from_descriptor(OwnedFd::from(worker)).expect("a socket");
    let serving =
        std::thread::spawn(move || serve(Some(nvml()), control().0, Share::default(), stream));
    let mut client = Client(client);
    client.send(1, "nvmlInitWithFlags", vec![Input::Word(0)]);
    assert_eq!(client.receive().status, 0);
    client.send(2, "nvmlEventSetCreate", vec![place()]);
    assert_eq!(client.receive().outputs[0], 1_u64.to_le_bytes());
    let waiting = vec![Input::Word(1), place(), Input::Word(300)];
    client.send(3, "nvmlEventSetWait_v2", waiting);
    client.send(4, "nvmlEventSetFree", vec![Input::Word(1)]);
    let refused = client.receive();
    assert_eq!((refused.number, refused.status), (4, Status::IN_USE.0));
    let event = client.receive();
    assert_eq!((event.number, event.status), (3, 0));
    assert_eq!(
        event.outputs[1][..8],
        2_u64.to_le_bytes(),
        "the device's token"
    );
    client.send(5, "nvmlEventSetFree", vec![Input::Word(1)]);
    assert_eq!(client.receive().status, 0);
    let again = vec![Input::Word(1), place(), Input::Word(300)];
    client.send(6, "nvmlEventSetWait_v2", again);
    assert_eq!(client.receive().status, Status::INVALID_ARGUMENT.0);
    drop(client);
    serving.join().expect("no panic").expect("a clean end");
}

#[test]
fn a_client_with_a_ticket_sees_its_share() {
    let share = Share {
        devices: vec!["GPU-1".into()],
        allowance: Some(Allowance::new(
            Ledger::create().expect("memory"),
            0,
            [1; DEVICES_MAX],
            300,
        )),
    };
    share.allowance.as_ref().expect("set").charge(0, 100);
    let connection = Connection::new(Some(nvml()), control().0, share);
    let start = request("nvmlInitWithFlags", vec![Input::Word(0)]);
    assert_eq!(status(&connection, &start), Status::SUCCESS);
    let ask = |symbol, arguments| answer(&connection, &request(symbol, arguments));
    let counted = ask("nvmlDeviceGetCount_v2", vec![place()]);
    assert_eq!(counted.outputs, [1_u32.to_le_bytes()]);
    let found = |index| {
        ask(
            "nvmlDeviceGetHandleByIndex_v2",
            vec![Input::Word(index), place()],
        )
    };
    assert_eq!(found(0).outputs[1], 1_u64.to_le_bytes());
    assert_eq!(found(1).status, Status::INVALID_ARGUMENT);
    assert_eq!(found(u64::MAX).status, Status::INVALID_ARGUMENT);
    let named = |name: &str| {
        let arguments = vec![Input::Memory(name.into()), place()];
        connection.answer(&request("nvmlDeviceGetHandleByUUID", arguments))
    };
    assert_eq!(
        named("GPU-1").expect("honest").outputs[1],
        1_u64.to_le_bytes()
    );
    let hidden = named("GPU-0").expect("honest");
    assert_eq!(hidden.status, Status::NOT_FOUND);
    let arguments = vec![Input::Word(1), place(), Input::Word(9)];
    let name = ask("nvmlDeviceGetName", arguments);
    assert_eq!(name.status, Status::SUCCESS, "it is the second device");
    let shown = ask("nvmlDeviceGetMemoryInfo", vec![Input::Word(1), place()]);
    let figures = [300_u64, 200, 100].map(u64::to_le_bytes);
    assert_eq!(shown.outputs[1], figures.concat());
}
