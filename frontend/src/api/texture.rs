// SPDX-License-Identifier: Apache-2.0
//! Texture and surface objects, and what is special about references.

use core::ffi::c_char;

use gvirtus_abi::{
    CUDA_ARRAY_DESCRIPTOR, CUDA_RESOURCE_DESC, CUDA_RESOURCE_VIEW_DESC, CUDA_TEXTURE_DESC,
    CUdeviceptr, CUmodule, CUresourcetype, CUresult, CUsurfObject, CUsurfref, CUtexObject,
    CUtexref,
};
use gvirtus_protocol::command::{
    GetGlobal, ReferenceAddress, ReferenceBorder, ReferencePlane, Resource, ResourceView, Sampler,
    TextureCreate, Word,
};
use gvirtus_protocol::opcode::{self, Opcode};
use zerocopy::IntoBytes as _;
use zerocopy::little_endian::{F32, U32, U64};

use super::{INVALID_VALUE, Status, put, put_optional, required, text};
use crate::array::{Surface, Texture};
use crate::handle::Kind;
use crate::image::ImageKind;
use crate::process::session;

/// Textures begin at multiples of so many bytes.
const TEXTURE_ALIGNMENT_BYTES: u64 = 512;

/// A resource descriptor, as it travels.
fn resource(resource: &CUDA_RESOURCE_DESC) -> Result<Resource, CUresult> {
    let mut body = Resource {
        kind: U32::new(resource.resType.0),
        flags: U32::new(resource.flags),
        ..Resource::default()
    };
    // SAFETY: the type says which field it is; all of them are plain numbers.
    unsafe {
        match resource.resType {
            CUresourcetype::CU_RESOURCE_TYPE_ARRAY => {
                body.handle = U64::new(resource.res.array.hArray.0);
            }
            CUresourcetype::CU_RESOURCE_TYPE_MIPMAPPED_ARRAY => {
                body.handle = U64::new(resource.res.mipmap.hMipmappedArray.0);
            }
            CUresourcetype::CU_RESOURCE_TYPE_LINEAR => {
                let linear = resource.res.linear;
                body.handle = U64::new(linear.devPtr.0);
                body.format = U32::new(linear.format.0);
                body.channels = U32::new(linear.numChannels);
                body.width = U64::new(linear.sizeInBytes as u64);
            }
            CUresourcetype::CU_RESOURCE_TYPE_PITCH2D => {
                let plane = resource.res.pitch2D;
                body.handle = U64::new(plane.devPtr.0);
                body.format = U32::new(plane.format.0);
                body.channels = U32::new(plane.numChannels);
                body.width = U64::new(plane.width as u64);
                body.height = U64::new(plane.height as u64);
                body.pitch_bytes = U64::new(plane.pitchInBytes as u64);
            }
            _ => return Err(INVALID_VALUE),
        }
    }
    Ok(body)
}

fn sampler(texture: &CUDA_TEXTURE_DESC) -> Sampler {
    Sampler {
        address_modes: texture.addressMode.map(|mode| U32::new(mode.0)),
        filter_mode: U32::new(texture.filterMode.0),
        flags: U32::new(texture.flags),
        max_anisotropy: U32::new(texture.maxAnisotropy),
        mipmap_filter_mode: U32::new(texture.mipmapFilterMode.0),
        mipmap_level_bias: F32::new(texture.mipmapLevelBias),
        min_mipmap_level_clamp: F32::new(texture.minMipmapLevelClamp),
        max_mipmap_level_clamp: F32::new(texture.maxMipmapLevelClamp),
        border_color: texture.borderColor.map(F32::new),
    }
}

fn resource_view(view: &CUDA_RESOURCE_VIEW_DESC) -> ResourceView {
    ResourceView {
        format: U32::new(view.format.0),
        width: U64::new(view.width as u64),
        height: U64::new(view.height as u64),
        depth: U64::new(view.depth as u64),
        levels: [view.firstMipmapLevel, view.lastMipmapLevel].map(U32::new),
        layers: [view.firstLayer, view.lastLayer].map(U32::new),
    }
}

/// `cuTexObjectCreate`.
pub unsafe fn cuTexObjectCreate(
    pTexObject: *mut CUtexObject,
    pResDesc: *const CUDA_RESOURCE_DESC,
    pTexDesc: *const CUDA_TEXTURE_DESC,
    pResViewDesc: *const CUDA_RESOURCE_VIEW_DESC,
) -> Status {
    let session = session()?;
    let context = session.current()?.number;
    let pTexObject = required(pTexObject)?;
    let (described, how) = (
        required(pResDesc.cast_mut())?,
        required(pTexDesc.cast_mut())?,
    );
    // SAFETY: not null, and then valid for reading by the caller's promise.
    let (described, how) = unsafe { (described.read(), how.read()) };
    let view = (!pResViewDesc.is_null()).then(|| {
        // SAFETY: as above.
        unsafe { pResViewDesc.read() }
    });
    let body = TextureCreate {
        resource: resource(&described)?,
        sampler: sampler(&how),
        has_view: U32::new(view.is_some().into()),
        view: view.as_ref().map(resource_view).unwrap_or_default(),
    };
    let reply = session.call_or_deferred(opcode::cuTexObjectCreate, context, body.as_bytes())?;
    let handle = reply.promised_word(0)?;
    let texture = Texture {
        context,
        resource: described,
        texture: how,
        view,
    };
    session.arrays.insert_texture(handle, texture);
    // SAFETY: the caller's promise.
    unsafe { put(pTexObject, handle) }
}

