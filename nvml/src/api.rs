// SPDX-License-Identifier: Apache-2.0
//! What the exported functions call.

use std::collections::BTreeSet;
use std::ffi::c_char;
use std::panic::{AssertUnwindSafe, catch_unwind};

use gvirtus_driver_face::log;
use gvirtus_nvml_abi::Status;
use gvirtus_nvml_abi::table::functions;
use parking_lot::Mutex;

use crate::{marshal, process};

/// `nvmlInit`, `nvmlInit_v2`, and `nvmlInitWithFlags`.
pub fn initialize(flags: u32) -> Status {
    guard("nvmlInit", || process::initialize(flags))
}

/// `nvmlShutdown`.
pub fn shut_down() -> Status {
    guard("nvmlShutdown", process::shut_down)
}

/// `nvmlErrorString`.
pub const fn error_string(status: Status) -> *const c_char {
    status.text().as_ptr()
}

/// Asks the backend's NVML: `number` is the function's place in the table, each of `words` one of
/// its C arguments.
///
/// # Safety
///
/// As the C function: pointers among the words point to what the function's declaration says.
pub unsafe fn query(number: u16, words: &[usize]) -> Status {
    let function = &functions()[usize::from(number)];
    guard(function.symbol, || {
        let connection = process::connection()?;
        // SAFETY: the caller's promise.
        unsafe { marshal::call(&connection, number, function, words) }
    })
}

/// Answers for a function that would change a device, or that nobody has described.
#[cold]
pub fn unsupported(number: u16) -> Status {
    static NAMED: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let function = &functions()[usize::from(number)];
    guard(function.symbol, || {
        // A child may have been forked while another thread held it; then it names nothing.
        if let Some(mut named) = NAMED.try_lock()
            && named.insert(number)
        {
            log!(Warn, "{} is not supported", function.symbol);
        }
        process::connection()?;
        Err(Status::NOT_SUPPORTED)
    })
}

/// Runs a handler so that no unwinding crosses the C edge.
pub(crate) fn guard(symbol: &str, handler: impl FnOnce() -> Result<(), Status>) -> Status {
    let status = match catch_unwind(AssertUnwindSafe(handler)) {
        Ok(Ok(())) => Status::SUCCESS,
        Ok(Err(status)) => status,
        Err(_) => {
            log!(Error, "{symbol} failed inside (this is a bug)");
            Status::UNKNOWN
        }
    };
    match status {
        Status::SUCCESS => log!(Trace, "{symbol} = {status:?}"),
        _ => log!(Debug, "{symbol} = {status:?}"),
    }
    status
}
