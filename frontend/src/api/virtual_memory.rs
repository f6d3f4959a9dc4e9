// SPDX-License-Identifier: Apache-2.0
//! Reserved addresses and what is mapped there: each call is one round trip, and the client keeps
//! the ranges that it has to tell from the application's own memory.

use std::ffi::c_void;

use gvirtus_abi::{
    CUdeviceptr, CUmemAccessDesc, CUmemAllocationGranularity_flags, CUmemAllocationHandleType,
    CUmemAllocationProp, CUmemAllocationProp_v1_allocFlags, CUmemAllocationType,
    CUmemGenericAllocationHandle, CUmemLocation, CUmemLocation_v1_anonymous0, CUmemLocationType,
    CUresult,
};
use gvirtus_protocol::opcode::{self, Opcode};

use super::{INVALID_VALUE, Status, put, required};
use crate::limits::ALLOCATION_ATTEMPTS_MAX;
use crate::memory::{DeviceRange, RangeKind};
use crate::process::session;
use crate::session::Session;

impl Session {
    /// A round trip that needs no context.
    fn ask(&self, opcode: Opcode, words: &[u64]) -> Result<Vec<u64>, CUresult> {
        let reply = self.call_words(opcode, self.current_number(), words)?;
        let words = (0..).map_while(|index| reply.word(index));
        Ok(words.collect())
    }

    /// As [`Session::ask`], for one number.
    fn ask_word(&self, opcode: Opcode, words: &[u64]) -> Result<u64, CUresult> {
        let reply = self.call_words(opcode, self.current_number(), words)?;
        reply.promised_word(0)
    }
}

