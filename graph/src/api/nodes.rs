// SPDX-License-Identifier: Apache-2.0
//! Nodes of any kind by one structure (`CUgraphNodeParams`).

use gvirtus_abi::{
    CUDA_KERNEL_NODE_PARAMS, CUDA_KERNEL_NODE_PARAMS_v3, CUDA_MEM_ALLOC_NODE_PARAMS, CUgraph,
    CUgraphChildGraphNodeOwnership as Ownership, CUgraphEdgeData, CUgraphNode, CUgraphNodeParams,
    CUgraphNodeType as Type, CUresult,
};

use super::conditions::add_conditional;
use super::host::{add_child, child};
use super::kernels::set_kernel;
use super::memory::{allocate, check_free};
use super::{INVALID, Status, add, get, put, set_payload};
use crate::parameters::{read_batch, read_host, read_kernel, read_memcpy, read_memset};
use crate::payload::Payload;
use crate::platform::platform;
use crate::world::with;

const fn kernel_params(params: &CUDA_KERNEL_NODE_PARAMS_v3) -> CUDA_KERNEL_NODE_PARAMS {
    CUDA_KERNEL_NODE_PARAMS {
        func: params.func,
        gridDimX: params.gridDimX,
        gridDimY: params.gridDimY,
        gridDimZ: params.gridDimZ,
        blockDimX: params.blockDimX,
        blockDimY: params.blockDimY,
        blockDimZ: params.blockDimZ,
        sharedMemBytes: params.sharedMemBytes,
        kernelParams: params.kernelParams,
        extra: params.extra,
        kern: params.kern,
        ctx: params.ctx,
    }
}

const fn allocation(
    params: &gvirtus_abi::CUDA_MEM_ALLOC_NODE_PARAMS_v2,
) -> CUDA_MEM_ALLOC_NODE_PARAMS {
    CUDA_MEM_ALLOC_NODE_PARAMS {
        poolProps: params.poolProps,
        accessDescs: params.accessDescs,
        accessDescCount: params.accessDescCount,
        bytesize: params.bytesize,
        dptr: params.dptr,
    }
}

