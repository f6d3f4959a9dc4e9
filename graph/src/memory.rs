// SPDX-License-Identifier: Apache-2.0
//! Memory of allocation nodes.
//!
//! Its address is known when the node is added, so it is allocated then, and given back when
//! neither the node nor an executable graph with it is left. What a program sees of the lifetime
//! between allocation and free node is kept in a table, and so is whether the memory counts as
//! mapped: from the first launch of its graph until it is trimmed while it is free (programming
//! guide, "Graph Memory Nodes").

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use gvirtus_abi::{
    CUDA_MEM_ALLOC_NODE_PARAMS, CUcontext, CUdevice, CUdeviceptr, CUmemAccessDesc,
    CUmemAllocationType, CUmemLocationType, CUresult,
};

use crate::payload::AllocationRequest;
use crate::platform::platform;
use crate::process::state;

/// Graph memory comes in pieces of this size, in bytes.
const GRANULE_BYTES: u64 = 2 << 20;

/// Memory that goes back to the driver with its last owner.
pub struct GraphMemory {
    /// Names it in the table: an address is used again.
    number: u64,
    address: CUdeviceptr,
    request: AllocationRequest,
    /// Of a node.
    asked: Option<Asked>,
}

/// As the application asked for it.
struct Asked {
    parameters: CUDA_MEM_ALLOC_NODE_PARAMS,
    /// What `accessDescs` points to once it is given back.
    access: Box<[CUmemAccessDesc]>,
}

// SAFETY: plain data; the pointers in it are never followed.
unsafe impl Send for Asked {}
// SAFETY: as above.
unsafe impl Sync for Asked {}

/// All memory of graphs, and the marks of each device.
pub(crate) struct Table {
    /// By address.
    memory: BTreeMap<u64, Entry>,
    /// By ordinal.
    high: BTreeMap<i32, High>,
}

struct Entry {
    number: u64,
    context: CUcontext,
    device: i32,
    /// And not of a condition.
    is_of_node: bool,
    bytes: u64,
    is_mapped: bool,
    is_allocated: bool,
}

#[derive(Clone, Copy, Default)]
struct High {
    used: u64,
    reserved: u64,
}

/// As `cuDeviceGetGraphMemAttribute` says, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    pub(crate) used: u64,
    pub(crate) used_high: u64,
    pub(crate) reserved: u64,
    pub(crate) reserved_high: u64,
}

impl Table {
    pub(crate) const fn new() -> Self {
        Self {
            memory: BTreeMap::new(),
            high: BTreeMap::new(),
        }
    }

    /// What graphs have mapped; no more than that is reserved.
    fn mapped(&self, device: i32) -> u64 {
        let entries = self.memory.values();
        let mapped = entries.filter(|entry| entry.device == device && entry.is_mapped);
        mapped.map(|entry| entry.bytes).sum()
    }
}

