// SPDX-License-Identifier: Apache-2.0
//! Linking (`cuda.h`: "Module Management", `cuLink…`): PTX in, an image out that `cuModuleLoadData`
//! and `cuLibraryLoadData` take.
//!
//! The image is an ELF file, as CUDA's is, with one section [`LINKED_SECTION`] for each PTX text.
//! A text is parsed when it is added and the link is tried when it completes, so that each error
//! comes where CUDA reports it.

use core::ffi::{c_char, c_void};
use std::borrow::Cow;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use gvirtus_abi::{CUjit_option, CUjitInputType, CUlinkState, CUresult};
use gvirtus_driver_face::log;
use gvirtus_fatbin::{ImageKind, archive_members, elf_sections, image_kind, is_archive};
use parking_lot::Mutex;

use super::architecture;
use super::arguments::{optional_out, out, read_array, read_text};
use super::context;
use super::handles::{Handles, Kind};
use super::image::{
    ImageError, JitOptions, LINKED_SECTION, REGISTERS_SECTION, linked_texts, ptx_of, trim,
};
use super::program::Program;
use crate::ptx;

/// Sections of object files that hold fatbins: of whole programs, and of relocatable code.
const FATBIN_SECTIONS: [&[u8]; 2] = [b".nv_fatbin", b"__nv_relfatbin"];
/// Bytes to which the fatbins in such a section are padded.
const FATBIN_ALIGNMENT_BYTES: usize = 8;
const FATBIN_HEADER_BYTES: usize = 16;

/// One `CUlinkState`.
struct Link {
    handle: CUlinkState,
    jit: JitOptions,
    texts: Mutex<Vec<String>>,
    /// Lives as long as the link, as CUDA says.
    image: OnceLock<Box<[u8]>>,
}

static LINKS: Handles<Link> = Handles::new(Kind::Link);

fn find(handle: CUlinkState) -> Result<Arc<Link>, CUresult> {
    super::device::devices()?;
    LINKS
        .get(handle.0)
        .ok_or(CUresult::CUDA_ERROR_INVALID_HANDLE)
}

impl Link {
    /// Adds an input.
    ///
    /// # Errors
    ///
    /// The status for the caller; the reason is in the log.
    fn add(&self, kind: CUjitInputType, data: &[u8], name: &str) -> Result<(), CUresult> {
        let started = Instant::now();
        if self.image.get().is_some() {
            return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
        }
        let texts = texts_of(kind, data)?.and_then(|texts| check(texts, name));
        match texts {
            Ok(texts) => {
                self.texts.lock().extend(texts);
                Ok(())
            }
            Err(error) => {
                self.jit.report(Err(&error), started);
                log::write_always(format_args!("cannot link {name}: {error}"));
                Err(error.status())
            }
        }
    }

    /// Links what was added. A second call returns the first one's image.
    fn complete(&self) -> Result<&[u8], CUresult> {
        if let Some(image) = self.image.get() {
            return Ok(image);
        }
        let started = Instant::now();
        let texts = self.texts.lock();
        let borrowed: Vec<&str> = texts.iter().map(String::as_str).collect();
        let program = Program::compile(&borrowed).map_err(ImageError::Ptx);
        self.jit.report(program.as_ref(), started);
        if let Err(error) = program {
            log::write_always(format_args!("cannot link: {error}"));
            return Err(CUresult::CUDA_ERROR_INVALID_IMAGE);
        }
        Ok(self
            .image
            .get_or_init(|| elf_of(&texts, self.jit.max_registers())))
    }
}

/// The PTX texts in an input.
///
/// # Errors
///
/// `CUDA_ERROR_INVALID_VALUE` for an unknown kind of input.
fn texts_of(
    kind: CUjitInputType,
    data: &[u8],
) -> Result<Result<Vec<String>, ImageError>, CUresult> {
    let found = match kind {
        CUjitInputType::CU_JIT_INPUT_PTX => Ok(vec![Cow::Borrowed(data)]),
        CUjitInputType::CU_JIT_INPUT_FATBINARY => ptx_of(data)
            .map(|text| vec![text])
            .map_err(ImageError::from),
        CUjitInputType::CU_JIT_INPUT_CUBIN
        | CUjitInputType::CU_JIT_INPUT_OBJECT
        | CUjitInputType::CU_JIT_INPUT_LIBRARY => texts_of_objects(data),
        CUjitInputType::CU_JIT_INPUT_NVVM => Err(ImageError::Cubin),
        _ => return Err(CUresult::CUDA_ERROR_INVALID_VALUE),
    };
    let to_text = |bytes: &Cow<'_, [u8]>| String::from_utf8_lossy(trim(bytes)).into_owned();
    Ok(found.map(|texts| texts.iter().map(to_text).collect()))
}

