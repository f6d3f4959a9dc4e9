// SPDX-License-Identifier: Apache-2.0
//! Arrays, textures, surfaces and references.

#![allow(non_snake_case, reason = "fields are named as in cuda.h")]

use gvirtus_abi::{
    CUDA_ARRAY_DESCRIPTOR, CUDA_ARRAY3D_CUBEMAP, CUDA_ARRAY3D_DESCRIPTOR, CUDA_ARRAY3D_LAYERED,
    CUDA_RESOURCE_DESC, CUDA_RESOURCE_DESC_v1_res, CUDA_RESOURCE_DESC_v1_res_array,
    CUDA_RESOURCE_DESC_v1_res_linear, CUDA_RESOURCE_DESC_v1_res_mipmap,
    CUDA_RESOURCE_DESC_v1_res_pitch2D, CUDA_RESOURCE_DESC_v1_res_reserved, CUDA_RESOURCE_VIEW_DESC,
    CUDA_TEXTURE_DESC, CUaddress_mode, CUarray, CUarray_format, CUdeviceptr, CUfilter_mode,
    CUmipmappedArray, CUmodule, CUresourceViewFormat, CUresourcetype, CUresult, CUsurfref,
    CUtexref,
};
use gvirtus_protocol::command::{
    ArrayCreate, ArrayLevel, CopyBetween, GetGlobal, ReferenceAddress, ReferenceBorder,
    ReferencePlane, Resource, ResourceView, Sampler, TextureCreate,
};
use gvirtus_protocol::frame::CommandHeader;
use gvirtus_protocol::opcode;
use zerocopy::little_endian::{U32, U64 as Word};

use super::handles::ImageHandle;
use super::holdings::Place;
use super::images::c_name;
use super::memory::Input;
use super::named::{Words, word};
use super::rows::memcpy_3d;
use super::session::{Session, read, read_prefix};
use crate::driver::check;

const INVALID_VALUE: CUresult = CUresult::CUDA_ERROR_INVALID_VALUE;

impl Session {
    /// Executes a message about arrays, textures or surfaces; the context is current.
    pub(super) fn image_message(&mut self, header: &CommandHeader, body: &[u8]) -> Words {
        let opcode = header.opcode();
        match opcode {
            opcode::cuArray3DCreate_v2 => self.create_array(&read(opcode, body)?),
            opcode::cuMipmappedArrayCreate => self.create_mipmap(&read(opcode, body)?),
            opcode::cuMipmappedArrayGetLevel => self.array_level(&read(opcode, body)?),
            opcode::cuArrayDestroy
            | opcode::cuMipmappedArrayDestroy
            | opcode::cuTexObjectDestroy
            | opcode::cuSurfObjectDestroy => self.destroy_image(header, body),
            opcode::cuTexObjectCreate => self.create_texture(&read(opcode, body)?),
            opcode::cuSurfObjectCreate => self.create_surface(&read(opcode, body)?),
            opcode::cuModuleGetTexRef | opcode::cuModuleGetSurfRef => {
                let (get, name) = read_prefix::<GetGlobal>(opcode, body)?;
                self.reference(opcode == opcode::cuModuleGetTexRef, get.image.get(), name)
            }
            opcode::cuTexRefSetAddress_v2 => self.set_address(&read(opcode, body)?),
            opcode::cuTexRefSetAddress2D_v3 => self.set_plane(&read(opcode, body)?),
            opcode::cuTexRefSetBorderColor => self.set_border(&read(opcode, body)?),
            opcode::cuTexRefGetBorderColor => self.border(word(header, body)?),
            opcode::cuMemcpy3DAsync_v2 => {
                self.copy_between(header, &read::<CopyBetween>(opcode, body)?)
            }
            _ => self.tensor_map(Input::parse(opcode, body)?),
        }
    }

    /// Notes a new handle; the reply's word.
    fn given(&mut self, handle: u64) -> Words {
        self.handles.note_opaque(handle)?;
        Ok(vec![Word::new(handle)])
    }

    fn create_array(&mut self, create: &ArrayCreate) -> Words {
        let descriptor = array_descriptor(create);
        let mut array = CUarray::NULL;
        let bytes = array_bytes(&descriptor, 0);
        self.within_quota(bytes, |session| {
            // SAFETY: in- and output are locals.
            check(unsafe {
                (session.driver).cuArray3DCreate_v2(&raw mut array, &raw const descriptor)
            })?;
            session.hold(Place::Array(array.0), bytes);
            session.given(array.0)
        })
    }

