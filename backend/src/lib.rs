// SPDX-License-Identifier: Apache-2.0
//! The backend: executes the commands of remote clients on a CUDA driver.
//!
//! ```text
//! gvirtus serve ── daemon ── accepts, reads the hello, starts one process a session:
//!                    │
//!                    ├─ gvirtus worker ── session ── driver: NVIDIA's libcuda.so.1 or softgpu
//!                    └─ gvirtus worker ── management ── libnvidia-ml.so.1 of that driver
//! ```
//!
//! [`daemon`] never touches a driver, a [`worker`] serves exactly one client and ends with it, and
//! [`driver`] is the table of functions that a worker calls. A connection for NVML gets a worker of
//! its own too, which starts no driver (`management`). Clients are not trusted: what one of
//! them can break is its own worker.

mod control;
pub mod daemon;
pub mod driver;
pub mod limits;
mod management;
mod quota;
pub mod worker;
