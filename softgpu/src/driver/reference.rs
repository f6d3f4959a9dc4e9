// SPDX-License-Identifier: Apache-2.0
//! Texture and surface references (`cuda.h`: "Texture Reference Management (deprecated)", "Surface
//! Reference Management (deprecated)"): variables of a module that the driver binds to memory.
//!
//! What a reference is bound to takes effect for kernels that are launched afterwards, so each
//! change waits for those that still run.

use core::ffi::c_char;
use std::sync::Arc;

use gvirtus_abi::{
    CUDA_ARRAY_DESCRIPTOR, CUDA_ARRAY3D_DESCRIPTOR, CUDA_TEXTURE_DESC, CUaddress_mode, CUarray,
    CUarray_format, CUdeviceptr, CUfilter_mode, CUfunction, CUmipmappedArray, CUmodule, CUresult,
    CUsurfref, CUtexref,
};
use parking_lot::Mutex;

use super::arguments::{optional_out, out, read_text};
use super::attributes::TEXTURE_ALIGNMENT_BYTES;
use super::context::{self, Context};
use super::handles::{Handles, Kind};
use super::scheduler::SCHEDULER;
use super::texture_object::{memory_image, sampler, surface};
use super::{array, function, module};
use crate::ir::OpaqueType;
use crate::texture::registry::{self, Object};
use crate::texture::{Image, Texture};

const INVALID_VALUE: CUresult = CUresult::CUDA_ERROR_INVALID_VALUE;

/// What a texture or surface is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bound {
    Nothing,
    Array(CUarray),
    Mipmap(CUmipmappedArray),
    /// Linear memory of so many bytes.
    Linear(CUdeviceptr, usize),
    /// Rows of memory: width, height and pitch in bytes.
    Plane(CUdeviceptr, [usize; 2], usize),
}

/// What the application has set.
struct Settings {
    bound: Bound,
    format: (CUarray_format, u32),
    texture: CUDA_TEXTURE_DESC,
}

/// A reference.
struct Reference {
    handle: u64,
    context: Arc<Context>,
    ty: OpaqueType,
    module: CUmodule,
    /// Of its variable; 0 for a reference that belongs to no module.
    address: u64,
    settings: Mutex<Settings>,
}

static REFERENCES: Handles<Reference> = Handles::new(Kind::Reference);

/// Ends all references of a context.
pub(super) fn forget_context(context: &Context) {
    let gone = REFERENCES.remove_where(|reference| reference.context.id == context.id);
    gone.iter()
        .for_each(|reference| registry::remove(reference.address));
}

/// Ends the references of a module.
pub(super) fn forget_module(module: CUmodule) {
    let gone = REFERENCES.remove_where(|reference| reference.module == module);
    gone.iter()
        .for_each(|reference| registry::remove(reference.address));
}

fn new(
    context: Arc<Context>,
    ty: OpaqueType,
    module: CUmodule,
    address: u64,
) -> Result<u64, CUresult> {
    let texture = CUDA_TEXTURE_DESC {
        addressMode: [CUaddress_mode::CU_TR_ADDRESS_MODE_CLAMP; 3],
        filterMode: CUfilter_mode::CU_TR_FILTER_MODE_POINT,
        flags: 0,
        maxAnisotropy: 0,
        mipmapFilterMode: CUfilter_mode::CU_TR_FILTER_MODE_POINT,
        mipmapLevelBias: 0.0,
        minMipmapLevelClamp: 0.0,
        maxMipmapLevelClamp: 0.0,
        borderColor: [0.0; 4],
        reserved: [0; 12],
    };
    let settings = Settings {
        bound: Bound::Nothing,
        format: (CUarray_format::CU_AD_FORMAT_FLOAT, 1),
        texture,
    };
    let reference = REFERENCES.insert(|handle| Reference {
        handle,
        context,
        ty,
        module,
        address,
        settings: Mutex::new(settings),
    })?;
    Ok(reference.handle)
}

/// The reference of a module's variable, always the same.
///
/// # Safety
///
/// `name` is null or a C string.
unsafe fn of_module(
    module: CUmodule,
    name: *const c_char,
    ty: OpaqueType,
) -> Result<u64, CUresult> {
    context::usable()?;
    let owner = module::find(module)?;
    // SAFETY: the caller's promise.
    let name = unsafe { read_text(name)? };
    let address = owner.reference(name, ty)?;
    let all = REFERENCES.all();
    match all.iter().find(|reference| reference.address == address) {
        Some(known) => Ok(known.handle),
        None => new(owner.context.clone(), ty, module, address),
    }
}

