// SPDX-License-Identifier: Apache-2.0
//! The memory of a running block, as the lane loops see it.

use std::cell::OnceCell;
use std::rc::Rc;

use super::cluster::{Cluster, SharedWindow};
use super::fault::Access;
use super::group::Mask;
use crate::ir::Space;
use crate::limits::CLUSTER_SHARED_STRIDE;
use crate::memory::Memory;

/// What a lane loop knows about a fault; the interpreter adds the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RawFault {
    pub(crate) kind: RawFaultKind,
    /// Lane of the block.
    pub(crate) lane: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RawFaultKind {
    Illegal {
        address: u64,
        bytes: u32,
        access: Access,
        space: Space,
    },
    Misaligned {
        address: u64,
        bytes: u32,
        access: Access,
    },
    WrongSpace {
        address: u64,
        access: Access,
    },
}

impl RawFault {
    pub(crate) fn illegal(
        address: u64,
        bytes: u32,
        access: Access,
        space: Space,
        lane: u32,
    ) -> Self {
        Self {
            kind: RawFaultKind::Illegal {
                address,
                bytes,
                access,
                space,
            },
            lane,
        }
    }

    pub(crate) fn misaligned(address: u64, bytes: u32, access: Access, lane: u32) -> Self {
        Self {
            kind: RawFaultKind::Misaligned {
                address,
                bytes,
                access,
            },
            lane,
        }
    }

    pub(crate) fn wrong_space(address: u64, access: Access, lane: u32) -> Self {
        Self {
            kind: RawFaultKind::WrongSpace { address, access },
            lane,
        }
    }
}

/// What happened since the last backward branch; tells waiting from working.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    /// Memory was read.
    pub(crate) loaded: bool,
    /// Memory was polled: a volatile or ordered load, or an atomic that changed nothing, or a
    /// sleep.
    pub(crate) polled: bool,
    /// Shared or global memory was changed.
    pub(crate) stored: bool,
}

/// Bounds of allocations, one slot an access instruction: an instruction mostly stays in one
/// allocation.
#[derive(Debug, Default)]
pub(crate) struct RangeCache {
    ranges: Vec<Range>,
    /// [`Memory::generation`] that the bounds belong to.
    generation: u64,
    owner: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Range {
    start: u64,
    end: u64,
    misses: u32,
}

impl RangeCache {
    /// Misses after which bounds are looked up only now and then.
    const PATIENCE: u32 = 16;

    /// Forgets everything unless it still holds; makes room for `slots`.
    #[inline(always)]
    pub(crate) fn refresh(&mut self, memory: &Memory, slots: usize) {
        let (generation, owner) = (memory.generation(), std::ptr::from_ref(memory).addr());
        if generation != self.generation || owner != self.owner {
            self.ranges.clear();
            (self.generation, self.owner) = (generation, owner);
        }
        if self.ranges.len() < slots {
            self.ranges.resize(slots, Range::default());
        }
    }

    /// The bounds that a slot holds.
    #[inline(always)]
    pub(crate) fn get(&self, slot: usize) -> (u64, u64) {
        self.ranges
            .get(slot)
            .map_or((0, 0), |range| (range.start, range.end))
    }

