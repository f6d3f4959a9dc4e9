// SPDX-License-Identifier: Apache-2.0
//! Fixed numbers of the software device: limits, address windows, sizes.

/// Devices of a process.
pub const DEVICES_MAX: usize = 16;
/// Lanes of a warp.
pub const WARP_SIZE: u32 = 32;
/// Threads of a block.
pub const MAX_THREADS_PER_BLOCK: u32 = 1024;
/// Threads of a block in each dimension.
pub const MAX_BLOCK_DIMENSIONS: [u32; 3] = [1024, 1024, 64];
/// Blocks of a grid in each dimension.
pub const MAX_GRID_DIMENSIONS: [u32; 3] = [0x7fff_ffff, 65_535, 65_535];
/// Bytes of shared memory of a block that a kernel gets without asking.
pub const SHARED_BYTES_PER_BLOCK: u32 = 48 << 10;
/// Bytes of shared memory that a block can have at most, whatever compute capability is reported
/// (9.0: 227 KiB).
pub const SHARED_BYTES_PER_BLOCK_MAX: u32 = 227 << 10;
/// Bytes of kernel parameters.
pub const MAX_PARAMETER_BYTES: u32 = 32_764;
/// Blocks of a cluster that every device of compute capability 9.0 runs.
pub const PORTABLE_CLUSTER_BLOCKS: u32 = 8;
/// Blocks of a cluster, for kernels that allow sizes which are not portable.
pub const MAX_CLUSTER_BLOCKS: u32 = 16;
/// Shared addresses of a cluster: the block of rank r has its memory at (r + 1) times this. Below
/// the first multiple is the own block's memory, so that its addresses are also those of `.shared`.
pub const CLUSTER_SHARED_STRIDE: u64 = 1 << 24;
/// Barriers of a block.
pub const BARRIERS_PER_BLOCK: u32 = 16;
/// Bytes of local memory of one thread, all frames together.
pub const MAX_LOCAL_BYTES_PER_THREAD: u32 = 512 << 10;
/// Nested calls of one thread.
pub const MAX_CALL_DEPTH: u32 = 8_192;
/// Bytes of registers and local memory of one block; deeper recursion is a stack overflow.
pub const MAX_BLOCK_STATE_BYTES: usize = 1 << 30;

/// Address hint of the first device's memory; each further device is one stride up.
pub const ARENA_BASE: u64 = 0x2000_0000_0000;
/// Distance of the memories of two devices in bytes.
pub const ARENA_STRIDE_BYTES: u64 = 1 << 40;
/// Places tried before giving up.
pub const ARENA_SLOTS: u64 = 64;
/// Default device memory: at most this many bytes (and at most half of the machine's).
pub const DEFAULT_MEMORY_BYTES_MAX: u64 = 16 << 30;
/// Allocation granularity in bytes; an access is checked to this grain.
pub const ALLOCATION_GRANULE_BYTES: u64 = 512;

/// Generic window of shared memory: base address. The windows lie outside what user space of any
/// supported machine can map, so they never collide with memory.
pub const SHARED_WINDOW_BASE: u64 = 0x0100_0000_0000_0000;
/// Generic window of local memory: base address.
pub const LOCAL_WINDOW_BASE: u64 = 0x0200_0000_0000_0000;
/// Generic window of the kernel parameter block: base address (read only).
pub const PARAM_WINDOW_BASE: u64 = 0x0300_0000_0000_0000;
/// Function pointers: base address. Bits 4 up are the function number, bits 32 up a module number.
pub const FUNCTION_WINDOW_BASE: u64 = 0x0400_0000_0000_0000;
/// Length of each generic window in bytes.
pub const WINDOW_BYTES: u64 = 1 << 32;

/// Launches by kernels that have not begun, of one launch from the host.
pub const DEVICE_LAUNCHES_MAX: usize = 1 << 20;
/// Threads that run what the kernels of one launch from the host launch.
pub const DEVICE_LAUNCH_THREADS_MAX: usize = 32;

/// The heap of kernels gives memory in pieces of this size; each allocation takes so many bytes
/// more.
pub const HEAP_GRANULE_BYTES: u64 = 16;
/// See [`HEAP_GRANULE_BYTES`].
pub const HEAP_BLOCK_OVERHEAD_BYTES: u64 = 16;
