// SPDX-License-Identifier: Apache-2.0
//! The exported functions, made from the table of NVML, and the library's name.

use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let folder = std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR");
    let text = gvirtus_nvml_abi::codegen::exports("crate::handlers");
    std::fs::write(Path::new(&folder).join("exports.rs"), text).expect("OUT_DIR can be written");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libnvidia-ml.so.1");
    // A handler of forks stays registered until the process ends, so its code must stay.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
}
