// SPDX-License-Identifier: Apache-2.0
//! The handles that the application gets, and what stands behind them.
//!
//! A handle looks like an aligned pointer, as CUDA's do, but is none:
//!
//! | bits | field |
//! |---|---|
//! | 0–2 | 0 |
//! | 3–24 | index |
//! | 25–42 | generation: how often the index was used |
//! | 43–46 | kind |
//!
//! So a null, foreign, stale or mistaken handle is recognised, and answered with CUDA's error.

use std::collections::VecDeque;

use gvirtus_protocol::limits::HANDLES_MAX;
use parking_lot::RwLock;

const INDEX_SHIFT: u32 = 3;
const INDEX_BITS: u32 = 22;
const GENERATION_SHIFT: u32 = INDEX_SHIFT + INDEX_BITS;
const GENERATION_BITS: u32 = 18;
const KIND_SHIFT: u32 = GENERATION_SHIFT + GENERATION_BITS;
const GENERATION_MASK: u32 = (1 << GENERATION_BITS) - 1;

const _: () = assert!(HANDLES_MAX <= 1 << INDEX_BITS);
const _: () = assert!(Kind::Pool as u64 <= 15 && KIND_SHIFT + 4 == 47);

/// What a handle names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `CUcontext`.
    Context = 1,
    /// `CUevent`.
    Event = 2,
    /// `CUfunction`.
    Function = 3,
    /// `CUkernel`.
    Kernel = 4,
    /// `CUlibrary`.
    Library = 5,
    /// `CUmodule`.
    Module = 6,
    /// `CUstream`.
    Stream = 7,
    /// `CUmemoryPool`.
    Pool = 12,
    /// `CUlinkState`.
    Link = 8,
}

/// Index and generation of a handle whose kind has been checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    /// Place in its slab.
    pub(crate) index: u32,
    /// How often the place was used before.
    pub(crate) generation: u32,
}

impl Key {
    /// The handle as the application sees it.
    pub(crate) const fn handle(self, kind: Kind) -> u64 {
        ((kind as u64) << KIND_SHIFT)
            | ((self.generation as u64) << GENERATION_SHIFT)
            | ((self.index as u64) << INDEX_SHIFT)
    }

    /// What a handle names, if it is one of this kind.
    #[allow(clippy::cast_possible_truncation, reason = "the fields are masked")]
    pub(crate) const fn of(handle: u64, kind: Kind) -> Option<Self> {
        if handle >> KIND_SHIFT != kind as u64 || handle & ((1 << INDEX_SHIFT) - 1) != 0 {
            return None;
        }
        Some(Self {
            index: (handle >> INDEX_SHIFT) as u32 & ((1 << INDEX_BITS) - 1),
            generation: (handle >> GENERATION_SHIFT) as u32 & GENERATION_MASK,
        })
    }

    /// The number that travels: 1 for the first index, because 0 means something else.
    pub(crate) const fn number(self) -> u32 {
        self.index + 1
    }
}

/// Objects of one kind.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    inner: RwLock<Inner<T>>,
}

#[derive(Debug)]
struct Inner<T> {
    slots: Vec<Slot<T>>,
    free: VecDeque<u32>,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self {
            inner: RwLock::new(Inner {
                slots: Vec::new(),
                free: VecDeque::new(),
            }),
        }
    }
}

impl<T: Clone> Slab<T> {
    /// Takes a place; nothing if there are too many objects.
    pub(crate) fn insert(&self, value: T) -> Option<Key> {
        let mut inner = self.inner.write();
        if let Some(index) = inner.free.pop_front() {
            let slot = &mut inner.slots[index as usize];
            slot.value = Some(value);
            let generation = slot.generation;
            return Some(Key { index, generation });
        }
        let index = u32::try_from(inner.slots.len()).ok()?;
        if index >= HANDLES_MAX - 1 {
            return None;
        }
        inner.slots.push(Slot {
            generation: 0,
            value: Some(value),
        });
        let generation = 0;
        Some(Key { index, generation })
    }

