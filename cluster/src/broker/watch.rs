// SPDX-License-Identifier: Apache-2.0
//! Copies of the cluster's objects, kept in step by watches.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use futures::StreamExt as _;
use gvirtus_kubernetes::names::ENABLED;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{ObjectRef, Store, store};
use kube::runtime::{WatchStreamExt as _, reflector, watcher};
use kube::{Api, Client};
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tracing::debug;

/// The query for backends.
const BACKENDS: &str = "app.kubernetes.io/component=backend";

/// What a broker looks at.
#[derive(Clone)]
pub(super) struct Watched {
    /// Pods of backends.
    pub backends: Store<Pod>,
    /// Pods with our label, in all namespaces.
    pub pods: Store<Pod>,
    /// All nodes.
    pub nodes: Store<Node>,
    /// All namespaces, without what is in them.
    pub namespaces: Store<PartialObjectMeta<Namespace>>,
}

impl Watched {
    /// Begins to watch; `changed` is told of each change.
    pub(super) fn start(client: &Client, namespace: &str, changed: &Arc<Notify>) -> Self {
        let own = Api::namespaced(client.clone(), namespace);
        let config = watcher::Config::default();
        let enabled = config.clone().labels(&format!("{ENABLED}=true"));
        Self {
            backends: start(own, config.clone().labels(BACKENDS), changed),
            pods: start(Api::all(client.clone()), enabled, changed),
            nodes: start(Api::all(client.clone()), config.clone(), changed),
            namespaces: start(Api::all(client.clone()), config, changed),
        }
    }

    /// Waits until all are complete.
    pub(super) async fn ready(&self) {
        // Each fails only if its task has ended, which it does with the process.
        let _ = tokio::join!(
            self.backends.wait_until_ready(),
            self.pods.wait_until_ready(),
            self.nodes.wait_until_ready(),
            self.namespaces.wait_until_ready(),
        );
    }

    /// A node.
    pub(super) fn node(&self, name: &str) -> Option<Arc<Node>> {
        self.nodes.get(&ObjectRef::new(name))
    }

    /// A namespace.
    pub(super) fn namespace(&self, name: &str) -> Option<Arc<PartialObjectMeta<Namespace>>> {
        self.namespaces.get(&ObjectRef::new(name))
    }

    /// A pod with our label.
    pub(super) fn pod(&self, namespace: &str, name: &str) -> Option<Arc<Pod>> {
        self.pods.get(&ObjectRef::new(name).within(namespace))
    }
}

/// Watches pods of all namespaces with a label, whatever its value.
pub(super) fn start_labelled(client: &Client, label: &str, changed: &Arc<Notify>) -> Store<Pod> {
    let config = watcher::Config::default().labels(label);
    start(Api::all(client.clone()), config, changed)
}

fn start<K>(api: Api<K>, config: watcher::Config, changed: &Arc<Notify>) -> Store<K>
where
    K: kube::Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    K::DynamicType: Default + Eq + Hash + Clone,
{
    keep(watcher(api, config), changed)
}

fn keep<K>(
    stream: impl futures::Stream<Item = watcher::Result<watcher::Event<K>>> + Send + 'static,
    changed: &Arc<Notify>,
) -> Store<K>
where
    K: kube::Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    K::DynamicType: Default + Eq + Hash + Clone,
{
    let (reader, writer) = store();
    let changed = Arc::clone(changed);
    tokio::spawn(async move {
        // Nobody reads who has written which field, and it is half of an object.
        let stream = stream.default_backoff().modify(|object| {
            object.meta_mut().managed_fields = None;
        });
        let mut stream = std::pin::pin!(reflector(writer, stream));
        while let Some(event) = stream.next().await {
            if let Err(error) = event {
                debug!(%error, "a watch begins anew");
            }
            changed.notify_one();
        }
    });
    reader
}
