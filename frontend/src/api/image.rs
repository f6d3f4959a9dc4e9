// SPDX-License-Identifier: Apache-2.0
//! Loading an image: finding its end, sending it with the options that are numbers, and giving the
//! compiler's log to the application.

use std::borrow::Cow;
use std::ffi::{CStr, c_void};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

use gvirtus_abi::{CUdeviceptr, CUjit_option as Option_, CUresult};
use gvirtus_driver_face::log;
use gvirtus_fatbin::{
    ComputeCapability, Fatbin, FatbinError, ImageKind as Format, image_at, image_kind,
};
use gvirtus_protocol::command::{GetGlobal, Load, LoadOption, LoadedImage};
use gvirtus_protocol::limits::{IMAGE_BYTES_MAX, IMAGE_PART_ALIGNMENT_BYTES};
use gvirtus_protocol::opcode;
use zerocopy::IntoBytes as _;
use zerocopy::little_endian::{U32, U64};

use super::{INVALID_VALUE, Status, put_optional, required};
use crate::context::Context;
use crate::handle::Key;
use crate::image::{Image, ImageKind, Variable};
use crate::memory::{DeviceRange, RangeKind};
use crate::session::Session;
use crate::wire::{Command, Outcome, Payload, Rows};

/// The options of the just-in-time compiler, as the C functions take them.
#[derive(Clone, Copy)]
pub(crate) struct Options {
    count: u32,
    options: *mut Option_,
    values: *mut *mut c_void,
}

/// An image to be loaded.
#[derive(Clone, Copy)]
pub(super) enum Source<'a> {
    /// What `cuModuleLoadData` takes.
    Pointer(*const c_void),
    /// A file's name.
    File(&'a CStr),
}

impl Options {
    /// No options.
    pub(super) const NONE: Self = Self {
        count: 0,
        options: std::ptr::null_mut(),
        values: std::ptr::null_mut(),
    };

    /// The application's.
    ///
    /// # Safety
    ///
    /// Both pointers lead to `count` elements, and what these mean by CUDA's documentation is
    /// valid.
    pub(super) unsafe fn new(
        count: u32,
        options: *mut Option_,
        values: *mut *mut c_void,
    ) -> Result<Self, CUresult> {
        if count > 0 {
            required(options)?;
            required(values)?;
        }
        Ok(Self {
            count,
            options,
            values,
        })
    }

    /// Options and the places of their values.
    fn iter(&self) -> impl Iterator<Item = (Option_, *mut *mut c_void)> + use<> {
        let Self {
            count,
            options,
            values,
        } = *self;
        // SAFETY: `new` was promised `count` elements.
        (0..count as usize).map(move |i| unsafe { (options.add(i).read(), values.add(i)) })
    }

    /// The value of an option.
    fn value(&self, option: Option_) -> Option<*mut c_void> {
        let place = self.iter().find(|(known, _)| *known == option)?.1;
        // SAFETY: `new` was promised valid elements.
        Some(unsafe { place.read() })
    }

    /// Those that travel: their value is a number, or a float's bits.
    pub(super) fn numbers(&self) -> Result<Vec<LoadOption>, CUresult> {
        let mut numbers = Vec::new();
        for (option, place) in self.iter() {
            match option {
                Option_::CU_JIT_WALL_TIME
                | Option_::CU_JIT_INFO_LOG_BUFFER
                | Option_::CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES
                | Option_::CU_JIT_ERROR_LOG_BUFFER
                | Option_::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES => {}
                Option_::CU_JIT_GLOBAL_SYMBOL_NAMES
                | Option_::CU_JIT_GLOBAL_SYMBOL_ADDRESSES
                | Option_::CU_JIT_GLOBAL_SYMBOL_COUNT
                | Option_::CU_JIT_REFERENCED_KERNEL_NAMES
                | Option_::CU_JIT_REFERENCED_KERNEL_COUNT
                | Option_::CU_JIT_REFERENCED_VARIABLE_NAMES
                | Option_::CU_JIT_REFERENCED_VARIABLE_COUNT => {
                    return Err(gvirtus_driver_face::unsupported(
                        "loading an image with a list of symbols",
                    ));
                }
                option if option.name().is_none() => return Err(INVALID_VALUE),
                option => numbers.push(LoadOption {
                    option: U32::new(option.0),
                    // SAFETY: `new` was promised valid elements.
                    value: U64::new(unsafe { place.read() } as u64),
                }),
            }
        }
        Ok(numbers)
    }

    /// Bytes of the buffers for the information and error logs: numbers of 32 bits in the place of
    /// pointers, until the logs' lengths are written there.
    pub(super) fn log_bytes(&self) -> [usize; 2] {
        [
            Option_::CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES,
            Option_::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
        ]
        .map(|size| {
            self.value(size)
                .map_or(0, |room| room as usize & 0xffff_ffff)
        })
    }

