// SPDX-License-Identifier: Apache-2.0
//! Temporary folders that go away with the value that stands for them, and locks likewise.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process;

/// A folder that only this user may enter and that is removed with everything in it.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// Creates `path`; its parent must exist. What lies there is removed first: the caller is the
    /// only one to use this name, so it was left by a run that was killed.
    pub(crate) fn create(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        if path.exists() {
            fs::remove_dir_all(&path)
                .with_context(|| format!("cannot remove {}", path.display()))?;
        }
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(path))
    }

    /// A new folder of this process in the system's temporary folder.
    pub(crate) fn temporary(purpose: &str) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("gvirtus-{purpose}-{}-{number}", std::process::id());
        Self::create(std::env::temp_dir().join(name))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Holds the lock file for as long as the result lives; `holder` is named while it must wait.
pub(crate) fn lock(path: &Path, holder: &str) -> Result<File> {
    let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
        if !told {
            println!("Waiting for {holder} …");
            told = true;
        }
        if process::interrupted() {
            bail!("interrupted");
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporary_folders_are_different() {
        let [one, other] = [(); 2].map(|()| Scratch::temporary("test").expect("created"));
        assert_ne!(one.path(), other.path());
        assert!(one.path().exists() && other.path().exists());
    }

    #[test]
    fn a_folder_replaces_what_was_left_and_goes_away() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("x.partial");
        fs::create_dir(&path).expect("created");
        fs::write(path.join("left over"), "").expect("written");
        let scratch = Scratch::create(&path).expect("created");
        assert_eq!(fs::read_dir(scratch.path()).expect("readable").count(), 0);
        drop(scratch);
        assert!(!path.exists());
    }
}
