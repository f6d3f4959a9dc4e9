// SPDX-License-Identifier: Apache-2.0
//! Regular calls on streams and events that a capture may take for itself. While nothing is
//! captured each costs one load more than the call that only travels.

use gvirtus_abi::{CUdeviceptr, CUevent, CUmemorytype, CUresult, CUstream};
use gvirtus_abi::{CUevent_record_flags, CUevent_wait_flags};
use gvirtus_graph::{Memcpy, Memset, Payload, capture};

use super::{INVALID_VALUE, Status, graph_stream};
use crate::process::session;
use crate::regular;

/// For an operation that the caller waits for, on a default stream.
fn check_synchronous(default_stream: CUstream) -> Status {
    if capture::is_possible() {
        let stream = graph_stream(session()?, default_stream, CUstream::NULL)?;
        capture::check_uncaptured(&stream)?;
        capture::check_unsafe()?;
    }
    Ok(())
}

/// An operation that the caller waits for. If the host has its memory too, then it is complete at
/// its return.
fn synchronous(
    default_stream: CUstream,
    addresses: &[CUdeviceptr],
    operation: impl FnOnce() -> Status,
) -> Status {
    check_synchronous(default_stream)?;
    let is_shared = before_use(default_stream, CUstream::NULL, addresses)?;
    operation()?;
    if !is_shared {
        return Ok(());
    }
    let session = session()?;
    let stream = session.stream(default_stream, CUstream::NULL)?;
    session.wait_for_stream(stream)
}

/// As [`Session::before_use`](crate::session::Session::before_use).
fn before_use(
    default_stream: CUstream,
    stream: CUstream,
    addresses: &[CUdeviceptr],
) -> Result<bool, CUresult> {
    let session = session()?;
    if !session.shared.is_used() {
        return Ok(false);
    }
    let stream = session.stream(default_stream, stream)?;
    let addresses: Vec<u64> = addresses.iter().map(|address| address.0).collect();
    session.before_use(stream, &addresses)
}

/// Whether a memset has become a node.
fn capture_memset(
    default: CUstream,
    handle: CUstream,
    (address, pitch_bytes): (CUdeviceptr, usize),
    (value, element_bytes): (u32, u32),
    (width, height): (usize, usize),
) -> Result<bool, CUresult> {
    let session = session()?;
    let stream = graph_stream(session, default, handle)?;
    if width == 0 || height == 0 {
        return capture::is_captured(&stream);
    }
    let memset = Memset {
        address,
        pitch_bytes,
        value,
        element_bytes,
        width,
        height,
        context: stream.context,
    };
    let size = element_bytes as usize;
    let is_pitched = height == 1 || pitch_bytes.is_multiple_of(size);
    if !address.0.is_multiple_of(size as u64) || !is_pitched {
        return Err(INVALID_VALUE);
    }
    let row = (width as u64)
        .checked_mul(size as u64)
        .ok_or(INVALID_VALUE)?;
    session.check_device_rows(address.0, row, height as u64, pitch_bytes as u64)?;
    capture::record(&stream, || Ok(Payload::Memset(memset)))
}

macro_rules! memsets {
    ($($value:ident: $ty:ty, $bytes:literal =>
        $line:ident, $line_async:ident, $rows:ident, $rows_async:ident;)*) => {$(
        #[doc = concat!("`", stringify!($line), "`.")]
        pub unsafe fn $line(
            default_stream: CUstream,
            dstDevice: CUdeviceptr,
            $value: $ty,
            N: usize,
        ) -> Status {
            synchronous(default_stream, &[dstDevice], || {
                // SAFETY: the same contract.
                unsafe { regular::$line(default_stream, dstDevice, $value, N) }
            })
        }

        #[doc = concat!("`", stringify!($line_async), "`.")]
        pub unsafe fn $line_async(
            default_stream: CUstream,
            dstDevice: CUdeviceptr,
            $value: $ty,
            N: usize,
            hStream: CUstream,
        ) -> Status {
            if capture::is_possible() {
                let (value, shape) = ((u32::from($value), $bytes), (N, 1));
                if capture_memset(default_stream, hStream, (dstDevice, 0), value, shape)? {
                    return Ok(());
                }
            }
            before_use(default_stream, hStream, &[dstDevice])?;
            // SAFETY: the same contract.
            unsafe { regular::$line_async(default_stream, dstDevice, $value, N, hStream) }
        }

        #[doc = concat!("`", stringify!($rows), "`.")]
        pub unsafe fn $rows(
            default_stream: CUstream,
            dstDevice: CUdeviceptr,
            dstPitch: usize,
            $value: $ty,
            Width: usize,
            Height: usize,
        ) -> Status {
            synchronous(default_stream, &[dstDevice], || {
                // SAFETY: the same contract.
                unsafe {
                    regular::$rows(default_stream, dstDevice, dstPitch, $value, Width, Height)
                }
            })
        }

        #[doc = concat!("`", stringify!($rows_async), "`.")]
        pub unsafe fn $rows_async(
            default_stream: CUstream,
            dstDevice: CUdeviceptr,
            dstPitch: usize,
            $value: $ty,
            Width: usize,
            Height: usize,
            hStream: CUstream,
        ) -> Status {
            if capture::is_possible() {
                let (value, shape) = ((u32::from($value), $bytes), (Width, Height));
                if capture_memset(default_stream, hStream, (dstDevice, dstPitch), value, shape)? {
                    return Ok(());
                }
            }
            before_use(default_stream, hStream, &[dstDevice])?;
            // SAFETY: the same contract.
            unsafe {
                regular::$rows_async(
                    default_stream,
                    dstDevice,
                    dstPitch,
                    $value,
                    Width,
                    Height,
                    hStream,
                )
            }
        }
    )*};
}