    fn create_mipmap(&mut self, create: &ArrayCreate) -> Words {
        let descriptor = array_descriptor(create);
        let (mut mipmap, levels) = (CUmipmappedArray::NULL, create.levels.get());
        let bytes = (0..levels.min(32)).map(|level| array_bytes(&descriptor, level));
        let bytes = bytes.fold(0, u64::saturating_add);
        self.within_quota(bytes, |session| {
            // SAFETY: in- and output are locals.
            check(unsafe {
                let out = &raw mut mipmap;
                (session.driver).cuMipmappedArrayCreate(out, &raw const descriptor, levels)
            })?;
            session.hold(Place::Array(mipmap.0), bytes);
            session.given(mipmap.0)
        })
    }

    fn array_level(&mut self, ask: &ArrayLevel) -> Words {
        let mipmap = CUmipmappedArray(self.handles.opaque(ask.mipmap.get())?);
        let (mut array, level) = (CUarray::NULL, ask.level.get());
        // SAFETY: the output is a local, the handle the session's own.
        check(unsafe {
            self.driver
                .cuMipmappedArrayGetLevel(&raw mut array, mipmap, level)
        })?;
        self.given(array.0)
    }

    fn destroy_image(&mut self, header: &CommandHeader, body: &[u8]) -> Words {
        let handle = self.handles.forget_opaque(word(header, body)?)?;
        // SAFETY: the handle was the session's own until now.
        check(unsafe {
            match header.opcode() {
                opcode::cuArrayDestroy => self.driver.cuArrayDestroy(CUarray(handle)),
                opcode::cuMipmappedArrayDestroy => self
                    .driver
                    .cuMipmappedArrayDestroy(CUmipmappedArray(handle)),
                opcode::cuTexObjectDestroy => self.driver.cuTexObjectDestroy(handle),
                _ => self.driver.cuSurfObjectDestroy(handle),
            }
        })?;
        if matches!(
            header.opcode(),
            opcode::cuArrayDestroy | opcode::cuMipmappedArrayDestroy
        ) {
            self.holdings.free(Place::Array(handle));
        }
        Ok(Vec::new())
    }

    /// A resource whose array, if it is one, is the session's own.
    fn resource(&self, resource: &Resource) -> Result<CUDA_RESOURCE_DESC, CUresult> {
        let (kind, handle) = (CUresourcetype(resource.kind.get()), resource.handle.get());
        let format = CUarray_format(resource.format.get());
        let channels = resource.channels.get();
        let mut res = CUDA_RESOURCE_DESC_v1_res {
            reserved: CUDA_RESOURCE_DESC_v1_res_reserved { reserved: [0; 32] },
        };
        match kind {
            CUresourcetype::CU_RESOURCE_TYPE_ARRAY => {
                let hArray = CUarray(self.handles.opaque(handle)?);
                res.array = CUDA_RESOURCE_DESC_v1_res_array { hArray };
            }
            CUresourcetype::CU_RESOURCE_TYPE_MIPMAPPED_ARRAY => {
                let hMipmappedArray = CUmipmappedArray(self.handles.opaque(handle)?);
                res.mipmap = CUDA_RESOURCE_DESC_v1_res_mipmap { hMipmappedArray };
            }
            CUresourcetype::CU_RESOURCE_TYPE_LINEAR => {
                res.linear = CUDA_RESOURCE_DESC_v1_res_linear {
                    devPtr: CUdeviceptr(handle),
                    format,
                    numChannels: channels,
                    sizeInBytes: resource.width.get() as usize,
                };
            }
            CUresourcetype::CU_RESOURCE_TYPE_PITCH2D => {
                res.pitch2D = CUDA_RESOURCE_DESC_v1_res_pitch2D {
                    devPtr: CUdeviceptr(handle),
                    format,
                    numChannels: channels,
                    width: resource.width.get() as usize,
                    height: resource.height.get() as usize,
                    pitchInBytes: resource.pitch_bytes.get() as usize,
                };
            }
            _ => return Err(INVALID_VALUE),
        }
        Ok(CUDA_RESOURCE_DESC {
            resType: kind,
            res,
            flags: resource.flags.get(),
        })
    }

