// SPDX-License-Identifier: Apache-2.0
//! Managed memory. It lies in the device's memory and, at the same address, in the application's;
//! see [`crate::memory::Mirror`] for how the two are kept equal. Hints do not travel.

use std::ffi::{c_char, c_void};
use std::ops::Range;

use gvirtus_abi::{
    CUdevice, CUdeviceptr, CUlibrary, CUmem_advise, CUmem_range_attribute, CUmemAttach_flags,
    CUmemLocation, CUresult, CUstream,
};
use gvirtus_driver_face::advice::{self, Place as Location};
use gvirtus_driver_face::log;
use gvirtus_protocol::command::{ContextCreate, GetGlobal, Word};
use gvirtus_protocol::opcode;
use zerocopy::IntoBytes as _;
use zerocopy::little_endian::{U32, U64};

use super::memory::{Allocated, Place, allocate_at};
use super::{INVALID_VALUE, Status, put, put_optional, required, text};
use crate::context::Context;
use crate::handle::Kind;
use crate::memory::{Attachment, DeviceRange, Mirror, RangeKind};
use crate::process::session;
use crate::session::Session;

/// `cuMemAllocManaged`.
pub unsafe fn cuMemAllocManaged(dptr: *mut CUdeviceptr, bytesize: usize, flags: u32) -> Status {
    let session = session()?;
    let context = session.current()?;
    let dptr = required(dptr)?;
    let attachment = match CUmemAttach_flags(flags) {
        CUmemAttach_flags::CU_MEM_ATTACH_GLOBAL => Attachment::Global,
        CUmemAttach_flags::CU_MEM_ATTACH_HOST => Attachment::Host,
        _ => return Err(INVALID_VALUE),
    };
    if bytesize == 0 {
        return Err(INVALID_VALUE);
    }
    let kind = RangeKind::Managed;
    let address = session.allocate_shared(context, bytesize as u64, attachment, kind)?;
    // SAFETY: the caller's promise.
    unsafe { put(dptr, CUdeviceptr(address)) }
}

impl Session {
    /// Allocates memory that both sides have at one address.
    pub(super) fn allocate_shared(
        &self,
        context: Context,
        bytes: u64,
        attachment: Attachment,
        kind: RangeKind,
    ) -> Result<u64, CUresult> {
        let word = U64::new(bytes);
        let place = Place {
            context: context.number,
            device: context.device,
            kind,
        };
        let allocated = allocate_at(self, place, || {
            let body = Word { word };
            let reply = self.call(opcode::cuMemAlloc_v2, context.number, body.as_bytes())?;
            Ok(Allocated {
                address: reply.promised_word(0)?,
                bytes,
                pitch_bytes: 0,
            })
        })?;
        let address = allocated.address;
        if !self.device_ranges.write().open(address) {
            self.device_ranges.write().remove(address);
            self.post_word(opcode::cuMemFree_v2, context.number, address)?;
            log!(
                Error,
                "the application uses addresses of managed memory itself"
            );
            return Err(CUresult::CUDA_ERROR_OUT_OF_MEMORY);
        }
        let mirror = Mirror::new(address, address, bytes, context.number, attachment);
        self.shared.insert(mirror);
        Ok(address)
    }

    /// Shared memory is about to be freed: what the device had queued on it is complete then.
    pub(super) fn forget_shared(&self, range: &DeviceRange) -> Status {
        self.settle_shared()?;
        self.shared.mirrors.lock().remove(range.base);
        let end = range.base.saturating_add(range.bytes);
        self.shared.advised.lock().forget(range.base..end);
        Ok(())
    }
}

/// `cuLibraryGetManaged`.
pub unsafe fn cuLibraryGetManaged(
    dptr: *mut CUdeviceptr,
    bytes: *mut usize,
    library: CUlibrary,
    name: *const c_char,
) -> Status {
    let session = session()?;
    let context = session.context_of_variables()?;
    // SAFETY: the caller's promise.
    let name = unsafe { text(name)? };
    let (key, _) = session.image(library.0, Kind::Library)?;
    let image = U32::new(key.number());
    let mut body = GetGlobal { image }.as_bytes().to_vec();
    body.extend_from_slice(name.to_bytes());
    let reply = session.call(opcode::cuLibraryGetManaged, context.number, &body)?;
    let (address, length) = (reply.promised_word(0)?, reply.promised_word(1)?);
    session.share_variable(context, key.number(), address, length)?;
    let size = usize::try_from(length).map_err(|_| CUresult::CUDA_ERROR_UNKNOWN)?;
    // SAFETY: the caller's promise.
    unsafe { put_optional(dptr, CUdeviceptr(address)) };
    // SAFETY: the caller's promise.
    unsafe { put_optional(bytes, size) };
    Ok(())
}

