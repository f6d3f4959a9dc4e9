// SPDX-License-Identifier: Apache-2.0
//! Images and launches.

use super::*;

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
