// SPDX-License-Identifier: Apache-2.0
//! Where things are: the workspace, its packages, the build folder.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::architecture::{Architecture, Tools};

/// What `cargo metadata` says about this workspace, and for which machine it is built.
#[derive(Clone, Debug)]
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
    members: Vec<PathBuf>,
    tools: Tools,
}

impl Workspace {
    pub(crate) fn find() -> Result<Self> {
        let output = cargo()
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .arg("--manifest-path")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .context("cannot run cargo")?;
        ensure!(output.status.success(), "cargo metadata failed");
        let metadata = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
        Self::from_metadata(&metadata).context("cargo metadata is not as expected")
    }

    fn from_metadata(metadata: &Value) -> Option<Self> {
        let root = PathBuf::from(metadata["workspace_root"].as_str()?);
        let members = metadata["packages"]
            .as_array()?
            .iter()
            .map(|package| {
                let manifest = Path::new(package["manifest_path"].as_str()?);
                Some(manifest.parent()?.strip_prefix(&root).ok()?.to_owned())
            })
            .collect::<Option<_>>()?;
        Some(Self {
            target: PathBuf::from(metadata["target_directory"].as_str()?),
            root,
            members,
            tools: Tools::NATIVE,
        })
    }

    /// The same, built for another machine.
    pub(crate) fn for_architecture(&self, architecture: Architecture) -> Result<Self> {
        Ok(Self {
            tools: Tools::for_architecture(architecture)?,
            ..self.clone()
        })
    }

    /// What links and reads the programs that are built.
    pub(crate) fn tools(&self) -> Tools {
        self.tools
    }

    /// The folders of the packages, relative to [`Self::root`].
    pub(crate) fn members(&self) -> &[PathBuf] {
        &self.members
    }

    /// The folder that holds the workspace's `Cargo.toml`.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of cargo's release build.
    pub(crate) fn release(&self) -> PathBuf {
        match self.tools.cross() {
            Some(architecture) => self.built_for(&architecture.triple()),
            None => self.target.join("release"),
        }
    }

    /// The folder of cargo's release build where a target is named.
    pub(crate) fn built_for(&self, triple: &str) -> PathBuf {
        self.target.join(triple).join("release")
    }

    /// Where the fuzz targets, a workspace of their own, are built.
    pub(crate) fn fuzz_build(&self) -> PathBuf {
        self.target.join("fuzz")
    }

    /// Where the CUDA examples are compiled to.
    pub(crate) fn compiled_examples(&self) -> PathBuf {
        self.target.join("examples")
    }

    /// Where the CUDA programs of the tests are compiled to: beside the examples, as tests expect.
    pub(crate) fn compiled_test_programs(&self) -> PathBuf {
        self.target.join("test-programs")
    }

    /// A cargo command that runs in the workspace's root.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = cargo();
        command.current_dir(&self.root);
        if let Some(architecture) = self.tools.cross() {
            let triple = architecture.triple();
            let linker = format!(
                "CARGO_TARGET_{}_LINKER",
                triple.replace('-', "_").to_uppercase()
            );
            command
                .env("CARGO_BUILD_TARGET", triple)
                .env(linker, self.tools.compiler());
        }
        command
    }
}

fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // What `cargo run` sets for this process describes xtask, not what the child builds.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_names_members_by_their_folder() {
        let metadata = serde_json::json!({
            "workspace_root": "/w",
            "target_directory": "/t",
            "packages": [{ "manifest_path": "/w/deep/a/Cargo.toml" }],
        });
        let workspace = Workspace::from_metadata(&metadata).expect("well formed");
        assert_eq!(workspace.members(), [Path::new("deep/a")]);
        assert_eq!(workspace.release(), Path::new("/t/release"));
        let (name, other) = match Architecture::host().expect("known") {
            Architecture::Amd64 => ("aarch64", Architecture::Arm64),
            Architecture::Arm64 => ("x86_64", Architecture::Amd64),
        };
        let cross = workspace.for_architecture(other).expect("known");
        let folder = format!("/t/{name}-unknown-linux-gnu/release");
        assert_eq!(cross.release(), Path::new(&folder));
        assert!(Workspace::from_metadata(&serde_json::json!({})).is_none());
    }
}
