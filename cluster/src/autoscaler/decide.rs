// SPDX-License-Identifier: Apache-2.0
//! Whether there should be more backends, or fewer: a pure function.

/// How many backends there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// As many are there although nobody waits.
    pub min: usize,
    /// Never more than these, whoever waits.
    pub max: usize,
}

/// How many backends there are, and in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fleet {
    /// All that were asked for.
    pub on: usize,
    /// Those of them that are about to take programs.
    pub starting: usize,
    /// Those of them that should take programs for long, and do not.
    pub stalled: usize,
    /// Those of them that nobody has used for long.
    pub idle: usize,
    /// How many more there could be.
    pub off: usize,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing.
    Stay,
    /// So many more.
    Start(usize),
    /// So many less, of those that are idle.
    Stop(usize),
}

/// Decides from how many backends are missing for those who wait.
pub fn decide(fleet: Fleet, missing: usize, bounds: Bounds) -> Decision {
    let working = fleet.on.saturating_sub(fleet.stalled);
    let wanted = missing.saturating_sub(fleet.starting);
    let wanted = wanted.max(bounds.min.saturating_sub(working));
    let room = bounds.max.saturating_sub(fleet.on);
    let start = wanted.min(room).min(fleet.off);
    if start > 0 {
        return Decision::Start(start);
    }
    // Whoever waits may fit on what is idle as soon as it answers again.
    let is_quiet = missing == 0 && fleet.starting == 0;
    let stop = fleet.idle.min(working.saturating_sub(bounds.min));
    if is_quiet && stop > 0 {
        Decision::Stop(stop)
    } else {
        Decision::Stay
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: Bounds = Bounds { min: 1, max: 4 };

    #[test]
    fn what_is_ordered_is_not_ordered_again() {
        let fleet = Fleet {
            on: 2,
            off: 9,
            ..Fleet::default()
        };
        assert_eq!(decide(fleet, 1, BOUNDS), Decision::Start(1));
        let ordered = Fleet {
            on: 3,
            starting: 1,
            ..fleet
        };
        assert_eq!(decide(ordered, 1, BOUNDS), Decision::Stay);
        assert_eq!(decide(ordered, 3, BOUNDS), Decision::Start(1));
    }

    #[test]
    fn another_stands_in_for_one_that_does_not_start() {
        let stalled = Fleet {
            on: 1,
            stalled: 1,
            off: 1,
            ..Fleet::default()
        };
        assert_eq!(decide(stalled, 0, BOUNDS), Decision::Start(1));
    }

    #[test]
    fn idle_ones_stop_down_to_the_least() {
        let fleet = Fleet {
            on: 3,
            idle: 3,
            ..Fleet::default()
        };
        assert_eq!(decide(fleet, 0, BOUNDS), Decision::Stop(2));
        assert_eq!(decide(fleet, 1, BOUNDS), Decision::Stay, "somebody waits");
        let starting = Fleet {
            on: 4,
            starting: 1,
            ..fleet
        };
        assert_eq!(decide(starting, 0, BOUNDS), Decision::Stay);
    }

    proptest! {
        #[test]
        fn bounds_hold(
            (on, starting, stalled, idle, off) in
                (0_usize..9, 0_usize..9, 0_usize..9, 0_usize..9, 0_usize..9),
            missing in 0_usize..20,
            min in 0_usize..5,
            more in 0_usize..5,
        ) {
            let bounds = Bounds { min, max: min + more };
            let fleet = Fleet { on, starting, stalled, idle, off };
            match decide(fleet, missing, bounds) {
                Decision::Stay => {}
                Decision::Start(number) => {
                    prop_assert!(number > 0 && number <= off && on + number <= bounds.max);
                }
                Decision::Stop(number) => {
                    prop_assert!(number > 0 && number <= idle && missing == 0);
                    prop_assert!(on - number >= bounds.min);
                }
            }
        }
    }
}
