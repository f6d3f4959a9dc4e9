// SPDX-License-Identifier: Apache-2.0
//! The start and the end of a program.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, anyhow};
use kube::Client;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Writes the log to standard error, as text or as one JSON object a line.
pub fn start_log(json: bool) {
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

/// Chooses the cryptography of all TLS in this process.
///
/// # Errors
/// Where it was chosen before.
pub fn start_tls() -> Result<()> {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow!("TLS was set up before"))
}

/// A client of the API server, with the rights of the pod, else of the kubeconfig.
///
/// # Errors
/// Where there is neither.
pub async fn client() -> Result<Client> {
    Client::try_default()
        .await
        .context("neither in a cluster nor with a kubeconfig that can be used")
}

/// Listens on TCP.
///
/// # Errors
/// Where the address is taken or not of this machine.
pub async fn listen(address: SocketAddr) -> Result<TcpListener> {
    let listener = TcpListener::bind(address).await;
    listener.with_context(|| format!("cannot listen on {address}"))
}

/// The signals that ask a program to end.
#[derive(Debug)]
pub struct Signals {
    terminated: Signal,
    interrupted: Signal,
}

impl Signals {
    /// From now on they do not end the process by themselves.
    ///
    /// # Errors
    /// Where the process cannot wait for signals.
    pub fn new() -> Result<Self> {
        Ok(Self {
            terminated: signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?,
            interrupted: signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?,
        })
    }

    /// Waits for one.
    pub async fn received(&mut self) {
        tokio::select! {
            _ = self.terminated.recv() => {}
            _ = self.interrupted.recv() => {}
        }
    }
}

/// Random bytes that nobody can guess.
///
/// # Errors
/// Where the operating system has none.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let filled = provider.secure_random.fill(&mut bytes);
    filled.map_err(|_| anyhow!("there are no random numbers"))?;
    Ok(bytes)
}
