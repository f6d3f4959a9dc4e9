// SPDX-License-Identifier: Apache-2.0
//! Contexts, what belongs to them, and questions that travel or do not.

use super::*;

#[test]
fn contexts_are_stacked_and_end_with_what_they_hold() {
    let fixture = Fixture::new();
    let mut second = CUcontext::NULL;
    let mut current = CUcontext::NULL;
    let (mut stream, mut event) = (CUstream::NULL, CUevent::NULL);
    let mut device = CUdevice(9);
    // SAFETY: places for handles.
    unsafe {
        cuCtxCreate_v2(&raw mut second, 0, CUdevice(1)).expect("initialised");
        cuCtxGetDevice(&raw mut device).expect("current");
        assert_eq!(device, CUdevice(1));
        cuStreamCreate(&raw mut stream, 1).expect("current");
        cuEventCreate(&raw mut event, 0).expect("current");
        cuEventRecord(LEGACY, event, stream).expect("of one context");
        let address = allocate(8);
        cuCtxPopCurrent_v2(&raw mut current).expect("two are there");
        assert_eq!(current, second);
        cuCtxGetCurrent(&raw mut current).expect("initialised");
        assert_eq!(current, fixture.context);
        // A stream works in its own context, whichever is current.
        cuStreamSynchronize(LEGACY, stream).expect("alive");
        let wrong = cuEventRecord(LEGACY, event, DEFAULT);
        assert_eq!(wrong, Err(CUresult::CUDA_ERROR_INVALID_HANDLE));
        cuCtxDestroy_v2(second).expect("alive");
        let gone = Err(CUresult::CUDA_ERROR_CONTEXT_IS_DESTROYED);
        assert_eq!(cuCtxSetCurrent(second), gone);
        let invalid = Err(CUresult::CUDA_ERROR_INVALID_HANDLE);
        assert_eq!(cuStreamSynchronize(LEGACY, stream), invalid);
        assert_eq!(cuEventQuery(event), invalid);
        assert_eq!(cuMemFree_v2(address), Err(INVALID_VALUE));
        cuCtxSetCurrent(CUcontext::NULL).expect("the stack gets shorter");
        let none = Err(CUresult::CUDA_ERROR_INVALID_CONTEXT);
        assert_eq!(synchronize(), none);
        assert_eq!(cuCtxPopCurrent_v2(&raw mut current), none);
        cuCtxPushCurrent_v2(fixture.context).expect("alive");
        assert_eq!(synchronize(), Ok(()));
    }
}

#[test]
fn primary_contexts_are_counted() {
    let _fixture = Fixture::new();
    let device = CUdevice(1);
    let (mut first, mut second) = (CUcontext::NULL, CUcontext::NULL);
    let (mut flags, mut active) = (9, 9);
    let state = |flags: &mut u32, active: &mut i32| {
        // SAFETY: places for numbers.
        unsafe { cuDevicePrimaryCtxGetState(device, &raw mut *flags, &raw mut *active) }
    };
    // SAFETY: places for handles.
    unsafe {
        state(&mut flags, &mut active).expect("a device");
        assert_eq!((flags, active), (0, 0));
        gpu().lock().log.clear();
        cuDevicePrimaryCtxSetFlags_v2(device, 4).expect("known flags");
        assert_eq!(cuDevicePrimaryCtxSetFlags_v2(device, 3), Err(INVALID_VALUE));
        cuDevicePrimaryCtxRetain(&raw mut first, device).expect("a device");
        cuDevicePrimaryCtxRetain(&raw mut second, device).expect("a device");
        assert_eq!(first, second);
        cuCtxSetCurrent(first).expect("alive");
        synchronize().expect("alive");
        state(&mut flags, &mut active).expect("a device");
        assert_eq!((flags, active), (4, 1));
        cuDevicePrimaryCtxRelease_v2(device).expect("retained");
        synchronize().expect("still retained");
        cuDevicePrimaryCtxRelease_v2(device).expect("retained");
        assert_eq!(
            synchronize(),
            Err(CUresult::CUDA_ERROR_CONTEXT_IS_DESTROYED)
        );
        let once_more = cuDevicePrimaryCtxRelease_v2(device);
        assert_eq!(once_more, Err(CUresult::CUDA_ERROR_INVALID_CONTEXT));
        cuDevicePrimaryCtxRetain(&raw mut second, device).expect("a device");
        assert_eq!(first, second);
        synchronize().expect("alive again");
        cuDevicePrimaryCtxReset_v2(device).expect("a device");
        state(&mut flags, &mut active).expect("a device");
        assert_eq!((flags, active), (0, 0));
        cuDevicePrimaryCtxRetain(&raw mut second, device).expect("a device");
        synchronize().expect("alive again");
        cuDevicePrimaryCtxRelease_v2(device).expect("retained");
        cuDevicePrimaryCtxRelease_v2(device).expect("retained");
        let wrong = cuDevicePrimaryCtxRetain(&raw mut second, CUdevice(2));
        assert_eq!(wrong, Err(CUresult::CUDA_ERROR_INVALID_DEVICE));
    }
    // SAFETY: handles may be anything. The next call sees that all above has arrived.
    let _ = unsafe { cuCtxSetCurrent(_fixture.context) };
    synchronize().expect("alive");
    let seen: Vec<_> = gpu()
        .lock()
        .log
        .iter()
        .map(|c| (c.opcode, c.context))
        .collect();
    let count = |opcode| seen.iter().filter(|seen| **seen == (opcode, 2)).count();
    assert_eq!(count(opcode::cuDevicePrimaryCtxRetain), 3);
    assert_eq!(count(opcode::cuDevicePrimaryCtxRelease_v2), 3);
}

