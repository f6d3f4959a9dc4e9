// SPDX-License-Identifier: Apache-2.0
//! Where in a PTX text something is, and what is wrong there.

use std::fmt;

use thiserror::Error;

/// A place in a PTX text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The line's text, shortened.
    pub text: String,
}

impl Position {
    const TEXT_CHARS_MAX: usize = 160;

    /// The place of a byte offset in `source`.
    #[must_use]
    pub fn of(source: &str, offset: u32) -> Self {
        let bytes = source.as_bytes();
        let offset = (offset as usize).min(bytes.len());
        let before = &bytes[..offset];
        let start = before
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(0, |at| at + 1);
        let rest = &bytes[offset..];
        let end = offset
            + rest
                .iter()
                .position(|&byte| byte == b'\n')
                .unwrap_or(rest.len());
        let line = String::from_utf8_lossy(&bytes[start..end]);
        Self {
            line: before.iter().filter(|&&byte| byte == b'\n').count() + 1,
            column: String::from_utf8_lossy(&bytes[start..offset])
                .chars()
                .count()
                + 1,
            text: line.trim().chars().take(Self::TEXT_CHARS_MAX).collect(),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "line {}, column {}: `{}`",
            self.line, self.column, self.text
        )
    }
}

/// A PTX text that does not have the form of PTX. The text's maker is at fault, or this parser
/// does not know the construct.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{message} at {position}")]
pub struct ParseError {
    /// What was expected or found.
    pub message: String,
    /// Where.
    pub position: Position,
}
