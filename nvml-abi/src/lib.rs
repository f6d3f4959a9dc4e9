// SPDX-License-Identifier: Apache-2.0
//! NVIDIA's management library (NVML) as data: the table of its functions, its status codes and
//! their texts. Everything that lists the functions is made from [`table`]: the exports of our
//! `libnvidia-ml.so.1`, what the client sends, and what a backend passes to its own NVML.
#![forbid(unsafe_code)]

pub mod codegen;
mod status;
pub mod table;

pub use status::Status;
