// SPDX-License-Identifier: Apache-2.0
//! Mistakes that random kernels and fuzzed inputs have found, one test each.

mod common;

use common::Device;

/// A kernel of 32 threads with one output word each; the body writes `%r1`.
fn run_words(body: &str) -> Vec<u32> {
    let text = format!(
        ".version 8.6
.target sm_90
.address_size 64
.visible .entry words(.param .u64 out)
{{
    .reg .pred %p<8>;
    .reg .b16 %h<8>;
    .reg .b32 %r<8>;
    .reg .b64 %d<4>;
    mov.u32 %r7, %laneid;
    {body}
    ld.param.u64 %d0, [out];
    mad.wide.u32 %d1, %r7, 4, %d0;
    st.global.u32 [%d1], %r1;
    ret;
}}
"
    );
    let device = Device::new(&text);
    let out = device.zeroed::<u32>(32);
    device.run("words", 1, 32, device.arguments("words").add(out));
    device.download(out, 32)
}

/// The first result may lie where the combined predicate did.
#[test]
fn a_comparison_of_halves_reads_the_combined_predicate_before_it_writes() {
    let words = run_words(
        "setp.gt.u32 %p3, %r7, 7;
         mov.b32 %r2, 0x40003c00;
         mov.b32 %r3, 0x3c004000;
         setp.gt.and.f16x2 %p2|%p1, %r2, %r3, %p3;
         selp.u32 %r1, 1, 0, %p1;",
    );
    let expected: Vec<u32> = (0..32).map(|lane| u32::from(lane > 7)).collect();
    assert_eq!(words, expected);
}
