// SPDX-License-Identifier: Apache-2.0
//! What devices do, as far as a backend can tell.

/// What a device does now; what cannot be told is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeviceFigures {
    /// What is used of its memory, by whomever.
    pub(crate) memory_used_bytes: Option<u64>,
    /// Part of the time in which a kernel ran, in percent.
    pub(crate) utilisation_percent: Option<u32>,
}
