// SPDX-License-Identifier: Apache-2.0
//! Groups of lanes that step together, and their call stacks.

use std::collections::HashMap;

use super::lanes::WARP;

/// Warps of the largest block.
pub(crate) const WARPS_MAX: usize = 32;

/// A set of lanes of a block, one word a warp.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mask(pub(crate) [u32; WARPS_MAX]);

impl Default for Mask {
    fn default() -> Self {
        Self([0; WARPS_MAX])
    }
}

impl Mask {
    /// The first `lanes` lanes.
    pub(crate) fn first(lanes: u32) -> Self {
        let mut mask = Self::default();
        for (warp, word) in mask.0.iter_mut().enumerate() {
            let here = lanes.saturating_sub(warp as u32 * 32).min(32);
            *word = if here == 0 {
                0
            } else {
                u32::MAX >> (32 - here)
            };
        }
        mask
    }

    pub(crate) fn is_empty(&self, warps: usize) -> bool {
        self.0[..warps].iter().all(|word| *word == 0)
    }

    pub(crate) fn count(&self, warps: usize) -> u32 {
        self.0[..warps].iter().map(|word| word.count_ones()).sum()
    }

    pub(crate) fn add(&mut self, other: &Self, warps: usize) {
        for warp in 0..warps {
            self.0[warp] |= other.0[warp];
        }
    }

    pub(crate) fn remove(&mut self, other: &Self, warps: usize) {
        for warp in 0..warps {
            self.0[warp] &= !other.0[warp];
        }
    }

    /// The lowest lane.
    pub(crate) fn lowest(&self) -> Option<u32> {
        let warp = self.0.iter().position(|word| *word != 0)?;
        Some(warp as u32 * 32 + self.0[warp].trailing_zeros())
    }

    /// The lanes, ascending.
    pub(crate) fn lanes(&self, warps: usize) -> impl Iterator<Item = usize> {
        (0..warps * WARP).filter(|lane| self.0[lane / WARP] >> (lane % WARP) & 1 != 0)
    }
}

/// What a group is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Runnable,
    /// Waits at this barrier; its program counter is past the instruction.
    AtBarrier {
        id: u32,
        /// The instruction, for its result.
        instruction: u32,
    },
    /// Waits for the barrier of its cluster; its program counter is past the instruction.
    AtCluster,
    /// Waits at a warp operation for the lanes its member masks name.
    AtWarp,
}

/// Lanes with the same program counter and call stack.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) pc: u32,
    /// Index in [`Frames`].
    pub(crate) frame: u32,
    pub(crate) state: State,
    /// How much it has been going round without getting anything done.
    pub(crate) spin: u32,
    /// Has used up its turn; the others come first.
    pub(crate) has_spun: bool,
    pub(crate) mask: Mask,
}

/// An activation of a function.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    /// Caller, `u32::MAX` for the kernel.
    pub(crate) parent: u32,
    /// Where the caller goes on.
    pub(crate) return_pc: u32,
    /// Program function number.
    pub(crate) function: u32,
    /// First register unit.
    pub(crate) register_base: u32,
    pub(crate) predicate_base: u32,
    /// First byte of local memory.
    pub(crate) local_base: u32,
    pub(crate) depth: u32,
    /// Bytes of the thread's stack up to the end of this frame.
    pub(crate) stack_bytes: u32,
    references: u32,
}

/// The call stacks of all groups: a tree whose nodes are shared, so that two groups with equal
/// stacks have equal frame numbers and can merge.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    frames: Vec<Frame>,
    free: Vec<u32>,
    known: HashMap<(u32, u32, u32), u32>,
}

impl Frames {
    /// Forgets everything but the kernel's own frame, number 0.
    pub(crate) fn reset(&mut self) {
        self.frames.clear();
        self.free.clear();
        self.known.clear();
        self.frames.push(Frame {
            parent: u32::MAX,
            return_pc: 0,
            function: 0,
            register_base: 0,
            predicate_base: 0,
            local_base: 0,
            depth: 0,
            stack_bytes: 0,
            references: 1,
        });
    }

    pub(crate) fn get(&self, index: u32) -> &Frame {
        &self.frames[index as usize]
    }

    /// One more group has this frame.
    pub(crate) fn retain(&mut self, index: u32) {
        self.frames[index as usize].references += 1;
    }

    /// One group fewer has this frame.
    pub(crate) fn release(&mut self, mut index: u32) {
        loop {
            let frame = &mut self.frames[index as usize];
            frame.references -= 1;
            if frame.references > 0 || frame.parent == u32::MAX {
                return;
            }
            let frame = *frame;
            self.known
                .remove(&(frame.parent, frame.return_pc, frame.function));
            self.free.push(index);
            index = frame.parent;
        }
    }

    /// The frame of a call, with one more reference. The parent keeps its references: the caller
    /// gives up its own with [`Frames::release`].
    pub(crate) fn call(&mut self, new: Frame) -> u32 {
        let key = (new.parent, new.return_pc, new.function);
        if let Some(&index) = self.known.get(&key) {
            self.retain(index);
            return index;
        }
        self.retain(new.parent);
        let frame = Frame {
            references: 1,
            ..new
        };
        let index = match self.free.pop() {
            Some(index) => {
                self.frames[index as usize] = frame;
                index
            }
            None => {
                self.frames.push(frame);
                self.frames.len() as u32 - 1
            }
        };
        self.known.insert(key, index);
        index
    }
}

impl Frame {
    /// A frame to be handed to [`Frames::call`].
    pub(crate) fn new(
        parent: u32,
        return_pc: u32,
        function: u32,
        [register_base, predicate_base, local_base]: [u32; 3],
        depth: u32,
        stack_bytes: u32,
    ) -> Self {
        Self {
            parent,
            return_pc,
            function,
            register_base,
            predicate_base,
            local_base,
            depth,
            stack_bytes,
            references: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_stacks_share_a_frame_and_unused_ones_go() {
        let mut frames = Frames::default();
        frames.reset();
        let child = |return_pc| Frame::new(0, return_pc, 1, [8, 2, 16], 1, 0);
        let a = frames.call(child(5));
        let b = frames.call(child(5));
        let c = frames.call(child(9));
        assert_eq!(a, b);
        assert_ne!(a, c);
        frames.release(a);
        assert_eq!(frames.call(child(5)), a);
        frames.release(a);
        frames.release(a);
        let d = frames.call(child(7));
        assert_eq!(d, a, "the slot is used again");
        assert_eq!(frames.get(d).return_pc, 7);
    }

    #[test]
    fn masks_count_their_lanes() {
        let mask = Mask::first(40);
        assert_eq!(mask.0[..3], [!0, 0xff, 0]);
        assert_eq!((mask.count(2), mask.lowest()), (40, Some(0)));
        assert_eq!(mask.lanes(2).last(), Some(39));
        assert!(Mask::default().is_empty(32));
    }
}
