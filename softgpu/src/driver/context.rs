// SPDX-License-Identifier: Apache-2.0
//! Contexts: what the driver keeps of an application on a device.
//!
//! A [`Context`] is one life of a context; the primary context of a device gets a new one with the
//! same handle each time it is reset. Handles decide what is alive: a destroyed context is no
//! longer found, while operations that still run keep their own reference.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use gvirtus_abi::{CUcontext, CUctx_flags, CUdevice, CUresult};
use gvirtus_driver_face::export_tables;
use gvirtus_graph::capture;
use parking_lot::Mutex;

use super::context_settings::Settings;
use super::device::{Device, device};
use super::handles::{Handles, Kind};
use super::limits::{DEFAULT_HEAP_BYTES, DEFAULT_PRINTF_BYTES};
use super::scheduler::{DomainId, ErrorCell, SCHEDULER, StreamId};
use super::{
    array, event, host_memory, ipc, memory, module, peers, pool, reference, stream, texture_object,
};
use crate::exec::Heap;
use crate::printf::Fifo;

/// One life of a context.
pub(super) struct Context {
    pub(super) handle: CUcontext,
    pub(super) device: &'static Device,
    /// Unique in the process.
    pub(super) id: u64,
    pub(super) flags: AtomicU32,
    /// The first error of a kernel, which all later calls return.
    pub(super) error: Arc<ErrorCell>,
    pub(super) domain: DomainId,
    pub(super) legacy_stream: StreamId,
    pub(super) settings: Arc<Mutex<Settings>>,
    /// Contexts whose memory it may use: their numbers, and their devices' ordinals.
    pub(super) peers: Mutex<Vec<(u64, i32)>>,
    /// Where kernels allocate.
    pub(super) heap: Arc<Heap>,
    /// Where kernels print. It is flushed where CUDA does so: at launches and synchronization,
    /// and when memory, modules or contexts go away.
    pub(super) printed: Arc<Fifo>,
    /// A kernel that prints was launched.
    pub(super) has_printed: AtomicBool,
    /// A kernel that allocates was launched.
    pub(super) has_allocated: AtomicBool,
}

/// A device's primary context.
#[derive(Default)]
pub(super) struct Primary {
    /// Null until somebody asks for it; then always the same.
    handle: CUcontext,
    flags: u32,
    retained: u32,
    is_active: bool,
}

static CONTEXTS: Handles<Context> = Handles::new(Kind::Context);

thread_local! {
    /// The current context; without a destructor, so that it works until the thread's very end.
    static CURRENT: Cell<CUcontext> = const { Cell::new(CUcontext::NULL) };
    /// The contexts below it on the thread's stack.
    static BELOW: RefCell<Vec<CUcontext>> = const { RefCell::new(Vec::new()) };
}

impl Context {
    fn new(handle: CUcontext, device: &'static Device, flags: u32) -> Self {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        let error = Arc::new(ErrorCell::default());
        let (domain, legacy_stream) = SCHEDULER.add_domain(error.clone());
        Self {
            handle,
            device,
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            flags: AtomicU32::new(flags),
            error,
            domain,
            legacy_stream,
            settings: Arc::default(),
            peers: Mutex::default(),
            heap: Arc::new(Heap::new(DEFAULT_HEAP_BYTES as u64)),
            printed: Arc::new(Fifo::new(DEFAULT_PRINTF_BYTES)),
            has_printed: AtomicBool::new(false),
            has_allocated: AtomicBool::new(false),
        }
    }

    /// Waits for all work, shows what it printed, and reports how it went.
    ///
    /// # Errors
    ///
    /// The error of a kernel.
    pub(super) fn synchronize(&self) -> Result<(), CUresult> {
        SCHEDULER.wait_domain(self.domain);
        self.printed.flush();
        pool::trim_after_synchronize();
        self.error.check()
    }

