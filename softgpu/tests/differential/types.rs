// SPDX-License-Identifier: Apache-2.0
//! Types of values, and the operations that expressions are made of.

use super::exact::{BF16, F16, F32, F64, Format};

/// Type of a value. Values are kept as their bits, zero above.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Type {
    Pred,
    U16,
    S16,
    U32,
    S32,
    U64,
    S64,
    F16,
    Bf16,
    F16x2,
    Bf16x2,
    F32,
    F64,
}

impl Type {
    pub(crate) const INTEGERS: [Self; 6] = [
        Self::U16,
        Self::S16,
        Self::U32,
        Self::S32,
        Self::U64,
        Self::S64,
    ];
    pub(crate) const ALL: [Self; 13] = [
        Self::Pred,
        Self::U16,
        Self::S16,
        Self::U32,
        Self::S32,
        Self::U64,
        Self::S64,
        Self::F16,
        Self::Bf16,
        Self::F16x2,
        Self::Bf16x2,
        Self::F32,
        Self::F64,
    ];

    /// Bits of a value.
    pub(crate) fn bits(self) -> u32 {
        match self {
            Self::Pred => 1,
            Self::U16 | Self::S16 | Self::F16 | Self::Bf16 => 16,
            Self::U32 | Self::S32 | Self::F32 | Self::F16x2 | Self::Bf16x2 => 32,
            Self::U64 | Self::S64 | Self::F64 => 64,
        }
    }

    /// Bytes in memory; a predicate is kept as a 32-bit 0 or 1.
    pub(crate) fn bytes(self) -> u32 {
        match self {
            Self::Pred => 4,
            _ => self.bits() / 8,
        }
    }

    pub(crate) fn mask(self) -> u64 {
        u64::MAX >> (64 - self.bits())
    }

    pub(crate) fn is_signed(self) -> bool {
        matches!(self, Self::S16 | Self::S32 | Self::S64)
    }

    /// The format of a scalar floating-point type, or of the elements of a packed one.
    pub(crate) fn format(self) -> Option<Format> {
        match self {
            Self::F16 | Self::F16x2 => Some(F16),
            Self::Bf16 | Self::Bf16x2 => Some(BF16),
            Self::F32 => Some(F32),
            Self::F64 => Some(F64),
            _ => None,
        }
    }

    pub(crate) fn is_packed(self) -> bool {
        matches!(self, Self::F16x2 | Self::Bf16x2)
    }

    /// As PTX writes it after an instruction's name.
    pub(crate) fn ptx(self) -> &'static str {
        match self {
            Self::Pred => "pred",
            Self::U16 => "u16",
            Self::S16 => "s16",
            Self::U32 => "u32",
            Self::S32 => "s32",
            Self::U64 => "u64",
            Self::S64 => "s64",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::F16x2 => "f16x2",
            Self::Bf16x2 => "bf16x2",
            Self::F32 => "f32",
            Self::F64 => "f64",
        }
    }

    /// The type of its registers, and of untyped moves.
    pub(crate) fn untyped(self) -> &'static str {
        match self.bits() {
            1 => "pred",
            16 => "b16",
            32 => "b32",
            _ => "b64",
        }
    }

    /// As CUDA C writes it, if it is a plain type there.
    pub(crate) fn cuda(self) -> Option<&'static str> {
        Some(match self {
            Self::Pred => "bool",
            Self::U16 => "unsigned short",
            Self::S16 => "short",
            Self::U32 => "unsigned",
            Self::S32 => "int",
            Self::U64 => "unsigned long long",
            Self::S64 => "long long",
            Self::F32 => "float",
            Self::F64 => "double",
            Self::F16 | Self::Bf16 | Self::F16x2 | Self::Bf16x2 => return None,
        })
    }

    /// An integer's value.
    pub(crate) fn value(self, bits: u64) -> i128 {
        let unused = 64 - self.bits();
        if self.is_signed() {
            ((bits << unused) as i64 >> unused).into()
        } else {
            bits.into()
        }
    }

    /// An integer's bits; wraps.
    pub(crate) fn wrap(self, value: i128) -> u64 {
        value as u64 & self.mask()
    }

    pub(crate) fn least(self) -> i128 {
        if self.is_signed() {
            -(1 << (self.bits() - 1))
        } else {
            0
        }
    }

    pub(crate) fn greatest(self) -> i128 {
        (1 << (self.bits() - u32::from(self.is_signed()))) - 1
    }

    /// Whether two values are the same; NaNs are.
    pub(crate) fn same(self, a: u64, b: u64) -> bool {
        let Some(format) = self.format() else {
            return a == b;
        };
        let width = format.exponent_bits + format.fraction_bits + 1;
        let element = u64::MAX >> (64 - width);
        (0..self.bits() / width).all(|i| {
            let (a, b) = (a >> (i * width) & element, b >> (i * width) & element);
            a == b || format.is_nan(a) && format.is_nan(b)
        })
    }
}

/// What an operation computes, from its arguments' bits.
pub(crate) type Evaluate = Box<dyn Fn(&[u64]) -> u64 + Send + Sync>;

/// One kind of expression node.
pub(crate) struct Operation {
    pub(crate) result: Type,
    pub(crate) arguments: Vec<Type>,
    /// Instructions: `{d}` is the result, `{0}` … the arguments, `{p0}`, `{r0}`, `{d0}`, `{h0}`, …
    /// scratch registers of each kind.
    pub(crate) ptx: String,
    /// An expression of CUDA C, with `{0}` … for arguments.
    pub(crate) cuda: Option<String>,
    pub(crate) evaluate: Evaluate,
}

/// All operations.
#[derive(Default)]
pub(crate) struct Table {
    pub(crate) operations: Vec<Operation>,
}

impl Table {
    pub(crate) fn new() -> Self {
        let mut table = Self::default();
        super::integer::add(&mut table);
        super::float::add(&mut table);
        super::convert::add(&mut table);
        super::compare::add(&mut table);
        table
    }

    pub(crate) fn push(
        &mut self,
        result: Type,
        arguments: &[Type],
        ptx: impl Into<String>,
        cuda: Option<String>,
        evaluate: impl Fn(&[u64]) -> u64 + Send + Sync + 'static,
    ) {
        self.operations.push(Operation {
            result,
            arguments: arguments.to_vec(),
            ptx: ptx.into(),
            cuda,
            evaluate: Box::new(evaluate),
        });
    }
}
