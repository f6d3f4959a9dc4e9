// SPDX-License-Identifier: Apache-2.0
//! Little-endian reads that say where the bytes ran out.

use crate::FatbinError;

pub(crate) fn slice<'a>(
    bytes: &'a [u8],
    offset: u64,
    len: u64,
    what: &'static str,
) -> Result<&'a [u8], FatbinError> {
    let range = usize::try_from(offset).ok().and_then(|start| {
        let end = start.checked_add(usize::try_from(len).ok()?)?;
        Some(start..end)
    });
    range
        .and_then(|range| bytes.get(range))
        .ok_or(FatbinError::Truncated { what, offset })
}

pub(crate) fn u16_at(bytes: &[u8], offset: u64, what: &'static str) -> Result<u16, FatbinError> {
    let mut value = [0; 2];
    value.copy_from_slice(slice(bytes, offset, 2, what)?);
    Ok(u16::from_le_bytes(value))
}

pub(crate) fn u32_at(bytes: &[u8], offset: u64, what: &'static str) -> Result<u32, FatbinError> {
    let mut value = [0; 4];
    value.copy_from_slice(slice(bytes, offset, 4, what)?);
    Ok(u32::from_le_bytes(value))
}

pub(crate) fn u64_at(bytes: &[u8], offset: u64, what: &'static str) -> Result<u64, FatbinError> {
    let mut value = [0; 8];
    value.copy_from_slice(slice(bytes, offset, 8, what)?);
    Ok(u64::from_le_bytes(value))
}

pub(crate) fn within(what: &'static str, value: u64, limit: u64) -> Result<u64, FatbinError> {
    if value > limit {
        Err(FatbinError::OverLimit { what, value, limit })
    } else {
        Ok(value)
    }
}
