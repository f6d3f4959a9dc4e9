// SPDX-License-Identifier: Apache-2.0
//! Sessions on the no-op driver, with clients that are written by hand: polite and hostile ones.

use std::io::{IoSlice, Read as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;

use gvirtus_abi::*;
use gvirtus_protocol::command::*;
use gvirtus_protocol::frame::{CommandHeader, REPLY_HEADER_BYTES, ReplyHeader, TRAILER_BYTES};
use gvirtus_protocol::opcode::{self, Opcode};
use gvirtus_transport::write_all_vectored;
use zerocopy::little_endian::U64 as Word;
use zerocopy::{FromBytes as _, IntoBytes as _};

use super::error::SessionError;
use super::session::serve;
use crate::driver::{Driver, Entries};
use crate::limits::{INLINE_DOWNLOAD_BYTES_MAX, PARKED_DOWNLOAD_BYTES_MAX, STAGING_CHUNK_BYTES};

const CONTEXT: u16 = 1;
const IMAGE: u32 = 1;

struct Client {
    socket: UnixStream,
    sequence: u64,
    session: JoinHandle<Result<(), SessionError>>,
}

struct Answered {
    status: CUresult,
    deferred: CUresult,
    body: Vec<u8>,
    payload: Vec<u8>,
    last: Option<CUresult>,
}

impl Client {
    /// A client without a context.
    fn connect(entries: Entries) -> Self {
        let driver: &'static Driver = Box::leak(Box::new(Driver::new(entries)));
        let (socket, stream) = UnixStream::pair().expect("sockets");
        Self {
            socket,
            sequence: 0,
            session: std::thread::spawn(move || {
                serve(driver, Box::new(stream), None, &Arc::default(), None)
            }),
        }
    }

    /// A client with a context and an image.
    fn start() -> Self {
        Self::start_on(crate::driver::noop_entries())
    }

    fn start_on(entries: Entries) -> Self {
        let mut client = Self::connect(entries);
        client.retain();
        let load = Load {
            image: IMAGE.into(),
            option_count: 0.into(),
        };
        client.send(opcode::cuLibraryLoadData, load.as_bytes(), b".version 8.0");
        let answered = client.answered();
        assert_eq!(answered.status, CUresult::CUDA_SUCCESS);
        let image = LoadedImage::decode(&answered.body).expect("an image");
        assert_eq!(image.kernels[0].name, "noop");
        assert_eq!(image.kernels[0].parameter_bytes(), 12);
        client
    }

    fn retain(&mut self) {
        let create = ContextCreate {
            device: 0.into(),
            flags: 0.into(),
        };
        self.send(opcode::cuDevicePrimaryCtxRetain, create.as_bytes(), &[]);
    }

    fn send(&mut self, opcode: Opcode, body: &[u8], payload: &[u8]) {
        self.sequence += 1;
        let length = body.len() as u32;
        let header =
            CommandHeader::new(opcode, CONTEXT, self.sequence, length, payload.len() as u64);
        self.raw(&[header.as_bytes(), body, payload]);
    }

    fn raw(&self, parts: &[&[u8]]) {
        let mut parts: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        // The session may have ended, which the test finds out by itself.
        let _ = write_all_vectored(&self.socket, &mut parts);
    }

    fn words(&mut self, opcode: Opcode, words: &[u64]) {
        let words: Vec<Word> = words.iter().map(|w| Word::new(*w)).collect();
        self.send(opcode, words.as_bytes(), &[]);
    }

    fn answered(&mut self) -> Answered {
        self.answered_to(self.sequence)
    }

    fn answered_to(&mut self, sequence: u64) -> Answered {
        let mut header = [0; REPLY_HEADER_BYTES];
        self.socket.read_exact(&mut header).expect("a reply");
        let header = ReplyHeader::read_from_bytes(&header).expect("as long as one");
        header.check().expect("valid");
        assert_eq!(header.sequence.get(), sequence);
        let mut body = vec![0; header.body_len()];
        self.socket.read_exact(&mut body).expect("a body");
        let mut payload = vec![1; header.payload_bytes.get() as usize];
        self.socket.read_exact(&mut payload).expect("a payload");
        let last = (!payload.is_empty()).then(|| {
            let mut trailer = [0; TRAILER_BYTES];
            self.socket.read_exact(&mut trailer).expect("a trailer");
            CUresult(u32::from_le_bytes(trailer))
        });
        Answered {
            status: header.status(),
            deferred: header.deferred(),
            body,
            payload,
            last,
        }
    }

    /// Status and deferred failure of a round trip.
    fn ping(&mut self) -> (CUresult, CUresult) {
        self.send(opcode::PING, &[], &[]);
        let answered = self.answered();
        (answered.status, answered.deferred)
    }

    fn stream(&mut self, number: u32) {
        let create = StreamCreate {
            stream: number.into(),
            flags: 1.into(),
            priority: 0.into(),
        };
        self.send(opcode::cuStreamCreateWithPriority, create.as_bytes(), &[]);
    }

    fn launch(&mut self, function: u64, parameters: &[u8], attributes: &[u8]) {
        let launch = Launch {
            function: function.into(),
            stream: 0.into(),
            grid: [1.into(); 3],
            block: [1.into(); 3],
            shared_bytes: 0.into(),
            attribute_count: ((attributes.len() / ATTRIBUTE_BYTES) as u32).into(),
            parameter_bytes: (parameters.len() as u32).into(),
        };
        let body = [launch.as_bytes(), attributes, parameters].concat();
        self.send(opcode::cuLaunchKernel, &body, &[]);
    }

    /// How the session ends after the client has closed its side.
    fn end(self) -> Result<(), SessionError> {
        drop(self.socket);
        self.session.join().expect("no panic")
    }

    /// How the session ends by itself.
    fn ended(self) -> SessionError {
        let mut rest = Vec::new();
        let result = self.session.join().expect("no panic");
        drop(
            self.socket
                .try_clone()
                .map(|mut s| s.read_to_end(&mut rest)),
        );
        result.expect_err("the client broke the protocol")
    }
}

const SUCCESS: CUresult = CUresult::CUDA_SUCCESS;

fn kernel() -> u64 {
    let number = FunctionNumber {
        image: IMAGE,
        kernel: 0,
    };
    number.to_word()
}

fn copy(width: u64, height: u64, pitch: u64, synchronous: bool) -> Copy2D {
    Copy2D {
        device_address: 0x1000.into(),
        device_pitch_bytes: pitch.into(),
        width_bytes: width.into(),
        height: height.into(),
        stream: 0.into(),
        synchronous: u32::from(synchronous).into(),
    }
}

#[test]
fn a_polite_client_gets_what_it_asks_for() {
    let mut client = Client::start();
    client.words(opcode::cuMemAlloc_v2, &[4096]);
    let answered = client.answered();
    assert_eq!(answered.status, SUCCESS);
    let address = Word::read_from_bytes(&answered.body).expect("one word");
    client.words(opcode::cuMemsetD8Async, &[address.get(), 7, 4096, 0]);
    let stream = StreamCreate {
        stream: 1.into(),
        flags: 1.into(),
        priority: 0.into(),
    };
    client.send(opcode::cuStreamCreateWithPriority, stream.as_bytes(), &[]);
    for event in [1, 2] {
        let create = EventCreate {
            event: event.into(),
            flags: 0.into(),
        };
        client.send(opcode::cuEventCreate, create.as_bytes(), &[]);
        client.words(opcode::cuEventRecord, &[u64::from(event), 1]);
    }
    client.launch(kernel(), &[0; 12], &[]);
    client.words(opcode::cuStreamSynchronize, &[1]);
    assert_eq!(client.answered().status, SUCCESS);
    client.words(opcode::cuEventSynchronize, &[2]);
    assert_eq!(client.answered().status, SUCCESS);
    client.words(opcode::cuEventElapsedTime, &[1, 2]);
    assert_eq!(client.answered().body, 0_u64.to_le_bytes());
    client.words(opcode::cuMemGetInfo_v2, &[]);
    assert_eq!(client.answered().body.len(), 16);
    client.send(opcode::cuCtxSynchronize, &[], &[]);
    assert_eq!(client.answered().deferred, SUCCESS);
    client.words(opcode::cuStreamDestroy_v2, &[1]);
    client.words(opcode::cuMemFree_v2, &[address.get()]);
    client.words(opcode::cuLibraryUnload, &[u64::from(IMAGE)]);
    client.words(opcode::cuDevicePrimaryCtxRelease_v2, &[u64::from(CONTEXT)]);
    assert_eq!(client.ping(), (SUCCESS, SUCCESS));
    client.end().expect("a clean end");
}

#[test]
fn copies_of_all_sizes_arrive_whole() {
    let mut client = Client::start();
    let chunk = STAGING_CHUNK_BYTES as u64;
    for (width, height) in [
        (1, 1),
        (4096, 1),
        (chunk - 1, 1),
        (5 * chunk + 3, 1),
        (INLINE_DOWNLOAD_BYTES_MAX + 5, 1),
        (PARKED_DOWNLOAD_BYTES_MAX + 5, 1),
        (1000, 3000),
        (chunk + 1, 3),
    ] {
        for synchronous in [false, true] {
            let copy = copy(width, height, width + 8, synchronous);
            let payload = vec![9; (width * height) as usize];
            client.send(opcode::cuMemcpyHtoDAsync_v2, copy.as_bytes(), &payload);
            client.send(opcode::cuMemcpyDtoHAsync_v2, copy.as_bytes(), &[]);
            let answered = client.answered();
            assert_eq!((answered.status, answered.deferred), (SUCCESS, SUCCESS));
            assert_eq!(answered.payload.len(), payload.len());
            assert!(answered.payload.iter().all(|byte| *byte == 0));
            assert_eq!(answered.last, Some(SUCCESS));
        }
    }
    let nothing = copy(0, 1, 0, false);
    client.send(opcode::cuMemcpyHtoDAsync_v2, nothing.as_bytes(), &[]);
    client.send(opcode::cuMemcpyDtoHAsync_v2, nothing.as_bytes(), &[]);
    let answered = client.answered();
    assert_eq!((answered.status, answered.last), (SUCCESS, None));
    client.end().expect("a clean end");
}

#[test]
fn the_first_failure_of_a_posted_command_is_told_once() {
    let mut client = Client::start();
    client.words(opcode::cuMemsetD8Async, &[0x1000, 256, 10, 0]);
    client.words(opcode::cuEventRecord, &[77, 0]);
    let (status, deferred) = client.ping();
    assert_eq!(status, SUCCESS);
    assert_eq!(deferred, CUresult::CUDA_ERROR_INVALID_VALUE);
    assert_eq!(client.ping(), (SUCCESS, SUCCESS));
    client.words(opcode::cuStreamSynchronize, &[u64::MAX]);
    assert_eq!(
        client.answered().status,
        CUresult::CUDA_ERROR_INVALID_HANDLE
    );
    client.end().expect("a clean end");
}

#[test]
fn unknown_numbers_are_errors_and_not_the_end() {
    let mut client = Client::start();
    let unknown = [
        (opcode::cuStreamDestroy_v2, vec![9]),
        (opcode::cuEventDestroy_v2, vec![u64::MAX]),
        (opcode::cuLibraryUnload, vec![2]),
        (opcode::cuDevicePrimaryCtxRelease_v2, vec![70_000]),
        (opcode::cuCtxDestroy_v2, vec![u64::from(CONTEXT)]),
        (opcode::cuStreamWaitEvent, vec![0, 5, 0]),
    ];
    for (opcode, words) in unknown {
        client.words(opcode, &words);
        assert_ne!(client.ping().1, SUCCESS, "{opcode:?}");
    }
    for number in [
        FunctionNumber {
            image: 9,
            kernel: 0,
        },
        FunctionNumber {
            image: IMAGE,
            kernel: 1,
        },
    ] {
        client.launch(number.to_word(), &[0; 12], &[]);
        assert_eq!(client.ping().1, CUresult::CUDA_ERROR_INVALID_HANDLE);
    }
    let stream = StreamCreate {
        stream: u32::MAX.into(),
        flags: 0.into(),
        priority: 0.into(),
    };
    client.send(opcode::cuStreamCreateWithPriority, stream.as_bytes(), &[]);
    assert_eq!(client.ping().1, CUresult::CUDA_ERROR_INVALID_HANDLE);
    client.end().expect("a clean end");
}

#[test]
fn launches_are_as_long_as_their_kernels_want() {
    let mut client = Client::start();
    for length in [0, 11, 13, 4096] {
        client.launch(kernel(), &vec![0; length], &[]);
        assert_eq!(
            client.ping().1,
            CUresult::CUDA_ERROR_INVALID_VALUE,
            "{length}"
        );
    }
    let mut attribute = [0_u8; ATTRIBUTE_BYTES];
    for (id, status) in [
        (
            CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_COOPERATIVE,
            SUCCESS,
        ),
        (
            CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT,
            CUresult::CUDA_ERROR_INVALID_HANDLE,
        ),
        (
            CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_DEVICE_UPDATABLE_KERNEL_NODE,
            CUresult::CUDA_ERROR_NOT_SUPPORTED,
        ),
        (CUlaunchAttributeID(999), CUresult::CUDA_ERROR_NOT_SUPPORTED),
    ] {
        attribute[..4].copy_from_slice(&id.0.to_le_bytes());
        client.launch(kernel(), &[0; 12], &attribute);
        assert_eq!(client.ping().1, status, "{id:?}");
    }
    client.end().expect("a clean end");
}

#[test]
fn malformed_messages_end_the_session() {
    let long_launch = [0_u8; size_of::<Launch>() + 1];
    let mut many = Launch::read_from_bytes(&long_launch[1..]).expect("as long as one");
    many.attribute_count = u32::MAX.into();
    let mut load = Load::read_from_bytes(&[0; 8]).expect("as long as one");
    load.option_count = 1.into();
    let short = copy(10, 1, 10, false);
    let cases: [(Opcode, &[u8], &[u8]); 9] = [
        (opcode::cuMemsetD8Async, &[0; 31], &[]),
        (opcode::cuMemsetD8Async, &[0; 40], &[]),
        (opcode::cuMemsetD8Async, &[0; 32], b"payload"),
        (opcode::cuStreamSynchronize, &[0; 7], &[]),
        (opcode::cuCtxSynchronize, &[0; 8], &[]),
        (opcode::cuLaunchKernel, &long_launch, &[]),
        (opcode::cuLaunchKernel, many.as_bytes(), &[]),
        (opcode::cuLibraryLoadData, load.as_bytes(), b".version"),
        (opcode::cuMemcpyHtoDAsync_v2, short.as_bytes(), b"short"),
    ];
    for (opcode, body, payload) in cases {
        let mut good = Client::start();
        let mut client = Client::start();
        client.send(opcode, body, payload);
        assert!(
            matches!(client.ended(), SessionError::Body(o) if o == opcode),
            "{opcode:?}"
        );
        assert_eq!(good.ping(), (SUCCESS, SUCCESS));
        good.end().expect("others are not affected");
    }
}

#[test]
fn broken_frames_end_the_session() {
    let header = |opcode, sequence, body, payload| {
        CommandHeader::new(opcode, CONTEXT, sequence, body, payload)
    };
    for header in [
        header(opcode::PING, 1, 0, 0),
        header(opcode::PING, 9, 0, 0),
        header(Opcode(0xffff), 3, 0, 0),
        header(opcode::cuLaunchKernel, 3, u32::MAX, 0),
        header(opcode::cuMemcpyHtoDAsync_v2, 3, 40, u64::MAX),
    ] {
        let client = Client::start();
        client.raw(&[header.as_bytes()]);
        assert!(matches!(client.ended(), SessionError::Frame(_)));
    }
    let client = Client::start();
    let copy = copy(1000, 1, 1000, false);
    client.raw(&[
        header(opcode::cuMemcpyHtoDAsync_v2, 3, 40, 1000).as_bytes(),
        copy.as_bytes(),
        b"half",
    ]);
    assert!(matches!(client.end(), Err(SessionError::Connection(_))));
}

#[test]
fn impossible_copies_are_errors_and_their_payload_is_skipped() {
    let mut client = Client::start();
    let mut lost = copy(10, 1, 10, false);
    lost.stream = 9.into();
    client.send(opcode::cuMemcpyHtoDAsync_v2, lost.as_bytes(), &[1; 10]);
    assert_eq!(client.ping().1, CUresult::CUDA_ERROR_INVALID_HANDLE);
    let overlapping = copy(10, 2, 5, false);
    client.send(
        opcode::cuMemcpyHtoDAsync_v2,
        overlapping.as_bytes(),
        &[1; 20],
    );
    assert_eq!(client.ping().1, CUresult::CUDA_ERROR_INVALID_VALUE);
    let endless = copy(1 << 60, 1 << 60, 1 << 61, false);
    client.send(opcode::cuMemcpyDtoHAsync_v2, endless.as_bytes(), &[]);
    let answered = client.answered();
    assert_eq!(answered.status, CUresult::CUDA_ERROR_INVALID_VALUE);
    assert!(answered.payload.is_empty());
    client.end().expect("a clean end");
}

/// A device that is busy until its gate opens.
macro_rules! gated {
    ($gate:ident, $entries:ident) => {
        static $gate: AtomicBool = AtomicBool::new(false);

        let $entries = {
            fn query() -> CUresult {
                if $gate.load(Ordering::SeqCst) {
                    CUresult::CUDA_SUCCESS
                } else {
                    CUresult::CUDA_ERROR_NOT_READY
                }
            }
            extern "C" fn wait() -> CUresult {
                while query() == CUresult::CUDA_ERROR_NOT_READY {
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
                CUresult::CUDA_SUCCESS
            }
            extern "C" fn query_stream(_: CUstream) -> CUresult {
                query()
            }
            extern "C" fn query_event(_: CUevent) -> CUresult {
                query()
            }
            extern "C" fn wait_for_stream(_: CUstream) -> CUresult {
                wait()
            }
            extern "C" fn wait_for_event(_: CUevent) -> CUresult {
                wait()
            }
            Entries {
                cuStreamQuery: Some(query_stream),
                cuEventQuery: Some(query_event),
                cuStreamSynchronize: Some(wait_for_stream),
                cuEventSynchronize: Some(wait_for_event),
                cuCtxSynchronize: Some(wait),
                ..crate::driver::noop_entries()
            }
        };
    };
}

#[test]
fn waiting_keeps_nobody_else_from_working() {
    gated!(GATE, entries);
    let mut client = Client::start_on(entries);
    let event = EventCreate {
        event: 1.into(),
        flags: 0.into(),
    };
    client.send(opcode::cuEventCreate, event.as_bytes(), &[]);
    let mut waiting = Vec::new();
    client.words(opcode::cuStreamSynchronize, &[0]);
    waiting.push(client.sequence);
    client.words(opcode::cuEventSynchronize, &[1]);
    waiting.push(client.sequence);
    client.send(opcode::cuCtxSynchronize, &[], &[]);
    waiting.push(client.sequence);
    client.launch(kernel(), &[0; 12], &[]);
    assert_eq!(client.ping(), (SUCCESS, SUCCESS));
    let small = copy(100, 1, 100, false);
    client.send(opcode::cuMemcpyDtoHAsync_v2, small.as_bytes(), &[]);
    waiting.push(client.sequence);
    // Uploads go on as well: 2 MiB fit into the staging memory.
    let large = copy(1 << 20, 2, 1 << 20, false);
    let payload = vec![1; 2 << 20];
    client.send(opcode::cuMemcpyHtoDAsync_v2, large.as_bytes(), &payload);
    assert_eq!(client.ping(), (SUCCESS, SUCCESS));
    GATE.store(true, Ordering::SeqCst);
    // They may be answered in any order.
    for _ in 0..waiting.len() {
        let mut header = [0; REPLY_HEADER_BYTES];
        client.socket.read_exact(&mut header).expect("a reply");
        let header = ReplyHeader::read_from_bytes(&header).expect("as long as one");
        assert_eq!(header.status(), SUCCESS);
        waiting.retain(|sequence| *sequence != header.sequence.get());
        if header.payload_bytes.get() > 0 {
            let mut payload = [0; 100 + TRAILER_BYTES];
            client.socket.read_exact(&mut payload).expect("a payload");
        }
    }
    assert_eq!(waiting, []);
    client.end().expect("a clean end");
}

#[test]
fn nothing_overtakes_a_synchronous_copy() {
    static WAITS: AtomicU32 = AtomicU32::new(0);
    gated!(GATE, entries);
    extern "C" fn wait_event(_: CUstream, _: CUevent, _: u32) -> CUresult {
        WAITS.fetch_add(1, Ordering::SeqCst);
        CUresult::CUDA_SUCCESS
    }
    let mut client = Client::start_on(Entries {
        cuStreamWaitEvent: Some(wait_event),
        ..entries
    });
    let waits = |client: &mut Client| {
        assert_eq!(client.ping(), (SUCCESS, SUCCESS));
        WAITS.load(Ordering::SeqCst)
    };
    client.stream(1);
    client.stream(2);
    client.send(
        opcode::cuMemcpyHtoDAsync_v2,
        copy(9, 1, 9, false).as_bytes(),
        &[1; 9],
    );
    client.words(opcode::cuMemsetD8Async, &[0, 0, 1, 1]);
    assert_eq!(
        waits(&mut client),
        0,
        "an asynchronous copy may be overtaken"
    );
    client.send(
        opcode::cuMemcpyHtoDAsync_v2,
        copy(9, 1, 9, true).as_bytes(),
        &[1; 9],
    );
    client.words(opcode::cuMemsetD8Async, &[0, 0, 1, 0]);
    client.words(opcode::cuMemsetD8_v2, &[0, 0, 1]);
    assert_eq!(waits(&mut client), 0, "the copy's own stream is in order");
    client.words(opcode::cuMemsetD8Async, &[0, 0, 1, 1]);
    client.words(opcode::cuMemsetD8Async, &[0, 0, 1, 1]);
    assert_eq!(waits(&mut client), 1, "once a stream");
    GATE.store(true, Ordering::SeqCst);
    client.words(opcode::cuMemsetD8Async, &[0, 0, 1, 2]);
    assert_eq!(waits(&mut client), 1, "the copy is done");
    client.end().expect("a clean end");
}

#[test]
fn a_copy_that_fails_on_the_way_says_so_at_its_end() {
    static WAITS: AtomicU32 = AtomicU32::new(0);
    extern "C" fn wait(_: CUevent) -> CUresult {
        match WAITS.fetch_add(1, Ordering::SeqCst) {
            0..3 => CUresult::CUDA_SUCCESS,
            _ => CUresult::CUDA_ERROR_ILLEGAL_ADDRESS,
        }
    }
    let mut client = Client::start_on(Entries {
        cuEventSynchronize: Some(wait),
        ..crate::driver::noop_entries()
    });
    let width = 6 * STAGING_CHUNK_BYTES as u64;
    let copy = copy(width, 1, width, false);
    client.send(opcode::cuMemcpyDtoHAsync_v2, copy.as_bytes(), &[]);
    let answered = client.answered();
    assert_eq!(answered.status, SUCCESS);
    assert_eq!(answered.payload.len() as u64, width);
    assert_eq!(answered.last, Some(CUresult::CUDA_ERROR_ILLEGAL_ADDRESS));
    client.send(opcode::cuMemcpyDtoHAsync_v2, copy.as_bytes(), &[]);
    let answered = client.answered();
    assert_eq!(answered.status, CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
    assert!(answered.payload.is_empty(), "nothing is promised");
    client.end().expect("a clean end");
}
