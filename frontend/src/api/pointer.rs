// SPDX-License-Identifier: Apache-2.0
//! What is known of a pointer.

use std::ffi::c_void;

use gvirtus_abi::{CUdeviceptr, CUmemorytype, CUpointer_attribute as Attribute};

use super::{INVALID_VALUE, Status, required};
use crate::memory::{DeviceRange, HostRange, RangeKind};
use crate::process::session;
use crate::session::Session;

/// What `cuPointerGetAttributes` says of a pointer that CUDA does not know, instead of a device.
const NO_DEVICE: i32 = -2;
/// `CU_POINTER_ATTRIBUTE_ACCESS_FLAG_READWRITE`.
const READ_WRITE: u32 = 3;

/// Whose memory a pointer leads to.
enum Owner {
    Device(DeviceRange),
    Host(HostRange),
}

/// An attribute's value, in C's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    Word(u64),
    Half(u32),
}

/// `cuPointerGetAttribute`.
pub unsafe fn cuPointerGetAttribute(
    data: *mut c_void,
    attribute: Attribute,
    ptr: CUdeviceptr,
) -> Status {
    let session = session()?;
    let data = required(data)?;
    let owner = owner(session, ptr.0).ok_or(INVALID_VALUE)?;
    let value = value(session, &owner, attribute, ptr.0).ok_or(INVALID_VALUE)?;
    // SAFETY: the caller promises room for the attribute's type.
    unsafe { write(data, value) };
    Ok(())
}

/// `cuPointerGetAttributes`: what does not apply is null.
pub unsafe fn cuPointerGetAttributes(
    numAttributes: u32,
    attributes: *mut Attribute,
    data: *mut *mut c_void,
    ptr: CUdeviceptr,
) -> Status {
    let session = session()?;
    let (attributes, data) = (required(attributes)?, required(data)?);
    let owner = owner(session, ptr.0);
    for index in 0..numAttributes as usize {
        // SAFETY: the caller promises `numAttributes` elements.
        let (attribute, place) = unsafe { (attributes.add(index).read(), data.add(index).read()) };
        let known = owner
            .as_ref()
            .and_then(|owner| value(session, owner, attribute, ptr.0));
        let value = match known {
            Some(value) => value,
            None => unknown(attribute).ok_or(INVALID_VALUE)?,
        };
        // SAFETY: the caller promises room for the attribute's type.
        unsafe { write(required(place)?, value) };
    }
    Ok(())
}

/// `cuPointerSetAttribute`: copies are complete, or have left the application's memory, when their
/// call returns; so synchronous memory operations are what there is anyway.
pub unsafe fn cuPointerSetAttribute(
    value: *const c_void,
    attribute: Attribute,
    ptr: CUdeviceptr,
) -> Status {
    let session = session()?;
    required(value.cast_mut())?;
    match (attribute, owner(session, ptr.0)) {
        (Attribute::CU_POINTER_ATTRIBUTE_SYNC_MEMOPS, Some(Owner::Device(_))) => Ok(()),
        _ => Err(INVALID_VALUE),
    }
}

fn owner(session: &Session, address: u64) -> Option<Owner> {
    let device = session.device_ranges.read().find(address).copied();
    if let Some(range) = device.filter(|range| range.kind != RangeKind::Mapped) {
        return Some(Owner::Device(range));
    }
    let host = session.host_ranges.read().find(address).copied();
    host.map(Owner::Host)
}

