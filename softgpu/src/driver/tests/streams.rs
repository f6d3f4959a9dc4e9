// SPDX-License-Identifier: Apache-2.0
//! Streams and events.

use gvirtus_abi::{
    CU_STREAM_LEGACY, CU_STREAM_PER_THREAD, CUevent, CUresult, CUstream, CUstreamCaptureStatus,
};

use super::*;

const NOT_READY: CUresult = CUresult::CUDA_ERROR_NOT_READY;
const LARGE: usize = 64 << 20;

fn event(flags: u32) -> CUevent {
    get!(cuEventCreate(_, flags))
}

fn elapsed(start: CUevent, end: CUevent) -> (CUresult, f32) {
    let mut milliseconds = f32::NAN;
    let status = call!(cuEventElapsedTime_v2(&raw mut milliseconds, start, end));
    (status, milliseconds)
}

#[test]
fn work_is_asynchronous_and_events_know_when_it_is_done() {
    let _context = TestContext::new();
    let stream = stream(1);
    let memory = allocate(LARGE);
    let (start, end) = (event(0), event(0));
    assert_eq!(elapsed(start, end).0, INVALID_HANDLE);
    assert_eq!(call!(cuEventQuery(end)), SUCCESS);
    assert_eq!(call!(cuEventRecord(start, stream)), SUCCESS);
    let mut was_busy = false;
    for round in 0..50 {
        assert_eq!(
            call!(cuMemsetD8Async(memory, round, LARGE, stream)),
            SUCCESS
        );
        was_busy |= call!(cuStreamQuery(stream)) == NOT_READY;
    }
    assert_eq!(call!(cuEventRecord(end, stream)), SUCCESS);
    was_busy |= call!(cuEventQuery(end)) == NOT_READY;
    assert!(was_busy, "50 large memsets were complete when submitted");
    assert_eq!(call!(cuEventSynchronize(end)), SUCCESS);
    assert_eq!(call!(cuEventQuery(end)), SUCCESS);
    let (status, milliseconds) = elapsed(start, end);
    assert!(status == SUCCESS && milliseconds > 0.0);
    assert!(elapsed(end, start).1 < 0.0);
    assert_eq!(call!(cuStreamQuery(stream)), SUCCESS);
    assert!(download(memory, LARGE).iter().all(|byte| *byte == 49));
}

#[test]
fn default_streams_wait_for_blocking_streams() {
    let _context = TestContext::new();
    let (blocking, free) = (stream(0), stream(1));
    let memory = allocate(LARGE);
    for flag in [CUstream(0), CU_STREAM_LEGACY] {
        assert_eq!(call!(cuMemsetD8Async(memory, 1, LARGE, blocking)), SUCCESS);
        assert_eq!(call!(cuMemsetD8Async(memory, 2, LARGE, flag)), SUCCESS);
        assert_eq!(
            call!(cuMemsetD8Async(memory, 3, LARGE / 2, blocking)),
            SUCCESS
        );
        assert_eq!(call!(cuStreamSynchronize(blocking)), SUCCESS);
        let bytes = download(memory, LARGE);
        assert!(bytes[..LARGE / 2].iter().all(|byte| *byte == 3));
        assert!(bytes[LARGE / 2..].iter().all(|byte| *byte == 2));
    }
    let other = event(0);
    assert_eq!(call!(cuMemsetD8Async(memory, 4, LARGE, free)), SUCCESS);
    assert_eq!(call!(cuEventRecord(other, free)), SUCCESS);
    assert_eq!(call!(cuStreamWaitEvent(blocking, other, 0)), SUCCESS);
    assert_eq!(call!(cuMemsetD8Async(memory, 5, 1, blocking)), SUCCESS);
    assert_eq!(call!(cuStreamSynchronize(CUstream(0))), SUCCESS);
    assert_eq!(download(memory, 2), [5, 4]);
}

