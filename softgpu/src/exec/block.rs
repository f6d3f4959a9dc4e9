// SPDX-License-Identifier: Apache-2.0
//! One block of threads and the interpreter that runs it.
//!
//! The lanes of a block are kept in groups with a common program counter and call stack. The group
//! in the deepest call, and among those the one at the lowest program counter, runs until it
//! reaches another group's program counter; there they merge. So lanes that took different branches
//! come together again by themselves. A group that goes round in a loop without getting anything
//! done gives way to the others, and a block of nothing but such groups to other blocks.

mod barrier;
mod calls;
mod cluster;
mod faults;

use std::cell::OnceCell;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use super::barrier::Barrier;
use super::buffer::Buffer;
use super::code::{Code, Flow, More};
use super::fault::Fault;
use super::group::{Frames, Group, Mask, State};
use super::lanes::{Lanes, Step, WARP};
use super::launch::{Launch, Place};
use super::state::{BlockState, Progress, RangeCache};

/// Spin weight at which a group gives way.
const SPIN_LIMIT: u32 = 1 << 16;
/// Weight of an iteration that only polled memory.
const POLL_WEIGHT: u32 = 1 << 12;
/// Backward branches between two looks at the launch's stop flag.
const STOP_CHECK_INTERVAL: u32 = 1 << 14;

/// How far a block got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All threads have exited.
    Done,
    /// Everybody waits for another block, or may be.
    Yielded,
    /// The launch is being stopped.
    Stopped,
}

/// What a group does after it has run.
enum Next {
    /// Pick again; the group has been put back or is gone.
    Reschedule,
    Stopped,
}

/// Memory of a block that the next one on the same thread can use again.
#[derive(Default)]
pub(crate) struct Buffers {
    registers: Buffer,
    predicates: Buffer,
    shared: Buffer,
    local: Buffer,
    frames: Frames,
    groups: Vec<Group>,
    barriers: Vec<Barrier>,
    ranges: RangeCache,
}

impl Buffers {
    /// Their length together.
    pub(crate) fn bytes(&self) -> usize {
        let Self {
            registers,
            predicates,
            shared,
            local,
            ..
        } = self;
        registers.bytes() + predicates.bytes() + shared.bytes() + local.bytes()
    }
}

/// A block.
pub(crate) struct Block<'a> {
    launch: &'a Launch<'a>,
    state: BlockState,
    buffers: Buffers,
    /// The running group.
    current: Group,
    /// Lanes that have exited or never existed.
    dead: Mask,
    /// Lanes that instructions may write: the current group's and dead ones.
    writable: Mask,
    warps: usize,
    branches: u32,
    /// Lanes of the current group.
    active_lanes: u64,
    /// Executed instructions, and the same times the lanes that executed them.
    pub(crate) instructions: u64,
    pub(crate) lane_instructions: u64,
}

impl<'a> Block<'a> {
    /// A block ready to run.
    pub(crate) fn new(
        launch: &'a Launch<'a>,
        place: &Place,
        multiprocessor: u32,
        mut buffers: Buffers,
    ) -> Result<Self, Fault> {
        let warps = launch.warps;
        let function = &launch.program.functions[0];
        buffers.groups.clear();
        buffers.frames.reset();
        let bytes = launch.shared_bytes as usize;
        let out_of_memory = |_| Fault::OutOfMemory {
            what: "the state of a block".into(),
        };
        let local = function.local_bytes + function.outgoing_bytes;
        buffers
            .registers
            .grow(function.units as usize * warps * WARP * 4)
            .map_err(out_of_memory)?;
        buffers
            .predicates
            .grow(function.predicates as usize * warps * 4)
            .map_err(out_of_memory)?;
        buffers.shared.grow(bytes).map_err(out_of_memory)?;
        buffers
            .local
            .grow(local as usize * warps * WARP)
            .map_err(out_of_memory)?;
        let state = BlockState {
            memory: std::ptr::from_ref(launch.memory),
            shared: buffers.shared.pointer(),
            shared_bytes: launch.shared_bytes,
            local: buffers.local.pointer(),
            local_bytes: local,
            parameters: launch.parameters.as_ptr(),
            parameter_bytes: launch.parameters.len() as u32,
            fault: None,
            progress: Progress::default(),
            ranges: std::mem::take(&mut buffers.ranges),
            accesses: launch.program.accesses,
            cluster: OnceCell::new(),
            cluster_rank: place.rank,
            special: launch.special_values(place, multiprocessor),
        };
        if let Some(cluster) = &place.cluster {
            cluster.lend(place.rank, Some(state.own_window()));
            // It was empty.
            let _ = state.cluster.set(Rc::clone(cluster));
        }
        let group = Group {
            pc: function.entry,
            frame: 0,
            state: State::Runnable,
            spin: 0,
            has_spun: false,
            mask: launch.all_lanes.clone(),
        };
        // A barrier that was left open belongs to a block that has ended.
        for barrier in &mut buffers.barriers {
            if barrier.is_open {
                *barrier = Barrier::default();
            }
        }
        buffers.groups.push(group.clone());
        Ok(Self {
            launch,
            state,
            buffers,
            current: group,
            dead: launch.no_lanes.clone(),
            writable: Mask::default(),
            warps,
            branches: 0,
            active_lanes: 0,
            instructions: 0,
            lane_instructions: 0,
        })
    }

