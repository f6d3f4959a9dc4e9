// SPDX-License-Identifier: Apache-2.0
//! Handles that the application holds: numbers, not addresses, so that a stale or made-up one is an
//! error and not a crash.
//!
//! | bits | meaning |
//! |---|---|
//! | 0–3 | zero |
//! | 4–23 | index of the slot |
//! | 24–39 | generation of the slot, at least 1 |
//! | 40–47 | kind of the object |
//! | 48–63 | 1 |

use std::collections::VecDeque;
use std::sync::Arc;

use gvirtus_abi::CUresult;
use parking_lot::RwLock;

/// Live objects of one kind.
const OBJECTS_MAX: usize = 1 << 20;
/// Slots are reused only when so many are free, which keeps generations apart for long.
const SPARE_SLOTS: usize = 64;

/// What a handle refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(super) enum Kind {
    Context = 1,
    Event = 2,
    Function = 3,
    Kernel = 4,
    Library = 5,
    Module = 6,
    Stream = 7,
    Pool = 12,
    Link = 8,
    Array = 16,
    MipmappedArray = 17,
    TextureObject = 18,
    SurfaceObject = 19,
    Reference = 20,
}

/// All objects of one kind.
pub(super) struct Handles<T> {
    kind: Kind,
    slots: RwLock<Slots<T>>,
}

struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: VecDeque<usize>,
}

struct Slot<T> {
    generation: u16,
    value: Option<Arc<T>>,
}

impl<T> Handles<T> {
    pub(super) const fn new(kind: Kind) -> Self {
        Self {
            kind,
            slots: RwLock::new(Slots {
                slots: Vec::new(),
                free: VecDeque::new(),
            }),
        }
    }

    /// Makes an object that knows its handle.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_OUT_OF_MEMORY` if there are too many.
    pub(super) fn insert(&self, make: impl FnOnce(u64) -> T) -> Result<Arc<T>, CUresult> {
        let handle = self.reserve()?;
        let value = Arc::new(make(handle));
        self.set(handle, Some(value.clone()));
        Ok(value)
    }

    /// A handle whose object comes later.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_OUT_OF_MEMORY` if there are too many.
    pub(super) fn reserve(&self) -> Result<u64, CUresult> {
        let mut slots = self.slots.write();
        let reused = match slots.free.len() > SPARE_SLOTS {
            true => slots.free.pop_front(),
            false => None,
        };
        let index = match reused {
            Some(index) => index,
            None if slots.slots.len() == OBJECTS_MAX => {
                return Err(CUresult::CUDA_ERROR_OUT_OF_MEMORY);
            }
            None => {
                slots.slots.push(Slot {
                    generation: 1,
                    value: None,
                });
                slots.slots.len() - 1
            }
        };
        Ok(self.encode(index, slots.slots[index].generation))
    }

    /// Puts an object behind a reserved handle, or takes it away; the handle stays reserved.
    pub(super) fn set(&self, handle: u64, value: Option<Arc<T>>) {
        let mut slots = self.slots.write();
        if let Some(slot) = self.slot(&slots, handle) {
            slots.slots[slot].value = value;
        }
    }

    pub(super) fn get(&self, handle: u64) -> Option<Arc<T>> {
        let slots = self.slots.read();
        let slot = self.slot(&slots, handle)?;
        slots.slots[slot].value.clone()
    }

    /// Whether the handle is in use, with an object or reserved.
    pub(super) fn is_known(&self, handle: u64) -> bool {
        self.slot(&self.slots.read(), handle).is_some()
    }

    /// Whether the handle is one of these, whatever became of its object.
    pub(super) fn is_ours(&self, handle: u64) -> bool {
        handle & !HANDLE_BITS == MARK | (self.kind as u64) << 40
    }

    /// All objects there are at the moment.
    pub(super) fn all(&self) -> Vec<Arc<T>> {
        let slots = self.slots.read();
        slots
            .slots
            .iter()
            .filter_map(|slot| slot.value.clone())
            .collect()
    }

    /// Ends a handle.
    pub(super) fn remove(&self, handle: u64) -> Option<Arc<T>> {
        let mut slots = self.slots.write();
        let slot = self.slot(&slots, handle)?;
        slots.release(slot)
    }

