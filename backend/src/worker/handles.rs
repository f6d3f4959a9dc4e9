// SPDX-License-Identifier: Apache-2.0
//! What the client's numbers name: contexts, streams, events, images and their kernels.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use gvirtus_abi::{
    CUcontext, CUdevice, CUevent, CUevent_flags, CUfunction, CUkernel, CUlibrary, CUmemoryPool,
    CUmodule, CUresult, CUstream,
};
use gvirtus_protocol::command::FunctionNumber;
use gvirtus_protocol::limits::{CONTEXTS_MAX, HANDLES_MAX};

use super::images::Options;
use super::linking::Linking;
use super::numbers::Numbers;
use super::staging::Staging;
use super::uploads::Uploads;
use crate::driver::{Driver, check};
use crate::limits::{IMAGES_MAX, LINKS_MAX, QUERIED_STREAMS_MAX};

/// All that a session has named.
pub(super) struct Handles {
    pub(super) contexts: Numbers<Context>,
    pub(super) streams: Numbers<Owned<CUstream>>,
    pub(super) events: Numbers<Owned<CUevent>>,
    pub(super) images: Numbers<Image>,
    pub(super) pools: Numbers<CUmemoryPool>,
    pub(super) links: Numbers<Linking>,
    /// Arrays, textures, surfaces and references, by the driver's own handles.
    opaque: HashSet<u64>,
    /// The driver's handles of memory without an address, and how often each has to be released.
    pub(super) allocations: BTreeMap<u64, u32>,
    /// Number of the context that is current; 0 for none.
    pub(super) current: u16,
    fence: Option<Fence>,
}

/// A handle and the number of the context that it belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owned<T> {
    pub(super) handle: T,
    pub(super) context: u16,
}

/// A context of the session.
pub(super) struct Context {
    pub(super) handle: CUcontext,
    pub(super) device: CUdevice,
    /// How often a primary context is retained; of a created one, 0.
    pub(super) retained: u32,
    pub(super) staging: Arc<Staging>,
    pub(super) uploads: Uploads,
    fence_event: CUevent,
}

/// A library or module.
pub(super) struct Image {
    pub(super) handle: ImageHandle,
    pub(super) kernels: Vec<Kernel>,
    /// A driver that compiles a library's kernels only when they are used still has its options.
    pub(super) _options: Options,
}

/// What the driver calls an image.
#[derive(Clone, Copy, Debug)]
pub(super) enum ImageHandle {
    Library(CUlibrary),
    Module(Owned<CUmodule>),
}

/// A kernel of an image.
#[derive(Debug)]
pub(super) struct Kernel {
    pub(super) parameter_bytes: usize,
    pub(super) handle: KernelHandle,
}

/// What the driver calls a kernel.
#[derive(Debug)]
pub(super) enum KernelHandle {
    /// Of a module.
    Function(CUfunction),
    /// Of a library, with its function in each context that has used it.
    Kernel(CUkernel, Vec<Owned<CUfunction>>),
}

/// The end of a synchronous copy that the client did not wait for. What follows it on another
/// stream waits in its stead.
struct Fence {
    event: CUevent,
    /// Number of the event's context.
    context: u16,
    /// Context and number of the streams that come after it.
    behind: Vec<(u16, u32)>,
}

const INVALID_HANDLE: CUresult = CUresult::CUDA_ERROR_INVALID_HANDLE;

impl Handles {
    pub(super) fn new() -> Self {
        Self {
            contexts: Numbers::new(CONTEXTS_MAX),
            streams: Numbers::new(HANDLES_MAX),
            events: Numbers::new(HANDLES_MAX),
            images: Numbers::new(IMAGES_MAX),
            pools: Numbers::new(HANDLES_MAX),
            links: Numbers::new(LINKS_MAX),
            opaque: HashSet::new(),
            allocations: BTreeMap::new(),
            current: 0,
            fence: None,
        }
    }

    /// Makes the context with this number current in the executor.
    pub(super) fn enter(&mut self, driver: &Driver, number: u16) -> Result<(), CUresult> {
        if number == self.current {
            return Ok(());
        }
        let handle = match number {
            0 => CUcontext::NULL,
            number => self.owner(number)?.handle,
        };
        // SAFETY: the context is alive: it is removed from the table when it ends.
        check(unsafe { driver.cuCtxSetCurrent(handle) })?;
        self.current = number;
        Ok(())
    }

    /// The context that is current.
    pub(super) fn current(&mut self) -> Result<&mut Context, CUresult> {
        let invalid = CUresult::CUDA_ERROR_INVALID_CONTEXT;
        self.contexts
            .get_mut(u32::from(self.current))
            .ok_or(invalid)
    }

