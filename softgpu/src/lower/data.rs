// SPDX-License-Identifier: Apache-2.0
//! `mov`, with packing and unpacking of vectors, `cvta` and `isspacep`.

use crate::ir::{BinaryOp, IntType, Op, Reg, Space, Src, UnaryOp, Width};
use crate::ptx::{Operand, ScalarType};

use super::error::Result;
use super::function::Lowering;
use super::instruction::Inst;
use super::names::{Register, Slot};
use super::operand::width;

pub(super) fn lower_move<'m, 'a>(
    l: &mut Lowering<'_, 'm, 'a>,
    inst: &mut Inst<'m, 'a>,
) -> Result<()> {
    let is_vector = inst.take("v2") || inst.take("v4");
    let ty = inst.take_type()?;
    let [d, a] = inst.finish()?;
    if is_vector {
        return move_vector(l, ty, d, a);
    }
    if ty == ScalarType::Pred {
        if matches!(a, Operand::Symbol { name, .. } if *name == "%is_explicit_cluster") {
            let dst = l.predicate_result(d)?;
            return super::cluster::lower_is_explicit(l, dst);
        }
        let a = l.predicate_source(a)?;
        let dst = l.predicate_result(d)?;
        l.emit(Op::PredicateMove { dst, a });
        return Ok(());
    }
    match (d, a) {
        (Operand::Vector(_), Operand::Vector(_)) => Err("both operands are vectors".to_owned()),
        (Operand::Vector(_), _) => unpack(l, ty, d, a),
        (_, Operand::Vector(_)) => pack(l, ty, d, a),
        _ if ty == ScalarType::B128 => {
            let (to, from) = (wide(l, d)?, wide(l, a)?);
            // The halves of one register never overlap crosswise with those of another.
            for (dst, a) in to.into_iter().zip(from) {
                l.emit(Op::Unary {
                    op: UnaryOp::Move(Width::B64),
                    dst,
                    a: a.into(),
                });
            }
            Ok(())
        }
        _ => {
            let a = l.source(a, ty)?;
            let dst = l.destination(d, ty)?;
            let width = if width(ty)? == Width::B64 {
                Width::B64
            } else {
                Width::B32
            };
            l.emit(Op::Unary {
                op: UnaryOp::Move(width),
                dst,
                a,
            });
            Ok(())
        }
    }
}

/// `mov.v2.f32 v, w`, where either may be `{a, b}`.
fn move_vector<'a>(
    l: &mut Lowering<'_, '_, 'a>,
    ty: ScalarType,
    d: &Operand<'a>,
    a: &Operand<'a>,
) -> Result<()> {
    let mut values = Vec::new();
    let special = match a {
        Operand::Symbol { name, addend: 0 } => super::special::parts(name),
        _ => None,
    };
    match (special, l.whole_vector(a)) {
        (Some(parts), _) => {
            for name in parts {
                values.push(l.source(&Operand::Symbol { name, addend: 0 }, ty)?);
            }
        }
        (None, Some(registers)) => {
            for register in registers {
                values.push(element(register, ty)?.into());
            }
        }
        (None, None) => {
            for operand in l.elements(a) {
                values.push(l.source(&operand, ty)?);
            }
        }
    }
    let mut targets = Vec::new();
    match l.whole_vector(d) {
        Some(registers) => {
            for register in registers {
                targets.push(element(register, ty)?);
            }
        }
        None => {
            for operand in l.elements(d) {
                targets.push(l.destination(&operand, ty)?);
            }
        }
    }
    if values.len() != targets.len() {
        return Err("its operands have different lengths".to_owned());
    }
    let wide = width(ty)? == Width::B64;
    // Both may name the same registers in another order, so all are read first.
    let mut read = Vec::with_capacity(values.len());
    for value in values {
        let middle = if wide {
            l.temporary64()?
        } else {
            l.temporary32()?
        };
        let width = if wide { Width::B64 } else { Width::B32 };
        l.emit(Op::Unary {
            op: UnaryOp::Move(width),
            dst: middle,
            a: value,
        });
        read.push((middle, width));
    }
    for (dst, (middle, width)) in targets.into_iter().zip(read) {
        l.emit(Op::Unary {
            op: UnaryOp::Move(width),
            dst,
            a: middle.into(),
        });
    }
    Ok(())
}

fn element(register: Register, ty: ScalarType) -> Result<Reg> {
    match register.slot {
        Slot::Reg(reg) if register.ty.size_bytes() == ty.size_bytes() => Ok(reg),
        _ => Err(format!(
            "a vector of {:?} is no vector of {ty:?}",
            register.ty
        )),
    }
}

