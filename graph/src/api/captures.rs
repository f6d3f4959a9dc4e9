// SPDX-License-Identifier: Apache-2.0
//! Stream capture.

use gvirtus_abi::{
    CUgraph, CUgraphEdgeData, CUgraphNode, CUresult, CUstream, CUstreamCaptureMode,
    CUstreamCaptureStatus as Captured, CUstreamUpdateCaptureDependencies_flags as Update,
};

use super::{INVALID, Status, dependencies, get, put, put_optional};
use crate::capture::{Info, exchange_mode, is_possible};
use crate::platform::{Stream, platform};
use crate::world::with;

pub unsafe fn cuStreamBeginCapture(default_stream: CUstream, hStream: CUstream) -> Status {
    let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_GLOBAL;
    // SAFETY: the same contract.
    unsafe { cuStreamBeginCapture_v2(default_stream, hStream, mode) }
}

pub unsafe fn cuStreamBeginCapture_v2(
    default_stream: CUstream,
    hStream: CUstream,
    mode: CUstreamCaptureMode,
) -> Status {
    let stream = platform()?.stream(default_stream, hStream)?;
    if mode.name().is_none() {
        return Err(INVALID);
    }
    with(|world| {
        world.captures.check_begin(&stream)?;
        let graph = world.new_graph();
        world.graph_mut(graph)?.is_capturing = true;
        world.captures.begin(&stream, mode, graph, Vec::new())
    })
}

pub unsafe fn cuStreamBeginCaptureToGraph(
    default_stream: CUstream,
    hStream: CUstream,
    hGraph: CUgraph,
    dependencies: *const CUgraphNode,
    dependencyData: *const CUgraphEdgeData,
    numDependencies: usize,
    mode: CUstreamCaptureMode,
) -> Status {
    let stream = platform()?.stream(default_stream, hStream)?;
    if mode.name().is_none() {
        return Err(INVALID);
    }
    // SAFETY: the contract of cuda.h.
    let before = unsafe { super::dependencies(dependencies, dependencyData, numDependencies)? };
    with(|world| {
        let (graph, found) = world.graph(hGraph)?;
        let is_inside = before.iter().all(|(node, _)| found.nodes.contains(node));
        if found.is_capturing || !is_inside {
            return Err(INVALID);
        }
        world.captures.begin(&stream, mode, graph, before)
    })
}

pub unsafe fn cuStreamEndCapture(
    default_stream: CUstream,
    hStream: CUstream,
    phGraph: *mut CUgraph,
) -> Status {
    let stream = platform()?.stream(default_stream, hStream)?;
    if phGraph.is_null() {
        return Err(INVALID);
    }
    let graph = with(|world| world.end_capture(&stream));
    let handle = graph.map_or(CUgraph::NULL, |graph| graph.handle());
    // SAFETY: the contract of cuda.h.
    unsafe { put(phGraph, handle)? };
    graph.map(drop)
}

fn info(stream: &Stream) -> Result<Option<Info>, CUresult> {
    match is_possible() {
        true => with(|world| world.captures.info(stream)),
        false => Ok(None),
    }
}

const fn status(info: Option<&Info>) -> Captured {
    match info {
        None => Captured::CU_STREAM_CAPTURE_STATUS_NONE,
        Some(info) if info.is_valid => Captured::CU_STREAM_CAPTURE_STATUS_ACTIVE,
        Some(_) => Captured::CU_STREAM_CAPTURE_STATUS_INVALIDATED,
    }
}

pub unsafe fn cuStreamIsCapturing(
    default_stream: CUstream,
    hStream: CUstream,
    captureStatus: *mut Captured,
) -> Status {
    let stream = platform()?.stream(default_stream, hStream)?;
    let info = info(&stream)?;
    // SAFETY: the contract of cuda.h.
    unsafe { put(captureStatus, status(info.as_ref())) }
}

pub unsafe fn cuStreamGetCaptureInfo(
    default_stream: CUstream,
    hStream: CUstream,
    captureStatus_out: *mut Captured,
    id_out: *mut u64,
) -> Status {
    let null = std::ptr::null_mut();
    // SAFETY: the same contract; outputs may be left out.
    unsafe {
        cuStreamGetCaptureInfo_v3(
            default_stream,
            hStream,
            captureStatus_out,
            id_out,
            null,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
        )
    }
}