#[test]
fn each_thread_has_its_own_default_stream() {
    let context = TestContext::new();
    let own = stream_id(CU_STREAM_PER_THREAD);
    assert_eq!(own, stream_id(CU_STREAM_PER_THREAD));
    let mut by_suffix = 0;
    let zero = CUstream::NULL;
    assert_eq!(call!(cuStreamGetId_ptsz(zero, &raw mut by_suffix)), SUCCESS);
    assert_eq!(own, by_suffix);
    assert_ne!(own, stream_id(zero));
    let handle = context.0;
    let other = std::thread::spawn(move || {
        assert_eq!(call!(cuCtxSetCurrent(handle)), SUCCESS);
        stream_id(CU_STREAM_PER_THREAD)
    });
    assert_ne!(own, other.join().expect("the thread's assertions"));
}

fn stream_id(stream: CUstream) -> u64 {
    let mut id = 0;
    assert_eq!(call!(cuStreamGetId(stream, &raw mut id)), SUCCESS);
    id
}

#[test]
fn streams_describe_themselves() {
    let context = TestContext::new();
    let mut stream = CUstream::NULL;
    let status = call!(cuStreamCreateWithPriority(&raw mut stream, 1, -3));
    assert_eq!(status, SUCCESS);
    let (mut priority, mut flags, mut owner) = (0, 0, CUcontext::NULL);
    assert_eq!(
        call!(cuStreamGetPriority(stream, &raw mut priority)),
        SUCCESS
    );
    assert_eq!(call!(cuStreamGetFlags(stream, &raw mut flags)), SUCCESS);
    assert_eq!(call!(cuStreamGetCtx(stream, &raw mut owner)), SUCCESS);
    assert_eq!((priority, flags, owner), (-3, 1, context.0));
    let mut capture = CUstreamCaptureStatus(7);
    assert_eq!(
        call!(cuStreamIsCapturing(stream, &raw mut capture)),
        SUCCESS
    );
    assert_eq!(capture.0, 0);
    assert_eq!(call!(cuStreamDestroy_v2(stream)), SUCCESS);
    assert_eq!(call!(cuStreamQuery(stream)), INVALID_HANDLE);
    assert_eq!(call!(cuStreamDestroy_v2(stream)), INVALID_HANDLE);
    assert_eq!(call!(cuStreamDestroy_v2(CU_STREAM_LEGACY)), INVALID_HANDLE);
    assert_eq!(call!(cuStreamCreate(&raw mut stream, 8)), INVALID_VALUE);
}

#[test]
fn events_without_time_have_none() {
    let _context = TestContext::new();
    let (start, end) = (event(2), event(0));
    assert_eq!(call!(cuEventRecord(start, CUstream(0))), SUCCESS);
    assert_eq!(call!(cuEventRecord(end, CUstream(0))), SUCCESS);
    assert_eq!(elapsed(start, end).0, INVALID_HANDLE);
    assert_eq!(call!(cuEventDestroy_v2(start)), SUCCESS);
    assert_eq!(call!(cuEventDestroy_v2(start)), INVALID_HANDLE);
    assert_eq!(
        call!(cuEventRecord(CUevent(5), CUstream(0))),
        INVALID_HANDLE
    );
    let mut refused = CUevent::NULL;
    assert_eq!(
        call!(cuEventCreate(&raw mut refused, 4)),
        CUresult::CUDA_ERROR_INVALID_VALUE
    );
}

#[test]
fn a_stream_destroyed_early_finishes_its_work() {
    let _context = TestContext::new();
    let stream = stream(1);
    let memory = allocate(LARGE);
    assert_eq!(call!(cuMemsetD8Async(memory, 9, LARGE, stream)), SUCCESS);
    assert_eq!(call!(cuStreamDestroy_v2(stream)), SUCCESS);
    assert_eq!(call!(cuCtxSynchronize()), SUCCESS);
    assert!(download(memory, LARGE).iter().all(|byte| *byte == 9));
}
