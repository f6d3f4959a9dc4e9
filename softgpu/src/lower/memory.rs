// SPDX-License-Identifier: Apache-2.0
//! Loads, stores, atomics and copies.

use crate::ir::{
    Address, AtomicOp, AtomicType, MemType, MemoryBarrierOp, MemoryOrder, Op, PredSrc,
};
use crate::ir::{Reg, Space, Src, UnaryOp, Width};
use crate::ptx::{Immediate, Operand, ScalarType};

use super::error::Result;
use super::function::{Lowering, memory_type};
use super::instruction::Inst;
use super::names::{Register, Slot};
use super::operand::{Fit, is_float};

pub(super) fn take_space(inst: &mut Inst<'_, '_>) -> Space {
    let space = inst.take_any(|modifier| {
        Some(match modifier {
            "global" => Space::Global,
            "const" => Space::Const,
            "shared" | "shared::cta" | "shared::cluster" => Space::Shared,
            "local" => Space::Local,
            "param" | "param::entry" | "param::func" => Space::Param,
            _ => return None,
        })
    });
    space.unwrap_or(Space::Generic)
}

/// Takes the ordering modifiers and the scope; a scope smaller than the device's is served as the
/// whole device.
pub(super) fn take_order(inst: &mut Inst<'_, '_>, default: MemoryOrder) -> MemoryOrder {
    let order = inst.take_any(|modifier| {
        Some(match modifier {
            "weak" => MemoryOrder::Weak,
            "volatile" | "relaxed" => MemoryOrder::Relaxed,
            "acquire" => MemoryOrder::Acquire,
            "release" => MemoryOrder::Release,
            "acq_rel" => MemoryOrder::AcquireRelease,
            _ => return None,
        })
    });
    let is_mmio = inst.take("mmio");
    inst.take_all(|modifier| matches!(modifier, "cta" | "cluster" | "gpu" | "sys"));
    match order {
        None | Some(MemoryOrder::Weak) if is_mmio => MemoryOrder::Relaxed,
        Some(order) => order,
        None => default,
    }
}

/// Takes the cache operators and hints, which change no result. True where a cache policy operand
/// follows the others.
pub(super) fn take_cache_hints(inst: &mut Inst<'_, '_>) -> bool {
    inst.take_all(|modifier| {
        matches!(
            modifier,
            "ca" | "cg" | "cs" | "lu" | "cv" | "wb" | "wt" | "nc"
        ) || modifier.starts_with("L1::") && modifier.len() > 4
            || matches!(modifier, "L2::64B" | "L2::128B" | "L2::256B")
            || matches!(
                modifier,
                "L2::evict_first" | "L2::evict_last" | "L2::evict_normal"
            )
    });
    inst.take("L2::cache_hint")
}

pub(super) fn take_vector(inst: &mut Inst<'_, '_>) -> usize {
    let count = inst.take_any(|modifier| {
        Some(match modifier {
            "v2" => 2,
            "v4" => 4,
            "v8" => 8,
            _ => return None,
        })
    });
    count.unwrap_or(1)
}

pub(super) fn lower<'m, 'a>(l: &mut Lowering<'_, 'm, 'a>, inst: &mut Inst<'m, 'a>) -> Result<()> {
    match inst.opcode {
        "ld" | "ldu" => lower_load(l, inst),
        "st" => match inst.take("async") {
            true => super::bulk::lower_store(l, inst),
            false => lower_store(l, inst),
        },
        "createpolicy" => {
            // A policy only ever goes into the hints that are ignored.
            inst.take_all(|_| true);
            let [d, ..] = inst.finish_between(1, 5)? else {
                return Err("it has no result".to_owned());
            };
            let dst = l.destination(d, ScalarType::B64)?;
            l.emit(Op::Unary {
                op: UnaryOp::Move(Width::B64),
                dst,
                a: Src::Imm(0),
            });
            Ok(())
        }
        // Hints about caches. `discard` allows the data to become anything, so it may stay.
        _ => {
            take_space(inst);
            inst.take_all(|modifier| {
                matches!(
                    modifier,
                    "L1" | "L2" | "L2::evict_last" | "L2::evict_normal" | "tensormap"
                )
            });
            inst.finish_between(1, 2).map(|_| ())
        }
    }
}

/// The register or registers of a data operand of `count` elements.
fn data_operands<'a>(
    l: &Lowering<'_, '_, 'a>,
    operand: &Operand<'a>,
    count: usize,
) -> Result<Vec<Operand<'a>>> {
    let elements = l.elements(operand);
    if elements.len() == count {
        return Ok(elements);
    }
    Err(format!(
        "its data operand has {} elements instead of {count}",
        elements.len()
    ))
}

