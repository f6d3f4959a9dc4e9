// SPDX-License-Identifier: Apache-2.0
//! Stream-ordered memory: allocating is one round trip, because the address is a real one; freeing
//! is posted. Pools are made by the worker, under numbers that are minted here.

use std::ffi::c_void;

use gvirtus_abi::{
    CUdevice, CUdeviceptr, CUmemAccess_flags, CUmemAccessDesc, CUmemAllocationHandleType,
    CUmemAllocationType, CUmemLocation, CUmemLocationType, CUmemPool_attribute, CUmemPoolProps,
    CUmemoryPool, CUresult, CUstream,
};
use gvirtus_protocol::opcode::{self, Opcode};

use gvirtus_graph::{AllocationRequest, capture};

use super::memory::{Allocated, Place, allocate_at};
use super::{INVALID_VALUE, Status, graph_stream, put, required};
use crate::handle::{Key, Kind};
use crate::memory::RangeKind;
use crate::process::session;
use crate::session::{Session, StreamRef};

/// A pool that the application knows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pool {
    /// Ordinal of the device.
    pub(crate) device: u32,
}

/// `cuMemAllocAsync`.
pub unsafe fn cuMemAllocAsync(
    default_stream: CUstream,
    dptr: *mut CUdeviceptr,
    bytesize: usize,
    hStream: CUstream,
) -> Status {
    let session = session()?;
    let stream = session.capturable(default_stream, hStream)?;
    session.wire.faults().take_deferred()?;
    let words = [bytesize as u64, stream.number.into()];
    let device = session.contexts.device_of(stream.context)?;
    let streams = (default_stream, hStream);
    // SAFETY: the caller's promise.
    if unsafe { capture_allocation(session, streams, dptr, bytesize, device)? } {
        return Ok(());
    }
    let pool = session.current_pools.lock().get(&device).copied();
    let message = (opcode::cuMemAllocAsync, &words[..]);
    // SAFETY: the caller's promise.
    unsafe { allocate(session, dptr, stream, (device, pool), bytesize, message) }
}

/// `cuMemAllocFromPoolAsync`.
pub unsafe fn cuMemAllocFromPoolAsync(
    default_stream: CUstream,
    dptr: *mut CUdeviceptr,
    bytesize: usize,
    pool: CUmemoryPool,
    hStream: CUstream,
) -> Status {
    let session = session()?;
    let stream = session.capturable(default_stream, hStream)?;
    session.wire.faults().take_deferred()?;
    let (key, known) = session.pool(pool)?;
    let streams = (default_stream, hStream);
    // SAFETY: the caller's promise.
    if unsafe { capture_allocation(session, streams, dptr, bytesize, known.device)? } {
        return Ok(());
    }
    let words = [bytesize as u64, key.number().into(), stream.number.into()];
    let place = (known.device, Some(key.number()));
    let message = (opcode::cuMemAllocFromPoolAsync, &words[..]);
    // SAFETY: the caller's promise.
    unsafe { allocate(session, dptr, stream, place, bytesize, message) }
}

/// Whether an allocation has become a node.
///
/// # Safety
///
/// `place` is null or valid for writing.
unsafe fn capture_allocation(
    session: &Session,
    (default, stream): (CUstream, CUstream),
    place: *mut CUdeviceptr,
    bytes: usize,
    device: u32,
) -> Result<bool, CUresult> {
    if !capture::is_possible() {
        return Ok(false);
    }
    let stream = graph_stream(session, default, stream)?;
    let place = required(place)?;
    let request = AllocationRequest {
        context: stream.context,
        device: CUdevice(device.cast_signed()),
        bytes,
    };
    let Some(address) = capture::record_allocation(&stream, request)? else {
        return Ok(false);
    };
    // SAFETY: the caller's promise.
    unsafe { put(place, address)? };
    Ok(true)
}

/// # Safety
///
/// `place` is null or valid for writing.
unsafe fn allocate(
    session: &Session,
    place: *mut CUdeviceptr,
    stream: StreamRef,
    (device, pool): (u32, Option<u32>),
    bytes: usize,
    (opcode, words): (Opcode, &[u64]),
) -> Status {
    let place = required(place)?;
    if bytes == 0 {
        return Err(INVALID_VALUE);
    }
    let ask = || {
        let reply = session.call_words(opcode, stream.context, words)?;
        Ok(Allocated {
            address: reply.promised_word(0)?,
            bytes: bytes as u64,
            pitch_bytes: 0,
        })
    };
    let wanted = Place {
        context: stream.context,
        device,
        kind: RangeKind::Pooled(pool),
    };
    let allocated = allocate_at(session, wanted, ask)?;
    // SAFETY: the caller's promise.
    unsafe { put(place, CUdeviceptr(allocated.address)) }
}

