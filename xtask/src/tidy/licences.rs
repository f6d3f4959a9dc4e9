// SPDX-License-Identifier: Apache-2.0
//! Every crate that is linked in can be had under a permissive licence.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::Finding;
use crate::process;
use crate::workspace::Workspace;

const LIMIT: Duration = Duration::from_secs(300);

/// Licences that ask for no more than their own text.
const PERMISSIVE: [&str; 13] = [
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Reports crates of the lock file that only a licence outside of [`PERMISSIVE`] grants.
pub(super) fn check(workspace: &Workspace, findings: &mut Vec<Finding>) -> Result<()> {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = process::capture(
        workspace
            .cargo()
            .args(["metadata", "--locked", "--format-version", "1"])
            .args(["--filter-platform", &target]),
        LIMIT,
    )?;
    let metadata: Value = serde_json::from_str(&output).context("cargo metadata")?;
    let packages = metadata["packages"].as_array();
    for package in packages.into_iter().flatten() {
        let licence = package["license"].as_str().unwrap_or("no licence");
        if !is_permissive(licence) {
            let text = format!("{} is under {licence}", package["name"]);
            findings.push(Finding::whole("Cargo.lock", text));
        }
    }
    Ok(())
}

/// Whether a licence expression can be fulfilled with [`PERMISSIVE`] alone.
fn is_permissive(expression: &str) -> bool {
    // `/` is how crates wrote OR before there was a standard.
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    let result = any(&mut words);
    result && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any(words: &mut Words<'_>) -> bool {
    let mut result = all(words);
    while words.next_if_eq(&"OR").is_some() {
        result |= all(words);
    }
    result
}

fn all(words: &mut Words<'_>) -> bool {
    let mut result = one(words);
    while words.next_if_eq(&"AND").is_some() {
        result &= one(words);
    }
    result
}

fn one(words: &mut Words<'_>) -> bool {
    match words.next() {
        Some("(") => any(words) & (words.next() == Some(")")),
        Some(licence) => {
            // An exception only takes conditions away.
            if words.next_if_eq(&"WITH").is_some() {
                words.next();
            }
            PERMISSIVE.contains(&licence)
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_evaluated() {
        for fine in [
            "MIT",
            "MIT/Apache-2.0",
            "GPL-3.0 OR MIT",
            "(GPL-3.0) OR MIT",
            "Apache-2.0 WITH LLVM-exception OR GPL-2.0",
            "(MIT OR GPL-2.0) AND Unicode-3.0",
        ] {
            assert!(is_permissive(fine), "{fine}");
        }
        for not in [
            "GPL-3.0",
            "MIT AND GPL-3.0",
            "no licence",
            "",
            "(MIT",
            "MIT GPL-3.0",
        ] {
            assert!(!is_permissive(not), "{not}");
        }
    }
}
