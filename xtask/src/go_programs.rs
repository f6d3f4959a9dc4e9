// SPDX-License-Identifier: Apache-2.0
//! Programs that are Go modules, built once into the user's cache folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};

use crate::budget;
use crate::cache;
use crate::process;
use crate::toolkit::cache_folder;
use crate::workspace::Workspace;

/// What a run of all tests can spare on a new machine. The compiler keeps what it has done, so the
/// next run goes on from there.
const BUILD_LIMIT: Duration = Duration::from_secs(12 * 60);
const KUBERNETES: &str = "k8s.io/kubernetes";
const KUBERNETES_MODULE: &str = "tests/controlplane";
/// Programs of a control plane and their packages of [`KUBERNETES_MODULE`].
const CONTROL_PLANE: [(&str, &str); 3] = [
    ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
    ("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
    ("etcd", "go.etcd.io/etcd/server/v3"),
];
/// What there is besides where pods run.
const NODE: [(&str, &str); 2] = [
    (
        "kube-controller-manager",
        "k8s.io/kubernetes/cmd/kube-controller-manager",
    ),
    ("kubelet", "k8s.io/kubernetes/cmd/kubelet"),
];
const CONTAINERD: Module = Module {
    folder: "containerd",
    version: "v2.2.9",
    packages: &[
        "github.com/containerd/containerd/v2/cmd/containerd",
        "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
        "github.com/containerd/containerd/v2/cmd/ctr",
    ],
};
const NETWORK_PLUGINS: Module = Module {
    folder: "network-plugins",
    version: "v1.9.0",
    packages: &[
        "github.com/containernetworking/plugins/plugins/main/bridge",
        "github.com/containernetworking/plugins/plugins/main/loopback",
        "github.com/containernetworking/plugins/plugins/ipam/host-local",
    ],
};
const HELM: Module = Module {
    folder: "helm",
    version: "v4.3.1",
    packages: &["helm.sh/helm/v4/cmd/helm"],
};

/// Programs of one version of a module that `go install` takes as they are.
struct Module {
    folder: &'static str,
    version: &'static str,
    packages: &'static [&'static str],
}

/// Folders with the programs of a node.
pub(crate) struct Node {
    /// Those of a control plane, with kube-controller-manager and kubelet.
    pub(crate) kubernetes: PathBuf,
    /// containerd, containerd-shim-runc-v2 and ctr.
    pub(crate) containerd: PathBuf,
    /// CNI's bridge, loopback and host-local.
    pub(crate) network_plugins: PathBuf,
}

/// The folder with the programs of a control plane.
pub(crate) fn control_plane(workspace: &Workspace) -> Result<PathBuf> {
    kubernetes(workspace, &CONTROL_PLANE)
}

/// The programs of a control plane and of a node.
pub(crate) fn node(workspace: &Workspace) -> Result<Node> {
    control_plane(workspace)?;
    Ok(Node {
        kubernetes: kubernetes(workspace, &NODE)?,
        containerd: install(&CONTAINERD)?,
        network_plugins: install(&NETWORK_PLUGINS)?,
    })
}

/// `helm`, the one on PATH or one that is built.
pub(crate) fn helm() -> Result<PathBuf> {
    match process::on_path("helm") {
        Some(helm) => Ok(helm),
        None => Ok(install(&HELM)?.join("helm")),
    }
}

/// The folder with programs that [`KUBERNETES_MODULE`] names, each with its package.
fn kubernetes(workspace: &Workspace, programs: &[(&str, &str)]) -> Result<PathBuf> {
    let module = workspace.root().join(KUBERNETES_MODULE);
    let text = fs::read_to_string(module.join("go.mod")).context("cannot read go.mod")?;
    let version = required(&text, KUBERNETES).context("go.mod names no version of Kubernetes")?;
    let place = cache_folder()?.join(format!("controlplane-{}", version.trim_start_matches('v')));
    let folder = place.join("bin");
    for (name, package) in programs {
        build(&folder.join(name), |output| {
            let version_variable = "k8s.io/component-base/version.gitVersion";
            let mut command = go()?;
            command
                .current_dir(&module)
                .args(["build", "-mod=readonly", "-trimpath", "-o"])
                .arg(output.join(name))
                .arg(format!("-ldflags=-s -w -X {version_variable}={version}"))
                .arg(package);
            Ok(command)
        })?;
    }
    Ok(folder)
}

/// The folder with the programs of a module.
fn install(module: &Module) -> Result<PathBuf> {
    let version = module.version.trim_start_matches('v');
    let folder = cache_folder()?.join(format!("{}-{version}", module.folder));
    for package in module.packages {
        let name = package.rsplit('/').next().unwrap_or(package);
        build(&folder.join(name), |output| {
            let mut command = go()?;
            command
                .env("GOBIN", output)
                .args(["install", "-trimpath", "-ldflags=-s -w"])
                .arg(format!("{package}@{}", module.version));
            Ok(command)
        })?;
    }
    Ok(folder)
}

fn go() -> Result<Command> {
    let go = process::on_path("go").ok_or_else(|| anyhow!("there is no go on PATH"))?;
    let mut command = Command::new(go);
    command.env("CGO_ENABLED", "0").env_remove("GOFLAGS");
    Ok(command)
}

/// Runs what `command` makes for a folder, in which it puts the program, unless that is there.
fn build(program: &Path, command: impl FnOnce(&Path) -> Result<Command>) -> Result<()> {
    let announcement = format!("Building {}, once: minutes.", program.display());
    cache::once(program, &announcement, |folder| {
        let limit = budget::grant(BUILD_LIMIT)
            .context("this run has no time left for it; the next one begins with it")?;
        process::require(&mut command(folder)?, limit)
            .context("what has been compiled is kept for the next try")?;
        let built = folder.join(program.file_name().unwrap_or_default());
        ensure!(built.exists(), "{} was not built", built.display());
        Ok(built)
    })
}

/// The version of `module` that a go.mod requires.
fn required<'a>(text: &'a str, module: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let line = line.trim();
        let line = line.strip_prefix("require ").unwrap_or(line);
        let version = line.strip_prefix(module)?.strip_prefix(' ')?;
        version
            .split_whitespace()
            .next()
            .filter(|word| word.starts_with('v'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_required_one() {
        let text = "tool k8s.io/kubernetes/cmd/kubelet\nrequire k8s.io/kubernetes v1.36.3\n\
                    require (\n\tk8s.io/api v0.36.3 // indirect\n)\n";
        assert_eq!(required(text, "k8s.io/kubernetes"), Some("v1.36.3"));
        assert_eq!(required(text, "k8s.io/api"), Some("v0.36.3"));
        assert_eq!(required(text, "k8s.io/apimachinery"), None);
    }
}