memsets! {
    uc: u8, 1 => cuMemsetD8_v2, cuMemsetD8Async, cuMemsetD2D8_v2, cuMemsetD2D8Async;
    us: u16, 2 => cuMemsetD16_v2, cuMemsetD16Async, cuMemsetD2D16_v2, cuMemsetD2D16Async;
    ui: u32, 4 => cuMemsetD32_v2, cuMemsetD32Async, cuMemsetD2D32_v2, cuMemsetD2D32Async;
}

/// `cuMemcpyDtoD_v2`.
pub unsafe fn cuMemcpyDtoD_v2(
    default_stream: CUstream,
    dstDevice: CUdeviceptr,
    srcDevice: CUdeviceptr,
    ByteCount: usize,
) -> Status {
    synchronous(default_stream, &[dstDevice, srcDevice], || {
        // SAFETY: the same contract.
        unsafe { regular::cuMemcpyDtoD_v2(default_stream, dstDevice, srcDevice, ByteCount) }
    })
}

/// `cuMemcpyDtoDAsync_v2`.
pub unsafe fn cuMemcpyDtoDAsync_v2(
    default_stream: CUstream,
    dstDevice: CUdeviceptr,
    srcDevice: CUdeviceptr,
    ByteCount: usize,
    hStream: CUstream,
) -> Status {
    if capture::is_possible() {
        let session = session()?;
        let stream = graph_stream(session, default_stream, hStream)?;
        let make = || {
            for address in [dstDevice, srcDevice] {
                session.check_device_rows(address.0, ByteCount as u64, 1, 0)?;
            }
            let kind = CUmemorytype::CU_MEMORYTYPE_DEVICE;
            let (to, from) = ((kind, dstDevice.0), (kind, srcDevice.0));
            let memcpy = Memcpy::line(to, from, ByteCount, stream.context);
            Ok(Payload::Memcpy(memcpy))
        };
        if capture::record(&stream, make)? {
            return Ok(());
        }
    }
    before_use(default_stream, hStream, &[dstDevice, srcDevice])?;
    // SAFETY: the same contract.
    unsafe {
        regular::cuMemcpyDtoDAsync_v2(default_stream, dstDevice, srcDevice, ByteCount, hStream)
    }
}

/// `cuStreamQuery`.
pub unsafe fn cuStreamQuery(default_stream: CUstream, hStream: CUstream) -> Status {
    if capture::is_possible() {
        let stream = graph_stream(session()?, default_stream, hStream)?;
        capture::check_stream_wait(&stream)?;
    }
    // SAFETY: the same contract.
    unsafe { regular::cuStreamQuery(default_stream, hStream) }
}

/// `cuEventQuery`.
pub unsafe fn cuEventQuery(hEvent: CUevent) -> Status {
    if capture::is_possible() {
        session()?.event(hEvent)?;
        capture::check_event_wait(hEvent)?;
    }
    // SAFETY: the same contract.
    unsafe { regular::cuEventQuery(hEvent) }
}

/// `cuEventRecord`.
pub unsafe fn cuEventRecord(
    default_stream: CUstream,
    hEvent: CUevent,
    hStream: CUstream,
) -> Status {
    // SAFETY: the same contract.
    unsafe { cuEventRecordWithFlags(default_stream, hEvent, hStream, 0) }
}

/// `cuEventRecordWithFlags`. What the flag is for is done here, so it does not travel.
pub unsafe fn cuEventRecordWithFlags(
    default_stream: CUstream,
    hEvent: CUevent,
    hStream: CUstream,
    flags: u32,
) -> Status {
    let is_external = flags == CUevent_record_flags::CU_EVENT_RECORD_EXTERNAL.0;
    if flags != 0 && !is_external {
        return Err(INVALID_VALUE);
    }
    let session = session()?;
    let (key, event) = session.event(hEvent)?;
    if is_external || capture::is_possible() {
        let stream = session.capturable(default_stream, hStream)?;
        if stream.context != event.context {
            return Err(CUresult::CUDA_ERROR_INVALID_HANDLE);
        }
        let stream = graph_stream(session, default_stream, hStream)?;
        if capture::record_event(&stream, hEvent, is_external)? {
            return Ok(());
        }
    }
    // SAFETY: the same contract.
    unsafe { regular::cuEventRecord(default_stream, hEvent, hStream)? };
    session.settle_event(event)?;
    if !event.is_recorded {
        let is_recorded = true;
        session.events.set(
            key,
            crate::session::Event {
                is_recorded,
                ..event
            },
        );
    }
    Ok(())
}

/// `cuStreamWaitEvent`. What the flag is for is done here, so it does not travel.
pub unsafe fn cuStreamWaitEvent(
    default_stream: CUstream,
    hStream: CUstream,
    hEvent: CUevent,
    Flags: u32,
) -> Status {
    let is_external = Flags == CUevent_wait_flags::CU_EVENT_WAIT_EXTERNAL.0;
    if Flags != 0 && !is_external {
        return Err(INVALID_VALUE);
    }
    let session = session()?;
    let (_, event) = session.event(hEvent)?;
    if is_external || capture::is_possible() {
        let stream = graph_stream(session, default_stream, hStream)?;
        if capture::wait_event(&stream, hEvent, is_external, event.is_recorded)? {
            return Ok(());
        }
    }
    // SAFETY: the same contract.
    unsafe { regular::cuStreamWaitEvent(default_stream, hStream, hEvent, 0)? };
    session.settle_event(event)
}
