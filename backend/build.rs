// SPDX-License-Identifier: Apache-2.0
//! The driver's function table and the dispatch of regular messages, made from the call table.

use std::fmt::Write as _;
use std::path::Path;

use gvirtus_abi::table::{Argument, Function, Travel, driver_api};
use gvirtus_driver_face::codegen::driver_table;

/// Calls without a stream argument that queue work all the same: on the legacy default stream.
const IMPLICIT_STREAM_SUFFIX: &str = "ptds";

/// Handles that travel as the driver's own, and are compared with those that it gave.
const OPAQUE: [&str; 4] = ["CUarray", "CUmipmappedArray", "CUsurfref", "CUtexref"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let functions: Vec<Function> = driver_api()
        .into_iter()
        .filter(|f| f.travel != Travel::Unsupported)
        .collect();
    write("driver_table.rs", &driver_table(&functions));
    write("dispatch.rs", &dispatch(&functions));
}

fn write(name: &str, text: &str) {
    let folder = std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR");
    std::fs::write(Path::new(&folder).join(name), text).expect("OUT_DIR can be written");
}

macro_rules! add {
    ($text:ident, $($format:tt)+) => {
        writeln!($text, $($format)+).expect("a string takes all text")
    };
}

fn dispatch(functions: &[Function]) -> String {
    let mut text = String::new();
    add!(
        text,
        "/// Executes the regular message `opcode`; all others are not supported.\n\
         pub(super) fn dispatch(opcode: u16, driver: &Driver, handles: &mut Handles, input: &[Word], output: &mut Outputs)\n    \
         -> Result<(), CUresult> {{\n    match opcode {{"
    );
    for function in functions {
        let (Travel::Posted(opcode) | Travel::Sync(opcode)) = function.travel else {
            continue;
        };
        arm(&mut text, function, opcode);
    }
    add!(
        text,
        "        _ => Err(CUresult::CUDA_ERROR_NOT_SUPPORTED),\n    }}\n}}"
    );
    text
}

fn arm(text: &mut String, function: &Function, opcode: u16) {
    add!(text, "        {opcode:#06x} => {{");
    let implicit = function
        .per_thread
        .as_ref()
        .is_some_and(|v| v.suffix == IMPLICIT_STREAM_SUFFIX);
    if implicit {
        add!(text, "            handles.stream(driver, 0)?;");
    }
    let (mut word, mut call, mut results) = (0, Vec::new(), Vec::new());
    for (index, argument) in function.arguments.iter().enumerate() {
        if let Some(ty) = argument.output() {
            add!(text, "            let mut a{index} = {ty}::default();");
            call.push(format!("&raw mut a{index}"));
            results.push((index, ty));
        } else {
            add!(
                text,
                "            let a{index} = {};",
                input(argument, word)
            );
            call.push(format!("a{index}"));
            word += 1;
        }
    }
    add!(
        text,
        "            // SAFETY: handles are the session's own, outputs are locals, all else is a plain value.\n            \
         check(unsafe {{ driver.{}({}) }})?;",
        function.symbol,
        call.join(", ")
    );
    for (index, ty) in results {
        if OPAQUE.contains(&ty) {
            add!(text, "            handles.note_opaque(a{index}.0)?;");
        }
        add!(text, "            output.push(Scalar::to_word(a{index}));");
    }
    add!(text, "            Ok(())\n        }}");
}

fn input(argument: &Argument, word: usize) -> String {
    match argument.ty.as_str() {
        "CUcontext" => format!("handles.context(word(input, {word}))?"),
        "CUevent" => format!("handles.event(word(input, {word}))?"),
        "CUfunction" => format!("handles.function(driver, word(input, {word}))?"),
        "CUkernel" => format!("handles.kernel(word(input, {word}))?"),
        "CUstream" => format!("handles.stream(driver, word(input, {word}))?"),
        ty if OPAQUE.contains(&ty) => format!("{ty}(handles.opaque(word(input, {word}))?)"),
        ty => format!("scalar::<{ty}>(input, {word})?"),
    }
}
