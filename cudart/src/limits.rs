// SPDX-License-Identifier: Apache-2.0
//! Sizes of what the library keeps.

/// Devices whose primary contexts are kept at hand. CUDA itself allows 128 devices at most.
pub(crate) const MAX_DEVICES: usize = 128;

/// Kernels that each thread remembers, by host address; a power of two.
pub(crate) const KERNEL_CACHE_ENTRIES: usize = 64;

/// Launch configurations that one thread may have open: the arguments of a launch may launch.
pub(crate) const CALL_CONFIGURATIONS: usize = 16;
