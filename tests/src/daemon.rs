// SPDX-License-Identifier: Apache-2.0
//! `gvirtus serve`, ended when dropped.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::processes::{self, Number};
use crate::program::kill_group;
use crate::{prepare, product};

const START_LIMIT: Duration = Duration::from_secs(20);

/// A daemon with softgpu that listens on a Unix socket and on loopback TCP.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    socket: PathBuf,
    port: u16,
    log: PathBuf,
    folder: tempfile::TempDir,
}

impl Daemon {
    /// Starts one and waits until it listens.
    ///
    /// # Panics
    ///
    /// If it does not.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same, with more arguments.
    ///
    /// # Panics
    ///
    /// If it does not listen.
    pub fn start_with(arguments: &[&str]) -> Self {
        Self::start_in(&[], arguments)
    }

    /// The same, with environment variables.
    ///
    /// # Panics
    ///
    /// If it does not listen.
    pub fn start_in(environment: &[(&str, &str)], arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("the system's temporary folder is writable");
        let socket = folder.path().join("socket");
        let log = folder.path().join("log");
        let output = File::create(&log).expect("the folder is ours");
        let child = prepare(&product().gvirtus)
            .args(["serve", "--driver", "softgpu"])
            .arg("--listen")
            .arg(format!("unix://{}", socket.display()))
            .args(["--listen", "tcp://127.0.0.1:0"])
            .args(arguments)
            .env("TMPDIR", folder.path())
            .env("GVIRTUS_LOG", "info")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(output)
            .spawn()
            .expect("gvirtus starts");
        let mut daemon = Self {
            child,
            socket,
            port: 0,
            log,
            folder,
        };
        daemon.port = daemon.wait_until_it_listens();
        daemon
    }

    /// Its endpoint `unix://…`.
    pub fn unix(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// Its endpoint `tcp://…`.
    pub fn tcp(&self) -> String {
        format!("tcp://127.0.0.1:{}", self.port)
    }

    /// Its TCP port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The file of its Unix socket.
    pub fn socket(&self) -> &PathBuf {
        &self.socket
    }

    /// Its process.
    pub fn pid(&self) -> Number {
        self.child.id()
    }

    /// The processes that it has started and that are alive.
    pub fn workers(&self) -> Vec<Number> {
        let mut workers = processes::children(self.pid());
        workers.retain(|pid| processes::is_alive(*pid));
        workers
    }

    /// The worker of the client with this process id, as the log names it.
    pub fn worker_of(&self, client: Number) -> Option<Number> {
        let client = format!(" pid={client} ");
        let log = self.log();
        let line = log.lines().rfind(|line| line.contains(&client))?;
        let (_, rest) = line.split_once(" worker=")?;
        rest.split_whitespace().next()?.parse().ok()
    }

    /// The files in the folder that it was given for temporary ones, but for its log.
    ///
    /// # Panics
    ///
    /// If the folder is gone.
    pub fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).expect("the folder is there");
        let mut names: Vec<_> = entries
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| name != "log")
            .collect();
        names.sort();
        names
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Whether it runs.
    ///
    /// # Panics
    ///
    /// If the system does not tell.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_none()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        processes::signal(self.pid(), signal);
    }

    /// Waits for its end.
    ///
    /// # Panics
    ///
    /// If it runs on for longer than `limit`.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status;
            }
            assert!(
                start.elapsed() < limit,
                "the daemon does not end:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Returns the port that the system has chosen.
    fn wait_until_it_listens(&mut self) -> u16 {
        let stdout = self.child.stdout.take().expect("piped");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // Nobody listens any more: the daemon must be able to write on.
                let _ = sender.send(line);
            }
        });
        loop {
            let Ok(line) = lines.recv_timeout(START_LIMIT) else {
                panic!("the daemon does not listen:\n{}", self.log());
            };
            let port = line.strip_prefix("listening on tcp://127.0.0.1:");
            if let Some(port) = port.and_then(|port| port.parse().ok()) {
                return port;
            }
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the daemon's log:\n{}", self.log());
        }
        kill_group(&self.child);
        let _ = self.child.wait();
    }
}
