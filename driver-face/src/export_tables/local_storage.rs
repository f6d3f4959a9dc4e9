// SPDX-License-Identifier: Apache-2.0
//! Values that clients attach to a context: the table `c693336e…`.

use core::ffi::c_void;
use std::collections::BTreeMap;

use gvirtus_abi::{CUcontext, CUresult};

use crate::fork::Renewable;

/// Called with context, key and value when the context is destroyed.
pub type Destructor = unsafe extern "C" fn(CUcontext, *mut c_void, *mut c_void);

/// Addresses of the client, which are only stored and handed back.
#[derive(Clone, Copy)]
pub(crate) struct Stored {
    value: usize,
    destructor: Option<Destructor>,
}

pub(crate) static STORAGE: Renewable<BTreeMap<(CUcontext, usize), Stored>> = Renewable::new();

/// Slot 0. A second value under the same key replaces the first.
pub(super) fn put(
    context: CUcontext,
    key: *mut c_void,
    value: *mut c_void,
    destructor: Option<Destructor>,
) -> Result<(), CUresult> {
    let context = resolve(context)?;
    let stored = Stored {
        value: value.addr(),
        destructor,
    };
    STORAGE.get().lock().insert((context, key.addr()), stored);
    Ok(())
}

/// Slot 1. The destructor is not called.
pub(super) fn delete(context: CUcontext, key: *mut c_void) -> Result<(), CUresult> {
    let context = resolve(context)?;
    match STORAGE.get().lock().remove(&(context, key.addr())) {
        Some(_) => Ok(()),
        None => Err(CUresult::CUDA_ERROR_INVALID_HANDLE),
    }
}

/// Slot 2.
pub(super) fn get(context: CUcontext, key: *mut c_void) -> Result<*mut c_void, CUresult> {
    let context = resolve(context)?;
    match STORAGE.get().lock().get(&(context, key.addr())) {
        Some(stored) => Ok(core::ptr::without_provenance_mut(stored.value)),
        None => Err(CUresult::CUDA_ERROR_INVALID_HANDLE),
    }
}

/// Forgets what was stored for a context and calls the destructors; to be called by the library
/// when it destroys or resets a context, while it holds no lock (they call back).
pub fn context_destroyed(context: CUcontext) {
    let mut stored = Vec::new();
    STORAGE.get().lock().retain(|&(owner, key), value| {
        if owner == context {
            stored.push((key, *value));
        }
        owner != context
    });
    for (key, Stored { value, destructor }) in stored {
        let Some(destructor) = destructor else {
            continue;
        };
        let key = core::ptr::without_provenance_mut(key);
        let value = core::ptr::without_provenance_mut(value);
        // SAFETY: the client registered this function for these very arguments.
        unsafe { destructor(context, key, value) };
    }
}

fn resolve(context: CUcontext) -> Result<CUcontext, CUresult> {
    if !context.is_null() {
        return Ok(context);
    }
    let current = super::driver()?.current_context()?;
    if current.is_null() {
        return Err(CUresult::CUDA_ERROR_INVALID_CONTEXT);
    }
    Ok(current)
}

#[cfg(test)]
mod tests {
    use core::ptr::without_provenance_mut as address;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    static DESTROYED: AtomicUsize = AtomicUsize::new(0);

    unsafe extern "C" fn destructor(context: CUcontext, key: *mut c_void, value: *mut c_void) {
        assert_eq!((context, key.addr()), (CUcontext(0xC0), 1));
        DESTROYED.fetch_add(value.addr(), Ordering::Relaxed);
    }

    #[test]
    fn destruction_of_a_context_calls_its_destructors() {
        let (mine, other) = (CUcontext(0xC0), CUcontext(0xC1));
        put(mine, address(1), address(10), None).expect("context given");
        put(mine, address(1), address(11), Some(destructor)).expect("context given");
        put(mine, address(2), address(20), None).expect("context given");
        put(other, address(1), address(30), Some(destructor)).expect("context given");
        context_destroyed(mine);
        assert_eq!(DESTROYED.load(Ordering::Relaxed), 11);
        assert_eq!(
            get(mine, address(2)),
            Err(CUresult::CUDA_ERROR_INVALID_HANDLE)
        );
        assert_eq!(get(other, address(1)), Ok(address(30)));
        assert_eq!(delete(other, address(1)), Ok(()));
        assert_eq!(
            delete(other, address(1)),
            Err(CUresult::CUDA_ERROR_INVALID_HANDLE)
        );
    }
}
