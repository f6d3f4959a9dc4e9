// SPDX-License-Identifier: Apache-2.0
//! Stream capture: calls on a stream become nodes instead of work.
//!
//! Every function of a driver that takes a stream or an event asks here first, and every one that
//! waits for the device. The question costs one load of a counter while nothing is captured (see
//! [`is_possible`]). The rules are those of the programming guide, "Prohibited and Unhandled
//! Operations": an invalid operation is an error at once, and the end of the captures it concerns.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use gvirtus_abi::{
    CUcontext, CUevent, CUgraphEdgeData, CUgraphNode, CUresult, CUstreamCaptureMode as Mode,
};

use crate::edges::Edge;
use crate::payload::Payload;
use crate::platform::{Stream, StreamKind};
use crate::world::{GraphId, NodeId, World, with};

/// Captures and captured events of the process.
static POSSIBLE: AtomicUsize = AtomicUsize::new(0);

/// Whether any answer of this module can be other than "not captured".
#[inline]
pub fn is_possible() -> bool {
    POSSIBLE.load(Ordering::Relaxed) != 0
}

/// All captures.
pub(crate) struct Captures {
    next: u64,
    active: BTreeMap<u64, Capture>,
    /// By the stream's id.
    streams: BTreeMap<u64, Participant>,
    /// Those last recorded in a capture, by handle.
    events: BTreeMap<u64, CapturedEvent>,
}

/// A capture that has not ended.
struct Capture {
    graph: GraphId,
    /// The stream that it began on.
    origin: u64,
    mode: Mode,
    thread: u64,
    is_valid: bool,
}

/// A stream that takes part in a capture.
struct Participant {
    capture: u64,
    stream: Stream,
    /// What its next node depends on.
    dependencies: Vec<(NodeId, Edge)>,
    told: Told,
}

/// What `cuStreamGetCaptureInfo` has given pointers to.
#[derive(Default)]
struct Told {
    nodes: Vec<CUgraphNode>,
    edges: Vec<CUgraphEdgeData>,
}

struct CapturedEvent {
    capture: u64,
    dependencies: Vec<(NodeId, Edge)>,
}

/// What is told of a stream that is captured.
pub(crate) struct Info {
    pub(crate) id: u64,
    pub(crate) graph: GraphId,
    pub(crate) is_valid: bool,
    pub(crate) is_lossy: bool,
    pub(crate) nodes: *const CUgraphNode,
    pub(crate) edges: *const CUgraphEdgeData,
    pub(crate) count: usize,
}

thread_local! {
    static MODE: Cell<Mode> = const { Cell::new(Mode::CU_STREAM_CAPTURE_MODE_GLOBAL) };
    static THREAD: u64 = {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        NEXT.fetch_add(1, Ordering::Relaxed)
    };
}

fn this_thread() -> u64 {
    // Of a thread that ends, no number; it has begun no capture.
    THREAD.try_with(|number| *number).unwrap_or(0)
}

/// Sets the calling thread's mode and returns the one before.
pub(crate) fn exchange_mode(mode: Mode) -> Mode {
    MODE.replace(mode)
}

impl Captures {
    pub(crate) const fn new() -> Self {
        Self {
            next: 1,
            active: BTreeMap::new(),
            streams: BTreeMap::new(),
            events: BTreeMap::new(),
        }
    }

    fn count(&self) {
        POSSIBLE.store(self.active.len() + self.events.len(), Ordering::Relaxed);
    }

    fn invalidate(&mut self, capture: u64) {
        if let Some(capture) = self.active.get_mut(&capture) {
            capture.is_valid = false;
        }
    }

    /// The stream's part in a capture, if it has one.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_STREAM_CAPTURE_INVALIDATED`, or `CUDA_ERROR_STREAM_CAPTURE_IMPLICIT` for the
    /// legacy stream while a stream is captured that it would wait for.
    fn enter(&mut self, stream: &Stream) -> Result<Option<&mut Participant>, CUresult> {
        if stream.kind == StreamKind::Legacy {
            let concerned = self.concerned(|other| {
                other.context == stream.context && other.kind == StreamKind::Blocking
            });
            return self
                .refuse(&concerned, CUresult::CUDA_ERROR_STREAM_CAPTURE_IMPLICIT)
                .map(|()| None);
        }
        let Some(participant) = self.streams.get_mut(&stream.id) else {
            return Ok(None);
        };
        match self.active.get(&participant.capture) {
            Some(capture) if capture.is_valid => Ok(Some(participant)),
            _ => Err(CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED),
        }
    }

