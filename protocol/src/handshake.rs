// SPDX-License-Identifier: Apache-2.0
//! The opening of a connection.
//!
//! Both sides begin with a preamble of 24 bytes, whose layout never changes, so that a mismatch can
//! always be told in words:
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 8 | `GVIRTUS` and a zero byte |
//! | 8 | 4 | protocol version |
//! | 12 | 4 | kind: 0 hello (client), 1 welcome, 2 refusal, 3 grant, 4 wait (server) |
//! | 16 | 8 | bytes that follow |
//!
//! A hello, a welcome and a grant follow as postcard, a refusal and a wait as UTF-8 text.
//!
//! Who asks a broker for a backend says so in its hello ([`Purpose::Ticket`]). The broker answers
//! with a [`Grant`] or a refusal and closes the connection; as long as there is no backend it says
//! every [`WAIT_INTERVAL`](crate::limits::WAIT_INTERVAL) why the client has to wait.

use serde::{Deserialize, Serialize};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::limits::{HANDSHAKE_BYTES_MAX, HELLO_BYTES_MAX, TEXT_BYTES_MAX, TICKET_BYTES_MAX};
use crate::opcode::TABLE_HASH;
use crate::snapshot::Snapshot;

/// The version of everything in this crate that the call table does not describe.
pub const PROTOCOL_VERSION: u32 = 3;

/// Bytes of a [`Preamble`].
pub const PREAMBLE_BYTES: usize = size_of::<Preamble>();

const MAGIC: [u8; 8] = *b"GVIRTUS\0";
const KIND_HELLO: u32 = 0;
const KIND_WELCOME: u32 = 1;
const KIND_REFUSAL: u32 = 2;
const KIND_GRANT: u32 = 3;
const KIND_WAIT: u32 = 4;

/// The first bytes of each direction.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Preamble {
    magic: [u8; 8],
    version: U32,
    kind: U32,
    length: U64,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// The CUDA driver API: commands and replies as in [`crate::frame`].
    #[default]
    Cuda,
    /// NVML: queries about the backend's devices.
    Management,
    /// What the daemon knows of its sessions.
    Status,
    /// A ticket for a backend. Only a broker has any.
    Ticket,
}

/// Who asks, for what, and by what right.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`TABLE_HASH`] of the client's build.
    pub table_hash: u64,
    /// What the connection is for.
    pub purpose: Purpose,
    /// What proves the right to connect; empty where the transport is enough.
    pub credentials: Vec<u8>,
    /// The ticket that the process or its parent had, worth anything or not: a broker keeps it on
    /// the same backend if it can. Empty the first time, and where no broker is asked.
    pub previous_ticket: Vec<u8>,
    /// The client's `CUDA_VISIBLE_DEVICES`, of the devices that it may use.
    pub visible_devices: Option<String>,
    /// Who asks; shown to operators, never trusted.
    pub client: ClientIdentity,
}

/// A client as it describes itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientIdentity {
    /// Process id on its host.
    pub pid: u32,
    /// Host name.
    pub host: String,
    /// Program name.
    pub program: String,
    /// Kubernetes' name of its container; empty elsewhere.
    pub container: String,
}

/// The answer to a client that may go on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// Names the session in the logs of both sides.
    pub session_id: u64,
    /// What the backend offers.
    pub snapshot: Snapshot,
}

/// A broker's answer to a client that may use a backend now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Where the backend is, as in `GVIRTUS_ENDPOINT`.
    pub endpoint: String,
    /// The credentials of the hello to it.
    pub ticket: Vec<u8>,
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The client's fault, or the wrong port.
    #[error("the peer does not speak this protocol; is the address that of a GVirtuS backend?")]
    Magic,
    /// One side is newer.
    #[error(
        "protocol version {theirs} of the peer does not fit version {PROTOCOL_VERSION} of this side; \
         install the same GVirtuS release on both"
    )]
    Version {
        /// The peer's version.
        theirs: u32,
    },
    /// The builds differ.
    #[error(
        "the peer was built from another call table; install the same GVirtuS release on both sides"
    )]
    Table,
    /// A hello where a welcome is due, or the other way round.
    #[error("the peer opens with an unexpected message")]
    Kind,
    /// The peer announces too much.
    #[error("the peer announces a handshake of {0} bytes, which is over the limit")]
    TooLong(u64),
    /// The bytes are not what they should be.
    #[error("the peer's handshake cannot be read")]
    Malformed,
    /// The server said no.
    #[error("refused: {0}")]
    Refused(String),
}

