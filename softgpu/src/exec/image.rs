// SPDX-License-Identifier: Apache-2.0
//! Texture and surface instructions, one lane after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};

use super::access::Element;
use super::code::{Code, More};
use super::fault::Access;
use super::half::{F16, Half};
use super::lanes::{Lanes, Step, WARP};
use super::state::{BlockState, RawFault};
use super::{atomic, scalar};
use crate::ir::{
    AtomicOp, AtomicType, Geometry, ImageOp, ImageQuery, LevelMode, OpaqueType, Space,
    SurfaceBounds, TexelType,
};
use crate::texture::registry::{self, Object};
use crate::texture::{
    AddressMode, Bounds, Channel, Coordinates, Detail, Fetch, Image, Kind, OutOfBounds, Surface,
    Texel, Texture,
};

/// Most sources of an instruction: `tex.grad.acube` with offsets.
const SOURCES_MAX: usize = 12;

/// A decoded instruction.
#[derive(Debug)]
pub(crate) struct ImageCode {
    pub(crate) op: ImageOp,
    pub(crate) handle: Element,
    pub(crate) sources: Vec<Element>,
    pub(crate) dst: Vec<Option<Element>>,
    pub(crate) dst_predicate: Option<u32>,
}

/// The values of one lane.
struct Lane {
    sources: [u64; SOURCES_MAX],
    results: [u64; 4],
    predicate: bool,
}

/// Why a lane cannot go on.
enum Stop {
    /// The handle is not what the instruction takes.
    Handle,
    Outside(OutOfBounds, Access),
    Misaligned(u64, u32, Access),
}

impl ImageCode {
    /// Whether it has as many operands as its operation.
    pub(crate) fn is_complete(&self) -> bool {
        let (sources, results) = match self.op {
            ImageOp::Sample {
                geometry,
                level,
                has_offset,
                result,
                ..
            } => {
                let of_level = match level {
                    LevelMode::Base => 0,
                    LevelMode::Explicit => 1,
                    LevelMode::Gradient => 2 * usize::from(geometry.dimensions),
                };
                let offsets = if has_offset { geometry.offsets() } else { 0 };
                (geometry.sources() + of_level + offsets, registers(result))
            }
            ImageOp::Gather {
                geometry,
                has_offset,
                result,
                ..
            } => {
                let offsets = if has_offset { geometry.offsets() } else { 0 };
                (geometry.sources() + offsets, registers(result))
            }
            ImageOp::Query { has_level, .. } => (usize::from(has_level), 1),
            ImageOp::LoadSurface {
                geometry, count, ..
            } => (geometry.sources(), count.into()),
            ImageOp::StoreSurface {
                geometry, count, ..
            }
            | ImageOp::StoreTexel {
                geometry, count, ..
            } => (geometry.sources() + usize::from(count), 0),
            ImageOp::ReduceSurface { geometry, .. } => (geometry.sources() + 1, 0),
            ImageOp::IsType(_) => (0, 0),
        };
        sources == self.sources.len() && results == self.dst.len() && sources <= SOURCES_MAX
    }

    /// Whether a source is 64 bits wide.
    pub(crate) fn is_wide(op: ImageOp, source: usize) -> bool {
        match op {
            ImageOp::StoreSurface {
                geometry, bytes, ..
            } => bytes == 8 && source >= geometry.sources(),
            ImageOp::ReduceSurface { geometry, ty, .. } => {
                ty.bytes() == 8 && source >= geometry.sources()
            }
            _ => false,
        }
    }
}

fn registers(result: TexelType) -> usize {
    match result {
        TexelType::B32 | TexelType::F16 => 4,
        TexelType::F16x2 => 2,
    }
}

