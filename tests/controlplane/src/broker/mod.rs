// SPDX-License-Identifier: Apache-2.0
//! The broker beside a real API server, with the rights of its service account, and daemons that
//! stand for the containers of backends' pods.

mod capacity;
mod checks;
mod client;
mod kai;
mod parts;
mod scaling;

pub(crate) use checks::{NAMES, run};
pub(crate) use parts::Broker;
