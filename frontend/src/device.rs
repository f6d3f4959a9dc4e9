// SPDX-License-Identifier: Apache-2.0
//! Devices as the application sees them: the backend's snapshot, less what cannot be done remotely.

use gvirtus_abi::{CUdevice_attribute as Attribute, CUmemAllocationHandleType};
use gvirtus_protocol::snapshot;

/// A device.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    /// What the backend told.
    pub(crate) snapshot: snapshot::Device,
    /// What every launch is compared with.
    pub(crate) launch_limits: LaunchLimits,
}

/// What a launch may ask for. A limit that the backend does not tell is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LaunchLimits {
    /// Most blocks in x, y, z.
    pub(crate) grid: [u32; 3],
    /// Most threads of a block in x, y, z.
    pub(crate) block: [u32; 3],
    /// Most threads of a block.
    pub(crate) threads_per_block: u64,
    /// Whether all blocks of a grid can run at once on request.
    pub(crate) is_cooperative: bool,
    /// Multiprocessors, each of which has room for one block of a cooperative grid at least.
    pub(crate) multiprocessors: u32,
}

impl Device {
    /// From the backend's snapshot.
    pub(crate) fn new(snapshot: snapshot::Device) -> Self {
        let limit = |attribute: Attribute| {
            let value = snapshot.attribute(attribute.0);
            value
                .and_then(|v| u32::try_from(v).ok())
                .filter(|v| *v > 0)
                .unwrap_or(u32::MAX)
        };
        let cooperative = Attribute::CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH;
        let launch_limits = LaunchLimits {
            grid: [
                limit(Attribute::CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X),
                limit(Attribute::CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y),
                limit(Attribute::CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z),
            ],
            block: [
                limit(Attribute::CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X),
                limit(Attribute::CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y),
                limit(Attribute::CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z),
            ],
            threads_per_block: limit(Attribute::CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK).into(),
            is_cooperative: snapshot.attribute(cooperative.0).is_none_or(|v| v != 0),
            multiprocessors: limit(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT),
        };
        Self {
            snapshot,
            launch_limits,
        }
    }

    /// The value of an attribute, or nothing if the driver does not know it.
    pub(crate) fn attribute(&self, attribute: Attribute) -> Option<i32> {
        let value = self.snapshot.attribute(attribute.0)?;
        let is_masked = MASKED.iter().any(|(masked, _)| *masked == attribute);
        Some(match attribute {
            // Whatever else the driver has is not for other machines.
            Attribute::CU_DEVICE_ATTRIBUTE_MEMPOOL_SUPPORTED_HANDLE_TYPES => {
                value & FILE_DESCRIPTOR.0.cast_signed()
            }
            _ if is_masked => 0,
            _ => value,
        })
    }
}

const FILE_DESCRIPTOR: CUmemAllocationHandleType =
    CUmemAllocationHandleType::CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;

