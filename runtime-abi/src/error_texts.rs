// SPDX-License-Identifier: Apache-2.0
//! Names and texts of the runtime's errors, as `cudaGetErrorName` and `cudaGetErrorString` give
//! them on the host and in kernels.

use core::ffi::CStr;

use gvirtus_abi::CUresult;
use gvirtus_driver_face::error_string as driver_text;

use crate::cudaError;

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

/// The text of an error.
pub fn error_string(error: cudaError) -> &'static CStr {
    match own_text(error) {
        Some(text) => text,
        None if error.name().is_some() => driver_text(CUresult(error.0)).unwrap_or(UNRECOGNIZED),
        None => UNRECOGNIZED,
    }
}

/// The name of an error.
pub fn error_name(error: cudaError) -> &'static CStr {
    error.c_name().unwrap_or(UNRECOGNIZED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_runtime_driver_and_neither() {
        let texts = |code| (error_name(cudaError(code)), error_string(cudaError(code)));
        assert_eq!(texts(0), (c"cudaSuccess", c"no error"));
        let own = (c"cudaErrorInvalidPitchValue", c"invalid pitch argument");
        assert_eq!(texts(12), own);
        assert_eq!(texts(2), (c"cudaErrorMemoryAllocation", c"out of memory"));
        assert_eq!(texts(999), (c"cudaErrorUnknown", c"unknown error"));
        assert_eq!(texts(4711), (UNRECOGNIZED, UNRECOGNIZED));
    }
}
