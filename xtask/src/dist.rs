// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask dist`: a folder that shows the product on a machine with nothing but a driver.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::architecture::Tools;
use crate::examples::{self, Flavour};
use crate::process;
use crate::product;
use crate::terminal;
use crate::toolkit;
use crate::workspace::Workspace;

/// What the folder may weigh.
const MAXIMUM_BYTES: u64 = 60 << 20;
const STRIP_LIMIT: Duration = Duration::from_secs(60);
const CHECK_LIMIT: Duration = Duration::from_secs(20 * 60);

const GPU_CHECK: &str = "xtask/assets/gpu-check";
const GPU_CHECK_PROGRAMS: &str = "xtask/assets/gpu_check_programs.py";
const GPU_PROGRAMS: &str = "xtask/assets/gpu-programs";
const README: &str = "xtask/assets/dist-README.md";

/// `cargo xtask dist`.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    assemble(workspace).map(drop)
}

/// `cargo xtask dist --check`: assembles, and proves the folder on this machine.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let folder = assemble(workspace)?;
    let report = workspace.compiled_examples().join("gpu-check");
    process::require(
        Command::new(folder.join("gpu-check"))
            .arg("--quick")
            .arg("--out")
            .arg(report),
        CHECK_LIMIT,
    )
}

/// Builds everything into `dist/` and returns the folder.
fn assemble(workspace: &Workspace) -> Result<PathBuf> {
    let product = product::build(workspace)?;
    let toolkit = toolkit::get()?;
    let examples = examples::compile(workspace, &toolkit, &Flavour::plain(workspace))?;
    let folder = workspace.root().join("dist");
    if folder.exists() {
        fs::remove_dir_all(&folder)
            .with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    let put = |from: &Path, to: &str| copy(from, &folder.join(to));
    let stripped =
        |from: &Path, to: &str| put(from, to).and_then(|path| strip(workspace.tools(), &path));
    stripped(&product.gvirtus, "bin/gvirtus")?;
    for (library, name) in [(&product.shim, "shim"), (&product.softgpu, "softgpu")] {
        stripped(library, &format!("lib/gvirtus/{name}/libcuda.so.1"))?;
        // Some programs open the driver by the name that is meant for linking.
        symlink(
            "libcuda.so.1",
            folder.join(format!("lib/gvirtus/{name}/libcuda.so")),
        )
        .context("cannot link libcuda.so")?;
    }
    stripped(&product.management, "lib/gvirtus/shim/libnvidia-ml.so.1")?;
    for runtime in &product.runtimes {
        let name = runtime.file_name().unwrap_or_default().to_string_lossy();
        stripped(runtime, &format!("lib/gvirtus/cudart/{name}"))?;
    }
    stripped(&product.preload, "lib/gvirtus/preload/libgvirtus.so")?;
    stripped(&product.cudarc_example, "examples/cudarc")?;
    // A hundred programs with a runtime each would not be easy to carry.
    for example in &examples {
        let program = example.shared.as_ref().unwrap_or(&example.program);
        stripped(program, &format!("examples/{}", example.name))?;
    }
    let root = workspace.root();
    put(&root.join(GPU_CHECK), "gpu-check")?;
    put(&root.join(GPU_CHECK_PROGRAMS), "gpu_check_programs.py")?;
    for program in files(&root.join(GPU_PROGRAMS))? {
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        put(&program, &format!("gpu-programs/{name}"))?;
    }
    put(&root.join(README), "README.md")?;
    put(&root.join("LICENSE"), "LICENSE")?;
    let size = size(&folder)?;
    println!("{} ({})", folder.display(), terminal::bytes(size));
    ensure!(
        size <= MAXIMUM_BYTES,
        "{} weighs {}, more than {}",
        folder.display(),
        terminal::bytes(size),
        terminal::bytes(MAXIMUM_BYTES)
    );
    Ok(folder)
}

/// The files in a folder.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.context("cannot read a folder")?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn copy(from: &Path, to: &Path) -> Result<PathBuf> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
    }
    fs::copy(from, to)
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(to.to_owned())
}

/// Takes from a program or library what only a debugger needs.
pub(crate) fn strip(tools: Tools, path: &Path) -> Result<()> {
    process::require(
        Command::new(tools.strip())
            .arg("--strip-unneeded")
            .arg(path),
        STRIP_LIMIT,
    )
}

/// The sum of the sizes of all files below `folder`.
fn size(folder: &Path) -> Result<u64> {
    let mut total = 0;
    for entry in
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?
    {
        let entry = entry.context("cannot read a folder")?;
        let metadata = entry.metadata().context("cannot read a file's size")?;
        total += if metadata.is_dir() {
            size(&entry.path())?
        } else {
            metadata.len()
        };
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_counts_what_lies_deeper() {
        let folder = tempfile::tempdir().expect("temporary folder");
        copy(
            Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")),
            &folder.path().join("a/b/c"),
        )
        .expect("copied");
        fs::write(folder.path().join("d"), [0; 100]).expect("written");
        let manifest = include_str!("../Cargo.toml").len() as u64;
        assert_eq!(size(folder.path()).expect("readable"), manifest + 100);
    }
}
