// SPDX-License-Identifier: Apache-2.0
//! `gvirtus-cluster`: what GVirtuS does in a Kubernetes cluster beside the webhook.

#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::{Args, Parser, Subcommand};
use gvirtus_cluster::autoscaler::{self, Bounds, Pool, Target};
use gvirtus_cluster::broker::{self, Kai, Options};
use gvirtus_cluster::capacity::Mode;
use gvirtus_cluster::labeler;
use gvirtus_kubernetes::{Policy, Signals, client, start_log, start_tls};

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

    /// Says which backend a program uses
    ///
    /// Of several replicas the holder of the Lease gvirtus-broker works. It removes the scheduling
    /// gates of pods once there is room, and writes GpuSessions.
    Broker(Box<BrokerArguments>),

    /// Waits until it is told to end, and does nothing
    ///
    /// In pods that stand for something that is elsewhere.
    Wait,
}

/// The broker.
#[derive(Debug, Args)]
struct BrokerArguments {
    /// Where clients ask
    #[arg(long, default_value = "0.0.0.0:34568", value_name = "ADDRESS")]
    listen: SocketAddr,

    /// Where /healthz, /readyz and /metrics are served, in the clear
    #[arg(long, default_value = "0.0.0.0:8080", value_name = "ADDRESS")]
    health_listen: SocketAddr,

    /// The namespace of backends, Lease, Secret and ConfigMap
    #[arg(
        long,
        env = "GVIRTUS_NAMESPACE",
        default_value = "gvirtus-system",
        value_name = "NAME"
    )]
    namespace: String,

    /// This replica's pod, which is labelled while it leads
    #[arg(long, env = "GVIRTUS_POD_NAME", value_name = "NAME")]
    pod: Option<String>,

    /// How to choose where neither pod nor namespace says:
    /// least-loaded, nearest, binpack, spread or random
    #[arg(long, default_value = "least-loaded", value_name = "POLICY")]
    policy: Policy,

    /// Makes shadow pods of this image, by which KAI counts the GPUs that its pods use
    ///
    /// Its entrypoint is this program.
    #[arg(long, value_name = "IMAGE")]
    kai_shadow_image: Option<String>,

    /// The schedulerName of KAI's pods
    #[arg(long, default_value = "kai-scheduler", value_name = "NAME")]
    kai_scheduler: String,

    /// What the status of nodes with gvirtus.io/frontend.allowed=true shows of all backends
    /// together: gvirtus.io/gpu-memory, gpu-core and gpu-count
    #[arg(long, value_enum, default_value = "off", value_name = "MODE")]
    frontend_capacity: Mode,

    #[command(flatten)]
    autoscaling: Autoscaling,

    /// Writes the log as one JSON object a line
    #[arg(long)]
    log_json: bool,
}

/// How many backends there are; off where neither nodes nor a Deployment are named.
#[derive(Debug, Args)]
struct Autoscaling {
    /// Gives nodes with these labels gvirtus.io/backend.allowed=true while programs wait, and false
    /// when their backends are idle
    #[arg(
        long,
        value_name = "NAME=VALUE[,...]",
        conflicts_with = "scale_deployment"
    )]
    scale_nodes: Option<Pool>,

    /// Changes the replicas of this Deployment of backends
    #[arg(long, value_name = "NAME")]
    scale_deployment: Option<String>,

    /// Fewest backends
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    backends_min: usize,

    /// Most backends
    #[arg(long, default_value_t = 10, value_name = "NUMBER")]
    backends_max: usize,

    /// How long nobody has used a backend that ends
    #[arg(long, default_value_t = 300, value_name = "SECONDS")]
    idle_s: u64,
}

impl Autoscaling {
    fn options(self) -> Result<Option<autoscaler::Options>> {
        let (min, max) = (self.backends_min, self.backends_max);
        ensure!(
            min <= max,
            "--backends-min is {min}, which is more than --backends-max, {max}"
        );
        let nodes = self.scale_nodes.map(Target::Nodes);
        let target = nodes.or(self.scale_deployment.map(Target::Deployment));
        Ok(target.map(|target| autoscaler::Options {
            target,
            bounds: Bounds { min, max },
            idle: Duration::from_secs(self.idle_s),
        }))
    }
}

impl BrokerArguments {
    fn options(self) -> Result<Options> {
        let scheduler = self.kai_scheduler;
        let kai = self.kai_shadow_image;
        Ok(Options {
            listen: self.listen,
            health_listen: self.health_listen,
            namespace: self.namespace,
            pod: self.pod,
            policy: self.policy,
            kai: kai.map(|image| Kai { image, scheduler }),
            frontend_capacity: self.frontend_capacity,
            autoscaler: self.autoscaling.options()?,
        })
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start_log(matches!(&arguments.part, Part::Broker(broker) if broker.log_json));
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
    let mut signals = Signals::new()?;
    if matches!(arguments.part, Part::Wait) {
        signals.received().await;
        return Ok(());
    }
    start_tls()?;
    let client = client().await?;
    match arguments.part {
        Part::Labeler { interval_s } => tokio::select! {
            () = labeler::run(client, Duration::from_secs(interval_s)) => {}
            () = signals.received() => {}
        },
        Part::Broker(arguments) => broker::run(client, arguments.options()?, signals).await?,
        Part::Wait => {}
    }
    Ok(())
}
