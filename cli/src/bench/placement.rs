// SPDX-License-Identifier: Apache-2.0
//! Which core a process runs on.
//!
//! A message between two processes takes several times as long when the other core has to be woken
//! first, and the scheduler's choice differs from pair to pair. So round trips are measured in
//! places that are the same for us and for the bare socket.

use anyhow::{Context as _, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The cores that this process may use.
pub(super) fn cores() -> Result<Vec<usize>> {
    let set = sched_getaffinity(None).context("cannot ask for the cores")?;
    Ok((0..CpuSet::MAX_CPU)
        .filter(|core| set.is_set(*core))
        .collect())
}

/// Runs `start` while this thread, and so every process that it starts, keeps to `core`.
pub(super) fn on_core<T>(core: usize, start: impl FnOnce() -> Result<T>) -> Result<T> {
    let before = sched_getaffinity(None).context("cannot ask for the cores")?;
    let mut only = CpuSet::new();
    only.set(core);
    sched_setaffinity(None, &only).context("cannot choose a core")?;
    let result = start();
    sched_setaffinity(None, &before).context("cannot choose the cores of before")?;
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_is_chosen_for_a_while() {
        let all = cores().expect("Linux tells");
        let last = *all.last().expect("this runs somewhere");
        let inside = on_core(last, cores).expect("a core that may be used");
        assert_eq!(inside, [last]);
        assert_eq!(cores().expect("Linux tells"), all);
    }
}
