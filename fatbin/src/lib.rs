// SPDX-License-Identifier: Apache-2.0
//! CUDA fatbins: the containers in which `nvcc` stores PTX and cubins for several architectures.
//!
//! [`image_at`] follows the length-less pointer of `cuModuleLoadData` and its like (the only unsafe
//! code here); [`Fatbin::parse`] reads a raw fatbin out of bytes that may come from anybody;
//! [`Fatbin::select_ptx`] chooses what a PTX device runs, [`Fatbin::reduced_for`] what is worth
//! sending over a network. Nothing here panics on hostile bytes, and all sizes have
//! [limits].

#![deny(unsafe_code)]

mod bytes;
mod elf;
mod entry;
mod error;
pub mod limits;
mod pointer;
mod select;
mod size;

pub use elf::{ElfSection, archive_members, elf_sections, is_archive};
pub use entry::{ComputeCapability, Entry, EntryKind, Fatbin, Portability};
pub use error::FatbinError;
pub use pointer::{PointedImage, image_at};
pub use size::{IMAGE_KIND_BYTES, ImageKind, ImageSize, fatbin_total_size, image_kind, image_size};

/// First word of a raw fatbin (`FATBIN_MAGIC`).
pub const FATBIN_MAGIC: u32 = 0xBA55_ED50;
/// First word of the wrapper that points to one (`FATBINC_MAGIC`).
pub const WRAPPER_MAGIC: u32 = 0x4662_43B1;
/// Size of the wrapper structure in bytes.
pub const WRAPPER_BYTES: u64 = 24;
