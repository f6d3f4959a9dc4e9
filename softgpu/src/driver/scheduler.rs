// SPDX-License-Identifier: Apache-2.0
//! Streams: queues of operations that run in order, asynchronously to the host.
//!
//! One lock guards all queues of the process; it is held for a few instructions only, never while an
//! operation runs. An operation starts when the one before it in its stream is complete and so are
//! its dependencies: [`Marker`]s, each a position in a stream. Everything that CUDA says about order
//! is made of them:
//! - an operation of a context's legacy stream depends on all that was submitted before to the
//!   context's blocking streams, and an operation of a blocking stream on all that was submitted
//!   before to the legacy stream;
//! - `cuStreamWaitEvent` submits an empty operation that depends on the event's record.
//!
//! Streams with something to do are *ready* and taken by worker threads, which are started as needed
//! and leave when idle for long. A stream whose next operation has an incomplete dependency is
//! *parked* with the stream that it waits for, and costs no thread. A host thread that waits for a
//! ready stream runs it itself, which saves the switch to a worker. An operation that is submitted as
//! [`Placement::Here`] to a stream without anything to wait for runs on the submitting thread.
//!
//! An operation that fails sets the error of its domain (a context); from then on operations of that
//! domain are skipped, while event records and dependencies still complete.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use gvirtus_abi::CUresult;
use parking_lot::{Condvar, Mutex, MutexGuard};

/// Streams that can run at the same time.
const WORKERS_MAX: usize = 128;
/// How long an idle worker waits for more.
const WORKER_IDLE: Duration = Duration::from_secs(5);

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

/// The streams of one context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DomainId(usize);

/// A stream; stays unique when the stream is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StreamId {
    index: usize,
    generation: u64,
}

/// A position in a stream: complete when all operations up to it are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marker {
    stream: StreamId,
    sequence: u64,
}

impl Marker {
    /// Of an operation that a stream which takes none was given.
    fn complete(stream: StreamId) -> Self {
        Self {
            stream,
            sequence: 0,
        }
    }
}

/// A recorded event.
#[derive(Debug)]
pub(super) struct Record {
    marker: Marker,
    time: OnceLock<Instant>,
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

/// Where an operation may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placement {
    /// On the submitting thread, if nothing comes before it: for operations that are known to be
    /// shorter than handing them over takes.
    Here,
    /// On a worker, asynchronously to the submitting thread.
    Worker,
}

enum Work {
    Nothing,
    Record(Arc<Record>),
    Run(Box<dyn FnOnce() -> Result<(), CUresult> + Send>),
}

struct Operation {
    dependencies: Vec<Marker>,
    work: Work,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing to do.
    Idle,
    /// Waits for a dependency, which makes it ready.
    Parked,
    /// In the ready queue.
    Ready,
    /// Some thread runs its operations.
    Running,
}

struct Stream {
    generation: u64,
    domain: DomainId,
    kind: Kind,
    error: Arc<ErrorCell>,
    phase: Phase,
    queue: VecDeque<Operation>,
    submitted: u64,
    completed: u64,
    /// Streams to make ready when this one has completed that far.
    parked: Vec<(u64, StreamId)>,
    /// Hosts that wait for this stream.
    hosts: usize,
    done: Arc<Condvar>,
    /// Goes away when it is drained.
    leaving: bool,
}

struct Domain {
    error: Arc<ErrorCell>,
    streams: Vec<StreamId>,
    /// Operations submitted and not complete, of all streams.
    pending: u64,
    /// Takes nothing new.
    closed: bool,
}

struct State {
    streams: Vec<Option<Stream>>,
    free_streams: Vec<usize>,
    domains: Vec<Option<Domain>>,
    generations: u64,
    ready: VecDeque<StreamId>,
    workers: usize,
    idle_workers: usize,
}

/// All streams of the process.
pub(super) struct Scheduler {
    state: Mutex<State>,
    work: Condvar,
}

/// The process's scheduler.
pub(super) static SCHEDULER: Scheduler = Scheduler::new();

