// SPDX-License-Identifier: Apache-2.0
//! What a pointer is (`cuda.h`: "Unified Addressing").

use core::ffi::c_void;

use gvirtus_abi::{CUcontext, CUdeviceptr, CUmemorytype, CUpointer_attribute, CUresult};

use gvirtus_driver_face::log;

use super::allocations::{self, Allocation, Kind};
use super::arguments::read_array;
use super::{context, pool};

/// `CU_DEVICE_INVALID`: the device of a pointer that CUDA does not know.
const NO_DEVICE: i32 = -2;

/// A value with the size that its attribute has; booleans are whole numbers, as cudart reads them.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Value {
    Word(u64),
    Number(u32),
}

impl Value {
    /// # Safety
    ///
    /// `place` is null or valid for writing as many bytes as the attribute has.
    unsafe fn write(self, place: *mut c_void) -> Result<(), CUresult> {
        use super::arguments::write;
        // SAFETY: the caller's promise; each variant has the size that cuda.h gives its attributes.
        unsafe {
            match self {
                Self::Word(value) => write(place.cast::<u64>(), value),
                Self::Number(value) => write(place.cast::<u32>(), value),
            }
        }
    }

    /// What `cuPointerGetAttributes` says where there is no answer.
    fn null(attribute: CUpointer_attribute) -> Result<Self, CUresult> {
        use CUpointer_attribute as A;
        Ok(match attribute {
            A::CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL => Self::Number(NO_DEVICE.cast_unsigned()),
            A::CU_POINTER_ATTRIBUTE_CONTEXT
            | A::CU_POINTER_ATTRIBUTE_DEVICE_POINTER
            | A::CU_POINTER_ATTRIBUTE_HOST_POINTER
            | A::CU_POINTER_ATTRIBUTE_BUFFER_ID
            | A::CU_POINTER_ATTRIBUTE_RANGE_START_ADDR
            | A::CU_POINTER_ATTRIBUTE_RANGE_SIZE
            | A::CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES
            | A::CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE => Self::Word(0),
            A::CU_POINTER_ATTRIBUTE_MEMORY_TYPE => Self::Number(0),
            A::CU_POINTER_ATTRIBUTE_IS_MANAGED
            | A::CU_POINTER_ATTRIBUTE_SYNC_MEMOPS
            | A::CU_POINTER_ATTRIBUTE_MAPPED
            | A::CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE
            | A::CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE
            | A::CU_POINTER_ATTRIBUTE_IS_HW_DECOMPRESS_CAPABLE => Self::Number(0),
            _ => return Err(CUresult::CUDA_ERROR_INVALID_VALUE),
        })
    }
}

/// The value of an attribute of a known pointer; nothing where it has none.
fn value(
    allocation: &Allocation,
    attribute: CUpointer_attribute,
    address: u64,
) -> Result<Option<Value>, CUresult> {
    use CUpointer_attribute as A;
    let is_host = allocation.kind.is_host();
    let is_managed = allocation.kind.is_managed();
    Ok(Some(match attribute {
        // Registered memory and variables belong to the device, not to one context.
        A::CU_POINTER_ATTRIBUTE_CONTEXT => Value::Word(allocation.context.0),
        A::CU_POINTER_ATTRIBUTE_MEMORY_TYPE => Value::Number(
            match is_host {
                true => CUmemorytype::CU_MEMORYTYPE_HOST,
                false => CUmemorytype::CU_MEMORYTYPE_DEVICE,
            }
            .0,
        ),
        // Kernels reach all page-locked memory, at its own address.
        A::CU_POINTER_ATTRIBUTE_DEVICE_POINTER => Value::Word(address),
        A::CU_POINTER_ATTRIBUTE_HOST_POINTER if is_host || is_managed => Value::Word(address),
        A::CU_POINTER_ATTRIBUTE_HOST_POINTER => return Ok(None),
        A::CU_POINTER_ATTRIBUTE_IS_MANAGED => Value::Number(is_managed.into()),
        A::CU_POINTER_ATTRIBUTE_SYNC_MEMOPS => Value::Number(allocation.sync_memops.into()),
        A::CU_POINTER_ATTRIBUTE_BUFFER_ID => Value::Word(allocation.buffer_id),
        A::CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL => {
            Value::Number(allocation.device_ordinal.cast_unsigned())
        }
        A::CU_POINTER_ATTRIBUTE_RANGE_START_ADDR => Value::Word(allocation.base),
        A::CU_POINTER_ATTRIBUTE_RANGE_SIZE => Value::Word(allocation.bytes),
        // Memory here is not localized.
        A::CU_POINTER_ATTRIBUTE_LOCALITY_DOMAIN_ORDINAL => Value::Number(u32::MAX),
        A::CU_POINTER_ATTRIBUTE_MAPPED => Value::Number(1),
        A::CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE if allocation.kind == Kind::Pooled => {
            Value::Word(pool::owner(allocation.base).map_or(0, |pool| pool.handle.0))
        }
        A::CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE => {
            Value::Number((allocation.kind == Kind::Device).into())
        }
        other => Value::null(other)?,
    }))
}