    /// The captures in which such streams take part.
    fn concerned(&self, is_concerned: impl Fn(&Stream) -> bool) -> Vec<u64> {
        let streams = self.streams.values();
        let concerned = streams.filter(|participant| is_concerned(&participant.stream));
        concerned.map(|participant| participant.capture).collect()
    }

    /// Ends the captures and answers `status`, if there are any.
    fn refuse(&mut self, captures: &[u64], status: CUresult) -> Result<(), CUresult> {
        if captures.is_empty() {
            return Ok(());
        }
        for capture in captures {
            self.invalidate(*capture);
        }
        Err(status)
    }

    /// As [`check_unsafe`].
    fn check_unsafe(&mut self) -> Result<(), CUresult> {
        const GLOBAL: Mode = Mode::CU_STREAM_CAPTURE_MODE_GLOBAL;
        const RELAXED: Mode = Mode::CU_STREAM_CAPTURE_MODE_RELAXED;
        let (mode, thread) = (MODE.get(), this_thread());
        if mode == RELAXED {
            return Ok(());
        }
        let forbids = |capture: &Capture| {
            (capture.thread == thread && capture.mode != RELAXED)
                || (mode == GLOBAL && capture.mode == GLOBAL)
        };
        let active = self.active.iter();
        let forbidding = active.filter(|(_, capture)| forbids(capture));
        let forbidding: Vec<u64> = forbidding.map(|(id, _)| *id).collect();
        self.refuse(&forbidding, CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED)
    }

    /// Whether a graph's handle may be used for other things than building it.
    pub(crate) fn is_into(&self, graph: GraphId) -> bool {
        self.active.values().any(|capture| capture.graph == graph)
    }

    pub(crate) fn forget_context(&mut self, context: CUcontext) {
        let gone = self.concerned(|stream| stream.context == context);
        self.active.retain(|id, _| !gone.contains(id));
        self.streams.retain(|_, p| !gone.contains(&p.capture));
        self.events.retain(|_, e| !gone.contains(&e.capture));
        self.count();
    }

    /// # Errors
    ///
    /// `CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED` for a legacy stream, `CUDA_ERROR_ILLEGAL_STATE` for
    /// one that is captured.
    pub(crate) fn begin(
        &mut self,
        stream: &Stream,
        mode: Mode,
        graph: GraphId,
        dependencies: Vec<(NodeId, Edge)>,
    ) -> Result<(), CUresult> {
        self.check_begin(stream)?;
        let id = self.next;
        self.next += 1;
        let capture = Capture {
            graph,
            origin: stream.id,
            mode,
            thread: this_thread(),
            is_valid: true,
        };
        self.active.insert(id, capture);
        self.join(id, stream, dependencies);
        self.count();
        Ok(())
    }

