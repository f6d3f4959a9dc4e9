// SPDX-License-Identifier: Apache-2.0
//! A `libcuda.so.1` as a table of functions.
//!
//! The table is made from the call table: one entry and one method for every driver function that
//! travels. A function that the library does not have answers `CUDA_ERROR_NOT_SUPPORTED`. Nothing
//! is linked: a library is opened by its absolute path ([`Driver::load`]), so that the client
//! library, which also calls itself `libcuda.so.1`, can never come in by the search path.

mod choice;
pub(crate) mod linker_cache;
mod load;
mod noop;

#[cfg(test)]
pub(crate) use noop::entries as noop_entries;

pub use choice::{Candidate, DriverChoice};
pub use load::{DriverError, MINIMUM_VERSION};

use core::ffi::{CStr, c_char, c_void};
use std::mem::transmute;
use std::ptr::NonNull;

use gvirtus_abi::*;

/// The name that is exported by the client library and by nobody else.
pub const CLIENT_LIBRARY_MARKER: &CStr = c"gvirtus_client_library";

/// The functions of one libcuda.
pub struct Driver {
    entries: Entries,
    /// See [`Driver::host_memory`].
    host_memory: Option<HostMemory>,
}

/// Exported as `gvirtus_host_memory`: device address and bytes to an address in this process.
type HostMemory = unsafe extern "C" fn(u64, u64) -> *mut c_void;

/// What the loader looks for.
pub(crate) struct Function {
    symbol: &'static CStr,
    base: &'static CStr,
    since: i32,
}

impl Driver {
    /// A driver of these functions.
    pub const fn new(entries: Entries) -> Self {
        Self {
            entries,
            host_memory: None,
        }
    }

    /// Where device memory is in this process, if it is: a device in software can save a payload
    /// the way through staging memory. Nothing for any other device, and for what is not within one
    /// allocation. It may be used only while no stream is busy.
    pub(crate) fn host_memory(&self, address: u64, bytes: u64) -> Option<NonNull<u8>> {
        // SAFETY: no preconditions; it answers null for what is not allocated.
        let memory = unsafe { self.host_memory?(address, bytes) };
        NonNull::new(memory.cast())
    }

    /// A driver that succeeds and computes nothing: what is left is the cost of getting there.
    pub fn noop() -> Self {
        Self::new(noop::entries())
    }
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").finish_non_exhaustive()
    }
}

#[cold]
fn absent(symbol: &'static str) -> CUresult {
    tracing::warn!(function = symbol, "the driver does not have this function");
    CUresult::CUDA_ERROR_NOT_SUPPORTED
}

/// `Err` for everything but success.
pub(crate) const fn check(status: CUresult) -> Result<(), CUresult> {
    match status {
        CUresult::CUDA_SUCCESS => Ok(()),
        error => Err(error),
    }
}

mod table {
    #![allow(
        missing_docs,
        non_snake_case,
        clippy::too_many_arguments,
        clippy::type_complexity,
        reason = "names and arguments are those of cuda.h"
    )]

    use super::*;

    include!(concat!(env!("OUT_DIR"), "/driver_table.rs"));
}

pub use table::Entries;
