// SPDX-License-Identifier: Apache-2.0
//! The syntax tree of a PTX module. Names are as written; offsets are byte offsets in the source.

/// A parsed PTX text.
#[derive(Debug, Default)]
pub struct Module<'a> {
    /// The text itself, for error positions.
    pub source: &'a str,
    /// `.version` major and minor.
    pub version: (u32, u32),
    /// `.target` names: `sm_80`, `debug`.
    pub target: Vec<&'a str>,
    /// `.address_size` in bits, 32 where the text does not say (PTX's default).
    pub address_size: u32,
    /// Variables and functions in text order.
    pub items: Vec<Item<'a>>,
}

/// Something at module scope.
#[derive(Debug)]
pub enum Item<'a> {
    /// `.alias name, aliasee;`
    Alias {
        /// The new name.
        name: &'a str,
        /// The function it stands for.
        aliasee: &'a str,
        /// Where it stands.
        offset: u32,
    },
    /// A kernel or device function, declared or defined.
    Function(Function<'a>),
    /// A variable in a state space.
    Variable(Declaration<'a>),
}

/// Who else sees a name.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Linkage {
    /// `.common`: merged with others of the same name.
    Common,
    /// `.extern`: defined elsewhere, or a `.shared` array sized at launch.
    Extern,
    /// No directive: this module only.
    #[default]
    Private,
    /// `.visible`.
    Visible,
    /// `.weak`: another module's definition may replace it.
    Weak,
}

/// A PTX state space. A generic address has no space.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StateSpace {
    /// `.const`
    Const,
    /// `.global`
    Global,
    /// `.local`
    Local,
    /// `.param`
    Param,
    /// `.reg`
    Reg,
    /// `.shared`
    Shared,
    /// `.tex`, deprecated.
    Tex,
}

/// A fundamental type, or one of the opaque reference types.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(missing_docs, reason = "each is the PTX type of the same name")]
pub enum ScalarType {
    B8,
    B16,
    B32,
    B64,
    B128,
    U8,
    U16,
    U32,
    U64,
    S8,
    S16,
    S32,
    S64,
    F16,
    F16x2,
    Bf16,
    Bf16x2,
    Tf32,
    F32,
    F64,
    Pred,
    U16x2,
    S16x2,
    E4m3x2,
    E5m2x2,
    Texref,
    Samplerref,
    Surfref,
}

impl ScalarType {
    /// From the name without its dot.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "b8" => Self::B8,
            "b16" => Self::B16,
            "b32" => Self::B32,
            "b64" => Self::B64,
            "b128" => Self::B128,
            "u8" => Self::U8,
            "u16" => Self::U16,
            "u32" => Self::U32,
            "u64" => Self::U64,
            "s8" => Self::S8,
            "s16" => Self::S16,
            "s32" => Self::S32,
            "s64" => Self::S64,
            "f16" => Self::F16,
            "f16x2" => Self::F16x2,
            "bf16" => Self::Bf16,
            "bf16x2" => Self::Bf16x2,
            "tf32" => Self::Tf32,
            "f32" => Self::F32,
            "f64" => Self::F64,
            "pred" => Self::Pred,
            "u16x2" => Self::U16x2,
            "s16x2" => Self::S16x2,
            "e4m3x2" => Self::E4m3x2,
            "e5m2x2" => Self::E5m2x2,
            "texref" => Self::Texref,
            "samplerref" => Self::Samplerref,
            "surfref" => Self::Surfref,
            _ => return None,
        })
    }

    /// Size in memory, bytes. A predicate has none in PTX and is counted as one.
    #[must_use]
    pub const fn size_bytes(self) -> u32 {
        match self {
            Self::B8 | Self::U8 | Self::S8 | Self::Pred => 1,
            Self::B16
            | Self::U16
            | Self::S16
            | Self::F16
            | Self::Bf16
            | Self::E4m3x2
            | Self::E5m2x2 => 2,
            Self::B32
            | Self::U32
            | Self::S32
            | Self::F32
            | Self::F16x2
            | Self::Bf16x2
            | Self::U16x2
            | Self::S16x2
            | Self::Tf32 => 4,
            Self::B64
            | Self::U64
            | Self::S64
            | Self::F64
            | Self::Texref
            | Self::Samplerref
            | Self::Surfref => 8,
            Self::B128 => 16,
        }
    }
}

/// One `[…]` of an array declarator: a count, or `None` for `[]`.
pub type Dimension = Option<u64>;

