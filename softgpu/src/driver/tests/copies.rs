// SPDX-License-Identifier: Apache-2.0
//! Memory: allocation, copies, memsets, pointers.

use std::ffi::c_void;

use gvirtus_abi::{CUDA_MEMCPY2D, CUarray, CUmemorytype, CUpointer_attribute, CUresult, CUstream};

use super::*;

#[test]
fn memory_is_allocated_and_freed() {
    let _context = TestContext::new();
    let pointer = allocate(1000);
    let (mut base, mut bytes) = (CUdeviceptr(0), 0);
    let inside = CUdeviceptr(pointer.0 + 999);
    let status = call!(cuMemGetAddressRange_v2(
        &raw mut base,
        &raw mut bytes,
        inside
    ));
    assert_eq!((status, base, bytes), (SUCCESS, pointer, 1000));
    assert_eq!(
        call!(cuMemFree_v2(CUdeviceptr(pointer.0 + 512))),
        INVALID_VALUE
    );
    assert_eq!(call!(cuMemFree_v2(pointer)), SUCCESS);
    assert_eq!(call!(cuMemFree_v2(pointer)), INVALID_VALUE);
    let mut none = CUdeviceptr(0);
    assert_eq!(call!(cuMemAlloc_v2(&raw mut none, 0)), INVALID_VALUE);
    assert_eq!(
        call!(cuMemAlloc_v2(&raw mut none, usize::MAX)),
        CUresult::CUDA_ERROR_OUT_OF_MEMORY
    );
    let (mut free, mut total) = (0, 0);
    assert_eq!(
        call!(cuMemGetInfo_v2(&raw mut free, &raw mut total)),
        SUCCESS
    );
    assert!(free <= total && total > 0);
}

#[test]
fn copies_keep_to_their_allocations() {
    let _context = TestContext::new();
    let (one, two) = (allocate(1000), allocate(1000));
    let data: Vec<u8> = (0..1000).map(|byte| (byte * 7) as u8).collect();
    upload(one, &data);
    assert_eq!(call!(cuMemcpyDtoD_v2(two, one, 1000)), SUCCESS);
    assert_eq!(download(two, 1000), data);
    let host = data.as_ptr().cast();
    assert_eq!(call!(cuMemcpyHtoD_v2(one, host, 1001)), INVALID_VALUE);
    assert_eq!(call!(cuMemcpyDtoD_v2(one, two, 1001)), INVALID_VALUE);
    assert_eq!(
        call!(cuMemcpyHtoD_v2(CUdeviceptr(one.0 + 1000), host, 1)),
        INVALID_VALUE
    );
    assert_eq!(
        call!(cuMemcpyHtoD_v2(one, std::ptr::null(), 1)),
        INVALID_VALUE
    );
    assert_eq!(call!(cuMemcpyHtoD_v2(one, std::ptr::null(), 0)), SUCCESS);
    // By the pointers' kinds.
    let mut back = vec![0_u8; 1000];
    let address = CUdeviceptr(back.as_mut_ptr() as u64);
    assert_eq!(call!(cuMemcpy(address, two, 1000)), SUCCESS);
    assert_eq!(back, data);
    let source = CUdeviceptr(data[500..].as_ptr() as u64);
    assert_eq!(call!(cuMemcpy(address, source, 500)), SUCCESS);
    assert_eq!(back[..500], data[500..]);
}

#[test]
fn a_pageable_source_may_be_reused_at_once() {
    let _context = TestContext::new();
    let stream = stream(1);
    let target = allocate(1 << 20);
    let slow = allocate(64 << 20);
    for round in 0..20_u8 {
        // Something long before it, so that the copy has to wait.
        assert_eq!(
            call!(cuMemsetD8Async(slow, round, 64 << 20, stream)),
            SUCCESS
        );
        let mut source = vec![round; 1 << 20];
        let status = call!(cuMemcpyHtoDAsync_v2(
            target,
            source.as_ptr().cast(),
            source.len(),
            stream
        ));
        assert_eq!(status, SUCCESS);
        source.fill(0xEE);
        let mut back = vec![0_u8; 1 << 20];
        let status = call!(cuMemcpyDtoHAsync_v2(
            back.as_mut_ptr().cast(),
            target,
            back.len(),
            stream
        ));
        assert_eq!(status, SUCCESS);
        // Pageable again: complete when the call returns.
        assert!(back.iter().all(|byte| *byte == round));
    }
}

