// SPDX-License-Identifier: Apache-2.0
//! Graphs on this device. What a graph is, and what captures record, is in [`gvirtus_graph`]; here
//! is what it needs of the driver, and how a graph runs.

mod copies;
mod run;

use std::sync::Arc;

use gvirtus_abi::{
    CUDA_MEMCPY3D, CUcontext, CUdevice, CUdeviceptr, CUevent, CUfunction, CUresult, CUstream,
};
use gvirtus_graph::{
    AllocationRequest, Kernel, KernelLayout, Launch, MemoryOperation, Memset, Plan, Platform,
    Stream, StreamKind,
};

use super::allocations::{self, Allocation};
use super::context::{self, Context};
use super::memory::Failure;
use super::stream::{self, Target};
use super::stream_memory::Operation;
use super::{device, event, function, launch, memset};

/// The device as part of graphs.
struct Soft;

/// Says so; the first call of the process comes here.
pub(super) fn initialize() {
    gvirtus_graph::set_platform(&Soft);
}

/// A stream as captures know it.
pub(super) fn stream_of(target: &Target) -> Stream {
    Stream {
        id: target.unique(),
        context: target.context().handle,
        kind: match target {
            Target::Legacy(_) => StreamKind::Legacy,
            Target::Stream(stream) if stream.is_blocking() => StreamKind::Blocking,
            Target::Stream(_) => StreamKind::NonBlocking,
        },
        handle: target.handle(),
    }
}

impl Platform for Soft {
    fn ready(&self) -> Result<(), CUresult> {
        device::devices().map(drop)
    }

    fn context(&self, handle: CUcontext) -> Result<CUcontext, CUresult> {
        let context = context::find_or_current(handle)?;
        context.error.check()?;
        Ok(context.handle)
    }

    fn stream(&self, default: CUstream, handle: CUstream) -> Result<Stream, CUresult> {
        stream::capturable(default, handle).map(|target| stream_of(&target))
    }

    fn kernel(&self, function: CUfunction, context: CUcontext) -> Result<KernelLayout, CUresult> {
        let function = function::find_in(function, &context::find(context)?)?;
        let kernel = function.kernel();
        let parameters = kernel.parameters.iter();
        Ok(KernelLayout {
            parameters: parameters.map(|p| (p.offset, p.size)).collect(),
            bytes: kernel.parameter_bytes as usize,
        })
    }

    fn check_kernel(&self, kernel: &Kernel) -> Result<(), CUresult> {
        launch::prepare(kernel).map(drop)
    }

    fn check_copy(&self, copy: &CUDA_MEMCPY3D) -> Result<(), CUresult> {
        copies::transfers(copy).map(drop)
    }

    fn check_memset(&self, memset: &Memset) -> Result<(), CUresult> {
        memset::check(memset)
    }

    fn check_operations(&self, operations: &[MemoryOperation]) -> Result<(), CUresult> {
        let mut operations = operations.iter();
        operations.try_for_each(|MemoryOperation(o)| Operation::parse(o).map(drop))
    }

    fn check_event(&self, event: CUevent) -> Result<(), CUresult> {
        event::find(event).map(drop)
    }

    fn check_device(&self, device: CUdevice) -> Result<(), CUresult> {
        device::device(device).map(drop)
    }

    fn allocate(&self, request: AllocationRequest) -> Result<CUdeviceptr, CUresult> {
        let device = device::device(request.device)?;
        let memory = device.memory()?;
        let base = memory
            .alloc(request.bytes as u64)
            .map_err(|error| CUresult::from(Failure::from(error)))?;
        let context = owner(request)?;
        let kind = allocations::Kind::Device;
        let bytes = request.bytes as u64;
        allocations::insert(Allocation::new(&context, kind, base, bytes, 0));
        Ok(CUdeviceptr(base))
    }

    fn free(&self, address: CUdeviceptr) {
        // Gone already if its context is.
        let removed = allocations::remove(address.0, |kind| kind == allocations::Kind::Device);
        if let Some(removed) = removed
            && let Ok(device) = device::device(CUdevice(removed.device_ordinal))
            && let Some(memory) = device.memory_in_use()
        {
            // The table says that it is allocated, so this frees it.
            let _ = memory.free(address.0);
        }
    }

    fn device_of(&self, context: CUcontext) -> Result<CUdevice, CUresult> {
        Ok(context::find(context)?.device.handle())
    }

    fn check_plan(&self, _: &Plan) -> Result<(), CUresult> {
        Ok(())
    }

    fn launch(&self, launch: Launch) -> Result<(), CUresult> {
        run::launch(launch)
    }
}

/// Whose memory it is: the asking context's, if it is of that device, else its primary one's.
fn owner(request: AllocationRequest) -> Result<Arc<Context>, CUresult> {
    let context = context::find(request.context)?;
    match context.device.handle() == request.device {
        true => Ok(context),
        false => context::find(context::primary_handle(device::device(request.device)?)?),
    }
}
