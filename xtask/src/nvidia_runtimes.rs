// SPDX-License-Identifier: Apache-2.0
//! NVIDIA's CUDA runtimes of the releases that ours stands for, from PyPI, installed once into the
//! user's cache folder: to compare with.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use gvirtus_runtime_abi::table::Release;

use crate::toolkit;

/// One release's libcudart, with its headers.
pub(crate) struct NvidiaRuntime {
    /// Holds the library.
    pub(crate) folder: PathBuf,
    pub(crate) library: PathBuf,
    /// Of the runtime.
    pub(crate) version: &'static str,
    /// For `-I`.
    pub(crate) headers: Vec<PathBuf>,
}

impl NvidiaRuntime {
    /// Installs it first if it is not there.
    pub(crate) fn get(release: Release) -> Result<Self> {
        let (version, requirements) = match release.0 {
            11 => ("11.8.89", include_str!("../assets/cuda-runtimes/11.txt")),
            12 => ("12.9.79", include_str!("../assets/cuda-runtimes/12.txt")),
            _ => ("13.5.37", include_str!("../assets/cuda-runtimes/13.txt")),
        };
        let place = toolkit::cache_folder()?.join(format!("cuda-runtime-{version}"));
        let what = format!(
            "Installing NVIDIA's {} from PyPI into {}, once.",
            release.soname(),
            place.display()
        );
        toolkit::install_packages(&place, requirements, &what, |site| {
            let library = Self::below(site, release, version).library;
            ensure!(library.exists(), "there is no {}", library.display());
            Ok(())
        })?;
        Ok(Self::below(&place, release, version))
    }

    fn below(site: &Path, release: Release, version: &'static str) -> Self {
        let home = match release.0 {
            11 | 12 => site.join("nvidia/cuda_runtime"),
            _ => site.join("nvidia/cu13"),
        };
        let folder = home.join("lib");
        Self {
            library: folder.join(release.soname()),
            folder,
            version,
            headers: vec![
                home.join("include"),
                site.join("nvidia/cuda_nvcc/include"),
                site.join("nvidia/cuda_cccl/include"),
            ],
        }
    }
}