pub(crate) unsafe fn cuPointerGetAttribute(
    data: *mut c_void,
    attribute: CUpointer_attribute,
    ptr: CUdeviceptr,
) -> Result<(), CUresult> {
    log!(Trace, "cuPointerGetAttribute({attribute:?}, {:#x})", ptr.0);
    context::usable()?;
    let invalid = CUresult::CUDA_ERROR_INVALID_VALUE;
    let allocation = allocations::find(ptr.0).ok_or(invalid)?;
    let value = value(&allocation, attribute, ptr.0)?.ok_or(invalid)?;
    // SAFETY: the contract of cuda.h: null or a place for the attribute's type.
    unsafe { value.write(data) }
}

pub(crate) unsafe fn cuPointerGetAttributes(
    numAttributes: u32,
    attributes: *mut CUpointer_attribute,
    data: *mut *mut c_void,
    ptr: CUdeviceptr,
) -> Result<(), CUresult> {
    context::usable()?;
    if numAttributes == 0 || attributes.is_null() || data.is_null() {
        return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
    }
    // SAFETY: the contract of cuda.h: both arrays have that many elements.
    let attributes = unsafe { read_array(attributes.cast_const(), numAttributes as usize) };
    log!(
        Trace,
        "cuPointerGetAttributes({attributes:?}, {:#x})",
        ptr.0
    );
    // SAFETY: as above.
    let places = unsafe { read_array(data.cast_const(), numAttributes as usize) };
    let allocation = allocations::find(ptr.0);
    for (&attribute, &place) in attributes.iter().zip(places) {
        let found = match &allocation {
            Some(allocation) => value(allocation, attribute, ptr.0)?,
            None => None,
        };
        let value = match found {
            Some(value) => value,
            None => Value::null(attribute)?,
        };
        // SAFETY: the contract of cuda.h: null or a place for the attribute's type.
        unsafe { value.write(place)? };
    }
    Ok(())
}

/// Only the synchronization of memory operations can be set.
pub(crate) unsafe fn cuPointerSetAttribute(
    value: *const c_void,
    attribute: CUpointer_attribute,
    ptr: CUdeviceptr,
) -> Result<(), CUresult> {
    context::usable()?;
    let invalid = CUresult::CUDA_ERROR_INVALID_VALUE;
    let is_settable = attribute == CUpointer_attribute::CU_POINTER_ATTRIBUTE_SYNC_MEMOPS;
    if value.is_null() || !is_settable {
        return Err(invalid);
    }
    let allocation = allocations::find(ptr.0)
        .filter(|allocation| allocation.kind.is_allocated())
        .ok_or(invalid)?;
    // SAFETY: the contract of cuda.h: the attribute is an unsigned integer.
    let wanted = unsafe { value.cast::<u32>().read_unaligned() };
    allocations::set_sync_memops(allocation.base, wanted != 0);
    Ok(())
}

const _: () = assert!(size_of::<CUcontext>() == size_of::<u64>());
