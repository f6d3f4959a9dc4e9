// SPDX-License-Identifier: Apache-2.0
//! Start, versions, entry points and error texts.

use core::ffi::{c_char, c_void};

use gvirtus_abi::{
    CUcontext, CUdevice, CUdriverProcAddressQueryResult, CUmodule, CUresult, CUuuid,
};
use gvirtus_driver_face::export_tables::{DeviceIdentity, Driver, write_export_table};
use gvirtus_driver_face::proc_address::{write_proc_address_v1, write_proc_address_v2};
use gvirtus_driver_face::{write_error_name, write_error_string};

use super::arguments::out;
use super::context;
use super::device::{self, device, devices};
use super::image::JitOptions;
use super::limits::DRIVER_VERSION;
use super::module;

/// What the private tables ask for.
struct SoftDriver;

impl Driver for SoftDriver {
    fn driver_version(&self) -> Result<u32, CUresult> {
        Ok(DRIVER_VERSION)
    }

    fn devices(&self) -> Result<Vec<DeviceIdentity>, CUresult> {
        Ok(devices()?.iter().map(device::Device::identity).collect())
    }

    fn primary_context(&self, device: CUdevice) -> Result<CUcontext, CUresult> {
        context::primary_handle(self::device(device)?)
    }

    fn current_context(&self) -> Result<CUcontext, CUresult> {
        devices()?;
        Ok(context::current_handle())
    }

    unsafe fn module_from_fatbin(&self, image: *const c_void) -> Result<CUmodule, CUresult> {
        // SAFETY: the caller's promise.
        unsafe { module::load_image(image, &JitOptions::NONE) }
    }
}

pub(crate) fn cuInit(Flags: u32) -> Result<(), CUresult> {
    if Flags != 0 {
        return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
    }
    super::graph::initialize();
    device::initialize()
}

pub(crate) unsafe fn cuDriverGetVersion(driverVersion: *mut i32) -> Result<(), CUresult> {
    out!(driverVersion = DRIVER_VERSION as i32);
    Ok(())
}

pub(crate) unsafe fn cuGetErrorString(error: CUresult, pStr: *mut *const c_char) -> CUresult {
    // SAFETY: the contract of cuda.h.
    unsafe { write_error_string(error, pStr) }
}

pub(crate) unsafe fn cuGetErrorName(error: CUresult, pStr: *mut *const c_char) -> CUresult {
    // SAFETY: the contract of cuda.h.
    unsafe { write_error_name(error, pStr) }
}

pub(crate) unsafe fn cuGetProcAddress(
    symbol: *const c_char,
    pfn: *mut *mut c_void,
    cudaVersion: i32,
    flags: u64,
) -> CUresult {
    // SAFETY: the contract of cuda.h.
    unsafe { write_proc_address_v1(&crate::exports::PROC_TABLE, symbol, pfn, cudaVersion, flags) }
}

pub(crate) unsafe fn cuGetProcAddress_v2(
    symbol: *const c_char,
    pfn: *mut *mut c_void,
    cudaVersion: i32,
    flags: u64,
    symbolStatus: *mut CUdriverProcAddressQueryResult,
) -> CUresult {
    let table = &crate::exports::PROC_TABLE;
    // SAFETY: the contract of cuda.h.
    unsafe { write_proc_address_v2(table, symbol, pfn, cudaVersion, flags, symbolStatus) }
}

pub(crate) unsafe fn cuGetExportTable(
    ppExportTable: *mut *const c_void,
    pExportTableId: *const CUuuid,
) -> CUresult {
    // SAFETY: the contract of cuda.h.
    unsafe { write_export_table(&SoftDriver, ppExportTable, pExportTableId) }
}

/// There is no profiler to start.
pub(crate) fn cuProfilerStart() -> Result<(), CUresult> {
    context::usable().map(drop)
}

/// There is no profiler to stop.
pub(crate) fn cuProfilerStop() -> Result<(), CUresult> {
    context::usable().map(drop)
}
