// SPDX-License-Identifier: Apache-2.0
//! `nvmlReturn_t`.

use core::ffi::CStr;

/// What an NVML function answers. Any number is possible: a newer library has newer codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Status(pub u32);

macro_rules! statuses {
    ($($name:ident = $value:literal $text:literal)+) => {
        #[allow(missing_docs, reason = "the names of nvml.h say it")]
        impl Status {
            $(pub const $name: Self = Self($value);)+

            /// The text of `nvmlErrorString`.
            pub const fn text(self) -> &'static CStr {
                match self.0 {
                    $($value => $text,)+
                    _ => c"Unknown Error",
                }
            }
        }
    };
}

statuses! {
    SUCCESS = 0 c"Success"
    UNINITIALIZED = 1 c"Uninitialized"
    INVALID_ARGUMENT = 2 c"Invalid Argument"
    NOT_SUPPORTED = 3 c"Not Supported"
    NO_PERMISSION = 4 c"Insufficient Permissions"
    ALREADY_INITIALIZED = 5 c"Already Initialized"
    NOT_FOUND = 6 c"Not Found"
    INSUFFICIENT_SIZE = 7 c"Insufficient Size"
    INSUFFICIENT_POWER = 8 c"Insufficient External Power"
    DRIVER_NOT_LOADED = 9 c"Driver Not Loaded"
    TIMEOUT = 10 c"Timeout"
    IRQ_ISSUE = 11 c"Interrupt Request Issue"
    LIBRARY_NOT_FOUND = 12 c"NVML Shared Library Not Found"
    FUNCTION_NOT_FOUND = 13 c"Function Not Found"
    CORRUPTED_INFOROM = 14 c"Corrupted infoROM"
    GPU_IS_LOST = 15 c"GPU is lost"
    RESET_REQUIRED = 16 c"GPU requires reset"
    OPERATING_SYSTEM = 17 c"GPU access blocked by the operating system"
    LIB_RM_VERSION_MISMATCH = 18 c"Driver/library version mismatch"
    IN_USE = 19 c"In use by another client"
    MEMORY = 20 c"Insufficient Memory"
    NO_DATA = 21 c"No data"
    VGPU_ECC_NOT_SUPPORTED = 22 c"vGPU ECC not supported"
    INSUFFICIENT_RESOURCES = 23 c"Insufficient Resources"
    FREQ_NOT_SUPPORTED = 24 c"Invalid Frequency"
    ARGUMENT_VERSION_MISMATCH = 25 c"Argument version mismatch"
    DEPRECATED = 26 c"Requested functionality has been deprecated"
    NOT_READY = 27 c"System is not in ready state"
    GPU_NOT_FOUND = 28 c"GPU not found"
    INVALID_STATE = 29 c"Invalid state"
    RESET_TYPE_NOT_SUPPORTED = 30 c"Reset type not supported"
    UNKNOWN = 999 c"Unknown Error"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_codes_have_a_text_too() {
        assert_eq!(Status::NOT_SUPPORTED.text(), c"Not Supported");
        assert_eq!(Status(998).text(), c"Unknown Error");
    }
}
