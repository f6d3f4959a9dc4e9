// SPDX-License-Identifier: Apache-2.0
//! `cuDeviceGetAttribute`: what the software device can do, and how large its parts are.
//!
//! Clients decide by these numbers what they try, so everything that the device cannot do is zero:
//! managed and mapped memory, memory pools, virtual memory management, inter-process handles,
//! textures and surfaces.

use gvirtus_abi::CUdevice_attribute;

use super::architecture;
use super::device::Device;
use super::limits::{MAX_PITCH_BYTES, REGISTERS_PER_MULTIPROCESSOR, TOTAL_CONSTANT_BYTES};
use crate::limits::{
    MAX_BLOCK_DIMENSIONS, MAX_GRID_DIMENSIONS, MAX_THREADS_PER_BLOCK, SHARED_BYTES_PER_BLOCK,
    WARP_SIZE,
};

/// Alignment of texture and surface addresses in bytes, as compute capability 8.0 has it; clients
/// divide by these even if they use no textures.
const TEXTURE_ALIGNMENT_BYTES: i32 = 512;
const TEXTURE_PITCH_ALIGNMENT_BYTES: i32 = 32;

/// Numbers that clients only show: there is no such clock, bus or cache.
const CLOCK_RATE_KHZ: i32 = 1_000_000;
const MEMORY_CLOCK_RATE_KHZ: i32 = 1_600_000;
const MEMORY_BUS_BITS: i32 = 128;
const L2_CACHE_BYTES: i32 = 4 << 20;

/// The value of an attribute; nothing if there is no such attribute.
pub(super) fn value(device: &Device, attribute: CUdevice_attribute) -> Option<i32> {
    let number = attribute.0;
    if number == 0 || number >= CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX.0 {
        return None;
    }
    Some(size(device, attribute).or(ability(attribute)).unwrap_or(0))
}

fn size(device: &Device, attribute: CUdevice_attribute) -> Option<i32> {
    use CUdevice_attribute as A;
    let [block_x, block_y, block_z] = MAX_BLOCK_DIMENSIONS;
    let [grid_x, grid_y, grid_z] = MAX_GRID_DIMENSIONS;
    let architecture = architecture::current();
    let unsigned = match attribute {
        A::CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK => MAX_THREADS_PER_BLOCK,
        A::CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X => block_x,
        A::CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y => block_y,
        A::CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z => block_z,
        A::CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X => grid_x,
        A::CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y => grid_y,
        A::CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z => grid_z,
        A::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK => SHARED_BYTES_PER_BLOCK,
        A::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN => {
            architecture.shared_bytes_per_block
        }
        A::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR => {
            architecture.shared_bytes_per_multiprocessor
        }
        A::CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK => {
            architecture.reserved_shared_bytes
        }
        A::CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY => TOTAL_CONSTANT_BYTES,
        A::CU_DEVICE_ATTRIBUTE_WARP_SIZE => WARP_SIZE,
        A::CU_DEVICE_ATTRIBUTE_MAX_PITCH => MAX_PITCH_BYTES,
        A::CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK
        | A::CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR => REGISTERS_PER_MULTIPROCESSOR,
        A::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT => device.multiprocessors,
        A::CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR => {
            architecture.threads_per_multiprocessor
        }
        A::CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR => {
            architecture.blocks_per_multiprocessor
        }
        A::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR => architecture.major,
        A::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR => architecture.minor,
        A::CU_DEVICE_ATTRIBUTE_CLUSTER_LAUNCH => architecture.has_clusters().into(),
        A::CU_DEVICE_ATTRIBUTE_PCI_BUS_ID => device.pci_bus().unsigned_abs(),
        _ => return None,
    };
    i32::try_from(unsigned).ok()
}

fn ability(attribute: CUdevice_attribute) -> Option<i32> {
    use CUdevice_attribute as A;
    Some(match attribute {
        A::CU_DEVICE_ATTRIBUTE_CLOCK_RATE => CLOCK_RATE_KHZ,
        A::CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE => MEMORY_CLOCK_RATE_KHZ,
        A::CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH => MEMORY_BUS_BITS,
        A::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE => L2_CACHE_BYTES,
        A::CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT | A::CU_DEVICE_ATTRIBUTE_SURFACE_ALIGNMENT => {
            TEXTURE_ALIGNMENT_BYTES
        }
        A::CU_DEVICE_ATTRIBUTE_TEXTURE_PITCH_ALIGNMENT => TEXTURE_PITCH_ALIGNMENT_BYTES,
        // Copies in one stream run beside kernels in another, in both directions.
        A::CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT => 2,
        A::CU_DEVICE_ATTRIBUTE_SINGLE_TO_DOUBLE_PRECISION_PERF_RATIO => 2,
        A::CU_DEVICE_ATTRIBUTE_GPU_OVERLAP
        | A::CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS
        | A::CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING
        | A::CU_DEVICE_ATTRIBUTE_STREAM_PRIORITIES_SUPPORTED
        | A::CU_DEVICE_ATTRIBUTE_GLOBAL_L1_CACHE_SUPPORTED
        | A::CU_DEVICE_ATTRIBUTE_LOCAL_L1_CACHE_SUPPORTED
        | A::CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH
        | A::CU_DEVICE_ATTRIBUTE_HOST_REGISTER_SUPPORTED
        | A::CU_DEVICE_ATTRIBUTE_CAN_USE_STREAM_MEM_OPS_V1
        | A::CU_DEVICE_ATTRIBUTE_CAN_USE_64_BIT_STREAM_MEM_OPS_V1
        | A::CU_DEVICE_ATTRIBUTE_CAN_USE_STREAM_WAIT_VALUE_NOR_V1
        | A::CU_DEVICE_ATTRIBUTE_CAN_USE_64_BIT_STREAM_MEM_OPS
        | A::CU_DEVICE_ATTRIBUTE_CAN_USE_STREAM_WAIT_VALUE_NOR
        | A::CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED
        | A::CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY
        | A::CU_DEVICE_ATTRIBUTE_CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM
        | A::CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY
        | A::CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS
        | A::CU_DEVICE_ATTRIBUTE_MEM_SYNC_DOMAIN_COUNT => 1,
        A::CU_DEVICE_ATTRIBUTE_NUMA_ID | A::CU_DEVICE_ATTRIBUTE_HOST_NUMA_ID => -1,
        _ => return None,
    })
}
