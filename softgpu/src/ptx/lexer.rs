// SPDX-License-Identifier: Apache-2.0
//! PTX text to tokens. A token is a kind and a range of the text; nothing is copied.

/// What a token is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// `.reg`
    Directive,
    /// The end of the text.
    End,
    /// A byte that begins no token, or a string or comment without its end.
    Invalid,
    /// A number, integer or not.
    Number,
    /// A single character: `{ } [ ] ( ) < > , ; : @ ! | + - = * / % ~ & ^ ?`
    Punctuation(u8),
    /// `"…"`, the quotes included.
    String,
    /// `foo`, `%r1`, `$L1`, and with dotted parts `add.s32`, `%tid.x`, `ld.global.L2::128B`.
    Word,
}

/// A piece of the text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) start: u32,
    pub(super) end: u32,
}

pub(super) struct Lexer<'a> {
    bytes: &'a [u8],
    at: usize,
}

const WORD: u8 = 1;
const SPACE: u8 = 2;
const DIGIT: u8 = 4;

/// What each byte can be part of.
const CLASS: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let value = byte as u8;
        if value.is_ascii_alphanumeric() || matches!(value, b'_' | b'$' | b'%') || value >= 0x80 {
            table[byte] |= WORD;
        }
        if value.is_ascii_digit() {
            table[byte] |= DIGIT;
        }
        if value.is_ascii_whitespace() || value == 0x0b {
            table[byte] |= SPACE;
        }
        byte += 1;
    }
    table
};

impl<'a> Lexer<'a> {
    /// The text must be shorter than 4 GiB, so that offsets fit.
    pub(super) fn new(source: &'a str) -> Self {
        Self {
            bytes: source.as_bytes(),
            at: 0,
        }
    }

    pub(super) fn next(&mut self) -> Token {
        if !self.skip_blanks() {
            let start = self.at;
            self.at = self.bytes.len();
            return self.token(Kind::Invalid, start);
        }
        let start = self.at;
        let Some(&first) = self.bytes.get(start) else {
            return self.token(Kind::End, start);
        };
        self.at += 1;
        let kind = if CLASS[usize::from(first)] & DIGIT != 0 {
            self.number(start);
            Kind::Number
        } else if CLASS[usize::from(first)] & WORD != 0 {
            // `%` alone is an operator of constant expressions; a register name goes on.
            self.word(start)
        } else {
            match first {
                b'.' if self.peek_class() & DIGIT != 0 => {
                    self.number(start);
                    Kind::Number
                }
                b'.' => {
                    self.skip_word();
                    Kind::Directive
                }
                b'"' => self.string(),
                b'{' | b'}' | b'[' | b']' | b'(' | b')' | b'<' | b'>' | b',' | b';' | b':'
                | b'@' | b'!' | b'|' | b'+' | b'-' | b'=' | b'*' | b'/' | b'~' | b'&' | b'^'
                | b'?' => Kind::Punctuation(first),
                _ => Kind::Invalid,
            }
        };
        self.token(kind, start)
    }

    /// Skips the body of a section whose `{` has just been read, to after its `}`. Debug sections
    /// are most of a `-G` module's text and nobody needs them. False where the `}` is missing.
    pub(super) fn skip_section(&mut self) -> bool {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        match rest.iter().position(|&byte| byte == b'}') {
            Some(len) => self.at += len + 1,
            None => self.at = self.bytes.len(),
        }
        self.at < self.bytes.len() || rest.last() == Some(&b'}')
    }

    fn token(&self, kind: Kind, start: usize) -> Token {
        Token {
            kind,
            start: start as u32,
            end: self.at as u32,
        }
    }

    fn peek_class(&self) -> u8 {
        self.bytes
            .get(self.at)
            .map_or(0, |&byte| CLASS[usize::from(byte)])
    }

    fn skip_word(&mut self) {
        while self.peek_class() & WORD != 0 {
            self.at += 1;
        }
    }

    fn word(&mut self, start: usize) -> Kind {
        self.skip_word();
        if self.at - start == 1 && self.bytes[start] == b'%' {
            return Kind::Punctuation(b'%');
        }
        let mut dotted = false;
        loop {
            match self.bytes.get(self.at..) {
                Some([b'.', next, ..]) if CLASS[usize::from(*next)] & WORD != 0 => {
                    dotted = true;
                    self.at += 2;
                }
                // `.L2::128B`; after a label `::` cannot come.
                Some([b':', b':', next, ..]) if dotted && CLASS[usize::from(*next)] & WORD != 0 => {
                    self.at += 3;
                }
                _ => return Kind::Word,
            }
            self.skip_word();
        }
    }

    /// Takes everything that can be part of a number; the parser checks its form.
    fn number(&mut self, start: usize) {
        self.skip_word();
        let literal = &self.bytes[start..self.at];
        let is_bits = matches!(literal, [b'0', b'x' | b'X' | b'f' | b'F' | b'd' | b'D', ..]);
        if is_bits {
            return;
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.skip_word();
        }
        let ends_in_exponent = matches!(self.bytes[self.at - 1], b'e' | b'E');
        if ends_in_exponent && matches!(self.bytes.get(self.at), Some(b'+' | b'-')) {
            self.at += 1;
            self.skip_word();
        }
    }

    fn string(&mut self) -> Kind {
        while let Some(&byte) = self.bytes.get(self.at) {
            self.at += 1;
            match byte {
                b'"' => return Kind::String,
                b'\\' => self.at = (self.at + 1).min(self.bytes.len()),
                _ => {}
            }
        }
        Kind::Invalid
    }

    /// Skips white space, comments and preprocessor leftovers; false where a comment has no end.
    fn skip_blanks(&mut self) -> bool {
        loop {
            while self.peek_class() & SPACE != 0 {
                self.at += 1;
            }
            match self.bytes.get(self.at..) {
                Some([b'/', b'/', ..]) => self.skip_line(),
                Some([b'#', ..]) if self.at_line_start() => self.skip_line(),
                Some([b'/', b'*', rest @ ..]) => {
                    match rest.windows(2).position(|pair| pair == b"*/") {
                        Some(len) => self.at += len + 4,
                        None => return false,
                    }
                }
                _ => return true,
            }
        }
    }

    fn at_line_start(&self) -> bool {
        let line = self.bytes[..self.at].rsplit(|&byte| byte == b'\n').next();
        line.is_none_or(|line| line.iter().all(u8::is_ascii_whitespace))
    }

    fn skip_line(&mut self) {
        let rest = &self.bytes[self.at..];
        self.at += rest
            .iter()
            .position(|&byte| byte == b'\n')
            .unwrap_or(rest.len());
    }
}