impl Scheduler {
    pub(super) const fn new() -> Self {
        Self {
            state: Mutex::new(State {
                streams: Vec::new(),
                free_streams: Vec::new(),
                domains: Vec::new(),
                generations: 0,
                ready: VecDeque::new(),
                workers: 0,
                idle_workers: 0,
            }),
            work: Condvar::new(),
        }
    }

    /// A new domain and its legacy stream.
    pub(super) fn add_domain(&self, error: Arc<ErrorCell>) -> (DomainId, StreamId) {
        let mut state = self.state.lock();
        let domain = Domain {
            error,
            streams: Vec::new(),
            pending: 0,
            closed: false,
        };
        let id = match state.domains.iter().position(Option::is_none) {
            Some(index) => {
                state.domains[index] = Some(domain);
                DomainId(index)
            }
            None => {
                state.domains.push(Some(domain));
                DomainId(state.domains.len() - 1)
            }
        };
        let legacy = state.add_stream(id, Kind::Legacy);
        (id, legacy)
    }

    /// Waits for a domain's work and ends it with all its streams.
    pub(super) fn remove_domain(&self, domain: DomainId) {
        let mut state = self.state.lock();
        state.domain_mut(domain).closed = true;
        self.wait_domain_locked(&mut state, domain);
        for stream in state.domain(domain).streams.clone() {
            state.leave(stream);
        }
        state.domains[domain.0] = None;
    }

    pub(super) fn add_stream(&self, domain: DomainId, kind: Kind) -> StreamId {
        self.state.lock().add_stream(domain, kind)
    }

    /// Lets the stream go as soon as its work is complete.
    pub(super) fn remove_stream(&self, stream: StreamId) {
        self.state.lock().leave(stream);
    }

    /// Submits an operation; the marker is complete when it has run (or was skipped).
    pub(super) fn submit<F>(&self, stream: StreamId, placement: Placement, work: F) -> Marker
    where
        F: FnOnce() -> Result<(), CUresult> + Send + 'static,
    {
        let mut work = Some(work);
        if placement == Placement::Here {
            let run = || work.take().map_or(Ok(()), |work| work());
            if let Some(marker) = self.run_here(stream, run) {
                return marker;
            }
        }
        let mut state = self.state.lock();
        let (Some(dependencies), Some(work)) = (state.dependencies(stream), work) else {
            return Marker::complete(stream);
        };
        let marker = state.next_marker(stream);
        let work = Work::Run(Box::new(work));
        self.push(state, stream, Operation { dependencies, work });
        marker
    }

    /// Runs an operation on the calling thread if nothing comes before it; otherwise does nothing.
    pub(super) fn run_here<F>(&self, stream: StreamId, work: F) -> Option<Marker>
    where
        F: FnOnce() -> Result<(), CUresult>,
    {
        let mut state = self.state.lock();
        let Some(dependencies) = state.dependencies(stream) else {
            return Some(Marker::complete(stream));
        };
        let is_idle = state.stream(stream).is_some_and(|s| s.phase == Phase::Idle);
        if !is_idle || !dependencies.is_empty() {
            return None;
        }
        let marker = state.next_marker(stream);
        let error = state.begin(stream);
        MutexGuard::unlocked(&mut state, || run(error.as_deref(), work));
        state.complete(stream);
        state.settle(stream);
        self.wake_workers(state);
        Some(marker)
    }

    /// Records an event.
    pub(super) fn record(&self, stream: StreamId) -> Arc<Record> {
        let mut state = self.state.lock();
        let Some(dependencies) = state.dependencies(stream) else {
            let marker = Marker::complete(stream);
            let time = OnceLock::from(Instant::now());
            return Arc::new(Record { marker, time });
        };
        let record = Arc::new(Record {
            marker: state.next_marker(stream),
            time: OnceLock::new(),
        });
        let idle = state.stream(stream).is_some_and(|s| s.phase == Phase::Idle);
        if idle && dependencies.is_empty() {
            let _ = record.time.set(Instant::now());
            state.complete(stream);
        } else {
            let work = Work::Record(record.clone());
            self.push(state, stream, Operation { dependencies, work });
        }
        record
    }

