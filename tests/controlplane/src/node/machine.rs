// SPDX-License-Identifier: Apache-2.0
//! A control plane and its only node: containerd and kubelet with files of their own.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::{Event, Node, Pod};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};

use super::network::{self, NODE};
use super::sandbox::Inside;
use super::services::{self, DNS, DOMAIN};
use super::{Arguments, sandbox};
use crate::cluster::{self, API_SERVICE, Cluster};
use crate::program::Program;
use crate::wait::until;

pub(crate) const NODE_NAME: &str = "node-1";
const CONTAINERD_LIMIT: Duration = Duration::from_secs(60);
const CONTAINERD_SOCKET: &str = "/run/containerd/containerd.sock";
const KUBELET_PORT: u16 = 10250;
/// What names an image of which containerd makes a pod's first container.
const PAUSE: &str = "tests.gvirtus.io/pause:1";

/// Programs that end with their guard.
pub(crate) struct Machine {
    // Dropped in this order.
    kubelet: Option<Program>,
    _containerd: Program,
    _controller_manager: Program,
    pub(crate) cluster: Cluster,
    arguments: Arguments,
    folder: PathBuf,
}

impl Machine {
    /// Starts everything; the node registers itself a moment later.
    pub(crate) async fn start(arguments: &Arguments, inside: &Inside) -> Result<Self> {
        let folder = inside.folder.clone();
        sandbox::cover(&folder)?;
        network::set_up()?;
        network::configure(&folder.join("network"))?;
        let options = [
            // Webhooks are reached at their pods: nothing else routes to Services.
            "--enable-aggregator-routing=true",
            "--kubelet-preferred-address-types=InternalIP",
        ];
        let cluster = Cluster::start_on(&arguments.programs, NODE, &options).await?;
        let api: SocketAddr = format!("{NODE}:{}", cluster.port).parse()?;
        services::serve(
            cluster::administrator_client(cluster.administrator()),
            ((API_SERVICE.parse()?, 443), api),
        )?;
        let controller_manager = controller_manager(&arguments.programs, &cluster)?;
        let containerd = containerd(arguments, &folder)?;
        let socket = Path::new(CONTAINERD_SOCKET);
        until("containerd listens", CONTAINERD_LIMIT, || async {
            Ok(socket.exists())
        })
        .await
        .with_context(|| containerd.tail())?;
        fs::write(
            folder.join("kubelet.json"),
            kubelet_configuration(&inside.group).to_string(),
        )?;
        let mut machine = Self {
            kubelet: None,
            _containerd: containerd,
            _controller_manager: controller_manager,
            cluster,
            arguments: arguments.clone(),
            folder,
        };
        machine.start_kubelet()?;
        Ok(machine)
    }

    pub(crate) fn start_kubelet(&mut self) -> Result<()> {
        let mut command = Command::new(self.arguments.programs.join("kubelet"));
        command.args([
            format!("--config={}", self.folder.join("kubelet.json").display()),
            format!("--kubeconfig={}", self.cluster.administrator().display()),
            format!("--hostname-override={NODE_NAME}"),
            format!("--node-ip={NODE}"),
        ]);
        self.kubelet = Some(Program::start("kubelet", &mut command, &self.folder)?);
        Ok(())
    }

    pub(crate) fn stop_kubelet(&mut self) -> Result<()> {
        let kubelet = self.kubelet.take().context("kubelet does not run")?;
        kubelet.end().map(drop)
    }

    pub(crate) fn client(&self) -> Client {
        self.cluster.client.clone()
    }

    pub(crate) fn arguments(&self) -> &Arguments {
        &self.arguments
    }

    pub(crate) async fn node(&self) -> Result<Node> {
        let nodes: Api<Node> = Api::all(self.client());
        nodes
            .get_opt(NODE_NAME)
            .await?
            .context("there is no node yet")
    }

    /// Runs ctr on the images of Kubernetes.
    pub(crate) fn ctr(&self, words: &[&str]) -> Result<String> {
        let ctr = self.arguments.containerd.join("ctr").display().to_string();
        let words = [&["--namespace", "k8s.io"], words].concat();
        network::command(&ctr, &words)
    }

    /// What there is to say about a failure.
    pub(crate) async fn report(&self) -> String {
        let mut text = String::new();
        let pods: Api<Pod> = Api::all(self.client());
        for pod in pods
            .list(&ListParams::default())
            .await
            .into_iter()
            .flatten()
        {
            let status = serde_json::to_string(&pod.status).unwrap_or_default();
            text += &format!("{}: {status}\n", pod.name_any());
        }
        let events: Api<Event> = Api::all(self.client());
        for event in events
            .list(&ListParams::default())
            .await
            .into_iter()
            .flatten()
        {
            if event.type_.as_deref() == Some("Warning") {
                let name = event.involved_object.name.unwrap_or_default();
                text += &format!("{name}: {}\n", event.message.unwrap_or_default());
            }
        }
        if let Some(kubelet) = &self.kubelet {
            text += &kubelet.tail();
        }
        text
    }
}

fn controller_manager(programs: &Path, cluster: &Cluster) -> Result<Program> {
    let folder = cluster.folder.path();
    let file = |name: &str| folder.join(name).display().to_string();
    Program::start(
        "kube-controller-manager",
        Command::new(programs.join("kube-controller-manager")).args([
            format!("--kubeconfig={}", cluster.administrator().display()),
            format!(
                "--service-account-private-key-file={}",
                file("accounts.key")
            ),
            format!("--root-ca-file={}", file("authority.crt")),
            "--leader-elect=false".into(),
            "--secure-port=0".into(),
        ]),
        folder,
    )
}

fn containerd(arguments: &Arguments, folder: &Path) -> Result<Program> {
    let configuration = folder.join("containerd.toml");
    let text = format!(
        r#"version = 3
disabled_plugins = [
    "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.zfs", "io.containerd.nri.v1.nri",
]
[plugins."io.containerd.internal.v1.opt"]
path = "{optional}"
[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{PAUSE}"
[plugins."io.containerd.cri.v1.runtime"]
# Without CAP_SYS_RESOURCE it cannot be lowered.
restrict_oom_score_adj = true
disable_apparmor = true
[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["{plugins}"]
conf_dir = "{network}"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
BinaryName = "{runc}"
SystemdCgroup = false
"#,
        optional = folder.join("optional").display(),
        plugins = arguments.network_plugins.display(),
        network = folder.join("network").display(),
        runc = arguments.runc.display(),
    );
    fs::write(&configuration, text)?;
    let mut path = OsString::from(&arguments.containerd);
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    Program::start(
        "containerd",
        Command::new(arguments.containerd.join("containerd"))
            .arg("--config")
            .arg(configuration)
            .env("PATH", path),
        folder,
    )
}

fn kubelet_configuration(group: &str) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE,
        "port": KUBELET_PORT,
        // They are on a network of this machine only.
        "authentication": {"anonymous": {"enabled": true}, "webhook": {"enabled": false}},
        "authorization": {"mode": "AlwaysAllow"},
        "containerRuntimeEndpoint": format!("unix://{CONTAINERD_SOCKET}"),
        "clusterDNS": [DNS.to_string()],
        "clusterDomain": DOMAIN,
        "resolvConf": "",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{group}"),
        "failCgroupV1": false,
        "failSwapOn": false,
        "enforceNodeAllocatable": [],
        // A machine of a developer is nearly full.
        "evictionHard": {
            "memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%",
        },
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "makeIPTablesUtilChains": false,
    })
}
