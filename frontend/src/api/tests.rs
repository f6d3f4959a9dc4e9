// SPDX-License-Identifier: Apache-2.0
//! Whole calls, against the test's device. One test at a time uses the process's frontend.

use std::ffi::{CStr, c_void};
use std::ptr::{null, null_mut};

use gvirtus_abi::*;
use gvirtus_protocol::opcode;
use parking_lot::MutexGuard;

use super::*;
use crate::test_utils::{exclusive, gpu};

const LEGACY: CUstream = CU_STREAM_LEGACY;
const DEFAULT: CUstream = CUstream::NULL;

/// A thread with a context of its own on device 0, which ends with the value.
struct Fixture {
    context: CUcontext,
    _exclusive: MutexGuard<'static, ()>,
}

impl Fixture {
    fn new() -> Self {
        let exclusive = exclusive();
        let mut context = CUcontext::NULL;
        // SAFETY: a place for a handle.
        unsafe {
            cuInit(0).expect("the test's device answers");
            cuCtxCreate_v2(&raw mut context, 0, CUdevice(0)).expect("initialised");
        }
        Self {
            context,
            _exclusive: exclusive,
        }
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        // SAFETY: handles may be anything.
        let _ = unsafe { cuCtxDestroy_v2(self.context) };
    }
}

fn allocate(bytes: usize) -> CUdeviceptr {
    let mut address = CUdeviceptr(0);
    // SAFETY: a place for an address.
    unsafe { cuMemAlloc_v2(&raw mut address, bytes) }.expect("memory");
    address
}

fn load() -> CUlibrary {
    let mut library = CUlibrary::NULL;
    // SAFETY: PTX ends with a NUL, and there are no options.
    unsafe {
        cuLibraryLoadData(
            &raw mut library,
            c".version 8.0".as_ptr().cast(),
            null_mut(),
            null_mut(),
            0,
            null_mut(),
            null_mut(),
            0,
        )
    }
    .expect("every image is good");
    library
}

fn kernel(library: CUlibrary, name: &CStr) -> CUfunction {
    let mut kernel = CUkernel::NULL;
    let mut function = CUfunction::NULL;
    // SAFETY: places for handles, and a C string.
    unsafe {
        cuLibraryGetKernel(&raw mut kernel, library, name.as_ptr()).expect("it is there");
        cuKernelGetFunction(&raw mut function, kernel).expect("a context is current");
    }
    function
}

/// Launches with one block of `threads` threads.
fn launch(function: CUfunction, threads: u32, parameters: &mut [*mut c_void]) -> Status {
    let parameters = match parameters {
        [] => null_mut(),
        some => some.as_mut_ptr(),
    };
    // SAFETY: the tests give as many parameters as the kernel has.
    unsafe {
        cuLaunchKernel(
            LEGACY,
            function,
            1,
            1,
            1,
            threads,
            1,
            1,
            0,
            DEFAULT,
            parameters,
            null_mut(),
        )
    }
}

fn synchronize() -> Status {
    // SAFETY: no preconditions.
    unsafe { cuCtxSynchronize() }
}

