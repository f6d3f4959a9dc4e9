// SPDX-License-Identifier: Apache-2.0
//! `ldmatrix stmatrix movmatrix`: tiles of 8 x 8 halves between shared memory and fragments.

use crate::ir::{
    Address, BinaryOp, IntType, MemType, MemoryOrder, Op, Reg, Space, Src, UnaryOp, Width,
};
use crate::ptx::ScalarType;

use super::LanePosition;
use crate::lower::error::Result;
use crate::lower::function::Lowering;
use crate::lower::instruction::Inst;

/// `ldmatrix.sync.aligned.m8n8.num{.trans}{.shared}.b16 r, [p]` and `stmatrix… [p], r`
pub(super) fn lower<'m, 'a>(l: &mut Lowering<'_, 'm, 'a>, inst: &mut Inst<'m, 'a>) -> Result<()> {
    let shape = inst.take("m8n8");
    let count = inst.take_any(|modifier| {
        Some(match modifier {
            "x1" => 1,
            "x2" => 2,
            "x4" => 4,
            _ => return None,
        })
    });
    let transposed = inst.take("trans");
    let is_shared = inst.take("shared") || inst.take("shared::cta");
    let (true, Some(count), ScalarType::B16) = (shape, count, inst.take_type()?) else {
        return Err("this form is not supported".to_owned());
    };
    let is_store = inst.opcode == "stmatrix";
    let (d, p) = match inst.finish()? {
        [p, r] if is_store => (r, p),
        [d, p] => (d, p),
    };
    let registers = l.elements(d);
    if registers.len() != count {
        return Err(format!(
            "its result has {} registers instead of {count}",
            registers.len()
        ));
    }
    let space = if is_shared {
        Space::Shared
    } else {
        Space::Generic
    };
    let (space, address) = l.address(p, space)?;
    let mut address = l.address_value(&address)?;
    if space == Space::Generic {
        let dst = l.temporary64()?;
        let space = Space::Shared;
        l.emit(Op::ConvertAddress {
            space,
            to_generic: false,
            dst,
            a: address,
        });
        address = dst.into();
    }
    let address = l.compute_unary(UnaryOp::LowHalf64, address)?;
    let position = l.lane_position()?;
    if is_store {
        for (register, matrix) in registers.iter().zip(0..) {
            let value = l.source(register, ScalarType::B32)?;
            if transposed {
                store_column(l, position, matrix, address, value)?;
            } else {
                store_row(l, position, matrix, address, value)?;
            }
        }
        return Ok(());
    }
    let mut loaded = Vec::with_capacity(count);
    for matrix in 0..count as u64 {
        loaded.push(if transposed {
            load_column(l, position, matrix, address)?
        } else {
            load_row(l, position, matrix, address)?
        });
    }
    // The address may be in one of the results, so these are written last.
    for (register, value) in registers.iter().zip(loaded) {
        let dst = l.destination(register, ScalarType::B32)?;
        l.emit(Op::Unary {
            op: UnaryOp::Move(Width::B32),
            dst,
            a: value.into(),
        });
    }
    Ok(())
}

fn load_shared(l: &mut Lowering<'_, '_, '_>, ty: MemType, row: Src, offset: Src) -> Result<Reg> {
    let at = l.temporary32()?;
    l.emit(Op::Binary {
        op: BinaryOp::Add(IntType::U32),
        dst: at,
        a: row,
        b: offset,
    });
    let dst = l.temporary32()?;
    l.emit(Op::Load {
        space: Space::Shared,
        ty,
        order: MemoryOrder::Weak,
        dst: vec![Some(dst)],
        address: Address::new(at, 0),
    });
    Ok(dst)
}

/// Elements 2t and 2t + 1 of row g; lane 8m + r has the address of row r of matrix m.
fn load_row(
    l: &mut Lowering<'_, '_, '_>,
    position: LanePosition,
    matrix: u64,
    address: Src,
) -> Result<Reg> {
    let add = BinaryOp::Add(IntType::U32);
    let lane = l.compute(add, position.group, Src::Imm(8 * matrix))?;
    let row = l.fetch(address, lane)?;
    let offset = l.compute(BinaryOp::Shl(Width::B32), position.thread, Src::Imm(2))?;
    load_shared(l, MemType::U32, row, offset)
}

