// SPDX-License-Identifier: Apache-2.0
//! `gvirtus-webhook`: gives labelled pods what their CUDA programs need.

#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use clap::Parser;
use gvirtus_transport::Endpoint;
use gvirtus_webhook::{
    Lifetimes, Names, PullPolicy, Settings, Webhook, keep, serve_health, serve_reviews,
};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::info;
use tracing_subscriber::EnvFilter;

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
        default_value = "tcp://gvirtus-backend.gvirtus-system.svc:34567"
    )]
    endpoint: Endpoint,

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

fn start_log(json: bool) {
    let filter = std::env::var("GVIRTUS_LOG")
        .ok()
        .filter(|text| !text.is_empty());
    let filter = EnvFilter::new(filter.as_deref().unwrap_or("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false);
    if json {
        builder.json().flatten_event(true).init();
    } else {
        builder.with_ansi(false).init();
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
    let webhook = Webhook::new(Settings {
        shim_image: arguments.shim_image,
        shim_pull_policy: arguments.shim_pull_policy,
        endpoint: arguments.endpoint.to_string(),
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
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
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

async fn listen(address: SocketAddr) -> Result<TcpListener> {
    let listener = TcpListener::bind(address).await;
    listener.with_context(|| format!("cannot listen on {address}"))
}
