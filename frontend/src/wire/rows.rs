// SPDX-License-Identifier: Apache-2.0
//! Memory of the application that a payload is sent from or received into.

use std::io::{self, IoSlice};

use gvirtus_transport::Stream;

use crate::limits::{DIRECT_ROW_BYTES_MIN, GATHER_BYTES, ROWS_PER_WRITE};

/// Rows of bytes at equal distances. The rows travel without gaps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rows {
    /// Address of the first row.
    pub(crate) address: usize,
    /// Bytes of a row.
    pub(crate) width_bytes: usize,
    /// Rows.
    pub(crate) height: usize,
    /// Bytes from row to row.
    pub(crate) pitch_bytes: usize,
}

impl Rows {
    /// One row.
    pub(crate) const fn line(address: usize, bytes: usize) -> Self {
        Self {
            address,
            width_bytes: bytes,
            height: 1,
            pitch_bytes: bytes,
        }
    }

    /// `height` rows; those without gaps become one.
    pub(crate) const fn new(
        address: usize,
        width_bytes: usize,
        height: usize,
        pitch_bytes: usize,
    ) -> Self {
        if pitch_bytes == width_bytes
            && let Some(bytes) = width_bytes.checked_mul(height)
        {
            return Self::line(address, bytes);
        }
        Self {
            address,
            width_bytes,
            height,
            pitch_bytes,
        }
    }

    /// Bytes of all rows.
    pub(crate) const fn bytes(&self) -> usize {
        self.width_bytes.saturating_mul(self.height)
    }

    /// The addresses of the rows.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = usize> + use<> {
        let Self {
            address,
            height,
            pitch_bytes,
            ..
        } = *self;
        (0..height).map(move |row| address.wrapping_add(row.wrapping_mul(pitch_bytes)))
    }

    /// The bytes of the row at `address`.
    ///
    /// # Safety
    ///
    /// The row is readable for `'a`, and whoever changes it meanwhile accepts any mixture.
    pub(crate) const unsafe fn row<'a>(&self, address: usize) -> &'a [u8] {
        if self.width_bytes == 0 {
            return &[];
        }
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts(address as *const u8, self.width_bytes) }
    }
}

/// What follows a command's body.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Payload<'a> {
    /// Nothing.
    None,
    /// These bytes, one after the other.
    Parts(&'a [&'a [u8]]),
    /// The application's memory.
    Rows(Rows),
}

impl Payload<'_> {
    /// Bytes together.
    pub(crate) fn bytes(&self) -> u64 {
        let bytes = match self {
            Self::None => 0,
            Self::Parts(parts) => parts.iter().map(|part| part.len()).sum(),
            Self::Rows(rows) => rows.bytes(),
        };
        bytes as u64
    }

    /// Appends all bytes to `buffer`.
    ///
    /// # Safety
    ///
    /// The application's memory is readable.
    pub(crate) unsafe fn append_to(&self, buffer: &mut Vec<u8>) {
        match self {
            Self::None => {}
            Self::Parts(parts) => parts.iter().for_each(|part| buffer.extend_from_slice(part)),
            Self::Rows(rows) => {
                for address in rows.addresses() {
                    // SAFETY: the caller's promise.
                    buffer.extend_from_slice(unsafe { rows.row(address) });
                }
            }
        }
    }
}

/// Whether the application's memory could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// All of it.
    Whole,
    /// No: zeros went in its place, so that the stream stays in step.
    Unreadable,
}

/// Writes `head`, then `payload`.
///
/// Memory that the operating system cannot read does not end the connection: what is left of the
/// payload is sent as zeros, and the caller is told.
///
/// # Safety
///
/// None on the memory behind [`Payload::Rows`] if its rows are long enough to be written directly;
/// shorter rows must be readable.
///
/// # Errors
///
/// The stream's.
pub(crate) unsafe fn send(
    stream: &dyn Stream,
    head: &[u8],
    payload: Payload<'_>,
) -> io::Result<Sent> {
    let mut sender = Sender { stream, sent: 0 };
    let total = head.len() as u64 + payload.bytes();
    // SAFETY: the caller's promise.
    match unsafe { sender.write(head, payload) } {
        Ok(()) => Ok(Sent::Whole),
        Err(error) if error.raw_os_error() == Some(libc::EFAULT) => {
            if let Ok(sent) = usize::try_from(sender.sent)
                && sent < head.len()
            {
                sender.write_all(&mut [IoSlice::new(&head[sent..])])?;
            }
            let zeros = vec![0; GATHER_BYTES];
            while sender.sent < total {
                let left = usize::try_from(total - sender.sent).unwrap_or(usize::MAX);
                sender.write_all(&mut [IoSlice::new(&zeros[..left.min(zeros.len())])])?;
            }
            Ok(Sent::Unreadable)
        }
        Err(error) => Err(error),
    }
}

struct Sender<'a> {
    stream: &'a dyn Stream,
    sent: u64,
}

impl Sender<'_> {
    /// # Safety
    ///
    /// As [`send`].
    unsafe fn write(&mut self, head: &[u8], payload: Payload<'_>) -> io::Result<()> {
        let rows = match payload {
            Payload::None => return self.write_all(&mut [IoSlice::new(head)]),
            Payload::Parts(parts) => {
                let mut slices: Vec<IoSlice<'_>> = Vec::with_capacity(parts.len() + 1);
                slices.push(IoSlice::new(head));
                slices.extend(parts.iter().map(|part| IoSlice::new(part)));
                return self.write_all(&mut slices);
            }
            Payload::Rows(rows) => rows,
        };
        if rows.height == 1 {
            // SAFETY: only the operating system reads it, and says so if it cannot.
            let row = unsafe { rows.row(rows.address) };
            return self.write_all(&mut [IoSlice::new(head), IoSlice::new(row)]);
        }
        self.write_all(&mut [IoSlice::new(head)])?;
        let addresses: Vec<usize> = rows.addresses().collect();
        if rows.width_bytes >= DIRECT_ROW_BYTES_MIN {
            for chunk in addresses.chunks(ROWS_PER_WRITE) {
                let mut slices: Vec<IoSlice<'_>> = chunk
                    .iter()
                    // SAFETY: as above.
                    .map(|address| IoSlice::new(unsafe { rows.row(*address) }))
                    .collect();
                self.write_all(&mut slices)?;
            }
            return Ok(());
        }
        let rows_per_write = (GATHER_BYTES / rows.width_bytes.max(1)).max(1);
        let mut gathered = Vec::with_capacity(GATHER_BYTES);
        for chunk in addresses.chunks(rows_per_write) {
            gathered.clear();
            for address in chunk {
                // SAFETY: the caller promises that short rows are readable.
                gathered.extend_from_slice(unsafe { rows.row(*address) });
            }
            self.write_all(&mut [IoSlice::new(&gathered)])?;
        }
        Ok(())
    }

    /// Counts what the stream takes, also of a write that fails half way.
    fn write_all(&mut self, mut buffers: &mut [IoSlice<'_>]) -> io::Result<()> {
        IoSlice::advance_slices(&mut buffers, 0);
        while !buffers.is_empty() {
            match self.stream.write_vectored(buffers) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.sent += count as u64;
                    IoSlice::advance_slices(&mut buffers, count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
