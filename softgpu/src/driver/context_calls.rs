// SPDX-License-Identifier: Apache-2.0
//! The functions about contexts (`cuda.h`: "Primary Context Management", "Context Management").

use std::sync::atomic::Ordering;

use gvirtus_abi::{
    CUcontext, CUctxCreateParams, CUdevice, CUexecAffinityParam, CUexecAffinityType, CUfunc_cache,
    CUlimit, CUresult, CUsharedconfig,
};

use gvirtus_graph::capture;

use super::arguments::{optional_out, out};
use super::context;
use super::context_settings::{check_cache_config, check_shared_config};
use super::device::device;
use super::limits::STREAM_PRIORITIES;

pub(crate) unsafe fn cuDevicePrimaryCtxRetain(
    pctx: *mut CUcontext,
    dev: CUdevice,
) -> Result<(), CUresult> {
    let device = device(dev)?;
    if pctx.is_null() {
        return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
    }
    out!(pctx = context::retain_primary(device)?);
    Ok(())
}

pub(crate) fn cuDevicePrimaryCtxRelease(dev: CUdevice) -> Result<(), CUresult> {
    context::release_primary(device(dev)?)
}

pub(crate) fn cuDevicePrimaryCtxRelease_v2(dev: CUdevice) -> Result<(), CUresult> {
    cuDevicePrimaryCtxRelease(dev)
}

pub(crate) fn cuDevicePrimaryCtxSetFlags(dev: CUdevice, flags: u32) -> Result<(), CUresult> {
    let device = device(dev)?;
    if context::primary_state(device).1 {
        return Err(CUresult::CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE);
    }
    context::set_primary_flags(device, flags)
}

pub(crate) fn cuDevicePrimaryCtxSetFlags_v2(dev: CUdevice, flags: u32) -> Result<(), CUresult> {
    context::set_primary_flags(device(dev)?, flags)
}

pub(crate) unsafe fn cuDevicePrimaryCtxGetState(
    dev: CUdevice,
    flags: *mut u32,
    active: *mut i32,
) -> Result<(), CUresult> {
    let (current_flags, is_active) = context::primary_state(device(dev)?);
    out!(flags = current_flags);
    out!(active = i32::from(is_active));
    Ok(())
}

pub(crate) fn cuDevicePrimaryCtxReset(dev: CUdevice) -> Result<(), CUresult> {
    context::reset_primary(device(dev)?);
    Ok(())
}

pub(crate) fn cuDevicePrimaryCtxReset_v2(dev: CUdevice) -> Result<(), CUresult> {
    cuDevicePrimaryCtxReset(dev)
}

pub(crate) unsafe fn cuCtxCreate_v2(
    pctx: *mut CUcontext,
    flags: u32,
    dev: CUdevice,
) -> Result<(), CUresult> {
    if pctx.is_null() {
        return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
    }
    out!(pctx = context::create(flags, dev)?);
    Ok(())
}

pub(crate) unsafe fn cuCtxCreate_v3(
    pctx: *mut CUcontext,
    _: *mut CUexecAffinityParam,
    numParams: i32,
    flags: u32,
    dev: CUdevice,
) -> Result<(), CUresult> {
    if numParams != 0 {
        return Err(CUresult::CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY);
    }
    // SAFETY: the same contract.
    unsafe { cuCtxCreate_v2(pctx, flags, dev) }
}

pub(crate) unsafe fn cuCtxCreate_v4(
    pctx: *mut CUcontext,
    ctxCreateParams: *mut CUctxCreateParams,
    flags: u32,
    dev: CUdevice,
) -> Result<(), CUresult> {
    if !ctxCreateParams.is_null() {
        // SAFETY: the contract of cuda.h: null or a structure.
        let parameters = unsafe { ctxCreateParams.read() };
        if !parameters.cigParams.is_null() {
            return Err(CUresult::CUDA_ERROR_NOT_SUPPORTED);
        }
        if parameters.numExecAffinityParams != 0 {
            return Err(CUresult::CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY);
        }
    }
    // SAFETY: the same contract.
    unsafe { cuCtxCreate_v2(pctx, flags, dev) }
}

pub(crate) fn cuCtxDestroy(ctx: CUcontext) -> Result<(), CUresult> {
    context::destroy(ctx)
}

pub(crate) fn cuCtxDestroy_v2(ctx: CUcontext) -> Result<(), CUresult> {
    context::destroy(ctx)
}

pub(crate) fn cuCtxPushCurrent_v2(ctx: CUcontext) -> Result<(), CUresult> {
    context::push_current(ctx)
}

pub(crate) unsafe fn cuCtxPopCurrent_v2(pctx: *mut CUcontext) -> Result<(), CUresult> {
    super::device::devices()?;
    if context::current_handle().is_null() {
        return Err(CUresult::CUDA_ERROR_INVALID_CONTEXT);
    }
    let popped = context::pop();
    optional_out!(pctx = popped);
    Ok(())
}

pub(crate) fn cuCtxSetCurrent(ctx: CUcontext) -> Result<(), CUresult> {
    context::set_current(ctx)
}

