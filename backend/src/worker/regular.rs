// SPDX-License-Identifier: Apache-2.0
//! Regular messages: one word an argument, executed by code made from the call table.

use gvirtus_abi::*;
use zerocopy::little_endian::U64 as Word;

use super::handles::Handles;
use crate::driver::{Driver, check};

/// Most results of a regular call.
const OUTPUTS_MAX: usize = 4;

/// The results of a call, as they travel.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    words: [Word; OUTPUTS_MAX],
    count: usize,
}

impl Outputs {
    pub(super) fn push(&mut self, word: u64) {
        self.words[self.count] = Word::new(word);
        self.count += 1;
    }

    pub(super) fn words_mut(&mut self) -> &mut [Word] {
        &mut self.words[..self.count]
    }

    pub(super) fn words(&self) -> &[Word] {
        &self.words[..self.count]
    }
}

/// The caller has compared the number of words with the message's shape.
fn word(input: &[Word], index: usize) -> u64 {
    input[index].get()
}

fn scalar<T: Scalar>(input: &[Word], index: usize) -> Result<T, CUresult> {
    T::from_word(word(input, index)).ok_or(CUresult::CUDA_ERROR_INVALID_VALUE)
}

include!(concat!(env!("OUT_DIR"), "/dispatch.rs"));
