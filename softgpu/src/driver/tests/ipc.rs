// SPDX-License-Identifier: Apache-2.0
//! Memory and events of two processes: a test starts itself again as the other one, which is told
//! in its environment what to open.

use std::ffi::c_char;
use std::process::{Command, Stdio};

use gvirtus_abi::{CUevent, CUipcEventHandle, CUipcMemHandle};

use super::*;

const LAZY: u32 = 1;
/// `CU_EVENT_INTERPROCESS` and `CU_EVENT_DISABLE_TIMING`.
const INTERPROCESS: u32 = 4 | 2;
const VARIABLE: &str = "GVIRTUS_TEST_HANDLES";
const INVALID_CONTEXT: CUresult = CUresult::CUDA_ERROR_INVALID_CONTEXT;

fn mem_handle(address: CUdeviceptr) -> CUipcMemHandle {
    get!(cuIpcGetMemHandle(_, address))
}

fn open(reserved: [c_char; 64]) -> (CUresult, CUdeviceptr) {
    let mut address = CUdeviceptr(0);
    let handle = CUipcMemHandle { reserved };
    let status = call!(cuIpcOpenMemHandle_v2(&raw mut address, handle, LAZY));
    (status, address)
}

fn open_event(reserved: [c_char; 64]) -> (CUresult, CUevent) {
    let mut event = CUevent::NULL;
    let handle = CUipcEventHandle { reserved };
    let status = call!(cuIpcOpenEventHandle(&raw mut event, handle));
    (status, event)
}

/// Runs the ignored test `name` in a process of its own. Whether it passes.
fn other_process(name: &str, handles: &[[c_char; 64]]) -> bool {
    let digits = |byte: &c_char| format!("{byte:02x}");
    let words = handles
        .iter()
        .map(|handle| handle.iter().map(digits).collect());
    let words: Vec<String> = words.collect();
    let status = Command::new(std::env::current_exe().expect("a program"))
        .args(["--exact", "--ignored"])
        .arg(format!("driver::tests::ipc::{name}"))
        .env(VARIABLE, words.join(" "))
        .stdout(Stdio::null())
        .status();
    status.expect("started").success()
}

/// What the other process is to open; nothing where somebody runs the ignored tests by hand.
fn handles() -> Vec<[c_char; 64]> {
    let text = std::env::var(VARIABLE).unwrap_or_default();
    let parse = |word: &str| {
        std::array::from_fn(|index| {
            let digits = &word[index * 2..index * 2 + 2];
            let byte = u8::from_str_radix(digits, 16).expect("digits");
            c_char::from_ne_bytes([byte])
        })
    };
    text.split_whitespace().map(parse).collect()
}

#[test]
fn memory_is_the_same_in_two_processes() {
    let _context = TestContext::new();
    // Two small ones in one page, one that is larger than a chunk, and one behind.
    let sizes = [1000, 600, 3 << 20, 512];
    let memory = sizes.map(allocate);
    let fill = |address: CUdeviceptr, bytes: usize, seed: usize| {
        let bytes: Vec<u8> = (0..bytes).map(|i| (i * 7 + seed) as u8).collect();
        upload(address, &bytes);
        bytes
    };
    let before: Vec<Vec<u8>> = (0..4).map(|i| fill(memory[i], sizes[i], i)).collect();
    let inside = mem_handle(CUdeviceptr(memory[2].0 + 12345)).reserved;
    let handles = [
        mem_handle(memory[0]).reserved,
        mem_handle(memory[2]).reserved,
    ];
    assert_eq!(handles[1], inside);
    for (address, bytes) in memory.iter().zip(&before) {
        assert_eq!(&download(*address, bytes.len()), bytes);
    }
    assert_eq!(open(handles[0]).0, INVALID_CONTEXT);
    assert!(other_process("opens_and_writes", &handles));
    assert_eq!(download(memory[0], 3), [1, 2, 3]);
    assert_eq!(download(memory[2], 3 << 20), vec![9; 3 << 20]);
    assert_eq!(download(memory[1], 600), before[1]);
    assert_eq!(download(memory[3], 512), before[3]);
    for address in memory {
        assert_eq!(call!(cuMemFree_v2(address)), SUCCESS);
    }
    assert!(other_process("opens_nothing", &handles));
    // Taken again, the memory is nobody else's.
    let again = allocate(3 << 20);
    assert_eq!(call!(cuMemsetD8_v2(again, 5, 3 << 20)), SUCCESS);
    assert!(other_process("opens_nothing", &handles));
    assert_eq!(download(again, 3 << 20), vec![5; 3 << 20]);
    assert_eq!(call!(cuMemFree_v2(again)), SUCCESS);
}

