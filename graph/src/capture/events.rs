// SPDX-License-Identifier: Apache-2.0
//! What calls on events ask: an event that is recorded in a capture carries its dependencies.

use gvirtus_abi::{CUevent, CUlaunchAttribute, CUlaunchAttributeID as Id, CUresult};

use super::calls::record;
use super::{CapturedEvent, Captures, merge};
use crate::edges::Edge;
use crate::payload::Payload;
use crate::platform::{Stream, StreamKind};
use crate::world::{NodeId, with};

/// For a call that waits for an event or asks whether it has passed.
///
/// # Errors
///
/// `CUDA_ERROR_CAPTURED_EVENT`, and as `check_unsafe`.
#[cold]
pub fn check_event_wait(event: CUevent) -> Result<(), CUresult> {
    with(|world| {
        let captures = &mut world.captures;
        if let Some(captured) = captures.events.get(&event.0) {
            let capture = captured.capture;
            captures.invalidate(capture);
            return Err(CUresult::CUDA_ERROR_CAPTURED_EVENT);
        }
        captures.check_unsafe()
    })
}

/// Records an event, if the stream is captured; otherwise the event is no captured one any more.
///
/// # Errors
///
/// As [`record`]; `CUDA_ERROR_INVALID_VALUE` for an external record outside of captures.
#[cold]
pub fn record_event(stream: &Stream, event: CUevent, is_external: bool) -> Result<bool, CUresult> {
    if is_external {
        return match record(stream, || Ok(Payload::EventRecord(event)))? {
            true => Ok(true),
            false => Err(CUresult::CUDA_ERROR_INVALID_VALUE),
        };
    }
    with(|world| {
        let captures = &mut world.captures;
        let captured = captures.enter(stream)?.map(|participant| CapturedEvent {
            capture: participant.capture,
            dependencies: participant.dependencies.clone(),
        });
        let is_captured = captured.is_some();
        match captured {
            Some(captured) => drop(captures.events.insert(event.0, captured)),
            None => drop(captures.events.remove(&event.0)),
        }
        captures.count();
        Ok(is_captured)
    })
}

/// As [`record`] of a kernel: events that its launch attributes name are recorded behind it.
///
/// # Errors
///
/// As [`record`].
#[cold]
pub fn record_kernel(
    stream: &Stream,
    attributes: &[CUlaunchAttribute],
    make: impl FnOnce() -> Result<Payload, CUresult>,
) -> Result<bool, CUresult> {
    if !record(stream, make)? {
        return Ok(false);
    }
    for attribute in attributes {
        let value = &attribute.value;
        // SAFETY: the id says which field it is.
        let event = unsafe {
            match attribute.id {
                Id::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT => value.programmaticEvent.event,
                Id::CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT => {
                    value.launchCompletionEvent.event
                }
                _ => continue,
            }
        };
        record_event(stream, event, false)?;
    }
    Ok(true)
}

/// Makes a stream wait for an event, if that is a matter of captures. An event that was never
/// recorded is nothing to wait for.
///
/// # Errors
///
/// As [`record`], and where captured and other work would depend on each other.
#[cold]
pub fn wait_event(
    stream: &Stream,
    event: CUevent,
    is_external: bool,
    is_recorded: bool,
) -> Result<bool, CUresult> {
    if is_external {
        return match record(stream, || Ok(Payload::EventWait(event)))? {
            true => Ok(true),
            false => Err(CUresult::CUDA_ERROR_INVALID_VALUE),
        };
    }
    with(|world| {
        let captures = &mut world.captures;
        let own = captures
            .enter(stream)?
            .map(|participant| participant.capture);
        let captured = captures.events.get(&event.0);
        let captured = captured.map(|found| (found.capture, found.dependencies.clone()));
        match (own, captured) {
            (None, None) => Ok(false),
            (Some(_), None) if !is_recorded => Ok(true),
            (Some(own), None) => captures
                .refuse(&[own], CUresult::CUDA_ERROR_STREAM_CAPTURE_ISOLATION)
                .map(|()| true),
            (own, Some((other, dependencies))) => {
                captures.wait_captured(stream, own, other, dependencies)?;
                Ok(true)
            }
        }
    })
}

impl Captures {
    fn wait_captured(
        &mut self,
        stream: &Stream,
        own: Option<u64>,
        other: u64,
        dependencies: Vec<(NodeId, Edge)>,
    ) -> Result<(), CUresult> {
        match self.active.get(&other) {
            None => {
                let own: Vec<u64> = own.into_iter().collect();
                self.refuse(&own, CUresult::CUDA_ERROR_STREAM_CAPTURE_ISOLATION)?;
                return Err(CUresult::CUDA_ERROR_CAPTURED_EVENT);
            }
            Some(capture) if !capture.is_valid => {
                return Err(CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
            }
            Some(_) => {}
        }
        match own {
            Some(own) if own != other => {
                self.refuse(&[own, other], CUresult::CUDA_ERROR_STREAM_CAPTURE_MERGE)
            }
            Some(_) => {
                if let Some(participant) = self.streams.get_mut(&stream.id) {
                    merge(&mut participant.dependencies, dependencies);
                }
                Ok(())
            }
            // The legacy stream cannot join.
            None if stream.kind == StreamKind::Legacy => {
                self.refuse(&[other], CUresult::CUDA_ERROR_STREAM_CAPTURE_ISOLATION)
            }
            None => {
                self.join(other, stream, dependencies);
                Ok(())
            }
        }
    }
}

/// Forgets an event that is destroyed.
#[cold]
pub fn forget_event(event: CUevent) {
    with(|world| {
        world.captures.events.remove(&event.0);
        world.captures.count();
    });
}
