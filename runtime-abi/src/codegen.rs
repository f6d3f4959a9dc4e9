// SPDX-License-Identifier: Apache-2.0
//! From the table to source text: the functions that the libraries export, in Rust, and what the
//! linker needs to export them under NVIDIA's names and versions.
//!
//! A name can mean different functions in different releases, and one file can hold several
//! releases, so Rust exports each form once under a name of our own ([`rust_symbol`]), and a
//! trampoline of one jump gives it NVIDIA's name and version ([`trampolines`]).

use std::fmt::Write;

use gvirtus_abi::table::{Argument, driver_api};

use crate::table::{Function, Release, State, runtime_api};

/// The name under which Rust exports a form of a function.
pub fn rust_symbol(handler: &str, suffix: &str) -> String {
    format!("gvirtus_{handler}{suffix}")
}

/// The source text of all functions: `<handlers>::<handler>(arguments…)` is an `unsafe fn` with the
/// arguments and the result of the C declaration. Where the table lists a per-thread variant, it
/// has one more, first argument `default_stream: CUstream`: `CU_STREAM_LEGACY` or
/// `CU_STREAM_PER_THREAD`; a stream argument of zero, or the implicit stream, means that one.
///
/// `<handlers>::guard(name, || …)` runs each handler that answers `cudaError`, and
/// `<handlers>::unsupported(name)` answers for those that are not implemented.
pub fn exports(handlers: &str) -> String {
    let mut text = String::from(
        "// Made from the runtime's table by gvirtus_runtime_abi::codegen.\n\
         #[allow(unused_imports)] use ::core::ffi::{c_char, c_void};\n\
         #[allow(unused_imports)] use ::gvirtus_abi::*;\n\
         #[allow(unused_imports)] use ::gvirtus_runtime_abi::*;\n\n",
    );
    for function in runtime_api() {
        let streams = ["CU_STREAM_LEGACY", "CU_STREAM_PER_THREAD"];
        for (suffix, stream) in function.suffixes().zip(streams) {
            export(&mut text, &function, handlers, &suffix, stream);
        }
    }
    text
}

fn export(text: &mut String, function: &Function, handlers: &str, suffix: &str, stream: &str) {
    let name = rust_symbol(&function.handler, suffix);
    let public = format!("{}{suffix}", function.symbol);
    if function.state == State::Unsupported {
        let _ = writeln!(
            text,
            "#[unsafe(no_mangle)]\n\
             pub extern \"C\" fn {name}() -> cudaError {{ {handlers}::unsupported(\"{public}\") }}"
        );
        return;
    }
    let arguments: Vec<&str> = function
        .per_thread
        .is_some()
        .then_some(stream)
        .into_iter()
        .chain(function.arguments.iter().map(|a| a.name.as_str()))
        .collect();
    let call = format!(
        "// SAFETY: the C caller's promise, passed on.\n        \
         unsafe {{ {handlers}::{}({}) }}",
        function.handler,
        arguments.join(", ")
    );
    let body = match function.result.as_str() {
        "cudaError" => format!("{handlers}::guard(\"{public}\", || {{\n        {call}\n    }})"),
        _ => call,
    };
    let result = match function.result.as_str() {
        "()" => String::new(),
        result => format!(" -> {result}"),
    };
    let _ = writeln!(
        text,
        "#[unsafe(no_mangle)]\n\
         pub unsafe extern \"C\" fn {name}({}){result} {{\n    {body}\n}}",
        function.parameters(),
    );
}

/// The source text of the handlers that only pass their arguments to a driver function, with the
/// same conventions as those written by hand. The module that includes it defines
/// `with_context(|driver| …)` and `stream_of(default_stream, stream)`.
///
/// # Panics
///
/// If a row names a driver function that does not exist or does not fit: a mistake in the table.
pub fn forwards() -> String {
    let driver = driver_api();
    let mut text = String::new();
    for function in runtime_api() {
        let State::Driver(symbol) = &function.state else {
            continue;
        };
        let target = driver
            .iter()
            .find(|f| f.symbol == *symbol)
            .unwrap_or_else(|| panic!("{}: there is no {symbol}", function.symbol));
        assert_eq!(
            target.arguments.len(),
            function.arguments.len(),
            "{}: the arguments are not those of {symbol}",
            function.symbol
        );
        forward(&mut text, &function, symbol, &target.arguments);
    }
    text
}

