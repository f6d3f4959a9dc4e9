// SPDX-License-Identifier: Apache-2.0
//! Contexts. Primary contexts are retained at the worker when the application first retains them;
//! making and ending contexts is posted.

use gvirtus_abi::{
    CUcontext, CUctx_flags, CUctxCreateParams, CUdevice, CUdevice_attribute, CUexecAffinityParam,
    CUexecAffinityType, CUfunc_cache, CUresult,
};
use gvirtus_graph::capture;
use gvirtus_protocol::command::{ContextCreate, DeviceFlags, Word};
use gvirtus_protocol::opcode;
use zerocopy::IntoBytes as _;
use zerocopy::little_endian::{U32, U64};

use super::{INVALID_VALUE, Status, put, put_optional, required};
use crate::context::{Context, Entry};
use crate::process::session;
use crate::session::Session;
use crate::thread;

/// `cuDevicePrimaryCtxRetain`.
pub unsafe fn cuDevicePrimaryCtxRetain(pctx: *mut CUcontext, dev: CUdevice) -> Status {
    let session = session()?;
    let device = ordinal(session, dev)?;
    let pctx = required(pctx)?;
    let handle = session.contexts.primary(dev)?;
    let mut table = session.contexts.lock();
    let entry = table.primary(device);
    if !entry.is_alive {
        session
            .contexts
            .revive(entry, session.new_id(), session.new_id());
        entry.retained_by_worker += 1;
        let body = ContextCreate {
            device: U32::new(device),
            flags: U32::new(entry.flags),
        };
        session.post(
            opcode::cuDevicePrimaryCtxRetain,
            entry.context().number,
            body.as_bytes(),
        )?;
    }
    entry.retained += 1;
    drop(table);
    // SAFETY: the caller's promise.
    unsafe { put(pctx, handle) }
}

/// `cuDevicePrimaryCtxRelease`.
pub unsafe fn cuDevicePrimaryCtxRelease(dev: CUdevice) -> Status {
    // SAFETY: the caller's promise.
    unsafe { cuDevicePrimaryCtxRelease_v2(dev) }
}

/// `cuDevicePrimaryCtxRelease_v2`.
pub unsafe fn cuDevicePrimaryCtxRelease_v2(dev: CUdevice) -> Status {
    let session = session()?;
    let device = ordinal(session, dev)?;
    let mut table = session.contexts.lock();
    let entry = table.primary(device);
    let left = entry.retained.checked_sub(1);
    entry.retained = left.ok_or(CUresult::CUDA_ERROR_INVALID_CONTEXT)?;
    if entry.retained > 0 {
        return Ok(());
    }
    let was_alive = entry.is_alive;
    session.contexts.end(entry);
    let number = entry.context().number;
    for _ in 0..std::mem::take(&mut entry.retained_by_worker) {
        session.post_word(opcode::cuDevicePrimaryCtxRelease_v2, number, number.into())?;
    }
    let ended = *entry;
    drop(table);
    if was_alive {
        session.context_ended(&ended, false);
    }
    Ok(())
}

/// `cuDevicePrimaryCtxSetFlags`.
pub unsafe fn cuDevicePrimaryCtxSetFlags(dev: CUdevice, flags: u32) -> Status {
    // SAFETY: the caller's promise.
    unsafe { cuDevicePrimaryCtxSetFlags_v2(dev, flags) }
}

/// `cuDevicePrimaryCtxSetFlags_v2`.
pub unsafe fn cuDevicePrimaryCtxSetFlags_v2(dev: CUdevice, flags: u32) -> Status {
    let session = session()?;
    let device = ordinal(session, dev)?;
    check_flags(flags)?;
    let body = DeviceFlags {
        device: U32::new(device),
        flags: U32::new(flags),
    };
    session.call(
        opcode::cuDevicePrimaryCtxSetFlags_v2,
        session.current_number(),
        body.as_bytes(),
    )?;
    session.contexts.lock().primary(device).flags = flags;
    Ok(())
}

