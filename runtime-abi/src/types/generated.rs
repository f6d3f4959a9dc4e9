// SPDX-License-Identifier: Apache-2.0
//! The enumerations and structures of `cuda_runtime_api.h`, with their measured layouts.
//!
//! Written by `runtime-abi/generate/read_runtime_headers.py`; do not edit by hand.

use core::ffi::{c_char, c_void};

use gvirtus_abi::*;

use super::{c_enum, layout};

c_enum! {
    cudaAccessProperty: u32 {
        cudaAccessPropertyNormal = 0,
        cudaAccessPropertyStreaming = 1,
        cudaAccessPropertyPersisting = 2,
    }
}

c_enum! {
    cudaAtomicOperation: u32 {
        cudaAtomicOperationIntegerAdd = 0,
        cudaAtomicOperationIntegerMin = 1,
        cudaAtomicOperationIntegerMax = 2,
        cudaAtomicOperationIntegerIncrement = 3,
        cudaAtomicOperationIntegerDecrement = 4,
        cudaAtomicOperationAnd = 5,
        cudaAtomicOperationOr = 6,
        cudaAtomicOperationXOR = 7,
        cudaAtomicOperationExchange = 8,
        cudaAtomicOperationCAS = 9,
        cudaAtomicOperationFloatAdd = 10,
        cudaAtomicOperationFloatMin = 11,
        cudaAtomicOperationFloatMax = 12,
    }
}

c_enum! {
    cudaChannelFormatKind: u32 {
        cudaChannelFormatKindSigned = 0,
        cudaChannelFormatKindUnsigned = 1,
        cudaChannelFormatKindFloat = 2,
        cudaChannelFormatKindNone = 3,
        cudaChannelFormatKindNV12 = 4,
        cudaChannelFormatKindUnsignedNormalized8X1 = 5,
        cudaChannelFormatKindUnsignedNormalized8X2 = 6,
        cudaChannelFormatKindUnsignedNormalized8X4 = 7,
        cudaChannelFormatKindUnsignedNormalized16X1 = 8,
        cudaChannelFormatKindUnsignedNormalized16X2 = 9,
        cudaChannelFormatKindUnsignedNormalized16X4 = 10,
        cudaChannelFormatKindSignedNormalized8X1 = 11,
        cudaChannelFormatKindSignedNormalized8X2 = 12,
        cudaChannelFormatKindSignedNormalized8X4 = 13,
        cudaChannelFormatKindSignedNormalized16X1 = 14,
        cudaChannelFormatKindSignedNormalized16X2 = 15,
        cudaChannelFormatKindSignedNormalized16X4 = 16,
        cudaChannelFormatKindUnsignedBlockCompressed1 = 17,
        cudaChannelFormatKindUnsignedBlockCompressed1SRGB = 18,
        cudaChannelFormatKindUnsignedBlockCompressed2 = 19,
        cudaChannelFormatKindUnsignedBlockCompressed2SRGB = 20,
        cudaChannelFormatKindUnsignedBlockCompressed3 = 21,
        cudaChannelFormatKindUnsignedBlockCompressed3SRGB = 22,
        cudaChannelFormatKindUnsignedBlockCompressed4 = 23,
        cudaChannelFormatKindSignedBlockCompressed4 = 24,
        cudaChannelFormatKindUnsignedBlockCompressed5 = 25,
        cudaChannelFormatKindSignedBlockCompressed5 = 26,
        cudaChannelFormatKindUnsignedBlockCompressed6H = 27,
        cudaChannelFormatKindSignedBlockCompressed6H = 28,
        cudaChannelFormatKindUnsignedBlockCompressed7 = 29,
        cudaChannelFormatKindUnsignedBlockCompressed7SRGB = 30,
        cudaChannelFormatKindUnsignedNormalized1010102 = 31,
        cudaChannelFormatKindUnsigned8Packed422 = 32,
        cudaChannelFormatKindUnsigned8Packed444 = 33,
        cudaChannelFormatKindUnsigned8SemiPlanar420 = 34,
        cudaChannelFormatKindUnsigned16SemiPlanar420 = 35,
        cudaChannelFormatKindUnsigned8SemiPlanar422 = 36,
        cudaChannelFormatKindUnsigned16SemiPlanar422 = 37,
        cudaChannelFormatKindUnsigned8SemiPlanar444 = 38,
        cudaChannelFormatKindUnsigned16SemiPlanar444 = 39,
        cudaChannelFormatKindUnsigned8Planar420 = 40,
        cudaChannelFormatKindUnsigned16Planar420 = 41,
        cudaChannelFormatKindUnsigned8Planar422 = 42,
        cudaChannelFormatKindUnsigned16Planar422 = 43,
        cudaChannelFormatKindUnsigned8Planar444 = 44,
        cudaChannelFormatKindUnsigned16Planar444 = 45,
    }
}

c_enum! {
    cudaClusterSchedulingPolicy: u32 {
        cudaClusterSchedulingPolicyDefault = 0,
        cudaClusterSchedulingPolicySpread = 1,
        cudaClusterSchedulingPolicyLoadBalancing = 2,
        cudaClusterSchedulingPolicyRubinDsmemLocality = 3,
    }
}

c_enum! {
    cudaDevResourceType: u32 {
        cudaDevResourceTypeInvalid = 0,
        cudaDevResourceTypeSm = 1,
        cudaDevResourceTypeWorkqueueConfig = 1000,
        cudaDevResourceTypeWorkqueue = 10000,
    }
}

c_enum! {
    cudaDevWorkqueueConfigScope: u32 {
        cudaDevWorkqueueConfigScopeDeviceCtx = 0,
        cudaDevWorkqueueConfigScopeGreenCtxBalanced = 1,
    }
}

c_enum! {
    cudaDeviceAttr: u32 {
        cudaDevAttrMaxThreadsPerBlock = 1,
        cudaDevAttrMaxBlockDimX = 2,
        cudaDevAttrMaxBlockDimY = 3,
        cudaDevAttrMaxBlockDimZ = 4,
        cudaDevAttrMaxGridDimX = 5,
        cudaDevAttrMaxGridDimY = 6,
        cudaDevAttrMaxGridDimZ = 7,
        cudaDevAttrMaxSharedMemoryPerBlock = 8,
        cudaDevAttrTotalConstantMemory = 9,
        cudaDevAttrWarpSize = 10,
        cudaDevAttrMaxPitch = 11,
        cudaDevAttrMaxRegistersPerBlock = 12,
        cudaDevAttrClockRate = 13,
        cudaDevAttrTextureAlignment = 14,
        cudaDevAttrGpuOverlap = 15,
        cudaDevAttrMultiProcessorCount = 16,
        cudaDevAttrKernelExecTimeout = 17,
        cudaDevAttrIntegrated = 18,
        cudaDevAttrCanMapHostMemory = 19,
        cudaDevAttrComputeMode = 20,
        cudaDevAttrMaxTexture1DWidth = 21,
        cudaDevAttrMaxTexture2DWidth = 22,
        cudaDevAttrMaxTexture2DHeight = 23,
        cudaDevAttrMaxTexture3DWidth = 24,
        cudaDevAttrMaxTexture3DHeight = 25,
        cudaDevAttrMaxTexture3DDepth = 26,
        cudaDevAttrMaxTexture2DLayeredWidth = 27,
        cudaDevAttrMaxTexture2DLayeredHeight = 28,
        cudaDevAttrMaxTexture2DLayeredLayers = 29,
        cudaDevAttrSurfaceAlignment = 30,
        cudaDevAttrConcurrentKernels = 31,
        cudaDevAttrEccEnabled = 32,
        cudaDevAttrPciBusId = 33,
        cudaDevAttrPciDeviceId = 34,
        cudaDevAttrTccDriver = 35,
        cudaDevAttrMemoryClockRate = 36,
        cudaDevAttrGlobalMemoryBusWidth = 37,
        cudaDevAttrL2CacheSize = 38,
        cudaDevAttrMaxThreadsPerMultiProcessor = 39,
        cudaDevAttrAsyncEngineCount = 40,
        cudaDevAttrUnifiedAddressing = 41,
        cudaDevAttrMaxTexture1DLayeredWidth = 42,
        cudaDevAttrMaxTexture1DLayeredLayers = 43,
        cudaDevAttrMaxTexture2DGatherWidth = 45,
        cudaDevAttrMaxTexture2DGatherHeight = 46,
        cudaDevAttrMaxTexture3DWidthAlt = 47,
        cudaDevAttrMaxTexture3DHeightAlt = 48,
        cudaDevAttrMaxTexture3DDepthAlt = 49,
        cudaDevAttrPciDomainId = 50,
        cudaDevAttrTexturePitchAlignment = 51,
        cudaDevAttrMaxTextureCubemapWidth = 52,
        cudaDevAttrMaxTextureCubemapLayeredWidth = 53,
        cudaDevAttrMaxTextureCubemapLayeredLayers = 54,
        cudaDevAttrMaxSurface1DWidth = 55,
        cudaDevAttrMaxSurface2DWidth = 56,
        cudaDevAttrMaxSurface2DHeight = 57,
        cudaDevAttrMaxSurface3DWidth = 58,
        cudaDevAttrMaxSurface3DHeight = 59,
        cudaDevAttrMaxSurface3DDepth = 60,
        cudaDevAttrMaxSurface1DLayeredWidth = 61,
        cudaDevAttrMaxSurface1DLayeredLayers = 62,
        cudaDevAttrMaxSurface2DLayeredWidth = 63,
        cudaDevAttrMaxSurface2DLayeredHeight = 64,
        cudaDevAttrMaxSurface2DLayeredLayers = 65,
        cudaDevAttrMaxSurfaceCubemapWidth = 66,
        cudaDevAttrMaxSurfaceCubemapLayeredWidth = 67,
        cudaDevAttrMaxSurfaceCubemapLayeredLayers = 68,
        cudaDevAttrMaxTexture1DLinearWidth = 69,
        cudaDevAttrMaxTexture2DLinearWidth = 70,
        cudaDevAttrMaxTexture2DLinearHeight = 71,
        cudaDevAttrMaxTexture2DLinearPitch = 72,
        cudaDevAttrMaxTexture2DMipmappedWidth = 73,
        cudaDevAttrMaxTexture2DMipmappedHeight = 74,
        cudaDevAttrComputeCapabilityMajor = 75,
        cudaDevAttrComputeCapabilityMinor = 76,
        cudaDevAttrMaxTexture1DMipmappedWidth = 77,
        cudaDevAttrStreamPrioritiesSupported = 78,
        cudaDevAttrGlobalL1CacheSupported = 79,
        cudaDevAttrLocalL1CacheSupported = 80,
        cudaDevAttrMaxSharedMemoryPerMultiprocessor = 81,
        cudaDevAttrMaxRegistersPerMultiprocessor = 82,
        cudaDevAttrManagedMemory = 83,
        cudaDevAttrIsMultiGpuBoard = 84,
        cudaDevAttrMultiGpuBoardGroupID = 85,
        cudaDevAttrHostNativeAtomicSupported = 86,
        cudaDevAttrSingleToDoublePrecisionPerfRatio = 87,
        cudaDevAttrPageableMemoryAccess = 88,
        cudaDevAttrConcurrentManagedAccess = 89,
        cudaDevAttrComputePreemptionSupported = 90,
        cudaDevAttrCanUseHostPointerForRegisteredMem = 91,
        cudaDevAttrReserved92 = 92,
        cudaDevAttrReserved93 = 93,
        cudaDevAttrReserved94 = 94,
        cudaDevAttrCooperativeLaunch = 95,
        cudaDevAttrReserved96 = 96,
        cudaDevAttrMaxSharedMemoryPerBlockOptin = 97,
        cudaDevAttrCanFlushRemoteWrites = 98,
        cudaDevAttrHostRegisterSupported = 99,
        cudaDevAttrPageableMemoryAccessUsesHostPageTables = 100,
        cudaDevAttrDirectManagedMemAccessFromHost = 101,
        cudaDevAttrMaxBlocksPerMultiprocessor = 106,
        cudaDevAttrMaxPersistingL2CacheSize = 108,
        cudaDevAttrMaxAccessPolicyWindowSize = 109,
        cudaDevAttrReservedSharedMemoryPerBlock = 111,
        cudaDevAttrSparseCudaArraySupported = 112,
        cudaDevAttrHostRegisterReadOnlySupported = 113,
        cudaDevAttrTimelineSemaphoreInteropSupported = 114,
        cudaDevAttrMemoryPoolsSupported = 115,
        cudaDevAttrGPUDirectRDMASupported = 116,
        cudaDevAttrGPUDirectRDMAFlushWritesOptions = 117,
        cudaDevAttrGPUDirectRDMAWritesOrdering = 118,
        cudaDevAttrMemoryPoolSupportedHandleTypes = 119,
        cudaDevAttrClusterLaunch = 120,
        cudaDevAttrDeferredMappingCudaArraySupported = 121,
        cudaDevAttrReserved122 = 122,
        cudaDevAttrReserved123 = 123,
        cudaDevAttrReserved124 = 124,
        cudaDevAttrIpcEventSupport = 125,
        cudaDevAttrMemSyncDomainCount = 126,
        cudaDevAttrReserved127 = 127,
        cudaDevAttrReserved128 = 128,
        cudaDevAttrReserved129 = 129,
        cudaDevAttrNumaConfig = 130,
        cudaDevAttrNumaId = 131,
        cudaDevAttrReserved132 = 132,
        cudaDevAttrMpsEnabled = 133,
        cudaDevAttrHostNumaId = 134,
        cudaDevAttrD3D12CigSupported = 135,
        cudaDevAttrVulkanCigSupported = 138,
        cudaDevAttrGpuPciDeviceId = 139,
        cudaDevAttrGpuPciSubsystemId = 140,
        cudaDevAttrReserved141 = 141,
        cudaDevAttrHostNumaMemoryPoolsSupported = 142,
        cudaDevAttrHostNumaMultinodeIpcSupported = 143,
        cudaDevAttrHostMemoryPoolsSupported = 144,
        cudaDevAttrReserved145 = 145,
        cudaDevAttrOnlyPartialHostNativeAtomicSupported = 147,
        cudaDevAttrAtomicReductionSupported = 148,
        cudaDevAttrLocalityDomainCount = 149,
        cudaDevAttrOversizedSharedMemoryPerBlock = 150,
        cudaDevAttrCigStreamsSupported = 151,
        cudaDevAttrLocalityDomainMultiprocessorCount = 157,
        cudaDevAttrTensorMapLargeTensorMinSize = 160,
        cudaDevAttrMax = 161,
        cudaDevAttrCooperativeMultiDeviceLaunch = 96,
        cudaDevAttrMaxTimelineSemaphoreInteropSupported = 114,
    }
}

