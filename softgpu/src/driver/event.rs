// SPDX-License-Identifier: Apache-2.0
//! Events (`cuda.h`: "Event Management").

use std::sync::Arc;

use gvirtus_abi::{CUcontext, CUevent, CUevent_flags, CUevent_record_flags, CUresult, CUstream};
use gvirtus_graph::capture;
use parking_lot::Mutex;

use super::arguments::out;
use super::context::{self, Context};
use super::graph::stream_of;
use super::handles::{Handles, Kind};
use super::pool;
use super::scheduler::{Placement, Record, SCHEDULER, StreamId, watching};
use super::shared_event::SharedEvent;
use super::stream::{self, Target};
use super::stream_memory::wait_until;

/// An event and what it was last recorded as.
pub(super) struct Event {
    handle: CUevent,
    context: Arc<Context>,
    flags: u32,
    record: Mutex<Option<Arc<Record>>>,
    /// Of an event between processes, which then decides what was recorded last.
    shared: Option<Arc<SharedEvent>>,
}

impl Event {
    /// The last record; nothing if there was none.
    fn record(&self) -> Option<Arc<Record>> {
        self.record.lock().clone()
    }

    pub(super) fn shared(&self) -> Option<&Arc<SharedEvent>> {
        self.shared.as_ref()
    }

    /// Whether it has been recorded, by any process.
    pub(super) fn is_recorded(&self) -> bool {
        match &self.shared {
            Some(shared) => shared.last().is_some(),
            None => self.record.lock().is_some(),
        }
    }

    fn is_complete(&self) -> bool {
        match &self.shared {
            Some(shared) => shared
                .last()
                .is_none_or(|last| shared.is_done_or_left(last)),
            None => (self.record()).is_none_or(|record| SCHEDULER.is_complete(record.marker())),
        }
    }

    /// Waits on the calling thread.
    fn wait(&self) {
        let last = self
            .shared
            .as_ref()
            .and_then(|shared| Some((shared, shared.last()?)));
        if let Some((shared, last)) = last {
            wait_until(&self.context.error, || shared.is_done_or_left(last));
        } else if let Some(record) = self.record() {
            SCHEDULER.wait(record.marker());
        }
    }

    /// Makes later work of a stream wait.
    pub(super) fn hold_back(&self, target: &Target) {
        let Some(shared) = &self.shared else {
            if let Some(record) = self.record() {
                SCHEDULER.depend(target.id(), record.marker());
            }
            return;
        };
        let last = shared.last().filter(|last| !shared.is_done(*last));
        if let Some(last) = last {
            let (shared, error) = (Arc::clone(shared), Arc::clone(&target.context().error));
            SCHEDULER.submit(target.id(), Placement::Worker, move || {
                watching(|| wait_until(&error, || shared.is_done_or_left(last)));
                Ok(())
            });
        }
    }

    /// What was recorded with `record` is told to the other processes when the stream gets there.
    fn publish(&self, stream: StreamId, record: &Record) {
        let Some(shared) = &self.shared else {
            return;
        };
        let number = shared.begin();
        if SCHEDULER.is_complete(record.marker()) {
            shared.finish(number);
            return;
        }
        let shared = Arc::clone(shared);
        SCHEDULER.submit_always(stream, move |_| shared.finish(number));
    }

    fn has_timing(&self) -> bool {
        self.flags & CUevent_flags::CU_EVENT_DISABLE_TIMING.0 == 0
    }
}

static EVENTS: Handles<Event> = Handles::new(Kind::Event);

/// The event with that handle.
///
/// # Errors
///
/// `CUDA_ERROR_INVALID_HANDLE`.
pub(super) fn find(handle: CUevent) -> Result<Arc<Event>, CUresult> {
    super::device::devices()?;
    EVENTS
        .get(handle.0)
        .ok_or(CUresult::CUDA_ERROR_INVALID_HANDLE)
}

