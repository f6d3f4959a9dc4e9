// SPDX-License-Identifier: Apache-2.0
//! Which of the free virtual devices a container should get.

use std::collections::{BTreeMap, BTreeSet};

use crate::card::{Uuid, VirtualId};

/// Why there is no choice.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AllocationError {
    /// More than there are.
    #[error("{wanted} are wanted, and {available} are free")]
    TooFew {
        /// How many.
        wanted: usize,
        /// Of how many.
        available: usize,
    },
    /// What has to be chosen is not free, or is more than what is wanted.
    #[error("what must be included cannot be")]
    Included,
}

/// Chooses `size` of `available`, `included` among them, from as few cards as can be.
///
/// First come cards from which something has to be chosen, then the fullest card that has room for
/// all that is left, else the emptiest ones: so whole cards stay free for whoever needs one. The
/// same question has the same answer, sorted.
///
/// # Errors
///
/// [`AllocationError`].
pub fn preferred(
    available: &[VirtualId],
    included: &[VirtualId],
    size: usize,
) -> Result<Vec<VirtualId>, AllocationError> {
    let mut free: BTreeMap<Uuid, BTreeSet<VirtualId>> = BTreeMap::new();
    for id in available {
        free.entry(id.card).or_default().insert(*id);
    }
    let count: usize = free.values().map(BTreeSet::len).sum();
    if size > count {
        return Err(AllocationError::TooFew {
            wanted: size,
            available: count,
        });
    }
    let mut chosen: BTreeSet<VirtualId> = BTreeSet::new();
    for id in included {
        let is_free = free.get_mut(&id.card).is_some_and(|ids| ids.remove(id));
        if !is_free && !chosen.contains(id) {
            return Err(AllocationError::Included);
        }
        chosen.insert(*id);
    }
    if chosen.len() > size {
        return Err(AllocationError::Included);
    }
    let begun: BTreeSet<Uuid> = chosen.iter().map(|id| id.card).collect();
    while chosen.len() < size {
        let left = size - chosen.len();
        let card = next(&free, &begun, left);
        let ids = card.and_then(|card| free.remove(&card));
        // There are enough: the sum was compared.
        let ids = ids.ok_or(AllocationError::Included)?;
        chosen.extend(ids.into_iter().take(left));
    }
    Ok(chosen.into_iter().collect())
}

/// The card from which to choose next.
fn next(
    free: &BTreeMap<Uuid, BTreeSet<VirtualId>>,
    begun: &BTreeSet<Uuid>,
    left: usize,
) -> Option<Uuid> {
    let sizes = || {
        let sizes = free.iter().map(|(card, ids)| (*card, ids.len()));
        sizes.filter(|(_, count)| *count > 0)
    };
    let of_begun = sizes()
        .filter(|(card, _)| begun.contains(card))
        .max_by_key(|(card, count)| (*count, std::cmp::Reverse(*card)));
    let fullest = sizes()
        .filter(|(_, count)| *count >= left)
        .min_by_key(|(card, count)| (*count, *card));
    let emptiest = sizes().max_by_key(|(card, count)| (*count, std::cmp::Reverse(*card)));
    of_begun.or(fullest).or(emptiest).map(|(card, _)| card)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ids(card: u8, numbers: std::ops::Range<u32>) -> Vec<VirtualId> {
        let card = Uuid([card; 16]);
        numbers.map(|number| VirtualId { card, number }).collect()
    }

    #[test]
    fn one_card_is_enough_and_the_fullest_is_taken() {
        let available = [ids(1, 0..10), ids(2, 0..4), ids(3, 0..3)].concat();
        assert_eq!(preferred(&available, &[], 4), Ok(ids(2, 0..4)));
        assert_eq!(preferred(&available, &[], 3), Ok(ids(3, 0..3)));
        let two = preferred(&available, &[], 12).expect("there are 17");
        assert_eq!(two, [ids(1, 0..10), ids(3, 0..2)].concat());
    }

    #[test]
    fn a_card_that_must_be_used_is_used_first() {
        let available = [ids(1, 0..2), ids(2, 0..9)].concat();
        let chosen = preferred(&available, &ids(2, 8..9), 2).expect("there are 11");
        assert_eq!(chosen, [ids(2, 0..1), ids(2, 8..9)].concat());
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let available = ids(1, 0..2);
        assert!(matches!(
            preferred(&available, &[], 3),
            Err(AllocationError::TooFew {
                wanted: 3,
                available: 2
            })
        ));
        let other = ids(2, 0..1);
        assert_eq!(
            preferred(&available, &other, 1),
            Err(AllocationError::Included)
        );
        assert_eq!(
            preferred(&available, &available, 1),
            Err(AllocationError::Included)
        );
    }

    proptest! {
        #[test]
        fn it_is_a_choice_of_the_free_ones_with_the_included(
            numbers in proptest::collection::vec((0_u8..4, 0_u32..20), 0..60),
            included in 0_usize..5,
            size in 0_usize..70,
        ) {
            let available: Vec<_> = numbers
                .iter()
                .map(|(card, number)| VirtualId { card: Uuid([*card; 16]), number: *number })
                .collect();
            let distinct: BTreeSet<_> = available.iter().copied().collect();
            let included: Vec<_> = distinct.iter().copied().take(included).collect();
            let result = preferred(&available, &included, size);
            let can_be = size <= distinct.len() && included.len() <= size;
            prop_assert_eq!(result.is_ok(), can_be);
            if let Ok(chosen) = result {
                let set: BTreeSet<_> = chosen.iter().copied().collect();
                prop_assert_eq!(set.len(), size);
                prop_assert!(set.is_subset(&distinct));
                prop_assert!(included.iter().all(|id| set.contains(id)));
            }
        }
    }
}