c_enum! {
    cudaDeviceP2PAttr: u32 {
        cudaDevP2PAttrPerformanceRank = 1,
        cudaDevP2PAttrAccessSupported = 2,
        cudaDevP2PAttrNativeAtomicSupported = 3,
        cudaDevP2PAttrCudaArrayAccessSupported = 4,
        cudaDevP2PAttrOnlyPartialNativeAtomicSupported = 5,
    }
}

c_enum! {
    cudaDriverEntryPointQueryResult: u32 {
        cudaDriverEntryPointSuccess = 0,
        cudaDriverEntryPointSymbolNotFound = 1,
        cudaDriverEntryPointVersionNotSufficent = 2,
    }
}

c_enum! {
    cudaError: u32 {
        cudaSuccess = 0,
        cudaErrorInvalidValue = 1,
        cudaErrorMemoryAllocation = 2,
        cudaErrorInitializationError = 3,
        cudaErrorCudartUnloading = 4,
        cudaErrorProfilerDisabled = 5,
        cudaErrorProfilerNotInitialized = 6,
        cudaErrorProfilerAlreadyStarted = 7,
        cudaErrorProfilerAlreadyStopped = 8,
        cudaErrorInvalidConfiguration = 9,
        cudaErrorVersionTranslation = 10,
        cudaErrorInvalidPitchValue = 12,
        cudaErrorInvalidSymbol = 13,
        cudaErrorInvalidHostPointer = 16,
        cudaErrorInvalidDevicePointer = 17,
        cudaErrorInvalidTexture = 18,
        cudaErrorInvalidTextureBinding = 19,
        cudaErrorInvalidChannelDescriptor = 20,
        cudaErrorInvalidMemcpyDirection = 21,
        cudaErrorAddressOfConstant = 22,
        cudaErrorTextureFetchFailed = 23,
        cudaErrorTextureNotBound = 24,
        cudaErrorSynchronizationError = 25,
        cudaErrorInvalidFilterSetting = 26,
        cudaErrorInvalidNormSetting = 27,
        cudaErrorMixedDeviceExecution = 28,
        cudaErrorNotYetImplemented = 31,
        cudaErrorMemoryValueTooLarge = 32,
        cudaErrorStubLibrary = 34,
        cudaErrorInsufficientDriver = 35,
        cudaErrorCallRequiresNewerDriver = 36,
        cudaErrorInvalidSurface = 37,
        cudaErrorDuplicateVariableName = 43,
        cudaErrorDuplicateTextureName = 44,
        cudaErrorDuplicateSurfaceName = 45,
        cudaErrorDevicesUnavailable = 46,
        cudaErrorIncompatibleDriverContext = 49,
        cudaErrorMissingConfiguration = 52,
        cudaErrorPriorLaunchFailure = 53,
        cudaErrorLaunchMaxDepthExceeded = 65,
        cudaErrorLaunchFileScopedTex = 66,
        cudaErrorLaunchFileScopedSurf = 67,
        cudaErrorSyncDepthExceeded = 68,
        cudaErrorLaunchPendingCountExceeded = 69,
        cudaErrorInvalidDeviceFunction = 98,
        cudaErrorNoDevice = 100,
        cudaErrorInvalidDevice = 101,
        cudaErrorDeviceNotLicensed = 102,
        cudaErrorSoftwareValidityNotEstablished = 103,
        cudaErrorStartupFailure = 127,
        cudaErrorInvalidKernelImage = 200,
        cudaErrorDeviceUninitialized = 201,
        cudaErrorMapBufferObjectFailed = 205,
        cudaErrorUnmapBufferObjectFailed = 206,
        cudaErrorArrayIsMapped = 207,
        cudaErrorAlreadyMapped = 208,
        cudaErrorNoKernelImageForDevice = 209,
        cudaErrorAlreadyAcquired = 210,
        cudaErrorNotMapped = 211,
        cudaErrorNotMappedAsArray = 212,
        cudaErrorNotMappedAsPointer = 213,
        cudaErrorECCUncorrectable = 214,
        cudaErrorUnsupportedLimit = 215,
        cudaErrorDeviceAlreadyInUse = 216,
        cudaErrorPeerAccessUnsupported = 217,
        cudaErrorInvalidPtx = 218,
        cudaErrorInvalidGraphicsContext = 219,
        cudaErrorNvlinkUncorrectable = 220,
        cudaErrorJitCompilerNotFound = 221,
        cudaErrorUnsupportedPtxVersion = 222,
        cudaErrorJitCompilationDisabled = 223,
        cudaErrorUnsupportedExecAffinity = 224,
        cudaErrorUnsupportedDevSideSync = 225,
        cudaErrorContained = 226,
        cudaErrorInsufficientLoaderVersion = 227,
        cudaErrorInvalidSource = 300,
        cudaErrorFileNotFound = 301,
        cudaErrorSharedObjectSymbolNotFound = 302,
        cudaErrorSharedObjectInitFailed = 303,
        cudaErrorOperatingSystem = 304,
        cudaErrorInvalidResourceHandle = 400,
        cudaErrorIllegalState = 401,
        cudaErrorLossyQuery = 402,
        cudaErrorSymbolNotFound = 500,
        cudaErrorNotReady = 600,
        cudaErrorIllegalAddress = 700,
        cudaErrorLaunchOutOfResources = 701,
        cudaErrorLaunchTimeout = 702,
        cudaErrorLaunchIncompatibleTexturing = 703,
        cudaErrorPeerAccessAlreadyEnabled = 704,
        cudaErrorPeerAccessNotEnabled = 705,
        cudaErrorSetOnActiveProcess = 708,
        cudaErrorContextIsDestroyed = 709,
        cudaErrorAssert = 710,
        cudaErrorTooManyPeers = 711,
        cudaErrorHostMemoryAlreadyRegistered = 712,
        cudaErrorHostMemoryNotRegistered = 713,
        cudaErrorHardwareStackError = 714,
        cudaErrorIllegalInstruction = 715,
        cudaErrorMisalignedAddress = 716,
        cudaErrorInvalidAddressSpace = 717,
        cudaErrorInvalidPc = 718,
        cudaErrorLaunchFailure = 719,
        cudaErrorCooperativeLaunchTooLarge = 720,
        cudaErrorTensorMemoryLeak = 721,
        cudaErrorNotPermitted = 800,
        cudaErrorNotSupported = 801,
        cudaErrorSystemNotReady = 802,
        cudaErrorSystemDriverMismatch = 803,
        cudaErrorCompatNotSupportedOnDevice = 804,
        cudaErrorMpsConnectionFailed = 805,
        cudaErrorMpsRpcFailure = 806,
        cudaErrorMpsServerNotReady = 807,
        cudaErrorMpsMaxClientsReached = 808,
        cudaErrorMpsMaxConnectionsReached = 809,
        cudaErrorMpsClientTerminated = 810,
        cudaErrorCdpNotSupported = 811,
        cudaErrorCdpVersionMismatch = 812,
        cudaErrorStreamCaptureUnsupported = 900,
        cudaErrorStreamCaptureInvalidated = 901,
        cudaErrorStreamCaptureMerge = 902,
        cudaErrorStreamCaptureUnmatched = 903,
        cudaErrorStreamCaptureUnjoined = 904,
        cudaErrorStreamCaptureIsolation = 905,
        cudaErrorStreamCaptureImplicit = 906,
        cudaErrorCapturedEvent = 907,
        cudaErrorStreamCaptureWrongThread = 908,
        cudaErrorTimeout = 909,
        cudaErrorGraphExecUpdateFailure = 910,
        cudaErrorExternalDevice = 911,
        cudaErrorInvalidClusterSize = 912,
        cudaErrorFunctionNotLoaded = 913,
        cudaErrorInvalidResourceType = 914,
        cudaErrorInvalidResourceConfiguration = 915,
        cudaErrorStreamDetached = 917,
        cudaErrorGraphRecaptureFailure = 918,
        cudaErrorFabricNotReady = 919,
        cudaErrorUnknown = 999,
        cudaErrorApiFailureBase = 10000,
    }
}

c_enum! {
    cudaExternalMemoryHandleType: u32 {
        cudaExternalMemoryHandleTypeOpaqueFd = 1,
        cudaExternalMemoryHandleTypeOpaqueWin32 = 2,
        cudaExternalMemoryHandleTypeOpaqueWin32Kmt = 3,
        cudaExternalMemoryHandleTypeD3D12Heap = 4,
        cudaExternalMemoryHandleTypeD3D12Resource = 5,
        cudaExternalMemoryHandleTypeD3D11Resource = 6,
        cudaExternalMemoryHandleTypeD3D11ResourceKmt = 7,
        cudaExternalMemoryHandleTypeNvSciBuf = 8,
    }
}

c_enum! {
    cudaExternalSemaphoreHandleType: u32 {
        cudaExternalSemaphoreHandleTypeOpaqueFd = 1,
        cudaExternalSemaphoreHandleTypeOpaqueWin32 = 2,
        cudaExternalSemaphoreHandleTypeOpaqueWin32Kmt = 3,
        cudaExternalSemaphoreHandleTypeD3D12Fence = 4,
        cudaExternalSemaphoreHandleTypeD3D11Fence = 5,
        cudaExternalSemaphoreHandleTypeNvSciSync = 6,
        cudaExternalSemaphoreHandleTypeKeyedMutex = 7,
        cudaExternalSemaphoreHandleTypeKeyedMutexKmt = 8,
        cudaExternalSemaphoreHandleTypeTimelineSemaphoreFd = 9,
        cudaExternalSemaphoreHandleTypeTimelineSemaphoreWin32 = 10,
    }
}

c_enum! {
    cudaFlushGPUDirectRDMAWritesScope: u32 {
        cudaFlushGPUDirectRDMAWritesToOwner = 100,
        cudaFlushGPUDirectRDMAWritesToAllDevices = 200,
    }
}

c_enum! {
    cudaFlushGPUDirectRDMAWritesTarget: u32 {
        cudaFlushGPUDirectRDMAWritesTargetCurrentDevice = 0,
    }
}

c_enum! {
    cudaFuncAttribute: u32 {
        cudaFuncAttributeMaxDynamicSharedMemorySize = 8,
        cudaFuncAttributePreferredSharedMemoryCarveout = 9,
        cudaFuncAttributeClusterDimMustBeSet = 10,
        cudaFuncAttributeRequiredClusterWidth = 11,
        cudaFuncAttributeRequiredClusterHeight = 12,
        cudaFuncAttributeRequiredClusterDepth = 13,
        cudaFuncAttributeNonPortableClusterSizeAllowed = 14,
        cudaFuncAttributeClusterSchedulingPolicyPreference = 15,
        cudaFuncAttributeSharedMemoryMode = 16,
        cudaFuncAttributeMax = 17,
    }
}

c_enum! {
    cudaFuncCache: u32 {
        cudaFuncCachePreferNone = 0,
        cudaFuncCachePreferShared = 1,
        cudaFuncCachePreferL1 = 2,
        cudaFuncCachePreferEqual = 3,
    }
}

c_enum! {
    cudaGraphChildGraphNodeOwnership: i32 {
        cudaGraphChildGraphOwnershipClone = 0,
        cudaGraphChildGraphOwnershipMove = 1,
        cudaGraphChildGraphOwnershipInvalid = -1,
    }
}

c_enum! {
    cudaGraphConditionalNodeType: u32 {
        cudaGraphCondTypeIf = 0,
        cudaGraphCondTypeWhile = 1,
        cudaGraphCondTypeSwitch = 2,
    }
}

c_enum! {
    cudaGraphExecUpdateResult: u32 {
        cudaGraphExecUpdateSuccess = 0,
        cudaGraphExecUpdateError = 1,
        cudaGraphExecUpdateErrorTopologyChanged = 2,
        cudaGraphExecUpdateErrorNodeTypeChanged = 3,
        cudaGraphExecUpdateErrorFunctionChanged = 4,
        cudaGraphExecUpdateErrorParametersChanged = 5,
        cudaGraphExecUpdateErrorNotSupported = 6,
        cudaGraphExecUpdateErrorUnsupportedFunctionChange = 7,
        cudaGraphExecUpdateErrorAttributesChanged = 8,
    }
}

c_enum! {
    cudaGraphInstantiateResult: u32 {
        cudaGraphInstantiateSuccess = 0,
        cudaGraphInstantiateError = 1,
        cudaGraphInstantiateInvalidStructure = 2,
        cudaGraphInstantiateNodeOperationNotSupported = 3,
        cudaGraphInstantiateMultipleDevicesNotSupported = 4,
        cudaGraphInstantiateConditionalHandleUnused = 5,
    }
}

c_enum! {
    cudaGraphMemAttributeType: u32 {
        cudaGraphMemAttrUsedMemCurrent = 0,
        cudaGraphMemAttrUsedMemHigh = 1,
        cudaGraphMemAttrReservedMemCurrent = 2,
        cudaGraphMemAttrReservedMemHigh = 3,
    }
}

c_enum! {
    cudaGraphNodeType: u32 {
        cudaGraphNodeTypeKernel = 0,
        cudaGraphNodeTypeMemcpy = 1,
        cudaGraphNodeTypeMemset = 2,
        cudaGraphNodeTypeHost = 3,
        cudaGraphNodeTypeGraph = 4,
        cudaGraphNodeTypeEmpty = 5,
        cudaGraphNodeTypeWaitEvent = 6,
        cudaGraphNodeTypeEventRecord = 7,
        cudaGraphNodeTypeExtSemaphoreSignal = 8,
        cudaGraphNodeTypeExtSemaphoreWait = 9,
        cudaGraphNodeTypeMemAlloc = 10,
        cudaGraphNodeTypeMemFree = 11,
        cudaGraphNodeTypeConditional = 13,
        cudaGraphNodeTypeMemcpyBatch = 14,
        cudaGraphNodeTypeReserved16 = 16,
        cudaGraphNodeTypeExternalEngine = 17,
        cudaGraphNodeTypeCount = 18,
    }
}

