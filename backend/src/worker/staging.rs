// SPDX-License-Identifier: Apache-2.0
//! Pinned host memory between the socket and the device.
//!
//! Each context has its own: what a driver registered in a context is of no use after its end.

use core::ffi::c_void;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};

use gvirtus_abi::{CUevent, CUevent_flags, CUresult, CUstream};
use parking_lot::Mutex;
use rustix::mm::{MapFlags, ProtFlags};

use crate::driver::{Driver, check};
use crate::limits::STAGING_CHUNK_BYTES;

/// The chunks of one context that nobody uses at the moment.
pub(super) struct Staging {
    driver: &'static Driver,
    idle: Mutex<Idle>,
    chunks: AtomicUsize,
}

struct Idle {
    chunks: Vec<Chunk>,
    closed: bool,
}

/// [`STAGING_CHUNK_BYTES`] of memory that the device can reach by itself, and events that tell when
/// it is done with them.
pub(super) struct Chunk {
    memory: NonNull<u8>,
    registered: bool,
    events: Vec<CUevent>,
    /// How many of `events` are recorded.
    recorded: usize,
}

// SAFETY: a chunk owns its memory.
unsafe impl Send for Chunk {}

impl Staging {
    pub(super) const fn new(driver: &'static Driver) -> Self {
        let idle = Idle {
            chunks: Vec::new(),
            closed: false,
        };
        Self {
            driver,
            idle: Mutex::new(idle),
            chunks: AtomicUsize::new(0),
        }
    }

    /// An idle chunk, the one that was used last: the cache still has it.
    pub(super) fn take(&self) -> Option<Chunk> {
        self.idle.lock().chunks.pop()
    }

    /// A new chunk; the context is current.
    pub(super) fn allocate(&self) -> Result<Chunk, CUresult> {
        // SAFETY: an anonymous mapping at an address of the kernel's choice replaces nothing.
        let memory = unsafe {
            rustix::mm::mmap_anonymous(
                std::ptr::null_mut(),
                STAGING_CHUNK_BYTES,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::POPULATE,
            )
        };
        let memory = memory
            .ok()
            .and_then(|memory| NonNull::new(memory.cast::<u8>()));
        let memory = memory.ok_or(CUresult::CUDA_ERROR_OUT_OF_MEMORY)?;
        // SAFETY: the memory lives until it is unregistered. Memory that the driver does not pin
        // works as well, only slower.
        let status = unsafe {
            self.driver
                .cuMemHostRegister_v2(memory.as_ptr().cast(), STAGING_CHUNK_BYTES, 0)
        };
        self.chunks.fetch_add(1, Ordering::Relaxed);
        Ok(Chunk {
            memory,
            registered: status == CUresult::CUDA_SUCCESS,
            events: Vec::new(),
            recorded: 0,
        })
    }

    /// How many chunks there are, idle or not.
    pub(super) fn chunks(&self) -> usize {
        self.chunks.load(Ordering::Relaxed)
    }

    /// Nothing uses `chunk` any more.
    pub(super) fn give_back(&self, mut chunk: Chunk) {
        chunk.clear();
        let mut idle = self.idle.lock();
        if !idle.closed {
            idle.chunks.push(chunk);
        }
    }

    /// The context, which is current, is about to end.
    pub(super) fn close(&self) {
        let chunks = {
            let mut idle = self.idle.lock();
            idle.closed = true;
            std::mem::take(&mut idle.chunks)
        };
        for chunk in chunks {
            chunk.release(self.driver);
        }
    }
}

impl Chunk {
    pub(super) const fn pointer(&self) -> *mut c_void {
        self.memory.as_ptr().cast()
    }

    /// The first `count` bytes.
    pub(super) fn bytes(&self, count: usize) -> &[u8] {
        assert!(count <= STAGING_CHUNK_BYTES, "a chunk is not that long");
        // SAFETY: the memory is mapped, initialised by the kernel and owned; the device writes it
        // only between a copy's start and its event.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr(), count) }
    }

    /// `count` bytes from `start` on.
    pub(super) fn bytes_mut(&mut self, start: usize, count: usize) -> &mut [u8] {
        let end = start.checked_add(count);
        assert!(
            end.is_some_and(|end| end <= STAGING_CHUNK_BYTES),
            "a chunk is not that long"
        );
        // SAFETY: as above, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.memory.as_ptr().add(start), count) }
    }

    /// The chunk is in use until all that is queued on `stream` is done. The stream's context is
    /// current.
    pub(super) fn record(&mut self, driver: &Driver, stream: CUstream) -> Result<(), CUresult> {
        if self.recorded == self.events.len() {
            let (mut event, flags) = (CUevent::NULL, CUevent_flags::CU_EVENT_DISABLE_TIMING);
            // SAFETY: the output is a local.
            check(unsafe { driver.cuEventCreate(&raw mut event, flags.0) })?;
            self.events.push(event);
        }
        // SAFETY: event and stream belong to the current context.
        check(unsafe { driver.cuEventRecord(self.events[self.recorded], stream) })?;
        self.recorded += 1;
        Ok(())
    }

    /// It is not in use any more.
    pub(super) const fn clear(&mut self) {
        self.recorded = 0;
    }

    /// Whether the device is done with it. A device that failed is.
    pub(super) fn is_done(&self, driver: &Driver) -> bool {
        self.events[..self.recorded].iter().all(|event| {
            // SAFETY: the event is the chunk's own.
            let status = unsafe { driver.cuEventQuery(*event) };
            status != CUresult::CUDA_ERROR_NOT_READY
        })
    }

    /// Waits until the device is done with it.
    pub(super) fn wait(&self, driver: &Driver) -> Result<(), CUresult> {
        let mut result = Ok(());
        for event in &self.events[..self.recorded] {
            // SAFETY: the event is the chunk's own.
            let status = unsafe { driver.cuEventSynchronize(*event) };
            result = result.and(check(status));
        }
        result
    }

    /// Gives the driver back what it knows of the chunk; the context is current.
    fn release(mut self, driver: &Driver) {
        for event in self.events.drain(..) {
            // SAFETY: the event is the chunk's own, and this is the last use.
            let _ = unsafe { driver.cuEventDestroy_v2(event) };
        }
        if self.registered {
            // SAFETY: registered when it was allocated, and not in use.
            let _ = unsafe { driver.cuMemHostUnregister(self.pointer()) };
        }
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        // SAFETY: mapped with this length, and nobody uses it any more.
        let _ = unsafe { rustix::mm::munmap(self.pointer(), STAGING_CHUNK_BYTES) };
    }
}
