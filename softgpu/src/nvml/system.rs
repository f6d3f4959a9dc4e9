// SPDX-License-Identifier: Apache-2.0
//! Start and end, versions, processes.

use core::ffi::c_char;

use super::text::write_text;
use super::types::Status;
use super::{exports, initialize, shut_down, write};
use crate::driver::DRIVER_VERSION;

/// Begins the use of NVML, as often as it is called.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlInit_v2() -> Status {
    initialize()
}

/// As [`nvmlInit_v2`].
#[unsafe(no_mangle)]
pub extern "C" fn nvmlInit() -> Status {
    initialize()
}

/// As [`nvmlInit_v2`]: flags change what happens where there are no devices.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlInitWithFlags(_flags: u32) -> Status {
    initialize()
}

/// The text of a status.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlErrorString(result: Status) -> *const c_char {
    result.text().as_ptr()
}

/// Ends one use.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlShutdown() -> Status {
    shut_down()
}

/// The program of a process: its path, or its name where that is not shown.
fn program(pid: u32) -> Option<String> {
    let folder = std::path::PathBuf::from(format!("/proc/{pid}"));
    match std::fs::read_link(folder.join("exe")) {
        Ok(path) => Some(path.to_string_lossy().into_owned()),
        Err(_) => {
            let name = std::fs::read_to_string(folder.join("comm")).ok()?;
            Some(name.trim_end().to_owned())
        }
    }
}

exports! {
    fn nvmlSystemGetDriverVersion(version: *mut c_char, length: u32) {
        // SAFETY: the contract of nvml.h.
        unsafe { write_text(version, length, env!("CARGO_PKG_VERSION")) }
    }

    /// CUDA's major version before the library's own, as NVIDIA's has it.
    fn nvmlSystemGetNVMLVersion(version: *mut c_char, length: u32) {
        let own = env!("CARGO_PKG_VERSION");
        let text = format!("{}.{own}", DRIVER_VERSION / 1000);
        // SAFETY: the contract of nvml.h.
        unsafe { write_text(version, length, &text) }
    }

    fn nvmlSystemGetCudaDriverVersion_v2(cudaDriverVersion: *mut i32) {
        // SAFETY: the contract of nvml.h.
        unsafe { write(cudaDriverVersion, DRIVER_VERSION as i32) }
    }

    fn nvmlSystemGetCudaDriverVersion(cudaDriverVersion: *mut i32) {
        // SAFETY: the contract of nvml.h.
        unsafe { write(cudaDriverVersion, DRIVER_VERSION as i32) }
    }

    /// Cut where there is no room.
    fn nvmlSystemGetProcessName(pid: u32, name: *mut c_char, length: u32) {
        let program = program(pid).ok_or(Status::NOT_FOUND)?;
        let room = (length as usize).saturating_sub(1).min(program.len());
        let end = program.floor_char_boundary(room);
        // SAFETY: the contract of nvml.h.
        unsafe { write_text(name, length, &program[..end]) }
    }
}
