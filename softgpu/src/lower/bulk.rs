// SPDX-License-Identifier: Apache-2.0
//! Asynchronous operations that tell an `mbarrier` of their bytes: `cp.async.bulk`,
//! `cp.reduce.async.bulk`, `st.async`, `red.async`. All are complete when they are issued, which
//! their users cannot tell from a copy that was very fast.

use crate::ir::{
    Address, AtomicOp, AtomicType, CopyBulk, MemoryBarrierOp, MemoryOrder, Op, Space, Src, UnaryOp,
};
use crate::ptx::{Operand, ScalarType};

use super::error::Result;
use super::function::{Lowering, memory_type};
use super::instruction::Inst;
use super::memory::{
    atomic_op, atomic_type, take_cache_hints, take_order, take_space, take_vector,
};

pub(super) const COMPLETES_BYTES: &str = "mbarrier::complete_tx::bytes";

/// `cp.async.bulk.*` and `cp.reduce.async.bulk.*`, from behind `bulk`.
pub(super) fn lower_copy<'m, 'a>(
    l: &mut Lowering<'_, 'm, 'a>,
    inst: &mut Inst<'m, 'a>,
    is_reduction: bool,
) -> Result<()> {
    if inst.take("tensor") {
        return super::tensor::lower_copy(l, inst, is_reduction);
    }
    if inst.take("commit_group") {
        let [] = inst.finish()?;
        return Ok(());
    }
    if inst.take("wait_group") {
        inst.take("read");
        let [_] = inst.finish()?;
        return Ok(());
    }
    if inst.take("prefetch") {
        inst.take("L2");
        let space = take_space(inst);
        let has_policy = take_cache_hints(inst);
        inst.finish_between(2, 2 + usize::from(has_policy))?;
        return match space {
            Space::Global => Ok(()),
            _ => Err("only global memory is prefetched".to_owned()),
        };
    }
    let (dst_space, src_space) = (take_space(inst), take_space(inst));
    let has_barrier = inst.take(COMPLETES_BYTES);
    let is_group = inst.take("bulk_group");
    let has_multicast = inst.take("multicast::cluster");
    let has_policy = take_cache_hints(inst);
    let reduction = is_reduction.then(|| take_reduction(inst)).transpose()?;
    // Whether the form exists, and whether it tells a barrier.
    let form = match (dst_space, src_space) {
        (Space::Shared, Space::Global) if reduction.is_none() => true,
        (Space::Shared, Space::Shared) if !has_multicast => true,
        (Space::Global, Space::Shared) if !has_multicast => false,
        _ => return Err("it does not copy between these spaces".to_owned()),
    };
    if form != has_barrier || form == is_group {
        return Err("its completion mechanism does not fit its spaces".to_owned());
    }
    let count = 3 + usize::from(has_barrier) + usize::from(has_multicast) + usize::from(has_policy);
    let operands = inst.finish_between(count, count)?;
    let (_, dst) = l.address(&operands[0], dst_space)?;
    let (_, src) = l.address(&operands[1], src_space)?;
    let bytes = l.source(&operands[2], ScalarType::U32)?;
    let barrier = match has_barrier {
        true => Some(l.address(&operands[3], Space::Shared)?.1),
        false => None,
    };
    let multicast = match has_multicast {
        true => {
            let mask = l.source(&operands[4], ScalarType::B16)?;
            Some(l.compute(
                crate::ir::BinaryOp::And(crate::ir::Width::B32),
                mask,
                Src::Imm(0xffff),
            )?)
        }
        false => None,
    };
    l.emit(Op::CopyBulk(Box::new(CopyBulk {
        dst_space,
        dst,
        src_space,
        src,
        bytes,
        barrier,
        reduction,
        multicast,
    })));
    Ok(())
}

/// `.add{.noftz}.type` and the like.
fn take_reduction(inst: &mut Inst<'_, '_>) -> Result<(AtomicOp, AtomicType)> {
    let op = inst.take_any(atomic_op).ok_or("it has no operation")?;
    inst.take("noftz");
    let ty = inst.take_type()?;
    let is_half = matches!(ty, ScalarType::F16 | ScalarType::Bf16);
    let found = atomic_type(op, ty, is_half)
        .filter(|_| !matches!(op, AtomicOp::Exchange | AtomicOp::CompareAndSwap));
    let found = found.ok_or_else(|| format!("no such reduction of {ty:?}"))?;
    Ok((op, found))
}

