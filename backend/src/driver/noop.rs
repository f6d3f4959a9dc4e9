// SPDX-License-Identifier: Apache-2.0
//! A driver that succeeds and computes nothing, so that a measurement shows what remoting costs.
//!
//! One device `gvirtus no-op`; any image holds one kernel `noop(unsigned long long, unsigned int)`.
//! What is copied to the device is lost, what is copied back is zero.
//! Functions that are not here answer `CUDA_ERROR_NOT_SUPPORTED`.

#![allow(non_snake_case, reason = "functions are named as in cuda.h")]

use core::ffi::{c_char, c_void};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use gvirtus_abi::*;

use super::Entries;

const DEVICE_NAME: &[u8] = b"gvirtus no-op\0";
const UUID: &[u8; 16] = b"gvirtus no-op  0";
const PCI_BUS_ID: &[u8] = b"0000:00:00.0\0";
const MEMORY_BYTES: usize = 64 << 30;
const VERSION: i32 = 13_000;

/// Offset and size in bytes of the kernel's parameters.
const PARAMETERS: [(usize, usize); 2] = [(0, 8), (8, 4)];

const PITCH_BYTES: usize = 512;

static NEXT: AtomicU64 = AtomicU64::new(0x1000);
static NEXT_ADDRESS: AtomicU64 = AtomicU64::new(0x7000_0000_0000);

fn next() -> u64 {
    NEXT.fetch_add(0x10, Relaxed)
}

/// # Safety
///
/// `at` is valid for a write.
unsafe fn put<T>(at: *mut T, value: T) -> CUresult {
    if at.is_null() {
        return CUresult::CUDA_ERROR_INVALID_VALUE;
    }
    // SAFETY: as above.
    unsafe { at.write(value) };
    CUresult::CUDA_SUCCESS
}

/// # Safety
///
/// `at` is valid for `room` bytes.
unsafe fn put_bytes(at: *mut c_char, room: i32, bytes: &[u8]) -> CUresult {
    match usize::try_from(room) {
        Ok(room) if room >= bytes.len() => {
            // SAFETY: as above.
            unsafe { bytes.as_ptr().cast::<c_char>().copy_to(at, bytes.len()) };
            CUresult::CUDA_SUCCESS
        }
        _ => CUresult::CUDA_ERROR_INVALID_VALUE,
    }
}

/// Functions whose arguments do not matter.
macro_rules! succeeds {
    ($($name:ident($($argument:ty),*);)*) => {$(
        unsafe extern "C" fn $name($(_: $argument),*) -> CUresult {
            CUresult::CUDA_SUCCESS
        }
    )*};
}

/// Functions that write a value behind their first argument.
macro_rules! makes {
    ($($name:ident($out:ident: *mut $ty:ty $(, $argument:ty)*) = $value:expr;)*) => {$(
        unsafe extern "C" fn $name($out: *mut $ty $(, _: $argument)*) -> CUresult {
            // SAFETY: the caller's promise, as in CUDA.
            unsafe { put($out, $value) }
        }
    )*};
}

succeeds! {
    cuInit(u32);
    cuCtxDestroy_v2(CUcontext);
    cuCtxSetCurrent(CUcontext);
    cuCtxSetFlags(u32);
    cuCtxSetLimit(CUlimit, usize);
    cuCtxSynchronize();
    cuDevicePrimaryCtxRelease_v2(CUdevice);
    cuDevicePrimaryCtxReset_v2(CUdevice);
    cuDevicePrimaryCtxSetFlags_v2(CUdevice, u32);
    cuEventDestroy_v2(CUevent);
    cuEventQuery(CUevent);
    cuEventRecord(CUevent, CUstream);
    cuEventRecordWithFlags(CUevent, CUstream, u32);
    cuEventSynchronize(CUevent);
    cuLibraryUnload(CUlibrary);
    cuMemFree_v2(CUdeviceptr);
    cuMemHostRegister_v2(*mut c_void, usize, u32);
    cuMemHostUnregister(*mut c_void);
    cuMemcpyDtoDAsync_v2(CUdeviceptr, CUdeviceptr, usize, CUstream);
    cuMemcpyDtoD_v2(CUdeviceptr, CUdeviceptr, usize);
    cuMemcpyHtoDAsync_v2(CUdeviceptr, *const c_void, usize, CUstream);
    cuMemsetD16Async(CUdeviceptr, u16, usize, CUstream);
    cuMemsetD16_v2(CUdeviceptr, u16, usize);
    cuMemsetD32Async(CUdeviceptr, u32, usize, CUstream);
    cuMemsetD32_v2(CUdeviceptr, u32, usize);
    cuMemsetD8Async(CUdeviceptr, u8, usize, CUstream);
    cuMemsetD8_v2(CUdeviceptr, u8, usize);
    cuModuleUnload(CUmodule);
    cuStreamDestroy_v2(CUstream);
    cuStreamQuery(CUstream);
    cuStreamSynchronize(CUstream);
    cuStreamWaitEvent(CUstream, CUevent, u32);
    cuLaunchKernelEx(*const CUlaunchConfig, CUfunction, *mut *mut c_void, *mut *mut c_void);
}

