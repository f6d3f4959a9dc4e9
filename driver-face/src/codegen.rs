// SPDX-License-Identifier: Apache-2.0
//! From the call table to Rust source text: every function of `cuda.h` as an exported C symbol, and
//! the table behind `cuGetProcAddress`. For build scripts:
//!
//! ```no_run
//! // build.rs
//! gvirtus_driver_face::codegen::write_exports("crate::driver", |function| function.soft)
//!     .expect("OUT_DIR can be written to");
//! println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libcuda.so.1");
//! ```
//!
//! ```ignore
//! // lib.rs
//! #[allow(missing_docs, non_snake_case, unreachable_pub, clippy::missing_safety_doc)]
//! mod exports {
//!     include!(concat!(env!("OUT_DIR"), "/exports.rs"));
//! }
//! ```
//!
//! An implemented function calls `<handlers>::<symbol>(arguments…)`, which is an `unsafe fn` with
//! the arguments of the C declaration and returns any [`Outcome`](crate::Outcome). Where the table
//! lists a per-thread variant, the handler has one more, first argument `default_stream: CUstream`:
//! `CU_STREAM_LEGACY` from the plain symbol, `CU_STREAM_PER_THREAD` from the `_ptsz`/`_ptds` one; a
//! stream argument of zero, or the implicit stream, means that one. All other functions count
//! themselves and answer `CUDA_ERROR_NOT_SUPPORTED`.
//!
//! The text defines `pub static PROC_TABLE: [ProcEntry; N]` for [`crate::proc_address`].

use std::fmt::Write;
use std::path::PathBuf;

use gvirtus_abi::table::{Function, driver_api};

use crate::proc_address::DefaultStream;

/// A row of the table behind `cuGetProcAddress`, while it is being made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// See [`crate::proc_address::ProcEntry::base`].
    pub base: &'a str,
    /// See [`crate::proc_address::ProcEntry::since`].
    pub since: u32,
    /// See [`crate::proc_address::ProcEntry::default_stream`].
    pub default_stream: DefaultStream,
    /// See [`crate::proc_address::ProcEntry::symbol`].
    pub symbol: String,
}

/// All exported symbols, sorted as [`crate::proc_address::proc_address`] wants them.
pub fn entries(functions: &[Function]) -> Vec<Entry<'_>> {
    let mut entries = Vec::new();
    for function in functions {
        entries.push(Entry {
            base: &function.base,
            since: function.since,
            default_stream: DefaultStream::Legacy,
            symbol: function.symbol.clone(),
        });
        if let Some(variant) = &function.per_thread {
            entries.push(Entry {
                base: &function.base,
                since: variant.since,
                default_stream: DefaultStream::PerThread,
                symbol: format!("{}_{}", function.symbol, variant.suffix),
            });
        }
    }
    entries.sort_by(|a, b| {
        (a.base, a.since, a.default_stream).cmp(&(b.base, b.since, b.default_stream))
    });
    entries
}

/// The source text for `functions`; `handlers` is the path of the module with the handlers.
pub fn exports(
    functions: &[Function],
    handlers: &str,
    implemented: impl Fn(&Function) -> bool,
) -> String {
    let mut text = String::from(
        "// Made from the call table by gvirtus_driver_face::codegen.\n\
         #[allow(unused_imports)] use ::core::ffi::{c_char, c_void};\n\
         #[allow(unused_imports)] use ::gvirtus_abi::*;\n\
         #[allow(unused_imports)] use ::gvirtus_driver_face::{guard, unsupported};\n\
         use ::gvirtus_driver_face::proc_address::{DefaultStream, ProcEntry};\n\n",
    );
    for function in functions {
        if implemented(function) {
            export(&mut text, function, handlers);
        } else {
            export_unsupported(&mut text, function);
        }
    }
    proc_table(&mut text, functions);
    text
}

/// Writes [`exports`] of the whole driver API to `$OUT_DIR/exports.rs`.
///
/// # Errors
///
/// If the file cannot be written, or `OUT_DIR` is not set (this runs in a build script).
pub fn write_exports(
    handlers: &str,
    implemented: impl Fn(&Function) -> bool,
) -> std::io::Result<()> {
    let folder = std::env::var_os("OUT_DIR").ok_or(std::io::ErrorKind::NotFound)?;
    let text = exports(&driver_api(), handlers, implemented);
    std::fs::write(PathBuf::from(folder).join("exports.rs"), text)
}

fn export(text: &mut String, function: &Function, handlers: &str) {
    let streams = ["CU_STREAM_LEGACY", "CU_STREAM_PER_THREAD"];
    for (symbol, stream) in function.symbols().zip(streams) {
        let parameters: Vec<String> = function
            .arguments
            .iter()
            .map(|argument| format!("{}: {}", argument.name, argument.ty))
            .collect();
        let first = function.per_thread.is_some().then_some(stream);
        let arguments: Vec<&str> = first
            .into_iter()
            .chain(
                function
                    .arguments
                    .iter()
                    .map(|argument| argument.name.as_str()),
            )
            .collect();
        let _ = writeln!(
            text,
            "#[unsafe(no_mangle)]\n\
             pub unsafe extern \"C\" fn {symbol}({}) -> CUresult {{\n    \
             guard(\"{symbol}\", || {{\n        \
             // SAFETY: the C caller's promise, passed on.\n        \
             unsafe {{ {handlers}::{}({}) }}\n    }})\n}}",
            parameters.join(", "),
            function.symbol,
            arguments.join(", "),
        );
    }
}

fn export_unsupported(text: &mut String, function: &Function) {
    for symbol in function.symbols() {
        let _ = writeln!(
            text,
            "#[unsafe(no_mangle)]\n\
             pub extern \"C\" fn {symbol}() -> CUresult {{ unsupported(\"{symbol}\") }}"
        );
    }
}

fn proc_table(text: &mut String, functions: &[Function]) {
    let entries = entries(functions);
    let _ = writeln!(
        text,
        "/// Every exported symbol, sorted by base name.\n\
         pub static PROC_TABLE: [ProcEntry; {}] = [",
        entries.len()
    );
    for entry in entries {
        let _ = writeln!(
            text,
            "ProcEntry {{ base: \"{}\", since: {}, default_stream: DefaultStream::{:?}, \
             symbol: \"{}\", address: {} as *const c_void }},",
            entry.base, entry.since, entry.default_stream, entry.symbol, entry.symbol
        );
    }
    text.push_str("];\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn implemented_functions_call_their_handler() {
        let functions = driver_api();
        let text = exports(&functions, "crate::handlers", |f| f.soft);
        assert!(text.contains("unsafe { crate::handlers::cuMemAlloc_v2(dptr, bytesize) }"));
        assert!(text.contains(
            "pub unsafe extern \"C\" fn cuStreamQuery_ptsz(hStream: CUstream) -> CUresult"
        ));
        assert!(text.contains("crate::handlers::cuStreamQuery(CU_STREAM_PER_THREAD, hStream)"));
        assert!(text.contains("crate::handlers::cuStreamQuery(CU_STREAM_LEGACY, hStream)"));
    }

    #[test]
    fn every_symbol_is_exported_once() {
        let functions = driver_api();
        let text = exports(&functions, "crate::handlers", |f| f.soft);
        for symbol in functions.iter().flat_map(Function::symbols) {
            let exported = text.matches(&format!("extern \"C\" fn {symbol}(")).count();
            assert_eq!(exported, 1, "{symbol}");
            assert!(text.contains(&format!("address: {symbol} as *const c_void")));
        }
        assert!(text.contains("unsupported(\"cuGraphicsMapResources_ptsz\")"));
    }
}
