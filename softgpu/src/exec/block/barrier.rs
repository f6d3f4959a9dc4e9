// SPDX-License-Identifier: Apache-2.0
//! Barriers of a block, and the lanes of a warp that wait for one another.

use super::{Block, Buffers};
use crate::exec::barrier::{Barrier, BarrierCodeKind};
use crate::exec::code::{Code, More};
use crate::exec::fault::Fault;
use crate::exec::group::{Group, Mask, State};
use crate::exec::lanes::{Lanes, Step, WARP};
use crate::exec::warp::{self, WarpCode};
use crate::limits::BARRIERS_PER_BLOCK;

impl Block<'_> {
    pub(super) fn barrier(&mut self, lanes: &Lanes, code: &Code) -> Result<bool, Fault> {
        let More::Barrier(barrier) = &code.more else {
            return Ok(true);
        };
        let id = self.uniform_value(lanes, barrier.id) as u32;
        let pc = self.current.pc;
        if id >= BARRIERS_PER_BLOCK {
            let lane = self.current.mask.lowest().unwrap_or(0);
            let text = format!("barrier {id}");
            return Err(Fault::IllegalInstruction {
                text,
                location: self.location(pc, lane),
            });
        }
        let expected = barrier
            .count
            .map(|count| self.uniform_value(lanes, count) as u32);
        if self.buffers.barriers.is_empty() {
            self.buffers
                .barriers
                .resize(BARRIERS_PER_BLOCK as usize, Barrier::default());
        }
        let slot = &mut self.buffers.barriers[id as usize];
        slot.is_open = true;
        slot.expected = expected;
        slot.arrived.add(&self.current.mask, self.warps);
        if let Some(source) = barrier.kind.source() {
            for warp in 0..self.warps {
                // SAFETY: a predicate of the running function.
                let word = unsafe { source.word(lanes, warp) };
                slot.truths.0[warp] |= word & self.current.mask.0[warp];
            }
        }
        self.current.pc = pc + 1;
        if matches!(barrier.kind, BarrierCodeKind::Arrive) {
            self.release_barriers();
            return Ok(true);
        }
        // The usual case: everybody is here.
        let is_alone = self.buffers.groups.is_empty();
        if is_alone
            && self.buffers.barriers[id as usize].is_complete(&self.dead, self.warps)
            && matches!(barrier.kind, BarrierCodeKind::Sync)
        {
            self.buffers.barriers[id as usize] = Barrier::default();
            return Ok(true);
        }
        self.current.state = State::AtBarrier {
            id,
            instruction: pc,
        };
        self.put_back();
        self.release_barriers();
        Ok(false)
    }

    /// Lets the groups at complete barriers go on.
    pub(super) fn release_barriers(&mut self) {
        for id in 0..self.buffers.barriers.len() as u32 {
            if !self.buffers.barriers[id as usize].is_complete(&self.dead, self.warps) {
                continue;
            }
            let barrier = std::mem::take(&mut self.buffers.barriers[id as usize]);
            for index in 0..self.buffers.groups.len() {
                let State::AtBarrier {
                    id: other,
                    instruction,
                } = self.buffers.groups[index].state
                else {
                    continue;
                };
                if other == id {
                    self.deliver_barrier(index, instruction, &barrier);
                    self.buffers.groups[index].state = State::Runnable;
                }
            }
        }
    }

    /// Writes the result of a barrier reduction for one group.
    pub(super) fn deliver_barrier(&mut self, index: usize, instruction: u32, barrier: &Barrier) {
        let More::Barrier(code) = &self.launch.program.codes[instruction as usize].more else {
            return;
        };
        let lanes = self.frame_lanes(self.buffers.groups[index].frame);
        let mask = &self.buffers.groups[index].mask;
        let truths = barrier.truths.count(self.warps);
        let arrived = barrier.arrived.count(self.warps);
        for warp in 0..self.warps {
            let lanes_here = mask.0[warp];
            let write = |dst: u32, value: bool| {
                // SAFETY: a predicate of the group's function.
                unsafe {
                    let word = lanes.predicate(dst).add(warp);
                    *word = if value {
                        *word | lanes_here
                    } else {
                        *word & !lanes_here
                    };
                }
            };
            match code.kind {
                BarrierCodeKind::Sync | BarrierCodeKind::Arrive => {}
                BarrierCodeKind::Population { dst, .. } => {
                    let values = [u64::from(truths); WARP];
                    // SAFETY: a destination of the group's function.
                    unsafe { crate::exec::atomic::put(&lanes, dst, warp, lanes_here, &values) };
                }
                BarrierCodeKind::And { dst, .. } => write(dst, truths == arrived),
                BarrierCodeKind::Or { dst, .. } => write(dst, truths != 0),
            }
        }
    }

    // === Warp operations ===

    /// Executes a warp operation of which every warp has all its living lanes here, and that has a
    /// lane loop for this case. False: nothing done.
    ///
    /// # Safety
    /// The code was decoded for the running function, and for a level that the CPU has.
    #[inline]
    pub(super) unsafe fn run_whole_warps(&mut self, lanes: &mut Lanes, code: &Code) -> bool {
        let More::Warp(warp) = &code.more else {
            return false;
        };
        if !warp.has_lane_loop || code.guard.is_some() {
            return false;
        }
        let is_whole = |warp: usize| self.writable.0[warp] == !0 || self.current.mask.0[warp] == 0;
        // SAFETY: the caller's contract.
        (0..self.warps).all(is_whole) && unsafe { (code.execute)(lanes, code) } == Step::Next
    }

    /// Executes a warp operation for the lanes whose partners are all here. True: all were.
    pub(super) fn warp_operation(&mut self, lanes: &Lanes, code: &WarpCode) -> bool {
        let pc = self.current.pc;
        let mut waiting = Mask::default();
        for warp in 0..self.warps {
            let mask = self.current.mask.0[warp];
            if mask == 0 {
                continue;
            }
            let mut ready = mask;
            if code.members.is_some() {
                // SAFETY: the code belongs to the running function.
                let members = unsafe { warp::members(lanes, code, warp, mask) };
                for (lane, &members) in members.iter().enumerate() {
                    let has_all = members & !self.dead.0[warp] & !mask == 0;
                    ready &= !(u32::from(!has_all) << lane);
                }
            }
            waiting.0[warp] = mask & !ready;
            if ready != 0 {
                let mut inputs = warp::Inputs::new();
                // SAFETY: the code belongs to the running function.
                unsafe {
                    inputs.take(lanes, code, warp, ready);
                    let outputs = warp::compute(code.op, &inputs, ready);
                    warp::deliver(lanes, code, warp, ready, &outputs);
                }
            }
        }
        if waiting.is_empty(self.warps) {
            self.current.pc = pc + 1;
            return true;
        }
        let mut done = self.current.mask.clone();
        done.remove(&waiting, self.warps);
        if !done.is_empty(self.warps) {
            self.split_off(done, pc + 1);
        }
        self.current.mask = waiting;
        self.current.state = State::AtWarp;
        self.put_back();
        self.release_warp_waits();
        false
    }

    /// Executes the warp operations of waiting lanes whose partners have all come, wherever they
    /// wait.
    pub(super) fn release_warp_waits(&mut self) {
        let is_waiting = |group: &Group| group.state == State::AtWarp;
        if !self.buffers.groups.iter().any(is_waiting) {
            return;
        }
        for warp in 0..self.warps {
            while self.release_one_set(warp) {}
        }
        let warps = self.warps;
        let Buffers { groups, frames, .. } = &mut self.buffers;
        groups.retain(|group| {
            let is_gone = group.mask.is_empty(warps);
            if is_gone {
                frames.release(group.frame);
            }
            !is_gone
        });
    }

    /// Releases one complete set of lanes of a warp; false if there is none.
    pub(super) fn release_one_set(&mut self, warp: usize) -> bool {
        let program = &self.launch.program;
        let code_of = |group: &Group| match &program.codes[group.pc as usize].more {
            More::Warp(code) if group.state == State::AtWarp => Some(&**code),
            _ => None,
        };
        // Of each waiting lane. Two arrays, because x86-64 code of LLVM before pull request 205600
        // (compilers up to Rust 1.95 at least) may put stray bits into the masks of one array of
        // pairs: it joins an operation of 16 bits, padding and mask in a register of 64 bits, and
        // leaves the register's upper half as it was.
        let mut operations = [None; WARP];
        let mut member_masks = [0; WARP];
        for index in 0..self.buffers.groups.len() {
            let group = &self.buffers.groups[index];
            let (mask, frame) = (group.mask.0[warp], group.frame);
            let Some(code) = code_of(group).filter(|_| mask != 0) else {
                continue;
            };
            let lanes = self.frame_lanes(frame);
            // SAFETY: the code belongs to the group's function.
            let members = unsafe { warp::members(&lanes, code, warp, mask) };
            for lane in 0..WARP {
                if mask >> lane & 1 != 0 {
                    operations[lane] = Some(code.op);
                    member_masks[lane] = members[lane];
                }
            }
        }
        let living = !self.dead.0[warp];
        let complete = (0..WARP).find_map(|first| {
            let (op, members) = (operations[first]?, member_masks[first]);
            let mut set = 0;
            for lane in 0..WARP {
                let is_same = operations[lane] == Some(op) && member_masks[lane] == members;
                set |= u32::from(is_same) << lane;
            }
            (members & living & !set == 0).then_some((op, set))
        });
        let Some((op, set)) = complete else {
            return false;
        };
        let mut inputs = warp::Inputs::new();
        for is_delivery in [false, true] {
            let outputs = is_delivery.then(|| warp::compute(op, &inputs, set));
            for index in 0..self.buffers.groups.len() {
                let group = &self.buffers.groups[index];
                let (mask, frame, pc) = (group.mask.0[warp] & set, group.frame, group.pc);
                let Some(code) = code_of(group).filter(|code| code.op == op && mask != 0) else {
                    continue;
                };
                let lanes = self.frame_lanes(frame);
                // SAFETY: the code belongs to the group's function.
                unsafe {
                    match &outputs {
                        None => inputs.take(&lanes, code, warp, mask),
                        Some(outputs) => {
                            warp::deliver(&lanes, code, warp, mask, outputs);
                            self.buffers.groups[index].mask.0[warp] &= !mask;
                            let mut released = Mask::default();
                            released.0[warp] = mask;
                            self.buffers.frames.retain(frame);
                            self.buffers.groups.push(Group {
                                pc: pc + 1,
                                frame,
                                state: State::Runnable,
                                spin: 0,
                                has_spun: false,
                                mask: released,
                            });
                        }
                    }
                }
            }
        }
        true
    }
}
