// SPDX-License-Identifier: Apache-2.0
//! Page-locked memory that kernels use: allocated with `CU_MEMHOSTALLOC_DEVICEMAP`, or any whose
//! device pointer is asked for. The device has a copy; see [`crate::memory::Mirror`].

use std::ffi::c_void;

use gvirtus_abi::{CUdeviceptr, CUresult};
use gvirtus_protocol::command::Word;
use gvirtus_protocol::opcode;
use zerocopy::IntoBytes as _;
use zerocopy::little_endian::U64;

use super::memory::{Allocated, Place, allocate_at};
use super::{INVALID_VALUE, Status, put, required};
use crate::context::Context;
use crate::memory::{Attachment, HostRange, Mirror, PinnedBy, RangeKind};
use crate::process::session;
use crate::session::Session;

/// Allocations of this size begin at a page, as page-locked memory does.
const ALIGNED_BYTES: u64 = 1 << 20;

/// `cuMemHostGetDevicePointer_v2`.
pub unsafe fn cuMemHostGetDevicePointer_v2(
    pdptr: *mut CUdeviceptr,
    p: *mut c_void,
    Flags: u32,
) -> Status {
    let session = session()?;
    let context = session.current()?;
    let pdptr = required(pdptr)?;
    if Flags != 0 {
        return Err(INVALID_VALUE);
    }
    let address = p as u64;
    let range = session.host_ranges.read().find(address).copied();
    let range = range.ok_or(INVALID_VALUE)?;
    let known = session
        .shared
        .mirrors
        .lock()
        .find(address)
        .map(|m| m.device);
    let device = match known {
        Some(device) => device,
        None => session.mirror_host(context, &range)?,
    };
    // SAFETY: the caller's promise.
    unsafe { put(pdptr, CUdeviceptr(device + (address - range.base))) }
}

impl Session {
    /// Page-locked memory that kernels use at its own address.
    pub(super) fn allocate_mapped(
        &self,
        context: Context,
        bytes: u64,
        flags: u32,
    ) -> Result<u64, CUresult> {
        let length = bytes.max(ALIGNED_BYTES);
        let (attachment, kind) = (Attachment::Mapped, RangeKind::Mapped);
        let base = self.allocate_shared(context, length, attachment, kind)?;
        let mut mirrors = self.shared.mirrors.lock();
        mirrors.insert(Mirror::new(base, base, bytes, context.number, attachment));
        drop(mirrors);
        self.host_ranges.write().insert(HostRange {
            base,
            bytes,
            flags,
            pinned_by: PinnedBy::Mapping,
            context: context.number,
            device: context.device,
            id: self.new_id(),
        });
        Ok(base)
    }

    /// Gives kernels a copy of page-locked memory; its address.
    fn mirror_host(&self, context: Context, range: &HostRange) -> Result<u64, CUresult> {
        let place = Place {
            context: context.number,
            device: context.device,
            kind: RangeKind::Mirror,
        };
        let word = U64::new(range.bytes);
        let allocated = allocate_at(self, place, || {
            let body = Word { word };
            let reply = self.call(opcode::cuMemAlloc_v2, context.number, body.as_bytes())?;
            Ok(Allocated {
                address: reply.promised_word(0)?,
                bytes: range.bytes,
                pitch_bytes: 0,
            })
        })?;
        let device = allocated.address;
        let attachment = Attachment::Mapped;
        self.shared.insert(Mirror::new(
            range.base,
            device,
            range.bytes,
            context.number,
            attachment,
        ));
        Ok(device)
    }

    /// Page-locked memory is about to be unmapped or unregistered: ends the device's copy.
    pub(super) fn end_mapping(&self, host: u64) -> Status {
        if !self.shared.is_used() {
            return Ok(());
        }
        let is_known = |host| {
            let mirrors = self.shared.mirrors.lock();
            mirrors.find(host).is_some_and(|mirror| mirror.host == host)
        };
        if !is_known(host) {
            return Ok(());
        }
        self.settle_shared()?;
        let Some(mirror) = self.shared.mirrors.lock().remove(host) else {
            return Ok(());
        };
        self.device_ranges.write().remove(mirror.device);
        self.post_word(opcode::cuMemFree_v2, mirror.context, mirror.device)
    }
}
