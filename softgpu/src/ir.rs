// SPDX-License-Identifier: Apache-2.0
//! The intermediate representation between the PTX front end (`lower`) and the executor (`exec`).
//!
//! A [`Module`] holds functions, kernels and variables. A [`Function`] is a flat array of
//! [`Instruction`]s: a guard plus a fully typed [`Op`]. Every type, rounding mode and state space
//! is resolved at lowering time; addresses of variables and functions stay symbolic
//! ([`Src::Variable`], [`Src::Function`]) until the module is instantiated on a device. The
//! executor decodes this form once more into its own compact one, so clarity wins over size here.
//!
//! # Registers
//! A register is a slot of 32 or 64 bits ([`Reg`]) or a predicate ([`Pred`]). Slots are numbered
//! from 0 per function and per kind; the function says how many of each it uses
//! ([`RegisterCounts`]). Lowering may reuse slots whose live ranges do not overlap. Registers start
//! undefined (zero in practice).
//! * 8- and 16-bit PTX registers live in the low bits of a 32-bit slot. **The bits above are
//!   undefined**: each operation reads only the bits its type names. An operation whose result is
//!   16 bits wide may write anything above.
//! * A `.b128` register is two 64-bit slots; lowering splits its moves, loads and stores.
//! * The condition code register `CC.CF` is a predicate that lowering allocates, see [`Op::Carry`].
//! * Apart from the cases that say otherwise, the slot width of an operand is the width of the
//!   operation's type, rounded up to 32 bits.
//!
//! # Program counters
//! Branch targets are indices into [`Function::code`]. Reaching the end of the array means
//! [`Op::Return`]. Lay basic blocks out in PTX order: the executor reconverges diverged lanes by
//! running the lowest program counter first.
//!
//! # Calls
//! All argument passing goes through local memory. A function's frame in each thread's local memory
//! is [`Function::local_bytes`] long (round up to 16) and starts with its *parameter area*:
//! parameters in order from offset 0, each at its natural alignment, then the return values under
//! the same rule. [`ParameterArea`] computes that layout. A callee's frame starts where its
//! caller's ends. So
//! * a callee reads its own parameters and writes its return values at
//!   [`AddressBase::Frame`] + area offset ([`Space::Local`]);
//! * a caller writes arguments and reads return values at [`AddressBase::Frame`] + *its own*
//!   `local_bytes` + area offset, or simply [`AddressBase::CalleeFrame`] + area offset;
//! * `.local` variables of the function come after its parameter area.
//!
//! Kernel parameters are not part of this: they are read with [`Space::Param`].
//!
//! # Addresses
//! Global and constant addresses are generic addresses (`cvta` is a move). Shared addresses are
//! byte offsets from the start of the block's shared memory, static variables first, then the
//! dynamic part ([`Src::DynamicShared`]). Local addresses are byte offsets into the thread's local
//! memory. The generic windows of shared, local and param memory are in [`crate::limits`].

mod image;

use std::sync::Arc;

pub use crate::device_call::DeviceCall;
pub use image::{Geometry, ImageOp, ImageQuery, LevelMode, OpaqueType, SurfaceBounds, TexelType};

/// Index of a function in [`Module::functions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FunctionId(pub u32);

/// Index of a variable in [`Module::variables`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VariableId(pub u32);

/// One lowered PTX module.
#[derive(Clone, Debug, Default)]
pub struct Module {
    /// Kernels and device functions; [`FunctionId`] indexes it.
    pub functions: Vec<Function>,
    /// Entry points.
    pub kernels: Vec<Kernel>,
    /// `.global` and `.const` variables; [`VariableId`] indexes it.
    pub variables: Vec<Variable>,
    /// Those of them that are texture or surface references, of 8 bytes each.
    pub references: Vec<(VariableId, OpaqueType)>,
}

impl Module {
    /// The kernel of that (mangled) name.
    #[must_use]
    pub fn kernel(&self, name: &str) -> Option<&Kernel> {
        self.kernels.iter().find(|kernel| kernel.name == name)
    }
}

/// Code and frame of a kernel or a device function.
#[derive(Clone, Debug, Default)]
pub struct Function {
    /// Mangled name.
    pub name: String,
    /// Register slots used.
    pub registers: RegisterCounts,
    /// Bytes of local memory of one activation: parameter area (device functions only) and `.local`
    /// variables. The executor rounds it up to 16.
    pub local_bytes: u32,
    /// Bytes of its `.local` variables alone: what an activation takes of the stack that
    /// `CU_LIMIT_STACK_SIZE` limits.
    pub variable_bytes: u32,
    /// The instructions.
    pub code: Vec<Instruction>,
    /// PTX source line of each instruction, for messages; empty, or as long as `code`. 0 = unknown.
    pub lines: Vec<u32>,
}

/// How many slots of each kind a function uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegisterCounts {
    /// 32-bit slots.
    pub w32: u32,
    /// 64-bit slots.
    pub w64: u32,
    /// Predicates.
    pub predicates: u32,
}

/// A `.entry`.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Mangled name.
    pub name: String,
    /// Its code.
    pub function: FunctionId,
    /// Parameters in order.
    pub parameters: Vec<Parameter>,
    /// Length of the parameter block in bytes.
    pub parameter_bytes: u32,
    /// Bytes of static shared memory, including what its callees use; dynamic shared memory starts
    /// at this value rounded up to [`Kernel::dynamic_shared_alignment`].
    pub static_shared_bytes: u32,
    /// Alignment of the dynamic shared memory in bytes (the largest `.extern .shared` alignment, at
    /// least 16).
    pub dynamic_shared_alignment: u32,
    /// `.maxntid`, 1 for dimensions not given.
    pub max_threads: Option<[u32; 3]>,
    /// `.reqntid`, 1 for dimensions not given.
    pub required_threads: Option<[u32; 3]>,
    /// `.minnctapersm`.
    pub min_blocks_per_multiprocessor: Option<u32>,
    /// `.maxnreg`.
    pub max_registers: Option<u32>,
    /// `.reqnctapercluster`: blocks of a cluster in x, y, z.
    pub required_cluster: Option<[u32; 3]>,
    /// `.blocksareclusters`: a launch counts clusters, and takes the length of a block from
    /// [`Kernel::required_threads`].
    pub blocks_are_clusters: bool,
    /// `.explicitcluster`: a launch must give the cluster's dimensions, if nothing else does.
    pub is_cluster_explicit: bool,
    /// `.maxclusterrank`: most blocks of a cluster.
    pub max_cluster_blocks: Option<u32>,
}

