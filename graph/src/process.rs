// SPDX-License-Identifier: Apache-2.0
//! All that a process knows of graphs. A forked child starts with nothing: what its parent had is
//! the parent's, and its locks may be held by threads that the child does not have.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use gvirtus_abi::CUdeviceptr;
use parking_lot::Mutex;

use crate::memory::{GraphMemory, Table};
use crate::world::World;

/// What is known of graphs.
pub(crate) struct State {
    pub(crate) world: Mutex<World>,
    /// Memory of allocation nodes that were launched and not freed since: it stays even if its
    /// graph goes.
    pub(crate) live: Mutex<BTreeMap<u64, Arc<GraphMemory>>>,
    pub(crate) memory: Mutex<Table>,
    /// Memory without owners that the driver has not been given back, and how much it is.
    pub(crate) freed: Mutex<Vec<CUdeviceptr>>,
    pub(crate) freed_count: AtomicU64,
    /// Functions and arguments of destructors that are to be called.
    pub(crate) destructors: Mutex<Vec<(usize, usize)>>,
}

impl State {
    const fn new() -> Self {
        Self {
            world: Mutex::new(World::new()),
            live: Mutex::new(BTreeMap::new()),
            memory: Mutex::new(Table::new()),
            freed: Mutex::new(Vec::new()),
            freed_count: AtomicU64::new(0),
            destructors: Mutex::new(Vec::new()),
        }
    }
}

static FIRST: State = State::new();
/// That of a forked child; it is never freed.
static CURRENT: AtomicPtr<State> = AtomicPtr::new(std::ptr::null_mut());

#[inline]
pub(crate) fn state() -> &'static State {
    // SAFETY: null, or a state that is never freed and only changed behind its locks.
    unsafe { CURRENT.load(Ordering::Acquire).as_ref() }.unwrap_or(&FIRST)
}

/// Forgets all graphs and captures, without a word to the driver or the application: to be called
/// in a forked child before anything else of this crate. Handles of the parent name nothing here.
pub fn restart() {
    let state = Box::leak(Box::new(State::new()));
    CURRENT.store(state, Ordering::Release);
    crate::capture::restart();
}
