// SPDX-License-Identifier: Apache-2.0
//! Everything that compilers emit must parse and lower, and nothing may panic.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use gvirtus_softgpu::ir::{Function, Module, Op};
use gvirtus_softgpu::{lower, ptx};
use proptest::prelude::*;

const TEXT_BYTES_MAX: usize = 64 << 20;

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/ptx"))
}

/// Names and texts of all modules, the compressed ones included.
fn texts() -> Vec<(String, String)> {
    let mut texts = Vec::new();
    for folder in [folder().to_owned(), folder().join("corpus")] {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let bytes = fs::read(&path).unwrap_or_default();
            let text = if name.ends_with(".ptx.zst") {
                zstd::bulk::decompress(&bytes, TEXT_BYTES_MAX).unwrap()
            } else if name.ends_with(".ptx") {
                bytes
            } else {
                continue;
            };
            texts.push((name, String::from_utf8(text).unwrap()));
        }
    }
    texts.sort();
    texts
}

fn lower_text(text: &str) -> Result<Module, String> {
    let parsed = ptx::parse(text).map_err(|error| error.to_string())?;
    lower::lower(&[parsed]).map_err(|error| error.to_string())
}

fn check(name: &str, function: &Function) {
    let name = format!("{name}: {}", function.name);
    assert_eq!(function.lines.len(), function.code.len(), "{name}");
    assert!(function.local_bytes.is_multiple_of(16), "{name}");
    for instruction in &function.code {
        let len = function.code.len() as u32;
        match &instruction.op {
            Op::Branch { target } => assert!(*target <= len, "{name}"),
            Op::BranchIndexed { targets, .. } => {
                assert!(
                    !targets.is_empty() && targets.iter().all(|t| *t <= len),
                    "{name}"
                );
            }
            Op::Unsupported { text } => panic!("{name}: {text}"),
            _ => {}
        }
    }
}

#[test]
fn everything_lowers() {
    let texts = texts();
    assert!(
        texts.len() >= 20,
        "the corpus is incomplete: {}",
        texts.len()
    );
    for (name, text) in &texts {
        let module = lower_text(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(!module.kernels.is_empty(), "{name}");
        module
            .functions
            .iter()
            .for_each(|function| check(name, function));
        for kernel in &module.kernels {
            let function = &module.functions[kernel.function.0 as usize];
            assert_eq!(function.name, kernel.name);
            assert!(
                kernel.static_shared_bytes <= 48 << 10,
                "{name}: {}",
                kernel.name
            );
        }
    }
}

#[test]
fn kernels_of_hundreds_of_registers_use_few_slots() {
    let (_, text) = texts()
        .into_iter()
        .find(|(name, _)| name == "math.75.ptx.zst")
        .unwrap();
    let module = lower_text(&text).unwrap();
    for function in &module.functions {
        let slots = function.registers.w32 + function.registers.w64;
        assert!(slots <= 40, "{}: {slots} slots", function.name);
    }
}

/// Modules to be broken: small ones, so that many cases are tried.
static SMALL_TEXTS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let texts = texts().into_iter().filter(|(_, text)| text.len() < 60_000);
    texts.map(|(_, text)| text).collect()
});

/// Cuts at a character boundary.
fn cut(text: &str, at: usize) -> &str {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    &text[..at]
}

const PIECES: [&str; 24] = [
    ";",
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    ",",
    "%r1",
    "%rd1",
    "%p1",
    "@%p1 ",
    ".f64",
    ".v4",
    "0x",
    "-1",
    "add.s32 ",
    "call ",
    "bra ",
    ".reg .b32 %r<999999>;",
    "_",
    "|",
    ".param .b64 param0;",
    "\u{fffd}",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn truncated_texts_are_errors(
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
    ) {
        let texts = &*SMALL_TEXTS;
        let text = &texts[which.index(texts.len())];
        let _ = lower_text(cut(text, at.index(text.len())));
    }

    #[test]
    fn mutated_texts_never_panic(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec(
            (any::<prop::sample::Index>(), 0..PIECES.len(), 0usize..40),
            1..6,
        ),
    ) {
        let texts = &*SMALL_TEXTS;
        let mut text = texts[which.index(texts.len())].clone();
        for (at, piece, removed) in changes {
            let start = cut(&text, at.index(text.len())).len();
            let end = cut(&text, start + removed).len().max(start);
            text.replace_range(start..end, PIECES[piece]);
        }
        let _ = lower_text(&text);
    }

    #[test]
    fn shuffled_lines_never_panic(
        which in any::<prop::sample::Index>(),
        swaps in prop::collection::vec(
            (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
            1..40,
        ),
    ) {
        let texts = &*SMALL_TEXTS;
        let text = &texts[which.index(texts.len())];
        let mut lines: Vec<&str> = text.lines().collect();
        for (a, b) in swaps {
            let (a, b) = (a.index(lines.len()), b.index(lines.len()));
            lines.swap(a, b);
        }
        let _ = lower_text(&lines.join("\n"));
    }

    #[test]
    fn random_texts_never_panic(
        text in "[\\x00-\\x7f]{0,200}",
        tail in "[.%@a-z0-9 ,;:{}()\\[\\]+|-]{0,300}") {
        let _ = lower_text(&text);
        let _ = lower_text(&format!(".version 8.0\n.address_size 64\n.entry k() {{ {tail} }}"));
    }
}
