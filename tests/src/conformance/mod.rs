// SPDX-License-Identifier: Apache-2.0
//! One small PTX file an instruction form, run through the driver API of any `libcuda`.
//!
//! A file's leading comments say what it does, the arrays that the kernel `test` gets the addresses
//! of, and what it must leave in them:
//!
//! ```text
//! // add.sat.s32: saturates at both ends (PTX ISA 9.7.1.1)
//! // launch: 1 x 4
//! // in  s32 a: 2147483647 -2147483648 1 -1
//! // in  s32 b: 1 -1 1 1
//! // out s32 d: 2147483647 -2147483648 2 0
//! ```
//!
//! - `launch: GRID x BLOCK [cluster N] [shared BYTES]`; without it, one block of as many threads as
//!   the longest array has elements.
//! - `in TYPE NAME: values`, `out TYPE NAME [~TOLERANCE]: values`, and
//!   `inout TYPE NAME [~TOLERANCE]: values => values`. The kernel's parameters are the 64-bit
//!   addresses of the arrays in this order. The memory of an `out` array is 0xa5 in every byte.
//! - Types are `b`, `u` and `s` of 8 to 64 bits, `b128`, `pred` (a `u32`), `f16 bf16 f32 f64` and
//!   the pairs `f16x2 bf16x2` (`low,high`). A value is a decimal number, `inf`, `nan` (any NaN)
//!   or, as bits, `0x…`; `V*N` stands for N times V and `A..B` for the integers from A to B - 1.
//! - Without a tolerance, bits are compared. `~2ulp`, `~1e-6rel` and `~1e-6abs` allow for an error.
//! - `fails: CUDA_ERROR_…` names what the launch ends with (`any` where nothing says which error),
//!   and `invalid: CUDA_ERROR_…` what the load ends with. `log: text` must then be in the error log
//!   of the load on softgpu.
//! - `texture FORMAT GEOMETRY EXTENT OPTION… NAME: texels` and `surface …: texels` or
//!   `surface …: before => after` describe images; their handles are parameters after the arrays.
//!   Formats are `u8 u16 u32 s8 s16 s32 f16 f32` with `x2` or `x4` for more channels; geometries
//!   `linear` and `pitched` (plain memory), `1d 2d 3d a1d a2d cube acube` with an extent `4x3x2`
//!   (layers or cubes last; a cube has no third length). Texels are in memory's order: channel,
//!   column, row, slice or layer or face, level.
//! - Options of a texture: one address mode or one for each axis (`wrap`, `clamp,border`; `clamp`
//!   if none is given), `filtered` (else the nearest texel), `normalized`, `integer` (else integers
//!   of 8 and 16 bits are fractions), `border=R,G,B,A`, `srgb`, `seamless`, `gather`, `levels=N`,
//!   `between` (filters between levels), `bias=LEVELS`. With `reference`, the module's `.texref` or
//!   `.surfref` of this name is bound, and it is no parameter.
//! - A comment that begins with three spaces goes on with the line before.

mod case;
mod driver;
mod image;
mod image_driver;
mod report;
mod value;

pub use case::{Array, Case, CaseError, Ending, Launch, cases, folder};
pub use driver::{Driver, DriverError};
pub use image::{Access, Geometry, Image};
pub use report::{Outcome, Tally, run_case};
pub use value::{Tolerance, Type};
