// SPDX-License-Identifier: Apache-2.0
//! The client's side of every regular row of the call table (see `src/regular.rs`).

use std::fmt::Write as _;
use std::path::Path;

use gvirtus_abi::table::{Function, Travel, driver_api};

/// What is checked in the client before a command is sent, by the beginning of the name; the first
/// that fits. The longer beginnings come first.
const CHECKS: &[(&str, &str)] = &[
    (
        "cuMemsetD2D8",
        "memset_2d(session, dstDevice, dstPitch, Width, Height, 1)",
    ),
    (
        "cuMemsetD2D16",
        "memset_2d(session, dstDevice, dstPitch, Width, Height, 2)",
    ),
    (
        "cuMemsetD2D32",
        "memset_2d(session, dstDevice, dstPitch, Width, Height, 4)",
    ),
    ("cuMemsetD8", "memset(session, dstDevice, N, 1)"),
    ("cuMemsetD16", "memset(session, dstDevice, N, 2)"),
    ("cuMemsetD32", "memset(session, dstDevice, N, 4)"),
    (
        "cuMemcpyPeer",
        "copy(session, dstDevice, srcDevice, ByteCount)",
    ),
    (
        "cuMemcpyDtoD",
        "copy(session, dstDevice, srcDevice, ByteCount)",
    ),
    ("cuEventRecord", "same_context(&event, &stream)"),
    (
        "cuStreamWriteValue32",
        "write_value(session, addr, 4, flags)",
    ),
    (
        "cuStreamWriteValue64",
        "write_value(session, addr, 8, flags)",
    ),
    ("cuStreamWaitValue32", "wait_value(session, addr, 4, flags)"),
    ("cuStreamWaitValue64", "wait_value(session, addr, 8, flags)"),
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let functions = driver_api();
    let mut text = String::new();
    for function in &functions {
        match function.travel {
            Travel::Posted(_) => regular(&mut text, function, &functions, true),
            Travel::Sync(_) => regular(&mut text, function, &functions, false),
            Travel::Custom(_) | Travel::Local | Travel::Unsupported => {}
        }
    }
    let folder = std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR");
    std::fs::write(Path::new(&folder).join("regular.rs"), text).expect("OUT_DIR can be written");
}

/// One function of the application's interface.
fn regular(text: &mut String, function: &Function, functions: &[Function], is_posted: bool) {
    let symbol = &function.symbol;
    let parameters: Vec<String> = function
        .per_thread
        .iter()
        .map(|_| "default_stream: CUstream".to_owned())
        .chain(
            function
                .arguments
                .iter()
                .map(|a| format!("{}: {}", a.name, a.ty)),
        )
        .collect();
    line(
        text,
        &format!(
            "/// `{symbol}` of the CUDA driver API.\n///\n/// # Safety\n///\n\
             /// As the C function.\n\
             pub unsafe fn {symbol}({}) -> Result<(), CUresult> {{",
            parameters.join(", ")
        ),
    );
    variant(text, function, functions);
    line(text, "    let session = process::session()?;");
    outputs(text, function);
    let words = inputs(text, function);
    if let Some((_, check)) = CHECKS.iter().find(|(name, _)| symbol.starts_with(name)) {
        line(text, &format!("    checks::{check}?;"));
    }
    let send = format!("(session, opcode::{symbol}, context, &[{words}])?;");
    if is_posted {
        line(text, &format!("    post{send}"));
    } else if symbol.starts_with("cuOccupancy") {
        line(
            text,
            &format!(
                "    let reply = occupancy(session, &kernel, opcode::{symbol}, context, &[{words}])?;"
            ),
        );
    } else {
        line(text, &format!("    let reply = call{send}"));
    }
    if symbol.starts_with("cuFuncSet") || symbol.starts_with("cuKernelSet") {
        line(text, "    kernel.forget_answers();");
    }
    results(text, function, is_posted);
    line(text, "    Ok(())\n}\n");
}

