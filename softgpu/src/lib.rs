// SPDX-License-Identifier: Apache-2.0
//! A software CUDA device: executes PTX kernels on the CPU.

pub mod exec;
pub mod ir;
pub mod limits;
pub mod lower;
pub mod memory;
pub mod ptx;
