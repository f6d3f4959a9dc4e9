// SPDX-License-Identifier: Apache-2.0
//! Tells the daemon what the session does.

use std::sync::Arc;

use gvirtus_protocol::status::Counters;
use parking_lot::Mutex;

use super::usage::Usage;
use crate::control::WorkerControl;

/// Reports a session's counters.
pub(super) struct Reporter {
    control: WorkerControl,
    usage: Arc<Usage>,
    reported: Mutex<Counters>,
}

impl Reporter {
    pub(super) fn new(control: WorkerControl, usage: Arc<Usage>) -> Self {
        Self {
            control,
            usage,
            reported: Mutex::default(),
        }
    }

    /// Reports what has changed, if anything has.
    pub(super) fn report(&self) {
        let mut reported = self.reported.lock();
        let counters = self.usage.counters();
        if counters != *reported {
            // A daemon that is gone takes the worker with it, and one that does not listen gets
            // the next report, which says all that this one would have said.
            if self.control.count(&counters).is_ok() {
                *reported = counters;
            }
        }
    }
}
