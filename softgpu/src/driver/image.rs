// SPDX-License-Identifier: Apache-2.0
//! From what the application passes as an image to PTX texts, and what the JIT options ask for.

use core::ffi::{c_char, c_void};
use std::borrow::Cow;
use std::time::Instant;

use gvirtus_abi::{CUjit_option, CUresult};
use gvirtus_driver_face::log;
use gvirtus_fatbin::{
    ComputeCapability, Fatbin, FatbinError, ImageKind, PointedImage, elf_sections, image_at,
    image_kind,
};

use super::architecture::{self, Architecture};
use super::arguments::{read_array, write_text};
use super::program::Program;

/// Name of the sections that hold the PTX texts of a linked image.
pub(super) const LINKED_SECTION: &[u8] = b".gvirtus.ptx";

/// Name of the section that holds the limit of registers, 32 bits.
pub(super) const REGISTERS_SECTION: &[u8] = b".gvirtus.registers";

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
    pub(super) fn status(&self) -> CUresult {
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

/// A buffer for messages.
#[derive(Clone, Copy)]
struct Log {
    buffer: *mut c_char,
    bytes: u32,
    /// Where the length of the text goes.
    size: Option<*mut *mut c_void>,
}

impl Log {
    const NONE: Self = Self {
        buffer: std::ptr::null_mut(),
        bytes: 0,
        size: None,
    };

    /// # Safety
    ///
    /// The buffer and the place of its length are valid for writing.
    unsafe fn write(&self, text: &str) {
        let length = i32::try_from(self.bytes).unwrap_or(i32::MAX);
        // SAFETY: the caller's promise; a missing or empty buffer is left alone, which is all that
        // the result would say.
        let written = unsafe { write_text(self.buffer, length, text) };
        let bytes = match written {
            Ok(()) => text.len().min(self.bytes as usize - 1),
            Err(_) => 0,
        };
        if let Some(place) = self.size {
            // SAFETY: the caller's promise.
            unsafe { place.write(std::ptr::without_provenance_mut(bytes)) };
        }
    }
}

/// The options of a load or a link, as far as they are looked at: where its messages go.
pub(super) struct JitOptions {
    error_log: Log,
    info_log: Log,
    /// Whether the information log is to say more than necessary.
    verbose: bool,
    /// Most registers of a thread.
    max_registers: Option<u32>,
    /// Where the milliseconds go.
    wall_time: Option<*mut *mut c_void>,
}

impl JitOptions {
    /// No options.
    pub(super) const NONE: Self = Self {
        error_log: Log::NONE,
        info_log: Log::NONE,
        verbose: false,
        max_registers: None,
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
                CUjit_option::CU_JIT_ERROR_LOG_BUFFER => read.error_log.buffer = value.cast(),
                CUjit_option::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES => {
                    read.error_log.bytes = value.addr() as u32;
                    read.error_log.size = Some(place);
                }
                CUjit_option::CU_JIT_INFO_LOG_BUFFER => read.info_log.buffer = value.cast(),
                CUjit_option::CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES => {
                    read.info_log.bytes = value.addr() as u32;
                    read.info_log.size = Some(place);
                }
                CUjit_option::CU_JIT_MAX_REGISTERS => {
                    read.max_registers = Some(value.addr() as u32).filter(|limit| *limit > 0);
                }
                CUjit_option::CU_JIT_LOG_VERBOSE => read.verbose = value.addr() != 0,
                CUjit_option::CU_JIT_WALL_TIME => read.wall_time = Some(place),
                _ => {}
            }
        }
        Ok(read)
    }

    /// Most registers of a thread, if the application says so.
    pub(super) fn max_registers(&self) -> Option<u32> {
        self.max_registers
    }

    /// Writes what there is to say: an error, or in verbose mode what was compiled.
    pub(super) fn report(&self, result: Result<&Program, &ImageError>, started: Instant) {
        let (error, info) = match result {
            Ok(program) if self.verbose => (String::new(), program.description()),
            Ok(_) => (String::new(), String::new()),
            Err(error) => (format!("error   : {error}"), String::new()),
        };
        for (log, text) in [(&self.error_log, error), (&self.info_log, info)] {
            // SAFETY: the promise made to `read`.
            unsafe { log.write(&text) };
        }
        if let Some(place) = self.wall_time {
            let milliseconds = started.elapsed().as_secs_f32() * 1e3;
            let value = std::ptr::without_provenance_mut(milliseconds.to_bits() as usize);
            // SAFETY: an element of the array of values, valid by the promise made to `read`.
            unsafe { place.write(value) };
        }
    }
}

