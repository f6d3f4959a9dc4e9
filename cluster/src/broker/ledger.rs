// SPDX-License-Identifier: Apache-2.0
//! Who has what where: pure, without clock or I/O.
//!
//! An account holds a share of a backend in one of three ways: as the backend *reports* it; by a
//! ticket that was *granted* and that no report shows yet; or because room was *reserved* for its
//! pod, whose gate was removed. All of them count.

mod fleet;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use gvirtus_protocol::snapshot::Snapshot;
use gvirtus_protocol::status::{DeviceFigures, Picture};
use gvirtus_ticket::{Account, Quota};

use crate::placement::{
    self, Backend, BackendId, Choice, Demand, Device, Location, PERCENT_MAX, Share, State,
    Unplaced, Uuid,
};
pub use fleet::{Member, Shape};

/// All backends with what is held of them.
#[derive(Debug, Default)]
pub struct Ledger {
    records: BTreeMap<BackendId, Record>,
    places: HashMap<Arc<Account>, Vec<BackendId>>,
}

/// What is known of a backend's pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The pod's name.
    pub pod: String,
    /// Where clients connect; empty as long as it has no address.
    pub endpoint: String,
    /// Where it runs.
    pub location: Location,
    /// Whether Kubernetes says that it is ready.
    pub is_ready: bool,
    /// Whether it is about to end.
    pub is_draining: bool,
    /// Most sessions that it takes.
    pub sessions_max: Option<u64>,
}

/// How a share is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hold {
    /// A pod that may be scheduled.
    Reserved,
    /// A ticket that was not used yet.
    Granted,
    /// Sessions that run.
    Running,
}

/// One account on one backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// Whose.
    pub account: Arc<Account>,
    /// Of which backend.
    pub backend: BackendId,
    /// The backend's pod.
    pub backend_pod: String,
    /// The backend's node.
    pub node: Arc<str>,
    /// What.
    pub share: Share,
    /// How.
    pub hold: Hold,
    /// Sessions that run.
    pub sessions: u32,
}

/// Sums over all backends, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Backends that take programs.
    pub ready: u64,
    /// Those that end.
    pub draining: u64,
    /// Those with as many sessions as they may have.
    pub full: u64,
    /// Those that do not answer.
    pub silent: u64,
    /// Devices of those that are not silent.
    pub devices: u64,
    /// Their memory.
    pub memory_bytes: u64,
    /// What of it shares have.
    pub granted_memory_bytes: u64,
    /// What of it is in use.
    pub used_memory_bytes: u64,
    /// Time in which kernels ran, in percent of one device.
    pub busy_percent: u64,
    /// Compute that shares have, in percent of one device.
    pub granted_percent: u64,
    /// Sessions, as backends report.
    pub sessions: u64,
}

#[derive(Debug)]
struct Record {
    facts: Facts,
    backend: Backend,
    answers: bool,
    /// Whether it is to end, which its pod does not show yet.
    is_retired: bool,
    session_count: u64,
    reported: HashMap<Arc<Account>, Reported>,
    granted: HashMap<Arc<Account>, Granted>,
    reserved: HashMap<Arc<Account>, Reserved>,
    /// Of each device, as the last reports tell.
    in_use: Vec<InUse>,
}

#[derive(Clone, Copy, Debug, Default)]
struct InUse {
    memory_bytes: u64,
    busy_percent: u8,
}

#[derive(Debug)]
struct Reported {
    share: Share,
    sessions: u32,
}

#[derive(Debug)]
struct Granted {
    share: Share,
    ticket_id: [u8; 16],
    until: Instant,
}

#[derive(Debug)]
struct Reserved {
    share: Share,
    until: Instant,
}

impl Ledger {
    /// Learns of a backend's pod, or of a change to it.
    pub fn set_facts(&mut self, id: &BackendId, facts: Facts) {
        let record = self.records.entry(id.clone()).or_insert_with(|| Record {
            facts: Facts::default(),
            backend: Backend {
                id: id.clone(),
                location: Location::default(),
                state: State::Silent,
                devices: Vec::new(),
            },
            answers: false,
            is_retired: false,
            session_count: 0,
            reported: HashMap::new(),
            granted: HashMap::new(),
            reserved: HashMap::new(),
            in_use: Vec::new(),
        });
        record.backend.location = facts.location.clone();
        record.facts = facts;
        record.set_state();
    }

