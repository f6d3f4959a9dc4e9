// SPDX-License-Identifier: Apache-2.0
//! `cudaDeviceProp`, whose layout each release has changed, from the attributes of a device.

use core::ffi::c_char;
use std::mem::zeroed;

use gvirtus_abi::{CUdevice, CUdevice_attribute, CUuuid};
use gvirtus_runtime_abi::{cudaDeviceAttr, cudaDeviceProp, cudaDeviceProp_v11, cudaDeviceProp_v12};

use super::write;
use crate::context::device_of;
use crate::driver::Driver;
use crate::error::{Result, check};

/// A device that is asked for its attributes. One that the driver does not know is zero.
struct Asked<'a> {
    driver: &'a Driver,
    device: CUdevice,
}

impl Asked<'_> {
    fn attribute(&self, attribute: cudaDeviceAttr) -> i32 {
        let mut value = 0;
        // The numbers of the driver's attributes are the same.
        let attribute = CUdevice_attribute(attribute.0);
        // SAFETY: the output is a local.
        let status = unsafe {
            self.driver
                .cuDeviceGetAttribute(&raw mut value, attribute, self.device)
        };
        check(status).map_or(0, |()| value)
    }

    fn name(&self) -> Result<[c_char; 256]> {
        let mut name = [0; 256];
        // SAFETY: the output is a local of the said length.
        check(unsafe {
            self.driver
                .cuDeviceGetName(name.as_mut_ptr(), 256, self.device)
        })?;
        Ok(name)
    }

    fn uuid(&self) -> Result<CUuuid> {
        let mut uuid = CUuuid { bytes: [0; 16] };
        // SAFETY: the output is a local.
        check(unsafe { self.driver.cuDeviceGetUuid_v2(&raw mut uuid, self.device) })?;
        Ok(uuid)
    }

    fn total_bytes(&self) -> Result<usize> {
        let mut bytes = 0;
        // SAFETY: the output is a local.
        check(unsafe { self.driver.cuDeviceTotalMem_v2(&raw mut bytes, self.device) })?;
        Ok(bytes)
    }
}

/// The attributes, without the prefix that they share.
#[allow(non_upper_case_globals, reason = "the names of cuda_runtime_api.h")]
mod attributes {
    use gvirtus_runtime_abi::cudaDeviceAttr;

    macro_rules! attributes {
        ($($name:ident = $constant:ident,)*) => {
            $(pub(super) const $name: cudaDeviceAttr = cudaDeviceAttr::$constant;)*
        };
    }

