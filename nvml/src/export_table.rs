// SPDX-License-Identifier: Apache-2.0
//! The private table of functions that `nvidia-smi` asks NVML for before anything else.
//!
//! No header describes it. The identifier, the places below and their arguments were seen by
//! running `nvidia-smi` 390, 418, 450, 470, 535, 550 and 555 with a table of functions that told
//! how they were called; they are the same in all. Public functions do the work of those that
//! `nvidia-smi` cannot be without; it shows `N/A` for the others, which answer
//! `NVML_ERROR_NOT_SUPPORTED`.

use std::ffi::{CStr, c_void};

use gvirtus_nvml_abi::Status;
use gvirtus_nvml_abi::table::number;

use crate::api::{guard, query};

/// What names the table.
const IDENTIFIER: [u8; 16] = [
    0xc4, 0xfe, 0x3e, 0x6c, 0xc9, 0x8f, 0x6c, 0x4e, 0xa3, 0x27, 0xee, 0x69, 0x6e, 0x12, 0xf7, 0xc4,
];
/// Words of the table, the first of which is its size in bytes: more than any place that was seen.
const WORDS: usize = 256;

/// A device by its number.
const DEVICE_BY_INDEX: usize = 81;
/// Processes that compute, those that draw, and those of the multi-process service.
const COMPUTE_PROCESSES: usize = 213;
const GRAPHICS_PROCESSES: usize = 214;
const MPS_PROCESSES: usize = 215;

/// The third argument of [`DEVICE_BY_INDEX`], the only one that was seen.
const DEVICE_FLAGS: usize = 0x22;

/// Takes the first words of the arguments; callers may pass more.
type Function = unsafe extern "C" fn(usize, usize, usize) -> Status;

#[repr(C)]
struct Table {
    size_bytes: usize,
    functions: [Function; WORDS - 1],
}

static TABLE: Table = Table {
    size_bytes: size_of::<Table>(),
    functions: functions(),
};

const fn functions() -> [Function; WORDS - 1] {
    let mut functions = [not_supported as Function; WORDS - 1];
    functions[DEVICE_BY_INDEX - 1] = device_by_index;
    functions[COMPUTE_PROCESSES - 1] = compute_processes;
    functions[GRAPHICS_PROCESSES - 1] = graphics_processes;
    functions[MPS_PROCESSES - 1] = mps_processes;
    functions
}

/// `nvmlInternalGetExportTable`.
///
/// # Safety
///
/// `table` is null or can be written, `identifier` is null or points to 16 bytes.
pub unsafe fn get(table: *mut *const c_void, identifier: *const [u8; 16]) -> Status {
    guard("nvmlInternalGetExportTable", || {
        if table.is_null() || identifier.is_null() {
            return Err(Status::INVALID_ARGUMENT);
        }
        // SAFETY: the caller's promise.
        if unsafe { identifier.read_unaligned() } != IDENTIFIER {
            return Err(Status::NOT_SUPPORTED);
        }
        // SAFETY: the caller's promise.
        unsafe { table.write_unaligned((&raw const TABLE).cast()) };
        Ok(())
    })
}

unsafe extern "C" fn not_supported(_: usize, _: usize, _: usize) -> Status {
    Status::NOT_SUPPORTED
}

unsafe extern "C" fn device_by_index(index: usize, device: usize, flags: usize) -> Status {
    if flags != DEVICE_FLAGS {
        return Status::NOT_SUPPORTED;
    }
    // SAFETY: the caller's promise is that of the public function.
    unsafe { ask("nvmlDeviceGetHandleByIndex_v2", &[index, device]) }
}

unsafe extern "C" fn compute_processes(device: usize, count: usize, list: usize) -> Status {
    // SAFETY: the caller's promise.
    unsafe { processes("nvmlDeviceGetComputeRunningProcesses", device, count, list) }
}

unsafe extern "C" fn graphics_processes(device: usize, count: usize, list: usize) -> Status {
    // SAFETY: the caller's promise.
    unsafe { processes("nvmlDeviceGetGraphicsRunningProcesses", device, count, list) }
}

unsafe extern "C" fn mps_processes(device: usize, count: usize, list: usize) -> Status {
    // SAFETY: the caller's promise.
    unsafe {
        processes(
            "nvmlDeviceGetMPSComputeRunningProcesses",
            device,
            count,
            list,
        )
    }
}

/// `nvmlProcessInfo_v2_t`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct ProcessInfo {
    pid: u32,
    used_gpu_memory_bytes: u64,
    gpu_instance_id: u32,
    compute_instance_id: u32,
}

const NAME_BYTES: usize = 4096;
/// `nvidia-smi` has room for 250 or 500.
const PROCESSES: u32 = 4096;

/// What the private functions list.
#[repr(C)]
struct NamedProcess {
    info: ProcessInfo,
    /// Memory that is protected by confidential computing.
    protected_memory_bytes: u64,
    /// Ends with a zero byte.
    name: [u8; NAME_BYTES],
}

/// `NVML_VALUE_NOT_AVAILABLE`.
const NOT_AVAILABLE: u64 = u64::MAX;