fn lower_load<'m, 'a>(l: &mut Lowering<'_, 'm, 'a>, inst: &mut Inst<'m, 'a>) -> Result<()> {
    let order = take_order(inst, MemoryOrder::Weak);
    let space = take_space(inst);
    let has_policy = take_cache_hints(inst);
    let count = take_vector(inst);
    let ty = inst.take_type()?;
    if matches!(order, MemoryOrder::Release | MemoryOrder::AcquireRelease) {
        return Err("a load does not release".to_owned());
    }
    let most = if has_policy { 3 } else { 2 };
    let [d, address, ..] = inst.finish_between(2, most)? else {
        return Err("it has too few operands".to_owned());
    };
    let (space, address) = l.address(address, space)?;
    if ty == ScalarType::B128 && count == 1 && is_single(space, order) {
        let dst = match d {
            Operand::Sink => [l.temporary64()?, l.temporary64()?],
            d => wide_pair(l, d)?,
        };
        l.emit(Op::AtomicWide {
            space,
            is_strong: order != MemoryOrder::Weak,
            address,
            dst: Some(dst),
            compare: None,
            new: None,
        });
        return Ok(());
    }
    let (ty, dst) = if ty == ScalarType::B128 {
        (
            MemType::B64,
            wide_registers(l, d, count)?.into_iter().map(Some).collect(),
        )
    } else if let Some(vector) = l.whole_vector(d) {
        if vector.len() != count {
            return Err(format!("its vector register has {} elements", vector.len()));
        }
        let mut dst = Vec::with_capacity(count);
        for register in vector {
            dst.push(Some(fitting(register, ty)?));
        }
        (memory_type(ty)?, dst)
    } else {
        let mut dst = Vec::with_capacity(count);
        for element in data_operands(l, d, count)? {
            dst.push(match element {
                Operand::Sink => None,
                _ => Some(l.destination_fit(&element, ty, data_fit(ty))?.0),
            });
        }
        (memory_type(ty)?, dst)
    };
    l.emit(Op::Load {
        space,
        ty,
        order,
        dst,
        address,
    });
    Ok(())
}

fn lower_store<'m, 'a>(l: &mut Lowering<'_, 'm, 'a>, inst: &mut Inst<'m, 'a>) -> Result<()> {
    let order = take_order(inst, MemoryOrder::Weak);
    let space = take_space(inst);
    let has_policy = take_cache_hints(inst);
    let count = take_vector(inst);
    let ty = inst.take_type()?;
    if matches!(order, MemoryOrder::Acquire | MemoryOrder::AcquireRelease) {
        return Err("a store does not acquire".to_owned());
    }
    if space == Space::Const {
        return Err("constant memory cannot be stored to".to_owned());
    }
    let most = if has_policy { 3 } else { 2 };
    let [address, d, ..] = inst.finish_between(2, most)? else {
        return Err("it has too few operands".to_owned());
    };
    if ty == ScalarType::B128 && count == 1 && is_single(space, order) {
        let new = wide_pair(l, d)?.map(Src::from);
        let (space, address) = l.address(address, space)?;
        l.emit(Op::AtomicWide {
            space,
            is_strong: order != MemoryOrder::Weak,
            address,
            dst: None,
            compare: None,
            new: Some(new),
        });
        return Ok(());
    }
    let (ty, src) = if ty == ScalarType::B128 {
        (
            MemType::B64,
            wide_registers(l, d, count)?
                .into_iter()
                .map(Src::from)
                .collect(),
        )
    } else if let Some(vector) = l.whole_vector(d) {
        if vector.len() != count {
            return Err(format!("its vector register has {} elements", vector.len()));
        }
        let mut src = Vec::with_capacity(count);
        for register in vector {
            src.push(fitting(register, ty)?.into());
        }
        (memory_type(ty)?, src)
    } else {
        let mut src = Vec::with_capacity(count);
        for element in data_operands(l, d, count)? {
            src.push(l.source_fit(&element, ty, data_fit(ty))?);
        }
        (memory_type(ty)?, src)
    };
    let (space, address) = l.address(address, space)?;
    if space == Space::Param {
        return Err("kernel parameters cannot be stored to".to_owned());
    }
    l.emit(Op::Store {
        space,
        ty,
        order,
        address,
        src,
    });
    Ok(())
}

/// Integers and bits may lie in wider registers.
fn data_fit(ty: ScalarType) -> Fit {
    if is_float(ty) { Fit::Exact } else { Fit::Wider }
}

