// SPDX-License-Identifier: Apache-2.0
//! Devices: all answered from the backend's snapshot.

use std::ffi::c_char;

use gvirtus_abi::{
    CUdevice, CUdevice_attribute as Attribute, CUdevprop, CUexecAffinityType, CUresult, CUuuid,
};

use super::{INVALID_VALUE, Status, put, put_optional, required, text};
use crate::device::Device;
use crate::process::session;

/// `cuDeviceGet`.
pub unsafe fn cuDeviceGet(device: *mut CUdevice, ordinal: i32) -> Status {
    session()?.device(CUdevice(ordinal))?;
    // SAFETY: the caller's promise.
    unsafe { put(device, CUdevice(ordinal)) }
}

/// `cuDeviceGetCount`.
pub unsafe fn cuDeviceGetCount(count: *mut i32) -> Status {
    let devices = session()?.devices.len();
    let devices = i32::try_from(devices).map_err(|_| CUresult::CUDA_ERROR_UNKNOWN)?;
    // SAFETY: the caller's promise.
    unsafe { put(count, devices) }
}

/// `cuDeviceGetName`.
pub unsafe fn cuDeviceGetName(name: *mut c_char, len: i32, dev: CUdevice) -> Status {
    let device = session()?.device(dev)?;
    // SAFETY: the caller's promise.
    unsafe { put_text(name, len, &device.snapshot.name) }
}

/// `cuDeviceGetUuid`.
pub unsafe fn cuDeviceGetUuid(uuid: *mut CUuuid, dev: CUdevice) -> Status {
    let device = session()?.device(dev)?;
    // SAFETY: the caller's promise.
    unsafe { put(uuid, to_uuid(device.snapshot.uuid)) }
}

/// `cuDeviceGetUuid_v2`.
pub unsafe fn cuDeviceGetUuid_v2(uuid: *mut CUuuid, dev: CUdevice) -> Status {
    let device = session()?.device(dev)?;
    // SAFETY: the caller's promise.
    unsafe { put(uuid, to_uuid(device.snapshot.uuid_v2)) }
}

/// `cuDeviceGetLuid`.
pub unsafe fn cuDeviceGetLuid(
    luid: *mut c_char,
    deviceNodeMask: *mut u32,
    dev: CUdevice,
) -> Status {
    let device = session()?.device(dev)?;
    let known = device.snapshot.luid;
    let (id, mask) = known.ok_or(CUresult::CUDA_ERROR_NOT_SUPPORTED)?;
    // SAFETY: the caller promises room for eight bytes.
    unsafe { put(luid.cast(), id)? };
    // SAFETY: the caller's promise.
    unsafe { put(deviceNodeMask, mask) }
}

/// `cuDeviceTotalMem_v2`.
pub unsafe fn cuDeviceTotalMem_v2(bytes: *mut usize, dev: CUdevice) -> Status {
    let total = session()?.device(dev)?.snapshot.total_memory_bytes;
    let total = usize::try_from(total).map_err(|_| CUresult::CUDA_ERROR_UNKNOWN)?;
    // SAFETY: the caller's promise.
    unsafe { put(bytes, total) }
}

/// `cuDeviceGetAttribute`.
pub unsafe fn cuDeviceGetAttribute(pi: *mut i32, attrib: Attribute, dev: CUdevice) -> Status {
    let device = session()?.device(dev)?;
    let value = device.attribute(attrib).ok_or(INVALID_VALUE)?;
    // SAFETY: the caller's promise.
    unsafe { put(pi, value) }
}

/// `cuDeviceGetExecAffinitySupport`: contexts with a part of the device are not made.
pub unsafe fn cuDeviceGetExecAffinitySupport(
    pi: *mut i32,
    type_: CUexecAffinityType,
    dev: CUdevice,
) -> Status {
    session()?.device(dev)?;
    if type_.0 >= CUexecAffinityType::CU_EXEC_AFFINITY_TYPE_MAX.0 {
        return Err(INVALID_VALUE);
    }
    // SAFETY: the caller's promise.
    unsafe { put(pi, 0) }
}

/// `cuDeviceGetProperties`.
pub unsafe fn cuDeviceGetProperties(prop: *mut CUdevprop, dev: CUdevice) -> Status {
    let device = session()?.device(dev)?;
    let value = |attribute| device.attribute(attribute).unwrap_or(0);
    let properties = CUdevprop {
        maxThreadsPerBlock: value(Attribute::CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK),
        maxThreadsDim: [
            value(Attribute::CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X),
            value(Attribute::CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y),
            value(Attribute::CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z),
        ],
        maxGridSize: [
            value(Attribute::CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X),
            value(Attribute::CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y),
            value(Attribute::CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z),
        ],
        sharedMemPerBlock: value(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK),
        totalConstantMemory: value(Attribute::CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY),
        SIMDWidth: value(Attribute::CU_DEVICE_ATTRIBUTE_WARP_SIZE),
        memPitch: value(Attribute::CU_DEVICE_ATTRIBUTE_MAX_PITCH),
        regsPerBlock: value(Attribute::CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK),
        clockRate: value(Attribute::CU_DEVICE_ATTRIBUTE_CLOCK_RATE),
        textureAlign: value(Attribute::CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT),
    };
    // SAFETY: the caller's promise.
    unsafe { put(prop, properties) }
}

