// SPDX-License-Identifier: Apache-2.0
//! Tasks of the workspace: `cargo xtask <task>`.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a program for people at a terminal")]

mod architecture;
mod budget;
mod cache;
mod control_plane;
mod coverage;
mod cupy;
mod demo;
mod differential;
mod dist;
mod examples;
mod fuzz;
mod go_programs;
mod images;
mod machine_code;
mod manifests;
mod node;
mod node_images;
mod numba;
mod nvidia_runtimes;
mod nvidia_smi;
mod nvml;
mod oci;
mod older_programs;
mod older_releases;
mod process;
mod product;
mod python;
mod runtime_calls;
mod runtime_libraries;
mod runtime_symbols;
mod scratch;
mod steps;
mod tar;
mod terminal;
mod tidy;
mod toolkit;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use workspace::Workspace;

/// Builds, shows and checks GVirtuS.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build the product in release.
    Build,
    /// Write docs/coverage.md from the call table.
    Coverage {
        /// Only tell whether the file is up to date.
        #[arg(long)]
        check: bool,
    },
    /// Build everything and run every example through a backend.
    Demo(demo::Options),
    /// Assemble dist/, which runs on a machine with a driver, no Rust and no network.
    Dist {
        /// Also run what was assembled on this machine.
        #[arg(long)]
        check: bool,
    },
    /// Compile the CUDA programs of examples/ and tests/ and print where they are.
    Examples,
    /// Feed made-up inputs to the parsers for a while.
    Fuzz(fuzz::Options),
    /// Build the container images, without a daemon.
    Images(images::Options),
    /// Write deploy/gvirtus.yaml from the Helm chart.
    Manifests,
    /// Run numba-cuda's own tests on the software device.
    Numba(numba::Options),
    /// Count what calls of the CUDA runtime cost, with NVIDIA's and with ours (needs valgrind).
    RuntimeCalls,
    /// Run everything that CI runs.
    Test(steps::Options),
    /// Check what formatter and linter do not: licences, widths, links, lists.
    Tidy,
    /// Get a CUDA compiler and print where it is.
    Toolkit,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments.task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) if process::interrupted() => {
            eprintln!("interrupted");
            ExitCode::from(130)
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    process::watch_signals()?;
    let workspace = Workspace::find()?;
    match task {
        Task::Build => product::build(&workspace).map(drop),
        Task::Coverage { check } => coverage::run(&workspace, check),
        Task::Demo(options) => demo::run(&workspace, &options),
        Task::Dist { check: false } => dist::run(&workspace),
        Task::Dist { check: true } => dist::check(&workspace),
        Task::Examples => examples::run(&workspace),
        Task::Fuzz(options) => fuzz::run(&workspace, &options),
        Task::Images(options) => images::run(&workspace, &options).map(drop),
        Task::Manifests => manifests::run(&workspace),
        Task::Numba(options) => numba::run(&workspace, &options),
        Task::RuntimeCalls => runtime_calls::run(&workspace),
        Task::Test(options) => steps::run(&workspace, &options),
        Task::Tidy => tidy::run(&workspace),
        Task::Toolkit => toolkit::run(),
    }
}
