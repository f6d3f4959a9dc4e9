// SPDX-License-Identifier: Apache-2.0
//! A CUDA program that does what it is told: `tests/programs/obey.cu`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::processes::Number;
use crate::program::kill_group;
use crate::{LIMIT, PROGRAM_LIMIT, Way, product};

/// A running program; ended when dropped.
#[derive(Debug)]
pub struct Session {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

/// What the program answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The name of the CUDA error, `cudaSuccess` if there is none.
    pub status: String,
    /// What follows it.
    pub numbers: Vec<u64>,
}

impl Answer {
    /// Whether CUDA succeeded.
    pub fn is_success(&self) -> bool {
        self.status == "cudaSuccess"
    }
}

impl Session {
    /// Starts the program; it makes no CUDA call before it is told to.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn start(way: Way<'_>) -> Self {
        Self::with_statistics(way, None)
    }

    /// The same; the client library writes its counters to `statistics` at the end.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn with_statistics(way: Way<'_>, statistics: Option<&Path>) -> Self {
        let path = statistics.map(|path| path.to_str().expect("UTF-8"));
        let variable = path.map(|path| ("GVIRTUS_STATISTICS", path));
        Self::start_in(way, variable.as_slice())
    }

    /// The same with these variables.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn start_in(way: Way<'_>, environment: &[(&str, &str)]) -> Self {
        let mut command = way.command(&product().program("obey"));
        command.envs(environment.iter().copied());
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let stdin = child.stdin.take().expect("piped");
        let stdout = child.stdout.take().expect("piped");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            stdin: Some(stdin),
            lines,
        }
    }

    /// Its process.
    pub fn pid(&self) -> Number {
        self.child.id()
    }

    /// Gives a command without waiting for its answer.
    ///
    /// # Panics
    ///
    /// If the program has ended.
    pub fn tell(&mut self, command: &str) {
        let stdin = self.stdin.as_mut().expect("open until the end");
        writeln!(stdin, "{command}").expect("the program reads");
    }

    /// Gives a command and waits for its answer, for as long as a program may run.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[track_caller]
    pub fn ask(&mut self, command: &str) -> Answer {
        self.tell(command);
        self.answer(command, PROGRAM_LIMIT)
            .unwrap_or_else(|| panic!("no answer to {command:?}"))
    }

    /// Gives a command that must succeed, and returns the numbers of the answer.
    ///
    /// # Panics
    ///
    /// If it does not.
    #[track_caller]
    pub fn need(&mut self, command: &str) -> Vec<u64> {
        let answer = self.ask(command);
        assert!(answer.is_success(), "{command}: {}", answer.status);
        answer.numbers
    }

    /// The answer to `command`, which was given before; nothing if there is none within `limit`.
    ///
    /// # Panics
    ///
    /// If the program ends instead.
    #[track_caller]
    pub fn answer(&self, command: &str, limit: Duration) -> Option<Answer> {
        let line = match self.lines.recv_timeout(limit) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => return None,
            Err(RecvTimeoutError::Disconnected) => panic!("the program ended at {command:?}"),
        };
        let mut words = line.split_whitespace();
        let name = words.next().unwrap_or_default();
        assert!(
            command.starts_with(name) && !name.is_empty(),
            "{line:?} does not answer {command:?}"
        );
        Some(Answer {
            status: words.next().unwrap_or_default().to_owned(),
            numbers: words.filter_map(|word| word.parse().ok()).collect(),
        })
    }

    /// Lets the program end by itself.
    ///
    /// # Panics
    ///
    /// If it does not.
    pub fn end(mut self) -> ExitStatus {
        drop(self.stdin.take());
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status;
            }
            assert!(start.elapsed() < 2 * LIMIT, "the program does not end");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        kill_group(&self.child);
        let _ = self.child.wait();
    }
}
