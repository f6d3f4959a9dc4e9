// SPDX-License-Identifier: Apache-2.0
//! The functions of the runtime, one file a concept. Each is a *handler*, named like the function
//! or as the table's `= handler` says, with the contract that `cuda_runtime_api.h` gives it; the
//! exported symbols are made from the table (`gvirtus_runtime_abi::codegen`).

#![allow(
    non_snake_case,
    reason = "handlers and their arguments are named as in cuda_runtime_api.h"
)]
#![allow(
    clippy::too_many_arguments,
    reason = "handlers have the arguments that cuda_runtime_api.h gives them"
)]
#![allow(
    missing_docs,
    clippy::missing_safety_doc,
    reason = "the contract of each handler is that of cuda_runtime_api.h"
)]

mod array;
mod copy;
mod copy_box;
mod device;
mod entry_point;
mod error;
mod event;
mod function;
mod graph;
mod graph_copy;
mod launch;
mod library;
mod memory;
mod memset;
mod pointer;
mod pool;
mod properties;
mod registration;
mod stream;
mod symbol;
mod texture;
mod texture_reference;

pub use array::*;
pub use copy::*;
pub use copy_box::*;
pub use device::*;
pub use entry_point::*;
pub use error::*;
pub use event::*;
pub use function::*;
pub use graph::*;
pub use graph_copy::*;
pub use launch::*;
pub use library::*;
pub use memory::*;
pub use memset::*;
pub use pointer::*;
pub use pool::*;
pub use properties::*;
pub use registration::*;
pub use stream::*;
pub use symbol::*;
pub use texture::*;
pub use texture_reference::*;

/// The functions that the table answers with a driver function.
#[allow(clippy::useless_transmute, reason = "made from the table")]
mod forwards {
    use core::ffi::{c_char, c_void};

    use gvirtus_abi::*;
    use gvirtus_runtime_abi::*;

    use super::stream_of;
    use crate::context::with_context;
    use crate::error::Result;

    include!(concat!(env!("OUT_DIR"), "/forwards.rs"));
}

pub use forwards::*;

use std::panic::{AssertUnwindSafe, catch_unwind};

use gvirtus_abi::{CU_STREAM_PER_THREAD, CUstream};
use gvirtus_driver_face::log;
use gvirtus_runtime_abi::cudaError;

use crate::error::Result;
use crate::thread::set_last_error;

/// What a handler may return.
pub trait Outcome {
    /// The code for the caller, kept as the thread's last error where it is one.
    fn finish(self) -> cudaError;
}

impl Outcome for Result<()> {
    #[inline]
    fn finish(self) -> cudaError {
        match self {
            Ok(()) => cudaError::cudaSuccess,
            Err(error) => {
                set_last_error(error);
                error
            }
        }
    }
}

/// An error code as an answer, which is no failure of the function that tells it.
pub struct Told(pub cudaError);

impl Outcome for Told {
    #[inline]
    fn finish(self) -> cudaError {
        self.0
    }
}

/// Runs a handler so that no unwinding crosses the C edge. With `GVIRTUS_LOG=debug` failing calls
/// are named, with `trace` all.
#[inline]
pub fn guard<T: Outcome>(symbol: &'static str, handler: impl FnOnce() -> T) -> cudaError {
    match catch_unwind(AssertUnwindSafe(|| handler().finish())) {
        Ok(error) => {
            if log::enabled(log::Level::Debug) {
                log_outcome(symbol, error);
            }
            error
        }
        Err(_) => {
            log::write_always(format_args!("{symbol} failed inside (this is a bug)"));
            cudaError::cudaErrorUnknown
        }
    }
}

#[cold]
fn log_outcome(symbol: &str, error: cudaError) {
    let level = match error {
        cudaError::cudaSuccess | cudaError::cudaErrorNotReady => log::Level::Trace,
        _ => log::Level::Debug,
    };
    log::write(level, format_args!("{symbol} = {error:?}"));
}

/// Answers for a function that is not implemented, and names it once.
#[cold]
pub fn unsupported(symbol: &'static str) -> cudaError {
    gvirtus_driver_face::unsupported(symbol);
    set_last_error(cudaError::cudaErrorNotSupported);
    cudaError::cudaErrorNotSupported
}

/// The stream that a stream argument means to the driver.
#[inline]
fn stream_of(default_stream: CUstream, stream: CUstream) -> CUstream {
    if stream.is_null() && default_stream == CU_STREAM_PER_THREAD {
        default_stream
    } else {
        stream
    }
}

/// Writes an answer behind a pointer of the caller.
///
/// # Safety
///
/// The pointer is null or good for writing a `T`.
///
/// # Errors
///
/// `cudaErrorInvalidValue` if it is null.
#[inline]
unsafe fn write<T>(to: *mut T, value: T) -> Result<()> {
    if to.is_null() {
        return Err(cudaError::cudaErrorInvalidValue);
    }
    // SAFETY: the caller's promise.
    unsafe { to.write(value) };
    Ok(())
}

/// # Errors
///
/// `cudaErrorInvalidValue` if the pointer is null.
#[inline]
fn not_null<T>(pointer: *const T) -> Result<()> {
    if pointer.is_null() {
        return Err(cudaError::cudaErrorInvalidValue);
    }
    Ok(())
}
