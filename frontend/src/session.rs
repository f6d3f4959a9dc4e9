// SPDX-License-Identifier: Apache-2.0
//! A session: the connection and everything that the client knows of the other side.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gvirtus_abi::{
    CU_STREAM_LEGACY, CU_STREAM_PER_THREAD, CUcontext, CUdevice, CUevent, CUkernel, CUresult,
    CUstream,
};
use gvirtus_driver_face::export_tables::context_destroyed;
use gvirtus_graph::capture;
use gvirtus_protocol::command::{StreamCreate, Word};
use gvirtus_protocol::opcode::{self, Opcode};
use parking_lot::{Mutex, RwLock};
use zerocopy::IntoBytes as _;
use zerocopy::little_endian::{I32, U32, U64};

use crate::api::{Link, Pool, StreamAttribute, graph_stream};
use crate::array::Arrays;
use crate::connect::Opened;
use crate::context::{Context, Contexts, Entry};
use crate::device::Device;
use crate::handle::{Key, Kind, Slab};
use crate::image::{Image, ImageKind, Kernel};
use crate::memory::{DeviceRanges, HostRanges, RangeKind};
use crate::shared::Shared;
use crate::thread::{self, DefaultStream};
use crate::wire::{Body, Command, Outcome, Payload, Rows, Wire, runs_host_function};

/// What the use of an unknown `CUkernel` answers. `cuda.h` has no name for it: NVIDIA's runtime
/// passes whatever it is given as a kernel, and makes `cudaErrorInvalidDeviceFunction` of this
/// answer, which has this number.
pub(crate) const NO_SUCH_KERNEL: CUresult = CUresult(98);

/// A stream that the application, or a thread's default stream, made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stream {
    /// Number of its context.
    pub(crate) context: u16,
    /// Ordinal of the device.
    pub(crate) device: u32,
    /// Handle of its context.
    pub(crate) context_handle: CUcontext,
    /// `CUstream_flags`.
    pub(crate) flags: u32,
    /// Lower is more urgent.
    pub(crate) priority: i32,
    /// As `cuStreamGetId` says.
    pub(crate) id: u64,
}

/// An event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    /// Number of its context.
    pub(crate) context: u16,
    /// Whether it ever was recorded.
    pub(crate) is_recorded: bool,
    /// Whether other processes may have it too.
    pub(crate) is_shared: bool,
}

/// Where a command goes: a stream's number, and the context to be current.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StreamRef {
    /// 0 for the legacy default stream.
    pub(crate) number: u32,
    /// The stream's context.
    pub(crate) context: u16,
}

/// A session that lasts until the process ends.
pub(crate) struct Session {
    /// Of the frontend that it belongs to.
    pub(crate) epoch: u64,
    /// The connection.
    pub(crate) wire: &'static Wire,
    /// As `cuDriverGetVersion` says.
    pub(crate) driver_version: i32,
    /// In the order of their ordinals.
    pub(crate) devices: Vec<Device>,
    /// By number.
    pub(crate) contexts: Contexts,
    /// By number minus one.
    pub(crate) streams: Slab<Stream>,
    /// By number minus one.
    pub(crate) events: Slab<Event>,
    /// By number minus one. A place is taken before its image is loaded.
    pub(crate) images: Slab<Option<Arc<Image>>>,
    /// By number minus one.
    pub(crate) links: Slab<Arc<Link>>,
    /// Those for which the application has a handle.
    pub(crate) kernels: Slab<Arc<Kernel>>,
    /// By number minus one.
    pub(crate) pools: Slab<Pool>,
    /// Number of the pool that `cuMemAllocAsync` takes from, by device; without one, the default.
    pub(crate) current_pools: Mutex<BTreeMap<u32, u32>>,
    /// Device memory.
    pub(crate) device_ranges: RwLock<DeviceRanges>,
    /// Memory that both sides use.
    pub(crate) shared: Shared,
    /// Page-locked memory.
    pub(crate) host_ranges: RwLock<HostRanges>,
    /// Arrays, textures and surfaces.
    pub(crate) arrays: Arrays,
    /// By the stream's id and the attribute.
    pub(crate) stream_attributes: Mutex<BTreeMap<(u64, u32), StreamAttribute>>,
    ids: AtomicU64,
}

impl Session {
    /// A session on a fresh connection.
    pub(crate) fn new(epoch: u64, opened: Opened) -> Self {
        let snapshot = opened.welcome.snapshot;
        let devices: Vec<Device> = snapshot.devices.into_iter().map(Device::new).collect();
        // The protocol allows only few devices.
        let device_count = u32::try_from(devices.len()).unwrap_or(0);
        Self {
            epoch,
            wire: Wire::open(opened.stream, opened.endpoint.to_string()),
            driver_version: snapshot.driver_version,
            devices,
            contexts: Contexts::new(device_count),
            streams: Slab::default(),
            events: Slab::default(),
            images: Slab::default(),
            links: Slab::default(),
            kernels: Slab::default(),
            pools: Slab::default(),
            current_pools: Mutex::default(),
            device_ranges: RwLock::default(),
            shared: Shared::default(),
            host_ranges: RwLock::default(),
            arrays: Arrays::default(),
            stream_attributes: Mutex::default(),
            ids: AtomicU64::new(1),
        }
    }