    fn owner(&self, number: u16) -> Result<&Context, CUresult> {
        self.contexts
            .get(u32::from(number))
            .ok_or(CUresult::CUDA_ERROR_INVALID_CONTEXT)
    }

    pub(super) fn context(&self, word: u64) -> Result<CUcontext, CUresult> {
        let number = u16::try_from(word).map_err(|_| CUresult::CUDA_ERROR_INVALID_CONTEXT)?;
        Ok(self.owner(number)?.handle)
    }

    pub(super) fn pool(&self, word: u64) -> Result<CUmemoryPool, CUresult> {
        let invalid = CUresult::CUDA_ERROR_INVALID_VALUE;
        let number = u32::try_from(word).map_err(|_| invalid)?;
        self.pools.get(number).copied().ok_or(invalid)
    }

    pub(super) fn event(&self, word: u64) -> Result<CUevent, CUresult> {
        let event = self.events.get(number(word)?).ok_or(INVALID_HANDLE)?;
        Ok(event.handle)
    }

    /// Makes the context of the stream `number` current, which for the default stream is the one
    /// with the number `context`.
    pub(super) fn enter_of_stream(
        &mut self,
        driver: &Driver,
        context: u16,
        number: u32,
    ) -> Result<(), CUresult> {
        let owner = self.streams.get(number).map_or(context, |s| s.context);
        self.enter(driver, owner)
    }

    /// The stream, made ready for something to be queued on it.
    pub(super) fn stream(&mut self, driver: &Driver, word: u64) -> Result<CUstream, CUresult> {
        let number = number(word)?;
        let handle = match number {
            0 => CUstream::NULL,
            number => self.streams.get(number).ok_or(INVALID_HANDLE)?.handle,
        };
        if self.fence.is_some() {
            self.pass_fence(driver, number, handle)?;
        }
        Ok(handle)
    }

    #[cold]
    fn pass_fence(
        &mut self,
        driver: &Driver,
        number: u32,
        stream: CUstream,
    ) -> Result<(), CUresult> {
        let key = (self.current, number);
        let Some(fence) = &mut self.fence else {
            return Ok(());
        };
        if fence.behind.contains(&key) {
            return Ok(());
        }
        // SAFETY: the event belongs to a context that is alive, else there would be no fence.
        if unsafe { driver.cuEventQuery(fence.event) } != CUresult::CUDA_ERROR_NOT_READY {
            self.fence = None;
            return Ok(());
        }
        // SAFETY: as above, and the stream belongs to the current context.
        check(unsafe { driver.cuStreamWaitEvent(stream, fence.event, 0) })?;
        fence.behind.push(key);
        Ok(())
    }

    /// Nothing that follows overtakes what is queued on the stream `number` of the current context.
    pub(super) fn raise_fence(
        &mut self,
        driver: &Driver,
        number: u32,
        stream: CUstream,
    ) -> Result<(), CUresult> {
        let key = (self.current, number);
        let context = self.current()?;
        if context.fence_event.is_null() {
            let flags = CUevent_flags::CU_EVENT_DISABLE_TIMING.0;
            // SAFETY: the output outlives the call.
            check(unsafe { driver.cuEventCreate(&raw mut context.fence_event, flags) })?;
        }
        let event = context.fence_event;
        // SAFETY: event and stream belong to the current context.
        check(unsafe { driver.cuEventRecord(event, stream) })?;
        // SAFETY: as above.
        let status = unsafe { driver.cuEventQuery(event) };
        // The stream has passed the fence before this one, so this one stands for both.
        self.fence = (status == CUresult::CUDA_ERROR_NOT_READY).then(|| Fence {
            event,
            context: key.0,
            behind: vec![key],
        });
        Ok(())
    }

    /// A handle of the driver that the session has been given, or null.
    pub(super) fn opaque(&self, word: u64) -> Result<u64, CUresult> {
        match word {
            0 => Ok(0),
            word => self.opaque.get(&word).copied().ok_or(INVALID_HANDLE),
        }
    }

    /// The session is about to be given a handle of the driver.
    pub(super) fn note_opaque(&mut self, handle: u64) -> Result<(), CUresult> {
        if self.opaque.len() >= HANDLES_MAX as usize {
            return Err(CUresult::CUDA_ERROR_OUT_OF_MEMORY);
        }
        self.opaque.insert(handle);
        Ok(())
    }

