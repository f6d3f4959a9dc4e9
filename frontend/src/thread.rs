// SPDX-License-Identifier: Apache-2.0
//! What belongs to a thread: its stack of current contexts and its default streams.
//!
//! Libraries call while a thread or the process ends, after the thread's destructors have run. So
//! the state hangs on a plain pointer that needs no destructor; a second variable frees it at the
//! thread's end, and whoever calls after that gets a fresh one.

use std::cell::Cell;

use gvirtus_abi::{CUcontext, CUresult};

use crate::process;
use crate::session::Session;

/// A thread's state.
#[derive(Debug, Default)]
struct State {
    /// Whose session the rest belongs to.
    epoch: u64,
    /// Contexts, the current one last.
    stack: Vec<CUcontext>,
    streams: Vec<DefaultStream>,
}

/// The stream that `CU_STREAM_PER_THREAD` means in a context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DefaultStream {
    /// In which context.
    pub(crate) context: CUcontext,
    /// The stream's handle.
    pub(crate) stream: u64,
}

thread_local! {
    static STATE: Cell<*mut State> = const { Cell::new(std::ptr::null_mut()) };
    static AT_END: AtEnd = const { AtEnd };
}

/// Frees the thread's state.
struct AtEnd;

impl Drop for AtEnd {
    fn drop(&mut self) {
        let state = STATE.replace(std::ptr::null_mut());
        if state.is_null() {
            return;
        }
        // SAFETY: made by `Box::into_raw` below, and taken out of the only place that knows it.
        let state = unsafe { Box::from_raw(state) };
        if let Ok(session) = process::session()
            && session.epoch == state.epoch
        {
            for stream in state.streams {
                session.destroy_default_stream(stream.stream);
            }
        }
    }
}

/// Runs `action` on the state of the calling thread.
#[inline]
fn with<T>(epoch: u64, action: impl FnOnce(&mut State) -> T) -> T {
    let mut state = STATE.get();
    if state.is_null() {
        state = fresh();
    }
    // SAFETY: not null, so made by `fresh` and not yet freed; only this thread knows it, and no
    // action calls back into this function.
    let state = unsafe { &mut *state };
    if state.epoch != epoch {
        *state = State {
            epoch,
            ..State::default()
        };
    }
    action(state)
}

#[cold]
fn fresh() -> *mut State {
    let state = Box::into_raw(Box::default());
    STATE.set(state);
    // A thread that is ending already has nobody to free it; that happens once a process.
    let _ = AT_END.try_with(|_| ());
    state
}

/// The current context's handle, or null. The context may have been destroyed.
#[inline]
pub(crate) fn current(session: &Session) -> CUcontext {
    with(session.epoch, |state| {
        state.stack.last().copied().unwrap_or(CUcontext::NULL)
    })
}

/// `cuCtxSetCurrent`: replaces the top of the stack; null removes it.
pub(crate) fn set_current(session: &Session, context: CUcontext) {
    with(session.epoch, |state| {
        state.stack.pop();
        if !context.is_null() {
            state.stack.push(context);
        }
    });
}

/// `cuCtxPushCurrent`.
pub(crate) fn push(session: &Session, context: CUcontext) {
    with(session.epoch, |state| state.stack.push(context));
}

/// `cuCtxPopCurrent`.
///
/// # Errors
///
/// `CUDA_ERROR_INVALID_CONTEXT` if there is none.
pub(crate) fn pop(session: &Session) -> Result<CUcontext, CUresult> {
    with(session.epoch, |state| {
        state
            .stack
            .pop()
            .ok_or(CUresult::CUDA_ERROR_INVALID_CONTEXT)
    })
}

/// The thread's default stream in a context, if it was used before. It has ended if the context
/// has.
#[inline]
pub(crate) fn default_stream(session: &Session, context: CUcontext) -> Option<u64> {
    with(session.epoch, |state| {
        let mut streams = state.streams.iter();
        Some(streams.find(|s| s.context == context)?.stream)
    })
}

/// Remembers the thread's default stream in a context, and forgets an earlier one.
pub(crate) fn set_default_stream(session: &Session, stream: DefaultStream) {
    with(session.epoch, |state| {
        state.streams.retain(|s| s.context != stream.context);
        state.streams.push(stream);
    });
}