/// `cuMemFreeAsync`: posted.
pub unsafe fn cuMemFreeAsync(
    default_stream: CUstream,
    dptr: CUdeviceptr,
    hStream: CUstream,
) -> Status {
    let session = session()?;
    let stream = session.capturable(default_stream, hStream)?;
    session.wire.faults().take_deferred()?;
    if capture::is_possible() {
        let stream = graph_stream(session, default_stream, hStream)?;
        if capture::record_free(&stream, dptr)? {
            return Ok(());
        }
    }
    if gvirtus_graph::free_outside(dptr)? {
        return Ok(());
    }
    let mut ranges = session.device_ranges.write();
    let range = match ranges.starting_at(dptr.0) {
        Some(range) if range.kind.is_freed_as_memory() => *range,
        _ => return Err(INVALID_VALUE),
    };
    ranges.remove(range.base);
    drop(ranges);
    let words = [range.base, stream.number.into()];
    session.post_words(opcode::cuMemFreeAsync, stream.context, &words)
}

/// `cuMemPoolCreate`.
pub unsafe fn cuMemPoolCreate(pool: *mut CUmemoryPool, poolProps: *const CUmemPoolProps) -> Status {
    let session = session()?;
    let (pool, properties) = (required(pool)?, required(poolProps.cast_mut())?);
    // SAFETY: not null, and then a structure by the caller's promise.
    let p = unsafe { properties.read() };
    // SAFETY: part of a whole structure.
    let device = unsafe { pool_device(session, &p.location, p.allocType)? };
    match p.handleTypes {
        CUmemAllocationHandleType::CU_MEM_HANDLE_TYPE_NONE
        | CUmemAllocationHandleType::CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR => {}
        _ => {
            return Err(gvirtus_driver_face::unsupported(
                "pools with other handle types than file descriptors",
            ));
        }
    }
    let key = session.pools.insert(Pool { device });
    let key = key.ok_or(CUresult::CUDA_ERROR_OUT_OF_MEMORY)?;
    let words = [
        key.number().into(),
        p.allocType.0.into(),
        p.handleTypes.0.into(),
        p.location.r#type.0.into(),
        device.into(),
        p.maxSize as u64,
        p.usage.into(),
    ];
    let context = session.current_number();
    if let Err(status) = session.call_words(opcode::cuMemPoolCreate, context, &words) {
        session.pools.retire(key);
        session.pools.release(key);
        return Err(status);
    }
    // SAFETY: the caller's promise.
    unsafe { put(pool, CUmemoryPool(key.handle(Kind::Pool))) }
}

/// `cuMemPoolDestroy`.
pub unsafe fn cuMemPoolDestroy(pool: CUmemoryPool) -> Status {
    let session = session()?;
    let (key, _) = session.pool(pool)?;
    let (context, words) = (session.current_number(), [key.number().into()]);
    session.call_words(opcode::cuMemPoolDestroy, context, &words)?;
    let mut current = session.current_pools.lock();
    current.retain(|_, number| *number != key.number());
    drop(current);
    if session.pools.retire(key).is_some() {
        session.pools.release(key);
    }
    Ok(())
}

/// `cuMemPoolTrimTo`.
pub unsafe fn cuMemPoolTrimTo(pool: CUmemoryPool, minBytesToKeep: usize) -> Status {
    let session = session()?;
    let (key, _) = session.pool(pool)?;
    let words = [key.number().into(), minBytesToKeep as u64];
    let context = session.current_number();
    session.call_words(opcode::cuMemPoolTrimTo, context, &words)?;
    Ok(())
}

/// `cuMemPoolSetAttribute`.
pub unsafe fn cuMemPoolSetAttribute(
    pool: CUmemoryPool,
    attr: CUmemPool_attribute,
    value: *mut c_void,
) -> Status {
    let session = session()?;
    let (key, _) = session.pool(pool)?;
    let value = required(value)?;
    let word = match is_word(attr) {
        // SAFETY: the caller promises the attribute's type.
        Some(true) => unsafe { value.cast::<u64>().read_unaligned() },
        // SAFETY: as above.
        Some(false) => u64::from(unsafe { value.cast::<u32>().read_unaligned() }),
        None => return Err(INVALID_VALUE),
    };
    let words = [key.number().into(), attr.0.into(), word];
    let context = session.current_number();
    session.call_words(opcode::cuMemPoolSetAttribute, context, &words)?;
    Ok(())
}

