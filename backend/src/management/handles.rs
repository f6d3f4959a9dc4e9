// SPDX-License-Identifier: Apache-2.0
//! What the client's tokens mean: it never learns or names an address of this process.
//!
//! The same handle always gets the same token, because programs compare handles. The devices get
//! the first tokens, in the order of their indices, so that they mean the same in the next
//! connection: after a fork, or when a program starts NVML again.

use std::collections::HashMap;

use gvirtus_nvml_abi::Status;
use gvirtus_nvml_abi::table::HandleKind;

use crate::limits::NVML_HANDLES_MAX;

/// The handles of one connection.
#[derive(Debug, Default)]
pub(super) struct Handles {
    by_token: HashMap<(HandleKind, u32), usize>,
    tokens: HashMap<(HandleKind, usize), u32>,
    last: HashMap<HandleKind, u32>,
    /// Event sets that threads wait for, and how many.
    waiting: HashMap<u32, u32>,
    /// Whether devices without a token are none of the client's.
    hides_devices: bool,
}

impl Handles {
    /// The handle that a token stands for.
    pub(super) fn find(&self, kind: HandleKind, token: u64) -> Result<usize, Status> {
        u32::try_from(token)
            .ok()
            .and_then(|token| self.by_token.get(&(kind, token)).copied())
            .ok_or(Status::INVALID_ARGUMENT)
    }

    /// The token of a handle: its own from earlier, or a new one. That of none is 0.
    pub(super) fn token(&mut self, kind: HandleKind, handle: usize) -> Result<u32, Status> {
        if handle == 0 {
            return Ok(0);
        }
        if let Some(token) = self.tokens.get(&(kind, handle)) {
            return Ok(*token);
        }
        if kind == HandleKind::Device && self.hides_devices {
            return Err(Status::NOT_FOUND);
        }
        if self.is_full() {
            return Err(Status::INSUFFICIENT_RESOURCES);
        }
        let last = self.last.entry(kind).or_insert(0);
        *last = last.checked_add(1).ok_or(Status::INSUFFICIENT_RESOURCES)?;
        self.by_token.insert((kind, *last), handle);
        self.tokens.insert((kind, handle), *last);
        Ok(*last)
    }

    /// From now on there are no devices but those that have a token.
    pub(super) fn hide_other_devices(&mut self) {
        self.hides_devices = true;
    }

    /// Whether there is no room for another one.
    pub(super) fn is_full(&self) -> bool {
        self.by_token.len() >= NVML_HANDLES_MAX
    }

    /// Forgets a handle that is gone.
    pub(super) fn remove(&mut self, kind: HandleKind, token: u64) {
        let Ok(token) = u32::try_from(token) else {
            return;
        };
        if let Some(handle) = self.by_token.remove(&(kind, token)) {
            self.tokens.remove(&(kind, handle));
        }
    }

    /// A thread is about to wait for an event set, unless too many do.
    pub(super) fn begin_wait(&mut self, token: u64) -> Result<(), Status> {
        let total: u32 = self.waiting.values().sum();
        if total >= crate::limits::NVML_WAITS_MAX {
            return Err(Status::INSUFFICIENT_RESOURCES);
        }
        self.find(HandleKind::EventSet, token)?;
        let token = u32::try_from(token).map_err(|_| Status::INVALID_ARGUMENT)?;
        *self.waiting.entry(token).or_insert(0) += 1;
        Ok(())
    }

    /// It waits no more.
    pub(super) fn end_wait(&mut self, token: u64) {
        let Ok(token) = u32::try_from(token) else {
            return;
        };
        if let Some(count) = self.waiting.get_mut(&token) {
            *count -= 1;
            if *count == 0 {
                self.waiting.remove(&token);
            }
        }
    }

    /// Whether a thread waits for this event set.
    pub(super) fn is_waited_for(&self, token: u64) -> bool {
        u32::try_from(token).is_ok_and(|token| self.waiting.contains_key(&token))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_has_one_token_and_kinds_are_apart() {
        let mut handles = Handles::default();
        assert_eq!(handles.token(HandleKind::Device, 0x1000), Ok(1));
        assert_eq!(handles.token(HandleKind::Device, 0x2000), Ok(2));
        assert_eq!(handles.token(HandleKind::Device, 0x1000), Ok(1));
        assert_eq!(handles.token(HandleKind::EventSet, 0x1000), Ok(1));
        assert_eq!(handles.find(HandleKind::Device, 2), Ok(0x2000));
        for token in [0, 3, u64::MAX, 1 << 32 | 1] {
            let found = handles.find(HandleKind::Device, token);
            assert_eq!(found, Err(Status::INVALID_ARGUMENT));
        }
        handles.remove(HandleKind::EventSet, 1);
        assert!(handles.find(HandleKind::EventSet, 1).is_err());
        assert_eq!(handles.token(HandleKind::EventSet, 0x1000), Ok(2));
        assert_eq!(handles.token(HandleKind::Device, 0), Ok(0));
    }

    #[test]
    fn there_is_an_end_of_handles_and_waits() {
        let mut handles = Handles::default();
        for handle in 1..=NVML_HANDLES_MAX {
            assert!(handles.token(HandleKind::EventSet, handle).is_ok());
        }
        assert!(handles.is_full());
        let more = handles.token(HandleKind::GpmSample, 1);
        assert_eq!(more, Err(Status::INSUFFICIENT_RESOURCES));
        for _ in 0..crate::limits::NVML_WAITS_MAX {
            assert_eq!(handles.begin_wait(5), Ok(()));
        }
        assert_eq!(handles.begin_wait(6), Err(Status::INSUFFICIENT_RESOURCES));
        assert!(handles.is_waited_for(5) && !handles.is_waited_for(6));
        handles.end_wait(5);
        assert_eq!(handles.begin_wait(6), Ok(()));
    }
}