/// A location: type, and id.
fn location_words(location: &CUmemLocation) -> [u64; 2] {
    // SAFETY: all variants of the union lie in the id.
    let id = unsafe { location.anonymous0.id };
    [location.r#type.0.into(), id.cast_unsigned().into()]
}

/// # Safety
///
/// `properties` is null or valid for reading.
unsafe fn property_words(properties: *const CUmemAllocationProp) -> Result<[u64; 4], CUresult> {
    // SAFETY: not null, and then a structure by the caller's promise.
    let properties = unsafe { required(properties.cast_mut())?.read() };
    let types @ (CUmemAllocationHandleType::CU_MEM_HANDLE_TYPE_NONE
    | CUmemAllocationHandleType::CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR) =
        properties.requestedHandleTypes
    else {
        return Err(gvirtus_driver_face::unsupported(
            "memory with other handle types than file descriptors",
        ));
    };
    let [kind, id] = location_words(&properties.location);
    let flags = properties.allocFlags;
    let flags = u64::from(flags.compressionType)
        | u64::from(flags.gpuDirectRDMACapable) << 8
        | u64::from(flags.usage) << 16
        | u64::from(types.0) << 32;
    Ok([properties.r#type.0.into(), kind, id, flags])
}

/// `cuMemAddressReserve`: where the application has nothing of its own.
pub unsafe fn cuMemAddressReserve(
    ptr: *mut CUdeviceptr,
    size: usize,
    alignment: usize,
    addr: CUdeviceptr,
    flags: u64,
) -> Status {
    let session = session()?;
    let ptr = required(ptr)?;
    let words = [size as u64, alignment as u64, addr.0, flags];
    let mut refused = Vec::new();
    let mut found = Err(CUresult::CUDA_ERROR_OUT_OF_MEMORY);
    while refused.len() < ALLOCATION_ATTEMPTS_MAX {
        match session.ask_word(opcode::cuMemAddressReserve, &words) {
            Ok(address) => {
                let mut ranges = session.device_ranges.write();
                if ranges.reserve(address, size as u64) {
                    found = Ok(address);
                    break;
                }
                refused.push(address);
            }
            Err(status) => {
                found = Err(status);
                break;
            }
        }
    }
    for address in refused {
        session.ask(opcode::cuMemAddressFree, &[address, size as u64])?;
    }
    // SAFETY: the caller's promise.
    unsafe { put(ptr, CUdeviceptr(found?)) }
}

/// `cuMemAddressFree`.
pub unsafe fn cuMemAddressFree(ptr: CUdeviceptr, size: usize) -> Status {
    let session = session()?;
    session.ask(opcode::cuMemAddressFree, &[ptr.0, size as u64])?;
    session.device_ranges.write().end_reservation(ptr.0);
    Ok(())
}

/// `cuMemCreate`: the handle is the worker's.
pub unsafe fn cuMemCreate(
    handle: *mut CUmemGenericAllocationHandle,
    size: usize,
    prop: *const CUmemAllocationProp,
    flags: u64,
) -> Status {
    let session = session()?;
    let handle = required(handle)?;
    // SAFETY: the caller's promise.
    let [kind, location, id, properties] = unsafe { property_words(prop)? };
    let words = [size as u64, flags, kind, location, id, properties];
    let number = session.ask_word(opcode::cuMemCreate, &words)?;
    // SAFETY: the caller's promise.
    unsafe { put(handle, number) }
}

/// `cuMemRelease`.
pub unsafe fn cuMemRelease(handle: CUmemGenericAllocationHandle) -> Status {
    session()?.ask(opcode::cuMemRelease, &[handle])?;
    Ok(())
}

/// `cuMemMap`.
pub unsafe fn cuMemMap(
    ptr: CUdeviceptr,
    size: usize,
    offset: usize,
    handle: CUmemGenericAllocationHandle,
    flags: u64,
) -> Status {
    let session = session()?;
    let words = [ptr.0, size as u64, offset as u64, handle, flags];
    let device = session.ask_word(opcode::cuMemMap, &words)?;
    session.device_ranges.write().insert(DeviceRange {
        base: ptr.0,
        bytes: size as u64,
        context: 0,
        device: u32::try_from(device).map_err(|_| CUresult::CUDA_ERROR_UNKNOWN)?,
        id: session.new_id(),
        kind: RangeKind::Virtual { users: 0 },
        is_reserved: false,
    });
    Ok(())
}

/// `cuMemUnmap`: waits for the device.
pub unsafe fn cuMemUnmap(ptr: CUdeviceptr, size: usize) -> Status {
    let session = session()?;
    session.settle_shared()?;
    session.ask(opcode::cuMemUnmap, &[ptr.0, size as u64])?;
    let mut ranges = session.device_ranges.write();
    ranges.remove_all(|range| range.kind.is_virtual() && range.is_in(ptr.0, size as u64));
    Ok(())
}

/// `cuMemSetAccess`.
pub unsafe fn cuMemSetAccess(
    ptr: CUdeviceptr,
    size: usize,
    desc: *const CUmemAccessDesc,
    count: usize,
) -> Status {
    let session = session()?;
    let desc = required(desc.cast_mut())?;
    if count == 0 || count > session.devices.len() {
        return Err(INVALID_VALUE);
    }
    let mut words = vec![ptr.0, size as u64];
    let mut wishes = Vec::new();
    for index in 0..count {
        // SAFETY: the caller promises `count` elements.
        let wish = unsafe { desc.add(index).read() };
        let [kind, id] = location_words(&wish.location);
        words.extend([kind, id, wish.flags.0.into()]);
        wishes.push((id, wish.flags.0 != 0));
    }
    session.ask(opcode::cuMemSetAccess, &words)?;
    let mut ranges = session.device_ranges.write();
    for (ordinal, has_access) in wishes {
        ranges.set_access(ptr.0, size as u64, ordinal, has_access);
    }
    Ok(())
}

/// `cuMemGetAccess`.
pub unsafe fn cuMemGetAccess(
    flags: *mut u64,
    location: *const CUmemLocation,
    ptr: CUdeviceptr,
) -> Status {
    let session = session()?;
    let flags = required(flags)?;
    // SAFETY: not null, and then a structure by the caller's promise.
    let [kind, id] = location_words(&unsafe { required(location.cast_mut())?.read() });
    let value = session.ask_word(opcode::cuMemGetAccess, &[kind, id, ptr.0])?;
    // SAFETY: the caller's promise.
    unsafe { put(flags, value) }
}

/// `cuMemGetAllocationGranularity`.
pub unsafe fn cuMemGetAllocationGranularity(
    granularity: *mut usize,
    prop: *const CUmemAllocationProp,
    option: CUmemAllocationGranularity_flags,
) -> Status {
    let session = session()?;
    let granularity = required(granularity)?;
    // SAFETY: the caller's promise.
    let [kind, location, id, properties] = unsafe { property_words(prop)? };
    let words = [option.0.into(), kind, location, id, properties];
    let bytes = session.ask_word(opcode::cuMemGetAllocationGranularity, &words)?;
    let bytes = usize::try_from(bytes).map_err(|_| CUresult::CUDA_ERROR_UNKNOWN)?;
    // SAFETY: the caller's promise.
    unsafe { put(granularity, bytes) }
}

/// `cuMemGetAllocationPropertiesFromHandle`.
pub unsafe fn cuMemGetAllocationPropertiesFromHandle(
    prop: *mut CUmemAllocationProp,
    handle: CUmemGenericAllocationHandle,
) -> Status {
    let session = session()?;
    let prop = required(prop)?;
    let words = session.ask(opcode::cuMemGetAllocationPropertiesFromHandle, &[handle])?;
    let &[kind, location, id, flags] = words.as_slice() else {
        return Err(CUresult::CUDA_ERROR_UNKNOWN);
    };
    let half = |word: u64| u32::try_from(word).map_err(|_| CUresult::CUDA_ERROR_UNKNOWN);
    let [compression, capable, usage_low, usage_high, ..] = flags.to_le_bytes();
    let properties = CUmemAllocationProp {
        r#type: CUmemAllocationType(half(kind)?),
        requestedHandleTypes: CUmemAllocationHandleType(half(flags >> 32)?),
        location: CUmemLocation {
            r#type: CUmemLocationType(half(location)?),
            anonymous0: CUmemLocation_v1_anonymous0 {
                id: half(id)?.cast_signed(),
            },
        },
        win32HandleMetaData: std::ptr::null_mut(),
        allocFlags: CUmemAllocationProp_v1_allocFlags {
            compressionType: compression,
            gpuDirectRDMACapable: capable,
            usage: u16::from_le_bytes([usage_low, usage_high]),
            reserved: [0; 4],
        },
    };
    // SAFETY: the caller's promise.
    unsafe { put(prop, properties) }
}

/// `cuMemRetainAllocationHandle`.
pub unsafe fn cuMemRetainAllocationHandle(
    handle: *mut CUmemGenericAllocationHandle,
    addr: *mut c_void,
) -> Status {
    let session = session()?;
    let handle = required(handle)?;
    let words = [addr.addr() as u64];
    let number = session.ask_word(opcode::cuMemRetainAllocationHandle, &words)?;
    // SAFETY: the caller's promise.
    unsafe { put(handle, number) }
}
