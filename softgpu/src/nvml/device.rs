// SPDX-License-Identifier: Apache-2.0
//! Devices by number, identifier and bus.

use core::ffi::c_char;

use super::text::read_text;
use super::types::{DeviceHandle, Status};
use super::{exports, identity, write};
use crate::driver::{Device, installed};

/// The device of a handle.
pub(super) fn device(handle: DeviceHandle) -> Result<&'static Device, Status> {
    let is_it = |device: &&Device| std::ptr::from_ref(*device).cast() == handle.0;
    installed()
        .iter()
        .find(is_it)
        .ok_or(Status::INVALID_ARGUMENT)
}

fn handle(device: &'static Device) -> DeviceHandle {
    DeviceHandle(std::ptr::from_ref(device).cast())
}

fn find(is_it: impl Fn(&Device) -> bool) -> Result<DeviceHandle, Status> {
    let found = installed().iter().find(|device| is_it(device));
    found.map(handle).ok_or(Status::NOT_FOUND)
}

/// Whether a bus id, written in either way, is the device's.
fn is_at(device: &Device, bus_id: &str) -> bool {
    let (short, long) = (identity::legacy_bus_id(device), identity::bus_id(device));
    bus_id.eq_ignore_ascii_case(&short) || bus_id.eq_ignore_ascii_case(&long)
}

exports! {
    fn nvmlDeviceGetCount_v2(deviceCount: *mut u32) {
        // SAFETY: the contract of nvml.h.
        unsafe { write(deviceCount, installed().len() as u32) }
    }

    fn nvmlDeviceGetCount(deviceCount: *mut u32) {
        // SAFETY: the contract of nvml.h.
        unsafe { write(deviceCount, installed().len() as u32) }
    }

    fn nvmlDeviceGetHandleByIndex_v2(index: u32, device: *mut DeviceHandle) {
        let found = installed().get(index as usize).ok_or(Status::INVALID_ARGUMENT)?;
        // SAFETY: the contract of nvml.h.
        unsafe { write(device, handle(found)) }
    }

    fn nvmlDeviceGetHandleByIndex(index: u32, device: *mut DeviceHandle) {
        let found = installed().get(index as usize).ok_or(Status::INVALID_ARGUMENT)?;
        // SAFETY: the contract of nvml.h.
        unsafe { write(device, handle(found)) }
    }

    fn nvmlDeviceGetHandleByUUID(uuid: *const c_char, device: *mut DeviceHandle) {
        // SAFETY: the contract of nvml.h.
        unsafe {
            let uuid = read_text(uuid)?;
            write(device, find(|device| identity::uuid(device) == uuid)?)
        }
    }

    fn nvmlDeviceGetHandleByPciBusId_v2(pciBusId: *const c_char, device: *mut DeviceHandle) {
        // SAFETY: the contract of nvml.h.
        unsafe {
            let bus_id = read_text(pciBusId)?;
            write(device, find(|device| is_at(device, bus_id))?)
        }
    }

    fn nvmlDeviceGetHandleByPciBusId(pciBusId: *const c_char, device: *mut DeviceHandle) {
        // SAFETY: the contract of nvml.h.
        unsafe {
            let bus_id = read_text(pciBusId)?;
            write(device, find(|device| is_at(device, bus_id))?)
        }
    }
}
