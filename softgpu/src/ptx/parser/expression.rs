// SPDX-License-Identifier: Apache-2.0
//! Literals and constant expressions ("Constant Expressions" of the PTX ISA).

use super::super::ast::Immediate;
use super::super::lexer::Kind;
use super::{Parser, Result};

impl Parser<'_> {
    /// A number or a constant expression.
    pub(super) fn immediate(&mut self) -> Result<Immediate> {
        self.enter()?;
        let value = self.conditional();
        self.leave();
        value
    }

    /// An integer constant expression.
    pub(super) fn integer(&mut self) -> Result<i64> {
        let start = self.token;
        match self.immediate()? {
            Immediate::Int(value) => Ok(value),
            _ => {
                self.token = start;
                Err(self.unexpected("an integer"))
            }
        }
    }

    /// A count or size that is not negative.
    pub(super) fn size(&mut self) -> Result<u64> {
        let start = self.token;
        let value = self.integer()?;
        u64::try_from(value).map_err(|_| {
            self.token = start;
            self.unexpected("a size")
        })
    }

    /// A plain literal that fits 32 bits.
    pub(super) fn small_integer(&mut self) -> Result<u32> {
        if self.token.kind == Kind::Number
            && let Some(Immediate::Int(value)) = literal(self.text())
            && let Ok(value) = u32::try_from(value)
        {
            self.advance();
            return Ok(value);
        }
        Err(self.unexpected("a number"))
    }

    fn conditional(&mut self) -> Result<Immediate> {
        let condition = self.binary(0)?;
        if !self.accept(b'?') {
            return Ok(condition);
        }
        let yes = self.immediate()?;
        self.expect(b':')?;
        let no = self.immediate()?;
        match condition {
            Immediate::Int(0) => Ok(no),
            Immediate::Int(_) => Ok(yes),
            _ => Err(self.unexpected("an integer condition before this")),
        }
    }

    /// Precedence climbing over the C operators.
    fn binary(&mut self, precedence_min: u8) -> Result<Immediate> {
        let mut left = self.unary()?;
        while let Some((operator, precedence)) = self.operator() {
            if precedence < precedence_min {
                break;
            }
            for _ in 0..operator.token_count() {
                self.advance();
            }
            self.enter()?;
            let right = self.binary(precedence + 1);
            self.leave();
            let (Immediate::Int(a), Immediate::Int(b)) = (left, right?) else {
                return Err(self.unexpected("an integer expression before this"));
            };
            let Some(value) = operator.apply(a, b) else {
                return Err(self.unexpected("a division by something other than zero before this"));
            };
            left = Immediate::Int(value);
        }
        Ok(left)
    }

    /// The binary operator that begins at the current token. In operand position `|` separates a
    /// destination pair, which never holds numbers, so it is an operator here.
    fn operator(&self) -> Option<(Operator, u8)> {
        let Kind::Punctuation(first) = self.token.kind else {
            return None;
        };
        let rest = self.source.as_bytes().get(self.token.end as usize).copied();
        Some(match (first, rest) {
            (b'|', Some(b'|')) => (Operator::LogicalOr, 0),
            (b'&', Some(b'&')) => (Operator::LogicalAnd, 1),
            (b'|', _) => (Operator::Or, 2),
            (b'^', _) => (Operator::Xor, 3),
            (b'&', _) => (Operator::And, 4),
            (b'=', Some(b'=')) => (Operator::Equal, 5),
            (b'!', Some(b'=')) => (Operator::NotEqual, 5),
            (b'<', Some(b'<')) => (Operator::ShiftLeft, 7),
            (b'>', Some(b'>')) => (Operator::ShiftRight, 7),
            (b'<', Some(b'=')) => (Operator::LessEqual, 6),
            (b'>', Some(b'=')) => (Operator::GreaterEqual, 6),
            (b'<', _) => (Operator::Less, 6),
            (b'>', _) => (Operator::Greater, 6),
            (b'+', _) => (Operator::Add, 8),
            (b'-', _) => (Operator::Subtract, 8),
            (b'*', _) => (Operator::Multiply, 9),
            (b'/', _) => (Operator::Divide, 9),
            (b'%', _) => (Operator::Remainder, 9),
            _ => return None,
        })
    }

    fn unary(&mut self) -> Result<Immediate> {
        let Kind::Punctuation(operator) = self.token.kind else {
            return self.literal();
        };
        if !matches!(operator, b'(' | b'-' | b'+' | b'~' | b'!') {
            return Err(self.unexpected("an operand"));
        }
        self.enter()?;
        self.advance();
        let value = match operator {
            b'(' => {
                // `(.s64) 5` and `(.u64) 5` change nothing here: all is 64 bits.
                if matches!(self.directive(), Some(".s64" | ".u64")) {
                    self.advance();
                    self.expect(b')')?;
                    self.unary()?
                } else {
                    let value = self.immediate()?;
                    self.expect(b')')?;
                    value
                }
            }
            _ => match (operator, self.unary()?) {
                (b'-', Immediate::Int(value)) => Immediate::Int(value.wrapping_neg()),
                (b'-', Immediate::F32(value)) => Immediate::F32(-value),
                (b'-', Immediate::F64(value)) => Immediate::F64(-value),
                (b'+', value) => value,
                (b'~', Immediate::Int(value)) => Immediate::Int(!value),
                (b'!', Immediate::Int(value)) => Immediate::Int(i64::from(value == 0)),
                _ => return Err(self.unexpected("an integer before this")),
            },
        };
        self.leave();
        Ok(value)
    }

    fn literal(&mut self) -> Result<Immediate> {
        if self.token.kind == Kind::Word && self.text() == "WARP_SZ" {
            self.advance();
            return Ok(Immediate::Int(32));
        }
        let value = (self.token.kind == Kind::Number)
            .then(|| literal(self.text()))
            .flatten();
        let value = value.ok_or_else(|| self.unexpected("an operand"))?;
        self.advance();
        Ok(value)
    }
}

