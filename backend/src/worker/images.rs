// SPDX-License-Identifier: Apache-2.0
//! Loads libraries and modules and tells what is in them.

use core::ffi::{CStr, c_char, c_void};
use std::ffi::CString;

use gvirtus_abi::{CUfunction, CUjit_option, CUkernel, CUlibrary, CUmodule, CUresult};
use gvirtus_fatbin::limits::PRELINKED_COUNT_MAX;
use gvirtus_fatbin::{ImageKind, ImageSize, WRAPPER_MAGIC, image_kind, image_size};
use gvirtus_protocol::command::{self, Load, LoadOption, LoadedImage};
use gvirtus_protocol::frame::CommandHeader;
use gvirtus_protocol::limits::{IMAGE_BYTES_MAX, IMAGE_PART_ALIGNMENT_BYTES};
use gvirtus_protocol::opcode;
use gvirtus_protocol::stream::ReceiveBuffer;
use zerocopy::FromBytes as _;

use super::error::{Failure, SessionError};
use super::handles::{Image, ImageHandle, Kernel, KernelHandle, Owned};
use super::session::Session;
use crate::driver::{Driver, check};
use crate::limits::{ERROR_LOG_BYTES, KERNELS_MAX, NAME_BYTES_MAX, PARAMETERS_MAX};

/// Bytes by which the memory for an image grows, so that it follows what really comes.
const IMAGE_STEP_BYTES: usize = 4 << 20;

/// Options of the just-in-time compiler that are numbers and have no output.
const OPTIONS: [CUjit_option; 16] = [
    CUjit_option::CU_JIT_MAX_REGISTERS,
    CUjit_option::CU_JIT_THREADS_PER_BLOCK,
    CUjit_option::CU_JIT_OPTIMIZATION_LEVEL,
    CUjit_option::CU_JIT_TARGET_FROM_CUCONTEXT,
    CUjit_option::CU_JIT_TARGET,
    CUjit_option::CU_JIT_FALLBACK_STRATEGY,
    CUjit_option::CU_JIT_GENERATE_DEBUG_INFO,
    CUjit_option::CU_JIT_LOG_VERBOSE,
    CUjit_option::CU_JIT_GENERATE_LINE_INFO,
    CUjit_option::CU_JIT_CACHE_MODE,
    CUjit_option::CU_JIT_FAST_COMPILE,
    CUjit_option::CU_JIT_POSITION_INDEPENDENT_CODE,
    CUjit_option::CU_JIT_MIN_CTA_PER_SM,
    CUjit_option::CU_JIT_MAX_THREADS_PER_BLOCK,
    CUjit_option::CU_JIT_OVERRIDE_DIRECTIVE_VALUES,
    CUjit_option::CU_JIT_SPLIT_COMPILE,
];

/// Why an image is not loaded, in a number and in words.
struct Refusal {
    status: CUresult,
    log: Vec<u8>,
}

impl From<CUresult> for Refusal {
    fn from(status: CUresult) -> Self {
        Self {
            status,
            log: Vec::new(),
        }
    }
}

impl Session {
    /// `cuLibraryLoadData` and `cuModuleLoadData`.
    pub(super) fn load(
        &mut self,
        header: &CommandHeader,
        load: &Load,
        options: &[u8],
        received: &mut ReceiveBuffer,
    ) -> Result<(), SessionError> {
        let malformed = || SessionError::Body(header.opcode());
        let options = <[LoadOption]>::ref_from_bytes(options).map_err(|_| malformed())?;
        if options.len() != load.option_count.get() as usize {
            return Err(malformed());
        }
        let bytes = header.payload_bytes.get();
        if bytes > IMAGE_BYTES_MAX {
            return Err(malformed());
        }
        let data = self.receive_image(bytes as usize, received)?;
        let sequence = header.sequence.get();
        let result = self.load_image(header, load.image.get(), options, data);
        if self.link.has_console() {
            self.link.send_console()?;
        }
        match result {
            Ok(image) => {
                self.link
                    .reply(sequence, CUresult::CUDA_SUCCESS, &image.encode())?;
            }
            Err(refusal) => self.link.reply(sequence, refusal.status, &refusal.log)?,
        }
        Ok(())
    }

    pub(super) fn receive_image(
        &self,
        bytes: usize,
        received: &mut ReceiveBuffer,
    ) -> Result<Vec<u8>, SessionError> {
        let mut data = Vec::new();
        while data.len() < bytes {
            let start = data.len();
            data.resize(start + (bytes - start).min(IMAGE_STEP_BYTES), 0);
            self.receive(&mut data[start..], received)?;
        }
        Ok(data)
    }