fn fitting(register: Register, ty: ScalarType) -> Result<Reg> {
    match register.slot {
        Slot::Reg(reg) if register.ty.size_bytes() >= ty.size_bytes() => Ok(reg),
        _ => Err(format!(
            "a register of type {:?} does not hold {ty:?}",
            register.ty
        )),
    }
}

/// Whether an access of 128 bits must not fall into two: other threads reach the memory. A weak
/// one of a generic address may be one of local memory, and no race with it has a defined result.
fn is_single(space: Space, order: MemoryOrder) -> bool {
    match space {
        Space::Global | Space::Shared => true,
        Space::Generic => order != MemoryOrder::Weak,
        _ => false,
    }
}

/// The halves of a 128-bit register, the low one first.
fn wide_pair<'a>(l: &Lowering<'_, '_, 'a>, operand: &Operand<'a>) -> Result<[Reg; 2]> {
    match *wide_registers(l, operand, 1)? {
        [low, high] => Ok([low, high]),
        _ => Err("its data operand is no 128-bit register".to_owned()),
    }
}

/// The halves of 128-bit registers, low ones first.
fn wide_registers<'a>(
    l: &Lowering<'_, '_, 'a>,
    operand: &Operand<'a>,
    count: usize,
) -> Result<Vec<Reg>> {
    let mut halves = Vec::with_capacity(2 * count);
    for element in data_operands(l, operand, count)? {
        match l.operand_register(&element) {
            Some(Register {
                slot: Slot::Wide(both),
                ..
            }) => halves.extend(both),
            _ => return Err("its data operand is no 128-bit register".to_owned()),
        }
    }
    Ok(halves)
}

pub(super) fn atomic_op(name: &str) -> Option<AtomicOp> {
    Some(match name {
        "add" => AtomicOp::Add,
        "min" => AtomicOp::Min,
        "max" => AtomicOp::Max,
        "inc" => AtomicOp::Inc,
        "dec" => AtomicOp::Dec,
        "and" => AtomicOp::And,
        "or" => AtomicOp::Or,
        "xor" => AtomicOp::Xor,
        "exch" => AtomicOp::Exchange,
        "cas" => AtomicOp::CompareAndSwap,
        _ => return None,
    })
}

/// The type of an atomic, where PTX has the operation for it. Halves have an order only where
/// `has_half_order`: in vectors and bulk reductions.
pub(super) fn atomic_type(
    op: AtomicOp,
    ty: ScalarType,
    has_half_order: bool,
) -> Option<AtomicType> {
    use AtomicOp::{Add, And, CompareAndSwap, Dec, Exchange, Inc, Max, Min, Or, Xor};
    let bits = matches!(op, And | Or | Xor | Exchange | CompareAndSwap);
    let order = matches!(op, Min | Max);
    if has_half_order && order {
        return Some(match ty {
            ScalarType::F16 => AtomicType::F16,
            ScalarType::F16x2 => AtomicType::F16x2,
            ScalarType::Bf16 => AtomicType::Bf16,
            ScalarType::Bf16x2 => AtomicType::Bf16x2,
            _ => return atomic_type(op, ty, false),
        });
    }
    Some(match ty {
        ScalarType::B16 if matches!(op, CompareAndSwap | Exchange) => AtomicType::U16,
        ScalarType::B32 if bits => AtomicType::U32,
        ScalarType::B64 if bits => AtomicType::U64,
        ScalarType::U32 if order || matches!(op, Add | Inc | Dec) => AtomicType::U32,
        ScalarType::S32 if order || op == Add => AtomicType::S32,
        ScalarType::U64 if order || op == Add => AtomicType::U64,
        ScalarType::S64 if order || op == Add => AtomicType::S64,
        ScalarType::F32 if op == Add => AtomicType::F32,
        ScalarType::F64 if op == Add => AtomicType::F64,
        ScalarType::F16 if op == Add => AtomicType::F16,
        ScalarType::F16x2 if op == Add => AtomicType::F16x2,
        ScalarType::Bf16 if op == Add => AtomicType::Bf16,
        ScalarType::Bf16x2 if op == Add => AtomicType::Bf16x2,
        _ => return None,
    })
}

