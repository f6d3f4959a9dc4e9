// SPDX-License-Identifier: Apache-2.0
//! How it stands with a pod's shadows: pure.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

use super::manifest::{Ask, OWNER};
use crate::broker::pods::{self, Client};

/// Toleration that says that a pod was scheduled under a lease. Tolerations can be added to a pod
/// and never be taken away, so that nobody keeps a GPU that KAI has taken back.
pub(super) const LEASED: &str = "gvirtus.io/kai-lease";

/// How it stands with a shadow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// There is none.
    Missing,
    /// It is being deleted.
    Going,
    /// It has ended, for this reason.
    Ended(String),
    /// It asks for something else than its container does.
    Changed,
    /// KAI has no room yet.
    Waits,
    /// KAI has put it on this node.
    Placed(Arc<str>),
}

/// Shadows by the UID of their owner.
#[derive(Debug, Default)]
pub(super) struct Shadows {
    of: HashMap<String, Vec<Arc<Pod>>>,
}

impl Shadows {
    pub(super) fn new(shadows: Vec<Arc<Pod>>) -> Self {
        let mut of: HashMap<String, Vec<Arc<Pod>>> = HashMap::new();
        for shadow in shadows {
            let owner = shadow.labels().get(OWNER).cloned().unwrap_or_default();
            of.entry(owner).or_default().push(shadow);
        }
        Self { of }
    }

    /// Takes those of a pod out.
    pub(super) fn take(&mut self, pod: &Pod) -> Vec<Arc<Pod>> {
        let shadows = self.of.remove(&pod.uid().unwrap_or_default());
        // A label can be written by hand, and must not reach into another namespace.
        let (own, others) = shadows
            .unwrap_or_default()
            .into_iter()
            .partition(|shadow| shadow.namespace() == pod.namespace());
        let others: Vec<_> = others;
        self.of.entry(String::new()).or_default().extend(others);
        own
    }

    /// Those that are left.
    pub(super) fn rest(self) -> impl Iterator<Item = Arc<Pod>> {
        self.of.into_values().flatten()
    }
}

/// How it stands with the shadow of a container.
pub(super) fn standing(shadow: Option<&Pod>, client: &Client) -> Standing {
    let Some(shadow) = shadow else {
        return Standing::Missing;
    };
    if shadow.metadata.deletion_timestamp.is_some() {
        return Standing::Going;
    }
    if pods::has_ended(shadow) {
        let status = shadow.status.as_ref();
        let said = status.and_then(|status| status.message.as_ref().or(status.reason.as_ref()));
        return Standing::Ended(said.map_or("it has ended", String::as_str).to_owned());
    }
    if !Ask::new(&client.request).is_of(shadow) {
        return Standing::Changed;
    }
    match node(shadow) {
        Some(node) => Standing::Placed(node.into()),
        None => Standing::Waits,
    }
}

/// Where KAI has put a shadow.
pub(super) fn node(shadow: &Pod) -> Option<&str> {
    let node = shadow.spec.as_ref()?.node_name.as_deref()?;
    (!node.is_empty()).then_some(node)
}

/// Why KAI has not, as it says.
pub(super) fn refusal(shadow: &Pod) -> Option<&str> {
    let mut conditions = shadow
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    let scheduled = conditions.find(|condition| condition.type_ == "PodScheduled")?;
    let said = scheduled.message.as_deref()?.trim();
    (scheduled.status == "False" && !said.is_empty()).then_some(said)
}

/// Whether a pod was scheduled under a lease.
pub(super) fn is_leased(pod: &Pod) -> bool {
    let spec = pod.spec.iter();
    let mut tolerations = spec.flat_map(|spec| spec.tolerations.iter().flatten());
    tolerations.any(|toleration| toleration.key.as_deref() == Some(LEASED))
}

/// Whether an init container has done its work.
pub(super) fn has_completed(pod: &Pod, client: &Client) -> bool {
    let status = pod.status.iter();
    let mut statuses = status.flat_map(|status| status.init_container_statuses.iter().flatten());
    client.is_init
        && statuses.any(|status| {
            let state = status.state.as_ref();
            let ended = state.and_then(|state| state.terminated.as_ref());
            status.name == client.account.container && ended.is_some_and(|end| end.exit_code == 0)
        })
}
