// SPDX-License-Identifier: Apache-2.0
//! The exported functions, as an application calls them.

#![allow(
    clippy::undocumented_unsafe_blocks,
    reason = "one contract: pointers are to locals, and lengths are theirs"
)]

use core::ffi::{CStr, c_char};

use super::device::{
    nvmlDeviceGetCount_v2, nvmlDeviceGetHandleByIndex_v2, nvmlDeviceGetHandleByPciBusId_v2,
    nvmlDeviceGetHandleByUUID,
};
use super::events::{EventSet, nvmlEventSetCreate, nvmlEventSetFree, nvmlEventSetWait_v2};
use super::figures::{
    nvmlDeviceGetComputeRunningProcesses_v3, nvmlDeviceGetMemoryInfo, nvmlDeviceGetMemoryInfo_v2,
    nvmlDeviceGetUtilizationRates,
};
use super::identity::{
    nvmlDeviceGetName, nvmlDeviceGetPciInfo_v3, nvmlDeviceGetPciInfoExt, nvmlDeviceGetUUID,
};
use super::system::{nvmlInit_v2, nvmlShutdown, nvmlSystemGetProcessName};
use super::types::{
    DeviceHandle, Memory, MemoryV2, PciInfo, PciInfoExt, ProcessInfo, Status, Utilization,
};
use crate::usage;

const NOTHING: DeviceHandle = DeviceHandle(std::ptr::null());

fn text(get: impl FnOnce(*mut c_char, u32) -> Status) -> String {
    let mut room = [0_u8; 96];
    assert_eq!(get(room.as_mut_ptr().cast(), 96), Status::SUCCESS);
    let text = CStr::from_bytes_until_nul(&room).expect("ends");
    text.to_str().expect("UTF-8").to_owned()
}

/// One test, because the count of users is the process's.
#[test]
fn an_application_learns_what_there_is() {
    let mut count = 0;
    let ask = |count: &mut u32| unsafe { nvmlDeviceGetCount_v2(&raw mut *count) };
    assert_eq!(ask(&mut count), Status::UNINITIALIZED);
    assert_eq!(nvmlShutdown(), Status::UNINITIALIZED);
    assert_eq!([nvmlInit_v2(), nvmlInit_v2()], [Status::SUCCESS; 2]);
    assert_eq!(nvmlShutdown(), Status::SUCCESS);
    assert_eq!(ask(&mut count), Status::SUCCESS);
    assert_eq!(count, 1);

    let mut device = NOTHING;
    let status = unsafe { nvmlDeviceGetHandleByIndex_v2(1, &raw mut device) };
    assert_eq!(status, Status::INVALID_ARGUMENT);
    let status = unsafe { nvmlDeviceGetHandleByIndex_v2(0, &raw mut device) };
    assert_eq!(status, Status::SUCCESS);
    assert_eq!(
        text(|to, room| unsafe { nvmlDeviceGetName(device, to, room) }),
        "gvirtus softgpu"
    );
    let mut short = [0; 4];
    let status = unsafe { nvmlDeviceGetName(device, short.as_mut_ptr(), 4) };
    assert_eq!((status, short), (Status::INSUFFICIENT_SIZE, [0; 4]));
    let status = unsafe { nvmlDeviceGetName(NOTHING, short.as_mut_ptr(), 4) };
    assert_eq!(status, Status::INVALID_ARGUMENT);

    let uuid = text(|to, room| unsafe { nvmlDeviceGetUUID(device, to, room) });
    assert_eq!(uuid, "GPU-67766972-7475-732d-736f-667467707530");
    let uuid = std::ffi::CString::new(uuid).expect("no zero");
    for bus_id in [c"0000:01:00.0", c"00000000:01:00.0"] {
        let mut found = NOTHING;
        let status = unsafe { nvmlDeviceGetHandleByPciBusId_v2(bus_id.as_ptr(), &raw mut found) };
        assert_eq!((status, found), (Status::SUCCESS, device));
        let mut found = NOTHING;
        let status = unsafe { nvmlDeviceGetHandleByUUID(uuid.as_ptr(), &raw mut found) };
        assert_eq!((status, found), (Status::SUCCESS, device));
        let status = unsafe { nvmlDeviceGetHandleByUUID(bus_id.as_ptr(), &raw mut found) };
        assert_eq!(status, Status::NOT_FOUND);
    }
    let mut pci = std::mem::MaybeUninit::<PciInfo>::uninit();
    let status = unsafe { nvmlDeviceGetPciInfo_v3(device, pci.as_mut_ptr()) };
    assert_eq!(status, Status::SUCCESS);
    let pci = unsafe { pci.assume_init() };
    assert_eq!((pci.domain, pci.bus, pci.device), (0, 1, 0));

    let mut extended = std::mem::MaybeUninit::<PciInfoExt>::zeroed();
    let place = extended.as_mut_ptr();
    let status = unsafe { nvmlDeviceGetPciInfoExt(device, place) };
    assert_eq!(status, Status::ARGUMENT_VERSION_MISMATCH);
    // `nvmlPciInfoExt_v1` of nvml.h.
    unsafe { (*place).version = 0x0100_0040 };
    let status = unsafe { nvmlDeviceGetPciInfoExt(device, place) };
    let extended = unsafe { extended.assume_init() };
    assert_eq!((status, extended.bus), (Status::SUCCESS, 1));
    assert_eq!(extended.bus_id, pci.bus_id);

    figures(device);
    events();
    assert_eq!(nvmlShutdown(), Status::SUCCESS);
}

