// SPDX-License-Identifier: Apache-2.0
//! NVML on the software device: what it has, it tells (identity, memory, utilisation of the
//! executor, processes); everything else is `NVML_ERROR_NOT_SUPPORTED`.
//!
//! The functions are exported beside the driver's, so that this one library is a `libcuda.so.1` and
//! a `libnvidia-ml.so.1`. Structures and contracts are those of `nvml.h`. NVML needs no `cuInit`
//! and starts nothing.

#![allow(
    non_snake_case,
    reason = "functions and their arguments are named as in nvml.h"
)]
#![allow(
    clippy::missing_safety_doc,
    missing_docs,
    unreachable_pub,
    reason = "exported C functions and their types, whose contracts are those of nvml.h"
)]

mod device;
mod events;
mod figures;
mod identity;
mod system;
mod text;
mod types;

use std::sync::atomic::{AtomicU32, Ordering};

pub(crate) use types::Status;

/// How often `nvmlInit` was called more than `nvmlShutdown`.
static USERS: AtomicU32 = AtomicU32::new(0);

fn initialize() -> Status {
    USERS.fetch_add(1, Ordering::Relaxed);
    Status::SUCCESS
}

fn shut_down() -> Status {
    let users = USERS.try_update(Ordering::Relaxed, Ordering::Relaxed, |users| {
        users.checked_sub(1)
    });
    match users {
        Ok(_) => Status::SUCCESS,
        Err(_) => Status::UNINITIALIZED,
    }
}

/// The answer of a function that needs NVML to be initialized.
fn answer(function: impl FnOnce() -> Result<(), Status>) -> Status {
    if USERS.load(Ordering::Relaxed) == 0 {
        return Status::UNINITIALIZED;
    }
    // A panic must not reach the application's frames.
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(function)) {
        Ok(Ok(())) => Status::SUCCESS,
        Ok(Err(status)) => status,
        Err(_) => Status::UNKNOWN,
    }
}

/// Writes a result through a pointer of the application's.
///
/// # Safety
/// `to` is null or valid for writes.
unsafe fn write<T>(to: *mut T, value: T) -> Result<(), Status> {
    if to.is_null() {
        return Err(Status::INVALID_ARGUMENT);
    }
    // SAFETY: the caller's promise.
    unsafe { to.write_unaligned(value) };
    Ok(())
}

/// Exported functions: each one's body is evaluated once NVML is initialized, and may return early
/// with a status.
macro_rules! exports {
    ($(
        $(#[$attribute:meta])*
        fn $name:ident($($argument:ident: $type:ty),* $(,)?) $body:block
    )*) => {
        $(
            $(#[$attribute])*
            #[unsafe(no_mangle)]
            pub unsafe extern "C" fn $name($($argument: $type),*) -> $crate::nvml::Status {
                $crate::nvml::answer(|| $body)
            }
        )*
    };
}
use exports;

/// Everything else, made from the table of NVML.
mod remaining {
    include!(concat!(env!("OUT_DIR"), "/remaining_nvml.rs"));
}

#[cfg(test)]
mod tests;
