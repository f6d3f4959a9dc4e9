// SPDX-License-Identifier: Apache-2.0
//! Reserved addresses and what is mapped there.

use gvirtus_abi::{
    CUmemAccess_flags, CUmemAccessDesc, CUmemAllocationGranularity_flags,
    CUmemAllocationHandleType, CUmemAllocationProp, CUmemAllocationProp_v1_allocFlags,
    CUmemAllocationType, CUmemLocation, CUmemLocation_v1_anonymous0, CUmemLocationType,
};

use super::*;

const BYTES: usize = 2 << 20;

fn location(id: i32) -> CUmemLocation {
    CUmemLocation {
        r#type: CUmemLocationType::CU_MEM_LOCATION_TYPE_DEVICE,
        anonymous0: CUmemLocation_v1_anonymous0 { id },
    }
}

fn properties() -> CUmemAllocationProp {
    CUmemAllocationProp {
        r#type: CUmemAllocationType::CU_MEM_ALLOCATION_TYPE_PINNED,
        requestedHandleTypes: CUmemAllocationHandleType::CU_MEM_HANDLE_TYPE_NONE,
        location: location(0),
        win32HandleMetaData: std::ptr::null_mut(),
        allocFlags: CUmemAllocationProp_v1_allocFlags {
            compressionType: 0,
            gpuDirectRDMACapable: 0,
            usage: 0,
            reserved: [0; 4],
        },
    }
}

fn create(bytes: usize) -> u64 {
    let properties = properties();
    get!(cuMemCreate(_, bytes, &raw const properties, 0))
}

fn reserve(bytes: usize) -> CUdeviceptr {
    get!(cuMemAddressReserve(_, bytes, 0, CUdeviceptr(0), 0))
}

fn set_access(address: CUdeviceptr, bytes: usize, flags: CUmemAccess_flags) -> CUresult {
    let location = location(0);
    let wish = CUmemAccessDesc { location, flags };
    call!(cuMemSetAccess(address, bytes, &raw const wish, 1))
}

fn access(address: CUdeviceptr) -> u64 {
    let location = location(0);
    get!(cuMemGetAccess(_, &raw const location, address))
}

const NONE: CUmemAccess_flags = CUmemAccess_flags::CU_MEM_ACCESS_FLAGS_PROT_NONE;
const READ: CUmemAccess_flags = CUmemAccess_flags::CU_MEM_ACCESS_FLAGS_PROT_READ;
const READ_WRITE: CUmemAccess_flags = CUmemAccess_flags::CU_MEM_ACCESS_FLAGS_PROT_READWRITE;

fn set(address: CUdeviceptr, value: u8, bytes: usize) -> CUresult {
    call!(cuMemsetD8_v2(address, value, bytes))
}

fn offset(address: CUdeviceptr, bytes: usize) -> CUdeviceptr {
    CUdeviceptr(address.0 + bytes as u64)
}

#[test]
fn memory_at_two_addresses_is_the_same_memory() {
    let _context = TestContext::new();
    let place = reserve(3 * BYTES);
    let memory = create(BYTES);
    for at in [0, 2 * BYTES] {
        let status = call!(cuMemMap(offset(place, at), BYTES, 0, memory, 0));
        assert_eq!(status, SUCCESS);
        let status = set_access(offset(place, at), BYTES, READ_WRITE);
        assert_eq!(status, SUCCESS);
    }
    assert_eq!(download(place, 4), [0; 4]);
    upload(offset(place, 2 * BYTES + 5), &[1, 2, 3]);
    assert_eq!(download(offset(place, 4), 5), [0, 1, 2, 3, 0]);
    // Released, and still there while it is mapped.
    assert_eq!(call!(cuMemRelease(memory)), SUCCESS);
    assert_eq!(call!(cuMemRelease(memory)), INVALID_VALUE);
    assert_eq!(call!(cuMemUnmap(place, BYTES)), SUCCESS);
    assert_eq!(download(offset(place, 2 * BYTES + 5), 3), [1, 2, 3]);
    let back: u64 = get!(cuMemRetainAllocationHandle(
        _,
        std::ptr::with_exposed_provenance_mut(place.0 as usize + 2 * BYTES + 9)
    ));
    let last = offset(place, 2 * BYTES);
    assert_eq!(call!(cuMemUnmap(last, BYTES)), SUCCESS);
    assert_eq!(call!(cuMemMap(place, BYTES, 0, back, 0)), SUCCESS);
    assert_eq!(set_access(place, BYTES, READ_WRITE), SUCCESS);
    assert_eq!(download(offset(place, 5), 3), [1, 2, 3]);
    assert_eq!(call!(cuMemUnmap(place, BYTES)), SUCCESS);
    assert_eq!(call!(cuMemRelease(back)), SUCCESS);
    assert_eq!(call!(cuMemAddressFree(place, 3 * BYTES)), SUCCESS);
}

