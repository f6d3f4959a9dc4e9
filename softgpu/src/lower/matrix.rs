// SPDX-License-Identifier: Apache-2.0
//! Matrix instructions of a warp: `mma ldmatrix stmatrix movmatrix`, and the arithmetic of `wmma`.
//!
//! All are made of shuffles and ordinary arithmetic. With lane = 4g + t, every fragment layout of
//! the PTX ISA has the same shape: register i of an 8-row block of A holds, in lane (g, t), some
//! elements of row g; register i of an 8-column block of B holds, in lane (g, t), elements of
//! column g with the same inner indices. So for the results of lane (g, t), row g and columns
//! 2t and 2t + 1, the products of A's register i in lane (g, u) with B's in lane (column, u) are
//! summed over u and i, and which inner index lies where does not matter.

use crate::ir::{
    BinaryOp, Float8, FloatMode, FloatType, IntType, Op, Rounding, ScalarType as IrType,
    ShuffleMode, SpecialRegister, Src, TernaryOp, UnaryOp, Width,
};
use crate::ptx::{Operand, ScalarType};

use super::error::Result;
use super::function::Lowering;
use super::instruction::Inst;

mod quad_pair;
mod sparse;
mod transfer;

/// What one register of a fragment holds and how two are multiplied.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Element {
    /// Two `.bf16`.
    Bf16x2,
    /// Two `.f16`.
    F16x2,
    /// One `.f64`.
    F64,
    /// Thirty-two bits, and the operation that makes bits of two of them, which are counted.
    Bits { is_and: bool },
    /// Four numbers of eight bits.
    Float8x4(Float8),
    /// Eight 4-bit integers, signed or not.
    Int4x8 { signed: bool },
    /// Four 8-bit integers, signed or not.
    Int8x4 { signed: bool },
    /// One `.tf32`.
    Tf32,
}

impl Element {
    pub(super) fn of(ty: &str) -> Option<Self> {
        Some(match ty {
            "f16" => Self::F16x2,
            "bf16" => Self::Bf16x2,
            "tf32" => Self::Tf32,
            "e4m3" => Self::Float8x4(Float8::E4m3),
            "e5m2" => Self::Float8x4(Float8::E5m2),
            "f64" => Self::F64,
            "s8" => Self::Int8x4 { signed: true },
            "u8" => Self::Int8x4 { signed: false },
            "s4" => Self::Int4x8 { signed: true },
            "u4" => Self::Int4x8 { signed: false },
            "b1" => Self::Bits { is_and: false },
            _ => return None,
        })
    }

    /// The type of a register.
    pub(super) fn register_type(self) -> ScalarType {
        if self == Self::F64 {
            ScalarType::F64
        } else {
            ScalarType::B32
        }
    }

    /// Elements in a register.
    pub(super) fn per_register(self) -> u32 {
        match self {
            Self::Bf16x2 | Self::F16x2 => 2,
            Self::F64 | Self::Tf32 => 1,
            Self::Float8x4(_) | Self::Int8x4 { .. } => 4,
            Self::Int4x8 { .. } => 8,
            Self::Bits { .. } => 32,
        }
    }

    /// The type that products are summed in.
    pub(super) fn sum(self) -> Sum {
        match self {
            Self::F64 => Sum::F64,
            Self::Bits { .. } | Self::Int4x8 { .. } | Self::Int8x4 { .. } => Sum::S32,
            _ => Sum::F32,
        }
    }
}

/// The type of a sum.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Sum {
    F32,
    F64,
    S32,
}

/// A register of a fragment, as the values of one or more lanes.
type Fragment = Vec<Src>;

/// The lane's position in a fragment.
#[derive(Clone, Copy)]
pub(super) struct LanePosition {
    /// Lane number.
    pub(super) lane: Src,
    /// `lane / 4`
    pub(super) group: Src,
    /// `lane % 4`
    pub(super) thread: Src,
}

impl<'a> Lowering<'_, '_, 'a> {
    // === arithmetic on 32-bit lane values ===

