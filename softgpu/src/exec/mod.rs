// SPDX-License-Identifier: Apache-2.0
//! The executor: runs lowered kernels on the CPU.
//!
//! A [`LoadedModule`] is a module whose variables have addresses in a device's [`Memory`];
//! [`launch()`] runs one of its kernels. Below that, from the outside in: `launch` hands blocks to
//! threads, `block` interprets one block, `lanes` applies one decoded instruction to all lanes,
//! `decode` makes decoded instructions.
//!
//! [`Memory`]: crate::memory::Memory

#![allow(
    clippy::needless_range_loop,
    reason = "a loop over lanes by index vectorises, also where it walks several arrays"
)]

mod access;
mod atomic;
mod barrier;
mod block;
mod buffer;
mod builtin;
mod bulk;
mod cluster;
mod code;
mod compare;
mod convert;
mod copy;
mod decode;
mod device_runtime;
mod fault;
mod float;
mod float8;
mod grids;
mod group;
pub(crate) mod half;
mod heap;
mod image;
mod integer;
mod lanes;
mod launch;
mod level;
mod mbarrier;
mod module;
mod pool;
mod scalar;
mod softfloat;
mod special;
mod state;
mod tensor;
mod urgency;
mod video;
mod warp;
mod wide;
mod window;

pub use device_runtime::DeviceFacts;
pub use fault::{Access, Fault, Location};
pub use heap::Heap;
pub use launch::{LaunchConfig, LaunchOptions, LaunchStatistics, launch};
pub use module::{KernelId, LoadError, LoadedModule, Requirements};

#[cfg(test)]
mod tests;
