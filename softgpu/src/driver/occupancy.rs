// SPDX-License-Identifier: Apache-2.0
//! Occupancy (`cuda.h`: "Occupancy"): how many blocks a multiprocessor of the reported compute
//! capability holds. Programs choose their grids by it, so it is computed as for the real thing.

use gvirtus_abi::{CUfunction, CUlaunchConfig, CUoccupancyB2DSize, CUresult};

use super::architecture;
use super::arguments::out;
use super::function::{self, Function, Settings};
use super::launch;
use super::limits::{REGISTER_GRANULE, REGISTERS_PER_MULTIPROCESSOR};
use super::program::Program;
use crate::ir;
use crate::limits::WARP_SIZE;

/// Warps get their registers in groups of so many.
const WARP_ALLOCATION_GRANULE: u32 = 4;

/// What of a kernel decides.
#[derive(Clone, Copy, Debug)]
pub(super) struct Demand {
    pub(super) registers_per_thread: u32,
    pub(super) static_shared_bytes: u32,
    pub(super) max_dynamic_shared_bytes: u32,
    pub(super) max_threads: u32,
    /// Percentage of the largest shared memory that a multiprocessor should have.
    pub(super) carveout_percent: Option<u32>,
}

impl Demand {
    pub(super) fn of(function: &Function) -> Self {
        Self::of_kernel(function.program(), function.kernel(), &function.settings)
    }

    pub(super) fn of_kernel(program: &Program, kernel: &ir::Kernel, settings: &Settings) -> Self {
        Self {
            registers_per_thread: function::registers(program, kernel),
            static_shared_bytes: kernel.static_shared_bytes,
            max_dynamic_shared_bytes: settings.max_dynamic_shared_bytes(),
            max_threads: function::max_threads(kernel),
            carveout_percent: settings.carveout_percent(),
        }
    }

    /// Blocks of so many threads that a multiprocessor holds; 0 if a block cannot run at all.
    pub(super) fn blocks(&self, threads: u32, dynamic_shared_bytes: usize) -> u32 {
        let is_small = dynamic_shared_bytes <= self.max_dynamic_shared_bytes as usize;
        if threads == 0 || threads > self.max_threads || !is_small {
            return 0;
        }
        let warps = threads.div_ceil(WARP_SIZE);
        let architecture = architecture::current();
        let by_warps = architecture.threads_per_multiprocessor / WARP_SIZE / warps;
        let registers = (self.registers_per_thread * WARP_SIZE).next_multiple_of(REGISTER_GRANULE);
        let by_registers = REGISTERS_PER_MULTIPROCESSOR
            .checked_div(registers)
            .map_or(u32::MAX, |warps_held| {
                warps_held / WARP_ALLOCATION_GRANULE * WARP_ALLOCATION_GRANULE / warps
            });
        let shared = self.shared_bytes(dynamic_shared_bytes as u32);
        let by_shared = match shared {
            0 => u32::MAX,
            _ => {
                self.preferred_shared_bytes()
                    .max(architecture.shared_bytes_with(shared))
                    / shared
            }
        };
        by_warps
            .min(by_registers)
            .min(by_shared)
            .min(architecture.blocks_per_multiprocessor)
    }

    fn shared_bytes(&self, dynamic: u32) -> u32 {
        (self.static_shared_bytes + dynamic + architecture::current().reserved_shared_bytes)
            .next_multiple_of(architecture::current().shared_granule_bytes)
    }

    /// Shared memory of a multiprocessor, as the kernel prefers it to be split from the L1 cache.
    fn preferred_shared_bytes(&self) -> u32 {
        let architecture = architecture::current();
        let most = architecture.shared_bytes_per_multiprocessor;
        let percent = self.carveout_percent.unwrap_or(100).min(100);
        architecture.shared_bytes_with(most * percent / 100)
    }

    /// Dynamic shared memory in bytes that each of so many resident blocks can have.
    fn available_shared(&self, blocks: u32) -> u32 {
        let architecture = architecture::current();
        let all = match blocks {
            1 => architecture.shared_bytes_per_multiprocessor,
            _ => self
                .preferred_shared_bytes()
                .max(architecture.shared_bytes_with(1)),
        };
        let granule = architecture.shared_granule_bytes;
        let each = all / blocks.max(1) / granule * granule;
        each.saturating_sub(self.static_shared_bytes + architecture.reserved_shared_bytes)
            .min(self.max_dynamic_shared_bytes)
    }

