// SPDX-License-Identifier: Apache-2.0
//! State that the child of a fork can start anew.

use std::sync::atomic::{AtomicPtr, Ordering};

use parking_lot::Mutex;

/// A locked value that lives as long as the process.
///
/// In the child of a fork the lock may be held by a thread that exists only in the parent, in the
/// middle of a change. So the child does not touch it but takes a new one, and leaves the old one
/// where it is.
pub(crate) struct Renewable<T>(AtomicPtr<Mutex<T>>);

impl<T: Default> Renewable<T> {
    pub(crate) const fn new() -> Self {
        Self(AtomicPtr::new(std::ptr::null_mut()))
    }

    /// The value; an empty one at first.
    pub(crate) fn get(&self) -> &'static Mutex<T> {
        let current = self.0.load(Ordering::Acquire);
        if current.is_null() {
            return self.create();
        }
        // SAFETY: only `create` stores other pointers than null; they come from a leaked box.
        unsafe { &*current }
    }

    /// Starts anew with an empty value.
    pub(crate) fn renew(&self) {
        self.0.store(std::ptr::null_mut(), Ordering::Release);
    }

    #[cold]
    fn create(&self) -> &'static Mutex<T> {
        let new: *mut Mutex<T> = Box::leak(Box::default());
        let null = std::ptr::null_mut();
        let raced = self
            .0
            .compare_exchange(null, new, Ordering::AcqRel, Ordering::Acquire);
        match raced {
            // SAFETY: a leaked box.
            Ok(_) => unsafe { &*new },
            Err(first) => {
                // SAFETY: leaked above and known to nobody else.
                drop(unsafe { Box::from_raw(new) });
                // SAFETY: stored by another thread's `create`: a leaked box.
                unsafe { &*first }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewal_helps_against_a_lock_that_is_never_released() {
        static VALUE: Renewable<Vec<u32>> = Renewable::new();
        VALUE.get().lock().push(1);
        assert_eq!(*VALUE.get().lock(), [1]);
        std::mem::forget(VALUE.get().lock());
        VALUE.renew();
        assert!(VALUE.get().lock().is_empty());
    }
}
