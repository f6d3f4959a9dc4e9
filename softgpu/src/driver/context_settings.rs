// SPDX-License-Identifier: Apache-2.0
//! What a context remembers for the application: limits and preferences.

use gvirtus_abi::{CUfunc_cache, CUlimit, CUresult, CUsharedconfig};

use super::limits::{
    DEFAULT_HEAP_BYTES, DEFAULT_L2_FETCH_BYTES, DEFAULT_PENDING_LAUNCHES, DEFAULT_PRINTF_BYTES,
    DEFAULT_STACK_BYTES, DEFAULT_SYNC_DEPTH,
};
use crate::limits::MAX_LOCAL_BYTES_PER_THREAD;

/// Settings of a context. Preferences are stored only: the device has no caches to configure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    stack_bytes: usize,
    printf_bytes: usize,
    heap_bytes: usize,
    l2_fetch_bytes: usize,
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
            sync_depth: DEFAULT_SYNC_DEPTH,
            pending_launches: DEFAULT_PENDING_LAUNCHES,
            cache_config: CUfunc_cache::CU_FUNC_CACHE_PREFER_NONE,
        }
    }
}

impl Settings {
    /// `cuCtxGetLimit`.
    pub(super) fn limit(&self, limit: CUlimit) -> Result<usize, CUresult> {
        Ok(match limit {
            CUlimit::CU_LIMIT_STACK_SIZE => self.stack_bytes,
            CUlimit::CU_LIMIT_PRINTF_FIFO_SIZE => self.printf_bytes,
            CUlimit::CU_LIMIT_MALLOC_HEAP_SIZE => self.heap_bytes,
            CUlimit::CU_LIMIT_MAX_L2_FETCH_GRANULARITY => self.l2_fetch_bytes,
            CUlimit::CU_LIMIT_PERSISTING_L2_CACHE_SIZE => 0,
            CUlimit::CU_LIMIT_DEV_RUNTIME_SYNC_DEPTH => self.sync_depth,
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
            CUlimit::CU_LIMIT_MAX_L2_FETCH_GRANULARITY if value > 128 => {
                return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
            }
            CUlimit::CU_LIMIT_MAX_L2_FETCH_GRANULARITY => self.l2_fetch_bytes = value,
            CUlimit::CU_LIMIT_DEV_RUNTIME_SYNC_DEPTH => self.sync_depth = value,
            // Kernels may launch more: a launch takes little.
            CUlimit::CU_LIMIT_DEV_RUNTIME_PENDING_LAUNCH_COUNT => self.pending_launches = value,
            CUlimit::CU_LIMIT_PERSISTING_L2_CACHE_SIZE => {
                return Err(CUresult::CUDA_ERROR_UNSUPPORTED_LIMIT);
            }
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