/// `cuDeviceComputeCapability`.
pub unsafe fn cuDeviceComputeCapability(major: *mut i32, minor: *mut i32, dev: CUdevice) -> Status {
    let device = session()?.device(dev)?;
    let value = |attribute| device.attribute(attribute).unwrap_or(0);
    let (major, minor) = (required(major)?, required(minor)?);
    // SAFETY: the caller's promise.
    unsafe {
        put_optional(
            major,
            value(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR),
        );
    }
    // SAFETY: the caller's promise.
    unsafe {
        put_optional(
            minor,
            value(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR),
        );
    }
    Ok(())
}

/// `cuDeviceGetByPCIBusId`.
pub unsafe fn cuDeviceGetByPCIBusId(dev: *mut CUdevice, pciBusId: *const c_char) -> Status {
    let session = session()?;
    // SAFETY: the caller's promise.
    let wanted = unsafe { text(pciBusId)? }
        .to_str()
        .ok()
        .and_then(pci_address);
    let wanted = wanted.ok_or(INVALID_VALUE)?;
    let is_it = |device: &Device| pci_address(&device.snapshot.pci_bus_id) == Some(wanted);
    let index = session.devices.iter().position(is_it);
    let index = index.ok_or(CUresult::CUDA_ERROR_INVALID_DEVICE)?;
    let ordinal = i32::try_from(index).map_err(|_| CUresult::CUDA_ERROR_UNKNOWN)?;
    // SAFETY: the caller's promise.
    unsafe { put(dev, CUdevice(ordinal)) }
}

/// `cuDeviceGetPCIBusId`.
pub unsafe fn cuDeviceGetPCIBusId(pciBusId: *mut c_char, len: i32, dev: CUdevice) -> Status {
    let device = session()?.device(dev)?;
    if usize::try_from(len).is_ok_and(|room| room <= device.snapshot.pci_bus_id.len()) {
        return Err(INVALID_VALUE);
    }
    // SAFETY: the caller's promise.
    unsafe { put_text(pciBusId, len, &device.snapshot.pci_bus_id) }
}

/// Domain, bus, device and function of `[domain:]bus:device[.function]`, in hexadecimal digits.
fn pci_address(text: &str) -> Option<[u32; 4]> {
    let number = |digits: &str| u32::from_str_radix(digits, 16).ok();
    let (place, function) = match text.split_once('.') {
        Some((place, function)) => (place, number(function)?),
        None => (text, 0),
    };
    let parts: Vec<&str> = place.split(':').collect();
    let (domain, bus, device) = match parts[..] {
        [domain, bus, device] => (number(domain)?, bus, device),
        [bus, device] => (0, bus, device),
        _ => return None,
    };
    Some([domain, number(bus)?, number(device)?, function])
}

fn to_uuid(bytes: [u8; 16]) -> CUuuid {
    CUuuid {
        bytes: bytes.map(|byte| byte as c_char),
    }
}

/// Writes as much of a text as there is room for, and a NUL.
///
/// # Safety
///
/// `place` is null or has room for `room` bytes.
unsafe fn put_text(place: *mut c_char, room: i32, text: &str) -> Status {
    let place = required(place)?;
    let room = usize::try_from(room).ok().and_then(|r| r.checked_sub(1));
    let length = text.len().min(room.ok_or(INVALID_VALUE)?);
    // SAFETY: there is room for the text and its NUL by the caller's promise.
    unsafe { std::ptr::copy_nonoverlapping(text.as_ptr().cast(), place, length) };
    // SAFETY: as above.
    unsafe { place.add(length).write(0) };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bus_ids_are_read_in_all_forms() {
        assert_eq!(pci_address("0000:3b:00.0"), Some([0, 0x3b, 0, 0]));
        assert_eq!(pci_address("00000000:3B:00.0"), Some([0, 0x3b, 0, 0]));
        assert_eq!(pci_address("3b:1f"), Some([0, 0x3b, 0x1f, 0]));
        for wrong in ["", "3b", "a:b:c:d", "0000:zz:00.0", "1:2.x"] {
            assert_eq!(pci_address(wrong), None, "{wrong}");
        }
    }
}
