// SPDX-License-Identifier: Apache-2.0
//! Streams as the application sees them (`cuda.h`: "Stream Management"); their work is done by the
//! [`scheduler`](super::scheduler).

use std::cell::RefCell;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gvirtus_abi::{
    CU_STREAM_LEGACY, CU_STREAM_PER_THREAD, CUcontext, CUdevice, CUevent, CUgreenCtx, CUresult,
    CUstream, CUstreamAttrID, CUstreamAttrValue,
};
use gvirtus_graph::capture;
use parking_lot::Mutex;

use super::arguments::{optional_out, out};
use super::context::{self, Context};
use super::graph::stream_of;
use super::handles::{self, Handles};
use super::limits::STREAM_PRIORITIES;
use super::scheduler::{Kind, SCHEDULER, StreamId};
use super::{event, pool};

const NON_BLOCKING: u32 = gvirtus_abi::CUstream_flags::CU_STREAM_NON_BLOCKING.0;

/// A stream that the application made, or a thread's default stream.
pub(super) struct Stream {
    handle: CUstream,
    context: Arc<Context>,
    id: StreamId,
    flags: u32,
    priority: i32,
    unique: u64,
    attributes: Mutex<Vec<(CUstreamAttrID, Stored)>>,
}

/// A [`CUstreamAttrValue`], of which the application may have filled in a part only.
type Stored = MaybeUninit<[u8; size_of::<CUstreamAttrValue>()]>;

impl Drop for Stream {
    fn drop(&mut self) {
        SCHEDULER.remove_stream(self.id);
    }
}

impl Stream {
    /// Whether it and the legacy stream wait for each other.
    pub(super) fn is_blocking(&self) -> bool {
        self.flags & NON_BLOCKING == 0
    }
}

/// Where an operation goes.
pub(super) enum Target {
    /// The legacy default stream of a context.
    Legacy(Arc<Context>),
    /// Another stream.
    Stream(Arc<Stream>),
}

impl Target {
    pub(super) fn context(&self) -> &Arc<Context> {
        match self {
            Self::Legacy(context) => context,
            Self::Stream(stream) => &stream.context,
        }
    }

    pub(super) fn priority(&self) -> i32 {
        match self {
            Self::Legacy(_) => 0,
            Self::Stream(stream) => stream.priority,
        }
    }

    /// Unique in the process, and the same for as long as the stream lives.
    pub(super) fn unique(&self) -> u64 {
        match self {
            // Contexts are numbered in the upper half, so that no two streams share a number.
            Self::Legacy(context) => context.id << 32 | CU_STREAM_LEGACY.0,
            Self::Stream(stream) => stream.unique,
        }
    }

    /// As the calling thread names it.
    pub(super) fn handle(&self) -> CUstream {
        match self {
            Self::Legacy(_) => CU_STREAM_LEGACY,
            Self::Stream(stream) => stream.handle,
        }
    }

    pub(super) fn id(&self) -> StreamId {
        match self {
            Self::Legacy(context) => context.legacy_stream,
            Self::Stream(stream) => stream.id,
        }
    }
}

static STREAMS: Handles<Stream> = Handles::new(handles::Kind::Stream);

thread_local! {
    /// The thread's default streams, by the context's number.
    static PER_THREAD: RefCell<Vec<(u64, Arc<Stream>)>> = const { RefCell::new(Vec::new()) };
}

/// Where work goes that cannot be captured; `default` is what a stream argument of zero stands for.
///
/// # Errors
///
/// As [`capturable`], and `CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED` and its kin.
pub(super) fn target(default: CUstream, handle: CUstream) -> Result<Target, CUresult> {
    let target = capturable(default, handle)?;
    if capture::is_possible() {
        capture::check_uncaptured(&stream_of(&target))?;
    }
    Ok(target)
}

/// Where work goes of a function that looks after captures itself, or that only asks about the
/// stream.
///
/// # Errors
///
/// `CUDA_ERROR_INVALID_HANDLE`, or why there is no current context, or the error of a kernel.
pub(super) fn capturable(default: CUstream, handle: CUstream) -> Result<Target, CUresult> {
    let handle = if handle.is_null() { default } else { handle };
    let target = match handle {
        CU_STREAM_LEGACY => Target::Legacy(context::current()?),
        CU_STREAM_PER_THREAD => Target::Stream(per_thread(context::current()?)?),
        handle => {
            super::device::devices()?;
            let found = STREAMS.get(handle.0);
            Target::Stream(found.ok_or(CUresult::CUDA_ERROR_INVALID_HANDLE)?)
        }
    };
    target.context().error.check()?;
    Ok(target)
}