    pub(super) fn compute(&mut self, op: BinaryOp, a: Src, b: Src) -> Result<Src> {
        let dst = self.temporary32()?;
        self.emit(Op::Binary { op, dst, a, b });
        Ok(dst.into())
    }

    fn compute_unary(&mut self, op: UnaryOp, a: Src) -> Result<Src> {
        let dst = self.temporary32()?;
        self.emit(Op::Unary { op, dst, a });
        Ok(dst.into())
    }

    /// `a * factor + b`
    pub(super) fn multiply_add(&mut self, a: Src, factor: u64, b: Src) -> Result<Src> {
        let dst = self.temporary32()?;
        let op = TernaryOp::MadLow(IntType::U32);
        self.emit(Op::Ternary {
            op,
            dst,
            a,
            b: Src::Imm(factor),
            c: b,
        });
        Ok(dst.into())
    }

    pub(super) fn lane_position(&mut self) -> Result<LanePosition> {
        let dst = self.temporary32()?;
        self.emit(Op::ReadSpecial {
            dst,
            register: SpecialRegister::LaneId,
        });
        let lane = dst.into();
        let group = self.compute(BinaryOp::Shr(IntType::U32), lane, Src::Imm(2))?;
        let thread = self.compute(BinaryOp::And(Width::B32), lane, Src::Imm(3))?;
        Ok(LanePosition {
            lane,
            group,
            thread,
        })
    }

    /// The value of a 32-bit register in another lane.
    fn fetch(&mut self, a: Src, lane: Src) -> Result<Src> {
        let dst = self.temporary32()?;
        self.emit(Op::Shuffle {
            mode: ShuffleMode::Index,
            dst,
            dst_pred: None,
            a,
            b: lane,
            c: Src::Imm(31),
            member_mask: Some(Src::Imm(u32::MAX.into())),
        });
        Ok(dst.into())
    }

    /// The value of a fragment's register in another lane.
    fn fetch_element(&mut self, element: Element, a: Src, lane: Src) -> Result<Src> {
        if element != Element::F64 {
            return self.fetch(a, lane);
        }
        let low = self.compute_unary(UnaryOp::LowHalf64, a)?;
        let high = self.compute_unary(UnaryOp::HighHalf64, a)?;
        let (low, high) = (self.fetch(low, lane)?, self.fetch(high, lane)?);
        let dst = self.temporary64()?;
        self.emit(Op::Binary {
            op: BinaryOp::Pack64,
            dst,
            a: low,
            b: high,
        });
        Ok(dst.into())
    }

    /// What a register holds, in the form that products are made of.
    fn factors(&mut self, element: Element, register: Src) -> Result<Fragment> {
        let halves = match element {
            Element::F64 | Element::Bits { .. } | Element::Int8x4 { .. } => {
                return Ok(vec![register]);
            }
            // The lower bits of the mantissa are not looked at.
            Element::Tf32 => {
                let mask = Src::Imm(0xffff_e000);
                return Ok(vec![self.compute(
                    BinaryOp::And(Width::B32),
                    register,
                    mask,
                )?]);
            }
            Element::Int4x8 { signed } => {
                let high = self.compute(BinaryOp::Shr(IntType::U32), register, Src::Imm(4))?;
                return [register, high]
                    .into_iter()
                    .map(|nibbles| self.nibbles_to_bytes(nibbles, signed))
                    .collect();
            }
            // A bf16 is the upper half of an f32.
            Element::Bf16x2 => {
                let low = self.compute(BinaryOp::Shl(Width::B32), register, Src::Imm(16))?;
                let mask = Src::Imm(0xffff_0000);
                let high = self.compute(BinaryOp::And(Width::B32), register, mask)?;
                return Ok(vec![low, high]);
            }
            Element::F16x2 => [register, self.compute_unary(UnaryOp::HighHalf32, register)?],
            Element::Float8x4(format) => return self.unpack_float8(format, register),
        };
        halves
            .into_iter()
            .map(|half| self.half_to_single(half))
            .collect()
    }

