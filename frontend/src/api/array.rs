// SPDX-License-Identifier: Apache-2.0
//! Arrays and mipmapped arrays: made with one round trip, ended with none.

use gvirtus_abi::{
    CUDA_ARRAY_DESCRIPTOR, CUDA_ARRAY_MEMORY_REQUIREMENTS, CUDA_ARRAY_SPARSE_PROPERTIES,
    CUDA_ARRAY3D_DEFERRED_MAPPING, CUDA_ARRAY3D_DESCRIPTOR, CUDA_ARRAY3D_SPARSE, CUarray, CUdevice,
    CUmipmappedArray,
};
use gvirtus_protocol::command::{ArrayCreate, ArrayLevel};
use gvirtus_protocol::opcode::{self, Opcode};
use zerocopy::IntoBytes as _;
use zerocopy::little_endian::{U32, U64};

use super::{INVALID_VALUE, Status, put, required};
use crate::array::{Array, Mipmap, level_descriptor};
use crate::process::session;
use crate::session::Session;

fn create(
    session: &Session,
    opcode: Opcode,
    descriptor: &CUDA_ARRAY3D_DESCRIPTOR,
    levels: u32,
) -> Result<(u64, u16), gvirtus_abi::CUresult> {
    let context = session.current()?.number;
    let body = ArrayCreate {
        width: U64::new(descriptor.Width as u64),
        height: U64::new(descriptor.Height as u64),
        depth: U64::new(descriptor.Depth as u64),
        format: U32::new(descriptor.Format.0),
        channels: U32::new(descriptor.NumChannels),
        flags: U32::new(descriptor.Flags),
        levels: U32::new(levels),
    };
    let reply = session.call_or_deferred(opcode, context, body.as_bytes())?;
    Ok((reply.promised_word(0)?, context))
}

fn create_array(descriptor: CUDA_ARRAY3D_DESCRIPTOR) -> Result<CUarray, gvirtus_abi::CUresult> {
    let session = session()?;
    let (handle, context) = create(session, opcode::cuArray3DCreate_v2, &descriptor, 1)?;
    let array = Array {
        context,
        descriptor,
        parent: None,
    };
    session.arrays.insert_array(CUarray(handle), array);
    Ok(CUarray(handle))
}

/// `cuArrayCreate_v2`.
pub unsafe fn cuArrayCreate_v2(
    pHandle: *mut CUarray,
    pAllocateArray: *const CUDA_ARRAY_DESCRIPTOR,
) -> Status {
    let (pHandle, descriptor) = (required(pHandle)?, required(pAllocateArray.cast_mut())?);
    // SAFETY: not null, and then valid for reading by the caller's promise.
    let flat = unsafe { descriptor.read() };
    let array = create_array(CUDA_ARRAY3D_DESCRIPTOR {
        Width: flat.Width,
        Height: flat.Height,
        Depth: 0,
        Format: flat.Format,
        NumChannels: flat.NumChannels,
        Flags: 0,
    })?;
    // SAFETY: the caller's promise.
    unsafe { put(pHandle, array) }
}

/// `cuArray3DCreate_v2`.
pub unsafe fn cuArray3DCreate_v2(
    pHandle: *mut CUarray,
    pAllocateArray: *const CUDA_ARRAY3D_DESCRIPTOR,
) -> Status {
    let (pHandle, descriptor) = (required(pHandle)?, required(pAllocateArray.cast_mut())?);
    // SAFETY: not null, and then valid for reading by the caller's promise.
    let array = create_array(unsafe { descriptor.read() })?;
    // SAFETY: the caller's promise.
    unsafe { put(pHandle, array) }
}

/// `cuArrayGetDescriptor_v2`.
pub unsafe fn cuArrayGetDescriptor_v2(
    pArrayDescriptor: *mut CUDA_ARRAY_DESCRIPTOR,
    hArray: CUarray,
) -> Status {
    let session = session()?;
    session.current()?;
    let descriptor = session.arrays.array(hArray)?.descriptor;
    let flat = CUDA_ARRAY_DESCRIPTOR {
        Width: descriptor.Width,
        Height: descriptor.Height,
        Format: descriptor.Format,
        NumChannels: descriptor.NumChannels,
    };
    // SAFETY: the caller's promise.
    unsafe { put(pArrayDescriptor, flat) }
}

/// `cuArray3DGetDescriptor_v2`.
pub unsafe fn cuArray3DGetDescriptor_v2(
    pArrayDescriptor: *mut CUDA_ARRAY3D_DESCRIPTOR,
    hArray: CUarray,
) -> Status {
    let session = session()?;
    session.current()?;
    let descriptor = session.arrays.array(hArray)?.descriptor;
    // SAFETY: the caller's promise.
    unsafe { put(pArrayDescriptor, descriptor) }
}

/// Memory that is mapped into an array later cannot be had, so of every array these are refused.
fn check_has(descriptor: &CUDA_ARRAY3D_DESCRIPTOR, flag: u32, what: &'static str) -> Status {
    match descriptor.Flags & flag {
        0 => Err(INVALID_VALUE),
        _ => Err(gvirtus_driver_face::unsupported(what)),
    }
}

