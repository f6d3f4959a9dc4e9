// SPDX-License-Identifier: Apache-2.0
//! `libgvirtus.so`, for `LD_PRELOAD`: the CUDA driver API, the CUDA runtime of all releases and
//! NVML in one library. The runtime calls the driver's functions beside it, so no `libcuda.so.1` is
//! looked for.
//!
//! A program linked with a shared cudart then runs on the client whatever libraries it finds. One
//! that opens `libcuda.so.1` by itself, as a static cudart does, does not see a preloaded library:
//! such programs need `gvirtus run`, or the library path.

use core::ffi::{CStr, c_void};
use std::collections::HashMap;
use std::sync::OnceLock;

// For their exported symbols.
use gvirtus_cudart_shim as _;
use gvirtus_nvml_shim as _;

use gvirtus_cuda::PROC_TABLE;

/// The client's function of that name.
fn look_up(symbol: &CStr) -> *const c_void {
    static FUNCTIONS: OnceLock<HashMap<&str, usize>> = OnceLock::new();
    let functions = FUNCTIONS.get_or_init(|| {
        PROC_TABLE
            .iter()
            .map(|entry| (entry.symbol, entry.address as usize))
            .collect()
    });
    let found = symbol.to_str().ok().and_then(|name| functions.get(name));
    found.map_or(std::ptr::null(), |address| *address as *const c_void)
}

/// Runs when the library is loaded.
#[used]
#[unsafe(link_section = ".init_array")]
static AT_START: extern "C" fn() = {
    extern "C" fn at_start() {
        gvirtus_cudart::set_driver(look_up);
    }
    at_start
};
