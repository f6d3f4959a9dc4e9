// SPDX-License-Identifier: Apache-2.0
//! What is made once and kept in the user's cache folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::scratch::{self, Scratch};
use crate::terminal;

/// Lets `make` make something in a folder beside `place` and say where it is there, and renames
/// that: so `place` is whole whenever it exists. Nothing if it does. `announcement` is for the
/// user.
pub(crate) fn once(
    place: &Path,
    announcement: &str,
    make: impl FnOnce(&Path) -> Result<PathBuf>,
) -> Result<()> {
    if place.exists() {
        return Ok(());
    }
    let parent = place.parent().context("the cache folder has a parent")?;
    fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    let _lock = scratch::lock(
        &sibling(place, "lock"),
        "another process that makes the same",
    )?;
    if place.exists() {
        return Ok(());
    }
    println!("{announcement}");
    let start = Instant::now();
    let scratch = Scratch::create(sibling(place, "partial"))?;
    let made = make(scratch.path())?;
    fs::rename(&made, place).with_context(|| format!("cannot rename to {}", place.display()))?;
    println!("  done in {}", terminal::seconds(start.elapsed()));
    Ok(())
}

fn sibling(place: &Path, suffix: &str) -> PathBuf {
    let mut name = place.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(suffix);
    place.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn a_sibling_keeps_the_whole_version() {
        let lock = sibling(Path::new("/c/cuda-13.5.37"), "lock");
        assert_eq!(lock, Path::new("/c/cuda-13.5.37.lock"));
    }

    #[test]
    fn only_what_is_whole_gets_the_name_and_only_once() {
        let cache = tempfile::tempdir().expect("temporary folder");
        let place = cache.path().join("tools/one-1.0");
        let failed = once(&place, "making", |folder| {
            fs::write(folder.join("made"), "half")?;
            bail!("no space")
        });
        assert!(failed.is_err() && !place.exists());
        once(&place, "making", |folder| {
            let made = folder.join("made");
            assert!(!made.exists(), "what failed is gone");
            fs::write(&made, "whole")?;
            Ok(made)
        })
        .expect("made");
        assert_eq!(fs::read_to_string(&place).expect("there"), "whole");
        once(&place, "making", |_| bail!("again")).expect("it is there");
    }
}
