// SPDX-License-Identifier: Apache-2.0
//! Whether our CUDA runtimes export exactly what NVIDIA's do, versions included: one name that
//! lacks keeps a whole program from starting.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use gvirtus_runtime_abi::table::{RELEASES, Release};

use crate::steps::Tally;
use crate::workspace::Workspace;
use crate::{process, product, toolkit};

const REQUIREMENTS: &str = include_str!("../assets/cuda-runtimes.txt");
/// Changes with [`REQUIREMENTS`].
const VERSIONS: &str = "11.8.89-12.9.79-13.5.37";
const LIMIT: Duration = Duration::from_secs(60);

/// The step of `cargo xtask test`.
pub(crate) fn step(workspace: &Workspace, tally: &mut Tally) -> Result<()> {
    let product = product::build(workspace)?;
    let reference = install()?;
    for (release, ours) in RELEASES.into_iter().zip(&product.runtimes) {
        let theirs = library(&reference, release);
        let (ours, theirs) = (symbols(ours)?, symbols(&theirs)?);
        let list = |names: &BTreeSet<String>, others: &BTreeSet<String>| {
            let extra: Vec<&str> = names.difference(others).map(String::as_str).collect();
            extra.join(" ")
        };
        ensure!(
            ours == theirs,
            "{}: NVIDIA's exports also [{}], ours also [{}]",
            release.soname(),
            list(&theirs, &ours),
            list(&ours, &theirs)
        );
        println!("{}: {} symbols as NVIDIA's", release.soname(), ours.len());
        tally.add_counts([1, 0, 0]);
    }
    Ok(())
}

/// NVIDIA's libraries, installed once into the user's cache folder.
fn install() -> Result<PathBuf> {
    let place = toolkit::cache_folder()?.join(format!("cudart-{VERSIONS}"));
    let what = format!(
        "Installing NVIDIA's CUDA runtimes from PyPI into {}: about 7 MB to download, once.",
        place.display()
    );
    toolkit::install_packages(&place, REQUIREMENTS, &what, |site| {
        for release in RELEASES {
            let library = library(site, release);
            ensure!(library.exists(), "there is no {}", library.display());
        }
        Ok(())
    })?;
    Ok(place)
}

/// The folder of NVIDIA's newest runtime.
pub(crate) fn newest_folder() -> Result<PathBuf> {
    let [.., newest] = RELEASES;
    let library = library(&install()?, newest);
    library
        .parent()
        .map(Path::to_owned)
        .context("a library is in a folder")
}

fn library(site: &Path, release: Release) -> PathBuf {
    let folder = match release.0 {
        11 | 12 => "nvidia/cuda_runtime/lib",
        _ => "nvidia/cu13/lib",
    };
    site.join(folder).join(release.soname())
}

/// `name@@version` of all exported functions.
fn symbols(library: &Path) -> Result<BTreeSet<String>> {
    let mut command = Command::new("nm");
    command.args(["-D", "--defined-only"]).arg(library);
    let text = process::capture(&mut command, LIMIT)
        .with_context(|| format!("cannot read the symbols of {}", library.display()))?;
    Ok(text
        .lines()
        .filter_map(|line| line.split_whitespace().nth(2))
        .map(str::to_owned)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_requirements_pin_the_versions_of_the_folder() {
        for version in VERSIONS.split('-') {
            assert!(REQUIREMENTS.contains(&format!("=={version} ")));
        }
    }
}