/// Elements g of rows 2t and 2t + 1.
fn load_column(
    l: &mut Lowering<'_, '_, '_>,
    position: LanePosition,
    matrix: u64,
    address: Src,
) -> Result<Reg> {
    let offset = l.compute(BinaryOp::Shl(Width::B32), position.group, Src::Imm(1))?;
    let mut halves = Vec::with_capacity(2);
    for row in 0..2 {
        let lane = l.multiply_add(position.thread, 2, Src::Imm(8 * matrix + row))?;
        let row = l.fetch(address, lane)?;
        halves.push(load_shared(l, MemType::U16, row, offset)?);
    }
    let dst = l.temporary32()?;
    let (a, b) = (halves[0].into(), halves[1].into());
    l.emit(Op::Binary {
        op: BinaryOp::Pack32,
        dst,
        a,
        b,
    });
    Ok(dst)
}

fn store_shared(
    l: &mut Lowering<'_, '_, '_>,
    ty: MemType,
    row: Src,
    offset: Src,
    value: Src,
) -> Result<()> {
    let at = l.temporary32()?;
    l.emit(Op::Binary {
        op: BinaryOp::Add(IntType::U32),
        dst: at,
        a: row,
        b: offset,
    });
    l.emit(Op::Store {
        space: Space::Shared,
        ty,
        order: MemoryOrder::Weak,
        address: Address::new(at, 0),
        src: vec![value],
    });
    Ok(())
}

/// Elements 2t and 2t + 1 of row g.
fn store_row(
    l: &mut Lowering<'_, '_, '_>,
    position: LanePosition,
    matrix: u64,
    address: Src,
    value: Src,
) -> Result<()> {
    let add = BinaryOp::Add(IntType::U32);
    let lane = l.compute(add, position.group, Src::Imm(8 * matrix))?;
    let row = l.fetch(address, lane)?;
    let offset = l.compute(BinaryOp::Shl(Width::B32), position.thread, Src::Imm(2))?;
    store_shared(l, MemType::U32, row, offset, value)
}

/// Elements g of rows 2t and 2t + 1.
fn store_column(
    l: &mut Lowering<'_, '_, '_>,
    position: LanePosition,
    matrix: u64,
    address: Src,
    value: Src,
) -> Result<()> {
    let offset = l.compute(BinaryOp::Shl(Width::B32), position.group, Src::Imm(1))?;
    let high = l.compute_unary(UnaryOp::HighHalf32, value)?;
    for (half, row) in [value, high].into_iter().zip(0..) {
        let lane = l.multiply_add(position.thread, 2, Src::Imm(8 * matrix + row))?;
        let row = l.fetch(address, lane)?;
        store_shared(l, MemType::U16, row, offset, half)?;
    }
    Ok(())
}

/// `movmatrix.sync.aligned.m8n8.trans.b16 d, a`
pub(super) fn lower_transpose<'m, 'a>(
    l: &mut Lowering<'_, 'm, 'a>,
    inst: &mut Inst<'m, 'a>,
) -> Result<()> {
    let known = inst.take("m8n8") && inst.take("trans");
    if !known || inst.take_type()? != ScalarType::B16 {
        return Err("this form is not supported".to_owned());
    }
    let [d, a] = inst.finish()?;
    let a = l.source(a, ScalarType::B32)?;
    let position = l.lane_position()?;
    // Column g of rows 2t and 2t + 1 lies in lane 4 * row + g / 2, in half g % 2.
    let column = l.compute(BinaryOp::Shr(IntType::U32), position.group, Src::Imm(1))?;
    let half = l.compute(BinaryOp::And(Width::B32), position.group, Src::Imm(1))?;
    let shift = l.compute(BinaryOp::Shl(Width::B32), half, Src::Imm(4))?;
    let mut halves = Vec::with_capacity(2);
    for row in 0..2 {
        let lane = l.compute(BinaryOp::Add(IntType::U32), column, Src::Imm(4 * row))?;
        let lane = l.multiply_add(position.thread, 8, lane)?;
        let both = l.fetch(a, lane)?;
        halves.push(l.compute(BinaryOp::Shr(IntType::U32), both, shift)?);
    }
    let dst = l.destination(d, ScalarType::B32)?;
    l.emit(Op::Binary {
        op: BinaryOp::Pack32,
        dst,
        a: halves[0],
        b: halves[1],
    });
    Ok(())
}
