// SPDX-License-Identifier: Apache-2.0
//! Threads that wait for the device, so that the executor never does.

use std::collections::VecDeque;
use std::sync::Arc;

use gvirtus_abi::CUcontext;
use parking_lot::{Condvar, Mutex};

use crate::driver::Driver;
use crate::limits::WAITER_THREADS_MAX;

/// One wait: runs with its context current.
pub(super) struct Wait {
    /// Whose context.
    pub(super) context: CUcontext,
    /// Waits and replies.
    pub(super) run: Box<dyn FnOnce() + Send>,
}

/// The threads of a session. Idle ones end with it.
pub(super) struct Waiters {
    driver: &'static Driver,
    pool: Arc<Pool>,
}

#[derive(Default)]
struct Pool {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waits: VecDeque<Wait>,
    threads: usize,
    idle: usize,
    closed: bool,
}

impl Waiters {
    pub(super) fn new(driver: &'static Driver) -> Self {
        Self {
            driver,
            pool: Arc::default(),
        }
    }

    /// Runs `wait` on a thread of its own, as far as there are threads.
    pub(super) fn submit(&self, wait: Wait) {
        let mut state = self.pool.state.lock();
        state.waits.push_back(wait);
        if state.idle >= state.waits.len() || state.threads >= WAITER_THREADS_MAX {
            self.pool.changed.notify_one();
            return;
        }
        state.threads += 1;
        drop(state);
        let (driver, pool) = (self.driver, Arc::clone(&self.pool));
        let thread = std::thread::Builder::new().name("gvirtus-waiter".into());
        if let Err(error) = thread.spawn(move || pool.work(driver)) {
            tracing::warn!(%error, "cannot start a thread to wait for the device");
            self.run_here();
        }
    }

    /// Without any thread the executor has to wait itself. Then all earlier waits are over, and the
    /// only one left is that of the executor's current context.
    fn run_here(&self) {
        let wait = {
            let mut state = self.pool.state.lock();
            state.threads -= 1;
            if state.threads > 0 {
                return;
            }
            state.waits.pop_back()
        };
        if let Some(wait) = wait {
            (wait.run)();
        }
    }
}

impl Drop for Waiters {
    fn drop(&mut self) {
        self.pool.state.lock().closed = true;
        self.pool.changed.notify_all();
    }
}

impl Pool {
    fn work(&self, driver: &Driver) {
        while let Some(wait) = self.next() {
            // SAFETY: the context is the session's; if it is gone, the driver says so, and so does
            // the wait itself.
            let _ = unsafe { driver.cuCtxSetCurrent(wait.context) };
            (wait.run)();
        }
    }

    fn next(&self) -> Option<Wait> {
        let mut state = self.state.lock();
        loop {
            if let Some(wait) = state.waits.pop_front() {
                return Some(wait);
            }
            if state.closed {
                return None;
            }
            state.idle += 1;
            self.changed.wait(&mut state);
            state.idle -= 1;
        }
    }
}