/// Tells the barrier of an operand that so many bytes have come.
fn complete<'a>(
    l: &mut Lowering<'_, '_, 'a>,
    barrier: &Operand<'a>,
    space: Space,
    bytes: u32,
) -> Result<()> {
    let address = shared_address(l, barrier, space)?;
    l.emit(Op::MemoryBarrier {
        space: Space::Shared,
        address,
        op: MemoryBarrierOp::CompleteBytes(Src::Imm(bytes.into())),
    });
    Ok(())
}

fn take_completion(inst: &mut Inst<'_, '_>) -> Result<Space> {
    let space = take_space(inst);
    if matches!(space, Space::Shared | Space::Generic) && inst.take(COMPLETES_BYTES) {
        return Ok(space);
    }
    Err("it needs .shared::cluster and .mbarrier::complete_tx::bytes".to_owned())
}

/// The address in the cluster's shared memory: of a generic one, the lower half.
fn shared_address<'a>(
    l: &mut Lowering<'_, '_, 'a>,
    operand: &Operand<'a>,
    space: Space,
) -> Result<Address> {
    let (found, address) = l.address(operand, space)?;
    if found != Space::Generic {
        return Ok(address);
    }
    let value = l.address_value(&address)?;
    let dst = l.temporary32()?;
    l.emit(Op::Unary {
        op: UnaryOp::LowHalf64,
        dst,
        a: value,
    });
    Ok(Address::new(dst, 0))
}

/// `st.async{.weak}.shared::cluster.mbarrier::complete_tx::bytes{.vec}.type [a], b, [mbar]`
pub(super) fn lower_store<'m, 'a>(
    l: &mut Lowering<'_, 'm, 'a>,
    inst: &mut Inst<'m, 'a>,
) -> Result<()> {
    inst.take("weak");
    let space = take_completion(inst)?;
    let count = take_vector(inst);
    let ty = inst.take_type()?;
    let [address, data, barrier] = inst.finish()?;
    let elements = l.elements(data);
    if elements.len() != count || !matches!(ty.size_bytes(), 4 | 8) {
        return Err("its data does not fit its type".to_owned());
    }
    let mut src = Vec::with_capacity(count);
    for element in &elements {
        src.push(l.source(element, ty)?);
    }
    let address = shared_address(l, address, space)?;
    l.emit(Op::Store {
        space: Space::Shared,
        ty: memory_type(ty)?,
        order: MemoryOrder::Weak,
        address,
        src,
    });
    complete(l, barrier, space, ty.size_bytes() * count as u32)
}

/// `red.async{.relaxed.cluster}.shared::cluster.mbarrier::complete_tx::bytes.op.type [a], b,
/// [mbar]`
pub(super) fn lower_reduction<'m, 'a>(
    l: &mut Lowering<'_, 'm, 'a>,
    inst: &mut Inst<'m, 'a>,
) -> Result<()> {
    let order = take_order(inst, MemoryOrder::Relaxed);
    let space = take_completion(inst)?;
    let (op, ty) = {
        let op = inst.take_any(atomic_op).ok_or("it has no operation")?;
        (op, inst.take_type()?)
    };
    let is_float = matches!(ty, ScalarType::F32 | ScalarType::F64);
    let atomic = atomic_type(op, ty, false)
        .filter(|_| !is_float && !matches!(op, AtomicOp::Exchange | AtomicOp::CompareAndSwap));
    let atomic = atomic.ok_or_else(|| format!("no such reduction of {ty:?}"))?;
    let [address, a, barrier] = inst.finish()?;
    let a = l.source(a, ty)?;
    let address = shared_address(l, address, space)?;
    l.emit(Op::Atomic {
        space: Space::Shared,
        op,
        ty: atomic,
        order,
        dst: None,
        address,
        a,
        b: None,
    });
    complete(l, barrier, space, ty.size_bytes())
}
