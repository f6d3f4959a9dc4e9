// SPDX-License-Identifier: Apache-2.0
//! What any `libcuda.so.1` answers by itself, written once for the client library and the software
//! device.
//!
//! - [`codegen`] turns the call table into the exported C functions and the table behind
//!   `cuGetProcAddress`; a build script calls [`codegen::write_exports`] and the library includes
//!   the result (an example is in that module).
//! - [`proc_address`] answers `cuGetProcAddress` from that table.
//! - [`export_tables`] are the private tables of `cuGetExportTable`, which NVIDIA's cudart needs.
//! - [`error_name`] and [`error_string`] are the texts of `cuGetErrorName` and `cuGetErrorString`.
//! - [`copy_batch`] reads the arguments of batches of copies.
//! - [`FunctionStates`] is what the launch API of before CUDA 4 sets on functions.
//! - [`visible_devices()`] reads `CUDA_VISIBLE_DEVICES`.
//! - [`logs`] are the error logs of a driver that writes none.
//! - [`advice`] keeps hints about managed memory.
//! - [`guard`], [`unsupported`] and [`log!`] are what every export runs through.

pub mod advice;
pub mod codegen;
pub mod copy_batch;
mod error_texts;
mod export;
pub mod export_tables;
mod fork;
mod function_state;
pub mod log;
pub mod logs;
pub mod proc_address;
mod visible_devices;

pub use error_texts::{error_name, error_string, write_error_name, write_error_string};
pub use export::{Outcome, calls, guard, unsupported, unsupported_calls};
pub use function_state::{FunctionState, FunctionStates, positive};
pub use visible_devices::{VISIBLE_DEVICES, device_name, visible_devices};

/// Forgets what belongs to the parent: what clients stored for contexts, callbacks, and the
/// accounts of unsupported calls. For the child of a fork that wants to begin anew, before its
/// first call; no lock that the parent may have held is touched.
pub fn after_fork_in_child() {
    export_tables::forget_storage();
    logs::renew();
    export::UNSUPPORTED.renew();
}
