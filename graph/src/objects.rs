// SPDX-License-Identifier: Apache-2.0
//! User objects (`cuda.h`: "cuUserObjectCreate"): something of the application that lives as long
//! as anybody, a graph among them, keeps it.
//!
//! A destructor may do anything but call CUDA, for example wait for a lock that another thread
//! holds while it calls us: so none runs under our own lock.

use core::ffi::c_void;
use std::sync::{Arc, Weak};

use crate::process::state;

/// Calls the application's function when the last reference goes.
pub(crate) struct Destructor {
    function: usize,
    data: usize,
}

impl Destructor {
    /// # Safety
    ///
    /// `function` is the address of a `void (*)(void *)` that can be called with `data` on any
    /// thread.
    pub(crate) unsafe fn new(function: usize, data: usize) -> Arc<Self> {
        Arc::new(Self { function, data })
    }
}

impl Drop for Destructor {
    fn drop(&mut self) {
        state().destructors.lock().push((self.function, self.data));
    }
}

/// Calls the destructors of what nobody keeps any more. Not under a lock.
pub(crate) fn run_destructors() {
    loop {
        let due = state().destructors.lock().pop();
        let Some((function, data)) = due else { return };
        // SAFETY: whoever made the destructor has promised that this is such a function.
        unsafe {
            let function: unsafe extern "C" fn(*mut c_void) = core::mem::transmute(function);
            function(std::ptr::with_exposed_provenance_mut(data));
        }
    }
}

/// A user object as the application's handle names it.
pub(crate) struct UserObject {
    destructor: Weak<Destructor>,
    /// While the application itself keeps it.
    kept: Option<Arc<Destructor>>,
    count: u64,
}

impl UserObject {
    pub(crate) fn new(destructor: Arc<Destructor>, count: u32) -> Self {
        Self {
            destructor: Arc::downgrade(&destructor),
            kept: Some(destructor),
            count: count.into(),
        }
    }

    /// Nothing once nobody keeps it.
    pub(crate) fn destructor(&self) -> Option<Arc<Destructor>> {
        self.destructor.upgrade()
    }

    /// The application keeps it so many times more. Whether it is still there.
    pub(crate) fn retain(&mut self, count: u32) -> bool {
        let Some(destructor) = self.destructor() else {
            return false;
        };
        self.kept = Some(destructor);
        self.count += u64::from(count);
        true
    }

    /// The application keeps it so many times less. Whether it kept it so often.
    pub(crate) fn release(&mut self, count: u32) -> bool {
        if self.count < u64::from(count) {
            return false;
        }
        self.count -= u64::from(count);
        if self.count == 0 {
            self.kept = None;
        }
        true
    }
}