    /// Ends this life: waits for the work, then gives back everything that the context owns.
    fn tear_down(&self) {
        SCHEDULER.remove_domain(self.domain);
        self.printed.flush();
        export_tables::context_destroyed(self.handle);
        capture::forget_context(self.handle);
        stream::forget_context(self);
        event::forget_context(self);
        texture_object::forget_context(self);
        reference::forget_context(self);
        array::forget_context(self);
        module::forget_context(self);
        ipc::forget_context(self);
        memory::forget_context(self);
        if let Ok(memory) = self.device.memory() {
            self.heap.clear(memory);
        }
        pool::forget_context(self);
        peers::forget_context(self);
        host_memory::forget_context(self);
    }
}

/// The calling thread's current context, whatever became of it; may be null.
pub(super) fn current_handle() -> CUcontext {
    CURRENT.get()
}

/// The calling thread's current context, even if a kernel of it has failed.
///
/// # Errors
///
/// `CUDA_ERROR_INVALID_CONTEXT` if there is none, `CUDA_ERROR_CONTEXT_IS_DESTROYED`.
pub(super) fn current() -> Result<Arc<Context>, CUresult> {
    super::device::devices()?;
    if super::host_function::is_running() {
        return Err(CUresult::CUDA_ERROR_NOT_PERMITTED);
    }
    let handle = CURRENT.get();
    if handle.is_null() {
        return Err(CUresult::CUDA_ERROR_INVALID_CONTEXT);
    }
    CONTEXTS
        .get(handle.0)
        .ok_or(CUresult::CUDA_ERROR_CONTEXT_IS_DESTROYED)
}

/// The calling thread's current context.
///
/// # Errors
///
/// As [`current`], and the error of a kernel.
pub(super) fn usable() -> Result<Arc<Context>, CUresult> {
    let context = current()?;
    context.error.check()?;
    Ok(context)
}

/// Waits for all work of all contexts.
pub(super) fn wait_for_all() {
    for context in CONTEXTS.all() {
        SCHEDULER.wait_domain(context.domain);
    }
}

/// The context with that handle.
///
/// # Errors
///
/// `CUDA_ERROR_INVALID_CONTEXT`.
pub(super) fn find(handle: CUcontext) -> Result<Arc<Context>, CUresult> {
    super::device::devices()?;
    CONTEXTS
        .get(handle.0)
        .ok_or(CUresult::CUDA_ERROR_INVALID_CONTEXT)
}

/// The context with that handle, or the current one if it is null.
pub(super) fn find_or_current(handle: CUcontext) -> Result<Arc<Context>, CUresult> {
    if handle.is_null() {
        return current();
    }
    find(handle)
}

/// Makes a context current, below nothing: `cuCtxSetCurrent`.
pub(super) fn set_current(handle: CUcontext) -> Result<(), CUresult> {
    if handle.is_null() {
        super::device::devices()?;
        pop();
        return Ok(());
    }
    check_current(handle)?;
    CURRENT.set(handle);
    Ok(())
}

/// Makes a context current, above what is: `cuCtxPushCurrent`.
pub(super) fn push_current(handle: CUcontext) -> Result<(), CUresult> {
    check_current(handle)?;
    push(handle);
    Ok(())
}

/// Whether a context can be made current: cudart does that with a primary context before it retains
/// it.
fn check_current(handle: CUcontext) -> Result<(), CUresult> {
    if !CONTEXTS.is_known(handle.0) {
        find(handle)?;
    }
    Ok(())
}

pub(super) fn push(handle: CUcontext) {
    let below = CURRENT.replace(handle);
    if !below.is_null() {
        // At the very end of a thread the stack is gone, and what is below does not matter any
        // more.
        let _ = BELOW.try_with(|stack| stack.borrow_mut().push(below));
    }
}

/// Takes the current context away and answers it, or null.
pub(super) fn pop() -> CUcontext {
    let below = BELOW
        .try_with(|stack| stack.borrow_mut().pop())
        .ok()
        .flatten();
    CURRENT.replace(below.unwrap_or_default())
}

