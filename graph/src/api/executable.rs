// SPDX-License-Identifier: Apache-2.0
//! Making graphs executable, launching and updating them.

use core::ffi::c_char;

use gvirtus_abi::{
    CUDA_GRAPH_INSTANTIATE_PARAMS, CUgraph, CUgraphExec, CUgraphExecUpdateResult as Updated,
    CUgraphExecUpdateResultInfo, CUgraphInstantiate_flags as Flags,
    CUgraphInstantiateResult as Outcome, CUgraphNode, CUresult, CUstream,
};

use super::{INVALID, Status, get, put, put_optional};
use crate::plan::Refusal;
use crate::platform::platform;
use crate::world::{NodeId, with};

fn instantiate(graph: CUgraph, flags: u64) -> Result<CUgraphExec, Refusal> {
    platform()?.ready()?;
    with(|world| world.instantiate(graph, flags)).map(CUgraphExec)
}

fn handle(node: Option<NodeId>) -> CUgraphNode {
    node.map_or(CUgraphNode::NULL, NodeId::handle)
}

pub unsafe fn cuGraphInstantiate(
    phGraphExec: *mut CUgraphExec,
    hGraph: CUgraph,
    phErrorNode: *mut CUgraphNode,
    logBuffer: *mut c_char,
    bufferSize: usize,
) -> Status {
    if phGraphExec.is_null() {
        return Err(INVALID);
    }
    let made = instantiate(hGraph, 0);
    let node = made.as_ref().err().and_then(|refusal| refusal.node);
    // SAFETY: the contract of cuda.h.
    unsafe {
        put_optional(phErrorNode, handle(node));
        if bufferSize > 0 {
            put_optional(logBuffer, 0);
        }
        put(phGraphExec, made.map_err(|refusal| refusal.status)?)
    }
}

pub unsafe fn cuGraphInstantiate_v2(
    phGraphExec: *mut CUgraphExec,
    hGraph: CUgraph,
    phErrorNode: *mut CUgraphNode,
    logBuffer: *mut c_char,
    bufferSize: usize,
) -> Status {
    // SAFETY: the same contract.
    unsafe { cuGraphInstantiate(phGraphExec, hGraph, phErrorNode, logBuffer, bufferSize) }
}

pub unsafe fn cuGraphInstantiateWithFlags(
    phGraphExec: *mut CUgraphExec,
    hGraph: CUgraph,
    flags: u64,
) -> Status {
    if phGraphExec.is_null() {
        return Err(INVALID);
    }
    let exec = instantiate(hGraph, flags).map_err(|refusal| refusal.status)?;
    // SAFETY: the contract of cuda.h.
    unsafe { put(phGraphExec, exec) }
}

pub unsafe fn cuGraphInstantiateWithParams(
    default_stream: CUstream,
    phGraphExec: *mut CUgraphExec,
    hGraph: CUgraph,
    instantiateParams: *mut CUDA_GRAPH_INSTANTIATE_PARAMS,
) -> Status {
    // SAFETY: the contract of cuda.h.
    let mut params = unsafe { get(instantiateParams.cast_const())? };
    if phGraphExec.is_null() {
        return Err(INVALID);
    }
    if params.flags & u64::from(Flags::CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD.0) != 0 {
        platform()?.stream(default_stream, params.hUploadStream)?;
    }
    let made = instantiate(hGraph, params.flags);
    let refusal = made.as_ref().err();
    params.hErrNode_out = handle(refusal.and_then(|refusal| refusal.node));
    params.result_out = refusal.map_or(Outcome::CUDA_GRAPH_INSTANTIATE_SUCCESS, |r| r.outcome);
    // SAFETY: the contract of cuda.h.
    unsafe {
        put(instantiateParams, params)?;
        put(phGraphExec, made.map_err(|refusal| refusal.status)?)
    }
}

pub unsafe fn cuGraphExecGetFlags(hGraphExec: CUgraphExec, flags: *mut u64) -> Status {
    let known = with(|world| world.exec(hGraphExec).map(|exec| exec.flags))?;
    // An upload is over when the graph is there.
    let upload = u64::from(Flags::CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD.0);
    // SAFETY: the contract of cuda.h.
    unsafe { put(flags, known & !upload) }
}

/// What is being launched goes on.
pub unsafe fn cuGraphExecDestroy(hGraphExec: CUgraphExec) -> Status {
    platform()?.ready()?;
    with(|world| world.execs.remove(&hGraphExec.0).map(drop)).ok_or(INVALID)
}

/// A graph needs no preparation on the device.
pub unsafe fn cuGraphUpload(
    default_stream: CUstream,
    hGraph: CUgraphExec,
    hStream: CUstream,
) -> Status {
    let stream = platform()?.stream(default_stream, hStream)?;
    if crate::capture::is_possible() {
        crate::capture::check_uncaptured(&stream)?;
    }
    with(|world| world.exec(hGraph).map(drop))
}

pub unsafe fn cuGraphLaunch(
    default_stream: CUstream,
    hGraph: CUgraphExec,
    hStream: CUstream,
) -> Status {
    crate::exec::launch(hGraph, default_stream, hStream)
}

fn update(exec: CUgraphExec, graph: CUgraph) -> Result<CUgraphExecUpdateResultInfo, CUresult> {
    platform()?.ready()?;
    with(|world| world.update(exec, graph)).map(|update| update.info())
}

fn status(info: &CUgraphExecUpdateResultInfo) -> Status {
    match info.result {
        Updated::CU_GRAPH_EXEC_UPDATE_SUCCESS => Ok(()),
        _ => Err(CUresult::CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE),
    }
}

pub unsafe fn cuGraphExecUpdate(
    hGraphExec: CUgraphExec,
    hGraph: CUgraph,
    hErrorNode_out: *mut CUgraphNode,
    updateResult_out: *mut Updated,
) -> Status {
    let info = update(hGraphExec, hGraph)?;
    // SAFETY: the contract of cuda.h.
    unsafe {
        put_optional(hErrorNode_out, info.errorNode);
        put(updateResult_out, info.result)?;
    }
    status(&info)
}

pub unsafe fn cuGraphExecUpdate_v2(
    hGraphExec: CUgraphExec,
    hGraph: CUgraph,
    resultInfo: *mut CUgraphExecUpdateResultInfo,
) -> Status {
    let info = update(hGraphExec, hGraph)?;
    // SAFETY: the contract of cuda.h.
    unsafe { put(resultInfo, info)? };
    status(&info)
}
