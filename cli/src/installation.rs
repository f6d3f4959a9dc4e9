// SPDX-License-Identifier: Apache-2.0
//! Where the client library is: beside the program in cargo's target folder, or installed.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// What a build leaves beside the program.
const BUILT: &str = "libgvirtus_cuda.so";

/// The same for NVML.
const BUILT_MANAGEMENT: &str = "libgvirtus_nvml_shim.so";

/// What an installation holds, relative to the program's folder.
const INSTALLED: &str = "../lib/gvirtus/shim";

/// The CUDA runtimes, where a build leaves them and in an installation.
const BUILT_RUNTIMES: &str = "cudart";
const INSTALLED_RUNTIMES: &str = "../lib/gvirtus/cudart";

/// The name by which programs open CUDA's driver.
const SONAME: &str = "libcuda.so.1";

/// The name by which programs open NVML.
const MANAGEMENT_SONAME: &str = "libnvidia-ml.so.1";

/// This program.
pub(crate) fn program() -> Result<PathBuf> {
    std::env::current_exe().context("cannot find the path of this program")
}

/// The client library.
pub(crate) fn client_library() -> Result<PathBuf> {
    let program = program()?;
    let folder = program.parent().unwrap_or(Path::new("/"));
    let candidates = [folder.join(INSTALLED).join(SONAME), folder.join(BUILT)];
    match candidates.iter().find(|path| path.exists()) {
        Some(path) => Ok(path.canonicalize()?),
        None => bail!(
            "cannot find the client library: neither {} nor {} exists; build it with \
             `cargo build --release --workspace`, or install bin/ and lib/ together",
            candidates[0].display(),
            candidates[1].display(),
        ),
    }
}

/// The folder with our CUDA runtimes.
pub(crate) fn runtime_folder() -> Result<PathBuf> {
    let program = program()?;
    let folder = program.parent().unwrap_or(Path::new("/"));
    let candidates = [folder.join(INSTALLED_RUNTIMES), folder.join(BUILT_RUNTIMES)];
    match candidates.iter().find(|path| path.exists()) {
        Some(path) => Ok(path.canonicalize()?),
        None => bail!(
            "cannot find the CUDA runtimes: neither {} nor {} exists; build them with \
             `cargo xtask build`, or install bin/ and lib/ together",
            candidates[0].display(),
            candidates[1].display(),
        ),
    }
}

/// A folder for `LD_LIBRARY_PATH` that holds the client libraries of CUDA and NVML under their
/// sonames: the installed one, or `scratch/lib` with links.
pub(crate) fn client_library_folder(scratch: &Path) -> Result<PathBuf> {
    let library = client_library()?;
    if library.file_name().is_some_and(|name| name == SONAME) {
        return Ok(library.parent().unwrap_or(Path::new("/")).to_owned());
    }
    let folder = scratch.join("lib");
    std::fs::create_dir(&folder)?;
    for name in [SONAME, "libcuda.so"] {
        std::os::unix::fs::symlink(&library, folder.join(name))?;
    }
    let management = library.with_file_name(BUILT_MANAGEMENT);
    if !management.exists() {
        bail!(
            "cannot find {}; build it with `cargo build --release --workspace`",
            management.display()
        );
    }
    std::os::unix::fs::symlink(&management, folder.join(MANAGEMENT_SONAME))?;
    Ok(folder)
}
