// SPDX-License-Identifier: Apache-2.0
//! etcd, a kube-apiserver, and a scheduler.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use gvirtus_webhook::{Certificates, Lifetimes};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use rcgen::KeyPair;
use serde_json::json;
use tempfile::TempDir;

use crate::program::Program;
use crate::wait::until;

const DAY: Duration = Duration::from_secs(24 * 3600);
const START_LIMIT: Duration = Duration::from_secs(90);
const LOOPBACK: &str = "127.0.0.1";
/// The address of the Service `kubernetes`, the first one of the range.
pub(crate) const API_SERVICE: &str = "10.96.0.1";
/// The password of the administrator, on a network of this machine only.
const ADMINISTRATOR_FILE: &str = "administrator.kubeconfig";
const ADMINISTRATOR: &str = "administrator-of-a-test";
/// The `schedulerName` of pods in KAI's queues.
pub(crate) const KAI_SCHEDULER: &str = "kai-scheduler";

/// A control plane that ends with its guard.
pub(crate) struct Cluster {
    // Dropped in this order.
    _scheduler: Program,
    _apiserver: Program,
    _etcd: Program,
    pub(crate) client: Client,
    pub(crate) url: String,
    pub(crate) port: u16,
    authority: String,
    pub(crate) folder: TempDir,
}

impl Cluster {
    /// Starts the programs of a folder and waits until the API answers.
    pub(crate) async fn start(programs: &Path) -> Result<Self> {
        Self::start_on(programs, LOOPBACK, &[]).await
    }

    /// The same with the API server at an address of this machine, with more options.
    pub(crate) async fn start_on(programs: &Path, address: &str, options: &[&str]) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("gvirtus-controlplane-")
            .tempdir()?;
        let path = folder.path();
        let lifetimes = Lifetimes {
            authority: 10 * DAY,
            certificate: 10 * DAY,
        };
        let hosts = [address, API_SERVICE, "kubernetes.default.svc"].map(str::to_owned);
        let certificates = Certificates::renew(None, &hosts, lifetimes, SystemTime::now())?;
        let certificates = certificates.context("there were none")?;
        fs::write(path.join("tls.crt"), &certificates.certificate)?;
        fs::write(path.join("tls.key"), &certificates.key)?;
        let accounts = KeyPair::generate()?;
        fs::write(path.join("accounts.key"), accounts.serialize_pem())?;
        fs::write(path.join("accounts.pub"), accounts.public_key_pem())?;
        let tokens = format!("{ADMINISTRATOR},administrator,1,system:masters\n");
        fs::write(path.join("tokens.csv"), tokens)?;
        let authority = certificates.bundle;
        fs::write(path.join("authority.crt"), &authority)?;
        let [client_port, peer_port, port] = free_ports()?;
        let etcd = etcd(programs, path, client_port, peer_port)?;
        let mut command = apiserver(programs, path, client_port);
        command
            .args([
                format!("--bind-address={address}"),
                format!("--secure-port={port}"),
            ])
            .args(options);
        let mut apiserver = Program::start("kube-apiserver", &mut command, path)?;
        let url = format!("https://{address}:{port}");
        let client = client(&url, &authority, ADMINISTRATOR).await?;
        until("the API server answers", START_LIMIT, || {
            let ended = apiserver.check();
            let client = client.clone();
            async move {
                ended?;
                Ok(client.apiserver_version().await.is_ok())
            }
        })
        .await?;
        let kubeconfig = path.join(ADMINISTRATOR_FILE);
        write_kubeconfig(&kubeconfig, &url, &authority, ADMINISTRATOR)?;
        let scheduler = scheduler(programs, path, &kubeconfig)?;
        Ok(Self {
            _scheduler: scheduler,
            _apiserver: apiserver,
            _etcd: etcd,
            client,
            url,
            port,
            authority,
            folder,
        })
    }

    /// What the administrator's programs are given.
    pub(crate) fn administrator(&self) -> PathBuf {
        self.folder.path().join(ADMINISTRATOR_FILE)
    }

    /// A kubeconfig for somebody with this token.
    pub(crate) fn kubeconfig(&self, name: &str, token: &str) -> Result<PathBuf> {
        let path = self.folder.path().join(format!("{name}.kubeconfig"));
        write_kubeconfig(&path, &self.url, &self.authority, token)?;
        Ok(path)
    }
}

