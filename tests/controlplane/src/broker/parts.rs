// SPDX-License-Identifier: Apache-2.0
//! The broker and a backend as processes.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;

use crate::cluster::free_ports;
use crate::objects;
use crate::program::Program;
use crate::wait::until;
use crate::world::{NAMESPACE, World, get};

const LIMIT: Duration = Duration::from_secs(60);
/// Device memory of a backend, in MiB.
pub(crate) const MEMORY_MIB: u64 = 2048;

/// What runs of it.
#[derive(Debug)]
pub(crate) struct Broker {
    program: Option<Program>,
    pub(crate) port: u16,
    health_port: u16,
    /// What the program is told beside the usual.
    pub(crate) options: &'static [&'static str],
    backends: Vec<Backend>,
}

/// A backend: its pod, and the daemon that would run in it.
#[derive(Debug)]
pub(crate) struct Backend {
    pub(crate) pod: String,
    pub(crate) uid: String,
    pub(crate) port: u16,
    _daemon: Program,
}

impl Broker {
    /// Starts it and waits until it leads.
    pub(crate) async fn start(world: &World) -> Result<Self> {
        let [port, health_port] = free_ports()?;
        let mut broker = Self {
            program: None,
            port,
            health_port,
            options: &[],
            backends: Vec::new(),
        };
        broker.start_program(world).await?;
        Ok(broker)
    }

    /// Starts the program on the same ports.
    pub(crate) async fn start_program(&mut self, world: &World) -> Result<()> {
        let kubeconfig = world.account("gvirtus-broker").await?;
        let mut program = Program::start(
            "gvirtus-broker",
            Command::new(world.product().join("gvirtus-cluster"))
                .arg("broker")
                .arg(format!("--listen=127.0.0.1:{}", self.port))
                .arg(format!("--health-listen=127.0.0.1:{}", self.health_port))
                .args(self.options)
                .env("KUBECONFIG", kubeconfig),
            world.cluster.folder.path(),
        )?;
        let health_port = self.health_port;
        until("the broker leads", LIMIT, || {
            let ended = program.check();
            async move {
                ended?;
                let text = get(health_port, "/metrics").await.unwrap_or_default();
                Ok(text.lines().any(|line| line == "gvirtus_broker_leading 1"))
            }
        })
        .await
        .with_context(|| program.tail())?;
        self.program = Some(program);
        Ok(())
    }

    /// Ends the program as a kubelet would.
    pub(crate) fn stop_program(&mut self) -> Result<()> {
        let program = self.program.take().context("the broker does not run")?;
        ensure!(program.end()?, "the broker did not end well");
        Ok(())
    }

    pub(crate) fn tail(&self) -> String {
        self.program.as_ref().map(Program::tail).unwrap_or_default()
    }

    pub(crate) fn backend(&self) -> Result<&Backend> {
        self.backends.first().context("there is no backend")
    }

    /// A figure of the broker's metrics.
    pub(crate) async fn metric(&self, name: &str) -> Result<String> {
        let text = get(self.health_port, "/metrics").await?;
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        Ok(line.with_context(|| name.to_owned())?.trim().to_owned())
    }

    /// Makes a backend's pod and starts its daemon.
    pub(crate) async fn add_backend(&mut self, world: &World, name: &str) -> Result<()> {
        let [port] = free_ports()?;
        let pods: Api<Pod> = Api::namespaced(world.client(), NAMESPACE);
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": NAMESPACE,
                "labels": {"app.kubernetes.io/component": "backend"}},
            "spec": {"nodeName": "gpu-1", "containers": [{"name": "backend", "image": "any",
                "args": ["serve", "--max-sessions=512"],
                "ports": [{"name": "cuda", "containerPort": port}]}]},
        });
        objects::apply(&world.client(), &pod).await?;
        let uid = pods.get(name).await?.uid().context("no UID")?;
        // What a kubelet mounts.
        let keys = world.cluster.folder.path().join("keys");
        let maps: Api<ConfigMap> = Api::namespaced(world.client(), NAMESPACE);
        let map = maps.get("gvirtus-ticket-keys").await?;
        fs::write(&keys, &map.data.context("no keys")?["keys"])?;
        let daemon = daemon(world, name, port, &uid, &keys)?;
        let status = json!({"status": {"phase": "Running", "podIP": "127.0.0.1",
            "podIPs": [{"ip": "127.0.0.1"}],
            "conditions": [{"type": "Ready", "status": "True"}]}});
        pods.patch_status(name, &PatchParams::default(), &Patch::Merge(status))
            .await?;
        self.backends.push(Backend {
            pod: name.to_owned(),
            uid,
            port,
            _daemon: daemon,
        });
        Ok(())
    }

    /// Takes all backends away.
    pub(crate) async fn remove_all(&mut self, world: &World) -> Result<()> {
        let names: Vec<_> = self.backends.iter().map(|b| b.pod.clone()).collect();
        for name in names {
            self.remove_backend(world, &name).await?;
        }
        Ok(())
    }

    /// Takes a backend away, with its pod.
    pub(crate) async fn remove_backend(&mut self, world: &World, name: &str) -> Result<()> {
        self.backends.retain(|backend| backend.pod != name);
        let pods: Api<Pod> = Api::namespaced(world.client(), NAMESPACE);
        pods.delete(name, &DeleteParams::default().grace_period(0))
            .await?;
        Ok(())
    }
}

fn daemon(world: &World, name: &str, port: u16, uid: &str, keys: &PathBuf) -> Result<Program> {
    Program::start(
        name,
        Command::new(world.product().join("gvirtus"))
            .args([
                "serve",
                "--driver=softgpu",
                "--max-sessions=512",
                "--drain-timeout-s=0",
            ])
            .arg(format!("--listen=tcp://127.0.0.1:{port}"))
            .arg(format!("--backend-id={uid}"))
            .arg("--ticket-keys")
            .arg(keys)
            .env("GVIRTUS_SOFTGPU_MEMORY_MIB", MEMORY_MIB.to_string()),
        world.cluster.folder.path(),
    )
}
