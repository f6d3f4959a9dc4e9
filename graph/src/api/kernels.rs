// SPDX-License-Identifier: Apache-2.0
//! Kernel nodes.

use gvirtus_abi::{
    CUDA_KERNEL_NODE_PARAMS, CUDA_KERNEL_NODE_PARAMS_v1, CUcontext, CUgraph, CUgraphNode, CUkernel,
    CUkernelNodeAttrID, CUkernelNodeAttrValue, CUlaunchAttributeID as Id, CUlaunchAttributeValue,
    CUresult,
};

use super::{INVALID, Status, append, get, payload_of, put};
use crate::parameters::{attribute, read_kernel, write_kernel};
use crate::payload::{Attribute, Kernel, Payload};
use crate::world::with;

pub(super) const fn widen(params: &CUDA_KERNEL_NODE_PARAMS_v1) -> CUDA_KERNEL_NODE_PARAMS {
    CUDA_KERNEL_NODE_PARAMS {
        func: params.func,
        gridDimX: params.gridDimX,
        gridDimY: params.gridDimY,
        gridDimZ: params.gridDimZ,
        blockDimX: params.blockDimX,
        blockDimY: params.blockDimY,
        blockDimZ: params.blockDimZ,
        sharedMemBytes: params.sharedMemBytes,
        kernelParams: params.kernelParams,
        extra: params.extra,
        kern: CUkernel::NULL,
        ctx: CUcontext::NULL,
    }
}

const fn narrow(params: &CUDA_KERNEL_NODE_PARAMS) -> CUDA_KERNEL_NODE_PARAMS_v1 {
    CUDA_KERNEL_NODE_PARAMS_v1 {
        func: params.func,
        gridDimX: params.gridDimX,
        gridDimY: params.gridDimY,
        gridDimZ: params.gridDimZ,
        blockDimX: params.blockDimX,
        blockDimY: params.blockDimY,
        blockDimZ: params.blockDimZ,
        sharedMemBytes: params.sharedMemBytes,
        kernelParams: params.kernelParams,
        extra: params.extra,
    }
}

pub unsafe fn cuGraphAddKernelNode(
    phGraphNode: *mut CUgraphNode,
    hGraph: CUgraph,
    dependencies: *const CUgraphNode,
    numDependencies: usize,
    nodeParams: *const CUDA_KERNEL_NODE_PARAMS_v1,
) -> Status {
    // SAFETY: the contract of cuda.h.
    let params = widen(&unsafe { get(nodeParams)? });
    // SAFETY: the same contract.
    unsafe {
        cuGraphAddKernelNode_v2(
            phGraphNode,
            hGraph,
            dependencies,
            numDependencies,
            &raw const params,
        )
    }
}

pub unsafe fn cuGraphAddKernelNode_v2(
    phGraphNode: *mut CUgraphNode,
    hGraph: CUgraph,
    dependencies: *const CUgraphNode,
    numDependencies: usize,
    nodeParams: *const CUDA_KERNEL_NODE_PARAMS,
) -> Status {
    // SAFETY: the contract of cuda.h.
    let kernel = unsafe { read_kernel(&get(nodeParams)?)? };
    let payload = Payload::Kernel(kernel);
    // SAFETY: the contract of cuda.h.
    unsafe { append(phGraphNode, hGraph, dependencies, numDependencies, payload) }
}

fn kernel_of(node: CUgraphNode) -> Result<Kernel, CUresult> {
    match payload_of(node)? {
        Payload::Kernel(kernel) => Ok(kernel),
        _ => Err(INVALID),
    }
}

pub unsafe fn cuGraphKernelNodeGetParams(
    hNode: CUgraphNode,
    nodeParams: *mut CUDA_KERNEL_NODE_PARAMS_v1,
) -> Status {
    let params = write_kernel(&kernel_of(hNode)?);
    if params.func.is_null() {
        // This version cannot tell of a library's kernel, but takes its handle as a function.
        let function = gvirtus_abi::CUfunction(params.kern.0);
        let narrow = CUDA_KERNEL_NODE_PARAMS_v1 {
            func: function,
            ..narrow(&params)
        };
        // SAFETY: the contract of cuda.h.
        return unsafe { put(nodeParams, narrow) };
    }
    // SAFETY: the contract of cuda.h.
    unsafe { put(nodeParams, narrow(&params)) }
}