    /// Makes later work of a stream wait for a marker.
    pub(super) fn depend(&self, stream: StreamId, marker: Marker) {
        let mut state = self.state.lock();
        if state.is_complete(marker) {
            return;
        }
        let Some(mut dependencies) = state.dependencies(stream) else {
            return;
        };
        dependencies.push(marker);
        state.next_marker(stream);
        let work = Work::Nothing;
        self.push(state, stream, Operation { dependencies, work });
    }

    pub(super) fn is_complete(&self, marker: Marker) -> bool {
        self.state.lock().is_complete(marker)
    }

    /// Whether all that [`Scheduler::wait_stream`] would wait for is complete.
    pub(super) fn is_stream_idle(&self, stream: StreamId) -> bool {
        let state = self.state.lock();
        state
            .stream_markers(stream)
            .into_iter()
            .all(|marker| state.is_complete(marker))
    }

    /// Waits for one marker.
    pub(super) fn wait(&self, marker: Marker) {
        let mut state = self.state.lock();
        self.wait_locked(&mut state, marker);
    }

    /// Waits for all work submitted to a stream so far; for a legacy stream, also for that of its
    /// domain's blocking streams.
    pub(super) fn wait_stream(&self, stream: StreamId) {
        let mut state = self.state.lock();
        for marker in state.stream_markers(stream) {
            self.wait_locked(&mut state, marker);
        }
    }

    /// Waits for all work submitted to a domain so far.
    pub(super) fn wait_domain(&self, domain: DomainId) {
        let mut state = self.state.lock();
        self.wait_domain_locked(&mut state, domain);
    }

    fn wait_domain_locked(&self, state: &mut MutexGuard<'_, State>, domain: DomainId) {
        if state.domains[domain.0]
            .as_ref()
            .is_none_or(|domain| domain.pending == 0)
        {
            return;
        }
        let streams = state.domain(domain).streams.clone();
        let markers: Vec<Marker> = streams
            .into_iter()
            .filter_map(|stream| state.last_marker(stream))
            .collect();
        for marker in markers {
            self.wait_locked(state, marker);
        }
    }

    fn wait_locked(&self, state: &mut MutexGuard<'_, State>, marker: Marker) {
        while !state.is_complete(marker) {
            // Without any worker nobody else would run what this one depends on.
            let helped = match state.workers {
                0 => state.ready.front().copied(),
                _ => Some(marker.stream),
            };
            if let Some(stream) = helped
                && state.claim(stream)
            {
                let until = (stream == marker.stream).then_some(marker.sequence);
                self.drain(state, stream, until);
                continue;
            }
            let Some(stream) = state.stream_mut(marker.stream) else {
                return;
            };
            stream.hosts += 1;
            let done = stream.done.clone();
            done.wait(state);
            if let Some(stream) = state.stream_mut(marker.stream) {
                stream.hosts -= 1;
            }
        }
    }

    fn push(&self, mut state: MutexGuard<'_, State>, stream: StreamId, operation: Operation) {
        if let Some(queue) = state.stream_mut(stream) {
            queue.queue.push_back(operation);
            if queue.phase == Phase::Idle {
                queue.phase = Phase::Ready;
                state.ready.push_back(stream);
            }
        }
        self.wake_workers(state);
    }

    /// Sees to it that somebody runs what is ready. Called whenever something may have become so.
    fn wake_workers(&self, mut state: MutexGuard<'_, State>) {
        let ready = state.ready.len();
        if ready == 0 {
            return;
        }
        let missing = ready.saturating_sub(state.idle_workers);
        let spawned = missing.min(WORKERS_MAX - state.workers.min(WORKERS_MAX));
        let woken = ready.min(state.idle_workers);
        // Workers that start count as idle, so that nobody starts more for the same streams.
        state.workers += spawned;
        state.idle_workers += spawned;
        drop(state);
        for _ in 0..woken {
            self.work.notify_one();
        }
        for _ in 0..spawned {
            if let Err(error) = spawn_worker() {
                let mut state = self.state.lock();
                state.workers -= 1;
                state.idle_workers -= 1;
                gvirtus_driver_face::log!(Error, "cannot start a thread: {error}");
            }
        }
    }

