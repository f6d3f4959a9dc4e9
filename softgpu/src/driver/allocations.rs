// SPDX-License-Identifier: Apache-2.0
//! Every range of memory that the driver knows: device memory, and pinned host memory.
//!
//! Both lie in one address space (CUDA's unified addressing), so one table by address says what a
//! pointer is.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use gvirtus_abi::{CUcontext, CUresult};
use parking_lot::RwLock;

use super::context::Context;
use super::device;
use crate::memory::Rights;

/// What kind of memory it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `cuMemAlloc` and its like.
    Device,
    /// From a memory pool.
    Pooled,
    /// `cuMemAllocManaged`.
    Managed,
    /// A variable of a module.
    Variable { is_managed: bool },
    /// `cuMemHostAlloc` and its like; so many bytes are mapped.
    HostAllocated { mapped_bytes: usize },
    /// The application's own, registered.
    HostRegistered,
    /// `cuMemMap`; the most that any device may do.
    Virtual(Rights),
    /// `cuIpcOpenMemHandle`.
    Imported,
    /// `cuMemPoolImportPointer`.
    PoolImported,
}

impl Kind {
    pub(super) fn is_host(self) -> bool {
        matches!(self, Self::HostAllocated { .. } | Self::HostRegistered)
    }

    pub(super) fn is_managed(self) -> bool {
        matches!(self, Self::Managed | Self::Variable { is_managed: true })
    }

    /// Whether `cuMemAlloc` or one of its kin made it.
    pub(super) fn is_allocated(self) -> bool {
        matches!(
            self,
            Self::Device | Self::Pooled | Self::Managed | Self::PoolImported
        )
    }
}

/// A known range.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allocation {
    pub(super) base: u64,
    /// As asked for.
    pub(super) bytes: u64,
    pub(super) kind: Kind,
    /// Flags of host memory, 0 for device memory.
    pub(super) flags: u32,
    pub(super) context: CUcontext,
    pub(super) context_id: u64,
    pub(super) device_ordinal: i32,
    /// Never used twice in a process.
    pub(super) buffer_id: u64,
    /// Synchronous operations on it always synchronize.
    pub(super) sync_memops: bool,
}

impl Allocation {
    pub(super) fn new(context: &Context, kind: Kind, base: u64, bytes: u64, flags: u32) -> Self {
        Self {
            base,
            bytes,
            kind,
            flags,
            context: context.handle,
            context_id: context.id,
            device_ordinal: context.device.ordinal,
            buffer_id: next_buffer_id(),
            sync_memops: false,
        }
    }

    /// Of a device, not of one context.
    pub(super) fn of_device(
        context: CUcontext,
        device_ordinal: i32,
        kind: Kind,
        base: u64,
        bytes: u64,
    ) -> Self {
        Self {
            base,
            bytes,
            kind,
            flags: 0,
            context,
            context_id: 0,
            device_ordinal,
            buffer_id: next_buffer_id(),
            sync_memops: false,
        }
    }

    /// Whether so many bytes at `address`, which lies inside, do so too.
    pub(super) fn holds(&self, address: u64, bytes: u64) -> bool {
        let offset = address - self.base;
        offset <= self.bytes && bytes <= self.bytes - offset
    }
}

fn next_buffer_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

static ALLOCATIONS: RwLock<BTreeMap<u64, Allocation>> = RwLock::new(BTreeMap::new());

pub(super) fn insert(allocation: Allocation) {
    ALLOCATIONS.write().insert(allocation.base, allocation);
}

/// The range that an address lies in.
pub(super) fn find(address: u64) -> Option<Allocation> {
    let allocations = ALLOCATIONS.read();
    let (_, allocation) = allocations.range(..=address).next_back()?;
    (address - allocation.base < allocation.bytes).then_some(*allocation)
}

/// Whether any known range overlaps this one.
pub(super) fn overlaps(address: u64, bytes: u64) -> bool {
    let allocations = ALLOCATIONS.read();
    let end = address.saturating_add(bytes);
    let last_before_end = allocations.range(..end).next_back();
    last_before_end.is_some_and(|(base, allocation)| base + allocation.bytes > address)
}

