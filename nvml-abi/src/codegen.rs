// SPDX-License-Identifier: Apache-2.0
//! From the table to source text: the functions that `libnvidia-ml.so.1` exports.

use std::fmt::Write as _;

use crate::table::{Kind, Travel, functions};

/// The source text of all functions but those that are answered locally, which are written by hand.
///
/// `<handlers>::query(number, &words)` answers for those that travel: each C argument is a word, of
/// which a number of 32 bits is the lower half. `<handlers>::unsupported(number)` answers for the
/// others. All return a `Status`.
pub fn exports(handlers: &str) -> String {
    let mut text = String::from("// Made from the table of NVML by gvirtus_nvml_abi::codegen.\n\n");
    for (number, function) in functions().iter().enumerate() {
        let symbol = function.symbol;
        let (parameters, body) = match function.travel {
            Travel::Local => continue,
            Travel::Unsupported => (String::new(), format!("{handlers}::unsupported({number})")),
            Travel::Query => {
                let arguments = function.arguments.iter().enumerate();
                let (parameters, words): (Vec<String>, Vec<String>) = arguments
                    .map(|(i, kind)| match kind {
                        Kind::U32 | Kind::Pid => (format!("a{i}: u32"), format!("a{i} as usize")),
                        Kind::U64 => (format!("a{i}: u64"), format!("a{i} as usize")),
                        _ => (format!("a{i}: usize"), format!("a{i}")),
                    })
                    .unzip();
                let call = format!(
                    "// SAFETY: the C caller's promise, passed on.\n    \
                     unsafe {{ {handlers}::query({number}, &[{}]) }}",
                    words.join(", ")
                );
                (parameters.join(", "), call)
            }
        };
        let _ = writeln!(
            text,
            "#[unsafe(no_mangle)]\n\
             pub unsafe extern \"C\" fn {symbol}({parameters}) -> Status {{\n    {body}\n}}"
        );
    }
    text
}

/// The source text of the functions that an NVML has not `implemented`: exports that evaluate
/// `answer`, an expression of the type `result`. Those that are answered locally are not among
/// them: not all answer a status.
pub fn remaining(implemented: impl Fn(&str) -> bool, answer: &str, result: &str) -> String {
    let mut text = String::from("// Made from the table of NVML by gvirtus_nvml_abi::codegen.\n\n");
    let others = functions().iter().filter(|f| f.travel != Travel::Local);
    for symbol in others
        .map(|f| f.symbol)
        .filter(|symbol| !implemented(symbol))
    {
        let _ = writeln!(
            text,
            "#[unsafe(no_mangle)]\npub extern \"C\" fn {symbol}() -> {result} {{\n    {answer}\n}}"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exports_have_the_arguments_of_the_table() {
        let text = exports("handlers");
        assert!(text.contains(
            "extern \"C\" fn nvmlDeviceGetName(a0: usize, a1: usize, a2: u32) -> Status"
        ));
        assert!(text.contains("extern \"C\" fn nvmlDeviceSetMigMode() -> Status"));
        assert!(!text.contains("fn nvmlInit_v2("));
    }

    #[test]
    fn what_remains_is_what_is_not_implemented() {
        let text = remaining(|symbol| symbol == "nvmlDeviceGetName", "answer()", "u32");
        assert!(!text.contains("fn nvmlDeviceGetName("));
        assert!(text.contains("fn nvmlDeviceGetFanSpeed() -> u32 {\n    answer()\n}"));
    }
}
