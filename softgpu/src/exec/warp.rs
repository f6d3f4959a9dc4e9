// SPDX-License-Identifier: Apache-2.0
//! Warp-wide operations: shuffles, votes, matches, reductions.
//!
//! An operation of one warp is computed from [`Inputs`], which may come from several groups of
//! lanes: the lanes that a member mask names may reach the operation at different instructions.

use super::access::Element;
use super::code::{Code, More, PredicateSource};
use super::lanes::{Execute, Lanes, Step, WARP, store};
use super::level::{CpuLevel, Level, Portable, predicate};
use super::scalar;
use crate::ir::{ReduceOp, ShuffleMode, VoteMode};

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WarpOp {
    Sync,
    Shuffle(ShuffleMode),
    Vote(VoteMode),
    Ballot,
    ActiveMask,
    MatchAny,
    MatchAll,
    Redux { op: ReduceOp, signed: bool },
    Elect,
}

/// A decoded warp operation.
#[derive(Debug)]
pub(crate) struct WarpCode {
    pub(crate) op: WarpOp,
    pub(crate) a: Option<Element>,
    pub(crate) b: Option<Element>,
    pub(crate) c: Option<Element>,
    pub(crate) predicate: Option<PredicateSource>,
    /// Absent: the lanes that are there.
    pub(crate) members: Option<Element>,
    pub(crate) dst: Option<Element>,
    pub(crate) dst_predicate: Option<u32>,
    /// The instruction has code for warps whose living lanes are all here and all named.
    pub(crate) has_lane_loop: bool,
}

/// Operands of one warp.
pub(crate) struct Inputs {
    a: [u64; WARP],
    b: [u64; WARP],
    c: [u64; WARP],
    predicate: u32,
    /// The lanes each lane takes part with.
    members: [u32; WARP],
}

/// Results of one warp.
pub(crate) struct Outputs {
    value: [u64; WARP],
    predicate: u32,
}

impl Inputs {
    pub(crate) fn new() -> Self {
        Self {
            a: [0; WARP],
            b: [0; WARP],
            c: [0; WARP],
            predicate: 0,
            members: [0; WARP],
        }
    }

    /// Takes the operands of the lanes of `mask`; of `a`, all lanes.
    ///
    /// # Safety
    /// `code` was decoded for the function whose frame `lanes` shows.
    pub(crate) unsafe fn take(&mut self, lanes: &Lanes, code: &WarpCode, warp: usize, mask: u32) {
        // SAFETY: the caller's contract.
        unsafe {
            let copy = |to: &mut [u64; WARP], element: Option<Element>| {
                if let Some(element) = element {
                    let from = scalar::read(lanes, element, warp);
                    for lane in 0..WARP {
                        if mask >> lane & 1 != 0 {
                            to[lane] = from[lane];
                        }
                    }
                }
            };
            copy(&mut self.a, code.a);
            copy(&mut self.b, code.b);
            copy(&mut self.c, code.c);
            if let Some(source) = code.predicate {
                self.predicate = (self.predicate & !mask) | (source.word(lanes, warp) & mask);
            }
            let members = members(lanes, code, warp, mask);
            for lane in 0..WARP {
                if mask >> lane & 1 != 0 {
                    self.members[lane] = members[lane];
                }
            }
        }
    }
}

/// The member masks of one warp; without one, the lanes that are there.
///
/// # Safety
/// As [`Inputs::take`].
pub(crate) unsafe fn members(
    lanes: &Lanes,
    code: &WarpCode,
    warp: usize,
    mask: u32,
) -> [u32; WARP] {
    match code.members {
        // SAFETY: the caller's contract.
        Some(element) => unsafe { scalar::read(lanes, element, warp).map(|value| value as u32) },
        None => [mask; WARP],
    }
}

/// Writes the results of the lanes of `mask`.
///
/// # Safety
/// As [`Inputs::take`].
pub(crate) unsafe fn deliver(
    lanes: &Lanes,
    code: &WarpCode,
    warp: usize,
    mask: u32,
    outputs: &Outputs,
) {
    // SAFETY: the caller's contract.
    unsafe {
        if let Some(dst) = code.dst {
            super::atomic::put(lanes, dst, warp, mask, &outputs.value);
        }
        if let Some(index) = code.dst_predicate {
            let word = lanes.predicate(index).add(warp);
            *word = (*word & !mask) | (outputs.predicate & mask);
        }
    }
}

