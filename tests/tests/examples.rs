// SPDX-License-Identifier: Apache-2.0
//! Every example prints the same, writes the same files and ends the same way straight on softgpu
//! and through the network; linked with NVIDIA's CUDA runtime, and with a shared one that is ours.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use gvirtus_tests::{Daemon, Finished, Way, product, run};
use serde_json::Value;

/// What softgpu must be for examples that need something else than it usually is: the line in the
/// source of such an example, and the variable with its value.
const SETUPS: [(&str, (&str, &str)); 2] = [
    (
        "// device: compute capability 9.0",
        ("GVIRTUS_SOFTGPU_COMPUTE_CAPABILITY", "9.0"),
    ),
    ("// devices: 2", ("GVIRTUS_SOFTGPU_DEVICES", "2")),
];

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
    let special = SETUPS.map(|(_, variable)| Daemon::start_in(&[variable], &[]));
    let usual = [daemon.unix(), daemon.tcp()];
    let special = special
        .each_ref()
        .map(|daemon| [daemon.unix(), daemon.tcp()]);
    let examples = product().examples();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut failures = Vec::new();
        while let Some(example) = examples.get(next.fetch_add(1, Ordering::Relaxed)) {
            let setup = setup(example);
            let endpoints = setup.map_or(&usual, |setup| &special[setup]);
            failures.extend(compare(example, endpoints, setup));
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

/// The first of [`SETUPS`] whose line is in the example's source.
fn setup(example: &Path) -> Option<usize> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let source = sources
        .join(example.file_name().unwrap_or_default())
        .with_extension("cu");
    let text = std::fs::read_to_string(source).unwrap_or_default();
    let is_wanted = |wanted: &str| text.lines().any(|line| line == wanted);
    SETUPS.iter().position(|(line, _)| is_wanted(line))
}

/// What is wrong with an example.
fn compare(example: &Path, [unix, tcp]: &[String; 2], setup: Option<usize>) -> Vec<String> {
    let name = example.file_name().unwrap_or_default().to_string_lossy();
    let mut failures = Vec::new();
    let straight = run_in_a_folder(example, Way::Straight, setup);
    if straight.seen.code != Some(0) {
        failures.push(describe(&name, "fails straight", &straight));
    }
    for (transport, endpoint) in [("Unix", unix), ("TCP", tcp)] {
        let remoted = run_in_a_folder(example, Way::Remoted(endpoint), setup);
        if remoted.seen != straight.seen {
            let what = format!("differs over {transport}");
            failures.push(describe(&name, &what, &remoted));
            failures.push(describe(&name, "is straight", &straight));
        } else if remoted.calls == 0 {
            failures.push(format!("{name} did not use the client library"));
        }
    }
    if let Some(shared) = product().with_shared_runtime(example) {
        for (what, way) in [
            ("differs with our runtime", Way::RuntimeStraight),
            (
                "differs with our runtime, remoted",
                Way::RuntimeRemoted(unix),
            ),
        ] {
            let ours = run_in_a_folder(&shared, way, setup);
            if ours.seen != straight.seen {
                failures.push(describe(&name, what, &ours));
            }
        }
    }
    eprintln!("{name}: compared");
    failures
}

fn run_in_a_folder(example: &Path, way: Way<'_>, setup: Option<usize>) -> Run {
    let folder = tempfile::tempdir().expect("the temporary folder is writable");
    let statistics = tempfile::NamedTempFile::new().expect("the temporary folder is writable");
    let mut command = way.command(example);
    command
        .env("GVIRTUS_STATISTICS", statistics.path())
        .current_dir(folder.path());
    if let Some(setup) = setup {
        let (_, (name, value)) = SETUPS[setup];
        command.env(name, value);
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
