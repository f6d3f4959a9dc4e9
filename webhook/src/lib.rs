// SPDX-License-Identifier: Apache-2.0
//! The mutating admission webhook: a pod with the label `gvirtus.io/enabled: "true"` is given what
//! its CUDA programs need to run on a GPU of another node.
//!
//! [`inject()`] is the whole decision, a pure function from a pod to a JSON Patch. [`answer`] wraps
//! it in `admission.k8s.io/v1`; the rest serves that over TLS with certificates that it makes
//! itself.

#![forbid(unsafe_code)]

mod certificate;
mod inject;
mod limits;
mod metrics;
mod patch;
mod paths;
mod refusal;
mod registration;
mod resources;
mod review;
mod selection;
mod server;
mod settings;
mod tls;

pub use certificate::{CertificateError, Certificates, Lifetimes, Validity};
pub use inject::inject;
pub use metrics::Metrics;
pub use refusal::Refusal;
pub use registration::{Names, RegistrationError, keep};
pub use review::{Outcome, answer};
pub use server::{Webhook, serve_reviews};
pub use settings::{PullPolicy, Settings};
pub use tls::{Shown, TlsError};