/// Takes the range that starts exactly there out of the table, if it is of an accepted kind.
pub(super) fn remove(base: u64, is_accepted: impl Fn(Kind) -> bool) -> Option<Allocation> {
    let mut allocations = ALLOCATIONS.write();
    if !is_accepted(allocations.get(&base)?.kind) {
        return None;
    }
    allocations.remove(&base)
}

/// Takes all ranges of a context of an accepted kind out of the table.
pub(super) fn remove_context(
    context: &Context,
    is_accepted: impl Fn(Kind) -> bool,
) -> Vec<Allocation> {
    let mut allocations = ALLOCATIONS.write();
    let mut removed = Vec::new();
    allocations.retain(|_, allocation| {
        let is_removed = allocation.context_id == context.id && is_accepted(allocation.kind);
        if is_removed {
            removed.push(*allocation);
        }
        !is_removed
    });
    removed
}

pub(super) fn set_rights(base: u64, rights: Rights) {
    if let Some(allocation) = ALLOCATIONS.write().get_mut(&base) {
        allocation.kind = Kind::Virtual(rights);
    }
}

/// Whether mappings with these rights fill a range, one after the other.
fn is_mapped(mut address: u64, mut bytes: u64, rights: Rights) -> bool {
    loop {
        let Some(mapping) = find(address) else {
            return false;
        };
        if !matches!(mapping.kind, Kind::Virtual(has) if has >= rights) {
            return false;
        }
        let rest = mapping.bytes - (address - mapping.base);
        if bytes <= rest {
            return true;
        }
        (address, bytes) = (address + rest, bytes - rest);
    }
}

pub(super) fn set_sync_memops(base: u64, value: bool) {
    if let Some(allocation) = ALLOCATIONS.write().get_mut(&base) {
        allocation.sync_memops = value;
    }
}

/// Whether a range lies in host memory, and if not, that it lies in one device allocation.
///
/// # Errors
///
/// `CUDA_ERROR_INVALID_VALUE` for a null pointer, and for a range that leaves its allocation or
/// lies in device memory that is not allocated.
pub(super) fn place(address: u64, bytes: u64) -> Result<Place, CUresult> {
    place_with(address, bytes, Rights::Read)
}

/// As [`place`], of a range that is written.
pub(super) fn writable_place(address: u64, bytes: u64) -> Result<Place, CUresult> {
    place_with(address, bytes, Rights::ReadWrite)
}

fn place_with(address: u64, bytes: u64, rights: Rights) -> Result<Place, CUresult> {
    match find(address) {
        Some(mapping) if matches!(mapping.kind, Kind::Virtual(_)) => {
            let sync_memops = mapping.sync_memops;
            match is_mapped(address, bytes, rights) {
                true => Ok(Place::Device { sync_memops }),
                false => Err(CUresult::CUDA_ERROR_INVALID_VALUE),
            }
        }
        Some(allocation) if allocation.holds(address, bytes) => {
            Ok(match allocation.kind.is_host() {
                true => Place::Pinned,
                false => Place::Device {
                    sync_memops: allocation.sync_memops,
                },
            })
        }
        // What begins in pinned memory and goes on behind it is still host memory.
        Some(allocation) if allocation.kind.is_host() => Ok(Place::Pageable),
        Some(_) => Err(CUresult::CUDA_ERROR_INVALID_VALUE),
        None if address == 0 || device::device_of(address).is_some() => {
            Err(CUresult::CUDA_ERROR_INVALID_VALUE)
        }
        None => Ok(Place::Pageable),
    }
}

/// What a pointer points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Device memory.
    Device {
        /// See [`Allocation::sync_memops`].
        sync_memops: bool,
    },
    /// Host memory that does not move.
    Pinned,
    /// Any other memory of the application.
    Pageable,
}

impl Place {
    pub(super) fn is_device(self) -> bool {
        matches!(self, Self::Device { .. })
    }
}