/// Attributes that are 0 here, and why. A program that asks before it uses a feature then takes
/// another way, instead of failing.
const MASKED: &[(Attribute, &str)] = &[
    (
        Attribute::CU_DEVICE_ATTRIBUTE_INTEGRATED,
        "device and application do not share memory",
    ),
    (
        Attribute::CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS,
        "managed memory travels when the device is idle",
    ),
    (
        Attribute::CU_DEVICE_ATTRIBUTE_DIRECT_MANAGED_MEM_ACCESS_FROM_HOST,
        "the host has a copy of managed memory",
    ),
    (
        Attribute::CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS,
        "kernels cannot reach the application's memory",
    ),
    (
        Attribute::CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS_USES_HOST_PAGE_TABLES,
        "kernels cannot reach the application's memory",
    ),
    (
        Attribute::CU_DEVICE_ATTRIBUTE_HOST_NATIVE_ATOMIC_SUPPORTED,
        "kernels cannot reach the application's memory",
    ),
    (
        Attribute::CU_DEVICE_ATTRIBUTE_ONLY_PARTIAL_HOST_NATIVE_ATOMIC_SUPPORTED,
        "kernels cannot reach the application's memory",
    ),
    (
        Attribute::CU_DEVICE_ATTRIBUTE_CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM,
        "kernels cannot reach the application's memory",
    ),
    (
        Attribute::CU_DEVICE_ATTRIBUTE_READ_ONLY_HOST_REGISTER_SUPPORTED,
        "registering does not change the access rights of pages",
    ),
    (
        Attribute::CU_DEVICE_ATTRIBUTE_CAN_USE_STREAM_MEM_OPS_V1,
        "cuStreamWriteValue32 and its kin are not supported",
    ),
    (
        Attribute::CU_DEVICE_ATTRIBUTE_CAN_USE_64_BIT_STREAM_MEM_OPS_V1,
        "cuStreamWriteValue32 and its kin are not supported",
    ),
    (
        Attribute::CU_DEVICE_ATTRIBUTE_CAN_USE_STREAM_WAIT_VALUE_NOR_V1,
        "cuStreamWriteValue32 and its kin are not supported",
    ),
    (
        Attribute::CU_DEVICE_ATTRIBUTE_CAN_USE_64_BIT_STREAM_MEM_OPS,
        "cuStreamWriteValue32 and its kin are not supported",
    ),
    (
        Attribute::CU_DEVICE_ATTRIBUTE_CAN_USE_STREAM_WAIT_VALUE_NOR,
        "cuStreamWriteValue32 and its kin are not supported",
    ),
    (
        Attribute::CU_DEVICE_ATTRIBUTE_COOPERATIVE_MULTI_DEVICE_LAUNCH,
        "cuLaunchCooperativeKernelMultiDevice is not supported",
    ),
    (
        Attribute::CU_DEVICE_ATTRIBUTE_CAN_FLUSH_REMOTE_WRITES,
        "cuFlushGPUDirectRDMAWrites is not supported",
    ),
    (
        Attribute::CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_WIN32_HANDLE_SUPPORTED,
        "memory is exported as file descriptors only",
    ),
    (
        Attribute::CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_WIN32_KMT_HANDLE_SUPPORTED,
        "memory is exported as file descriptors only",
    ),
    (
        Attribute::CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_FABRIC_SUPPORTED,
        "memory is exported as file descriptors only",
    ),
    (
        Attribute::CU_DEVICE_ATTRIBUTE_GENERIC_COMPRESSION_SUPPORTED,
        "memory is not compressed",
    ),
    (
        Attribute::CU_DEVICE_ATTRIBUTE_MAX_PERSISTING_L2_CACHE_SIZE,
        "access policies of streams are not applied",
    ),
    (
        Attribute::CU_DEVICE_ATTRIBUTE_MAX_ACCESS_POLICY_WINDOW_SIZE,
        "access policies of streams are not applied",
    ),
    (
        Attribute::CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_WITH_CUDA_VMM_SUPPORTED,
        "the device is not on this host's bus",
    ),
    (
        Attribute::CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_SUPPORTED,
        "the device is not on this host's bus",
    ),
    (
        Attribute::CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_FLUSH_WRITES_OPTIONS,
        "the device is not on this host's bus",
    ),
    (
        Attribute::CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_WRITES_ORDERING,
        "the device is not on this host's bus",
    ),
    (
        Attribute::CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_WITH_LOCALIZED_MEMORY_SUPPORTED,
        "the device is not on this host's bus",
    ),
    (
        Attribute::CU_DEVICE_ATTRIBUTE_DMA_BUF_SUPPORTED,
        "the device is not on this host's bus",
    ),
    (
        Attribute::CU_DEVICE_ATTRIBUTE_DMA_BUF_MMAP_SUPPORTED,
        "the device is not on this host's bus",
    ),
    (
        Attribute::CU_DEVICE_ATTRIBUTE_HOST_ALLOC_DMA_BUF_SUPPORTED,
        "the device is not on this host's bus",
    ),
    (
        Attribute::CU_DEVICE_ATTRIBUTE_SPARSE_CUDA_ARRAY_SUPPORTED,
        "CUDA arrays are not supported",
    ),
    (
        Attribute::CU_DEVICE_ATTRIBUTE_DEFERRED_MAPPING_CUDA_ARRAY_SUPPORTED,
        "CUDA arrays are not supported",
    ),
    (
        Attribute::CU_DEVICE_ATTRIBUTE_TIMELINE_SEMAPHORE_INTEROP_SUPPORTED,
        "external semaphores are not supported",
    ),
    (
        Attribute::CU_DEVICE_ATTRIBUTE_UNIFIED_FUNCTION_POINTERS,
        "cuLibraryGetUnifiedFunction is not supported",
    ),
    (
        Attribute::CU_DEVICE_ATTRIBUTE_MULTICAST_SUPPORTED,
        "cuMulticastCreate is not supported",
    ),
    (
        Attribute::CU_DEVICE_ATTRIBUTE_D3D12_CIG_SUPPORTED,
        "there is no graphics on this side",
    ),
    (
        Attribute::CU_DEVICE_ATTRIBUTE_D3D12_CIG_STREAMS_SUPPORTED,
        "there is no graphics on this side",
    ),
    (
        Attribute::CU_DEVICE_ATTRIBUTE_VULKAN_CIG_SUPPORTED,
        "there is no graphics on this side",
    ),
    (
        Attribute::CU_DEVICE_ATTRIBUTE_VULKAN_CIG_STREAMS_SUPPORTED,
        "there is no graphics on this side",
    ),
    (
        Attribute::CU_DEVICE_ATTRIBUTE_MEM_DECOMPRESS_ALGORITHM_MASK,
        "cuMemBatchDecompressAsync is not supported",
    ),
    (
        Attribute::CU_DEVICE_ATTRIBUTE_MEM_DECOMPRESS_MAXIMUM_LENGTH,
        "cuMemBatchDecompressAsync is not supported",
    ),
    (
        Attribute::CU_DEVICE_ATTRIBUTE_HOST_NUMA_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED,
        "cuMemCreate and cuMemMap are not supported",
    ),
    (
        Attribute::CU_DEVICE_ATTRIBUTE_HOST_NUMA_MEMORY_POOLS_SUPPORTED,
        "pools of host memory are not supported",
    ),
    (
        Attribute::CU_DEVICE_ATTRIBUTE_HOST_NUMA_MULTINODE_IPC_SUPPORTED,
        "memory is exported as file descriptors only",
    ),
    (
        Attribute::CU_DEVICE_ATTRIBUTE_HOST_MEMORY_POOLS_SUPPORTED,
        "pools of host memory are not supported",
    ),
    (
        Attribute::CU_DEVICE_ATTRIBUTE_HOST_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED,
        "cuMemCreate and cuMemMap are not supported",
    ),
    (
        Attribute::CU_DEVICE_ATTRIBUTE_LOGICAL_ENDPOINT_UNICAST_SUPPORTED,
        "logical endpoints are not supported",
    ),
    (
        Attribute::CU_DEVICE_ATTRIBUTE_LOGICAL_ENDPOINT_MULTICAST_SUPPORTED,
        "logical endpoints are not supported",
    ),
    (
        Attribute::CU_DEVICE_ATTRIBUTE_LOGICAL_ENDPOINT_COUNTED_OPS_SUPPORTED,
        "logical endpoints are not supported",
    ),
    (
        Attribute::CU_DEVICE_ATTRIBUTE_LOGICAL_ENDPOINT_UNICAST_ACCESS_ON_OWNER_DEVICE_SUPPORTED,
        "logical endpoints are not supported",
    ),
    (
        Attribute::CU_DEVICE_ATTRIBUTE_LOGICAL_ENDPOINT_SUPPORTED_HANDLE_TYPES,
        "logical endpoints are not supported",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_done_is_not_announced() {
        let attributes = [
            (Attribute::CU_DEVICE_ATTRIBUTE_WARP_SIZE, 32),
            (Attribute::CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS, 1),
            (Attribute::CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y, 65535),
        ];
        let mut snapshot = snapshot::Device {
            attributes: attributes.map(|(id, value)| (id.0, value)).to_vec(),
            ..snapshot::Device::default()
        };
        snapshot.attributes.sort_unstable();
        let device = Device::new(snapshot);
        let attribute = |id| device.attribute(id);
        assert_eq!(
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_WARP_SIZE),
            Some(32)
        );
        assert_eq!(
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS),
            Some(0)
        );
        assert_eq!(attribute(Attribute::CU_DEVICE_ATTRIBUTE_CLOCK_RATE), None);
        assert_eq!(device.launch_limits.grid, [u32::MAX, 65535, u32::MAX]);
    }

    #[test]
    fn every_mask_has_a_reason_and_is_listed_once() {
        for (index, (attribute, reason)) in MASKED.iter().enumerate() {
            assert!(attribute.name().is_some() && !reason.is_empty());
            let again = MASKED[..index].iter().any(|(other, _)| other == attribute);
            assert!(!again, "{attribute:?}");
        }
    }
}