/// `cuMemPoolGetAttribute`.
pub unsafe fn cuMemPoolGetAttribute(
    pool: CUmemoryPool,
    attr: CUmemPool_attribute,
    value: *mut c_void,
) -> Status {
    let session = session()?;
    let (key, _) = session.pool(pool)?;
    let value = required(value)?;
    let is_word = is_word(attr).ok_or(INVALID_VALUE)?;
    let words = [key.number().into(), attr.0.into()];
    let context = session.current_number();
    let reply = session.call_words(opcode::cuMemPoolGetAttribute, context, &words)?;
    let word = reply.promised_word(0)?;
    match is_word {
        // SAFETY: the caller promises room for the attribute's type.
        true => unsafe { value.cast::<u64>().write_unaligned(word) },
        // SAFETY: as above.
        #[allow(clippy::cast_possible_truncation, reason = "the attribute is an int")]
        false => unsafe { value.cast::<u32>().write_unaligned(word as u32) },
    }
    Ok(())
}

/// Whether an attribute has 64 bits, or 32; nothing for one that does not exist.
fn is_word(attribute: CUmemPool_attribute) -> Option<bool> {
    use CUmemPool_attribute as A;
    match attribute {
        A::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD
        | A::CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT
        | A::CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH
        | A::CU_MEMPOOL_ATTR_USED_MEM_CURRENT
        | A::CU_MEMPOOL_ATTR_USED_MEM_HIGH
        | A::CU_MEMPOOL_ATTR_MAX_POOL_SIZE => Some(true),
        other => other.name().map(|_| false),
    }
}

/// `cuMemPoolSetAccess`.
pub unsafe fn cuMemPoolSetAccess(
    pool: CUmemoryPool,
    map: *const CUmemAccessDesc,
    count: usize,
) -> Status {
    let session = session()?;
    let (key, _) = session.pool(pool)?;
    let mut words = vec![key.number().into()];
    if count > session.devices.len() {
        return Err(INVALID_VALUE);
    }
    for index in 0..count {
        // SAFETY: the caller promises `count` elements.
        let wish = unsafe { required(map.cast_mut())?.add(index).read() };
        // SAFETY: all variants of the union lie in the id.
        let id = unsafe { wish.location.anonymous0.id };
        words.extend([
            wish.location.r#type.0.into(),
            id.cast_unsigned().into(),
            u64::from(wish.flags.0),
        ]);
    }
    let context = session.current_number();
    session.call_words(opcode::cuMemPoolSetAccess, context, &words)?;
    Ok(())
}

/// `cuMemPoolGetAccess`.
pub unsafe fn cuMemPoolGetAccess(
    flags: *mut CUmemAccess_flags,
    memPool: CUmemoryPool,
    location: *mut CUmemLocation,
) -> Status {
    let session = session()?;
    let (key, _) = session.pool(memPool)?;
    // SAFETY: not null, and then a structure by the caller's promise.
    let location = unsafe { required(location)?.read() };
    // SAFETY: all variants of the union lie in the id.
    let id = unsafe { location.anonymous0.id };
    let words = [
        key.number().into(),
        location.r#type.0.into(),
        id.cast_unsigned().into(),
    ];
    let context = session.current_number();
    let reply = session.call_words(opcode::cuMemPoolGetAccess, context, &words)?;
    let value = u32::try_from(reply.promised_word(0)?).unwrap_or(0);
    // SAFETY: the caller's promise.
    unsafe { put(flags, CUmemAccess_flags(value)) }
}

/// `cuDeviceGetDefaultMemPool`.
pub unsafe fn cuDeviceGetDefaultMemPool(pool_out: *mut CUmemoryPool, dev: CUdevice) -> Status {
    // SAFETY: the caller's promise.
    unsafe { put_device_pool(pool_out, dev, opcode::cuDeviceGetDefaultMemPool) }
}

/// `cuDeviceGetMemPool`.
pub unsafe fn cuDeviceGetMemPool(pool: *mut CUmemoryPool, dev: CUdevice) -> Status {
    // SAFETY: the caller's promise.
    unsafe { put_device_pool(pool, dev, opcode::cuDeviceGetMemPool) }
}

/// `cuDeviceSetMemPool`.
pub unsafe fn cuDeviceSetMemPool(dev: CUdevice, pool: CUmemoryPool) -> Status {
    let session = session()?;
    session.device(dev)?;
    let (key, known) = session.pool(pool)?;
    if i32::try_from(known.device) != Ok(dev.0) {
        return Err(INVALID_VALUE);
    }
    let words = [known.device.into(), key.number().into()];
    let context = session.current_number();
    session.call_words(opcode::cuDeviceSetMemPool, context, &words)?;
    let mut current = session.current_pools.lock();
    current.insert(known.device, key.number());
    Ok(())
}

/// `cuMemGetDefaultMemPool`.
pub unsafe fn cuMemGetDefaultMemPool(
    pool_out: *mut CUmemoryPool,
    location: *mut CUmemLocation,
    type_: CUmemAllocationType,
) -> Status {
    // SAFETY: the caller's promise.
    let device = unsafe { device_at(location, type_)? };
    // SAFETY: the caller's promise.
    unsafe { cuDeviceGetDefaultMemPool(pool_out, device) }
}

