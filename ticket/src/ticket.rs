// SPDX-License-Identifier: Apache-2.0
//! What a ticket says.

use serde::{Deserialize, Serialize};

use crate::limits::{CLOCK_SKEW, NAME_BYTES_MAX, TICKET_BYTES_MAX, TICKET_DEVICES_MAX};

/// A right to use one backend for a short time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// Random; names the ticket in logs and reports.
    pub id: [u8; 16],
    /// The only backend that takes it.
    pub backend: String,
    /// What it opens.
    pub scope: Scope,
    /// When it was signed, in seconds since the Unix epoch.
    pub issued_s: u64,
    /// From when on it is worth nothing.
    pub expires_s: u64,
    /// Whose sessions it opens.
    pub account: Account,
    /// What all sessions of the account may use together.
    pub quota: Quota,
}

/// What a ticket opens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    /// Sessions with CUDA and NVML.
    #[default]
    Session,
    /// Only the list of the backend's sessions.
    Observer,
}

/// Whose sessions they are: those of one account share a quota.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Account {
    /// Of the pod.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The pod's unique id: a later pod of the same name is another one.
    pub pod_uid: String,
    /// The container's name; empty if the pod's containers share one quota.
    pub container: String,
}

/// What an account may use on one backend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Quota {
    /// As `cuDeviceGetUuid_v2` says; empty means all devices.
    pub devices: Vec<[u8; 16]>,
    /// Memory on each of the devices.
    pub memory_bytes: Option<u64>,
    /// Share of each device's time, from 1 to 100.
    pub compute_percent: Option<u8>,
}

/// Why a ticket is worth nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// There is none.
    #[error("a ticket of this cluster's broker is needed, and none is shown")]
    Absent,
    /// Something else than a ticket.
    #[error("what is shown is no ticket of a broker")]
    Malformed,
    /// Nobody whom the backend believes has signed it.
    #[error("the ticket is not signed by a broker that this backend knows")]
    Signature,
    /// Too late.
    #[error("the ticket has expired {0} s ago; ask the broker for another one")]
    Expired(u64),
    /// Too early: clocks differ.
    #[error(
        "the ticket is valid only in {0} s from now; are the clocks of broker and backend right?"
    )]
    Early(u64),
    /// It belongs to another backend.
    #[error("the ticket is for another backend")]
    Backend,
}

impl Ticket {
    /// Reads what a signature covers. Whoever signed it could still have made mistakes.
    pub(crate) fn decode(body: &[u8]) -> Result<Self, TicketError> {
        let Ok((ticket, [])) = postcard::take_from_bytes::<Self>(body) else {
            return Err(TicketError::Malformed);
        };
        ticket.check()?;
        Ok(ticket)
    }

    /// # Errors
    ///
    /// [`TicketError::Malformed`] if something in it is over its limit.
    pub(crate) fn check(&self) -> Result<(), TicketError> {
        let account = &self.account;
        let names = [
            &self.backend,
            &account.namespace,
            &account.pod,
            &account.pod_uid,
            &account.container,
        ];
        let quota = &self.quota;
        let fits = names.iter().all(|name| name.len() <= NAME_BYTES_MAX)
            && quota.devices.len() <= TICKET_DEVICES_MAX
            && quota.compute_percent.is_none_or(|p| (1..=100).contains(&p));
        if fits {
            Ok(())
        } else {
            Err(TicketError::Malformed)
        }
    }

    /// Whether a backend takes it now.
    pub(crate) fn is_for(&self, backend: &str, now_s: u64) -> Result<(), TicketError> {
        if self.backend != backend {
            return Err(TicketError::Backend);
        }
        let skew_s = CLOCK_SKEW.as_secs();
        let end_s = self.expires_s.saturating_add(skew_s);
        if now_s >= end_s {
            return Err(TicketError::Expired(now_s.saturating_sub(self.expires_s)));
        }
        let begin_s = self.issued_s.saturating_sub(skew_s);
        if now_s < begin_s {
            return Err(TicketError::Early(begin_s - now_s));
        }
        Ok(())
    }

    /// As it is signed.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let body = postcard::to_stdvec(self).expect("plain data in memory serialises");
        debug_assert!(body.len() < TICKET_BYTES_MAX, "see the limits of its parts");
        body
    }
}