    attributes! {
        AsyncEngineCount = cudaDevAttrAsyncEngineCount,
        CanMapHostMemory = cudaDevAttrCanMapHostMemory,
        CanUseHostPointerForRegisteredMem = cudaDevAttrCanUseHostPointerForRegisteredMem,
        ClockRate = cudaDevAttrClockRate,
        ClusterLaunch = cudaDevAttrClusterLaunch,
        ComputeCapabilityMajor = cudaDevAttrComputeCapabilityMajor,
        ComputeCapabilityMinor = cudaDevAttrComputeCapabilityMinor,
        ComputeMode = cudaDevAttrComputeMode,
        ComputePreemptionSupported = cudaDevAttrComputePreemptionSupported,
        ConcurrentKernels = cudaDevAttrConcurrentKernels,
        ConcurrentManagedAccess = cudaDevAttrConcurrentManagedAccess,
        CooperativeLaunch = cudaDevAttrCooperativeLaunch,
        CooperativeMultiDeviceLaunch = cudaDevAttrCooperativeMultiDeviceLaunch,
        DeferredMappingCudaArraySupported = cudaDevAttrDeferredMappingCudaArraySupported,
        DirectManagedMemAccessFromHost = cudaDevAttrDirectManagedMemAccessFromHost,
        EccEnabled = cudaDevAttrEccEnabled,
        GPUDirectRDMAFlushWritesOptions = cudaDevAttrGPUDirectRDMAFlushWritesOptions,
        GPUDirectRDMASupported = cudaDevAttrGPUDirectRDMASupported,
        GPUDirectRDMAWritesOrdering = cudaDevAttrGPUDirectRDMAWritesOrdering,
        GlobalL1CacheSupported = cudaDevAttrGlobalL1CacheSupported,
        GlobalMemoryBusWidth = cudaDevAttrGlobalMemoryBusWidth,
        GpuOverlap = cudaDevAttrGpuOverlap,
        GpuPciDeviceId = cudaDevAttrGpuPciDeviceId,
        GpuPciSubsystemId = cudaDevAttrGpuPciSubsystemId,
        HostNativeAtomicSupported = cudaDevAttrHostNativeAtomicSupported,
        HostNumaId = cudaDevAttrHostNumaId,
        HostNumaMultinodeIpcSupported = cudaDevAttrHostNumaMultinodeIpcSupported,
        HostRegisterReadOnlySupported = cudaDevAttrHostRegisterReadOnlySupported,
        HostRegisterSupported = cudaDevAttrHostRegisterSupported,
        Integrated = cudaDevAttrIntegrated,
        IpcEventSupport = cudaDevAttrIpcEventSupport,
        IsMultiGpuBoard = cudaDevAttrIsMultiGpuBoard,
        KernelExecTimeout = cudaDevAttrKernelExecTimeout,
        L2CacheSize = cudaDevAttrL2CacheSize,
        LocalL1CacheSupported = cudaDevAttrLocalL1CacheSupported,
        ManagedMemory = cudaDevAttrManagedMemory,
        MaxAccessPolicyWindowSize = cudaDevAttrMaxAccessPolicyWindowSize,
        MaxBlockDimX = cudaDevAttrMaxBlockDimX,
        MaxBlockDimY = cudaDevAttrMaxBlockDimY,
        MaxBlockDimZ = cudaDevAttrMaxBlockDimZ,
        MaxBlocksPerMultiprocessor = cudaDevAttrMaxBlocksPerMultiprocessor,
        MaxGridDimX = cudaDevAttrMaxGridDimX,
        MaxGridDimY = cudaDevAttrMaxGridDimY,
        MaxGridDimZ = cudaDevAttrMaxGridDimZ,
        MaxPersistingL2CacheSize = cudaDevAttrMaxPersistingL2CacheSize,
        MaxPitch = cudaDevAttrMaxPitch,
        MaxRegistersPerBlock = cudaDevAttrMaxRegistersPerBlock,
        MaxRegistersPerMultiprocessor = cudaDevAttrMaxRegistersPerMultiprocessor,
        MaxSharedMemoryPerBlock = cudaDevAttrMaxSharedMemoryPerBlock,
        MaxSharedMemoryPerBlockOptin = cudaDevAttrMaxSharedMemoryPerBlockOptin,
        MaxSharedMemoryPerMultiprocessor = cudaDevAttrMaxSharedMemoryPerMultiprocessor,
        MaxSurface1DLayeredLayers = cudaDevAttrMaxSurface1DLayeredLayers,
        MaxSurface1DLayeredWidth = cudaDevAttrMaxSurface1DLayeredWidth,
        MaxSurface1DWidth = cudaDevAttrMaxSurface1DWidth,
        MaxSurface2DHeight = cudaDevAttrMaxSurface2DHeight,
        MaxSurface2DLayeredHeight = cudaDevAttrMaxSurface2DLayeredHeight,
        MaxSurface2DLayeredLayers = cudaDevAttrMaxSurface2DLayeredLayers,
        MaxSurface2DLayeredWidth = cudaDevAttrMaxSurface2DLayeredWidth,
        MaxSurface2DWidth = cudaDevAttrMaxSurface2DWidth,
        MaxSurface3DDepth = cudaDevAttrMaxSurface3DDepth,
        MaxSurface3DHeight = cudaDevAttrMaxSurface3DHeight,
        MaxSurface3DWidth = cudaDevAttrMaxSurface3DWidth,
        MaxSurfaceCubemapLayeredLayers = cudaDevAttrMaxSurfaceCubemapLayeredLayers,
        MaxSurfaceCubemapLayeredWidth = cudaDevAttrMaxSurfaceCubemapLayeredWidth,
        MaxSurfaceCubemapWidth = cudaDevAttrMaxSurfaceCubemapWidth,
        MaxTexture1DLayeredLayers = cudaDevAttrMaxTexture1DLayeredLayers,
        MaxTexture1DLayeredWidth = cudaDevAttrMaxTexture1DLayeredWidth,
        MaxTexture1DLinearWidth = cudaDevAttrMaxTexture1DLinearWidth,
        MaxTexture1DMipmappedWidth = cudaDevAttrMaxTexture1DMipmappedWidth,
        MaxTexture1DWidth = cudaDevAttrMaxTexture1DWidth,
        MaxTexture2DGatherHeight = cudaDevAttrMaxTexture2DGatherHeight,
        MaxTexture2DGatherWidth = cudaDevAttrMaxTexture2DGatherWidth,
        MaxTexture2DHeight = cudaDevAttrMaxTexture2DHeight,
        MaxTexture2DLayeredHeight = cudaDevAttrMaxTexture2DLayeredHeight,
        MaxTexture2DLayeredLayers = cudaDevAttrMaxTexture2DLayeredLayers,
        MaxTexture2DLayeredWidth = cudaDevAttrMaxTexture2DLayeredWidth,
        MaxTexture2DLinearHeight = cudaDevAttrMaxTexture2DLinearHeight,
        MaxTexture2DLinearPitch = cudaDevAttrMaxTexture2DLinearPitch,
        MaxTexture2DLinearWidth = cudaDevAttrMaxTexture2DLinearWidth,
        MaxTexture2DMipmappedHeight = cudaDevAttrMaxTexture2DMipmappedHeight,
        MaxTexture2DMipmappedWidth = cudaDevAttrMaxTexture2DMipmappedWidth,
        MaxTexture2DWidth = cudaDevAttrMaxTexture2DWidth,
        MaxTexture3DDepth = cudaDevAttrMaxTexture3DDepth,
        MaxTexture3DDepthAlt = cudaDevAttrMaxTexture3DDepthAlt,
        MaxTexture3DHeight = cudaDevAttrMaxTexture3DHeight,
        MaxTexture3DHeightAlt = cudaDevAttrMaxTexture3DHeightAlt,
        MaxTexture3DWidth = cudaDevAttrMaxTexture3DWidth,
        MaxTexture3DWidthAlt = cudaDevAttrMaxTexture3DWidthAlt,
        MaxTextureCubemapLayeredLayers = cudaDevAttrMaxTextureCubemapLayeredLayers,
        MaxTextureCubemapLayeredWidth = cudaDevAttrMaxTextureCubemapLayeredWidth,
        MaxTextureCubemapWidth = cudaDevAttrMaxTextureCubemapWidth,
        MaxThreadsPerBlock = cudaDevAttrMaxThreadsPerBlock,
        MaxThreadsPerMultiProcessor = cudaDevAttrMaxThreadsPerMultiProcessor,
        MemoryClockRate = cudaDevAttrMemoryClockRate,
        MemoryPoolSupportedHandleTypes = cudaDevAttrMemoryPoolSupportedHandleTypes,
        MemoryPoolsSupported = cudaDevAttrMemoryPoolsSupported,
        MpsEnabled = cudaDevAttrMpsEnabled,
        MultiGpuBoardGroupID = cudaDevAttrMultiGpuBoardGroupID,
        MultiProcessorCount = cudaDevAttrMultiProcessorCount,
        NumaConfig = cudaDevAttrNumaConfig,
        NumaId = cudaDevAttrNumaId,
        PageableMemoryAccess = cudaDevAttrPageableMemoryAccess,
        PageableMemoryAccessUsesHostPageTables = cudaDevAttrPageableMemoryAccessUsesHostPageTables,
        PciBusId = cudaDevAttrPciBusId,
        PciDeviceId = cudaDevAttrPciDeviceId,
        PciDomainId = cudaDevAttrPciDomainId,
        ReservedSharedMemoryPerBlock = cudaDevAttrReservedSharedMemoryPerBlock,
        SingleToDoublePrecisionPerfRatio = cudaDevAttrSingleToDoublePrecisionPerfRatio,
        SparseCudaArraySupported = cudaDevAttrSparseCudaArraySupported,
        StreamPrioritiesSupported = cudaDevAttrStreamPrioritiesSupported,
        SurfaceAlignment = cudaDevAttrSurfaceAlignment,
        TccDriver = cudaDevAttrTccDriver,
        TextureAlignment = cudaDevAttrTextureAlignment,
        TexturePitchAlignment = cudaDevAttrTexturePitchAlignment,
        TimelineSemaphoreInteropSupported = cudaDevAttrTimelineSemaphoreInteropSupported,
        TotalConstantMemory = cudaDevAttrTotalConstantMemory,
        UnifiedAddressing = cudaDevAttrUnifiedAddressing,
        WarpSize = cudaDevAttrWarpSize,
    }
}