/// Computes the operation for the lanes of `present`.
pub(crate) fn compute(op: WarpOp, inputs: &Inputs, present: u32) -> Outputs {
    let mut value = [0; WARP];
    let mut predicate = 0;
    for lane in 0..WARP {
        if present >> lane & 1 == 0 {
            continue;
        }
        let set = inputs.members[lane] & present;
        let (result, flag) = match op {
            WarpOp::Sync => (0, false),
            WarpOp::ActiveMask => (present.into(), false),
            WarpOp::Shuffle(mode) => {
                let (source, in_range) = shuffle_source(mode, lane as u32, inputs, lane);
                // From a lane that does not take part the value is undefined: its own then.
                let source = if present >> source & 1 != 0 {
                    source as usize
                } else {
                    lane
                };
                (inputs.a[source], in_range)
            }
            WarpOp::Vote(mode) => {
                let yes = inputs.predicate & set;
                let flag = match mode {
                    VoteMode::All => yes == set,
                    VoteMode::Any => yes != 0,
                    VoteMode::Uniform => yes == 0 || yes == set,
                };
                (0, flag)
            }
            WarpOp::Ballot => ((inputs.predicate & set).into(), false),
            WarpOp::MatchAny => (same(inputs, set, inputs.a[lane]).into(), false),
            WarpOp::MatchAll => {
                let all = same(inputs, set, inputs.a[lane]) == set;
                (if all { set.into() } else { 0 }, all)
            }
            WarpOp::Redux { op, signed } => (reduce(op, signed, inputs, set), false),
            WarpOp::Elect => {
                let leader = set.trailing_zeros();
                (leader.into(), leader == lane as u32)
            }
        };
        value[lane] = result;
        predicate |= u32::from(flag) << lane;
    }
    Outputs { value, predicate }
}

/// The lane to read from, and whether it is in range.
fn shuffle_source(mode: ShuffleMode, lane: u32, inputs: &Inputs, index: usize) -> (u32, bool) {
    let b = inputs.b[index] as i32 & 31;
    let (clamp, segment) = (
        inputs.c[index] as u32 & 31,
        inputs.c[index] as u32 >> 8 & 31,
    );
    let first = lane & segment;
    let limit = (first | (clamp & !segment)) as i32;
    let lane = lane as i32;
    let (source, in_range) = match mode {
        ShuffleMode::Up => (lane - b, lane - b >= limit),
        ShuffleMode::Down => (lane + b, lane + b <= limit),
        ShuffleMode::Butterfly => (lane ^ b, lane ^ b <= limit),
        ShuffleMode::Index => {
            let source = first as i32 | (b & !(segment as i32));
            (source, source <= limit)
        }
    };
    (
        if in_range {
            source as u32 & 31
        } else {
            lane as u32
        },
        in_range,
    )
}

fn same(inputs: &Inputs, set: u32, value: u64) -> u32 {
    let mut equal = 0;
    for lane in 0..WARP {
        equal |= u32::from(inputs.a[lane] == value) << lane;
    }
    equal & set
}

fn reduce(op: ReduceOp, signed: bool, inputs: &Inputs, set: u32) -> u64 {
    let values = (0..WARP)
        .filter(|lane| set >> lane & 1 != 0)
        .map(|lane| inputs.a[lane] as u32);
    let result = match op {
        ReduceOp::Add => values.fold(0, u32::wrapping_add),
        ReduceOp::And => values.fold(u32::MAX, |a, b| a & b),
        ReduceOp::Or => values.fold(0, |a, b| a | b),
        ReduceOp::Xor => values.fold(0, |a, b| a ^ b),
        ReduceOp::Min if signed => values.map(|v| v as i32).min().unwrap_or(0) as u32,
        ReduceOp::Max if signed => values.map(|v| v as i32).max().unwrap_or(0) as u32,
        ReduceOp::Min => values.min().unwrap_or(0),
        ReduceOp::Max => values.max().unwrap_or(0),
    };
    result.into()
}

// === Lane loops: all living lanes of each warp are here, and the member mask names them all ===

/// `shfl` in a mode.
pub(crate) trait ShuffleOp {
    const MODE: ShuffleMode;
}

struct Up;
struct Down;
struct Butterfly;
struct Index;
impl ShuffleOp for Up {
    const MODE: ShuffleMode = ShuffleMode::Up;
}
impl ShuffleOp for Down {
    const MODE: ShuffleMode = ShuffleMode::Down;
}
impl ShuffleOp for Butterfly {
    const MODE: ShuffleMode = ShuffleMode::Butterfly;
}
impl ShuffleOp for Index {
    const MODE: ShuffleMode = ShuffleMode::Index;
}