    /// A number that this session has not used.
    pub(crate) fn new_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    /// The calling thread's current context, able to work.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_INVALID_CONTEXT` if there is none, `CUDA_ERROR_CONTEXT_IS_DESTROYED`,
    /// `CUDA_ERROR_NOT_PERMITTED` in a host function, a sticky error, or that the connection is
    /// lost.
    #[inline]
    pub(crate) fn current(&self) -> Result<Context, CUresult> {
        if runs_host_function() {
            return Err(CUresult::CUDA_ERROR_NOT_PERMITTED);
        }
        let context = self.contexts.find(thread::current(self))?;
        self.wire.faults().check()?;
        Ok(context)
    }

    /// As [`Session::current`], for a function that may return errors of commands before it.
    #[inline]
    pub(crate) fn current_or_deferred(&self) -> Result<Context, CUresult> {
        let context = self.current()?;
        self.wire.faults().take_deferred()?;
        Ok(context)
    }

    /// Number of the calling thread's current context, 0 if there is none that lives.
    pub(crate) fn current_number(&self) -> u16 {
        let current = self.contexts.find(thread::current(self));
        current.map_or(0, |context| context.number)
    }

    /// The device with an ordinal.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_INVALID_DEVICE`.
    pub(crate) fn device(&self, ordinal: CUdevice) -> Result<&Device, CUresult> {
        usize::try_from(ordinal.0)
            .ok()
            .and_then(|index| self.devices.get(index))
            .ok_or(CUresult::CUDA_ERROR_INVALID_DEVICE)
    }

    /// Whether rows lie in one piece of device memory.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_INVALID_VALUE` if they do not.
    pub(crate) fn check_device_rows(
        &self,
        address: u64,
        width_bytes: u64,
        height: u64,
        pitch_bytes: u64,
    ) -> Result<(), CUresult> {
        if width_bytes == 0 || height == 0 {
            return Ok(());
        }
        let bytes = pitch_bytes
            .checked_mul(height - 1)
            .and_then(|bytes| bytes.checked_add(width_bytes))
            .ok_or(CUresult::CUDA_ERROR_INVALID_VALUE)?;
        self.device_ranges.read().check(address, bytes)
    }

    /// Where the commands for a stream go that cannot be captured. `default` is what a null handle
    /// means.
    ///
    /// # Errors
    ///
    /// As [`Session::capturable`], and `CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED` and its kin.
    #[inline]
    pub(crate) fn stream(
        &self,
        default: CUstream,
        handle: CUstream,
    ) -> Result<StreamRef, CUresult> {
        let stream = self.capturable(default, handle)?;
        if capture::is_possible() {
            capture::check_uncaptured(&graph_stream(self, default, handle)?)?;
        }
        Ok(stream)
    }

    /// Where the commands for a stream go, for a function that looks after captures itself.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_INVALID_HANDLE`, or as [`Session::current`].
    #[inline]
    pub(crate) fn capturable(
        &self,
        default: CUstream,
        handle: CUstream,
    ) -> Result<StreamRef, CUresult> {
        match if handle.is_null() { default } else { handle } {
            CU_STREAM_LEGACY => Ok(StreamRef {
                number: 0,
                context: self.current()?.number,
            }),
            CU_STREAM_PER_THREAD => {
                let context = self.current()?;
                Ok(StreamRef {
                    number: self.thread_stream(context)?.number(),
                    context: context.number,
                })
            }
            handle => {
                let key = stream_key(handle)?;
                let stream = self.streams.get(key);
                let stream = stream.ok_or(CUresult::CUDA_ERROR_INVALID_HANDLE)?;
                self.wire.faults().check()?;
                Ok(StreamRef {
                    number: key.number(),
                    context: stream.context,
                })
            }
        }
    }

    /// The key of the calling thread's default stream in the current context.
    #[inline]
    pub(crate) fn thread_stream(&self, context: Context) -> Result<Key, CUresult> {
        let current = thread::current(self);
        if let Some(handle) = thread::default_stream(self, current) {
            let key = stream_key(CUstream(handle))?;
            if self.streams.get(key).is_some() {
                return Ok(key);
            }
        }
        let key = self.create_stream(context, current, 0, 0)?;
        let stream = key.handle(Kind::Stream);
        let context = current;
        thread::set_default_stream(self, DefaultStream { context, stream });
        Ok(key)
    }