    /// The block size with most resident threads, and its blocks a multiprocessor; the larger block
    /// where two are equal.
    fn best(&self, limit: u32, mut dynamic: impl FnMut(u32) -> usize) -> (u32, u32) {
        let limit = limit.min(self.max_threads);
        let mut best = (0, 0);
        let mut step = limit.next_multiple_of(WARP_SIZE);
        while step > 0 {
            let threads = step.min(limit);
            let blocks = self.blocks(threads, dynamic(threads));
            if blocks * threads > best.0 * best.1 {
                best = (threads, blocks);
            }
            step -= WARP_SIZE;
        }
        best
    }
}

fn block_size(threads: i32) -> Result<u32, CUresult> {
    u32::try_from(threads)
        .ok()
        .filter(|threads| *threads > 0)
        .ok_or(CUresult::CUDA_ERROR_INVALID_VALUE)
}

pub(crate) unsafe fn cuOccupancyMaxActiveBlocksPerMultiprocessor(
    numBlocks: *mut i32,
    func: CUfunction,
    blockSize: i32,
    dynamicSMemSize: usize,
) -> Result<(), CUresult> {
    // SAFETY: the same contract.
    unsafe {
        cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
            numBlocks,
            func,
            blockSize,
            dynamicSMemSize,
            0,
        )
    }
}

/// The flag is about caches, of which there are none.
pub(crate) unsafe fn cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
    numBlocks: *mut i32,
    func: CUfunction,
    blockSize: i32,
    dynamicSMemSize: usize,
    flags: u32,
) -> Result<(), CUresult> {
    let function = function::find(func)?;
    check_flags(flags)?;
    let threads = block_size(blockSize)?;
    out!(numBlocks = Demand::of(&function).blocks(threads, dynamicSMemSize) as i32);
    Ok(())
}

pub(crate) unsafe fn cuOccupancyMaxPotentialBlockSize(
    minGridSize: *mut i32,
    blockSize: *mut i32,
    func: CUfunction,
    blockSizeToDynamicSMemSize: CUoccupancyB2DSize,
    dynamicSMemSize: usize,
    blockSizeLimit: i32,
) -> Result<(), CUresult> {
    // SAFETY: the same contract.
    unsafe {
        cuOccupancyMaxPotentialBlockSizeWithFlags(
            minGridSize,
            blockSize,
            func,
            blockSizeToDynamicSMemSize,
            dynamicSMemSize,
            blockSizeLimit,
            0,
        )
    }
}

pub(crate) unsafe fn cuOccupancyMaxPotentialBlockSizeWithFlags(
    minGridSize: *mut i32,
    blockSize: *mut i32,
    func: CUfunction,
    blockSizeToDynamicSMemSize: CUoccupancyB2DSize,
    dynamicSMemSize: usize,
    blockSizeLimit: i32,
    flags: u32,
) -> Result<(), CUresult> {
    let function = function::find(func)?;
    check_flags(flags)?;
    let limit = match blockSizeLimit {
        0 => u32::MAX,
        limit => block_size(limit)?,
    };
    let dynamic = |threads: u32| match blockSizeToDynamicSMemSize {
        None => dynamicSMemSize,
        Some(callback) => {
            // SAFETY: cuda.h declares the callback as `size_t (*)(int)`.
            let callback = unsafe {
                core::mem::transmute::<unsafe extern "C" fn(), unsafe extern "C" fn(i32) -> usize>(
                    callback,
                )
            };
            // SAFETY: the application's callback takes any block size.
            unsafe { callback(threads as i32) }
        }
    };
    let (threads, blocks) = Demand::of(&function).best(limit, dynamic);
    out!(minGridSize = (blocks * function.context.device.multiprocessors) as i32);
    out!(blockSize = threads as i32);
    Ok(())
}

pub(crate) unsafe fn cuOccupancyAvailableDynamicSMemPerBlock(
    dynamicSmemSize: *mut usize,
    func: CUfunction,
    numBlocks: i32,
    blockSize: i32,
) -> Result<(), CUresult> {
    let function = function::find(func)?;
    let demand = Demand::of(&function);
    let (blocks, threads) = (block_size(numBlocks)?, block_size(blockSize)?);
    if blocks > demand.blocks(threads, 0) {
        return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
    }
    out!(dynamicSmemSize = demand.available_shared(blocks) as usize);
    Ok(())
}

/// Of any size that the kernel allows a cluster runs, because its blocks run in turns; what limits
/// is whether a block runs at all.
pub(crate) unsafe fn cuOccupancyMaxPotentialClusterSize(
    clusterSize: *mut i32,
    func: CUfunction,
    config: *const CUlaunchConfig,
) -> Result<(), CUresult> {
    let function = function::find(func)?;
    // SAFETY: the same contract.
    let (threads, dynamic, _) = unsafe { cluster_question(config)? };
    let limit = function.settings.max_cluster_blocks();
    let limit = limit.min(function.kernel().max_cluster_blocks.unwrap_or(limit));
    let has_room = Demand::of(&function).blocks(threads, dynamic) > 0;
    out!(clusterSize = if has_room { limit as i32 } else { 0 });
    Ok(())
}