/// One kernel parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Byte offset in the parameter block.
    pub offset: u32,
    /// Bytes.
    pub size: u32,
    /// Alignment in bytes, a power of two.
    pub alignment: u32,
}

/// Lays out a parameter area (device function) or a parameter block (kernel): see the module docs.
#[derive(Clone, Copy, Debug, Default)]
pub struct ParameterArea {
    bytes: u32,
}

impl ParameterArea {
    /// Adds one item and answers its offset.
    pub fn push(&mut self, size: u32, alignment: u32) -> u32 {
        let offset = self.bytes.next_multiple_of(alignment.max(1));
        self.bytes = offset + size;
        offset
    }

    /// Bytes so far.
    #[must_use]
    pub fn bytes(&self) -> u32 {
        self.bytes
    }
}

/// A `.global` or `.const` variable.
#[derive(Clone, Debug)]
pub struct Variable {
    /// Name.
    pub name: String,
    /// [`Space::Global`] or [`Space::Const`].
    pub space: Space,
    /// Bytes.
    pub size: u64,
    /// Alignment in bytes, a power of two.
    pub alignment: u32,
    /// First bytes; the rest up to `size` is zero.
    pub initializer: Vec<u8>,
    /// Addresses to be put into the initializer.
    pub relocations: Vec<Relocation>,
    /// `.visible`/`.weak`/`.common`: findable by `cuModuleGetGlobal`. (A driver may find the others
    /// too.)
    pub visible: bool,
    /// `.attribute(.managed)`.
    pub managed: bool,
}

/// Puts `(address(target) + addend) >> shift`, truncated to `bytes`, at `offset`, little endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relocation {
    /// Byte offset in the variable.
    pub offset: u64,
    /// 1 to 8 (`.b8` arrays use `0xFF00(symbol)`: bytes 1, shift 8).
    pub bytes: u8,
    /// Bits to shift right first.
    pub shift: u8,
    /// What it points to.
    pub target: Symbol,
    /// Added to the address.
    pub addend: i64,
}

/// Something with an address that is known only on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Symbol {
    /// A function, as a function pointer.
    Function(FunctionId),
    /// A variable.
    Variable(VariableId),
}

/// State spaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Space {
    /// `.global`.
    Global,
    /// `.const` (same memory as global, written by nobody).
    Const,
    /// `.shared` of the own block, or of a block of its cluster: see [`crate::limits`].
    Shared,
    /// `.local` of the own thread.
    Local,
    /// Kernel parameters. (`.param` of device functions is [`Space::Local`], see the module docs.)
    Param,
    /// No space given: decided by the address.
    Generic,
}

/// A register slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reg {
    /// 32-bit slot, also for 8- and 16-bit values.
    W32(u32),
    /// 64-bit slot.
    W64(u32),
}

/// A predicate slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pred(pub u32);

/// A source operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Src {
    /// A register.
    Reg(Reg),
    /// A constant: the bits of the value, in the low bits (float constants as their bits; negative
    /// integers sign-extended or not, only the low bits that the operation's type names count).
    Imm(u64),
    /// Address of a variable, plus bytes.
    Variable(VariableId, i64),
    /// Function pointer.
    Function(FunctionId),
    /// Address (shared space) of the dynamic shared memory of the running kernel, plus bytes.
    DynamicShared(i64),
}

/// A predicate source operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PredSrc {
    /// `p` or `!p`.
    Reg {
        /// The predicate.
        pred: Pred,
        /// `!p`.
        negate: bool,
    },
    /// A constant.
    Const(bool),
}

impl From<Pred> for PredSrc {
    fn from(pred: Pred) -> Self {
        Self::Reg {
            pred,
            negate: false,
        }
    }
}

impl From<Reg> for Src {
    fn from(reg: Reg) -> Self {
        Self::Reg(reg)
    }
}

/// A memory address: base plus byte offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// What the offset is added to.
    pub base: AddressBase,
    /// Bytes.
    pub offset: i64,
}

/// Base of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressBase {
    /// A value. With a 32-bit register the sum with the offset is 32 bits wide: it wraps.
    /// `Src::Imm(0)` for absolute addresses.
    Src(Src),
    /// Start of the running function's local frame ([`Space::Local`] only).
    Frame,
    /// End of the running function's local frame, where a callee's parameter area starts
    /// ([`Space::Local`] only).
    CalleeFrame,
}

impl Address {
    /// `[base + offset]`.
    #[must_use]
    pub fn new(base: impl Into<Src>, offset: i64) -> Self {
        Self {
            base: AddressBase::Src(base.into()),
            offset,
        }
    }

    /// `[offset]`.
    #[must_use]
    pub fn absolute(offset: i64) -> Self {
        Self {
            base: AddressBase::Src(Src::Imm(0)),
            offset,
        }
    }

    /// `[frame + offset]`.
    #[must_use]
    pub fn frame(offset: i64) -> Self {
        Self {
            base: AddressBase::Frame,
            offset,
        }
    }

    /// `[callee frame + offset]`.
    #[must_use]
    pub fn callee(offset: i64) -> Self {
        Self {
            base: AddressBase::CalleeFrame,
            offset,
        }
    }
}

/// `@p`, `@!p` or nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Guard {
    /// Always executed.
    #[default]
    Always,
    /// `@p`.
    If(Pred),
    /// `@!p`.
    IfNot(Pred),
}

/// A guarded operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Instruction {
    /// Which lanes execute it.
    pub guard: Guard,
    /// What they do.
    pub op: Op,
}

impl From<Op> for Instruction {
    fn from(op: Op) -> Self {
        Self {
            guard: Guard::Always,
            op,
        }
    }
}

/// Integer types. 8-bit ones only in conversions, loads and stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IntType {
    /// `.u8`, `.b8`.
    U8,
    /// `.s8`.
    S8,
    /// `.u16`, `.b16`.
    U16,
    /// `.s16`.
    S16,
    /// `.u32`, `.b32`.
    U32,
    /// `.s32`.
    S32,
    /// `.u64`, `.b64`.
    U64,
    /// `.s64`.
    S64,
}

