// SPDX-License-Identifier: Apache-2.0
//! Nodes and edges of a graph: asked for, added, removed.

use gvirtus_abi::{CUgraph, CUgraphEdgeData, CUgraphNode, CUresult};

use super::{INVALID, Status, edge_list, get, give, list};
use crate::edges::Edge;
use crate::platform::platform;
use crate::world::{NodeId, with};

pub unsafe fn cuGraphGetNodes(
    hGraph: CUgraph,
    nodes: *mut CUgraphNode,
    numNodes: *mut usize,
) -> Status {
    let found = with(|world| world.graph(hGraph).map(|(_, graph)| graph.nodes.clone()))?;
    let found: Vec<_> = found.into_iter().map(NodeId::handle).collect();
    // SAFETY: the contract of cuda.h.
    unsafe { give(&found, CUgraphNode::NULL, nodes, numNodes) }
}

pub unsafe fn cuGraphGetRootNodes(
    hGraph: CUgraph,
    rootNodes: *mut CUgraphNode,
    numRootNodes: *mut usize,
) -> Status {
    let found = with(|world| {
        let (_, graph) = world.graph(hGraph)?;
        let nodes = graph.nodes.iter();
        let roots = nodes.filter(|node| world.nodes[node].dependencies.is_empty());
        Ok::<_, CUresult>(roots.map(|node| node.handle()).collect::<Vec<_>>())
    })?;
    // SAFETY: the contract of cuda.h.
    unsafe { give(&found, CUgraphNode::NULL, rootNodes, numRootNodes) }
}

/// Edges by their ends; whether their data is asked for too.
///
/// # Safety
///
/// As [`give`] for each array, of which any may be null.
unsafe fn give_edges(
    found: &[(CUgraphNode, CUgraphNode, Edge)],
    from: *mut CUgraphNode,
    to: *mut CUgraphNode,
    data: *mut CUgraphEdgeData,
    is_lossless: bool,
    count: *mut usize,
) -> Status {
    if count.is_null() {
        return Err(INVALID);
    }
    let wants_nodes = !from.is_null() || !to.is_null();
    let is_special = found.iter().any(|(_, _, edge)| !edge.is_default());
    if wants_nodes && is_special && (!is_lossless || data.is_null()) {
        return Err(CUresult::CUDA_ERROR_LOSSY_QUERY);
    }
    let null = CUgraphNode::NULL;
    // SAFETY: not null, and then valid by the caller's promise.
    let room = unsafe { get(count.cast_const())? };
    let places = [(from, 0), (to, 1)];
    for (place, end) in places {
        if !place.is_null() {
            let ends = found.iter().map(|(from, to, _)| [*from, *to][end]);
            let mut room = room;
            // SAFETY: the caller's promise.
            unsafe { give(&ends.collect::<Vec<_>>(), null, place, &raw mut room)? };
        }
    }
    if !data.is_null() {
        let edges = found.iter().map(|(_, _, edge)| edge.data());
        let mut room = room;
        let rest = Edge::default().data();
        // SAFETY: the caller's promise.
        unsafe { give(&edges.collect::<Vec<_>>(), rest, data, &raw mut room)? };
    }
    let written = match wants_nodes || !data.is_null() {
        true => found.len().min(room),
        false => found.len(),
    };
    // SAFETY: the caller's promise.
    unsafe { super::put(count, written) }
}

fn edges_of(graph: CUgraph) -> Result<Vec<(CUgraphNode, CUgraphNode, Edge)>, CUresult> {
    with(|world| {
        let (id, _) = world.graph(graph)?;
        let edges = world.edges(id).into_iter();
        let edges = edges.map(|(from, to, edge)| (from.handle(), to.handle(), edge));
        Ok(edges.collect())
    })
}

pub unsafe fn cuGraphGetEdges(
    hGraph: CUgraph,
    from: *mut CUgraphNode,
    to: *mut CUgraphNode,
    numEdges: *mut usize,
) -> Status {
    let found = edges_of(hGraph)?;
    let data = std::ptr::null_mut();
    // SAFETY: the contract of cuda.h.
    unsafe { give_edges(&found, from, to, data, false, numEdges) }
}

pub unsafe fn cuGraphGetEdges_v2(
    hGraph: CUgraph,
    from: *mut CUgraphNode,
    to: *mut CUgraphNode,
    edgeData: *mut CUgraphEdgeData,
    numEdges: *mut usize,
) -> Status {
    let found = edges_of(hGraph)?;
    // SAFETY: the contract of cuda.h.
    unsafe { give_edges(&found, from, to, edgeData, true, numEdges) }
}

