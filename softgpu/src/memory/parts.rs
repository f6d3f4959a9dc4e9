// SPDX-License-Identifier: Apache-2.0
//! Allocations of which only parts are accessible: what memory pools are cut from.

use std::sync::atomic::Ordering;

use super::{CHUNK_BYTES, GRANULE, Memory, MemoryError, to_usize};

impl Memory {
    /// Allocates at a multiple of 2 MiB, a multiple of 2 MiB, nothing of it accessible yet.
    ///
    /// # Errors
    ///
    /// As [`Memory::alloc`].
    pub fn alloc_hidden(&self, bytes: u64) -> Result<u64, MemoryError> {
        let bytes = bytes
            .checked_next_multiple_of(CHUNK_BYTES)
            .ok_or(MemoryError::OutOfMemory)?;
        let base = self.alloc_aligned(bytes, CHUNK_BYTES)?;
        let mut allocator = self.allocator.lock();
        if let Some(allocation) = allocator.allocations.get_mut(&base) {
            allocation.is_whole = false;
        }
        drop(allocator);
        self.set_granules(base, bytes, 0);
        Ok(base)
    }

    /// Frees what [`Memory::alloc_hidden`] allocated.
    ///
    /// # Errors
    ///
    /// `InvalidValue` if it is no allocation.
    pub fn free_hidden(&self, base: u64) -> Result<(), MemoryError> {
        let mut allocator = self.allocator.lock();
        let bytes = allocator
            .allocations
            .get(&base)
            .ok_or(MemoryError::InvalidValue)?
            .reserved;
        allocator
            .parts
            .retain(|start, _| !(base..base + bytes).contains(start));
        // What is freed is counted by its granules.
        self.set_granules(base, bytes, 1);
        drop(allocator);
        self.free(base)
    }

    /// Makes a part of a hidden allocation accessible; both numbers are multiples of 512.
    pub fn show(&self, address: u64, bytes: u64) {
        let mut allocator = self.allocator.lock();
        allocator.parts.insert(address, bytes);
        self.set_granules(address, bytes, 1);
    }

    /// Ends [`Memory::show`] of the same part.
    pub fn hide(&self, address: u64, bytes: u64) {
        let mut allocator = self.allocator.lock();
        allocator.parts.remove(&address);
        self.set_granules(address, bytes, 0);
        self.end_export_of_part(&mut allocator, address);
    }

    pub(super) fn set_granules(&self, address: u64, bytes: u64, value: u8) {
        let offset = address - self.base;
        let granules = to_usize(offset / GRANULE)..to_usize((offset + bytes) / GRANULE);
        for granule in &self.granules()[granules] {
            granule.store(value, Ordering::Relaxed);
        }
        self.generation.fetch_add(1, Ordering::Relaxed);
    }
}
