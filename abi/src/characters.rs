// SPDX-License-Identifier: Apache-2.0
//! C's `char`, which has a sign on some machines (x86-64) and none on others (`AArch64`), in
//! structures whose characters are bytes: UUIDs and handles.

use core::ffi::c_char;

/// Bytes as characters.
pub fn characters_of<const COUNT: usize>(bytes: [u8; COUNT]) -> [c_char; COUNT] {
    bytes.map(|byte| c_char::from_ne_bytes([byte]))
}

/// Characters as bytes.
pub fn bytes_of<const COUNT: usize>(characters: [c_char; COUNT]) -> [u8; COUNT] {
    characters.map(|character| u8::from_ne_bytes(character.to_ne_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_back() {
        let bytes: [u8; 256] = core::array::from_fn(|index| u8::try_from(index).expect("below"));
        assert_eq!(bytes_of(characters_of(bytes)), bytes);
    }
}
