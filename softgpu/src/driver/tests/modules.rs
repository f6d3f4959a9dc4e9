// SPDX-License-Identifier: Apache-2.0
//! Modules, libraries, functions and launches.

use std::ffi::{CStr, c_void};

use gvirtus_abi::{
    CUfunction, CUfunction_attribute, CUjit_option, CUkernel, CUlaunchAttribute,
    CUlaunchAttributeID, CUlaunchAttributeValue, CUlaunchAttributeValue_clusterDim, CUlaunchConfig,
    CUlibrary, CUmodule, CUresult, CUstream,
};

use super::*;

const PTX: &[u8] = concat!(include_str!("kernels.ptx"), "\0").as_bytes();
const ILLEGAL_ADDRESS: CUresult = CUresult::CUDA_ERROR_ILLEGAL_ADDRESS;
const NOT_FOUND: CUresult = CUresult::CUDA_ERROR_NOT_FOUND;

fn module() -> CUmodule {
    get!(cuModuleLoadData(_, PTX.as_ptr().cast()))
}

fn function(module: CUmodule, name: &CStr) -> CUfunction {
    get!(cuModuleGetFunction(_, module, name.as_ptr()))
}

fn library() -> CUlibrary {
    let none = std::ptr::null_mut();
    get!(cuLibraryLoadData(
        _,
        PTX.as_ptr().cast(),
        none,
        none.cast(),
        0,
        none.cast(),
        none.cast(),
        0
    ))
}

/// Launches one block in the legacy stream.
fn launch(function: CUfunction, threads: u32, parameters: &mut [*mut c_void]) -> CUresult {
    launch_in(
        CUstream::NULL,
        function,
        [1; 3],
        [threads, 1, 1],
        0,
        parameters,
    )
}

fn launch_in(
    stream: CUstream,
    function: CUfunction,
    [gx, gy, gz]: [u32; 3],
    [bx, by, bz]: [u32; 3],
    shared: u32,
    parameters: &mut [*mut c_void],
) -> CUresult {
    let parameters = match parameters {
        [] => std::ptr::null_mut(),
        some => some.as_mut_ptr(),
    };
    let extra = std::ptr::null_mut();
    call!(cuLaunchKernel(
        function, gx, gy, gz, bx, by, bz, shared, stream, parameters, extra
    ))
}

fn words(bytes: &[u8]) -> Vec<u32> {
    let words = bytes.chunks_exact(4);
    words
        .map(|word| u32::from_le_bytes(word.try_into().expect("four bytes")))
        .collect()
}

fn counter(module: CUmodule) -> CUdeviceptr {
    let (mut address, mut bytes) = (CUdeviceptr(0), 0);
    let name = c"counter".as_ptr();
    let status = call!(cuModuleGetGlobal_v2(
        &raw mut address,
        &raw mut bytes,
        module,
        name
    ));
    assert_eq!((status, bytes), (SUCCESS, 4));
    address
}

#[test]
fn a_kernel_gets_its_parameters_either_way() {
    let _context = TestContext::new();
    let scale = function(module(), c"scale");
    let mut target = allocate(64);
    let mut value = 10_u32;
    let mut parameters = [(&raw mut target).cast(), (&raw mut value).cast()];
    assert_eq!(launch(scale, 16, &mut parameters), SUCCESS);
    let expected: Vec<u32> = (30..46).collect();
    assert_eq!(words(&download(target, 64)), expected);

    let mut buffer = [0_u8; 12];
    buffer[..8].copy_from_slice(&target.0.to_le_bytes());
    buffer[8..].copy_from_slice(&20_u32.to_le_bytes());
    let mut size = buffer.len();
    let key = std::ptr::without_provenance_mut::<c_void>;
    let mut extra = [
        key(1),
        buffer.as_mut_ptr().cast(),
        key(2),
        (&raw mut size).cast(),
        key(0),
    ];
    let (none, extra) = (std::ptr::null_mut(), extra.as_mut_ptr());
    let status = call!(cuLaunchKernel(
        scale,
        1,
        1,
        1,
        2,
        1,
        1,
        0,
        CUstream(0),
        none,
        extra
    ));
    assert_eq!(status, SUCCESS);
    assert_eq!(words(&download(target, 12)), [60, 61, 32]);
    // SAFETY: nobody else looks at it meanwhile.
    unsafe { (&raw mut size).write(8) };
    let status = call!(cuLaunchKernel(
        scale,
        1,
        1,
        1,
        2,
        1,
        1,
        0,
        CUstream(0),
        none,
        extra
    ));
    assert_eq!(status, INVALID_VALUE);
    assert_eq!(launch(scale, 1, &mut []), INVALID_VALUE);
}