pub unsafe fn cuGraphKernelNodeGetParams_v2(
    hNode: CUgraphNode,
    nodeParams: *mut CUDA_KERNEL_NODE_PARAMS,
) -> Status {
    let params = write_kernel(&kernel_of(hNode)?);
    // SAFETY: the contract of cuda.h.
    unsafe { put(nodeParams, params) }
}

pub unsafe fn cuGraphKernelNodeSetParams(
    hNode: CUgraphNode,
    nodeParams: *const CUDA_KERNEL_NODE_PARAMS_v1,
) -> Status {
    // SAFETY: the contract of cuda.h.
    let params = widen(&unsafe { get(nodeParams)? });
    // SAFETY: the same contract.
    unsafe { cuGraphKernelNodeSetParams_v2(hNode, &raw const params) }
}

pub unsafe fn cuGraphKernelNodeSetParams_v2(
    hNode: CUgraphNode,
    nodeParams: *const CUDA_KERNEL_NODE_PARAMS,
) -> Status {
    // SAFETY: the contract of cuda.h.
    let new = unsafe { read_kernel(&get(nodeParams)?)? };
    set_kernel(hNode, new)
}

/// Attributes stay what they were.
pub(super) fn set_kernel(node: CUgraphNode, new: Kernel) -> Status {
    with(|world| match &mut world.node_mut(node)?.payload {
        Payload::Kernel(kernel) => {
            let attributes = std::mem::take(&mut kernel.attributes);
            *kernel = Kernel { attributes, ..new };
            Ok(())
        }
        _ => Err(INVALID),
    })
}

/// # Errors
///
/// `CUDA_ERROR_INVALID_VALUE` for what a kernel node cannot have, `CUDA_ERROR_NOT_SUPPORTED`.
fn check_attribute(id: Id) -> Status {
    match id {
        Id::CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW
        | Id::CU_LAUNCH_ATTRIBUTE_COOPERATIVE
        | Id::CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION
        | Id::CU_LAUNCH_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE
        | Id::CU_LAUNCH_ATTRIBUTE_PRIORITY
        | Id::CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP
        | Id::CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN
        | Id::CU_LAUNCH_ATTRIBUTE_PREFERRED_CLUSTER_DIMENSION
        | Id::CU_LAUNCH_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT
        | Id::CU_LAUNCH_ATTRIBUTE_NVLINK_UTIL_CENTRIC_SCHEDULING
        | Id::CU_LAUNCH_ATTRIBUTE_PORTABLE_CLUSTER_SIZE_MODE
        | Id::CU_LAUNCH_ATTRIBUTE_SHARED_MEMORY_MODE => Ok(()),
        Id::CU_LAUNCH_ATTRIBUTE_DEVICE_UPDATABLE_KERNEL_NODE => Err(
            gvirtus_driver_face::unsupported("kernel nodes that kernels change"),
        ),
        _ => Err(INVALID),
    }
}

pub unsafe fn cuGraphKernelNodeGetAttribute(
    hNode: CUgraphNode,
    attr: CUkernelNodeAttrID,
    value_out: *mut CUkernelNodeAttrValue,
) -> Status {
    let kernel = kernel_of(hNode)?;
    check_attribute(attr)?;
    let known = kernel.attribute(attr).map(|Attribute(known)| known.value);
    let value = known.unwrap_or(CUlaunchAttributeValue { pad: [0; 64] });
    // SAFETY: the contract of cuda.h.
    unsafe { put(value_out, value) }
}

pub unsafe fn cuGraphKernelNodeSetAttribute(
    hNode: CUgraphNode,
    attr: CUkernelNodeAttrID,
    value: *const CUkernelNodeAttrValue,
) -> Status {
    check_attribute(attr)?;
    // SAFETY: the contract of cuda.h.
    let value = unsafe { get(value)? };
    with(|world| match &mut world.node_mut(hNode)?.payload {
        Payload::Kernel(kernel) => {
            kernel.attributes.retain(|known| known.0.id != attr);
            kernel.attributes.push(Attribute(attribute(attr, value)));
            Ok(())
        }
        _ => Err(INVALID),
    })
}

pub unsafe fn cuGraphKernelNodeCopyAttributes(dst: CUgraphNode, src: CUgraphNode) -> Status {
    let attributes = kernel_of(src)?.attributes;
    with(|world| match &mut world.node_mut(dst)?.payload {
        Payload::Kernel(kernel) => {
            kernel.attributes = attributes;
            Ok(())
        }
        _ => Err(INVALID),
    })
}
