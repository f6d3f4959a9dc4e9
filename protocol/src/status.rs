// SPDX-License-Identifier: Apache-2.0
//! What a daemon tells of its sessions.
//!
//! A connection whose hello has the purpose [`crate::handshake::Purpose::Status`] is answered by
//! the daemon itself. After the welcome, whose session number is 0, the client asks as often as it
//! wants a picture, and the daemon answers each question:
//!
//! ```text
//! client ──▶ daemon   4 bytes: QUESTION
//! daemon ──▶ client   4 bytes: length; a Picture as postcard
//! ```
//!
//! The devices of a picture are those of the welcome. All counters are totals since the session
//! began: who wants rates compares two pictures.

use gvirtus_ticket::{Account, Quota};
use serde::{Deserialize, Serialize};

use crate::handshake::Purpose;
use crate::limits::{DEVICES_MAX, STATUS_BYTES_MAX, STATUS_SESSIONS_MAX, STATUS_TEXT_BYTES_MAX};

/// What a client asks.
pub const QUESTION: [u8; 4] = *b"now?";

/// Bytes before a picture: its length, little-endian.
pub const LENGTH_BYTES: usize = 4;

/// All sessions of a daemon, and its devices, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picture {
    /// The daemon's clock, in microseconds since it started.
    pub now_us: u64,
    /// Sessions that there are; a picture holds the first [`STATUS_SESSIONS_MAX`].
    pub session_count: u64,
    /// In the order of their numbers.
    pub sessions: Vec<SessionStatus>,
    /// Of the devices, in their order; nothing where the backend has no NVML.
    pub devices: Vec<DeviceFigures>,
}

/// What a device does, whoever uses it, as its driver's NVML tells; what it does not tell is
/// absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceFigures {
    /// What is used of its memory.
    pub memory_used_bytes: Option<u64>,
    /// Part of the time in which a kernel ran lately, in percent.
    pub utilisation_percent: Option<u32>,
}

/// One session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionStatus {
    /// Names the session in the logs of both sides.
    pub session_id: u64,
    /// What its connection is for.
    pub purpose: Purpose,
    /// By what right it is there, where the backend asks for tickets.
    pub grantee: Option<Grantee>,
    /// Program name, as the client says.
    pub program: String,
    /// Host name, as the client says.
    pub host: String,
    /// Process id on that host, as the client says.
    pub pid: u32,
    /// Where it comes from: an address, or `unix`.
    pub peer: String,
    /// When it began, on the daemon's clock.
    pub began_us: u64,
    /// Process id of its worker.
    pub worker_pid: u32,
    /// When its worker reported the counters, on the daemon's clock. A worker reports every
    /// [`crate::limits::STATUS_INTERVAL`] in which they change.
    pub counted_us: u64,
    /// What it has done so far.
    pub counters: Counters,
}

/// What a session's ticket says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grantee {
    /// Of the ticket.
    pub ticket_id: [u8; 16],
    /// Whose session it is.
    pub account: Account,
    /// What all sessions of the account may use together.
    pub quota: Quota,
}

/// What a session has done so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Commands that were executed.
    pub commands: u64,
    /// Kernels that were launched, those of graphs not counted.
    pub launches: u64,
    /// Commands that were answered.
    pub round_trips: u64,
    /// Bytes that came from the client.
    pub received_bytes: u64,
    /// Bytes that were sent to the client.
    pub sent_bytes: u64,
    /// Device memory, ascending by device; devices without any are absent.
    pub memory: Vec<DeviceMemory>,
}

/// What a session has allocated on a device: what the program asked for, without what contexts,
/// code and a driver's rounding take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceMemory {
    /// Ordinal of the device.
    pub device: u32,
    /// Bytes now.
    pub bytes: u64,
    /// Most bytes at any time so far.
    pub peak_bytes: u64,
}

/// What is no picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatusError {
    /// Longer than any picture.
    #[error("the backend announces a status of {0} bytes, which is over the limit")]
    TooLong(usize),
    /// The bytes are not what they should be.
    #[error("the backend's status cannot be read")]
    Malformed,
}

