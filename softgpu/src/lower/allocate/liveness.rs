// SPDX-License-Identifier: Apache-2.0
//! Where each virtual register is alive.
//!
//! Positions: instruction `i` reads at `2i` and writes at `2i + 1`. A life is a list of closed
//! intervals of positions, in order. A register that is written and never read is alive at the
//! moment it is written.

use crate::ir::{Callee, Guard, Instruction, Op, Pred, PredSrc, Reg, Src};

use super::super::visit::{Visitor, visit};
use super::Numbering;

/// A closed interval of positions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Interval {
    pub(super) start: u32,
    pub(super) end: u32,
}

/// The lives of all virtual registers, by number.
pub(super) struct Lives {
    pub(super) intervals: Vec<Vec<Interval>>,
}

struct Block {
    start: u32,
    end: u32,
    successors: Vec<u32>,
}

/// Place of a register that is not in the sets: it lives inside single blocks only.
const LOCAL: u32 = u32::MAX;

impl Lives {
    pub(super) fn new(code: &mut [Instruction], labels: &[u32], numbering: Numbering) -> Self {
        let blocks = blocks(code, labels);
        let mut analysis = Analysis::new(code, &blocks, numbering);
        analysis.solve(&blocks);
        analysis.intervals(code, &blocks)
    }
}

/// Splits the code at labels and after everything that may jump.
fn blocks(code: &[Instruction], labels: &[u32]) -> Vec<Block> {
    let mut leaders = vec![false; code.len() + 1];
    leaders[0] = true;
    for &label in labels {
        leaders[label as usize] = true;
    }
    for (index, instruction) in code.iter().enumerate() {
        if ends_block(&instruction.op) {
            leaders[index + 1] = true;
        }
    }
    let starts: Vec<u32> = (0..code.len() as u32)
        .filter(|&i| leaders[i as usize])
        .collect();
    let mut block_of = vec![0; code.len() + 1];
    for (block, &start) in starts.iter().enumerate() {
        block_of[start as usize] = block as u32;
    }
    // The end of the code is no block: nothing is alive there.
    block_of[code.len()] = starts.len() as u32;
    let ends = starts.iter().skip(1).copied().chain([code.len() as u32]);
    starts
        .iter()
        .zip(ends)
        .map(|(&start, end)| {
            let mut successors = Vec::new();
            let last = &code[end as usize - 1];
            match &last.op {
                Op::Branch { target } => {
                    successors.push(block_of[labels[*target as usize] as usize]);
                }
                Op::BranchIndexed { targets, .. } => {
                    let targets = targets.iter();
                    successors.extend(targets.map(|&t| block_of[labels[t as usize] as usize]));
                }
                _ => {}
            }
            if last.guard != Guard::Always || !ends_path(&last.op) {
                successors.push(block_of[end as usize]);
            }
            successors.retain(|&block| (block as usize) < starts.len());
            Block {
                start,
                end,
                successors,
            }
        })
        .collect()
}

fn ends_block(op: &Op) -> bool {
    matches!(
        op,
        Op::Branch { .. } | Op::BranchIndexed { .. } | Op::Return | Op::Exit | Op::Trap
    )
}

fn ends_path(op: &Op) -> bool {
    // A call comes back, even where the callee is said not to.
    debug_assert!(
        !matches!(
            op,
            Op::Call {
                callee: Callee::Function(_)
            }
        ) || !ends_block(op)
    );
    ends_block(op)
}

/// A set of registers that live across blocks.
type Set = Vec<u64>;

struct Analysis {
    numbering: Numbering,
    /// The registers in the sets, by place.
    globals: Vec<u32>,
    /// Of each block: read before written.
    reads: Vec<Set>,
    /// Of each block: written in any case.
    kills: Vec<Set>,
    live_out: Vec<Set>,
}

