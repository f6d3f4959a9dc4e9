// SPDX-License-Identifier: Apache-2.0
//! Calls, returns, and branches through tables.

use super::Block;
use crate::exec::code::{Code, More};
use crate::exec::decode::CALL_STACK_BYTES;
use crate::exec::fault::Fault;
use crate::exec::group::{Frame, Mask};
use crate::exec::lanes::{Lanes, WARP};
use crate::exec::{access, scalar};
use crate::limits::{MAX_BLOCK_STATE_BYTES, MAX_CALL_DEPTH, MAX_LOCAL_BYTES_PER_THREAD};

impl Block<'_> {
    pub(super) fn call(&mut self, function: u32) -> Result<bool, Fault> {
        let caller = *self.buffers.frames.get(self.current.frame);
        let functions = &self.launch.program.functions;
        let from = &functions[caller.function as usize];
        let to = &functions[function as usize];
        let bases = [
            caller.register_base + from.units,
            caller.predicate_base + from.predicates,
            caller.local_base + from.local_bytes,
        ];
        let local = bases[2] + to.local_bytes + to.outgoing_bytes;
        let lanes = self.warps * WARP;
        let register_bytes = (bases[0] + to.units) as usize * lanes * 4;
        let predicate_bytes = (bases[1] + to.predicates) as usize * self.warps * 4;
        let depth = caller.depth + 1;
        // The callee keeps its return address in a register as long as it calls nobody.
        let saved = if caller.depth > 0 {
            CALL_STACK_BYTES
        } else {
            0
        };
        let caller_stack = caller
            .stack_bytes
            .max(from.stack_bytes)
            .saturating_add(saved);
        let stack_bytes = caller_stack.saturating_add(to.stack_bytes);
        let local_bytes = local as usize * lanes;
        if depth > MAX_CALL_DEPTH
            || stack_bytes > self.launch.stack_bytes
            || local > MAX_LOCAL_BYTES_PER_THREAD + to.outgoing_bytes
            || register_bytes + local_bytes > MAX_BLOCK_STATE_BYTES
        {
            let lane = self.current.mask.lowest().unwrap_or(0);
            return Err(Fault::StackOverflow {
                location: self.location(self.current.pc, lane),
            });
        }
        let buffers = &mut self.buffers;
        let grown = buffers
            .registers
            .grow(register_bytes)
            .and_then(|()| buffers.predicates.grow(predicate_bytes))
            .and_then(|()| buffers.local.grow(local_bytes));
        if grown.is_err() {
            return Err(Fault::OutOfMemory {
                what: "the call stack of a block".into(),
            });
        }
        self.state.local = buffers.local.pointer();
        self.state.local_bytes = self.state.local_bytes.max(local);
        let parent = self.current.frame;
        let frame = Frame::new(
            parent,
            self.current.pc + 1,
            function,
            bases,
            depth,
            stack_bytes,
        );
        self.current.frame = buffers.frames.call(frame);
        buffers.frames.release(parent);
        self.current.pc = to.entry;
        // A deeper call comes first; others of this function may be waiting for us.
        Ok(true)
    }

    /// Lanes with the lowest active lane's value go on; the others try again in a group of their
    /// own.
    pub(super) fn uniform_value(&mut self, lanes: &Lanes, operand: access::Element) -> u64 {
        let first = self.current.mask.lowest().unwrap_or(0) as usize;
        if operand.operand.is_constant() {
            // SAFETY: an operand of the running function.
            return unsafe { scalar::read(lanes, operand, first / WARP)[0] };
        }
        let mut same = Mask::default();
        let mut value = 0;
        for warp in first / WARP..self.warps {
            // SAFETY: an operand of the running function.
            let values = unsafe { scalar::read(lanes, operand, warp) };
            if warp == first / WARP {
                value = values[first % WARP];
            }
            for (lane, &other) in values.iter().enumerate() {
                same.0[warp] |= u32::from(other == value) << lane;
            }
            same.0[warp] &= self.current.mask.0[warp];
        }
        let mut rest = self.current.mask.clone();
        rest.remove(&same, self.warps);
        if !rest.is_empty(self.warps) {
            self.split_off(rest, self.current.pc);
            self.current.mask = same;
        }
        value
    }

    pub(super) fn call_indirect(&mut self, lanes: &Lanes, code: &Code) -> Result<bool, Fault> {
        let operand = access::Element {
            operand: code.a,
            wide: true,
        };
        let target = self.uniform_value(lanes, operand);
        match self.launch.function_of(target) {
            Some(function) => self.call(function),
            None => {
                let lane = self.current.mask.lowest().unwrap_or(0);
                let location = self.location(self.current.pc, lane);
                Err(Fault::InvalidTarget { target, location })
            }
        }
    }

    pub(super) fn branch_indexed(&mut self, lanes: &Lanes, code: &Code) -> Result<bool, Fault> {
        let operand = access::Element {
            operand: code.a,
            wide: false,
        };
        let index = self.uniform_value(lanes, operand);
        let More::Targets(targets) = &code.more else {
            return Ok(true);
        };
        let target = usize::try_from(index)
            .ok()
            .and_then(|index| targets.get(index));
        match target {
            Some(&target) => {
                self.current.pc = target;
                self.put_back();
                Ok(false)
            }
            None => {
                let lane = self.current.mask.lowest().unwrap_or(0);
                let location = self.location(self.current.pc, lane);
                Err(Fault::InvalidTarget {
                    target: index,
                    location,
                })
            }
        }
    }

    /// Returns to the caller; from the kernel, exits.
    pub(super) fn return_or_exit(&mut self) -> bool {
        let frame = *self.buffers.frames.get(self.current.frame);
        if frame.parent == u32::MAX {
            self.exit();
            return false;
        }
        self.buffers.frames.retain(frame.parent);
        self.buffers.frames.release(self.current.frame);
        self.current.frame = frame.parent;
        self.current.pc = frame.return_pc;
        // Others may still be in the call, or wait for us here.
        if self.buffers.groups.is_empty() {
            return true;
        }
        self.put_back();
        false
    }

    /// Ends the lanes of the current group.
    pub(super) fn exit(&mut self) {
        self.dead.add(&self.current.mask, self.warps);
        if let Some(cluster) = self.state.cluster.get() {
            cluster.exit(self.state.cluster_rank, &self.dead, self.warps);
        }
        self.buffers.frames.release(self.current.frame);
        if !self.buffers.groups.is_empty() {
            self.release_barriers();
            self.release_warp_waits();
        }
    }
}
