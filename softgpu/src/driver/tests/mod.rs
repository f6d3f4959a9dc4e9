// SPDX-License-Identifier: Apache-2.0
//! The exported functions, called as a C program calls them.

mod contexts;
mod copies;
mod devices;
mod graphs;
mod ipc;
mod modules;
mod pools;
mod streams;
mod virtual_memory;

use std::ffi::CStr;

use gvirtus_abi::{CUcontext, CUdevice, CUdeviceptr, CUresult, CUstream};

use crate::exports::*;

pub(super) const SUCCESS: CUresult = CUresult::CUDA_SUCCESS;
pub(super) const INVALID_VALUE: CUresult = CUresult::CUDA_ERROR_INVALID_VALUE;
pub(super) const INVALID_HANDLE: CUresult = CUresult::CUDA_ERROR_INVALID_HANDLE;
pub(super) const DEVICE: CUdevice = CUdevice(0);

/// `call!(cuFunction(arguments…))`: calls an exported function and returns its status.
macro_rules! call {
    ($function:ident($($argument:expr),* $(,)?)) => {
        // SAFETY: the tests pass what cuda.h asks for, or what the driver promises to refuse.
        unsafe { $crate::exports::$function($($argument),*) }
    };
}

/// `get!(cuFunction(_, arguments…))`: calls a function whose first argument is an output, expects
/// success and returns the output.
macro_rules! get {
    ($function:ident(_ $(, $argument:expr)* $(,)?)) => {{
        // SAFETY: all outputs are numbers or handles, for which zero is a value.
        let mut value = unsafe { std::mem::zeroed() };
        let status = call!($function(&raw mut value $(, $argument)*));
        assert_eq!(status, SUCCESS, stringify!($function));
        value
    }};
}

pub(super) use {call, get};

/// A context of the test's own, current on its thread.
pub(super) struct TestContext(pub(super) CUcontext);

impl TestContext {
    pub(super) fn new() -> Self {
        assert_eq!(call!(cuInit(0)), SUCCESS);
        Self(get!(cuCtxCreate_v2(_, 0, DEVICE)))
    }
}

impl Drop for TestContext {
    fn drop(&mut self) {
        call!(cuCtxDestroy_v2(self.0));
    }
}

pub(super) fn allocate(bytes: usize) -> CUdeviceptr {
    get!(cuMemAlloc_v2(_, bytes))
}

pub(super) fn download(from: CUdeviceptr, bytes: usize) -> Vec<u8> {
    let mut host = vec![0_u8; bytes];
    let status = call!(cuMemcpyDtoH_v2(host.as_mut_ptr().cast(), from, bytes));
    assert_eq!(status, SUCCESS);
    host
}

pub(super) fn upload(to: CUdeviceptr, bytes: &[u8]) {
    let status = call!(cuMemcpyHtoD_v2(to, bytes.as_ptr().cast(), bytes.len()));
    assert_eq!(status, SUCCESS);
}

#[test]
fn entry_points_are_the_exported_functions() {
    let mut function = std::ptr::null_mut();
    let mut status = gvirtus_abi::CUdriverProcAddressQueryResult(9);
    let name = c"cuMemAlloc".as_ptr();
    let result = call!(cuGetProcAddress_v2(
        name,
        &raw mut function,
        13000,
        0,
        &raw mut status
    ));
    assert_eq!((result, status.0), (SUCCESS, 0));
    assert_eq!(function.addr(), cuMemAlloc_v2 as *const () as usize);
    let name = c"cuStreamQuery".as_ptr();
    assert_eq!(
        call!(cuGetProcAddress(name, &raw mut function, 11030, 2)),
        SUCCESS
    );
    assert_eq!(function.addr(), cuStreamQuery_ptsz as *const () as usize);
}

#[test]
fn what_is_not_implemented_says_so() {
    assert_eq!(
        cuGraphicsMapResources_ptsz(),
        CUresult::CUDA_ERROR_NOT_SUPPORTED
    );
    let calls = gvirtus_driver_face::unsupported_calls();
    assert!(
        calls
            .iter()
            .any(|(name, _)| *name == "cuGraphicsMapResources_ptsz")
    );
}

#[test]
fn error_texts_are_c_strings() {
    let text = get_text(|out| call!(cuGetErrorName(CUresult::CUDA_ERROR_NOT_READY, out)));
    assert_eq!(text, "CUDA_ERROR_NOT_READY");
    let text = get_text(|out| call!(cuGetErrorString(INVALID_VALUE, out)));
    assert_eq!(text, "invalid argument");
}

pub(super) fn get_text(call: impl FnOnce(*mut *const std::ffi::c_char) -> CUresult) -> String {
    let mut text = std::ptr::null();
    assert_eq!(call(&raw mut text), SUCCESS);
    // SAFETY: a success writes a static C string.
    unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned()
}

pub(super) fn stream(flags: u32) -> CUstream {
    get!(cuStreamCreate(_, flags))
}