/// A variable in memory, or a parameter.
#[derive(Clone, Debug)]
pub struct Declaration<'a> {
    /// Who sees it.
    pub linkage: Linkage,
    /// Where it lies.
    pub space: StateSpace,
    /// `.align` in bytes; without it the natural alignment holds.
    pub align: Option<u32>,
    /// 1, or 2 or 4 for `.v2` and `.v4`.
    pub vector: u32,
    /// Element type.
    pub ty: ScalarType,
    /// Its name; `_` in a prototype.
    pub name: &'a str,
    /// Array dimensions, outermost first.
    pub dimensions: Vec<Dimension>,
    /// Initial value.
    pub initializer: Option<Initializer<'a>>,
    /// `.attribute(.managed)`.
    pub managed: bool,
    /// Where it stands.
    pub offset: u32,
}

impl Declaration<'_> {
    /// Bytes of one element, vector width counted.
    #[must_use]
    pub fn element_bytes(&self) -> u64 {
        u64::from(self.ty.size_bytes()) * u64::from(self.vector)
    }

    /// Alignment in bytes: as declared, else that of an element.
    #[must_use]
    pub fn alignment_bytes(&self) -> u64 {
        self.align.map_or_else(|| self.element_bytes(), u64::from)
    }

    /// Total size in bytes; `[]` counts zero elements unless an initializer fills it. `None` on
    /// overflow.
    #[must_use]
    pub fn size_bytes(&self) -> Option<u64> {
        self.dimensions
            .iter()
            .enumerate()
            .try_fold(self.element_bytes(), |size, (index, count)| {
                let count = match (count, &self.initializer) {
                    (Some(count), _) => *count,
                    (None, Some(Initializer::List(list))) if index == 0 => list.len() as u64,
                    (None, _) => 0,
                };
                size.checked_mul(count)
            })
    }
}

/// A variable's initial value.
#[derive(Clone, Debug)]
pub enum Initializer<'a> {
    /// A number.
    Immediate(Immediate),
    /// `{ … }`
    List(Vec<Self>),
    /// An address: `symbol+8`, `generic(symbol)`, or with `0xff00(symbol)` a part of one.
    Symbol {
        /// The variable or function.
        name: &'a str,
        /// `generic( )`: the generic address rather than one in the symbol's space.
        generic: bool,
        /// Added to the address, in bytes.
        addend: i64,
        /// Of the sum, the bits to store, shifted down to bit 0.
        mask: Option<u64>,
    },
}

/// A literal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Immediate {
    /// `0d…` or a decimal floating-point literal.
    F64(f64),
    /// `0f…`
    F32(f32),
    /// An integer; unsigned ones above `i64::MAX` wrap, so this is the 64-bit pattern.
    Int(i64),
}

/// Registers of one type.
#[derive(Clone, Copy, Debug)]
pub struct RegisterDeclaration<'a> {
    /// The type.
    pub ty: ScalarType,
    /// 1, or 2 or 4 for `.v2` and `.v4`.
    pub vector: u32,
    /// The name, or the prefix of a range.
    pub name: &'a str,
    /// For `%r<10>`, 10: `%r0` … `%r9`.
    pub count: Option<u32>,
    /// Where it stands.
    pub offset: u32,
}

/// Kernel or not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FunctionKind {
    /// `.entry`
    Entry,
    /// `.func`
    Func,
}

/// Performance-tuning and launch-bound directives of a kernel; 0 where not given.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Performance {
    /// `.maxntid`, threads in x, y, z.
    pub max_threads: [u32; 3],
    /// `.reqntid`, threads in x, y, z.
    pub required_threads: [u32; 3],
    /// `.minnctapersm`
    pub min_blocks_per_sm: u32,
    /// `.maxnreg`
    pub max_registers: u32,
    /// `.reqnctapercluster`, blocks in x, y, z.
    pub required_cluster: [u32; 3],
    /// `.explicitcluster`
    pub explicit_cluster: bool,
    /// `.blocksareclusters`
    pub blocks_are_clusters: bool,
    /// `.maxclusterrank`
    pub max_cluster_rank: u32,
}

