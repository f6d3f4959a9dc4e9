// SPDX-License-Identifier: Apache-2.0
//! The functions of `cuda.h` about graphs and captures, with its names and contracts. Those that
//! have a second symbol for the per-thread default stream take first what a null stream means.

#![allow(
    non_snake_case,
    reason = "functions and arguments are named as in cuda.h"
)]
#![allow(
    clippy::too_many_arguments,
    reason = "the arguments are those of the C function"
)]
#![allow(
    clippy::missing_safety_doc,
    clippy::missing_errors_doc,
    missing_docs,
    reason = "the contract of each function is that of cuda.h"
)]

mod batches;
mod captures;
mod conditions;
mod copies;
mod events;
mod executable;
mod executable_nodes;
mod graphs;
mod host;
mod kernels;
mod memory;
mod nodes;
mod queries;
mod relations;

use gvirtus_abi::{CUgraph, CUgraphEdgeData, CUgraphNode, CUresult};

pub use self::batches::*;
pub use self::captures::*;
pub use self::conditions::*;
pub use self::copies::*;
pub use self::events::*;
pub use self::executable::*;
pub use self::executable_nodes::*;
pub use self::graphs::*;
pub use self::host::*;
pub use self::kernels::*;
pub use self::memory::*;
pub use self::nodes::*;
pub use self::queries::*;
pub use self::relations::*;
use crate::edges::Edge;
use crate::payload::Payload;
use crate::platform::platform;
use crate::world::{NodeId, with};

/// What the application gets.
type Status = Result<(), CUresult>;

const INVALID: CUresult = CUresult::CUDA_ERROR_INVALID_VALUE;

/// Writes an output.
///
/// # Safety
///
/// `place` is null or valid for writing.
unsafe fn put<T>(place: *mut T, value: T) -> Status {
    if place.is_null() {
        return Err(INVALID);
    }
    // SAFETY: not null, and then valid by the caller's promise.
    unsafe { place.write_unaligned(value) };
    Ok(())
}

/// Writes an output that may be left out.
///
/// # Safety
///
/// `place` is null or valid for writing.
unsafe fn put_optional<T>(place: *mut T, value: T) {
    if !place.is_null() {
        // SAFETY: not null, and then valid by the caller's promise.
        unsafe { place.write_unaligned(value) };
    }
}

/// Reads a structure.
///
/// # Safety
///
/// `place` is null or valid for reading.
unsafe fn get<T: Copy>(place: *const T) -> Result<T, CUresult> {
    if place.is_null() {
        return Err(INVALID);
    }
    // SAFETY: not null, and then valid by the caller's promise.
    Ok(unsafe { place.read_unaligned() })
}

/// Reads an array.
///
/// # Safety
///
/// `array` is null or valid for reading `count` values, which live as long as the result.
unsafe fn list<'a, T>(array: *const T, count: usize) -> Result<&'a [T], CUresult> {
    match (array.is_null(), count) {
        (_, 0) => Ok(&[]),
        (true, _) => Err(INVALID),
        // SAFETY: not null, and then valid by the caller's promise.
        (false, count) => Ok(unsafe { core::slice::from_raw_parts(array, count) }),
    }
}

/// Writes an array of which the caller may have asked for the length only. What it has room for
/// beyond the end becomes `rest`.
///
/// # Safety
///
/// `count` is null or valid; `array` is null or valid for writing `*count` values.
unsafe fn give<T: Copy>(values: &[T], rest: T, array: *mut T, count: *mut usize) -> Status {
    // SAFETY: the caller's promise.
    let room = unsafe { get(count.cast_const())? };
    if !array.is_null() {
        for index in 0..room {
            let value = values.get(index).copied().unwrap_or(rest);
            // SAFETY: inside of the room that the caller promises.
            unsafe { array.add(index).write_unaligned(value) };
        }
    }
    let written = match array.is_null() {
        true => values.len(),
        false => values.len().min(room),
    };
    // SAFETY: the caller's promise.
    unsafe { put(count, written) }
}

/// The dependencies of a new node.
///
/// # Safety
///
/// `nodes` is null or valid for `count`; so is `edges`.
unsafe fn dependencies(
    nodes: *const CUgraphNode,
    edges: *const CUgraphEdgeData,
    count: usize,
) -> Result<Vec<(NodeId, Edge)>, CUresult> {
    // SAFETY: the caller's promise.
    let nodes = unsafe { list(nodes, count)? };
    // SAFETY: the caller's promise.
    let edges = unsafe { edge_list(edges, count)? };
    let nodes = nodes.iter().map(|node| NodeId(node.0));
    Ok(nodes.zip(edges).collect())
}

/// Edge data, or as many default edges.
///
/// # Safety
///
/// `edges` is null or valid for `count`.
unsafe fn edge_list(edges: *const CUgraphEdgeData, count: usize) -> Result<Vec<Edge>, CUresult> {
    if edges.is_null() {
        return Ok(vec![Edge::default(); count]);
    }
    // SAFETY: the caller's promise.
    let edges = unsafe { list(edges, count)? };
    edges.iter().map(Edge::parse).collect()
}

/// Adds a node.
///
/// # Safety
///
/// `place` is null or valid for writing; the rest as [`dependencies`].
unsafe fn add(
    place: *mut CUgraphNode,
    graph: CUgraph,
    nodes: *const CUgraphNode,
    edges: *const CUgraphEdgeData,
    count: usize,
    payload: Payload,
) -> Status {
    if place.is_null() {
        return Err(INVALID);
    }
    // SAFETY: the caller's promise.
    let dependencies = unsafe { dependencies(nodes, edges, count)? };
    let node = with(|world| {
        let (graph, _) = world.graph(graph)?;
        world.add(graph, dependencies, payload)
    })?;
    // SAFETY: the caller's promise.
    unsafe { put(place, node.handle()) }
}

/// As [`add`], with default edges.
///
/// # Safety
///
/// As [`add`].
unsafe fn append(
    place: *mut CUgraphNode,
    graph: CUgraph,
    nodes: *const CUgraphNode,
    count: usize,
    payload: Payload,
) -> Status {
    // SAFETY: the caller's promise.
    unsafe { add(place, graph, nodes, std::ptr::null(), count, payload) }
}

/// Writes what `read` finds in a node of its kind.
///
/// # Safety
///
/// `place` is null or valid for writing.
unsafe fn tell<T>(
    node: CUgraphNode,
    place: *mut T,
    read: impl FnOnce(&Payload) -> Option<T>,
) -> Status {
    let value = read(&payload_of(node)?).ok_or(INVALID)?;
    // SAFETY: the caller's promise.
    unsafe { put(place, value) }
}

/// A copy of what a node does.
fn payload_of(node: CUgraphNode) -> Result<Payload, CUresult> {
    platform()?.ready()?;
    with(|world| world.node(node).map(|(_, node)| node.payload.clone()))
}

/// Changes what a node does to something of the same kind.
fn set_payload(node: CUgraphNode, payload: Payload) -> Status {
    with(|world| {
        let node = world.node_mut(node)?;
        if node.payload.kind() != payload.kind() {
            return Err(INVALID);
        }
        node.payload = payload;
        Ok(())
    })
}
