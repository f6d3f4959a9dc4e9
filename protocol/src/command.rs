// SPDX-License-Identifier: Apache-2.0
//! The bodies of the messages that are written by hand.
//!
//! A regular call needs none of these: its command is one 64-bit word an input, its reply one word
//! an output, in the order of the C declaration (see `Shape`). Streams, events and functions travel
//! as the numbers below, all else by `gvirtus_abi::Scalar`.
//!
//! **Numbers instead of handles.** The client mints the numbers of contexts, streams, events and
//! images, so that creating one needs no reply. Numbers are small and are used again after the
//! object is destroyed. Number 0 is nothing (a context) or the legacy default stream of the
//! header's context; the default stream of a thread is a stream like any other, made by the client.
//!
//! | message | travels | body | payload | reply |
//! |---|---|---|---|---|
//! | `cuDevicePrimaryCtxRetain` | posted | [`ContextCreate`] | | |
//! | `cuDevicePrimaryCtxRelease_v2` | posted | [`Word`]: number of the context | | |
//! | `cuDevicePrimaryCtxSetFlags_v2` | sync | [`DeviceFlags`] | | |
//! | `cuDevicePrimaryCtxReset_v2` | sync | [`Word`]: ordinal of the device | | |
//! | `cuCtxCreate_v4` | posted | [`ContextCreate`] | | |
//! | `cuCtxDestroy_v2` | posted | [`Word`]: number of the context | | |
//! | `cuCtxSetFlags` | posted | [`DeviceFlags`] | | |
//! | `cuCtxSynchronize` | sync | none: the header's context | | |
//! | `cuStreamCreateWithPriority` | posted | [`StreamCreate`] | | |
//! | `cuStreamDestroy_v2` | posted | [`Word`]: number of the stream | | |
//! | `cuStreamSynchronize` | sync | [`Word`]: number of the stream | | |
//! | `cuEventCreate` | posted | [`EventCreate`] | | |
//! | `cuEventDestroy_v2` | posted | [`Word`]: number of the event | | |
//! | `cuEventSynchronize` | sync | [`Word`]: number of the event | | |
//! | `cuLibraryLoadData`, `cuModuleLoadData` | sync | [`Load`], [`LoadOption`] … | image | [`LoadedImage`], or the error log |
//! | `cuLibraryUnload`, `cuModuleUnload` | posted | [`Word`]: number of the image | | |
//! | `cuLinkCreate_v2` | sync | [`Load`]: the link's number, [`LoadOption`] … | | |
//! | `cuLinkAddData_v2` | sync | [`LinkAdd`], [`LoadOption`] …, name | data | [`LinkReply`] |
//! | `cuLinkComplete` | sync | [`Word`]: number of the link | | [`LinkReply`] |
//! | `cuLinkDestroy` | posted | [`Word`]: number of the link | | |
//! | `cuModuleGetGlobal_v2` | sync | [`GetGlobal`], name | | two words: address, bytes |
//! | `cuLibraryGetManaged` | sync | [`GetGlobal`], name | | two words: address, bytes |
//! | `cuFuncGetAttribute`, `cuKernelGetAttribute` | sync | [`FunctionAttributes`] | | words |
//! | `cuMemAlloc_v2` | sync | [`Word`]: bytes | | one word: address |
//! | `cuMemAllocPitch_v2` | sync | [`AllocatePitch`] | | two words: address, pitch |
//! | `cuMemFree_v2` | posted | [`Word`]: address | | |
//! | `cuMemAllocAsync` | sync | words: bytes, stream | | one word: address |
//! | `cuMemAllocFromPoolAsync` | sync | words: bytes, pool, stream | | one word: address |
//! | `cuMemFreeAsync` | posted | words: address, stream | | |
//! | `cuMemPoolCreate` | sync | words: pool, allocation type, handle types, location's type and id, most bytes, usage | | |
//! | `cuMemPoolDestroy`, `cuMemPoolTrimTo` | sync | words: pool, for the latter bytes | | |
//! | `cuMemPoolSetAttribute` | sync | words: pool, attribute, value | | |
//! | `cuMemPoolGetAttribute` | sync | words: pool, attribute | | one word: value |
//! | `cuMemPoolSetAccess` | sync | words: pool, then location's type and id and flags of each | | |
//! | `cuMemPoolGetAccess` | sync | words: pool, location's type and id | | one word: flags |
//! | `cuDeviceSetMemPool` | sync | words: ordinal, pool | | |
//! | `cuDeviceGetMemPool`, `cuDeviceGetDefaultMemPool` | sync | words: ordinal, a free pool number | | one word: the pool's number, which is the one offered if it had none |
//! | `cuMemcpyHtoDAsync_v2` | posted | [`Copy2D`] | rows | |
//! | `cuMemcpyDtoHAsync_v2` | sync | [`Copy2D`] | | payload: rows |
//! | `cuArray3DCreate_v2`, `cuMipmappedArrayCreate` | sync | [`ArrayCreate`] | | one word: handle |
//! | `cuMipmappedArrayGetLevel` | sync | [`ArrayLevel`] | | one word: handle |
//! | `cuArrayDestroy`, `cuMipmappedArrayDestroy` | posted | [`Word`]: handle | | |
//! | `cuTexObjectCreate` | sync | [`TextureCreate`] | | one word: handle |
//! | `cuSurfObjectCreate` | sync | [`Resource`] | | one word: handle |
//! | `cuTexObjectDestroy`, `cuSurfObjectDestroy` | posted | [`Word`]: handle | | |
//! | `cuModuleGetTexRef`, `cuModuleGetSurfRef` | sync | [`GetGlobal`], name | | one word: handle |
//! | `cuTexRefSetAddress_v2` | sync | [`ReferenceAddress`] | | one word: offset |
//! | `cuTexRefSetAddress2D_v3` | sync | [`ReferencePlane`] | | |
//! | `cuTexRefSetBorderColor` | sync | [`ReferenceBorder`] | | |
//! | `cuTexRefGetBorderColor` | sync | [`Word`]: handle | | four words |
//! | `cuTensorMapEncodeTiled` | sync | words: type, rank, address, interleave, swizzle, promotion, fill; 5 extents, 4 strides, 5 steps; 5 lengths of the box | | 16 words |
//! | `cuTensorMapEncodeIm2col` | sync | words as before up to the steps; 3 lower and 3 upper corners, channels, pixels | | 16 words |
//! | `cuTensorMapReplaceAddress` | sync | words: 16 of the map, address | | 16 words |
//! | `cuMemcpyHtoAAsync_v2` | posted | [`CopyBox`] | rows | |
//! | `cuMemcpyAtoHAsync_v2` | sync | [`CopyBox`] | | payload: rows |
//! | `cuMemcpy3DAsync_v2` | posted | [`CopyBetween`] | | |
//! | `cuLaunchKernel` | posted | [`Launch`], attributes, parameters | | |
//! | `cuLaunchHostFunc`, `cuStreamAddCallback` | posted | [`HostFunction`] | | |
//! | `HOST_FUNCTION_RETURNED` | posted | [`Word`]: number of the call | | |
//! | `cuOccupancyMaxPotentialClusterSize`, `cuOccupancyMaxActiveClusters` | sync | [`Launch`], attributes | | one word |
//! | `PING` | sync | none | | |
//!
//! **Arrays, textures and surfaces travel as the driver's own handles**: kernels hold them, so
//! nothing can be translated. The worker keeps those that it has given, and refuses others.
//!
//! A failed sync message answers with its status and, but for compilers' logs, no body and no
//! payload. `Opcode::is_posted` is the same column as code.

