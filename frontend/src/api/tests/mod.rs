// SPDX-License-Identifier: Apache-2.0
//! Whole calls, against the test's device. One test at a time uses the process's frontend.

mod context;
mod launch;
mod memory;

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
