// SPDX-License-Identifier: Apache-2.0
//! The queues behind [`scheduler`](super::scheduler): what is submitted, what it waits for, what
//! has been completed. Plain data; the scheduler holds the lock around it and runs the operations.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use gvirtus_abi::CUresult;
use parking_lot::Condvar;

/// The first error of a domain: `CUDA_SUCCESS`, until there is one.
#[derive(Debug, Default)]
pub(super) struct ErrorCell(AtomicU32);

impl ErrorCell {
    /// # Errors
    ///
    /// The error that was set.
    pub(super) fn check(&self) -> Result<(), CUresult> {
        match self.0.load(Ordering::Acquire) {
            0 => Ok(()),
            error => Err(CUresult(error)),
        }
    }

    /// Sets the error unless there is one already.
    pub(super) fn set(&self, error: CUresult) {
        let _ = self
            .0
            .compare_exchange(0, error.0, Ordering::AcqRel, Ordering::Acquire);
    }

    #[cfg(test)]
    pub(super) fn clear(&self) {
        self.0.store(0, Ordering::Release);
    }
}

/// The streams of one context; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct DomainId(u64);

/// A stream; stays unique when the stream is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StreamId {
    pub(super) index: usize,
    pub(super) generation: u64,
}

/// A position in a stream: complete when all operations up to it are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marker {
    pub(super) stream: StreamId,
    pub(super) sequence: u64,
}

impl Marker {
    /// Of an operation that a stream which takes none was given.
    pub(super) fn complete(stream: StreamId) -> Self {
        Self {
            stream,
            sequence: 0,
        }
    }
}

/// A recorded event.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) marker: Marker,
    pub(super) time: OnceLock<Instant>,
}

impl Record {
    pub(super) fn marker(&self) -> Marker {
        self.marker
    }

    /// When the stream reached it; nothing before.
    pub(super) fn time(&self) -> Option<Instant> {
        self.time.get().copied()
    }
}

/// How a stream relates to its domain's legacy stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It waits for the legacy stream and the other way round.
    Blocking,
    /// The legacy default stream itself, one a domain.
    Legacy,
    /// It has nothing to do with it.
    NonBlocking,
}

pub(super) enum Work {
    Nothing,
    Record(Arc<Record>),
    Run(Box<dyn FnOnce() -> Result<(), CUresult> + Send>),
    /// Runs even after an error, which it is told.
    Always(Box<dyn FnOnce(CUresult) + Send>),
}

pub(super) struct Operation {
    pub(super) dependencies: Vec<Marker>,
    pub(super) work: Work,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing to do.
    Idle,
    /// Waits for a dependency, which makes it ready.
    Parked,
    /// In the ready queue.
    Ready,
    /// Some thread runs its operations.
    Running,
}

pub(super) struct Stream {
    pub(super) generation: u64,
    pub(super) domain: DomainId,
    pub(super) kind: Kind,
    /// Smaller is more urgent.
    pub(super) priority: i32,
    pub(super) error: Arc<ErrorCell>,
    pub(super) phase: Phase,
    pub(super) queue: VecDeque<Operation>,
    pub(super) submitted: u64,
    pub(super) completed: u64,
    /// Streams to make ready when this one has completed that far.
    pub(super) parked: Vec<(u64, StreamId)>,
    /// Hosts that wait for this stream.
    pub(super) hosts: usize,
    pub(super) done: Arc<Condvar>,
    /// Goes away when it is drained.
    pub(super) leaving: bool,
}

pub(super) struct Domain {
    pub(super) error: Arc<ErrorCell>,
    pub(super) streams: Vec<StreamId>,
    /// Operations submitted and not complete, of all streams.
    pub(super) pending: u64,
    /// Takes nothing new.
    pub(super) closed: bool,
    /// What streams that are still to be made wait for, besides what is submitted to them.
    pub(super) barrier: Option<Marker>,
}

pub(super) struct State {
    pub(super) streams: Vec<Option<Stream>>,
    pub(super) free_streams: Vec<usize>,
    pub(super) domains: BTreeMap<DomainId, Domain>,
    pub(super) generations: u64,
    pub(super) ready: VecDeque<StreamId>,
    pub(super) workers: usize,
    pub(super) idle_workers: usize,
}