#[test]
fn memsets_have_three_widths() {
    let _context = TestContext::new();
    let target = allocate(64);
    assert_eq!(call!(cuMemsetD8_v2(target, 0x11, 64)), SUCCESS);
    assert_eq!(
        call!(cuMemsetD16_v2(CUdeviceptr(target.0 + 2), 0x2233, 2)),
        SUCCESS
    );
    assert_eq!(
        call!(cuMemsetD32_v2(CUdeviceptr(target.0 + 8), 0x4455_6677, 1)),
        SUCCESS
    );
    let bytes = download(target, 16);
    let expected = [
        0x11, 0x11, 0x33, 0x22, 0x33, 0x22, 0x11, 0x11, 0x77, 0x66, 0x55, 0x44, 0x11, 0x11, 0x11,
        0x11,
    ];
    assert_eq!(bytes, expected);
    for (status, what) in [
        (
            call!(cuMemsetD16_v2(CUdeviceptr(target.0 + 1), 0, 1)),
            "odd",
        ),
        (call!(cuMemsetD32_v2(target, 0, 17)), "too long"),
        (call!(cuMemsetD2D8_v2(target, 4, 0, 5, 2)), "pitch"),
        (call!(cuMemsetD8_v2(CUdeviceptr(0), 0, 1)), "null"),
    ] {
        assert_eq!(status, INVALID_VALUE, "{what}");
    }
    assert_eq!(call!(cuMemsetD2D16_v2(target, 16, 0xAAAA, 2, 3)), SUCCESS);
    let bytes = download(target, 48);
    for row in bytes.chunks(16) {
        assert_eq!(row[..4], [0xAA; 4]);
        assert_ne!(row[4], 0xAA);
    }
}

fn copy_2d(width: usize, height: usize) -> CUDA_MEMCPY2D {
    CUDA_MEMCPY2D {
        srcXInBytes: 0,
        srcY: 0,
        srcMemoryType: CUmemorytype::CU_MEMORYTYPE_UNIFIED,
        srcHost: std::ptr::null(),
        srcDevice: CUdeviceptr(0),
        srcArray: CUarray::NULL,
        srcPitch: 0,
        dstXInBytes: 0,
        dstY: 0,
        dstMemoryType: CUmemorytype::CU_MEMORYTYPE_UNIFIED,
        dstHost: std::ptr::null_mut(),
        dstDevice: CUdeviceptr(0),
        dstArray: CUarray::NULL,
        dstPitch: 0,
        WidthInBytes: width,
        Height: height,
    }
}

#[test]
fn rows_are_copied_with_their_pitches() {
    let _context = TestContext::new();
    let (mut target, mut pitch) = (CUdeviceptr(0), 0);
    let status = call!(cuMemAllocPitch_v2(
        &raw mut target,
        &raw mut pitch,
        100,
        8,
        4
    ));
    assert_eq!((status, pitch % 512), (SUCCESS, 0));
    let data: Vec<u8> = (0..800).map(|byte| byte as u8).collect();
    let up = CUDA_MEMCPY2D {
        srcMemoryType: CUmemorytype::CU_MEMORYTYPE_HOST,
        srcHost: data.as_ptr().cast(),
        srcPitch: 100,
        dstMemoryType: CUmemorytype::CU_MEMORYTYPE_DEVICE,
        dstDevice: target,
        dstPitch: pitch,
        ..copy_2d(100, 8)
    };
    assert_eq!(call!(cuMemcpy2D_v2(&raw const up)), SUCCESS);
    let mut back = vec![0_u8; 60];
    let down = CUDA_MEMCPY2D {
        srcMemoryType: CUmemorytype::CU_MEMORYTYPE_DEVICE,
        srcDevice: target,
        srcPitch: pitch,
        srcXInBytes: 10,
        srcY: 2,
        dstMemoryType: CUmemorytype::CU_MEMORYTYPE_HOST,
        dstHost: back.as_mut_ptr().cast(),
        dstPitch: 20,
        ..copy_2d(20, 3)
    };
    assert_eq!(call!(cuMemcpy2D_v2(&raw const down)), SUCCESS);
    for row in 0..3 {
        let start = (row + 2) * 100 + 10;
        assert_eq!(back[row * 20..][..20], data[start..start + 20]);
    }
    let wrong = [
        CUDA_MEMCPY2D { Height: 9, ..up },
        CUDA_MEMCPY2D { srcPitch: 99, ..up },
        CUDA_MEMCPY2D {
            dstY: usize::MAX,
            ..up
        },
        CUDA_MEMCPY2D {
            WidthInBytes: usize::MAX / 4,
            ..up
        },
        CUDA_MEMCPY2D {
            dstMemoryType: CUmemorytype(9),
            ..up
        },
    ];
    for (index, copy) in wrong.iter().enumerate() {
        let status = call!(cuMemcpy2DUnaligned_v2(&raw const *copy));
        assert_eq!(status, INVALID_VALUE, "copy {index}");
    }
    let no_array = CUDA_MEMCPY2D {
        dstMemoryType: CUmemorytype::CU_MEMORYTYPE_ARRAY,
        ..up
    };
    assert_eq!(
        call!(cuMemcpy2D_v2(&raw const no_array)),
        CUresult::CUDA_ERROR_INVALID_HANDLE
    );
}