/// An attribute's value in the type of its field.
trait Field {
    fn of(value: i32) -> Self;
}

impl Field for i32 {
    fn of(value: i32) -> Self {
        value
    }
}

impl Field for u32 {
    fn of(value: i32) -> Self {
        value.cast_unsigned()
    }
}

impl Field for usize {
    fn of(value: i32) -> Self {
        Self::try_from(value).unwrap_or_default()
    }
}

macro_rules! fields {
    ($all:ident, $asked:ident: $($field:ident: $attribute:tt,)*) => {
        $(fields!(@ $all.$field, $asked, $attribute);)*
    };
    (@ $all:ident.$field:ident, $asked:ident, [$($attribute:ident),* $(,)?]) => {
        $all.$field = [$($asked.attribute(attributes::$attribute)),*];
    };
    (@ $all:ident.$field:ident, $asked:ident, $attribute:ident) => {
        $all.$field = Field::of($asked.attribute(attributes::$attribute));
    };
}

/// A function that fills one release's structure: the fields of all releases, then its own.
macro_rules! properties {
    ($function:ident, $structure:ident, $($field:ident: $attribute:tt,)*) => {
        pub unsafe fn $function(prop: *mut $structure, device: i32) -> Result<()> {
            let (driver, device) = device_of(device)?;
            let asked = Asked { driver, device };
            // SAFETY: integers, for which zero is a value.
            let mut all: $structure = unsafe { zeroed() };
            all.name = asked.name()?;
            all.uuid = asked.uuid()?;
            all.totalGlobalMem = asked.total_bytes()?;
            fields! { all, asked:
                regsPerBlock: MaxRegistersPerBlock,
                warpSize: WarpSize,
                maxThreadsPerBlock: MaxThreadsPerBlock,
                major: ComputeCapabilityMajor,
                minor: ComputeCapabilityMinor,
                multiProcessorCount: MultiProcessorCount,
                integrated: Integrated,
                canMapHostMemory: CanMapHostMemory,
                maxTexture1D: MaxTexture1DWidth,
                maxTexture1DMipmap: MaxTexture1DMipmappedWidth,
                maxTextureCubemap: MaxTextureCubemapWidth,
                maxSurface1D: MaxSurface1DWidth,
                maxSurfaceCubemap: MaxSurfaceCubemapWidth,
                concurrentKernels: ConcurrentKernels,
                ECCEnabled: EccEnabled,
                pciBusID: PciBusId,
                pciDeviceID: PciDeviceId,
                pciDomainID: PciDomainId,
                tccDriver: TccDriver,
                asyncEngineCount: AsyncEngineCount,
                unifiedAddressing: UnifiedAddressing,
                memoryBusWidth: GlobalMemoryBusWidth,
                l2CacheSize: L2CacheSize,
                persistingL2CacheMaxSize: MaxPersistingL2CacheSize,
                maxThreadsPerMultiProcessor: MaxThreadsPerMultiProcessor,
                streamPrioritiesSupported: StreamPrioritiesSupported,
                globalL1CacheSupported: GlobalL1CacheSupported,
                localL1CacheSupported: LocalL1CacheSupported,
                regsPerMultiprocessor: MaxRegistersPerMultiprocessor,
                managedMemory: ManagedMemory,
                isMultiGpuBoard: IsMultiGpuBoard,
                multiGpuBoardGroupID: MultiGpuBoardGroupID,
                hostNativeAtomicSupported: HostNativeAtomicSupported,
                pageableMemoryAccess: PageableMemoryAccess,
                concurrentManagedAccess: ConcurrentManagedAccess,
                computePreemptionSupported: ComputePreemptionSupported,
                canUseHostPointerForRegisteredMem: CanUseHostPointerForRegisteredMem,
                cooperativeLaunch: CooperativeLaunch,
                pageableMemoryAccessUsesHostPageTables: PageableMemoryAccessUsesHostPageTables,
                directManagedMemAccessFromHost: DirectManagedMemAccessFromHost,
                maxBlocksPerMultiProcessor: MaxBlocksPerMultiprocessor,
                accessPolicyMaxWindowSize: MaxAccessPolicyWindowSize,
                sharedMemPerBlock: MaxSharedMemoryPerBlock,
                memPitch: MaxPitch,
                totalConstMem: TotalConstantMemory,
                textureAlignment: TextureAlignment,
                texturePitchAlignment: TexturePitchAlignment,
                surfaceAlignment: SurfaceAlignment,
                sharedMemPerMultiprocessor: MaxSharedMemoryPerMultiprocessor,
                sharedMemPerBlockOptin: MaxSharedMemoryPerBlockOptin,
                reservedSharedMemPerBlock: ReservedSharedMemoryPerBlock,
                maxThreadsDim: [MaxBlockDimX, MaxBlockDimY, MaxBlockDimZ],
                maxGridSize: [MaxGridDimX, MaxGridDimY, MaxGridDimZ],
                maxTexture2D: [MaxTexture2DWidth, MaxTexture2DHeight],
                maxTexture2DMipmap: [MaxTexture2DMipmappedWidth, MaxTexture2DMipmappedHeight],
                maxTexture2DLinear: [
                    MaxTexture2DLinearWidth,
                    MaxTexture2DLinearHeight,
                    MaxTexture2DLinearPitch,
                ],
                maxTexture2DGather: [MaxTexture2DGatherWidth, MaxTexture2DGatherHeight],
                maxTexture3D: [MaxTexture3DWidth, MaxTexture3DHeight, MaxTexture3DDepth],
                maxTexture3DAlt: [
                    MaxTexture3DWidthAlt,
                    MaxTexture3DHeightAlt,
                    MaxTexture3DDepthAlt,
                ],
                maxTexture1DLayered: [MaxTexture1DLayeredWidth, MaxTexture1DLayeredLayers],
                maxTexture2DLayered: [
                    MaxTexture2DLayeredWidth,
                    MaxTexture2DLayeredHeight,
                    MaxTexture2DLayeredLayers,
                ],
                maxTextureCubemapLayered: [
                    MaxTextureCubemapLayeredWidth,
                    MaxTextureCubemapLayeredLayers,
                ],
                maxSurface2D: [MaxSurface2DWidth, MaxSurface2DHeight],
                maxSurface3D: [MaxSurface3DWidth, MaxSurface3DHeight, MaxSurface3DDepth],
                maxSurface1DLayered: [MaxSurface1DLayeredWidth, MaxSurface1DLayeredLayers],
                maxSurface2DLayered: [
                    MaxSurface2DLayeredWidth,
                    MaxSurface2DLayeredHeight,
                    MaxSurface2DLayeredLayers,
                ],
                maxSurfaceCubemapLayered: [
                    MaxSurfaceCubemapLayeredWidth,
                    MaxSurfaceCubemapLayeredLayers,
                ],
            }
            fields! { all, asked: $($field: $attribute,)* }
            // SAFETY: the caller's promise.
            unsafe { write(prop, all) }
        }
    };
}

