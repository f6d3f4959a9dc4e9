// SPDX-License-Identifier: Apache-2.0
//! Kernels: what they need, what they may have, and how many fit a multiprocessor.

use core::ffi::{c_char, c_void};
use std::mem::zeroed;

use gvirtus_abi::{
    CUdevice, CUfunc_cache, CUfunction, CUfunction_attribute, CUkernel, CUlaunchConfig,
    CUsharedconfig,
};
use gvirtus_runtime_abi::{
    cudaError, cudaFuncAttribute, cudaFuncAttributes, cudaFuncAttributes_v11, cudaFuncCache,
    cudaLaunchConfig, cudaSharedMemConfig,
};

use super::{not_null, write};
use crate::context::{current_device, with_context};
use crate::driver::driver;
use crate::error::{Result, check};
use crate::registry::kernel;

/// A kernel is a function wherever the driver wants one.
pub(super) const fn function(kernel: CUkernel) -> CUfunction {
    CUfunction(kernel.0)
}

fn attribute(kernel: CUkernel, device: CUdevice, which: CUfunction_attribute) -> Result<i32> {
    let mut value = 0;
    let output = &raw mut value;
    // SAFETY: the output is a local.
    with_context(|driver| unsafe { driver.cuKernelGetAttribute(output, which, kernel, device) })?;
    Ok(value)
}

/// The attributes that all releases have.
fn first_attributes(func: *const c_void) -> Result<cudaFuncAttributes_v11> {
    let kernel = kernel(func)?;
    let device = CUdevice(current_device()?);
    let get = |which| attribute(kernel, device, which);
    // Sizes are not negative.
    let size = |which| get(which).map(|bytes| usize::try_from(bytes).unwrap_or_default());
    type A = CUfunction_attribute;
    Ok(cudaFuncAttributes_v11 {
        sharedSizeBytes: size(A::CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES)?,
        constSizeBytes: size(A::CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES)?,
        localSizeBytes: size(A::CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES)?,
        maxThreadsPerBlock: get(A::CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK)?,
        numRegs: get(A::CU_FUNC_ATTRIBUTE_NUM_REGS)?,
        ptxVersion: get(A::CU_FUNC_ATTRIBUTE_PTX_VERSION)?,
        binaryVersion: get(A::CU_FUNC_ATTRIBUTE_BINARY_VERSION)?,
        cacheModeCA: get(A::CU_FUNC_ATTRIBUTE_CACHE_MODE_CA)?,
        maxDynamicSharedSizeBytes: get(A::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES)?,
        preferredShmemCarveout: get(A::CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT)?,
    })
}

pub unsafe fn cudaFuncGetAttributes_r11(
    attr: *mut cudaFuncAttributes_v11,
    func: *const c_void,
) -> Result<()> {
    not_null(attr)?;
    let all = first_attributes(func)?;
    // SAFETY: the caller's promise.
    unsafe { write(attr, all) }
}

pub unsafe fn cudaFuncGetAttributes(
    attr: *mut cudaFuncAttributes,
    func: *const c_void,
) -> Result<()> {
    not_null(attr)?;
    let first = first_attributes(func)?;
    let kernel = kernel(func)?;
    let device = CUdevice(current_device()?);
    let get = |which| attribute(kernel, device, which);
    type A = CUfunction_attribute;
    // SAFETY: integers, for which zero is a value.
    let mut all: cudaFuncAttributes = unsafe { zeroed() };
    all.sharedSizeBytes = first.sharedSizeBytes;
    all.constSizeBytes = first.constSizeBytes;
    all.localSizeBytes = first.localSizeBytes;
    all.maxThreadsPerBlock = first.maxThreadsPerBlock;
    all.numRegs = first.numRegs;
    all.ptxVersion = first.ptxVersion;
    all.binaryVersion = first.binaryVersion;
    all.cacheModeCA = first.cacheModeCA;
    all.maxDynamicSharedSizeBytes = first.maxDynamicSharedSizeBytes;
    all.preferredShmemCarveout = first.preferredShmemCarveout;
    all.clusterDimMustBeSet = get(A::CU_FUNC_ATTRIBUTE_CLUSTER_SIZE_MUST_BE_SET)?;
    all.requiredClusterWidth = get(A::CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH)?;
    all.requiredClusterHeight = get(A::CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_HEIGHT)?;
    all.requiredClusterDepth = get(A::CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_DEPTH)?;
    all.clusterSchedulingPolicyPreference =
        get(A::CU_FUNC_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE)?;
    all.nonPortableClusterSizeAllowed =
        get(A::CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED)?;
    // SAFETY: the caller's promise.
    unsafe { write(attr, all) }
}