fn find(handle: u64, ty: OpaqueType) -> Result<Arc<Reference>, CUresult> {
    context::usable()?;
    REFERENCES
        .get(handle)
        .filter(|reference| reference.ty == ty)
        .ok_or(CUresult::CUDA_ERROR_INVALID_VALUE)
}

impl Reference {
    /// Changes the settings; running kernels still see the old ones.
    fn change(
        &self,
        change: impl FnOnce(&mut Settings) -> Result<(), CUresult>,
    ) -> Result<(), CUresult> {
        SCHEDULER.wait_domain(self.context.domain);
        let mut settings = self.settings.lock();
        change(&mut settings)?;
        if self.address == 0 {
            return Ok(());
        }
        match self.object(&settings)? {
            Some(object) => registry::insert(self.address, object),
            None => registry::remove(self.address),
        }
        Ok(())
    }

    fn object(&self, settings: &Settings) -> Result<Option<Object>, CUresult> {
        if self.ty == OpaqueType::Surface {
            let Bound::Array(handle) = settings.bound else {
                return Ok(None);
            };
            return Ok(Some(Object::Surface(Arc::new(surface(handle)?))));
        }
        let (format, channels) = settings.format;
        let image: Arc<Image> = match settings.bound {
            Bound::Nothing => return Ok(None),
            Bound::Array(handle) => array::find(handle)?.image.clone(),
            Bound::Mipmap(handle) => array::find_mipmap(handle)?.image.clone(),
            Bound::Linear(address, bytes) => {
                let format = array::format(format, channels)?;
                let extent = [bytes / format.bytes() as usize, 1];
                Arc::new(memory_image(
                    &self.context,
                    address,
                    format,
                    extent,
                    0,
                    true,
                )?)
            }
            Bound::Plane(address, extent, pitch) => {
                let format = array::format(format, channels)?;
                Arc::new(memory_image(
                    &self.context,
                    address,
                    format,
                    extent,
                    pitch,
                    false,
                )?)
            }
        };
        let sampler = sampler(&settings.texture, &image)?;
        Ok(Some(Object::Texture(Arc::new(Texture { image, sampler }))))
    }
}

/// Changes a texture reference.
fn set(
    handle: CUtexref,
    change: impl FnOnce(&mut Settings) -> Result<(), CUresult>,
) -> Result<(), CUresult> {
    find(handle.0, OpaqueType::Texture)?.change(change)
}

impl Settings {
    /// Takes an array's format, or compares it with what was set.
    fn take_format(&mut self, array: &CUDA_ARRAY3D_DESCRIPTOR, flags: u32) -> Result<(), CUresult> {
        let format = (array.Format, array.NumChannels);
        match flags {
            TRSA_OVERRIDE_FORMAT => self.format = format,
            0 if self.format == format => {}
            _ => return Err(INVALID_VALUE),
        }
        Ok(())
    }
}

/// Looks at a texture reference.
fn get<T>(handle: CUtexref, look: impl FnOnce(&Settings) -> T) -> Result<T, CUresult> {
    let reference = find(handle.0, OpaqueType::Texture)?;
    let settings = reference.settings.lock();
    Ok(look(&settings))
}

pub(crate) unsafe fn cuModuleGetTexRef(
    pTexRef: *mut CUtexref,
    hmod: CUmodule,
    name: *const c_char,
) -> Result<(), CUresult> {
    // SAFETY: the same contract.
    out!(pTexRef = CUtexref(unsafe { of_module(hmod, name, OpaqueType::Texture)? }));
    Ok(())
}

pub(crate) unsafe fn cuModuleGetSurfRef(
    pSurfRef: *mut CUsurfref,
    hmod: CUmodule,
    name: *const c_char,
) -> Result<(), CUresult> {
    // SAFETY: the same contract.
    out!(pSurfRef = CUsurfref(unsafe { of_module(hmod, name, OpaqueType::Surface)? }));
    Ok(())
}

pub(crate) unsafe fn cuTexRefCreate(pTexRef: *mut CUtexref) -> Result<(), CUresult> {
    let context = context::usable()?;
    out!(pTexRef = CUtexref(new(context, OpaqueType::Texture, CUmodule::NULL, 0)?));
    Ok(())
}

