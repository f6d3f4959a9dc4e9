// SPDX-License-Identifier: Apache-2.0
//! Every example prints the same, writes the same files and ends the same way straight on softgpu
//! and through the network.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use gvirtus_tests::{Daemon, Finished, Way, product, run};
use serde_json::Value;

/// What softgpu must be for examples that need a newer device than it usually is.
const NEWEST: (&str, &str) = ("GVIRTUS_SOFTGPU_COMPUTE_CAPABILITY", "9.0");
/// The line in the source of such an example.
const NEEDS_NEWEST: &str = "// device: compute capability 9.0";

/// What can be compared.
#[derive(PartialEq, Eq)]
struct Seen {
    code: Option<i32>,
    stdout: String,
    files: BTreeMap<String, Vec<u8>>,
}

struct Run {
    seen: Seen,
    finished: Finished,
    /// Calls that the client library has counted.
    calls: u64,
}

#[test]
fn examples_do_the_same_straight_and_remoted() {
    let daemon = Daemon::start();
    let newest = Daemon::start_in(&[NEWEST], &[]);
    let usual = [daemon.unix(), daemon.tcp()];
    let newer = [newest.unix(), newest.tcp()];
    let examples = product().examples();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut failures = Vec::new();
        while let Some(example) = examples.get(next.fetch_add(1, Ordering::Relaxed)) {
            let needs_newest = needs_newest(example);
            let endpoints = if needs_newest { &newer } else { &usual };
            failures.extend(compare(example, endpoints, needs_newest));
        }
        failures
    };
    let failures: Vec<String> = std::thread::scope(|scope| {
        let threads = [scope.spawn(work), scope.spawn(work)];
        threads
            .into_iter()
            .flat_map(|thread| thread.join().expect("comparing does not panic"))
            .collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Whether the example's source has the line [`NEEDS_NEWEST`].
fn needs_newest(example: &Path) -> bool {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let source = sources
        .join(example.file_name().unwrap_or_default())
        .with_extension("cu");
    std::fs::read_to_string(source).is_ok_and(|text| text.lines().any(|line| line == NEEDS_NEWEST))
}

/// What is wrong with an example.
fn compare(example: &Path, [unix, tcp]: &[String; 2], needs_newest: bool) -> Vec<String> {
    let name = example.file_name().unwrap_or_default().to_string_lossy();
    let mut failures = Vec::new();
    let straight = run_in_a_folder(example, Way::Straight, needs_newest);
    if straight.seen.code != Some(0) {
        failures.push(describe(&name, "fails straight", &straight));
    }
    for (transport, endpoint) in [("Unix", unix), ("TCP", tcp)] {
        let remoted = run_in_a_folder(example, Way::Remoted(endpoint), needs_newest);
        if remoted.seen != straight.seen {
            let what = format!("differs over {transport}");
            failures.push(describe(&name, &what, &remoted));
            failures.push(describe(&name, "is straight", &straight));
        } else if remoted.calls == 0 {
            failures.push(format!("{name} did not use the client library"));
        }
    }
    eprintln!("{name}: compared");
    failures
}

fn run_in_a_folder(example: &Path, way: Way<'_>, needs_newest: bool) -> Run {
    let folder = tempfile::tempdir().expect("the temporary folder is writable");
    let statistics = tempfile::NamedTempFile::new().expect("the temporary folder is writable");
    let mut command = way.command(example);
    command
        .env("GVIRTUS_STATISTICS", statistics.path())
        .current_dir(folder.path());
    if needs_newest {
        command.env(NEWEST.0, NEWEST.1);
    }
    let finished = run(&mut command);
    let counted = std::fs::read_to_string(statistics.path()).unwrap_or_default();
    let counted: Value = serde_json::from_str(&counted).unwrap_or_default();
    let files = std::fs::read_dir(folder.path())
        .expect("the folder is there")
        .flatten()
        .map(|entry| {
            let bytes = std::fs::read(entry.path()).unwrap_or_default();
            (entry.file_name().to_string_lossy().into_owned(), bytes)
        })
        .collect();
    Run {
        seen: Seen {
            code: finished.status.code(),
            stdout: finished.stdout.clone(),
            files,
        },
        finished,
        calls: counted["calls"].as_u64().unwrap_or(0),
    }
}

fn describe(name: &str, what: &str, run: &Run) -> String {
    let files: Vec<_> = run
        .seen
        .files
        .iter()
        .map(|(name, b)| (name, b.len()))
        .collect();
    format!(
        "── {name} {what}: {}, files {files:?}\n{}{}",
        run.finished.status, run.finished.stdout, run.finished.stderr
    )
}
