// SPDX-License-Identifier: Apache-2.0
//! Backends as the pods of a Deployment, by the number of its replicas.

use std::collections::HashMap;
use std::time::Instant;

use k8s_openapi::api::apps::v1;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use parking_lot::Mutex;
use serde_json::json;
use tracing::info;

use super::{Bounds, Decision, Fleet, View, decide, serves};
use crate::broker::ledger::{Ledger, Member};
use crate::limits;
use crate::placement::BackendId;

/// Annotation: which pods of a ReplicaSet go first.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// The controller's hands.
pub(super) struct Deployment {
    deployments: Api<v1::Deployment>,
    pods: Api<Pod>,
    name: String,
    /// Replicas and those of them that serve, and since when it is so.
    since: Option<((usize, usize), Instant)>,
    /// Backends whose pods should end, and since when.
    retired: HashMap<BackendId, Instant>,
}

impl Deployment {
    pub(super) fn new(client: Client, namespace: &str, name: String) -> Self {
        Self {
            deployments: Api::namespaced(client.clone(), namespace),
            pods: Api::namespaced(client, namespace),
            name,
            since: None,
            retired: HashMap::new(),
        }
    }

    pub(super) async fn update(
        &mut self,
        ledger: &Mutex<Ledger>,
        view: &View<'_>,
        missing: usize,
        bounds: Bounds,
    ) -> kube::Result<(usize, usize)> {
        self.restore_survivors(ledger, view.now);
        let scale = self.deployments.get_scale(&self.name).await?;
        let replicas = scale.spec.and_then(|spec| spec.replicas).unwrap_or(0);
        let on = usize::try_from(replicas).unwrap_or(0);
        let fleet = self.fleet(on, view);
        match decide(fleet, missing, bounds) {
            Decision::Stay => Ok((0, 0)),
            Decision::Start(number) => {
                self.scale(on + number).await?;
                info!(
                    replicas = on + number,
                    missing, "the Deployment gets backends"
                );
                Ok((number, 0))
            }
            Decision::Stop(number) => {
                let stopped = self
                    .stop(ledger, &view.idle[..number], on, view.now)
                    .await?;
                Ok((0, stopped))
            }
        }
    }

    fn fleet(&mut self, on: usize, view: &View<'_>) -> Fleet {
        let serving = view.members.iter().filter(|member| serves(member)).count();
        let now = (on, serving);
        let since = match self.since {
            Some((before, since)) if before == now => since,
            _ => view.now,
        };
        self.since = Some((now, since));
        let waiting = on.saturating_sub(serving);
        let is_stalled = view.now.duration_since(since) >= limits::BACKEND_START;
        let (starting, stalled) = if is_stalled {
            (0, waiting)
        } else {
            (waiting, 0)
        };
        Fleet {
            on,
            starting,
            stalled,
            // Of pods that do not serve and idle ones Kubernetes ends the former.
            idle: if waiting == 0 { view.idle.len() } else { 0 },
            off: usize::MAX,
        }
    }

    async fn stop(
        &mut self,
        ledger: &Mutex<Ledger>,
        idle: &[&Member],
        on: usize,
        now: Instant,
    ) -> kube::Result<usize> {
        let mut retired = Vec::new();
        for member in idle {
            if ledger.lock().retire(&member.id) {
                retired.push(*member);
            }
        }
        let result = self.end(&retired, on).await;
        if result.is_err() {
            for member in &retired {
                ledger.lock().restore(&member.id);
            }
        } else {
            self.retired
                .extend(retired.iter().map(|member| (member.id.clone(), now)));
        }
        result
    }

    async fn end(&self, retired: &[&Member], on: usize) -> kube::Result<usize> {
        for member in retired {
            let cost = json!({"metadata": {"annotations": {DELETION_COST: i32::MIN.to_string()}}});
            let parameters = PatchParams::default();
            self.pods
                .patch(&member.pod, &parameters, &Patch::Merge(cost))
                .await?;
        }
        let left = on.saturating_sub(retired.len());
        if !retired.is_empty() {
            self.scale(left).await?;
            info!(replicas = left, "idle backends end");
        }
        Ok(retired.len())
    }

    async fn scale(&self, replicas: usize) -> kube::Result<()> {
        let scale = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        let parameters = PatchParams::default();
        self.deployments
            .patch_scale(&self.name, &parameters, &scale)
            .await?;
        Ok(())
    }

    /// A backend that goes on, because Kubernetes has chosen another one, is used again.
    fn restore_survivors(&mut self, ledger: &Mutex<Ledger>, now: Instant) {
        self.retired.retain(|id, when| {
            let is_due = now.duration_since(*when) >= limits::POD_END;
            if is_due {
                ledger.lock().restore(id);
            }
            !is_due
        });
    }
}
