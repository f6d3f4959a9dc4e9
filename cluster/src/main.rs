// SPDX-License-Identifier: Apache-2.0
//! `gvirtus-cluster`: what GVirtuS does in a Kubernetes cluster beside the webhook.

#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand};
use gvirtus_cluster::labeler;
use gvirtus_kubernetes::{Signals, client, start_log, start_tls};

/// Parts of GVirtuS that run in a Kubernetes cluster.
#[derive(Debug, Parser)]
#[command(
    name = "gvirtus-cluster",
    version,
    after_help = "\
Runs in a cluster, where the chart starts it; elsewhere it uses the kubeconfig in KUBECONFIG.
GVIRTUS_LOG=error|warn|info|debug|trace sets what is logged."
)]
struct Arguments {
    #[command(subcommand)]
    part: Part,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// Sets the labels that nodes lack
    ///
    /// gvirtus.io/frontend.allowed=true and gvirtus.io/backend.allowed=false.
    /// What an administrator has set is never changed.
    Labeler {
        /// How often all nodes are looked at
        #[arg(long, default_value_t = 60, value_name = "SECONDS",
            value_parser = clap::value_parser!(u64).range(1..))]
        interval_s: u64,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start_log(false);
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn run(arguments: Arguments) -> Result<()> {
    start_tls()?;
    let mut signals = Signals::new()?;
    let client = client().await?;
    let Part::Labeler { interval_s } = arguments.part;
    tokio::select! {
        () = labeler::run(client, Duration::from_secs(interval_s)) => {}
        () = signals.received() => {}
    }
    Ok(())
}