#[test]
fn each_thread_has_its_own_default_stream() {
    let fixture = Fixture::new();
    let address = allocate(64);
    let context = fixture.context;
    gpu().lock().log.clear();
    let id = || {
        let (mut id, mut flags) = (0, 9);
        // SAFETY: places for numbers.
        unsafe {
            cuStreamGetId(CU_STREAM_PER_THREAD, DEFAULT, &raw mut id).expect("current");
            cuStreamGetFlags(LEGACY, CU_STREAM_PER_THREAD, &raw mut flags).expect("current");
        }
        assert_eq!(flags, 0);
        id
    };
    let (own, own_again) = (id(), id());
    let others = std::thread::spawn(move || {
        // SAFETY: a handle.
        unsafe { cuCtxSetCurrent(context) }.expect("alive");
        id()
    });
    let others = others.join().expect("no panic");
    assert!(own == own_again && own != others);
    let mut legacy = 0;
    // SAFETY: memory as large as said, and places for numbers.
    unsafe {
        cuMemsetD8_v2(CU_STREAM_PER_THREAD, address, 1, 64).expect("posted");
        cuStreamGetId(LEGACY, DEFAULT, &raw mut legacy).expect("current");
        cuCtxSynchronize().expect("alive");
    }
    assert!(legacy != own && legacy != others);
    let log = gpu().lock().log.clone();
    let made: Vec<_> = log
        .iter()
        .filter(|c| c.opcode == opcode::cuStreamCreateWithPriority)
        .collect();
    assert_eq!(made.len(), 2);
    let set = log.iter().find(|c| c.opcode == opcode::cuMemsetD8Async);
    let number = set.expect("with a stream").word(3);
    assert_eq!(number.to_le_bytes()[..4], made[0].body[..4]);
    // The thread that ended has destroyed its stream.
    let destroyed = log.iter().find(|c| c.opcode == opcode::cuStreamDestroy_v2);
    let number = destroyed.expect("destroyed").word(0);
    assert_eq!(number.to_le_bytes()[..4], made[1].body[..4]);
}

#[test]
fn devices_are_answered_from_the_snapshot() {
    let _fixture = Fixture::new();
    let (mut count, mut version, mut value) = (0, 0, 9);
    let mut name = [0x7f; 8];
    let mut device = CUdevice(9);
    let managed = CUdevice_attribute::CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS;
    // SAFETY: places for what is written.
    unsafe {
        cuDriverGetVersion(&raw mut version).expect("connected");
        cuDeviceGetCount(&raw mut count).expect("initialised");
        assert_eq!((version, count), (12_040, 2));
        cuDeviceGetName(name.as_mut_ptr(), 8, CUdevice(1)).expect("a device");
        assert_eq!(CStr::from_ptr(name.as_ptr()), c"test de");
        cuDeviceGetAttribute(&raw mut value, managed, CUdevice(0)).expect("known");
        assert_eq!(value, 0);
        let unknown = CUdevice_attribute(9999);
        let status = cuDeviceGetAttribute(&raw mut value, unknown, CUdevice(0));
        assert_eq!(status, Err(INVALID_VALUE));
        let status = cuDeviceGetAttribute(null_mut(), managed, CUdevice(0));
        assert_eq!(status, Err(INVALID_VALUE));
        let no_device = Err(CUresult::CUDA_ERROR_INVALID_DEVICE);
        assert_eq!(cuDeviceGet(&raw mut device, 2), no_device);
        assert_eq!(cuDeviceGet(&raw mut device, -1), no_device);
        cuDeviceGetByPCIBusId(&raw mut device, c"0000:01:00.0".as_ptr()).expect("there");
        assert_eq!(device, CUdevice(1));
    }
}

#[test]
fn questions_that_travel_are_answered() {
    let _fixture = Fixture::new();
    let (mut free, mut total) = (0, 0);
    let (mut block, mut grid) = (0, 0);
    let (mut start, mut end) = (CUevent::NULL, CUevent::NULL);
    let mut time = 0.0;
    let nothing = kernel(load(), c"nothing");
    gpu().lock().log.clear();
    // SAFETY: places for what is written.
    unsafe {
        cuMemGetInfo_v2(&raw mut free, &raw mut total).expect("answered");
        assert_eq!((free, total), (1000, 2000));
        cuEventCreate(&raw mut start, 0).expect("posted");
        cuEventCreate(&raw mut end, 0).expect("posted");
        cuEventElapsedTime(&raw mut time, start, end).expect("answered");
        assert!((time - 1.5).abs() < 1e-6);
        let not_ready = Err(CUresult::CUDA_ERROR_NOT_READY);
        assert_eq!(cuStreamQuery(LEGACY, DEFAULT), not_ready);
        for _ in 0..2 {
            cuOccupancyMaxPotentialBlockSize(&raw mut grid, &raw mut block, nothing, None, 0, 0)
                .expect("answered");
        }
        assert_eq!((block, grid), (256, 4 * 7));
        cuEventDestroy_v2(start).expect("there");
        assert_eq!(
            cuEventDestroy_v2(start),
            Err(CUresult::CUDA_ERROR_INVALID_HANDLE)
        );
    }
    let asked = gpu().lock();
    let occupancy = opcode::cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags;
    assert_eq!(
        asked.log.iter().filter(|c| c.opcode == occupancy).count(),
        1
    );
}
