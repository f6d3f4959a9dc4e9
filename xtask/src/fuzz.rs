// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask fuzz`: the targets of `fuzz/` for a while each, from their corpus.
//!
//! The flags are those that `cargo fuzz --sanitizer none` passes, so that neither that program nor
//! a nightly compiler is needed.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::process;
use crate::workspace::Workspace;

/// Makes the compiler count edges and comparisons for libFuzzer.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=3 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";
/// Named, so that build scripts are built without [`FLAGS`].
const PLATFORM: &str = "x86_64-unknown-linux-gnu";
const BUILD_LIMIT: Duration = Duration::from_secs(60 * 60);
/// Longest time for one input.
const INPUT_SECONDS: u32 = 10;
const MEMORY_MB: u32 = 2048;

/// A target, and folders with inputs to begin with besides its corpus.
struct Target {
    name: &'static str,
    folders: &'static [&'static str],
    /// Words that its inputs are made of, a file of `fuzz/`.
    dictionary: Option<&'static str>,
    input_bytes_max: u32,
}

const TARGETS: [Target; 3] = [
    Target {
        name: "fatbin",
        folders: &[],
        dictionary: None,
        input_bytes_max: 16 << 10,
    },
    Target {
        name: "protocol",
        folders: &[],
        dictionary: None,
        input_bytes_max: 4 << 10,
    },
    Target {
        name: "ptx",
        folders: &["softgpu/tests/ptx"],
        dictionary: Some("ptx.dict"),
        input_bytes_max: 64 << 10,
    },
];

/// What to run.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only these targets.
    targets: Vec<String>,
    /// Time for each target.
    #[arg(long, default_value_t = 30, value_name = "N")]
    seconds: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            targets: Vec::new(),
            seconds: 30,
        }
    }
}

/// Builds the targets and runs them.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    for name in &options.targets {
        ensure!(
            TARGETS.iter().any(|target| target.name == name),
            "there is no fuzz target {name:?}"
        );
    }
    let folder = workspace.root().join("fuzz");
    let mut build = workspace.cargo();
    build
        .args([
            "build",
            "--locked",
            "--release",
            "--bins",
            "--target",
            PLATFORM,
        ])
        .arg("--target-dir")
        .arg(workspace.fuzz_build())
        .current_dir(&folder)
        .env("RUSTFLAGS", FLAGS);
    process::require(&mut build, BUILD_LIMIT)?;
    for target in &TARGETS {
        if options.targets.is_empty() || options.targets.iter().any(|name| name == target.name) {
            run_target(workspace, target, options.seconds)?;
        }
    }
    Ok(())
}

fn run_target(workspace: &Workspace, target: &Target, seconds: u64) -> Result<()> {
    let folder = workspace.root().join("fuzz");
    let program = workspace
        .fuzz_build()
        .join(PLATFORM)
        .join("release")
        .join(target.name);
    // New inputs and those that fail stay out of the tree.
    let found = folder.join("found").join(target.name);
    let artifacts = folder.join("artifacts").join(target.name);
    for folder in [&found, &artifacts] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let mut command = std::process::Command::new(program);
    command
        .arg(&found)
        .arg(folder.join("corpus").join(target.name))
        .args(
            target
                .folders
                .iter()
                .map(|name| workspace.root().join(name)),
        )
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={}", target.input_bytes_max))
        .arg(format!("-timeout={INPUT_SECONDS}"))
        .arg(format!("-rss_limit_mb={MEMORY_MB}"))
        .args(["-print_final_stats=1", "-close_fd_mask=0", "-verbosity=0"]);
    if let Some(name) = target.dictionary {
        command.arg(format!("-dict={}", folder.join(name).display()));
    }
    let mut inputs = None;
    let limit = Duration::from_secs(seconds * 4 + 120);
    let outcome = process::lines(&mut command, limit, |_, line| {
        match line.strip_prefix("stat::number_of_executed_units:") {
            Some(count) => inputs = Some(count.trim().to_owned()),
            None => println!("{line}"),
        }
    })?;
    ensure!(
        outcome.success(),
        "fuzz target {}: {outcome}; the input is in {} (again: cargo xtask fuzz, or give the \
         program that file)",
        target.name,
        artifacts.display()
    );
    println!(
        "fuzz target {}: {} inputs in {seconds} s, none panics, hangs or takes too much memory",
        target.name,
        inputs.as_deref().unwrap_or("?"),
    );
    Ok(())
}
