// SPDX-License-Identifier: Apache-2.0
//! A `libnvidia-ml.so.1` of two made-up devices with all that the software device has not: sensors,
//! clocks, power, ECC, MIG and events. Tests compare what a program is told by it in its own
//! process and through a backend.
//!
//! Every figure is a constant. What is not here is not exported, as in an older library.

#![allow(
    non_snake_case,
    missing_docs,
    unreachable_pub,
    clippy::missing_safety_doc,
    reason = "exported C functions, whose contracts are those of nvml.h"
)]

mod device;
mod events;
mod mig;
mod sensors;
mod text;

use std::sync::atomic::{AtomicU32, Ordering};

type Status = u32;

const SUCCESS: Status = 0;
const UNINITIALIZED: Status = 1;
const INVALID_ARGUMENT: Status = 2;
const NOT_SUPPORTED: Status = 3;
const NOT_FOUND: Status = 6;
const INSUFFICIENT_SIZE: Status = 7;
const TIMEOUT: Status = 10;
const VERSION_MISMATCH: Status = 25;

const DEVICES: u32 = 2;

static USERS: AtomicU32 = AtomicU32::new(0);

/// The index of a device, if its handle is one.
fn index(device: usize) -> Result<u32, Status> {
    let found = (0..DEVICES).find(|index| handle(*index) == device);
    found.ok_or(INVALID_ARGUMENT)
}

/// An address of this library, so that a client that reads it is found out by other addresses.
fn handle(index: u32) -> usize {
    static PLACES: [u64; DEVICES as usize] = [0; DEVICES as usize];
    (&raw const PLACES[index as usize]).expose_provenance()
}

fn answer(function: impl FnOnce() -> Result<(), Status>) -> Status {
    if USERS.load(Ordering::Relaxed) == 0 {
        return UNINITIALIZED;
    }
    match function() {
        Ok(()) => SUCCESS,
        Err(status) => status,
    }
}

/// Writes what a caller asked for.
fn write<T>(place: *mut T, value: T) -> Result<(), Status> {
    if place.is_null() {
        return Err(INVALID_ARGUMENT);
    }
    // SAFETY: not null, so the caller has room for a value.
    unsafe { place.write_unaligned(value) };
    Ok(())
}

/// Writes a list behind its count.
fn list<T: Copy>(values: &[T], count: *mut u32, place: *mut T) -> Result<(), Status> {
    if count.is_null() {
        return Err(INVALID_ARGUMENT);
    }
    // SAFETY: not null, so the caller has a number there.
    let room = unsafe { count.replace(values.len() as u32) };
    if (room as usize) < values.len() {
        return Err(INSUFFICIENT_SIZE);
    }
    if values.is_empty() {
        return Ok(());
    }
    if place.is_null() {
        return Err(INVALID_ARGUMENT);
    }
    // SAFETY: there is room for as many as the caller said.
    unsafe { place.copy_from_nonoverlapping(values.as_ptr(), values.len()) };
    Ok(())
}

/// `exports! { fn name(arguments) expression }`: exported functions that answer a status; the
/// expression is a result.
macro_rules! exports {
    ($(fn $name:ident($($argument:ident: $type:ty),*) $body:block)+) => {
        $(
            #[unsafe(no_mangle)]
            pub unsafe extern "C" fn $name($($argument: $type),*) -> $crate::Status {
                $crate::answer(|| $body)
            }
        )+
    };
}
pub(crate) use exports;

#[unsafe(no_mangle)]
pub extern "C" fn nvmlInit_v2() -> Status {
    USERS.fetch_add(1, Ordering::Relaxed);
    SUCCESS
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlInitWithFlags(_flags: u32) -> Status {
    nvmlInit_v2()
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlShutdown() -> Status {
    let users = USERS.load(Ordering::Relaxed);
    USERS.store(users.saturating_sub(1), Ordering::Relaxed);
    if users == 0 { UNINITIALIZED } else { SUCCESS }
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlErrorString(result: gvirtus_nvml_abi::Status) -> *const std::ffi::c_char {
    result.text().as_ptr()
}