#[test]
fn variables_are_device_memory() {
    let _context = TestContext::new();
    let module = module();
    let address = counter(module);
    assert_eq!(words(&download(address, 4)), [7]);
    let mut turns = 1000_u64;
    let mut parameters = [(&raw mut turns).cast()];
    assert_eq!(
        launch(function(module, c"count"), 32, &mut parameters),
        SUCCESS
    );
    assert_eq!(words(&download(address, 4)), [39]);
    assert_eq!(call!(cuMemFree_v2(address)), INVALID_VALUE);
    let mut none = CUdeviceptr(0);
    let missing = c"absent".as_ptr();
    let status = call!(cuModuleGetGlobal_v2(
        &raw mut none,
        std::ptr::null_mut(),
        module,
        missing
    ));
    assert_eq!(status, NOT_FOUND);
    assert_eq!(call!(cuModuleUnload(module)), SUCCESS);
    assert_eq!(call!(cuModuleUnload(module)), INVALID_HANDLE);
    assert_eq!(call!(cuMemsetD8_v2(address, 0, 4)), INVALID_VALUE);
}

#[test]
fn functions_describe_themselves() {
    let _context = TestContext::new();
    let module = module();
    let scale = function(module, c"scale");
    assert_eq!(scale, function(module, c"scale"));
    let mut absent = CUfunction::NULL;
    let name = c"absent".as_ptr();
    assert_eq!(
        call!(cuModuleGetFunction(&raw mut absent, module, name)),
        NOT_FOUND
    );
    let count: u32 = get!(cuModuleGetFunctionCount(_, module));
    assert_eq!(count, 6);
    let mut all = [CUfunction::NULL; 6];
    let status = call!(cuModuleEnumerateFunctions(all.as_mut_ptr(), 6, module));
    assert!(status == SUCCESS && all.contains(&scale));
    let name = get_text(|out| call!(cuFuncGetName(out, scale)));
    assert_eq!(name, "scale");
    let (mut offset, mut size) = (9, 9);
    let status = call!(cuFuncGetParamInfo(scale, 1, &raw mut offset, &raw mut size));
    assert_eq!((status, offset, size), (SUCCESS, 8, 4));
    let status = call!(cuFuncGetParamInfo(scale, 2, &raw mut offset, &raw mut size));
    assert_eq!(status, INVALID_VALUE);

    use CUfunction_attribute as A;
    let bounded = function(module, c"bounded");
    let attribute = |attribute| -> i32 { get!(cuFuncGetAttribute(_, attribute, bounded)) };
    assert_eq!(attribute(A::CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK), 64);
    assert_eq!(attribute(A::CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES), 1024);
    assert_eq!(attribute(A::CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES), 8);
    assert_eq!(attribute(A::CU_FUNC_ATTRIBUTE_PTX_VERSION), 75);
    assert_eq!(attribute(A::CU_FUNC_ATTRIBUTE_BINARY_VERSION), 80);
    let dynamic = A::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
    assert_eq!(attribute(dynamic), 47 << 10);
    assert_eq!(
        call!(cuFuncSetAttribute(bounded, dynamic, 100 << 10)),
        SUCCESS
    );
    assert_eq!(attribute(dynamic), 100 << 10);
    assert_eq!(
        call!(cuFuncSetAttribute(bounded, dynamic, 163 << 10)),
        INVALID_VALUE
    );
}

