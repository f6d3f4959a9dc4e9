// SPDX-License-Identifier: Apache-2.0
//! Questions about any node.

use gvirtus_abi::{CUgraphNode, CUgraphNodeParams, CUgraphNodeType};

use super::{Status, payload_of, put};
use crate::parameters::{write_batch, write_host, write_kernel, write_memset};
use crate::payload::Payload;

pub unsafe fn cuGraphNodeGetType(hNode: CUgraphNode, r#type: *mut CUgraphNodeType) -> Status {
    let kind = payload_of(hNode)?.kind();
    // SAFETY: the contract of cuda.h.
    unsafe { put(r#type, kind) }
}

pub unsafe fn cuGraphNodeGetParams(
    hNode: CUgraphNode,
    nodeParams: *mut CUgraphNodeParams,
) -> Status {
    let payload = payload_of(hNode)?;
    // SAFETY: numbers, null handles and null pointers.
    let mut params: CUgraphNodeParams = unsafe { core::mem::zeroed() };
    params.r#type = payload.kind();
    let place = &mut params.anonymous0;
    match &payload {
        Payload::Kernel(kernel) => {
            let known = write_kernel(kernel);
            place.kernel = gvirtus_abi::CUDA_KERNEL_NODE_PARAMS_v3 {
                func: known.func,
                gridDimX: known.gridDimX,
                gridDimY: known.gridDimY,
                gridDimZ: known.gridDimZ,
                blockDimX: known.blockDimX,
                blockDimY: known.blockDimY,
                blockDimZ: known.blockDimZ,
                sharedMemBytes: known.sharedMemBytes,
                kernelParams: known.kernelParams,
                extra: known.extra,
                kern: known.kern,
                ctx: known.ctx,
            };
        }
        Payload::Memcpy(memcpy) => {
            place.memcpy = gvirtus_abi::CUDA_MEMCPY_NODE_PARAMS {
                flags: 0,
                reserved: 0,
                copyCtx: memcpy.context,
                copyParams: memcpy.copy,
            };
        }
        Payload::Memset(memset) => place.memset = write_memset(memset),
        Payload::Host(host) => place.host = write_host(host),
        Payload::Child(graph) => place.graph.graph = graph.handle(),
        Payload::Empty => {}
        Payload::EventRecord(event) => place.eventRecord.event = *event,
        Payload::EventWait(event) => place.eventWait.event = *event,
        Payload::Allocate(memory) => {
            place.alloc.bytesize = memory.request().bytes;
            place.alloc.dptr = memory.address();
            if let Some(asked) = memory.parameters() {
                place.alloc.poolProps = asked.poolProps;
                place.alloc.accessDescs = asked.accessDescs;
                place.alloc.accessDescCount = asked.accessDescCount;
            }
        }
        Payload::Free(address) => place.free.dptr = *address,
        Payload::Batch(batch) => {
            let (operations, count) = write_batch(batch);
            place.memOp.ctx = batch.context;
            place.memOp.paramArray = operations;
            place.memOp.count = count;
        }
        Payload::Conditional(conditional) => {
            place.conditional.handle = conditional.handle;
            place.conditional.r#type = conditional.kind;
            place.conditional.size = conditional.bodies.len() as u32;
            place.conditional.ctx = conditional.context;
        }
    }
    // SAFETY: the contract of cuda.h.
    unsafe { put(nodeParams, params) }
}