/// The driver's name of an attribute that may be set.
const fn settable(attr: cudaFuncAttribute) -> Option<CUfunction_attribute> {
    type A = CUfunction_attribute;
    Some(match attr {
        cudaFuncAttribute::cudaFuncAttributeMaxDynamicSharedMemorySize => {
            A::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
        }
        cudaFuncAttribute::cudaFuncAttributePreferredSharedMemoryCarveout => {
            A::CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT
        }
        cudaFuncAttribute::cudaFuncAttributeRequiredClusterWidth => {
            A::CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH
        }
        cudaFuncAttribute::cudaFuncAttributeRequiredClusterHeight => {
            A::CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_HEIGHT
        }
        cudaFuncAttribute::cudaFuncAttributeRequiredClusterDepth => {
            A::CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_DEPTH
        }
        cudaFuncAttribute::cudaFuncAttributeNonPortableClusterSizeAllowed => {
            A::CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED
        }
        cudaFuncAttribute::cudaFuncAttributeClusterSchedulingPolicyPreference => {
            A::CU_FUNC_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE
        }
        _ => return None,
    })
}

pub unsafe fn cudaFuncSetAttribute(
    func: *const c_void,
    attr: cudaFuncAttribute,
    value: i32,
) -> Result<()> {
    let kernel = kernel(func)?;
    let device = current_device()?;
    // SAFETY: no preconditions.
    unsafe { cudaKernelSetAttributeForDevice(kernel, attr, value, device) }
}

pub unsafe fn cudaKernelSetAttributeForDevice(
    kernel: CUkernel,
    attr: cudaFuncAttribute,
    value: i32,
    device: i32,
) -> Result<()> {
    let which = settable(attr).ok_or(cudaError::cudaErrorInvalidValue)?;
    let device = CUdevice(device);
    // SAFETY: no preconditions.
    with_context(|driver| unsafe { driver.cuKernelSetAttribute(which, value, kernel, device) })
}

pub unsafe fn cudaFuncSetCacheConfig(
    func: *const c_void,
    cacheConfig: cudaFuncCache,
) -> Result<()> {
    let kernel = kernel(func)?;
    let device = CUdevice(current_device()?);
    let config = CUfunc_cache(cacheConfig.0);
    // SAFETY: no preconditions.
    with_context(|driver| unsafe { driver.cuKernelSetCacheConfig(kernel, config, device) })
}

pub unsafe fn cudaFuncSetSharedMemConfig(
    func: *const c_void,
    config: cudaSharedMemConfig,
) -> Result<()> {
    let function = function(kernel(func)?);
    let config = CUsharedconfig(config.0);
    // SAFETY: no preconditions.
    with_context(|driver| unsafe { driver.cuFuncSetSharedMemConfig(function, config) })
}

pub unsafe fn cudaFuncGetName(name: *mut *const c_char, func: *const c_void) -> Result<()> {
    let kernel = kernel(func)?;
    // SAFETY: the caller's promise.
    check(unsafe { driver()?.cuKernelGetName(name, kernel) })
}

pub unsafe fn cudaFuncGetParamInfo(
    func: *const c_void,
    paramIndex: usize,
    paramOffset: *mut usize,
    paramSize: *mut usize,
) -> Result<()> {
    let kernel = kernel(func)?;
    // SAFETY: the caller's promise.
    check(unsafe { driver()?.cuKernelGetParamInfo(kernel, paramIndex, paramOffset, paramSize) })
}

pub unsafe fn cudaFuncGetParamCount(func: *const c_void, paramCount: *mut usize) -> Result<()> {
    let kernel = kernel(func)?;
    // SAFETY: the caller's promise.
    check(unsafe { driver()?.cuKernelGetParamCount(kernel, paramCount) })
}

