// SPDX-License-Identifier: Apache-2.0
//! The edge to C: checked writing and reading of what the caller points to.

use core::ffi::{CStr, c_char};

use gvirtus_abi::CUresult;

/// `out!(pointer = value)`: writes an output of a driver function, or returns
/// `CUDA_ERROR_INVALID_VALUE` if the pointer is null.
///
/// Only for handlers, which are unsafe functions with the contract of `cuda.h`: an output pointer
/// is null or valid for writing.
macro_rules! out {
    ($place:ident = $value:expr) => {{
        let value = $value;
        // SAFETY: the handler's contract, see above.
        unsafe { $crate::driver::arguments::write($place, value)? }
    }};
}

/// As `out!`, for outputs that may be left out.
macro_rules! optional_out {
    ($place:ident = $value:expr) => {{
        let value = $value;
        if !$place.is_null() {
            // SAFETY: the handler's contract, see `out!`.
            unsafe { $crate::driver::arguments::write($place, value)? }
        }
    }};
}

pub(super) use {optional_out, out};

/// Writes `value`.
///
/// # Errors
///
/// `CUDA_ERROR_INVALID_VALUE` if `place` is null.
///
/// # Safety
///
/// `place` is null or valid for writing; it need not be aligned.
pub(super) unsafe fn write<T>(place: *mut T, value: T) -> Result<(), CUresult> {
    if place.is_null() {
        return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
    }
    // SAFETY: not null, and then valid for writing by the caller's promise.
    unsafe { place.write_unaligned(value) };
    Ok(())
}

/// Copies `text` and a final zero to a buffer of `length` bytes, cut short if need be.
///
/// # Errors
///
/// `CUDA_ERROR_INVALID_VALUE` if there is no buffer.
///
/// # Safety
///
/// `buffer` is null or valid for writing `length` bytes.
pub(super) unsafe fn write_text(
    buffer: *mut c_char,
    length: i32,
    text: &str,
) -> Result<(), CUresult> {
    let length = usize::try_from(length).unwrap_or(0);
    if buffer.is_null() || length == 0 {
        return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
    }
    let bytes = &text.as_bytes()[..text.len().min(length - 1)];
    // SAFETY: the caller's promise, and `bytes` with its zero is no longer than `length`.
    unsafe {
        buffer
            .cast::<u8>()
            .copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        buffer.add(bytes.len()).write(0);
    }
    Ok(())
}

/// The text of a C string; bytes that are no UTF-8 make it a text that matches no name.
///
/// # Errors
///
/// `CUDA_ERROR_INVALID_VALUE` if it is null.
///
/// # Safety
///
/// `text` is null or a C string, which outlives the use of the result.
pub(super) unsafe fn read_text<'a>(text: *const c_char) -> Result<&'a str, CUresult> {
    if text.is_null() {
        return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
    }
    // SAFETY: not null, and then a C string by the caller's promise.
    let text = unsafe { CStr::from_ptr(text) };
    Ok(text.to_str().unwrap_or("\u{fffd}"))
}

/// The elements of an array of `count` values; none if there is no array.
///
/// # Safety
///
/// `array` is null or valid for reading `count` values for the lifetime of the result.
pub(super) unsafe fn read_array<'a, T>(array: *const T, count: usize) -> &'a [T] {
    if array.is_null() || count == 0 {
        return &[];
    }
    // SAFETY: not null, and then valid by the caller's promise.
    unsafe { core::slice::from_raw_parts(array, count) }
}