fn value(session: &Session, owner: &Owner, attribute: Attribute, address: u64) -> Option<Value> {
    let (base, bytes, context, device, id) = match owner {
        Owner::Device(r) => (r.base, r.bytes, r.context, r.device, r.id),
        Owner::Host(r) => (r.base, r.bytes, r.context, r.device, r.id),
    };
    let is_device = matches!(owner, Owner::Device(_));
    let is_managed = matches!(owner, Owner::Device(range) if range.kind.is_managed());
    let is_virtual = matches!(owner, Owner::Device(range) if range.kind.is_virtual());
    Some(match attribute {
        // What is mapped belongs to no context.
        Attribute::CU_POINTER_ATTRIBUTE_CONTEXT if is_virtual => Value::Word(0),
        Attribute::CU_POINTER_ATTRIBUTE_CONTEXT => {
            Value::Word(session.contexts.lock().entry(context).handle().0)
        }
        Attribute::CU_POINTER_ATTRIBUTE_MEMORY_TYPE if is_device => {
            Value::Half(CUmemorytype::CU_MEMORYTYPE_DEVICE.0)
        }
        Attribute::CU_POINTER_ATTRIBUTE_MEMORY_TYPE => {
            Value::Half(CUmemorytype::CU_MEMORYTYPE_HOST.0)
        }
        Attribute::CU_POINTER_ATTRIBUTE_DEVICE_POINTER if is_device => Value::Word(address),
        Attribute::CU_POINTER_ATTRIBUTE_DEVICE_POINTER => {
            let mirrors = session.shared.mirrors.lock();
            let mirror = mirrors.find(address)?;
            Value::Word(mirror.device + (address - mirror.host))
        }
        Attribute::CU_POINTER_ATTRIBUTE_HOST_POINTER if is_managed => Value::Word(address),
        Attribute::CU_POINTER_ATTRIBUTE_IS_MANAGED => Value::Half(is_managed.into()),
        Attribute::CU_POINTER_ATTRIBUTE_HOST_POINTER if !is_device => Value::Word(address),
        Attribute::CU_POINTER_ATTRIBUTE_BUFFER_ID
        | Attribute::CU_POINTER_ATTRIBUTE_MEMORY_BLOCK_ID => Value::Word(id),
        Attribute::CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL => Value::Half(device),
        Attribute::CU_POINTER_ATTRIBUTE_RANGE_START_ADDR
        | Attribute::CU_POINTER_ATTRIBUTE_MAPPING_BASE_ADDR => Value::Word(base),
        Attribute::CU_POINTER_ATTRIBUTE_RANGE_SIZE
        | Attribute::CU_POINTER_ATTRIBUTE_MAPPING_SIZE => Value::Word(bytes),
        Attribute::CU_POINTER_ATTRIBUTE_MAPPED => Value::Half(1),
        Attribute::CU_POINTER_ATTRIBUTE_ACCESS_FLAGS => Value::Half(READ_WRITE),
        Attribute::CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE => match owner {
            Owner::Device(DeviceRange {
                kind: RangeKind::Pooled(number),
                ..
            }) => Value::Word(session.pool_of(device, *number)?.0),
            _ => Value::Word(0),
        },
        Attribute::CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE => {
            let is_capable =
                matches!(owner, Owner::Device(range) if range.kind == RangeKind::Memory);
            Value::Half(is_capable.into())
        }
        Attribute::CU_POINTER_ATTRIBUTE_SYNC_MEMOPS
        | Attribute::CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE
        | Attribute::CU_POINTER_ATTRIBUTE_IS_HW_DECOMPRESS_CAPABLE => Value::Half(0),
        Attribute::CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES => Value::Word(0),
        _ => return None,
    })
}

/// What a query of several attributes says of one that does not apply; nothing for one that does
/// not exist.
fn unknown(attribute: Attribute) -> Option<Value> {
    Some(match attribute {
        Attribute::CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL => Value::Half(NO_DEVICE.cast_unsigned()),
        Attribute::CU_POINTER_ATTRIBUTE_MEMORY_TYPE
        | Attribute::CU_POINTER_ATTRIBUTE_SYNC_MEMOPS
        | Attribute::CU_POINTER_ATTRIBUTE_IS_MANAGED
        | Attribute::CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE
        | Attribute::CU_POINTER_ATTRIBUTE_MAPPED
        | Attribute::CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE
        | Attribute::CU_POINTER_ATTRIBUTE_ACCESS_FLAGS
        | Attribute::CU_POINTER_ATTRIBUTE_IS_HW_DECOMPRESS_CAPABLE
        | Attribute::CU_POINTER_ATTRIBUTE_LOCALITY_DOMAIN_ORDINAL => Value::Half(0),
        Attribute::CU_POINTER_ATTRIBUTE_P2P_TOKENS => return None,
        other if other.name().is_some() => Value::Word(0),
        _ => return None,
    })
}

/// # Safety
///
/// `place` has room for the value.
unsafe fn write(place: *mut c_void, value: Value) {
    match value {
        // SAFETY: the caller's promise.
        Value::Word(word) => unsafe { place.cast::<u64>().write_unaligned(word) },
        // SAFETY: the caller's promise.
        Value::Half(half) => unsafe { place.cast::<u32>().write_unaligned(half) },
    }
}
