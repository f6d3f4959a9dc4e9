// SPDX-License-Identifier: Apache-2.0
//! A software CUDA device: executes PTX kernels on the CPU.

mod device_call;
mod driver;
pub mod exec;
pub mod ir;
pub mod limits;
pub mod lower;
pub mod memory;
mod nvml;
pub mod printf;
pub mod ptx;
mod tensor_map;
mod texture;
mod usage;

/// The exported C functions, made from the call table.
#[allow(missing_docs, non_snake_case, unreachable_pub, unused_unsafe)]
#[allow(clippy::missing_safety_doc, clippy::too_many_arguments)]
mod exports {
    include!(concat!(env!("OUT_DIR"), "/exports.rs"));
}
