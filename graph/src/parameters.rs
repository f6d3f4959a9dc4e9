// SPDX-License-Identifier: Apache-2.0
//! The structures of `cuda.h` that describe nodes: read, checked, and written back.

use core::ffi::c_void;
use std::sync::Arc;

use gvirtus_abi::{
    CUDA_HOST_NODE_PARAMS_v2, CUDA_KERNEL_NODE_PARAMS, CUDA_MEMCPY3D, CUDA_MEMSET_NODE_PARAMS_v2,
    CUcontext, CUfunction, CUhostFn, CUkernel, CUlaunchAttribute, CUlaunchAttributeID,
    CUlaunchAttributeValue, CUresult, CUstreamBatchMemOpParams,
};

use crate::payload::{Attribute, Batch, Host, Kernel, Memcpy, MemoryOperation, Memset, Parameters};
use crate::platform::{KernelLayout, platform};

const INVALID: CUresult = CUresult::CUDA_ERROR_INVALID_VALUE;

/// Keys of the `extra` list (`CU_LAUNCH_PARAM_…`).
const EXTRA_END: usize = 0;
const EXTRA_BUFFER_POINTER: usize = 1;
const EXTRA_BUFFER_SIZE: usize = 2;
/// Longest `extra` list that makes sense, in pairs.
const EXTRA_PAIRS_MAX: usize = 8;

/// A call of `cuLaunchKernel` or its kin, to be captured.
#[derive(Clone, Copy)]
pub struct KernelCall {
    /// The function, or a library's kernel.
    pub function: CUfunction,
    /// Of the stream.
    pub context: CUcontext,
    /// Blocks in x, y, z.
    pub grid: [u32; 3],
    /// Threads of a block in x, y, z.
    pub block: [u32; 3],
    /// Dynamic shared memory of a block in bytes.
    pub shared_bytes: u32,
    /// A pointer to each parameter.
    pub parameters: *mut *mut c_void,
    /// Or all together.
    pub extra: *mut *mut c_void,
}

impl KernelCall {
    /// Reads the parameters and checks the shape.
    ///
    /// # Errors
    ///
    /// What a launch would answer.
    ///
    /// # Safety
    ///
    /// The contract of `cuLaunchKernel`.
    pub unsafe fn read(&self, attributes: &[CUlaunchAttribute]) -> Result<Kernel, CUresult> {
        let platform = platform()?;
        let layout = platform.kernel(self.function, self.context)?;
        // SAFETY: the caller's promise.
        let block = unsafe { self.block_of(&layout)? };
        let offsets = layout.parameters.iter().map(|(offset, _)| *offset as usize);
        let kernel = Kernel {
            function: self.function,
            is_library_kernel: false,
            context: self.context,
            grid: self.grid,
            block: self.block,
            shared_bytes: self.shared_bytes,
            parameters: Arc::new(Parameters::new(&block, offsets)),
            attributes: attributes
                .iter()
                .filter(|attribute| !is_of_streams(attribute.id))
                .map(|attribute| Attribute(*attribute))
                .collect(),
        };
        platform.check_kernel(&kernel)?;
        Ok(kernel)
    }

    /// # Safety
    ///
    /// The contract of `cuLaunchKernel`.
    unsafe fn block_of(&self, layout: &KernelLayout) -> Result<Vec<u8>, CUresult> {
        let mut block = vec![0_u8; layout.bytes];
        if !self.extra.is_null() {
            if !self.parameters.is_null() {
                return Err(INVALID);
            }
            // SAFETY: the caller's promise.
            let (buffer, bytes) = unsafe { extra_buffer(self.extra)? };
            let needed = layout.parameters.iter().map(|(offset, size)| offset + size);
            let needed = needed.max().unwrap_or(0) as usize;
            if bytes < needed || (needed > 0 && buffer.is_null()) {
                return Err(INVALID);
            }
            let length = bytes.min(block.len());
            if length > 0 {
                // SAFETY: the caller's promise: a buffer of that many bytes.
                unsafe { block.as_mut_ptr().copy_from_nonoverlapping(buffer, length) };
            }
            return Ok(block);
        }
        if self.parameters.is_null() && !layout.parameters.is_empty() {
            return Err(INVALID);
        }
        for (index, (offset, size)) in layout.parameters.iter().enumerate() {
            // SAFETY: the caller's promise: a pointer to each parameter.
            let value = unsafe { self.parameters.add(index).read() };
            let (offset, size) = (*offset as usize, *size as usize);
            let place = block.get_mut(offset..offset + size).ok_or(INVALID)?;
            if value.is_null() {
                return Err(INVALID);
            }
            // SAFETY: the caller's promise: a value of the parameter's size.
            unsafe {
                place
                    .as_mut_ptr()
                    .copy_from_nonoverlapping(value.cast(), size)
            };
        }
        Ok(block)
    }
}

