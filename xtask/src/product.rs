// SPDX-License-Identifier: Apache-2.0
//! The built programs and libraries, and a backend that runs for a while.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::process::{self, Running};
use crate::runtime_libraries;
use crate::scratch::Scratch;
use crate::workspace::Workspace;

/// The packages whose build is the product, and the Rust example.
pub(crate) const PACKAGES: [&str; 7] = [
    "gvirtus",
    "gvirtus-shim-cuda",
    "gvirtus-shim-cudart",
    "gvirtus-shim-nvml",
    "gvirtus-shim-preload",
    "gvirtus-softgpu",
    "cudarc-example",
];

const BUILD_LIMIT: Duration = Duration::from_secs(60 * 60);
const START_LIMIT: Duration = Duration::from_secs(20);
const QUERY_LIMIT: Duration = Duration::from_secs(20);

/// The names that cargo gives to what [`PACKAGES`] produce.
pub(crate) struct Product {
    pub(crate) gvirtus: PathBuf,
    pub(crate) shim: PathBuf,
    /// Our `libnvidia-ml.so.1`.
    pub(crate) management: PathBuf,
    pub(crate) softgpu: PathBuf,
    /// One of each release, under its own name.
    pub(crate) runtimes: Vec<PathBuf>,
    /// For `LD_PRELOAD`: driver, runtimes and NVML in one.
    pub(crate) preload: PathBuf,
    pub(crate) cudarc_example: PathBuf,
}

/// Builds everything in release.
pub(crate) fn build(workspace: &Workspace) -> Result<Product> {
    let mut command = workspace.cargo();
    command.args(["build", "--release", "--locked"]);
    for package in PACKAGES {
        command.args(["--package", package]);
    }
    process::require(&mut command, BUILD_LIMIT)?;
    let release = workspace.release();
    let tools = workspace.tools();
    let archive = release.join("libgvirtus_cudart_shim.a");
    let preload_archive = release.join("libgvirtus_preload.a");
    let product = Product {
        gvirtus: release.join("gvirtus"),
        shim: release.join("libgvirtus_cuda.so"),
        management: release.join("libgvirtus_nvml_shim.so"),
        softgpu: release.join("libgvirtus_softgpu.so"),
        runtimes: runtime_libraries::link(tools, &archive, &release.join("cudart"))?,
        preload: runtime_libraries::link_preload(
            tools,
            &preload_archive,
            &release.join("preload"),
        )?,
        cudarc_example: release.join("cudarc-example"),
    };
    let files = [
        &product.gvirtus,
        &product.shim,
        &product.management,
        &product.softgpu,
        &product.preload,
        &product.cudarc_example,
    ];
    for file in files.into_iter().chain(&product.runtimes) {
        ensure!(file.exists(), "{} was not built", file.display());
    }
    Ok(product)
}

/// `gvirtus serve` on a Unix socket, ended when dropped.
pub(crate) struct Backend {
    // Dropped in this order: the process first, then the folder of its socket.
    running: Running,
    log: PathBuf,
    endpoint: String,
    _scratch: Scratch,
}

impl Backend {
    pub(crate) fn start(gvirtus: &Path) -> Result<Self> {
        Self::start_on(gvirtus, "auto")
    }

    /// The same on this driver.
    pub(crate) fn start_on(gvirtus: &Path, driver: &str) -> Result<Self> {
        Self::start_in(gvirtus, driver, &[])
    }

    /// The same with these variables.
    pub(crate) fn start_in(
        gvirtus: &Path,
        driver: &str,
        variables: &[(&str, &str)],
    ) -> Result<Self> {
        let scratch = Scratch::temporary("backend")?;
        let socket = scratch.path().join("backend.sock");
        let log = scratch.path().join("log");
        let endpoint = format!("unix://{}", socket.display());
        let output = File::create(&log).context("cannot create the backend's log")?;
        let running = Running::start(
            Command::new(gvirtus)
                .args(["serve", "--driver", driver, "--listen", &endpoint])
                .env_remove("GVIRTUS_ENDPOINT")
                .envs(variables.iter().copied())
                .stdout(output.try_clone().context("cannot share the log")?)
                .stderr(output),
        )?;
        let mut backend = Self {
            running,
            log,
            endpoint,
            _scratch: scratch,
        };
        backend.wait_for(&socket)?;
        Ok(backend)
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The end of what it logged.
    pub(crate) fn log(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    fn wait_for(&mut self, socket: &Path) -> Result<()> {
        let start = Instant::now();
        while !socket.exists() {
            if let Some(status) = self.running.ended()? {
                bail!("the backend ended at once ({status}):\n{}", self.log());
            }
            if process::interrupted() {
                bail!("interrupted");
            }
            ensure!(
                start.elapsed() < START_LIMIT,
                "the backend does not listen after {} s:\n{}",
                START_LIMIT.as_secs(),
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

/// The table of devices that `endpoint` offers.
pub(crate) fn devices(gvirtus: &Path, endpoint: &str) -> Result<String> {
    let mut command = Command::new(gvirtus);
    command.arg("devices").env("GVIRTUS_ENDPOINT", endpoint);
    process::capture(&mut command, QUERY_LIMIT)
}