/// What a server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The client may go on.
    Welcome(Welcome),
    /// It may not, for this reason.
    Refusal(String),
    /// It may go to a backend.
    Grant(Grant),
    /// It has to wait, for this reason; another answer follows.
    Wait(String),
}

/// What follows a preamble: how many bytes, and how to read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announced {
    kind: u32,
    /// Bytes that follow the preamble; within the limit.
    pub length: usize,
}

impl Hello {
    /// A hello of this build, for CUDA.
    pub const fn new(client: ClientIdentity, credentials: Vec<u8>) -> Self {
        Self::with_purpose(Purpose::Cuda, client, credentials)
    }

    /// A hello of this build.
    pub const fn with_purpose(
        purpose: Purpose,
        client: ClientIdentity,
        credentials: Vec<u8>,
    ) -> Self {
        Self {
            table_hash: TABLE_HASH,
            purpose,
            credentials,
            previous_ticket: Vec::new(),
            visible_devices: None,
            client,
        }
    }

    /// Preamble and body.
    pub fn encode(&self) -> Vec<u8> {
        message(KIND_HELLO, &to_postcard(self))
    }

    /// Reads the body that [`read_client_preamble`] announced.
    ///
    /// # Errors
    ///
    /// [`HandshakeError::Table`] if the builds differ, [`HandshakeError::Malformed`].
    pub fn decode(body: &[u8]) -> Result<Self, HandshakeError> {
        let hello: Self = from_postcard(body)?;
        if hello.table_hash != TABLE_HASH {
            return Err(HandshakeError::Table);
        }
        let client = &hello.client;
        let texts = [&client.host, &client.program, &client.container];
        let mut texts = texts.into_iter().chain(&hello.visible_devices);
        if texts.any(|text| text.len() > TEXT_BYTES_MAX) {
            return Err(HandshakeError::Malformed);
        }
        drop(texts);
        Ok(hello)
    }
}

impl Answer {
    /// Preamble and body.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Welcome(welcome) => message(KIND_WELCOME, &to_postcard(welcome)),
            Self::Refusal(reason) => text_message(KIND_REFUSAL, reason),
            Self::Grant(grant) => message(KIND_GRANT, &to_postcard(grant)),
            Self::Wait(reason) => text_message(KIND_WAIT, reason),
        }
    }

    /// Reads the body that [`read_server_preamble`] announced. Control characters of texts become
    /// blanks.
    ///
    /// # Errors
    ///
    /// [`HandshakeError::Malformed`].
    pub fn decode(announced: Announced, body: &[u8]) -> Result<Self, HandshakeError> {
        match announced.kind {
            KIND_WELCOME => {
                let mut welcome: Welcome = from_postcard(body)?;
                if welcome.snapshot.devices.len() > crate::limits::DEVICES_MAX {
                    return Err(HandshakeError::Malformed);
                }
                for device in &mut welcome.snapshot.devices {
                    device.attributes.sort_unstable();
                }
                Ok(Self::Welcome(welcome))
            }
            KIND_REFUSAL => Ok(Self::Refusal(printable(body))),
            KIND_GRANT => {
                let grant: Grant = from_postcard(body)?;
                let is_short = grant.endpoint.len() <= TEXT_BYTES_MAX
                    && grant.ticket.len() <= TICKET_BYTES_MAX;
                is_short
                    .then_some(Self::Grant(grant))
                    .ok_or(HandshakeError::Malformed)
            }
            KIND_WAIT => Ok(Self::Wait(printable(body))),
            _ => Err(HandshakeError::Kind),
        }
    }
}