    fn create_texture(&mut self, create: &TextureCreate) -> Words {
        let resource = self.resource(&create.resource)?;
        let texture = texture_descriptor(&create.sampler);
        let view = view_descriptor(&create.view);
        let view = match create.has_view.get() {
            0 => std::ptr::null(),
            _ => &raw const view,
        };
        let mut object = 0;
        // SAFETY: in- and outputs are locals, and a null view is none.
        check(unsafe {
            self.driver.cuTexObjectCreate(
                &raw mut object,
                &raw const resource,
                &raw const texture,
                view,
            )
        })?;
        self.given(object)
    }

    fn create_surface(&mut self, resource: &Resource) -> Words {
        let resource = self.resource(resource)?;
        let mut object = 0;
        // SAFETY: in- and output are locals.
        check(unsafe {
            self.driver
                .cuSurfObjectCreate(&raw mut object, &raw const resource)
        })?;
        self.given(object)
    }

    fn reference(&mut self, is_texture: bool, image: u32, name: &[u8]) -> Words {
        let name = c_name(name)?;
        let invalid = CUresult::CUDA_ERROR_INVALID_HANDLE;
        let image = self.handles.images.get(image).ok_or(invalid)?;
        let mut module = CUmodule::NULL;
        match image.handle {
            ImageHandle::Module(own) => module = own.handle,
            ImageHandle::Library(library) => {
                // SAFETY: the output is a local, the library is loaded.
                check(unsafe { self.driver.cuLibraryGetModule(&raw mut module, library) })?;
            }
        }
        let (mut texture, mut surface) = (CUtexref::NULL, CUsurfref::NULL);
        // SAFETY: the outputs are locals, the module is loaded, the name ends with a zero.
        check(unsafe {
            match is_texture {
                true => self
                    .driver
                    .cuModuleGetTexRef(&raw mut texture, module, name.as_ptr()),
                false => self
                    .driver
                    .cuModuleGetSurfRef(&raw mut surface, module, name.as_ptr()),
            }
        })?;
        self.given(texture.0 | surface.0)
    }

    fn set_address(&self, set: &ReferenceAddress) -> Words {
        let reference = CUtexref(self.handles.opaque(set.reference.get())?);
        let (mut offset, address) = (0, CUdeviceptr(set.address.get()));
        let bytes = set.bytes.get() as usize;
        // SAFETY: the output is a local, the handle the session's own.
        check(unsafe {
            self.driver
                .cuTexRefSetAddress_v2(&raw mut offset, reference, address, bytes)
        })?;
        Ok(vec![Word::new(offset as u64)])
    }

    fn set_plane(&self, set: &ReferencePlane) -> Words {
        let reference = CUtexref(self.handles.opaque(set.reference.get())?);
        let descriptor = CUDA_ARRAY_DESCRIPTOR {
            Width: set.width.get() as usize,
            Height: set.height.get() as usize,
            Format: CUarray_format(set.format.get()),
            NumChannels: set.channels.get(),
        };
        let address = CUdeviceptr(set.address.get());
        let pitch = set.pitch_bytes.get() as usize;
        // SAFETY: the input is a local, the handle the session's own.
        check(unsafe {
            self.driver
                .cuTexRefSetAddress2D_v3(reference, &raw const descriptor, address, pitch)
        })?;
        Ok(Vec::new())
    }

    fn set_border(&self, set: &ReferenceBorder) -> Words {
        let reference = CUtexref(self.handles.opaque(set.reference.get())?);
        let mut color = set.color.map(|component| component.get());
        // SAFETY: four numbers, and the handle is the session's own.
        check(unsafe {
            self.driver
                .cuTexRefSetBorderColor(reference, color.as_mut_ptr())
        })?;
        Ok(Vec::new())
    }

    fn border(&self, reference: u64) -> Words {
        let reference = CUtexref(self.handles.opaque(reference)?);
        let mut color = [0.0_f32; 4];
        // SAFETY: room for four numbers, and the handle is the session's own.
        check(unsafe {
            self.driver
                .cuTexRefGetBorderColor(color.as_mut_ptr(), reference)
        })?;
        let words = color.map(|component| Word::new(component.to_bits().into()));
        Ok(words.to_vec())
    }