/// Floating-point types. Packed types hold the element of lower index in the low half.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FloatType {
    /// `.f16` (low 16 bits of a 32-bit slot).
    F16,
    /// `.bf16` (low 16 bits of a 32-bit slot).
    Bf16,
    /// `.f16x2`.
    F16x2,
    /// `.bf16x2`.
    Bf16x2,
    /// `.f32`.
    F32,
    /// `.f64`.
    F64,
}

/// Any scalar type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScalarType {
    /// An integer type.
    Int(IntType),
    /// A floating-point type.
    Float(FloatType),
}

/// Width of a bit operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Width {
    /// 16 bits.
    B16,
    /// 32 bits.
    B32,
    /// 64 bits.
    B64,
}

/// Rounding of a floating-point result, or to an integer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Rounding {
    /// `.rn`, `.rni`: nearest, ties to even.
    #[default]
    NearestEven,
    /// `.rna`: nearest, ties away from zero (`cvt` to tf32).
    NearestAway,
    /// `.rz`, `.rzi`.
    TowardZero,
    /// `.rm`, `.rmi`: towards minus infinity.
    Down,
    /// `.rp`, `.rpi`: towards plus infinity.
    Up,
}

/// Modifiers of a floating-point operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FloatMode {
    /// Rounding of the result.
    pub rounding: Rounding,
    /// `.ftz`: subnormal inputs and results become zero of the same sign (f32, f16).
    pub flush: bool,
    /// `.sat`: clamp the result to [0, 1], NaN to 0.
    pub saturate: bool,
}

/// One-operand operations: `dst = op(a)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnaryOp {
    /// `mov` within one slot width (B16 moves a whole 32-bit slot).
    Move(Width),
    /// `neg.s`.
    Neg(IntType),
    /// `abs.s`.
    Abs(IntType),
    /// `not.b`.
    Not(Width),
    /// `cnot.b`.
    Cnot(Width),
    /// `brev`.
    BitReverse(Width),
    /// `clz`: 32-bit result.
    CountLeadingZeros(Width),
    /// `popc`: 32-bit result.
    PopulationCount(Width),
    /// `bfind`, `.shiftamt`: 32-bit result.
    FindLeadingBit {
        /// Operand type (32 or 64 bits).
        ty: IntType,
        /// `.shiftamt`.
        shift_amount: bool,
    },
    /// `neg.f`; `flush`: `.ftz`.
    FloatNeg {
        /// Type.
        ty: FloatType,
        /// `.ftz`.
        flush: bool,
    },
    /// `abs.f`.
    FloatAbs {
        /// Type.
        ty: FloatType,
        /// `.ftz`.
        flush: bool,
    },
    /// `sqrt` (f32, f64); `.approx` is [`Rounding::NearestEven`].
    Sqrt(FloatType, FloatMode),
    /// `rcp` (f32, f64); `.approx` is [`Rounding::NearestEven`].
    Reciprocal(FloatType, FloatMode),
    /// `rsqrt.approx` (f32, f64), also `rsqrt.approx.ftz.f64`.
    ReciprocalSqrt {
        /// F32 or F64.
        ty: FloatType,
        /// `.ftz`.
        flush: bool,
    },
    /// `ex2.approx` (f32, f16, f16x2, bf16, bf16x2).
    Exp2 {
        /// Type.
        ty: FloatType,
        /// `.ftz`.
        flush: bool,
    },
    /// `lg2.approx.f32`.
    Log2 {
        /// `.ftz`.
        flush: bool,
    },
    /// `sin.approx.f32`.
    Sin {
        /// `.ftz`.
        flush: bool,
    },
    /// `cos.approx.f32`.
    Cos {
        /// `.ftz`.
        flush: bool,
    },
    /// `tanh.approx` (f32, f16, f16x2, bf16, bf16x2).
    Tanh(FloatType),
    /// 32-bit result: low half of a 64-bit operand (`mov.b64 {d, _}, a`).
    LowHalf64,
    /// 32-bit result: high half of a 64-bit operand (`mov.b64 {_, d}, a`).
    HighHalf64,
    /// 16-bit result: bits 31..16 of a 32-bit operand. (The low half is `Move(B16)`.)
    HighHalf32,
    /// `cvt.rn.f16x2.e4m3x2` and its like.
    UnpackFloat8(Float8),
}

/// Two-operand operations: `dst = op(a, b)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryOp {
    /// `add` without carry.
    Add(IntType),
    /// `add.sat.s32`.
    AddSaturate,
    /// `sub` without borrow.
    Sub(IntType),
    /// `sub.sat.s32`.
    SubSaturate,
    /// `mul.lo`.
    MulLow(IntType),
    /// `mul.hi`.
    MulHigh(IntType),
    /// `mul.wide`: type of the operands (16 or 32 bits); the result has twice the width.
    MulWide(IntType),
    /// `mul24.lo` (32-bit types).
    Mul24Low(IntType),
    /// `mul24.hi` (32-bit types).
    Mul24High(IntType),
    /// `div`; by zero: all ones.
    Div(IntType),
    /// `rem`; by zero: the dividend.
    Rem(IntType),
    /// `min`.
    Min(IntType),
    /// `max`.
    Max(IntType),
    /// `and.b`.
    And(Width),
    /// `or.b`.
    Or(Width),
    /// `xor.b`.
    Xor(Width),
    /// `shl.b`: b is a 32-bit operand, amounts past the width give 0.
    Shl(Width),
    /// `shr`: b is a 32-bit operand, amounts past the width are clamped (sign fill for signed
    /// types).
    Shr(IntType),
    /// `dst(64) = a(32) | b(32) << 32` (`mov.b64 d, {a, b}`).
    Pack64,
    /// `dst(32) = a(16) | b(16) << 16` (`mov.b32 d, {a, b}`).
    Pack32,
    /// `bmsk.clamp.b32`, a: position, b: width.
    BitMaskClamp,
    /// `bmsk.wrap.b32`.
    BitMaskWrap,
    /// `szext.clamp` (U32, S32).
    SignZeroExtendClamp(IntType),
    /// `szext.wrap` (U32, S32).
    SignZeroExtendWrap(IntType),
    /// `add.f`.
    FloatAdd(FloatType, FloatMode),
    /// `sub.f`.
    FloatSub(FloatType, FloatMode),
    /// `mul.f`.
    FloatMul(FloatType, FloatMode),
    /// `div.f` (f32, f64); `.approx` and `.full` are [`Rounding::NearestEven`].
    FloatDiv(FloatType, FloatMode),
    /// `min.f`.
    FloatMin {
        /// Type.
        ty: FloatType,
        /// Modifiers.
        mode: MinMaxMode,
    },
    /// `max.f`.
    FloatMax {
        /// Type.
        ty: FloatType,
        /// Modifiers.
        mode: MinMaxMode,
    },
    /// `cvt.rn.satfinite.e4m3x2.f32 d, a, b`: a is the high and b the low byte.
    PackFloat8 {
        /// Of a byte.
        to: Float8,
        /// `.relu`.
        relu: bool,
    },
    /// `copysign d, a, b`: the sign of **a**, the magnitude of **b** (PTX order). F32, F64.
    CopySign(FloatType),
}

