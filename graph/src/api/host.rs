// SPDX-License-Identifier: Apache-2.0
//! Nodes that call a function of the host, contain a graph, or do nothing.

use gvirtus_abi::{CUDA_HOST_NODE_PARAMS, CUgraph, CUgraphNode, CUresult};

use super::{INVALID, Status, add, append, get, set_payload, tell};
use crate::parameters::read_host;
use crate::payload::Payload;
use crate::platform::platform;
use crate::world::{GraphId, with};

pub unsafe fn cuGraphAddHostNode(
    phGraphNode: *mut CUgraphNode,
    hGraph: CUgraph,
    dependencies: *const CUgraphNode,
    numDependencies: usize,
    nodeParams: *const CUDA_HOST_NODE_PARAMS,
) -> Status {
    // SAFETY: the contract of cuda.h.
    let params = unsafe { get(nodeParams)? };
    let payload = Payload::Host(read_host(params.r#fn, params.userData, 0)?);
    // SAFETY: the contract of cuda.h.
    unsafe { append(phGraphNode, hGraph, dependencies, numDependencies, payload) }
}

pub unsafe fn cuGraphHostNodeGetParams(
    hNode: CUgraphNode,
    nodeParams: *mut CUDA_HOST_NODE_PARAMS,
) -> Status {
    let read = |payload: &Payload| match payload {
        Payload::Host(host) => Some(CUDA_HOST_NODE_PARAMS {
            r#fn: host.function(),
            userData: host.data(),
        }),
        _ => None,
    };
    // SAFETY: the contract of cuda.h.
    unsafe { tell(hNode, nodeParams, read) }
}

pub unsafe fn cuGraphHostNodeSetParams(
    hNode: CUgraphNode,
    nodeParams: *const CUDA_HOST_NODE_PARAMS,
) -> Status {
    // SAFETY: the contract of cuda.h.
    let params = unsafe { get(nodeParams)? };
    let host = read_host(params.r#fn, params.userData, 0)?;
    set_payload(hNode, Payload::Host(host))
}

/// A copy of a graph as part of a node, or the graph itself.
pub(super) fn child(graph: CUgraph, moves: bool) -> Result<GraphId, CUresult> {
    with(|world| {
        let (id, found) = world.graph(graph)?;
        if found.is_capturing || (moves && found.owner.is_some()) {
            return Err(INVALID);
        }
        match moves {
            true => Ok(id),
            false => world.clone_graph(id),
        }
    })
}

/// Adds what [`child`] made; if that fails the copy goes.
///
/// # Safety
///
/// As [`add`].
pub(super) unsafe fn add_child(
    place: *mut CUgraphNode,
    graph: CUgraph,
    nodes: *const CUgraphNode,
    edges: *const gvirtus_abi::CUgraphEdgeData,
    count: usize,
    (inner, moves): (CUgraph, bool),
) -> Status {
    if place.is_null() || inner == graph {
        return Err(INVALID);
    }
    let child = child(inner, moves)?;
    // SAFETY: the caller's promise.
    let added = unsafe { add(place, graph, nodes, edges, count, Payload::Child(child)) };
    if added.is_err() && !moves {
        with(|world| world.remove_graph(child));
    }
    added?;
    // SAFETY: just written.
    let node = unsafe { get(place.cast_const())? };
    with(|world| {
        world.graph_mut(child)?.owner = Some(crate::world::NodeId(node.0));
        Ok(())
    })
}

pub unsafe fn cuGraphAddChildGraphNode(
    phGraphNode: *mut CUgraphNode,
    hGraph: CUgraph,
    dependencies: *const CUgraphNode,
    numDependencies: usize,
    childGraph: CUgraph,
) -> Status {
    platform()?.ready()?;
    let (edges, child) = (std::ptr::null(), (childGraph, false));
    // SAFETY: the contract of cuda.h.
    unsafe {
        add_child(
            phGraphNode,
            hGraph,
            dependencies,
            edges,
            numDependencies,
            child,
        )
    }
}

pub unsafe fn cuGraphChildGraphNodeGetGraph(hNode: CUgraphNode, phGraph: *mut CUgraph) -> Status {
    let read = |payload: &Payload| match payload {
        Payload::Child(graph) => Some(graph.handle()),
        _ => None,
    };
    // SAFETY: the contract of cuda.h.
    unsafe { tell(hNode, phGraph, read) }
}

pub unsafe fn cuGraphAddEmptyNode(
    phGraphNode: *mut CUgraphNode,
    hGraph: CUgraph,
    dependencies: *const CUgraphNode,
    numDependencies: usize,
) -> Status {
    platform()?.ready()?;
    let payload = Payload::Empty;
    // SAFETY: the contract of cuda.h.
    unsafe { append(phGraphNode, hGraph, dependencies, numDependencies, payload) }
}
