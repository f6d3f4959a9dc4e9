// SPDX-License-Identifier: Apache-2.0
//! Device memory: one reserved address range, allocations in it, and the check that every access of
//! a kernel goes through.
//!
//! The range is reserved without access rights at a fixed place ([`crate::limits::ARENA_BASE`] for
//! the first device), so device pointers look alike from run to run and never collide with host
//! pointers. A device address *is* the host address of its bytes. Memory is committed when it is
//! first allocated and given back to the operating system when freed; it stays mapped, so that a
//! stale access that slips through a race can read zeros but never crash the process.
//!
//! A byte per granule ([`ALLOCATION_GRANULE_BYTES`](GRANULE)) says whether it is allocated, and
//! whether it may only be read. An access is legal when all its granules allow it, or when it lies
//! in registered host memory, in a peer's memory, or in what is mapped there for this device.

mod exports;
mod parts;
mod physical;
mod shared;
mod token;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::c_void;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::{Mutex, RwLock};
use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags};

pub use self::exports::Imported;
pub use self::physical::{Physical, Rights};
pub use self::shared::{share, unshare};
pub use self::token::{Purpose, Secret, SharedFile, Token, new_secret};
use crate::limits::{
    ALLOCATION_GRANULE_BYTES as GRANULE, ARENA_BASE, ARENA_SLOTS, ARENA_STRIDE_BYTES,
    DEFAULT_MEMORY_BYTES_MAX,
};

const PAGE_BYTES: u64 = 4096;
/// A granule that kernels may read and write.
const WRITABLE: u8 = 1;
/// A granule that kernels may read.
const READ_ONLY: u8 = 2;
/// Memory is committed in pieces of this size, which is also the alignment of large allocations, so
/// that the kernel can use huge pages.
const CHUNK_BYTES: u64 = 2 << 20;
/// Allocations of at least this size start on a chunk.
const LARGE_BYTES: u64 = 1 << 20;
/// Address space reserved per byte of device memory: room against fragmentation.
const SPAN_PER_BYTE: u64 = 2;

/// Why a memory operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemoryError {
    /// No place left, or the operating system refuses (`CUDA_ERROR_OUT_OF_MEMORY`).
    #[error("out of device memory")]
    OutOfMemory,
    /// Zero bytes asked for, or an address that is no allocation (`CUDA_ERROR_INVALID_VALUE`).
    #[error("not an allocation")]
    InvalidValue,
    /// Bytes that are not allocated (`CUDA_ERROR_INVALID_VALUE` in host-side copies).
    #[error("{len} bytes at {address:#x} are not allocated")]
    NotAllocated {
        /// Start.
        address: u64,
        /// Bytes.
        len: u64,
    },
}

/// The memory of one device.
pub struct Memory {
    base: u64,
    span: u64,
    granules: NonNull<AtomicU8>,
    total: u64,
    allocator: Mutex<Allocator>,
    /// Held to write to the memory from the host, and exclusively while pages are moved.
    moving: RwLock<()>,
    has_elsewhere: AtomicBool,
    elsewhere: RwLock<Elsewhere>,
    generation: AtomicU64,
    /// Where the bytes in use are told.
    meter: OnceLock<&'static AtomicU64>,
}

// SAFETY: `granules` points to atomics that live as long as the value; the rest is Sync by itself.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

#[derive(Default)]
struct Elsewhere {
    registered: BTreeMap<u64, u64>,
    /// What is mapped in the memories of other devices for this one to use: bytes and rights.
    mapped: BTreeMap<u64, (u64, Rights)>,
    peers: Vec<Weak<Memory>>,
}

impl Elsewhere {
    /// Whether mappings allow the access, one after the other.
    fn holds_mapped(&self, mut address: u64, mut len: u64, writes: bool) -> bool {
        loop {
            let Some((base, (bytes, rights))) = self.mapped.range(..=address).next_back() else {
                return false;
            };
            let offset = address - base;
            if offset >= *bytes || (writes && *rights != Rights::ReadWrite) {
                return false;
            }
            let rest = bytes - offset;
            if len <= rest {
                return true;
            }
            (address, len) = (address + rest, len - rest);
        }
    }
}

