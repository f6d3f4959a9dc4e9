// SPDX-License-Identifier: Apache-2.0
//! Batches of copies, and copies with attributes (`cuda.h`: "Memory Management"). The copies of a
//! batch may run in any order; here they run one after another.

use gvirtus_abi::{
    CUDA_MEMCPY3D, CUDA_MEMCPY3D_BATCH_OP, CUarray, CUdeviceptr, CUmemcpyAttributes, CUresult,
    CUstream,
};
use gvirtus_driver_face::copy_batch::{self, Line, Lists, SourceAccess};

use super::arguments::optional_out;
use super::copy::{Transfer, asynchronous, with_source_now};
use super::stream::{self, Target};
use super::{array, copy_array};

/// What `failIdx` tells where no single copy has failed.
const NO_COPY: usize = usize::MAX;

fn element_bytes(handle: CUarray) -> Result<usize, CUresult> {
    Ok(array::find(handle)?.image.format.bytes() as usize)
}

fn submit(target: &Target, transfer: Transfer, access: SourceAccess) -> Result<(), CUresult> {
    match access {
        SourceAccess::InStreamOrder => asynchronous(target, transfer),
        SourceAccess::DuringCall => with_source_now(target, transfer),
    }
}

fn submit_line(target: &Target, line: &Line) -> Result<(), CUresult> {
    let transfer = Transfer::line(line.to.0, line.from.0, line.bytes);
    submit(target, transfer, line.access)
}

fn submit_box(
    target: &Target,
    (copy, access): &(CUDA_MEMCPY3D, SourceAccess),
) -> Result<(), CUresult> {
    submit(target, copy_array::transfer_3d(copy)?, *access)
}

/// Submits all copies; the error tells which one failed.
fn submit_all<T>(
    copies: &[T],
    submit: impl Fn(&T) -> Result<(), CUresult>,
) -> Result<(), (usize, CUresult)> {
    let mut copies = copies.iter().enumerate();
    copies.try_for_each(|(index, copy)| submit(copy).map_err(|status| (index, status)))
}

/// # Safety
///
/// That of [`Lists::lines`].
unsafe fn lines(
    (default, stream): (CUstream, CUstream),
    lists: &Lists,
) -> Result<(), (usize, CUresult)> {
    let none = |status| (NO_COPY, status);
    copy_batch::check_stream(default, stream).map_err(none)?;
    let target = stream::capturable(default, stream).map_err(none)?;
    // SAFETY: the caller's promise.
    let lines = unsafe { lists.lines() }.map_err(none)?;
    submit_all(&lines, |line| submit_line(&target, line))
}

/// # Safety
///
/// That of [`copy_batch::boxes`].
unsafe fn boxes(
    (default, stream): (CUstream, CUstream),
    operations: *const CUDA_MEMCPY3D_BATCH_OP,
    count: usize,
    flags: u64,
) -> Result<(), (usize, CUresult)> {
    let none = |status| (NO_COPY, status);
    let target = stream::target(default, stream).map_err(none)?;
    // SAFETY: the caller's promise.
    let boxes = unsafe { copy_batch::boxes(operations, count, flags, element_bytes) };
    submit_all(&boxes.map_err(none)?, |copy| submit_box(&target, copy))
}

pub(crate) unsafe fn cuMemcpyBatchAsync(
    default_stream: CUstream,
    dsts: *mut CUdeviceptr,
    srcs: *mut CUdeviceptr,
    sizes: *mut usize,
    count: usize,
    attrs: *mut CUmemcpyAttributes,
    attrsIdxs: *mut usize,
    numAttrs: usize,
    failIdx: *mut usize,
    hStream: CUstream,
) -> Result<(), CUresult> {
    let lists = Lists {
        to: dsts,
        from: srcs,
        sizes,
        count,
        attributes: attrs,
        first_copies: attrsIdxs,
        runs: numAttrs,
    };
    // SAFETY: the contract of cuda.h.
    let outcome = unsafe { lines((default_stream, hStream), &lists) };
    let Err((index, status)) = outcome else {
        return Ok(());
    };
    optional_out!(failIdx = index);
    Err(status)
}

pub(crate) unsafe fn cuMemcpyBatchAsync_v2(
    default_stream: CUstream,
    dsts: *mut CUdeviceptr,
    srcs: *mut CUdeviceptr,
    sizes: *mut usize,
    count: usize,
    attrs: *mut CUmemcpyAttributes,
    attrsIdxs: *mut usize,
    numAttrs: usize,
    hStream: CUstream,
) -> Result<(), CUresult> {
    let none = core::ptr::null_mut();
    // SAFETY: the same contract.
    unsafe {
        cuMemcpyBatchAsync(
            default_stream,
            dsts,
            srcs,
            sizes,
            count,
            attrs,
            attrsIdxs,
            numAttrs,
            none,
            hStream,
        )
    }
}

pub(crate) unsafe fn cuMemcpy3DBatchAsync(
    default_stream: CUstream,
    numOps: usize,
    opList: *mut CUDA_MEMCPY3D_BATCH_OP,
    failIdx: *mut usize,
    flags: u64,
    hStream: CUstream,
) -> Result<(), CUresult> {
    let streams = (default_stream, hStream);
    let checked = copy_batch::check_stream(default_stream, hStream);
    let outcome = match checked {
        // SAFETY: the contract of cuda.h.
        Ok(()) => unsafe { boxes(streams, opList, numOps, flags) },
        Err(status) => Err((NO_COPY, status)),
    };
    let Err((index, status)) = outcome else {
        return Ok(());
    };
    optional_out!(failIdx = index);
    Err(status)
}

pub(crate) unsafe fn cuMemcpy3DBatchAsync_v2(
    default_stream: CUstream,
    numOps: usize,
    opList: *mut CUDA_MEMCPY3D_BATCH_OP,
    flags: u64,
    hStream: CUstream,
) -> Result<(), CUresult> {
    let none = core::ptr::null_mut();
    // SAFETY: the same contract.
    unsafe { cuMemcpy3DBatchAsync(default_stream, numOps, opList, none, flags, hStream) }
}

pub(crate) unsafe fn cuMemcpyWithAttributesAsync(
    default_stream: CUstream,
    dst: CUdeviceptr,
    src: CUdeviceptr,
    size: usize,
    attr: *mut CUmemcpyAttributes,
    hStream: CUstream,
) -> Result<(), CUresult> {
    let target = stream::capturable(default_stream, hStream)?;
    // SAFETY: the contract of cuda.h.
    let line = unsafe { copy_batch::line(dst, src, size, attr)? };
    submit_line(&target, &line)
}

pub(crate) unsafe fn cuMemcpy3DWithAttributesAsync(
    default_stream: CUstream,
    op: *mut CUDA_MEMCPY3D_BATCH_OP,
    flags: u64,
    hStream: CUstream,
) -> Result<(), CUresult> {
    let streams = (default_stream, hStream);
    // SAFETY: the contract of cuda.h: null or one structure.
    unsafe { boxes(streams, op, 1, flags) }.map_err(|(_, status)| status)
}
