// SPDX-License-Identifier: Apache-2.0
//! What `/proc` says about processes.

use std::fs;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

/// A process by its number.
pub type Number = u32;

/// The processes whose parent is `parent`, zombies included.
pub fn children(parent: Number) -> Vec<Number> {
    let mut found: Vec<_> = all()
        .filter(|pid| parent_of(*pid) == Some(parent))
        .collect();
    found.sort_unstable();
    found
}

/// Whether the process is there and not merely waits to be reaped.
pub fn is_alive(pid: Number) -> bool {
    fields(pid).is_some_and(|fields| !matches!(fields[0].as_str(), "Z" | "X"))
}

/// Whether the process is gone, reaped included.
pub fn is_gone(pid: Number) -> bool {
    fields(pid).is_none()
}

/// Bytes of the process that are in memory now.
pub fn resident_bytes(pid: Number) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kibibytes = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}

/// How many files and sockets the process has open.
pub fn open_files(pid: Number) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// The command line, its words joined by blanks.
pub fn command_line(pid: Number) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes)
        .replace('\0', " ")
        .trim_end()
        .to_owned()
}

/// All processes with an environment variable `name=value`.
pub fn with_variable(name: &str, value: &str) -> Vec<Number> {
    let wanted = format!("{name}={value}").into_bytes();
    let has = |pid: &Number| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment
            .split(|byte| *byte == 0)
            .any(|entry| entry == wanted)
    };
    all().filter(|pid| has(pid) && is_alive(*pid)).collect()
}

/// Sends `signal`; a process that is gone already is none of a test's business.
pub fn signal(pid: Number, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// `kill -9`, and when that was.
pub fn kill(pid: Number) -> Instant {
    let now = Instant::now();
    signal(pid, Signal::KILL);
    now
}

fn all() -> impl Iterator<Item = Number> {
    fs::read_dir("/proc")
        .expect("there is /proc")
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn parent_of(pid: Number) -> Option<Number> {
    fields(pid)?.get(1)?.parse().ok()
}

/// The fields of `/proc/<pid>/stat` from the state on: the name before it may hold anything.
fn fields(pid: Number) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}