use serde::{Deserialize, Serialize};
use zerocopy::little_endian::{I32, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub use crate::image_command::{
    ArrayCreate, ArrayLevel, CopyBetween, CopyBox, DeviceBox, ReferenceAddress, ReferenceBorder,
    ReferencePlane, Resource, ResourceView, Sampler, TextureCreate,
};

/// Names a kernel: the image's number and the kernel's place in the image's [`LoadedImage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FunctionNumber {
    /// Number of the library or module.
    pub image: u32,
    /// Index in [`LoadedImage::kernels`].
    pub kernel: u32,
}

impl FunctionNumber {
    /// The word that travels.
    pub const fn to_word(self) -> u64 {
        ((self.image as u64) << 32) | self.kernel as u64
    }

    /// The number that a word carries.
    #[allow(clippy::cast_possible_truncation, reason = "the halves are meant")]
    pub const fn from_word(word: u64) -> Self {
        Self {
            image: (word >> 32) as u32,
            kernel: word as u32,
        }
    }
}

/// `cuDevicePrimaryCtxRetain`, `cuCtxCreate` (posted): the header's context becomes a context of
/// this device.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ContextCreate {
    /// Ordinal.
    pub device: U32,
    /// `CUctx_flags`.
    pub flags: U32,
}

/// `cuDevicePrimaryCtxSetFlags` (sync) and `cuCtxSetFlags` (posted, of the header's context).
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct DeviceFlags {
    /// Ordinal.
    pub device: U32,
    /// `CUctx_flags`.
    pub flags: U32,
}