properties! {
    cudaGetDeviceProperties_r11, cudaDeviceProp_v11,
    clockRate: ClockRate,
    deviceOverlap: GpuOverlap,
    kernelExecTimeoutEnabled: KernelExecTimeout,
    computeMode: ComputeMode,
    maxTexture1DLinear: MaxTexture1DLinearWidth,
    memoryClockRate: MemoryClockRate,
    singleToDoublePrecisionPerfRatio: SingleToDoublePrecisionPerfRatio,
    cooperativeMultiDeviceLaunch: CooperativeMultiDeviceLaunch,
}

properties! {
    cudaGetDeviceProperties_r12, cudaDeviceProp_v12,
    clockRate: ClockRate,
    deviceOverlap: GpuOverlap,
    kernelExecTimeoutEnabled: KernelExecTimeout,
    computeMode: ComputeMode,
    maxTexture1DLinear: MaxTexture1DLinearWidth,
    memoryClockRate: MemoryClockRate,
    singleToDoublePrecisionPerfRatio: SingleToDoublePrecisionPerfRatio,
    cooperativeMultiDeviceLaunch: CooperativeMultiDeviceLaunch,
    hostRegisterSupported: HostRegisterSupported,
    sparseCudaArraySupported: SparseCudaArraySupported,
    hostRegisterReadOnlySupported: HostRegisterReadOnlySupported,
    timelineSemaphoreInteropSupported: TimelineSemaphoreInteropSupported,
    memoryPoolsSupported: MemoryPoolsSupported,
    gpuDirectRDMASupported: GPUDirectRDMASupported,
    gpuDirectRDMAFlushWritesOptions: GPUDirectRDMAFlushWritesOptions,
    gpuDirectRDMAWritesOrdering: GPUDirectRDMAWritesOrdering,
    memoryPoolSupportedHandleTypes: MemoryPoolSupportedHandleTypes,
    deferredMappingCudaArraySupported: DeferredMappingCudaArraySupported,
    ipcEventSupported: IpcEventSupport,
    clusterLaunch: ClusterLaunch,
}

