// SPDX-License-Identifier: Apache-2.0
//! Stream memory operations (`cuda.h`: "Stream Memory Operations"): a stream writes a word of
//! memory, or waits until a word satisfies a condition.
//!
//! A wait occupies a thread of its own, which looks at the word again and again: it may be changed
//! by a kernel, a copy, another stream or the host.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use gvirtus_abi::{
    CUdeviceptr, CUresult, CUstream, CUstreamBatchMemOpParams, CUstreamBatchMemOpType as Type,
    CUstreamWaitValue_flags as Wait, CUstreamWriteValue_flags as Write,
};

use gvirtus_graph::{Batch, MemoryOperation, Payload, capture};

use super::allocations::{Place, writable_place};
use super::arguments::read_array;
use super::graph::stream_of;
use super::limits::{MEMORY_OPERATIONS_MAX, MEMORY_POLL_MAX};
use super::scheduler::{ErrorCell, Marker, Placement, SCHEDULER, watching};
use super::stream::{self, Target};

const INVALID: CUresult = CUresult::CUDA_ERROR_INVALID_VALUE;
/// Looks at a word before the thread begins to sleep in between.
const EAGER_LOOKS: u32 = 64;

/// A word of 32 or 64 bits in memory, aligned, checked when the operation was submitted.
#[derive(Clone, Copy)]
pub(super) struct Cell {
    address: u64,
    bits: u32,
}

impl Cell {
    fn new(address: CUdeviceptr, bits: u32) -> Result<Self, CUresult> {
        let bytes = u64::from(bits / 8);
        if !address.0.is_multiple_of(bytes) || writable_place(address.0, bytes)? == Place::Pageable
        {
            return Err(INVALID);
        }
        let address = address.0;
        Ok(Self { address, bits })
    }

    fn pointer(self) -> *mut u8 {
        std::ptr::with_exposed_provenance_mut(self.address as usize)
    }

    fn load(self) -> u64 {
        // SAFETY: aligned, and inside an allocation when the operation was submitted; device memory
        // stays mapped, and of host memory the contract of cuda.h is that it lives until the stream
        // has done with it. All who race for it use atomic or volatile accesses.
        unsafe {
            match self.bits {
                32 => AtomicU32::from_ptr(self.pointer().cast())
                    .load(Ordering::Acquire)
                    .into(),
                _ => AtomicU64::from_ptr(self.pointer().cast()).load(Ordering::Acquire),
            }
        }
    }

    fn store(self, value: u64) {
        // SAFETY: as `load`.
        unsafe {
            match self.bits {
                32 => AtomicU32::from_ptr(self.pointer().cast())
                    .store(value as u32, Ordering::Release),
                _ => AtomicU64::from_ptr(self.pointer().cast()).store(value, Ordering::Release),
            }
        }
    }
}

/// What a word is compared by.
#[derive(Clone, Copy)]
pub(super) enum Condition {
    /// At least the value, of numbers that wrap around.
    AtLeast,
    Equal,
    /// A bit in common.
    And,
    /// A bit that neither has.
    Nor,
}

impl Condition {
    fn parse(flags: u32) -> Result<Self, CUresult> {
        Ok(match Wait(flags) {
            Wait::CU_STREAM_WAIT_VALUE_GEQ => Self::AtLeast,
            Wait::CU_STREAM_WAIT_VALUE_EQ => Self::Equal,
            Wait::CU_STREAM_WAIT_VALUE_AND => Self::And,
            Wait::CU_STREAM_WAIT_VALUE_NOR => Self::Nor,
            // Remote writes are not there to be flushed, as the device's attribute says.
            other if other.0 & Wait::CU_STREAM_WAIT_VALUE_FLUSH.0 != 0 => {
                return Err(CUresult::CUDA_ERROR_NOT_SUPPORTED);
            }
            _ => return Err(INVALID),
        })
    }

    fn holds(self, word: u64, value: u64, bits: u32) -> bool {
        let shift = 64 - bits;
        match self {
            Self::AtLeast => (word.wrapping_sub(value) << shift).cast_signed() >= 0,
            Self::Equal => (word ^ value) << shift == 0,
            Self::And => (word & value) << shift != 0,
            Self::Nor => !(word | value) << shift != 0,
        }
    }
}

