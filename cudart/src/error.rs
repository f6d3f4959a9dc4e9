// SPDX-License-Identifier: Apache-2.0
//! Errors of the runtime: their texts, and those of the driver as the runtime reports them.

use core::ffi::CStr;

use gvirtus_abi::CUresult;
use gvirtus_driver_face::error_string;
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

macro_rules! own_texts {
    ($($name:ident: $text:literal,)*) => {
        /// The texts of codes that only the runtime has, as NVIDIA's CUDA 13.5 gives them.
        fn own_text(error: cudaError) -> Option<&'static CStr> {
            Some(match error {
                $(cudaError::$name => {
                    const TEXT: &str = concat!($text, "\0");
                    match CStr::from_bytes_with_nul(TEXT.as_bytes()) {
                        Ok(text) => text,
                        Err(_) => return None,
                    }
                })*
                _ => return None,
            })
        }
    };
}

own_texts! {
    cudaErrorInvalidConfiguration: "invalid configuration argument",
    cudaErrorVersionTranslation: "Driver is newer than runtime and returned parameters the runtime cannot process",
    cudaErrorInvalidPitchValue: "invalid pitch argument",
    cudaErrorInvalidSymbol: "invalid device symbol",
    cudaErrorInvalidHostPointer: "invalid host pointer",
    cudaErrorInvalidDevicePointer: "invalid device pointer",
    cudaErrorInvalidTexture: "invalid texture reference",
    cudaErrorInvalidTextureBinding: "texture is not bound to a pointer",
    cudaErrorInvalidChannelDescriptor: "invalid channel descriptor",
    cudaErrorInvalidMemcpyDirection: "invalid copy direction for memcpy",
    cudaErrorAddressOfConstant: "invalid address of constant",
    cudaErrorTextureFetchFailed: "fetch from texture failed",
    cudaErrorTextureNotBound: "cannot fetch from a texture that is not bound",
    cudaErrorSynchronizationError: "incorrect use of __syncthreads()",
    cudaErrorInvalidFilterSetting: "linear filtering not supported for non-float type",
    cudaErrorInvalidNormSetting: "read as normalized float not supported for data type",
    cudaErrorMixedDeviceExecution: "device emulation mode and device execution mode cannot be mixed",
    cudaErrorNotYetImplemented: "feature not yet implemented",
    cudaErrorMemoryValueTooLarge: "memory size or pointer value too large to fit in 32 bit",
    cudaErrorInsufficientDriver: "CUDA driver version is insufficient for CUDA runtime version",
    cudaErrorInvalidSurface: "invalid surface reference",
    cudaErrorDuplicateVariableName: "duplicate global variable looked up by string name",
    cudaErrorDuplicateTextureName: "duplicate texture looked up by string name",
    cudaErrorDuplicateSurfaceName: "duplicate surface looked up by string name",
    cudaErrorIncompatibleDriverContext: "incompatible driver context",
    cudaErrorMissingConfiguration: "__global__ function call is not configured",
    cudaErrorPriorLaunchFailure: "unspecified launch failure in prior launch",
    cudaErrorLaunchMaxDepthExceeded: "launch would exceed maximum depth of nested launches",
    cudaErrorLaunchFileScopedTex: "launch failed because kernel uses unsupported, file-scoped textures (texture objects are supported)",
    cudaErrorLaunchFileScopedSurf: "launch failed because kernel uses unsupported, file-scoped surfaces (surface objects are supported)",
    cudaErrorSyncDepthExceeded: "cudaDeviceSynchronize failed because caller's grid depth exceeds cudaLimitDevRuntimeSyncDepth",
    cudaErrorLaunchPendingCountExceeded: "launch failed because launch would exceed cudaLimitDevRuntimePendingLaunchCount",
    cudaErrorInvalidDeviceFunction: "invalid device function",
    cudaErrorSoftwareValidityNotEstablished: "integrity checks failed",
    cudaErrorStartupFailure: "startup failure in cuda runtime",
    cudaErrorApiFailureBase: "api failure base",
}

/// What NVIDIA's runtime says of a code that it does not know.
const UNRECOGNIZED: &CStr = c"unrecognized error code";

/// The text of `cudaGetErrorString`.
pub(crate) fn text(error: cudaError) -> &'static CStr {
    match own_text(error) {
        Some(text) => text,
        None if error.name().is_some() => error_string(CUresult(error.0)).unwrap_or(UNRECOGNIZED),
        None => UNRECOGNIZED,
    }
}

/// The text of `cudaGetErrorName`.
pub(crate) fn name(error: cudaError) -> &'static CStr {
    error.c_name().unwrap_or(UNRECOGNIZED)
}
