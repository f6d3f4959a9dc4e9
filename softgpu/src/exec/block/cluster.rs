// SPDX-License-Identifier: Apache-2.0
//! The barrier of a block's cluster.

use super::Block;
use crate::exec::group::{Group, State};

impl Block<'_> {
    /// The threads of the current group arrive.
    pub(super) fn cluster_arrive(&mut self) {
        let state = &self.state;
        let (rank, mask) = (state.cluster_rank, &self.current.mask);
        state.cluster().arrive(rank, mask, &self.dead, self.warps);
        self.current.pc += 1;
    }

    /// Waits for the threads of the cluster. True: all have arrived already.
    pub(super) fn cluster_wait(&mut self) -> bool {
        self.current.pc += 1;
        if !self.is_waiting_for_cluster(&self.current) {
            return true;
        }
        self.current.state = State::AtCluster;
        self.put_back();
        false
    }

    fn is_waiting_for_cluster(&self, group: &Group) -> bool {
        let (cluster, rank) = (self.state.cluster(), self.state.cluster_rank);
        cluster.is_waiting(rank, &group.mask, self.warps)
    }

    /// Lets the groups go on whose cluster has arrived; true if there are any.
    pub(super) fn release_cluster_waits(&mut self) -> bool {
        let mut any = false;
        for index in 0..self.buffers.groups.len() {
            let group = &self.buffers.groups[index];
            if group.state == State::AtCluster && !self.is_waiting_for_cluster(group) {
                self.buffers.groups[index].state = State::Runnable;
                any = true;
            }
        }
        any
    }
}
