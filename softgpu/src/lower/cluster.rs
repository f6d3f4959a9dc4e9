// SPDX-License-Identifier: Apache-2.0
//! Thread block clusters: `mapa getctarank barrier.cluster` and what tells their blocks apart.
//!
//! A shared address of another block is its rank plus one, times
//! [`CLUSTER_SHARED_STRIDE`], plus the offset; below the first multiple is the own block's memory.

use crate::ir::{
    BinaryOp, Compare, CompareOp, IntType, Op, Pred, ScalarType as IrType, Space, SpecialRegister,
    Src, UnaryOp, Width,
};
use crate::limits::CLUSTER_SHARED_STRIDE;
use crate::ptx::ScalarType;

use super::error::Result;
use super::function::Lowering;
use super::instruction::Inst;

/// Bits of an address that say whose memory it is.
const RANK_BITS: u64 = 0xff00_0000;
const RANK_SHIFT: u64 = CLUSTER_SHARED_STRIDE.trailing_zeros() as u64;

/// `barrier.cluster.arrive{.sem}{.aligned}` and `barrier.cluster.wait{.acquire}{.aligned}`
pub(super) fn lower_barrier<'m, 'a>(
    l: &mut Lowering<'_, 'm, 'a>,
    inst: &mut Inst<'m, 'a>,
) -> Result<()> {
    let (arrive, wait) = (inst.take("arrive"), inst.take("wait"));
    inst.take("aligned");
    inst.take("acquire");
    if arrive {
        inst.take("release");
        inst.take("relaxed");
    }
    let [] = inst.finish()?;
    l.emit(match (arrive, wait) {
        (true, false) => Op::ClusterArrive,
        (false, true) => Op::ClusterWait,
        _ => return Err("it needs .arrive or .wait".to_owned()),
    });
    Ok(())
}

/// `mapa{.shared::cluster}.type d, a, rank` and `getctarank{.shared::cluster}.type d, a`
pub(super) fn lower_address<'m, 'a>(
    l: &mut Lowering<'_, 'm, 'a>,
    inst: &mut Inst<'m, 'a>,
) -> Result<()> {
    inst.take("shared::cluster");
    let ty = inst.take_type()?;
    let is_wide = match ty {
        // The lower half of a generic address is what matters, so the space makes no difference.
        ScalarType::U32 => false,
        ScalarType::U64 => true,
        _ => return Err(format!("no address of type {ty:?} is taken here")),
    };
    if inst.opcode == "getctarank" {
        let [d, a] = inst.finish()?;
        let mut a = l.source(a, ty)?;
        if is_wide {
            a = low_half(l, a)?;
        }
        let rank = rank_of(l, a)?;
        let dst = l.destination(d, ScalarType::U32)?;
        l.emit(Op::Unary {
            op: UnaryOp::Move(Width::B32),
            dst,
            a: rank,
        });
        return Ok(());
    }
    let [d, a, rank] = inst.finish()?;
    let (a, rank) = (l.source(a, ty)?, l.source(rank, ScalarType::U32)?);
    let low = if is_wide { low_half(l, a)? } else { a };
    let add = BinaryOp::Add(IntType::U32);
    let place = l.compute(add, rank, Src::Imm(1))?;
    let place = l.compute(BinaryOp::Shl(Width::B32), place, Src::Imm(RANK_SHIFT))?;
    let offset = l.compute(BinaryOp::And(Width::B32), low, Src::Imm(!RANK_BITS))?;
    let low = l.compute(BinaryOp::Or(Width::B32), offset, place)?;
    let dst = l.destination(d, ty)?;
    if !is_wide {
        l.emit(Op::Unary {
            op: UnaryOp::Move(Width::B32),
            dst,
            a: low,
        });
        return Ok(());
    }
    // The upper half names the generic window of shared memory.
    let high = l.temporary32()?;
    l.emit(Op::Unary {
        op: UnaryOp::HighHalf64,
        dst: high,
        a,
    });
    l.emit(Op::Binary {
        op: BinaryOp::Pack64,
        dst,
        a: low,
        b: high.into(),
    });
    Ok(())
}

fn low_half(l: &mut Lowering<'_, '_, '_>, a: Src) -> Result<Src> {
    let dst = l.temporary32()?;
    l.emit(Op::Unary {
        op: UnaryOp::LowHalf64,
        dst,
        a,
    });
    Ok(dst.into())
}

/// The rank of the block whose memory a 32-bit shared address is in.
fn rank_of(l: &mut Lowering<'_, '_, '_>, address: Src) -> Result<Src> {
    let own = own_rank(l)?;
    let place = l.compute(BinaryOp::Shr(IntType::U32), address, Src::Imm(RANK_SHIFT))?;
    let add = BinaryOp::Add(IntType::U32);
    let other = l.compute(add, place, Src::Imm(u64::from(u32::MAX)))?;
    let is_own = l.temporary_predicate()?;
    compare(l, CompareOp::Eq, place, Src::Imm(0), is_own);
    let dst = l.temporary32()?;
    l.emit(Op::Select {
        width: Width::B32,
        dst,
        a: own,
        b: other,
        pred: is_own.into(),
    });
    Ok(dst.into())
}

fn own_rank(l: &mut Lowering<'_, '_, '_>) -> Result<Src> {
    let dst = l.temporary32()?;
    l.emit(Op::ReadSpecial {
        dst,
        register: SpecialRegister::ClusterRank,
    });
    Ok(dst.into())
}

fn compare(l: &mut Lowering<'_, '_, '_>, op: CompareOp, a: Src, b: Src, dst: Pred) {
    l.emit(Op::SetPredicate {
        compare: Compare {
            op,
            ty: IrType::Int(IntType::U32),
            flush: false,
            a,
            b,
        },
        combine: None,
        dst: Some(dst),
        dst_not: None,
    });
}

/// `isspacep.shared::cta`: a shared address of the own block.
pub(super) fn lower_is_own_shared(
    l: &mut Lowering<'_, '_, '_>,
    dst: Pred,
    address: Src,
    is_wide: bool,
) -> Result<()> {
    let low = if is_wide {
        low_half(l, address)?
    } else {
        address
    };
    let (rank, own) = (rank_of(l, low)?, own_rank(l)?);
    let (is_shared, is_own) = (l.temporary_predicate()?, l.temporary_predicate()?);
    l.emit(Op::IsSpace {
        space: Space::Shared,
        dst: is_shared,
        a: address,
    });
    compare(l, CompareOp::Eq, rank, own, is_own);
    l.emit(Op::PredicateLogic {
        op: crate::ir::BoolOp::And,
        dst,
        a: is_shared.into(),
        b: is_own.into(),
    });
    Ok(())
}

/// `mov.pred p, %is_explicit_cluster`
pub(super) fn lower_is_explicit(l: &mut Lowering<'_, '_, '_>, dst: Pred) -> Result<()> {
    let value = l.temporary32()?;
    l.emit(Op::ReadSpecial {
        dst: value,
        register: SpecialRegister::IsClusterExplicit,
    });
    compare(l, CompareOp::Ne, value.into(), Src::Imm(0), dst);
    Ok(())
}
