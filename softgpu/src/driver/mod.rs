// SPDX-License-Identifier: Apache-2.0
//! The CUDA driver API on the software device: what `libcuda.so.1` exports, one file a concept.
//!
//! Every exported function that the call table marks `soft` is a *handler* here, named like the
//! function, with the contract that `cuda.h` gives it; the exports themselves are made from the
//! table (see [`gvirtus_driver_face::codegen`]). Handles are numbers, so stale ones are errors;
//! pointers to device memory are checked at the call; kernels and copies run in [`scheduler`]'s
//! streams.

#![allow(
    non_snake_case,
    reason = "handlers and their arguments are named as in cuda.h"
)]
#![allow(
    clippy::too_many_arguments,
    reason = "handlers have the arguments that cuda.h gives them"
)]
#![allow(
    clippy::missing_safety_doc,
    reason = "the contract of each handler is that of cuda.h"
)]

mod allocations;
mod architecture;
mod arguments;
mod array;
mod attributes;
mod context;
mod context_calls;
mod context_settings;
mod copy;
mod copy_array;
mod copy_batch;
mod device;
mod engine;
mod event;
mod function;
mod graph;
mod handles;
mod host_access;
mod host_function;
mod host_memory;
mod image;
mod init;
mod ipc;
mod launch;
mod library;
mod limits;
mod link;
mod managed;
mod managed_variables;
mod memory;
mod memset;
mod module;
mod occupancy;
mod old_launch;
mod peers;
mod pointer;
mod pool;
mod pool_calls;
mod pool_share;
mod program;
mod queues;
mod reference;
mod scheduler;
mod shareable;
mod shared_event;
mod stream;
mod stream_memory;
mod tensor_map;
mod texture_object;
mod virtual_memory;

pub(crate) use architecture::current as architecture;
pub(crate) use array::*;
pub(crate) use context_calls::*;
pub(crate) use copy::*;
pub(crate) use copy_array::*;
pub(crate) use copy_batch::*;
pub(crate) use device::*;
pub(crate) use event::*;
pub(crate) use function::*;
pub(crate) use host_function::*;
pub(crate) use host_memory::*;
pub(crate) use init::*;
pub(crate) use ipc::*;
pub(crate) use launch::*;
pub(crate) use library::*;
pub(crate) use limits::{DEVICE_NAME, DRIVER_VERSION};
pub(crate) use link::*;
pub(crate) use managed::*;
pub(crate) use memory::*;
pub(crate) use memset::*;
pub(crate) use module::*;
pub(crate) use occupancy::*;
pub(crate) use old_launch::*;
pub(crate) use peers::*;
pub(crate) use pointer::*;
pub(crate) use pool_calls::*;
pub(crate) use pool_share::*;
pub(crate) use reference::*;
pub(crate) use stream::*;
pub(crate) use stream_memory::*;
pub(crate) use tensor_map::*;
pub(crate) use virtual_memory::*;
// Functions whose objects are the same on every device.
pub(crate) use gvirtus_driver_face::logs::*;
pub(crate) use gvirtus_graph::api::*;
pub(crate) use texture_object::*;

#[cfg(test)]
mod tests;
