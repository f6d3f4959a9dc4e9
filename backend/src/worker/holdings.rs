// SPDX-License-Identifier: Apache-2.0
//! How much device memory a session holds, told from what passes the executor.
//!
//! Counted is what the program asked for, on the device of the context in which it asked (of
//! [physical memory](Holdings::create), on the device that it named). Memory of another session
//! that is only imported is that session's.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::usage::Usage;
use crate::quota::Allowance;

/// What a session holds.
#[derive(Debug)]
pub(super) struct Holdings {
    usage: Arc<Usage>,
    /// What the session may hold, if that is limited.
    allowance: Option<Allowance>,
    /// Bytes that are reserved and not allocated yet.
    reserved: u64,
    /// Devices of memory pools, by number.
    pools: HashMap<u32, u32>,
    /// Bytes by device.
    totals: BTreeMap<u32, u64>,
    /// Memory that ends with its context, by address or handle.
    blocks: HashMap<Place, Block>,
    /// Memory without an address, by numbers of our own: a driver may use a handle again while
    /// memory that had it is still mapped.
    physical: HashMap<u64, Physical>,
    next_physical: u64,
    handles: HashMap<u64, u64>,
    /// Bytes and memory of what is mapped, by address.
    mappings: BTreeMap<u64, (u64, u64)>,
}

/// Where memory is: numbers of both kinds may be equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// An address.
    Address(u64),
    /// An array's handle.
    Array(u64),
}

/// Where memory belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    /// Ordinal.
    pub(super) device: u32,
    /// Number of the context.
    pub(super) context: u16,
}

#[derive(Clone, Copy, Debug)]
struct Block {
    owner: Owner,
    bytes: u64,
}

#[derive(Clone, Copy, Debug)]
struct Physical {
    device: u32,
    bytes: u64,
    /// Handles and mappings that keep it.
    uses: u32,
}

impl Holdings {
    pub(super) fn new(usage: Arc<Usage>, allowance: Option<Allowance>) -> Self {
        Self {
            usage,
            allowance,
            reserved: 0,
            pools: HashMap::new(),
            totals: BTreeMap::new(),
            blocks: HashMap::new(),
            physical: HashMap::new(),
            next_physical: 0,
            handles: HashMap::new(),
            mappings: BTreeMap::new(),
        }
    }

    /// What limits the session.
    pub(super) const fn allowance(&self) -> Option<&Allowance> {
        self.allowance.as_ref()
    }

    /// Memory is about to be allocated on a device; whether it may be. [`Self::settle`] follows.
    pub(super) fn reserve(&mut self, device: u32, bytes: u64) -> bool {
        let Some(allowance) = &self.allowance else {
            return true;
        };
        let may = allowance.reserve(device, bytes);
        self.reserved = if may { bytes } else { 0 };
        may
    }

    /// What was reserved is allocated, or will not be.
    pub(super) fn settle(&mut self, device: u32) {
        let rest = std::mem::take(&mut self.reserved);
        if let Some(allowance) = &self.allowance {
            allowance.release(device, rest);
        }
    }

    /// A memory pool is on a device.
    pub(super) fn pool(&mut self, pool: u32, device: u32) {
        self.pools.insert(pool, device);
    }

    /// Where a memory pool is, if that is known.
    pub(super) fn device_of_pool(&self, pool: u32) -> Option<u32> {
        self.pools.get(&pool).copied()
    }

    /// Memory is allocated.
    pub(super) fn allocate(&mut self, place: Place, owner: Owner, bytes: u64) {
        // What was there before has been freed behind our back, with what it belonged to.
        self.free(place);
        self.blocks.insert(place, Block { owner, bytes });
        self.add(owner.device, bytes);
    }

    /// Memory is freed.
    pub(super) fn free(&mut self, place: Place) {
        if let Some(block) = self.blocks.remove(&place) {
            self.subtract(block.owner.device, block.bytes);
        }
    }

    /// A context ends, and its memory with it.
    pub(super) fn end_context(&mut self, context: u16) {
        let ended: Vec<Place> = self
            .blocks
            .iter()
            .filter(|(_, block)| block.owner.context == context)
            .map(|(place, _)| *place)
            .collect();
        for place in ended {
            self.free(place);
        }
    }

    /// Memory without an address is made.
    pub(super) fn create(&mut self, handle: u64, device: u32, bytes: u64) {
        let number = self.next_physical;
        self.next_physical += 1;
        let physical = Physical {
            device,
            bytes,
            uses: 1,
        };
        self.physical.insert(number, physical);
        self.handles.insert(handle, number);
        self.add(device, bytes);
    }

