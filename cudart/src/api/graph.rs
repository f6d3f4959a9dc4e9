// SPDX-License-Identifier: Apache-2.0
//! Nodes of graphs whose parameters the runtime has in another form than the driver: kernels named
//! by their host functions, and what needs a context; copies are in [`super::graph_copy`].
//!
//! All other functions of graphs are the driver's own, as the table says.

use core::ffi::c_void;
use std::mem::{transmute_copy, zeroed};
use std::ptr::null;

use gvirtus_abi::{
    CUDA_KERNEL_NODE_PARAMS, CUDA_MEMSET_NODE_PARAMS, CUcontext, CUfunction, CUgraph,
    CUgraphEdgeData, CUgraphExec, CUgraphNode, CUgraphNodeParams, CUgreenCtx, CUkernel,
};
use gvirtus_runtime_abi::{
    cudaError, cudaGraphEdgeData, cudaGraphNodeParams, cudaGraphNodeParams_v12, cudaGraphNodeType,
    cudaKernelFunctionType, cudaKernelNodeParams, cudaMemsetParams, dim3,
};

use super::copy_box::{driver_copy, runtime_copy};
use super::{not_null, write};
use crate::context::{current, ensure_current, with_context};
use crate::driver::driver;
use crate::error::Result;
use crate::registry::{host_function, kernel};

const _: () = assert!(size_of::<cudaGraphNodeParams>() == size_of::<CUgraphNodeParams>());
const _: () = assert!(size_of::<cudaGraphNodeParams_v12>() == size_of::<CUgraphNodeParams>());
const _: () = assert!(size_of::<cudaGraphEdgeData>() == size_of::<CUgraphEdgeData>());

/// The context that nodes are made for.
pub(super) fn context() -> Result<CUcontext> {
    ensure_current()?;
    Ok(current(driver()?))
}

/// The kernel of a host function, or a kernel or function of the driver given as such.
fn kernel_or_function(func: *mut c_void) -> Result<(CUkernel, CUfunction)> {
    match kernel(func) {
        Ok(kernel) => Ok((kernel, CUfunction::NULL)),
        Err(cudaError::cudaErrorInvalidDeviceFunction) if !func.is_null() => {
            Ok((CUkernel::NULL, CUfunction(func as usize as u64)))
        }
        Err(error) => Err(error),
    }
}

/// Where a new node goes.
pub(super) struct NewNode {
    pub(super) node: *mut CUgraphNode,
    pub(super) graph: CUgraph,
    pub(super) dependencies: *const CUgraphNode,
    pub(super) count: usize,
}

fn driver_kernel(params: &cudaKernelNodeParams) -> Result<CUDA_KERNEL_NODE_PARAMS> {
    let (kern, func) = kernel_or_function(params.func)?;
    Ok(CUDA_KERNEL_NODE_PARAMS {
        func,
        gridDimX: params.gridDim.x,
        gridDimY: params.gridDim.y,
        gridDimZ: params.gridDim.z,
        blockDimX: params.blockDim.x,
        blockDimY: params.blockDim.y,
        blockDimZ: params.blockDim.z,
        sharedMemBytes: params.sharedMemBytes,
        kernelParams: params.kernelParams,
        extra: params.extra,
        kern,
        ctx: CUcontext::NULL,
    })
}

pub unsafe fn cudaGraphAddKernelNode(
    pGraphNode: *mut CUgraphNode,
    graph: CUgraph,
    pDependencies: *const CUgraphNode,
    numDependencies: usize,
    pNodeParams: *const cudaKernelNodeParams,
) -> Result<()> {
    not_null(pNodeParams)?;
    // SAFETY: the caller's promise.
    let params = driver_kernel(unsafe { &*pNodeParams })?;
    // SAFETY: the caller's promise; the parameters are a local.
    with_context(|driver| unsafe {
        driver.cuGraphAddKernelNode_v2(
            pGraphNode,
            graph,
            pDependencies,
            numDependencies,
            &raw const params,
        )
    })
}

pub unsafe fn cudaGraphKernelNodeGetParams(
    node: CUgraphNode,
    pNodeParams: *mut cudaKernelNodeParams,
) -> Result<()> {
    // SAFETY: integers, handles and pointers, for which zero is a value.
    let mut params: CUDA_KERNEL_NODE_PARAMS = unsafe { zeroed() };
    let output = &raw mut params;
    // SAFETY: the output is a local; the driver checks the node.
    with_context(|driver| unsafe { driver.cuGraphKernelNodeGetParams_v2(node, output) })?;
    let handle = match params.kern.is_null() {
        true => CUkernel(params.func.0),
        false => params.kern,
    };
    let answer = cudaKernelNodeParams {
        func: host_function(handle).cast_mut(),
        gridDim: dim3 {
            x: params.gridDimX,
            y: params.gridDimY,
            z: params.gridDimZ,
        },
        blockDim: dim3 {
            x: params.blockDimX,
            y: params.blockDimY,
            z: params.blockDimZ,
        },
        sharedMemBytes: params.sharedMemBytes,
        kernelParams: params.kernelParams,
        extra: params.extra,
    };
    // SAFETY: the caller's promise.
    unsafe { write(pNodeParams, answer) }
}

