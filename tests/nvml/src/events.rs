// SPDX-License-Identifier: Apache-2.0
//! Events: a device on which XID errors are registered has one every 100 ms.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;

use crate::{INVALID_ARGUMENT, NOT_SUPPORTED, Status, TIMEOUT, exports, index, write};

const XID: u64 = 8;
const PERIOD_MS: u32 = 100;

/// The devices that are registered, for each set.
static SETS: Mutex<Option<HashMap<usize, Vec<usize>>>> = Mutex::new(None);

#[repr(C)]
pub struct EventData {
    device: usize,
    kind: u64,
    data: u64,
    instances: [u32; 2],
}

fn with<R>(
    set: usize,
    function: impl FnOnce(&mut Vec<usize>) -> Result<R, Status>,
) -> Result<R, Status> {
    let mut sets = SETS.lock();
    let devices = sets.get_or_insert_default().get_mut(&set);
    function(devices.ok_or(INVALID_ARGUMENT)?)
}

exports! {
    fn nvmlDeviceGetSupportedEventTypes(device: usize, place: *mut u64) {
        index(device)?;
        write(place, XID)
    }
    fn nvmlEventSetCreate(place: *mut usize) {
        let mut sets = SETS.lock();
        let sets = sets.get_or_insert_default();
        let handle = 0x6000_0000 + 16 * sets.len();
        sets.insert(handle, Vec::new());
        write(place, handle)
    }
    fn nvmlDeviceRegisterEvents(device: usize, kinds: u64, set: usize) {
        index(device)?;
        if kinds != XID {
            return Err(NOT_SUPPORTED);
        }
        with(set, |devices| { devices.push(device); Ok(()) })
    }
    fn nvmlEventSetWait_v2(set: usize, place: *mut EventData, timeout_ms: u32) {
        let device = with(set, |devices| Ok(devices.first().copied()))?;
        std::thread::sleep(Duration::from_millis(timeout_ms.min(PERIOD_MS).into()));
        match device {
            Some(device) if timeout_ms >= PERIOD_MS => {
                write(place, EventData { device, kind: XID, data: 79, instances: [u32::MAX; 2] })
            }
            _ => Err(TIMEOUT),
        }
    }
    fn nvmlEventSetFree(set: usize) {
        with(set, |devices| { devices.clear(); Ok(()) })?;
        let mut sets = SETS.lock();
        sets.get_or_insert_default().remove(&set);
        Ok(())
    }
}
