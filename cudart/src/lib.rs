// SPDX-License-Identifier: Apache-2.0
//! The CUDA runtime API on top of a CUDA driver: what `libcudart.so.11.0`, `.12` and `.13` answer.
//!
//! [`api`] has one handler a function, named like it; the exports themselves are made from the
//! table in `gvirtus_runtime_abi`. A handler is a few calls of the driver's functions ([`driver`]),
//! which is the GVirtuS client, softgpu or NVIDIA's own: the library works on each.
//!
//! What the runtime adds to the driver is here: a current device and a last error for each thread
//! ([`thread`]), primary contexts that appear when they are needed ([`context`]), and the kernels
//! and variables that a program registers before `main` ([`registry`]), loaded when they are used.

pub mod api;
mod context;
mod driver;
mod error;
mod limits;
mod registry;
mod thread;

pub use driver::{DriverLookup, set_driver};
