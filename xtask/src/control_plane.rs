// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask test --only control-plane`: manifests, webhook and broker on a real control plane.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::go_programs;
use crate::process;
use crate::steps::Tally;
use crate::workspace::Workspace;

/// The programs of a cluster and their tests. They are built together: fewer of them would make
/// dependencies with fewer features, and compile these once more.
const PACKAGES: [&str; 6] = [
    "gvirtus",
    "gvirtus-cluster",
    "gvirtus-controlplane-tests",
    "gvirtus-device-plugin",
    "gvirtus-softgpu",
    "gvirtus-webhook",
];
const BUILD_LIMIT: Duration = Duration::from_secs(40 * 60);
const LIMIT: Duration = Duration::from_secs(20 * 60);

/// The step of `cargo xtask test`.
pub(crate) fn step(workspace: &Workspace, tally: &mut Tally) -> Result<()> {
    let programs = match go_programs::control_plane(workspace) {
        Ok(programs) => programs,
        Err(error) if !process::interrupted() => {
            println!("skipped, for want of a control plane: {error:#}");
            tally.add_counts([0, 0, 1]);
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    build(workspace)?;
    let release = workspace.release();
    let mut tests = Command::new(release.join("gvirtus-controlplane-tests"));
    tests
        .arg("--programs")
        .arg(programs)
        .arg("--product")
        .arg(&release)
        .arg("--repository")
        .arg(workspace.root());
    let outcome = process::tee(&mut tests, LIMIT, |line| tally.add(line))?;
    ensure!(outcome.success(), "the control plane: {outcome}");
    Ok(())
}

/// Builds the programs of a cluster and their tests.
pub(crate) fn build(workspace: &Workspace) -> Result<()> {
    let mut build = workspace.cargo();
    build.args(["build", "--release", "--locked"]);
    for package in PACKAGES {
        build.args(["--package", package]);
    }
    process::require(&mut build, BUILD_LIMIT)
}
