// SPDX-License-Identifier: Apache-2.0
//! The CUDA runtime API (`libcudart`) of CUDA 11.8, 12.9 and 13.5: its C types and the table of its
//! functions. Everything that lists the functions is made from [`table`].
#![forbid(unsafe_code)]

pub mod codegen;
mod error_texts;
pub mod table;
mod types;

pub use error_texts::{error_name, error_string};
pub use types::*;
