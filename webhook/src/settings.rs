// SPDX-License-Identifier: Apache-2.0
//! What the webhook puts into pods.

use serde::Serialize;

/// Chosen by who installs GVirtuS, the same for all pods.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Settings {
    /// The image with the libraries and the program that copies them.
    pub shim_image: String,
    /// Its `imagePullPolicy`.
    pub shim_pull_policy: PullPolicy,
    /// `GVIRTUS_ENDPOINT`.
    pub endpoint: String,
    /// Whether resources of ours become `GVIRTUS_REQUEST`, which the broker reads.
    pub translate_resources: bool,
    /// Whether they stay beside it, for the scheduler and for quotas: nodes do advertise them.
    pub keep_resources: bool,
    /// Whether pods wait for the controller that removes their scheduling gate.
    pub scheduling_gate: bool,
}

/// When the kubelet asks a registry for an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum PullPolicy {
    /// Each time.
    Always,
    /// Where the node does not have it.
    IfNotPresent,
    /// Never: it was brought to the node in another way.
    Never,
}

impl Settings {
    /// The value of the marker on a pod that was given these settings.
    pub fn marker(&self) -> String {
        // Neither strings nor a unit variant can fail to serialise.
        let text = serde_json::to_vec(self).unwrap_or_default();
        blake3::hash(&text).to_hex()[..16].to_owned()
    }
}
