// SPDX-License-Identifier: Apache-2.0
//! The functions about stream-ordered memory (`cuda.h`: "Stream Ordered Memory Allocator").

use core::ffi::c_void;
use std::sync::Arc;

use gvirtus_abi::{
    CUdevice, CUdeviceptr, CUmemAccess_flags, CUmemAccessDesc, CUmemAllocationHandleType,
    CUmemAllocationType, CUmemLocation, CUmemLocationType, CUmemPool_attribute, CUmemPoolProps,
    CUmemoryPool, CUresult, CUstream,
};

use gvirtus_graph::{AllocationRequest, capture};

use super::arguments::{out, read_array};
use super::device::{Device, device};
use super::graph::stream_of;
use super::pool::{self, Pool, Properties};
use super::stream::{self, Target};
use super::{allocations, ipc, memory};

const INVALID: CUresult = CUresult::CUDA_ERROR_INVALID_VALUE;

/// The device of a location; other locations have no memory of their own here.
///
/// # Safety
///
/// `location` is a whole structure.
pub(super) unsafe fn device_of(location: &CUmemLocation) -> Result<&'static Device, CUresult> {
    match location.r#type {
        CUmemLocationType::CU_MEM_LOCATION_TYPE_DEVICE => {
            // SAFETY: the union holds an id for this type.
            device(CUdevice(unsafe { location.anonymous0.id }))
        }
        CUmemLocationType::CU_MEM_LOCATION_TYPE_HOST
        | CUmemLocationType::CU_MEM_LOCATION_TYPE_HOST_NUMA
        | CUmemLocationType::CU_MEM_LOCATION_TYPE_HOST_NUMA_CURRENT => Err(
            gvirtus_driver_face::unsupported("device memory functions with a host location"),
        ),
        _ => Err(INVALID),
    }
}

/// # Safety
///
/// `location` is null or points to a structure.
unsafe fn pool_device(
    location: *const CUmemLocation,
    kind: CUmemAllocationType,
) -> Result<&'static Device, CUresult> {
    if location.is_null() {
        return Err(INVALID);
    }
    match kind {
        CUmemAllocationType::CU_MEM_ALLOCATION_TYPE_PINNED => {}
        CUmemAllocationType::CU_MEM_ALLOCATION_TYPE_MANAGED => {
            return Err(gvirtus_driver_face::unsupported("pools of managed memory"));
        }
        _ => return Err(INVALID),
    }
    // SAFETY: not null, and then a structure by the caller's promise.
    unsafe { device_of(&location.read_unaligned()) }
}

pub(crate) unsafe fn cuMemPoolCreate(
    pool: *mut CUmemoryPool,
    poolProps: *const CUmemPoolProps,
) -> Result<(), CUresult> {
    if pool.is_null() || poolProps.is_null() {
        return Err(INVALID);
    }
    // SAFETY: the contract of cuda.h: not null, and then a structure.
    let given = unsafe { poolProps.read_unaligned() };
    // SAFETY: part of the structure.
    let device = unsafe { pool_device(&raw const given.location, given.allocType)? };
    match given.handleTypes {
        CUmemAllocationHandleType::CU_MEM_HANDLE_TYPE_NONE
        | CUmemAllocationHandleType::CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR => {}
        _ => return Err(CUresult::CUDA_ERROR_NOT_SUPPORTED),
    }
    let properties = Properties {
        handle_types: given.handleTypes,
        max_bytes: given.maxSize as u64,
    };
    out!(pool = pool::create(device, properties, false)?.handle);
    Ok(())
}

pub(crate) fn cuMemPoolDestroy(pool: CUmemoryPool) -> Result<(), CUresult> {
    pool::destroy(pool)
}

pub(crate) fn cuMemPoolTrimTo(pool: CUmemoryPool, minBytesToKeep: usize) -> Result<(), CUresult> {
    pool::find(pool)?.trim(minBytesToKeep as u64);
    Ok(())
}

pub(crate) unsafe fn cuMemPoolSetAttribute(
    pool: CUmemoryPool,
    attr: CUmemPool_attribute,
    value: *mut c_void,
) -> Result<(), CUresult> {
    use CUmemPool_attribute as A;
    let pool = pool::find(pool)?;
    if value.is_null() {
        return Err(INVALID);
    }
    if let Some(index) = reuse_index(attr) {
        // SAFETY: the contract of cuda.h: the attribute is an int.
        let value = unsafe { value.cast::<i32>().read_unaligned() };
        pool.change(|settings| settings.reuse[index] = i32::from(value != 0));
        return Ok(());
    }
    let is_word = matches!(
        attr,
        A::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD
            | A::CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH
            | A::CU_MEMPOOL_ATTR_USED_MEM_HIGH
    );
    if !is_word {
        return Err(INVALID);
    }
    // SAFETY: the contract of cuda.h: the attribute is a 64-bit number.
    let word = unsafe { value.cast::<u64>().read_unaligned() };
    match attr {
        A::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD => {
            pool.change(|settings| settings.release_threshold_bytes = word);
        }
        // High-water marks can only be put back.
        _ if word != 0 => return Err(INVALID),
        A::CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH => {
            pool.change(|settings| settings.reserved.high = settings.reserved.now);
        }
        _ => pool.change(|settings| settings.used.high = settings.used.now),
    }
    Ok(())
}