/// Ends all streams of a context.
pub(super) fn forget_context(context: &Context) {
    drop(STREAMS.remove_where(|stream| stream.context.id == context.id));
}

fn per_thread(context: Arc<Context>) -> Result<Arc<Stream>, CUresult> {
    PER_THREAD
        .try_with(|streams| {
            let mut streams = streams.borrow_mut();
            if let Some((_, stream)) = streams.iter().find(|(id, _)| *id == context.id) {
                return stream.clone();
            }
            let id = context.id;
            let stream = Arc::new(new(context, CU_STREAM_PER_THREAD, 0, 0));
            streams.push((id, stream.clone()));
            stream
        })
        // Only while the thread ends, after its own default streams.
        .map_err(|_| CUresult::CUDA_ERROR_DEINITIALIZED)
}

fn new(context: Arc<Context>, handle: CUstream, flags: u32, priority: i32) -> Stream {
    static NEXT_UNIQUE: AtomicU64 = AtomicU64::new(16);
    let kind = match flags & NON_BLOCKING {
        0 => Kind::Blocking,
        _ => Kind::NonBlocking,
    };
    Stream {
        handle,
        id: SCHEDULER.add_stream(context.domain, kind, priority),
        context,
        flags,
        priority,
        unique: NEXT_UNIQUE.fetch_add(1, Ordering::Relaxed),
        attributes: Mutex::default(),
    }
}

fn create(phStream: *mut CUstream, flags: u32, priority: i32) -> Result<CUstream, CUresult> {
    let context = context::usable()?;
    if phStream.is_null() || flags & !NON_BLOCKING != 0 {
        return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
    }
    let [least, greatest] = STREAM_PRIORITIES;
    let priority = priority.clamp(greatest, least);
    let stream = STREAMS.insert(|handle| new(context, CUstream(handle), flags, priority))?;
    Ok(stream.handle)
}

pub(crate) unsafe fn cuStreamCreate(phStream: *mut CUstream, Flags: u32) -> Result<(), CUresult> {
    out!(phStream = create(phStream, Flags, 0)?);
    Ok(())
}

pub(crate) unsafe fn cuStreamCreateWithPriority(
    phStream: *mut CUstream,
    flags: u32,
    priority: i32,
) -> Result<(), CUresult> {
    out!(phStream = create(phStream, flags, priority)?);
    Ok(())
}

/// Default streams cannot be destroyed.
pub(crate) fn cuStreamDestroy(hStream: CUstream) -> Result<(), CUresult> {
    super::device::devices()?;
    let stream = STREAMS.remove(hStream.0);
    let stream = stream.ok_or(CUresult::CUDA_ERROR_INVALID_HANDLE)?;
    stream.context.error.check()
}

pub(crate) fn cuStreamDestroy_v2(hStream: CUstream) -> Result<(), CUresult> {
    cuStreamDestroy(hStream)
}

pub(crate) fn cuStreamQuery(default_stream: CUstream, hStream: CUstream) -> Result<(), CUresult> {
    let target = capturable(default_stream, hStream)?;
    if capture::is_possible() {
        capture::check_stream_wait(&stream_of(&target))?;
    }
    let is_idle = SCHEDULER.is_stream_idle(target.id());
    target.context().error.check()?;
    match is_idle {
        true => Ok(()),
        false => Err(CUresult::CUDA_ERROR_NOT_READY),
    }
}

pub(crate) fn cuStreamSynchronize(
    default_stream: CUstream,
    hStream: CUstream,
) -> Result<(), CUresult> {
    let target = capturable(default_stream, hStream)?;
    if capture::is_possible() {
        capture::check_stream_wait(&stream_of(&target))?;
    }
    SCHEDULER.wait_stream(target.id());
    target.context().printed.flush();
    pool::trim_after_synchronize();
    target.context().error.check()
}

pub(crate) fn cuStreamWaitEvent(
    default_stream: CUstream,
    hStream: CUstream,
    hEvent: CUevent,
    Flags: u32,
) -> Result<(), CUresult> {
    let target = capturable(default_stream, hStream)?;
    if Flags & !gvirtus_abi::CUevent_wait_flags::CU_EVENT_WAIT_EXTERNAL.0 != 0 {
        return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
    }
    let event = event::find(hEvent)?;
    if Flags != 0 || capture::is_possible() {
        let (stream, is_recorded) = (stream_of(&target), event.is_recorded());
        if capture::wait_event(&stream, hEvent, Flags != 0, is_recorded)? {
            return Ok(());
        }
    }
    event.hold_back(&target);
    Ok(())
}