/// Ends a reference that belongs to no module.
pub(crate) fn cuTexRefDestroy(hTexRef: CUtexref) -> Result<(), CUresult> {
    if find(hTexRef.0, OpaqueType::Texture)?.address != 0 {
        return Err(INVALID_VALUE);
    }
    REFERENCES.remove(hTexRef.0);
    Ok(())
}

/// The kernel names its textures itself, so there is nothing to do.
pub(crate) fn cuParamSetTexRef(
    hfunc: CUfunction,
    texunit: i32,
    hTexRef: CUtexref,
) -> Result<(), CUresult> {
    let context = context::usable()?;
    function::find_in(hfunc, &context)?;
    find(hTexRef.0, OpaqueType::Texture)?;
    // CU_PARAM_TR_DEFAULT is the only unit.
    match texunit {
        -1 => Ok(()),
        _ => Err(INVALID_VALUE),
    }
}

pub(crate) fn cuTexRefSetArray(
    hTexRef: CUtexref,
    hArray: CUarray,
    Flags: u32,
) -> Result<(), CUresult> {
    let descriptor = array::find(hArray)?.descriptor;
    set(hTexRef, |settings| {
        settings.take_format(&descriptor, Flags)?;
        settings.bound = Bound::Array(hArray);
        Ok(())
    })
}

/// `CU_TRSA_OVERRIDE_FORMAT`: the format is the array's; without it, it must have been set before.
const TRSA_OVERRIDE_FORMAT: u32 = 1;

pub(crate) fn cuTexRefSetMipmappedArray(
    hTexRef: CUtexref,
    hMipmappedArray: CUmipmappedArray,
    Flags: u32,
) -> Result<(), CUresult> {
    let descriptor = array::find_mipmap(hMipmappedArray)?.descriptor;
    set(hTexRef, |settings| {
        settings.take_format(&descriptor, Flags)?;
        settings.bound = Bound::Mipmap(hMipmappedArray);
        Ok(())
    })
}

/// Textures begin at aligned addresses; what lies between is the offset that fetches must add.
pub(crate) unsafe fn cuTexRefSetAddress_v2(
    ByteOffset: *mut usize,
    hTexRef: CUtexref,
    dptr: CUdeviceptr,
    bytes: usize,
) -> Result<(), CUresult> {
    let offset = dptr.0 % TEXTURE_ALIGNMENT_BYTES.unsigned_abs() as u64;
    if ByteOffset.is_null() && offset != 0 {
        return Err(INVALID_VALUE);
    }
    let whole = bytes.checked_add(offset as usize).ok_or(INVALID_VALUE)?;
    set(hTexRef, |settings| {
        settings.bound = match dptr.0 {
            0 => Bound::Nothing,
            address => Bound::Linear(CUdeviceptr(address - offset), whole),
        };
        Ok(())
    })?;
    optional_out!(ByteOffset = offset as usize);
    Ok(())
}

pub(crate) unsafe fn cuTexRefSetAddress2D_v3(
    hTexRef: CUtexref,
    desc: *const CUDA_ARRAY_DESCRIPTOR,
    dptr: CUdeviceptr,
    Pitch: usize,
) -> Result<(), CUresult> {
    if desc.is_null() {
        return Err(INVALID_VALUE);
    }
    // SAFETY: the contract of cuda.h: not null, and then a whole structure.
    let desc = unsafe { desc.read_unaligned() };
    set(hTexRef, |settings| {
        settings.bound = Bound::Plane(dptr, [desc.Width, desc.Height], Pitch);
        settings.format = (desc.Format, desc.NumChannels);
        Ok(())
    })
}

pub(crate) unsafe fn cuTexRefSetAddress2D_v2(
    hTexRef: CUtexref,
    desc: *const CUDA_ARRAY_DESCRIPTOR,
    dptr: CUdeviceptr,
    Pitch: usize,
) -> Result<(), CUresult> {
    // SAFETY: the same contract; the third version only asks for more alignment.
    unsafe { cuTexRefSetAddress2D_v3(hTexRef, desc, dptr, Pitch) }
}