#[test]
#[ignore = "the other process of a test"]
fn opens_and_writes() {
    let [small, large] = handles()[..] else {
        return;
    };
    let _context = TestContext::new();
    let (status, address) = open(small);
    assert_eq!((status, open(small)), (SUCCESS, (SUCCESS, address)));
    let (status, other) = open(large);
    assert_eq!(status, SUCCESS);
    let expected: Vec<u8> = (0..3 << 20).map(|i: usize| (i * 7 + 2) as u8).collect();
    assert_eq!(download(other, 3 << 20), expected);
    let mut base = CUdeviceptr(0);
    let mut bytes = 0;
    let range = call!(cuMemGetAddressRange_v2(
        &raw mut base,
        &raw mut bytes,
        address
    ));
    assert_eq!((range, base, bytes), (SUCCESS, address, 1000));
    assert_eq!(call!(cuMemFree_v2(address)), INVALID_VALUE);
    // What is behind it is not for others.
    assert_eq!(call!(cuMemsetD8_v2(address, 0, 1001)), INVALID_VALUE);
    upload(address, &[1, 2, 3]);
    assert_eq!(call!(cuMemsetD8_v2(other, 9, 3 << 20)), SUCCESS);
    assert_eq!(call!(cuIpcCloseMemHandle(address)), SUCCESS);
    assert_eq!(download(address, 3), [1, 2, 3]);
    assert_eq!(call!(cuIpcCloseMemHandle(address)), SUCCESS);
    assert_eq!(call!(cuIpcCloseMemHandle(address)), INVALID_VALUE);
    assert_eq!(call!(cuMemsetD8_v2(address, 0, 1)), INVALID_VALUE);
    let mut forged = small;
    for index in [0, 7, 8, 12, 16, 24, 28, 43, 63] {
        forged[index] ^= 1;
        assert_ne!(open(forged).0, SUCCESS, "byte {index}");
        forged[index] ^= 1;
    }
    assert_eq!(open_event(small).0, INVALID_VALUE);
}

#[test]
#[ignore = "the other process of a test"]
fn opens_nothing() {
    let _context = TestContext::new();
    for handle in handles() {
        assert_eq!(open(handle).0, INVALID_VALUE);
    }
}

#[test]
fn only_plain_allocations_have_handles() {
    let _context = TestContext::new();
    let managed = get!(cuMemAllocManaged(_, 4096, 1));
    let local = 0_u8;
    for address in [
        managed,
        CUdeviceptr(0),
        CUdeviceptr(&raw const local as u64),
    ] {
        let mut handle = CUipcMemHandle { reserved: [0; 64] };
        let status = call!(cuIpcGetMemHandle(&raw mut handle, address));
        assert_eq!(status, INVALID_VALUE);
    }
    assert_eq!(call!(cuMemFree_v2(managed)), SUCCESS);
    assert_eq!(open([0; 64]).0, INVALID_VALUE);
    assert_eq!(open([-1; 64]).0, INVALID_VALUE);
}

#[test]
fn events_are_the_same_in_two_processes() {
    let _context = TestContext::new();
    let event: CUevent = get!(cuEventCreate(_, INTERPROCESS));
    let handle: CUipcEventHandle = get!(cuIpcGetEventHandle(_, event));
    assert_eq!(call!(cuEventQuery(event)), SUCCESS);
    assert_eq!(open_event(handle.reserved).0, INVALID_CONTEXT);
    let word = allocate(4);
    assert_eq!(call!(cuMemsetD32_v2(word, 0, 1)), SUCCESS);
    let stream: CUstream = get!(cuStreamCreate(_, 1));
    // The stream waits for the word, so the record is not reached.
    assert_eq!(call!(cuStreamWaitValue32_v2(stream, word, 1, 0)), SUCCESS);
    assert_eq!(call!(cuEventRecord(event, stream)), SUCCESS);
    let not_ready = CUresult::CUDA_ERROR_NOT_READY;
    assert_eq!(call!(cuEventQuery(event)), not_ready);
    let shared = mem_handle(word);
    // Exporting has not waited for the stream, which only looks.
    assert_eq!(call!(cuEventQuery(event)), not_ready);
    let handles = [handle.reserved, shared.reserved];
    assert!(other_process("releases_and_waits", &handles));
    assert_eq!(call!(cuEventSynchronize(event)), SUCCESS);
    let plain: CUevent = get!(cuEventCreate(_, 2));
    let mut none = handle;
    let refused = call!(cuIpcGetEventHandle(&raw mut none, plain));
    assert_eq!(refused, INVALID_HANDLE);
    assert_eq!(call!(cuEventDestroy_v2(event)), SUCCESS);
    assert_eq!(call!(cuStreamDestroy_v2(stream)), SUCCESS);
}

#[test]
#[ignore = "the other process of a test"]
fn releases_and_waits() {
    let [event, word] = handles()[..] else {
        return;
    };
    let _context = TestContext::new();
    let (status, event) = open_event(event);
    assert_eq!(status, SUCCESS);
    assert_eq!(call!(cuEventQuery(event)), CUresult::CUDA_ERROR_NOT_READY);
    let stream: CUstream = get!(cuStreamCreate(_, 1));
    assert_eq!(call!(cuStreamWaitEvent(stream, event, 0)), SUCCESS);
    assert_eq!(call!(cuStreamQuery(stream)), CUresult::CUDA_ERROR_NOT_READY);
    let (status, word) = open(word);
    assert_eq!(status, SUCCESS);
    assert_eq!(call!(cuMemsetD32_v2(word, 1, 1)), SUCCESS);
    assert_eq!(call!(cuStreamSynchronize(stream)), SUCCESS);
    assert_eq!(call!(cuEventQuery(event)), SUCCESS);
    // Recorded here, it is complete for the other process too.
    assert_eq!(call!(cuEventRecord(event, stream)), SUCCESS);
    assert_eq!(call!(cuEventSynchronize(event)), SUCCESS);
}
