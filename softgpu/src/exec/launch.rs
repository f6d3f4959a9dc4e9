// SPDX-License-Identifier: Apache-2.0
//! Kernel launches.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::block::{Block, Buffers, Outcome};
use super::cluster::Cluster;
use super::decode::Program;
use super::device_runtime::DeviceFacts;
use super::fault::Fault;
use super::grids::{self, Child, Grids};
use super::group::{Mask, WARPS_MAX};
use super::heap::Heap;
use super::module::{KernelId, LoadedModule};
use super::pool;
use super::special::{ClusterValues, LaneTables, SpecialValues};
use super::urgency::Urgency;
use crate::ir::{FunctionId, Kernel};
use crate::limits::{
    DEVICE_LAUNCHES_MAX, FUNCTION_WINDOW_BASE, MAX_BLOCK_DIMENSIONS, MAX_CLUSTER_BLOCKS,
    MAX_GRID_DIMENSIONS, MAX_LOCAL_BYTES_PER_THREAD, MAX_THREADS_PER_BLOCK,
    SHARED_BYTES_PER_BLOCK_MAX,
};
use crate::memory::Memory;
use crate::printf::PrintfSink;

/// Time a launch runs on the caller's thread alone before it asks others for help.
const HELP_AFTER: Duration = Duration::from_micros(20);
/// Blocks and threads that one multiprocessor holds at a time. A worker stands for a
/// multiprocessor, but as it may have to do the work of all, it holds as many blocks as all would.
const BLOCKS_PER_MULTIPROCESSOR: usize = 32;
const THREADS_PER_MULTIPROCESSOR: usize = 2048;
/// Bytes of the grid workspace of a cooperative launch.
const WORKSPACE_BYTES: u64 = 512;
/// Blocks whose memory a thread keeps for its next blocks.
const KEPT_BLOCKS_MAX: usize = 64;

/// Shape of a launch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaunchConfig {
    /// Blocks in x, y, z.
    pub grid: [u32; 3],
    /// Threads of a block in x, y, z.
    pub block: [u32; 3],
    /// Dynamic shared memory in bytes.
    pub dynamic_shared_bytes: u32,
    /// All blocks are resident at once, so that they may wait for each other.
    pub cooperative: bool,
    /// Blocks of a cluster in x, y, z; without it, what the kernel requires, or single blocks.
    pub cluster: Option<[u32; 3]>,
}

/// Which block of the grid, and of which cluster.
pub(crate) struct Place {
    pub(crate) index: [u32; 3],
    /// `None` for a block that is a cluster of its own.
    pub(crate) cluster: Option<Rc<Cluster>>,
    /// Rank in the cluster.
    pub(crate) rank: u32,
}

/// How a launch is carried out.
#[derive(Clone, Copy)]
pub struct LaunchOptions<'a> {
    /// Takes the output of `printf`.
    pub printf: &'a dyn PrintfSink,
    /// Threads that may run blocks, the caller's included; at least 1.
    pub workers: usize,
    /// Ends the launch with [`Fault::Cancelled`] when it becomes true.
    pub cancel: Option<&'a AtomicBool>,
    /// Smaller is more urgent: a launch that is less urgent than another begins no block while the
    /// other has some to begin.
    pub priority: i32,
    /// Answers kernels that ask about their device.
    pub device: Option<&'a dyn DeviceFacts>,
    /// Where kernels allocate; without it, in device memory without a limit.
    pub heap: Option<&'a Heap>,
    /// Bytes of stack that a thread has where its kernel does not need more in any case: recursion
    /// beyond is a [`Fault::StackOverflow`].
    pub stack_bytes: u32,
    /// Launches by kernels that may wait to begin.
    pub pending_launches_max: usize,
}

impl<'a> LaunchOptions<'a> {
    /// One worker, and no limits but the device's.
    #[must_use]
    pub fn new(printf: &'a dyn PrintfSink) -> Self {
        Self {
            printf,
            workers: 1,
            cancel: None,
            priority: 0,
            device: None,
            heap: None,
            stack_bytes: MAX_LOCAL_BYTES_PER_THREAD,
            pending_launches_max: DEVICE_LAUNCHES_MAX,
        }
    }
}

/// What a launch did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaunchStatistics {
    /// Blocks run.
    pub blocks: u64,
    /// Instructions executed (one for all lanes that step together).
    pub instructions: u64,
    /// Instructions times the lanes that executed them.
    pub lane_instructions: u64,
}

