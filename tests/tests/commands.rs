// SPDX-License-Identifier: Apache-2.0
//! The program `gvirtus`: what it passes through, and how it says no.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use gvirtus_tests::{
    Daemon, Finished, LIMIT, PROGRAM_LIMIT, Session, Way, finish, prepare, processes, product, run,
    spawn, within_a_second,
};
use rustix::process::Signal;

/// `gvirtus run` with a folder for temporary files and a mark on every process that it starts.
struct Runner {
    folder: tempfile::TempDir,
}

const MARK: &str = "MARK_OF_A_TEST";

impl Runner {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("the temporary folder is writable");
        Self { folder }
    }

    fn mark(&self) -> String {
        self.folder.path().display().to_string()
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = prepare(&product().gvirtus);
        command
            .args(["run", "--driver", "softgpu", "--"])
            .args(words)
            .env("TMPDIR", self.folder.path())
            .env(MARK, self.mark());
        command
    }

    fn run(&self, words: &[&str]) -> Finished {
        let finished = run(&mut self.command(words));
        self.assert_nothing_left();
        finished
    }

    fn assert_nothing_left(&self) {
        let left = std::fs::read_dir(self.folder.path())
            .expect("ours")
            .flatten();
        let left: Vec<_> = left.map(|entry| entry.path()).collect();
        assert!(left.is_empty(), "files left behind: {left:?}");
        within_a_second(Instant::now(), "no process is left", || {
            processes::with_variable(MARK, &self.mark()).is_empty()
        });
    }
}

fn shell(script: &str) -> [&str; 3] {
    ["sh", "-c", script]
}

#[test]
fn run_passes_the_exit_code_and_both_outputs() {
    let runner = Runner::new();
    for code in [0, 1, 77, 255] {
        let script = format!("echo to output; echo to error >&2; exit {code}");
        let finished = runner.run(&shell(&script));
        assert_eq!(finished.status.code(), Some(code));
        assert_eq!(finished.stdout, "to output\n");
        assert_eq!(finished.stderr, "to error\n");
    }
}

#[test]
fn run_ends_by_the_signal_that_ended_the_program() {
    let runner = Runner::new();
    for signal in [Signal::KILL, Signal::TERM, Signal::SEGV, Signal::ABORT] {
        let script = format!("kill -{} $$", signal.as_raw());
        let finished = runner.run(&shell(&script));
        assert_eq!(finished.status.signal(), Some(signal.as_raw()));
    }
}

#[test]
fn run_passes_signals_on() {
    for signal in [
        Signal::TERM,
        Signal::INT,
        Signal::HUP,
        Signal::USR1,
        Signal::USR2,
    ] {
        let runner = Runner::new();
        let number = signal.as_raw();
        let script = format!(
            "trap 'echo got it; exit 9' {number}; echo ready; while :; do sleep 0.05; done"
        );
        let start = Instant::now();
        let mut child = spawn(&mut runner.command(&shell(&script)));
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("a pipe");
        assert_eq!(line, "ready\n");
        processes::signal(child.id(), signal);
        line.clear();
        stdout.read_line(&mut line).expect("a pipe");
        assert_eq!(line, "got it\n", "signal {number}");
        child.stdout = Some(stdout.into_inner());
        let finished = finish(child, b"", start, PROGRAM_LIMIT);
        assert_eq!(finished.status.code(), Some(9));
        runner.assert_nothing_left();
    }
}

#[test]
fn run_passes_standard_input() {
    let runner = Runner::new();
    let input: String = (0..100_000).map(|n| format!("line {n}\n")).collect();
    let start = Instant::now();
    let child = spawn(&mut runner.command(&["cat"]));
    let finished = finish(child, input.as_bytes(), start, PROGRAM_LIMIT).successful();
    assert_eq!(finished.stdout, input);
    runner.assert_nothing_left();
}

#[test]
fn run_tells_that_there_is_no_such_program() {
    let runner = Runner::new();
    let finished = runner.run(&["no-such-program-anywhere"]);
    assert_eq!(finished.status.code(), Some(127));
    assert!(
        finished.stderr.contains("no-such-program-anywhere"),
        "{}",
        finished.stderr
    );
    let finished = runner.run(&["/etc/hostname"]);
    assert_eq!(finished.status.code(), Some(126));
}

