// SPDX-License-Identifier: Apache-2.0
//! A backend of our own on a Unix socket, for one command.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use gvirtus_transport::Endpoint;
use rustix::process::{Pid, Signal, kill_process};

use crate::installation;

/// How long a backend may take to end after it was asked to.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// Ends when dropped.
pub(crate) struct PrivateBackend {
    child: Child,
    endpoint: Endpoint,
}

impl PrivateBackend {
    /// Starts `gvirtus serve` on a socket in `scratch` and waits until it listens.
    pub(crate) fn start(scratch: &Path, driver: &str) -> Result<Self> {
        let endpoint = Endpoint::Unix {
            path: scratch.join("backend.sock"),
        };
        let mut child = Command::new(installation::program()?)
            .args([
                "serve",
                "--exit-with-parent",
                "--driver",
                driver,
                "--listen",
            ])
            .arg(endpoint.to_string())
            .arg("--remove-folder")
            .arg(scratch)
            // Ctrl-C is for the program; the backend goes on until the program has ended.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // It is for the program, whose client library tells the backend.
            .env_remove("CUDA_VISIBLE_DEVICES")
            .env(
                "GVIRTUS_LOG",
                std::env::var_os("GVIRTUS_LOG").unwrap_or_else(|| "error".into()),
            )
            .spawn()
            .context("cannot start a private backend")?;
        let stdout = child
            .stdout
            .take()
            .context("a piped standard output is there")?;
        let mut backend = Self { child, endpoint };
        let mut line = String::new();
        // `serve` prints one line when it listens, and closes its output when it fails.
        BufReader::new(stdout).read_line(&mut line)?;
        if line.is_empty() {
            let status = backend.child.wait()?;
            bail!("the private backend did not start ({status}); its reason is above");
        }
        Ok(backend)
    }

    /// Where it listens.
    pub(crate) const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }
}

impl Drop for PrivateBackend {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // An error means that it has ended already.
            let _ = kill_process(pid, Signal::TERM);
        }
        let deadline = Instant::now() + STOP_TIMEOUT;
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