    /// Writes the logs and their lengths, as the compiler would.
    pub(super) fn write_logs(&self, log_bytes: [usize; 2], error_log: &[u8], info_log: &[u8]) {
        let [info_bytes, error_bytes] = log_bytes;
        for (log, room, buffer, size) in [
            (
                info_log,
                info_bytes,
                Option_::CU_JIT_INFO_LOG_BUFFER,
                Option_::CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES,
            ),
            (
                error_log,
                error_bytes,
                Option_::CU_JIT_ERROR_LOG_BUFFER,
                Option_::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
            ),
        ] {
            let buffer = self.value(buffer).unwrap_or(std::ptr::null_mut());
            let mut written = 0;
            if !buffer.is_null() && room > 0 {
                written = log.len().min(room - 1);
                let place = buffer.cast::<u8>();
                // SAFETY: the application promises a buffer of this size, and `log` is no part of
                // it.
                unsafe { std::ptr::copy_nonoverlapping(log.as_ptr(), place, written) };
                // SAFETY: as above; the NUL is within the size.
                unsafe { place.add(written).write(0) };
            }
            for (_, place) in self.iter().filter(|(option, _)| *option == size) {
                // SAFETY: `new` was promised valid elements, which CUDA writes the length to.
                unsafe { place.write(written as *mut c_void) };
            }
        }
        for (_, place) in self
            .iter()
            .filter(|(option, _)| *option == Option_::CU_JIT_WALL_TIME)
        {
            // SAFETY: as above; the value is a float's bits in the place of a pointer.
            unsafe { place.write(std::ptr::null_mut()) };
        }
    }
}

impl Session {
    /// Loads an image and takes a place for it.
    ///
    /// # Safety
    ///
    /// The pointer of `source` leads to a whole image.
    pub(super) unsafe fn load(
        &self,
        kind: ImageKind,
        source: Source<'_>,
        options: Options,
    ) -> Result<Key, CUresult> {
        let numbers = options.numbers()?;
        let place = self.images.insert(None);
        let key = place.ok_or(CUresult::CUDA_ERROR_OUT_OF_MEMORY)?;
        // SAFETY: the caller's promise.
        let sent = unsafe { self.send_image(kind, key, source, &numbers) };
        let loaded = sent.and_then(|outcome| {
            let failed = outcome.status != CUresult::CUDA_SUCCESS;
            let error_log = if failed { outcome.body.bytes() } else { &[] };
            options.write_logs(options.log_bytes(), error_log, &[]);
            if failed {
                let text = String::from_utf8_lossy(error_log);
                log!(Info, "an image was not loaded: {:?} {text}", outcome.status);
            }
            let body = outcome.successful()?;
            let loaded = LoadedImage::decode(body.bytes());
            Image::new(key, kind, loaded.ok_or(CUresult::CUDA_ERROR_UNKNOWN)?)
        });
        match loaded {
            Ok(image) => {
                self.images.set(key, Some(Arc::new(image)));
                Ok(key)
            }
            Err(status) => {
                self.images.retire(key);
                self.images.release(key);
                Err(status)
            }
        }
    }

    /// # Safety
    ///
    /// As [`Session::load`].
    unsafe fn send_image(
        &self,
        kind: ImageKind,
        key: Key,
        source: Source<'_>,
        options: &[LoadOption],
    ) -> Result<Outcome, CUresult> {
        let file;
        let mut prelinked = Vec::new();
        let (format, bytes) = match source {
            Source::Pointer(pointer) => {
                // SAFETY: the caller's promise.
                let image = unsafe { image_at(pointer) }.map_err(|error| refuse(&error))?;
                prelinked = image.prelinked;
                (image.kind, image.bytes)
            }
            Source::File(name) => {
                file = read_image(name)?;
                let format = image_kind(&file).ok_or(CUresult::CUDA_ERROR_INVALID_IMAGE)?;
                (format, &file[..])
            }
        };
        let reduced = match format {
            Format::Fatbin => self.reduced(bytes),
            _ => None,
        };
        let bytes = reduced.as_deref().unwrap_or(bytes);
        let linked: Vec<Cow<'_, [u8]>> = prelinked
            .into_iter()
            .map(|part| self.reduced(part).map_or(Cow::Borrowed(part), Cow::Owned))
            .collect();
        let parts = match format {
            // The driver reads PTX to its NUL.
            Format::Ptx => vec![bytes, &[0]],
            // What the driver is to link follows; every part says itself how long it is.
            _ => aligned(std::iter::once(bytes).chain(linked.iter().map(AsRef::as_ref))),
        };
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if length as u64 >= IMAGE_BYTES_MAX {
            return Err(CUresult::CUDA_ERROR_OUT_OF_MEMORY);
        }
        let (opcode, context) = match kind {
            ImageKind::Library => (opcode::cuLibraryLoadData, self.current_number()),
            ImageKind::Module(context) => (opcode::cuModuleLoadData, context),
        };
        let body = Load {
            image: U32::new(key.number()),
            option_count: U32::new(u32::try_from(options.len()).map_err(|_| INVALID_VALUE)?),
        };
        let fill = |buffer: &mut Vec<u8>| {
            buffer.extend_from_slice(body.as_bytes());
            buffer.extend_from_slice(options.as_bytes());
        };
        let command = Command { opcode, context };
        // SAFETY: the payload is borrowed, and there is no destination.
        unsafe {
            self.wire
                .call(command, fill, Payload::Parts(&parts), Rows::default())
        }
    }