c_enum! {
    cudaJitOption: u32 {
        cudaJitMaxRegisters = 0,
        cudaJitThreadsPerBlock = 1,
        cudaJitWallTime = 2,
        cudaJitInfoLogBuffer = 3,
        cudaJitInfoLogBufferSizeBytes = 4,
        cudaJitErrorLogBuffer = 5,
        cudaJitErrorLogBufferSizeBytes = 6,
        cudaJitOptimizationLevel = 7,
        cudaJitFallbackStrategy = 10,
        cudaJitGenerateDebugInfo = 11,
        cudaJitLogVerbose = 12,
        cudaJitGenerateLineInfo = 13,
        cudaJitCacheMode = 14,
        cudaJitPositionIndependentCode = 30,
        cudaJitMinCtaPerSm = 31,
        cudaJitMaxThreadsPerBlock = 32,
        cudaJitOverrideDirectiveValues = 33,
    }
}

c_enum! {
    cudaKernelFunctionType: u32 {
        cudaKernelFunctionTypeUnspecified = 0,
        cudaKernelFunctionTypeDeviceEntry = 1,
        cudaKernelFunctionTypeKernel = 2,
        cudaKernelFunctionTypeFunction = 3,
    }
}

c_enum! {
    cudaLaunchAttributeID: u32 {
        cudaLaunchAttributeIgnore = 0,
        cudaLaunchAttributeAccessPolicyWindow = 1,
        cudaLaunchAttributeCooperative = 2,
        cudaLaunchAttributeSynchronizationPolicy = 3,
        cudaLaunchAttributeClusterDimension = 4,
        cudaLaunchAttributeClusterSchedulingPolicyPreference = 5,
        cudaLaunchAttributeProgrammaticStreamSerialization = 6,
        cudaLaunchAttributeProgrammaticEvent = 7,
        cudaLaunchAttributePriority = 8,
        cudaLaunchAttributeMemSyncDomainMap = 9,
        cudaLaunchAttributeMemSyncDomain = 10,
        cudaLaunchAttributePreferredClusterDimension = 11,
        cudaLaunchAttributeLaunchCompletionEvent = 12,
        cudaLaunchAttributeDeviceUpdatableKernelNode = 13,
        cudaLaunchAttributePreferredSharedMemoryCarveout = 14,
        cudaLaunchAttributeNvlinkUtilCentricScheduling = 16,
        cudaLaunchAttributePortableClusterSizeMode = 17,
        cudaLaunchAttributeSharedMemoryMode = 18,
    }
}

c_enum! {
    cudaLaunchAttributePortableClusterMode: u32 {
        cudaLaunchPortableClusterModeDefault = 0,
        cudaLaunchPortableClusterModeRequirePortable = 1,
        cudaLaunchPortableClusterModeAllowNonPortable = 2,
    }
}

c_enum! {
    cudaLaunchMemSyncDomain: u32 {
        cudaLaunchMemSyncDomainDefault = 0,
        cudaLaunchMemSyncDomainRemote = 1,
    }
}

c_enum! {
    cudaLibraryOption: u32 {
        cudaLibraryHostUniversalFunctionAndDataTable = 0,
        cudaLibraryBinaryIsPreserved = 1,
    }
}

c_enum! {
    cudaLimit: u32 {
        cudaLimitStackSize = 0,
        cudaLimitPrintfFifoSize = 1,
        cudaLimitMallocHeapSize = 2,
        cudaLimitDevRuntimeSyncDepth = 3,
        cudaLimitDevRuntimePendingLaunchCount = 4,
        cudaLimitMaxL2FetchGranularity = 5,
        cudaLimitPersistingL2CacheSize = 6,
        cudaLimitPerBlockMemorySize = 10,
    }
}

c_enum! {
    cudaMemAccessFlags: u32 {
        cudaMemAccessFlagsProtNone = 0,
        cudaMemAccessFlagsProtRead = 1,
        cudaMemAccessFlagsProtReadWrite = 3,
    }
}

c_enum! {
    cudaMemAllocationHandleType: u32 {
        cudaMemHandleTypeNone = 0,
        cudaMemHandleTypePosixFileDescriptor = 1,
        cudaMemHandleTypeWin32 = 2,
        cudaMemHandleTypeWin32Kmt = 4,
        cudaMemHandleTypeFabric = 8,
    }
}

c_enum! {
    cudaMemAllocationType: u32 {
        cudaMemAllocationTypeInvalid = 0,
        cudaMemAllocationTypePinned = 1,
        cudaMemAllocationTypeManaged = 2,
        cudaMemAllocationTypeMax = 2147483647,
    }
}

c_enum! {
    cudaMemLocationType: u32 {
        cudaMemLocationTypeInvalid = 0,
        cudaMemLocationTypeNone = 0,
        cudaMemLocationTypeDevice = 1,
        cudaMemLocationTypeHost = 2,
        cudaMemLocationTypeHostNuma = 3,
        cudaMemLocationTypeHostNumaCurrent = 4,
        cudaMemLocationTypeInvisible = 5,
        cudaMemLocationTypeDeviceLocalityDomain = 6,
    }
}

c_enum! {
    cudaMemPoolAttr: u32 {
        cudaMemPoolReuseFollowEventDependencies = 1,
        cudaMemPoolReuseAllowOpportunistic = 2,
        cudaMemPoolReuseAllowInternalDependencies = 3,
        cudaMemPoolAttrReleaseThreshold = 4,
        cudaMemPoolAttrReservedMemCurrent = 5,
        cudaMemPoolAttrReservedMemHigh = 6,
        cudaMemPoolAttrUsedMemCurrent = 7,
        cudaMemPoolAttrUsedMemHigh = 8,
        cudaMemPoolAttrAllocationType = 9,
        cudaMemPoolAttrExportHandleTypes = 10,
        cudaMemPoolAttrLocationId = 11,
        cudaMemPoolAttrLocationType = 12,
        cudaMemPoolAttrMaxPoolSize = 13,
        cudaMemPoolAttrHwDecompressEnabled = 14,
        cudaMemPoolAttrLocalityDomainId = 15,
    }
}

c_enum! {
    cudaMemRangeAttribute: u32 {
        cudaMemRangeAttributeReadMostly = 1,
        cudaMemRangeAttributePreferredLocation = 2,
        cudaMemRangeAttributeAccessedBy = 3,
        cudaMemRangeAttributeLastPrefetchLocation = 4,
        cudaMemRangeAttributePreferredLocationType = 5,
        cudaMemRangeAttributePreferredLocationId = 6,
        cudaMemRangeAttributeLastPrefetchLocationType = 7,
        cudaMemRangeAttributeLastPrefetchLocationId = 8,
    }
}

c_enum! {
    cudaMemcpy3DOperandType: u32 {
        cudaMemcpyOperandTypePointer = 1,
        cudaMemcpyOperandTypeArray = 2,
        cudaMemcpyOperandTypeMax = 2147483647,
    }
}

c_enum! {
    cudaMemcpyKind: u32 {
        cudaMemcpyHostToHost = 0,
        cudaMemcpyHostToDevice = 1,
        cudaMemcpyDeviceToHost = 2,
        cudaMemcpyDeviceToDevice = 3,
        cudaMemcpyDefault = 4,
    }
}

c_enum! {
    cudaMemcpySrcAccessOrder: u32 {
        cudaMemcpySrcAccessOrderInvalid = 0,
        cudaMemcpySrcAccessOrderStream = 1,
        cudaMemcpySrcAccessOrderDuringApiCall = 2,
        cudaMemcpySrcAccessOrderAny = 3,
        cudaMemcpySrcAccessOrderMax = 2147483647,
    }
}

c_enum! {
    cudaMemoryAdvise: u32 {
        cudaMemAdviseSetReadMostly = 1,
        cudaMemAdviseUnsetReadMostly = 2,
        cudaMemAdviseSetPreferredLocation = 3,
        cudaMemAdviseUnsetPreferredLocation = 4,
        cudaMemAdviseSetAccessedBy = 5,
        cudaMemAdviseUnsetAccessedBy = 6,
    }
}

c_enum! {
    cudaMemoryType: u32 {
        cudaMemoryTypeUnregistered = 0,
        cudaMemoryTypeHost = 1,
        cudaMemoryTypeDevice = 2,
        cudaMemoryTypeManaged = 3,
    }
}

c_enum! {
    cudaResourceType: u32 {
        cudaResourceTypeArray = 0,
        cudaResourceTypeMipmappedArray = 1,
        cudaResourceTypeLinear = 2,
        cudaResourceTypePitch2D = 3,
    }
}

c_enum! {
    cudaResourceViewFormat: u32 {
        cudaResViewFormatNone = 0,
        cudaResViewFormatUnsignedChar1 = 1,
        cudaResViewFormatUnsignedChar2 = 2,
        cudaResViewFormatUnsignedChar4 = 3,
        cudaResViewFormatSignedChar1 = 4,
        cudaResViewFormatSignedChar2 = 5,
        cudaResViewFormatSignedChar4 = 6,
        cudaResViewFormatUnsignedShort1 = 7,
        cudaResViewFormatUnsignedShort2 = 8,
        cudaResViewFormatUnsignedShort4 = 9,
        cudaResViewFormatSignedShort1 = 10,
        cudaResViewFormatSignedShort2 = 11,
        cudaResViewFormatSignedShort4 = 12,
        cudaResViewFormatUnsignedInt1 = 13,
        cudaResViewFormatUnsignedInt2 = 14,
        cudaResViewFormatUnsignedInt4 = 15,
        cudaResViewFormatSignedInt1 = 16,
        cudaResViewFormatSignedInt2 = 17,
        cudaResViewFormatSignedInt4 = 18,
        cudaResViewFormatHalf1 = 19,
        cudaResViewFormatHalf2 = 20,
        cudaResViewFormatHalf4 = 21,
        cudaResViewFormatFloat1 = 22,
        cudaResViewFormatFloat2 = 23,
        cudaResViewFormatFloat4 = 24,
        cudaResViewFormatUnsignedBlockCompressed1 = 25,
        cudaResViewFormatUnsignedBlockCompressed2 = 26,
        cudaResViewFormatUnsignedBlockCompressed3 = 27,
        cudaResViewFormatUnsignedBlockCompressed4 = 28,
        cudaResViewFormatSignedBlockCompressed4 = 29,
        cudaResViewFormatUnsignedBlockCompressed5 = 30,
        cudaResViewFormatSignedBlockCompressed5 = 31,
        cudaResViewFormatUnsignedBlockCompressed6H = 32,
        cudaResViewFormatSignedBlockCompressed6H = 33,
        cudaResViewFormatUnsignedBlockCompressed7 = 34,
    }
}

c_enum! {
    cudaSharedMemConfig: u32 {
        cudaSharedMemBankSizeDefault = 0,
        cudaSharedMemBankSizeFourByte = 1,
        cudaSharedMemBankSizeEightByte = 2,
    }
}

c_enum! {
    cudaSharedMemoryMode: u32 {
        cudaSharedMemoryModeDefault = 0,
        cudaSharedMemoryModeRequirePortable = 1,
        cudaSharedMemoryModeAllowNonPortable = 2,
        cudaSharedMemoryModeAllowOversizedSharedMemory = 3,
        cudaSharedMemoryModePreferOversizedSharedMemory = 4,
    }
}

c_enum! {
    cudaStreamCaptureMode: u32 {
        cudaStreamCaptureModeGlobal = 0,
        cudaStreamCaptureModeThreadLocal = 1,
        cudaStreamCaptureModeRelaxed = 2,
    }
}

c_enum! {
    cudaStreamCaptureStatus: u32 {
        cudaStreamCaptureStatusNone = 0,
        cudaStreamCaptureStatusActive = 1,
        cudaStreamCaptureStatusInvalidated = 2,
    }
}

c_enum! {
    cudaSynchronizationPolicy: u32 {
        cudaSyncPolicyAuto = 1,
        cudaSyncPolicySpin = 2,
        cudaSyncPolicyYield = 3,
        cudaSyncPolicyBlockingSync = 4,
    }
}

c_enum! {
    cudaTextureAddressMode: u32 {
        cudaAddressModeWrap = 0,
        cudaAddressModeClamp = 1,
        cudaAddressModeMirror = 2,
        cudaAddressModeBorder = 3,
    }
}

c_enum! {
    cudaTextureFilterMode: u32 {
        cudaFilterModePoint = 0,
        cudaFilterModeLinear = 1,
    }
}

