// SPDX-License-Identifier: Apache-2.0
//! Installs GVirtuS on a real control plane (etcd, API server, scheduler) and creates pods; with
//! `node`, on a real node too, where they run.
//!
//! One cluster serves all checks, in their order; `cargo xtask test --only control-plane` and
//! `--only node` build the programs and start this. It prints as cargo's tests do.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a program for people at a terminal")]

mod broker;
mod checks;
mod cluster;
mod node;
mod objects;
mod program;
mod wait;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, anyhow, bail};
use clap::{Args, Parser, Subcommand};

use world::World;

const PROGRAMS: [&str; 3] = ["etcd", "kube-apiserver", "kube-scheduler"];

/// Creates pods on a real control plane.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Task>,
    #[command(flatten)]
    parts: Option<Parts>,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Run pods on a real node.
    Node(node::Arguments),
}

#[derive(Debug, Args)]
struct Parts {
    /// The folder with etcd, kube-apiserver and kube-scheduler
    #[arg(long)]
    programs: PathBuf,
    /// The folder with gvirtus, gvirtus-webhook and gvirtus-cluster
    #[arg(long)]
    product: PathBuf,
    /// The folder of this repository
    #[arg(long)]
    repository: PathBuf,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn run(arguments: &Arguments) -> Result<bool> {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow!("TLS was set up before"))?;
    let mut interrupted =
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        result = select(arguments) => result,
        // Dropping what runs ends its programs.
        _ = interrupted.recv() => Err(anyhow!("interrupted")),
        _ = tokio::signal::ctrl_c() => Err(anyhow!("interrupted")),
    }
}

async fn select(arguments: &Arguments) -> Result<bool> {
    match (&arguments.command, &arguments.parts) {
        (Some(Task::Node(arguments)), _) => node::run(arguments).await,
        (None, Some(parts)) => all(parts).await,
        (None, None) => bail!("say what to do: see --help"),
    }
}

async fn all(parts: &Parts) -> Result<bool> {
    cluster::check_programs(&parts.programs, &PROGRAMS)?;
    let mut world = World::start(&parts.programs, &parts.product, &parts.repository).await?;
    let (mut passed, mut failed) = (0, 0);
    let names = checks::NAMES
        .iter()
        .chain(&broker::NAMES)
        .chain(&checks::LAST);
    for name in names {
        let result = if broker::NAMES.contains(name) {
            broker::run(name, &mut world).await
        } else {
            checks::run(name, &mut world).await
        };
        match result {
            Ok(()) => {
                passed += 1;
                println!("test {name} ... ok");
            }
            Err(error) => {
                failed += 1;
                println!("test {name} ... FAILED\n{error:#}");
                if failed == 1 {
                    println!("{}", world.webhook_log());
                }
            }
        }
    }
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    println!("test result: {verdict}. {passed} passed; {failed} failed; 0 ignored");
    Ok(failed == 0)
}
