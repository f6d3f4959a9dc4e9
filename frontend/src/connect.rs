// SPDX-License-Identifier: Apache-2.0
//! Opening a session: connection, hello, welcome.

use std::io::{self, IoSlice};
use std::time::Instant;

use gvirtus_driver_face::VISIBLE_DEVICES;
use gvirtus_protocol::handshake::{
    Answer, ClientIdentity, HandshakeError, Hello, PREAMBLE_BYTES, Purpose, Welcome,
    read_server_preamble,
};
use gvirtus_transport::{ConnectError, Endpoint, Stream, connect, read_exact, write_all_vectored};

use crate::config::{Backend, ConfigError, Environment};
use crate::limits::HANDSHAKE_TIMEOUT;
use crate::statistics;

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The user's fault.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Nobody there.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Somebody else there, or a refusal.
    #[error("no session with {endpoint}: {source}")]
    Handshake {
        /// Where to.
        endpoint: Endpoint,
        /// What the peer did.
        source: HandshakeError,
    },
    /// The connection broke.
    #[error("no session with {endpoint}: {source}")]
    Io {
        /// Where to.
        endpoint: Endpoint,
        /// The operating system's reason.
        source: io::Error,
    },
}

/// A connection whose handshake is over.
pub struct Opened {
    /// Commands may follow.
    pub stream: Box<dyn Stream>,
    /// For messages.
    pub endpoint: Endpoint,
    /// What the backend offers.
    pub welcome: Welcome,
}

/// Opens a connection for this purpose to the configured backend, or to one that the configured
/// broker chooses.
///
/// # Errors
///
/// One sentence for the user.
pub fn open(environment: &Environment, purpose: Purpose) -> Result<Opened, OpenError> {
    match environment.backend()? {
        Backend::At(endpoint) => open_at(endpoint, purpose, environment.credentials()?),
        Backend::Broker(broker) => crate::broker::open(environment, &broker, purpose),
    }
}

/// Opens a connection for this purpose to this backend.
pub(crate) fn open_at(
    endpoint: Endpoint,
    purpose: Purpose,
    credentials: Vec<u8>,
) -> Result<Opened, OpenError> {
    let stream = connect(&endpoint)?;
    match shake_hands(&*stream, purpose, credentials) {
        Ok(welcome) => Ok(Opened {
            stream,
            endpoint,
            welcome,
        }),
        Err(failure) => Err(failure.at(&endpoint)),
    }
}

/// Why there is no answer.
pub(crate) enum Failure {
    Io(io::Error),
    Handshake(HandshakeError),
}

impl Failure {
    /// With the name of the peer.
    pub(crate) fn at(self, endpoint: &Endpoint) -> OpenError {
        let endpoint = endpoint.clone();
        match self {
            Self::Io(source) => OpenError::Io { endpoint, source },
            Self::Handshake(source) => OpenError::Handshake { endpoint, source },
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<HandshakeError> for Failure {
    fn from(error: HandshakeError) -> Self {
        Self::Handshake(error)
    }
}

fn shake_hands(
    stream: &dyn Stream,
    purpose: Purpose,
    credentials: Vec<u8>,
) -> Result<Welcome, Failure> {
    let hello = Hello {
        visible_devices: visible_devices(),
        ..Hello::with_purpose(purpose, identity(), credentials)
    };
    send_hello(stream, &hello)?;
    match read_answer(stream, Instant::now() + HANDSHAKE_TIMEOUT)? {
        Answer::Welcome(welcome) => Ok(welcome),
        Answer::Refusal(reason) => Err(HandshakeError::Refused(reason).into()),
        Answer::Grant(_) | Answer::Wait(_) => Err(HandshakeError::Kind.into()),
    }
}

pub(crate) fn send_hello(stream: &dyn Stream, hello: &Hello) -> io::Result<()> {
    let hello = hello.encode();
    write_all_vectored(stream, &mut [IoSlice::new(&hello)])?;
    statistics::SENT_BYTES.add(hello.len() as u64);
    Ok(())
}

pub(crate) fn read_answer(stream: &dyn Stream, deadline: Instant) -> Result<Answer, Failure> {
    let mut preamble = [0; PREAMBLE_BYTES];
    read_exact(stream, &mut preamble, deadline)?;
    let announced = read_server_preamble(&preamble)?;
    let mut body = vec![0; announced.length];
    read_exact(stream, &mut body, deadline)?;
    statistics::RECEIVED_BYTES.add((PREAMBLE_BYTES + body.len()) as u64);
    Ok(Answer::decode(announced, &body)?)
}

/// What the program, or who started it, wants to see of the devices.
fn visible_devices() -> Option<String> {
    let list = std::env::var_os(VISIBLE_DEVICES)?;
    Some(list.to_string_lossy().into_owned())
}

/// This process as it describes itself.
pub(crate) fn identity() -> ClientIdentity {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let program = std::env::current_exe().unwrap_or_default();
    let program = program.file_name().unwrap_or_default();
    ClientIdentity {
        pid: std::process::id(),
        host: host.trim().to_owned(),
        program: program.to_string_lossy().into_owned(),
        container: std::env::var("GVIRTUS_CONTAINER_NAME").unwrap_or_default(),
    }
}
