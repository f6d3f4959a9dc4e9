// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask test --only node`: the chart, its images and the examples on a real node, with
//! kubelet and containerd.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};

use crate::cache;
use crate::control_plane;
use crate::go_programs;
use crate::manifests;
use crate::node_images;
use crate::process;
use crate::scratch::Scratch;
use crate::steps::Tally;
use crate::toolkit::cache_folder;
use crate::workspace::Workspace;

const TESTS: &str = "gvirtus-controlplane-tests";
const LIMIT: Duration = Duration::from_secs(30 * 60);
const QUERY_LIMIT: Duration = Duration::from_secs(120);
/// What a node without a GPU, and without a registry, changes in the chart.
const VALUES: [&str; 9] = [
    "softgpu.enabled=true",
    "softgpu.memoryMiB=512",
    "backend.resources.requests.memory=64Mi",
    "image.pullPolicy=Never",
    "kai.shadowPods=true",
    "devicePlugin.enabled=true",
    "devicePlugin.aliases.k8s\\.amazonaws\\.com/vgpu=10",
    "autoscaling.enabled=true",
    "autoscaling.idleSeconds=5",
];

/// What is not ours and has to be there.
struct Parts {
    programs: go_programs::Node,
    runc: PathBuf,
    helm: PathBuf,
}

/// The step of `cargo xtask test`.
pub(crate) fn step(workspace: &Workspace, tally: &mut Tally) -> Result<()> {
    let parts = match parts(workspace) {
        Ok(parts) => parts,
        Err(error) if !process::interrupted() => {
            println!("skipped, for want of a node: {error:#}");
            tally.add_counts([0, 0, 1]);
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    control_plane::build(workspace)?;
    let images = node_images::build(workspace)?;
    let scratch = Scratch::temporary("node")?;
    let manifests = scratch.path().join("gvirtus.yaml");
    let text = manifests::render(&parts.helm, workspace, &VALUES)?;
    fs::write(&manifests, text).context("cannot write the manifests")?;
    let mut tests = Command::new(workspace.release().join(TESTS));
    tests
        .arg("node")
        .arg("--programs")
        .arg(&parts.programs.kubernetes)
        .arg("--containerd")
        .arg(&parts.programs.containerd)
        .arg("--network-plugins")
        .arg(&parts.programs.network_plugins)
        .arg("--runc")
        .arg(&parts.runc)
        .arg("--manifests")
        .arg(&manifests)
        .arg("--repository")
        .arg(workspace.root());
    for image in images {
        tests.arg("--image").arg(image);
    }
    let outcome = process::tee(&mut tests, LIMIT, |line| tally.add(line))?;
    ensure!(outcome.success(), "the node: {outcome}");
    Ok(())
}

fn parts(workspace: &Workspace) -> Result<Parts> {
    rights()?;
    Ok(Parts {
        runc: runc()?,
        programs: go_programs::node(workspace)?,
        helm: go_programs::helm()?,
    })
}

/// Tries what a node's programs do to the machine, where it leaves nothing behind.
fn rights() -> Result<()> {
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--net", "--pid", "--fork", "--kill-child"])
        .args(["ip", "link", "add", "gvirtus0", "type", "bridge"]);
    process::capture(&mut command, QUERY_LIMIT)
        .context("root with namespaces and network bridges is needed")?;
    let groups = Path::new("/sys/fs/cgroup");
    let probe = [groups.join("memory"), groups.to_owned()]
        .into_iter()
        .find(|path| path.is_dir())
        .map(|path| path.join(format!("gvirtus-probe-{}", std::process::id())))
        .context("there are no control groups")?;
    fs::create_dir(&probe).context("control groups cannot be made")?;
    fs::remove_dir(&probe).context("control groups cannot be removed")
}

/// runc, the one on PATH or Debian's: it has to be built with libseccomp, which is not Go.
fn runc() -> Result<PathBuf> {
    if let Some(runc) = process::on_path("runc") {
        return Ok(runc);
    }
    let apt = process::on_path("apt-get")
        .ok_or_else(|| anyhow!("there is no runc on PATH and no apt-get to fetch it with"))?;
    let place = cache_folder()?.join("debian-runc");
    cache::once(&place, "Fetching Debian's runc, once.", |folder| {
        let mut download = Command::new(apt);
        download.current_dir(folder).args(["download", "runc"]);
        process::capture(&mut download, QUERY_LIMIT)?;
        let package = fs::read_dir(folder)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.extension().is_some_and(|end| end == "deb"))
            .context("apt-get has downloaded no package")?;
        let unpacked = folder.join("unpacked");
        let mut unpack = Command::new("dpkg-deb");
        unpack.arg("--extract").arg(package).arg(&unpacked);
        process::capture(&mut unpack, QUERY_LIMIT)?;
        Ok(unpacked)
    })?;
    let runc = place.join("usr/sbin/runc");
    process::capture(Command::new(&runc).arg("--version"), QUERY_LIMIT)
        .context("Debian's runc does not run here: install the package runc")?;
    Ok(runc)
}