    /// Forgets a backend whose pod is gone, with all that was held of it.
    pub fn remove(&mut self, id: &BackendId) {
        if let Some(record) = self.records.remove(id) {
            for account in record.accounts() {
                self.displace(&account, id);
            }
        }
    }

    /// What the backend said as it was connected to.
    pub fn set_devices(&mut self, id: &BackendId, snapshot: &Snapshot) {
        if let Some(record) = self.records.get_mut(id) {
            let devices = snapshot.devices.iter();
            let devices = devices.map(|d| Device::idle(Uuid(d.uuid_v2), d.total_memory_bytes));
            record.backend.devices = devices.collect();
            record.count();
        }
    }

    /// What the backend says of its sessions; returns whether there may be more room than before.
    pub fn report(&mut self, id: &BackendId, picture: &Picture) -> bool {
        let Some(record) = self.records.get_mut(id) else {
            return false;
        };
        let before = record.accounts();
        let state = record.backend.state;
        record.answers = true;
        record.session_count = picture.session_count;
        record.read(picture);
        record.set_state();
        record.count();
        let after = record.accounts();
        let has_more = record.backend.state != state || !before.is_subset(&after);
        for account in before.difference(&after) {
            self.displace(account, id);
        }
        for account in after.difference(&before) {
            self.place_at(account, id);
        }
        has_more
    }

    /// The backend does not answer. Its sessions may go on.
    pub fn silence(&mut self, id: &BackendId) {
        if let Some(record) = self.records.get_mut(id) {
            record.answers = false;
            record.set_state();
        }
    }

    /// Whether every backend that is ready has told what it has given.
    pub fn is_complete(&self) -> bool {
        let mut ready = self.records.values().filter(|record| record.facts.is_ready);
        ready.all(|record| record.answers)
    }

    /// Chooses for an account, which stays where it has something. Nothing is changed.
    ///
    /// # Errors
    /// Why there is no room.
    pub fn choose(
        &self,
        account: &Account,
        demand: &Demand,
        seed: u64,
    ) -> Result<Choice, Unplaced> {
        let places = self
            .places
            .get(account)
            .map(Vec::as_slice)
            .unwrap_or_default();
        for id in places {
            let Some(record) = self.records.get(id) else {
                continue;
            };
            if let Some(share) = record.used_share(account) {
                match record.backend.state {
                    State::Ready => {
                        return Ok(Choice {
                            backend: id.clone(),
                            share: share.clone(),
                        });
                    }
                    // Programs of one container share what they have: they cannot be elsewhere.
                    State::Full => {
                        return Err(Unplaced::of(&record.backend, &demand.request));
                    }
                    State::Draining | State::Silent => {}
                }
            }
        }
        let backends = self.records.values().map(|record| &record.backend);
        placement::choose(backends, demand, seed)
    }

    /// Counts a ticket until a backend reports it or `until` has passed. Room that was reserved for
    /// the account is given back.
    pub fn grant(
        &mut self,
        account: &Arc<Account>,
        choice: &Choice,
        ticket_id: [u8; 16],
        until: Instant,
    ) {
        self.unreserve(account);
        let Some(record) = self.records.get_mut(&choice.backend) else {
            return;
        };
        let granted = Granted {
            share: choice.share.clone(),
            ticket_id,
            until,
        };
        record.granted.insert(Arc::clone(account), granted);
        record.count();
        self.place_at(account, &choice.backend);
    }

    /// Keeps room for an account.
    pub fn reserve(&mut self, account: &Arc<Account>, choice: &Choice, until: Instant) {
        let Some(record) = self.records.get_mut(&choice.backend) else {
            return;
        };
        let share = choice.share.clone();
        let reserved = Reserved { share, until };
        record.reserved.insert(Arc::clone(account), reserved);
        record.count();
        self.place_at(account, &choice.backend);
    }

    /// Gives back what was reserved for an account.
    pub fn unreserve(&mut self, account: &Account) {
        self.update(account, |record| record.reserved.remove(account).is_some());
    }

    /// Gives back what an account could still use: its pod has ended. Sessions count until the
    /// backend says that they are over.
    pub fn release(&mut self, account: &Account) {
        self.update(account, |record| {
            let reserved = record.reserved.remove(account).is_some();
            record.granted.remove(account).is_some() || reserved
        });
    }

