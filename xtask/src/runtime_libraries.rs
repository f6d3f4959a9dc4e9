// SPDX-License-Identifier: Apache-2.0
//! Links `libcudart.so.11.0`, `.12` and `.13`, and the library for `LD_PRELOAD`, from our runtime:
//! cargo cannot give symbols versions.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use gvirtus_runtime_abi::codegen::{trampolines, version_script};
use gvirtus_runtime_abi::table::{RELEASES, Release};

use crate::architecture::Tools;
use crate::process;

const LIMIT: Duration = Duration::from_secs(5 * 60);

/// What the Rust standard library needs of the system.
const SYSTEM_LIBRARIES: [&str; 5] = ["-lgcc_s", "-lpthread", "-ldl", "-lm", "-lc"];

/// The library for `LD_PRELOAD`.
const PRELOAD: &str = "libgvirtus.so";

/// Links the library of each release from `archive` into `folder`, under its own name.
pub(crate) fn link(tools: Tools, archive: &Path, folder: &Path) -> Result<Vec<PathBuf>> {
    RELEASES
        .into_iter()
        .map(|release| link_one(tools, archive, folder, release))
        .collect()
}

fn link_one(tools: Tools, archive: &Path, folder: &Path, release: Release) -> Result<PathBuf> {
    let library = Library {
        name: release.soname(),
        tools,
        assembly: trampolines(&[release], tools.machine()),
        script: version_script(&[release], &[]),
        // What the trampolines need of the archive.
        archive: vec![archive.as_os_str().to_owned()],
    };
    library.link(folder)
}

/// Links the library for `LD_PRELOAD`, which has all releases, the driver API and NVML, into
/// `folder`.
pub(crate) fn link_preload(tools: Tools, archive: &Path, folder: &Path) -> Result<PathBuf> {
    let library = Library {
        name: PRELOAD,
        tools,
        assembly: trampolines(&RELEASES, tools.machine()),
        script: version_script(&RELEASES, &["cu*", "nvml*"]),
        archive: vec![
            "-Wl,--whole-archive".into(),
            archive.as_os_str().to_owned(),
            "-Wl,--no-whole-archive".into(),
        ],
    };
    library.link(folder)
}

/// What the linker makes a library from.
struct Library<'a> {
    tools: Tools,
    name: &'a str,
    assembly: String,
    script: String,
    archive: Vec<OsString>,
}

impl Library<'_> {
    fn link(&self, folder: &Path) -> Result<PathBuf> {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let library = folder.join(self.name);
        let write = |extension: &str, text: &str| -> Result<PathBuf> {
            let path = folder.join(format!("{}.{extension}", self.name));
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            Ok(path)
        };
        let assembly = write("s", &self.assembly)?;
        let script = write("map", &self.script)?;
        let mut command = Command::new(self.tools.compiler());
        command
            .args(["-shared", "-Wl,--gc-sections"])
            .arg("-Wl,-z,nodelete")
            .arg(format!("-Wl,-soname,{}", self.name))
            .arg(format!("-Wl,--version-script={}", script.display()))
            .arg("-o")
            .arg(&library)
            .arg(&assembly)
            .args(&self.archive)
            .args(SYSTEM_LIBRARIES);
        process::require(&mut command, LIMIT)?;
        Ok(library)
    }
}