c_enum! {
    cudaTextureReadMode: u32 {
        cudaReadModeElementType = 0,
        cudaReadModeNormalizedFloat = 1,
    }
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaChannelFormatDesc {
    pub x: i32,
    pub y: i32,
    pub z: i32,
    pub w: i32,
    pub f: cudaChannelFormatKind,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaIpcEventHandle {
    pub reserved: [c_char; 64],
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaIpcMemHandle {
    pub reserved: [c_char; 64],
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaDeviceProp {
    pub name: [c_char; 256],
    pub uuid: CUuuid,
    pub luid: [c_char; 8],
    pub luidDeviceNodeMask: u32,
    pub totalGlobalMem: usize,
    pub sharedMemPerBlock: usize,
    pub regsPerBlock: i32,
    pub warpSize: i32,
    pub memPitch: usize,
    pub maxThreadsPerBlock: i32,
    pub maxThreadsDim: [i32; 3],
    pub maxGridSize: [i32; 3],
    pub totalConstMem: usize,
    pub major: i32,
    pub minor: i32,
    pub textureAlignment: usize,
    pub texturePitchAlignment: usize,
    pub multiProcessorCount: i32,
    pub integrated: i32,
    pub canMapHostMemory: i32,
    pub maxTexture1D: i32,
    pub maxTexture1DMipmap: i32,
    pub maxTexture2D: [i32; 2],
    pub maxTexture2DMipmap: [i32; 2],
    pub maxTexture2DLinear: [i32; 3],
    pub maxTexture2DGather: [i32; 2],
    pub maxTexture3D: [i32; 3],
    pub maxTexture3DAlt: [i32; 3],
    pub maxTextureCubemap: i32,
    pub maxTexture1DLayered: [i32; 2],
    pub maxTexture2DLayered: [i32; 3],
    pub maxTextureCubemapLayered: [i32; 2],
    pub maxSurface1D: i32,
    pub maxSurface2D: [i32; 2],
    pub maxSurface3D: [i32; 3],
    pub maxSurface1DLayered: [i32; 2],
    pub maxSurface2DLayered: [i32; 3],
    pub maxSurfaceCubemap: i32,
    pub maxSurfaceCubemapLayered: [i32; 2],
    pub surfaceAlignment: usize,
    pub concurrentKernels: i32,
    pub ECCEnabled: i32,
    pub pciBusID: i32,
    pub pciDeviceID: i32,
    pub pciDomainID: i32,
    pub tccDriver: i32,
    pub asyncEngineCount: i32,
    pub unifiedAddressing: i32,
    pub memoryBusWidth: i32,
    pub l2CacheSize: i32,
    pub persistingL2CacheMaxSize: i32,
    pub maxThreadsPerMultiProcessor: i32,
    pub streamPrioritiesSupported: i32,
    pub globalL1CacheSupported: i32,
    pub localL1CacheSupported: i32,
    pub sharedMemPerMultiprocessor: usize,
    pub regsPerMultiprocessor: i32,
    pub managedMemory: i32,
    pub isMultiGpuBoard: i32,
    pub multiGpuBoardGroupID: i32,
    pub hostNativeAtomicSupported: i32,
    pub pageableMemoryAccess: i32,
    pub concurrentManagedAccess: i32,
    pub computePreemptionSupported: i32,
    pub canUseHostPointerForRegisteredMem: i32,
    pub cooperativeLaunch: i32,
    pub sharedMemPerBlockOptin: usize,
    pub pageableMemoryAccessUsesHostPageTables: i32,
    pub directManagedMemAccessFromHost: i32,
    pub maxBlocksPerMultiProcessor: i32,
    pub accessPolicyMaxWindowSize: i32,
    pub reservedSharedMemPerBlock: usize,
    pub hostRegisterSupported: i32,
    pub sparseCudaArraySupported: i32,
    pub hostRegisterReadOnlySupported: i32,
    pub timelineSemaphoreInteropSupported: i32,
    pub memoryPoolsSupported: i32,
    pub gpuDirectRDMASupported: i32,
    pub gpuDirectRDMAFlushWritesOptions: u32,
    pub gpuDirectRDMAWritesOrdering: i32,
    pub memoryPoolSupportedHandleTypes: u32,
    pub deferredMappingCudaArraySupported: i32,
    pub ipcEventSupported: i32,
    pub clusterLaunch: i32,
    pub unifiedFunctionPointers: i32,
    pub deviceNumaConfig: i32,
    pub deviceNumaId: i32,
    pub mpsEnabled: i32,
    pub hostNumaId: i32,
    pub gpuPciDeviceID: u32,
    pub gpuPciSubsystemID: u32,
    pub hostNumaMultinodeIpcSupported: i32,
    pub reserved: [i32; 56],
}

#[derive(Clone, Copy)]
#[repr(C)]
pub union cudaLaunchAttributeValue {
    pub pad: [c_char; 64],
    pub accessPolicyWindow: cudaAccessPolicyWindow,
    pub cooperative: i32,
    pub syncPolicy: cudaSynchronizationPolicy,
    pub clusterDim: cudaLaunchAttributeValue_clusterDim,
    pub clusterSchedulingPolicyPreference: cudaClusterSchedulingPolicy,
    pub programmaticStreamSerializationAllowed: i32,
    pub programmaticEvent: cudaLaunchAttributeValue_programmaticEvent,
    pub priority: i32,
    pub memSyncDomainMap: cudaLaunchMemSyncDomainMap,
    pub memSyncDomain: cudaLaunchMemSyncDomain,
    pub preferredClusterDim: cudaLaunchAttributeValue_preferredClusterDim,
    pub launchCompletionEvent: cudaLaunchAttributeValue_launchCompletionEvent,
    pub deviceUpdatableKernelNode: cudaLaunchAttributeValue_deviceUpdatableKernelNode,
    pub sharedMemCarveout: u32,
    pub nvlinkUtilCentricScheduling: u32,
    pub portableClusterSizeMode: cudaLaunchAttributePortableClusterMode,
    pub sharedMemoryMode: cudaSharedMemoryMode,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaAccessPolicyWindow {
    pub base_ptr: *mut c_void,
    pub num_bytes: usize,
    pub hitRatio: f32,
    pub hitProp: cudaAccessProperty,
    pub missProp: cudaAccessProperty,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaLaunchAttributeValue_clusterDim {
    pub x: u32,
    pub y: u32,
    pub z: u32,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaLaunchAttributeValue_programmaticEvent {
    pub event: CUevent,
    pub flags: i32,
    pub triggerAtBlockStart: i32,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaLaunchMemSyncDomainMap {
    pub default_: u8,
    pub remote: u8,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaLaunchAttributeValue_preferredClusterDim {
    pub x: u32,
    pub y: u32,
    pub z: u32,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaLaunchAttributeValue_launchCompletionEvent {
    pub event: CUevent,
    pub flags: i32,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaLaunchAttributeValue_deviceUpdatableKernelNode {
    pub deviceUpdatable: i32,
    pub devNode: CUgraphDeviceNode,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaGraphRecaptureCallbackData {
    pub callbackFunc: CUhostPointer,
    pub userData: *mut c_void,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaGraphEdgeData {
    pub from_port: u8,
    pub to_port: u8,
    pub r#type: u8,
    pub reserved: [u8; 5],
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaExternalMemoryHandleDesc {
    pub r#type: cudaExternalMemoryHandleType,
    pub handle: cudaExternalMemoryHandleDesc_handle,
    pub size: u64,
    pub flags: u32,
    pub reserved: [u32; 16],
}

#[derive(Clone, Copy)]
#[repr(C)]
pub union cudaExternalMemoryHandleDesc_handle {
    pub fd: i32,
    pub win32: cudaExternalMemoryHandleDesc_handle_win32,
    pub nvSciBufObject: *const c_void,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaExternalMemoryHandleDesc_handle_win32 {
    pub handle: *mut c_void,
    pub name: *const c_void,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaExternalMemoryBufferDesc {
    pub offset: u64,
    pub size: u64,
    pub flags: u32,
    pub reserved: [u32; 16],
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaExternalMemoryMipmappedArrayDesc {
    pub offset: u64,
    pub formatDesc: cudaChannelFormatDesc,
    pub extent: cudaExtent,
    pub flags: u32,
    pub numLevels: u32,
    pub reserved: [u32; 16],
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaExtent {
    pub width: usize,
    pub height: usize,
    pub depth: usize,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaExternalSemaphoreHandleDesc {
    pub r#type: cudaExternalSemaphoreHandleType,
    pub handle: cudaExternalSemaphoreHandleDesc_handle,
    pub flags: u32,
    pub reserved: [u32; 16],
}

#[derive(Clone, Copy)]
#[repr(C)]
pub union cudaExternalSemaphoreHandleDesc_handle {
    pub fd: i32,
    pub win32: cudaExternalSemaphoreHandleDesc_handle_win32,
    pub nvSciSyncObj: *const c_void,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaExternalSemaphoreHandleDesc_handle_win32 {
    pub handle: *mut c_void,
    pub name: *const c_void,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaExternalSemaphoreSignalParams {
    pub params: cudaExternalSemaphoreSignalParams_params,
    pub flags: u32,
    pub reserved: [u32; 16],
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaExternalSemaphoreSignalParams_params {
    pub fence: cudaExternalSemaphoreSignalParams_params_fence,
    pub nvSciSync: cudaExternalSemaphoreSignalParams_params_nvSciSync,
    pub keyedMutex: cudaExternalSemaphoreSignalParams_params_keyedMutex,
    pub reserved: [u32; 12],
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaExternalSemaphoreSignalParams_params_fence {
    pub value: u64,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub union cudaExternalSemaphoreSignalParams_params_nvSciSync {
    pub fence: *mut c_void,
    pub reserved: u64,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaExternalSemaphoreSignalParams_params_keyedMutex {
    pub key: u64,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaExternalSemaphoreWaitParams {
    pub params: cudaExternalSemaphoreWaitParams_params,
    pub flags: u32,
    pub reserved: [u32; 16],
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaExternalSemaphoreWaitParams_params {
    pub fence: cudaExternalSemaphoreWaitParams_params_fence,
    pub nvSciSync: cudaExternalSemaphoreWaitParams_params_nvSciSync,
    pub keyedMutex: cudaExternalSemaphoreWaitParams_params_keyedMutex,
    pub reserved: [u32; 10],
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaExternalSemaphoreWaitParams_params_fence {
    pub value: u64,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub union cudaExternalSemaphoreWaitParams_params_nvSciSync {
    pub fence: *mut c_void,
    pub reserved: u64,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaExternalSemaphoreWaitParams_params_keyedMutex {
    pub key: u64,
    pub timeoutMs: u32,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct dim3 {
    pub x: u32,
    pub y: u32,
    pub z: u32,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaLaunchConfig {
    pub gridDim: dim3,
    pub blockDim: dim3,
    pub dynamicSmemBytes: usize,
    pub stream: CUstream,
    pub attrs: *mut cudaLaunchAttribute,
    pub numAttrs: u32,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaLaunchAttribute {
    pub id: cudaLaunchAttributeID,
    pub pad: [c_char; 4],
    pub val: cudaLaunchAttributeValue,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaFuncAttributes {
    pub sharedSizeBytes: usize,
    pub constSizeBytes: usize,
    pub localSizeBytes: usize,
    pub maxThreadsPerBlock: i32,
    pub numRegs: i32,
    pub ptxVersion: i32,
    pub binaryVersion: i32,
    pub cacheModeCA: i32,
    pub maxDynamicSharedSizeBytes: i32,
    pub preferredShmemCarveout: i32,
    pub clusterDimMustBeSet: i32,
    pub requiredClusterWidth: i32,
    pub requiredClusterHeight: i32,
    pub requiredClusterDepth: i32,
    pub clusterSchedulingPolicyPreference: i32,
    pub nonPortableClusterSizeAllowed: i32,
    pub deviceNodeUpdateStatus: i32,
    pub sharedMemoryMode: cudaSharedMemoryMode,
    pub reserved: [i32; 14],
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaPitchedPtr {
    pub ptr: *mut c_void,
    pub pitch: usize,
    pub xsize: usize,
    pub ysize: usize,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaMemcpy3DParms {
    pub srcArray: CUarray,
    pub srcPos: cudaPos,
    pub srcPtr: cudaPitchedPtr,
    pub dstArray: CUarray,
    pub dstPos: cudaPos,
    pub dstPtr: cudaPitchedPtr,
    pub extent: cudaExtent,
    pub kind: cudaMemcpyKind,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaPos {
    pub x: usize,
    pub y: usize,
    pub z: usize,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaMemcpy3DPeerParms {
    pub srcArray: CUarray,
    pub srcPos: cudaPos,
    pub srcPtr: cudaPitchedPtr,
    pub srcDevice: i32,
    pub dstArray: CUarray,
    pub dstPos: cudaPos,
    pub dstPtr: cudaPitchedPtr,
    pub dstDevice: i32,
    pub extent: cudaExtent,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaArrayMemoryRequirements {
    pub size: usize,
    pub alignment: usize,
    pub reserved: [u32; 4],
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaArraySparseProperties {
    pub tileExtent: cudaArraySparseProperties_tileExtent,
    pub miptailFirstLevel: u32,
    pub miptailSize: u64,
    pub flags: u32,
    pub reserved: [u32; 4],
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaArraySparseProperties_tileExtent {
    pub width: u32,
    pub height: u32,
    pub depth: u32,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaMemcpyAttributes {
    pub srcAccessOrder: cudaMemcpySrcAccessOrder,
    pub srcLocHint: cudaMemLocation,
    pub dstLocHint: cudaMemLocation,
    pub flags: u32,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaMemLocation {
    pub r#type: cudaMemLocationType,
    pub anonymous0: cudaMemLocation_anonymous0,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub union cudaMemLocation_anonymous0 {
    pub id: i32,
    pub localized: cudaMemLocation_anonymous0_localized,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaMemLocation_anonymous0_localized {
    pub deviceId: u8,
    pub localityDomainId: u8,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaMemcpy3DBatchOp {
    pub src: cudaMemcpy3DOperand,
    pub dst: cudaMemcpy3DOperand,
    pub extent: cudaExtent,
    pub srcAccessOrder: cudaMemcpySrcAccessOrder,
    pub flags: u32,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaMemcpy3DOperand {
    pub r#type: cudaMemcpy3DOperandType,
    pub op: cudaMemcpy3DOperand_op,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub union cudaMemcpy3DOperand_op {
    pub ptr: cudaMemcpy3DOperand_op_ptr,
    pub array: cudaMemcpy3DOperand_op_array,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaMemcpy3DOperand_op_ptr {
    pub ptr: *mut c_void,
    pub rowLength: usize,
    pub layerHeight: usize,
    pub locHint: cudaMemLocation,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaMemcpy3DOperand_op_array {
    pub array: CUarray,
    pub offset: cudaOffset3D,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaOffset3D {
    pub x: usize,
    pub y: usize,
    pub z: usize,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaMemAccessDesc {
    pub location: cudaMemLocation,
    pub flags: cudaMemAccessFlags,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaMemPoolProps {
    pub allocType: cudaMemAllocationType,
    pub handleTypes: cudaMemAllocationHandleType,
    pub location: cudaMemLocation,
    pub win32SecurityAttributes: *mut c_void,
    pub maxSize: usize,
    pub usage: u16,
    pub reserved: [u8; 53],
    pub reserved1: u8,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaMemPoolPtrExportData {
    pub reserved: [u8; 64],
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaPointerAttributes {
    pub r#type: cudaMemoryType,
    pub device: i32,
    pub devicePointer: *mut c_void,
    pub hostPointer: *mut c_void,
    pub anonymous0: cudaPointerAttributes_anonymous0,
    pub reserved: [i64; 7],
}

#[derive(Clone, Copy)]
#[repr(C)]
pub union cudaPointerAttributes_anonymous0 {
    pub localityDomainOrdinal: i32,
    pub unused: i64,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaResourceDesc {
    pub resType: cudaResourceType,
    pub res: cudaResourceDesc_res,
    pub flags: u32,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub union cudaResourceDesc_res {
    pub array: cudaResourceDesc_res_array,
    pub mipmap: cudaResourceDesc_res_mipmap,
    pub linear: cudaResourceDesc_res_linear,
    pub pitch2D: cudaResourceDesc_res_pitch2D,
    pub reserved: cudaResourceDesc_res_reserved,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaResourceDesc_res_array {
    pub array: CUarray,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaResourceDesc_res_mipmap {
    pub mipmap: CUmipmappedArray,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaResourceDesc_res_linear {
    pub devPtr: *mut c_void,
    pub desc: cudaChannelFormatDesc,
    pub sizeInBytes: usize,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaResourceDesc_res_pitch2D {
    pub devPtr: *mut c_void,
    pub desc: cudaChannelFormatDesc,
    pub width: usize,
    pub height: usize,
    pub pitchInBytes: usize,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaResourceDesc_res_reserved {
    pub reserved: [i32; 32],
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaTextureDesc {
    pub addressMode: [cudaTextureAddressMode; 3],
    pub filterMode: cudaTextureFilterMode,
    pub readMode: cudaTextureReadMode,
    pub sRGB: i32,
    pub borderColor: [f32; 4],
    pub normalizedCoords: i32,
    pub maxAnisotropy: u32,
    pub mipmapFilterMode: cudaTextureFilterMode,
    pub mipmapLevelBias: f32,
    pub minMipmapLevelClamp: f32,
    pub maxMipmapLevelClamp: f32,
    pub disableTrilinearOptimization: i32,
    pub seamlessCubemap: i32,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaResourceViewDesc {
    pub format: cudaResourceViewFormat,
    pub width: usize,
    pub height: usize,
    pub depth: usize,
    pub firstMipmapLevel: u32,
    pub lastMipmapLevel: u32,
    pub firstLayer: u32,
    pub lastLayer: u32,
    pub reserved: [u32; 16],
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaKernelNodeParams {
    pub func: *mut c_void,
    pub gridDim: dim3,
    pub blockDim: dim3,
    pub sharedMemBytes: u32,
    pub kernelParams: *mut *mut c_void,
    pub extra: *mut *mut c_void,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaMemsetParams {
    pub dst: *mut c_void,
    pub pitch: usize,
    pub value: u32,
    pub elementSize: u32,
    pub width: usize,
    pub height: usize,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaHostNodeParams {
    pub r#fn: CUhostPointer,
    pub userData: *mut c_void,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaExternalSemaphoreSignalNodeParams {
    pub extSemArray: *mut CUexternalSemaphore,
    pub paramsArray: *const cudaExternalSemaphoreSignalParams,
    pub numExtSems: u32,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaExternalSemaphoreWaitNodeParams {
    pub extSemArray: *mut CUexternalSemaphore,
    pub paramsArray: *const cudaExternalSemaphoreWaitParams,
    pub numExtSems: u32,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaMemAllocNodeParams {
    pub poolProps: cudaMemPoolProps,
    pub accessDescs: *const cudaMemAccessDesc,
    pub accessDescCount: usize,
    pub bytesize: usize,
    pub dptr: *mut c_void,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaGraphInstantiateParams {
    pub flags: u64,
    pub uploadStream: CUstream,
    pub errNode_out: CUgraphNode,
    pub result_out: cudaGraphInstantiateResult,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaGraphExecUpdateResultInfo {
    pub result: cudaGraphExecUpdateResult,
    pub errorNode: CUgraphNode,
    pub errorFromNode: CUgraphNode,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaGraphNodeParams {
    pub r#type: cudaGraphNodeType,
    pub reserved0: [i32; 3],
    pub anonymous0: cudaGraphNodeParams_anonymous0,
    pub reserved2: i64,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub union cudaGraphNodeParams_anonymous0 {
    pub reserved1: [i64; 29],
    pub kernel: cudaKernelNodeParamsV2,
    pub memcpy: cudaMemcpyNodeParams,
    pub memset: cudaMemsetParamsV2,
    pub host: cudaHostNodeParamsV2,
    pub graph: cudaChildGraphNodeParams,
    pub eventWait: cudaEventWaitNodeParams,
    pub eventRecord: cudaEventRecordNodeParams,
    pub extSemSignal: cudaExternalSemaphoreSignalNodeParamsV2,
    pub extSemWait: cudaExternalSemaphoreWaitNodeParamsV2,
    pub alloc: cudaMemAllocNodeParamsV2,
    pub free: cudaMemFreeNodeParams,
    pub conditional: cudaConditionalNodeParams,
    pub memcpyBatch: cudaMemcpyBatchNodeParams,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaKernelNodeParamsV2 {
    pub anonymous0: cudaKernelNodeParamsV2_anonymous0,
    pub gridDim: dim3,
    pub blockDim: dim3,
    pub sharedMemBytes: u32,
    pub kernelParams: *mut *mut c_void,
    pub extra: *mut *mut c_void,
    pub ctx: CUgreenCtx,
    pub functionType: cudaKernelFunctionType,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub union cudaKernelNodeParamsV2_anonymous0 {
    pub func: *mut c_void,
    pub kern: CUkernel,
    pub cuFunc: CUfunction,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaMemcpyNodeParams {
    pub flags: i32,
    pub reserved: i32,
    pub ctx: CUgreenCtx,
    pub copyParams: cudaMemcpy3DParms,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaMemsetParamsV2 {
    pub dst: *mut c_void,
    pub pitch: usize,
    pub value: u32,
    pub elementSize: u32,
    pub width: usize,
    pub height: usize,
    pub ctx: CUgreenCtx,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaHostNodeParamsV2 {
    pub r#fn: CUhostPointer,
    pub userData: *mut c_void,
    pub syncMode: u32,
    pub ctx: CUgreenCtx,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaChildGraphNodeParams {
    pub graph: CUgraph,
    pub ownership: cudaGraphChildGraphNodeOwnership,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaEventWaitNodeParams {
    pub event: CUevent,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaEventRecordNodeParams {
    pub event: CUevent,
    pub ctx: CUgreenCtx,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaExternalSemaphoreSignalNodeParamsV2 {
    pub extSemArray: *mut CUexternalSemaphore,
    pub paramsArray: *const cudaExternalSemaphoreSignalParams,
    pub numExtSems: u32,
    pub ctx: CUgreenCtx,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaExternalSemaphoreWaitNodeParamsV2 {
    pub extSemArray: *mut CUexternalSemaphore,
    pub paramsArray: *const cudaExternalSemaphoreWaitParams,
    pub numExtSems: u32,
    pub ctx: CUgreenCtx,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaMemAllocNodeParamsV2 {
    pub poolProps: cudaMemPoolProps,
    pub accessDescs: *const cudaMemAccessDesc,
    pub accessDescCount: usize,
    pub bytesize: usize,
    pub dptr: *mut c_void,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaMemFreeNodeParams {
    pub dptr: *mut c_void,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaConditionalNodeParams {
    pub handle: u64,
    pub r#type: cudaGraphConditionalNodeType,
    pub size: u32,
    pub phGraph_out: *mut CUgraph,
    pub ctx: CUgreenCtx,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaMemcpyBatchNodeParams {
    pub count: usize,
    pub dsts: *mut *mut c_void,
    pub srcs: *mut *mut c_void,
    pub sizes: *mut usize,
    pub attrs: *mut cudaMemcpyAttributes,
    pub attrsIdxs: *mut usize,
    pub numAttrs: usize,
    pub ctx: CUgreenCtx,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaDevResource {
    pub r#type: cudaDevResourceType,
    pub _internal_padding: [u8; 92],
    pub anonymous0: cudaDevResource_anonymous0,
    pub nextResource: *mut cudaDevResource,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub union cudaDevResource_anonymous0 {
    pub sm: cudaDevSmResource,
    pub wqConfig: cudaDevWorkqueueConfigResource,
    pub wq: cudaDevWorkqueueResource,
    pub _oversize: [u8; 40],
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaDevSmResource {
    pub smCount: u32,
    pub minSmPartitionSize: u32,
    pub smCoscheduledAlignment: u32,
    pub flags: u32,
    pub localityDomainId: u32,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaDevWorkqueueConfigResource {
    pub device: i32,
    pub wqConcurrencyLimit: u32,
    pub sharingScope: cudaDevWorkqueueConfigScope,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaDevWorkqueueResource {
    pub reserved: [u8; 40],
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaDevSmResourceGroupParams {
    pub smCount: u32,
    pub coscheduledSmCount: u32,
    pub preferredCoscheduledSmCount: u32,
    pub flags: u32,
    pub localityDomainId: u32,
    pub reserved: [u32; 11],
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaDeviceProp_v12 {
    pub name: [c_char; 256],
    pub uuid: CUuuid,
    pub luid: [c_char; 8],
    pub luidDeviceNodeMask: u32,
    pub totalGlobalMem: usize,
    pub sharedMemPerBlock: usize,
    pub regsPerBlock: i32,
    pub warpSize: i32,
    pub memPitch: usize,
    pub maxThreadsPerBlock: i32,
    pub maxThreadsDim: [i32; 3],
    pub maxGridSize: [i32; 3],
    pub clockRate: i32,
    pub totalConstMem: usize,
    pub major: i32,
    pub minor: i32,
    pub textureAlignment: usize,
    pub texturePitchAlignment: usize,
    pub deviceOverlap: i32,
    pub multiProcessorCount: i32,
    pub kernelExecTimeoutEnabled: i32,
    pub integrated: i32,
    pub canMapHostMemory: i32,
    pub computeMode: i32,
    pub maxTexture1D: i32,
    pub maxTexture1DMipmap: i32,
    pub maxTexture1DLinear: i32,
    pub maxTexture2D: [i32; 2],
    pub maxTexture2DMipmap: [i32; 2],
    pub maxTexture2DLinear: [i32; 3],
    pub maxTexture2DGather: [i32; 2],
    pub maxTexture3D: [i32; 3],
    pub maxTexture3DAlt: [i32; 3],
    pub maxTextureCubemap: i32,
    pub maxTexture1DLayered: [i32; 2],
    pub maxTexture2DLayered: [i32; 3],
    pub maxTextureCubemapLayered: [i32; 2],
    pub maxSurface1D: i32,
    pub maxSurface2D: [i32; 2],
    pub maxSurface3D: [i32; 3],
    pub maxSurface1DLayered: [i32; 2],
    pub maxSurface2DLayered: [i32; 3],
    pub maxSurfaceCubemap: i32,
    pub maxSurfaceCubemapLayered: [i32; 2],
    pub surfaceAlignment: usize,
    pub concurrentKernels: i32,
    pub ECCEnabled: i32,
    pub pciBusID: i32,
    pub pciDeviceID: i32,
    pub pciDomainID: i32,
    pub tccDriver: i32,
    pub asyncEngineCount: i32,
    pub unifiedAddressing: i32,
    pub memoryClockRate: i32,
    pub memoryBusWidth: i32,
    pub l2CacheSize: i32,
    pub persistingL2CacheMaxSize: i32,
    pub maxThreadsPerMultiProcessor: i32,
    pub streamPrioritiesSupported: i32,
    pub globalL1CacheSupported: i32,
    pub localL1CacheSupported: i32,
    pub sharedMemPerMultiprocessor: usize,
    pub regsPerMultiprocessor: i32,
    pub managedMemory: i32,
    pub isMultiGpuBoard: i32,
    pub multiGpuBoardGroupID: i32,
    pub hostNativeAtomicSupported: i32,
    pub singleToDoublePrecisionPerfRatio: i32,
    pub pageableMemoryAccess: i32,
    pub concurrentManagedAccess: i32,
    pub computePreemptionSupported: i32,
    pub canUseHostPointerForRegisteredMem: i32,
    pub cooperativeLaunch: i32,
    pub cooperativeMultiDeviceLaunch: i32,
    pub sharedMemPerBlockOptin: usize,
    pub pageableMemoryAccessUsesHostPageTables: i32,
    pub directManagedMemAccessFromHost: i32,
    pub maxBlocksPerMultiProcessor: i32,
    pub accessPolicyMaxWindowSize: i32,
    pub reservedSharedMemPerBlock: usize,
    pub hostRegisterSupported: i32,
    pub sparseCudaArraySupported: i32,
    pub hostRegisterReadOnlySupported: i32,
    pub timelineSemaphoreInteropSupported: i32,
    pub memoryPoolsSupported: i32,
    pub gpuDirectRDMASupported: i32,
    pub gpuDirectRDMAFlushWritesOptions: u32,
    pub gpuDirectRDMAWritesOrdering: i32,
    pub memoryPoolSupportedHandleTypes: u32,
    pub deferredMappingCudaArraySupported: i32,
    pub ipcEventSupported: i32,
    pub clusterLaunch: i32,
    pub unifiedFunctionPointers: i32,
    pub reserved: [i32; 63],
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaExternalMemoryHandleDesc_v12 {
    pub r#type: cudaExternalMemoryHandleType,
    pub handle: cudaExternalMemoryHandleDesc_handle,
    pub size: u64,
    pub flags: u32,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaExternalMemoryBufferDesc_v12 {
    pub offset: u64,
    pub size: u64,
    pub flags: u32,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaExternalMemoryMipmappedArrayDesc_v12 {
    pub offset: u64,
    pub formatDesc: cudaChannelFormatDesc,
    pub extent: cudaExtent,
    pub flags: u32,
    pub numLevels: u32,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaExternalSemaphoreHandleDesc_v12 {
    pub r#type: cudaExternalSemaphoreHandleType,
    pub handle: cudaExternalSemaphoreHandleDesc_handle,
    pub flags: u32,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaLaunchParams {
    pub func: *mut c_void,
    pub gridDim: dim3,
    pub blockDim: dim3,
    pub args: *mut *mut c_void,
    pub sharedMem: usize,
    pub stream: CUstream,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaPointerAttributes_v12 {
    pub r#type: cudaMemoryType,
    pub device: i32,
    pub devicePointer: *mut c_void,
    pub hostPointer: *mut c_void,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaResourceDesc_v12 {
    pub resType: cudaResourceType,
    pub res: cudaResourceDesc_res_v12,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub union cudaResourceDesc_res_v12 {
    pub array: cudaResourceDesc_res_array,
    pub mipmap: cudaResourceDesc_res_mipmap,
    pub linear: cudaResourceDesc_res_linear,
    pub pitch2D: cudaResourceDesc_res_pitch2D,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaResourceViewDesc_v12 {
    pub format: cudaResourceViewFormat,
    pub width: usize,
    pub height: usize,
    pub depth: usize,
    pub firstMipmapLevel: u32,
    pub lastMipmapLevel: u32,
    pub firstLayer: u32,
    pub lastLayer: u32,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaGraphNodeParams_v12 {
    pub r#type: cudaGraphNodeType,
    pub reserved0: [i32; 3],
    pub anonymous0: cudaGraphNodeParams_anonymous0_v12,
    pub reserved2: i64,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub union cudaGraphNodeParams_anonymous0_v12 {
    pub reserved1: [i64; 29],
    pub kernel: cudaKernelNodeParamsV2_v12,
    pub memcpy: cudaMemcpyNodeParams,
    pub memset: cudaMemsetParamsV2_v12,
    pub host: cudaHostNodeParamsV2_v12,
    pub graph: cudaChildGraphNodeParams,
    pub eventWait: cudaEventWaitNodeParams,
    pub eventRecord: cudaEventRecordNodeParams_v12,
    pub extSemSignal: cudaExternalSemaphoreSignalNodeParamsV2_v12,
    pub extSemWait: cudaExternalSemaphoreWaitNodeParamsV2_v12,
    pub alloc: cudaMemAllocNodeParamsV2,
    pub free: cudaMemFreeNodeParams,
    pub conditional: cudaConditionalNodeParams_v12,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaKernelNodeParamsV2_v12 {
    pub func: *mut c_void,
    pub gridDim: dim3,
    pub blockDim: dim3,
    pub sharedMemBytes: u32,
    pub kernelParams: *mut *mut c_void,
    pub extra: *mut *mut c_void,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaMemsetParamsV2_v12 {
    pub dst: *mut c_void,
    pub pitch: usize,
    pub value: u32,
    pub elementSize: u32,
    pub width: usize,
    pub height: usize,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaHostNodeParamsV2_v12 {
    pub r#fn: CUhostPointer,
    pub userData: *mut c_void,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaEventRecordNodeParams_v12 {
    pub event: CUevent,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaExternalSemaphoreSignalNodeParamsV2_v12 {
    pub extSemArray: *mut CUexternalSemaphore,
    pub paramsArray: *const cudaExternalSemaphoreSignalParams,
    pub numExtSems: u32,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaExternalSemaphoreWaitNodeParamsV2_v12 {
    pub extSemArray: *mut CUexternalSemaphore,
    pub paramsArray: *const cudaExternalSemaphoreWaitParams,
    pub numExtSems: u32,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaConditionalNodeParams_v12 {
    pub handle: u64,
    pub r#type: cudaGraphConditionalNodeType,
    pub size: u32,
    pub phGraph_out: *mut CUgraph,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaExternalSemaphoreSignalParams_v1 {
    pub params: cudaExternalSemaphoreSignalParams_v1_params,
    pub flags: u32,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaExternalSemaphoreSignalParams_v1_params {
    pub fence: cudaExternalSemaphoreSignalParams_v1_params_fence,
    pub nvSciSync: cudaExternalSemaphoreSignalParams_v1_params_nvSciSync,
    pub keyedMutex: cudaExternalSemaphoreSignalParams_v1_params_keyedMutex,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaExternalSemaphoreSignalParams_v1_params_fence {
    pub value: u64,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub union cudaExternalSemaphoreSignalParams_v1_params_nvSciSync {
    pub fence: *mut c_void,
    pub reserved: u64,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaExternalSemaphoreSignalParams_v1_params_keyedMutex {
    pub key: u64,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaExternalSemaphoreWaitParams_v1 {
    pub params: cudaExternalSemaphoreWaitParams_v1_params,
    pub flags: u32,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaExternalSemaphoreWaitParams_v1_params {
    pub fence: cudaExternalSemaphoreWaitParams_v1_params_fence,
    pub nvSciSync: cudaExternalSemaphoreWaitParams_v1_params_nvSciSync,
    pub keyedMutex: cudaExternalSemaphoreWaitParams_v1_params_keyedMutex,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaExternalSemaphoreWaitParams_v1_params_fence {
    pub value: u64,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub union cudaExternalSemaphoreWaitParams_v1_params_nvSciSync {
    pub fence: *mut c_void,
    pub reserved: u64,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaExternalSemaphoreWaitParams_v1_params_keyedMutex {
    pub key: u64,
    pub timeoutMs: u32,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaDeviceProp_v11 {
    pub name: [c_char; 256],
    pub uuid: CUuuid,
    pub luid: [c_char; 8],
    pub luidDeviceNodeMask: u32,
    pub totalGlobalMem: usize,
    pub sharedMemPerBlock: usize,
    pub regsPerBlock: i32,
    pub warpSize: i32,
    pub memPitch: usize,
    pub maxThreadsPerBlock: i32,
    pub maxThreadsDim: [i32; 3],
    pub maxGridSize: [i32; 3],
    pub clockRate: i32,
    pub totalConstMem: usize,
    pub major: i32,
    pub minor: i32,
    pub textureAlignment: usize,
    pub texturePitchAlignment: usize,
    pub deviceOverlap: i32,
    pub multiProcessorCount: i32,
    pub kernelExecTimeoutEnabled: i32,
    pub integrated: i32,
    pub canMapHostMemory: i32,
    pub computeMode: i32,
    pub maxTexture1D: i32,
    pub maxTexture1DMipmap: i32,
    pub maxTexture1DLinear: i32,
    pub maxTexture2D: [i32; 2],
    pub maxTexture2DMipmap: [i32; 2],
    pub maxTexture2DLinear: [i32; 3],
    pub maxTexture2DGather: [i32; 2],
    pub maxTexture3D: [i32; 3],
    pub maxTexture3DAlt: [i32; 3],
    pub maxTextureCubemap: i32,
    pub maxTexture1DLayered: [i32; 2],
    pub maxTexture2DLayered: [i32; 3],
    pub maxTextureCubemapLayered: [i32; 2],
    pub maxSurface1D: i32,
    pub maxSurface2D: [i32; 2],
    pub maxSurface3D: [i32; 3],
    pub maxSurface1DLayered: [i32; 2],
    pub maxSurface2DLayered: [i32; 3],
    pub maxSurfaceCubemap: i32,
    pub maxSurfaceCubemapLayered: [i32; 2],
    pub surfaceAlignment: usize,
    pub concurrentKernels: i32,
    pub ECCEnabled: i32,
    pub pciBusID: i32,
    pub pciDeviceID: i32,
    pub pciDomainID: i32,
    pub tccDriver: i32,
    pub asyncEngineCount: i32,
    pub unifiedAddressing: i32,
    pub memoryClockRate: i32,
    pub memoryBusWidth: i32,
    pub l2CacheSize: i32,
    pub persistingL2CacheMaxSize: i32,
    pub maxThreadsPerMultiProcessor: i32,
    pub streamPrioritiesSupported: i32,
    pub globalL1CacheSupported: i32,
    pub localL1CacheSupported: i32,
    pub sharedMemPerMultiprocessor: usize,
    pub regsPerMultiprocessor: i32,
    pub managedMemory: i32,
    pub isMultiGpuBoard: i32,
    pub multiGpuBoardGroupID: i32,
    pub hostNativeAtomicSupported: i32,
    pub singleToDoublePrecisionPerfRatio: i32,
    pub pageableMemoryAccess: i32,
    pub concurrentManagedAccess: i32,
    pub computePreemptionSupported: i32,
    pub canUseHostPointerForRegisteredMem: i32,
    pub cooperativeLaunch: i32,
    pub cooperativeMultiDeviceLaunch: i32,
    pub sharedMemPerBlockOptin: usize,
    pub pageableMemoryAccessUsesHostPageTables: i32,
    pub directManagedMemAccessFromHost: i32,
    pub maxBlocksPerMultiProcessor: i32,
    pub accessPolicyMaxWindowSize: i32,
    pub reservedSharedMemPerBlock: usize,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaFuncAttributes_v11 {
    pub sharedSizeBytes: usize,
    pub constSizeBytes: usize,
    pub localSizeBytes: usize,
    pub maxThreadsPerBlock: i32,
    pub numRegs: i32,
    pub ptxVersion: i32,
    pub binaryVersion: i32,
    pub cacheModeCA: i32,
    pub maxDynamicSharedSizeBytes: i32,
    pub preferredShmemCarveout: i32,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct textureReference {
    pub normalized: i32,
    pub filterMode: cudaTextureFilterMode,
    pub addressMode: [cudaTextureAddressMode; 3],
    pub channelDesc: cudaChannelFormatDesc,
    pub sRGB: i32,
    pub maxAnisotropy: u32,
    pub mipmapFilterMode: cudaTextureFilterMode,
    pub mipmapLevelBias: f32,
    pub minMipmapLevelClamp: f32,
    pub maxMipmapLevelClamp: f32,
    pub disableTrilinearOptimization: i32,
    pub __cudaReserved: [i32; 14],
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct surfaceReference {
    pub channelDesc: cudaChannelFormatDesc,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaTextureDesc_v11 {
    pub addressMode: [cudaTextureAddressMode; 3],
    pub filterMode: cudaTextureFilterMode,
    pub readMode: cudaTextureReadMode,
    pub sRGB: i32,
    pub borderColor: [f32; 4],
    pub normalizedCoords: i32,
    pub maxAnisotropy: u32,
    pub mipmapFilterMode: cudaTextureFilterMode,
    pub mipmapLevelBias: f32,
    pub minMipmapLevelClamp: f32,
    pub maxMipmapLevelClamp: f32,
    pub disableTrilinearOptimization: i32,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct cudaTextureDesc_v2 {
    pub addressMode: [cudaTextureAddressMode; 3],
    pub filterMode: cudaTextureFilterMode,
    pub readMode: cudaTextureReadMode,
    pub sRGB: i32,
    pub borderColor: [f32; 4],
    pub normalizedCoords: i32,
    pub maxAnisotropy: u32,
    pub mipmapFilterMode: cudaTextureFilterMode,
    pub mipmapLevelBias: f32,
    pub minMipmapLevelClamp: f32,
    pub maxMipmapLevelClamp: f32,
    pub disableTrilinearOptimization: i32,
    pub seamlessCubemap: i32,
}

layout!(
    cudaChannelFormatDesc,
    20,
    4,
    x = 0,
    y = 4,
    z = 8,
    w = 12,
    f = 16
);
layout!(cudaIpcEventHandle, 64, 1, reserved = 0);
layout!(cudaIpcMemHandle, 64, 1, reserved = 0);
layout!(
    cudaDeviceProp,
    1008,
    8,
    name = 0,
    uuid = 256,
    luid = 272,
    luidDeviceNodeMask = 280,
    totalGlobalMem = 288,
    sharedMemPerBlock = 296,
    regsPerBlock = 304,
    warpSize = 308,
    memPitch = 312,
    maxThreadsPerBlock = 320,
    maxThreadsDim = 324,
    maxGridSize = 336,
    totalConstMem = 352,
    major = 360,
    minor = 364,
    textureAlignment = 368,
    texturePitchAlignment = 376,
    multiProcessorCount = 384,
    integrated = 388,
    canMapHostMemory = 392,
    maxTexture1D = 396,
    maxTexture1DMipmap = 400,
    maxTexture2D = 404,
    maxTexture2DMipmap = 412,
    maxTexture2DLinear = 420,
    maxTexture2DGather = 432,
    maxTexture3D = 440,
    maxTexture3DAlt = 452,
    maxTextureCubemap = 464,
    maxTexture1DLayered = 468,
    maxTexture2DLayered = 476,
    maxTextureCubemapLayered = 488,
    maxSurface1D = 496,
    maxSurface2D = 500,
    maxSurface3D = 508,
    maxSurface1DLayered = 520,
    maxSurface2DLayered = 528,
    maxSurfaceCubemap = 540,
    maxSurfaceCubemapLayered = 544,
    surfaceAlignment = 552,
    concurrentKernels = 560,
    ECCEnabled = 564,
    pciBusID = 568,
    pciDeviceID = 572,
    pciDomainID = 576,
    tccDriver = 580,
    asyncEngineCount = 584,
    unifiedAddressing = 588,
    memoryBusWidth = 592,
    l2CacheSize = 596,
    persistingL2CacheMaxSize = 600,
    maxThreadsPerMultiProcessor = 604,
    streamPrioritiesSupported = 608,
    globalL1CacheSupported = 612,
    localL1CacheSupported = 616,
    sharedMemPerMultiprocessor = 624,
    regsPerMultiprocessor = 632,
    managedMemory = 636,
    isMultiGpuBoard = 640,
    multiGpuBoardGroupID = 644,
    hostNativeAtomicSupported = 648,
    pageableMemoryAccess = 652,
    concurrentManagedAccess = 656,
    computePreemptionSupported = 660,
    canUseHostPointerForRegisteredMem = 664,
    cooperativeLaunch = 668,
    sharedMemPerBlockOptin = 672,
    pageableMemoryAccessUsesHostPageTables = 680,
    directManagedMemAccessFromHost = 684,
    maxBlocksPerMultiProcessor = 688,
    accessPolicyMaxWindowSize = 692,
    reservedSharedMemPerBlock = 696,
    hostRegisterSupported = 704,
    sparseCudaArraySupported = 708,
    hostRegisterReadOnlySupported = 712,
    timelineSemaphoreInteropSupported = 716,
    memoryPoolsSupported = 720,
    gpuDirectRDMASupported = 724,
    gpuDirectRDMAFlushWritesOptions = 728,
    gpuDirectRDMAWritesOrdering = 732,
    memoryPoolSupportedHandleTypes = 736,
    deferredMappingCudaArraySupported = 740,
    ipcEventSupported = 744,
    clusterLaunch = 748,
    unifiedFunctionPointers = 752,
    deviceNumaConfig = 756,
    deviceNumaId = 760,
    mpsEnabled = 764,
    hostNumaId = 768,
    gpuPciDeviceID = 772,
    gpuPciSubsystemID = 776,
    hostNumaMultinodeIpcSupported = 780,
    reserved = 784
);
layout!(
    cudaLaunchAttributeValue,
    64,
    8,
    pad = 0,
    accessPolicyWindow = 0,
    cooperative = 0,
    syncPolicy = 0,
    clusterDim = 0,
    clusterSchedulingPolicyPreference = 0,
    programmaticStreamSerializationAllowed = 0,
    programmaticEvent = 0,
    priority = 0,
    memSyncDomainMap = 0,
    memSyncDomain = 0,
    preferredClusterDim = 0,
    launchCompletionEvent = 0,
    deviceUpdatableKernelNode = 0,
    sharedMemCarveout = 0,
    nvlinkUtilCentricScheduling = 0,
    portableClusterSizeMode = 0,
    sharedMemoryMode = 0
);
layout!(
    cudaAccessPolicyWindow,
    32,
    8,
    base_ptr = 0,
    num_bytes = 8,
    hitRatio = 16,
    hitProp = 20,
    missProp = 24
);
layout!(
    cudaLaunchAttributeValue_clusterDim,
    12,
    4,
    x = 0,
    y = 4,
    z = 8
);
layout!(
    cudaLaunchAttributeValue_programmaticEvent,
    16,
    8,
    event = 0,
    flags = 8,
    triggerAtBlockStart = 12
);
layout!(cudaLaunchMemSyncDomainMap, 2, 1, default_ = 0, remote = 1);
layout!(
    cudaLaunchAttributeValue_preferredClusterDim,
    12,
    4,
    x = 0,
    y = 4,
    z = 8
);
layout!(
    cudaLaunchAttributeValue_launchCompletionEvent,
    16,
    8,
    event = 0,
    flags = 8
);
layout!(
    cudaLaunchAttributeValue_deviceUpdatableKernelNode,
    16,
    8,
    deviceUpdatable = 0,
    devNode = 8
);
layout!(
    cudaGraphRecaptureCallbackData,
    16,
    8,
    callbackFunc = 0,
    userData = 8
);
layout!(
    cudaGraphEdgeData,
    8,
    1,
    from_port = 0,
    to_port = 1,
    r#type = 2,
    reserved = 3
);
layout!(
    cudaExternalMemoryHandleDesc,
    104,
    8,
    r#type = 0,
    handle = 8,
    size = 24,
    flags = 32,
    reserved = 36
);
layout!(
    cudaExternalMemoryHandleDesc_handle,
    16,
    8,
    fd = 0,
    win32 = 0,
    nvSciBufObject = 0
);
layout!(
    cudaExternalMemoryHandleDesc_handle_win32,
    16,
    8,
    handle = 0,
    name = 8
);
layout!(
    cudaExternalMemoryBufferDesc,
    88,
    8,
    offset = 0,
    size = 8,
    flags = 16,
    reserved = 20
);
layout!(
    cudaExternalMemoryMipmappedArrayDesc,
    128,
    8,
    offset = 0,
    formatDesc = 8,
    extent = 32,
    flags = 56,
    numLevels = 60,
    reserved = 64
);
layout!(cudaExtent, 24, 8, width = 0, height = 8, depth = 16);
layout!(
    cudaExternalSemaphoreHandleDesc,
    96,
    8,
    r#type = 0,
    handle = 8,
    flags = 24,
    reserved = 28
);
layout!(
    cudaExternalSemaphoreHandleDesc_handle,
    16,
    8,
    fd = 0,
    win32 = 0,
    nvSciSyncObj = 0
);
layout!(
    cudaExternalSemaphoreHandleDesc_handle_win32,
    16,
    8,
    handle = 0,
    name = 8
);
layout!(
    cudaExternalSemaphoreSignalParams,
    144,
    8,
    params = 0,
    flags = 72,
    reserved = 76
);
layout!(
    cudaExternalSemaphoreSignalParams_params,
    72,
    8,
    fence = 0,
    nvSciSync = 8,
    keyedMutex = 16,
    reserved = 24
);
layout!(
    cudaExternalSemaphoreSignalParams_params_fence,
    8,
    8,
    value = 0
);
layout!(
    cudaExternalSemaphoreSignalParams_params_nvSciSync,
    8,
    8,
    fence = 0,
    reserved = 0
);
layout!(
    cudaExternalSemaphoreSignalParams_params_keyedMutex,
    8,
    8,
    key = 0
);
layout!(
    cudaExternalSemaphoreWaitParams,
    144,
    8,
    params = 0,
    flags = 72,
    reserved = 76
);
layout!(
    cudaExternalSemaphoreWaitParams_params,
    72,
    8,
    fence = 0,
    nvSciSync = 8,
    keyedMutex = 16,
    reserved = 32
);
layout!(
    cudaExternalSemaphoreWaitParams_params_fence,
    8,
    8,
    value = 0
);
layout!(
    cudaExternalSemaphoreWaitParams_params_nvSciSync,
    8,
    8,
    fence = 0,
    reserved = 0
);
layout!(
    cudaExternalSemaphoreWaitParams_params_keyedMutex,
    16,
    8,
    key = 0,
    timeoutMs = 8
);
layout!(dim3, 12, 4, x = 0, y = 4, z = 8);
layout!(
    cudaLaunchConfig,
    56,
    8,
    gridDim = 0,
    blockDim = 12,
    dynamicSmemBytes = 24,
    stream = 32,
    attrs = 40,
    numAttrs = 48
);
layout!(cudaLaunchAttribute, 72, 8, id = 0, pad = 4, val = 8);
layout!(
    cudaFuncAttributes,
    144,
    8,
    sharedSizeBytes = 0,
    constSizeBytes = 8,
    localSizeBytes = 16,
    maxThreadsPerBlock = 24,
    numRegs = 28,
    ptxVersion = 32,
    binaryVersion = 36,
    cacheModeCA = 40,
    maxDynamicSharedSizeBytes = 44,
    preferredShmemCarveout = 48,
    clusterDimMustBeSet = 52,
    requiredClusterWidth = 56,
    requiredClusterHeight = 60,
    requiredClusterDepth = 64,
    clusterSchedulingPolicyPreference = 68,
    nonPortableClusterSizeAllowed = 72,
    deviceNodeUpdateStatus = 76,
    sharedMemoryMode = 80,
    reserved = 84
);
layout!(
    cudaPitchedPtr,
    32,
    8,
    ptr = 0,
    pitch = 8,
    xsize = 16,
    ysize = 24
);
layout!(
    cudaMemcpy3DParms,
    160,
    8,
    srcArray = 0,
    srcPos = 8,
    srcPtr = 32,
    dstArray = 64,
    dstPos = 72,
    dstPtr = 96,
    extent = 128,
    kind = 152
);
layout!(cudaPos, 24, 8, x = 0, y = 8, z = 16);
layout!(
    cudaMemcpy3DPeerParms,
    168,
    8,
    srcArray = 0,
    srcPos = 8,
    srcPtr = 32,
    srcDevice = 64,
    dstArray = 72,
    dstPos = 80,
    dstPtr = 104,
    dstDevice = 136,
    extent = 144
);
layout!(
    cudaArrayMemoryRequirements,
    32,
    8,
    size = 0,
    alignment = 8,
    reserved = 16
);
layout!(
    cudaArraySparseProperties,
    48,
    8,
    tileExtent = 0,
    miptailFirstLevel = 12,
    miptailSize = 16,
    flags = 24,
    reserved = 28
);
layout!(
    cudaArraySparseProperties_tileExtent,
    12,
    4,
    width = 0,
    height = 4,
    depth = 8
);
layout!(
    cudaMemcpyAttributes,
    24,
    4,
    srcAccessOrder = 0,
    srcLocHint = 4,
    dstLocHint = 12,
    flags = 20
);
layout!(cudaMemLocation, 8, 4, r#type = 0, anonymous0 = 4);
layout!(cudaMemLocation_anonymous0, 4, 4, id = 0, localized = 0);
layout!(
    cudaMemLocation_anonymous0_localized,
    2,
    1,
    deviceId = 0,
    localityDomainId = 1
);
layout!(
    cudaMemcpy3DBatchOp,
    112,
    8,
    src = 0,
    dst = 40,
    extent = 80,
    srcAccessOrder = 104,
    flags = 108
);
layout!(cudaMemcpy3DOperand, 40, 8, r#type = 0, op = 8);
layout!(cudaMemcpy3DOperand_op, 32, 8, ptr = 0, array = 0);
layout!(
    cudaMemcpy3DOperand_op_ptr,
    32,
    8,
    ptr = 0,
    rowLength = 8,
    layerHeight = 16,
    locHint = 24
);
layout!(cudaMemcpy3DOperand_op_array, 32, 8, array = 0, offset = 8);
layout!(cudaOffset3D, 24, 8, x = 0, y = 8, z = 16);
layout!(cudaMemAccessDesc, 12, 4, location = 0, flags = 8);
layout!(
    cudaMemPoolProps,
    88,
    8,
    allocType = 0,
    handleTypes = 4,
    location = 8,
    win32SecurityAttributes = 16,
    maxSize = 24,
    usage = 32,
    reserved = 34,
    reserved1 = 87
);
layout!(cudaMemPoolPtrExportData, 64, 1, reserved = 0);
layout!(
    cudaPointerAttributes,
    88,
    8,
    r#type = 0,
    device = 4,
    devicePointer = 8,
    hostPointer = 16,
    anonymous0 = 24,
    reserved = 32
);
layout!(
    cudaPointerAttributes_anonymous0,
    8,
    8,
    localityDomainOrdinal = 0,
    unused = 0
);
layout!(cudaResourceDesc, 144, 8, resType = 0, res = 8, flags = 136);
layout!(
    cudaResourceDesc_res,
    128,
    8,
    array = 0,
    mipmap = 0,
    linear = 0,
    pitch2D = 0,
    reserved = 0
);
layout!(cudaResourceDesc_res_array, 8, 8, array = 0);
layout!(cudaResourceDesc_res_mipmap, 8, 8, mipmap = 0);
layout!(
    cudaResourceDesc_res_linear,
    40,
    8,
    devPtr = 0,
    desc = 8,
    sizeInBytes = 32
);
layout!(
    cudaResourceDesc_res_pitch2D,
    56,
    8,
    devPtr = 0,
    desc = 8,
    width = 32,
    height = 40,
    pitchInBytes = 48
);
layout!(cudaResourceDesc_res_reserved, 128, 4, reserved = 0);
layout!(
    cudaTextureDesc,
    72,
    4,
    addressMode = 0,
    filterMode = 12,
    readMode = 16,
    sRGB = 20,
    borderColor = 24,
    normalizedCoords = 40,
    maxAnisotropy = 44,
    mipmapFilterMode = 48,
    mipmapLevelBias = 52,
    minMipmapLevelClamp = 56,
    maxMipmapLevelClamp = 60,
    disableTrilinearOptimization = 64,
    seamlessCubemap = 68
);
layout!(
    cudaResourceViewDesc,
    112,
    8,
    format = 0,
    width = 8,
    height = 16,
    depth = 24,
    firstMipmapLevel = 32,
    lastMipmapLevel = 36,
    firstLayer = 40,
    lastLayer = 44,
    reserved = 48
);
layout!(
    cudaKernelNodeParams,
    56,
    8,
    func = 0,
    gridDim = 8,
    blockDim = 20,
    sharedMemBytes = 32,
    kernelParams = 40,
    extra = 48
);
layout!(
    cudaMemsetParams,
    40,
    8,
    dst = 0,
    pitch = 8,
    value = 16,
    elementSize = 20,
    width = 24,
    height = 32
);
layout!(cudaHostNodeParams, 16, 8, r#fn = 0, userData = 8);
layout!(
    cudaExternalSemaphoreSignalNodeParams,
    24,
    8,
    extSemArray = 0,
    paramsArray = 8,
    numExtSems = 16
);
layout!(
    cudaExternalSemaphoreWaitNodeParams,
    24,
    8,
    extSemArray = 0,
    paramsArray = 8,
    numExtSems = 16
);
layout!(
    cudaMemAllocNodeParams,
    120,
    8,
    poolProps = 0,
    accessDescs = 88,
    accessDescCount = 96,
    bytesize = 104,
    dptr = 112
);
layout!(
    cudaGraphInstantiateParams,
    32,
    8,
    flags = 0,
    uploadStream = 8,
    errNode_out = 16,
    result_out = 24
);
layout!(
    cudaGraphExecUpdateResultInfo,
    24,
    8,
    result = 0,
    errorNode = 8,
    errorFromNode = 16
);
layout!(
    cudaGraphNodeParams,
    256,
    8,
    r#type = 0,
    reserved0 = 4,
    anonymous0 = 16,
    reserved2 = 248
);
layout!(
    cudaGraphNodeParams_anonymous0,
    232,
    8,
    reserved1 = 0,
    kernel = 0,
    memcpy = 0,
    memset = 0,
    host = 0,
    graph = 0,
    eventWait = 0,
    eventRecord = 0,
    extSemSignal = 0,
    extSemWait = 0,
    alloc = 0,
    free = 0,
    conditional = 0,
    memcpyBatch = 0
);
layout!(
    cudaKernelNodeParamsV2,
    72,
    8,
    anonymous0 = 0,
    gridDim = 8,
    blockDim = 20,
    sharedMemBytes = 32,
    kernelParams = 40,
    extra = 48,
    ctx = 56,
    functionType = 64
);
layout!(
    cudaKernelNodeParamsV2_anonymous0,
    8,
    8,
    func = 0,
    kern = 0,
    cuFunc = 0
);
layout!(
    cudaMemcpyNodeParams,
    176,
    8,
    flags = 0,
    reserved = 4,
    ctx = 8,
    copyParams = 16
);
layout!(
    cudaMemsetParamsV2,
    48,
    8,
    dst = 0,
    pitch = 8,
    value = 16,
    elementSize = 20,
    width = 24,
    height = 32,
    ctx = 40
);
layout!(
    cudaHostNodeParamsV2,
    32,
    8,
    r#fn = 0,
    userData = 8,
    syncMode = 16,
    ctx = 24
);
layout!(cudaChildGraphNodeParams, 16, 8, graph = 0, ownership = 8);
layout!(cudaEventWaitNodeParams, 8, 8, event = 0);
layout!(cudaEventRecordNodeParams, 16, 8, event = 0, ctx = 8);
layout!(
    cudaExternalSemaphoreSignalNodeParamsV2,
    32,
    8,
    extSemArray = 0,
    paramsArray = 8,
    numExtSems = 16,
    ctx = 24
);
layout!(
    cudaExternalSemaphoreWaitNodeParamsV2,
    32,
    8,
    extSemArray = 0,
    paramsArray = 8,
    numExtSems = 16,
    ctx = 24
);
layout!(
    cudaMemAllocNodeParamsV2,
    120,
    8,
    poolProps = 0,
    accessDescs = 88,
    accessDescCount = 96,
    bytesize = 104,
    dptr = 112
);
layout!(cudaMemFreeNodeParams, 8, 8, dptr = 0);
layout!(
    cudaConditionalNodeParams,
    32,
    8,
    handle = 0,
    r#type = 8,
    size = 12,
    phGraph_out = 16,
    ctx = 24
);
layout!(
    cudaMemcpyBatchNodeParams,
    64,
    8,
    count = 0,
    dsts = 8,
    srcs = 16,
    sizes = 24,
    attrs = 32,
    attrsIdxs = 40,
    numAttrs = 48,
    ctx = 56
);
layout!(
    cudaDevResource,
    144,
    8,
    r#type = 0,
    _internal_padding = 4,
    anonymous0 = 96,
    nextResource = 136
);
layout!(
    cudaDevResource_anonymous0,
    40,
    4,
    sm = 0,
    wqConfig = 0,
    wq = 0,
    _oversize = 0
);
layout!(
    cudaDevSmResource,
    20,
    4,
    smCount = 0,
    minSmPartitionSize = 4,
    smCoscheduledAlignment = 8,
    flags = 12,
    localityDomainId = 16
);
layout!(
    cudaDevWorkqueueConfigResource,
    12,
    4,
    device = 0,
    wqConcurrencyLimit = 4,
    sharingScope = 8
);
layout!(cudaDevWorkqueueResource, 40, 1, reserved = 0);
layout!(
    cudaDevSmResourceGroupParams,
    64,
    4,
    smCount = 0,
    coscheduledSmCount = 4,
    preferredCoscheduledSmCount = 8,
    flags = 12,
    localityDomainId = 16,
    reserved = 20
);
layout!(
    cudaDeviceProp_v12,
    1032,
    8,
    name = 0,
    uuid = 256,
    luid = 272,
    luidDeviceNodeMask = 280,
    totalGlobalMem = 288,
    sharedMemPerBlock = 296,
    regsPerBlock = 304,
    warpSize = 308,
    memPitch = 312,
    maxThreadsPerBlock = 320,
    maxThreadsDim = 324,
    maxGridSize = 336,
    clockRate = 348,
    totalConstMem = 352,
    major = 360,
    minor = 364,
    textureAlignment = 368,
    texturePitchAlignment = 376,
    deviceOverlap = 384,
    multiProcessorCount = 388,
    kernelExecTimeoutEnabled = 392,
    integrated = 396,
    canMapHostMemory = 400,
    computeMode = 404,
    maxTexture1D = 408,
    maxTexture1DMipmap = 412,
    maxTexture1DLinear = 416,
    maxTexture2D = 420,
    maxTexture2DMipmap = 428,
    maxTexture2DLinear = 436,
    maxTexture2DGather = 448,
    maxTexture3D = 456,
    maxTexture3DAlt = 468,
    maxTextureCubemap = 480,
    maxTexture1DLayered = 484,
    maxTexture2DLayered = 492,
    maxTextureCubemapLayered = 504,
    maxSurface1D = 512,
    maxSurface2D = 516,
    maxSurface3D = 524,
    maxSurface1DLayered = 536,
    maxSurface2DLayered = 544,
    maxSurfaceCubemap = 556,
    maxSurfaceCubemapLayered = 560,
    surfaceAlignment = 568,
    concurrentKernels = 576,
    ECCEnabled = 580,
    pciBusID = 584,
    pciDeviceID = 588,
    pciDomainID = 592,
    tccDriver = 596,
    asyncEngineCount = 600,
    unifiedAddressing = 604,
    memoryClockRate = 608,
    memoryBusWidth = 612,
    l2CacheSize = 616,
    persistingL2CacheMaxSize = 620,
    maxThreadsPerMultiProcessor = 624,
    streamPrioritiesSupported = 628,
    globalL1CacheSupported = 632,
    localL1CacheSupported = 636,
    sharedMemPerMultiprocessor = 640,
    regsPerMultiprocessor = 648,
    managedMemory = 652,
    isMultiGpuBoard = 656,
    multiGpuBoardGroupID = 660,
    hostNativeAtomicSupported = 664,
    singleToDoublePrecisionPerfRatio = 668,
    pageableMemoryAccess = 672,
    concurrentManagedAccess = 676,
    computePreemptionSupported = 680,
    canUseHostPointerForRegisteredMem = 684,
    cooperativeLaunch = 688,
    cooperativeMultiDeviceLaunch = 692,
    sharedMemPerBlockOptin = 696,
    pageableMemoryAccessUsesHostPageTables = 704,
    directManagedMemAccessFromHost = 708,
    maxBlocksPerMultiProcessor = 712,
    accessPolicyMaxWindowSize = 716,
    reservedSharedMemPerBlock = 720,
    hostRegisterSupported = 728,
    sparseCudaArraySupported = 732,
    hostRegisterReadOnlySupported = 736,
    timelineSemaphoreInteropSupported = 740,
    memoryPoolsSupported = 744,
    gpuDirectRDMASupported = 748,
    gpuDirectRDMAFlushWritesOptions = 752,
    gpuDirectRDMAWritesOrdering = 756,
    memoryPoolSupportedHandleTypes = 760,
    deferredMappingCudaArraySupported = 764,
    ipcEventSupported = 768,
    clusterLaunch = 772,
    unifiedFunctionPointers = 776,
    reserved = 780
);
layout!(
    cudaExternalMemoryHandleDesc_v12,
    40,
    8,
    r#type = 0,
    handle = 8,
    size = 24,
    flags = 32
);
layout!(
    cudaExternalMemoryBufferDesc_v12,
    24,
    8,
    offset = 0,
    size = 8,
    flags = 16
);
layout!(
    cudaExternalMemoryMipmappedArrayDesc_v12,
    64,
    8,
    offset = 0,
    formatDesc = 8,
    extent = 32,
    flags = 56,
    numLevels = 60
);
layout!(
    cudaExternalSemaphoreHandleDesc_v12,
    32,
    8,
    r#type = 0,
    handle = 8,
    flags = 24
);
layout!(
    cudaLaunchParams,
    56,
    8,
    func = 0,
    gridDim = 8,
    blockDim = 20,
    args = 32,
    sharedMem = 40,
    stream = 48
);
layout!(
    cudaPointerAttributes_v12,
    24,
    8,
    r#type = 0,
    device = 4,
    devicePointer = 8,
    hostPointer = 16
);
layout!(cudaResourceDesc_v12, 64, 8, resType = 0, res = 8);
layout!(
    cudaResourceDesc_res_v12,
    56,
    8,
    array = 0,
    mipmap = 0,
    linear = 0,
    pitch2D = 0
);
layout!(
    cudaResourceViewDesc_v12,
    48,
    8,
    format = 0,
    width = 8,
    height = 16,
    depth = 24,
    firstMipmapLevel = 32,
    lastMipmapLevel = 36,
    firstLayer = 40,
    lastLayer = 44
);
layout!(
    cudaGraphNodeParams_v12,
    256,
    8,
    r#type = 0,
    reserved0 = 4,
    anonymous0 = 16,
    reserved2 = 248
);
layout!(
    cudaGraphNodeParams_anonymous0_v12,
    232,
    8,
    reserved1 = 0,
    kernel = 0,
    memcpy = 0,
    memset = 0,
    host = 0,
    graph = 0,
    eventWait = 0,
    eventRecord = 0,
    extSemSignal = 0,
    extSemWait = 0,
    alloc = 0,
    free = 0,
    conditional = 0
);
layout!(
    cudaKernelNodeParamsV2_v12,
    56,
    8,
    func = 0,
    gridDim = 8,
    blockDim = 20,
    sharedMemBytes = 32,
    kernelParams = 40,
    extra = 48
);
layout!(
    cudaMemsetParamsV2_v12,
    40,
    8,
    dst = 0,
    pitch = 8,
    value = 16,
    elementSize = 20,
    width = 24,
    height = 32
);
layout!(cudaHostNodeParamsV2_v12, 16, 8, r#fn = 0, userData = 8);
layout!(cudaEventRecordNodeParams_v12, 8, 8, event = 0);
layout!(
    cudaExternalSemaphoreSignalNodeParamsV2_v12,
    24,
    8,
    extSemArray = 0,
    paramsArray = 8,
    numExtSems = 16
);
layout!(
    cudaExternalSemaphoreWaitNodeParamsV2_v12,
    24,
    8,
    extSemArray = 0,
    paramsArray = 8,
    numExtSems = 16
);
layout!(
    cudaConditionalNodeParams_v12,
    24,
    8,
    handle = 0,
    r#type = 8,
    size = 12,
    phGraph_out = 16
);
layout!(
    cudaExternalSemaphoreSignalParams_v1,
    32,
    8,
    params = 0,
    flags = 24
);
layout!(
    cudaExternalSemaphoreSignalParams_v1_params,
    24,
    8,
    fence = 0,
    nvSciSync = 8,
    keyedMutex = 16
);
layout!(
    cudaExternalSemaphoreSignalParams_v1_params_fence,
    8,
    8,
    value = 0
);
layout!(
    cudaExternalSemaphoreSignalParams_v1_params_nvSciSync,
    8,
    8,
    fence = 0,
    reserved = 0
);
layout!(
    cudaExternalSemaphoreSignalParams_v1_params_keyedMutex,
    8,
    8,
    key = 0
);
layout!(
    cudaExternalSemaphoreWaitParams_v1,
    40,
    8,
    params = 0,
    flags = 32
);
layout!(
    cudaExternalSemaphoreWaitParams_v1_params,
    32,
    8,
    fence = 0,
    nvSciSync = 8,
    keyedMutex = 16
);
layout!(
    cudaExternalSemaphoreWaitParams_v1_params_fence,
    8,
    8,
    value = 0
);
layout!(
    cudaExternalSemaphoreWaitParams_v1_params_nvSciSync,
    8,
    8,
    fence = 0,
    reserved = 0
);
layout!(
    cudaExternalSemaphoreWaitParams_v1_params_keyedMutex,
    16,
    8,
    key = 0,
    timeoutMs = 8
);
layout!(
    cudaDeviceProp_v11,
    728,
    8,
    name = 0,
    uuid = 256,
    luid = 272,
    luidDeviceNodeMask = 280,
    totalGlobalMem = 288,
    sharedMemPerBlock = 296,
    regsPerBlock = 304,
    warpSize = 308,
    memPitch = 312,
    maxThreadsPerBlock = 320,
    maxThreadsDim = 324,
    maxGridSize = 336,
    clockRate = 348,
    totalConstMem = 352,
    major = 360,
    minor = 364,
    textureAlignment = 368,
    texturePitchAlignment = 376,
    deviceOverlap = 384,
    multiProcessorCount = 388,
    kernelExecTimeoutEnabled = 392,
    integrated = 396,
    canMapHostMemory = 400,
    computeMode = 404,
    maxTexture1D = 408,
    maxTexture1DMipmap = 412,
    maxTexture1DLinear = 416,
    maxTexture2D = 420,
    maxTexture2DMipmap = 428,
    maxTexture2DLinear = 436,
    maxTexture2DGather = 448,
    maxTexture3D = 456,
    maxTexture3DAlt = 468,
    maxTextureCubemap = 480,
    maxTexture1DLayered = 484,
    maxTexture2DLayered = 492,
    maxTextureCubemapLayered = 504,
    maxSurface1D = 512,
    maxSurface2D = 516,
    maxSurface3D = 524,
    maxSurface1DLayered = 536,
    maxSurface2DLayered = 544,
    maxSurfaceCubemap = 556,
    maxSurfaceCubemapLayered = 560,
    surfaceAlignment = 568,
    concurrentKernels = 576,
    ECCEnabled = 580,
    pciBusID = 584,
    pciDeviceID = 588,
    pciDomainID = 592,
    tccDriver = 596,
    asyncEngineCount = 600,
    unifiedAddressing = 604,
    memoryClockRate = 608,
    memoryBusWidth = 612,
    l2CacheSize = 616,
    persistingL2CacheMaxSize = 620,
    maxThreadsPerMultiProcessor = 624,
    streamPrioritiesSupported = 628,
    globalL1CacheSupported = 632,
    localL1CacheSupported = 636,
    sharedMemPerMultiprocessor = 640,
    regsPerMultiprocessor = 648,
    managedMemory = 652,
    isMultiGpuBoard = 656,
    multiGpuBoardGroupID = 660,
    hostNativeAtomicSupported = 664,
    singleToDoublePrecisionPerfRatio = 668,
    pageableMemoryAccess = 672,
    concurrentManagedAccess = 676,
    computePreemptionSupported = 680,
    canUseHostPointerForRegisteredMem = 684,
    cooperativeLaunch = 688,
    cooperativeMultiDeviceLaunch = 692,
    sharedMemPerBlockOptin = 696,
    pageableMemoryAccessUsesHostPageTables = 704,
    directManagedMemAccessFromHost = 708,
    maxBlocksPerMultiProcessor = 712,
    accessPolicyMaxWindowSize = 716,
    reservedSharedMemPerBlock = 720
);
layout!(
    cudaFuncAttributes_v11,
    56,
    8,
    sharedSizeBytes = 0,
    constSizeBytes = 8,
    localSizeBytes = 16,
    maxThreadsPerBlock = 24,
    numRegs = 28,
    ptxVersion = 32,
    binaryVersion = 36,
    cacheModeCA = 40,
    maxDynamicSharedSizeBytes = 44,
    preferredShmemCarveout = 48
);
layout!(
    textureReference,
    124,
    4,
    normalized = 0,
    filterMode = 4,
    addressMode = 8,
    channelDesc = 20,
    sRGB = 40,
    maxAnisotropy = 44,
    mipmapFilterMode = 48,
    mipmapLevelBias = 52,
    minMipmapLevelClamp = 56,
    maxMipmapLevelClamp = 60,
    disableTrilinearOptimization = 64,
    __cudaReserved = 68
);
layout!(surfaceReference, 20, 4, channelDesc = 0);
layout!(
    cudaTextureDesc_v11,
    68,
    4,
    addressMode = 0,
    filterMode = 12,
    readMode = 16,
    sRGB = 20,
    borderColor = 24,
    normalizedCoords = 40,
    maxAnisotropy = 44,
    mipmapFilterMode = 48,
    mipmapLevelBias = 52,
    minMipmapLevelClamp = 56,
    maxMipmapLevelClamp = 60,
    disableTrilinearOptimization = 64
);
layout!(
    cudaTextureDesc_v2,
    72,
    4,
    addressMode = 0,
    filterMode = 12,
    readMode = 16,
    sRGB = 20,
    borderColor = 24,
    normalizedCoords = 40,
    maxAnisotropy = 44,
    mipmapFilterMode = 48,
    mipmapLevelBias = 52,
    minMipmapLevelClamp = 56,
    maxMipmapLevelClamp = 60,
    disableTrilinearOptimization = 64,
    seamlessCubemap = 68
);
