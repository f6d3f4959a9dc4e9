// SPDX-License-Identifier: Apache-2.0
//! The CUDA compiler: `nvcc` on PATH, else the one that PyPI ships, installed once into the user's
//! cache folder.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use crate::cache;
use crate::process::{self, Stream};
use crate::terminal;

const REQUIREMENTS: &str = include_str!("../assets/cuda-toolkit.txt");
/// The version of `nvidia-cuda-nvcc` in [`REQUIREMENTS`].
const VERSION: &str = "13.5.37";
/// What is downloaded, and what it takes unpacked.
const DOWNLOAD_MB: u32 = 130;
const INSTALLED_MB: u32 = 350;
const INSTALL_LIMIT: Duration = Duration::from_secs(30 * 60);
const QUERY_LIMIT: Duration = Duration::from_secs(60);
/// How often a silent download says that it is still under way.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// A CUDA compiler that was found to run.
#[derive(Clone, Debug)]
pub(crate) struct Toolkit {
    pub(crate) nvcc: PathBuf,
    /// The `-L` folder, where nvcc's own profile does not name the right one.
    pub(crate) library_folder: Option<PathBuf>,
    /// The line of `nvcc --version` that names the build.
    pub(crate) version: String,
}

impl Toolkit {
    /// An `nvcc` command with everything that is needed besides the caller's own flags.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.nvcc);
        if let Some(folder) = &self.library_folder {
            command.arg("-L").arg(folder);
        }
        command
    }

    /// Puts `libcudart.so` into `folder`, where it lacks beside the compiler: PyPI ships the
    /// library under its full name only.
    pub(crate) fn link_shared_runtime(&self, folder: &Path) -> Result<()> {
        let Some(libraries) = &self.library_folder else {
            return Ok(());
        };
        let link = folder.join("libcudart.so");
        symlink(libraries.join("libcudart.so.13"), &link)
            .with_context(|| format!("cannot make {}", link.display()))
    }
}

/// `cargo xtask toolkit`.
pub(crate) fn run() -> Result<()> {
    let toolkit = get()?;
    println!("nvcc            {}", toolkit.nvcc.display());
    if let Some(folder) = &toolkit.library_folder {
        println!("library folder  {}", folder.display());
    }
    println!("version         {}", toolkit.version);
    Ok(())
}

/// The compiler, installed first if there is none.
pub(crate) fn get() -> Result<Toolkit> {
    ensure!(
        process::on_path("g++").is_some(),
        "nvcc needs a C++ compiler and there is no g++ on PATH; \
         install one (on Debian or Ubuntu: apt-get install g++)"
    );
    if let Some(nvcc) = process::on_path("nvcc") {
        return probe(nvcc, None);
    }
    let place = cache_folder()?.join(format!("cuda-{VERSION}"));
    install(&place)?;
    installed(&place).with_context(|| {
        format!(
            "the compiler in {} does not run; remove the folder and try again",
            place.display()
        )
    })
}

fn installed(place: &Path) -> Result<Toolkit> {
    let home = place.join("nvidia/cu13");
    probe(home.join("bin/nvcc"), Some(home.join("lib")))
}

fn probe(nvcc: PathBuf, library_folder: Option<PathBuf>) -> Result<Toolkit> {
    let output = process::capture(Command::new(&nvcc).arg("--version"), QUERY_LIMIT)?;
    let version = output
        .lines()
        .find(|line| line.contains("release"))
        .ok_or_else(|| anyhow!("{} --version names no release", nvcc.display()))?;
    Ok(Toolkit {
        version: version.trim().to_owned(),
        nvcc,
        library_folder,
    })
}

/// `$XDG_CACHE_HOME/gvirtus`, else `~/.cache/gvirtus`.
pub(crate) fn cache_folder() -> Result<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
        .ok_or_else(|| anyhow!("neither XDG_CACHE_HOME nor HOME is set"))?;
    Ok(base.join("gvirtus"))
}

fn install(place: &Path) -> Result<()> {
    let what = format!(
        "Installing the CUDA 13.5 compiler from PyPI into {}: \
         about {DOWNLOAD_MB} MB to download, {INSTALLED_MB} MB on disk, once.",
        place.display()
    );
    install_packages(place, REQUIREMENTS, &what, |site| {
        installed(site)
            .map(drop)
            .context("the installed compiler does not run")
    })
}

