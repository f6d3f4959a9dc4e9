// SPDX-License-Identifier: Apache-2.0
//! Stream capture: calls on a stream become nodes instead of work.
//!
//! Every function of a driver that takes a stream or an event asks here first, and every one that
//! waits for the device. The question costs one load of a counter while nothing is captured (see
//! [`is_possible`]). The rules are those of the programming guide, "Prohibited and Unhandled
//! Operations": an invalid operation is an error at once, and the end of the captures it concerns.

mod calls;
mod events;
mod lifetime;
mod memory;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use gvirtus_abi::{CUcontext, CUgraphEdgeData, CUgraphNode, CUresult, CUstreamCaptureMode as Mode};

pub use self::calls::{
    check_context_wait, check_stream_wait, check_uncaptured, check_unsafe, forget_context,
    is_captured, record,
};
pub use self::events::{check_event_wait, forget_event, record_event, record_kernel, wait_event};
pub use self::memory::{record_allocation, record_free};
use crate::edges::Edge;
use crate::platform::{Stream, StreamKind};
use crate::world::{GraphId, NodeId};

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

/// Of a forked child, nothing is captured.
pub(crate) fn restart() {
    POSSIBLE.store(0, Ordering::Relaxed);
    MODE.set(Mode::CU_STREAM_CAPTURE_MODE_GLOBAL);
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

    fn join(&mut self, capture: u64, stream: &Stream, dependencies: Vec<(NodeId, Edge)>) {
        let participant = Participant {
            capture,
            stream: *stream,
            dependencies,
            told: Told::default(),
        };
        self.streams.insert(stream.id, participant);
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
