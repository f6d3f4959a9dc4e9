// SPDX-License-Identifier: Apache-2.0
//! Opcodes, regular call shapes and the table hash, made from the call table.

use std::fmt::Write as _;
use std::path::Path;

use gvirtus_abi::table::{Function, Travel, driver_api};
use gvirtus_nvml_abi::table::NVML;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let functions = driver_api();
    let mut text = String::new();
    let mut names = String::new();
    let mut shapes = String::new();
    let mut posted = Vec::new();
    let mut hash = Fnv::new();
    for function in &functions {
        let Some(opcode) = function.travel.opcode() else {
            continue;
        };
        let symbol = &function.symbol;
        write!(
            text,
            "/// The message of `{symbol}`.\npub const {symbol}: Opcode = Opcode({opcode:#06x});\n"
        )
        .expect("a string takes all text");
        writeln!(names, "        {opcode:#06x} => Some({symbol:?}),")
            .expect("a string takes all text");
        if matches!(function.travel, Travel::Posted(_)) {
            posted.push(format!("{opcode:#06x}"));
        }
        if matches!(function.travel, Travel::Posted(_) | Travel::Sync(_)) {
            let outputs = function
                .arguments
                .iter()
                .filter(|a| a.output().is_some())
                .count();
            let inputs = function.arguments.len() - outputs;
            writeln!(
                shapes,
                "        {opcode:#06x} => Some(Shape {{ inputs: {inputs}, outputs: {outputs} }}),"
            )
            .expect("a string takes all text");
        }
        hash.row(function, opcode);
    }
    hash.bytes(NVML.as_bytes());
    write!(
        text,
        "pub(crate) const fn table_name(opcode: u16) -> Option<&'static str> {{\n    match opcode {{\n{names}        \
         _ => None,\n    }}\n}}\n\npub(crate) const fn table_shape(opcode: u16) -> Option<Shape> {{\n    match opcode {{\n{shapes}        \
         _ => None,\n    }}\n}}\n\n#[allow(clippy::manual_range_patterns, reason = \"the numbers are a list\")]\npub(crate) const fn table_posted(opcode: u16) -> bool {{\n    matches!(opcode, {posted})\n}}\n\n/// Changes whenever a row that travels changes: both sides must have been built from the same table.\n\
         pub const TABLE_HASH: u64 = {:#018x};\n",
        hash.0,
        posted = posted.join(" | "),
    )
    .expect("a string takes all text");
    let folder = std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR");
    std::fs::write(Path::new(&folder).join("opcodes.rs"), text).expect("OUT_DIR can be written");
}

/// FNV-1a, 64 bits.
struct Fnv(u64);

impl Fnv {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn row(&mut self, function: &Function, opcode: u16) {
        self.bytes(&opcode.to_le_bytes());
        self.bytes(function.symbol.as_bytes());
        for argument in &function.arguments {
            self.bytes(argument.ty.as_bytes());
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
