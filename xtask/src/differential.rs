// SPDX-License-Identifier: Apache-2.0
//! Random kernels on the software device against a plain evaluation, those of CUDA C too.

use std::time::Duration;

use anyhow::Result;

use crate::workspace::Workspace;
use crate::{process, toolkit};

const LIMIT: Duration = Duration::from_secs(60 * 60);

/// The step of `cargo xtask test`.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let toolkit = toolkit::get()?;
    let mut command = workspace.cargo();
    command
        .args(["test", "--locked", "--release"])
        .args(["--package", "gvirtus-softgpu", "--test", "differential"])
        .args(["--", "--nvcc"])
        .arg(&toolkit.nvcc);
    process::require(&mut command, LIMIT)
}
