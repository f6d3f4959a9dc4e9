// SPDX-License-Identifier: Apache-2.0
//! File descriptors as handles (`CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR`).

use core::ffi::c_void;
use std::os::fd::{BorrowedFd, IntoRawFd as _};

use gvirtus_abi::CUresult;

use crate::memory::{Purpose, SharedFile};

/// A new descriptor of a file, which is the application's.
///
/// # Errors
///
/// `CUDA_ERROR_OUT_OF_MEMORY` if the process has too many.
pub(super) fn descriptor(file: &SharedFile) -> Result<i32, CUresult> {
    let copy = rustix::io::fcntl_dupfd_cloexec(file.file(), 0);
    let copy = copy.map_err(|_| CUresult::CUDA_ERROR_OUT_OF_MEMORY)?;
    Ok(copy.into_raw_fd())
}

/// The file behind an application's descriptor.
///
/// # Errors
///
/// `CUDA_ERROR_INVALID_VALUE` for what is no such file.
pub(super) fn file(handle: *mut c_void, purpose: Purpose) -> Result<SharedFile, CUresult> {
    let invalid = CUresult::CUDA_ERROR_INVALID_VALUE;
    let number = i32::try_from(handle.addr()).map_err(|_| invalid)?;
    // SAFETY: not -1; a descriptor of nothing is refused by the system.
    let given = unsafe { BorrowedFd::borrow_raw(number) };
    let copy = rustix::io::fcntl_dupfd_cloexec(given, 0).map_err(|_| invalid)?;
    SharedFile::adopt(copy, purpose).map_err(|_| invalid)
}