/// The PTX in an object file, or in all object files of an archive. Parts without any, such as
/// NVIDIA's device runtime, are left out: what is missed of them is missed by name.
fn texts_of_objects(data: &[u8]) -> Result<Vec<Cow<'_, [u8]>>, ImageError> {
    if is_archive(data) {
        let mut texts = Vec::new();
        for member in archive_members(data)? {
            if image_kind(member) == Some(ImageKind::Elf) {
                texts.extend(texts_of_object(member)?);
            }
        }
        return Ok(texts);
    }
    match texts_of_object(data)? {
        texts if texts.is_empty() => Err(ImageError::Cubin),
        texts => Ok(texts),
    }
}

fn texts_of_object(object: &[u8]) -> Result<Vec<Cow<'_, [u8]>>, ImageError> {
    let mut texts = linked_texts(object)?;
    for section in elf_sections(object)? {
        if !FATBIN_SECTIONS.contains(&section.name) {
            continue;
        }
        let mut rest = section.bytes;
        while rest.len() >= FATBIN_HEADER_BYTES {
            let bytes = gvirtus_fatbin::fatbin_total_size(rest)?;
            let bytes = usize::try_from(bytes).unwrap_or(usize::MAX).min(rest.len());
            match ptx_of(&rest[..bytes]) {
                Ok(text) => texts.push(text),
                Err(gvirtus_fatbin::FatbinError::NoBinaryForGpu { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            let padded = bytes.next_multiple_of(FATBIN_ALIGNMENT_BYTES);
            rest = rest.get(padded..).unwrap_or_default();
        }
    }
    Ok(texts)
}

/// Refuses what does not parse, which is all that one text alone can have wrong.
fn check(texts: Vec<String>, name: &str) -> Result<Vec<String>, ImageError> {
    for text in &texts {
        ptx::parse(text).map_err(|error| ImageError::Ptx(format!("{name}: {error}")))?;
    }
    Ok(texts)
}

/// An ELF file for the device with one section a text, and one for the limit of registers.
fn elf_of(texts: &[String], max_registers: Option<u32>) -> Box<[u8]> {
    const HEADER_BYTES: usize = 64;
    const MACHINE_CUDA: u16 = 190;
    let mut names = vec![0];
    let own_name = names.len() as u32;
    names.extend(b".shstrtab\0");
    let text_name = names.len() as u32;
    names.extend(LINKED_SECTION);
    names.push(0);
    let registers_name = names.len() as u32;
    names.extend(REGISTERS_SECTION);
    names.push(0);

    let mut file = vec![0; HEADER_BYTES];
    // Name, type, offset and size: a null section, the names, the texts.
    let mut sections = vec![(0, 0, 0, 0), (own_name, 3, file.len(), names.len())];
    file.extend(names);
    for text in texts {
        sections.push((text_name, 1, file.len(), text.len()));
        file.extend(text.as_bytes());
    }
    if let Some(limit) = max_registers {
        sections.push((registers_name, 1, file.len(), size_of::<u32>()));
        file.extend(limit.to_le_bytes());
    }
    file.resize(file.len().next_multiple_of(8), 0);
    let table = file.len();
    for (name, kind, offset, bytes) in &sections {
        let mut entry = [0; 64];
        entry[..4].copy_from_slice(&u32::to_le_bytes(*name));
        entry[4..8].copy_from_slice(&u32::to_le_bytes(*kind));
        entry[24..32].copy_from_slice(&offset.to_le_bytes());
        entry[32..40].copy_from_slice(&bytes.to_le_bytes());
        entry[48] = 1;
        file.extend(entry);
    }
    let architecture = architecture::current();
    let (major, minor) = (architecture.major, architecture.minor);
    let architecture = major * 10 + minor;
    file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    // An executable file of version 1.
    put(16, &2_u16.to_le_bytes());
    put(18, &MACHINE_CUDA.to_le_bytes());
    put(20, &1_u32.to_le_bytes());
    put(40, &table.to_le_bytes());
    put(48, &(architecture << 16 | architecture).to_le_bytes());
    put(52, &(HEADER_BYTES as u16).to_le_bytes());
    put(58, &64_u16.to_le_bytes());
    put(60, &(sections.len() as u16).to_le_bytes());
    put(62, &1_u16.to_le_bytes());
    file.into_boxed_slice()
}

pub(crate) unsafe fn cuLinkCreate(
    numOptions: u32,
    options: *mut CUjit_option,
    optionValues: *mut *mut c_void,
    stateOut: *mut CUlinkState,
) -> Result<(), CUresult> {
    context::usable()?;
    // SAFETY: the contract of cuda.h, which for outputs lasts as long as the link.
    let jit = unsafe { JitOptions::read(numOptions, options, optionValues)? };
    if stateOut.is_null() {
        return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
    }
    let link = LINKS.insert(|handle| Link {
        handle: CUlinkState(handle),
        jit,
        texts: Mutex::default(),
        image: OnceLock::new(),
    })?;
    out!(stateOut = link.handle);
    Ok(())
}

pub(crate) unsafe fn cuLinkCreate_v2(
    numOptions: u32,
    options: *mut CUjit_option,
    optionValues: *mut *mut c_void,
    stateOut: *mut CUlinkState,
) -> Result<(), CUresult> {
    // SAFETY: the same contract.
    unsafe { cuLinkCreate(numOptions, options, optionValues, stateOut) }
}

/// Options of a single input say nothing that the interpreter would do otherwise.
pub(crate) unsafe fn cuLinkAddData(
    state: CUlinkState,
    type_: CUjitInputType,
    data: *mut c_void,
    size: usize,
    name: *const c_char,
    numOptions: u32,
    options: *mut CUjit_option,
    optionValues: *mut *mut c_void,
) -> Result<(), CUresult> {
    let link = find(state)?;
    if data.is_null() || size == 0 {
        return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
    }
    // SAFETY: the contract of cuda.h.
    unsafe { JitOptions::read(numOptions, options, optionValues)? };
    // SAFETY: the contract of cuda.h: `size` bytes.
    let data = unsafe { read_array(data.cast::<u8>().cast_const(), size) };
    let name = match name.is_null() {
        true => "<unnamed>",
        // SAFETY: the contract of cuda.h: a C string.
        false => unsafe { read_text(name)? },
    };
    link.add(type_, data, name)
}

pub(crate) unsafe fn cuLinkAddData_v2(
    state: CUlinkState,
    type_: CUjitInputType,
    data: *mut c_void,
    size: usize,
    name: *const c_char,
    numOptions: u32,
    options: *mut CUjit_option,
    optionValues: *mut *mut c_void,
) -> Result<(), CUresult> {
    // SAFETY: the same contract.
    unsafe {
        cuLinkAddData(
            state,
            type_,
            data,
            size,
            name,
            numOptions,
            options,
            optionValues,
        )
    }
}

pub(crate) unsafe fn cuLinkAddFile(
    state: CUlinkState,
    type_: CUjitInputType,
    path: *const c_char,
    numOptions: u32,
    options: *mut CUjit_option,
    optionValues: *mut *mut c_void,
) -> Result<(), CUresult> {
    let link = find(state)?;
    // SAFETY: the contract of cuda.h.
    unsafe { JitOptions::read(numOptions, options, optionValues)? };
    // SAFETY: the contract of cuda.h: a C string.
    let path = unsafe { read_text(path)? };
    let data = std::fs::read(path).map_err(|_| CUresult::CUDA_ERROR_FILE_NOT_FOUND)?;
    link.add(type_, &data, path)
}

pub(crate) unsafe fn cuLinkAddFile_v2(
    state: CUlinkState,
    type_: CUjitInputType,
    path: *const c_char,
    numOptions: u32,
    options: *mut CUjit_option,
    optionValues: *mut *mut c_void,
) -> Result<(), CUresult> {
    // SAFETY: the same contract.
    unsafe { cuLinkAddFile(state, type_, path, numOptions, options, optionValues) }
}

pub(crate) unsafe fn cuLinkComplete(
    state: CUlinkState,
    cubinOut: *mut *mut c_void,
    sizeOut: *mut usize,
) -> Result<(), CUresult> {
    let link = find(state)?;
    let image = link.complete()?;
    out!(cubinOut = image.as_ptr().cast_mut().cast());
    optional_out!(sizeOut = image.len());
    Ok(())
}

pub(crate) fn cuLinkDestroy(state: CUlinkState) -> Result<(), CUresult> {
    find(state)?;
    drop(LINKS.remove(state.0));
    Ok(())
}
