// SPDX-License-Identifier: Apache-2.0
//! The processes that use software devices, as `/proc` shows them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use super::page::{Page, read};
use super::{NAME, now_ns};

/// What a process uses of one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProcessUsage {
    /// Its id here.
    pub(crate) pid: u32,
    /// Bytes of device memory.
    pub(crate) memory_bytes: u64,
    /// For how long kernels were at work in the last whole second.
    pub(crate) busy_ns: u64,
}

/// Those of this user that `/proc` shows, in the order of their ids.
pub(crate) fn processes(device: usize) -> Vec<ProcessUsage> {
    // The child of a fork has its parent's file too, in which the parent's id is.
    let mut by_file: BTreeMap<u64, (bool, ProcessUsage)> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        if let Some((file, is_own, usage)) = process(&entry.path(), pid, device) {
            let known = by_file.entry(file).or_insert((is_own, usage));
            if is_own && !known.0 {
                *known = (is_own, usage);
            }
        }
    }
    let mut found: Vec<ProcessUsage> = by_file.into_values().map(|(_, usage)| usage).collect();
    found.sort_by_key(|usage| usage.pid);
    found
}

/// Number of the process's file, whether the file has the same id, and what is in it.
fn process(folder: &Path, pid: u32, device: usize) -> Option<(u64, bool, ProcessUsage)> {
    let link = format!("/memfd:{NAME} (deleted)");
    // Those of other users cannot be read.
    let descriptor = fs::read_dir(folder.join("fd"))
        .ok()?
        .flatten()
        .find(|entry| {
            fs::read_link(entry.path()).is_ok_and(|target| target.as_os_str() == link.as_str())
        })?;
    let file = fs::File::open(descriptor.path()).ok()?;
    let mut bytes = [0; size_of::<Page>()];
    file.read_exact_at(&mut bytes, 0).ok()?;
    let reading = read(&bytes, device, now_ns())?;
    let usage = ProcessUsage {
        pid,
        memory_bytes: reading.memory_bytes,
        busy_ns: reading.busy_ns,
    };
    Some((file.metadata().ok()?.ino(), reading.pid == pid, usage))
}