#[derive(Clone, Copy)]
enum Operator {
    Add,
    And,
    Divide,
    Equal,
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
    LogicalAnd,
    LogicalOr,
    Multiply,
    NotEqual,
    Or,
    Remainder,
    ShiftLeft,
    ShiftRight,
    Subtract,
    Xor,
}

impl Operator {
    fn token_count(self) -> usize {
        match self {
            Self::Equal
            | Self::GreaterEqual
            | Self::LessEqual
            | Self::LogicalAnd
            | Self::LogicalOr
            | Self::NotEqual
            | Self::ShiftLeft
            | Self::ShiftRight => 2,
            _ => 1,
        }
    }

    fn apply(self, a: i64, b: i64) -> Option<i64> {
        let shift = |by: i64| u32::try_from(by).ok().filter(|&by| by < 64);
        Some(match self {
            Self::Add => a.wrapping_add(b),
            Self::And => a & b,
            Self::Divide => a.checked_div(b)?,
            Self::Equal => i64::from(a == b),
            Self::Greater => i64::from(a > b),
            Self::GreaterEqual => i64::from(a >= b),
            Self::Less => i64::from(a < b),
            Self::LessEqual => i64::from(a <= b),
            Self::LogicalAnd => i64::from(a != 0 && b != 0),
            Self::LogicalOr => i64::from(a != 0 || b != 0),
            Self::Multiply => a.wrapping_mul(b),
            Self::NotEqual => i64::from(a != b),
            Self::Or => a | b,
            Self::Remainder => a.checked_rem(b)?,
            Self::ShiftLeft => shift(b).map_or(0, |by| a << by),
            Self::ShiftRight => a >> shift(b).unwrap_or(63),
            Self::Subtract => a.wrapping_sub(b),
            Self::Xor => a ^ b,
        })
    }
}

/// The value of a number token.
fn literal(text: &str) -> Option<Immediate> {
    let bytes = text.as_bytes();
    if let [b'0', b'f' | b'F', digits @ ..] = bytes
        && digits.len() == 8
    {
        let bits = u32::from_str_radix(&text[2..], 16).ok()?;
        return Some(Immediate::F32(f32::from_bits(bits)));
    }
    if let [b'0', b'd' | b'D', digits @ ..] = bytes
        && digits.len() == 16
    {
        let bits = u64::from_str_radix(&text[2..], 16).ok()?;
        return Some(Immediate::F64(f64::from_bits(bits)));
    }
    let integer = text.strip_suffix('U').unwrap_or(text);
    let (digits, radix) = match integer.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&integer[2..], 16),
        [b'0', b'b' | b'B', ..] => (&integer[2..], 2),
        [b'0', _, ..] if integer.bytes().all(|byte| byte.is_ascii_digit()) => (&integer[1..], 8),
        _ => (integer, 10),
    };
    if let Ok(value) = u64::from_str_radix(digits, radix) {
        // `from_str_radix` would take a sign, but no token has one.
        return Some(Immediate::Int(value.cast_signed()));
    }
    let is_decimal = bytes
        .iter()
        .all(|b| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
    let is_float = is_decimal && bytes.iter().any(|b| matches!(b, b'.' | b'e' | b'E'));
    if is_float {
        text.parse().ok().map(Immediate::F64)
    } else {
        None
    }
}