fn etcd(programs: &Path, folder: &Path, client_port: u16, peer_port: u16) -> Result<Program> {
    let client = format!("http://127.0.0.1:{client_port}");
    let peer = format!("http://127.0.0.1:{peer_port}");
    Program::start(
        "etcd",
        Command::new(programs.join("etcd"))
            .arg(format!("--data-dir={}", folder.join("etcd").display()))
            .args([
                format!("--listen-client-urls={client}"),
                format!("--advertise-client-urls={client}"),
                format!("--listen-peer-urls={peer}"),
                format!("--initial-advertise-peer-urls={peer}"),
                format!("--initial-cluster=default={peer}"),
                // What a test writes need not survive the machine.
                "--unsafe-no-fsync".into(),
            ]),
        folder,
    )
}

fn apiserver(programs: &Path, folder: &Path, etcd_port: u16) -> Command {
    let file = |name: &str| folder.join(name).display().to_string();
    let mut command = Command::new(programs.join("kube-apiserver"));
    command.args([
        format!("--etcd-servers=http://127.0.0.1:{etcd_port}"),
        format!("--cert-dir={}", file("certificates")),
        format!("--tls-cert-file={}", file("tls.crt")),
        format!("--tls-private-key-file={}", file("tls.key")),
        format!("--token-auth-file={}", file("tokens.csv")),
        "--authorization-mode=Node,RBAC".into(),
        "--service-cluster-ip-range=10.96.0.0/24".into(),
        "--service-account-issuer=https://kubernetes.default.svc".into(),
        format!("--service-account-key-file={}", file("accounts.pub")),
        format!(
            "--service-account-signing-key-file={}",
            file("accounts.key")
        ),
        "--endpoint-reconciler-type=none".into(),
        "--allow-privileged=true".into(),
    ]);
    command
}

/// One that works under the name of KAI's scheduler too.
fn scheduler(programs: &Path, folder: &Path, kubeconfig: &Path) -> Result<Program> {
    let profiles = ["default-scheduler", KAI_SCHEDULER].map(|name| json!({"schedulerName": name}));
    let configuration = json!({
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "clientConnection": {"kubeconfig": kubeconfig},
        "leaderElection": {"leaderElect": false},
        "profiles": profiles,
    });
    let path = folder.join("scheduler.json");
    fs::write(&path, configuration.to_string())?;
    Program::start(
        "kube-scheduler",
        Command::new(programs.join("kube-scheduler"))
            .arg("--secure-port=0")
            .arg(format!("--config={}", path.display())),
        folder,
    )
}

/// Ports that were free a moment ago, on loopback.
pub(crate) fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let listeners: Vec<_> = (0..N)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<Result<_, _>>()?;
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}

fn write_kubeconfig(path: &Path, url: &str, authority: &str, token: &str) -> Result<()> {
    // YAML is a superset of JSON.
    Ok(fs::write(
        path,
        kubeconfig(url, authority, token)?.to_string(),
    )?)
}

fn kubeconfig(url: &str, authority: &str, token: &str) -> Result<serde_json::Value> {
    let authority = k8s_openapi::ByteString(authority.as_bytes().to_vec());
    Ok(json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "it",
        "clusters": [{"name": "it", "cluster": {
            "server": url, "certificate-authority-data": serde_json::to_value(authority)?}}],
        "users": [{"name": "it", "user": {"token": token}}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
    }))
}

/// A client of the administrator for another thread.
pub(crate) async fn administrator_client(kubeconfig: PathBuf) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
    Ok(Client::try_from(config)?)
}

async fn client(url: &str, authority: &str, token: &str) -> Result<Client> {
    let kubeconfig: Kubeconfig = serde_json::from_value(kubeconfig(url, authority, token)?)?;
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
    Ok(Client::try_from(config)?)
}

/// The programs that have to be in the folder.
pub(crate) fn check_programs(folder: &Path, names: &[&str]) -> Result<()> {
    for name in names {
        let path = folder.join(name);
        ensure!(path.exists(), "{} does not exist", path.display());
    }
    Ok(())
}
