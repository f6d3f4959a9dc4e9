// SPDX-License-Identifier: Apache-2.0
//! MIG: the second device is divided, into one instance of each kind.

use crate::{INVALID_ARGUMENT, NOT_FOUND, NOT_SUPPORTED, Status, exports, handle, index, write};

/// The handles of the parts: addresses of nothing.
const MIG_DEVICE: usize = 0x5000_0010;
const GPU_INSTANCE: usize = 0x5000_0020;
const COMPUTE_INSTANCE: usize = 0x5000_0030;

#[repr(C)]
pub struct GpuInstanceInfo {
    device: usize,
    numbers: [u32; 4],
}

#[repr(C)]
pub struct ComputeInstanceInfo {
    device: usize,
    gpu_instance: usize,
    numbers: [u32; 4],
}

/// The device that is divided.
fn divided(device: usize) -> Result<(), Status> {
    match index(device)? {
        1 => Ok(()),
        _ => Err(NOT_SUPPORTED),
    }
}

fn is(value: usize, expected: usize) -> Result<(), Status> {
    (value == expected).then_some(()).ok_or(INVALID_ARGUMENT)
}

exports! {
    fn nvmlDeviceGetMigMode(device: usize, current: *mut u32, pending: *mut u32) {
        let mode = index(device)?;
        write(current, mode)?;
        write(pending, mode)
    }
    fn nvmlDeviceIsMigDeviceHandle(device: usize, place: *mut u32) {
        write(place, u32::from(device == MIG_DEVICE))
    }
    fn nvmlDeviceGetMaxMigDeviceCount(device: usize, place: *mut u32) {
        divided(device)?;
        write(place, 7)
    }
    fn nvmlDeviceGetMigDeviceHandleByIndex(device: usize, number: u32, place: *mut usize) {
        divided(device)?;
        match number {
            0 => write(place, MIG_DEVICE),
            _ => Err(NOT_FOUND),
        }
    }
    fn nvmlDeviceGetDeviceHandleFromMigDeviceHandle(device: usize, place: *mut usize) {
        is(device, MIG_DEVICE)?;
        write(place, handle(1))
    }
    fn nvmlDeviceGetGpuInstanceId(device: usize, place: *mut u32) {
        is(device, MIG_DEVICE)?;
        write(place, 3)
    }
    fn nvmlDeviceGetComputeInstanceId(device: usize, place: *mut u32) {
        is(device, MIG_DEVICE)?;
        write(place, 0)
    }
    fn nvmlDeviceGetAttributes_v2(device: usize, place: *mut [u64; 5]) {
        is(device, MIG_DEVICE)?;
        write(place, [1 << 32 | 16, 2, 3 << 32, 1 << 32 | 1, 9728])
    }
    fn nvmlDeviceGetGpuInstances(
        device: usize, profile: u32, place: *mut usize, count: *mut u32
    ) {
        divided(device)?;
        if profile != 19 {
            return write(count, 0);
        }
        write(place, GPU_INSTANCE)?;
        write(count, 1)
    }
    fn nvmlDeviceGetGpuInstanceById(device: usize, id: u32, place: *mut usize) {
        divided(device)?;
        if id != 3 {
            return Err(NOT_FOUND);
        }
        write(place, GPU_INSTANCE)
    }
    fn nvmlGpuInstanceGetInfo(instance: usize, place: *mut GpuInstanceInfo) {
        is(instance, GPU_INSTANCE)?;
        write(place, GpuInstanceInfo { device: handle(1), numbers: [3, 19, 2, 1] })
    }
    fn nvmlGpuInstanceGetComputeInstanceById(instance: usize, id: u32, place: *mut usize) {
        is(instance, GPU_INSTANCE)?;
        if id != 0 {
            return Err(NOT_FOUND);
        }
        write(place, COMPUTE_INSTANCE)
    }
    fn nvmlComputeInstanceGetInfo_v2(instance: usize, place: *mut ComputeInstanceInfo) {
        is(instance, COMPUTE_INSTANCE)?;
        let info = ComputeInstanceInfo {
            device: handle(1),
            gpu_instance: GPU_INSTANCE,
            numbers: [0, 0, 0, 1],
        };
        write(place, info)
    }
}
