// SPDX-License-Identifier: Apache-2.0
//! Copies in three dimensions as nodes of graphs.

use gvirtus_abi::{CUDA_MEMCPY3D, CUresult};

use crate::driver::copy::Transfer;
use crate::driver::copy_array;

const INVALID: CUresult = CUresult::CUDA_ERROR_INVALID_VALUE;

/// A checked copy; nothing if there are no bytes.
///
/// # Errors
///
/// `CUDA_ERROR_INVALID_VALUE` for ranges that are no memory.
pub(super) fn transfers(copy: &CUDA_MEMCPY3D) -> Result<Vec<Transfer>, CUresult> {
    let mut copy = *copy;
    // Without a pitch or a height the rows and slices follow each other.
    let dense = |given: usize, at: usize, length: usize| match given {
        0 => at.checked_add(length).ok_or(INVALID),
        given => Ok(given),
    };
    copy.srcPitch = dense(copy.srcPitch, copy.srcXInBytes, copy.WidthInBytes)?;
    copy.dstPitch = dense(copy.dstPitch, copy.dstXInBytes, copy.WidthInBytes)?;
    copy.srcHeight = dense(copy.srcHeight, copy.srcY, copy.Height)?;
    copy.dstHeight = dense(copy.dstHeight, copy.dstY, copy.Height)?;
    let transfer = copy_array::transfer_3d(&copy)?;
    if transfer.bytes() == 0 {
        return Ok(Vec::new());
    }
    transfer.places()?;
    Ok(vec![transfer])
}
