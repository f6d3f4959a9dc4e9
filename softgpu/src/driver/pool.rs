// SPDX-License-Identifier: Apache-2.0
//! Memory pools: device memory that is allocated and freed in the order of streams.
//!
//! A pool takes memory from its device in large pieces (*chunks*) and cuts allocations from them.
//! An allocation is accessible from the call on that makes it. Freeing it is an operation of a
//! stream: when the stream gets there, the memory is hidden from kernels, so that a use after it is
//! an illegal address. An allocation in the same stream may take the memory before that, because
//! everything that uses it comes later anyway.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gvirtus_abi::{CUdeviceptr, CUmemAllocationHandleType, CUmemoryPool, CUresult};
use parking_lot::Mutex;

use super::allocations::{self, Allocation};
use super::context::Context;
use super::device::Device;
use super::handles::{Handles, Kind};
use super::memory::Failure;
use super::scheduler::{Marker, Placement, SCHEDULER, StreamId};
use super::stream::Target;
use crate::limits::ALLOCATION_GRANULE_BYTES as GRANULE;
use crate::memory::{MemoryError, SharedFile};

/// Bytes of a chunk are a multiple of this.
pub(super) const CHUNK_BYTES: u64 = 2 << 20;

/// What a pool was made with.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Properties {
    pub(super) handle_types: CUmemAllocationHandleType,
    /// 0 for no limit but the device's.
    pub(super) max_bytes: u64,
}

/// A memory pool.
pub(super) struct Pool {
    pub(super) handle: CUmemoryPool,
    pub(super) device: &'static Device,
    pub(super) properties: Properties,
    pub(super) is_default: bool,
    /// The file that another process allocates in; nothing is allocated from such a pool here.
    pub(super) imported: Option<Arc<SharedFile>>,
    state: Mutex<State>,
}

/// What the application can set and ask.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    /// The three attributes about reuse, in their order.
    pub(super) reuse: [i32; 3],
    pub(super) release_threshold_bytes: u64,
    pub(super) reserved: Level,
    pub(super) used: Level,
}

/// A number of bytes and the most it has been.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Level {
    pub(super) now: u64,
    pub(super) high: u64,
}

struct State {
    settings: Settings,
    /// Chunks: base and bytes; the same for what is free in them and for what is allocated.
    chunks: BTreeMap<u64, u64>,
    free: BTreeMap<u64, u64>,
    used: BTreeMap<u64, u64>,
    leaving: Vec<Leaving>,
    /// Devices besides the pool's own that may access it.
    peers: Vec<&'static Device>,
    next_number: u64,
    is_destroyed: bool,
}

/// An allocation that was freed in a stream which has not got there.
struct Leaving {
    base: u64,
    bytes: u64,
    stream: StreamId,
    number: u64,
    /// Unknown for the moment between noting this and submitting the operation.
    marker: Option<Marker>,
}

static POOLS: Handles<Pool> = Handles::new(Kind::Pool);
/// The pool of each allocation that the application has. A pool that was destroyed lives on here.
static OWNERS: Mutex<BTreeMap<u64, Arc<Pool>>> = Mutex::new(BTreeMap::new());
/// Whether a pool may have memory to give back at the next synchronization.
static HAS_FREED: AtomicBool = AtomicBool::new(false);

impl Level {
    fn add(&mut self, bytes: u64) {
        self.now += bytes;
        self.high = self.high.max(self.now);
    }

    fn subtract(&mut self, bytes: u64) {
        self.now -= bytes;
    }
}

/// A new pool; the default pools of devices never end.
///
/// # Errors
///
/// `CUDA_ERROR_OUT_OF_MEMORY` if there are too many.
pub(super) fn create(
    device: &'static Device,
    properties: Properties,
    is_default: bool,
) -> Result<Arc<Pool>, CUresult> {
    insert(device, properties, is_default, None)
}

/// A pool of another process.
///
/// # Errors
///
/// As [`create`].
pub(super) fn import(
    device: &'static Device,
    file: Arc<SharedFile>,
) -> Result<Arc<Pool>, CUresult> {
    insert(device, Properties::default(), false, Some(file))
}

