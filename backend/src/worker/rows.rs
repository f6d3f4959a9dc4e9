// SPDX-License-Identifier: Apache-2.0
//! A copy between host and device as pieces that fit into staging memory.

use core::ffi::c_void;
use std::ptr::NonNull;

use gvirtus_abi::{
    CUDA_MEMCPY2D, CUDA_MEMCPY3D, CUarray, CUdeviceptr, CUmemorytype, CUresult, CUstream,
};
use gvirtus_protocol::command::{Copy2D, CopyBox, DeviceBox};
use gvirtus_protocol::limits::PAYLOAD_BYTES_MAX;

use crate::driver::Driver;
use crate::limits::HOST_MEMORY_BYTES_MIN;

/// Rows of device memory or of an array whose bytes travel one after the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows {
    device: Place,
    width_bytes: u64,
    /// Rows of a slice.
    height: u64,
    depth: u64,
}

/// Where rows begin on the device, and how far they lie apart.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// 0 for memory.
    array: u64,
    address: u64,
    pitch_bytes: u64,
    slice_rows: u64,
    /// Byte, row and slice of an array.
    origin: [u64; 3],
}

/// A part of [`Rows`] that one call of the driver copies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    device: Place,
    width_bytes: usize,
    rows: usize,
}

/// Parts of a row of an array begin at a multiple of the longest texel, in bytes.
const TEXEL_BYTES_MAX: u64 = 16;

impl Rows {
    /// The rows that a client asks for.
    pub(super) fn parse(copy: &Copy2D) -> Result<Self, CUresult> {
        let device = Place {
            array: 0,
            address: copy.device_address.get(),
            pitch_bytes: copy.device_pitch_bytes.get(),
            slice_rows: 0,
            origin: [0; 3],
        };
        Self::new(device, copy.width_bytes.get(), copy.height.get(), 1)
    }

    /// The rows that a client asks for, which may be those of an array.
    pub(super) fn parse_box(copy: &CopyBox) -> Result<Self, CUresult> {
        let device = Place {
            array: copy.device.array.get(),
            address: copy.device.address.get(),
            pitch_bytes: copy.device.pitch_bytes.get(),
            slice_rows: copy.device.slice_rows.get(),
            origin: copy.device.origin.map(|part| part.get()),
        };
        let depth = copy.depth.get();
        if device.array == 0 && depth > 1 && device.slice_rows < copy.height.get() {
            return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
        }
        Self::new(device, copy.width_bytes.get(), copy.height.get(), depth)
    }

    fn new(device: Place, width_bytes: u64, height: u64, depth: u64) -> Result<Self, CUresult> {
        let rows = height.checked_mul(depth);
        let bytes = rows.and_then(|rows| rows.checked_mul(width_bytes));
        if bytes.is_none_or(|bytes| bytes > PAYLOAD_BYTES_MAX) {
            return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
        }
        let rows = Self {
            device,
            width_bytes,
            height,
            depth,
        };
        if device.array != 0 {
            return Ok(rows);
        }
        let is_pitched = height > 1 || depth > 1;
        if is_pitched && device.pitch_bytes < width_bytes {
            return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
        }
        if depth == 1 && device.pitch_bytes == width_bytes {
            return Ok(Self {
                width_bytes: rows.bytes(),
                height: 1,
                ..rows
            });
        }
        Ok(rows)
    }

    /// The array's handle, 0 for memory.
    pub(super) const fn array(&self) -> u64 {
        self.device.array
    }

    /// Bytes that travel.
    pub(super) const fn bytes(&self) -> u64 {
        self.width_bytes * self.height * self.depth
    }

    /// Where all of the bytes are in this process, if they are, without gaps.
    pub(super) fn host_memory(&self, driver: &Driver) -> Option<NonNull<u8>> {
        let is_line = self.device.array == 0 && self.height == 1 && self.depth == 1;
        if !is_line || self.width_bytes < HOST_MEMORY_BYTES_MIN {
            return None;
        }
        driver.host_memory(self.device.address, self.width_bytes)
    }

    /// The longest piece from byte `at` on that has at most `room` bytes.
    pub(super) fn piece(&self, at: u64, room: usize) -> Piece {
        let (row, column) = (at / self.width_bytes, at % self.width_bytes);
        let (slice, row) = (row / self.height, row % self.height);
        let room = room as u64;
        let rows_in_room = room / self.width_bytes;
        let (width_bytes, rows) = if column == 0 && rows_in_room > 0 {
            (self.width_bytes, rows_in_room.min(self.height - row))
        } else {
            let rest = self.width_bytes - column;
            match self.device.array {
                0 => (rest.min(room), 1),
                _ if rest <= room => (rest, 1),
                _ => (room - room % TEXEL_BYTES_MAX, 1),
            }
        };
        Piece {
            device: self.device.moved(column, row, slice),
            width_bytes: width_bytes as usize,
            rows: rows as usize,
        }
    }
}