/// The other ends of a node's edges, as first of each triple.
fn neighbours(
    node: CUgraphNode,
    is_before: bool,
) -> Result<Vec<(CUgraphNode, CUgraphNode, Edge)>, CUresult> {
    with(|world| {
        let (id, found) = world.node(node)?;
        let ends = match is_before {
            true => found.dependencies.clone(),
            false => world.dependents(id),
        };
        let ends = ends.into_iter();
        Ok(ends.map(|(end, edge)| (end.handle(), node, edge)).collect())
    })
}

pub unsafe fn cuGraphNodeGetDependencies(
    hNode: CUgraphNode,
    dependencies: *mut CUgraphNode,
    numDependencies: *mut usize,
) -> Status {
    let (found, null) = (neighbours(hNode, true)?, std::ptr::null_mut());
    let data = std::ptr::null_mut();
    // SAFETY: the contract of cuda.h.
    unsafe { give_edges(&found, dependencies, null, data, false, numDependencies) }
}

pub unsafe fn cuGraphNodeGetDependencies_v2(
    hNode: CUgraphNode,
    dependencies: *mut CUgraphNode,
    edgeData: *mut CUgraphEdgeData,
    numDependencies: *mut usize,
) -> Status {
    let (found, null) = (neighbours(hNode, true)?, std::ptr::null_mut());
    // SAFETY: the contract of cuda.h.
    unsafe { give_edges(&found, dependencies, null, edgeData, true, numDependencies) }
}

pub unsafe fn cuGraphNodeGetDependentNodes(
    hNode: CUgraphNode,
    dependentNodes: *mut CUgraphNode,
    numDependentNodes: *mut usize,
) -> Status {
    let (found, null) = (neighbours(hNode, false)?, std::ptr::null_mut());
    let data = std::ptr::null_mut();
    // SAFETY: the contract of cuda.h.
    unsafe { give_edges(&found, dependentNodes, null, data, false, numDependentNodes) }
}

pub unsafe fn cuGraphNodeGetDependentNodes_v2(
    hNode: CUgraphNode,
    dependentNodes: *mut CUgraphNode,
    edgeData: *mut CUgraphEdgeData,
    numDependentNodes: *mut usize,
) -> Status {
    let (found, null) = (neighbours(hNode, false)?, std::ptr::null_mut());
    // SAFETY: the contract of cuda.h.
    unsafe {
        give_edges(
            &found,
            dependentNodes,
            null,
            edgeData,
            true,
            numDependentNodes,
        )
    }
}

/// # Safety
///
/// The arrays are null or valid for `count`.
unsafe fn triples(
    from: *const CUgraphNode,
    to: *const CUgraphNode,
    data: *const CUgraphEdgeData,
    count: usize,
) -> Result<Vec<(CUgraphNode, CUgraphNode, Edge)>, CUresult> {
    // SAFETY: the caller's promise.
    let (from, to) = unsafe { (list(from, count)?, list(to, count)?) };
    // SAFETY: the caller's promise.
    let edges = unsafe { edge_list(data, count)? };
    let ends = from.iter().zip(to).zip(edges);
    Ok(ends.map(|((from, to), edge)| (*from, *to, edge)).collect())
}

pub unsafe fn cuGraphAddDependencies(
    hGraph: CUgraph,
    from: *const CUgraphNode,
    to: *const CUgraphNode,
    numDependencies: usize,
) -> Status {
    let data = std::ptr::null();
    // SAFETY: the contract of cuda.h.
    unsafe { cuGraphAddDependencies_v2(hGraph, from, to, data, numDependencies) }
}

pub unsafe fn cuGraphAddDependencies_v2(
    hGraph: CUgraph,
    from: *const CUgraphNode,
    to: *const CUgraphNode,
    edgeData: *const CUgraphEdgeData,
    numDependencies: usize,
) -> Status {
    platform()?.ready()?;
    // SAFETY: the contract of cuda.h.
    let edges = unsafe { triples(from, to, edgeData, numDependencies)? };
    with(|world| {
        let (id, _) = world.graph(hGraph)?;
        world.add_edges(id, &edges)
    })
}

pub unsafe fn cuGraphRemoveDependencies(
    hGraph: CUgraph,
    from: *const CUgraphNode,
    to: *const CUgraphNode,
    numDependencies: usize,
) -> Status {
    let data = std::ptr::null();
    // SAFETY: the contract of cuda.h.
    unsafe { cuGraphRemoveDependencies_v2(hGraph, from, to, data, numDependencies) }
}

pub unsafe fn cuGraphRemoveDependencies_v2(
    hGraph: CUgraph,
    from: *const CUgraphNode,
    to: *const CUgraphNode,
    edgeData: *const CUgraphEdgeData,
    numDependencies: usize,
) -> Status {
    platform()?.ready()?;
    // SAFETY: the contract of cuda.h.
    let edges = unsafe { triples(from, to, edgeData, numDependencies)? };
    with(|world| {
        let (id, _) = world.graph(hGraph)?;
        world.remove_edges(id, &edges)
    })
}
