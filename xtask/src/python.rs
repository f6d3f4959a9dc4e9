// SPDX-License-Identifier: Apache-2.0
//! Other people's Python packages that run on our device: virtual environments in the user's cache
//! folder, and the two ways in which a program in one reaches the device.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use crate::cache;
use crate::process;
use crate::product::{Backend, Product};
use crate::scratch::Scratch;
use crate::toolkit::cache_folder;

const INSTALL_LIMIT: Duration = Duration::from_secs(20 * 60);
const QUERY_LIMIT: Duration = Duration::from_secs(60);

/// How a program reaches the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Way {
    /// In the same process.
    Straight,
    /// Through the client library and a backend.
    Remoted,
}

impl Way {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Straight => "straight",
            Self::Remoted => "remoted",
        }
    }
}

/// What a program of one way needs, as long as it runs.
pub(crate) struct Device {
    // Dropped before the folder.
    pub(crate) backend: Option<Backend>,
    /// Holds `libcuda.so.1`.
    pub(crate) folder: Scratch,
}

impl Device {
    pub(crate) fn new(product: &Product, way: Way) -> Result<Self> {
        let folder = Scratch::temporary(way.name())?;
        let library = match way {
            Way::Straight => &product.softgpu,
            Way::Remoted => &product.shim,
        };
        symlink(library, folder.path().join("libcuda.so.1")).context("cannot make a link")?;
        let backend = match way {
            Way::Straight => None,
            Way::Remoted => Some(Backend::start(&product.gvirtus)?),
        };
        Ok(Self { backend, folder })
    }
}

/// The numbers of `N passed, N failed, N skipped`.
pub(crate) fn counts(line: &str) -> Option<[u64; 3]> {
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

/// The interpreter of a virtual environment with these requirements, made first if there is none.
/// `name` begins the folder's, `what` is said to the user.
pub(crate) fn environment(name: &str, what: &str, requirements: &Path) -> Result<PathBuf> {
    let text = fs::read_to_string(requirements)
        .with_context(|| format!("cannot read {}", requirements.display()))?;
    let system = process::on_path("python3").ok_or_else(|| {
        anyhow!("there is no python3 on PATH (on Debian or Ubuntu: apt-get install python3-venv)")
    })?;
    let version = process::capture(Command::new(&system).arg("--version"), QUERY_LIMIT)?;
    let mut key = DefaultHasher::new();
    (&text, version.trim()).hash(&mut key);
    let place = cache_folder()?.join(format!("{name}-{:016x}", key.finish()));
    install(&system, what, requirements, &place)?;
    Ok(place.join("bin/python"))
}

/// The folder of an environment's packages.
pub(crate) fn packages(python: &Path) -> Result<PathBuf> {
    let mut command = Command::new(python);
    command.args([
        "-c",
        "import sysconfig; print(sysconfig.get_path('purelib'))",
    ]);
    let packages = process::capture(&mut command, QUERY_LIMIT)
        .context("cannot ask Python for its packages")?;
    Ok(packages.trim().into())
}

/// Makes a virtual environment at `place`, once.
fn install(system: &Path, what: &str, requirements: &Path, place: &Path) -> Result<()> {
    let announcement = format!(
        "Installing {what} from PyPI into {}, once.",
        place.display()
    );
    cache::once(place, &announcement, |scratch| {
        let folder = scratch.join("venv");
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
        process::require(&mut pip, INSTALL_LIMIT).with_context(|| {
            format!("pip could not install {what}; it needs PyPI, or a mirror in PIP_INDEX_URL")
        })?;
        Ok(folder)
    })
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