impl Analysis {
    fn new(code: &mut [Instruction], blocks: &[Block], numbering: Numbering) -> Self {
        // First find which registers are read in a block before it has written them: only these
        // can be alive between blocks, and there are few of them.
        let mut finder = ExposedFinder {
            numbering,
            written_in: vec![u32::MAX; numbering.total()],
            block: 0,
            guarded: false,
            exposed: vec![false; numbering.total()],
        };
        for (index, block) in blocks.iter().enumerate() {
            finder.block = index as u32;
            for instruction in &mut code[block.start as usize..block.end as usize] {
                finder.guarded = instruction.guard != Guard::Always;
                visit(instruction, &mut finder);
            }
        }
        let mut global = vec![LOCAL; numbering.total()];
        let mut globals = Vec::new();
        for (number, _) in finder
            .exposed
            .iter()
            .enumerate()
            .filter(|(_, exposed)| **exposed)
        {
            global[number] = globals.len() as u32;
            globals.push(number as u32);
        }
        let empty: Set = vec![0; globals.len().div_ceil(64)];
        let mut summary = Summary {
            numbering,
            global: &global,
            reads: empty.clone(),
            kills: empty.clone(),
            guarded: false,
        };
        let mut reads = Vec::with_capacity(blocks.len());
        let mut kills = Vec::with_capacity(blocks.len());
        for block in blocks {
            for instruction in &mut code[block.start as usize..block.end as usize] {
                summary.guarded = instruction.guard != Guard::Always;
                visit(instruction, &mut summary);
            }
            reads.push(std::mem::replace(&mut summary.reads, empty.clone()));
            kills.push(std::mem::replace(&mut summary.kills, empty.clone()));
        }
        let live_out = vec![empty; blocks.len()];
        Self {
            numbering,
            globals,
            reads,
            kills,
            live_out,
        }
    }

    /// Backwards to the fixed point.
    fn solve(&mut self, blocks: &[Block]) {
        let mut predecessors = vec![Vec::new(); blocks.len()];
        for (index, block) in blocks.iter().enumerate() {
            for &successor in &block.successors {
                predecessors[successor as usize].push(index as u32);
            }
        }
        let mut pending: Vec<u32> = (0..blocks.len() as u32).collect();
        let mut is_pending = vec![true; blocks.len()];
        while let Some(index) = pending.pop() {
            let index = index as usize;
            is_pending[index] = false;
            let sets = self.reads[index]
                .iter()
                .zip(&self.kills[index])
                .zip(&self.live_out[index]);
            let live_in: Set = sets
                .map(|((read, kill), out)| read | (out & !kill))
                .collect();
            for &predecessor in &predecessors[index] {
                let out = &mut self.live_out[predecessor as usize];
                let mut changed = false;
                for (out, live) in out.iter_mut().zip(&live_in) {
                    changed |= *live & !*out != 0;
                    *out |= live;
                }
                if changed && !std::mem::replace(&mut is_pending[predecessor as usize], true) {
                    pending.push(predecessor);
                }
            }
        }
    }

    fn intervals(&self, code: &mut [Instruction], blocks: &[Block]) -> Lives {
        let total = self.numbering.total();
        let mut builder = Builder {
            numbering: self.numbering,
            intervals: vec![Vec::new(); total],
            open_end: vec![None; total],
            position: 0,
            guarded: false,
        };
        // Blocks and instructions from the end to the beginning; intervals come out reversed.
        for (index, block) in blocks.iter().enumerate().rev() {
            let end = block.end * 2 - 1;
            let out = &self.live_out[index];
            let alive = self
                .globals
                .iter()
                .enumerate()
                .filter(|(g, _)| out[g / 64] >> (g % 64) & 1 != 0);
            for (_, &number) in alive {
                builder.open_end[number as usize] = Some(end);
            }
            for at in (block.start..block.end).rev() {
                let instruction = &mut code[at as usize];
                builder.position = at * 2;
                builder.guarded = instruction.guard != Guard::Always;
                // Writes end lives and reads begin them, seen backwards.
                let mut writes = Writes(&mut builder);
                visit(instruction, &mut writes);
                let mut reads = Reads(&mut builder);
                visit(instruction, &mut reads);
            }
            builder.close_block(block, self, index);
        }
        for intervals in &mut builder.intervals {
            intervals.reverse();
        }
        Lives {
            intervals: builder.intervals,
        }
    }
}

struct ExposedFinder {
    numbering: Numbering,
    written_in: Vec<u32>,
    block: u32,
    guarded: bool,
    exposed: Vec<bool>,
}

impl ExposedFinder {
    fn read(&mut self, number: u32) {
        self.exposed[number as usize] |= self.written_in[number as usize] != self.block;
    }

    fn write(&mut self, number: u32) {
        if !self.guarded {
            self.written_in[number as usize] = self.block;
        }
    }
}

struct Summary<'g> {
    numbering: Numbering,
    global: &'g [u32],
    reads: Set,
    kills: Set,
    guarded: bool,
}