/// Lists processes by the public function `symbol`, without its version, and their names.
///
/// # Safety
///
/// `device` is a handle, `count` points to a number, and `list` to as many [`NamedProcess`]es.
unsafe fn processes(symbol: &str, device: usize, count: usize, list: usize) -> Status {
    let count: *mut u32 = std::ptr::with_exposed_provenance_mut(count);
    let list: *mut NamedProcess = std::ptr::with_exposed_provenance_mut(list);
    if count.is_null() || list.is_null() {
        return Status::INVALID_ARGUMENT;
    }
    // SAFETY: the caller's promise.
    let room = unsafe { count.read_unaligned() }.min(PROCESSES);
    let mut infos = vec![ProcessInfo::default(); room as usize];
    let mut listed = room;
    let words = [
        device,
        (&raw mut listed).expose_provenance(),
        infos.as_mut_ptr().expose_provenance(),
    ];
    // Their elements are the same; drivers before 515 have only the older one.
    let mut status = Status::FUNCTION_NOT_FOUND;
    for version in ["v3", "v2"] {
        if status == Status::FUNCTION_NOT_FOUND {
            listed = room;
            // SAFETY: the locals are there, and there is room for as many as `listed` says.
            status = unsafe { ask(&format!("{symbol}_{version}"), &words) };
        }
    }
    if status != Status::SUCCESS && status != Status::INSUFFICIENT_SIZE {
        return status;
    }
    // SAFETY: the caller's promise.
    unsafe { count.write_unaligned(listed) };
    if status == Status::SUCCESS {
        for (index, info) in infos.into_iter().take(listed as usize).enumerate() {
            // SAFETY: there is room for `room`.
            unsafe { write_process(list.add(index), info) };
        }
    }
    status
}

/// # Safety
///
/// `to` can be written.
unsafe fn write_process(to: *mut NamedProcess, info: ProcessInfo) {
    let mut name = vec![0_u8; NAME_BYTES];
    let words = [
        info.pid as usize,
        name.as_mut_ptr().expose_provenance(),
        NAME_BYTES,
    ];
    // SAFETY: there is room for as many bytes.
    let status = unsafe { ask("nvmlSystemGetProcessName", &words) };
    let name = match CStr::from_bytes_until_nul(&name) {
        Ok(name) if status == Status::SUCCESS => name.to_bytes().to_owned(),
        // As nvidia-smi shows such names elsewhere.
        _ => format!("[{}]", status.text().to_string_lossy()).into_bytes(),
    };
    // SAFETY: the caller's promise; the name is shorter than its room and ends with a zero byte.
    unsafe {
        (&raw mut (*to).info).write_unaligned(info);
        (&raw mut (*to).protected_memory_bytes).write_unaligned(NOT_AVAILABLE);
        let place = (&raw mut (*to).name).cast::<u8>();
        place.write_bytes(0, NAME_BYTES);
        place.copy_from_nonoverlapping(name.as_ptr(), name.len().min(NAME_BYTES - 1));
    }
}

/// Calls a public function.
///
/// # Safety
///
/// As that function.
unsafe fn ask(symbol: &str, words: &[usize]) -> Status {
    match number(symbol) {
        // SAFETY: the caller's promise.
        Some(number) => unsafe { query(number, words) },
        None => Status::FUNCTION_NOT_FOUND,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_its_size_and_places() {
        let mut table = std::ptr::null();
        // SAFETY: both are there.
        let status = unsafe { get(&raw mut table, &IDENTIFIER) };
        assert_eq!(status, Status::SUCCESS);
        // SAFETY: what was given is a table.
        let table = unsafe { &*table.cast::<Table>() };
        assert_eq!(table.size_bytes, WORDS * size_of::<usize>());
        let call = |place: usize, flags| {
            // SAFETY: none of them looks at null, and NVML has not been started.
            unsafe { table.functions[place - 1](0, 0, flags) }
        };
        assert_eq!(call(DEVICE_BY_INDEX, DEVICE_FLAGS), Status::UNINITIALIZED);
        for place in [COMPUTE_PROCESSES, GRAPHICS_PROCESSES, MPS_PROCESSES] {
            assert_eq!(call(place, 0), Status::INVALID_ARGUMENT);
        }
        for place in [1, DEVICE_BY_INDEX + 1, WORDS - 1] {
            assert_eq!(call(place, 0), Status::NOT_SUPPORTED);
        }
        assert_eq!(size_of::<NamedProcess>(), 32 + NAME_BYTES);
    }

    #[test]
    fn another_table_is_refused() {
        let mut table = std::ptr::null();
        // SAFETY: what is there, or null.
        unsafe {
            assert_eq!(get(&raw mut table, &[0; 16]), Status::NOT_SUPPORTED);
            let null = std::ptr::null();
            assert_eq!(get(&raw mut table, null), Status::INVALID_ARGUMENT);
        }
        assert!(table.is_null());
    }

    #[test]
    fn arguments_that_nobody_has_seen_are_refused() {
        let mut device = 0_usize;
        let place = (&raw mut device).expose_provenance();
        // SAFETY: the place is there; null is none.
        unsafe {
            let status = device_by_index(0, place, 0);
            assert_eq!((status, device), (Status::NOT_SUPPORTED, 0));
            assert_eq!(compute_processes(0, 0, 0), Status::INVALID_ARGUMENT);
        }
    }
}
