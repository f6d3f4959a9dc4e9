// SPDX-License-Identifier: Apache-2.0
//! The trait that everything above speaks.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// A connection: full duplex, blocking, shared by reference between threads.
///
/// Reads and writes are independent; who wants several writes to stay together serialises them.
pub trait Stream: Send + Sync {
    /// Reads what there is, at least one byte unless the peer has closed: then 0.
    ///
    /// # Errors
    ///
    /// The operating system's; the connection is of no use after one.
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes the beginning of what `buffers` hold together.
    ///
    /// # Errors
    ///
    /// The operating system's; the connection is of no use after one.
    fn write_vectored(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Whether a read would return at once.
    ///
    /// # Errors
    ///
    /// The operating system's.
    fn is_readable(&self) -> io::Result<bool>;

    /// Ends both directions; threads that read or write return.
    fn shutdown(&self);

    /// The socket, for polling.
    fn descriptor(&self) -> BorrowedFd<'_>;
}

/// Writes all that `buffers` hold, in order.
///
/// # Errors
///
/// The operating system's, or `WriteZero` if the peer takes nothing.
pub fn write_all_vectored(stream: &dyn Stream, mut buffers: &mut [IoSlice<'_>]) -> io::Result<()> {
    IoSlice::advance_slices(&mut buffers, 0);
    while !buffers.is_empty() {
        match stream.write_vectored(buffers) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => IoSlice::advance_slices(&mut buffers, count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Fills the buffer, and reads no byte more.
///
/// # Errors
///
/// `TimedOut` if that takes until `deadline`, `UnexpectedEof` if the peer closes the connection
/// before, or the operating system's.
pub fn read_exact(stream: &dyn Stream, mut buffer: &mut [u8], deadline: Instant) -> io::Result<()> {
    while !buffer.is_empty() {
        wait_until_readable(stream, deadline)?;
        match stream.read(buffer)? {
            0 => {
                let text = "the peer closed the connection";
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
            }
            count => buffer = &mut buffer[count..],
        }
    }
    Ok(())
}

fn wait_until_readable(stream: &dyn Stream, deadline: Instant) -> io::Result<()> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // Longer than a timeout can be is for ever.
        let timeout = Timespec::try_from(left).ok();
        let mut descriptors = [PollFd::from_borrowed_fd(stream.descriptor(), PollFlags::IN)];
        match poll(&mut descriptors, timeout.as_ref()) {
            Ok(0) => {
                let text = "the peer does not answer in time";
                return Err(io::Error::new(io::ErrorKind::TimedOut, text));
            }
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use super::*;
    use crate::from_descriptor;

    #[test]
    fn a_whole_buffer_is_read_or_a_reason_is_told() {
        let (mut peer, own) = UnixStream::pair().expect("sockets");
        let stream = from_descriptor(own.into()).expect("a stream");
        let read = |buffer: &mut [u8], wait| {
            let deadline = Instant::now() + wait;
            read_exact(&*stream, buffer, deadline).map_err(|error| error.kind())
        };
        let mut buffer = [0; 4];
        peer.write_all(b"123").expect("room");
        let silence = read(&mut buffer, Duration::from_millis(1));
        assert_eq!(silence, Err(io::ErrorKind::TimedOut));
        peer.write_all(b"456789").expect("room");
        assert_eq!(read(&mut buffer, Duration::from_secs(60)), Ok(()));
        assert_eq!(&buffer, b"4567", "what follows stays");
        drop(peer);
        let cut = read(&mut buffer, Duration::from_secs(60));
        assert_eq!(cut, Err(io::ErrorKind::UnexpectedEof));
    }
}