    /// Ends the handles of all objects that satisfy `is_gone`; the handles.
    pub(super) fn remove_handles_where(&self, is_gone: impl Fn(&T) -> bool) -> Vec<u64> {
        let mut slots = self.slots.write();
        let gone: Vec<usize> = (0..slots.slots.len())
            .filter(|index| slots.slots[*index].value.as_deref().is_some_and(&is_gone))
            .collect();
        let end = |index: usize| {
            let handle = self.encode(index, slots.slots[index].generation);
            drop(slots.release(index));
            handle
        };
        gone.into_iter().map(end).collect()
    }

    /// Ends the handles of all objects that satisfy `is_gone`.
    pub(super) fn remove_where(&self, is_gone: impl Fn(&T) -> bool) -> Vec<Arc<T>> {
        let mut slots = self.slots.write();
        let gone: Vec<usize> = (0..slots.slots.len())
            .filter(|index| slots.slots[*index].value.as_deref().is_some_and(&is_gone))
            .collect();
        gone.into_iter()
            .filter_map(|index| slots.release(index))
            .collect()
    }

    fn encode(&self, index: usize, generation: u16) -> u64 {
        MARK | (self.kind as u64) << 40 | u64::from(generation) << 24 | (index as u64) << 4
    }

    fn slot(&self, slots: &Slots<T>, handle: u64) -> Option<usize> {
        let index = usize::try_from(handle >> 4).ok()? & (OBJECTS_MAX - 1);
        let slot = slots.slots.get(index)?;
        (self.encode(index, slot.generation) == handle).then_some(index)
    }
}

impl<T> Slots<T> {
    fn release(&mut self, index: usize) -> Option<Arc<T>> {
        let slot = &mut self.slots[index];
        let value = slot.value.take();
        slot.generation = slot.generation.checked_add(1).unwrap_or(1);
        self.free.push_back(index);
        value
    }
}

const MARK: u64 = 1 << 48;
/// Those that differ between handles of a kind.
const HANDLE_BITS: u64 = (1 << 40) - (1 << 4);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_find_their_object_until_it_is_removed() {
        let handles = Handles::new(Kind::Event);
        let one = handles.insert(|handle| handle).unwrap();
        let two = handles.insert(|handle| handle).unwrap();
        assert_ne!(one, two);
        assert_eq!(handles.get(*one), Some(one.clone()));
        assert_eq!(handles.remove(*one), Some(one.clone()));
        assert_eq!(handles.get(*one), None);
        assert_eq!(handles.remove(*one), None);
        assert!(handles.is_ours(*one) && !handles.is_ours(*one + 1));
        assert_eq!(handles.get(*two), Some(two));
    }

    #[test]
    fn foreign_and_stale_handles_are_refused() {
        let handles = Handles::new(Kind::Event);
        let streams = Handles::new(Kind::Stream);
        let event = *handles.insert(|handle| handle).unwrap();
        let stream = *streams.insert(|handle| handle).unwrap();
        for wrong in [
            0,
            1,
            u64::MAX,
            event + 1,
            event + 16,
            event | 1 << 60,
            stream,
        ] {
            assert_eq!(handles.get(wrong), None, "{wrong:#x}");
        }
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..5000 {
            let handle = *handles.insert(|handle| handle).unwrap();
            assert!(seen.insert(handle), "reused {handle:#x}");
            handles.remove(handle);
        }
    }

    #[test]
    fn a_reserved_handle_keeps_its_number() {
        let handles = Handles::new(Kind::Context);
        let handle = handles.reserve().unwrap();
        assert_eq!(handles.get(handle), None::<Arc<u32>>);
        handles.set(handle, Some(Arc::new(5)));
        assert_eq!(handles.get(handle).as_deref(), Some(&5));
        handles.set(handle, None);
        handles.set(handle, Some(Arc::new(6)));
        assert_eq!(handles.get(handle).as_deref(), Some(&6));
        assert_eq!(handles.remove_where(|value| *value == 6).len(), 1);
        assert_eq!(handles.get(handle), None);
    }
}
