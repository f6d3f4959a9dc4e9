// SPDX-License-Identifier: Apache-2.0
//! Block-wide barriers.

use super::access::Element;
use super::code::PredicateSource;
use super::group::Mask;

/// A decoded `bar`.
#[derive(Debug)]
pub(crate) struct BarrierCode {
    pub(crate) id: Element,
    /// Threads that take part; all if absent.
    pub(crate) count: Option<Element>,
    pub(crate) kind: BarrierCodeKind,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum BarrierCodeKind {
    Sync,
    Arrive,
    Population {
        dst: Element,
        source: PredicateSource,
    },
    And {
        dst: u32,
        source: PredicateSource,
    },
    Or {
        dst: u32,
        source: PredicateSource,
    },
}

impl BarrierCodeKind {
    /// The operand of a reduction.
    pub(crate) fn source(self) -> Option<PredicateSource> {
        match self {
            Self::Sync | Self::Arrive => None,
            Self::Population { source, .. }
            | Self::And { source, .. }
            | Self::Or { source, .. } => Some(source),
        }
    }
}

/// One of the sixteen barriers of a block.
#[derive(Clone, Debug, Default)]
pub(crate) struct Barrier {
    /// Lanes that have arrived.
    pub(crate) arrived: Mask,
    /// Lanes among them whose predicate was true.
    pub(crate) truths: Mask,
    /// Threads waited for; `None`: all that have not exited.
    pub(crate) expected: Option<u32>,
    /// Somebody has arrived.
    pub(crate) is_open: bool,
}

impl Barrier {
    /// Whether all expected threads have arrived. `dead`: lanes that have exited or never existed.
    pub(crate) fn is_complete(&self, dead: &Mask, warps: usize) -> bool {
        if !self.is_open {
            return false;
        }
        match self.expected {
            None => (0..warps).all(|warp| self.arrived.0[warp] | dead.0[warp] == !0),
            Some(expected) => {
                // Threads are counted in whole warps: the missing lanes of a warp that has
                // otherwise arrived count too.
                let count = |warp: usize| match self.arrived.0[warp] {
                    0 => 0,
                    arrived if arrived | dead.0[warp] == !0 => 32,
                    arrived => arrived.count_ones(),
                };
                (0..warps).map(count).sum::<u32>() >= expected
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn barrier(arrived: [u32; 2], expected: Option<u32>) -> Barrier {
        let mut barrier = Barrier {
            expected,
            is_open: true,
            ..Barrier::default()
        };
        barrier.arrived.0[..2].copy_from_slice(&arrived);
        barrier
    }

    #[test]
    fn without_a_count_all_living_lanes_must_come() {
        let mut dead = Mask::default();
        dead.0[1] = 0xffff_0000;
        assert!(!barrier([!0, 0xff], None).is_complete(&dead, 2));
        assert!(barrier([!0, 0xffff], None).is_complete(&dead, 2));
        assert!(!Barrier::default().is_complete(&dead, 2));
    }

    #[test]
    fn counts_are_in_whole_warps() {
        let mut dead = Mask::default();
        dead.0[1] = 0xffff_0000;
        assert!(barrier([!0, 0xffff], Some(64)).is_complete(&dead, 2));
        assert!(barrier([!0, 0], Some(32)).is_complete(&dead, 2));
        assert!(!barrier([!0, 0xff], Some(64)).is_complete(&dead, 2));
    }
}
