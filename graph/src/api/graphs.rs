// SPDX-License-Identifier: Apache-2.0
//! Whole graphs and what they keep.

use core::ffi::{CStr, c_char, c_void};

use gvirtus_abi::{
    CUgraph, CUgraphExec, CUgraphNode, CUhostFn, CUresult, CUuserObject, CUuserObject_flags,
    CUuserObjectRetain_flags,
};

use super::{INVALID, Status, put};
use crate::objects::{Destructor, UserObject};
use crate::platform::platform;
use crate::world::{Kind, NodeId, with};

pub unsafe fn cuGraphCreate(phGraph: *mut CUgraph, flags: u32) -> Status {
    platform()?.ready()?;
    if phGraph.is_null() || flags != 0 {
        return Err(INVALID);
    }
    let graph = with(|world| world.new_graph());
    // SAFETY: the contract of cuda.h.
    unsafe { put(phGraph, graph.handle()) }
}

/// Graphs that belong to a node or are being captured end with it.
pub unsafe fn cuGraphDestroy(hGraph: CUgraph) -> Status {
    platform()?.ready()?;
    with(|world| {
        let (id, graph) = world.graph(hGraph)?;
        if graph.owner.is_some() || graph.is_capturing {
            return Err(INVALID);
        }
        world.remove_graph(id);
        Ok(())
    })
}

pub unsafe fn cuGraphClone(phGraphClone: *mut CUgraph, originalGraph: CUgraph) -> Status {
    platform()?.ready()?;
    if phGraphClone.is_null() {
        return Err(INVALID);
    }
    let clone = with(|world| {
        let (id, graph) = world.graph(originalGraph)?;
        if graph.is_capturing {
            return Err(INVALID);
        }
        world.clone_graph(id)
    })?;
    // SAFETY: the contract of cuda.h.
    unsafe { put(phGraphClone, clone.handle()) }
}

pub unsafe fn cuGraphNodeFindInClone(
    phNode: *mut CUgraphNode,
    hOriginalNode: CUgraphNode,
    hClonedGraph: CUgraph,
) -> Status {
    let node = with(|world| {
        let (original, _) = world.node(hOriginalNode)?;
        let (_, clone) = world.graph(hClonedGraph)?;
        let mut nodes = clone.nodes.iter();
        let node = nodes.find(|node| world.nodes[node].original == Some(original));
        node.copied().ok_or(INVALID)
    })?;
    // SAFETY: the contract of cuda.h.
    unsafe { put(phNode, node.handle()) }
}

pub unsafe fn cuGraphGetId(hGraph: CUgraph, graphId: *mut u32) -> Status {
    let number = with(|world| world.graph(hGraph).map(|(_, graph)| graph.number))?;
    // SAFETY: the contract of cuda.h.
    unsafe { put(graphId, number) }
}

pub unsafe fn cuGraphExecGetId(hGraphExec: CUgraphExec, graphId: *mut u32) -> Status {
    let number = with(|world| world.exec(hGraphExec).map(|exec| exec.number))?;
    // SAFETY: the contract of cuda.h.
    unsafe { put(graphId, number) }
}

pub unsafe fn cuGraphNodeGetContainingGraph(hNode: CUgraphNode, phGraph: *mut CUgraph) -> Status {
    let graph = with(|world| world.node(hNode).map(|(_, node)| node.graph))?;
    // SAFETY: the contract of cuda.h.
    unsafe { put(phGraph, graph.handle()) }
}

pub unsafe fn cuGraphNodeGetLocalId(hNode: CUgraphNode, nodeId: *mut u32) -> Status {
    let number = with(|world| world.node(hNode).map(|(_, node)| node.number))?;
    // SAFETY: the contract of cuda.h.
    unsafe { put(nodeId, number) }
}

pub unsafe fn cuGraphDestroyNode(hNode: CUgraphNode) -> Status {
    platform()?.ready()?;
    with(|world| {
        let (id, _) = world.node(hNode)?;
        world.remove_node(id);
        Ok(())
    })
}

