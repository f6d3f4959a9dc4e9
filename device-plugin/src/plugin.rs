// SPDX-License-Identifier: Apache-2.0
//! The plugin as the kubelet sees it: sockets in its folder, registered while it runs.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::{Endpoint, Server};

use crate::api;
use crate::api::device_plugin_server::DevicePluginServer;
use crate::api::registration_client::RegistrationClient;
use crate::card::Card;
use crate::limits::{KUBELET_INTERVAL, REGISTER_INTERVAL, REGISTER_TIMEOUT};
use crate::mps::Mps;
use crate::resource::Resource;
use crate::service::{self, Service};

const VERSION: &str = "v1beta1";
const KUBELET: &str = "kubelet.sock";

/// What is offered, and where.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The kubelet's folder of plugins, with its `kubelet.sock`.
    pub folder: PathBuf,
    /// Each is a plugin of its own to the kubelet.
    pub resources: Vec<Resource>,
    /// Where containers reach the Multi-Process Service, if they do.
    pub mps: Option<Mps>,
}

/// Why the kubelet does not know the plugin.
#[derive(Debug, thiserror::Error)]
enum RegisterError {
    #[error("cannot listen on {path}")]
    Listen { path: PathBuf, source: io::Error },
    #[error("cannot reach the kubelet")]
    Kubelet(#[from] tonic::transport::Error),
    #[error("the kubelet refuses {resource}: {}", .status.message())]
    Refused {
        resource: String,
        status: tonic::Status,
    },
}

/// A served socket; dropping it ends that and removes it.
struct Served {
    path: PathBuf,
    task: JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
        let _ = fs::remove_file(&self.path);
    }
}

/// Serves the cards and keeps them registered, for as long as the future is polled. Nothing is
/// registered until there is a card. `again` registers anew.
pub async fn run(plan: &Plan, mut cards: watch::Receiver<Vec<Card>>, again: &Notify) {
    if cards.borrow().is_empty() {
        tracing::info!("no cards yet");
    }
    if cards.wait_for(|cards| !cards.is_empty()).await.is_err() {
        return;
    }
    let kubelet = plan.folder.join(KUBELET);
    loop {
        let Some(identity) = identity(&kubelet) else {
            tokio::time::sleep(KUBELET_INTERVAL).await;
            continue;
        };
        match register(plan, &cards).await {
            Ok(served) => {
                tracing::info!(resources = served.len(), "registered with the kubelet");
                tokio::select! {
                    () = change(&kubelet, identity, &served) => {
                        tracing::info!("the kubelet was started anew");
                    }
                    () = again.notified() => tracing::info!("asked to register again"),
                }
            }
            Err(error) => {
                let error = anyhow::Error::from(error);
                tracing::warn!(error = format!("{error:#}"), "not registered");
                tokio::time::sleep(REGISTER_INTERVAL).await;
            }
        }
    }
}

/// Tells a socket from the one that has its place later.
fn identity(path: &Path) -> Option<(u64, i64, i64)> {
    let data = fs::metadata(path).ok()?;
    Some((data.ino(), data.ctime(), data.ctime_nsec()))
}

/// Waits until the kubelet has another socket or has removed ours, as it does when it starts.
async fn change(kubelet: &Path, before: (u64, i64, i64), served: &[Served]) {
    while identity(kubelet) == Some(before) && served.iter().all(|one| one.path.exists()) {
        tokio::time::sleep(KUBELET_INTERVAL).await;
    }
}

async fn register(
    plan: &Plan,
    cards: &watch::Receiver<Vec<Card>>,
) -> Result<Vec<Served>, RegisterError> {
    let kubelet = plan.folder.join(KUBELET);
    let channel = Endpoint::from_shared(format!("unix://{}", kubelet.display()))?
        .connect_timeout(REGISTER_TIMEOUT)
        .timeout(REGISTER_TIMEOUT)
        .connect()
        .await?;
    let mut client = RegistrationClient::new(channel);
    let mut all = Vec::new();
    for resource in &plan.resources {
        let name = socket_name(resource);
        // The kubelet calls it before it answers.
        let service = Service {
            resource: resource.clone(),
            cards: cards.clone(),
            mps: plan.mps.clone(),
        };
        all.push(serve(plan.folder.join(&name), service)?);
        let request = api::RegisterRequest {
            version: VERSION.to_owned(),
            endpoint: name,
            resource_name: resource.name().to_owned(),
            options: Some(service::options()),
        };
        client
            .register(request)
            .await
            .map_err(|status| RegisterError::Refused {
                resource: resource.name().to_owned(),
                status,
            })?;
    }
    Ok(all)
}

fn socket_name(resource: &Resource) -> String {
    format!("gvirtus-{}.sock", resource.name().replace('/', "-"))
}

fn serve(path: PathBuf, service: Service) -> Result<Served, RegisterError> {
    // One that was killed has left its own.
    let _ = fs::remove_file(&path);
    let listener = UnixListener::bind(&path).map_err(|source| RegisterError::Listen {
        path: path.clone(),
        source,
    })?;
    let serving = Server::builder()
        .add_service(DevicePluginServer::new(service))
        .serve_with_incoming(UnixListenerStream::new(listener));
    let task = tokio::spawn(async move {
        if let Err(error) = serving.await {
            tracing::error!(%error, "a socket is not served");
        }
    });
    Ok(Served { path, task })
}