#[test]
fn a_program_runs_from_memory_to_memory() {
    let _fixture = Fixture::new();
    let data: Vec<u8> = (0..100).collect();
    let address = allocate(100);
    let add = kernel(load(), c"add");
    let (mut pointer, mut increment, mut unused) = (address, 5_u8, 0_u32);
    let mut parameters = [
        (&raw mut pointer).cast(),
        (&raw mut increment).cast(),
        (&raw mut unused).cast(),
    ];
    let mut result = vec![0_u8; 100];
    // SAFETY: the memory is as large as said.
    unsafe { cuMemcpyHtoD_v2(LEGACY, address, data.as_ptr().cast(), 100) }.expect("copied");
    launch(add, 100, &mut parameters).expect("posted");
    // SAFETY: as above.
    unsafe { cuMemcpyDtoH_v2(LEGACY, result.as_mut_ptr().cast(), address, 100) }.expect("copied");
    let expected: Vec<u8> = data.iter().map(|byte| byte + 5).collect();
    assert_eq!(result, expected);
    // The same with all parameters in one buffer.
    let mut buffer = [0_u8; 16];
    buffer[..8].copy_from_slice(&address.0.to_le_bytes());
    buffer[8] = 1;
    let mut size = buffer.len();
    let mut extra = [
        std::ptr::without_provenance_mut(1),
        buffer.as_mut_ptr().cast(),
        std::ptr::without_provenance_mut(2),
        (&raw mut size).cast(),
        null_mut(),
    ];
    // SAFETY: a list as CUDA wants it.
    unsafe {
        cuLaunchKernel(
            LEGACY,
            add,
            1,
            1,
            1,
            10,
            1,
            1,
            0,
            DEFAULT,
            null_mut(),
            extra.as_mut_ptr(),
        )
    }
    .expect("posted");
    // SAFETY: the memory is as large as said.
    unsafe { cuMemcpyDtoH_v2(LEGACY, result.as_mut_ptr().cast(), address, 100) }.expect("copied");
    assert_eq!((result[9], result[10]), (expected[9] + 1, expected[10]));
    // SAFETY: allocated above.
    unsafe { cuMemFree_v2(address) }.expect("allocated");
    // SAFETY: handles and addresses may be anything.
    let again = unsafe { cuMemFree_v2(address) };
    assert_eq!(again, Err(INVALID_VALUE));
}

#[test]
fn what_is_wrong_with_a_launch_is_told_at_once() {
    let fixture = Fixture::new();
    let library = load();
    let nothing = kernel(library, c"nothing");
    let launched = |grid: u32, block: u32, shared: u32| {
        // SAFETY: the kernel has no parameters.
        unsafe {
            cuLaunchKernel(
                LEGACY,
                nothing,
                grid,
                1,
                1,
                block,
                1,
                1,
                shared,
                DEFAULT,
                null_mut(),
                null_mut(),
            )
        }
    };
    assert_eq!(launched(1, 1, 0), Ok(()));
    for (grid, block) in [(0, 1), (1, 0), (1, 1025), (u32::MAX, 1)] {
        assert_eq!(
            launched(grid, block, 0),
            Err(INVALID_VALUE),
            "{grid} {block}"
        );
    }
    // Before the driver has told, few more threads than are possible seem to be.
    assert_eq!(launched(1, 257, 0), Ok(()));
    let too_many = Err(CUresult::CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES);
    assert_eq!(synchronize(), too_many);
    assert_eq!(launched(1, 513, 0), too_many);
    assert_eq!(launched(1, 257, 0), too_many);
    assert_eq!(launched(1, 256, 49_152), Ok(()));
    assert_eq!(launched(1, 1, 49_153), too_many);
    let mut threads = 0;
    let attribute = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK;
    // SAFETY: a place for a number.
    unsafe { cuFuncGetAttribute(&raw mut threads, attribute, nothing) }.expect("known");
    assert_eq!(threads, 256);
    let mut kernel_handle = CUkernel::NULL;
    // SAFETY: a place for a handle, and a C string.
    unsafe { cuLibraryGetKernel(&raw mut kernel_handle, library, c"nothing".as_ptr()) }
        .expect("there");
    let impossible = launch(CUfunction(kernel_handle.0), 1025, &mut []);
    assert_eq!(impossible, Err(CUresult(9)));
    let invalid_handle = Err(CUresult::CUDA_ERROR_INVALID_HANDLE);
    for wrong in [0, 8, fixture.context.0] {
        assert_eq!(launch(CUfunction(wrong), 1, &mut []), invalid_handle);
    }
    let add = kernel(library, c"add");
    assert_eq!(launch(add, 1, &mut []), Err(INVALID_VALUE));
    // SAFETY: a handle.
    unsafe { cuLibraryUnload(library) }.expect("loaded");
    assert_eq!(launch(nothing, 1, &mut []), invalid_handle);
}