impl Place {
    fn moved(&self, column: u64, row: u64, slice: u64) -> Self {
        let [x, y, z] = self.origin;
        if self.array != 0 {
            return Self {
                origin: [
                    x.wrapping_add(column),
                    y.wrapping_add(row),
                    z.wrapping_add(slice),
                ],
                ..*self
            };
        }
        let rows = slice.wrapping_mul(self.slice_rows).wrapping_add(row);
        let address = self
            .address
            .wrapping_add(rows.wrapping_mul(self.pitch_bytes))
            .wrapping_add(column);
        Self { address, ..*self }
    }

    /// As it travels, for [`memcpy_3d`].
    fn side(&self) -> DeviceBox {
        DeviceBox {
            array: self.array.into(),
            address: self.address.into(),
            pitch_bytes: self.pitch_bytes.into(),
            slice_rows: self.slice_rows.into(),
            origin: self.origin.map(Into::into),
        }
    }
}

impl Piece {
    /// Bytes that travel.
    pub(super) const fn bytes(&self) -> usize {
        self.width_bytes * self.rows
    }

    /// Queues the copy of `from` to the device.
    ///
    /// # Safety
    ///
    /// `from` is valid for [`Piece::bytes`] until the copy is done; `stream` belongs to the current
    /// context; an array is the session's own.
    pub(super) unsafe fn upload(
        &self,
        driver: &Driver,
        from: *const c_void,
        stream: CUstream,
    ) -> CUresult {
        let device = CUdeviceptr(self.device.address);
        if self.device.array == 0 && self.rows == 1 {
            // SAFETY: as above.
            return unsafe { driver.cuMemcpyHtoDAsync_v2(device, from, self.width_bytes, stream) };
        }
        if self.device.array != 0 {
            let copy = CUDA_MEMCPY3D {
                srcMemoryType: CUmemorytype::CU_MEMORYTYPE_HOST,
                srcHost: from,
                srcPitch: self.width_bytes,
                srcHeight: self.rows,
                ..self.copy_3d(true)
            };
            // SAFETY: as above.
            return unsafe { driver.cuMemcpy3DAsync_v2(&raw const copy, stream) };
        }
        let copy = CUDA_MEMCPY2D {
            srcMemoryType: CUmemorytype::CU_MEMORYTYPE_HOST,
            srcHost: from,
            srcPitch: self.width_bytes,
            dstMemoryType: CUmemorytype::CU_MEMORYTYPE_DEVICE,
            dstDevice: device,
            dstPitch: self.device.pitch_bytes as usize,
            ..self.copy()
        };
        // SAFETY: as above.
        unsafe { driver.cuMemcpy2DAsync_v2(&raw const copy, stream) }
    }

    /// Queues the copy from the device to `to`.
    ///
    /// # Safety
    ///
    /// As for [`Piece::upload`].
    pub(super) unsafe fn download(
        &self,
        driver: &Driver,
        to: *mut c_void,
        stream: CUstream,
    ) -> CUresult {
        let device = CUdeviceptr(self.device.address);
        if self.device.array == 0 && self.rows == 1 {
            // SAFETY: as above.
            return unsafe { driver.cuMemcpyDtoHAsync_v2(to, device, self.width_bytes, stream) };
        }
        if self.device.array != 0 {
            let copy = CUDA_MEMCPY3D {
                dstMemoryType: CUmemorytype::CU_MEMORYTYPE_HOST,
                dstHost: to,
                dstPitch: self.width_bytes,
                dstHeight: self.rows,
                ..self.copy_3d(false)
            };
            // SAFETY: as above.
            return unsafe { driver.cuMemcpy3DAsync_v2(&raw const copy, stream) };
        }
        let copy = CUDA_MEMCPY2D {
            srcMemoryType: CUmemorytype::CU_MEMORYTYPE_DEVICE,
            srcDevice: device,
            srcPitch: self.device.pitch_bytes as usize,
            dstMemoryType: CUmemorytype::CU_MEMORYTYPE_HOST,
            dstHost: to,
            dstPitch: self.width_bytes,
            ..self.copy()
        };
        // SAFETY: as above.
        unsafe { driver.cuMemcpy2DAsync_v2(&raw const copy, stream) }
    }

    /// From or to the piece's place; the other side is nowhere yet.
    fn copy_3d(&self, is_upload: bool) -> CUDA_MEMCPY3D {
        let (device, nowhere) = (self.device.side(), DeviceBox::default());
        let (to, from) = match is_upload {
            true => (&device, &nowhere),
            false => (&nowhere, &device),
        };
        memcpy_3d(to, from, [self.width_bytes, self.rows, 1])
    }

