// SPDX-License-Identifier: Apache-2.0
//! A copy between host and device as pieces that fit into staging memory.

use core::ffi::c_void;
use std::ptr::NonNull;

use gvirtus_abi::{CUDA_MEMCPY2D, CUarray, CUdeviceptr, CUmemorytype, CUresult, CUstream};
use gvirtus_protocol::command::Copy2D;
use gvirtus_protocol::limits::PAYLOAD_BYTES_MAX;

use crate::driver::Driver;
use crate::limits::HOST_MEMORY_BYTES_MIN;

/// Rows of device memory whose bytes travel one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rows {
    address: u64,
    pitch_bytes: u64,
    width_bytes: u64,
    height: u64,
}

/// A part of [`Rows`] that one call of the driver copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    address: u64,
    pitch_bytes: u64,
    width_bytes: usize,
    rows: usize,
}

impl Rows {
    /// The rows that a client asks for.
    pub(super) fn parse(copy: &Copy2D) -> Result<Self, CUresult> {
        let rows = Self {
            address: copy.device_address.get(),
            pitch_bytes: copy.device_pitch_bytes.get(),
            width_bytes: copy.width_bytes.get(),
            height: copy.height.get(),
        };
        let bytes = rows.width_bytes.checked_mul(rows.height);
        if bytes.is_none_or(|bytes| bytes > PAYLOAD_BYTES_MAX) {
            return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
        }
        if rows.height > 1 && rows.pitch_bytes < rows.width_bytes {
            return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
        }
        if rows.pitch_bytes == rows.width_bytes {
            return Ok(Self {
                width_bytes: rows.bytes(),
                height: 1,
                ..rows
            });
        }
        Ok(rows)
    }

    /// Bytes that travel.
    pub(super) const fn bytes(&self) -> u64 {
        self.width_bytes * self.height
    }

    /// Where all of the bytes are in this process, if they are, without gaps.
    pub(super) fn host_memory(&self, driver: &Driver) -> Option<NonNull<u8>> {
        if self.height != 1 || self.width_bytes < HOST_MEMORY_BYTES_MIN {
            return None;
        }
        driver.host_memory(self.address, self.width_bytes)
    }

    /// The longest piece from byte `at` on that has at most `room` bytes.
    pub(super) fn piece(&self, at: u64, room: usize) -> Piece {
        let (row, column) = (at / self.width_bytes, at % self.width_bytes);
        let rows_in_room = room as u64 / self.width_bytes;
        let (width_bytes, rows) = if column == 0 && rows_in_room > 0 {
            (self.width_bytes, rows_in_room.min(self.height - row))
        } else {
            ((self.width_bytes - column).min(room as u64), 1)
        };
        Piece {
            address: self
                .address
                .wrapping_add(row.wrapping_mul(self.pitch_bytes))
                .wrapping_add(column),
            pitch_bytes: self.pitch_bytes,
            width_bytes: width_bytes as usize,
            rows: rows as usize,
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
    /// context.
    pub(super) unsafe fn upload(
        &self,
        driver: &Driver,
        from: *const c_void,
        stream: CUstream,
    ) -> CUresult {
        let device = CUdeviceptr(self.address);
        if self.rows == 1 {
            // SAFETY: as above.
            return unsafe { driver.cuMemcpyHtoDAsync_v2(device, from, self.width_bytes, stream) };
        }
        let copy = CUDA_MEMCPY2D {
            srcMemoryType: CUmemorytype::CU_MEMORYTYPE_HOST,
            srcHost: from,
            srcPitch: self.width_bytes,
            dstMemoryType: CUmemorytype::CU_MEMORYTYPE_DEVICE,
            dstDevice: device,
            dstPitch: self.pitch_bytes as usize,
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
        let device = CUdeviceptr(self.address);
        if self.rows == 1 {
            // SAFETY: as above.
            return unsafe { driver.cuMemcpyDtoHAsync_v2(to, device, self.width_bytes, stream) };
        }
        let copy = CUDA_MEMCPY2D {
            srcMemoryType: CUmemorytype::CU_MEMORYTYPE_DEVICE,
            srcDevice: device,
            srcPitch: self.pitch_bytes as usize,
            dstMemoryType: CUmemorytype::CU_MEMORYTYPE_HOST,
            dstHost: to,
            dstPitch: self.width_bytes,
            ..self.copy()
        };
        // SAFETY: as above.
        unsafe { driver.cuMemcpy2DAsync_v2(&raw const copy, stream) }
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
                let start = (piece.address - 0x1000) as usize + row * piece.pitch_bytes as usize;
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
        assert_eq!(rows(10, 11, 2), invalid);
        assert_eq!(rows(u64::MAX, u64::MAX, 2), invalid);
        assert_eq!(rows(u64::MAX, PAYLOAD_BYTES_MAX + 1, 1), invalid);
        assert_eq!(rows(0, 10, 1).expect("one row").bytes(), 10);
        assert_eq!(rows(10, 0, 5).expect("nothing").bytes(), 0);
        assert_eq!(rows(10, 5, 0).expect("nothing").bytes(), 0);
    }
}