fn wide<'a>(l: &Lowering<'_, '_, 'a>, operand: &Operand<'a>) -> Result<[Reg; 2]> {
    match l.operand_register(operand) {
        Some(Register {
            slot: Slot::Wide(halves),
            ..
        }) => Ok(halves),
        _ => Err("an operand is no 128-bit register".to_owned()),
    }
}

/// The type of one of `count` equal parts of `ty`.
fn part_type(ty: ScalarType, count: usize) -> Result<ScalarType> {
    Ok(match (ty.size_bytes(), count) {
        (16, 2) | (8, 1) => ScalarType::B64,
        (16, 4) | (8, 2) => ScalarType::B32,
        (8, 4) | (4, 2) => ScalarType::B16,
        (4, 4) | (2, 2) => ScalarType::B8,
        _ => return Err(format!("{count} elements do not make a {ty:?}")),
    })
}

/// `mov.b64 {lo, hi}, a`
fn unpack<'a>(
    l: &mut Lowering<'_, '_, 'a>,
    ty: ScalarType,
    d: &Operand<'a>,
    a: &Operand<'a>,
) -> Result<()> {
    let elements = l.elements(d);
    let part = part_type(ty, elements.len())?;
    if ty == ScalarType::B128 {
        let halves = wide(l, a)?;
        let per_half = elements.len() / 2;
        for (half, elements) in halves.into_iter().zip(elements.chunks(per_half)) {
            unpack_scalar(l, 64, part, elements, half.into())?;
        }
        return Ok(());
    }
    let a = l.source(a, ty)?;
    unpack_scalar(l, ty.size_bytes() * 8, part, &elements, a)
}

fn unpack_scalar<'a>(
    l: &mut Lowering<'_, '_, 'a>,
    bits: u32,
    part: ScalarType,
    elements: &[Operand<'a>],
    a: Src,
) -> Result<()> {
    let part_bits = part.size_bytes() * 8;
    // A destination may be the source itself only if the sizes are equal, so no element is
    // overwritten before it is read.
    for (index, element) in elements.iter().enumerate() {
        if *element == Operand::Sink {
            continue;
        }
        let dst = l.destination(element, part)?;
        let shift = index as u32 * part_bits;
        let (source, shift) = match (bits, part_bits, shift) {
            (64, 32, _) => {
                let op = if shift == 0 {
                    UnaryOp::LowHalf64
                } else {
                    UnaryOp::HighHalf64
                };
                l.emit(Op::Unary { op, dst, a });
                continue;
            }
            (64, 8 | 16, 32..) => (half(l, a, UnaryOp::HighHalf64)?, shift - 32),
            (64, 8 | 16, _) => (half(l, a, UnaryOp::LowHalf64)?, shift),
            _ => (a, shift),
        };
        let op = match (part_bits, shift) {
            (64, _) => Op::Unary {
                op: UnaryOp::Move(Width::B64),
                dst,
                a: source,
            },
            (_, 0) => Op::Unary {
                op: UnaryOp::Move(Width::B32),
                dst,
                a: source,
            },
            (16, 16) => Op::Unary {
                op: UnaryOp::HighHalf32,
                dst,
                a: source,
            },
            _ => Op::Binary {
                op: BinaryOp::Shr(IntType::U32),
                dst,
                a: source,
                b: Src::Imm(shift.into()),
            },
        };
        l.emit(op);
    }
    Ok(())
}

fn half(l: &mut Lowering<'_, '_, '_>, a: Src, op: UnaryOp) -> Result<Src> {
    let dst = l.temporary32()?;
    l.emit(Op::Unary { op, dst, a });
    Ok(dst.into())
}

