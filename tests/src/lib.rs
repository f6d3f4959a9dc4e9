// SPDX-License-Identifier: Apache-2.0
//! What the whole-system tests share: the built product, daemons and programs with time limits, and
//! what `/proc` says about processes.
//!
//! The tests run what was built before, as a user would: `cargo build --release --workspace` and
//! `cargo xtask examples`, then `cargo test --release -p gvirtus-tests`; `cargo xtask test` does
//! all of it. Each test starts its own daemon on its own socket and leaves nothing behind.
//!
//! Time is a limit for what must not hang, never a measure: a bound of one second is polled for,
//! the time it took is printed, and only [`LIMIT`] fails the test, since a test machine may be
//! busy.

#![deny(unsafe_code)]

use std::time::{Duration, Instant};

pub mod broker;
pub mod conformance;
mod daemon;
pub mod peer;
pub mod processes;
mod product;
mod program;
mod session;

pub use daemon::Daemon;
pub use product::{Product, product};
pub use program::{Finished, Way, finish, prepare, run, spawn};
pub use session::{Answer, Session};

/// How long anything that should take less than a second may take on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(5);

/// How long a program may run.
pub const PROGRAM_LIMIT: Duration = Duration::from_secs(120);

/// Polls until `done`, prints how long that took since `start`, and returns it.
///
/// # Panics
///
/// If it is not done within [`LIMIT`].
pub fn within_a_second(start: Instant, what: &str, mut done: impl FnMut() -> bool) -> Duration {
    loop {
        let ready = done();
        let elapsed = start.elapsed();
        if ready {
            eprintln!("{what}: after {} ms", elapsed.as_millis());
            return elapsed;
        }
        assert!(
            elapsed < LIMIT,
            "{what}: not after {} s, where one second is promised",
            LIMIT.as_secs()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}
