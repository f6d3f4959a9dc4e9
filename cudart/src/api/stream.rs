// SPDX-License-Identifier: Apache-2.0
//! Streams.

use core::ffi::c_void;

use gvirtus_abi::{CUhostPointer, CUstream};
use gvirtus_runtime_abi::cudaError;

use super::stream_of;
use crate::context::with_context;
use crate::error::Result;

pub unsafe fn cudaStreamCreate(pStream: *mut CUstream) -> Result<()> {
    // SAFETY: the caller's promise.
    unsafe { super::cudaStreamCreateWithFlags(pStream, 0) }
}

pub unsafe fn cudaStreamAddCallback(
    default_stream: CUstream,
    stream: CUstream,
    callback: CUhostPointer,
    userData: *mut c_void,
    flags: u32,
) -> Result<()> {
    if callback.is_none() {
        return Err(cudaError::cudaErrorInvalidValue);
    }
    let stream = stream_of(default_stream, stream);
    // SAFETY: the caller's promise: a function of the documented form. The driver gives it its own
    // code of the stream's state, which is the runtime's number too.
    with_context(|driver| unsafe { driver.cuStreamAddCallback(stream, callback, userData, flags) })
}