pub(crate) unsafe fn cuStreamGetPriority(
    default_stream: CUstream,
    hStream: CUstream,
    priority: *mut i32,
) -> Result<(), CUresult> {
    out!(
        priority = match capturable(default_stream, hStream)? {
            Target::Legacy(_) => 0,
            Target::Stream(stream) => stream.priority,
        }
    );
    Ok(())
}

pub(crate) unsafe fn cuStreamGetId(
    default_stream: CUstream,
    hStream: CUstream,
    streamId: *mut u64,
) -> Result<(), CUresult> {
    out!(streamId = capturable(default_stream, hStream)?.unique());
    Ok(())
}

pub(crate) unsafe fn cuStreamGetFlags(
    default_stream: CUstream,
    hStream: CUstream,
    flags: *mut u32,
) -> Result<(), CUresult> {
    out!(
        flags = match capturable(default_stream, hStream)? {
            Target::Legacy(_) => 0,
            Target::Stream(stream) => stream.flags,
        }
    );
    Ok(())
}

pub(crate) unsafe fn cuStreamGetDevice(
    default_stream: CUstream,
    hStream: CUstream,
    device: *mut CUdevice,
) -> Result<(), CUresult> {
    let target = capturable(default_stream, hStream)?;
    out!(device = target.context().device.handle());
    Ok(())
}

pub(crate) unsafe fn cuStreamGetCtx(
    default_stream: CUstream,
    hStream: CUstream,
    pctx: *mut CUcontext,
) -> Result<(), CUresult> {
    out!(pctx = capturable(default_stream, hStream)?.context().handle);
    Ok(())
}

/// No stream belongs to a green context.
pub(crate) unsafe fn cuStreamGetCtx_v2(
    default_stream: CUstream,
    hStream: CUstream,
    pCtx: *mut CUcontext,
    pGreenCtx: *mut CUgreenCtx,
) -> Result<(), CUresult> {
    let target = capturable(default_stream, hStream)?;
    optional_out!(pGreenCtx = CUgreenCtx::NULL);
    optional_out!(pCtx = target.context().handle);
    Ok(())
}

fn attributes_of(target: Target) -> Result<Arc<Stream>, CUresult> {
    match target {
        Target::Stream(stream) => Ok(stream),
        Target::Legacy(_) => Err(CUresult::CUDA_ERROR_INVALID_HANDLE),
    }
}

/// Attributes are hints for caches and waiting, which the device does without; they are kept.
pub(crate) fn cuStreamCopyAttributes(
    default_stream: CUstream,
    dstStream: CUstream,
    srcStream: CUstream,
) -> Result<(), CUresult> {
    let from = attributes_of(capturable(default_stream, srcStream)?)?;
    let to = attributes_of(capturable(default_stream, dstStream)?)?;
    let attributes = from.attributes.lock().clone();
    *to.attributes.lock() = attributes;
    Ok(())
}

pub(crate) unsafe fn cuStreamGetAttribute(
    default_stream: CUstream,
    hStream: CUstream,
    attr: CUstreamAttrID,
    value: *mut CUstreamAttrValue,
) -> Result<(), CUresult> {
    let target = capturable(default_stream, hStream)?;
    check_attribute(attr)?;
    let stored = match &target {
        Target::Legacy(_) => None,
        Target::Stream(stream) => {
            let attributes = stream.attributes.lock();
            attributes.iter().find(|(id, _)| *id == attr).copied()
        }
    };
    let place = value.cast::<Stored>();
    out!(place = stored.map_or(Stored::zeroed(), |(_, value)| value));
    Ok(())
}

pub(crate) unsafe fn cuStreamSetAttribute(
    default_stream: CUstream,
    hStream: CUstream,
    attr: CUstreamAttrID,
    param: *const CUstreamAttrValue,
) -> Result<(), CUresult> {
    let stream = attributes_of(capturable(default_stream, hStream)?)?;
    check_attribute(attr)?;
    if param.is_null() {
        return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
    }
    // SAFETY: the contract of cuda.h: not null, and then a whole value.
    let value = unsafe { param.cast::<Stored>().read_unaligned() };
    let mut attributes = stream.attributes.lock();
    attributes.retain(|(id, _)| *id != attr);
    attributes.push((attr, value));
    Ok(())
}

fn check_attribute(attribute: CUstreamAttrID) -> Result<(), CUresult> {
    match attribute {
        CUstreamAttrID::CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW
        | CUstreamAttrID::CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY
        | CUstreamAttrID::CU_LAUNCH_ATTRIBUTE_PRIORITY
        | CUstreamAttrID::CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN
        | CUstreamAttrID::CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP => Ok(()),
        _ => Err(CUresult::CUDA_ERROR_INVALID_VALUE),
    }
}