    /// A worker's life.
    fn serve(&self) {
        let mut state = self.state.lock();
        state.idle_workers -= 1;
        loop {
            if let Some(stream) = state.ready.front().copied() {
                if state.claim(stream) {
                    self.drain(&mut state, stream, None);
                }
                continue;
            }
            state.idle_workers += 1;
            let idle = self.work.wait_for(&mut state, WORKER_IDLE);
            state.idle_workers -= 1;
            if idle.timed_out() && state.ready.is_empty() {
                state.workers -= 1;
                return;
            }
        }
    }

    /// Runs a claimed stream until it has nothing to do, must wait, or has completed `until`.
    fn drain(&self, state: &mut MutexGuard<'_, State>, stream: StreamId, until: Option<u64>) {
        while let Some(work) = state.next_work(stream) {
            match work {
                Work::Nothing => {}
                Work::Record(record) => {
                    let _ = record.time.set(Instant::now());
                }
                Work::Run(work) => {
                    let error = state.error(stream);
                    MutexGuard::unlocked(state, || run(error.as_deref(), work));
                }
            }
            state.complete(stream);
            let enough = match (until, state.stream(stream)) {
                (Some(until), Some(stream)) => stream.completed >= until,
                _ => false,
            };
            // Streams that waited for this one may run beside the rest of it.
            if enough || !state.ready.is_empty() {
                if enough {
                    state.settle(stream);
                }
                MutexGuard::unlocked(state, || self.wake_workers(self.state.lock()));
            }
            if enough {
                return;
            }
        }
    }
}

impl State {
    fn add_stream(&mut self, domain: DomainId, kind: Kind) -> StreamId {
        self.generations += 1;
        let index = self.free_streams.pop().unwrap_or_else(|| {
            self.streams.push(None);
            self.streams.len() - 1
        });
        let id = StreamId {
            index,
            generation: self.generations,
        };
        let error = self.domain(domain).error.clone();
        self.streams[index] = Some(Stream {
            generation: id.generation,
            domain,
            kind,
            error,
            phase: Phase::Idle,
            queue: VecDeque::new(),
            submitted: 0,
            completed: 0,
            parked: Vec::new(),
            hosts: 0,
            done: Arc::new(Condvar::new()),
            leaving: false,
        });
        self.domain_mut(domain).streams.push(id);
        id
    }

    fn leave(&mut self, id: StreamId) {
        let Some(stream) = self.stream_mut(id) else {
            return;
        };
        stream.leaving = true;
        if stream.phase == Phase::Idle {
            self.forget(id);
        }
    }

    fn forget(&mut self, id: StreamId) {
        let Some(stream) = self.stream(id) else {
            return;
        };
        let domain = stream.domain;
        stream.done.notify_all();
        self.streams[id.index] = None;
        self.free_streams.push(id.index);
        if let Some(domain) = &mut self.domains[domain.0] {
            domain.streams.retain(|stream| *stream != id);
        }
    }

    fn stream(&self, id: StreamId) -> Option<&Stream> {
        self.streams
            .get(id.index)?
            .as_ref()
            .filter(|stream| stream.generation == id.generation)
    }

    fn stream_mut(&mut self, id: StreamId) -> Option<&mut Stream> {
        self.streams
            .get_mut(id.index)?
            .as_mut()
            .filter(|stream| stream.generation == id.generation)
    }

    fn domain(&self, id: DomainId) -> &Domain {
        self.domains[id.0]
            .as_ref()
            .expect("a domain outlives its streams and its context")
    }