/// Executes a texture or surface instruction.
///
/// # Safety
/// `code` was decoded for the running function.
pub(crate) unsafe fn run_image(lanes: &mut Lanes, code: &Code) -> Step {
    let More::Image(image) = &code.more else {
        return Step::Fault;
    };
    // SAFETY: the interpreter owns the block and holds no other reference while code runs.
    let block = unsafe { &mut *lanes.block };
    note(block, image.op);
    let mut last: Option<(u64, Option<Object>)> = None;
    for warp in 0..lanes.warps {
        // SAFETY: one word a warp; operands of the running function.
        unsafe {
            let mask = *lanes.active.add(warp);
            if mask == 0 {
                continue;
            }
            let handles = scalar::read(lanes, image.handle, warp);
            let mut inputs = [[0; WARP]; SOURCES_MAX];
            for (input, source) in inputs.iter_mut().zip(&image.sources) {
                *input = scalar::read(lanes, *source, warp);
            }
            let mut outputs = [[0; WARP]; 4];
            let mut predicates = 0;
            for index in (0..WARP).filter(|lane| mask >> lane & 1 != 0) {
                let mut lane = Lane {
                    sources: inputs.map(|input| input[index]),
                    results: [0; 4],
                    predicate: true,
                };
                let handle = handles[index];
                if last.as_ref().is_none_or(|(known, _)| *known != handle) {
                    last = Some((handle, registry::find(handle)));
                }
                let object = last.as_ref().and_then(|(_, object)| object.as_ref());
                if let Err(stop) = run_lane(image.op, object, &mut lane) {
                    let at = (warp * WARP + index) as u32;
                    block.fault = Some(fault(stop, handle, at));
                    return Step::Fault;
                }
                for (output, result) in outputs.iter_mut().zip(lane.results) {
                    output[index] = result;
                }
                predicates |= u32::from(lane.predicate) << index;
            }
            for (dst, output) in image.dst.iter().zip(&outputs) {
                if let Some(dst) = dst {
                    atomic::put(lanes, *dst, warp, mask, output);
                }
            }
            if let Some(dst) = image.dst_predicate {
                let word = lanes.predicate(dst).add(warp);
                *word = (*word & !mask) | (predicates & mask);
            }
        }
    }
    Step::Next
}

fn note(block: &mut BlockState, op: ImageOp) {
    match op {
        ImageOp::StoreSurface { .. }
        | ImageOp::StoreTexel { .. }
        | ImageOp::ReduceSurface { .. } => block.note_store(),
        ImageOp::LoadSurface { .. } | ImageOp::Sample { .. } | ImageOp::Gather { .. } => {
            block.note_load(false);
        }
        ImageOp::Query { .. } | ImageOp::IsType(_) => {}
    }
}

fn fault(stop: Stop, handle: u64, lane: u32) -> RawFault {
    match stop {
        Stop::Handle => RawFault::illegal(handle, 8, Access::Read, Space::Global, lane),
        Stop::Outside(OutOfBounds { address, bytes }, access) => {
            RawFault::illegal(address, bytes, access, Space::Global, lane)
        }
        Stop::Misaligned(address, bytes, access) => {
            RawFault::misaligned(address, bytes, access, lane)
        }
    }
}

fn run_lane(op: ImageOp, object: Option<&Object>, lane: &mut Lane) -> Result<(), Stop> {
    match op {
        ImageOp::Sample { .. } | ImageOp::Gather { .. } => {
            let (texel, result) = fetch(op, texture(object)?, &lane.sources)?;
            lane.results = converted(texel, result);
        }
        ImageOp::Query { query, has_level } => {
            let level = if has_level { lane.sources[0] as u32 } else { 0 };
            lane.results[0] = answer(object, query, level)?.into();
        }
        ImageOp::LoadSurface { .. } => load(op, surface(object)?, lane)?,
        ImageOp::StoreSurface { .. } | ImageOp::StoreTexel { .. } => {
            store(op, surface(object)?, &lane.sources)?;
        }
        ImageOp::ReduceSurface { .. } => reduce(op, surface(object)?, &lane.sources)?,
        ImageOp::IsType(ty) => {
            lane.predicate = matches!(
                (ty, object),
                (OpaqueType::Texture, Some(Object::Texture(_)))
                    | (OpaqueType::Surface, Some(Object::Surface(_)))
            );
        }
    }
    Ok(())
}

fn texture(object: Option<&Object>) -> Result<&Arc<Texture>, Stop> {
    match object {
        Some(Object::Texture(texture)) => Ok(texture),
        _ => Err(Stop::Handle),
    }
}

fn surface(object: Option<&Object>) -> Result<&Arc<Surface>, Stop> {
    match object {
        Some(Object::Surface(surface)) => Ok(surface),
        _ => Err(Stop::Handle),
    }
}