/// `cuDevicePrimaryCtxGetState`.
pub unsafe fn cuDevicePrimaryCtxGetState(
    dev: CUdevice,
    flags: *mut u32,
    active: *mut i32,
) -> Status {
    let session = session()?;
    let device = ordinal(session, dev)?;
    let entry = *session.contexts.lock().primary(device);
    // SAFETY: the caller's promise.
    unsafe { put_optional(flags, entry.flags) };
    // SAFETY: the caller's promise.
    unsafe { put_optional(active, entry.is_alive.into()) };
    Ok(())
}

/// `cuDevicePrimaryCtxReset`.
pub unsafe fn cuDevicePrimaryCtxReset(dev: CUdevice) -> Status {
    // SAFETY: the caller's promise.
    unsafe { cuDevicePrimaryCtxReset_v2(dev) }
}

/// `cuDevicePrimaryCtxReset_v2`: ends the context; who retained it still has to release it.
pub unsafe fn cuDevicePrimaryCtxReset_v2(dev: CUdevice) -> Status {
    let session = session()?;
    let device = ordinal(session, dev)?;
    let mut table = session.contexts.lock();
    let entry = table.primary(device);
    let was_alive = entry.is_alive;
    session.contexts.end(entry);
    entry.flags = 0;
    let ended = *entry;
    let body = Word {
        word: U64::new(device.into()),
    };
    let result = session.call(opcode::cuDevicePrimaryCtxReset_v2, 0, body.as_bytes());
    drop(table);
    if was_alive {
        session.context_ended(&ended, true);
    }
    result.map(drop)
}

/// `cuCtxCreate_v2`.
pub unsafe fn cuCtxCreate_v2(pctx: *mut CUcontext, flags: u32, dev: CUdevice) -> Status {
    let session = session()?;
    let device = ordinal(session, dev)?;
    let pctx = required(pctx)?;
    check_flags(flags)?;
    let mut table = session.contexts.lock();
    let entry = table.insert(device, flags);
    let entry = entry.ok_or(CUresult::CUDA_ERROR_OUT_OF_MEMORY)?;
    session
        .contexts
        .revive(entry, session.new_id(), session.new_id());
    let body = ContextCreate {
        device: U32::new(device),
        flags: U32::new(flags),
    };
    let made = *entry;
    session.post(
        opcode::cuCtxCreate_v4,
        made.context().number,
        body.as_bytes(),
    )?;
    drop(table);
    thread::push(session, made.handle());
    // SAFETY: the caller's promise.
    unsafe { put(pctx, made.handle()) }
}

/// `cuCtxCreate_v3`.
pub unsafe fn cuCtxCreate_v3(
    pctx: *mut CUcontext,
    paramsArray: *mut CUexecAffinityParam,
    numParams: i32,
    flags: u32,
    dev: CUdevice,
) -> Status {
    if !paramsArray.is_null() || numParams != 0 {
        return Err(CUresult::CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY);
    }
    // SAFETY: the caller's promise.
    unsafe { cuCtxCreate_v2(pctx, flags, dev) }
}

/// `cuCtxCreate_v4`.
pub unsafe fn cuCtxCreate_v4(
    pctx: *mut CUcontext,
    ctxCreateParams: *mut CUctxCreateParams,
    flags: u32,
    dev: CUdevice,
) -> Status {
    // SAFETY: null, or valid for reading by the caller's promise.
    if let Some(params) = unsafe { ctxCreateParams.as_ref() } {
        if params.numExecAffinityParams != 0 {
            return Err(CUresult::CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY);
        }
        if !params.cigParams.is_null() {
            return Err(gvirtus_driver_face::unsupported(
                "cuCtxCreate_v4 with graphics",
            ));
        }
    }
    // SAFETY: the caller's promise.
    unsafe { cuCtxCreate_v2(pctx, flags, dev) }
}

/// `cuCtxDestroy`.
pub unsafe fn cuCtxDestroy(ctx: CUcontext) -> Status {
    // SAFETY: the caller's promise.
    unsafe { cuCtxDestroy_v2(ctx) }
}

