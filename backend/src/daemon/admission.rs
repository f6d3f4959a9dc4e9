// SPDX-License-Identifier: Apache-2.0
//! Who may come in, and with which quota.
//!
//! A daemon without public keys of a broker lets everybody in who reaches it. One with keys lets in
//! whoever shows a [`Ticket`] for it; sessions of one account share the quota that its tickets
//! tell, and the quotas of all accounts on a device are never more than the device has.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use gvirtus_driver_face::visible_devices;
use gvirtus_protocol::handshake::{Hello, Purpose};
use gvirtus_protocol::limits::DEVICES_MAX;
use gvirtus_protocol::snapshot::Snapshot;
use gvirtus_protocol::status::Grantee;
use gvirtus_ticket::{Account, PublicKeys, Quota, Scope, Ticket, TicketError};
use parking_lot::Mutex;

use crate::limits::KEYS_BYTES_MAX;
use crate::quota::{Columns, Ledger, NO_COLUMN, ROWS};

/// Whose tickets a daemon takes.
#[derive(Clone, Debug)]
pub struct TicketOptions {
    /// File with the public keys of brokers, as [`PublicKeys::parse`] reads it. It is read again
    /// for each client, and nobody comes in while it is absent.
    pub keys: PathBuf,
    /// What tickets call this daemon.
    pub backend_id: String,
}

/// The door of a daemon.
pub(super) struct Admission {
    tickets: Option<TicketOptions>,
    /// Identity and memory, by ordinal.
    devices: Vec<([u8; 16], u64)>,
    accounts: Mutex<BTreeMap<Account, Entry>>,
}

/// An account with sessions.
struct Entry {
    quota: Quota,
    ledger: Arc<Ledger>,
    rows: Box<[bool; ROWS]>,
}

/// A client that may come in. Dropped, its session is over.
pub(super) struct Admitted<'a> {
    /// What its ticket says; nothing where none is needed.
    pub(super) grantee: Option<Grantee>,
    /// Its place in its account's ledger, if that has a limit.
    pub(super) seat: Option<Seat<'a>>,
}

/// A session's row of a ledger.
pub(super) struct Seat<'a> {
    admission: &'a Admission,
    account: Account,
    pub(super) ledger: Arc<Ledger>,
    pub(super) row: usize,
    pub(super) limit_bytes: u64,
}

/// Why somebody may not come in.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// The operator's fault.
    #[error("this backend cannot check tickets: {0}")]
    Keys(String),
    /// The operating system's.
    #[error("no quota can be kept: {0}")]
    Ledger(std::io::Error),
    /// The client's fault.
    #[error(transparent)]
    Ticket(#[from] TicketError),
    /// The ticket opens something else.
    #[error("the ticket is not for this purpose")]
    Scope,
    /// The ticket names a device that is not here.
    #[error("the ticket names a device that this backend does not have")]
    Device,
    /// Nothing is left of it.
    #[error(
        "the memory of device {device} is promised to others: {wanted_mib} MiB are asked for, {left_mib} MiB are left"
    )]
    Memory {
        /// Ordinal.
        device: usize,
        /// What the ticket says.
        wanted_mib: u64,
        /// What no account has.
        left_mib: u64,
    },
    /// Two tickets of one account contradict each other.
    #[error("the sessions of {0} have another quota")]
    Quota(String),
    /// Too many processes.
    #[error("all {ROWS} sessions of {0} are in use")]
    Sessions(String),
}

impl Admission {
    pub(super) fn new(tickets: Option<TicketOptions>, snapshot: &Snapshot) -> Self {
        let devices = snapshot.devices.iter();
        Self {
            tickets,
            devices: devices
                .map(|device| (device.uuid_v2, device.total_memory_bytes))
                .collect(),
            accounts: Mutex::default(),
        }
    }

    /// Lets a client in, or not.
    pub(super) fn admit(&self, hello: &Hello) -> Result<Admitted<'_>, Refusal> {
        let Some(options) = &self.tickets else {
            return Ok(Admitted {
                grantee: None,
                seat: None,
            });
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now_s = now.unwrap_or_default().as_secs();
        let keys = read_keys(options)?;
        let ticket = keys.verify(&hello.credentials, &options.backend_id, now_s)?;
        self.admit_ticket(ticket, hello.purpose)
    }

