// SPDX-License-Identifier: Apache-2.0
//! No `unwrap` outside of tests.
//!
//! The check reads tokens, not syntax: strings and comments are blanked out, and an item under
//! `#[cfg(test)]` or `#[test]` reaches to its closing brace.

use super::Finding;
use super::files::SourceFile;

pub(super) fn check(file: &SourceFile, findings: &mut Vec<Finding>) {
    if file.kind() != "rs" || is_test_file(file) {
        return;
    }
    let code = without_tests(&code_only(&file.text));
    for (index, line) in code.lines().enumerate() {
        if line.contains(".unwrap()") {
            let text = "`unwrap` outside of tests: handle it, or `expect` with the invariant";
            findings.push(Finding::at(file, index + 1, text));
        }
    }
}

fn is_test_file(file: &SourceFile) -> bool {
    let mut parts = file.path.iter().filter_map(|part| part.to_str());
    parts.any(|part| matches!(part, "tests" | "tests.rs" | "benches" | "examples" | "fuzz"))
}

/// `text` with comments and strings replaced by spaces; lines stay where they are.
fn code_only(text: &str) -> String {
    let blank = |piece: &str, code: &mut String| {
        code.extend(piece.chars().map(|c| if c == '\n' { c } else { ' ' }));
    };
    tokens(text, |piece, token, code| match token {
        Token::Code => code.push_str(piece),
        Token::Comment | Token::Text => blank(piece, code),
    })
}

/// `text` without its strings; lines stay where they are.
pub(super) fn without_strings(text: &str) -> String {
    tokens(text, |piece, token, code| match token {
        Token::Code | Token::Comment => code.push_str(piece),
        Token::Text => code.extend(piece.chars().filter(|&c| c == '\n')),
    })
}

/// What a piece of a file is.
#[derive(Clone, Copy)]
enum Token {
    Code,
    Comment,
    /// A string or a character.
    Text,
}

/// Cuts `text` into pieces; `keep` adds to the result what is to be kept of each.
fn tokens(text: &str, mut keep: impl FnMut(&str, Token, &mut String)) -> String {
    let mut result = String::with_capacity(text.len());
    let mut in_word = false;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (length, token) = match first {
            '/' if rest.starts_with("//") => {
                (rest.find('\n').unwrap_or(rest.len()), Token::Comment)
            }
            '/' if rest.starts_with("/*") => (block_comment(rest), Token::Comment),
            '"' => (string(rest), Token::Text),
            'r' | 'b' | 'c' if !in_word => (prefixed_string(rest), Token::Text),
            '\'' => (character(rest), Token::Text),
            _ => (0, Token::Code),
        };
        let (length, token) = match length {
            0 => (first.len_utf8(), Token::Code),
            _ => (length, token),
        };
        in_word = first.is_alphanumeric() || first == '_';
        keep(&rest[..length], token, &mut result);
        rest = &rest[length..];
    }
    result
}

/// The length of the comment at the start of `rest`; such comments nest.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        let here = &rest[at..];
        if here.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if here.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += here.chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// The length of the plain string at the start of `rest`.
fn string(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// The length of a string with a prefix (`b"`, `r#"`, `br"` …), 0 if there is none.
fn prefixed_string(rest: &str) -> usize {
    let letters = rest.len() - rest.trim_start_matches(['b', 'c', 'r']).len();
    if letters > 2 {
        return 0;
    }
    let hashes = rest[letters..].len() - rest[letters..].trim_start_matches('#').len();
    let quote = letters + hashes;
    if !rest[quote..].starts_with('"') {
        return 0;
    }
    if !rest[..letters].contains('r') {
        return if hashes == 0 {
            quote + string(&rest[quote..])
        } else {
            0
        };
    }
    let end = format!("\"{}", "#".repeat(hashes));
    rest[quote + 1..]
        .find(&end)
        .map_or(rest.len(), |at| quote + 1 + at + end.len())
}

/// The length of the character literal at the start of `rest`, 0 for a lifetime.
fn character(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => rest[3..].find('\'').map_or(0, |at| at + 4),
        Some(_) => match chars.next() {
            Some((at, '\'')) => at + 1,
            _ => 0,
        },
        None => 0,
    }
}

/// `code` with the items that exist only in tests blanked out.
fn without_tests(code: &str) -> String {
    const MARKS: [&str; 3] = ["#[cfg(test)]", "#[cfg(all(test", "#[test]"];
    let mut result = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = MARKS.iter().filter_map(|mark| rest.find(mark)).min() {
        result.push_str(&rest[..at]);
        let length = item(&rest[at..]);
        let blank = rest[at..at + length]
            .chars()
            .map(|c| if c == '\n' { c } else { ' ' });
        result.extend(blank);
        rest = &rest[at + length..];
    }
    result.push_str(rest);
    result
}

/// The length of the item at the start of `code`: to its closing brace or semicolon.
fn item(code: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in code.char_indices() {
        match c {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 && c == '}' {
                    return at + 1;
                }
            }
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<usize> {
        let mut findings = Vec::new();
        check(&SourceFile::new("a/src/b.rs", text), &mut findings);
        findings.into_iter().map(|f| f.line).collect()
    }

    #[test]
    fn code_is_found_and_text_is_not() {
        let text = r##"
fn a<'a>(x: &'a str) { x.unwrap() }
// b.unwrap()
/* c.unwrap() /* d.unwrap() */ e.unwrap() */
const S: &str = ".unwrap() \" .unwrap()";
const R: &str = r#" " .unwrap() "#;
const B: &[u8] = b".unwrap()";
fn f() { let c = '"'; g.unwrap(); let d = '\''; h.unwrap() }
fn bar() { bar.unwrap() }
"##;
        assert_eq!(lines(text), [2, 8, 9]);
    }

    #[test]
    fn strings_take_no_room() {
        let text = "a(\"long\nlonger\", b); // \"kept\"\nr#\"x\"# y";
        assert_eq!(without_strings(text), "a(\n, b); // \"kept\"\n y");
    }

    #[test]
    fn tests_may_unwrap() {
        let text = "
#[cfg(test)]
mod tests;
fn a() { b.unwrap() }
#[cfg(test)]
mod tests {
    fn c() { if d { e.unwrap() } }
}
fn f() { g.unwrap() }
#[test]
fn h() { i.unwrap() }
";
        assert_eq!(lines(text), [4, 9]);
    }

    #[test]
    fn test_files_are_left_out() {
        let file = SourceFile::new("tests/src/lib.rs", "fn a() { b.unwrap() }");
        let mut findings = Vec::new();
        check(&file, &mut findings);
        assert!(findings.is_empty());
    }
}