fn figures(device: DeviceHandle) {
    usage::publish();
    let meter = usage::memory_meter(0).expect("published");
    let before = memory(device);
    meter.fetch_add(5 << 20, std::sync::atomic::Ordering::Relaxed);
    let after = memory(device);
    // Other tests of this process use no device of the driver's, but other processes may.
    assert!(after.used >= 5 << 20, "{before:?} {after:?}");
    assert_eq!(after.total, after.free + after.used);
    let mut second = MemoryV2 {
        version: 7,
        total: 0,
        reserved: 0,
        free: 0,
        used: 0,
    };
    let status = unsafe { nvmlDeviceGetMemoryInfo_v2(device, &raw mut second) };
    assert_eq!(status, Status::ARGUMENT_VERSION_MISMATCH);
    second.version = 0x0200_0028;
    let status = unsafe { nvmlDeviceGetMemoryInfo_v2(device, &raw mut second) };
    assert_eq!((status, second.total), (Status::SUCCESS, after.total));

    let mut count = 0;
    let none = std::ptr::null_mut();
    let status = unsafe { nvmlDeviceGetComputeRunningProcesses_v3(device, &raw mut count, none) };
    assert_eq!(status, Status::INSUFFICIENT_SIZE);
    let mut list = vec![std::mem::MaybeUninit::<ProcessInfo>::uninit(); count as usize + 8];
    count = list.len() as u32;
    let to = list.as_mut_ptr().cast();
    let status = unsafe { nvmlDeviceGetComputeRunningProcesses_v3(device, &raw mut count, to) };
    assert_eq!(status, Status::SUCCESS);
    let found = list[..count as usize].iter().find_map(|process| {
        let process = unsafe { process.assume_init() };
        (process.pid == std::process::id()).then_some(process)
    });
    assert!(found.is_some_and(|process| process.used_gpu_memory_bytes >= 5 << 20));
    meter.fetch_sub(5 << 20, std::sync::atomic::Ordering::Relaxed);

    let program =
        text(|to, room| unsafe { nvmlSystemGetProcessName(std::process::id(), to, room) });
    assert!(program.contains("gvirtus_softgpu"), "{program}");
    let mut rates = Utilization {
        gpu: 200,
        memory: 200,
    };
    let status = unsafe { nvmlDeviceGetUtilizationRates(device, &raw mut rates) };
    assert_eq!(status, Status::SUCCESS);
    assert!(rates.gpu <= 100 && rates.memory == 0);
}

fn events() {
    let mut sets = [EventSet(0); 2];
    for set in &mut sets {
        let status = unsafe { nvmlEventSetCreate(&raw mut *set) };
        assert_eq!(status, Status::SUCCESS);
    }
    let wait = |set| unsafe { nvmlEventSetWait_v2(set, std::ptr::null_mut(), 1) };
    assert_ne!(sets[0], sets[1]);
    assert_eq!(wait(sets[0]), Status::TIMEOUT);
    assert_eq!(unsafe { nvmlEventSetFree(sets[0]) }, Status::SUCCESS);
    assert_eq!(wait(sets[0]), Status::INVALID_ARGUMENT);
    let again = unsafe { nvmlEventSetFree(sets[0]) };
    assert_eq!(again, Status::INVALID_ARGUMENT);
    assert_eq!(unsafe { nvmlEventSetFree(sets[1]) }, Status::SUCCESS);
}

fn memory(device: DeviceHandle) -> Memory {
    let mut memory = Memory {
        total: 0,
        free: 0,
        used: 0,
    };
    let status = unsafe { nvmlDeviceGetMemoryInfo(device, &raw mut memory) };
    assert_eq!(status, Status::SUCCESS);
    memory
}
