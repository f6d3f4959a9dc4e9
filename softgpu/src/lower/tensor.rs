// SPDX-License-Identifier: Apache-2.0
//! Bulk copies by a tensor map (PTX ISA "cp.async.bulk.tensor", "cp.reduce.async.bulk.tensor",
//! "cp.async.bulk.prefetch.tensor", "tensormap.cp_fenceproxy").

use crate::ir::{Address, CopyBulk, CopyTensor, Op, Space, Src, TensorDirection};
use crate::ptx::{self, Operand, ScalarType};

use super::bulk::COMPLETES_BYTES;
use super::error::Result;
use super::function::Lowering;
use super::instruction::Inst;
use super::memory::{atomic_op, take_cache_hints, take_space};

/// How the map is traversed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Tile,
    Im2col,
    Im2colNoOffsets,
}

fn take_dimensions(inst: &mut Inst<'_, '_>) -> Result<usize> {
    inst.take_any(|name| match name {
        "1d" => Some(1),
        "2d" => Some(2),
        "3d" => Some(3),
        "4d" => Some(4),
        "5d" => Some(5),
        _ => None,
    })
    .ok_or_else(|| "it has no number of dimensions".to_owned())
}

fn take_mode(inst: &mut Inst<'_, '_>) -> Mode {
    inst.take_any(|name| match name {
        "tile" => Some(Mode::Tile),
        "im2col" => Some(Mode::Im2col),
        "im2col_no_offs" => Some(Mode::Im2colNoOffsets),
        _ => None,
    })
    .unwrap_or(Mode::Tile)
}

/// `[map, {x, y}]`
fn target<'a>(
    l: &mut Lowering<'_, '_, 'a>,
    operand: &Operand<'a>,
    dimensions: usize,
) -> Result<(Address, Vec<Src>)> {
    let Operand::Address(address) = operand else {
        return Err("the tensor map is no address".to_owned());
    };
    let elements = match address.coordinates.of(&l.function.operands) {
        [coordinates] => l.elements(coordinates),
        _ => return Err("the tensor map has no coordinates".to_owned()),
    };
    if elements.len() != dimensions {
        return Err(format!(
            "it has {} coordinates instead of {dimensions}",
            elements.len()
        ));
    }
    let plain = Operand::Address(ptx::Address {
        coordinates: ptx::OperandRange::default(),
        ..*address
    });
    let (_, map) = l.address(&plain, Space::Generic)?;
    let coordinates = elements.iter().map(|x| l.source(x, ScalarType::S32));
    Ok((map, coordinates.collect::<Result<_>>()?))
}

/// From behind `tensor`.
pub(super) fn lower_copy<'m, 'a>(
    l: &mut Lowering<'_, 'm, 'a>,
    inst: &mut Inst<'m, 'a>,
    is_reduction: bool,
) -> Result<()> {
    let dimensions = take_dimensions(inst)?;
    if inst.take("prefetch") {
        return lower_prefetch(l, inst, dimensions);
    }
    let (dst, src) = (take_space(inst), take_space(inst));
    let mode = take_mode(inst);
    if mode != Mode::Tile && dimensions < 3 {
        return Err("im2col needs three dimensions".to_owned());
    }
    match (dst, src) {
        (Space::Shared, Space::Global) if !is_reduction => lower_load(l, inst, dimensions, mode),
        (Space::Global, Space::Shared) => lower_store(l, inst, dimensions, mode, is_reduction),
        _ => Err("it does not copy between these spaces".to_owned()),
    }
}

/// The offsets of im2col: 16 bits each.
fn offsets<'a>(
    l: &mut Lowering<'_, '_, 'a>,
    operand: &Operand<'a>,
    dimensions: usize,
) -> Result<Vec<Src>> {
    let elements = l.elements(operand);
    if elements.len() != dimensions - 2 {
        return Err(format!(
            "it has {} offsets instead of {}",
            elements.len(),
            dimensions - 2
        ));
    }
    let sources = elements.iter().map(|x| l.source(x, ScalarType::U16));
    sources.collect()
}

