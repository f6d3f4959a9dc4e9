// SPDX-License-Identifier: Apache-2.0
//! Stream-ordered memory.

use std::ffi::c_void;

use gvirtus_abi::{
    CUmemAllocationHandleType, CUmemAllocationType, CUmemLocation, CUmemLocation_v1_anonymous0,
    CUmemLocationType, CUmemPool_attribute as A, CUmemPoolProps, CUmemoryPool,
};

use super::*;

fn properties() -> CUmemPoolProps {
    CUmemPoolProps {
        allocType: CUmemAllocationType::CU_MEM_ALLOCATION_TYPE_PINNED,
        handleTypes: CUmemAllocationHandleType::CU_MEM_HANDLE_TYPE_NONE,
        location: CUmemLocation {
            r#type: CUmemLocationType::CU_MEM_LOCATION_TYPE_DEVICE,
            anonymous0: CUmemLocation_v1_anonymous0 { id: 0 },
        },
        win32SecurityAttributes: std::ptr::null_mut(),
        maxSize: 0,
        usage: 0,
        gpuDirectRDMACapable: 0,
        reserved: [0; 53],
    }
}

fn pool(max_bytes: usize) -> CUmemoryPool {
    let properties = CUmemPoolProps {
        maxSize: max_bytes,
        ..properties()
    };
    get!(cuMemPoolCreate(_, &raw const properties))
}

fn word(pool: CUmemoryPool, attribute: A) -> u64 {
    let mut value = 0_u64;
    let place = (&raw mut value).cast::<c_void>();
    assert_eq!(
        call!(cuMemPoolGetAttribute(pool, attribute, place)),
        SUCCESS
    );
    value
}

fn set(pool: CUmemoryPool, attribute: A, mut value: u64) -> CUresult {
    let place = (&raw mut value).cast::<c_void>();
    call!(cuMemPoolSetAttribute(pool, attribute, place))
}

#[test]
fn memory_is_allocated_and_freed_in_the_order_of_a_stream() {
    let _context = TestContext::new();
    let (stream, pool) = (stream(1), pool(0));
    let one: CUdeviceptr = get!(cuMemAllocFromPoolAsync(_, 1000, pool, stream));
    let status = call!(cuMemsetD8Async(one, 7, 1000, stream));
    assert_eq!(status, SUCCESS);
    assert_eq!(download(one, 4), [7; 4]);
    assert_eq!(call!(cuMemFreeAsync(one, stream)), SUCCESS);
    assert_eq!(call!(cuMemFreeAsync(one, stream)), INVALID_VALUE);
    assert_eq!(call!(cuMemFree_v2(one)), INVALID_VALUE);
    let status = call!(cuMemsetD8Async(one, 7, 1000, stream));
    assert_eq!(status, INVALID_VALUE);
    let two: CUdeviceptr = get!(cuMemAllocFromPoolAsync(_, 1000, pool, stream));
    assert_eq!(two, one);
    // Memory of either kind can be freed in either way.
    assert_eq!(call!(cuMemFree_v2(two)), SUCCESS);
    let plain = allocate(64);
    assert_eq!(call!(cuMemFreeAsync(plain, stream)), SUCCESS);
    assert_eq!(call!(cuMemFree_v2(plain)), INVALID_VALUE);
    assert_eq!(call!(cuMemPoolDestroy(pool)), SUCCESS);
}

