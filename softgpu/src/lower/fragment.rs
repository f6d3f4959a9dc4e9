// SPDX-License-Identifier: Apache-2.0
//! `wmma`: matrix multiplication with fragments of unspecified layout.
//!
//! PTX says how many registers a fragment has and leaves open which element is where. Here a
//! fragment is a row of 8-row or 8-column blocks as in [`super::matrix`]; in register i of a block
//! of A or B, lane (g, t) holds elements `per_register * (4i + t) …` of row or column g. Where the
//! ISA gives a fragment twice the registers, the second half repeats the first.

use crate::ir::{
    Address, AddressBase, BinaryOp, IntType, MemType, MemoryOrder, Op, Reg, Rounding,
    ScalarType as IrType, Space, Src, TernaryOp, UnaryOp, Width,
};
use crate::ptx::{Operand, ScalarType};

use super::error::Result;
use super::function::Lowering;
use super::instruction::Inst;
use super::matrix::{
    Element, LanePosition, Sum, accumulator_type, elements_of, take_bit_operation, take_rounding,
    with_bit_operation,
};

/// Rows of A and D, columns of B and D, and the inner dimension.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Shape {
    m: u32,
    n: u32,
    k: u32,
}

impl Shape {
    fn of(name: &str) -> Option<Self> {
        let (m, rest) = name.strip_prefix('m')?.split_once('n')?;
        let (n, k) = rest.split_once('k')?;
        let shape = Self {
            m: m.parse().ok()?,
            n: n.parse().ok()?,
            k: k.parse().ok()?,
        };
        let known = [
            (16, 16, 16),
            (8, 32, 16),
            (32, 8, 16),
            (16, 16, 8),
            (8, 8, 4),
            (8, 8, 32),
            (8, 8, 128),
        ];
        known
            .contains(&(shape.m, shape.n, shape.k))
            .then_some(shape)
    }

    /// Whether the element type has this shape.
    fn fits(self, element: Element) -> bool {
        match element {
            Element::Tf32 => self.k == 8,
            Element::F64 => self.k == 4,
            Element::Int4x8 { .. } => self.k == 32,
            Element::Bits { .. } => self.k == 128,
            _ => self.k == 16,
        }
    }

    /// Registers in a block of A or B.
    fn block_registers(self, element: Element) -> u32 {
        self.k / (4 * element.per_register())
    }
}

/// Which operand a fragment is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Role {
    A,
    B,
    C,
}

/// The order in memory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Layout {
    Column,
    Row,
}

fn take_layout(inst: &mut Inst<'_, '_>) -> Result<Layout> {
    if inst.take("row") {
        Ok(Layout::Row)
    } else if inst.take("col") {
        Ok(Layout::Column)
    } else {
        Err("it needs .row or .col".to_owned())
    }
}

fn take_shape(inst: &mut Inst<'_, '_>) -> Result<Shape> {
    inst.take_any(Shape::of)
        .ok_or_else(|| "this shape is not supported".to_owned())
}

pub(super) fn lower<'m, 'a>(l: &mut Lowering<'_, 'm, 'a>, inst: &mut Inst<'m, 'a>) -> Result<()> {
    let action = inst.take_first().unwrap_or_default();
    let role = match action {
        "load" | "store" => match inst.take_first() {
            Some("a") if action == "load" => Role::A,
            Some("b") if action == "load" => Role::B,
            Some("c" | "d") => Role::C,
            _ => return Err("it names no matrix".to_owned()),
        },
        "mma" => Role::C,
        _ => return Err("it is not supported".to_owned()),
    };
    if !inst.take("sync") || !inst.take("aligned") {
        return Err("it needs .sync.aligned".to_owned());
    }
    match action {
        "mma" => lower_multiply(l, inst),
        _ => lower_transfer(l, inst, role, action == "load"),
    }
}

