// SPDX-License-Identifier: Apache-2.0
//! Random kernels that go through CUDA C and its compiler.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::cuda;
use super::generate::{Choices, Target, generate};
use super::program::Program;
use super::random::Random;
use super::types::Table;

/// Products and sums stay apart, as the trees have them; the cheapest architecture with `redux`.
const FLAGS: [&str; 3] = ["-ptx", "-fmad=false", "-arch=compute_80"];

/// The programs of a seed.
pub(crate) fn programs(table: &Table, seed: u64, count: u32) -> Vec<Program> {
    let choices = Choices::new(table, Target::Cuda);
    let mut seeds = Random(!seed);
    (0..count)
        .map(|_| generate(table, &choices, seeds.next()))
        .collect()
}

/// Writes and compiles the programs of a seed; answers where the PTX is.
pub(crate) fn compile(nvcc: &Path, seed: u64, count: u32) -> Result<PathBuf, String> {
    let table = Table::new();
    let text = cuda::write(&programs(&table, seed, count), &table);
    let folder = std::env::temp_dir().join(format!("gvirtus-differential-{}", std::process::id()));
    let source = folder.join(format!("{seed:016x}.cu"));
    let compiled = source.with_extension("ptx");
    std::fs::create_dir_all(&folder)
        .and_then(|()| std::fs::write(&source, text))
        .map_err(|error| format!("cannot write {}: {error}", source.display()))?;
    let output = Command::new(nvcc)
        .args(FLAGS)
        .args(["--disable-warnings", "-o"])
        .args([&compiled, &source])
        .output()
        .map_err(|error| format!("cannot run {}: {error}", nvcc.display()))?;
    if output.status.success() {
        return Ok(compiled);
    }
    Err(format!(
        "{} does not compile:\n{}",
        source.display(),
        String::from_utf8_lossy(&output.stderr)
    ))
}
