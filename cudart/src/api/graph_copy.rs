// SPDX-License-Identifier: Apache-2.0
//! Nodes of graphs that copy, which the runtime counts in elements.

use core::ffi::c_void;
use std::mem::zeroed;

use gvirtus_abi::{CUDA_MEMCPY3D, CUgraph, CUgraphExec, CUgraphNode};
use gvirtus_runtime_abi::{cudaExtent, cudaMemcpy3DParms, cudaMemcpyKind, cudaPitchedPtr, cudaPos};

use super::copy_box::{driver_copy, runtime_copy};
use super::graph::{NewNode, context};
use super::symbol::place;
use super::{not_null, write};
use crate::context::with_context;
use crate::error::Result;

/// A run of bytes as a copy of one row.
fn line(
    dst: *mut c_void,
    src: *const c_void,
    count: usize,
    kind: cudaMemcpyKind,
) -> Result<CUDA_MEMCPY3D> {
    let pitched = |ptr: *mut c_void| cudaPitchedPtr {
        ptr,
        pitch: count,
        xsize: count,
        ysize: 1,
    };
    let origin = cudaPos { x: 0, y: 0, z: 0 };
    driver_copy(&cudaMemcpy3DParms {
        srcArray: Default::default(),
        srcPos: origin,
        srcPtr: pitched(src.cast_mut()),
        dstArray: Default::default(),
        dstPos: origin,
        dstPtr: pitched(dst),
        extent: cudaExtent {
            width: count,
            height: 1,
            depth: 1,
        },
        kind,
    })
}

impl NewNode {
    fn copy(self, copy: &CUDA_MEMCPY3D) -> Result<()> {
        let (copy, context) = (std::ptr::from_ref(copy), context()?);
        // SAFETY: the caller of the runtime's function promised the pointers.
        with_context(|driver| unsafe {
            driver.cuGraphAddMemcpyNode(
                self.node,
                self.graph,
                self.dependencies,
                self.count,
                copy,
                context,
            )
        })
    }
}

fn set_copy(node: CUgraphNode, copy: &CUDA_MEMCPY3D) -> Result<()> {
    let copy = std::ptr::from_ref(copy);
    // SAFETY: the copy is good for reading; the driver checks the node.
    with_context(|driver| unsafe { driver.cuGraphMemcpyNodeSetParams(node, copy) })
}

fn set_copy_of_exec(exec: CUgraphExec, node: CUgraphNode, copy: &CUDA_MEMCPY3D) -> Result<()> {
    let (copy, context) = (std::ptr::from_ref(copy), context()?);
    // SAFETY: the copy is good for reading; the driver checks the handles.
    with_context(|driver| unsafe {
        driver.cuGraphExecMemcpyNodeSetParams(exec, node, copy, context)
    })
}

pub unsafe fn cudaGraphAddMemcpyNode(
    pGraphNode: *mut CUgraphNode,
    graph: CUgraph,
    pDependencies: *const CUgraphNode,
    numDependencies: usize,
    pCopyParams: *const cudaMemcpy3DParms,
) -> Result<()> {
    not_null(pCopyParams)?;
    // SAFETY: the caller's promise.
    let copy = driver_copy(unsafe { &*pCopyParams })?;
    NewNode {
        node: pGraphNode,
        graph,
        dependencies: pDependencies,
        count: numDependencies,
    }
    .copy(&copy)
}

pub unsafe fn cudaGraphAddMemcpyNode1D(
    pGraphNode: *mut CUgraphNode,
    graph: CUgraph,
    pDependencies: *const CUgraphNode,
    numDependencies: usize,
    dst: *mut c_void,
    src: *const c_void,
    count: usize,
    kind: cudaMemcpyKind,
) -> Result<()> {
    NewNode {
        node: pGraphNode,
        graph,
        dependencies: pDependencies,
        count: numDependencies,
    }
    .copy(&line(dst, src, count, kind)?)
}

pub unsafe fn cudaGraphAddMemcpyNodeToSymbol(
    pGraphNode: *mut CUgraphNode,
    graph: CUgraph,
    pDependencies: *const CUgraphNode,
    numDependencies: usize,
    symbol: *const c_void,
    src: *const c_void,
    count: usize,
    offset: usize,
    kind: cudaMemcpyKind,
) -> Result<()> {
    let dst = place(symbol, offset, count)?;
    // SAFETY: the caller's promise.
    unsafe {
        cudaGraphAddMemcpyNode1D(
            pGraphNode,
            graph,
            pDependencies,
            numDependencies,
            dst,
            src,
            count,
            kind,
        )
    }
}