    /// The four numbers of eight bits of a register.
    fn unpack_float8(&mut self, format: Float8, register: Src) -> Result<Fragment> {
        let mut singles = Vec::with_capacity(4);
        for pair in [register, self.compute_unary(UnaryOp::HighHalf32, register)?] {
            let halves = self.compute_unary(UnaryOp::UnpackFloat8(format), pair)?;
            let high = self.compute_unary(UnaryOp::HighHalf32, halves)?;
            singles.push(self.half_to_single(halves)?);
            singles.push(self.half_to_single(high)?);
        }
        Ok(singles)
    }

    /// The lower halves of the bytes of a register, as bytes.
    fn nibbles_to_bytes(&mut self, nibbles: Src, signed: bool) -> Result<Src> {
        let and = BinaryOp::And(Width::B32);
        let bytes = self.compute(and, nibbles, Src::Imm(0x0f0f_0f0f))?;
        if !signed {
            return Ok(bytes);
        }
        // Bit 3 is repeated above itself: 8 * 0x1e = 0xf0.
        let signs = self.compute(and, bytes, Src::Imm(0x0808_0808))?;
        self.multiply_add(signs, 0x1e, bytes)
    }

    pub(super) fn half_to_single(&mut self, half: Src) -> Result<Src> {
        let dst = self.temporary32()?;
        self.emit(Op::Convert {
            to: IrType::Float(FloatType::F32),
            from: IrType::Float(FloatType::F16),
            dst,
            a: half,
            rounding: Rounding::NearestEven,
            integral: false,
            flush: false,
            saturate: false,
            relu: false,
        });
        Ok(dst.into())
    }

    /// `sum + a * b` of one register each.
    fn accumulate(
        &mut self,
        (elements, rounding): ([Element; 2], Rounding),
        a: &[Src],
        b: &[Src],
        mut sum: Src,
    ) -> Result<Src> {
        for (&a, &b) in a.iter().zip(b) {
            if let [Element::Bits { is_and }, _] = elements {
                let op = match is_and {
                    true => BinaryOp::And(Width::B32),
                    false => BinaryOp::Xor(Width::B32),
                };
                let bits = self.compute(op, a, b)?;
                let count = self.compute_unary(UnaryOp::PopulationCount(Width::B32), bits)?;
                sum = self.compute(BinaryOp::Add(IntType::U32), sum, count)?;
                continue;
            }
            let op = match elements {
                [
                    Element::Int8x4 { signed: a_signed },
                    Element::Int8x4 { signed: b_signed },
                ]
                | [
                    Element::Int4x8 { signed: a_signed },
                    Element::Int4x8 { signed: b_signed },
                ] => TernaryOp::DotProduct4 { a_signed, b_signed },
                [Element::F64, _] => {
                    let mode = FloatMode {
                        rounding,
                        ..FloatMode::default()
                    };
                    TernaryOp::Fma(FloatType::F64, mode)
                }
                _ => TernaryOp::Fma(FloatType::F32, FloatMode::default()),
            };
            let wide = elements[0] == Element::F64;
            let dst = if wide {
                self.temporary64()?
            } else {
                self.temporary32()?
            };
            self.emit(Op::Ternary {
                op,
                dst,
                a,
                b,
                c: sum,
            });
            sum = dst.into();
        }
        Ok(sum)
    }

    /// The products of blocks: `a` holds the registers of each 8-row block, `b` those of each
    /// 8-column block. The answer has, for each row block and within it each column block, the
    /// two sums of this lane, added to `c` in the same order.
    pub(super) fn multiply_blocks(
        &mut self,
        elements: [Element; 2],
        rounding: Rounding,
        a: &[Vec<Src>],
        b: &[Vec<Src>],
        c: &[Src],
    ) -> Result<Vec<Src>> {
        let position = self.lane_position()?;
        let mut sums = c.to_vec();
        for u in 0..4 {
            let row_lane = self.compute(BinaryOp::And(Width::B32), position.lane, Src::Imm(28))?;
            let row_lane = self.compute(BinaryOp::Or(Width::B32), row_lane, Src::Imm(u))?;
            let rows = self.fetch_blocks(elements[0], a, row_lane)?;
            for column in 0..2 {
                let offset = Src::Imm(4 * column + u);
                let column_lane = self.multiply_add(position.thread, 8, offset)?;
                let columns = self.fetch_blocks(elements[1], b, column_lane)?;
                for (row, row_factors) in rows.iter().enumerate() {
                    for (block, column_factors) in columns.iter().enumerate() {
                        let at = (row * b.len() + block) * 2 + column as usize;
                        sums[at] = self.accumulate(
                            (elements, rounding),
                            row_factors,
                            column_factors,
                            sums[at],
                        )?;
                    }
                }
            }
        }
        Ok(sums)
    }