/// What a node of the kinds that own nothing does.
///
/// # Safety
///
/// What the structure points to is as cuda.h asks.
pub(super) unsafe fn read_plain(params: &CUgraphNodeParams) -> Result<Payload, CUresult> {
    let inner = &params.anonymous0;
    // SAFETY: the type says which field it is; all are plain data.
    unsafe {
        Ok(match params.r#type {
            Type::CU_GRAPH_NODE_TYPE_KERNEL => {
                Payload::Kernel(read_kernel(&kernel_params(&inner.kernel))?)
            }
            Type::CU_GRAPH_NODE_TYPE_MEMCPY => {
                let memcpy = &inner.memcpy;
                if memcpy.flags != 0 {
                    return Err(INVALID);
                }
                Payload::Memcpy(read_memcpy(&memcpy.copyParams, memcpy.copyCtx)?)
            }
            Type::CU_GRAPH_NODE_TYPE_MEMSET => Payload::Memset(read_memset(&inner.memset)?),
            Type::CU_GRAPH_NODE_TYPE_HOST => {
                let host = &inner.host;
                Payload::Host(read_host(host.r#fn, host.userData, host.syncMode)?)
            }
            Type::CU_GRAPH_NODE_TYPE_BATCH_MEM_OP => {
                let batch = &inner.memOp;
                let (operations, context) = (batch.paramArray, batch.ctx);
                Payload::Batch(read_batch(operations, batch.count, batch.flags, context)?)
            }
            Type::CU_GRAPH_NODE_TYPE_EMPTY => Payload::Empty,
            Type::CU_GRAPH_NODE_TYPE_WAIT_EVENT => {
                platform()?.check_event(inner.eventWait.event)?;
                Payload::EventWait(inner.eventWait.event)
            }
            Type::CU_GRAPH_NODE_TYPE_EVENT_RECORD => {
                platform()?.check_event(inner.eventRecord.event)?;
                Payload::EventRecord(inner.eventRecord.event)
            }
            Type::CU_GRAPH_NODE_TYPE_EXT_SEMAS_SIGNAL
            | Type::CU_GRAPH_NODE_TYPE_EXT_SEMAS_WAIT
            | Type::CU_GRAPH_NODE_TYPE_MEMCPY_BATCH
            | Type::CU_GRAPH_NODE_TYPE_EXTERNAL_ENGINE
            | Type::CU_GRAPH_NODE_TYPE_FABRIC_CPY_BATCH => {
                return Err(gvirtus_driver_face::unsupported(
                    "a graph node of a kind without streams' counterpart",
                ));
            }
            _ => return Err(INVALID),
        })
    }
}

pub unsafe fn cuGraphAddNode(
    phGraphNode: *mut CUgraphNode,
    hGraph: CUgraph,
    dependencies: *const CUgraphNode,
    numDependencies: usize,
    nodeParams: *mut CUgraphNodeParams,
) -> Status {
    let edges = std::ptr::null();
    // SAFETY: the contract of cuda.h.
    unsafe {
        cuGraphAddNode_v2(
            phGraphNode,
            hGraph,
            dependencies,
            edges,
            numDependencies,
            nodeParams,
        )
    }
}

pub unsafe fn cuGraphAddNode_v3(
    phGraphNode: *mut CUgraphNode,
    hGraph: CUgraph,
    dependencies: *const CUgraphNode,
    dependencyData: *const CUgraphEdgeData,
    numDependencies: usize,
    nodeParams: *mut CUgraphNodeParams,
) -> Status {
    // SAFETY: the contract of cuda.h.
    unsafe {
        cuGraphAddNode_v2(
            phGraphNode,
            hGraph,
            dependencies,
            dependencyData,
            numDependencies,
            nodeParams,
        )
    }
}

pub unsafe fn cuGraphAddNode_v2(
    phGraphNode: *mut CUgraphNode,
    hGraph: CUgraph,
    dependencies: *const CUgraphNode,
    dependencyData: *const CUgraphEdgeData,
    numDependencies: usize,
    nodeParams: *mut CUgraphNodeParams,
) -> Status {
    platform()?.ready()?;
    // SAFETY: the contract of cuda.h.
    let mut params = unsafe { get(nodeParams.cast_const())? };
    let (place, nodes, edges) = (phGraphNode, dependencies, dependencyData);
    let count = numDependencies;
    // SAFETY: the contract of cuda.h; the type says which field it is.
    unsafe {
        match params.r#type {
            Type::CU_GRAPH_NODE_TYPE_GRAPH => {
                let child = params.anonymous0.graph;
                let moves = child.ownership == Ownership::CU_GRAPH_CHILD_GRAPH_OWNERSHIP_MOVE;
                add_child(place, hGraph, nodes, edges, count, (child.graph, moves))
            }
            Type::CU_GRAPH_NODE_TYPE_MEM_ALLOC => {
                let memory = allocate(&allocation(&params.anonymous0.alloc))?;
                params.anonymous0.alloc.dptr = memory.address();
                let payload = Payload::Allocate(memory);
                add(place, hGraph, nodes, edges, count, payload)?;
                put(nodeParams, params)
            }
            Type::CU_GRAPH_NODE_TYPE_MEM_FREE => {
                let address = params.anonymous0.free.dptr;
                check_free(hGraph, address)?;
                add(place, hGraph, nodes, edges, count, Payload::Free(address))
            }
            Type::CU_GRAPH_NODE_TYPE_CONDITIONAL => {
                let conditional = &mut params.anonymous0.conditional;
                add_conditional(place, hGraph, nodes, edges, count, conditional)?;
                put(nodeParams, params)
            }
            _ => add(place, hGraph, nodes, edges, count, read_plain(&params)?),
        }
    }
}

pub unsafe fn cuGraphNodeSetParams(
    hNode: CUgraphNode,
    nodeParams: *mut CUgraphNodeParams,
) -> Status {
    // SAFETY: the contract of cuda.h.
    let params = unsafe { get(nodeParams.cast_const())? };
    if params.r#type == Type::CU_GRAPH_NODE_TYPE_GRAPH {
        // SAFETY: the type says which field it is.
        let inner = unsafe { params.anonymous0.graph };
        let copy = child(inner.graph, false)?;
        let replaced = with(|world| {
            let (id, node) = world.node(hNode)?;
            let Payload::Child(old) = node.payload else {
                return Err(INVALID);
            };
            world.graph_mut(copy)?.owner = Some(id);
            world.node_mut(hNode)?.payload = Payload::Child(copy);
            world.remove_graph(old);
            Ok(())
        });
        if replaced.is_err() {
            with(|world| world.remove_graph(copy));
        }
        return replaced;
    }
    // SAFETY: the contract of cuda.h.
    match unsafe { read_plain(&params)? } {
        Payload::Kernel(kernel) => set_kernel(hNode, kernel),
        payload => set_payload(hNode, payload),
    }
}

pub unsafe fn cuGraphNodeSetParams_v2(
    hNode: CUgraphNode,
    nodeParams: *mut CUgraphNodeParams,
) -> Status {
    // SAFETY: the contract of cuda.h.
    unsafe { cuGraphNodeSetParams(hNode, nodeParams) }
}
