// SPDX-License-Identifier: Apache-2.0
//! Messages that make, end or ask for something that has a number.

use gvirtus_abi::{
    CUcontext, CUctx_flags, CUdevice, CUdeviceptr, CUevent, CUfunction_attribute, CUresult,
    CUstream,
};
use gvirtus_protocol::command::{
    AllocatePitch, ContextCreate, DeviceFlags, EventCreate, FunctionAttributes, GetGlobal,
    StreamCreate,
};
use gvirtus_protocol::frame::CommandHeader;
use gvirtus_protocol::opcode;
use zerocopy::FromBytes as _;
use zerocopy::little_endian::U64 as Word;

use super::error::{Failure, SessionError};
use super::handles::{ImageHandle, KernelHandle, Owned};
use super::holdings::Place;
use super::images::c_name;
use super::session::{Session, read, read_prefix};
use crate::driver::check;

pub(super) type Words = Result<Vec<Word>, Failure>;

const INVALID_VALUE: CUresult = CUresult::CUDA_ERROR_INVALID_VALUE;

impl Session {
    /// Executes one of them; the reply's words, which of a posted message are none.
    pub(super) fn named(&mut self, header: &CommandHeader, body: &[u8]) -> Words {
        let (opcode, context) = (header.opcode(), header.context.get());
        match opcode {
            opcode::PING if body.is_empty() => return Ok(Vec::new()),
            // Whoever reads ahead has heard it.
            opcode::HOST_FUNCTION_RETURNED => return Ok(Vec::new()),
            opcode::cuDevicePrimaryCtxRetain => {
                return self.retain_primary(context, &read(opcode, body)?);
            }
            opcode::cuDevicePrimaryCtxRelease_v2 => {
                return self.release_primary(word(header, body)?);
            }
            opcode::cuDevicePrimaryCtxSetFlags_v2 => {
                return self.set_primary_flags(&read(opcode, body)?);
            }
            opcode::cuDevicePrimaryCtxReset_v2 => return self.reset_primary(word(header, body)?),
            opcode::cuCtxCreate_v4 => return self.create_context(context, &read(opcode, body)?),
            opcode::cuCtxDestroy_v2 => return self.destroy_context(word(header, body)?),
            _ => self.handles.enter(self.driver, context)?,
        }
        match opcode {
            opcode::cuCtxSetFlags => self.set_flags(&read(opcode, body)?),
            opcode::cuStreamCreateWithPriority => self.create_stream(&read(opcode, body)?),
            opcode::cuStreamDestroy_v2 => self.destroy_stream(word(header, body)?),
            opcode::cuEventCreate => self.create_event(&read(opcode, body)?),
            opcode::cuEventDestroy_v2 => self.destroy_event(word(header, body)?),
            opcode::cuLibraryUnload | opcode::cuModuleUnload => self.unload(word(header, body)?),
            opcode::cuLinkDestroy => self.link_destroy(word(header, body)?),
            opcode::cuModuleGetGlobal_v2 => {
                let (get, name) = read_prefix::<GetGlobal>(opcode, body)?;
                self.get_global(get.image.get(), name)
            }
            opcode::cuLibraryGetManaged => {
                let (get, name) = read_prefix::<GetGlobal>(opcode, body)?;
                self.get_managed(get.image.get(), name)
            }
            opcode::cuOccupancyMaxPotentialClusterSize | opcode::cuOccupancyMaxActiveClusters => {
                self.cluster_occupancy(opcode, body)
            }
            opcode::cuFuncGetAttribute => self.function_attributes(&read(opcode, body)?),
            opcode::cuKernelGetAttribute => self.kernel_attributes(&read(opcode, body)?),
            opcode::cuMemAlloc_v2 => self.allocate(word(header, body)?),
            opcode::cuMemAllocPitch_v2 => self.allocate_pitch(&read(opcode, body)?),
            opcode::cuMemFree_v2 => self.free(word(header, body)?),
            _ if opcode.is_of_images() => self.image_message(header, body),
            _ => self.memory(opcode, body),
        }
    }

    fn retain_primary(&mut self, number: u16, create: &ContextCreate) -> Words {
        let device = device(create.device.get())?;
        self.handles.contexts.check(u32::from(number))?;
        let mut handle = CUcontext::NULL;
        // SAFETY: the output is a local.
        check(unsafe {
            self.driver
                .cuDevicePrimaryCtxRetain(&raw mut handle, device)
        })?;
        // A reset context stays retained, and may be another one afterwards.
        let retained = match self.handles.contexts.get_mut(u32::from(number)) {
            Some(known) if known.handle == handle => {
                known.retained += 1;
                return Ok(Vec::new());
            }
            Some(known) => known.retained + 1,
            None => 1,
        };
        self.handles
            .add_context(self.driver, number, handle, device, retained)?;
        Ok(Vec::new())
    }