    /// Gives the memory back.
    pub(crate) fn into_buffers(mut self) -> Buffers {
        if let Some(cluster) = self.state.cluster.get() {
            cluster.lend(self.state.cluster_rank, None);
        }
        self.buffers.ranges = self.state.ranges;
        self.buffers
    }

    /// Runs until the block is done or waits for another block.
    pub(crate) fn run(&mut self) -> Result<Outcome, Fault> {
        loop {
            let Some(index) = self.pick() else {
                if self.buffers.groups.is_empty() {
                    return Ok(Outcome::Done);
                }
                if self.release_cluster_waits() {
                    continue;
                }
                let mut has_spun = false;
                for group in &mut self.buffers.groups {
                    has_spun |= group.has_spun || group.state == State::AtCluster;
                    group.has_spun = false;
                }
                return if has_spun {
                    Ok(Outcome::Yielded)
                } else {
                    Err(self.deadlock())
                };
            };
            self.current = self.buffers.groups.swap_remove(index);
            self.merge_into_current();
            match self.run_current()? {
                Next::Reschedule => {}
                Next::Stopped => return Ok(Outcome::Stopped),
            }
        }
    }

    /// The runnable group in the deepest call at the lowest program counter.
    fn pick(&self) -> Option<usize> {
        let groups = self.buffers.groups.iter().enumerate();
        groups
            .filter(|(_, group)| group.state == State::Runnable && !group.has_spun)
            .min_by_key(|(_, group)| {
                (
                    std::cmp::Reverse(self.buffers.frames.get(group.frame).depth),
                    group.pc,
                )
            })
            .map(|(index, _)| index)
    }

    /// Takes in all groups that are where the current one is.
    fn merge_into_current(&mut self) {
        let mut index = 0;
        while index < self.buffers.groups.len() {
            let group = &self.buffers.groups[index];
            if group.state == State::Runnable
                && group.pc == self.current.pc
                && group.frame == self.current.frame
            {
                let group = self.buffers.groups.swap_remove(index);
                self.current.mask.add(&group.mask, self.warps);
                self.buffers.frames.release(group.frame);
            } else {
                index += 1;
            }
        }
    }

    /// Where the current group meets another one.
    fn meeting_point(&self) -> u32 {
        let groups = self.buffers.groups.iter();
        groups
            .filter(|group| {
                group.state == State::Runnable
                    && !group.has_spun
                    && group.frame == self.current.frame
            })
            .map(|group| group.pc)
            .min()
            .unwrap_or(u32::MAX)
    }

    /// The lane loops' view of the current group.
    fn lanes(&mut self) -> Lanes {
        self.active_lanes = self.current.mask.count(self.warps).into();
        for warp in 0..self.warps {
            self.writable.0[warp] = self.current.mask.0[warp] | self.dead.0[warp];
        }
        let mut lanes = self.frame_lanes(self.current.frame);
        lanes.masks = self.writable.0.as_ptr();
        lanes.active = self.current.mask.0.as_ptr();
        lanes
    }

    /// A view of a frame, without masks.
    fn frame_lanes(&mut self, frame: u32) -> Lanes {
        let frame = *self.buffers.frames.get(frame);
        let function = &self.launch.program.functions[frame.function as usize];
        let unit_bytes = self.warps * WARP * 4;
        // SAFETY: `new` and `call` made the buffers long enough for the frame.
        let (registers, predicates) = unsafe {
            let registers = self.buffers.registers.pointer();
            let predicates = self.buffers.predicates.pointer().cast::<u32>();
            (
                registers.add(frame.register_base as usize * unit_bytes),
                predicates.add(frame.predicate_base as usize * self.warps),
            )
        };
        Lanes {
            registers,
            constants: self.launch.program.constants.units().as_ptr().cast(),
            predicates,
            masks: std::ptr::null(),
            active: std::ptr::null(),
            warps: self.warps,
            unit_bytes,
            local_base: frame.local_base,
            local_end: frame.local_base + function.local_bytes,
            block: &raw mut self.state,
        }
    }

