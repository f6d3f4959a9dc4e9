// SPDX-License-Identifier: Apache-2.0
//! What processes use of a device now.

use super::device::device;
use super::types::{
    DeviceHandle, Memory, MemoryV2, NO_INSTANCE, ProcessInfo, ProcessInfoV1, Status, Utilization,
};
use super::{exports, write};
use crate::driver::Device;
use crate::usage::{self, ProcessUsage};

/// Nanoseconds of the second that processes tell of, in a percent.
const NS_PER_PERCENT: u64 = 10_000_000;

fn users(device: &Device) -> Vec<ProcessUsage> {
    usage::processes(device.number.unsigned_abs() as usize)
}

fn memory(device: &Device) -> Memory {
    // Each process has a memory of its own, so together they may use more than there is.
    let used = users(device).iter().map(|user| user.memory_bytes).sum();
    let used = u64::min(used, device.total_bytes);
    Memory {
        total: device.total_bytes,
        free: device.total_bytes - used,
        used,
    }
}

/// Those that have memory or kernels on the device.
fn processes(device: &Device) -> Vec<ProcessInfo> {
    let users = users(device).into_iter();
    users
        .filter(|user| user.memory_bytes > 0 || user.busy_ns > 0)
        .map(|user| ProcessInfo {
            pid: user.pid,
            used_gpu_memory_bytes: user.memory_bytes,
            gpu_instance_id: NO_INSTANCE,
            compute_instance_id: NO_INSTANCE,
        })
        .collect()
}

/// Writes a list as NVML does: how many there are, and all of them if there is room.
///
/// # Safety
/// `count` is null or valid; `list` is null or has room for as many as `count` says.
unsafe fn write_list<T: From<ProcessInfo>>(
    processes: Vec<ProcessInfo>,
    count: *mut u32,
    list: *mut T,
) -> Result<(), Status> {
    if count.is_null() {
        return Err(Status::INVALID_ARGUMENT);
    }
    // SAFETY: the caller's promise.
    let room = unsafe { count.read_unaligned() } as usize;
    // SAFETY: the caller's promise.
    unsafe { write(count, processes.len() as u32)? };
    if processes.len() > room {
        return Err(Status::INSUFFICIENT_SIZE);
    }
    for (index, process) in processes.into_iter().enumerate() {
        if list.is_null() {
            return Err(Status::INVALID_ARGUMENT);
        }
        // SAFETY: the caller's promise, and there is room.
        unsafe { list.add(index).write_unaligned(process.into()) };
    }
    Ok(())
}

/// Nobody draws, and there is no multi-process service.
///
/// # Safety
/// As [`write_list`].
unsafe fn no_processes<T: From<ProcessInfo>>(
    handle: DeviceHandle,
    count: *mut u32,
    list: *mut T,
) -> Result<(), Status> {
    device(handle)?;
    // SAFETY: the caller's promise.
    unsafe { write_list(Vec::new(), count, list) }
}

exports! {
    fn nvmlDeviceGetMemoryInfo(handle: DeviceHandle, info: *mut Memory) {
        let memory = memory(device(handle)?);
        // SAFETY: the contract of nvml.h.
        unsafe { write(info, memory) }
    }

    fn nvmlDeviceGetMemoryInfo_v2(handle: DeviceHandle, info: *mut MemoryV2) {
        let Memory { total, free, used } = memory(device(handle)?);
        if info.is_null() {
            return Err(Status::INVALID_ARGUMENT);
        }
        // SAFETY: the contract of nvml.h.
        let version = unsafe { (&raw const (*info).version).read_unaligned() };
        if version != MemoryV2::VERSION {
            return Err(Status::ARGUMENT_VERSION_MISMATCH);
        }
        // SAFETY: the contract of nvml.h.
        unsafe { write(info, MemoryV2 { version, total, reserved: 0, free, used }) }
    }

    /// Of the last whole second, the time in which kernels were at work. There is no memory
    /// controller that could be busy.
    fn nvmlDeviceGetUtilizationRates(handle: DeviceHandle, utilization: *mut Utilization) {
        let busy_ns: u64 = users(device(handle)?).iter().map(|user| user.busy_ns).sum();
        let gpu = (busy_ns / NS_PER_PERCENT).min(100) as u32;
        // SAFETY: the contract of nvml.h.
        unsafe { write(utilization, Utilization { gpu, memory: 0 }) }
    }

    fn nvmlDeviceGetComputeRunningProcesses(
        handle: DeviceHandle,
        infoCount: *mut u32,
        infos: *mut ProcessInfoV1,
    ) {
        let processes = processes(device(handle)?);
        // SAFETY: the contract of nvml.h.
        unsafe { write_list(processes, infoCount, infos) }
    }

    fn nvmlDeviceGetComputeRunningProcesses_v2(
        handle: DeviceHandle,
        infoCount: *mut u32,
        infos: *mut ProcessInfo,
    ) {
        let processes = processes(device(handle)?);
        // SAFETY: the contract of nvml.h.
        unsafe { write_list(processes, infoCount, infos) }
    }

    fn nvmlDeviceGetComputeRunningProcesses_v3(
        handle: DeviceHandle,
        infoCount: *mut u32,
        infos: *mut ProcessInfo,
    ) {
        let processes = processes(device(handle)?);
        // SAFETY: the contract of nvml.h.
        unsafe { write_list(processes, infoCount, infos) }
    }

    fn nvmlDeviceGetGraphicsRunningProcesses(
        handle: DeviceHandle,
        infoCount: *mut u32,
        infos: *mut ProcessInfoV1,
    ) {
        // SAFETY: the contract of nvml.h.
        unsafe { no_processes(handle, infoCount, infos) }
    }

    fn nvmlDeviceGetGraphicsRunningProcesses_v2(
        handle: DeviceHandle,
        infoCount: *mut u32,
        infos: *mut ProcessInfo,
    ) {
        // SAFETY: the contract of nvml.h.
        unsafe { no_processes(handle, infoCount, infos) }
    }

    fn nvmlDeviceGetGraphicsRunningProcesses_v3(
        handle: DeviceHandle,
        infoCount: *mut u32,
        infos: *mut ProcessInfo,
    ) {
        // SAFETY: the contract of nvml.h.
        unsafe { no_processes(handle, infoCount, infos) }
    }

    fn nvmlDeviceGetMPSComputeRunningProcesses(
        handle: DeviceHandle,
        infoCount: *mut u32,
        infos: *mut ProcessInfoV1,
    ) {
        // SAFETY: the contract of nvml.h.
        unsafe { no_processes(handle, infoCount, infos) }
    }

    fn nvmlDeviceGetMPSComputeRunningProcesses_v2(
        handle: DeviceHandle,
        infoCount: *mut u32,
        infos: *mut ProcessInfo,
    ) {
        // SAFETY: the contract of nvml.h.
        unsafe { no_processes(handle, infoCount, infos) }
    }

    fn nvmlDeviceGetMPSComputeRunningProcesses_v3(
        handle: DeviceHandle,
        infoCount: *mut u32,
        infos: *mut ProcessInfo,
    ) {
        // SAFETY: the contract of nvml.h.
        unsafe { no_processes(handle, infoCount, infos) }
    }
}
