// SPDX-License-Identifier: Apache-2.0
//! Certificates that the webhook makes for itself: an authority that the API server is told to
//! trust, and a certificate of it for the Service's names.
//!
//! Both are renewed when a third of their life is left. The authority before stays in the bundle,
//! so that a replica which still shows a certificate of it goes on being trusted.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Clocks of other machines may be behind ours by this much.
const CLOCK_SKEW: Duration = Duration::from_secs(3600);
/// What separates the certificates of a bundle.
const PEM_END: &str = "-----END CERTIFICATE-----";

/// How long certificates are valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// Of the authority.
    pub authority: Duration,
    /// Of the certificate that is shown.
    pub certificate: Duration,
}

/// An authority, a certificate and their keys, as PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificates {
    /// Whom to trust: the authority, then the one before it if there was one.
    pub bundle: String,
    /// The key of the first of them.
    pub authority_key: String,
    /// What is shown to the API server.
    pub certificate: String,
    /// Its key.
    pub key: String,
    /// When they end and whom they are for.
    pub validity: Validity,
}

/// When certificates end, in seconds since 1970, and the names that they are for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validity {
    authority_ends_s: u64,
    /// When the certificate that is shown ends.
    pub certificate_ends_s: u64,
    hosts: Vec<String>,
}

/// A certificate could not be made, or what was stored is damaged.
#[derive(Debug, Error)]
pub enum CertificateError {
    /// Of the library that makes them.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// Members of the Secret.
    #[error("the Secret's {0} is absent or damaged")]
    Stored(&'static str),
}

impl Certificates {
    /// What shall take the place of `stored`: nothing where it is good for a while yet.
    ///
    /// # Errors
    /// Where a key is damaged or the clock is before 1970.
    pub fn renew(
        stored: Option<&Self>,
        hosts: &[String],
        lifetimes: Lifetimes,
        now: SystemTime,
    ) -> Result<Option<Self>, CertificateError> {
        let now_s = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let is_due = |end_s: u64, life: Duration| end_s < now_s + life.as_secs() / 3;
        let Some(stored) = stored else {
            return Self::with_new_authority("", hosts, lifetimes, now_s).map(Some);
        };
        if is_due(stored.validity.authority_ends_s, lifetimes.authority) {
            let before = stored.bundle.split_inclusive(PEM_END).next();
            let before = before.unwrap_or_default();
            return Self::with_new_authority(before, hosts, lifetimes, now_s).map(Some);
        }
        let validity = &stored.validity;
        if !is_due(validity.certificate_ends_s, lifetimes.certificate) && validity.hosts == hosts {
            return Ok(None);
        }
        let authority_key = KeyPair::from_pem(&stored.authority_key)?;
        let issuer = Issuer::new(authority_parameters(now_s, lifetimes)?, authority_key);
        let ends_s = now_s + lifetimes.certificate.as_secs();
        let (certificate, key) = issue(&issuer, hosts, now_s, ends_s)?;
        let validity = Validity {
            authority_ends_s: validity.authority_ends_s,
            certificate_ends_s: ends_s,
            hosts: hosts.to_vec(),
        };
        Ok(Some(Self {
            certificate,
            key,
            validity,
            ..stored.clone()
        }))
    }

    fn with_new_authority(
        before: &str,
        hosts: &[String],
        lifetimes: Lifetimes,
        now_s: u64,
    ) -> Result<Self, CertificateError> {
        let authority_key = KeyPair::generate()?;
        let key_pem = authority_key.serialize_pem();
        let parameters = authority_parameters(now_s, lifetimes)?;
        let authority = parameters.self_signed(&authority_key)?.pem();
        let issuer = Issuer::new(parameters, authority_key);
        let ends_s = now_s + lifetimes.certificate.as_secs();
        let (certificate, key) = issue(&issuer, hosts, now_s, ends_s)?;
        let before = before.trim();
        let separator = if before.is_empty() { "" } else { "\n" };
        Ok(Self {
            bundle: format!("{}\n{before}{separator}", authority.trim()),
            authority_key: key_pem,
            certificate,
            key,
            validity: Validity {
                authority_ends_s: now_s + lifetimes.authority.as_secs(),
                certificate_ends_s: ends_s,
                hosts: hosts.to_vec(),
            },
        })
    }

    /// As the members of a Secret.
    pub fn to_members(&self) -> BTreeMap<String, String> {
        // Numbers and strings always serialise.
        let validity = serde_json::to_string(&self.validity).unwrap_or_default();
        BTreeMap::from([
            ("ca.crt".into(), self.bundle.clone()),
            ("ca.key".into(), self.authority_key.clone()),
            ("tls.crt".into(), self.certificate.clone()),
            ("tls.key".into(), self.key.clone()),
            ("validity.json".into(), validity),
        ])
    }

