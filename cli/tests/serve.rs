// SPDX-License-Identifier: Apache-2.0
//! `gvirtus serve` on the driver that does nothing: who gets a session, and what the log says.

use std::io::{BufRead as _, BufReader, IoSlice};
use std::process::{Child, ChildStdout, Command, Stdio};

use gvirtus_protocol::handshake::{
    ClientIdentity, HandshakeError, Hello, PREAMBLE_BYTES, Welcome, read_server_preamble,
};
use gvirtus_transport::{Endpoint, Stream, connect, write_all_vectored};
use rustix::process::{Pid, Signal, kill_process};

struct Daemon {
    child: Child,
    endpoint: Endpoint,
    /// Kept open, as a terminal is.
    _stdout: BufReader<ChildStdout>,
}

impl Daemon {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_gvirtus"))
            .args(["serve", "--driver", "noop", "--listen", "tcp://127.0.0.1:0"])
            .args(arguments)
            .env("GVIRTUS_LOG", "info")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program is built");
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("a pipe");
        let endpoint = line.trim().strip_prefix("listening on ");
        let endpoint = endpoint.and_then(|text| text.parse().ok());
        Self {
            child,
            endpoint: endpoint.expect(&line),
            _stdout: stdout,
        }
    }

    fn connect(&self) -> Box<dyn Stream> {
        connect(&self.endpoint).expect("it listens")
    }

    fn session(&self) -> Result<(Box<dyn Stream>, Welcome), HandshakeError> {
        let stream = self.connect();
        let identity = ClientIdentity {
            program: "a \"test\"\nof mine".to_owned(),
            ..ClientIdentity::default()
        };
        let hello = Hello::new(identity, Vec::new()).encode();
        write_all_vectored(&*stream, &mut [IoSlice::new(&hello)]).expect("it reads");
        let mut preamble = [0; PREAMBLE_BYTES];
        read_exact(&*stream, &mut preamble);
        let announced = read_server_preamble(&preamble)?;
        let mut body = vec![0; announced.length];
        read_exact(&*stream, &mut body);
        Ok((stream, Welcome::decode(announced, &body)?))
    }

    /// Asks it to end; what it has logged.
    fn end(mut self) -> String {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).expect("it runs");
        let status = self.child.wait().expect("it is our child");
        assert!(status.success(), "{status}");
        let stderr = self.child.stderr.take().expect("piped");
        std::io::read_to_string(stderr).expect("text")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_exact(stream: &dyn Stream, mut buffer: &mut [u8]) {
    while !buffer.is_empty() {
        let count = stream.read(buffer).expect("the daemon answers");
        assert_ne!(count, 0, "the daemon closed");
        buffer = &mut buffer[count..];
    }
}

#[test]
fn there_are_no_more_sessions_than_allowed() {
    let daemon = Daemon::start(&["--max-sessions", "2"]);
    let first = daemon.session().expect("one");
    let second = daemon.session().expect("two");
    assert_ne!(first.1.session_id, second.1.session_id);
    assert_eq!(first.1.snapshot.devices[0].name, "gvirtus no-op");
    let refused = daemon.session().err().expect("three").to_string();
    assert!(
        refused.contains("all 2 sessions of this backend are in use"),
        "{refused}"
    );
    drop(first);
    // The worker needs a moment to end.
    while let Err(error) = daemon.session().map(drop) {
        assert_eq!(error.to_string(), refused);
    }
    drop(second);
    daemon.end();
}

#[test]
fn silent_clients_keep_nobody_out() {
    let daemon = Daemon::start(&[]);
    let silent: Vec<_> = (0..100).map(|_| daemon.connect()).collect();
    daemon.session().expect("a session all the same");
    drop(silent);
    daemon.end();
}

#[test]
fn the_log_is_one_object_a_line_whatever_clients_call_themselves() {
    let daemon = Daemon::start(&["--log-format", "json"]);
    drop(daemon.session().expect("a session"));
    let log = daemon.end();
    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect();
    let message = |text: &str| lines.iter().find(|line| line["message"] == text);
    let begins = message("session begins").expect("logged");
    assert_eq!(begins["program"], r#""a \"test\"\nof mine""#);
    assert!(message("session ends").is_some(), "{log}");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut daemon = Daemon::start(&["--drain-timeout-s", "1000"]);
    let (stream, _) = daemon.session().expect("a session");
    let pid = Pid::from_child(&daemon.child);
    kill_process(pid, Signal::TERM).expect("it runs");
    while connect(&daemon.endpoint).is_ok() {
        std::thread::yield_now();
    }
    assert!(!stream.is_readable().expect("open"), "the session goes on");
    kill_process(pid, Signal::TERM).expect("it runs");
    assert!(daemon.child.wait().expect("our child").success());
    assert_eq!(
        stream.read(&mut [0]).unwrap_or(0),
        0,
        "the session has ended"
    );
}
