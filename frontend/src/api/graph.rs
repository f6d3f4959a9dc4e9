// SPDX-License-Identifier: Apache-2.0
//! Graphs in the client. What a graph is, and what captures record, is in [`gvirtus_graph`]; here
//! is what it needs of the session, and how a graph runs.
//!
//! A launch sends the nodes one after the other to its stream, in an order that satisfies their
//! dependencies: kernels, memsets, host functions, copies from the host and between device memory
//! are posted. What the host has to see or decide is waited for: copies to the host, from it what a
//! host function before may have written, and the numbers of conditions.

use gvirtus_abi::{
    CUDA_MEMCPY3D, CUcontext, CUdevice, CUdeviceptr, CUevent, CUevent_flags, CUfunction, CUresult,
    CUstream,
};
use gvirtus_graph::{
    Action, AllocationRequest, Kernel, KernelLayout, Launch, MemoryOperation, Memset, Plan,
    Platform, Stream, Switch,
};

use super::{Status, captured, copy, graph_stream, launch, memory, stream_memory};
use crate::process::session;
use crate::regular;
use crate::session::{Session, StreamRef};

/// How the software device calls itself: conditions are written to by its kernels only.
const SOFTWARE_DEVICE: &str = "gvirtus softgpu";

/// The client as part of graphs.
struct Client;

/// Says so; the first call of the process comes here.
pub(crate) fn initialize() {
    gvirtus_graph::set_platform(&Client);
}

impl Platform for Client {
    fn ready(&self) -> Status {
        session().map(drop)
    }

    fn context(&self, handle: CUcontext) -> Result<CUcontext, CUresult> {
        let session = session()?;
        let context = match handle.is_null() {
            true => session.current()?,
            false => session.contexts.find(handle)?,
        };
        session.wire.faults().check()?;
        Ok(session.contexts.lock().entry(context.number).handle())
    }

    fn stream(&self, default: CUstream, handle: CUstream) -> Result<Stream, CUresult> {
        graph_stream(session()?, default, handle)
    }

    fn kernel(&self, function: CUfunction, _: CUcontext) -> Result<KernelLayout, CUresult> {
        let kernel = session()?.kernel(function.0)?;
        Ok(KernelLayout {
            parameters: kernel.parameters.clone(),
            bytes: kernel.parameter_bytes as usize,
        })
    }

    fn check_kernel(&self, kernel: &Kernel) -> Status {
        launch::check_node(session()?, kernel)
    }

    fn check_copy(&self, copy: &CUDA_MEMCPY3D) -> Status {
        copy::check_3d(session()?, copy)
    }

    fn check_memset(&self, memset: &Memset) -> Status {
        let row = memset.width as u64 * u64::from(memset.element_bytes);
        let (height, pitch) = (memset.height as u64, memset.pitch_bytes as u64);
        session()?.check_device_rows(memset.address.0, row, height, pitch)
    }

    fn check_operations(&self, operations: &[MemoryOperation]) -> Status {
        session()?;
        operations.iter().try_for_each(stream_memory::check)
    }

    fn check_event(&self, event: CUevent) -> Status {
        session()?.event(event).map(drop)
    }

    fn check_device(&self, device: CUdevice) -> Status {
        session()?.device(device).map(drop)
    }

    fn allocate(&self, request: AllocationRequest) -> Result<CUdeviceptr, CUresult> {
        let session = session()?;
        let mut context = session.contexts.find(request.context)?;
        if i32::try_from(context.device) != Ok(request.device.0) {
            let primary = session.contexts.primary(request.device)?;
            context = session.contexts.find(primary)?;
        }
        memory::allocate_plain(session, context, request.bytes)
    }

    fn free(&self, address: CUdeviceptr) {
        // Gone already if its context is.
        if let Ok(session) = session() {
            let _ = memory::free(session, address);
        }
    }

    fn device_of(&self, context: CUcontext) -> Result<CUdevice, CUresult> {
        let context = session()?.contexts.find(context)?;
        let ordinal = i32::try_from(context.device);
        ordinal
            .map(CUdevice)
            .map_err(|_| CUresult::CUDA_ERROR_UNKNOWN)
    }

    fn check_plan(&self, plan: &Plan) -> Status {
        let session = session()?;
        let mut result = Ok(());
        plan.for_each(&mut |step| {
            if let Action::Conditional(switch) = &step.action
                && result.is_ok()
            {
                result = check_condition(session, switch);
            }
        });
        result
    }

    fn launch(&self, launch: Launch) -> Status {
        let session = session()?;
        let handle = launch.stream.handle;
        let stream = session.stream(handle, handle)?;
        session.wire.faults().take_deferred()?;
        follow_last_run(&launch)?;
        let run = Run {
            session,
            stream,
            handle,
        };
        run.set_conditions(&launch.plan)?;
        let result = run.plan(&launch.plan);
        drop(launch.plan);
        gvirtus_graph::launch_finished();
        result
    }
}

