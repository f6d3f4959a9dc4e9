// SPDX-License-Identifier: Apache-2.0
//! Streams. Making and ending one is posted; what it was made with is answered here.

use gvirtus_abi::{
    CU_STREAM_LEGACY, CU_STREAM_PER_THREAD, CUcontext, CUdevice, CUgreenCtx,
    CUlaunchAttributeID as Attribute, CUlaunchAttributeValue, CUresult, CUstream, CUstream_flags,
    CUstreamAttrID, CUstreamAttrValue,
};
use gvirtus_graph::{StreamKind, capture};
use gvirtus_protocol::command::Word;
use gvirtus_protocol::opcode;
use zerocopy::IntoBytes as _;
use zerocopy::little_endian::U64;

use super::{INVALID_VALUE, Status, put, required};
use crate::handle::Kind;
use crate::process::session;
use crate::session::{Session, stream_key};
use crate::thread;

/// `cuStreamCreate`.
pub unsafe fn cuStreamCreate(phStream: *mut CUstream, Flags: u32) -> Status {
    // SAFETY: the caller's promise.
    unsafe { cuStreamCreateWithPriority(phStream, Flags, 0) }
}

/// `cuStreamCreateWithPriority`. A priority out of range becomes the nearest one in range.
pub unsafe fn cuStreamCreateWithPriority(
    phStream: *mut CUstream,
    flags: u32,
    priority: i32,
) -> Status {
    let session = session()?;
    let context = session.current()?;
    let phStream = required(phStream)?;
    if flags & !CUstream_flags::CU_STREAM_NON_BLOCKING.0 != 0 {
        return Err(INVALID_VALUE);
    }
    let priority = match priority {
        0 => 0,
        priority => {
            let (mut least, mut greatest) = (0, 0);
            // SAFETY: two places for numbers.
            unsafe { super::cuCtxGetStreamPriorityRange(&raw mut least, &raw mut greatest)? };
            // The greatest priority is the smallest number.
            priority.max(greatest).min(least)
        }
    };
    let current = thread::current(session);
    let key = session.create_stream(context, current, flags, priority)?;
    // SAFETY: the caller's promise.
    unsafe { put(phStream, CUstream(key.handle(Kind::Stream))) }
}

/// `cuStreamDestroy`.
pub unsafe fn cuStreamDestroy(hStream: CUstream) -> Status {
    // SAFETY: the caller's promise.
    unsafe { cuStreamDestroy_v2(hStream) }
}

/// `cuStreamDestroy_v2`.
pub unsafe fn cuStreamDestroy_v2(hStream: CUstream) -> Status {
    let session = session()?;
    session.destroy_stream(stream_key(hStream)?)?;
    session.wire.faults().take_deferred()
}

/// `cuStreamSynchronize`.
pub unsafe fn cuStreamSynchronize(default_stream: CUstream, hStream: CUstream) -> Status {
    let session = session()?;
    let stream = session.capturable(default_stream, hStream)?;
    if capture::is_possible() {
        capture::check_stream_wait(&graph_stream(session, default_stream, hStream)?)?;
    }
    let body = Word {
        word: U64::new(stream.number.into()),
    };
    let reply =
        session.call_or_deferred(opcode::cuStreamSynchronize, stream.context, body.as_bytes());
    reply.map(drop)
}

/// `cuStreamGetPriority`.
pub unsafe fn cuStreamGetPriority(
    default_stream: CUstream,
    hStream: CUstream,
    priority: *mut i32,
) -> Status {
    let known = known(session()?, default_stream, hStream)?;
    // SAFETY: the caller's promise.
    unsafe { put(priority, known.priority) }
}

/// `cuStreamGetId`.
pub unsafe fn cuStreamGetId(
    default_stream: CUstream,
    hStream: CUstream,
    streamId: *mut u64,
) -> Status {
    let known = known(session()?, default_stream, hStream)?;
    // SAFETY: the caller's promise.
    unsafe { put(streamId, known.id) }
}

/// `cuStreamGetFlags`.
pub unsafe fn cuStreamGetFlags(
    default_stream: CUstream,
    hStream: CUstream,
    flags: *mut u32,
) -> Status {
    let known = known(session()?, default_stream, hStream)?;
    // SAFETY: the caller's promise.
    unsafe { put(flags, known.flags) }
}

/// `cuStreamGetDevice`.
pub unsafe fn cuStreamGetDevice(
    default_stream: CUstream,
    hStream: CUstream,
    device: *mut CUdevice,
) -> Status {
    let known = known(session()?, default_stream, hStream)?;
    let ordinal = i32::try_from(known.device).map_err(|_| CUresult::CUDA_ERROR_UNKNOWN)?;
    // SAFETY: the caller's promise.
    unsafe { put(device, CUdevice(ordinal)) }
}

/// `cuStreamGetCtx`.
pub unsafe fn cuStreamGetCtx(
    default_stream: CUstream,
    hStream: CUstream,
    pctx: *mut CUcontext,
) -> Status {
    let known = known(session()?, default_stream, hStream)?;
    // SAFETY: the caller's promise.
    unsafe { put(pctx, known.context_handle) }
}

