// SPDX-License-Identifier: Apache-2.0
//! Memory, copies and pointers.

use super::*;

#[test]
fn copies_with_gaps_go_all_ways() {
    let _fixture = Fixture::new();
    let (mut pitched, mut pitch) = (CUdeviceptr(0), 0);
    // SAFETY: places for an address and a size.
    unsafe { cuMemAllocPitch_v2(&raw mut pitched, &raw mut pitch, 30, 4, 4) }.expect("memory");
    assert_eq!(pitch, 512);
    let source: Vec<u8> = (0..160).collect();
    let mut result = vec![0_u8; 120];
    let mut copy = CUDA_MEMCPY2D {
        srcXInBytes: 2,
        srcY: 0,
        srcMemoryType: CUmemorytype::CU_MEMORYTYPE_HOST,
        srcHost: source.as_ptr().cast(),
        srcDevice: CUdeviceptr(0),
        srcArray: CUarray::NULL,
        srcPitch: 40,
        dstXInBytes: 0,
        dstY: 0,
        dstMemoryType: CUmemorytype::CU_MEMORYTYPE_DEVICE,
        dstHost: null_mut(),
        dstDevice: pitched,
        dstArray: CUarray::NULL,
        dstPitch: pitch,
        WidthInBytes: 30,
        Height: 4,
    };
    // SAFETY: the copy lies within the memory.
    unsafe { cuMemcpy2D_v2(LEGACY, &raw const copy) }.expect("copied");
    // Device to device, without gaps.
    let dense = allocate(120);
    copy.srcMemoryType = CUmemorytype::CU_MEMORYTYPE_UNIFIED;
    (copy.srcDevice, copy.srcPitch, copy.srcXInBytes) = (pitched, pitch, 0);
    (copy.dstDevice, copy.dstPitch) = (dense, 30);
    // SAFETY: as above.
    unsafe { cuMemcpy2D_v2(LEGACY, &raw const copy) }.expect("copied");
    // Device to host, the direction left to the addresses.
    let to = CUdeviceptr(result.as_mut_ptr() as u64);
    // SAFETY: as above.
    unsafe { cuMemcpy(LEGACY, to, dense, 120) }.expect("copied");
    let expected: Vec<u8> = source
        .chunks(40)
        .flat_map(|row| row[2..32].to_vec())
        .collect();
    assert_eq!(result, expected);
    copy.Height = 5;
    // SAFETY: what does not fit is refused.
    let refused = unsafe { cuMemcpy2D_v2(LEGACY, &raw const copy) };
    assert_eq!(refused, Err(INVALID_VALUE));
    copy.Height = 4;
    copy.dstMemoryType = CUmemorytype::CU_MEMORYTYPE_ARRAY;
    // SAFETY: as above.
    let refused = unsafe { cuMemcpy2D_v2(LEGACY, &raw const copy) };
    assert_eq!(refused, Err(CUresult::CUDA_ERROR_INVALID_HANDLE));
}

#[test]
fn memory_of_nobody_is_refused_at_the_call() {
    let _fixture = Fixture::new();
    let address = allocate(64);
    let behind = CUdeviceptr(address.0 + 60);
    let bytes = [0_u8; 64];
    let from = bytes.as_ptr().cast();
    // SAFETY: what does not fit is refused before memory is touched.
    unsafe {
        assert_eq!(cuMemcpyHtoD_v2(LEGACY, behind, from, 5), Err(INVALID_VALUE));
        assert_eq!(
            cuMemcpyHtoD_v2(LEGACY, CUdeviceptr(64), from, 5),
            Err(INVALID_VALUE)
        );
        assert_eq!(
            cuMemcpyHtoD_v2(LEGACY, address, null(), 5),
            Err(INVALID_VALUE)
        );
        assert_eq!(cuMemcpyHtoD_v2(LEGACY, address, null(), 0), Ok(()));
        assert_eq!(cuMemsetD8_v2(LEGACY, behind, 0, 5), Err(INVALID_VALUE));
        assert_eq!(cuMemsetD32_v2(LEGACY, behind, 0, 1), Ok(()));
        assert_eq!(
            cuMemsetD32_v2(LEGACY, CUdeviceptr(address.0 + 1), 0, 1),
            Err(INVALID_VALUE)
        );
        assert_eq!(cuMemsetD2D8_v2(LEGACY, address, 10, 0, 5, 6), Ok(()));
        assert_eq!(
            cuMemsetD2D8_v2(LEGACY, address, 10, 0, 5, 7),
            Err(INVALID_VALUE)
        );
        assert_eq!(
            cuMemcpyDtoD_v2(LEGACY, address, behind, 5),
            Err(INVALID_VALUE)
        );
        assert_eq!(cuMemFree_v2(behind), Err(INVALID_VALUE));
        let mut place = CUdeviceptr(0);
        let too_much = cuMemAlloc_v2(&raw mut place, 1 << 40);
        assert_eq!(too_much, Err(CUresult::CUDA_ERROR_OUT_OF_MEMORY));
    }
    assert_eq!(synchronize(), Ok(()));
}

