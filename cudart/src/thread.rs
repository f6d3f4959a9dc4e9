// SPDX-License-Identifier: Apache-2.0
//! What the runtime keeps for each thread: its last error, its device, the configuration of the
//! launch that is being written, and the kernels that it launched last.

use std::cell::Cell;

use gvirtus_abi::{CUkernel, CUstream};
use gvirtus_runtime_abi::{cudaError, dim3};

use crate::limits::{CALL_CONFIGURATIONS, KERNEL_CACHE_ENTRIES};

/// What stands between `<<<` and `>>>`.
#[derive(Clone, Copy)]
pub(crate) struct CallConfiguration {
    pub(crate) grid: dim3,
    pub(crate) block: dim3,
    pub(crate) shared_bytes: usize,
    pub(crate) stream: CUstream,
}

/// A kernel that the thread has found by its host address while the registry had a generation.
#[derive(Clone, Copy)]
struct Found {
    host: usize,
    generation: u32,
    kernel: CUkernel,
}

struct Thread {
    last_error: Cell<cudaError>,
    device: Cell<i32>,
    configurations: Cell<usize>,
    configuration: [Cell<Option<CallConfiguration>>; CALL_CONFIGURATIONS],
    kernels: [Cell<Found>; KERNEL_CACHE_ENTRIES],
}

const NOTHING_FOUND: Found = Found {
    host: 0,
    generation: 0,
    kernel: CUkernel(0),
};

thread_local! {
    static THREAD: Thread = const {
        Thread {
            last_error: Cell::new(cudaError::cudaSuccess),
            device: Cell::new(0),
            configurations: Cell::new(0),
            configuration: [const { Cell::new(None) }; CALL_CONFIGURATIONS],
            kernels: [const { Cell::new(NOTHING_FOUND) }; KERNEL_CACHE_ENTRIES],
        }
    };
}

/// Keeps an error for `cudaGetLastError`. That something is not ready yet is none.
#[cold]
pub(crate) fn set_last_error(error: cudaError) {
    if error == cudaError::cudaErrorNotReady {
        return;
    }
    THREAD.with(|thread| thread.last_error.set(error));
}

/// The last error, which stays.
#[inline]
pub(crate) fn last_error() -> cudaError {
    THREAD.with(|thread| thread.last_error.get())
}

/// The last error, which is forgotten.
#[inline]
pub(crate) fn take_last_error() -> cudaError {
    THREAD.with(|thread| thread.last_error.replace(cudaError::cudaSuccess))
}

/// The device that the thread has chosen; the first one until then.
pub(crate) fn device() -> i32 {
    THREAD.with(|thread| thread.device.get())
}

/// Chooses the thread's device.
pub(crate) fn set_device(device: i32) {
    THREAD.with(|thread| thread.device.set(device));
}

/// Puts a configuration on the thread's stack; false if it is full.
#[inline]
pub(crate) fn push_configuration(configuration: CallConfiguration) -> bool {
    THREAD.with(|thread| {
        let depth = thread.configurations.get();
        let Some(slot) = thread.configuration.get(depth) else {
            return false;
        };
        slot.set(Some(configuration));
        thread.configurations.set(depth + 1);
        true
    })
}

/// Takes the newest configuration off the thread's stack.
#[inline]
pub(crate) fn pop_configuration() -> Option<CallConfiguration> {
    THREAD.with(|thread| {
        let depth = thread.configurations.get().checked_sub(1)?;
        thread.configurations.set(depth);
        thread.configuration.get(depth)?.take()
    })
}

/// The kernel of a host function, if the thread has found it in this generation of the registry.
#[inline]
pub(crate) fn remembered_kernel(host: usize, generation: u32) -> Option<CUkernel> {
    THREAD.with(|thread| {
        let found = thread.kernels[slot(host)].get();
        (found.host == host && found.generation == generation).then_some(found.kernel)
    })
}

/// Remembers a kernel for [`remembered_kernel`].
pub(crate) fn remember_kernel(host: usize, generation: u32, kernel: CUkernel) {
    let found = Found {
        host,
        generation,
        kernel,
    };
    THREAD.with(|thread| thread.kernels[slot(host)].set(found));
}

/// Functions are aligned to 16 bytes.
const fn slot(host: usize) -> usize {
    (host >> 4) % KERNEL_CACHE_ENTRIES
}
