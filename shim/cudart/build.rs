// SPDX-License-Identifier: Apache-2.0
//! The exported functions, made from the runtime's table.

use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let folder = std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR");
    let text = gvirtus_runtime_abi::codegen::exports("crate::handlers");
    std::fs::write(Path::new(&folder).join("exports.rs"), text).expect("OUT_DIR can be written");
}