    /// Looks up the allocation around `address` for a slot.
    #[cold]
    #[inline(never)]
    pub(crate) fn miss(&mut self, slot: usize, memory: &Memory, address: u64) {
        if let Some(range) = self.ranges.get_mut(slot) {
            range.misses += 1;
            if (range.misses < Self::PATIENCE || range.misses.is_multiple_of(64))
                && let Some((start, end)) = memory.whole_range_of(address)
            {
                (range.start, range.end) = (start, end);
            }
        }
    }
}

/// The memory of a running block.
pub(crate) struct BlockState {
    pub(crate) memory: *const Memory,
    /// Shared memory, static and dynamic.
    pub(crate) shared: *mut u8,
    pub(crate) shared_bytes: u32,
    /// Local memory: word w of lane l at `(w * lanes + l) * 4`.
    pub(crate) local: *mut u8,
    /// Bytes of local memory of each lane.
    pub(crate) local_bytes: u32,
    /// The kernel's parameter block.
    pub(crate) parameters: *const u8,
    pub(crate) parameter_bytes: u32,
    pub(crate) fault: Option<RawFault>,
    pub(crate) progress: Progress,
    /// The allocation each access instruction touched last.
    pub(crate) ranges: RangeCache,
    /// Slots of the range cache.
    pub(crate) accesses: usize,
    /// The cluster and the block's rank in it. A block of a launch without clusters is one of its
    /// own, made when it is first asked for.
    pub(crate) cluster: OnceCell<Rc<Cluster>>,
    pub(crate) cluster_rank: u32,
    /// Special registers.
    pub(crate) special: super::special::SpecialValues,
}

impl BlockState {
    #[inline(always)]
    pub(crate) fn memory(&self) -> &Memory {
        // SAFETY: the launch keeps the memory alive while blocks run.
        unsafe { &*self.memory }
    }

    /// Makes the range cache usable for the coming instruction.
    #[inline(always)]
    pub(crate) fn refresh_ranges(&mut self) {
        // SAFETY: as in `memory`.
        self.ranges.refresh(unsafe { &*self.memory }, self.accesses);
    }

    /// The cluster.
    pub(crate) fn cluster(&self) -> &Rc<Cluster> {
        self.cluster.get_or_init(|| {
            let (index, grid) = (self.special.block_index, self.special.grid_dimension);
            let cluster = Cluster::new([1; 3], index, grid, &Mask::default());
            cluster.lend(0, Some(self.own_window()));
            Rc::new(cluster)
        })
    }

    /// The block's own shared memory.
    pub(crate) fn own_window(&self) -> SharedWindow {
        SharedWindow {
            base: self.shared,
            bytes: self.shared_bytes,
        }
    }

    /// The memory behind a shared address, and the offset in it; an illegal address is past the end
    /// of the own memory.
    pub(crate) fn shared_window(&self, address: u64) -> (SharedWindow, u64) {
        match self.cluster().window(address) {
            Some(found) if address >= CLUSTER_SHARED_STRIDE => found,
            _ => (self.own_window(), address),
        }
    }

    #[inline(always)]
    pub(crate) fn note_load(&mut self, is_polling: bool) {
        self.progress.loaded = true;
        self.progress.polled |= is_polling;
    }

    #[inline(always)]
    pub(crate) fn note_store(&mut self) {
        self.progress.stored = true;
    }

    /// The host address of `bytes` bytes of one lane's access in global or shared memory (generic
    /// addresses resolved), or a recorded fault.
    pub(crate) fn resolve(
        &mut self,
        space: Space,
        address: u64,
        bytes: u32,
        access: Access,
        lane: u32,
    ) -> Option<*mut u8> {
        let (space, offset) = match space {
            Space::Generic => {
                let (space, base) = super::access::classify(address);
                (space, address - base)
            }
            Space::Const => (Space::Global, address),
            other => (other, address),
        };
        if !address.is_multiple_of(u64::from(bytes)) {
            self.fault = Some(RawFault::misaligned(address, bytes, access, lane));
            return None;
        }
        let place = match space {
            Space::Shared => self.shared_place(offset, bytes.into()),
            Space::Global => match access {
                Access::Read => self.memory().is_accessible(offset, u64::from(bytes)),
                _ => self.memory().is_writable(offset, u64::from(bytes)),
            }
            .then(|| std::ptr::with_exposed_provenance_mut(offset as usize)),
            _ => {
                self.fault = Some(RawFault::wrong_space(address, access, lane));
                return None;
            }
        };
        if place.is_none() {
            self.fault = Some(RawFault::illegal(address, bytes, access, space, lane));
        }
        place
    }