/// What sets a condition in a kernel on a real device is made by its driver for its own graphs.
fn check_condition(session: &Session, switch: &Switch) -> Status {
    let device = session.device(switch.cell.request().device)?;
    match device.snapshot.name.starts_with(SOFTWARE_DEVICE) {
        true => Ok(()),
        false => Err(gvirtus_driver_face::unsupported(
            "a conditional node on a remote GPU",
        )),
    }
}

/// A graph does not run beside itself: on another stream than last time it waits for that one.
fn follow_last_run(launch: &Launch) -> Status {
    let Some(before) = launch.before.filter(|before| before.id != launch.stream.id) else {
        return Ok(());
    };
    let mut event = CUevent::NULL;
    let flags = CUevent_flags::CU_EVENT_DISABLE_TIMING.0;
    // SAFETY: a place for a handle.
    unsafe { super::cuEventCreate(&raw mut event, flags)? };
    // SAFETY: handles only. A stream that is gone has been waited for by who destroyed it, or
    // does not matter to anybody.
    let waited = unsafe {
        match regular::cuEventRecord(before.handle, event, before.handle) {
            Ok(()) => {
                regular::cuStreamWaitEvent(launch.stream.handle, launch.stream.handle, event, 0)
            }
            Err(_) => super::cuCtxSynchronize(),
        }
    };
    // SAFETY: a handle only.
    unsafe { super::cuEventDestroy_v2(event)? };
    waited
}

/// One launch under way.
struct Run {
    session: &'static Session,
    stream: StreamRef,
    handle: CUstream,
}

impl Run {
    /// Conditions with a default get it before anything else runs.
    fn set_conditions(&self, plan: &Plan) -> Status {
        for (cell, default) in &plan.conditions {
            if let Some(value) = default {
                // SAFETY: numbers only.
                unsafe {
                    captured::cuMemsetD32Async(
                        self.handle,
                        cell.address(),
                        *value,
                        1,
                        self.handle,
                    )?;
                }
            }
        }
        for step in &plan.steps {
            match &step.action {
                Action::Child(plan) => self.set_conditions(plan)?,
                Action::Conditional(switch) => {
                    for body in &switch.bodies {
                        self.set_conditions(body)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn plan(&self, plan: &Plan) -> Status {
        for index in &plan.order {
            let step = &plan.steps[*index];
            if step.is_enabled {
                self.action(&step.action)?;
            }
        }
        Ok(())
    }

    fn action(&self, action: &Action) -> Status {
        let stream = self.handle;
        match action {
            Action::Kernel(kernel) => launch::launch_node(self.session, self.stream, kernel),
            // SAFETY: the application promises that its memory is usable while the graph runs.
            Action::Memcpy(memcpy) => unsafe {
                copy::copy_3d(self.session, self.stream, &memcpy.copy)
            },
            Action::Memset(memset) => self.memset(memset),
            // SAFETY: the application promises that it can be called for as long as a graph does.
            Action::Host(host) => unsafe {
                super::cuLaunchHostFunc(stream, stream, host.function(), host.data())
            },
            Action::Child(plan) => self.plan(plan),
            Action::Empty | Action::Allocate(_) | Action::Free(_) => Ok(()),
            // SAFETY: handles only.
            Action::EventRecord(event) => unsafe {
                captured::cuEventRecord(stream, *event, stream)
            },
            // SAFETY: handles only.
            Action::EventWait(event) => unsafe {
                captured::cuStreamWaitEvent(stream, stream, *event, 0)
            },
            Action::Batch(batch) => {
                let mut operations = batch.operations.iter();
                // SAFETY: numbers and handles only.
                operations.try_for_each(|operation| unsafe {
                    stream_memory::send(stream, stream, operation)
                })
            }
            Action::Conditional(switch) => self.conditional(switch),
        }
    }

    fn memset(&self, memset: &Memset) -> Status {
        let (stream, address) = (self.handle, memset.address);
        let (pitch, value) = (memset.pitch_bytes, memset.value);
        let (width, height) = (memset.width, memset.height);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the value's lower bits are those of an element"
        )]
        // SAFETY: numbers and handles only.
        unsafe {
            match memset.element_bytes {
                1 => regular::cuMemsetD2D8Async(
                    stream,
                    address,
                    pitch,
                    value as u8,
                    width,
                    height,
                    stream,
                ),
                2 => regular::cuMemsetD2D16Async(
                    stream,
                    address,
                    pitch,
                    value as u16,
                    width,
                    height,
                    stream,
                ),
                _ => regular::cuMemsetD2D32Async(
                    stream, address, pitch, value, width, height, stream,
                ),
            }
        }
    }

    fn conditional(&self, switch: &Switch) -> Status {
        loop {
            let mut number = 0_u32;
            let (place, bytes) = ((&raw mut number).cast(), size_of::<u32>());
            let address = switch.cell.address();
            // SAFETY: a place for a number, which is there on return.
            unsafe {
                super::cuMemcpyDtoHAsync_v2(self.handle, place, address, bytes, self.handle)?;
            }
            let Some(body) = switch.body(number, &switch.bodies) else {
                return Ok(());
            };
            self.plan(body)?;
            if !switch.repeats() {
                return Ok(());
            }
        }
    }
}
