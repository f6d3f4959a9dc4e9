// SPDX-License-Identifier: Apache-2.0
//! Namespaces for processes, mounts and networks: what runs in them ends with their first process,
//! and takes mounts and bridges along. Control groups and files are removed after that.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use super::network::command;

const POLL: Duration = Duration::from_millis(50);
/// How long the kernel may take to end what was killed.
const END_LIMIT: Duration = Duration::from_secs(20);
const CONTROL_GROUPS: &str = "/sys/fs/cgroup";
/// Folders in which a node's programs make others, whatever they are told.
const OVERLAID: [&str; 3] = ["/run", "/var/lib", "/var/log"];
/// Folders of those others, where the machine's own node may have its files.
const HIDDEN: [&str; 6] = [
    "/run/containerd",
    "/var/lib/cni",
    "/var/lib/containerd",
    "/var/lib/kubelet",
    "/var/log/containers",
    "/var/log/pods",
];

/// What the program in the namespaces knows of the one that made them: `FOLDER:GROUP`.
#[derive(Clone, Debug)]
pub(crate) struct Inside {
    /// For files, gone afterwards.
    pub(crate) folder: PathBuf,
    /// A control group below each root, gone afterwards.
    pub(crate) group: String,
}

impl FromStr for Inside {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (folder, group) = text.rsplit_once(':').ok_or("FOLDER:GROUP")?;
        Ok(Self {
            folder: folder.into(),
            group: group.into(),
        })
    }
}

/// This program once more, in namespaces; dropping it ends everything there.
pub(crate) struct Sandbox {
    child: Child,
    group: String,
    _folder: TempDir,
}

impl Sandbox {
    pub(crate) fn start() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("gvirtus-node-").tempdir()?;
        let group = format!("gvirtus-node-{}", std::process::id());
        for root in roots() {
            let path = root.join(&group);
            fs::create_dir(&path).with_context(|| path.display().to_string())?;
        }
        let child = Command::new("unshare")
            .args(["--mount", "--net", "--pid", "--fork", "--kill-child"])
            .arg("--mount-proc")
            .arg("--")
            .arg(std::env::current_exe()?)
            .args(std::env::args_os().skip(1))
            .arg("--inside")
            .arg(format!("{}:{group}", folder.path().display()))
            .env("TMPDIR", folder.path())
            .spawn()
            .context("cannot start unshare")?;
        Ok(Self {
            child,
            group,
            _folder: folder,
        })
    }

    /// Waits for it and tells whether it was content.
    pub(crate) async fn wait(mut self) -> Result<bool> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status.success());
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let start = Instant::now();
        while start.elapsed() < END_LIMIT {
            let left = roots()
                .map(|root| root.join(&self.group))
                .filter(|path| path.exists() && remove_group(path).is_err())
                .count();
            if left == 0 {
                return;
            }
            std::thread::sleep(POLL);
        }
        eprintln!("control groups {} are left over", self.group);
    }
}

/// Lets a node's programs write where they always do, and keeps it in `folder`: the machine's files
/// stay what they are, and can be read. To be called in the namespaces.
pub(super) fn cover(folder: &Path) -> Result<()> {
    // kubelet shares mounts with containers; nothing of it reaches the machine's own namespace.
    command("mount", &["--make-rshared", "/"])?;
    let private = |place: &str| folder.join(place.trim_start_matches('/').replace('/', "-"));
    for place in OVERLAID {
        let [upper, work] = ["upper", "work"].map(|name| private(place).join(name));
        fs::create_dir_all(&upper)?;
        fs::create_dir_all(&work)?;
        let layers = format!(
            "lowerdir={place},upperdir={},workdir={}",
            upper.display(),
            work.display()
        );
        command("mount", &["-t", "overlay", "-o", &layers, "overlay", place])?;
    }
    for place in HIDDEN {
        let empty = private(place);
        fs::create_dir_all(&empty)?;
        fs::create_dir_all(place)?;
        command("mount", &["--bind", &empty.display().to_string(), place])?;
    }
    Ok(())
}

/// Where control groups start: one place, or with their first version one for each controller.
fn roots() -> impl Iterator<Item = PathBuf> {
    let root = PathBuf::from(CONTROL_GROUPS);
    let is_one = root.join("cgroup.controllers").exists();
    let listed = fs::read_dir(&root).into_iter().flatten().flatten();
    let each = listed
        .filter(move |entry| !is_one && entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path());
    is_one.then_some(root).into_iter().chain(each)
}

fn remove_group(path: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_group(&entry.path())?;
        }
    }
    fs::remove_dir(path)
}
