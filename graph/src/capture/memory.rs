// SPDX-License-Identifier: Apache-2.0
//! Stream-ordered memory in captures: allocation and free nodes.

use std::sync::Arc;

use gvirtus_abi::{CUdeviceptr, CUresult};

use super::calls::{is_captured, record, record_in};
use crate::memory::GraphMemory;
use crate::payload::{AllocationRequest, Payload};
use crate::platform::Stream;

/// Makes an allocation node of a stream-ordered allocation, if its stream is captured. The memory
/// is the graph's, whichever pool was named.
///
/// # Errors
///
/// As [`record`], and what the driver says of the allocation.
#[cold]
pub fn record_allocation(
    stream: &Stream,
    request: AllocationRequest,
) -> Result<Option<CUdeviceptr>, CUresult> {
    if !is_captured(stream)? {
        return Ok(None);
    }
    if request.bytes == 0 {
        return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
    }
    // The driver is asked under no lock.
    let memory = Arc::new(GraphMemory::of_stream(request)?);
    let address = memory.address();
    let is_node = record(stream, || Ok(Payload::Allocate(memory)))?;
    Ok(is_node.then_some(address))
}

/// Makes a free node of a stream-ordered free, if its stream is captured.
///
/// # Errors
///
/// As [`record`]; `CUDA_ERROR_INVALID_VALUE` for what no allocation node allocates or the graph
/// frees already.
#[cold]
pub fn record_free(stream: &Stream, address: CUdeviceptr) -> Result<bool, CUresult> {
    record_in(stream, |world, graph| {
        world.check_free(graph, address)?;
        Ok(Payload::Free(address))
    })
}
