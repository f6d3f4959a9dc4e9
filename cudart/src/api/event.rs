// SPDX-License-Identifier: Apache-2.0
//! Events.

use gvirtus_abi::CUevent;

use crate::error::Result;

pub unsafe fn cudaEventCreate(event: *mut CUevent) -> Result<()> {
    // SAFETY: the caller's promise.
    unsafe { super::cudaEventCreateWithFlags(event, 0) }
}