impl Picture {
    /// Length and body. There are at most [`STATUS_SESSIONS_MAX`] sessions, and no text or list is
    /// over its limit.
    pub fn encode(&self) -> Vec<u8> {
        let mut message = vec![0; LENGTH_BYTES];
        message = postcard::to_extend(self, message).expect("plain data in memory serialises");
        let length = u32::try_from(message.len() - LENGTH_BYTES).expect("see STATUS_BYTES_MAX");
        message[..LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
        message
    }

    /// How many bytes follow.
    ///
    /// # Errors
    ///
    /// [`StatusError::TooLong`].
    pub fn length(bytes: [u8; LENGTH_BYTES]) -> Result<usize, StatusError> {
        match u32::from_le_bytes(bytes) as usize {
            length if length > STATUS_BYTES_MAX => Err(StatusError::TooLong(length)),
            length => Ok(length),
        }
    }

    /// Reads a body. Texts in the result can be shown on a terminal.
    ///
    /// # Errors
    ///
    /// [`StatusError::Malformed`].
    pub fn decode(body: &[u8]) -> Result<Self, StatusError> {
        let Ok((mut picture, [])) = postcard::take_from_bytes::<Self>(body) else {
            return Err(StatusError::Malformed);
        };
        if picture.sessions.len() > STATUS_SESSIONS_MAX || picture.devices.len() > DEVICES_MAX {
            return Err(StatusError::Malformed);
        }
        for session in &mut picture.sessions {
            if session.counters.memory.len() > DEVICES_MAX {
                return Err(StatusError::Malformed);
            }
            if let Some(grantee) = &mut session.grantee {
                let account = &mut grantee.account;
                for text in [
                    &mut account.namespace,
                    &mut account.pod,
                    &mut account.pod_uid,
                    &mut account.container,
                ] {
                    *text = displayable(text);
                }
            }
            for text in [&mut session.program, &mut session.host, &mut session.peer] {
                *text = displayable(text);
            }
        }
        Ok(picture)
    }
}

impl DeviceFigures {
    /// As a worker reports those of all devices.
    pub fn encode(all: &[Self]) -> Vec<u8> {
        postcard::to_stdvec(all).expect("plain data in memory serialises")
    }

    /// Reads what a worker reports; nothing if it is none.
    pub fn decode(body: &[u8]) -> Option<Vec<Self>> {
        let (all, rest) = postcard::take_from_bytes::<Vec<Self>>(body).ok()?;
        (rest.is_empty() && all.len() <= DEVICES_MAX).then_some(all)
    }
}

impl Counters {
    /// As a worker reports them.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("plain data in memory serialises")
    }

    /// Reads what a worker reports; nothing if it is none: a client may have taken the worker over.
    pub fn decode(body: &[u8]) -> Option<Self> {
        let (counters, rest) = postcard::take_from_bytes::<Self>(body).ok()?;
        (rest.is_empty() && counters.memory.len() <= DEVICES_MAX).then_some(counters)
    }

    /// Bytes of device memory now, on all devices.
    pub fn memory_bytes(&self) -> u64 {
        let bytes = self.memory.iter().map(|memory| memory.bytes);
        bytes.fold(0, u64::saturating_add)
    }
}

