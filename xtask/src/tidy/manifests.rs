// SPDX-License-Identifier: Apache-2.0
//! Dependencies in `Cargo.toml`: sorted, and with one version for the whole workspace.

use super::Finding;
use super::files::SourceFile;

pub(super) fn check(file: &SourceFile, findings: &mut Vec<Finding>) {
    if file
        .path
        .file_name()
        .is_none_or(|name| name != "Cargo.toml")
    {
        return;
    }
    let is_root = file.is("Cargo.toml") || file.is("fuzz/Cargo.toml");
    let mut section = Section::Other;
    let mut previous = String::new();
    for (index, line) in file.text.lines().enumerate() {
        let line = line.trim();
        if let Some(header) = line.strip_prefix('[') {
            section = Section::of(header.trim_end_matches(']'));
            previous.clear();
        } else if line.is_empty() {
            previous.clear();
            section.next_block();
        } else if line.starts_with('#') {
            // A block under a comment is in the order that the comment gives.
            section.own_order();
        } else if let Section::Dependencies { sorted } = section {
            let Some((key, value)) = line.split_once('=') else {
                continue;
            };
            let name = key.trim().trim_end_matches(".workspace");
            let shared = key.trim().ends_with(".workspace") || value.contains("workspace = true");
            if !is_root && !shared {
                let text = format!("`{name}` has its own version; use `{name}.workspace = true`");
                findings.push(Finding::at(file, index + 1, text));
            }
            if sorted && name < previous.as_str() {
                let text = format!("`{name}` stands after `{previous}`");
                findings.push(Finding::at(file, index + 1, text));
            }
            previous = name.to_owned();
        }
    }
}

/// Where in the file a line stands.
#[derive(Clone, Copy)]
enum Section {
    Dependencies { sorted: bool },
    Other,
}

impl Section {
    fn of(header: &str) -> Self {
        let last = header.rsplit('.').next().unwrap_or_default();
        match last {
            "dependencies" | "dev-dependencies" | "build-dependencies" => {
                Self::Dependencies { sorted: true }
            }
            _ => Self::Other,
        }
    }

    const fn next_block(&mut self) {
        if let Self::Dependencies { sorted } = self {
            *sorted = true;
        }
    }

    const fn own_order(&mut self) {
        if let Self::Dependencies { sorted } = self {
            *sorted = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<usize> {
        let mut findings = Vec::new();
        check(&SourceFile::new(path, text), &mut findings);
        findings.into_iter().map(|f| f.line).collect()
    }

    #[test]
    fn members_use_the_workspace_and_sort() {
        let text = "[package]\nname = \"z\"\nedition.workspace = true\n\n[dependencies]\n\
                    b.workspace = true\na = { workspace = true, features = [\"x\"] }\nc = \"1\"\n";
        assert_eq!(found("m/Cargo.toml", text), [7, 8]);
        assert!(found("m/other.toml", text).is_empty());
    }

    #[test]
    fn a_comment_may_give_another_order() {
        let text =
            "[workspace.dependencies]\n# By rank.\nz = \"1\"\na = \"1\"\n\nd = \"1\"\nc = \"1\"";
        assert_eq!(found("Cargo.toml", text), [7]);
    }
}