impl Memory {
    /// Reserves the address range of a device with `total` bytes of memory.
    pub fn new(total: u64) -> Result<Self, MemoryError> {
        let total = total.next_multiple_of(CHUNK_BYTES).max(CHUNK_BYTES);
        let span = total
            .checked_mul(SPAN_PER_BYTE)
            .ok_or(MemoryError::OutOfMemory)?;
        if span > ARENA_STRIDE_BYTES {
            return Err(MemoryError::OutOfMemory);
        }
        let base = reserve(span)?;
        let granules = map_table(span / GRANULE).inspect_err(|_| {
            // SAFETY: `reserve` just mapped exactly this range and nobody knows of it.
            let _ = unsafe { rustix::mm::munmap(at(base), to_usize(span)) };
        })?;
        Ok(Self {
            base,
            span,
            granules,
            total,
            allocator: Mutex::new(Allocator::new(base, span)),
            moving: RwLock::new(()),
            has_elsewhere: AtomicBool::new(false),
            elsewhere: RwLock::default(),
            generation: AtomicU64::new(0),
            meter: OnceLock::new(),
        })
    }

    /// Half of the machine's memory, at most [`DEFAULT_MEMORY_BYTES_MAX`].
    #[must_use]
    pub fn default_bytes() -> u64 {
        // SAFETY: sysconf has no preconditions.
        let (pages, page) = unsafe {
            (
                libc::sysconf(libc::_SC_PHYS_PAGES),
                libc::sysconf(libc::_SC_PAGESIZE),
            )
        };
        let physical = u64::try_from(pages).unwrap_or(0) * u64::try_from(page).unwrap_or(0);
        (physical / 2).clamp(256 << 20, DEFAULT_MEMORY_BYTES_MAX) / CHUNK_BYTES * CHUNK_BYTES
    }

    /// Allocates; the address is a multiple of 512 (large ones: of 2 MiB). Contents are undefined.
    pub fn alloc(&self, bytes: u64) -> Result<u64, MemoryError> {
        self.alloc_aligned(bytes, GRANULE)
    }

    /// Allocates at a multiple of `alignment`, a power of two.
    pub fn alloc_aligned(&self, bytes: u64, alignment: u64) -> Result<u64, MemoryError> {
        let mut allocator = self.allocator.lock();
        let address = self.reserve_locked(&mut allocator, bytes, alignment)?;
        let length = allocator.allocations[&address].reserved;
        if let Err(error) = self.map_locked(&mut allocator, address, length) {
            allocator.release(address);
            return Err(error);
        }
        if let Some(allocation) = allocator.allocations.get_mut(&address) {
            allocation.is_whole = true;
        }
        Ok(address)
    }

    /// As [`Memory::alloc_aligned`], of pages that hold nothing else.
    pub fn alloc_pages(&self, bytes: u64, alignment: u64) -> Result<u64, MemoryError> {
        let pages = bytes.checked_next_multiple_of(PAGE_BYTES);
        let pages = pages.ok_or(MemoryError::OutOfMemory)?;
        self.alloc_aligned(pages, alignment.max(PAGE_BYTES))
    }

    /// Frees an allocation (or a reservation with all that is mapped in it).
    pub fn free(&self, address: u64) -> Result<(), MemoryError> {
        let mut allocator = self.allocator.lock();
        let length = allocator
            .allocations
            .get(&address)
            .ok_or(MemoryError::InvalidValue)?
            .reserved;
        self.unmap_locked(&mut allocator, address, length);
        allocator.release(address);
        Ok(())
    }

    /// Reserves addresses without memory behind them; see [`Memory::map`].
    pub fn reserve(&self, bytes: u64, alignment: u64) -> Result<u64, MemoryError> {
        let mut allocator = self.allocator.lock();
        self.reserve_locked(&mut allocator, bytes, alignment)
    }

    /// Puts memory behind part of a reservation. Both numbers are multiples of 512.
    pub fn map(&self, address: u64, bytes: u64) -> Result<(), MemoryError> {
        let mut allocator = self.allocator.lock();
        allocator.inside(address, bytes)?;
        self.map_locked(&mut allocator, address, bytes)
    }

    /// Takes the memory behind part of a reservation away.
    pub fn unmap(&self, address: u64, bytes: u64) -> Result<(), MemoryError> {
        let mut allocator = self.allocator.lock();
        let base = allocator.inside(address, bytes)?;
        self.unmap_locked(&mut allocator, address, bytes);
        if let Some(allocation) = allocator.allocations.get_mut(&base) {
            allocation.is_whole = false;
        }
        Ok(())
    }