pub(crate) unsafe fn cuOccupancyMaxActiveClusters(
    numClusters: *mut i32,
    func: CUfunction,
    config: *const CUlaunchConfig,
) -> Result<(), CUresult> {
    let function = function::find(func)?;
    // SAFETY: the same contract.
    let (threads, dynamic, cluster) = unsafe { cluster_question(config)? };
    let cluster = cluster.or(function.settings.required_cluster());
    let blocks = cluster.map_or(1, |cluster| cluster.iter().product());
    if blocks == 0 || blocks > function.settings.max_cluster_blocks() {
        return Err(CUresult::CUDA_ERROR_INVALID_CLUSTER_SIZE);
    }
    let each = Demand::of(&function).blocks(threads, dynamic);
    let resident = each * function.context.device.multiprocessors;
    // One always runs, as its blocks may do so in turns.
    out!(numClusters = (resident / blocks).max(each.min(1)) as i32);
    Ok(())
}

/// Threads of a block, its dynamic shared memory in bytes, and the cluster's dimensions.
///
/// # Safety
///
/// `config` is null or a whole structure with as many attributes as it says.
unsafe fn cluster_question(
    config: *const CUlaunchConfig,
) -> Result<(u32, usize, Option<[u32; 3]>), CUresult> {
    // SAFETY: the caller's promise.
    let (config, attributes) = unsafe { launch::read_config(config)? };
    let block = [config.blockDimX, config.blockDimY, config.blockDimZ];
    let threads = block.into_iter().fold(1, u32::saturating_mul);
    if threads == 0 {
        return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
    }
    let cluster = launch::read_attributes(attributes)?.cluster;
    Ok((threads, config.sharedMemBytes as usize, cluster))
}

fn check_flags(flags: u32) -> Result<(), CUresult> {
    match flags {
        0 | 1 => Ok(()),
        _ => Err(CUresult::CUDA_ERROR_INVALID_VALUE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demand(registers_per_thread: u32, static_shared_bytes: u32) -> Demand {
        Demand {
            registers_per_thread,
            static_shared_bytes,
            max_dynamic_shared_bytes: 48 << 10,
            max_threads: 1024,
            carveout_percent: None,
        }
    }

    /// Values of NVIDIA's occupancy calculator for compute capability 8.0.
    #[test]
    fn blocks_follow_the_scarcest_resource() {
        assert_eq!(demand(32, 0).blocks(256, 0), 8);
        assert_eq!(demand(32, 0).blocks(32, 0), 32);
        assert_eq!(demand(64, 0).blocks(256, 0), 4);
        assert_eq!(demand(33, 0).blocks(256, 0), 6);
        assert_eq!(demand(32, 48 << 10).blocks(128, 0), 3);
        assert_eq!(demand(32, 0).blocks(1024, 0), 2);
        assert_eq!(demand(32, 0).blocks(1025, 0), 0);
        assert_eq!(demand(32, 0).blocks(64, 49 << 10), 0);
    }

    /// Values of `cuda_occupancy.h` for compute capability 8.0.
    #[test]
    fn a_preference_for_the_cache_costs_blocks() {
        let prefers = |percent| Demand {
            carveout_percent: Some(percent),
            ..demand(32, 0)
        };
        assert_eq!(prefers(0).blocks(32, 0), 8);
        assert_eq!(prefers(5).blocks(32, 0), 16);
        assert_eq!(prefers(50).blocks(32, 0), 32);
        assert_eq!(prefers(50).blocks(128, 20 << 10), 4);
        assert_eq!(prefers(0).blocks(128, 20 << 10), 1);
        assert_eq!(prefers(50).available_shared(1), 48 << 10);
        assert_eq!(prefers(50).available_shared(4), (25 << 10) - 1024);
    }

    #[test]
    fn the_best_block_has_most_resident_threads() {
        assert_eq!(demand(32, 0).best(u32::MAX, |_| 0), (1024, 2));
        assert_eq!(demand(32, 0).best(100, |_| 0), (64, 32));
        assert_eq!(
            demand(16, 0).best(u32::MAX, |threads| threads as usize * 32),
            (1024, 2)
        );
    }

    #[test]
    fn shared_memory_is_divided_among_blocks() {
        let demand = demand(32, 1000);
        let bytes = demand.available_shared(4);
        assert!(demand.blocks(128, bytes as usize) >= 4);
        assert!(demand.blocks(128, bytes as usize + 128) < 4);
    }
}
