// SPDX-License-Identifier: Apache-2.0
//! Contexts: which there are, whose they are, and which is current to a thread.
//!
//! The primary context of device *d* has the number *d* + 1; contexts that the application creates
//! get the numbers behind. Whether a context lives is one atomic word a number, because every call
//! asks.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};

use gvirtus_abi::{CUcontext, CUdevice, CUfunc_cache, CUresult};
use gvirtus_protocol::limits::{CONTEXTS_MAX, DEVICES_MAX};
use parking_lot::{Mutex, MutexGuard};

use crate::handle::{Key, Kind};

const GENERATION_MASK: u32 = (1 << 18) - 1;
const DEVICE_SHIFT: u32 = 18;
const ALIVE: u32 = 1 << 31;

const _: () = assert!(DEVICES_MAX <= 1 << 6);

/// A context that lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Context {
    /// Travels in the header of commands.
    pub(crate) number: u16,
    /// Ordinal of its device.
    pub(crate) device: u32,
}

/// What is known of a context.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    /// Makes the handle.
    pub(crate) key: Key,
    /// Ordinal of its device.
    pub(crate) device: u32,
    /// `CUctx_flags`.
    pub(crate) flags: u32,
    /// As `cuCtxGetId` says; new whenever the context comes to life.
    pub(crate) id: u64,
    /// As `cuStreamGetId` says of its legacy default stream.
    pub(crate) legacy_stream_id: u64,
    /// As `cuCtxGetCacheConfig` says.
    pub(crate) cache_config: CUfunc_cache,
    /// Whether it exists. A primary context can come to life again.
    pub(crate) is_alive: bool,
    /// How often a primary context is retained by the application.
    pub(crate) retained: u32,
    /// How often the worker was asked to retain it.
    pub(crate) retained_by_worker: u32,
}

impl Entry {
    /// What travels.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "numbers are below CONTEXTS_MAX"
    )]
    pub(crate) const fn context(&self) -> Context {
        Context {
            number: self.key.number() as u16,
            device: self.device,
        }
    }

    /// What the application sees.
    pub(crate) const fn handle(&self) -> CUcontext {
        CUcontext(self.key.handle(Kind::Context))
    }
}

/// All contexts of a session.
#[derive(Debug)]
pub(crate) struct Contexts {
    /// By index: [`ALIVE`], device and generation of a living context, else 0.
    living: Box<[AtomicU32]>,
    devices: u32,
    table: Mutex<Table>,
}

/// The contexts while their lock is held. Commands that make or end contexts are sent under it, so
/// that they go out in the order in which the table changes.
#[derive(Debug)]
pub(crate) struct Table {
    entries: Vec<Entry>,
    free: VecDeque<u32>,
}

impl Contexts {
    /// The primary contexts of `devices` devices, none of them alive.
    pub(crate) fn new(devices: u32) -> Self {
        let entry = |device| Entry {
            key: Key {
                index: device,
                generation: 0,
            },
            device,
            flags: 0,
            id: 0,
            legacy_stream_id: 0,
            cache_config: CUfunc_cache::default(),
            is_alive: false,
            retained: 0,
            retained_by_worker: 0,
        };
        Self {
            living: (0..CONTEXTS_MAX).map(|_| AtomicU32::new(0)).collect(),
            devices,
            table: Mutex::new(Table {
                entries: (0..devices).map(entry).collect(),
                free: VecDeque::new(),
            }),
        }
    }