/// What all blocks of a launch share.
pub(crate) struct Launch<'a> {
    pub(crate) program: &'a Program,
    pub(crate) kernel: &'a Kernel,
    pub(crate) memory: &'a Memory,
    pub(crate) parameters: &'a [u8],
    pub(crate) printf: &'a dyn PrintfSink,
    /// Warps of a block.
    pub(crate) warps: usize,
    pub(crate) shared_bytes: u32,
    /// The lanes of a block.
    pub(crate) all_lanes: Mask,
    /// The others.
    pub(crate) no_lanes: Mask,
    /// Another worker has met a fault.
    pub(crate) is_stopping: AtomicBool,
    cancel: Option<&'a AtomicBool>,
    config: LaunchConfig,
    /// Blocks of a cluster in x, y, z.
    cluster: [u32; 3],
    /// Threads that may take part.
    workers: u32,
    tables: Arc<LaneTables>,
    grid_id: u64,
    workspace: u64,
    /// Of a kernel that may launch others.
    pub(crate) grids: Option<&'a dyn Grids>,
    pub(crate) device: Option<&'a dyn DeviceFacts>,
    heap: Option<&'a Heap>,
    /// Bytes of stack of a thread.
    pub(crate) stack_bytes: u32,
}

impl Launch<'_> {
    pub(crate) fn special_values(&self, place: &Place, multiprocessor: u32) -> SpecialValues {
        let index = place.index;
        let is_explicit = self
            .config
            .cluster
            .or(self.kernel.required_cluster)
            .is_some();
        let cluster = match &place.cluster {
            Some(cluster) => ClusterValues {
                index: cluster.index,
                grid_dimension: cluster.grid_dimension,
                block_position: cluster.block_position(place.rank),
                dimension: cluster.dimension,
                rank: place.rank,
                is_explicit,
            },
            None => ClusterValues {
                index,
                grid_dimension: self.config.grid,
                block_position: [0; 3],
                dimension: [1; 3],
                rank: 0,
                is_explicit,
            },
        };
        SpecialValues {
            cluster,
            tables: Arc::clone(&self.tables),
            block_dimension: self.config.block,
            block_index: index,
            grid_dimension: self.config.grid,
            multiprocessor,
            multiprocessors: self.workers,
            grid_id: self.grid_id,
            dynamic_shared_bytes: self.config.dynamic_shared_bytes,
            total_shared_bytes: self.shared_bytes,
            workspace: self.workspace,
        }
    }

    /// Clusters in x, y, z.
    fn cluster_grid(&self) -> [u32; 3] {
        std::array::from_fn(|axis| self.config.grid[axis] / self.cluster[axis])
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancel
            .is_some_and(|cancel| cancel.load(Ordering::Relaxed))
            || self.grids.is_some_and(Grids::is_stopping)
    }

    /// `malloc`.
    pub(crate) fn allocate(&self, bytes: u64) -> Option<u64> {
        match self.heap {
            Some(heap) => heap.allocate(self.memory, bytes),
            None => self.memory.alloc(bytes.max(1)).ok(),
        }
    }

    /// `free` of what is not null; false if it was not allocated.
    pub(crate) fn free(&self, address: u64) -> bool {
        match self.heap {
            Some(heap) => heap.free(self.memory, address),
            None => self.memory.free(address).is_ok(),
        }
    }

    /// The program function that a function pointer means.
    pub(crate) fn function_of(&self, pointer: u64) -> Option<u32> {
        let id = self.function_id_of(pointer)?;
        self.program.by_id.get(&id).copied()
    }

    /// The module's function that a function pointer means.
    pub(crate) fn function_id_of(&self, pointer: u64) -> Option<FunctionId> {
        let relative = pointer.checked_sub(FUNCTION_WINDOW_BASE)?;
        let id = FunctionId((relative as u32) >> 4);
        let is_ours = relative >> 32 == u64::from(self.program.module_number) && relative & 15 == 0;
        is_ours.then_some(id)
    }
}

/// Runs a kernel to its end.
///
/// `parameters` is the parameter block, laid out as the kernel's parameter list says.
pub fn launch(
    module: &LoadedModule,
    kernel: KernelId,
    config: &LaunchConfig,
    parameters: &[u8],
    options: &LaunchOptions<'_>,
) -> Result<LaunchStatistics, Fault> {
    if !module.launches_grids() {
        return launch_grid(module, kernel, config, parameters, options, None);
    }
    let root = Child {
        kernel,
        config: *config,
        parameters: parameters.to_vec(),
    };
    grids::run(module, &root, options)
}