    /// The host address of bytes in the shared memory of the cluster.
    pub(crate) fn shared_place(&self, address: u64, bytes: u64) -> Option<*mut u8> {
        let (window, offset) = if address < CLUSTER_SHARED_STRIDE {
            (self.own_window(), address)
        } else {
            self.shared_window(address)
        };
        let room = u64::from(window.bytes).checked_sub(bytes)?;
        // SAFETY: the offset is inside the block's shared memory.
        (offset <= room).then(|| unsafe { window.base.add(offset as usize) })
    }

    /// Reads bytes of one lane's local memory; false if out of bounds.
    pub(crate) fn read_local(&self, lanes: usize, lane: usize, offset: u64, to: &mut [u8]) -> bool {
        let length = to.len() as u64;
        if offset > u64::from(self.local_bytes) || length > u64::from(self.local_bytes) - offset {
            return false;
        }
        for (index, byte) in to.iter_mut().enumerate() {
            let at = offset as usize + index;
            // SAFETY: below `local_bytes` for this lane.
            *byte = unsafe { *self.local.add((at / 4 * lanes + lane) * 4 + at % 4) };
        }
        true
    }

    /// Writes bytes of one lane's local memory; false if out of bounds.
    pub(crate) fn write_local(
        &mut self,
        lanes: usize,
        lane: usize,
        offset: u64,
        from: &[u8],
    ) -> bool {
        let length = from.len() as u64;
        if offset > u64::from(self.local_bytes) || length > u64::from(self.local_bytes) - offset {
            return false;
        }
        for (index, byte) in from.iter().enumerate() {
            let at = offset as usize + index;
            // SAFETY: below `local_bytes` for this lane.
            unsafe { *self.local.add((at / 4 * lanes + lane) * 4 + at % 4) = *byte };
        }
        true
    }

    /// Reads bytes through a generic address for one lane; false if not accessible.
    pub(crate) fn read_generic(
        &self,
        lanes: usize,
        lane: usize,
        address: u64,
        to: &mut [u8],
    ) -> bool {
        let (space, base) = super::access::classify(address);
        let offset = address - base;
        let length = to.len() as u64;
        let copy = |from: *const u8, to: &mut [u8]| {
            // SAFETY: the callers below checked the range.
            unsafe { std::ptr::copy(from, to.as_mut_ptr(), to.len()) };
            true
        };
        let fits = |limit: u32| offset <= u64::from(limit) && length <= u64::from(limit) - offset;
        match space {
            Space::Local => self.read_local(lanes, lane, offset, to),
            Space::Shared => match self.shared_place(offset, length) {
                Some(place) => copy(place, to),
                None => false,
            },
            Space::Param if fits(self.parameter_bytes) => {
                // SAFETY: the pointer stays inside the parameter block.
                copy(unsafe { self.parameters.add(offset as usize) }, to)
            }
            Space::Global if length == 0 || self.memory().is_accessible(offset, length) => {
                copy(std::ptr::with_exposed_provenance(offset as usize), to)
            }
            _ => false,
        }
    }

    /// Writes bytes through a generic address for one lane; false if not accessible.
    pub(crate) fn write_generic(
        &mut self,
        lanes: usize,
        lane: usize,
        address: u64,
        from: &[u8],
    ) -> bool {
        let (space, base) = super::access::classify(address);
        let offset = address - base;
        let length = from.len() as u64;
        let limit = u64::from(self.shared_bytes);
        match space {
            Space::Local => self.write_local(lanes, lane, offset, from),
            Space::Shared if offset <= limit && length <= limit - offset => {
                // SAFETY: the pointer stays inside the block's shared memory, which `from` is no
                // part of.
                unsafe {
                    let to = self.shared.add(offset as usize);
                    std::ptr::copy_nonoverlapping(from.as_ptr(), to, from.len());
                }
                true
            }
            Space::Global => self.memory().write(address, from).is_ok(),
            _ => false,
        }
    }
}