    /// The object, if it is still there.
    #[inline]
    pub(crate) fn get(&self, key: Key) -> Option<T> {
        let inner = self.inner.read();
        let slot = inner.slots.get(key.index as usize)?;
        if slot.generation != key.generation {
            return None;
        }
        slot.value.clone()
    }

    /// The key of the object with this number.
    pub(crate) fn key_of_number(&self, number: u32) -> Option<Key> {
        let index = number.checked_sub(1)?;
        let inner = self.inner.read();
        let slot = inner.slots.get(index as usize)?;
        slot.value.as_ref()?;
        let generation = slot.generation;
        Some(Key { index, generation })
    }

    /// Changes the object. Whether it is still there.
    pub(crate) fn set(&self, key: Key, value: T) -> bool {
        let mut inner = self.inner.write();
        match inner.slots.get_mut(key.index as usize) {
            Some(slot) if slot.generation == key.generation && slot.value.is_some() => {
                slot.value = Some(value);
                true
            }
            _ => false,
        }
    }

    /// Makes the handle stale. The index is not used again before [`Slab::release`]: the worker
    /// must hear of the end first.
    pub(crate) fn retire(&self, key: Key) -> Option<T> {
        let mut inner = self.inner.write();
        let slot = inner.slots.get_mut(key.index as usize)?;
        if slot.generation != key.generation {
            return None;
        }
        let value = slot.value.take()?;
        slot.generation = (slot.generation + 1) & GENERATION_MASK;
        Some(value)
    }

    /// Lets a retired index be used again.
    pub(crate) fn release(&self, key: Key) {
        self.inner.write().free.push_back(key.index);
    }

    /// Makes the handles of all objects that `belongs` tells stale.
    pub(crate) fn retire_all(&self, belongs: impl Fn(&T) -> bool) -> Vec<(Key, T)> {
        let mut retired = Vec::new();
        let mut inner = self.inner.write();
        for (index, slot) in (0..).zip(&mut inner.slots) {
            if let Some(value) = slot.value.take_if(|value| belongs(value)) {
                let generation = slot.generation;
                retired.push((Key { index, generation }, value));
                slot.generation = (generation + 1) & GENERATION_MASK;
            }
        }
        retired
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_return_and_look_like_pointers() {
        let key = Key {
            index: HANDLES_MAX - 1,
            generation: GENERATION_MASK,
        };
        for kind in [Kind::Context, Kind::Stream] {
            let handle = key.handle(kind);
            assert_eq!(Key::of(handle, kind), Some(key));
            assert_eq!(Key::of(handle, Kind::Event), None);
            assert_eq!(Key::of(handle | 1, kind), None);
            assert_eq!(Key::of(handle | 1 << 47, kind), None);
            assert!(handle < 1 << 47 && handle.is_multiple_of(8));
        }
        for foreign in [0, 1, 2, 0x7fff_dead_beec] {
            assert_eq!(Key::of(foreign, Kind::Context), None);
        }
    }

    #[test]
    fn stale_handles_are_recognised() {
        let slab = Slab::default();
        let first = slab.insert("a").expect("room");
        assert_eq!(slab.get(first), Some("a"));
        assert_eq!(slab.retire(first), Some("a"));
        assert_eq!((slab.get(first), slab.retire(first)), (None, None));
        // Not before the release is the index used again.
        let second = slab.insert("b").expect("room");
        assert_ne!(second.index, first.index);
        slab.release(first);
        let third = slab.insert("c").expect("room");
        assert_eq!(third.index, first.index);
        assert_eq!((slab.get(first), slab.get(third)), (None, Some("c")));
        assert_eq!(slab.retire_all(|value| *value == "c"), [(third, "c")]);
        assert_eq!((slab.get(third), slab.get(second)), (None, Some("b")));
    }
}