fn insert(
    device: &'static Device,
    properties: Properties,
    is_default: bool,
    imported: Option<Arc<SharedFile>>,
) -> Result<Arc<Pool>, CUresult> {
    POOLS.insert(|handle| Pool {
        handle: CUmemoryPool(handle),
        device,
        properties,
        is_default,
        imported,
        state: Mutex::new(State {
            settings: Settings {
                reuse: [1; 3],
                release_threshold_bytes: 0,
                reserved: Level::default(),
                used: Level::default(),
            },
            chunks: BTreeMap::new(),
            free: BTreeMap::new(),
            used: BTreeMap::new(),
            leaving: Vec::new(),
            peers: Vec::new(),
            next_number: 0,
            is_destroyed: false,
        }),
    })
}

/// The pool with that handle.
///
/// # Errors
///
/// `CUDA_ERROR_INVALID_VALUE`, as CUDA answers for pools.
pub(super) fn find(handle: CUmemoryPool) -> Result<Arc<Pool>, CUresult> {
    super::device::devices()?;
    POOLS
        .get(handle.0)
        .ok_or(CUresult::CUDA_ERROR_INVALID_VALUE)
}

/// `cuMemPoolDestroy`: the handle ends now, the memory when its last allocation has gone.
pub(super) fn destroy(handle: CUmemoryPool) -> Result<(), CUresult> {
    let pool = find(handle)?;
    if pool.is_default {
        return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
    }
    POOLS.remove(handle.0);
    pool.device.forget_pool(handle);
    let mut state = pool.state.lock();
    state.is_destroyed = true;
    pool.release_if_unused(&mut state);
    Ok(())
}

/// Gives back what pools hold above their thresholds; called by everything that synchronizes.
pub(super) fn trim_after_synchronize() {
    if HAS_FREED.load(Ordering::Relaxed) && HAS_FREED.swap(false, Ordering::AcqRel) {
        for pool in POOLS.all() {
            let mut state = pool.state.lock();
            let keep = state.settings.release_threshold_bytes;
            pool.trim_locked(&mut state, keep);
        }
    }
}

