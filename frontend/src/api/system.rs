// SPDX-License-Identifier: Apache-2.0
//! Initialisation, error texts, private tables, the profiler.

use std::ffi::{c_char, c_void};

use gvirtus_abi::{CUcontext, CUdevice, CUmodule, CUresult, CUuuid};
use gvirtus_driver_face::export_tables::{DeviceIdentity, Driver, write_export_table};
use gvirtus_driver_face::{write_error_name, write_error_string};

use super::{Status, put};
use crate::{process, thread};

/// The CUDA version of the call table: what a driver without a device would say.
const TABLE_VERSION: i32 = 13_050;

/// `cuInit`: connects to the backend.
pub unsafe fn cuInit(Flags: u32) -> Status {
    if Flags != 0 {
        return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
    }
    process::frontend().initialize()
}

/// `cuDriverGetVersion`: the backend's, so that the runtime judges the driver that does the work.
pub unsafe fn cuDriverGetVersion(driverVersion: *mut i32) -> Status {
    let session = process::frontend().connect();
    let version = session.map_or(TABLE_VERSION, |session| session.driver_version);
    // SAFETY: the caller's promise.
    unsafe { put(driverVersion, version) }
}

/// `cuGetErrorString`.
pub unsafe fn cuGetErrorString(error: CUresult, pStr: *mut *const c_char) -> CUresult {
    // SAFETY: the caller's promise.
    unsafe { write_error_string(error, pStr) }
}

/// `cuGetErrorName`.
pub unsafe fn cuGetErrorName(error: CUresult, pStr: *mut *const c_char) -> CUresult {
    // SAFETY: the caller's promise.
    unsafe { write_error_name(error, pStr) }
}

/// `cuGetExportTable`.
pub unsafe fn cuGetExportTable(
    ppExportTable: *mut *const c_void,
    pExportTableId: *const CUuuid,
) -> CUresult {
    // SAFETY: the caller's promise.
    unsafe { write_export_table(&PrivateTables, ppExportTable, pExportTableId) }
}

/// `cuProfilerStart`: no profiler is attached, so there is nothing to start.
pub unsafe fn cuProfilerStart() -> Status {
    process::session()?.current().map(drop)
}

/// `cuProfilerStop`.
pub unsafe fn cuProfilerStop() -> Status {
    process::session()?.current().map(drop)
}

/// What NVIDIA's private tables ask for.
struct PrivateTables;

impl Driver for PrivateTables {
    fn driver_version(&self) -> Result<u32, CUresult> {
        let version = process::frontend().connect()?.driver_version;
        u32::try_from(version).map_err(|_| CUresult::CUDA_ERROR_UNKNOWN)
    }

    fn devices(&self) -> Result<Vec<DeviceIdentity>, CUresult> {
        use gvirtus_abi::CUdevice_attribute as Attribute;
        let session = process::frontend().connect()?;
        let identity = |device: &crate::device::Device| DeviceIdentity {
            uuid: device.snapshot.uuid_v2,
            pci_domain: device
                .attribute(Attribute::CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID)
                .unwrap_or(0),
            pci_bus: device
                .attribute(Attribute::CU_DEVICE_ATTRIBUTE_PCI_BUS_ID)
                .unwrap_or(0),
            pci_device: device
                .attribute(Attribute::CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID)
                .unwrap_or(0),
        };
        Ok(session.devices.iter().map(identity).collect())
    }

    fn primary_context(&self, device: CUdevice) -> Result<CUcontext, CUresult> {
        process::session()?.contexts.primary(device)
    }

    fn current_context(&self) -> Result<CUcontext, CUresult> {
        Ok(thread::current(process::session()?))
    }

    unsafe fn module_from_fatbin(&self, image: *const c_void) -> Result<CUmodule, CUresult> {
        let mut module = CUmodule::NULL;
        // SAFETY: the caller's promise, and a place for the module.
        unsafe { super::cuModuleLoadData(&raw mut module, image)? };
        Ok(module)
    }
}