/// One operation, checked.
pub(super) enum Operation {
    Write(Cell, u64),
    Wait(Cell, Condition, u64),
    /// Operations of a stream are in order and seen by all anyway.
    Barrier,
}

impl Operation {
    fn write(address: CUdeviceptr, bits: u32, value: u64, flags: u32) -> Result<Self, CUresult> {
        if flags & !Write::CU_STREAM_WRITE_VALUE_NO_MEMORY_BARRIER.0 != 0 {
            return Err(INVALID);
        }
        Ok(Self::Write(Cell::new(address, bits)?, value))
    }

    fn wait(address: CUdeviceptr, bits: u32, value: u64, flags: u32) -> Result<Self, CUresult> {
        let condition = Condition::parse(flags)?;
        Ok(Self::Wait(Cell::new(address, bits)?, condition, value))
    }

    /// # Errors
    ///
    /// `CUDA_ERROR_INVALID_VALUE` for what is no such operation or not device memory,
    /// `CUDA_ERROR_NOT_SUPPORTED`.
    pub(super) fn parse(parameters: &CUstreamBatchMemOpParams) -> Result<Self, CUresult> {
        // SAFETY: every variant begins with the operation.
        let operation = unsafe { parameters.operation };
        // SAFETY: the operation says which field it is, here and below.
        let wait = unsafe { parameters.waitValue };
        // SAFETY: as above.
        let write = unsafe { parameters.writeValue };
        match operation {
            Type::CU_STREAM_MEM_OP_WAIT_VALUE_32 => {
                // SAFETY: a wait of 32 bits.
                let value = unsafe { wait.anonymous0.value };
                Self::wait(wait.address, 32, value.into(), wait.flags)
            }
            Type::CU_STREAM_MEM_OP_WAIT_VALUE_64 => {
                // SAFETY: a wait of 64 bits.
                let value = unsafe { wait.anonymous0.value64 };
                Self::wait(wait.address, 64, value, wait.flags)
            }
            Type::CU_STREAM_MEM_OP_WRITE_VALUE_32 => {
                // SAFETY: a write of 32 bits.
                let value = unsafe { write.anonymous0.value };
                Self::write(write.address, 32, value.into(), write.flags)
            }
            Type::CU_STREAM_MEM_OP_WRITE_VALUE_64 => {
                // SAFETY: a write of 64 bits.
                let value = unsafe { write.anonymous0.value64 };
                Self::write(write.address, 64, value, write.flags)
            }
            Type::CU_STREAM_MEM_OP_BARRIER => Ok(Self::Barrier),
            Type::CU_STREAM_MEM_OP_FLUSH_REMOTE_WRITES
            | Type::CU_STREAM_MEM_OP_ATOMIC_REDUCTION => Err(CUresult::CUDA_ERROR_NOT_SUPPORTED),
            _ => Err(INVALID),
        }
    }

    /// Its place in the stream, if it does anything.
    pub(super) fn submit(self, target: &Target) -> Option<Marker> {
        match self {
            Self::Barrier => None,
            Self::Write(cell, value) => {
                let write = move || {
                    cell.store(value);
                    Ok(())
                };
                Some(SCHEDULER.submit(target.id(), Placement::Here, write))
            }
            Self::Wait(cell, condition, value) => {
                let error: Arc<ErrorCell> = target.context().error.clone();
                let wait = move || {
                    watching(|| {
                        wait_until(&error, || condition.holds(cell.load(), value, cell.bits));
                    });
                    Ok(())
                };
                Some(SCHEDULER.submit(target.id(), Placement::Worker, wait))
            }
        }
    }
}

/// Looks until `is_satisfied`, or until the context has failed.
pub(super) fn wait_until(error: &ErrorCell, is_satisfied: impl Fn() -> bool) {
    let mut pause = Duration::from_micros(1);
    for look in 0_u32.. {
        if is_satisfied() || error.check().is_err() {
            return;
        }
        if look < EAGER_LOOKS {
            std::thread::yield_now();
        } else {
            std::thread::sleep(pause);
            pause = (pause * 2).min(MEMORY_POLL_MAX);
        }
    }
}