    const fn copy(&self) -> CUDA_MEMCPY2D {
        CUDA_MEMCPY2D {
            srcXInBytes: 0,
            srcY: 0,
            srcMemoryType: CUmemorytype::CU_MEMORYTYPE_HOST,
            srcHost: std::ptr::null(),
            srcDevice: CUdeviceptr(0),
            srcArray: CUarray::NULL,
            srcPitch: 0,
            dstXInBytes: 0,
            dstY: 0,
            dstMemoryType: CUmemorytype::CU_MEMORYTYPE_HOST,
            dstHost: std::ptr::null_mut(),
            dstDevice: CUdeviceptr(0),
            dstArray: CUarray::NULL,
            dstPitch: 0,
            WidthInBytes: self.width_bytes,
            Height: self.rows,
        }
    }
}

/// A copy between two places on the device, of bytes, rows and slices.
pub(super) fn memcpy_3d(to: &DeviceBox, from: &DeviceBox, shape: [usize; 3]) -> CUDA_MEMCPY3D {
    let memory = |side: &DeviceBox| match side.array.get() {
        0 => CUmemorytype::CU_MEMORYTYPE_DEVICE,
        _ => CUmemorytype::CU_MEMORYTYPE_ARRAY,
    };
    let [dst, src] = [to, from].map(|side| side.origin.map(|part| part.get() as usize));
    CUDA_MEMCPY3D {
        srcXInBytes: src[0],
        srcY: src[1],
        srcZ: src[2],
        srcLOD: 0,
        srcMemoryType: memory(from),
        srcHost: std::ptr::null(),
        srcDevice: CUdeviceptr(from.address.get()),
        srcArray: CUarray(from.array.get()),
        reserved0: std::ptr::null_mut(),
        srcPitch: from.pitch_bytes.get() as usize,
        srcHeight: from.slice_rows.get() as usize,
        dstXInBytes: dst[0],
        dstY: dst[1],
        dstZ: dst[2],
        dstLOD: 0,
        dstMemoryType: memory(to),
        dstHost: std::ptr::null_mut(),
        dstDevice: CUdeviceptr(to.address.get()),
        dstArray: CUarray(to.array.get()),
        reserved1: std::ptr::null_mut(),
        dstPitch: to.pitch_bytes.get() as usize,
        dstHeight: to.slice_rows.get() as usize,
        WidthInBytes: shape[0],
        Height: shape[1],
        Depth: shape[2],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(pitch: u64, width: u64, height: u64) -> Result<Rows, CUresult> {
        Rows::parse(&Copy2D {
            device_address: 0x1000.into(),
            device_pitch_bytes: pitch.into(),
            width_bytes: width.into(),
            height: height.into(),
            stream: 0.into(),
            synchronous: 0.into(),
        })
    }

    /// Copies a device of `pitch * height` bytes piece by piece, as the pieces say.
    fn packed(rows: &Rows, device: &[u8], room: usize) -> Vec<u8> {
        let mut got = Vec::new();
        while (got.len() as u64) < rows.bytes() {
            let piece = rows.piece(got.len() as u64, room);
            assert!(piece.bytes() > 0 && piece.bytes() <= room, "{piece:?}");
            for row in 0..piece.rows {
                let place = piece.device;
                let start = (place.address - 0x1000) as usize + row * place.pitch_bytes as usize;
                got.extend(&device[start..start + piece.width_bytes]);
            }
        }
        got
    }

    #[test]
    fn pieces_together_are_the_rows() {
        let device: Vec<u8> = (0..4000_u32).map(|i| (i % 251) as u8).collect();
        for (pitch, width, height) in [
            (40, 40, 100),
            (40, 33, 100),
            (4000, 4000, 1),
            (400, 399, 10),
        ] {
            let want: Vec<u8> = device
                .chunks(pitch)
                .flat_map(|row| &row[..width])
                .copied()
                .collect();
            let rows = rows(pitch as u64, width as u64, height).expect("valid");
            for room in [1, 7, 32, 33, 100, 399, 5000] {
                assert_eq!(packed(&rows, &device, room), want, "{rows:?} {room}");
            }
        }
    }

    #[test]
    fn impossible_rows_are_refused() {
        let invalid = Err(CUresult::CUDA_ERROR_INVALID_VALUE);
        let bytes = |pitch, width, height| rows(pitch, width, height).map(|rows| rows.bytes());
        assert_eq!(bytes(10, 11, 2), invalid);
        assert_eq!(bytes(u64::MAX, u64::MAX, 2), invalid);
        assert_eq!(bytes(u64::MAX, PAYLOAD_BYTES_MAX + 1, 1), invalid);
        assert_eq!(rows(0, 10, 1).expect("one row").bytes(), 10);
        assert_eq!(rows(10, 0, 5).expect("nothing").bytes(), 0);
        assert_eq!(rows(10, 5, 0).expect("nothing").bytes(), 0);
    }
}
