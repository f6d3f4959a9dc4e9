// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask demo`: every example through a backend, with its output and what it cost.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::examples::{self, Example, Flavour};
use crate::process::{self, Outcome};
use crate::product::{self, Backend, Product};
use crate::scratch::Scratch;
use crate::terminal::{self, strong, verdict};
use crate::toolkit;
use crate::workspace::Workspace;

const EXAMPLE_LIMIT: Duration = Duration::from_secs(180);

/// What to show.
#[derive(clap::Args, Default)]
pub(crate) struct Options {
    /// Only examples whose name contains this.
    #[arg(long, value_name = "NAME")]
    filter: Option<String>,
    /// Use this backend instead of starting one, for example tcp://gpu-host:9999.
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
}

pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    println!("{}", strong("Building"));
    let product = product::build(workspace)?;
    let examples = select(workspace, &product, options.filter.as_deref())?;
    let backend = match options.endpoint {
        Some(_) => None,
        None => Some(Backend::start(&product.gvirtus)?),
    };
    let endpoint = match (&options.endpoint, &backend) {
        (Some(endpoint), _) => endpoint.as_str(),
        (None, Some(backend)) => backend.endpoint(),
        (None, None) => bail!("there is no backend"),
    };
    println!("\n{} {endpoint}", strong("Backend"));
    let shown = show(workspace, &product, endpoint, &examples);
    if let (Err(_), Some(backend)) | (Ok(1..), Some(backend)) = (&shown, &backend)
        && !process::interrupted()
    {
        println!("\nThe backend's log ends with:\n{}", indent(&backend.log()));
    }
    let failed = shown?;
    ensure!(
        failed == 0,
        "{failed} of {} examples failed",
        examples.len()
    );
    Ok(())
}

/// The examples to run, compiled.
fn select(workspace: &Workspace, product: &Product, filter: Option<&str>) -> Result<Vec<Example>> {
    let toolkit = toolkit::get()?;
    let mut examples = examples::compile(workspace, &toolkit, &Flavour::plain(workspace))?;
    examples.push(Example {
        name: "cudarc".to_owned(),
        program: product.cudarc_example.clone(),
        shared: None,
    });
    if let Some(filter) = filter {
        let all: Vec<_> = examples.iter().map(|e| e.name.clone()).collect();
        examples.retain(|example| example.name.contains(filter));
        ensure!(
            !examples.is_empty(),
            "no example's name contains {filter:?}; there are: {}",
            all.join(", ")
        );
    }
    Ok(examples)
}

/// Runs the examples and returns how many failed.
fn show(
    workspace: &Workspace,
    product: &Product,
    endpoint: &str,
    examples: &[Example],
) -> Result<usize> {
    let devices = product::devices(&product.gvirtus, endpoint)?;
    println!("{}", indent(devices.trim_end()));
    let scratch = Scratch::temporary("demo")?;
    let pictures = workspace.compiled_examples().join("output");
    fs::create_dir_all(&pictures)
        .with_context(|| format!("cannot create {}", pictures.display()))?;
    let start = Instant::now();
    let stage = Stage {
        gvirtus: &product.gvirtus,
        endpoint,
        scratch: scratch.path(),
        pictures: &pictures,
    };
    let mut failed = Vec::new();
    for example in examples {
        println!("\n{}", strong(&example.name));
        let run = stage.run(example)?;
        println!("{}  {}", verdict(run.passed()), run.figures());
        if !run.passed() {
            println!("      {}", run.reason());
            failed.push(example.name.as_str());
        }
    }
    let passed = examples.len() - failed.len();
    println!(
        "\n{} {passed} of {} examples passed in {}; files they wrote are in {}",
        verdict(failed.is_empty()),
        examples.len(),
        terminal::seconds(start.elapsed()),
        pictures.display()
    );
    for name in &failed {
        println!("     failed: {name}   again: cargo xtask demo --filter {name}");
    }
    Ok(failed.len())
}