    /// What is mapped at an address has a handle again.
    pub(super) fn retain(&mut self, handle: u64, address: u64) {
        let mapped = self.mappings.range(..=address).next_back();
        if let Some((start, (bytes, number))) = mapped
            && address - start < *bytes
            && !self.handles.contains_key(&handle)
        {
            let number = *number;
            self.handles.insert(handle, number);
            self.keep(number);
        }
    }

    /// The last reference to a handle ends.
    pub(super) fn release(&mut self, handle: u64) {
        if let Some(number) = self.handles.remove(&handle) {
            self.drop_use(number);
        }
    }

    /// Memory gets an address.
    pub(super) fn map(&mut self, address: u64, bytes: u64, handle: u64) {
        if let Some(number) = self.handles.get(&handle).copied() {
            self.mappings.insert(address, (bytes, number));
            self.keep(number);
        }
    }

    /// What is mapped there loses its address.
    pub(super) fn unmap(&mut self, address: u64, bytes: u64) {
        let end = address.saturating_add(bytes);
        let unmapped: Vec<u64> = self.mappings.range(address..end).map(|(a, _)| *a).collect();
        for address in unmapped {
            if let Some((_, number)) = self.mappings.remove(&address) {
                self.drop_use(number);
            }
        }
    }

    fn keep(&mut self, number: u64) {
        if let Some(physical) = self.physical.get_mut(&number) {
            physical.uses += 1;
        }
    }

    fn drop_use(&mut self, number: u64) {
        let Some(physical) = self.physical.get_mut(&number) else {
            return;
        };
        physical.uses -= 1;
        if physical.uses == 0 {
            let Physical { device, bytes, .. } = *physical;
            self.physical.remove(&number);
            self.subtract(device, bytes);
        }
    }

    fn add(&mut self, device: u32, bytes: u64) {
        let total = self.totals.entry(device).or_default();
        *total = total.saturating_add(bytes);
        if let Some(allowance) = &self.allowance {
            let reserved = self.reserved.min(bytes);
            self.reserved -= reserved;
            allowance.charge(device, bytes - reserved);
        }
        self.usage.memory(device, *total);
    }

    fn subtract(&mut self, device: u32, bytes: u64) {
        let total = self.totals.entry(device).or_default();
        *total = total.saturating_sub(bytes);
        if let Some(allowance) = &self.allowance {
            allowance.release(device, bytes);
        }
        self.usage.memory(device, *total);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new() -> (Arc<Usage>, Holdings) {
        let usage = Arc::<Usage>::default();
        (Arc::clone(&usage), Holdings::new(usage, None))
    }

    fn now_and_peak(usage: &Usage, device: u32) -> (u64, u64) {
        let counters = usage.counters();
        let found = counters.memory.iter().find(|m| m.device == device);
        found.map_or((0, 0), |m| (m.bytes, m.peak_bytes))
    }

    fn owner(device: u32, context: u16) -> Owner {
        Owner { device, context }
    }

    #[test]
    fn blocks_count_until_they_or_their_context_end() {
        let (usage, mut holdings) = new();
        holdings.allocate(Place::Address(1000), owner(0, 1), 100);
        holdings.allocate(Place::Array(1000), owner(0, 2), 50);
        holdings.allocate(Place::Address(2000), owner(3, 3), 7);
        assert_eq!(now_and_peak(&usage, 0), (150, 150));
        assert_eq!(now_and_peak(&usage, 3), (7, 7));
        holdings.free(Place::Address(1000));
        holdings.free(Place::Address(1000));
        holdings.free(Place::Address(4));
        assert_eq!(now_and_peak(&usage, 0), (50, 150));
        holdings.end_context(2);
        assert_eq!(now_and_peak(&usage, 0), (0, 150));
        assert_eq!(now_and_peak(&usage, 3), (7, 7));
        holdings.allocate(Place::Address(2000), owner(3, 3), 9);
        assert_eq!(now_and_peak(&usage, 3), (9, 9));
    }

    #[test]
    fn physical_memory_counts_while_it_has_a_handle_or_an_address() {
        let (usage, mut holdings) = new();
        holdings.create(5, 1, 4096);
        holdings.map(0x1000, 4096, 5);
        holdings.release(5);
        assert_eq!(now_and_peak(&usage, 1), (4096, 4096));
        // The driver uses the number of the handle again.
        holdings.create(5, 1, 8192);
        holdings.retain(6, 0x1800);
        holdings.unmap(0x1000, 4096);
        assert_eq!(now_and_peak(&usage, 1), (12_288, 12_288));
        holdings.release(6);
        assert_eq!(now_and_peak(&usage, 1), (8192, 12_288));
        holdings.release(5);
        holdings.release(5);
        assert_eq!(now_and_peak(&usage, 1), (0, 12_288));
    }
}