/// Installs Python packages into a sibling of `place` and renames it, so that `place` is whole
/// whenever it exists; nothing if it does. `check` sees the folder before it gets its name.
pub(crate) fn install_packages(
    place: &Path,
    requirements_text: &str,
    what: &str,
    check: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    cache::once(place, what, |scratch| {
        let site = scratch.join("site");
        let requirements = scratch.join("requirements.txt");
        fs::write(&requirements, requirements_text)
            .with_context(|| format!("cannot write {}", requirements.display()))?;
        let python = python_with_pip(scratch)?;
        pip_install(&python, &requirements, &site)?;
        check(&site)?;
        Ok(site)
    })
}

/// An interpreter that has pip: one of a fresh virtual environment, else the system's.
fn python_with_pip(scratch: &Path) -> Result<PathBuf> {
    let system = process::on_path("python3").ok_or_else(|| {
        anyhow!(
            "there is neither nvcc nor python3 on PATH; install the CUDA toolkit, \
             or Python, from which the compiler can be had \
             (on Debian or Ubuntu: apt-get install python3-venv)"
        )
    })?;
    let environment = scratch.join("venv");
    let made = process::capture(
        Command::new(&system).args(["-m", "venv"]).arg(&environment),
        INSTALL_LIMIT,
    );
    let Err(problem) = made else {
        return Ok(environment.join("bin/python"));
    };
    if process::interrupted() {
        return Err(problem);
    }
    let pip = process::capture(
        Command::new(&system).args(["-m", "pip", "--version"]),
        QUERY_LIMIT,
    );
    match pip {
        Ok(_) => Ok(system),
        Err(_) => Err(problem).context(format!(
            "{} has neither the venv nor the pip module; \
             install one (on Debian or Ubuntu: apt-get install python3-venv)",
            system.display()
        )),
    }
}

fn pip_install(python: &Path, requirements: &Path, site: &Path) -> Result<()> {
    let mut command = Command::new(python);
    command
        .args([
            "-m",
            "pip",
            "install",
            "--no-input",
            "--no-deps",
            "--require-hashes",
        ])
        .args(["--disable-pip-version-check", "--no-cache-dir"])
        .args(["--progress-bar", "off", "--only-binary", ":all:"])
        .arg("--target")
        .arg(site)
        .arg("--requirement")
        .arg(requirements)
        // A user's own pip.conf may ask for an installation that excludes --target.
        .env("PIP_USER", "0");
    let start = Instant::now();
    let mut complaints = Vec::new();
    let beat = Heartbeat::start();
    let outcome = process::lines(&mut command, INSTALL_LIMIT, |stream, line| {
        let line = line.trim();
        match stream {
            Stream::Output if line.starts_with("Downloading ") => {
                let what = line.trim_start_matches("Downloading ");
                println!("  {:>7}  {what}", terminal::seconds(start.elapsed()));
            }
            Stream::Output if line.starts_with("Installing ") => {
                println!("  {:>7}  unpacking", terminal::seconds(start.elapsed()));
            }
            Stream::Output => {}
            Stream::Error => complaints.push(line.to_owned()),
        }
    });
    drop(beat);
    let outcome = outcome?;
    ensure!(
        outcome.success(),
        "pip could not install NVIDIA's packages ({outcome}). It needs PyPI: check the network or \
         name a mirror in PIP_INDEX_URL; the compiler may also be an nvcc on PATH. pip said:\n{}",
        last(&complaints, 12)
    );
    Ok(())
}

fn last(lines: &[String], number: usize) -> String {
    lines[lines.len().saturating_sub(number)..].join("\n")
}

/// Says now and then that something silent is still under way.
struct Heartbeat(Option<(std::sync::mpsc::Sender<()>, std::thread::JoinHandle<()>)>);

impl Heartbeat {
    fn start() -> Self {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let start = Instant::now();
        let thread = std::thread::spawn(move || {
            use std::sync::mpsc::RecvTimeoutError::Timeout;
            while stopped.recv_timeout(HEARTBEAT) == Err(Timeout) {
                println!("  {:>7}  …", terminal::seconds(start.elapsed()));
            }
        });
        Self(Some((stop, thread)))
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.0.take() {
            drop(stop);
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_requirements_pin_the_version_of_the_folder() {
        assert!(REQUIREMENTS.contains(&format!("nvidia-cuda-nvcc=={VERSION} ")));
        let packages = REQUIREMENTS.lines().filter(|l| l.contains("==")).count();
        let hashes = REQUIREMENTS.matches("--hash=sha256:").count();
        assert_eq!(hashes, 2 * packages);
    }
}