#[test]
fn impossible_launches_are_refused() {
    let _context = TestContext::new();
    let module = module();
    let (bounded, nothing) = (function(module, c"bounded"), function(module, c"nothing"));
    for (grid, block, shared) in [
        ([0, 1, 1], [1, 1, 1], 0),
        ([1, 1, 1], [1, 0, 1], 0),
        ([1, 1, 1], [1024, 2, 1], 0),
        ([1, 1, 1], [1, 1, 65], 0),
        ([1, 65_536, 1], [1, 1, 1], 0),
        ([1, 1, 1], [1, 1, 1], 49 << 10),
    ] {
        let status = launch_in(CUstream(0), nothing, grid, block, shared, &mut []);
        assert_eq!(status, INVALID_VALUE, "{grid:?} {block:?} {shared}");
    }
    assert_eq!(launch(bounded, 64, &mut []), SUCCESS);
    assert_eq!(launch(bounded, 65, &mut []), INVALID_VALUE);
    assert_eq!(launch(CUfunction::NULL, 1, &mut []), INVALID_HANDLE);
    assert_eq!(
        launch(CUfunction(nothing.0 + (1 << 30)), 1, &mut []),
        INVALID_HANDLE
    );
    let (stream, none) = (CUstream(0), std::ptr::null_mut());
    let cooperative = |blocks| {
        call!(cuLaunchCooperativeKernel(
            nothing, blocks, 1, 1, 32, 1, 1, 0, stream, none
        ))
    };
    assert_eq!(cooperative(2), SUCCESS);
    assert_eq!(
        cooperative(1 << 20),
        CUresult::CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE
    );
    assert_eq!(call!(cuCtxSynchronize()), SUCCESS);
}

#[test]
fn a_fault_stays_with_its_context() {
    let context = TestContext::new();
    let module = module();
    let stream = stream(1);
    let memory = allocate(16);
    let mut address = 64_u64;
    let mut parameters = [(&raw mut address).cast()];
    let poke = function(module, c"poke");
    assert_eq!(
        launch_in(stream, poke, [1; 3], [1; 3], 0, &mut parameters),
        SUCCESS
    );
    assert_eq!(call!(cuStreamSynchronize(stream)), ILLEGAL_ADDRESS);
    for status in [
        call!(cuCtxSynchronize()),
        call!(cuMemsetD8_v2(memory, 0, 16)),
        call!(cuMemFree_v2(memory)),
        call!(cuStreamQuery(stream)),
        launch(poke, 1, &mut parameters),
    ] {
        assert_eq!(status, ILLEGAL_ADDRESS);
    }
    let current: CUcontext = get!(cuCtxGetCurrent(_));
    assert_eq!(current, context.0);
    drop(context);
    // The next context knows nothing of it.
    let _next = TestContext::new();
    allocate(16);
    assert_eq!(call!(cuCtxSynchronize()), SUCCESS);
}

#[test]
fn faults_have_cudas_codes() {
    for (name, address, expected) in [
        (c"poke", 2, CUresult::CUDA_ERROR_MISALIGNED_ADDRESS),
        (c"poke", 1 << 40, ILLEGAL_ADDRESS),
        (c"stop", 0, CUresult::CUDA_ERROR_LAUNCH_FAILED),
    ] {
        let _context = TestContext::new();
        let mut address: u64 = address;
        let mut parameters = [(&raw mut address).cast()];
        assert_eq!(
            launch(function(module(), name), 1, &mut parameters),
            SUCCESS
        );
        assert_eq!(call!(cuCtxSynchronize()), expected);
    }
}

