// SPDX-License-Identifier: Apache-2.0
//! The block size with the best occupancy: asked of the driver size by size, because the amount of
//! shared memory is the application's function of the size.

use gvirtus_abi::{
    CUdevice_attribute as Attribute, CUfunction, CUfunction_attribute, CUoccupancyB2DSize, CUresult,
};

use super::{INVALID_VALUE, Status, put, required};
use crate::process::session;

/// `cuOccupancyMaxPotentialBlockSize`.
pub unsafe fn cuOccupancyMaxPotentialBlockSize(
    minGridSize: *mut i32,
    blockSize: *mut i32,
    func: CUfunction,
    blockSizeToDynamicSMemSize: CUoccupancyB2DSize,
    dynamicSMemSize: usize,
    blockSizeLimit: i32,
) -> Status {
    // SAFETY: the caller's promise.
    unsafe {
        cuOccupancyMaxPotentialBlockSizeWithFlags(
            minGridSize,
            blockSize,
            func,
            blockSizeToDynamicSMemSize,
            dynamicSMemSize,
            blockSizeLimit,
            0,
        )
    }
}

/// `cuOccupancyMaxPotentialBlockSizeWithFlags`: of the block sizes with most threads a
/// multiprocessor, the largest.
pub unsafe fn cuOccupancyMaxPotentialBlockSizeWithFlags(
    minGridSize: *mut i32,
    blockSize: *mut i32,
    func: CUfunction,
    blockSizeToDynamicSMemSize: CUoccupancyB2DSize,
    dynamicSMemSize: usize,
    blockSizeLimit: i32,
    flags: u32,
) -> Status {
    let session = session()?;
    let context = session.current()?;
    let (minGridSize, blockSize) = (required(minGridSize)?, required(blockSize)?);
    let device = &session.devices[context.device as usize];
    let attribute = |attribute| device.attribute(attribute).filter(|value| *value > 0);
    let promised = |known| attribute(known).ok_or(CUresult::CUDA_ERROR_UNKNOWN);
    let warp = promised(Attribute::CU_DEVICE_ATTRIBUTE_WARP_SIZE)?;
    let multiprocessors = promised(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?;
    let threads_max = promised(Attribute::CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR)?;
    let device_limit = promised(Attribute::CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK)?;
    let mut function_limit = 0;
    let known = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK;
    // SAFETY: a place for a number.
    unsafe { super::cuFuncGetAttribute(&raw mut function_limit, known, func)? };
    let mut limit = device_limit.min(function_limit);
    match blockSizeLimit {
        0 => {}
        wanted if wanted > 0 => limit = limit.min(wanted),
        _ => return Err(INVALID_VALUE),
    }
    let shared_bytes = |block: i32| match blockSizeToDynamicSMemSize {
        // SAFETY: CUDA declares this function to take an `int` and to return a `size_t`.
        Some(function) => unsafe {
            let function: unsafe extern "C" fn(i32) -> usize = std::mem::transmute(function);
            function(block)
        },
        None => dynamicSMemSize,
    };
    let (mut best_threads, mut best_block, mut best_blocks) = (0, 0, 0);
    let aligned = limit.checked_add(warp - 1).unwrap_or(limit) / warp * warp;
    let mut tried = aligned;
    while tried > 0 && best_threads < threads_max {
        let block = tried.min(limit);
        let mut blocks = 0;
        // SAFETY: a place for a number.
        unsafe {
            super::cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
                &raw mut blocks,
                func,
                block,
                shared_bytes(block),
                flags,
            )?;
        }
        let threads = blocks.saturating_mul(block);
        if threads > best_threads {
            (best_threads, best_block, best_blocks) = (threads, block, blocks);
        }
        tried -= warp;
    }
    // SAFETY: the caller's promise.
    unsafe { put(minGridSize, best_blocks.saturating_mul(multiprocessors))? };
    // SAFETY: the caller's promise.
    unsafe { put(blockSize, best_block) }
}
