// SPDX-License-Identifier: Apache-2.0
//! Conditions and conditional nodes.

use std::sync::Arc;

use gvirtus_abi::{
    CUDA_CONDITIONAL_NODE_PARAMS, CUcontext, CUgraph, CUgraphConditionalHandle,
    CUgraphConditionalNodeType as Kind, CUgraphEdgeData, CUgraphNode, CUresult,
};

use super::{INVALID, Status, add, put};
use crate::memory::GraphMemory;
use crate::payload::{AllocationRequest, Conditional, Payload};
use crate::platform::platform;
use crate::world::{Condition, NodeId, with};

/// `CU_GRAPH_COND_ASSIGN_DEFAULT`.
const ASSIGN_DEFAULT: u32 = 1;
/// Bytes of a condition's number in device memory.
const CELL_BYTES: usize = 4;
/// Bodies of a `SWITCH` node that make sense.
const BODIES_MAX: u32 = 1 << 16;

/// The handle is the address of the condition's number in device memory, which is what the
/// device function `cudaGraphSetConditional` writes to.
pub unsafe fn cuGraphConditionalHandleCreate(
    pHandle_out: *mut CUgraphConditionalHandle,
    hGraph: CUgraph,
    ctx: CUcontext,
    defaultLaunchValue: u32,
    flags: u32,
) -> Status {
    let platform = platform()?;
    if pHandle_out.is_null() || flags & !ASSIGN_DEFAULT != 0 {
        return Err(INVALID);
    }
    let context = platform.context(ctx)?;
    let device = platform.device_of(context)?;
    with(|world| world.graph(hGraph).map(drop))?;
    let request = AllocationRequest {
        context,
        device,
        bytes: CELL_BYTES,
    };
    let cell = Arc::new(GraphMemory::of_condition(request)?);
    let handle = cell.address().0;
    with(|world| {
        let (graph, _) = world.graph(hGraph)?;
        world.graph_mut(graph)?.conditions.push(handle);
        let condition = Condition {
            graph,
            default: (flags & ASSIGN_DEFAULT != 0).then_some(defaultLaunchValue),
            is_used: false,
            cell,
        };
        world.conditions.insert(handle, condition);
        Ok::<_, CUresult>(())
    })?;
    // SAFETY: the contract of cuda.h.
    unsafe { put(pHandle_out, handle) }
}

/// Adds a conditional node with its empty bodies. The list of them lives as long as the node.
///
/// # Safety
///
/// As [`add`].
pub(super) unsafe fn add_conditional(
    place: *mut CUgraphNode,
    graph: CUgraph,
    nodes: *const CUgraphNode,
    edges: *const CUgraphEdgeData,
    count: usize,
    params: &mut CUDA_CONDITIONAL_NODE_PARAMS,
) -> Status {
    let context = platform()?.context(params.ctx)?;
    let is_size = match params.r#type {
        Kind::CU_GRAPH_COND_TYPE_IF => (1..=2).contains(&params.size),
        Kind::CU_GRAPH_COND_TYPE_WHILE => params.size == 1,
        Kind::CU_GRAPH_COND_TYPE_SWITCH => (1..=BODIES_MAX).contains(&params.size),
        _ => false,
    };
    if place.is_null() || !is_size {
        return Err(INVALID);
    }
    let bodies = with(|world| {
        let (graph, _) = world.graph(graph)?;
        let owner = world.conditions.get(&params.handle).ok_or(INVALID)?.graph;
        let is_around = world.is_inside(graph, owner);
        let condition = world.conditions.get_mut(&params.handle).ok_or(INVALID)?;
        if condition.is_used || !is_around {
            return Err(INVALID);
        }
        condition.is_used = true;
        let bodies: Vec<_> = (0..params.size).map(|_| world.new_graph()).collect();
        for body in &bodies {
            world.graph_mut(*body)?.is_body = true;
        }
        Ok(bodies)
    })?;
    let payload = Payload::Conditional(Conditional {
        handle: params.handle,
        kind: params.r#type,
        bodies: bodies.clone(),
        context,
    });
    // SAFETY: the caller's promise.
    let added = unsafe { add(place, graph, nodes, edges, count, payload) };
    if added.is_err() {
        with(|world| {
            for body in &bodies {
                world.remove_graph(*body);
            }
            if let Some(condition) = world.conditions.get_mut(&params.handle) {
                condition.is_used = false;
            }
        });
    }
    added?;
    // SAFETY: just written.
    let node = NodeId(unsafe { place.read_unaligned() }.0);
    let handles: Box<[CUgraph]> = bodies.iter().map(|body| body.handle()).collect();
    with(|world| {
        for body in &bodies {
            if let Ok(body) = world.graph_mut(*body) {
                body.owner = Some(node);
            }
        }
        params.phGraph_out = world.keep_bodies(node, handles);
    });
    Ok(())
}
