// SPDX-License-Identifier: Apache-2.0
//! Which addresses are the device's, which are pinned, and which are neither.

mod device;
mod host;
mod mirror;
mod reserve;

pub(crate) use self::device::{DeviceRange, DeviceRanges, RangeKind};
pub(crate) use self::host::{HostRange, HostRanges, PinnedBy};
pub(crate) use self::mirror::{Attachment, Mirror, Mirrors, PIECE_BYTES, Upload};
pub(crate) use self::reserve::PAGE_BYTES;
