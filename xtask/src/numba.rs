// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask numba`: numba-cuda's own tests, straight on the software device and through a
//! backend. `tests/numba/run.py` runs them and compares; here is what it needs: a virtual
//! environment in the user's cache folder, the built product, a backend.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use crate::process;
use crate::product::{self, Backend, Product};
use crate::scratch::{self, Scratch};
use crate::steps::Tally;
use crate::terminal;
use crate::toolkit::{cache_folder, sibling};
use crate::workspace::Workspace;

const FOLDER: &str = "tests/numba";
const INSTALL_LIMIT: Duration = Duration::from_secs(20 * 60);
const SUITE_LIMIT: Duration = Duration::from_secs(60 * 60);
const QUERY_LIMIT: Duration = Duration::from_secs(60);

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

/// How the tests reach the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Way {
    /// In the same process.
    Straight,
    /// Through the client library and a backend.
    Remoted,
}

impl Way {
    const fn name(self) -> &'static str {
        match self {
            Self::Straight => "straight",
            Self::Remoted => "remoted",
        }
    }
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
    let python = environment(workspace)?;
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
    let scratch = Scratch::temporary(&format!("numba-{}", way.name()))?;
    let library = match way {
        Way::Straight => &product.softgpu,
        Way::Remoted => &product.shim,
    };
    symlink(library, scratch.path().join("libcuda.so.1")).context("cannot make a link")?;
    let backend = match way {
        Way::Straight => None,
        Way::Remoted => Some(Backend::start(&product.gvirtus)?),
    };
    let mut command = Command::new(python);
    command
        .arg(workspace.root().join(FOLDER).join("run.py"))
        .arg("--library")
        .arg(scratch.path())
        .args(["--jobs", &options.jobs.to_string()])
        .env_remove("GVIRTUS_ENDPOINT");
    if let Some(backend) = &backend {
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
        closing = counts(line).or(closing);
    })?;
    let closing = closing.ok_or_else(|| anyhow!("{}: no test ran", way.name()))?;
    tally.add_counts(closing);
    Ok(outcome.success())
}

/// The numbers of `N passed, N failed, N skipped`.
fn counts(line: &str) -> Option<[u64; 3]> {
    let mut numbers = [0; 3];
    let mut parts = line.split(", ");
    for (number, what) in numbers.iter_mut().zip(["passed", "failed", "skipped"]) {
        let (count, name) = parts.next()?.split_once(' ')?;
        if name != what {
            return None;
        }
        *number = count.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

/// The interpreter of a virtual environment with numba-cuda in it, made first if there is none.
fn environment(workspace: &Workspace) -> Result<PathBuf> {
    let requirements = workspace.root().join(FOLDER).join("requirements.txt");
    let text = fs::read_to_string(&requirements)
        .with_context(|| format!("cannot read {}", requirements.display()))?;
    let system = process::on_path("python3").ok_or_else(|| {
        anyhow!("there is no python3 on PATH (on Debian or Ubuntu: apt-get install python3-venv)")
    })?;
    let version = process::capture(Command::new(&system).arg("--version"), QUERY_LIMIT)?;
    let mut key = DefaultHasher::new();
    (&text, version.trim()).hash(&mut key);
    let place = cache_folder()?.join(format!("numba-{:016x}", key.finish()));
    if !place.exists() {
        install(&system, &requirements, &place)?;
    }
    Ok(place.join("bin/python"))
}

/// Installs into a sibling of `place` and renames it, so that `place` is whole whenever it exists.
fn install(system: &Path, requirements: &Path, place: &Path) -> Result<()> {
    let parent = place.parent().context("the cache folder has a parent")?;
    fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    let _lock = scratch::lock(
        &sibling(place, "lock"),
        "another process that installs numba-cuda",
    )?;
    if place.exists() {
        return Ok(());
    }
    println!(
        "Installing numba-cuda and its tests from PyPI into {}: about 1 GB on disk, once.",
        place.display()
    );
    let start = Instant::now();
    let scratch = Scratch::create(sibling(place, "partial"))?;
    let folder = scratch.path().join("venv");
    process::require(
        Command::new(system).args(["-m", "venv"]).arg(&folder),
        INSTALL_LIMIT,
    )?;
    let mut pip = Command::new(folder.join("bin/python"));
    pip.args(["-m", "pip", "install", "--no-input", "--quiet"])
        .args(["--disable-pip-version-check", "--no-cache-dir"])
        .args(["--only-binary", ":all:", "--requirement"])
        .arg(requirements)
        .env("PIP_USER", "0");
    process::require(&mut pip, INSTALL_LIMIT)
        .context("pip could not install numba-cuda; it needs PyPI, or a mirror in PIP_INDEX_URL")?;
    fs::rename(&folder, place).with_context(|| format!("cannot rename to {}", place.display()))?;
    println!("  done in {}", terminal::seconds(start.elapsed()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_closing_line_has_counts() {
        assert_eq!(counts("12 passed, 0 failed, 3 skipped"), Some([12, 0, 3]));
        for line in [
            "12 passed, 0 failed",
            "x: 12 passed, 0 failed, 3 skipped",
            "",
        ] {
            assert_eq!(counts(line), None);
        }
    }
}
