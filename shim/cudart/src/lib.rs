// SPDX-License-Identifier: Apache-2.0
//! `libcudart.so.11.0`, `.12` and `.13`: the C symbols of the CUDA runtime API. Each passes its
//! arguments to `gvirtus_cudart::api`; those that are not supported say so.
//!
//! Cargo cannot give symbols a version, so this is a static library with names of its own, from
//! which `cargo xtask build` links the three shared ones (`gvirtus_runtime_abi::codegen`).

/// What the exported functions call.
mod handlers {
    pub(super) use gvirtus_cudart::api::*;
}

#[allow(
    missing_docs,
    non_snake_case,
    unreachable_pub,
    clippy::missing_safety_doc,
    clippy::too_many_arguments,
    reason = "made from the table, with the names of cuda_runtime_api.h"
)]
mod exports {
    include!(concat!(env!("OUT_DIR"), "/exports.rs"));
}