/// The registers of a texel.
fn converted(texel: Texel, result: TexelType) -> [u64; 4] {
    let half = |channel: usize| u64::from(F16::narrow(f32::from_bits(texel[channel])));
    match result {
        TexelType::B32 => texel.map(u64::from),
        TexelType::F16 => std::array::from_fn(half),
        TexelType::F16x2 => [half(0) | half(1) << 16, half(2) | half(3) << 16, 0, 0],
    }
}

/// The sources of an instruction, taken one after the other.
struct Sources<'a> {
    values: &'a [u64; SOURCES_MAX],
    next: usize,
}

impl Sources<'_> {
    fn take(&mut self) -> u32 {
        let value = self.values[self.next] as u32;
        self.next += 1;
        value
    }

    fn take_float(&mut self) -> f32 {
        f32::from_bits(self.take())
    }

    fn take_vector<T: Default + Copy>(
        &mut self,
        count: usize,
        mut take: impl FnMut(&mut Self) -> T,
    ) -> [T; 3] {
        let mut vector = [T::default(); 3];
        for component in &mut vector[..count] {
            *component = take(self);
        }
        vector
    }
}

fn fetch(
    op: ImageOp,
    texture: &Texture,
    values: &[u64; SOURCES_MAX],
) -> Result<(Texel, TexelType), Stop> {
    let (geometry, is_integer, level, has_offset, result) = match op {
        ImageOp::Sample {
            geometry,
            is_integer,
            level,
            has_offset,
            result,
        } => (geometry, is_integer, level, has_offset, result),
        ImageOp::Gather {
            geometry,
            has_offset,
            result,
            ..
        } => (geometry, false, LevelMode::Base, has_offset, result),
        _ => return Err(Stop::Handle),
    };
    // A cubemap has six layers; nothing else can be read by a direction, nor it by a position.
    if geometry.is_cube != matches!(texture.image.kind, Kind::Cube { .. }) {
        return Err(Stop::Handle);
    }
    let dimensions = usize::from(geometry.dimensions);
    let mut sources = Sources { values, next: 0 };
    let layer = if geometry.is_layered {
        sources.take()
    } else {
        0
    };
    let coordinates = match is_integer {
        true => Coordinates::Index(
            sources.take_vector(dimensions, |sources| sources.take().cast_signed()),
        ),
        false => Coordinates::Position(sources.take_vector(dimensions, Sources::take_float)),
    };
    let detail = match level {
        LevelMode::Base => Detail::Base,
        LevelMode::Explicit if is_integer => Detail::Level(sources.take() as f32),
        LevelMode::Explicit => Detail::Level(sources.take_float()),
        LevelMode::Gradient => Detail::Gradient(
            [(), ()].map(|()| sources.take_vector(dimensions, Sources::take_float)),
        ),
    };
    let offset = match has_offset {
        true => sources.take_vector(geometry.offsets(), |sources| sources.take().cast_signed()),
        false => [0; 3],
    };
    let fetch = Fetch {
        layer,
        coordinates,
        detail,
        offset,
    };
    let texel = match op {
        ImageOp::Gather { channel, .. } => texture.gather(&fetch, channel.into()),
        _ => texture.fetch(&fetch),
    };
    let texel = texel.map_err(|outside| Stop::Outside(outside, Access::Read))?;
    Ok((texel, result))
}

fn bounds(bounds: SurfaceBounds) -> Bounds {
    match bounds {
        SurfaceBounds::Trap => Bounds::Trap,
        SurfaceBounds::Clamp => Bounds::Clamp,
        SurfaceBounds::Zero => Bounds::Zero,
    }
}

/// Column, row and slice; and the index of the first source after them.
fn surface_place(
    geometry: Geometry,
    surface: &Surface,
    values: &[u64; SOURCES_MAX],
) -> Result<([i32; 3], usize), Stop> {
    if geometry.is_cube || geometry.is_layered != surface.is_layered() {
        return Err(Stop::Handle);
    }
    let mut sources = Sources { values, next: 0 };
    let layer = geometry.is_layered.then(|| sources.take().cast_signed());
    let dimensions = geometry.dimensions.into();
    let mut place = sources.take_vector(dimensions, |sources| sources.take().cast_signed());
    if let Some(layer) = layer {
        place[2] = layer;
    }
    Ok((place, sources.next))
}

