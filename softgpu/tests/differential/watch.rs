// SPDX-License-Identifier: Apache-2.0
//! Ends the program with a message if a case does not come to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Longest time without a new case; shrinking has its own, shorter limit.
const LIMIT: Duration = Duration::from_secs(120);

#[derive(Default)]
struct Progress {
    case: AtomicU64,
    begun: AtomicU64,
}

pub(crate) struct Watch(Arc<Progress>);

impl Watch {
    pub(crate) fn start() -> Self {
        let progress = Arc::new(Progress::default());
        let seen = Arc::clone(&progress);
        std::thread::spawn(move || {
            loop {
                let begun = seen.begun.load(Ordering::Acquire);
                std::thread::sleep(LIMIT);
                if begun == seen.begun.load(Ordering::Acquire) {
                    let case = seen.case.load(Ordering::Acquire);
                    println!("case {case:#x} does not end; again: --case {case:#x}");
                    std::process::exit(1);
                }
            }
        });
        Self(progress)
    }

    pub(crate) fn begin(&self, case: u64) {
        self.0.case.store(case, Ordering::Release);
        self.0.begun.fetch_add(1, Ordering::AcqRel);
    }
}