    /// # Errors
    ///
    /// As [`Captures::begin`].
    pub(crate) fn check_begin(&self, stream: &Stream) -> Result<(), CUresult> {
        if stream.kind == StreamKind::Legacy {
            return Err(CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
        }
        match self.streams.contains_key(&stream.id) {
            true => Err(CUresult::CUDA_ERROR_ILLEGAL_STATE),
            false => Ok(()),
        }
    }

    fn join(&mut self, capture: u64, stream: &Stream, dependencies: Vec<(NodeId, Edge)>) {
        let participant = Participant {
            capture,
            stream: *stream,
            dependencies,
            told: Told::default(),
        };
        self.streams.insert(stream.id, participant);
    }

    /// What the stream's capture is told; nothing if it is not captured.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_STREAM_CAPTURE_IMPLICIT`; unlike other calls this one ends no capture.
    pub(crate) fn info(&mut self, stream: &Stream) -> Result<Option<Info>, CUresult> {
        if stream.kind == StreamKind::Legacy {
            let concerned = self.concerned(|other| {
                other.context == stream.context && other.kind == StreamKind::Blocking
            });
            return match concerned.is_empty() {
                true => Ok(None),
                false => Err(CUresult::CUDA_ERROR_STREAM_CAPTURE_IMPLICIT),
            };
        }
        let Some(participant) = self.streams.get_mut(&stream.id) else {
            return Ok(None);
        };
        let Some(capture) = self.active.get(&participant.capture) else {
            return Ok(None);
        };
        let dependencies = &participant.dependencies;
        participant.told = Told {
            nodes: dependencies.iter().map(|(node, _)| node.handle()).collect(),
            edges: dependencies.iter().map(|(_, edge)| edge.data()).collect(),
        };
        Ok(Some(Info {
            id: participant.capture,
            graph: capture.graph,
            is_valid: capture.is_valid,
            is_lossy: dependencies.iter().any(|(_, edge)| !edge.is_default()),
            nodes: participant.told.nodes.as_ptr(),
            edges: participant.told.edges.as_ptr(),
            count: dependencies.len(),
        }))
    }

    /// Changes what the stream's next node depends on.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_ILLEGAL_STATE` for a stream that is not captured.
    pub(crate) fn update(
        &mut self,
        stream: &Stream,
        dependencies: Vec<(NodeId, Edge)>,
        replaces: bool,
    ) -> Result<(), CUresult> {
        let participant = self.enter(stream)?;
        let participant = participant.ok_or(CUresult::CUDA_ERROR_ILLEGAL_STATE)?;
        if replaces {
            participant.dependencies.clear();
        }
        merge(&mut participant.dependencies, dependencies);
        Ok(())
    }

    /// The graph that the stream is captured into.
    pub(crate) fn graph_of(&self, stream: &Stream) -> Option<GraphId> {
        let participant = self.streams.get(&stream.id)?;
        Some(self.active.get(&participant.capture)?.graph)
    }

    fn terminate(&mut self, capture: u64) {
        self.active.remove(&capture);
        self.streams.retain(|_, p| p.capture != capture);
        self.count();
    }
}

fn merge(dependencies: &mut Vec<(NodeId, Edge)>, more: Vec<(NodeId, Edge)>) {
    for (node, edge) in more {
        if !dependencies.iter().any(|(known, _)| *known == node) {
            dependencies.push((node, edge));
        }
    }
}

impl World {
    /// Ends the capture that began on a stream.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_ILLEGAL_STATE` without a capture, and what the capture came to.
    pub(crate) fn end_capture(&mut self, stream: &Stream) -> Result<GraphId, CUresult> {
        let captures = &mut self.captures;
        let illegal = CUresult::CUDA_ERROR_ILLEGAL_STATE;
        let participant = captures.streams.get(&stream.id).ok_or(illegal)?;
        let (id, ends) = (participant.capture, participant.dependencies.clone());
        let capture = captures.active.get(&id).ok_or(illegal)?;
        if capture.origin != stream.id {
            captures.invalidate(id);
            return Err(CUresult::CUDA_ERROR_STREAM_CAPTURE_UNMATCHED);
        }
        let is_bound = capture.mode != Mode::CU_STREAM_CAPTURE_MODE_RELAXED;
        if is_bound && capture.thread != this_thread() {
            return Err(CUresult::CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD);
        }
        let (graph, is_valid) = (capture.graph, capture.is_valid);
        let others = captures.streams.values();
        let others = others.filter(|p| p.capture == id && p.stream.id != stream.id);
        let unjoined: Vec<NodeId> = others
            .flat_map(|p| p.dependencies.iter().map(|(node, _)| *node))
            .collect();
        let is_joined = self.are_before(&unjoined, ends.iter().map(|(node, _)| *node).collect());
        self.captures.terminate(id);
        let result = match (is_valid, is_joined) {
            (false, _) => Err(CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED),
            (true, false) => Err(CUresult::CUDA_ERROR_STREAM_CAPTURE_UNJOINED),
            (true, true) => Ok(graph),
        };
        let Some(place) = self.graphs.get_mut(&graph) else {
            return result.and(Err(CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED));
        };
        let was_made_for_it = std::mem::take(&mut place.is_capturing);
        if result.is_err() && was_made_for_it {
            self.remove_graph(graph);
        }
        result
    }

    /// Whether all of `nodes` are among `ends` or come before one of them.
    fn are_before(&self, nodes: &[NodeId], ends: Vec<NodeId>) -> bool {
        let mut seen = std::collections::BTreeSet::new();
        let mut next = ends;
        while let Some(id) = next.pop() {
            if seen.insert(id)
                && let Some(node) = self.nodes.get(&id)
            {
                next.extend(node.dependencies.iter().map(|(from, _)| *from));
            }
        }
        nodes.iter().all(|node| seen.contains(node))
    }
}

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
    with(|world| {
        let Some(participant) = world.captures.enter(stream)? else {
            return Ok(false);
        };
        let dependencies = participant.dependencies.clone();
        let Some(graph) = world.captures.graph_of(stream) else {
            return Ok(false);
        };
        let node = world.add(graph, dependencies, make()?)?;
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

/// For a call that waits for an event or asks whether it has passed.
///
/// # Errors
///
/// `CUDA_ERROR_CAPTURED_EVENT`, and as [`check_unsafe`].
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

/// Ends what was captured in a context that ends.
#[cold]
pub fn forget_context(context: CUcontext) {
    with(|world| world.forget_context(context));
}
