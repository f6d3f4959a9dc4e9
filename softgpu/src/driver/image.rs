// SPDX-License-Identifier: Apache-2.0
//! From what the application passes as an image to PTX texts, and what the JIT options ask for.

use core::ffi::c_void;
use std::borrow::Cow;
use std::time::Instant;

use gvirtus_abi::{CUjit_option, CUresult};
use gvirtus_driver_face::log;
use gvirtus_fatbin::{
    ComputeCapability, Fatbin, FatbinError, ImageKind, PointedImage, image_at, image_kind,
};

use super::arguments::{read_array, write_text};
use super::attributes::COMPUTE_CAPABILITY;
use super::program::Program;

/// Why an image cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub(super) enum ImageError {
    /// The container is damaged, or holds nothing that the device runs.
    #[error("{0}")]
    Fatbin(#[from] FatbinError),
    /// Only machine code, which nobody but a real GPU runs.
    #[error("the image is a cubin; the software device runs PTX only")]
    Cubin,
    /// The PTX is wrong, or uses what the device does not have.
    #[error("{0}")]
    Ptx(String),
}

impl ImageError {
    fn status(&self) -> CUresult {
        match self {
            Self::Cubin | Self::Fatbin(FatbinError::NoBinaryForGpu { .. }) => {
                CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU
            }
            Self::Fatbin(FatbinError::NullPointer(_)) => CUresult::CUDA_ERROR_INVALID_VALUE,
            Self::Fatbin(_) => CUresult::CUDA_ERROR_INVALID_IMAGE,
            Self::Ptx(_) => CUresult::CUDA_ERROR_INVALID_PTX,
        }
    }
}

/// The options of a load, as far as they are looked at: where its messages go.
pub(super) struct JitOptions {
    error_log: *mut i8,
    error_log_bytes: u32,
    /// Where the length of the error log goes.
    error_log_size: Option<*mut *mut c_void>,
    /// Where the length of the information log goes, which stays empty.
    info_log_size: Option<*mut *mut c_void>,
    /// Where the milliseconds go.
    wall_time: Option<*mut *mut c_void>,
}

impl JitOptions {
    /// No options.
    pub(super) const NONE: Self = Self {
        error_log: std::ptr::null_mut(),
        error_log_bytes: 0,
        error_log_size: None,
        info_log_size: None,
        wall_time: None,
    };

    /// # Errors
    ///
    /// `CUDA_ERROR_INVALID_VALUE` if an array is missing.
    ///
    /// # Safety
    ///
    /// Both arrays are null or have `count` elements, and the buffers that they name are as long as
    /// they say.
    pub(super) unsafe fn read(
        count: u32,
        options: *mut CUjit_option,
        values: *mut *mut c_void,
    ) -> Result<Self, CUresult> {
        if count > 0 && (options.is_null() || values.is_null()) {
            return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
        }
        // SAFETY: the caller's promise.
        let names = unsafe { read_array(options.cast_const(), count as usize) };
        let mut read = Self::NONE;
        for (index, option) in names.iter().enumerate() {
            // SAFETY: the values have as many elements as the options.
            let place = unsafe { values.add(index) };
            // SAFETY: as above. Values are stored in the place of a pointer, whatever their type.
            let value = unsafe { place.read() };
            match *option {
                CUjit_option::CU_JIT_ERROR_LOG_BUFFER => read.error_log = value.cast(),
                CUjit_option::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES => {
                    read.error_log_bytes = value.addr() as u32;
                    read.error_log_size = Some(place);
                }
                CUjit_option::CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES => read.info_log_size = Some(place),
                CUjit_option::CU_JIT_WALL_TIME => read.wall_time = Some(place),
                _ => {}
            }
        }
        Ok(read)
    }