pub unsafe fn cuStreamGetCaptureInfo_v2(
    default_stream: CUstream,
    hStream: CUstream,
    captureStatus_out: *mut Captured,
    id_out: *mut u64,
    graph_out: *mut CUgraph,
    dependencies_out: *mut *const CUgraphNode,
    numDependencies_out: *mut usize,
) -> Status {
    // SAFETY: the same contract; outputs may be left out.
    unsafe {
        cuStreamGetCaptureInfo_v3(
            default_stream,
            hStream,
            captureStatus_out,
            id_out,
            graph_out,
            dependencies_out,
            std::ptr::null_mut(),
            numDependencies_out,
        )
    }
}

/// The pointers stay valid until the next call on the stream.
pub unsafe fn cuStreamGetCaptureInfo_v3(
    default_stream: CUstream,
    hStream: CUstream,
    captureStatus_out: *mut Captured,
    id_out: *mut u64,
    graph_out: *mut CUgraph,
    dependencies_out: *mut *const CUgraphNode,
    edgeData_out: *mut *const CUgraphEdgeData,
    numDependencies_out: *mut usize,
) -> Status {
    let stream = platform()?.stream(default_stream, hStream)?;
    let info = info(&stream)?;
    // SAFETY: the contract of cuda.h.
    unsafe {
        put(captureStatus_out, status(info.as_ref()))?;
        let Some(info) = info.filter(|info| info.is_valid) else {
            return Ok(());
        };
        if info.is_lossy && !dependencies_out.is_null() && edgeData_out.is_null() {
            return Err(CUresult::CUDA_ERROR_LOSSY_QUERY);
        }
        put_optional(id_out, info.id);
        put_optional(graph_out, info.graph.handle());
        put_optional(dependencies_out, info.nodes);
        put_optional(edgeData_out, info.edges);
        put_optional(numDependencies_out, info.count);
    }
    Ok(())
}

pub unsafe fn cuStreamUpdateCaptureDependencies(
    default_stream: CUstream,
    hStream: CUstream,
    dependencies: *mut CUgraphNode,
    numDependencies: usize,
    flags: u32,
) -> Status {
    let (nodes, data, count) = (dependencies, std::ptr::null(), numDependencies);
    // SAFETY: the same contract.
    unsafe {
        cuStreamUpdateCaptureDependencies_v2(default_stream, hStream, nodes, data, count, flags)
    }
}

pub unsafe fn cuStreamUpdateCaptureDependencies_v2(
    default_stream: CUstream,
    hStream: CUstream,
    dependencies_: *mut CUgraphNode,
    dependencyData: *const CUgraphEdgeData,
    numDependencies: usize,
    flags: u32,
) -> Status {
    let stream = platform()?.stream(default_stream, hStream)?;
    let replaces = match flags {
        f if f == Update::CU_STREAM_ADD_CAPTURE_DEPENDENCIES.0 => false,
        f if f == Update::CU_STREAM_SET_CAPTURE_DEPENDENCIES.0 => true,
        _ => return Err(INVALID),
    };
    // SAFETY: the contract of cuda.h.
    let nodes = unsafe { dependencies(dependencies_, dependencyData, numDependencies)? };
    with(|world| {
        if let Some(graph) = world.captures.graph_of(&stream) {
            let graph = world.graphs.get(&graph).ok_or(INVALID)?;
            if !nodes.iter().all(|(node, _)| graph.nodes.contains(node)) {
                return Err(INVALID);
            }
        }
        world.captures.update(&stream, nodes, replaces)
    })
}

pub unsafe fn cuThreadExchangeStreamCaptureMode(mode: *mut CUstreamCaptureMode) -> Status {
    platform()?.ready()?;
    // SAFETY: the contract of cuda.h: input and output.
    let wanted = unsafe { get(mode.cast_const())? };
    if wanted.name().is_none() {
        return Err(INVALID);
    }
    let before = exchange_mode(wanted);
    // SAFETY: the contract of cuda.h.
    unsafe { put(mode, before) }
}