fn pointer_attribute(attribute: CUpointer_attribute, pointer: u64) -> (CUresult, u64) {
    let mut value = 0_u64;
    let status = call!(cuPointerGetAttribute(
        (&raw mut value).cast(),
        attribute,
        CUdeviceptr(pointer)
    ));
    (status, value)
}

#[test]
fn pointers_say_what_they_are() {
    use CUpointer_attribute as A;
    let context = TestContext::new();
    let device = allocate(100).0;
    let mut host: *mut c_void = std::ptr::null_mut();
    assert_eq!(call!(cuMemHostAlloc(&raw mut host, 100, 0)), SUCCESS);
    assert_eq!(host.addr() % 4096, 0);
    let pinned = host.addr() as u64;
    let mut own = [0_u8; 64];
    let own = own.as_mut_ptr();
    let unknown = own.addr() as u64;
    let kind = A::CU_POINTER_ATTRIBUTE_MEMORY_TYPE;
    assert_eq!(pointer_attribute(kind, device + 5), (SUCCESS, 2));
    assert_eq!(pointer_attribute(kind, pinned), (SUCCESS, 1));
    assert_eq!(pointer_attribute(kind, unknown).0, INVALID_VALUE);
    let owner = A::CU_POINTER_ATTRIBUTE_CONTEXT;
    assert_eq!(pointer_attribute(owner, device), (SUCCESS, context.0.0));
    let as_device = A::CU_POINTER_ATTRIBUTE_DEVICE_POINTER;
    assert_eq!(pointer_attribute(as_device, pinned), (SUCCESS, pinned));
    assert_eq!(call!(cuMemHostRegister_v2(own.cast(), 64, 0)), SUCCESS);
    assert_eq!(
        call!(cuMemHostRegister_v2(own.cast(), 1, 0)),
        CUresult::CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED
    );
    assert_eq!(pointer_attribute(kind, unknown), (SUCCESS, 1));
    assert_eq!(call!(cuMemHostUnregister(own.cast())), SUCCESS);
    assert_eq!(
        call!(cuMemHostUnregister(own.cast())),
        CUresult::CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED
    );
    let (mut memory_type, mut ordinal) = (9_u32, 9_i32);
    let mut attributes = [kind, A::CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL];
    let mut places = [(&raw mut memory_type).cast(), (&raw mut ordinal).cast()];
    let status = call!(cuPointerGetAttributes(
        2,
        attributes.as_mut_ptr(),
        places.as_mut_ptr(),
        CUdeviceptr(unknown)
    ));
    assert_eq!((status, memory_type, ordinal), (SUCCESS, 0, -2));
    assert_eq!(call!(cuMemFreeHost(host)), SUCCESS);
    assert_eq!(call!(cuMemFreeHost(host)), INVALID_VALUE);
    assert_eq!(
        call!(cuMemsetD8Async(CUdeviceptr(unknown), 0, 1, CUstream(0))),
        INVALID_VALUE
    );
}
