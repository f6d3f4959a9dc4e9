// SPDX-License-Identifier: Apache-2.0
//! Threads that help to run blocks.
//!
//! Threads are started when first wanted and stay. The caller of [`help`] always works itself, so a
//! launch never waits for a free thread.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

/// Threads started at most.
const THREADS_MAX: usize = 256;

struct Pool {
    state: Mutex<State>,
    has_work: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Arc<Job>>,
    threads: usize,
    idle: usize,
}

struct Job {
    /// The work; valid until the job is closed and nobody is inside.
    work: *const (dyn Fn() + Sync),
    inner: Mutex<JobState>,
    is_quiet: Condvar,
}

#[derive(Default)]
struct JobState {
    /// Helpers that may still join.
    wanted: usize,
    /// Helpers inside.
    inside: usize,
}

// SAFETY: the work is Sync, and `Helpers` keeps it alive while anybody may call it.
unsafe impl Send for Job {}
// SAFETY: as above.
unsafe impl Sync for Job {}

static POOL: Pool = Pool {
    state: Mutex::new(State {
        jobs: VecDeque::new(),
        threads: 0,
        idle: 0,
    }),
    has_work: Condvar::new(),
};

/// Helpers at work; dropping it waits for all of them.
pub(crate) struct Helpers<'a> {
    job: Arc<Job>,
    _work: std::marker::PhantomData<&'a ()>,
}

/// Lets up to `count` other threads call `work` too.
pub(crate) fn help<'a>(count: usize, work: &'a (dyn Fn() + Sync + 'a)) -> Helpers<'a> {
    let work: *const (dyn Fn() + Sync + 'a) = work;
    // SAFETY: only the lifetime changes; `Helpers`, which borrows for 'a, waits for every call to
    // end before it goes. It cannot be leaked: it never leaves this crate's launch function.
    let work: *const (dyn Fn() + Sync) = unsafe { std::mem::transmute(work) };
    let inner = Mutex::new(JobState {
        wanted: count,
        inside: 0,
    });
    let job = Arc::new(Job {
        work,
        inner,
        is_quiet: Condvar::new(),
    });
    if count > 0 {
        let mut state = POOL.state.lock();
        state.jobs.push_back(Arc::clone(&job));
        let missing = count
            .saturating_sub(state.idle)
            .min(THREADS_MAX - state.threads);
        for _ in 0..missing {
            let thread = std::thread::Builder::new().name("softgpu".into());
            if thread.spawn(run).is_ok() {
                state.threads += 1;
            }
        }
        drop(state);
        POOL.has_work.notify_all();
    }
    Helpers {
        job,
        _work: std::marker::PhantomData,
    }
}

impl Drop for Helpers<'_> {
    fn drop(&mut self) {
        let mut inner = self.job.inner.lock();
        inner.wanted = 0;
        while inner.inside > 0 {
            self.job.is_quiet.wait(&mut inner);
        }
        drop(inner);
        POOL.state
            .lock()
            .jobs
            .retain(|job| !Arc::ptr_eq(job, &self.job));
    }
}

fn run() {
    let mut state = POOL.state.lock();
    loop {
        let joined = state.jobs.iter().find(|job| job.join()).cloned();
        let Some(job) = joined else {
            state.idle += 1;
            POOL.has_work.wait(&mut state);
            state.idle -= 1;
            continue;
        };
        drop(state);
        job.call();
        state = POOL.state.lock();
    }
}

impl Job {
    fn join(&self) -> bool {
        let mut inner = self.inner.lock();
        let is_wanted = inner.wanted > 0;
        if is_wanted {
            inner.wanted -= 1;
            inner.inside += 1;
        }
        is_wanted
    }

    fn call(&self) {
        struct Leave<'a>(&'a Job);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                let mut inner = self.0.inner.lock();
                inner.inside -= 1;
                if inner.inside == 0 {
                    self.0.is_quiet.notify_all();
                }
            }
        }
        let _leave = Leave(self);
        // SAFETY: this thread has joined, so `Helpers` still waits.
        unsafe { (*self.work)() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn helpers_finish_before_the_caller_goes_on() {
        for _ in 0..200 {
            let left = AtomicUsize::new(100);
            let done = AtomicUsize::new(0);
            let work = || {
                while left
                    .try_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
                    .is_ok()
                {
                    done.fetch_add(1, Ordering::SeqCst);
                }
            };
            let helpers = help(3, &work);
            work();
            drop(helpers);
            assert_eq!(done.load(Ordering::SeqCst), 100);
        }
    }
}
