// SPDX-License-Identifier: Apache-2.0
//! What must not be linked into somebody else's process, and lock files that are in step.

use std::time::Duration;

use anyhow::Result;

use super::Finding;
use crate::process;
use crate::workspace::Workspace;

const LIMIT: Duration = Duration::from_secs(120);

/// The libraries that applications load.
const SHIMS: [&str; 1] = ["gvirtus-shim-cuda"];

/// Runtimes that start threads or take over signals of the process that they are loaded into.
const BANNED: [&str; 3] = ["async-std", "smol", "tokio"];

/// Packages that are no members of the workspace, with lock files of their own.
const OUTSIDE: [&str; 1] = ["fuzz"];

/// Reports lock files that a build would have to change.
pub(super) fn check_locks(workspace: &Workspace, findings: &mut Vec<Finding>) {
    for folder in OUTSIDE {
        let manifest = format!("{folder}/Cargo.toml");
        let mut command = workspace.cargo();
        command.args(["metadata", "--locked", "--format-version", "1"]);
        command.args(["--manifest-path", &manifest]);
        if let Err(error) = process::capture(&mut command, LIMIT) {
            let advice = format!("cargo update --workspace --manifest-path {manifest}");
            let text = format!("not in step: {advice}\n{error:#}");
            findings.push(Finding::whole(format!("{folder}/Cargo.lock"), text));
        }
    }
}

/// Reports async runtimes among the dependencies of the shims.
pub(super) fn check(workspace: &Workspace, findings: &mut Vec<Finding>) -> Result<()> {
    for shim in SHIMS {
        let tree = process::capture(
            workspace
                .cargo()
                .args(["tree", "--locked", "--prefix", "none", "--format", "{p}"])
                .args(["--edges", "normal", "--package", shim]),
            LIMIT,
        )?;
        for name in banned(&tree) {
            let text = format!("{shim} depends on {name}, which has no place in an application");
            findings.push(Finding::whole("Cargo.toml", text));
        }
    }
    Ok(())
}

fn banned(tree: &str) -> impl Iterator<Item = &'static str> {
    BANNED.into_iter().filter(|name| {
        tree.lines()
            .any(|line| line.split_whitespace().next() == Some(name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_names_are_compared() {
        let tree = "gvirtus-shim-cuda v0.1.0 (/x)\ntokio-util v0.7.0\nlibc v0.2.0\n";
        assert_eq!(banned(tree).count(), 0);
        let tree = format!("{tree}tokio v1.54.1\n");
        assert_eq!(banned(&tree).collect::<Vec<_>>(), ["tokio"]);
    }
}
