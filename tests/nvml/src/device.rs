// SPDX-License-Identifier: Apache-2.0
//! Devices, their places, memory and processes.

use crate::{
    DEVICES, INVALID_ARGUMENT, Status, VERSION_MISMATCH, exports, handle, index, list, write,
};

/// A process that uses both devices; none of this machine has so high an id.
pub(crate) const PROCESS: u32 = 0x7fff_fff0;

#[derive(Clone, Copy)]
#[repr(C)]
pub struct PciInfo {
    legacy: [u8; 16],
    numbers: [u32; 5],
    bus_id: [u8; 32],
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct Process {
    pid: u32,
    memory: u64,
    instances: [u32; 2],
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct OldProcess {
    pid: u32,
    memory: u64,
}

/// `nvmlProcessDetailList_v1_t`.
#[repr(C)]
pub struct DetailList {
    version: u32,
    mode: u32,
    count: u32,
    list: *mut Detail,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct Detail {
    pid: u32,
    memory: u64,
    instances: [u32; 2],
    protected: u64,
}

const PROCESSES: [Process; 1] = [Process {
    pid: PROCESS,
    memory: 3 << 30,
    instances: [u32::MAX; 2],
}];

fn pci(index: u32) -> PciInfo {
    let mut info = PciInfo {
        legacy: [0; 16],
        numbers: [index, 0x17, 0, 0x2335_10de, 0x18be_10de],
        bus_id: [0; 32],
    };
    let text = crate::text::bus_id(index);
    info.bus_id[..text.len()].copy_from_slice(text.as_bytes());
    info.legacy[..12].copy_from_slice(&text.as_bytes()[4..]);
    info
}

/// Checks the version of a structure.
fn version(place: *const u32, expected: u32) -> Result<(), Status> {
    if place.is_null() {
        return Err(INVALID_ARGUMENT);
    }
    // SAFETY: not null, so there is a structure that begins with its version.
    match unsafe { place.read() } == expected {
        true => Ok(()),
        false => Err(VERSION_MISMATCH),
    }
}

exports! {
    fn nvmlDeviceGetCount_v2(count: *mut u32) { write(count, DEVICES) }
    fn nvmlDeviceGetHandleByIndex_v2(index: u32, device: *mut usize) {
        if index >= DEVICES {
            return Err(INVALID_ARGUMENT);
        }
        write(device, handle(index))
    }
    fn nvmlSystemGetCudaDriverVersion_v2(version: *mut u32) { write(version, 13_050) }
    fn nvmlDeviceGetIndex(device: usize, place: *mut u32) { write(place, index(device)?) }
    fn nvmlDeviceGetMinorNumber(device: usize, place: *mut u32) { write(place, index(device)?) }
    fn nvmlDeviceGetBrand(device: usize, place: *mut u32) { index(device)?; write(place, 14) }
    fn nvmlDeviceGetPciInfo_v3(device: usize, place: *mut PciInfo) {
        write(place, pci(index(device)?))
    }
    fn nvmlDeviceGetMemoryInfo(device: usize, place: *mut [u64; 3]) {
        let used = (1 + u64::from(index(device)?)) << 30;
        write(place, [80 << 30, (80 << 30) - used, used])
    }
    fn nvmlDeviceGetMemoryInfo_v2(device: usize, place: *mut [u64; 5]) {
        index(device)?;
        version(place.cast(), 2 << 24 | 40)?;
        write(place, [2 << 24 | 40, 80 << 30, 1 << 29, 79 << 30, 1 << 30])
    }
    fn nvmlDeviceGetBAR1MemoryInfo(device: usize, place: *mut [u64; 3]) {
        index(device)?;
        write(place, [128 << 30, 127 << 30, 1 << 30])
    }
    fn nvmlDeviceGetComputeRunningProcesses_v3(
        device: usize, count: *mut u32, place: *mut Process
    ) {
        index(device)?;
        list(&PROCESSES, count, place)
    }
    fn nvmlDeviceGetComputeRunningProcesses_v2(
        device: usize, count: *mut u32, place: *mut Process
    ) {
        index(device)?;
        list(&PROCESSES, count, place)
    }
    fn nvmlDeviceGetComputeRunningProcesses(
        device: usize, count: *mut u32, place: *mut OldProcess
    ) {
        index(device)?;
        list(&[OldProcess { pid: PROCESS, memory: 3 << 30 }], count, place)
    }
    fn nvmlDeviceGetGraphicsRunningProcesses_v3(
        device: usize, count: *mut u32, place: *mut Process
    ) {
        index(device)?;
        list(&[], count, place)
    }
    fn nvmlDeviceGetMPSComputeRunningProcesses_v3(
        device: usize, count: *mut u32, place: *mut Process
    ) {
        index(device)?;
        list(&[], count, place)
    }
    fn nvmlDeviceGetRunningProcessDetailList(device: usize, place: *mut DetailList) {
        index(device)?;
        version(place.cast(), 1 << 24 | 24)?;
        let detail = Detail {
            pid: PROCESS,
            memory: 3 << 30,
            instances: [u32::MAX; 2],
            protected: 1 << 20,
        };
        // SAFETY: the structure says its version, and where its list is.
        unsafe { list(&[detail], &raw mut (*place).count, (*place).list) }
    }
    fn nvmlDeviceGetTopologyCommonAncestor(one: usize, other: usize, place: *mut u32) {
        write(place, if index(one)? == index(other)? { 0 } else { 30 })
    }
    fn nvmlDeviceGetTopologyNearestGpus(
        device: usize, _level: u32, count: *mut u32, place: *mut usize
    ) {
        list(&[handle(1 - index(device)?)], count, place)
    }
    fn nvmlDeviceGetCpuAffinity(device: usize, count: u32, place: *mut u64) {
        let first = u64::from(index(device)?);
        for word in 0..count as usize {
            write(place.wrapping_add(word), first + word as u64)?;
        }
        Ok(())
    }
}