pub(crate) unsafe fn cuCtxGetCurrent(pctx: *mut CUcontext) -> Result<(), CUresult> {
    super::device::devices()?;
    out!(pctx = context::current_handle());
    Ok(())
}

pub(crate) unsafe fn cuCtxGetDevice(device: *mut CUdevice) -> Result<(), CUresult> {
    out!(device = context::current()?.device.handle());
    Ok(())
}

pub(crate) unsafe fn cuCtxGetDevice_v2(
    device: *mut CUdevice,
    ctx: CUcontext,
) -> Result<(), CUresult> {
    out!(device = context::find_or_current(ctx)?.device.handle());
    Ok(())
}

pub(crate) unsafe fn cuCtxGetFlags(flags: *mut u32) -> Result<(), CUresult> {
    out!(flags = context::current()?.flags.load(Ordering::Relaxed));
    Ok(())
}

pub(crate) fn cuCtxSetFlags(flags: u32) -> Result<(), CUresult> {
    let context = context::current()?;
    context::check_flags(flags)?;
    context.flags.store(flags, Ordering::Relaxed);
    Ok(())
}

pub(crate) unsafe fn cuCtxGetId(ctx: CUcontext, ctxId: *mut u64) -> Result<(), CUresult> {
    out!(ctxId = context::find_or_current(ctx)?.id);
    Ok(())
}

pub(crate) fn cuCtxSynchronize() -> Result<(), CUresult> {
    synchronize(context::current()?.as_ref())
}

pub(crate) fn cuCtxSynchronize_v2(ctx: CUcontext) -> Result<(), CUresult> {
    synchronize(context::find_or_current(ctx)?.as_ref())
}

fn synchronize(context: &context::Context) -> Result<(), CUresult> {
    if capture::is_possible() {
        capture::check_context_wait(context.handle)?;
    }
    context.synchronize()
}

pub(crate) fn cuCtxSetLimit(limit: CUlimit, value: usize) -> Result<(), CUresult> {
    let context = context::usable()?;
    let is_in_use = match limit {
        CUlimit::CU_LIMIT_MALLOC_HEAP_SIZE => context.has_allocated.load(Ordering::Relaxed),
        CUlimit::CU_LIMIT_PRINTF_FIFO_SIZE => context.has_printed.load(Ordering::Relaxed),
        _ => false,
    };
    if is_in_use {
        return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
    }
    context.settings.lock().set_limit(limit, value)?;
    match limit {
        CUlimit::CU_LIMIT_MALLOC_HEAP_SIZE => context.heap.set_limit(value as u64),
        CUlimit::CU_LIMIT_PRINTF_FIFO_SIZE => context.printed.set_limit(value),
        _ => {}
    }
    Ok(())
}

pub(crate) unsafe fn cuCtxGetLimit(pvalue: *mut usize, limit: CUlimit) -> Result<(), CUresult> {
    let settings = *context::usable()?.settings.lock();
    out!(pvalue = settings.limit(limit)?);
    Ok(())
}

pub(crate) unsafe fn cuCtxGetCacheConfig(pconfig: *mut CUfunc_cache) -> Result<(), CUresult> {
    let settings = *context::usable()?.settings.lock();
    out!(pconfig = settings.cache_config);
    Ok(())
}

pub(crate) fn cuCtxSetCacheConfig(config: CUfunc_cache) -> Result<(), CUresult> {
    let context = context::usable()?;
    check_cache_config(config)?;
    context.settings.lock().cache_config = config;
    Ok(())
}

/// What contexts can do has not changed since CUDA 3.2.
pub(crate) unsafe fn cuCtxGetApiVersion(ctx: CUcontext, version: *mut u32) -> Result<(), CUresult> {
    context::find_or_current(ctx)?;
    out!(version = 3020);
    Ok(())
}

pub(crate) unsafe fn cuCtxGetStreamPriorityRange(
    leastPriority: *mut i32,
    greatestPriority: *mut i32,
) -> Result<(), CUresult> {
    context::usable()?;
    let [least, greatest] = STREAM_PRIORITIES;
    optional_out!(leastPriority = least);
    optional_out!(greatestPriority = greatest);
    Ok(())
}

/// There is no L2 cache in which anything could persist.
pub(crate) fn cuCtxResetPersistingL2Cache() -> Result<(), CUresult> {
    context::usable().map(drop)
}

pub(crate) fn cuCtxGetExecAffinity(
    _: *mut CUexecAffinityParam,
    _: CUexecAffinityType,
) -> Result<(), CUresult> {
    context::usable()?;
    Err(CUresult::CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY)
}

/// The bank size is fixed, as it is on real devices of this compute capability.
pub(crate) unsafe fn cuCtxGetSharedMemConfig(pConfig: *mut CUsharedconfig) -> Result<(), CUresult> {
    context::usable()?;
    out!(pConfig = CUsharedconfig::CU_SHARED_MEM_CONFIG_FOUR_BYTE_BANK_SIZE);
    Ok(())
}

pub(crate) fn cuCtxSetSharedMemConfig(config: CUsharedconfig) -> Result<(), CUresult> {
    context::usable()?;
    check_shared_config(config)
}
