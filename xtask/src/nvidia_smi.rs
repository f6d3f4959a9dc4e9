// SPDX-License-Identifier: Apache-2.0
//! `nvidia-smi`, NVIDIA's own program, shows the backend's devices. It is free of charge but not
//! free software, so it is got where the machine gets its software from (Debian's non-free part),
//! kept in the user's cache folder, and left out where it cannot be had.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};

use crate::cache;
use crate::process;
use crate::product::{Backend, Product};
use crate::toolkit::cache_folder;

const PACKAGE: &str = "nvidia-smi";
const DOWNLOAD_LIMIT: Duration = Duration::from_secs(5 * 60);
const LIMIT: Duration = Duration::from_secs(60);

/// The program, downloaded first if it is not there, else the one on PATH.
pub(crate) fn get() -> Result<PathBuf> {
    let place = cache_folder()?.join("nvidia-smi");
    let announcement = format!(
        "Downloading nvidia-smi from Debian's non-free part into {}, once.",
        place.display()
    );
    match cache::once(&place, &announcement, download) {
        Ok(()) => Ok(place),
        Err(problem) => process::on_path(PACKAGE).ok_or(problem),
    }
}

/// Asks apt with folders and sources of our own, so that nothing of the system's changes.
fn download(scratch: &Path) -> Result<PathBuf> {
    let sources = scratch.join("sources.list");
    fs::write(&sources, non_free_sources()?).context("cannot write apt's sources")?;
    let folder = |name: &str| -> Result<PathBuf> {
        let folder = scratch.join(name);
        fs::create_dir_all(folder.join("partial")).context("cannot make a folder")?;
        Ok(folder)
    };
    let options = [
        format!("Dir::Etc::SourceList={}", sources.display()),
        "Dir::Etc::SourceParts=-".into(),
        format!("Dir::State::Lists={}", folder("lists")?.display()),
        format!("Dir::Cache={}", folder("cache")?.display()),
        // Nothing is installed; and apt need not be able to give up root's rights.
        "Dir::State::Status=/dev/null".into(),
        "APT::Sandbox::User=root".into(),
        "Acquire::Languages=none".into(),
        "Acquire::Retries=2".into(),
    ];
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        for option in &options {
            command.args(["-o", option]);
        }
        command.args(arguments).current_dir(scratch);
        process::capture(&mut command, DOWNLOAD_LIMIT)
    };
    apt(&["update"])?;
    apt(&["download", PACKAGE])?;
    let package = files(scratch)?
        .into_iter()
        .find(|path| path.extension().is_some_and(|e| e == "deb"))
        .ok_or_else(|| anyhow!("apt downloaded nothing"))?;
    let unpacked = scratch.join("unpacked");
    let mut command = Command::new("dpkg-deb");
    command.arg("--extract").arg(&package).arg(&unpacked);
    process::require(&mut command, DOWNLOAD_LIMIT)?;
    // Which folder it is in depends on the release.
    find_program(&unpacked.join("usr/lib"))
        .ok_or_else(|| anyhow!("there is no nvidia-smi in {}", package.display()))
}

/// The system's own Debian sources, but their part for software that is not free.
fn non_free_sources() -> Result<String> {
    let mut command = Command::new("apt-get");
    command.args(["indextargets", "--format", "$(REPO_URI) $(RELEASE)"]);
    command.args(["Created-By: Packages", "Origin: Debian", "Component: main"]);
    let targets = process::capture(&mut command, LIMIT).context("there is no apt to ask")?;
    let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
    let lines: String = targets
        .lines()
        .map(|line| format!("deb [signed-by={keyring}] {line} non-free\n"))
        .collect();
    ensure!(!lines.is_empty(), "apt has no sources of Debian");
    Ok(lines)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    Ok(entries.flatten().map(|entry| entry.path()).collect())
}

fn find_program(folder: &Path) -> Option<PathBuf> {
    let (folders, files): (Vec<_>, Vec<_>) = files(folder)
        .ok()?
        .into_iter()
        .partition(|path| path.is_dir());
    let found = files
        .into_iter()
        .find(|path| path.file_name().is_some_and(|name| name == PACKAGE));
    found.or_else(|| folders.iter().find_map(|folder| find_program(folder)))
}

