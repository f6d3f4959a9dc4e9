// SPDX-License-Identifier: Apache-2.0
//! The device plugin of a backend's node: it tells the kubelet how much of its GPUs can be asked
//! for, in parts of a card.
//!
//! A [`Resource`] cuts each [`Card`] into virtual devices, whose ids are `<card's UUID>-<number>`.
//! [`preferred`] chooses among them and [`mod@environment`] tells a container what it has got: pure
//! functions. [`run`] serves them to the kubelet on Unix sockets, one for each resource, and
//! registers again whenever the kubelet has been started anew; [`watch`] asks the daemon which
//! cards there are and marks them unhealthy while it does not answer. With [`Mps`] containers reach
//! NVIDIA's Multi-Process Service, which holds them to their share.

#![forbid(unsafe_code)]

mod allocation;
mod card;
mod daemon;
mod environment;
pub mod limits;
mod mps;
mod plugin;
mod resource;
mod service;

/// The kubelet's API, version v1beta1, as made from `proto/device_plugin.proto`.
#[allow(
    missing_docs,
    clippy::use_self,
    unreachable_pub,
    reason = "made from the definition"
)]
pub mod api {
    tonic::include_proto!("v1beta1");
}

pub use allocation::{AllocationError, preferred};
pub use card::{Card, Uuid, VirtualId};
pub use daemon::watch;
pub use environment::environment;
pub use mps::Mps;
pub use plugin::{Plan, run};
pub use resource::{Measure, Resource, ResourceError};
