// SPDX-License-Identifier: Apache-2.0
//! CuPy on the software device, straight and through a backend: `tests/cupy/check.py` compares what
//! it computes with NumPy.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};

use crate::process;
use crate::product;
use crate::python::{self, Device, Way};
use crate::scratch::Scratch;
use crate::steps::Tally;
use crate::workspace::Workspace;

const FOLDER: &str = "tests/cupy";
const LIMIT: Duration = Duration::from_secs(20 * 60);

/// The step of `cargo xtask test`.
pub(crate) fn step(workspace: &Workspace, tally: &mut Tally) -> Result<()> {
    let product = product::build(workspace)?;
    let folder = workspace.root().join(FOLDER);
    let python = python::environment(
        "cupy",
        "CuPy (about 500 MB on disk)",
        &folder.join("requirements.txt"),
    )?;
    // CuPy keeps what it compiles; a fresh folder makes every run compile it once.
    let compiled = Scratch::temporary("cupy")?;
    let headers = headers(&python)?;
    for way in [Way::Straight, Way::Remoted] {
        println!("CuPy, {}", way.name());
        let device = Device::new(&product, way)?;
        let mut command = Command::new(&python);
        command
            .arg(folder.join("check.py"))
            .env("LD_LIBRARY_PATH", device.folder.path())
            .env("CUPY_COMPILE_WITH_PTX", "1")
            .env("CUPY_CACHE_DIR", compiled.path())
            .env("CUDA_PATH", &headers)
            .env_remove("GVIRTUS_ENDPOINT");
        if let Some(backend) = &device.backend {
            command.env("GVIRTUS_ENDPOINT", backend.endpoint());
        }
        let mut closing = None;
        let outcome = process::tee(&mut command, LIMIT, |line| {
            closing = python::counts(line).or(closing);
        })?;
        tally.add_counts(closing.ok_or_else(|| anyhow!("no check ran"))?);
        ensure!(
            outcome.success(),
            "CuPy does not compute what NumPy does, {}",
            way.name()
        );
    }
    Ok(())
}

/// The folder that holds `include/` with CUDA's headers, beside the packages.
fn headers(python: &std::path::Path) -> Result<String> {
    let home = python::packages(python)?.join("nvidia/cu13");
    Ok(home.display().to_string())
}
