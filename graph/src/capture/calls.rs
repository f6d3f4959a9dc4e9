// SPDX-License-Identifier: Apache-2.0
//! What calls on streams ask.

use gvirtus_abi::{CUcontext, CUresult};

use crate::edges::Edge;
use crate::payload::Payload;
use crate::platform::Stream;
use crate::world::{GraphId, World, with};

/// Makes a node of a call, if its stream is captured; otherwise the call is to go on.
///
/// # Errors
///
/// Why the call cannot be captured, or what `make` says.
#[cold]
pub fn record(
    stream: &Stream,
    make: impl FnOnce() -> Result<Payload, CUresult>,
) -> Result<bool, CUresult> {
    record_in(stream, |_, _| make())
}

/// As [`record`], of what depends on the graph.
pub(super) fn record_in(
    stream: &Stream,
    make: impl FnOnce(&World, GraphId) -> Result<Payload, CUresult>,
) -> Result<bool, CUresult> {
    with(|world| {
        let Some(participant) = world.captures.enter(stream)? else {
            return Ok(false);
        };
        let dependencies = participant.dependencies.clone();
        let Some(graph) = world.captures.graph_of(stream) else {
            return Ok(false);
        };
        let payload = make(world, graph)?;
        let node = world.add(graph, dependencies, payload)?;
        if let Some(participant) = world.captures.streams.get_mut(&stream.id) {
            participant.dependencies = vec![(node, Edge::default())];
        }
        Ok(true)
    })
}

/// Whether the stream is captured; also a check that the legacy stream may be used.
///
/// # Errors
///
/// As [`record`].
#[cold]
pub fn is_captured(stream: &Stream) -> Result<bool, CUresult> {
    with(|world| world.captures.enter(stream).map(|found| found.is_some()))
}

/// Refuses a call that can be no node, if its stream is captured.
///
/// # Errors
///
/// `CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED` and its kin.
#[cold]
pub fn check_uncaptured(stream: &Stream) -> Result<(), CUresult> {
    with(|world| {
        let captures = &mut world.captures;
        let capture = captures.enter(stream)?.map(|p| p.capture);
        let capture: Vec<u64> = capture.into_iter().collect();
        captures.refuse(&capture, CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED)
    })
}

/// As [`check_uncaptured`], for a call that waits for a stream or asks how far it is.
///
/// # Errors
///
/// As [`check_uncaptured`] and [`check_unsafe`].
#[cold]
pub fn check_stream_wait(stream: &Stream) -> Result<(), CUresult> {
    check_uncaptured(stream)?;
    check_unsafe()
}

/// For a call that waits for a whole context.
///
/// # Errors
///
/// `CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED` while a stream of the context is captured, and as
/// [`check_unsafe`].
#[cold]
pub fn check_context_wait(context: CUcontext) -> Result<(), CUresult> {
    with(|world| {
        let captures = &mut world.captures;
        let concerned = captures.concerned(|stream| stream.context == context);
        captures.refuse(&concerned, CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED)?;
        captures.check_unsafe()
    })
}

/// For a call that may disturb a capture without naming its stream, such as `cuMemAlloc`.
///
/// # Errors
///
/// `CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED` as the modes of captures and thread say
/// (`cuThreadExchangeStreamCaptureMode`).
#[cold]
pub fn check_unsafe() -> Result<(), CUresult> {
    with(|world| world.captures.check_unsafe())
}

/// Ends what was captured in a context that ends.
#[cold]
pub fn forget_context(context: CUcontext) {
    with(|world| world.forget_context(context));
}
