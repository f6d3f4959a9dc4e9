// SPDX-License-Identifier: Apache-2.0
//! The thread that writes posted commands when the application does not call again.
//!
//! While commands come it looks at the queue every few microseconds, so that posting costs the
//! application nothing. After about a millisecond without any it sleeps, and the next post wakes
//! it. It handles no signals, runs none of the application's code, and uses nothing that is ever
//! freed: the process may end at any moment.

use gvirtus_driver_face::log;

use super::{Payload, Wire};
use crate::limits::{FLUSH_AGE, FLUSHER_IDLE_LOOKS_MAX, FLUSHER_STACK_BYTES};

/// What the flusher does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flusher {
    /// Sleeps until it is woken.
    Asleep,
    /// Looks at the queue again soon.
    Awake,
    /// The system gives no thread: every post writes.
    Impossible,
    /// Nothing was posted yet.
    Unborn,
}

impl Wire {
    /// Starts the thread. Posted commands are written by their own thread if there is none.
    #[cold]
    pub(super) fn start_flusher(&'static self) {
        let started = with_signals_blocked(|| {
            std::thread::Builder::new()
                .name("gvirtus-flush".to_owned())
                .stack_size(FLUSHER_STACK_BYTES)
                .spawn(|| self.flush_forever())
        });
        if let Err(error) = started {
            log!(Warn, "no thread for the command queue: {error}");
            let mut queue = self.queue.lock();
            queue.flusher = Flusher::Impossible;
            self.after_post(queue);
        }
    }

    fn flush_forever(&self) {
        set_short_timer_slack();
        let (mut idle, mut last) = (0, 0);
        loop {
            std::thread::sleep(FLUSH_AGE);
            let mut queue = self.queue.lock();
            if self.faults.check_connection().is_err() {
                return;
            }
            if !queue.buffer.is_empty() && !queue.is_writing {
                // SAFETY: there is no payload.
                unsafe { self.write_out(&mut queue, Payload::None) };
            }
            if queue.sequence != last {
                last = queue.sequence;
                idle = 0;
                continue;
            }
            idle += 1;
            if idle > FLUSHER_IDLE_LOOKS_MAX && queue.buffer.is_empty() {
                queue.flusher = Flusher::Asleep;
                while queue.flusher == Flusher::Asleep {
                    self.work.wait(&mut queue);
                }
                idle = 0;
                if !queue.is_writing {
                    // SAFETY: there is no payload.
                    unsafe { self.write_out(&mut queue, Payload::None) };
                }
            }
        }
    }
}

/// Runs `start` so that a thread which it starts never runs the application's signal handlers.
pub(super) fn with_signals_blocked<T>(start: impl FnOnce() -> T) -> T {
    let mut all = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: a place for a signal set.
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    // SAFETY: `all` was filled above, and `before` is a place for a signal set.
    let blocked =
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) };
    let result = start();
    if blocked == 0 {
        // SAFETY: the successful call above wrote the mask of before.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut());
        }
    }
    result
}

/// The default slack of 50 microseconds would be several times the time to sleep.
fn set_short_timer_slack() {
    const SLACK_NANOSECONDS: libc::c_ulong = 1000;
    // SAFETY: only changes how exactly this thread's sleeps end.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, SLACK_NANOSECONDS) };
}
