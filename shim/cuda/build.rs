// SPDX-License-Identifier: Apache-2.0
//! The exported functions, made from the call table, and the library's name.

use gvirtus_abi::table::Travel;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    gvirtus_driver_face::codegen::write_exports("crate::handlers", |function| {
        function.travel != Travel::Unsupported
    })
    .expect("OUT_DIR can be written to");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libcuda.so.1");
    // Threads of the library run until the process ends, so its code must stay.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
}
