// SPDX-License-Identifier: Apache-2.0
//! What a context remembers for the application: limits and preferences.

use gvirtus_abi::{CUfunc_cache, CUlimit, CUresult, CUsharedconfig};

use super::architecture;
use super::limits::{
    DEFAULT_HEAP_BYTES, DEFAULT_L2_FETCH_BYTES, DEFAULT_PENDING_LAUNCHES, DEFAULT_PRINTF_BYTES,
    DEFAULT_STACK_BYTES, DEFAULT_SYNC_DEPTH, L2_FETCH_BYTES_MAX, PERSISTING_L2_BYTES_MAX,
    SYNC_DEPTH_MAX,
};
use crate::limits::MAX_LOCAL_BYTES_PER_THREAD;

/// What of the settings is decided when a kernel is launched.
#[derive(Clone, Copy, Debug)]
pub(super) struct LaunchLimits {
    /// Bytes of stack of a thread, where its kernel does not need more.
    pub(super) stack_bytes: u32,
    /// Launches by kernels that may wait to begin.
    pub(super) pending_launches: usize,
}

/// Settings of a context. Preferences are stored only: the device has no caches to configure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    stack_bytes: usize,
    printf_bytes: usize,
    heap_bytes: usize,
    l2_fetch_bytes: usize,
    persisting_l2_bytes: usize,
    sync_depth: usize,
    pending_launches: usize,
    pub(super) cache_config: CUfunc_cache,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            stack_bytes: DEFAULT_STACK_BYTES,
            printf_bytes: DEFAULT_PRINTF_BYTES,
            heap_bytes: DEFAULT_HEAP_BYTES,
            l2_fetch_bytes: DEFAULT_L2_FETCH_BYTES,
            persisting_l2_bytes: 0,
            sync_depth: DEFAULT_SYNC_DEPTH,
            pending_launches: DEFAULT_PENDING_LAUNCHES,
            cache_config: CUfunc_cache::CU_FUNC_CACHE_PREFER_NONE,
        }
    }
}

impl Settings {
    pub(super) fn launch_limits(&self) -> LaunchLimits {
        LaunchLimits {
            // It is set to no more than a thread's local memory.
            stack_bytes: self.stack_bytes as u32,
            pending_launches: self.pending_launches,
        }
    }

    /// `cuCtxGetLimit`.
    pub(super) fn limit(&self, limit: CUlimit) -> Result<usize, CUresult> {
        Ok(match limit {
            CUlimit::CU_LIMIT_STACK_SIZE => self.stack_bytes,
            CUlimit::CU_LIMIT_PRINTF_FIFO_SIZE => self.printf_bytes,
            CUlimit::CU_LIMIT_MALLOC_HEAP_SIZE => self.heap_bytes,
            CUlimit::CU_LIMIT_MAX_L2_FETCH_GRANULARITY => self.l2_fetch_bytes,
            CUlimit::CU_LIMIT_PERSISTING_L2_CACHE_SIZE => self.persisting_l2_bytes,
            CUlimit::CU_LIMIT_DEV_RUNTIME_SYNC_DEPTH if architecture::current().major < 9 => {
                self.sync_depth
            }
            CUlimit::CU_LIMIT_DEV_RUNTIME_PENDING_LAUNCH_COUNT => self.pending_launches,
            other => return Err(no_limit(other)),
        })
    }

    /// `cuCtxSetLimit`.
    pub(super) fn set_limit(&mut self, limit: CUlimit, value: usize) -> Result<(), CUresult> {
        match limit {
            CUlimit::CU_LIMIT_STACK_SIZE if value > MAX_LOCAL_BYTES_PER_THREAD as usize => {
                return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
            }
            CUlimit::CU_LIMIT_STACK_SIZE => self.stack_bytes = value.next_multiple_of(16),
            CUlimit::CU_LIMIT_PRINTF_FIFO_SIZE => self.printf_bytes = value,
            CUlimit::CU_LIMIT_MALLOC_HEAP_SIZE => self.heap_bytes = value,
            // Hints, which may be clamped.
            CUlimit::CU_LIMIT_MAX_L2_FETCH_GRANULARITY => {
                self.l2_fetch_bytes = value.min(L2_FETCH_BYTES_MAX);
            }
            CUlimit::CU_LIMIT_PERSISTING_L2_CACHE_SIZE if architecture::current().major >= 8 => {
                self.persisting_l2_bytes = value.min(PERSISTING_L2_BYTES_MAX as usize);
            }
            CUlimit::CU_LIMIT_DEV_RUNTIME_SYNC_DEPTH if architecture::current().major >= 9 => {
                return Err(CUresult::CUDA_ERROR_UNSUPPORTED_LIMIT);
            }
            CUlimit::CU_LIMIT_DEV_RUNTIME_SYNC_DEPTH if value > SYNC_DEPTH_MAX => {
                return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
            }
            CUlimit::CU_LIMIT_DEV_RUNTIME_SYNC_DEPTH => self.sync_depth = value,
            CUlimit::CU_LIMIT_DEV_RUNTIME_PENDING_LAUNCH_COUNT => self.pending_launches = value,
            other => return Err(no_limit(other)),
        }
        Ok(())
    }
}

/// `CUDA_ERROR_INVALID_VALUE` for a preference that does not exist.
pub(super) fn check_cache_config(config: CUfunc_cache) -> Result<(), CUresult> {
    match config.name() {
        Some(_) => Ok(()),
        None => Err(CUresult::CUDA_ERROR_INVALID_VALUE),
    }
}

/// `CUDA_ERROR_INVALID_VALUE` for a bank size that does not exist.
pub(super) fn check_shared_config(config: CUsharedconfig) -> Result<(), CUresult> {
    match config.name() {
        Some(_) => Ok(()),
        None => Err(CUresult::CUDA_ERROR_INVALID_VALUE),
    }
}

fn no_limit(limit: CUlimit) -> CUresult {
    match limit.name() {
        Some(_) if limit != CUlimit::CU_LIMIT_MAX => CUresult::CUDA_ERROR_UNSUPPORTED_LIMIT,
        _ => CUresult::CUDA_ERROR_INVALID_VALUE,
    }
}
