// SPDX-License-Identifier: Apache-2.0
//! What the client knows of arrays, textures and surfaces. Their handles are the driver's own.

use std::collections::HashMap;

use gvirtus_abi::{
    CUDA_ARRAY3D_CUBEMAP, CUDA_ARRAY3D_DESCRIPTOR, CUDA_ARRAY3D_LAYERED, CUDA_RESOURCE_DESC,
    CUDA_RESOURCE_VIEW_DESC, CUDA_TEXTURE_DESC, CUarray, CUarray_format, CUmipmappedArray,
    CUresult, CUsurfObject, CUtexObject,
};
use parking_lot::RwLock;

const INVALID_HANDLE: CUresult = CUresult::CUDA_ERROR_INVALID_HANDLE;

/// An array, or one level of a mipmapped array.
#[derive(Clone, Copy)]
pub(crate) struct Array {
    /// Number of its context.
    pub(crate) context: u16,
    /// Its own extents, also of a level.
    pub(crate) descriptor: CUDA_ARRAY3D_DESCRIPTOR,
    /// The mipmapped array whose level it is.
    pub(crate) parent: Option<CUmipmappedArray>,
}

/// A mipmapped array.
#[derive(Clone, Copy)]
pub(crate) struct Mipmap {
    /// Number of its context.
    pub(crate) context: u16,
    /// Of its first level.
    pub(crate) descriptor: CUDA_ARRAY3D_DESCRIPTOR,
}

/// A texture object, as it was asked for.
#[derive(Clone, Copy)]
pub(crate) struct Texture {
    /// Number of its context.
    pub(crate) context: u16,
    /// What is read.
    pub(crate) resource: CUDA_RESOURCE_DESC,
    /// How.
    pub(crate) texture: CUDA_TEXTURE_DESC,
    /// Part of the resource.
    pub(crate) view: Option<CUDA_RESOURCE_VIEW_DESC>,
}

/// A surface object, as it was asked for.
#[derive(Clone, Copy)]
pub(crate) struct Surface {
    /// Number of its context.
    pub(crate) context: u16,
    /// What is read and written.
    pub(crate) resource: CUDA_RESOURCE_DESC,
}

/// All of them, by handle.
#[derive(Default)]
pub(crate) struct Arrays {
    arrays: RwLock<HashMap<CUarray, Array>>,
    mipmaps: RwLock<HashMap<CUmipmappedArray, Mipmap>>,
    textures: RwLock<HashMap<CUtexObject, Texture>>,
    surfaces: RwLock<HashMap<CUsurfObject, Surface>>,
}

macro_rules! table {
    ($handle:ty, $value:ty, $field:ident, $find:ident, $insert:ident, $remove:ident) => {
        impl Arrays {
            pub(crate) fn $find(&self, handle: $handle) -> Result<$value, CUresult> {
                self.$field
                    .read()
                    .get(&handle)
                    .copied()
                    .ok_or(INVALID_HANDLE)
            }

            pub(crate) fn $insert(&self, handle: $handle, value: $value) {
                self.$field.write().insert(handle, value);
            }

            pub(crate) fn $remove(&self, handle: $handle) -> Result<$value, CUresult> {
                self.$field.write().remove(&handle).ok_or(INVALID_HANDLE)
            }
        }
    };
}

table!(CUarray, Array, arrays, array, insert_array, remove_array);
table!(
    CUmipmappedArray,
    Mipmap,
    mipmaps,
    mipmap,
    insert_mipmap,
    remove_mipmap
);
table!(
    CUtexObject,
    Texture,
    textures,
    texture,
    insert_texture,
    remove_texture
);
table!(
    CUsurfObject,
    Surface,
    surfaces,
    surface,
    insert_surface,
    remove_surface
);

impl Arrays {
    /// Forgets the levels of a mipmapped array.
    pub(crate) fn remove_levels(&self, mipmap: CUmipmappedArray) {
        let mut arrays = self.arrays.write();
        arrays.retain(|_, array| array.parent != Some(mipmap));
    }

    /// Forgets what belonged to a context.
    pub(crate) fn context_ended(&self, number: u16) {
        self.arrays
            .write()
            .retain(|_, array| array.context != number);
        self.mipmaps
            .write()
            .retain(|_, mipmap| mipmap.context != number);
        self.textures
            .write()
            .retain(|_, texture| texture.context != number);
        self.surfaces
            .write()
            .retain(|_, surface| surface.context != number);
    }
}

impl Array {
    /// Whether a box of bytes, rows and slices lies in it, on the edges of texels. What the client
    /// does not know is left to the driver.
    pub(crate) fn holds(&self, at: [usize; 3], shape: [usize; 3]) -> bool {
        let Some(texel) = texel_bytes(&self.descriptor) else {
            return true;
        };
        let descriptor = &self.descriptor;
        let limits = [
            descriptor.Width.saturating_mul(texel),
            descriptor.Height.max(1),
            descriptor.Depth.max(1),
        ];
        let is_inside = (0..3).all(|axis| {
            let end = at[axis].checked_add(shape[axis]);
            end.is_some_and(|end| end <= limits[axis])
        });
        is_inside && at[0].is_multiple_of(texel) && shape[0].is_multiple_of(texel)
    }

    /// Bytes of an element.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_NOT_SUPPORTED` for formats that are not plain.
    pub(crate) fn element_bytes(&self) -> Result<usize, CUresult> {
        texel_bytes(&self.descriptor).ok_or(CUresult::CUDA_ERROR_NOT_SUPPORTED)
    }
}

/// Bytes of a texel of a plain format.
fn texel_bytes(descriptor: &CUDA_ARRAY3D_DESCRIPTOR) -> Option<usize> {
    use CUarray_format as F;
    let bytes = match descriptor.Format {
        F::CU_AD_FORMAT_UNSIGNED_INT8 | F::CU_AD_FORMAT_SIGNED_INT8 => 1,
        F::CU_AD_FORMAT_UNSIGNED_INT16 | F::CU_AD_FORMAT_SIGNED_INT16 | F::CU_AD_FORMAT_HALF => 2,
        F::CU_AD_FORMAT_UNSIGNED_INT32 | F::CU_AD_FORMAT_SIGNED_INT32 | F::CU_AD_FORMAT_FLOAT => 4,
        _ => return None,
    };
    Some(bytes * descriptor.NumChannels as usize)
}

/// The extents of a level.
pub(crate) fn level_descriptor(
    whole: &CUDA_ARRAY3D_DESCRIPTOR,
    level: u32,
) -> CUDA_ARRAY3D_DESCRIPTOR {
    let shrunk = |length: usize| match length {
        0 => 0,
        length => length.checked_shr(level).unwrap_or(0).max(1),
    };
    // Layers and faces are as many in every level.
    let is_volume = whole.Flags & (CUDA_ARRAY3D_LAYERED | CUDA_ARRAY3D_CUBEMAP) == 0;
    CUDA_ARRAY3D_DESCRIPTOR {
        Width: shrunk(whole.Width),
        Height: shrunk(whole.Height),
        Depth: if is_volume {
            shrunk(whole.Depth)
        } else {
            whole.Depth
        },
        ..*whole
    }
}
