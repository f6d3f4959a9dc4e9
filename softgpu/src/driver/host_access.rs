// SPDX-License-Identifier: Apache-2.0
//! What only this device can offer: its memory lies in the process that uses it.
//!
//! CUDA has no question for that; a mapped pointer is something else. A backend asks by the name of
//! this function, which NVIDIA's driver does not have, and then moves payloads between a socket and
//! device memory without staging memory in between.

use core::ffi::c_void;

use super::allocations::{self, Allocation, Kind};
use crate::memory::Rights;

/// Where `bytes` bytes at a device address are in this process; null unless all of them lie in one
/// allocation of device memory. The caller uses them only while no stream does.
#[unsafe(no_mangle)]
#[allow(unreachable_pub, reason = "exported by name")]
pub extern "C" fn gvirtus_host_memory(address: u64, bytes: u64) -> *mut c_void {
    match allocations::find(address) {
        Some(Allocation {
            kind: Kind::Virtual(Rights::None | Rights::Read),
            ..
        }) => std::ptr::null_mut(),
        Some(known) if !known.kind.is_host() && known.holds(address, bytes) => {
            std::ptr::with_exposed_provenance_mut(address as usize)
        }
        _ => std::ptr::null_mut(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_allocated_has_no_place() {
        for address in [0, 1, u64::MAX] {
            assert!(gvirtus_host_memory(address, 1).is_null());
        }
    }
}
