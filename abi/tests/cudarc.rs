// SPDX-License-Identifier: Apache-2.0
//! Compares the call table and the layouts with cudarc's bindings, which bindgen made from
//! NVIDIA's header independently of this project.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use cudarc::driver::sys;
use gvirtus_abi::table::driver_api;

/// The source of the bindings that this test is built with.
fn cudarc_bindings() -> String {
    let cargo = std::env::var_os("CARGO").expect("cargo runs tests");
    let output = Command::new(cargo)
        .args([
            "metadata",
            "--format-version=1",
            "--offline",
            "--filter-platform=host-tuple",
        ])
        .arg("--manifest-path")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .output()
        .expect("cargo metadata runs");
    let text = String::from_utf8(output.stdout).expect("JSON is UTF-8");
    let path = text
        .match_indices("\"manifest_path\":\"")
        .map(|(at, key)| &text[at + key.len()..])
        .map(|rest| {
            &rest[..rest
                .find("/Cargo.toml\"")
                .expect("a manifest's path ends so")]
        })
        .find(|path| {
            path.rsplit('/')
                .next()
                .is_some_and(|d| d.starts_with("cudarc-0"))
        })
        .expect("cudarc is a dependency");
    std::fs::read_to_string(PathBuf::from(path).join("src/driver/sys/mod.rs"))
        .expect("cudarc's bindings are there")
}

/// Function name and argument types, for every binding.
fn signatures(source: &str) -> BTreeMap<String, Vec<String>> {
    source
        .lines()
        .filter_map(|line| {
            line.strip_prefix("pub unsafe fn ")?
                .strip_suffix(") -> CUresult {")
        })
        .map(|text| {
            let (name, arguments) = text.split_once('(').expect("a function has arguments");
            let types = arguments.split(", ").filter(|a| !a.is_empty());
            let types = types.map(|a| normal(a.split_once(": ").expect("name: type").1));
            (name.to_owned(), types.collect())
        })
        .collect()
}

/// One spelling for the types that bindgen and this project spell differently.
fn normal(ty: &str) -> String {
    let ty = ty.replace("::core::ffi::", "");
    let (pointers, name) = ty.split_at(ty.rfind(' ').map_or(0, |at| at + 1));
    let name = match name {
        "c_uint" | "cuuint32_t" => "u32",
        "c_int" => "i32",
        "c_uchar" => "u8",
        "c_ushort" => "u16",
        "c_ulonglong" | "cuuint64_t" => "u64",
        "CUdeviceptr_v2" => "CUdeviceptr",
        other => {
            let other = other.trim_end_matches("_st").trim_end_matches("_enum");
            other
                .trim_end_matches("_v1")
                .trim_end_matches("_v2")
                .trim_end_matches("_v3")
        }
    };
    format!("{pointers}{name}")
}

#[test]
fn signatures_agree() {
    let theirs = signatures(&cudarc_bindings());
    let (mut compared, mut differing) = (0, Vec::new());
    for function in driver_api() {
        let Some(their_types) = theirs.get(&function.symbol) else {
            continue;
        };
        let our_types: Vec<_> = function.arguments.iter().map(|a| normal(&a.ty)).collect();
        compared += 1;
        if our_types != *their_types {
            differing.push(format!(
                "{}: {our_types:?} / {their_types:?}",
                function.symbol
            ));
        }
    }
    eprintln!("{compared} functions compared");
    assert!(compared > 400, "only {compared} functions compared");
    assert!(
        differing.is_empty(),
        "{} differ:\n{}",
        differing.len(),
        differing.join("\n")
    );
}

macro_rules! sizes_agree {
    ($($name:ident),* $(,)?) => {$(
        assert_eq!(
            (size_of::<gvirtus_abi::$name>(), align_of::<gvirtus_abi::$name>()),
            (size_of::<sys::$name>(), align_of::<sys::$name>()),
            stringify!($name),
        );
    )*};
}

#[test]
fn layouts_agree() {
    sizes_agree!(
        CUDA_ARRAY3D_DESCRIPTOR,
        CUDA_BATCH_MEM_OP_NODE_PARAMS,
        CUDA_EXTERNAL_MEMORY_HANDLE_DESC,
        CUDA_EXTERNAL_SEMAPHORE_SIGNAL_PARAMS,
        CUDA_HOST_NODE_PARAMS,
        CUDA_KERNEL_NODE_PARAMS,
        CUDA_MEMCPY2D,
        CUDA_MEMCPY3D,
        CUDA_MEMCPY3D_PEER,
        CUDA_MEMSET_NODE_PARAMS,
        CUDA_RESOURCE_DESC,
        CUDA_TEXTURE_DESC,
        CUaccessPolicyWindow,
        CUctxCreateParams,
        CUdevprop,
        CUgraphNodeParams,
        CUipcMemHandle,
        CUlaunchAttribute,
        CUlaunchConfig,
        CUmemAllocationProp,
        CUmemLocation,
        CUmemPoolProps,
        CUstreamBatchMemOpParams,
        CUtensorMap,
        CUuuid,
    );
}
