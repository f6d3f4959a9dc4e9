// SPDX-License-Identifier: Apache-2.0
//! The CUDA driver API: its types and **the call table**, the one description of every function
//! from which exports, wire messages, dispatch and the coverage report are made.

#![forbid(unsafe_code)]

mod c_types;
mod characters;
mod scalar;
pub mod table;
mod types;

pub use characters::{bytes_of, characters_of};
pub use scalar::Scalar;
pub use types::*;
