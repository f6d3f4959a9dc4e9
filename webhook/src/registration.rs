// SPDX-License-Identifier: Apache-2.0
//! Keeps three things in step: the Secret with the certificates, which all replicas share; the
//! `caBundle` of the webhook's registration; and the certificate that this process shows.
//!
//! A replica shows a certificate only after the API server has been told to trust its authority.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use thiserror::Error;
use tracing::{debug, info, warn};

use crate::certificate::{CertificateError, Certificates, Lifetimes};
use crate::limits;
use crate::server::Webhook;
use crate::tls::TlsError;

/// Names of the objects in the cluster.
#[derive(Clone, Debug)]
pub struct Names {
    /// Of everything but the registration.
    pub namespace: String,
    /// Of the Service that the API server calls.
    pub service: String,
    /// Of the Secret that the certificates are kept in.
    pub secret: String,
    /// Other names and addresses by which the API server may call the webhook.
    pub extra_hosts: Vec<String>,
    /// Of the `MutatingWebhookConfiguration`.
    pub configuration: String,
}

impl Names {
    fn hosts(&self) -> Vec<String> {
        let name = format!("{}.{}.svc", self.service, self.namespace);
        let mut hosts = vec![format!("{name}.cluster.local"), name];
        hosts.extend_from_slice(&self.extra_hosts);
        hosts
    }
}

/// Why the three are not in step.
#[derive(Debug, Error)]
pub enum RegistrationError {
    /// The API server's answer.
    #[error("{what}: {source}")]
    Api {
        /// What was tried.
        what: &'static str,
        /// The answer.
        source: Box<kube::Error>,
    },
    /// No answer.
    #[error("the API server does not answer")]
    TimedOut,
    /// Certificates.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// Showing them.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

fn api(what: &'static str) -> impl FnOnce(kube::Error) -> RegistrationError {
    move |source| RegistrationError::Api {
        what,
        source: Box::new(source),
    }
}

/// Keeps them in step for ever; what fails is logged and tried again.
pub async fn keep(client: Client, names: Names, lifetimes: Lifetimes, webhook: Arc<Webhook>) {
    let registrar = Registrar {
        secrets: Api::namespaced(client.clone(), &names.namespace),
        configurations: Api::all(client),
        names,
        lifetimes,
        webhook,
    };
    let mut shown = None;
    loop {
        let step = tokio::time::timeout(limits::API_REQUEST, registrar.step(shown.as_ref()));
        let pause = match step.await.unwrap_or(Err(RegistrationError::TimedOut)) {
            Ok(certificates) => {
                shown = Some(certificates);
                limits::LOOK
            }
            Err(error) => {
                warn!(%error, "the certificates are not in step; trying again");
                limits::LOOK_AGAIN
            }
        };
        tokio::time::sleep(pause).await;
    }
}

struct Registrar {
    secrets: Api<Secret>,
    configurations: Api<MutatingWebhookConfiguration>,
    names: Names,
    lifetimes: Lifetimes,
    webhook: Arc<Webhook>,
}

impl Registrar {
    /// Brings all in step and returns what is shown then.
    async fn step(&self, shown: Option<&Certificates>) -> Result<Certificates, RegistrationError> {
        let certificates = self.current_certificates().await?;
        let registered = self.publish(&certificates.bundle).await?;
        if shown != Some(&certificates) {
            let ends_s = certificates.validity.certificate_ends_s;
            let (certificate, key) = (&certificates.certificate, &certificates.key);
            self.webhook.shown.set(certificate, key)?;
            self.webhook.metrics.certificate_ends(ends_s);
            info!(ends_s, "showing another certificate");
        }
        self.webhook.registered.store(registered, Ordering::Relaxed);
        Ok(certificates)
    }

