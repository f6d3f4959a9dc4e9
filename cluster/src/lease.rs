// SPDX-License-Identifier: Apache-2.0
//! Which of several replicas works: the holder of a Lease.
//!
//! Times in the Lease are for people. Whether its holder is gone is told by how long the Lease has
//! not changed on this replica's own clock, so that clocks need not agree.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client, Error};
use tracing::{info, warn};

use crate::limits;

/// HTTP's code for an object that exists, or has changed since it was read.
const CONFLICT: u16 = 409;

/// A replica's view of the Lease.
#[derive(Debug)]
pub struct Candidate {
    leases: Api<Lease>,
    name: String,
    identity: String,
    /// What was seen last, and when it was new.
    seen: Option<(Option<LeaseSpec>, Instant)>,
}

impl Candidate {
    /// A replica that is called `identity`, unlike all others.
    pub fn new(client: Client, namespace: &str, name: &str, identity: String) -> Self {
        Self {
            leases: Api::namespaced(client, namespace),
            name: name.to_owned(),
            identity,
            seen: None,
        }
    }

    /// Waits until this replica holds the Lease.
    pub async fn acquire(&mut self) {
        loop {
            match tokio::time::timeout(limits::API_REQUEST, self.step()).await {
                Ok(Ok(true)) => return info!(identity = self.identity, "leading"),
                Ok(Ok(false)) => {}
                Ok(Err(error)) => warn!(error = format!("{error:#}"), "cannot look at the Lease"),
                Err(_) => warn!("the API server does not answer"),
            }
            tokio::time::sleep(limits::LEASE_LOOK).await;
        }
    }

    /// Renews the Lease as long as that is possible.
    ///
    /// # Errors
    /// Always, once this replica does not hold it any more.
    pub async fn keep(&mut self) -> Result<()> {
        let mut renewed = Instant::now();
        loop {
            tokio::time::sleep(limits::LEASE_LOOK).await;
            let left = limits::LEASE_RENEWAL.saturating_sub(renewed.elapsed());
            match tokio::time::timeout(left, self.step()).await {
                Ok(Ok(true)) => renewed = Instant::now(),
                Ok(Ok(false)) => bail!("another replica holds the Lease"),
                Ok(Err(error)) => warn!(error = format!("{error:#}"), "cannot renew the Lease"),
                Err(_) => warn!("the Lease could not be renewed in time"),
            }
            if renewed.elapsed() >= limits::LEASE_RENEWAL {
                bail!("the Lease could not be renewed");
            }
        }
    }

    /// Lets another replica have it at once.
    pub async fn release(&mut self) {
        let Ok(Some(mut lease)) = self.leases.get_opt(&self.name).await else {
            return;
        };
        let Some(spec) = lease.spec.as_mut().filter(|spec| self.is_mine(spec)) else {
            return;
        };
        spec.holder_identity = None;
        spec.renew_time = None;
        let parameters = PostParams::default();
        // It ends by itself otherwise.
        let _ = self.leases.replace(&self.name, &parameters, &lease).await;
    }

    fn is_mine(&self, spec: &LeaseSpec) -> bool {
        spec.holder_identity.as_ref() == Some(&self.identity)
    }

    /// Takes or renews the Lease where that is allowed, and tells whether this replica has it.
    async fn step(&mut self) -> Result<bool> {
        let lease = self
            .leases
            .get_opt(&self.name)
            .await
            .context("cannot read it")?;
        let old = lease.as_ref().and_then(|lease| lease.spec.clone());
        if !self.may_take(old.as_ref(), Instant::now()) {
            return Ok(false);
        }
        let mut wanted = lease.clone().unwrap_or_default();
        wanted.spec = Some(self.spec(old.as_ref(), Timestamp::now()));
        let parameters = PostParams::default();
        let result = if lease.is_some() {
            // The version of the one that was read: the API server refuses the slower replica.
            self.leases.replace(&self.name, &parameters, &wanted).await
        } else {
            wanted.metadata.name = Some(self.name.clone());
            self.leases.create(&parameters, &wanted).await
        };
        match result {
            Ok(_) => Ok(true),
            Err(Error::Api(answer)) if answer.code == CONFLICT => Ok(false),
            Err(error) => Err(error).context("cannot write it"),
        }
    }

    fn may_take(&mut self, old: Option<&LeaseSpec>, now: Instant) -> bool {
        let Some(spec) = old else {
            return true;
        };
        if self.is_mine(spec) || spec.holder_identity.as_ref().is_none_or(String::is_empty) {
            return true;
        }
        let since = match &self.seen {
            Some((seen, since)) if seen.as_ref() == old => *since,
            _ => {
                self.seen = Some((old.cloned(), now));
                now
            }
        };
        let seconds = spec
            .lease_duration_seconds
            .and_then(|s| u64::try_from(s).ok());
        let duration = seconds.map_or(limits::LEASE, Duration::from_secs);
        now.duration_since(since) > duration
    }

    fn spec(&self, old: Option<&LeaseSpec>, now: Timestamp) -> LeaseSpec {
        let mine = old.filter(|spec| self.is_mine(spec));
        let transitions = old.and_then(|spec| spec.lease_transitions).unwrap_or(0);
        let acquired = mine.and_then(|spec| spec.acquire_time.clone());
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(limits::LEASE.as_secs()).ok(),
            acquire_time: Some(acquired.unwrap_or(MicroTime(now))),
            renew_time: Some(MicroTime(now)),
            lease_transitions: Some(transitions + i32::from(mine.is_none())),
            ..old.cloned().unwrap_or_default()
        }
    }
}
