// SPDX-License-Identifier: Apache-2.0
//! Thread block clusters: the shared memory that their blocks lend each other, and their barrier.
//!
//! All blocks of a cluster run on one thread, in turns, so nothing here needs locks.

use std::cell::{Cell, RefCell};

use super::group::Mask;
use crate::limits::{CLUSTER_SHARED_STRIDE, MAX_CLUSTER_BLOCKS};

const BLOCKS_MAX: usize = MAX_CLUSTER_BLOCKS as usize;

/// The shared memory of a block that is running.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SharedWindow {
    pub(crate) base: *mut u8,
    pub(crate) bytes: u32,
}

/// One cluster.
pub(crate) struct Cluster {
    /// Blocks in x, y, z.
    pub(crate) dimension: [u32; 3],
    /// Position in the grid of clusters.
    pub(crate) index: [u32; 3],
    /// Clusters in x, y, z.
    pub(crate) grid_dimension: [u32; 3],
    /// By rank; none for a block that has ended.
    windows: [Cell<Option<SharedWindow>>; BLOCKS_MAX],
    barrier: RefCell<ClusterBarrier>,
}

/// `barrier.cluster`: by rank, the lanes that have arrived in this phase, and those that have
/// exited or never existed.
#[derive(Default)]
struct ClusterBarrier {
    arrived: [Mask; BLOCKS_MAX],
    dead: [Mask; BLOCKS_MAX],
}

impl Cluster {
    /// A cluster none of whose blocks runs yet. `no_lanes`: lanes that no block has.
    pub(crate) fn new(
        dimension: [u32; 3],
        index: [u32; 3],
        grid_dimension: [u32; 3],
        no_lanes: &Mask,
    ) -> Self {
        let barrier = ClusterBarrier {
            arrived: Default::default(),
            dead: std::array::from_fn(|_| no_lanes.clone()),
        };
        Self {
            dimension,
            index,
            grid_dimension,
            windows: Default::default(),
            barrier: RefCell::new(barrier),
        }
    }

    /// Blocks of the cluster.
    pub(crate) fn blocks(&self) -> u32 {
        self.dimension.iter().product()
    }

    /// Position in the cluster of the block of that rank.
    pub(crate) fn block_position(&self, rank: u32) -> [u32; 3] {
        let [x, y, _] = self.dimension;
        [rank % x, rank / x % y, rank / x / y]
    }

    /// Lends a block's shared memory to the others; `None` takes it back.
    pub(crate) fn lend(&self, rank: u32, window: Option<SharedWindow>) {
        if let Some(place) = self.windows.get(rank as usize) {
            place.set(window);
        }
    }

    /// The memory that a shared address of another block (or the own one's by rank) lies in, and
    /// the offset there.
    pub(crate) fn window(&self, address: u64) -> Option<(SharedWindow, u64)> {
        let rank = (address / CLUSTER_SHARED_STRIDE).checked_sub(1)?;
        let window = self.windows.get(usize::try_from(rank).ok()?)?.get()?;
        Some((window, address % CLUSTER_SHARED_STRIDE))
    }

    /// Lanes of a block arrive; `dead` are those of it that never will.
    pub(crate) fn arrive(&self, rank: u32, lanes: &Mask, dead: &Mask, warps: usize) {
        let mut barrier = self.barrier.borrow_mut();
        barrier.arrived[rank as usize].add(lanes, warps);
        barrier.dead[rank as usize].add(dead, warps);
        barrier.complete(self.blocks() as usize, warps);
    }

    /// Lanes of a block exit.
    pub(crate) fn exit(&self, rank: u32, lanes: &Mask, warps: usize) {
        let mut barrier = self.barrier.borrow_mut();
        barrier.dead[rank as usize].add(lanes, warps);
        barrier.complete(self.blocks() as usize, warps);
    }

    /// Whether some of these lanes have arrived in a phase that is not complete.
    pub(crate) fn is_waiting(&self, rank: u32, lanes: &Mask, warps: usize) -> bool {
        let barrier = self.barrier.borrow();
        let arrived = &barrier.arrived[rank as usize];
        (0..warps).any(|warp| arrived.0[warp] & lanes.0[warp] != 0)
    }
}

impl ClusterBarrier {
    /// Begins the next phase if all living lanes of the cluster have arrived.
    fn complete(&mut self, blocks: usize, warps: usize) {
        let is_complete = (0..blocks).all(|rank| {
            let (arrived, dead) = (&self.arrived[rank], &self.dead[rank]);
            (0..warps).all(|warp| arrived.0[warp] | dead.0[warp] == !0)
        });
        if is_complete {
            self.arrived = Default::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_ends_when_all_living_lanes_have_arrived() {
        let no_lanes = Mask::default();
        let cluster = Cluster::new([2, 1, 1], [0; 3], [1; 3], &no_lanes);
        let (all, half) = (Mask::first(32), Mask::first(16));
        let none = Mask::default();
        cluster.arrive(0, &all, &none, 1);
        assert!(cluster.is_waiting(0, &half, 1));
        cluster.arrive(1, &half, &none, 1);
        assert!(cluster.is_waiting(1, &half, 1));
        let mut rest = all.clone();
        rest.remove(&half, 1);
        cluster.exit(1, &rest, 1);
        assert!(!cluster.is_waiting(0, &all, 1) && !cluster.is_waiting(1, &all, 1));
    }

    #[test]
    fn windows_are_found_by_rank_and_vanish_with_their_block() {
        let cluster = Cluster::new([2, 1, 1], [0; 3], [1; 3], &Mask::default());
        let mut memory = [0_u8; 8];
        let window = SharedWindow {
            base: memory.as_mut_ptr(),
            bytes: 8,
        };
        cluster.lend(1, Some(window));
        let (found, offset) = cluster.window(2 * CLUSTER_SHARED_STRIDE + 4).unwrap();
        assert_eq!((found.base, offset), (memory.as_mut_ptr(), 4));
        assert!(cluster.window(CLUSTER_SHARED_STRIDE).is_none());
        assert!(cluster.window(4).is_none() && cluster.window(u64::MAX).is_none());
        cluster.lend(1, None);
        assert!(cluster.window(2 * CLUSTER_SHARED_STRIDE).is_none());
        assert_eq!(cluster.block_position(1), [1, 0, 0]);
    }
}