    /// Makes a stream.
    pub(crate) fn create_stream(
        &self,
        context: Context,
        context_handle: CUcontext,
        flags: u32,
        priority: i32,
    ) -> Result<Key, CUresult> {
        let stream = Stream {
            context: context.number,
            device: context.device,
            context_handle,
            flags,
            priority,
            id: self.new_id(),
        };
        let key = self.streams.insert(stream);
        let key = key.ok_or(CUresult::CUDA_ERROR_OUT_OF_MEMORY)?;
        let body = StreamCreate {
            stream: U32::new(key.number()),
            flags: U32::new(flags),
            priority: I32::new(priority),
        };
        self.post(
            opcode::cuStreamCreateWithPriority,
            context.number,
            body.as_bytes(),
        )?;
        Ok(key)
    }

    /// Ends a stream that the application, or a thread's end, destroys.
    pub(crate) fn destroy_stream(&self, key: Key) -> Result<(), CUresult> {
        let stream = self.streams.retire(key);
        let stream = stream.ok_or(CUresult::CUDA_ERROR_INVALID_HANDLE)?;
        self.forget_attributes(stream.id);
        self.post_word(
            opcode::cuStreamDestroy_v2,
            stream.context,
            u64::from(key.number()),
        )?;
        self.streams.release(key);
        Ok(())
    }

    fn forget_attributes(&self, stream: u64) {
        let mut all = self.stream_attributes.lock();
        all.retain(|(of, _), _| *of != stream);
    }

    /// A thread ended. Its context may have ended before it, and with it the stream.
    pub(crate) fn destroy_default_stream(&self, handle: u64) {
        if let Ok(key) = stream_key(CUstream(handle)) {
            let _ = self.destroy_stream(key);
        }
    }

    /// The event behind a handle.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_INVALID_HANDLE`.
    #[inline]
    pub(crate) fn event(&self, handle: CUevent) -> Result<(Key, Event), CUresult> {
        let find = || {
            let key = Key::of(handle.0, Kind::Event)?;
            Some((key, self.events.get(key)?))
        };
        find().ok_or(CUresult::CUDA_ERROR_INVALID_HANDLE)
    }

    /// The kernel behind a `CUfunction` or a `CUkernel`: CUDA takes either where it takes a
    /// function.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_INVALID_HANDLE`.
    #[inline]
    pub(crate) fn kernel(&self, handle: u64) -> Result<Arc<Kernel>, CUresult> {
        let key = Key::of(handle, Kind::Function).or_else(|| Key::of(handle, Kind::Kernel));
        let kernel = key.and_then(|key| self.kernels.get(key));
        kernel.ok_or(CUresult::CUDA_ERROR_INVALID_HANDLE)
    }

    /// The kernel behind what should be a `CUkernel`.
    ///
    /// # Errors
    ///
    /// [`NO_SUCH_KERNEL`].
    pub(crate) fn library_kernel(&self, handle: CUkernel) -> Result<Arc<Kernel>, CUresult> {
        self.kernel(handle.0).map_err(|_| NO_SUCH_KERNEL)
    }

    /// The library or module behind a handle of `kind`. A library's module has the library's place.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_INVALID_HANDLE`.
    pub(crate) fn image(&self, handle: u64, kind: Kind) -> Result<(Key, Arc<Image>), CUresult> {
        let find = || {
            let key = Key::of(handle, kind)?;
            let image = self.images.get(key)??;
            let fits = kind == Kind::Module || image.kind == ImageKind::Library;
            fits.then_some((key, image))
        };
        find().ok_or(CUresult::CUDA_ERROR_INVALID_HANDLE)
    }

    /// Ends an image and its kernels' handles.
    pub(crate) fn unload(&self, key: Key, opcode: Opcode, context: u16) -> Result<(), CUresult> {
        let image = self.images.retire(key).flatten();
        let image = image.ok_or(CUresult::CUDA_ERROR_INVALID_HANDLE)?;
        self.forget_kernels(&image);
        self.forget_variables(key);
        self.post_word(opcode, context, u64::from(key.number()))?;
        self.images.release(key);
        Ok(())
    }

    fn forget_kernels(&self, image: &Image) {
        for kernel in &image.kernels {
            if let Some(key) = kernel.known_key()
                && self.kernels.retire(key).is_some()
            {
                self.kernels.release(key);
            }
        }
    }

    fn forget_variables(&self, image: Key) {
        let mut ranges = self.device_ranges.write();
        let gone = ranges.remove_all(|range| range.kind.is_variable_of(image.number()));
        drop(ranges);
        if self.shared.is_used() {
            let mut mirrors = self.shared.mirrors.lock();
            for base in gone {
                mirrors.remove(base);
            }
        }
    }

