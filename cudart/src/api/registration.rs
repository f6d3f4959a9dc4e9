// SPDX-License-Identifier: Apache-2.0
//! What the host code that nvcc makes calls before `main`, at exit, and around each `<<<…>>>`.

use core::ffi::{CStr, c_char, c_void};

use gvirtus_abi::{CUkernel, CUstream};
use gvirtus_runtime_abi::{cudaError, dim3, surfaceReference, textureReference};

use super::write;
use crate::context::release_all;
use crate::error::Result;
use crate::registry;
use crate::thread::{CallConfiguration, pop_configuration, push_configuration};

pub unsafe fn __cudaRegisterFatBinary(fatCubin: *mut c_void) -> *mut *mut c_void {
    if fatCubin.is_null() {
        return registry::no_fatbin();
    }
    registry::handle_of(registry::register(fatCubin))
}

pub unsafe fn __cudaRegisterFatBinaryEnd(_handle: *mut *mut c_void) {}

pub unsafe fn __cudaUnregisterFatBinary(handle: *mut *mut c_void) {
    // SAFETY: the caller's promise: a handle from the registration.
    let last = unsafe { registry::fatbin_of(handle) }.is_some_and(registry::unregister);
    if last {
        // The driver writes what kernels have printed when the context goes.
        release_all();
    }
}

pub unsafe fn __cudaRegisterFunction(
    handle: *mut *mut c_void,
    hostFun: *const c_char,
    _deviceFun: *mut c_char,
    deviceName: *const c_char,
    _thread_limit: i32,
    _tid: *mut c_void,
    _bid: *mut c_void,
    _bDim: *mut dim3,
    _gDim: *mut dim3,
    _wSize: *mut i32,
) {
    // SAFETY: the caller's promise: the handle is from the registration, the name a string of the
    // program's image.
    unsafe {
        if let (Some(fatbin), false) = (registry::fatbin_of(handle), deviceName.is_null()) {
            registry::register_kernel(fatbin, hostFun.cast(), CStr::from_ptr(deviceName));
        }
    }
}

pub unsafe fn __cudaRegisterVar(
    handle: *mut *mut c_void,
    hostVar: *mut c_char,
    _deviceAddress: *mut c_char,
    deviceName: *const c_char,
    _ext: i32,
    _size: usize,
    _constant: i32,
    _global: i32,
) {
    // SAFETY: as for `__cudaRegisterFunction`.
    unsafe {
        if let (Some(fatbin), false) = (registry::fatbin_of(handle), deviceName.is_null()) {
            registry::register_variable(
                fatbin,
                hostVar.cast_const().cast(),
                CStr::from_ptr(deviceName),
            );
        }
    }
}

pub unsafe fn __cudaRegisterManagedVar(
    handle: *mut *mut c_void,
    hostVarPtrAddress: *mut *mut c_void,
    _deviceAddress: *mut c_char,
    deviceName: *const c_char,
    _ext: i32,
    _size: usize,
    _constant: i32,
    _global: i32,
) {
    // SAFETY: as for `__cudaRegisterFunction`; the pointer is a variable of the program's.
    unsafe {
        if let (Some(fatbin), false) = (registry::fatbin_of(handle), deviceName.is_null()) {
            registry::register_managed(fatbin, hostVarPtrAddress, CStr::from_ptr(deviceName));
        }
    }
}

pub unsafe fn __cudaRegisterTexture(
    handle: *mut *mut c_void,
    hostVar: *const textureReference,
    _deviceAddress: *mut *const c_void,
    deviceName: *const c_char,
    _dim: i32,
    norm: i32,
    _ext: i32,
) {
    // SAFETY: as for `__cudaRegisterFunction`.
    unsafe {
        if let (Some(fatbin), false) = (registry::fatbin_of(handle), deviceName.is_null()) {
            let name = CStr::from_ptr(deviceName);
            registry::register_reference(fatbin, hostVar.cast(), name, norm != 0);
        }
    }
}

pub unsafe fn __cudaRegisterSurface(
    handle: *mut *mut c_void,
    hostVar: *const surfaceReference,
    _deviceAddress: *mut *const c_void,
    deviceName: *const c_char,
    _dim: i32,
    _ext: i32,
) {
    // SAFETY: as for `__cudaRegisterFunction`.
    unsafe {
        if let (Some(fatbin), false) = (registry::fatbin_of(handle), deviceName.is_null()) {
            let name = CStr::from_ptr(deviceName);
            registry::register_reference(fatbin, hostVar.cast(), name, false);
        }
    }
}

/// Makes managed variables ready before host code reads one; nvcc asks for it at each first access.
/// The answer is true once it is done.
pub unsafe fn __cudaInitModule(handle: *mut *mut c_void) -> c_char {
    // SAFETY: the caller's promise: a handle from the registration.
    let loaded = unsafe { registry::fatbin_of(handle) }.map(registry::Fatbin::library);
    c_char::from(matches!(loaded, Some(Ok(_))))
}

pub unsafe fn __cudaPushCallConfiguration(
    gridDim: dim3,
    blockDim: dim3,
    sharedMem: usize,
    stream: CUstream,
) -> u32 {
    u32::from(!push_configuration(CallConfiguration {
        grid: gridDim,
        block: blockDim,
        shared_bytes: sharedMem,
        stream,
    }))
}

pub unsafe fn __cudaPopCallConfiguration(
    gridDim: *mut dim3,
    blockDim: *mut dim3,
    sharedMem: *mut usize,
    stream: *mut c_void,
) -> Result<()> {
    let configuration = pop_configuration().ok_or(cudaError::cudaErrorMissingConfiguration)?;
    // SAFETY: the caller's promise: outputs of these types.
    unsafe {
        write(gridDim, configuration.grid)?;
        write(blockDim, configuration.block)?;
        write(sharedMem, configuration.shared_bytes)?;
        write(stream.cast::<CUstream>(), configuration.stream)
    }
}

pub unsafe fn __cudaGetKernel(kernel: *mut CUkernel, func: *const c_void) -> Result<()> {
    let found = registry::kernel(func)?;
    // SAFETY: the caller's promise.
    unsafe { write(kernel, found) }
}
