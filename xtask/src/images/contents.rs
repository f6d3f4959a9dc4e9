// SPDX-License-Identifier: Apache-2.0
//! The files of an image, in layers: what its programs need of the C library, and the programs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::system;
use crate::architecture::Tools;
use crate::dist;
use crate::tar::Archive;

/// Files of an image, each under its absolute path.
pub(crate) struct Contents<'a> {
    scratch: &'a Path,
    tools: Tools,
    files: BTreeMap<String, PathBuf>,
}

/// One layer.
pub(crate) struct Layer {
    files: BTreeMap<String, PathBuf>,
    is_system: bool,
}

/// Where a layer's files go.
pub(crate) trait Tree {
    fn folder(&mut self, path: &str, mode: u32) -> Result<()>;
    fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<()>;
}

impl<'a> Contents<'a> {
    /// None yet; `scratch` is for copies, and outlives the layers.
    pub(crate) fn new(scratch: &'a Path, tools: Tools) -> Self {
        Self {
            scratch,
            tools,
            files: BTreeMap::new(),
        }
    }

    /// Adds a program or library without what only a debugger needs.
    pub(crate) fn program(mut self, path: &str, from: &Path) -> Result<Self> {
        let copy = self
            .scratch
            .join(path.trim_start_matches('/').replace('/', "!"));
        fs::copy(from, &copy).with_context(|| format!("cannot copy {}", from.display()))?;
        dist::strip(self.tools, &copy)?;
        self.files.insert(path.to_owned(), copy);
        Ok(self)
    }

    /// Layers with what the files need of the C library, and with the files.
    pub(crate) fn with_system(self, also: &[&str]) -> Result<Vec<Layer>> {
        let system = Layer {
            files: system::libraries(self.tools, self.files.values(), also)?,
            is_system: true,
        };
        Ok(vec![system, self.layer()])
    }

    /// A layer with the files alone.
    pub(crate) fn layer(self) -> Layer {
        Layer {
            files: self.files,
            is_system: false,
        }
    }
}

impl Layer {
    /// As an archive.
    pub(crate) fn tar(&self) -> Result<Vec<u8>> {
        let mut archive = Archive::default();
        self.write(&mut archive)?;
        Ok(archive.finish())
    }

    /// Puts everything into `tree`.
    pub(crate) fn write(&self, tree: &mut impl Tree) -> Result<()> {
        if self.is_system {
            tree.folder("etc", 0o755)?;
            let user = "root:x:0:0::/:/sbin/nologin\nnonroot:x:65532:65532::/:/sbin/nologin\n";
            tree.file("etc/passwd", 0o644, user.as_bytes())?;
            tree.file("etc/group", 0o644, b"root:x:0:\nnonroot:x:65532:\n")?;
            tree.file("etc/nsswitch.conf", 0o644, b"hosts: files dns\n")?;
            tree.folder("tmp", 0o1777)?;
        }
        let mut folders = BTreeSet::new();
        for (path, from) in &self.files {
            let path = path.trim_start_matches('/');
            for (at, _) in path.match_indices('/') {
                if folders.insert(path[..at].to_owned()) {
                    tree.folder(&path[..at], 0o755)?;
                }
            }
            let content =
                fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
            let mode = fs::metadata(from)?.permissions().mode() & 0o111;
            tree.file(path, 0o444 | mode | 0o111, &content)?;
        }
        Ok(())
    }
}

impl Tree for Archive {
    fn folder(&mut self, path: &str, mode: u32) -> Result<()> {
        Self::folder(self, path, mode)
    }

    fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<()> {
        Self::file(self, path, mode, content)
    }
}

/// A folder of this machine as an image's root.
pub(super) struct Root<'a>(pub(super) &'a Path);

impl Tree for Root<'_> {
    fn folder(&mut self, path: &str, mode: u32) -> Result<()> {
        let path = self.0.join(path);
        let written = fs::create_dir_all(&path)
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(mode)));
        written.with_context(|| format!("cannot create {}", path.display()))
    }

    fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<()> {
        let path = self.0.join(path);
        let written = fs::write(&path, content)
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(mode)));
        written.with_context(|| format!("cannot write {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_gets_what_an_archive_gets() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let program = folder.path().join("program");
        fs::write(&program, "text").expect("written");
        let layer = Layer {
            files: BTreeMap::from([("/usr/bin/a".to_owned(), program)]),
            is_system: true,
        };
        let root = folder.path().join("root");
        fs::create_dir(&root).expect("created");
        layer.write(&mut Root(&root)).expect("written");
        let mode = |path: &str| {
            let data = fs::metadata(root.join(path)).expect("there");
            data.permissions().mode() & 0o7777
        };
        assert_eq!(mode("usr/bin/a"), 0o555);
        assert_eq!(mode("tmp"), 0o1777);
        assert_eq!(mode("etc/passwd"), 0o644);
        let archive = layer.tar().expect("made");
        let text = String::from_utf8_lossy(&archive);
        for path in ["usr/bin/a\0", "tmp/\0", "etc/passwd\0"] {
            assert!(text.contains(path), "{path:?}");
        }
    }
}