/// `cuCtxDestroy_v2`. The calling thread loses it if it is current there.
pub unsafe fn cuCtxDestroy_v2(ctx: CUcontext) -> Status {
    let session = session()?;
    let mut table = session.contexts.lock();
    let context = session.contexts.find(ctx)?;
    if session.contexts.is_primary(context) {
        return Err(CUresult::CUDA_ERROR_INVALID_CONTEXT);
    }
    let entry = table.entry(context.number);
    session.contexts.end(entry);
    let ended = *entry;
    let number = context.number;
    session.post_word(opcode::cuCtxDestroy_v2, number, number.into())?;
    drop(table);
    session.context_ended(&ended, true);
    session.contexts.lock().release(context);
    if thread::current(session) == ctx {
        thread::pop(session)?;
    }
    Ok(())
}

/// `cuCtxPushCurrent_v2`.
pub unsafe fn cuCtxPushCurrent_v2(ctx: CUcontext) -> Status {
    let session = session()?;
    session.contexts.check_current(ctx)?;
    thread::push(session, ctx);
    Ok(())
}

/// `cuCtxPopCurrent_v2`.
pub unsafe fn cuCtxPopCurrent_v2(pctx: *mut CUcontext) -> Status {
    let popped = thread::pop(session()?)?;
    // SAFETY: the caller's promise.
    unsafe { put_optional(pctx, popped) };
    Ok(())
}

/// `cuCtxSetCurrent`.
pub unsafe fn cuCtxSetCurrent(ctx: CUcontext) -> Status {
    let session = session()?;
    // NVIDIA's cudart makes a primary context current before it retains it.
    if !ctx.is_null() && !session.contexts.is_primary_handle(ctx) {
        session.contexts.find(ctx)?;
    }
    thread::set_current(session, ctx);
    Ok(())
}

/// `cuCtxGetCurrent`.
pub unsafe fn cuCtxGetCurrent(pctx: *mut CUcontext) -> Status {
    let current = thread::current(session()?);
    // SAFETY: the caller's promise.
    unsafe { put(pctx, current) }
}

/// `cuCtxGetDevice`.
pub unsafe fn cuCtxGetDevice(device: *mut CUdevice) -> Status {
    // SAFETY: the caller's promise.
    unsafe { cuCtxGetDevice_v2(device, CUcontext::NULL) }
}

/// `cuCtxGetDevice_v2`.
pub unsafe fn cuCtxGetDevice_v2(device: *mut CUdevice, ctx: CUcontext) -> Status {
    let context = given_or_current(session()?, ctx)?;
    let ordinal = i32::try_from(context.device).map_err(|_| CUresult::CUDA_ERROR_UNKNOWN)?;
    // SAFETY: the caller's promise.
    unsafe { put(device, CUdevice(ordinal)) }
}

/// `cuCtxGetFlags`.
pub unsafe fn cuCtxGetFlags(flags: *mut u32) -> Status {
    let entry = entry(session()?, CUcontext::NULL)?;
    // SAFETY: the caller's promise.
    unsafe { put(flags, entry.flags) }
}

/// `cuCtxSetFlags`.
pub unsafe fn cuCtxSetFlags(flags: u32) -> Status {
    let session = session()?;
    let context = session.current()?;
    check_flags(flags)?;
    let body = DeviceFlags {
        device: U32::new(context.device),
        flags: U32::new(flags),
    };
    session.post(opcode::cuCtxSetFlags, context.number, body.as_bytes())?;
    session.contexts.lock().entry(context.number).flags = flags;
    Ok(())
}

/// `cuCtxGetId`.
pub unsafe fn cuCtxGetId(ctx: CUcontext, ctxId: *mut u64) -> Status {
    let entry = entry(session()?, ctx)?;
    // SAFETY: the caller's promise.
    unsafe { put(ctxId, entry.id) }
}

/// `cuCtxSynchronize`.
pub unsafe fn cuCtxSynchronize() -> Status {
    let session = session()?;
    let context = session.current()?;
    synchronize(session, context)
}

