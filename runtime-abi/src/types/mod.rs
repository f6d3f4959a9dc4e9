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

use gvirtus_abi::{c_enum, layout};
