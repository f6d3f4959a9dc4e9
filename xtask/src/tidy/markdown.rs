// SPDX-License-Identifier: Apache-2.0
//! Links that lead somewhere, and a description of every folder.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::Finding;
use super::files::SourceFile;
use crate::workspace::Workspace;

const ARCHITECTURE: &str = "ARCHITECTURE.md";

/// Reports relative links to files that do not exist.
pub(super) fn check_links(file: &SourceFile, root: &Path, findings: &mut Vec<Finding>) {
    if file.kind() != "md" {
        return;
    }
    let folder = root.join(&file.path);
    let folder = folder.parent().unwrap_or(root);
    for (line, target) in links(&file.text) {
        let path = target.split(['#', '?']).next().unwrap_or_default();
        if !path.is_empty() && !folder.join(path).exists() {
            let text = format!("the link to `{target}` leads nowhere");
            findings.push(Finding::at(file, line, text));
        }
    }
}

/// Relative targets of `[text](target)`, with their line numbers, outside of code.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut in_code = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        // Every second part between backticks is code.
        for prose in line.split('`').step_by(2) {
            for (at, _) in prose.match_indices("](") {
                let rest = &prose[at + 2..];
                let Some(end) = rest.find([')', ' ']) else {
                    continue;
                };
                let target = &rest[..end];
                if !target.contains("://") && !target.starts_with("mailto:") {
                    found.push((index + 1, target));
                }
            }
        }
    }
    found
}

/// Reports folders of the repository that the architecture page does not name.
pub(super) fn check_architecture(
    workspace: &Workspace,
    files: &[SourceFile],
    findings: &mut Vec<Finding>,
) {
    let Some(page) = files.iter().find(|file| file.is(ARCHITECTURE)) else {
        findings.push(Finding::whole(ARCHITECTURE, "does not exist"));
        return;
    };
    let members = workspace.members().iter().map(PathBuf::as_path);
    let top = files.iter().filter_map(|file| {
        let mut parts = file.path.components();
        let first = parts.next()?;
        parts.next()?;
        Some(Path::new(first.as_os_str()))
    });
    let folders: BTreeSet<_> = members
        .chain(top)
        .map(|path| path.to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.'))
        .collect();
    for folder in folders.iter().filter(|folder| !names(&page.text, folder)) {
        let text = format!("does not name the folder `{folder}/`");
        findings.push(Finding::at(page, 0, text));
    }
}

/// Whether `text` has `folder` or one above or below it as code.
fn names(text: &str, folder: &str) -> bool {
    let folder = Path::new(folder);
    // Every second part between backticks is code.
    text.split('`').skip(1).step_by(2).any(|code| {
        let named = Path::new(code);
        !code.is_empty() && (folder.starts_with(named) || named.starts_with(folder))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_relative_links_outside_of_code_are_followed() {
        let text = "[a](b.md) and [c](https://d.e)\n`[f](g)` ![h](i.png \"title\")\n\
                    ```\n[j](k)\n```\n[l](#m)\n";
        assert_eq!(links(text), [(1, "b.md"), (2, "i.png"), (6, "#m")]);
    }

    #[test]
    fn a_link_is_relative_to_its_page() {
        let folder = tempfile::tempdir().expect("temporary folder");
        std::fs::create_dir(folder.path().join("docs")).expect("created");
        std::fs::write(folder.path().join("docs/b.md"), "").expect("written");
        let check = |path: &str, text: &str| {
            let mut findings = Vec::new();
            check_links(&SourceFile::new(path, text), folder.path(), &mut findings);
            findings.len()
        };
        assert_eq!(check("docs/a.md", "[b](b.md#c) [d](../docs/)"), 0);
        assert_eq!(check("a.md", "[b](b.md)"), 1);
        assert_eq!(check("a.rs", "[b](b.md)"), 0);
    }

    #[test]
    fn folders_are_named_as_code() {
        assert!(names("the `abi/` folder", "abi"));
        assert!(names("| `shim/cuda` |", "shim/cuda"));
        assert!(names("| `shim/cuda` |", "shim"));
        assert!(names("the `examples/`", "examples/cudarc"));
        assert!(!names("the abi folder", "abi"));
    }
}