    /// The lock.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock()
    }

    /// The context behind a handle, if it lives.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_INVALID_CONTEXT` for something else, `CUDA_ERROR_CONTEXT_IS_DESTROYED`.
    #[inline]
    pub(crate) fn find(&self, handle: CUcontext) -> Result<Context, CUresult> {
        let key = Key::of(handle.0, Kind::Context).ok_or(CUresult::CUDA_ERROR_INVALID_CONTEXT)?;
        let word = self
            .living
            .get(key.index as usize)
            .ok_or(CUresult::CUDA_ERROR_INVALID_CONTEXT)?
            .load(Ordering::Acquire);
        if word & ALIVE == 0 || word & GENERATION_MASK != key.generation {
            return Err(CUresult::CUDA_ERROR_CONTEXT_IS_DESTROYED);
        }
        #[allow(clippy::cast_possible_truncation, reason = "below CONTEXTS_MAX")]
        Ok(Context {
            number: key.number() as u16,
            device: (word & !ALIVE) >> DEVICE_SHIFT,
        })
    }

    /// Whether a context can be made current: NVIDIA's runtime does that with a primary context
    /// before it retains it.
    ///
    /// # Errors
    ///
    /// As [`Contexts::find`], but for a primary context.
    pub(crate) fn check_current(&self, handle: CUcontext) -> Result<(), CUresult> {
        let key = Key::of(handle.0, Kind::Context);
        if key.is_some_and(|key| key.index < self.devices && key.generation == 0) {
            return Ok(());
        }
        self.find(handle).map(drop)
    }

    /// The handle of a device's primary context.
    pub(crate) fn primary(&self, device: CUdevice) -> Result<CUcontext, CUresult> {
        match u32::try_from(device.0) {
            Ok(index) if index < self.devices => {
                let generation = 0;
                let key = Key { index, generation };
                Ok(CUcontext(key.handle(Kind::Context)))
            }
            _ => Err(CUresult::CUDA_ERROR_INVALID_DEVICE),
        }
    }

    /// The device of the context with this number.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_CONTEXT_IS_DESTROYED`.
    pub(crate) fn device_of(&self, number: u16) -> Result<u32, CUresult> {
        let word = usize::from(number)
            .checked_sub(1)
            .and_then(|index| self.living.get(index))
            .map_or(0, |word| word.load(Ordering::Acquire));
        match word & ALIVE {
            0 => Err(CUresult::CUDA_ERROR_CONTEXT_IS_DESTROYED),
            _ => Ok((word & !ALIVE) >> DEVICE_SHIFT),
        }
    }

    /// Whether the context is the primary one of its device.
    pub(crate) fn is_primary(&self, context: Context) -> bool {
        u32::from(context.number) <= self.devices
    }

    /// Whether the handle is that of a primary context, alive or not.
    pub(crate) fn is_primary_handle(&self, handle: CUcontext) -> bool {
        Key::of(handle.0, Kind::Context).is_some_and(|key| key.index < self.devices)
    }

    /// An entry's context comes to life.
    pub(crate) fn revive(&self, entry: &mut Entry, id: u64, legacy_stream_id: u64) {
        entry.is_alive = true;
        entry.id = id;
        entry.legacy_stream_id = legacy_stream_id;
        let word = ALIVE | entry.device << DEVICE_SHIFT | entry.key.generation;
        self.living[entry.key.index as usize].store(word, Ordering::Release);
    }

    /// An entry's context ends.
    pub(crate) fn end(&self, entry: &mut Entry) {
        entry.is_alive = false;
        entry.cache_config = CUfunc_cache::default();
        self.living[entry.key.index as usize].store(0, Ordering::Release);
    }
}

impl Table {
    /// The context with this number, which is that of a context that lives or lived.
    pub(crate) fn entry(&mut self, number: u16) -> &mut Entry {
        &mut self.entries[usize::from(number) - 1]
    }

    /// The primary context of a device, if there is that device.
    pub(crate) fn primary(&mut self, device: u32) -> &mut Entry {
        &mut self.entries[device as usize]
    }

    /// A new entry, not yet alive; nothing if there are too many.
    pub(crate) fn insert(&mut self, device: u32, flags: u32) -> Option<&mut Entry> {
        let (index, generation) = match self.free.pop_front() {
            Some(index) => {
                let generation = self.entries[index as usize].key.generation;
                (index, (generation + 1) & GENERATION_MASK)
            }
            None => (u32::try_from(self.entries.len()).ok()?, 0),
        };
        if index >= CONTEXTS_MAX - 1 {
            return None;
        }
        let entry = Entry {
            key: Key { index, generation },
            device,
            flags,
            id: 0,
            legacy_stream_id: 0,
            cache_config: CUfunc_cache::default(),
            is_alive: false,
            retained: 0,
            retained_by_worker: 0,
        };
        let place = index as usize;
        if place == self.entries.len() {
            self.entries.push(entry);
        } else {
            self.entries[place] = entry;
        }
        Some(&mut self.entries[place])
    }

    /// Lets the number of a context that the application created be used again.
    pub(crate) fn release(&mut self, context: Context) {
        self.free.push_back(u32::from(context.number) - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn primary_contexts_keep_their_handles() {
        let contexts = Contexts::new(2);
        let handle = contexts.primary(CUdevice(1)).expect("a device");
        assert_eq!(
            contexts.find(handle),
            Err(CUresult::CUDA_ERROR_CONTEXT_IS_DESTROYED)
        );
        for id in 1..3 {
            contexts.revive(contexts.lock().primary(1), id, 7);
            let context = contexts.find(handle).expect("alive");
            assert_eq!((context.number, context.device), (2, 1));
            assert!(contexts.is_primary(context));
            assert_eq!(contexts.lock().entry(context.number).id, id);
            contexts.end(contexts.lock().primary(1));
            assert!(contexts.find(handle).is_err());
            assert_eq!(contexts.check_current(handle), Ok(()));
        }
        assert_eq!(
            contexts.primary(CUdevice(2)),
            Err(CUresult::CUDA_ERROR_INVALID_DEVICE)
        );
    }

    #[test]
    fn created_contexts_get_new_handles() {
        let contexts = Contexts::new(1);
        let mut handles = Vec::new();
        for _ in 0..2 {
            let mut table = contexts.lock();
            let entry = table.insert(0, 8).expect("room");
            contexts.revive(entry, 1, 2);
            let entry = *entry;
            assert_eq!(entry.context().number, 2);
            assert!(!contexts.is_primary(entry.context()));
            contexts.end(table.entry(2));
            table.release(entry.context());
            handles.push(entry.handle());
        }
        assert_ne!(handles[0], handles[1]);
        assert_eq!(
            contexts.find(CUcontext(1)),
            Err(CUresult::CUDA_ERROR_INVALID_CONTEXT)
        );
    }
}
