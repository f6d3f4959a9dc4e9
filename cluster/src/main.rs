// SPDX-License-Identifier: Apache-2.0
//! `gvirtus-cluster`: what GVirtuS does in a Kubernetes cluster beside the webhook.

#![forbid(unsafe_code)]

mod labeler;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

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
    let filter = std::env::var("GVIRTUS_LOG")
        .ok()
        .filter(|text| !text.is_empty());
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter.as_deref().unwrap_or("info")))
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(false)
        .init();
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
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow!("TLS was set up before"))?;
    let mut terminated = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupted = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let client = kube::Client::try_default()
        .await
        .context("neither in a cluster nor with a kubeconfig that can be used")?;
    let Part::Labeler { interval_s } = arguments.part;
    tokio::select! {
        () = labeler::run(client, Duration::from_secs(interval_s)) => {}
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
    }
    Ok(())
}
