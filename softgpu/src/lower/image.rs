// SPDX-License-Identifier: Apache-2.0
//! Texture and surface instructions (PTX ISA "Texture Instructions", "Surface Instructions").
//!
//! Only the unified texturing mode is supported, in which a texture has its sampler with it.

use crate::ir::{
    AddressBase, AtomicOp, AtomicType, Geometry, ImageOp, ImageQuery, LevelMode, Op, OpaqueType,
    Pred, Reg, Space, Src, SurfaceBounds, TexelType,
};
use crate::ptx::{self, Operand, ScalarType};

use super::error::Result;
use super::function::Lowering;
use super::instruction::Inst;
use super::operand::Fit;

/// `tex tld4 txq suld sust sured suq istypep`
pub(super) fn lower<'m, 'a>(l: &mut Lowering<'_, 'm, 'a>, inst: &mut Inst<'m, 'a>) -> Result<()> {
    match inst.opcode {
        "tex" => lower_sample(l, inst),
        "tld4" => lower_gather(l, inst),
        "txq" | "suq" => lower_query(l, inst),
        "suld" => lower_load(l, inst),
        "sust" => lower_store(l, inst),
        "sured" => lower_reduce(l, inst),
        _ => lower_is_type(l, inst),
    }
}

fn geometry(name: &str) -> Option<Geometry> {
    let (dimensions, is_layered, is_cube) = match name {
        "1d" => (1, false, false),
        "2d" => (2, false, false),
        "3d" => (3, false, false),
        "a1d" => (1, true, false),
        "a2d" => (2, true, false),
        "cube" => (3, false, true),
        "acube" => (3, true, true),
        _ => return None,
    };
    Some(Geometry {
        dimensions,
        is_layered,
        is_cube,
    })
}

fn take_geometry(inst: &mut Inst<'_, '_>) -> Result<Geometry> {
    inst.take_any(geometry)
        .ok_or_else(|| "it has no geometry that is supported".to_owned())
}

fn take_bounds(inst: &mut Inst<'_, '_>) -> Result<SurfaceBounds> {
    inst.take_any(|name| match name {
        "trap" => Some(SurfaceBounds::Trap),
        "clamp" => Some(SurfaceBounds::Clamp),
        "zero" => Some(SurfaceBounds::Zero),
        _ => None,
    })
    .ok_or_else(|| "it does not say what happens outside".to_owned())
}

/// `.v2`, `.v4` or none.
fn take_count(inst: &mut Inst<'_, '_>) -> usize {
    inst.take_any(|name| match name {
        "v2" => Some(2),
        "v4" => Some(4),
        _ => None,
    })
    .unwrap_or(1)
}

/// The element types of a surface instruction, as bytes.
fn take_bytes(inst: &mut Inst<'_, '_>) -> Result<ScalarType> {
    let ty = inst.take_type()?;
    match ty {
        ScalarType::B8 | ScalarType::B16 | ScalarType::B32 | ScalarType::B64 => Ok(ty),
        _ => Err("its type must be .b8, .b16, .b32 or .b64".to_owned()),
    }
}

/// An instruction's handle and what comes after it in the brackets.
struct Target<'a> {
    handle: Src,
    coordinates: Vec<Operand<'a>>,
}

