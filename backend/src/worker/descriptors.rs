// SPDX-License-Identifier: Apache-2.0
//! Descriptors that sessions of one backend hand to each other.
//!
//! A driver exports memory as a file descriptor, which no client can be given. The client gets a
//! token instead: where the worker listens, and the number and the secret of what it exported. The
//! worker of whoever imports it asks there and is sent the descriptor itself. Both look at who the
//! other is: processes of the same user only. What was exported lives as long as the session that
//! exported it.
//!
//! ```text
//! importer ──▶ exporter   8 bytes: number; 16 bytes: secret
//! exporter ──▶ importer   8 bytes: number; with them the descriptor; nothing if there is none
//! ```

use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::control::{Assignment, WorkerControl, send_client};
use crate::limits::{DESCRIPTOR_TIMEOUT, EXPORTS_MAX};

/// Bytes of a token; what they do not need is zero.
pub(super) const TOKEN_BYTES: usize = 64;

const NAME_BYTES: usize = 16;
const SECRET_BYTES: usize = 16;
const REQUEST_BYTES: usize = 8 + SECRET_BYTES;

/// What a descriptor is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Memory without an address.
    Memory = 1,
    /// A pool.
    Pool = 2,
}

/// What this worker has exported.
#[derive(Default)]
pub(super) struct Exports {
    listening: Option<Listening>,
}

struct Listening {
    name: [u8; NAME_BYTES],
    exported: Arc<Mutex<Vec<Exported>>>,
}

struct Exported {
    secret: [u8; SECRET_BYTES],
    descriptor: OwnedFd,
}

/// | bytes | meaning |
/// |---|---|
/// | 0–7 | purpose |
/// | 8–15 | number |
/// | 16–31 | name of the socket |
/// | 32–47 | secret |
/// | 48–63 | zero |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    purpose: u64,
    number: u64,
    name: [u8; NAME_BYTES],
    secret: [u8; SECRET_BYTES],
}

impl Token {
    pub(super) fn to_bytes(self) -> [u8; TOKEN_BYTES] {
        let mut bytes = [0; TOKEN_BYTES];
        bytes[..8].copy_from_slice(&self.purpose.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.number.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.name);
        bytes[32..48].copy_from_slice(&self.secret);
        bytes
    }

    /// Nothing if the bytes are no token of this purpose.
    pub(super) fn parse(bytes: &[u8; TOKEN_BYTES], purpose: Purpose) -> Option<Self> {
        let token = Self {
            purpose: u64::from_le_bytes(*bytes.first_chunk()?),
            number: u64::from_le_bytes(*bytes[8..].first_chunk()?),
            name: *bytes[16..].first_chunk()?,
            secret: *bytes[32..].first_chunk()?,
        };
        let is_token = token.purpose == purpose as u64 && token.to_bytes() == *bytes;
        is_token.then_some(token)
    }
}

