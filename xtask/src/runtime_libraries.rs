// SPDX-License-Identifier: Apache-2.0
//! Links `libcudart.so.11.0`, `.12` and `.13` from our runtime: cargo cannot give symbols versions.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use gvirtus_runtime_abi::codegen::{trampolines, version_script};
use gvirtus_runtime_abi::table::{RELEASES, Release};

use crate::process;

const LIMIT: Duration = Duration::from_secs(5 * 60);

/// What the Rust standard library needs of the system.
const SYSTEM_LIBRARIES: [&str; 5] = ["-lgcc_s", "-lpthread", "-ldl", "-lm", "-lc"];

/// Links the library of each release from `archive` into `folder`, under its own name.
pub(crate) fn link(archive: &Path, folder: &Path) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    RELEASES
        .into_iter()
        .map(|release| link_one(archive, folder, release))
        .collect()
}

fn link_one(archive: &Path, folder: &Path, release: Release) -> Result<PathBuf> {
    let library = folder.join(release.soname());
    let write = |extension: &str, text: String| -> Result<PathBuf> {
        let path = folder.join(format!("{}.{extension}", release.soname()));
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    };
    let assembly = write("s", trampolines(&[release]))?;
    let script = write("map", version_script(&[release], &[]))?;
    let mut command = Command::new("cc");
    command
        .args([
            "-shared",
            "-nostartfiles",
            "-Wl,--gc-sections",
            "-Wl,-z,nodelete",
        ])
        .arg(format!("-Wl,-soname,{}", release.soname()))
        .arg(format!("-Wl,--version-script={}", script.display()))
        .arg("-o")
        .arg(&library)
        .arg(&assembly)
        .arg(archive)
        .args(SYSTEM_LIBRARIES);
    process::require(&mut command, LIMIT)?;
    Ok(library)
}