/// [`Step::Fault`]: nothing done.
///
/// # Safety
/// `code` was decoded for the running function; the CPU has level `L`.
#[inline(always)]
unsafe fn run_shuffle<L: Level, O: ShuffleOp>(lanes: &mut Lanes, code: &Code) -> Step {
    let More::Warp(shuffle) = &code.more else {
        return Step::Fault;
    };
    let (Some(a), Some(b), Some(c)) = (shuffle.a, shuffle.b, shuffle.c) else {
        return Step::Fault;
    };
    // SAFETY: the caller's contract.
    unsafe {
        // Of a lane that is not there, a shuffle gives the reader its own value: not done here.
        for warp in 0..lanes.warps {
            if !matches!(*lanes.active.add(warp), 0 | u32::MAX) {
                return Step::Fault;
            }
        }
        let (a, step_a) = lanes.source::<u32>(a.operand);
        let (b, step_b) = lanes.source::<u32>(b.operand);
        let (c, step_c) = lanes.source::<u32>(c.operand);
        for warp in 0..lanes.warps {
            let mask = *lanes.masks.add(warp);
            if mask == 0 {
                continue;
            }
            let a = &*a.add(warp * step_a).cast::<[u32; WARP]>();
            let b = &*b.add(warp * step_b).cast::<[u32; WARP]>();
            let c = &*c.add(warp * step_c).cast::<[u32; WARP]>();
            let (mut index, mut is_in_range) = ([0_u32; WARP], [0_i32; WARP]);
            for lane in 0..WARP {
                let (b, clamp, segment) = (b[lane] & 31, c[lane] & 31, c[lane] >> 8 & 31);
                let first = lane as u32 & segment;
                let limit = (first | (clamp & !segment)) as i32;
                let own = lane as i32;
                let source = match O::MODE {
                    ShuffleMode::Up => own - b as i32,
                    ShuffleMode::Down => own + b as i32,
                    ShuffleMode::Butterfly => own ^ b as i32,
                    ShuffleMode::Index => (first | (b & !segment)) as i32,
                };
                let fits = match O::MODE {
                    ShuffleMode::Up => source >= limit,
                    _ => source <= limit,
                };
                index[lane] = if fits { source as u32 } else { lane as u32 };
                is_in_range[lane] = if fits { -1 } else { 0 };
            }
            let values = L::permute32(a, &index);
            if let Some(dst) = shuffle.dst {
                store::<L, u32>(
                    mask,
                    &values,
                    lanes.target::<u32>(dst.operand).add(warp * WARP),
                );
            }
            if let Some(dst) = shuffle.dst_predicate {
                let bits = L::compare::<i32, { predicate::LT }>(&is_in_range, &[0; WARP]);
                let word = lanes.predicate(dst).add(warp);
                *word = (*word & !mask) | (bits & mask);
            }
        }
    }
    Step::Next
}

super::lanes::versions!(
    run_shuffle,
    ShuffleOp,
    pick_shuffle,
    shuffle_v4,
    shuffle_v3,
    shuffle_portable
);

/// `vote` and `ballot`.
///
/// # Safety
/// `code` was decoded for the running function.
unsafe fn run_vote(lanes: &mut Lanes, code: &Code) -> Step {
    let More::Warp(vote) = &code.more else {
        return Step::Fault;
    };
    for warp in 0..lanes.warps {
        // SAFETY: the caller's contract; the portable level runs everywhere.
        unsafe {
            let (mask, set) = (*lanes.masks.add(warp), *lanes.active.add(warp));
            if set == 0 {
                continue;
            }
            let yes = vote.predicate.map_or(0, |source| source.word(lanes, warp)) & set;
            let flag = match vote.op {
                WarpOp::Vote(VoteMode::All) => yes == set,
                WarpOp::Vote(VoteMode::Any) => yes != 0,
                _ => yes == 0 || yes == set,
            };
            if let Some(dst) = vote.dst {
                let target = lanes.target::<u32>(dst.operand).add(warp * WARP);
                store::<Portable, u32>(mask, &[yes; WARP], target);
            }
            if let Some(dst) = vote.dst_predicate {
                let word = lanes.predicate(dst).add(warp);
                *word = if flag { *word | mask } else { *word & !mask };
            }
        }
    }
    Step::Next
}

/// Nothing to do once all lanes are here.
unsafe fn run_sync(_: &mut Lanes, _: &Code) -> Step {
    Step::Next
}

