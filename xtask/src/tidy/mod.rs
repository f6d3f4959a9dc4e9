// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask tidy`: what neither formatter nor linter checks.

mod dependencies;
mod files;
mod licences;
mod manifests;
mod markdown;
mod rust;
mod text;

use std::fmt;
use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::coverage;
use crate::workspace::Workspace;
use files::SourceFile;

/// Something to mend.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    path: PathBuf,
    /// Counted from 1; 0 where the whole file is meant.
    line: usize,
    text: String,
}

impl Finding {
    fn at(file: &SourceFile, line: usize, text: impl Into<String>) -> Self {
        Self {
            path: file.path.clone(),
            line,
            text: text.into(),
        }
    }

    fn whole(path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            line: 0,
            text: text.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.path.display())?;
        if self.line > 0 {
            write!(f, "{}:", self.line)?;
        }
        write!(f, " {}", self.text)
    }
}

/// Runs every check and lists everything found.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let files = files::sources(workspace)?;
    let mut findings = Vec::new();
    for file in &files {
        text::check(file, &mut findings);
        rust::check(file, &mut findings);
        manifests::check(file, &mut findings);
        markdown::check_links(file, workspace.root(), &mut findings);
        if let Some(warning) = text::long(file) {
            println!("warning: {warning}");
        }
    }
    markdown::check_architecture(workspace, &files, &mut findings);
    dependencies::check_locks(workspace, &mut findings);
    dependencies::check(workspace, &mut findings)?;
    licences::check(workspace, &mut findings)?;
    if !coverage::is_current(workspace) {
        findings.push(Finding::whole(
            "docs/coverage.md",
            "is not what the call table says; run `cargo xtask coverage`",
        ));
    }
    findings.sort();
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => {
            println!("{} files are tidy", files.len());
            Ok(())
        }
        number => bail!("{number} to mend in {} files", files.len()),
    }
}
