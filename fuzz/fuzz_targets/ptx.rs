// SPDX-License-Identifier: Apache-2.0
//! PTX text through the parser and the lowering.

#![no_main]

use libfuzzer_sys::fuzz_target;

/// Memory that any text may take, in bytes.
const FREE_BYTES: usize = 4 << 20;
/// Bytes of memory a byte of text: a line may be a handful of characters.
const FACTOR: usize = 500;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    gvirtus_fuzz::bounded(input, FREE_BYTES, FACTOR, |_| {
        if let Ok(module) = gvirtus_softgpu::ptx::parse(text) {
            let _ = gvirtus_softgpu::lower::lower(&[module]);
        }
    });
});
