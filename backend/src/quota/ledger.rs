// SPDX-License-Identifier: Apache-2.0
//! Who holds how much: memory of the daemon and of all workers of an account.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use gvirtus_protocol::limits::DEVICES_MAX;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fstat, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use crate::limits::ACCOUNT_SESSIONS_MAX;

/// Rows of a ledger: one a session.
pub(crate) const ROWS: usize = ACCOUNT_SESSIONS_MAX;

const CELLS: usize = ROWS * DEVICES_MAX;
const BYTES: usize = CELLS * size_of::<AtomicU64>();

/// Bytes by row and device.
#[derive(Debug)]
pub(crate) struct Ledger {
    cells: NonNull<AtomicU64>,
    descriptor: OwnedFd,
}

// SAFETY: the cells are atomic, and nothing else is behind the pointer.
unsafe impl Send for Ledger {}
// SAFETY: as above.
unsafe impl Sync for Ledger {}

impl Ledger {
    /// An empty one.
    pub(crate) fn create() -> io::Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let descriptor = memfd_create(c"gvirtus-ledger", flags)?;
        ftruncate(&descriptor, BYTES as u64)?;
        // A worker that makes it shorter would end the daemon with SIGBUS.
        fcntl_add_seals(
            &descriptor,
            SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL,
        )?;
        Self::open(descriptor)
    }

    /// One that somebody else has created.
    pub(crate) fn open(descriptor: OwnedFd) -> io::Result<Self> {
        if fstat(&descriptor)?.st_size != BYTES as i64 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        // SAFETY: a new mapping of a file that is long enough; nobody can make it shorter.
        let address = unsafe {
            mmap(
                std::ptr::null_mut(),
                BYTES,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                &descriptor,
                0,
            )?
        };
        let cells = NonNull::new(address.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { cells, descriptor })
    }

    /// What a session holds on a device; nothing if there is no such row or device.
    pub(crate) fn cell(&self, row: usize, device: u32) -> Option<&AtomicU64> {
        let device = device as usize;
        if row >= ROWS || device >= DEVICES_MAX {
            return None;
        }
        // SAFETY: within the mapping, which lives as long as this; zeroed pages are valid atomics.
        Some(unsafe { self.cells.add(row * DEVICES_MAX + device).as_ref() })
    }

    /// What all sessions hold on a device.
    pub(crate) fn total(&self, device: u32) -> u64 {
        let cells = (0..ROWS).filter_map(|row| self.cell(row, device));
        cells.fold(0, |sum, cell| sum.saturating_add(cell.load(SeqCst)))
    }

    /// A session is over.
    pub(crate) fn clear(&self, row: usize) {
        for device in 0..DEVICES_MAX as u32 {
            if let Some(cell) = self.cell(row, device) {
                cell.store(0, SeqCst);
            }
        }
    }
}

impl AsFd for Ledger {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `open`, to which no reference is left.
        let _ = unsafe { munmap(self.cells.as_ptr().cast(), BYTES) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_writes_the_other_reads() {
        let daemon = Ledger::create().expect("memory");
        let worker = daemon.as_fd().try_clone_to_owned().expect("descriptors");
        let worker = Ledger::open(worker).expect("long enough");
        worker.cell(3, 1).expect("exists").store(50, SeqCst);
        worker.cell(ROWS - 1, 1).expect("exists").store(7, SeqCst);
        assert_eq!((daemon.total(0), daemon.total(1)), (0, 57));
        daemon.clear(3);
        assert_eq!(worker.total(1), 7);
        assert!(worker.cell(ROWS, 0).is_none());
        assert!(worker.cell(0, DEVICES_MAX as u32).is_none());
        assert!(ftruncate(&worker, 0).is_err(), "sealed");
    }

    #[test]
    fn something_else_is_no_ledger() {
        let file = memfd_create(c"short", MemfdFlags::CLOEXEC).expect("memory");
        assert!(Ledger::open(file).is_err());
    }
}
