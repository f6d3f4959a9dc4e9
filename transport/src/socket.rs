// SPDX-License-Identifier: Apache-2.0
//! TCP and Unix sockets.

use std::io::{self, IoSlice};
use std::net::{TcpListener, TcpStream, ToSocketAddrs as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
use socket2::{Domain, SockAddr, SockRef, Socket, TcpKeepalive, Type};

use crate::limits::{
    BACKLOG, CONNECT_TIMEOUT, KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, KEEPALIVE_PROBES,
    UNACKNOWLEDGED_TIMEOUT, UNIX_BUFFER_BYTES, VECTORS_MAX,
};
use crate::{Endpoint, Stream};

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name has no address.
    #[error("cannot find the host of {endpoint}: {source}")]
    Resolve {
        /// Where to.
        endpoint: Endpoint,
        /// The resolver's reason.
        source: io::Error,
    },
    /// Nobody answers there.
    #[error("cannot connect to {endpoint}: {source}; does a backend listen there (gvirtus serve)?")]
    Connect {
        /// Where to.
        endpoint: Endpoint,
        /// The operating system's reason.
        source: io::Error,
    },
}

/// Connects, trying every address of a host name.
///
/// # Errors
///
/// The last address's reason.
pub fn connect(endpoint: &Endpoint) -> Result<Box<dyn Stream>, ConnectError> {
    let failed = |source| ConnectError::Connect {
        endpoint: endpoint.clone(),
        source,
    };
    match endpoint {
        Endpoint::Unix { path } => {
            let stream = UnixStream::connect(path).map_err(failed)?;
            Ok(Box::new(prepare_unix(stream).map_err(failed)?))
        }
        Endpoint::Tcp { host, port } => {
            let resolve = |source| ConnectError::Resolve {
                endpoint: endpoint.clone(),
                source,
            };
            let addresses = (host.as_str(), *port).to_socket_addrs().map_err(resolve)?;
            let mut last = io::ErrorKind::NotFound.into();
            for address in addresses {
                match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
                    Ok(stream) => return Ok(Box::new(prepare_tcp(stream).map_err(failed)?)),
                    Err(error) => last = error,
                }
            }
            Err(failed(last))
        }
    }
}

/// The connection behind an inherited socket.
///
/// # Errors
///
/// If it is neither a TCP nor a Unix socket.
pub fn from_descriptor(descriptor: OwnedFd) -> io::Result<Box<dyn Stream>> {
    let domain = SockRef::from(&descriptor).domain()?;
    match domain {
        Domain::UNIX => Ok(Box::new(prepare_unix(UnixStream::from(descriptor))?)),
        Domain::IPV4 | Domain::IPV6 => Ok(Box::new(prepare_tcp(TcpStream::from(descriptor))?)),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

fn prepare_tcp(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_PROBES);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_TIMEOUT))?;
    Ok(stream)
}

fn prepare_unix(stream: UnixStream) -> io::Result<UnixStream> {
    stream.set_nonblocking(false)?;
    let socket = SockRef::from(&stream);
    socket.set_send_buffer_size(UNIX_BUFFER_BYTES)?;
    socket.set_recv_buffer_size(UNIX_BUFFER_BYTES)?;
    Ok(stream)
}

macro_rules! impl_stream {
    ($($ty:ty),*) => {$(
        impl Stream for $ty {
            fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
                Ok(rustix::io::retry_on_intr(|| rustix::io::read(self, &mut *buffer))?)
            }

            fn write_vectored(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
                write_vectored(self.as_fd(), buffers)
            }

            fn is_readable(&self) -> io::Result<bool> {
                is_readable(self.as_fd())
            }

            fn shutdown(&self) {
                // The peer may have closed first: then there is nothing left to end.
                let _ = Self::shutdown(self, std::net::Shutdown::Both);
            }

            fn descriptor(&self) -> BorrowedFd<'_> {
                self.as_fd()
            }
        }
    )*};
}

impl_stream!(TcpStream, UnixStream);

/// `sendmsg`, because `writev` to a closed connection would raise SIGPIPE in the application.
fn write_vectored(descriptor: BorrowedFd<'_>, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
    let buffers = &buffers[..buffers.len().min(VECTORS_MAX)];
    let mut nothing = SendAncillaryBuffer::default();
    Ok(rustix::io::retry_on_intr(|| {
        sendmsg(descriptor, buffers, &mut nothing, SendFlags::NOSIGNAL)
    })?)
}

fn is_readable(descriptor: BorrowedFd<'_>) -> io::Result<bool> {
    let mut descriptors = [PollFd::from_borrowed_fd(descriptor, PollFlags::IN)];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    Ok(poll(&mut descriptors, Some(&now))? > 0)
}

