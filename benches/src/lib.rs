// SPDX-License-Identifier: Apache-2.0
//! Criterion benchmarks of single parts: `cargo bench -p gvirtus-benches`.
//!
//! They tell whether a change made a part faster or slower; what the whole costs on a machine tells
//! `gvirtus bench`. This library is the worker that the benchmarks of the client talk to.

#![forbid(unsafe_code)]

mod worker;

pub use worker::serve;
