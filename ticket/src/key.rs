// SPDX-License-Identifier: Apache-2.0
//! Keys, and what is signed with them.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ed25519_dalek::{Signature, Signer as _, VerifyingKey};

use crate::limits::{KEYS_MAX, TICKET_BYTES_MAX};
use crate::ticket::{Ticket, TicketError};

const MAGIC: [u8; 4] = *b"GVT\x01";
const SIGNATURE_BYTES: usize = 64;
const KEY_BYTES: usize = 32;

/// A broker's secret.
pub struct SigningKey(ed25519_dalek::SigningKey);

/// What a backend needs to know of a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

/// The brokers that a backend believes: more than one while keys are changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublicKeys(Vec<PublicKey>);

/// What is wrong with a list of public keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A line is no key.
    #[error("line {0} is no public key: 32 bytes in base64 are expected")]
    Line(usize),
    /// Too many.
    #[error("there are more than {KEYS_MAX} keys")]
    TooMany,
}

impl SigningKey {
    /// The key that belongs to 32 random bytes, which are all there is to keep of it.
    pub fn from_seed(seed: &[u8; KEY_BYTES]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// What backends need.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// A ticket as a client shows it.
    ///
    /// # Errors
    ///
    /// [`TicketError::Malformed`] if something in it is over its limit.
    pub fn sign(&self, ticket: &Ticket) -> Result<Vec<u8>, TicketError> {
        ticket.check()?;
        let body = ticket.encode();
        let signature = self.0.sign(&signed(&body));
        Ok([&MAGIC[..], &signature.to_bytes(), &body].concat())
    }
}

impl PublicKey {
    /// One line of what [`PublicKeys::parse`] reads, without its end.
    pub fn to_text(&self) -> String {
        BASE64_STANDARD.encode(self.0.as_bytes())
    }

    fn from_text(text: &str) -> Option<Self> {
        let bytes = BASE64_STANDARD.decode(text).ok()?;
        let bytes: [u8; KEY_BYTES] = bytes.try_into().ok()?;
        let key = VerifyingKey::from_bytes(&bytes).ok()?;
        // A weak key has signatures that fit every message.
        (!key.is_weak()).then_some(Self(key))
    }
}

impl PublicKeys {
    /// Reads a list: a key a line, in base64. Empty lines and comments, with `#`, are skipped.
    ///
    /// # Errors
    ///
    /// The first line that is wrong.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let mut keys = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if keys.len() == KEYS_MAX {
                return Err(KeyError::TooMany);
            }
            keys.push(PublicKey::from_text(line).ok_or(KeyError::Line(number))?);
        }
        Ok(Self(keys))
    }

    /// Whether nobody is believed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What a client may do that shows these bytes to `backend` at this time, in seconds since the
    /// Unix epoch.
    ///
    /// # Errors
    ///
    /// A sentence for the client.
    pub fn verify(&self, bytes: &[u8], backend: &str, now_s: u64) -> Result<Ticket, TicketError> {
        let ticket = self.verify_signature(bytes)?;
        ticket.is_for(backend, now_s)?;
        Ok(ticket)
    }

    /// What a ticket says, whenever and wherever it was to be used. A broker learns from it where a
    /// client was before.
    ///
    /// # Errors
    ///
    /// If it is no ticket, or signed by somebody else.
    pub fn verify_signature(&self, bytes: &[u8]) -> Result<Ticket, TicketError> {
        if bytes.is_empty() {
            return Err(TicketError::Absent);
        }
        if bytes.len() > TICKET_BYTES_MAX {
            return Err(TicketError::Malformed);
        }
        let rest = bytes.strip_prefix(&MAGIC);
        let parts = rest.and_then(|rest| rest.split_first_chunk::<SIGNATURE_BYTES>());
        let (signature, body) = parts.ok_or(TicketError::Malformed)?;
        let signature = Signature::from_bytes(signature);
        let signed = signed(body);
        let is_valid = |key: &PublicKey| key.0.verify_strict(&signed, &signature).is_ok();
        if !self.0.iter().any(is_valid) {
            return Err(TicketError::Signature);
        }
        Ticket::decode(body)
    }
}

impl From<PublicKey> for PublicKeys {
    fn from(key: PublicKey) -> Self {
        Self(vec![key])
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SigningKey").field(&self.public()).finish()
    }
}