// SAFETY: addresses only; whoever follows them does so under the promise made to `read`, which for
// a link lasts until its state is destroyed.
unsafe impl Send for JitOptions {}
// SAFETY: as above.
unsafe impl Sync for JitOptions {}

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
    let program = program.map(|mut program| {
        if let Some(limit) = jit.max_registers {
            program.limit_registers(limit);
        }
        program
    });
    jit.report(program.as_ref(), started);
    program.map_err(|error| {
        log::write_always(format_args!("cannot load a module: {error}"));
        error.status()
    })
}

fn compile(image: &PointedImage<'_>) -> Result<Program, ImageError> {
    let own = match image.kind {
        ImageKind::Ptx => vec![Cow::Borrowed(image.bytes)],
        ImageKind::Elf => match linked_texts(image.bytes)? {
            texts if texts.is_empty() => return Err(ImageError::Cubin),
            texts => texts,
        },
        ImageKind::Fatbin | ImageKind::Wrapper => match ptx_of(image.bytes) {
            Ok(text) => vec![text],
            // Relocatable code: the image itself is empty, its parts are to be linked.
            Err(missing @ FatbinError::NoBinaryForGpu { .. }) => {
                match linkable(&image.prelinked)? {
                    parts if parts.is_empty() => vec![newer_ptx(image.bytes)?.ok_or(missing)?],
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
    let mut program = Program::compile(&texts).map_err(ImageError::Ptx)?;
    if image.kind == ImageKind::Elf
        && let Some(limit) = linked_registers(image.bytes)?
    {
        program.limit_registers(limit);
    }
    Ok(program)
}

/// The limit of registers that an image was linked with.
fn linked_registers(elf: &[u8]) -> Result<Option<u32>, FatbinError> {
    let sections = elf_sections(elf)?;
    let section = sections.iter().find(|s| s.name == REGISTERS_SECTION);
    let bytes = section.and_then(|section| section.bytes.try_into().ok());
    Ok(bytes.map(u32::from_le_bytes))
}

/// The PTX of all parts that have some. A part without, such as NVIDIA's device runtime, is left
/// out: if anything of it is used, the linker will miss it by name.
fn linkable<'a>(fatbins: &[&'a [u8]]) -> Result<Vec<Cow<'a, [u8]>>, FatbinError> {
    let parts = fatbins.iter().map(|fatbin| ptx_of(fatbin));
    parts
        .filter(|part| !matches!(part, Err(FatbinError::NoBinaryForGpu { .. })))
        .collect()
}

pub(super) fn ptx_of(fatbin: &[u8]) -> Result<Cow<'_, [u8]>, FatbinError> {
    Fatbin::parse(fatbin)?.select_ptx(device())?.text()
}

fn device() -> ComputeCapability {
    let &Architecture { major, minor, .. } = architecture::current();
    ComputeCapability { major, minor }
}

/// PTX for newer devices, where an image as a whole has no other. Libraries ship machine code for
/// today's GPUs and PTX for tomorrow's only, and their callers do not always look whether a launch
/// has failed. Not for parts that are to be linked: of those some are meant to be left out.
fn newer_ptx(fatbin: &[u8]) -> Result<Option<Cow<'_, [u8]>>, FatbinError> {
    let fatbin = Fatbin::parse(fatbin)?;
    let Some(entry) = fatbin.select_newer_ptx() else {
        return Ok(None);
    };
    let device = device();
    log::write(
        log::Level::Warn,
        format_args!(
            "runs {entry} on a device of {}.{}, which a GPU would refuse",
            device.major, device.minor
        ),
    );
    entry.text().map(Some)
}

/// The PTX that [`link`](super::link) has put into an image.
pub(super) fn linked_texts(elf: &[u8]) -> Result<Vec<Cow<'_, [u8]>>, FatbinError> {
    let sections = elf_sections(elf)?.into_iter();
    Ok(sections
        .filter(|section| section.name == LINKED_SECTION)
        .map(|section| Cow::Borrowed(section.bytes))
        .collect())
}

/// Without the zero that ends a text, and what may follow it.
pub(super) fn trim(bytes: &[u8]) -> &[u8] {
    let length = bytes.iter().position(|byte| *byte == 0);
    &bytes[..length.unwrap_or(bytes.len())]
}
