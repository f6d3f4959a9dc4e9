// SPDX-License-Identifier: Apache-2.0
//! What can be wrong with a device image.

use thiserror::Error;

/// Why a device image was refused. All but [`FatbinError::NoBinaryForGpu`] mean that the bytes
/// handed in are wrong; the caller who made them is at fault.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum FatbinError {
    /// The first bytes are those of no known image.
    #[error("Not a fatbin, an ELF cubin or PTX text")]
    UnknownImage,
    /// A structure reaches past the end of the bytes that hold it.
    #[error("The image ends inside {what} (offset {offset})")]
    Truncated {
        /// The structure being read.
        what: &'static str,
        /// Its offset from the start of the image, in bytes.
        offset: u64,
    },
    /// A field holds a value that no toolkit writes.
    #[error("Bad {what}: {value:#x}")]
    BadField {
        /// The field.
        what: &'static str,
        /// What it holds.
        value: u64,
    },
    /// A count or a size is over a constant of [`crate::limits`].
    #[error("{what} is {value}, over the limit of {limit}")]
    OverLimit {
        /// The count or size.
        what: &'static str,
        /// What the image says.
        value: u64,
        /// What is allowed.
        limit: u64,
    },
    /// A compressed payload does not decompress to the size that its header promises.
    #[error("A {method} payload does not decompress: {reason}")]
    Decompress {
        /// `zstd` or `LZ4`.
        method: &'static str,
        /// What the decompressor says.
        reason: String,
    },
    /// No entry can run on the device. CUDA calls it `CUDA_ERROR_NO_BINARY_FOR_GPU`.
    #[error("No entry for compute capability {major}.{minor}; the image holds: {held}")]
    NoBinaryForGpu {
        /// Major compute capability of the device.
        major: u32,
        /// Minor compute capability of the device.
        minor: u32,
        /// The entries that the image does hold, for the log.
        held: String,
    },
    /// A pointer that must not be null is.
    #[error("Null {0}")]
    NullPointer(&'static str),
}