fn reuse_index(attribute: CUmemPool_attribute) -> Option<usize> {
    use CUmemPool_attribute as A;
    match attribute {
        A::CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES => Some(0),
        A::CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC => Some(1),
        A::CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES => Some(2),
        _ => None,
    }
}

pub(crate) unsafe fn cuMemPoolGetAttribute(
    pool: CUmemoryPool,
    attr: CUmemPool_attribute,
    value: *mut c_void,
) -> Result<(), CUresult> {
    use CUmemPool_attribute as A;
    let pool = pool::find(pool)?;
    let settings = pool.settings();
    let half = match attr {
        A::CU_MEMPOOL_ATTR_ALLOCATION_TYPE => {
            Some(CUmemAllocationType::CU_MEM_ALLOCATION_TYPE_PINNED.0)
        }
        A::CU_MEMPOOL_ATTR_EXPORT_HANDLE_TYPES => Some(pool.properties.handle_types.0),
        A::CU_MEMPOOL_ATTR_LOCATION_ID => Some(pool.device.ordinal.cast_unsigned()),
        A::CU_MEMPOOL_ATTR_LOCATION_TYPE => Some(CUmemLocationType::CU_MEM_LOCATION_TYPE_DEVICE.0),
        A::CU_MEMPOOL_ATTR_HW_DECOMPRESS_ENABLED => Some(0),
        attr => reuse_index(attr).map(|index| settings.reuse[index].cast_unsigned()),
    };
    if let Some(half) = half {
        let value = value.cast::<u32>();
        out!(value = half);
        return Ok(());
    }
    let word = match attr {
        A::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD => settings.release_threshold_bytes,
        A::CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT => settings.reserved.now,
        A::CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH => settings.reserved.high,
        A::CU_MEMPOOL_ATTR_USED_MEM_CURRENT => settings.used.now,
        A::CU_MEMPOOL_ATTR_USED_MEM_HIGH => settings.used.high,
        A::CU_MEMPOOL_ATTR_MAX_POOL_SIZE => match pool.properties.max_bytes {
            0 => pool.device.total_bytes,
            bytes => bytes,
        },
        _ => return Err(INVALID),
    };
    let value = value.cast::<u64>();
    out!(value = word);
    Ok(())
}

pub(crate) unsafe fn cuMemPoolSetAccess(
    pool: CUmemoryPool,
    map: *const CUmemAccessDesc,
    count: usize,
) -> Result<(), CUresult> {
    let pool = pool::find(pool)?;
    // SAFETY: the contract of cuda.h: null or so many elements.
    let wishes = unsafe { read_array(map, count) };
    if wishes.len() != count {
        return Err(INVALID);
    }
    let mut peers = Vec::new();
    for wish in wishes {
        // SAFETY: part of the structure.
        let device = unsafe { device_of(&wish.location)? };
        let is_allowed = match wish.flags {
            CUmemAccess_flags::CU_MEM_ACCESS_FLAGS_PROT_READWRITE => true,
            CUmemAccess_flags::CU_MEM_ACCESS_FLAGS_PROT_NONE => false,
            _ => return Err(INVALID),
        };
        let is_own = device.ordinal == pool.device.ordinal;
        if is_own && !is_allowed {
            return Err(INVALID);
        }
        if !is_own {
            peers.push((device, is_allowed));
        }
    }
    for (device, is_allowed) in peers {
        pool.set_access(device, is_allowed)?;
    }
    Ok(())
}

pub(crate) unsafe fn cuMemPoolGetAccess(
    flags: *mut CUmemAccess_flags,
    memPool: CUmemoryPool,
    location: *mut CUmemLocation,
) -> Result<(), CUresult> {
    let pool = pool::find(memPool)?;
    if location.is_null() {
        return Err(INVALID);
    }
    // SAFETY: the contract of cuda.h: not null, and then a structure.
    let location = unsafe { location.read_unaligned() };
    // SAFETY: a whole structure.
    let device = unsafe { device_of(&location)? };
    out!(
        flags = match pool.is_accessible_from(device.ordinal) {
            true => CUmemAccess_flags::CU_MEM_ACCESS_FLAGS_PROT_READWRITE,
            false => CUmemAccess_flags::CU_MEM_ACCESS_FLAGS_PROT_NONE,
        }
    );
    Ok(())
}