impl Pool {
    pub(super) fn settings(&self) -> Settings {
        self.state.lock().settings
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.state.lock().settings);
    }

    /// Whether other processes may import it.
    pub(super) fn is_shareable(&self) -> bool {
        let types = self.properties.handle_types;
        types == CUmemAllocationHandleType::CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR
    }

    /// Allocates for a stream: accessible at once.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_OUT_OF_MEMORY`.
    pub(super) fn allocate(&self, bytes: u64, stream: StreamId) -> Result<u64, CUresult> {
        if self.imported.is_some() {
            return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
        }
        let out_of_memory = CUresult::CUDA_ERROR_OUT_OF_MEMORY;
        let bytes = bytes
            .checked_next_multiple_of(GRANULE)
            .ok_or(out_of_memory)?;
        let mut state = self.state.lock();
        if let Some(base) = state.reuse(bytes, stream) {
            return Ok(base);
        }
        if let Some(base) = self.cut(&mut state, bytes)? {
            return Ok(base);
        }
        match self.grow(&mut state, bytes) {
            Err(MemoryError::OutOfMemory) => {}
            grown => {
                grown.map_err(Failure::from)?;
                return self.cut(&mut state, bytes)?.ok_or(out_of_memory);
            }
        }
        // What is on its way to be free may be enough.
        let markers: Vec<Marker> = state.leaving.iter().filter_map(|l| l.marker).collect();
        drop(state);
        for marker in markers {
            SCHEDULER.wait(marker);
        }
        let mut state = self.state.lock();
        if let Some(base) = self.cut(&mut state, bytes)? {
            return Ok(base);
        }
        self.trim_locked(&mut state, 0);
        self.grow(&mut state, bytes).map_err(Failure::from)?;
        self.cut(&mut state, bytes)?.ok_or(out_of_memory)
    }

    /// Frees an allocation when a stream has got so far.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_INVALID_VALUE` if it is none of this pool's.
    pub(super) fn free_in_order(self: &Arc<Self>, base: u64, at: StreamId) -> Result<(), CUresult> {
        let mut state = self.state.lock();
        let bytes = state
            .used
            .remove(&base)
            .ok_or(CUresult::CUDA_ERROR_INVALID_VALUE)?;
        state.next_number += 1;
        let number = state.next_number;
        state.leaving.push(Leaving {
            base,
            bytes,
            stream: at,
            number,
            marker: None,
        });
        drop(state);
        let pool = Arc::clone(self);
        let marker = SCHEDULER.submit(at, Placement::Here, move || {
            pool.leave(number);
            Ok(())
        });
        let mut state = self.state.lock();
        if let Some(leaving) = state.leaving.iter_mut().find(|l| l.number == number) {
            leaving.marker = Some(marker);
        }
        Ok(())
    }

    /// Frees an allocation that nothing uses any more.
    pub(super) fn free_now(&self, base: u64) {
        let mut state = self.state.lock();
        if let Some(bytes) = state.used.remove(&base) {
            self.return_locked(&mut state, base, bytes);
        }
    }

    /// The stream has got to where an allocation was freed.
    fn leave(&self, number: u64) {
        let mut state = self.state.lock();
        let found = state.leaving.iter().position(|l| l.number == number);
        // Nothing if an allocation in the same stream has taken it.
        if let Some(index) = found {
            let Leaving { base, bytes, .. } = state.leaving.swap_remove(index);
            self.return_locked(&mut state, base, bytes);
        }
    }

    fn return_locked(&self, state: &mut State, base: u64, bytes: u64) {
        if let Ok(memory) = self.device.memory() {
            memory.hide(base, bytes);
        }
        for peer in &state.peers {
            if let Ok(memory) = peer.memory() {
                memory.unregister(base);
            }
        }
        state.settings.used.subtract(bytes);
        state.insert_free(base, bytes);
        HAS_FREED.store(true, Ordering::Release);
        self.release_if_unused(state);
    }

    fn release_if_unused(&self, state: &mut State) {
        if state.is_destroyed && state.used.is_empty() && state.leaving.is_empty() {
            self.trim_locked(state, 0);
        }
    }

    /// Cuts an allocation from what is free: the smallest piece that is large enough.
    fn cut(&self, state: &mut State, bytes: u64) -> Result<Option<u64>, CUresult> {
        let fitting = state.free.iter().filter(|(_, free)| **free >= bytes);
        let Some((&base, &free)) = fitting.min_by_key(|(_, free)| **free) else {
            return Ok(None);
        };
        let memory = self.device.memory()?;
        state.free.remove(&base);
        if free > bytes {
            state.free.insert(base + bytes, free - bytes);
        }
        memory.show(base, bytes);
        for peer in &state.peers {
            // SAFETY: the memory of devices stays mapped.
            unsafe { peer.memory()?.register(base, bytes) };
        }
        state.used.insert(base, bytes);
        state.settings.used.add(bytes);
        Ok(Some(base))
    }

    fn grow(&self, state: &mut State, bytes: u64) -> Result<(), MemoryError> {
        let bytes = bytes
            .checked_next_multiple_of(CHUNK_BYTES)
            .ok_or(MemoryError::OutOfMemory)?;
        let max_bytes = self.properties.max_bytes;
        if max_bytes != 0 && bytes > max_bytes.saturating_sub(state.settings.reserved.now) {
            return Err(MemoryError::OutOfMemory);
        }
        let memory = self.device.memory().map_err(|_| MemoryError::OutOfMemory)?;
        let base = memory.alloc_hidden(bytes)?;
        if self.is_shareable()
            && let Err(error) = memory.prepare_export(base, bytes, self.device.number)
        {
            let _ = memory.free_hidden(base);
            return Err(error);
        }
        state.chunks.insert(base, bytes);
        state.free.insert(base, bytes);
        state.settings.reserved.add(bytes);
        Ok(())
    }

    /// Gives whole free chunks back, but keeps `keep` bytes if there are so many.
    pub(super) fn trim(&self, keep: u64) {
        self.trim_locked(&mut self.state.lock(), keep);
    }

    fn trim_locked(&self, state: &mut State, keep: u64) {
        let Ok(memory) = self.device.memory() else {
            return;
        };
        let unused: Vec<(u64, u64)> = state
            .chunks
            .iter()
            .filter(|(base, bytes)| state.free.get(base) == Some(bytes))
            .map(|(base, bytes)| (*base, *bytes))
            .collect();
        for (base, bytes) in unused {
            if state.settings.reserved.now < keep.saturating_add(bytes) {
                continue;
            }
            state.chunks.remove(&base);
            state.free.remove(&base);
            state.settings.reserved.subtract(bytes);
            // The table says that it is allocated, so this frees it.
            let _ = memory.free_hidden(base);
        }
    }

    /// Whether kernels of a device may access the pool's memory.
    pub(super) fn is_accessible_from(&self, ordinal: i32) -> bool {
        self.device.ordinal == ordinal
            || (self.state.lock().peers.iter()).any(|peer| peer.ordinal == ordinal)
    }

    /// Lets another device access the pool's memory, or ends that.
    pub(super) fn set_access(
        &self,
        peer: &'static Device,
        is_allowed: bool,
    ) -> Result<(), CUresult> {
        let mut state = self.state.lock();
        let is_peer = state.peers.iter().any(|p| p.ordinal == peer.ordinal);
        if is_peer == is_allowed {
            return Ok(());
        }
        if self.imported.is_some() {
            return Err(gvirtus_driver_face::unsupported(
                "access of another device to an imported pool",
            ));
        }
        let memory = peer.memory()?;
        let leaving = state.leaving.iter().map(|l| (l.base, l.bytes));
        for (base, bytes) in state.used.iter().map(|(a, b)| (*a, *b)).chain(leaving) {
            if is_allowed {
                // SAFETY: the memory of devices stays mapped.
                unsafe { memory.register(base, bytes) };
            } else {
                memory.unregister(base);
            }
        }
        if is_allowed {
            state.peers.push(peer);
        } else {
            state.peers.retain(|p| p.ordinal != peer.ordinal);
        }
        Ok(())
    }
}