    /// From the members of a Secret.
    ///
    /// # Errors
    /// Where one is absent or is no text.
    pub fn from_members(members: &BTreeMap<String, Vec<u8>>) -> Result<Self, CertificateError> {
        let text = |name: &'static str| {
            let bytes = members.get(name).ok_or(CertificateError::Stored(name))?;
            String::from_utf8(bytes.clone()).map_err(|_| CertificateError::Stored(name))
        };
        Ok(Self {
            bundle: text("ca.crt")?,
            authority_key: text("ca.key")?,
            certificate: text("tls.crt")?,
            key: text("tls.key")?,
            validity: serde_json::from_str(&text("validity.json")?)
                .map_err(|_| CertificateError::Stored("validity.json"))?,
        })
    }
}

/// The same for each certificate of an authority: the issuer's name and key identifier follow.
fn authority_parameters(
    now_s: u64,
    lifetimes: Lifetimes,
) -> Result<CertificateParams, CertificateError> {
    let mut parameters = CertificateParams::new(Vec::<String>::new())?;
    let name = &mut parameters.distinguished_name;
    name.push(DnType::CommonName, "gvirtus-webhook authority");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    set_validity(
        &mut parameters,
        now_s,
        now_s + lifetimes.authority.as_secs(),
    );
    Ok(parameters)
}

fn issue(
    issuer: &Issuer<'_, KeyPair>,
    hosts: &[String],
    now_s: u64,
    ends_s: u64,
) -> Result<(String, String), CertificateError> {
    let key = KeyPair::generate()?;
    let mut parameters = CertificateParams::new(hosts.to_vec())?;
    let name = &mut parameters.distinguished_name;
    name.push(DnType::CommonName, "gvirtus-webhook");
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    parameters.use_authority_key_identifier_extension = true;
    set_validity(&mut parameters, now_s, ends_s);
    let certificate = parameters.signed_by(&key, issuer)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

fn set_validity(parameters: &mut CertificateParams, now_s: u64, ends_s: u64) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let begins_s = now_s.saturating_sub(CLOCK_SKEW.as_secs());
    parameters.not_before = epoch + Duration::from_secs(begins_s);
    parameters.not_after = epoch + Duration::from_secs(ends_s);
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86400);
    const LIFETIMES: Lifetimes = Lifetimes {
        authority: Duration::from_secs(360 * 86400),
        certificate: Duration::from_secs(90 * 86400),
    };

    fn hosts() -> Vec<String> {
        vec!["gvirtus-webhook.gvirtus-system.svc".into()]
    }

    fn renew(stored: Option<&Certificates>, now: SystemTime) -> Option<Certificates> {
        Certificates::renew(stored, &hosts(), LIFETIMES, now).expect("made")
    }

    fn members(certificates: &Certificates) -> BTreeMap<String, Vec<u8>> {
        let members = certificates.to_members().into_iter();
        members
            .map(|(name, text)| (name, text.into_bytes()))
            .collect()
    }

    #[test]
    fn certificates_are_renewed_before_they_end() {
        let now = SystemTime::now();
        let first = renew(None, now).expect("there was none");
        assert!(renew(Some(&first), now + 59 * DAY).is_none());
        let second = renew(Some(&first), now + 61 * DAY).expect("a third is left");
        assert_eq!(second.bundle, first.bundle);
        assert_ne!(second.certificate, first.certificate);
        let third = renew(Some(&second), now + 241 * DAY).expect("a third is left");
        assert_ne!(third.bundle, first.bundle);
        assert!(third.bundle.contains(first.bundle.trim()));
        let fourth = renew(Some(&third), now + 500 * DAY).expect("a third is left");
        assert!(!fourth.bundle.contains(first.bundle.trim()));
        assert_eq!(fourth.bundle.matches(PEM_END).count(), 2);
    }

    #[test]
    fn a_certificate_for_other_names_is_replaced() {
        let now = SystemTime::now();
        let first = renew(None, now).expect("there was none");
        let other = ["other.svc".to_owned()];
        let second = Certificates::renew(Some(&first), &other, LIFETIMES, now).expect("made");
        assert!(second.is_some_and(|second| second.bundle == first.bundle));
    }

    #[test]
    fn a_secret_holds_all_of_it() {
        let first = renew(None, SystemTime::now()).expect("there was none");
        let mut members = members(&first);
        assert!(Certificates::from_members(&members).is_ok_and(|read| read == first));
        members.remove("tls.key");
        let error = Certificates::from_members(&members).err().expect("absent");
        assert!(error.to_string().contains("tls.key"));
    }
}