makes! {
    cuCtxCreate_v4(out: *mut CUcontext, *mut CUctxCreateParams, u32, CUdevice) = CUcontext(next());
    cuCtxGetStreamPriorityRange(out: *mut i32, *mut i32) = 0;
    cuDeviceGetCount(out: *mut i32) = 1;
    cuDeviceTotalMem_v2(out: *mut usize, CUdevice) = MEMORY_BYTES;
    cuDevicePrimaryCtxRetain(out: *mut CUcontext, CUdevice) = CUcontext(0x100);
    cuDriverGetVersion(out: *mut i32) = VERSION;
    cuEventCreate(out: *mut CUevent, u32) = CUevent(next());
    cuEventElapsedTime(out: *mut f32, CUevent, CUevent) = 0.0;
    cuEventElapsedTime_v2(out: *mut f32, CUevent, CUevent) = 0.0;
    cuKernelGetFunction(out: *mut CUfunction, CUkernel) = CUfunction(next());
    cuKernelGetName(out: *mut *const c_char, CUkernel) = c"noop".as_ptr();
    cuFuncGetName(out: *mut *const c_char, CUfunction) = c"noop".as_ptr();
    cuLibraryGetKernelCount(out: *mut u32, CUlibrary) = 1;
    cuLibraryLoadData(out: *mut CUlibrary, *const c_void, *mut CUjit_option, *mut *mut c_void, u32,
        *mut CUlibraryOption, *mut *mut c_void, u32) = CUlibrary(next());
    cuMemAlloc_v2(out: *mut CUdeviceptr, usize) =
        CUdeviceptr(NEXT_ADDRESS.fetch_add(1 << 32, Relaxed));
    cuModuleGetFunctionCount(out: *mut u32, CUmodule) = 1;
    cuModuleLoadDataEx(out: *mut CUmodule, *const c_void, u32, *mut CUjit_option, *mut *mut c_void)
        = CUmodule(next());
    cuStreamCreateWithPriority(out: *mut CUstream, u32, i32) = CUstream(next());
    cuFuncGetAttribute(out: *mut i32, CUfunction_attribute, CUfunction) = 0;
    cuKernelGetAttribute(out: *mut i32, CUfunction_attribute, CUkernel, CUdevice) = 0;
    cuDeviceGetUuid(out: *mut CUuuid, CUdevice) = uuid();
    cuDeviceGetUuid_v2(out: *mut CUuuid, CUdevice) = uuid();
}

fn uuid() -> CUuuid {
    CUuuid {
        bytes: characters_of(*UUID),
    }
}

unsafe extern "C" fn cuDeviceGetName(name: *mut c_char, room: i32, _: CUdevice) -> CUresult {
    // SAFETY: the caller's promise.
    unsafe { put_bytes(name, room, DEVICE_NAME) }
}

unsafe extern "C" fn cuDeviceGetLuid(_: *mut c_char, _: *mut u32, _: CUdevice) -> CUresult {
    CUresult::CUDA_ERROR_NOT_SUPPORTED
}

unsafe extern "C" fn cuDeviceGetPCIBusId(id: *mut c_char, room: i32, _: CUdevice) -> CUresult {
    // SAFETY: the caller's promise.
    unsafe { put_bytes(id, room, PCI_BUS_ID) }
}

unsafe extern "C" fn cuDeviceGetAttribute(
    out: *mut i32,
    attribute: CUdevice_attribute,
    _: CUdevice,
) -> CUresult {
    let value = match attribute {
        CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK
        | CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X
        | CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y => 1024,
        CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z => 64,
        CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X => i32::MAX,
        CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y
        | CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z => 65_535,
        CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK => 48 << 10,
        CUdevice_attribute::CU_DEVICE_ATTRIBUTE_WARP_SIZE => 32,
        CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR => 8,
        CUdevice_attribute::CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING
        | CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT
        | CUdevice_attribute::CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT
        | CUdevice_attribute::CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS => 1,
        _ => 0,
    };
    // SAFETY: the caller's promise.
    unsafe { put(out, value) }
}

unsafe extern "C" fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) -> CUresult {
    // SAFETY: the caller's promise.
    unsafe {
        put(free, MEMORY_BYTES);
        put(total, MEMORY_BYTES)
    }
}

unsafe extern "C" fn cuMemAllocPitch_v2(
    address: *mut CUdeviceptr,
    pitch: *mut usize,
    width: usize,
    _: usize,
    _: u32,
) -> CUresult {
    // SAFETY: the caller's promise.
    unsafe {
        put(pitch, width.next_multiple_of(PITCH_BYTES));
        cuMemAlloc_v2(address, width)
    }
}

unsafe extern "C" fn cuMemcpyDtoHAsync_v2(
    to: *mut c_void,
    _: CUdeviceptr,
    bytes: usize,
    _: CUstream,
) -> CUresult {
    // SAFETY: the caller's promise.
    unsafe { to.cast::<u8>().write_bytes(0, bytes) };
    CUresult::CUDA_SUCCESS
}