/// `cuCtxSynchronize_v2`.
pub unsafe fn cuCtxSynchronize_v2(ctx: CUcontext) -> Status {
    let session = session()?;
    let context = given_or_current(session, ctx)?;
    session.wire.faults().check()?;
    synchronize(session, context)
}

/// `cuCtxGetCacheConfig`.
pub unsafe fn cuCtxGetCacheConfig(pconfig: *mut CUfunc_cache) -> Status {
    let entry = entry(session()?, CUcontext::NULL)?;
    // SAFETY: the caller's promise.
    unsafe { put(pconfig, entry.cache_config) }
}

/// `cuCtxSetCacheConfig`.
pub unsafe fn cuCtxSetCacheConfig(config: CUfunc_cache) -> Status {
    if config.name().is_none() {
        return Err(INVALID_VALUE);
    }
    // SAFETY: the caller's promise.
    unsafe { crate::regular::cuCtxSetCacheConfig(config)? };
    let session = session()?;
    let context = session.current()?;
    session.contexts.lock().entry(context.number).cache_config = config;
    Ok(())
}

/// `cuCtxGetApiVersion`: 3020, of all contexts since CUDA 3.2.
pub unsafe fn cuCtxGetApiVersion(ctx: CUcontext, version: *mut u32) -> Status {
    const API_VERSION: u32 = 3020;
    given_or_current(session()?, ctx)?;
    // SAFETY: the caller's promise.
    unsafe { put(version, API_VERSION) }
}

/// `cuCtxGetExecAffinity`: a context has all multiprocessors.
pub unsafe fn cuCtxGetExecAffinity(
    pExecAffinity: *mut CUexecAffinityParam,
    type_: CUexecAffinityType,
) -> Status {
    let session = session()?;
    let context = session.current()?;
    if type_ != CUexecAffinityType::CU_EXEC_AFFINITY_TYPE_SM_COUNT {
        return Err(INVALID_VALUE);
    }
    let count = CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;
    let count = session.devices[context.device as usize].attribute(count);
    let count = count.and_then(|count| u32::try_from(count).ok());
    let place = required(pExecAffinity)?;
    // SAFETY: not null, and then valid for writing by the caller's promise.
    unsafe { (*place).r#type = type_ };
    // SAFETY: as above.
    unsafe { (*place).param.smCount.val = count.unwrap_or(0) };
    Ok(())
}

fn synchronize(session: &Session, context: Context) -> Status {
    if capture::is_possible() {
        let entry = *session.contexts.lock().entry(context.number);
        capture::check_context_wait(entry.handle())?;
    }
    let reply = session.call_or_deferred(opcode::cuCtxSynchronize, context.number, &[]);
    reply.map(drop)
}

/// The context, or the current one for null. It need not be able to work.
fn given_or_current(session: &Session, ctx: CUcontext) -> Result<Context, CUresult> {
    let handle = if ctx.is_null() {
        thread::current(session)
    } else {
        ctx
    };
    session.contexts.find(handle)
}

fn entry(session: &Session, ctx: CUcontext) -> Result<Entry, CUresult> {
    let context = given_or_current(session, ctx)?;
    Ok(*session.contexts.lock().entry(context.number))
}

fn check_flags(flags: u32) -> Status {
    if flags & !CUctx_flags::CU_CTX_FLAGS_MASK.0 != 0 {
        return Err(INVALID_VALUE);
    }
    match CUctx_flags(flags & CUctx_flags::CU_CTX_SCHED_MASK.0) {
        CUctx_flags::CU_CTX_SCHED_AUTO
        | CUctx_flags::CU_CTX_SCHED_SPIN
        | CUctx_flags::CU_CTX_SCHED_YIELD
        | CUctx_flags::CU_CTX_SCHED_BLOCKING_SYNC => Ok(()),
        _ => Err(INVALID_VALUE),
    }
}

fn ordinal(session: &Session, device: CUdevice) -> Result<u32, CUresult> {
    session.device(device)?;
    u32::try_from(device.0).map_err(|_| CUresult::CUDA_ERROR_INVALID_DEVICE)
}