    /// A fatbin without what no device of the backend can use.
    fn reduced(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        use gvirtus_abi::CUdevice_attribute as Attribute;
        let capabilities: Vec<ComputeCapability> = self
            .devices
            .iter()
            .map(|device| {
                let number = |attribute| {
                    let value = device.attribute(attribute)?;
                    u32::try_from(value).ok()
                };
                Some(ComputeCapability {
                    major: number(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
                    minor: number(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
                })
            })
            .collect::<Option<_>>()?;
        let reduced = Fatbin::parse(bytes).ok()?.reduced_for(&capabilities)?;
        // One without any entry would be refused as malformed, not as unfit.
        let has_entries = Fatbin::parse(&reduced).is_ok_and(|fatbin| !fatbin.entries().is_empty());
        has_entries.then_some(reduced)
    }

    /// Tells where a variable of an image is. The runtime asks for every copy to one, so the answer
    /// is remembered as long as its memory is.
    ///
    /// # Safety
    ///
    /// Both places are null or valid for writing.
    pub(super) unsafe fn variable(
        &self,
        (key, image): (Key, &Image),
        context: Context,
        name: &CStr,
        dptr: *mut CUdeviceptr,
        bytes: *mut usize,
    ) -> Status {
        let known = image.variable(name, context.number).filter(|variable| {
            let ranges = self.device_ranges.read();
            let range = ranges.starting_at(variable.address);
            range.is_some_and(|range| range.kind.is_variable_of(key.number()))
        });
        let variable = match known {
            Some(variable) => variable,
            None => self.ask_variable(key, context, name)?,
        };
        image.set_variable(name, variable);
        let size = usize::try_from(variable.bytes).map_err(|_| CUresult::CUDA_ERROR_UNKNOWN)?;
        // SAFETY: the caller's promise.
        unsafe { put_optional(dptr, CUdeviceptr(variable.address)) };
        // SAFETY: the caller's promise.
        unsafe { put_optional(bytes, size) };
        Ok(())
    }

    fn ask_variable(&self, key: Key, context: Context, name: &CStr) -> Result<Variable, CUresult> {
        let image = U32::new(key.number());
        let mut body = GetGlobal { image }.as_bytes().to_vec();
        body.extend_from_slice(name.to_bytes());
        let reply = self.call(opcode::cuModuleGetGlobal_v2, context.number, &body)?;
        let variable = Variable {
            context: context.number,
            address: reply.promised_word(0)?,
            bytes: reply.promised_word(1)?,
        };
        self.device_ranges.write().insert(DeviceRange {
            base: variable.address,
            bytes: variable.bytes,
            context: context.number,
            device: context.device,
            id: self.new_id(),
            kind: RangeKind::Variable(key.number()),
            is_reserved: false,
        });
        Ok(variable)
    }
}

/// The parts with zeros between them, so that each starts where the backend expects it.
fn aligned<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Vec<&'a [u8]> {
    const ZEROS: [u8; IMAGE_PART_ALIGNMENT_BYTES] = [0; IMAGE_PART_ALIGNMENT_BYTES];
    let mut aligned: Vec<&[u8]> = Vec::new();
    for part in parts {
        if let Some(last) = aligned.last() {
            let end = last.len().next_multiple_of(IMAGE_PART_ALIGNMENT_BYTES);
            let missing = end - last.len();
            if missing > 0 {
                aligned.push(&ZEROS[..missing]);
            }
        }
        aligned.push(part);
    }
    aligned
}

pub(super) fn read_image(name: &CStr) -> Result<Vec<u8>, CUresult> {
    let path = Path::new(std::ffi::OsStr::from_bytes(name.to_bytes()));
    std::fs::read(path).map_err(|error| {
        log!(Info, "cannot read {}: {error}", path.display());
        CUresult::CUDA_ERROR_FILE_NOT_FOUND
    })
}

fn refuse(error: &FatbinError) -> CUresult {
    log!(Info, "an image was not loaded: {error}");
    match error {
        FatbinError::NullPointer(_) => INVALID_VALUE,
        FatbinError::NoBinaryForGpu { .. } => CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU,
        _ => CUresult::CUDA_ERROR_INVALID_IMAGE,
    }
}