#[test]
fn host_calls_reach_only_what_is_mapped_with_rights() {
    let _context = TestContext::new();
    let place = reserve(4 * BYTES);
    let memory = create(BYTES);
    assert_eq!(set(place, 1, 16), INVALID_VALUE);
    assert_eq!(call!(cuMemMap(place, BYTES, 0, memory, 0)), SUCCESS);
    assert_eq!(access(place), 0);
    assert_eq!(set(place, 1, 16), INVALID_VALUE);
    assert_eq!(set_access(place, BYTES, READ), SUCCESS);
    assert_eq!(access(place), 1);
    assert_eq!(download(place, 2), [0, 0]);
    assert_eq!(set(place, 1, 16), INVALID_VALUE);
    assert_eq!(set_access(place, BYTES, READ_WRITE), SUCCESS);
    assert_eq!(access(place), 3);
    assert_eq!(set(place, 1, BYTES), SUCCESS);
    assert_eq!(set(place, 1, BYTES + 1), INVALID_VALUE);
    // Two mappings side by side are one range for a copy.
    let more = create(2 * BYTES);
    let behind = offset(place, BYTES);
    assert_eq!(call!(cuMemMap(behind, 2 * BYTES, 0, more, 0)), SUCCESS);
    assert_eq!(set_access(place, 3 * BYTES, READ_WRITE), SUCCESS);
    assert_eq!(set(offset(place, BYTES - 8), 9, 16), SUCCESS);
    assert_eq!(download(offset(place, BYTES - 9), 18)[8..10], [9, 9]);
    assert_eq!(set_access(place, BYTES, NONE), SUCCESS);
    assert_eq!(set(offset(place, BYTES - 8), 9, 16), INVALID_VALUE);
    assert_eq!(set(behind, 9, 16), SUCCESS);
    assert_eq!(call!(cuMemFree_v2(place)), INVALID_VALUE);
    assert_eq!(call!(cuMemUnmap(place, 3 * BYTES)), SUCCESS);
    assert_eq!(set(behind, 9, 16), INVALID_VALUE);
    for handle in [memory, more] {
        assert_eq!(call!(cuMemRelease(handle)), SUCCESS);
    }
    assert_eq!(call!(cuMemAddressFree(place, 4 * BYTES)), SUCCESS);
}

#[test]
fn what_does_not_fit_is_refused() {
    let _context = TestContext::new();
    let place = reserve(4 * BYTES);
    let memory = create(2 * BYTES);
    let map = |address, bytes, at, handle| call!(cuMemMap(address, bytes, at, handle, 0));
    assert_eq!(map(place, 4 * BYTES, 0, memory), INVALID_VALUE);
    assert_eq!(map(place, BYTES / 2, 0, memory), INVALID_VALUE);
    assert_eq!(map(place, BYTES, BYTES, memory), INVALID_VALUE);
    assert_eq!(map(offset(place, 8), BYTES, 0, memory), INVALID_VALUE);
    assert_eq!(map(place, BYTES, 0, memory + 1000), INVALID_VALUE);
    let last = offset(place, 3 * BYTES);
    assert_eq!(map(last, 2 * BYTES, 0, memory), INVALID_VALUE);
    assert_eq!(map(place, 2 * BYTES, 0, memory), SUCCESS);
    assert_eq!(map(offset(place, BYTES), BYTES, 0, memory), INVALID_VALUE);
    // Whole mappings only.
    let unmap = |address, bytes| call!(cuMemUnmap(address, bytes));
    assert_eq!(unmap(place, BYTES), INVALID_VALUE);
    assert_eq!(unmap(offset(place, BYTES), BYTES), INVALID_VALUE);
    assert_eq!(unmap(place, 4 * BYTES), INVALID_VALUE);
    assert_eq!(set_access(place, BYTES, READ_WRITE), INVALID_VALUE);
    assert_eq!(set_access(last, BYTES, READ_WRITE), INVALID_VALUE);
    let free = |bytes| call!(cuMemAddressFree(place, bytes));
    assert_eq!(free(4 * BYTES), INVALID_VALUE);
    assert_eq!(unmap(place, 2 * BYTES), SUCCESS);
    assert_eq!(unmap(place, 2 * BYTES), INVALID_VALUE);
    assert_eq!(free(2 * BYTES), INVALID_VALUE);
    assert_eq!(free(4 * BYTES), SUCCESS);
    assert_eq!(free(4 * BYTES), INVALID_VALUE);
    assert_eq!(call!(cuMemRelease(memory)), SUCCESS);
}

