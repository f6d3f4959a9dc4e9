// SPDX-License-Identifier: Apache-2.0
//! `multimem.ld_reduce multimem.st multimem.red`.
//!
//! They work on addresses of multicast objects, of which this device has none (its attribute
//! `MULTICAST_SUPPORTED` is 0), so a program that asks first never executes one. Libraries hold
//! them beside other ways, though, so they must load: they are checked, and trap when executed.

use crate::ir::{AtomicOp, MemoryOrder, Op, Space};
use crate::ptx::ScalarType;

use super::error::Result;
use super::function::Lowering;
use super::instruction::Inst;
use super::memory::{atomic_op, take_order, take_space, take_vector};

pub(super) fn lower<'m, 'a>(l: &mut Lowering<'_, 'm, 'a>, inst: &mut Inst<'m, 'a>) -> Result<()> {
    let action = inst.take_first().unwrap_or_default();
    let (is_load, is_reduction) = match action {
        "ld_reduce" => (true, true),
        "st" => (false, false),
        "red" => (false, true),
        _ => return Err("it is not supported".to_owned()),
    };
    let order = take_order(inst, MemoryOrder::Relaxed);
    let fits = match order {
        MemoryOrder::Weak | MemoryOrder::Relaxed => true,
        MemoryOrder::Acquire => is_load,
        MemoryOrder::Release => !is_load,
        MemoryOrder::AcquireRelease => false,
    };
    if !fits || !matches!(take_space(inst), Space::Generic | Space::Global) {
        return Err("no such order or space".to_owned());
    }
    let op = match is_reduction {
        true => Some(inst.take_any(atomic_op).ok_or("it has no operation")?),
        false => None,
    };
    let is_precise = inst.take("acc::f32");
    let count = take_vector(inst);
    let ty = inst.take_type()?;
    if !is_known(op, ty, count, is_load) || is_precise && !(is_load && is_packed(ty)) {
        return Err(format!("no such operation on {ty:?}"));
    }
    let [first, second] = inst.finish()?;
    let (data, address) = match is_load {
        true => (first, second),
        false => (second, first),
    };
    l.address(address, Space::Global)?;
    let elements = l.elements(data);
    if elements.len() != count {
        return Err(format!("its data operand has {} elements", elements.len()));
    }
    for element in &elements {
        if is_load {
            l.destination(element, ty)?;
        } else {
            l.source(element, ty)?;
        }
    }
    l.emit(Op::Trap);
    Ok(())
}

fn is_packed(ty: ScalarType) -> bool {
    matches!(ty, ScalarType::F16x2 | ScalarType::Bf16x2)
}

/// Whether PTX has the operation; none is a store.
fn is_known(op: Option<AtomicOp>, ty: ScalarType, count: usize, is_load: bool) -> bool {
    use ScalarType::{B32, B64, F32, F64, S32, S64, U32, U64};
    if count > 1 && !(count <= 4 && (ty == F32 || is_packed(ty))) {
        return false;
    }
    match op {
        None => matches!(ty, B32 | B64 | U32 | U64 | S32 | S64 | F32 | F64) || is_packed(ty),
        Some(AtomicOp::Add) => matches!(ty, U32 | S32 | U64 | F32 | F64) || is_packed(ty),
        Some(AtomicOp::Min | AtomicOp::Max) => {
            matches!(ty, U32 | S32 | U64 | S64) || is_load && is_packed(ty)
        }
        Some(AtomicOp::And | AtomicOp::Or | AtomicOp::Xor) => matches!(ty, B32 | B64),
        Some(_) => false,
    }
}
