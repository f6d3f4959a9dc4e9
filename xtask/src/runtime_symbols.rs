// SPDX-License-Identifier: Apache-2.0
//! Whether our CUDA runtimes export exactly what NVIDIA's do, versions included: one name that
//! lacks keeps a whole program from starting.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use gvirtus_runtime_abi::table::RELEASES;

use crate::nvidia_runtimes::NvidiaRuntime;
use crate::steps::Tally;
use crate::workspace::Workspace;
use crate::{process, product};

const LIMIT: Duration = Duration::from_secs(60);

/// The step of `cargo xtask test`.
pub(crate) fn step(workspace: &Workspace, tally: &mut Tally) -> Result<()> {
    let product = product::build(workspace)?;
    for (release, ours) in RELEASES.into_iter().zip(&product.runtimes) {
        let theirs = NvidiaRuntime::get(release)?;
        let (ours, theirs) = (symbols(ours)?, symbols(&theirs.library)?);
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
