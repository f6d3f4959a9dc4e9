// SPDX-License-Identifier: Apache-2.0
//! Contexts: current, stacked, destroyed, primary.

use gvirtus_abi::{CUlimit, CUresult};

use super::*;

const DESTROYED: CUresult = CUresult::CUDA_ERROR_CONTEXT_IS_DESTROYED;
const INVALID_CONTEXT: CUresult = CUresult::CUDA_ERROR_INVALID_CONTEXT;

fn current() -> CUcontext {
    get!(cuCtxGetCurrent(_))
}

#[test]
fn contexts_stack_on_a_thread() {
    let one = TestContext::new();
    let two = TestContext::new();
    assert_eq!(current(), two.0);
    assert_eq!(call!(cuCtxPushCurrent_v2(one.0)), SUCCESS);
    assert_eq!(current(), one.0);
    let popped: CUcontext = get!(cuCtxPopCurrent_v2(_));
    assert_eq!((popped, current()), (one.0, two.0));
    assert_eq!(call!(cuCtxSetCurrent(one.0)), SUCCESS);
    assert_eq!(call!(cuCtxSetCurrent(CUcontext::NULL)), SUCCESS);
    assert_eq!(current(), one.0);
    std::thread::spawn(|| assert_eq!(current(), CUcontext::NULL))
        .join()
        .expect("the thread's assertion");
    let (first, second): (u64, u64) = (id(one.0), id(two.0));
    assert_ne!(first, second);
}

fn id(context: CUcontext) -> u64 {
    let mut id = 0;
    assert_eq!(call!(cuCtxGetId(context, &raw mut id)), SUCCESS);
    id
}

#[test]
fn a_thread_without_a_context_can_do_nothing() {
    assert_eq!(call!(cuInit(0)), SUCCESS);
    let mut pointer = CUdeviceptr(0);
    assert_eq!(call!(cuMemAlloc_v2(&raw mut pointer, 16)), INVALID_CONTEXT);
    assert_eq!(call!(cuCtxSynchronize()), INVALID_CONTEXT);
    assert_eq!(
        call!(cuCtxPopCurrent_v2(std::ptr::null_mut())),
        INVALID_CONTEXT
    );
    for wrong in [1, 0xDEAD_BEEF, u64::MAX] {
        assert_eq!(call!(cuCtxSetCurrent(CUcontext(wrong))), INVALID_CONTEXT);
        assert_eq!(call!(cuCtxDestroy_v2(CUcontext(wrong))), INVALID_CONTEXT);
    }
}

#[test]
fn a_destroyed_context_takes_everything_along() {
    let context = TestContext::new();
    let pointer = allocate(4096);
    let stream = stream(0);
    let event = get!(cuEventCreate(_, 0));
    let handle = context.0;
    let destroyer = std::thread::spawn(move || call!(cuCtxDestroy_v2(handle)));
    assert_eq!(destroyer.join().expect("no panic"), SUCCESS);
    assert_eq!(current(), handle);
    let mut other = CUdeviceptr(0);
    assert_eq!(call!(cuMemAlloc_v2(&raw mut other, 16)), DESTROYED);
    assert_eq!(call!(cuCtxSynchronize()), DESTROYED);
    assert_eq!(call!(cuStreamSynchronize(stream)), INVALID_HANDLE);
    assert_eq!(call!(cuEventQuery(event)), INVALID_HANDLE);
    assert_eq!(call!(cuCtxDestroy_v2(handle)), INVALID_CONTEXT);
    let _next = TestContext::new();
    assert_eq!(call!(cuMemFree_v2(pointer)), INVALID_VALUE);
}

#[test]
fn the_primary_context_is_counted() {
    assert_eq!(call!(cuInit(0)), SUCCESS);
    // The last device is used by no other test.
    let handle: CUcontext = get!(cuDevicePrimaryCtxRetain(_, DEVICE));
    assert_eq!(handle, get!(cuDevicePrimaryCtxRetain(_, DEVICE)));
    assert_eq!(call!(cuDevicePrimaryCtxRelease_v2(DEVICE)), SUCCESS);
    assert_eq!(call!(cuCtxDestroy_v2(handle)), INVALID_CONTEXT);
    assert_eq!(call!(cuCtxSetCurrent(handle)), SUCCESS);
    let pointer = allocate(64);
    let (mut flags, mut is_active) = (0, 0);
    let mut state = || {
        let status = call!(cuDevicePrimaryCtxGetState(
            DEVICE,
            &raw mut flags,
            &raw mut is_active
        ));
        (status, is_active)
    };
    assert_eq!(state(), (SUCCESS, 1));
    assert_eq!(call!(cuDevicePrimaryCtxReset_v2(DEVICE)), SUCCESS);
    assert_eq!(state(), (SUCCESS, 0));
    assert_eq!(call!(cuMemFree_v2(pointer)), DESTROYED);
    assert_eq!(handle, get!(cuDevicePrimaryCtxRetain(_, DEVICE)));
    assert_eq!(call!(cuMemFree_v2(pointer)), INVALID_VALUE);
    allocate(64);
    assert_eq!(call!(cuDevicePrimaryCtxRelease_v2(DEVICE)), SUCCESS);
    assert_eq!(call!(cuDevicePrimaryCtxRelease_v2(DEVICE)), INVALID_CONTEXT);
}

#[test]
fn limits_are_kept() {
    let _context = TestContext::new();
    let printf = CUlimit::CU_LIMIT_PRINTF_FIFO_SIZE;
    assert_eq!(get!(cuCtxGetLimit(_, printf)), 1_usize << 20);
    assert_eq!(call!(cuCtxSetLimit(printf, 4096)), SUCCESS);
    assert_eq!(get!(cuCtxGetLimit(_, printf)), 4096_usize);
    let mut value = 0;
    let depth = CUlimit::CU_LIMIT_DEV_RUNTIME_SYNC_DEPTH;
    assert_eq!(call!(cuCtxSetLimit(depth, 3)), SUCCESS);
    assert_eq!(get!(cuCtxGetLimit(_, depth)), 3_usize);
    let persisting = CUlimit::CU_LIMIT_PERSISTING_L2_CACHE_SIZE;
    assert_eq!(call!(cuCtxSetLimit(persisting, 1 << 20)), SUCCESS);
    assert_eq!(get!(cuCtxGetLimit(_, persisting)), 1_usize << 20);
    assert_eq!(call!(cuCtxSetLimit(persisting, 1 << 40)), SUCCESS);
    assert_eq!(get!(cuCtxGetLimit(_, persisting)), 3_usize << 20);
    let fetch = CUlimit::CU_LIMIT_MAX_L2_FETCH_GRANULARITY;
    assert_eq!(call!(cuCtxSetLimit(fetch, 1000)), SUCCESS);
    assert_eq!(get!(cuCtxGetLimit(_, fetch)), 128_usize);
    assert_eq!(call!(cuCtxSetLimit(depth, 25)), INVALID_VALUE);
    assert_eq!(
        call!(cuCtxGetLimit(&raw mut value, CUlimit(77))),
        INVALID_VALUE
    );
}
