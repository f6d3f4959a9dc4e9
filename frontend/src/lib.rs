// SPDX-License-Identifier: Apache-2.0
//! The client: what stands behind the exported functions of `libcuda.so.1` in an application's
//! process.
//!
//! [`api`] holds one function for every supported one of the CUDA driver API. A call is answered
//! from what the client knows, posted, or sent with a wait for its reply; the modules below say
//! how:
//!
//! - `process`: one frontend a process, connected at the first need, afresh after a fork;
//! - `session`: the connection and all objects, found by opaque handles (`handle`);
//! - `wire`: the command queue, its flusher, and the threads that read their replies themselves;
//! - `context`, `thread`: which context is current;
//! - `memory`: whose memory an address is;
//! - `image`: libraries, modules and their kernels;
//! - `regular`: the calls that the table describes completely.
//!
//! The library lives in somebody else's process: it has no runtime, handles no signals, prints
//! nothing unless asked but one line for what is fatal, keeps no thread from ending and no process
//! from exiting.

pub mod api;
mod array;
mod broker;
mod config;
mod connect;
mod console;
mod context;
mod device;
mod handle;
mod image;
mod limits;
mod memory;
mod process;
mod regular;
mod session;
mod shared;
mod statistics;
#[cfg(test)]
mod test_utils;
mod thread;
mod wire;

pub use config::{ConfigError, Environment};
pub use connect::{OpenError, Opened, open};
pub use statistics::{Statistics, statistics, write_statistics};
