// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask manifests`: what the chart renders, as plain manifests, and whether every supported
//! Kubernetes knows each field.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};

use crate::go_programs;
use crate::process;
use crate::python;
use crate::scratch::Scratch;
use crate::steps::Tally;
use crate::workspace::Workspace;

const CHART: &str = "charts/gvirtus";
const RENDERED: &str = "deploy/gvirtus.yaml";
const TESTS: &str = "tests/manifests";
const FOLDERS: [&str; 2] = ["deploy", "examples/k8s"];
/// The oldest and newest minor versions of Kubernetes 1.
const VERSIONS: [&str; 2] = ["28", "37"];
const LIMIT: Duration = Duration::from_secs(300);

/// Values that change what is rendered.
const VARIANTS: [(&str, &[&str]); 8] = [
    ("kai", &["kai.shadowPods=true", "kai.schedulerName=another"]),
    ("no-broker", &["broker.enabled=false"]),
    (
        "softgpu",
        &["softgpu.enabled=true", "networkPolicy.enabled=false"],
    ),
    (
        "host-network",
        &["backend.hostNetwork=true", "webhook.hostNetwork=true"],
    ),
    (
        "mps",
        &[
            "devicePlugin.enabled=true",
            "devicePlugin.mps.enabled=true",
            "devicePlugin.mps.hostPID=true",
        ],
    ),
    ("remote-capacity", &["frontendCapacity.enabled=true"]),
    (
        "scaled-deployment",
        &["autoscaling.enabled=true", "autoscaling.target=deployment"],
    ),
    (
        "everything",
        &[
            "autoscaling.enabled=true",
            "image.pullSecrets={a,b}",
            "backend.nodeSelector.zone=a",
            "backend.tolerations[0].key=a",
            "backend.tolerations[0].operator=Exists",
            "webhook.tolerations[0].operator=Exists",
            "webhook.excludedNamespaces={one,two}",
            "webhook.endpoint=tcp://backend.example:9999",
            "webhook.translateResources=false",
            "webhook.schedulingGate=false",
            "broker.policy=nearest",
            "broker.tolerations[0].operator=Exists",
            "labeler.enabled=false",
            "frontendCapacity.remove=true",
            "devicePlugin.enabled=true",
            "devicePlugin.aliases.k8s\\.amazonaws\\.com/vgpu=10",
        ],
    ),
];
/// Values that the chart must refuse.
const REFUSED: [&str; 12] = [
    "broker.policy=fastest",
    "softgpu.enabld=true",
    "webhook.replicas=0",
    "webhook.endpoint=backend.example",
    "image.pullPolicy=Sometimes",
    "devicePlugin.aliases.a/b=49",
    "frontendCapacity.enabled=true,broker.enabled=false",
    "devicePlugin.mps.enabled=true",
    "devicePlugin.enabled=true,devicePlugin.mps.enabled=true,softgpu.enabled=true",
    "kai.shadowPods=true,webhook.schedulingGate=false",
    "autoscaling.nodePool=backends",
    "autoscaling.enabled=true,broker.enabled=false",
];

/// `cargo xtask manifests`.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let text = render(&go_programs::helm()?, workspace, &[])?;
    let path = workspace.root().join(RENDERED);
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    println!("{}", path.display());
    Ok(())
}

/// The step of `cargo xtask test`.
pub(crate) fn step(workspace: &Workspace, tally: &mut Tally) -> Result<()> {
    let scratch = Scratch::temporary("manifests")?;
    let mut files = plain(workspace)?;
    match go_programs::helm() {
        Ok(helm) => files.extend(rendered(&helm, workspace, scratch.path(), tally)?),
        Err(error) if !process::interrupted() => {
            println!("the chart is not rendered, for want of helm: {error:#}");
            tally.add_counts([0, 0, 1]);
        }
        Err(error) => return Err(error),
    }
    let folder = workspace.root().join(TESTS);
    let python = python::environment(
        "kubernetes-validate",
        "kubernetes-validate",
        &folder.join("requirements.txt"),
    )?;
    let mut command = Command::new(python);
    command
        .arg(folder.join("validate.py"))
        .args(VERSIONS)
        .args(files);
    let mut closing = None;
    let outcome = process::tee(&mut command, LIMIT, |line| {
        closing = python::counts(line).or(closing);
    })?;
    tally.add_counts(closing.ok_or_else(|| anyhow!("nothing was validated"))?);
    ensure!(outcome.success(), "a manifest is not valid");
    Ok(())
}

fn plain(workspace: &Workspace) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for folder in FOLDERS {
        let folder = workspace.root().join(folder);
        for entry in
            fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?
        {
            let path = entry.context("cannot read a folder")?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "yaml")
            {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Renders the chart with its own values, which must be what `deploy/` has, and with others.
fn rendered(
    helm: &Path,
    workspace: &Workspace,
    folder: &Path,
    tally: &mut Tally,
) -> Result<Vec<PathBuf>> {
    let recorded = fs::read_to_string(workspace.root().join(RENDERED)).unwrap_or_default();
    ensure!(
        render(helm, workspace, &[])? == recorded,
        "{RENDERED} is not what the chart renders; run `cargo xtask manifests`"
    );
    for values in REFUSED {
        let result = render(helm, workspace, &[values]);
        ensure!(result.is_err(), "the chart accepts --set {values}");
    }
    tally.add_counts([1 + REFUSED.len() as u64, 0, 0]);
    let mut files = Vec::new();
    for (name, values) in VARIANTS {
        let path = folder.join(format!("{name}.yaml"));
        fs::write(&path, render(helm, workspace, values)?).context("cannot write a manifest")?;
        files.push(path);
    }
    Ok(files)
}

/// What the chart renders with `--set` of each of the values.
pub(crate) fn render(helm: &Path, workspace: &Workspace, values: &[&str]) -> Result<String> {
    let mut command = Command::new(helm);
    command
        .args(["template", "gvirtus"])
        .arg(workspace.root().join(CHART))
        .args(["--namespace", "gvirtus-system"]);
    for value in values {
        command.args(["--set", value]);
    }
    process::capture(&mut command, LIMIT)
}