impl Session {
    /// The current context. Without one, that of the first device, which only the worker retains:
    /// NVIDIA's runtime asks for managed variables before it has a context.
    fn context_of_variables(&self) -> Result<Context, CUresult> {
        if let Ok(context) = self.current() {
            return Ok(context);
        }
        let (number, device) = (1, 0);
        let create = ContextCreate {
            device: U32::new(device),
            flags: U32::new(0),
        };
        self.post(opcode::cuDevicePrimaryCtxRetain, number, create.as_bytes())?;
        Ok(Context { number, device })
    }

    /// Makes a managed variable the application's too.
    fn share_variable(&self, context: Context, image: u32, base: u64, bytes: u64) -> Status {
        if self.shared.mirrors.lock().find(base).is_some() {
            return Ok(());
        }
        let mut ranges = self.device_ranges.write();
        ranges.insert(DeviceRange {
            base,
            bytes,
            context: context.number,
            device: context.device,
            id: self.new_id(),
            kind: RangeKind::ManagedVariable(image),
            is_reserved: false,
        });
        if !ranges.open(base) {
            log!(
                Error,
                "the application uses addresses of a managed variable itself"
            );
            return Err(CUresult::CUDA_ERROR_OUT_OF_MEMORY);
        }
        drop(ranges);
        let mirror = Mirror::new(base, base, bytes, context.number, Attachment::Global);
        let mut mirror = mirror.of_device();
        // The pages may hold what an earlier variable left; the device's bytes are what counts.
        // SAFETY: opened above, and not handed out yet.
        unsafe { mirror.clear() };
        self.download(&mut mirror)?;
        self.shared.insert(mirror);
        Ok(())
    }

    /// The addresses of a part of one piece of managed memory.
    fn managed(&self, address: CUdeviceptr, bytes: usize) -> Result<Range<u64>, CUresult> {
        let ranges = self.device_ranges.read();
        ranges.check(address.0, bytes as u64)?;
        match ranges.find(address.0) {
            Some(range) if bytes > 0 && range.kind.is_managed() => {
                Ok(address.0..address.0 + bytes as u64)
            }
            _ => Err(INVALID_VALUE),
        }
    }

    fn check_location(&self, location: Location) -> Result<Location, CUresult> {
        if let Location::Device(ordinal) = location {
            self.device(CUdevice(ordinal))?;
        }
        Ok(location)
    }

    fn prefetch(
        &self,
        (default_stream, stream): (CUstream, CUstream),
        range: Range<u64>,
        location: Location,
    ) -> Status {
        let location = self.check_location(location)?;
        self.stream(default_stream, stream)?;
        self.shared.advised.lock().prefetch(range, location);
        Ok(())
    }

    fn advise(
        &self,
        range: Range<u64>,
        hint: CUmem_advise,
        location: impl FnOnce() -> Result<Location, CUresult>,
    ) -> Status {
        self.current()?;
        let location = match advice::has_place(hint) {
            true => self.check_location(location()?)?,
            false => Location::Host(None),
        };
        self.shared.advised.lock().advise(range, hint, location)
    }
}

/// `cuMemPrefetchAsync`.
pub unsafe fn cuMemPrefetchAsync(
    default_stream: CUstream,
    devPtr: CUdeviceptr,
    count: usize,
    dstDevice: CUdevice,
    hStream: CUstream,
) -> Status {
    let session = session()?;
    let range = session.managed(devPtr, count)?;
    session.prefetch(
        (default_stream, hStream),
        range,
        Location::of_device(dstDevice),
    )
}

/// `cuMemPrefetchAsync_v2`.
pub unsafe fn cuMemPrefetchAsync_v2(
    default_stream: CUstream,
    devPtr: CUdeviceptr,
    count: usize,
    location: CUmemLocation,
    flags: u32,
    hStream: CUstream,
) -> Status {
    let session = session()?;
    if flags != 0 {
        return Err(INVALID_VALUE);
    }
    let range = session.managed(devPtr, count)?;
    let location = Location::of_location(&location)?;
    session.prefetch((default_stream, hStream), range, location)
}

/// `cuMemPrefetchBatchAsync`.
pub unsafe fn cuMemPrefetchBatchAsync(
    default_stream: CUstream,
    dptrs: *mut CUdeviceptr,
    sizes: *mut usize,
    count: usize,
    prefetchLocs: *mut CUmemLocation,
    prefetchLocIdxs: *mut usize,
    numPrefetchLocs: usize,
    flags: u64,
    hStream: CUstream,
) -> Status {
    let session = session()?;
    // SAFETY: the caller's promise.
    let ranges = unsafe { batch(session, dptrs, sizes, count)? };
    if flags != 0 {
        return Err(INVALID_VALUE);
    }
    // SAFETY: the caller's promise.
    let places =
        unsafe { advice::batch_places(count, prefetchLocs, prefetchLocIdxs, numPrefetchLocs)? };
    for (range, place) in ranges.into_iter().zip(places) {
        session.prefetch((default_stream, hStream), range, place)?;
    }
    Ok(())
}

