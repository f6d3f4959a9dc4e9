// SPDX-License-Identifier: Apache-2.0
//! A bridge for pods, in a network namespace of its own.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

/// The node's address on the bridge; the control plane listens there.
pub(crate) const NODE: &str = "10.244.77.1";
const PODS: &str = "10.244.77.0/24";
const SERVICES: &str = "10.96.0.0/24";
const BRIDGE: &str = "gvirtus0";

/// Makes the bridge. To be called in the namespace.
pub(crate) fn set_up() -> Result<()> {
    let node = format!("{NODE}/24");
    let steps: [&[&str]; 5] = [
        &["link", "set", "lo", "up"],
        &["link", "add", BRIDGE, "type", "bridge"],
        &["address", "add", &node, "dev", BRIDGE],
        &["link", "set", BRIDGE, "up"],
        // Every address of a Service is one of this machine, which forwards what comes there.
        &["route", "add", "local", SERVICES, "dev", "lo"],
    ];
    for words in steps {
        command("ip", words)?;
    }
    Ok(())
}

/// Writes what containerd reads of a network.
pub(crate) fn configure(folder: &Path) -> Result<()> {
    let addresses = json!({
        "type": "host-local", "ranges": [[{"subnet": PODS, "rangeStart": "10.244.77.10"}]],
        "routes": [{"dst": "0.0.0.0/0"}], "dataDir": "/run/gvirtus-addresses",
    });
    let bridge = json!({
        "type": "bridge", "bridge": BRIDGE, "isGateway": true, "ipam": addresses,
    });
    let list = json!({"cniVersion": "1.0.0", "name": "gvirtus-tests", "plugins": [bridge]});
    fs::create_dir_all(folder)?;
    Ok(fs::write(
        folder.join("10-gvirtus.conflist"),
        list.to_string(),
    )?)
}

/// Runs a program of the system that has to succeed.
pub(crate) fn command(name: &str, words: &[&str]) -> Result<String> {
    let output = Command::new(name)
        .args(words)
        .output()
        .with_context(|| format!("cannot start {name}"))?;
    ensure!(
        output.status.success(),
        "{name} {}: {}",
        words.join(" "),
        String::from_utf8_lossy(&output.stderr).trim_end()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
