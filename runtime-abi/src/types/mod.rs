// SPDX-License-Identifier: Apache-2.0
//! The C types of the CUDA runtime API (`cuda_runtime_api.h` 13.5), bit for bit.
//!
//! Handles are the driver's ([`gvirtus_abi::CUstream`] for `cudaStream_t` and so on), as NVIDIA
//! documents them to be. A structure whose layout changed has its older form with the suffix of the
//! last CUDA version that used it (`cudaDeviceProp_v11`, `cudaDeviceProp_v12`). Enumerations are
//! transparent integers with the constants of all versions.

#![allow(
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    reason = "names are those of cuda_runtime_api.h"
)]
#![allow(
    clippy::use_self,
    reason = "the generated structures name their own type as the header does"
)]

mod generated;

pub use generated::*;

pub use gvirtus_abi::{CU_STREAM_LEGACY, CU_STREAM_PER_THREAD};

macro_rules! c_enum {
    ($name:ident: $repr:ty { $($constant:ident = $value:literal,)* }) => {
        #[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(transparent)]
        pub struct $name(pub $repr);

        impl $name {
            $(pub const $constant: Self = Self($value);)*

            /// The constant's name in the header; the first one where several share the value.
            pub const fn name(self) -> Option<&'static str> {
                #[allow(unreachable_patterns, reason = "the header lists some values twice")]
                match self.0 {
                    $($value => Some(stringify!($constant)),)*
                    _ => None,
                }
            }

            /// [`Self::name`] for C.
            pub const fn c_name(self) -> Option<&'static core::ffi::CStr> {
                #[allow(unreachable_patterns, reason = "the header lists some values twice")]
                match self.0 {
                    $($value => {
                        let name = concat!(stringify!($constant), "\0").as_bytes();
                        match core::ffi::CStr::from_bytes_with_nul(name) {
                            Ok(name) => Some(name),
                            Err(_) => None,
                        }
                    })*
                    _ => None,
                }
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                match self.name() {
                    Some(name) => f.write_str(name),
                    None => write!(f, "{}({})", stringify!($name), self.0),
                }
            }
        }
    };
}

macro_rules! layout {
    ($name:ident, $size:literal, $align:literal, $($field:ident = $offset:literal),*) => {
        const _: () = {
            assert!(size_of::<$name>() == $size);
            assert!(align_of::<$name>() == $align);
            $(assert!(core::mem::offset_of!($name, $field) == $offset);)*
        };
    };
}

use {c_enum, layout};