/// Modifiers of `min` and `max`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MinMaxMode {
    /// `.ftz`.
    pub flush: bool,
    /// `.NaN`: NaN if either operand is; otherwise the operand that is not NaN.
    pub nan: bool,
    /// `.xorsign.abs`.
    pub xor_sign: bool,
}

/// Three-operand operations: `dst = op(a, b, c)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TernaryOp {
    /// `mad.lo`.
    MadLow(IntType),
    /// `mad.hi`.
    MadHigh(IntType),
    /// `mad.hi.sat.s32`.
    MadHighSaturate,
    /// `mad.wide`: type of a and b; c and the result have twice the width.
    MadWide(IntType),
    /// `mad24.lo`.
    Mad24Low(IntType),
    /// `mad24.hi`.
    Mad24High(IntType),
    /// `sad`: `c + |a - b|`.
    Sad(IntType),
    /// `lop3.b32` with its table.
    Lop3(u8),
    /// `bfe`: type of a (32 or 64 bits); b (position) and c (length) are 32-bit.
    BitFieldExtract(IntType),
    /// `shf.l.clamp` (32-bit): a low word, b high word, c amount.
    FunnelLeftClamp,
    /// `shf.l.wrap`.
    FunnelLeftWrap,
    /// `shf.r.clamp`.
    FunnelRightClamp,
    /// `shf.r.wrap`.
    FunnelRightWrap,
    /// `prmt.b32`.
    Permute(PermuteMode),
    /// `fns.b32`: mask, base, offset.
    FindNthSet,
    /// `dp4a`: signedness of a and of b.
    DotProduct4 {
        /// a is `.s32`.
        a_signed: bool,
        /// b is `.s32`.
        b_signed: bool,
    },
    /// `dp2a`.
    DotProduct2 {
        /// a is `.s32`.
        a_signed: bool,
        /// b is `.s32`.
        b_signed: bool,
        /// `.hi`: the high two bytes of b.
        high: bool,
    },
    /// `fma`, and `mad.f`.
    Fma(FloatType, FloatMode),
    /// `fma.rn.relu` (f16, bf16 and packed): negative results become +0, NaN canonical.
    FmaRelu(FloatType),
    /// A video instruction on 32-bit operands.
    Video(Video),
    /// `slct.b.s32`: `c >= 0 ? a : b`.
    SelectSign(Width),
    /// `slct.b.f32`: `c >= 0.0 ? a : b` (NaN selects b).
    SelectSignFloat {
        /// Width of a, b and the result.
        width: Width,
        /// `.ftz`.
        flush: bool,
    },
}

/// A scalar or SIMD video instruction: parts of `b:a` go through an operation in pairs, and the
/// results are combined with c.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Video {
    /// The operation.
    pub op: VideoOp,
    /// Whether the result, a and b are signed.
    pub signed: [bool; 3],
    /// `.sat`: the result is held within the part that it goes to.
    pub saturate: bool,
    /// Results: 1, 2 or 4.
    pub lanes: u8,
    /// For each result the first bit of its left operand in `b:a`.
    pub a: [u8; 4],
    /// The same of its right operand.
    pub b: [u8; 4],
    /// Bits of a left and of a right operand.
    pub bits: [u8; 2],
    /// What happens to the results.
    pub finish: VideoFinish,
}

/// What a video instruction computes of two parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VideoOp {
    /// `vadd`.
    Add,
    /// `vsub`.
    Subtract,
    /// `vavrg`: half of the sum, rounded away from zero.
    Average,
    /// `vabsdiff`.
    AbsoluteDifference,
    /// `vmin`.
    Min,
    /// `vmax`.
    Max,
    /// `vshl`; `wrap`: the amount modulo 32, not at most 32.
    ShiftLeft {
        /// `.wrap`.
        wrap: bool,
    },
    /// `vshr`.
    ShiftRight {
        /// `.wrap`.
        wrap: bool,
    },
    /// `vset`: 1 or 0.
    Compare(CompareOp),
    /// `vmad`: `(±a × b ± c + one) >> shift`, saturated as 32 bits.
    MultiplyAdd {
        /// The product's sign is changed.
        negate_product: bool,
        /// c's sign is changed.
        negate_c: bool,
        /// `.po`.
        plus_one: bool,
        /// 0, 7 or 15.
        shift: u8,
    },
}

/// How the results of a video instruction become its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VideoFinish {
    /// The result itself.
    Result,
    /// Result plus c.
    Add,
    /// The smaller of result and c.
    Min,
    /// The larger of result and c.
    Max,
    /// The result replaces this part of c.
    Insert {
        /// First bit.
        position: u8,
        /// Bits.
        length: u8,
    },
    /// c with each result in its own lane, where the mask has the lane's bit.
    Merge {
        /// A bit a lane.
        mask: u8,
    },
    /// c plus all results whose bit is in the mask.
    Accumulate {
        /// A bit a lane.
        mask: u8,
    },
}

/// Formats of eight bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Float8 {
    /// 4 bits exponent, 3 bits fraction, no infinity.
    E4m3,
    /// 5 bits exponent, 2 bits fraction.
    E5m2,
}

/// `prmt` modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PermuteMode {
    /// No mode: selector nibbles.
    Index,
    /// `.f4e`.
    Forward4Extract,
    /// `.b4e`.
    Backward4Extract,
    /// `.rc8`.
    Replicate8,
    /// `.ecl`.
    EdgeClampLeft,
    /// `.ecr`.
    EdgeClampRight,
    /// `.rc16`.
    Replicate16,
}