/// `cuTexObjectDestroy`: posted.
pub unsafe fn cuTexObjectDestroy(texObject: CUtexObject) -> Status {
    let session = session()?;
    session.wire.faults().check()?;
    let texture = session.arrays.remove_texture(texObject);
    let context = texture.map_err(|_| INVALID_VALUE)?.context;
    session.post_word(opcode::cuTexObjectDestroy, context, texObject)?;
    session.wire.faults().take_deferred()
}

/// `cuTexObjectGetResourceDesc`.
pub unsafe fn cuTexObjectGetResourceDesc(
    pResDesc: *mut CUDA_RESOURCE_DESC,
    texObject: CUtexObject,
) -> Status {
    let texture = session()?.arrays.texture(texObject);
    // SAFETY: the caller's promise.
    unsafe { put(pResDesc, texture.map_err(|_| INVALID_VALUE)?.resource) }
}

/// `cuTexObjectGetTextureDesc`.
pub unsafe fn cuTexObjectGetTextureDesc(
    pTexDesc: *mut CUDA_TEXTURE_DESC,
    texObject: CUtexObject,
) -> Status {
    let texture = session()?.arrays.texture(texObject);
    // SAFETY: the caller's promise.
    unsafe { put(pTexDesc, texture.map_err(|_| INVALID_VALUE)?.texture) }
}

/// `cuTexObjectGetResourceViewDesc`.
pub unsafe fn cuTexObjectGetResourceViewDesc(
    pResViewDesc: *mut CUDA_RESOURCE_VIEW_DESC,
    texObject: CUtexObject,
) -> Status {
    let texture = session()?.arrays.texture(texObject);
    let view = texture.map_err(|_| INVALID_VALUE)?.view;
    // SAFETY: the caller's promise.
    unsafe { put(pResViewDesc, view.ok_or(INVALID_VALUE)?) }
}

/// `cuSurfObjectCreate`.
pub unsafe fn cuSurfObjectCreate(
    pSurfObject: *mut CUsurfObject,
    pResDesc: *const CUDA_RESOURCE_DESC,
) -> Status {
    let session = session()?;
    let context = session.current()?.number;
    let (pSurfObject, described) = (required(pSurfObject)?, required(pResDesc.cast_mut())?);
    // SAFETY: not null, and then valid for reading by the caller's promise.
    let described = unsafe { described.read() };
    let body = resource(&described)?;
    let reply = session.call_or_deferred(opcode::cuSurfObjectCreate, context, body.as_bytes())?;
    let handle = reply.promised_word(0)?;
    let surface = Surface {
        context,
        resource: described,
    };
    session.arrays.insert_surface(handle, surface);
    // SAFETY: the caller's promise.
    unsafe { put(pSurfObject, handle) }
}

/// `cuSurfObjectDestroy`: posted.
pub unsafe fn cuSurfObjectDestroy(surfObject: CUsurfObject) -> Status {
    let session = session()?;
    session.wire.faults().check()?;
    let surface = session.arrays.remove_surface(surfObject);
    let context = surface.map_err(|_| INVALID_VALUE)?.context;
    session.post_word(opcode::cuSurfObjectDestroy, context, surfObject)?;
    session.wire.faults().take_deferred()
}

/// `cuSurfObjectGetResourceDesc`.
pub unsafe fn cuSurfObjectGetResourceDesc(
    pResDesc: *mut CUDA_RESOURCE_DESC,
    surfObject: CUsurfObject,
) -> Status {
    let surface = session()?.arrays.surface(surfObject);
    // SAFETY: the caller's promise.
    unsafe { put(pResDesc, surface.map_err(|_| INVALID_VALUE)?.resource) }
}

/// # Safety
///
/// `name` is null or a C string.
unsafe fn reference(
    opcode: Opcode,
    module: CUmodule,
    name: *const c_char,
) -> Result<u64, CUresult> {
    let session = session()?;
    let (key, image) = session.image(module.0, Kind::Module)?;
    let context = match image.kind {
        ImageKind::Library => session.current()?.number,
        ImageKind::Module(number) => number,
    };
    // SAFETY: the caller's promise.
    let name = unsafe { text(name)? };
    let get = GetGlobal {
        image: U32::new(key.number()),
    };
    let body = [get.as_bytes(), name.to_bytes()].concat();
    session
        .call_or_deferred(opcode, context, &body)?
        .promised_word(0)
}

