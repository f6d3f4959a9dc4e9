// SPDX-License-Identifier: Apache-2.0
//! What can go wrong while a kernel runs.

use std::fmt;

/// Where a fault happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Location {
    /// Mangled kernel name.
    pub kernel: String,
    /// Mangled name of the function that was running (the kernel's or a callee's).
    pub function: String,
    /// Block index.
    pub block: [u32; 3],
    /// Thread index.
    pub thread: [u32; 3],
    /// PTX source line, 0 if unknown.
    pub line: u32,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ([bx, by, bz], [tx, ty, tz]) = (self.block, self.thread);
        write!(
            f,
            "kernel {}, block [{bx},{by},{bz}], thread [{tx},{ty},{tz}]",
            self.kernel
        )?;
        if self.function != self.kernel {
            write!(f, ", in {}", self.function)?;
        }
        if self.line != 0 {
            write!(f, ", PTX line {}", self.line)?;
        }
        Ok(())
    }
}

/// Kind of memory access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Load.
    Read,
    /// Store.
    Write,
    /// Atomic.
    Atomic,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Atomic => "atomic access",
        })
    }
}

/// A kernel's failure. All but [`Fault::Configuration`], [`Fault::OutOfMemory`] and
/// [`Fault::Cancelled`] are errors of the kernel and, as in CUDA, leave the context unusable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Memory that is not allocated (`CUDA_ERROR_ILLEGAL_ADDRESS`).
    #[error("illegal address: {access} of {bytes} bytes at {address:#x} ({space}): {location}")]
    IllegalAddress {
        /// Address as the instruction saw it.
        address: u64,
        /// Length of the access.
        bytes: u32,
        /// What was tried.
        access: Access,
        /// State space of the instruction.
        space: &'static str,
        /// Where.
        location: Location,
    },
    /// `CUDA_ERROR_MISALIGNED_ADDRESS`.
    #[error("misaligned address: {access} of {bytes} bytes at {address:#x}: {location}")]
    MisalignedAddress {
        /// Address as the instruction saw it.
        address: u64,
        /// Length of the access.
        bytes: u32,
        /// What was tried.
        access: Access,
        /// Where.
        location: Location,
    },
    /// An operation that its state space does not allow, such as an atomic on local memory
    /// (`CUDA_ERROR_INVALID_ADDRESS_SPACE`).
    #[error("{access} at {address:#x} in an address space that does not allow it: {location}")]
    InvalidAddressSpace {
        /// Address as the instruction saw it.
        address: u64,
        /// What was tried.
        access: Access,
        /// Where.
        location: Location,
    },
    /// `trap` (`CUDA_ERROR_LAUNCH_FAILED`).
    #[error("trap: {location}")]
    Trap {
        /// Where.
        location: Location,
    },
    /// A device assertion failed; the message has been printed (`CUDA_ERROR_ASSERT`).
    #[error("{message}: {location}")]
    Assert {
        /// The line that was printed.
        message: String,
        /// Where.
        location: Location,
    },
    /// An instruction that does not exist or is not implemented
    /// (`CUDA_ERROR_ILLEGAL_INSTRUCTION`; not implemented: `CUDA_ERROR_NOT_SUPPORTED`).
    #[error("illegal instruction `{text}`: {location}")]
    IllegalInstruction {
        /// The opcode.
        text: String,
        /// Where.
        location: Location,
    },
    /// A call or branch to something that is no function or label (`CUDA_ERROR_INVALID_PC`).
    #[error("invalid call or branch target {target:#x}: {location}")]
    InvalidTarget {
        /// The value.
        target: u64,
        /// Where.
        location: Location,
    },
    /// Too many nested calls or too much local memory (`CUDA_ERROR_HARDWARE_STACK_ERROR`).
    #[error("stack overflow: {location}")]
    StackOverflow {
        /// Where.
        location: Location,
    },
    /// All threads of a block wait for each other; real hardware would hang
    /// (`CUDA_ERROR_LAUNCH_FAILED`).
    #[error("deadlock, {reason}: {location}")]
    Deadlock {
        /// What they wait for.
        reason: String,
        /// Where one of them waits.
        location: Location,
    },
    /// The launch was cancelled from outside, or ran past its time limit
    /// (`CUDA_ERROR_LAUNCH_TIMEOUT`).
    #[error("cancelled: {kernel}")]
    Cancelled {
        /// Kernel.
        kernel: String,
    },
    /// The launch's own arguments are wrong: nothing ran (`CUDA_ERROR_INVALID_VALUE`).
    #[error("launch of {kernel}: {reason}")]
    Configuration {
        /// Kernel.
        kernel: String,
        /// Why.
        reason: String,
    },
    /// No memory for the blocks' state (`CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES`).
    #[error("out of memory for {what}")]
    OutOfMemory {
        /// For what.
        what: String,
    },
}
