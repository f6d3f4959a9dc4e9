// SPDX-License-Identifier: Apache-2.0
//! TLS with a certificate that can be exchanged while connections are open.

use std::fmt;
use std::sync::Arc;

use parking_lot::RwLock;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use thiserror::Error;

/// A certificate and key that do not fit or cannot be read.
#[derive(Debug, Error)]
pub enum TlsError {
    /// Not PEM.
    #[error("the certificate or its key is not PEM: {0}")]
    Pem(#[from] rustls::pki_types::pem::Error),
    /// A key of a kind that is not supported, or not of this certificate.
    #[error("the certificate cannot be used: {0}")]
    Use(#[from] rustls::Error),
}

/// What is shown to clients from now on.
#[derive(Default)]
pub struct Shown(RwLock<Option<Arc<CertifiedKey>>>);

impl Shown {
    /// Shows another certificate to clients that connect from now on.
    ///
    /// # Errors
    /// Where they are no PEM or do not fit each other.
    pub fn set(&self, certificate: &str, key: &str) -> Result<(), TlsError> {
        let chain =
            CertificateDer::pem_slice_iter(certificate.as_bytes()).collect::<Result<_, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
        let certified = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())?;
        *self.0.write() = Some(Arc::new(certified));
        Ok(())
    }

    /// Whether there is one to show.
    pub fn is_set(&self) -> bool {
        self.get().is_some()
    }

    fn get(&self) -> Option<Arc<CertifiedKey>> {
        self.0.read().clone()
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shown").finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.get()
    }
}

/// How clients are spoken to: HTTP/2 or HTTP/1.1.
///
/// # Errors
/// Never with the provider that is built in.
pub(crate) fn server_config(shown: Arc<Shown>) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(shown);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
