// SPDX-License-Identifier: Apache-2.0
//! The client of NVML: what stands behind the exported functions of `libnvidia-ml.so.1` in an
//! application's process.
//!
//! Every function that only asks is sent to the backend's own NVML as the table of NVML describes
//! it (`marshal`), over one connection a process (`connection`), which exists from the first
//! `nvmlInit` to the last `nvmlShutdown` (`process`). Handles are numbers that say which of the
//! backend's handles is meant (`handle`).
//!
//! The library lives in somebody else's process: it starts no thread, handles no signals, and
//! prints nothing unless `GVIRTUS_LOG` asks.

pub mod api;
mod connection;
pub mod export_table;
mod handle;
mod marshal;
mod process;
#[cfg(test)]
mod tests;