impl GraphMemory {
    fn allocate(request: AllocationRequest, asked: Option<Asked>) -> Result<Self, CUresult> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let address = platform()?.allocate(request)?;
        let entry = Entry {
            number,
            context: request.context,
            device: request.device.0,
            is_of_node: asked.is_some(),
            bytes: (request.bytes as u64).next_multiple_of(GRANULE_BYTES),
            is_mapped: false,
            is_allocated: false,
        };
        state().memory.lock().memory.insert(address.0, entry);
        Ok(Self {
            number,
            address,
            request,
            asked,
        })
    }

    /// The number of a condition.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_OUT_OF_MEMORY` and its kin.
    pub(crate) fn of_condition(request: AllocationRequest) -> Result<Self, CUresult> {
        Self::allocate(request, None)
    }

    /// What a node asks for.
    ///
    /// # Errors
    ///
    /// As [`GraphMemory::of_condition`].
    pub(crate) fn of_node(
        request: AllocationRequest,
        parameters: CUDA_MEM_ALLOC_NODE_PARAMS,
        access: Box<[CUmemAccessDesc]>,
    ) -> Result<Self, CUresult> {
        Self::allocate(request, Some(Asked { parameters, access }))
    }

    /// What a captured call asks for.
    ///
    /// # Errors
    ///
    /// As [`GraphMemory::of_condition`].
    pub(crate) fn of_stream(request: AllocationRequest) -> Result<Self, CUresult> {
        // SAFETY: numbers, null handles and null pointers.
        let mut parameters: CUDA_MEM_ALLOC_NODE_PARAMS = unsafe { core::mem::zeroed() };
        let properties = &mut parameters.poolProps;
        properties.allocType = CUmemAllocationType::CU_MEM_ALLOCATION_TYPE_PINNED;
        properties.location.r#type = CUmemLocationType::CU_MEM_LOCATION_TYPE_DEVICE;
        properties.location.anonymous0.id = request.device.0;
        parameters.bytesize = request.bytes;
        Self::of_node(request, parameters, Box::default())
    }

    /// Where it is.
    pub const fn address(&self) -> CUdeviceptr {
        self.address
    }

    /// What a node was asked for with; the pointer in it lives as long as this.
    pub(crate) fn parameters(&self) -> Option<CUDA_MEM_ALLOC_NODE_PARAMS> {
        let asked = self.asked.as_ref()?;
        Some(CUDA_MEM_ALLOC_NODE_PARAMS {
            dptr: self.address,
            accessDescs: match asked.access.is_empty() {
                true => std::ptr::null(),
                false => asked.access.as_ptr(),
            },
            accessDescCount: asked.access.len(),
            ..asked.parameters
        })
    }

    /// Where and how much.
    pub const fn request(&self) -> AllocationRequest {
        self.request
    }

    /// Whether an allocation node was launched and no free node since.
    pub(crate) fn is_allocated(&self) -> bool {
        let table = state().memory.lock();
        let entry = table.memory.get(&self.address.0);
        entry.is_some_and(|entry| entry.number == self.number && entry.is_allocated)
    }

    /// Notes that it is in use from now on, or no more.
    pub(crate) fn set_allocated(&self, is_allocated: bool) {
        let mut table = state().memory.lock();
        let entry = table.memory.get_mut(&self.address.0);
        let Some(entry) = entry.filter(|entry| entry.number == self.number) else {
            return;
        };
        entry.is_allocated = is_allocated;
        entry.is_mapped |= is_allocated;
        let device = entry.device;
        let mapped = table.mapped(device);
        let high = table.high.entry(device).or_default();
        high.used = high.used.max(mapped);
        high.reserved = high.reserved.max(mapped);
    }
}

impl Drop for GraphMemory {
    fn drop(&mut self) {
        let mut table = state().memory.lock();
        let known = table.memory.get(&self.address.0);
        // Else it has gone with its context, and the address may be another's.
        if known.is_some_and(|entry| entry.number == self.number) {
            table.memory.remove(&self.address.0);
            drop(table);
            state().freed.lock().push(self.address);
            state().freed_count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Gives back what has no owner any more. Not under a lock.
pub(crate) fn give_back() {
    if state().freed_count.load(Ordering::Relaxed) == 0 {
        return;
    }
    let freed = std::mem::take(&mut *state().freed.lock());
    state()
        .freed_count
        .fetch_sub(freed.len() as u64, Ordering::Relaxed);
    if let Ok(platform) = platform() {
        for address in freed {
            platform.free(address);
        }
    }
}

/// Whether an allocation node has memory at this address.
pub(crate) fn is_of_node(address: CUdeviceptr) -> bool {
    let table = state().memory.lock();
    let entry = table.memory.get(&address.0);
    entry.is_some_and(|entry| entry.is_of_node)
}

/// Forgets the memory of a context that ends, with which it goes.
pub(crate) fn forget_context(context: CUcontext) {
    let mut table = state().memory.lock();
    table.memory.retain(|_, entry| entry.context != context);
    drop(table);
    let is_kept = |memory: &GraphMemory| memory.request.context != context;
    state().live.lock().retain(|_, memory| is_kept(memory));
}

/// The counters of a device.
pub(crate) fn counters(device: CUdevice) -> Counters {
    let table = state().memory.lock();
    let mapped = table.mapped(device.0);
    let high = table.high.get(&device.0).copied().unwrap_or_default();
    Counters {
        used: mapped,
        used_high: high.used,
        reserved: mapped,
        reserved_high: high.reserved,
    }
}

/// What is not allocated counts as mapped no more, until its graph is launched again.
pub(crate) fn trim(device: CUdevice) {
    let mut table = state().memory.lock();
    let entries = table.memory.values_mut();
    for entry in entries.filter(|entry| entry.device == device.0) {
        entry.is_mapped &= entry.is_allocated;
    }
}

/// Sets a high-water mark of a device back to what is in use.
pub(crate) fn reset_high(device: CUdevice, is_used: bool) {
    let mut table = state().memory.lock();
    let mapped = table.mapped(device.0);
    let high = table.high.entry(device.0).or_default();
    match is_used {
        true => high.used = mapped,
        false => high.reserved = mapped,
    }
}
