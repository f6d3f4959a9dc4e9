// SPDX-License-Identifier: Apache-2.0
//! Tensor maps: encoded by the backend's driver, whose layout is its own.

use core::ffi::c_void;

use gvirtus_abi::{
    CUresult, CUtensorMap, CUtensorMapDataType, CUtensorMapFloatOOBfill, CUtensorMapInterleave,
    CUtensorMapL2promotion, CUtensorMapSwizzle,
};
use gvirtus_protocol::opcode::{self, Opcode};

use super::{INVALID_VALUE, Status, put, required};
use crate::process::session;

/// Most dimensions.
const RANK_MAX: usize = 5;

/// So many elements of an array that must be there, and zeros up to `LENGTH`.
///
/// # Safety
///
/// `array` is null or valid for reading `count` elements.
unsafe fn words<const LENGTH: usize, T: Copy>(
    array: *const T,
    count: usize,
    word: impl Fn(T) -> u64,
) -> Result<[u64; LENGTH], CUresult> {
    let mut words = [0; LENGTH];
    if count > 0 {
        let array = required(array.cast_mut())?;
        for (index, to) in words.iter_mut().enumerate().take(count) {
            // SAFETY: not null, and then so many elements by the caller's promise.
            *to = word(unsafe { array.add(index).read() });
        }
    }
    Ok(words)
}

/// The rank as a length of arrays.
fn rank(tensorRank: u32) -> Result<usize, CUresult> {
    match tensorRank as usize {
        rank @ 1..=RANK_MAX => Ok(rank),
        _ => Err(INVALID_VALUE),
    }
}

/// One round trip; writes the map that comes back.
///
/// # Safety
///
/// `place` is null or valid for writing.
unsafe fn ask(place: *mut CUtensorMap, opcode: Opcode, words: &[u64]) -> Status {
    let session = session()?;
    let context = session.current()?.number;
    let place = required(place)?;
    let reply = session.call_words(opcode, context, words)?;
    let mut opaque = [0; 16];
    for (index, word) in opaque.iter_mut().enumerate() {
        *word = reply.promised_word(index)?;
    }
    // SAFETY: the caller's promise.
    unsafe { put(place, CUtensorMap { opaque }) }
}

/// `cuTensorMapEncodeTiled`.
pub unsafe fn cuTensorMapEncodeTiled(
    tensorMap: *mut CUtensorMap,
    tensorDataType: CUtensorMapDataType,
    tensorRank: u32,
    globalAddress: *mut c_void,
    globalDim: *const u64,
    globalStrides: *const u64,
    boxDim: *const u32,
    elementStrides: *const u32,
    interleave: CUtensorMapInterleave,
    swizzle: CUtensorMapSwizzle,
    l2Promotion: CUtensorMapL2promotion,
    oobFill: CUtensorMapFloatOOBfill,
) -> Status {
    let rank = rank(tensorRank)?;
    let mut body = vec![
        tensorDataType.0.into(),
        tensorRank.into(),
        globalAddress.addr() as u64,
        interleave.0.into(),
        swizzle.0.into(),
        l2Promotion.0.into(),
        oobFill.0.into(),
    ];
    // SAFETY: the caller's promise.
    unsafe {
        body.extend(words::<5, _>(globalDim, rank, u64::from)?);
        body.extend(words::<4, _>(globalStrides, rank - 1, u64::from)?);
        body.extend(words::<5, _>(elementStrides, rank, u64::from)?);
        body.extend(words::<5, _>(boxDim, rank, u64::from)?);
        ask(tensorMap, opcode::cuTensorMapEncodeTiled, &body)
    }
}

/// `cuTensorMapEncodeIm2col`.
pub unsafe fn cuTensorMapEncodeIm2col(
    tensorMap: *mut CUtensorMap,
    tensorDataType: CUtensorMapDataType,
    tensorRank: u32,
    globalAddress: *mut c_void,
    globalDim: *const u64,
    globalStrides: *const u64,
    pixelBoxLowerCorner: *const i32,
    pixelBoxUpperCorner: *const i32,
    channelsPerPixel: u32,
    pixelsPerColumn: u32,
    elementStrides: *const u32,
    interleave: CUtensorMapInterleave,
    swizzle: CUtensorMapSwizzle,
    l2Promotion: CUtensorMapL2promotion,
    oobFill: CUtensorMapFloatOOBfill,
) -> Status {
    let rank = rank(tensorRank)?;
    let spatial = rank.checked_sub(2).ok_or(INVALID_VALUE)?;
    let mut body = vec![
        tensorDataType.0.into(),
        tensorRank.into(),
        globalAddress.addr() as u64,
        interleave.0.into(),
        swizzle.0.into(),
        l2Promotion.0.into(),
        oobFill.0.into(),
    ];
    let corner = |corner: i32| u64::from(corner.cast_unsigned());
    // SAFETY: the caller's promise.
    unsafe {
        body.extend(words::<5, _>(globalDim, rank, u64::from)?);
        body.extend(words::<4, _>(globalStrides, rank - 1, u64::from)?);
        body.extend(words::<5, _>(elementStrides, rank, u64::from)?);
        body.extend(words::<3, _>(pixelBoxLowerCorner, spatial, corner)?);
        body.extend(words::<3, _>(pixelBoxUpperCorner, spatial, corner)?);
        body.extend([channelsPerPixel, pixelsPerColumn].map(u64::from));
        ask(tensorMap, opcode::cuTensorMapEncodeIm2col, &body)
    }
}

/// `cuTensorMapReplaceAddress`.
pub unsafe fn cuTensorMapReplaceAddress(
    tensorMap: *mut CUtensorMap,
    globalAddress: *mut c_void,
) -> Status {
    let place = required(tensorMap)?;
    // SAFETY: not null, and then a whole map by the caller's promise.
    let mut body = unsafe { place.read() }.opaque.to_vec();
    body.push(globalAddress.addr() as u64);
    // SAFETY: the caller's promise.
    unsafe { ask(tensorMap, opcode::cuTensorMapReplaceAddress, &body) }
}
