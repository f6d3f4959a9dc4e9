// SPDX-License-Identifier: Apache-2.0
//! Textures and surfaces made by the driver API.

#![allow(unsafe_code, reason = "the driver API is a C library")]

use core::ffi::{CStr, c_int, c_uint, c_void};
use std::ffi::CString;
use std::ptr::{null, null_mut};

use libloading::os::unix::Library;

use super::driver::{Driver, DriverError, Module, functions, symbol};
use super::image::{Access, Geometry, Image};

functions! {
    create_array = "cuArray3DCreate_v2"(*mut *mut c_void, *const ArrayDescriptor);
    destroy_array = "cuArrayDestroy"(*mut c_void);
    create_mipmap = "cuMipmappedArrayCreate"(*mut *mut c_void, *const ArrayDescriptor, c_uint);
    level_of = "cuMipmappedArrayGetLevel"(*mut *mut c_void, *mut c_void, c_uint);
    destroy_mipmap = "cuMipmappedArrayDestroy"(*mut c_void);
    copy = "cuMemcpy3D_v2"(*const Copy3d);
    create_texture = "cuTexObjectCreate"(
        *mut u64, *const Resource, *const Texture, *const c_void
    );
    destroy_texture = "cuTexObjectDestroy"(u64);
    create_surface = "cuSurfObjectCreate"(*mut u64, *const Resource);
    destroy_surface = "cuSurfObjectDestroy"(u64);
    find_texture = "cuModuleGetTexRef"(*mut *mut c_void, *mut c_void, *const core::ffi::c_char);
    find_surface = "cuModuleGetSurfRef"(*mut *mut c_void, *mut c_void, *const core::ffi::c_char);
    bind_texture = "cuTexRefSetArray"(*mut c_void, *mut c_void, c_uint);
    set_address_mode = "cuTexRefSetAddressMode"(*mut c_void, c_int, c_int);
    set_filter_mode = "cuTexRefSetFilterMode"(*mut c_void, c_int);
    set_flags = "cuTexRefSetFlags"(*mut c_void, c_uint);
    bind_surface = "cuSurfRefSetArray"(*mut c_void, *mut c_void, c_uint);
}

/// `CUDA_ARRAY3D_DESCRIPTOR`.
#[repr(C)]
struct ArrayDescriptor {
    extent: [usize; 3],
    format: c_uint,
    channels: c_uint,
    flags: c_uint,
}

/// One side of `CUDA_MEMCPY3D`.
#[repr(C)]
struct Side {
    x_in_bytes: usize,
    y: usize,
    z: usize,
    level: usize,
    memory_type: c_uint,
    host: *mut c_void,
    device: u64,
    array: *mut c_void,
    reserved: *mut c_void,
    pitch: usize,
    height: usize,
}

/// `CUDA_MEMCPY3D`.
#[repr(C)]
struct Copy3d {
    from: Side,
    to: Side,
    width_in_bytes: usize,
    height: usize,
    depth: usize,
}

/// `CUDA_RESOURCE_DESC`: 128 bytes for what the type asks for.
#[repr(C)]
struct Resource {
    kind: c_uint,
    /// An array, a mipmap or an address.
    object: u64,
    format: c_uint,
    channels: c_uint,
    /// Bytes of a row of texels; columns, rows and bytes from row to row of a plane.
    lengths: [usize; 3],
    rest: [u64; 11],
    flags: c_uint,
}

const _: () = assert!(size_of::<Resource>() == 144);

/// `CUDA_TEXTURE_DESC`.
#[repr(C)]
struct Texture {
    address: [c_uint; 3],
    filter: c_uint,
    flags: c_uint,
    anisotropy: c_uint,
    filter_between: c_uint,
    bias: f32,
    clamp: [f32; 2],
    border: [f32; 4],
    reserved: [c_int; 12],
}

const HOST: c_uint = 1;
const ARRAY: c_uint = 3;
const OF_ARRAY: c_uint = 0;
const OF_MIPMAP: c_uint = 1;
const OF_ROW: c_uint = 2;
const OF_PLANE: c_uint = 3;
/// Level that no image has.
const LEVEL_MAX: f32 = 1000.0;
/// Bytes from row to row of a plane: what any device's alignment divides.
const PITCH_BYTES: usize = 512;

