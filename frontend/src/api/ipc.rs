// SPDX-License-Identifier: Apache-2.0
//! Memory and events that several processes of one user have in common. Handles are the driver's
//! own: the worker of another process on the same backend opens them.

use std::ffi::c_char;

use gvirtus_abi::{
    CUdeviceptr, CUevent, CUipcEventHandle, CUipcMem_flags, CUipcMemHandle, CUresult, bytes_of,
    characters_of,
};
use gvirtus_protocol::opcode;

use super::{INVALID_VALUE, Status, put, required};
use crate::handle::Kind;
use crate::memory::{DeviceRange, RangeKind};
use crate::process::session;
use crate::session::{Event, Session};
use crate::wire::Body;

/// Words of an opaque structure of 64 bytes.
pub(super) type Opaque = [u64; 8];

/// The words of a handle.
fn words(reserved: [c_char; 64]) -> Opaque {
    opaque(bytes_of(reserved))
}

/// The words of 64 bytes.
pub(super) fn opaque(bytes: [u8; 64]) -> Opaque {
    let word = |index: usize| std::array::from_fn(|byte| bytes[index * 8 + byte]);
    std::array::from_fn(|index| u64::from_le_bytes(word(index)))
}

/// The 64 bytes that a reply begins with.
///
/// # Errors
///
/// `CUDA_ERROR_UNKNOWN` if it is shorter.
pub(super) fn opaque_bytes(reply: &Body) -> Result<[u8; 64], CUresult> {
    let mut bytes = [0; 64];
    for (index, place) in bytes.chunks_exact_mut(8).enumerate() {
        place.copy_from_slice(&reply.promised_word(index)?.to_le_bytes());
    }
    Ok(bytes)
}

/// `cuIpcGetMemHandle`.
pub unsafe fn cuIpcGetMemHandle(pHandle: *mut CUipcMemHandle, dptr: CUdeviceptr) -> Status {
    let session = session()?;
    let context = session.current()?;
    let place = required(pHandle)?;
    let range = session.device_ranges.read().find(dptr.0).copied();
    let range = range.filter(|range| range.kind == RangeKind::Memory);
    let words = [range.ok_or(INVALID_VALUE)?.base];
    let reply = session.call_words(opcode::cuIpcGetMemHandle, context.number, &words)?;
    let reserved = characters_of(opaque_bytes(&reply)?);
    // SAFETY: the caller's promise.
    unsafe { put(place, CUipcMemHandle { reserved }) }
}

/// `cuIpcOpenMemHandle_v2`.
pub unsafe fn cuIpcOpenMemHandle_v2(
    pdptr: *mut CUdeviceptr,
    handle: CUipcMemHandle,
    Flags: u32,
) -> Status {
    let session = session()?;
    let context = session.current()?;
    let place = required(pdptr)?;
    if Flags != CUipcMem_flags::CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS.0 {
        return Err(INVALID_VALUE);
    }
    let words = words(handle.reserved);
    let reply = session.call_words(opcode::cuIpcOpenMemHandle_v2, context.number, &words)?;
    let address = session.add_import(&reply, context.number, |known| match known {
        Some(RangeKind::Imported { references }) => RangeKind::Imported {
            references: references.saturating_add(1),
        },
        _ => RangeKind::Imported { references: 1 },
    })?;
    // SAFETY: the caller's promise.
    unsafe { put(place, address) }
}

/// `cuIpcOpenMemHandle`.
pub unsafe fn cuIpcOpenMemHandle(
    pdptr: *mut CUdeviceptr,
    handle: CUipcMemHandle,
    Flags: u32,
) -> Status {
    // SAFETY: the same contract.
    unsafe { cuIpcOpenMemHandle_v2(pdptr, handle, Flags) }
}

/// `cuIpcCloseMemHandle`: waits for the device.
pub unsafe fn cuIpcCloseMemHandle(dptr: CUdeviceptr) -> Status {
    let session = session()?;
    session.current()?;
    session.settle_shared()?;
    let range = session.device_ranges.read().starting_at(dptr.0).copied();
    let range = range.ok_or(INVALID_VALUE)?;
    let RangeKind::Imported { references } = range.kind else {
        return Err(INVALID_VALUE);
    };
    session.call_words(opcode::cuIpcCloseMemHandle, range.context, &[dptr.0])?;
    let mut ranges = session.device_ranges.write();
    match references {
        0 | 1 => drop(ranges.remove(dptr.0)),
        _ => {
            let references = references - 1;
            let kind = RangeKind::Imported { references };
            ranges.insert(DeviceRange { kind, ..range });
        }
    }
    Ok(())
}

/// `cuIpcGetEventHandle`.
pub unsafe fn cuIpcGetEventHandle(pHandle: *mut CUipcEventHandle, event: CUevent) -> Status {
    let session = session()?;
    let (key, event) = session.event(event)?;
    let place = required(pHandle)?;
    let words = [key.number().into()];
    let reply = session.call_words(opcode::cuIpcGetEventHandle, event.context, &words)?;
    let reserved = characters_of(opaque_bytes(&reply)?);
    // SAFETY: the caller's promise.
    unsafe { put(place, CUipcEventHandle { reserved }) }
}

/// `cuIpcOpenEventHandle`.
pub unsafe fn cuIpcOpenEventHandle(phEvent: *mut CUevent, handle: CUipcEventHandle) -> Status {
    let session = session()?;
    let context = session.current()?;
    let place = required(phEvent)?;
    let event = Event {
        context: context.number,
        is_recorded: true,
        is_shared: true,
    };
    let key = session.events.insert(event);
    let key = key.ok_or(CUresult::CUDA_ERROR_OUT_OF_MEMORY)?;
    let mut body = vec![key.number().into()];
    body.extend(words(handle.reserved));
    if let Err(status) = session.call_words(opcode::cuIpcOpenEventHandle, context.number, &body) {
        session.events.retire(key);
        session.events.release(key);
        return Err(status);
    }
    // SAFETY: the caller's promise.
    unsafe { put(place, CUevent(key.handle(Kind::Event))) }
}

impl Session {
    /// What was posted about an event of several processes has reached the driver when this
    /// returns: the application may tell another process of it.
    pub(super) fn settle_event(&self, event: Event) -> Status {
        if event.is_shared {
            self.call(opcode::PING, event.context, &[])?;
        }
        Ok(())
    }

    /// Remembers memory of another process that the worker has mapped: the reply tells address,
    /// bytes and device. `kind` is told what was known there.
    pub(super) fn add_import(
        &self,
        reply: &Body,
        context: u16,
        kind: impl FnOnce(Option<RangeKind>) -> RangeKind,
    ) -> Result<CUdeviceptr, CUresult> {
        let base = reply.promised_word(0)?;
        let device = u32::try_from(reply.promised_word(2)?);
        let mut ranges = self.device_ranges.write();
        let kind = kind(ranges.starting_at(base).map(|range| range.kind));
        ranges.insert(DeviceRange {
            base,
            bytes: reply.promised_word(1)?,
            context,
            device: device.map_err(|_| CUresult::CUDA_ERROR_UNKNOWN)?,
            id: self.new_id(),
            kind,
            is_reserved: false,
        });
        Ok(CUdeviceptr(base))
    }
}
