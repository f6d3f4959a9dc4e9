// SPDX-License-Identifier: Apache-2.0
//! SIMD video instructions. Of these CUDA's headers use one, `vabsdiff4`, for `__vabsdiffu4` and
//! `__vsadu4`; the others come out of the compiler as plain instructions.

use crate::ir::{IntType, Op, Src, TernaryOp, Width};
use crate::ptx::ScalarType;

use super::error::Result;
use super::function::Lowering;
use super::instruction::Inst;

/// `vabsdiff4.u32.u32.u32{.add} d, a, b, c`: with `.add` the sum of the four differences and c.
pub(super) fn lower<'m, 'a>(l: &mut Lowering<'_, 'm, 'a>, inst: &mut Inst<'m, 'a>) -> Result<()> {
    let ty = ScalarType::U32;
    for _ in 0..3 {
        if inst.take_type()? != ty {
            return Err("only its .u32 form is supported".to_owned());
        }
    }
    let add = inst.take("add");
    let [d, a, b, c] = inst.finish()?;
    let (a, b, c) = (l.source(a, ty)?, l.source(b, ty)?, l.source(c, ty)?);
    let dst = l.destination(d, ty)?;
    // Without a mask in a source operand's name all four bytes of c are replaced.
    let mut result = if add { c } else { Src::Imm(0) };
    for byte in 0..4 {
        let position = Src::Imm(byte * 8);
        let mut operands = [a, b];
        for operand in &mut operands {
            let extracted = l.temporary32()?;
            l.emit(Op::Ternary {
                op: TernaryOp::BitFieldExtract(IntType::U32),
                dst: extracted,
                a: *operand,
                b: position,
                c: Src::Imm(8),
            });
            *operand = extracted.into();
        }
        let [x, y] = operands;
        let background = if add { result } else { Src::Imm(0) };
        let difference = l.temporary32()?;
        let op = TernaryOp::Sad(IntType::U32);
        l.emit(Op::Ternary {
            op,
            dst: difference,
            a: x,
            b: y,
            c: background,
        });
        result = if add {
            difference.into()
        } else {
            let inserted = l.temporary32()?;
            l.emit(Op::BitFieldInsert {
                width: Width::B32,
                dst: inserted,
                a: difference.into(),
                b: result,
                position,
                length: Src::Imm(8),
            });
            inserted.into()
        };
    }
    let op = crate::ir::UnaryOp::Move(Width::B32);
    l.emit(Op::Unary { op, dst, a: result });
    Ok(())
}
