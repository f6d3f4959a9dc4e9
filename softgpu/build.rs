// SPDX-License-Identifier: Apache-2.0
//! Generates the exported C functions and names the library as CUDA programs ask for it.

fn main() {
    gvirtus_driver_face::codegen::write_exports("crate::driver", |function| function.soft)
        .expect("the build's output folder can be written to");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libcuda.so.1");
    // Worker threads run code of this library until the process ends, so it must never be unmapped.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
}