impl Summary<'_> {
    fn read(&mut self, number: u32) {
        let global = self.global[number as usize];
        if global != LOCAL {
            let (word, bit) = (global as usize / 64, global % 64);
            self.reads[word] |= (1 << bit) & !self.kills[word];
        }
    }

    fn write(&mut self, number: u32) {
        let global = self.global[number as usize];
        if global != LOCAL && !self.guarded {
            self.kills[global as usize / 64] |= 1 << (global % 64);
        }
    }
}

struct Builder {
    numbering: Numbering,
    intervals: Vec<Vec<Interval>>,
    /// The end of the interval that is being built backwards.
    open_end: Vec<Option<u32>>,
    position: u32,
    guarded: bool,
}

impl Builder {
    fn read(&mut self, number: u32) {
        let open = &mut self.open_end[number as usize];
        *open = Some(open.unwrap_or(self.position));
    }

    fn write(&mut self, number: u32) {
        let at = self.position + 1;
        // A guarded write keeps the old value where the guard is false.
        match self.open_end[number as usize] {
            Some(_) if self.guarded => {}
            Some(end) => {
                self.open_end[number as usize] = None;
                self.push(number, Interval { start: at, end });
            }
            None => self.push(number, Interval { start: at, end: at }),
        }
    }

    /// Everything still open at a block's start is alive on entry.
    fn close_block(&mut self, block: &Block, analysis: &Analysis, index: usize) {
        let sets = analysis.reads[index].iter().zip(&analysis.kills[index]);
        for (word, (reads, kills)) in sets.enumerate() {
            let mut live = reads | (analysis.live_out[index][word] & !kills);
            while live != 0 {
                let number = analysis.globals[word * 64 + live.trailing_zeros() as usize];
                live &= live - 1;
                if let Some(end) = self.open_end[number as usize].take() {
                    self.push(
                        number,
                        Interval {
                            start: block.start * 2,
                            end,
                        },
                    );
                }
            }
        }
    }

    /// Adds an interval in front of those that follow it in the text.
    fn push(&mut self, number: u32, interval: Interval) {
        let intervals = &mut self.intervals[number as usize];
        match intervals.last_mut() {
            Some(next) if next.start <= interval.end + 1 => next.start = interval.start,
            _ => intervals.push(interval),
        }
    }
}

struct Reads<'b>(&'b mut Builder);
struct Writes<'b>(&'b mut Builder);

impl Visitor for Reads<'_> {
    fn source(&mut self, src: &mut Src) {
        if let Src::Reg(reg) = src {
            self.0.read(self.0.numbering.reg(*reg));
        }
    }

    fn predicate_source(&mut self, src: &mut PredSrc) {
        if let PredSrc::Reg { pred, .. } = src {
            self.0.read(self.0.numbering.pred(*pred));
        }
    }

    fn predicate_use(&mut self, pred: &mut Pred) {
        self.0.read(self.0.numbering.pred(*pred));
    }

    fn definition(&mut self, _: &mut Reg) {}
    fn predicate_definition(&mut self, _: &mut Pred) {}
}

impl Visitor for Writes<'_> {
    fn source(&mut self, _: &mut Src) {}
    fn predicate_source(&mut self, _: &mut PredSrc) {}
    fn predicate_use(&mut self, _: &mut Pred) {}

    fn definition(&mut self, reg: &mut Reg) {
        self.0.write(self.0.numbering.reg(*reg));
    }

    fn predicate_definition(&mut self, pred: &mut Pred) {
        self.0.write(self.0.numbering.pred(*pred));
    }
}

/// Implements [`Visitor`] by a `read` and a `write` of register numbers, in that order.
macro_rules! visitor_by_number {
    ($($ty:ty),*) => {$(
        impl Visitor for $ty {
            fn source(&mut self, src: &mut Src) {
                if let Src::Reg(reg) = src {
                    self.read(self.numbering.reg(*reg));
                }
            }

            fn predicate_source(&mut self, src: &mut PredSrc) {
                if let PredSrc::Reg { pred, .. } = src {
                    self.read(self.numbering.pred(*pred));
                }
            }

            fn predicate_use(&mut self, pred: &mut Pred) {
                self.read(self.numbering.pred(*pred));
            }

            fn definition(&mut self, reg: &mut Reg) {
                self.write(self.numbering.reg(*reg));
            }

            fn predicate_definition(&mut self, pred: &mut Pred) {
                self.write(self.numbering.pred(*pred));
            }
        }
    )*};
}

visitor_by_number!(ExposedFinder, Summary<'_>);