/// `wmma.mma.sync.aligned.alayout.blayout.shape{.types}{.satfinite} d, a, b, c`
fn lower_multiply<'m, 'a>(l: &mut Lowering<'_, 'm, 'a>, inst: &mut Inst<'m, 'a>) -> Result<()> {
    // Fragments do not remember their order in memory.
    take_layout(inst)?;
    take_layout(inst)?;
    let shape = take_shape(inst)?;
    let saturate = inst.take("satfinite");
    let rounding = take_rounding(inst);
    let bit_op = take_bit_operation(inst)?;
    let mut names = Vec::new();
    while let Some(name) = inst.take_first() {
        names.push(name);
    }
    // With two types these are D's and C's, and A and B are f16.
    let types = match names.as_slice() {
        [d, c] => [*d, "f16", "f16", *c],
        [d, a, b, c] => [*d, *a, *b, *c],
        _ => return Err("it has another number of types".to_owned()),
    };
    let elements = with_bit_operation(elements_of(types)?, bit_op)?;
    if !shape.fits(elements[0]) {
        return Err("no such shape of these types".to_owned());
    }
    if rounding.is_some() && elements[0] != Element::F64 {
        return Err("a rounding mode needs .f64".to_owned());
    }
    let is_int = elements[0].sum() == Sum::S32;
    if saturate && !is_int {
        return Err(".satfinite needs integers".to_owned());
    }
    let [d, a, b, c] = inst.finish()?;
    let registers = shape.block_registers(elements[0]) as usize;
    let a = blocks(l, a, elements[0], shape.m / 8, registers)?;
    let b = blocks(l, b, elements[1], shape.n / 8, registers)?;
    let c = l.accumulator(c, accumulator_type(types[3])?)?;
    if c.len() != 2 * a.len() * b.len() {
        return Err("its accumulator has another number of registers".to_owned());
    }
    let zeros = vec![Src::Imm(0); c.len()];
    let start = if saturate { &zeros } else { &c };
    let mut sums = l.multiply_blocks(elements, rounding.unwrap_or_default(), &a, &b, start)?;
    if saturate {
        l.add_saturated(&mut sums, &c)?;
    }
    l.store_sums(d, accumulator_type(types[0])?, &sums)
}

/// The registers of a fragment, block by block.
fn blocks<'a>(
    l: &mut Lowering<'_, '_, 'a>,
    operand: &Operand<'a>,
    element: Element,
    count: u32,
    registers: usize,
) -> Result<Vec<Vec<Src>>> {
    let all = l.fragment(operand, element.register_type())?;
    let used = count as usize * registers;
    let repeats = element == Element::F16x2 && all.len() == 8;
    if all.len() != used && !(repeats && used <= 8) {
        return Err("its operands have another number of registers".to_owned());
    }
    Ok(all[..used].chunks(registers).map(<[Src]>::to_vec).collect())
}