/// `cuMemGetMemPool`.
pub unsafe fn cuMemGetMemPool(
    pool: *mut CUmemoryPool,
    location: *mut CUmemLocation,
    type_: CUmemAllocationType,
) -> Status {
    // SAFETY: the caller's promise.
    let device = unsafe { device_at(location, type_)? };
    // SAFETY: the caller's promise.
    unsafe { cuDeviceGetMemPool(pool, device) }
}

/// `cuMemSetMemPool`.
pub unsafe fn cuMemSetMemPool(
    location: *mut CUmemLocation,
    type_: CUmemAllocationType,
    pool: CUmemoryPool,
) -> Status {
    // SAFETY: the caller's promise.
    let device = unsafe { device_at(location, type_)? };
    // SAFETY: the caller's promise.
    unsafe { cuDeviceSetMemPool(device, pool) }
}

/// # Safety
///
/// `location` is null or a structure.
unsafe fn device_at(
    location: *mut CUmemLocation,
    kind: CUmemAllocationType,
) -> Result<CUdevice, CUresult> {
    let session = session()?;
    // SAFETY: not null, and then a structure by the caller's promise.
    let location = unsafe { required(location)?.read() };
    // SAFETY: a whole structure.
    let device = unsafe { pool_device(session, &location, kind)? };
    Ok(CUdevice(device.cast_signed()))
}

/// # Safety
///
/// `location` is a whole structure.
unsafe fn pool_device(
    session: &Session,
    location: &CUmemLocation,
    kind: CUmemAllocationType,
) -> Result<u32, CUresult> {
    match (kind, location.r#type) {
        (
            CUmemAllocationType::CU_MEM_ALLOCATION_TYPE_PINNED,
            CUmemLocationType::CU_MEM_LOCATION_TYPE_DEVICE,
        ) => {
            // SAFETY: the union holds an id for this type.
            let id = unsafe { location.anonymous0.id };
            session.device(CUdevice(id))?;
            u32::try_from(id).map_err(|_| CUresult::CUDA_ERROR_INVALID_DEVICE)
        }
        (CUmemAllocationType::CU_MEM_ALLOCATION_TYPE_INVALID, _)
        | (_, CUmemLocationType::CU_MEM_LOCATION_TYPE_INVALID) => Err(INVALID_VALUE),
        _ => Err(gvirtus_driver_face::unsupported(
            "pools of other memory than a device's",
        )),
    }
}

/// # Safety
///
/// `place` is null or valid for writing.
unsafe fn put_device_pool(place: *mut CUmemoryPool, dev: CUdevice, opcode: Opcode) -> Status {
    let session = session()?;
    let place = required(place)?;
    let handle = session.device_pool(dev, opcode)?;
    // SAFETY: the caller's promise.
    unsafe { put(place, handle) }
}

impl Session {
    /// One of the pools that a device has.
    fn device_pool(&self, dev: CUdevice, opcode: Opcode) -> Result<CUmemoryPool, CUresult> {
        let session = self;
        session.device(dev)?;
        let device = dev.0.cast_unsigned();
        // The worker takes this number if the pool has none yet.
        let spare = session.pools.insert(Pool { device });
        let spare = spare.ok_or(CUresult::CUDA_ERROR_OUT_OF_MEMORY)?;
        let words = [device.into(), spare.number().into()];
        let reply = session.call_words(opcode, session.current_number(), &words);
        let number = reply.and_then(|reply| reply.promised_word(0));
        if number != Ok(spare.number().into()) {
            session.pools.retire(spare);
            session.pools.release(spare);
        }
        let number = u32::try_from(number?).unwrap_or(0);
        let key = session.pools.key_of_number(number);
        let handle = key.ok_or(CUresult::CUDA_ERROR_UNKNOWN)?.handle(Kind::Pool);
        Ok(CUmemoryPool(handle))
    }

    /// The pool of an allocation, as `CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE` tells.
    pub(crate) fn pool_of(&self, device: u32, number: Option<u32>) -> Option<CUmemoryPool> {
        match number {
            Some(number) => {
                let key = self.pools.key_of_number(number)?;
                Some(CUmemoryPool(key.handle(Kind::Pool)))
            }
            None => {
                let device = CUdevice(device.cast_signed());
                self.device_pool(device, opcode::cuDeviceGetDefaultMemPool)
                    .ok()
            }
        }
    }

    /// The pool behind a handle.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_INVALID_VALUE`.
    pub(super) fn pool(&self, handle: CUmemoryPool) -> Result<(Key, Pool), CUresult> {
        let find = || {
            let key = Key::of(handle.0, Kind::Pool)?;
            Some((key, self.pools.get(key)?))
        };
        find().ok_or(INVALID_VALUE)
    }
}