#[test]
fn properties_are_checked_and_remembered() {
    let _context = TestContext::new();
    let good = properties();
    let option = CUmemAllocationGranularity_flags::CU_MEM_ALLOC_GRANULARITY_MINIMUM;
    let granularity: usize = get!(cuMemGetAllocationGranularity(_, &raw const good, option));
    assert_eq!(granularity, BYTES);
    let mut handle = 0;
    let mut try_create = |bytes, properties: &CUmemAllocationProp| {
        call!(cuMemCreate(&raw mut handle, bytes, properties, 0))
    };
    assert_eq!(try_create(BYTES + 1, &good), INVALID_VALUE);
    assert_eq!(try_create(0, &good), INVALID_VALUE);
    let mut bad = properties();
    bad.r#type = CUmemAllocationType::CU_MEM_ALLOCATION_TYPE_INVALID;
    assert_eq!(try_create(BYTES, &bad), INVALID_VALUE);
    let mut bad = properties();
    bad.location = location(77);
    let invalid_device = CUresult::CUDA_ERROR_INVALID_DEVICE;
    assert_eq!(try_create(BYTES, &bad), invalid_device);
    let too_much = 1 << 50;
    assert_eq!(
        try_create(too_much, &good),
        CUresult::CUDA_ERROR_OUT_OF_MEMORY
    );
    let memory = create(BYTES);
    let known: CUmemAllocationProp = get!(cuMemGetAllocationPropertiesFromHandle(_, memory));
    assert_eq!(known.r#type, good.r#type);
    assert_eq!(known.location.r#type, good.location.r#type);
    assert_eq!(call!(cuMemRelease(memory)), SUCCESS);
}

#[test]
fn reservations_grow_where_it_is_wished() {
    let _context = TestContext::new();
    let first = reserve(8 * BYTES);
    assert_eq!(call!(cuMemAddressFree(first, 8 * BYTES)), SUCCESS);
    let wish = |bytes, address| {
        let place: CUdeviceptr = get!(cuMemAddressReserve(_, bytes, 0, address, 0));
        place
    };
    let one = wish(BYTES, offset(first, 2 * BYTES));
    if one == offset(first, 2 * BYTES) {
        assert_ne!(wish(BYTES, one), one);
    }
    let aligned: CUdeviceptr = get!(cuMemAddressReserve(_, BYTES, 64 << 20, CUdeviceptr(0), 0));
    assert!(aligned.0.is_multiple_of(64 << 20));
    let mut place = CUdeviceptr(0);
    for (bytes, alignment, flags) in [(0, 0, 0), (BYTES + 1, 0, 0), (BYTES, 3, 0), (BYTES, 0, 1)] {
        let status = call!(cuMemAddressReserve(
            &raw mut place,
            bytes,
            alignment,
            CUdeviceptr(0),
            flags
        ));
        assert_eq!(status, INVALID_VALUE, "{bytes} {alignment} {flags}");
    }
}

#[test]
fn kernels_fault_where_nothing_may_be_accessed() {
    let illegal = CUresult::CUDA_ERROR_ILLEGAL_ADDRESS;
    for (flags, loads, stores) in [
        (None, illegal, illegal),
        (Some(NONE), illegal, illegal),
        (Some(READ), SUCCESS, illegal),
        (Some(READ_WRITE), SUCCESS, SUCCESS),
    ] {
        for (to_mapped, expected) in [(false, loads), (true, stores)] {
            let _context = TestContext::new();
            let place = reserve(BYTES);
            let memory = create(BYTES);
            if let Some(flags) = flags {
                assert_eq!(call!(cuMemMap(place, BYTES, 0, memory, 0)), SUCCESS);
                assert_eq!(set_access(place, BYTES, flags), SUCCESS);
            }
            let plain = allocate(4096);
            let (to, from) = match to_mapped {
                true => (place, plain),
                false => (plain, place),
            };
            assert_eq!(copy_by_kernel(to, from), expected, "{flags:?} {to_mapped}");
            // The context has failed; what belongs to the process has not.
            if flags.is_some() {
                assert_eq!(call!(cuMemUnmap(place, BYTES)), SUCCESS);
            }
            assert_eq!(call!(cuMemRelease(memory)), SUCCESS);
            assert_eq!(call!(cuMemAddressFree(place, BYTES)), SUCCESS);
        }
    }
}

/// Copies 32 words, one a lane.
fn copy_by_kernel(to: CUdeviceptr, from: CUdeviceptr) -> CUresult {
    const PTX: &CStr = c".version 7.5
.target sm_75
.address_size 64
.visible .entry copy(.param .u64 to, .param .u64 from) {
    .reg .b64 %rd<6>;
    .reg .b32 %r<3>;
    ld.param.u64 %rd1, [to];
    ld.param.u64 %rd2, [from];
    mov.u32 %r1, %tid.x;
    mul.wide.u32 %rd3, %r1, 4;
    add.s64 %rd4, %rd1, %rd3;
    add.s64 %rd5, %rd2, %rd3;
    ld.global.u32 %r2, [%rd5];
    st.global.u32 [%rd4], %r2;
    ret;
}
";
    let module: gvirtus_abi::CUmodule = get!(cuModuleLoadData(_, PTX.as_ptr().cast()));
    let kernel: gvirtus_abi::CUfunction = get!(cuModuleGetFunction(_, module, c"copy".as_ptr()));
    let (mut to, mut from) = (to.0, from.0);
    let mut arguments = [(&raw mut to).cast(), (&raw mut from).cast()];
    let status = call!(cuLaunchKernel(
        kernel,
        1,
        1,
        1,
        32,
        1,
        1,
        0,
        CUstream::NULL,
        arguments.as_mut_ptr(),
        std::ptr::null_mut()
    ));
    assert_eq!(status, SUCCESS);
    call!(cuCtxSynchronize())
}