    /// The factors of all registers of each block, from another lane.
    fn fetch_blocks(
        &mut self,
        element: Element,
        blocks: &[Vec<Src>],
        lane: Src,
    ) -> Result<Vec<Fragment>> {
        let mut all = Vec::with_capacity(blocks.len());
        for block in blocks {
            let mut factors = Vec::new();
            for &register in block {
                let fetched = self.fetch_element(element, register, lane)?;
                factors.extend(self.factors(element, fetched)?);
            }
            all.push(factors);
        }
        Ok(all)
    }

    // === operands ===

    /// The registers of a vector operand.
    pub(super) fn fragment(&mut self, operand: &Operand<'a>, ty: ScalarType) -> Result<Fragment> {
        let elements = self.elements(operand);
        elements
            .iter()
            .map(|element| self.source(element, ty))
            .collect()
    }

    /// The accumulator: as sums, with f16 ones unpacked.
    pub(super) fn accumulator(
        &mut self,
        operand: &Operand<'a>,
        ty: ScalarType,
    ) -> Result<Fragment> {
        if ty != ScalarType::F16 {
            return self.fragment(operand, ty);
        }
        let mut sums = Vec::new();
        for register in self.fragment(operand, ScalarType::B32)? {
            let high = self.compute_unary(UnaryOp::HighHalf32, register)?;
            sums.push(self.half_to_single(register)?);
            sums.push(self.half_to_single(high)?);
        }
        Ok(sums)
    }

    /// Writes sums to the result operand, packed if it is f16.
    pub(super) fn store_sums(
        &mut self,
        operand: &Operand<'a>,
        ty: ScalarType,
        sums: &[Src],
    ) -> Result<()> {
        let registers = self.elements(operand);
        let packed = ty == ScalarType::F16;
        if registers.len() * (1 + usize::from(packed)) != sums.len() {
            return Err(format!("its result has {} registers", registers.len()));
        }
        for (index, register) in registers.iter().enumerate() {
            let register_type = if packed { ScalarType::B32 } else { ty };
            let dst = self.destination(register, register_type)?;
            self.emit(if packed {
                Op::ConvertPack {
                    to: FloatType::F16x2,
                    dst,
                    high: sums[2 * index + 1],
                    low: sums[2 * index],
                    rounding: Rounding::NearestEven,
                    relu: false,
                }
            } else {
                let width = if ty == ScalarType::F64 {
                    Width::B64
                } else {
                    Width::B32
                };
                Op::Unary {
                    op: UnaryOp::Move(width),
                    dst,
                    a: sums[index],
                }
            });
        }
        Ok(())
    }

    /// Adds saturated: what `.satfinite` wants of the last step. `sums` were made from zero.
    pub(super) fn add_saturated(&mut self, sums: &mut [Src], c: &[Src]) -> Result<()> {
        for (sum, &c) in sums.iter_mut().zip(c) {
            *sum = self.compute(BinaryOp::AddSaturate, *sum, c)?;
        }
        Ok(())
    }
}