/// Comparison operators. `lo ls hi hs` are `Lt Le Gt Ge` on unsigned types. The `…u` forms are true
/// if an operand is NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CompareOp {
    /// `eq`.
    Eq,
    /// `ne`.
    Ne,
    /// `lt`.
    Lt,
    /// `le`.
    Le,
    /// `gt`.
    Gt,
    /// `ge`.
    Ge,
    /// `equ`.
    EqU,
    /// `neu`.
    NeU,
    /// `ltu`.
    LtU,
    /// `leu`.
    LeU,
    /// `gtu`.
    GtU,
    /// `geu`.
    GeU,
    /// `num`: neither is NaN.
    Num,
    /// `nan`: either is NaN.
    Nan,
}

/// A comparison of two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compare {
    /// Operator.
    pub op: CompareOp,
    /// Type of both operands; packed float types only in [`Op::SetPredicatePacked`] and
    /// [`Op::Set`].
    pub ty: ScalarType,
    /// `.ftz`.
    pub flush: bool,
    /// Left.
    pub a: Src,
    /// Right.
    pub b: Src,
}

/// Boolean operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BoolOp {
    /// and.
    And,
    /// or.
    Or,
    /// xor.
    Xor,
}

/// `testp` classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FloatClass {
    /// Neither infinite nor NaN.
    Finite,
    /// ±∞.
    Infinite,
    /// Not NaN.
    Number,
    /// NaN.
    NotANumber,
    /// Normal (zero is not).
    Normal,
    /// Subnormal. (PTX: zero is *not* subnormal here either.)
    Subnormal,
}

/// Memory element types. The register may be wider: signed types are sign-extended, others
/// zero-extended; stores write the low bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MemType {
    /// One byte, zero-extended.
    U8,
    /// One byte, sign-extended.
    S8,
    /// Two bytes, zero-extended (also f16).
    U16,
    /// Two bytes, sign-extended.
    S16,
    /// Four bytes, zero-extended into a 64-bit slot (also f32).
    U32,
    /// Four bytes, sign-extended into a 64-bit slot.
    S32,
    /// Eight bytes.
    B64,
}

/// Memory ordering of an access.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MemoryOrder {
    /// Plain access.
    #[default]
    Weak,
    /// `.volatile`, `.mmio`, `.relaxed`: single, never merged.
    Relaxed,
    /// `.acquire`.
    Acquire,
    /// `.release`.
    Release,
    /// `.acq_rel` (atomics).
    AcquireRelease,
}

/// Atomic operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AtomicOp {
    /// Integer or float add.
    Add,
    /// Minimum.
    Min,
    /// Maximum.
    Max,
    /// `inc`: `old >= a ? 0 : old + 1`.
    Inc,
    /// `dec`: `old == 0 || old > a ? a : old - 1`.
    Dec,
    /// and.
    And,
    /// or.
    Or,
    /// xor.
    Xor,
    /// Exchange.
    Exchange,
    /// Compare (a) and swap (b).
    CompareAndSwap,
}

/// Types of atomic operations; `b32` is `U32`, `b64` is `U64`, `b16` is `U16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AtomicType {
    /// 16-bit bits (`cas.b16`).
    U16,
    /// 32-bit unsigned or bits.
    U32,
    /// 32-bit signed.
    S32,
    /// 64-bit unsigned or bits.
    U64,
    /// 64-bit signed.
    S64,
    /// f32.
    F32,
    /// f64.
    F64,
    /// f16.
    F16,
    /// Two f16, each added by itself.
    F16x2,
    /// bf16.
    Bf16,
    /// Two bf16.
    Bf16x2,
}

/// What a barrier instruction does after arriving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BarrierKind {
    /// Wait.
    Sync,
    /// Do not wait.
    Arrive,
    /// Wait; `dst(32)` = number of participating threads with a true predicate.
    ReducePopulation {
        /// 32-bit result.
        dst: Reg,
        /// Operand.
        src: PredSrc,
    },
    /// Wait; `dst` = and over the participating threads.
    ReduceAnd {
        /// Result.
        dst: Pred,
        /// Operand.
        src: PredSrc,
    },
    /// Wait; `dst` = or over the participating threads.
    ReduceOr {
        /// Result.
        dst: Pred,
        /// Operand.
        src: PredSrc,
    },
}

/// `shfl` modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ShuffleMode {
    /// `.up`.
    Up,
    /// `.down`.
    Down,
    /// `.bfly`.
    Butterfly,
    /// `.idx`.
    Index,
}

/// `vote` modes with a predicate result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VoteMode {
    /// All true.
    All,
    /// Any true.
    Any,
    /// All the same.
    Uniform,
}

/// `redux.sync` operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReduceOp {
    /// Sum.
    Add,
    /// Minimum.
    Min,
    /// Maximum.
    Max,
    /// and.
    And,
    /// or.
    Or,
    /// xor.
    Xor,
}

/// Special registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SpecialRegister {
    /// `%tid.{x,y,z}` (0..3).
    ThreadIndex(u8),
    /// `%ntid.{x,y,z}`.
    BlockDimension(u8),
    /// `%ctaid.{x,y,z}`.
    BlockIndex(u8),
    /// `%nctaid.{x,y,z}`.
    GridDimension(u8),
    /// `%laneid`.
    LaneId,
    /// `%warpid`.
    WarpId,
    /// `%nwarpid`.
    WarpCount,
    /// `%smid`.
    MultiprocessorId,
    /// `%nsmid`.
    MultiprocessorCount,
    /// `%gridid` (64-bit slot, or its low half in a 32-bit one).
    GridId,
    /// `%lanemask_eq`.
    LaneMaskEq,
    /// `%lanemask_le`.
    LaneMaskLe,
    /// `%lanemask_lt`.
    LaneMaskLt,
    /// `%lanemask_ge`.
    LaneMaskGe,
    /// `%lanemask_gt`.
    LaneMaskGt,
    /// `%clock`.
    Clock,
    /// `%clock_hi`.
    ClockHigh,
    /// `%clock64` (64-bit slot).
    Clock64,
    /// `%globaltimer` (64-bit slot), nanoseconds.
    GlobalTimer,
    /// `%globaltimer_lo`.
    GlobalTimerLow,
    /// `%globaltimer_hi`.
    GlobalTimerHigh,
    /// `%dynamic_smem_size`.
    DynamicSharedBytes,
    /// `%total_smem_size`.
    TotalSharedBytes,
    /// `%clusterid.{x,y,z}` (0..3).
    ClusterIndex(u8),
    /// `%nclusterid.{x,y,z}`.
    ClusterGridDimension(u8),
    /// `%cluster_ctaid.{x,y,z}`.
    BlockInCluster(u8),
    /// `%cluster_nctaid.{x,y,z}`.
    ClusterDimension(u8),
    /// `%cluster_ctarank`.
    ClusterRank,
    /// `%cluster_nctarank`.
    ClusterBlocks,
    /// `%is_explicit_cluster`, as 0 or 1.
    IsClusterExplicit,
    /// A register that is 0 here: the fourth element of vectors, performance counters that count
    /// nothing, reserved shared memory, of which there is none.
    Zero,
    /// `%envreg<n>`; 1 and 2 are the high and low word of the grid workspace address (cooperative
    /// launches), the others 0.
    Environment(u8),
}