pub(crate) unsafe fn cuDeviceGetDefaultMemPool(
    pool_out: *mut CUmemoryPool,
    dev: CUdevice,
) -> Result<(), CUresult> {
    out!(pool_out = device(dev)?.default_pool()?.handle);
    Ok(())
}

pub(crate) unsafe fn cuDeviceGetMemPool(
    pool: *mut CUmemoryPool,
    dev: CUdevice,
) -> Result<(), CUresult> {
    out!(pool = device(dev)?.current_pool()?.handle);
    Ok(())
}

pub(crate) fn cuDeviceSetMemPool(dev: CUdevice, pool: CUmemoryPool) -> Result<(), CUresult> {
    let pool = pool::find(pool)?;
    set_current(device(dev)?, &pool)
}

fn set_current(device: &'static Device, pool: &Pool) -> Result<(), CUresult> {
    if pool.device.ordinal != device.ordinal || pool.imported.is_some() {
        return Err(INVALID);
    }
    device.default_pool()?;
    device.set_current_pool(pool);
    Ok(())
}

pub(crate) unsafe fn cuMemGetDefaultMemPool(
    pool_out: *mut CUmemoryPool,
    location: *mut CUmemLocation,
    type_: CUmemAllocationType,
) -> Result<(), CUresult> {
    // SAFETY: the same contract.
    let device = unsafe { pool_device(location, type_)? };
    out!(pool_out = device.default_pool()?.handle);
    Ok(())
}

pub(crate) unsafe fn cuMemGetMemPool(
    pool: *mut CUmemoryPool,
    location: *mut CUmemLocation,
    type_: CUmemAllocationType,
) -> Result<(), CUresult> {
    // SAFETY: the same contract.
    let device = unsafe { pool_device(location, type_)? };
    out!(pool = device.current_pool()?.handle);
    Ok(())
}

pub(crate) unsafe fn cuMemSetMemPool(
    location: *mut CUmemLocation,
    type_: CUmemAllocationType,
    pool: CUmemoryPool,
) -> Result<(), CUresult> {
    // SAFETY: the same contract.
    let device = unsafe { pool_device(location, type_)? };
    let pool = pool::find(pool)?;
    set_current(device, &pool)
}

pub(crate) unsafe fn cuMemAllocAsync(
    default_stream: CUstream,
    dptr: *mut CUdeviceptr,
    bytesize: usize,
    hStream: CUstream,
) -> Result<(), CUresult> {
    let target = stream::capturable(default_stream, hStream)?;
    let pool = target.context().device.current_pool()?;
    // SAFETY: the same contract.
    unsafe { allocate(dptr, bytesize, &pool, &target) }
}

pub(crate) unsafe fn cuMemAllocFromPoolAsync(
    default_stream: CUstream,
    dptr: *mut CUdeviceptr,
    bytesize: usize,
    pool: CUmemoryPool,
    hStream: CUstream,
) -> Result<(), CUresult> {
    let target = stream::capturable(default_stream, hStream)?;
    // SAFETY: the same contract.
    unsafe { allocate(dptr, bytesize, &pool::find(pool)?, &target) }
}

/// # Safety
///
/// `place` is null or valid for writing.
unsafe fn allocate(
    place: *mut CUdeviceptr,
    bytes: usize,
    pool: &Arc<Pool>,
    target: &Target,
) -> Result<(), CUresult> {
    if place.is_null() || bytes == 0 {
        return Err(INVALID);
    }
    if capture::is_possible() {
        let request = AllocationRequest {
            context: target.context().handle,
            device: pool.device.handle(),
            bytes,
        };
        if let Some(address) = capture::record_allocation(&stream_of(target), request)? {
            out!(place = address);
            return Ok(());
        }
    }
    out!(place = pool::allocate(pool, bytes, target)?);
    Ok(())
}

/// Memory of `cuMemAlloc` can be freed like this too; then the call waits for the stream.
pub(crate) fn cuMemFreeAsync(
    default_stream: CUstream,
    dptr: CUdeviceptr,
    hStream: CUstream,
) -> Result<(), CUresult> {
    let target = stream::capturable(default_stream, hStream)?;
    if dptr.0 == 0 {
        return Err(INVALID);
    }
    if capture::is_possible() && capture::record_free(&stream_of(&target), dptr)? {
        return Ok(());
    }
    if ipc::end_pointer_in_order(dptr.0, target.id())? {
        return target.context().error.check();
    }
    if let Some(pool) = pool::disown(dptr.0) {
        pool.free_in_order(dptr.0, target.id())?;
        return target.context().error.check();
    }
    match allocations::find(dptr.0) {
        Some(known) if known.base == dptr.0 && known.kind == allocations::Kind::Device => {
            super::scheduler::SCHEDULER.wait_stream(target.id());
            memory::cuMemFree_v2(dptr)
        }
        _ => Err(INVALID),
    }
}