    /// A handle ends.
    pub(super) fn forget_opaque(&mut self, word: u64) -> Result<u64, CUresult> {
        self.opaque.take(&word).ok_or(INVALID_HANDLE)
    }

    /// The kernel with this number.
    pub(super) fn kernel_entry(&mut self, word: u64) -> Result<&mut Kernel, CUresult> {
        let number = FunctionNumber::from_word(word);
        let image = self.images.get_mut(number.image).ok_or(INVALID_HANDLE)?;
        image
            .kernels
            .get_mut(number.kernel as usize)
            .ok_or(INVALID_HANDLE)
    }

    pub(super) fn kernel(&mut self, word: u64) -> Result<CUkernel, CUresult> {
        match self.kernel_entry(word)?.handle {
            KernelHandle::Kernel(kernel, _) => Ok(kernel),
            KernelHandle::Function(_) => Err(INVALID_HANDLE),
        }
    }

    /// The kernel with this number as a function of the current context.
    pub(super) fn function(&mut self, driver: &Driver, word: u64) -> Result<CUfunction, CUresult> {
        let context = self.current;
        self.kernel_entry(word)?.function(driver, context)
    }

    /// All streams of the current context but the default one, if there are at most `limit`.
    pub(super) fn streams_of_current(&self, limit: usize) -> Option<Vec<CUstream>> {
        let mut found = Vec::new();
        for stream in self.streams.values().filter(|s| s.context == self.current) {
            if found.len() == limit {
                return None;
            }
            found.push(stream.handle);
        }
        Some(found)
    }

    /// Whether nothing is queued or running in the current context, as far as that can be told
    /// soon.
    pub(super) fn is_idle(&self, driver: &Driver) -> bool {
        let streams = self.streams_of_current(QUERIED_STREAMS_MAX);
        // SAFETY: the streams are alive: they are removed from the table when they end.
        let is_idle = |s| unsafe { driver.cuStreamQuery(s) } == CUresult::CUDA_SUCCESS;
        streams.is_some_and(|streams| streams.into_iter().all(is_idle)) && is_idle(CUstream::NULL)
    }

    /// Names a context.
    pub(super) fn add_context(
        &mut self,
        driver: &'static Driver,
        number: u16,
        handle: CUcontext,
        device: CUdevice,
        retained: u32,
    ) -> Result<(), CUresult> {
        let staging = Arc::new(Staging::new(driver));
        let context = Context {
            handle,
            device,
            retained,
            uploads: Uploads::new(driver, Arc::clone(&staging)),
            staging,
            fence_event: CUevent::NULL,
        };
        self.contexts.insert(u32::from(number), context)
    }

    /// Makes ready for the end of the context `number`: forgets all that ends with it.
    pub(super) fn end_context(&mut self, driver: &'static Driver, number: u16) {
        if self.enter(driver, number).is_err() {
            return;
        }
        let Ok(context) = self.current() else {
            return;
        };
        context.uploads.end();
        context.staging = Arc::new(Staging::new(driver));
        context.uploads = Uploads::new(driver, Arc::clone(&context.staging));
        context.fence_event = CUevent::NULL;
        self.fence.take_if(|fence| fence.context == number);
        self.streams.retain(|stream| stream.context != number);
        self.events.retain(|event| event.context != number);
        self.images.retain(|image| match image.handle {
            ImageHandle::Module(module) => module.context != number,
            ImageHandle::Library(_) => true,
        });
        for kernel in self.images.values_mut().flat_map(|i| &mut i.kernels) {
            if let KernelHandle::Kernel(_, functions) = &mut kernel.handle {
                functions.retain(|function| function.context != number);
            }
        }
        // Whatever comes next sets its context.
        let _ = self.enter(driver, 0);
    }
}

impl Kernel {
    /// The kernel as a function of the context `number`, which is current.
    pub(super) fn function(
        &mut self,
        driver: &Driver,
        number: u16,
    ) -> Result<CUfunction, CUresult> {
        match &mut self.handle {
            KernelHandle::Function(function) => Ok(*function),
            KernelHandle::Kernel(kernel, functions) => {
                if let Some(known) = functions.iter().find(|f| f.context == number) {
                    return Ok(known.handle);
                }
                let mut handle = CUfunction::NULL;
                // SAFETY: the output is a local, the kernel belongs to a loaded library.
                check(unsafe { driver.cuKernelGetFunction(&raw mut handle, *kernel) })?;
                let context = number;
                functions.push(Owned { handle, context });
                Ok(handle)
            }
        }
    }
}

fn number(word: u64) -> Result<u32, CUresult> {
    u32::try_from(word).map_err(|_| INVALID_HANDLE)
}
