// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask numba`: numba-cuda's own tests, straight on the software device and through a
//! backend. `tests/numba/run.py` runs them and compares; here is what it needs: a virtual
//! environment in the user's cache folder, the built product, a backend.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};

use crate::process;
use crate::product::{self, Product};
use crate::python::{self, Device, Way};
use crate::steps::Tally;
use crate::workspace::Workspace;

const FOLDER: &str = "tests/numba";
const SUITE_LIMIT: Duration = Duration::from_secs(60 * 60);

/// What to run.
#[derive(clap::Args, Default)]
pub(crate) struct Options {
    /// Only straight on the software device, or only through a backend.
    #[arg(long, value_enum)]
    only: Option<Way>,
    /// Write the outcome of each test to FOLDER/straight.txt and FOLDER/remoted.txt, and the logs
    /// of pytest beside them.
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
    /// All files of tests through the backend too; else the longest ones run straight only.
    #[arg(long)]
    all: bool,
    /// Files of tests at once.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Only files of tests whose name contains one of these.
    patterns: Vec<String>,
}

/// The step of `cargo xtask test`.
pub(crate) fn step(workspace: &Workspace, tally: &mut Tally) -> Result<()> {
    let options = Options {
        jobs: 2,
        ..Options::default()
    };
    suite(workspace, &options, tally)
}

/// `cargo xtask numba`.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let mut tally = Tally::default();
    let result = suite(workspace, options, &mut tally);
    println!("\n{}", tally.closing());
    result
}

fn suite(workspace: &Workspace, options: &Options, tally: &mut Tally) -> Result<()> {
    let product = product::build(workspace)?;
    let python = python::environment(
        "numba",
        "numba-cuda and its tests (about 1 GB on disk)",
        &workspace.root().join(FOLDER).join("requirements.txt"),
    )?;
    let mut failed = Vec::new();
    for way in [Way::Straight, Way::Remoted] {
        if options.only.is_some_and(|only| only != way) {
            continue;
        }
        println!("numba-cuda's tests, {}", way.name());
        if !run_way(workspace, &product, &python, options, way, tally)? {
            failed.push(way.name());
        }
    }
    ensure!(
        failed.is_empty(),
        "numba-cuda's tests are not as expected: {}",
        failed.join(", ")
    );
    Ok(())
}

/// Whether all is as expected.
fn run_way(
    workspace: &Workspace,
    product: &Product,
    python: &Path,
    options: &Options,
    way: Way,
    tally: &mut Tally,
) -> Result<bool> {
    let device = Device::new(product, way)?;
    let mut command = Command::new(python);
    command
        .arg(workspace.root().join(FOLDER).join("run.py"))
        .arg("--library")
        .arg(device.folder.path())
        .args(["--jobs", &options.jobs.to_string()])
        .env_remove("GVIRTUS_ENDPOINT");
    if let Some(backend) = &device.backend {
        command.args(["--endpoint", backend.endpoint()]);
        if !options.all && options.patterns.is_empty() {
            command.arg("--short");
        }
    }
    if let Some(keep) = &options.keep {
        fs::create_dir_all(keep).with_context(|| format!("cannot create {}", keep.display()))?;
        let results = keep.join(format!("{}.txt", way.name()));
        command.arg("--logs").arg(keep.join(way.name()));
        command.arg("--write").arg(results);
    }
    command.args(&options.patterns);
    let mut closing = None;
    let outcome = process::tee(&mut command, SUITE_LIMIT, |line| {
        closing = python::counts(line).or(closing);
    })?;
    let closing = closing.ok_or_else(|| anyhow!("{}: no test ran", way.name()))?;
    tally.add_counts(closing);
    Ok(outcome.success())
}
