// SPDX-License-Identifier: Apache-2.0
//! What a pointer points to.

use core::ffi::c_void;
use std::mem::zeroed;
use std::ptr::null_mut;

use gvirtus_abi::{CUdeviceptr, CUmemorytype, CUpointer_attribute, CUresult};
use gvirtus_runtime_abi::{cudaMemoryType, cudaPointerAttributes, cudaPointerAttributes_v12};

use super::memory::device_pointer;
use super::write;
use crate::context::with_context;
use crate::error::Result;

/// Asked for in one call, in the order of [`Answers`].
const ASKED: [CUpointer_attribute; 5] = [
    CUpointer_attribute::CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
    CUpointer_attribute::CU_POINTER_ATTRIBUTE_IS_MANAGED,
    CUpointer_attribute::CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL,
    CUpointer_attribute::CU_POINTER_ATTRIBUTE_DEVICE_POINTER,
    CUpointer_attribute::CU_POINTER_ATTRIBUTE_HOST_POINTER,
];

struct Answers {
    memory: cudaMemoryType,
    device: i32,
    device_pointer: *mut c_void,
    host_pointer: *mut c_void,
}

fn ask(pointer: *const c_void) -> Result<Answers> {
    let (mut memory, mut managed, mut device) = (0_u32, 0_u32, 0_i32);
    let (mut on_device, mut on_host) = (CUdeviceptr::default(), null_mut::<c_void>());
    let mut outputs: [*mut c_void; ASKED.len()] = [
        (&raw mut memory).cast(),
        (&raw mut managed).cast(),
        (&raw mut device).cast(),
        (&raw mut on_device).cast(),
        (&raw mut on_host).cast(),
    ];
    let (count, outputs) = (ASKED.len() as u32, outputs.as_mut_ptr());
    with_context(|driver| -> CUresult {
        let asked = ASKED.as_ptr().cast_mut();
        // SAFETY: as many outputs as attributes, each of its attribute's type.
        unsafe { driver.cuPointerGetAttributes(count, asked, outputs, device_pointer(pointer)) }
    })?;
    let memory = match (CUmemorytype(memory), managed) {
        (CUmemorytype(0), _) => cudaMemoryType::cudaMemoryTypeUnregistered,
        (_, 1..) => cudaMemoryType::cudaMemoryTypeManaged,
        (CUmemorytype::CU_MEMORYTYPE_HOST, _) => cudaMemoryType::cudaMemoryTypeHost,
        _ => cudaMemoryType::cudaMemoryTypeDevice,
    };
    if memory == cudaMemoryType::cudaMemoryTypeUnregistered {
        // Memory that CUDA does not know is the host's own (`cudaPointerGetAttributes`, CUDA 11).
        return Ok(Answers {
            memory,
            device: UNREGISTERED_DEVICE,
            device_pointer: null_mut(),
            host_pointer: pointer.cast_mut(),
        });
    }
    Ok(Answers {
        memory,
        device,
        device_pointer: on_device.0 as usize as *mut c_void,
        host_pointer: on_host,
    })
}

/// The device of memory that has none (`cudaInvalidDeviceId`).
const UNREGISTERED_DEVICE: i32 = -2;

macro_rules! pointer_attributes {
    ($function:ident, $structure:ident) => {
        pub unsafe fn $function(attributes: *mut $structure, ptr: *const c_void) -> Result<()> {
            let answers = ask(ptr)?;
            // SAFETY: integers and pointers, for which zero is a value.
            let mut all: $structure = unsafe { zeroed() };
            all.r#type = answers.memory;
            all.device = answers.device;
            all.devicePointer = answers.device_pointer;
            all.hostPointer = answers.host_pointer;
            // SAFETY: the caller's promise.
            unsafe { write(attributes, all) }
        }
    };
}

pointer_attributes!(cudaPointerGetAttributes, cudaPointerAttributes);
pointer_attributes!(cudaPointerGetAttributes_r12, cudaPointerAttributes_v12);
