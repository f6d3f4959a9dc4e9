// SPDX-License-Identifier: Apache-2.0
//! `mma.sp`: multiplication where half of each row of A is zero and left out.
//!
//! A register of A holds what is kept of two neighbouring registers' width of columns; the
//! metadata says which of them (PTX ISA, "Sparse matrix storage"). Its unit is a chunk of four
//! pieces, of which two are kept: the pieces are halves of a register for 16-bit types and `.tf32`
//! (where a number is two pieces that stay together), and bytes for smaller types (where a byte
//! is two 4-bit integers). So for each register of A, a byte permutation of the two registers of
//! B picks the partners, and the products are those of the dense multiplication.

use crate::ir::{BinaryOp, IntType, Op, PermuteMode, Rounding, Src, TernaryOp, Width};
use crate::ptx::{Operand, ScalarType};

use super::{Element, Fragment, Sum, accumulator_type, elements_of, take_next, take_shape_name};
use crate::lower::error::Result;
use crate::lower::function::Lowering;
use crate::lower::instruction::Inst;

/// Where a shape has its metadata.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Shape {
    /// A has four registers instead of two.
    is_wide: bool,
    /// Pieces are halves of a register instead of bytes.
    has_halves: bool,
}

impl Shape {
    fn of(name: &str, element: Element) -> Option<Self> {
        let (is_wide, has_halves) = match (name, element) {
            ("m16n8k16", Element::F16x2 | Element::Bf16x2) | ("m16n8k8", Element::Tf32) => {
                (false, true)
            }
            ("m16n8k32", Element::F16x2 | Element::Bf16x2) | ("m16n8k16", Element::Tf32) => {
                (true, true)
            }
            ("m16n8k32", Element::Int8x4 { .. }) | ("m16n8k64", Element::Int4x8 { .. }) => {
                (false, false)
            }
            ("m16n8k64", Element::Int8x4 { .. } | Element::Float8x4(_))
            | ("m16n8k128", Element::Int4x8 { .. }) => (true, false),
            _ => return None,
        };
        Some(Self {
            is_wide,
            has_halves,
        })
    }

    /// Registers of A in an 8-row block; B has twice as many.
    fn block_registers(self) -> usize {
        1 + usize::from(self.is_wide)
    }

    /// Sparsity selectors: each names another part of the quad's lanes.
    fn selectors(self) -> u64 {
        match (self.has_halves, self.is_wide) {
            (true, false) => 4,
            (true, true) | (false, false) => 2,
            (false, true) => 1,
        }
    }

    /// The lane of the quad that has the metadata of a register of A, and the first bit of it for
    /// what lane `thread` of the quad holds.
    fn place(self, selector: u64, row_block: u64, register: u64, thread: u64) -> (u64, u64) {
        let first = selector * (4 / self.selectors());
        if self.has_halves {
            (first + register, 16 * row_block + 4 * thread)
        } else {
            (first + 2 * register + row_block, 8 * thread)
        }
    }
}

/// `mma.sp{::ordered_metadata}.sync.aligned.shape.row.col{.satfinite}.dtype.atype.btype.ctype
/// d, a, b, c, e, f`
pub(super) fn lower<'m, 'a>(l: &mut Lowering<'_, 'm, 'a>, inst: &mut Inst<'m, 'a>) -> Result<()> {
    let name = take_shape_name(inst)?;
    if !inst.take("row") || !inst.take("col") {
        return Err("it needs .row.col".to_owned());
    }
    let saturate = inst.take("satfinite");
    let types = [
        take_next(inst)?,
        take_next(inst)?,
        take_next(inst)?,
        take_next(inst)?,
    ];
    let elements = elements_of(types)?;
    let shape = Shape::of(&name, elements[0])
        .ok_or_else(|| format!("shape {name} of these types is not supported"))?;
    if matches!(elements[0], Element::Float8x4(_)) && (types[0] != "f32" || types[3] != "f32") {
        return Err("no such types are supported".to_owned());
    }
    if saturate && elements[0].sum() != Sum::S32 {
        return Err(".satfinite needs integers".to_owned());
    }
    let [d, a, b, c, e, f] = inst.finish()?;
    let a = l.fragment(a, ScalarType::B32)?;
    let b = l.fragment(b, ScalarType::B32)?;
    let c = l.accumulator(c, accumulator_type(types[3])?)?;
    if a.len() != 2 * shape.block_registers() || b.len() != a.len() || c.len() != 4 {
        return Err("its operands have another number of registers".to_owned());
    }
    let metadata = l.source(e, ScalarType::B32)?;
    let selector = selector(l, f, shape)?;
    let zeros = vec![Src::Imm(0); c.len()];
    let start = if saturate { &zeros } else { &c };
    let operands = Operands {
        elements,
        shape,
        a,
        b,
        metadata,
        selector,
    };
    let mut sums = operands.multiply(l, start)?;
    if saturate {
        l.add_saturated(&mut sums, &c)?;
    }
    l.store_sums(d, accumulator_type(types[0])?, &sums)
}