/// Checks the types of a multiplication and answers the elements of A and B.
pub(super) fn elements_of(types: [&str; 4]) -> Result<[Element; 2]> {
    let unknown = || "no such types are supported".to_owned();
    let [d, a, b, c] = types;
    let elements = [
        Element::of(a).ok_or_else(unknown)?,
        Element::of(b).ok_or_else(unknown)?,
    ];
    let same = elements[0] == elements[1]
        || matches!(elements, [Element::Float8x4(_), Element::Float8x4(_)])
        || matches!(elements, [Element::Int8x4 { .. }, Element::Int8x4 { .. }])
        || matches!(elements, [Element::Int4x8 { .. }, Element::Int4x8 { .. }]);
    let sums_fit = match elements[0].sum() {
        Sum::F64 => d == "f64" && c == "f64",
        Sum::S32 => d == "s32" && c == "s32",
        Sum::F32 if matches!(elements[0], Element::F16x2 | Element::Float8x4(_)) => {
            matches!(d, "f16" | "f32") && matches!(c, "f16" | "f32")
        }
        Sum::F32 => d == "f32" && c == "f32",
    };
    if same && sums_fit {
        Ok(elements)
    } else {
        Err(unknown())
    }
}

/// The type of an accumulator register's content.
pub(super) fn accumulator_type(name: &str) -> Result<ScalarType> {
    ScalarType::from_name(name).ok_or_else(|| "it has no accumulator type".to_owned())
}

/// Takes `.xor.popc` or `.and.popc`, which tell how bits are multiplied; whether it is the latter.
pub(super) fn take_bit_operation(inst: &mut Inst<'_, '_>) -> Result<Option<bool>> {
    let (xor, and) = (inst.take("xor"), inst.take("and"));
    match (xor || and, inst.take("popc")) {
        (false, false) => Ok(None),
        (true, true) if xor != and => Ok(Some(and)),
        _ => Err("it needs .xor.popc or .and.popc".to_owned()),
    }
}

/// The elements, with what [`take_bit_operation`] found: bits need it, nothing else has it.
pub(super) fn with_bit_operation(
    elements: [Element; 2],
    operation: Option<bool>,
) -> Result<[Element; 2]> {
    match (elements[0], operation) {
        (Element::Bits { .. }, Some(is_and)) => Ok([Element::Bits { is_and }; 2]),
        (Element::Bits { .. }, None) => Err("it needs .xor.popc or .and.popc".to_owned()),
        (_, None) => Ok(elements),
        (_, Some(_)) => Err(".popc needs .b1".to_owned()),
    }
}

/// Takes the rounding mode of a multiplication of f64.
pub(super) fn take_rounding(inst: &mut Inst<'_, '_>) -> Option<Rounding> {
    inst.take_any(|modifier| {
        Some(match modifier {
            "rn" => Rounding::NearestEven,
            "rz" => Rounding::TowardZero,
            "rm" => Rounding::Down,
            "rp" => Rounding::Up,
            _ => return None,
        })
    })
}

/// Takes the shape, `m…n…k…`, which may stand before or behind the layouts.
fn take_shape_name(inst: &mut Inst<'_, '_>) -> Result<String> {
    let is_shape = |modifier: &str| modifier.starts_with('m') && modifier.contains('k');
    inst.take_any(|modifier| is_shape(modifier).then(|| modifier.to_owned()))
        .ok_or_else(|| "it has no shape".to_owned())
}

/// Takes the next modifier, whatever it is.
fn take_next<'a>(inst: &mut Inst<'_, 'a>) -> Result<&'a str> {
    inst.take_first()
        .ok_or_else(|| "it has too few modifiers".to_owned())
}

/// `mma ldmatrix movmatrix`
pub(super) fn lower<'m, 'a>(l: &mut Lowering<'_, 'm, 'a>, inst: &mut Inst<'m, 'a>) -> Result<()> {
    let is_sparse = inst.take("sp") || inst.take("sp::ordered_metadata");
    if !inst.take("sync") || !inst.take("aligned") {
        return Err("it needs .sync.aligned".to_owned());
    }
    match inst.opcode {
        "mma" if is_sparse => sparse::lower(l, inst),
        "mma" if quad_pair::is_meant(inst) => quad_pair::lower(l, inst),
        "mma" => lower_mma(l, inst),
        _ if is_sparse => Err("modifier .sp is not supported here".to_owned()),
        "ldmatrix" | "stmatrix" => transfer::lower(l, inst),
        _ => transfer::lower_transpose(l, inst),
    }
}