impl State {
    pub(super) const fn new() -> Self {
        Self {
            streams: Vec::new(),
            free_streams: Vec::new(),
            domains: BTreeMap::new(),
            generations: 0,
            ready: VecDeque::new(),
            workers: 0,
            idle_workers: 0,
        }
    }

    /// A new domain and its legacy stream.
    pub(super) fn add_domain(&mut self, error: Arc<ErrorCell>) -> (DomainId, StreamId) {
        self.generations += 1;
        let id = DomainId(self.generations);
        let domain = Domain {
            error,
            streams: Vec::new(),
            pending: 0,
            closed: false,
            barrier: None,
        };
        self.domains.insert(id, domain);
        (id, self.add_stream(id, Kind::Legacy, 0))
    }

    /// A new stream. Of a domain that is being ended it is one that takes no operations.
    pub(super) fn add_stream(&mut self, id: DomainId, kind: Kind, priority: i32) -> StreamId {
        self.generations += 1;
        let index = self.free_streams.pop().unwrap_or_else(|| {
            self.streams.push(None);
            self.streams.len() - 1
        });
        let stream = StreamId {
            index,
            generation: self.generations,
        };
        let Some(domain) = self.domains.get_mut(&id).filter(|domain| !domain.closed) else {
            self.free_streams.push(index);
            return stream;
        };
        domain.streams.push(stream);
        self.streams[index] = Some(Stream {
            generation: stream.generation,
            domain: id,
            kind,
            priority,
            error: domain.error.clone(),
            phase: Phase::Idle,
            queue: VecDeque::new(),
            submitted: 0,
            completed: 0,
            parked: Vec::new(),
            hosts: 0,
            done: Arc::new(Condvar::new()),
            leaving: false,
        });
        stream
    }

    pub(super) fn leave(&mut self, id: StreamId) {
        let Some(stream) = self.stream_mut(id) else {
            return;
        };
        stream.leaving = true;
        if stream.phase == Phase::Idle {
            self.forget(id);
        }
    }

    pub(super) fn forget(&mut self, id: StreamId) {
        let Some(stream) = self.stream(id) else {
            return;
        };
        let domain = stream.domain;
        stream.done.notify_all();
        self.streams[id.index] = None;
        self.free_streams.push(id.index);
        if let Some(domain) = self.domains.get_mut(&domain) {
            domain.streams.retain(|stream| *stream != id);
        }
    }

    pub(super) fn stream(&self, id: StreamId) -> Option<&Stream> {
        self.streams
            .get(id.index)?
            .as_ref()
            .filter(|stream| stream.generation == id.generation)
    }

    pub(super) fn stream_mut(&mut self, id: StreamId) -> Option<&mut Stream> {
        self.streams
            .get_mut(id.index)?
            .as_mut()
            .filter(|stream| stream.generation == id.generation)
    }

    pub(super) fn error(&self, id: StreamId) -> Option<Arc<ErrorCell>> {
        Some(self.stream(id)?.error.clone())
    }

    /// The last operation submitted; nothing if all is complete.
    pub(super) fn last_marker(&self, id: StreamId) -> Option<Marker> {
        let stream = self.stream(id)?;
        (stream.completed < stream.submitted).then_some(Marker {
            stream: id,
            sequence: stream.submitted,
        })
    }

    /// What the next operation of a stream has to wait for, besides the stream itself; nothing if
    /// the stream takes no more operations.
    pub(super) fn dependencies(&self, id: StreamId) -> Option<Vec<Marker>> {
        let stream = self.stream(id)?;
        let domain = self.domains.get(&stream.domain)?;
        if domain.closed {
            return None;
        }
        if domain.pending == 0 || stream.kind == Kind::NonBlocking {
            return Some(Vec::new());
        }
        let other = match stream.kind {
            Kind::Legacy => Kind::Blocking,
            _ => Kind::Legacy,
        };
        Some(self.markers_of(domain, other))
    }

    pub(super) fn stream_markers(&self, id: StreamId) -> Vec<Marker> {
        let Some(stream) = self.stream(id) else {
            return Vec::new();
        };
        let mut markers = match stream.kind {
            Kind::Legacy => match self.domains.get(&stream.domain) {
                Some(domain) => self.markers_of(domain, Kind::Blocking),
                None => Vec::new(),
            },
            _ => Vec::new(),
        };
        markers.extend(self.last_marker(id));
        markers
    }