/// `cuStreamGetCtx_v2`: no stream belongs to a green context.
pub unsafe fn cuStreamGetCtx_v2(
    default_stream: CUstream,
    hStream: CUstream,
    pCtx: *mut CUcontext,
    pGreenCtx: *mut CUgreenCtx,
) -> Status {
    let known = known(session()?, default_stream, hStream)?;
    if !pGreenCtx.is_null() {
        // SAFETY: the caller's promise.
        unsafe { put(pGreenCtx, CUgreenCtx::NULL)? };
    }
    if pCtx.is_null() {
        return Ok(());
    }
    // SAFETY: the caller's promise.
    unsafe { put(pCtx, known.context_handle) }
}

/// `cuStreamSetAttribute`: the attributes are hints about speed; they are remembered.
pub unsafe fn cuStreamSetAttribute(
    default_stream: CUstream,
    hStream: CUstream,
    attr: CUstreamAttrID,
    param: *const CUstreamAttrValue,
) -> Status {
    let session = session()?;
    let known = known(session, default_stream, hStream)?;
    let param = required(param.cast_mut())?;
    if !is_stream_attribute(attr) {
        return Err(INVALID_VALUE);
    }
    // SAFETY: not null, and then valid for reading by the caller's promise.
    let value = unsafe { param.read() };
    let mut all = session.stream_attributes.lock();
    all.insert((known.id, attr.0), StreamAttribute(value));
    Ok(())
}

/// `cuStreamGetAttribute`.
pub unsafe fn cuStreamGetAttribute(
    default_stream: CUstream,
    hStream: CUstream,
    attr: CUstreamAttrID,
    value: *mut CUstreamAttrValue,
) -> Status {
    let session = session()?;
    let known = known(session, default_stream, hStream)?;
    if !is_stream_attribute(attr) {
        return Err(INVALID_VALUE);
    }
    let set = session
        .stream_attributes
        .lock()
        .get(&(known.id, attr.0))
        .copied();
    let unset = || {
        let mut value = CUlaunchAttributeValue { pad: [0; 64] };
        if attr == Attribute::CU_LAUNCH_ATTRIBUTE_PRIORITY {
            value.priority = known.priority;
        }
        StreamAttribute(value)
    };
    // SAFETY: the caller's promise.
    unsafe { put(value, set.unwrap_or_else(unset).0) }
}

/// `cuStreamCopyAttributes`.
pub unsafe fn cuStreamCopyAttributes(
    default_stream: CUstream,
    dstStream: CUstream,
    srcStream: CUstream,
) -> Status {
    let session = session()?;
    let to = known(session, default_stream, dstStream)?;
    let from = known(session, default_stream, srcStream)?;
    let mut all = session.stream_attributes.lock();
    let copied: Vec<_> = all
        .iter()
        .filter(|((stream, _), _)| *stream == from.id)
        .map(|((_, attribute), value)| ((to.id, *attribute), *value))
        .collect();
    all.extend(copied);
    Ok(())
}

/// The value of a stream's attribute.
#[derive(Clone, Copy)]
pub(crate) struct StreamAttribute(CUlaunchAttributeValue);

// SAFETY: the pointers in it are addresses that nobody follows.
unsafe impl Send for StreamAttribute {}

/// A stream as captures know it.
///
/// # Errors
///
/// `CUDA_ERROR_INVALID_HANDLE` and its kin.
pub(crate) fn graph_stream(
    session: &Session,
    default: CUstream,
    handle: CUstream,
) -> Result<gvirtus_graph::Stream, CUresult> {
    let known = known(session, default, handle)?;
    let is_blocking = known.flags & CUstream_flags::CU_STREAM_NON_BLOCKING.0 == 0;
    Ok(gvirtus_graph::Stream {
        id: known.id,
        context: known.context_handle,
        kind: match (known.handle, is_blocking) {
            (CU_STREAM_LEGACY, _) => StreamKind::Legacy,
            (_, true) => StreamKind::Blocking,
            (_, false) => StreamKind::NonBlocking,
        },
        handle: known.handle,
    })
}

/// What was known of a stream when it was made.
struct Known {
    /// As the calling thread names it.
    handle: CUstream,
    context_handle: CUcontext,
    device: u32,
    flags: u32,
    priority: i32,
    id: u64,
}

fn known(session: &Session, default: CUstream, handle: CUstream) -> Result<Known, CUresult> {
    let key = match if handle.is_null() { default } else { handle } {
        CU_STREAM_LEGACY => {
            let context = session.current()?;
            let entry = *session.contexts.lock().entry(context.number);
            return Ok(Known {
                handle: CU_STREAM_LEGACY,
                context_handle: entry.handle(),
                device: entry.device,
                flags: 0,
                priority: 0,
                id: entry.legacy_stream_id,
            });
        }
        CU_STREAM_PER_THREAD => session.thread_stream(session.current()?)?,
        handle => stream_key(handle)?,
    };
    let stream = session.streams.get(key);
    let stream = stream.ok_or(CUresult::CUDA_ERROR_INVALID_HANDLE)?;
    session.wire.faults().check()?;
    Ok(Known {
        handle: CUstream(key.handle(Kind::Stream)),
        context_handle: stream.context_handle,
        device: stream.device,
        flags: stream.flags,
        priority: stream.priority,
        id: stream.id,
    })
}

fn is_stream_attribute(attribute: CUstreamAttrID) -> bool {
    matches!(
        attribute,
        Attribute::CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW
            | Attribute::CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY
            | Attribute::CU_LAUNCH_ATTRIBUTE_PRIORITY
            | Attribute::CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP
            | Attribute::CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN
    )
}
