// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask test`: everything that CI runs, cheap first, each step repeatable by itself.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use crate::process;
use crate::terminal::{self, strong, verdict};
use crate::workspace::Workspace;
use crate::{
    budget, control_plane, cupy, demo, differential, dist, examples, fuzz, machine_code, manifests,
    node, numba, nvml, older_releases, product, runtime_symbols, tidy,
};

/// Longer than any step takes from an empty build folder on two cores.
const LIMIT: Duration = Duration::from_secs(75 * 60);

/// Which steps to run.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only these steps, in their own order.
    #[arg(long, value_name = "STEP,…", value_delimiter = ',')]
    only: Vec<String>,
    /// List the steps and run nothing.
    #[arg(long)]
    list: bool,
}

/// One thing to check.
struct Step {
    name: &'static str,
    action: Action,
}

enum Action {
    /// `NAME=value … cargo …`, split at spaces.
    Cargo(&'static str),
    /// The same, and its output says how many tests ran.
    CargoTest(&'static str),
    /// A task of this program, with its name.
    Task(&'static str, fn(&Workspace) -> Result<()>),
    /// The same, and it counts its tests.
    Suite(&'static str, fn(&Workspace, &mut Tally) -> Result<()>),
}

const STEPS: [Step; 22] = [
    Step {
        name: "fmt",
        action: Action::Cargo("cargo fmt --all --check"),
    },
    Step {
        name: "tidy",
        action: Action::Task("tidy", tidy::run),
    },
    Step {
        name: "clippy",
        action: Action::Cargo("cargo clippy --locked --workspace --all-targets -- -D warnings"),
    },
    Step {
        name: "unit",
        action: Action::CargoTest(
            "cargo test --locked --release --workspace --exclude gvirtus-tests",
        ),
    },
    Step {
        name: "differential",
        action: Action::Task("test --only differential", differential::run),
    },
    Step {
        name: "fuzz",
        action: Action::Task("fuzz", |workspace| {
            fuzz::run(workspace, &fuzz::Options::default())
        }),
    },
    Step {
        name: "examples",
        action: Action::Task("examples", examples::run),
    },
    Step {
        name: "build",
        action: Action::Task("build", |workspace| product::build(workspace).map(drop)),
    },
    Step {
        name: "machine-code",
        action: Action::Suite("test --only machine-code", machine_code::step),
    },
    Step {
        name: "runtime-symbols",
        action: Action::Suite("test --only runtime-symbols", runtime_symbols::step),
    },
    Step {
        name: "end-to-end",
        action: Action::CargoTest("cargo test --locked --release --package gvirtus-tests"),
    },
    Step {
        name: "nvml",
        action: Action::Suite("test --only nvml", nvml::step),
    },
    Step {
        name: "numba",
        action: Action::Suite("numba", numba::step),
    },
    Step {
        name: "cupy",
        action: Action::Suite("test --only cupy", cupy::step),
    },
    Step {
        name: "demo",
        action: Action::Task("demo", |workspace| {
            demo::run(workspace, &demo::Options::default())
        }),
    },
    Step {
        name: "docs",
        action: Action::Cargo(
            "RUSTDOCFLAGS=-Dwarnings \
             cargo doc --locked --workspace --no-deps --document-private-items",
        ),
    },
    Step {
        name: "benches",
        action: Action::Cargo("cargo bench --locked --no-run --package gvirtus-benches"),
    },
    Step {
        name: "dist",
        action: Action::Task("dist --check", dist::check),
    },
    Step {
        name: "older-releases",
        action: Action::Suite("test --only older-releases", older_releases::step),
    },
    Step {
        name: "manifests",
        action: Action::Suite("test --only manifests", manifests::step),
    },
    Step {
        name: "control-plane",
        action: Action::Suite("test --only control-plane", control_plane::step),
    },
    Step {
        name: "node",
        action: Action::Suite("test --only node", node::step),
    },
];

/// Tests that ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl Action {
    /// As a person would type it.
    fn command(&self) -> String {
        match self {
            Self::Cargo(line) | Self::CargoTest(line) => (*line).to_owned(),
            Self::Task(task, _) | Self::Suite(task, _) => format!("cargo xtask {task}"),
        }
    }

    fn run(&self, workspace: &Workspace, tally: &mut Tally) -> Result<()> {
        match self {
            Self::Cargo(line) => process::require(&mut cargo(workspace, line), LIMIT),
            Self::CargoTest(line) => {
                let before = *tally;
                let outcome = process::tee(&mut cargo(workspace, line), LIMIT, |line| {
                    tally.add(line);
                })?;
                ensure!(outcome.success(), "{line}: {outcome}");
                ensure!(*tally != before, "{line}: no test ran");
                Ok(())
            }
            Self::Task(_, task) => task(workspace),
            Self::Suite(_, task) => task(workspace, tally),
        }
    }
}

fn cargo(workspace: &Workspace, line: &str) -> std::process::Command {
    let mut command = workspace.cargo();
    for word in line.split_whitespace() {
        match word.split_once('=') {
            Some((name, value)) if !name.starts_with('-') => command.env(name, value),
            _ if word == "cargo" => &mut command,
            _ => command.arg(word),
        };
    }
    command
}

impl Tally {
    /// Counts a line if it is the result of one test program.
    pub(crate) fn add(&mut self, line: &str) {
        let Some((_, counts)) = line
            .strip_prefix("test result: ")
            .and_then(|rest| rest.split_once(". "))
        else {
            return;
        };
        for part in counts.split("; ") {
            let Some((number, what)) = part.split_once(' ') else {
                continue;
            };
            let Ok(number) = number.parse::<u64>() else {
                continue;
            };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.skipped += number,
                _ => {}
            }
        }
    }

    /// Adds what passed, failed and was skipped.
    pub(crate) fn add_counts(&mut self, [passed, failed, skipped]: [u64; 3]) {
        self.passed += passed;
        self.failed += failed;
        self.skipped += skipped;
    }

    /// The closing line, which programs read.
    pub(crate) fn closing(&self) -> String {
        let Self {
            passed,
            failed,
            skipped,
        } = self;
        if *skipped > 0 {
            format!("{passed} passed, {failed} failed, {skipped} skipped")
        } else {
            format!("{passed} passed, {failed} failed")
        }
    }
}

/// `cargo xtask test`.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    if options.list {
        for step in &STEPS {
            println!("{:<12} {}", step.name, step.action.command());
        }
        return Ok(());
    }
    let steps = select(&options.only)?;
    if options.only.is_empty() {
        budget::begin();
    }
    let start = Instant::now();
    let mut tally = Tally::default();
    let mut done = Vec::new();
    let mut failure = None;
    for step in steps {
        println!(
            "\n{} {}\n",
            strong(&format!("── {} ──", step.name)),
            step.action.command()
        );
        let began = Instant::now();
        let result = step.action.run(workspace, &mut tally);
        let elapsed = began.elapsed();
        println!(
            "\n{} {} ({})   again: cargo xtask test --only {}",
            verdict(result.is_ok()),
            step.name,
            terminal::seconds(elapsed),
            step.name
        );
        done.push((step.name, result.is_ok(), elapsed));
        if let Err(error) = result {
            failure = Some(error.context(step.name));
            break;
        }
    }
    summarise(&done, start.elapsed());
    if let Some(error) = &failure {
        println!("\n{error:#}");
        // A step that fails without a failed test is one failure.
        tally.failed = tally.failed.max(1);
    }
    println!("\n{}", tally.closing());
    failure.map_or(Ok(()), |error| bail!("step {error} failed"))
}