/// A kernel or device function.
#[derive(Debug)]
pub struct Function<'a> {
    /// Who sees it.
    pub linkage: Linkage,
    /// Kernel or not.
    pub kind: FunctionKind,
    /// Its name.
    pub name: &'a str,
    /// Return parameters; PTX allows more than one, compilers write one at most.
    pub returns: Vec<Declaration<'a>>,
    /// Parameters.
    pub parameters: Vec<Declaration<'a>>,
    /// `.noreturn`
    pub no_return: bool,
    /// Launch bounds.
    pub performance: Performance,
    /// `None` for a declaration. Braces of nested scopes are statements of their own.
    pub body: Option<Vec<Statement<'a>>>,
    /// What the operand ranges of this function's instructions point into.
    pub operands: Vec<Operand<'a>>,
    /// Where it stands.
    pub offset: u32,
}

/// One statement of a function body.
#[derive(Debug)]
pub enum Statement<'a> {
    /// `name: .branchtargets a, b;`
    BranchTargets {
        /// The list's name.
        name: &'a str,
        /// The labels.
        targets: Vec<&'a str>,
    },
    /// `name: .calltargets f, g;`
    CallTargets {
        /// The list's name.
        name: &'a str,
        /// The functions.
        targets: Vec<&'a str>,
    },
    /// An instruction.
    Instruction(Instruction<'a>),
    /// `name:`
    Label {
        /// The label's name.
        name: &'a str,
        /// Where it stands.
        offset: u32,
    },
    /// `name: .callprototype …;`
    Prototype(Box<Prototype<'a>>),
    /// `.reg …`
    Registers(RegisterDeclaration<'a>),
    /// `{`
    ScopeBegin,
    /// `}` of a nested scope
    ScopeEnd,
    /// `.local`, `.shared`, `.param` … inside a function.
    Variable(Box<Declaration<'a>>),
}

/// The signature for an indirect call.
#[derive(Debug)]
pub struct Prototype<'a> {
    /// Its label.
    pub name: &'a str,
    /// Return parameters.
    pub returns: Vec<Declaration<'a>>,
    /// Parameters.
    pub parameters: Vec<Declaration<'a>>,
    /// `.noreturn`
    pub no_return: bool,
}

/// `@p` or `@!p`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Predicate<'a> {
    /// The predicate register.
    pub name: &'a str,
    /// With `!`.
    pub negated: bool,
}

/// An instruction, not yet understood.
#[derive(Clone, Copy, Debug)]
pub struct Instruction<'a> {
    /// The guard, if any.
    pub predicate: Option<Predicate<'a>>,
    /// Name and modifiers as written: `mad.wide.u32`.
    pub name: &'a str,
    /// Its operands in [`Function::operands`].
    pub operands: OperandRange,
    /// Where it stands.
    pub offset: u32,
}

impl<'a> Instruction<'a> {
    /// The dot-separated parts of the name: `mad`, `wide`, `u32`.
    pub fn parts(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.name.split('.').map(str::trim)
    }
}

/// Some operands that lie next to each other in [`Function::operands`].
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct OperandRange {
    /// The first one's index.
    pub start: u32,
    /// How many.
    pub len: u32,
}

impl OperandRange {
    /// The operands themselves. Empty where `pool` is not the function's own.
    #[must_use]
    pub fn of<'p, 'a>(self, pool: &'p [Operand<'a>]) -> &'p [Operand<'a>] {
        let start = self.start as usize;
        pool.get(start..start + self.len as usize)
            .unwrap_or_default()
    }
}

/// An operand.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Operand<'a> {
    /// `[ … ]`
    Address(Address<'a>),
    /// A number.
    Immediate(Immediate),
    /// `( … )` of a call.
    List(OperandRange),
    /// `-r` of `vmad`.
    Minus(&'a str),
    /// `!p`
    Negated(&'a str),
    /// `p|q`: both parts in the pool, the first one may be a vector.
    Pair(OperandRange),
    /// `_`
    Sink,
    /// A register, variable, function, label or special register such as `%tid.x`, plus a byte
    /// offset for a variable.
    Symbol {
        /// The name, an element selector `.x` included.
        name: &'a str,
        /// Added to an address; 0 for anything else.
        addend: i64,
    },
    /// `{a, b}`
    Vector(OperandRange),
}

/// What an address counts from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AddressBase<'a> {
    /// `[16]`
    Absolute,
    /// A register, variable or parameter.
    Symbol(&'a str),
}

/// A memory operand.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Address<'a> {
    /// What it counts from.
    pub base: AddressBase<'a>,
    /// Bytes added.
    pub displacement: i64,
    /// The coordinates of a texture, surface or tensor address; empty for plain memory.
    pub coordinates: OperandRange,
}
