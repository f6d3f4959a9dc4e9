// SPDX-License-Identifier: Apache-2.0
//! Fixed numbers of the driver API; those of the machine are in [`crate::limits`], those of a
//! compute capability in [`mod@super::architecture`]. Resource numbers are those of compute
//! capability 7.5 to 9.0 (CUDA programming guide, "Technical Specifications per Compute
//! Capability").

use std::time::Duration;

/// What `cuDriverGetVersion` says: 1000 × major + 10 × minor.
pub(crate) const DRIVER_VERSION: u32 = 13_050;
/// What `cuDeviceGetName` says.
pub(crate) const DEVICE_NAME: &str = "gvirtus softgpu";

/// 32-bit registers of a multiprocessor, and of a block.
pub(super) const REGISTERS_PER_MULTIPROCESSOR: u32 = 65_536;
/// Registers are given to warps in pieces of this size.
pub(super) const REGISTER_GRANULE: u32 = 256;
/// 32-bit registers of a thread.
pub(super) const REGISTERS_PER_THREAD_MAX: u32 = 255;
/// Constant memory in bytes.
pub(super) const TOTAL_CONSTANT_BYTES: u32 = 65_536;

/// Longest pitch of a 2D copy in bytes.
pub(super) const MAX_PITCH_BYTES: u32 = 0x7fff_ffff;
/// Rows that `cuMemAllocPitch` makes start at a multiple of so many bytes.
pub(super) const PITCH_ALIGNMENT_BYTES: usize = 512;

/// Copies and memsets up to this many bytes run on the calling thread if nothing is before them.
pub(super) const SHORT_COPY_BYTES: usize = 128 << 10;
/// Pageable memory up to this many bytes is kept aside when a copy from it has to wait; for more
/// the call waits.
pub(super) const STAGED_COPY_BYTES: usize = 16 << 20;

/// Stream priorities: least and greatest.
pub(super) const STREAM_PRIORITIES: [i32; 2] = [0, -5];

/// Defaults of `cuCtxGetLimit` in bytes.
pub(super) const DEFAULT_STACK_BYTES: usize = 1024;
pub(super) const DEFAULT_PRINTF_BYTES: usize = 1 << 20;
pub(super) const DEFAULT_HEAP_BYTES: usize = 8 << 20;
pub(super) const DEFAULT_L2_FETCH_BYTES: usize = 64;
/// The range of `CU_LIMIT_MAX_L2_FETCH_GRANULARITY` ends here.
pub(super) const L2_FETCH_BYTES_MAX: usize = 128;
/// Size of the L2 cache that is reported, and of it what may be set aside for persisting accesses.
pub(super) const L2_CACHE_BYTES: i32 = 4 << 20;
/// See [`L2_CACHE_BYTES`].
pub(super) const PERSISTING_L2_BYTES_MAX: i32 = L2_CACHE_BYTES / 4 * 3;
/// The range of `CU_LIMIT_DEV_RUNTIME_SYNC_DEPTH` ends here.
pub(super) const SYNC_DEPTH_MAX: usize = 24;
/// Defaults of `cuCtxGetLimit` for kernels that launch kernels.
pub(super) const DEFAULT_SYNC_DEPTH: usize = 2;
pub(super) const DEFAULT_PENDING_LAUNCHES: usize = 2048;

/// Threads times instructions up to which a kernel without loops runs on the launching thread: a
/// few microseconds, about what it takes to wake another thread.
pub(super) const SHORT_LAUNCH_STEPS: u64 = 1 << 15;
/// What starting a block costs, in the same measure.
pub(super) const STEPS_PER_BLOCK: u64 = 1 << 12;

/// Operations of one `cuStreamBatchMemOp`, as `cuda.h` has it.
pub(super) const MEMORY_OPERATIONS_MAX: u32 = 256;
/// Longest pause between two looks at a word that a stream waits for.
pub(super) const MEMORY_POLL_MAX: Duration = Duration::from_micros(100);
// Largest textures and surfaces, as compute capability 8.0 has them; in texels.

/// Width of a one-dimensional array.
pub(super) const TEXTURE_1D_WIDTH_MAX: u32 = 131_072;
/// Width of linear memory that is read as a texture.
pub(super) const TEXTURE_1D_LINEAR_WIDTH_MAX: u32 = 1 << 28;
/// Width of a two-dimensional array.
pub(super) const TEXTURE_2D_WIDTH_MAX: u32 = 131_072;
/// Height of a two-dimensional array.
pub(super) const TEXTURE_2D_HEIGHT_MAX: u32 = 65_536;
/// Width and height of pitched memory that is read as a texture.
pub(super) const TEXTURE_2D_LINEAR_WIDTH_MAX: u32 = 131_072;
/// See [`TEXTURE_2D_LINEAR_WIDTH_MAX`].
pub(super) const TEXTURE_2D_LINEAR_HEIGHT_MAX: u32 = 65_000;
/// Pitch of such memory, in bytes.
pub(super) const TEXTURE_2D_LINEAR_PITCH_MAX: u32 = 2_097_120;
/// Each side of a three-dimensional array.
pub(super) const TEXTURE_3D_WIDTH_MAX: u32 = 16_384;
/// Each side of an array that textures gather from.
pub(super) const GATHER_WIDTH_MAX: u32 = 32_768;
/// Width and height of a layer.
pub(super) const LAYERED_WIDTH_MAX: u32 = 32_768;
/// Layers of an array.
pub(super) const LAYERS_MAX: u32 = 2048;
/// Faces of all cubes of a layered cubemap.
pub(super) const CUBEMAP_LAYERS_MAX: u32 = 2046;
/// Width of a cube's face.
pub(super) const CUBEMAP_WIDTH_MAX: u32 = 32_768;
/// Each side of a mipmapped array.
pub(super) const MIPMAPPED_WIDTH_MAX: u32 = 32_768;
/// Granularity of `cuMemCreate` and `cuMemAddressReserve`.
pub(super) const VIRTUAL_GRANULARITY_BYTES: u64 = 2 << 20;
/// Records of an event between processes that can be under way at the same time.
pub(super) const SHARED_EVENT_RECORDS: u32 = 64;