    /// The bounds of the allocation around `address`, if kernels may touch all of it. Good until
    /// [`Memory::generation`] changes.
    #[must_use]
    pub fn whole_range_of(&self, address: u64) -> Option<(u64, u64)> {
        let allocator = self.allocator.lock();
        let (&base, allocation) = allocator.allocations.range(..=address).next_back()?;
        if address - base >= allocation.reserved {
            return None;
        }
        if allocation.is_whole {
            return Some((base, base + allocation.reserved));
        }
        let (&start, &bytes) = allocator.parts.range(..=address).next_back()?;
        (address - start < bytes).then_some((start, start + bytes))
    }

    /// The allocation that contains `address`: its base and the length asked for (the registered
    /// range, for registered host memory).
    #[must_use]
    pub fn range_of(&self, address: u64) -> Option<(u64, u64)> {
        if self.contains(address) {
            let allocator = self.allocator.lock();
            let (&base, allocation) = allocator.allocations.range(..=address).next_back()?;
            return (address - base < allocation.reserved).then_some((base, allocation.requested));
        }
        let elsewhere = self.elsewhere.read();
        let (&base, &length) = elsewhere.registered.range(..=address).next_back()?;
        (address - base < length).then_some((base, length))
    }

    /// Free and total bytes.
    #[must_use]
    pub fn info(&self) -> (u64, u64) {
        (
            self.total - self.allocator.lock().mapped.min(self.total),
            self.total,
        )
    }

    /// Whether the address lies in this device's range, allocated or not.
    #[must_use]
    pub fn contains(&self, address: u64) -> bool {
        address.wrapping_sub(self.base) < self.span
    }

    /// Start of the range.
    #[must_use]
    pub fn base(&self) -> u64 {
        self.base
    }

    /// Length of the range.
    #[must_use]
    pub fn span(&self) -> u64 {
        self.span
    }

    /// Lets kernels use host memory at its own address.
    ///
    /// # Safety
    /// The range is mapped readable and writable, and stays so until [`Memory::unregister`].
    pub unsafe fn register(&self, address: u64, bytes: u64) {
        self.elsewhere.write().registered.insert(address, bytes);
        self.has_elsewhere.store(true, Ordering::Release);
    }

    /// Ends [`Memory::register`]; false if nothing is registered there.
    pub fn unregister(&self, address: u64) -> bool {
        self.elsewhere.write().registered.remove(&address).is_some()
    }

    /// Lets kernels of this device use a peer's memory.
    pub fn enable_peer(&self, peer: &Arc<Self>) {
        self.elsewhere.write().peers.push(Arc::downgrade(peer));
        self.has_elsewhere.store(true, Ordering::Release);
    }

