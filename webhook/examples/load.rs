// SPDX-License-Identifier: Apache-2.0
//! How long the webhook takes for a review, and how much memory, at a fixed rate.
//!
//! `cargo run --release -p gvirtus-webhook --example load -- [ADMISSIONS_PER_SECOND [SECONDS]]`
//! starts a second process that serves reviews over TLS, and asks it on several kept connections as
//! an API server does. Requests are due at fixed times, whether or not earlier ones were answered;
//! a latency counts from when the request was due.

#![allow(clippy::print_stdout, reason = "it is what this program is for")]

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, ensure};
use gvirtus_webhook::{Certificates, Lifetimes, PullPolicy, Settings, Webhook, serve_reviews};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tokio::sync::watch;

const HOST: &str = "gvirtus-webhook.gvirtus-system.svc";
const CONNECTIONS: u32 = 8;
const REVIEW: &str = include_str!("../tests/golden/single.request.json");

fn main() -> Result<()> {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .ok()
        .context("TLS was set up before")?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [serve, certificate, key] if serve == "serve" => self::serve(certificate, key),
        arguments => {
            let number = |index: usize, default| match arguments.get(index) {
                Some(text) => text.parse::<u32>().context("a number is expected"),
                None => Ok(default),
            };
            measure(number(0, 100)?.max(1), number(1, 30)?.max(1))
        }
    }
}

/// The second process: prints its port, and serves until it is killed.
#[tokio::main(flavor = "current_thread")]
async fn serve(certificate: &str, key: &str) -> Result<()> {
    let webhook = Webhook::new(Settings {
        shim_image: "registry.example/gvirtus-shim:0.1.0".into(),
        shim_pull_policy: PullPolicy::IfNotPresent,
        endpoint: "broker://gvirtus-broker.gvirtus-system.svc:34568".into(),
        translate_resources: true,
        keep_resources: false,
        scheduling_gate: true,
    });
    let read = |path: &str| std::fs::read_to_string(path).context("cannot read the certificate");
    webhook.shown.set(&read(certificate)?, &read(key)?)?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?.port());
    let (_stop, stopped) = watch::channel(false);
    serve_reviews(webhook, listener, stopped).await?;
    Ok(())
}

fn measure(rate: u32, seconds: u32) -> Result<()> {
    let day = Duration::from_secs(24 * 3600);
    let lifetimes = Lifetimes {
        authority: day,
        certificate: day,
    };
    let hosts = [HOST.to_owned()];
    let made = Certificates::renew(None, &hosts, lifetimes, SystemTime::now())?;
    let made = made.context("there was none before")?;
    let folder = tempfile::tempdir()?;
    let (server, port) = start(&made, folder.path())?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(made.bundle.as_bytes()) {
        roots.add(certificate?)?;
    }
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let config = Arc::new(config);
    let begin = Instant::now() + Duration::from_millis(500);
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|client| {
            let config = Arc::clone(&config);
            let numbers = (client..rate * seconds).step_by(CONNECTIONS as usize);
            let due = numbers.map(move |n| begin + Duration::from_secs(1) * n / rate);
            std::thread::spawn(move || ask(config, port, due))
        })
        .collect();
    let mut latencies = Vec::new();
    for client in clients {
        latencies.extend(
            client
                .join()
                .map_err(|_| anyhow::anyhow!("a client panics"))??,
        );
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.0.id()))?;
    latencies.sort_unstable();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    println!("admissions          {} at {rate}/s", latencies.len());
    for (name, share) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)] {
        println!(
            "latency {name}         {:.2} ms",
            at(share).as_secs_f64() * 1e3
        );
    }
    for line in status
        .lines()
        .filter(|line| line.starts_with("VmHWM") || line.starts_with("VmRSS"))
    {
        println!("server {line}");
    }
    Ok(())
}

/// A process that ends with this one.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(made: &Certificates, folder: &Path) -> Result<(Server, u16)> {
    let (certificate, key) = (folder.join("certificate"), folder.join("key"));
    std::fs::write(&certificate, &made.certificate)?;
    std::fs::write(&key, &made.key)?;
    let mut child = Command::new(std::env::current_exe()?)
        .arg("serve")
        .args([&certificate, &key])
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = child.stdout.take().context("piped")?;
    let server = Server(child);
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    Ok((
        server,
        line.trim().parse().context("the server has no port")?,
    ))
}

/// Asks at the times that are due, on one connection; how long each answer took.
fn ask(
    config: Arc<ClientConfig>,
    port: u16,
    due: impl Iterator<Item = Instant>,
) -> Result<Vec<Duration>> {
    let connection = ClientConnection::new(config, HOST.try_into()?)?;
    let socket = TcpStream::connect(("127.0.0.1", port))?;
    socket.set_nodelay(true)?;
    let mut stream = BufReader::new(StreamOwned::new(connection, socket));
    let request = format!(
        "POST /mutate?timeout=10s HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{REVIEW}",
        REVIEW.len()
    );
    let mut latencies = Vec::new();
    for due in due {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        stream.get_mut().write_all(request.as_bytes())?;
        let body = response(&mut stream)?;
        latencies.push(due.elapsed());
        ensure!(
            body.windows(5).any(|word| word == b"patch"),
            "a review without a patch"
        );
    }
    Ok(latencies)
}

fn response(stream: &mut BufReader<impl Read>) -> Result<Vec<u8>> {
    let mut length = None;
    for number in 0.. {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let line = line.trim_end().to_ascii_lowercase();
        ensure!(
            number > 0 || line.ends_with("200 ok"),
            "the webhook says {line:?}"
        );
        if let Some(value) = line.strip_prefix("content-length:") {
            length = Some(value.trim().parse()?);
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length.context("an answer without a length")?];
    stream.read_exact(&mut body)?;
    Ok(body)
}