/// Runs the blocks of one grid.
pub(crate) fn launch_grid(
    module: &LoadedModule,
    kernel: KernelId,
    config: &LaunchConfig,
    parameters: &[u8],
    options: &LaunchOptions<'_>,
    grids: Option<&dyn Grids>,
) -> Result<LaunchStatistics, Fault> {
    static GRID_ID: AtomicU64 = AtomicU64::new(1);
    let Some((kernel, program)) = module.program(kernel) else {
        let reason = "no such kernel".into();
        return Err(Fault::Configuration {
            kernel: String::new(),
            reason,
        });
    };
    let shared_bytes =
        check(kernel, config, parameters).map_err(|reason| Fault::Configuration {
            kernel: kernel.name.clone(),
            reason: reason.into(),
        })?;
    let memory = &**module.memory();
    let workspace = Workspace::new(memory, config.cooperative)?;
    let threads = config.block.iter().product::<u32>();
    let warps = threads.div_ceil(32) as usize;
    let all_lanes = Mask::first(threads);
    let mut no_lanes = Mask([!0; WARPS_MAX]);
    no_lanes.remove(&all_lanes, warps);
    let launch = Launch {
        all_lanes,
        no_lanes,
        program,
        kernel,
        memory,
        parameters,
        printf: options.printf,
        warps,
        shared_bytes,
        is_stopping: AtomicBool::new(false),
        cancel: options.cancel,
        config: *config,
        cluster: config.cluster.or(kernel.required_cluster).unwrap_or([1; 3]),
        workers: options.workers.max(1) as u32,
        tables: tables(config.block, warps as u32 * 32),
        grid_id: GRID_ID.fetch_add(1, Ordering::Relaxed),
        workspace: workspace.address,
        grids,
        device: options.device,
        heap: options.heap,
        stack_bytes: options.stack_bytes.max(program.needs.stack_bytes),
    };
    Scheduler::new(&launch, options.priority).run(options.workers.max(1))
}

/// Checks the shape; answers the bytes of shared memory of a block.
pub(crate) fn check(
    kernel: &Kernel,
    config: &LaunchConfig,
    parameters: &[u8],
) -> Result<u32, &'static str> {
    let LaunchConfig {
        grid,
        block,
        dynamic_shared_bytes,
        ..
    } = *config;
    if grid.iter().chain(&block).any(|size| *size == 0) {
        return Err("a dimension is zero");
    }
    if grid
        .iter()
        .zip(MAX_GRID_DIMENSIONS)
        .any(|(size, limit)| *size > limit)
    {
        return Err("the grid is too large");
    }
    let threads: u64 = block.iter().map(|size| u64::from(*size)).product();
    if block
        .iter()
        .zip(MAX_BLOCK_DIMENSIONS)
        .any(|(size, limit)| *size > limit)
        || threads > u64::from(MAX_THREADS_PER_BLOCK)
    {
        return Err("the block is too large");
    }
    if kernel
        .required_threads
        .is_some_and(|required| required != block)
    {
        return Err("the block does not have the required shape");
    }
    let limit = kernel
        .max_threads
        .map(|max| max.iter().map(|size| u64::from(*size)).product());
    if limit.is_some_and(|limit: u64| threads > limit) {
        return Err("the block has more threads than the kernel allows");
    }
    check_cluster(kernel, config)?;
    if (parameters.len() as u64) < u64::from(kernel.parameter_bytes) {
        return Err("parameters are missing");
    }
    let alignment = u64::from(kernel.dynamic_shared_alignment.max(1));
    let fixed = u64::from(kernel.static_shared_bytes);
    let total = if dynamic_shared_bytes == 0 {
        fixed
    } else {
        fixed.next_multiple_of(alignment) + u64::from(dynamic_shared_bytes)
    };
    if total > u64::from(SHARED_BYTES_PER_BLOCK_MAX) {
        return Err("too much shared memory");
    }
    Ok(total as u32)
}