/// The figures that both `nvidia-smi` and `ask.py` can tell, and that stand still.
const FIGURES: &str = "index,name,uuid,pci.bus_id,memory.total,driver_version";
/// The same of nvidia-ml-py, one line a device.
const EXPECTED: &str = "
from pynvml import *
nvmlInit()
for i in range(nvmlDeviceGetCount()):
    d = nvmlDeviceGetHandleByIndex(i)
    print(i, nvmlDeviceGetName(d), nvmlDeviceGetUUID(d), nvmlDeviceGetPciInfo(d).busId,
          nvmlDeviceGetMemoryInfo(d).total >> 20, nvmlSystemGetDriverVersion(), sep=', ')
";

/// The programs that nvidia-ml-py finds on the devices.
const PROGRAMS: &str = "
from pynvml import *
nvmlInit()
for i in range(nvmlDeviceGetCount()):
    for p in nvmlDeviceGetComputeRunningProcesses(nvmlDeviceGetHandleByIndex(i)):
        print(nvmlSystemGetProcessName(p.pid))
";

/// What shows the devices of a backend.
pub(crate) struct NvidiaSmi<'a> {
    pub(crate) program: &'a Path,
    pub(crate) product: &'a Product,
    pub(crate) backend: &'a Backend,
    /// Has our libraries.
    pub(crate) libraries: &'a Path,
}

impl NvidiaSmi<'_> {
    fn capture(&self, command: &mut Command) -> Result<String> {
        command
            .env("LD_LIBRARY_PATH", self.libraries)
            .env("GVIRTUS_ENDPOINT", self.backend.endpoint());
        process::capture(command, LIMIT)
            .with_context(|| format!("the backend's log:\n{}", self.backend.log()))
    }

    fn run(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(self.program);
        self.capture(command.args(arguments))
    }

    /// How many figures were compared: what nvidia-ml-py is told in an interpreter of our backend
    /// is shown in the ways in which people use the program.
    pub(crate) fn compare(&self, python: &Path) -> Result<u64> {
        let mut command = Command::new(python);
        let expected = self.capture(command.args(["-c", EXPECTED]))?;
        let query = format!("--query-gpu={FIGURES}");
        let found = self.run(&[&query, "--format=csv,noheader,nounits"])?;
        ensure!(
            found == expected && !found.is_empty(),
            "nvidia-smi {query} says\n{found}nvidia-ml-py\n{expected}"
        );
        let list = self.run(&["-L"])?;
        let table = self.run(&[])?;
        let details = self.run(&["-q"])?;
        let mut command = Command::new(&self.product.gvirtus);
        command.args(["run", "--"]).arg(self.program).arg("-L");
        let through_run = self.capture(&mut command)?;
        ensure!(through_run == list, "gvirtus run shows\n{through_run}");
        let mut command = Command::new(python);
        let programs = self.capture(command.args(["-c", PROGRAMS]))?;
        for figure in programs.lines() {
            ensure!(
                table.contains(figure),
                "nvidia-smi shows no {figure:?}\n{table}"
            );
        }
        let mut count = programs.lines().count() as u64;
        for line in expected.lines() {
            let figures: Vec<&str> = line.split(", ").collect();
            let [index, name, uuid, bus_id, memory, driver] = figures[..] else {
                return Err(anyhow!("{line:?} has other figures"));
            };
            let listed = format!("GPU {index}: {name} (UUID: {uuid})");
            ensure!(
                list.contains(&listed),
                "nvidia-smi -L shows no {listed:?}\n{list}"
            );
            for figure in [name, bus_id, driver, &format!("{memory}MiB")] {
                ensure!(
                    table.contains(figure),
                    "nvidia-smi shows no {figure:?}\n{table}"
                );
            }
            for figure in [name, uuid, bus_id, driver, &format!("{memory} MiB")] {
                ensure!(
                    details.contains(figure),
                    "nvidia-smi -q shows no {figure:?}\n{details}"
                );
            }
            count += figures.len() as u64;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_found_whatever_its_folder() {
        let folder = tempfile::tempdir().expect("temporary folder");
        assert_eq!(find_program(folder.path()), None);
        let place = folder.path().join("a/b");
        fs::create_dir_all(&place).expect("made");
        fs::write(place.join("nvidia-smi.1.gz"), "").expect("written");
        assert_eq!(find_program(folder.path()), None);
        fs::write(place.join(PACKAGE), "").expect("written");
        assert_eq!(find_program(folder.path()), Some(place.join(PACKAGE)));
    }
}
