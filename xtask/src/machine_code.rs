// SPDX-License-Identifier: Apache-2.0
//! Whether the compiler put stray bits into a register of our code.
//!
//! LLVM before its pull request 205600 may join a loaded 8- or 16-bit value with other bits in a
//! 64-bit register and leave the upper half of that register as it was. The sign of it is a load
//! of memory into a part of a register, which compilers otherwise avoid (they extend). None of our
//! functions has one; one that does is a wrong answer for some callers, so it is an error.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::steps::Tally;
use crate::workspace::Workspace;
use crate::{process, product};

/// Longer than a disassembly of the largest library takes.
const LIMIT: Duration = Duration::from_secs(300);
/// What the symbols of our functions contain.
const OURS: &str = "gvirtus";

/// The step of `cargo xtask test`.
pub(crate) fn step(workspace: &Workspace, tally: &mut Tally) -> Result<()> {
    let product = product::build(workspace)?;
    for file in [
        &product.gvirtus,
        &product.shim,
        &product.softgpu,
        &product.preload,
    ] {
        let functions = functions_with_partial_loads(file)?;
        ensure!(
            functions.is_empty(),
            "{}: the compiler loads parts of registers in these functions, which may be LLVM's \
             fault of pull request 205600: write them so that no small value and no padding is \
             joined with a larger one, or use a newer compiler\n{}",
            file.display(),
            functions.join("\n")
        );
        println!("{}: no load of a part of a register", file.display());
        tally.add_counts([1, 0, 0]);
    }
    Ok(())
}

/// Names of our functions in which memory is loaded into 8 or 16 bits of a register.
fn functions_with_partial_loads(file: &Path) -> Result<Vec<String>> {
    if !cfg!(target_arch = "x86_64") {
        return Ok(Vec::new());
    }
    let mut command = Command::new("objdump");
    command
        .args(["--disassemble", "--no-show-raw-insn", "--demangle"])
        .arg(file);
    let mut function = String::new();
    let mut found = Vec::new();
    let mut instructions = 0_u64;
    let outcome = process::lines(&mut command, LIMIT, |_, line| {
        if let Some((_, name)) = line.split_once(" <").filter(|_| line.ends_with(">:")) {
            name.trim_end_matches(">:").clone_into(&mut function);
        } else if let Some((_, instruction)) = line.split_once(":\t") {
            instructions += 1;
            if function.contains(OURS) && is_partial_load(instruction) {
                found.push(format!("{function}: {instruction}"));
            }
        }
    })?;
    ensure!(
        outcome.success(),
        "{}: {outcome}",
        process::describe(&command)
    );
    ensure!(
        instructions > 0,
        "{}: objdump shows no instruction",
        file.display()
    );
    Ok(found)
}

/// Whether an instruction in AT&T's syntax is a `mov` from memory to 8 or 16 bits of a register.
fn is_partial_load(instruction: &str) -> bool {
    let Some((from, to)) = instruction
        .strip_prefix("mov ")
        .and_then(|operands| operands.trim().rsplit_once(",%"))
    else {
        return false;
    };
    let is_part = match to.strip_prefix('r') {
        Some(numbered) => numbered.ends_with(['w', 'b']),
        None => to.len() == 2 || to.ends_with("il") || to == "bpl" || to == "spl",
    };
    is_part && from.ends_with(')')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_of_parts_of_registers_are_found() {
        for line in [
            "mov    0x3c(%r15),%r12w",
            "mov    0x220(%rsp,%rax,1),%al",
            "mov    (%rdi),%si",
            "mov    (%rdi),%sil",
            "mov    0x8(%rax),%r9b",
        ] {
            assert!(is_partial_load(line), "{line}");
        }
        for line in [
            "mov    0x3c(%r15),%r12d",
            "mov    0x3c(%r15),%rax",
            "mov    (%rdi),%esi",
            "movzwl 0x3c(%r15),%edx",
            "mov    %r12w,0x3c(%r15)",
            "mov    $0x1,%al",
            "mov    %bl,%al",
        ] {
            assert!(!is_partial_load(line), "{line}");
        }
    }
}