    /// Runs the current group until it must stop for another one.
    fn run_current(&mut self) -> Result<Next, Fault> {
        let launch = self.launch;
        let codes = launch.program.codes.as_slice();
        let mut lanes = self.lanes();
        let mut stop = self.meeting_point();
        let mut pc = self.current.pc;
        loop {
            let code = &codes[pc as usize];
            self.instructions += 1;
            self.lane_instructions += self.active_lanes;
            match code.flow {
                Flow::Lanes => {
                    let step = match code.guard {
                        // SAFETY: the code was decoded for the function of this frame, and for a
                        // level that the CPU has.
                        None => unsafe { (code.execute)(&mut lanes, code) },
                        Some(_) => self.guarded(&mut lanes, code),
                    };
                    if step == Step::Fault {
                        self.current.pc = pc;
                        return Err(self.fault(pc));
                    }
                    pc += 1;
                }
                Flow::Branch(target) => {
                    if target <= pc && self.is_out_of_turns() {
                        self.current.pc = pc;
                        if self.is_stopped() {
                            self.put_back();
                            return Ok(Next::Stopped);
                        }
                        // Branch first, so that the group is past the branch when it comes back.
                        self.branch(&lanes, code, pc, target);
                        self.current.spin = 0;
                        self.current.has_spun = true;
                        self.put_back();
                        return Ok(Next::Reschedule);
                    }
                    let before = self.buffers.groups.len();
                    pc = self.branch(&lanes, code, pc, target);
                    if self.buffers.groups.len() != before {
                        lanes = self.lanes();
                        stop = self.meeting_point();
                    }
                }
                // SAFETY: as for lane instructions.
                Flow::Warp if unsafe { self.run_whole_warps(&mut lanes, code) } => pc += 1,
                _ => {
                    self.current.pc = pc;
                    if !self.split_guarded(&lanes, code) {
                        self.put_back();
                        return Ok(Next::Reschedule);
                    }
                    lanes = self.lanes();
                    if !self.control(&lanes, code)? {
                        return Ok(Next::Reschedule);
                    }
                    lanes = self.lanes();
                    stop = self.meeting_point();
                    pc = self.current.pc;
                }
            }
            if pc >= stop {
                self.current.pc = pc;
                self.put_back();
                return Ok(Next::Reschedule);
            }
        }
    }

    fn put_back(&mut self) {
        let group = self.current.clone();
        self.buffers.groups.push(group);
    }

    /// Counts a backward branch; true when the group has gone round long enough.
    fn is_out_of_turns(&mut self) -> bool {
        self.branches = self.branches.wrapping_add(1);
        let progress = std::mem::take(&mut self.state.progress);
        self.current.spin += match progress {
            Progress {
                polled: true,
                stored: false,
                ..
            } => POLL_WEIGHT,
            Progress {
                loaded: false,
                stored: false,
                ..
            } => 0,
            _ => 1,
        };
        self.current.spin >= SPIN_LIMIT
            || (self.branches.is_multiple_of(STOP_CHECK_INTERVAL) && self.is_stopped())
    }

    fn is_stopped(&self) -> bool {
        self.launch.is_stopping.load(Ordering::Relaxed) || self.launch.is_cancelled()
    }

    /// Executes a guarded lane instruction on the lanes whose guard is true.
    fn guarded(&mut self, lanes: &mut Lanes, code: &Code) -> Step {
        let Some(guard) = code.guard else {
            return Step::Next;
        };
        let mut mask = Mask::default();
        let mut any = 0;
        for warp in 0..self.warps {
            // SAFETY: a predicate of the running function.
            mask.0[warp] = self.current.mask.0[warp] & unsafe { guard.word(lanes, warp) };
            any |= mask.0[warp];
        }
        if any == 0 {
            return Step::Next;
        }
        let (masks, active) = (lanes.masks, lanes.active);
        (lanes.masks, lanes.active) = (mask.0.as_ptr(), mask.0.as_ptr());
        // SAFETY: as for unguarded instructions.
        let step = unsafe { (code.execute)(lanes, code) };
        (lanes.masks, lanes.active) = (masks, active);
        step
    }

