// SPDX-License-Identifier: Apache-2.0
//! How much time a run of all tests may still spend on what it builds once and keeps.
//!
//! On a new machine everything is built at once. What is not there when the time is over is left
//! for the next run, said in a line, and counted as skipped.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A run on a new machine shall not take longer.
const RUN: Duration = Duration::from_secs(60 * 60);
/// What takes longer is not begun with less.
const SHORTEST: Duration = Duration::from_secs(60);

static BEGAN: OnceLock<Instant> = OnceLock::new();

/// A run of all tests begins. A step by itself has as much time as it wants.
pub(crate) fn begin() {
    BEGAN.get_or_init(Instant::now);
}

/// How long something that would like `most` may take; nothing if there is no time for it.
pub(crate) fn grant(most: Duration) -> Option<Duration> {
    let left = match BEGAN.get() {
        Some(began) => RUN.saturating_sub(began.elapsed()),
        None => most,
    };
    share(left, most)
}

fn share(left: Duration, most: Duration) -> Option<Duration> {
    (left >= SHORTEST.min(most)).then(|| left.min(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_gets_more_than_there_is() {
        let minutes = |number: u64| Duration::from_secs(number * 60);
        assert_eq!(share(minutes(60), minutes(12)), Some(minutes(12)));
        assert_eq!(share(minutes(5), minutes(12)), Some(minutes(5)));
        assert_eq!(share(Duration::ZERO, minutes(12)), None);
        let seconds = Duration::from_secs(20);
        assert_eq!(share(seconds, seconds), Some(seconds));
        assert_eq!(share(seconds, minutes(1)), None);
    }
}