#[test]
fn run_gives_a_cuda_program_a_device_of_its_own() {
    let runner = Runner::new();
    let obey = product().program("obey");
    let obey = obey.to_str().expect("paths here are UTF-8");
    let start = Instant::now();
    let child = spawn(&mut runner.command(&[obey]));
    let script = b"launch 1000\ncount\nto_device 3 100000\nmemory\nexit 42\n";
    let finished = finish(child, script, start, PROGRAM_LIMIT);
    assert_eq!(finished.status.code(), Some(42), "{}", finished.stderr);
    let lines: Vec<_> = finished.stdout.lines().collect();
    assert_eq!(
        lines[..3],
        [
            "launch cudaSuccess",
            "count cudaSuccess 1000",
            "to_device cudaSuccess"
        ]
    );
    assert_eq!(finished.stderr, "", "nothing is said that nobody asked for");
    runner.assert_nothing_left();
}

#[test]
fn run_uses_the_endpoint_that_it_is_given() {
    let daemon = Daemon::start();
    let runner = Runner::new();
    let example = product().example("vector_add");
    let mut command = runner.command(&[example.to_str().expect("UTF-8")]);
    command.env("GVIRTUS_ENDPOINT", daemon.tcp());
    run(&mut command).successful();
    assert!(daemon.log().contains("vector_add"), "{}", daemon.log());
    runner.assert_nothing_left();
}

#[test]
fn programs_that_start_programs_work_in_all_of_them() {
    let runner = Runner::new();
    let fork = product().program("fork_after_use");
    let finished = runner.run(&[fork.to_str().expect("UTF-8")]).successful();
    assert!(
        finished.stdout.ends_with("ok fork_after_use\n"),
        "{}",
        finished.stdout
    );
    let add = product().example("vector_add");
    let script = format!("{0} 100 && {0} 200 & {0} 300; wait", add.display());
    let finished = runner.run(&shell(&script)).successful();
    assert_eq!(
        finished.stdout.matches("ok vector_add").count(),
        3,
        "{}",
        finished.stdout
    );
}

#[test]
fn a_killed_run_takes_its_backend_along() {
    let runner = Runner::new();
    let mut child = spawn(&mut runner.command(&shell("echo ready; exec sleep 600")));
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped"))
        .read_line(&mut line)
        .expect("a pipe");
    let all = processes::with_variable(MARK, &runner.mark());
    let is_backend = |pid: &u32| processes::command_line(*pid).contains("serve");
    let backends: Vec<_> = all.into_iter().filter(is_backend).collect();
    assert_eq!(backends.len(), 1);
    let killed = processes::kill(child.id());
    child.wait().expect("it is our child");
    within_a_second(killed, "the private backend is gone", || {
        !processes::is_alive(backends[0])
    });
    // Nobody can end the program for a killed parent.
    for pid in processes::with_variable(MARK, &runner.mark()) {
        processes::kill(pid);
    }
}

#[test]
fn devices_are_listed_for_people_and_for_programs() {
    let daemon = Daemon::start();
    let list = |arguments: &[&str]| {
        let mut command = prepare(&product().gvirtus);
        command
            .arg("devices")
            .args(arguments)
            .env("GVIRTUS_ENDPOINT", daemon.unix());
        run(&mut command).successful().stdout
    };
    assert!(list(&[]).contains("gvirtus softgpu"));
    let json: serde_json::Value = serde_json::from_str(&list(&["--json"])).expect("JSON");
    let devices = json["devices"].as_array().expect("a list");
    assert_eq!(devices[0]["name"], "gvirtus softgpu");
    assert_eq!(devices[0]["compute_capability"], "8.0");
}

