// SPDX-License-Identifier: Apache-2.0
//! Tensor maps: the driver's own, since their layout is its own.

use core::ffi::c_void;

use gvirtus_abi::{
    CUresult, CUtensorMap, CUtensorMapDataType, CUtensorMapFloatOOBfill, CUtensorMapInterleave,
    CUtensorMapL2promotion, CUtensorMapSwizzle,
};
use gvirtus_protocol::opcode;
use zerocopy::little_endian::U64 as Word;

use super::memory::{INVALID_VALUE, Input, Words, narrow};
use super::session::Session;
use crate::driver::check;

const RANK_MAX: u32 = 5;

/// What both kinds of maps have. The arrays are as long as the largest rank asks for.
struct Common {
    kind: CUtensorMapDataType,
    rank: u32,
    address: *mut c_void,
    interleave: CUtensorMapInterleave,
    swizzle: CUtensorMapSwizzle,
    promotion: CUtensorMapL2promotion,
    fill: CUtensorMapFloatOOBfill,
    extent: [u64; 5],
    strides: [u64; 4],
    steps: [u32; 5],
}

fn narrowed<const COUNT: usize>(words: &[u64]) -> Result<[u32; COUNT], CUresult> {
    let mut numbers = [0; COUNT];
    for (number, word) in numbers.iter_mut().zip(words) {
        *number = narrow(*word)?;
    }
    Ok(numbers)
}

fn pointer(address: u64) -> Result<*mut c_void, CUresult> {
    Ok(std::ptr::without_provenance_mut(narrow(address)?))
}

impl Common {
    fn parse(words: &[u64; 21]) -> Result<Self, CUresult> {
        let [kind, rank, _, interleave, swizzle, promotion, fill] = narrowed(&[
            words[0], words[1], 0, words[3], words[4], words[5], words[6],
        ])?;
        if rank > RANK_MAX {
            return Err(INVALID_VALUE);
        }
        Ok(Self {
            kind: CUtensorMapDataType(kind),
            rank,
            address: pointer(words[2])?,
            interleave: CUtensorMapInterleave(interleave),
            swizzle: CUtensorMapSwizzle(swizzle),
            promotion: CUtensorMapL2promotion(promotion),
            fill: CUtensorMapFloatOOBfill(fill),
            extent: std::array::from_fn(|axis| words[7 + axis]),
            strides: std::array::from_fn(|axis| words[12 + axis]),
            steps: narrowed(&words[16..])?,
        })
    }
}

impl Session {
    pub(super) fn tensor_map(&self, input: Input<'_>) -> Words {
        let mut map = CUtensorMap { opaque: [0; 16] };
        match input.opcode() {
            opcode::cuTensorMapEncodeTiled => {
                let words: [u64; 26] = input.exactly()?;
                let (common, lengths) = words.split_first_chunk().ok_or(INVALID_VALUE)?;
                let common = Common::parse(common)?;
                let lengths: [u32; 5] = narrowed(lengths)?;
                // SAFETY: the output is a local, and arrays are as long as any rank asks for.
                check(unsafe {
                    self.driver.cuTensorMapEncodeTiled(
                        &raw mut map,
                        common.kind,
                        common.rank,
                        common.address,
                        common.extent.as_ptr(),
                        common.strides.as_ptr(),
                        lengths.as_ptr(),
                        common.steps.as_ptr(),
                        common.interleave,
                        common.swizzle,
                        common.promotion,
                        common.fill,
                    )
                })?;
            }
            opcode::cuTensorMapEncodeIm2col => {
                let words: [u64; 29] = input.exactly()?;
                let (common, rest) = words.split_first_chunk().ok_or(INVALID_VALUE)?;
                let common = Common::parse(common)?;
                let numbers: [u32; 8] = narrowed(rest)?;
                let corners = numbers.map(u32::cast_signed);
                // SAFETY: as above.
                check(unsafe {
                    self.driver.cuTensorMapEncodeIm2col(
                        &raw mut map,
                        common.kind,
                        common.rank,
                        common.address,
                        common.extent.as_ptr(),
                        common.strides.as_ptr(),
                        corners[..3].as_ptr(),
                        corners[3..6].as_ptr(),
                        numbers[6],
                        numbers[7],
                        common.steps.as_ptr(),
                        common.interleave,
                        common.swizzle,
                        common.promotion,
                        common.fill,
                    )
                })?;
            }
            opcode::cuTensorMapReplaceAddress => {
                let words: [u64; 17] = input.exactly()?;
                map.opaque.copy_from_slice(&words[..16]);
                let address = pointer(words[16])?;
                // SAFETY: the map is a local.
                check(unsafe { self.driver.cuTensorMapReplaceAddress(&raw mut map, address) })?;
            }
            _ => return Err(input.malformed().into()),
        }
        Ok(map.opaque.map(Word::new).to_vec())
    }
}
