// SPDX-License-Identifier: Apache-2.0
//! `gvirtus`: use a GPU that is somewhere else, as if it were here.

mod bench;
mod connection;
mod devices;
mod installation;
mod log;
mod private_backend;
mod run;
mod serve;
mod text;
mod top;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Use a GPU that is somewhere else, as if it were here.
#[derive(Debug, Parser)]
#[command(name = "gvirtus", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Bench(bench::BenchArgs),
    Devices(devices::DevicesArgs),
    Run(run::RunArgs),
    Serve(serve::ServeArgs),
    Top(top::TopArgs),
    #[command(hide = true)]
    Worker(serve::WorkerArgs),
}

#[allow(clippy::print_stderr, reason = "this is what the user asked")]
fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Bench(args) => args.run(),
        Command::Devices(args) => args.run(),
        Command::Run(args) => args.run(),
        Command::Serve(args) => args.run(),
        Command::Top(args) => args.run(),
        Command::Worker(args) => args.run(),
    };
    result.unwrap_or_else(|error| {
        eprintln!("gvirtus: {error:#}");
        ExitCode::FAILURE
    })
}
