// SPDX-License-Identifier: Apache-2.0
//! Copies in three dimensions between linear memory.

use gvirtus_abi::{CUDA_MEMCPY3D, CUmemorytype, CUresult};

use crate::driver::copy::{Rows, Transfer, rows};

const INVALID: CUresult = CUresult::CUDA_ERROR_INVALID_VALUE;

/// One side of a copy: where its first slice begins, and how far apart the slices are in bytes.
struct Side {
    first: Rows,
    slice_bytes: usize,
}

/// A checked copy, a transfer a slice.
///
/// # Errors
///
/// `CUDA_ERROR_INVALID_VALUE` for ranges that are no memory.
pub(super) fn transfers(copy: &CUDA_MEMCPY3D) -> Result<Vec<Transfer>, CUresult> {
    let from = side(
        (
            copy.srcMemoryType,
            copy.srcHost.addr() as u64,
            copy.srcDevice.0,
        ),
        (copy.srcXInBytes, copy.srcY, copy.srcZ),
        (copy.srcPitch, copy.srcHeight),
        copy,
    )?;
    let to = side(
        (
            copy.dstMemoryType,
            copy.dstHost.addr() as u64,
            copy.dstDevice.0,
        ),
        (copy.dstXInBytes, copy.dstY, copy.dstZ),
        (copy.dstPitch, copy.dstHeight),
        copy,
    )?;
    let mut transfers = Vec::new();
    if copy.WidthInBytes == 0 || copy.Height == 0 {
        return Ok(transfers);
    }
    for slice in 0..copy.Depth {
        let transfer = Transfer {
            to: to.rows(slice)?,
            from: from.rows(slice)?,
            width: copy.WidthInBytes,
            height: copy.Height,
        };
        let (to, from) = transfer.places()?;
        for (kind, place) in [(copy.dstMemoryType, to), (copy.srcMemoryType, from)] {
            if kind == CUmemorytype::CU_MEMORYTYPE_DEVICE && !place.is_device() {
                return Err(INVALID);
            }
        }
        transfers.push(transfer);
    }
    Ok(transfers)
}

fn side(
    (kind, host, device): (CUmemorytype, u64, u64),
    (x, y, z): (usize, usize, usize),
    (pitch, height): (usize, usize),
    copy: &CUDA_MEMCPY3D,
) -> Result<Side, CUresult> {
    let start = match kind {
        CUmemorytype::CU_MEMORYTYPE_HOST => host,
        CUmemorytype::CU_MEMORYTYPE_DEVICE | CUmemorytype::CU_MEMORYTYPE_UNIFIED => device,
        _ => return Err(INVALID),
    };
    let shape = (copy.WidthInBytes, copy.Height);
    copy.WidthInBytes.checked_mul(copy.Height).ok_or(INVALID)?;
    // Without a pitch or a height the rows and slices follow each other.
    let pitch = match pitch {
        0 => x.checked_add(copy.WidthInBytes).ok_or(INVALID)?,
        pitch => pitch,
    };
    let height = match height {
        0 => y.checked_add(copy.Height).ok_or(INVALID)?,
        height => height,
    };
    let slice_bytes = pitch.checked_mul(height).ok_or(INVALID)?;
    let start = z
        .checked_mul(slice_bytes)
        .and_then(|bytes| start.checked_add(bytes as u64))
        .ok_or(INVALID)?;
    Ok(Side {
        first: rows(start, pitch, (x, y), shape)?,
        slice_bytes,
    })
}

impl Side {
    fn rows(&self, slice: usize) -> Result<Rows, CUresult> {
        let start = slice
            .checked_mul(self.slice_bytes)
            .and_then(|bytes| self.first.start.checked_add(bytes as u64))
            .ok_or(INVALID)?;
        Ok(Rows {
            start,
            ..self.first
        })
    }
}