#[test]
fn pools_count_what_they_hold() {
    let _context = TestContext::new();
    let (stream, pool) = (stream(1), pool(0));
    let (reserved, used) = (
        A::CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT,
        A::CU_MEMPOOL_ATTR_USED_MEM_CURRENT,
    );
    let threshold = A::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    assert_eq!((word(pool, reserved), word(pool, threshold)), (0, 0));
    let memory: CUdeviceptr = get!(cuMemAllocFromPoolAsync(_, 3 << 20, pool, stream));
    assert_eq!((word(pool, reserved), word(pool, used)), (4 << 20, 3 << 20));
    assert_eq!(call!(cuMemFreeAsync(memory, stream)), SUCCESS);
    assert_eq!(call!(cuStreamSynchronize(stream)), SUCCESS);
    assert_eq!((word(pool, reserved), word(pool, used)), (0, 0));
    assert_eq!(word(pool, A::CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH), 4 << 20);
    assert_eq!(word(pool, A::CU_MEMPOOL_ATTR_USED_MEM_HIGH), 3 << 20);
    assert_eq!(
        set(pool, A::CU_MEMPOOL_ATTR_USED_MEM_HIGH, 1),
        INVALID_VALUE
    );
    assert_eq!(set(pool, A::CU_MEMPOOL_ATTR_USED_MEM_HIGH, 0), SUCCESS);
    assert_eq!(word(pool, A::CU_MEMPOOL_ATTR_USED_MEM_HIGH), 0);
    assert_eq!(set(pool, reserved, 0), INVALID_VALUE);
    // A threshold keeps it until it is trimmed.
    assert_eq!(set(pool, threshold, u64::MAX), SUCCESS);
    let memory: CUdeviceptr = get!(cuMemAllocFromPoolAsync(_, 100, pool, stream));
    assert_eq!(call!(cuMemFreeAsync(memory, stream)), SUCCESS);
    assert_eq!(call!(cuCtxSynchronize()), SUCCESS);
    assert_eq!((word(pool, reserved), word(pool, used)), (2 << 20, 0));
    assert_eq!(call!(cuMemPoolTrimTo(pool, 1)), SUCCESS);
    assert_eq!(word(pool, reserved), 2 << 20);
    assert_eq!(call!(cuMemPoolTrimTo(pool, 0)), SUCCESS);
    assert_eq!(word(pool, reserved), 0);
    assert_eq!(call!(cuMemPoolDestroy(pool)), SUCCESS);
}

#[test]
fn a_destroyed_pool_lives_as_long_as_its_allocations() {
    let _context = TestContext::new();
    let (stream, pool) = (stream(1), pool(2 << 20));
    let memory: CUdeviceptr = get!(cuMemAllocFromPoolAsync(_, 2 << 20, pool, stream));
    let mut more = CUdeviceptr(0);
    assert_eq!(
        call!(cuMemAllocFromPoolAsync(&raw mut more, 1, pool, stream)),
        CUresult::CUDA_ERROR_OUT_OF_MEMORY
    );
    assert_eq!(call!(cuMemPoolDestroy(pool)), SUCCESS);
    assert_eq!(call!(cuMemPoolDestroy(pool)), INVALID_VALUE);
    assert_eq!(
        call!(cuMemAllocFromPoolAsync(&raw mut more, 1, pool, stream)),
        INVALID_VALUE
    );
    upload(memory, &[5; 16]);
    assert_eq!(download(memory, 16), [5; 16]);
    assert_eq!(call!(cuMemFreeAsync(memory, stream)), SUCCESS);
    assert_eq!(call!(cuStreamSynchronize(stream)), SUCCESS);
}

#[test]
fn a_device_has_a_default_pool_that_stays() {
    let _context = TestContext::new();
    let default: CUmemoryPool = get!(cuDeviceGetDefaultMemPool(_, DEVICE));
    assert_eq!(call!(cuMemPoolDestroy(default)), INVALID_VALUE);
    let own = pool(0);
    assert_eq!(call!(cuDeviceSetMemPool(DEVICE, own)), SUCCESS);
    let current: CUmemoryPool = get!(cuDeviceGetMemPool(_, DEVICE));
    assert_eq!(current, own);
    assert_eq!(call!(cuMemPoolDestroy(own)), SUCCESS);
    let current: CUmemoryPool = get!(cuDeviceGetMemPool(_, DEVICE));
    assert_eq!(current, default);
    let mut location = properties().location;
    let kind = CUmemAllocationType::CU_MEM_ALLOCATION_TYPE_PINNED;
    let found: CUmemoryPool = get!(cuMemGetDefaultMemPool(_, &raw mut location, kind));
    assert_eq!(found, default);
    assert_eq!(
        call!(cuDeviceSetMemPool(DEVICE, CUmemoryPool(7))),
        INVALID_VALUE
    );
}
