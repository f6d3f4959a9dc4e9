// SPDX-License-Identifier: Apache-2.0
//! What GVirtuS does in a Kubernetes cluster beside the webhook: labels of nodes, the broker, which
//! says which backend a program uses, and the autoscaler within it.
//!
//! [`placement`] is the choice, a pure function; [`capacity`] tells schedulers and quotas what
//! there is to choose from.

#![forbid(unsafe_code)]

pub mod autoscaler;
pub mod broker;
pub mod capacity;
pub mod labeler;
pub mod lease;
pub mod limits;
pub mod placement;
