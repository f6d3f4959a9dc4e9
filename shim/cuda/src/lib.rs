// SPDX-License-Identifier: Apache-2.0
//! `libcuda.so.1` for machines without a GPU: the C symbols of the CUDA driver API. Each passes its
//! arguments to `gvirtus_frontend::api`; those that are not supported say so.

/// What the exported functions call.
mod handlers {
    #![allow(non_snake_case, reason = "named like the functions of cuda.h")]

    use std::ffi::{c_char, c_void};

    use gvirtus_abi::{CUdriverProcAddressQueryResult, CUresult};
    use gvirtus_driver_face::proc_address::{write_proc_address_v1, write_proc_address_v2};
    pub(super) use gvirtus_frontend::api::*;

    use super::exports::PROC_TABLE;

    /// # Safety
    ///
    /// As the C function.
    pub(super) unsafe fn cuGetProcAddress(
        symbol: *const c_char,
        pfn: *mut *mut c_void,
        cudaVersion: i32,
        flags: u64,
    ) -> CUresult {
        // SAFETY: the caller's promise.
        unsafe { write_proc_address_v1(&PROC_TABLE, symbol, pfn, cudaVersion, flags) }
    }

    /// # Safety
    ///
    /// As the C function.
    pub(super) unsafe fn cuGetProcAddress_v2(
        symbol: *const c_char,
        pfn: *mut *mut c_void,
        cudaVersion: i32,
        flags: u64,
        symbolStatus: *mut CUdriverProcAddressQueryResult,
    ) -> CUresult {
        // SAFETY: the caller's promise.
        unsafe { write_proc_address_v2(&PROC_TABLE, symbol, pfn, cudaVersion, flags, symbolStatus) }
    }
}

#[allow(
    missing_docs,
    non_snake_case,
    unreachable_pub,
    clippy::missing_safety_doc,
    clippy::too_many_arguments,
    reason = "made from the call table, with the names of cuda.h"
)]
mod exports {
    include!(concat!(env!("OUT_DIR"), "/exports.rs"));
}

pub use exports::PROC_TABLE;

/// Tells a backend that this is no driver, whatever its name: it would call itself.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals, reason = "the name of the symbol")]
pub static gvirtus_client_library: u8 = 1;

/// Runs when the process ends, after the destructors of those who use the library.
#[used]
#[unsafe(link_section = ".fini_array")]
static AT_END: extern "C" fn() = {
    extern "C" fn at_end() {
        // Nothing may unwind into the C library, whatever state the process is in.
        let _ = std::panic::catch_unwind(gvirtus_frontend::write_statistics);
    }
    at_end
};