/// `cuStreamCreateWithPriority` (posted).
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct StreamCreate {
    /// The new stream's number.
    pub stream: U32,
    /// `CUstream_flags`.
    pub flags: U32,
    /// Lower is more urgent.
    pub priority: I32,
}

/// `cuEventCreate` (posted).
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct EventCreate {
    /// The new event's number.
    pub event: U32,
    /// `CUevent_flags`.
    pub flags: U32,
}

/// One number, address or size: what is destroyed, synchronised with, or asked for (see the table).
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Word {
    /// The number.
    pub word: U64,
}

/// `cuMemAllocPitch` (sync); the reply is two words, address and pitch in bytes.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct AllocatePitch {
    /// Bytes of a row that are used.
    pub width_bytes: U64,
    /// Rows.
    pub height: U64,
    /// 4, 8 or 16.
    pub element_bytes: U32,
}

/// `cuMemcpyHtoDAsync` (posted, payload: the rows without gaps) and `cuMemcpyDtoHAsync` (sync, the
/// rows without gaps are the reply's payload).
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Copy2D {
    /// Address of the first row in device memory.
    pub device_address: U64,
    /// Bytes from row to row in device memory; of one row, without meaning.
    pub device_pitch_bytes: U64,
    /// Bytes of a row.
    pub width_bytes: U64,
    /// Rows: 1 for a plain copy.
    pub height: U64,
    /// Number of the stream.
    pub stream: U32,
    /// 1 if the application's call returns only when the copy is done (`cuMemcpyHtoD`,
    /// `cuMemcpy2D`), 0 for the `Async` forms. Nothing that is sent after a synchronous copy
    /// overtakes it, on whatever stream. Without meaning for `cuMemcpyDtoHAsync`, whose reply tells
    /// that it is done.
    pub synchronous: U32,
}

/// `cuLaunchKernel` and its kin (posted). `attribute_count` attributes of [`ATTRIBUTE_BYTES`]
/// follow, then the parameters at the offsets that [`Kernel::parameters`] tells. Events in
/// attributes travel as their numbers; an attribute with a host pointer does not travel.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Launch {
    /// A [`FunctionNumber`].
    pub function: U64,
    /// Number of the stream.
    pub stream: U64,
    /// Blocks in x, y, z.
    pub grid: [U32; 3],
    /// Threads a block in x, y, z.
    pub block: [U32; 3],
    /// Dynamic shared memory a block, in bytes.
    pub shared_bytes: U32,
    /// How many attributes follow.
    pub attribute_count: U32,
    /// How many bytes of parameters follow the attributes.
    pub parameter_bytes: U32,
}

/// `cuLaunchHostFunc`, `cuStreamAddCallback` (posted). When the stream comes to it, the worker
/// sends a frame of the kind `HostFunction` with the function's number, and the stream goes on when
/// the client has posted `HOST_FUNCTION_RETURNED`.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct HostFunction {
    /// Number of the stream.
    pub stream: U32,
    /// The client's number for the function.
    pub function: U64,
}

/// Bytes of a `CUlaunchAttribute`.
pub const ATTRIBUTE_BYTES: usize = 72;

/// `cuLibraryLoadData`, `cuModuleLoadData` (sync, payload: the image). `option_count` of
/// [`LoadOption`] follow. A fatbin may be followed by others that the driver is to link with it
/// (`nvcc -rdc=true`), each at a multiple of `limits::IMAGE_PART_ALIGNMENT_BYTES`. A successful
/// reply's body is a [`LoadedImage`] as postcard, a failed one's the compiler's error log as text.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Load {
    /// The new image's number.
    pub image: U32,
    /// How many options follow.
    pub option_count: U32,
}