    fn admit_ticket(&self, ticket: Ticket, purpose: Purpose) -> Result<Admitted<'_>, Refusal> {
        let needed = match purpose {
            Purpose::Cuda | Purpose::Management => Scope::Session,
            Purpose::Status | Purpose::Ticket => Scope::Observer,
        };
        if ticket.scope != needed {
            return Err(Refusal::Scope);
        }
        let known = |uuid| self.devices.iter().any(|(known, _)| known == uuid);
        if !ticket.quota.devices.iter().all(known) {
            return Err(Refusal::Device);
        }
        let seat = match ticket.quota.memory_bytes {
            Some(limit_bytes) if needed == Scope::Session => {
                Some(self.sit(&ticket.account, &ticket.quota, limit_bytes)?)
            }
            _ => None,
        };
        let grantee = Some(Grantee {
            ticket_id: ticket.id,
            account: ticket.account,
            quota: ticket.quota,
        });
        Ok(Admitted { grantee, seat })
    }

    fn sit(&self, account: &Account, quota: &Quota, limit_bytes: u64) -> Result<Seat<'_>, Refusal> {
        let mut accounts = self.accounts.lock();
        if !accounts.contains_key(account) {
            self.check_memory(&accounts, quota, limit_bytes)?;
            let ledger = Ledger::create().map_err(Refusal::Ledger)?;
            let entry = Entry {
                quota: quota.clone(),
                ledger: Arc::new(ledger),
                rows: Box::new([false; ROWS]),
            };
            accounts.insert(account.clone(), entry);
        }
        let entry = accounts.get_mut(account).expect("inserted above");
        if entry.quota != *quota {
            return Err(Refusal::Quota(describe(account)));
        }
        let free = entry.rows.iter().position(|is_taken| !is_taken);
        let row = free.ok_or_else(|| Refusal::Sessions(describe(account)))?;
        entry.rows[row] = true;
        Ok(Seat {
            admission: self,
            account: account.clone(),
            ledger: Arc::clone(&entry.ledger),
            row,
            limit_bytes,
        })
    }

    /// Whether the devices have what an account is promised, beside what the others are.
    fn check_memory(
        &self,
        accounts: &BTreeMap<Account, Entry>,
        quota: &Quota,
        limit_bytes: u64,
    ) -> Result<(), Refusal> {
        let has = |quota: &Quota, uuid| quota.devices.is_empty() || quota.devices.contains(uuid);
        for (device, (uuid, total_bytes)) in self.devices.iter().enumerate() {
            if !has(quota, uuid) {
                continue;
            }
            let others = accounts.values().filter(|entry| has(&entry.quota, uuid));
            let promised = others
                .filter_map(|entry| entry.quota.memory_bytes)
                .fold(0, u64::saturating_add);
            let left_bytes = total_bytes.saturating_sub(promised);
            if limit_bytes > left_bytes {
                return Err(Refusal::Memory {
                    device,
                    wanted_mib: limit_bytes >> 20,
                    left_mib: left_bytes >> 20,
                });
            }
        }
        Ok(())
    }

    /// The devices that a client may use and wants to see, in the order that it wants; nothing if
    /// these are all, as they are.
    pub(super) fn part(
        &self,
        quota: Option<&Quota>,
        visible: Option<&str>,
    ) -> Option<Vec<[u8; 16]>> {
        let all: Vec<[u8; 16]> = self.devices.iter().map(|(uuid, _)| *uuid).collect();
        let granted = match quota {
            Some(quota) if !quota.devices.is_empty() => quota.devices.clone(),
            _ => all.clone(),
        };
        let wanted = match visible {
            Some(list) => {
                let indices = visible_devices(list, &granted).into_iter();
                indices.map(|index| granted[index]).collect()
            }
            None => granted,
        };
        (wanted != all).then_some(wanted)
    }

    /// The columns of a ledger for a session that sees this part of the devices, or all.
    pub(super) fn columns(&self, part: Option<&[[u8; 16]]>) -> Columns {
        let column = |uuid| self.devices.iter().position(|(known, _)| known == uuid);
        let seen: Vec<usize> = match part {
            Some(part) => part.iter().filter_map(column).collect(),
            None => (0..self.devices.len()).collect(),
        };
        let mut columns = [NO_COLUMN; DEVICES_MAX];
        for (place, column) in columns.iter_mut().zip(seen) {
            *place = column as u8;
        }
        columns
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.ledger.clear(self.row);
        let mut accounts = self.admission.accounts.lock();
        if let Some(entry) = accounts.get_mut(&self.account) {
            entry.rows[self.row] = false;
            if !entry.rows.contains(&true) {
                accounts.remove(&self.account);
            }
        }
    }
}

