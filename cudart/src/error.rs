// SPDX-License-Identifier: Apache-2.0
//! Errors of the driver as the runtime reports them.

use gvirtus_abi::CUresult;
use gvirtus_runtime_abi::cudaError;

/// What a handler returns: nothing, or what went wrong.
pub(crate) type Result<T> = std::result::Result<T, cudaError>;

/// The runtime's name for the outcome of a driver function.
///
/// Almost all codes are the same number in both; those that the runtime does not have, or calls
/// differently, are here.
#[inline]
pub(crate) fn check(status: CUresult) -> Result<()> {
    match status {
        CUresult::CUDA_SUCCESS => Ok(()),
        other => Err(from_driver(other)),
    }
}

#[cold]
fn from_driver(status: CUresult) -> cudaError {
    match status {
        CUresult::CUDA_ERROR_CONTEXT_ALREADY_CURRENT => cudaError::cudaErrorUnknown,
        other => cudaError(other.0),
    }
}
