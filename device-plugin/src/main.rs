// SPDX-License-Identifier: Apache-2.0
//! `gvirtus-device-plugin`: offers parts of a backend's GPUs to the kubelet of its node.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser;
use gvirtus_device_plugin::{Mps, Plan, Resource, run, watch};
use gvirtus_transport::Endpoint;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tracing_subscriber::EnvFilter;

/// Offers parts of a backend's GPUs to the kubelet of its node.
#[derive(Debug, Parser)]
#[command(
    name = "gvirtus-device-plugin",
    version,
    after_help = "\
SIGHUP registers with the kubelet again; GVIRTUS_LOG=error|warn|info|debug|trace sets what is logged."
)]
struct Arguments {
    /// Where the daemon of this node tells its status: its --status-listen
    #[arg(long, default_value = "tcp://127.0.0.1:9998", value_name = "URL")]
    daemon: Endpoint,
    /// A unit of memory; where it is not 1 MiB the resource is gvirtus.io/gpu-memory-<N>mib
    #[arg(long, default_value_t = 1, value_name = "MIB",
        value_parser = clap::value_parser!(u32).range(1..=65_536))]
    memory_unit_mib: u32,
    /// One more name, and how many of it a card has: k8s.amazonaws.com/vgpu=10
    #[arg(long = "alias", value_name = "NAME=PARTS")]
    aliases: Vec<Resource>,
    /// The kubelet's folder of device plugins
    #[arg(
        long,
        default_value = "/var/lib/kubelet/device-plugins",
        value_name = "FOLDER"
    )]
    folder: PathBuf,
    /// Gives containers NVIDIA's Multi-Process Service, whose control daemon has its pipes in
    /// FOLDER/pipe and sees FOLDER/shm as /dev/shm
    #[arg(long, value_name = "FOLDER")]
    mps_folder: Option<PathBuf>,
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
    match serve(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn serve(arguments: Arguments) -> Result<()> {
    let mut terminated = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupted = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let mut hangup = signal(SignalKind::hangup()).context("cannot wait for SIGHUP")?;
    let mut resources = vec![
        Resource::core(),
        Resource::memory(arguments.memory_unit_mib),
    ];
    resources.extend(arguments.aliases);
    let mps = arguments.mps_folder.map(Mps::new);
    if let Some(mps) = &mps {
        mps.prepare().context("cannot prepare the folder of MPS")?;
    }
    let plan = Plan {
        folder: arguments.folder,
        resources,
        mps,
    };
    let (sender, cards) = tokio::sync::watch::channel(Vec::new());
    let again = Notify::new();
    let hangups = async {
        while hangup.recv().await.is_some() {
            again.notify_one();
        }
    };
    tokio::select! {
        () = watch(&arguments.daemon, &sender) => {}
        () = run(&plan, cards, &again) => {}
        () = hangups => {}
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
    }
    Ok(())
}
