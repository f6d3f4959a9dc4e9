// SPDX-License-Identifier: Apache-2.0
//! One session: a process that executes one client's commands on a driver.
//!
//! One thread, the executor, reads and executes commands in their order; it waits for nothing but
//! the client. [`wait`] and [`copies`] tell how waiting is left to others, [`staging`] and
//! [`uploads`] where payloads go, [`handles`] what the client's numbers mean. A client's mistake
//! that CUDA has a code for is answered with it; any other ends the session, and the process with
//! it.

mod ahead;
mod arrays;
mod console;
mod copies;
mod descriptors;
mod error;
mod handles;
mod holdings;
mod host_functions;
mod images;
mod launch;
mod link;
mod linking;
mod memory;
mod named;
mod numbers;
mod pools;
mod process;
mod regular;
mod reporter;
mod rows;
mod session;
mod sharing;
mod snapshot;
mod staging;
mod tensor_map;
mod uploads;
mod usage;
mod virtual_memory;
mod wait;
mod waiters;

pub use error::SessionError;
pub use process::{Prepared, Service, WorkerOptions, prepare, run};

#[cfg(test)]
mod tests;