/// `cuModuleGetTexRef`.
pub unsafe fn cuModuleGetTexRef(
    pTexRef: *mut CUtexref,
    hmod: CUmodule,
    name: *const c_char,
) -> Status {
    let place = required(pTexRef)?;
    // SAFETY: the caller's promise.
    let handle = unsafe { reference(opcode::cuModuleGetTexRef, hmod, name)? };
    // SAFETY: the caller's promise.
    unsafe { put(place, CUtexref(handle)) }
}

/// `cuModuleGetSurfRef`.
pub unsafe fn cuModuleGetSurfRef(
    pSurfRef: *mut CUsurfref,
    hmod: CUmodule,
    name: *const c_char,
) -> Status {
    let place = required(pSurfRef)?;
    // SAFETY: the caller's promise.
    let handle = unsafe { reference(opcode::cuModuleGetSurfRef, hmod, name)? };
    // SAFETY: the caller's promise.
    unsafe { put(place, CUsurfref(handle)) }
}

/// `cuTexRefSetAddress_v2`.
pub unsafe fn cuTexRefSetAddress_v2(
    ByteOffset: *mut usize,
    hTexRef: CUtexref,
    dptr: CUdeviceptr,
    bytes: usize,
) -> Status {
    let session = session()?;
    let context = session.current()?.number;
    // Without a place for the offset there must be none.
    if ByteOffset.is_null() && !dptr.0.is_multiple_of(TEXTURE_ALIGNMENT_BYTES) {
        return Err(INVALID_VALUE);
    }
    let body = ReferenceAddress {
        reference: U64::new(hTexRef.0),
        address: U64::new(dptr.0),
        bytes: U64::new(bytes as u64),
    };
    let opcode = opcode::cuTexRefSetAddress_v2;
    let reply = session.call_or_deferred(opcode, context, body.as_bytes())?;
    let offset = usize::try_from(reply.promised_word(0)?);
    // SAFETY: the caller's promise.
    unsafe {
        put_optional(
            ByteOffset,
            offset.map_err(|_| CUresult::CUDA_ERROR_UNKNOWN)?,
        )
    };
    Ok(())
}

/// `cuTexRefSetAddress2D_v2`.
pub unsafe fn cuTexRefSetAddress2D_v2(
    hTexRef: CUtexref,
    desc: *const CUDA_ARRAY_DESCRIPTOR,
    dptr: CUdeviceptr,
    Pitch: usize,
) -> Status {
    // SAFETY: the caller's promise; the third version only asks for more alignment.
    unsafe { cuTexRefSetAddress2D_v3(hTexRef, desc, dptr, Pitch) }
}

/// `cuTexRefSetAddress2D_v3`.
pub unsafe fn cuTexRefSetAddress2D_v3(
    hTexRef: CUtexref,
    desc: *const CUDA_ARRAY_DESCRIPTOR,
    dptr: CUdeviceptr,
    Pitch: usize,
) -> Status {
    let session = session()?;
    let context = session.current()?.number;
    let desc = required(desc.cast_mut())?;
    // SAFETY: not null, and then valid for reading by the caller's promise.
    let desc = unsafe { desc.read() };
    let body = ReferencePlane {
        reference: U64::new(hTexRef.0),
        address: U64::new(dptr.0),
        width: U64::new(desc.Width as u64),
        height: U64::new(desc.Height as u64),
        pitch_bytes: U64::new(Pitch as u64),
        format: U32::new(desc.Format.0),
        channels: U32::new(desc.NumChannels),
    };
    let opcode = opcode::cuTexRefSetAddress2D_v3;
    session
        .call_or_deferred(opcode, context, body.as_bytes())
        .map(drop)
}

/// `cuTexRefSetBorderColor`.
pub unsafe fn cuTexRefSetBorderColor(hTexRef: CUtexref, pBorderColor: *mut f32) -> Status {
    let session = session()?;
    let context = session.current()?.number;
    let place = required(pBorderColor)?.cast::<[f32; 4]>();
    // SAFETY: not null, and then four numbers by the caller's promise.
    let color = unsafe { place.read() };
    let body = ReferenceBorder {
        reference: U64::new(hTexRef.0),
        color: color.map(F32::new),
    };
    let opcode = opcode::cuTexRefSetBorderColor;
    session
        .call_or_deferred(opcode, context, body.as_bytes())
        .map(drop)
}

/// `cuTexRefGetBorderColor`.
pub unsafe fn cuTexRefGetBorderColor(pBorderColor: *mut f32, hTexRef: CUtexref) -> Status {
    let session = session()?;
    let context = session.current()?.number;
    let place = required(pBorderColor)?.cast::<[f32; 4]>();
    let word = Word {
        word: U64::new(hTexRef.0),
    };
    let opcode = opcode::cuTexRefGetBorderColor;
    let reply = session.call_or_deferred(opcode, context, word.as_bytes())?;
    let mut color = [0.0; 4];
    for (index, component) in color.iter_mut().enumerate() {
        let bits = u32::try_from(reply.promised_word(index)?);
        *component = f32::from_bits(bits.map_err(|_| CUresult::CUDA_ERROR_UNKNOWN)?);
    }
    // SAFETY: the caller promises room for four numbers.
    unsafe { put(place, color) }
}