/// Checks all operations before the first is submitted, or makes them a node of a graph.
fn submit(
    (default_stream, stream): (CUstream, CUstream),
    operations: &[MemoryOperation],
) -> Result<(), CUresult> {
    let target = stream::capturable(default_stream, stream)?;
    let parsed = operations
        .iter()
        .map(|MemoryOperation(o)| Operation::parse(o));
    let parsed = parsed.collect::<Result<Vec<_>, _>>()?;
    if capture::is_possible() {
        let stream = stream_of(&target);
        let is_captured = match parsed.is_empty() {
            true => capture::is_captured(&stream)?,
            false => capture::record(&stream, || {
                Ok(Payload::Batch(Batch {
                    operations: operations.into(),
                    context: target.context().handle,
                }))
            })?,
        };
        if is_captured {
            return Ok(());
        }
    }
    for operation in parsed {
        operation.submit(&target);
    }
    Ok(())
}

macro_rules! word_operations {
    ($($make:ident, $bits:literal, $value:ty => $($name:ident),*;)*) => {$($(
        pub(crate) fn $name(
            default_stream: CUstream,
            stream: CUstream,
            addr: CUdeviceptr,
            value: $value,
            flags: u32,
        ) -> Result<(), CUresult> {
            let operation = MemoryOperation::$make(addr, $bits, value.into(), flags);
            submit((default_stream, stream), &[operation])
        }
    )*)*};
}

word_operations! {
    write, 32, u32 => cuStreamWriteValue32, cuStreamWriteValue32_v2;
    write, 64, u64 => cuStreamWriteValue64, cuStreamWriteValue64_v2;
    wait, 32, u32 => cuStreamWaitValue32, cuStreamWaitValue32_v2;
    wait, 64, u64 => cuStreamWaitValue64, cuStreamWaitValue64_v2;
}

pub(crate) unsafe fn cuStreamBatchMemOp(
    default_stream: CUstream,
    stream: CUstream,
    count: u32,
    paramArray: *mut CUstreamBatchMemOpParams,
    flags: u32,
) -> Result<(), CUresult> {
    stream::capturable(default_stream, stream)?;
    let is_missing = count > 0 && paramArray.is_null();
    if flags != 0 || count > MEMORY_OPERATIONS_MAX || is_missing {
        return Err(INVALID);
    }
    // SAFETY: the contract of cuda.h: as many operations as it says.
    let operations = unsafe { read_array(paramArray.cast_const(), count as usize) };
    let operations: Vec<_> = operations.iter().copied().map(MemoryOperation).collect();
    submit((default_stream, stream), &operations)
}

pub(crate) unsafe fn cuStreamBatchMemOp_v2(
    default_stream: CUstream,
    stream: CUstream,
    count: u32,
    paramArray: *mut CUstreamBatchMemOpParams,
    flags: u32,
) -> Result<(), CUresult> {
    // SAFETY: the same contract.
    unsafe { cuStreamBatchMemOp(default_stream, stream, count, paramArray, flags) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_follow_their_definition() {
        let holds = |condition: Condition, word: u64, value: u64| condition.holds(word, value, 32);
        assert!(holds(Condition::AtLeast, 5, 5) && holds(Condition::AtLeast, 6, 5));
        assert!(!holds(Condition::AtLeast, 4, 5));
        // (int32_t)(*addr - value) >= 0: the comparison is cyclic.
        assert!(holds(Condition::AtLeast, 1, 0xffff_fff0));
        assert!(!holds(Condition::AtLeast, 0xffff_fff0, 1));
        assert!(holds(Condition::Equal, 7, 7) && !holds(Condition::Equal, 7, 8));
        assert!(holds(Condition::And, 6, 2) && !holds(Condition::And, 4, 2));
        assert!(holds(Condition::Nor, 0, 1) && !holds(Condition::Nor, 0xffff_fffe, 1));
        assert!(Condition::AtLeast.holds(1, u64::MAX, 64));
    }

    #[test]
    fn unknown_flags_are_refused() {
        assert!(Condition::parse(4).is_err_and(|status| status == INVALID));
        assert!(
            Condition::parse(1 << 30)
                .is_err_and(|status| status == CUresult::CUDA_ERROR_NOT_SUPPORTED)
        );
    }
}
