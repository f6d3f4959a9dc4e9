// SPDX-License-Identifier: Apache-2.0
//! Width, length, licence lines and banned words.

use super::Finding;
use super::files::SourceFile;
use super::rust;

const COLUMNS: usize = 100;
const LINES_TO_LOOK_AT: usize = 600;
const LINES: usize = 1000;

const LICENCE: &str = "SPDX-License-Identifier: Apache-2.0";
/// Endings of the files that begin with [`LICENCE`].
const LICENSED: [&str; 8] = ["c", "cpp", "cu", "cuh", "h", "py", "rs", "sh"];

/// Tables written as Rust, which no person reads from top to bottom.
const TABLES: [&str; 6] = [
    "abi/src/types/generated.rs",
    "runtime-abi/src/types/generated.rs",
    "softgpu/src/exec/decode/operations.rs",
    "softgpu/src/ir.rs",
    "softgpu/tests/instructions.rs",
    "softgpu/tests/math.rs",
];

/// This file names what it forbids.
const THIS: &str = "xtask/src/tidy/text.rs";

/// Words that have no place in any file, and why.
const BANNED: [(&str, &str); 6] = [
    ("TODO", "do it or leave it out"),
    ("FIXME", "fix it or leave it out"),
    ("XXX", "say what it is"),
    ("dbg!", "left over from a search for a mistake"),
    ("/work/", "a path of one machine"),
    ("/root/", "a path of one machine"),
];

pub(super) fn check(file: &SourceFile, findings: &mut Vec<Finding>) {
    if LICENSED.contains(&file.kind()) {
        licence(file, findings);
    }
    if file.kind() == "rs" && !is_table(file) {
        width(file, findings);
        let lines = file.text.lines().count();
        if lines > LINES {
            let text = format!("{lines} lines; {LINES} at most: split it");
            findings.push(Finding::at(file, 0, text));
        }
    }
    if !file.is(THIS) && !file.is("Cargo.lock") {
        banned(file, findings);
    }
}

/// A remark on a file that is worth a second look.
pub(super) fn long(file: &SourceFile) -> Option<String> {
    let lines = file.text.lines().count();
    (file.kind() == "rs" && !is_table(file) && lines > LINES_TO_LOOK_AT && lines <= LINES)
        .then(|| format!("{}: {lines} lines", file.path.display()))
}

fn is_table(file: &SourceFile) -> bool {
    TABLES.iter().any(|table| file.is(table))
}

fn licence(file: &SourceFile, findings: &mut Vec<Finding>) {
    let first = file
        .text
        .lines()
        .find(|line| !line.starts_with("#!"))
        .unwrap_or_default();
    if !first.trim_start_matches(['/', '#', ' ']).eq(LICENCE) {
        let text = format!("does not begin with `{LICENCE}`");
        findings.push(Finding::at(file, 1, text));
    }
}

fn width(file: &SourceFile, findings: &mut Vec<Finding>) {
    // A sentence for a user is better not broken.
    let text = rust::without_strings(&file.text);
    for (index, line) in text.lines().enumerate() {
        let columns = line.chars().count();
        let comment = line.trim_start().trim_start_matches(['/', '!']);
        // An address and a table's row cannot be broken.
        let is_fixed = line.contains("://") || comment.trim_start().starts_with('|');
        if columns > COLUMNS && !is_fixed {
            let text = format!("{columns} columns; {COLUMNS} at most");
            findings.push(Finding::at(file, index + 1, text));
        }
    }
}

fn banned(file: &SourceFile, findings: &mut Vec<Finding>) {
    for (index, line) in file.text.lines().enumerate() {
        for (word, reason) in BANNED {
            if contains_word(line, word) {
                let text = format!("`{word}`: {reason}");
                findings.push(Finding::at(file, index + 1, text));
            }
        }
    }
}

/// Whether `word` stands in `line` and is not part of a longer one.
fn contains_word(line: &str, word: &str) -> bool {
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let starts = !word.starts_with(char::is_alphanumeric) || !is_part(before);
        let ends = !word.ends_with(char::is_alphanumeric) || !is_part(after);
        starts && ends
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<(usize, String)> {
        let mut findings = Vec::new();
        check(&SourceFile::new(path, text), &mut findings);
        findings.into_iter().map(|f| (f.line, f.text)).collect()
    }

    const HEAD: &str = "// SPDX-License-Identifier: Apache-2.0\n";

    #[test]
    fn the_licence_is_the_first_line_or_follows_the_interpreter() {
        assert!(found("a.rs", HEAD).is_empty());
        assert!(found("a.sh", "#!/bin/sh\n# SPDX-License-Identifier: Apache-2.0\n").is_empty());
        assert_eq!(found("a.rs", "fn main() {}\n")[0].0, 1);
        assert_eq!(found("a.cu", "").len(), 1);
        assert!(found("a.md", "text").is_empty());
    }

    #[test]
    fn width_counts_characters() {
        let wide = format!("{HEAD}// {}\n", "é".repeat(97));
        assert!(found("a.rs", &wide).is_empty());
        let wider = format!("{HEAD}// {}\n", "é".repeat(98));
        assert_eq!(
            found("a.rs", &wider),
            [(2, "101 columns; 100 at most".into())]
        );
        let quoted = format!("{HEAD}let a = \"{}\";\n", "b".repeat(200));
        assert!(found("a.rs", &quoted).is_empty());
        let commented = format!("{HEAD}// \"{}\"\n", "b".repeat(200));
        assert_eq!(found("a.rs", &commented).len(), 1);
        let row = format!("{HEAD}//! | {} |\n", "b".repeat(200));
        assert!(found("a.rs", &row).is_empty());
        assert!(found("abi/src/types/generated.rs", &wider).is_empty());
    }

    #[test]
    fn length_warns_before_it_fails() {
        let lines = |n: usize| SourceFile::new("a.rs", &format!("{HEAD}{}", "\n".repeat(n - 1)));
        assert!(long(&lines(600)).is_none());
        assert!(long(&lines(601)).is_some());
        assert!(long(&lines(1001)).is_none());
        assert_eq!(found("a.rs", &lines(1001).text).len(), 1);
        assert!(found("a.rs", &lines(1000).text).is_empty());
    }

    #[test]
    fn banned_words_are_whole_words() {
        assert_eq!(found("a.md", "one\na TODO: b\n")[0].0, 2);
        assert_eq!(found("a.md", "cd /work/main")[0].0, 1);
        assert!(found("a.md", "mktemp x.XXXXXX and autodoc TODOS_").is_empty());
        assert!(found("a.md", "/homework").is_empty());
    }
}