/// A new context, which becomes the calling thread's current one.
pub(super) fn create(flags: u32, dev: CUdevice) -> Result<CUcontext, CUresult> {
    let device = device(dev)?;
    check_flags(flags)?;
    device.memory()?;
    let context = CONTEXTS.insert(|handle| Context::new(CUcontext(handle), device, flags))?;
    push(context.handle);
    Ok(context.handle)
}

/// `cuCtxDestroy`.
pub(super) fn destroy(handle: CUcontext) -> Result<(), CUresult> {
    let context = find(handle)?;
    if context.device.primary.lock().handle == handle {
        return Err(CUresult::CUDA_ERROR_INVALID_CONTEXT);
    }
    let Some(context) = CONTEXTS.remove(context.handle.0) else {
        return Err(CUresult::CUDA_ERROR_INVALID_CONTEXT);
    };
    if CURRENT.get() == handle {
        pop();
    }
    context.tear_down();
    Ok(())
}

/// `CUDA_ERROR_INVALID_VALUE` for flags that no context has.
pub(super) fn check_flags(flags: u32) -> Result<(), CUresult> {
    let scheduling = flags & CUctx_flags::CU_CTX_SCHED_MASK.0;
    let one_at_most = scheduling == 0 || scheduling.is_power_of_two();
    match flags & !CUctx_flags::CU_CTX_FLAGS_MASK.0 == 0 && one_at_most {
        true => Ok(()),
        false => Err(CUresult::CUDA_ERROR_INVALID_VALUE),
    }
}

/// The handle of a device's primary context, active or not.
pub(super) fn primary_handle(device: &'static Device) -> Result<CUcontext, CUresult> {
    device.primary.lock().named()
}

impl Primary {
    fn named(&mut self) -> Result<CUcontext, CUresult> {
        if self.handle.is_null() {
            self.handle = CUcontext(CONTEXTS.reserve()?);
        }
        Ok(self.handle)
    }

    /// Ends the current life, if there is one.
    fn deactivate(&mut self) -> Option<Arc<Context>> {
        self.retained = 0;
        self.is_active = false;
        let context = CONTEXTS.get(self.handle.0);
        CONTEXTS.set(self.handle.0, None);
        context
    }
}

/// `cuDevicePrimaryCtxRetain`.
pub(super) fn retain_primary(device: &'static Device) -> Result<CUcontext, CUresult> {
    device.memory()?;
    let mut primary = device.primary.lock();
    let handle = primary.named()?;
    if !primary.is_active {
        let context = Context::new(handle, device, primary.flags);
        CONTEXTS.set(handle.0, Some(Arc::new(context)));
        primary.is_active = true;
    }
    primary.retained += 1;
    Ok(handle)
}

/// `cuDevicePrimaryCtxRelease`.
pub(super) fn release_primary(device: &'static Device) -> Result<(), CUresult> {
    let mut primary = device.primary.lock();
    match primary.retained {
        0 => return Err(CUresult::CUDA_ERROR_INVALID_CONTEXT),
        1 => {}
        _ => {
            primary.retained -= 1;
            return Ok(());
        }
    }
    let ended = primary.deactivate();
    drop(primary);
    if let Some(context) = ended {
        context.tear_down();
    }
    Ok(())
}

/// `cuDevicePrimaryCtxReset`.
pub(super) fn reset_primary(device: &'static Device) {
    let ended = {
        let mut primary = device.primary.lock();
        primary.deactivate()
    };
    if let Some(context) = ended {
        context.tear_down();
    }
}

/// `cuDevicePrimaryCtxSetFlags`.
pub(super) fn set_primary_flags(device: &'static Device, flags: u32) -> Result<(), CUresult> {
    check_flags(flags)?;
    let mut primary = device.primary.lock();
    primary.flags = flags;
    if let Some(context) = CONTEXTS.get(primary.handle.0) {
        context.flags.store(flags, Ordering::Relaxed);
    }
    Ok(())
}

/// Flags, and whether it is active.
pub(super) fn primary_state(device: &'static Device) -> (u32, bool) {
    let primary = device.primary.lock();
    (primary.flags, primary.is_active)
}