/// What a signature covers.
fn signed(body: &[u8]) -> Vec<u8> {
    [&MAGIC[..], body].concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::{NAME_BYTES_MAX, TICKET_DEVICES_MAX};
    use crate::{Account, Quota, Scope};

    const NOW_S: u64 = 1_800_000_000;

    fn ticket() -> Ticket {
        Ticket {
            id: [7; 16],
            backend: "b-1".into(),
            scope: Scope::Session,
            issued_s: NOW_S,
            expires_s: NOW_S + 120,
            account: Account {
                namespace: "default".into(),
                pod: "train".into(),
                pod_uid: "u-1".into(),
                container: "main".into(),
            },
            quota: Quota {
                devices: vec![[1; 16]],
                memory_bytes: Some(1 << 30),
                compute_percent: Some(50),
            },
        }
    }

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&[seed; KEY_BYTES])
    }

    fn keys(numbers: &[u8]) -> PublicKeys {
        let lines = numbers.iter().map(|n| key(*n).public().to_text() + "\n");
        PublicKeys::parse(&lines.collect::<String>()).expect("keys")
    }

    #[test]
    fn a_backend_believes_its_brokers_and_nobody_else() {
        let shown = key(1).sign(&ticket()).expect("fits");
        for known in [&[1][..], &[2, 1]] {
            assert_eq!(keys(known).verify(&shown, "b-1", NOW_S), Ok(ticket()));
        }
        for unknown in [&[][..], &[2]] {
            let refused = keys(unknown).verify(&shown, "b-1", NOW_S);
            assert_eq!(refused, Err(TicketError::Signature));
        }
    }

    #[test]
    fn place_and_time_must_be_right() {
        let shown = key(1).sign(&ticket()).expect("fits");
        let verify = |backend, now_s| keys(&[1]).verify(&shown, backend, now_s);
        assert_eq!(verify("b-2", NOW_S), Err(TicketError::Backend));
        assert!(verify("b-1", NOW_S + 149).is_ok(), "clocks may differ");
        assert_eq!(verify("b-1", NOW_S + 150), Err(TicketError::Expired(30)));
        assert!(verify("b-1", NOW_S - 30).is_ok(), "clocks may differ");
        assert_eq!(verify("b-1", NOW_S - 31), Err(TicketError::Early(1)));
        assert_eq!(keys(&[1]).verify_signature(&shown), Ok(ticket()));
    }

    #[test]
    fn what_is_no_ticket_is_told_apart() {
        let keys = keys(&[1]);
        assert_eq!(keys.verify(b"", "b-1", NOW_S), Err(TicketError::Absent));
        for bytes in [&b"secret"[..], &[0; TICKET_BYTES_MAX + 1], b"GVT\x02"] {
            assert_eq!(
                keys.verify(bytes, "b-1", NOW_S),
                Err(TicketError::Malformed)
            );
        }
        let mut wrong = ticket();
        wrong.quota.compute_percent = Some(101);
        assert_eq!(key(1).sign(&wrong), Err(TicketError::Malformed));
        wrong = ticket();
        wrong.account.pod = "p".repeat(NAME_BYTES_MAX + 1);
        assert_eq!(key(1).sign(&wrong), Err(TicketError::Malformed));
    }

    #[test]
    fn the_largest_ticket_is_within_the_limit() {
        let name = "x".repeat(NAME_BYTES_MAX);
        let largest = Ticket {
            id: [255; 16],
            backend: name.clone(),
            scope: Scope::Observer,
            issued_s: u64::MAX,
            expires_s: u64::MAX,
            account: Account {
                namespace: name.clone(),
                pod: name.clone(),
                pod_uid: name.clone(),
                container: name,
            },
            quota: Quota {
                devices: vec![[255; 16]; TICKET_DEVICES_MAX],
                memory_bytes: Some(u64::MAX),
                compute_percent: Some(100),
            },
        };
        let shown = key(1).sign(&largest).expect("fits");
        assert_eq!(keys(&[1]).verify_signature(&shown), Ok(largest));
    }

    #[test]
    fn lists_of_keys_are_read_strictly() {
        let text = format!("# broker\n\n {} \n", key(1).public().to_text());
        assert_eq!(PublicKeys::parse(&text), Ok(key(1).public().into()));
        assert!(PublicKeys::parse("").expect("empty").is_empty());
        for (text, line) in [("#\nAAAA", 2), ("not base64!", 1)] {
            assert_eq!(PublicKeys::parse(text), Err(KeyError::Line(line)));
        }
        // The neutral element: every message would be signed by it.
        let weak = BASE64_STANDARD.encode([&[1][..], &[0; 31]].concat());
        assert_eq!(PublicKeys::parse(&weak), Err(KeyError::Line(1)));
        let many = (key(1).public().to_text() + "\n").repeat(KEYS_MAX + 1);
        assert_eq!(PublicKeys::parse(&many), Err(KeyError::TooMany));
        let shown = format!("SigningKey({:?})", key(9).public());
        assert_eq!(format!("{:?}", key(9)), shown, "no secrets in logs");
    }

    proptest! {
        #[test]
        fn no_changed_ticket_is_believed(at in 0_usize..400, value: u8, cut in 0_usize..400) {
            let shown = key(1).sign(&ticket()).expect("fits");
            let mut changed = shown.clone();
            let index = at % changed.len();
            changed[index] = value;
            if changed != shown {
                prop_assert!(keys(&[1]).verify_signature(&changed).is_err());
            }
            if cut < shown.len() {
                prop_assert!(keys(&[1]).verify_signature(&shown[..cut]).is_err());
            }
        }
    }
}