pub unsafe fn cuGraphDebugDotPrint(hGraph: CUgraph, path: *const c_char, flags: u32) -> Status {
    if path.is_null() {
        return Err(INVALID);
    }
    let text = with(|world| {
        let (id, _) = world.graph(hGraph)?;
        Ok::<_, CUresult>(world.dot(id, flags))
    })?;
    // SAFETY: the contract of cuda.h: a C string.
    let path = unsafe { CStr::from_ptr(path) };
    let path = path.to_str().map_err(|_| INVALID)?;
    std::fs::write(path, text).map_err(|_| CUresult::CUDA_ERROR_OPERATING_SYSTEM)
}

pub unsafe fn cuUserObjectCreate(
    object_out: *mut CUuserObject,
    ptr: *mut c_void,
    destroy: CUhostFn,
    initialRefcount: u32,
    flags: u32,
) -> Status {
    platform()?.ready()?;
    let destroy = destroy.ok_or(INVALID)?;
    let is_flags = flags == CUuserObject_flags::CU_USER_OBJECT_NO_DESTRUCTOR_SYNC.0;
    if object_out.is_null() || initialRefcount == 0 || !is_flags {
        return Err(INVALID);
    }
    // SAFETY: the contract of cuda.h.
    let destructor = unsafe { Destructor::new(destroy as usize, ptr.expose_provenance()) };
    let handle = with(|world| {
        let handle = world.new_handle(Kind::Object);
        let object = UserObject::new(destructor, initialRefcount);
        world.objects.insert(handle, object);
        handle
    });
    // SAFETY: the contract of cuda.h.
    unsafe { put(object_out, CUuserObject(handle)) }
}

pub unsafe fn cuUserObjectRetain(object: CUuserObject, count: u32) -> Status {
    with(|world| {
        let found = world.objects.get_mut(&object.0).ok_or(INVALID)?;
        match count > 0 && found.retain(count) {
            true => Ok(()),
            false => Err(INVALID),
        }
    })
}

pub unsafe fn cuUserObjectRelease(object: CUuserObject, count: u32) -> Status {
    with(|world| {
        let found = world.objects.get_mut(&object.0).ok_or(INVALID)?;
        if count == 0 || !found.release(count) {
            return Err(INVALID);
        }
        if found.destructor().is_none() {
            world.objects.remove(&object.0);
        }
        Ok(())
    })
}

pub unsafe fn cuGraphRetainUserObject(
    graph: CUgraph,
    object: CUuserObject,
    count: u32,
    flags: u32,
) -> Status {
    let moves = CUuserObjectRetain_flags::CU_GRAPH_USER_OBJECT_MOVE.0;
    if count == 0 || flags & !moves != 0 {
        return Err(INVALID);
    }
    with(|world| {
        let (id, _) = world.graph(graph)?;
        let found = world.objects.get_mut(&object.0).ok_or(INVALID)?;
        let destructor = found.destructor().ok_or(INVALID)?;
        if flags & moves != 0 && !found.release(count) {
            return Err(INVALID);
        }
        let kept = &mut world.graph_mut(id)?.objects;
        match kept.iter_mut().find(|(known, _, _)| *known == object) {
            Some((_, _, kept)) => *kept = kept.saturating_add(count),
            None => kept.push((object, destructor, count)),
        }
        Ok(())
    })
}

pub unsafe fn cuGraphReleaseUserObject(graph: CUgraph, object: CUuserObject, count: u32) -> Status {
    with(|world| {
        let (id, _) = world.graph(graph)?;
        let kept = &mut world.graph_mut(id)?.objects;
        let mut known = kept.iter_mut();
        let (_, _, has) = known
            .find(|(known, _, _)| *known == object)
            .ok_or(INVALID)?;
        if count == 0 || *has < count {
            return Err(INVALID);
        }
        *has -= count;
        kept.retain(|(_, _, count)| *count > 0);
        Ok(())
    })
}

/// As `cuGraphNodeGetLocalId` with the graph's number above it.
pub unsafe fn cuGraphNodeGetToolsId(hNode: CUgraphNode, toolsNodeId: *mut u64) -> Status {
    let id = with(|world| {
        let (NodeId(_), node) = world.node(hNode)?;
        let graph = world.graphs.get(&node.graph).ok_or(INVALID)?;
        Ok::<_, CUresult>(u64::from(graph.number) << 32 | u64::from(node.number))
    })?;
    // SAFETY: the contract of cuda.h.
    unsafe { put(toolsNodeId, id) }
}
