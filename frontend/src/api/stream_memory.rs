// SPDX-License-Identifier: Apache-2.0
//! Stream memory operations. Batches of them travel one by one: a stream keeps their order.

use gvirtus_abi::{
    CUdeviceptr, CUresult, CUstream, CUstreamBatchMemOpParams, CUstreamBatchMemOpType as Type,
};
use gvirtus_graph::{Batch, MemoryOperation, Payload, capture};

use super::{INVALID_VALUE, Status, graph_stream, required};
use crate::limits::MEMORY_OPERATIONS_MAX;
use crate::process::session;
use crate::regular;

/// Whether operations have become a node, all together.
fn capture_operations(
    (default, stream): (CUstream, CUstream),
    operations: &[MemoryOperation],
) -> Result<bool, CUresult> {
    if !capture::is_possible() {
        return Ok(false);
    }
    let stream = graph_stream(session()?, default, stream)?;
    if operations.is_empty() {
        return capture::is_captured(&stream);
    }
    capture::record(&stream, || {
        operations.iter().try_for_each(check)?;
        Ok(Payload::Batch(Batch {
            operations: operations.into(),
            context: stream.context,
        }))
    })
}

macro_rules! word_operations {
    ($($make:ident, $bits:literal, $value:ty => $($name:ident),*;)*) => {$($(
        #[doc = concat!("`", stringify!($name), "`.")]
        pub unsafe fn $name(
            default_stream: CUstream,
            stream: CUstream,
            addr: CUdeviceptr,
            value: $value,
            flags: u32,
        ) -> Status {
            let operation = MemoryOperation::$make(addr, $bits, value.into(), flags);
            if capture_operations((default_stream, stream), &[operation])? {
                return Ok(());
            }
            // SAFETY: the same contract.
            unsafe { regular::$name(default_stream, stream, addr, value, flags) }
        }
    )*)*};
}

word_operations! {
    write, 32, u32 => cuStreamWriteValue32, cuStreamWriteValue32_v2;
    write, 64, u64 => cuStreamWriteValue64, cuStreamWriteValue64_v2;
    wait, 32, u32 => cuStreamWaitValue32, cuStreamWaitValue32_v2;
    wait, 64, u64 => cuStreamWaitValue64, cuStreamWaitValue64_v2;
}

/// `cuStreamBatchMemOp`.
pub unsafe fn cuStreamBatchMemOp(
    default_stream: CUstream,
    stream: CUstream,
    count: u32,
    paramArray: *mut CUstreamBatchMemOpParams,
    flags: u32,
) -> Status {
    let session = session()?;
    session.capturable(default_stream, stream)?;
    if flags != 0 || count > MEMORY_OPERATIONS_MAX {
        return Err(INVALID_VALUE);
    }
    let operations = match count {
        0 => &[],
        // SAFETY: not null, and then as many operations as told by the caller's promise; the types
        // have one layout.
        _ => unsafe {
            let operations = required(paramArray)?.cast::<MemoryOperation>();
            std::slice::from_raw_parts(operations, count as usize)
        },
    };
    // What cannot be done is told before anything is.
    operations.iter().try_for_each(check)?;
    if capture_operations((default_stream, stream), operations)? {
        return Ok(());
    }
    for operation in operations {
        // SAFETY: the caller's promise.
        unsafe { send(default_stream, stream, operation)? };
    }
    Ok(())
}

/// `cuStreamBatchMemOp_v2`.
pub unsafe fn cuStreamBatchMemOp_v2(
    default_stream: CUstream,
    stream: CUstream,
    count: u32,
    paramArray: *mut CUstreamBatchMemOpParams,
    flags: u32,
) -> Status {
    // SAFETY: the caller's promise.
    unsafe { cuStreamBatchMemOp(default_stream, stream, count, paramArray, flags) }
}

/// What is wrong with an operation, as far as the client can tell.
///
/// # Errors
///
/// `CUDA_ERROR_INVALID_VALUE`, `CUDA_ERROR_NOT_SUPPORTED`.
pub(super) fn check(operation: &MemoryOperation) -> Status {
    let bytes = match operation.kind() {
        Type::CU_STREAM_MEM_OP_WAIT_VALUE_32 | Type::CU_STREAM_MEM_OP_WRITE_VALUE_32 => 4,
        Type::CU_STREAM_MEM_OP_WAIT_VALUE_64 | Type::CU_STREAM_MEM_OP_WRITE_VALUE_64 => 8,
        Type::CU_STREAM_MEM_OP_BARRIER => return Ok(()),
        Type::CU_STREAM_MEM_OP_FLUSH_REMOTE_WRITES | Type::CU_STREAM_MEM_OP_ATOMIC_REDUCTION => {
            return Err(CUresult::CUDA_ERROR_NOT_SUPPORTED);
        }
        _ => return Err(INVALID_VALUE),
    };
    // SAFETY: waits and writes have their address in one place.
    let address = unsafe { operation.0.waitValue.address };
    match address.0 != 0 && address.0.is_multiple_of(bytes) {
        true => Ok(()),
        false => Err(INVALID_VALUE),
    }
}

/// # Safety
///
/// As `cuStreamWriteValue32` and its kin.
pub(super) unsafe fn send(
    default: CUstream,
    stream: CUstream,
    operation: &MemoryOperation,
) -> Status {
    // SAFETY: every variant begins with the operation, which says which field it is; all fields
    // are plain numbers. The caller promises the rest.
    unsafe {
        let (wait, write) = (operation.0.waitValue, operation.0.writeValue);
        match operation.kind() {
            Type::CU_STREAM_MEM_OP_WAIT_VALUE_32 => {
                let value = wait.anonymous0.value;
                regular::cuStreamWaitValue32_v2(default, stream, wait.address, value, wait.flags)
            }
            Type::CU_STREAM_MEM_OP_WAIT_VALUE_64 => {
                let value = wait.anonymous0.value64;
                regular::cuStreamWaitValue64_v2(default, stream, wait.address, value, wait.flags)
            }
            Type::CU_STREAM_MEM_OP_WRITE_VALUE_32 => {
                let value = write.anonymous0.value;
                regular::cuStreamWriteValue32_v2(default, stream, write.address, value, write.flags)
            }
            Type::CU_STREAM_MEM_OP_WRITE_VALUE_64 => {
                let value = write.anonymous0.value64;
                regular::cuStreamWriteValue64_v2(default, stream, write.address, value, write.flags)
            }
            // Operations of a stream are in order.
            _ => Ok(()),
        }
    }
}