pub(crate) fn cuTexRefSetFormat(
    hTexRef: CUtexref,
    fmt: CUarray_format,
    NumPackedComponents: i32,
) -> Result<(), CUresult> {
    let channels = u32::try_from(NumPackedComponents).map_err(|_| INVALID_VALUE)?;
    array::format(fmt, channels)?;
    set(hTexRef, |settings| {
        // An array has a format of its own.
        if !matches!(settings.bound, Bound::Array(_) | Bound::Mipmap(_)) {
            settings.format = (fmt, channels);
        }
        Ok(())
    })
}

pub(crate) fn cuTexRefSetAddressMode(
    hTexRef: CUtexref,
    dim: i32,
    am: CUaddress_mode,
) -> Result<(), CUresult> {
    set(hTexRef, |settings| {
        let modes = &mut settings.texture.addressMode;
        let mode = usize::try_from(dim).ok().and_then(|dim| modes.get_mut(dim));
        *mode.ok_or(INVALID_VALUE)? = am;
        am.name().map(drop).ok_or(INVALID_VALUE)
    })
}

pub(crate) fn cuTexRefSetFilterMode(hTexRef: CUtexref, fm: CUfilter_mode) -> Result<(), CUresult> {
    fm.name().ok_or(INVALID_VALUE)?;
    set(hTexRef, |settings| {
        settings.texture.filterMode = fm;
        Ok(())
    })
}

pub(crate) fn cuTexRefSetMipmapFilterMode(
    hTexRef: CUtexref,
    fm: CUfilter_mode,
) -> Result<(), CUresult> {
    fm.name().ok_or(INVALID_VALUE)?;
    set(hTexRef, |settings| {
        settings.texture.mipmapFilterMode = fm;
        Ok(())
    })
}

pub(crate) fn cuTexRefSetMipmapLevelBias(hTexRef: CUtexref, bias: f32) -> Result<(), CUresult> {
    set(hTexRef, |settings| {
        settings.texture.mipmapLevelBias = bias;
        Ok(())
    })
}

pub(crate) fn cuTexRefSetMipmapLevelClamp(
    hTexRef: CUtexref,
    minMipmapLevelClamp: f32,
    maxMipmapLevelClamp: f32,
) -> Result<(), CUresult> {
    set(hTexRef, |settings| {
        settings.texture.minMipmapLevelClamp = minMipmapLevelClamp;
        settings.texture.maxMipmapLevelClamp = maxMipmapLevelClamp;
        Ok(())
    })
}

pub(crate) fn cuTexRefSetMaxAnisotropy(hTexRef: CUtexref, maxAniso: u32) -> Result<(), CUresult> {
    set(hTexRef, |settings| {
        settings.texture.maxAnisotropy = maxAniso;
        Ok(())
    })
}

pub(crate) unsafe fn cuTexRefSetBorderColor(
    hTexRef: CUtexref,
    pBorderColor: *mut f32,
) -> Result<(), CUresult> {
    if pBorderColor.is_null() {
        return Err(INVALID_VALUE);
    }
    // SAFETY: the contract of cuda.h: four numbers.
    let colour = unsafe { pBorderColor.cast::<[f32; 4]>().read_unaligned() };
    set(hTexRef, |settings| {
        settings.texture.borderColor = colour;
        Ok(())
    })
}

pub(crate) fn cuTexRefSetFlags(hTexRef: CUtexref, Flags: u32) -> Result<(), CUresult> {
    set(hTexRef, |settings| {
        settings.texture.flags = Flags;
        Ok(())
    })
}

pub(crate) unsafe fn cuTexRefGetAddress_v2(
    pdptr: *mut CUdeviceptr,
    hTexRef: CUtexref,
) -> Result<(), CUresult> {
    let bound = get(hTexRef, |settings| settings.bound)?;
    let (Bound::Linear(address, _) | Bound::Plane(address, ..)) = bound else {
        return Err(INVALID_VALUE);
    };
    out!(pdptr = address);
    Ok(())
}

pub(crate) unsafe fn cuTexRefGetArray(
    phArray: *mut CUarray,
    hTexRef: CUtexref,
) -> Result<(), CUresult> {
    let Bound::Array(array) = get(hTexRef, |settings| settings.bound)? else {
        return Err(INVALID_VALUE);
    };
    out!(phArray = array);
    Ok(())
}

pub(crate) unsafe fn cuTexRefGetMipmappedArray(
    phMipmappedArray: *mut CUmipmappedArray,
    hTexRef: CUtexref,
) -> Result<(), CUresult> {
    let Bound::Mipmap(mipmap) = get(hTexRef, |settings| settings.bound)? else {
        return Err(INVALID_VALUE);
    };
    out!(phMipmappedArray = mipmap);
    Ok(())
}

