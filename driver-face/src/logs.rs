// SPDX-License-Identifier: Apache-2.0
//! Error logs (`cuda.h`: "Error Log Management Functions") of a driver that writes none.
//!
//! Callbacks are registered and never called, and what is dumped is empty. That is all that
//! `cuda.h` promises of a driver without messages; what a backend's driver has to say is in the
//! backend's own log.

#![allow(
    non_snake_case,
    reason = "functions and arguments are named like those of cuda.h"
)]
#![allow(
    clippy::missing_safety_doc,
    clippy::missing_errors_doc,
    reason = "the contract of every function here is that of the C function with its name"
)]

use core::ffi::{CStr, c_char, c_void};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;

use gvirtus_abi::{CUlogIterator, CUlogsCallback, CUlogsCallbackHandle, CUresult};

use crate::fork::Renewable;

type Status = Result<(), CUresult>;

/// Where the logs begin and end.
const EMPTY: CUlogIterator = 0;

#[derive(Default)]
struct Callbacks {
    last: u64,
    registered: BTreeSet<u64>,
}

static CALLBACKS: Renewable<Callbacks> = Renewable::new();

/// For the child of a fork.
pub(crate) fn renew() {
    CALLBACKS.renew();
}

fn require(is_valid: bool) -> Status {
    match is_valid {
        true => Ok(()),
        false => Err(CUresult::CUDA_ERROR_INVALID_VALUE),
    }
}

/// `cuLogsRegisterCallback`.
pub unsafe fn cuLogsRegisterCallback(
    callbackFunc: CUlogsCallback,
    _userData: *mut c_void,
    callback_out: *mut CUlogsCallbackHandle,
) -> Status {
    require(callbackFunc.is_some())?;
    let mut callbacks = CALLBACKS.get().lock();
    callbacks.last += 1;
    let handle = callbacks.last;
    callbacks.registered.insert(handle);
    if !callback_out.is_null() {
        // SAFETY: the caller's promise.
        unsafe { callback_out.write_unaligned(CUlogsCallbackHandle(handle)) };
    }
    Ok(())
}

/// `cuLogsUnregisterCallback`.
pub unsafe fn cuLogsUnregisterCallback(callback: CUlogsCallbackHandle) -> Status {
    require(CALLBACKS.get().lock().registered.remove(&callback.0))
}

/// `cuLogsCurrent`.
pub unsafe fn cuLogsCurrent(iterator_out: *mut CUlogIterator, flags: u32) -> Status {
    require(!iterator_out.is_null() && flags == 0)?;
    // SAFETY: the caller's promise.
    unsafe { iterator_out.write_unaligned(EMPTY) };
    Ok(())
}

/// `cuLogsDumpToFile`: leaves an empty file.
pub unsafe fn cuLogsDumpToFile(
    iterator: *mut CUlogIterator,
    pathToFile: *const c_char,
    flags: u32,
) -> Status {
    require(!pathToFile.is_null() && flags == 0)?;
    // SAFETY: the caller's promise: a C string.
    let path = unsafe { CStr::from_ptr(pathToFile) };
    require(File::create(OsStr::from_bytes(path.to_bytes())).is_ok())?;
    // SAFETY: the caller's promise.
    unsafe { advance(iterator) };
    Ok(())
}

/// `cuLogsDumpToMemory`.
pub unsafe fn cuLogsDumpToMemory(
    iterator: *mut CUlogIterator,
    buffer: *mut c_char,
    size: *mut usize,
    flags: u32,
) -> Status {
    require(!buffer.is_null() && !size.is_null() && flags == 0)?;
    // SAFETY: the caller's promise: there is room for `size` bytes, of which the last one ends the
    // text.
    unsafe {
        if size.read_unaligned() > 0 {
            buffer.write(0);
        }
        size.write_unaligned(0);
        advance(iterator);
    }
    Ok(())
}

/// # Safety
///
/// `iterator` is null or can be written.
unsafe fn advance(iterator: *mut CUlogIterator) {
    if !iterator.is_null() {
        // SAFETY: the caller's promise.
        unsafe { iterator.write_unaligned(EMPTY) };
    }
}

#[cfg(test)]
#[allow(
    clippy::undocumented_unsafe_blocks,
    reason = "one contract: pointers are to locals, or null"
)]
mod tests {
    use super::*;

    const INVALID: Status = Err(CUresult::CUDA_ERROR_INVALID_VALUE);

    #[test]
    fn a_callback_can_be_removed_once() {
        let none = std::ptr::null_mut();
        unsafe extern "C" fn nothing() {}
        let unnamed = unsafe { cuLogsRegisterCallback(None, none, none.cast()) };
        assert_eq!(unnamed, INVALID);
        let mut handle = CUlogsCallbackHandle(0);
        let status = unsafe { cuLogsRegisterCallback(Some(nothing), none, &raw mut handle) };
        assert_eq!(status, Ok(()));
        assert_ne!(handle.0, 0);
        let remove = |handle| unsafe { cuLogsUnregisterCallback(handle) };
        assert_eq!([remove(handle), remove(handle)], [Ok(()), INVALID]);
    }

    #[test]
    fn there_is_nothing_to_dump() {
        let mut iterator = 7;
        assert_eq!(unsafe { cuLogsCurrent(&raw mut iterator, 0) }, Ok(()));
        assert_eq!(unsafe { cuLogsCurrent(&raw mut iterator, 1) }, INVALID);
        let (mut text, mut size) = ([b'x' as c_char; 8], 8);
        let (text_at, size_at) = (text.as_mut_ptr(), &raw mut size);
        let status = unsafe { cuLogsDumpToMemory(&raw mut iterator, text_at, size_at, 0) };
        assert_eq!(
            (status, size, text[0], text[1]),
            (Ok(()), 0, 0, b'x' as c_char)
        );
        let folder = std::env::temp_dir();
        let path = folder.join(format!("gvirtus-logs-{}", std::process::id()));
        std::fs::write(&path, "old").expect("written");
        let name = std::ffi::CString::new(path.as_os_str().as_bytes()).expect("no zero");
        let status = unsafe { cuLogsDumpToFile(std::ptr::null_mut(), name.as_ptr(), 0) };
        assert_eq!(
            (status, std::fs::read(&path).expect("there").len()),
            (Ok(()), 0)
        );
        std::fs::remove_file(&path).expect("removed");
        let nowhere = c"/nowhere/at/all";
        let status = unsafe { cuLogsDumpToFile(std::ptr::null_mut(), nowhere.as_ptr(), 0) };
        assert_eq!(status, INVALID);
    }
}
