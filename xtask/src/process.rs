// SPDX-License-Identifier: Apache-2.0
//! Child processes: bounded in time, ended as a whole group, never left behind by Ctrl-C.
//!
//! A child gets its own process group, so ending it ends what it started too. Ctrl-C then reaches
//! only xtask, which notices it within [`POLL`] while it waits and ends the group itself.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// How often a wait looks at the clock and at the interrupt flag.
const POLL: Duration = Duration::from_millis(20);
/// How long a group may take from SIGTERM until it is killed.
const GRACE: Duration = Duration::from_secs(3);
/// How long output is awaited after the child has gone: a grandchild may hold the pipe open.
const DRAIN: Duration = Duration::from_secs(1);

static INTERRUPTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Turns Ctrl-C and its kin into a flag; the second one ends xtask at once.
pub(crate) fn watch_signals() -> Result<()> {
    let flag = INTERRUPTED.get_or_init(Arc::default);
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(flag))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(flag)))
            .context("cannot watch signals")?;
    }
    Ok(())
}

/// Whether Ctrl-C was pressed.
pub(crate) fn interrupted() -> bool {
    INTERRUPTED
        .get()
        .is_some_and(|flag| flag.load(Ordering::Relaxed))
}

/// Which of a child's outputs a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Error,
    Output,
}

/// How a child ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outcome {
    Exited(ExitStatus),
    TimedOut(Duration),
}

impl Outcome {
    pub(crate) fn success(self) -> bool {
        matches!(self, Self::Exited(status) if status.success())
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exited(status) => write!(f, "{status}"),
            Self::TimedOut(limit) => write!(f, "not finished after {} s", limit.as_secs()),
        }
    }
}

/// A running child; dropping it ends its whole process group.
pub(crate) struct Running {
    child: Child,
    reaped: bool,
}

impl Running {
    /// Starts `command` with no input.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let child = command
            .stdin(Stdio::null())
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", describe(command)))?;
        Ok(Self {
            child,
            reaped: false,
        })
    }

    /// The exit status if the child has ended.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        let status = self.child.try_wait().context("cannot wait for a child")?;
        self.reaped |= status.is_some();
        Ok(status)
    }

    fn wait(&mut self, limit: Duration) -> Result<Outcome> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.ended()? {
                return Ok(Outcome::Exited(status));
            }
            if interrupted() {
                bail!("interrupted");
            }
            if start.elapsed() > limit {
                return Ok(Outcome::TimedOut(limit));
            }
            std::thread::sleep(POLL);
        }
    }

    /// Ends the group: SIGTERM, some grace for the child, SIGKILL for whatever is left.
    fn end(&mut self) {
        let Ok(id) = i32::try_from(self.child.id()) else {
            return;
        };
        let Some(group) = Pid::from_raw(id) else {
            return;
        };
        if !self.reaped {
            let _ = kill_process_group(group, Signal::TERM);
            let start = Instant::now();
            while start.elapsed() < GRACE && !matches!(self.child.try_wait(), Ok(Some(_))) {
                std::thread::sleep(POLL);
            }
        }
        // The group's number stays taken for as long as one process is in it.
        let _ = kill_process_group(group, Signal::KILL);
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// Runs `command` with this process's outputs.
pub(crate) fn run(command: &mut Command, limit: Duration) -> Result<Outcome> {
    Running::start(command)?.wait(limit)
}

/// Runs `command` and fails unless it succeeds.
pub(crate) fn require(command: &mut Command, limit: Duration) -> Result<()> {
    let outcome = run(command, limit)?;
    ensure!(outcome.success(), "{}: {outcome}", describe(command));
    Ok(())
}

/// Runs `command`, shows its standard output and hands each line of it to `line`.
pub(crate) fn tee(
    command: &mut Command,
    limit: Duration,
    mut line: impl FnMut(&str),
) -> Result<Outcome> {
    follow(command.stdout(Stdio::piped()), limit, |_, text| {
        println!("{text}");
        line(text);
    })
}

/// Runs `command` and hands each line of both outputs to `line` as it comes.
pub(crate) fn lines(
    command: &mut Command,
    limit: Duration,
    line: impl FnMut(Stream, &str),
) -> Result<Outcome> {
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    follow(command, limit, line)
}

/// Runs `command` and hands over the lines of those outputs that are piped.
fn follow(
    command: &mut Command,
    limit: Duration,
    mut line: impl FnMut(Stream, &str),
) -> Result<Outcome> {
    let mut running = Running::start(command)?;
    let (sender, receiver) = channel();
    if let Some(output) = running.child.stdout.take() {
        forward(output, Stream::Output, sender.clone());
    }
    if let Some(error) = running.child.stderr.take() {
        forward(error, Stream::Error, sender.clone());
    }
    drop(sender);
    let outcome = receive(&mut running, &receiver, limit, &mut line)?;
    drop(running);
    let deadline = Instant::now() + DRAIN;
    while let Ok((stream, text)) =
        receiver.recv_timeout(deadline.saturating_duration_since(Instant::now()))
    {
        line(stream, &text);
    }
    Ok(outcome)
}

fn receive(
    running: &mut Running,
    receiver: &Receiver<(Stream, String)>,
    limit: Duration,
    line: &mut impl FnMut(Stream, &str),
) -> Result<Outcome> {
    let start = Instant::now();
    loop {
        match receiver.recv_timeout(POLL) {
            Ok((stream, text)) => line(stream, &text),
            Err(RecvTimeoutError::Disconnected) => {
                return running.wait(limit.saturating_sub(start.elapsed()));
            }
            Err(RecvTimeoutError::Timeout) => {
                if let Some(status) = running.ended()? {
                    return Ok(Outcome::Exited(status));
                }
            }
        }
        if interrupted() {
            bail!("interrupted");
        }
        if start.elapsed() > limit {
            return Ok(Outcome::TimedOut(limit));
        }
    }
}

/// The standard output of a command that must succeed.
pub(crate) fn capture(command: &mut Command, limit: Duration) -> Result<String> {
    let mut output = String::new();
    let mut errors = String::new();
    let outcome = lines(command, limit, |stream, text| {
        let target = match stream {
            Stream::Error => &mut errors,
            Stream::Output => &mut output,
        };
        target.push_str(text);
        target.push('\n');
    })?;
    ensure!(
        outcome.success(),
        "{}: {outcome}\n{}",
        describe(command),
        errors.trim_end()
    );
    Ok(output)
}

/// The command as a person would type it.
pub(crate) fn describe(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

/// The program that `name` means on PATH.
pub(crate) fn on_path(name: &str) -> Option<std::path::PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(name))
        .find(|path| {
            rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok() && path.is_file()
        })
}