    fn release_primary(&mut self, word: u64) -> Words {
        let number = context_number(word)?;
        let invalid = CUresult::CUDA_ERROR_INVALID_CONTEXT;
        let context = self
            .handles
            .contexts
            .get_mut(u32::from(number))
            .ok_or(invalid)?;
        let device = context.device;
        match context.retained {
            0 => return Err(invalid.into()),
            1 => {
                self.end_context(number);
                self.handles.contexts.remove(u32::from(number));
            }
            _ => context.retained -= 1,
        }
        // SAFETY: no preconditions.
        match unsafe { self.driver.cuDevicePrimaryCtxRelease_v2(device) } {
            // Whoever held a context that was reset holds it no longer, for the driver.
            CUresult::CUDA_ERROR_INVALID_CONTEXT => {}
            status => check(status)?,
        }
        Ok(Vec::new())
    }

    fn end_context(&mut self, number: u16) {
        self.handles.end_context(self.driver, number);
        self.holdings.end_context(number);
    }

    fn set_primary_flags(&self, set: &DeviceFlags) -> Words {
        let device = device(set.device.get())?;
        let flags = context_flags(set.flags.get());
        // SAFETY: no preconditions.
        check(unsafe { self.driver.cuDevicePrimaryCtxSetFlags_v2(device, flags) })?;
        Ok(Vec::new())
    }

    fn reset_primary(&mut self, word: u64) -> Words {
        let device = device(u32::try_from(word).map_err(|_| INVALID_VALUE)?)?;
        let primary = self
            .handles
            .contexts
            .pairs()
            .find(|(_, context)| context.retained > 0 && context.device == device)
            .and_then(|(number, _)| u16::try_from(number).ok());
        if let Some(number) = primary {
            self.end_context(number);
        }
        // SAFETY: no preconditions.
        check(unsafe { self.driver.cuDevicePrimaryCtxReset_v2(device) })?;
        self.link.send_console()?;
        Ok(Vec::new())
    }

    fn create_context(&mut self, number: u16, create: &ContextCreate) -> Words {
        let device = device(create.device.get())?;
        self.handles.contexts.check(u32::from(number))?;
        let flags = context_flags(create.flags.get());
        let (mut handle, no_parameters) = (CUcontext::NULL, std::ptr::null_mut());
        // SAFETY: the output is a local.
        let mut status = unsafe {
            self.driver
                .cuCtxCreate_v4(&raw mut handle, no_parameters, flags, device)
        };
        if status == CUresult::CUDA_ERROR_NOT_SUPPORTED {
            // A driver for CUDA 12.4 has only the older form.
            // SAFETY: as above.
            status = unsafe { self.driver.cuCtxCreate_v2(&raw mut handle, flags, device) };
        }
        check(status)?;
        self.handles
            .add_context(self.driver, number, handle, device, 0)?;
        // Creating a context makes it current.
        self.handles.current = number;
        Ok(Vec::new())
    }

    fn destroy_context(&mut self, word: u64) -> Words {
        let number = context_number(word)?;
        let handle = match self.handles.contexts.get(u32::from(number)) {
            Some(context) if context.retained == 0 => context.handle,
            _ => return Err(CUresult::CUDA_ERROR_INVALID_CONTEXT.into()),
        };
        self.end_context(number);
        self.handles.contexts.remove(u32::from(number));
        // SAFETY: nothing uses the context any more.
        check(unsafe { self.driver.cuCtxDestroy_v2(handle) })?;
        Ok(Vec::new())
    }

    fn set_flags(&self, set: &DeviceFlags) -> Words {
        let flags = context_flags(set.flags.get());
        // SAFETY: no preconditions.
        check(unsafe { self.driver.cuCtxSetFlags(flags) })?;
        Ok(Vec::new())
    }

    fn create_stream(&mut self, create: &StreamCreate) -> Words {
        let number = create.stream.get();
        self.handles.streams.check(number)?;
        let mut handle = CUstream::NULL;
        // SAFETY: the output is a local.
        check(unsafe {
            self.driver.cuStreamCreateWithPriority(
                &raw mut handle,
                create.flags.get(),
                create.priority.get(),
            )
        })?;
        let context = self.handles.current;
        self.handles
            .streams
            .insert(number, Owned { handle, context })?;
        Ok(Vec::new())
    }

