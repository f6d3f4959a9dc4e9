// SPDX-License-Identifier: Apache-2.0
//! The functions of the CUDA driver API, one for each symbol that the client supports.
//!
//! All are unsafe as their C declarations are: pointers must be what the CUDA documentation asks
//! for, handles may be anything. Functions that have a second symbol for the per-thread default
//! stream have one more, first argument `default_stream`: what a null stream means. An error is the
//! `CUresult` that the application gets.

#![allow(
    non_snake_case,
    reason = "functions and arguments are named like those of cuda.h"
)]
#![allow(
    clippy::missing_safety_doc,
    reason = "the safety of every function here is that of the C function with its name"
)]
#![allow(
    clippy::missing_errors_doc,
    reason = "the errors are those that the CUDA documentation lists for the function"
)]
#![allow(
    clippy::too_many_arguments,
    reason = "the arguments are those of the C function"
)]

mod array;
mod captured;
mod cluster;
mod context;
mod copy;
mod copy_batch;
mod copy_box;
mod device;
mod event;
mod function;
mod graph;
mod host_function;
mod image;
mod ipc;
mod launch;
mod library;
mod link;
mod managed;
mod mapped;
mod memory;
mod module;
mod occupancy;
mod old_launch;
mod pointer;
mod pool;
mod shareable;
mod stream;
mod stream_memory;
mod system;
mod tensor_map;
#[cfg(test)]
mod tests;
mod texture;
mod virtual_memory;

use gvirtus_abi::CUresult;

// Not those that only travel.
pub use self::array::*;
pub use self::captured::{
    cuEventQuery, cuEventRecord, cuEventRecordWithFlags, cuMemcpyDtoD_v2, cuMemcpyDtoDAsync_v2,
    cuMemsetD2D8_v2, cuMemsetD2D8Async, cuMemsetD2D16_v2, cuMemsetD2D16Async, cuMemsetD2D32_v2,
    cuMemsetD2D32Async, cuMemsetD8_v2, cuMemsetD8Async, cuMemsetD16_v2, cuMemsetD16Async,
    cuMemsetD32_v2, cuMemsetD32Async, cuStreamQuery, cuStreamWaitEvent,
};
pub use self::cluster::*;
pub use self::context::*;
// Nor this one.
pub use self::context::cuCtxSetCacheConfig;
pub use self::copy::*;
pub use self::copy_batch::*;
pub use self::copy_box::*;
pub use self::device::*;
pub use self::event::*;
pub use self::function::*;
pub use self::host_function::*;
pub use self::ipc::*;
pub use self::launch::*;
pub use self::library::*;
pub use self::link::*;
pub use self::managed::*;
pub use self::mapped::*;
pub use self::memory::*;
pub use self::module::*;
pub use self::occupancy::*;
pub use self::old_launch::*;
pub use self::pointer::*;
pub use self::pool::*;
pub use self::shareable::*;
pub use self::stream::*;
// Nor these.
pub use self::stream_memory::{
    cuStreamBatchMemOp, cuStreamBatchMemOp_v2, cuStreamWaitValue32, cuStreamWaitValue32_v2,
    cuStreamWaitValue64, cuStreamWaitValue64_v2, cuStreamWriteValue32, cuStreamWriteValue32_v2,
    cuStreamWriteValue64, cuStreamWriteValue64_v2,
};
pub use self::system::*;
pub use self::tensor_map::*;
pub use self::texture::*;
pub use self::virtual_memory::*;
pub use crate::regular::*;
// What concerns the client only.
pub use gvirtus_driver_face::logs::*;
pub use gvirtus_graph::api::*;

pub(crate) use self::graph::initialize as initialize_graphs;
pub(crate) use self::host_function::{Callback, Function};
pub(crate) use self::link::Link;
pub(crate) use self::pool::Pool;
pub(crate) use self::stream::{StreamAttribute, graph_stream};

/// What the application gets.
type Status = Result<(), CUresult>;

const INVALID_VALUE: CUresult = CUresult::CUDA_ERROR_INVALID_VALUE;

/// Refuses a null pointer, before anything is done.
fn required<T>(place: *mut T) -> Result<*mut T, CUresult> {
    if place.is_null() {
        return Err(INVALID_VALUE);
    }
    Ok(place)
}

/// Writes an output that must not be null.
///
/// # Safety
///
/// `place` is null or valid for writing.
unsafe fn put<T>(place: *mut T, value: T) -> Status {
    let place = required(place)?;
    // SAFETY: not null, and then valid for writing by the caller's promise.
    unsafe { place.write(value) };
    Ok(())
}

/// Writes an output that may be null.
///
/// # Safety
///
/// `place` is null or valid for writing.
unsafe fn put_optional<T>(place: *mut T, value: T) {
    if !place.is_null() {
        // SAFETY: not null, and then valid for writing by the caller's promise.
        unsafe { place.write(value) };
    }
}

/// The text behind a C string that must not be null.
///
/// # Safety
///
/// `text` is null or a C string that lives for `'a`.
unsafe fn text<'a>(text: *const std::ffi::c_char) -> Result<&'a std::ffi::CStr, CUresult> {
    if text.is_null() {
        return Err(INVALID_VALUE);
    }
    // SAFETY: not null, and then a C string by the caller's promise.
    Ok(unsafe { std::ffi::CStr::from_ptr(text) })
}