    /// Takes a branch; answers where the current group goes on. Lanes that go elsewhere become a
    /// new group.
    fn branch(&mut self, lanes: &Lanes, code: &Code, pc: u32, target: u32) -> u32 {
        let Some(guard) = code.guard else {
            self.current.pc = target;
            return target;
        };
        let (mut any, mut all) = (0, 0);
        let mut taken = Mask::default();
        for warp in 0..self.warps {
            let mask = self.current.mask.0[warp];
            // SAFETY: a predicate of the running function.
            taken.0[warp] = mask & unsafe { guard.word(lanes, warp) };
            any |= taken.0[warp];
            all |= mask & !taken.0[warp];
        }
        let (low, high) = (target.min(pc + 1), target.max(pc + 1));
        if any == 0 || all == 0 || low == high {
            self.current.pc = if any == 0 { pc + 1 } else { target };
            return self.current.pc;
        }
        let mut rest = self.current.mask.clone();
        rest.remove(&taken, self.warps);
        let (now, later) = if target == low {
            (taken, rest)
        } else {
            (rest, taken)
        };
        self.split_off(later, high);
        self.current.mask = now;
        self.current.pc = low;
        low
    }

    /// Puts lanes (not yet taken from the current group's mask) into a new group.
    fn split_off(&mut self, mask: Mask, pc: u32) {
        self.buffers.frames.retain(self.current.frame);
        let frame = self.current.frame;
        let group = Group {
            pc,
            frame,
            state: State::Runnable,
            spin: 0,
            has_spun: false,
            mask,
        };
        self.buffers.groups.push(group);
    }

    /// For control instructions: leaves only the lanes whose guard is true in the current group;
    /// the others go on in a group of their own. False if no lane is left (the current group has
    /// moved on).
    fn split_guarded(&mut self, lanes: &Lanes, code: &Code) -> bool {
        let Some(guard) = code.guard else { return true };
        let mut stay = Mask::default();
        for warp in 0..self.warps {
            // SAFETY: a predicate of the running function.
            stay.0[warp] = self.current.mask.0[warp] & unsafe { guard.word(lanes, warp) };
        }
        if stay.is_empty(self.warps) {
            self.current.pc += 1;
            return false;
        }
        let mut rest = self.current.mask.clone();
        rest.remove(&stay, self.warps);
        if !rest.is_empty(self.warps) {
            self.split_off(rest, self.current.pc + 1);
            self.current.mask = stay;
        }
        true
    }

    /// Executes a control instruction of the whole current group. True: the group goes on at its
    /// program counter; false: it is gone or parked.
    fn control(&mut self, lanes: &Lanes, code: &Code) -> Result<bool, Fault> {
        match code.flow {
            Flow::Lanes | Flow::Branch(_) => Ok(true),
            Flow::BranchIndexed => self.branch_indexed(lanes, code),
            Flow::Call(function) => self.call(function),
            Flow::CallIndirect => self.call_indirect(lanes, code),
            Flow::Builtin => {
                let pc = self.current.pc;
                let More::Builtin(builtin) = &code.more else {
                    return Ok(true);
                };
                let mask = self.current.mask.clone();
                super::builtin::run(self.launch, lanes, &mut self.state, &mask, *builtin)
                    .map_err(|error| self.builtin_fault(pc, error))?;
                self.current.pc = pc + 1;
                Ok(true)
            }
            Flow::Return => Ok(self.return_or_exit()),
            Flow::Exit => {
                self.exit();
                Ok(false)
            }
            Flow::Trap => {
                let lane = self.current.mask.lowest().unwrap_or(0);
                Err(Fault::Trap {
                    location: self.location(self.current.pc, lane),
                })
            }
            Flow::Unsupported => {
                let lane = self.current.mask.lowest().unwrap_or(0);
                let text = match &code.more {
                    More::Text(text) => text.to_string(),
                    _ => String::new(),
                };
                let location = self.location(self.current.pc, lane);
                Err(Fault::IllegalInstruction { text, location })
            }
            Flow::Barrier => self.barrier(lanes, code),
            Flow::ClusterArrive => {
                self.cluster_arrive();
                Ok(true)
            }
            Flow::ClusterWait => Ok(self.cluster_wait()),
            Flow::Warp => {
                let More::Warp(warp) = &code.more else {
                    return Ok(true);
                };
                Ok(self.warp_operation(lanes, warp))
            }
        }
    }
}