pub unsafe fn cudaGetFuncBySymbol(
    functionPtr: *mut CUfunction,
    symbolPtr: *const c_void,
) -> Result<()> {
    not_null(functionPtr)?;
    let kernel = kernel(symbolPtr)?;
    // SAFETY: the caller's promise.
    with_context(|driver| unsafe { driver.cuKernelGetFunction(functionPtr, kernel) })
}

pub unsafe fn cudaGetKernel(kernelPtr: *mut CUkernel, entryFuncAddr: *const c_void) -> Result<()> {
    let kernel = kernel(entryFuncAddr)?;
    // SAFETY: the caller's promise.
    unsafe { write(kernelPtr, kernel) }
}

pub unsafe fn cudaOccupancyMaxActiveBlocksPerMultiprocessor(
    numBlocks: *mut i32,
    func: *const c_void,
    blockSize: i32,
    dynamicSMemSize: usize,
) -> Result<()> {
    // SAFETY: the caller's promise.
    unsafe {
        cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
            numBlocks,
            func,
            blockSize,
            dynamicSMemSize,
            0,
        )
    }
}

pub unsafe fn cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
    numBlocks: *mut i32,
    func: *const c_void,
    blockSize: i32,
    dynamicSMemSize: usize,
    flags: u32,
) -> Result<()> {
    not_null(numBlocks)?;
    let function = function(kernel(func)?);
    // SAFETY: the caller's promise.
    with_context(|driver| unsafe {
        driver.cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
            numBlocks,
            function,
            blockSize,
            dynamicSMemSize,
            flags,
        )
    })
}

pub unsafe fn cudaOccupancyAvailableDynamicSMemPerBlock(
    dynamicSmemSize: *mut usize,
    func: *const c_void,
    numBlocks: i32,
    blockSize: i32,
) -> Result<()> {
    not_null(dynamicSmemSize)?;
    let function = function(kernel(func)?);
    // SAFETY: the caller's promise.
    with_context(|driver| unsafe {
        driver.cuOccupancyAvailableDynamicSMemPerBlock(
            dynamicSmemSize,
            function,
            numBlocks,
            blockSize,
        )
    })
}

/// A launch configuration as the driver has it.
///
/// # Errors
///
/// `cudaErrorInvalidValue` for a null pointer, or more shared memory than can be said.
///
/// # Safety
///
/// The pointer is null or to a configuration.
pub(super) unsafe fn driver_config(config: *const cudaLaunchConfig) -> Result<CUlaunchConfig> {
    not_null(config)?;
    // SAFETY: the caller's promise.
    let config = unsafe { config.read() };
    let shared_bytes =
        u32::try_from(config.dynamicSmemBytes).map_err(|_| cudaError::cudaErrorInvalidValue)?;
    Ok(CUlaunchConfig {
        gridDimX: config.gridDim.x,
        gridDimY: config.gridDim.y,
        gridDimZ: config.gridDim.z,
        blockDimX: config.blockDim.x,
        blockDimY: config.blockDim.y,
        blockDimZ: config.blockDim.z,
        sharedMemBytes: shared_bytes,
        hStream: config.stream,
        attrs: config.attrs.cast(),
        numAttrs: config.numAttrs,
    })
}

pub unsafe fn cudaOccupancyMaxPotentialClusterSize(
    clusterSize: *mut i32,
    func: *const c_void,
    launchConfig: *const cudaLaunchConfig,
) -> Result<()> {
    let function = function(kernel(func)?);
    // SAFETY: the caller's promise.
    let config = unsafe { driver_config(launchConfig) }?;
    // SAFETY: the caller's promise.
    with_context(|driver| unsafe {
        driver.cuOccupancyMaxPotentialClusterSize(clusterSize, function, &raw const config)
    })
}

pub unsafe fn cudaOccupancyMaxActiveClusters(
    numClusters: *mut i32,
    func: *const c_void,
    launchConfig: *const cudaLaunchConfig,
) -> Result<()> {
    let function = function(kernel(func)?);
    // SAFETY: the caller's promise.
    let config = unsafe { driver_config(launchConfig) }?;
    // SAFETY: the caller's promise.
    with_context(|driver| unsafe {
        driver.cuOccupancyMaxActiveClusters(numClusters, function, &raw const config)
    })
}
