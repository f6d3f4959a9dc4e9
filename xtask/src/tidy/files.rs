// SPDX-License-Identifier: Apache-2.0
//! The files that are checked: everything git knows or would add, as text.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::process;
use crate::workspace::Workspace;

const LIMIT: Duration = Duration::from_secs(60);

/// A text file of the repository.
#[derive(Clone, Debug)]
pub(super) struct SourceFile {
    /// Relative to the workspace's root.
    pub(super) path: PathBuf,
    pub(super) text: String,
}

impl SourceFile {
    /// The name's ending; for a file without one, what its `#!` line says (`sh` or `py`).
    pub(super) fn kind(&self) -> &str {
        match self.path.extension().and_then(|e| e.to_str()) {
            Some(extension) => extension,
            None => match self.text.lines().next() {
                Some(first) if first.starts_with("#!") && first.contains("python") => "py",
                Some(first) if first.starts_with("#!") && first.contains("sh") => "sh",
                _ => "",
            },
        }
    }

    pub(super) fn is(&self, path: &str) -> bool {
        self.path == Path::new(path)
    }

    #[cfg(test)]
    pub(super) fn new(path: &str, text: &str) -> Self {
        Self {
            path: path.into(),
            text: text.into(),
        }
    }
}

/// All text files, sorted by path.
pub(super) fn sources(workspace: &Workspace) -> Result<Vec<SourceFile>> {
    let listed = process::capture(
        Command::new("git")
            .args(["-c", "core.quotePath=off", "ls-files"])
            .args([
                "--cached",
                "--others",
                "--exclude-standard",
                "--deduplicate",
            ])
            .current_dir(workspace.root()),
        LIMIT,
    )
    .context("the list of files comes from git")?;
    let mut files = Vec::new();
    for name in listed.lines() {
        // Files deleted in the working tree are still listed; binary ones are not ours to read.
        let Ok(bytes) = fs::read(workspace.root().join(name)) else {
            continue;
        };
        if let Ok(text) = String::from_utf8(bytes) {
            files.push(SourceFile {
                path: name.into(),
                text,
            });
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_known_by_its_first_line() {
        let kind = |path, text| SourceFile::new(path, text).kind().to_owned();
        assert_eq!(kind("a/b.rs", ""), "rs");
        assert_eq!(kind("run", "#!/usr/bin/env bash\n"), "sh");
        assert_eq!(kind("gpu-check", "#!/usr/bin/env python3\n"), "py");
        assert_eq!(kind("LICENSE", "Apache"), "");
    }
}