impl Exports {
    /// Keeps a descriptor for those who are given the token.
    ///
    /// # Errors
    ///
    /// The system's, and that there are too many.
    pub(super) fn add(&mut self, descriptor: OwnedFd, purpose: Purpose) -> io::Result<Token> {
        let listening = match &mut self.listening {
            Some(listening) => listening,
            none => none.insert(listen()?),
        };
        let secret = random()?;
        let mut exported = listening.exported.lock();
        if exported.len() >= EXPORTS_MAX {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        exported.push(Exported { secret, descriptor });
        Ok(Token {
            purpose: purpose as u64,
            number: exported.len() as u64 - 1,
            name: listening.name,
            secret,
        })
    }
}

/// Asks the worker that a token is of for its descriptor.
///
/// # Errors
///
/// If there is no such worker on this machine, or it does not know the token.
pub(super) fn fetch(token: &Token) -> io::Result<OwnedFd> {
    let mut stream = UnixStream::connect_addr(&address(&token.name)?)?;
    check_peer(&stream)?;
    stream.set_read_timeout(Some(DESCRIPTOR_TIMEOUT))?;
    stream.set_write_timeout(Some(DESCRIPTOR_TIMEOUT))?;
    let mut request = [0; REQUEST_BYTES];
    request[..8].copy_from_slice(&token.number.to_le_bytes());
    request[8..].copy_from_slice(&token.secret);
    stream.write_all(&request)?;
    match WorkerControl::new(stream).receive()? {
        Some(received) if received.session == token.number => Ok(received.client),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

fn listen() -> io::Result<Listening> {
    let name = random()?;
    let listener = UnixListener::bind_addr(&address(&name)?)?;
    let exported = Arc::<Mutex<Vec<Exported>>>::default();
    let shown = Arc::clone(&exported);
    std::thread::Builder::new()
        .name("gvirtus-exports".into())
        .spawn(move || {
            for stream in listener.incoming() {
                let answered = stream.and_then(|stream| answer(stream, &shown));
                if let Err(error) = answered {
                    tracing::warn!(%error, "a descriptor was not fetched");
                }
            }
        })?;
    Ok(Listening { name, exported })
}

fn answer(mut stream: UnixStream, exported: &Mutex<Vec<Exported>>) -> io::Result<()> {
    check_peer(&stream)?;
    stream.set_read_timeout(Some(DESCRIPTOR_TIMEOUT))?;
    stream.set_write_timeout(Some(DESCRIPTOR_TIMEOUT))?;
    let mut request = [0; REQUEST_BYTES];
    stream.read_exact(&mut request)?;
    let (number, secret) = request.split_at(8);
    let number = number
        .iter()
        .rev()
        .fold(0, |n, byte| n << 8 | u64::from(*byte));
    let descriptor = {
        let exported = exported.lock();
        let found = usize::try_from(number)
            .ok()
            .and_then(|index| exported.get(index));
        let found = found.filter(|found| found.secret == secret);
        found
            .ok_or(io::ErrorKind::NotFound)?
            .descriptor
            .try_clone()?
    };
    let assignment = Assignment {
        session: number,
        ..Assignment::default()
    };
    send_client(&stream, assignment, descriptor.as_fd(), None)
}

/// Refuses other users.
fn check_peer(stream: &UnixStream) -> io::Result<()> {
    let peer = rustix::net::sockopt::socket_peercred(stream)?;
    match peer.uid == rustix::process::geteuid() {
        true => Ok(()),
        false => Err(io::ErrorKind::PermissionDenied.into()),
    }
}

/// In the abstract name space, so that nothing is left behind.
fn address(name: &[u8; NAME_BYTES]) -> io::Result<SocketAddr> {
    let digits = name.iter().map(|byte| format!("{byte:02x}"));
    SocketAddr::from_abstract_name(format!("gvirtus-{}", digits.collect::<String>()))
}

fn random() -> io::Result<[u8; 16]> {
    let mut bytes = [0; 16];
    // SAFETY: so many bytes of a local.
    let count = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    match usize::try_from(count) {
        Ok(count) if count == bytes.len() => Ok(bytes),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn descriptors_go_to_who_has_the_token() {
        let mut exports = Exports::default();
        let mut tokens = [(); 2].map(|()| {
            let (reader, writer) = io::pipe().expect("a pipe");
            let token = exports.add(reader.into(), Purpose::Memory);
            (token.expect("kept"), writer)
        });
        for (index, (token, writer)) in tokens.iter_mut().enumerate() {
            let bytes = token.to_bytes();
            assert_eq!(Token::parse(&bytes, Purpose::Memory), Some(*token));
            assert_eq!(Token::parse(&bytes, Purpose::Pool), None);
            writer.write_all(&[index as u8]).expect("room");
            let mut byte = [9];
            let fetched = fetch(token).expect("there");
            File::from(fetched).read_exact(&mut byte).expect("written");
            assert_eq!(usize::from(byte[0]), index);
        }
    }

    #[test]
    fn forged_tokens_fetch_nothing() {
        let mut exports = Exports::default();
        let null = File::open("/dev/null").expect("there");
        let token = exports.add(null.into(), Purpose::Pool).expect("kept");
        let mut secret = token.secret;
        secret[0] ^= 1;
        let mut name = token.name;
        name[0] ^= 1;
        let wrong = [
            Token { secret, ..token },
            Token { name, ..token },
            Token { number: 1, ..token },
            Token {
                number: u64::MAX,
                ..token
            },
        ];
        for token in wrong {
            assert!(fetch(&token).is_err(), "{token:?}");
        }
        assert!(fetch(&token).is_ok());
    }
}
