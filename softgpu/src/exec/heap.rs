// SPDX-License-Identifier: Apache-2.0
//! The heap of a context, from which `malloc` in kernels allocates
//! (`CU_LIMIT_MALLOC_HEAP_SIZE`).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::limits::{HEAP_BLOCK_OVERHEAD_BYTES, HEAP_GRANULE_BYTES};
use crate::memory::Memory;

/// What kernels of a context have allocated. It lives as long as the context does.
#[derive(Debug)]
pub struct Heap {
    limit_bytes: AtomicU64,
    allocated: Mutex<Allocated>,
}

#[derive(Debug, Default)]
struct Allocated {
    /// Bytes that count against the limit, by address.
    blocks: HashMap<u64, u64>,
    bytes: u64,
}

impl Heap {
    /// A heap of so many bytes.
    #[must_use]
    pub fn new(limit_bytes: u64) -> Self {
        Self {
            limit_bytes: AtomicU64::new(limit_bytes),
            allocated: Mutex::default(),
        }
    }

    /// Changes the size; what is allocated stays.
    pub fn set_limit(&self, limit_bytes: u64) {
        self.limit_bytes.store(limit_bytes, Ordering::Relaxed);
    }

    /// Address of new memory; nothing where the heap or the device has no room.
    pub(crate) fn allocate(&self, memory: &Memory, bytes: u64) -> Option<u64> {
        let counted = bytes
            .max(1)
            .checked_next_multiple_of(HEAP_GRANULE_BYTES)?
            .checked_add(HEAP_BLOCK_OVERHEAD_BYTES)?;
        let mut allocated = self.allocated.lock();
        let total = allocated.bytes.checked_add(counted)?;
        if total > self.limit_bytes.load(Ordering::Relaxed) {
            return None;
        }
        let address = memory.alloc(bytes.max(1)).ok()?;
        allocated.blocks.insert(address, counted);
        allocated.bytes = total;
        Some(address)
    }

    /// Gives memory back; false if it was not allocated here.
    pub(crate) fn free(&self, memory: &Memory, address: u64) -> bool {
        let mut allocated = self.allocated.lock();
        let Some(counted) = allocated.blocks.remove(&address) else {
            return false;
        };
        allocated.bytes -= counted;
        memory.free(address).is_ok()
    }

    /// Gives back all that kernels have not freed.
    pub fn clear(&self, memory: &Memory) {
        let allocated = std::mem::take(&mut *self.allocated.lock());
        for address in allocated.blocks.into_keys() {
            // The memory may have been reset as a whole.
            let _ = memory.free(address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heap_has_no_more_than_its_limit() {
        let memory = Memory::new(16 << 20).expect("address space");
        let heap = Heap::new(1 << 20);
        assert_eq!(heap.allocate(&memory, 1 << 20), None);
        let blocks: Vec<u64> = std::iter::from_fn(|| heap.allocate(&memory, 100 << 10)).collect();
        assert_eq!(blocks.len(), 10);
        assert!(heap.free(&memory, blocks[0]) && !heap.free(&memory, blocks[0]));
        assert!(heap.allocate(&memory, 100 << 10).is_some());
        assert_eq!(heap.allocate(&memory, u64::MAX), None);
        heap.set_limit(2 << 20);
        assert!(heap.allocate(&memory, 100 << 10).is_some());
        heap.clear(&memory);
        assert!(heap.allocate(&memory, 1 << 20).is_some());
    }
}