/// What all runs have in common.
struct Stage<'a> {
    gvirtus: &'a Path,
    endpoint: &'a str,
    scratch: &'a Path,
    pictures: &'a Path,
}

impl Stage<'_> {
    fn run(&self, example: &Example) -> Result<Run> {
        let statistics: PathBuf = self.scratch.join(format!("{}.json", example.name));
        let mut command = Command::new(self.gvirtus);
        command
            .args(["run", "--"])
            .arg(&example.program)
            .env("GVIRTUS_ENDPOINT", self.endpoint)
            .env("GVIRTUS_STATISTICS", &statistics)
            .current_dir(self.pictures);
        let start = Instant::now();
        let outcome = process::lines(&mut command, EXAMPLE_LIMIT, |_, line| {
            println!("    {line}");
        })?;
        Ok(Run {
            outcome,
            elapsed: start.elapsed(),
            statistics: read_statistics(&statistics),
        })
    }
}

/// How one example went.
struct Run {
    outcome: Outcome,
    elapsed: Duration,
    statistics: Option<Statistics>,
}

impl Run {
    /// Success alone is not enough: a program that did not go through the client library would
    /// have proved nothing.
    fn passed(&self) -> bool {
        self.outcome.success() && self.statistics.is_some_and(|s| s.calls > 0)
    }

    fn reason(&self) -> String {
        if self.outcome.success() {
            "it made no call through the client library".to_owned()
        } else {
            self.outcome.to_string()
        }
    }

    fn figures(&self) -> String {
        let time = terminal::seconds(self.elapsed);
        match self.statistics {
            Some(s) => format!(
                "calls {} · round trips {} · sent {} · received {} · {time}",
                terminal::count(s.calls),
                terminal::count(s.round_trips),
                terminal::bytes(s.sent_bytes),
                terminal::bytes(s.received_bytes),
            ),
            None => format!("no statistics · {time}"),
        }
    }
}

/// What the client library counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Statistics {
    calls: u64,
    round_trips: u64,
    sent_bytes: u64,
    received_bytes: u64,
}

fn read_statistics(path: &Path) -> Option<Statistics> {
    parse_statistics(&fs::read_to_string(path).ok()?)
}

fn parse_statistics(text: &str) -> Option<Statistics> {
    let value: Value = serde_json::from_str(text).ok()?;
    Some(Statistics {
        calls: value["calls"].as_u64()?,
        round_trips: value["round_trips"].as_u64()?,
        sent_bytes: value["sent_bytes"].as_u64()?,
        received_bytes: value["received_bytes"].as_u64()?,
    })
}

fn indent(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(|line| format!("    {line}")).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    fn run(code: i32, statistics: Option<&str>) -> Run {
        Run {
            outcome: Outcome::Exited(ExitStatus::from_raw(code << 8)),
            elapsed: Duration::from_millis(1500),
            statistics: statistics.and_then(parse_statistics),
        }
    }

    const COUNTED: &str =
        r#"{"calls":1234,"round_trips":5,"sent_bytes":2048,"received_bytes":7,"posted":9}"#;

    #[test]
    fn an_example_passes_only_through_the_client_library() {
        assert!(run(0, Some(COUNTED)).passed());
        assert!(!run(1, Some(COUNTED)).passed());
        assert!(!run(0, None).passed());
        assert!(!run(0, Some(&COUNTED.replace("1234", "0"))).passed());
        assert!(run(0, None).reason().contains("client library"));
        assert!(run(1, Some(COUNTED)).reason().contains("exit status: 1"));
    }

    #[test]
    fn figures_are_one_line() {
        assert_eq!(
            run(0, Some(COUNTED)).figures(),
            "calls 1 234 · round trips 5 · sent 2.0 kB · received 7 B · 1.50 s"
        );
        assert_eq!(run(0, Some("{")).figures(), "no statistics · 1.50 s");
    }
}