/// The memory of an access, aligned to its length.
fn surface_memory(
    surface: &Surface,
    place: [i32; 3],
    bytes: u32,
    outside: SurfaceBounds,
    access: Access,
) -> Result<Option<*mut u8>, Stop> {
    if place[0].rem_euclid(bytes as i32) != 0 {
        let address = i64::from(place[0]).cast_unsigned();
        return Err(Stop::Misaligned(address, bytes, access));
    }
    surface
        .place(place, bytes, bounds(outside))
        .map_err(|outside| Stop::Outside(outside, access))
}

fn load(op: ImageOp, surface: &Surface, lane: &mut Lane) -> Result<(), Stop> {
    let ImageOp::LoadSurface {
        geometry,
        bytes,
        count,
        bounds,
    } = op
    else {
        return Err(Stop::Handle);
    };
    let (place, _) = surface_place(geometry, surface, &lane.sources)?;
    let whole = u32::from(bytes) * u32::from(count);
    let Some(from) = surface_memory(surface, place, whole, bounds, Access::Read)? else {
        return Ok(());
    };
    for (index, result) in lane.results.iter_mut().enumerate().take(count.into()) {
        let mut value = [0; 8];
        // SAFETY: `surface_memory` checked all elements.
        unsafe {
            let element = from.add(index * usize::from(bytes));
            std::ptr::copy_nonoverlapping(element, value.as_mut_ptr(), bytes.into());
        }
        *result = u64::from_le_bytes(value);
    }
    Ok(())
}

fn store(op: ImageOp, surface: &Surface, values: &[u64; SOURCES_MAX]) -> Result<(), Stop> {
    let (ImageOp::StoreSurface {
        geometry, bounds, ..
    }
    | ImageOp::StoreTexel {
        geometry, bounds, ..
    }) = op
    else {
        return Err(Stop::Handle);
    };
    let (mut place, first) = surface_place(geometry, surface, values)?;
    let mut packed = [0; 32];
    let length = match op {
        ImageOp::StoreSurface { bytes, count, .. } => {
            let (bytes, count) = (usize::from(bytes), usize::from(count));
            for (index, value) in values[first..].iter().enumerate().take(count) {
                packed[index * bytes..][..bytes].copy_from_slice(&value.to_le_bytes()[..bytes]);
            }
            bytes * count
        }
        ImageOp::StoreTexel { count, .. } => {
            let format = surface.image.format;
            let mut texel = [0; 4];
            let given = texel.iter_mut().take(count.into());
            for (channel, value) in given.zip(&values[first..]) {
                *channel = *value as u32;
            }
            let bytes = format.bytes() as usize;
            packed[..bytes].copy_from_slice(&format.encode(texel)[..bytes]);
            place[0] = place[0].saturating_mul(bytes as i32);
            bytes
        }
        _ => return Err(Stop::Handle),
    };
    let to = surface_memory(surface, place, length as u32, bounds, Access::Write)?;
    if let Some(to) = to {
        // SAFETY: `surface_memory` checked so many bytes.
        unsafe { std::ptr::copy_nonoverlapping(packed.as_ptr(), to, length) };
    }
    Ok(())
}

fn reduce(op: ImageOp, surface: &Surface, values: &[u64; SOURCES_MAX]) -> Result<(), Stop> {
    let ImageOp::ReduceSurface {
        geometry,
        op,
        mut ty,
        is_texel,
        bounds,
    } = op
    else {
        return Err(Stop::Handle);
    };
    // The bits of `.p` are what the texels are.
    if is_texel && surface.image.format.channel == Channel::S32 {
        ty = match ty {
            AtomicType::U64 => AtomicType::S64,
            _ => AtomicType::S32,
        };
    }
    let (mut place, first) = surface_place(geometry, surface, values)?;
    if is_texel {
        place[0] = place[0].saturating_mul(surface.image.format.bytes() as i32);
    }
    let operand = values[first];
    let to = surface_memory(surface, place, ty.bytes(), bounds, Access::Atomic)?;
    let Some(to) = to else { return Ok(()) };
    // SAFETY: `surface_memory` checked and aligned so many bytes; levels begin at aligned
    // addresses, and rows of other lengths are refused here.
    unsafe {
        if !to.addr().is_multiple_of(ty.bytes() as usize) {
            return Err(Stop::Misaligned(
                to.addr() as u64,
                ty.bytes(),
                Access::Atomic,
            ));
        }
        if ty.bytes() == 8 {
            let change = |old| Some(reduced(op, ty, old, operand));
            let _ = AtomicU64::from_ptr(to.cast()).fetch_update(SeqCst, SeqCst, change);
        } else {
            let change = |old: u32| Some(reduced(op, ty, old.into(), operand) as u32);
            let _ = AtomicU32::from_ptr(to.cast()).fetch_update(SeqCst, SeqCst, change);
        }
    }
    Ok(())
}

