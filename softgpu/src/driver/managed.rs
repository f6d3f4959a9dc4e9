// SPDX-License-Identifier: Apache-2.0
//! Managed memory: host and device use the same bytes, so there is nothing to move, and hints about
//! where they should be are only remembered.

use core::ffi::c_void;
use std::ops::Range;

use gvirtus_abi::{
    CUdevice, CUdeviceptr, CUmem_advise, CUmem_range_attribute, CUmemAttach_flags, CUmemLocation,
    CUresult, CUstream,
};
use gvirtus_driver_face::advice::{self, Advised, Place};
use parking_lot::Mutex;

use super::allocations::{self, Allocation, Kind};
use super::arguments::out;
use super::device::device;
use super::stream;
use super::{context, memory};
use crate::memory::{share, unshare};

const INVALID: CUresult = CUresult::CUDA_ERROR_INVALID_VALUE;

static ADVISED: Mutex<Advised> = Mutex::new(Advised::new());

/// The memory of an allocation is about to be freed.
pub(super) fn forget(allocation: &Allocation) {
    unshare(allocation.base);
    forget_advice(allocation.base, allocation.bytes);
}

pub(super) fn forget_advice(base: u64, bytes: u64) {
    ADVISED.lock().forget(base..base + bytes);
}

pub(crate) unsafe fn cuMemAllocManaged(
    dptr: *mut CUdeviceptr,
    bytesize: usize,
    flags: u32,
) -> Result<(), CUresult> {
    let context = context::usable()?;
    let is_attachment = flags == CUmemAttach_flags::CU_MEM_ATTACH_GLOBAL.0
        || flags == CUmemAttach_flags::CU_MEM_ATTACH_HOST.0;
    if dptr.is_null() || bytesize == 0 || !is_attachment {
        return Err(INVALID);
    }
    let address = memory::allocate_as(&context, bytesize, Kind::Managed)?;
    // SAFETY: the memory of devices stays mapped.
    unsafe { share(address.0, bytesize as u64) };
    out!(dptr = address);
    Ok(())
}

/// The addresses of a part of one managed allocation.
fn managed(address: CUdeviceptr, bytes: usize) -> Result<Range<u64>, CUresult> {
    let found = allocations::find(address.0).filter(|found| {
        bytes != 0 && found.kind.is_managed() && found.holds(address.0, bytes as u64)
    });
    match found {
        Some(_) => Ok(address.0..address.0 + bytes as u64),
        None => Err(INVALID),
    }
}

/// That the place exists.
fn check(place: Place) -> Result<Place, CUresult> {
    if let Place::Device(ordinal) = place {
        device(CUdevice(ordinal))?;
    }
    Ok(place)
}

pub(crate) fn cuMemPrefetchAsync(
    default_stream: CUstream,
    devPtr: CUdeviceptr,
    count: usize,
    dstDevice: CUdevice,
    hStream: CUstream,
) -> Result<(), CUresult> {
    prefetch(
        (default_stream, hStream),
        managed(devPtr, count)?,
        Place::of_device(dstDevice),
    )
}

pub(crate) fn cuMemPrefetchAsync_v2(
    default_stream: CUstream,
    devPtr: CUdeviceptr,
    count: usize,
    location: CUmemLocation,
    flags: u32,
    hStream: CUstream,
) -> Result<(), CUresult> {
    if flags != 0 {
        return Err(INVALID);
    }
    let place = Place::of_location(&location)?;
    prefetch((default_stream, hStream), managed(devPtr, count)?, place)
}

fn prefetch(
    (default_stream, stream): (CUstream, CUstream),
    range: Range<u64>,
    place: Place,
) -> Result<(), CUresult> {
    stream::target(default_stream, stream)?;
    ADVISED.lock().prefetch(range, check(place)?);
    Ok(())
}

pub(crate) unsafe fn cuMemPrefetchBatchAsync(
    default_stream: CUstream,
    dptrs: *mut CUdeviceptr,
    sizes: *mut usize,
    count: usize,
    prefetchLocs: *mut CUmemLocation,
    prefetchLocIdxs: *mut usize,
    numPrefetchLocs: usize,
    flags: u64,
    hStream: CUstream,
) -> Result<(), CUresult> {
    // SAFETY: the contract of cuda.h: arrays of so many elements.
    let (ranges, places) = unsafe {
        (
            advice::batch_ranges(dptrs, sizes, count, managed)?,
            advice::batch_places(count, prefetchLocs, prefetchLocIdxs, numPrefetchLocs)?,
        )
    };
    if flags != 0 {
        return Err(INVALID);
    }
    stream::target(default_stream, hStream)?;
    let mut advised = ADVISED.lock();
    for (range, place) in ranges.into_iter().zip(places) {
        advised.prefetch(range, check(place)?);
    }
    Ok(())
}