/// The lane loop of an operation, if there is one.
pub(crate) fn lane_loop(op: WarpOp, level: CpuLevel) -> Option<Execute> {
    Some(match op {
        WarpOp::Shuffle(ShuffleMode::Up) => pick_shuffle::<Up>(level),
        WarpOp::Shuffle(ShuffleMode::Down) => pick_shuffle::<Down>(level),
        WarpOp::Shuffle(ShuffleMode::Butterfly) => pick_shuffle::<Butterfly>(level),
        WarpOp::Shuffle(ShuffleMode::Index) => pick_shuffle::<Index>(level),
        WarpOp::Vote(_) | WarpOp::Ballot => run_vote,
        WarpOp::Sync => run_sync,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(b: u64, c: u64) -> Inputs {
        let mut inputs = Inputs::new();
        inputs.a = std::array::from_fn(|lane| lane as u64 * 10);
        inputs.b = [b; WARP];
        inputs.c = [c; WARP];
        inputs.members = [u32::MAX; WARP];
        inputs
    }

    fn shuffle(mode: ShuffleMode, b: u64, c: u64) -> (Vec<u64>, u32) {
        let out = compute(WarpOp::Shuffle(mode), &inputs(b, c), u32::MAX);
        (out.value.map(|value| value / 10).to_vec(), out.predicate)
    }

    #[test]
    fn shuffles_over_the_whole_warp() {
        let (up, in_range) = shuffle(ShuffleMode::Up, 3, 0);
        assert_eq!((up[2], up[3], up[31]), (2, 0, 28));
        assert_eq!(in_range, !7);
        let (down, in_range) = shuffle(ShuffleMode::Down, 1, 31);
        assert_eq!((down[0], down[30], down[31]), (1, 31, 31));
        assert_eq!(in_range, u32::MAX >> 1);
        let (butterfly, _) = shuffle(ShuffleMode::Butterfly, 16, 31);
        assert_eq!((butterfly[0], butterfly[31]), (16, 15));
        let (index, _) = shuffle(ShuffleMode::Index, 5, 31);
        assert!(index.iter().all(|&lane| lane == 5));
    }

    #[test]
    fn shuffles_in_segments_of_eight() {
        let c = |clamp: u64| clamp | (32 - 8) << 8;
        let (up, _) = shuffle(ShuffleMode::Up, 1, c(0));
        assert_eq!((up[8], up[9]), (8, 8));
        let (down, _) = shuffle(ShuffleMode::Down, 4, c(31));
        assert_eq!((down[3], down[4], down[12]), (7, 4, 12));
        let (index, _) = shuffle(ShuffleMode::Index, 9, c(31));
        assert_eq!((index[0], index[8], index[31]), (1, 9, 25));
    }

    #[test]
    fn votes_see_only_their_members() {
        let mut inputs = inputs(0, 0);
        inputs.predicate = 0x0000_00ff;
        for lane in 0..WARP {
            inputs.members[lane] = if lane < 8 { 0xff } else { 0xffff_ff00 };
        }
        let all = compute(WarpOp::Vote(VoteMode::All), &inputs, u32::MAX);
        assert_eq!(all.predicate, 0xff);
        let any = compute(WarpOp::Vote(VoteMode::Any), &inputs, u32::MAX);
        assert_eq!(any.predicate, 0xff);
        let uniform = compute(WarpOp::Vote(VoteMode::Uniform), &inputs, u32::MAX);
        assert_eq!(uniform.predicate, u32::MAX);
        let ballot = compute(WarpOp::Ballot, &inputs, u32::MAX);
        assert_eq!((ballot.value[0], ballot.value[9]), (0xff, 0));
        let elect = compute(WarpOp::Elect, &inputs, u32::MAX);
        assert_eq!((elect.value[20], elect.predicate), (8, 0x101));
    }

    #[test]
    fn matches_and_reductions() {
        let mut inputs = inputs(0, 0);
        inputs.a = std::array::from_fn(|lane| lane as u64 % 2);
        let any = compute(WarpOp::MatchAny, &inputs, u32::MAX);
        assert_eq!((any.value[0], any.value[1]), (0x5555_5555, 0xaaaa_aaaa));
        let all = compute(WarpOp::MatchAll, &inputs, u32::MAX);
        assert_eq!((all.value[0], all.predicate), (0, 0));
        let all = compute(WarpOp::MatchAll, &inputs, 0x5555);
        assert_eq!((all.value[0], all.predicate), (0x5555, 0x5555));
        inputs.a = std::array::from_fn(|lane| (lane as i32 - 5) as u32 as u64);
        let redux = |op, signed| compute(WarpOp::Redux { op, signed }, &inputs, u32::MAX).value[3];
        assert_eq!(redux(ReduceOp::Min, true) as i32, -5);
        assert_eq!(redux(ReduceOp::Max, false) as u32, u32::MAX);
        assert_eq!(redux(ReduceOp::Add, true) as i32, 31 * 16 - 160);
    }
}
