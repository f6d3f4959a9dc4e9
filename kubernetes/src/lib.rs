// SPDX-License-Identifier: Apache-2.0
//! What GVirtuS's programs in a Kubernetes cluster share: names, what a container asks for, and how
//! a program starts, ends, and tells how it is.

#![forbid(unsafe_code)]

mod health;
pub mod names;
mod policy;
mod program;
mod quantity;
mod request;

pub use health::{Health, serve_health};
pub use policy::{Policy, UnknownPolicy};
pub use program::{Signals, client, listen, random, start_log, start_tls};
pub use quantity::{quantity, whole};
pub use request::{Request, RequestError};