    fn destroy_stream(&mut self, word: u64) -> Words {
        let stream = u32::try_from(word)
            .ok()
            .and_then(|number| self.handles.streams.remove(number))
            .ok_or(CUresult::CUDA_ERROR_INVALID_HANDLE)?;
        // The client may have another context current than the stream's.
        self.handles.enter(self.driver, stream.context)?;
        let forgotten = self.handles.current()?.uploads.forget_stream(stream.handle);
        // SAFETY: the stream is out of the table: nothing is queued on it any more.
        check(unsafe { self.driver.cuStreamDestroy_v2(stream.handle) })?;
        forgotten?;
        Ok(Vec::new())
    }

    fn create_event(&mut self, create: &EventCreate) -> Words {
        let number = create.event.get();
        self.handles.events.check(number)?;
        let mut handle = CUevent::NULL;
        // SAFETY: the output is a local.
        check(unsafe {
            self.driver
                .cuEventCreate(&raw mut handle, create.flags.get())
        })?;
        let context = self.handles.current;
        self.handles
            .events
            .insert(number, Owned { handle, context })?;
        Ok(Vec::new())
    }

    fn destroy_event(&mut self, word: u64) -> Words {
        let event = u32::try_from(word)
            .ok()
            .and_then(|number| self.handles.events.remove(number))
            .ok_or(CUresult::CUDA_ERROR_INVALID_HANDLE)?;
        // SAFETY: the event is out of the table.
        check(unsafe { self.driver.cuEventDestroy_v2(event.handle) })?;
        Ok(Vec::new())
    }

    fn unload(&mut self, word: u64) -> Words {
        let image = u32::try_from(word)
            .ok()
            .and_then(|number| self.handles.images.remove(number))
            .ok_or(CUresult::CUDA_ERROR_INVALID_HANDLE)?;
        match image.handle {
            // SAFETY: the library is out of the table.
            ImageHandle::Library(library) => check(unsafe { self.driver.cuLibraryUnload(library) }),
            ImageHandle::Module(module) => {
                self.handles.enter(self.driver, module.context)?;
                // SAFETY: the module is out of the table.
                check(unsafe { self.driver.cuModuleUnload(module.handle) })
            }
        }?;
        Ok(Vec::new())
    }

    fn get_global(&self, image: u32, name: &[u8]) -> Words {
        let name = c_name(name)?;
        let (mut address, mut bytes) = (CUdeviceptr::default(), 0);
        let invalid = CUresult::CUDA_ERROR_INVALID_HANDLE;
        let image = self.handles.images.get(image).ok_or(invalid)?;
        // SAFETY: the outputs are locals, the name is terminated.
        check(unsafe {
            let (address, bytes) = (&raw mut address, &raw mut bytes);
            match image.handle {
                ImageHandle::Library(library) => {
                    self.driver
                        .cuLibraryGetGlobal(address, bytes, library, name.as_ptr())
                }
                ImageHandle::Module(module) => {
                    self.driver
                        .cuModuleGetGlobal_v2(address, bytes, module.handle, name.as_ptr())
                }
            }
        })?;
        Ok(vec![Word::new(address.0), Word::new(bytes as u64)])
    }

    fn get_managed(&self, image: u32, name: &[u8]) -> Words {
        let name = c_name(name)?;
        let (mut address, mut bytes) = (CUdeviceptr::default(), 0);
        let invalid = CUresult::CUDA_ERROR_INVALID_HANDLE;
        let image = self.handles.images.get(image).ok_or(invalid)?;
        let ImageHandle::Library(library) = image.handle else {
            return Err(invalid.into());
        };
        // SAFETY: the outputs are locals, the name is terminated.
        check(unsafe {
            self.driver.cuLibraryGetManaged(
                &raw mut address,
                &raw mut bytes,
                library,
                name.as_ptr(),
            )
        })?;
        Ok(vec![Word::new(address.0), Word::new(bytes as u64)])
    }

    fn function_attributes(&mut self, ask: &FunctionAttributes) -> Words {
        let function = self.handles.function(self.driver, ask.function.get())?;
        let driver = self.driver;
        attributes(|value, attribute| {
            // SAFETY: the output is a local, the function belongs to the current context.
            unsafe { driver.cuFuncGetAttribute(value, attribute, function) }
        })
    }

    fn kernel_attributes(&mut self, ask: &FunctionAttributes) -> Words {
        let device = device(ask.device.get())?;
        let driver = self.driver;
        let KernelHandle::Kernel(kernel, _) = self.handles.kernel_entry(ask.function.get())?.handle
        else {
            return Err(CUresult::CUDA_ERROR_INVALID_HANDLE.into());
        };
        attributes(|value, attribute| {
            // SAFETY: the output is a local, the kernel belongs to a loaded library.
            unsafe { driver.cuKernelGetAttribute(value, attribute, kernel, device) }
        })
    }