/// A stranger's text, so that a terminal shows it and does nothing else: control characters, and
/// those that change the direction or the order of what is shown, become `\u{fffd}`. Cut after
/// [`STATUS_TEXT_BYTES_MAX`] bytes.
pub fn displayable(text: &str) -> String {
    let changes_order = |c| {
        matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
            || matches!(c, '\u{61c}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
    };
    let replaced = text.chars().map(|c| match c {
        c if c.is_control() || changes_order(c) => char::REPLACEMENT_CHARACTER,
        c => c,
    });
    let mut shown = String::new();
    for c in replaced {
        if shown.len() + c.len_utf8() > STATUS_TEXT_BYTES_MAX {
            break;
        }
        shown.push(c);
    }
    shown
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn session(number: u64) -> SessionStatus {
        SessionStatus {
            session_id: number,
            purpose: Purpose::Cuda,
            grantee: Some(Grantee {
                ticket_id: [3; 16],
                account: Account::default(),
                quota: Quota::default(),
            }),
            program: "train".into(),
            host: "node-1".into(),
            pid: 7,
            peer: "127.0.0.1:5000".into(),
            began_us: 100,
            worker_pid: 8,
            counted_us: 200,
            counters: Counters {
                commands: 1,
                launches: 2,
                round_trips: 3,
                received_bytes: 4,
                sent_bytes: 5,
                memory: vec![DeviceMemory {
                    device: 0,
                    bytes: 6,
                    peak_bytes: 7,
                }],
            },
        }
    }

    fn read(message: &[u8]) -> Result<Picture, StatusError> {
        let head = message.first_chunk().ok_or(StatusError::Malformed)?;
        let length = Picture::length(*head)?;
        let body = message[LENGTH_BYTES..].get(..length);
        Picture::decode(body.ok_or(StatusError::Malformed)?)
    }

    fn picture() -> Picture {
        Picture {
            now_us: 300,
            session_count: 2,
            sessions: vec![session(1), session(2)],
            devices: vec![DeviceFigures::default()],
        }
    }

    #[test]
    fn both_sides_understand_each_other() {
        assert_eq!(read(&picture().encode()), Ok(picture()));
        let counters = picture().sessions[0].counters.clone();
        assert_eq!(Counters::decode(&counters.encode()), Some(counters.clone()));
        assert_eq!(
            Counters::decode(&[counters.encode(), vec![0]].concat()),
            None
        );
        assert_eq!(counters.memory_bytes(), 6);
    }

    #[test]
    fn the_largest_picture_is_within_the_limit() {
        let memory = DeviceMemory {
            device: u32::MAX,
            bytes: u64::MAX,
            peak_bytes: u64::MAX,
        };
        let text = "x".repeat(STATUS_TEXT_BYTES_MAX);
        let name = "x".repeat(gvirtus_ticket::limits::NAME_BYTES_MAX);
        let grantee = Grantee {
            ticket_id: [255; 16],
            account: Account {
                namespace: name.clone(),
                pod: name.clone(),
                pod_uid: name.clone(),
                container: name,
            },
            quota: Quota {
                devices: vec![[255; 16]; gvirtus_ticket::limits::TICKET_DEVICES_MAX],
                memory_bytes: Some(u64::MAX),
                compute_percent: Some(100),
            },
        };
        let session = SessionStatus {
            session_id: u64::MAX,
            purpose: Purpose::Ticket,
            grantee: Some(grantee),
            program: text.clone(),
            host: text.clone(),
            pid: u32::MAX,
            peer: text,
            began_us: u64::MAX,
            worker_pid: u32::MAX,
            counted_us: u64::MAX,
            counters: Counters {
                commands: u64::MAX,
                launches: u64::MAX,
                round_trips: u64::MAX,
                received_bytes: u64::MAX,
                sent_bytes: u64::MAX,
                memory: vec![memory; DEVICES_MAX],
            },
        };
        let figures = DeviceFigures {
            memory_used_bytes: Some(u64::MAX),
            utilisation_percent: Some(u32::MAX),
        };
        let all = vec![figures; DEVICES_MAX];
        assert_eq!(
            DeviceFigures::decode(&DeviceFigures::encode(&all)),
            Some(all)
        );
        let more = vec![figures; DEVICES_MAX + 1];
        assert_eq!(DeviceFigures::decode(&DeviceFigures::encode(&more)), None);
        let largest = Picture {
            now_us: u64::MAX,
            session_count: u64::MAX,
            sessions: vec![session; STATUS_SESSIONS_MAX],
            devices: vec![figures; DEVICES_MAX],
        };
        assert_eq!(read(&largest.encode()), Ok(largest));
    }

    #[test]
    fn a_strangers_text_cannot_command_a_terminal() {
        let mut hostile = picture();
        hostile.sessions[0].program = "a\x1b[2Jb\u{9b}c\r\nd".into();
        hostile.sessions[0].host = format!("\u{202e}{}", "ä".repeat(4000));
        let read = read(&hostile.encode()).expect("a picture");
        assert_eq!(
            read.sessions[0].program,
            "a\u{fffd}[2Jb\u{fffd}c\u{fffd}\u{fffd}d"
        );
        assert!(read.sessions[0].host.starts_with("\u{fffd}ä"));
        assert!(read.sessions[0].host.len() <= STATUS_TEXT_BYTES_MAX);
    }

    #[test]
    fn too_much_is_refused_before_it_is_read() {
        let length = Picture::length(u32::MAX.to_le_bytes());
        assert_eq!(length, Err(StatusError::TooLong(u32::MAX as usize)));
        let many = Picture {
            sessions: vec![SessionStatus::default(); STATUS_SESSIONS_MAX + 1],
            ..picture()
        };
        assert_eq!(read(&many.encode()), Err(StatusError::Malformed));
    }

    proptest! {
        #[test]
        fn truncations_and_mutations_are_errors_or_values_but_never_panics(
            cut in 0_usize..300,
            at in 0_usize..300,
            value: u8,
        ) {
            let bytes = picture().encode();
            if cut < bytes.len() {
                prop_assert!(read(&bytes[..cut]).is_err());
            }
            let mut mutated = bytes;
            let index = at % mutated.len();
            mutated[index] = value;
            let _ = read(&mutated);
            let _ = Counters::decode(&mutated);
        }
    }
}