fn lower_load<'m, 'a>(
    l: &mut Lowering<'_, 'm, 'a>,
    inst: &mut Inst<'m, 'a>,
    dimensions: usize,
    mode: Mode,
) -> Result<()> {
    let has_barrier = inst.take(COMPLETES_BYTES);
    let has_multicast = inst.take("multicast::cluster");
    let has_policy = take_cache_hints(inst);
    if !has_barrier || mode == Mode::Im2colNoOffsets {
        return Err("its mode or completion mechanism does not fit its spaces".to_owned());
    }
    let is_im2col = mode == Mode::Im2col;
    let count = 3 + [is_im2col, has_multicast, has_policy]
        .map(usize::from)
        .iter()
        .sum::<usize>();
    let [shared, map, barrier, rest @ ..] = inst.finish_between(count, count)? else {
        return Err("it has too few operands".to_owned());
    };
    let (_, shared) = l.address(shared, Space::Shared)?;
    let (map, coordinates) = target(l, map, dimensions)?;
    let (_, barrier) = l.address(barrier, Space::Shared)?;
    let offsets = match is_im2col {
        true => offsets(l, &rest[0], dimensions)?,
        false => Vec::new(),
    };
    let multicast = match has_multicast {
        true => {
            let mask = l.source(&rest[usize::from(is_im2col)], ScalarType::B16)?;
            let and = crate::ir::BinaryOp::And(crate::ir::Width::B32);
            Some(l.compute(and, mask, Src::Imm(0xffff))?)
        }
        false => None,
    };
    l.emit(Op::CopyTensor(Box::new(CopyTensor {
        direction: TensorDirection::Load,
        is_im2col,
        map,
        coordinates,
        offsets,
        shared,
        barrier: Some(barrier),
        multicast,
    })));
    Ok(())
}

fn lower_store<'m, 'a>(
    l: &mut Lowering<'_, 'm, 'a>,
    inst: &mut Inst<'m, 'a>,
    dimensions: usize,
    mode: Mode,
    is_reduction: bool,
) -> Result<()> {
    let direction = match is_reduction {
        true => TensorDirection::Reduce(inst.take_any(atomic_op).ok_or("it has no operation")?),
        false => TensorDirection::Store,
    };
    let is_group = inst.take("bulk_group");
    let has_policy = take_cache_hints(inst);
    if !is_group || mode == Mode::Im2col {
        return Err("its mode or completion mechanism does not fit its spaces".to_owned());
    }
    let count = 2 + usize::from(has_policy);
    let [map, shared, ..] = inst.finish_between(count, count)? else {
        return Err("it has too few operands".to_owned());
    };
    let (map, coordinates) = target(l, map, dimensions)?;
    let (_, shared) = l.address(shared, Space::Shared)?;
    l.emit(Op::CopyTensor(Box::new(CopyTensor {
        direction,
        is_im2col: mode == Mode::Im2colNoOffsets,
        map,
        coordinates,
        offsets: Vec::new(),
        shared,
        barrier: None,
        multicast: None,
    })));
    Ok(())
}

/// A prefetch has no effect that a program can see, but its operands must be there.
fn lower_prefetch<'m, 'a>(
    l: &mut Lowering<'_, 'm, 'a>,
    inst: &mut Inst<'m, 'a>,
    dimensions: usize,
) -> Result<()> {
    let is_of_global = inst.take("L2") && take_space(inst) == Space::Global;
    let mode = take_mode(inst);
    let has_policy = take_cache_hints(inst);
    if !is_of_global || (mode != Mode::Tile && dimensions < 3) {
        return Err("only global memory is prefetched".to_owned());
    }
    let has_offsets = mode == Mode::Im2col;
    let count = 1 + usize::from(has_offsets) + usize::from(has_policy);
    let [map, rest @ ..] = inst.finish_between(count, count)? else {
        return Err("it has too few operands".to_owned());
    };
    target(l, map, dimensions)?;
    if has_offsets {
        offsets(l, &rest[0], dimensions)?;
    }
    Ok(())
}

/// `tensormap.cp_fenceproxy.global.shared::cta.tensormap::generic.release.scope.sync.aligned [dst],
/// [src], 128`: a copy of the map. Every access sees it at once.
pub(super) fn lower_map<'m, 'a>(
    l: &mut Lowering<'_, 'm, 'a>,
    inst: &mut Inst<'m, 'a>,
) -> Result<()> {
    if inst.take("replace") {
        return Err("it needs .target sm_90a, whose instructions are not supported".to_owned());
    }
    let is_copy = inst.take("cp_fenceproxy");
    let (dst_space, src_space) = (take_space(inst), take_space(inst));
    let is_fence = inst.take("tensormap::generic") && inst.take("release");
    let scope = inst.take_any(|m| matches!(m, "cta" | "cluster" | "gpu" | "sys").then_some(()));
    let is_aligned = inst.take("sync") && inst.take("aligned");
    let is_known = is_copy && is_fence && scope.is_some() && is_aligned;
    if !is_known || (dst_space, src_space) != (Space::Global, Space::Shared) {
        return Err("it is not supported".to_owned());
    }
    let [dst, src, length] = inst.finish()?;
    let bytes = l.source(length, ScalarType::U32)?;
    if bytes != Src::Imm(128) {
        return Err("its length is not 128".to_owned());
    }
    let (_, dst) = l.address(dst, Space::Global)?;
    let (_, src) = l.address(src, Space::Shared)?;
    l.emit(Op::CopyBulk(Box::new(CopyBulk {
        dst_space,
        dst,
        src_space,
        src,
        bytes,
        barrier: None,
        reduction: None,
        multicast: None,
    })));
    l.emit(Op::Fence);
    Ok(())
}