pub unsafe fn cudaGraphAddMemcpyNodeFromSymbol(
    pGraphNode: *mut CUgraphNode,
    graph: CUgraph,
    pDependencies: *const CUgraphNode,
    numDependencies: usize,
    dst: *mut c_void,
    symbol: *const c_void,
    count: usize,
    offset: usize,
    kind: cudaMemcpyKind,
) -> Result<()> {
    let src = place(symbol, offset, count)?;
    // SAFETY: the caller's promise.
    unsafe {
        cudaGraphAddMemcpyNode1D(
            pGraphNode,
            graph,
            pDependencies,
            numDependencies,
            dst,
            src,
            count,
            kind,
        )
    }
}

pub unsafe fn cudaGraphMemcpyNodeGetParams(
    node: CUgraphNode,
    pNodeParams: *mut cudaMemcpy3DParms,
) -> Result<()> {
    // SAFETY: integers, handles and pointers, for which zero is a value.
    let mut copy: CUDA_MEMCPY3D = unsafe { zeroed() };
    let output = &raw mut copy;
    // SAFETY: the output is a local; the driver checks the node.
    with_context(|driver| unsafe { driver.cuGraphMemcpyNodeGetParams(node, output) })?;
    let answer = runtime_copy(&copy)?;
    // SAFETY: the caller's promise.
    unsafe { write(pNodeParams, answer) }
}

pub unsafe fn cudaGraphMemcpyNodeSetParams(
    node: CUgraphNode,
    pNodeParams: *const cudaMemcpy3DParms,
) -> Result<()> {
    not_null(pNodeParams)?;
    // SAFETY: the caller's promise.
    set_copy(node, &driver_copy(unsafe { &*pNodeParams })?)
}

pub unsafe fn cudaGraphMemcpyNodeSetParams1D(
    node: CUgraphNode,
    dst: *mut c_void,
    src: *const c_void,
    count: usize,
    kind: cudaMemcpyKind,
) -> Result<()> {
    set_copy(node, &line(dst, src, count, kind)?)
}

pub unsafe fn cudaGraphMemcpyNodeSetParamsToSymbol(
    node: CUgraphNode,
    symbol: *const c_void,
    src: *const c_void,
    count: usize,
    offset: usize,
    kind: cudaMemcpyKind,
) -> Result<()> {
    set_copy(
        node,
        &line(place(symbol, offset, count)?, src, count, kind)?,
    )
}

pub unsafe fn cudaGraphMemcpyNodeSetParamsFromSymbol(
    node: CUgraphNode,
    dst: *mut c_void,
    symbol: *const c_void,
    count: usize,
    offset: usize,
    kind: cudaMemcpyKind,
) -> Result<()> {
    set_copy(
        node,
        &line(dst, place(symbol, offset, count)?, count, kind)?,
    )
}

pub unsafe fn cudaGraphExecMemcpyNodeSetParams(
    hGraphExec: CUgraphExec,
    node: CUgraphNode,
    pNodeParams: *const cudaMemcpy3DParms,
) -> Result<()> {
    not_null(pNodeParams)?;
    // SAFETY: the caller's promise.
    set_copy_of_exec(hGraphExec, node, &driver_copy(unsafe { &*pNodeParams })?)
}

pub unsafe fn cudaGraphExecMemcpyNodeSetParams1D(
    hGraphExec: CUgraphExec,
    node: CUgraphNode,
    dst: *mut c_void,
    src: *const c_void,
    count: usize,
    kind: cudaMemcpyKind,
) -> Result<()> {
    set_copy_of_exec(hGraphExec, node, &line(dst, src, count, kind)?)
}

pub unsafe fn cudaGraphExecMemcpyNodeSetParamsToSymbol(
    hGraphExec: CUgraphExec,
    node: CUgraphNode,
    symbol: *const c_void,
    src: *const c_void,
    count: usize,
    offset: usize,
    kind: cudaMemcpyKind,
) -> Result<()> {
    let dst = place(symbol, offset, count)?;
    set_copy_of_exec(hGraphExec, node, &line(dst, src, count, kind)?)
}

pub unsafe fn cudaGraphExecMemcpyNodeSetParamsFromSymbol(
    hGraphExec: CUgraphExec,
    node: CUgraphNode,
    dst: *mut c_void,
    symbol: *const c_void,
    count: usize,
    offset: usize,
    kind: cudaMemcpyKind,
) -> Result<()> {
    let src = place(symbol, offset, count)?;
    set_copy_of_exec(hGraphExec, node, &line(dst, src, count, kind)?)
}