fn select(only: &[String]) -> Result<Vec<&'static Step>> {
    for name in only {
        ensure!(
            STEPS.iter().any(|step| step.name == name),
            "there is no step {name:?}; `cargo xtask test --list` lists them"
        );
    }
    Ok(STEPS
        .iter()
        .filter(|step| only.is_empty() || only.iter().any(|name| name == step.name))
        .collect())
}

fn summarise(done: &[(&str, bool, Duration)], total: Duration) {
    println!("\n{}", strong("── summary ──"));
    for (name, passed, elapsed) in done {
        println!(
            "{}  {name:<12} {:>12}",
            verdict(*passed),
            terminal::seconds(*elapsed)
        );
    }
    println!("      {:<12} {:>12}", "total", terminal::seconds(total));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_test_programs_are_added_up() {
        let mut tally = Tally::default();
        for line in [
            "running 2 tests",
            "test result: ok. 12 passed; 0 failed; 3 ignored; 0 measured; 0 filtered out; \
             finished in 0.35s",
            "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out",
        ] {
            tally.add(line);
        }
        assert_eq!(
            tally,
            Tally {
                passed: 13,
                failed: 2,
                skipped: 3
            }
        );
        assert_eq!(tally.closing(), "13 passed, 2 failed, 3 skipped");
        assert_eq!(Tally::default().closing(), "0 passed, 0 failed");
    }

    #[test]
    fn steps_keep_their_order_and_unknown_ones_are_named() {
        let only = ["docs".to_owned(), "fmt".to_owned()];
        let names: Vec<_> = select(&only)
            .expect("known")
            .iter()
            .map(|s| s.name)
            .collect();
        assert_eq!(names, ["fmt", "docs"]);
        assert_eq!(select(&[]).expect("all").len(), STEPS.len());
        let error = select(&["nope".to_owned()]).err().expect("unknown");
        assert!(error.to_string().contains("nope"));
    }
}