/// The sparsity selector, a constant.
fn selector<'a>(l: &mut Lowering<'_, '_, 'a>, operand: &Operand<'a>, shape: Shape) -> Result<u64> {
    match l.source(operand, ScalarType::U32)? {
        Src::Imm(selector) if selector < shape.selectors() => Ok(selector),
        Src::Imm(_) => Err("this shape has no such sparsity selector".to_owned()),
        _ => Err("its sparsity selector is no constant".to_owned()),
    }
}

struct Operands {
    elements: [Element; 2],
    shape: Shape,
    a: Fragment,
    b: Fragment,
    metadata: Src,
    selector: u64,
}

impl Operands {
    /// The sums of this lane, as of [`Lowering::multiply_blocks`].
    fn multiply(&self, l: &mut Lowering<'_, '_, '_>, c: &[Src]) -> Result<Vec<Src>> {
        let position = l.lane_position()?;
        let quad = l.compute(BinaryOp::And(Width::B32), position.lane, Src::Imm(28))?;
        let mut sums = c.to_vec();
        for register in 0..self.shape.block_registers() {
            for thread in 0..4 {
                let lane = l.compute(BinaryOp::Or(Width::B32), quad, Src::Imm(thread))?;
                let mut rows = Vec::with_capacity(2);
                for row_block in 0..2 {
                    let kept = l.fetch(self.a[2 * register + row_block], lane)?;
                    let factors = l.factors(self.elements[0], kept)?;
                    let at = [row_block as u64, register as u64, thread];
                    rows.push((factors, self.permutation(l, quad, at)?));
                }
                // Thread t's columns are those of two lanes from 2t on, four to a register of B.
                let partner = self.b[2 * register + thread as usize / 2];
                for column in 0..2 {
                    let first = Src::Imm(4 * column + 2 * (thread % 2));
                    let low = l.multiply_add(position.thread, 8, first)?;
                    let high = l.compute(BinaryOp::Add(IntType::U32), low, Src::Imm(1))?;
                    let (low, high) = (l.fetch(partner, low)?, l.fetch(partner, high)?);
                    for (row_block, (factors, permutation)) in rows.iter().enumerate() {
                        let chosen = permute(l, low, high, *permutation)?;
                        let chosen = l.factors(self.elements[1], chosen)?;
                        let sum = &mut sums[2 * row_block + column as usize];
                        let kind = (self.elements, Rounding::default());
                        *sum = l.accumulate(kind, factors, &chosen, *sum)?;
                    }
                }
            }
        }
        Ok(sums)
    }

    /// The selector of `prmt` that picks from eight bytes of B what the metadata names.
    fn permutation(
        &self,
        l: &mut Lowering<'_, '_, '_>,
        quad: Src,
        [row_block, register, thread]: [u64; 3],
    ) -> Result<Src> {
        let (lane, bit) = self.shape.place(self.selector, row_block, register, thread);
        let lane = l.compute(BinaryOp::Or(Width::B32), quad, Src::Imm(lane))?;
        let word = l.fetch(self.metadata, lane)?;
        // Piece i of halves is bytes 2i and 2i + 1; the second two bytes are of the second chunk.
        let (start, scales): (u64, &[u64]) = if self.shape.has_halves {
            (0x1010, &[0x22, 0x2200])
        } else {
            (0x4400, &[0x1, 0x10, 0x100, 0x1000])
        };
        let mut selector = Src::Imm(start);
        for (&scale, at) in scales.iter().zip((bit..).step_by(2)) {
            let index = l.compute(BinaryOp::Shr(IntType::U32), word, Src::Imm(at))?;
            let index = l.compute(BinaryOp::And(Width::B32), index, Src::Imm(3))?;
            selector = l.multiply_add(index, scale, selector)?;
        }
        Ok(selector)
    }
}

/// `prmt.b32 d, low, high, selector`
pub(super) fn permute(
    l: &mut Lowering<'_, '_, '_>,
    low: Src,
    high: Src,
    selector: Src,
) -> Result<Src> {
    let dst = l.temporary32()?;
    l.emit(Op::Ternary {
        op: TernaryOp::Permute(PermuteMode::Index),
        dst,
        a: low,
        b: high,
        c: selector,
    });
    Ok(dst.into())
}