/// A function without a stream argument means the thread's default stream by another message.
fn variant(text: &mut String, function: &Function, functions: &[Function]) {
    if function
        .per_thread
        .as_ref()
        .is_none_or(|v| v.suffix != "ptds")
    {
        return;
    }
    let name = format!("{}Async", function.base);
    let sibling = functions
        .iter()
        .find(|f| f.base == name && matches!(f.travel, Travel::Posted(_)))
        .unwrap_or_else(|| panic!("{} has no asynchronous sibling", function.symbol));
    let arguments: Vec<&str> = function
        .arguments
        .iter()
        .map(|a| a.name.as_str())
        .chain(["CUstream::NULL"])
        .collect();
    line(
        text,
        &format!(
            "    if default_stream == CU_STREAM_PER_THREAD {{\n        \
             // SAFETY: the caller's promise.\n        \
             return unsafe {{ {}(default_stream, {}) }};\n    }}",
            sibling.symbol,
            arguments.join(", ")
        ),
    );
}

/// Refuses a null output before anything is sent. Of several outputs each may be null.
fn outputs(text: &mut String, function: &Function) {
    let mut outputs = function.arguments.iter().filter(|a| a.output().is_some());
    if let (Some(only), None) = (outputs.next(), outputs.next()) {
        line(
            text,
            &format!(
                "    if {}.is_null() {{\n        \
                 return Err(CUresult::CUDA_ERROR_INVALID_VALUE);\n    }}",
                only.name
            ),
        );
    }
}

/// Looks the handles up and decides on the context; the words of the command.
fn inputs(text: &mut String, function: &Function) -> String {
    let mut words = Vec::new();
    // The first that is there decides which context is current for the command.
    let (mut stream, mut event, mut has_device) = (false, None, false);
    for argument in function.arguments.iter().filter(|a| a.output().is_none()) {
        let name = &argument.name;
        let (setup, word) = match argument.ty.as_str() {
            "CUstream" => {
                stream = true;
                (
                    format!("let stream = session.stream(default_stream, {name})?;"),
                    "u64::from(stream.number)".to_owned(),
                )
            }
            "CUevent" => {
                let variable = if event.is_none() { "event" } else { "event2" };
                event.get_or_insert("event");
                (
                    format!("let {variable} = session.event({name})?;"),
                    format!("u64::from({variable}.0.number())"),
                )
            }
            "CUfunction" => (
                format!("let kernel = session.kernel({name}.0)?;"),
                "kernel.number.to_word()".to_owned(),
            ),
            "CUkernel" => (
                format!("let kernel = session.library_kernel({name})?;"),
                "kernel.number.to_word()".to_owned(),
            ),
            "CUcontext" => (
                format!("let {name} = session.contexts.find({name})?;"),
                format!("u64::from({name}.number)"),
            ),
            "CUdevice" => {
                has_device = true;
                (
                    format!("session.device({name})?;"),
                    format!("{name}.to_word()"),
                )
            }
            _ => (String::new(), format!("{name}.to_word()")),
        };
        if !setup.is_empty() {
            line(text, &format!("    {setup}"));
        }
        words.push(word);
    }
    let context = match (stream, event, has_device) {
        (true, ..) => "stream.context",
        (_, Some(_), _) => "event.1.context",
        (.., true) => "session.current_number()",
        _ => "session.current()?.number",
    };
    line(text, &format!("    let context = {context};"));
    words.join(", ")
}

/// Writes the outputs.
fn results(text: &mut String, function: &Function, is_posted: bool) {
    let outputs = function.arguments.iter().filter(|a| a.output().is_some());
    let mut count = 0;
    for (index, output) in outputs.enumerate() {
        assert!(!is_posted, "{} answers nothing", function.symbol);
        line(
            text,
            &format!(
                "    // SAFETY: null, or valid for writing by the caller's promise.\n    \
                 unsafe {{ write(&reply, {index}, {}) }}?;",
                output.name
            ),
        );
        count += 1;
    }
    if count == 0 && !is_posted {
        line(text, "    drop(reply);");
    }
}

fn line(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("a string takes all text");
}