pub unsafe fn cudaGraphKernelNodeSetParams(
    node: CUgraphNode,
    pNodeParams: *const cudaKernelNodeParams,
) -> Result<()> {
    not_null(pNodeParams)?;
    // SAFETY: the caller's promise.
    let params = driver_kernel(unsafe { &*pNodeParams })?;
    // SAFETY: the parameters are a local.
    with_context(|driver| unsafe { driver.cuGraphKernelNodeSetParams_v2(node, &raw const params) })
}

pub unsafe fn cudaGraphExecKernelNodeSetParams(
    hGraphExec: CUgraphExec,
    node: CUgraphNode,
    pNodeParams: *const cudaKernelNodeParams,
) -> Result<()> {
    not_null(pNodeParams)?;
    // SAFETY: the caller's promise.
    let params = driver_kernel(unsafe { &*pNodeParams })?;
    // SAFETY: the parameters are a local.
    with_context(|driver| unsafe {
        driver.cuGraphExecKernelNodeSetParams_v2(hGraphExec, node, &raw const params)
    })
}
const _: () = assert!(size_of::<cudaMemsetParams>() == size_of::<CUDA_MEMSET_NODE_PARAMS>());

pub unsafe fn cudaGraphAddMemsetNode(
    pGraphNode: *mut CUgraphNode,
    graph: CUgraph,
    pDependencies: *const CUgraphNode,
    numDependencies: usize,
    pMemsetParams: *const cudaMemsetParams,
) -> Result<()> {
    let context = context()?;
    // SAFETY: the caller's promise; the structure is the driver's.
    with_context(|driver| unsafe {
        driver.cuGraphAddMemsetNode(
            pGraphNode,
            graph,
            pDependencies,
            numDependencies,
            pMemsetParams.cast(),
            context,
        )
    })
}

pub unsafe fn cudaGraphExecMemsetNodeSetParams(
    hGraphExec: CUgraphExec,
    node: CUgraphNode,
    pNodeParams: *const cudaMemsetParams,
) -> Result<()> {
    let context = context()?;
    // SAFETY: the caller's promise; the structure is the driver's.
    with_context(|driver| unsafe {
        driver.cuGraphExecMemsetNodeSetParams(hGraphExec, node, pNodeParams.cast(), context)
    })
}

pub unsafe fn cudaGraphConditionalHandleCreate(
    pHandle_out: *mut u64,
    graph: CUgraph,
    defaultLaunchValue: u32,
    flags: u32,
) -> Result<()> {
    let context = context()?;
    // SAFETY: the caller's promise.
    with_context(|driver| unsafe {
        driver.cuGraphConditionalHandleCreate(
            pHandle_out,
            graph,
            context,
            defaultLaunchValue,
            flags,
        )
    })
}

/// Of the current context's device where no execution context is named; there are no others.
pub unsafe fn cudaGraphConditionalHandleCreate_v2(
    pHandle_out: *mut u64,
    graph: CUgraph,
    ctx: CUgreenCtx,
    defaultLaunchValue: u32,
    flags: u32,
) -> Result<()> {
    if !ctx.is_null() && ctx.0 != context()?.0 {
        return Err(cudaError::cudaErrorNotSupported);
    }
    // SAFETY: the caller's promise.
    unsafe { cudaGraphConditionalHandleCreate(pHandle_out, graph, defaultLaunchValue, flags) }
}

