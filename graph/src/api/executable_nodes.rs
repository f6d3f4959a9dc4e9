// SPDX-License-Identifier: Apache-2.0
//! Changing single nodes of executable graphs.

use gvirtus_abi::{
    CUDA_HOST_NODE_PARAMS, CUDA_KERNEL_NODE_PARAMS, CUDA_KERNEL_NODE_PARAMS_v1, CUDA_MEMCPY3D,
    CUDA_MEMSET_NODE_PARAMS, CUcontext, CUgraph, CUgraphExec, CUgraphNode, CUgraphNodeParams,
    CUgraphNodeType as Type, CUresult,
};

use super::nodes::read_plain;
use super::{INVALID, Status, get, put};
use crate::parameters::{read_host, read_kernel, read_memcpy, read_memset};
use crate::payload::{Kernel, Payload};
use crate::plan::Action;
use crate::platform::platform;
use crate::world::with;

fn set(exec: CUgraphExec, node: CUgraphNode, payload: &Payload) -> Status {
    with(|world| world.set_step(exec, node, payload))
}

/// Attributes stay what they were.
fn set_kernel(exec: CUgraphExec, node: CUgraphNode, kernel: Kernel) -> Status {
    with(|world| {
        let Action::Kernel(old) = &world.step(exec, node)?.action else {
            return Err(INVALID);
        };
        let attributes = old.attributes.clone();
        let payload = Payload::Kernel(Kernel {
            attributes,
            ..kernel
        });
        world.set_step(exec, node, &payload)
    })
}

pub unsafe fn cuGraphExecKernelNodeSetParams(
    hGraphExec: CUgraphExec,
    hNode: CUgraphNode,
    nodeParams: *const CUDA_KERNEL_NODE_PARAMS_v1,
) -> Status {
    // SAFETY: the contract of cuda.h.
    let params = super::kernels::widen(&unsafe { get(nodeParams)? });
    // SAFETY: the same contract.
    unsafe { cuGraphExecKernelNodeSetParams_v2(hGraphExec, hNode, &raw const params) }
}

pub unsafe fn cuGraphExecKernelNodeSetParams_v2(
    hGraphExec: CUgraphExec,
    hNode: CUgraphNode,
    nodeParams: *const CUDA_KERNEL_NODE_PARAMS,
) -> Status {
    // SAFETY: the contract of cuda.h.
    let kernel = unsafe { read_kernel(&get(nodeParams)?)? };
    set_kernel(hGraphExec, hNode, kernel)
}

pub unsafe fn cuGraphExecMemcpyNodeSetParams(
    hGraphExec: CUgraphExec,
    hNode: CUgraphNode,
    copyParams: *const CUDA_MEMCPY3D,
    ctx: CUcontext,
) -> Status {
    // SAFETY: the contract of cuda.h.
    let copy = unsafe { get(copyParams)? };
    set(
        hGraphExec,
        hNode,
        &Payload::Memcpy(read_memcpy(&copy, ctx)?),
    )
}

pub unsafe fn cuGraphExecMemsetNodeSetParams(
    hGraphExec: CUgraphExec,
    hNode: CUgraphNode,
    memsetParams: *const CUDA_MEMSET_NODE_PARAMS,
    ctx: CUcontext,
) -> Status {
    // SAFETY: the contract of cuda.h.
    let params = super::copies::widen(&unsafe { get(memsetParams)? }, ctx);
    set(hGraphExec, hNode, &Payload::Memset(read_memset(&params)?))
}

pub unsafe fn cuGraphExecHostNodeSetParams(
    hGraphExec: CUgraphExec,
    hNode: CUgraphNode,
    nodeParams: *const CUDA_HOST_NODE_PARAMS,
) -> Status {
    // SAFETY: the contract of cuda.h.
    let params = unsafe { get(nodeParams)? };
    let host = read_host(params.r#fn, params.userData, 0)?;
    set(hGraphExec, hNode, &Payload::Host(host))
}

/// The shape of the graph must be that of the node's; the nodes inside keep their names.
pub unsafe fn cuGraphExecChildGraphNodeSetParams(
    hGraphExec: CUgraphExec,
    hNode: CUgraphNode,
    childGraph: CUgraph,
) -> Status {
    platform()?.ready()?;
    with(|world| {
        let (child, _) = world.graph(childGraph)?;
        world.set_child(hGraphExec, hNode, child)
    })
}

pub unsafe fn cuGraphExecNodeSetParams(
    hGraphExec: CUgraphExec,
    hNode: CUgraphNode,
    nodeParams: *mut CUgraphNodeParams,
) -> Status {
    // SAFETY: the contract of cuda.h.
    let params = unsafe { get(nodeParams.cast_const())? };
    if params.r#type == Type::CU_GRAPH_NODE_TYPE_GRAPH {
        // SAFETY: the type says which field it is.
        let graph = unsafe { params.anonymous0.graph.graph };
        // SAFETY: no pointers.
        return unsafe { cuGraphExecChildGraphNodeSetParams(hGraphExec, hNode, graph) };
    }
    // SAFETY: the contract of cuda.h.
    match unsafe { read_plain(&params)? } {
        Payload::Kernel(kernel) => set_kernel(hGraphExec, hNode, kernel),
        payload => set(hGraphExec, hNode, &payload),
    }
}

/// Only kernels, copies and memsets can be left out.
fn check_optional(action: &Action) -> Result<(), CUresult> {
    match action {
        Action::Kernel(_) | Action::Memcpy(_) | Action::Memset(_) => Ok(()),
        _ => Err(INVALID),
    }
}

pub unsafe fn cuGraphNodeSetEnabled(
    hGraphExec: CUgraphExec,
    hNode: CUgraphNode,
    isEnabled: u32,
) -> Status {
    with(|world| {
        let step = world.step(hGraphExec, hNode)?;
        check_optional(&step.action)?;
        step.is_enabled = isEnabled != 0;
        Ok(())
    })
}

pub unsafe fn cuGraphNodeGetEnabled(
    hGraphExec: CUgraphExec,
    hNode: CUgraphNode,
    isEnabled: *mut u32,
) -> Status {
    let is_enabled = with(|world| {
        let step = world.step(hGraphExec, hNode)?;
        check_optional(&step.action)?;
        Ok::<_, CUresult>(step.is_enabled)
    })?;
    // SAFETY: the contract of cuda.h.
    unsafe { put(isEnabled, is_enabled.into()) }
}