/// An image in the device's memory, with its object if it has one.
pub(super) struct Made {
    /// The object, as the kernel gets it; none for a reference.
    pub(super) handle: Option<u64>,
    array: *mut c_void,
    mipmap: *mut c_void,
    memory: u64,
}

/// The driver's functions about textures and surfaces.
pub(super) struct Images(Functions);

impl Images {
    pub(super) fn resolve(library: &Library) -> Result<Self, DriverError> {
        Functions::resolve(library).map(Self)
    }
}

impl Driver {
    /// Makes an image with its texels.
    pub(super) fn make(&self, module: &Module, image: &Image) -> Result<Made, DriverError> {
        let f = &self.images.0;
        let mut made = Made {
            handle: None,
            array: null_mut(),
            mipmap: null_mut(),
            memory: 0,
        };
        if matches!(image.geometry, Geometry::Linear | Geometry::Pitched) {
            made.memory = self.upload(&pitched(image))?;
        } else {
            let descriptor = ArrayDescriptor {
                extent: image.array_extent(),
                format: image.format,
                channels: image.channels as c_uint,
                flags: image.array_flags,
            };
            // SAFETY: the results go to fields, and the descriptor is a local.
            unsafe {
                if image.levels > 0 {
                    let levels = image.levels as c_uint;
                    let to = &raw mut made.mipmap;
                    let status = (f.create_mipmap)(to, &raw const descriptor, levels);
                    self.check("cuMipmappedArrayCreate", status)?;
                } else {
                    let status = (f.create_array)(&raw mut made.array, &raw const descriptor);
                    self.check("cuArray3DCreate", status)?;
                }
            }
            let mut texels = image.texels.initial.clone();
            self.transfer(image, &made, &mut texels, true)?;
        }
        if image.is_reference {
            self.bind(module, image, &made)?;
        } else {
            made.handle = Some(self.create_object(image, &made)?);
        }
        Ok(made)
    }

    /// Copies all levels from or to the host.
    fn transfer(
        &self,
        image: &Image,
        made: &Made,
        texels: &mut [u8],
        is_upload: bool,
    ) -> Result<(), DriverError> {
        let f = &self.images.0;
        let mut rest = texels;
        for level in 0..image.levels.max(1) {
            let mut array = made.array;
            if image.levels > 0 {
                // SAFETY: the mipmap has so many levels, and the result goes to a local.
                let status = unsafe { (f.level_of)(&raw mut array, made.mipmap, level as c_uint) };
                self.check("cuMipmappedArrayGetLevel", status)?;
            }
            let [width, height, depth] = image.level_extent(level);
            let row = width * image.texel_bytes();
            let (now, later) = rest.split_at_mut(row * height * depth);
            rest = later;
            let host = side(HOST, now.as_mut_ptr().cast(), null_mut(), row, height);
            let device = side(ARRAY, null_mut(), array, 0, 0);
            let (from, to) = match is_upload {
                true => (host, device),
                false => (device, host),
            };
            let copy = Copy3d {
                from,
                to,
                width_in_bytes: row,
                height,
                depth,
            };
            // SAFETY: the host's part is as long as the level, and the array is alive.
            self.check("cuMemcpy3D", unsafe { (f.copy)(&raw const copy) })?;
        }
        Ok(())
    }

    fn create_object(&self, image: &Image, made: &Made) -> Result<u64, DriverError> {
        let f = &self.images.0;
        let [width, height, _] = image.extent;
        let row = width * image.texel_bytes();
        let (kind, object, lengths) = match image.geometry {
            Geometry::Linear => (OF_ROW, made.memory, [row, 0, 0]),
            Geometry::Pitched => (OF_PLANE, made.memory, [width, height, PITCH_BYTES]),
            _ if image.levels > 0 => (OF_MIPMAP, made.mipmap.addr() as u64, [0; 3]),
            _ => (OF_ARRAY, made.array.addr() as u64, [0; 3]),
        };
        let is_memory = made.memory != 0;
        let resource = Resource {
            kind,
            object,
            format: if is_memory { image.format } else { 0 },
            channels: if is_memory {
                image.channels as c_uint
            } else {
                0
            },
            lengths,
            rest: [0; 11],
            flags: 0,
        };
        let texture = Texture {
            address: image.address,
            filter: image.filter,
            flags: image.flags,
            anisotropy: 0,
            filter_between: image.filter_between,
            bias: image.bias,
            clamp: [0.0, LEVEL_MAX],
            border: image.border,
            reserved: [0; 12],
        };
        let mut handle = 0;
        // SAFETY: the descriptors are locals, and the result goes to one.
        unsafe {
            let (to, resource) = (&raw mut handle, &raw const resource);
            match image.access {
                Access::Texture => {
                    let status = (f.create_texture)(to, resource, &raw const texture, null());
                    self.check("cuTexObjectCreate", status)?;
                }
                Access::Surface => {
                    self.check("cuSurfObjectCreate", (f.create_surface)(to, resource))?;
                }
            }
        }
        Ok(handle)
    }

