// SPDX-License-Identifier: Apache-2.0
//! Streams: queues of operations that run in order, asynchronously to the host.
//!
//! One lock guards all queues of the process; it is held for a few instructions only, never while
//! an operation runs. An operation starts when the one before it in its stream is complete and so
//! are its dependencies: [`Marker`]s, each a position in a stream. Everything that CUDA says about
//! order is made of them:
//! - an operation of a context's legacy stream depends on all that was submitted before to the
//!   context's blocking streams, and an operation of a blocking stream on all that was submitted
//!   before to the legacy stream;
//! - `cuStreamWaitEvent` submits an empty operation that depends on the event's record.
//!
//! Streams with something to do are *ready* and taken by worker threads, which are started as
//! needed and leave when idle for long. A stream whose next operation has an incomplete dependency
//! is *parked* with the stream that it waits for, and costs no thread. A host thread that waits for
//! a ready stream runs it itself, which saves the switch to a worker. An operation that is
//! submitted as [`Placement::Here`] to a stream without anything to wait for runs on the submitting
//! thread.
//!
//! An operation that fails sets the error of its domain (a context); from then on operations of
//! that domain are skipped, while event records and dependencies still complete.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use gvirtus_abi::CUresult;
use parking_lot::{Condvar, Mutex, MutexGuard};

pub(super) use super::queues::{DomainId, ErrorCell, Kind, Marker, Record, StreamId};
use super::queues::{Operation, Phase, State, Work};

/// Streams that can run at the same time.
const WORKERS_MAX: usize = 128;
/// How long an idle worker waits for more.
const WORKER_IDLE: Duration = Duration::from_secs(5);

/// Where an operation may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placement {
    /// On the submitting thread, if nothing comes before it: for operations that are known to be
    /// shorter than handing them over takes.
    Here,
    /// On a worker, asynchronously to the submitting thread.
    Worker,
}

/// Longest pause between two looks whether everything is quiet.
const QUIET_POLL_MAX: Duration = Duration::from_millis(1);
/// Operations that only look at memory until somebody else has written to it.
static WATCHING: AtomicUsize = AtomicUsize::new(0);

/// Runs the part of an operation that writes to no memory and may take forever.
pub(super) fn watching<T>(work: impl FnOnce() -> T) -> T {
    WATCHING.fetch_add(1, Ordering::AcqRel);
    let result = work();
    WATCHING.fetch_sub(1, Ordering::AcqRel);
    result
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
            state: Mutex::new(State::new()),
            work: Condvar::new(),
        }
    }

    /// A new domain and its legacy stream.
    pub(super) fn add_domain(&self, error: Arc<ErrorCell>) -> (DomainId, StreamId) {
        self.state.lock().add_domain(error)
    }

    /// Waits for a domain's work and ends it with all its streams.
    pub(super) fn remove_domain(&self, domain: DomainId) {
        let mut state = self.state.lock();
        let Some(closed) = state.domains.get_mut(&domain) else {
            return;
        };
        closed.closed = true;
        self.wait_domain_locked(&mut state, domain);
        let streams = state.domains.remove(&domain).map(|domain| domain.streams);
        for stream in streams.into_iter().flatten() {
            state.leave(stream);
        }
    }

    pub(super) fn add_stream(&self, domain: DomainId, kind: Kind, priority: i32) -> StreamId {
        let mut state = self.state.lock();
        let stream = state.add_stream(domain, kind, priority);
        let barrier = state.domains.get(&domain).and_then(|domain| domain.barrier);
        drop(state);
        if let Some(marker) = barrier {
            self.depend(stream, marker);
        }
        stream
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

    /// As [`Scheduler::submit`] to a worker; `work` runs even if the domain has failed, with its
    /// error or `CUDA_SUCCESS`.
    pub(super) fn submit_always<F>(&self, stream: StreamId, work: F)
    where
        F: FnOnce(CUresult) + Send + 'static,
    {
        let mut state = self.state.lock();
        let Some(dependencies) = state.dependencies(stream) else {
            return;
        };
        state.next_marker(stream);
        let work = Work::Always(Box::new(work));
        self.push(state, stream, Operation { dependencies, work });
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
        self.record_after(self.state.lock(), stream, Vec::new())
    }

    fn record_after(
        &self,
        mut state: MutexGuard<'_, State>,
        stream: StreamId,
        after: Vec<Marker>,
    ) -> Arc<Record> {
        let Some(mut dependencies) = state.dependencies(stream) else {
            let marker = Marker::complete(stream);
            let time = OnceLock::from(Instant::now());
            return Arc::new(Record { marker, time });
        };
        let record = Arc::new(Record {
            marker: state.next_marker(stream),
            time: OnceLock::new(),
        });
        dependencies.extend(after);
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

    /// Records an event when all work submitted to a domain so far is complete. The record is in
    /// a stream of its own, which goes as soon as it is reached.
    pub(super) fn record_domain(&self, domain: DomainId) -> Arc<Record> {
        let mut state = self.state.lock();
        let markers = state.domain_markers(domain);
        let stream = state.add_stream(domain, Kind::NonBlocking, 0);
        let record = self.record_after(state, stream, markers);
        self.remove_stream(stream);
        record
    }

    /// Makes later work of a domain wait for a marker, also that of streams made later.
    pub(super) fn depend_domain(&self, domain: DomainId, marker: Marker) {
        let mut state = self.state.lock();
        if state.is_complete(marker) {
            return;
        }
        let streams = match state.domains.get_mut(&domain) {
            Some(domain) => {
                domain.barrier = Some(marker);
                domain.streams.clone()
            }
            None => return,
        };
        drop(state);
        for stream in streams {
            self.depend(stream, marker);
        }
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

    /// Runs `work` while no operation runs that may write to memory: waits until there is none.
    /// Operations that are only queued wait in turn.
    pub(super) fn quietly<T>(&self, work: impl FnOnce() -> T) -> T {
        let mut pause = Duration::from_micros(1);
        loop {
            let state = self.state.lock();
            let streams = state.streams.iter().flatten();
            let running = streams.filter(|stream| stream.phase == Phase::Running);
            if running.count() <= WATCHING.load(Ordering::Acquire) {
                return work();
            }
            drop(state);
            std::thread::sleep(pause);
            pause = (pause * 2).min(QUIET_POLL_MAX);
        }
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
        for marker in state.domain_markers(domain) {
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
            if let Some(stream) = state.pop_ready() {
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
                Work::Always(work) => {
                    let error = state.error(stream);
                    let result = error.map_or(Ok(()), |error| error.check());
                    let status = result.err().unwrap_or_default();
                    MutexGuard::unlocked(state, || work(status));
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
    // SAFETY: both sets are plain data that the calls fill in; the mask of the calling thread is
    // put back below.
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