/// The contents may be anything afterwards, so they may also stay.
pub(crate) unsafe fn cuMemDiscardBatchAsync(
    default_stream: CUstream,
    dptrs: *mut CUdeviceptr,
    sizes: *mut usize,
    count: usize,
    flags: u64,
    hStream: CUstream,
) -> Result<(), CUresult> {
    // SAFETY: the same contract.
    unsafe { advice::batch_ranges(dptrs, sizes, count, managed)? };
    if flags != 0 {
        return Err(INVALID);
    }
    stream::target(default_stream, hStream).map(drop)
}

pub(crate) unsafe fn cuMemDiscardAndPrefetchBatchAsync(
    default_stream: CUstream,
    dptrs: *mut CUdeviceptr,
    sizes: *mut usize,
    count: usize,
    prefetchLocs: *mut CUmemLocation,
    prefetchLocIdxs: *mut usize,
    numPrefetchLocs: usize,
    flags: u64,
    hStream: CUstream,
) -> Result<(), CUresult> {
    // SAFETY: the same contract.
    unsafe {
        cuMemPrefetchBatchAsync(
            default_stream,
            dptrs,
            sizes,
            count,
            prefetchLocs,
            prefetchLocIdxs,
            numPrefetchLocs,
            flags,
            hStream,
        )
    }
}

pub(crate) fn cuMemAdvise(
    devPtr: CUdeviceptr,
    count: usize,
    advice: CUmem_advise,
    device: CUdevice,
) -> Result<(), CUresult> {
    advise(devPtr, count, advice, || Ok(Place::of_device(device)))
}

pub(crate) fn cuMemAdvise_v2(
    devPtr: CUdeviceptr,
    count: usize,
    advice: CUmem_advise,
    location: CUmemLocation,
) -> Result<(), CUresult> {
    advise(devPtr, count, advice, || Place::of_location(&location))
}

fn advise(
    address: CUdeviceptr,
    bytes: usize,
    hint: CUmem_advise,
    place: impl FnOnce() -> Result<Place, CUresult>,
) -> Result<(), CUresult> {
    context::usable()?;
    let range = managed(address, bytes)?;
    let place = match advice::has_place(hint) {
        true => check(place()?)?,
        false => Place::Host(None),
    };
    ADVISED.lock().advise(range, hint, place)
}

pub(crate) unsafe fn cuMemRangeGetAttribute(
    data: *mut c_void,
    dataSize: usize,
    attribute: CUmem_range_attribute,
    devPtr: CUdeviceptr,
    count: usize,
) -> Result<(), CUresult> {
    context::usable()?;
    let range = managed(devPtr, count)?;
    // SAFETY: the contract of cuda.h: null or room for so many bytes.
    unsafe { ADVISED.lock().write(data, dataSize, attribute, range) }
}

pub(crate) unsafe fn cuMemRangeGetAttributes(
    data: *mut *mut c_void,
    dataSizes: *mut usize,
    attributes: *mut CUmem_range_attribute,
    numAttributes: usize,
    devPtr: CUdeviceptr,
    count: usize,
) -> Result<(), CUresult> {
    let ask = |place, bytes, attribute| {
        // SAFETY: the contract of cuda.h.
        unsafe { cuMemRangeGetAttribute(place, bytes, attribute, devPtr, count) }
    };
    // SAFETY: the contract of cuda.h: arrays of so many elements.
    unsafe { advice::each_attribute(data, dataSizes, attributes, numAttributes, ask) }
}

/// The host may use managed memory at any time, so it makes no difference to what it is attached.
pub(crate) fn cuStreamAttachMemAsync(
    default_stream: CUstream,
    hStream: CUstream,
    dptr: CUdeviceptr,
    length: usize,
    flags: u32,
) -> Result<(), CUresult> {
    stream::target(default_stream, hStream)?;
    let known = allocations::find(dptr.0).filter(|found| found.kind.is_managed());
    let known = known.ok_or(INVALID)?;
    let is_whole = known.base == dptr.0 && (length == 0 || length as u64 == known.bytes);
    let is_default = hStream.is_null()
        || hStream == gvirtus_abi::CU_STREAM_LEGACY
        || hStream == gvirtus_abi::CU_STREAM_PER_THREAD;
    let is_flag = match CUmemAttach_flags(flags) {
        CUmemAttach_flags::CU_MEM_ATTACH_GLOBAL | CUmemAttach_flags::CU_MEM_ATTACH_HOST => true,
        CUmemAttach_flags::CU_MEM_ATTACH_SINGLE => !is_default,
        _ => false,
    };
    match is_whole && is_flag {
        true => Ok(()),
        false => Err(INVALID),
    }
}