/// Who is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Callee {
    /// A function of the module.
    Function(FunctionId),
    /// A function pointer (64-bit).
    Indirect(Src),
    /// A function of the device runtime.
    Builtin(Builtin),
}

/// Functions that the device runtime provides. They use the calling convention of the module docs;
/// the offsets in the parameter area are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Builtin {
    /// `vprintf(b64 format @0, b64 arguments @8) -> b32 @16`.
    Printf,
    /// `__assertfail(b64 message @0, b64 file @8, b32 line @16, b64 function @24, b64 char_bytes
    /// @32)`.
    AssertFail,
    /// `malloc(b64 bytes @0) -> b64 @8`.
    Malloc,
    /// `free(b64 pointer @0)`.
    Free,
    /// `cudaGraphSetConditional(b64 handle @0, b32 value @8)`: the handle is an address.
    SetConditional,
    /// A function of `libcudadevrt`; [`DeviceCall::offsets`] tells its parameter area.
    Device(DeviceCall),
}

/// `mbarrier` operations on a 64-bit object in shared memory (address in [`Op::MemoryBarrier`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryBarrierOp {
    /// `.init` with an expected count (32-bit).
    Init {
        /// Expected arrivals.
        count: Src,
    },
    /// `.inval`.
    Invalidate,
    /// `.arrive`, `.arrive_drop`, with or without `.noComplete`.
    Arrive {
        /// State (64-bit), if wanted.
        dst: Option<Reg>,
        /// Arrivals (32-bit), 1 if absent.
        count: Option<Src>,
        /// `.arrive_drop`.
        drop: bool,
        /// `.expect_tx`: bytes that this phase waits for, noted first (32-bit).
        expected_bytes: Option<Src>,
    },
    /// `.expect_tx`: raises the bytes that this phase waits for (32-bit).
    ExpectBytes(Src),
    /// `.complete_tx`: so many of them have come (32-bit).
    CompleteBytes(Src),
    /// `.test_wait`, `.try_wait` on a state.
    TestWait {
        /// True when the phase of `state` has completed.
        dst: Pred,
        /// A state from `Arrive` (64-bit).
        state: Src,
    },
    /// `.test_wait.parity`, `.try_wait.parity`.
    TestWaitParity {
        /// True when the phase of that parity has completed.
        dst: Pred,
        /// 0 or 1 (32-bit).
        parity: Src,
    },
    /// `.pending_count` of a state: no memory access.
    PendingCount {
        /// 32-bit result.
        dst: Reg,
        /// A state.
        state: Src,
    },
    /// `cp.async.mbarrier.arrive{.noinc}`: asynchronous copies are already complete, so an arrival;
    /// without `.noinc` the pending count is raised first.
    CopyAsyncArrive {
        /// `.noinc`.
        no_increment: bool,
    },
}

/// A bulk copy, one of each executing lane.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CopyBulk {
    /// Global or Shared.
    pub dst_space: Space,
    /// Where to.
    pub dst: Address,
    /// Global or Shared.
    pub src_space: Space,
    /// Where from.
    pub src: Address,
    /// Bytes, a multiple of 16 (32-bit).
    pub bytes: Src,
    /// The `mbarrier` (shared memory) that is told of the bytes.
    pub barrier: Option<Address>,
    /// Combines the elements instead of copying them.
    pub reduction: Option<(AtomicOp, AtomicType)>,
    /// `.multicast::cluster`: mask of the blocks whose shared memory, at the destination's offset,
    /// gets a copy, each with a barrier at the barrier's offset (16 bits in a 32-bit slot).
    pub multicast: Option<Src>,
}

/// What a tensor copy does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TensorDirection {
    /// From global to shared memory.
    Load,
    /// From shared to global memory.
    Store,
    /// Combines global memory with elements of shared memory.
    Reduce(AtomicOp),
}

/// A bulk copy by a tensor map, one of each executing lane.
#[derive(Clone, Debug, PartialEq)]
pub struct CopyTensor {
    /// Which way.
    pub direction: TensorDirection,
    /// The map must be one of im2col; else it must be tiled.
    pub is_im2col: bool,
    /// The map (Generic).
    pub map: Address,
    /// One for each dimension (32-bit).
    pub coordinates: Vec<Src>,
    /// Of im2col, one for each dimension but two (16 bits in 32-bit slots).
    pub offsets: Vec<Src>,
    /// The elements in shared memory.
    pub shared: Address,
    /// As in [`CopyBulk`].
    pub barrier: Option<Address>,
    /// As in [`CopyBulk`].
    pub multicast: Option<Src>,
}