impl State {
    /// Takes an allocation that the same stream has freed, but not got to yet.
    fn reuse(&mut self, bytes: u64, stream: StreamId) -> Option<u64> {
        let fits = |leaving: &Leaving| {
            leaving.stream == stream && leaving.bytes >= bytes && leaving.bytes / 2 <= bytes
        };
        let index = self.leaving.iter().position(fits)?;
        let Leaving { base, bytes, .. } = self.leaving.swap_remove(index);
        self.used.insert(base, bytes);
        Some(base)
    }

    /// Joins it with its neighbours, but not across chunks.
    fn insert_free(&mut self, base: u64, bytes: u64) {
        let (mut start, mut length) = (base, bytes);
        if !self.chunks.contains_key(&start)
            && let Some((&before, &size)) = self.free.range(..start).next_back()
            && before + size == start
        {
            self.free.remove(&before);
            (start, length) = (before, size + length);
        }
        let end = start + length;
        if !self.chunks.contains_key(&end)
            && let Some(size) = self.free.remove(&end)
        {
            length += size;
        }
        self.free.insert(start, length);
    }
}

/// The pool that an allocation was made from.
pub(super) fn owner(base: u64) -> Option<Arc<Pool>> {
    OWNERS.lock().get(&base).cloned()
}

/// Allocates `bytes` from a pool for a stream, and notes whose it is.
///
/// # Errors
///
/// `CUDA_ERROR_OUT_OF_MEMORY`.
pub(super) fn allocate(
    pool: &Arc<Pool>,
    bytes: usize,
    target: &Target,
) -> Result<CUdeviceptr, CUresult> {
    let bytes = bytes as u64;
    let base = pool.allocate(bytes, target.id())?;
    OWNERS.lock().insert(base, Arc::clone(pool));
    let context = target.context();
    allocations::insert(Allocation {
        device_ordinal: pool.device.ordinal,
        ..Allocation::new(context, allocations::Kind::Pooled, base, bytes, 0)
    });
    Ok(CUdeviceptr(base))
}

/// Takes an allocation from the table of what the application has; it is still to be freed.
pub(super) fn disown(base: u64) -> Option<Arc<Pool>> {
    allocations::remove(base, |kind| kind == allocations::Kind::Pooled)?;
    let pool = OWNERS.lock().remove(&base)?;
    if pool.is_shareable()
        && let Ok(memory) = pool.device.memory()
    {
        memory.end_export(base);
    }
    Some(pool)
}

/// Frees what a context, which has ended, has allocated from pools.
pub(super) fn forget_context(context: &Context) {
    for gone in allocations::remove_context(context, |kind| kind == allocations::Kind::Pooled) {
        let owner = OWNERS.lock().remove(&gone.base);
        if let Some(pool) = owner {
            pool.free_now(gone.base);
        }
    }
}
