// SPDX-License-Identifier: Apache-2.0
//! Captures begin, are asked about, and end.

use gvirtus_abi::{CUresult, CUstreamCaptureMode as Mode};

use super::{Capture, Captures, Info, Told, merge, this_thread};
use crate::edges::Edge;
use crate::platform::{Stream, StreamKind};
use crate::world::{GraphId, NodeId, World};

impl Captures {
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