properties! {
    cudaGetDeviceProperties, cudaDeviceProp,
    hostRegisterSupported: HostRegisterSupported,
    sparseCudaArraySupported: SparseCudaArraySupported,
    hostRegisterReadOnlySupported: HostRegisterReadOnlySupported,
    timelineSemaphoreInteropSupported: TimelineSemaphoreInteropSupported,
    memoryPoolsSupported: MemoryPoolsSupported,
    gpuDirectRDMASupported: GPUDirectRDMASupported,
    gpuDirectRDMAFlushWritesOptions: GPUDirectRDMAFlushWritesOptions,
    gpuDirectRDMAWritesOrdering: GPUDirectRDMAWritesOrdering,
    memoryPoolSupportedHandleTypes: MemoryPoolSupportedHandleTypes,
    deferredMappingCudaArraySupported: DeferredMappingCudaArraySupported,
    ipcEventSupported: IpcEventSupport,
    clusterLaunch: ClusterLaunch,
    deviceNumaConfig: NumaConfig,
    deviceNumaId: NumaId,
    mpsEnabled: MpsEnabled,
    hostNumaId: HostNumaId,
    gpuPciDeviceID: GpuPciDeviceId,
    gpuPciSubsystemID: GpuPciSubsystemId,
    hostNumaMultinodeIpcSupported: HostNumaMultinodeIpcSupported,
}

/// The structure of release 12 has two names there.
pub unsafe fn cudaGetDeviceProperties_v2(prop: *mut cudaDeviceProp_v12, device: i32) -> Result<()> {
    // SAFETY: the caller's promise.
    unsafe { cudaGetDeviceProperties_r12(prop, device) }
}