/// One option of the just-in-time compiler whose value is a number.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct LoadOption {
    /// A `CUjit_option`.
    pub option: U32,
    /// Its value, as the C API passes it in a pointer.
    pub value: U64,
}

/// `cuLinkAddData` (sync, payload: the data). `option_count` of [`LoadOption`] follow, then the
/// input's name. The reply's body is a [`LinkReply`], also of a failure.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct LinkAdd {
    /// Number of the link.
    pub link: U32,
    /// A `CUjitInputType`.
    pub kind: U32,
    /// How many options follow.
    pub option_count: U32,
}

/// What a linker says, and what it makes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkReply {
    /// The error log as it is by now.
    pub error_log: Vec<u8>,
    /// The information log as it is by now.
    pub info_log: Vec<u8>,
    /// Of `cuLinkComplete`.
    pub image: Vec<u8>,
}

impl LinkReply {
    /// The reply's body.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("plain data in memory always serialises")
    }

    /// Reads a reply's body; nothing if it is malformed.
    pub fn decode(body: &[u8]) -> Option<Self> {
        match postcard::take_from_bytes(body) {
            Ok((reply, [])) => Some(reply),
            _ => None,
        }
    }
}

/// `cuModuleGetGlobal`, `cuLibraryGetGlobal` (sync): the variable's name follows; the reply is two
/// words, address and bytes.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct GetGlobal {
    /// Number of the library or module.
    pub image: U32,
}

/// `cuFuncGetAttribute` (sync, in the header's context) and `cuKernelGetAttribute` (sync, on
/// `device`): the reply is one word for every `CUfunction_attribute` from 0 on, up to the first
/// that the driver does not know.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct FunctionAttributes {
    /// A [`FunctionNumber`].
    pub function: U64,
    /// Ordinal; of `cuFuncGetAttribute` without meaning.
    pub device: U32,
}

/// What a client must know of a library or module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadedImage {
    /// In the driver's order.
    pub kernels: Vec<Kernel>,
}

/// What a client must know of a kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kernel {
    /// As it is in the image: mangled for C++.
    pub name: String,
    /// Offset and size in bytes of every parameter.
    pub parameters: Vec<(u32, u32)>,
}

impl Kernel {
    /// Bytes of the parameters together, holes included.
    pub fn parameter_bytes(&self) -> usize {
        self.parameters
            .iter()
            .map(|(offset, size)| *offset as usize + *size as usize)
            .max()
            .unwrap_or(0)
    }
}

impl LoadedImage {
    /// The reply's body.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("plain data in memory always serialises")
    }

    /// Reads a reply's body; nothing if it is malformed.
    pub fn decode(body: &[u8]) -> Option<Self> {
        match postcard::take_from_bytes(body) {
            Ok((image, [])) => Some(image),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn images_return_and_no_bytes_panic(
            names in prop::collection::vec(
                (".*", prop::collection::vec(any::<(u32, u32)>(), 0..5)),
                0..5,
            ),
            noise in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            let kernels = names.into_iter().map(|(name, parameters)| Kernel { name, parameters });
            let image = LoadedImage { kernels: kernels.collect() };
            let bytes = image.encode();
            prop_assert_eq!(LoadedImage::decode(&bytes), Some(image));
            prop_assert_eq!(LoadedImage::decode(&bytes[..bytes.len() - 1]), None);
            let _ = LoadedImage::decode(&noise);
        }

        #[test]
        fn function_numbers_return(image: u32, kernel: u32) {
            let number = FunctionNumber { image, kernel };
            prop_assert_eq!(FunctionNumber::from_word(number.to_word()), number);
        }
    }

    #[test]
    fn parameters_end_at_the_last_byte() {
        let kernel = Kernel {
            name: "k".into(),
            parameters: vec![(0, 8), (8, 4), (16, 24)],
        };
        assert_eq!(kernel.parameter_bytes(), 40);
        assert_eq!(Kernel::default().parameter_bytes(), 0);
    }
}
