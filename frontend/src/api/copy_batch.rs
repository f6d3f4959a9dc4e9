// SPDX-License-Identifier: Apache-2.0
//! Batches of copies, copies with attributes, and three-dimensional copies between contexts: each
//! travels as the plain copies that it consists of. What a copy reads from the host has been read
//! when its call returns, whatever order its attributes ask for.

use gvirtus_abi::{
    CUDA_MEMCPY3D, CUDA_MEMCPY3D_BATCH_OP, CUDA_MEMCPY3D_PEER, CUarray, CUdeviceptr,
    CUmemcpyAttributes, CUresult, CUstream,
};
use gvirtus_driver_face::copy_batch::{self, Lists};

use super::copy::cuMemcpyAsync;
use super::copy_box::{cuMemcpy3D_v2, cuMemcpy3DAsync_v2};
use super::{Status, put_optional, required};
use crate::process::session;

/// What `failIdx` tells where no single copy has failed.
const NO_COPY: usize = usize::MAX;

type Outcome = Result<(), (usize, CUresult)>;

fn element_bytes(array: CUarray) -> Result<usize, CUresult> {
    session()?.arrays.array(array)?.element_bytes()
}

fn each<T>(copies: &[T], copy: impl Fn(&T) -> Status) -> Outcome {
    let mut copies = copies.iter().enumerate();
    copies.try_for_each(|(index, one)| copy(one).map_err(|status| (index, status)))
}

/// # Safety
///
/// That of [`Lists::lines`], and what the lists name is as CUDA asks.
unsafe fn lines(default: CUstream, stream: CUstream, lists: &Lists) -> Outcome {
    let none = |status| (NO_COPY, status);
    copy_batch::check_stream(default, stream).map_err(none)?;
    // SAFETY: the caller's promise.
    let lines = unsafe { lists.lines() }.map_err(none)?;
    each(&lines, |line| {
        // SAFETY: the caller's promise.
        unsafe { cuMemcpyAsync(default, line.to, line.from, line.bytes, stream) }
    })
}

/// # Safety
///
/// That of [`copy_batch::boxes`], and what they name is as CUDA asks.
unsafe fn boxes(
    default: CUstream,
    stream: CUstream,
    operations: *const CUDA_MEMCPY3D_BATCH_OP,
    count: usize,
    flags: u64,
) -> Outcome {
    // SAFETY: the caller's promise.
    let boxes = unsafe { copy_batch::boxes(operations, count, flags, element_bytes) };
    let boxes = boxes.map_err(|status| (NO_COPY, status))?;
    each(&boxes, |(copy, _)| {
        // SAFETY: the caller's promise.
        unsafe { cuMemcpy3DAsync_v2(default, copy, stream) }
    })
}

/// # Safety
///
/// `failed` is null or valid for writing.
unsafe fn tell(outcome: Outcome, failed: *mut usize) -> Status {
    outcome.map_err(|(index, status)| {
        // SAFETY: the caller's promise.
        unsafe { put_optional(failed, index) };
        status
    })
}

/// `cuMemcpyBatchAsync`.
pub unsafe fn cuMemcpyBatchAsync(
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
) -> Status {
    let lists = Lists {
        to: dsts,
        from: srcs,
        sizes,
        count,
        attributes: attrs,
        first_copies: attrsIdxs,
        runs: numAttrs,
    };
    // SAFETY: the caller's promise.
    unsafe { tell(lines(default_stream, hStream, &lists), failIdx) }
}

