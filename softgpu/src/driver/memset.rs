// SPDX-License-Identifier: Apache-2.0
//! Memsets in one and two dimensions (`cuda.h`: "Memory Management").
//!
//! Of device memory all of them are asynchronous to the host; of host memory the plain ones are
//! complete when they return.

use gvirtus_abi::{CUdeviceptr, CUresult, CUstream};

use super::allocations::{Place, place};
use super::limits::SHORT_COPY_BYTES;
use super::scheduler::{Placement, SCHEDULER};
use super::stream;

/// Rows to be filled with one value, checked.
#[derive(Clone, Copy)]
struct Fill<T> {
    start: u64,
    pitch: usize,
    value: T,
    width: usize,
    height: usize,
}

impl<T: Copy> Fill<T> {
    fn run(self) {
        let is_contiguous = self.pitch == self.width * size_of::<T>();
        let (width, height) = match is_contiguous {
            true => (self.width * self.height, 1),
            false => (self.width, self.height),
        };
        for row in 0..height {
            let place = self.start as usize + row * self.pitch;
            let place = std::ptr::with_exposed_provenance_mut::<T>(place);
            // SAFETY: the range was checked when the memset was submitted and is aligned; device
            // memory stays mapped, and nobody else holds a reference into it.
            unsafe { std::slice::from_raw_parts_mut(place, width) }.fill(self.value);
        }
    }
}

/// Submits a memset of `height` rows of `width` elements, `pitch` bytes apart.
fn fill<T: Copy + Send + 'static>(
    (default_stream, stream): (CUstream, CUstream),
    is_asynchronous: bool,
    address: CUdeviceptr,
    pitch: usize,
    value: T,
    (width, height): (usize, usize),
) -> Result<(), CUresult> {
    let invalid = CUresult::CUDA_ERROR_INVALID_VALUE;
    let target = stream::target(default_stream, stream)?;
    if width == 0 || height == 0 {
        return Ok(());
    }
    let size = size_of::<T>();
    let row = width.checked_mul(size).ok_or(invalid)?;
    let is_aligned = address.0.is_multiple_of(size as u64) && pitch.is_multiple_of(size);
    if !is_aligned || (height > 1 && pitch < row) {
        return Err(invalid);
    }
    let bytes = pitch
        .checked_mul(height - 1)
        .and_then(|rows| rows.checked_add(row))
        .ok_or(invalid)?;
    let place = place(address.0, bytes as u64)?;
    if place == Place::Pageable {
        return Err(invalid);
    }
    let fill = Fill {
        start: address.0,
        pitch,
        value,
        width,
        height,
    };
    let waits = match place {
        Place::Device { sync_memops } => sync_memops && !is_asynchronous,
        _ => !is_asynchronous,
    };
    let placement = match waits || row * height <= SHORT_COPY_BYTES {
        true => Placement::Here,
        false => Placement::Worker,
    };
    let marker = SCHEDULER.submit(target.id(), placement, move || {
        fill.run();
        Ok(())
    });
    if waits {
        SCHEDULER.wait(marker);
    }
    target.context().error.check()
}

macro_rules! memsets {
    ($($value:ident: $ty:ty =>
        $line:ident, $line_async:ident, $rows:ident, $rows_async:ident;)*) => {$(
        pub(crate) fn $line(
            default_stream: CUstream,
            dstDevice: CUdeviceptr,
            $value: $ty,
            N: usize,
        ) -> Result<(), CUresult> {
            let streams = (default_stream, CUstream::NULL);
            fill(streams, false, dstDevice, 0, $value, (N, 1))
        }

        pub(crate) fn $line_async(
            default_stream: CUstream,
            dstDevice: CUdeviceptr,
            $value: $ty,
            N: usize,
            hStream: CUstream,
        ) -> Result<(), CUresult> {
            fill((default_stream, hStream), true, dstDevice, 0, $value, (N, 1))
        }

        pub(crate) fn $rows(
            default_stream: CUstream,
            dstDevice: CUdeviceptr,
            dstPitch: usize,
            $value: $ty,
            Width: usize,
            Height: usize,
        ) -> Result<(), CUresult> {
            let streams = (default_stream, CUstream::NULL);
            fill(streams, false, dstDevice, dstPitch, $value, (Width, Height))
        }

        pub(crate) fn $rows_async(
            default_stream: CUstream,
            dstDevice: CUdeviceptr,
            dstPitch: usize,
            $value: $ty,
            Width: usize,
            Height: usize,
            hStream: CUstream,
        ) -> Result<(), CUresult> {
            let streams = (default_stream, hStream);
            fill(streams, true, dstDevice, dstPitch, $value, (Width, Height))
        }
    )*};
}

memsets! {
    uc: u8 => cuMemsetD8_v2, cuMemsetD8Async, cuMemsetD2D8_v2, cuMemsetD2D8Async;
    us: u16 => cuMemsetD16_v2, cuMemsetD16Async, cuMemsetD2D16_v2, cuMemsetD2D16Async;
    ui: u32 => cuMemsetD32_v2, cuMemsetD32Async, cuMemsetD2D32_v2, cuMemsetD2D32Async;
}