fn forward(text: &mut String, function: &Function, symbol: &str, targets: &[Argument]) {
    let mut arguments = Vec::new();
    for (from, to) in function.arguments.iter().zip(targets) {
        let has_default = function.per_thread.is_some() && from.ty == "CUstream";
        arguments.push(if has_default {
            format!("stream_of(default_stream, {})", from.name)
        } else {
            conversion(text, &from.name, &from.ty, &to.ty)
        });
    }
    let has_stream = function.arguments.iter().any(|a| a.ty == "CUstream");
    let default = function.per_thread.map(|_| {
        let mark = if has_stream { "" } else { "_" };
        format!("{mark}default_stream: CUstream")
    });
    let parameters = function.parameters();
    let parameters: Vec<String> = default
        .into_iter()
        .chain((!parameters.is_empty()).then_some(parameters))
        .collect();
    let _ = writeln!(
        text,
        "pub unsafe fn {}({}) -> Result<()> {{\n    \
         // SAFETY: the caller's promise: the driver's function has the same contract.\n    \
         with_context(|driver| unsafe {{ driver.{symbol}({}) }})\n}}",
        function.handler,
        parameters.join(", "),
        arguments.join(", "),
    );
}

/// An argument as the driver's type. What is behind a pointer is of the same size, which is checked
/// when the text is compiled; so is what is passed by value.
fn conversion(text: &mut String, name: &str, from: &str, to: &str) -> String {
    if from == to {
        return name.to_owned();
    }
    if let (Some(inner), Some(target)) = (pointee(from), pointee(to)) {
        if inner != "c_void" && target != "c_void" && !inner.starts_with('*') {
            let _ = writeln!(
                text,
                "const _: () = assert!(size_of::<{inner}>() == size_of::<{target}>());"
            );
        }
        let change = match (from.starts_with("*const"), to.starts_with("*const")) {
            (true, false) => ".cast_mut()",
            (false, true) => ".cast_const()",
            _ => "",
        };
        return format!("{name}{change}.cast()");
    }
    match to {
        "CUdeviceptr" => format!("CUdeviceptr({name} as usize as u64)"),
        "CUdevice" => format!("CUdevice({name})"),
        _ => format!("core::mem::transmute::<{from}, {to}>({name})"),
    }
}

fn pointee(ty: &str) -> Option<&str> {
    ty.strip_prefix("*mut ")
        .or_else(|| ty.strip_prefix("*const "))
}

/// Assembly (GNU syntax) that exports the functions of some releases under NVIDIA's names, each
/// with its release's version; for a machine as Rust names it, `x86_64` or `aarch64`.
pub fn trampolines(releases: &[Release], machine: &str) -> String {
    // The instruction that goes on elsewhere.
    let jump = if machine == "aarch64" { "b" } else { "jmp" };
    let functions = runtime_api();
    let newest = releases.iter().max();
    let mut text = String::from("    .text\n");
    for function in &functions {
        for release in releases.iter().filter(|r| function.releases.contains(r)) {
            for suffix in function.suffixes() {
                let symbol = format!("{}{suffix}", function.symbol);
                // The newest form is what a program without versions gets.
                let exported_later = functions.iter().any(|f| {
                    f.symbol == function.symbol
                        && f.releases
                            .iter()
                            .any(|r| r > release && releases.contains(r))
                });
                let at = if newest == Some(release) || !exported_later {
                    "@@"
                } else {
                    "@"
                };
                let own = format!("gvirtus_release{}_{symbol}", release.0);
                let target = rust_symbol(&function.handler, &suffix);
                let _ = writeln!(
                    text,
                    "    .globl {own}\n    .type {own}, %function\n    .symver {own}, {symbol}{at}{}, remove\n\
                     {own}:\n    {jump} {target}\n    .size {own}, . - {own}",
                    release.soname(),
                );
            }
        }
    }
    text.push_str("    .section .note.GNU-stack, \"\", %progbits\n");
    text
}

/// The linker's version script for a library of some releases. Functions of other interfaces, which
/// have no versions, are exported where their name fits one of the patterns in `others`.
pub fn version_script(releases: &[Release], others: &[&str]) -> String {
    let mut text = String::new();
    if let ([release], []) = (releases, others) {
        let _ = writeln!(
            text,
            "{} {{ global: cuda*; __cuda*; local: *; }};",
            release.soname()
        );
        return text;
    }
    for release in releases {
        let _ = writeln!(text, "{} {{ }};", release.soname());
    }
    let patterns: String = others
        .iter()
        .map(|pattern| format!("{pattern}; "))
        .collect();
    let _ = writeln!(text, "GVIRTUS {{ global: {patterns}local: *; }};");
    text
}