/// Whether an attribute concerns what comes before or after a launch in its stream: in a graph,
/// that is a matter of edges.
const fn is_of_streams(id: CUlaunchAttributeID) -> bool {
    matches!(
        id,
        CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_IGNORE
            | CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION
            | CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT
            | CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT
    )
}

/// # Safety
///
/// `extra` is a list of keys and values that ends with `CU_LAUNCH_PARAM_END`.
unsafe fn extra_buffer(extra: *mut *mut c_void) -> Result<(*const u8, usize), CUresult> {
    let (mut buffer, mut bytes) = (std::ptr::null::<u8>(), 0);
    for pair in 0..EXTRA_PAIRS_MAX {
        // SAFETY: no key before this one ended the list.
        let key = unsafe { extra.add(2 * pair).read() }.addr();
        if key == EXTRA_END {
            return Ok((buffer, bytes));
        }
        // SAFETY: every key but the last has a value.
        let value = unsafe { extra.add(2 * pair + 1).read() };
        match key {
            EXTRA_BUFFER_POINTER => buffer = value.cast(),
            EXTRA_BUFFER_SIZE if !value.is_null() => {
                // SAFETY: the caller's promise: the value points to the size.
                bytes = unsafe { value.cast::<usize>().read() };
            }
            _ => return Err(INVALID),
        }
    }
    Err(INVALID)
}

/// A kernel node from its parameters; the attributes are those of a new node.
///
/// # Safety
///
/// The contract of `cuGraphAddKernelNode`.
pub(crate) unsafe fn read_kernel(params: &CUDA_KERNEL_NODE_PARAMS) -> Result<Kernel, CUresult> {
    let context = platform()?.context(params.ctx)?;
    let is_library_kernel = params.func.is_null();
    let function = match is_library_kernel {
        true => CUfunction(params.kern.0),
        false => params.func,
    };
    let call = KernelCall {
        function,
        context,
        grid: [params.gridDimX, params.gridDimY, params.gridDimZ],
        block: [params.blockDimX, params.blockDimY, params.blockDimZ],
        shared_bytes: params.sharedMemBytes,
        parameters: params.kernelParams,
        extra: params.extra,
    };
    // SAFETY: the caller's promise.
    let kernel = unsafe { call.read(&[])? };
    Ok(Kernel {
        is_library_kernel,
        ..kernel
    })
}

/// The parameters of a kernel node; the pointers live as long as it keeps them.
pub(crate) fn write_kernel(kernel: &Kernel) -> CUDA_KERNEL_NODE_PARAMS {
    let library_kernel = CUkernel(kernel.function.0);
    CUDA_KERNEL_NODE_PARAMS {
        func: match kernel.is_library_kernel {
            true => CUfunction::NULL,
            false => kernel.function,
        },
        gridDimX: kernel.grid[0],
        gridDimY: kernel.grid[1],
        gridDimZ: kernel.grid[2],
        blockDimX: kernel.block[0],
        blockDimY: kernel.block[1],
        blockDimZ: kernel.block[2],
        sharedMemBytes: kernel.shared_bytes,
        kernelParams: kernel.parameters.pointers(),
        extra: std::ptr::null_mut(),
        kern: match kernel.is_library_kernel {
            true => library_kernel,
            false => CUkernel::NULL,
        },
        ctx: kernel.context,
    }
}