    fn load_image(
        &mut self,
        header: &CommandHeader,
        number: u32,
        options: &[LoadOption],
        data: Vec<u8>,
    ) -> Result<LoadedImage, Refusal> {
        self.handles.images.check(number)?;
        self.handles.enter(self.driver, header.context.get())?;
        let data = Received::new(data)?;
        let mut options = Options::new(options)?;
        let loaded = if header.opcode() == opcode::cuLibraryLoadData {
            load_library(self.driver, &data, &mut options)
        } else {
            load_module(self.driver, &data, &mut options).map(|handle| {
                let context = self.handles.current;
                ImageHandle::Module(Owned { handle, context })
            })
        };
        let handle = loaded.map_err(|status| Refusal {
            status,
            log: options.error_log(),
        })?;
        let kernels = match handle {
            ImageHandle::Library(library) => library_kernels(self.driver, library),
            ImageHandle::Module(module) => module_kernels(self.driver, module.handle),
        };
        let described = match kernels {
            Ok(described) => described,
            Err(status) => {
                unload(self.driver, handle);
                return Err(status.into());
            }
        };
        let (kernels, entries) = described
            .into_iter()
            .map(|(kernel, handle)| {
                let parameter_bytes = kernel.parameter_bytes();
                let entry = Kernel {
                    parameter_bytes,
                    handle,
                };
                (kernel, entry)
            })
            .unzip();
        let image = Image {
            handle,
            kernels: entries,
            _options: options,
        };
        self.handles.images.insert(number, image)?;
        Ok(LoadedImage { kernels })
    }
}

/// An image as a driver takes it.
struct Received {
    data: Vec<u8>,
    /// Of an image in several parts.
    wrapper: Option<Wrapper>,
}

/// `__fatBinC_Wrapper_t` of `fatbinary_section.h`, version 2, and the list that it points to.
struct Wrapper {
    head: Box<WrapperHead>,
    _prelinked: Vec<*const c_void>,
}

#[repr(C)]
struct WrapperHead {
    magic: u32,
    version: u32,
    data: *const c_void,
    prelinked: *const *const c_void,
}

impl Received {
    fn new(data: Vec<u8>) -> Result<Self, CUresult> {
        let data = terminated(data)?;
        let parts = parts(&data)?;
        let wrapper = (!parts.is_empty()).then(|| Wrapper::new(&data, &parts));
        Ok(Self { data, wrapper })
    }

    /// Valid as long as `self` is not changed.
    fn pointer(&self) -> *const c_void {
        match &self.wrapper {
            Some(wrapper) => (&raw const *wrapper.head).cast(),
            None => self.data.as_ptr().cast(),
        }
    }
}

impl Wrapper {
    /// `parts` are places in `data`.
    fn new(data: &[u8], parts: &[usize]) -> Self {
        let pointers = parts.iter().map(|start| data[*start..].as_ptr().cast());
        let prelinked: Vec<*const c_void> = pointers.chain([std::ptr::null()]).collect();
        let head = Box::new(WrapperHead {
            magic: WRAPPER_MAGIC,
            version: 2,
            data: data.as_ptr().cast(),
            prelinked: prelinked.as_ptr(),
        });
        Self {
            head,
            _prelinked: prelinked,
        }
    }
}

/// Where the fatbins behind the first one begin.
fn parts(data: &[u8]) -> Result<Vec<usize>, CUresult> {
    let invalid = CUresult::CUDA_ERROR_INVALID_IMAGE;
    let mut parts = Vec::new();
    let mut start = 0;
    while image_kind(&data[start..]) == Some(ImageKind::Fatbin) {
        let bytes = match image_size(&data[start..]) {
            Ok(ImageSize::Known(bytes)) if bytes <= (data.len() - start) as u64 => bytes as usize,
            _ => return Err(invalid),
        };
        if start > 0 {
            parts.push(start);
        }
        if parts.len() > PRELINKED_COUNT_MAX {
            return Err(invalid);
        }
        start += bytes.next_multiple_of(IMAGE_PART_ALIGNMENT_BYTES);
        if start >= data.len() {
            break;
        }
    }
    Ok(parts)
}

/// The image as a driver may read it: it takes no length and believes what the image says itself.
fn terminated(mut data: Vec<u8>) -> Result<Vec<u8>, CUresult> {
    let invalid = CUresult::CUDA_ERROR_INVALID_IMAGE;
    match image_kind(&data) {
        // A wrapper is a pointer into the client's memory.
        None | Some(ImageKind::Wrapper) => return Err(invalid),
        Some(ImageKind::Ptx) => {
            data.push(0);
            return Ok(data);
        }
        Some(ImageKind::Elf | ImageKind::Fatbin) => {}
    }
    match image_size(&data) {
        Ok(ImageSize::Known(bytes)) if bytes <= data.len() as u64 => Ok(data),
        _ => Err(invalid),
    }
}

