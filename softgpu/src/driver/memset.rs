// SPDX-License-Identifier: Apache-2.0
//! Memsets in one and two dimensions (`cuda.h`: "Memory Management").
//!
//! Of device memory all of them are asynchronous to the host; of host memory the plain ones are
//! complete when they return.

use gvirtus_abi::{CUdeviceptr, CUresult, CUstream};

use gvirtus_graph::{Memset, Payload, capture};

use super::allocations::{Place, writable_place};
use super::graph::stream_of;
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
fn fill<T: Copy + Into<u32> + Send + 'static>(
    (default_stream, stream): (CUstream, CUstream),
    is_asynchronous: bool,
    address: CUdeviceptr,
    pitch: usize,
    value: T,
    (width, height): (usize, usize),
) -> Result<(), CUresult> {
    let target = match is_asynchronous {
        true => stream::capturable(default_stream, stream)?,
        false => stream::target(default_stream, stream)?,
    };
    if width == 0 || height == 0 {
        return Ok(());
    }
    let memset = Memset {
        address,
        pitch_bytes: pitch,
        value: value.into(),
        element_bytes: size_of::<T>() as u32,
        width,
        height,
        context: target.context().handle,
    };
    let place = check_place(&memset)?;
    if capture::is_possible() {
        if !is_asynchronous {
            capture::check_unsafe()?;
        } else if capture::record(&stream_of(&target), || Ok(Payload::Memset(memset)))? {
            return Ok(());
        }
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
    let placement = match waits || width * height * size_of::<T>() <= SHORT_COPY_BYTES {
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

/// Where a memset goes.
///
/// # Errors
///
/// `CUDA_ERROR_INVALID_VALUE` unless its rows are aligned and lie in memory that the device knows.
fn check_place(memset: &Memset) -> Result<Place, CUresult> {
    let invalid = CUresult::CUDA_ERROR_INVALID_VALUE;
    let size = memset.element_bytes as usize;
    let row = memset.width.checked_mul(size).ok_or(invalid)?;
    let (address, pitch) = (memset.address.0, memset.pitch_bytes);
    let is_aligned = address.is_multiple_of(size as u64) && pitch.is_multiple_of(size);
    if !is_aligned || (memset.height > 1 && pitch < row) {
        return Err(invalid);
    }
    let bytes = pitch
        .checked_mul(memset.height.saturating_sub(1))
        .and_then(|rows| rows.checked_add(row))
        .ok_or(invalid)?;
    match writable_place(address, bytes as u64)? {
        Place::Pageable => Err(invalid),
        place => Ok(place),
    }
}

/// Whether a memset can be a node of a graph.
///
/// # Errors
///
/// `CUDA_ERROR_INVALID_VALUE`.
pub(super) fn check(memset: &Memset) -> Result<(), CUresult> {
    let is_line = memset.height <= 1;
    let pitch_bytes = match is_line {
        true => 0,
        false => memset.pitch_bytes,
    };
    check_place(&Memset {
        pitch_bytes,
        ..*memset
    })
    .map(drop)
}

/// Runs a memset that [`check`] has passed, as part of a graph.
pub(super) fn run(memset: &Memset) {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the value's lower bits are those of an element"
    )]
    match memset.element_bytes {
        1 => of(memset, memset.value as u8).run(),
        2 => of(memset, memset.value as u16).run(),
        _ => of(memset, memset.value).run(),
    }
}

const fn of<T: Copy>(memset: &Memset, value: T) -> Fill<T> {
    Fill {
        start: memset.address.0,
        pitch: memset.pitch_bytes,
        value,
        width: memset.width,
        height: memset.height,
    }
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