/// `cuMemcpyBatchAsync_v2`.
pub unsafe fn cuMemcpyBatchAsync_v2(
    default_stream: CUstream,
    dsts: *mut CUdeviceptr,
    srcs: *mut CUdeviceptr,
    sizes: *mut usize,
    count: usize,
    attrs: *mut CUmemcpyAttributes,
    attrsIdxs: *mut usize,
    numAttrs: usize,
    hStream: CUstream,
) -> Status {
    let none = std::ptr::null_mut();
    // SAFETY: the caller's promise.
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

/// `cuMemcpy3DBatchAsync`.
pub unsafe fn cuMemcpy3DBatchAsync(
    default_stream: CUstream,
    numOps: usize,
    opList: *mut CUDA_MEMCPY3D_BATCH_OP,
    failIdx: *mut usize,
    flags: u64,
    hStream: CUstream,
) -> Status {
    let outcome = match copy_batch::check_stream(default_stream, hStream) {
        // SAFETY: the caller's promise.
        Ok(()) => unsafe { boxes(default_stream, hStream, opList, numOps, flags) },
        Err(status) => Err((NO_COPY, status)),
    };
    // SAFETY: the caller's promise.
    unsafe { tell(outcome, failIdx) }
}

/// `cuMemcpy3DBatchAsync_v2`.
pub unsafe fn cuMemcpy3DBatchAsync_v2(
    default_stream: CUstream,
    numOps: usize,
    opList: *mut CUDA_MEMCPY3D_BATCH_OP,
    flags: u64,
    hStream: CUstream,
) -> Status {
    let none = std::ptr::null_mut();
    // SAFETY: the caller's promise.
    unsafe { cuMemcpy3DBatchAsync(default_stream, numOps, opList, none, flags, hStream) }
}

/// `cuMemcpyWithAttributesAsync`.
pub unsafe fn cuMemcpyWithAttributesAsync(
    default_stream: CUstream,
    dst: CUdeviceptr,
    src: CUdeviceptr,
    size: usize,
    attr: *mut CUmemcpyAttributes,
    hStream: CUstream,
) -> Status {
    // SAFETY: the caller's promise.
    unsafe {
        let line = copy_batch::line(dst, src, size, attr)?;
        cuMemcpyAsync(default_stream, line.to, line.from, line.bytes, hStream)
    }
}

/// `cuMemcpy3DWithAttributesAsync`.
pub unsafe fn cuMemcpy3DWithAttributesAsync(
    default_stream: CUstream,
    op: *mut CUDA_MEMCPY3D_BATCH_OP,
    flags: u64,
    hStream: CUstream,
) -> Status {
    // SAFETY: the caller's promise.
    let outcome = unsafe { boxes(default_stream, hStream, op, 1, flags) };
    outcome.map_err(|(_, status)| status)
}

/// `cuMemcpy3DPeer`: all devices have one address space.
pub unsafe fn cuMemcpy3DPeer(default_stream: CUstream, pCopy: *const CUDA_MEMCPY3D_PEER) -> Status {
    // SAFETY: the caller's promise.
    unsafe { cuMemcpy3D_v2(default_stream, &peer(pCopy)?) }
}

/// `cuMemcpy3DPeerAsync`.
pub unsafe fn cuMemcpy3DPeerAsync(
    default_stream: CUstream,
    pCopy: *const CUDA_MEMCPY3D_PEER,
    hStream: CUstream,
) -> Status {
    // SAFETY: the caller's promise.
    unsafe { cuMemcpy3DAsync_v2(default_stream, &peer(pCopy)?, hStream) }
}

/// A copy between contexts, without the contexts.
///
/// # Safety
///
/// `copy` is null or valid for reading.
unsafe fn peer(copy: *const CUDA_MEMCPY3D_PEER) -> Result<CUDA_MEMCPY3D, CUresult> {
    let session = session()?;
    // SAFETY: not null, and then valid for reading by the caller's promise.
    let peer = unsafe { required(copy.cast_mut())?.read() };
    for context in [peer.srcContext, peer.dstContext] {
        session.contexts.find(context)?;
    }
    Ok(CUDA_MEMCPY3D {
        srcXInBytes: peer.srcXInBytes,
        srcY: peer.srcY,
        srcZ: peer.srcZ,
        srcLOD: peer.srcLOD,
        srcMemoryType: peer.srcMemoryType,
        srcHost: peer.srcHost,
        srcDevice: peer.srcDevice,
        srcArray: peer.srcArray,
        reserved0: std::ptr::null_mut(),
        srcPitch: peer.srcPitch,
        srcHeight: peer.srcHeight,
        dstXInBytes: peer.dstXInBytes,
        dstY: peer.dstY,
        dstZ: peer.dstZ,
        dstLOD: peer.dstLOD,
        dstMemoryType: peer.dstMemoryType,
        dstHost: peer.dstHost,
        dstDevice: peer.dstDevice,
        dstArray: peer.dstArray,
        reserved1: std::ptr::null_mut(),
        dstPitch: peer.dstPitch,
        dstHeight: peer.dstHeight,
        WidthInBytes: peer.WidthInBytes,
        Height: peer.Height,
        Depth: peer.Depth,
    })
}
