// SPDX-License-Identifier: Apache-2.0
//! A worker that looks at the devices for the daemon, as long as it is wanted.

use std::io;

use gvirtus_nvml_abi::Status;
use gvirtus_protocol::status::DeviceFigures;

use super::Nvml;
use crate::control::WorkerControl;
use crate::limits::FIGURES_INTERVAL;

/// `nvmlMemory_t`, in bytes: total, free, used.
type Memory = [u64; 3];
/// `nvmlUtilization_t`, in percent: kernels ran, memory was accessed.
type Utilization = [u32; 2];

/// Tells the daemon what these devices do, by their names in NVML, until it does not listen.
///
/// # Errors
///
/// The operating system's, at the latest when the daemon has closed its end.
pub(crate) fn report(nvml: &Nvml, devices: &[String], daemon: &WorkerControl) -> io::Result<()> {
    // SAFETY: it has no arguments.
    if unsafe { nvml.call_symbol("nvmlInit_v2", &[]) } != Status::SUCCESS {
        return Err(io::Error::other("NVML does not start"));
    }
    let handles: Vec<_> = devices.iter().map(|name| nvml.device(name).ok()).collect();
    loop {
        let figures = handles.iter().map(|handle| match handle {
            Some(handle) => look(nvml, *handle),
            None => DeviceFigures::default(),
        });
        daemon.figures(&figures.collect::<Vec<_>>())?;
        std::thread::sleep(FIGURES_INTERVAL);
    }
}

fn look(nvml: &Nvml, device: usize) -> DeviceFigures {
    let mut memory: Memory = [0; 3];
    let mut utilization: Utilization = [0; 2];
    // SAFETY: NVML gave the handle, and each function writes the structure that it is given.
    let (has_memory, has_utilization) = unsafe {
        (
            ask(nvml, "nvmlDeviceGetMemoryInfo", device, &raw mut memory),
            ask(
                nvml,
                "nvmlDeviceGetUtilizationRates",
                device,
                &raw mut utilization,
            ),
        )
    };
    DeviceFigures {
        memory_used_bytes: has_memory.then_some(memory[2]),
        utilisation_percent: has_utilization.then_some(utilization[0].min(100)),
    }
}

/// # Safety
///
/// The function must write no more than a `T` for a device.
unsafe fn ask<T>(nvml: &Nvml, function: &str, device: usize, result: *mut T) -> bool {
    let words = [device, result.expose_provenance()];
    // SAFETY: the caller's promise.
    let status = unsafe { nvml.call_symbol(function, &words) };
    status == Status::SUCCESS
}