fn forward(from: impl Read + Send + 'static, stream: Stream, to: Sender<(Stream, String)>) {
    std::thread::spawn(move || {
        let mut reader = BufReader::new(from);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            let text = String::from_utf8_lossy(&line);
            let text = text.trim_end_matches(['\n', '\r']).to_owned();
            if to.send((stream, text)).is_err() {
                return;
            }
            line.clear();
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn both_outputs_arrive_with_the_status() {
        let mut seen = Vec::new();
        let outcome = lines(
            &mut shell("echo out; echo err >&2; printf tail; exit 3"),
            Duration::from_secs(30),
            |stream, text| seen.push((stream, text.to_owned())),
        )
        .expect("starts");
        assert!(matches!(outcome, Outcome::Exited(s) if s.code() == Some(3)));
        seen.sort_by_key(|(stream, _)| *stream == Stream::Error);
        let texts: Vec<_> = seen.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["out", "tail", "err"]);
    }

    #[test]
    fn a_limit_ends_the_whole_group() {
        let mut grandchild = None;
        let outcome = lines(
            &mut shell("sleep 600 & echo $!; sleep 600"),
            Duration::from_millis(300),
            |_, text| grandchild = text.parse::<i32>().ok(),
        )
        .expect("starts");
        assert!(matches!(outcome, Outcome::TimedOut(_)));
        let grandchild = grandchild.and_then(Pid::from_raw).expect("printed");
        let gone = (0..100).any(|_| {
            std::thread::sleep(Duration::from_millis(20));
            let status = std::fs::read_to_string(format!("/proc/{grandchild}/status"));
            status.map_or(true, |text| text.contains("State:\tZ"))
        });
        assert!(gone, "the background process outlived its group");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run(
            &mut Command::new("no-such-program-here"),
            Duration::from_secs(1),
        )
        .expect_err("missing");
        assert!(format!("{error:#}").contains("no-such-program-here"));
    }
}
