// SPDX-License-Identifier: Apache-2.0
//! Memcpy and memset nodes.

use gvirtus_abi::{
    CUDA_MEMCPY3D, CUDA_MEMSET_NODE_PARAMS, CUDA_MEMSET_NODE_PARAMS_v2, CUcontext, CUgraph,
    CUgraphNode,
};

use super::{INVALID, Status, append, get, payload_of, set_payload, tell};
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

const fn narrow(params: &CUDA_MEMSET_NODE_PARAMS_v2) -> CUDA_MEMSET_NODE_PARAMS {
    CUDA_MEMSET_NODE_PARAMS {
        dst: params.dst,
        pitch: params.pitch,
        value: params.value,
        elementSize: params.elementSize,
        width: params.width,
        height: params.height,
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
    unsafe {
        let payload = Payload::Memcpy(read_memcpy(&get(copyParams)?, ctx)?);
        append(phGraphNode, hGraph, dependencies, numDependencies, payload)
    }
}

pub unsafe fn cuGraphMemcpyNodeGetParams(
    hNode: CUgraphNode,
    nodeParams: *mut CUDA_MEMCPY3D,
) -> Status {
    let read = |payload: &Payload| match payload {
        Payload::Memcpy(memcpy) => Some(memcpy.copy),
        _ => None,
    };
    // SAFETY: the contract of cuda.h.
    unsafe { tell(hNode, nodeParams, read) }
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
    unsafe {
        let params = widen(&get(memsetParams)?, ctx);
        let payload = Payload::Memset(read_memset(&params)?);
        append(phGraphNode, hGraph, dependencies, numDependencies, payload)
    }
}

pub unsafe fn cuGraphMemsetNodeGetParams(
    hNode: CUgraphNode,
    nodeParams: *mut CUDA_MEMSET_NODE_PARAMS,
) -> Status {
    let read = |payload: &Payload| match payload {
        Payload::Memset(memset) => Some(narrow(&write_memset(memset))),
        _ => None,
    };
    // SAFETY: the contract of cuda.h.
    unsafe { tell(hNode, nodeParams, read) }
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
