// SPDX-License-Identifier: Apache-2.0
//! The driver as a table of functions, and the handlers that only call one of them, made from the
//! tables.

use std::path::Path;

use gvirtus_abi::table::{Function, driver_api};
use gvirtus_driver_face::codegen::driver_table;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let folder = std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR");
    let write = |name: &str, text: String| {
        std::fs::write(Path::new(&folder).join(name), text).expect("OUT_DIR can be written");
    };
    // The forms of before CUDA 3.2, with addresses of 32 bits, are of no use.
    let functions: Vec<Function> = driver_api()
        .into_iter()
        .filter(|f| {
            !f.arguments
                .iter()
                .any(|argument| argument.ty.ends_with("_v1"))
        })
        .collect();
    write("driver_table.rs", driver_table(&functions));
    write("forwards.rs", gvirtus_runtime_abi::codegen::forwards());
}