/// `atom` and `red`
pub(super) fn lower_atomic<'m, 'a>(
    l: &mut Lowering<'_, 'm, 'a>,
    inst: &mut Inst<'m, 'a>,
) -> Result<()> {
    if inst.opcode == "red" && inst.take("async") {
        return super::bulk::lower_reduction(l, inst);
    }
    let order = take_order(inst, MemoryOrder::Relaxed);
    let space = take_space(inst);
    let has_policy = take_cache_hints(inst);
    let op = inst.take_any(atomic_op).ok_or("it has no operation")?;
    inst.take("noftz");
    let count = take_vector(inst);
    let ptx_type = inst.take_type()?;
    if ptx_type == ScalarType::B128 {
        return lower_atomic_wide(l, inst, op, space, has_policy);
    }
    let ty = atomic_type(op, ptx_type, count > 1)
        .ok_or_else(|| format!("no such atomic of {ptx_type:?}"))?;
    if count > 1 && !is_vector_atomic(op, ptx_type, count) {
        return Err(format!("no such atomic of vectors of {ptx_type:?}"));
    }
    if !matches!(space, Space::Global | Space::Shared | Space::Generic) {
        return Err("atomics work on global and shared memory".to_owned());
    }
    let has_result = inst.opcode == "atom";
    let is_swap = op == AtomicOp::CompareAndSwap;
    if (is_swap || op == AtomicOp::Exchange) && !has_result {
        return Err("a reduction has no such operation".to_owned());
    }
    let least = 2 + usize::from(has_result) + usize::from(is_swap);
    let operands = inst.finish_between(least, least + usize::from(has_policy))?;
    let (d, rest) = if has_result {
        (operands.first(), &operands[1..])
    } else {
        (None, operands)
    };
    let [address, a, rest @ ..] = rest else {
        return Err("it has too few operands".to_owned());
    };
    let (space, address) = l.address(address, space)?;
    if count > 1 {
        let whole = VectorAtomic {
            space,
            op,
            ty,
            order,
            address,
        };
        return lower_atomic_vector(l, &whole, ptx_type, [d, Some(a)], count);
    }
    let a = l.source(a, ptx_type)?;
    let b = match rest.first() {
        Some(b) if is_swap => Some(l.source(b, ptx_type)?),
        _ => None,
    };
    let dst = match d {
        None | Some(Operand::Sink) => None,
        Some(d) => Some(l.destination(d, ptx_type)?),
    };
    l.emit(Op::Atomic {
        space,
        op,
        ty,
        order,
        dst,
        address,
        a,
        b,
    });
    Ok(())
}

/// Whether PTX has the atomic for vectors of so many elements.
fn is_vector_atomic(op: AtomicOp, ty: ScalarType, count: usize) -> bool {
    match ty {
        ScalarType::F32 => op == AtomicOp::Add && count <= 4,
        ScalarType::F16x2 | ScalarType::Bf16x2 => count <= 4,
        ScalarType::F16 | ScalarType::Bf16 => true,
        _ => false,
    }
}

/// What the elements of a vector atomic have in common.
struct VectorAtomic {
    space: Space,
    op: AtomicOp,
    ty: AtomicType,
    order: MemoryOrder,
    address: Address,
}

/// One atomic an element, which is all that PTX promises of a vector.
fn lower_atomic_vector<'a>(
    l: &mut Lowering<'_, '_, 'a>,
    whole: &VectorAtomic,
    ptx_type: ScalarType,
    [d, a]: [Option<&Operand<'a>>; 2],
    count: usize,
) -> Result<()> {
    let values = data_operands(l, a.unwrap_or(&Operand::Sink), count)?;
    let mut sources = Vec::with_capacity(count);
    for value in &values {
        sources.push(l.source(value, ptx_type)?);
    }
    // The results may overlap the address and the operands, so they are written last.
    let mut old = Vec::new();
    for (&a, index) in sources.iter().zip(0_i64..) {
        let dst = d.map(|_| l.temporary32()).transpose()?;
        old.extend(dst);
        let step = i64::from(ptx_type.size_bytes());
        let address = Address {
            offset: whole.address.offset.wrapping_add(index * step),
            ..whole.address
        };
        l.emit(Op::Atomic {
            space: whole.space,
            op: whole.op,
            ty: whole.ty,
            order: whole.order,
            dst,
            address,
            a,
            b: None,
        });
    }
    let Some(d) = d else { return Ok(()) };
    for (element, value) in data_operands(l, d, count)?.iter().zip(old) {
        if *element == Operand::Sink {
            continue;
        }
        let dst = l.destination(element, ptx_type)?;
        l.emit(Op::Unary {
            op: UnaryOp::Move(Width::B32),
            dst,
            a: value.into(),
        });
    }
    Ok(())
}

