// SPDX-License-Identifier: Apache-2.0
//! `gvirtus-webhook`: gives labelled pods what their CUDA programs need.

#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser;
use gvirtus_kubernetes::names::BROKER_SCHEME;
use gvirtus_kubernetes::{Signals, client, listen, serve_health, start_log, start_tls};
use gvirtus_transport::Endpoint;
use gvirtus_webhook::{Lifetimes, Names, PullPolicy, Settings, Webhook, keep, serve_reviews};
use tokio::sync::watch;
use tracing::info;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Mutating admission webhook: a pod with the label gvirtus.io/enabled: "true" gets a remote GPU.
#[derive(Debug, Parser)]
#[command(
    name = "gvirtus-webhook",
    version,
    after_help = "\
Runs in a cluster, where the chart starts it; elsewhere it uses the kubeconfig in KUBECONFIG.
It makes its own certificates, keeps them in a Secret that all replicas share, renews them, and
tells the API server to trust them. SIGTERM ends it once what was asked has been answered.
GVIRTUS_LOG=error|warn|info|debug|trace sets what is logged."
)]
struct Arguments {
    /// The image with the client libraries, for the init container
    #[arg(long, value_name = "IMAGE")]
    shim_image: String,

    /// When nodes pull that image
    #[arg(
        long,
        value_enum,
        default_value = "IfNotPresent",
        value_name = "POLICY"
    )]
    shim_pull_policy: PullPolicy,

    /// What pods get as GVIRTUS_ENDPOINT
    #[arg(
        long,
        value_name = "URL",
        default_value = "broker://gvirtus-broker.gvirtus-system.svc:34568",
        value_parser = endpoint
    )]
    endpoint: String,

    /// Lets pods without the resources of GVirtuS be scheduled: takes gvirtus.io/gpu-memory,
    /// gpu-core and gpu-count out of containers and tells the broker instead
    #[arg(long)]
    translate_resources: bool,

    /// Leaves them in containers too, where nodes advertise them: for the scheduler and for a
    /// namespace's ResourceQuota
    #[arg(long)]
    keep_resources: bool,

    /// Holds the scheduling of pods until the broker's controller finds room for them
    #[arg(long)]
    scheduling_gate: bool,

    /// Where reviews are answered, over TLS
    #[arg(long, default_value = "0.0.0.0:8443", value_name = "ADDRESS")]
    listen: SocketAddr,

    /// Where /healthz, /readyz and /metrics are served, in the clear
    #[arg(long, default_value = "0.0.0.0:8080", value_name = "ADDRESS")]
    health_listen: SocketAddr,

    /// The namespace of the Service and the Secret
    #[arg(
        long,
        env = "GVIRTUS_NAMESPACE",
        default_value = "gvirtus-system",
        value_name = "NAME"
    )]
    namespace: String,

    /// The Service that the API server calls
    #[arg(long, default_value = "gvirtus-webhook", value_name = "NAME")]
    service: String,

    /// Another name or address for the certificate: where the API server calls the webhook by a URL
    #[arg(long, value_name = "HOST")]
    extra_host: Vec<String>,

    /// The Secret that the certificates are kept in
    #[arg(
        long,
        default_value = "gvirtus-webhook-certificate",
        value_name = "NAME"
    )]
    secret: String,

    /// The MutatingWebhookConfiguration whose caBundle is kept in step
    #[arg(
        long,
        default_value = "gvirtus-mutating-webhook-configuration",
        value_name = "NAME"
    )]
    configuration: String,

    /// How long an authority is valid; renewed when a third is left
    #[arg(long, default_value_t = 360, value_name = "DAYS",
        value_parser = clap::value_parser!(u32).range(1..=3600))]
    authority_days: u32,

    /// How long a certificate is valid; renewed when a third is left
    #[arg(long, default_value_t = 90, value_name = "DAYS",
        value_parser = clap::value_parser!(u32).range(1..=3600))]
    certificate_days: u32,

    /// How long requests are still taken after SIGTERM, until the Service sends no more
    #[arg(long, default_value_t = 5, value_name = "SECONDS")]
    end_delay_s: u64,

    /// Writes the log as one JSON object a line
    #[arg(long)]
    log_json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start_log(arguments.log_json);
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What the client library accepts: a backend, or a broker that names one.
fn endpoint(text: &str) -> Result<String, String> {
    let parsed = text
        .replacen(BROKER_SCHEME, "tcp://", 1)
        .parse::<Endpoint>();
    parsed.map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}

#[tokio::main(flavor = "current_thread")]
async fn run(arguments: Arguments) -> Result<()> {
    start_tls()?;
    let mut signals = Signals::new()?;
    let client = client().await?;
    let webhook = Webhook::new(Settings {
        shim_image: arguments.shim_image,
        shim_pull_policy: arguments.shim_pull_policy,
        endpoint: arguments.endpoint,
        translate_resources: arguments.translate_resources,
        keep_resources: arguments.keep_resources,
        scheduling_gate: arguments.scheduling_gate,
    });
    let names = Names {
        namespace: arguments.namespace,
        service: arguments.service,
        secret: arguments.secret,
        extra_hosts: arguments.extra_host,
        configuration: arguments.configuration,
    };
    let lifetimes = Lifetimes {
        authority: arguments.authority_days * DAY,
        certificate: arguments.certificate_days * DAY,
    };
    let listener = listen(arguments.listen).await?;
    let health = listen(arguments.health_listen).await?;
    info!(reviews = %listener.local_addr()?, health = %health.local_addr()?, "listening");
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(keep(client, names, lifetimes, Arc::clone(&webhook)));
    let mut health = tokio::spawn(serve_health(Arc::clone(&webhook), health));
    let reviews = tokio::spawn(serve_reviews(Arc::clone(&webhook), listener, stopped));
    tokio::select! {
        () = signals.received() => {}
        ended = &mut health => ended.context("health")?.context("cannot serve health")?,
    }
    info!("ending");
    webhook.end();
    tokio::time::sleep(Duration::from_secs(arguments.end_delay_s)).await;
    // It is gone only if the task has ended.
    let _ = stop.send(true);
    reviews.await.context("reviews")??;
    Ok(())
}
