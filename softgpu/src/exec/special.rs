// SPDX-License-Identifier: Apache-2.0
//! Special registers.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::access::Element;
use super::code::{Code, More};
use super::lanes::{Lanes, Step, WARP, store};
use super::level::Portable;
use crate::ir::SpecialRegister;

/// Values that differ from lane to lane but not from block to block: `%tid`.
pub(crate) struct LaneTables {
    /// x, y, z of each lane; lanes past the block's end go on counting.
    pub(crate) thread: [Vec<u32>; 3],
}

impl LaneTables {
    /// Tables for blocks of this shape.
    pub(crate) fn new(block: [u32; 3], lanes: u32) -> Arc<Self> {
        let [x, y, _] = block;
        let table = |f: &dyn Fn(u32) -> u32| (0..lanes).map(f).collect();
        let thread = [
            table(&|lane| lane % x),
            table(&|lane| lane / x % y),
            table(&|lane| lane / x / y),
        ];
        Arc::new(Self { thread })
    }
}

/// What special registers of a block are read from.
pub(crate) struct SpecialValues {
    pub(crate) tables: Arc<LaneTables>,
    pub(crate) block_dimension: [u32; 3],
    pub(crate) block_index: [u32; 3],
    pub(crate) grid_dimension: [u32; 3],
    pub(crate) multiprocessor: u32,
    pub(crate) multiprocessors: u32,
    pub(crate) grid_id: u64,
    pub(crate) dynamic_shared_bytes: u32,
    pub(crate) total_shared_bytes: u32,
    /// Address of the grid workspace, 0 if none.
    pub(crate) workspace: u64,
    pub(crate) cluster: ClusterValues,
}

/// Where a block is in its cluster, and the cluster in the grid.
pub(crate) struct ClusterValues {
    pub(crate) index: [u32; 3],
    pub(crate) grid_dimension: [u32; 3],
    pub(crate) block_position: [u32; 3],
    pub(crate) dimension: [u32; 3],
    pub(crate) rank: u32,
    /// The launch or the kernel gives the dimension.
    pub(crate) is_explicit: bool,
}

/// A decoded read.
#[derive(Debug)]
pub(crate) struct SpecialCode {
    pub(crate) register: SpecialRegister,
    pub(crate) dst: Element,
}

/// Ticks of a counter that runs at about the rate of a GPU clock.
fn clock() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 CPU has the time stamp counter.
    return unsafe { std::arch::x86_64::_rdtsc() };
    #[cfg(not(target_arch = "x86_64"))]
    return global_timer_ns();
}

fn global_timer_ns() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_nanos() as u64)
}

/// Executes a read.
///
/// # Safety
/// `code` was decoded for the running function.
pub(crate) unsafe fn run_special(lanes: &mut Lanes, code: &Code) -> Step {
    use SpecialRegister as S;
    let More::Special(special) = &code.more else {
        return Step::Fault;
    };
    let warps = lanes.warps as u32;
    let block = lanes.block();
    if matches!(
        special.register,
        S::Clock | S::ClockHigh | S::Clock64 | S::GlobalTimer | S::GlobalTimerLow
    ) {
        // A loop that reads the time may be waiting for somebody.
        block.progress.polled = true;
    }
    let values = &block.special;
    let all = match special.register {
        S::ThreadIndex(_) | S::LaneId | S::WarpId => 0,
        S::LaneMaskEq | S::LaneMaskLe | S::LaneMaskLt | S::LaneMaskGe | S::LaneMaskGt => 0,
        S::BlockDimension(axis) => values.block_dimension[usize::from(axis % 3)].into(),
        S::BlockIndex(axis) => values.block_index[usize::from(axis % 3)].into(),
        S::GridDimension(axis) => values.grid_dimension[usize::from(axis % 3)].into(),
        S::WarpCount => warps.into(),
        S::MultiprocessorId => values.multiprocessor.into(),
        S::MultiprocessorCount => values.multiprocessors.into(),
        S::GridId => values.grid_id,
        S::Clock | S::Clock64 => clock(),
        S::ClockHigh => clock() >> 32,
        S::GlobalTimer | S::GlobalTimerLow => global_timer_ns(),
        S::GlobalTimerHigh => global_timer_ns() >> 32,
        S::DynamicSharedBytes => values.dynamic_shared_bytes.into(),
        S::TotalSharedBytes => values.total_shared_bytes.into(),
        S::ClusterIndex(axis) => values.cluster.index[usize::from(axis % 3)].into(),
        S::ClusterGridDimension(axis) => {
            values.cluster.grid_dimension[usize::from(axis % 3)].into()
        }
        S::BlockInCluster(axis) => values.cluster.block_position[usize::from(axis % 3)].into(),
        S::ClusterDimension(axis) => values.cluster.dimension[usize::from(axis % 3)].into(),
        S::ClusterRank => values.cluster.rank.into(),
        S::ClusterBlocks => values.cluster.dimension.iter().product::<u32>().into(),
        S::IsClusterExplicit => values.cluster.is_explicit.into(),
        S::Zero => 0,
        S::Environment(1) => values.workspace >> 32,
        S::Environment(2) => values.workspace & 0xffff_ffff,
        S::Environment(_) => 0,
    };
    let tables = Arc::as_ptr(&values.tables);
    let (dst, warps) = (special.dst, lanes.warps);
    if let S::ThreadIndex(axis) = special.register
        && !dst.wide
    {
        for warp in 0..warps {
            // SAFETY: one word a warp; the block keeps the tables alive; they have an entry a lane;
            // destinations of the running function.
            unsafe {
                let table = &(&(*tables).thread)[usize::from(axis % 3)];
                let row = &*table.as_ptr().add(warp * WARP).cast::<[u32; WARP]>();
                let target = lanes.target::<u32>(dst.operand).add(warp * WARP);
                store::<Portable, u32>(*lanes.masks.add(warp), row, target);
            }
        }
        return Step::Next;
    }
    for warp in 0..warps {
        let mut out = [all; WARP];
        for (value, lane) in out.iter_mut().zip(0_u32..) {
            *value = match special.register {
                // SAFETY: as above.
                S::ThreadIndex(axis) => unsafe {
                    (&(&(*tables).thread)[usize::from(axis % 3)])[warp * WARP + lane as usize]
                }
                .into(),
                S::LaneId => lane.into(),
                S::WarpId => warp as u64,
                S::LaneMaskEq => 1 << lane,
                S::LaneMaskLe => (u32::MAX >> (31 - lane)).into(),
                S::LaneMaskLt => (1 << lane) - 1,
                S::LaneMaskGe => (u32::MAX << lane).into(),
                S::LaneMaskGt => (u32::MAX << lane << 1).into(),
                _ => break,
            };
        }
        // SAFETY: one word a warp; destinations of the running function.
        unsafe { super::atomic::put(lanes, dst, warp, *lanes.masks.add(warp), &out) };
    }
    Step::Next
}