/// Ends all events of a context.
pub(super) fn forget_context(context: &Context) {
    drop(EVENTS.remove_where(|event| event.context.id == context.id));
}

pub(crate) unsafe fn cuEventCreate(phEvent: *mut CUevent, Flags: u32) -> Result<(), CUresult> {
    let context = context::usable()?;
    let known = CUevent_flags::CU_EVENT_BLOCKING_SYNC.0
        | CUevent_flags::CU_EVENT_DISABLE_TIMING.0
        | CUevent_flags::CU_EVENT_INTERPROCESS.0;
    if phEvent.is_null() || Flags & !known != 0 {
        return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
    }
    let is_shared = Flags & CUevent_flags::CU_EVENT_INTERPROCESS.0 != 0;
    if is_shared && Flags & CUevent_flags::CU_EVENT_DISABLE_TIMING.0 == 0 {
        return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
    }
    let shared = match is_shared {
        true => {
            let shared = SharedEvent::create(context.device.number);
            Some(Arc::new(
                shared.map_err(|_| CUresult::CUDA_ERROR_OUT_OF_MEMORY)?,
            ))
        }
        false => None,
    };
    out!(phEvent = create(context, Flags, shared)?);
    Ok(())
}

/// A new event of a context.
///
/// # Errors
///
/// `CUDA_ERROR_OUT_OF_MEMORY` if there are too many.
pub(super) fn create(
    context: Arc<Context>,
    flags: u32,
    shared: Option<Arc<SharedEvent>>,
) -> Result<CUevent, CUresult> {
    let event = EVENTS.insert(|handle| Event {
        handle: CUevent(handle),
        context,
        flags,
        record: Mutex::new(None),
        shared,
    })?;
    Ok(event.handle)
}

pub(crate) fn cuEventDestroy(hEvent: CUevent) -> Result<(), CUresult> {
    super::device::devices()?;
    if capture::is_possible() {
        capture::forget_event(hEvent);
    }
    let event = EVENTS.remove(hEvent.0);
    let event = event.ok_or(CUresult::CUDA_ERROR_INVALID_HANDLE)?;
    event.context.error.check()
}

pub(crate) fn cuEventDestroy_v2(hEvent: CUevent) -> Result<(), CUresult> {
    cuEventDestroy(hEvent)
}

pub(crate) fn cuEventRecord(
    default_stream: CUstream,
    hEvent: CUevent,
    hStream: CUstream,
) -> Result<(), CUresult> {
    record(default_stream, hEvent, hStream, false)
}

/// Records an event in a stream of its context.
///
/// # Errors
///
/// `CUDA_ERROR_INVALID_HANDLE` for a handle of nothing, or of another context's event.
pub(super) fn record_on(handle: CUevent, target: &Target) -> Result<(), CUresult> {
    let event = find(handle)?;
    if event.context.id != target.context().id {
        return Err(CUresult::CUDA_ERROR_INVALID_HANDLE);
    }
    // Under the event's lock, so that of two threads that record it the later one wins.
    let mut last = event.record.lock();
    let record = SCHEDULER.record(target.id());
    event.publish(target.id(), &record);
    *last = Some(record);
    Ok(())
}

/// Records an event after everything that was submitted to a context so far.
pub(crate) fn cuCtxRecordEvent(hCtx: CUcontext, hEvent: CUevent) -> Result<(), CUresult> {
    let context = context::find_or_current(hCtx)?;
    context.error.check()?;
    let event = find(hEvent)?;
    if event.context.id != context.id {
        return Err(CUresult::CUDA_ERROR_INVALID_HANDLE);
    }
    if event.shared.is_some() {
        return Err(gvirtus_driver_face::unsupported(
            "cuCtxRecordEvent with an event between processes",
        ));
    }
    let mut last = event.record.lock();
    *last = Some(SCHEDULER.record_domain(context.domain));
    Ok(())
}