#[test]
fn launches_are_asynchronous() {
    let _context = TestContext::new();
    let module = module();
    let count = function(module, c"count");
    let stream = stream(1);
    let event = get!(cuEventCreate(_, 2));
    let mut turns = 500_000_u64;
    let mut parameters = [(&raw mut turns).cast()];
    assert_eq!(
        launch_in(stream, count, [1; 3], [1; 3], 0, &mut parameters),
        SUCCESS
    );
    // What the parameters pointed to is the caller's again.
    turns = 0;
    assert_eq!(call!(cuEventRecord(event, stream)), SUCCESS);
    assert_eq!(call!(cuEventQuery(event)), CUresult::CUDA_ERROR_NOT_READY);
    let mut parameters = [(&raw mut turns).cast()];
    assert_eq!(
        launch_in(stream, count, [1; 3], [1; 3], 0, &mut parameters),
        SUCCESS
    );
    // The second one waited for the first, and had a parameter of its own.
    let address = counter(module);
    assert_eq!(call!(cuStreamSynchronize(stream)), SUCCESS);
    assert_eq!(words(&download(address, 4)), [9]);
}

#[test]
fn libraries_work_in_every_context() {
    let context = TestContext::new();
    let library = library();
    let count: u32 = get!(cuLibraryGetKernelCount(_, library));
    assert_eq!(count, 6);
    let kernel: CUkernel = get!(cuLibraryGetKernel(_, library, c"scale".as_ptr()));
    let name = get_text(|out| call!(cuKernelGetName(out, kernel)));
    assert_eq!(name, "scale");
    for _ in 0..2 {
        let _other = TestContext::new();
        let mut target = allocate(16);
        let mut value = 5_u32;
        let mut parameters = [(&raw mut target).cast(), (&raw mut value).cast()];
        // cudart passes the kernel itself.
        assert_eq!(launch(CUfunction(kernel.0), 4, &mut parameters), SUCCESS);
        assert_eq!(words(&download(target, 16)), [15, 16, 17, 18]);
        let function: CUfunction = get!(cuKernelGetFunction(_, kernel));
        assert_eq!(launch(function, 1, &mut parameters), SUCCESS);
        // An impossible block has a number of its own for kernels.
        assert_eq!(
            launch(CUfunction(kernel.0), 0, &mut parameters),
            CUresult(9)
        );
    }
    assert_eq!(call!(cuCtxSetCurrent(context.0)), SUCCESS);
    let shared = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
    assert_eq!(
        call!(cuKernelSetAttribute(shared, 64 << 10, kernel, DEVICE)),
        SUCCESS
    );
    let function: CUfunction = get!(cuKernelGetFunction(_, kernel));
    let bytes: i32 = get!(cuFuncGetAttribute(_, shared, function));
    assert_eq!(bytes, 64 << 10);
    settings_belong_to_the_kernel(library, shared);
    let (mut address, mut bytes) = (CUdeviceptr(0), 0);
    let name = c"factor".as_ptr();
    let status = call!(cuLibraryGetGlobal(
        &raw mut address,
        &raw mut bytes,
        library,
        name
    ));
    assert_eq!((status, bytes), (SUCCESS, 8));
    assert_eq!(download(address, 8), [3, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(call!(cuLibraryUnload(library)), SUCCESS);
    assert_eq!(call!(cuLibraryUnload(library)), INVALID_HANDLE);
    assert_eq!(call!(cuFuncLoad(function)), INVALID_HANDLE);
}

/// Also where the function is first asked of the library's module, as cudart 12 does.
fn settings_belong_to_the_kernel(library: CUlibrary, attribute: CUfunction_attribute) {
    let _other = TestContext::new();
    let module: CUmodule = get!(cuLibraryGetModule(_, library));
    let function: CUfunction = get!(cuModuleGetFunction(_, module, c"scale".as_ptr()));
    let bytes: i32 = get!(cuFuncGetAttribute(_, attribute, function));
    assert_eq!(bytes, 64 << 10);
    assert_eq!(
        call!(cuFuncSetAttribute(function, attribute, 32 << 10)),
        SUCCESS
    );
    let kernel: CUkernel = get!(cuLibraryGetKernel(_, library, c"scale".as_ptr()));
    let bytes: i32 = get!(cuKernelGetAttribute(_, attribute, kernel, DEVICE));
    assert_eq!(bytes, 32 << 10);
}

#[test]
fn bad_images_are_refused_with_a_reason() {
    let _context = TestContext::new();
    let text =
        c".version 8.0\n.target sm_75\n.address_size 64\n.visible .entry k() { frobnicate; }";
    let mut log = [0_u8; 200];
    let mut options = [
        CUjit_option::CU_JIT_ERROR_LOG_BUFFER,
        CUjit_option::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
    ];
    let mut values = [
        log.as_mut_ptr().cast(),
        std::ptr::without_provenance_mut::<c_void>(log.len()),
    ];
    let mut module = CUmodule::NULL;
    let status = call!(cuModuleLoadDataEx(
        &raw mut module,
        text.as_ptr().cast(),
        2,
        options.as_mut_ptr(),
        values.as_mut_ptr()
    ));
    assert_eq!(status, CUresult::CUDA_ERROR_INVALID_PTX);
    let message = String::from_utf8_lossy(&log[..values[1].addr()]).into_owned();
    assert!(message.contains("frobnicate"), "{message}");
    let cubin = [0x7F, b'E', b'L', b'F', 2, 1, 1, 0].map(|byte| byte);
    let mut elf = [0_u8; 64];
    elf[..8].copy_from_slice(&cubin);
    let status = call!(cuModuleLoadData(&raw mut module, elf.as_ptr().cast()));
    assert_eq!(status, CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU);
    let status = call!(cuModuleLoadData(
        &raw mut module,
        [1_u8; 64].as_ptr().cast()
    ));
    assert_eq!(status, CUresult::CUDA_ERROR_INVALID_IMAGE);
    let status = call!(cuModuleLoadData(&raw mut module, std::ptr::null()));
    assert_eq!(status, INVALID_VALUE);
    let missing = c"/nonexistent/module.ptx".as_ptr();
    assert_eq!(
        call!(cuModuleLoad(&raw mut module, missing)),
        CUresult::CUDA_ERROR_FILE_NOT_FOUND
    );
}

#[test]
fn launch_attributes_are_honoured_or_refused() {
    let _context = TestContext::new();
    let nothing = function(module(), c"nothing");
    let with = |mut attributes: Vec<CUlaunchAttribute>| {
        let config = CUlaunchConfig {
            gridDimX: 2,
            gridDimY: 1,
            gridDimZ: 1,
            blockDimX: 32,
            blockDimY: 1,
            blockDimZ: 1,
            sharedMemBytes: 0,
            hStream: CUstream(0),
            attrs: attributes.as_mut_ptr(),
            numAttrs: attributes.len() as u32,
        };
        let none = std::ptr::null_mut();
        call!(cuLaunchKernelEx(&raw const config, nothing, none, none))
    };
    let attribute = |id, value| CUlaunchAttribute {
        id,
        pad: [0; 4],
        value,
    };
    let cluster = |x| CUlaunchAttributeValue {
        clusterDim: CUlaunchAttributeValue_clusterDim { x, y: 1, z: 1 },
    };
    use CUlaunchAttributeID as A;
    let dimension = A::CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
    assert_eq!(with(vec![]), SUCCESS);
    assert_eq!(with(vec![attribute(dimension, cluster(1))]), SUCCESS);
    assert_eq!(with(vec![attribute(dimension, cluster(2))]), SUCCESS);
    for wrong in [0, 3, 32] {
        assert_eq!(
            with(vec![attribute(dimension, cluster(wrong))]),
            CUresult::CUDA_ERROR_INVALID_CLUSTER_SIZE
        );
    }
    let cooperative = CUlaunchAttributeValue { cooperative: 1 };
    assert_eq!(
        with(vec![attribute(
            A::CU_LAUNCH_ATTRIBUTE_COOPERATIVE,
            cooperative
        )]),
        SUCCESS
    );
    assert_eq!(with(vec![attribute(A(999), cooperative)]), INVALID_VALUE);
}
