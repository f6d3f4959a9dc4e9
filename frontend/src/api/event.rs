// SPDX-License-Identifier: Apache-2.0
//! Events. Making and ending one is posted.

use gvirtus_abi::{CUevent, CUevent_flags, CUresult};
use gvirtus_graph::capture;
use gvirtus_protocol::command::{EventCreate, Word};
use gvirtus_protocol::opcode;
use zerocopy::IntoBytes as _;
use zerocopy::little_endian::{U32, U64};

use super::{INVALID_VALUE, Status, put, required};
use crate::handle::Kind;
use crate::process::session;
use crate::session::Event;

/// `cuEventCreate`.
pub unsafe fn cuEventCreate(phEvent: *mut CUevent, Flags: u32) -> Status {
    const KNOWN: u32 = CUevent_flags::CU_EVENT_BLOCKING_SYNC.0
        | CUevent_flags::CU_EVENT_DISABLE_TIMING.0
        | CUevent_flags::CU_EVENT_INTERPROCESS.0;
    let session = session()?;
    let context = session.current()?;
    let phEvent = required(phEvent)?;
    if Flags & !KNOWN != 0 {
        return Err(INVALID_VALUE);
    }
    let has_timing = Flags & CUevent_flags::CU_EVENT_DISABLE_TIMING.0 == 0;
    let is_shared = Flags & CUevent_flags::CU_EVENT_INTERPROCESS.0 != 0;
    if is_shared && has_timing {
        return Err(INVALID_VALUE);
    }
    let event = Event {
        context: context.number,
        is_recorded: false,
        is_shared,
    };
    let key = session.events.insert(event);
    let key = key.ok_or(CUresult::CUDA_ERROR_OUT_OF_MEMORY)?;
    let body = EventCreate {
        event: U32::new(key.number()),
        flags: U32::new(Flags),
    };
    session.post(opcode::cuEventCreate, context.number, body.as_bytes())?;
    // SAFETY: the caller's promise.
    unsafe { put(phEvent, CUevent(key.handle(Kind::Event))) }
}

/// `cuEventDestroy`.
pub unsafe fn cuEventDestroy(hEvent: CUevent) -> Status {
    // SAFETY: the caller's promise.
    unsafe { cuEventDestroy_v2(hEvent) }
}

/// `cuEventDestroy_v2`.
pub unsafe fn cuEventDestroy_v2(hEvent: CUevent) -> Status {
    let session = session()?;
    let (key, event) = session.event(hEvent)?;
    if capture::is_possible() {
        capture::forget_event(hEvent);
    }
    // Of two threads that destroy the same event, one finds it gone.
    let retired = session.events.retire(key);
    retired.ok_or(CUresult::CUDA_ERROR_INVALID_HANDLE)?;
    let number = u64::from(key.number());
    session.post_word(opcode::cuEventDestroy_v2, event.context, number)?;
    session.events.release(key);
    session.wire.faults().take_deferred()
}

/// `cuEventSynchronize`.
pub unsafe fn cuEventSynchronize(hEvent: CUevent) -> Status {
    let session = session()?;
    let (key, event) = session.event(hEvent)?;
    session.wire.faults().check()?;
    if capture::is_possible() {
        capture::check_event_wait(hEvent)?;
    }
    let body = Word {
        word: U64::new(key.number().into()),
    };
    let reply =
        session.call_or_deferred(opcode::cuEventSynchronize, event.context, body.as_bytes());
    reply.map(drop)
}
