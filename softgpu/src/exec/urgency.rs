// SPDX-License-Identifier: Apache-2.0
//! Priorities: a launch begins no block while a more urgent one has some to begin, for a while.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Priorities that are told apart, from the least on.
const LEVELS: usize = 8;
/// How long a block is held back at most: the urgent kernel may wait for it.
const HOLD_MAX: Duration = Duration::from_millis(2);
const HOLD_STEP: Duration = Duration::from_micros(50);

/// Launches with blocks to begin, by their level.
static BEGINNING: [AtomicU32; LEVELS] = [const { AtomicU32::new(0) }; LEVELS];

/// A launch among others.
pub(crate) struct Urgency {
    level: usize,
    is_counted: AtomicBool,
}

impl Urgency {
    /// Of a launch with blocks to begin; smaller priorities are more urgent.
    pub(crate) fn new(priority: i32) -> Self {
        let level = priority.min(0).unsigned_abs() as usize;
        let level = level.min(LEVELS - 1);
        // Nobody is held back by the least.
        let is_counted = level > 0;
        if is_counted {
            BEGINNING[level].fetch_add(1, Ordering::Relaxed);
        }
        Self {
            level,
            is_counted: AtomicBool::new(is_counted),
        }
    }

    /// All blocks have begun.
    pub(crate) fn all_begun(&self) {
        if self.is_counted.swap(false, Ordering::Relaxed) {
            BEGINNING[self.level].fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Waits while a more urgent launch has blocks to begin, but not for ever.
    pub(crate) fn hold(&self) {
        if !self.is_held() {
            return;
        }
        let start = Instant::now();
        while self.is_held() && start.elapsed() < HOLD_MAX {
            std::thread::sleep(HOLD_STEP);
        }
    }

    fn is_held(&self) -> bool {
        let above = &BEGINNING[self.level + 1..];
        above.iter().any(|count| count.load(Ordering::Relaxed) > 0)
    }
}

impl Drop for Urgency {
    fn drop(&mut self) {
        self.all_begun();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_less_urgent_is_held_until_the_more_urgent_has_begun() {
        let (patient, urgent) = (Urgency::new(0), Urgency::new(-5));
        assert!(patient.is_held() && !urgent.is_held());
        assert!(Urgency::new(-4).is_held() && !Urgency::new(-6).is_held());
        urgent.all_begun();
        assert!(!patient.is_held());
        drop(urgent);
        assert!(!patient.is_held() && !Urgency::new(5).is_held());
    }
}