    fn allocate(&mut self, bytes: u64) -> Words {
        let mut address = CUdeviceptr::default();
        self.within_quota(bytes, |session| {
            // SAFETY: the output is a local.
            check(unsafe { (session.driver).cuMemAlloc_v2(&raw mut address, bytes as usize) })?;
            session.hold(Place::Address(address.0), bytes);
            Ok(vec![Word::new(address.0)])
        })
    }

    fn allocate_pitch(&mut self, allocate: &AllocatePitch) -> Words {
        let (mut address, mut pitch) = (CUdeviceptr::default(), 0);
        let (width, height) = (allocate.width_bytes.get(), allocate.height.get());
        // How much a row takes with its padding, only the driver knows.
        self.within_quota(width.saturating_mul(height), |session| {
            // SAFETY: the outputs are locals.
            check(unsafe {
                session.driver.cuMemAllocPitch_v2(
                    &raw mut address,
                    &raw mut pitch,
                    width as usize,
                    height as usize,
                    allocate.element_bytes.get(),
                )
            })?;
            let bytes = (pitch as u64).saturating_mul(height);
            session.hold(Place::Address(address.0), bytes);
            Ok(vec![Word::new(address.0), Word::new(pitch as u64)])
        })
    }

    /// Allocates so many bytes on the current context's device, if the session may have them.
    pub(super) fn within_quota(
        &mut self,
        bytes: u64,
        allocate: impl FnOnce(&mut Self) -> Words,
    ) -> Words {
        match self.owner() {
            Some(owner) => self.within_quota_of(owner.device, bytes, allocate),
            // The driver says what is missing.
            None => allocate(self),
        }
    }

    /// Allocates so many bytes on a device, if the session may have them.
    pub(super) fn within_quota_of(
        &mut self,
        device: u32,
        bytes: u64,
        allocate: impl FnOnce(&mut Self) -> Words,
    ) -> Words {
        if !self.holdings.reserve(device, bytes) {
            return Err(CUresult::CUDA_ERROR_OUT_OF_MEMORY.into());
        }
        let allocated = allocate(self);
        self.holdings.settle(device);
        allocated
    }

    /// Memory is allocated in the current context.
    pub(super) fn hold(&mut self, place: Place, bytes: u64) {
        if let Some(owner) = self.owner() {
            self.holdings.allocate(place, owner, bytes);
        }
    }

    fn free(&mut self, address: u64) -> Words {
        // SAFETY: what is not an allocation of this session's driver is refused by it.
        check(unsafe { self.driver.cuMemFree_v2(CUdeviceptr(address)) })?;
        self.holdings.free(Place::Address(address));
        Ok(Vec::new())
    }
}

/// The body of a message that is one word.
pub(super) fn word(header: &CommandHeader, body: &[u8]) -> Result<u64, SessionError> {
    let word = Word::read_from_bytes(body);
    word.map(Word::get)
        .map_err(|_| SessionError::Body(header.opcode()))
}

fn device(ordinal: u32) -> Result<CUdevice, CUresult> {
    let ordinal = i32::try_from(ordinal);
    ordinal
        .map(CUdevice)
        .map_err(|_| CUresult::CUDA_ERROR_INVALID_DEVICE)
}

fn context_number(word: u64) -> Result<u16, CUresult> {
    u16::try_from(word).map_err(|_| CUresult::CUDA_ERROR_INVALID_CONTEXT)
}

/// The flags that mean something here; a device core dump would be written on this machine.
const fn context_flags(flags: u32) -> u32 {
    flags
        & (CUctx_flags::CU_CTX_SCHED_MASK.0
            | CUctx_flags::CU_CTX_MAP_HOST.0
            | CUctx_flags::CU_CTX_LMEM_RESIZE_TO_MAX.0
            | CUctx_flags::CU_CTX_SYNC_MEMOPS.0)
}

/// Every attribute up to the first that the driver does not know.
fn attributes(get: impl Fn(*mut i32, CUfunction_attribute) -> CUresult) -> Words {
    let mut words = Vec::new();
    for attribute in 0..CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX.0 {
        let mut value = 0;
        match get(&raw mut value, CUfunction_attribute(attribute)) {
            CUresult::CUDA_SUCCESS => words.push(Word::new(i64::from(value).cast_unsigned())),
            CUresult::CUDA_ERROR_INVALID_VALUE if attribute > 0 => break,
            error => return Err(error.into()),
        }
    }
    Ok(words)
}