#[test]
fn a_failed_kernel_poisons_its_context_and_no_other() {
    let fixture = Fixture::new();
    let illegal = Err(CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
    let crash = kernel(load(), c"crash");
    let address = allocate(16);
    launch(crash, 1, &mut []).expect("not known before somebody waits");
    assert_eq!(synchronize(), illegal);
    assert_eq!(synchronize(), illegal);
    assert_eq!(launch(crash, 1, &mut []), illegal);
    let mut place = CUdeviceptr(0);
    // SAFETY: places for numbers and addresses.
    unsafe {
        assert_eq!(cuMemAlloc_v2(&raw mut place, 16), illegal);
        assert_eq!(cuMemFree_v2(address), illegal);
        // What needs no context still works.
        let mut count = 0;
        cuDeviceGetCount(&raw mut count).expect("initialised");
        cuCtxDestroy_v2(fixture.context).expect("alive");
        let mut other = CUcontext::NULL;
        cuCtxCreate_v2(&raw mut other, 0, CUdevice(0)).expect("the fault went with its context");
        assert_eq!(synchronize(), Ok(()));
        cuCtxDestroy_v2(other).expect("alive");
    }
}

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
    copy.dstMemoryType = CUmemorytype::CU_MEMORYTYPE_ARRAY;
    // SAFETY: as above.
    let refused = unsafe { cuMemcpy2D_v2(LEGACY, &raw const copy) };
    assert_eq!(refused, Err(CUresult::CUDA_ERROR_NOT_SUPPORTED));
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
fn an_image_that_does_not_compile_leaves_its_log() {
    let _fixture = Fixture::new();
    let mut module = CUmodule::NULL;
    let (mut log, mut short) = ([0xff_u8; 64], [0xff_u8; 5]);
    let image = c"//fail".as_ptr().cast();
    for (buffer, room, expected) in [(log.as_mut_ptr(), 64, 16_usize), (short.as_mut_ptr(), 5, 4)] {
        let mut options = [
            CUjit_option::CU_JIT_ERROR_LOG_BUFFER,
            CUjit_option::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
            CUjit_option::CU_JIT_MAX_REGISTERS,
        ];
        let size = std::ptr::without_provenance_mut::<c_void>(room);
        let mut values = [buffer.cast(), size, std::ptr::without_provenance_mut(32)];
        // SAFETY: options as CUDA wants them, and PTX with a NUL.
        let status = unsafe {
            let (options, values) = (options.as_mut_ptr(), values.as_mut_ptr());
            cuModuleLoadDataEx(&raw mut module, image, 3, options, values)
        };
        assert_eq!(status, Err(CUresult::CUDA_ERROR_INVALID_PTX));
        assert_eq!(values[1].addr(), expected);
    }
    assert_eq!(&log[..17], b"line 1: it fails\0");
    assert_eq!(&short, b"line\0");
    // SAFETY: bytes that are no image, and a name of no file.
    unsafe {
        let status = cuModuleLoadData(&raw mut module, c"nonsense".as_ptr().cast());
        assert_eq!(status, Err(CUresult::CUDA_ERROR_INVALID_IMAGE));
        let status = cuModuleLoad(&raw mut module, c"/nonexistent".as_ptr());
        assert_eq!(status, Err(CUresult::CUDA_ERROR_FILE_NOT_FOUND));
        assert_eq!(
            cuModuleLoadData(&raw mut module, null()),
            Err(INVALID_VALUE)
        );
    }
}

#[test]
fn kernels_and_variables_are_found_by_name() {
    let fixture = Fixture::new();
    let mut module = CUmodule::NULL;
    let (mut count, mut function) = (0, CUfunction::NULL);
    let mut functions = [CUfunction::NULL; 5];
    let (mut address, mut bytes) = (CUdeviceptr(0), 0);
    let mut name = null();
    let (mut offset, mut size, mut parameters) = (0, 0, 0);
    // SAFETY: places for what is written, and C strings.
    unsafe {
        cuModuleLoadData(&raw mut module, c".version".as_ptr().cast()).expect("good");
        cuModuleGetFunctionCount(&raw mut count, module).expect("loaded");
        assert_eq!(count, 3);
        cuModuleEnumerateFunctions(functions.as_mut_ptr(), 5, module).expect("loaded");
        cuModuleGetFunction(&raw mut function, module, c"crash".as_ptr()).expect("there");
        assert_eq!(functions[1], function);
        assert!(functions[3].is_null());
        let missing = cuModuleGetFunction(&raw mut function, module, c"Crash".as_ptr());
        assert_eq!(missing, Err(CUresult::CUDA_ERROR_NOT_FOUND));
        cuFuncGetName(&raw mut name, functions[0]).expect("there");
        assert_eq!(CStr::from_ptr(name), c"add");
        cuFuncGetParamCount(functions[0], &raw mut parameters).expect("there");
        cuFuncGetParamInfo(functions[0], 2, &raw mut offset, &raw mut size).expect("there");
        assert_eq!((parameters, offset, size), (3, 12, 4));
        let none = cuFuncGetParamInfo(functions[0], 3, &raw mut offset, &raw mut size);
        assert_eq!(none, Err(INVALID_VALUE));
        let name = c"variable".as_ptr();
        cuModuleGetGlobal_v2(&raw mut address, &raw mut bytes, module, name).expect("there");
        assert_eq!(bytes, 16);
        let mut again = CUdeviceptr(0);
        cuModuleGetGlobal_v2(&raw mut again, null_mut(), module, name).expect("there");
        assert_eq!(again, address);
        let mut owner = CUcontext::NULL;
        let attribute = CUpointer_attribute::CU_POINTER_ATTRIBUTE_CONTEXT;
        cuPointerGetAttribute((&raw mut owner).cast(), attribute, address).expect("device memory");
        assert_eq!(owner, fixture.context);
        assert_eq!(cuMemFree_v2(address), Err(INVALID_VALUE));
        cuModuleUnload(module).expect("loaded");
        let gone = cuPointerGetAttribute((&raw mut owner).cast(), attribute, address);
        assert_eq!(gone, Err(INVALID_VALUE));
        let invalid = Err(CUresult::CUDA_ERROR_INVALID_HANDLE);
        assert_eq!(cuModuleUnload(module), invalid);
    }
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
fn devices_are_answered_from_the_snapshot() {
    let _fixture = Fixture::new();
    let (mut count, mut version, mut value) = (0, 0, 9);
    let mut name = [0x7f; 8];
    let mut device = CUdevice(9);
    let managed = CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY;
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

#[test]
fn a_launch_carries_its_attributes() {
    let _fixture = Fixture::new();
    let nothing = kernel(load(), c"nothing");
    gpu().lock().launches.clear();
    let mut attributes = [
        CUlaunchAttribute {
            id: CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_IGNORE,
            pad: [0; 4],
            value: CUlaunchAttributeValue { pad: [0; 64] },
        },
        CUlaunchAttribute {
            id: CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_PRIORITY,
            pad: [0; 4],
            value: CUlaunchAttributeValue { pad: [0; 64] },
        },
    ];
    attributes[1].value.priority = -3;
    let mut config = CUlaunchConfig {
        gridDimX: 1,
        gridDimY: 2,
        gridDimZ: 3,
        blockDimX: 4,
        blockDimY: 1,
        blockDimZ: 1,
        sharedMemBytes: 64,
        hStream: DEFAULT,
        attrs: attributes.as_mut_ptr(),
        numAttrs: 2,
    };
    let launch = |config: &CUlaunchConfig| {
        // SAFETY: a whole configuration; the kernel has no parameters.
        unsafe { cuLaunchKernelEx(LEGACY, &raw const *config, nothing, null_mut(), null_mut()) }
    };
    launch(&config).expect("posted");
    // SAFETY: the kernel has no parameters.
    unsafe { cuLaunchCooperativeKernel(LEGACY, nothing, 1, 1, 1, 1, 1, 1, 0, DEFAULT, null_mut()) }
        .expect("posted");
    attributes[0].id = CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT;
    config.attrs = attributes.as_mut_ptr();
    assert_eq!(launch(&config), Err(CUresult::CUDA_ERROR_NOT_SUPPORTED));
    synchronize().expect("alive");
    let gpu = gpu().lock();
    let body = |index: usize| &gpu.launches[index].1.body[52..];
    assert_eq!(gpu.launches.len(), 2);
    assert_eq!(
        (body(0)[0], body(0)[8..12].as_ref()),
        (8, &(-3_i32).to_le_bytes()[..])
    );
    assert_eq!((body(1)[0], body(1)[8]), (2, 1));
}
