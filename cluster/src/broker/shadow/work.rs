// SPDX-License-Identifier: Apache-2.0
//! What is done about shadows and their owners.

use std::sync::Arc;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::{Api, ResourceExt as _};
use tracing::{debug, info, warn};

use super::manifest::OWNER;
use crate::broker::{Broker, gate};
use crate::limits;

/// One of them.
#[derive(Debug)]
pub(super) enum Task {
    /// A shadow is to be.
    Create(Box<Pod>),
    /// A shadow is not needed.
    Delete(Arc<Pod>),
    /// A pod that has lost its shadow.
    End {
        pod: Arc<Pod>,
        /// The shadow's name.
        shadow: String,
        /// What is with it.
        why: String,
    },
}

impl Task {
    /// The shadow has to go, unless it goes already.
    pub(super) fn delete(shadow: &Arc<Pod>) -> Option<Self> {
        let is_going = shadow.metadata.deletion_timestamp.is_some();
        (!is_going).then(|| Self::Delete(Arc::clone(shadow)))
    }

    /// Does it; returns the UID of a pod whose shadow the API server does not want, and why.
    async fn run(self, broker: &Broker) -> Option<(String, String)> {
        let pods = |pod: &Pod| -> Api<Pod> {
            Api::namespaced(broker.client.clone(), &pod.namespace().unwrap_or_default())
        };
        let result = match &self {
            Self::Create(shadow) => create(&pods(shadow), shadow).await,
            Self::Delete(shadow) => delete(&pods(shadow), shadow).await,
            Self::End { pod, shadow, why } => end(broker, &pods(pod), pod, shadow, why).await,
        };
        let error = result.err()?;
        warn!(%error, task = self.name(), "shadow pods");
        match (self, error) {
            (Self::Create(shadow), kube::Error::Api(status)) => {
                let owner = shadow.labels().get(OWNER)?;
                Some((owner.clone(), status.message))
            }
            _ => None,
        }
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Create(_) => "create",
            Self::Delete(_) => "delete",
            Self::End { .. } => "end",
        }
    }
}

/// Does them all; what fails is due again at the next look. Returns the UIDs of pods whose shadows
/// the API server does not want, and why.
pub(super) async fn run(broker: &Broker, tasks: Vec<Task>) -> Vec<(String, String)> {
    let tasks = tasks.into_iter().map(|task| {
        let name = task.name();
        async move {
            let done = tokio::time::timeout(limits::API_REQUEST, task.run(broker)).await;
            done.unwrap_or_else(|_| {
                warn!(task = name, "shadow pods: the API server does not answer");
                None
            })
        }
    });
    futures::stream::iter(tasks)
        .buffer_unordered(limits::API_REQUESTS)
        .filter_map(std::future::ready)
        .collect()
        .await
}

async fn create(pods: &Api<Pod>, shadow: &Pod) -> Result<(), kube::Error> {
    match pods.create(&PostParams::default(), shadow).await {
        Ok(_) => {
            let namespace = shadow.namespace();
            info!(namespace, pod = shadow.name_any(), "KAI is asked for a GPU");
            Ok(())
        }
        // The watch is behind, or the one before is still going.
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(error) => Err(error),
    }
}

async fn delete(pods: &Api<Pod>, pod: &Pod) -> Result<(), kube::Error> {
    let parameters = DeleteParams {
        preconditions: Some(Preconditions {
            uid: pod.uid(),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    match pods.delete(&pod.name_any(), &parameters).await {
        Ok(_) => {
            debug!(namespace = pod.namespace(), pod = pod.name_any(), "deleted");
            Ok(())
        }
        // It is gone, or another one has its name.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(error) => Err(error),
    }
}

async fn end(
    broker: &Broker,
    pods: &Api<Pod>,
    pod: &Pod,
    shadow: &str,
    why: &str,
) -> Result<(), kube::Error> {
    // A copy of the cluster's objects is enough to wait, but not to end somebody.
    let now = pods.get_opt(shadow).await?;
    if now.is_some_and(|now| {
        now.metadata.deletion_timestamp.is_none() && !super::pods::has_ended(&now)
    }) {
        return Ok(());
    }
    let note = format!("KAI has taken back its GPU: shadow pod {shadow} {why}. This pod ends");
    info!(namespace = pod.namespace(), pod = pod.name_any(), note);
    gate::publish(broker, pod, "Warning", "LeaseLost", note).await;
    delete(pods, pod).await
}