fn read_keys(options: &TicketOptions) -> Result<PublicKeys, Refusal> {
    let path = options.keys.display();
    let mut text = String::new();
    File::open(&options.keys)
        .and_then(|file| file.take(KEYS_BYTES_MAX).read_to_string(&mut text))
        .map_err(|error| Refusal::Keys(format!("{path}: {error}")))?;
    let keys = PublicKeys::parse(&text);
    keys.map_err(|error| Refusal::Keys(format!("{path}: {error}")))
}

fn describe(account: &Account) -> String {
    let Account {
        namespace,
        pod,
        container,
        ..
    } = account;
    match container.as_str() {
        "" => format!("pod {namespace}/{pod}"),
        container => format!("container {container} of pod {namespace}/{pod}"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::SeqCst;

    use gvirtus_protocol::handshake::ClientIdentity;
    use gvirtus_protocol::snapshot::Device;
    use gvirtus_ticket::SigningKey;

    use super::*;

    const GIB: u64 = 1 << 30;

    fn snapshot() -> Snapshot {
        let device = |number| Device {
            uuid_v2: [number; 16],
            total_memory_bytes: 4 * GIB,
            ..Device::default()
        };
        Snapshot {
            driver_version: 13_000,
            devices: vec![device(1), device(2)],
        }
    }

    fn open() -> Admission {
        Admission::new(None, &snapshot())
    }

    fn ticket(pod: &str, devices: &[u8], memory_bytes: Option<u64>) -> Ticket {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now_s = now.expect("after 1970").as_secs();
        Ticket {
            id: [9; 16],
            backend: "b".into(),
            scope: Scope::Session,
            issued_s: now_s,
            expires_s: now_s + 60,
            account: Account {
                pod: pod.into(),
                ..Account::default()
            },
            quota: Quota {
                devices: devices.iter().map(|number| [*number; 16]).collect(),
                memory_bytes,
                compute_percent: None,
            },
        }
    }

    #[test]
    fn a_daemon_with_keys_asks_for_tickets() {
        let folder = tempfile::tempdir().expect("writable");
        let options = TicketOptions {
            keys: folder.path().join("keys"),
            backend_id: "b".into(),
        };
        let path = options.keys.clone();
        let admission = Admission::new(Some(options), &snapshot());
        let key = SigningKey::from_seed(&[1; 32]);
        let shown = key.sign(&ticket("p", &[], None)).expect("fits");
        let admit = |credentials: &[u8]| {
            let hello = Hello::new(ClientIdentity::default(), credentials.to_vec());
            admission.admit(&hello).map(|admitted| admitted.grantee)
        };
        assert!(
            matches!(admit(&shown), Err(Refusal::Keys(_))),
            "no file yet"
        );
        std::fs::write(&path, "# none\n").expect("writable");
        let refused = admit(&shown).expect_err("nobody is believed");
        assert!(matches!(refused, Refusal::Ticket(TicketError::Signature)));
        std::fs::write(&path, key.public().to_text()).expect("writable");
        let grantee = admit(&shown).expect("valid").expect("a ticket");
        assert_eq!((grantee.ticket_id, &*grantee.account.pod), ([9; 16], "p"));
        let refused = admit(b"").expect_err("no ticket");
        assert!(matches!(refused, Refusal::Ticket(TicketError::Absent)));
        let mut other = ticket("p", &[], None);
        other.backend = "c".into();
        let refused = admit(&key.sign(&other).expect("fits")).expect_err("another backend's");
        assert!(matches!(refused, Refusal::Ticket(TicketError::Backend)));
        assert!(
            open().admit(&Hello::default()).is_ok(),
            "no keys, no tickets"
        );
    }

    #[test]
    fn a_ticket_opens_only_what_it_is_for() {
        let admission = open();
        let observer = Ticket {
            scope: Scope::Observer,
            ..ticket("p", &[], None)
        };
        let admits = |ticket: &Ticket, purpose| {
            let admitted = admission.admit_ticket(ticket.clone(), purpose);
            admitted.is_ok()
        };
        let session = ticket("p", &[], None);
        for purpose in [Purpose::Cuda, Purpose::Management] {
            assert!(admits(&session, purpose) && !admits(&observer, purpose));
        }
        assert!(admits(&observer, Purpose::Status) && !admits(&session, Purpose::Status));
        assert!(!admits(&ticket("p", &[3], None), Purpose::Cuda));
    }

    #[test]
    fn no_device_is_promised_twice() {
        let admission = open();
        let admit = |pod, devices: &[u8], gib| {
            let ticket = ticket(pod, devices, Some(gib * GIB));
            admission.admit_ticket(ticket, Purpose::Cuda)
        };
        let first = admit("a", &[1], 3).expect("room");
        let refused = admit("b", &[1], 2).err().expect("no room").to_string();
        assert!(refused.contains("2048 MiB are asked for, 1024 MiB are left"));
        assert!(admit("c", &[], 2).is_err(), "all devices are too many");
        let second = admit("b", &[2], 2).expect("another device");
        let fork = admit("a", &[1], 3).expect("the same account");
        assert!(matches!(admit("a", &[1], 1), Err(Refusal::Quota(_))));
        let seats = [&first, &fork].map(|admitted| admitted.seat.as_ref().expect("limited"));
        assert_ne!(seats[0].row, seats[1].row);
        let cell = seats[1].ledger.cell(seats[1].row, 0).expect("exists");
        cell.store(5, SeqCst);
        assert_eq!(seats[0].ledger.total(0), 5);
        let row = seats[1].row;
        drop(fork);
        let seat = first.seat.as_ref().expect("limited");
        assert_eq!(seat.ledger.total(0), 0, "what a session held ends with it");
        assert_eq!(
            admit("a", &[1], 3)
                .expect("room")
                .seat
                .expect("limited")
                .row,
            row
        );
        drop((first, second));
        assert!(admit("b", &[1], 4).is_ok(), "the account has ended");
    }

    #[test]
    fn an_account_has_only_so_many_sessions() {
        let admission = open();
        let ticket = ticket("a", &[], Some(GIB));
        let admit = || admission.admit_ticket(ticket.clone(), Purpose::Cuda);
        let all: Vec<_> = (0..ROWS).map(|_| admit().expect("free rows")).collect();
        assert!(matches!(admit(), Err(Refusal::Sessions(_))));
        drop(all);
        assert!(admit().is_ok());
    }

    #[test]
    fn a_device_has_one_column_in_every_session() {
        let columns = |part: Option<&[[u8; 16]]>| open().columns(part)[..3].to_vec();
        assert_eq!(columns(None), [0, 1, NO_COLUMN]);
        assert_eq!(columns(Some(&[[2; 16], [1; 16]])), [1, 0, NO_COLUMN]);
        assert_eq!(columns(Some(&[[2; 16]])), [1, NO_COLUMN, NO_COLUMN]);
    }

    #[test]
    fn a_client_sees_what_it_wants_of_what_it_may() {
        let part = |granted: Option<&[u8]>, visible: Option<&str>| {
            let quota = granted.map(|devices| ticket("p", devices, None).quota);
            let part = open().part(quota.as_ref(), visible)?;
            Some(part.iter().map(|uuid| uuid[0]).collect::<Vec<_>>())
        };
        for (granted, visible, seen) in [
            (None, None, None),
            (None, Some("0,1"), None),
            (None, Some("1,0"), Some(vec![2, 1])),
            (None, Some("1"), Some(vec![2])),
            (None, Some(""), Some(vec![])),
            (Some(&[][..]), Some("0,1"), None),
            (Some(&[2]), None, Some(vec![2])),
            (Some(&[2]), Some("0"), Some(vec![2])),
            (Some(&[2]), Some("1"), Some(vec![])),
            (Some(&[2]), Some("GPU-01"), Some(vec![])),
            (Some(&[2, 1]), Some("GPU-01"), Some(vec![1])),
        ] {
            assert_eq!(part(granted, visible), seen, "{granted:?} {visible:?}");
        }
    }
}