/// Operations.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// `dst = op(a)`.
    Unary {
        /// Operation.
        op: UnaryOp,
        /// Result.
        dst: Reg,
        /// Operand.
        a: Src,
    },
    /// `dst = op(a, b)`.
    Binary {
        /// Operation.
        op: BinaryOp,
        /// Result.
        dst: Reg,
        /// First operand.
        a: Src,
        /// Second operand.
        b: Src,
    },
    /// `dst = op(a, b, c)`.
    Ternary {
        /// Operation.
        op: TernaryOp,
        /// Result.
        dst: Reg,
        /// First operand.
        a: Src,
        /// Second operand.
        b: Src,
        /// Third operand.
        c: Src,
    },
    /// `bfi`: insert the low `length` bits of a into b at `position`.
    BitFieldInsert {
        /// B32 or B64.
        width: Width,
        /// Result.
        dst: Reg,
        /// Inserted.
        a: Src,
        /// Background.
        b: Src,
        /// 32-bit.
        position: Src,
        /// 32-bit.
        length: Src,
    },
    /// `add.cc addc sub.cc subc mad.cc madc`: `a + b + carry` or `a - b - borrow` in 32 or 64 bits.
    /// `mad` forms: lower as [`BinaryOp::MulLow`]/[`BinaryOp::MulHigh`] into a scratch slot, then
    /// this. The flag of `sub` is the carry of `a + !b + 1`: false means a borrow. Code of CUDA's own
    /// headers (the division of 128 bits) reads it with `addc`, as GPUs have it.
    Carry {
        /// B32 or B64.
        width: Width,
        /// Subtract.
        subtract: bool,
        /// Result.
        dst: Reg,
        /// First operand.
        a: Src,
        /// Second operand.
        b: Src,
        /// `addc`, `subc`.
        carry_in: Option<Pred>,
        /// `.cc`; may be the same predicate.
        carry_out: Option<Pred>,
    },
    /// `mov d, %special`.
    ReadSpecial {
        /// Result.
        dst: Reg,
        /// Which.
        register: SpecialRegister,
    },
    /// `dst` (32 or 64 bits) = local address of frame offset (`mov.u64 %SPL, __local_depot0`).
    FrameAddress {
        /// Result.
        dst: Reg,
        /// [`AddressBase::Frame`] or [`AddressBase::CalleeFrame`], plus bytes.
        address: Address,
    },
    /// `setp`: `dst = combine(compare)`, `dst_not = combine(!compare)`, where combine is the
    /// identity or `x boolop c`.
    SetPredicate {
        /// What is compared.
        compare: Compare,
        /// `.and c`, …
        combine: Option<(BoolOp, PredSrc)>,
        /// Result.
        dst: Option<Pred>,
        /// `|q`.
        dst_not: Option<Pred>,
    },
    /// `setp` on packed halves: `low` of the low halves, `high` of the high halves.
    SetPredicatePacked {
        /// What is compared.
        compare: Compare,
        /// `.and c`, …
        combine: Option<(BoolOp, PredSrc)>,
        /// Result of the low halves.
        low: Option<Pred>,
        /// Result of the high halves.
        high: Option<Pred>,
    },
    /// `set`: all ones / 1.0 when true, else 0. Result type U32, S32, F32, F16, Bf16, U16, S16 or
    /// packed (per half).
    Set {
        /// What is compared.
        compare: Compare,
        /// `.and c`, …
        combine: Option<(BoolOp, PredSrc)>,
        /// Result type.
        result: ScalarType,
        /// Result.
        dst: Reg,
    },
    /// `selp`: `pred ? a : b`.
    Select {
        /// Width.
        width: Width,
        /// Result.
        dst: Reg,
        /// If true.
        a: Src,
        /// If false.
        b: Src,
        /// Selector.
        pred: PredSrc,
    },
    /// `testp`.
    TestFloat {
        /// Class.
        class: FloatClass,
        /// F32 or F64.
        ty: FloatType,
        /// Result.
        dst: Pred,
        /// Operand.
        a: Src,
    },
    /// `and.pred or.pred xor.pred`.
    PredicateLogic {
        /// Operator.
        op: BoolOp,
        /// Result.
        dst: Pred,
        /// Left.
        a: PredSrc,
        /// Right.
        b: PredSrc,
    },
    /// `mov.pred`, `not.pred` (negated source), constants.
    PredicateMove {
        /// Result.
        dst: Pred,
        /// Source.
        a: PredSrc,
    },
    /// `cvt`. Slot widths follow `from` and `to`, except that an integer result may go to a wider
    /// slot (it is then sign- or zero-extended by the signedness of `to`; U32 -> 64-bit slot
    /// included).
    Convert {
        /// Result type.
        to: ScalarType,
        /// Operand type.
        from: ScalarType,
        /// Result.
        dst: Reg,
        /// Operand.
        a: Src,
        /// Rounding of the result ([`Rounding::NearestEven`] when the conversion is exact).
        rounding: Rounding,
        /// `.rni .rzi .rmi .rpi` on a float-to-float conversion: round to an integral value first.
        integral: bool,
        /// `.ftz`.
        flush: bool,
        /// `.sat`.
        saturate: bool,
        /// `.relu`.
        relu: bool,
    },
    /// `cvt.rn.f16x2.f32 d, a, b` and bf16x2: a goes to the **high** half.
    ConvertPack {
        /// F16x2 or Bf16x2.
        to: FloatType,
        /// Result.
        dst: Reg,
        /// f32, high half.
        high: Src,
        /// f32, low half.
        low: Src,
        /// NearestEven or TowardZero.
        rounding: Rounding,
        /// `.relu`.
        relu: bool,
    },
    /// `cvt.rna.tf32.f32`, `cvt.rn.tf32.f32` (32-bit in and out).
    ConvertTf32 {
        /// Result.
        dst: Reg,
        /// f32.
        a: Src,
        /// NearestAway, NearestEven or TowardZero.
        rounding: Rounding,
    },
    /// `cvt.pack.sat`: `d = c << n | sat(a) << … | sat(b)`, see the PTX page. `ty`: S16, U16, S8,
    /// U8 (8-bit ones keep the low 16 bits of c, shifted up by 16).
    ConvertPackInt {
        /// Element type.
        ty: IntType,
        /// Result (32 bits).
        dst: Reg,
        /// s32, upper element.
        a: Src,
        /// s32, lower element.
        b: Src,
        /// b32, only for 8-bit elements.
        c: Option<Src>,
    },
    /// `cvta` for shared, local and param (global and const: use a move). 32-bit slots are
    /// zero-extended or truncated.
    ConvertAddress {
        /// Shared, Local or Param.
        space: Space,
        /// True: space -> generic; false: `cvta.to`.
        to_generic: bool,
        /// Result.
        dst: Reg,
        /// Operand.
        a: Src,
    },
    /// `isspacep`.
    IsSpace {
        /// Space asked for.
        space: Space,
        /// Result.
        dst: Pred,
        /// Generic address.
        a: Src,
    },
    /// `ld`: one to eight elements; `None` for `_`.
    Load {
        /// Space.
        space: Space,
        /// Element type.
        ty: MemType,
        /// Ordering.
        order: MemoryOrder,
        /// Results. The access must be aligned to the size of all of them.
        dst: Vec<Option<Reg>>,
        /// Where.
        address: Address,
    },
    /// `st`.
    Store {
        /// Space.
        space: Space,
        /// Element type.
        ty: MemType,
        /// Ordering.
        order: MemoryOrder,
        /// Where.
        address: Address,
        /// Values.
        src: Vec<Src>,
    },
    /// `atom` (`dst` given) and `red`.
    Atomic {
        /// Global, Shared or Generic.
        space: Space,
        /// Operation.
        op: AtomicOp,
        /// Type.
        ty: AtomicType,
        /// Ordering.
        order: MemoryOrder,
        /// Old value.
        dst: Option<Reg>,
        /// Where.
        address: Address,
        /// Operand.
        a: Src,
        /// Second operand of compare-and-swap.
        b: Option<Src>,
    },
    /// A texture or surface instruction.
    Image {
        /// What it does.
        op: ImageOp,
        /// Texture or surface, 64 bits: an object's handle, or the address of a reference.
        handle: Src,
        /// Results; `None` for `_`.
        dst: Vec<Option<Reg>>,
        /// `|p`: the texels are there. The answer of [`ImageOp::IsType`].
        dst_pred: Option<Pred>,
        /// See [`ImageOp`].
        sources: Vec<Src>,
    },
    /// `membar`, `fence`.
    Fence,
    /// `cp.async`: done at once; commit and wait groups are [`Op::Nop`].
    CopyAsync {
        /// Shared address.
        dst: Address,
        /// Global address.
        src: Address,
        /// 4, 8 or 16.
        bytes: u8,
        /// Bytes to copy (32-bit), the rest is zero; or the ignore-src predicate lowered to 0.
        source_bytes: Option<Src>,
    },
    /// `cp.async.bulk`, `cp.reduce.async.bulk`: done at once.
    CopyBulk(Box<CopyBulk>),
    /// `cp.async.bulk.tensor`, `cp.reduce.async.bulk.tensor`: done at once.
    CopyTensor(Box<CopyTensor>),
    /// `atom`, `ld` and `st` on 128 bits as a single access; the operands are pairs of 64-bit
    /// values, low half first.
    AtomicWide {
        /// Global, Shared or Generic.
        space: Space,
        /// Not weak: polling, and ordered against other strong accesses.
        is_strong: bool,
        /// Where.
        address: Address,
        /// Old value; without it this is a store.
        dst: Option<[Reg; 2]>,
        /// What to compare with; without it the value is written anyway.
        compare: Option<[Src; 2]>,
        /// New value; without it this is a load.
        new: Option<[Src; 2]>,
    },
    /// `barrier.cluster.arrive`: the lane has arrived at the barrier of its cluster.
    ClusterArrive,
    /// `barrier.cluster.wait`: waits until all threads of the cluster have arrived.
    ClusterWait,
    /// `mbarrier.*`.
    MemoryBarrier {
        /// Shared or Generic.
        space: Space,
        /// Where (ignored by PendingCount).
        address: Address,
        /// What.
        op: MemoryBarrierOp,
    },
    /// `bra` (with the instruction's guard).
    Branch {
        /// Index into the function's code.
        target: u32,
    },
    /// `brx.idx`: an index past the list is undefined in PTX and a fault here.
    BranchIndexed {
        /// 32-bit index.
        index: Src,
        /// Indices into the function's code.
        targets: Arc<[u32]>,
    },
    /// `call`.
    Call {
        /// Who.
        callee: Callee,
    },
    /// `ret`.
    Return,
    /// `exit`.
    Exit,
    /// `trap`.
    Trap,
    /// `brkpt`: ignored.
    Breakpoint,
    /// `bar`, `barrier`.
    Barrier {
        /// Barrier number, 0..16 (32-bit).
        id: Src,
        /// Number of threads (32-bit); all threads if absent.
        count: Option<Src>,
        /// What else.
        kind: BarrierKind,
    },
    /// `bar.warp.sync`.
    WarpSync {
        /// 32-bit.
        member_mask: Src,
    },
    /// `shfl`: c packs clamp (bits 0-4) and segment mask (bits 8-12) as in PTX.
    Shuffle {
        /// Mode.
        mode: ShuffleMode,
        /// 32-bit result.
        dst: Reg,
        /// `|p`: source lane in range.
        dst_pred: Option<Pred>,
        /// Value.
        a: Src,
        /// Lane or delta.
        b: Src,
        /// Clamp and mask.
        c: Src,
        /// `.sync` member mask; without: the lanes that happen to be active.
        member_mask: Option<Src>,
    },
    /// `vote.{all,any,uni}`.
    Vote {
        /// Mode.
        mode: VoteMode,
        /// Result.
        dst: Pred,
        /// Operand.
        src: PredSrc,
        /// `.sync` member mask.
        member_mask: Option<Src>,
    },
    /// `vote.ballot`.
    Ballot {
        /// 32-bit result.
        dst: Reg,
        /// Operand.
        src: PredSrc,
        /// `.sync` member mask.
        member_mask: Option<Src>,
    },
    /// `activemask`.
    ActiveMask {
        /// 32-bit result.
        dst: Reg,
    },
    /// `match.any.sync`.
    MatchAny {
        /// B32 or B64.
        width: Width,
        /// 32-bit result.
        dst: Reg,
        /// Value.
        a: Src,
        /// Member mask.
        member_mask: Src,
    },
    /// `match.all.sync`.
    MatchAll {
        /// B32 or B64.
        width: Width,
        /// 32-bit result.
        dst: Reg,
        /// `|p`.
        dst_pred: Option<Pred>,
        /// Value.
        a: Src,
        /// Member mask.
        member_mask: Src,
    },
    /// `redux.sync` (U32 or S32).
    Redux {
        /// Operation.
        op: ReduceOp,
        /// Type.
        ty: IntType,
        /// 32-bit result.
        dst: Reg,
        /// Value.
        a: Src,
        /// Member mask.
        member_mask: Src,
    },
    /// `elect.sync`.
    Elect {
        /// Lane number, 32-bit.
        dst: Option<Reg>,
        /// True in the elected lane.
        dst_pred: Pred,
        /// Member mask.
        member_mask: Src,
    },
    /// `nanosleep`.
    Nanosleep {
        /// Nanoseconds (32-bit).
        duration_ns: Src,
    },
    /// Nothing (prefetch, pragma, commit group…).
    Nop,
    /// An instruction that is not implemented: faults when executed, with its text.
    Unsupported {
        /// The PTX opcode.
        text: Arc<str>,
    },
}
