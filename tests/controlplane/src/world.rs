// SPDX-License-Identifier: Apache-2.0
//! What the checks share: a cluster with GVirtuS's manifests, and the webhook as a process beside
//! it that has no more rights than its service account.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use crate::broker::Broker;
use crate::cluster::{Cluster, free_ports};
use crate::objects;
use crate::program::Program;
use crate::wait::until;

pub(crate) const NAMESPACE: &str = "gvirtus-system";
pub(crate) const CONFIGURATION: &str = "gvirtus-mutating-webhook-configuration";
const READY_LIMIT: Duration = Duration::from_secs(60);

/// All of it.
pub(crate) struct World {
    // Before the cluster that they talk to.
    pub(crate) webhook: Option<Program>,
    /// What the webhook is told beside the usual.
    pub(crate) webhook_options: &'static [&'static str],
    pub(crate) broker: Option<Broker>,
    pub(crate) cluster: Cluster,
    pub(crate) repository: PathBuf,
    product: PathBuf,
    pub(crate) port: u16,
    pub(crate) health_port: u16,
}

impl World {
    /// A cluster, and nothing in it yet.
    pub(crate) async fn start(programs: &Path, product: &Path, repository: &Path) -> Result<Self> {
        let cluster = Cluster::start(programs).await?;
        let [port, health_port] = free_ports()?;
        Ok(Self {
            webhook: None,
            webhook_options: &[],
            broker: None,
            cluster,
            repository: repository.to_owned(),
            product: product.to_owned(),
            port,
            health_port,
        })
    }

    pub(crate) fn client(&self) -> Client {
        self.cluster.client.clone()
    }

    pub(crate) fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client(), "default")
    }

    pub(crate) fn configurations(&self) -> Api<MutatingWebhookConfiguration> {
        Api::all(self.client())
    }

    pub(crate) fn product(&self) -> &Path {
        &self.product
    }

    pub(crate) fn webhook_log(&self) -> String {
        self.webhook.as_ref().map(Program::tail).unwrap_or_default()
    }

    /// Applies every object of `deploy/`.
    pub(crate) async fn install(&self) -> Result<usize> {
        let mut number = 0;
        for file in ["namespace.yaml", "gvirtus.yaml"] {
            for object in objects::read(&self.repository.join("deploy").join(file))? {
                objects::apply(&self.client(), &object).await?;
                number += 1;
            }
        }
        // What a controller manager would do.
        for namespace in ["default", NAMESPACE] {
            let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
                                 "metadata": {"name": "default", "namespace": namespace}});
            objects::apply(&self.client(), &account).await?;
        }
        Ok(number)
    }

    /// A kubeconfig with the rights of a service account of the manifests.
    pub(crate) async fn account(&self, name: &str) -> Result<PathBuf> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client(), NAMESPACE);
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: vec!["https://kubernetes.default.svc".into()],
                ..TokenRequestSpec::default()
            },
            ..TokenRequest::default()
        };
        let answer = accounts
            .create_token_request(name, &PostParams::default(), &request)
            .await?;
        let token = answer.status.context("no token")?.token;
        self.cluster.kubeconfig(name, &token)
    }

    /// Starts the webhook on `ports` (reviews, health) and waits until it is ready.
    pub(crate) async fn start_webhook(&self, name: &str, ports: [u16; 2]) -> Result<Program> {
        let kubeconfig = self.account("gvirtus-webhook").await?;
        let [port, health_port] = ports;
        let mut program = Program::start(
            name,
            Command::new(self.product.join("gvirtus-webhook"))
                .arg("--shim-image=registry.example/gvirtus-shim:1")
                .arg(format!("--listen=127.0.0.1:{port}"))
                .arg(format!("--health-listen=127.0.0.1:{health_port}"))
                .args(["--extra-host=127.0.0.1", "--end-delay-s=0"])
                .args(["--translate-resources", "--scheduling-gate"])
                .args(self.webhook_options)
                .env("KUBECONFIG", kubeconfig),
            self.cluster.folder.path(),
        )?;
        until("the webhook is ready", READY_LIMIT, || {
            let ended = program.check();
            async move {
                ended?;
                Ok(get(health_port, "/readyz")
                    .await
                    .is_ok_and(|text| text == "ok"))
            }
        })
        .await
        .with_context(|| program.tail())?;
        Ok(program)
    }

    /// Starts the one that the API server calls. Nothing routes a Service here: it has a URL.
    pub(crate) async fn start_registered(&mut self) -> Result<()> {
        let program = self
            .start_webhook("gvirtus-webhook", [self.port, self.health_port])
            .await?;
        self.webhook = Some(program);
        let url = format!("https://127.0.0.1:{}/mutate", self.port);
        let configuration = self.configurations().get(CONFIGURATION).await?;
        let webhooks = configuration.webhooks.unwrap_or_default();
        let name = &webhooks.first().context("no webhook")?.name;
        let client_config = json!({"url": url, "service": null});
        let patch = json!({"webhooks": [{"name": name, "clientConfig": client_config}]});
        self.configurations()
            .patch(
                CONFIGURATION,
                &PatchParams::default(),
                &Patch::Strategic(patch),
            )
            .await?;
        // The API server notices after a moment.
        until("labelled pods are changed", READY_LIMIT, || async {
            let parameters = PostParams {
                dry_run: true,
                ..PostParams::default()
            };
            let pod = objects::pod("first", true)?;
            let created = self.pods().create(&parameters, &pod).await;
            Ok(created.is_ok_and(|pod| objects::is_equipped(&pod)))
        })
        .await
        .with_context(|| self.webhook_log())
    }

    /// Starts the labeler with the rights of its service account.
    pub(crate) async fn start_labeler(&self) -> Result<Program> {
        let kubeconfig = self.account("gvirtus-labeler").await?;
        Program::start(
            "gvirtus-cluster",
            Command::new(self.product.join("gvirtus-cluster"))
                .args(["labeler", "--interval-s=1"])
                .env("KUBECONFIG", kubeconfig),
            self.cluster.folder.path(),
        )
    }
}

/// The body of an answer with code 200, by the simplest of requests.
pub(crate) async fn get(port: u16, path: &str) -> Result<String> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    let (head, body) = text.split_once("\r\n\r\n").context("no answer")?;
    anyhow::ensure!(head.contains(" 200 "), "{head}");
    Ok(body.to_owned())
}
