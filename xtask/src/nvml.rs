// SPDX-License-Identifier: Apache-2.0
//! NVML: our `libnvidia-ml.so.1` exports what NVIDIA's header declares, and a Python program is
//! told the same by an NVML in its own process and through a backend. `tests/nvml/ask.py` asks; the
//! NVMLs are the software device's, and one of made-up devices that have all that it has not.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::nvidia_smi::{self, NvidiaSmi};
use crate::process;
use crate::product::{self, Backend, Product};
use crate::python;
use crate::scratch::Scratch;
use crate::steps::Tally;
use crate::workspace::Workspace;

const FOLDER: &str = "tests/nvml";
const GENERATOR: &str = "nvml-abi/generate/read_nvml_header.py";
const LIMIT: Duration = Duration::from_secs(5 * 60);
const BUILD_LIMIT: Duration = Duration::from_secs(20 * 60);

/// Exported by NVIDIA's library, but not declared like the others.
const UNDECLARED: [&str; 4] = [
    "nvmlErrorString",
    "nvmlGetBlacklistDeviceCount",
    "nvmlGetBlacklistDeviceInfoByIndex",
    "nvmlInternalGetExportTable",
];

/// The step of `cargo xtask test`.
pub(crate) fn step(workspace: &Workspace, tally: &mut Tally) -> Result<()> {
    let product = product::build(workspace)?;
    let fake = build_fake(workspace)?;
    let folder = workspace.root().join(FOLDER);
    let python = python::environment(
        "nvml",
        "nvidia-ml-py, nvml.h and libclang (about 120 MB on disk)",
        &folder.join("requirements.txt"),
    )?;
    compare_with_header(workspace, &product, &python)?;
    tally.add_counts([2, 0, 0]);
    for (name, nvml, options) in [
        ("the software device", &product.softgpu, &["--cuda"][..]),
        ("made-up devices", &fake, &["--steady"]),
    ] {
        let program = Program {
            python: &python,
            script: &folder.join("ask.py"),
            options,
        };
        let count = compare(&product, &program, nvml, name)?;
        println!("{name}: {count} answers are the same, straight and remoted");
        tally.add_counts([count, 0, 0]);
    }
    let smi = match nvidia_smi::get() {
        Ok(program) => program,
        Err(problem) => {
            println!("nvidia-smi is left out: {problem:#}");
            tally.add_counts([0, 0, 2]);
            return Ok(());
        }
    };
    for (name, nvml) in [
        ("the software device", &product.softgpu),
        ("made-up devices", &fake),
    ] {
        let device = Device::new(&product, nvml)?;
        let smi = NvidiaSmi {
            program: &smi,
            product: &product,
            backend: &device.backend,
            libraries: device.ours.path(),
        };
        let count = smi.compare(&python).with_context(|| name.to_owned())?;
        println!("{name}: nvidia-smi shows {count} figures as nvidia-ml-py");
        tally.add_counts([1, 0, 0]);
    }
    Ok(())
}

fn build_fake(workspace: &Workspace) -> Result<PathBuf> {
    let mut command = workspace.cargo();
    command.args(["build", "--release", "--locked"]);
    command.args(["--package", "gvirtus-fake-nvml"]);
    process::require(&mut command, BUILD_LIMIT)?;
    Ok(workspace.release().join("libgvirtus_fake_nvml.so"))
}

/// The exports, by name, and the table, by the sizes of structures.
fn compare_with_header(workspace: &Workspace, product: &Product, python: &Path) -> Result<()> {
    let header = python::packages(python)?.join("nvidia/cu13/include/nvml.h");
    let text =
        fs::read_to_string(&header).with_context(|| format!("cannot read {}", header.display()))?;
    let declared = text
        .split("DECLDIR ")
        .filter(|rest| rest.starts_with("nvml"))
        .filter_map(|rest| rest.split('(').next())
        .map(str::trim_end);
    let theirs: BTreeSet<&str> = declared.chain(UNDECLARED).collect();
    let mut command = Command::new("nm");
    command.args(["-D", "--defined-only"]);
    let listing = process::capture(command.arg(&product.management), LIMIT)?;
    let ours: BTreeSet<&str> = listing
        .lines()
        .filter_map(|line| line.split_whitespace().nth(2))
        .filter(|name| name.starts_with("nvml"))
        .collect();
    let only = |one: &BTreeSet<&str>, other: &BTreeSet<&str>| {
        let names: Vec<&str> = one.difference(other).copied().collect();
        names.join(" ")
    };
    ensure!(
        ours == theirs,
        "libnvidia-ml.so.1: NVIDIA's exports also [{}], ours also [{}]",
        only(&theirs, &ours),
        only(&ours, &theirs)
    );
    println!("libnvidia-ml.so.1: {} functions as NVIDIA's", ours.len());
    let mut command = Command::new(python);
    command.arg(workspace.root().join(GENERATOR)).arg(&header);
    process::require(command.arg("--check"), LIMIT)
        .context("nvml.table does not say what nvml.h does")
}

/// What asks.
struct Program<'a> {
    python: &'a Path,
    script: &'a Path,
    options: &'a [&'a str],
}

impl Program<'_> {
    /// Its answers, with the libraries of `folder`.
    fn run(&self, folder: &Path, endpoint: Option<&str>) -> Result<String> {
        let mut command = Command::new(self.python);
        command
            .arg(self.script)
            .args(self.options)
            .env("LD_LIBRARY_PATH", folder)
            .env_remove("GVIRTUS_ENDPOINT");
        if let Some(endpoint) = endpoint {
            command.env("GVIRTUS_ENDPOINT", endpoint);
        }
        process::capture(&mut command, LIMIT)
    }
}

/// A backend with this NVML, and what a program needs to use it.
struct Device {
    // Dropped before the folders.
    backend: Backend,
    /// What the backend has opened.
    theirs: Scratch,
    /// What a client opens.
    ours: Scratch,
}

impl Device {
    fn new(product: &Product, nvml: &Path) -> Result<Self> {
        let folder = |purpose: &str, driver: &Path, nvml: &Path| -> Result<Scratch> {
            let scratch = Scratch::temporary(purpose)?;
            symlink(driver, scratch.path().join("libcuda.so.1")).context("cannot make a link")?;
            symlink(nvml, scratch.path().join("libnvidia-ml.so.1"))
                .context("cannot make a link")?;
            Ok(scratch)
        };
        // The backend finds the NVML beside its driver.
        let theirs = folder("nvml-driver", &product.softgpu, nvml)?;
        let ours = folder("nvml-client", &product.shim, &product.management)?;
        let driver = theirs.path().join("libcuda.so.1");
        let backend = Backend::start_on(&product.gvirtus, &driver.display().to_string())?;
        Ok(Self {
            backend,
            theirs,
            ours,
        })
    }
}

/// How many answers there are, if they are the same both ways.
fn compare(product: &Product, program: &Program<'_>, nvml: &Path, name: &str) -> Result<u64> {
    let device = Device::new(product, nvml)?;
    let backend = &device.backend;
    let straight = program.run(device.theirs.path(), None)?;
    let remoted = program.run(device.ours.path(), Some(backend.endpoint()))?;
    let mut count = 0;
    for (left, right) in straight.lines().zip(remoted.lines()) {
        ensure!(
            left == right,
            "{name}: the answers differ\nstraight: {left}\nremoted:  {right}\n{}",
            backend.log()
        );
        count += 1;
    }
    ensure!(
        straight.lines().count() == remoted.lines().count() && count > 0,
        "{name}: there are not as many answers both ways"
    );
    Ok(count)
}
