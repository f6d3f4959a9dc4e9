// SPDX-License-Identifier: Apache-2.0
//! The trait that everything above speaks.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;

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