/// `mov.b64 d, {lo, hi}`
fn pack<'a>(
    l: &mut Lowering<'_, '_, 'a>,
    ty: ScalarType,
    d: &Operand<'a>,
    a: &Operand<'a>,
) -> Result<()> {
    let elements = l.elements(a);
    let part = part_type(ty, elements.len())?;
    let mut values = Vec::with_capacity(elements.len());
    for element in &elements {
        values.push(l.source(element, part)?);
    }
    if ty == ScalarType::B128 {
        let halves = wide(l, d)?;
        let mut packed = Vec::with_capacity(2);
        for values in values.chunks(values.len() / 2) {
            packed.push(match values {
                [whole] => *whole,
                [low, high] => pack_two(l, BinaryOp::Pack64, *low, *high)?,
                _ => return Err("it has another number of elements".to_owned()),
            });
        }
        for (dst, a) in halves.into_iter().zip(packed) {
            // The halves were packed into temporaries, or are 64-bit registers; with the latter
            // `mov.b128 d, {d.high, d.low}` cannot be written, so the order does not matter.
            l.emit(Op::Unary {
                op: UnaryOp::Move(Width::B64),
                dst,
                a,
            });
        }
        return Ok(());
    }
    let dst = l.destination(d, ty)?;
    let op = match (ty.size_bytes(), values.as_slice()) {
        (8, [whole]) => Op::Unary {
            op: UnaryOp::Move(Width::B64),
            dst,
            a: *whole,
        },
        (8, [low, high]) => Op::Binary {
            op: BinaryOp::Pack64,
            dst,
            a: *low,
            b: *high,
        },
        (8, [a, b, c, d]) => {
            let low = pack_two(l, BinaryOp::Pack32, *a, *b)?;
            let high = pack_two(l, BinaryOp::Pack32, *c, *d)?;
            Op::Binary {
                op: BinaryOp::Pack64,
                dst,
                a: low,
                b: high,
            }
        }
        (4, [low, high]) => Op::Binary {
            op: BinaryOp::Pack32,
            dst,
            a: *low,
            b: *high,
        },
        (4, [a, b, c, d]) => {
            let low = pack_bytes(l, *a, *b)?;
            let high = pack_bytes(l, *c, *d)?;
            Op::Binary {
                op: BinaryOp::Pack32,
                dst,
                a: low,
                b: high,
            }
        }
        (2, [low, high]) => {
            let both = pack_bytes(l, *low, *high)?;
            Op::Unary {
                op: UnaryOp::Move(Width::B32),
                dst,
                a: both,
            }
        }
        _ => return Err("it has another number of elements".to_owned()),
    };
    l.emit(op);
    Ok(())
}

fn pack_two(l: &mut Lowering<'_, '_, '_>, op: BinaryOp, low: Src, high: Src) -> Result<Src> {
    let dst = if op == BinaryOp::Pack64 {
        l.temporary64()?
    } else {
        l.temporary32()?
    };
    l.emit(Op::Binary {
        op,
        dst,
        a: low,
        b: high,
    });
    Ok(dst.into())
}

/// Two bytes to the low half of a 32-bit value.
fn pack_bytes(l: &mut Lowering<'_, '_, '_>, low: Src, high: Src) -> Result<Src> {
    let dst = l.temporary32()?;
    l.emit(Op::BitFieldInsert {
        width: Width::B32,
        dst,
        a: high,
        b: low,
        position: Src::Imm(8),
        length: Src::Imm(8),
    });
    Ok(dst.into())
}

fn take_space(inst: &mut Inst<'_, '_>) -> Result<Space> {
    let space = inst.take_any(|modifier| {
        Some(match modifier {
            "global" => Space::Global,
            "const" => Space::Const,
            "shared" | "shared::cta" | "shared::cluster" => Space::Shared,
            "local" => Space::Local,
            "param" | "param::entry" => Space::Param,
            _ => return None,
        })
    });
    space.ok_or_else(|| "it names no state space that it knows".to_owned())
}

/// `cvta{.to}.space.size d, a` and `isspacep.space p, a`
pub(super) fn lower_address<'m, 'a>(
    l: &mut Lowering<'_, 'm, 'a>,
    inst: &mut Inst<'m, 'a>,
) -> Result<()> {
    let to = inst.take("to");
    let is_cluster = inst.has("shared::cluster");
    let space = take_space(inst)?;
    if inst.opcode == "isspacep" {
        let [d, a] = inst.finish()?;
        let ty = l
            .operand_register(a)
            .map_or(ScalarType::U64, |register| register.ty);
        let ty = if ty.size_bytes() == 4 {
            ScalarType::U32
        } else {
            ScalarType::U64
        };
        let a = l.source(a, ty)?;
        let dst = l.predicate_result(d)?;
        if space == Space::Shared && !is_cluster {
            return super::cluster::lower_is_own_shared(l, dst, a, ty == ScalarType::U64);
        }
        l.emit(Op::IsSpace { space, dst, a });
        return Ok(());
    }
    let ty = inst.take_type()?;
    let width = match ty {
        ScalarType::U64 | ScalarType::B64 => Width::B64,
        ScalarType::U32 | ScalarType::B32 => Width::B32,
        _ => return Err(format!("no address has type {ty:?}")),
    };
    let [d, a] = inst.finish()?;
    let a = l.source(a, ty)?;
    let dst = l.destination(d, ty)?;
    l.emit(match space {
        Space::Global | Space::Const => Op::Unary {
            op: UnaryOp::Move(width),
            dst,
            a,
        },
        _ => Op::ConvertAddress {
            space,
            to_generic: !to,
            dst,
            a,
        },
    });
    Ok(())
}