fn reduced(op: AtomicOp, ty: AtomicType, old: u64, operand: u64) -> u64 {
    let is_less = match ty {
        AtomicType::S32 => (old as i32) < operand as i32,
        AtomicType::S64 => old.cast_signed() < operand.cast_signed(),
        AtomicType::U64 => old < operand,
        _ => (old as u32) < operand as u32,
    };
    match op {
        AtomicOp::Add => old.wrapping_add(operand),
        AtomicOp::Min if is_less => old,
        AtomicOp::Max if !is_less => old,
        AtomicOp::And => old & operand,
        AtomicOp::Or => old | operand,
        _ => operand,
    }
}

fn answer(object: Option<&Object>, query: ImageQuery, level: u32) -> Result<u32, Stop> {
    let image = match object {
        Some(Object::Texture(texture)) => {
            if let Some(answer) = sampler_answer(texture, query) {
                return Ok(answer);
            }
            &texture.image
        }
        Some(Object::Surface(surface)) => &surface.image,
        None => return Err(Stop::Handle),
    };
    let last = image.levels.len() - 1;
    let extent = image.levels[(level as usize).min(last)].extent;
    let dimensions = match image.kind {
        Kind::Grid { dimensions, .. } => dimensions,
        Kind::Cube { .. } => 2,
    };
    let length = |axis: usize| match (axis as u32) < dimensions {
        true => extent[axis],
        false => 0,
    };
    Ok(match query {
        ImageQuery::Width => length(0),
        ImageQuery::Height => length(1),
        ImageQuery::Depth => length(2),
        ImageQuery::ChannelDataType => channel_data_type(image),
        ImageQuery::ChannelOrder => match image.format.channels {
            1 => 0x10b0,
            2 => 0x10b2,
            _ => 0x10b5,
        },
        ImageQuery::ArraySize => match image.kind {
            Kind::Grid { is_layered, .. } => u32::from(is_layered) * image.layers,
            Kind::Cube { is_layered } => u32::from(is_layered) * image.layers / 6,
        },
        ImageQuery::MipmapLevels => image.levels.len() as u32,
        ImageQuery::Samples => 1,
        ImageQuery::MemoryLayout => u32::from(image.is_of_memory()),
        ImageQuery::NormalizedCoordinates
        | ImageQuery::ForceUnnormalizedCoordinates
        | ImageQuery::FilterMode
        | ImageQuery::AddressMode(_) => return Err(Stop::Handle),
    })
}

/// What a texture says about its sampler, in the numbers of PTX's `.samplerref` fields.
fn sampler_answer(texture: &Texture, query: ImageQuery) -> Option<u32> {
    let sampler = &texture.sampler;
    Some(match query {
        ImageQuery::NormalizedCoordinates => sampler.is_normalized.into(),
        ImageQuery::ForceUnnormalizedCoordinates => 0,
        ImageQuery::FilterMode => sampler.is_linear.into(),
        ImageQuery::AddressMode(axis) => match sampler.address.get(usize::from(axis))? {
            AddressMode::Wrap => 0,
            AddressMode::Mirror => 1,
            AddressMode::Clamp => 3,
            AddressMode::Border => 4,
        },
        _ => return None,
    })
}

/// OpenCL's numbers, the only ones that PTX defines (PTX ISA "Channel Data Type and Channel Order
/// Fields").
fn channel_data_type(image: &Image) -> u32 {
    match image.format.channel {
        Channel::Snorm8 => 0x10d0,
        Channel::Snorm16 => 0x10d1,
        Channel::Unorm8 => 0x10d2,
        Channel::Unorm16 => 0x10d3,
        Channel::S8 => 0x10d7,
        Channel::S16 => 0x10d8,
        Channel::S32 => 0x10d9,
        Channel::U8 => 0x10da,
        Channel::U16 => 0x10db,
        Channel::U32 => 0x10dc,
        Channel::F16 => 0x10dd,
        Channel::F32 => 0x10de,
    }
}
