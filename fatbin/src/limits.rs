// SPDX-License-Identifier: Apache-2.0
//! Bounds on what a fatbin may ask for. A fatbin comes from an application or over the network.

/// Largest fatbin, ELF image or PTX text that is measured or parsed, in bytes.
pub const IMAGE_BYTES_MAX: u64 = 4 << 30;

/// Largest size one compressed payload may grow to, in bytes.
pub const UNCOMPRESSED_BYTES_MAX: u64 = 512 << 20;

/// Most entries in one fatbin, counting the members of concatenated entries.
pub const ENTRY_COUNT_MAX: usize = 4096;

/// Most members of one concatenated entry.
pub const MEMBER_COUNT_MAX: u32 = 1024;

/// Most sections or segments in an ELF image.
pub const ELF_TABLE_COUNT_MAX: u64 = 1 << 20;

/// Most prelinked fatbins that a version 2 wrapper may list.
pub const PRELINKED_COUNT_MAX: usize = 4096;