    /// The last operations of all streams of a domain that have some to complete.
    pub(super) fn domain_markers(&self, id: DomainId) -> Vec<Marker> {
        let Some(domain) = self.domains.get(&id).filter(|domain| domain.pending > 0) else {
            return Vec::new();
        };
        let streams = domain.streams.iter();
        streams.filter_map(|id| self.last_marker(*id)).collect()
    }

    pub(super) fn markers_of(&self, domain: &Domain, kind: Kind) -> Vec<Marker> {
        if domain.pending == 0 {
            return Vec::new();
        }
        domain
            .streams
            .iter()
            .filter(|id| self.stream(**id).is_some_and(|stream| stream.kind == kind))
            .filter_map(|id| self.last_marker(*id))
            .collect()
    }

    pub(super) fn next_marker(&mut self, id: StreamId) -> Marker {
        let mut sequence = 0;
        if let Some(stream) = self.stream_mut(id) {
            stream.submitted += 1;
            sequence = stream.submitted;
            let domain = stream.domain;
            if let Some(domain) = self.domains.get_mut(&domain) {
                domain.pending += 1;
            }
        }
        Marker {
            stream: id,
            sequence,
        }
    }

    pub(super) fn is_complete(&self, marker: Marker) -> bool {
        self.stream(marker.stream)
            .is_none_or(|stream| stream.completed >= marker.sequence)
    }

    /// Makes an idle stream running, on the calling thread.
    pub(super) fn begin(&mut self, id: StreamId) -> Option<Arc<ErrorCell>> {
        let stream = self.stream_mut(id)?;
        stream.phase = Phase::Running;
        Some(stream.error.clone())
    }

    /// Takes a ready stream to run it.
    pub(super) fn claim(&mut self, id: StreamId) -> bool {
        match self.stream_mut(id) {
            Some(stream) if stream.phase == Phase::Ready => stream.phase = Phase::Running,
            _ => return false,
        }
        if let Some(position) = self.ready.iter().position(|ready| *ready == id) {
            self.ready.remove(position);
        }
        true
    }

    /// The most urgent ready stream, of equal ones that which waits longest.
    pub(super) fn pop_ready(&mut self) -> Option<StreamId> {
        let priority = |id: &StreamId| self.stream(*id).map_or(0, |stream| stream.priority);
        let positions = self.ready.iter().enumerate();
        let (position, _) = positions.min_by_key(|(_, id)| priority(id))?;
        self.ready.remove(position)
    }

    /// The next operation of a running stream, whose dependencies are complete. If there is none
    /// the stream stops running.
    pub(super) fn next_work(&mut self, id: StreamId) -> Option<Work> {
        let stream = self.stream(id)?;
        let Some(operation) = stream.queue.front() else {
            self.settle(id);
            return None;
        };
        let incomplete = operation
            .dependencies
            .iter()
            .copied()
            .find(|marker| !self.is_complete(*marker));
        if let Some(marker) = incomplete
            && let Some(other) = self.stream_mut(marker.stream)
        {
            other.parked.push((marker.sequence, id));
            self.stream_mut(id)?.phase = Phase::Parked;
            return None;
        }
        let operation = self.stream_mut(id)?.queue.pop_front()?;
        Some(operation.work)
    }

    /// One more operation of a stream is complete.
    pub(super) fn complete(&mut self, id: StreamId) {
        let Some(stream) = self.stream_mut(id) else {
            return;
        };
        stream.completed += 1;
        let completed = stream.completed;
        if stream.hosts > 0 {
            stream.done.notify_all();
        }
        let domain = stream.domain;
        let mut awake = Vec::new();
        stream.parked.retain(|&(sequence, parked)| {
            if sequence <= completed {
                awake.push(parked);
            }
            sequence > completed
        });
        if let Some(domain) = self.domains.get_mut(&domain) {
            domain.pending -= 1;
        }
        for parked in awake {
            if let Some(stream) = self.stream_mut(parked)
                && stream.phase == Phase::Parked
            {
                stream.phase = Phase::Ready;
                self.ready.push_back(parked);
            }
        }
    }

    /// A running stream stops running on this thread.
    pub(super) fn settle(&mut self, id: StreamId) {
        let Some(stream) = self.stream_mut(id) else {
            return;
        };
        if !stream.queue.is_empty() {
            stream.phase = Phase::Ready;
            self.ready.push_back(id);
            return;
        }
        stream.phase = Phase::Idle;
        if stream.leaving {
            self.forget(id);
        }
    }
}
