// SPDX-License-Identifier: Apache-2.0
//! The C types of the CUDA driver API (`cuda.h` 13.5), bit for bit.
//!
//! C enumerations are transparent integers with constants, not Rust enumerations: a driver newer
//! than this table may answer a value that it does not list, and that must not be undefined
//! behaviour. Handles are transparent 64-bit integers: they are passed like the pointers of the C
//! declarations, and nobody but the driver that made one may look behind it.

#![allow(
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    reason = "names are those of cuda.h"
)]
#![allow(
    clippy::use_self,
    reason = "the generated structures name their own type as cuda.h does"
)]

mod generated;

pub use generated::*;

/// An address in device memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct CUdeviceptr(pub u64);

/// A device ordinal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct CUdevice(pub i32);

/// A function pointer of the application, which only the process that it belongs to can call.
pub type CUhostPointer = Option<unsafe extern "C" fn()>;

/// The legacy default stream, as `cuda.h`'s `CU_STREAM_LEGACY`.
pub const CU_STREAM_LEGACY: CUstream = CUstream(1);
/// The calling thread's default stream, as `cuda.h`'s `CU_STREAM_PER_THREAD`.
pub const CU_STREAM_PER_THREAD: CUstream = CUstream(2);

/// Length of an IPC handle in bytes (`CU_IPC_HANDLE_SIZE`).
pub const CU_IPC_HANDLE_SIZE: usize = 64;

/// Flags of arrays, as `cuda.h` defines them: the array has layers.
pub const CUDA_ARRAY3D_LAYERED: u32 = 0x01;
/// Surfaces may be bound to the array.
pub const CUDA_ARRAY3D_SURFACE_LDST: u32 = 0x02;
/// The array is a cubemap, or several if it is layered.
pub const CUDA_ARRAY3D_CUBEMAP: u32 = 0x04;
/// Textures may gather from the array.
pub const CUDA_ARRAY3D_TEXTURE_GATHER: u32 = 0x08;
/// Flag of an array some of whose memory may be missing.
pub const CUDA_ARRAY3D_SPARSE: u32 = 0x40;
/// Flag of an array whose memory is mapped later.
pub const CUDA_ARRAY3D_DEFERRED_MAPPING: u32 = 0x80;

/// Flags of textures, as `cuda.h` defines them: integers stay integers.
pub const CU_TRSF_READ_AS_INTEGER: u32 = 0x01;
/// Coordinates go from 0 to 1.
pub const CU_TRSF_NORMALIZED_COORDINATES: u32 = 0x02;
/// Texels are coded as sRGB has it.
pub const CU_TRSF_SRGB: u32 = 0x10;
/// Linear filtering between levels is exact.
pub const CU_TRSF_DISABLE_TRILINEAR_OPTIMIZATION: u32 = 0x20;
/// Filtering goes over the edges of a cube's faces.
pub const CU_TRSF_SEAMLESS_CUBEMAP: u32 = 0x40;

macro_rules! handle {
    ($($name:ident),*) => {$(
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// C's null pointer.
            pub const NULL: Self = Self(0);

            pub const fn is_null(self) -> bool {
                self.0 == 0
            }
        }
    )*};
}

use crate::{c_enum, layout};
use handle;