/// Registers of A for each 8-row block and of B, of a shape and element type.
fn blocks_of(shape: &str, element: Element) -> Option<(&'static [&'static [usize]], usize)> {
    const ONE: &[&[usize]] = &[&[0]];
    const TWO: &[&[usize]] = &[&[0], &[1]];
    const FOUR: &[&[usize]] = &[&[0, 2], &[1, 3]];
    const EIGHT: &[&[usize]] = &[&[0, 2, 4, 6], &[1, 3, 5, 7]];
    Some(match (shape, element) {
        ("m16n8k16", Element::F16x2 | Element::Bf16x2) => (FOUR, 2),
        ("m16n8k8", Element::F16x2 | Element::Bf16x2) => (TWO, 1),
        ("m16n8k8", Element::Tf32) => (FOUR, 2),
        ("m16n8k4", Element::Tf32) => (TWO, 1),
        ("m16n8k32", Element::Int8x4 { .. } | Element::Float8x4(_)) => (FOUR, 2),
        ("m16n8k16", Element::Int8x4 { .. } | Element::Float8x4(_)) => (TWO, 1),
        ("m16n8k64", Element::Int4x8 { .. }) | ("m16n8k256", Element::Bits { .. }) => (FOUR, 2),
        ("m16n8k32", Element::Int4x8 { .. }) | ("m16n8k128", Element::Bits { .. }) => (TWO, 1),
        ("m8n8k32", Element::Int4x8 { .. }) | ("m8n8k128", Element::Bits { .. }) => (ONE, 1),
        ("m8n8k16", Element::Int8x4 { .. }) | ("m8n8k4", Element::F64) => (ONE, 1),
        ("m16n8k4", Element::F64) => (TWO, 1),
        ("m16n8k8", Element::F64) => (FOUR, 2),
        ("m16n8k16", Element::F64) => (EIGHT, 4),
        _ => return None,
    })
}

/// `mma.sync.aligned.shape.row.col{.satfinite}.dtype.atype.btype.ctype d, a, b, c`
fn lower_mma<'m, 'a>(l: &mut Lowering<'_, 'm, 'a>, inst: &mut Inst<'m, 'a>) -> Result<()> {
    let shape = take_shape_name(inst)?;
    if !inst.take("row") || !inst.take("col") {
        return Err("it needs .row.col".to_owned());
    }
    let saturate = inst.take("satfinite");
    let bit_op = take_bit_operation(inst)?;
    let rounding = take_rounding(inst);
    let types = [
        take_next(inst)?,
        take_next(inst)?,
        take_next(inst)?,
        take_next(inst)?,
    ];
    let elements = with_bit_operation(elements_of(types)?, bit_op)?;
    let (row_blocks, column_registers) = blocks_of(&shape, elements[0])
        .ok_or_else(|| format!("shape {shape} of these types is not supported"))?;
    if rounding.is_some() && elements[0] != Element::F64 {
        return Err("a rounding mode needs .f64".to_owned());
    }
    let is_int = elements[0].sum() == Sum::S32;
    if saturate && (!is_int || bit_op.is_some()) {
        return Err(".satfinite needs integers".to_owned());
    }
    let [d, a, b, c] = inst.finish()?;
    let a = l.fragment(a, elements[0].register_type())?;
    let b = l.fragment(b, elements[1].register_type())?;
    let c = l.accumulator(c, accumulator_type(types[3])?)?;
    let row_registers: usize = row_blocks.iter().map(|block| block.len()).sum();
    if a.len() != row_registers || b.len() != column_registers || c.len() != 2 * row_blocks.len() {
        return Err("its operands have another number of registers".to_owned());
    }
    let rows: Vec<Vec<Src>> = row_blocks
        .iter()
        .map(|block| block.iter().map(|&i| a[i]).collect())
        .collect();
    let zeros = vec![Src::Imm(0); c.len()];
    let start = if saturate { &zeros } else { &c };
    let rounding = rounding.unwrap_or_default();
    let mut sums = l.multiply_blocks(elements, rounding, &rows, &[b], start)?;
    if saturate {
        l.add_saturated(&mut sums, &c)?;
    }
    l.store_sums(d, accumulator_type(types[0])?, &sums)
}
