// SPDX-License-Identifier: Apache-2.0
//! Allocation and free nodes, and what a device tells of their memory.

use core::ffi::c_void;
use std::sync::Arc;

use gvirtus_abi::{
    CUDA_MEM_ALLOC_NODE_PARAMS, CUcontext, CUdevice, CUdeviceptr, CUgraph,
    CUgraphMem_attribute as Attribute, CUgraphNode, CUmemAllocationType, CUmemLocationType,
    CUresult,
};

use super::{INVALID, Status, append, get, list, payload_of, put};
use crate::memory::{GraphMemory, counters, reset_high, trim};
use crate::payload::{AllocationRequest, Payload};
use crate::platform::platform;

/// Devices that make sense in a list of them.
const ACCESS_MAX: usize = 1 << 10;

/// The memory of a new allocation node.
///
/// # Safety
///
/// The access descriptors are as many as it says.
pub(super) unsafe fn allocate(
    params: &CUDA_MEM_ALLOC_NODE_PARAMS,
) -> Result<Arc<GraphMemory>, CUresult> {
    let platform = platform()?;
    let context = platform.context(CUcontext::NULL)?;
    let location = params.poolProps.location;
    let is_device = location.r#type == CUmemLocationType::CU_MEM_LOCATION_TYPE_DEVICE;
    let is_pinned = CUmemAllocationType::CU_MEM_ALLOCATION_TYPE_PINNED;
    if !is_device || params.poolProps.allocType != is_pinned || params.bytesize == 0 {
        return Err(INVALID);
    }
    if params.poolProps.handleTypes.0 != 0 {
        return Err(CUresult::CUDA_ERROR_NOT_SUPPORTED);
    }
    let device = CUdevice(location_id(params));
    platform.check_device(device)?;
    if params.accessDescCount > ACCESS_MAX {
        return Err(INVALID);
    }
    // SAFETY: the caller's promise.
    let access = unsafe { list(params.accessDescs, params.accessDescCount)? };
    for wish in access {
        if wish.location.r#type != CUmemLocationType::CU_MEM_LOCATION_TYPE_DEVICE {
            return Err(INVALID);
        }
        // SAFETY: of a location that is a device, it is its ordinal.
        platform.check_device(CUdevice(unsafe { wish.location.anonymous0.id }))?;
    }
    let request = AllocationRequest {
        context,
        device,
        bytes: params.bytesize,
    };
    GraphMemory::of_node(request, *params, access.into()).map(Arc::new)
}

fn location_id(params: &CUDA_MEM_ALLOC_NODE_PARAMS) -> i32 {
    // SAFETY: of a location that is a device, it is its ordinal.
    unsafe { params.poolProps.location.anonymous0.id }
}

pub unsafe fn cuGraphAddMemAllocNode(
    phGraphNode: *mut CUgraphNode,
    hGraph: CUgraph,
    dependencies: *const CUgraphNode,
    numDependencies: usize,
    nodeParams: *mut CUDA_MEM_ALLOC_NODE_PARAMS,
) -> Status {
    // SAFETY: the contract of cuda.h.
    let params = unsafe { get(nodeParams.cast_const())? };
    // SAFETY: the contract of cuda.h.
    let memory = unsafe { allocate(&params)? };
    let address = memory.address();
    let payload = Payload::Allocate(memory);
    // SAFETY: the contract of cuda.h.
    unsafe { append(phGraphNode, hGraph, dependencies, numDependencies, payload)? };
    let params = CUDA_MEM_ALLOC_NODE_PARAMS {
        dptr: address,
        ..params
    };
    // SAFETY: the contract of cuda.h: input and output.
    unsafe { put(nodeParams, params) }
}

pub unsafe fn cuGraphMemAllocNodeGetParams(
    hNode: CUgraphNode,
    params_out: *mut CUDA_MEM_ALLOC_NODE_PARAMS,
) -> Status {
    let Payload::Allocate(memory) = payload_of(hNode)? else {
        return Err(INVALID);
    };
    let params = memory.parameters().ok_or(INVALID)?;
    // SAFETY: the contract of cuda.h.
    unsafe { put(params_out, params) }
}

pub unsafe fn cuGraphAddMemFreeNode(
    phGraphNode: *mut CUgraphNode,
    hGraph: CUgraph,
    dependencies: *const CUgraphNode,
    numDependencies: usize,
    dptr: CUdeviceptr,
) -> Status {
    platform()?.ready()?;
    check_free(hGraph, dptr)?;
    let payload = Payload::Free(dptr);
    // SAFETY: the contract of cuda.h.
    unsafe { append(phGraphNode, hGraph, dependencies, numDependencies, payload) }
}

/// As [`crate::world::World::check_free`].
pub(super) fn check_free(graph: CUgraph, address: CUdeviceptr) -> Status {
    crate::world::with(|world| {
        let (id, _) = world.graph(graph)?;
        world.check_free(id, address)
    })
}

pub unsafe fn cuGraphMemFreeNodeGetParams(
    hNode: CUgraphNode,
    dptr_out: *mut CUdeviceptr,
) -> Status {
    match payload_of(hNode)? {
        // SAFETY: the contract of cuda.h.
        Payload::Free(address) => unsafe { put(dptr_out, address) },
        _ => Err(INVALID),
    }
}

pub unsafe fn cuDeviceGraphMemTrim(device: CUdevice) -> Status {
    platform()?.check_device(device)?;
    trim(device);
    Ok(())
}

pub unsafe fn cuDeviceGetGraphMemAttribute(
    device: CUdevice,
    attr: Attribute,
    value: *mut c_void,
) -> Status {
    platform()?.check_device(device)?;
    let counters = counters(device);
    let count = match attr {
        Attribute::CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT => counters.used,
        Attribute::CU_GRAPH_MEM_ATTR_USED_MEM_HIGH => counters.used_high,
        Attribute::CU_GRAPH_MEM_ATTR_RESERVED_MEM_CURRENT => counters.reserved,
        Attribute::CU_GRAPH_MEM_ATTR_RESERVED_MEM_HIGH => counters.reserved_high,
        _ => return Err(INVALID),
    };
    // SAFETY: the contract of cuda.h: a cuuint64_t.
    unsafe { put(value.cast::<u64>(), count) }
}

/// High-water marks can be set back, to zero only, which means to what is in use.
pub unsafe fn cuDeviceSetGraphMemAttribute(
    device: CUdevice,
    attr: Attribute,
    value: *mut c_void,
) -> Status {
    platform()?.check_device(device)?;
    // SAFETY: the contract of cuda.h: a cuuint64_t.
    let value = unsafe { get(value.cast_const().cast::<u64>())? };
    let is_used = match attr {
        Attribute::CU_GRAPH_MEM_ATTR_USED_MEM_HIGH => true,
        Attribute::CU_GRAPH_MEM_ATTR_RESERVED_MEM_HIGH => false,
        _ => return Err(INVALID),
    };
    if value != 0 {
        return Err(INVALID);
    }
    reset_high(device, is_used);
    Ok(())
}