/// `cuArrayGetSparseProperties`.
pub unsafe fn cuArrayGetSparseProperties(
    sparseProperties: *mut CUDA_ARRAY_SPARSE_PROPERTIES,
    array: CUarray,
) -> Status {
    let session = session()?;
    required(sparseProperties)?;
    let descriptor = session.arrays.array(array)?.descriptor;
    check_has(
        &descriptor,
        CUDA_ARRAY3D_SPARSE,
        "properties of a sparse array",
    )
}

/// `cuMipmappedArrayGetSparseProperties`.
pub unsafe fn cuMipmappedArrayGetSparseProperties(
    sparseProperties: *mut CUDA_ARRAY_SPARSE_PROPERTIES,
    mipmap: CUmipmappedArray,
) -> Status {
    let session = session()?;
    required(sparseProperties)?;
    let descriptor = session.arrays.mipmap(mipmap)?.descriptor;
    check_has(
        &descriptor,
        CUDA_ARRAY3D_SPARSE,
        "properties of a sparse array",
    )
}

/// `cuArrayGetMemoryRequirements`: of arrays whose memory is mapped later.
pub unsafe fn cuArrayGetMemoryRequirements(
    memoryRequirements: *mut CUDA_ARRAY_MEMORY_REQUIREMENTS,
    array: CUarray,
    device: CUdevice,
) -> Status {
    let session = session()?;
    required(memoryRequirements)?;
    session.device(device)?;
    let descriptor = session.arrays.array(array)?.descriptor;
    let flag = CUDA_ARRAY3D_DEFERRED_MAPPING;
    check_has(&descriptor, flag, "memory requirements of an array")
}

/// `cuMipmappedArrayGetMemoryRequirements`: of arrays whose memory is mapped later.
pub unsafe fn cuMipmappedArrayGetMemoryRequirements(
    memoryRequirements: *mut CUDA_ARRAY_MEMORY_REQUIREMENTS,
    mipmap: CUmipmappedArray,
    device: CUdevice,
) -> Status {
    let session = session()?;
    required(memoryRequirements)?;
    session.device(device)?;
    let descriptor = session.arrays.mipmap(mipmap)?.descriptor;
    let flag = CUDA_ARRAY3D_DEFERRED_MAPPING;
    check_has(&descriptor, flag, "memory requirements of an array")
}

/// `cuArrayDestroy`: posted. A level ends with its mipmapped array.
pub unsafe fn cuArrayDestroy(hArray: CUarray) -> Status {
    let session = session()?;
    session.wire.faults().check()?;
    if session.arrays.array(hArray)?.parent.is_some() {
        return Err(gvirtus_abi::CUresult::CUDA_ERROR_INVALID_HANDLE);
    }
    let array = session.arrays.remove_array(hArray)?;
    session.post_word(opcode::cuArrayDestroy, array.context, hArray.0)?;
    session.wire.faults().take_deferred()
}

/// `cuMipmappedArrayCreate`.
pub unsafe fn cuMipmappedArrayCreate(
    pHandle: *mut CUmipmappedArray,
    pMipmappedArrayDesc: *const CUDA_ARRAY3D_DESCRIPTOR,
    numMipmapLevels: u32,
) -> Status {
    let session = session()?;
    let (pHandle, descriptor) = (
        required(pHandle)?,
        required(pMipmappedArrayDesc.cast_mut())?,
    );
    // SAFETY: not null, and then valid for reading by the caller's promise.
    let descriptor = unsafe { descriptor.read() };
    let opcode = opcode::cuMipmappedArrayCreate;
    let (handle, context) = create(session, opcode, &descriptor, numMipmapLevels)?;
    let mipmap = Mipmap {
        context,
        descriptor,
    };
    session
        .arrays
        .insert_mipmap(CUmipmappedArray(handle), mipmap);
    // SAFETY: the caller's promise.
    unsafe { put(pHandle, CUmipmappedArray(handle)) }
}

/// `cuMipmappedArrayGetLevel`.
pub unsafe fn cuMipmappedArrayGetLevel(
    pLevelArray: *mut CUarray,
    hMipmappedArray: CUmipmappedArray,
    level: u32,
) -> Status {
    let session = session()?;
    let pLevelArray = required(pLevelArray)?;
    let mipmap = session.arrays.mipmap(hMipmappedArray)?;
    let body = ArrayLevel {
        mipmap: U64::new(hMipmappedArray.0),
        level: U32::new(level),
    };
    let opcode = opcode::cuMipmappedArrayGetLevel;
    let reply = session.call_or_deferred(opcode, mipmap.context, body.as_bytes())?;
    let handle = CUarray(reply.promised_word(0)?);
    let array = Array {
        context: mipmap.context,
        descriptor: level_descriptor(&mipmap.descriptor, level),
        parent: Some(hMipmappedArray),
    };
    session.arrays.insert_array(handle, array);
    // SAFETY: the caller's promise.
    unsafe { put(pLevelArray, handle) }
}

/// `cuMipmappedArrayDestroy`: posted.
pub unsafe fn cuMipmappedArrayDestroy(hMipmappedArray: CUmipmappedArray) -> Status {
    let session = session()?;
    session.wire.faults().check()?;
    let mipmap = session.arrays.remove_mipmap(hMipmappedArray)?;
    session.arrays.remove_levels(hMipmappedArray);
    let opcode = opcode::cuMipmappedArrayDestroy;
    session.post_word(opcode, mipmap.context, hMipmappedArray.0)?;
    session.wire.faults().take_deferred()
}
