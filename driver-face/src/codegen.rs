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

/// The source text of a libcuda as a table: `struct Entries` with one function pointer a function,
/// how to fill it, and the same functions as methods of a `struct Driver` that has such `entries`.
/// The module that includes it defines `Driver`, `fn absent(symbol: &'static str) -> CUresult` for
/// what a library lacks, and `struct Function` with the fields `symbol`, `base` (`&CStr`) and
/// `since` (`i32`), by which a function is looked for.
pub fn driver_table(functions: &[Function]) -> String {
    let mut text = String::new();
    let parameters = |f: &Function| {
        let list: Vec<String> = f
            .arguments
            .iter()
            .map(|a| format!("{}: {}", a.name, a.ty))
            .collect();
        list.join(", ")
    };
    let _ = writeln!(
        text,
        "#[derive(Clone, Copy, Default)]\npub struct Entries {{"
    );
    for function in functions {
        let (symbol, list) = (&function.symbol, parameters(function));
        let _ = writeln!(
            text,
            "    pub {symbol}: Option<unsafe extern \"C\" fn({list}) -> CUresult>,"
        );
    }
    let _ = writeln!(text, "}}\n\nimpl Entries {{");
    let _ = writeln!(
        text,
        "    /// # Safety\n    ///\n    /// `find` returns null or the function of that name.\n    \
         pub(super) unsafe fn resolve(mut find: impl FnMut(&Function) -> *const c_void) -> Self {{"
    );
    let _ = writeln!(text, "        Self {{");
    for function in functions {
        let (symbol, base, since) = (&function.symbol, &function.base, function.since);
        let _ = writeln!(
            text,
            "            // SAFETY: null is None, all else the function, whose C declaration the table repeats.\n            \
             {symbol}: unsafe {{ transmute::<*const c_void, Option<_>>(find(&Function {{ symbol: c\"{symbol}\", base: c\"{base}\", since: {since} }})) }},"
        );
    }
    let _ = writeln!(text, "        }}\n    }}\n}}\n\nimpl Driver {{");
    for function in functions {
        let (symbol, list) = (&function.symbol, parameters(function));
        let names: Vec<&str> = function.arguments.iter().map(|a| a.name.as_str()).collect();
        let _ = writeln!(
            text,
            "    /// # Safety\n    ///\n    /// That of the CUDA function.\n    #[inline]\n    \
             pub unsafe fn {symbol}(&self, {list}) -> CUresult {{\n        \
             match self.entries.{symbol} {{\n            \
             // SAFETY: passed on.\n            \
             Some(entry) => unsafe {{ entry({}) }},\n            \
             None => absent(\"{symbol}\"),\n        }}\n    }}",
            names.join(", ")
        );
    }
    let _ = writeln!(text, "}}");
    text
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