impl Welcome {
    /// Reads the body that [`read_server_preamble`] announced.
    ///
    /// # Errors
    ///
    /// [`HandshakeError::Refused`] if the server said no, [`HandshakeError::Kind`] if it is a
    /// broker, [`HandshakeError::Malformed`].
    pub fn decode(announced: Announced, body: &[u8]) -> Result<Self, HandshakeError> {
        match Answer::decode(announced, body)? {
            Answer::Welcome(welcome) => Ok(welcome),
            Answer::Refusal(reason) => Err(HandshakeError::Refused(reason)),
            Answer::Grant(_) | Answer::Wait(_) => Err(HandshakeError::Kind),
        }
    }
}

fn printable(text: &[u8]) -> String {
    String::from_utf8_lossy(text)
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

fn text_message(kind: u32, text: &str) -> Vec<u8> {
    let end = text.floor_char_boundary(TEXT_BYTES_MAX);
    message(kind, &text.as_bytes()[..end])
}

/// What a client's first bytes announce.
///
/// # Errors
///
/// Whatever makes the connection of no use.
pub fn read_client_preamble(bytes: &[u8; PREAMBLE_BYTES]) -> Result<Announced, HandshakeError> {
    let announced = read_preamble(bytes)?;
    if announced.kind != KIND_HELLO {
        return Err(HandshakeError::Kind);
    }
    if announced.length > HELLO_BYTES_MAX {
        return Err(HandshakeError::TooLong(announced.length as u64));
    }
    Ok(announced)
}

/// What a server's first bytes announce.
///
/// # Errors
///
/// Whatever makes the connection of no use.
pub fn read_server_preamble(bytes: &[u8; PREAMBLE_BYTES]) -> Result<Announced, HandshakeError> {
    let announced = read_preamble(bytes)?;
    if announced.kind == KIND_HELLO || announced.kind > KIND_WAIT {
        return Err(HandshakeError::Kind);
    }
    Ok(announced)
}

fn read_preamble(bytes: &[u8; PREAMBLE_BYTES]) -> Result<Announced, HandshakeError> {
    let preamble: Preamble = zerocopy::transmute!(*bytes);
    if preamble.magic != MAGIC {
        return Err(HandshakeError::Magic);
    }
    let kind = preamble.kind.get();
    let theirs = preamble.version.get();
    // A refusal is text in every version: let it through, it says more than we can.
    if theirs != PROTOCOL_VERSION && kind != KIND_REFUSAL {
        return Err(HandshakeError::Version { theirs });
    }
    let length = preamble.length.get();
    match usize::try_from(length) {
        Ok(length) if length <= HANDSHAKE_BYTES_MAX => Ok(Announced { kind, length }),
        _ => Err(HandshakeError::TooLong(length)),
    }
}

fn message(kind: u32, body: &[u8]) -> Vec<u8> {
    let preamble = Preamble {
        magic: MAGIC,
        version: U32::new(PROTOCOL_VERSION),
        kind: U32::new(kind),
        length: U64::new(body.len() as u64),
    };
    [preamble.as_bytes(), body].concat()
}

fn to_postcard<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("plain data in memory always serialises")
}