pub(crate) unsafe fn cuTexRefGetAddressMode(
    pam: *mut CUaddress_mode,
    hTexRef: CUtexref,
    dim: i32,
) -> Result<(), CUresult> {
    let modes = get(hTexRef, |settings| settings.texture.addressMode)?;
    let mode = usize::try_from(dim).ok().and_then(|dim| modes.get(dim));
    out!(pam = *mode.ok_or(INVALID_VALUE)?);
    Ok(())
}

pub(crate) unsafe fn cuTexRefGetFilterMode(
    pfm: *mut CUfilter_mode,
    hTexRef: CUtexref,
) -> Result<(), CUresult> {
    out!(pfm = get(hTexRef, |settings| settings.texture.filterMode)?);
    Ok(())
}

pub(crate) unsafe fn cuTexRefGetFormat(
    pFormat: *mut CUarray_format,
    pNumChannels: *mut i32,
    hTexRef: CUtexref,
) -> Result<(), CUresult> {
    let (format, channels) = get(hTexRef, |settings| settings.format)?;
    optional_out!(pFormat = format);
    optional_out!(pNumChannels = channels.cast_signed());
    Ok(())
}

pub(crate) unsafe fn cuTexRefGetMipmapFilterMode(
    pfm: *mut CUfilter_mode,
    hTexRef: CUtexref,
) -> Result<(), CUresult> {
    out!(pfm = get(hTexRef, |settings| settings.texture.mipmapFilterMode)?);
    Ok(())
}

pub(crate) unsafe fn cuTexRefGetMipmapLevelBias(
    pbias: *mut f32,
    hTexRef: CUtexref,
) -> Result<(), CUresult> {
    out!(pbias = get(hTexRef, |settings| settings.texture.mipmapLevelBias)?);
    Ok(())
}

pub(crate) unsafe fn cuTexRefGetMipmapLevelClamp(
    pminMipmapLevelClamp: *mut f32,
    pmaxMipmapLevelClamp: *mut f32,
    hTexRef: CUtexref,
) -> Result<(), CUresult> {
    let texture = get(hTexRef, |settings| settings.texture)?;
    optional_out!(pminMipmapLevelClamp = texture.minMipmapLevelClamp);
    optional_out!(pmaxMipmapLevelClamp = texture.maxMipmapLevelClamp);
    Ok(())
}

pub(crate) unsafe fn cuTexRefGetMaxAnisotropy(
    pmaxAniso: *mut i32,
    hTexRef: CUtexref,
) -> Result<(), CUresult> {
    let most = get(hTexRef, |settings| settings.texture.maxAnisotropy)?;
    out!(pmaxAniso = most.cast_signed());
    Ok(())
}

pub(crate) unsafe fn cuTexRefGetBorderColor(
    pBorderColor: *mut f32,
    hTexRef: CUtexref,
) -> Result<(), CUresult> {
    let place = pBorderColor.cast::<[f32; 4]>();
    out!(place = get(hTexRef, |settings| settings.texture.borderColor)?);
    Ok(())
}

pub(crate) unsafe fn cuTexRefGetFlags(pFlags: *mut u32, hTexRef: CUtexref) -> Result<(), CUresult> {
    out!(pFlags = get(hTexRef, |settings| settings.texture.flags)?);
    Ok(())
}

pub(crate) fn cuSurfRefSetArray(
    hSurfRef: CUsurfref,
    hArray: CUarray,
    Flags: u32,
) -> Result<(), CUresult> {
    if Flags != 0 {
        return Err(INVALID_VALUE);
    }
    surface(hArray)?;
    find(hSurfRef.0, OpaqueType::Surface)?.change(|settings| {
        settings.bound = Bound::Array(hArray);
        Ok(())
    })
}

pub(crate) unsafe fn cuSurfRefGetArray(
    phArray: *mut CUarray,
    hSurfRef: CUsurfref,
) -> Result<(), CUresult> {
    let reference = find(hSurfRef.0, OpaqueType::Surface)?;
    let bound = reference.settings.lock().bound;
    let Bound::Array(array) = bound else {
        return Err(INVALID_VALUE);
    };
    out!(phArray = array);
    Ok(())
}
