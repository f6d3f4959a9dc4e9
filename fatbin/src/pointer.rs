// SPDX-License-Identifier: Apache-2.0
//! Reading images through the bare pointers that the CUDA API passes.

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::slice;

use crate::limits::{IMAGE_BYTES_MAX, PRELINKED_COUNT_MAX};
use crate::size::{IMAGE_KIND_BYTES, ImageKind, ImageSize, image_kind, image_size};
use crate::{FatbinError, WRAPPER_MAGIC};

/// `__fatBinC_Wrapper_t` of `fatbinary_section.h`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Wrapper {
    magic: u32,
    version: u32,
    data: *const c_void,
    /// Version 1: a file name. Version 2: a null-terminated array of prelinked fatbins.
    filename_or_fatbins: *const c_void,
}

const _: () = assert!(size_of::<Wrapper>() as u64 == crate::WRAPPER_BYTES);

/// An image found through a pointer, with its length made out.
#[derive(Clone, Debug)]
pub struct PointedImage<'a> {
    /// What [`PointedImage::bytes`] holds; never a wrapper.
    pub kind: ImageKind,
    /// The whole image; for PTX without the NUL.
    pub bytes: &'a [u8],
    /// Relocatable fatbins behind a version 2 wrapper (`nvcc -rdc=true`), to be linked where
    /// `bytes` holds nothing the device can run.
    pub prelinked: Vec<&'a [u8]>,
}

/// Follows the pointer of `cuModuleLoadData`, `cuLibraryLoadData` or `__cudaRegisterFatBinary`.
///
/// # Safety
/// `image` is null or points to a wrapper, a raw fatbin, an ELF image or NUL-terminated PTX that
/// is whole, readable and neither moved nor changed for `'a`. That is what the CUDA functions ask
/// of their callers.
///
/// # Errors
/// [`FatbinError`] where the bytes are no image, or one with impossible sizes.
pub unsafe fn image_at<'a>(image: *const c_void) -> Result<PointedImage<'a>, FatbinError> {
    // SAFETY: the caller promises an image of which 4 bytes are readable, or null.
    let kind = unsafe { kind_at(image) }?;
    if kind != ImageKind::Wrapper {
        // SAFETY: the caller's promise is passed on.
        let bytes = unsafe { measured(image) }?;
        return Ok(PointedImage {
            kind,
            bytes,
            prelinked: Vec::new(),
        });
    }
    // SAFETY: the magic says that a wrapper is there, and the caller promises that it is whole; it
    // is read unaligned because nothing promises alignment.
    let wrapper = unsafe { image.cast::<Wrapper>().read_unaligned() };
    debug_assert_eq!(wrapper.magic, WRAPPER_MAGIC);
    // SAFETY: a wrapper's data pointer is null or points to an image; the caller promises it.
    let kind = unsafe { kind_at(wrapper.data) }?;
    if kind == ImageKind::Wrapper {
        return Err(FatbinError::BadField {
            what: "wrapper data",
            value: WRAPPER_MAGIC.into(),
        });
    }
    // SAFETY: as above.
    let bytes = unsafe { measured(wrapper.data) }?;
    let mut prelinked = Vec::new();
    if wrapper.version == 2 && !wrapper.filename_or_fatbins.is_null() {
        // SAFETY: in version 2 the field is a null-terminated array of fatbins.
        prelinked = unsafe { prelinked_at(wrapper.filename_or_fatbins.cast()) }?;
    }
    Ok(PointedImage {
        kind,
        bytes,
        prelinked,
    })
}

/// # Safety
/// `list` points to fatbin pointers, of which the last is null; all outlive `'a`.
unsafe fn prelinked_at<'a>(list: *const *const c_void) -> Result<Vec<&'a [u8]>, FatbinError> {
    let mut fatbins = Vec::new();
    for index in 0..PRELINKED_COUNT_MAX {
        // SAFETY: every earlier element was not null, so this one is in the array.
        let fatbin = unsafe { list.add(index).read_unaligned() };
        if fatbin.is_null() {
            return Ok(fatbins);
        }
        // SAFETY: the elements point to whole fatbins.
        fatbins.push(unsafe { measured(fatbin) }?);
    }
    let limit = PRELINKED_COUNT_MAX as u64;
    Err(FatbinError::OverLimit {
        what: "prelinked fatbin count",
        value: limit + 1,
        limit,
    })
}

/// # Safety
/// As [`image_at`].
unsafe fn kind_at(image: *const c_void) -> Result<ImageKind, FatbinError> {
    if image.is_null() {
        return Err(FatbinError::NullPointer("image"));
    }
    let start = image.cast::<u8>();
    let mut prefix = [0; IMAGE_KIND_BYTES];
    for (index, byte) in prefix.iter_mut().enumerate() {
        // SAFETY: no byte before this one was a NUL, so even a PTX text goes on to here; every
        // other image is longer.
        *byte = unsafe { start.add(index).read() };
        if *byte == 0 {
            break;
        }
    }
    image_kind(&prefix).ok_or(FatbinError::UnknownImage)
}

/// The bytes of an image that is not a wrapper.
///
/// # Safety
/// As [`image_at`], and `image` is not null.
unsafe fn measured<'a>(image: *const c_void) -> Result<&'a [u8], FatbinError> {
    // SAFETY: the caller's promise is passed on.
    if unsafe { kind_at(image) }? == ImageKind::Ptx {
        // SAFETY: PTX is NUL-terminated by the caller's promise.
        let text = unsafe { std::ffi::CStr::from_ptr(image.cast()) }.to_bytes();
        crate::bytes::within("PTX length", text.len() as u64, IMAGE_BYTES_MAX)?;
        return Ok(text);
    }
    let mut seen = IMAGE_KIND_BYTES as u64;
    loop {
        let len = usize::try_from(seen).map_err(|_| FatbinError::BadField {
            what: "image size",
            value: seen,
        })?;
        // SAFETY: `seen` is what the image's own headers say it has at least, and the caller
        // promises a whole image. It is at most `IMAGE_BYTES_MAX`, below `isize::MAX`.
        let prefix = unsafe { slice::from_raw_parts(image.cast::<u8>(), len) };
        match image_size(prefix)? {
            ImageSize::Known(total) => {
                let len = usize::try_from(total).map_err(|_| FatbinError::BadField {
                    what: "image size",
                    value: total,
                })?;
                // SAFETY: as above; `total` is where the image ends.
                return Ok(unsafe { slice::from_raw_parts(image.cast::<u8>(), len) });
            }
            ImageSize::NeedsPrefix(more) if more > seen => seen = more,
            ImageSize::NeedsPrefix(more) => {
                return Err(FatbinError::BadField {
                    what: "image size",
                    value: more,
                });
            }
        }
    }
}
