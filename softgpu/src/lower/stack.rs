// SPDX-License-Identifier: Apache-2.0
//! `alloca stacksave stackrestore`.
//!
//! Frames have a fixed size, so a function that uses these gets a fixed room in its frame, many
//! times the stack that CUDA gives a thread by default. What does not fit is a trap.

use crate::ir::{
    Address, BinaryOp, BoolOp, Compare, CompareOp, Guard, IntType, Op, Pred, PredSrc, Reg,
    ScalarType as IrType, Src, UnaryOp, Width,
};
use crate::ptx::{Immediate, Operand, ScalarType, Statement};

use super::error::Result;
use super::function::Lowering;
use super::instruction::Inst;

/// Room for the allocations of one activation, in bytes.
const ROOM_BYTES: u32 = 8 << 10;

/// Largest alignment that an allocation may ask for, in bytes: that of frames.
const ALIGNMENT_BYTES_MAX: i64 = 16;

/// The registers of a function that allocates.
#[derive(Clone, Copy)]
pub(super) struct Stack {
    /// Local address of the first free byte.
    top: Reg,
    /// Local address of the end of the room.
    end: Reg,
}

/// Whether a body has any of these instructions.
pub(super) fn is_used(body: &[Statement<'_>]) -> bool {
    body.iter().any(|statement| match statement {
        Statement::Instruction(instruction) => {
            instruction.name.starts_with("alloca") || instruction.name.starts_with("stack")
        }
        _ => false,
    })
}

impl Lowering<'_, '_, '_> {
    /// Reserves the room, at the beginning of a function.
    pub(super) fn begin_stack(&mut self) -> Result<()> {
        let base = self.allocate_frame(ROOM_BYTES, 16)?;
        let (top, end) = (self.temporary64()?, self.temporary64()?);
        let address = Address::frame(base.into());
        self.emit(Op::FrameAddress { dst: top, address });
        let address = Address::frame((base + ROOM_BYTES).into());
        self.emit(Op::FrameAddress { dst: end, address });
        self.stack = Some(Stack { top, end });
        Ok(())
    }
}

pub(super) fn lower<'m, 'a>(l: &mut Lowering<'_, 'm, 'a>, inst: &mut Inst<'m, 'a>) -> Result<()> {
    let stack = l.stack.ok_or("internal: no room for it")?;
    let ty = inst.take_type()?;
    let is_wide = match ty {
        ScalarType::U64 | ScalarType::B64 => true,
        ScalarType::U32 | ScalarType::B32 => false,
        _ => return Err(format!("no local address is of type {ty:?}")),
    };
    let copy = |dst, a| Op::Unary {
        op: UnaryOp::Move(Width::B64),
        dst,
        a,
    };
    match inst.opcode {
        "stacksave" => {
            let [d] = inst.finish()?;
            give(l, d, ty, stack.top)
        }
        "stackrestore" => {
            let [a] = inst.finish()?;
            let a = l.source(a, ty)?;
            let a = if is_wide { a } else { widened(l, a)? };
            l.emit(copy(stack.top, a));
            Ok(())
        }
        _ => {
            let [d, size, alignment @ ..] = inst.finish_between(2, 3)? else {
                return Err("it has too few operands".to_owned());
            };
            match alignment {
                [] | [Operand::Immediate(Immediate::Int(1..=ALIGNMENT_BYTES_MAX))] => {}
                _ => return Err(format!("its alignment is over {ALIGNMENT_BYTES_MAX}")),
            }
            let size = l.source(size, ty)?;
            let size = if is_wide { size } else { widened(l, size)? };
            allocate(l, stack, d, ty, size)
        }
    }
}

/// A number of 32 bits as one of 64.
fn widened(l: &mut Lowering<'_, '_, '_>, a: Src) -> Result<Src> {
    let dst = l.temporary64()?;
    l.emit(Op::Binary {
        op: BinaryOp::Pack64,
        dst,
        a,
        b: Src::Imm(0),
    });
    Ok(dst.into())
}

/// Writes a local address to a result; one of 32 bits has room, as frames are small.
fn give<'a>(
    l: &mut Lowering<'_, '_, 'a>,
    d: &Operand<'a>,
    ty: ScalarType,
    address: Reg,
) -> Result<()> {
    let dst = l.destination(d, ty)?;
    let op = match ty.size_bytes() {
        8 => UnaryOp::Move(Width::B64),
        _ => UnaryOp::LowHalf64,
    };
    let a = address.into();
    l.emit(Op::Unary { op, dst, a });
    Ok(())
}

fn allocate<'a>(
    l: &mut Lowering<'_, '_, 'a>,
    stack: Stack,
    d: &Operand<'a>,
    ty: ScalarType,
    size: Src,
) -> Result<()> {
    // The room begins aligned, and every allocation is a multiple of the alignment long.
    let rounded = l.temporary64()?;
    let mask = Src::Imm((ALIGNMENT_BYTES_MAX - 1).cast_unsigned());
    let op = BinaryOp::Add(IntType::U64);
    l.emit(Op::Binary {
        op,
        dst: rounded,
        a: size,
        b: mask,
    });
    let (a, b) = (
        rounded.into(),
        Src::Imm((-ALIGNMENT_BYTES_MAX).cast_unsigned()),
    );
    l.emit(Op::Binary {
        op: BinaryOp::And(Width::B64),
        dst: rounded,
        a,
        b,
    });
    let room = l.temporary64()?;
    let (a, b) = (stack.end.into(), stack.top.into());
    l.emit(Op::Binary {
        op: BinaryOp::Sub(IntType::U64),
        dst: room,
        a,
        b,
    });
    // The size is compared before rounding too, which could wrap around.
    let too_large = l.temporary_predicate()?;
    exceeds(l, too_large, size, room, None);
    exceeds(
        l,
        too_large,
        rounded.into(),
        room,
        Some((BoolOp::Or, too_large.into())),
    );
    trap_if(l, too_large)?;
    give(l, d, ty, stack.top)?;
    let (a, b) = (stack.top.into(), rounded.into());
    l.emit(Op::Binary {
        op,
        dst: stack.top,
        a,
        b,
    });
    Ok(())
}

fn exceeds(
    l: &mut Lowering<'_, '_, '_>,
    dst: Pred,
    a: Src,
    room: Reg,
    combine: Option<(BoolOp, PredSrc)>,
) {
    let compare = Compare {
        op: CompareOp::Gt,
        ty: IrType::Int(IntType::U64),
        flush: false,
        a,
        b: room.into(),
    };
    l.emit(Op::SetPredicate {
        compare,
        combine,
        dst: Some(dst),
        dst_not: None,
    });
}

/// Traps where both the instruction's guard and `pred` hold.
fn trap_if(l: &mut Lowering<'_, '_, '_>, pred: Pred) -> Result<()> {
    let guard = l.guard;
    let both = l.temporary_predicate()?;
    l.guard = Guard::Always;
    let a = match guard {
        Guard::Always => PredSrc::Const(true),
        Guard::If(pred) => pred.into(),
        Guard::IfNot(pred) => PredSrc::Reg { pred, negate: true },
    };
    l.emit(Op::PredicateLogic {
        op: BoolOp::And,
        dst: both,
        a,
        b: pred.into(),
    });
    l.guard = Guard::If(both);
    l.emit(Op::Trap);
    l.guard = guard;
    Ok(())
}