    /// Binds the module's reference of the image's name.
    fn bind(&self, module: &Module, image: &Image, made: &Made) -> Result<(), DriverError> {
        const OVERRIDE_FORMAT: c_uint = 1;
        let f = &self.images.0;
        let name = CString::new(image.texels.name.as_str())
            .map_err(|error| DriverError::Library(error.to_string()))?;
        let name: &CStr = &name;
        let mut reference = null_mut();
        let to = &raw mut reference;
        // SAFETY: the module and the array are alive, and the result goes to a local.
        unsafe {
            if image.access == Access::Surface {
                let status = (f.find_surface)(to, module.module, name.as_ptr());
                self.check("cuModuleGetSurfRef", status)?;
                let status = (f.bind_surface)(reference, made.array, 0);
                return self.check("cuSurfRefSetArray", status);
            }
            let status = (f.find_texture)(to, module.module, name.as_ptr());
            self.check("cuModuleGetTexRef", status)?;
            for (axis, mode) in (0..).zip(image.address) {
                let status = (f.set_address_mode)(reference, axis, mode as c_int);
                self.check("cuTexRefSetAddressMode", status)?;
            }
            let status = (f.set_filter_mode)(reference, image.filter as c_int);
            self.check("cuTexRefSetFilterMode", status)?;
            self.check("cuTexRefSetFlags", (f.set_flags)(reference, image.flags))?;
            let status = (f.bind_texture)(reference, made.array, OVERRIDE_FORMAT);
            self.check("cuTexRefSetArray", status)
        }
    }

    /// Reads an image's texels, and ends it.
    pub(super) fn read_back(&self, image: &Image, made: &Made) -> Result<Vec<u8>, DriverError> {
        let f = &self.images.0;
        let mut texels = image.texels.initial.clone();
        if made.memory == 0 {
            self.transfer(image, made, &mut texels, false)?;
        } else {
            self.download(made.memory, pitched(image).len())?;
        }
        // SAFETY: nobody uses the objects any more.
        unsafe {
            if let Some(handle) = made.handle {
                let status = match image.access {
                    Access::Texture => (f.destroy_texture)(handle),
                    Access::Surface => (f.destroy_surface)(handle),
                };
                self.check("cuTexObjectDestroy", status)?;
            }
            if image.levels > 0 {
                let status = (f.destroy_mipmap)(made.mipmap);
                self.check("cuMipmappedArrayDestroy", status)?;
            } else if made.memory == 0 && !image.is_reference {
                self.check("cuArrayDestroy", (f.destroy_array)(made.array))?;
            }
        }
        Ok(texels)
    }
}

fn side(kind: c_uint, host: *mut c_void, array: *mut c_void, pitch: usize, height: usize) -> Side {
    Side {
        x_in_bytes: 0,
        y: 0,
        z: 0,
        level: 0,
        memory_type: kind,
        host,
        device: 0,
        array,
        reserved: null_mut(),
        pitch,
        height,
    }
}

/// The rows of an image in plain memory.
fn pitched(image: &Image) -> Vec<u8> {
    if image.geometry == Geometry::Linear {
        return image.texels.initial.clone();
    }
    let row = image.extent[0] * image.texel_bytes();
    let mut bytes = Vec::new();
    for texels in image.texels.initial.chunks(row) {
        bytes.extend_from_slice(texels);
        bytes.resize(bytes.len().next_multiple_of(PITCH_BYTES), 0);
    }
    bytes
}
