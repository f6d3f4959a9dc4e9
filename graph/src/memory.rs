// SPDX-License-Identifier: Apache-2.0
//! Memory of allocation nodes.
//!
//! Its address is known when the node is added, so it is allocated then, and given back when
//! neither the node nor an executable graph with it is left. What a program sees of the lifetime
//! between allocation and free node is kept as a flag.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use gvirtus_abi::{CUDA_MEM_ALLOC_NODE_PARAMS, CUdevice, CUdeviceptr, CUresult};
use parking_lot::Mutex;

use crate::payload::AllocationRequest;
use crate::platform::platform;

/// Graph memory comes in pieces of this size, in bytes.
const GRANULE_BYTES: u64 = 2 << 20;

/// Memory that goes back to the driver with its last owner.
pub struct GraphMemory {
    address: CUdeviceptr,
    request: AllocationRequest,
    parameters: Option<Asked>,
    is_allocated: AtomicBool,
}

/// As the application asked for it; the pointer in it is not followed.
#[derive(Clone, Copy)]
struct Asked(CUDA_MEM_ALLOC_NODE_PARAMS);

// SAFETY: plain data; the pointers in it are never followed.
unsafe impl Send for Asked {}
// SAFETY: as above.
unsafe impl Sync for Asked {}

static FREED: Mutex<Vec<CUdeviceptr>> = Mutex::new(Vec::new());

static COUNTERS: Mutex<Vec<(CUdevice, Counters)>> = Mutex::new(Vec::new());

/// As `cuDeviceGetGraphMemAttribute` says, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    pub(crate) used: u64,
    pub(crate) used_high: u64,
    pub(crate) reserved: u64,
    pub(crate) reserved_high: u64,
}

impl GraphMemory {
    /// # Errors
    ///
    /// `CUDA_ERROR_OUT_OF_MEMORY` and its kin.
    pub(crate) fn allocate(
        request: AllocationRequest,
        asked: Option<CUDA_MEM_ALLOC_NODE_PARAMS>,
    ) -> Result<Self, CUresult> {
        let address = platform()?.allocate(request)?;
        let memory = Self {
            address,
            request,
            parameters: asked.map(Asked),
            is_allocated: AtomicBool::new(false),
        };
        if memory.parameters.is_some() {
            count(request.device, |counters| {
                counters.reserved += memory.granules();
                counters.reserved_high = counters.reserved_high.max(counters.reserved);
            });
        }
        Ok(memory)
    }

    /// Where it is.
    pub const fn address(&self) -> CUdeviceptr {
        self.address
    }

    /// What it was asked for with.
    pub(crate) fn parameters(&self) -> Option<CUDA_MEM_ALLOC_NODE_PARAMS> {
        let asked = self.parameters.as_ref();
        asked.map(|Asked(parameters)| CUDA_MEM_ALLOC_NODE_PARAMS {
            dptr: self.address,
            ..*parameters
        })
    }

    /// Where and how much.
    pub const fn request(&self) -> AllocationRequest {
        self.request
    }

    /// Whether an allocation node was launched and no free node since.
    pub(crate) fn is_allocated(&self) -> bool {
        self.is_allocated.load(Ordering::Relaxed)
    }

    /// Notes that it is in use from now on, or no more.
    pub(crate) fn set_allocated(&self, is_allocated: bool) {
        if self.is_allocated.swap(is_allocated, Ordering::Relaxed) == is_allocated {
            return;
        }
        let bytes = self.request.bytes as u64;
        count(self.request.device, |counters| match is_allocated {
            true => {
                counters.used += bytes;
                counters.used_high = counters.used_high.max(counters.used);
            }
            false => counters.used -= bytes,
        });
    }

    fn granules(&self) -> u64 {
        (self.request.bytes as u64).next_multiple_of(GRANULE_BYTES)
    }
}

impl Drop for GraphMemory {
    fn drop(&mut self) {
        if self.parameters.is_some() {
            self.set_allocated(false);
            count(self.request.device, |counters| {
                counters.reserved -= self.granules();
            });
        }
        FREED.lock().push(self.address);
        PENDING.fetch_add(1, Ordering::Relaxed);
    }
}

static PENDING: AtomicU64 = AtomicU64::new(0);

/// Gives back what has no owner any more. Not under a lock.
pub(crate) fn give_back() {
    if PENDING.load(Ordering::Relaxed) == 0 {
        return;
    }
    let freed = std::mem::take(&mut *FREED.lock());
    PENDING.fetch_sub(freed.len() as u64, Ordering::Relaxed);
    if let Ok(platform) = platform() {
        for address in freed {
            platform.free(address);
        }
    }
}

fn count(device: CUdevice, change: impl FnOnce(&mut Counters)) {
    let mut all = COUNTERS.lock();
    if let Some((_, counters)) = all.iter_mut().find(|(known, _)| *known == device) {
        return change(counters);
    }
    let mut counters = Counters::default();
    change(&mut counters);
    all.push((device, counters));
}

/// The counters of a device.
pub(crate) fn counters(device: CUdevice) -> Counters {
    let all = COUNTERS.lock();
    let known = all.iter().find(|(known, _)| *known == device);
    known.map_or_else(Counters::default, |(_, counters)| *counters)
}

/// Sets the high-water marks of a device back to what is in use.
pub(crate) fn reset_high(device: CUdevice, is_used: bool) {
    count(device, |counters| match is_used {
        true => counters.used_high = counters.used,
        false => counters.reserved_high = counters.reserved,
    });
}
