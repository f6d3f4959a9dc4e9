// SPDX-License-Identifier: Apache-2.0
//! What a device is: facts that never change.

use core::ffi::c_char;
use std::fmt::Write as _;

use super::device::device;
use super::text::{field, write_text};
use super::types::{DeviceHandle, PciInfo, PciInfoExt, Status};
use super::{exports, write};
use crate::driver::{DEVICE_NAME, Device, architecture};

/// `NVML_COMPUTEMODE_DEFAULT`.
const COMPUTE_MODE_DEFAULT: u32 = 0;

/// As NVIDIA's tools write it.
pub(super) fn uuid(device: &Device) -> String {
    let mut text = String::from("GPU-");
    for (index, byte) in device.uuid().into_iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// `NVML_DEVICE_PCI_BUS_ID_LEGACY_FMT`.
pub(super) fn legacy_bus_id(device: &Device) -> String {
    format!("0000:{:02X}:00.0", device.pci_bus())
}

/// `NVML_DEVICE_PCI_BUS_ID_FMT`.
pub(super) fn bus_id(device: &Device) -> String {
    format!("00000000:{:02X}:00.0", device.pci_bus())
}

/// `NVML_DEVICE_ARCH_*` of the compute capability that is reported.
fn generation(major: u32, minor: u32) -> u32 {
    match (major, minor) {
        (7, 5) => 6,
        (8, 9) => 8,
        (8, _) => 7,
        (9, _) => 9,
        _ => u32::MAX,
    }
}

fn pci_info(device: &Device) -> PciInfo {
    PciInfo {
        bus_id_legacy: field(&legacy_bus_id(device)),
        domain: 0,
        bus: device.pci_bus().unsigned_abs(),
        device: 0,
        pci_device_id: 0,
        pci_subsystem_id: 0,
        bus_id: field(&bus_id(device)),
    }
}

exports! {
    fn nvmlDeviceGetName(handle: DeviceHandle, name: *mut c_char, length: u32) {
        device(handle)?;
        // SAFETY: the contract of nvml.h.
        unsafe { write_text(name, length, DEVICE_NAME) }
    }

    fn nvmlDeviceGetUUID(handle: DeviceHandle, text: *mut c_char, length: u32) {
        let uuid = uuid(device(handle)?);
        // SAFETY: the contract of nvml.h.
        unsafe { write_text(text, length, &uuid) }
    }

    /// `NVML_BRAND_UNKNOWN`.
    fn nvmlDeviceGetBrand(handle: DeviceHandle, brand: *mut u32) {
        device(handle)?;
        // SAFETY: the contract of nvml.h.
        unsafe { write(brand, 0) }
    }

    fn nvmlDeviceGetIndex(handle: DeviceHandle, index: *mut u32) {
        let ordinal = device(handle)?.number.unsigned_abs();
        // SAFETY: the contract of nvml.h.
        unsafe { write(index, ordinal) }
    }

    fn nvmlDeviceGetMinorNumber(handle: DeviceHandle, minorNumber: *mut u32) {
        let ordinal = device(handle)?.number.unsigned_abs();
        // SAFETY: the contract of nvml.h.
        unsafe { write(minorNumber, ordinal) }
    }

    fn nvmlDeviceGetPciInfo_v3(handle: DeviceHandle, pci: *mut PciInfo) {
        let info = pci_info(device(handle)?);
        // SAFETY: the contract of nvml.h.
        unsafe { write(pci, info) }
    }

    /// It has no class on a bus.
    fn nvmlDeviceGetPciInfoExt(handle: DeviceHandle, pci: *mut PciInfoExt) {
        let info = pci_info(device(handle)?);
        if pci.is_null() {
            return Err(Status::INVALID_ARGUMENT);
        }
        // SAFETY: the contract of nvml.h.
        let version = unsafe { (&raw const (*pci).version).read_unaligned() };
        if version != PciInfoExt::VERSION {
            return Err(Status::ARGUMENT_VERSION_MISMATCH);
        }
        let extended = PciInfoExt {
            version,
            domain: info.domain,
            bus: info.bus,
            device: info.device,
            pci_device_id: info.pci_device_id,
            pci_subsystem_id: info.pci_subsystem_id,
            base_class: 0,
            sub_class: 0,
            bus_id: info.bus_id,
        };
        // SAFETY: the contract of nvml.h.
        unsafe { write(pci, extended) }
    }

    fn nvmlDeviceGetCudaComputeCapability(
        handle: DeviceHandle,
        major: *mut i32,
        minor: *mut i32,
    ) {
        device(handle)?;
        let architecture = architecture();
        // SAFETY: the contract of nvml.h.
        unsafe {
            write(major, architecture.major as i32)?;
            write(minor, architecture.minor as i32)
        }
    }

    fn nvmlDeviceGetArchitecture(handle: DeviceHandle, arch: *mut u32) {
        device(handle)?;
        let architecture = architecture();
        let generation = generation(architecture.major, architecture.minor);
        // SAFETY: the contract of nvml.h.
        unsafe { write(arch, generation) }
    }

    fn nvmlDeviceGetComputeMode(handle: DeviceHandle, mode: *mut u32) {
        device(handle)?;
        // SAFETY: the contract of nvml.h.
        unsafe { write(mode, COMPUTE_MODE_DEFAULT) }
    }

    /// There are no parts of a device.
    fn nvmlDeviceGetMaxMigDeviceCount(handle: DeviceHandle, count: *mut u32) {
        device(handle)?;
        // SAFETY: the contract of nvml.h.
        unsafe { write(count, 0) }
    }

    fn nvmlDeviceIsMigDeviceHandle(handle: DeviceHandle, isMigDevice: *mut u32) {
        device(handle)?;
        // SAFETY: the contract of nvml.h.
        unsafe { write(isMigDevice, 0) }
    }

    fn nvmlDeviceOnSameBoard(device1: DeviceHandle, device2: DeviceHandle, onSameBoard: *mut i32) {
        let is_same = device(device1)?.number == device(device2)?.number;
        // SAFETY: the contract of nvml.h.
        unsafe { write(onSameBoard, i32::from(is_same)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_are_those_of_nvml_h() {
        assert_eq!(generation(7, 5), 6);
        assert_eq!(
            [generation(8, 0), generation(8, 6), generation(8, 9)],
            [7, 7, 8]
        );
        assert_eq!(generation(9, 0), 9);
        assert_eq!(size_of::<PciInfo>(), 68);
    }
}
