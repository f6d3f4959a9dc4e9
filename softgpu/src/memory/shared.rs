// SPDX-License-Identifier: Apache-2.0
//! Memory that the kernels of every device may access: page-locked memory of the host, and managed
//! memory that lies on another device.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;

static SHARED: RwLock<BTreeMap<u64, u64>> = RwLock::new(BTreeMap::new());
static HAS_SHARED: AtomicBool = AtomicBool::new(false);

/// Lets the kernels of every device use memory at its own address.
///
/// # Safety
///
/// The range is mapped readable and writable, and stays so until [`unshare`].
pub unsafe fn share(address: u64, bytes: u64) {
    SHARED.write().insert(address, bytes);
    HAS_SHARED.store(true, Ordering::Release);
}

/// Ends [`share`].
pub fn unshare(address: u64) {
    SHARED.write().remove(&address);
}

/// The shared range around an address: from its first byte to behind its last.
pub(super) fn find(address: u64) -> Option<(u64, u64)> {
    if !HAS_SHARED.load(Ordering::Acquire) {
        return None;
    }
    let shared = SHARED.read();
    let (&base, &bytes) = shared.range(..=address).next_back()?;
    (address - base < bytes).then_some((base, base + bytes))
}
