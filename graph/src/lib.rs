// SPDX-License-Identifier: Apache-2.0
//! CUDA graphs and stream capture, written once for the client library and the software device.
//!
//! Everything about a graph that is not its execution is here: graphs, nodes and edges, their
//! parameters, clones, executable graphs and their updates, user objects, and the rules by which
//! calls on a stream become nodes. [`api`] are the functions of `cuda.h` on top of it, [`capture`]
//! what calls on streams and events ask first. A driver says with [`set_platform`] how its streams,
//! kernels and memory are found and how a [`Plan`] is run.
//!
//! So the client answers all of these calls without the network, and a captured launch costs the
//! same as a queued one. Sources: the CUDA driver API reference, "Graph Management" and "Stream
//! Management", and the programming guide, "CUDA Graphs".
//!
//! The state is the process's, because the objects are: one process has one `libcuda.so.1`.

pub mod api;
pub mod capture;
mod dot;
mod edges;
mod exec;
mod memory;
mod objects;
mod parameters;
mod payload;
mod plan;
mod platform;
mod process;
#[cfg(test)]
mod tests;
mod update;
mod world;

pub use exec::{free_outside, launch_finished};
pub use memory::GraphMemory;
pub use parameters::KernelCall;
pub use payload::{
    AllocationRequest, Attribute, Batch, Conditional, Host, Kernel, Memcpy, MemoryOperation,
    Memset, Parameters, Payload,
};
pub use plan::{Action, Plan, Step, Switch};
pub use platform::{KernelLayout, Launch, Platform, Stream, StreamKind, set_platform};
pub use process::restart;
pub use world::{GraphId, NodeId};