/// The just-in-time compiler's options with our logs among them, as the driver takes them.
pub(super) struct Options {
    names: Vec<CUjit_option>,
    values: Vec<*mut c_void>,
    error_log: Vec<u8>,
    info_log: Vec<u8>,
}

impl Options {
    /// How many of the options are about the logs; they come first.
    pub(super) const LOGS: u32 = 4;

    pub(super) fn new(options: &[LoadOption]) -> Result<Self, CUresult> {
        let mut error_log = vec![0_u8; ERROR_LOG_BYTES];
        let mut info_log = vec![0_u8; ERROR_LOG_BYTES];
        let mut names = vec![
            CUjit_option::CU_JIT_ERROR_LOG_BUFFER,
            CUjit_option::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
            CUjit_option::CU_JIT_INFO_LOG_BUFFER,
            CUjit_option::CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES,
        ];
        let mut values = vec![
            error_log.as_mut_ptr().cast(),
            as_pointer(ERROR_LOG_BYTES as u64),
            info_log.as_mut_ptr().cast(),
            as_pointer(ERROR_LOG_BYTES as u64),
        ];
        for option in options {
            let name = CUjit_option(option.option.get());
            if !OPTIONS.contains(&name) {
                tracing::warn!(option = ?name, "a compiler option that is not supported");
                return Err(CUresult::CUDA_ERROR_NOT_SUPPORTED);
            }
            names.push(name);
            values.push(as_pointer(option.value.get()));
        }
        Ok(Self {
            names,
            values,
            error_log,
            info_log,
        })
    }

    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.names.len()).expect("a body holds few options")
    }

    pub(super) fn names(&mut self) -> *mut CUjit_option {
        self.names.as_mut_ptr()
    }

    pub(super) fn values(&mut self) -> *mut *mut c_void {
        self.values.as_mut_ptr()
    }

    /// What the compiler wrote about errors.
    pub(super) fn error_log(&self) -> Vec<u8> {
        text(&self.error_log)
    }

    /// What else the compiler wrote.
    pub(super) fn info_log(&self) -> Vec<u8> {
        text(&self.info_log)
    }
}

fn text(log: &[u8]) -> Vec<u8> {
    let text = CStr::from_bytes_until_nul(log);
    text.map_or(Vec::new(), |text| text.to_bytes().to_vec())
}

/// The driver API passes numbers as pointers here.
fn as_pointer(value: u64) -> *mut c_void {
    std::ptr::without_provenance_mut(value as usize)
}

fn load_library(
    driver: &Driver,
    data: &Received,
    options: &mut Options,
) -> Result<ImageHandle, CUresult> {
    let (mut library, none) = (CUlibrary::NULL, std::ptr::null_mut());
    // SAFETY: the image ends where it says, within `data`; options and values are as many as told.
    check(unsafe {
        driver.cuLibraryLoadData(
            &raw mut library,
            data.pointer(),
            options.names.as_mut_ptr(),
            options.values.as_mut_ptr(),
            options.count(),
            none,
            std::ptr::null_mut(),
            0,
        )
    })?;
    Ok(ImageHandle::Library(library))
}

fn load_module(
    driver: &Driver,
    data: &Received,
    options: &mut Options,
) -> Result<CUmodule, CUresult> {
    let mut module = CUmodule::NULL;
    // SAFETY: as above.
    check(unsafe {
        driver.cuModuleLoadDataEx(
            &raw mut module,
            data.pointer(),
            options.count(),
            options.names.as_mut_ptr(),
            options.values.as_mut_ptr(),
        )
    })?;
    Ok(module)
}

fn unload(driver: &Driver, handle: ImageHandle) {
    // A failure changes nothing.
    let _ = match handle {
        // SAFETY: nobody has seen the handle.
        ImageHandle::Library(library) => unsafe { driver.cuLibraryUnload(library) },
        // SAFETY: as above.
        ImageHandle::Module(module) => unsafe { driver.cuModuleUnload(module.handle) },
    };
}

type Described = Result<Vec<(command::Kernel, KernelHandle)>, CUresult>;

fn library_kernels(driver: &Driver, library: CUlibrary) -> Described {
    let mut count = 0;
    // SAFETY: the output is a local.
    check(unsafe { driver.cuLibraryGetKernelCount(&raw mut count, library) })?;
    let count = count.min(KERNELS_MAX);
    let mut kernels = vec![CUkernel::NULL; count as usize];
    // SAFETY: there is room for as many as told.
    check(unsafe { driver.cuLibraryEnumerateKernels(kernels.as_mut_ptr(), count, library) })?;
    kernels
        .into_iter()
        .map(|kernel| {
            let described = describe(
                // SAFETY: the outputs are valid, the kernel is one that was just told.
                |name| unsafe { driver.cuKernelGetName(name, kernel) },
                // SAFETY: as above.
                |index, offset, size| unsafe {
                    driver.cuKernelGetParamInfo(kernel, index, offset, size)
                },
            )?;
            Ok((described, KernelHandle::Kernel(kernel, Vec::new())))
        })
        .collect()
}