    /// Those in the Secret, renewed there first where they are about to end.
    async fn current_certificates(&self) -> Result<Certificates, RegistrationError> {
        let name = &self.names.secret;
        let secret = self.secrets.get_opt(name).await;
        let secret = secret.map_err(api("cannot read the Secret"))?;
        let data = secret.as_ref().and_then(|secret| secret.data.as_ref());
        // An empty Secret is one that somebody made for us to fill.
        let stored = data
            .filter(|data| !data.is_empty())
            .map(stored)
            .transpose()?;
        let hosts = self.names.hosts();
        let now = SystemTime::now();
        let renewed = Certificates::renew(stored.as_ref(), &hosts, self.lifetimes, now)?;
        let Some(certificates) = renewed else {
            // Nothing was due, so there were some.
            return stored.ok_or(CertificateError::Stored("data").into());
        };
        let members = certificates.to_members().into_iter();
        let data = members.map(|(name, text)| (name, ByteString(text.into_bytes())));
        // The version of the one that was read: where another replica was faster, the API server
        // refuses this one, and the next look finds the other's.
        let mut wanted = secret.clone().unwrap_or_default();
        wanted.data = Some(data.collect());
        let result = if secret.is_some() {
            self.secrets
                .replace(name, &PostParams::default(), &wanted)
                .await
        } else {
            wanted.metadata = self.metadata();
            self.secrets.create(&PostParams::default(), &wanted).await
        };
        match result {
            Ok(_) => {
                info!(secret = name, "made new certificates");
                Ok(certificates)
            }
            Err(error) => Err(api("cannot write the Secret")(error)),
        }
    }

    fn metadata(&self) -> ObjectMeta {
        let labels = [
            ("app.kubernetes.io/name", "gvirtus-webhook"),
            ("app.kubernetes.io/component", "webhook"),
            ("app.kubernetes.io/part-of", "gvirtus"),
        ];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
        ObjectMeta {
            name: Some(self.names.secret.clone()),
            labels: Some(labels.into()),
            ..ObjectMeta::default()
        }
    }

    /// Makes the API server trust `bundle`, and tells whether it does.
    async fn publish(&self, bundle: &str) -> Result<bool, RegistrationError> {
        let name = &self.names.configuration;
        let configuration = self.configurations.get_opt(name).await;
        let configuration = configuration.map_err(api("cannot read the registration"))?;
        let Some(configuration) = configuration else {
            debug!(name, "there is no MutatingWebhookConfiguration yet");
            return Ok(false);
        };
        let Some(patch) = bundle_patch(&configuration, bundle) else {
            return Ok(true);
        };
        let patch = Patch::Strategic(patch);
        let parameters = PatchParams::default();
        let patched = self.configurations.patch(name, &parameters, &patch).await;
        patched.map_err(api("cannot write the registration"))?;
        info!(name, "told the API server whom to trust");
        Ok(true)
    }
}

fn stored(data: &BTreeMap<String, ByteString>) -> Result<Certificates, CertificateError> {
    let members = data
        .iter()
        .map(|(name, value)| (name.clone(), value.0.clone()));
    Certificates::from_members(&members.collect())
}

/// What makes each webhook of a registration trust `bundle`: nothing where all do.
fn bundle_patch(configuration: &MutatingWebhookConfiguration, bundle: &str) -> Option<Value> {
    let webhooks = configuration.webhooks.as_deref().unwrap_or_default();
    let wanted = ByteString(bundle.as_bytes().to_vec());
    let others: Vec<_> = webhooks
        .iter()
        .filter(|webhook| webhook.client_config.ca_bundle.as_ref() != Some(&wanted))
        // Merged by their names: the list may have changed since it was read.
        .map(|webhook| json!({"name": webhook.name, "clientConfig": {"caBundle": wanted}}))
        .collect();
    (!others.is_empty()).then(|| json!({ "webhooks": others }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(bundles: &[Option<&str>]) -> MutatingWebhookConfiguration {
        let webhooks: Vec<_> = bundles
            .iter()
            .zip(["a", "b"])
            .map(|(bundle, name)| {
                let bundle = bundle.map(|text| ByteString(text.as_bytes().to_vec()));
                json!({"name": name, "admissionReviewVersions": ["v1"], "sideEffects": "None",
                       "clientConfig": {"caBundle": bundle}})
            })
            .collect();
        serde_json::from_value(json!({"metadata": {}, "webhooks": webhooks})).expect("valid")
    }

    #[test]
    fn only_what_differs_is_patched() {
        assert!(bundle_patch(&configuration(&[]), "a").is_none());
        assert!(bundle_patch(&configuration(&[Some("a")]), "a").is_none());
        let patch = bundle_patch(&configuration(&[Some("a"), None]), "a").expect("a patch");
        assert_eq!(
            patch,
            json!({"webhooks": [{"name": "b", "clientConfig": {"caBundle": "YQ=="}}]})
        );
    }

    #[test]
    fn the_hosts_are_those_that_the_api_server_asks_for() {
        let names = Names {
            namespace: "n".into(),
            service: "s".into(),
            secret: String::new(),
            extra_hosts: vec!["127.0.0.1".into()],
            configuration: String::new(),
        };
        assert!(names.hosts().contains(&"s.n.svc".to_owned()));
    }
}