/// The driver's form of a node of any kind. `has_function_type` says that a kernel's description
/// tells what its function is, as it does since release 13.
///
/// # Safety
///
/// The parameters are those of a `cudaGraphNodeParams` or a `cudaGraphNodeParams_v12`.
unsafe fn driver_node(
    params: &cudaGraphNodeParams,
    has_function_type: bool,
) -> Result<CUgraphNodeParams> {
    // SAFETY: both are the same kinds of nodes with the same members in the same places, but for
    // those that are written below.
    let mut node: CUgraphNodeParams = unsafe { transmute_copy(params) };
    // SAFETY: the type says which member is meant; each is plain data.
    unsafe {
        match params.r#type {
            cudaGraphNodeType::cudaGraphNodeTypeKernel => {
                let kernel = params.anonymous0.kernel;
                let function_type = match has_function_type {
                    true => kernel.functionType,
                    false => cudaKernelFunctionType::cudaKernelFunctionTypeUnspecified,
                };
                let (kern, func) = match function_type {
                    cudaKernelFunctionType::cudaKernelFunctionTypeKernel => {
                        (kernel.anonymous0.kern, CUfunction::NULL)
                    }
                    cudaKernelFunctionType::cudaKernelFunctionTypeFunction => {
                        (CUkernel::NULL, kernel.anonymous0.cuFunc)
                    }
                    _ => kernel_or_function(kernel.anonymous0.func)?,
                };
                let described = &mut node.anonymous0.kernel;
                described.func = func;
                described.gridDimX = kernel.gridDim.x;
                described.gridDimY = kernel.gridDim.y;
                described.gridDimZ = kernel.gridDim.z;
                described.blockDimX = kernel.blockDim.x;
                described.blockDimY = kernel.blockDim.y;
                described.blockDimZ = kernel.blockDim.z;
                described.sharedMemBytes = kernel.sharedMemBytes;
                described.kernelParams = kernel.kernelParams;
                described.extra = kernel.extra;
                described.kern = kern;
                described.ctx = CUcontext::NULL;
            }
            cudaGraphNodeType::cudaGraphNodeTypeMemcpy => {
                let copy = params.anonymous0.memcpy;
                node.anonymous0.memcpy.flags = copy.flags;
                node.anonymous0.memcpy.copyCtx = context()?;
                node.anonymous0.memcpy.copyParams = driver_copy(&copy.copyParams)?;
            }
            cudaGraphNodeType::cudaGraphNodeTypeMemset => {
                node.anonymous0.memset.ctx = context()?;
            }
            cudaGraphNodeType::cudaGraphNodeTypeConditional => {
                node.anonymous0.conditional.ctx = context()?;
            }
            _ => {}
        }
    }
    Ok(node)
}

/// The runtime's form of a driver's description of a node.
///
/// # Safety
///
/// The driver has filled it in.
unsafe fn runtime_node(node: &CUgraphNodeParams) -> Result<cudaGraphNodeParams> {
    // SAFETY: as in `driver_node`, the other way round; contexts are where execution contexts are.
    let mut params: cudaGraphNodeParams = unsafe { transmute_copy(node) };
    // SAFETY: the type says which member is meant; each is plain data.
    unsafe {
        match params.r#type {
            cudaGraphNodeType::cudaGraphNodeTypeKernel => {
                let kernel = node.anonymous0.kernel;
                let described = &mut params.anonymous0.kernel;
                let handle = match kernel.kern.is_null() {
                    true => CUkernel(kernel.func.0),
                    false => kernel.kern,
                };
                described.anonymous0.func = host_function(handle).cast_mut();
                described.functionType = cudaKernelFunctionType::cudaKernelFunctionTypeDeviceEntry;
                described.gridDim = dim3 {
                    x: kernel.gridDimX,
                    y: kernel.gridDimY,
                    z: kernel.gridDimZ,
                };
                described.blockDim = dim3 {
                    x: kernel.blockDimX,
                    y: kernel.blockDimY,
                    z: kernel.blockDimZ,
                };
                described.sharedMemBytes = kernel.sharedMemBytes;
                described.kernelParams = kernel.kernelParams;
                described.extra = kernel.extra;
                described.ctx = CUgreenCtx(kernel.ctx.0);
            }
            cudaGraphNodeType::cudaGraphNodeTypeMemcpy => {
                let copy = runtime_copy(&node.anonymous0.memcpy.copyParams)?;
                params.anonymous0.memcpy.copyParams = copy;
            }
            _ => {}
        }
    }
    Ok(params)
}

pub unsafe fn cudaGraphNodeGetParams(
    node: CUgraphNode,
    nodeParams: *mut cudaGraphNodeParams,
) -> Result<()> {
    not_null(nodeParams)?;
    // SAFETY: integers, handles and pointers, for which zero is a value.
    let mut described: CUgraphNodeParams = unsafe { zeroed() };
    let output = &raw mut described;
    // SAFETY: the output is a local; the driver checks the node.
    with_context(|driver| unsafe { driver.cuGraphNodeGetParams(node, output) })?;
    // SAFETY: the driver has filled it in; the output is the caller's promise.
    unsafe { write(nodeParams, runtime_node(&described)?) }
}

/// What the driver writes into a node's description: an allocation's address, a conditional node's
/// graphs.
///
/// # Safety
///
/// `params` is the description that `node` was made from.
unsafe fn take_outputs(node: &CUgraphNodeParams, params: &mut cudaGraphNodeParams) {
    // SAFETY: the type says which member is meant; each is plain data.
    unsafe {
        match params.r#type {
            cudaGraphNodeType::cudaGraphNodeTypeMemAlloc => {
                params.anonymous0.alloc.dptr = node.anonymous0.alloc.dptr.0 as usize as *mut c_void;
            }
            cudaGraphNodeType::cudaGraphNodeTypeConditional => {
                params.anonymous0.conditional.phGraph_out = node.anonymous0.conditional.phGraph_out;
            }
            _ => {}
        }
    }
}