    /// Forgets what belonged to a context that has ended. The worker has been told before, so the
    /// numbers can be used again. Page-locked memory goes only with `frees_host`: the runtime
    /// releases its context while the process ends, and the application's destructors come after
    /// it.
    pub(crate) fn context_ended(&self, entry: &Entry, frees_host: bool) {
        let number = entry.context().number;
        for (key, stream) in self.streams.retire_all(|s| s.context == number) {
            self.forget_attributes(stream.id);
            self.streams.release(key);
        }
        for (key, _) in self.events.retire_all(|e| e.context == number) {
            self.events.release(key);
        }
        let belongs = |image: &Option<Arc<Image>>| {
            let image = image.as_ref();
            image.is_some_and(|image| image.kind == ImageKind::Module(number))
        };
        for (key, image) in self.images.retire_all(belongs) {
            if let Some(image) = image {
                self.forget_kernels(&image);
            }
            self.images.release(key);
        }
        // Before the memory goes.
        self.shared.forget_context(number);
        self.arrays.context_ended(number);
        let mut ranges = self.device_ranges.write();
        ranges.remove_all(|range| {
            let is_kept = !frees_host && range.kind == RangeKind::Mapped;
            range.context == number && !is_kept
        });
        drop(ranges);
        if frees_host {
            self.host_ranges.write().remove_context(number);
        }
        self.wire.faults().forget();
        capture::forget_context(entry.handle());
        context_destroyed(entry.handle());
    }

    /// Queues a command with this body.
    #[inline]
    pub(crate) fn post(&self, opcode: Opcode, context: u16, body: &[u8]) -> Result<(), CUresult> {
        let command = Command { opcode, context };
        self.wire
            .post(command, |buffer| buffer.extend_from_slice(body))
    }

    /// Queues a command whose body is one word.
    pub(crate) fn post_word(
        &self,
        opcode: Opcode,
        context: u16,
        word: u64,
    ) -> Result<(), CUresult> {
        let word = U64::new(word);
        self.post(opcode, context, Word { word }.as_bytes())
    }

    /// Queues a command whose body is words.
    pub(crate) fn post_words(
        &self,
        opcode: Opcode,
        context: u16,
        words: &[u64],
    ) -> Result<(), CUresult> {
        let command = Command { opcode, context };
        self.wire.post(command, |buffer| {
            for word in words {
                buffer.extend_from_slice(&word.to_le_bytes());
            }
        })
    }

    /// One round trip with a body of words.
    ///
    /// # Errors
    ///
    /// As [`Session::call`].
    pub(crate) fn call_words(
        &self,
        opcode: Opcode,
        context: u16,
        words: &[u64],
    ) -> Result<Body, CUresult> {
        self.wire.faults().check()?;
        let body: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.call(opcode, context, &body)
    }

    /// One round trip without payloads.
    ///
    /// # Errors
    ///
    /// What the worker answers, or why it did not.
    pub(crate) fn call(&self, opcode: Opcode, context: u16, body: &[u8]) -> Result<Body, CUresult> {
        let command = Command { opcode, context };
        let fill = |buffer: &mut Vec<u8>| buffer.extend_from_slice(body);
        // SAFETY: neither payload nor destination.
        let outcome = unsafe {
            self.wire
                .call(command, fill, Payload::None, Rows::default())?
        };
        outcome.successful()
    }

    /// As [`Session::call`], for a function that may return errors of commands before it: they are
    /// told instead of its own success or failure.
    pub(crate) fn call_or_deferred(
        &self,
        opcode: Opcode,
        context: u16,
        body: &[u8],
    ) -> Result<Body, CUresult> {
        let wait = self.wait_begins(opcode, context, body);
        let result = self.call(opcode, context, body);
        self.wire.faults().take_deferred()?;
        if let (Some(wait), Ok(_)) = (wait, &result) {
            self.after_wait(wait)?;
        }
        result
    }
}

impl Outcome {
    /// The body of a call that succeeded.
    ///
    /// # Errors
    ///
    /// The call's status.
    pub(crate) fn successful(self) -> Result<Body, CUresult> {
        match self.status {
            CUresult::CUDA_SUCCESS => Ok(self.body),
            status => Err(status),
        }
    }
}

impl Body {
    /// The word with this index, which the protocol promises.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_UNKNOWN`: the worker's fault.
    pub(crate) fn promised_word(&self, index: usize) -> Result<u64, CUresult> {
        self.word(index).ok_or(CUresult::CUDA_ERROR_UNKNOWN)
    }
}

/// The key of a stream that is no default stream.
#[inline]
pub(crate) fn stream_key(handle: CUstream) -> Result<Key, CUresult> {
    Key::of(handle.0, Kind::Stream).ok_or(CUresult::CUDA_ERROR_INVALID_HANDLE)
}
