// SPDX-License-Identifier: Apache-2.0
//! Addresses without memory, memory without addresses, and putting one behind the other.
//!
//! Physical memory is a file of the system's without a name, so that two mappings of it show the
//! same bytes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::mm::{MapFlags, ProtFlags};

use super::token::{Purpose, SharedFile};
use super::{CHUNK_BYTES, Memory, MemoryError, at, to_usize};

/// What kernels may do in a range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rights {
    /// Nothing.
    #[default]
    None,
    /// Read.
    Read,
    /// Read and write.
    ReadWrite,
}

impl Rights {
    /// As the table of granules has it.
    const fn granule(self) -> u8 {
        match self {
            Self::None => 0,
            Self::ReadWrite => super::WRITABLE,
            Self::Read => super::READ_ONLY,
        }
    }
}

/// Memory of a device, all zeros at first, until it is dropped.
pub struct Physical {
    file: SharedFile,
    bytes: u64,
    /// Where it is counted; what another process has made is counted there.
    home: Option<Arc<Memory>>,
}

impl Physical {
    /// Bytes of it, a multiple of 2 MiB.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The file by which other processes may use it.
    #[must_use]
    pub fn file(&self) -> &SharedFile {
        &self.file
    }

    /// What another process has made.
    ///
    /// # Errors
    ///
    /// `InvalidValue` if it is no whole number of chunks.
    pub fn import(file: SharedFile) -> Result<Self, MemoryError> {
        let bytes = file.bytes;
        match bytes > 0 && bytes.is_multiple_of(CHUNK_BYTES) {
            true => Ok(Self {
                file,
                bytes,
                home: None,
            }),
            false => Err(MemoryError::InvalidValue),
        }
    }
}

impl Drop for Physical {
    fn drop(&mut self) {
        if let Some(home) = &self.home {
            let mut allocator = home.allocator.lock();
            let mapped = allocator.mapped - self.bytes;
            home.set_mapped(&mut allocator, mapped);
        }
    }
}

impl Memory {
    /// Takes so many bytes, a multiple of 2 MiB, of the device's memory.
    ///
    /// # Errors
    ///
    /// `OutOfMemory`, `InvalidValue`.
    pub fn create_physical(
        self: &Arc<Self>,
        bytes: u64,
        number: i32,
    ) -> Result<Physical, MemoryError> {
        if bytes == 0 || !bytes.is_multiple_of(CHUNK_BYTES) {
            return Err(MemoryError::InvalidValue);
        }
        let out_of_memory = MemoryError::OutOfMemory;
        let mut allocator = self.allocator.lock();
        let mapped = allocator.mapped.checked_add(bytes);
        let mapped = mapped.filter(|mapped| *mapped <= self.total);
        let mapped = mapped.ok_or(out_of_memory)?;
        let file = SharedFile::create(Purpose::Physical, number, bytes);
        let file = file.map_err(|_| out_of_memory)?;
        self.set_mapped(&mut allocator, mapped);
        drop(allocator);
        let home = Some(Arc::clone(self));
        Ok(Physical { file, bytes, home })
    }

    /// Reserves addresses, a multiple of 2 MiB; at `wish` if that is free.
    ///
    /// # Errors
    ///
    /// `OutOfMemory`, `InvalidValue`.
    pub fn reserve_addresses(
        &self,
        bytes: u64,
        alignment: u64,
        wish: u64,
    ) -> Result<u64, MemoryError> {
        let alignment = alignment.max(CHUNK_BYTES);
        if bytes == 0 || !bytes.is_multiple_of(CHUNK_BYTES) || !alignment.is_power_of_two() {
            return Err(MemoryError::InvalidValue);
        }
        let mut allocator = self.allocator.lock();
        if wish.is_multiple_of(alignment) && allocator.take_at(wish, bytes) {
            return Ok(wish);
        }
        allocator.take(bytes, bytes, alignment)
    }

    /// Ends [`Memory::reserve_addresses`]; nothing is mapped there.
    pub fn release_addresses(&self, address: u64) {
        self.allocator.lock().release(address);
    }

    /// Shows the first `bytes` bytes of physical memory at reserved addresses, both multiples of
    /// 2 MiB. Kernels may not use them yet.
    ///
    /// # Errors
    ///
    /// `InvalidValue` outside of the memory, `OutOfMemory` if the system refuses.
    pub fn map_physical(
        &self,
        address: u64,
        bytes: u64,
        physical: &Physical,
    ) -> Result<(), MemoryError> {
        if !self.is_mappable(address, bytes) || bytes > physical.bytes {
            return Err(MemoryError::InvalidValue);
        }
        let mut allocator = self.allocator.lock();
        let (rights, flags) = (
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::SHARED | MapFlags::FIXED,
        );
        // SAFETY: chunks of this value's own reservation that hold nothing.
        unsafe {
            let length = to_usize(bytes);
            rustix::mm::mmap(at(address), length, rights, flags, physical.file.file(), 0)
        }
        .map_err(|_| MemoryError::OutOfMemory)?;
        let first = to_usize((address - self.base) / CHUNK_BYTES);
        let count = to_usize(bytes / CHUNK_BYTES);
        allocator.committed[first..first + count].fill(true);
        Ok(())
    }

    /// Ends [`Memory::map_physical`].
    ///
    /// # Errors
    ///
    /// `InvalidValue` outside of the memory, `OutOfMemory` if the system refuses.
    pub fn unmap_physical(&self, address: u64, bytes: u64) -> Result<(), MemoryError> {
        if !self.is_mappable(address, bytes) {
            return Err(MemoryError::InvalidValue);
        }
        self.set_rights(address, bytes, Rights::None);
        let rights = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED;
        // A stale access reads zeros, as after any other release.
        // SAFETY: the caller mapped these chunks of this value's own reservation.
        unsafe { rustix::mm::mmap_anonymous(at(address), to_usize(bytes), rights, flags) }
            .map(drop)
            .map_err(|_| MemoryError::OutOfMemory)
    }

    /// What kernels of this device may do in a mapped range, which is set range by range.
    pub fn set_rights(&self, address: u64, bytes: u64, rights: Rights) {
        let mut allocator = self.allocator.lock();
        match rights {
            Rights::ReadWrite => allocator.parts.insert(address, bytes),
            _ => allocator.parts.remove(&address),
        };
        self.set_granules(address, bytes, rights.granule());
    }

    /// As [`Memory::set_rights`], for a range in the memory of another device.
    pub fn set_rights_elsewhere(&self, address: u64, bytes: u64, rights: Rights) {
        let mut elsewhere = self.elsewhere.write();
        match rights {
            Rights::None => elsewhere.mapped.remove(&address),
            _ => elsewhere.mapped.insert(address, (bytes, rights)),
        };
        drop(elsewhere);
        self.has_elsewhere.store(true, Ordering::Release);
        self.generation.fetch_add(1, Ordering::Relaxed);
    }

    fn is_mappable(&self, address: u64, bytes: u64) -> bool {
        let offset = address.wrapping_sub(self.base);
        let is_whole = (offset | bytes).is_multiple_of(CHUNK_BYTES) && bytes > 0;
        is_whole && offset < self.span && bytes <= self.span - offset
    }
}