fn check_cluster(kernel: &Kernel, config: &LaunchConfig) -> Result<(), &'static str> {
    let Some(cluster) = config.cluster.or(kernel.required_cluster) else {
        return match kernel.is_cluster_explicit {
            true => Err("the kernel wants the dimensions of a cluster"),
            false => Ok(()),
        };
    };
    let blocks: u64 = cluster.iter().map(|size| u64::from(*size)).product();
    let limit = kernel.max_cluster_blocks.unwrap_or(MAX_CLUSTER_BLOCKS);
    if blocks == 0 || blocks > u64::from(limit.min(MAX_CLUSTER_BLOCKS)) {
        return Err("the cluster has no blocks or too many");
    }
    if kernel
        .required_cluster
        .is_some_and(|required| required != cluster)
    {
        return Err("the cluster does not have the required shape");
    }
    if config
        .grid
        .iter()
        .zip(cluster)
        .any(|(size, cluster)| !size.is_multiple_of(cluster))
    {
        return Err("the grid does not consist of whole clusters");
    }
    Ok(())
}

/// The lane tables of a block shape; the last few are kept.
fn tables(block: [u32; 3], lanes: u32) -> Arc<LaneTables> {
    static KNOWN: Mutex<Option<HashMap<[u32; 3], Arc<LaneTables>>>> = Mutex::new(None);
    let mut known = KNOWN.lock();
    let known = known.get_or_insert_default();
    if known.len() > 64 {
        known.clear();
    }
    Arc::clone(
        known
            .entry(block)
            .or_insert_with(|| LaneTables::new(block, lanes)),
    )
}

/// Device memory that the blocks of a cooperative launch synchronise through.
struct Workspace<'a> {
    memory: &'a Memory,
    address: u64,
}

impl<'a> Workspace<'a> {
    fn new(memory: &'a Memory, is_wanted: bool) -> Result<Self, Fault> {
        let out_of_memory = |_| Fault::OutOfMemory {
            what: "the grid workspace".into(),
        };
        let mut address = 0;
        if is_wanted {
            address = memory.alloc(WORKSPACE_BYTES).map_err(out_of_memory)?;
            memory
                .fill(address, &[0], WORKSPACE_BYTES)
                .map_err(out_of_memory)?;
        }
        Ok(Self { memory, address })
    }
}

impl Drop for Workspace<'_> {
    fn drop(&mut self) {
        if self.address != 0 {
            // It was allocated here; nobody else frees it.
            let _ = self.memory.free(self.address);
        }
    }
}

/// Hands out blocks to workers and collects their results.
struct Scheduler<'a> {
    launch: &'a Launch<'a>,
    next: AtomicU64,
    clusters: u64,
    result: Mutex<Result<LaunchStatistics, Fault>>,
    workers: AtomicU64,
    urgency: Urgency,
}

impl<'a> Scheduler<'a> {
    fn new(launch: &'a Launch<'a>, priority: i32) -> Self {
        Self {
            launch,
            urgency: Urgency::new(priority),
            next: AtomicU64::new(0),
            clusters: launch
                .cluster_grid()
                .iter()
                .map(|size| u64::from(*size))
                .product(),
            result: Mutex::new(Ok(LaunchStatistics::default())),
            workers: AtomicU64::new(0),
        }
    }

    fn run(self, workers: usize) -> Result<LaunchStatistics, Fault> {
        let helpers_max = (workers as u64).min(self.clusters).saturating_sub(1) as usize;
        let help = || self.work(&mut || {});
        let mut helpers = None;
        let start = Instant::now();
        self.work(&mut || {
            if helpers_max > 0 && helpers.is_none() && start.elapsed() > HELP_AFTER {
                helpers = Some(pool::help(helpers_max, &help));
            }
        });
        drop(helpers);
        if self.launch.is_cancelled() {
            return Err(Fault::Cancelled {
                kernel: self.launch.kernel.name.clone(),
            });
        }
        self.result.into_inner()
    }

    /// Runs blocks until there are none left; calls `between` after each step.
    fn work(&self, between: &mut dyn FnMut()) {
        let worker = self.workers.fetch_add(1, Ordering::Relaxed) as u32;
        let mut statistics = LaunchStatistics::default();
        let mut waiting: VecDeque<Block<'a>> = VecDeque::new();
        let outcome = self.run_blocks(worker, &mut waiting, &mut statistics, between);
        for block in waiting {
            give_back(block.into_buffers());
        }
        let mut result = self.result.lock();
        match (outcome, &mut *result) {
            (Ok(()), Ok(sum)) => {
                sum.blocks += statistics.blocks;
                sum.instructions += statistics.instructions;
                sum.lane_instructions += statistics.lane_instructions;
            }
            (Err(fault), Ok(_)) => *result = Err(fault),
            // The first fault counts.
            (_, Err(_)) => {}
        }
    }