    /// Ends one [`Memory::enable_peer`].
    pub fn disable_peer(&self, peer: &Arc<Self>) {
        let peers = &mut self.elsewhere.write().peers;
        let is_same = |one: &Weak<Self>| ptr::eq(one.as_ptr(), Arc::as_ptr(peer));
        if let Some(index) = peers.iter().position(is_same) {
            peers.swap_remove(index);
            self.generation.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether a kernel may read `len` bytes (at least 1) at `address`.
    #[inline]
    #[must_use]
    pub fn is_accessible(&self, address: u64, len: u64) -> bool {
        self.allows::<false>(address, len)
    }

    /// Whether a kernel may write `len` bytes (at least 1) at `address`.
    #[inline]
    #[must_use]
    pub fn is_writable(&self, address: u64, len: u64) -> bool {
        self.allows::<true>(address, len)
    }

    /// Whether a kernel may read, or write too.
    #[inline]
    #[must_use]
    pub fn allows<const WRITE: bool>(&self, address: u64, len: u64) -> bool {
        let offset = address.wrapping_sub(self.base);
        if offset < self.span && len <= self.span - offset {
            let (first, last) = (offset / GRANULE, (offset + len - 1) / GRANULE);
            let is_legal = |granule: u8| match WRITE {
                true => granule == WRITABLE,
                false => granule != 0,
            };
            // SAFETY: both indices are below `span / GRANULE`, the length of the table.
            unsafe {
                if !is_legal(self.granule(first)) {
                    return false;
                }
                last == first || (first + 1..=last).all(|index| is_legal(self.granule(index)))
            }
        } else {
            self.is_accessible_elsewhere(address, len, WRITE)
        }
    }

    /// The granule table, one byte per [`ALLOCATION_GRANULE_BYTES`](GRANULE) from [`Memory::base`];
    /// not zero: allocated.
    #[inline]
    #[must_use]
    pub fn granules(&self) -> &[AtomicU8] {
        // SAFETY: the table has that many zero-initialised bytes and lives as long as `self`.
        unsafe { std::slice::from_raw_parts(self.granules.as_ptr(), to_usize(self.span / GRANULE)) }
    }

    /// The host pointer to `len` allocated bytes.
    pub fn pointer(&self, address: u64, len: u64) -> Result<*mut u8, MemoryError> {
        if len == 0 || self.is_accessible(address, len) {
            Ok(at(address).cast())
        } else {
            Err(MemoryError::NotAllocated { address, len })
        }
    }

    /// The host pointer to `len` bytes that kernels may write.
    fn writable_pointer(&self, address: u64, len: u64) -> Result<*mut u8, MemoryError> {
        if len == 0 || self.is_writable(address, len) {
            Ok(at(address).cast())
        } else {
            Err(MemoryError::NotAllocated { address, len })
        }
    }

    /// Copies device memory to the host.
    pub fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), MemoryError> {
        let from = self.pointer(address, bytes.len() as u64)?;
        // SAFETY: `pointer` checked the source; device memory and a host slice that happen to
        // overlap (registered memory) are what `copy` is for.
        unsafe { ptr::copy(from, bytes.as_mut_ptr(), bytes.len()) };
        Ok(())
    }

    /// Copies host memory to the device.
    pub fn write(&self, address: u64, bytes: &[u8]) -> Result<(), MemoryError> {
        let _still = self.moving.read();
        let to = self.writable_pointer(address, bytes.len() as u64)?;
        // SAFETY: as in `read`.
        unsafe { ptr::copy(bytes.as_ptr(), to, bytes.len()) };
        Ok(())
    }

    /// Copies device memory; the ranges may overlap.
    pub fn copy(&self, to: u64, from: u64, len: u64) -> Result<(), MemoryError> {
        let _still = self.moving.read();
        let (target, source) = (self.writable_pointer(to, len)?, self.pointer(from, len)?);
        // SAFETY: both ranges are checked.
        unsafe { ptr::copy(source, target, to_usize(len)) };
        Ok(())
    }

    /// Repeats `pattern` (1, 2 or 4 bytes) `count` times.
    pub fn fill(&self, address: u64, pattern: &[u8], count: u64) -> Result<(), MemoryError> {
        let len = (pattern.len() as u64)
            .checked_mul(count)
            .ok_or(MemoryError::InvalidValue)?;
        let _still = self.moving.read();
        let to = self.writable_pointer(address, len)?;
        if pattern.windows(2).all(|pair| pair[0] == pair[1]) {
            // SAFETY: the range is checked.
            unsafe { ptr::write_bytes(to, pattern.first().copied().unwrap_or(0), to_usize(len)) };
            return Ok(());
        }
        for index in 0..to_usize(count) {
            // SAFETY: inside the checked range.
            unsafe {
                let element = to.add(index * pattern.len());
                ptr::copy_nonoverlapping(pattern.as_ptr(), element, pattern.len());
            }
        }
        Ok(())
    }

    /// A number that changes with each allocation and release.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    #[cold]
    fn is_accessible_elsewhere(&self, address: u64, len: u64, writes: bool) -> bool {
        if let Some((_, end)) = shared::find(address)
            && len <= end - address
        {
            return true;
        }
        if !self.has_elsewhere.load(Ordering::Acquire) {
            return false;
        }
        let elsewhere = self.elsewhere.read();
        let registered = elsewhere
            .registered
            .range(..=address)
            .next_back()
            .is_some_and(|(base, length)| {
                address - base < *length && len <= length - (address - base)
            });
        registered
            || elsewhere.holds_mapped(address, len, writes)
            || elsewhere
                .peers
                .iter()
                .filter_map(Weak::upgrade)
                .filter(|peer| peer.contains(address))
                .any(|peer| match writes {
                    true => peer.is_writable(address, len),
                    false => peer.is_accessible(address, len),
                })
    }

    /// # Safety
    /// `index < span / GRANULE`.
    #[inline]
    unsafe fn granule(&self, index: u64) -> u8 {
        // SAFETY: the caller keeps the index inside the table.
        unsafe { (*self.granules.as_ptr().add(to_usize(index))).load(Ordering::Relaxed) }
    }

    fn reserve_locked(
        &self,
        allocator: &mut Allocator,
        bytes: u64,
        alignment: u64,
    ) -> Result<u64, MemoryError> {
        if bytes == 0 || !alignment.is_power_of_two() {
            return Err(MemoryError::InvalidValue);
        }
        if bytes > self.span {
            return Err(MemoryError::OutOfMemory);
        }
        let (grain, alignment) = if bytes >= LARGE_BYTES {
            (PAGE_BYTES, alignment.max(CHUNK_BYTES))
        } else {
            (GRANULE, alignment.max(GRANULE))
        };
        allocator.take(bytes, bytes.next_multiple_of(grain), alignment)
    }

    /// From now on the bytes in use are kept there, too.
    pub fn set_meter(&self, meter: &'static AtomicU64) {
        let allocator = self.allocator.lock();
        let meter = self.meter.get_or_init(|| meter);
        meter.store(allocator.mapped, Ordering::Relaxed);
    }

    fn set_mapped(&self, allocator: &mut Allocator, bytes: u64) {
        allocator.mapped = bytes;
        if let Some(meter) = self.meter.get() {
            meter.store(bytes, Ordering::Relaxed);
        }
    }

    fn map_locked(
        &self,
        allocator: &mut Allocator,
        address: u64,
        bytes: u64,
    ) -> Result<(), MemoryError> {
        if allocator.mapped + bytes > self.total {
            return Err(MemoryError::OutOfMemory);
        }
        let offset = address - self.base;
        for chunk in offset / CHUNK_BYTES..(offset + bytes).div_ceil(CHUNK_BYTES) {
            let committed = &mut allocator.committed[to_usize(chunk)];
            if !*committed {
                let start = at(self.base + chunk * CHUNK_BYTES);
                let rights = MprotectFlags::READ | MprotectFlags::WRITE;
                // SAFETY: the chunk lies in this value's own reservation.
                unsafe { rustix::mm::mprotect(start, to_usize(CHUNK_BYTES), rights) }
                    .map_err(|_| MemoryError::OutOfMemory)?;
                *committed = true;
            }
        }
        let mut added = 0;
        for index in offset / GRANULE..(offset + bytes).div_ceil(GRANULE) {
            added +=
                u64::from(self.granules()[to_usize(index)].swap(WRITABLE, Ordering::Relaxed) == 0);
        }
        self.set_mapped(allocator, allocator.mapped + added * GRANULE);
        self.generation.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn unmap_locked(&self, allocator: &mut Allocator, address: u64, bytes: u64) {
        let offset = address - self.base;
        let mut removed = 0;
        for index in offset / GRANULE..(offset + bytes).div_ceil(GRANULE) {
            removed += u64::from(self.granules()[to_usize(index)].swap(0, Ordering::Relaxed) != 0);
        }
        self.set_mapped(allocator, allocator.mapped - removed * GRANULE);
        self.generation.fetch_add(1, Ordering::Relaxed);
        let start = address.next_multiple_of(PAGE_BYTES);
        let end = (address + bytes) / PAGE_BYTES * PAGE_BYTES;
        if start < end {
            // SAFETY: whole pages of this value's own reservation, no longer allocated. Failure
            // only means that the pages stay resident.
            let _ = unsafe {
                rustix::mm::madvise(at(start), to_usize(end - start), Advice::LinuxDontNeed)
            };
        }
        self.end_exports(allocator, address, bytes);
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: both ranges were mapped by `new` with these lengths; nothing borrows from them
        // now.
        unsafe {
            let _ = rustix::mm::munmap(at(self.base), to_usize(self.span));
            let table = self.granules.as_ptr().cast::<c_void>();
            let _ = rustix::mm::munmap(table, to_usize(self.span / GRANULE));
        }
    }
}

/// Free and used address ranges.
struct Allocator {
    /// Free ranges by address, and the same by length.
    free: BTreeMap<u64, u64>,
    free_by_length: BTreeSet<(u64, u64)>,
    allocations: BTreeMap<u64, Allocation>,
    /// The parts that are shown of allocations which are not shown as a whole.
    parts: BTreeMap<u64, u64>,
    /// Per chunk: has access rights.
    committed: Vec<bool>,
    /// Bytes with memory behind them.
    mapped: u64,
    /// Nothing until something is exported.
    exports: Option<exports::Exports>,
}

struct Allocation {
    requested: u64,
    reserved: u64,
    /// All of it has memory behind it.
    is_whole: bool,
}

impl Allocator {
    fn new(base: u64, span: u64) -> Self {
        Self {
            free: BTreeMap::from([(base, span)]),
            free_by_length: BTreeSet::from([(span, base)]),
            allocations: BTreeMap::new(),
            parts: BTreeMap::new(),
            committed: vec![false; to_usize(span / CHUNK_BYTES)],
            mapped: 0,
            exports: None,
        }
    }

    /// Best fit.
    fn take(&mut self, requested: u64, length: u64, alignment: u64) -> Result<u64, MemoryError> {
        let (base, free, address) = self
            .free_by_length
            .range((length, 0)..)
            .map(|&(free, base)| (base, free, base.next_multiple_of(alignment)))
            .find(|&(base, free, address)| address - base + length <= free)
            .ok_or(MemoryError::OutOfMemory)?;
        self.cut((base, free), address, requested, length);
        Ok(address)
    }

    /// Takes these addresses, if they are free.
    fn take_at(&mut self, address: u64, length: u64) -> bool {
        let found = self.free.range(..=address).next_back();
        let Some((base, free)) = found.map(|(base, free)| (*base, *free)) else {
            return false;
        };
        let offset = address - base;
        let fits = offset < free && length <= free - offset;
        if fits {
            self.cut((base, free), address, length, length);
        }
        fits
    }

    /// Takes a part of a free range.
    fn cut(&mut self, (base, free): (u64, u64), address: u64, requested: u64, length: u64) {
        self.remove_free(base, free);
        if address > base {
            self.insert_free(base, address - base);
        }
        if address + length < base + free {
            self.insert_free(address + length, base + free - address - length);
        }
        self.allocations.insert(
            address,
            Allocation {
                requested,
                reserved: length,
                is_whole: false,
            },
        );
    }

    fn release(&mut self, address: u64) {
        let Some(allocation) = self.allocations.remove(&address) else {
            return;
        };
        let (mut start, mut length) = (address, allocation.reserved);
        if let Some((&before, &size)) = self.free.range(..start).next_back()
            && before + size == start
        {
            self.remove_free(before, size);
            (start, length) = (before, length + size);
        }
        if let Some(&size) = self.free.get(&(start + length)) {
            self.remove_free(start + length, size);
            length += size;
        }
        self.insert_free(start, length);
    }

    fn inside(&self, address: u64, bytes: u64) -> Result<u64, MemoryError> {
        let (&base, allocation) = self
            .allocations
            .range(..=address)
            .next_back()
            .ok_or(MemoryError::InvalidValue)?;
        let offset = address - base;
        let fits = offset <= allocation.reserved && bytes <= allocation.reserved - offset;
        if fits && bytes > 0 && address.is_multiple_of(GRANULE) && bytes.is_multiple_of(GRANULE) {
            Ok(base)
        } else {
            Err(MemoryError::InvalidValue)
        }
    }

    fn insert_free(&mut self, base: u64, length: u64) {
        self.free.insert(base, length);
        self.free_by_length.insert((length, base));
    }

    fn remove_free(&mut self, base: u64, length: u64) {
        self.free.remove(&base);
        self.free_by_length.remove(&(length, base));
    }
}

fn reserve(span: u64) -> Result<u64, MemoryError> {
    for slot in 0..ARENA_SLOTS {
        let hint = ARENA_BASE + slot * ARENA_STRIDE_BYTES;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED_NOREPLACE;
        // SAFETY: FIXED_NOREPLACE never replaces a mapping.
        let mapped = unsafe {
            rustix::mm::mmap_anonymous(at(hint), to_usize(span), ProtFlags::empty(), flags)
        };
        match mapped {
            Ok(place) if place.addr() as u64 == hint => return Ok(hint),
            // A kernel that does not know FIXED_NOREPLACE takes the address as a mere hint.
            Ok(place) => {
                // SAFETY: just mapped here, unknown to anybody else.
                let _ = unsafe { rustix::mm::munmap(place, to_usize(span)) };
            }
            Err(_) => {}
        }
    }
    Err(MemoryError::OutOfMemory)
}

fn map_table(entries: u64) -> Result<NonNull<AtomicU8>, MemoryError> {
    let rights = ProtFlags::READ | ProtFlags::WRITE;
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    // SAFETY: a new anonymous mapping at a place of the system's choice.
    let table =
        unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), to_usize(entries), rights, flags) }
            .map_err(|_| MemoryError::OutOfMemory)?;
    NonNull::new(table.cast()).ok_or(MemoryError::OutOfMemory)
}

fn at(address: u64) -> *mut c_void {
    ptr::with_exposed_provenance_mut(to_usize(address))
}

/// Device sizes and addresses are 64-bit and so is every machine this runs on.
fn to_usize(value: u64) -> usize {
    const { assert!(size_of::<usize>() == size_of::<u64>()) };
    value as usize
}

#[cfg(test)]
mod tests;
