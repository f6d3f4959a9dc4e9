// SPDX-License-Identifier: Apache-2.0
//! Asks a driver for everything that does not change.

use core::ffi::CStr;

use gvirtus_abi::{CUdevice, CUdevice_attribute, CUresult, CUuuid, bytes_of};
use gvirtus_protocol::limits::DEVICES_MAX;
use gvirtus_protocol::snapshot::{Device, Snapshot};

use crate::driver::{Driver, DriverError, check};

/// Room for a name or a bus id, in bytes.
const TEXT_BYTES: usize = 256;

/// What the initialised driver offers.
///
/// # Errors
///
/// The driver's, or that there is no device.
pub(super) fn take(driver: &Driver) -> Result<Snapshot, DriverError> {
    let mut count = 0;
    // SAFETY: the output is a local.
    named("cuDeviceGetCount", unsafe {
        driver.cuDeviceGetCount(&raw mut count)
    })?;
    if count <= 0 {
        return Err(DriverError::Start {
            function: "cuDeviceGetCount",
            status: CUresult::CUDA_ERROR_NO_DEVICE,
        });
    }
    let count = count.min(DEVICES_MAX as i32);
    let devices = (0..count).map(|ordinal| device(driver, CUdevice(ordinal)));
    Ok(Snapshot {
        driver_version: driver.version()?,
        devices: devices.collect::<Result<_, _>>()?,
    })
}

fn device(driver: &Driver, device: CUdevice) -> Result<Device, DriverError> {
    let name = text("cuDeviceGetName", |text, room| {
        // SAFETY: there is as much room as told.
        unsafe { driver.cuDeviceGetName(text, room, device) }
    })?;
    let pci_bus_id = text("cuDeviceGetPCIBusId", |text, room| {
        // SAFETY: as above.
        unsafe { driver.cuDeviceGetPCIBusId(text, room, device) }
    })?;
    let mut total_memory_bytes = 0;
    // SAFETY: the output is a local.
    named("cuDeviceTotalMem_v2", unsafe {
        driver.cuDeviceTotalMem_v2(&raw mut total_memory_bytes, device)
    })?;
    let (mut uuid, mut uuid_v2) = (CUuuid { bytes: [0; 16] }, CUuuid { bytes: [0; 16] });
    // SAFETY: the output is a local.
    named("cuDeviceGetUuid_v2", unsafe {
        driver.cuDeviceGetUuid_v2(&raw mut uuid_v2, device)
    })?;
    // SAFETY: as above.
    let old = unsafe { driver.cuDeviceGetUuid(&raw mut uuid, device) };
    // They differ only where a GPU is divided, and a driver may have given up the older one.
    if old != CUresult::CUDA_SUCCESS {
        uuid = uuid_v2;
    }
    let attributes = 1..CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX.0;
    let attributes = attributes.filter_map(|attribute| {
        let mut value = 0;
        // SAFETY: the output is a local.
        let status = unsafe {
            driver.cuDeviceGetAttribute(&raw mut value, CUdevice_attribute(attribute), device)
        };
        (status == CUresult::CUDA_SUCCESS).then_some((attribute, value))
    });
    Ok(Device {
        name,
        uuid: bytes_of(uuid.bytes),
        uuid_v2: bytes_of(uuid_v2.bytes),
        luid: luid(driver, device),
        total_memory_bytes: total_memory_bytes as u64,
        pci_bus_id,
        attributes: attributes.collect(),
    })
}

fn luid(driver: &Driver, device: CUdevice) -> Option<([u8; 8], u32)> {
    let (mut luid, mut mask) = ([0_u8; 8], 0);
    // SAFETY: a LUID has eight bytes.
    let status = unsafe { driver.cuDeviceGetLuid(luid.as_mut_ptr().cast(), &raw mut mask, device) };
    (status == CUresult::CUDA_SUCCESS).then_some((luid, mask))
}

fn text(
    function: &'static str,
    get: impl FnOnce(*mut core::ffi::c_char, i32) -> CUresult,
) -> Result<String, DriverError> {
    let mut text = [0_u8; TEXT_BYTES];
    named(function, get(text.as_mut_ptr().cast(), TEXT_BYTES as i32))?;
    let text = CStr::from_bytes_until_nul(&text).unwrap_or_default();
    Ok(text.to_string_lossy().into_owned())
}

fn named(function: &'static str, status: CUresult) -> Result<(), DriverError> {
    check(status).map_err(|status| DriverError::Start { function, status })
}