    /// `cuMemcpy3DAsync` between two places on the device: posted.
    fn copy_between(&mut self, header: &CommandHeader, copy: &CopyBetween) -> Words {
        let number = copy.stream.get();
        self.handles
            .enter_of_stream(self.driver, header.context.get(), number)?;
        let stream = self.handles.stream(self.driver, u64::from(number))?;
        for side in [&copy.to, &copy.from] {
            self.handles.opaque(side.array.get())?;
        }
        let shape = [copy.width_bytes, copy.height, copy.depth].map(|length| length.get() as usize);
        let copy = memcpy_3d(&copy.to, &copy.from, shape);
        // SAFETY: arrays are the session's own; addresses are checked by the driver.
        check(unsafe { self.driver.cuMemcpy3DAsync_v2(&raw const copy, stream) })?;
        Ok(Vec::new())
    }
}

fn array_descriptor(create: &ArrayCreate) -> CUDA_ARRAY3D_DESCRIPTOR {
    CUDA_ARRAY3D_DESCRIPTOR {
        Width: create.width.get() as usize,
        Height: create.height.get() as usize,
        Depth: create.depth.get() as usize,
        Format: CUarray_format(create.format.get()),
        NumChannels: create.channels.get(),
        Flags: create.flags.get(),
    }
}

/// Bytes of a level's texels, without what a device adds between rows.
fn array_bytes(descriptor: &CUDA_ARRAY3D_DESCRIPTOR, level: u32) -> u64 {
    type F = CUarray_format;
    let is_layered = descriptor.Flags & CUDA_ARRAY3D_LAYERED != 0;
    let is_cubemap = descriptor.Flags & CUDA_ARRAY3D_CUBEMAP != 0;
    let side = |texels: usize| (texels as u64 >> level).max(1);
    let depth = match descriptor.Depth {
        layers if is_layered || is_cubemap => (layers as u64).max(1),
        depth => side(depth),
    };
    let channel_bytes = match descriptor.Format {
        F::CU_AD_FORMAT_UNSIGNED_INT16 | F::CU_AD_FORMAT_SIGNED_INT16 | F::CU_AD_FORMAT_HALF => 2,
        F::CU_AD_FORMAT_UNSIGNED_INT32 | F::CU_AD_FORMAT_SIGNED_INT32 | F::CU_AD_FORMAT_FLOAT => 4,
        _ => 1,
    };
    [
        side(descriptor.Width),
        side(descriptor.Height),
        depth,
        descriptor.NumChannels.into(),
    ]
    .iter()
    .fold(channel_bytes, |bytes: u64, factor| {
        bytes.saturating_mul(*factor)
    })
}

fn texture_descriptor(sampler: &Sampler) -> CUDA_TEXTURE_DESC {
    CUDA_TEXTURE_DESC {
        addressMode: sampler.address_modes.map(|mode| CUaddress_mode(mode.get())),
        filterMode: CUfilter_mode(sampler.filter_mode.get()),
        flags: sampler.flags.get(),
        maxAnisotropy: sampler.max_anisotropy.get(),
        mipmapFilterMode: CUfilter_mode(sampler.mipmap_filter_mode.get()),
        mipmapLevelBias: sampler.mipmap_level_bias.get(),
        minMipmapLevelClamp: sampler.min_mipmap_level_clamp.get(),
        maxMipmapLevelClamp: sampler.max_mipmap_level_clamp.get(),
        borderColor: sampler.border_color.map(|component| component.get()),
        reserved: [0; 12],
    }
}

fn view_descriptor(view: &ResourceView) -> CUDA_RESOURCE_VIEW_DESC {
    let [firstMipmapLevel, lastMipmapLevel] = view.levels.map(U32::get);
    let [firstLayer, lastLayer] = view.layers.map(U32::get);
    CUDA_RESOURCE_VIEW_DESC {
        format: CUresourceViewFormat(view.format.get()),
        width: view.width.get() as usize,
        height: view.height.get() as usize,
        depth: view.depth.get() as usize,
        firstMipmapLevel,
        lastMipmapLevel,
        firstLayer,
        lastLayer,
        reserved: [0; 16],
    }
}
