// SPDX-License-Identifier: Apache-2.0
//! Types of `nvml.h` that the software device answers with.

use core::ffi::c_char;

pub use gvirtus_nvml_abi::Status;

/// `nvmlDevice_t`: opaque; here the address of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct DeviceHandle(pub *const ());

/// `nvmlPciInfo_t`, 68 bytes.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct PciInfo {
    pub bus_id_legacy: [c_char; 16],
    pub domain: u32,
    pub bus: u32,
    pub device: u32,
    /// Device in the upper, vendor in the lower half.
    pub pci_device_id: u32,
    pub pci_subsystem_id: u32,
    pub bus_id: [c_char; 32],
}

/// `nvmlPciInfoExt_v1_t`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct PciInfoExt {
    pub version: u32,
    pub domain: u32,
    pub bus: u32,
    pub device: u32,
    pub pci_device_id: u32,
    pub pci_subsystem_id: u32,
    pub base_class: u32,
    pub sub_class: u32,
    pub bus_id: [c_char; 32],
}

impl PciInfoExt {
    /// What the application must have written to `version`.
    pub const VERSION: u32 = size_of::<Self>() as u32 | 1 << 24;
}

/// `nvmlMemory_t`, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Memory {
    pub total: u64,
    pub free: u64,
    pub used: u64,
}

/// `nvmlMemory_v2_t`, in bytes.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct MemoryV2 {
    pub version: u32,
    pub total: u64,
    pub reserved: u64,
    pub free: u64,
    pub used: u64,
}

impl MemoryV2 {
    /// What the application must have written to `version`.
    pub const VERSION: u32 = size_of::<Self>() as u32 | 2 << 24;
}

/// `nvmlUtilization_t`, in percent.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Utilization {
    pub gpu: u32,
    pub memory: u32,
}

/// `nvmlProcessInfo_v1_t`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct ProcessInfoV1 {
    pub pid: u32,
    pub used_gpu_memory_bytes: u64,
}

/// `nvmlProcessInfo_v2_t`, which is the third version's, too.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct ProcessInfo {
    pub pid: u32,
    pub used_gpu_memory_bytes: u64,
    pub gpu_instance_id: u32,
    pub compute_instance_id: u32,
}

/// An instance's number where there is none.
pub const NO_INSTANCE: u32 = u32::MAX;

impl From<ProcessInfo> for ProcessInfoV1 {
    fn from(process: ProcessInfo) -> Self {
        Self {
            pid: process.pid,
            used_gpu_memory_bytes: process.used_gpu_memory_bytes,
        }
    }
}