/// `wmma.load.a.sync.aligned.layout.shape{.space}.type r, [p]{, stride}` and `wmma.store.d…`
fn lower_transfer<'m, 'a>(
    l: &mut Lowering<'_, 'm, 'a>,
    inst: &mut Inst<'m, 'a>,
    role: Role,
    is_load: bool,
) -> Result<()> {
    let layout = take_layout(inst)?;
    let shape = take_shape(inst)?;
    let space = inst.take_any(|modifier| {
        Some(match modifier {
            "global" => Space::Global,
            "shared" | "shared::cta" | "shared::cluster" => Space::Shared,
            _ => return None,
        })
    });
    let type_name = inst.take_first().ok_or("it has no type")?;
    let operands = inst.finish_between(2, 3)?;
    let (d, p) = if is_load {
        (operands[0], &operands[1])
    } else {
        (operands[1], &operands[0])
    };
    let (space, address) = l.address(p, space.unwrap_or(Space::Generic))?;
    let base = l.address_value(&address)?;
    // Without a stride the matrix is dense.
    let dense = match (role, layout) {
        (Role::A, Layout::Row) | (Role::B, Layout::Column) => shape.k,
        (Role::A, Layout::Column) | (Role::C, Layout::Column) => shape.m,
        (Role::B | Role::C, Layout::Row) => shape.n,
    };
    let stride = match operands.get(2) {
        Some(stride) => l.source(stride, ScalarType::U32)?,
        None => Src::Imm(dense.into()),
    };
    let position = l.lane_position()?;
    let matrix = Matrix {
        space,
        base,
        stride,
        layout,
    };
    if role == Role::C {
        return transfer_sums(l, &matrix, position, shape, type_name, d, is_load);
    }
    let element = Element::of(type_name).ok_or("this type is not supported")?;
    if !shape.fits(element) {
        return Err("no such shape of this type".to_owned());
    }
    let mut loaded = Vec::new();
    let count = if role == Role::A { shape.m } else { shape.n } / 8;
    for block in 0..count {
        for register in 0..shape.block_registers(element) {
            loaded.push(load_register(
                l,
                &matrix,
                position,
                role,
                element,
                [block, register],
            )?);
        }
    }
    let registers = l.elements(&d);
    if registers.len() != loaded.len() && !(element == Element::F16x2 && registers.len() == 8) {
        return Err(format!("its result has {} registers", registers.len()));
    }
    for (register, &value) in registers.iter().zip(loaded.iter().cycle()) {
        let dst = l.destination(register, element.register_type())?;
        let width = if element == Element::F64 {
            Width::B64
        } else {
            Width::B32
        };
        l.emit(Op::Unary {
            op: UnaryOp::Move(width),
            dst,
            a: value,
        });
    }
    Ok(())
}

/// A matrix in memory.
struct Matrix {
    space: Space,
    /// 64-bit address.
    base: Src,
    /// Elements from one row or column to the next.
    stride: Src,
    layout: Layout,
}

impl Matrix {
    /// The number of an element, counted in memory.
    fn index(&self, l: &mut Lowering<'_, '_, '_>, row: Src, column: Src) -> Result<Reg> {
        let (major, minor) = match self.layout {
            Layout::Row => (row, column),
            Layout::Column => (column, row),
        };
        let wide = l.temporary64()?;
        let op = BinaryOp::MulWide(IntType::U32);
        l.emit(Op::Binary {
            op,
            dst: wide,
            a: major,
            b: self.stride,
        });
        let minor_wide = l.temporary64()?;
        let (one, zero) = (Src::Imm(1), Src::Imm(0));
        let op = TernaryOp::MadWide(IntType::U32);
        l.emit(Op::Ternary {
            op,
            dst: minor_wide,
            a: minor,
            b: one,
            c: zero,
        });
        let add = BinaryOp::Add(IntType::U64);
        let (a, b) = (wide.into(), minor_wide.into());
        l.emit(Op::Binary {
            op: add,
            dst: wide,
            a,
            b,
        });
        Ok(wide)
    }

    /// The address of an element.
    fn address(
        &self,
        l: &mut Lowering<'_, '_, '_>,
        row: Src,
        column: Src,
        bytes: u64,
    ) -> Result<Address> {
        let index = self.index(l, row, column)?;
        let at = l.temporary64()?;
        let op = TernaryOp::MadLow(IntType::U64);
        l.emit(Op::Ternary {
            op,
            dst: at,
            a: index.into(),
            b: Src::Imm(bytes),
            c: self.base,
        });
        Ok(Address::new(at, 0))
    }