    /// Gives back what nobody has used in time; returns whether there was any.
    pub fn expire(&mut self, now: Instant) -> bool {
        let mut expired = Vec::new();
        for record in self.records.values() {
            let granted = record
                .granted
                .iter()
                .filter(|(_, granted)| granted.until <= now);
            expired.extend(granted.map(|(account, _)| Arc::clone(account)));
            let reserved = record
                .reserved
                .iter()
                .filter(|(_, reserved)| reserved.until <= now);
            expired.extend(reserved.map(|(account, _)| Arc::clone(account)));
        }
        for account in &expired {
            self.update(account, |record| {
                record
                    .granted
                    .retain(|a, granted| a != account || granted.until > now);
                record
                    .reserved
                    .retain(|a, reserved| a != account || reserved.until > now);
                true
            });
        }
        !expired.is_empty()
    }

    /// Where clients of a backend connect.
    pub fn endpoint(&self, id: &BackendId) -> Option<&str> {
        self.records
            .get(id)
            .map(|record| record.facts.endpoint.as_str())
    }

    /// What a ticket for this choice says.
    pub fn quota(&self, choice: &Choice) -> Quota {
        let share = &choice.share;
        let all = self
            .records
            .get(&choice.backend)
            .map_or(0, |r| r.backend.devices.len());
        let is_all = share.is_unlimited() && share.devices.len() == all;
        let devices = share.devices.iter().filter(|_| !is_all);
        Quota {
            devices: devices.map(|device| device.0).collect(),
            memory_bytes: share.memory_bytes,
            compute_percent: share.percent,
        }
    }

    /// Whether anything is held for an account.
    pub fn holds(&self, account: &Account) -> bool {
        self.places.contains_key(account)
    }

    /// Everything that is held.
    pub fn holdings(&self) -> impl Iterator<Item = Holding> {
        self.records.values().flat_map(Record::holdings)
    }

    /// Sums.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for record in self.records.values() {
            totals.add(record);
        }
        totals
    }

    /// Changes every record that has something of an account.
    fn update(&mut self, account: &Account, mut change: impl FnMut(&mut Record) -> bool) {
        let Some((account, places)) = self.places.get_key_value(account) else {
            return;
        };
        let (account, places) = (Arc::clone(account), places.clone());
        for id in &places {
            if let Some(record) = self.records.get_mut(id)
                && change(record)
            {
                record.count();
                if !record.has(&account) {
                    self.displace(&account, id);
                }
            }
        }
    }

    fn place_at(&mut self, account: &Arc<Account>, id: &BackendId) {
        let places = self.places.entry(Arc::clone(account)).or_default();
        if !places.contains(id) {
            places.push(id.clone());
        }
    }

    fn displace(&mut self, account: &Account, id: &BackendId) {
        if let Some(places) = self.places.get_mut(account) {
            places.retain(|place| place != id);
            if places.is_empty() {
                self.places.remove(account);
            }
        }
    }
}

impl Record {
    fn set_state(&mut self) {
        let facts = &self.facts;
        self.backend.state = if facts.is_draining || self.is_retired {
            State::Draining
        } else if !facts.is_ready || !self.answers {
            State::Silent
        } else if facts
            .sessions_max
            .is_some_and(|max| self.session_count >= max)
        {
            State::Full
        } else {
            State::Ready
        };
    }

    fn read(&mut self, picture: &Picture) {
        let mut used = vec![0_u64; self.backend.devices.len()];
        let mut reported: HashMap<Arc<Account>, Reported> = HashMap::new();
        for session in &picture.sessions {
            for memory in &session.counters.memory {
                if let Some(used) = used.get_mut(memory.device as usize) {
                    *used = used.saturating_add(memory.bytes);
                }
            }
            let Some(grantee) = &session.grantee else {
                continue;
            };
            if let Some(known) = reported.get_mut(&grantee.account) {
                known.sessions += 1;
                continue;
            }
            // What was known keeps its name, which may be long.
            let known = self.reported.get_key_value(&grantee.account);
            let known = known.map(|(account, _)| Arc::clone(account));
            let account = known.unwrap_or_else(|| Arc::new(grantee.account.clone()));
            let share = self.share(&grantee.quota);
            let sessions = 1;
            reported.insert(account, Reported { share, sessions });
        }
        let tickets = picture
            .sessions
            .iter()
            .filter_map(|session| session.grantee.as_ref());
        let tickets: HashSet<_> = tickets.map(|grantee| grantee.ticket_id).collect();
        self.granted
            .retain(|_, granted| !tickets.contains(&granted.ticket_id));
        self.reserved
            .retain(|account, _| !reported.contains_key(account));
        self.reported = reported;
        self.read_devices(&picture.devices, used);
    }