    fn domain_mut(&mut self, id: DomainId) -> &mut Domain {
        self.domains[id.0]
            .as_mut()
            .expect("a domain outlives its streams and its context")
    }

    fn error(&self, id: StreamId) -> Option<Arc<ErrorCell>> {
        Some(self.stream(id)?.error.clone())
    }

    /// The last operation submitted; nothing if all is complete.
    fn last_marker(&self, id: StreamId) -> Option<Marker> {
        let stream = self.stream(id)?;
        (stream.completed < stream.submitted).then_some(Marker {
            stream: id,
            sequence: stream.submitted,
        })
    }

    /// What the next operation of a stream has to wait for, besides the stream itself; nothing if
    /// the stream takes no more operations.
    fn dependencies(&self, id: StreamId) -> Option<Vec<Marker>> {
        let stream = self.stream(id)?;
        let domain = self.domain(stream.domain);
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

    fn stream_markers(&self, id: StreamId) -> Vec<Marker> {
        let Some(stream) = self.stream(id) else {
            return Vec::new();
        };
        let mut markers = match stream.kind {
            Kind::Legacy => self.markers_of(self.domain(stream.domain), Kind::Blocking),
            _ => Vec::new(),
        };
        markers.extend(self.last_marker(id));
        markers
    }

    fn markers_of(&self, domain: &Domain, kind: Kind) -> Vec<Marker> {
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

    fn next_marker(&mut self, id: StreamId) -> Marker {
        let mut sequence = 0;
        if let Some(stream) = self.stream_mut(id) {
            stream.submitted += 1;
            sequence = stream.submitted;
            let domain = stream.domain;
            self.domain_mut(domain).pending += 1;
        }
        Marker {
            stream: id,
            sequence,
        }
    }

    fn is_complete(&self, marker: Marker) -> bool {
        self.stream(marker.stream)
            .is_none_or(|stream| stream.completed >= marker.sequence)
    }

    /// Makes an idle stream running, on the calling thread.
    fn begin(&mut self, id: StreamId) -> Option<Arc<ErrorCell>> {
        let stream = self.stream_mut(id)?;
        stream.phase = Phase::Running;
        Some(stream.error.clone())
    }

    /// Takes a ready stream to run it.
    fn claim(&mut self, id: StreamId) -> bool {
        match self.stream_mut(id) {
            Some(stream) if stream.phase == Phase::Ready => stream.phase = Phase::Running,
            _ => return false,
        }
        if let Some(position) = self.ready.iter().position(|ready| *ready == id) {
            self.ready.remove(position);
        }
        true
    }

    /// The next operation of a running stream, whose dependencies are complete. If there is none the
    /// stream stops running.
    fn next_work(&mut self, id: StreamId) -> Option<Work> {
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
    fn complete(&mut self, id: StreamId) {
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
        self.domain_mut(domain).pending -= 1;
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
    fn settle(&mut self, id: StreamId) {
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

fn run<F>(error: Option<&ErrorCell>, work: F)
where
    F: FnOnce() -> Result<(), CUresult>,
{
    let Some(error) = error else { return };
    if error.check().is_err() {
        return;
    }
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(())) => {}
        Ok(Err(status)) => error.set(status),
        Err(_) => {
            gvirtus_driver_face::log::write_always(format_args!(
                "an operation failed inside (this is a bug)"
            ));
            error.set(CUresult::CUDA_ERROR_UNKNOWN);
        }
    }
}

/// Starts a worker that takes none of the application's signals.
fn spawn_worker() -> std::io::Result<()> {
    // SAFETY: both sets are plain data that the calls fill in; the mask of the calling thread is put
    // back below.
    let before = unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        before
    };
    let spawned = std::thread::Builder::new()
        .name("gvirtus-stream".to_owned())
        .spawn(|| SCHEDULER.serve());
    // SAFETY: `before` is the mask that the first call filled in.
    unsafe {
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut());
    }
    spawned.map(drop)
}

#[cfg(test)]
#[path = "scheduler_tests.rs"]
mod tests;
