// SPDX-License-Identifier: Apache-2.0
//! The CUDA driver below the runtime: a table of functions, found once.

use core::ffi::{CStr, c_void};
use std::mem::transmute;
use std::sync::OnceLock;

use gvirtus_abi::*;
use gvirtus_driver_face::{log, unsupported};
use gvirtus_runtime_abi::cudaError;
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

/// The driver as the dynamic linker finds it for any CUDA program.
const LIBRARY: &str = "libcuda.so.1";

/// Finds a driver function by its C symbol; null if there is none.
pub type DriverLookup = fn(&CStr) -> *const c_void;

static LOOKUP: OnceLock<DriverLookup> = OnceLock::new();

/// Takes the driver's functions from `lookup` instead of `libcuda.so.1`: for a library that holds
/// both. It has no effect once a driver is in use.
pub fn set_driver(lookup: DriverLookup) {
    let _ = LOOKUP.set(lookup);
}

/// The functions of the driver.
pub(crate) struct Driver {
    entries: Entries,
}

/// What is looked for.
struct Function {
    symbol: &'static CStr,
    #[allow(dead_code, reason = "the loader goes by symbols only")]
    base: &'static CStr,
    #[allow(dead_code, reason = "the loader goes by symbols only")]
    since: i32,
}

fn absent(symbol: &'static str) -> CUresult {
    unsupported(symbol)
}

/// The driver.
///
/// # Errors
///
/// `cudaErrorInsufficientDriver` if there is none, as NVIDIA's runtime has it.
#[inline]
pub(crate) fn driver() -> Result<&'static Driver, cudaError> {
    static DRIVER: OnceLock<Option<Driver>> = OnceLock::new();
    match DRIVER.get_or_init(load) {
        Some(driver) => Ok(driver),
        None => Err(cudaError::cudaErrorInsufficientDriver),
    }
}

#[cold]
fn load() -> Option<Driver> {
    if let Some(lookup) = LOOKUP.get() {
        // SAFETY: the library that set it answers with its own functions, of the table's types.
        let entries = unsafe { Entries::resolve(|function| lookup(function.symbol)) };
        return Some(Driver { entries });
    }
    // SAFETY: the driver that the system has chosen for its programs.
    let library = match unsafe { Library::open(Some(LIBRARY), RTLD_NOW | RTLD_LOCAL) } {
        Ok(library) => library,
        Err(error) => {
            log::write_always(format_args!(
                "there is no CUDA driver: {error}; put the folder with {LIBRARY} into LD_LIBRARY_PATH"
            ));
            return None;
        }
    };
    // SAFETY: the library is a libcuda, whose functions have the types that cuda.h declares.
    let entries = unsafe {
        Entries::resolve(|function| {
            library
                .get::<*const c_void>(function.symbol.to_bytes_with_nul())
                .map_or(std::ptr::null(), |symbol| symbol.into_raw().cast_const())
        })
    };
    // It is used until the process ends.
    std::mem::forget(library);
    Some(Driver { entries })
}

#[allow(
    non_snake_case,
    dead_code,
    unreachable_pub,
    clippy::too_many_arguments,
    clippy::type_complexity,
    reason = "made from the call table, with the names of cuda.h"
)]
mod entries {
    use core::ffi::c_char;

    use super::*;

    include!(concat!(env!("OUT_DIR"), "/driver_table.rs"));
}

use entries::Entries;
