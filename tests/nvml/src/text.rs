// SPDX-License-Identifier: Apache-2.0
//! Texts: names, versions, numbers of devices.

use std::ffi::{CStr, c_char};

use crate::{
    DEVICES, INSUFFICIENT_SIZE, INVALID_ARGUMENT, NOT_FOUND, Status, exports, handle, index, write,
};

pub(crate) fn uuid(index: u32) -> String {
    format!("GPU-00000000-1111-2222-3333-44444444444{index}")
}

fn serial(index: u32) -> String {
    format!("132000000000{index}")
}

pub(crate) fn bus_id(index: u32) -> String {
    format!("0000000{index}:17:00.0")
}

/// Writes a text and its end, if there is room.
fn put(text: &str, place: *mut c_char, length: u32) -> Result<(), Status> {
    if place.is_null() {
        return Err(INVALID_ARGUMENT);
    }
    if text.len() >= length as usize {
        return Err(INSUFFICIENT_SIZE);
    }
    // SAFETY: there is room for `length` bytes, which are more than the text has.
    unsafe {
        place
            .cast::<u8>()
            .copy_from_nonoverlapping(text.as_ptr(), text.len());
        place.add(text.len()).write(0);
    }
    Ok(())
}

/// The device whose text this is.
fn find(text: *const c_char, of: fn(u32) -> String, device: *mut usize) -> Result<(), Status> {
    if text.is_null() {
        return Err(INVALID_ARGUMENT);
    }
    // SAFETY: a string that ends with a zero byte.
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
    let found = (0..DEVICES).find(|index| of(*index) == text);
    write(device, handle(found.ok_or(NOT_FOUND)?))
}

exports! {
    fn nvmlSystemGetDriverVersion(version: *mut c_char, length: u32) {
        put("999.12.34", version, length)
    }
    fn nvmlSystemGetNVMLVersion(version: *mut c_char, length: u32) {
        put("13.999.12.34", version, length)
    }
    fn nvmlSystemGetProcessName(pid: u32, name: *mut c_char, length: u32) {
        if pid != crate::device::PROCESS {
            return Err(NOT_FOUND);
        }
        put("/usr/bin/made-up", name, length)
    }
    fn nvmlDeviceGetName(device: usize, name: *mut c_char, length: u32) {
        put(&format!("Made-up GPU {}", index(device)?), name, length)
    }
    fn nvmlDeviceGetUUID(device: usize, text: *mut c_char, length: u32) {
        put(&uuid(index(device)?), text, length)
    }
    fn nvmlDeviceGetSerial(device: usize, text: *mut c_char, length: u32) {
        put(&serial(index(device)?), text, length)
    }
    fn nvmlDeviceGetVbiosVersion(device: usize, text: *mut c_char, length: u32) {
        index(device)?;
        put("96.00.00.00.01", text, length)
    }
    fn nvmlDeviceGetInforomVersion(device: usize, object: u32, text: *mut c_char, length: u32) {
        index(device)?;
        put(&format!("2.{object}"), text, length)
    }
    fn nvmlDeviceGetGspFirmwareVersion(device: usize, text: *mut c_char) {
        index(device)?;
        put("999.12.34", text, 64)
    }
    fn nvmlDeviceGetHandleByUUID(text: *const c_char, device: *mut usize) {
        find(text, uuid, device)
    }
    fn nvmlDeviceGetHandleBySerial(text: *const c_char, device: *mut usize) {
        find(text, serial, device)
    }
    fn nvmlDeviceGetHandleByPciBusId_v2(text: *const c_char, device: *mut usize) {
        find(text, bus_id, device)
    }
}