#[test]
fn pointers_tell_whose_they_are() {
    let _fixture = Fixture::new();
    let address = allocate(100);
    let mut pinned = null_mut();
    // SAFETY: a place for a pointer.
    unsafe { cuMemHostAlloc(&raw mut pinned, 10, 1) }.expect("memory");
    // SAFETY: just allocated.
    unsafe { pinned.cast::<u8>().write_bytes(1, 10) };
    let own = [0_u8; 8];
    let own = own.as_ptr() as u64;
    for (pointer, expected) in [
        (address.0 + 99, (2, 0, address.0 + 99, address.0)),
        (pinned as u64 + 9, (1, 0, 0, pinned as u64)),
        (own, (0, -2, 0, 0)),
    ] {
        let (mut kind, mut device) = (9_u32, 9_i32);
        let (mut device_pointer, mut start) = (9_u64, 9_u64);
        let mut attributes = [
            CUpointer_attribute::CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
            CUpointer_attribute::CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL,
            CUpointer_attribute::CU_POINTER_ATTRIBUTE_DEVICE_POINTER,
            CUpointer_attribute::CU_POINTER_ATTRIBUTE_RANGE_START_ADDR,
        ];
        let mut places: [*mut c_void; 4] = [
            (&raw mut kind).cast(),
            (&raw mut device).cast(),
            (&raw mut device_pointer).cast(),
            (&raw mut start).cast(),
        ];
        // SAFETY: a place of the right size for each attribute.
        unsafe {
            let pointer = CUdeviceptr(pointer);
            cuPointerGetAttributes(4, attributes.as_mut_ptr(), places.as_mut_ptr(), pointer)
        }
        .expect("of any pointer");
        assert_eq!((kind, device, device_pointer, start), expected);
    }
    let mut kind = 0_u32;
    let memory_type = CUpointer_attribute::CU_POINTER_ATTRIBUTE_MEMORY_TYPE;
    // SAFETY: a place of the right size.
    let unknown =
        unsafe { cuPointerGetAttribute((&raw mut kind).cast(), memory_type, CUdeviceptr(own)) };
    assert_eq!(unknown, Err(INVALID_VALUE));
    // SAFETY: allocated above, and not used any more.
    unsafe {
        cuMemFreeHost(pinned).expect("allocated");
        assert_eq!(cuMemFreeHost(pinned), Err(INVALID_VALUE));
    }
}

#[test]
fn device_memory_stays_off_the_addresses_of_the_application() {
    let _fixture = Fixture::new();
    let wanted = gpu().lock().next_address();
    // SAFETY: a mapping where nothing is.
    let taken = unsafe {
        libc::mmap(
            std::ptr::without_provenance_mut(wanted as usize),
            4096,
            libc::PROT_READ,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE,
            -1,
            0,
        )
    };
    assert_eq!(taken.addr() as u64, wanted);
    let address = allocate(100);
    assert_ne!(address.0, wanted);
    synchronize().expect("alive");
    let gpu = gpu().lock();
    assert!(gpu.is_allocated(address.0) && !gpu.is_allocated(wanted));
    drop(gpu);
    // SAFETY: the mapping made above.
    unsafe { libc::munmap(taken, 4096) };
    let is_mapped = || {
        let page = std::ptr::without_provenance_mut(address.0 as usize);
        // SAFETY: only asks.
        unsafe { libc::msync(page, 4096, libc::MS_ASYNC) == 0 }
    };
    assert!(is_mapped(), "the page is reserved");
    // SAFETY: allocated above.
    unsafe { cuMemFree_v2(address) }.expect("allocated");
    assert!(!is_mapped(), "the page is free again");
}
