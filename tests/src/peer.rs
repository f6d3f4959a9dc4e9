// SPDX-License-Identifier: Apache-2.0
//! A client made by hand, which may do everything wrong.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;

use gvirtus_protocol::frame::CommandHeader;
use gvirtus_protocol::handshake::{
    ClientIdentity, HandshakeError, Hello, PREAMBLE_BYTES, Purpose, Welcome, read_server_preamble,
};
use gvirtus_protocol::opcode::Opcode;
use gvirtus_protocol::status::{LENGTH_BYTES, Picture, QUESTION};

use crate::{Daemon, LIMIT};

/// Bytes of a command's header.
pub const HEADER_BYTES: usize = size_of::<CommandHeader>();

/// A connection to a daemon. Nothing on it takes longer than [`LIMIT`].
#[derive(Debug)]
pub enum Peer {
    /// Over loopback.
    Tcp(TcpStream),
    /// Over the Unix socket.
    Unix(UnixStream),
}

/// The hello of a well-behaved client.
pub fn hello() -> Hello {
    let client = ClientIdentity {
        pid: std::process::id(),
        host: "test".into(),
        program: "peer".into(),
        container: String::new(),
    };
    Hello::new(client, Vec::new())
}

/// The hello of a client that watches.
pub fn status_hello() -> Hello {
    Hello {
        purpose: Purpose::Status,
        ..hello()
    }
}

/// A command's header and body.
pub fn command(opcode: Opcode, sequence: u64, body: &[u8], payload_bytes: u64) -> Vec<u8> {
    let body_bytes = u32::try_from(body.len()).expect("bodies are short");
    let header = CommandHeader::new(opcode, 0, sequence, body_bytes, payload_bytes);
    let header: [u8; HEADER_BYTES] = zerocopy::transmute!(header);
    [&header, body].concat()
}

impl Peer {
    /// Connects over TCP.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn tcp(daemon: &Daemon) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", daemon.port()))?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_write_timeout(Some(LIMIT))?;
        Ok(Self::Tcp(stream))
    }

    /// Connects over the Unix socket.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn unix(daemon: &Daemon) -> io::Result<Self> {
        Self::unix_at(daemon.socket())
    }

    /// Connects to another socket of a daemon.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn unix_at(socket: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_write_timeout(Some(LIMIT))?;
        Ok(Self::Unix(stream))
    }

    /// Sends all bytes.
    ///
    /// # Errors
    ///
    /// The daemon may have closed already.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(bytes),
            Self::Unix(stream) => stream.write_all(bytes),
        }
    }

    /// Says that nothing more comes.
    pub fn end(&self) {
        // The daemon may have closed already.
        let _ = match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
        };
    }

    /// Reads until the daemon closes; what came, or nothing if it does not close in time.
    pub fn read_to_end(&mut self) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let result = match self {
            Self::Tcp(stream) => stream.read_to_end(&mut bytes),
            Self::Unix(stream) => stream.read_to_end(&mut bytes),
        };
        match result {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            // Closed with our bytes unread: that is a reset.
            _ => Some(bytes),
        }
    }

    /// Reads the answer to a hello.
    ///
    /// # Errors
    ///
    /// What a client would say; [`HandshakeError::Malformed`] if there is none.
    pub fn answer(&mut self) -> Result<Welcome, HandshakeError> {
        let mut preamble = [0; PREAMBLE_BYTES];
        self.read_exact(&mut preamble)?;
        let announced = read_server_preamble(&preamble)?;
        let mut body = vec![0; announced.length];
        self.read_exact(&mut body)?;
        Welcome::decode(announced, &body)
    }

    /// Asks for the daemon's sessions, after the answer to [`status_hello`].
    ///
    /// # Errors
    ///
    /// [`HandshakeError::Malformed`] if there is no picture.
    pub fn picture(&mut self) -> Result<Picture, HandshakeError> {
        let malformed = HandshakeError::Malformed;
        self.send(&QUESTION)
            .map_err(|_| HandshakeError::Malformed)?;
        let mut length = [0; LENGTH_BYTES];
        self.read_exact(&mut length)?;
        let Ok(length) = Picture::length(length) else {
            return Err(malformed);
        };
        let mut body = vec![0; length];
        self.read_exact(&mut body)?;
        Picture::decode(&body).map_err(|_| malformed)
    }

    /// Reads as many bytes as there is room for.
    ///
    /// # Errors
    ///
    /// The daemon may have closed, or say nothing.
    pub fn read(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.read_exact(bytes),
            Self::Unix(stream) => stream.read_exact(bytes),
        }
    }

    fn read_exact(&mut self, bytes: &mut [u8]) -> Result<(), HandshakeError> {
        self.read(bytes).map_err(|_| HandshakeError::Malformed)
    }
}