    fn report(&self, error: Option<&ImageError>, started: Instant) {
        let message = error.map_or_else(String::new, ToString::to_string);
        let length = i32::try_from(self.error_log_bytes).unwrap_or(i32::MAX);
        // SAFETY: the promise made to `read`; a missing or empty buffer is left alone, which is all
        // that the result would say.
        let written = unsafe { write_text(self.error_log, length, &message) };
        let bytes = match written {
            Ok(()) => message.len().min(self.error_log_bytes as usize - 1),
            Err(_) => 0,
        };
        let milliseconds = started.elapsed().as_secs_f32() * 1e3;
        for (place, value) in [
            (self.error_log_size, bytes),
            (self.info_log_size, 0),
            (self.wall_time, milliseconds.to_bits() as usize),
        ] {
            if let Some(place) = place {
                // SAFETY: an element of the array of values, valid by the promise made to `read`.
                unsafe { place.write(std::ptr::without_provenance_mut(value)) };
            }
        }
    }
}

/// Compiles the image behind a pointer.
///
/// # Errors
///
/// The status for the caller; the reason is in the JIT log and on standard error.
///
/// # Safety
///
/// `image` is null or points to a whole image of a kind that CUDA knows.
pub(super) unsafe fn load(image: *const c_void, jit: &JitOptions) -> Result<Program, CUresult> {
    let started = Instant::now();
    // SAFETY: the caller's promise.
    let program = unsafe { image_at(image) }
        .map_err(ImageError::from)
        .and_then(|image| compile(&image));
    finish(program, jit, started)
}

/// Compiles the image in a file.
///
/// # Errors
///
/// As [`load`], and `CUDA_ERROR_FILE_NOT_FOUND`.
pub(super) fn load_file(path: &str, jit: &JitOptions) -> Result<Program, CUresult> {
    let started = Instant::now();
    let bytes = std::fs::read(path).map_err(|_| CUresult::CUDA_ERROR_FILE_NOT_FOUND)?;
    let program = match image_kind(&bytes) {
        None | Some(ImageKind::Wrapper) => Err(FatbinError::UnknownImage.into()),
        Some(kind) => compile(&PointedImage {
            kind,
            bytes: &bytes,
            prelinked: Vec::new(),
        }),
    };
    finish(program, jit, started)
}

fn finish(
    program: Result<Program, ImageError>,
    jit: &JitOptions,
    started: Instant,
) -> Result<Program, CUresult> {
    jit.report(program.as_ref().err(), started);
    program.map_err(|error| {
        log::write_always(format_args!("cannot load a module: {error}"));
        error.status()
    })
}

fn compile(image: &PointedImage<'_>) -> Result<Program, ImageError> {
    let own = match image.kind {
        ImageKind::Ptx => vec![Cow::Borrowed(image.bytes)],
        ImageKind::Elf => return Err(ImageError::Cubin),
        ImageKind::Fatbin | ImageKind::Wrapper => match ptx_of(image.bytes) {
            Ok(text) => vec![text],
            // Relocatable code: the image itself is empty, its parts are to be linked.
            Err(missing @ FatbinError::NoBinaryForGpu { .. }) => {
                match linkable(&image.prelinked)? {
                    parts if parts.is_empty() => return Err(missing.into()),
                    parts => parts,
                }
            }
            Err(error) => return Err(error.into()),
        },
    };
    let texts: Vec<Cow<'_, str>> = own
        .iter()
        .map(|bytes| String::from_utf8_lossy(trim(bytes)))
        .collect();
    let texts: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
    Program::compile(&texts).map_err(ImageError::Ptx)
}

/// The PTX of all parts that have some. A part without, such as NVIDIA's device runtime, is left
/// out: if anything of it is used, the linker will miss it by name.
fn linkable<'a>(fatbins: &[&'a [u8]]) -> Result<Vec<Cow<'a, [u8]>>, FatbinError> {
    let parts = fatbins.iter().map(|fatbin| ptx_of(fatbin));
    parts
        .filter(|part| !matches!(part, Err(FatbinError::NoBinaryForGpu { .. })))
        .collect()
}

fn ptx_of(fatbin: &[u8]) -> Result<Cow<'_, [u8]>, FatbinError> {
    let [major, minor] = COMPUTE_CAPABILITY.map(i32::unsigned_abs);
    let device = ComputeCapability { major, minor };
    Fatbin::parse(fatbin)?.select_ptx(device)?.text()
}

/// Without the zero that ends a text, and what may follow it.
fn trim(bytes: &[u8]) -> &[u8] {
    let length = bytes.iter().position(|byte| *byte == 0);
    &bytes[..length.unwrap_or(bytes.len())]
}