/// A socket that backends accept connections on. A Unix socket's file is removed with it.
#[derive(Debug)]
pub enum Listener {
    /// Listens on TCP.
    Tcp(TcpListener),
    /// Listens on a Unix socket, whose file only its owner may open.
    Unix(UnixListener, SocketFile),
}

/// Removes the socket's file when the listener is gone.
#[derive(Debug)]
pub struct SocketFile(std::path::PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody may have removed it already: then the work is done.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Listener {
    /// Listens on `endpoint`. Port 0 lets the operating system choose.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn bind(endpoint: &Endpoint) -> io::Result<Self> {
        match endpoint {
            Endpoint::Tcp { host, port } => Self::bind_tcp(host, *port),
            Endpoint::Unix { path } => Self::bind_unix(path),
        }
    }

    fn bind_tcp(host: &str, port: u16) -> io::Result<Self> {
        let mut last = io::ErrorKind::NotFound.into();
        for address in (host, port).to_socket_addrs()? {
            let bind = || {
                let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
                socket.set_reuse_address(true)?;
                socket.bind(&SockAddr::from(address))?;
                socket.listen(BACKLOG)?;
                Ok(socket)
            };
            match bind() {
                Ok(socket) => return Ok(Self::Tcp(socket.into())),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn bind_unix(path: &Path) -> io::Result<Self> {
        // A file left by a backend that was killed must not keep the next one from starting.
        let left = std::fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket());
        if left && UnixStream::connect(path).is_err() {
            std::fs::remove_file(path)?;
        }
        let listener = UnixListener::bind(path)?;
        let owner_only = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(path, owner_only)?;
        Ok(Self::Unix(listener, SocketFile(path.to_owned())))
    }

    /// Where it listens, with the port that the operating system chose.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn endpoint(&self) -> io::Result<Endpoint> {
        match self {
            Self::Tcp(listener) => {
                let address = listener.local_addr()?;
                Ok(Endpoint::Tcp {
                    host: address.ip().to_string(),
                    port: address.port(),
                })
            }
            Self::Unix(_, file) => Ok(Endpoint::Unix {
                path: file.0.clone(),
            }),
        }
    }

    /// Waits for the next connection.
    ///
    /// # Errors
    ///
    /// The operating system's, for example that there are too many open files.
    pub fn accept(&self) -> io::Result<Box<dyn Stream>> {
        match self {
            Self::Tcp(listener) => Ok(Box::new(prepare_tcp(listener.accept()?.0)?)),
            Self::Unix(listener, _) => Ok(Box::new(prepare_unix(listener.accept()?.0)?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write_all_vectored;

    fn echo(endpoint: &Endpoint) {
        let listener = Listener::bind(endpoint).expect("free");
        let bound = listener.endpoint().expect("bound");
        let server = std::thread::spawn(move || {
            let stream = listener.accept().expect("a client comes");
            let mut bytes = [0; 11];
            let mut got = 0;
            while got < bytes.len() {
                got += stream.read(&mut bytes[got..]).expect("open");
            }
            write_all_vectored(&*stream, &mut [IoSlice::new(&bytes)]).expect("open");
            assert_eq!(stream.read(&mut bytes).expect("closed cleanly"), 0);
        });
        let client = connect(&bound).expect("listening");
        assert!(!client.is_readable().expect("open"));
        let mut parts = [
            IoSlice::new(b"hello"),
            IoSlice::new(b""),
            IoSlice::new(b" world"),
        ];
        write_all_vectored(&*client, &mut parts).expect("open");
        let mut bytes = [0; 11];
        let mut got = 0;
        while got < bytes.len() {
            got += client.read(&mut bytes[got..]).expect("open");
        }
        assert_eq!(&bytes, b"hello world");
        client.shutdown();
        server.join().expect("no panic");
    }

    #[test]
    fn tcp_carries_bytes_both_ways() {
        echo(&Endpoint::Tcp {
            host: "127.0.0.1".into(),
            port: 0,
        });
    }

    #[test]
    fn unix_carries_bytes_both_ways_and_cleans_up() {
        let folder = std::env::temp_dir().join(format!("gvirtus-socket-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("writable");
        let path = folder.join("socket");
        // The file of a listener that died must not be in the way.
        drop(UnixListener::bind(&path).expect("free"));
        assert!(path.exists());
        echo(&Endpoint::Unix { path: path.clone() });
        assert!(!path.exists());
        std::fs::remove_dir_all(&folder).expect("ours");
    }

    #[test]
    fn nobody_there_is_explained() {
        let error = connect(&Endpoint::Unix {
            path: "/nonexistent/socket".into(),
        });
        let text = error.err().expect("nobody").to_string();
        assert!(text.contains("does a backend listen there"), "{text}");
    }
}
