// SPDX-License-Identifier: Apache-2.0
//! Which driver a backend uses.

use std::convert::Infallible;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::{Driver, DriverError, linker_cache};

const NVIDIA_LIBRARY: &str = "libcuda.so.1";

/// Where drivers are installed, if the dynamic linker does not know better.
const NVIDIA_FOLDERS: [&str; 8] = [
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/usr/local/nvidia/lib64",
    "/usr/lib/wsl/lib",
    "/run/opengl-driver/lib",
    "/usr/lib/aarch64-linux-gnu/tegra",
];

/// Where our software device is, relative to the folder of the running program.
const SOFTGPU_PATHS: [&str; 2] = [
    "libgvirtus_softgpu.so",
    "../lib/gvirtus/softgpu/libcuda.so.1",
];

/// What the operator asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DriverChoice {
    /// NVIDIA's driver where it finds a device, the software device otherwise.
    #[default]
    Auto,
    /// Succeeds and computes nothing; for measurements.
    Noop,
    /// This library.
    Path(PathBuf),
    /// The software device that comes with GVirtuS.
    Softgpu,
}

/// One driver that can be tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Candidate {
    /// Built in.
    Noop,
    /// A library, by absolute path.
    Library(PathBuf),
    /// The software device, by absolute path.
    Softgpu(PathBuf),
}

impl FromStr for DriverChoice {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "auto" => Self::Auto,
            "noop" => Self::Noop,
            "softgpu" => Self::Softgpu,
            path => Self::Path(path.into()),
        })
    }
}

impl DriverChoice {
    /// What to try, best first; the first that starts and finds a device is the one.
    pub fn candidates(&self) -> Vec<Candidate> {
        match self {
            Self::Auto => nvidia().into_iter().chain(softgpu()).collect(),
            Self::Noop => vec![Candidate::Noop],
            Self::Path(path) => {
                let absolute = std::path::absolute(path).unwrap_or_else(|_| path.clone());
                vec![Candidate::Library(absolute)]
            }
            Self::Softgpu => softgpu().into_iter().collect(),
        }
    }
}

impl Candidate {
    /// As a command-line argument of a worker.
    pub fn argument(&self) -> OsString {
        match self {
            Self::Noop => "noop".into(),
            Self::Library(path) | Self::Softgpu(path) => path.into(),
        }
    }

    /// Reads [`Candidate::argument`].
    pub fn from_argument(argument: &Path) -> Self {
        if argument == Path::new("noop") {
            Self::Noop
        } else {
            Self::Library(argument.to_owned())
        }
    }

    /// Opens it.
    ///
    /// # Errors
    ///
    /// If it is no driver that can be used.
    pub fn load(&self) -> Result<Driver, DriverError> {
        match self {
            Self::Noop => Ok(Driver::noop()),
            Self::Library(path) | Self::Softgpu(path) => Driver::load(path),
        }
    }

    /// Whether starting it takes so long that it should be done before there is a client.
    pub const fn starts_slowly(&self) -> bool {
        matches!(self, Self::Library(_))
    }
}

impl std::fmt::Display for Candidate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Noop => f.write_str("noop"),
            Self::Library(path) | Self::Softgpu(path) => path.display().fmt(f),
        }
    }
}

fn nvidia() -> Vec<Candidate> {
    let mut paths = linker_cache::paths(NVIDIA_LIBRARY);
    let folders = NVIDIA_FOLDERS.iter().map(Path::new);
    for path in folders
        .map(|f| f.join(NVIDIA_LIBRARY))
        .filter(|p| p.exists())
    {
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    paths.into_iter().map(Candidate::Library).collect()
}

fn softgpu() -> Option<Candidate> {
    let program = std::env::current_exe().ok()?;
    let folder = program.parent()?;
    let mut paths = SOFTGPU_PATHS.iter().map(|path| folder.join(path));
    paths.find(|path| path.exists()).map(Candidate::Softgpu)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_read() {
        let read = |text: &str| text.parse::<DriverChoice>().expect("infallible");
        assert_eq!(read("auto"), DriverChoice::Auto);
        assert_eq!(read("softgpu"), DriverChoice::Softgpu);
        assert_eq!(read("/a/b"), DriverChoice::Path("/a/b".into()));
        assert_eq!(read("noop").candidates(), [Candidate::Noop]);
        let relative = read("libcuda.so.1").candidates();
        assert!(matches!(&relative[..], [Candidate::Library(path)] if path.is_absolute()));
    }

    #[test]
    fn candidates_return_from_the_command_line() {
        for candidate in [Candidate::Noop, Candidate::Library("/a/b".into())] {
            let argument = candidate.argument();
            assert_eq!(Candidate::from_argument(argument.as_ref()), candidate);
            assert_eq!(candidate.starts_slowly(), candidate != Candidate::Noop);
        }
    }
}