    /// A register full of elements that are smaller than a byte.
    fn load_packed(
        &self,
        l: &mut Lowering<'_, '_, '_>,
        row: Src,
        column: Src,
        per_register: u32,
    ) -> Result<Src> {
        let index = self.index(l, row, column)?;
        // A register has four bytes.
        let shift = Src::Imm((per_register / 4).trailing_zeros().into());
        let (bytes, at) = (l.temporary64()?, l.temporary64()?);
        l.emit(Op::Binary {
            op: BinaryOp::Shr(IntType::U64),
            dst: bytes,
            a: index.into(),
            b: shift,
        });
        l.emit(Op::Binary {
            op: BinaryOp::Add(IntType::U64),
            dst: at,
            a: bytes.into(),
            b: self.base,
        });
        let dst = l.temporary32()?;
        l.emit(Op::Load {
            space: self.space,
            ty: MemType::U32,
            order: MemoryOrder::Weak,
            dst: vec![Some(dst)],
            address: Address::new(at, 0),
        });
        Ok(dst.into())
    }

    fn load(
        &self,
        l: &mut Lowering<'_, '_, '_>,
        row: Src,
        column: Src,
        ty: MemType,
    ) -> Result<Src> {
        let address = self.address(l, row, column, bytes_of(ty))?;
        let dst = if ty == MemType::B64 {
            l.temporary64()?
        } else {
            l.temporary32()?
        };
        let order = MemoryOrder::Weak;
        l.emit(Op::Load {
            space: self.space,
            ty,
            order,
            dst: vec![Some(dst)],
            address,
        });
        Ok(dst.into())
    }
}

fn bytes_of(ty: MemType) -> u64 {
    match ty {
        MemType::U8 | MemType::S8 => 1,
        MemType::U16 | MemType::S16 => 2,
        MemType::U32 | MemType::S32 => 4,
        MemType::B64 => 8,
    }
}

/// One register of a fragment of A or B.
fn load_register(
    l: &mut Lowering<'_, '_, '_>,
    matrix: &Matrix,
    position: LanePosition,
    role: Role,
    element: Element,
    [block, register]: [u32; 2],
) -> Result<Src> {
    let per_register = element.per_register();
    let add = BinaryOp::Add(IntType::U32);
    let outer = l.compute(add, position.group, Src::Imm(u64::from(8 * block)))?;
    let first = u64::from(4 * register * per_register);
    let ty = match element {
        Element::Int4x8 { .. } | Element::Bits { .. } => {
            let inner = l.multiply_add(position.thread, per_register.into(), Src::Imm(first))?;
            return match (role, matrix.layout) {
                (Role::A, Layout::Row) => matrix.load_packed(l, outer, inner, per_register),
                (Role::B, Layout::Column) => matrix.load_packed(l, inner, outer, per_register),
                _ => Err("this type has another layout".to_owned()),
            };
        }
        Element::Float8x4(_) => return Err("no fragment has this type".to_owned()),
        Element::Bf16x2 | Element::F16x2 => MemType::U16,
        Element::F64 => MemType::B64,
        Element::Int8x4 { .. } => MemType::U8,
        Element::Tf32 => MemType::U32,
    };
    let mut values = Vec::new();
    for index in 0..u64::from(per_register) {
        let offset = Src::Imm(first + index);
        let inner = l.multiply_add(position.thread, per_register.into(), offset)?;
        let (row, column) = if role == Role::A {
            (outer, inner)
        } else {
            (inner, outer)
        };
        values.push(matrix.load(l, row, column, ty)?);
    }
    match values.as_slice() {
        [value] => Ok(*value),
        [low, high] => l.compute(BinaryOp::Pack32, *low, *high),
        _ => {
            let mut packed = values[0];
            for (index, &value) in values.iter().enumerate().skip(1) {
                let dst = l.temporary32()?;
                l.emit(Op::BitFieldInsert {
                    width: Width::B32,
                    dst,
                    a: value,
                    b: packed,
                    position: Src::Imm(8 * index as u64),
                    length: Src::Imm(8),
                });
                packed = dst.into();
            }
            Ok(packed)
        }
    }
}