/// A launch attribute.
pub(crate) const fn attribute(
    id: CUlaunchAttributeID,
    value: CUlaunchAttributeValue,
) -> CUlaunchAttribute {
    CUlaunchAttribute {
        id,
        pad: [0; 4],
        value,
    }
}

/// A copy node from its parameters.
pub(crate) fn read_memcpy(copy: &CUDA_MEMCPY3D, context: CUcontext) -> Result<Memcpy, CUresult> {
    let platform = platform()?;
    if copy.srcLOD != 0 || copy.dstLOD != 0 {
        return Err(INVALID);
    }
    let context = platform.context(context)?;
    platform.check_copy(copy)?;
    Ok(Memcpy {
        copy: *copy,
        context,
    })
}

/// Most stream memory operations of a node.
const OPERATIONS_MAX: u32 = 256;

/// A batch of stream memory operations from its parameters.
///
/// # Safety
///
/// `operations` is null or valid for `count`.
pub(crate) unsafe fn read_batch(
    operations: *const CUstreamBatchMemOpParams,
    count: u32,
    flags: u32,
    context: CUcontext,
) -> Result<Batch, CUresult> {
    let platform = platform()?;
    let context = platform.context(context)?;
    if flags != 0 || count == 0 || count > OPERATIONS_MAX || operations.is_null() {
        return Err(INVALID);
    }
    let operations = operations.cast::<MemoryOperation>();
    // SAFETY: not null, and then valid by the caller's promise; the types have one layout.
    let operations = unsafe { core::slice::from_raw_parts(operations, count as usize) };
    platform.check_operations(operations)?;
    Ok(Batch {
        operations: operations.into(),
        context,
    })
}

/// The operations of a batch, which live as long as it.
pub(crate) fn write_batch(batch: &Batch) -> (*mut CUstreamBatchMemOpParams, u32) {
    let count = batch.operations.len() as u32;
    let operations = batch.operations.as_ptr().cast_mut();
    (operations.cast(), count)
}

/// A memset node from its parameters.
pub(crate) fn read_memset(params: &CUDA_MEMSET_NODE_PARAMS_v2) -> Result<Memset, CUresult> {
    let platform = platform()?;
    let context = platform.context(params.ctx)?;
    let row = params.width.checked_mul(params.elementSize as usize);
    let is_size = matches!(params.elementSize, 1 | 2 | 4);
    let is_pitched = params.height > 1;
    let row = row.ok_or(INVALID)?;
    if !is_size
        || params.width == 0
        || params.height == 0
        || (is_pitched && params.pitch < row)
        || !params.dst.0.is_multiple_of(params.elementSize.into())
        || (is_pitched && !params.pitch.is_multiple_of(params.elementSize as usize))
    {
        return Err(INVALID);
    }
    let memset = Memset {
        address: params.dst,
        pitch_bytes: params.pitch,
        value: params.value,
        element_bytes: params.elementSize,
        width: params.width,
        height: params.height,
        context,
    };
    platform.check_memset(&memset)?;
    Ok(memset)
}

/// The parameters of a memset node.
pub(crate) const fn write_memset(memset: &Memset) -> CUDA_MEMSET_NODE_PARAMS_v2 {
    CUDA_MEMSET_NODE_PARAMS_v2 {
        dst: memset.address,
        pitch: memset.pitch_bytes,
        value: memset.value,
        elementSize: memset.element_bytes,
        width: memset.width,
        height: memset.height,
        ctx: memset.context,
    }
}

/// A host node from its parameters.
pub(crate) fn read_host(
    function: CUhostFn,
    data: *mut c_void,
    sync_mode: u32,
) -> Result<Host, CUresult> {
    let host = Host::new(function, data)?;
    Ok(Host { sync_mode, ..host })
}

/// The parameters of a host node.
pub(crate) fn write_host(host: &Host) -> CUDA_HOST_NODE_PARAMS_v2 {
    // SAFETY: numbers, null handles and null pointers.
    let mut params: CUDA_HOST_NODE_PARAMS_v2 = unsafe { core::mem::zeroed() };
    params.r#fn = host.function();
    params.userData = host.data();
    params.syncMode = host.sync_mode;
    params
}
