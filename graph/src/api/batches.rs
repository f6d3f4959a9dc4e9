// SPDX-License-Identifier: Apache-2.0
//! Nodes of stream memory operations.

use gvirtus_abi::{CUDA_BATCH_MEM_OP_NODE_PARAMS, CUgraph, CUgraphExec, CUgraphNode};

use super::{INVALID, Status, append, get, payload_of, put, set_payload};
use crate::parameters::{read_batch, write_batch};
use crate::payload::Payload;
use crate::world::with;

/// # Safety
///
/// The contract of `cuGraphAddBatchMemOpNode`.
unsafe fn read(
    params: *const CUDA_BATCH_MEM_OP_NODE_PARAMS,
) -> Result<Payload, gvirtus_abi::CUresult> {
    // SAFETY: the caller's promise.
    let params = unsafe { get(params)? };
    let (operations, context) = (params.paramArray.cast_const(), params.ctx);
    // SAFETY: the caller's promise.
    let batch = unsafe { read_batch(operations, params.count, params.flags, context)? };
    Ok(Payload::Batch(batch))
}

pub unsafe fn cuGraphAddBatchMemOpNode(
    phGraphNode: *mut CUgraphNode,
    hGraph: CUgraph,
    dependencies: *const CUgraphNode,
    numDependencies: usize,
    nodeParams: *const CUDA_BATCH_MEM_OP_NODE_PARAMS,
) -> Status {
    // SAFETY: the contract of cuda.h.
    let payload = unsafe { read(nodeParams)? };
    // SAFETY: the contract of cuda.h.
    unsafe { append(phGraphNode, hGraph, dependencies, numDependencies, payload) }
}

/// The operations stay valid until the node is destroyed or its parameters change.
pub unsafe fn cuGraphBatchMemOpNodeGetParams(
    hNode: CUgraphNode,
    nodeParams_out: *mut CUDA_BATCH_MEM_OP_NODE_PARAMS,
) -> Status {
    let Payload::Batch(batch) = payload_of(hNode)? else {
        return Err(INVALID);
    };
    let (operations, count) = write_batch(&batch);
    let params = CUDA_BATCH_MEM_OP_NODE_PARAMS {
        ctx: batch.context,
        count,
        paramArray: operations,
        flags: 0,
    };
    // SAFETY: the contract of cuda.h.
    unsafe { put(nodeParams_out, params) }
}

pub unsafe fn cuGraphBatchMemOpNodeSetParams(
    hNode: CUgraphNode,
    nodeParams: *const CUDA_BATCH_MEM_OP_NODE_PARAMS,
) -> Status {
    // SAFETY: the contract of cuda.h.
    set_payload(hNode, unsafe { read(nodeParams)? })
}

pub unsafe fn cuGraphExecBatchMemOpNodeSetParams(
    hGraphExec: CUgraphExec,
    hNode: CUgraphNode,
    nodeParams: *const CUDA_BATCH_MEM_OP_NODE_PARAMS,
) -> Status {
    // SAFETY: the contract of cuda.h.
    let payload = unsafe { read(nodeParams)? };
    with(|world| world.set_step(hGraphExec, hNode, &payload))
}