#[test]
fn bench_measures_every_part_and_writes_json() {
    let runner = Runner::new();
    let mut command = prepare(&product().gvirtus);
    command
        .args(["bench", "--quick", "--json", "--transport", "unix"])
        .args(["--only", "round-trips,launches,start,copies"])
        .env("TMPDIR", runner.folder.path())
        .env(MARK, runner.mark());
    let finished = run(&mut command).successful();
    runner.assert_nothing_left();
    let report: serde_json::Value = serde_json::from_str(&finished.stdout).expect("JSON");
    assert!(report["machine"]["cores"].as_u64().is_some_and(|n| n > 0));
    let figures = report["figures"].as_array().expect("a list");
    for (name, unit, has_limit) in [
        ("round_trip_same_core_p50", "us", true),
        ("round_trip_same_core_p99", "us", false),
        ("launch_call_p50", "ns", true),
        ("launches", "1/s", true),
        ("first_call", "ms", true),
        ("h2d_4KiB", "GB/s", false),
        ("d2h_256MiB", "GB/s", true),
    ] {
        let name = format!("unix.{name}");
        let figure = figures
            .iter()
            .find(|figure| figure["name"] == name.as_str());
        let figure = figure.unwrap_or_else(|| panic!("no {name} in {}", finished.stdout));
        assert_eq!(figure["unit"], unit, "{name}");
        assert_eq!(figure["limit"].is_number(), has_limit, "{name}");
        assert_eq!(figure["met"].is_boolean(), has_limit, "{name}");
        for field in ["value", "ratio"] {
            let number = figure[field].as_f64();
            assert!(number.is_some_and(|n| n > 0.0), "{name}: {figure}");
        }
    }
}

/// A command that must fail soon, with a sentence that contains `word`.
fn refused(command: &mut Command, word: &str) {
    let start = Instant::now();
    let finished = finish(spawn(command), b"", start, LIMIT);
    assert!(
        finished.status.code().is_some_and(|code| code != 0),
        "{command:?}: {}",
        finished.status
    );
    assert!(
        finished.stderr.contains(word),
        "{command:?} does not speak of {word:?}:\n{}",
        finished.stderr
    );
    assert!(!finished.stderr.contains("panicked"), "{}", finished.stderr);
}

fn serve(arguments: &[&str]) -> Command {
    let mut command = prepare(&product().gvirtus);
    command.arg("serve").args(arguments);
    command
}

#[test]
fn serve_refuses_what_is_not_safe_or_not_right() {
    let folder = tempfile::tempdir().expect("the temporary folder is writable");
    let socket = format!("unix://{}/socket", folder.path().display());
    let shim = product().shim.to_str().expect("UTF-8").to_owned();
    let soft = ["--driver", "softgpu", "--listen"];
    for open in ["tcp://0.0.0.0:19991", "tcp://[::]:19991"] {
        refused(serve(&soft).arg(open), "--insecure");
    }
    refused(serve(&soft).arg("http://localhost"), "endpoint");
    refused(serve(&soft).arg("unix://relative/path"), "absolute");
    refused(
        serve(&soft).arg("unix:///no/such/folder/socket"),
        "/no/such/folder/socket",
    );
    refused(
        &mut serve(&["--driver", &shim, "--listen", &socket]),
        "client library",
    );
    refused(
        &mut serve(&["--driver", "/no/such/libcuda.so", "--listen", &socket]),
        "/no/such",
    );
    refused(
        &mut serve(&["--driver", "/etc/hostname", "--listen", &socket]),
        "/etc/hostname",
    );
    assert!(!Path::new(&socket["unix://".len()..]).exists());
}

#[test]
fn a_place_that_is_taken_stays_with_its_owner() {
    let daemon = Daemon::start();
    for endpoint in [daemon.unix(), daemon.tcp()] {
        refused(
            serve(&["--driver", "softgpu", "--listen"]).arg(&endpoint),
            "in use",
        );
        let mut session = Session::start(Way::Remoted(&endpoint));
        session.need("launch 1");
    }
}

#[test]
fn wrong_endpoints_are_explained() {
    for (endpoint, word) in [
        ("gpu", "not an endpoint"),
        ("tcp://", "no host"),
        ("tcp://127.0.0.1:70000", "port"),
        ("unix:///no/such/socket", "/no/such/socket"),
        ("tcp://127.0.0.1:1", "127.0.0.1:1"),
    ] {
        let mut devices = prepare(&product().gvirtus);
        refused(devices.args(["devices", "--endpoint", endpoint]), word);
        // A program is told by CUDA's error, and a person by one line.
        let mut program = Way::Remoted(endpoint).command(&product().example("vector_add"));
        refused(&mut program, word);
    }
}

#[test]
fn a_program_without_a_backend_gets_an_error_and_goes_on() {
    let mut session = Session::start(Way::Remoted("unix:///no/such/socket"));
    for _ in 0..3 {
        let start = Instant::now();
        session.tell("launch 1");
        let answer = session.answer("launch", LIMIT).expect("it does not hang");
        eprintln!("{} after {} ms", answer.status, start.elapsed().as_millis());
        assert!(!answer.is_success());
    }
    assert_eq!(session.end().code(), Some(0));
}