/// `cuMemDiscardBatchAsync`: the contents may be anything afterwards, so they may also stay.
pub unsafe fn cuMemDiscardBatchAsync(
    default_stream: CUstream,
    dptrs: *mut CUdeviceptr,
    sizes: *mut usize,
    count: usize,
    flags: u64,
    hStream: CUstream,
) -> Status {
    let session = session()?;
    // SAFETY: the caller's promise.
    unsafe { batch(session, dptrs, sizes, count)? };
    if flags != 0 {
        return Err(INVALID_VALUE);
    }
    session.stream(default_stream, hStream).map(drop)
}

/// `cuMemDiscardAndPrefetchBatchAsync`.
pub unsafe fn cuMemDiscardAndPrefetchBatchAsync(
    default_stream: CUstream,
    dptrs: *mut CUdeviceptr,
    sizes: *mut usize,
    count: usize,
    prefetchLocs: *mut CUmemLocation,
    prefetchLocIdxs: *mut usize,
    numPrefetchLocs: usize,
    flags: u64,
    hStream: CUstream,
) -> Status {
    // SAFETY: the caller's promise.
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

/// # Safety
///
/// Null, or arrays of `count` elements.
unsafe fn batch(
    session: &Session,
    addresses: *mut CUdeviceptr,
    sizes: *mut usize,
    count: usize,
) -> Result<Vec<Range<u64>>, CUresult> {
    let managed = |address, bytes| session.managed(address, bytes);
    // SAFETY: the caller's promise.
    unsafe { advice::batch_ranges(addresses, sizes, count, managed) }
}

/// `cuMemAdvise`.
pub unsafe fn cuMemAdvise(
    devPtr: CUdeviceptr,
    count: usize,
    advice: CUmem_advise,
    device: CUdevice,
) -> Status {
    let session = session()?;
    let range = session.managed(devPtr, count)?;
    session.advise(range, advice, || Ok(Location::of_device(device)))
}

/// `cuMemAdvise_v2`.
pub unsafe fn cuMemAdvise_v2(
    devPtr: CUdeviceptr,
    count: usize,
    advice: CUmem_advise,
    location: CUmemLocation,
) -> Status {
    let session = session()?;
    let range = session.managed(devPtr, count)?;
    session.advise(range, advice, || Location::of_location(&location))
}

/// `cuMemRangeGetAttribute`.
pub unsafe fn cuMemRangeGetAttribute(
    data: *mut c_void,
    dataSize: usize,
    attribute: CUmem_range_attribute,
    devPtr: CUdeviceptr,
    count: usize,
) -> Status {
    let session = session()?;
    session.current()?;
    let range = session.managed(devPtr, count)?;
    let advised = session.shared.advised.lock();
    // SAFETY: the caller's promise.
    unsafe { advised.write(data, dataSize, attribute, range) }
}

/// `cuMemRangeGetAttributes`.
pub unsafe fn cuMemRangeGetAttributes(
    data: *mut *mut c_void,
    dataSizes: *mut usize,
    attributes: *mut CUmem_range_attribute,
    numAttributes: usize,
    devPtr: CUdeviceptr,
    count: usize,
) -> Status {
    let ask = |place, bytes, attribute| {
        // SAFETY: the caller's promise.
        unsafe { cuMemRangeGetAttribute(place, bytes, attribute, devPtr, count) }
    };
    // SAFETY: the caller's promise.
    unsafe { advice::each_attribute(data, dataSizes, attributes, numAttributes, ask) }
}

/// `cuStreamAttachMemAsync`: the host may use memory that is attached to a stream while other
/// streams are busy.
pub unsafe fn cuStreamAttachMemAsync(
    default_stream: CUstream,
    hStream: CUstream,
    dptr: CUdeviceptr,
    length: usize,
    flags: u32,
) -> Status {
    let session = session()?;
    let stream = session.stream(default_stream, hStream)?;
    let attachment = match CUmemAttach_flags(flags) {
        CUmemAttach_flags::CU_MEM_ATTACH_GLOBAL => Attachment::Global,
        CUmemAttach_flags::CU_MEM_ATTACH_HOST => Attachment::Host,
        CUmemAttach_flags::CU_MEM_ATTACH_SINGLE if stream.number != 0 => {
            Attachment::Stream(stream.context, stream.number)
        }
        _ => return Err(INVALID_VALUE),
    };
    let mut mirrors = session.shared.mirrors.lock();
    match mirrors.find_mut(dptr.0) {
        Some(mirror)
            if mirror.host == dptr.0
                && mirror.attachment != Attachment::Mapped
                && (length == 0 || length as u64 == mirror.bytes()) =>
        {
            mirror.attachment = attachment;
            Ok(())
        }
        _ => Err(INVALID_VALUE),
    }
}