/// Loads or stores an accumulator.
fn transfer_sums<'a>(
    l: &mut Lowering<'_, '_, 'a>,
    matrix: &Matrix,
    position: LanePosition,
    shape: Shape,
    type_name: &str,
    operand: Operand<'a>,
    is_load: bool,
) -> Result<()> {
    let ty = accumulator_type(type_name)?;
    let memory = match ty {
        ScalarType::F16 => MemType::U16,
        ScalarType::F32 | ScalarType::S32 => MemType::U32,
        ScalarType::F64 => MemType::B64,
        _ => return Err("no accumulator has this type".to_owned()),
    };
    let values = if is_load {
        Vec::new()
    } else {
        l.accumulator(&operand, ty)?
    };
    let mut sums = Vec::new();
    for row_block in 0..u64::from(shape.m / 8) {
        let add = BinaryOp::Add(IntType::U32);
        let row = l.compute(add, position.group, Src::Imm(8 * row_block))?;
        for column_block in 0..u64::from(shape.n / 8) {
            for index in 0..2 {
                let offset = Src::Imm(8 * column_block + index);
                let column = l.multiply_add(position.thread, 2, offset)?;
                if is_load {
                    let value = matrix.load(l, row, column, memory)?;
                    let is_half = ty == ScalarType::F16;
                    sums.push(if is_half {
                        l.half_to_single(value)?
                    } else {
                        value
                    });
                    continue;
                }
                let value = *values
                    .get(sums.len())
                    .ok_or("its data has too few registers")?;
                sums.push(value);
                let value = if ty == ScalarType::F16 {
                    single_to_half(l, value)?
                } else {
                    value
                };
                let address = matrix.address(l, row, column, bytes_of(memory))?;
                let (space, order) = (matrix.space, MemoryOrder::Weak);
                l.emit(Op::Store {
                    space,
                    ty: memory,
                    order,
                    address,
                    src: vec![value],
                });
            }
        }
    }
    if is_load {
        return l.store_sums(&operand, ty, &sums);
    }
    if sums.len() == values.len() {
        Ok(())
    } else {
        Err("its data has too many registers".into())
    }
}

fn single_to_half(l: &mut Lowering<'_, '_, '_>, value: Src) -> Result<Src> {
    let dst = l.temporary32()?;
    l.emit(Op::Convert {
        to: IrType::Float(crate::ir::FloatType::F16),
        from: IrType::Float(crate::ir::FloatType::F32),
        dst,
        a: value,
        rounding: Rounding::NearestEven,
        integral: false,
        flush: false,
        saturate: false,
        relu: false,
    });
    Ok(dst.into())
}

impl Lowering<'_, '_, '_> {
    /// An address as a 64-bit value.
    pub(super) fn address_value(&mut self, address: &Address) -> Result<Src> {
        let offset = Src::Imm(address.offset.cast_unsigned());
        let base = match address.base {
            AddressBase::Src(Src::Imm(value)) => {
                return Ok(Src::Imm(value.wrapping_add(address.offset.cast_unsigned())));
            }
            AddressBase::Src(Src::Reg(reg @ crate::ir::Reg::W32(_))) => {
                let sum = self.compute(BinaryOp::Add(IntType::U32), reg.into(), offset)?;
                let dst = self.temporary64()?;
                let (a, b) = (sum, Src::Imm(0));
                self.emit(Op::Binary {
                    op: BinaryOp::Pack64,
                    dst,
                    a,
                    b,
                });
                return Ok(dst.into());
            }
            AddressBase::Src(src) => src,
            AddressBase::Frame | AddressBase::CalleeFrame => {
                return Err("it does not work on local memory".to_owned());
            }
        };
        if address.offset == 0 {
            return Ok(base);
        }
        let dst = self.temporary64()?;
        let op = BinaryOp::Add(IntType::U64);
        self.emit(Op::Binary {
            op,
            dst,
            a: base,
            b: offset,
        });
        Ok(dst.into())
    }
}