/// `atom.cas.b128 d, [a], b, c` and `atom.exch.b128 d, [a], b`
fn lower_atomic_wide<'m, 'a>(
    l: &mut Lowering<'_, 'm, 'a>,
    inst: &Inst<'m, 'a>,
    op: AtomicOp,
    space: Space,
    has_policy: bool,
) -> Result<()> {
    let is_swap = op == AtomicOp::CompareAndSwap;
    if inst.opcode != "atom" || !(is_swap || op == AtomicOp::Exchange) {
        return Err("no such atomic of 128 bits".to_owned());
    }
    if !matches!(space, Space::Global | Space::Shared | Space::Generic) {
        return Err("atomics work on global and shared memory".to_owned());
    }
    let count = 3 + usize::from(is_swap);
    let operands = inst.finish_between(count, count + usize::from(has_policy))?;
    let (space, address) = l.address(&operands[1], space)?;
    let first = wide_pair(l, &operands[2])?.map(Src::from);
    let (compare, new) = match is_swap {
        true => (Some(first), wide_pair(l, &operands[3])?.map(Src::from)),
        false => (None, first),
    };
    let dst = match &operands[0] {
        Operand::Sink => [l.temporary64()?, l.temporary64()?],
        d => wide_pair(l, d)?,
    };
    l.emit(Op::AtomicWide {
        space,
        is_strong: true,
        address,
        dst: Some(dst),
        compare,
        new: Some(new),
    });
    Ok(())
}

/// `cp.async.*`
pub(super) fn lower_copy<'m, 'a>(
    l: &mut Lowering<'_, 'm, 'a>,
    inst: &mut Inst<'m, 'a>,
) -> Result<()> {
    let is_reduction = inst.take("reduce");
    if !inst.take("async") {
        return Err("it is not supported".to_owned());
    }
    if inst.take("bulk") {
        return super::bulk::lower_copy(l, inst, is_reduction);
    }
    if inst.take("commit_group") || inst.take("wait_all") {
        // Copies are complete when they are issued.
        let [] = inst.finish()?;
        return Ok(());
    }
    if inst.take("wait_group") {
        let [_] = inst.finish()?;
        return Ok(());
    }
    if inst.take("mbarrier") {
        let arrives = inst.take("arrive");
        let no_increment = inst.take("noinc");
        let space = take_space(inst);
        if !arrives || inst.take_type()? != ScalarType::B64 {
            return Err("it is not supported".to_owned());
        }
        let [address] = inst.finish()?;
        let (space, address) = l.address(address, space)?;
        let op = MemoryBarrierOp::CopyAsyncArrive { no_increment };
        l.emit(Op::MemoryBarrier { space, address, op });
        return Ok(());
    }
    let to_shared = inst.take("shared") || inst.take("shared::cta");
    if !to_shared || !inst.take("global") {
        return Err("it is not supported".to_owned());
    }
    let has_policy = take_cache_hints(inst);
    let operands = inst.finish_between(3, 4 + usize::from(has_policy))?;
    let [
        dst,
        src,
        Operand::Immediate(Immediate::Int(bytes @ (4 | 8 | 16))),
        rest @ ..,
    ] = operands
    else {
        return Err("its size is not 4, 8 or 16".to_owned());
    };
    let source_operand = if rest.len() > usize::from(has_policy) {
        rest.first()
    } else {
        None
    };
    let source_bytes = match source_operand {
        None => None,
        Some(operand) => Some(copied_bytes(l, operand, bytes.cast_unsigned())?),
    };
    let (_, dst) = l.address(dst, Space::Shared)?;
    let (_, src) = l.address(src, Space::Global)?;
    l.emit(Op::CopyAsync {
        dst,
        src,
        bytes: *bytes as u8,
        source_bytes,
    });
    Ok(())
}

/// How many bytes to copy: a number, or none where the ignore-src predicate is true.
fn copied_bytes<'a>(
    l: &mut Lowering<'_, '_, 'a>,
    operand: &Operand<'a>,
    bytes: u64,
) -> Result<Src> {
    let is_predicate = matches!(operand, Operand::Negated(_))
        || matches!(
            l.operand_register(operand),
            Some(Register {
                slot: Slot::Pred(_),
                ..
            })
        );
    if !is_predicate {
        return l.source(operand, ScalarType::U32);
    }
    let pred: PredSrc = l.predicate_source(operand)?;
    let dst = l.temporary32()?;
    let (a, b) = (Src::Imm(0), Src::Imm(bytes));
    l.emit(Op::Select {
        width: Width::B32,
        dst,
        a,
        b,
        pred,
    });
    Ok(dst.into())
}
