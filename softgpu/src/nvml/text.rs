// SPDX-License-Identifier: Apache-2.0
//! Texts from and to the application.

use core::ffi::{CStr, c_char};

use super::types::Status;

/// Writes a text with its end into room for `length` bytes.
///
/// # Errors
///
/// `INSUFFICIENT_SIZE` if it does not fit, `INVALID_ARGUMENT` without room.
///
/// # Safety
/// `to` is null or has room for `length` bytes.
pub(super) unsafe fn write_text(to: *mut c_char, length: u32, text: &str) -> Result<(), Status> {
    if to.is_null() {
        return Err(Status::INVALID_ARGUMENT);
    }
    if text.len() >= length as usize {
        return Err(Status::INSUFFICIENT_SIZE);
    }
    // SAFETY: the caller's promise, and the text and its end fit.
    unsafe {
        std::ptr::copy_nonoverlapping(text.as_ptr().cast(), to, text.len());
        to.add(text.len()).write(0);
    }
    Ok(())
}

/// A text of the application's.
///
/// # Errors
///
/// `INVALID_ARGUMENT` if there is none.
///
/// # Safety
/// `from` is null or a text with its end.
pub(super) unsafe fn read_text<'a>(from: *const c_char) -> Result<&'a str, Status> {
    if from.is_null() {
        return Err(Status::INVALID_ARGUMENT);
    }
    // SAFETY: the caller's promise.
    let text = unsafe { CStr::from_ptr(from) };
    text.to_str().map_err(|_| Status::INVALID_ARGUMENT)
}

/// A text in a field of a structure; it fits by construction.
pub(super) fn field<const LENGTH: usize>(text: &str) -> [c_char; LENGTH] {
    let mut field = [0; LENGTH];
    for (to, from) in field[..LENGTH - 1].iter_mut().zip(text.bytes()) {
        *to = c_char::from_ne_bytes([from]);
    }
    field
}