impl<'m, 'a> Lowering<'_, 'm, 'a> {
    /// `[a]` or `[a, {x, y}]`
    fn image_target(&mut self, operand: &Operand<'a>) -> Result<Target<'a>> {
        let Operand::Address(address) = operand else {
            return Err("the operand is no texture or surface".to_owned());
        };
        let coordinates = match address.coordinates.of(&self.function.operands) {
            [] => Vec::new(),
            [coordinates] => self.elements(coordinates),
            _ => return Err("samplers apart from textures are not supported".to_owned()),
        };
        let plain = Operand::Address(ptx::Address {
            coordinates: ptx::OperandRange::default(),
            ..*address
        });
        let (_, address) = self.address(&plain, Space::Global)?;
        let AddressBase::Src(handle @ (Src::Reg(Reg::W64(_)) | Src::Variable(..))) = address.base
        else {
            return Err("the handle is not 64 bits wide".to_owned());
        };
        if address.offset != 0 {
            return Err("a handle has no offset".to_owned());
        }
        Ok(Target {
            handle,
            coordinates,
        })
    }

    /// The first `count` elements as 32-bit values; PTX pads three to four.
    fn image_sources(&mut self, elements: &[Operand<'a>], count: usize) -> Result<Vec<Src>> {
        let padded = if count == 3 { 4 } else { count };
        if elements.len() != count && elements.len() != padded {
            return Err(format!(
                "a vector has {} elements instead of {count}",
                elements.len()
            ));
        }
        elements[..count]
            .iter()
            .map(|element| self.source(element, ScalarType::B32))
            .collect()
    }

    /// Destination registers: `{a, b}`, and `_` for those not wanted.
    fn image_results(
        &mut self,
        operand: &Operand<'a>,
        count: usize,
        ty: ScalarType,
    ) -> Result<Vec<Option<Reg>>> {
        if let Some(vector) = self.whole_vector(operand) {
            return Err(format!(
                "a vector register of {} elements is not supported as a whole",
                vector.len()
            ));
        }
        let elements = self.elements(operand);
        if elements.len() != count {
            return Err(format!(
                "it has {} results instead of {count}",
                elements.len()
            ));
        }
        let mut results = Vec::with_capacity(count);
        for element in elements {
            results.push(match element {
                Operand::Sink => None,
                _ => Some(self.destination_fit(&element, ty, Fit::Wider)?.0),
            });
        }
        Ok(results)
    }

    /// The results of a fetch, and the predicate after `|`.
    fn texel_results(
        &mut self,
        operand: &Operand<'a>,
        count: usize,
        ty: ScalarType,
    ) -> Result<(Vec<Option<Reg>>, Option<Pred>)> {
        let (results, resident) = self.pair(operand);
        let resident = match &resident {
            Some(operand) => self.predicate_destination(operand)?,
            None => None,
        };
        Ok((self.image_results(&results, count, ty)?, resident))
    }
}

/// The type of a fetch's results, and how many there are.
fn take_texel_type(inst: &mut Inst<'_, '_>) -> Result<(TexelType, usize, ScalarType)> {
    let count = take_count(inst);
    let ty = inst.take_type()?;
    let texel = match (ty, count) {
        (ScalarType::S32 | ScalarType::U32 | ScalarType::F32, 4) => TexelType::B32,
        (ScalarType::F16, 4) => TexelType::F16,
        (ScalarType::F16x2, 2) => TexelType::F16x2,
        _ => return Err("its result type is not supported".to_owned()),
    };
    Ok((texel, count, ty))
}

/// Offsets in texels, if there are any. A depth to compare with may come after them.
fn offsets<'a>(
    l: &mut Lowering<'_, '_, 'a>,
    rest: &[Operand<'a>],
    geometry: Geometry,
) -> Result<Option<Vec<Src>>> {
    match rest {
        [] => Ok(None),
        [operand @ Operand::Vector(_)] => {
            let elements = l.elements(operand);
            l.image_sources(&elements, geometry.offsets()).map(Some)
        }
        _ => Err("comparing with a depth is not supported".to_owned()),
    }
}

/// `tex{.level, .grad}.geom.v4.dtype.ctype d{|p}, [a, c]{, level | dPdx, dPdy}{, e}`
fn lower_sample<'m, 'a>(l: &mut Lowering<'_, 'm, 'a>, inst: &mut Inst<'m, 'a>) -> Result<()> {
    let level = inst
        .take_any(|name| match name {
            "base" => Some(LevelMode::Base),
            "level" => Some(LevelMode::Explicit),
            "grad" => Some(LevelMode::Gradient),
            _ => None,
        })
        .unwrap_or(LevelMode::Base);
    let geometry = take_geometry(inst)?;
    let (result, count, ty) = take_texel_type(inst)?;
    let is_integer = match inst.take_type()? {
        ScalarType::S32 => true,
        ScalarType::F32 => false,
        _ => return Err("its coordinates must be .s32 or .f32".to_owned()),
    };
    let of_level = match level {
        LevelMode::Base => 0,
        LevelMode::Explicit => 1,
        LevelMode::Gradient => 2,
    };
    let [d, target, rest @ ..] = inst.finish_between(2 + of_level, 4 + of_level)? else {
        return Err("it has too few operands".to_owned());
    };
    let target = l.image_target(target)?;
    let mut sources = l.image_sources(&target.coordinates, geometry.sources())?;
    let (detail, rest) = rest.split_at(of_level);
    for operand in detail {
        let elements = l.elements(operand);
        let count = match level {
            LevelMode::Gradient => usize::from(geometry.dimensions),
            _ => 1,
        };
        sources.extend(l.image_sources(&elements, count)?);
    }
    let offsets = offsets(l, rest, geometry)?;
    let has_offset = offsets.is_some();
    sources.extend(offsets.into_iter().flatten());
    let (dst, dst_pred) = l.texel_results(d, count, ty)?;
    l.emit(Op::Image {
        op: ImageOp::Sample {
            geometry,
            is_integer,
            level,
            has_offset,
            result,
        },
        handle: target.handle,
        dst,
        dst_pred,
        sources,
    });
    Ok(())
}

/// `tld4.comp.geom.v4.dtype.f32 d{|p}, [a, c]{, e}`
fn lower_gather<'m, 'a>(l: &mut Lowering<'_, 'm, 'a>, inst: &mut Inst<'m, 'a>) -> Result<()> {
    let channel = inst
        .take_any(|name| match name {
            "r" => Some(0),
            "g" => Some(1),
            "b" => Some(2),
            "a" => Some(3),
            _ => None,
        })
        .ok_or("it names no component")?;
    let geometry = take_geometry(inst)?;
    if geometry.dimensions == 1 || (geometry.dimensions == 3 && !geometry.is_cube) {
        return Err("its geometry has two dimensions".to_owned());
    }
    let (result, count, ty) = take_texel_type(inst)?;
    if inst.take_type()? != ScalarType::F32 {
        return Err("its coordinates must be .f32".to_owned());
    }
    let [d, target, rest @ ..] = inst.finish_between(2, 4)? else {
        return Err("it has too few operands".to_owned());
    };
    let target = l.image_target(target)?;
    let mut sources = l.image_sources(&target.coordinates, geometry.sources())?;
    let offsets = offsets(l, rest, geometry)?;
    let has_offset = offsets.is_some();
    sources.extend(offsets.into_iter().flatten());
    let (dst, dst_pred) = l.texel_results(d, count, ty)?;
    l.emit(Op::Image {
        op: ImageOp::Gather {
            geometry,
            channel,
            has_offset,
            result,
        },
        handle: target.handle,
        dst,
        dst_pred,
        sources,
    });
    Ok(())
}

fn query(name: &str) -> Option<ImageQuery> {
    use ImageQuery as Q;
    Some(match name {
        "width" => Q::Width,
        "height" => Q::Height,
        "depth" => Q::Depth,
        "channel_data_type" => Q::ChannelDataType,
        "channel_order" => Q::ChannelOrder,
        "normalized_coords" => Q::NormalizedCoordinates,
        "force_unnormalized_coords" => Q::ForceUnnormalizedCoordinates,
        "filter_mode" => Q::FilterMode,
        "addr_mode_0" => Q::AddressMode(0),
        "addr_mode_1" => Q::AddressMode(1),
        "addr_mode_2" => Q::AddressMode(2),
        "array_size" => Q::ArraySize,
        "num_mipmap_levels" => Q::MipmapLevels,
        "num_samples" => Q::Samples,
        "memory_layout" => Q::MemoryLayout,
        _ => return None,
    })
}

/// `txq{.level}.query.b32 d, [a]{, level}` and `suq.query.b32 d, [a]`
fn lower_query<'m, 'a>(l: &mut Lowering<'_, 'm, 'a>, inst: &mut Inst<'m, 'a>) -> Result<()> {
    let has_level = inst.opcode == "txq" && inst.take("level");
    let query = inst.take_any(query).ok_or("it asks for nothing known")?;
    if inst.take_type()? != ScalarType::B32 {
        return Err("its type must be .b32".to_owned());
    }
    let count = if has_level { 3 } else { 2 };
    let [d, target, level @ ..] = inst.finish_between(count, count)? else {
        return Err("it has too few operands".to_owned());
    };
    let target = l.image_target(target)?;
    if !target.coordinates.is_empty() {
        return Err("a query takes no coordinates".to_owned());
    }
    let sources = l.image_sources(level, level.len())?;
    let dst = l.image_results(d, 1, ScalarType::B32)?;
    l.emit(Op::Image {
        op: ImageOp::Query { query, has_level },
        handle: target.handle,
        dst,
        dst_pred: None,
        sources,
    });
    Ok(())
}

/// `suld.b{.cop}.geom{.vec}.dtype.clamp d, [a, b]`
fn lower_load<'m, 'a>(l: &mut Lowering<'_, 'm, 'a>, inst: &mut Inst<'m, 'a>) -> Result<()> {
    if !inst.take("b") {
        return Err("only its .b form is supported".to_owned());
    }
    inst.take_all(|name| matches!(name, "ca" | "cg" | "cs" | "cv"));
    let geometry = take_geometry(inst)?;
    let count = take_count(inst);
    let ty = take_bytes(inst)?;
    let bounds = take_bounds(inst)?;
    let [d, target] = inst.finish()?;
    let target = l.image_target(target)?;
    let sources = l.image_sources(&target.coordinates, geometry.sources())?;
    let dst = l.image_results(d, count, ty)?;
    l.emit(Op::Image {
        op: ImageOp::LoadSurface {
            geometry,
            bytes: ty.size_bytes() as u8,
            count: count as u8,
            bounds,
        },
        handle: target.handle,
        dst,
        dst_pred: None,
        sources,
    });
    Ok(())
}

/// `sust.{b, p}{.cop}.geom{.vec}.ctype.clamp [a, b], c`
fn lower_store<'m, 'a>(l: &mut Lowering<'_, 'm, 'a>, inst: &mut Inst<'m, 'a>) -> Result<()> {
    let is_texel = inst.take("p");
    if !is_texel && !inst.take("b") {
        return Err("it has neither .b nor .p".to_owned());
    }
    inst.take_all(|name| matches!(name, "wb" | "cg" | "cs" | "wt"));
    let geometry = take_geometry(inst)?;
    let count = take_count(inst);
    let ty = take_bytes(inst)?;
    if is_texel && ty != ScalarType::B32 {
        return Err("its .p form is supported for .b32 only".to_owned());
    }
    let bounds = take_bounds(inst)?;
    let [target, c] = inst.finish()?;
    let target = l.image_target(target)?;
    let mut sources = l.image_sources(&target.coordinates, geometry.sources())?;
    let values = l.elements(c);
    if values.len() != count {
        return Err(format!(
            "it stores {} values instead of {count}",
            values.len()
        ));
    }
    for value in values {
        sources.push(l.source_fit(&value, ty, Fit::Wider)?);
    }
    let (bytes, count) = (ty.size_bytes() as u8, count as u8);
    let op = match is_texel {
        true => ImageOp::StoreTexel {
            geometry,
            count,
            bounds,
        },
        false => ImageOp::StoreSurface {
            geometry,
            bytes,
            count,
            bounds,
        },
    };
    l.emit(Op::Image {
        op,
        handle: target.handle,
        dst: Vec::new(),
        dst_pred: None,
        sources,
    });
    Ok(())
}

/// `sured.{b, p}.op.geom.ctype.clamp [a, b], c`
fn lower_reduce<'m, 'a>(l: &mut Lowering<'_, 'm, 'a>, inst: &mut Inst<'m, 'a>) -> Result<()> {
    let is_texel = inst.take("p");
    if !is_texel && !inst.take("b") {
        return Err("it has neither .b nor .p".to_owned());
    }
    let op = inst
        .take_any(|name| match name {
            "add" => Some(AtomicOp::Add),
            "min" => Some(AtomicOp::Min),
            "max" => Some(AtomicOp::Max),
            "and" => Some(AtomicOp::And),
            "or" => Some(AtomicOp::Or),
            _ => None,
        })
        .ok_or("it names no operation")?;
    let geometry = take_geometry(inst)?;
    let scalar = inst.take_type()?;
    let ty = match scalar {
        ScalarType::U32 | ScalarType::B32 => AtomicType::U32,
        ScalarType::S32 => AtomicType::S32,
        ScalarType::U64 | ScalarType::B64 => AtomicType::U64,
        ScalarType::S64 => AtomicType::S64,
        _ => return Err("its type is not supported".to_owned()),
    };
    let bounds = take_bounds(inst)?;
    let [target, c] = inst.finish()?;
    let target = l.image_target(target)?;
    let mut sources = l.image_sources(&target.coordinates, geometry.sources())?;
    sources.push(l.source(c, scalar)?);
    l.emit(Op::Image {
        op: ImageOp::ReduceSurface {
            geometry,
            op,
            ty,
            is_texel,
            bounds,
        },
        handle: target.handle,
        dst: Vec::new(),
        dst_pred: None,
        sources,
    });
    Ok(())
}

/// `istypep.type p, a`
fn lower_is_type<'m, 'a>(l: &mut Lowering<'_, 'm, 'a>, inst: &mut Inst<'m, 'a>) -> Result<()> {
    let ty = match inst.take_type()? {
        ScalarType::Texref => OpaqueType::Texture,
        ScalarType::Samplerref => OpaqueType::Sampler,
        ScalarType::Surfref => OpaqueType::Surface,
        _ => return Err("its type must be opaque".to_owned()),
    };
    let [p, a] = inst.finish()?;
    let handle = l.source(a, ScalarType::U64)?;
    let dst_pred = Some(l.predicate_result(p)?);
    l.emit(Op::Image {
        op: ImageOp::IsType(ty),
        handle,
        dst: Vec::new(),
        dst_pred,
        sources: Vec::new(),
    });
    Ok(())
}
