// SPDX-License-Identifier: Apache-2.0
//! `libnvidia-ml.so.1` for machines without a GPU: the C symbols of NVML. Each passes its arguments
//! to `gvirtus_nvml::api`.

/// What the exported functions call.
mod handlers {
    pub(super) use gvirtus_nvml::api::{query, unsupported};
}

#[allow(
    missing_docs,
    non_snake_case,
    unreachable_pub,
    clippy::missing_safety_doc,
    reason = "made from the table, with the names of nvml.h"
)]
mod exports {
    use std::ffi::{c_char, c_void};

    use gvirtus_nvml::{api, export_table};
    use gvirtus_nvml_abi::Status;

    #[unsafe(no_mangle)]
    pub extern "C" fn nvmlInit() -> Status {
        api::initialize(0)
    }

    #[unsafe(no_mangle)]
    pub extern "C" fn nvmlInit_v2() -> Status {
        api::initialize(0)
    }

    #[unsafe(no_mangle)]
    pub extern "C" fn nvmlInitWithFlags(flags: u32) -> Status {
        api::initialize(flags)
    }

    #[unsafe(no_mangle)]
    pub extern "C" fn nvmlShutdown() -> Status {
        api::shut_down()
    }

    #[unsafe(no_mangle)]
    pub extern "C" fn nvmlErrorString(result: Status) -> *const c_char {
        api::error_string(result)
    }

    #[unsafe(no_mangle)]
    pub unsafe extern "C" fn nvmlInternalGetExportTable(
        table: *mut *const c_void,
        identifier: *const [u8; 16],
    ) -> Status {
        // SAFETY: the C caller's promise, passed on.
        unsafe { export_table::get(table, identifier) }
    }

    include!(concat!(env!("OUT_DIR"), "/exports.rs"));
}

/// Tells a backend that this is no NVML of a driver, whatever its name: it would call itself.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals, reason = "the name of the symbol")]
pub static gvirtus_management_client_library: u8 = 1;