fn module_kernels(driver: &Driver, module: CUmodule) -> Described {
    let mut count = 0;
    // SAFETY: the output is a local.
    check(unsafe { driver.cuModuleGetFunctionCount(&raw mut count, module) })?;
    let count = count.min(KERNELS_MAX);
    let mut functions = vec![CUfunction::NULL; count as usize];
    // SAFETY: there is room for as many as told.
    check(unsafe { driver.cuModuleEnumerateFunctions(functions.as_mut_ptr(), count, module) })?;
    functions
        .into_iter()
        .map(|function| {
            let described = describe(
                // SAFETY: the outputs are valid, the function is one that was just told.
                |name| unsafe { driver.cuFuncGetName(name, function) },
                // SAFETY: as above.
                |index, offset, size| unsafe {
                    driver.cuFuncGetParamInfo(function, index, offset, size)
                },
            )?;
            Ok((described, KernelHandle::Function(function)))
        })
        .collect()
}

fn describe(
    name: impl Fn(*mut *const c_char) -> CUresult,
    parameter: impl Fn(usize, *mut usize, *mut usize) -> CUresult,
) -> Result<command::Kernel, CUresult> {
    let mut text = std::ptr::null();
    check(name(&raw mut text))?;
    if text.is_null() {
        return Err(CUresult::CUDA_ERROR_UNKNOWN);
    }
    // SAFETY: the driver succeeded: the name is terminated and lives as long as the image.
    let text = unsafe { CStr::from_ptr(text) };
    let mut parameters = Vec::new();
    for index in 0..PARAMETERS_MAX {
        let (mut offset, mut size) = (0, 0);
        match parameter(index, &raw mut offset, &raw mut size) {
            CUresult::CUDA_SUCCESS => parameters.push((to_u32(offset)?, to_u32(size)?)),
            // This is how the driver says that there are no more.
            CUresult::CUDA_ERROR_INVALID_VALUE => break,
            error => return Err(error),
        }
    }
    Ok(command::Kernel {
        name: text.to_string_lossy().into_owned(),
        parameters,
    })
}

fn to_u32(value: usize) -> Result<u32, CUresult> {
    u32::try_from(value).map_err(|_| CUresult::CUDA_ERROR_UNKNOWN)
}

/// A name from a message's body.
pub(super) fn c_name(name: &[u8]) -> Result<CString, Failure> {
    if name.len() > NAME_BYTES_MAX {
        return Err(CUresult::CUDA_ERROR_INVALID_VALUE.into());
    }
    CString::new(name).map_err(|_| CUresult::CUDA_ERROR_INVALID_VALUE.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fatbins_that_follow_are_found_where_they_are_aligned() {
        let fatbin = |bytes: u64| {
            let mut data = 0xBA55_ED50_u32.to_le_bytes().to_vec();
            data.extend([1, 0, 16, 0]);
            data.extend(bytes.to_le_bytes());
            data.resize(16 + bytes as usize, 0);
            data
        };
        assert_eq!(parts(&fatbin(5)), Ok(Vec::new()));
        let mut two = fatbin(5);
        two.resize(32, 0);
        two.extend(fatbin(16));
        assert_eq!(parts(&two), Ok(vec![32]));
        let received = Received::new(two.clone()).expect("two fatbins");
        assert_ne!(received.pointer(), received.data.as_ptr().cast());
        two.pop();
        assert_eq!(parts(&two), Err(CUresult::CUDA_ERROR_INVALID_IMAGE));
    }

    #[test]
    fn what_a_driver_would_read_past_is_refused() {
        let invalid = Err(CUresult::CUDA_ERROR_INVALID_IMAGE);
        let fatbin = |declared: u64, bytes: usize| {
            let mut data = 0xBA55_ED50_u32.to_le_bytes().to_vec();
            data.extend([1, 0, 16, 0]);
            data.extend(declared.to_le_bytes());
            data.resize(16 + bytes, 0);
            data
        };
        assert!(terminated(fatbin(100, 100)).is_ok());
        assert_eq!(terminated(fatbin(101, 100)), invalid);
        assert_eq!(terminated(fatbin(u64::MAX, 100)), invalid);
        assert_eq!(terminated(b"\x7fELF".to_vec()), invalid);
        assert_eq!(terminated(Vec::new()), invalid);
        let wrapper = [0x4662_43B1_u32.to_le_bytes(), [1; 4], [2; 4], [3; 4]].concat();
        assert_eq!(terminated(wrapper), invalid);
        let ptx = terminated(b".version 8.0".to_vec()).expect("text");
        assert_eq!(ptx.last(), Some(&0));
    }
}
