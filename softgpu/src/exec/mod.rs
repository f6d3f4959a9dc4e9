// SPDX-License-Identifier: Apache-2.0
//! The executor: runs lowered kernels on the CPU.

mod fault;

pub use fault::{Access, Fault, Location};
