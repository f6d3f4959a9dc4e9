// SPDX-License-Identifier: Apache-2.0
//! Events: sets of them can be made, but nothing ever happens to the device.

use std::collections::BTreeSet;
use std::time::Duration;

use parking_lot::Mutex;

use super::device::device;
use super::types::{DeviceHandle, Status};
use super::{exports, write};

/// `nvmlEventSet_t`: opaque; here a number that is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(transparent)]
pub struct EventSet(pub usize);

struct Sets {
    alive: BTreeSet<EventSet>,
    last: usize,
}

static SETS: Mutex<Sets> = Mutex::new(Sets {
    alive: BTreeSet::new(),
    last: 0,
});

fn wait(set: EventSet, timeout_ms: u32) -> Result<(), Status> {
    if !SETS.lock().alive.contains(&set) {
        return Err(Status::INVALID_ARGUMENT);
    }
    std::thread::sleep(Duration::from_millis(timeout_ms.into()));
    Err(Status::TIMEOUT)
}

exports! {
    fn nvmlEventSetCreate(set: *mut EventSet) {
        if set.is_null() {
            return Err(Status::INVALID_ARGUMENT);
        }
        let mut sets = SETS.lock();
        sets.last += 1;
        let new = EventSet(sets.last);
        sets.alive.insert(new);
        // SAFETY: the contract of nvml.h.
        unsafe { write(set, new) }
    }

    /// None.
    fn nvmlDeviceGetSupportedEventTypes(handle: DeviceHandle, eventTypes: *mut u64) {
        device(handle)?;
        // SAFETY: the contract of nvml.h.
        unsafe { write(eventTypes, 0) }
    }

    fn nvmlEventSetWait_v2(set: EventSet, _data: *mut (), timeoutms: u32) {
        wait(set, timeoutms)
    }

    fn nvmlEventSetWait(set: EventSet, _data: *mut (), timeoutms: u32) {
        wait(set, timeoutms)
    }

    fn nvmlEventSetFree(set: EventSet) {
        match SETS.lock().alive.remove(&set) {
            true => Ok(()),
            false => Err(Status::INVALID_ARGUMENT),
        }
    }
}