fn from_postcard<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, HandshakeError> {
    match postcard::take_from_bytes(body) {
        Ok((value, [])) => Ok(value),
        _ => Err(HandshakeError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::snapshot::Device;

    fn hello() -> Hello {
        let client = ClientIdentity {
            pid: 7,
            host: "node-1".into(),
            program: "train".into(),
            container: "main".into(),
        };
        Hello::new(client, b"secret".to_vec())
    }

    fn welcome() -> Welcome {
        let device = Device {
            name: "gvirtus softgpu".into(),
            attributes: vec![(1, 1024), (75, 8)],
            ..Device::default()
        };
        let snapshot = Snapshot {
            driver_version: 13_050,
            devices: vec![device],
        };
        Welcome {
            session_id: 9,
            snapshot,
        }
    }

    fn preamble(bytes: &[u8]) -> [u8; PREAMBLE_BYTES] {
        bytes[..PREAMBLE_BYTES].try_into().expect("long enough")
    }

    fn read_hello(bytes: &[u8]) -> Result<Hello, HandshakeError> {
        let head = bytes.first_chunk().ok_or(HandshakeError::Malformed)?;
        let announced = read_client_preamble(head)?;
        let body = bytes[PREAMBLE_BYTES..].get(..announced.length);
        Hello::decode(body.ok_or(HandshakeError::Malformed)?)
    }

    fn read_answer(bytes: &[u8]) -> Result<Welcome, HandshakeError> {
        let head = bytes.first_chunk().ok_or(HandshakeError::Malformed)?;
        let announced = read_server_preamble(head)?;
        let body = bytes[PREAMBLE_BYTES..].get(..announced.length);
        Welcome::decode(announced, body.ok_or(HandshakeError::Malformed)?)
    }

    #[test]
    fn both_sides_understand_each_other() {
        for purpose in [
            Purpose::Cuda,
            Purpose::Management,
            Purpose::Status,
            Purpose::Ticket,
        ] {
            let hello = Hello { purpose, ..hello() };
            assert_eq!(read_hello(&hello.encode()).expect("valid"), hello);
        }
        let answer = Answer::Welcome(welcome()).encode();
        assert_eq!(read_answer(&answer).expect("valid"), welcome());
        assert_eq!(welcome().snapshot.devices[0].attribute(75), Some(8));
        assert_eq!(welcome().snapshot.devices[0].attribute(76), None);
    }

    #[test]
    fn a_broker_answers_with_waits_and_a_grant() {
        let grant = Answer::Grant(Grant {
            endpoint: "tcp://10.0.0.7:9999".into(),
            ticket: b"ticket".to_vec(),
        });
        let wait = Answer::Wait("no backend\nis free".into());
        let read = |answer: &Answer| {
            let bytes = answer.encode();
            let announced = read_server_preamble(&preamble(&bytes)).expect("an answer");
            Answer::decode(announced, &bytes[PREAMBLE_BYTES..]).expect("readable")
        };
        assert_eq!(read(&grant), grant);
        assert_eq!(read(&wait), Answer::Wait("no backend is free".into()));
        let error = read_answer(&grant.encode()).expect_err("a broker is no backend");
        assert!(matches!(error, HandshakeError::Kind));
    }

    #[test]
    fn a_mismatch_is_told_in_one_sentence() {
        let mut newer = hello().encode();
        newer[8] += 1;
        let error = read_client_preamble(&preamble(&newer)).expect_err("newer");
        assert!(
            error
                .to_string()
                .contains("install the same GVirtuS release"),
            "{error}"
        );

        let other = Hello {
            table_hash: 1,
            ..hello()
        }
        .encode();
        assert!(matches!(read_hello(&other), Err(HandshakeError::Table)));

        let http = b"GET / HTTP/1.1\r\nHost: gpu\r\n\r\n";
        let error = read_client_preamble(&preamble(http)).expect_err("not ours");
        assert!(
            error
                .to_string()
                .contains("is the address that of a GVirtuS backend")
        );

        let mut refusal = Answer::Refusal("no such token".into()).encode();
        refusal[8] += 1;
        let error = read_answer(&refusal).expect_err("refused");
        assert_eq!(error.to_string(), "refused: no such token");
    }

    #[test]
    fn too_much_is_refused_before_it_is_read() {
        let mut endless = hello().encode();
        endless[16..24].copy_from_slice(&u64::MAX.to_le_bytes());
        let error = read_client_preamble(&preamble(&endless)).expect_err("too long");
        assert!(matches!(error, HandshakeError::TooLong(u64::MAX)));
    }

    proptest! {
        #[test]
        fn truncations_and_mutations_are_errors_or_values_but_never_panics(
            cut in 0_usize..2000,
            at in 0_usize..2000,
            value: u8,
        ) {
            for bytes in [hello().encode(), Answer::Welcome(welcome()).encode()] {
                if cut < bytes.len() {
                    prop_assert!(read_hello(&bytes[..cut]).is_err());
                    prop_assert!(read_answer(&bytes[..cut]).is_err());
                }
                let mut mutated = bytes.clone();
                let index = at % mutated.len();
                mutated[index] = value;
                let _ = (read_hello(&mutated), read_answer(&mutated));
            }
        }
    }
}
