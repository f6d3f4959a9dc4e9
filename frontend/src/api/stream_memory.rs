// SPDX-License-Identifier: Apache-2.0
//! Batches of stream memory operations, which travel one by one: a stream keeps their order.

use gvirtus_abi::{CUresult, CUstream, CUstreamBatchMemOpParams, CUstreamBatchMemOpType as Type};

use super::{
    INVALID_VALUE, Status, cuStreamWaitValue32_v2, cuStreamWaitValue64_v2, cuStreamWriteValue32_v2,
    cuStreamWriteValue64_v2, required,
};
use crate::limits::MEMORY_OPERATIONS_MAX;
use crate::process::session;

/// `cuStreamBatchMemOp`.
pub unsafe fn cuStreamBatchMemOp(
    default_stream: CUstream,
    stream: CUstream,
    count: u32,
    paramArray: *mut CUstreamBatchMemOpParams,
    flags: u32,
) -> Status {
    let session = session()?;
    session.stream(default_stream, stream)?;
    if flags != 0 || count > MEMORY_OPERATIONS_MAX {
        return Err(INVALID_VALUE);
    }
    if count == 0 {
        return Ok(());
    }
    let operations = required(paramArray)?;
    // SAFETY: not null, and then as many operations as told by the caller's promise.
    let operations = unsafe { std::slice::from_raw_parts(operations, count as usize) };
    // What cannot be done is told before anything is.
    operations.iter().try_for_each(check)?;
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

fn check(operation: &CUstreamBatchMemOpParams) -> Status {
    // SAFETY: every variant begins with the operation.
    match unsafe { operation.operation } {
        Type::CU_STREAM_MEM_OP_WAIT_VALUE_32
        | Type::CU_STREAM_MEM_OP_WAIT_VALUE_64
        | Type::CU_STREAM_MEM_OP_WRITE_VALUE_32
        | Type::CU_STREAM_MEM_OP_WRITE_VALUE_64
        | Type::CU_STREAM_MEM_OP_BARRIER => Ok(()),
        Type::CU_STREAM_MEM_OP_FLUSH_REMOTE_WRITES | Type::CU_STREAM_MEM_OP_ATOMIC_REDUCTION => {
            Err(CUresult::CUDA_ERROR_NOT_SUPPORTED)
        }
        _ => Err(INVALID_VALUE),
    }
}

/// # Safety
///
/// As `cuStreamWriteValue32` and its kin.
unsafe fn send(
    default: CUstream,
    stream: CUstream,
    operation: &CUstreamBatchMemOpParams,
) -> Status {
    // SAFETY: every variant begins with the operation, which says which field it is; all fields
    // are plain numbers. The caller promises the rest.
    unsafe {
        let (wait, write) = (operation.waitValue, operation.writeValue);
        match operation.operation {
            Type::CU_STREAM_MEM_OP_WAIT_VALUE_32 => {
                let value = wait.anonymous0.value;
                cuStreamWaitValue32_v2(default, stream, wait.address, value, wait.flags)
            }
            Type::CU_STREAM_MEM_OP_WAIT_VALUE_64 => {
                let value = wait.anonymous0.value64;
                cuStreamWaitValue64_v2(default, stream, wait.address, value, wait.flags)
            }
            Type::CU_STREAM_MEM_OP_WRITE_VALUE_32 => {
                let value = write.anonymous0.value;
                cuStreamWriteValue32_v2(default, stream, write.address, value, write.flags)
            }
            Type::CU_STREAM_MEM_OP_WRITE_VALUE_64 => {
                let value = write.anonymous0.value64;
                cuStreamWriteValue64_v2(default, stream, write.address, value, write.flags)
            }
            // Operations of a stream are in order.
            _ => Ok(()),
        }
    }
}