    fn run_blocks(
        &self,
        worker: u32,
        waiting: &mut VecDeque<Block<'a>>,
        statistics: &mut LaunchStatistics,
        between: &mut dyn FnMut(),
    ) -> Result<(), Fault> {
        // Blocks in a row that got nowhere.
        let mut idle_turns = 0;
        loop {
            if self.launch.is_stopping.load(Ordering::Relaxed) || self.launch.is_cancelled() {
                return Ok(());
            }
            let has_room = self.launch.config.cooperative || waiting.len() < self.resident_max();
            let fresh = if has_room { self.take() } else { None };
            let mut block = match fresh {
                Some(index) => self
                    .begin_cluster(index, worker, waiting)
                    .inspect_err(|_| self.launch.is_stopping.store(true, Ordering::Relaxed))?,
                None => match waiting.pop_front() {
                    Some(block) => block,
                    None => return Ok(()),
                },
            };
            let before = block.instructions;
            let outcome = block.run();
            match outcome {
                Ok(Outcome::Done) => {
                    idle_turns = 0;
                    statistics.blocks += 1;
                    statistics.instructions += block.instructions;
                    statistics.lane_instructions += block.lane_instructions;
                    give_back(block.into_buffers());
                }
                Ok(Outcome::Yielded) => {
                    idle_turns += usize::from(block.instructions - before < 1 << 20);
                    waiting.push_back(block);
                    if idle_turns > 2 * waiting.len() {
                        // Everybody here waits for somebody elsewhere.
                        std::thread::yield_now();
                        idle_turns = 0;
                    }
                }
                Ok(Outcome::Stopped) => {
                    give_back(block.into_buffers());
                    return Ok(());
                }
                Err(fault) => {
                    self.launch.is_stopping.store(true, Ordering::Relaxed);
                    return Err(fault);
                }
            }
            between();
        }
    }

    /// Makes the blocks of a cluster; answers the first, the others wait.
    fn begin_cluster(
        &self,
        index: [u32; 3],
        worker: u32,
        waiting: &mut VecDeque<Block<'a>>,
    ) -> Result<Block<'a>, Fault> {
        let launch = self.launch;
        if launch.cluster == [1; 3] {
            let place = Place {
                index,
                cluster: None,
                rank: 0,
            };
            return Block::new(launch, &place, worker, take_buffers());
        }
        let grid = launch.cluster_grid();
        let cluster = Rc::new(Cluster::new(launch.cluster, index, grid, &launch.no_lanes));
        let make = |rank| {
            let position = cluster.block_position(rank);
            let place = Place {
                index: std::array::from_fn(|axis| {
                    index[axis] * launch.cluster[axis] + position[axis]
                }),
                cluster: Some(Rc::clone(&cluster)),
                rank,
            };
            Block::new(launch, &place, worker, take_buffers())
        };
        for rank in 1..cluster.blocks() {
            waiting.push_back(make(rank)?);
        }
        make(0)
    }

    /// Blocks that one worker holds at a time in a launch that is not cooperative. With clusters,
    /// one cluster at a time.
    fn resident_max(&self) -> usize {
        if self.launch.cluster != [1; 3] {
            return 1;
        }
        let each = THREADS_PER_MULTIPROCESSOR / (self.launch.warps * 32);
        each.min(BLOCKS_PER_MULTIPROCESSOR) * self.launch.workers as usize
    }

    /// The index of the next cluster.
    fn take(&self) -> Option<[u32; 3]> {
        if self.next.load(Ordering::Relaxed) >= self.clusters {
            return None;
        }
        self.urgency.hold();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        if number + 1 >= self.clusters {
            self.urgency.all_begun();
        }
        if number >= self.clusters {
            return None;
        }
        let [x, y, _] = self.launch.cluster_grid().map(u64::from);
        // Each is below its dimension, which has 32 bits.
        Some([
            (number % x) as u32,
            (number / x % y) as u32,
            (number / x / y) as u32,
        ])
    }
}

/// Bytes of block memory that a thread keeps for its next blocks.
const KEPT_BYTES_MAX: usize = 16 << 20;

thread_local! {
    static KEPT: RefCell<Vec<Buffers>> = const { RefCell::new(Vec::new()) };
}

fn take_buffers() -> Buffers {
    KEPT.with_borrow_mut(|kept| kept.pop()).unwrap_or_default()
}

fn give_back(buffers: Buffers) {
    KEPT.with_borrow_mut(|kept| {
        if kept.len() < KEPT_BLOCKS_MAX && buffers.bytes() * (kept.len() + 1) <= KEPT_BYTES_MAX {
            kept.push(buffers);
        }
    });
}
