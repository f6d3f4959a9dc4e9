// SPDX-License-Identifier: Apache-2.0
//! Runs the PTX conformance files on a driver: `conformance [FILE…]`.
//!
//! The driver is `libcuda.so.1` as the loader finds it, or the library that `GVIRTUS_TEST_DRIVER`
//! names. Without files, all are run.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a program for people at a terminal")]

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use gvirtus_tests::conformance::{
    Case, CaseError, Driver, Ending, Outcome, Tally, cases, folder, run_case,
};

/// How long one case may take.
const LIMIT: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(reason) => {
            eprintln!("error: {reason}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<bool, String> {
    let paths: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let cases = read(&paths).map_err(|error| error.to_string())?;
    let path = std::env::var_os("GVIRTUS_TEST_DRIVER").unwrap_or_else(|| "libcuda.so.1".into());
    let driver = Driver::open(Path::new(&path)).map_err(|error| error.to_string())?;
    let watch = watch();
    let mut tally = Tally::default();
    for case in &cases {
        // Only a case that hangs is ever missed.
        let _ = watch.send(case.name.clone());
        let is_alone = cases.len() == 1;
        let outcome = match &case.ending {
            Ending::Fails(_) if !is_alone => run_apart(case),
            _ => run_case(&driver, case),
        };
        if let Outcome::Failed(reason) = &outcome {
            println!("FAILED {}\n{reason}", case.name);
        }
        tally.add(&case.group, &outcome);
    }
    println!(
        "{} (compute capability {})",
        driver.device, driver.capability
    );
    println!("{tally}");
    Ok(tally.is_success())
}

fn read(paths: &[PathBuf]) -> Result<Vec<Case>, CaseError> {
    if paths.is_empty() {
        return cases(&folder());
    }
    paths.iter().map(|path| Case::read(path)).collect()
}

/// A kernel that fails takes its process's context with it: it gets a process of its own.
fn run_apart(case: &Case) -> Outcome {
    let output = std::env::current_exe().and_then(|program| {
        Command::new(program)
            .arg(&case.path)
            .stdin(Stdio::null())
            .output()
    });
    match output {
        Ok(output) if output.status.success() => Outcome::Passed,
        Ok(output) => Outcome::Failed(format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )),
        Err(error) => Outcome::Failed(error.to_string()),
    }
}

/// Ends the process, and says which case it was, if none begins for too long.
fn watch() -> Sender<String> {
    let (sender, names) = channel();
    std::thread::spawn(move || {
        let mut current = String::from("the first");
        loop {
            match names.recv_timeout(LIMIT) {
                Ok(name) => current = name,
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    eprintln!("{current}: not finished after {} s", LIMIT.as_secs());
                    std::process::exit(3);
                }
            }
        }
    });
    sender
}
