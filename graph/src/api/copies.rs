// SPDX-License-Identifier: Apache-2.0
//! Memcpy and memset nodes.

use gvirtus_abi::{
    CUDA_MEMCPY3D, CUDA_MEMSET_NODE_PARAMS, CUDA_MEMSET_NODE_PARAMS_v2, CUcontext, CUgraph,
    CUgraphNode,
};

use super::{INVALID, Status, add, get, payload_of, put, set_payload};
use crate::parameters::{read_memcpy, read_memset, write_memset};
use crate::payload::Payload;

pub(super) const fn widen(
    params: &CUDA_MEMSET_NODE_PARAMS,
    context: CUcontext,
) -> CUDA_MEMSET_NODE_PARAMS_v2 {
    CUDA_MEMSET_NODE_PARAMS_v2 {
        dst: params.dst,
        pitch: params.pitch,
        value: params.value,
        elementSize: params.elementSize,
        width: params.width,
        height: params.height,
        ctx: context,
    }
}

pub unsafe fn cuGraphAddMemcpyNode(
    phGraphNode: *mut CUgraphNode,
    hGraph: CUgraph,
    dependencies: *const CUgraphNode,
    numDependencies: usize,
    copyParams: *const CUDA_MEMCPY3D,
    ctx: CUcontext,
) -> Status {
    // SAFETY: the contract of cuda.h.
    let copy = unsafe { get(copyParams)? };
    let payload = Payload::Memcpy(read_memcpy(&copy, ctx)?);
    let edges = std::ptr::null();
    // SAFETY: the contract of cuda.h.
    unsafe {
        add(
            phGraphNode,
            hGraph,
            dependencies,
            edges,
            numDependencies,
            payload,
        )
    }
}

pub unsafe fn cuGraphMemcpyNodeGetParams(
    hNode: CUgraphNode,
    nodeParams: *mut CUDA_MEMCPY3D,
) -> Status {
    match payload_of(hNode)? {
        // SAFETY: the contract of cuda.h.
        Payload::Memcpy(memcpy) => unsafe { put(nodeParams, memcpy.copy) },
        _ => Err(INVALID),
    }
}

pub unsafe fn cuGraphMemcpyNodeSetParams(
    hNode: CUgraphNode,
    nodeParams: *const CUDA_MEMCPY3D,
) -> Status {
    let Payload::Memcpy(old) = payload_of(hNode)? else {
        return Err(INVALID);
    };
    // SAFETY: the contract of cuda.h.
    let copy = unsafe { get(nodeParams)? };
    set_payload(hNode, Payload::Memcpy(read_memcpy(&copy, old.context)?))
}

pub unsafe fn cuGraphAddMemsetNode(
    phGraphNode: *mut CUgraphNode,
    hGraph: CUgraph,
    dependencies: *const CUgraphNode,
    numDependencies: usize,
    memsetParams: *const CUDA_MEMSET_NODE_PARAMS,
    ctx: CUcontext,
) -> Status {
    // SAFETY: the contract of cuda.h.
    let params = widen(&unsafe { get(memsetParams)? }, ctx);
    let payload = Payload::Memset(read_memset(&params)?);
    let edges = std::ptr::null();
    // SAFETY: the contract of cuda.h.
    unsafe {
        add(
            phGraphNode,
            hGraph,
            dependencies,
            edges,
            numDependencies,
            payload,
        )
    }
}

pub unsafe fn cuGraphMemsetNodeGetParams(
    hNode: CUgraphNode,
    nodeParams: *mut CUDA_MEMSET_NODE_PARAMS,
) -> Status {
    let Payload::Memset(memset) = payload_of(hNode)? else {
        return Err(INVALID);
    };
    let params = write_memset(&memset);
    let params = CUDA_MEMSET_NODE_PARAMS {
        dst: params.dst,
        pitch: params.pitch,
        value: params.value,
        elementSize: params.elementSize,
        width: params.width,
        height: params.height,
    };
    // SAFETY: the contract of cuda.h.
    unsafe { put(nodeParams, params) }
}

pub unsafe fn cuGraphMemsetNodeSetParams(
    hNode: CUgraphNode,
    nodeParams: *const CUDA_MEMSET_NODE_PARAMS,
) -> Status {
    let Payload::Memset(old) = payload_of(hNode)? else {
        return Err(INVALID);
    };
    // SAFETY: the contract of cuda.h.
    let params = widen(&unsafe { get(nodeParams)? }, old.context);
    set_payload(hNode, Payload::Memset(read_memset(&params)?))
}