unsafe fn add_node(
    new: &NewNode,
    edges: *const cudaGraphEdgeData,
    params: *mut cudaGraphNodeParams,
    has_function_type: bool,
) -> Result<()> {
    not_null(params)?;
    // SAFETY: the caller's promise.
    unsafe {
        let mut node = driver_node(&*params, has_function_type)?;
        let output = &raw mut node;
        with_context(|driver| {
            driver.cuGraphAddNode_v2(
                new.node,
                new.graph,
                new.dependencies,
                edges.cast(),
                new.count,
                output,
            )
        })?;
        take_outputs(&node, &mut *params);
    }
    Ok(())
}

pub unsafe fn cudaGraphAddNode(
    pGraphNode: *mut CUgraphNode,
    graph: CUgraph,
    pDependencies: *const CUgraphNode,
    dependencyData: *const cudaGraphEdgeData,
    numDependencies: usize,
    nodeParams: *mut cudaGraphNodeParams,
) -> Result<()> {
    let new = NewNode {
        node: pGraphNode,
        graph,
        dependencies: pDependencies,
        count: numDependencies,
    };
    // SAFETY: the caller's promise.
    unsafe { add_node(&new, dependencyData, nodeParams, true) }
}

pub unsafe fn cudaGraphAddNode_v2(
    pGraphNode: *mut CUgraphNode,
    graph: CUgraph,
    pDependencies: *const CUgraphNode,
    dependencyData: *const cudaGraphEdgeData,
    numDependencies: usize,
    nodeParams: *mut cudaGraphNodeParams_v12,
) -> Result<()> {
    let new = NewNode {
        node: pGraphNode,
        graph,
        dependencies: pDependencies,
        count: numDependencies,
    };
    // SAFETY: the caller's promise; the older structure has the same size.
    unsafe { add_node(&new, dependencyData, nodeParams.cast(), false) }
}

pub unsafe fn cudaGraphAddNode_r12(
    pGraphNode: *mut CUgraphNode,
    graph: CUgraph,
    pDependencies: *const CUgraphNode,
    numDependencies: usize,
    nodeParams: *mut cudaGraphNodeParams_v12,
) -> Result<()> {
    // SAFETY: the caller's promise.
    unsafe {
        cudaGraphAddNode_v2(
            pGraphNode,
            graph,
            pDependencies,
            null(),
            numDependencies,
            nodeParams,
        )
    }
}

unsafe fn set_node(
    node: CUgraphNode,
    params: *mut cudaGraphNodeParams,
    has_function_type: bool,
) -> Result<()> {
    not_null(params)?;
    // SAFETY: the caller's promise.
    unsafe {
        let mut described = driver_node(&*params, has_function_type)?;
        let described = &raw mut described;
        with_context(|driver| driver.cuGraphNodeSetParams(node, described))
    }
}

pub unsafe fn cudaGraphNodeSetParams(
    node: CUgraphNode,
    nodeParams: *mut cudaGraphNodeParams,
) -> Result<()> {
    // SAFETY: the caller's promise.
    unsafe { set_node(node, nodeParams, true) }
}

pub unsafe fn cudaGraphNodeSetParams_r12(
    node: CUgraphNode,
    nodeParams: *mut cudaGraphNodeParams_v12,
) -> Result<()> {
    // SAFETY: the caller's promise; the older structure has the same size.
    unsafe { set_node(node, nodeParams.cast(), false) }
}

unsafe fn set_node_of_exec(
    exec: CUgraphExec,
    node: CUgraphNode,
    params: *mut cudaGraphNodeParams,
    has_function_type: bool,
) -> Result<()> {
    not_null(params)?;
    // SAFETY: the caller's promise.
    unsafe {
        let mut described = driver_node(&*params, has_function_type)?;
        let described = &raw mut described;
        with_context(|driver| driver.cuGraphExecNodeSetParams(exec, node, described))
    }
}

pub unsafe fn cudaGraphExecNodeSetParams(
    graphExec: CUgraphExec,
    node: CUgraphNode,
    nodeParams: *mut cudaGraphNodeParams,
) -> Result<()> {
    // SAFETY: the caller's promise.
    unsafe { set_node_of_exec(graphExec, node, nodeParams, true) }
}

pub unsafe fn cudaGraphExecNodeSetParams_r12(
    graphExec: CUgraphExec,
    node: CUgraphNode,
    nodeParams: *mut cudaGraphNodeParams_v12,
) -> Result<()> {
    // SAFETY: the caller's promise; the older structure has the same size.
    unsafe { set_node_of_exec(graphExec, node, nodeParams.cast(), false) }
}