    /// What is in use of the devices: what their driver tells, which counts others too, or what
    /// the sessions have allocated.
    fn read_devices(&mut self, figures: &[DeviceFigures], allocated: Vec<u64>) {
        self.in_use.resize(allocated.len(), InUse::default());
        for (index, (in_use, bytes)) in self.in_use.iter_mut().zip(allocated).enumerate() {
            let figures = figures.get(index).copied().unwrap_or_default();
            in_use.memory_bytes = bytes.max(figures.memory_used_bytes.unwrap_or(0));
            let percent = figures.utilisation_percent.unwrap_or(0);
            let percent = u8::try_from(percent).unwrap_or(PERCENT_MAX);
            in_use.busy_percent = smoothed(in_use.busy_percent, percent.min(PERCENT_MAX));
        }
    }

    /// What a quota takes of this backend.
    fn share(&self, quota: &Quota) -> Share {
        let devices = if quota.devices.is_empty() {
            self.backend
                .devices
                .iter()
                .map(|device| device.uuid)
                .collect()
        } else {
            quota.devices.iter().copied().map(Uuid).collect()
        };
        let percent = quota.compute_percent;
        Share {
            devices,
            memory_bytes: quota.memory_bytes,
            percent,
            is_whole: quota.memory_bytes.is_none()
                && percent.is_some_and(|percent| percent >= PERCENT_MAX),
        }
    }

    /// Counts anew who has what: each account once.
    fn count(&mut self) {
        self.backend.clear();
        let granted = self
            .granted
            .iter()
            .filter(|(account, _)| !self.reported.contains_key(*account));
        let reserved = self.reserved.iter().filter(|(account, _)| {
            !self.reported.contains_key(*account) && !self.granted.contains_key(*account)
        });
        let shares = self.reported.values().map(|reported| &reported.share);
        let shares = shares.chain(granted.map(|(_, granted)| &granted.share));
        for share in shares.chain(reserved.map(|(_, reserved)| &reserved.share)) {
            self.backend.take(share);
        }
        for (device, in_use) in self.backend.devices.iter_mut().zip(&self.in_use) {
            device.used_memory_bytes = in_use.memory_bytes;
            device.busy_percent = in_use.busy_percent;
        }
    }

    /// What the account has by sessions or a ticket.
    fn used_share(&self, account: &Account) -> Option<&Share> {
        let reported = self.reported.get(account).map(|reported| &reported.share);
        reported.or_else(|| self.granted.get(account).map(|granted| &granted.share))
    }

    fn has(&self, account: &Account) -> bool {
        self.used_share(account).is_some() || self.reserved.contains_key(account)
    }

    fn accounts(&self) -> HashSet<Arc<Account>> {
        let accounts = self.reported.keys().chain(self.granted.keys());
        accounts.chain(self.reserved.keys()).cloned().collect()
    }

    fn holdings(&self) -> impl Iterator<Item = Holding> {
        self.accounts().into_iter().filter_map(|account| {
            let (share, hold, sessions) = if let Some(reported) = self.reported.get(&account) {
                (&reported.share, Hold::Running, reported.sessions)
            } else if let Some(granted) = self.granted.get(&account) {
                (&granted.share, Hold::Granted, 0)
            } else {
                (&self.reserved.get(&account)?.share, Hold::Reserved, 0)
            };
            Some(Holding {
                share: share.clone(),
                hold,
                sessions,
                backend: self.backend.id.clone(),
                backend_pod: self.facts.pod.clone(),
                node: Arc::clone(&self.backend.location.node),
                account,
            })
        })
    }
}

/// A load of which the last reports count most: a quarter of the way to what it is now, and at
/// least one percent, so that it arrives.
fn smoothed(before: u8, now: u8) -> u8 {
    let step = before.abs_diff(now).div_ceil(4);
    if now > before {
        before + step
    } else {
        before - step
    }
}

impl Totals {
    fn add(&mut self, record: &Record) {
        self.sessions += record.session_count;
        match record.backend.state {
            State::Ready => self.ready += 1,
            State::Draining => self.draining += 1,
            State::Full => self.full += 1,
            State::Silent => {
                self.silent += 1;
                return;
            }
        }
        for device in &record.backend.devices {
            self.devices += 1;
            self.memory_bytes += device.memory_bytes;
            self.granted_memory_bytes += device.granted_memory_bytes;
            self.used_memory_bytes += device.used_memory_bytes;
            self.granted_percent += u64::from(device.granted_percent);
            self.busy_percent += u64::from(device.busy_percent);
        }
    }
}