unsafe extern "C" fn cuMemcpy2DAsync_v2(copy: *const CUDA_MEMCPY2D, _: CUstream) -> CUresult {
    // SAFETY: the caller's promise.
    let copy = unsafe { &*copy };
    if copy.dstMemoryType == CUmemorytype::CU_MEMORYTYPE_HOST {
        for row in 0..copy.Height {
            let to = copy.dstHost.cast::<u8>().wrapping_add(row * copy.dstPitch);
            // SAFETY: the caller's promise.
            unsafe { to.write_bytes(0, copy.WidthInBytes) };
        }
    }
    CUresult::CUDA_SUCCESS
}

unsafe extern "C" fn cuLibraryEnumerateKernels(
    kernels: *mut CUkernel,
    room: u32,
    _: CUlibrary,
) -> CUresult {
    match room {
        0 => CUresult::CUDA_SUCCESS,
        // SAFETY: the caller's promise.
        _ => unsafe { put(kernels, CUkernel(next())) },
    }
}

unsafe extern "C" fn cuModuleEnumerateFunctions(
    functions: *mut CUfunction,
    room: u32,
    _: CUmodule,
) -> CUresult {
    match room {
        0 => CUresult::CUDA_SUCCESS,
        // SAFETY: the caller's promise.
        _ => unsafe { put(functions, CUfunction(next())) },
    }
}

/// # Safety
///
/// The outputs are valid for writes.
unsafe fn parameter(index: usize, offset: *mut usize, size: *mut usize) -> CUresult {
    let Some((at, bytes)) = PARAMETERS.get(index) else {
        return CUresult::CUDA_ERROR_INVALID_VALUE;
    };
    // SAFETY: as above.
    unsafe {
        put(offset, *at);
        put(size, *bytes)
    }
}

unsafe extern "C" fn cuKernelGetParamInfo(
    _: CUkernel,
    index: usize,
    offset: *mut usize,
    size: *mut usize,
) -> CUresult {
    // SAFETY: the caller's promise.
    unsafe { parameter(index, offset, size) }
}

unsafe extern "C" fn cuFuncGetParamInfo(
    _: CUfunction,
    index: usize,
    offset: *mut usize,
    size: *mut usize,
) -> CUresult {
    // SAFETY: the caller's promise.
    unsafe { parameter(index, offset, size) }
}

unsafe extern "C" fn cuLaunchKernel(
    _: CUfunction,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: CUstream,
    _: *mut *mut c_void,
    _: *mut *mut c_void,
) -> CUresult {
    CUresult::CUDA_SUCCESS
}

macro_rules! entries {
    ($($name:ident)*) => {
        Entries { $($name: Some($name),)* ..Entries::default() }
    };
}

/// The table.
pub(crate) fn entries() -> Entries {
    entries! {
        cuCtxCreate_v4 cuCtxDestroy_v2 cuCtxGetStreamPriorityRange cuCtxSetCurrent cuCtxSetFlags
        cuCtxSetLimit cuCtxSynchronize cuDeviceGetAttribute cuDeviceGetCount cuDeviceGetLuid
        cuDeviceGetName
        cuDeviceGetPCIBusId cuDeviceGetUuid cuDeviceGetUuid_v2 cuDevicePrimaryCtxRelease_v2
        cuDevicePrimaryCtxReset_v2 cuDevicePrimaryCtxRetain cuDevicePrimaryCtxSetFlags_v2
        cuDeviceTotalMem_v2 cuDriverGetVersion cuEventCreate cuEventDestroy_v2 cuEventElapsedTime
        cuEventElapsedTime_v2 cuEventQuery cuEventRecord cuEventRecordWithFlags cuEventSynchronize
        cuFuncGetAttribute cuFuncGetName cuFuncGetParamInfo cuInit cuKernelGetAttribute
        cuKernelGetFunction cuKernelGetName cuKernelGetParamInfo cuLaunchKernel cuLaunchKernelEx
        cuLibraryEnumerateKernels cuLibraryGetKernelCount cuLibraryLoadData cuLibraryUnload
        cuMemAllocPitch_v2 cuMemAlloc_v2 cuMemFree_v2 cuMemGetInfo_v2 cuMemHostRegister_v2
        cuMemHostUnregister cuMemcpy2DAsync_v2 cuMemcpyDtoDAsync_v2 cuMemcpyDtoD_v2
        cuMemcpyDtoHAsync_v2 cuMemcpyHtoDAsync_v2 cuMemsetD16Async cuMemsetD16_v2 cuMemsetD32Async
        cuMemsetD32_v2 cuMemsetD8Async cuMemsetD8_v2 cuModuleEnumerateFunctions
        cuModuleGetFunctionCount cuModuleLoadDataEx cuModuleUnload cuStreamCreateWithPriority
        cuStreamDestroy_v2 cuStreamQuery cuStreamSynchronize cuStreamWaitEvent
    }
}
