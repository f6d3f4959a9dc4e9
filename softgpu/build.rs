// SPDX-License-Identifier: Apache-2.0
//! Generates the exported C functions and names the library as CUDA programs ask for it.

use std::io;
use std::path::Path;

fn main() {
    gvirtus_driver_face::codegen::write_exports("crate::driver", |function| function.soft)
        .expect("the build's output folder can be written to");
    write_remaining_nvml().expect("the sources can be read");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libcuda.so.1");
    // Worker threads run code of this library until the process ends, so it must never be unmapped.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
}

/// Exports all functions of NVML that no source file of `src/nvml` defines: a program that looks
/// for one finds it, and is told that the device has no such thing.
fn write_remaining_nvml() -> io::Result<()> {
    const FOLDER: &str = "src/nvml";
    println!("cargo::rerun-if-changed={FOLDER}");
    let mut sources = String::new();
    for entry in std::fs::read_dir(FOLDER)? {
        sources += &std::fs::read_to_string(entry?.path())?;
    }
    let text = gvirtus_nvml_abi::codegen::remaining(
        |symbol| sources.contains(&format!("fn {symbol}(")),
        "super::answer(|| Err(super::Status::NOT_SUPPORTED))",
        "super::Status",
    );
    let folder = std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR");
    std::fs::write(Path::new(&folder).join("remaining_nvml.rs"), text)
}