/// Makes everything that is submitted to a context from now on wait for an event.
pub(crate) fn cuCtxWaitEvent(hCtx: CUcontext, hEvent: CUevent) -> Result<(), CUresult> {
    let context = context::find_or_current(hCtx)?;
    context.error.check()?;
    let event = find(hEvent)?;
    if event.shared.is_some() {
        return Err(gvirtus_driver_face::unsupported(
            "cuCtxWaitEvent with an event between processes",
        ));
    }
    if let Some(record) = event.record() {
        SCHEDULER.depend_domain(context.domain, record.marker());
    }
    Ok(())
}

pub(crate) fn cuEventRecordWithFlags(
    default_stream: CUstream,
    hEvent: CUevent,
    hStream: CUstream,
    flags: u32,
) -> Result<(), CUresult> {
    if flags & !CUevent_record_flags::CU_EVENT_RECORD_EXTERNAL.0 != 0 {
        return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
    }
    record(default_stream, hEvent, hStream, flags != 0)
}

fn record(
    default_stream: CUstream,
    hEvent: CUevent,
    hStream: CUstream,
    is_external: bool,
) -> Result<(), CUresult> {
    let target = stream::capturable(default_stream, hStream)?;
    let event = find(hEvent)?;
    if event.context.id != target.context().id {
        return Err(CUresult::CUDA_ERROR_INVALID_HANDLE);
    }
    if (is_external || capture::is_possible())
        && capture::record_event(&stream_of(&target), hEvent, is_external)?
    {
        return Ok(());
    }
    record_on(hEvent, &target)
}

pub(crate) fn cuEventQuery(hEvent: CUevent) -> Result<(), CUresult> {
    let event = find(hEvent)?;
    if capture::is_possible() {
        capture::check_event_wait(hEvent)?;
    }
    let is_complete = event.is_complete();
    event.context.error.check()?;
    match is_complete {
        true => Ok(()),
        false => Err(CUresult::CUDA_ERROR_NOT_READY),
    }
}

pub(crate) fn cuEventSynchronize(hEvent: CUevent) -> Result<(), CUresult> {
    let event = find(hEvent)?;
    if capture::is_possible() {
        capture::check_event_wait(hEvent)?;
    }
    event.wait();
    event.context.printed.flush();
    pool::trim_after_synchronize();
    event.context.error.check()
}

pub(crate) unsafe fn cuEventElapsedTime(
    pMilliseconds: *mut f32,
    hStart: CUevent,
    hEnd: CUevent,
) -> Result<(), CUresult> {
    if pMilliseconds.is_null() {
        return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
    }
    let (start, end) = (find(hStart)?, find(hEnd)?);
    start.context.error.check()?;
    end.context.error.check()?;
    let is_other_device = start.context.device.ordinal != end.context.device.ordinal;
    if is_other_device || !start.has_timing() || !end.has_timing() {
        return Err(CUresult::CUDA_ERROR_INVALID_HANDLE);
    }
    let (Some(start), Some(end)) = (start.record(), end.record()) else {
        return Err(CUresult::CUDA_ERROR_INVALID_HANDLE);
    };
    let (Some(start), Some(end)) = (start.time(), end.time()) else {
        return Err(CUresult::CUDA_ERROR_NOT_READY);
    };
    // Two streams may reach their events in either order; then the time is negative.
    let seconds = match end.checked_duration_since(start) {
        Some(later) => later.as_secs_f64(),
        None => -start.duration_since(end).as_secs_f64(),
    };
    out!(pMilliseconds = (seconds * 1e3) as f32);
    Ok(())
}

pub(crate) unsafe fn cuEventElapsedTime_v2(
    pMilliseconds: *mut f32,
    hStart: CUevent,
    hEnd: CUevent,
) -> Result<(), CUresult> {
    // SAFETY: the same contract.
    unsafe { cuEventElapsedTime(pMilliseconds, hStart, hEnd) }
}
